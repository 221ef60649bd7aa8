//! `steps:`, `on-failure:` and `finally:`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use declic_actions::action::{Class, Spec};

use super::file::{identifier_advice, is_identifier};
use super::scope::{Sure, add_step, add_unknown_step};
use super::{Checker, advice, keys as known};
use crate::rules::expr::Scope;
use crate::rules::model::{Retry, Step};
use crate::rules::registry;
use crate::rules::shapes;
use crate::rules::suggest::{closest, did_you_mean};
use crate::rules::template::Template;
use crate::rules::types::Type;
use crate::rules::values::{folded_object, keys, not_a, unknown_key, value};
use crate::rules::yaml::{Entry, Node};

/// What a step does that says nothing of `retry:`, and the waits of one that says only how often.
const ONCE: Retry = Retry { attempts: 1, wait: Duration::from_secs(1), max_wait: Duration::from_secs(60) };

/// More attempts than that are a loop.
const MOST_ATTEMPTS: i64 = 20;

/// A list of steps after checking.
pub struct Block {
    /// The steps, without those at fault.
    pub steps: Vec<Step>,
    /// What can be read behind the last one.
    pub after: Scope,
    /// Where the first deploying step stands.
    pub deploys: Option<Range<usize>>,
    /// Longest time until the end, all attempts counted.
    pub longest: Duration,
}

impl Block {
    /// No steps.
    pub fn empty(scope: &Scope) -> Self {
        Self { steps: Vec::new(), after: scope.clone(), deploys: None, longest: Duration::ZERO }
    }
}

