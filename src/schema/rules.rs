//! The schema of rule files.

use declic_actions::action::Spec;
use serde_json::{Map, Value, json};

use super::shape::{self, Position, duration, text};
use super::{closed, described, mapping, when};
use crate::rules::check::keys;
use crate::rules::registry::{self, ACTOR, Declares, EVENTS, EventSpec, FilterKind, FilterSpec, REPOSITORY};
use crate::rules::shapes;
use crate::rules::types::Type;

/// The schema of `rules/*.yaml` and `.declic/*.yaml`.
pub fn rules() -> Value {
    let mut schema = mapping(
        [
            ("version", described(json!({ "const": 1 }), "Version of the rule language: 1")),
            ("vars", vars()),
            (
                "rules",
                json!({
                    "description": "Rules by name. All that match an event run.",
                    "type": "object",
                    "propertyNames": { "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" },
                    "additionalProperties": { "$ref": "#/definitions/rule" },
                }),
            ),
            (
                "tests",
                json!({ "description": "What must come of an event: run by `declic test`.", "type": "array", "items": { "$ref": "#/definitions/test" } }),
            ),
        ],
        &["version", "rules"],
    );
    schema["definitions"] = json!({ "rule": rule(), "step": step(), "steps": { "type": "array", "items": { "$ref": "#/definitions/step" } }, "test": test() });
    let mut whole = Map::new();
    whole.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
    whole.insert("title".to_owned(), "Declic rule file".into());
    if let Value::Object(rest) = schema {
        whole.extend(rest);
    }
    Value::Object(whole)
}

fn vars() -> Value {
    json!({
        "description": "Values by name, read as ${{ vars.name }}. A later one may read an earlier one.",
        "type": "object",
        "propertyNames": { "pattern": "^[a-z_][a-z0-9_]{0,62}$" },
    })
}

/// The properties of a list of keys. A key without a schema of its own here takes anything; a test says so.
fn of_keys(keys: &[&str], schema: impl Fn(&str) -> Option<Value>) -> Map<String, Value> {
    keys.iter().map(|key| ((*key).to_owned(), schema(key).unwrap_or_else(|| json!({})))).collect()
}

fn rule() -> Value {
    let mut rule = closed(of_keys(keys::RULE, rule_key), &["on"]);
    let replies = EVENTS.iter().filter_map(|event| event.reply.as_ref().map(|reply| (event, reply.fields)));
    let conditions = replies.map(|(event, fields)| {
        let mut on_error = shape::fields(fields, Position::Rule);
        on_error["description"] = "What is answered if a step fails.".into();
        let mut properties = shape::properties(fields, Position::Rule);
        properties.insert(
            "when".to_owned(),
            described(
                json!({ "enum": ["first", "last"] }),
                "`first` answers before any step, `last` (the default) after all of them.",
            ),
        );
        properties.insert("on-error".to_owned(), on_error);
        json!({
            "if": { "properties": { "on": { "type": "object", "required": [event.name] } }, "required": ["on"] },
            "then": { "properties": { "reply": closed(properties, &[]) } },
        })
    });
    rule["allOf"] = conditions.collect();
    rule["anyOf"] = json!([{ "required": ["steps"] }, { "required": ["reply"] }]);
    rule
}

