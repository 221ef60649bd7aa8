//! Rules that repositories bring themselves: files on their default branches, within what the operator granted.
//!
//! They are read when the first delivery of a repository comes, through the GitHub App (or the token), and again when GitHub may say something
//! new: after a push to the default branch, and when the last answer is old. What GitHub cannot be asked for is as it was; what is wrong does
//! not replace what was right. Nothing of it is ever in the way of the operator's rules.

mod cache;
pub mod codeowners;
mod conditions;
mod read;
mod reading;
pub mod review;
pub mod set;
pub mod window;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use declic_actions::github::GitHub;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::journal::Journal;
use crate::journal::record::Listing;
use crate::matching::{Trace, Verdict};
use crate::rules::check::is_granted;
use crate::rules::model::{Offer, RuleFile, RuleSet};
use crate::rules::registry;
use crate::settings::{RepositorySettings, Settings};

use cache::{Cache, Faulty, Slot, State, Trouble};
pub use read::{LARGEST_FILE, MOST_FILES};
use set::{InForce, note};
use window::Window;

/// Room for the sets of all repositories, in bytes.
const ROOM: usize = 96 << 20;

/// How often GitHub is asked, and how long it is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// What GitHub said is taken for true this long, unless a delivery says that something moved.
    pub fresh: Duration,
    /// How long the rules of a repository are waited for.
    pub patience: Duration,
    /// How long GitHub is not asked again after it could not answer.
    pub pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { fresh: Duration::from_secs(60), patience: Duration::from_secs(10), pause: Duration::from_secs(30) }
    }
}

/// Everything that repositories bring.
pub struct Repositories {
    granted: BTreeMap<i64, RepositorySettings>,
    offer: Offer,
    github: GitHub,
    journal: Arc<dyn Journal>,
    timing: Timing,
    cache: Mutex<Cache>,
    /// GitHub does not answer: nobody waits for it until then.
    down_until: Mutex<Option<Instant>>,
}

/// What a repository brings to one delivery.
#[derive(Default)]
pub struct Brought {
    /// The rules in force, if there are any. More than one only for a source that several repositories were granted.
    pub sets: Vec<Arc<InForce>>,
    /// What whoever reads the reasons should know.
    pub notes: Vec<Trace>,
}

impl Brought {
    /// Takes the rules away for this delivery, and says so: whether they would have started is not known.
    pub fn fail(&mut self, why: &str) {
        for set in self.sets.drain(..) {
            let owner = set.owner().unwrap_or_default().to_owned();
            self.notes.push(note(&owner, "", Verdict::Error, "rules of the repository", why));
        }
    }
}

/// Where a repository stands, for people.
#[derive(Debug, Clone)]
pub struct Standing {
    /// GitHub's number of it.
    pub id: i64,
    /// `owner/name`
    pub name: String,
    /// Were its rules read since this process started?
    pub read: bool,
    /// The commit of the rules in force.
    pub commit: Option<String>,
    /// Their revision.
    pub revision: Option<String>,
    /// How many there are, and how many of them are off because of `require:`.
    pub rules: (usize, usize),
    /// Why those are off.
    pub unmet: Option<String>,
    /// What is wrong.
    pub fault: Option<String>,
}

impl Repositories {
    /// Asks nobody yet.
    pub fn new(settings: &Settings, client: GitHub, journal: Arc<dyn Journal>) -> Self {
        let granted = settings.repositories.iter().map(|one| (one.id, one.clone())).collect();
        let cache = Mutex::new(Cache::new(ROOM));
        Self {
            granted,
            offer: settings.offer.clone(),
            github: client,
            journal,
            timing: Timing::default(),
            cache,
            down_until: Mutex::default(),
        }
    }

    /// The same with room for other than the usual number of bytes.
    #[must_use]
    pub fn with_room(self, bytes: usize) -> Self {
        Self { cache: Mutex::new(Cache::new(bytes)), ..self }
    }

    /// The same with other than the usual times.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does any repository bring rules?
    pub fn is_empty(&self) -> bool {
        self.granted.is_empty()
    }

