//! Bounds of the front door.

use std::time::Duration;

/// Bounds of the server. The defaults suit a machine with 512 MiB and more.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once, if the process may have so many files; more wait, and those that are idle longest are closed for them.
    pub connections: usize,
    /// From the first byte of a request's head (or the opening of the connection) to its last.
    pub head: Duration,
    /// From the end of the head to the last byte of the body.
    pub body: Duration,
    /// Between requests on one connection.
    pub idle: Duration,
    /// A sender that takes no byte of our answer for this long is cut off.
    pub write: Duration,
    /// Bytes of bodies that are being read, over all connections.
    pub buffered: usize,
    /// From the signal to stop until what is still open is cut off.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(30),
            buffered: 256 * 1024 * 1024,
            drain: Duration::from_millis(8500),
        }
    }
}
