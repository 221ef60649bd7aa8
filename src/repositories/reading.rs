//! One look at a repository: what GitHub says, and what that means for the rules in force.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cache::{Faulty, Slot, State, Trouble};
use super::read::{Branch, Document, Reader, Unreadable};
use super::set::{self, InForce};
use super::{Repositories, conditions};
use crate::event::Event;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::model::RuleFile;
use crate::settings::RepositorySettings;

/// The files of a set are kept anew this often, so that they are not forgotten while runs can begin with them.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// What one look came to.
enum Look {
    /// These rules, from now on.
    New(InForce, Vec<RuleFile>),
    /// Those that were in force, but not all of them may deploy as before.
    Again(InForce),
    /// Those that were in force.
    Same,
    /// The files of this commit are wrong.
    Faulty { commit: String, faults: Vec<Diagnostic>, files: Vec<RuleFile> },
}

impl Repositories {
    /// Brings what is known up to date. One at a time for each repository; the others wait for what comes of it.
    pub(super) async fn refresh(&self, one: &RepositorySettings, slot: &Slot, event: &Event) {
        let Ok(_reading) = tokio::time::timeout(self.timing.patience, slot.reading.lock()).await else { return };
        if self.is_fresh(&slot.state(), event) {
            return;
        }
        let name = event.repository().unwrap_or(&one.name).to_owned();
        if slot.state().started.is_none() {
            let started = self.started(one, &name).await;
            slot.state().started = Some(started);
        }
        if let Some(left) = self.is_down() {
            let why = format!("GitHub did not answer a moment ago, and is asked again in {} s", left.as_secs() + 1);
            return self.unread(one, slot, &name, why, left).await;
        }
        let before = slot.state().clone();
        let deadline = Instant::now() + self.timing.patience;
        let looked = self.look(one, slot, &name, deadline).await;
        match looked {
            Ok(look) => self.take(one, slot, &before, look).await,
            Err(Unreadable::Later(failure)) => {
                let after = match &failure {
                    declic_actions::action::Failure::Retry { after: Some(after), .. } => *after,
                    _ => self.timing.pause,
                };
                let code = failure.why().code.as_str();
                if matches!(code, "timeout" | "unreachable" | "unavailable" | "rate-limited") {
                    self.went_down(after.min(self.timing.pause));
                }
                self.unread(one, slot, &name, failure.why().message.clone(), after).await;
            }
            Err(Unreadable::Off(why)) => self.off(one, slot, why),
            Err(Unreadable::Faulty(path, why)) => {
                let commit = slot.state().branch.as_ref().map(|(_, branch)| branch.commit.clone()).unwrap_or_default();
                let faults = vec![Diagnostic::error(&path, "file", 0..0, why)];
                let files = vec![RuleFile { path, text: String::new() }];
                self.take(one, slot, &before, Look::Faulty { commit, faults, files }).await;
            }
        }
    }

    async fn look(&self, one: &RepositorySettings, slot: &Slot, name: &str, deadline: Instant) -> Result<Look, Unreadable> {
        let reader = Reader { github: &self.github, deadline };
        let (etag, document) = self.found(&reader, one, slot, name).await?;
        self.still_granted(one, &document)?;
        let known = slot.state().branch.clone();
        let (branch_etag, branch) = reader.branch(&document, known).await?;
        {
            let mut state = slot.state();
            state.repository = Some((etag, document.clone()));
            state.branch = Some((branch_etag, branch.clone()));
        }
        let State { set, faulty, .. } = slot.state().clone();
        let is_faulty = faulty.is_some_and(|faulty| faulty.commit == branch.commit);
        let named = |set: &Arc<InForce>| set.owner().is_none_or(|owner| owner.eq_ignore_ascii_case(&document.full_name));
        if let Some(set) = set.filter(|set| named(set) && (is_faulty || set.commit() == branch.commit)) {
            let paths: Vec<String> = set.rules().iter().map(|rule| path_of(&rule.place)).collect();
            let unmet = self.unmet(&reader, one, &document, &branch, set.has_deploys(), &paths).await?;
            let same = unmet.as_deref() == set.unmet();
            return Ok(if same { Look::Same } else { Look::Again(set.with(unmet)) });
        }
        if is_faulty {
            return Ok(Look::Same);
        }
        let files = reader.files(&document.full_name, &branch.commit, &one.files).await?;
        match set::load(&files, one, &document.full_name, &branch.commit, &self.offer) {
            Err(faults) => Ok(Look::Faulty { commit: branch.commit, faults, files }),
            Ok(rules) => {
                let bytes = files.iter().map(|file| file.text.len()).sum();
                let set = InForce::new(rules, &branch.commit, bytes, None);
                let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
                let unmet = self.unmet(&reader, one, &document, &branch, set.has_deploys(), &paths).await?;
                let set = if unmet.is_some() { set.with(unmet) } else { set };
                Ok(Look::New(set, files))
            }
        }
    }

