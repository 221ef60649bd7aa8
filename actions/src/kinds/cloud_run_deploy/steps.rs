//! The deploy itself, step by step. Every step looks at the service before it changes it, so an attempt can begin anywhere:
//! what an earlier one did is found by the revision's name, and `State` says what cannot be seen from outside.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::action::{Context, Failure, Outcome, STOPPED, Why};
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{Api, Ended, Readiness, already_exists, cause, is_conflict, pause, readiness, text};
use crate::http::{HttpError, Method, Request, Response};
use crate::kinds::cloud_run_deploy::plan::{Health, Plan};
use crate::kinds::cloud_run_deploy::{create, image};

/// Time kept for putting things back: a quarter of the step's, at most this.
const RESERVE: Duration = Duration::from_secs(45);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(10);
const CONFLICTS: u32 = 6;
/// Tries of the last attempt to put things back, over some six seconds.
const PUT_BACK_TRIES: u32 = 8;
/// The failure of a deploy that others overtook.
const SUPERSEDED: &str = "superseded";

/// What a later attempt must know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    /// What the image's name meant when the deploy began.
    digest: Option<String>,
    /// The allocation before the revision was made, saved before it is.
    before: Option<Vec<Share>>,
    /// The operation that makes it.
    operation: Option<String>,
    /// The traffic may have been shifted.
    shifting: bool,
    /// It has failed and is being put back.
    failing: Option<Why>,
}

