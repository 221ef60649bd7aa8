//! The deploy itself, step by step. Every step looks at the service before it changes it, so an attempt can begin anywhere:
//! what an earlier one did is found by the revision's name, and `State` says what cannot be seen from outside.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::action::{Context, Failure, Outcome, STOPPED, Why};
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{self, Api, Ended, Readiness, already_exists, cause, pause, readiness, text};
use crate::kinds::cloud_run_deploy::plan::Plan;
use crate::kinds::cloud_run_deploy::{build, create, image};

/// Time kept for putting things back: a quarter of the step's, at most this.
const RESERVE: Duration = Duration::from_secs(45);
/// Tries of the last attempt to put things back, over some six seconds.
const PUT_BACK_TRIES: u32 = 8;
/// The failure of a deploy that others overtook.
pub(super) const SUPERSEDED: &str = "superseded";

/// What a later attempt must know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// The build, once it may have been started.
    #[serde(default)]
    build: Option<build::Begun>,
    /// What the image's name meant when the deploy began.
    digest: Option<String>,
    /// The allocation before the revision was made, saved before it is.
    pub(super) before: Option<Vec<Share>>,
    /// The tag that made room.
    #[serde(default)]
    removed_tag: Option<String>,
    /// The operation that makes it.
    operation: Option<String>,
    /// The traffic may have been shifted.
    pub(super) shifting: bool,
    /// Index of the share that it is given.
    #[serde(default)]
    pub(super) share: usize,
    /// It has failed and is being put back.
    failing: Option<Why>,
}

/// One attempt.
pub(super) struct Deploy<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) plan: &'a Plan,
    pub(super) api: Api<'a>,
    pub(super) state: State,
    /// An earlier attempt may have asked for the shift.
    pub(super) shifted_before: bool,
    /// The end of everything but putting back.
    pub(super) until: Instant,
}

impl<'a> Deploy<'a> {
    pub(super) fn resume(context: &'a Context<'a>, plan: &'a Plan) -> Result<Self, Failure> {
        let state: State = match &context.saved {
            None => State::default(),
            Some(saved) => serde_json::from_value(saved.clone())
                .map_err(|error| Failure::last("invalid", format!("What an earlier attempt saved cannot be read: {error}")))?,
        };
        let left = context.deadline.saturating_duration_since(Instant::now());
        let until = context.deadline.checked_sub(RESERVE.min(left / 4)).unwrap_or(context.deadline);
        let shifted_before = state.shifting;
        Ok(Self { context, plan, api: Api::new(context, &plan.target), state, shifted_before, until })
    }

    pub(super) async fn run(mut self) -> Result<Outcome, Failure> {
        if let Some(why) = self.state.failing.clone() {
            return Err(self.put_back(why).await);
        }
        if self.shifted_before {
            // It was found healthy before; asking again now would ask the traffic that it may have already.
            let digest = self.image().await?;
            let ended = self.shift(digest, String::new()).await;
            return self.settle(ended).await;
        }
        if self.state.before.is_none() {
            self.check_time()?;
        }
        let stop = self.context.stop;
        let digest = tokio::select! {
            biased;
            // What is left of an earlier attempt is put back below, and a build is stopped by whoever waits for it.
            () = stop.asked(), if self.state.before.is_none() && self.plan.build.is_none() => return Err(stopped()),
            digest = self.image() => digest?,
        };
        // Not interrupted: a request that is on its way would have its effect after everything was put back.
        self.create(&digest).await?;
        let served = tokio::select! {
            biased;
            () = stop.asked() => Err(stopped()),
            served = self.serve() => served.map_err(|failure| match failure {
                // Its time is up, whatever the last look said: what is left of it is for putting back.
                Failure::Retry { .. } if Instant::now() >= self.until => late(),
                other => other,
            }),
        };
        let ended = match served {
            Ok(address) => self.shift(digest, address).await,
            Err(failure) => Err(failure),
        };
        self.settle(ended).await
    }

    /// Once the revision is made, nobody but us takes away what the deploy leaves when it fails for good.
    async fn settle(&mut self, ended: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
        match ended {
            Err(Failure::Final { why }) if self.plan.rollback || why.code == STOPPED => Err(self.give_up(why).await?),
            Err(Failure::Retry { why, .. }) if self.plan.rollback && self.context.is_last => Err(self.give_up(why).await?),
            ended => ended,
        }
    }

