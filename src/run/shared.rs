//! What all workers of an engine share.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use declic_actions::action::Action;
use declic_actions::secret::Secret;

use super::EngineParts;
use super::gate::Gates;
use super::slack_groups::Groups;
use super::waiting::Waiting;
use crate::event::Event;
use crate::journal::JournalError;
use crate::journal::record::{Delivery, RunRecord};
use crate::rules::model::{Rule, RuleFile, RuleSet};

/// Builds a rule set from the files it was kept as; the text says what is wrong with them.
pub type Load = Arc<dyn Fn(&[RuleFile]) -> Result<RuleSet, String> + Send + Sync>;

/// Older rule sets that are kept ready for runs that began with them.
const OLDER_KEPT: usize = 8;

/// The parts of the engine, and what its workers keep between them.
pub(super) struct Shared {
    parts: EngineParts,
    pub waiting: Waiting,
    pub gates: Gates,
    pub groups: Groups,
    older: Mutex<VecDeque<Arc<RuleSet>>>,
}

/// Workers read the parts as if they were theirs.
impl Deref for Shared {
    type Target = EngineParts;

    fn deref(&self) -> &EngineParts {
        &self.parts
    }
}

/// Why the rule of a run cannot be had.
pub(super) enum RuleError {
    /// The store cannot be read: later, perhaps.
    Store(JournalError),
    /// Never: why.
    Gone(String),
}

impl Shared {
    pub fn new(parts: EngineParts) -> Self {
        let gates = Gates::new(Arc::clone(&parts.metrics), Arc::clone(&parts.journal));
        Self { parts, waiting: Waiting::default(), gates, groups: Groups::default(), older: Mutex::default() }
    }

    pub fn action(&self, name: &str) -> Option<&'static dyn Action> {
        self.actions.iter().copied().find(|action| action.spec().name == name)
    }

    /// The event of a delivery, as its source reads it.
    pub fn decode(&self, delivery: &Delivery, payload: bool) -> Result<Option<Event>, String> {
        let source = &delivery.content.source;
        match self.sources.get(source) {
            Some(source) => source.decode(delivery, payload),
            None => Err(format!("there is no source `{source}` in declic.yaml any more: add it again, then redeliver")),
        }
    }

    /// Where further answers to a delivery go, if its provider gave an address for them.
    pub fn respond_to(&self, delivery: &Delivery) -> Option<Secret> {
        self.sources.get(&delivery.content.source)?.respond_to(delivery)
    }

    /// The rule a run began with, whatever is in force today.
    pub async fn rule(&self, run: &RunRecord) -> Result<Arc<Rule>, RuleError> {
        let set = self.rule_set(&run.revision, run.owner.as_deref()).await?;
        // A repository may be called otherwise by now; the revision says which one it is.
        let rule = set.rules.iter().find(|rule| rule.name == run.rule && rule.owner.is_some() == run.owner.is_some());
        rule.cloned().ok_or_else(|| RuleError::Gone(format!("rule set {} has no rule `{}`", run.revision, run.rule)))
    }

    /// The rules a run began with, if they can still be had.
    pub async fn rules_of(&self, run: &RunRecord) -> Option<Arc<RuleSet>> {
        self.rule_set(&run.revision, run.owner.as_deref()).await.ok()
    }

    async fn rule_set(&self, revision: &str, owner: Option<&str>) -> Result<Arc<RuleSet>, RuleError> {
        let current = Arc::clone(self.rules.load().rules());
        if current.revision == revision {
            return Ok(current);
        }
        if let Some(set) = self.older().iter().find(|set| set.revision == revision) {
            return Ok(Arc::clone(set));
        }
        let files = self.journal.rules(revision).await.map_err(RuleError::Store)?;
        let files = files.ok_or_else(|| RuleError::Gone(format!("the files of rule set {revision} were not kept")))?;
        let loaded = match (owner, &self.repositories) {
            (None, _) => (self.load)(&files),
            (Some(owner), Some(repositories)) => repositories.rebuild(&files, revision, owner),
            (Some(owner), None) => Err(format!("{owner} is no longer among `repositories:`")),
        };
        let mut set = loaded.map_err(|why| {
            RuleError::Gone(format!("the rules it began with no longer fit declic.yaml or this version: {why}"))
        })?;
        revision.clone_into(&mut set.revision);
        let set = Arc::new(set);
        let mut older = self.older();
        older.truncate(OLDER_KEPT - 1);
        older.push_front(Arc::clone(&set));
        Ok(set)
    }

    fn older(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<RuleSet>>> {
        self.older.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
