//! What each stage of a delivery costs in instructions, and the check of a rule, which valgrind counts alike on every run: `make bench-stages`
//! prints them, and `cargo test` fails if a stage costs a tenth more than `benches/stages.txt` says, or if checking does not stay in proportion.
//!
//! `stages STAGE N` does a stage N times; without arguments it runs itself under valgrind, for few and for many times, and takes the difference.
//! `stages --write` keeps what it found.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::event::Event;
use declic::inbound::Inbound;
use declic::journal::Journal;
use declic::journal::record::{Delivery, NewDelivery};
use declic::journal::sqlite::{Options, Sqlite};
use declic::matching::{Index, MOST_REASONS};
use declic::rules::load::load;
use declic::rules::model::{RuleFile, RuleSet};
use declic::settings::SourceSettings;
use declic::sources::{self, Around, Source, Taken};
use declic_actions::secret::Secret;
use serde_json::json;

/// The command's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// And how often each is done for the lower and the higher count.
const STAGES: [(&str, u64, u64); 7] = [
    ("verify", 8, 40),
    ("decode", 8, 40),
    ("decide", 8, 40),
    // Ten rules that hear the delivery and do not start: with the reasons that are stored, and without any.
    ("reasons", 8, 40),
    ("verdicts", 8, 40),
    ("append", 64, 256),
    // One rule of a file.
    ("check", 20, 120),
];
/// A thousand rules cost at most so many instructions to check: a fraction of a second on any machine of today.
const CHECK: f64 = 2e9;
/// A rule among a thousand costs at most so much of what one among a hundred costs.
const GROWTH: f64 = 1.2;
/// More than this part of the known count is a regression.
const TOLERATED: f64 = 0.10;
const SECRET: &str = "a secret of this bench";
/// Conditions: one that holds, one that does not, and one that reads GitHub's payload.
const LIKELY: &str = "!event.message.contains(\"[skip deploy]\")";
const UNLIKELY: &str = "event.message.contains(\"[skip deploy]\")";
const TYPED: &str = "event.payload.repository.archived == false && event.payload.commits.exists(c, c.distinct)";
/// Deliveries that are appended together.
const TOGETHER: usize = 64;

fn github() -> Arc<dyn Source> {
    let fields = json!({ "secret": "hook" }).as_object().cloned().unwrap_or_default();
    let settings =
        SourceSettings { name: "github".to_owned(), kind: "github".to_owned(), path: "/hooks/github".to_owned(), fields };
    let secrets = BTreeMap::from([("hook".to_owned(), vec![Secret::new(SECRET)])]);
    sources::build(&settings, &secrets, &Around::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The example of `declic init` with ten commits, signed.
fn push(source: &dyn Source) -> Inbound {
    let mut payload: serde_json::Value = serde_json::from_str(include_str!("../src/cli/init/push.json")).expect("an example");
    let commit = payload["commits"][0].clone();
    payload["commits"] = vec![commit; 10].into();
    let mut inbound = Inbound {
        method: "POST".to_owned(),
        path: "/hooks/github".to_owned(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), Bytes::from_static(b"application/json"))],
        body: payload.to_string().into(),
        received_at: Timestamp(1_795_000_000_000),
    };
    source.sign(&mut inbound, "push", "bench-1", None).expect("a push can be signed");
    inbound
}

fn delivery(source: &dyn Source) -> Delivery {
    let inbound = push(source);
    let content = NewDelivery {
        share: "github".to_owned(),
        source: "github".to_owned(),
        delivery_id: "bench-1".to_owned(),
        event_type: "push".to_owned(),
        headers: source.kept(&inbound),
        body: inbound.body,
        received_at: inbound.received_at,
        trace: "0".repeat(32),
        verified: "x-hub-signature-256, secret 1 of 1".to_owned(),
    };
    Delivery { id: "bench".to_owned(), content, replay: false, learned: None }
}

/// Rules for this repository, of which each looks at branch, paths and a condition.
fn rules(count: u64, condition: &str) -> RuleSet {
    let mut text = String::from("version: 1\nrules:\n");
    for number in 0..count {
        text.push_str(&format!(
            "  rule-{number}:\n    on: {{ github.push: {{ branches: [main, \"release/**\"], paths: [\"services/**\", \"!**/*.md\"] }} }}\n    \
             if: '{condition}'\n    steps:\n      - uses: log\n        with: {{ message: \"${{{{ event.sha }}}}\" }}\n"
        ));
    }
    let files = [RuleFile { path: "bench.yaml".to_owned(), text }];
    load(&files, None).unwrap_or_else(|faults| panic!("{:?}", faults.first())).set
}

/// Decides with so many reasons of rules that do not match, and writes down what is stored.
fn decide(times: u64, condition: &str, reasons: usize) {
    let source = github();
    let index = Index::new(Arc::new(rules(10, condition)));
    let event: Event = source.decode(&delivery(source.as_ref()), false).ok().flatten().expect("a push");
    for _ in 0..times {
        let decisions = index.decide_within(black_box(&event), reasons);
        black_box(serde_json::to_string(&decisions.to_store()).expect("traces are plain data"));
    }
}

