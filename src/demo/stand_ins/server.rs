//! The HTTP server under every stand-in: binds a free port of 127.0.0.1, logs, applies faults and contracts.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use poem::Server;
use poem::http::uri::Scheme;
use poem::listener::Acceptor;
use poem::web::{LocalAddr, RemoteAddr};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::exchange::{Answer, Request};
use super::faults::{Fault, Faults};
use super::ledger::{Ledger, lock};

/// Larger bodies are refused with 413.
const BODY_CAP: usize = 32 * 1024 * 1024;

/// One API over HTTP.
#[async_trait]
pub trait Api: Send + Sync + 'static {
    /// Answers a request, with its effect on the state.
    async fn answer(&self, request: &Request) -> Answer;

    /// A refusal in the form of this API's errors.
    fn refuse(&self, status: u16, message: &str) -> Answer;
}

/// Says what is wrong with a request by the API's published contract.
pub type Contract = dyn Fn(&Request) -> Result<(), String> + Send + Sync;

/// A stand-in that serves until it is dropped. Dereferences to the API's state.
pub struct Running<A> {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// `127.0.0.1:PORT`
    pub authority: String,
    /// What it was asked and what it did.
    pub ledger: Ledger,
    /// What goes wrong on the way.
    pub faults: Faults,
    state: Arc<State<A>>,
    _stop: oneshot::Sender<()>,
}

impl<A> Deref for Running<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.state.api
    }
}

impl<A> Running<A> {
    /// From now on a request that the contract does not allow is refused with 400.
    pub fn hold_to(&self, contract: Arc<Contract>) {
        *lock(&self.state.contract) = Some(contract);
    }
}

impl<A> std::fmt::Debug for Running<A> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Running").field("url", &self.url).finish_non_exhaustive()
    }
}

struct State<A> {
    api: A,
    ledger: Ledger,
    faults: Faults,
    contract: Mutex<Option<Arc<Contract>>>,
    cuts: Cuts,
}

/// Peers whose connection is to be dropped instead of answered.
type Cuts = Arc<Mutex<HashSet<SocketAddr>>>;

/// Binds a free port; `make` gets the base URL and the ledger that the API writes its effects to.
///
/// # Errors
/// If no port of 127.0.0.1 can be bound.
pub async fn start<A: Api>(make: impl FnOnce(&str, &Ledger) -> A) -> io::Result<Running<A>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (authority, url) = (address.to_string(), format!("http://{address}"));
    let (ledger, faults, cuts) = (Ledger::default(), Faults::default(), Cuts::default());
    let state = Arc::new(State {
        api: make(&url, &ledger),
        ledger: ledger.clone(),
        faults: faults.clone(),
        contract: Mutex::new(None),
        cuts: Arc::clone(&cuts),
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let endpoint = Arc::clone(&state);
    let serve = poem::endpoint::make(move |request: poem::Request| {
        let state = Arc::clone(&endpoint);
        async move { state.serve(request).await }
    });
    tokio::spawn(async move {
        // The sender is only ever dropped; either way the server stops at once.
        let signal = async move { drop(stopped.await) };
        let server = Server::new_with_acceptor(CuttingAcceptor { listener, address, cuts });
        let _ = server.run_with_graceful_shutdown(serve, signal, Some(Duration::ZERO)).await;
    });
    Ok(Running { url, authority, ledger, faults, state, _stop: stop })
}

impl<A: Api> State<A> {
    async fn serve(&self, request: poem::Request) -> poem::Response {
        let peer = request.remote_addr().as_socket_addr().copied();
        let answer = match read(request).await {
            Some(request) => self.decide(&request, peer).await,
            None => self.api.refuse(413, "The request body is too large."),
        };
        let mut response = poem::Response::builder()
            .status(poem::http::StatusCode::from_u16(answer.status).unwrap_or(poem::http::StatusCode::INTERNAL_SERVER_ERROR));
        for (name, value) in &answer.headers {
            response = response.header(name.as_str(), value.as_str());
        }
        response.body(answer.body)
    }

    async fn decide(&self, request: &Request, peer: Option<SocketAddr>) -> Answer {
        match request.path.as_str() {
            "/_stand-in/effects" => return listing(&self.ledger.effects()),
            "/_stand-in/requests" => return listing(&self.ledger.requests()),
            _ => {}
        }
        let index = self.ledger.ask(request);
        let faults = self.faults.catch(request);
        if let Some(Fault::Slow(pause)) = faults.iter().find(|fault| matches!(fault, Fault::Slow(_))) {
            tokio::time::sleep(*pause).await;
        }
        let mut answer = self.answer_or_fail(request, &faults).await;
        if faults.contains(&Fault::BadBody) {
            answer.body = b"{\"truncated\": ".to_vec();
        }
        if faults.contains(&Fault::Cut) {
            if let Some(peer) = peer {
                lock(&self.cuts).insert(peer);
            }
            return answer;
        }
        self.ledger.answered(index, &answer);
        answer
    }

    async fn answer_or_fail(&self, request: &Request, faults: &[Fault]) -> Answer {
        if let Some(Fault::Fail { status, retry_after }) = faults.iter().find(|fault| matches!(fault, Fault::Fail { .. })) {
            let answer = self.api.refuse(*status, "The stand-in was told to fail this request.");
            return match retry_after {
                Some(seconds) => answer.with_header("retry-after", seconds.to_string()),
                None => answer,
            };
        }
        let contract = lock(&self.contract).clone();
        if let Some(contract) = contract
            && let Err(problem) = contract(request)
        {
            return self.api.refuse(400, &format!("Not in the published contract: {problem}"));
        }
        self.api.answer(request).await
    }
}

fn listing(entries: &impl serde::Serialize) -> Answer {
    match serde_json::to_value(entries) {
        Ok(value) => Answer::json(200, &value),
        Err(error) => Answer::text(500, error.to_string()),
    }
}

/// Reads a request whole; `None` if its body is beyond the cap.
async fn read(request: poem::Request) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let pairs = |text: &str| url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let text = |value: &poem::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Some(Request {
        method: parts.method.to_string(),
        path: decode(parts.uri.path()),
        query: parts.uri.query().map(pairs).unwrap_or_default(),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: body.into_bytes_limit(BODY_CAP).await.ok()?.to_vec(),
    })
}

/// Undoes percent-encoding; what is not an escape stays as it is.
fn decode(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escape = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                decoded.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

struct CuttingAcceptor {
    listener: TcpListener,
    address: SocketAddr,
    cuts: Cuts,
}

impl Acceptor for CuttingAcceptor {
    type Io = CuttingStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        vec![LocalAddr(self.address.into())]
    }

    async fn accept(&mut self) -> io::Result<(Self::Io, LocalAddr, RemoteAddr, Scheme)> {
        let (stream, peer) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        // Ports are reused: a new connection must not inherit an old one's cut.
        lock(&self.cuts).remove(&peer);
        let stream = CuttingStream { stream, peer, cuts: Arc::clone(&self.cuts) };
        Ok((stream, LocalAddr(self.address.into()), RemoteAddr(peer.into()), Scheme::HTTP))
    }
}

/// Refuses to write as soon as its peer is marked: the peer sees a connection that closes without an answer.
struct CuttingStream {
    stream: TcpStream,
    peer: SocketAddr,
    cuts: Cuts,
}

impl CuttingStream {
    fn is_cut(&self) -> bool {
        lock(&self.cuts).contains(&self.peer)
    }
}

impl AsyncRead for CuttingStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for CuttingStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
