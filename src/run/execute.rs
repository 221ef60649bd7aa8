//! One claimed run: step after step until it is over, waits, is taken away, or the process is told to stop.

mod begin;
mod end;
mod hold;
mod park;
mod rehearse;
mod settle;
mod streak;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use declic_actions::action::{Action, Class, Failure, Intent, RESPONSE_URL, Repeat, STOPPED, Stop, Why};
use declic_actions::secret::Secret;
use end::{fail, over};
use hold::Pass;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Level;

use super::attempt::{Attempt, Came, Keeper, seconds};
use super::key::call_key;
use super::leases::Held;
use super::observe::Told;
use super::plan::{Next, OUT_OF_TIME, POISON, Standing, made, shown};
use super::shared::Shared;
use super::waiting::Known;
use super::{reading, reply};
use crate::event::Event;
use crate::journal::LedgerError;
use crate::journal::record::{
    AttemptState, Change, ClaimedRun, Phase, Place, RunRecord, StepEnd, StepLabel, StepRecord, StepState, Streak, Written,
};
use crate::report::metrics::AttemptLabels;
use crate::rules::model::{Rule, Step};

/// A run whose worker went away so often without getting on is given up.
const MOST_CLAIMS: u32 = 10;

/// One run in the hands of this process.
pub(super) struct Execution {
    shared: Arc<Shared>,
    held: Held,
    draining: watch::Receiver<bool>,
    run: RunRecord,
    steps: Vec<StepRecord>,
    rule: Arc<Rule>,
    event: Event,
    /// Where further answers to the delivery go.
    respond_to: Option<Secret>,
    /// Trace id of the delivery.
    trace: String,
    /// When `timeout:` of the rule is over.
    deadline: Option<Instant>,
    /// How long ago the run had first started when it was claimed.
    age: Duration,
    claimed: Instant,
    stop: bool,
    /// How often what it tells has happened.
    streak: Option<Streak>,
    told: Told,
    /// What actions said and is written with whatever is written next.
    said: Vec<Change>,
    /// Given back after one step, which ends by then: further ones are another call's.
    until: Option<Instant>,
}

/// What one step came to.
enum Turn {
    /// Go on with the next one.
    Next,
    /// The run is out of our hands.
    GivenBack,
}

/// Works on a run as far as it goes. An error of the store leaves it to its lease: it comes again.
pub(super) async fn execute(shared: Arc<Shared>, claimed: ClaimedRun, held: Held, draining: watch::Receiver<bool>) {
    work(shared, claimed, held, draining, None).await;
}

/// The same for one step, which is broken off at that moment, and after which the run is given back.
pub(super) async fn one_step(
    shared: Arc<Shared>,
    claimed: ClaimedRun,
    held: Held,
    draining: watch::Receiver<bool>,
    until: Instant,
) {
    work(shared, claimed, held, draining, Some(until)).await;
}

async fn work(shared: Arc<Shared>, claimed: ClaimedRun, held: Held, draining: watch::Receiver<bool>, until: Option<Instant>) {
    let told = shared.observer.of(&claimed.run.delivery).run(&claimed.run.id, &claimed.run.rule);
    let id = claimed.run.id.clone();
    let result = match Execution::prepare(&shared, claimed, held, draining, told).await {
        Ok(Some(execution)) => Execution { until, ..execution }.go_on().await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => {}
        Err(LedgerError::Lost) => tracing::warn!(run = %id, "its lease is over: another worker has it"),
        Err(error) => tracing::error!(run = %id, %error, "the run is left as it is until its lease is over"),
    }
}

