//! What is kept of a request besides its body: method, path, query and headers, without credentials.
//!
//! They are kept among the headers, as HTTP/2 does it: a real header's name cannot begin with a colon.

use crate::inbound::Inbound;

/// Name of the method among the kept headers.
pub const METHOD: &str = ":method";
/// Name of the path.
pub const PATH: &str = ":path";
/// Name of the query, without `?`.
pub const QUERY: &str = ":query";

/// Longest value that is kept.
const MAX_VALUE: usize = 4096;
/// Most headers that are kept.
const MAX_HEADERS: usize = 64;

/// Headers that only say how the request travelled.
const OF_THE_WAY: &[&str] =
    &["accept", "accept-encoding", "connection", "content-length", "host", "keep-alive", "te", "transfer-encoding"];

/// Parts of names that credentials and signatures have. A header too few in a rule is better than a key in the journal.
const TELLING: &[&str] = &["auth", "cookie", "hmac", "key", "passw", "secret", "sign", "token"];

/// A request for rules that read any of it. `hidden` are the names (lower case) of headers and query parameters in which this source is given
/// its credentials.
pub fn whole(inbound: &Inbound, hidden: &[&str]) -> Vec<(String, String)> {
    let mut kept = vec![
        (METHOD.to_owned(), inbound.method.clone()),
        (PATH.to_owned(), inbound.path.clone()),
        (QUERY.to_owned(), query(&inbound.query, hidden)),
    ];
    kept.extend(headers(inbound, hidden));
    kept
}

/// The headers alone.
pub fn headers(inbound: &Inbound, hidden: &[&str]) -> Vec<(String, String)> {
    let names = inbound.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let mut kept: Vec<(String, String)> = Vec::new();
    for name in names {
        let known = kept.iter().any(|(other, _)| *other == name);
        if known || kept.len() >= MAX_HEADERS || OF_THE_WAY.contains(&name.as_str()) || is_telling(&name, hidden) {
            continue;
        }
        if let Some(value) = inbound.header(&name).filter(|value| value.len() <= MAX_VALUE) {
            kept.push((name, value.to_owned()));
        }
    }
    kept
}

fn is_telling(name: &str, hidden: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    hidden.iter().any(|hidden| hidden.eq_ignore_ascii_case(&name)) || TELLING.iter().any(|part| name.contains(part))
}

/// The query without the parameters that may be credentials.
fn query(raw: &str, hidden: &[&str]) -> String {
    let mut kept = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(raw.as_bytes()) {
        if !is_telling(&name, hidden) {
            kept.append_pair(&name, &value);
        }
    }
    let mut kept = kept.finish();
    if kept.len() > MAX_VALUE {
        kept.clear();
    }
    kept
}
