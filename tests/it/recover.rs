//! What GitHub did not deliver is taken in from its delivery log: once, in order, and only if some rule wants it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::github::TOKEN;
use declic::demo::stand_ins::github::hooks::LoggedAttempt;
use declic::demo::stand_ins::{FIRST_COMMIT, REPOSITORY, World};
use declic::journal::Journal;
use declic::journal::record::{DeliveryRecord, Listing};
use declic::journal::sqlite::{Options, Sqlite};
use declic::matching::Index;
use declic::recover::{Access, Halt, Hook, Intake, Log, Outcome, Plan, Swept};
use declic::reload;
use declic::report::metrics::Metrics;
use declic::rules::model::{Offer, RuleFile};
use declic::settings::SourceSettings;
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::support::binary::{Binary, WEBHOOK_SECRET, command};
use crate::support::openapi;
use crate::support::service::{SECRET, github, push, signature};

const RULES: &str = r#"
version: 1
rules:
  note:
    on:
      github.push: { branches: [main] }
    steps:
      - uses: github/comment
        with: { body: "Seen ${{ short(event.sha) }}" }
"#;

/// The number of the hook in these tests.
const HOOK: u64 = 42;

struct Sweeper {
    world: World,
    journal: Arc<Sqlite>,
    metrics: Arc<Metrics>,
    woken: Arc<Mutex<Vec<String>>>,
    settled: HashSet<String>,
    pull: bool,
    _folder: tempfile::TempDir,
}

fn access(world: &World) -> Access {
    let http = Http::new(HttpSettings { allow: vec![world.github.authority.clone()], user_agent: "declic-tests".to_owned() });
    Access { http: http.expect("a client"), api_url: world.github.url.clone(), token: Some(Secret::new(TOKEN)) }
}

fn repository_hook() -> Hook {
    Hook::Repository { name: REPOSITORY.to_owned(), id: HOOK }
}

/// So many seconds before these tests began.
fn ago(seconds: i64) -> Timestamp {
    static BEGAN: LazyLock<i64> = LazyLock::new(|| Timestamp::now().seconds());
    Timestamp((*BEGAN - seconds) * 1000)
}

fn attempt(guid: &str, payload: Value, status_code: u16, seconds_ago: i64) -> LoggedAttempt {
    LoggedAttempt {
        guid: guid.to_owned(),
        event: "push".to_owned(),
        signature: Some(signature(SECRET, payload.to_string().as_bytes())),
        payload,
        status_code,
        delivered_at: ago(seconds_ago),
        redelivery: false,
    }
}

fn pushed(branch: &str) -> Value {
    serde_json::from_slice(&push(branch)).expect("a push")
}

impl Sweeper {
    async fn new() -> Self {
        let world = World::start().await.expect("stand-ins");
        world.github.hold_to(openapi::github());
        world.github.add_hook(REPOSITORY, HOOK);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let journal = Sqlite::open(&folder.path().join("declic.db"), Options::default()).expect("a store");
        Self {
            world,
            journal: Arc::new(journal),
            metrics: Arc::new(Metrics::new()),
            woken: Arc::default(),
            settled: HashSet::new(),
            pull: false,
            _folder: folder,
        }
    }

    fn log(&self, attempt: LoggedAttempt) {
        self.world.github.log_attempt(REPOSITORY, HOOK, attempt);
    }

    fn intake(&self) -> Intake {
        let file = RuleFile { path: "rules/note.yaml".to_owned(), text: RULES.to_owned() };
        let set = reload::rebuild(&[file], &Offer::default()).expect("the rules are right");
        let woken = Arc::clone(&self.woken);
        Intake {
            source: github(),
            rules: Arc::new(ArcSwap::from_pointee(Index::new(Arc::new(set)))),
            repositories: None,
            journal: Arc::clone(&self.journal) as Arc<dyn Journal>,
            metrics: Arc::clone(&self.metrics),
            wake: Arc::new(move |id: &str| woken.lock().expect("nobody panics with it").push(id.to_owned())),
            pull: self.pull,
        }
    }

