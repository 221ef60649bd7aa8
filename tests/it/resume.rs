//! A deploy that dies anywhere is finished by the next attempt: one revision, one shift, no matter where it stopped.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use declic::demo::stand_ins::faults::Fault;
use declic::demo::stand_ins::{FIRST_COMMIT, IMAGE, IMAGE_REPOSITORY, REPOSITORY, SERVICE_NAME, World};
use declic_actions::action::{Action, Call, Clients, Context, Failure, Intent, Origin, Outcome, Progress};
use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::kinds;
use serde_json::{Value, json};

#[derive(Default)]
struct Notes {
    stages: Mutex<Vec<String>>,
    saved: Mutex<Vec<Value>>,
    /// Dies at this save.
    die_at: Option<usize>,
}

#[async_trait]
impl Progress for Notes {
    fn stage(&self, name: &'static str, line: &str) {
        self.stages.lock().unwrap().push(format!("{name}: {line}"));
    }
    async fn save(&self, saved: Value) -> Result<(), Failure> {
        let mut all = self.saved.lock().unwrap();
        all.push(saved);
        if self.die_at == Some(all.len()) { Err(Failure::retry("died", "died")) } else { Ok(()) }
    }
}

fn clients(world: &World) -> Clients {
    let http = Http::new(HttpSettings { allow: world.authorities(), user_agent: "declic".into() }).unwrap();
    let google = GoogleSettings {
        run_url: world.cloud_run.url.clone(),
        iam_credentials_url: world.identity.url.clone(),
        metadata_host: world.identity.authority.clone(),
        registry_url: Some(world.registry.url.clone()),
        ..Default::default()
    };
    let google = Google::new(http.clone(), google, || declic::clock::Timestamp::now().seconds()).unwrap();
    let github = GitHub::new(http.clone(), GitHubSettings { api_url: world.github.url.clone(), token: None }).unwrap();
    Clients { http, google, github }
}

fn intent() -> Intent {
    let params = json!({ "image": format!("{IMAGE}:main"), "rollback": true, "health": { "path": "/readyz", "attempts": 2, "every": "50ms" } });
    let place = json!({ "project": "acme-staging", "region": "europe-west1", "service": "web" });
    let mut target = json!({ "type": "cloud-run", "images": [IMAGE] });
    target.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
    let call = Call {
        key: "d-1-deploy-1".into(),
        params: params.as_object().unwrap().clone(),
        target: Some(target),
        connection: None,
        origin: Origin { repository: Some(REPOSITORY.into()), sha: Some(FIRST_COMMIT.into()), ..Default::default() },
    };
    deploy().prepare(call).unwrap()
}

fn deploy() -> &'static dyn Action {
    kinds::find("cloud-run/deploy").unwrap()
}

async fn attempt(clients: &Clients, notes: &Notes, attempt: u32, saved: Option<Value>) -> Result<Outcome, Failure> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let secrets = BTreeMap::new();
    let context = Context { clients, deadline, attempt, is_last: false, saved, progress: notes, secrets: &secrets };
    deploy().run(&context, &intent()).await
}

async fn world() -> (World, Clients) {
    let world = World::start().await.unwrap();
    world.registry.push(IMAGE_REPOSITORY, "main", "one");
    let clients = clients(&world);
    (world, clients)
}

/// What must be true however it came to its end.
fn check(world: &World, outcome: &Outcome, case: &str) {
    let run = &world.cloud_run;
    assert_eq!(run.ledger.effects_of("revision.created").len(), 1, "{case}");
    // One change for the candidate's tag, one for the shift.
    assert_eq!(run.ledger.effects_of("traffic.changed").len(), 2, "{case}");
    let revision = outcome.outputs["revision"].as_str().unwrap().to_owned();
    assert_eq!(run.allocation(SERVICE_NAME), [(revision, 100)], "{case}");
    assert_eq!(outcome.outputs["previous_revision"], "web-00001-kuz", "{case}");
    assert_eq!(outcome.outputs["url"], run.service(SERVICE_NAME).unwrap()["uri"], "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_that_dies_while_saving_is_finished_by_the_next_attempt() {
    // image, intention, operation, shift
    for die_at in 1..=4 {
        for durable in [true, false] {
            let (world, clients) = world().await;
            let notes = Notes { die_at: Some(die_at), ..Default::default() };
            attempt(&clients, &notes, 1, None).await.unwrap_err();
            let mut saved = notes.saved.lock().unwrap().clone();
            if !durable {
                saved.pop();
            }
            let outcome = attempt(&clients, &Notes::default(), 2, saved.last().cloned()).await.unwrap();
            check(&world, &outcome, &format!("save {die_at}, durable {durable}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_whose_connection_is_cut_is_finished_by_the_next_attempt() {
    for (method, path, times) in [
        ("GET", "/services/web", 1),
        ("PATCH", "/services/web", 1),
        ("PATCH", "/services/web", 2),
        ("POST", ":wait", 1),
        ("POST", ":wait", 2),
        ("GET", "/revisions/", 1),
        ("GET", "/serve/", 1),
    ] {
        let (world, clients) = world().await;
        world.cloud_run.faults.next_matching(times, method, path, Fault::Cut);
        let mut saved = None;
        let mut outcome = None;
        for number in 1..=4 {
            let notes = Notes::default();
            let result = attempt(&clients, &notes, number, saved.clone()).await;
            saved = notes.saved.lock().unwrap().last().cloned().or(saved);
            match result {
                Ok(found) => outcome = Some(found),
                Err(Failure::Retry { .. }) => continue,
                Err(failure) => panic!("{method} {path}: {failure:?}"),
            }
            break;
        }
        check(&world, &outcome.expect("it ends"), &format!("{method} {path} {times}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_somebody_overrode_meanwhile_is_not_repeated() {
    let (world, clients) = world().await;
    world.cloud_run.faults.next_matching(2, "PATCH", "/services/web", Fault::Cut);
    let mut saved = None;
    for number in 1..=2 {
        let notes = Notes::default();
        attempt(&clients, &notes, number, saved.clone()).await.unwrap_err();
        saved = notes.saved.lock().unwrap().last().cloned().or(saved);
    }
    // The shift took effect, its answer was lost, and before the next attempt a person goes back to the old revision.
    let old = json!([{ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": "web-00001-kuz", "percent": 100 }]);
    world.cloud_run.edit(SERVICE_NAME, |service| {
        service.insert("traffic".into(), old.clone());
    });
    let failure = attempt(&clients, &Notes::default(), 3, saved).await.unwrap_err();
    assert_eq!(failure.why().code, "superseded", "{failure:?}");
    assert_eq!(world.cloud_run.service(SERVICE_NAME).unwrap()["traffic"], old);
}
