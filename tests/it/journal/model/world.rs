//! The model: the state diagram and the groups told a second time, from the point of view of somebody who watches.

use std::collections::BTreeMap;

use declic::journal::record::{DeliveryState, GroupMode, Lease, RunState};

/// Where a delivery stands; the rest of it is where its runs stand.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    Accepted,
    /// By the claim of that number, until then.
    Matching(usize, i64),
    Ignored,
    Rejected,
    Runs(Vec<String>),
}

/// The one step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    None,
    Open,
    Waiting,
    Failed,
    Skipped,
    Done,
}

impl Step {
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Waiting)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum At {
    Queued,
    /// By the claim of that number, until then.
    Running(usize, i64),
    /// Due then.
    Waiting(i64),
    Over(RunState),
}

#[derive(Debug, Clone)]
pub struct Run {
    pub at: At,
    pub step: Step,
    pub mode: Option<GroupMode>,
    /// Runs in the order in which they were made.
    pub order: usize,
    /// Number of its delivery by arrival.
    pub arrival: usize,
    /// The run that it was left to.
    pub covered: Option<String>,
    /// A person wants it to stop.
    pub cancelled: bool,
}

impl Run {
    fn is_over(&self) -> bool {
        matches!(self.at, At::Over(_))
    }

    pub fn state(&self) -> RunState {
        match self.at {
            At::Queued => RunState::Queued,
            At::Running(..) => RunState::Running,
            At::Waiting(_) => RunState::Waiting,
            At::Over(state) => state,
        }
    }
}

pub struct Model {
    pub now: i64,
    pub deliveries: BTreeMap<String, (String, Delivery)>,
    /// Ids of deliveries in the order of their arrival.
    pub arrivals: Vec<String>,
    pub runs: BTreeMap<String, Run>,
    /// Every lease ever given, by number of claim; old ones are used again to see that they are refused.
    pub leases: Vec<Lease>,
}

impl Model {
    pub fn new(now: i64) -> Self {
        Self { now, deliveries: BTreeMap::new(), arrivals: Vec::new(), runs: BTreeMap::new(), leases: Vec::new() }
    }

    pub fn state(&self, delivery: &Delivery) -> DeliveryState {
        match delivery {
            Delivery::Accepted => DeliveryState::Accepted,
            Delivery::Matching(..) => DeliveryState::Matching,
            Delivery::Ignored => DeliveryState::Ignored,
            Delivery::Rejected => DeliveryState::Rejected,
            Delivery::Runs(ids) if ids.iter().any(|id| !self.runs[id].is_over()) => DeliveryState::Running,
            Delivery::Runs(ids) if ids.iter().any(|id| self.runs[id].at == At::Over(RunState::Failed)) => DeliveryState::Failed,
            Delivery::Runs(_) => DeliveryState::Completed,
        }
    }

    /// The run this lease is the current one of.
    pub fn held(&self, lease: usize) -> Option<String> {
        self.runs.iter().find(|(_, run)| matches!(run.at, At::Running(by, _) if by == lease)).map(|(id, _)| id.clone())
    }

    /// Open runs of the same group, in the order in which they were made. There is one group for each mode.
    fn rivals(&self, mode: GroupMode, but: &str) -> Vec<String> {
        let open = |(id, run): &(&String, &Run)| run.mode == Some(mode) && !run.is_over() && *id != but;
        let mut rivals: Vec<(usize, String)> = self.runs.iter().filter(open).map(|(id, run)| (run.order, id.clone())).collect();
        rivals.sort();
        rivals.into_iter().map(|(_, id)| id).collect()
    }

    /// A run that a decision makes.
    pub fn make(&mut self, id: &str, mode: Option<GroupMode>, arrival: usize) {
        let order = self.runs.len();
        let run = Run { at: At::Queued, step: Step::None, mode, order, arrival, covered: None, cancelled: false };
        self.runs.insert(id.to_owned(), run);
        let Some(mode) = mode else { return };
        let rivals = self.rivals(mode, id);
        match mode {
            GroupMode::QueueAll | GroupMode::Collapse => {}
            GroupMode::Skip => {
                if let Some(taken) = rivals.first() {
                    self.over(id, RunState::Skipped, Some(taken));
                }
            }
            GroupMode::QueueLatest | GroupMode::Supersede => {
                // Of no run here anything is known but when its delivery came.
                if let Some(newer) = rivals.iter().find(|rival| self.runs[*rival].arrival > arrival) {
                    self.over(id, RunState::Superseded, Some(newer));
                    return;
                }
                for rival in rivals {
                    if self.runs[&rival].at == At::Queued {
                        self.over(&rival, RunState::Superseded, Some(id));
                    } else if mode == GroupMode::Supersede {
                        self.run(&rival).covered = Some(id.to_owned());
                    }
                }
            }
        }
    }

    fn over(&mut self, id: &str, state: RunState, by: Option<&str>) {
        let run = self.run(id);
        run.at = At::Over(state);
        run.covered = by.map(str::to_owned);
        if run.step == Step::Waiting {
            run.step = Step::Skipped;
        }
    }

    pub fn run(&mut self, id: &str) -> &mut Run {
        self.runs.get_mut(id).unwrap_or_else(|| panic!("{id} is known"))
    }

    /// Could it be claimed now?
    pub fn is_due(&self, id: &str) -> bool {
        let run = &self.runs[id];
        match run.at {
            At::Queued => run.mode.is_none_or(|mode| {
                self.rivals(mode, id).iter().all(|rival| {
                    let rival = &self.runs[rival];
                    rival.order > run.order && rival.at == At::Queued
                })
            }),
            At::Running(_, until) => until <= self.now,
            At::Waiting(due) => due <= self.now,
            At::Over(_) => false,
        }
    }

    /// Is it over at once? `None`: it is over already.
    pub fn cancel(&mut self, id: &str) -> Option<bool> {
        let now = self.now;
        let run = self.run(id);
        if run.is_over() {
            return None;
        }
        run.cancelled = true;
        if run.at == At::Queued && run.step == Step::None {
            run.at = At::Over(RunState::Cancelled);
            return Some(true);
        }
        if let At::Waiting(due) = run.at {
            run.at = At::Waiting(due.min(now));
        }
        Some(false)
    }

    /// By hand, or because its delivery came again. False if there is nothing to take up.
    pub fn take_up(&mut self, id: &str) -> bool {
        let run = self.run(id);
        let At::Over(state) = run.at else { return false };
        if state == RunState::Succeeded {
            return false;
        }
        let cut_short = matches!(state, RunState::Cancelled | RunState::Superseded);
        if run.step == Step::Failed || (run.step == Step::Skipped && cut_short) {
            run.step = Step::Waiting;
        }
        (run.at, run.covered, run.cancelled) = (At::Queued, None, false);
        true
    }

    /// Runs that failed for good, in the order in which they were made.
    pub fn dead(&self) -> Vec<String> {
        let failed = self.runs.iter().filter(|(_, run)| run.at == At::Over(RunState::Failed));
        let mut dead: Vec<(usize, String)> = failed.map(|(id, run)| (run.order, id.clone())).collect();
        dead.sort();
        dead.into_iter().map(|(_, id)| id).collect()
    }

    /// Whoever is alone on a file knows that the leases of the dead are over; on a server they have to end.
    pub fn die(&mut self) {
        for run in self.runs.values_mut() {
            if let At::Running(_, until) = &mut run.at {
                *until = 0;
            }
        }
        for (_, delivery) in self.deliveries.values_mut() {
            if let Delivery::Matching(_, until) = delivery {
                *until = 0;
            }
        }
    }
}
