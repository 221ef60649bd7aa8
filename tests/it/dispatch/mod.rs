//! A queue that calls, and a host that lets the process run only while it answers: everything is done once, and nothing is lost.

mod queue;

use std::time::{Duration, Instant};

use declic::demo::stand_ins::server::{self, Running};
use declic::journal::record::DeliveryState;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::crash::scene::{Process, Scene};
use crate::support::binary::{answers, command};
use crate::support::client::{Client, Reply};
use crate::support::discovery;
use queue::{Habits, Queue};

/// How long everything may take.
const PATIENCE: Duration = Duration::from_secs(90);
const QUEUE: &str = "projects/acme-ops/locations/europe-west1/queues/declic";
const TOPIC: &str = "projects/acme-ops/topics/declic";

/// The service, its queue, and the host between them.
struct Host {
    scene: Scene,
    queue: Running<Queue>,
    process: Process,
    client: Client,
}

impl Host {
    /// `dispatch` names the queue or the topic.
    async fn new(dispatch: &str, habits: Habits) -> Self {
        let scene = Scene::on("sqlite: declic.db").await;
        let queue = server::start(|_, _| Queue::new(habits)).await.expect("a queue");
        let file = scene.folder.path().join("declic.yaml");
        let text = std::fs::read_to_string(&file).expect("settings");
        let urls = format!("google:\n  cloud-tasks-url: {url}\n  pubsub-url: {url}\n", url = queue.url);
        let text = text.replacen("google:\n", &urls, 1)
            + &format!(
                "public-url: http://{}\ndispatch: {{ {dispatch}, account: {}, keys-url: \"{}/oauth2/v3/certs\" }}\n",
                scene.address,
                account(&scene).await,
                scene.world.identity.url
            );
        std::fs::write(&file, text).expect("written");
        let process = start(&scene).await;
        let host = Self { scene, queue, process, client: Client::anonymous() };
        host.signal(Signal::SIGSTOP);
        host
    }