    /// By the name that the delivery has; an old delivery may have an old name.
    async fn found(
        &self,
        reader: &Reader<'_>,
        one: &RepositorySettings,
        slot: &Slot,
        name: &str,
    ) -> Result<(String, Document), Unreadable> {
        let known = slot.state().repository.clone();
        let now = known.as_ref().map(|(_, document)| document.full_name.clone());
        let known = known.filter(|(_, document)| document.full_name.eq_ignore_ascii_case(name));
        let mut found = reader.document(name, known).await;
        for other in now.iter().map(String::as_str).chain([one.name.as_str()]) {
            if !matches!(found, Err(Unreadable::Off(_))) {
                break;
            }
            if !other.eq_ignore_ascii_case(name) {
                found = reader.document(other, None).await;
            }
        }
        found
    }

    /// A repository that was handed to somebody else is no longer the one that was granted something.
    pub(super) fn still_granted(&self, one: &RepositorySettings, document: &Document) -> Result<(), Unreadable> {
        let owner = |name: &str| name.split('/').next().unwrap_or_default().to_ascii_lowercase();
        if document.id != one.id {
            let why =
                format!("{} is number {} at GitHub, and the grant is for number {}", document.full_name, document.id, one.id);
            return Err(Unreadable::Off(why));
        }
        if owner(&document.full_name) != owner(&one.name) {
            let why = format!(
                "{} was transferred and is {} now: to grant its new owner the same, an operator writes that name into `repositories:`",
                one.name, document.full_name
            );
            return Err(Unreadable::Off(why));
        }
        Ok(())
    }

    async fn unmet(
        &self,
        reader: &Reader<'_>,
        one: &RepositorySettings,
        document: &Document,
        branch: &Branch,
        deploys: bool,
        paths: &[String],
    ) -> Result<Option<String>, Unreadable> {
        if !deploys || (!one.protected_branch && one.owners.is_none()) {
            return Ok(None);
        }
        conditions::unmet(reader, one, document, branch, paths).await
    }

    async fn take(&self, one: &RepositorySettings, slot: &Slot, before: &State, look: Look) {
        let name = slot.state().repository.as_ref().map_or_else(|| one.name.clone(), |(_, document)| document.full_name.clone());
        if !name.eq_ignore_ascii_case(&one.name) && before.repository.as_ref().is_none_or(|(_, known)| known.full_name != name) {
            tracing::warn!(repository = name, "it was renamed: write its new name into `repositories:` in place of {}", one.name);
        }
        match look {
            Look::Same => {
                if let Err(why) = self.keep_again(slot).await {
                    tracing::warn!(repository = name, why, "its rule files could not be kept anew");
                }
                let mut state = slot.state();
                if state.trouble.take().is_some() {
                    tracing::info!(repository = name, "its rules can be read again, and are as they were");
                }
                state.asked = Some(Instant::now());
            }
            Look::Again(set) => {
                let unmet = set.unmet();
                tracing::warn!(repository = name, unmet, "what is required for deploying is another now");
                let mut state = slot.state();
                state.set = Some(Arc::new(set));
                state.asked = Some(Instant::now());
                state.trouble = None;
            }
            Look::New(set, files) => {
                if let Err(why) = self.keep(one.id, &set, files).await {
                    return self.unread(one, slot, &name, why, self.timing.pause).await;
                }
                let (rules, off) = set.counts();
                tracing::info!(repository = name, commit = set.commit(), rules, off, "rules of the repository are in force");
                let commit = set.commit().to_owned();
                {
                    let mut state = slot.state();
                    state.set = Some(Arc::new(set));
                    state.asked = Some(Instant::now());
                    state.kept = Some(Instant::now());
                    state.trouble = None;
                    state.faulty = None;
                }
                if before.faulty.is_some() {
                    self.tell(&name, &commit, "success", "The rules of .declic are right again");
                }
                self.cache().shrink();
            }
            Look::Faulty { commit, faults, files } => {
                let first = faults.first().map(|fault| format!("{}: {}", fault.file, fault.message)).unwrap_or_default();
                let excerpts = set::excerpts(&faults, &files);
                tracing::error!(
                    repository = name,
                    commit,
                    "its rule files are wrong, the last good rules stay in force:\n{excerpts}"
                );
                self.tell(&name, &commit, "failure", &first);
                if slot.state().set.is_none() {
                    self.recall(one, slot, &name).await;
                }
                let mut state = slot.state();
                state.asked = Some(Instant::now());
                state.trouble = None;
                state.faulty = Some(Faulty { commit, first, excerpts });
            }
        }
    }

