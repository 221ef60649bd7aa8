//! `declic runs`: what is being done, and what was.

use std::fmt::Write;
use std::process::ExitCode;

use declic_actions::action::Answer;
use poem_openapi::types::ToJSON;
use serde_json::{Value, json};

use super::colour;
use super::ledger::{Ledger, Redrive, Redriven, Trouble};
use super::paint::{Paint, printable, table};
use super::stored::{Filters, From, moment, tell};
use crate::api::shapes::{Attempt, Run, RunDetail, Step};
use crate::clock::Timestamp;
use crate::journal::record::{Listing, RunState};
use crate::settings::Environment;

/// Arguments of `declic runs`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic runs                                      the newest ones
  declic runs list --state failed --rule deploy-staging
  declic runs show 06f3k9z2m8x1q-1                 every step and every attempt, with its reason
  declic runs list --dead --repository acme/web    those that failed for good
  declic runs --remote https://hooks.example       of a service elsewhere, with the token in DECLIC_TOKEN
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
    Redrive(Which),
}

#[derive(clap::Args)]
struct Say {
    /// Id of the run
    id: String,
    /// Who says so, for the record; with --remote it is whose token is used
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
    /// What to add
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

#[derive(clap::Args)]
struct Which {
    /// Those that failed for good (`failed` and `dead`); nothing else can be redriven
    #[arg(long, required = true)]
    dead: bool,
    /// Only those of this source
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Only those of this event: github.push, or the provider's word
    #[arg(long, value_name = "KIND")]
    event: Option<String>,
    /// Only those about this repository
    #[arg(long, value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only those with this text in an id, a rule, a group or a reason
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only those that failed within this time, such as 1h, or since a moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Timestamp>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args, Default)]
struct List {
    /// Only those that failed for good: `failed` and `dead`
    #[arg(long, conflicts_with = "state")]
    dead: bool,
    /// Only those in this state; can be given several times
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Vec<String>,
    #[command(flatten)]
    filters: Filters,
}

fn states() -> clap::builder::PossibleValuesParser {
    RunState::ALL.iter().map(|state| state.word()).collect::<Vec<_>>().into()
}

/// Status 1 if there is no such run.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    tell(arguments.from.ledger(environment).and_then(|ledger| answer(ledger.as_ref(), arguments)))
}

fn answer(ledger: &dyn Ledger, arguments: &Arguments) -> Result<String, Trouble> {
    let from = &arguments.from;
    let said = |line: String, value: Value| from.shown(|| line + "\n", || value);
    match &arguments.command {
        None => list(ledger, &List::default(), from),
        Some(Command::List(which)) => list(ledger, which, from),
        Some(Command::Show { id }) => {
            let run = ledger.run(id)?;
            Ok(from.shown(|| render(&run, Paint::new(colour())), || run.to_json().unwrap_or_default()))
        }
        Some(Command::Retry { id }) => {
            ledger.retry(id)?;
            Ok(said(format!("{id} is queued again"), json!({ "run": id })))
        }
        Some(Command::Cancel { id }) => {
            let over = ledger.cancel(id)?;
            let word = if over { "cancelled" } else { "asked to stop" };
            Ok(said(format!("{id} is {word}"), json!({ "run": id, "over": over })))
        }
        Some(Command::Approve(say)) => answered(ledger, say, true).map(|(line, value)| said(line, value)),
        Some(Command::Reject(say)) => answered(ledger, say, false).map(|(line, value)| said(line, value)),
        Some(Command::Redrive(which)) => redrive(ledger, which, from),
    }
}

fn answered(ledger: &dyn Ledger, say: &Say, approved: bool) -> Result<(String, Value), Trouble> {
    let answer = Answer { approved, via: "api".to_owned(), by: say.by.clone(), comment: say.comment.clone() };
    ledger.answer(&say.id, &answer)?;
    let word = if approved { "approved" } else { "rejected" };
    Ok((format!("{} is {word}", say.id), json!({ "run": say.id, "approved": approved })))
}

fn redrive(ledger: &dyn Ledger, which: &Which, from: &From) -> Result<String, Trouble> {
    let among = Listing {
        source: which.source.clone(),
        event: which.event.clone(),
        repository: which.repository.clone(),
        rule: which.rule.clone(),
        text: which.text.clone(),
        ..Listing::default()
    };
    let wanted = Redrive { among, since: which.since, limit: which.limit, dry_run: which.dry_run };
    let Redriven { runs, refused } = ledger.redrive(&wanted)?;
    let text = || {
        let done = if which.dry_run { "would be queued again" } else { "queued again" };
        let not = refused.iter().map(|(run, why)| format!("{run} not: {}\n", printable(why)));
        runs.iter().map(|run| format!("{run}\n")).chain(not).chain([format!("{} {done}\n", runs.len())]).collect()
    };
    let value = || {
        let refused: Vec<Value> = refused.iter().map(|(run, why)| json!({ "run": run, "why": why })).collect();
        json!({ "runs": runs, "refused": refused })
    };
    Ok(from.shown(text, value))
}