    /// Could an event of GitHub's with this word start a rule of some repository?
    pub fn hears(&self, event_type: &str) -> bool {
        let fits = |event: &String| {
            event.strip_suffix('*').is_some_and(|service| "github.".starts_with(service) || service.starts_with("github."))
                || registry::github_event_type(event) == Some(event_type)
        };
        self.granted.values().any(|one| one.grant.events.iter().any(fits))
    }

    /// What repositories bring to an event: the one that it is about, or those that were granted its source if it is about none.
    pub async fn of(&self, event: &Event) -> Brought {
        let mut brought = Brought::default();
        if let (Some(id), Some(name)) = (id_of(event), event.repository())
            && !self.granted.contains_key(&id)
            && let Some(one) = self.granted.values().find(|one| one.name.eq_ignore_ascii_case(name))
        {
            let found =
                format!("{name} is number {id} at GitHub, and the grant is for number {}: no rules of it are read", one.id);
            brought.notes.push(note(name, &one.files, Verdict::NotMatched, "repository", &found));
        }
        for one in self.wanted(event) {
            let slot = self.cache().slot(one.id);
            if !self.is_fresh(&slot.state(), event) {
                self.refresh(one, &slot, event).await;
            }
            Self::bring(one, &slot, event, &mut brought);
        }
        brought
    }

    /// The repositories whose rules could hear the event.
    fn wanted(&self, event: &Event) -> Vec<&RepositorySettings> {
        if self.granted.is_empty() {
            return Vec::new();
        }
        let heard = |one: &&RepositorySettings| {
            let kinds = std::iter::once(event.kind.as_str()).chain(registry::also(&event.kind));
            kinds.into_iter().any(|kind| is_granted(&one.grant.events, kind))
        };
        match id_of(event) {
            Some(id) => self.granted.get(&id).filter(|one| heard(one) || moves(event)).into_iter().collect(),
            None if event.repository().is_some() => Vec::new(),
            None => {
                let sourced = |one: &&RepositorySettings| is_granted(&one.grant.sources, &event.source);
                self.granted.values().filter(sourced).filter(heard).collect()
            }
        }
    }

    fn bring(one: &RepositorySettings, slot: &Slot, event: &Event, brought: &mut Brought) {
        let State { set, trouble, faulty, .. } = slot.state().clone();
        let name = set.as_ref().and_then(|set| set.owner()).unwrap_or(&one.name).to_owned();
        let in_force = set.as_ref().map(|set| set.commit().to_owned());
        let until_now =
            || in_force.as_ref().map_or("none are in force".to_owned(), |commit| format!("those of {commit} are in force"));
        match &trouble {
            Some(Trouble::Unread(why)) => {
                let found = format!("they cannot be read for now: {}; {why}", until_now());
                // Without any, it is not known whether one would have started: that is no "no".
                let verdict = if set.is_some() { Verdict::NotMatched } else { Verdict::Error };
                brought.notes.push(note(&name, &one.files, verdict, "rules of the repository", &found));
            }
            Some(Trouble::Off(why)) => {
                let found = format!("none are in force: {why}");
                brought.notes.push(note(&name, &one.files, Verdict::NotMatched, "rules of the repository", &found));
                return;
            }
            None => {}
        }
        if let Some(Faulty { commit, first, .. }) = &faulty {
            let found = format!("those of {commit} are wrong: {}; {first}", until_now());
            brought.notes.push(note(&name, &one.files, Verdict::NotMatched, "rules of the repository", &found));
        }
        if let Some(set) = set {
            brought.notes.extend(set.off(&event.kind));
            brought.sets.push(set);
        }
    }

    /// Need GitHub not be asked?
    fn is_fresh(&self, state: &State, event: &Event) -> bool {
        let renamed = match (state.set.as_ref().and_then(|set| set.owner()), event.repository()) {
            (Some(owner), Some(name)) => !owner.eq_ignore_ascii_case(name),
            _ => false,
        };
        let waits = state.not_before.is_some_and(|not_before| Instant::now() < not_before);
        let asked = state.asked.is_some_and(|asked| asked.elapsed() < self.timing.fresh);
        waits && state.trouble.is_some() || asked && !renamed && !moves(event)
    }