fn rule_key(key: &str) -> Option<Value> {
    let steps = |text: &str| json!({ "$ref": "#/definitions/steps", "description": text });
    Some(match key {
        "description" => described(text(), "What the rule is for, for people."),
        "enabled" => described(json!({ "type": "boolean" }), "`false` switches it off; it stays checked and explained."),
        "dry-run" => described(json!({ "type": "boolean" }), "`true`: its runs are rendered and recorded, and do nothing."),
        "on" => on(),
        "if" => condition("One expression, true or false, without ${{ }}."),
        "allow" => described(
            mapping(
                [
                    ("permission", json!({ "enum": keys::PERMISSIONS })),
                    ("teams", described(shape::texts(), "`org/team`")),
                    ("users", described(shape::texts(), "GitHub logins")),
                    ("slack-users", described(shape::texts(), "Slack user ids")),
                    ("slack-groups", described(shape::texts(), "Slack user groups")),
                ],
                &[],
            ),
            "Who may start it.",
        ),
        "environment" => described(
            mapping(
                [
                    ("name", text()),
                    ("url", text()),
                    ("sha", described(text(), "The commit; the event's own if not given.")),
                    ("transient", json!({ "type": "boolean" })),
                ],
                &["name"],
            ),
            "A GitHub deployment whose statuses follow the run.",
        ),
        "concurrency" => described(
            mapping(
                [
                    ("group", described(text(), "Runs of the same group exclude each other.")),
                    (
                        "mode",
                        described(
                            json!({ "enum": keys::modes() }),
                            "What happens to runs of a group that is taken; queue-latest if not given.",
                        ),
                    ),
                ],
                &["group"],
            ),
            "What must not be done twice at a time.",
        ),
        "collapse" => described(
            mapping(
                [
                    ("key", described(text(), "What belongs together: of one key, the same is told once.")),
                    ("state", described(text(), "What is told of it; another state is told anew.")),
                    (
                        "repeats",
                        described(
                            json!({ "enum": keys::repeats() }),
                            "What becomes of repeats: the message is edited and counts them, or nothing is done; edit if not given.",
                        ),
                    ),
                    (
                        "quiet",
                        described(
                            duration(),
                            "After so long without one the next is told anew; if not given, an hour for edit, and never for drop.",
                        ),
                    ),
                ],
                &["key"],
            ),
            "What happens again and again and is told once.",
        ),
        "timeout" => described(duration(), "Longest time of the whole run."),
        "vars" => vars(),
        "steps" => steps("What is done, in order; the first failure ends it."),
        "reply" => described(json!({ "type": "object" }), "The answer that the sender of the event waits for."),
        "on-failure" => steps("What is done if a step failed; reads `failure`."),
        "finally" => steps("What is done in the end, however it went; reads `result`."),
        _ => return None,
    })
}

fn condition(text: &str) -> Value {
    json!({ "description": text, "type": ["string", "boolean"], "not": { "type": "string", "pattern": "^\\s*\\$\\{\\{" } })
}

fn on() -> Value {
    let events: Map<String, Value> = registry::events().map(|event| (event.name.to_owned(), trigger(event))).collect();
    let mut on = described(closed(events, &[]), "What starts the rule: any of these events.");
    on["minProperties"] = 1.into();
    on
}

fn trigger(event: &EventSpec) -> Value {
    let mut properties: Map<String, Value> =
        event.filters.iter().map(|one| (one.name.to_owned(), described(filter(event, one), one.summary))).collect();
    properties.insert("source".to_owned(), json!({ "type": "string", "description": "Entry of `sources:` that it comes from." }));
    if registry::can_be_own(event) {
        let summary = "`true`: what Declic itself did starts it too";
        properties.insert("own-events".to_owned(), json!({ "type": "boolean", "description": summary }));
    }
    let mut required = Vec::new();
    if !event.github {
        required.push("source");
    }
    if event.declares == Declares::Command {
        properties.insert("command".to_owned(), described(text(), "The command, with or without `/`."));
        required.push("command");
    }
    if let Some(key) = event.declares.key() {
        let kinds = if key == "args" { json!({ "type": "object" }) } else { json!({}) };
        properties.insert(key.to_owned(), described(kinds, "The shape: { name: string, amount: double, note: string? }"));
    }
    let mut trigger = closed(properties, &required);
    if required.is_empty() {
        trigger["type"] = json!(["object", "null"]);
    }
    described(trigger, event.summary)
}

fn filter(event: &EventSpec, filter: &FilterSpec) -> Value {
    match filter.kind {
        FilterKind::Flag => json!({ "type": "boolean" }),
        FilterKind::In => match shapes::object(event.fields).remove(filter.path.strip_prefix("event.").unwrap_or_default()) {
            Some(Type::Enum(words)) => shape::words(&words),
            _ => shape::texts(),
        },
        FilterKind::Glob(_) | FilterKind::AnyGlob(_) | FilterKind::AnyIn => shape::texts(),
    }
}

fn step() -> Value {
    let mut step = closed(of_keys(keys::STEP, step_key), &["uses"]);
    step["allOf"] = registry::actions().map(with).collect();
    step
}