/// One attempt.
pub(super) struct Deploy<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    api: Api<'a>,
    state: State,
    /// An earlier attempt may have asked for the shift.
    shifted_before: bool,
    /// The end of everything but putting back.
    until: Instant,
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
        let stop = self.context.stop;
        let digest = tokio::select! {
            biased;
            // What is left of an earlier attempt is put back below.
            () = stop.asked(), if self.state.before.is_none() => return Err(stopped()),
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

    async fn save(&self) -> Result<(), Failure> {
        let saved = serde_json::to_value(&self.state).map_err(|error| Failure::last("invalid", error.to_string()))?;
        self.context.progress.save(saved).await
    }

    fn stage(&self, name: &'static str, line: &str) {
        self.context.progress.stage(name, line);
    }

    /// The digest of the image, waited for if it is not there yet.
    async fn image(&mut self) -> Result<String, Failure> {
        if let Some(digest) = self.state.digest.clone() {
            return Ok(digest);
        }
        let digest = image::resolve(self.context, self.plan, self.until).await?;
        self.state.digest = Some(digest.clone());
        self.save().await?;
        self.stage("image resolved", &format!("{} is {digest}", self.plan.image.reference()));
        Ok(digest)
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
            let before = traffic::pinned(&service);
            if self.plan.keep_tag {
                self.plan.target.room_for(&before, &self.plan.tag)?;
            }
            let change = create::change(&service, self.plan, &image, &before).map_err(|why| Failure::Final { why })?;
            self.state.before = Some(before);
            self.save().await?;
            match self.api.patch(&service, change, self.until).await {
                Ok(operation) => {
                    self.state.operation = Some(operation);
                    self.save().await?;
                    self.stage("revision created", &self.plan.revision);
                    return Ok(());
                }
                // The name follows from the call: whoever made it was this call.
                Err(error) if already_exists(&error) && self.exists().await? => {}
                Err(error) if is_conflict(&error) && conflicts < CONFLICTS => {
                    conflicts += 1;
                    sleep(pause(conflicts)).await;
                }
                Err(error) => return Err(self.api.conflicted(error)),
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
    async fn own_address(&self) -> Result<String, Failure> {
        let (revision, tag) = (&self.plan.revision, &self.plan.tag);
        let found = self.api.until(self.until, |service| {
            let written = traffic::read(service);
            let done = traffic::percent_of(&written, revision) > 0 || !traffic::has_candidate(&written, revision, tag);
            let address = traffic::tag_address(service, revision, tag);
            address.or_else(|| done.then(|| text(service, "uri"))).map(str::to_owned)
        });
        found.await?.ok_or_else(|| Failure::last("not-ready", "The revision is ready, but its tag got no address in time"))
    }

    async fn check_health(&self, health: &Health, address: &str) -> Result<(), Failure> {
        let url = format!("{}{}", address.trim_end_matches('/'), health.path);
        // Cloud Run takes the service's own address as audience, for the addresses of its tags too.
        let audience = if self.plan.target.health_id_token {
            Some(text(&self.api.service(self.until).await?, "uri").to_owned())
        } else {
            None
        };
        let mut last = String::new();
        for attempt in 1..=health.attempts {
            let deadline = self.until.min(Instant::now() + HEALTH_TIMEOUT);
            let request = Request::to(Method::GET, &url, deadline).expect_any().cap(256 * 1024);
            last = match self.ask(request, audience.as_deref()).await {
                Ok(answer) if health.status.map_or((200..300).contains(&answer.status), |wanted| wanted == answer.status) => {
                    self.stage("healthy", &format!("{} answered {}", health.path, answer.status));
                    return Ok(());
                }
                Ok(answer) => format!("answered {}", answer.status),
                // A long page is an answer too, but its status is not known to be right.
                Err(error @ (HttpError::Refused(_) | HttpError::Invalid(_) | HttpError::Token(_))) => {
                    return Err(error.into_failure("The revision's own address"));
                }
                Err(HttpError::Timeout) => "did not answer in time".into(),
                Err(error) => error.to_string(),
            };
            if attempt == health.attempts || self.until.saturating_duration_since(Instant::now()) < health.every {
                last = format!("{last} ({attempt} attempts)");
                break;
            }
            sleep(health.every).await;
        }
        let wanted = health.status.map_or_else(|| "2xx".to_owned(), |status| status.to_string());
        Err(Failure::last("unhealthy", format!("The new revision is not healthy: {} {last}, wanted {wanted}", health.path)))
    }

    async fn ask(&self, request: Request, audience: Option<&str>) -> Result<Response, HttpError> {
        let clients = self.context.clients;
        match audience {
            None => clients.http.send(request).await,
            Some(audience) => {
                let account = self.plan.target.deploy_as.as_deref();
                clients.google.send_with_id_token(account, audience, request).await
            }
        }
    }

    /// Gives the revision its traffic, checks that it has it, and reports.
    async fn shift(&mut self, digest: String, address: String) -> Result<Outcome, Failure> {
        if self.plan.percent == 0 {
            return Ok(self.outcome(digest, address));
        }
        if !self.state.shifting {
            self.state.shifting = true;
            self.save().await?;
        }
        // From here on the traffic may have moved: the whole time that is left is for seeing it through, unless nobody comes
        // after us to put things back.
        let until = if self.context.is_last { self.until } else { self.context.deadline };
        if let Some(operation) = self.api.change_traffic(until, |service| self.shifted(service)).await? {
            self.api.wait(&operation, until).await?;
        }
        let settled = self.api.until(until, |service| {
            let moving = service.get("reconciling").and_then(Value::as_bool).unwrap_or(false);
            let there = traffic::routed(service, &self.plan.revision) >= self.plan.percent;
            (there && !moving).then(|| text(service, "uri").to_owned())
        });
        match settled.await? {
            Some(address) => {
                self.stage("traffic shifted", &format!("{} has {} %", self.plan.revision, self.plan.percent));
                Ok(self.outcome(digest, address))
            }
            None => Err(Failure::retry("timeout", "The traffic was not shifted in time; another attempt goes on from here")),
        }
    }

    /// The new allocation, or `None` if it is there already.
    fn shifted(&self, service: &Value) -> Result<Option<Value>, Failure> {
        let (revision, tag) = (self.plan.revision.as_str(), self.plan.tag.as_str());
        let now = traffic::read(service);
        if traffic::percent_of(&now, revision) == self.plan.percent
            && (self.plan.keep_tag || !traffic::has_candidate(&now, revision, tag))
        {
            return Ok(None);
        }
        let before = self.state.before.as_deref().unwrap_or_default();
        let moved = self.shifted_before && traffic::weights(&now) != traffic::weights(before);
        if moved || !traffic::has_candidate(&now, revision, tag) {
            // Putting an older revision over what somebody chose since would be worse than not finishing.
            let message = "Somebody else moved the traffic of the service while this deploy was under way; it was left alone";
            return Err(Failure::last(SUPERSEDED, message));
        }
        Ok(Some(traffic::write(&traffic::shifted(&now, revision, self.plan.percent, tag, self.plan.keep_tag))))
    }

    fn outcome(&self, digest: String, address: String) -> Outcome {
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
            Err(Failure::Final { why: problem }) => {
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

fn stopped() -> Failure {
    Failure::last(STOPPED, "It was stopped before it got traffic: its run is no longer wanted")
}

fn late() -> Failure {
    Failure::last("timeout", "The new revision was not ready in time")
}