fn list(ledger: &dyn Ledger, which: &List, from: &From) -> Result<String, Trouble> {
    let dead = || [RunState::Failed, RunState::Dead].map(|state| state.word().to_owned()).to_vec();
    let runs = ledger.runs(&which.filters.listing(if which.dead { dead() } else { which.state.clone() }))?;
    let text = || {
        if runs.is_empty() {
            return "no runs\n".to_owned();
        }
        let paint = Paint::new(colour());
        let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
        table(&["ID", "CREATED", "RULE", "STATE", "WHY"], &rows, paint, |column, cell| {
            if column == 3 { paint.state(cell) } else { cell.to_owned() }
        })
    };
    Ok(from.shown(text, || runs.to_json().unwrap_or_default()))
}

fn row(run: &Run) -> Vec<String> {
    let is_final = RunState::of_word(&run.state.0).is_some_and(RunState::is_final);
    let why = match (&run.failure, &run.covered_by) {
        (Some(failure), _) => format!("{}: {}", failure.code, failure.message),
        (None, Some(by)) if is_final => format!("covered by {by}"),
        (None, _) => run.waits_for.as_ref().map(|name| format!("waits for {name}")).unwrap_or_default(),
    };
    vec![run.id.clone(), run.created_at.0.rfc3339(), printable(&run.rule), run.state.0.clone(), printable(&why)]
}

/// A run with its steps, for people.
pub fn render(detail: &RunDetail, paint: Paint) -> String {
    let run = &detail.run;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("{} {}  {}", paint.dim("run"), paint.bold(&run.id), paint.state(&run.state.0)));
    line(format!("    rule {} ({}), rule set {}", printable(&run.rule), printable(&run.place), printable(&run.revision)));
    if let Some(group) = &run.group {
        line(format!("    group {} ({})", printable(&group.key), group.mode.0));
    }
    let moments =
        [("created", Some(run.created_at)), ("started", run.started_at), ("due", run.due_at), ("finished", run.finished_at)];
    let moments: Vec<String> = moments.into_iter().filter_map(|(name, at)| Some(format!("{name} {}", at?.0.rfc3339()))).collect();
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
    if run.cancelled && !RunState::of_word(&run.state.0).is_some_and(RunState::is_final) {
        line("    asked to stop by hand".to_owned());
    }
    if let Some(note) = &run.note {
        line(format!("    {}", printable(note)));
    }
    if let Some(failure) = &run.failure {
        let back = if failure.rolled_back { " (rolled back)" } else { "" };
        line(format!("    {}", paint.red(&format!("{}: {}{back}", printable(&failure.code), printable(&failure.message)))));
    }
    for step in &detail.steps {
        line(render_step(step, detail, paint));
    }
    text
}

fn render_step(step: &Step, detail: &RunDetail, paint: Paint) -> String {
    let id = step.shown();
    let mut text = format!("  {}  {}  {}", paint.bold(&printable(&id)), printable(&step.uses), paint.state(&step.state.0));
    let mut line = |line: String| {
        text.push_str("\n      ");
        text.push_str(&line);
    };
    if let Some(name) = &step.name {
        line(paint.dim(&printable(name)));
    }
    if let Some(summary) = &step.summary {
        line(printable(summary));
    }
    if let Some(url) = &step.url {
        line(printable(url));
    }
    if let Some(plan) = step.plan.as_ref().filter(|_| detail.run.dry) {
        line(printable(&format!("rendered {}", plan.0)));
    }
    if let Some(outputs) = &step.outputs
        && !detail.run.dry
        && outputs.0.as_object().is_some_and(|outputs| !outputs.is_empty())
    {
        line(paint.dim(&printable(&format!("outputs {}", outputs.0))));
    }
    if let Some(why) = &step.why {
        line(paint.red(&format!("{}: {}", printable(&why.code), printable(&why.message))));
    }
    if step.attempts.len() > 1 || step.why.is_some() {
        step.attempts.iter().for_each(|attempt| line(render_attempt(attempt, paint)));
    }
    for said in detail.log.iter().filter(|said| said.step.as_deref() == Some(&id)) {
        line(paint.dim(&format!("{}  {}: {}", said.at.0.rfc3339(), printable(&said.name), printable(&said.line))));
    }
    text
}

fn render_attempt(attempt: &Attempt, paint: Paint) -> String {
    let why =
        attempt.why.as_ref().map(|why| format!("  {}: {}", printable(&why.code), printable(&why.message))).unwrap_or_default();
    let started = paint.dim(&attempt.started_at.0.rfc3339());
    format!("attempt {}  {}  {started}{why}", attempt.number, paint.state(&attempt.state.0))
}
