//! A second opinion: generated expressions of the subset that our language shares with CEL, evaluated by the `cel` crate too.
//!
//! Where both give a value, it must be the same, and where an event lacks a field that is read, both must fail. Deliberate differences: ours
//! refuses conditions that are always the same; doubles that are not finite are errors, since JSON cannot hold them; an item that a list
//! does not have is missing, which `??` replaces; and `&&`, `||`, `exists` and `all` go from left to right, so an error on the left stays one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cel::{Context, Program};
use declic::rules::expr::{Environment, Expression, Fault, Scope};
use declic::rules::types::Type;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One expression in both notations.
#[derive(Debug, Clone)]
struct Both {
    ours: String,
    theirs: String,
}

fn same(text: impl Into<String>) -> Both {
    let text = text.into();
    Both { ours: text.clone(), theirs: text }
}

fn word(text: &'static str) -> BoxedStrategy<Both> {
    Just(same(text)).boxed()
}

/// Puts parts into both templates, `{0}`, `{1}`, …
fn put(ours: &str, theirs: &str, parts: &[Both]) -> Both {
    let fill = |template: &str, side: fn(&Both) -> &str| {
        let filled = parts.iter().enumerate().map(|(index, part)| (format!("{{{index}}}"), side(part)));
        filled.fold(template.to_owned(), |text, (mark, part)| text.replace(&mark, part))
    };
    Both { ours: fill(ours, |both| &both.ours), theirs: fill(theirs, |both| &both.theirs) }
}

fn binary(operators: &'static [&'static str], left: BoxedStrategy<Both>, right: BoxedStrategy<Both>) -> BoxedStrategy<Both> {
    (prop::sample::select(operators), left, right)
        .prop_map(|(operator, left, right)| {
            let template = format!("({{0}} {operator} {{1}})");
            put(&template, &template, &[left, right])
        })
        .boxed()
}

fn choice(condition: BoxedStrategy<Both>, of: BoxedStrategy<Both>) -> BoxedStrategy<Both> {
    (condition, of.clone(), of).prop_map(|(c, a, b)| put("if({0}, {1}, {2})", "({0} ? {1} : {2})", &[c, a, b])).boxed()
}

fn method(names: &'static [&'static str], of: BoxedStrategy<Both>, argument: BoxedStrategy<Both>) -> BoxedStrategy<Both> {
    (prop::sample::select(names), of, argument)
        .prop_map(|(name, of, argument)| {
            let template = format!("{{0}}.{name}({{1}})");
            put(&template, &template, &[of, argument])
        })
        .boxed()
}

/// `list.name(x, body)`: the variable is named after the depth, so that none hides another. `{x}` stands for it in the body.
fn each(
    name: &'static str,
    depth: u32,
    list: BoxedStrategy<Both>,
    body: &'static str,
    other: BoxedStrategy<Both>,
) -> BoxedStrategy<Both> {
    (list, other)
        .prop_map(move |(list, other)| {
            let variable = format!("x{depth}");
            let template = format!("{{0}}.{name}({variable}, {})", body.replace("{x}", &variable));
            put(&template, &template, &[list, other])
        })
        .boxed()
}

/// A comprehension that is true or false: over ints, or over the objects of the event.
fn quantified(depth: u32) -> BoxedStrategy<Both> {
    let over_ints = |name, body| each(name, depth, ints(depth - 1), body, int(depth - 1));
    let over_items = |name, body| each(name, depth, word("event.items"), body, int(depth - 1));
    prop_oneof![
        over_ints("exists", "{x} > {1}"),
        over_ints("all", "{x} != {1} && {x} < 7"),
        over_items("exists", "{x}.n == {1} || {x}.s.startsWith(s)"),
        over_items("all", "{x}.n % 3 <= {1}"),
        over_items("exists", "{x}.o.s == t && {1} in l"),
    ]
    .boxed()
}

/// An item of a list by its number, also one that is not there.
fn item() -> BoxedStrategy<Both> {
    let number = 0usize..5;
    prop_oneof![
        number
            .clone()
            .prop_map(|at| Both { ours: format!("(l[{at}] ?? -1)"), theirs: format!("(l.size() > {at} ? l[{at}] : -1)") }),
        number.prop_map(|at| Both {
            ours: format!("(event.items.map(y, y.n)[{at}] ?? j)"),
            theirs: format!("(event.items.size() > {at} ? event.items.map(y, y.n)[{at}] : j)"),
        }),
    ]
    .boxed()
}

