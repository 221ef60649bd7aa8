//! `log`: a line in the run and in the service's log.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::given::{self, all};
use crate::kinds::github::cut;

/// Characters of a line; more are cut.
const LONGEST: usize = 4_000;

/// The action.
pub struct Log;

static SPEC: Spec = Spec {
    name: "log",
    summary: "Writes a line into the run and into the service's log",
    class: Class::Plain,
    parameters: &[
        Field { name: "message", shape: "plain", summary: "The line; line breaks and control characters in it become spaces" },
        Field { name: "level", shape: "debug|info|warn|error?", summary: "Level in the service's log, `info` if left out" },
        Field { name: "fields", shape: "{ \"*\": any }?", summary: "Values that are written behind the line as JSON" },
    ],
    outputs: &[Field { name: "line", shape: "text", summary: "The line as it was written" }],
    example: "message: \"Order 17 is on its way\"\nfields: { order: 17 }\n",
    deadline: Duration::from_secs(5),
    repeat: Repeat::AtLeastOnce,
    repeat_how: "A log has no way to tell; after a crash the line may be there twice. In the run it is once",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    level: String,
    line: String,
}

#[async_trait]
impl Action for Log {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn acts_here(&self) -> bool {
        true
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (level, message, fields) = all((
            given.one_of("level", &["debug", "info", "warn", "error"]),
            given.text("message"),
            given.optional_object("fields"),
        ))?;
        let line = line(message, fields);
        let summary = format!("log: {line}");
        let plan = Plan { level: level.unwrap_or("info").to_owned(), line };
        given::intent(call, &plan, summary)
    }

    async fn run(&self, _context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let Plan { level, line } = given::plan(intent)?;
        let origin = &intent.call.origin;
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(delivery = %origin.delivery, run = %origin.run, rule = %origin.rule, step = %origin.step, stage = "log", "{line}")
            };
        }
        match level.as_str() {
            "error" => write!(error),
            "warn" => write!(warn),
            "debug" => write!(debug),
            _ => write!(info),
        }
        Ok(Outcome { outputs: json!({ "line": line }), summary: line, url: None })
    }
}

/// One line, whatever an outsider put into it: a second one could pretend to be the service's own.
fn line(message: &str, fields: Option<&Map<String, Value>>) -> String {
    let fields = fields.filter(|fields| !fields.is_empty()).map(|fields| format!(" {}", json!(fields))).unwrap_or_default();
    let whole = format!("{}{fields}", message.trim());
    let breaks = |character: char| {
        character.is_control() || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    cut(&whole.replace(breaks, " "), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_whatever_is_in_it() {
        let hostile = "ok\r\n2026-01-01 ERROR forged\u{1b}[31m\u{2028}\u{202e}x";
        let written = line(hostile, json!({ "a": "b\nc" }).as_object());
        assert_eq!(written, "ok  2026-01-01 ERROR forged [31m  x {\"a\":\"b\\nc\"}");
        assert_eq!(line(&"ä".repeat(5_000), None).chars().count(), LONGEST);
    }
}
