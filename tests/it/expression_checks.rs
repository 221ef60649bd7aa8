//! What the checker of expressions refuses, where and with which advice, and how it follows trust.

use declic::rules::expr::Expression;

use crate::expressions::{compile, scope};

#[test]
fn the_checker_reports_every_fault_with_its_place() {
    let check = |source: &str, expected: &[(&str, &str, &str)]| {
        let faults = Expression::compile_condition(source, &scope()).expect_err(source);
        let found: Vec<_> = faults
            .iter()
            .map(|fault| {
                (source.get(fault.span.clone()).expect("a place"), fault.message.as_str(), fault.help.as_deref().unwrap_or(""))
            })
            .collect();
        assert_eq!(found.len(), expected.len(), "{source}: {found:#?}");
        for ((place, message, help), (found_place, found_message, found_help)) in expected.iter().zip(&found) {
            assert!(place == found_place && found_message.contains(message) && found_help.contains(help), "{source}: {found:#?}");
        }
    };
    // Names.
    check(
        "event.comits.size() && event.tag.startsWith(\"v\")",
        &[
            ("comits", "`event` has no `comits`", "did you mean `commits`?"),
            ("event.tag", "`event.tag` may be missing", "event.tag != null && …"),
        ],
    );
    check("evnt.sha == \"x\"", &[("evnt", "there is no `evnt` here", "did you mean `event`?")]);
    check("github.ref == \"x\"", &[("github", "there is no `github` here", "event.payload")]);
    check("failure.step == \"x\"", &[("failure", "there is no `failure` here", "known here: event, secrets, steps")]);
    check("steps.depoy.result == \"success\"", &[("depoy", "`steps` has no `depoy`", "did you mean `deploy`?")]);
    check("event.sha.size", &[("size", "it has no fields", "write event.sha.size(…)")]);
    check("event.commits.message == \"x\"", &[("message", "is a list", "event.commits.map(x, x.message)")]);
    // Comparisons that never hold.
    check(
        "event.number == \"42\" || event.title",
        &[
            ("event.number == \"42\"", "int is never equal to string", "write the number without quotes"),
            ("event.title", "a condition is true or false, this is a text", "event.title != \"\""),
        ],
    );
    check(
        "event.draft == \"true\"",
        &[("event.draft == \"true\"", "bool is never equal to string", "write true without quotes")],
    );
    check("event.sha == 5", &[("event.sha == 5", "string is never equal to int", "in quotes")]);
    check(
        "event.action == \"opend\"",
        &[("event.action == \"opend\"", "`event.action` is never \"opend\"", "did you mean \"opened\"?")],
    );
    check("event.action in [\"closed\", \"opend\"]", &[("\"opend\"", "`event.action` is never \"opend\"", "opened")]);
    check("event.sha == null", &[("event.sha == null", "`event.sha` is never missing", "leave this test out")]);
    check("has(event.sha)", &[("has(event.sha)", "never missing", "")]);
    check("event.files == \"a\"", &[("event.files == \"a\"", "list is never equal to string", "`in`")]);
    check("event.sha in \"abc\"", &[("\"abc\"", "`in` looks into a list", "\"abc\".contains(event.sha)")]);
    check("event.action < \"opened\"", &[("event.action < \"opened\"", "no order", "list the words")]);
    check("event.sha < 3", &[("event.sha < 3", "a string and an int have no order", "quotes")]);
    // Conditions.
    check("true", &[("true", "this is always true", "leave it out")]);
    check("event.draft || 1 == 1", &[("1 == 1", "this is always true", "")]);
    check("event.number", &[("event.number", "this is an int", "event.number > 0")]);
    check("event.files", &[("event.files", "this is a list", "event.files.size() > 0")]);
    check("event.fork", &[("event.fork", "`event.fork` may be missing", "(event.fork ?? …)")]);
    check("!event.number", &[("event.number", "this is an int", "")]);
    // Missing values.
    check("event.count + 1 > 2", &[("event.count", "may be missing", "event.count != null")]);
    check("event.count != null || event.count > 2", &[("event.count", "may be missing", "")]);
    check("(event.count != null && event.draft || event.draft) && event.count > 2", &[("event.count", "may be missing", "")]);
    check("if(event.count == null, event.count, 1) > 0", &[("if(event.count == null, event.count, 1)", "may be missing", "")]);
    check("event.author.login.size() > 0", &[("event.author.login", "may be missing", "")]);
    check(
        "steps.deploy.outputs.url.size() > 0",
        &[("steps.deploy.outputs.url", "may be missing", "steps.deploy.result == \"success\"")],
    );
    check(
        "steps.deploy.result == \"failure\" && steps.deploy.outputs.url.size() > 0",
        &[("steps.deploy.outputs.url", "may be missing", "")],
    );
    check(
        "steps.deploy.result == \"success\" && steps.deploy.outputs.previous.size() > 0",
        &[("steps.deploy.outputs.previous", "may be missing", "")],
    );
    check("event.commits.exists(c, c.size > 1)", &[("c.size", "may be missing", "")]);
    // Operators and calls.
    check(
        "event.sha + event.number == \"x\"",
        &[("event.sha + event.number", "`+` does not work on a string and an int", "string(event.number)")],
    );
    check("event.total % 2 == 0", &[("event.total % 2", "does not work", "two ints")]);
    check("-event.sha == 1", &[("-event.sha", "takes a number", "")]);
    check("if(event.draft, 1, \"x\") == 1", &[("if(event.draft, 1, \"x\")", "an int or a string", "")]);
    check("event.count ?? \"x\" == 1", &[("\"x\"", "the default of an int cannot be a string", "")]);
    check("contains(event.sha, \"x\")", &[("contains", "there is no function `contains`", "x.contains(…)")]);
    check("toJSON(event) == \"x\"", &[("toJSON", "there is no function", "json(x)")]);
    check("event.sha.toLowerCase() == \"x\"", &[("toLowerCase", "there is no method", "x.lower()")]);
    check("event.sha.startWith(\"x\")", &[("startWith", "there is no method", "did you mean `startsWith`?")]);
    check("event.number.size() > 0", &[("event.number", "`size` works on a text, a list or a map, this is an int", "")]);
    check("event.sha.contains()", &[("contains()", "takes one value, here are 0", "")]);
    check("event.sha.contains(1)", &[("1", "a text is needed here", "")]);
    check("event.sha.matches(event.title)", &[("event.title", "must be written out", "")]);
    check("event.sha.matches(\"(\")", &[("\"(\"", "no regular expression", "")]);
    check("event.sha.matches(\"(a{1000}){1000}\")", &[("\"(a{1000}){1000}\"", "too large", "")]);
    check("event.files.exists(event, event == \"x\")", &[("event", "`event` is taken", "")]);
    check("event.files.exists(f, f.exists(g, g == f))", &[("f", "works on a list, this is a string", "")]);
    check("string(event.files) == \"x\"", &[("event.files", "cannot be made from a list", "json(event.files)")]);
    check("[1, \"a\"].size() > event.number", &[("\"a\"", "a list holds one type", "")]);
    // Secrets.
    check("secrets.token == \"x\"", &[("secrets.token", "a secret cannot be read", "give it whole")]);
    check("json(secrets) == \"x\"", &[("secrets", "a secret cannot be read", "")]);
    // Syntax.
    check("event.draft = true", &[("=", "`=` does not compare", "==")]);
    check("event.draft ? 1 : 2", &[("?", "there is no `?:`", "if(condition, a, b)")]);
    check("event.draft and event.fork", &[("and", "`and` stands where an operator is needed", "&&")]);
    check("event.number == 1 == 2", &[("==", "cannot be chained", "&&")]);
    check("'it''s' == event.sha", &[("'s'", "a text stands where", "\\'")]);
    check("event.sha == \"x", &[("\"x", "closing quote is missing", "")]);
    check("event.sha == \"\\d\"", &[("\\d", "is no escape", "`\\\\`")]);
    check("{ \"a\": 1 }", &[("{", "no object literals", "")]);
    check("event.", &[("", "ends where a name is needed", "")]);
    check("", &[("", "an expression is missing", "")]);
    check("event.draft && not event.draft", &[("not", "there is no `not`", "`!`")]);
    check("(event.draft || [event.sha, ].size() > 0", &[("", "ends where `)` is needed", "")]);
    check("event.draft) && event.drft", &[(")", "`)` stands where an operator", ""), ("drft", "has no `drft`", "draft")]);
    check(
        "${{ event.drft }} && “x” == event.sha || 5m > 1",
        &[
            ("$", "has no meaning here", "leave out ${{ }}"),
            ("drft", "has no `drft`", ""),
            ("“", "has no meaning here", "texts are written"),
            ("5m", "a number has no unit", ""),
        ],
    );
    check(
        "event.number == 1 == 2 || event.sha == \"\\d\\w\" || event.sha.contains(event.titl",
        &[
            ("==", "cannot be chained", ""),
            ("\\d", "is no escape", ""),
            ("\\w", "is no escape", ""),
            ("titl", "has no `titl`", "title"),
            ("", "ends where `,` or `)` is needed", ""),
        ],
    );
    check("event.sha is the same as that", &[("is", "`is` stands where an operator is needed", "")]);
    check("99999999999999999999 == event.number", &[("99999999999999999999", "too large for an int", "")]);
}

