//! What GitHub did not deliver is taken in from its delivery log: once, in order, and only if some rule wants it.

mod service;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

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
use declic::demo::stand_ins::{REPOSITORY, World};
use declic::journal::Journal;
use declic::journal::record::{Change, Claim, Decision, DeliveryRecord, DeliveryState, Listing, NewRun, RunState, Verdict};
use declic::journal::sqlite::{Options, Sqlite};
use declic::matching::Index;
use declic::recover::{Access, Halt, Hook, Intake, Log, Outcome, Plan, Progress, Swept};
use declic::reload;
use declic::report::metrics::Metrics;
use declic::rules::model::{Offer, RuleFile};
use declic::settings::SourceSettings;
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

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
    progress: Progress,
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
            progress: Progress::default(),
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
        intake.sweep(&log, ago(3600), dry_run, &mut self.progress).await
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

    sweeper.progress = Progress::default();
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
    sweeper.progress = Progress::default();
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
async fn a_log_of_any_length_is_gone_through_and_goes_on_where_a_limit_halted_it() {
    let mut sweeper = Sweeper::new().await;
    // More than is read before it is dealt with: fifty pages of a hundred.
    for number in 0..5_150_i64 {
        sweeper.log(attempt(&format!("g-{number}"), json!({}), 202, 3500 - number / 2));
    }
    // That this one arrived says the part that is looked at first: of its first attempt nobody misses anything.
    sweeper.log(attempt("g-late", pushed("main"), 502, 3550));
    sweeper.log(attempt("g-late", pushed("main"), 202, 5));
    sweeper.log(attempt("g-oldest", pushed("main"), 502, 3540));
    let listed = |sweeper: &Sweeper| {
        sweeper.world.github.ledger.requests().iter().filter(|request| request.path.ends_with("/deliveries")).count()
    };
    sweeper.world.github.faults.after(50, Fault::Fail { status: 429, retry_after: Some(1) });
    let swept = sweeper.sweep().await;
    assert!(matches!(swept.halt, Some(Halt::Later { .. })), "{swept:?}");
    assert_eq!((listed(&sweeper), swept.until), (51, None), "what is older was not looked at");
    let swept = sweeper.sweep().await;
    assert_eq!((words(&swept), &swept.halt), (vec![("g-oldest", "recovered")], &None));
    assert_eq!(listed(&sweeper), 53, "what was gone through is not read again");
    assert_eq!(swept.until, Some(ago(5)), "up to the newest that was there when it began");
}

#[tokio::test]
async fn one_that_may_not_be_read_now_holds_up_no_other_and_is_looked_at_again() {
    let mut sweeper = Sweeper::new().await;
    sweeper.log(attempt("first", pushed("main"), 503, 300));
    sweeper.log(attempt("second", pushed("main"), 503, 200));
    sweeper.world.github.faults.next_matching(1, "GET", "/deliveries/", Fault::Fail { status: 403, retry_after: None });
    let swept = sweeper.sweep().await;
    assert_eq!(words(&swept), [("second", "recovered")]);
    assert!(matches!(&swept.halt, Some(Halt::Refused(why)) if why.contains("delivery first")), "{swept:?}");
    assert_eq!(swept.until, Some(Timestamp(ago(300).0 - 1)), "the next sweep begins before it");
    let swept = sweeper.sweep().await;
    assert_eq!((words(&swept), &swept.halt), (vec![("first", "recovered")], &None));

    // Where nothing may be read, not everything is asked for.
    for number in 0..20 {
        sweeper.log(attempt(&format!("late-{number}"), pushed("main"), 503, 100 - number));
    }
    let fetched = sweeper.fetched();
    sweeper.world.github.faults.next_matching(20, "GET", "/deliveries/", Fault::Fail { status: 403, retry_after: None });
    let swept = sweeper.sweep().await;
    assert!(matches!(swept.halt, Some(Halt::Refused(_))) && swept.findings.is_empty(), "{swept:?}");
    assert!(sweeper.fetched() - fetched <= 4);
}

#[tokio::test]
async fn what_could_not_be_matched_is_taken_in_again_and_what_began_is_left_to_people() {
    let mut sweeper = Sweeper::new().await;
    for guid in ["unmatched", "failed"] {
        sweeper.log(attempt(guid, pushed("main"), 503, 60));
    }
    assert_eq!(sweeper.sweep().await.findings.len(), 2);
    sweeper.progress = Progress::default();
    let claim =
        || Claim { worker: "w".to_owned(), lease: Duration::from_secs(30), deliveries: 10.into(), runs: 10.into(), only: None };
    let decision =
        |verdict| Decision { traces: json!([]), verdict, line: None, may_ask: false, about: Default::default(), learned: None };
    for claimed in sweeper.journal.claim(claim()).await.expect("the store works").deliveries {
        let verdict = match claimed.delivery.content.delivery_id.as_str() {
            "unmatched" => Verdict::Failed("GitHub did not say who may start what".to_owned()),
            _ => Verdict::Runs(vec![NewRun { failure: None, ..NewRun::given_up("") }]),
        };
        sweeper.journal.decide(claimed.lease, decision(verdict)).await.expect("decided");
    }
    let run = sweeper.journal.claim(claim()).await.expect("the store works").runs.remove(0);
    let finished = Change::Finished { state: RunState::Failed, failure: None };
    sweeper.journal.write(run.lease, vec![finished]).await.expect("it is held");
    assert_eq!(words(&sweeper.sweep().await), [("unmatched", "recovered")]);
    let states: Vec<_> = sweeper.stored().await.into_iter().map(|one| (one.delivery_id, one.state)).collect();
    assert!(states.contains(&("unmatched".to_owned(), DeliveryState::Accepted)), "{states:?}");
    assert!(states.contains(&("failed".to_owned(), DeliveryState::Failed)), "{states:?}");
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