impl Execution {
    /// Rebuilds rule and event. A run for which that is impossible is over.
    async fn prepare(
        shared: &Arc<Shared>,
        claimed: ClaimedRun,
        held: Held,
        draining: watch::Receiver<bool>,
        told: Told,
    ) -> Result<Option<Self>, LedgerError> {
        let ClaimedRun { run, steps, delivery, age, streak, .. } = claimed;
        let rule = match shared.rule(&run).await {
            Ok(rule) => rule,
            Err(super::shared::RuleError::Store(error)) => return Err(error.into()),
            Err(super::shared::RuleError::Gone(why)) => {
                return fail(shared, &held, &run, &steps, &told, Why::new("rule", why)).await;
            }
        };
        let event = match shared.decode(&delivery, rule.reads_payload) {
            Ok(Some(event)) => event,
            Ok(None) => {
                return fail(
                    shared,
                    &held,
                    &run,
                    &steps,
                    &told,
                    Why::new("decode", "it is no longer an event that rules can ask for"),
                )
                .await;
            }
            Err(why) => return fail(shared, &held, &run, &steps, &told, Why::new("decode", why)).await,
        };
        let respond_to = shared.respond_to(&delivery);
        let trace = delivery.content.trace;
        let deadline = rule.timeout.map(|timeout| Instant::now() + timeout.saturating_sub(age));
        let stop = run.covered_by.is_some() || run.cancelled;
        Ok(Some(Self {
            shared: Arc::clone(shared),
            held,
            draining,
            run,
            steps,
            rule,
            event,
            respond_to,
            trace,
            deadline,
            age,
            claimed: Instant::now(),
            stop,
            streak,
            told,
            said: Vec::new(),
            until: None,
        }))
    }

    async fn go_on(mut self) -> Result<(), LedgerError> {
        let rule = Arc::clone(&self.rule);
        if self.run.claims > MOST_CLAIMS {
            self.give_up_step(&rule).await?;
        }
        let mut stepped = false;
        loop {
            if *self.draining.borrow() {
                self.write(vec![Change::Released]).await?;
                self.shared.waiting.give_up(&self.run.delivery, &self.run.id);
                return Ok(());
            }
            let standing = Standing::new(&rule, &self.run, &self.steps, self.stop);
            self.reply(&standing);
            match standing.next() {
                Next::Over { state, failure } => {
                    self.write(vec![Change::Finished { state, failure: failure.clone() }]).await?;
                    over(&self.shared, &self.run, &self.told, state, failure.as_ref());
                    return Ok(());
                }
                Next::Step { .. } if self.until.is_some() && stepped => {
                    self.write(vec![Change::Released]).await?;
                    return Ok(());
                }
                Next::Step { place, step } => match self.step(place, &step).await? {
                    Turn::Next => {
                        stepped = true;
                        self.look_again().await?;
                    }
                    Turn::GivenBack => return Ok(()),
                },
            }
        }
    }

    /// Tells whoever waits for it, once the steps are done. What follows them is not waited for.
    fn reply(&self, standing: &Standing<'_, '_>) {
        let waiting = &self.shared.waiting;
        if waiting.until(&self.run.delivery, &self.run.id).is_some()
            && let Some(said) = reply::by_steps(&self.shared, &self.rule, &self.event, standing)
        {
            waiting.tell(&self.run.delivery, Known::Said(said));
        }
    }

    /// The step that was open whenever a worker went away is not tried again.
    async fn give_up_step(&mut self, rule: &Rule) -> Result<(), LedgerError> {
        let next = Standing::new(rule, &self.run, &self.steps, self.stop).next();
        let Next::Step { place, step } = next else { return Ok(()) };
        let why = Why::new(
            POISON,
            format!("{} workers in a row went away while they were at this step; it is given up", self.run.claims - 1),
        );
        self.give_up(place, &step, why).await?;
        self.look_again().await
    }

