//! An accepted delivery against the rules in force: what is to be done is written with the reasons, in one transaction.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::Level;

use super::about;
use super::leases::Held;
use super::reply;
use super::shared::Shared;
use super::{ancestry, approval, asking, heeding, reviewing, slack_groups};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::journal::LedgerError;
use crate::journal::acts::accounted;
use crate::journal::record::{
    About, ClaimedDelivery, Collapse, Decision, Delivery, Group, GroupMode, NewDelivery, NewRun, Repeats, RunFailure, Verdict,
};
use crate::matching::{self, Asks, Index, MOST_REASONS, Trace};
use crate::report::metrics::RunLabels;
use crate::repositories::Brought;
use crate::rules::expr::Environment;
use crate::rules::model::{self, Mode, Rule};
use crate::rules::template::Template;
use crate::sources;

/// A delivery whose matching brought its worker down so often is given up.
const MOST_CLAIMS: u32 = 10;

/// Bodies from this size on are decoded on a thread that may take its time.
const LARGE: usize = 256 << 10;

/// Is there something to do now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Matched {
    /// Runs that wait for a worker.
    Runs,
    /// No.
    Nothing,
}

/// Decides one delivery, of which `event` may have been read before. An error of the store leaves it to its lease: it comes again.
pub(super) async fn decide(shared: Arc<Shared>, claimed: ClaimedDelivery, event: Option<Box<Event>>, held: Held) -> Matched {
    let ClaimedDelivery { mut delivery, claims, .. } = claimed;
    let id = delivery.id.clone();
    let answered = heard(&shared, &delivery).await;
    let decision = if claims > MOST_CLAIMS {
        failed(format!("{} workers in a row went away while they matched it; it is given up", claims - 1))
    } else {
        // What was learned for an earlier decision may have changed.
        delivery.learned = None;
        decided(&shared, delivery, event).await
    };
    let (level, name, line) = outcome(&decision);
    count(&shared, &decision);
    match write(&shared, &held, decision).await {
        Ok(runs) => {
            shared.observer.of(&id).say_as(level, name, line);
            if shared.waiting.is_asked(&id)
                && let Err(error) = reply::recall(&shared, &id).await
            {
                tracing::error!(delivery = %id, %error, "the store cannot tell what to reply");
            }
            if runs.is_empty() && !answered { Matched::Nothing } else { Matched::Runs }
        }
        Err(error) => {
            match error {
                LedgerError::Lost => tracing::warn!(delivery = %id, "its lease is over: another worker has it"),
                error => tracing::error!(delivery = %id, %error, "it is left as it is until its lease is over"),
            }
            Matched::Nothing
        }
    }
}

/// Decides a delivery before it is appended, if memory suffices for it: nobody has to be asked, and the rules read neither its payload nor the id
/// that it does not have yet. `event` is completed as far as that goes.
pub(super) fn ahead(shared: &Shared, delivery: &NewDelivery, event: &mut Event) -> Option<Decision> {
    // Repositories may have rules that must be fetched, and comments are answered before they are decided.
    if shared.repositories.is_some() || event.kind == "github.command" {
        return None;
    }
    let index = shared.rules.load();
    if !index.is_quick(event) || index.reads_payload(&event.kind) || index.reads_id(&event.kind) || !index.asks(event).is_empty()
    {
        return None;
    }
    sources::arriving(event, delivery);
    let mut decision = guarded(|| by_rules(shared, &index, &Brought::default(), event))?;
    decision.may_ask = true;
    Some(decision)
}

/// Tells what was decided ahead.
pub(super) fn tell(shared: &Shared, delivery: &str, decision: &Decision) {
    let (level, name, line) = outcome(decision);
    count(shared, decision);
    shared.observer.of(delivery).say_as(level, name, line);
}

/// Writes the decision; one about commits as soon as their order to what is under way is known, or cannot be learnt.
async fn write(shared: &Shared, held: &Held, mut decision: Decision) -> Result<Vec<String>, LedgerError> {
    let groups = groups(&decision);
    if let Some(line) = decision.line.clone().filter(|_| !groups.is_empty()) {
        for _ in 0..ancestry::ASKED {
            decision.may_ask = ancestry::learn(shared, &line, groups.clone(), None).await?;
            match shared.journal.decide(held.lease.clone(), decision.clone()).await {
                Err(LedgerError::Unordered) => {}
                written => return written,
            }
        }
        decision.may_ask = false;
    }
    shared.journal.decide(held.lease.clone(), decision).await
}

