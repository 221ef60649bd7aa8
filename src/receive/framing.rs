//! The bytes of a connection on their way to the HTTP parser: watched for two announced lengths, and for senders that stall.
//!
//! The parser resolves `Transfer-Encoding` beside `Content-Length` silently; a proxy before us may have resolved it the other way, so we
//! refuse it. That needs no full parser: a head is followed to its end and a body of known length is skipped. After a chunked body the
//! connection is closed, so nothing has to be followed through chunks.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::Limits;

/// A request extension: what was seen of the connection's framing.
#[derive(Debug, Clone, Default)]
pub(super) struct Framing(Arc<AtomicBool>);

impl Framing {
    /// Did a head announce its body's length in two ways?
    pub(super) fn is_ambiguous(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Longest line that is looked at; a length header is short, and longer lines are none.
const LINE: usize = 256;

#[derive(Debug)]
enum State {
    Head(Head),
    Body(u64),
    /// A chunked body: the connection ends after it.
    Rest,
}

#[derive(Debug, Default)]
struct Head {
    /// Any byte of it seen?
    begun: bool,
    /// The request line is complete.
    lines: bool,
    line: Vec<u8>,
    length: Option<u64>,
    chunked: bool,
}

impl Head {
    /// The line is complete; true if it was the empty one at the end of the head.
    fn end_line(&mut self) -> bool {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if line.is_empty() {
            return self.lines;
        }
        self.lines = true;
        if let Some(colon) = line.iter().position(|byte| *byte == b':') {
            let (name, value) = line.split_at(colon);
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                self.chunked = true;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                let digits = value.get(1..).unwrap_or_default().trim_ascii();
                self.length = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).or(Some(u64::MAX));
            }
        }
        self.line.clear();
        false
    }
}

struct Watch {
    state: State,
    framing: Framing,
}

impl Watch {
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Rest => return,
                State::Body(left) => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= skipped as u64;
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    if *left == 0 {
                        self.state = State::Head(Head::default());
                    }
                }
                State::Head(head) => {
                    head.begun = true;
                    let end = bytes.iter().position(|byte| *byte == b'\n');
                    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
                    let room = LINE.saturating_sub(head.line.len()).min(line.len());
                    head.line.extend_from_slice(line.get(..room).unwrap_or_default());
                    bytes = end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default();
                    if end.is_some() && head.end_line() {
                        self.end_head();
                    }
                }
            }
        }
    }

    fn end_head(&mut self) {
        let State::Head(head) = &self.state else { return };
        if head.chunked && head.length.is_some() {
            self.framing.0.store(true, Ordering::Relaxed);
        }
        self.state = match (head.chunked, head.length) {
            (true, _) => State::Rest,
            (false, Some(length)) if length > 0 => State::Body(length),
            (false, _) => State::Head(Head::default()),
        };
    }
}

/// A socket with deadlines.
pub(super) struct Watched {
    socket: TcpStream,
    watch: Watch,
    fresh: bool,
    head: Duration,
    write: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(socket: TcpStream, framing: Framing, limits: &Limits) -> Self {
        Self {
            socket,
            watch: Watch { state: State::Head(Head::default()), framing },
            fresh: true,
            head: limits.head,
            write: limits.write,
            head_deadline: None,
            write_deadline: None,
        }
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    /// Is a head being waited for whose sender has to hurry? Between requests it need not.
    fn in_head(&self) -> bool {
        matches!(&self.watch.state, State::Head(head) if head.begun || self.fresh)
    }

    fn wrote<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write_deadline = None;
            return result;
        }
        let write = self.write;
        let deadline = self.write_deadline.get_or_insert_with(|| Box::pin(sleep(write)));
        match deadline.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the answer was not taken"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.socket).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                let read = buffer.filled().get(before..).unwrap_or_default();
                self.watch.feed(read);
                self.fresh = self.fresh && read.is_empty();
                if !self.in_head() {
                    self.head_deadline = None;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.in_head() => {
                let head = self.head;
                let deadline = self.head_deadline.get_or_insert_with(|| Box::pin(sleep(head)));
                match deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the head took too long"))),
                    Poll::Pending => Poll::Pending,
                }
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambiguous(pieces: &[&[u8]]) -> bool {
        let mut watch = Watch { state: State::Head(Head::default()), framing: Framing::default() };
        for piece in pieces {
            watch.feed(piece);
        }
        watch.framing.is_ambiguous()
    }

    #[test]
    fn two_lengths_are_seen_in_any_order_and_cut_anywhere() {
        let both = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n";
        let other = b"POST / HTTP/1.1\r\ncontent-length: 4\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
        assert!(ambiguous(&[both]) && ambiguous(&[other]));
        for cut in 0..both.len() {
            assert!(ambiguous(&[&both[..cut], &both[cut..]]), "{cut}");
        }
    }

    #[test]
    fn a_later_request_on_the_connection_is_watched_too() {
        let first = b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nab\r\n\r\nxyz";
        assert!(!ambiguous(&[first, first]));
        assert!(ambiguous(&[first, b"POST / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked\n\n"]));
    }

    #[test]
    fn what_looks_like_a_head_inside_a_body_is_not_one() {
        let body = b"A: b\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        assert!(!ambiguous(&[head.as_bytes(), body]));
    }
}