    async fn sweep_of(&mut self, hook: Hook, dry_run: bool) -> Swept {
        let log = Log::new(hook, access(&self.world));
        let intake = self.intake();
        intake.sweep(&log, ago(3600), dry_run, &mut self.settled).await
    }

    async fn sweep(&mut self) -> Swept {
        self.sweep_of(repository_hook(), false).await
    }

    /// Payloads that were asked for.
    fn fetched(&self) -> usize {
        self.world.github.ledger.requests().iter().filter(|request| request.path.contains("/deliveries/")).count()
    }

    async fn stored(&self) -> Vec<DeliveryRecord> {
        self.journal.deliveries(Listing { limit: 1000, ..Listing::default() }).await.expect("the store answers")
    }
}

/// Ids and what became of them.
fn words(swept: &Swept) -> Vec<(&str, &'static str)> {
    swept.findings.iter().map(|(logged, outcome)| (logged.guid.as_str(), outcome.word())).collect()
}

#[tokio::test]
async fn what_never_succeeded_is_taken_in_once_and_in_order() {
    let mut sweeper = Sweeper::new().await;
    // A guid succeeded if any attempt at it did, in whatever order.
    sweeper.log(attempt("arrived", pushed("main"), 202, 900));
    sweeper.log(attempt("arrived-later", pushed("main"), 502, 800));
    sweeper.log(attempt("arrived-later", pushed("main"), 202, 300));
    sweeper.log(attempt("lost-twice", pushed("main"), 502, 700));
    sweeper.log(attempt("lost-twice", pushed("main"), 0, 200));
    sweeper.log(attempt("lost", pushed("main"), 503, 600));
    sweeper.log(attempt("elsewhere", pushed("next"), 503, 500));
    sweeper.log(LoggedAttempt { event: "star".to_owned(), ..attempt("star", json!({ "action": "created" }), 503, 400) });
    sweeper.log(attempt("too-old", pushed("main"), 503, 7200));

    let dry = sweeper.sweep_of(repository_hook(), true).await;
    let expected = [("elsewhere", "unwanted"), ("lost", "recovered"), ("lost-twice", "recovered"), ("star", "unwanted")];
    let mut found = words(&dry);
    found.sort_unstable();
    assert_eq!(found, expected);
    assert!(sweeper.stored().await.is_empty(), "a dry run takes nothing in");

    sweeper.settled.clear();
    let swept = sweeper.sweep().await;
    assert_eq!(
        words(&swept),
        [("lost", "recovered"), ("elsewhere", "unwanted"), ("star", "unwanted"), ("lost-twice", "recovered")]
    );
    assert_eq!((swept.halt, swept.until), (None, Some(ago(200))));
    let stored = sweeper.stored().await;
    let ids: Vec<&str> = stored.iter().rev().map(|delivery| delivery.delivery_id.as_str()).collect();
    assert_eq!(ids, ["lost", "lost-twice"]);
    assert_eq!(sweeper.woken.lock().unwrap().len(), 2);

    // What no rule could want was never fetched, and nothing is fetched again.
    assert_eq!(sweeper.fetched(), 6, "three payloads in each sweep");
    let again = sweeper.sweep().await;
    assert_eq!(words(&again), []);
    assert_eq!(sweeper.fetched(), 6);
    let metrics = sweeper.metrics.render();
    assert!(metrics.contains(r#"declic_recovered_total{source="github",outcome="recovered"} 2"#), "{metrics}");
    assert!(metrics.contains(r#"declic_recovered_total{source="github",outcome="unwanted"} 2"#), "{metrics}");
}

#[tokio::test]
async fn the_record_says_how_a_fetched_delivery_was_proved() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("signed", pushed("main"), 503, 60));
    let reformatted = Some(signature(SECRET, b"the bytes that GitHub sent, which its log does not give"));
    sweeper.log(LoggedAttempt { signature: reformatted, ..attempt("vouched", pushed("main"), 503, 50) });
    sweeper.log(LoggedAttempt { signature: None, ..attempt("unsigned", pushed("main"), 503, 40) });
    sweeper.sweep().await;
    let verified: BTreeMap<String, String> =
        sweeper.stored().await.into_iter().map(|delivery| (delivery.delivery_id, delivery.verified)).collect();
    let log = format!("the delivery log of hook 42 of {REPOSITORY}");
    assert!(verified["signed"].starts_with("x-hub-signature-256") && verified["signed"].ends_with(&log), "{verified:?}");
    for guid in ["vouched", "unsigned"] {
        assert_eq!(verified[guid], format!("read from {log} with our own credential"));
    }
}

#[tokio::test]
async fn what_came_in_by_itself_is_not_taken_in_again() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("both-ways", pushed("main"), 502, 60));
    assert_eq!(words(&sweeper.sweep().await), [("both-ways", "recovered")]);
    // Another process, or the next one, knows nothing but the journal.
    sweeper.settled.clear();
    assert_eq!(words(&sweeper.sweep().await), []);
    assert_eq!(sweeper.stored().await.len(), 1);
}