fn groups(decision: &Decision) -> Vec<String> {
    match &decision.verdict {
        Verdict::Runs(runs) => runs.iter().filter_map(NewRun::ordered_group).collect(),
        _ => Vec::new(),
    }
}

/// Takes what a person says with this delivery to a run that asks. Done before the delivery is decided: once more after a crash does no harm.
async fn heard(shared: &Shared, delivery: &Delivery) -> bool {
    let source = shared.sources.get(&delivery.content.source);
    let Some((run, answer)) = source.and_then(|source| source.answered(delivery)) else { return false };
    let line = format!("{} says {} to {run}", answer.by, if answer.approved { "yes" } else { "no" });
    let told = shared.observer.of(&delivery.id);
    let (journal, who) = (shared.journal.as_ref(), format!("{} ({})", answer.by, answer.via));
    let act = if answer.approved { "approve" } else { "reject" };
    let answered = approval::answer(journal, &run, answer);
    match accounted(journal, [&who, act, &run], answered, ToString::to_string).await {
        Ok(()) => told.say("answered", line),
        Err(LedgerError::Refused(why)) => told.say_as(Level::WARN, "refused", format!("{line}, which is not taken: {why}")),
        Err(error) => told.say_as(Level::ERROR, "refused", format!("{line}, which was not kept: {error}")),
    };
    true
}

const BROKE_OFF: &str = "matching broke off with an error of its own; the log has the details";

fn failed(why: String) -> Decision {
    without_event(Verdict::Failed(why))
}

fn without_event(verdict: Verdict) -> Decision {
    Decision { traces: json!([]), verdict, line: None, may_ask: false, about: About::default(), learned: None }
}

/// Reads the event, gets what its repository brings, and holds it against all rules.
async fn decided(shared: &Arc<Shared>, mut delivery: Delivery, event: Option<Box<Event>>) -> Decision {
    let read = match event {
        Some(event) => Ok(Some(sources::journaled(*event, &delivery))),
        None => decode(shared, &delivery, false).await,
    };
    let event = match read {
        Ok(Some(event)) => event,
        Ok(None) => return without_event(Verdict::Ignored),
        Err(decision) => return *decision,
    };
    let index = shared.rules.load_full();
    let mut brought = match &shared.repositories {
        Some(repositories) => repositories.of(&event).await,
        None => Brought::default(),
    };
    brought.notes.extend(reviewing::review(shared, &delivery, &event).await);
    let ours = index.asks(&event);
    if !ours.slack_groups.is_empty() {
        delivery.learned = Some(slack_groups::ask(shared, &event, &ours.slack_groups).await);
    } else if shared.clients.github.has_token()
        && let Err(why) = learn(shared, &mut delivery, &event, ours, &mut brought).await
    {
        return failed(format!("GitHub does not say who may start what here, so nothing is started: {why}"));
    }
    let indices = || std::iter::once(&index).chain(brought.sets.iter().map(|set| set.index()));
    let payload = indices().any(|index| index.reads_payload(&event.kind));
    let event = if payload || delivery.learned.is_some() {
        match decode(shared, &delivery, payload).await {
            Ok(Some(event)) => event,
            Ok(None) => return without_event(Verdict::Ignored),
            Err(decision) => return *decision,
        }
    } else {
        event
    };
    let decision = guarded(|| by_rules(shared, &index, &brought, &event)).unwrap_or_else(|| failed(BROKE_OFF.to_owned()));
    heeding::heed(shared, &delivery, &event, &decision, indices()).await;
    Decision { learned: delivery.learned, ..decision }
}

