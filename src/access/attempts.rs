//! How often somebody may be wrong about who they are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use poem::Request;

use crate::clock::Timestamp;

/// Failures are counted over so many milliseconds.
const WINDOW: i64 = 5 * 60 * 1000;
/// Failures of one origin, as far as it is known.
const OF_ORIGIN: u32 = 20;
/// Failures of one peer, whatever it says it forwards: an attacker can make that up.
const OF_PEER: u32 = 200;
/// Origins that are remembered.
const MOST: usize = 10_000;

#[derive(Clone, Copy)]
struct Window {
    begun: i64,
    failures: u32,
}

/// Counts failures by where they come from. Of this process: each instance counts for itself.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<String, Window>>);

impl Attempts {
    /// May another attempt be made? Otherwise the seconds to wait.
    pub fn allow(&self, request: &Request, now: Timestamp) -> Result<(), i64> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let blocked = origins(request).into_iter().filter_map(|(origin, most)| {
            let window = table.get(&origin)?;
            let left = window.begun.saturating_add(WINDOW).saturating_sub(now.0);
            (window.failures >= most && left > 0).then_some(left / 1000 + 1)
        });
        blocked.max().map_or(Ok(()), Err)
    }

    /// An attempt was wrong.
    pub fn failed(&self, request: &Request, now: Timestamp) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (origin, most) in origins(request) {
            if table.len() >= MOST && !table.contains_key(&origin) {
                table.retain(|_, window| window.begun.saturating_add(WINDOW) > now.0);
                if table.len() >= MOST {
                    // Whoever fills the table must not lock out, nor free, those in it: this one is only counted with its peer.
                    continue;
                }
            }
            let window = table.entry(origin.clone()).or_insert(Window { begun: now.0, failures: 0 });
            if window.begun.saturating_add(WINDOW) <= now.0 {
                *window = Window { begun: now.0, failures: 0 };
            }
            window.failures = window.failures.saturating_add(1);
            // Once a window: whoever floods us does not flood the log.
            if window.failures == 1 {
                tracing::info!(origin, "somebody was wrong about who they are");
            } else if window.failures == most {
                tracing::warn!(origin, failures = most, "too many wrong attempts; others from there have to wait");
            }
        }
    }
}

/// Where a request comes from, and how many failures each of these may have: the peer, and behind it whom the nearest proxy names.
fn origins(request: &Request) -> Vec<(String, u32)> {
    let peer = request.remote_addr().as_socket_addr().map_or_else(String::new, |peer| network(peer.ip()));
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back().and_then(|value| value.to_str().ok());
    let nearest = forwarded.and_then(|list| list.rsplit(',').next()).and_then(|text| text.trim().parse().ok()).map(network);
    match nearest {
        Some(nearest) => vec![(format!("{peer} for {nearest}"), OF_ORIGIN), (peer, OF_PEER)],
        None => vec![(format!("{peer} itself"), OF_ORIGIN), (peer, OF_PEER)],
    }
}

/// Who has one IPv6 address has the 2^64 beside it.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(forwarded: &str) -> Request {
        Request::builder().header("x-forwarded-for", forwarded).finish()
    }

    #[test]
    fn one_origin_is_stopped_and_its_neighbours_are_not() {
        let attempts = Attempts::default();
        let now = Timestamp(1_800_000_000_000);
        for _ in 0..OF_ORIGIN {
            assert!(attempts.allow(&from("203.0.113.9"), now).is_ok());
            attempts.failed(&from("203.0.113.9"), now);
        }
        assert_eq!(attempts.allow(&from("203.0.113.9"), now), Err(301));
        assert_eq!(attempts.allow(&from("198.51.100.7, 203.0.113.9"), now), Err(301), "only the last is the proxy's word");
        assert!(attempts.allow(&from("203.0.113.10"), now).is_ok());
        assert!(attempts.allow(&from("203.0.113.9"), Timestamp(now.0 + WINDOW)).is_ok());
    }

    #[test]
    fn made_up_origins_of_one_peer_are_stopped_together() {
        let attempts = Attempts::default();
        let now = Timestamp(1_800_000_000_000);
        for number in 0..OF_PEER {
            attempts.failed(&from(&format!("10.0.{}.{}", number / 200, number % 200)), now);
        }
        assert!(attempts.allow(&from("192.0.2.1"), now).is_err());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_origin() {
        let attempts = Attempts::default();
        let now = Timestamp(1_800_000_000_000);
        for number in 0..OF_ORIGIN {
            attempts.failed(&from(&format!("2001:db8:1:2::{number}")), now);
        }
        assert!(attempts.allow(&from("2001:db8:1:2:ffff::1"), now).is_err());
        assert!(attempts.allow(&from("2001:db8:1:3::1"), now).is_ok());
    }
}