    fn signal(&self, signal: Signal) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).expect("a process id"));
        nix::sys::signal::kill(id, signal).expect("our own child can be signalled");
    }

    /// What the provider sends.
    async fn deliver(&mut self) {
        self.signal(Signal::SIGCONT);
        let until = Instant::now() + PATIENCE;
        while !self.scene.all_acknowledged() {
            assert!(Instant::now() < until, "{}", self.scene.log());
            self.scene.send().await;
        }
        self.signal(Signal::SIGSTOP);
    }

    async fn token(&self, audience: &str) -> String {
        let url = format!(
            "{}/computeMetadata/v1/instance/service-accounts/default/identity?audience={audience}&format=full",
            self.scene.world.identity.url
        );
        let reply = self.client.send("GET", &url, &[("metadata-flavor", "Google")], Vec::new()).await;
        reply.body.as_str().expect("a token").to_owned()
    }

    fn url(&self) -> String {
        format!("http://{}/internal/dispatch", self.scene.address)
    }

    /// One call, as the queue makes it. The process runs until it is answered.
    async fn call(&self, body: &[u8], token: Option<&str>) -> Reply {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        self.signal(Signal::SIGCONT);
        let reply = self.client.send("POST", &self.url(), &headers, body.to_vec()).await;
        self.signal(Signal::SIGSTOP);
        reply
    }

    /// Calls until everything is over; `sweep`: a scheduler asks now and then whether something was forgotten.
    async fn work(&self, sweep: bool) {
        let token = self.token(&self.url()).await;
        let until = Instant::now() + PATIENCE;
        let mut swept = Instant::now();
        loop {
            let (settled, known) = self.scene.settled();
            if known == self.scene.deliveries.len() && settled == known {
                return;
            }
            let log = || format!("{settled} of {known} settled\n{}\n{}", self.queue.shown(), self.scene.log());
            assert!(Instant::now() < until, "{}", log());
            if let Some(task) = self.queue.take() {
                let reply = self.call(&task.body, Some(&token)).await;
                assert!(matches!(reply.status, 204 | 503), "{reply:?}\n{}", log());
                self.queue.answered(task, reply.status == 204);
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if sweep && swept.elapsed() > Duration::from_millis(500) {
                swept = Instant::now();
                self.call(br#"{"sweep":true}"#, Some(&token)).await;
            }
        }
    }
}

async fn start(scene: &Scene) -> Process {
    let process = scene.start(command(scene.folder.path(), &["serve", "--config", "declic.yaml"]), None);
    let until = Instant::now() + PATIENCE;
    while !answers(&scene.address) {
        assert!(Instant::now() < until, "{}", scene.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process
}

/// The account whose tokens the stand-in's metadata server gives out.
async fn account(scene: &Scene) -> String {
    let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/email", scene.world.identity.url);
    let reply = Client::anonymous().send("GET", &url, &[("metadata-flavor", "Google")], Vec::new()).await;
    reply.body.as_str().expect("an address").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_are_deployed_call_by_call_by_a_process_that_stands_still_between_requests() {
    let mut host = Host::new(&format!("cloud-tasks: {QUEUE}"), Habits { doubles: 0.2, ..Habits::default() }).await;
    host.queue.hold_to(discovery::data_services());
    for _ in 0..3 {
        host.scene.commit();
        host.deliver().await;
    }
    host.work(false).await;
    host.signal(Signal::SIGCONT);
    assert_eq!(host.queue.ledger.refusals(), [""; 0], "as Cloud Tasks takes it");
    assert!(host.queue.made() > 20, "one call for each step: {}", host.queue.made());
    host.scene.count(DeliveryState::Completed, ["in_progress", "success"]);
    host.scene.last_serves();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_lost_doubled_and_mixed_up_lose_and_double_nothing() {
    let habits = Habits { doubles: 0.3, loses: 0.3, mixes: true };
    let mut host = Host::new(&format!("pubsub: {TOPIC}"), habits).await;
    host.queue.hold_to(discovery::data_services());
    for _ in 0..3 {
        host.scene.commit();
        host.deliver().await;
        // One after the other: mixed up, an older commit may be matched after a newer one was deployed, and rightly does nothing.
        host.work(true).await;
    }
    host.signal(Signal::SIGCONT);
    assert_eq!(host.queue.ledger.refusals(), [""; 0], "as Pub/Sub takes it");
    host.scene.count(DeliveryState::Completed, ["in_progress", "success"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_in_the_middle_of_a_call_is_followed_by_the_next_call() {
    let mut host = Host::new(&format!("cloud-tasks: {QUEUE}"), Habits::default()).await;
    host.scene.commit();
    host.deliver().await;
    for round in 0..6_u64 {
        let token = host.token(&host.url()).await;
        let Some(task) = host.queue.take() else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let call = tokio::time::timeout(Duration::from_millis(10 + 25 * round), host.call(&task.body, Some(&token))).await;
        host.queue.answered(task, call.is_ok_and(|reply| reply.status == 204));
        let process = start_again(&mut host).await;
        process.kill();
    }
    host.work(true).await;
    host.signal(Signal::SIGCONT);
    host.scene.count(DeliveryState::Completed, ["in_progress", "success"]);
}

/// Kills the process as it stands, and starts another one. Answers the dead one's place.
async fn start_again(host: &mut Host) -> Process {
    host.signal(Signal::SIGKILL);
    let until = Instant::now() + PATIENCE;
    while !host.process.is_dead() {
        assert!(Instant::now() < until, "it dies");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = start(&host.scene).await;
    let dead = std::mem::replace(&mut host.process, next);
    host.signal(Signal::SIGSTOP);
    dead
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_prove_nothing_do_nothing() {
    let mut host = Host::new(&format!("cloud-tasks: {QUEUE}"), Habits::default()).await;
    host.scene.commit();
    host.deliver().await;
    let task = host.queue.take().expect("a call was asked for");
    let right = host.token(&host.url()).await;
    let other = host.token("https://elsewhere.example").await;
    let stranger = host.scene.world.identity.url.clone();
    for token in [None, Some(other.as_str()), Some("x.y.z"), Some(stranger.as_str())] {
        assert_eq!(host.call(&task.body, token).await.status, 401, "{token:?}");
    }
    host.signal(Signal::SIGCONT);
    assert_eq!(host.client.get(&host.url()).await.status, 405);
    host.signal(Signal::SIGSTOP);
    assert_eq!(host.scene.settled(), (0, 1), "nothing was done");
    let odd = json!({ "delete": "everything" }).to_string();
    assert_eq!(host.call(odd.as_bytes(), Some(&right)).await.status, 204, "it is not to come again");
    assert_eq!(host.call(&task.body, Some(&right)).await.status, 204);
    host.signal(Signal::SIGCONT);
    assert!(host.queue.take().is_some(), "and goes on from there");
}
