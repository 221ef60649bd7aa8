//! What must be true at the end of every schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use declic::journal::Journal;
use declic::journal::record::{AttemptState, DeliveryRecord, Listing, Phase, RunRecord, RunState, StepRecord, StepState};
use declic::journal::sqlite::Sqlite;

use super::outside::{Effect, Outside};
use super::rules::{BATCH, DEPLOY, PLAIN};
use super::senders::{Sent, age};

/// What was counted in one schedule, or in many.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub lives: u64,
    pub acknowledged: u64,
    pub runs: u64,
    pub effects: u64,
    /// Effects that the target does not let anybody look for, and that were made more than once.
    pub repeated: u64,
    /// What was done, in order, as one number: the same for the same schedule.
    pub digest: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.lives += other.lives;
        self.acknowledged += other.acknowledged;
        self.runs += other.runs;
        self.effects += other.effects;
        self.repeated += other.repeated;
        self.digest ^= other.digest;
    }
}

const ALL: usize = 1000;

fn failed(error: declic::journal::JournalError) -> String {
    format!("the store: {error}")
}

async fn deliveries(store: &Sqlite) -> Result<Vec<DeliveryRecord>, String> {
    store.deliveries(Listing { limit: ALL, ..Listing::default() }).await.map_err(failed)
}

async fn runs(store: &Sqlite) -> Result<Vec<RunRecord>, String> {
    store.runs(Listing { limit: ALL, ..Listing::default() }).await.map_err(failed)
}

/// Has everything come to its final state?
pub async fn is_over(store: &Sqlite) -> Result<bool, String> {
    Ok(deliveries(store).await?.iter().all(|delivery| delivery.state.is_final())
        && runs(store).await?.iter().all(|run| run.state.is_final()))
}

/// What has not.
pub async fn open(store: &Sqlite) -> Result<String, String> {
    let mut text = String::new();
    for delivery in deliveries(store).await?.iter().filter(|delivery| !delivery.state.is_final()) {
        writeln!(text, "{} {}", delivery.delivery_id, delivery.state.word()).map_err(|error| error.to_string())?;
    }
    for run in runs(store).await?.iter().filter(|run| !run.state.is_final()) {
        writeln!(text, "{run:?}").map_err(|error| error.to_string())?;
    }
    Ok(text)
}

/// Looks at everything; the first thing that is wrong is the answer.
pub async fn judge(
    store: &Sqlite,
    outside: &Outside,
    sent: &[Sent],
    heard: &[(String, String)],
    by_hand: bool,
    strict: bool,
) -> Result<Tally, String> {
    if let Some(fault) = outside.state().faults.first() {
        return Err(fault.clone());
    }
    let kept = deliveries(store).await?;
    let mut tally = Tally { acknowledged: heard.len() as u64, ..Tally::default() };
    nothing_is_lost(&kept, sent, heard)?;
    let effects = outside.state().effects.clone();
    tally.effects = effects.len() as u64;
    let mut hasher = DefaultHasher::new();
    format!("{effects:?}").hash(&mut hasher);
    tally.digest = hasher.finish();
    let all = runs(store).await?;
    tally.runs = all.len() as u64;
    every_rule_has_its_run(&kept, &all, sent)?;
    for run in &all {
        let (run, steps) = store.run(&run.id).await.map_err(failed)?.ok_or_else(|| format!("{} is gone", run.id))?;
        let own: Vec<&Effect> = effects.iter().filter(|effect| effect.run == run.id).collect();
        tally.repeated += each_step_is_done_once(&run, &steps, &own)?;
        let hasty = targets_are_left_in_peace(&steps, &outside.state().hasty);
        hasty.map_err(|fault| format!("{fault}\n{}", story(&run, &steps, &own)))?;
    }
    if strict {
        latest_wins(&effects, &all, &kept, sent, by_hand)?;
    }
    Ok(tally)
}

fn nothing_is_lost(kept: &[DeliveryRecord], sent: &[Sent], heard: &[(String, String)]) -> Result<(), String> {
    for (theirs, ours) in heard {
        let found: Vec<&DeliveryRecord> = kept.iter().filter(|delivery| delivery.delivery_id == *theirs).collect();
        match found.as_slice() {
            [] => return Err(format!("{theirs} was acknowledged as {ours} and is lost")),
            [one] if one.id == *ours => {}
            [one] => return Err(format!("{theirs} was acknowledged as {ours} and is kept as {}", one.id)),
            _ => return Err(format!("{theirs} is there {} times", found.len())),
        }
    }
    let heard: BTreeSet<&String> = heard.iter().map(|(theirs, _)| theirs).collect();
    match sent.iter().find(|sent| !heard.contains(&sent.id)) {
        Some(sent) => Err(format!("{} was never acknowledged", sent.id)),
        None => Ok(()),
    }
}

fn every_rule_has_its_run(kept: &[DeliveryRecord], runs: &[RunRecord], sent: &[Sent]) -> Result<(), String> {
    for delivery in kept {
        let is_push = sent.iter().any(|sent| sent.id == delivery.delivery_id && sent.age.is_some());
        let expected = if is_push { vec![DEPLOY] } else { vec![BATCH, PLAIN] };
        let own = runs.iter().filter(|run| run.delivery == delivery.id);
        let found: BTreeSet<&str> = own.clone().map(|run| run.rule.as_str()).collect();
        if found != expected.iter().copied().collect() || own.count() != expected.len() {
            return Err(format!("{} has runs of {found:?}, not of {expected:?}", delivery.delivery_id));
        }
    }
    Ok(())
}