#[tokio::test]
async fn pulling_takes_in_also_what_github_delivered_to_somebody() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("answered", pushed("main"), 200, 60));
    assert_eq!(words(&sweeper.sweep().await), []);
    sweeper.pull = true;
    assert_eq!(words(&sweeper.sweep().await), [("answered", "recovered")]);
}

#[tokio::test]
async fn all_pages_are_read_until_the_beginning_of_the_time() {
    let mut sweeper = Sweeper::new().await;
    for number in 0..250_i64 {
        sweeper.log(attempt(&format!("old-{number}"), pushed("next"), 202, 10_000 + number));
        sweeper.log(attempt(&format!("new-{number}"), pushed("main"), if number % 50 == 0 { 503 } else { 202 }, 1000 + number));
    }
    let swept = sweeper.sweep().await;
    assert_eq!(swept.findings.len(), 5, "{:?}", words(&swept));
    let pages = sweeper.world.github.ledger.requests().iter().filter(|request| request.path.ends_with("/deliveries")).count();
    assert_eq!(pages, 3, "250 within the time are three pages; the rest is not looked at");
}

#[tokio::test]
async fn a_limit_halts_the_sweep_and_the_next_one_goes_on() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("first", pushed("main"), 503, 300));
    sweeper.log(attempt("second", pushed("main"), 503, 200));
    sweeper.world.github.secondary_limit_next(1, 7);
    let swept = sweeper.sweep().await;
    let Some(Halt::Later { after, .. }) = swept.halt else { panic!("{swept:?}") };
    assert_eq!((after, swept.until), (Duration::from_secs(7), None));

    // The list is read, the first payload is not.
    let fault = Fault::Fail { status: 502, retry_after: Some(3) };
    sweeper.world.github.faults.next_matching(1, "GET", "/deliveries/", fault);
    let swept = sweeper.sweep().await;
    assert!(matches!(swept.halt, Some(Halt::Later { .. })), "{swept:?}");
    assert_eq!(swept.until, Some(Timestamp(ago(300).0 - 1)), "nothing before the one that failed is lost");
    let swept = sweeper.sweep().await;
    assert_eq!(words(&swept), [("first", "recovered"), ("second", "recovered")]);
}

#[tokio::test]
async fn the_last_part_of_the_hourly_limit_is_left_to_the_actions() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("lost", pushed("main"), 503, 60));
    sweeper.world.github.use_up(4600);
    let swept = sweeper.sweep().await;
    let Some(Halt::Later { after, why }) = swept.halt else { panic!("{swept:?}") };
    assert!(after > Duration::from_secs(3500) && why.contains("left to the actions"), "{after:?} {why}");
    assert!(sweeper.stored().await.is_empty());
}

#[tokio::test]
async fn gaps_in_the_log_are_named_and_hold_up_nothing() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("cleared", Value::Null, 503, 300));
    sweeper.log(attempt("no-push", json!({ "ref": 7 }), 503, 200));
    sweeper.log(attempt("fine", pushed("main"), 503, 100));
    let swept = sweeper.sweep().await;
    assert_eq!(words(&swept), [("cleared", "refused"), ("no-push", "refused"), ("fine", "recovered")]);
    assert_eq!(swept.findings[0].1, Outcome::Refused("the log no longer has what was sent".to_owned()));
}

