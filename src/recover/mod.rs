//! Takes in what GitHub did not deliver. GitHub never tries again by itself; its delivery log says what got no 2xx and what was sent.
//!
//! What is read from the log goes the way of everything else: the source makes a [`Verified`](crate::verify::Verified) of it, the journal
//! tells new from known by the same id, and the workers match it. Only what some rule wants is taken in.

mod hook;
mod log;
mod progress;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::clock::Timestamp;
use crate::journal::record::{Appended, Delivery, NewDelivery};
use crate::journal::{Journal, JournalError};
use crate::matching::{Index, Verdict};
use crate::receive;
use crate::report::metrics::{Metrics, RecoveryLabels};
use crate::repositories::Repositories;
use crate::rules::registry;
use crate::settings::Settings;
use crate::sources::Source;

pub use hook::{Access, Hook, Plan, hooks};
pub use log::{Halt, Log, Logged};
pub use progress::Progress;
use progress::Walk;

/// Each sweep looks back beyond the last one for this long: what was tried may show in the log minutes later.
const OVERLAP: Duration = Duration::from_secs(600);
/// So many in a row that GitHub does not let us read are not one that we may not, and the rest is left for the next time.
const REFUSED_IN_A_ROW: usize = 3;
/// The first sweep after a start: serving comes first.
const SOON: Duration = Duration::from_secs(2);

/// What became of a delivery in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Taken in, with our id of it; in a dry run it would be.
    Recovered(Option<String>),
    /// It came in between.
    Known,
    /// No rule wants it.
    Unwanted,
    /// It cannot be taken in: why.
    Refused(String),
}

impl Outcome {
    /// Stable word, for metrics and listings.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Recovered(_) => "recovered",
            Self::Known => "known",
            Self::Unwanted => "unwanted",
            Self::Refused(_) => "refused",
        }
    }
}

/// What one sweep over one log came to.
#[derive(Debug, Default)]
pub struct Swept {
    /// Every delivery that had not arrived, the oldest first.
    pub findings: Vec<(Logged, Outcome)>,
    /// Why it stopped before the end.
    pub halt: Option<Halt>,
    /// All that was tried until then has been looked at, by GitHub's clock.
    pub until: Option<Timestamp>,
}

/// Takes in for one source.
pub struct Intake {
    /// Verifies, names and decodes.
    pub source: Arc<dyn Source>,
    /// The rules in force: what none of them wants is left where it is.
    pub rules: Arc<ArcSwap<Index>>,
    /// Rules of repositories; none where only the operator's count.
    pub repositories: Option<Arc<Repositories>>,
    /// Where it goes.
    pub journal: Arc<dyn Journal>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Called with our id of what was taken in.
    pub wake: Arc<dyn Fn(&str) + Send + Sync>,
    /// Is the log all there is?
    pub pull: bool,
}

impl Intake {
    /// Looks at everything that was tried since then, by GitHub's clock. `progress` says what needs no second look; it is kept up to date.
    pub async fn sweep(&self, log: &Log, since: Timestamp, dry_run: bool, progress: &mut Progress) -> Swept {
        let mut swept = Swept::default();
        let mut walk = progress.halted.take().unwrap_or_default();
        loop {
            let part = match log.part(since, walk.cursor.clone()).await {
                Ok(part) => part,
                Err(halt) => {
                    // A cursor that GitHub no longer takes begins anew.
                    progress.halted = matches!(halt, Halt::Later { .. }).then_some(walk);
                    swept.halt = Some(halt);
                    return swept;
                }
            };
            walk.saw(&part.tried);
            let open = self.part(log, &walk, part.tried, dry_run, progress, &mut swept).await;
            match (&swept.halt, part.next) {
                (None | Some(Halt::Refused(_)), Some(next)) => walk.cursor = Some(next),
                (None | Some(Halt::Refused(_)), None) => {
                    swept.until = [swept.until, walk.newest].into_iter().flatten().min();
                    progress.forget(since);
                    return swept;
                }
                (Some(_), Some(_)) => {
                    swept.until = None;
                    progress.halted = Some(walk);
                    return swept;
                }
                // All that is older has been looked at.
                (Some(_), None) => {
                    swept.until = [swept.until, open].into_iter().flatten().min();
                    return swept;
                }
            }
        }
    }

