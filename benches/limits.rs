//! What nothing could be faster than, for `make bench`: servers that do one part of accepting a delivery and nothing else.
//!
//! `limits hyper|poem|file PORT`: bare hyper that reads and forgets; poem with the signature checked; the same with the body appended to a
//! plain file and synced, many at once, before the answer.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;

use aws_lc_rs::hmac;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use poem::http::StatusCode;
use poem::listener::TcpListener;
use poem::{Endpoint, EndpointExt, Request, Response, Server};
use tokio::sync::{mpsc, oneshot};

/// The command's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the sender signs with.
const SECRET: &[u8] = b"a secret of this bench";

type Appended = (Bytes, oneshot::Sender<bool>);

async fn hyper_alone(address: SocketAddr) {
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        let _ = socket.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<Incoming>| async {
                let _ = request.into_body().collect().await;
                let answer = hyper::Response::builder().status(202).body(Full::new(Bytes::from_static(b"{}")));
                Ok::<_, Infallible>(answer.expect("a plain answer"))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// Checks the signature; with a file, appends before it answers.
struct Signed {
    key: hmac::Key,
    file: Option<mpsc::Sender<Appended>>,
}

impl Endpoint for Signed {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let given = request.header("x-hub-signature-256").and_then(|value| hex::decode(value.strip_prefix("sha256=")?).ok());
        #[expect(clippy::disallowed_methods, reason = "what poem does by itself is what is measured; only the bench sends to it")]
        let body = request.take_body().into_bytes().await?;
        if given.is_none_or(|given| hmac::verify(&self.key, &body, &given).is_err()) {
            return Ok(StatusCode::UNAUTHORIZED.into());
        }
        if let Some(file) = &self.file {
            let (sender, synced) = oneshot::channel();
            if file.send((body, sender)).await.is_err() || !synced.await.unwrap_or(false) {
                return Ok(StatusCode::SERVICE_UNAVAILABLE.into());
            }
        }
        Ok(Response::builder().status(StatusCode::ACCEPTED).content_type("application/json").body("{}"))
    }
}

/// Appends what waits, syncs once, answers all of it.
fn append(path: &str) -> mpsc::Sender<Appended> {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a file in this folder");
    let (sender, mut waiting) = mpsc::channel::<Appended>(1024);
    std::thread::spawn(move || {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(next) = waiting.try_recv() {
                batch.push(next);
            }
            let bytes: Vec<u8> = batch.iter().flat_map(|(body, _)| body.iter().copied().chain(*b"\n")).collect();
            let written = file.write_all(&bytes).and_then(|()| file.sync_data()).is_ok();
            for (_, answer) in batch {
                let _ = answer.send(written);
            }
        }
    });
    sender
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [kind, port] = arguments.as_slice() else {
        println!("limits hyper|poem|file PORT (benches/accept/bench.py starts it)");
        return;
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
    let file = match kind.as_str() {
        "hyper" => return hyper_alone(address).await,
        "file" => Some(append("deliveries")),
        _ => None,
    };
    let signed = Signed { key: hmac::Key::new(hmac::HMAC_SHA256, SECRET), file };
    Server::new(TcpListener::bind(address.to_string())).run(signed.boxed()).await.expect("a server");
}
