//! A simulation that cannot fail shows nothing: with each safeguard taken away, some schedule must notice.

use super::play::play;

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// Nothing.
    Nothing,
    /// Deliveries are acknowledged before they are stored.
    Storing,
    /// The disk forgets at a power cut what it had said to have written.
    Syncing,
    /// Nobody looks whether an effect is there already.
    Looking,
    /// Heartbeats are answered and not kept: others take over what is still worked on.
    Leases,
    /// Groups exclude nobody.
    Groups,
    /// Nobody knows which commit is newer.
    Order,
    /// What a target asks for with `Retry-After` is ignored.
    Patience,
}

/// So many schedules are looked through.
const SCHEDULES: u64 = 1000;

fn noticed(without: Without) {
    let found = (0..SCHEDULES).find_map(|seed| play(seed, without).err().map(|fault| (seed, fault)));
    let (seed, fault) = found.unwrap_or_else(|| panic!("without {without:?} nothing goes wrong in {SCHEDULES} schedules"));
    println!("without {without:?}, schedule {seed}: {}", fault.lines().next().unwrap_or_default());
}

#[test]
fn acknowledging_before_storing_is_noticed() {
    noticed(Without::Storing);
}

#[test]
fn a_disk_that_forgets_is_noticed() {
    noticed(Without::Syncing);
}

#[test]
fn repeating_without_looking_is_noticed() {
    noticed(Without::Looking);
}

#[test]
fn leases_that_nobody_keeps_are_noticed() {
    noticed(Without::Leases);
}

#[test]
fn groups_that_exclude_nobody_are_noticed() {
    noticed(Without::Groups);
}

#[test]
fn an_older_commit_over_a_newer_one_is_noticed() {
    noticed(Without::Order);
}

#[test]
fn a_target_that_is_not_left_in_peace_is_noticed() {
    noticed(Without::Patience);
}
