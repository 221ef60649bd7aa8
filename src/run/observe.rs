//! What happens, as it happens: for the log, the terminal of `declic demo` and the console. Nothing depends on it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;
use tracing::Level;

use crate::clock::Timestamp;

/// Events that a slow listener may fall behind before it misses some.
const KEPT: usize = 1024;
/// What was said of runs lately, so that a page can show it that is opened after: about a megabyte at most.
const REMEMBERED: usize = 2000;

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// Our id of the delivery.
    pub delivery: String,
    /// Id of the run; none while the delivery is matched.
    pub run: Option<String>,
    /// Name of the rule.
    pub rule: Option<String>,
    /// Id or number of the step, with its phase in front outside of `steps:`.
    pub step: Option<String>,
    /// Stable word: `journaled`, `matched`, `ignored`, `rejected`, `started`, `succeeded`, `failed`, `skipped`, `retrying`, `finished`, or the
    /// action's own, such as `image resolved`.
    pub name: String,
    /// One line for people, without secrets.
    pub line: String,
    /// When.
    pub at: Timestamp,
}

/// Tells everybody who listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Observer {
    stages: broadcast::Sender<Stage>,
    lately: Arc<Mutex<VecDeque<Stage>>>,
}

impl Default for Observer {
    fn default() -> Self {
        Self { stages: broadcast::Sender::new(KEPT), lately: Arc::default() }
    }
}

impl Observer {
    /// Everything from now on.
    pub fn listen(&self) -> broadcast::Receiver<Stage> {
        self.stages.subscribe()
    }

    /// What this process said of a run lately, oldest first. It is gone with the process: what counts is in the journal.
    pub fn lately(&self, run: &str) -> Vec<Stage> {
        let lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.iter().filter(|stage| stage.run.as_deref() == Some(run)).cloned().collect()
    }

    fn remember(&self, stage: &Stage) {
        if stage.run.is_none() {
            return;
        }
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        if lately.len() >= REMEMBERED {
            lately.pop_front();
        }
        lately.push_back(stage.clone());
    }

    /// A delivery is on disk and was acknowledged.
    pub fn journaled(&self, delivery: &str) {
        // What becomes of it is the next line, at once: two for each delivery would be one too many.
        self.of(delivery).say_as(Level::DEBUG, "journaled", "on disk and acknowledged");
    }

    /// Who is told, with the ids of one piece of work filled in.
    pub(super) fn of(&self, delivery: &str) -> Told {
        Told {
            observer: self.clone(),
            stage: Stage {
                delivery: delivery.to_owned(),
                run: None,
                rule: None,
                step: None,
                name: String::new(),
                line: String::new(),
                at: Timestamp(0),
            },
        }
    }
}

/// An observer that knows what it is about.
#[derive(Debug, Clone)]
pub(super) struct Told {
    observer: Observer,
    stage: Stage,
}

impl Told {
    pub fn run(mut self, run: &str, rule: &str) -> Self {
        self.stage.run = Some(run.to_owned());
        self.stage.rule = Some(rule.to_owned());
        self
    }

    pub fn step(mut self, step: String) -> Self {
        self.stage.step = Some(step);
        self
    }

    /// Says it to the log and to whoever listens. Answers when.
    pub fn say(&self, name: &str, line: impl Into<String>) -> Timestamp {
        self.say_as(Level::INFO, name, line)
    }

    /// The same with a level: ERROR if something failed, WARN if it may yet go well or is the sender's doing.
    pub fn say_as(&self, level: Level, name: &str, line: impl Into<String>) -> Timestamp {
        let stage = Stage { name: name.to_owned(), line: line.into(), at: Timestamp::now(), ..self.stage.clone() };
        // The level is part of what `tracing` keeps of each place in the code, so each needs a place of its own.
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    delivery = %stage.delivery,
                    run = stage.run.as_deref(),
                    rule = stage.rule.as_deref(),
                    step = stage.step.as_deref(),
                    stage = %stage.name,
                    "{}",
                    stage.line
                )
            };
        }
        match level {
            Level::ERROR => log!(error),
            Level::WARN => log!(warn),
            Level::INFO => log!(info),
            _ => log!(debug),
        }
        self.observer.remember(&stage);
        let at = stage.at;
        // Nobody may be listening.
        drop(self.observer.stages.send(stage));
        at
    }
}