    async fn give_up(&mut self, why: Why) -> Result<Failure, Failure> {
        self.state.failing = Some(why.clone());
        self.save().await?;
        Ok(self.put_back(why).await)
    }

    pub(super) async fn save(&self) -> Result<(), Failure> {
        super::save(self.context, &self.state).await
    }

    pub(super) fn stage(&self, name: &'static str, line: &str) {
        self.context.progress.stage(name, line);
    }

    /// The digest of the image, waited for if it is not there yet.
    async fn image(&mut self) -> Result<String, Failure> {
        if let Some(digest) = self.state.digest.clone() {
            return Ok(digest);
        }
        let digest = match &self.plan.build {
            Some(build) => self.built(build).await?,
            None => image::resolve(self.context, self.plan, self.until).await?,
        };
        self.state.digest = Some(digest.clone());
        self.save().await?;
        let what = if self.plan.build.is_some() { "the image that was built" } else { self.plan.image.reference() };
        self.stage("image resolved", &format!("{what} is {digest}"));
        Ok(digest)
    }

    /// The digest of what a build makes: started once, and waited for by whichever attempt comes.
    async fn built(&mut self, build: &build::Build) -> Result<String, Failure> {
        let cloud_build = build::CloudBuild::new(self.context, self.plan, build, self.until);
        cloud_build.digest(&mut self.state, |state| &mut state.build).await
    }

    /// Makes the revision, unless an earlier attempt did.
    async fn create(&mut self, digest: &str) -> Result<(), Failure> {
        let image = self.plan.image.at(digest);
        let mut conflicts = 0;
        loop {
            // Known to be made, or perhaps: `before` is saved ahead of the request that makes it.
            if self.state.operation.is_some() {
                return Ok(());
            }
            if self.state.before.is_some() && self.api.revision(&self.plan.revision, self.until).await?.is_some() {
                self.stage("revision created", &self.plan.revision);
                return Ok(());
            }
            let service = self.api.service(self.until).await?;
            let mut before = traffic::pinned(&service);
            if self.plan.keep_tag {
                let (plan, until) = (self.plan, self.until);
                let removed = cloud_run::make_room(&self.api, &plan.target, &before, &plan.tag, until).await?;
                if let Some(removed) = removed {
                    before = traffic::without_tag(&before, &removed);
                    self.state.removed_tag = Some(removed);
                }
            }
            let change = create::change(&service, self.plan, &image, &before).map_err(|why| Failure::Final { why })?;
            self.state.before = Some(before);
            self.save().await?;
            match self.api.patch(&service, change, self.until).await {
                Ok(operation) => {
                    self.state.operation = Some(operation);
                    self.save().await?;
                    self.stage("revision created", &self.plan.revision);
                    if let Some(removed) = &self.state.removed_tag {
                        self.stage("tag removed", &format!("{removed} made room for {}", self.plan.tag));
                    }
                    return Ok(());
                }
                // The name follows from the call: whoever made it was this call.
                Err(error) if already_exists(&error) && self.exists().await? => {}
                Err(error) => self.api.after_conflict(error, &mut conflicts).await?,
            }
        }
    }

    async fn exists(&self) -> Result<bool, Failure> {
        Ok(self.api.revision(&self.plan.revision, self.until).await?.is_some())
    }

    /// Waits until the revision serves at its own address; gives that.
    async fn serve(&self) -> Result<String, Failure> {
        let waited = match &self.state.operation {
            Some(operation) => self.api.wait(operation, self.until).await?,
            None => Ended::Forgotten,
        };
        let mut looks = 0;
        loop {
            // A last look at the end of the time says better than the clock what is wrong; it gets a third of the reserve.
            let last_look = self.until + self.context.deadline.saturating_duration_since(self.until) / 3;
            let Some(revision) = self.api.revision(&self.plan.revision, last_look).await? else {
                return Err(Failure::last("not-ready", self.without_revision(&waited)));
            };
            match (readiness(&revision), &waited) {
                (Readiness::Ready, _) => break,
                (Readiness::Failed(why), _) => return Err(Failure::Final { why }),
                (Readiness::Pending, Ended::Failed(message)) => {
                    return Err(Failure::Final { why: cause(&json!({ "message": message })) });
                }
                (Readiness::Pending, Ended::Late) => return Err(late()),
                (Readiness::Pending, Ended::Succeeded | Ended::Forgotten) => {}
            }
            looks += 1;
            if self.until.saturating_duration_since(Instant::now()) < pause(looks) {
                return Err(late());
            }
            sleep(pause(looks)).await;
        }
        self.stage("ready", &self.plan.revision);
        let address = self.own_address().await?;
        if let Some(health) = &self.plan.health {
            self.check_health(health, &address).await?;
        }
        Ok(address)
    }

