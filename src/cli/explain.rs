//! `declic explain`: every rule for one event: why, or why not.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::check::{Operator, files};
use super::paint::{Paint, printable};
use super::{USAGE, colour, complain, reasons};
use crate::rule_files;
use crate::rules::check::happening;
use crate::rules::diagnostic::{Source, render};
use crate::rules::load;
use crate::rules::registry;
use crate::rules::suggest::did_you_mean;
use crate::rules::testing::{Happening, Played, play};
use crate::settings::Environment;
use crate::sources::github::push::Push;

/// Arguments of `declic explain`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic explain --event github.push --payload payloads/push.json      a body as GitHub sends it
  declic explain --event github.push --payload deliveries/docs.yaml    the fields that matter, as in `tests:`
  declic deliveries show ID                                            the same for a delivery that was received")]
pub struct Arguments {
    /// The event: github.push, http.webhook, …
    #[arg(long, value_name = "KIND")]
    event: String,
    /// A body as the provider sends it (JSON), or a YAML file with `with:`, `actor:` and `steps:` as in tests
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
    /// Rule files, folders or patterns; default: those that the settings name
    paths: Vec<String>,
    /// The operator's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
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
                Format::Text => print!("{}", shown(&played, Paint::new(colour()))),
                Format::Json => {
                    let calls: Vec<Value> = played
                        .calls
                        .iter()
                        .map(|call| json!({ "rule": call.rule, "uses": call.uses, "with": call.with }))
                        .collect();
                    let document =
                        json!({ "traces": played.traces, "calls": calls, "reply": played.reply, "faults": played.faults });
                    println!("{document:#}");
                }
            }
            ExitCode::SUCCESS
        }
        Err(why) => complain(USAGE, why.trim_end()),
    }
}

fn explained(arguments: &Arguments, environment: &Environment) -> Result<Played, String> {
    let Some(spec) = registry::event(&arguments.event) else {
        let known = || registry::events().map(|event| event.name);
        let help = did_you_mean(&arguments.event, known())
            .unwrap_or_else(|| format!("there is: {}", known().collect::<Vec<_>>().join(", ")));
        return Err(format!("there is no event {}: {help}", arguments.event));
    };
    let operator = Operator::usable(arguments.config.as_deref(), environment)?;
    let offer = operator.settings.as_ref().map(|settings| &settings.offer);
    let files = files(&arguments.paths, &operator)?;
    let loaded = load::load(&files, offer).map_err(|faults| {
        let sources: Vec<Source<'_>> = files.iter().map(|file| Source { path: &file.path, text: &file.text }).collect();
        format!("the rules are wrong\n\n{}", render(&faults, &sources, false))
    })?;
    let happening = read(arguments, spec.name)?;
    Ok(play(&happening, &Arc::new(loaded.set), offer))
}

/// A provider's body, if it looks like one; otherwise a file with the fields that matter.
fn read(arguments: &Arguments, event: &'static str) -> Result<Happening, String> {
    let path = arguments.payload.to_string_lossy();
    let text = rule_files::text(&arguments.payload)?;
    if let Ok(Value::Object(body)) = serde_json::from_str::<Value>(&text)
        && !body.contains_key("with")
    {
        return from_body(event, &text, Value::Object(body));
    }
    let (happening, faults) = happening(&path, &text, event);
    let wrong = || format!("the delivery file is wrong\n\n{}", render(&faults, &[Source { path: &path, text: &text }], false));
    let happening = happening.ok_or_else(wrong)?;
    if happening.event != event {
        return Err(format!("{path} holds a {}, not a {event}", happening.event));
    }
    Ok(happening)
}

/// The fields of the event in a body as the provider sends it.
fn from_body(event: &'static str, text: &str, body: Value) -> Result<Happening, String> {
    let happening = |with: Value| Happening { event: event.to_owned(), with, ..Happening::default() };
    match event {
        "github.push" => {
            let contexts = Push::read(text.as_bytes()).and_then(|push| push.contexts())?;
            let mut with = Value::Object(contexts.event);
            with["payload"] = body;
            Ok(Happening { actor: contexts.actor, repo: contexts.repo, ..happening(with) })
        }
        "http.webhook" | "pubsub.message" => Ok(happening(json!({ "body": body, "method": "POST" }))),
        _ => Err(format!("bodies of {event} cannot be read here yet: give a YAML file with `with:` as in tests")),
    }
}

fn shown(played: &Played, paint: Paint) -> String {
    let mut text = String::new();
    if played.traces.is_empty() {
        text.push_str("no rule hears this event\n");
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
