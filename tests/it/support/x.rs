//! X's API v2 with state: verifies OAuth 1.0a signatures with another implementation of HMAC than the one that makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use declic::clock::Timestamp;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::{Value, json};

pub const KEYS: &str =
    r#"{ "consumer_key": "app", "consumer_secret": "app/secret+1", "token": "42-user", "token_secret": "user secret&2" }"#;
pub const BEARER: &str = "oauth2-stand-in";

#[derive(Default)]
struct State {
    /// Newest first.
    posts: Vec<Value>,
    nonces: BTreeSet<String>,
    limited: bool,
}

pub struct X {
    base: String,
    state: Mutex<State>,
}

pub async fn start() -> Running<X> {
    server::start(|base, _| X { base: base.to_owned(), state: Mutex::default() }).await.unwrap()
}

impl X {
    pub fn posts(&self) -> Vec<Value> {
        self.state.lock().unwrap().posts.clone()
    }

    /// The next request meets the limit, which ends in a minute.
    pub fn limit_next(&self) {
        self.state.lock().unwrap().limited = true;
    }

    fn authorized(&self, request: &Request) -> bool {
        if request.bearer() == Some(BEARER) {
            return true;
        }
        let Some(pairs) = request.header("authorization").and_then(|value| value.strip_prefix("OAuth ")) else { return false };
        // A form's encoding, but for the plus that OAuth never writes for a space.
        let decode = |text: &str| {
            let plain = text.trim_matches('"').replace('+', "%2B");
            url::form_urlencoded::parse(plain.as_bytes()).next().map(|(decoded, _)| decoded.into_owned()).unwrap_or_default()
        };
        let pairs: BTreeMap<String, String> = pairs
            .split(", ")
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (decode(name), decode(value)))
            .collect();
        let timestamp: i64 = pairs["oauth_timestamp"].parse().unwrap_or(0);
        let fresh = (Timestamp::now().seconds() - timestamp).abs() < 300;
        let new = self.state.lock().unwrap().nonces.insert(pairs["oauth_nonce"].clone());
        let encode = |text: &str| {
            url::form_urlencoded::byte_serialize(text.as_bytes())
                .collect::<String>()
                .replace('+', "%20")
                .replace('*', "%2A")
                .replace("%7E", "~")
        };
        let mut signed: Vec<(String, String)> = pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        signed.retain(|(name, _)| name != "oauth_signature");
        signed.extend(request.query.iter().map(|(name, value)| (encode(name), encode(value))));
        signed.sort();
        let joined = signed.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let text = format!("{}&{}&{}", request.method, encode(&format!("{}{}", self.base, request.path)), encode(&joined));
        let key = format!("{}&{}", encode("app/secret+1"), encode("user secret&2"));
        let expected = STANDARD.encode(hmac_sha1::sign(key.as_bytes(), text.as_bytes()));
        fresh && new && pairs["oauth_signature"] == expected && pairs["oauth_token"] == "42-user"
    }

    fn create(&self, request: &Request) -> Answer {
        let body = request.json().unwrap_or_default();
        let known = |name: &String| name == "text" || name == "reply";
        let text = body["text"].as_str().unwrap_or_default();
        if text.is_empty() || !body.as_object().is_some_and(|body| body.keys().all(known)) {
            return problem(400, "One or more parameters to your request was invalid.");
        }
        let mut state = self.state.lock().unwrap();
        // X escapes what it shows.
        let shown = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        if state.posts.iter().any(|post| post["text"] == shown) {
            return problem(403, "You are not allowed to create a Tweet with duplicate content.");
        }
        let id = (1_990_000_000_000_000_000_u64 + state.posts.len() as u64).to_string();
        let mut post = json!({ "id": id, "text": shown });
        if let Some(reply) = body.get("reply") {
            post["reply"] = reply.clone();
        }
        state.posts.insert(0, post.clone());
        Answer::json(201, &json!({ "data": { "id": id, "text": text } }))
    }
}

fn problem(status: u16, detail: &str) -> Answer {
    Answer::json(status, &json!({ "title": "Forbidden", "detail": detail, "type": "about:blank", "status": status }))
}

#[async_trait]
impl Api for X {
    async fn answer(&self, request: &Request) -> Answer {
        if std::mem::take(&mut self.state.lock().unwrap().limited) {
            let reset = (Timestamp::now().seconds() + 60).to_string();
            return problem(429, "Too Many Requests").with_header("x-rate-limit-reset", reset);
        }
        if !self.authorized(request) {
            return problem(401, "Unauthorized");
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/2/tweets") => self.create(request),
            ("GET", "/2/users/me") => Answer::json(200, &json!({ "data": { "id": "42", "name": "Acme", "username": "acme" } })),
            ("GET", "/2/users/42/tweets") => {
                let start = request.parameter("start_time").is_some_and(|time| time.ends_with('Z') && time.len() == 20);
                if !start {
                    return problem(400, "start_time is malformed");
                }
                Answer::json(200, &json!({ "data": self.posts(), "meta": { "result_count": self.posts().len() } }))
            }
            _ => problem(404, "Not Found"),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        problem(status, message)
    }
}

/// HMAC-SHA1 by RFC 2104, from the digest alone.
mod hmac_sha1 {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

    pub fn sign(key: &[u8], text: &[u8]) -> Vec<u8> {
        let sha1 = |text: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().to_vec();
        let mut block = [0_u8; 64];
        block[..key.len()].copy_from_slice(key);
        let padded = |byte: u8| block.map(|each| each ^ byte).to_vec();
        let inner = sha1(&[padded(0x36), text.to_vec()].concat());
        sha1(&[padded(0x5c), inner].concat())
    }
}