#[tokio::test]
async fn hooks_of_organisations_and_of_apps_have_logs_too() {
    let mut sweeper = Sweeper::new().await;
    sweeper.world.github.log_attempt("acme", 7, attempt("organisation", pushed("main"), 503, 60));
    let organisation = Hook::Organization { name: "acme".to_owned(), id: 7 };
    assert_eq!(words(&sweeper.sweep_of(organisation, false).await), [("organisation", "recovered")]);

    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let pem = |name: &str, der: &[u8]| format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", STANDARD.encode(der));
    sweeper.world.github.add_app(123_456, &pem("PUBLIC KEY", public.as_ref()));
    sweeper.world.github.log_attempt("app", 123_456, attempt("of-the-app", pushed("main"), 503, 60));
    let app = |key: String| Hook::App { id: 123_456, key: Secret::new(key) };
    let swept = sweeper.sweep_of(app(pem("PRIVATE KEY", private.as_ref())), false).await;
    assert_eq!(words(&swept), [("of-the-app", "recovered")], "{swept:?}");

    // Another key is not the App's, and what is no key is said so, without showing it.
    let other = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let other: Pkcs8V1Der<'_> = other.as_der().unwrap();
    let swept = sweeper.sweep_of(app(pem("PRIVATE KEY", other.as_ref())), false).await;
    assert!(matches!(swept.halt, Some(Halt::Refused(_))), "{swept:?}");
    let swept = sweeper.sweep_of(app("no key".to_owned()), false).await;
    let Some(Halt::Refused(why)) = swept.halt else { panic!("it cannot sign") };
    assert!(why.contains("not an RSA key") && !why.contains("no key\""), "{why}");
}

#[test]
fn plans_follow_the_settings() {
    let plan = |kind: &str, fields: Value| {
        let fields = fields.as_object().unwrap().clone();
        let source =
            SourceSettings { name: "github".to_owned(), kind: kind.to_owned(), path: "/hooks/github".to_owned(), fields };
        let secrets = BTreeMap::from([("app-key".to_owned(), vec![Secret::new("a key")])]);
        Plan::of(&source, &secrets).map(|plan| {
            plan.map(|plan| (plan.hooks.iter().map(ToString::to_string).collect::<Vec<_>>(), plan.pull, plan.every.as_secs()))
        })
    };
    let hooks = json!([{ "repository": "acme/web", "id": 42 }, { "organization": "acme", "id": 7 }]);
    let named = || vec!["hook 42 of acme/web".to_owned(), "hook 7 of acme".to_owned()];
    assert_eq!(plan("github", json!({})), Ok(None));
    assert_eq!(plan("slack", json!({ "hooks": hooks })), Ok(None));
    assert_eq!(plan("github", json!({ "hooks": hooks })), Ok(Some((named(), false, 300))));
    assert_eq!(plan("github", json!({ "hooks": hooks, "pull": true })), Ok(Some((named(), true, 30))));
    assert_eq!(plan("github", json!({ "hooks": hooks, "sweep": "1s" })), Ok(Some((named(), false, 5))));
    let app = json!({ "app-id": 9, "key": "app-key" });
    assert_eq!(plan("github-app", app), Ok(Some((vec!["the hook of App 9".to_owned()], false, 300))));
    for wrong in [
        json!({ "id": 1 }),
        json!({ "repository": "acme/web", "organization": "acme", "id": 1 }),
        json!({ "repository": "acme", "id": 1 }),
        json!({ "repository": "acme/../../user", "id": 1 }),
        json!({ "repository": "acme/..", "id": 1 }),
        json!({ "organization": "a/b", "id": 1 }),
        json!({ "organization": "acme", "id": 0 }),
    ] {
        assert!(plan("github", json!({ "hooks": [wrong] })).is_err(), "{wrong}");
    }
}