fn int(depth: u32) -> BoxedStrategy<Both> {
    let leaf = prop_oneof![
        word("i"),
        word("j"),
        word("event.n"),
        word("event[\"o\"].n"),
        item(),
        (-9i64..10).prop_map(|n| same(format!("(i + {n})"))),
        any::<i64>().prop_map(|n| same(n.to_string()))
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || int(depth - 1);
    prop_oneof![
        2 => leaf,
        3 => binary(&["+", "-", "*", "/", "%"], inner(), inner()),
        1 => choice(boolean(depth - 1), inner()),
        1 => string(depth - 1).prop_map(|of| put("{0}.size()", "{0}.size()", &[of])),
        1 => ints(depth - 1).prop_map(|of| put("{0}.size()", "{0}.size()", &[of])),
        1 => each("filter", depth, word("event.items"), "{x}.n < {1}", inner()).prop_map(|of| put("{0}.size()", "{0}.size()", &[of])),
    ]
    .boxed()
}

fn double(depth: u32) -> BoxedStrategy<Both> {
    let leaf = prop_oneof![word("d"), word("e"), (-99i32..100).prop_map(|n| same(format!("{:?}", f64::from(n) / 8.0)))];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || double(depth - 1);
    prop_oneof![2 => leaf, 3 => binary(&["+", "-", "*", "/"], inner(), inner()), 1 => choice(boolean(depth - 1), inner())].boxed()
}

fn string(depth: u32) -> BoxedStrategy<Both> {
    let leaf = prop_oneof![
        word("s"),
        word("t"),
        word("event.s"),
        word("event.o[\"s\"]"),
        "[a-cü]{0,3}".prop_map(|text| same(format!("(s + \"{text}\")")))
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || string(depth - 1);
    prop_oneof![2 => leaf, 2 => binary(&["+"], inner(), inner()), 1 => choice(boolean(depth - 1), inner())].boxed()
}

fn ints(depth: u32) -> BoxedStrategy<Both> {
    if depth == 0 {
        return word("l");
    }
    let literal = prop::collection::vec(int(depth - 1), 1..4).prop_map(|items| {
        let row = |side: fn(&Both) -> &str| format!("[{}]", items.iter().map(side).collect::<Vec<_>>().join(", "));
        Both { ours: row(|both| &both.ours), theirs: row(|both| &both.theirs) }
    });
    prop_oneof![
        word("l"),
        literal,
        binary(&["+"], ints(depth - 1), ints(depth - 1)),
        each("map", depth, ints(depth - 1), "{x} + {1}", int(depth - 1)),
        each("filter", depth, ints(depth - 1), "{x} % 2 == {1} % 2", int(depth - 1)),
        each("map", depth, word("event.items"), "{x}.n * {1}", int(depth - 1)),
    ]
    .boxed()
}

fn boolean(depth: u32) -> BoxedStrategy<Both> {
    if depth == 0 {
        return prop_oneof![
            word("b"),
            word("c"),
            word("event.ok"),
            word("(event.draft ?? b)")
                .prop_map(|both| Both { theirs: "(has(event.draft) ? event.draft : b)".to_owned(), ..both })
        ]
        .boxed();
    }
    const COMPARE: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
    let inner = || boolean(depth - 1);
    prop_oneof![
        binary(&["&&", "||"], inner(), inner()),
        inner().prop_map(|of| put("!{0}", "!{0}", &[of])),
        binary(COMPARE, int(depth - 1), int(depth - 1)),
        binary(COMPARE, double(depth - 1), double(depth - 1)),
        binary(COMPARE, string(depth - 1), string(depth - 1)),
        binary(&["==", "!="], ints(depth - 1), ints(depth - 1)),
        binary(&["in"], int(depth - 1), ints(depth - 1)),
        method(&["contains", "startsWith", "endsWith"], string(depth - 1), string(depth - 1)),
        choice(inner(), inner()),
        quantified(depth),
        binary(&["==", "!="], word("event.tags"), word("event.items.map(y, y.s)")),
        binary(&["in"], string(depth - 1), word("event.tags")),
    ]
    .boxed()
}

/// An event of the type in [`EVENT`]; now and then it lacks a field that it should have.
fn event() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![-5i64..6, any::<i64>()];
    let text = || "[a-cü]{0,3}";
    let object = move || (number(), text()).prop_map(|(n, s)| json!({ "n": n, "s": s }));
    let item = (number(), text(), object()).prop_map(|(n, s, o)| json!({ "n": n, "s": s, "o": o }));
    let whole =
        (number(), text(), any::<bool>(), prop::collection::vec(text(), 0..3), object(), prop::collection::vec(item, 0..4));
    let lacking = prop::option::weighted(
        0.2,
        prop::sample::select(&["/n", "/s", "/ok", "/tags", "/o/n", "/o/s", "/items/0/n", "/items/1/o/s"][..]),
    );
    (whole, prop::option::of(any::<bool>()), lacking).prop_map(|((n, s, ok, tags, o, items), draft, lacking)| {
        let mut event = json!({ "n": n, "s": s, "ok": ok, "tags": tags, "o": o, "items": items });
        if let Some(draft) = draft {
            event["draft"] = draft.into();
        }
        if let Some((parent, name)) = lacking.and_then(|path| path.rsplit_once('/'))
            && let Some(Value::Object(fields)) = event.pointer_mut(parent)
        {
            fields.remove(name);
        }
        event
    })
}

const EVENT: &str = "{ n: int, s: string, ok: bool, draft?: bool, tags: [string], o: { n: int, s: string }, items: [{ n: int, s: string, o: { n: int, s: string } }] }";

/// Values of the variables.
fn values() -> impl Strategy<Value = Value> {
    let number = || prop_oneof![-5i64..6, any::<i64>()];
    let part = || (-40i32..41).prop_map(|n| f64::from(n) / 8.0);
    let text = || "[a-cü]{0,4}";
    let scalars = (number(), number(), part(), part(), text(), text(), any::<bool>(), any::<bool>());
    (scalars, prop::collection::vec(number(), 0..4), event()).prop_map(|((i, j, d, e, s, t, b, c), l, event)| {
        json!({ "i": i, "j": j, "d": d, "e": e, "s": s, "t": t, "b": b, "c": c, "l": l, "event": event })
    })
}

fn scope() -> Scope {
    let kinds = [
        ("i", "int"),
        ("j", "int"),
        ("d", "double"),
        ("e", "double"),
        ("s", "string"),
        ("t", "string"),
        ("b", "bool"),
        ("c", "bool"),
        ("l", "[int]"),
        ("event", EVENT),
    ];
    Scope {
        names: kinds
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), Type::parse(kind).expect(kind)))
            .collect::<BTreeMap<_, _>>(),
        ..Scope::default()
    }
}

