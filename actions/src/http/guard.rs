//! The egress guard: which addresses a request may go to. Pure; the client asks it before it connects and again when a name resolves.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::http::request::shown;

/// Names of cloud metadata servers. They hand out credentials to whoever asks.
const METADATA_NAMES: &[&str] =
    &["metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];
/// Endings that only ever mean something on a private network.
const PRIVATE_ENDINGS: &[&str] = &["localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa"];
/// Ports above 1023 that speak something else than HTTP, or a control plane nobody should reach by accident.
const CLOSED_PORTS: &[u16] = &[
    1433, 1521, 1719, 1720, 1723, 2049, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5432, 5900, 6000, 6379,
    6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 10250, 11211, 27017,
];

/// Why an address is out of bounds; safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(String);

impl Refused {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn name(host: &str, reason: &str) -> Self {
        Self(format!("`{}` resolves to {reason}; an operator can list it under egress.allow", shown(host)))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// How a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// To public addresses; a name is checked again when it resolves.
    Public,
    /// The operator named exactly this host (and port): its address is not checked.
    Named,
}

/// The rules, with the operator's exceptions.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    named: Vec<(String, Option<u16>)>,
}

impl Guard {
    /// With exceptions written `host` or `host:port`. The error names the one that cannot be read.
    pub fn new(allow: &[String]) -> Result<Self, String> {
        let mut named = Vec::new();
        for entry in allow {
            let read = Url::parse(&format!("http://{entry}/")).ok().filter(|url| url.path() == "/" && url.username().is_empty());
            let Some(host) = read.as_ref().and_then(Url::host_str) else {
                return Err(format!("`{}` under egress.allow is neither `host` nor `host:port`", shown(entry)));
            };
            let written = entry.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            named.push((normal(host), written));
        }
        Ok(Self { named })
    }

    /// Reads an address and judges it.
    pub fn judge_text(&self, address: &str) -> Result<(Url, Passage), Refused> {
        let url =
            Url::parse(address).map_err(|error| Refused::new(format!("`{}` is not an address: {error}", shown(address))))?;
        let passage = self.judge(&url)?;
        Ok((url, passage))
    }

    /// Judges an address. Names are judged by how they read; what they resolve to is judged when they do.
    pub fn judge(&self, url: &Url) -> Result<Passage, Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused::new(format!("`{}:` is neither http nor https", shown(url.scheme()))));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::new("an address must not hold a user name or password"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Refused::new("the address has no host"));
        };
        let text = normal(&host.to_string());
        if self.named.iter().any(|(name, only)| *name == text && only.is_none_or(|only| only == port)) {
            return Ok(Passage::Named);
        }
        if !matches!(port, 80 | 443) && (port < 1024 || CLOSED_PORTS.contains(&port)) {
            return Err(Refused::new(format!(
                "port {port} is not one of the web; an operator can list the host with its port under egress.allow"
            )));
        }
        let reason = match host {
            Host::Domain(_) => refuse_name(&text),
            Host::Ipv4(address) => refuse_address(IpAddr::V4(address)),
            Host::Ipv6(address) => refuse_address(IpAddr::V6(address)),
        };
        match reason {
            None => Ok(Passage::Public),
            Some(reason) => {
                Err(Refused::new(format!("`{}` is {reason}; an operator can list it under egress.allow", shown(&text))))
            }
        }
    }
}

/// `Host` is lower-case already; a final dot means the same name.
fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

fn refuse_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("an empty name")
    } else if METADATA_NAMES.contains(&name) {
        Some("a metadata server")
    } else if !name.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| ends_with_label(name, ending)) {
        Some("a name of a private network")
    } else {
        None
    }
}

fn ends_with_label(name: &str, ending: &str) -> bool {
    name.strip_suffix(ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Why this address may not be connected to, or `None` if it is on the public internet. IPv6 forms that carry an IPv4
/// address are judged by that one too.
pub fn refuse_address(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refuse_v4(address),
        IpAddr::V6(address) => refuse_v6(address),
    }
}

fn refuse_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an address of this host"),
        [127, ..] => Some("a loopback address"),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("a shared address of a provider's network"),
        [169, 254, ..] => Some("a link-local address, where metadata servers live"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            Some("a reserved address")
        }
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn refuse_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let low = embedded(g, h);
    match [a, b, c, d, e, f] {
        // IPv4-compatible (with :: and ::1), IPv4-mapped, NAT64.
        [0, 0, 0, 0, 0, 0 | 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => refuse_v4(low),
        // Teredo: the server in the clear, the client inverted.
        [0x2001, 0, ..] => refuse_v4(embedded(c, d)).or_else(|| refuse_v4(embedded(!g, !h))),
        // 6to4.
        [0x2002, ..] => refuse_v4(embedded(b, c)),
        [0x2001, 0x0db8, ..] | [0x2001, 0x0001..=0x01ff, ..] | [0x3fff, 0x0000..=0x0fff, ..] => Some("a reserved address"),
        // ISATAP.
        [0x2000..=0x3fff, _, _, _, 0 | 0x0200, 0x5efe] => refuse_v4(low),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("a private address"),
        [0xfe80..=0xfeff, ..] => Some("a link-local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        _ => Some("a reserved address"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_ipv4_addresses_are_judged() {
        for (address, refused) in [
            ("::1", true),
            ("::", true),
            ("::ffff:10.0.0.1", true),
            ("::ffff:93.184.215.14", false),
            ("64:ff9b::8.8.8.8", false),
            ("64:ff9b::a00:1", true),
            ("64:ff9b:1::808:808", true),
            ("2002:808:808::1", false),
            ("2002:7f00:1::", true),
            ("2001:0:808:808::f7f7:f7f7", false),
            ("2001:0:808:808::80ff:fffe", true),
            ("2606:4700::5efe:127.0.0.1", true),
            ("2606:4700::1111", false),
            ("fec0::1", true),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(refuse_address(parsed).is_some(), refused, "{address}");
        }
    }

    #[test]
    fn exceptions_hold_for_exactly_what_they_name() {
        let guard = Guard::new(&["127.0.0.1:8080".into(), "db.internal".into(), "[::1]:9".into()]).unwrap();
        for address in [
            "http://127.0.0.1:8080/x",
            "http://127.1:8080/",
            "https://DB.internal./",
            "http://db.internal:22/",
            "http://[::1]:9/",
        ] {
            assert_eq!(guard.judge_text(address).map(|(_, passage)| passage), Ok(Passage::Named), "{address}");
        }
        for address in ["http://127.0.0.1:8081/", "http://x.db.internal/", "http://[::1]/", "http://u@127.0.0.1:8080/"] {
            assert!(guard.judge_text(address).is_err(), "{address}");
        }
        for entry in ["http://x", "a/b", "", "u@h"] {
            assert!(Guard::new(&[entry.into()]).is_err(), "{entry}");
        }
    }
}
