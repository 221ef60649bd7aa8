//! The whole service in this process, from settings and rule files as an operator writes them, over real sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use declic::app;
use declic::clock::Timestamp;
use declic::journal::Journal;
use declic::journal::record::{DeliveryState, Listing};
use declic::settings::{self, Environment, Mode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::client::{Client, Reply};

/// A service that serves until it is dropped.
pub struct Whole {
    pub journal: Arc<dyn Journal>,
    address: String,
    _folder: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl Whole {
    /// `files` are put beside the settings; `variables` are its environment.
    pub async fn start<const N: usize>(settings: &str, files: &[(&str, &str)], variables: [(&str, &str); N]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let written = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(&path, text).expect("a written file");
            path
        };
        let file = written("declic.yaml", settings);
        for (name, text) in files {
            written(name, text);
        }
        let loaded = settings::load(&file, Mode::Resolved, &Environment::given(variables));
        let loaded = loaded.unwrap_or_else(|unusable| panic!("{}", unusable.render(false)));
        let service = app::assemble(loaded.settings).await.unwrap_or_else(|why| panic!("{why}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let journal = service.journal();
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(service.serve(listener, async {
            let _: Result<(), _> = stopped.await;
        }));
        Self { journal, address, _folder: folder, _stop: stop }
    }

    pub async fn post(&self, path: &str, headers: &[(&str, String)], body: impl Into<Vec<u8>>) -> Reply {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Client::anonymous().send("POST", &format!("{}{path}", self.address), &headers, body.into()).await
    }

    /// Until the delivery that was answered with this reply is final.
    pub async fn settled(&self, reply: &Reply) -> DeliveryState {
        let id = reply.header("x-declic-delivery").to_owned();
        assert!(!id.is_empty(), "it was not taken in: {reply:?}");
        settled(self.journal.as_ref(), &id).await
    }

    /// Names of the rules that the delivery started, once it is final.
    pub async fn started(&self, reply: &Reply) -> Vec<String> {
        self.settled(reply).await;
        let runs = self.journal.runs_of(reply.header("x-declic-delivery")).await.unwrap();
        runs.into_iter().map(|run| run.rule).collect()
    }

    /// Deliveries in the journal.
    pub async fn stored(&self) -> usize {
        self.journal.deliveries(Listing { limit: 1000, ..Listing::default() }).await.unwrap().len()
    }
}

/// Seconds since 1970, as senders write them.
pub fn now() -> i64 {
    Timestamp::now().seconds()
}

/// `Content-Type: application/json`.
pub fn json_type() -> (&'static str, String) {
    ("content-type", "application/json".to_owned())
}

/// A document as a body.
pub fn body(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// Until this delivery is final.
pub async fn settled(journal: &dyn Journal, id: &str) -> DeliveryState {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (record, _) = journal.delivery_record(id).await.unwrap().expect("the delivery is in the journal");
        if record.state.is_final() {
            return record.state;
        }
        assert!(Instant::now() < deadline, "{id} is still {}", record.state.word());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
