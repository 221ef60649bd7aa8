//! What a flood of connections or deliveries may take from the running command: never the next sender's answer, and no memory without bound.
//!
//! `DECLIC_SOAK_SECONDS` says how long full load lasts (`make soak`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::binary::{Binary, WEBHOOK_SECRET, fresh};
use crate::support::service::{Answer, push, read_answer, request, signature};

/// Connections that each of the floods opens.
const IDLE: usize = 10_000;
/// What the test itself needs of its file descriptors.
const OWN: usize = 500;

fn signed(id: &str) -> Vec<u8> {
    let body = push("none");
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("X-GitHub-Event", "push".to_owned()),
        ("X-GitHub-Delivery", id.to_owned()),
        ("X-Hub-Signature-256", signature(WEBHOOK_SECRET, &body)),
    ];
    request("POST", "/hooks/github", &headers.map(|(name, value)| (name.to_owned(), value)), &body)
}

/// One delivery on a connection of its own, as a provider makes it: it gives up after ten seconds.
async fn deliver(address: &str, id: &str) -> Option<Answer> {
    let exchange = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        socket.write_all(&signed(id)).await.ok()?;
        read_answer(&mut socket).await
    };
    tokio::time::timeout(Duration::from_secs(10), exchange).await.ok()?
}

/// Opens so many connections that say `bytes` and then nothing.
async fn silent(address: &str, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        // Where the queue of the listener is full, opening takes a while: that is the flood's own affair.
        let opened = tokio::time::timeout(Duration::from_millis(20), TcpStream::connect(address)).await;
        if let Ok(Ok(mut socket)) = opened {
            let _ = socket.write_all(bytes).await;
            open.push(socket);
        }
    }
    open
}

/// How many connections this process may open beside what it needs itself.
fn flood() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = getrlimit(Resource::Nofile).current.map_or(IDLE, |allowed| usize::try_from(allowed).unwrap_or(IDLE));
    let flood = IDLE.min(allowed.saturating_sub(OWN));
    println!("{flood} connections: this process may open {allowed} files");
    flood
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_and_slow_connections_keep_no_sender_out() {
    let folder = fresh();
    let service = Binary::start(folder.path(), |_| {});
    let before = service.status("VmRSS");
    let flood = flood();
    let idle = silent(&service.address, flood / 2, b"").await;
    let slow = silent(&service.address, flood / 2, b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-Slow").await;
    assert!(idle.len() + slow.len() > flood / 2, "the flood was one: {} and {}", idle.len(), slow.len());
    for number in 0..20 {
        let answer = deliver(&service.address, &format!("through-{number}")).await;
        assert_eq!(answer.map(|answer| answer.status), Some(202), "{number}\n{}", service.log());
    }
    let each = service.status("VmHWM").saturating_sub(before) * 1024 / 4096;
    println!("at most {each} bytes of memory for each connection that was let in");
    assert!(each < 96 * 1024, "a connection that says next to nothing holds {each} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_makes_room_and_goes_on() {
    let folder = fresh();
    let service = Binary::start(folder.path(), |_| {});
    service.limit_descriptors(service.descriptors() + 20);
    let held = silent(&service.address, 120, b"").await;
    for number in 0..5 {
        let answer = deliver(&service.address, &format!("through-{number}")).await;
        assert_eq!(answer.map(|answer| answer.status), Some(202), "{number}\n{}", service.log());
    }
    assert!(service.log().contains("could not be accepted"), "there were none left:\n{}", service.log());
    drop(held);
    let again = deliver(&service.address, "afterwards").await;
    assert_eq!(again.map(|answer| answer.status), Some(202), "{}", service.log());
}

#[expect(clippy::disallowed_methods, reason = "the caller of the test says how long it runs")]
fn seconds() -> u64 {
    std::env::var("DECLIC_SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(12)
}

/// Full load over 32 connections. Answers the resident memory (kB) at each half second, and how many deliveries were taken in.
async fn soak(service: &Binary, load: Duration) -> (Vec<u64>, u64) {
    let taken = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + load;
    let senders: Vec<_> = (0..32)
        .map(|sender| {
            let (address, taken) = (service.address.clone(), Arc::clone(&taken));
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(&address).await.expect("it listens");
                for number in 0_u64.. {
                    if Instant::now() > until {
                        break;
                    }
                    socket.write_all(&signed(&format!("{sender}-{number}"))).await.expect("an open connection");
                    let answer = read_answer(&mut socket).await.expect("an answer");
                    assert!(matches!(answer.status, 202 | 429), "{}", answer.status);
                    taken.fetch_add(u64::from(answer.status == 202), Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut memory = Vec::new();
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(500)).await;
        memory.push(service.status("VmRSS"));
    }
    for sender in senders {
        sender.await.expect("no sender failed");
    }
    (memory, taken.load(Ordering::Relaxed))
}

/// What is held after the first third must not grow by more than a fifth and what allocators keep back.
fn stays_flat(what: &str, memory: &[u64], taken: u64) {
    let (begin, rest) = memory.split_at(memory.len() / 3);
    let (early, late) = (begin.iter().max().copied().unwrap_or(0), rest.iter().max().copied().unwrap_or(0));
    println!("{what}: {taken} deliveries taken in; memory {} MiB in the first third, {} MiB later", early / 1024, late / 1024);
    assert!(taken > 0, "{what}: nothing was taken in");
    assert!(late <= early + early / 5 + 8 * 1024, "{what}: memory grows: {memory:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_flat_under_full_load_and_with_a_slow_disk() {
    for (what, slower) in [("full load", "0"), ("slow disk", "40")] {
        let folder = fresh();
        let service = Binary::start(folder.path(), |command| {
            command.env("DECLIC_DISK_SLOWER", slower);
        });
        let (memory, taken) = soak(&service, Duration::from_secs(seconds()) / 2).await;
        stays_flat(what, &memory, taken);
    }
}
