//! A disk that is full, slow or read-only, senders that repeat themselves, and deliveries that overtake each other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use declic::demo::stand_ins::SERVICE_NAME;
use declic::journal::record::{DeliveryState, Listing};
use declic::journal::sqlite::{ReadOnly, care};
use rand::Rng;

use super::scene::{Process, Scene};
use crate::support::binary::{DECLIC, command};

/// How large any file of the process may become: what a full disk is to it. Needs no rights of an administrator.
fn limit_files(process: &Process, bytes: &str) {
    let limited = Command::new("prlimit").arg(format!("--pid={}", process.id())).arg(format!("--fsize={bytes}")).status();
    assert!(limited.expect("prlimit is part of util-linux").success());
}

/// Ignoring SIGXFSZ makes writes beyond the limit fail, as they do on a full disk, and outlives the exec.
fn that_survives_full_disks(scene: &Scene) -> Command {
    let mut shell = command(scene.folder.path(), &[]);
    let environment: Vec<_> = shell.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    let mut outer = Command::new("sh");
    outer.args(["-c", "trap '' XFSZ; exec \"$0\" serve --config declic.yaml", DECLIC]).current_dir(scene.folder.path());
    for (name, value) in environment {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    shell.stdin(Stdio::null());
    outer.stdin(Stdio::null());
    outer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_free_on_a_full_disk_that_becomes_free_again() {
    let mut scene = Scene::new().await;
    let mut process = scene.start(that_survives_full_disks(&scene), None);
    scene.commit();
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    limit_files(&process, "4096:unlimited");
    for _ in 0..3 {
        scene.commit();
    }
    for index in 1..4 {
        assert_eq!(scene.send_one(index).await, Some(503), "nothing is promised that cannot be kept\n{}", scene.log());
    }
    assert!(!process.is_dead(), "{}", scene.log());
    assert!(scene.log().contains("the store failed"), "{}", scene.log());
    limit_files(&process, "unlimited:unlimited");
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    process.kill();
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    scene.last_serves();
    assert_eq!(care::check(&scene.store()).expect("it can be read"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_on_a_slow_disk_loses_nothing_and_doubles_nothing() {
    let mut scene = Scene::new().await;
    for round in 0..6 {
        let mut slow = command(scene.folder.path(), &["serve", "--config", "declic.yaml"]);
        slow.env("DECLIC_DISK_SLOWER", "60");
        let process = scene.start(slow, None);
        if round % 2 == 0 {
            scene.commit();
        }
        let until = Instant::now() + Duration::from_millis(rand::rng().random_range(200..1500));
        while Instant::now() < until {
            let _ = tokio::time::timeout(until.saturating_duration_since(Instant::now()), scene.send()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        process.kill();
        scene.kills += 1;
    }
    let mut process = scene.spawn(None);
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    process.kill();
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    scene.last_serves();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_duplicates_has_each_effect_once() {
    let mut scene = Scene::new().await;
    let mut process = scene.spawn(None);
    scene.commit();
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    for _ in 0..4 {
        scene.commit();
        let newest = scene.deliveries.len() - 1;
        // The new one many times at once, and all that came before once more.
        let storm = (0..20).map(|_| scene.send_one(newest)).chain((0..newest).map(|index| scene.send_one(index)));
        let answers = futures_util::future::join_all(storm).await;
        assert!(answers.iter().all(|status| matches!(status, Some(200..300))), "{answers:?}");
    }
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    process.kill();
    scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    scene.last_serves();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_overtake_each_other_leave_the_newest_commit_serving() {
    let mut scene = Scene::new().await;
    let mut process = scene.spawn(None);
    scene.commit();
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    for _ in 0..5 {
        scene.commit();
    }
    for index in (1..=5).rev() {
        assert!(matches!(scene.send_one(index).await, Some(200..300)), "{}", scene.log());
    }
    assert!(scene.rest(&mut process).await, "{}", scene.log());
    process.kill();
    scene.last_serves();
    let made = scene.world.cloud_run.ledger.effects_of("revision.created").len();
    assert!((2..=6).contains(&made), "none twice, and those that came too late need not be made: {made}");
    let store = ReadOnly::open(&scene.store()).expect("the store opens");
    let all = store.deliveries(&Listing { limit: 100, ..Listing::default() }).expect("the store works");
    assert!(all.iter().all(|delivery| delivery.state == DeliveryState::Completed), "{all:?}");
    assert_eq!(scene.world.cloud_run.allocation(SERVICE_NAME).iter().filter(|(_, percent)| *percent > 0).count(), 1);
}

#[test]
fn a_store_that_cannot_be_written_is_told_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let init = command(folder.path(), &["init", "."]).output().expect("the command starts");
    assert!(init.status.success());
    fs::write(folder.path().join("declic.db"), "").expect("written");
    for (name, mode) in [("declic.db", 0o444), (".", 0o555)] {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).expect("permissions");
    }
    let mut serve = command(folder.path(), &["serve", "--config", "declic.yaml", "--listen", "127.0.0.1:0"]);
    let output = if nix::unistd::geteuid().is_root() {
        // Permissions do not bind an administrator.
        let mut as_nobody = Command::new("setpriv");
        as_nobody.args(["--reuid=65534", "--clear-groups", DECLIC]).args(serve.get_args()).current_dir(folder.path());
        as_nobody.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        as_nobody.output()
    } else {
        serve.output()
    };
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    let output = output.expect("the command starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("declic.db"), "{said}");
}
