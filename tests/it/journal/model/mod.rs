//! Random sequences of commands against a model: the store and the model agree after every one of them.
//!
//! The model knows nothing of SQL, leases in columns or transition functions.

mod world;

use declic::journal::record::Selection;
use proptest::prelude::*;

use super::*;
use world::{At, Delivery, Model, Step};

/// What a random command does. Numbers pick among what there is, modulo its size.
#[derive(Debug, Clone)]
enum Command {
    Append(u8),
    Claim,
    /// So many runs, of a group of this mode.
    DecideRuns(u8, u8, Option<GroupMode>),
    DecideIgnored(u8),
    DecideRejected(u8),
    Begin(u8),
    Succeed(u8),
    Skip(u8),
    Fail(u8),
    Retry(u8),
    Wait(u8, u16),
    Release(u8),
    FinishWell(u8),
    FinishStopped(u8),
    Cancel(u8),
    RetryByHand(u8),
    Redrive,
    Pass(u16),
    Die,
}

/// What `concurrency.mode` can say; `parallel` is no group at all.
fn mode() -> impl Strategy<Value = Option<GroupMode>> {
    prop_oneof![
        2 => Just(None),
        1 => Just(Some(GroupMode::QueueAll)),
        1 => Just(Some(GroupMode::QueueLatest)),
        1 => Just(Some(GroupMode::Supersede)),
        1 => Just(Some(GroupMode::Skip)),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Command::Append),
        6 => Just(Command::Claim),
        5 => (any::<u8>(), 1..4_u8, mode()).prop_map(|(which, runs, mode)| Command::DecideRuns(which, runs, mode)),
        1 => any::<u8>().prop_map(Command::DecideIgnored),
        1 => any::<u8>().prop_map(Command::DecideRejected),
        6 => any::<u8>().prop_map(Command::Begin),
        4 => any::<u8>().prop_map(Command::Succeed),
        1 => any::<u8>().prop_map(Command::Skip),
        3 => any::<u8>().prop_map(Command::Fail),
        3 => any::<u8>().prop_map(Command::Retry),
        2 => (any::<u8>(), 1..90_u16).prop_map(|(which, seconds)| Command::Wait(which, seconds)),
        2 => any::<u8>().prop_map(Command::Release),
        4 => any::<u8>().prop_map(Command::FinishWell),
        2 => any::<u8>().prop_map(Command::FinishStopped),
        2 => any::<u8>().prop_map(Command::Cancel),
        2 => any::<u8>().prop_map(Command::RetryByHand),
        1 => Just(Command::Redrive),
        3 => (1..40_u16).prop_map(Command::Pass),
        1 => Just(Command::Die),
    ]
}

async fn drive(kind: Kind, commands: Vec<Command>) {
    let mut store = Store::of(kind).await;
    let mut model = Model::new(store.clock.load(Ordering::SeqCst));
    for command in commands {
        let shown = format!("{command:?}");
        store = one(store, &mut model, command).await;
        agree(&store, &model, &shown).await;
    }
}

async fn agree(store: &Store, model: &Model, after: &str) {
    for (id, delivery) in model.deliveries.values() {
        assert_eq!(store.delivery_state(id).await, model.state(delivery), "{id} after {after}");
    }
    for (id, expected) in &model.runs {
        let (run, _) = store.journal.run(id).await.expect("the store works").expect("the run is there");
        let found = (run.state, run.covered_by, run.cancelled);
        assert_eq!(found, (expected.state(), expected.covered.clone(), expected.cancelled), "{id} after {after}");
    }
}

