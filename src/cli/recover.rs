//! `declic recover`: takes in what GitHub did not deliver.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::paint::{Paint, printable, table};
use super::stored::{Format, document, length};
use super::{USAGE, WRONG, block_on, colour, complain};
use crate::matching::Index;
use crate::recover::{Halt, Intake, Log, Logged, Outcome, Progress, Recovery, Swept, before};
use crate::report::metrics::Metrics;
use crate::repositories::Repositories;
use crate::settings::{self, Environment, Mode, Settings};
use crate::sources::Around;
use crate::{app, reload, rule_files};

/// A pause that GitHub asks for is waited out if it is no longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// Arguments of `declic recover`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic recover                                   what GitHub could not deliver within the last day
  declic recover github --since 72h                one source, as far back as GitHub remembers
  declic recover --dry-run                         only say what would be taken in

`declic serve` does the same by itself every few minutes for the hooks that `declic.yaml` names (`sources: … hooks:`) and for
GitHub Apps; this command looks further back. It works while `declic serve` runs.")]
pub struct Arguments {
    /// Only this source
    source: Option<String>,
    /// How far back; GitHub keeps its log for three days
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = length)]
    since: Duration,
    /// Only say which
    #[arg(long)]
    dry_run: bool,
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml")]
    config: PathBuf,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Status 1 if something could not be taken in.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let settings = match settings::load(&arguments.config, Mode::Resolved, environment) {
        Ok(loaded) => loaded.settings,
        Err(unusable) => return complain(USAGE, unusable.render(colour()).trim_end()),
    };
    block_on(async {
        match intakes(settings, arguments.source.as_deref()).await {
            Ok(intakes) => sweep(intakes, arguments).await,
            Err(why) => complain(USAGE, why.trim_end()),
        }
    })
}

async fn intakes(mut settings: Settings, source: Option<&str>) -> Result<Vec<(Intake, Log)>, String> {
    let clients = app::clients(&mut settings).await?;
    settings.sources.retain(|described| source.is_none_or(|source| described.name == source));
    if let (Some(source), true) = (source, settings.sources.is_empty()) {
        return Err(format!("there is no source `{source}` in {}", settings.file.display()));
    }
    let sources = app::build_sources(&settings, &Around::default())?;
    let folder = settings.file.parent().map_or_else(PathBuf::new, Path::to_owned);
    let files = rule_files::read(&folder, &settings.rules)?;
    let rules = Arc::new(ArcSwap::from_pointee(Index::new(Arc::new(reload::rebuild(&files, &settings.offer)?))));
    let journal = settings.store.place.beside().await?;
    let recovery = Recovery {
        rules,
        repositories: Some(Arc::new(Repositories::new(&settings, clients.github.clone(), Arc::clone(&journal)))),
        journal,
        metrics: Arc::new(Metrics::new()),
        // Whoever serves from the store finds it within a second.
        wake: Arc::new(|_| {}),
        access: app::access(&settings, &clients.http),
    };
    let intakes: Vec<_> = recovery.of(&settings, &sources)?.into_iter().map(|(intake, log, _)| (intake, log)).collect();
    if intakes.is_empty() {
        let help = "name the hooks of a source of type github, such as `hooks: [{ repository: owner/name, id: 42 }]`";
        return Err(format!("no delivery log can be read: {help}; a source of type github-app needs nothing more"));
    }
    Ok(intakes)
}

async fn sweep(intakes: Vec<(Intake, Log)>, arguments: &Arguments) -> ExitCode {
    let mut found = Vec::new();
    let mut halted = Vec::new();
    for (intake, log) in &intakes {
        let until = Instant::now() + PATIENCE;
        let mut progress = Progress::default();
        loop {
            let swept = match log.now().await {
                Ok(now) => intake.sweep(log, before(now, arguments.since), arguments.dry_run, &mut progress).await,
                Err(halt) => Swept { halt: Some(halt), ..Swept::default() },
            };
            found.extend(swept.findings.into_iter().map(|finding| (intake.source.name().to_owned(), finding)));
            match swept.halt {
                None => break,
                Some(Halt::Later { after, why }) if Instant::now() + after < until => {
                    eprintln!("declic: {}: {why}; going on in {} s", log.hook(), after.as_secs().max(1));
                    tokio::time::sleep(after).await;
                }
                Some(Halt::Later { after, why }) => {
                    halted.push(format!("{}: {why}; try again in {} min", log.hook(), after.as_secs().div_ceil(60)));
                    break;
                }
                Some(Halt::Refused(why)) => {
                    halted.push(format!("{}: {why}", log.hook()));
                    break;
                }
            }
        }
    }
    show(&found, arguments);
    halted.iter().for_each(|why| {
        complain(WRONG, why);
    });
    let refused = found.iter().any(|(_, (_, outcome))| matches!(outcome, Outcome::Refused(_)));
    if refused || !halted.is_empty() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS }
}

fn show(found: &[(String, (Logged, Outcome))], arguments: &Arguments) {
    if arguments.format == Format::Json {
        let all: Vec<Value> = found.iter().map(|(source, (logged, outcome))| as_json(source, logged, outcome)).collect();
        out!("{}", document(&json!(all)));
        return;
    }
    let rows: Vec<Vec<String>> =
        found.iter().map(|(source, (logged, outcome))| row(source, logged, outcome, arguments.dry_run)).collect();
    if !rows.is_empty() {
        out!(
            "{}",
            table(&["PROVIDER'S ID", "TRIED", "SOURCE", "EVENT", "OUTCOME"], &rows, Paint::new(colour()), |_, cell| cell
                .to_owned())
        );
    }
    let count = found.iter().filter(|(_, (_, outcome))| matches!(outcome, Outcome::Recovered(_))).count();
    outln!("{count} of {} that did not arrive {}", found.len(), if arguments.dry_run { "would be taken in" } else { "taken in" });
}

fn row(source: &str, logged: &Logged, outcome: &Outcome, dry_run: bool) -> Vec<String> {
    let event = match &logged.action {
        Some(action) => format!("{} {action}", logged.event),
        None => logged.event.clone(),
    };
    let outcome = match outcome {
        Outcome::Recovered(_) if dry_run => "would be taken in".to_owned(),
        Outcome::Recovered(id) => format!("taken in as {}", id.as_deref().unwrap_or_default()),
        Outcome::Known => "came in meanwhile".to_owned(),
        Outcome::Unwanted => "no rule wants it".to_owned(),
        Outcome::Refused(why) => format!("refused: {why}"),
    };
    vec![printable(&logged.guid), logged.delivered_at.rfc3339(), printable(source), printable(&event), printable(&outcome)]
}

fn as_json(source: &str, logged: &Logged, outcome: &Outcome) -> Value {
    let mut value = json!({
        "source": source,
        "delivery_id": logged.guid,
        "event": logged.event,
        "action": logged.action,
        "tried_at": logged.delivered_at.rfc3339(),
        "outcome": outcome.word(),
    });
    let more = match outcome {
        Outcome::Recovered(Some(id)) => Some(("delivery", id)),
        Outcome::Refused(why) => Some(("reason", why)),
        _ => None,
    };
    if let (Some(object), Some((key, text))) = (value.as_object_mut(), more) {
        object.insert(key.to_owned(), text.as_str().into());
    }
    value
}