    /// Takes one more run of a repository's rule, if its limit lets it. The error is a reason.
    pub fn admit(&self, revision: &str, now: Timestamp) -> Result<(), String> {
        let one = set::repository_of(revision).and_then(|id| self.granted.get(&id));
        let Some((one, most)) = one.and_then(|one| Some((one, one.runs_per_hour?))) else { return Ok(()) };
        let slot = self.cache().slot(one.id);
        let admitted = slot.state().started.get_or_insert_default().admit(now, most);
        if admitted { Ok(()) } else { Err(format!("it started {most} within the last hour")) }
    }

    /// The rules that stored files made, for a run that began with them.
    pub fn rebuild(&self, files: &[RuleFile], revision: &str, owner: &str) -> Result<RuleSet, String> {
        rebuild(&self.granted, &self.offer, files, revision, owner)
    }

    /// Where every repository stands.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |one: &RepositorySettings| {
            let state = self.cache().find(one.id).map(|slot| slot.state().clone()).unwrap_or_default();
            let set = state.set.as_ref().filter(|_| !matches!(state.trouble, Some(Trouble::Off(_))));
            Standing {
                id: one.id,
                name: set.and_then(|set| set.owner()).unwrap_or(&one.name).to_owned(),
                read: state.asked.is_some() || state.trouble.is_some(),
                commit: set.map(|set| set.commit().to_owned()),
                revision: set.map(|set| set.revision().to_owned()),
                rules: set.map(|set| set.counts()).unwrap_or_default(),
                unmet: set.and_then(|set| set.unmet()).map(str::to_owned),
                fault: match (state.trouble, state.faulty) {
                    (Some(Trouble::Unread(why) | Trouble::Off(why)), _) => Some(why),
                    (None, faulty) => faulty.map(|faulty| faulty.excerpts),
                },
            }
        };
        self.granted.values().map(standing).collect()
    }

    /// How many sets are in memory.
    pub fn loaded(&self) -> usize {
        self.cache().all().len()
    }

    /// Runs of the last hour as the journal knows them, so that a restart gives nobody a new hour.
    async fn started(&self, one: &RepositorySettings, name: &str) -> Window {
        let Some(most) = one.runs_per_hour else { return Window::default() };
        let since = Some(Timestamp::now().before(Duration::from_secs(3600)));
        let listing = Listing { repository: Some(name.to_owned()), since, limit: most as usize * 2, ..Listing::default() };
        match self.journal.runs(listing).await {
            Ok(runs) => Window::of(runs.iter().filter(|run| run.owner.is_some()).map(|run| run.created_at)),
            Err(error) => {
                tracing::warn!(%error, repository = name, "the runs of the last hour cannot be counted; it begins anew");
                Window::default()
            }
        }
    }
}

/// The rules that stored files of a repository made, under the grants of today.
pub fn rebuild(
    granted: &BTreeMap<i64, RepositorySettings>,
    offer: &Offer,
    files: &[RuleFile],
    revision: &str,
    owner: &str,
) -> Result<RuleSet, String> {
    let one = set::repository_of(revision).and_then(|id| granted.get(&id));
    let one = one.ok_or_else(|| format!("{owner} is no longer among `repositories:`"))?;
    // One limit that was lowered since takes no rule away from a run that has begun.
    let one = RepositorySettings { max_rules: None, ..one.clone() };
    set::load(files, &one, owner, "", offer).map_err(|faults| set::excerpts(&faults, files))
}

fn id_of(event: &Event) -> Option<i64> {
    event.repo.get("id").and_then(Value::as_i64).filter(|_| event.kind.starts_with("github."))
}

/// Does the event say that the rules, or what they may do, could have changed?
fn moves(event: &Event) -> bool {
    match event.kind.as_str() {
        "github.push" => {
            let default = event.repo.get("default_branch").and_then(Value::as_str).filter(|branch| !branch.is_empty());
            let reference = event.event.get("ref").and_then(Value::as_str).unwrap_or_default();
            default.is_none_or(|branch| reference.strip_prefix("refs/heads/") == Some(branch))
        }
        "github.repository" | "github.branch_protection_rule" | "github.repository_ruleset" => true,
        _ => false,
    }
}
