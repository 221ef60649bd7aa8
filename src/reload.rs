//! The rules in force: loaded at the start, swapped whole when their files change, kept when the new ones are wrong.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::journal::Journal;
use crate::matching::Index;
use crate::report::metrics::Metrics;
use crate::rule_files;
use crate::rules::diagnostic::{Severity, Source, render};
use crate::rules::load;
use crate::rules::model::{Offer, RuleFile, RuleSet};

/// Editors write a file in several steps: wait until it has been quiet this long.
const QUIET: Duration = Duration::from_millis(150);

/// The files are looked at this often even if nobody tells of a change: network file systems and swapped mounts do not.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What `rules:` means, and what is in force of it.
pub struct Rules {
    folder: PathBuf,
    patterns: Vec<String>,
    offer: Offer,
    metrics: Arc<Metrics>,
    current: Arc<ArcSwap<Index>>,
    fault: Mutex<Option<String>>,
}

impl Rules {
    /// Reads and checks the files that the patterns mean, and gives their texts to [`Rules::keep`]. The error is for a person, with excerpts.
    pub fn load(
        folder: PathBuf,
        patterns: Vec<String>,
        offer: Offer,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, Vec<RuleFile>), String> {
        let (set, files) = read(&folder, &patterns, &offer)?;
        let current = Arc::new(ArcSwap::from_pointee(Index::new(Arc::new(set))));
        Ok((Self { folder, patterns, offer, metrics, current, fault: Mutex::new(None) }, files))
    }

    /// What matching looks into.
    pub fn current(&self) -> &Arc<ArcSwap<Index>> {
        &self.current
    }

    /// What is wrong with the files as they are now, if the last good set is in force instead.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps the files of the set in force in the journal, for the runs that begin with them.
    pub async fn keep(&self, journal: &dyn Journal, files: Vec<RuleFile>) -> Result<(), String> {
        let revision = self.current.load().rules().revision.clone();
        journal.keep_rules(&revision, files).await.map_err(|error| error.to_string())
    }

    /// Reads the files again. The set in force changes only if all of them are right and the journal has kept them.
    async fn reload(self: &Arc<Self>, journal: &dyn Journal) {
        let rules = Arc::clone(self);
        let outcome = match tokio::task::spawn_blocking(move || read(&rules.folder, &rules.patterns, &rules.offer)).await {
            Ok(Ok((set, files))) => self.take(set, files, journal).await,
            Ok(Err(fault)) => Err(fault),
            Err(error) => Err(format!("reading the rule files broke off: {error}")),
        };
        self.metrics.reload_failed.set(u64::from(outcome.is_err()));
        if let Err(fault) = &outcome {
            error!("the rule files are wrong, the last good rules stay in force:\n{fault}");
        }
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err();
    }

    async fn take(&self, set: RuleSet, files: Vec<RuleFile>, journal: &dyn Journal) -> Result<(), String> {
        if self.current.load().rules().revision == set.revision {
            return Ok(());
        }
        journal.keep_rules(&set.revision, files).await.map_err(|error| error.to_string())?;
        self.metrics.reloads.inc();
        info!(revision = set.revision, rules = set.rules.len(), "new rules are in force");
        self.current.store(Arc::new(Index::new(Arc::new(set))));
        Ok(())
    }

    /// Reloads on SIGHUP and when files change, until it is dropped. `busy` is a file beside them that changes all the time: where it lies, new rule
    /// files are found by looking, not at once.
    pub async fn watch(self: Arc<Self>, journal: Arc<dyn Journal>, busy: Option<PathBuf>) {
        let (sender, mut changes) = mpsc::channel(1);
        let mut hangup = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(reason) => return error!("SIGHUP cannot be received: {reason}"),
        };
        let mut watched = self.watch_files(&sender, busy.as_deref());
        let mut seen = self.current.load().rules().revision.clone();
        loop {
            tokio::select! {
                _ = hangup.recv() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {
                    if self.revision_on_disk().await == seen {
                        continue;
                    }
                }
                Some(()) = changes.recv() => {
                    while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
                }
            }
            // A folder that was replaced is another one, with nobody watching it: watch anew before reading, so that nothing is missed.
            drop(watched);
            watched = self.watch_files(&sender, busy.as_deref());
            seen = self.revision_on_disk().await;
            self.reload(journal.as_ref()).await;
        }
    }

    /// The revision of the files as they are now, right or wrong; what cannot be read counts as its reason.
    async fn revision_on_disk(self: &Arc<Self>) -> String {
        let rules = Arc::clone(self);
        let read =
            move || rule_files::read(&rules.folder, &rules.patterns).map_or_else(|why| why, |files| load::revision(&files));
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }

    fn watch_files(&self, sender: &mpsc::Sender<()>, busy: Option<&Path>) -> Option<notify::RecommendedWatcher> {
        self.watcher(sender.clone(), busy)
            .inspect_err(|reason| warn!("rule files cannot be watched ({reason}): send SIGHUP after a change"))
            .ok()
    }

    fn watcher(&self, sender: mpsc::Sender<()>, busy: Option<&Path>) -> notify::Result<notify::RecommendedWatcher> {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // A full channel means that a reload is due already. Reading a file is an event too, and must not cause the next one.
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| matters(path))) {
                let _ = sender.try_send(());
            }
        })?;
        for (path, below) in rule_files::watched(&self.folder, &self.patterns, busy) {
            watcher.watch(&path, if below { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive })?;
        }
        Ok(watcher)
    }
}

/// Rule files and folders.
fn matters(path: &Path) -> bool {
    path.extension().is_none_or(|extension| matches!(extension.to_str(), Some("yaml" | "yml" | "json")))
}

/// The rule set that stored files make: what a run that began with them goes on with.
pub fn rebuild(files: &[RuleFile], offer: &Offer) -> Result<RuleSet, String> {
    load::load(files, Some(offer)).map(|loaded| loaded.set).map_err(|faults| excerpts(&faults, files))
}

fn read(folder: &Path, patterns: &[String], offer: &Offer) -> Result<(RuleSet, Vec<RuleFile>), String> {
    let files = rule_files::read(folder, patterns)?;
    let loaded = load::load(&files, Some(offer)).map_err(|faults| excerpts(&faults, &files))?;
    for warning in loaded.warnings.iter().filter(|fault| fault.severity == Severity::Warning) {
        warn!("{}", excerpts(std::slice::from_ref(warning), &files));
    }
    Ok((loaded.set, files))
}

fn excerpts(faults: &[crate::rules::diagnostic::Diagnostic], files: &[RuleFile]) -> String {
    let sources: Vec<Source<'_>> = files.iter().map(|file| Source { path: &file.path, text: &file.text }).collect();
    render(faults, &sources, false)
}
