//! `declic explain`: every rule for one event: why, or why not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::check::{Operator, files};
use super::ledger::Trouble;
use super::paint::{Paint, printable};
use super::remote::{Ask, Remote, faults, sent};
use super::{colour, complain, reasons};
use crate::backtest::records::Records;
use crate::happening::{from_body, known};
use crate::rule_files;
use crate::rules::check::happening;
use crate::rules::diagnostic::{Source, render};
use crate::rules::load;
use crate::rules::model::RuleSet;
use crate::rules::testing::{Happening, Played, PlayedCall, play, play_event};
use crate::settings::Environment;

/// Arguments of `declic explain`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic explain --event github.push --payload payloads/push.json      a body as GitHub sends it
  declic explain --event github.push --payload deliveries/docs.yaml    the fields that matter, as in `tests:`
  declic explain --delivery 06f3k9z2m8x1q                              a delivery that was received, by the rules as they are now
  declic explain --delivery 06f3k9z2m8x1q --remote https://hooks.example
  declic deliveries show 06f3k9z2m8x1q                                 the same by the rules of then, and what was done")]
pub struct Arguments {
    /// The event: github.push, http.webhook, …
    #[arg(long, value_name = "KIND", requires = "payload", required_unless_present = "delivery")]
    event: Option<String>,
    /// A body as the provider sends it (JSON, or a form for slack.command and slack.action), or a YAML file with `with:`, `actor:` and `steps:` as in tests
    #[arg(long, value_name = "FILE", requires = "event")]
    payload: Option<PathBuf>,
    /// A recorded delivery, by our id of it
    #[arg(long, value_name = "ID", conflicts_with_all = ["event", "payload"])]
    delivery: Option<String>,
    /// Rule files, folders or patterns; default: those that the settings name
    paths: Vec<String>,
    /// The operator's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask a service elsewhere about a delivery that it received, with the token in DECLIC_TOKEN; by its own rules, or by those of PATHS
    #[arg(long, value_name = "URL", requires = "delivery")]
    remote: Option<String>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the answer is shown.
#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// Explains. Status 0 whether or not a rule matched.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    match explained(arguments, environment) {
        Ok(played) => {
            match arguments.format {
                Format::Text => out!("{}", shown(&played, Paint::new(colour()))),
                Format::Json => {
                    let calls: Vec<Value> = played
                        .calls
                        .iter()
                        .map(|call| json!({ "rule": call.rule, "uses": call.uses, "with": call.with }))
                        .collect();
                    let document =
                        json!({ "traces": played.traces, "calls": calls, "reply": played.reply, "faults": played.faults });
                    outln!("{document:#}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(trouble) => complain(trouble.status, trouble.why.trim_end()),
    }
}

fn explained(arguments: &Arguments, environment: &Environment) -> Result<Played, Trouble> {
    match (&arguments.remote, &arguments.delivery) {
        (Some(address), Some(id)) => elsewhere(&Remote::new(address, environment)?, id, arguments),
        _ => here(arguments, environment).map_err(Trouble::usage),
    }
}

/// A delivery that another service received, by the rules in force there or by the files that are named.
fn elsewhere(remote: &Remote, id: &str, arguments: &Arguments) -> Result<Played, Trouble> {
    let body = json!({ "delivery": id, "files": sent(&arguments.paths)? });
    let answer = remote.ask(&Ask::post("/play", body))?;
    faults(&answer)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
    let call = |call: &Value| PlayedCall {
        rule: text(&call["rule"]),
        step: text(&call["step"]),
        uses: text(&call["uses"]),
        with: call["with"].clone(),
        intent: None,
    };
    Ok(Played {
        traces: serde_json::from_value(answer["decisions"].clone())
            .map_err(|_| Trouble::usage("the service answers, but not as this Declic does: is it of another version?"))?,
        calls: list("calls").iter().map(call).collect(),
        reply: answer.get("reply").cloned(),
        faults: list("problems").iter().map(text).collect(),
    })
}

fn here(arguments: &Arguments, environment: &Environment) -> Result<Played, String> {
    let operator = Operator::usable(arguments.config.as_deref(), environment)?;
    let offer = operator.settings.as_ref().map(|settings| &settings.offer);
    let files = files(&arguments.paths, &operator)?;
    let loaded = load::load(&files, offer).map_err(|faults| {
        let sources: Vec<Source<'_>> = files.iter().map(|file| Source { path: &file.path, text: &file.text }).collect();
        format!("the rules are wrong\n\n{}", render(&faults, &sources, false))
    })?;
    let set = Arc::new(loaded.set);
    match (&arguments.delivery, &arguments.event, &arguments.payload) {
        (Some(id), _, _) => by_delivery(id, &operator, &set),
        (None, Some(event), Some(payload)) => Ok(play(&read(payload, known(event)?)?, &set, offer)),
        _ => Err("name an --event and its --payload, or a --delivery".to_owned()),
    }
}

/// The rules as they are now, against a delivery of the store.
fn by_delivery(id: &str, operator: &Operator, set: &Arc<RuleSet>) -> Result<Played, String> {
    let settings = operator.settings.as_ref().ok_or("--delivery needs the settings (--config): they say where the store is")?;
    let records = Records::open(settings)?;
    let event = records.event(id)?;
    Ok(play_event(&event, set, Some(&settings.offer)))
}

/// A provider's body, if it looks like one; otherwise a file with the fields that matter.
fn read(payload: &Path, event: &'static str) -> Result<Happening, String> {
    let path = payload.to_string_lossy();
    let text = rule_files::text(payload)?;
    // Where JSON was meant, what YAML says to it helps nobody.
    let quoted_key = text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'));
    let is_json = quoted_key || payload.extension().is_some_and(|extension| extension == "json");
    let is_form = matches!(event, "slack.command" | "slack.action")
        && !quoted_key
        && text.trim().lines().count() == 1
        && text.contains('=');
    if is_form {
        return from_body(event, &text, Value::Null).map_err(|why| format!("{path}: {why}"));
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(body)) if !body.contains_key("with") => {
            return from_body(event, &text, Value::Object(body)).map_err(|why| format!("{path}: {why}"));
        }
        Err(error) if is_json => return Err(format!("{path}: this is not valid JSON: {error}")),
        _ => {}
    }
    let (happening, faults) = happening(&path, &text, event);
    let wrong = || format!("the delivery file is wrong\n\n{}", render(&faults, &[Source { path: &path, text: &text }], false));
    let happening = happening.ok_or_else(wrong)?;
    if happening.event != event {
        return Err(format!("{path} holds a {}, not a {event}", happening.event));
    }
    Ok(happening)
}

fn shown(played: &Played, paint: Paint) -> String {
    let mut text = String::new();
    if played.traces.is_empty() {
        text.push_str("there are no rules\n");
    }
    for trace in &played.traces {
        text.push_str(&reasons::render(trace, paint));
        for call in played.calls.iter().filter(|call| call.rule == trace.rule) {
            text.push_str(&format!("    would run {} {}\n", call.uses, printable(&call.with.to_string())));
        }
    }
    if let Some(reply) = &played.reply {
        text.push_str(&format!("would reply {}\n", printable(&reply.to_string())));
    }
    for fault in &played.faults {
        text.push_str(&format!("could not be computed: {}\n", printable(fault)));
    }
    text
}