async fn one(store: Store, model: &mut Model, command: Command) -> Store {
    match command {
        Command::Append(number) => append(&store, model, number).await,
        Command::Claim => claim(&store, model).await,
        Command::DecideRuns(which, runs, mode) => decide(&store, model, which, Ok((runs, mode))).await,
        Command::DecideIgnored(which) => decide(&store, model, which, Err(Delivery::Ignored)).await,
        Command::DecideRejected(which) => decide(&store, model, which, Err(Delivery::Rejected)).await,
        Command::Begin(which) => {
            step(&store, model, which, began(0), |step| matches!(step, Step::None | Step::Waiting).then_some(Step::Open)).await;
        }
        Command::Succeed(which) => {
            step(&store, model, which, succeeded(0), |step| (step == Step::Open).then_some(Step::Done)).await;
        }
        Command::Skip(which) => {
            let end = StepEnd::Skipped { why: Why::new("stopped", "not wanted any more") };
            let change = Change::Ended { place: place(0), label: label("a"), end };
            step(&store, model, which, change, |step| (step == Step::None || step.is_open()).then_some(Step::Skipped)).await;
        }
        Command::Retry(which) => {
            let why = Why::new("unavailable", "503");
            let change = Change::Retrying { place: place(0), state: AttemptState::Retry, why };
            step(&store, model, which, change, |step| (step == Step::Open).then_some(Step::Waiting)).await;
        }
        Command::Fail(which) => {
            let changes = vec![failed(0), finished(RunState::Failed)];
            let at = At::Over(RunState::Failed);
            ends(&store, model, which, changes, at, |step| step == Step::None || step.is_open()).await;
        }
        Command::FinishWell(which) => {
            let changes = vec![finished(RunState::Succeeded)];
            ends(&store, model, which, changes, At::Over(RunState::Succeeded), |step| !step.is_open()).await;
        }
        Command::FinishStopped(which) => {
            let changes = vec![finished(RunState::Cancelled)];
            ends(&store, model, which, changes, At::Over(RunState::Cancelled), |step| !step.is_open()).await;
        }
        Command::Wait(which, seconds) => {
            let due = model.now + i64::from(seconds) * 1000;
            let changes = vec![Change::Waits { after: Duration::from_secs(u64::from(seconds)) }];
            ends(&store, model, which, changes, At::Waiting(due), |_| true).await;
        }
        Command::Release(which) => {
            let now = model.now;
            ends(&store, model, which, vec![Change::Released], At::Waiting(now), |_| true).await;
        }
        Command::Cancel(which) => {
            let Some(id) = any_run(model, which) else { return store };
            let cancelled = store.journal.cancel(&id).await;
            match model.cancel(&id) {
                Some(over) => assert_eq!(cancelled, Ok(over), "{id}"),
                None => assert!(matches!(cancelled, Err(LedgerError::Refused(_))), "{id}: {cancelled:?}"),
            }
        }
        Command::RetryByHand(which) => {
            let Some(id) = any_run(model, which) else { return store };
            take_up(&store, model, &id).await;
        }
        Command::Redrive => {
            let dead = store.journal.dead(Selection { limit: 100, ..Selection::default() }).await.expect("the store works");
            assert_eq!(dead, model.dead());
            for id in dead {
                take_up(&store, model, &id).await;
            }
        }
        Command::Pass(seconds) => {
            store.pass(Duration::from_secs(u64::from(seconds)));
            model.now += i64::from(seconds) * 1000;
        }
        Command::Die => {
            model.die();
            let store = store.reopen().await;
            model.now = store.clock.load(Ordering::SeqCst);
            return store;
        }
    }
    store
}

fn any_run(model: &Model, which: u8) -> Option<String> {
    (!model.runs.is_empty()).then(|| model.runs.keys().nth(usize::from(which) % model.runs.len()).cloned()).flatten()
}

async fn take_up(store: &Store, model: &mut Model, id: &str) {
    let taken = store.journal.retry(id).await;
    if model.take_up(id) {
        assert_eq!(taken, Ok(()), "{id}");
    } else {
        assert!(matches!(taken, Err(LedgerError::Refused(_))), "{id}: {taken:?}");
    }
}

async fn append(store: &Store, model: &mut Model, number: u8) {
    let key = format!("d{number}");
    let appended = store.append(&key).await;
    let Some((id, before)) = model.deliveries.get(&key).cloned() else {
        let Appended::New { id } = appended else { panic!("{key} is new: {appended:?}") };
        model.arrivals.push(id.clone());
        model.deliveries.insert(key, (id, Delivery::Accepted));
        return;
    };
    match model.state(&before) {
        DeliveryState::Rejected => {
            assert_eq!(appended, Appended::Revived { id: id.clone() });
            model.deliveries.insert(key, (id, Delivery::Accepted));
        }
        DeliveryState::Failed => {
            assert_eq!(appended, Appended::Revived { id });
            let Delivery::Runs(ids) = before else { panic!("only runs fail in this model") };
            for id in ids.iter().filter(|id| model.runs[*id].at == At::Over(RunState::Failed)).cloned().collect::<Vec<_>>() {
                assert!(model.take_up(&id));
            }
        }
        _ => assert_eq!(appended, Appended::Duplicate { id }),
    }
}

