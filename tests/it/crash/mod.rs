//! `kill -9` on the real process, at random moments and at every journal write: nothing acknowledged is lost, no effect is doubled.
//!
//! `DECLIC_CRASH_RUNS` says how often it is killed at random (`make crash N=1000`).

mod disk;
mod replicas;
pub(crate) mod scene;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::SERVICE_NAME;
use declic::journal::record::{DeliveryState, Listing, RunState};
use declic::journal::sqlite::ReadOnly;
use rand::Rng;

use scene::{PATIENCE, Scene};

#[expect(clippy::disallowed_methods, reason = "the caller of the test says how long it runs")]
fn runs() -> usize {
    std::env::var("DECLIC_CRASH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(12)
}

/// Panics of the service are errors even if it came through.
fn nothing_fell_over(folder: &Path) {
    let log = fs::read_to_string(folder.join("serve.log")).unwrap_or_default();
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "{panics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_random_moments_loses_nothing_and_doubles_nothing() {
    let mut scene = Scene::new().await;
    for round in 0..runs() {
        let mut process = scene.spawn(None);
        if round % 3 == 0 {
            scene.commit();
        }
        // Now and then while it starts; mostly while it works.
        let life = if round % 7 == 6 { rand::rng().random_range(1..40) } else { rand::rng().random_range(60..700) };
        let until = Instant::now() + Duration::from_millis(life);
        while Instant::now() < until {
            assert!(!process.is_dead(), "it ended by itself:\n{}", scene.log());
            if scene.all_acknowledged() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            } else {
                let left = until.saturating_duration_since(Instant::now());
                // A sender that is cut off in the middle of its request does not know whether it was taken in.
                let _ = tokio::time::timeout(left, scene.send()).await;
            }
        }
        process.kill();
        scene.kills += 1;
    }
    let mut process = scene.spawn(None);
    assert!(scene.rest(&mut process).await, "it ended by itself:\n{}", scene.log());
    process.kill();
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    scene.last_serves();
    nothing_fell_over(scene.folder.path());
}

/// Dies at each of these writes of one delivery, a new delivery each, until one survives because it needs fewer.
async fn die_at_writes(scene: &mut Scene, writes: impl Iterator<Item = u64>) {
    for write in writes {
        assert!(write < 200, "there is an end to the writes of one delivery");
        scene.commit();
        let mut process = scene.spawn(Some(write));
        let survived = scene.rest(&mut process).await;
        process.kill();
        if survived {
            // Every write that this delivery needs was hit before.
            assert!(write > 20, "only {write} writes were hit");
            break;
        }
        scene.kills += 1;
        let mut process = scene.spawn(None);
        assert!(scene.rest(&mut process).await, "it ended by itself:\n{}", scene.log());
        process.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_at_every_journal_write_loses_nothing_and_doubles_nothing() {
    let mut scene = Scene::new().await;
    die_at_writes(&mut scene, 1..).await;
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    scene.last_serves();
    nothing_fell_over(scene.folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_while_an_unhealthy_revision_is_rolled_back_and_told_of_doubles_nothing() {
    let mut scene = Scene::new().await;
    let before = scene.world.cloud_run.allocation(SERVICE_NAME);
    scene.world.cloud_run.unhealthy(500);
    // Long enough that a delivery whose acknowledgement was cut off is sent again before it has failed: then it would be taken up again.
    scene.world.cloud_run.operations_take(Duration::from_millis(300), 1);
    die_at_writes(&mut scene, (1..).step_by(2)).await;
    scene.count(DeliveryState::Failed, ["failure", "in_progress"]);
    scene.nothing_changed(&before);
    nothing_fell_over(scene.folder.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_is_over_within_ten_seconds_even_if_a_deploy_outlives_it() {
    let mut scene = Scene::new().await;
    scene.world.cloud_run.never_ready();
    scene.commit();
    let mut process = scene.spawn(None);
    let end = Instant::now() + PATIENCE;
    while scene.world.cloud_run.ledger.effects_of("revision.created").is_empty() {
        assert!(Instant::now() < end && !process.is_dead(), "{}", scene.log());
        scene.send().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    process.terminate();
    while !process.is_dead() {
        assert!(began.elapsed() < Duration::from_secs(10), "{}", scene.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = ReadOnly::open(&scene.store()).expect("the store opens");
    let runs = store.runs(&Listing { limit: 10, ..Listing::default() }).expect("the store works");
    assert_eq!(runs[0].state, RunState::Waiting, "it was given back");
}
