//! The front door over real sockets: what is taken in, what is refused and how, and that neither slow nor many senders harm it.

use std::time::Duration;

use declic::journal::Journal;
use declic::receive::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::service::{Service, exchange, github, github_headers, push, read_answer, request, short_limits};

type Headers = Vec<(String, String)>;

async fn service() -> Service {
    Service::start(vec![github()], Limits::default()).await
}

fn with(headers: &[(String, String)], name: &str, value: &str) -> Headers {
    let mut headers: Vec<_> = headers.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name)).cloned().collect();
    headers.push((name.to_owned(), value.to_owned()));
    headers
}

#[tokio::test]
async fn a_signed_push_is_stored_and_the_worker_woken() {
    let service = service().await;
    let answer = service.deliver("push", "72d3162e", &push("main")).await;
    assert_eq!(answer.status, 202);
    let id = answer.header("x-declic-delivery").unwrap().to_owned();
    assert_eq!(answer.json()["id"].as_str(), Some(id.as_str()));
    let kept = service.journal.delivery(&id).await.unwrap().unwrap().content;
    assert_eq!((kept.source.as_str(), kept.event_type.as_str(), kept.delivery_id.as_str()), ("github", "push", "72d3162e"));
    assert_eq!(kept.verified, "x-hub-signature-256, secret 1 of 1");
    assert_eq!(&kept.body[..], &push("main")[..]);
    assert!(kept.headers.iter().all(|(name, _)| !name.contains("signature")));
    assert_eq!(*service.woken.lock().unwrap(), std::slice::from_ref(&id));
    let again = service.deliver("push", "72d3162e", &push("main")).await;
    assert_eq!((again.status, again.json()), (202, json!({ "id": id, "duplicate": true })));
    assert_eq!((service.stored().await.len(), service.woken.lock().unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_ping_is_answered_and_not_stored() {
    let service = service().await;
    let answer = service.deliver("ping", "1", b"{\"zen\":\"Design for failure.\"}").await;
    assert_eq!((answer.status, service.stored().await.len()), (200, 0));
}

#[tokio::test]
async fn a_body_changed_after_signing_is_refused() {
    let service = service().await;
    let answer = service.send("POST", "/hooks/github", &github_headers("push", "1", &push("main")), &push("prod")).await;
    assert_eq!((answer.status, answer.header("content-type")), (401, Some("application/problem+json")));
    let text = String::from_utf8(answer.body).unwrap();
    assert!(!text.contains("sha256") && !text.contains("secret"), "{text}");
    assert_eq!(service.stored().await.len(), 0);
}

#[tokio::test]
async fn refusals_have_the_status_that_says_what_to_change() {
    let service = service().await;
    let body = push("main");
    let good = github_headers("push", "1", &body);
    let cases: Vec<(&str, &str, &str, Headers, u16)> = vec![
        ("unknown path", "POST", "/hooks/gitlab", good.clone(), 404),
        ("a prefix of the path", "POST", "/hooks/githu", good.clone(), 404),
        ("more than the path", "POST", "/hooks/github/", good.clone(), 404),
        ("an encoded path", "POST", "/hooks%2Fgithub", good.clone(), 404),
        ("dots in the path", "POST", "/hooks/x/../github", good.clone(), 404),
        ("another method", "GET", "/hooks/github", good.clone(), 405),
        ("compressed", "POST", "/hooks/github", with(&good, "Content-Encoding", "gzip"), 415),
        ("another media type", "POST", "/hooks/github", with(&good, "Content-Type", "text/plain"), 415),
        ("no event", "POST", "/hooks/github", with(&good, "X-GitHub-Event", ""), 400),
        ("not an event", "POST", "/hooks/github", with(&good, "X-GitHub-Event", "../push"), 400),
        ("no id", "POST", "/hooks/github", with(&good, "X-GitHub-Delivery", ""), 400),
        ("a long id", "POST", "/hooks/github", with(&good, "X-GitHub-Delivery", &"x".repeat(256)), 400),
        ("no signature", "POST", "/hooks/github", with(&good, "X-Hub-Signature-256", ""), 401),
        ("another host", "POST", "/hooks/github", with(&good, "Host", "elsewhere.example"), 202),
    ];
    for (what, method, path, headers, status) in cases {
        let answer = service.send(method, path, &headers, &body).await;
        assert_eq!(answer.status, status, "{what}");
        if status == 405 {
            assert_eq!(answer.header("allow"), Some("POST"));
        }
    }
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn every_unknown_path_gets_the_same_answer() {
    let service = service().await;
    let first = service.send("POST", "/hooks/none", &[], b"").await;
    for path in ["/", "/hooks", "/hooks/", "/healthz", "/api/v1/runs", "/.env"] {
        let other = service.send("GET", path, &[], b"").await;
        assert_eq!((other.status, &other.body), (404, &first.body), "{path}");
    }
}

#[tokio::test]
async fn a_store_that_is_full_or_down_is_never_the_senders_fault() {
    let service = service().await;
    service.faults.fail(true);
    let down = service.deliver("push", "1", &push("main")).await;
    assert_eq!((down.status, down.header("retry-after").is_some()), (503, true));
    assert!(!String::from_utf8(down.body).unwrap().contains("commit"));
    service.faults.fail(false);
    let recovered = async {
        while service.deliver("push", "1", &push("main")).await.status != 202 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), recovered).await.expect("it takes deliveries again");
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn what_finds_the_queue_full_is_told_to_come_back_and_is_not_stored() {
    let service = Service::with_queue(vec![github()], Limits::default(), 1).await;
    let answers = futures_util::future::join_all((0..300).map(|number| {
        let service = &service;
        async move { service.deliver("push", &number.to_string(), &push("main")).await }
    }))
    .await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    let full: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert_eq!(accepted + full.len(), answers.len());
    assert!(!full.is_empty() && full.iter().all(|answer| answer.header("retry-after").is_some()));
    assert_eq!(service.stored().await.len(), accepted);
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let service = service().await;
    service.deliver("push", "1", &push("main")).await;
    assert_eq!(service.send("GET", "/livez", &[], b"").await.status, 200);
    assert_eq!(service.send("POST", "/livez", &[], b"").await.status, 405);
    assert_eq!(service.send("GET", "/readyz", &[], b"").await.json()["detail"]["rules"], "r1");
    let metrics = service.send("GET", "/metrics", &[], b"").await;
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("declic_deliveries_total{source=\"github\",outcome=\"accepted\"} 1"), "{text}");
    assert!(text.contains("declic_secret_matches_total{source=\"github\",secret=\"0\"} 1"), "{text}");
}

#[tokio::test]
async fn a_length_over_the_cap_is_refused_before_the_body_is_sent() {
    let service = service().await;
    let head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 27262976\r\n\r\n";
    assert_eq!(service.raw(head).await.status, 413);
}

#[tokio::test]
async fn a_chunked_body_over_the_cap_is_refused_while_it_arrives() {
    let service = service().await;
    let mut bytes = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..416 {
        bytes.extend_from_slice(&[b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat());
    }
    assert_eq!(exchange(service.connect().await, bytes).await.unwrap().status, 413);
    assert_eq!(service.deliver("push", "1", &push("main")).await.status, 202);
}

#[tokio::test]
async fn chunked_bodies_are_taken_in_and_the_connection_closed() {
    let service = service().await;
    let body = push("main");
    let mut bytes = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".to_vec();
    for (name, value) in github_headers("push", "1", &body) {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    for piece in body.chunks(7) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    let answer = service.raw(&bytes).await;
    assert_eq!((answer.status, answer.header("connection")), (202, Some("close")));
    assert_eq!(service.stored().await.len(), 1);
}

#[tokio::test]
async fn two_announced_lengths_are_refused() {
    let service = service().await;
    for lengths in ["Transfer-Encoding: chunked\r\nContent-Length: 4", "Content-Length: 4\r\nTransfer-Encoding: chunked"] {
        let answer =
            service.raw(format!("POST /hooks/github HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n").as_bytes()).await;
        assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{lengths}");
    }
    let answer = service.raw(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let service = service().await;
    let mut head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-Big: ".to_vec();
    head.extend_from_slice(&vec![b'x'; 1024 * 1024]);
    head.extend_from_slice(b"\r\n\r\n");
    assert_eq!(exchange(service.connect().await, head).await.unwrap().status, 431);
    let many: String = (0..500).map(|number| format!("X-{number}: 1\r\n")).collect();
    assert_eq!(service.raw(format!("POST /hooks/github HTTP/1.1\r\n{many}\r\n").as_bytes()).await.status, 431);
}

#[tokio::test]
async fn a_slow_sender_is_cut_off_and_others_are_not_affected() {
    let service = Service::start(vec![github()], short_limits()).await;
    let mut silent = service.connect().await;
    let mut slow_head = service.connect().await;
    slow_head.write_all(b"POST /hooks/github HTTP/1.1\r\nHo").await.unwrap();
    let mut slow_body = service.connect().await;
    slow_body.write_all(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await.unwrap();
    for byte in b"{\"a\"" {
        slow_body.write_all(&[*byte]).await.unwrap();
        assert_eq!(service.deliver("push", "1", &push("main")).await.status, 202);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = async {
        assert!(read_answer(&mut silent).await.is_none());
        assert!(read_answer(&mut slow_head).await.is_none());
        assert_eq!(read_answer(&mut slow_body).await.unwrap().status, 408);
    };
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("all three are cut off");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_a_while_and_then_closed() {
    let service = Service::start(vec![github()], short_limits()).await;
    let mut socket = service.connect().await;
    for id in ["1", "2"] {
        let body = push("main");
        socket.write_all(&request("POST", "/hooks/github", &github_headers("push", id, &body), &body)).await.unwrap();
        assert_eq!(read_answer(&mut socket).await.unwrap().status, 202);
        tokio::time::sleep(Duration::from_millis(500)).await; // Longer than a head may take, shorter than the idle time.
    }
    let ended = tokio::time::timeout(Duration::from_secs(5), read_answer(&mut socket)).await;
    assert!(ended.expect("closed").is_none());
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let service = service().await;
    let mut bytes = Vec::new();
    for number in 0..200 {
        let body = push("main");
        bytes.extend(request("POST", "/hooks/github", &github_headers("push", &number.to_string(), &body), &body));
    }
    let socket = service.connect().await;
    let (reading, mut writing) = socket.into_split();
    let sender = tokio::spawn(async move {
        writing.write_all(&bytes).await.unwrap();
        writing
    });
    let mut socket = reading;
    let mut seen = Vec::new();
    while seen.windows(4).filter(|window| window == b"\"id\"").count() < 200 {
        let mut piece = [0; 8192];
        let read = socket.read(&mut piece).await.unwrap();
        assert!(read > 0, "closed too early");
        seen.extend_from_slice(&piece[..read]);
    }
    drop(sender.await);
    assert_eq!(service.stored().await.len(), 200);
}

#[tokio::test]
async fn more_connections_than_allowed_wait_and_are_served() {
    let service = Service::start(vec![github()], Limits { connections: 4, ..short_limits() }).await;
    let _held: Vec<_> = futures_util::future::join_all((0..4).map(|_| service.connect())).await;
    let answers = futures_util::future::join_all((0..20).map(|number| {
        let service = &service;
        async move { service.deliver("push", &number.to_string(), &push("main")).await.status }
    }));
    let answers = tokio::time::timeout(Duration::from_secs(10), answers).await.expect("the held ones are cut off");
    assert_eq!(answers, [202; 20]);
}

#[tokio::test]
async fn a_flood_without_signatures_leaves_valid_deliveries_alone() {
    let service = service().await;
    let flood = futures_util::future::join_all((0..50).map(|_| async {
        let mut socket = service.connect().await;
        for _ in 0..40 {
            socket.write_all(&request("POST", "/hooks/github", &[], b"{}")).await.unwrap();
            assert_eq!(read_answer(&mut socket).await.unwrap().status, 401);
        }
    }));
    let body = push("main");
    let (_, valid) = tokio::join!(flood, service.deliver("push", "1", &body));
    assert_eq!((valid.status, service.stored().await.len()), (202, 1));
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_service_stops() {
    let mut service = Service::start(vec![github()], short_limits()).await;
    let body = push("main");
    let bytes = request("POST", "/hooks/github", &github_headers("push", "1", &body), &body);
    let mut socket = service.connect().await;
    socket.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    service.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    socket.write_all(&bytes[bytes.len() - 5..]).await.unwrap();
    let answer = read_answer(&mut socket).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (202, Some("close")));
    let served = tokio::time::timeout(Duration::from_secs(5), service.served.take().unwrap()).await;
    served.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn a_push_with_fields_of_the_wrong_type_is_refused_and_not_stored() {
    let service = service().await;
    let whole: serde_json::Value = serde_json::from_slice(&push("main")).unwrap();
    // An array in an object's place is the one that serde's derived readers would take field by field.
    let cases = [
        ("repository", json!([1, "acme/web"])),
        ("head_commit", json!([])),
        ("head_commit", json!(["x", "m"])),
        ("commits", json!([[]])),
        ("commits", json!({})),
        ("sender", json!(["mallory", 1, "Bot"])),
        ("ref", json!(7)),
        ("after", json!(null)),
        ("created", json!("false")),
    ];
    for (number, (field, wrong)) in cases.into_iter().enumerate() {
        let mut payload = whole.clone();
        payload[field] = wrong.clone();
        let answer = service.deliver("push", &number.to_string(), payload.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400, "{field}: {wrong}");
    }
    assert_eq!(service.stored().await.len(), 0);
}
