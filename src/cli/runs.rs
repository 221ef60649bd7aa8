//! `declic runs`: what is being done, and what was.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use declic_actions::action::Answer;
use serde_json::{Value, json};

use super::paint::{Paint, printable, table};
use super::remote::{Ask, Remote};
use super::stored::{Format, From, Page, document, length, tell};
use super::{USAGE, WRONG, block_on, colour, complain};
use crate::clock::Timestamp;
use crate::journal::record::{AttemptRecord, Listing, Phase, RunRecord, RunState, Selection, StepRecord};
use crate::journal::sqlite::ReadOnly;
use crate::journal::{Journal, JournalError, LedgerError};
use crate::run::approval;
use crate::run::plan::called;
use crate::settings::Environment;

/// Arguments of `declic runs`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic runs                                      the newest ones
  declic runs list --state failed --rule deploy-staging
  declic runs show 06f3k9z2m8x1q-1                 every step and every attempt, with its reason
  declic runs list --dead                          those that failed for good
  declic runs retry 06f3k9z2m8x1q-1                again, at the step that failed
  declic runs cancel 06f3k9z2m8x1q-1               stop it at its next safe point
  declic runs approve 06f3k9z2m8x1q-1 --by mona    say yes to a run that asks
  declic runs redrive --dead --rule deploy-staging --since 1h

All of this works while `declic serve` runs; what it is asked to do, it begins within a second.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    from: From,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List runs, newest first
    List(List),
    /// Show one run: its steps, their attempts, outputs and reasons
    Show {
        /// Id of the run: that of its delivery, and a number
        id: String,
    },
    /// Do a run again that failed, was stopped or was not needed; what it did stays done
    Retry {
        /// Id of the run
        id: String,
    },
    /// Stop a run at its next safe point
    Cancel {
        /// Id of the run
        id: String,
    },
    /// Say yes to a run that waits for a person (`uses: approve`)
    Approve(Say),
    /// Say no to it
    Reject(Say),
    /// Retry many
    Redrive(Redrive),
}

#[derive(clap::Args)]
struct Say {
    /// Id of the run
    id: String,
    /// Who says so, for the record
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
    /// What to add
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(clap::Args)]
struct Redrive {
    /// Those that failed for good; nothing else can be redriven
    #[arg(long, required = true)]
    dead: bool,
    /// Only those of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only those that failed within this time, such as 1h
    #[arg(long, value_name = "TIME", value_parser = length)]
    since: Option<Duration>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Default)]
struct List {
    /// Only those that failed for good
    #[arg(long, conflicts_with = "state")]
    dead: bool,
    /// Only those in this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    #[command(flatten)]
    page: Page,
}

fn states() -> clap::builder::PossibleValuesParser {
    RunState::ALL.iter().map(|state| state.word()).collect::<Vec<_>>().into()
}

/// Status 1 if there is no such run.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    match arguments.from.remote(environment) {
        Ok(Some(remote)) => return elsewhere(&remote, arguments),
        Ok(None) => {}
        Err(why) => return complain(USAGE, why),
    }
    let asked = match &arguments.command {
        Some(Command::Retry { id }) => Some(Asked::Retry(id)),
        Some(Command::Cancel { id }) => Some(Asked::Cancel(id)),
        Some(Command::Approve(say)) => Some(Asked::Say(say, true)),
        Some(Command::Reject(say)) => Some(Asked::Say(say, false)),
        Some(Command::Redrive(which)) => Some(Asked::Redrive(which)),
        _ => None,
    };
    if let Some(asked) = asked {
        return block_on(async {
            match arguments.from.beside(environment).await {
                Ok(journal) => act(journal.as_ref(), &asked).await,
                Err(why) => complain(USAGE, why.trim_end()),
            }
        });
    }
    let store = match arguments.from.open(environment) {
        Ok(store) => store,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let shown = match &arguments.command {
        None => list(&store, &List::default(), arguments.from.format),
        Some(Command::List(which)) => list(&store, which, arguments.from.format),
        Some(Command::Show { id } | Command::Retry { id } | Command::Cancel { id }) => show(&store, id, arguments.from.format),
        Some(Command::Redrive(_) | Command::Approve(_) | Command::Reject(_)) => Ok(None),
    };
    tell(shown, "there is no such run; `declic runs` lists them, and old ones are removed after `store.keep`")
}