    /// The last good rules stay in force, from memory or from the journal.
    async fn unread(&self, one: &RepositorySettings, slot: &Slot, name: &str, why: String, after: Duration) {
        if slot.state().set.is_none() {
            self.recall(one, slot, name).await;
        }
        let mut state = slot.state();
        if !matches!(state.trouble, Some(Trouble::Unread(_))) {
            let commit = state.set.as_ref().map(|set| set.commit().to_owned());
            tracing::error!(repository = name, commit, "its rules cannot be read, the last good ones stay in force: {why}");
        }
        state.not_before = Some(Instant::now() + after);
        state.trouble = Some(Trouble::Unread(why));
    }

    fn off(&self, one: &RepositorySettings, slot: &Slot, why: String) {
        let mut state = slot.state();
        if !matches!(&state.trouble, Some(Trouble::Off(known)) if *known == why) {
            tracing::error!(repository = one.name, "no rules of it are in force: {why}");
        }
        state.set = None;
        state.not_before = Some(Instant::now() + self.timing.pause);
        state.trouble = Some(Trouble::Off(why));
    }

    /// Before the first run of a set; and under the repository's own key, for a process that cannot ask GitHub.
    async fn keep(&self, id: i64, set: &InForce, files: Vec<RuleFile>) -> Result<(), String> {
        let failed = |error: crate::journal::JournalError| error.to_string();
        self.journal.keep_rules(set.revision(), files.clone()).await.map_err(failed)?;
        // The first file says what the others are.
        let about = RuleFile { path: String::new(), text: set.commit().to_owned() };
        self.journal.keep_rules(&key(id), std::iter::once(about).chain(files).collect()).await.map_err(failed)
    }

    async fn keep_again(&self, slot: &Slot) -> Result<(), String> {
        let State { set, kept, .. } = slot.state().clone();
        let (Some(set), true) = (set, kept.is_none_or(|kept| kept.elapsed() > KEEP_EVERY)) else { return Ok(()) };
        let files = self.journal.rules(set.revision()).await.map_err(|error| error.to_string())?;
        let Some(id) = set::repository_of(set.revision()) else { return Ok(()) };
        if let Some(files) = files {
            self.keep(id, &set, files).await?;
            slot.state().kept = Some(Instant::now());
        }
        Ok(())
    }

    /// The last good rules that this store knows of.
    async fn recall(&self, one: &RepositorySettings, slot: &Slot, name: &str) {
        let files = match self.journal.rules(&key(one.id)).await {
            Ok(files) => files.unwrap_or_default(),
            Err(error) => return tracing::error!(%error, repository = name, "the last good rules cannot be looked up"),
        };
        let Some((about, files)) = files.split_first() else { return };
        let deploys = one.protected_branch || one.owners.is_some();
        match set::load(files, one, name, &about.text, &self.offer) {
            Ok(rules) => {
                let bytes = files.iter().map(|file| file.text.len()).sum();
                // What is required cannot be asked for: nothing is deployed on a guess.
                let unmet = deploys.then(|| "whether `require:` is met cannot be asked of GitHub for now".to_owned());
                slot.state().set = Some(Arc::new(InForce::new(rules, &about.text, bytes, unmet)));
            }
            Err(_) => tracing::warn!(repository = name, "the last good rules no longer fit what it is granted"),
        }
    }

    /// A commit status, best effort: the log says it too.
    fn tell(&self, name: &str, commit: &str, state: &str, text: &str) {
        let description: String = text.chars().take(140).collect();
        let body = json!({ "state": state, "context": "declic/rules", "description": description });
        let (github, path) = (self.github.reporting(), format!("/repos/{name}/statuses/{commit}"));
        let deadline = Instant::now() + self.timing.patience;
        tokio::spawn(async move {
            if let Err(failure) = github.post(&path, &body, deadline).await {
                tracing::warn!(path, "the commit's status cannot be set: {}", failure.why().message);
            }
        });
    }

    fn is_down(&self) -> Option<Duration> {
        let until = *self.down_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        until.and_then(|until| until.checked_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn went_down(&self, length: Duration) {
        *self.down_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now() + length);
    }
}

fn key(id: i64) -> String {
    format!("repository {id}")
}

/// `.declic/a.yaml` of `.declic/a.yaml:3`.
fn path_of(place: &str) -> String {
    place.rsplit_once(':').map_or(place, |(path, _)| path).to_owned()
}
