//! One target's gate: how many at once, how many a minute, and whether it is asked at all while it does not answer. Pure: time is given.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rules::yaml::duration;

/// Failures in a row that open the breaker, where the settings say nothing.
const FAILURES: u32 = 5;
/// How long it then stays open.
const PAUSE: Duration = Duration::from_secs(30);
/// Each probe that fails doubles the pause, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// `per-minute` counts over this.
const MINUTE: Duration = Duration::from_secs(60);
/// Whoever waits for others to be done looks by itself after this; mostly it is called.
const LOOK: Duration = Duration::from_secs(15);
/// So that those who wait do not all look at the same moment.
const APART: Duration = Duration::from_millis(20);

/// `limit:` of a target or a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Steps at once. None: what the engine thinks is right for one of many.
    pub at_once: Option<usize>,
    /// Attempts begun within any minute.
    pub per_minute: Option<usize>,
    /// Failures in a row that open the breaker; 0: it never opens.
    pub failures: u32,
    /// How long it stays open before one attempt tries again.
    pub pause: Duration,
}

impl Default for Limit {
    fn default() -> Self {
        Self { at_once: None, per_minute: None, failures: FAILURES, pause: PAUSE }
    }
}

impl Limit {
    /// From the entry of the settings, which was checked.
    pub fn of(entry: Option<&Value>) -> Self {
        let limit = entry.and_then(|entry| entry.get("limit"));
        let number = |key: &str| limit?.get(key)?.as_u64();
        let size = |key: &str| number(key).and_then(|number| usize::try_from(number).ok()).map(|number| number.max(1));
        let pause = limit.and_then(|limit| limit.get("pause")?.as_str()).and_then(duration);
        Self {
            at_once: size("at-once"),
            per_minute: size("per-minute"),
            failures: number("failures").map_or(FAILURES, |number| u32::try_from(number).unwrap_or(u32::MAX)),
            pause: pause.unwrap_or(PAUSE).max(Duration::from_millis(1)),
        }
    }
}

/// What an attempt says about its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// It answers, whatever it answered.
    Alive,
    /// It does not answer, or says that it cannot; why.
    Out(String),
    /// It answers, and asks to be left alone for so long.
    Patience(Duration),
    /// Nothing was learnt: the attempt was broken off.
    Nothing,
}

/// What somebody should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The breaker opened: after so many failures in a row, for so long, and why.
    Opened(u32, Duration, String),
    /// A probe failed; it stays open for so long.
    StillOpen(Duration),
    /// It answers again.
    Closed,
}

/// Not now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// How long at most.
    pub after: Duration,
    /// Stable word: `breaker`, `patience`, `rate`, `busy`.
    pub why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Breaker {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    Probing { pause: Duration },
}

/// The gate of one target.
#[derive(Debug)]
pub struct Gate {
    limit: Limit,
    breaker: Breaker,
    reason: Option<String>,
    in_hand: usize,
    begun: VecDeque<Instant>,
    patience: Option<Instant>,
    waiting: BTreeSet<String>,
}

