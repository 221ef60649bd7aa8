//! Random sequences of commands against a model: the store and the model agree after every one of them.
//!
//! The model knows nothing of SQL, leases in columns or transition functions: it is the state diagram told a second time, from the
//! point of view of somebody who watches.

use std::collections::BTreeMap;

use declic::journal::record::Lease;
use proptest::prelude::*;

use super::*;

/// What a random command does. Numbers pick among what there is, modulo its size.
#[derive(Debug, Clone)]
enum Command {
    Append(u8),
    Claim,
    DecideRuns(u8, u8),
    DecideIgnored(u8),
    DecideRejected(u8),
    Begin(u8),
    Succeed(u8),
    Fail(u8),
    Retry(u8),
    Wait(u8, u16),
    Release(u8),
    FinishWell(u8),
    Pass(u16),
    Die,
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => (0..6_u8).prop_map(Command::Append),
        6 => Just(Command::Claim),
        4 => (any::<u8>(), 1..4_u8).prop_map(|(which, runs)| Command::DecideRuns(which, runs)),
        1 => any::<u8>().prop_map(Command::DecideIgnored),
        1 => any::<u8>().prop_map(Command::DecideRejected),
        6 => any::<u8>().prop_map(Command::Begin),
        4 => any::<u8>().prop_map(Command::Succeed),
        3 => any::<u8>().prop_map(Command::Fail),
        3 => any::<u8>().prop_map(Command::Retry),
        2 => (any::<u8>(), 1..90_u16).prop_map(|(which, seconds)| Command::Wait(which, seconds)),
        2 => any::<u8>().prop_map(Command::Release),
        4 => any::<u8>().prop_map(Command::FinishWell),
        3 => (1..40_u16).prop_map(Command::Pass),
        1 => Just(Command::Die),
    ]
}

