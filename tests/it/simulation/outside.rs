//! The world outside: targets that answer late, twice, or never, and remember what was done to them. It survives every crash.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, STOPPED, Spec, Why};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::chance::Chance;
use super::safeguards::Without;

/// What was done to a target.
#[derive(Debug, Clone)]
pub struct Effect {
    pub uses: &'static str,
    pub run: String,
    /// Name of the step within its rule.
    pub step: String,
    pub key: String,
    /// What a deploy made serve.
    pub commit: Option<String>,
}

#[derive(Default)]
pub struct State {
    pub effects: Vec<Effect>,
    /// What must not happen and did.
    pub faults: Vec<String>,
    /// Keys that were tried again before the time their target had asked for.
    pub hasty: Vec<String>,
    /// Runs that are at a step of a group now, and how many of their attempts.
    inside: BTreeMap<String, BTreeMap<String, u32>>,
    /// No attempt of this key before that.
    patience: BTreeMap<String, Instant>,
}

pub struct Outside {
    pub chance: Arc<Chance>,
    pub without: Without,
    /// No more accidents: what is left has to end well.
    pub calm: AtomicBool,
    /// People interfere: what they ask for comes at once, whatever a target asked for.
    pub by_hand: bool,
    state: Mutex<State>,
}

impl Outside {
    pub fn new(chance: Arc<Chance>, without: Without, by_hand: bool) -> Arc<Self> {
        Arc::new(Self { chance, without, calm: AtomicBool::new(false), by_hand, state: Mutex::default() })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::SeqCst)
    }

    /// An accident, unless there are none any more.
    fn one_in(&self, times: u64) -> bool {
        self.chance.one_in(times) && !self.is_calm()
    }

    fn is_made(&self, key: &str) -> bool {
        self.state().effects.iter().any(|effect| effect.key == key)
    }
}

/// Some calls are refused whenever they come.
fn is_refused(key: &str) -> bool {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish().is_multiple_of(16)
}

const fn spec(name: &'static str, class: Class, repeat: Repeat) -> Spec {
    Spec {
        name,
        summary: "Makes an effect outside",
        class,
        parameters: &[Field { name: "step", shape: "string", summary: "Name of the effect" }],
        outputs: &[Field { name: "made", shape: "string", summary: "The effect" }],
        example: "step: x",
        deadline: Duration::from_secs(3),
        repeat,
        repeat_how: "it is simulated",
    }
}

/// A target that knows a key again: a request that comes late or twice does no harm.
static PUT: Spec = spec("sim/put", Class::Plain, Repeat::Idempotent);
/// A target where one can look.
static POST: Spec = spec("sim/post", Class::Plain, Repeat::Found);
/// A target that says nothing.
static CALL: Spec = spec("sim/call", Class::Plain, Repeat::AtLeastOnce);
/// A service of which one version serves.
static DEPLOY: Spec = spec("sim/deploy", Class::Deploy, Repeat::Found);

/// One of these actions on one world.
pub struct Deed {
    spec: &'static Spec,
    outside: Arc<Outside>,
}

/// All of them. They live as long as the process, as actions do.
pub fn actions(outside: &Arc<Outside>) -> &'static [&'static dyn Action] {
    let deed = |spec| &*Box::leak(Box::new(Deed { spec, outside: Arc::clone(outside) })) as &dyn Action;
    Vec::leak([&PUT, &POST, &CALL, &DEPLOY].map(deed).to_vec())
}

fn text<'a>(intent: &'a Intent, name: &str) -> Option<&'a str> {
    intent.call.params.get(name).and_then(Value::as_str)
}

/// An attempt that is under way; gone with whoever made it.
struct Inside<'a>(&'a Outside, Option<(String, String)>);

impl<'a> Inside<'a> {
    fn begin(outside: &'a Outside, intent: &Intent) -> Self {
        let place = text(intent, "group").map(|group| (group.to_owned(), intent.call.origin.run.clone()));
        let mut state = outside.state();
        if let Some((group, run)) = &place {
            let inside = state.inside.entry(group.clone()).or_default();
            *inside.entry(run.clone()).or_default() += 1;
            let others: Vec<String> = inside.keys().filter(|other| *other != run).cloned().collect();
            if !others.is_empty() {
                state.faults.push(format!("{run} is at a step of {group} while {others:?} is"));
            }
        }
        drop(state);
        Self(outside, place)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let Some((group, run)) = &self.1 else { return };
        let mut state = self.0.state();
        let Some(inside) = state.inside.get_mut(group) else { return };
        if let Some(count) = inside.get_mut(run) {
            *count -= 1;
        }
        inside.retain(|_, count| *count > 0);
    }
}