/// The parameters of one action.
fn with(spec: &Spec) -> Value {
    let with = shape::fields(spec.parameters, Position::Rule);
    let needed = with.get("required").is_some();
    let mut then = json!({ "properties": { "with": with } });
    if needed {
        then["required"] = json!(["with"]);
    }
    when("uses", spec.name, then)
}

fn step_key(key: &str) -> Option<Value> {
    let attempts = || json!({ "type": "integer", "minimum": 1, "maximum": 20 });
    Some(match key {
        "id" => {
            json!({ "description": "Others read its outputs as ${{ steps.id.outputs.name }}.", "type": "string", "pattern": "^[a-z_][a-z0-9_]{0,62}$" })
        }
        "name" => described(text(), "For people."),
        "uses" => {
            let summaries: Vec<&str> = registry::actions().map(|spec| spec.summary).collect();
            let names: Vec<&str> = registry::actions().map(|spec| spec.name).collect();
            json!({ "description": "The action.", "enum": names, "markdownEnumDescriptions": summaries })
        }
        "if" => condition("The step is skipped unless this expression is true."),
        "with" => described(json!({ "type": "object" }), "The action's parameters."),
        "timeout" => described(duration(), "Longest time of one attempt; the action's own if not given."),
        "retry" => json!({
            "description": "Attempts in all, where a failure is marked as temporary.",
            "anyOf": [attempts(), mapping([("attempts", attempts()), ("wait", duration()), ("max-wait", duration())], &["attempts"])],
        }),
        "on-error" => described(json!({ "enum": ["stop", "continue"] }), "`continue` goes on with the next step."),
        _ => return None,
    })
}

fn test() -> Value {
    let mut test = closed(of_keys(keys::TEST, test_key), &["name", "event", "expect"]);
    let fields = |event: &EventSpec| {
        let mut names: Map<String, Value> =
            event.fields.iter().map(|one| (one.name.to_owned(), json!({ "description": one.summary }))).collect();
        names.extend(event.declares.key().map(|key| (key.to_owned(), json!({}))));
        when("event", event.name, json!({ "properties": { "with": closed(names, &[]) } }))
    };
    test["allOf"] = EVENTS.iter().map(fields).collect();
    test
}

fn test_key(key: &str) -> Option<Value> {
    let context = |fields: &[declic_actions::action::Field]| {
        closed(fields.iter().map(|one| (one.name.to_owned(), json!({ "description": one.summary }))).collect(), &[])
    };
    let outcome = || {
        mapping(
            [
                ("outputs", json!({ "type": "object" })),
                ("fail", text()),
                ("code", text()),
                ("rolled_back", json!({ "type": "boolean" })),
            ],
            &[],
        )
    };
    Some(match key {
        "name" => described(text(), "What must happen, in words."),
        "event" => json!({ "enum": registry::events().map(|event| event.name).collect::<Vec<_>>() }),
        "with" => {
            described(json!({ "type": "object" }), "Fields of the event that matter; the others get a value of their type.")
        }
        "actor" => context(ACTOR),
        "repo" => context(REPOSITORY),
        "steps" => json!({ "description": "What steps give, by id.", "type": "object", "additionalProperties": outcome() }),
        "expect" => closed(of_keys(keys::EXPECT, expect_key), &[]),
        _ => return None,
    })
}

fn expect_key(key: &str) -> Option<Value> {
    let actions: Vec<&str> = registry::actions().map(|spec| spec.name).collect();
    let names = || json!({ "type": "array", "items": { "type": "string" } });
    Some(match key {
        "matched" => described(names(), "Exactly these rules start."),
        "denied" => described(names(), "Exactly these rules are refused by `allow:`."),
        "calls" => json!({
            "description": "These calls are made, in this order; texts /…/ are regular expressions.",
            "type": "array",
            "items": mapping([("uses", json!({ "enum": actions })), ("with", json!({ "type": "object" }))], &["uses"]),
        }),
        "not-called" => json!({ "description": "These actions are not called.", "type": "array", "items": { "enum": actions } }),
        "reply" => described(json!({ "type": "object" }), "The reply has these fields."),
        _ => return None,
    })
}
