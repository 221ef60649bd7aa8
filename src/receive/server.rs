//! Accepting connections and serving HTTP/1.1 on them, with the bounds a service on the open internet needs.
//!
//! The endpoint is poem's; its server is not used, because it has no deadline for heads, retries failed accepts in a hot loop and limits
//! nothing. HTTP/2 is left to the proxy in front: no provider needs it, and it would bring stream floods with it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use poem::http::header;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::framing::{Framing, Watched};
use super::room::{Busy, Room, Seat};
use super::{Front, Limits, answer};

/// A head's size, request line included; Cloud Run and the large providers stay below 16 KiB.
const HEAD_BYTES: usize = 32 * 1024;
/// What a connection may buffer.
const BUFFER_BYTES: usize = 64 * 1024;
/// After an early answer the rest of the request is read away this long, so that the sender gets to see the answer.
const LINGER: Duration = Duration::from_secs(2);
/// And at most this much of it.
const LINGER_BYTES: u64 = 32 * 1024 * 1024;
/// Pauses after failed accepts, which mean that the process has no file descriptors left.
const BACK_OFF: [Duration; 4] =
    [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    Draining,
    Over,
}

/// Serves until `stop` is done, then lets what is under way end, for at most [`Limits::drain`].
pub async fn serve(listener: TcpListener, front: Arc<Front>, stop: impl Future<Output = ()>) -> io::Result<()> {
    let limits = front.parts.limits;
    let room = Room::new(limits.connections);
    let (phase, watched) = watch::channel(Phase::Running);
    let mut stop = std::pin::pin!(stop);
    let mut failures = 0_usize;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((socket, peer, seat)) => {
                failures = 0;
                let front = Arc::clone(&front);
                let watched = watched.clone();
                tokio::spawn(async move {
                    if speaks(&socket, &seat, limits.head, watched.clone()).await {
                        // Boxed, so that those who never speak do not hold what the parser needs.
                        Box::pin(connection(socket, peer, seat, front, limits, watched)).await;
                    }
                });
            }
            Err(error) => {
                let pause = BACK_OFF.get(failures).or(BACK_OFF.last()).copied().unwrap_or_default();
                front.refusals.note("listener", 0, &format!("a connection could not be accepted: {error}"));
                failures += 1;
                room.make_room();
                tokio::time::sleep(pause).await;
            }
        }
    }
    drop(listener);
    let _ = phase.send(Phase::Draining);
    if tokio::time::timeout(limits.drain, room.emptied()).await.is_err() {
        tracing::warn!("connections were still open at the end of the drain and are cut off");
        let _ = phase.send(Phase::Over);
    }
    Ok(())
}

async fn accept(listener: &TcpListener, room: &Arc<Room>) -> io::Result<(TcpStream, SocketAddr, Seat)> {
    let (socket, peer) = listener.accept().await?;
    Ok((socket, peer, room.seat().await))
}

/// Waits for the first byte. False: there will be none, or there is no time or room for it.
async fn speaks(socket: &TcpStream, seat: &Seat, head: Duration, mut phase: watch::Receiver<Phase>) -> bool {
    tokio::select! {
        readable = tokio::time::timeout(head, socket.readable()) => matches!(readable, Ok(Ok(()))),
        () = seat.asked_to_leave() => false,
        _ = phase.wait_for(|now| *now != Phase::Running) => false,
    }
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    front: Arc<Front>,
    limits: Limits,
    mut phase: watch::Receiver<Phase>,
) {
    // An answer is one small write: waiting to fill a packet would only delay it.
    let _ = socket.set_nodelay(true);
    let local = socket.local_addr().map_or_else(|_| Addr::default(), Addr::from);
    let framing = Framing::default();
    let mut draining = false;
    let mut io = Watched::new(socket, framing.clone(), &limits);
    let over = {
        let service = service_fn(|request| {
            let (front, local, framing) = (Arc::clone(&front), local.clone(), framing.clone());
            let busy = seat.request();
            async move {
                let response = respond(&front, request, local, peer, framing).await;
                Ok::<_, Infallible>(response.map(|body| Answered { body, _busy: busy }))
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(BUFFER_BYTES).max_header_size(HEAD_BYTES);
        let mut http = std::pin::pin!(builder.serve_connection(TokioIo::new(&mut io), service));
        loop {
            tokio::select! {
                // An error here is the sender's: a faulty request was answered, a lost connection needs no answer.
                _ = &mut http => break false,
                () = seat.asked_to_leave() => break true,
                _ = phase.wait_for(|now| if draining { *now == Phase::Over } else { *now != Phase::Running }) => {
                    if draining {
                        break true;
                    }
                    draining = true;
                    http.as_mut().graceful_shutdown();
                }
            }
        }
    };
    if !over {
        linger(io.into_socket()).await;
    }
}

async fn respond(
    front: &Front,
    mut request: hyper::Request<Incoming>,
    local: Addr,
    peer: SocketAddr,
    framing: Framing,
) -> hyper::Response<BoxBody<Bytes, io::Error>> {
    // Chunks are not followed by `framing`, so such a request is the last on its connection.
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let ambiguous = framing.is_ambiguous();
    request.extensions_mut().insert(framing);
    let request: Request = (request, LocalAddr(local), RemoteAddr(Addr::from(peer)), Scheme::HTTP).into();
    let mut response = front.get_response(request).await;
    if chunked || ambiguous {
        answer::close(&mut response);
    }
    response.into()
}

/// An answer's body: until it is sent, its connection is not idle.
struct Answered {
    body: BoxBody<Bytes, io::Error>,
    _busy: Busy,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Closes our side and reads away what the other still sends: closing with unread bytes would reset the connection, and the sender
/// would never see the answer.
async fn linger(mut socket: TcpStream) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        let mut scratch = [0_u8; 8192];
        let mut total = 0_u64;
        while let Ok(read) = socket.read(&mut scratch).await {
            total += read as u64;
            if read == 0 || total > LINGER_BYTES {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER, drained).await;
}