    async fn step(&mut self, place: Place, step: &Step) -> Result<Turn, LedgerError> {
        if let Some(why) = self.out_of_time(place) {
            return self.give_up(place, step, why).await;
        }
        let Some(action) = self.shared.action(&step.uses) else {
            let why = Why::new("unknown-action", format!("there is no action `{}` in this version of Declic", step.uses));
            return self.give_up(place, step, why).await;
        };
        let waits = self.record(place).is_some_and(|record| record.state == StepState::Waiting);
        if self.stop && waits && place.phase == Phase::Steps && action.spec().class == Class::Plain {
            let why = Why::new(STOPPED, "no further attempt: its run is no longer wanted");
            return self.end(place, step, StepEnd::Skipped { why }).await;
        }
        let intent = match self.intent(place, step, action) {
            Ok(Some(intent)) => intent,
            Ok(None) => {
                let why =
                    Why::new("condition", format!("if: {}", step.condition.as_ref().map_or("", |condition| condition.source())));
                return self.end(place, step, StepEnd::Skipped { why }).await;
            }
            Err(why) => return self.give_up(place, step, why).await,
        };
        if self.run.dry {
            return self.rehearse(place, step, action, intent).await;
        }
        let permit = match self.pass(place, step, &intent).await? {
            Pass::Through(permit) => permit,
            Pass::Held => return Ok(Turn::GivenBack),
        };
        let record = self.record(place);
        let number = record.map_or(0, |record| record.attempts.len()) + 1;
        let earlier = record.map_or(0, |record| made(record, self.run.round));
        let parked = record.is_some_and(|record| record.state == StepState::Waiting && record.why.is_some());
        let saved = record.and_then(|record| record.saved.clone());
        let answer = record.and_then(|record| record.answer.clone());
        if let Some(turn) = self.begin(place, step, action, &intent).await? {
            return Ok(turn);
        }
        let told = self.told.clone().step(shown(&label(step), place));
        // One that looks once more whether what it waits for is there says so only to those who want to know.
        let level = if parked { Level::DEBUG } else { Level::INFO };
        told.say_as(level, "started", step.name.clone().unwrap_or_else(|| intent.summary.clone()));
        let mut secrets = reading::secrets(action, &intent.call, &self.shared.secrets);
        if let Some(address) = self.respond_to.as_ref().filter(|_| action.spec().name.starts_with("slack/")) {
            secrets.insert(RESPONSE_URL.to_owned(), address.clone());
        }
        let timeout = self.time_left(place, step.timeout);
        let hurry = self.hurry(place, action).into_iter().chain(self.left_of_call()).min().filter(|hurry| *hurry < timeout);
        let (stopping, stop) = Stop::new();
        stopping.send_replace(self.stop && place.phase == Phase::Steps);
        let streak = self.streak(place, step);
        let (journal, lease) = (self.shared.journal.as_ref(), &self.held.lease);
        let keeper = Keeper { journal, lease, place, told: &told, said: Mutex::default() };
        let attempt = Attempt {
            action,
            clients: &self.shared.clients,
            intent: &intent,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            is_last: earlier + 1 >= step.retry.attempts,
            saved,
            timeout: hurry.unwrap_or(timeout),
            secrets: &secrets,
            progress: &keeper,
            stop: &stop,
            waited: self.waited(place),
            answer: answer.as_ref(),
            streak: streak.as_ref(),
        };
        let came = tokio::select! {
            // First of all: an attempt whose lease ended while its intent was written must not even begin.
            biased;
            () = self.held.lost() => return Err(LedgerError::Lost),
            came = attempt.make() => came,
            () = self.watch(place, &stopping) => return Err(LedgerError::Lost),
        };
        let said = keeper.take();
        self.said.extend(said);
        self.stop |= stop.is_asked();
        if let Some(permit) = permit {
            permit.tell(came.sign(hurry.is_some())).await;
        }
        let came = match came {
            Came::Done(outcome) | Came::Found(outcome) if let Err(why) = reading::as_declared(&intent, &step.uses, &outcome) => {
                Came::Failed(Failure::Final { why })
            }
            came => came,
        };
        if let (Some(_), Came::Failed(Failure::Retry { .. })) = (hurry, &came)
            && self.hurry(place, action).is_none()
            && self.left_of_call().is_none_or(|left| left.is_zero())
        {
            return self.no_longer_hurried(place).await;
        }
        let left = self.leaves(place, step, action, &intent, &came);
        self.settle(place, step, came, left).await
    }

