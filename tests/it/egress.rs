//! The egress guard and the limits of the one HTTP client, against real sockets.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use declic_actions::action::Failure;
use declic_actions::http::{Guard, Http, HttpError, HttpSettings, Lookup, Method, Passage, Request, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::vectors::vectors;

/// A server that reads one request a connection, answers these bytes, and counts connections.
async fn server(answer: &'static [u8]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                    let mut chunk = [0; 1024];
                    match socket.read(&mut chunk).await {
                        Ok(0) | Err(_) => return,
                        Ok(read) => head.extend_from_slice(&chunk[..read]),
                    }
                }
                let _ = socket.write_all(answer).await;
                // An empty answer stands for a server that never answers.
                if answer.is_empty() {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                }
            });
        }
    });
    (address, connections)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

fn http(allow: &[String]) -> Http {
    Http::new(HttpSettings { allow: allow.to_vec(), user_agent: "declic-test".into() }).unwrap()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

async fn get(http: &Http, address: &str) -> Result<Response, HttpError> {
    http.send(Request::to(Method::GET, address, soon())).await
}

#[test]
fn addresses_of_the_vectors_are_blocked_and_let_through() {
    let Some(vectors) = vectors("_ssrf-urls.json") else { return };
    let list = |name: &str| -> Vec<String> {
        vectors[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let guard = Guard::default();
    let mut wrong = Vec::new();
    for address in list("block") {
        if let Ok((url, _)) = guard.judge_text(&address) {
            wrong.push(format!("let through: {address} (read as {url})"));
        }
    }
    for address in list("allow") {
        match guard.judge_text(&address) {
            Ok((_, Passage::Public)) => {}
            other => wrong.push(format!("not let through: {address}: {other:?}")),
        }
    }
    assert!(!list("block").is_empty() && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_loopback_server_is_reached_only_if_the_operator_named_it() {
    let (address, connections) = server(OK).await;
    for form in [
        format!("http://{address}/"),
        format!("http://localhost:{}/", address.port()),
        format!("http://127.1:{}/", address.port()),
    ] {
        let refused = get(&http(&[]), &form).await;
        assert!(matches!(refused, Err(HttpError::Refused(_))), "{form}: {refused:?}");
        let other_port = get(&http(&["127.0.0.1:1".into()]), &form).await;
        assert!(matches!(other_port, Err(HttpError::Refused(_))), "{form}: {other_port:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "a refused address must not be connected to");
    let answer = get(&http(&[address.to_string()]), &format!("http://{address}/")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"ok".as_slice()));
}

#[tokio::test]
async fn a_redirect_is_an_error_and_not_followed() {
    let (inner, connections) = server(OK).await;
    let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{inner}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let (outer, _) = server(Box::leak(answer.into_boxed_str()).as_bytes()).await;
    let error = get(&http(&[outer.to_string(), inner.to_string()]), &format!("http://{outer}/")).await.unwrap_err();
    assert_eq!(error.status_code(), Some(302));
    assert!(matches!(error.into_failure("it"), Failure::Final { .. }));
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_body_beyond_the_cap_is_an_error_with_and_without_a_length() {
    let (announced, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\nconnection: close\r\n\r\n01234567890123456789").await;
    let (chunked, _) =
        server(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n").await;
    let http = http(&[announced.to_string(), chunked.to_string()]);
    for address in [announced, chunked] {
        let request = |cap| Request::to(Method::GET, &format!("http://{address}/"), soon()).cap(cap);
        assert!(matches!(http.send(request(19)).await, Err(HttpError::TooLarge(19))), "{address}");
        assert_eq!(http.send(request(20)).await.unwrap().body.len(), 20);
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_at_the_deadline() {
    let (address, _) = server(b"").await;
    let begun = Instant::now();
    let request = Request::to(Method::GET, &format!("http://{address}/"), begun + Duration::from_millis(200));
    let error = http(&[address.to_string()]).send(request).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout), "{error:?}");
    assert!(error.is_retryable() && begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_cut_answer_and_a_closed_port_are_worth_another_attempt() {
    let (address, _) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nhalf").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let http = http(&["127.0.0.1".into()]);
    let cut = get(&http, &format!("http://{address}/")).await.unwrap_err();
    assert!(matches!(cut, HttpError::Cut(_)), "{cut:?}");
    let refused = get(&http, &format!("http://{closed}/")).await.unwrap_err();
    assert!(matches!(refused, HttpError::Connect(_)), "{refused:?}");
    assert!(cut.is_retryable() && refused.is_retryable());
}

/// Answers each lookup with the next list, and the last one from then on.
struct Changing {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Lookup for Changing {
    fn lookup(&self, _host: String) -> Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst).min(self.answers.len().saturating_sub(1));
        let answer = self.answers.get(number).cloned();
        Box::pin(async move { answer.ok_or_else(|| std::io::Error::other("no such name")) })
    }
}

fn changing(answers: Vec<Vec<IpAddr>>, allow: &[String]) -> Http {
    let settings = HttpSettings { allow: allow.to_vec(), user_agent: "declic-test".into() };
    Http::with_lookup(settings, Arc::new(Changing { answers, asked: AtomicUsize::new(0) })).unwrap()
}

#[tokio::test]
async fn a_name_is_judged_by_what_it_resolves_to_when_it_is_connected() {
    let (address, connections) = server(OK).await;
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // An address of a documentation network: refused too, so that the first lookup never leaves this machine.
    let elsewhere: IpAddr = "192.0.2.1".parse().unwrap();
    let url = format!("http://rebind.example.com:{}/", address.port());
    for answers in
        [vec![vec![loopback]], vec![vec![elsewhere], vec![loopback]], vec![vec!["93.184.215.14".parse().unwrap(), loopback]]]
    {
        let http = changing(answers, &[]);
        for _ in 0..2 {
            let refused = get(&http, &url).await;
            assert!(matches!(refused, Err(HttpError::Refused(_))), "{refused:?}");
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
    let named = changing(vec![vec![loopback]], &[format!("rebind.example.com:{}", address.port())]);
    assert_eq!(get(&named, &url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_not_reached() {
    let error = get(&changing(Vec::new(), &[]), "http://nowhere.example.com/").await.unwrap_err();
    assert!(matches!(error, HttpError::Connect(_)), "{error:?}");
    assert!(error.is_retryable());
}

#[test]
fn a_proxy_in_the_environment_is_never_used() {
    // The environment of a running process cannot be changed safely, so another process does the work, with a proxy that is closed.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"] {
        child.env(name, "http://127.0.0.1:1");
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.args(["--exact", "egress::a_loopback_server_is_reached_only_if_the_operator_named_it"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_credential_that_the_target_sends_back_is_not_in_the_error() {
    let (address, _) = server(
        b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 38\r\nconnection: close\r\n\r\n{\"message\":\"bad token hunter2-secret\"}",
    )
    .await;
    let token = declic_actions::secret::Secret::new("hunter2-secret");
    let request = Request::to(Method::GET, &format!("http://{address}/"), soon()).bearer(&token);
    let failure = http(&[address.to_string()]).send(request).await.unwrap_err().into_failure("it");
    assert_eq!(failure.why().message, "it answered 400: bad token [secret]");
}
