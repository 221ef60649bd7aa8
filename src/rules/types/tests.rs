//! Shapes are read, written back, held against values and against each other.

use serde_json::json;

use super::{Misfit, Type};

/// The type of a shape that a test wrote.
fn shape(text: &str) -> Type {
    Type::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

#[test]
fn a_shape_is_read_and_written_back() {
    for (text, back) in [
        ("string", "string"),
        (" int ? ", "int?"),
        ("user|channel?", "user|channel?"),
        ("user | channel", "user|channel"),
        ("\"opened|reopened\"", "opened|reopened"),
        ("\"opened|reopened?\"", "opened|reopened?"),
        ("\"string\"", "string"),
        ("\"open\"", "\"open\""),
        ("+1|-1|eyes", "+1|-1|eyes"),
        ("order.placed|order.cancelled", "order.placed|order.cancelled"),
        ("[{ sku: string, quantity: int }]", "[{ quantity: int, sku: string }]"),
        ("{ k?: int, l: text? }", "{ k?: int, l?: text }"),
        ("{ \"*\": any }", "{ \"*\": any }"),
        ("{ path: string, status: int?, every: duration?, }", "{ every?: duration, path: string, status?: int }"),
        ("{}", "{}"),
        ("[plain]?", "[plain]?"),
        ("[int] | int?", "[int]|int?"),
        ("{ \"*\": { secret: string, version: string? }|string }?", "{ \"*\": { secret: string, version?: string }|string }?"),
        ("{ on: pull_request|issue, \"x-y\": url-path }", "{ on: pull_request|issue, x-y: url-path }"),
    ] {
        assert_eq!(shape(text).to_string(), back, "{text}");
        assert_eq!(shape(back), shape(text), "{text} and {back}");
    }
}

#[test]
fn a_faulty_shape_says_where_and_what() {
    let check = |text: &str, place: &str, message: &str, help: Option<&str>| {
        let faults = Type::parse(text).expect_err(text);
        let [fault] = faults.as_slice() else { panic!("{text}: {faults:?}") };
        assert_eq!((text.get(fault.span.clone()), fault.help.as_deref()), (Some(place), help), "{text}");
        assert!(fault.message.contains(message), "{text}: {}", fault.message);
    };
    check("{ price: number }", "number", "`number` is not a type; use string, text, int", Some("write int or double"));
    check("strng", "strng", "is not a type", Some("did you mean `string`?"));
    check("widget", "widget", "is not a type", None);
    check("[int", "", "`]` is missing", None);
    check("{ a int }", "i", "`:` is missing", None);
    check("{ a: int, a: int }", "a", "cannot stand beside", None);
    check("a||b", "|", "is missing here", None);
    check("a|a", "a|a", "different words", None);
    check("int int", "int", "left over", None);
    check("", "", "is missing here", None);
    assert!(Type::parse(&"[".repeat(5000)).is_err());
}

#[test]
fn every_fault_of_a_shape_is_found() {
    let text = "{ a: strng, b: [itn], a: int, c: x|x, d: { e: boolean }, f int }";
    let faults = Type::parse(text).expect_err(text);
    let found: Vec<(&str, &str)> = faults.iter().map(|fault| (&text[fault.span.clone()], fault.message.as_str())).collect();
    let places: Vec<&str> = found.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, ["strng", "itn", "a", "x|x", "boolean", "i"], "{found:?}");
}

#[test]
fn a_value_fits_its_shape_or_says_where_not() {
    let check = |text: &str, value: serde_json::Value, expected: &str| {
        let found = shape(text).fits(&value).map_or_else(|fault| fault.to_string(), |()| "fits".to_owned());
        assert_eq!(found, expected, "{text} {value}");
    };
    check("{ a: int, b: string? }", json!({"a": 1, "more": []}), "fits");
    check("{ a: int, b: string? }", json!({"b": null}), "`a` is missing");
    check(
        "{ items: [{ sku: string }] }",
        json!({"items": [{"sku": "x"}, {"sku": 1}]}),
        "`items[1].sku` must be a string, this is an int",
    );
    check("{ items: [[int]] }", json!({"items": [[1, true]]}), "`items[0][1]` must be an int, this is a bool");
    check("double", json!(1), "fits");
    check("int", json!(1.0), "must be an int, this is a double");
    check("int", json!(u64::MAX), "must be an int, this is a number too large for an int");
    check("web|api", json!("web"), "fits");
    check("web|api", json!("db"), "must be one of web, api, this is \"db\"");
    check("{ \"*\": int }", json!({"x": 1, "y": "2"}), "`y` must be an int, this is a string");
    check("{ \"*\": int }", json!([]), "must be an object, this is a list");
    check("timestamp", json!("2026-11-24T06:06:19.123Z"), "fits");
    check("timestamp", json!("yesterday"), "must be a timestamp, this is a string");
    check("duration", json!("15m"), "fits");
    check("duration", json!("15 minutes"), "must be a duration, this is a string");
    check("any", json!(null), "fits");
    check("string", json!(null), "is missing");
}

#[test]
fn positions_accept_what_is_safe_there() {
    let check = |position: &str, given: &str, expected: Result<(), Misfit>| {
        assert_eq!(shape(position).accepts(&shape(given)), expected, "{position} <- {given}");
    };
    check("string", "string", Ok(()));
    check("string", "int", Ok(()));
    check("string", "a|b", Ok(()));
    check("string", "text", Err(Misfit::Untrusted));
    check("string", "any", Err(Misfit::Untrusted));
    check("string", "string?", Err(Misfit::Missing));
    check("string?", "string?", Ok(()));
    check("string?", "text?", Err(Misfit::Untrusted));
    check("string", "[string]", Err(Misfit::Kind));
    check("mrkdwn", "text", Ok(()));
    check("mrkdwn", "any", Ok(()));
    check("mrkdwn", "{ a: int }", Err(Misfit::Kind));
    check("int", "string", Err(Misfit::Kind));
    check("int", "any", Ok(()));
    check("double", "int", Ok(()));
    check("int", "double", Err(Misfit::Kind));
    check("a|b|c", "a|b", Ok(()));
    check("a|b", "a|c", Err(Misfit::Kind));
    check("a|b", "string", Err(Misfit::Kind));
    check("any", "text?", Ok(()));
    check("any", "secret", Err(Misfit::Kind));
    check("string", "secret", Err(Misfit::Kind));
    check("secret", "secret", Ok(()));
    check("target", "string", Err(Misfit::Literal));
    check("[string]", "[text]", Err(Misfit::Untrusted));
    check("[int]", "[int]", Ok(()));
    check("{ \"*\": string }", "{ a: int, b: string? }", Ok(()));
    check("{ \"*\": string }", "{ a: text }", Err(Misfit::Untrusted));
    check("{ a: int, b: string? }", "{ a: int }", Ok(()));
    check("{ a: int, b: string }", "{ a: int }", Err(Misfit::Missing));
    check("duration", "\"5m|10m\"", Ok(()));
    check("duration", "string", Err(Misfit::Kind));
}

#[test]
fn an_outsiders_shape_is_tainted_where_it_has_strings() {
    let outside = shape("{ a: int, b: string?, c: [{ d: string, e: x|y }] }").from_outside();
    assert_eq!(outside.to_string(), "{ a: int, b?: text, c: [{ d: text, e: x|y }] }");
    assert!(outside.tainted());
    assert!(!shape("{ a: int, e: x|y, s: string }").tainted());
}
