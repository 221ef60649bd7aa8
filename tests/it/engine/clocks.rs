//! Workers whose machines are an hour off the store's clock: leases, waits and deadlines follow the store, so no harm is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use declic::clock::Timestamp;
use declic::journal::record::{DeliveryState, RunState};
use declic::journal::sqlite::{Options, Sqlite};
use declic::rules::model::{Rule, RuleFile};
use declic::run::Policy;
use serde_json::json;

use super::action::Act;
use super::world::{World, policy, retrying, rule, step};

const HOUR: i64 = 3_600_000;

/// A world whose store is so many milliseconds ahead of the workers.
async fn skewed(rules: Vec<Rule>, by: i64) -> (World, tempfile::TempDir) {
    let mut world = World::new(rules).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(move || Timestamp(Timestamp::now().0 + by));
    let options = Options { clock, ..Options::default() };
    world.journal = Arc::new(Sqlite::open(&folder.path().join("declic.db"), options).expect("the store opens"));
    world.journal.keep_rules("r1", vec![RuleFile { path: "r1".to_owned(), text: String::new() }]).await.expect("kept");
    (world, folder)
}

#[tokio::test]
async fn two_workers_an_hour_off_the_stores_clock_do_everything_once_and_in_time() {
    for by in [HOUR, -HOUR] {
        let rules = vec![Rule { timeout: Some(Duration::from_secs(20)), ..rule("deploy", vec![step("a"), retrying("b", 3)]) }];
        let (world, _folder) = skewed(rules, by).await;
        // The first step outlives three leases, the second one waits for its next attempt.
        world.action.script("a", vec![Act::Takes(Duration::from_millis(900)); 3]);
        world.action.script("b", vec![Act::Later(Some(Duration::from_millis(200))); 3]);
        let quick = || Policy { lease: Duration::from_millis(300), ..policy() };
        let (one, _other) = (world.start_with(quick()), world.start_with(quick()));
        let began = Instant::now();
        for id in ["d1", "d2", "d3"] {
            world.deliver(&one, id, json!({})).await;
        }
        let deliveries = world.journal.deliveries(declic::journal::record::Listing { limit: 10, ..Default::default() }).await;
        for delivery in deliveries.expect("the store works") {
            assert_eq!(world.settled(&delivery.id).await, DeliveryState::Completed, "{by}");
            let (run, steps) = world.only_run(&delivery.id).await;
            let attempts: Vec<usize> = steps.iter().map(|step| step.attempts.len()).collect();
            assert_eq!((run.state, attempts), (RunState::Succeeded, vec![1, 2]), "{by}");
        }
        assert_eq!((world.action.made("a"), world.action.made("b")), (3, 3), "{by}");
        assert!(began.elapsed() < Duration::from_secs(15), "nobody waits for an hour to pass: {:?}", began.elapsed());
    }
}
