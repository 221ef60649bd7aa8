//! Traffic for the new revision: at once, or in steps with time and health checks in between.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::action::{Failure, Outcome};
use crate::cloud_run::text;
use crate::cloud_run::traffic::{self, Share};
use crate::kinds::cloud_run_deploy::steps::{Deploy, SUPERSEDED, stopped};

impl Deploy<'_> {
    /// Gives the revision its traffic, checks that it has it, and reports.
    pub(super) async fn shift(&mut self, digest: String, address: String) -> Result<Outcome, Failure> {
        if self.plan.percent == 0 {
            return Ok(self.outcome(digest, address));
        }
        if !self.state.shifting {
            self.state.shifting = true;
            self.save().await?;
        }
        let shares = self.plan.shares();
        loop {
            let address = self.shift_to(self.state.share).await?;
            if self.state.share + 1 >= shares.len() {
                return Ok(self.outcome(digest, address));
            }
            self.hold().await?;
            self.state.share += 1;
            self.save().await?;
        }
    }

    /// Sees one share through; gives the address of the service.
    async fn shift_to(&self, number: usize) -> Result<String, Failure> {
        let percent = self.plan.shares().get(number).copied().unwrap_or(self.plan.percent);
        // From here on the traffic may have moved: the whole time that is left is for seeing it through, unless nobody comes
        // after us to put things back.
        let until = if self.context.is_last { self.until } else { self.context.deadline };
        if let Some(operation) = self.api.change_traffic(until, |service| self.shifted(service, number)).await? {
            self.api.wait(&operation, until).await?;
        }
        let settled = self.api.until(until, |service| {
            let moving = service.get("reconciling").and_then(Value::as_bool).unwrap_or(false);
            let there = traffic::routed(service, &self.plan.revision) >= percent;
            (there && !moving).then(|| text(service, "uri").to_owned())
        });
        let late = || Failure::retry("timeout", "The traffic was not shifted in time; another attempt goes on from here");
        let address = settled.await?.ok_or_else(late)?;
        self.stage("traffic shifted", &format!("{} has {percent} %", self.plan.revision));
        Ok(address)
    }

    /// The new allocation, or `None` if it is there already.
    fn shifted(&self, service: &Value, number: usize) -> Result<Option<Value>, Failure> {
        let (revision, tag) = (self.plan.revision.as_str(), self.plan.tag.as_str());
        let shares = self.plan.shares();
        let percent = shares.get(number).copied().unwrap_or(self.plan.percent);
        // Its own address is needed until the last health check.
        let keep_tag = self.plan.keep_tag || number + 1 < shares.len();
        let now = traffic::read(service);
        if traffic::percent_of(&now, revision) == percent && (keep_tag || !traffic::has_candidate(&now, revision, tag)) {
            return Ok(None);
        }
        let known = self.shifted_before || number > 0;
        let moved = known && traffic::weights(&now) != traffic::weights(&self.expected(number));
        if moved || !traffic::has_candidate(&now, revision, tag) {
            // Putting an older revision over what somebody chose since would be worse than not finishing.
            let message = "Somebody else moved the traffic of the service while this deploy was under way; it was left alone";
            return Err(Failure::last(SUPERSEDED, message));
        }
        Ok(Some(traffic::write(&traffic::shifted(&now, revision, percent, tag, keep_tag))))
    }

    /// The allocation after so many shares, if nobody else moved anything.
    fn expected(&self, number: usize) -> Vec<Share> {
        let before = self.state.before.clone().unwrap_or_default();
        let shares = self.plan.shares();
        let step = |now: Vec<Share>, percent: &i64| traffic::shifted(&now, &self.plan.revision, *percent, &self.plan.tag, true);
        shares.iter().take(number).fold(before, step)
    }

    /// Keeps a share for its time, then asks for the revision's health again.
    async fn hold(&self) -> Result<(), Failure> {
        if self.until.saturating_duration_since(Instant::now()) < self.plan.hold {
            return Err(Failure::retry("timeout", "There is no time left to hold the share; another attempt goes on from here"));
        }
        if !self.plan.hold.is_zero() {
            self.stage("holding", &format!("for {} s before the next health check", self.plan.hold.as_secs_f64()));
        }
        let look = async {
            sleep(self.plan.hold).await;
            let Some(health) = &self.plan.health else { return Ok(()) };
            let address = self.own_address().await?;
            self.check_health(health, &address).await
        };
        tokio::select! {
            biased;
            () = self.context.stop.asked() => Err(stopped()),
            looked = look => looked,
        }
    }

    /// The holds that are still to come take longer than there is: said before anything is changed.
    pub(super) fn check_time(&self) -> Result<(), Failure> {
        let holds = u32::try_from(self.plan.shares().len().saturating_sub(1)).unwrap_or(u32::MAX);
        let (needed, left) = (self.plan.hold.saturating_mul(holds), self.until.saturating_duration_since(Instant::now()));
        if needed <= left || !self.context.is_last || needed.is_zero() {
            return Ok(());
        }
        let seconds = |length: Duration| length.as_secs();
        let message = format!(
            "The shares are held for {} s together, and the step has {} s; give it a longer `timeout`, or `retry`",
            seconds(needed),
            seconds(left)
        );
        Err(Failure::last("invalid", message))
    }
}
