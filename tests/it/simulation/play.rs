//! One schedule from its seed: deliveries come, processes die, lines are cut, people interfere; then calm, and the verdict.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use declic::journal::Journal;
use declic::journal::record::{Listing, RunState, Selection};
use declic_actions::action::Clients;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::chance::Chance;
use super::life::{LEASE, Life, Setting};
use super::outside::{Outside, actions};
use super::safeguards::Without;
use super::senders::{Door, Doors, Heard, compare, deliveries, send};
use super::verdict::{self, Tally};
use super::{outside, rules};
use crate::support::inward::idle;

/// Accidents happen for so long.
const STORM: Duration = Duration::from_secs(40);
/// After that everything must be over within this time.
const CALM: Duration = Duration::from_secs(1800);
/// An hour.
const HOUR: i64 = 3_600_000;

/// What happens to the service at some moment.
#[derive(Debug, Clone, Copy)]
enum Accident {
    /// The process dies; the next one comes a little later.
    Crash,
    /// One replica dies and comes again.
    Stop(usize),
    /// One replica ends in order, and the next one begins.
    Drain(usize),
    /// One replica does not reach the store for so many milliseconds.
    Cut(usize, u64),
    /// A person retries, cancels or redrives runs.
    ByHand,
}

/// Plays the schedule. The text says what went wrong.
pub fn play(seed: u64, without: Without) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let played = runtime.block_on(async { Play::new(seed, without).play().await });
    played.map_err(|fault| format!("{fault}\n(schedule {seed}; again with `make sim SEED={seed}`)"))
}

struct Play {
    setting: Setting,
    replicas: usize,
    by_hand: bool,
    /// The true order of commits is always known.
    strict: bool,
    doors: Doors,
    heard: Heard,
    /// Folders of earlier lives.
    past: Vec<TempDir>,
    lives: u64,
}

impl Play {
    fn new(seed: u64, without: Without) -> Self {
        let chance = Arc::new(Chance::new(seed));
        let by_hand = chance.one_in(4);
        let strict = chance.one_in(2) || without == Without::Order;
        let outside = Outside::new(Arc::clone(&chance), without, by_hand);
        let skew = *chance.pick(&[0, 0, HOUR, -HOUR]);
        let replicas = if chance.one_in(2) { 2 } else { 1 };
        let setting = Setting {
            compare: compare(!strict),
            set: rules::set(&chance),
            offer: rules::offer(),
            actions: actions(&outside),
            clients: CLIENTS.with(Clone::clone),
            began: Instant::now(),
            skew,
            outside,
        };
        Self { setting, replicas, by_hand, strict, doors: Doors::default(), heard: Heard::default(), past: Vec::new(), lives: 0 }
    }

    fn outside(&self) -> &Arc<Outside> {
        &self.setting.outside
    }

    async fn play(mut self) -> Result<Tally, String> {
        let sent = deliveries(&self.outside().chance);
        let mut senders = JoinSet::new();
        for delivery in &sent {
            let (outside, doors, heard) = (Arc::clone(self.outside()), Arc::clone(&self.doors), Arc::clone(&self.heard));
            senders.spawn(send(outside, doors, heard, delivery.clone()));
        }
        let mut life = self.begin(None).await;
        for (at, accident) in self.accidents() {
            life = self.until(life, at).await;
            life = self.strike(life, accident).await;
        }
        life = self.until(life, self.setting.began + STORM).await;
        // What is left has to end well, whatever came before.
        self.outside().calm.store(true, Ordering::SeqCst);
        life = self.down_to_up(life).await;
        while senders.join_next().await.is_some() {}
        let end = Instant::now() + CALM;
        while !verdict::is_over(&life.store).await? {
            if Instant::now() > end {
                return Err(format!("something does not end:\n{}", verdict::open(&life.store).await?));
            }
            sleep(Duration::from_secs(2)).await;
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let by_hand = self.by_hand;
        let mut tally = verdict::judge(&life.store, self.outside(), &sent, &heard, by_hand, self.strict).await?;
        tally.lives = self.lives;
        Ok(tally)
    }

    fn accidents(&self) -> Vec<(Instant, Accident)> {
        let chance = &self.outside().chance;
        let mut all: Vec<(u64, Accident)> = (0..chance.below(6))
            .map(|_| {
                let replica = usize::try_from(chance.below(self.replicas as u64)).unwrap_or(0);
                let accident = match chance.below(8) {
                    0..3 => Accident::Crash,
                    3 => Accident::Stop(replica),
                    4 => Accident::Drain(replica),
                    _ => Accident::Cut(replica, 1000 + chance.below(12_000)),
                };
                (chance.below(30_000), accident)
            })
            .collect();
        if self.by_hand {
            all.extend((0..1 + chance.below(4)).map(|_| (chance.below(40_000), Accident::ByHand)));
        }
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(at, accident)| (self.setting.began + Duration::from_millis(at), accident)).collect()
    }

