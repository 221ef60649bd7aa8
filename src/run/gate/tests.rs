//! Cases of one gate over time, without a clock.

use std::time::{Duration, Instant};

use serde_json::json;

use super::state::{Gate, Notice};
use super::{Limit, Sign, Wait};

const SECOND: Duration = Duration::from_secs(1);

fn out() -> Sign {
    Sign::Out("no answer".to_owned())
}

fn gate(limit: serde_json::Value) -> Gate {
    Gate::new(Limit::of(Some(&json!({ "limit": limit }))))
}

fn why(outcome: Result<(), Wait>) -> &'static str {
    outcome.expect_err("it has to wait").why
}

#[test]
fn an_outage_opens_it_once_and_a_probe_decides_when_it_closes() {
    let now = Instant::now();
    let mut gate = gate(json!({ "failures": 3, "pause": "10s" }));
    for number in 1..=3 {
        gate.enter("r", None, now).expect("it is closed");
        let (notice, _) = gate.leave(out(), now);
        let opened = Notice::Opened(3, 10 * SECOND, "no answer".to_owned());
        assert_eq!(notice, (number == 3).then_some(opened), "after {number}");
    }
    for run in ["a", "b"] {
        assert_eq!(why(gate.enter(run, None, now + 9 * SECOND)), "breaker");
    }
    gate.enter("a", None, now + 10 * SECOND).expect("one tries");
    assert_eq!(why(gate.enter("b", None, now + 10 * SECOND)), "breaker");
    assert_eq!(gate.leave(out(), now + 10 * SECOND), (Some(Notice::StillOpen(20 * SECOND)), 0));
    assert_eq!(why(gate.enter("a", None, now + 29 * SECOND)), "breaker");
    gate.enter("b", None, now + 30 * SECOND).expect("another one tries");
    assert_eq!(gate.leave(Sign::Alive, now + 30 * SECOND), (Some(Notice::Closed), 1), "the one that waits is called");
    gate.enter("a", None, now + 30 * SECOND).expect("it is closed");
    assert_eq!(gate.leave(out(), now + 30 * SECOND).0, None, "the count began anew");
}

#[test]
fn a_probe_that_says_nothing_leaves_the_next_one_to_try() {
    let now = Instant::now();
    let mut gate = gate(json!({ "failures": 1, "pause": "10s" }));
    gate.enter("a", None, now).expect("it is closed");
    gate.leave(out(), now);
    gate.enter("a", None, now + 10 * SECOND).expect("it tries");
    assert_eq!(gate.leave(Sign::Nothing, now + 10 * SECOND), (None, 0));
    gate.enter("b", None, now + 10 * SECOND).expect("it tries");
}

#[test]
fn a_refusal_is_an_answer_and_no_outage() {
    let now = Instant::now();
    let mut gate = gate(json!({ "failures": 2 }));
    for sign in [out(), Sign::Alive, out(), Sign::Nothing] {
        gate.enter("a", None, now).expect("it is closed");
        assert_eq!(gate.leave(sign, now).0, None);
    }
    let mut never = self::gate(json!({ "failures": 0 }));
    for _ in 0..100 {
        never.enter("a", None, now).expect("it never opens");
        never.leave(out(), now);
    }
}

#[test]
fn so_many_at_once_and_so_many_a_minute() {
    let now = Instant::now();
    let mut gate = gate(json!({ "at-once": 2, "per-minute": 3 }));
    gate.enter("a", Some(1), now).expect("the settings count, not what is usual");
    gate.enter("b", Some(1), now).expect("there is room for two");
    assert_eq!(why(gate.enter("c", Some(1), now)), "busy");
    assert_eq!(gate.leave(Sign::Alive, now).1, 1, "who waits is called");
    gate.enter("c", None, now + SECOND).expect("there is room");
    gate.leave(Sign::Alive, now + SECOND);
    let Err(wait) = gate.enter("d", None, now + SECOND) else { panic!("three within a minute are enough") };
    assert_eq!((wait.why, wait.after), ("rate", 59 * SECOND));
    gate.enter("d", None, now + 60 * SECOND).expect("a minute later");
    let mut usual = self::gate(json!({}));
    usual.enter("a", Some(1), now).expect("there is room");
    assert_eq!(why(usual.enter("b", Some(1), now)), "busy");
    usual.enter("c", None, now).expect("whoever is waited for is not held to what is usual");
}

#[test]
fn a_target_that_asks_for_patience_gets_it_without_counting_as_down() {
    let now = Instant::now();
    let mut gate = gate(json!({ "failures": 1 }));
    gate.enter("a", None, now).expect("it is closed");
    assert_eq!(gate.leave(Sign::Patience(7 * SECOND), now), (None, 0));
    let Err(wait) = gate.enter("b", None, now + SECOND) else { panic!("it asked to be left alone") };
    assert_eq!((wait.why, wait.after), ("patience", 6 * SECOND));
    gate.enter("b", None, now + 7 * SECOND).expect("it was left alone");
}

#[test]
fn those_who_wait_do_not_all_look_at_once() {
    let now = Instant::now();
    let mut gate = gate(json!({ "failures": 1, "pause": "10s" }));
    gate.enter("a", None, now).expect("it is closed");
    gate.leave(out(), now);
    let waits: Vec<Duration> =
        (0..100).map(|number| gate.enter(&number.to_string(), None, now).expect_err("it is open").after).collect();
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
}
