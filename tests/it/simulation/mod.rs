//! Engine and journal under simulated time: thousands of schedules of crashes, power cuts, lost answers, cut lines and reordered deliveries, each
//! from one seed and the same every time.
//!
//! The engine and the SQLite journal are the real ones, on a file in memory, with the runtime's paused clock and without threads beside it. A
//! crash happens at a write, before or after its commit, or at any other moment: what is on the disk then is copied, and the next life
//! begins with it; half of the crashes are power cuts, which lose what was written but not synced. The targets outside survive everything and
//! count.

mod chance;
mod life;
mod outside;
mod play;
mod rules;
mod safeguards;
mod senders;
mod store;
mod verdict;

use play::play;
use safeguards::Without;
use verdict::Tally;

/// After so many schedules that went wrong, one side stops.
const MOST_FAULTS: usize = 3;

/// `name` as a number, if it is set.
fn asked(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "how many schedules are played is asked for from outside")]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// `make sim N=100000` plays more of them, `make sim SEED=7` that one alone.
#[test]
fn thousands_of_schedules_lose_nothing_and_double_nothing() {
    let seeds = match asked("DECLIC_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("DECLIC_SIM_SCHEDULES").unwrap_or(2000),
    };
    let sides = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let played: Vec<(Tally, Vec<String>)> = std::thread::scope(|scope| {
        let side = |first: u64| {
            let seeds = seeds.clone();
            scope.spawn(move || {
                let (mut tally, mut faults) = (Tally::default(), Vec::new());
                for seed in seeds.filter(|seed| seed % sides == first) {
                    match play(seed, Without::Nothing) {
                        Ok(played) => tally += played,
                        Err(fault) => faults.push(fault),
                    }
                    if faults.len() == MOST_FAULTS {
                        break;
                    }
                }
                (tally, faults)
            })
        };
        let sides: Vec<_> = (0..sides).map(side).collect();
        sides.into_iter().map(|side| side.join().expect("a schedule broke off; what it said is above")).collect()
    });
    let (mut all, mut faults) = (Tally::default(), Vec::new());
    for side in played {
        all += side.0;
        faults.extend(side.1);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    println!("{} schedules: {all:?}, 0 lost, 0 doubled", seeds.end - seeds.start);
    assert!(all.lives >= seeds.end - seeds.start && all.effects > 0, "something happened");
}

#[test]
fn the_same_seed_is_the_same_schedule() {
    for seed in [3, 14] {
        let [one, other] = [(), ()].map(|()| play(seed, Without::Nothing).map(|tally| format!("{tally:?}")));
        assert_eq!(one, other);
    }
}