/// Asks GitHub what rules need to know. What a repository's rules ask for and cannot be had takes away those rules, and nothing of the
/// operator's.
async fn learn(shared: &Shared, delivery: &mut Delivery, event: &Event, ours: Asks, brought: &mut Brought) -> Result<(), String> {
    if !ours.is_empty() {
        delivery.learned = Some(asking::ask(&shared.clients.github, event, &ours).await?);
    }
    let mut all = ours.clone();
    brought.sets.iter().for_each(|set| all.join(set.index().asks(event)));
    if all != ours {
        match asking::ask(&shared.clients.github, event, &all).await {
            Ok(learned) => delivery.learned = Some(learned),
            Err(why) => brought.fail(&format!("GitHub does not say who may start them: {why}")),
        }
    }
    Ok(())
}

/// The event of a delivery; a decision if there is none to be had.
async fn decode(shared: &Arc<Shared>, delivery: &Delivery, payload: bool) -> Result<Option<Event>, Box<Decision>> {
    let read = if delivery.content.body.len() >= LARGE {
        let (shared, delivery) = (Arc::clone(shared), delivery.clone());
        tokio::task::spawn_blocking(move || guarded(|| shared.decode(&delivery, payload))).await.ok().flatten()
    } else {
        guarded(|| shared.decode(delivery, payload))
    };
    match read {
        Some(Ok(event)) => Ok(event),
        Some(Err(why)) => Err(Box::new(without_event(Verdict::Rejected(why)))),
        None => Err(Box::new(failed(BROKE_OFF.to_owned()))),
    }
}

/// An error of ours in decoding or matching must not end in a loop of workers that fall over.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).ok()
}

fn by_rules(shared: &Shared, index: &Index, brought: &Brought, event: &Event) -> Decision {
    let mut runs: Vec<NewRun> = Vec::new();
    let mut traces: Vec<Value> = Vec::new();
    let stored = |trace: &Trace| serde_json::to_value(trace).unwrap_or(Value::Null);
    for index in std::iter::once(index).chain(brought.sets.iter().map(|set| set.index().as_ref())) {
        let revision = &index.rules().revision;
        let mut decisions = index.decide_within(event, MOST_REASONS);
        if let Some(repositories) = &shared.repositories {
            decisions.refuse(|rule| {
                let refused = rule.owner.is_some().then(|| repositories.admit(revision, Timestamp::now()).err());
                refused.flatten().map(|found| ("limits: runs-per-hour".to_owned(), found))
            });
        }
        runs.extend(decisions.matched.iter().map(|rule| new_run(rule, event, revision, shared.policy.dry_run)));
        let errors = decisions.traces.iter().filter(|trace| trace.verdict == matching::Verdict::Error);
        runs.extend(errors.map(|trace| broken(Some(index), event, trace, revision)));
        traces.extend(decisions.to_store().iter().map(|trace| stored(trace)));
    }
    let errors = brought.notes.iter().filter(|trace| trace.verdict == matching::Verdict::Error);
    runs.extend(errors.map(|trace| broken(None, event, trace, "")));
    traces.extend(brought.notes.iter().map(stored));
    let verdict = if runs.is_empty() { Verdict::Ignored } else { Verdict::Runs(runs) };
    Decision {
        traces: traces.into(),
        verdict,
        line: ancestry::line(event),
        may_ask: false,
        about: about::of(event),
        learned: None,
    }
}

fn new_run(rule: &Rule, event: &Event, revision: &str, dry: bool) -> NewRun {
    let dry = dry || rule.dry_run;
    let (mut group, mut failure) = match group(rule, event, dry) {
        Ok(group) => (group, None),
        Err(why) => (None, Some(evaluation(format!("`concurrency.group` cannot be evaluated: {why}")))),
    };
    let collapse = match collapse(rule, event, dry) {
        Ok(collapse) => collapse,
        Err(why) => {
            failure = failure.or(Some(evaluation(format!("`collapse` cannot be evaluated: {why}"))));
            None
        }
    };
    if let Some(collapse) = collapse.as_ref().filter(|collapse| collapse.repeats == Repeats::Edit) {
        group = Some(Group { key: format!("collapse: {}", collapse.key), mode: GroupMode::Collapse });
    }
    NewRun {
        rule: rule.name.clone(),
        owner: rule.owner.clone(),
        place: rule.place.clone(),
        revision: revision.to_owned(),
        share: share(event),
        group,
        dry,
        collapse,
        failure,
    }
}