fn do_stage(stage: &str, times: u64) {
    let source = github();
    match stage {
        "verify" => {
            let inbound = push(source.as_ref());
            for _ in 0..times {
                let taken = sources::take(source.as_ref(), black_box(inbound.clone()));
                assert!(matches!(taken, Ok(Taken::Delivery(..))), "the push is signed");
            }
        }
        "decode" => {
            let delivery = delivery(source.as_ref());
            for _ in 0..times {
                black_box(source.decode(black_box(&delivery), true).expect("a push"));
            }
        }
        "decide" => decide(times, LIKELY, MOST_REASONS),
        "reasons" => decide(times, UNLIKELY, MOST_REASONS),
        "verdicts" => decide(times, UNLIKELY, 0),
        "check" => drop(black_box(rules(times, TYPED))),
        "append" => append(&delivery(source.as_ref()).content, usize::try_from(times).unwrap_or(usize::MAX)),
        _ => panic!("no such stage: {stage}"),
    }
}

fn append(delivery: &NewDelivery, times: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let journal = Sqlite::open(&folder.path().join("declic.db"), Options::default()).expect("a new store");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for batch in 0..times / TOGETHER {
        let appends = (0..TOGETHER)
            .map(|number| journal.append(NewDelivery { delivery_id: format!("bench-{batch}-{number}"), ..delivery.clone() }));
        for appended in runtime.block_on(futures_util::future::join_all(appends)) {
            appended.expect("the store takes it");
        }
    }
}

/// Instructions of a whole run, as callgrind counts them.
fn instructions(stage: &str, times: u64) -> Result<f64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args([stage, &times.to_string()])
        .output()
        .map_err(|error| format!("valgrind does not start ({error}); Debian: apt install valgrind"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or(told)
}

fn per_delivery(stage: &str, few: u64, many: u64) -> Result<f64, String> {
    Ok((instructions(stage, many)? - instructions(stage, few)?) / (many - few) as f64)
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

/// `PROFILE STAGE INSTRUCTIONS`, a line each.
fn known(file: &Path) -> Vec<(String, f64)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        })
        .collect()
}

fn keep(file: &Path, found: &[(String, f64)]) -> std::io::Result<()> {
    let mut all: BTreeMap<String, f64> = known(file).into_iter().collect();
    all.extend(found.iter().cloned());
    let lines: Vec<String> = all.iter().map(|(name, count)| format!("{name} {count:.0}")).collect();
    std::fs::write(
        file,
        format!(
            "# Instructions for one delivery, by profile and stage; `make bench-stages WRITE=--write`.\n{}\n",
            lines.join("\n")
        ),
    )
}

/// Checking stays in proportion: a rule costs as much among a thousand as among a hundred, and a thousand cost little.
fn checking(a_rule: f64) {
    let among_many = per_delivery("check", 800, 1_000).unwrap_or_else(|why| panic!("check: {why}"));
    println!(
        "1,000 rules: {:.0} million instructions; the last ones cost {:.2} times the first ones",
        a_rule / 1e3,
        among_many / a_rule
    );
    assert!(among_many <= a_rule * GROWTH, "a rule among many costs more to check than one among few");
    assert!(among_many * 1e3 <= CHECK || cfg!(debug_assertions), "1,000 rules cost too much to check");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [stage, times] = arguments.as_slice()
        && let Ok(times) = times.parse()
    {
        return do_stage(stage, times);
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/stages.txt");
    let known = known(&file);
    let mut found = Vec::new();
    let mut worse = false;
    println!("{:<8}  {:>12}  {:>9}", "stage", "instructions", "known");
    for (stage, few, many) in STAGES {
        let name = format!("{} {stage}", profile());
        let count = per_delivery(stage, few, many).unwrap_or_else(|why| panic!("{stage}: {why}"));
        let before = known.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
        let change = before.map_or_else(|| "-".to_owned(), |before| format!("{:+.1} %", (count / before - 1.0) * 100.0));
        println!("{stage:<8}  {count:>12.0}  {change:>9}");
        worse |= before.is_none_or(|before| count > before * (1.0 + TOLERATED));
        found.push((name, count));
    }
    let of =
        |stage: &str| found.iter().find(|(name, _)| name.ends_with(&format!(" {stage}"))).map_or(f64::NAN, |(_, count)| *count);
    println!("reasons add {:.1} times what the verdicts cost", of("reasons") / of("verdicts") - 1.0);
    checking(of("check"));
    if arguments.iter().any(|argument| argument == "--write") {
        keep(&file, &found).expect("benches/stages.txt can be written");
    } else {
        assert!(!worse, "a stage costs more than benches/stages.txt says; if that is the price of something, keep it: --write");
    }
}
