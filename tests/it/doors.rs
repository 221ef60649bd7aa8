//! Sources of the catalogue at the front door, over real sockets: keys that are fetched, challenges, answers, repeated bytes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use declic::clock::Timestamp;
use declic::inbound::Inbound;
use declic::receive::{Limits, Outward};
use declic::sources::{Around, Source};
use declic::verify::trust::{Form, Trust, Want};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::service::{Answer, Service, signature, source, source_in};

/// A server of key sets that counts how often it is asked, and can be out of order.
pub struct KeyServer {
    pub url: String,
    pub host: String,
    asked: Arc<AtomicUsize>,
    works: Arc<AtomicBool>,
}

impl KeyServer {
    pub async fn start(document: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, works) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(true)));
        let (count, up) = (Arc::clone(&asked), Arc::clone(&works));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let status = if up.load(Ordering::SeqCst) { "200 OK" } else { "500 Internal Server Error" };
                let head =
                    format!("HTTP/1.1 {status}\r\nCache-Control: public, max-age=600\r\nConnection: close\r\nContent-Length: ");
                let _ = socket.write_all(format!("{head}{}\r\n\r\n{document}", document.len()).as_bytes()).await;
            }
        });
        Self { url: format!("http://{host}/certs"), host, asked, works }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A key made for the test: PKCS#8 in base64, and the key set with its public half.
pub fn key() -> (Secret, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    // RSAPublicKey of 2048 bits: the modulus begins after nine bytes, the exponent is 65537.
    let modulus = URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[9..265]);
    let set = json!({ "keys": [{ "kty": "RSA", "kid": "test", "alg": "RS256", "use": "sig", "n": modulus, "e": "AQAB" }] });
    (Secret::new(STANDARD.encode(private.as_ref())), set.to_string())
}

struct Pushing {
    service: Service,
    source: Arc<dyn Source>,
    keys: KeyServer,
    private: Secret,
    trust: Arc<Trust>,
}

impl Pushing {
    async fn start() -> Self {
        let (private, set) = key();
        let keys = KeyServer::start(set).await;
        let around = Around::default();
        let auth = json!({ "oidc": {
            "audience": "https://declic.example.dev", "email": "push@acme-ops.iam.gserviceaccount.com", "keys-url": keys.url,
        } });
        let source = source_in("push", "pubsub-push", json!({ "auth": auth }), &[], &around);
        let http = Http::new(HttpSettings { allow: vec![keys.host.clone()], user_agent: "test".to_owned() }).unwrap();
        let outward = Outward::new(http, Arc::clone(&around.trust), Arc::new(|_, _| {}));
        let service = Service::with_outward(vec![Arc::clone(&source)], Limits::default(), Some(Arc::new(outward))).await;
        Self { service, source, keys, private, trust: around.trust }
    }

    async fn push(&self, id: &str, private: &Secret) -> Answer {
        let body = json!({ "message": { "messageId": id, "data": "e30=", "publishTime": "2026-11-24T08:00:00Z" }, "subscription": "projects/p/subscriptions/s" });
        let body = body.to_string();
        let headers = proved(self.source.as_ref(), &body, Some(private));
        self.service.send("POST", "/hooks/push", &headers, body.as_bytes()).await
    }
}