async fn claim(store: &Store, model: &mut Model) {
    let claimed = store.claim("w").await;
    let until = model.now + 30_000;
    let mut expected: Vec<String> = Vec::new();
    for (id, delivery) in model.deliveries.values() {
        let due = match delivery {
            Delivery::Accepted => true,
            Delivery::Matching(_, until) => *until <= model.now,
            _ => false,
        };
        expected.extend(due.then(|| id.clone()));
    }
    let mut found: Vec<String> = claimed.deliveries.iter().map(|claimed| claimed.delivery.id.clone()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "deliveries that can be claimed");
    for claimed in claimed.deliveries {
        let number = model.leases.len();
        model.leases.push(claimed.lease);
        for (id, delivery) in model.deliveries.values_mut() {
            if *id == claimed.delivery.id {
                *delivery = Delivery::Matching(number, until);
            }
        }
    }
    let due: Vec<String> = model.runs.keys().filter(|id| model.is_due(id)).cloned().collect();
    assert_eq!(claimed.runs.len(), due.len().min(10), "runs that can be claimed: {due:?}");
    for claimed in claimed.runs {
        assert!(due.contains(&claimed.run.id), "{} was not due", claimed.run.id);
        let number = model.leases.len();
        model.leases.push(claimed.lease);
        model.run(&claimed.run.id).at = At::Running(number, until);
    }
}

async fn decide(store: &Store, model: &mut Model, which: u8, what: Result<(u8, Option<GroupMode>), Delivery>) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let group = |mode: GroupMode| Group { key: mode.word().to_owned(), mode };
    let verdict = match &what {
        Ok((count, mode)) => {
            let one = |index| NewRun { group: mode.map(group), ..run(&format!("r{index}")) };
            Verdict::Runs((0..*count).map(one).collect())
        }
        Err(Delivery::Ignored) => Verdict::Ignored,
        Err(_) => Verdict::Rejected("unreadable".to_owned()),
    };
    let decided = store.journal.decide(model.leases[number].clone(), decision(verdict)).await;
    let is_held = |delivery: &Delivery| matches!(delivery, Delivery::Matching(by, _) if *by == number);
    let held =
        model.deliveries.iter().find(|(_, (_, delivery))| is_held(delivery)).map(|(key, (id, _))| (key.clone(), id.clone()));
    let Some((key, id)) = held else {
        assert_eq!(decided, Err(LedgerError::Lost));
        return;
    };
    let ids = decided.expect("the lease is held");
    let arrival = model.arrivals.iter().position(|arrived| *arrived == id).expect("it arrived");
    let now = match what {
        Ok((_, mode)) => {
            ids.iter().for_each(|id| model.make(id, mode, arrival));
            Delivery::Runs(ids)
        }
        Err(otherwise) => otherwise,
    };
    model.deliveries.insert(key, (id, now));
}

/// A change of the one step of a run; `to` says what becomes of it, or that it must be refused.
async fn step(store: &Store, model: &mut Model, which: u8, change: Change, to: impl Fn(Step) -> Option<Step>) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let written = store.journal.write(model.leases[number].clone(), vec![change]).await;
    let Some(id) = model.held(number) else {
        assert_eq!(written, Err(LedgerError::Lost));
        return;
    };
    let run = model.run(&id);
    match to(run.step) {
        Some(next) => {
            let written = written.expect("it is a step along the diagram");
            assert_eq!((&written.stop, written.cancelled), (&run.covered, run.cancelled), "{id} learns whether it is wanted");
            run.step = next;
        }
        None => assert!(matches!(written, Err(LedgerError::Impossible(_))), "from {:?}: {written:?}", run.step),
    }
}

/// A write with which the run leaves the hands of its worker, if its step allows it.
async fn ends(store: &Store, model: &mut Model, which: u8, changes: Vec<Change>, to: At, allowed: impl Fn(Step) -> bool) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let written = store.journal.write(model.leases[number].clone(), changes).await;
    let Some(id) = model.held(number) else {
        assert_eq!(written, Err(LedgerError::Lost));
        return;
    };
    let run = model.run(&id);
    if !allowed(run.step) {
        assert!(matches!(written, Err(LedgerError::Impossible(_))), "from {:?}: {written:?}", run.step);
        return;
    }
    assert!(written.is_ok(), "{written:?}");
    run.at = to;
    if to == At::Over(RunState::Failed) {
        run.step = Step::Failed;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn store_and_model_agree_whatever_happens(commands in proptest::collection::vec(command(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(drive(Kind::Sqlite, commands));
    }
}

proptest! {
    // Every case has a schema of its own on the server.
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn store_and_model_agree_on_a_server_too(commands in proptest::collection::vec(command(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(drive(Kind::Postgres, commands));
    }
}
