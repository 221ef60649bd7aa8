//! Where a request goes: below the connection's address and nowhere else. Pure.

use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};
use url::Url;

use crate::action::{Faults, Why};
use crate::given::{all, every, invalid};
use crate::secret::Secret;

/// Headers that belong to the connection, to the client or to the operator.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The operator's `base-url`.
pub(super) fn base(text: &str) -> Result<Url, Why> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let plain =
        |url: &Url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    url.filter(plain).ok_or_else(|| invalid("`connection.base-url` is an http or https address without user, query and fragment"))
}

/// The address that a connection keeps as its secret, if it has this form by the segments of its path. What is wrong with another could give
/// it away, so nothing is said of it.
pub(super) fn of_webhook(secret: &Secret, fits: impl Fn(&Url, &[&str]) -> bool) -> Option<Url> {
    let url = Url::parse(secret.expose_text()?.trim()).ok()?;
    let fits = {
        let parts: Vec<&str> = url.path_segments().map(Iterator::collect).unwrap_or_default();
        matches!(url.scheme(), "http" | "https") && fits(&url, &parts)
    };
    fits.then_some(url)
}

/// The address of a path below `base`, with its query.
pub(super) fn below(base: &Url, path: &str, query: Option<&Map<String, Value>>) -> Result<Url, Faults> {
    let (mut url, pairs) =
        all((path_below(base, path), every(query.into_iter().flatten().map(|(name, value)| pairs(name, value)))))?;
    for (name, text) in Vec::<Vec<(&str, String)>>::into_iter(pairs).flatten() {
        url.query_pairs_mut().append_pair(name, &text);
    }
    Ok(url)
}

fn path_below(base: &Url, path: &str) -> Result<Url, Why> {
    let fault = |what: &str| Err(invalid(format!("`with.path` {what}")));
    if path.contains(['?', '#']) {
        return fault("must not hold `?` or `#`; give the parameters in `query`");
    }
    if path.contains('\\') || path.chars().any(char::is_control) {
        return fault("must not hold `\\` or control characters");
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.split('/').any(climbs) {
        return fault("must not climb with `.` or `..`");
    }
    let root = base.path().trim_end_matches('/').to_owned();
    let mut url = base.clone();
    url.set_path(&format!("{root}/{path}"));
    // The checks above should be enough; this one does not depend on them.
    if url.origin() != base.origin() || !url.path().starts_with(&format!("{root}/")) {
        return fault("leaves the connection's base-url");
    }
    Ok(url)
}

/// A parameter of the query, once for each value.
fn pairs<'a>(name: &'a str, value: &Value) -> Result<Vec<(&'a str, String)>, Why> {
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let texts = values.iter().map(plain).collect::<Result<Vec<_>, ()>>();
    let texts = texts.map_err(|()| invalid(format!("`with.query.{name}` must be text, a number or a list of those")))?;
    Ok(texts.into_iter().flatten().map(|text| (name, text)).collect())
}

/// Would this segment, decoded once or twice by somebody on the way, mean another folder?
fn climbs(segment: &str) -> bool {
    let once = decoded(segment);
    let twice = decoded(&once);
    [segment, once.as_str(), twice.as_str()].iter().any(|text| text.split(['/', '\\']).any(|part| matches!(part, "." | "..")))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                bytes.push(hex(high).unwrap_or(0) * 16 + hex(low).unwrap_or(0));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The rule's headers, in lower case.
pub(super) fn headers(given: Option<&Map<String, Value>>) -> Result<Vec<(String, String)>, Faults> {
    let headers: Vec<Option<(String, String)>> = every(given.into_iter().flatten().map(|(name, value)| header(name, value)))?;
    Ok(headers.into_iter().flatten().collect())
}

/// `None` for one whose value is missing.
fn header(name: &str, value: &Value) -> Result<Option<(String, String)>, Why> {
    let place = format!("`with.headers.{}`", crate::http::shown(name));
    let lower =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("{place} is not a name that a header can have")))?;
    if RESERVED.contains(&lower.as_str()) {
        return Err(invalid(format!("{place} cannot be set by a rule; credentials belong to the connection or to `token`")));
    }
    let Some(text) = plain(value).map_err(|()| invalid(format!("{place} must be text or a number")))? else { return Ok(None) };
    HeaderValue::from_str(&text)
        .map_err(|_| invalid(format!("{place} holds a line break or another character that headers cannot hold")))?;
    Ok(Some((lower.as_str().to_owned(), text)))
}

fn plain(value: &Value) -> Result<Option<String>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(flag) => Ok(Some(flag.to_string())),
        Value::Array(_) | Value::Object(_) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_stays_below_the_base() {
        let root = base("https://api.example.com/v1/").unwrap();
        for (path, address) in [
            ("/orders/1", "https://api.example.com/v1/orders/1"),
            ("orders", "https://api.example.com/v1/orders"),
            ("/a%2Fb", "https://api.example.com/v1/a%2Fb"),
            ("//evil.example/x", "https://api.example.com/v1//evil.example/x"),
            ("/@evil.example:80/x", "https://api.example.com/v1/@evil.example:80/x"),
            ("/", "https://api.example.com/v1/"),
            ("/\u{2025}/x", "https://api.example.com/v1/%E2%80%A5/x"),
        ] {
            assert_eq!(below(&root, path, None).unwrap().as_str(), address);
        }
        for path in [
            "/../admin",
            "/x/../../admin",
            "..",
            "/%2e%2e/admin",
            "/.%2E/admin",
            "/a%2f..%2fadmin",
            "/%252e%252e/x",
            "/x\\..\\y",
            "/a%5c..%5cb",
            "/./x",
            "/x?y=1",
            "/x#y",
            "/x\r\ny",
        ] {
            assert!(below(&root, path, None).is_err(), "{path}");
        }
    }

    #[test]
    fn query_values_are_encoded() {
        let query = json!({ "a": "x&y=1", "b": [1, true], "c": null });
        let url = below(&base("http://h.example").unwrap(), "/p", query.as_object()).unwrap();
        assert_eq!(url.as_str(), "http://h.example/p?a=x%26y%3D1&b=1&b=true");
        assert!(below(&base("http://h.example").unwrap(), "/p", json!({ "a": {} }).as_object()).is_err());
    }

    #[test]
    fn headers_cannot_break_out_or_stand_in_for_ours() {
        for given in [
            json!({ "X-A": "1\r\nX-B: 2" }),
            json!({ "Host": "evil" }),
            json!({ "AUTHORIZATION": "x" }),
            json!({ "a b": "x" }),
            json!({ "Transfer-Encoding": "x" }),
        ] {
            assert!(headers(given.as_object()).is_err(), "{given}");
        }
        assert_eq!(headers(json!({ "X-A": 1 }).as_object()).unwrap(), [("x-a".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_base_url_is_plain() {
        for text in ["ftp://h/", "https://u@h/", "https://h/?a", "https://h/#a", "h", ""] {
            assert!(base(text).is_err(), "{text}");
        }
    }
}
