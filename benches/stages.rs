//! What each stage of a delivery costs in instructions, which valgrind counts alike on every run: `make bench-stages` prints them, and
//! `cargo test` fails if a stage costs a tenth more than `benches/stages.txt` says.
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
use declic::matching::Index;
use declic::rules::load::load;
use declic::rules::model::RuleFile;
use declic::settings::SourceSettings;
use declic::sources::{self, Around, Source, Taken};
use declic_actions::secret::Secret;
use serde_json::json;

/// The command's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// And how often each is done for the lower and the higher count.
const STAGES: [(&str, u64, u64); 4] = [("verify", 8, 40), ("decode", 8, 40), ("decide", 8, 40), ("append", 64, 256)];
/// More than this part of the known count is a regression.
const TOLERATED: f64 = 0.10;
const SECRET: &str = "a secret of this bench";
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

/// Ten rules for this repository, of which each looks at branch, paths and a condition.
fn index() -> Index {
    let mut text = String::from("version: 1\nrules:\n");
    for number in 0..10 {
        text.push_str(&format!(
            "  rule-{number}:\n    on: {{ github.push: {{ branches: [main, \"release/**\"], paths: [\"services/**\", \"!**/*.md\"] }} }}\n    \
             if: '!event.message.contains(\"[skip deploy]\")'\n    steps:\n      - uses: log\n        with: {{ message: \"${{{{ event.sha }}}}\" }}\n"
        ));
    }
    let files = [RuleFile { path: "bench.yaml".to_owned(), text }];
    Index::new(Arc::new(load(&files, None).unwrap_or_else(|faults| panic!("{:?}", faults.first())).set))
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
        "decide" => {
            let (index, delivery) = (index(), delivery(source.as_ref()));
            let event: Event = source.decode(&delivery, false).ok().flatten().expect("a push");
            for _ in 0..times {
                let decisions = index.decide(black_box(&event));
                black_box(serde_json::to_string(&decisions.to_store()).expect("traces are plain data"));
            }
        }
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
    if arguments.iter().any(|argument| argument == "--write") {
        keep(&file, &found).expect("benches/stages.txt can be written");
    } else {
        assert!(!worse, "a stage costs more than benches/stages.txt says; if that is the price of something, keep it: --write");
    }
}