    /// How long somebody still waits for the steps. An effect that is made again after it was broken off is not hurried: it could be made twice.
    fn hurry(&self, place: Place, action: &dyn Action) -> Option<Duration> {
        if place.phase != Phase::Steps || action.spec().repeat == Repeat::AtLeastOnce {
            return None;
        }
        let until = self.shared.waiting.until(&self.run.delivery, &self.run.id)?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// What the request that this step is done in has left.
    fn left_of_call(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// The attempt ended for the sake of a reply that is given by now. That is not the target's fault: it goes on with all of its time.
    async fn no_longer_hurried(&mut self, place: Place) -> Result<Turn, LedgerError> {
        let why = match self.until {
            None => Why::new("late", "whoever waited was answered without it; it goes on with its own deadline"),
            Some(_) => Why::new("late", "the call it was made in had to end; it goes on in another one"),
        };
        self.write(vec![Change::Retrying { place, state: AttemptState::Interrupted, why }]).await?;
        Ok(Turn::Next)
    }

    /// The journaled intent, or a new one. `None`: the step's condition does not hold.
    fn intent(&self, place: Place, step: &Step, action: &dyn Action) -> Result<Option<Intent>, Why> {
        if let Some(intent) = self.record(place).and_then(|record| record.intent.clone()) {
            return Ok(Some(intent));
        }
        let standing = Standing::new(&self.rule, &self.run, &self.steps, self.stop);
        let environment = reading::environment(&self.rule, &self.event, &self.shared.offer, &standing)
            .map_err(|error| reading::evaluation(&error, "what the step reads"))?;
        if let Some(condition) = &step.condition {
            match condition.evaluate(&environment).map_err(|error| reading::evaluation(&error, "`if`"))? {
                serde_json::Value::Bool(true) => {}
                serde_json::Value::Bool(false) => return Ok(None),
                _ => return Err(Why::new("evaluation", "`if` is neither true nor false")),
            }
        }
        let origin = reading::origin(&self.run, &self.event, &label(step), place, &self.trace, self.shared.public_url.as_deref());
        let key = call_key(&self.run, place, self.record(place));
        let call = reading::call(step, key, &environment, &self.shared.offer, origin)?;
        Ok(Some(action.prepare(call)?))
    }

    fn out_of_time(&self, place: Place) -> Option<Why> {
        let over = place.phase == Phase::Steps && self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        over.then(|| {
            let timeout = self.rule.timeout.map(seconds).unwrap_or_default();
            Why::new(OUT_OF_TIME, format!("the run took longer than its `timeout: {timeout}`"))
        })
    }

    /// A step ends at the latest when the run has to.
    fn time_left(&self, place: Place, timeout: Duration) -> Duration {
        match self.deadline {
            Some(deadline) if place.phase == Phase::Steps => timeout.min(deadline.saturating_duration_since(Instant::now())),
            _ => timeout,
        }
    }

    fn record(&self, place: Place) -> Option<&StepRecord> {
        self.steps.iter().find(|record| record.place == place)
    }

    async fn write(&mut self, changes: Vec<Change>) -> Result<(), LedgerError> {
        let changes = self.said.drain(..).chain(changes).collect();
        let Written { stop, cancelled } = self.shared.journal.write(self.held.lease.clone(), changes).await?;
        self.stop |= stop.is_some() || cancelled;
        self.run.cancelled |= cancelled;
        Ok(())
    }

    /// The journal is the truth about what was done.
    async fn look_again(&mut self) -> Result<(), LedgerError> {
        if let Some((_, steps)) = self.shared.journal.run(&self.run.id).await? {
            self.steps = steps;
        }
        Ok(())
    }

    fn is_plain(&self, step: &Step) -> bool {
        self.shared.action(&step.uses).is_none_or(|action| action.spec().class == Class::Plain)
    }

    fn count(&self, step: &Step, outcome: &'static str) {
        self.shared.metrics.attempts.get_or_create(&AttemptLabels { action: step.uses.clone(), outcome }).inc();
    }
}

fn label(step: &Step) -> StepLabel {
    StepLabel { id: step.id.clone(), name: step.name.clone(), uses: step.uses.clone() }
}