    /// Deals with what a part of the log holds. What GitHub does not let us read is passed over, and is looked at again: nothing is known of
    /// it. Answers until when all of the part was dealt with, if that was not to its end.
    async fn part(
        &self,
        log: &Log,
        walk: &Walk,
        tried: Vec<Logged>,
        dry_run: bool,
        progress: &mut Progress,
        swept: &mut Swept,
    ) -> Option<Timestamp> {
        let before = |logged: &Logged| Some(Timestamp(logged.delivered_at.0 - 1));
        let first = tried.first().and_then(before);
        let missing = match self.missing(&tried, walk, progress).await {
            Ok(missing) => missing,
            Err(error) => {
                swept.halt = Some(later(&error));
                return first;
            }
        };
        let heard = self.heard();
        let mut refused = 0;
        for logged in tried.into_iter().filter(|logged| missing.contains(&logged.guid)) {
            let theirs = self.repositories.as_ref().is_some_and(|repositories| repositories.hears(&logged.event));
            let outcome = match theirs || heard.contains(logged.event.as_str()) {
                true => self.take_in(log, &logged, dry_run).await,
                false => Ok(Outcome::Unwanted),
            };
            match outcome {
                Ok(outcome) => {
                    refused = 0;
                    self.tell(log, &logged, &outcome, dry_run);
                    progress.settle(&logged);
                    swept.findings.push((logged, outcome));
                }
                Err(Halt::Refused(why)) if refused < REFUSED_IN_A_ROW => {
                    refused += 1;
                    swept.until = [swept.until, before(&logged)].into_iter().flatten().min();
                    swept.halt.get_or_insert(Halt::Refused(format!("delivery {}: {why}", logged.guid)));
                }
                Err(Halt::Refused(_)) => return None,
                Err(later) => {
                    swept.halt = Some(later);
                    return before(&logged);
                }
            }
        }
        None
    }

    /// Those that never arrived: GitHub got no 2xx for them, or had nobody to send them to, and the journal does not have them, or could not
    /// match them.
    async fn missing(&self, tried: &[Logged], walk: &Walk, progress: &Progress) -> Result<HashSet<String>, JournalError> {
        let is_open =
            |logged: &&Logged| !progress.is_settled(logged) && (self.pull || !(logged.succeeded || walk.has_arrived(logged)));
        let ids = tried.iter().filter(is_open).map(|logged| logged.guid.clone()).collect();
        Ok(self.journal.missing(self.source.name(), ids).await?.into_iter().collect())
    }