#[test]
fn trust_follows_the_value() {
    let check = |source: &str, expected: &str| assert_eq!(compile(source).result().to_string(), expected, "{source}");
    check("event.title", "text");
    check("\"a \" + event.title", "text");
    check("event.title.lower().split(\",\")", "[text]");
    check("event.sha.replace(\"a\", event.title)", "text");
    check("[event.sha, event.title]", "[text]");
    check("if(event.draft, event.sha, event.title)", "text");
    check("event.tag ?? event.title", "text");
    check("json(event.commits)", "text");
    check("string(event.payload.n)", "text");
    check("event.commits.map(c, c.message).join(\",\")", "text");
    check("slug(event.title)", "string");
    check("event.title == \"x\"", "bool");
    check("event.title.size()", "int");
    check("int(event.title)", "int");
    check("event.sha + \"-\" + string(event.number)", "string");
    check("event.commits.map(c, c.sha).first()", "string?");
    check("if(event.draft, \"a\", \"b\")", "a|b");
    check("event.payload.x", "any");
    check("event.count", "int?");
}

#[test]
fn reads_sees_paths_wholes_and_parts() {
    let reads = |source: &str, path: &[&str]| compile(source).reads(path);
    assert!(reads("event.payload.a.b == 1", &["event", "payload"]));
    assert!(reads("json(event).size() > 1", &["event", "payload"]));
    assert!(reads("event.files.exists(f, f == event.head.sha)", &["event", "head", "sha"]));
    assert!(!reads("event.sha == event.head.sha", &["event", "payload"]));
    assert_eq!(compile("event.head[\"sha\"]").path(), Some(vec!["event", "head", "sha"]));
    assert_eq!(compile("event.sha + \"x\"").path(), None);
}
