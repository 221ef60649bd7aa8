//! Every key has a schema of its own, every example fits, and what is wrong does not. The real editor service is asked in
//! `tests/it/editors.rs`; here a small validator of the keywords in use is enough.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::rules::check::keys;
use crate::rules::yaml::{self, Limits};

/// Places where the value does not fit, as JSON pointers.
fn misfits(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Value::Object(keywords) = schema else { panic!("{schema}") };
    let fits = |schema: &Value, value: &Value| misfits(root, schema, value, at).is_empty();
    for (keyword, given) in keywords {
        let list = || given.as_array().into_iter().flatten();
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "definitions" | "examples" | "markdownEnumDescriptions" | "then" => true,
            "$ref" => {
                let target = given.as_str().and_then(|text| root.pointer(text.strip_prefix('#')?)).expect("a definition");
                found.extend(misfits(root, target, value, at));
                true
            }
            "const" => given == value,
            "enum" => list().any(|one| one == value),
            "type" if given.is_array() => list().any(|one| is(one, value)),
            "type" => is(given, value),
            "pattern" => {
                let pattern = regex::Regex::new(given.as_str().expect("a pattern")).expect("a good pattern");
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= given.as_u64().expect("a number")),
            "minProperties" => value.as_object().is_none_or(|items| items.len() as u64 >= given.as_u64().expect("a number")),
            "minimum" => value.as_i64().is_none_or(|number| number >= given.as_i64().expect("a number")),
            "maximum" => value.as_i64().is_none_or(|number| number <= given.as_i64().expect("a number")),
            "required" => {
                value.as_object().is_none_or(|fields| list().all(|name| fields.contains_key(name.as_str().expect("a name"))))
            }
            "anyOf" => list().any(|one| fits(one, value)),
            "not" => !fits(given, value),
            "allOf" => {
                found.extend(list().flat_map(|one| misfits(root, one, value, at)));
                true
            }
            "if" => {
                if fits(given, value) {
                    found.extend(misfits(root, &keywords["then"], value, at));
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(misfits(root, given, item, &format!("{at}/{index}")));
                }
                true
            }
            "properties" => {
                for (name, schema) in given.as_object().expect("properties") {
                    if let Some(inner) = value.get(name) {
                        found.extend(misfits(root, schema, inner, &format!("{at}/{name}")));
                    }
                }
                true
            }
            "propertyNames" => value.as_object().is_none_or(|fields| fields.keys().all(|name| fits(given, &json!(name)))),
            "additionalProperties" => {
                let known = keywords.get("properties").and_then(Value::as_object);
                for (name, inner) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(name)) {
                        continue;
                    }
                    let at = format!("{at}/{name}");
                    found.extend(if *given == json!(false) { vec![at] } else { misfits(root, given, inner, &at) });
                }
                true
            }
            other => panic!("the validator of this test does not know `{other}`"),
        };
        if !holds {
            found.push(format!("{at} {keyword}"));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

fn read(path: &str) -> Value {
    let text =
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_else(|error| panic!("{path}: {error}"));
    parsed(&text)
}

fn parsed(text: &str) -> Value {
    yaml::read("rules.yaml", text, Limits::OPERATOR).0.expect("YAML").to_json()
}

fn against(schema: &Value, value: &Value) -> Vec<String> {
    misfits(schema, schema, value, "")
}

#[test]
fn every_example_fits_its_schema() {
    let (rules, config) = (rules(), config());
    for name in ["rules/alerts", "rules/chat", "rules/images", "rules/orders", "repo/.declic/deploy"] {
        assert_eq!(against(&rules, &read(&format!("rules/examples/{name}.yaml"))), Vec::<String>::new(), "{name}");
    }
    for name in ["src/cli/init/staging.yaml", "src/demo/rules.yaml"] {
        assert_eq!(against(&rules, &read(name)), Vec::<String>::new(), "{name}");
    }
    for name in ["rules/examples/declic.yaml", "src/cli/init/declic.yaml"] {
        assert_eq!(against(&config, &read(name)), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_is_wrong_does_not_fit() {
    let rules = rules();
    let step = "{ uses: github/comment, with: { body: x } }";
    for (on, step, expected) in [
        ("{ github.push: { brnaches: [main] } }", step, vec!["/rules/r/on/github.push/brnaches"]),
        ("{ github.psuh: }", step, vec!["/rules/r/on/github.psuh"]),
        ("{ github.issues: { types: [opend] } }", step, vec!["/rules/r/on/github.issues/types anyOf"]),
        ("{ slack.command: { source: s } }", step, vec!["/rules/r/on/slack.command required"]),
        ("{ github.push: }", "{ uses: github/coment }", vec!["/rules/r/steps/0/uses enum"]),
        ("{ github.push: }", "{ uses: github/comment }", vec!["/rules/r/steps/0 required"]),
        ("{ github.push: }", "{ uses: github/comment, with: { body: x, nmber: 1 } }", vec!["/rules/r/steps/0/with/nmber"]),
        (
            "{ github.push: }",
            "{ uses: github/comment, with: { body: x, number: [] } }",
            vec!["/rules/r/steps/0/with/number anyOf"],
        ),
        ("{ github.push: }", "{ uses: github/comment, with: { body: 1, number: '${{ event.x }}' } }", vec![]),
        (
            "{ github.push: }",
            "{ uses: github/comment, timeout: 5 min, with: { body: x } }",
            vec!["/rules/r/steps/0/timeout pattern"],
        ),
        (
            "{ github.push: }",
            "{ uses: http/request, with: { connection: c, path: /, token: plain } }",
            vec!["/rules/r/steps/0/with/token pattern"],
        ),
    ] {
        let file = parsed(&format!("version: 1\nrules:\n  r:\n    on: {on}\n    steps: [{step}]\n"));
        assert_eq!(against(&rules, &file), expected, "{on} {step}");
    }
    let reply = parsed("version: 1\nrules:\n  r: { on: { http.webhook: { source: s } }, reply: { status: 200, txt: x } }\n");
    assert_eq!(against(&rules, &reply), ["/rules/r/reply/txt"]);
    let settings = parsed("version: 1\nsources: { g: { type: github, secert: s } }\nsecrets: { s: { from: env, path: x } }\n");
    assert_eq!(
        against(&config(), &settings),
        ["/secrets/s required", "/secrets/s/path", "/sources/g required", "/sources/g/secert"]
    );
}

/// Keys whose schema takes anything.
fn open(schema: &Value, at: &str) -> Vec<String> {
    let properties = schema.pointer(at).and_then(Value::as_object).unwrap_or_else(|| panic!("{at}"));
    properties.iter().filter(|(_, schema)| **schema == json!({})).map(|(key, _)| key.clone()).collect()
}

#[test]
fn no_key_is_left_without_a_schema() {
    let rules = rules();
    for at in ["/properties", "/definitions/rule/properties", "/definitions/step/properties", "/definitions/test/properties"] {
        assert_eq!(open(&rules, at), Vec::<String>::new(), "{at}");
    }
    assert_eq!(open(&rules, "/definitions/test/properties/expect/properties"), Vec::<String>::new());
    assert_eq!(open(&config(), "/properties"), Vec::<String>::new());
    for (at, known) in [
        ("/properties", keys::FILE),
        ("/definitions/rule/properties/allow/properties", keys::ALLOW),
        ("/definitions/rule/properties/environment/properties", keys::ENVIRONMENT),
        ("/definitions/rule/properties/concurrency/properties", keys::CONCURRENCY),
        ("/definitions/rule/properties/collapse/properties", keys::COLLAPSE),
        ("/definitions/step/properties/retry/anyOf/1/properties", keys::RETRY),
    ] {
        let properties = rules.pointer(at).and_then(Value::as_object).unwrap_or_else(|| panic!("{at}"));
        assert_eq!(properties.keys().collect::<Vec<_>>(), known.iter().collect::<Vec<_>>(), "{at}");
    }
}
