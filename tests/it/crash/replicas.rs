//! Three replicas of the real process on one PostgreSQL server, killed at random, and the server with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use declic::journal::record::{DeliveryState, Listing};
use rand::Rng;

use super::scene::{PATIENCE, Process, Scene};
use super::{nothing_fell_over, runs};
use crate::support::binary::{command, free_port};
use crate::support::postgres::Server;

const REPLICAS: usize = 3;

/// Replicas that come and go, each at a port of its own.
struct Replicas {
    addresses: Vec<String>,
    alive: Vec<Option<Process>>,
}

impl Replicas {
    fn new() -> Self {
        Self {
            addresses: (0..REPLICAS).map(|_| format!("127.0.0.1:{}", free_port())).collect(),
            alive: (0..REPLICAS).map(|_| None).collect(),
        }
    }

    /// All of them that are not alive; one that ended by itself because the server was away is started again.
    fn start(&mut self, scene: &Scene) {
        for (alive, address) in self.alive.iter_mut().zip(&self.addresses) {
            if alive.as_mut().is_none_or(Process::is_dead) {
                let mut command = command(scene.folder.path(), &["serve", "--config", "declic.yaml", "--listen", address]);
                command.env("DECLIC_LEASE", "2000");
                *alive = Some(scene.start(command, None));
            }
        }
    }

    /// As GitHub and a balancer would: what was not acknowledged is sent again, to any of them, and now and then twice at once.
    async fn send(&self, scene: &mut Scene) {
        for index in 0..scene.deliveries.len() {
            if scene.deliveries[index].acknowledged {
                continue;
            }
            let any = || &self.addresses[rand::rng().random_range(0..REPLICAS)];
            let (first, second) = (any(), any());
            let statuses = if rand::rng().random_bool(0.3) {
                let (one, two) = tokio::join!(scene.send_to(first, index), scene.send_to(second, index));
                [one, two]
            } else {
                [scene.send_to(first, index).await, None]
            };
            scene.deliveries[index].acknowledged = statuses.into_iter().flatten().any(|status| status < 300);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_of_replicas_on_one_server_loses_nothing_and_doubles_nothing() {
    let server = Arc::new(tokio::task::spawn_blocking(Server::start).await.expect("a server"));
    let mut scene = Scene::on(&format!("postgres: \"{}\", schema: crash", server.url())).await;
    let mut replicas = Replicas::new();
    for round in 0..runs() {
        replicas.start(&scene);
        // The next commit comes when the ones before it are decided: a replica that dies with a delivery in its hands is overtaken else, and
        // what is older than what was deployed is not deployed.
        if round % 2 == 0 && all_decided(&scene) {
            scene.commit();
        }
        let until = Instant::now() + Duration::from_millis(rand::rng().random_range(200..1200));
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            // A sender that is cut off in the middle of its request does not know whether it was taken in.
            let _ = tokio::time::timeout(left, replicas.send(&mut scene)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if round % 5 == 4 {
            let (server, end) = (Arc::clone(&server), if round % 2 == 0 { "crash" } else { "stop" });
            let restart = move || {
                server.tell(end);
                server.tell("start");
            };
            tokio::task::spawn_blocking(restart).await.expect("the server comes back");
        } else {
            let victims = rand::rng().random_range(1..=REPLICAS);
            for victim in replicas.alive.iter_mut().take(victims) {
                if let Some(process) = victim.take() {
                    process.kill();
                    scene.kills += 1;
                }
            }
            replicas.alive.rotate_left(1);
            replicas.addresses.rotate_left(1);
        }
    }
    let until = Instant::now() + PATIENCE * 2;
    loop {
        replicas.start(&scene);
        replicas.send(&mut scene).await;
        let (settled, known) = scene.settled();
        if scene.all_acknowledged() && known == scene.deliveries.len() && settled == known {
            break;
        }
        assert!(Instant::now() < until, "{settled} of {known} settled, {} sent\n{}", scene.deliveries.len(), scene.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(replicas);
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    nothing_fell_over(scene.folder.path());
    one_at_a_time(&scene);
    tokio::task::spawn_blocking(move || drop(server)).await.expect("the server ends");
}

fn all_decided(scene: &Scene) -> bool {
    let Ok(store) = scene.look() else { return scene.deliveries.is_empty() };
    let known = store.deliveries(&Listing { limit: 100_000, ..Listing::default() }).unwrap_or_default();
    let open = |state: DeliveryState| matches!(state, DeliveryState::Accepted | DeliveryState::Matching);
    known.len() == scene.deliveries.len() && !known.iter().any(|delivery| open(delivery.state))
}

/// All runs are of one group: the first attempt of each began when the run before it had ended, by the server's clock. (When a run was claimed
/// is the time at which the claim began to look, which may be a moment before it was free.)
fn one_at_a_time(scene: &Scene) {
    let store = scene.look().expect("the store opens");
    let runs = store.runs(&Listing { limit: 100_000, ..Listing::default() }).expect("the store works");
    let mut spans: Vec<_> = runs
        .iter()
        .map(|run| {
            let (_, steps) = store.run(&run.id).expect("the store works").expect("it is there");
            let attempts = steps.iter().flat_map(|step| &step.attempts);
            let began = attempts.map(|attempt| attempt.started_at).min().expect("it did something");
            (began, run.finished_at.expect("it is over"), &run.id)
        })
        .collect();
    spans.sort_unstable();
    assert!(spans.len() > 1, "there is something to compare");
    for pair in spans.windows(2) {
        assert!(pair[1].0 >= pair[0].1, "two of a group at once: {pair:?}");
    }
}
