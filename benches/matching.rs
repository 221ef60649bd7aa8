//! What matching costs, and what grows with the number of rules: `make bench` prints a table. Medians of many rounds, std timing.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use declic::event::Event;
use declic::matching::{Decisions, Index, MOST_REASONS};
use declic::rules::check::{Ground, check};
use declic::rules::load::load;
use declic::rules::model::RuleFile;
use serde_json::json;

/// The command's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resident memory of this process in bytes, as Linux tells it; nothing elsewhere.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// Median time of one call in nanoseconds, over rounds of enough calls to be measured.
fn median(mut call: impl FnMut()) -> f64 {
    let mut calls = 1;
    loop {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        if start.elapsed().as_micros() >= 2_000 || calls >= 1 << 20 {
            break;
        }
        calls *= 2;
    }
    let mut rounds: Vec<f64> = (0..41)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / calls as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// A rule file with these rules, each for a repository of its own, as an installation for many teams has them.
fn file(numbers: Range<usize>) -> String {
    let mut text = String::from("version: 1\nrules:\n");
    for number in numbers {
        text.push_str(&format!(
            "  rule-{number}:\n    on: {{ github.push: {{ repos: [acme/service-{number}], branches: [main, \"release/**\"], \
             paths: [\"services/**\", \"!**/*.md\"] }} }}\n    if: '!event.message.contains(\"[skip deploy]\")'\n    steps:\n      - \
             uses: github/comment\n        with: {{ number: 1, body: \"deployed ${{{{ event.sha }}}}\" }}\n"
        ));
    }
    text
}

fn index(count: usize) -> Index {
    // Files have a size limit; many rules are many files.
    let files: Vec<RuleFile> = (0..count)
        .step_by(1_000)
        .map(|start| RuleFile { path: format!("bench-{start}.yaml"), text: file(start..count.min(start + 1_000)) })
        .collect();
    let loaded = load(&files, None).unwrap_or_else(|faults| panic!("{:?}", faults.first()));
    assert_eq!(loaded.set.rules.len(), count);
    Index::new(Arc::new(loaded.set))
}

fn push(repository: &str) -> Event {
    let files: Vec<String> = (0..8).map(|number| format!("services/web/file-{number}.rs")).collect();
    Event {
        kind: "github.push".to_owned(),
        source: "github".to_owned(),
        event: json!({
            "ref": "refs/heads/main", "branch": "main", "sha": "0".repeat(40), "before": "1".repeat(40), "created": false,
            "deleted": false, "forced": false, "files": files, "files_complete": true, "message": "Fix the login", "commits": [],
        }),
        repo: json!({ "full_name": repository, "default_branch": "main" }),
        actor: json!({ "login": "mona", "id": 1, "type": "user" }),
        delivery: json!({ "id": "d", "source": "github", "received_at": "2026-01-02T03:04:05.000Z", "replay": false }),
    }
}

fn main() {
    println!("{:>9}  {:>12}  {:>12}  {:>14}", "rules", "match", "no match", "bytes a rule");
    let mut first = None;
    let mut last = 0.0;
    for count in [10, 100, 1_000, 10_000, 100_000] {
        // The second one tells: what reading the first one left free is used again.
        let warm = (count >= 10_000).then(|| index(count));
        let before = resident();
        let index = index(count);
        // Fewer rules than that disappear in what the allocator keeps in stock.
        let bytes = resident().zip(before).filter(|_| count >= 10_000).map(|(now, before)| now.saturating_sub(before) / count);
        let bytes = bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        drop(warm);
        let (known, unknown) = (push("acme/service-7"), push("acme/elsewhere"));
        assert_eq!((index.decide(&known).matched.len(), index.decide(&unknown).traces.len()), (1, 0));
        let hit = median(|| drop(black_box(index.decide(black_box(&known)))));
        let miss = median(|| drop(black_box(index.decide(black_box(&unknown)))));
        println!("{count:>9}  {:>9.2} us  {:>9.2} us  {bytes:>14}", hit / 1000.0, miss / 1000.0);
        first.get_or_insert(hit);
        last = hit;
    }
    println!("100,000 rules cost {:.2} times what 10 cost", last / first.unwrap_or(last));
    reasons();
    checking();
}

/// What the stored reasons of a delivery add: deciding with them, writing them down, and deciding without any. The event reaches ten rules,
/// each of which fails at its `if`.
fn reasons() {
    let text = file(0..10).replace("[skip deploy]", "").replace("repos: [acme/service-", "repos: [acme/web, acme/service-");
    let loaded = load(&[RuleFile { path: "bench.yaml".to_owned(), text }], None);
    let index = Index::new(Arc::new(loaded.unwrap_or_else(|faults| panic!("{:?}", faults.first())).set));
    let event = push("acme/web");
    let decisions: Decisions = index.decide_within(&event, MOST_REASONS);
    assert_eq!((decisions.traces.len(), decisions.matched.len()), (10, 0));
    let text = serde_json::to_string(&decisions.to_store()).expect("traces are plain data");
    let rules = 10.0 * 1000.0;
    let without = median(|| drop(black_box(index.decide_within(black_box(&event), 0)))) / rules;
    let with = median(|| drop(black_box(index.decide_within(black_box(&event), MOST_REASONS)))) / rules;
    let write = median(|| drop(black_box(serde_json::to_string(&black_box(&decisions).to_store())))) / rules;
    println!(
        "a rule that does not match: {without:.2} us to decide, {:.2} us for its reason and {write:.2} us and {} bytes to write that down",
        with - without,
        text.len() / 10
    );
}

fn checking() {
    let text = file(0..1_000);
    let time = median(|| drop(black_box(check("bench.yaml", black_box(&text), &Ground::default()))));
    println!("1,000 rules ({} bytes) are checked in {:.1} ms", text.len(), time / 1_000_000.0);
}