impl Deed {
    fn make(&self, intent: &Intent) {
        make(&self.outside, self.spec, intent);
    }

    fn outcome(intent: &Intent) -> Outcome {
        let step = text(intent, "step").unwrap_or_default();
        Outcome { outputs: json!({ "made": step }), summary: format!("made {step}"), url: None }
    }

    /// The target may have asked for time; afterwards it may ask again.
    fn patience(&self, intent: &Intent) {
        let key = &intent.call.key;
        let mut state = self.outside.state();
        let early = state.patience.get(key).is_some_and(|until| Instant::now() < *until);
        if early && !self.outside.by_hand {
            state.hasty.push(key.clone());
        }
    }

    fn later(&self, intent: &Intent) -> Failure {
        let after = self.outside.one_in(2).then(|| self.outside.chance.moment(2000));
        if let Some(after) = after {
            self.outside.state().patience.insert(intent.call.key.clone(), Instant::now() + after);
        }
        Failure::Retry { after, why: Why::new("unavailable", "503 of the target") }
    }
}

fn make(outside: &Outside, spec: &'static Spec, intent: &Intent) {
    if spec.repeat == Repeat::Idempotent && outside.is_made(&intent.call.key) {
        return;
    }
    outside.state().effects.push(Effect {
        uses: spec.name,
        run: intent.call.origin.run.clone(),
        step: text(intent, "step").unwrap_or_default().to_owned(),
        key: intent.call.key.clone(),
        commit: text(intent, "commit").map(str::to_owned),
    });
}

#[async_trait]
impl Action for Deed {
    fn spec(&self) -> &'static Spec {
        self.spec
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        Ok(Intent { summary: "make it".to_owned(), plan: Value::Null, call })
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let outside = self.outside.as_ref();
        let _inside = Inside::begin(outside, intent);
        self.patience(intent);
        if outside.one_in(8) {
            context.progress.save(json!(context.attempt)).await?;
        }
        // On its way.
        sleep(outside.chance.moment(400)).await;
        if self.spec.class == Class::Deploy && context.stop.is_asked() && !outside.is_made(&intent.call.key) {
            return Err(Failure::last(STOPPED, "nothing is left of it"));
        }
        if is_refused(&intent.call.key) {
            return Err(Failure::last("refused", "403 of the target"));
        }
        if outside.one_in(16) {
            let why = Why::new("waiting", "not yet");
            return Err(Failure::NotYet { after: outside.chance.moment(3000), why });
        }
        if outside.one_in(8) {
            return Err(self.later(intent));
        }
        if self.spec.repeat == Repeat::Idempotent && outside.one_in(10) {
            // The request is delivered long after nobody waits for it any more.
            let (outside, spec, intent) = (Arc::clone(&self.outside), self.spec, intent.clone());
            let late = outside.chance.moment(20_000);
            drop(tokio::spawn(async move {
                sleep(late).await;
                make(&outside, spec, &intent);
            }));
            return std::future::pending().await;
        }
        self.make(intent);
        // The answer is on its way, and may be lost.
        sleep(outside.chance.moment(400)).await;
        if outside.one_in(8) {
            return Err(Failure::retry("unreachable", "the connection was cut"));
        }
        if outside.one_in(16) {
            return std::future::pending().await;
        }
        Ok(Self::outcome(intent))
    }

    async fn find(&self, _context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let outside = self.outside.as_ref();
        let _inside = Inside::begin(outside, intent);
        self.patience(intent);
        if outside.without == Without::Looking || self.spec.repeat != Repeat::Found {
            return Ok(None);
        }
        sleep(outside.chance.moment(200)).await;
        if outside.one_in(8) {
            return Err(self.later(intent));
        }
        Ok(outside.is_made(&intent.call.key).then(|| Self::outcome(intent)))
    }
}
