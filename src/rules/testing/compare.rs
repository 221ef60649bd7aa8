//! What was expected beside what was found.

use regex::RegexBuilder;
use serde_json::Value;

use super::{Expect, ExpectedCall, Played};
use crate::matching::{Check, Trace, Verdict};
use crate::rules::expr::Reason;

/// Longer values are cut in messages.
const SHOWN: usize = 200;

/// Every difference, as a few lines for people.
pub fn differences(expect: &Expect, played: &Played) -> Vec<String> {
    let mut differences: Vec<String> = played.faults.iter().map(|fault| format!("could not be computed: {fault}")).collect();
    for trace in played.traces.iter().filter(|trace| trace.verdict == Verdict::Error) {
        let expected = expect.matched.as_ref().is_some_and(|names| names.contains(&trace.rule));
        if !expected {
            differences.push(format!("could not be decided: {}", why(trace)));
        }
    }
    for (word, verdict, wanted) in [("matched", Verdict::Matched, &expect.matched), ("denied", Verdict::Denied, &expect.denied)] {
        if let Some(wanted) = wanted {
            names(word, wanted, &played.with_verdict(verdict), played, &mut differences);
        }
    }
    calls(expect, played, &mut differences);
    for uses in &expect.not_called {
        if let Some(call) = played.calls.iter().find(|call| call.uses == *uses) {
            differences.push(format!("not-called: {uses} was called by {} with {}", call.rule, shown(&call.with)));
        }
    }
    if let Some(wanted) = &expect.reply {
        match &played.reply {
            None => differences.push("reply: there was none".to_owned()),
            Some(found) => differences.extend(within(wanted, found, "reply")),
        }
    }
    differences
}

fn names(word: &str, wanted: &[String], found: &[&str], played: &Played, differences: &mut Vec<String>) {
    for name in wanted.iter().filter(|name| !found.contains(&name.as_str())) {
        let trace = played.traces.iter().find(|trace| trace.rule == *name);
        let reason = trace.map_or_else(|| "it does not hear this event".to_owned(), why);
        differences.push(format!("{word}: `{name}` was expected; {reason}"));
    }
    for name in found.iter().filter(|name| !wanted.iter().any(|wanted| wanted == *name)) {
        differences.push(format!("{word}: `{name}` was not expected"));
    }
}

/// The check that decided against a rule.
fn why(trace: &Trace) -> String {
    match trace.checks.iter().rev().find(|check| !check.holds) {
        Some(Check { reason: Some(reason), .. }) => {
            let part = decisive(reason);
            format!("`{}` fails at if: {} ({})", trace.rule, part.text, part.found.join(", "))
        }
        Some(Check { text, found, .. }) if found.is_empty() => format!("`{}` fails at {text}", trace.rule),
        Some(Check { text, found, .. }) => format!("`{}` fails at {text} ({found})", trace.rule),
        None => format!("`{}` matched", trace.rule),
    }
}

/// The innermost part of a condition that did not hold.
fn decisive(reason: &Reason) -> &Reason {
    reason.parts.iter().find(|part| !part.holds).map_or(reason, decisive)
}

fn calls(expect: &Expect, played: &Played, differences: &mut Vec<String>) {
    let mut next = 0;
    for (index, wanted) in expect.calls.iter().enumerate() {
        let rest = played.calls.get(next..).unwrap_or(&[]);
        let fits =
            |call: &super::play::PlayedCall| call.uses == wanted.uses && within(&wanted.with, &call.with, "with").is_empty();
        match rest.iter().position(fits) {
            Some(at) => next += at + 1,
            None => differences.push(missing_call(index, wanted, next, played)),
        }
    }
}

fn missing_call(index: usize, wanted: &ExpectedCall, next: usize, played: &Played) -> String {
    let mut text = format!("calls, number {}: {} was expected", index + 1, wanted.uses);
    let same = |calls: &[super::play::PlayedCall]| calls.iter().find(|call| call.uses == wanted.uses).cloned();
    let (before, after) = played.calls.split_at(next.min(played.calls.len()));
    match same(after).or_else(|| same(before)) {
        Some(call) => {
            let details = within(&wanted.with, &call.with, "with");
            if details.is_empty() {
                text.push_str(", but it was called before what stands above it in the list");
            }
            for detail in details {
                text.push_str("\n  ");
                text.push_str(&detail);
            }
        }
        None => {
            let made: Vec<&str> = played.calls.iter().map(|call| call.uses.as_str()).collect();
            let made = if made.is_empty() { "nothing".to_owned() } else { made.join(", ") };
            text.push_str(&format!("; called: {made}"));
        }
    }
    text
}

/// Where `wanted` is not in `found`: objects may have more, lists may not, `/…/` is a regular expression over the text.
fn within(wanted: &Value, found: &Value, path: &str) -> Vec<String> {
    match (wanted, found) {
        (Value::Null, _) if path == "with" => Vec::new(),
        (Value::String(wanted), found) if is_pattern(wanted) => {
            let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            match pattern(wanted) {
                Ok(pattern) if pattern.is_match(&text) => Vec::new(),
                Ok(_) => vec![format!("{path}: expected {wanted}, found {}", shown(found))],
                Err(message) => vec![format!("{path}: {message}")],
            }
        }
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .flat_map(|(key, wanted)| within(wanted, found.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}")))
            .collect(),
        (Value::Array(wanted), Value::Array(found)) if wanted.len() == found.len() => wanted
            .iter()
            .zip(found)
            .enumerate()
            .flat_map(|(index, (wanted, found))| within(wanted, found, &format!("{path}[{index}]")))
            .collect(),
        (Value::Number(wanted), Value::Number(found)) if wanted.as_f64() == found.as_f64() => Vec::new(),
        (wanted, found) if wanted == found => Vec::new(),
        _ => vec![format!("{path}: expected {}, found {}", shown(wanted), shown(found))],
    }
}

/// `/…/`
pub fn is_pattern(text: &str) -> bool {
    text.len() > 2 && text.starts_with('/') && text.ends_with('/')
}

/// The regular expression between the slashes, of bounded size.
pub fn pattern(text: &str) -> Result<regex::Regex, String> {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    RegexBuilder::new(inner)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| format!("{text} is no regular expression: {}", error.to_string().lines().last().unwrap_or_default()))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
