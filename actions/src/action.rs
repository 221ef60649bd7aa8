//! The contract of an action: what it declares, what it is given, what it answers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::github::GitHub;
use crate::google::Google;
use crate::http::Http;
pub use crate::kinds::streak::Streak;
use crate::secret::Secret;

/// One parameter or output. `shape` is written in the shape language of rule files (`string`, `int?`, `a|b`, `[T]`,
/// `{ k: T }`, `{ "*": T }`, and the positions `target`, `connection`, `duration`, `secret`, `markdown`, `mrkdwn`, `post`, `plain`, `url-path`).
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The key in `with:` or in `outputs`.
    pub name: &'static str,
    /// Its type; the rule checker, the JSON Schema and the reference are made from it.
    pub shape: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
}

/// What an action can do to a running service; decides who may start it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes what a service serves: strangers and forks may never start it.
    Deploy,
    /// Everything else.
    Plain,
}

/// What happens if the process dies between the effect and its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice is doing it once (a PUT, a named resource).
    Idempotent,
    /// `find` sees whether the effect is there before it is repeated.
    Found,
    /// The target offers no way to tell; it may happen twice after a crash.
    AtLeastOnce,
}

/// The list entry of an action: everything that checker, schema, reference, metrics and tests know of it.
#[derive(Debug)]
pub struct Spec {
    /// `service/operation`, as in `uses:`.
    pub name: &'static str,
    /// One sentence for the reference.
    pub summary: &'static str,
    /// Who may start it.
    pub class: Class,
    /// Parameters of `with:` in the order of the reference.
    pub parameters: &'static [Field],
    /// What later steps can read.
    pub outputs: &'static [Field],
    /// A `with:` block as YAML, checked by a test.
    pub example: &'static str,
    /// The step's deadline where the rule sets no `timeout:`.
    pub deadline: Duration,
    /// Behaviour under a crash.
    pub repeat: Repeat,
    /// How that is reached, one sentence for the reference.
    pub repeat_how: &'static str,
}

/// Where a call comes from: for messages, markers and the API calls that belong to the repository of the event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Id of the delivery in the journal.
    pub delivery: String,
    /// Id of the run.
    pub run: String,
    /// Name of the rule.
    pub rule: String,
    /// Id of the step, or its number from 1 where it has none.
    pub step: String,
    /// `owner/name` of the GitHub repository the event came from.
    pub repository: Option<String>,
    /// Commit the event is about (full hexadecimal id).
    pub sha: Option<String>,
    /// Issue or pull request the event is about.
    pub number: Option<u64>,
    /// Who caused the event: a GitHub login or the id of a Slack user, where the event names one.
    #[serde(default)]
    pub actor: Option<String>,
    /// Comment the event is about, of the issue or pull request.
    #[serde(default)]
    pub comment: Option<u64>,
    /// Trace id of the delivery: 32 hexadecimal digits.
    #[serde(default)]
    pub trace: Option<String>,
    /// How many effects of ours led to the event, one after the other, as far as they could carry it.
    #[serde(default)]
    pub hops: u32,
    /// Address of the run in the console, for links back.
    pub run_url: Option<String>,
}

/// What a step asks for, with everything rendered. Pure data without secrets: it is journaled as the intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Delivery + rule + step: the same on every attempt, different for every other call. `[a-z0-9-]`, at most 63 characters.
    pub key: String,
    /// The rendered `with:`, already of the declared types.
    pub params: Map<String, Value>,
    /// The operator's settings of the target that `with.target` names, of the kind in `type`.
    pub target: Option<Value>,
    /// The operator's settings of the connection that `with.connection` names, of the kind in `type`.
    pub connection: Option<Value>,
    /// Where it comes from.
    pub origin: Origin,
}

/// A call that `prepare` accepted, plus what the action derived from it (a revision name, a request).
/// Written to the journal before `run` is called and given again, unchanged, to every later attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The call as it was made.
    pub call: Call,
    /// What `prepare` derived; opaque to everybody else.
    pub plan: Value,
    /// What a dry run shows: one line, safe to print.
    pub summary: String,
}

/// The clients that actions share; made once from the settings.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The only HTTP client.
    pub http: Http,
    /// Google's base addresses and tokens.
    pub google: Google,
    /// GitHub's base address and tokens.
    pub github: GitHub,
}

/// Name of the address for further answers to the delivery among [`Context::secrets`], for actions of the provider that gave it. No entry of
/// `secrets:` can have it.
pub const RESPONSE_URL: &str = ":response-url";

/// What `run` and `find` may use besides the intent.
pub struct Context<'a> {
    /// Clients for everything outbound.
    pub clients: &'a Clients,
    /// The step's deadline: no call may be waited for beyond it.
    pub deadline: Instant,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// No attempt follows, whatever this one comes to: the time for tidying up is now.
    pub is_last: bool,
    /// What an earlier attempt (perhaps of a process that died) saved with [`Progress::save`].
    pub saved: Option<Value>,
    /// Where progress goes.
    pub progress: &'a dyn Progress,
    /// Secrets that the call's parameters or connection name, and no others.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// Says when the run is no longer wanted. An action that can put things back does so and fails with [`STOPPED`]; others go on.
    pub stop: &'a Stop,
    /// How long ago the step first began, by the store's clock: it goes on while the step waits and over restarts.
    pub waited: Duration,
    /// What a person said to the question that the step asks.
    pub answer: Option<&'a Answer>,
    /// How often what the run tells has happened, if its rule tells it once and edits that message.
    pub streak: Option<&'a Streak>,
}

