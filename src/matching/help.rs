//! Commands that somebody may give, with words behind them that do not fit: how they are written.

use std::fmt::Write as _;

use super::allow::allowed;
use super::look::{Checks, Occasion, look};
use super::{Index, Verdict};
use crate::event::Event;
use crate::rules::model::{FilterTest, Trigger};

/// A command whose words do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misused {
    /// `/deploy environment: staging|production [ref: string = main]`
    pub usage: String,
    /// What is wrong with the words.
    pub found: String,
}

impl Index {
    /// The first rule that the command would start if its words fitted, for somebody who may start it. `None` if any rule starts.
    pub fn misused(&self, event: &Event) -> Option<Misused> {
        if event.kind != "github.command" || event.is_own() {
            return None;
        }
        let occasion = Occasion::new(event);
        let (mut starts, mut found) = (false, None);
        self.heard(event, |rule, heard| {
            for trigger in heard.iter().filter(|trigger| trigger.event == event.kind) {
                let (verdict, checks) = look(rule, trigger, &occasion, Checks::new(true));
                starts |= verdict == Verdict::Matched;
                let words = checks
                    .last()
                    .filter(|check| verdict == Verdict::NotMatched && (check.text == "args" || check.text.starts_with("args:")));
                // Strangers are not talked to.
                let may = || allowed(rule.allow.as_deref(), event).is_none_or(|check| check.holds);
                if let Some(check) = words.filter(|_| found.is_none() && may()) {
                    found = Some(Misused { usage: usage(trigger), found: check.found.clone() });
                }
            }
        });
        found.filter(|_| !starts)
    }
}

/// As it is written, with what each word must be.
fn usage(trigger: &Trigger) -> String {
    let command = trigger.filters.iter().find_map(|filter| match &filter.test {
        FilterTest::Is(name) if filter.name == "command" => Some(name.trim_start_matches('/')),
        _ => None,
    });
    let mut usage = format!("/{}", command.unwrap_or("…"));
    for argument in &trigger.arguments {
        let (name, shape) = (&argument.name, &argument.shape);
        // Writing to a String cannot fail.
        let _ = match &argument.default {
            Some(default) => {
                let plain = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
                write!(usage, " [{name}: {shape} = {plain}]")
            }
            None if shape.to_string().ends_with('?') => write!(usage, " [{name}: {}]", shape.present()),
            None => write!(usage, " {name}: {shape}"),
        };
    }
    usage
}