/// A folder with settings that know the hook, and a rule that comments on what is pushed.
fn settled(world: &World, folder: &Path, more: &str) {
    let text = format!(
        "version: 1\nsecrets:\n  hook: {{ from: env, name: DECLIC_GITHUB_SECRET }}\n  token: {{ from: env, name: DECLIC_GITHUB_TOKEN }}\n\
         sources:\n  github: {{ type: github, secret: hook, hooks: [{{ repository: {REPOSITORY}, id: {HOOK} }}]{more} }}\n\
         github: {{ token: token, api-url: \"{}\" }}\n",
        world.github.url
    );
    std::fs::write(folder.join("declic.yaml"), text).expect("settings");
    std::fs::create_dir_all(folder.join("rules")).expect("a folder");
    std::fs::write(folder.join("rules/note.yaml"), RULES).expect("a rule");
    world.github.accept_token("a token of this test");
}

/// A push of the commit that the stand-in knows, signed with the secret of the environment.
fn lost(guid: &str, seconds_ago: i64) -> LoggedAttempt {
    let mut payload = pushed("main");
    payload["after"] = FIRST_COMMIT.into();
    payload["repository"]["full_name"] = REPOSITORY.into();
    LoggedAttempt {
        signature: Some(signature(WEBHOOK_SECRET, payload.to_string().as_bytes())),
        ..attempt(guid, payload, 503, seconds_ago)
    }
}

fn comments(world: &World) -> usize {
    world.github.commit_comments(REPOSITORY, FIRST_COMMIT).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_pulls_needs_no_public_address() {
    let world = World::start().await.expect("stand-ins");
    world.github.add_hook(REPOSITORY, HOOK);
    let folder = tempfile::tempdir().expect("a temporary folder");
    settled(&world, folder.path(), ", pull: true, sweep: 5s");
    world.github.log_attempt(REPOSITORY, HOOK, LoggedAttempt { status_code: 200, ..lost("pulled", 30) });
    let until = |count: usize| {
        let end = Instant::now() + Duration::from_secs(30);
        while comments(&world) < count {
            assert!(Instant::now() < end, "no comment within 30 s");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let service = Binary::start(folder.path(), |_| {});
    until(1);
    drop(service);
    // What is pushed while nobody runs is there afterwards; what was done is not done again.
    world.github.log_attempt(REPOSITORY, HOOK, LoggedAttempt { status_code: 0, ..lost("pulled-later", 1) });
    let service = Binary::start(folder.path(), |_| {});
    until(2);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(comments(&world), 2, "{}", service.log());
    assert!(service.log().contains("taken in from GitHub's delivery log"), "{}", service.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_takes_in_what_was_missed_while_the_service_runs() {
    let world = World::start().await.expect("stand-ins");
    world.github.add_hook(REPOSITORY, HOOK);
    let folder = tempfile::tempdir().expect("a temporary folder");
    settled(&world, folder.path(), ", sweep: 1h");
    let service = Binary::start(folder.path(), |_| {});
    world.github.log_attempt(REPOSITORY, HOOK, lost("missed", 5000));
    let recover = |arguments: &[&str]| {
        let output = command(folder.path(), &[&["recover"], arguments].concat()).output().expect("the command starts");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
    };
    let (status, said) = recover(&["--since", "1h"]);
    assert!(status == Some(0) && said.contains("0 of 0"), "{said}");
    let (status, said) = recover(&["--dry-run"]);
    assert!(
        status == Some(0) && said.contains("missed") && said.contains("1 of 1 that did not arrive would be taken in"),
        "{said}"
    );
    assert_eq!(comments(&world), 0);
    let (status, said) = recover(&["github", "--format", "json"]);
    let found: Value = serde_json::from_str(&said).expect("one document");
    assert_eq!((status, &found[0]["delivery_id"], &found[0]["outcome"]), (Some(0), &json!("missed"), &json!("recovered")));
    let end = Instant::now() + Duration::from_secs(20);
    while comments(&world) == 0 {
        assert!(Instant::now() < end, "the service did not take it up:\n{}", service.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (status, said) = recover(&["nobody"]);
    assert!(status == Some(2) && said.contains("there is no source `nobody`"), "{said}");
    world.github.revoke_tokens();
    let (status, said) = recover(&[]);
    assert!(status == Some(1) && said.contains("Bad credentials"), "{said}");
}