fn theirs(source: &str, values: &Value) -> Result<Value, String> {
    let mut context = Context::default();
    for (name, value) in values.as_object().expect("variables") {
        context.add_variable_from_value(name.as_str(), given(value));
    }
    let program = Program::compile(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let value = program.execute(&context).map_err(|error| error.to_string())?;
    Ok(plain(&value))
}

/// From JSON the crate would make unsigned numbers, which do not mix with signed ones.
fn given(value: &Value) -> cel::Value {
    match value {
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => cel::Value::List(Arc::new(items.iter().map(given).collect())),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), given(value))).collect::<HashMap<_, _>>().into()
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => cel::Value::Int(int),
            (None, double) => cel::Value::Float(double.expect("a double")),
        },
        other => panic!("no variable of the shared subset: {other}"),
    }
}

fn plain(value: &cel::Value) -> Value {
    match value {
        cel::Value::Int(value) => json!(value),
        cel::Value::UInt(value) => json!(value),
        cel::Value::Float(value) => json!(value),
        cel::Value::String(text) => json!(text.as_str()),
        cel::Value::Bool(value) => json!(value),
        cel::Value::List(items) => items.iter().map(plain).collect(),
        other => panic!("no value of the shared subset: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_global_rejects: 60_000, ..ProptestConfig::default() })]

    #[test]
    fn cel_agrees_on_what_both_share(
        both in prop_oneof![boolean(3), int(3), double(2), string(2), ints(2)],
        values in values(),
    ) {
        let compiled = Expression::compile(&both.ours, &scope());
        if let Err(faults) = &compiled {
            let always = |fault: &Fault| fault.message.contains("always") || fault.help.as_deref().is_some_and(|help| help.contains("always"));
            prop_assert!(faults.iter().all(always), "{}: {:?}", both.ours, faults);
        }
        prop_assume!(compiled.is_ok());
        let Ok(expression) = compiled else { return Ok(()) };
        let names = values.as_object().expect("variables").iter().map(|(name, value)| (name.clone(), Arc::new(value.clone()))).collect();
        let ours = expression.evaluate(&Environment { names });
        match (&ours, theirs(&both.theirs, &values)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, &theirs, "{} with {}", both.ours, values),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(value)) => {
                let lazy = ["&&", "||", ".exists(", ".all("].iter().any(|lazy| both.ours.contains(lazy));
                // CEL divides doubles by zero to infinity or NaN, which JSON cannot hold: for us that is an error.
                let mut words = both.ours.split(|letter: char| !letter.is_alphanumeric());
                let doubles = both.ours.contains('.') || words.any(|word| matches!(word, "d" | "e"));
                let infinite = error.message.contains("double") || error.message == "division by zero" && doubles;
                prop_assert!(lazy || infinite, "{} with {}: {:?} but CEL {}", both.ours, values, error, value);
            }
            (Ok(value), Err(error)) => prop_assert!(false, "{} with {}: {} but CEL {}", both.ours, values, value, error),
        }
    }
}
