//! The expression language through its public surface: what expressions evaluate to, how conditions are explained, and that no text can
//! make it panic or hang.

use std::collections::BTreeMap;
use std::sync::Arc;

use declic::rules::expr::{Environment, Expression, Reason, Scope};
use declic::rules::types::Type;
use proptest::prelude::*;
use serde_json::{Value, json};

const EVENT: &str =
    "{ sha: string, branch: string?, tag: string?, title: text, number: int, count: int?, total: double, draft: bool,
    fork: bool?, action: opened|closed|edited, files: [string], commits: [{ sha: string, message: text, size: int? }],
    labels: { \"*\": string }, at: timestamp, head: { sha: string, branch: text }, author?: { login: string }, payload: any }";
const STEPS: &str = "{ deploy: { result: success|failure|skipped, outputs: { url: string, previous: string? }? } }";

/// What the expressions of these tests can read.
pub fn scope() -> Scope {
    let shape = |text: &str| Type::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    let secrets = Type::Object(BTreeMap::from([("token".to_owned(), Type::Secret)]));
    let names = [("event", shape(EVENT)), ("steps", shape(STEPS)), ("secrets", secrets)];
    Scope { names: names.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect(), ..Scope::default() }
}

fn environment() -> Environment {
    let event = json!({
        "sha": "4f2c1a9e0b7d", "branch": "main", "title": "Fix <b>\u{202e}", "number": 42, "total": 10, "draft": false, "action": "opened",
        "files": ["src/a.rs", "docs/b.md"], "at": "2026-11-24T06:00:00+01:00",
        "commits": [{ "sha": "aa", "message": "One", "size": 3 }, { "sha": "bb", "message": "Two" }],
        "labels": { "team": "web" }, "head": { "sha": "feed5", "branch": "x" },
        "payload": { "n": 7, "big": 9_007_199_254_740_993_u64, "huge": u64::MAX, "s": "7", "list": [1, "a", null], "o": { "k": "v" }, "d": 0.5 },
    });
    let steps = json!({ "deploy": { "result": "success", "outputs": { "url": "https://x" } } });
    let names = [("event", event), ("steps", steps)];
    Environment { names: names.into_iter().map(|(name, value)| (name.to_owned(), Arc::new(value))).collect() }
}

/// Compiles what a test wrote.
pub fn compile(source: &str) -> Expression {
    Expression::compile(source, &scope()).unwrap_or_else(|faults| panic!("{source}: {faults:#?}"))
}

#[test]
fn expressions_evaluate() {
    let check = |source: &str, expected: Value| {
        let expression = compile(source);
        assert_eq!(expression.evaluate(&environment()), Ok(expected.clone()), "{source}");
        let again = compile(&expression.canonical());
        assert_eq!((again.canonical(), again.evaluate(&environment())), (expression.canonical(), Ok(expected)), "{source}");
    };
    // Literals, arithmetic, precedence.
    check("1 + 2 * 3 - 4 / 2 % 3", json!(5));
    check("7 / 2", json!(3));
    check("-7 / 2", json!(-3));
    check("-7 % 3", json!(-1));
    check("7 / 2.0", json!(3.5));
    check("1 + 0.5", json!(1.5));
    check("event.total / 4", json!(2.5));
    check("event.total == 10", json!(true));
    check("-event.number", json!(-42));
    check("'a' + \"b\"", json!("ab"));
    check("[1, 2] + [3]", json!([1, 2, 3]));
    check("[] + [1]", json!([1]));
    check("9223372036854775807 < 9223372036854775808.0", json!(true));
    check("event.payload.big == 9007199254740992.0", json!(false));
    check("event.payload.huge", json!(u64::MAX));
    check("string(event.payload.huge)", json!("18446744073709551615"));
    // Comparison and logic.
    check("event.branch == \"main\"", json!(true));
    check("event.tag == \"v1\"", json!(false));
    check("event.tag != \"v1\"", json!(true));
    check("event.tag == null", json!(true));
    check("event.branch ?? \"x\" == \"main\"", json!(true));
    check("event.tag ?? event.branch ?? \"none\"", json!("main"));
    check("!event.draft && event.number > 41 || event.draft", json!(true));
    check("event.action in [\"opened\", \"edited\"]", json!(true));
    check("\"src/a.rs\" in event.files", json!(true));
    check("\"team\" in event.labels && !(\"x\" in event.labels)", json!(true));
    check("event.files == [\"src/a.rs\", \"docs/b.md\"]", json!(true));
    check("event.payload.o == event.payload.o", json!(true));
    check("event.payload.n == \"7\"", json!(false));
    check("event.at < \"2026-11-24T05:30:00Z\"", json!(true));
    check("\"abc\" < \"abd\"", json!(true));
    check("if(event.draft, 1, 2)", json!(2));
    // Missing values and flow.
    check("has(event.branch) && event.branch.startsWith(\"ma\")", json!(true));
    check("event.tag != null && event.tag.startsWith(\"v\")", json!(false));
    check("event.tag == null || event.tag.startsWith(\"v\")", json!(true));
    check("!(event.tag == null || event.tag.size() == 0)", json!(false));
    check("if(event.count != null, event.count + 1, 0)", json!(0));
    check("event.branch == \"main\" && event.branch.size() == 4", json!(true));
    check("event.branch in [\"main\", \"dev\"] && event.branch.size() == 4", json!(true));
    check("event.author.login ?? \"nobody\"", json!("nobody"));
    check("event.author == null || event.author.login == \"x\"", json!(true));
    check("steps.deploy.result == \"success\" && steps.deploy.outputs.url.size() > 0", json!(true));
    check("if(steps.deploy.result == \"success\", steps.deploy.outputs.url, \"\")", json!("https://x"));
    check("steps.deploy.outputs.url ?? \"none\"", json!("https://x"));
    check("steps.deploy.result != \"success\" || steps.deploy.outputs.url != \"\"", json!(true));
    check("event.labels.team ?? \"\"", json!("web"));
    check("event.labels[\"no-such\"] ?? null", json!(null));
    check("event.commits[0].message ?? \"\"", json!("One"));
    check("event.commits[9].message ?? \"none\"", json!("none"));
    check("event.files.last() ?? \"\"", json!("docs/b.md"));
    // Any.
    check("event.payload.nothing.at.all ?? 5", json!(5));
    check("has(event.payload.o.k) && !has(event.payload.o.z)", json!(true));
    check("event.payload.n + 1", json!(8));
    check("event.payload.list[1]", json!("a"));
    check("event.payload.list[0 - 1]", json!(null));
    check("event.payload[\"o\"].k", json!("v"));
    check("event.payload.list.size() + event.payload.o.size()", json!(4));
    // Functions.
    check("string(42) + string(true) + string(1.0) + string(1.5)", json!("42true11.5"));
    check("string(1e30) + \" \" + string(0.0000001)", json!("1e30 1e-7"));
    check("int(\"-12\") + int(3.9) + int(event.payload.s)", json!(-2));
    check("double(\"1.5\") + double(2)", json!(3.5));
    check("json(event.payload.list)", json!("[1,\"a\",null]"));
    check("json(event.tag)", json!("null"));
    check("slug(\"  V1.4 && rm \")", json!("v1-4----rm"));
    check("slug(event.title)", json!("fix--b"));
    check("short(event.sha)", json!("4f2c1a9"));
    check("short(\"äöü\")", json!("äöü"));
    // Methods.
    check("event.title.contains(\"<b>\")", json!(true));
    check("event.head.sha.startsWith(\"fe\") && event.head.sha.endsWith(\"d5\")", json!(true));
    check("event.sha.matches(\"^[0-9a-f]{12}$\")", json!(true));
    check("\"äb\".size()", json!(2));
    check("\" aB \".trim().lower() + \"aB\".upper()", json!("abAB"));
    check("\"a,b,,c\".split(\",\")", json!(["a", "b", "", "c"]));
    check("event.sha.split(\"c\").join(\"-\")", json!("4f2-1a9e0b7d"));
    check("\"a-b-c\".replace(\"-\", \"\")", json!("abc"));
    check("event.files.contains(\"src/a.rs\")", json!(true));
    check("event.files.exists(f, f.endsWith(\".md\"))", json!(true));
    check("event.files.all(f, f.endsWith(\".md\"))", json!(false));
    check("event.files.filter(f, f.startsWith(\"src/\")).map(f, f.upper())", json!(["SRC/A.RS"]));
    check("event.commits.map(c, c.size ?? 0)", json!([3, 0]));
    check("event.commits.filter(c, c.size != null && c.size > 1).map(c, c.sha).join(\"+\")", json!("aa"));
    check("event.commits.exists(c, event.files.exists(f, f.contains(c.sha)))", json!(false));
}

#[test]
fn an_error_of_evaluation_says_what_was_found() {
    let check = |source: &str, expected: &str| {
        let error = compile(source).evaluate(&environment()).expect_err(source);
        assert!(error.message.contains(expected) && source.get(error.span.clone()).is_some(), "{source}: {error:?}");
    };
    check("1 / (event.number - 42)", "division by zero");
    check("1 % (event.number - 42)", "division by zero");
    check("1.0 / (event.total - 10)", "division by zero");
    check("9223372036854775807 + event.number", "too large for an int");
    check("-9223372036854775808 / (event.number - 43)", "too large for an int");
    check("-(-9223372036854775807 - event.number + 41)", "too large for an int");
    check("1e308 * event.total", "too large for a double");
    check("int(event.title)", "is not an int");
    check("int(1e30 * event.total)", "is not an int");
    check("double(event.title)", "is not a number");
    check("event.payload.s + 1", "`event.payload.s` is a string");
    check("event.payload.s < 1", "have no order");
    check("event.payload.n.startsWith(\"x\")", "is an int");
    check("event.payload.n.k", "there is no `k` in it");
    check("event.payload.o.exists(x, x == 1)", "a list is needed");
    check("event.payload.huge + 1", "too large for an int");
    check("event.payload.list.join(\",\")", "item 3 is missing");
    check("event.payload.s && event.draft", "not true or false");
    check("slug(event.title.split(event.title).join(\"…\"))", "no letter and no digit");
    check("event.title.split(\"\")", "something to split at");
    check("string(event.payload.o)", "is an object");
    let error = compile("event.draft && event.payload.n").holds(&environment());
    assert_eq!(error, Ok(false), "what is not reached is not evaluated");
}

#[test]
fn a_constant_without_a_value_is_a_fault() {
    let check = |source: &str, place: &str, expected: &str| {
        let faults = Expression::compile(source, &scope()).expect_err(source);
        let [fault] = faults.as_slice() else { panic!("{source}: {faults:?}") };
        assert_eq!(source.get(fault.span.clone()), Some(place), "{source}");
        assert!(fault.message.contains(expected), "{source}: {fault:?}");
    };
    check("event.number + 1 / 0", "1 / 0", "division by zero");
    check("7 % (3 - 3) == event.number", "7 % (3 - 3)", "division by zero");
    check("int(\"x\")", "int(\"x\")", "is not an int");
    check("int(1e30)", "int(1e30)", "is not an int");
    check("double(\"inf\")", "double(\"inf\")", "is not a number");
    check("9223372036854775807 + 1", "9223372036854775807 + 1", "too large for an int");
    check("slug(\"…\")", "slug(\"…\")", "no letter and no digit");
    check("\"a\".split(\"\")", "\"a\".split(\"\")", "something to split at");
    check("[1, 2].map(x, x % 0)", "x % 0", "division by zero");
    check("event.draft || [0].exists(x, 1 / x == 1)", "1 / x", "division by zero");
    for source in ["6 / 2", "[1].map(x, event.number / x)", "event.payload.list.map(x, [x].map(y, 1 / y))", "1 / event.number"] {
        assert!(Expression::compile(source, &scope()).is_ok(), "{source}");
    }
}

/// A reason as indented lines.
fn lines(reason: &Reason, depth: usize, out: &mut Vec<String>) {
    let hint = reason.hint.as_ref().map(|hint| format!(" <- {hint}")).unwrap_or_default();
    let mark = if reason.holds { "+" } else { "-" };
    out.push(format!("{}{mark} {} ({}){hint}", "  ".repeat(depth), reason.text, reason.found.join(", ")));
    reason.parts.iter().for_each(|part| lines(part, depth + 1, out));
}

#[test]
fn a_condition_is_explained_as_far_as_it_decides() {
    let check = |source: &str, expected: &[&str]| {
        let expression = Expression::compile_condition(source, &scope()).unwrap_or_else(|faults| panic!("{source}: {faults:#?}"));
        let mut found = Vec::new();
        lines(&expression.explain(&environment()).expect(source), 0, &mut found);
        assert_eq!(found, expected, "{source}");
        assert_eq!(
            expression.holds(&environment()).ok(),
            Some(expected.first().is_some_and(|line| line.starts_with('+'))),
            "{source}"
        );
    };
    check(
        "!event.draft && event.number > 50 && event.sha == \"x\"",
        &["- all of ()", "  + !event.draft (event.draft = false)", "  - event.number > 50 (event.number = 42)"],
    );
    check(
        "event.draft || event.tag  ==  \"v1\" || (event.number > 1 && event.action == \"opened\")",
        &[
            "+ any of ()",
            "  - event.draft (event.draft = false)",
            "  - event.tag == \"v1\" (event.tag = missing)",
            "  + all of ()",
            "    + event.number > 1 (event.number = 42)",
            "    + event.action == \"opened\" (event.action = \"opened\")",
        ],
    );
    check("event.branch == \"Main\"", &["- event.branch == \"Main\" (event.branch = \"main\") <- differs only in case"]);
    check(
        "event.branch == \" main\"",
        &["- event.branch == \" main\" (event.branch = \"main\") <- differs only in the space around it"],
    );
    check(
        "event.branch == \"refs/heads/main\"",
        &[
            "- event.branch == \"refs/heads/main\" (event.branch = \"main\") <- differs only in `refs/heads/`: names of branches and tags are without it",
        ],
    );
    check(
        "event.branch in [\"dev\", \"MAIN\"]",
        &["- event.branch in [\"dev\", \"MAIN\"] (event.branch = \"main\") <- differs only in case"],
    );
    check(
        "event.title.contains(\"FIX\")",
        &["- event.title.contains(\"FIX\") (event.title = \"Fix <b>\\u{202e}\") <- differs only in case"],
    );
    check(
        "event.sha + event.head.sha == \"\"",
        &["- event.sha + event.head.sha == \"\" (event.sha = \"4f2c1a9e0b7d\", event.head.sha = \"feed5\")"],
    );
}

/// Words of the language, from which sources are thrown together.
fn fragment() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "event",
        "event.",
        ".sha",
        ".payload",
        ".files",
        "steps.deploy.outputs",
        "x",
        "(",
        ")",
        "[",
        "]",
        ",",
        "&&",
        "||",
        "??",
        "==",
        "!=",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        " in ",
        "1",
        "9223372036854775808",
        "1.5",
        "\"a\"",
        "'",
        "\"",
        "null",
        "true",
        "if(",
        "has(",
        "json(",
        "slug(",
        ".map(x,",
        ".exists(x,",
        ".size()",
        ".first()",
        ".split(\"a\")",
        ".matches(\"a+\")",
        " ",
        "\\",
        "ü",
        "${{",
        "}}",
    ])
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_or_the_evaluation_panic(text in prop_oneof![".{0,40}", prop::collection::vec(fragment(), 0..12).prop_map(|parts| parts.concat())]) {
        match Expression::compile(&text, &scope()) {
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                prop_assert!(faults.iter().all(|fault| text.get(fault.span.clone()).is_some()), "{:?}", faults);
            }
            Ok(expression) => {
                let first = expression.evaluate(&environment());
                prop_assert_eq!(&first, &expression.evaluate(&environment()));
                let again = Expression::compile(&expression.canonical(), &scope());
                prop_assert!(again.is_ok(), "{} from {}: {:?}", expression.canonical(), text, again);
                if let Ok(again) = again {
                    prop_assert_eq!(again.canonical(), expression.canonical());
                    prop_assert_eq!(again.evaluate(&environment()).ok(), first.ok());
                }
            }
        }
    }
}
