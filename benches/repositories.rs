//! What rules of many repositories cost: the first delivery of each, every later one, and memory. `make bench` prints a table.
//!
//! GitHub's stand-in runs in the same process, so the first column is what reading costs us without a network.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use declic::demo::stand_ins::World;
use declic::demo::stand_ins::github::TOKEN;
use declic::event::Event;
use declic::journal::sqlite::{Options, Sqlite};
use declic::repositories::set::{self, InForce};
use declic::repositories::{Repositories, Timing};
use declic::rules::model::{Offer, RuleFile};
use declic::settings::{self, Environment, Mode, Settings};
use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::json;

/// The command's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPOSITORIES: usize = 2_000;
const RULES: usize = 10;
/// Deliveries of which the median is taken.
const ROUNDS: usize = 2_001;
/// Number of the first repository.
const FIRST: usize = 500_000;

/// Resident memory of this process in bytes, as Linux tells it; nothing elsewhere.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

fn name(number: usize) -> String {
    format!("acme/service-{number}")
}

/// Ten rules, of which a push to main starts one.
fn file() -> RuleFile {
    let mut text = String::from("version: 1\nrules:\n");
    for number in 0..RULES {
        text.push_str(&format!(
            "  rule-{number}:\n    on: {{ github.push: {{ branches: [{}, \"release-{number}/**\"], paths: [\"services/**\", \"!**/*.md\"] }} }}\n    \
             if: '!event.message.contains(\"[skip deploy]\")'\n    steps:\n      - uses: github/comment\n        with: {{ number: 1, body: \
             \"deployed ${{{{ event.sha }}}}\" }}\n",
            if number == 0 { "main" } else { "next" }
        ));
    }
    RuleFile { path: ".declic/rules.yaml".to_owned(), text }
}

fn granted(count: usize) -> Settings {
    let mut text = "version: 1\nrepositories:\n".to_owned();
    for number in 0..count {
        let (name, id) = (name(number), FIRST + number);
        text.push_str(&format!(
            "  - {{ name: {name}, id: {id}, grant: {{ events: [github.push], actions: [github/comment] }} }}\n"
        ));
    }
    let (settings, faults) = settings::read("declic.yaml".as_ref(), &text, Mode::Names, &Environment::given([]));
    settings.unwrap_or_else(|| panic!("{:?}", faults.first()))
}

fn push(number: usize) -> Event {
    Event {
        kind: "github.push".to_owned(),
        source: "github".to_owned(),
        event: json!({
            // Not the default branch: what GitHub said stays true.
            "ref": "refs/heads/main", "branch": "main", "sha": "0".repeat(40), "deleted": false, "message": "Fix the login",
            "files": ["services/web/main.rs"], "files_complete": true,
        }),
        repo: json!({ "full_name": name(number), "id": FIRST + number, "default_branch": "trunk" }),
        actor: json!({ "login": "mona", "id": 1, "type": "user" }),
        delivery: json!({ "id": "d", "source": "github" }),
    }
}

/// Bytes in memory for each set, and for each byte of its text.
fn memory(settings: &Settings) {
    let file = file();
    let before = resident();
    let sets: Vec<InForce> = settings
        .repositories
        .iter()
        .map(|one| {
            let commit = format!("{:040x}", one.id);
            let rules = set::load(std::slice::from_ref(&file), one, &one.name, &commit, &Offer::default()).expect("right rules");
            InForce::new(rules, &commit, file.text.len(), None)
        })
        .collect();
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / sets.len();
        let text = file.text.len();
        println!(
            "a set of {RULES} rules ({text} bytes): {each} bytes in memory, {:.1} for each of its text",
            each as f64 / text as f64
        );
    }
    black_box(sets);
}

async fn decide(repositories: &Repositories, event: &Event) {
    let brought = repositories.of(event).await;
    let [set] = brought.sets.as_slice() else { panic!("{:?}", brought.notes) };
    let decisions = set.index().decide(event);
    assert_eq!(decisions.matched.len(), 1);
    black_box(decisions);
}

async fn warm(repositories: &Repositories, count: usize) -> Duration {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let event = push(round * 7 % count);
        let start = Instant::now();
        decide(repositories, &event).await;
        rounds.push(start.elapsed());
    }
    rounds.sort();
    rounds[ROUNDS / 2]
}

#[tokio::main]
async fn main() {
    let settings = granted(REPOSITORIES);
    memory(&settings);
    let folder = tempfile::tempdir().expect("a folder");
    let world = World::start().await.expect("the stand-ins start");
    let github = &world.github;
    let file = file();
    for number in 0..REPOSITORIES {
        let name = name(number);
        github.add_repository(&name);
        github.set_repository_id(&name, (FIRST + number) as u64);
        github.set_default_branch(&name, "trunk");
        github.commit_files(&name, "trunk", &format!("{number:040x}"), &[], &[(&file.path, Some(&file.text))]);
    }
    github.requests_left(1_000_000);
    let journal = Arc::new(Sqlite::open(&folder.path().join("declic.db"), Options::default()).expect("a store"));
    let allow = vec![github.authority.clone()];
    let http = Http::new(HttpSettings { allow, user_agent: "declic-bench".to_owned() }).expect("a client");
    let client =
        GitHub::new(http, GitHubSettings { api_url: github.url.clone(), token: Some(Secret::new(TOKEN)) }).expect("an address");
    let timing = Timing { fresh: Duration::from_secs(3600), ..Timing::default() };
    let made = || Repositories::new(&settings, client.clone(), journal.clone()).with_timing(timing);

    println!("{:>12}  {:>16}  {:>16}", "repositories", "first delivery", "later ones");
    let repositories = made();
    let mut read = 0;
    for count in [1, 100, REPOSITORIES] {
        let start = Instant::now();
        for number in read..count {
            decide(&repositories, &push(number)).await;
        }
        let first = start.elapsed() / u32::try_from(count - read).unwrap_or(1);
        read = count;
        println!("{count:>12}  {first:>16.1?}  {:>16.1?}", warm(&repositories, count).await);
    }
    println!("requests to GitHub for each: {:.1}", github.ledger.requests().len() as f64 / REPOSITORIES as f64);

    // With room for about a quarter of them, the rest is read again when it is needed.
    let repositories = made().with_room(16 << 20);
    for number in 0..REPOSITORIES {
        decide(&repositories, &push(number)).await;
    }
    println!("with room for 16 MiB, {} of {REPOSITORIES} sets are in memory", repositories.loaded());
}