/// A rule that could not be evaluated is a run that failed: visible, never silently "did not match".
fn broken(index: Option<&Index>, event: &Event, trace: &Trace, revision: &str) -> NewRun {
    let rules = index.map(|index| &index.rules().rules);
    let rule = rules.into_iter().flatten().find(|rule| rule.name == trace.rule && rule.place == trace.place);
    let found = trace.checks.last().map_or("it cannot be evaluated", |check| check.found.as_str());
    NewRun {
        rule: trace.rule.clone(),
        owner: rule.and_then(|rule| rule.owner.clone()),
        place: trace.place.clone(),
        revision: revision.to_owned(),
        share: share(event),
        group: None,
        dry: false,
        collapse: None,
        failure: Some(evaluation(found.to_owned())),
    }
}

/// Whose turn a run uses: that of its repository, or of its source.
fn share(event: &Event) -> String {
    event.repository().unwrap_or(&event.source).to_owned()
}

fn evaluation(message: String) -> RunFailure {
    RunFailure {
        step: String::new(),
        action: String::new(),
        code: "evaluation".to_owned(),
        message,
        attempts: 0,
        rolled_back: false,
    }
}

fn group(rule: &Rule, event: &Event, dry: bool) -> Result<Option<Group>, String> {
    let Some(concurrency) = &rule.concurrency else { return Ok(None) };
    let mode = match concurrency.mode {
        Mode::QueueLatest => GroupMode::QueueLatest,
        Mode::QueueAll => GroupMode::QueueAll,
        Mode::Supersede => GroupMode::Supersede,
        Mode::Skip => GroupMode::Skip,
        Mode::Parallel => return Ok(None),
    };
    let environment = matching::environment(rule, event).map_err(|error| error.message)?;
    let name = rendered(&concurrency.group, &environment)?;
    Ok(Some(Group { key: apart(rule, name, dry), mode }))
}

fn rendered(template: &Template, environment: &Environment) -> Result<String, String> {
    Ok(match template.render(environment).map_err(|error| error.message)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// A repository's names are its own, and what does nothing neither waits for what does something, nor stops it.
fn apart(rule: &Rule, name: String, dry: bool) -> String {
    let name = match &rule.owner {
        Some(owner) => format!("{owner}: {name}"),
        None => name,
    };
    if dry { format!("dry run: {name}") } else { name }
}

fn collapse(rule: &Rule, event: &Event, dry: bool) -> Result<Option<Collapse>, String> {
    let Some(written) = &rule.collapse else { return Ok(None) };
    let environment = matching::environment(rule, event).map_err(|error| error.message)?;
    // Two rules tell two things of the same.
    let key = format!("{} {}", rule.name, rendered(&written.key, &environment)?);
    let state = written.state.as_ref().map(|state| rendered(state, &environment)).transpose()?.unwrap_or_default();
    let repeats = match written.repeats {
        model::Repeats::Edit => Repeats::Edit,
        model::Repeats::Drop => Repeats::Drop,
    };
    Ok(Some(Collapse { key: apart(rule, key, dry), state, repeats, quiet: written.quiet }))
}

fn outcome(decision: &Decision) -> (Level, &'static str, String) {
    match &decision.verdict {
        Verdict::Ignored => (Level::INFO, "ignored", "no rule wants it".to_owned()),
        Verdict::Rejected(why) => (Level::WARN, "rejected", why.clone()),
        Verdict::Failed(why) => (Level::ERROR, "failed", why.clone()),
        Verdict::Runs(runs) => {
            let level = if runs.iter().any(|run| run.failure.is_some()) { Level::ERROR } else { Level::INFO };
            let named: Vec<String> = runs
                .iter()
                .map(|run| match &run.failure {
                    Some(failure) => format!("{} (failed: {})", run.rule, failure.message),
                    None => run.rule.clone(),
                })
                .collect();
            (level, "matched", named.join(", "))
        }
    }
}

/// Runs that are over before they begin are counted here.
fn count(shared: &Shared, decision: &Decision) {
    let Verdict::Runs(runs) = &decision.verdict else { return };
    for run in runs.iter().filter(|run| run.failure.is_some()) {
        shared.metrics.runs.get_or_create(&RunLabels { rule: run.rule.clone(), state: "failed" }).inc();
    }
}