impl Checker<'_> {
    /// Checks them in order: a later one sees the outputs of the earlier ones.
    pub fn steps(&mut self, node: &Node, key: &str, scope: &Scope) -> Block {
        let mut block = Block::empty(scope);
        let Some(items) = node.items() else {
            not_a(&mut self.faults, &node.span, &format!("`{key}`"), "a list of steps", node.kind());
            return block;
        };
        let sure = if key == "steps" { Sure::Yes } else { Sure::No };
        let mut ids: BTreeMap<String, Range<usize>> = BTreeMap::new();
        for item in items {
            self.step(item, sure, &mut ids, &mut block);
        }
        block
    }

    fn step(&mut self, node: &Node, sure: Sure, ids: &mut BTreeMap<String, Range<usize>>, block: &mut Block) {
        let entries = keys(&mut self.faults, node, "a step", known::STEP, advice::step);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        // Checked in the order of the reference, so that `id` is known when its outputs are.
        let id = find("id").and_then(|entry| self.step_id(&entry.value, ids));
        let name = find("name").and_then(|entry| self.plain_text(&entry.value, "name"));
        let spec = self.uses(find("uses"), node);
        let scope = block.after.clone();
        let condition = find("if").and_then(|entry| self.condition(&entry.value, &scope));
        let scope = condition.as_ref().map_or_else(|| scope.clone(), |condition| scope.assuming(condition));
        let timeout = find("timeout").and_then(|entry| self.duration(&entry.value, "timeout"));
        let retry = find("retry").map_or(ONCE, |entry| self.retry(&entry.value));
        let continue_on_error = find("on-error").is_some_and(|entry| self.on_error(&entry.value));
        let Some(spec) = spec else {
            if let Some(id) = &id {
                add_unknown_step(&mut block.after, id);
            }
            return;
        };
        let (with, response) = self.with(find("with"), node, spec, &scope);
        let timeout = timeout.unwrap_or(spec.deadline);
        let longest = if waits(spec) { super::LONGEST_TIME } else { timeout };
        block.longest = block.longest.saturating_add(longest.saturating_mul(retry.attempts));
        if spec.class == Class::Deploy && block.deploys.is_none() {
            block.deploys = Some(find("uses").map_or(node.span.clone(), |entry| entry.value.span.clone()));
        }
        let step = Step {
            id,
            name,
            uses: spec.name.to_owned(),
            condition,
            with: with.unwrap_or_else(|| Template::Object(Vec::new())),
            timeout,
            retry,
            continue_on_error,
        };
        // An `if` or `on-error` at fault still makes the outputs doubtful: no faults follow from a fault.
        let sure = if find("if").is_some() { Sure::No } else { sure };
        add_step(&mut block.after, &step, outputs(spec, response), sure);
        block.steps.push(step);
    }

    fn step_id(&mut self, node: &Node, ids: &mut BTreeMap<String, Range<usize>>) -> Option<String> {
        let id = self.plain_text(node, "id")?;
        if !is_identifier(&id) {
            let message = format!("`{id}` cannot be used in an expression");
            self.faults.error("id", node.span.clone(), message, Some(identifier_advice(&id)));
            return None;
        }
        if let Some(first) = ids.get(&id) {
            let fault = crate::rules::diagnostic::Diagnostic::error(
                self.faults.file(),
                "duplicate-id",
                node.span.clone(),
                format!("the id `{id}` is given twice"),
            );
            let fault = fault.related(first.clone(), "first given here");
            self.faults.extend([fault]);
            return None;
        }
        ids.insert(id.clone(), node.span.clone());
        Some(id)
    }

    fn uses(&mut self, entry: Option<&Entry>, step: &Node) -> Option<&'static Spec> {
        let Some(entry) = entry else {
            self.faults.error("missing", step.span.clone(), "a step needs `uses`", None);
            return None;
        };
        let name = self.plain_text(&entry.value, "uses")?;
        if let Some(spec) = registry::action(&name) {
            self.action_granted(&entry.value, &name);
            return Some(spec);
        }
        let help = if name.contains('@') || name.starts_with("./") || name.starts_with("docker://") {
            Some("actions of GitHub Actions do not run here; the built-in ones are listed by `declic reference`".to_owned())
        } else {
            did_you_mean(&name, registry::actions().map(|spec| spec.name))
        };
        self.faults.error("unknown-action", entry.value.span.clone(), format!("there is no action `{name}`"), help);
        None
    }

    fn retry(&mut self, node: &Node) -> Retry {
        let mut retry = ONCE;
        if node.scalar().is_some() {
            retry.attempts = self.attempts(node);
            return retry;
        }
        let entries = keys(&mut self.faults, node, "`retry`", known::RETRY, |_| None);
        let find = |key: &str| entries.iter().find(|entry| entry.key == key);
        match find("attempts") {
            Some(entry) => retry.attempts = self.attempts(&entry.value),
            None if node.entries().is_some() => {
                self.faults.error(
                    "missing",
                    node.span.clone(),
                    "`retry` needs `attempts`",
                    Some("retry: { attempts: 3, wait: 1s }".to_owned()),
                );
            }
            None => {}
        }
        if let Some(wait) = find("wait").and_then(|entry| self.duration(&entry.value, "wait")) {
            retry.wait = wait;
            retry.max_wait = retry.max_wait.max(wait);
        }
        if let Some(entry) = find("max-wait")
            && let Some(longest) = self.duration(&entry.value, "max-wait")
        {
            if longest < retry.wait {
                self.faults.error("type", entry.value.span.clone(), "`max-wait` is shorter than `wait`", None);
            }
            retry.max_wait = longest;
        }
        retry
    }

    /// How often it is tried in all.
    fn attempts(&mut self, node: &Node) -> u32 {
        let Some(attempts) = self.literal(node, &Type::Int, "retry").and_then(|attempts| attempts.as_i64()) else { return 1 };
        match u32::try_from(attempts) {
            Ok(found @ 1..) if attempts <= MOST_ATTEMPTS => found,
            _ => {
                let message = format!("a step is tried 1 to {MOST_ATTEMPTS} times in all, not {attempts}");
                self.faults.error("type", node.span.clone(), message, None);
                1
            }
        }
    }

    fn on_error(&mut self, node: &Node) -> bool {
        let word = node.scalar().map_or("", |scalar| scalar.text.as_str());
        if !matches!(word, "stop" | "continue") {
            let help = did_you_mean(word, ["stop", "continue"]);
            self.faults.error("type", node.span.clone(), "`on-error` is stop or continue", help);
        }
        word == "continue"
    }

    /// `with:` against the action's parameters; the second is the declared shape of the answer, where the action takes one.
    fn with(
        &mut self,
        entry: Option<&Entry>,
        step: &Node,
        spec: &'static Spec,
        scope: &Scope,
    ) -> (Option<Template>, Option<Type>) {
        let types = shapes::object(spec.parameters);
        let entries = match entry {
            None => &[],
            Some(entry) => match entry.value.entries() {
                Some(entries) => entries,
                None => {
                    not_a(&mut self.faults, &entry.value.span, "`with`", "a mapping of parameters", entry.value.kind());
                    return (None, None);
                }
            },
        };
        let shown = registry::declared_output(spec.name);
        let (mut fields, mut response, mut whole) = (Vec::with_capacity(entries.len()), None, true);
        let mut doubtful: Vec<&str> = Vec::new();
        for entry in entries {
            let Some(expected) = types.get(&entry.key) else {
                let meant = closest(&entry.key, types.keys().map(String::as_str));
                let help = meant.map(|name| format!("did you mean `{name}`?"));
                unknown_key(&mut self.faults, &format!("`{}`", spec.name), entry, help);
                doubtful.extend(spec.parameters.iter().map(|field| field.name).filter(|name| meant == Some(name)));
                whole = false;
                continue;
            };
            let checked = if shown.is_some_and(|(parameter, _)| parameter == entry.key) {
                response = self.shape(&entry.value);
                Some(Template::literal(entry.value.to_json()))
            } else {
                let mut templates = super::Templates { checker: self, scope };
                value(&mut templates, &entry.value, expected, &entry.key)
            };
            match checked {
                Some(checked) => fields.push((entry.key.clone(), checked)),
                None => {
                    doubtful.push(&entry.key);
                    whole = false;
                }
            }
        }
        for field in spec.parameters.iter().filter(|field| !shapes::is_optional(field)) {
            if !entries.iter().any(|entry| entry.key == field.name) {
                let span = entry.map_or(step.span.clone(), |entry| entry.span.clone());
                self.faults.error("missing", span, format!("`{}` needs `{}`", spec.name, field.name), None);
                doubtful.push(field.name);
                whole = false;
            }
        }
        if let Some(entry) = entry
            && !self.partner_fits(spec.name, &entry.value)
        {
            doubtful.extend(["target", "connection"]);
            whole = false;
        }
        self.call_fits(spec, entry.map(|entry| &entry.value), &fields, doubtful, step);
        (whole.then(|| folded_object(fields)), response)
    }
}

fn waits(spec: &Spec) -> bool {
    declic_actions::kinds::find(spec.name).is_some_and(|action| action.waits())
}

/// The outputs of an action; what it answers is as the step declares it.
fn outputs(spec: &'static Spec, response: Option<Type>) -> Type {
    let mut outputs = shapes::object(spec.outputs);
    if let (Some((_, output)), Some(response)) = (registry::declared_output(spec.name), response) {
        outputs.insert(output.to_owned(), response);
    }
    Type::Object(outputs)
}
