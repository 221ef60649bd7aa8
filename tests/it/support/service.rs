//! A Declic under test: its front door in this process, over real sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use declic::journal::Journal;
use declic::journal::crash::Faults;
use declic::journal::record::{DeliveryRecord, Listing};
use declic::journal::sqlite::{Options, Sqlite};
use declic::receive::{self, Front, Limits, Outward, Parts, Readiness};
use declic::report::metrics::Metrics;
use declic::settings::SourceSettings;
use declic::sources::{self, Around, Source};
use declic_actions::secret::Secret;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The front door, listening; stops when it is dropped.
pub struct Service {
    pub address: SocketAddr,
    pub journal: Arc<Sqlite>,
    /// Makes commits fail.
    pub faults: Faults,
    _folder: tempfile::TempDir,
    pub woken: Arc<Mutex<Vec<String>>>,
    pub stop: Option<oneshot::Sender<()>>,
    pub served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

/// The secret of the source `github` in tests.
pub const SECRET: &str = "It's a Secret to Everybody";

/// A source of type `github` at `/hooks/github` with [`SECRET`].
pub fn github() -> Arc<dyn Source> {
    source("github", "github", json!({ "secret": "hook" }), &[SECRET])
}

/// A source with one secret called `hook`, newest value first.
pub fn source(name: &str, kind: &str, fields: Value, values: &[&str]) -> Arc<dyn Source> {
    source_in(name, kind, fields, values, &Around::default())
}

/// The same in surroundings of its own.
pub fn source_in(name: &str, kind: &str, fields: Value, values: &[&str], around: &Around) -> Arc<dyn Source> {
    let fields: Map<String, Value> = fields.as_object().unwrap().clone();
    let settings = SourceSettings { name: name.to_owned(), kind: kind.to_owned(), path: format!("/hooks/{name}"), fields };
    let values: Vec<Secret> = values.iter().map(|value| Secret::new(*value)).collect();
    sources::build(&settings, &BTreeMap::from([("hook".to_owned(), values)]), around).unwrap()
}

/// Bounds short enough to wait for.
pub fn short_limits() -> Limits {
    Limits {
        head: Duration::from_millis(300),
        body: Duration::from_millis(300),
        idle: Duration::from_secs(1),
        drain: Duration::from_secs(1),
        ..Limits::default()
    }
}

impl Service {
    pub async fn start(sources: Vec<Arc<dyn Source>>, limits: Limits) -> Self {
        Self::with_queue(sources, limits, 1024).await
    }

    /// With a way to fetch what sources need.
    pub async fn with_outward(sources: Vec<Arc<dyn Source>>, limits: Limits, outward: Option<Arc<Outward>>) -> Self {
        Self::with(sources, limits, 1024, outward, None).await
    }

    /// With something that answers every other path, with 418.
    pub async fn with_pages(sources: Vec<Arc<dyn Source>>) -> Self {
        let pages = poem::endpoint::make_sync(|_| poem::Response::builder().status(poem::http::StatusCode::IM_A_TEAPOT).finish());
        Self::with(sources, Limits::default(), 1024, None, Some(poem::EndpointExt::boxed(pages))).await
    }

    /// With a store in front of which only so many deliveries may wait.
    pub async fn with_queue(sources: Vec<Arc<dyn Source>>, limits: Limits, queue: usize) -> Self {
        Self::with(sources, limits, queue, None, None).await
    }

    async fn with(
        sources: Vec<Arc<dyn Source>>,
        limits: Limits,
        queue: usize,
        outward: Option<Arc<Outward>>,
        rest: Option<poem::endpoint::BoxEndpoint<'static, poem::Response>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::switchable();
        let options = Options { faults: faults.clone(), queue, ..Options::default() };
        let journal = Arc::new(Sqlite::open(&folder.path().join("declic.db"), options).unwrap());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&woken);
        let front = Front::new(Parts {
            sources,
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            metrics: Arc::new(Metrics::new()),
            readiness: Arc::new(|| Readiness { ready: true, detail: json!({ "rules": "r1" }) }),
            wake: Arc::new(move |id: &str| noted.lock().unwrap().push(id.to_owned())),
            handed: None,
            called: None,
            fresh: None,
            replies: None,
            evidence: None,
            rest,
            outward,
            limits,
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let front = Arc::new(front.unwrap());
        let served = tokio::spawn(receive::serve(listener, front, async move {
            let _ = stopped.await;
        }));
        Self { address, journal, faults, _folder: folder, woken, stop: Some(stop), served: Some(served) }
    }

    pub async fn stored(&self) -> Vec<DeliveryRecord> {
        let listing = Listing { limit: 10_000, ..Listing::default() };
        self.journal.deliveries(listing).await.unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are and reads one answer.
    pub async fn raw(&self, request: &[u8]) -> Answer {
        let mut socket = self.connect().await;
        socket.write_all(request).await.unwrap();
        read_answer(&mut socket).await.expect("an answer")
    }

    /// One request with a body of known length.
    pub async fn send(&self, method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
        self.raw(&request(method, path, headers, body)).await
    }

    /// A signed delivery of GitHub.
    pub async fn deliver(&self, event: &str, id: &str, body: &[u8]) -> Answer {
        self.send("POST", "/hooks/github", &github_headers(event, id, body), body).await
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A request as bytes.
pub fn request(method: &str, path: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `X-Hub-Signature-256`, computed apart from the code under test.
pub fn signature(secret: &str, body: &[u8]) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The headers of a delivery signed with [`SECRET`].
pub fn github_headers(event: &str, id: &str, body: &[u8]) -> Vec<(String, String)> {
    [
        ("Content-Type", "application/json".to_owned()),
        ("X-GitHub-Event", event.to_owned()),
        ("X-GitHub-Delivery", id.to_owned()),
        ("X-Hub-Signature-256", signature(SECRET, body)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// One answer from a connection that stays open; `None` if it was closed without one.
pub async fn read_answer<R: AsyncRead + Unpin>(from: &mut R) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    from.read_exact(&mut body).await.ok()?;
    Some(Answer { status, headers, body })
}

/// Writes while it reads: an answer may come before everything is sent, and then the rest cannot be.
pub async fn exchange(socket: TcpStream, bytes: Vec<u8>) -> Option<Answer> {
    let (mut reading, mut writing) = socket.into_split();
    let sender = tokio::spawn(async move {
        let _ = writing.write_all(&bytes).await;
        writing
    });
    let answer = read_answer(&mut reading).await;
    drop(reading);
    sender.abort();
    answer
}

/// A small push that GitHub could have sent.
pub fn push(branch: &str) -> Vec<u8> {
    json!({
        "ref": format!("refs/heads/{branch}"), "before": "a".repeat(40), "after": "b".repeat(40),
        "created": false, "deleted": false, "forced": false,
        "head_commit": { "id": "b".repeat(40), "message": "Fix login", "author": { "name": "Mona", "username": "mona" },
            "added": [], "removed": [], "modified": ["src/main.rs"] },
        "commits": [{ "id": "b".repeat(40), "message": "Fix login", "author": { "name": "Mona", "username": "mona" },
            "added": [], "removed": [], "modified": ["src/main.rs"] }],
        "repository": { "id": 1, "name": "web", "full_name": "acme/web", "private": false, "default_branch": "main",
            "html_url": "https://github.com/acme/web" },
        "sender": { "login": "mona", "id": 2, "type": "User" }
    })
    .to_string()
    .into_bytes()
}
