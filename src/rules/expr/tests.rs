//! What is only visible inside: the shape of the tree, and the bounds of one evaluation.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::parser::parse;
use super::{DEEPEST, Environment, Expression, LONGEST, MOST_STEPS, Scope};
use crate::rules::types::Type;

#[test]
fn precedence_is_seen_in_the_canonical_form() {
    let check = |source: &str, expected: &str| {
        let canonical = parse(source).unwrap_or_else(|fault| panic!("{source}: {fault:?}")).to_string();
        assert_eq!(canonical, expected, "{source}");
        assert_eq!(parse(&canonical).map(|ast| ast.to_string()), Ok(canonical.clone()), "{canonical}");
    };
    check("a ?? \"x\"==\"y\"", "a ?? \"x\" == \"y\"");
    check("(a ?? 'x') == 'y'", "a ?? \"x\" == \"y\"");
    check("a ?? (\"x\" == b)", "a ?? (\"x\" == b)");
    check("a ?? b + c", "a ?? b + c");
    check("(a ?? b) + c", "(a ?? b) + c");
    check("a && b || c && d", "a && b || c && d");
    check("a && (b || c) && d", "a && (b || c) && d");
    check("a && (b && c)", "a && b && c");
    check("!(a.b)", "!a.b");
    check("!(a == b)", "!(a == b)");
    check("a - (b - c) - d", "a - (b - c) - d");
    check("(a * b) + c % d", "a * b + c % d");
    check("-(1)", "-(1)");
    check("- 1", "-1");
    check("--1", "-(-1)");
    check("(-1).x", "(-1).x");
    check("a[0][\"b\"].c(d, [1, 2.0])", "a[0][\"b\"].c(d, [1, 2.0])");
    check("(a == b) == c", "(a == b) == c");
    check("'it\\'s' + \"\\u{1f680}\\n\"", "\"it's\" + \"🚀\\n\"");
    check("1e3 + 1.50", "1000.0 + 1.5");
    check("-9223372036854775808", "-9223372036854775808");
}

#[test]
fn limits_hold_for_text_depth_and_steps() {
    assert!(parse(&format!("a{}", " ".repeat(LONGEST))).is_err());
    assert!(parse(&format!("{}a{}", "(".repeat(DEEPEST), ")".repeat(DEEPEST))).is_ok());
    assert!(parse(&format!("{}a{}", "(".repeat(DEEPEST + 1), ")".repeat(DEEPEST + 1))).is_err());
    for deep in [
        "!".repeat(1990) + "a",
        "a".to_owned() + &".b".repeat(990),
        "1".to_owned() + &"+1".repeat(900),
        "[".repeat(1990),
        "a(".repeat(990),
    ] {
        assert!(parse(&deep).is_err(), "{}…", &deep[..10]);
    }
    assert!(parse(&["a"; 400].join("&&")).is_ok(), "long conditions are not deep ones");

    let scope = Scope { names: BTreeMap::from([("p".to_owned(), Type::Any)]), ..Scope::default() };
    let environment = |value: Value| Environment { names: BTreeMap::from([("p".to_owned(), Arc::new(value))]) };
    let message = |source: &str, value: Value| {
        let expression = Expression::compile(source, &scope).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        expression.evaluate(&environment(value)).expect_err(source).message
    };
    let many: Vec<i32> = (0..1000).collect();
    assert!(message("p.map(a, p.map(b, p.map(c, [a, b, c])))", json!(many)).contains(&format!("more than {MOST_STEPS} steps")));
    assert!(message("p.exists(a, a.contains(\"x\"))", json!(vec!["y".repeat(100_000); 500])).contains("steps"));
    assert!(message("p.replace(\"a\", p)", json!("a".repeat(100_000))).contains("MiB of text"));
    assert!(message("p.map(x, json(p)).join(\"\")", json!(vec!["y".repeat(10_000); 100])).contains("MiB of text"));
    assert!(message("p.split(\"a\")", json!("a".repeat(100_000))).contains("steps"));
}
