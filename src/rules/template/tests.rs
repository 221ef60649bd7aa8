//! Scalars at positions: what they render to, and what is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Template;
use crate::rules::expr::{Environment, Scope};
use crate::rules::types::Type;

fn shape(text: &str) -> Type {
    Type::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

fn scope() -> Scope {
    let event = shape(
        "{ sha: string, number: int, tag: string?, title: text, note: text?, total: double, files: [string], mode: web|api, payload: any }",
    );
    let secrets = Type::Object(BTreeMap::from([("orders_token".to_owned(), Type::Secret)]));
    Scope { names: BTreeMap::from([("event".to_owned(), event), ("secrets".to_owned(), secrets)]), ..Scope::default() }
}

fn environment(title: &str) -> Environment {
    let event = json!({
        "sha": "4f2c1a9", "number": 42, "tag": null, "title": title, "total": 10, "files": ["a", "b"], "mode": "web",
        "payload": { "n": 7, "s": "x", "l": [1] },
    });
    Environment { names: BTreeMap::from([("event".to_owned(), Arc::new(event))]) }
}

/// Renders a scalar at a position with an outsider's title.
fn render(text: &str, position: &str, title: &str) -> Result<Value, String> {
    let template = Template::scalar(text, &shape(position), &scope()).unwrap_or_else(|faults| panic!("{text}: {faults:#?}"));
    template.render(&environment(title)).map_err(|error| error.message)
}

#[test]
fn a_scalar_renders_to_the_type_of_its_position() {
    let check = |text: &str, position: &str, expected: Value| {
        assert_eq!(render(text, position, "Fix <b>"), Ok(expected), "{text} at {position}");
    };
    check("plain", "string", json!("plain"));
    check("100", "int", json!(100));
    check("true", "bool", json!(true));
    check("15m", "duration?", json!("15m"));
    check("${{ event.number }}", "int", json!(42));
    check("${{ event.number }}", "any", json!(42));
    check("${{ event.number }}", "string", json!("42"));
    check("pr-${{ event.number }}", "string", json!("pr-42"));
    check("${{ event.total }}", "any", json!(10.0));
    check("over ${{ event.total }} EUR", "plain", json!("over 10 EUR"));
    check("${{ event.tag }}", "string?", json!(null));
    check("${{ event.tag ?? \"none\" }}", "string", json!("none"));
    check("${{ event.files }}", "[string]", json!(["a", "b"]));
    check("${{ event.files }}", "any", json!(["a", "b"]));
    check("${{ event.files.join(\", \") }}!", "string", json!("a, b!"));
    check("${{ event.payload.n }}", "int", json!(7));
    check("$${{ event.sha }} is ${{ event.sha }}", "string", json!("${{ event.sha }} is 4f2c1a9"));
    check("a }} b ${{ \"}}\" + '}}' + event.sha }}", "string", json!("a }} b }}}}4f2c1a9"));
    check("${{ if(event.number > 1, \"web\", \"api\") }}", "web|api", json!("web"));
    check("${{ event.mode }}", "web|api|db", json!("web"));
    check("${{ secrets.orders_token }}", "secret?", json!("orders_token"));
    check("${{ event.title }}", "any", json!("Fix <b>"));
    check("<b> ${{ event.title }}", "mrkdwn", json!("<b> Fix &lt;b&gt;"));
    check("${{ event.title }}", "mrkdwn?", json!("Fix &lt;b&gt;"));
    check("${{ if(event.number > 1, \"<https://x|y>\", \"\") }}", "mrkdwn", json!("<https://x|y>"));
    check("", "string", json!(""));
}

#[test]
fn what_any_turns_out_to_be_is_checked_where_it_goes() {
    let message = |text: &str, position: &str| render(text, position, "x").expect_err(text);
    assert!(message("${{ event.payload.s }}", "int").contains("must be an int, this is a string"));
    assert!(message("a ${{ event.payload.l }}", "plain").contains("must be a text, this is a list"));
    assert!(message("a ${{ event.payload.none }}", "plain").contains("must be a text, this is missing"));
    assert!(message("${{ event.payload.s }}", "web|api").contains("must be one of web, api, this is \"x\""));
}

#[test]
fn an_outsiders_text_cannot_leave_its_place() {
    let path = |title: &str| render("/v1/orders/${{ event.title }}", "url-path", title);
    assert_eq!(path("../../admin?x=#y z"), Ok(json!("/v1/orders/..%2F..%2Fadmin%3Fx%3D%23y%20z")));
    assert_eq!(path("12 345/ü"), Ok(json!("/v1/orders/12%20345%2F%C3%BC")));
    for refused in ["..", ".", ""] {
        assert!(path(refused).is_err(), "{refused:?}");
    }
    assert!(render("/a/.${{ event.title }}", "url-path", ".").is_err());
    assert!(render("/a/%2e${{ event.title }}/b", "url-path", ".").is_err());
    let parsed = url::Url::parse("https://orders.test/v1/orders/..%2F..%2Fadmin%3Fx").map(|url| url.path().to_owned());
    assert_eq!(parsed.as_deref(), Ok("/v1/orders/..%2F..%2Fadmin%3Fx"));
}

#[test]
fn an_outsiders_markdown_is_defused_and_the_authors_is_not() {
    let markdown =
        |title: &str| render("**@team** ${{ event.title }}", "markdown", title).expect("renders").as_str().map(str::to_owned);
    let check =
        |title: &str, expected: &str| assert_eq!(markdown(title).as_deref(), Some(&*format!("**@team** {expected}")), "{title}");
    check("Fix a_b & c", "Fix a_b & c");
    check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
    check("thanks @mona and @acme/admins", "thanks @\u{200b}mona and @\u{200b}acme/admins");
    check("![x](https://evil.test/p.png)", "!&#91;x&#93;(https://evil.test/p.png)");
    check("\\[x](y)", "\\&#91;x&#93;(y)");
    check("&#64;mona &lt;", "&amp;#\u{200b}64;mona &amp;lt;");
    check("fixes #12", "fixes #\u{200b}12");
    check("a `b` c", "a `b` c");
    check("```", "&#96;&#96;&#96;");
    check("ends with &", "ends with &amp;");
    check("ends with @", "ends with @\u{200b}");
    check("https://x.test/?a=1&b=2", "https://x.test/?a=1&b=2");
}

#[test]
fn a_faulty_scalar_says_where_and_what() {
    let check = |text: &str, position: &str, code: &str, place: &str, message: &str| {
        let faults = Template::scalar(text, &shape(position), &scope()).expect_err(text);
        let found: Vec<_> = faults
            .iter()
            .map(|fault| (fault.code, text.get(fault.span.clone()).unwrap_or("?"), fault.message.as_str()))
            .collect();
        assert!(
            found.iter().any(|(c, p, m)| (*c, *p) == (code, place) && m.contains(message)),
            "{text} at {position}: {found:#?}"
        );
    };
    check(
        "web:${{ event.title }}",
        "string",
        "untrusted",
        "web:${{ event.title }}",
        "this is used as it is, but part of this text can be chosen by an outsider",
    );
    check("${{ event.payload.s }}", "string?", "untrusted", "${{ event.payload.s }}", "chosen by an outsider");
    check("all", "int", "type", "all", "this must be an int, this is a string");
    check("15 minutes", "duration?", "type", "15 minutes", "this must be a duration, this is a string");
    check("yes", "bool", "type", "yes", "this must be true or false, this is a string");
    check("${{ event.sha }}", "int", "type", "event.sha", "this must be an int, this is a string");
    check("n ${{ event.number }}", "int", "type", "n ${{ event.number }}", "this must be an int");
    check(
        "${{ event.tag }} by",
        "plain",
        "expression",
        "event.tag",
        "this may be missing, and a text cannot hold a missing value",
    );
    check("${{ event.tag }}", "string", "expression", "event.tag", "may be missing");
    check("${{ event.files }} x", "plain", "expression", "event.files", "a list cannot be part of a text");
    check("${{ event.files }}", "plain", "type", "event.files", "this must be a string, this is a list");
    check("x ${{ secrets.orders_token }}", "plain", "secret", "secrets.orders_token", "a secret cannot be");
    check("${{ secrets.orders_token }}", "plain", "secret", "secrets.orders_token", "a secret cannot be");
    check("hunter2", "secret?", "plain-secret", "hunter2", "this is a secret and cannot be written into a rule file");
    check("${{ event.sha }}", "target", "type", "${{ event.sha }}", "the name of a target, written out");
    check("${{ event.mode }}", "web|db", "type", "event.mode", "this must be one of web, db, this is one of web, api");
    check("a ${{ event.sha", "string", "expression", "${{ event.sha", "is never closed");
    check("a ${{ }}", "string", "expression", " ", "an expression is missing");
    check("${{ event.shaa }} ${{ event.numbr }}", "string", "expression", "shaa", "`event` has no `shaa`");
    check("${{ event.shaa }} ${{ event.numbr }}", "string", "expression", "numbr", "`event` has no `numbr`");
    check("wbe", "web|api", "type", "wbe", "one of web, api, not `wbe`");
    let faults = Template::scalar("web:${{ event.title }}", &Type::String, &scope()).expect_err("untrusted");
    let about = faults.into_iter().next().map(|fault| fault.about("image").message);
    assert_eq!(about.as_deref(), Some("`image` is used as it is, but part of this text can be chosen by an outsider"));
}

#[test]
fn a_variable_has_the_type_of_what_it_is_made_from() {
    let check = |text: &str, expected: &str| {
        let template = Template::scalar(text, &Type::Any, &scope()).expect(text);
        assert_eq!(template.result().to_string(), expected, "{text}");
    };
    check("europe-docker.pkg.dev/acme/web", "string");
    check("${{ event.total >= 500.0 }}", "bool");
    check("${{ event.files.map(f, f.size()) }}", "[int]");
    check("x-${{ event.number }}", "string");
    check("x-${{ event.title }}", "text");
}
