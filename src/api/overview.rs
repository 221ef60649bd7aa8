//! What is going on: counts, what is open, what waits for what, what failed.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use poem_openapi::Object;

use super::deliveries::PAGE;
use super::problem::Failure;
use super::runs::{OPEN, OpenGroup, dead_states, grouped, open_states};
use super::shapes::Run;
use super::state::State;
use super::words::Moment;
use crate::access::Viewer;
use crate::clock::Timestamp;
use crate::journal::record::{Counts, Listing, RunRecord, RunState};
use crate::run::approval;

/// Counts go so far back.
const DAY: Duration = Duration::from_secs(86_400);
/// What is counted faster is counted every time.
const AT_ONCE: Duration = Duration::from_millis(10);
/// What is counted one by one, at most.
const COUNTED: usize = 500;

/// How many are in a state.
#[derive(Debug, Clone, Object)]
pub struct Count {
    /// The state.
    pub state: String,
    /// How many.
    pub count: u64,
}

/// What a run waits for.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Waiting {
    /// The run.
    pub run: String,
    /// Id of the step that waits, or its number.
    pub step: String,
    /// What is asked or waited for, for people.
    pub what: String,
    /// Does it wait for a person to say yes or no?
    pub asks: bool,
}

/// What is going on.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Overview {
    /// Since when is counted: the last 24 hours.
    pub since: Moment,
    /// Deliveries by state.
    pub deliveries: Vec<Count>,
    /// Runs by state.
    pub runs: Vec<Count>,
    /// Runs that are not over, newest first.
    pub open: Vec<Run>,
    /// What those of them wait for that wait.
    pub waiting: Vec<Waiting>,
    /// Concurrency groups of runs that are not over.
    pub groups: Vec<OpenGroup>,
    /// Runs that failed for good in this time, newest first.
    pub failed: Vec<Run>,
    /// Does the store take writes?
    pub store_works: bool,
    /// What is wrong with the rule files as they are now.
    pub rules_fault: Option<String>,
}

impl State {
    /// What is going on.
    pub(crate) async fn overview(&self, viewer: &Viewer) -> Result<Overview, Failure> {
        let since = Timestamp::now().before(DAY);
        let Counts { deliveries, runs } = self.counts(viewer, since).await?;
        let count = |counts: Vec<(String, u64)>| counts.into_iter().map(|(state, count)| Count { state, count }).collect();
        let of = |states, since, limit| Listing { limit, states, since, ..Listing::default() };
        let (mut open, _) = self.runs(viewer, of(open_states(), None, OPEN + 1)).await?;
        let (failed, _) = self.runs(viewer, of(dead_states(), Some(since), PAGE + 1)).await?;
        let groups = grouped(open.clone());
        open.truncate(PAGE);
        let waiting = self.waiting(&open).await?;
        Ok(Overview {
            since: Moment(since),
            deliveries: count(deliveries),
            runs: count(runs),
            open: open.into_iter().map(Run::from).collect(),
            waiting,
            groups,
            failed: failed.into_iter().map(Run::from).collect(),
            store_works: self.journal().works(),
            rules_fault: self.parts.rules.fault(),
        })
    }

    /// What runs wait for: those that ask people first.
    async fn waiting(&self, open: &[RunRecord]) -> Result<Vec<Waiting>, Failure> {
        let mut waiting = Vec::new();
        for run in open.iter().filter(|run| run.state == RunState::Waiting) {
            let Some((_, steps)) = self.journal().run(&run.id).await? else { continue };
            let question = approval::question(&steps).map(|(place, _)| place);
            let Some(step) = steps.iter().find(|step| !step.state.is_final()) else { continue };
            let asks = question == Some(step.place);
            let why = step.why.as_ref().map(|why| why.message.as_str());
            let intent = step.intent.as_ref().map(|intent| intent.summary.as_str());
            let what = if asks { approval::asked(step) } else { why.or(intent).unwrap_or("its next attempt") };
            waiting.push(Waiting {
                run: run.id.clone(),
                step: step.label.id.clone().unwrap_or_else(|| (step.place.index + 1).to_string()),
                what: what.to_owned(),
                asks,
            });
        }
        waiting.sort_by_key(|one| !one.asks);
        Ok(waiting)
    }

    /// Of everything; for those who do not see everything, of the newest that they see.
    async fn counts(&self, viewer: &Viewer, since: Timestamp) -> Result<Counts, Failure> {
        if viewer.sees_all() {
            return self.counts_of_all(since).await;
        }
        let listing = || Listing { limit: COUNTED + 1, since: Some(since), ..Listing::default() };
        let (deliveries, _) = self.deliveries(viewer, listing()).await?;
        let (runs, _) = self.runs(viewer, listing()).await?;
        Ok(Counts {
            deliveries: tally(deliveries.iter().map(|delivery| delivery.state.word())),
            runs: tally(runs.iter().map(|run| run.state.word())),
        })
    }
}

impl State {
    /// What took long to count is good for a while: ten times as long. Pages that follow what happens ask again and again.
    async fn counts_of_all(&self, since: Timestamp) -> Result<Counts, Failure> {
        let now = Instant::now();
        let known = || self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known().as_ref().filter(|(until, _)| now < *until).map(|(_, counts)| counts.clone()) {
            return Ok(counts);
        }
        let counts = self.journal().counts(since).await?;
        let took = now.elapsed();
        if took > AT_ONCE {
            *known() = Some((Instant::now() + took * 10, counts.clone()));
        }
        Ok(counts)
    }
}

fn tally(words: impl Iterator<Item = &'static str>) -> Vec<(String, u64)> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts.into_iter().collect()
}