impl Gate {
    /// Open to everybody.
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            breaker: Breaker::Closed { failures: 0 },
            reason: None,
            in_hand: 0,
            begun: VecDeque::new(),
            patience: None,
            waiting: BTreeSet::new(),
        }
    }

    /// The settings may have changed.
    pub fn adjust(&mut self, limit: Limit) {
        self.limit = limit;
    }

    /// Lets an attempt of a run through, or says how long it has to wait. `usual` bounds how many at once where the settings do not.
    pub fn enter(&mut self, run: &str, usual: Option<usize>, now: Instant) -> Result<(), Wait> {
        let refused = self.closed_to_it(usual, now);
        if let Some(wait) = refused {
            let spread = APART * u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).min(1000);
            self.waiting.insert(run.to_owned());
            return Err(Wait { after: wait.after + spread, ..wait });
        }
        if let Breaker::Open { pause, .. } = self.breaker {
            self.breaker = Breaker::Probing { pause };
        }
        self.waiting.remove(run);
        self.in_hand += 1;
        if let Some(most) = self.limit.per_minute {
            self.begun.push_back(now);
            while self.begun.len() > most {
                self.begun.pop_front();
            }
        }
        Ok(())
    }

    fn closed_to_it(&self, usual: Option<usize>, now: Instant) -> Option<Wait> {
        let until = |moment: Instant| moment.saturating_duration_since(now);
        match self.breaker {
            Breaker::Open { until: end, .. } if end > now => return Some(Wait { after: until(end), why: "breaker" }),
            Breaker::Probing { pause } => return Some(Wait { after: pause, why: "breaker" }),
            _ => {}
        }
        if let Some(end) = self.patience.filter(|end| *end > now) {
            return Some(Wait { after: until(end), why: "patience" });
        }
        if self.limit.at_once.or(usual).is_some_and(|most| self.in_hand >= most) {
            return Some(Wait { after: LOOK, why: "busy" });
        }
        let oldest = self.begun.front().filter(|_| self.limit.per_minute.is_some_and(|most| self.begun.len() >= most));
        let free = oldest.map(|begun| *begun + MINUTE).filter(|free| *free > now)?;
        Some(Wait { after: until(free), why: "rate" })
    }

    /// An attempt is over. Answers what to tell, and how many of those who wait should look again.
    pub fn leave(&mut self, sign: Sign, now: Instant) -> (Option<Notice>, usize) {
        self.in_hand = self.in_hand.saturating_sub(1);
        if let Sign::Patience(length) = sign {
            self.patience = self.patience.max(Some(now + length));
        }
        let notice = match (sign, &self.breaker) {
            (Sign::Out(why), Breaker::Closed { failures }) => self.failed(failures + 1, why, now),
            (Sign::Out(why), Breaker::Probing { pause }) => {
                let pause = (*pause * 2).min(LONGEST_PAUSE.max(self.limit.pause));
                self.reason = Some(why);
                self.breaker = Breaker::Open { until: now + pause, pause };
                Some(Notice::StillOpen(pause))
            }
            // The probe says nothing: the next one is a probe.
            (Sign::Nothing, Breaker::Probing { pause }) => {
                self.breaker = Breaker::Open { until: now, pause: *pause };
                None
            }
            (Sign::Alive | Sign::Patience(_), Breaker::Probing { .. }) => {
                self.close();
                Some(Notice::Closed)
            }
            // One that was under way when it opened, and got through: it answers.
            (Sign::Alive, Breaker::Open { .. }) => {
                self.close();
                Some(Notice::Closed)
            }
            (Sign::Alive | Sign::Patience(_), Breaker::Closed { .. }) => {
                self.close();
                None
            }
            (Sign::Out(_) | Sign::Nothing | Sign::Patience(_), _) => None,
        };
        let called = match (&notice, &self.breaker) {
            (Some(Notice::Closed), _) => self.waiting.len(),
            (_, Breaker::Closed { .. }) => usize::from(!self.waiting.is_empty()),
            _ => 0,
        };
        (notice, called)
    }

    fn failed(&mut self, failures: u32, why: String, now: Instant) -> Option<Notice> {
        self.breaker = Breaker::Closed { failures };
        if self.limit.failures == 0 || failures < self.limit.failures {
            return None;
        }
        let pause = self.limit.pause;
        self.reason = Some(why.clone());
        self.breaker = Breaker::Open { until: now + pause, pause };
        Some(Notice::Opened(failures, pause, why))
    }

    fn close(&mut self) {
        self.breaker = Breaker::Closed { failures: 0 };
        self.reason = None;
    }

    /// A run that waited is over.
    pub fn forget(&mut self, run: &str) {
        self.waiting.remove(run);
    }

    /// Nothing is known of it that a new gate would not know.
    pub fn is_idle(&self) -> bool {
        self.in_hand == 0 && self.waiting.is_empty() && self.breaker == Breaker::Closed { failures: 0 } && self.begun.is_empty()
    }

    /// Where it stands, for people.
    pub fn shown(&self, target: &str, now: Instant) -> super::TargetState {
        let (breaker, failures, tries_in) = match self.breaker {
            Breaker::Closed { failures } => ("closed", failures, None),
            Breaker::Open { until, .. } => ("open", self.limit.failures, Some(until.saturating_duration_since(now).as_secs())),
            Breaker::Probing { .. } => ("half-open", self.limit.failures, None),
        };
        super::TargetState {
            target: target.to_owned(),
            breaker,
            failures,
            reason: self.reason.clone(),
            tries_in,
            in_hand: self.in_hand,
            waiting: self.waiting.len(),
            at_once: self.limit.at_once,
            per_minute: self.limit.per_minute,
        }
    }
}
