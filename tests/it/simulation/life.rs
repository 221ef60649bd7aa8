//! One life of the service: a store with its engines, from its start to the crash, and what that leaves on the disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use declic::clock::Timestamp;
use declic::journal::Journal;
use declic::journal::crash::{Faults, Point};
use declic::journal::sqlite::{Options, Sqlite, Threads};
use declic::matching::Index;
use declic::report::metrics::Metrics;
use declic::rules::model::{Offer, RuleFile, RuleSet};
use declic::run::observe::Observer;
use declic::run::{Engine, EngineParts, Policy};
use declic_actions::action::{Action, Clients};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::chance::jitter;
use super::outside::Outside;
use super::rules;
use super::safeguards::Without;
use super::store::{Between, Compare};
use crate::support::inward::Inward;

/// How long a worker may be silent.
pub const LEASE: Duration = Duration::from_secs(4);
/// When every simulation begins.
const BEGIN: i64 = 1_800_000_000_000;

/// What stays the same over all lives of one schedule.
pub struct Setting {
    pub outside: Arc<Outside>,
    pub compare: Compare,
    pub set: Arc<RuleSet>,
    pub offer: Offer,
    pub actions: &'static [&'static dyn Action],
    pub clients: Clients,
    pub began: Instant,
    /// How far the store's clock is from the workers', in milliseconds.
    pub skew: i64,
}

/// What watches every write, and decides when the process dies.
struct Pulse {
    outside: Arc<Outside>,
    folder: PathBuf,
    dead: Arc<AtomicBool>,
    died: Notify,
    /// Writes to go until the crash; 0: none is planned.
    left: AtomicU64,
    /// So much of the log survives a power cut.
    synced: AtomicU64,
    remains: Mutex<Option<TempDir>>,
}

pub struct Life {
    /// One for each replica; none while it is down.
    pub replicas: Vec<(Arc<Between>, Option<Engine>)>,
    pub store: Arc<Sqlite>,
    pulse: Arc<Pulse>,
    folder: TempDir,
}

fn log(folder: &Path) -> PathBuf {
    folder.join("declic.db-wal")
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |data| data.len())
}

/// In memory where there is such a place: what survives a crash is decided here, not by the disk of the machine.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a temporary folder")
}

/// A new store with all of its tables, made once.
fn new_store() -> &'static [u8] {
    static NEW: OnceLock<Vec<u8>> = OnceLock::new();
    NEW.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("declic.db");
        drop(Sqlite::open(&path, Options::default()).expect("a new store"));
        fs::read(path).expect("its file")
    })
}

impl Pulse {
    fn at(&self, point: Point, durable: bool) {
        if self.dead.load(Ordering::SeqCst) {
            return;
        }
        let length = length(&log(&self.folder));
        if durable && point == Point::BeforeAnswer {
            self.synced.store(length, Ordering::SeqCst);
        }
        let left = self.left.load(Ordering::SeqCst);
        if left > 0 && !self.outside.is_calm() {
            self.left.store(left - 1, Ordering::SeqCst);
            if left == 1 {
                self.die();
            }
        }
    }

    /// Keeps what is on the disk at this moment; from then on nobody hears anything of this life.
    fn die(&self) {
        let chance = &self.outside.chance;
        let rest = folder();
        let copy = |name: &str| fs::copy(self.folder.join(name), rest.path().join(name));
        copy("declic.db").expect("the store's file");
        let written = length(&log(&self.folder));
        if written > 0 {
            copy("declic.db-wal").expect("the store's log");
        }
        if chance.one_in(2) {
            // The power goes, too: what was written since the last sync may be there or not.
            let synced =
                if self.outside.without == Without::Syncing { 0 } else { self.synced.load(Ordering::SeqCst).min(written) };
            let kept = synced + chance.below(written - synced + 1);
            if written > 0 {
                let file = File::options().write(true).open(log(rest.path())).expect("the copied log");
                file.set_len(kept).expect("a shorter log");
            }
        }
        *self.remains.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        self.dead.store(true, Ordering::SeqCst);
        self.died.notify_one();
    }
}

impl Life {
    /// With a new store, or what an earlier life left.
    pub async fn begin(setting: &Setting, remains: Option<TempDir>, replicas: usize) -> Self {
        let chance = &setting.outside.chance;
        let folder = remains.unwrap_or_else(|| {
            let folder = folder();
            fs::write(folder.path().join("declic.db"), new_store()).expect("a copy of the new store");
            folder
        });
        let left = if chance.one_in(3) { 0 } else { 1 + chance.below(250) };
        let dead = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Pulse {
            outside: Arc::clone(&setting.outside),
            folder: folder.path().to_owned(),
            dead: Arc::clone(&dead),
            died: Notify::new(),
            left: AtomicU64::new(left),
            synced: AtomicU64::new(length(&log(folder.path()))),
            remains: Mutex::default(),
        });
        let watching = Arc::clone(&pulse);
        let (began, skew) = (setting.began, setting.skew);
        let options = Options {
            clock: Arc::new(move || Timestamp(BEGIN + skew).after(began.elapsed())),
            faults: Faults::watched(move |point, durable| watching.at(point, durable)),
            threads: Threads::Within,
            ..Options::default()
        };
        let store = Arc::new(Sqlite::open(&folder.path().join("declic.db"), options).expect("the store opens"));
        store.keep_rules("r1", vec![RuleFile { path: "r1".to_owned(), text: String::new() }]).await.expect("kept");
        let between = |_| (Between::new(&store, &setting.outside, &setting.compare, &dead), None);
        let replicas = (0..replicas).map(between).collect();
        let mut life = Self { replicas, store, pulse, folder };
        for number in 0..life.replicas.len() {
            life.start(setting, number);
        }
        life
    }

    /// Starts a replica.
    pub fn start(&mut self, setting: &Setting, number: usize) {
        let Some((between, engine)) = self.replicas.get_mut(number) else { return };
        let set = Arc::clone(&setting.set);
        let source = Arc::new(Inward::new(rules::SOURCE, rules::read));
        *engine = Some(Engine::start(EngineParts {
            journal: Arc::clone(between) as Arc<dyn Journal>,
            sources: BTreeMap::from([(rules::SOURCE.to_owned(), source as Arc<dyn declic::sources::Source>)]),
            rules: Arc::new(ArcSwap::from_pointee(Index::new(Arc::clone(&setting.set)))),
            load: Arc::new(move |_: &[RuleFile]| Ok(RuleSet { rules: set.rules.clone(), revision: set.revision.clone() })),
            actions: setting.actions,
            clients: setting.clients.clone(),
            offer: setting.offer.clone(),
            secrets: BTreeMap::new(),
            metrics: Arc::new(Metrics::new()),
            repositories: None,
            public_url: None,
            observer: Observer::default(),
            policy: Policy { workers: 4, lease: LEASE, drain: Duration::from_secs(2), jitter, ..Policy::default() },
        }));
    }

    /// Kills a replica; the store and the others go on.
    pub fn stop(&mut self, number: usize) -> Option<Engine> {
        self.replicas.get_mut(number).and_then(|(_, engine)| engine.take())
    }

    /// Until the process dies.
    pub async fn died(&self) {
        self.pulse.died.notified().await;
    }

    /// The process dies now.
    pub fn die(&self) {
        if !self.pulse.dead.load(Ordering::SeqCst) {
            self.pulse.die();
        }
    }

    /// What it leaves on the disk. The folder of this life is kept until nobody uses it any more.
    pub fn end(self) -> (Option<TempDir>, TempDir) {
        let remains = self.pulse.remains.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.replicas);
        (remains, self.folder)
    }
}