/// The headers with which a request would come.
fn proved(source: &dyn Source, body: &str, private: Option<&Secret>) -> Vec<(String, String)> {
    let mut inbound = Inbound {
        method: "POST".to_owned(),
        path: source.entry().path.clone(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".into())],
        body: body.to_owned().into(),
        received_at: Timestamp::now(),
    };
    source.sign(&mut inbound, "event", "1", private).unwrap();
    inbound.headers.into_iter().map(|(name, value)| (name, String::from_utf8(value.to_vec()).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn published_keys_are_fetched_once_and_a_foreign_key_is_refused() {
    let pushing = Pushing::start().await;
    for id in ["1", "2", "3"] {
        assert_eq!(pushing.push(id, &pushing.private).await.status, 204);
    }
    let (foreign, _) = key();
    assert_eq!(pushing.push("4", &foreign).await.status, 401);
    assert_eq!(pushing.keys.asked(), 1);
    assert_eq!(pushing.service.stored().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_one_fetch() {
    let pushing = Pushing::start().await;
    let pushes = (0..20).map(|number| {
        let id = number.to_string();
        let pushing = &pushing;
        async move { pushing.push(&id, &pushing.private).await.status }
    });
    let statuses = futures_util::future::join_all(pushes).await;
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    assert_eq!(pushing.keys.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_the_sender_is_asked_to_come_again() {
    let pushing = Pushing::start().await;
    pushing.keys.works.store(false, Ordering::SeqCst);
    for id in ["1", "2"] {
        let answer = pushing.push(id, &pushing.private).await;
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
    }
    assert_eq!(pushing.keys.asked(), 1, "a sender decides how often we ask");
    assert!(pushing.service.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_keys_stay_while_new_ones_cannot_be_had() {
    let pushing = Pushing::start().await;
    let (private, set) = key();
    let want = Want { url: pushing.keys.url.clone(), form: Form::Keys, id: "test".to_owned() };
    let long_ago = Timestamp(Timestamp::now().0 - 3_600_000);
    pushing.trust.put(&want, set.as_bytes(), Some(60), long_ago).unwrap();
    pushing.keys.works.store(false, Ordering::SeqCst);
    for id in ["1", "2"] {
        assert_eq!(pushing.push(id, &private).await.status, 204);
    }
    assert_eq!(pushing.keys.asked(), 1, "tried again, not for every request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_path_secret_looks_like_a_path_that_is_not_there() {
    let service = Service::start(
        vec![source("images", "dockerhub", json!({ "secret": "hook" }), &["kZ9v0mV3h2QpX7wA"])],
        Limits::default(),
    )
    .await;
    let body = br#"{"push_data":{"tag":"latest","pushed_at":1},"repository":{"repo_name":"a/b"}}"#;
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let right = service.send("POST", "/hooks/images/kZ9v0mV3h2QpX7wA", &headers, body).await;
    assert_eq!(right.status, 202);
    let nowhere = service.send("POST", "/hooks/nowhere", &headers, body).await;
    for path in ["/hooks/images/kZ9v0mV3h2QpX7wB", "/hooks/images", "/hooks/images/", "/hooks/images/kZ9v0mV3h2QpX7wA/"] {
        let wrong = service.send("POST", path, &headers, body).await;
        assert_eq!((wrong.status, &wrong.body), (nowhere.status, &nowhere.body), "{path}");
    }
    // Also where pages are served to whoever may see them.
    let whole =
        Service::with_pages(vec![source("images", "dockerhub", json!({ "secret": "hook" }), &["kZ9v0mV3h2QpX7wA"])]).await;
    for path in ["/hooks/nowhere", "/hooks/images/kZ9v0mV3h2QpX7wB"] {
        let wrong = whole.send("POST", path, &headers, body).await;
        assert_eq!((wrong.status, &wrong.body), (nowhere.status, &nowhere.body), "{path}");
    }
    assert_eq!(whole.send("POST", "/elsewhere", &headers, body).await.status, 418);
    let stored = service.stored().await;
    assert_eq!(stored.len(), 1);
    assert!(!format!("{stored:?}").contains("kZ9v0mV3h2QpX7wA"), "the secret of the path is in the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_under_another_unsigned_id_are_one_delivery() {
    let shop = source("shop", "shopify", json!({ "secret": "hook" }), &["s"]);
    let service = Service::start(vec![Arc::clone(&shop)], Limits::default()).await;
    let body = r#"{"id":1}"#;
    for id in ["a", "b"] {
        let mut headers = proved(shop.as_ref(), body, None);
        headers.retain(|(name, _)| name != "x-shopify-webhook-id");
        headers.push(("x-shopify-webhook-id".to_owned(), id.to_owned()));
        assert_eq!(service.send("POST", "/hooks/shop", &headers, body.as_bytes()).await.status, 200);
    }
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_are_answered_and_never_stored() {
    let x = source("x", "x", json!({ "secret": "hook" }), &["consumer-secret"]);
    let drop = source("drop", "dropbox", json!({ "secret": "hook" }), &["s"]);
    let service = Service::start(vec![x, drop], Limits::default()).await;
    let crc = service.send("GET", "/hooks/x?crc_token=challenge_string", &[], b"").await;
    assert_eq!(crc.json(), json!({ "response_token": "sha256=S/mG8E9n5SjoGuCqHguvP8K8uuu5ogCPF0dOpIdyZlk=" }));
    for forged in ["%7B%22for_user_id%22%3A%221%22%7D", "a%20b", "", "%0A"] {
        let answer = service.send("GET", &format!("/hooks/x?crc_token={forged}"), &[], b"").await;
        assert_eq!(answer.status, 400, "{forged}");
    }
    let echo = service.send("GET", "/hooks/drop?challenge=%3Cb%3E", &[], b"").await;
    assert_eq!((echo.status, echo.body.as_slice()), (200, b"<b>".as_slice()));
    assert_eq!((echo.header("content-type"), echo.header("x-content-type-options")), (Some("text/plain"), Some("nosniff")));
    assert!(service.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_challenge_is_answered_with_the_secret_that_proved_it() {
    let zoom = source("zoom", "zoom", json!({ "secret": "hook" }), &["new", "old", "older"]);
    let service = Service::start(vec![zoom], Limits::default()).await;
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"token"}}"#;
    for secret in ["new", "old", "older"] {
        let theirs = source("zoom", "zoom", json!({ "secret": "hook" }), &[secret]);
        let answer = service.send("POST", "/hooks/zoom", &proved(theirs.as_ref(), body, None), body.as_bytes()).await;
        let mac = signature(secret, b"token").replace("sha256=", "");
        assert_eq!(answer.json(), json!({ "plainToken": "token", "encryptedToken": mac }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unsigned_challenge_signs_is_never_taken_in_as_a_delivery() {
    let fields = json!({
        "auth": { "hmac": { "secret": "hook", "header": "X-Sig", "timestamp-header": "X-Time", "signed": "{timestamp}.{body}" } },
        "challenge": { "method": "GET", "unsigned": true, "token": "query:c", "mac": "hex", "secret": "hook", "json": { "r": "{mac}" } },
    });
    let service = Service::start(vec![source("ours", "webhook", fields, &["a shared secret"])], Limits::default()).await;
    let now = declic::clock::Timestamp::now().seconds();
    for (content_type, body) in
        [("application/x-www-form-urlencoded", "text=deploy"), ("application/json", "1"), ("text/csv", "a")]
    {
        let asked = service.send("GET", &format!("/hooks/ours?c={now}.{body}"), &[], b"").await;
        let signature = asked.json()["r"].as_str().expect("the challenge is answered").to_owned();
        let headers = [("Content-Type", content_type), ("X-Sig", &signature), ("X-Time", &now.to_string())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let answer = service.send("POST", "/hooks/ours", &headers, body.as_bytes()).await;
        assert!(matches!(answer.status, 400 | 415), "{content_type}: {}", answer.status);
    }
    assert!(service.stored().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_notion_makes_is_shown_and_nothing_else_is_taken_in() {
    let pairing = source("notes", "notion", json!({}), &[]);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let http = Http::new(HttpSettings::default()).unwrap();
    let reveal = Arc::new(move |source: &str, secret: &Secret| {
        seen.lock().unwrap().push((source.to_owned(), secret.expose_text().unwrap().to_owned()));
    });
    let outward = Outward::new(http, Arc::default(), reveal);
    let service = Service::with_outward(vec![pairing], Limits::default(), Some(Arc::new(outward))).await;
    let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
    let answer = service.send("POST", "/hooks/notes", &headers, br#"{"verification_token":"secret_abc"}"#).await;
    assert_eq!((answer.status, answer.body.is_empty()), (200, true));
    assert_eq!(*shown.lock().unwrap(), [("notes".to_owned(), "secret_abc".to_owned())]);
    let event = service.send("POST", "/hooks/notes", &headers, br#"{"id":"1","type":"page.created"}"#).await;
    assert_eq!(event.status, 401);
}