    fn without_revision(&self, waited: &Ended) -> String {
        match waited {
            Ended::Failed(message) => format!("Cloud Run did not make the revision: {message}"),
            _ => format!("The revision `{}` is gone; somebody deleted it", self.plan.revision),
        }
    }

    /// The address behind the revision's tag. It is gone if an earlier attempt shifted the traffic already and the tag was
    /// only for the time until then; the service's own address will do then.
    pub(super) async fn own_address(&self) -> Result<String, Failure> {
        let (revision, tag) = (&self.plan.revision, &self.plan.tag);
        let found = self.api.until(self.until, |service| {
            let written = traffic::read(service);
            let done = traffic::percent_of(&written, revision) > 0 || !traffic::has_candidate(&written, revision, tag);
            let address = traffic::tag_address(service, revision, tag);
            address.or_else(|| done.then(|| text(service, "uri"))).map(str::to_owned)
        });
        found.await?.ok_or_else(|| Failure::last("not-ready", "The revision is ready, but its tag got no address in time"))
    }

    pub(super) fn outcome(&self, digest: String, address: String) -> Outcome {
        let before = self.state.before.as_deref().unwrap_or_default();
        let summary = match self.plan.percent {
            0 => format!("{} is at {address}", self.plan.revision),
            percent => format!("{} serves {percent} % of {}", self.plan.revision, self.plan.target.service),
        };
        let outputs = json!({
            "url": address,
            "revision": self.plan.revision,
            "previous_revision": traffic::main_revision(before),
            "digest": digest,
            "removed_tag": self.state.removed_tag,
            "rolled_back": false,
        });
        Outcome { outputs, summary, url: Some(address) }
    }

    /// Puts the traffic back and takes the tag away; gives the failure that the step ends with.
    async fn put_back(&self, mut why: Why) -> Failure {
        let chosen_by_others = why.code == SUPERSEDED;
        let mut tries = 1;
        let result = loop {
            match self.restore(chosen_by_others).await {
                // Otherwise the next attempt goes on from here.
                Err(Failure::Retry { .. }) if self.context.is_last && tries < PUT_BACK_TRIES => {
                    tries += 1;
                    sleep(pause(tries)).await;
                }
                ended => break ended,
            }
        };
        match result {
            Ok(()) if chosen_by_others => Failure::Final { why },
            Ok(()) => {
                why.rolled_back = true;
                self.stage("rolled back", "the traffic is as it was before");
                Failure::Final { why }
            }
            Err(Failure::Retry { after, why: problem }) => {
                why.message = format!("{}. Putting the traffic back is not done yet: {}", why.message, problem.message);
                Failure::Retry { after, why }
            }
            Err(Failure::Final { why: problem } | Failure::NotYet { why: problem, .. }) => {
                why.message = format!("{}. Putting the traffic back failed as well: {}", why.message, problem.message);
                Failure::Final { why }
            }
        }
    }

    /// One try. Traffic that somebody else has moved stays as they want it; only our tag goes.
    async fn restore(&self, chosen_by_others: bool) -> Result<(), Failure> {
        let before = self.state.before.as_deref().unwrap_or_default();
        let (revision, tag) = (self.plan.revision.as_str(), self.plan.tag.as_str());
        let until = self.context.deadline;
        let edit = |service: &Value| {
            let now = traffic::read(service);
            if !now.iter().any(|share| share.is(revision)) {
                return Ok(None);
            }
            if !chosen_by_others {
                return Ok(Some(traffic::write(&traffic::restored(&now, before, revision, tag))));
            }
            let tagged = traffic::has_candidate(&now, revision, tag);
            Ok(tagged.then(|| traffic::write(&traffic::without_tag(&now, tag))))
        };
        match self.api.change_traffic(until, edit).await? {
            // The operation itself reports the revision that failed; what counts is what is routed.
            Some(operation) => self.api.wait(&operation, until).await.map(|_| ()),
            None => Ok(()),
        }
    }
}

pub(super) fn stopped() -> Failure {
    Failure::last(STOPPED, "It was stopped before it got traffic: its run is no longer wanted")
}

fn late() -> Failure {
    Failure::last("timeout", "The new revision was not ready in time")
}