/// Answers how many effects were repeated that may be.
fn each_step_is_done_once(run: &RunRecord, steps: &[StepRecord], effects: &[&Effect]) -> Result<u64, String> {
    let mut repeated = 0;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for effect in effects {
        // What follows a failure is done again when its run is taken up again; under another key.
        let is_step = steps.iter().any(|step| step.label.id.as_deref() == Some(&effect.step) && step.place.phase == Phase::Steps);
        let key = if is_step { "" } else { effect.key.as_str() };
        *counts.entry((&effect.step, key)).or_default() += 1;
    }
    for ((name, key), count) in &counts {
        let may_repeat = effects.iter().any(|effect| effect.step == *name && effect.uses == "sim/call");
        if *count > 1 && !may_repeat {
            let story = story(run, steps, effects);
            return Err(format!("{name} {key} of {} was done {count} times\n{story}", run.id));
        }
        repeated += (*count as u64).saturating_sub(1);
    }
    for step in steps {
        all_attempts_are_made(run, step)?;
        let name = step.label.id.as_deref().unwrap_or_default();
        let made = effects.iter().any(|effect| effect.step == name);
        let last = step.attempts.last().map(|attempt| attempt.state);
        let wrong = match step.state {
            StepState::Succeeded => !made,
            StepState::Failed => made && last == Some(AttemptState::Failed) && step.place.phase == Phase::Steps,
            StepState::Skipped => false,
            StepState::Running | StepState::Waiting => true,
        };
        if wrong {
            let word = step.state.word();
            let said = if made { "made" } else { "not made" };
            return Err(format!("{name} of {} is {word}, but its effect was {said}\n{}", run.id, story(run, steps, effects)));
        }
    }
    Ok(repeated)
}

/// Where a target asked for time, it got it. A worker that died, or did not reach the store, took the wish with it, and whoever redelivers
/// what was given up asks for it at once.
fn targets_are_left_in_peace(steps: &[StepRecord], hasty: &[String]) -> Result<(), String> {
    let knows =
        |step: &&StepRecord| step.attempts.iter().all(|attempt| attempt.state != AttemptState::Interrupted && attempt.round == 0);
    let keys = steps.iter().filter(knows).filter_map(|step| Some(&step.intent.as_ref()?.call.key));
    match keys.into_iter().find(|key| hasty.contains(key)) {
        Some(key) => Err(format!("{key} was tried again before the time its target had asked for")),
        None => Ok(()),
    }
}

/// A step is given up after all of its attempts, unless its time or its workers were used up first.
fn all_attempts_are_made(run: &RunRecord, step: &StepRecord) -> Result<(), String> {
    let Some(last) = step.attempts.last() else { return Ok(()) };
    let code = step.why.as_ref().map(|why| why.code.as_str());
    if step.state != StepState::Failed || last.state != AttemptState::Retry || matches!(code, Some("run-timeout" | "poison")) {
        return Ok(());
    }
    let made = step.attempts.iter().filter(|attempt| attempt.round == last.round && attempt.state == AttemptState::Retry).count();
    let most = step.intent.as_ref().and_then(|intent| intent.call.params.get("attempts")).and_then(serde_json::Value::as_u64);
    // A run with a `timeout:` ends before an attempt that would come too late.
    if most.is_some_and(|most| most != made as u64) && run.rule != BATCH {
        return Err(format!("{:?} of {} was given up after {made} of {most:?} attempts", step.label.id, run.id));
    }
    Ok(())
}

fn story(run: &RunRecord, steps: &[StepRecord], effects: &[&Effect]) -> String {
    let mut text = format!("{run:?}\n");
    for step in steps {
        let key = step.intent.as_ref().map(|intent| intent.call.key.as_str());
        let attempts: Vec<_> =
            step.attempts.iter().map(|made| (made.state.word(), made.why.as_ref().map(|why| &why.message))).collect();
        text += &format!("  {:?} {:?} {} {key:?} {attempts:?}\n", step.place, step.label.id, step.state.word());
    }
    for effect in effects {
        text += &format!("  {effect:?}\n");
    }
    text
}

/// No older commit is deployed over a newer one, and the newest is never left out.
fn latest_wins(
    effects: &[Effect],
    runs: &[RunRecord],
    kept: &[DeliveryRecord],
    sent: &[Sent],
    by_hand: bool,
) -> Result<(), String> {
    if by_hand {
        return Ok(());
    }
    let deploys: Vec<(u64, &str)> =
        effects.iter().filter_map(|effect| Some((age(effect.commit.as_deref()?)?, effect.run.as_str()))).collect();
    if let Some(pair) = deploys.windows(2).find(|pair| pair[1].0 < pair[0].0) {
        let runs: Vec<&RunRecord> = runs.iter().filter(|run| pair.iter().any(|deploy| deploy.1 == run.id)).collect();
        return Err(format!("an older commit was deployed over a newer one: {pair:?} of {deploys:?}\n{runs:#?}"));
    }
    let Some(newest) = sent.iter().max_by_key(|sent| sent.age) else { return Ok(()) };
    let delivery = kept.iter().find(|delivery| delivery.delivery_id == newest.id);
    let run = delivery.and_then(|delivery| runs.iter().find(|run| run.delivery == delivery.id));
    match run {
        Some(run) if matches!(run.state, RunState::Succeeded | RunState::Failed | RunState::Dead) => Ok(()),
        other => Err(format!("the newest commit was left out: {other:?}")),
    }
}
