//! The action of these tests: what it does is scripted, what it did is counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use declic_actions::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use serde_json::{Value, json};

/// What the action does the next time it is asked for an effect of that name.
#[derive(Debug, Clone)]
pub enum Act {
    /// Makes the effect and says so.
    Well,
    /// Fails for now, asking for a wait.
    Later(Option<Duration>),
    /// Fails for good.
    Never,
    /// Fails for good, having put back what was there.
    RolledBack,
    /// Makes the effect, but its answer is lost.
    EffectButFailed,
    /// Makes the effect and does not come back: time to kill the process.
    EffectButHangs,
    /// Saves its progress and does not come back.
    SavesAndHangs,
    /// Does nothing and does not come back.
    Hangs,
    /// Falls over.
    Panics,
    /// What it waits for is not there yet; it saves how often it looked.
    NotYet(Duration),
    /// Takes a while and makes the effect.
    Takes(Duration),
}

/// Counts effects and remembers calls.
#[derive(Default)]
pub struct Record {
    script: HashMap<String, VecDeque<Act>>,
    /// (effect, key) in the order in which they were made.
    pub effects: Vec<(String, String)>,
    /// Effects that are being asked for at this moment.
    pub running: Vec<String>,
    /// The most that ran at the same time.
    pub most: usize,
    /// (effect, attempt, saved, all other parameters) of every call of `run`.
    pub calls: Vec<(String, u32, Option<Value>, Value)>,
    /// How long its step had waited, at every look that came too early.
    pub waited: Vec<Duration>,
    /// Effects that `find` was asked for.
    pub sought: Vec<String>,
}

/// The action `test/do`: makes the effect that its parameter `effect` names.
pub struct Do {
    name: &'static str,
    record: Mutex<Record>,
}

static SPEC: Spec = Spec {
    name: "test/do",
    summary: "Makes an effect",
    class: Class::Plain,
    parameters: &[
        Field { name: "effect", shape: "string", summary: "Its name" },
        Field { name: "note", shape: "any?", summary: "Anything" },
    ],
    outputs: &[Field { name: "made", shape: "string", summary: "The effect" }],
    example: "effect: x",
    deadline: Duration::from_secs(5),
    repeat: Repeat::Found,
    repeat_how: "It is counted",
};

/// The same under the name that reports use.
static REPORT_SPEC: Spec = Spec {
    name: "github/deployment",
    summary: "Reports",
    class: Class::Plain,
    parameters: &[Field { name: "state", shape: "string", summary: "State" }],
    outputs: &[],
    example: "state: success",
    deadline: Duration::from_secs(5),
    repeat: Repeat::Found,
    repeat_how: "It is counted",
};

/// Runs while an effect is asked for.
struct Running<'a>(&'a Do, String);

impl<'a> Running<'a> {
    fn begin(of: &'a Do, effect: &str) -> Self {
        let mut record = of.record();
        record.running.push(effect.to_owned());
        record.most = record.most.max(record.running.len());
        Self(of, effect.to_owned())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut record = self.0.record();
        if let Some(index) = record.running.iter().position(|effect| *effect == self.1) {
            record.running.remove(index);
        }
    }
}

impl Do {
    pub fn new(name: &'static str) -> &'static Self {
        Box::leak(Box::new(Self { name, record: Mutex::default() }))
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn script(&self, effect: &str, acts: impl IntoIterator<Item = Act>) {
        self.record().script.insert(effect.to_owned(), acts.into_iter().collect());
    }

    /// How often that effect was made.
    pub fn made(&self, effect: &str) -> usize {
        self.record().effects.iter().filter(|(made, _)| made == effect).count()
    }

    /// The effects in the order in which they were made.
    pub fn effects(&self) -> Vec<String> {
        self.record().effects.iter().map(|(effect, _)| effect.clone()).collect()
    }

    fn effect_of(intent: &Intent) -> String {
        let params = &intent.call.params;
        params.get("effect").or_else(|| params.get("state")).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn effect(&self, intent: &Intent) -> Outcome {
        let effect = Self::effect_of(intent);
        self.record().effects.push((effect.clone(), intent.call.key.clone()));
        Outcome { outputs: json!({"made": effect}), summary: format!("made {effect}"), url: None }
    }
}

#[async_trait]
impl Action for Do {
    fn spec(&self) -> &'static Spec {
        if self.name == "test/do" { &SPEC } else { &REPORT_SPEC }
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        if call.params.get("effect").and_then(Value::as_str) == Some("unpreparable") {
            return Err(Why::new("invalid", "this cannot be prepared").into());
        }
        Ok(Intent { summary: "make it".to_owned(), plan: Value::Null, call })
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let effect = Self::effect_of(intent);
        let act = {
            let mut record = self.record();
            let params = Value::Object(intent.call.params.clone());
            record.calls.push((effect.clone(), context.attempt, context.saved.clone(), params));
            record.script.get_mut(&effect).and_then(VecDeque::pop_front).unwrap_or(Act::Well)
        };
        let _running = Running::begin(self, &effect);
        match act {
            Act::Well => Ok(self.effect(intent)),
            Act::Later(after) => Err(Failure::Retry { after, why: Why::new("unavailable", "503 of the target") }),
            Act::Never => Err(Failure::last("refused", "403 of the target")),
            Act::RolledBack => Err(Failure::Final { why: Why { rolled_back: true, ..Why::new("unhealthy", "never healthy") } }),
            Act::EffectButFailed => {
                self.effect(intent);
                Err(Failure::retry("cut", "the connection was cut"))
            }
            Act::EffectButHangs => {
                self.effect(intent);
                std::future::pending().await
            }
            Act::SavesAndHangs => {
                context.progress.save(json!({"operation": "op-1"})).await?;
                context.progress.stage("saved", "operation op-1");
                std::future::pending().await
            }
            Act::Hangs => std::future::pending().await,
            Act::Panics => panic!("scripted"),
            Act::NotYet(after) => {
                let looks = context.saved.as_ref().and_then(Value::as_u64).unwrap_or(0) + 1;
                context.progress.save(json!(looks)).await?;
                self.record().waited.push(context.waited);
                Err(Failure::NotYet { after, why: Why::new("waiting", format!("look {looks}: not yet")) })
            }
            Act::Takes(time) => {
                tokio::time::sleep(time).await;
                Ok(self.effect(intent))
            }
        }
    }

    async fn find(&self, _context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let effect = Self::effect_of(intent);
        let mut record = self.record();
        record.sought.push(effect.clone());
        let there = record.effects.contains(&(effect.clone(), intent.call.key.clone()));
        Ok(there.then(|| Outcome { outputs: json!({"made": effect}), summary: format!("found {effect}"), url: None }))
    }
}