#[derive(Debug, Clone, PartialEq)]
enum Delivery {
    Accepted,
    /// By the claim of that number, until then.
    Matching(usize, i64),
    Ignored,
    Rejected,
    Runs(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    None,
    Open,
    Waiting,
    Failed,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Run {
    Queued,
    /// By the claim of that number, until then.
    Running(usize, i64),
    /// Due then.
    Waiting(i64),
    Succeeded,
    Failed,
}

struct Model {
    now: i64,
    deliveries: BTreeMap<String, (String, Delivery)>,
    runs: BTreeMap<String, (Run, Step)>,
    /// Every lease ever given, by number of claim; old ones are used again to see that they are refused.
    leases: Vec<Lease>,
}

impl Model {
    fn state(&self, delivery: &Delivery) -> DeliveryState {
        match delivery {
            Delivery::Accepted => DeliveryState::Accepted,
            Delivery::Matching(..) => DeliveryState::Matching,
            Delivery::Ignored => DeliveryState::Ignored,
            Delivery::Rejected => DeliveryState::Rejected,
            Delivery::Runs(ids) => {
                let states: Vec<Run> = ids.iter().map(|id| self.runs[id].0).collect();
                if states.iter().any(|state| !matches!(state, Run::Succeeded | Run::Failed)) {
                    DeliveryState::Running
                } else if states.contains(&Run::Failed) {
                    DeliveryState::Failed
                } else {
                    DeliveryState::Completed
                }
            }
        }
    }

    /// The run this lease is the current one of.
    fn held(&self, lease: usize) -> Option<String> {
        self.runs.iter().find(|(_, (run, _))| matches!(run, Run::Running(by, _) if *by == lease)).map(|(id, _)| id.clone())
    }
}

async fn drive(kind: Kind, commands: Vec<Command>) {
    let mut store = Store::of(kind).await;
    let mut model =
        Model { now: store.clock.load(Ordering::SeqCst), deliveries: BTreeMap::new(), runs: BTreeMap::new(), leases: Vec::new() };
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
    for (id, (run, _)) in &model.runs {
        let state = match run {
            Run::Queued => RunState::Queued,
            Run::Running(..) => RunState::Running,
            Run::Waiting(_) => RunState::Waiting,
            Run::Succeeded => RunState::Succeeded,
            Run::Failed => RunState::Failed,
        };
        assert_eq!(store.run_state(id).await, state, "{id} after {after}");
    }
}

async fn one(store: Store, model: &mut Model, command: Command) -> Store {
    match command {
        Command::Append(number) => append(&store, model, number).await,
        Command::Claim => claim(&store, model).await,
        Command::DecideRuns(which, runs) => decide(&store, model, which, Some(runs), Delivery::Accepted).await,
        Command::DecideIgnored(which) => decide(&store, model, which, None, Delivery::Ignored).await,
        Command::DecideRejected(which) => decide(&store, model, which, None, Delivery::Rejected).await,
        Command::Begin(which) => {
            step(&store, model, which, vec![began(0)], |step| matches!(step, Step::None | Step::Waiting).then_some(Step::Open))
                .await;
        }
        Command::Succeed(which) => {
            step(&store, model, which, vec![succeeded(0)], |step| (step == Step::Open).then_some(Step::Done)).await
        }
        Command::Retry(which) => {
            let why = Why::new("unavailable", "503");
            let change = Change::Retrying { place: place(0), state: AttemptState::Retry, why };
            step(&store, model, which, vec![change], |step| (step == Step::Open).then_some(Step::Waiting)).await;
        }
        Command::Fail(which) => {
            let changes = vec![failed(0), finished(RunState::Failed)];
            ends(&store, model, which, changes, Run::Failed, |step| step != Step::Done && step != Step::Failed).await;
        }
        Command::FinishWell(which) => {
            let changes = vec![finished(RunState::Succeeded)];
            ends(&store, model, which, changes, Run::Succeeded, |step| matches!(step, Step::None | Step::Done)).await;
        }
        Command::Wait(which, seconds) => {
            let due = model.now + i64::from(seconds) * 1000;
            let changes = vec![Change::Waits { after: Duration::from_secs(u64::from(seconds)) }];
            ends(&store, model, which, changes, Run::Waiting(due), |_| true).await;
        }
        Command::Release(which) => {
            let now = model.now;
            ends(&store, model, which, vec![Change::Released], Run::Waiting(now), |_| true).await;
        }
        Command::Pass(seconds) => {
            store.pass(Duration::from_secs(u64::from(seconds)));
            model.now += i64::from(seconds) * 1000;
        }
        Command::Die => {
            // Whoever is alone on a file knows that the leases of the dead are over; on a server they have to end.
            for (run, _) in model.runs.values_mut() {
                if let Run::Running(_, until) = run {
                    *until = 0;
                }
            }
            for (_, delivery) in model.deliveries.values_mut() {
                if let Delivery::Matching(_, until) = delivery {
                    *until = 0;
                }
            }
            let store = store.reopen().await;
            model.now = store.clock.load(Ordering::SeqCst);
            return store;
        }
    }
    store
}

async fn append(store: &Store, model: &mut Model, number: u8) {
    let key = format!("d{number}");
    let appended = store.append(&key).await;
    let Some((id, before)) = model.deliveries.get(&key).cloned() else {
        let Appended::New { id } = appended else { panic!("{key} is new: {appended:?}") };
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
            for id in ids {
                let Some(entry) = model.runs.get_mut(&id) else { panic!("{id} is known") };
                if entry.0 == Run::Failed {
                    *entry = (Run::Queued, if entry.1 == Step::Failed { Step::Waiting } else { entry.1 });
                }
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
    let due = |run: &Run| match run {
        Run::Queued => true,
        Run::Running(_, until) => *until <= model.now,
        Run::Waiting(due) => *due <= model.now,
        Run::Succeeded | Run::Failed => false,
    };
    let expected = model.runs.values().filter(|(run, _)| due(run)).count().min(10);
    assert_eq!(claimed.runs.len(), expected, "runs that can be claimed");
    for claimed in claimed.runs {
        assert!(due(&model.runs[&claimed.run.id].0), "{} was not due", claimed.run.id);
        let number = model.leases.len();
        model.leases.push(claimed.lease);
        if let Some((run, _)) = model.runs.get_mut(&claimed.run.id) {
            *run = Run::Running(number, until);
        }
    }
}

async fn decide(store: &Store, model: &mut Model, which: u8, runs: Option<u8>, otherwise: Delivery) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let verdict = match (runs, &otherwise) {
        (Some(count), _) => Verdict::Runs((0..count).map(|index| run(&format!("r{index}"))).collect()),
        (None, Delivery::Ignored) => Verdict::Ignored,
        (None, _) => Verdict::Rejected("unreadable".to_owned()),
    };
    let decided = store.journal.decide(model.leases[number].clone(), decision(verdict)).await;
    let held = model.deliveries.values_mut().find(|(_, delivery)| matches!(delivery, Delivery::Matching(by, _) if *by == number));
    match held {
        None => assert_eq!(decided, Err(LedgerError::Lost)),
        Some((_, delivery)) => {
            let ids = decided.expect("the lease is held");
            for id in &ids {
                model.runs.insert(id.clone(), (Run::Queued, Step::None));
            }
            *delivery = if runs.is_some() { Delivery::Runs(ids) } else { otherwise };
        }
    }
}

/// A change of the one step of a run; `to` says what becomes of it, or that it must be refused.
async fn step(store: &Store, model: &mut Model, which: u8, changes: Vec<Change>, to: impl Fn(Step) -> Option<Step>) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let written = store.journal.write(model.leases[number].clone(), changes).await;
    let Some(id) = model.held(number) else {
        assert_eq!(written, Err(LedgerError::Lost));
        return;
    };
    let Some((_, step)) = model.runs.get_mut(&id) else { panic!("{id} is known") };
    match to(*step) {
        Some(next) => {
            assert!(written.is_ok(), "{written:?}");
            *step = next;
        }
        None => assert!(matches!(written, Err(LedgerError::Impossible(_))), "from {step:?}: {written:?}"),
    }
}

/// A write with which the run leaves the hands of its worker, if its step allows it.
async fn ends(store: &Store, model: &mut Model, which: u8, changes: Vec<Change>, to: Run, allowed: impl Fn(Step) -> bool) {
    if model.leases.is_empty() {
        return;
    }
    let number = usize::from(which) % model.leases.len();
    let written = store.journal.write(model.leases[number].clone(), changes).await;
    let Some(id) = model.held(number) else {
        assert_eq!(written, Err(LedgerError::Lost));
        return;
    };
    let Some((run, step)) = model.runs.get_mut(&id) else { panic!("{id} is known") };
    if !allowed(*step) {
        assert!(matches!(written, Err(LedgerError::Impossible(_))), "from {step:?}: {written:?}");
        return;
    }
    assert!(written.is_ok(), "{written:?}");
    *run = to;
    if to == Run::Failed {
        *step = Step::Failed;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn store_and_model_agree_whatever_happens(commands in proptest::collection::vec(command(), 1..80)) {
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