    /// GitHub's words for the events that some rule could want: the others need not be fetched.
    fn heard(&self) -> BTreeSet<&'static str> {
        let index = self.rules.load();
        let rules = index.rules().rules.iter().filter(|rule| rule.enabled);
        let triggers = rules.flat_map(|rule| &rule.triggers);
        triggers
            .filter(|trigger| trigger.source.as_deref().is_none_or(|source| source == self.source.name()))
            .filter_map(|trigger| registry::github_event_type(trigger.event))
            .collect()
    }

    async fn take_in(&self, log: &Log, logged: &Logged, dry_run: bool) -> Result<Outcome, Halt> {
        let inbound = match log.request(logged, &self.source.entry().path).await? {
            Ok(inbound) => inbound,
            Err(why) => return Ok(Outcome::Refused(why)),
        };
        let by = format!("the delivery log of {}", log.hook());
        let identified = self.source.fetched(inbound, &by).and_then(|verified| {
            let identity = self.source.identify(&verified)?;
            Ok(receive::to_journal(self.source.as_ref(), &verified, identity))
        });
        let delivery = match identified {
            Ok(delivery) => delivery,
            Err(refusal) => return Ok(Outcome::Refused(refusal.private)),
        };
        match self.is_wanted(&delivery).await {
            Ok(true) if dry_run => return Ok(Outcome::Recovered(None)),
            Ok(true) => {}
            Ok(false) => return Ok(Outcome::Unwanted),
            Err(why) => return Ok(Outcome::Refused(why)),
        }
        match self.journal.append(delivery).await {
            Ok(Appended::New { id } | Appended::Revived { id }) => {
                (self.wake)(&id);
                Ok(Outcome::Recovered(Some(id)))
            }
            Ok(Appended::Duplicate { .. }) => Ok(Outcome::Known),
            Err(error) => Err(later(&error)),
        }
    }

    /// Would any rule start, or fail to say? What is denied is taken in, too: the reason belongs where people look for it.
    async fn is_wanted(&self, delivery: &NewDelivery) -> Result<bool, String> {
        let index = self.rules.load_full();
        let delivery = Delivery { id: String::new(), content: delivery.clone(), replay: false, learned: None };
        let Some(event) = self.source.decode(&delivery, true)? else { return Ok(false) };
        let wants = |index: &Index| index.decide(&event).traces.iter().any(|trace| trace.verdict != Verdict::NotMatched);
        if wants(&index) {
            return Ok(true);
        }
        let Some(repositories) = &self.repositories else { return Ok(false) };
        let brought = repositories.of(&event).await;
        // What cannot be read now may want it: it is decided once it is here.
        let unknown = brought.notes.iter().any(|note| note.verdict == Verdict::Error);
        Ok(unknown || brought.sets.iter().any(|set| wants(set.index())))
    }

    fn tell(&self, log: &Log, logged: &Logged, outcome: &Outcome, dry_run: bool) {
        if dry_run {
            return;
        }
        let (source, hook, guid, event) = (self.source.name(), log.hook(), &logged.guid, &logged.event);
        let labels = RecoveryLabels { source: source.to_owned(), outcome: outcome.word() };
        self.metrics.recovered.get_or_create(&labels).inc();
        match outcome {
            Outcome::Recovered(id) => {
                tracing::info!(source, %hook, guid, event, delivery = id, "taken in from GitHub's delivery log");
            }
            Outcome::Refused(why) => {
                tracing::warn!(source, %hook, guid, event, "a delivery in GitHub's log cannot be taken in: {why}");
            }
            Outcome::Known | Outcome::Unwanted => {
                tracing::debug!(source, %hook, guid, event, outcome = outcome.word(), "passed over")
            }
        }
    }

    /// Sweeps again and again, from where the last sweep ended, also over restarts.
    pub async fn keep_up(self, log: Log, every: Duration) {
        let mark = format!("delivery-log/{}/{}", self.source.name(), log.hook());
        let mut progress = Progress::default();
        let mut failing = false;
        let began = Instant::now();
        tokio::time::sleep(SOON.min(every)).await;
        loop {
            let halt = match self.go_on(&log, &mark, began, &mut progress).await {
                Ok(swept) => swept.halt,
                Err(error) => Some(later(&error)),
            };
            let pause = match &halt {
                Some(Halt::Later { after, .. }) => every.max(*after),
                _ => every,
            };
            // Once when it begins, once when it ends.
            match (&halt, failing) {
                (Some(Halt::Later { why, .. } | Halt::Refused(why)), false) => {
                    tracing::warn!(source = self.source.name(), hook = %log.hook(), "GitHub's delivery log cannot be read: {why}");
                }
                (None, true) => {
                    tracing::info!(source = self.source.name(), hook = %log.hook(), "GitHub's delivery log can be read again");
                }
                _ => {}
            }
            failing = halt.is_some();
            let result = if failing { "halted" } else { "done" };
            let labels = RecoveryLabels { source: self.source.name().to_owned(), outcome: result };
            self.metrics.sweeps.get_or_create(&labels).inc();
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.9..1.1))).await;
        }
    }

    async fn go_on(&self, log: &Log, mark: &str, began: Instant, progress: &mut Progress) -> Result<Swept, JournalError> {
        let last = match self.journal.mark(mark).await? {
            Some(last) => last,
            None => {
                // From the start of this process on nothing is missed, also if the log stays empty or GitHub could not be asked until now.
                let began = match log.now().await {
                    Ok(now) => before(now, began.elapsed()),
                    Err(halt) => return Ok(Swept { halt: Some(halt), ..Swept::default() }),
                };
                self.journal.set_mark(mark, began).await?;
                began
            }
        };
        let swept = self.sweep(log, before(last, OVERLAP), false, progress).await;
        if let Some(until) = swept.until.filter(|until| *until > last) {
            self.journal.set_mark(mark, until).await?;
        }
        Ok(swept)
    }
}

/// What all intakes of a process have in common.
pub struct Recovery {
    /// The rules in force.
    pub rules: Arc<ArcSwap<Index>>,
    /// Rules of repositories.
    pub repositories: Option<Arc<Repositories>>,
    /// Where everything goes.
    pub journal: Arc<dyn Journal>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Called with our id of what was taken in.
    pub wake: Arc<dyn Fn(&str) + Send + Sync>,
    /// Who we are at GitHub.
    pub access: Access,
}

impl Recovery {
    /// An intake for each hook of each source that has any, and how often its log is to be looked at. The error is for the operator.
    pub fn of(&self, settings: &Settings, sources: &[Arc<dyn Source>]) -> Result<Vec<(Intake, Log, Duration)>, String> {
        let mut all = Vec::new();
        for described in &settings.sources {
            let plan = Plan::of(described, &settings.secrets).map_err(|why| format!("the source `{}` {why}", described.name))?;
            let source = sources.iter().find(|source| source.name() == described.name);
            let (Some(plan), Some(source)) = (plan, source) else { continue };
            for hook in plan.hooks {
                let intake = Intake {
                    source: Arc::clone(source),
                    rules: Arc::clone(&self.rules),
                    repositories: self.repositories.clone(),
                    journal: Arc::clone(&self.journal),
                    metrics: Arc::clone(&self.metrics),
                    wake: Arc::clone(&self.wake),
                    pull: plan.pull,
                };
                all.push((intake, Log::new(hook, self.access.clone()), plan.every));
            }
        }
        Ok(all)
    }
}

/// So long before a moment.
pub fn before(moment: Timestamp, length: Duration) -> Timestamp {
    Timestamp(moment.0.saturating_sub(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)))
}

fn later(error: &JournalError) -> Halt {
    Halt::Later { after: Duration::from_secs(1), why: error.to_string() }
}
