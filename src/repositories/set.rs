//! The rules of one repository as they are in force: from its files at one commit, within its grant.

use std::sync::Arc;
use std::time::Duration;

use declic_actions::action::Class;

use crate::matching::{Check, Index, Trace, Verdict};
use crate::rules::check::Repository;
use crate::rules::diagnostic::{Diagnostic, Source, render};
use crate::rules::load::{self, Loaded};
use crate::rules::model::{Offer, Rule, RuleFile, RuleSet};
use crate::rules::registry;
use crate::settings::RepositorySettings;

/// Rules of a repository at a commit.
pub struct InForce {
    /// What matching looks into; without the rules that are off.
    index: Arc<Index>,
    commit: String,
    /// All of them, also those that are off.
    rules: Vec<Arc<Rule>>,
    /// Why those that deploy are off, if they are.
    unmet: Option<String>,
    bytes: usize,
}

impl InForce {
    /// From files that were checked.
    pub fn new(set: RuleSet, commit: &str, bytes: usize, unmet: Option<String>) -> Self {
        let RuleSet { rules, revision } = set;
        let on = rules.iter().filter(|rule| unmet.is_none() || !deploys(rule)).cloned().collect();
        let index = Arc::new(Index::new(Arc::new(RuleSet { rules: on, revision })));
        Self { index, commit: commit.to_owned(), rules, unmet, bytes }
    }

    /// The same rules at another commit that left them alone, or with other requirements unmet.
    pub fn with(&self, unmet: Option<String>) -> Self {
        let set = RuleSet { rules: self.rules.clone(), revision: self.revision().to_owned() };
        Self::new(set, &self.commit, self.bytes, unmet)
    }

    /// What matching looks into.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The commit of the files.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// `ID@COMMIT.HASH`: the repository, the commit and what the files hold.
    pub fn revision(&self) -> &str {
        &self.index.rules().revision
    }

    /// `owner/name` by which its rules know the repository; none if there are no rules.
    pub fn owner(&self) -> Option<&str> {
        self.rules.first().and_then(|rule| rule.owner.as_deref())
    }

    /// Bytes of the files.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many rules, and how many of them are off.
    pub fn counts(&self) -> (usize, usize) {
        (self.rules.len(), self.rules.len() - self.index.rules().rules.len())
    }

    /// All rules, also those that are off.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Why those that deploy are off, if they are.
    pub fn unmet(&self) -> Option<&str> {
        self.unmet.as_deref()
    }

    /// Does any of its rules deploy?
    pub fn has_deploys(&self) -> bool {
        self.rules.iter().any(|rule| deploys(rule))
    }

    /// A reason for each rule that hears this kind of event and is off.
    pub fn off(&self, kind: &str) -> Vec<Trace> {
        let Some(unmet) = &self.unmet else { return Vec::new() };
        let heard =
            |rule: &&Arc<Rule>| deploys(rule) && rule.triggers.iter().any(|trigger| registry::is_heard_as(kind, trigger.event));
        self.rules.iter().filter(heard).map(|rule| note(&rule.name, &rule.place, Verdict::Denied, "require", unmet)).collect()
    }
}

/// What a reader of reasons should know, in the form of a reason.
pub fn note(rule: &str, place: &str, verdict: Verdict, text: &str, found: &str) -> Trace {
    let check = Check { holds: false, text: text.to_owned(), found: found.to_owned(), reason: None, hint: None };
    Trace { rule: rule.to_owned(), place: place.to_owned(), verdict, checks: vec![check] }
}

fn deploys(rule: &Rule) -> bool {
    let steps = rule.steps.iter().chain(&rule.on_failure).chain(&rule.finally);
    steps.filter_map(|step| registry::action(&step.uses)).any(|spec| spec.class == Class::Deploy)
}

/// Rules of a repository from its files. `name` is what it is called now. What is wrong is for the commit's author.
pub fn load(
    files: &[RuleFile],
    settings: &RepositorySettings,
    name: &str,
    commit: &str,
    offer: &Offer,
) -> Result<RuleSet, Vec<Diagnostic>> {
    let repository = Repository { name, grant: &settings.grant };
    let Loaded { mut set, .. } = load::load_of(files, offer, repository, settings.max_rules)?;
    if let Some(longest) = settings.run_timeout {
        set.rules = set.rules.into_iter().map(|rule| within(rule, longest)).collect();
    }
    set.revision = format!("{}@{commit}.{}", settings.id, set.revision);
    Ok(set)
}

/// A rule whose runs end in time.
fn within(rule: Arc<Rule>, longest: Duration) -> Arc<Rule> {
    if rule.timeout.is_some_and(|timeout| timeout <= longest) {
        return rule;
    }
    match Arc::try_unwrap(rule) {
        Ok(rule) => Arc::new(Rule { timeout: Some(longest), ..rule }),
        // Nobody else has a rule that was just loaded.
        Err(shared) => shared,
    }
}

/// The number of the repository that a revision belongs to; none for the operator's.
pub fn repository_of(revision: &str) -> Option<i64> {
    revision.split_once('@')?.0.parse().ok()
}

/// Faults with the lines they are on.
pub fn excerpts(faults: &[Diagnostic], files: &[RuleFile]) -> String {
    let sources: Vec<Source<'_>> = files.iter().map(|file| Source { path: &file.path, text: &file.text }).collect();
    render(faults, &sources, false)
}
