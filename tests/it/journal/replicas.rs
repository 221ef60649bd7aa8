//! Several replicas on one server: who gets what, and what happens when the server goes away.

use std::collections::BTreeSet;

use declic::journal::postgres::Certificate;
use declic_actions::secret::Secret;

use super::*;

async fn replicas(count: usize) -> (String, Vec<Arc<dyn Journal>>) {
    let schema = server::shared().new_schema();
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(replica(&schema, None, &Faults::default()).await);
    }
    (schema, found)
}

fn claim(worker: &str, deliveries: usize, runs: usize) -> Claim {
    Claim { worker: worker.to_owned(), lease: LEASE, deliveries: deliveries.into(), runs: runs.into(), only: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_the_tables_once() {
    let schema = server::shared().new_schema();
    let mut starting = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let schema = schema.clone();
        starting.spawn(async move { replica(&schema, None, &Faults::default()).await });
    }
    let replicas = starting.join_all().await;
    for (index, journal) in replicas.iter().enumerate() {
        assert!(matches!(journal.append(delivery(&format!("d{index}"))).await, Ok(Appended::New { .. })));
    }
    assert_eq!(replicas[0].deliveries(Listing { limit: 100, ..Listing::default() }).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_all_replicas_at_once_is_new_for_one() {
    let (_, replicas) = replicas(3).await;
    let mut sending = tokio::task::JoinSet::new();
    for index in 0..100 {
        for journal in &replicas {
            let journal = Arc::clone(journal);
            sending.spawn(async move { journal.append(delivery(&format!("d{index}"))).await });
        }
    }
    let answers = sending.join_all().await;
    let new: BTreeSet<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(Appended::New { id }) => Some(id.clone()),
            _ => None,
        })
        .collect();
    let told: BTreeSet<_> = answers.iter().map(|answer| id_of(answer.as_ref().expect("the store works")).to_owned()).collect();
    assert_eq!((answers.iter().filter(|answer| matches!(answer, Ok(Appended::New { .. }))).count(), new.len()), (100, 100));
    assert_eq!(told, new, "duplicates are told of the first one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_claim_at_once_share_everything_and_nothing_is_claimed_twice() {
    let (_, replicas) = replicas(3).await;
    for index in 0..60 {
        replicas[0].append(delivery(&format!("d{index}"))).await.unwrap();
    }
    let mut working = tokio::task::JoinSet::new();
    for (number, journal) in replicas.iter().enumerate() {
        let journal = Arc::clone(journal);
        working.spawn(async move {
            let mut mine = Vec::new();
            loop {
                let claimed = journal.claim(claim(&format!("w{number}"), 5, 0)).await.unwrap().deliveries;
                if claimed.is_empty() {
                    return mine;
                }
                for delivery in claimed {
                    let group = format!("g{}", mine.len() % 3);
                    let group = Some(Group { key: group, mode: GroupMode::QueueAll });
                    let runs = vec![NewRun { group, ..run("deploy") }];
                    mine.extend(journal.decide(delivery.lease, decision(Verdict::Runs(runs))).await.unwrap());
                }
            }
        });
    }
    let runs: Vec<String> = working.join_all().await.into_iter().flatten().collect();
    assert_eq!((runs.len(), runs.iter().collect::<BTreeSet<_>>().len()), (60, 60));

    // Three groups, three replicas: never two runs of a group at once, and all are done.
    let running = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut working = tokio::task::JoinSet::new();
    for (number, journal) in replicas.iter().enumerate() {
        let (journal, running, done) = (Arc::clone(journal), Arc::clone(&running), Arc::clone(&done));
        working.spawn(async move {
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            while done.load(Ordering::SeqCst) < 60 {
                assert!(std::time::Instant::now() < deadline, "all runs end: {} did", done.load(Ordering::SeqCst));
                for claimed in journal.claim(claim(&format!("w{number}"), 0, 4)).await.unwrap().runs {
                    let group = claimed.run.group.clone().expect("all have one").key;
                    assert!(running.lock().unwrap().insert(group.clone()), "two of {group} at once");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    running.lock().unwrap().remove(&group);
                    let rest = vec![began(0), succeeded(0), finished(RunState::Succeeded)];
                    journal.write(claimed.lease, rest).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }
    working.join_all().await;
    let counts = replicas[0].counts(Timestamp(0)).await.unwrap();
    assert_eq!(counts.runs, [("succeeded".to_owned(), 60)]);
    assert_eq!(counts.deliveries, [("completed".to_owned(), 60)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_step_has_to_itself_is_in_one_hand_over_all_replicas() {
    let (_, replicas) = replicas(3).await;
    let mut runs = Vec::new();
    for index in 0..12 {
        replicas[0].append(delivery(&format!("d{index}"))).await.unwrap();
        let waiting = replicas[0].claim(claim("m", 1, 0)).await.unwrap().deliveries.remove(0);
        replicas[0].decide(waiting.lease, decision(Verdict::Runs(vec![run("deploy")]))).await.unwrap();
        runs.extend(replicas[index % 3].claim(claim("w", 0, 1)).await.unwrap().runs);
    }
    let mut taking = tokio::task::JoinSet::new();
    for (index, claimed) in runs.into_iter().enumerate() {
        let journal = Arc::clone(&replicas[index % 3]);
        taking.spawn(async move {
            let Change::Began { place, label, intent, .. } = began(0) else { panic!("it begins") };
            let change = Change::Began { place, label, intent, exclusive: Some("web_staging".to_owned()) };
            journal.write(claimed.lease, vec![change]).await
        });
    }
    let answers = taking.join_all().await;
    let taken = answers.iter().filter(|answer| matches!(answer, Err(LedgerError::Taken(_)))).count();
    assert_eq!((answers.iter().filter(|answer| answer.is_ok()).count(), taken), (1, 11), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_end_by_the_servers_clock() {
    let (_, replicas) = replicas(2).await;
    replicas[0].append(delivery("d1")).await.unwrap();
    let short = Claim { lease: Duration::from_millis(700), ..claim("w1", 1, 0) };
    let first = replicas[0].claim(short).await.unwrap().deliveries.remove(0);
    assert!(replicas[1].claim(claim("w2", 1, 0)).await.unwrap().deliveries.is_empty(), "it is leased");
    tokio::time::sleep(Duration::from_millis(800)).await;
    let second = replicas[1].claim(claim("w2", 1, 0)).await.unwrap().deliveries.remove(0);
    assert_eq!(second.claims, 2);
    assert_eq!(replicas[0].decide(first.lease, decision(Verdict::Ignored)).await, Err(LedgerError::Lost));
    replicas[1].decide(second.lease, decision(Verdict::Ignored)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_hears_of_what_another_one_took_in() {
    let (_, replicas) = replicas(2).await;
    let mut hints = replicas[1].hints().expect("there are other replicas");
    // It says so once when it begins to listen.
    tokio::time::timeout(Duration::from_secs(10), hints.changed()).await.expect("it listens").unwrap();
    hints.mark_unchanged();
    replicas[0].append(delivery("d1")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), hints.changed()).await.expect("it is told").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_that_a_server_cannot_hold_are_kept_all_the_same() {
    let (_, replicas) = replicas(1).await;
    let journal = &replicas[0];
    let odd = NewDelivery { event_type: "pu\0sh".to_owned(), trace: "x".repeat(5000), ..delivery("d\x001") };
    let appended = journal.append(odd.clone()).await.unwrap();
    assert!(matches!(journal.append(odd).await, Ok(Appended::Duplicate { id }) if id == id_of(&appended)));
    let waiting = journal.claim(claim("m", 1, 0)).await.unwrap().deliveries.remove(0);
    let long = "n\0".repeat(4000);
    let line = declic::journal::record::Line {
        repository: long.clone(),
        reference: long.clone(),
        before: None,
        after: "a".to_owned(),
        forced: false,
    };
    let about = declic::journal::record::About { event: None, repository: Some(long.clone()), title: Some(long.clone()) };
    let runs = vec![NewRun {
        share: long.clone(),
        group: Some(Group { key: long.clone(), mode: GroupMode::QueueLatest }),
        ..run("deploy")
    }];
    let decision = Decision { line: Some(line), about, ..decision(Verdict::Runs(runs)) };
    journal.decide(waiting.lease, decision).await.unwrap();
    let claimed = journal.claim(claim("w", 0, 1)).await.unwrap().runs.remove(0);
    journal.write(claimed.lease, vec![began(0), succeeded(0), finished(RunState::Succeeded)]).await.unwrap();
}

/// A server of its own, because it is stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_loses_nothing_and_is_found_again() {
    let own = tokio::task::spawn_blocking(server::Server::start).await.unwrap();
    let own = Arc::new(own);
    let address = Address::read(&own.url()).unwrap();
    let options = postgres::Options { schema: "own".to_owned(), connections: 4, ..postgres::Options::new(address) };
    let journal: Arc<dyn Journal> = Arc::new(Postgres::open(options).await.unwrap());
    journal.append(delivery("before")).await.unwrap();
    let tell = |command: &'static str| {
        let own = Arc::clone(&own);
        tokio::task::spawn_blocking(move || own.tell(command))
    };
    for (round, end) in ["stop", "crash"].into_iter().enumerate() {
        let writing = {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                let mut refused = 0;
                for index in 0..100_000 {
                    let id = format!("r{round}-{index}");
                    match journal.append(delivery(&id)).await {
                        Ok(_) => kept.push(id),
                        Err(JournalError::Down(_)) => refused += 1,
                        Err(JournalError::Full) => panic!("the queue is not full"),
                    }
                    if refused > 0 {
                        break;
                    }
                }
                kept
            })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        tell(end).await.unwrap();
        let kept = writing.await.unwrap();
        assert!(!kept.is_empty());
        assert!(matches!(journal.append(delivery("while")).await, Err(JournalError::Down(_))));
        assert!(!journal.works());
        assert!(journal.probe().await.is_err());
        tell("start").await.unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while journal.probe().await.is_err() {
            assert!(std::time::Instant::now() < deadline, "the store comes back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(journal.works());
        assert_eq!(journal.missing("github", kept).await.unwrap(), [""; 0], "what was acknowledged is there after `{end}`");
    }
    assert!(matches!(journal.append(delivery("before")).await, Ok(Appended::Duplicate { .. })));
    drop(journal);
    tokio::task::spawn_blocking(move || drop(own)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_certificates_and_passwords_are_used_as_the_settings_say() {
    let server = server::shared();
    let schema = server.new_schema();
    let client = server.connect().await;
    let sql = "DO $$ BEGIN CREATE ROLE secured LOGIN PASSWORD 'open sesame'; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
               GRANT CREATE ON DATABASE postgres TO secured";
    client.batch_execute(sql).await.unwrap();
    let open = async |address: Address, ca: Option<std::path::PathBuf>, schema: &str| {
        let options = postgres::Options { schema: schema.to_owned(), ca, ..postgres::Options::new(address) };
        Postgres::open(options).await.map(drop).map_err(|error| error.to_string())
    };
    let socket = Address::read(&server.socket_url()).unwrap();
    assert_eq!(open(socket, None, &schema).await, Ok(()));

    let right = Secret::new("open sesame");
    let secured = |host: &str, certificate| Address::read(&server.secured_url(host)).unwrap().with_certificate(certificate);
    let schema = server.new_schema();
    let authority = || Some(server.authority());
    let full = secured("localhost", Certificate::Full).with_password(&right);
    assert_eq!(open(full.clone(), authority(), &schema).await, Ok(()), "issuer and name are right");
    let by_number = secured("127.0.0.1", Certificate::Issuer).with_password(&right);
    assert_eq!(open(by_number, authority(), &schema).await, Ok(()), "the name need not be right");
    for (address, ca, says) in [
        (secured("127.0.0.1", Certificate::Full).with_password(&right), authority(), "certificate"),
        (full.clone(), Some(server.stranger()), "certificate"),
        (secured("127.0.0.1", Certificate::Issuer).with_password(&right), Some(server.stranger()), "certificate"),
        (secured("localhost", Certificate::Full).with_password(&Secret::new("mellon")), authority(), "password"),
        (secured("localhost", Certificate::Off).with_password(&right), None, "rejects"),
    ] {
        let why = open(address, ca, &schema).await.expect_err(says);
        assert!(why.contains(says) && !why.contains("sesame") && !why.contains("mellon"), "{says}: {why}");
    }
}