/// What a person said to a run that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Yes or no.
    pub approved: bool,
    /// Where it was said: `api`, `slack`, `github`.
    pub via: String,
    /// Who said it, in the words of that place: a login, a user's id.
    pub by: String,
    /// What they added.
    pub comment: Option<String>,
}

/// `code` of a step that ended early because its run was no longer wanted, with nothing left of it.
pub const STOPPED: &str = "stopped";

/// Is the run still wanted? Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// With the way to ask for it.
    pub fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Nobody will ever ask.
    pub fn never() -> Self {
        Self::new().1
    }

    /// Has somebody asked?
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Until somebody asks; for ever if nobody can any more.
    pub async fn asked(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Progress inside one step: shown to people and kept for a restart.
#[async_trait]
pub trait Progress: Send + Sync {
    /// Tells what has just happened, as one line (`image resolved to sha256:…`). Not durable.
    fn stage(&self, name: &'static str, line: &str);

    /// Keeps `saved` durably before it returns; a later attempt finds it in [`Context::saved`].
    async fn save(&self, saved: Value) -> Result<(), Failure>;
}

/// It worked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// An object with the declared outputs.
    pub outputs: Value,
    /// One line for people.
    pub summary: String,
    /// Where the effect can be looked at.
    pub url: Option<String>,
}

/// Why something failed, for people: never holds a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Stable word for rules (`failure.code`) and metrics: `unhealthy`, `not-found`, `refused`, `timeout`, …
    pub code: String,
    /// For the user: what went wrong and what can be done.
    pub message: String,
    /// True if the action put back what was there before.
    pub rolled_back: bool,
}

impl Why {
    /// A reason with nothing rolled back.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), rolled_back: false }
    }
}

/// Everything that is wrong with a call; at least one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults(Vec<Why>);

impl Faults {
    /// Each of them, in the order in which they were found.
    pub fn all(&self) -> &[Why] {
        &self.0
    }

    /// The same with those of another one behind them.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }
}

impl From<Why> for Faults {
    fn from(why: Why) -> Self {
        Self(vec![why])
    }
}

/// As one reason, for a step that has to fail with one: the code of the first.
impl From<Faults> for Why {
    fn from(faults: Faults) -> Self {
        let messages: Vec<&str> = faults.0.iter().map(|why| why.message.as_str()).collect();
        Self::new(faults.0.first().map_or("invalid", |why| &why.code), messages.join("; "))
    }
}

/// It did not work. The action decides whether another try can help; only the engine tries again.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// Another attempt may succeed, not before `after` if the target said so.
    Retry {
        /// What the target asked for (`Retry-After`).
        after: Option<Duration>,
        /// Why.
        why: Why,
    },
    /// No attempt will succeed.
    Final {
        /// Why.
        why: Why,
    },
    /// Nothing went wrong: what the step waits for is not there yet. It counts as no attempt; the run is parked, and the step runs again
    /// with what it saved, now or in another process.
    NotYet {
        /// When to look again.
        after: Duration,
        /// What is waited for.
        why: Why,
    },
}

impl Failure {
    /// Another attempt may help.
    pub fn retry(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry { after: None, why: Why::new(code, message) }
    }

    /// No attempt will help.
    pub fn last(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Final { why: Why::new(code, message) }
    }

    /// The reason, whichever it is.
    pub fn why(&self) -> &Why {
        match self {
            Self::Retry { why, .. } | Self::Final { why } | Self::NotYet { why, .. } => why,
        }
    }
}

/// One kind of effect. It never retries, reads no environment and no clock, and does not know the journal.
#[async_trait]
pub trait Action: Send + Sync {
    /// The list entry.
    fn spec(&self) -> &'static Spec;

    /// Checks a rendered call and derives what `run` needs, or says everything that is wrong with it. Pure: serves check, explain, test
    /// and dry run alike.
    fn prepare(&self, call: Call) -> Result<Intent, Faults>;

    /// What the call has to itself while its step is open; of those that name the same, an older delivery never follows a newer one.
    fn exclusive(&self, call: &Call) -> Option<String> {
        let target = call.params.get("target").and_then(Value::as_str)?;
        (self.spec().class == Class::Deploy).then(|| target.to_owned())
    }

    /// May its step wait for longer than its deadline, parked in between ([`Failure::NotYet`])? Then nobody can wait for a reply.
    fn waits(&self) -> bool {
        false
    }

    /// Does it do something on this machine, instead of sending requests? Then nobody runs it to see what it would send.
    fn acts_here(&self) -> bool {
        false
    }

    /// Can a later message be put in the place of an earlier one? Then it heeds [`Context::streak`].
    fn edits(&self) -> bool {
        false
    }

    /// What a later message needs to be put in the place of this one.
    fn keeps(&self, _intent: &Intent, _outcome: &Outcome) -> Option<Value> {
        None
    }

    /// Makes the effect, or goes on with it where an earlier attempt stopped.
    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure>;

    /// Looks whether the effect is there already. Asked before a call is repeated whose outcome is unknown.
    /// `Ok(None)` means: it is not there, or cannot be told, so run it.
    async fn find(&self, _context: &Context<'_>, _intent: &Intent) -> Result<Option<Outcome>, Failure> {
        Ok(None)
    }
}