    async fn begin(&mut self, remains: Option<TempDir>) -> Life {
        self.lives += 1;
        let life = Life::begin(&self.setting, remains, self.replicas).await;
        self.open(&life);
        life
    }

    /// Deliveries come in at the replicas that run.
    fn open(&self, life: &Life) {
        let open = life.replicas.iter().filter_map(|(between, engine)| {
            let engine = engine.as_ref()?;
            Some(Door { between: Arc::clone(between), fresh: engine.fresh(), dispatch: engine.dispatch() })
        });
        *self.doors.lock().unwrap_or_else(PoisonError::into_inner) = open.collect();
    }

    /// Lets time pass, through any number of deaths.
    async fn until(&mut self, mut life: Life, moment: Instant) -> Life {
        loop {
            tokio::select! {
                biased;
                () = life.died() => life = self.again(life).await,
                () = sleep_until(moment) => return life,
            }
        }
    }

    /// The process died; what it left is taken up by the next one.
    async fn again(&mut self, life: Life) -> Life {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let (remains, folder) = life.end();
        self.past.push(folder);
        sleep(self.outside().chance.moment(3000)).await;
        self.begin(remains).await
    }

    async fn strike(&mut self, mut life: Life, accident: Accident) -> Life {
        match accident {
            Accident::Crash => {
                life.die();
                return self.again(life).await;
            }
            Accident::Stop(replica) => drop(life.stop(replica)),
            Accident::Drain(replica) => {
                if let Some(engine) = life.stop(replica) {
                    self.open(&life);
                    // A drain that the process does not survive is none.
                    tokio::select! {
                        biased;
                        () = life.died() => return self.again(life).await,
                        () = engine.drain() => {}
                    }
                }
            }
            Accident::Cut(replica, length) => {
                if let Some((between, _)) = life.replicas.get(replica) {
                    between.cut(Duration::from_millis(length));
                }
            }
            Accident::ByHand => {
                // Somebody whose command is lost asks again, or does not.
                tokio::select! {
                    biased;
                    () = life.died() => return self.again(life).await,
                    () = interfere(&life, self.outside()) => {}
                }
            }
        }
        self.open(&life);
        let pause = self.outside().chance.moment(LEASE.as_secs() * 2000);
        let now = Instant::now();
        life = self.until(life, now + pause).await;
        self.down_to_up(life).await
    }

    /// Replicas that are down come again.
    async fn down_to_up(&mut self, mut life: Life) -> Life {
        for number in 0..life.replicas.len() {
            if life.replicas.get(number).is_some_and(|(_, engine)| engine.is_none()) {
                life.start(&self.setting, number);
            }
        }
        self.open(&life);
        let now = Instant::now();
        self.until(life, now).await
    }
}

thread_local! {
    /// Made once: reading the certificates takes longer than a schedule.
    static CLIENTS: Clients = idle();
}

/// What a person does through the command line: beside the service, straight to the store.
async fn interfere(life: &Life, outside: &outside::Outside) {
    let Some((between, _)) = life.replicas.first() else { return };
    let Ok(runs) = between.runs(Listing { limit: 50, ..Listing::default() }).await else { return };
    if runs.is_empty() {
        return;
    }
    let run = outside.chance.pick(&runs);
    match outside.chance.below(3) {
        0 if !run.state.is_final() => drop(between.cancel(&run.id).await),
        1 if run.state.is_final() && run.state != RunState::Succeeded => drop(between.retry(&run.id).await),
        _ => {
            let Ok(dead) = Journal::dead(between.as_ref(), Selection { limit: 10, ..Selection::default() }).await else { return };
            for run in dead {
                drop(between.retry(&run).await);
            }
        }
    }
}
