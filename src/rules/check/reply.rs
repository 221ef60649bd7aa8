//! `reply:`: an answer that somebody waits for.

use std::time::Duration;

use super::steps::Block;
use super::trigger::Heard;
use super::{Checker, advice, scope};
use crate::rules::expr::Scope;
use crate::rules::model::Reply;
use crate::rules::registry::{EventSpec, ReplySpec};
use crate::rules::shapes;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::values::{folded_object, unknown_key, value};
use crate::rules::yaml::{Entry, duration};

impl Checker<'_> {
    /// Checks it, and that it comes in time whatever happens.
    pub fn reply(&mut self, entry: Option<&Entry>, rule: &Entry, heard: &[Heard], start: &Scope, steps: &Block) -> Option<Reply> {
        let events: Vec<&'static EventSpec> = heard.iter().filter_map(|heard| heard.spec).collect();
        let Some(entry) = entry else {
            if let Some(spec) = events.iter().find(|spec| spec.reply.as_ref().is_some_and(|reply| reply.expected)) {
                let message = format!("somebody waits for an answer to `{}`, and this rule gives none", spec.name);
                let help = "reply: { text: … }, with `when: first` to answer before the steps".to_owned();
                self.faults.error("missing", rule.span.clone(), message, Some(help));
            }
            return None;
        };
        if let Some(spec) = events.iter().find(|spec| spec.reply.is_none()) {
            let message = format!("nobody waits for an answer to `{}`", spec.name);
            self.faults.error("reply", entry.span.clone(), message, Some("post it with an action instead".to_owned()));
            return None;
        }
        let spec = events.first().and_then(|spec| spec.reply.as_ref().map(|reply| (*spec, reply)))?;
        if let Some(other) = events.iter().find(|other| !std::ptr::eq(**other, spec.0)) {
            let message = format!("the answers to `{}` and `{}` are different", spec.0.name, other.name);
            self.faults.error("reply", entry.span.clone(), message, Some("write a rule for each event".to_owned()));
            return None;
        }
        self.answer(entry, spec, heard, start, steps)
    }

    fn answer(
        &mut self,
        entry: &Entry,
        (event, spec): (&'static EventSpec, &'static ReplySpec),
        heard: &[Heard],
        start: &Scope,
        steps: &Block,
    ) -> Option<Reply> {
        let Some(entries) = entry.value.entries() else {
            crate::rules::values::not_a(&mut self.faults, &entry.value.span, "`reply`", "a mapping", entry.value.kind());
            return None;
        };
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        let first = find("when").is_some_and(|entry| self.is_first(entry));
        let scope = if first { start } else { &steps.after };
        let fields: Vec<&Entry> = entries.iter().filter(|entry| !matches!(entry.key.as_str(), "when" | "on-error")).collect();
        let with = self.fields(entry, &fields, (event, spec), scope);
        let on_error = find("on-error").and_then(|on_error| {
            let fields: Vec<&Entry> = on_error.value.entries().unwrap_or(&[]).iter().collect();
            self.fields(on_error, &fields, (event, spec), &scope::on_failure(&steps.after))
        });
        if !first {
            self.in_time(entry, event, spec, heard, steps);
            if !steps.steps.is_empty() && find("on-error").is_none() {
                let text = "if a step fails, nobody would get an answer";
                let help = if spec.fields.iter().any(|field| field.name == "text") {
                    "on-error: { text: \"Sorry, that did not work. Please try again.\" }"
                } else {
                    "on-error: { status: 503 }"
                };
                self.faults.error("missing", entry.value.span.clone(), text, Some(help.to_owned()));
            }
        } else if let Some(on_error) = find("on-error") {
            let message = "the answer comes before the steps, so `on-error` is never used";
            self.faults.error("reply", on_error.span.clone(), message, Some("tell it with a step in `on-failure:`".to_owned()));
        }
        Some(Reply { first, with: with?, on_error })
    }

    fn is_first(&mut self, entry: &Entry) -> bool {
        let word = entry.value.scalar().map_or("", |scalar| scalar.text.as_str());
        if !matches!(word, "first" | "last") {
            let help = did_you_mean(word, ["first", "last"]);
            self.faults.error("type", entry.value.span.clone(), "`when` is first or last", help);
        }
        word == "first"
    }

    fn fields(
        &mut self,
        owner: &Entry,
        entries: &[&Entry],
        (event, spec): (&EventSpec, &ReplySpec),
        scope: &Scope,
    ) -> Option<Template> {
        let types = shapes::object(spec.fields);
        let mut fields = Vec::new();
        let mut whole = true;
        for entry in entries {
            let Some(expected) = types.get(&entry.key) else {
                let known = types.keys().map(String::as_str).chain(["when", "on-error"]);
                let advice = advice::reply(event.name, &entry.key).map(str::to_owned);
                let help = advice.or_else(|| did_you_mean(&entry.key, known));
                unknown_key(&mut self.faults, "this reply", entry, help);
                whole = false;
                continue;
            };
            let mut templates = super::Templates { checker: self, scope };
            match value(&mut templates, &entry.value, expected, &entry.key) {
                Some(value) => fields.push((entry.key.clone(), value)),
                None => whole = false,
            }
        }
        let given = |key: &str| entries.iter().any(|entry| entry.key == key);
        for field in spec.fields.iter().filter(|field| !shapes::is_optional(field) && !given(field.name)) {
            self.faults.error("missing", owner.span.clone(), format!("this reply needs `{}`", field.name), None);
            whole = false;
        }
        if entries.is_empty() && spec.fields.iter().all(shapes::is_optional) {
            let names: Vec<&str> = spec.fields.iter().map(|field| field.name).collect();
            let message = format!("this reply says nothing; it can hold {}", names.join(", "));
            self.faults.error("missing", owner.span.clone(), message, None);
            whole = false;
        }
        whole.then(|| folded_object(fields))
    }

    fn in_time(&mut self, entry: &Entry, event: &EventSpec, spec: &ReplySpec, heard: &[Heard], steps: &Block) {
        let deadline = heard.iter().map(|heard| self.deadline(heard, spec)).min().unwrap_or(spec.deadline);
        if steps.longest >= deadline {
            let message =
                format!("the reply could come after {}, but `{}` waits {}", shown(steps.longest), event.name, shown(deadline));
            let help = "shorten `timeout:` of the steps, or answer before them with `when: first`".to_owned();
            self.faults.error("deadline", entry.value.span.clone(), message, Some(help));
        }
    }

    /// The source knows better than the registry, where it says so.
    fn deadline(&self, heard: &Heard, spec: &ReplySpec) -> Duration {
        let source = heard.source.as_ref().and_then(|name| self.ground.offer?.sources.get(name));
        let configured = source.and_then(|settings| settings.get("deadline")?.as_str());
        configured.and_then(duration).unwrap_or(spec.deadline)
    }
}

/// `9 s`, `2.5 s`.
fn shown(length: Duration) -> String {
    if length.subsec_millis() == 0 { format!("{} s", length.as_secs()) } else { format!("{} s", length.as_secs_f64()) }
}