/// The same through the API of another service.
fn elsewhere(remote: &Remote, arguments: &Arguments) -> ExitCode {
    let format = arguments.from.format;
    let list = |which: &List| {
        let path = if which.dead { "/dead" } else { "/runs" };
        let ask = which.page.of(Ask::get(path)).with("rule", which.rule.clone()).with("state", which.state.clone());
        let columns =
            [("ID", "/id"), ("CREATED", "/created_at"), ("RULE", "/rule"), ("STATE", "/state"), ("WHY", "/failure/message")];
        remote.list(&ask, format, &columns)
    };
    let say = |say: &Say, word: &str| {
        let ask = Ask::post(format!("/runs/{}/{word}", say.id), json!({ "comment": say.comment }));
        remote.line(&ask, format, |_| format!("{}: {word}", say.id))
    };
    match &arguments.command {
        None => list(&List::default()),
        Some(Command::List(which)) => list(which),
        Some(Command::Show { id }) => remote.document(&Ask::get(format!("/runs/{id}"))),
        Some(Command::Retry { id }) => {
            remote.line(&Ask::post(format!("/runs/{id}/retry"), json!({})), format, |_| format!("{id} is queued again"))
        }
        Some(Command::Cancel { id }) => remote.line(&Ask::post(format!("/runs/{id}/cancel"), json!({})), format, |answer| {
            format!("{id} is {}", if answer["over"] == true { "cancelled" } else { "asked to stop" })
        }),
        Some(Command::Approve(one)) => say(one, "approve"),
        Some(Command::Reject(one)) => say(one, "reject"),
        Some(Command::Redrive(which)) => {
            let since = which.since.map(|since| Timestamp::now().before(since).rfc3339());
            let body = json!({ "rule": which.rule, "since": since, "limit": which.limit, "dry_run": which.dry_run });
            remote.line(&Ask::post("/redrive", body), format, |answer| {
                let ids: Vec<&str> = answer["runs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let done = if which.dry_run { "would be queued again" } else { "queued again" };
                ids.iter().map(|id| (*id).to_owned()).chain([format!("{} {done}", ids.len())]).collect::<Vec<_>>().join("\n")
            })
        }
    }
}

/// What a person asks for.
enum Asked<'a> {
    Retry(&'a str),
    Cancel(&'a str),
    Say(&'a Say, bool),
    Redrive(&'a Redrive),
}

async fn act(journal: &dyn Journal, asked: &Asked<'_>) -> ExitCode {
    let done = match asked {
        Asked::Retry(id) => journal.retry(id).await.map(|()| format!("{id} is queued again")),
        Asked::Cancel(id) => journal.cancel(id).await.map(|over| match over {
            true => format!("{id} is cancelled"),
            false => format!("{id} is asked to stop"),
        }),
        Asked::Say(say, approved) => {
            let answer = Answer { approved: *approved, via: "api".to_owned(), by: say.by.clone(), comment: say.comment.clone() };
            let word = if *approved { "approved" } else { "rejected" };
            approval::answer(journal, &say.id, answer).await.map(|()| format!("{} is {word} by {}", say.id, say.by))
        }
        Asked::Redrive(which) => redrive(journal, which).await,
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => complain(WRONG, error),
    }
}

async fn redrive(journal: &dyn Journal, which: &Redrive) -> Result<String, LedgerError> {
    let selection = Selection { rule: which.rule.clone(), since: which.since, limit: which.limit };
    let dead = journal.dead(selection).await?;
    for id in &dead {
        if !which.dry_run {
            journal.retry(id).await?;
        }
        println!("{id}");
    }
    Ok(format!("{} {}", dead.len(), if which.dry_run { "would be queued again" } else { "queued again" }))
}

fn list(store: &ReadOnly, which: &List, format: Format) -> Result<Option<String>, JournalError> {
    let dead = [RunState::Failed, RunState::Dead].map(|state| state.word().to_owned());
    let listing = Listing {
        states: if which.dead { dead.to_vec() } else { which.state.iter().cloned().collect() },
        rule: which.rule.clone(),
        ..which.page.listing()
    };
    let runs = store.runs(&listing)?;
    if format == Format::Json {
        return Ok(Some(document(&json!(runs))));
    }
    if runs.is_empty() {
        return Ok(Some("no runs\n".to_owned()));
    }
    let paint = Paint::new(colour());
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    Ok(Some(table(&["ID", "CREATED", "RULE", "STATE", "WHY"], &rows, paint, |column, cell| {
        if column == 3 { paint.state(cell) } else { cell.to_owned() }
    })))
}

fn row(run: &RunRecord) -> Vec<String> {
    let why = match (&run.failure, &run.covered_by) {
        (Some(failure), _) => format!("{}: {}", failure.code, failure.message),
        (None, Some(by)) if run.state.is_final() => format!("covered by {by}"),
        (None, _) => run.waits_for.as_ref().map(|name| format!("waits for {name}")).unwrap_or_default(),
    };
    vec![run.id.clone(), run.created_at.rfc3339(), printable(&run.rule), run.state.word().to_owned(), printable(&why)]
}

fn show(store: &ReadOnly, id: &str, format: Format) -> Result<Option<String>, JournalError> {
    let Some((run, steps)) = store.run(id)? else { return Ok(None) };
    Ok(Some(match format {
        Format::Json => document(&as_json(&run, &steps)),
        Format::Text => render(&run, &steps, Paint::new(colour())),
    }))
}

/// A run with its steps, for programs.
pub fn as_json(run: &RunRecord, steps: &[StepRecord]) -> Value {
    json!({"run": run, "steps": steps})
}

/// A run with its steps, for people.
pub fn render(run: &RunRecord, steps: &[StepRecord], paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("{} {}  {}", paint.dim("run"), paint.bold(&run.id), paint.state(run.state.word())));
    line(format!("    rule {} ({}), rule set {}", printable(&run.rule), printable(&run.place), printable(&run.revision)));
    if let Some(group) = &run.group {
        line(format!("    group {} ({})", printable(&group.key), group.mode.word()));
    }
    let moments =
        [("created", Some(run.created_at)), ("started", run.started_at), ("due", run.due_at), ("finished", run.finished_at)];
    let moments: Vec<String> = moments.into_iter().filter_map(|(name, at)| Some(format!("{name} {}", at?.rfc3339()))).collect();
    line(format!("    {}", paint.dim(&moments.join(", "))));
    if let Some(by) = &run.covered_by {
        line(format!("    covered by {by}"));
    }
    if let Some(name) = &run.waits_for {
        line(format!("    waits for {}", printable(name)));
    }
    if run.dry {
        line("    dry run: nothing is done".to_owned());
    }
    if run.by_hand {
        line("    started by hand".to_owned());
    }
    if run.cancelled && !run.state.is_final() {
        line("    asked to stop by hand".to_owned());
    }
    if let Some(note) = &run.note {
        line(format!("    {}", printable(note)));
    }
    if let Some(failure) = &run.failure {
        let back = if failure.rolled_back { " (rolled back)" } else { "" };
        line(format!("    {}", paint.red(&format!("{}: {}{back}", printable(&failure.code), printable(&failure.message)))));
    }
    for step in steps {
        line(render_step(step, run.dry, paint));
    }
    text
}

fn render_step(step: &StepRecord, dry: bool, paint: Paint) -> String {
    let phase = if step.place.phase == Phase::Steps { String::new() } else { format!("{}/", step.place.phase.word()) };
    let id = format!("{phase}{}", called(&step.label, step.place));
    let mut text =
        format!("  {}  {}  {}", paint.bold(&printable(&id)), printable(&step.label.uses), paint.state(step.state.word()));
    let mut line = |line: String| {
        text.push_str("\n      ");
        text.push_str(&line);
    };
    if let Some(name) = &step.label.name {
        line(paint.dim(&printable(name)));
    }
    if let Some(outcome) = &step.outcome {
        line(printable(&outcome.summary));
        if let Some(url) = &outcome.url {
            line(printable(url));
        }
        if let Some(intent) = step.intent.as_ref().filter(|_| dry) {
            line(printable(&format!("rendered {}", masked(&intent.plan))));
        }
        if !dry && outcome.outputs.as_object().is_some_and(|outputs| !outputs.is_empty()) {
            line(paint.dim(&printable(&format!("outputs {}", outcome.outputs))));
        }
    }
    if let Some(why) = &step.why {
        line(paint.red(&format!("{}: {}", printable(&why.code), printable(&why.message))));
    }
    if step.attempts.len() > 1 || step.why.is_some() {
        step.attempts.iter().for_each(|attempt| line(render_attempt(attempt, paint)));
    }
    text
}

/// A rendered request without what is secret in it. Secrets of `secrets:` are only names here; what a rule wrote in plain text is not.
fn masked(value: &Value) -> Value {
    let is_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        ["authorization", "cookie", "token", "secret", "password", "api-key", "api_key", "apikey", "credential"]
            .iter()
            .any(|word| name.contains(word))
    };
    match value {
        Value::Object(fields) => {
            let one = |(name, value): (&String, &Value)| {
                let hide = is_secret(name) && value.is_string();
                (name.clone(), if hide { "[secret]".into() } else { masked(value) })
            };
            Value::Object(fields.iter().map(one).collect())
        }
        // A header is a pair of name and value.
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), Value::String(_)] if is_secret(name) => json!([name, "[secret]"]),
            items => items.iter().map(masked).collect(),
        },
        other => other.clone(),
    }
}

fn render_attempt(attempt: &AttemptRecord, paint: Paint) -> String {
    let why =
        attempt.why.as_ref().map(|why| format!("  {}: {}", printable(&why.code), printable(&why.message))).unwrap_or_default();
    let started = paint.dim(&attempt.started_at.rfc3339());
    format!("attempt {}  {}  {started}{why}", attempt.number, paint.state(attempt.state.word()))
}
