//! Which rules an event starts: order of the checks, reasons, and an index that looks only at rules that could start.

use std::sync::Arc;

use declic::event::Event;
use declic::matching::{Index, MOST_REASONS, Trace, Verdict, environment};
use declic::rules::check::{Ground, check};
use declic::rules::model::RuleSet;
use serde_json::{Value, json};

/// An index of the rules of a file; each rule comments.
fn index(rules: &str) -> Index {
    let step = "{ uses: github/comment, with: { body: x, number: 1 } }";
    let file = format!("version: 1\nrules:\n{}", rules.replace("STEPS", &format!("steps: [ {step} ]")));
    let checked = check("rules.yaml", &file, &Ground { offer: None, repository: None });
    assert_eq!(checked.errors(), 0, "{file}\n{:#?}", checked.diagnostics);
    Index::new(Arc::new(RuleSet { rules: checked.rules.into_iter().map(Arc::new).collect(), revision: "r".to_owned() }))
}

fn push(fields: Value) -> Event {
    let mut event = json!({
        "ref": "refs/heads/main", "branch": "main", "sha": "4f2c1a9", "deleted": false, "message": "Fix login",
        "files": ["docs/readme.md", "services/web/README.md"], "files_complete": true,
    });
    for (name, value) in fields.as_object().expect("fields") {
        event[name] = value.clone();
    }
    Event {
        kind: "github.push".to_owned(),
        source: "github".to_owned(),
        event,
        repo: json!({ "full_name": "acme/web", "default_branch": "main" }),
        actor: json!({ "login": "mona", "permission": "write" }),
        delivery: json!({ "id": "d1" }),
    }
}

/// The checks of the first rule as lines.
fn lines(trace: &Trace) -> Vec<String> {
    let mark = |holds: bool| if holds { "+" } else { "-" };
    let mut lines = Vec::new();
    for check in &trace.checks {
        let hint = check.hint.as_ref().map(|hint| format!(" <- {hint}")).unwrap_or_default();
        lines.push(format!("{} {} ({}){hint}", mark(check.holds), check.text, check.found));
        for part in check
            .reason
            .iter()
            .flat_map(|reason| if reason.parts.is_empty() { std::slice::from_ref(reason) } else { &reason.parts })
        {
            let hint = part.hint.as_ref().map(|hint| format!(" <- {hint}")).unwrap_or_default();
            lines.push(format!("  {} {} ({}){hint}", mark(part.holds), part.text, part.found.join(", ")));
        }
    }
    lines
}

const DEPLOY: &str = r#"
  deploy:
    on:
      github.push: { branches: [main], paths: ["services/web/**", "Cargo.lock", "!**/*.md"] }
    if: '!event.deleted && !event.message.contains("[skip deploy]")'
    STEPS
"#;

#[test]
fn a_trace_says_what_was_expected_and_what_was_found() {
    let index = index(DEPLOY);
    let check = |fields: Value, verdict: Verdict, expected: &[&str]| {
        let decisions = index.decide(&push(fields));
        let [trace] = decisions.traces.as_slice() else { panic!("one trace") };
        assert_eq!((trace.verdict, lines(trace)), (verdict, expected.iter().map(|line| (*line).to_owned()).collect()));
        assert_eq!(decisions.matched.len(), usize::from(verdict == Verdict::Matched));
    };
    const BRANCH: &str = r#"+ branches: [main] (event.branch = "main", decided by "main")"#;
    const EVENT: &str = "+ event github.push ()";
    const OTHER_CASE: &str = r#"- paths: [services/web/**, Cargo.lock, !**/*.md] (event.files = none of 2 files; first: "README.md", "Services/web/main.rs") <- "Services/web/main.rs" begins like `services/web/**` but for its case"#;
    check(
        json!({}),
        Verdict::NotMatched,
        &[
            EVENT,
            BRANCH,
            r#"- paths: [services/web/**, Cargo.lock, !**/*.md] (event.files = none of 2 files; first: "docs/readme.md", "services/web/README.md")"#,
        ],
    );
    const PATHS: &str =
        r#"+ paths: [services/web/**, Cargo.lock, !**/*.md] (event.files = "services/web/src/main.rs" by "services/web/**")"#;
    check(
        json!({ "files": ["services/web/src/main.rs"], "message": "Tidy up [skip deploy]" }),
        Verdict::NotMatched,
        &[
            EVENT,
            BRANCH,
            PATHS,
            "- if ()",
            "  + !event.deleted (event.deleted = false)",
            r#"  - !event.message.contains("[skip deploy]") (event.message = "Tidy up [skip deploy]")"#,
        ],
    );
    check(
        json!({ "files": ["services/web/src/main.rs"] }),
        Verdict::Matched,
        &[
            EVENT,
            BRANCH,
            PATHS,
            "+ if ()",
            "  + !event.deleted (event.deleted = false)",
            r#"  + !event.message.contains("[skip deploy]") (event.message = "Fix login")"#,
            "+ allow: permission anyone (actor.permission = write)",
        ],
    );
    check(
        json!({ "branch": "Main" }),
        Verdict::NotMatched,
        &[EVENT, r#"- branches: [main] (event.branch = "Main", no pattern matches) <- differs only in case"#],
    );
    check(json!({ "files": ["README.md", "Services/web/main.rs"] }), Verdict::NotMatched, &[EVENT, BRANCH, OTHER_CASE]);
    check(
        json!({ "files": [], "files_complete": false }),
        Verdict::Matched,
        &[
            EVENT,
            BRANCH,
            "+ paths: [services/web/**, Cargo.lock, !**/*.md] (the list of changed files is incomplete, so this counts as a match)",
            "+ if ()",
            "  + !event.deleted (event.deleted = false)",
            r#"  + !event.message.contains("[skip deploy]") (event.message = "Fix login")"#,
            "+ allow: permission anyone (actor.permission = write)",
        ],
    );
}

#[test]
fn an_error_of_evaluation_is_never_a_no() {
    let index =
        index("  r:\n    on: { dialogflow.intent: { source: es } }\n    if: 'event.payload.count > 3'\n    reply: { text: x }\n");
    assert!(index.reads_payload("dialogflow.intent") && !index.reads_payload("github.push"));
    let verdict = |payload: Value| {
        let event = Event {
            kind: "dialogflow.intent".to_owned(),
            source: "es".to_owned(),
            event: json!({ "intent": "x", "payload": payload }),
            repo: Value::Null,
            actor: Value::Null,
            delivery: json!({}),
        };
        index.decide(&event).traces.remove(0)
    };
    assert_eq!(verdict(json!({ "count": 4 })).verdict, Verdict::Matched);
    assert_eq!(verdict(json!({ "count": 3 })).verdict, Verdict::NotMatched);
    let trace = verdict(json!({ "count": "4" }));
    assert_eq!(trace.verdict, Verdict::Error);
    assert!(trace.checks.last().is_some_and(|check| check.found.contains("`event.payload.count` is a string")), "{trace:#?}");
    assert_eq!(verdict(json!({})).verdict, Verdict::Error);
}

#[test]
fn permission_is_asked_last_and_in_githubs_order() {
    let verdict = |allow: &str, permission: &str| {
        let index = index(&format!("  r:\n    on: {{ github.push: {{ }} }}\n    allow: {allow}\n    STEPS\n"));
        let mut event = push(json!({}));
        event.actor["permission"] = json!(permission);
        event.actor["teams"] = json!(["acme/deployers"]);
        index.decide(&event).traces.remove(0).verdict
    };
    let order = ["none", "read", "triage", "write", "maintain", "admin"];
    for (wanted_rank, wanted) in order.iter().enumerate().skip(1) {
        for (has_rank, has) in order.iter().enumerate() {
            let expected = if has_rank >= wanted_rank { Verdict::Matched } else { Verdict::Denied };
            assert_eq!(verdict(&format!("{{ permission: {wanted} }}"), has), expected, "{has} for {wanted}");
        }
    }
    assert_eq!(verdict("{ permission: anyone }", "none"), Verdict::Matched);
    assert_eq!(verdict("{ permission: read }", "everything"), Verdict::Denied);
    assert_eq!(verdict("{ permission: write, users: [Mona] }", "write"), Verdict::Matched);
    assert_eq!(verdict("{ permission: write, users: [eve] }", "write"), Verdict::Denied);
    assert_eq!(verdict("{ permission: write, users: [eve], teams: [acme/deployers] }", "write"), Verdict::Matched);
    assert_eq!(verdict("{ permission: admin, teams: [acme/deployers] }", "write"), Verdict::Denied);
    assert_eq!(verdict("{ teams: [acme/others] }", "write"), Verdict::Denied);
}

#[test]
fn variables_see_those_before_them_and_the_condition_sees_all() {
    let vars = "    vars: { short: \"${{ short(event.sha) }}\", label: \"at ${{ vars.short }}\" }\n";
    let index =
        index(&format!("  r:\n    on: {{ github.push: {{ }} }}\n{vars}    if: 'vars.label == \"at 4f2c1a9\"'\n    STEPS\n"));
    let event = push(json!({ "sha": "4f2c1a9bbbbbbb" }));
    let decisions = index.decide(&event);
    let rule = decisions.matched.first().expect("matches");
    let names = environment(rule, &event).expect("evaluates").names;
    assert_eq!(names.get("vars").map(|vars| vars.as_ref().clone()), Some(json!({ "short": "4f2c1a9", "label": "at 4f2c1a9" })));
    assert_eq!(names.keys().collect::<Vec<_>>(), ["actor", "delivery", "event", "repo", "vars"]);
}

#[test]
fn a_delivery_looks_only_at_rules_that_could_start() {
    let mut rules = String::new();
    for number in 0..2000 {
        rules.push_str(&format!("  other-{number}:\n    on: {{ github.push: {{ repos: [acme/r{number}] }} }}\n    STEPS\n"));
        rules.push_str(&format!("  pull-{number}:\n    on: {{ github.pull_request: {{ }} }}\n    STEPS\n"));
    }
    rules.push_str("  mine:\n    on: { github.push: { repos: [Acme/Web, acme/web] } }\n    STEPS\n");
    rules.push_str("  globbed:\n    on: { github.push: { repos: [\"acme/*\"] } }\n    STEPS\n");
    rules.push_str("  off:\n    enabled: false\n    on: { github.push: { } }\n    STEPS\n");
    let index = index(&rules);
    let event = push(json!({}));
    let names = |traces: &[Trace]| traces.iter().map(|trace| trace.rule.clone()).collect::<Vec<_>>();
    let decisions = index.decide(&event);
    assert_eq!(names(&decisions.traces), ["mine", "globbed"]);
    assert_eq!(decisions.matched.len(), 2);
    let all = index.decide_all(&event);
    assert_eq!(all.traces.len(), 4003);
    assert_eq!(all.matched.len(), 2);
    let found =
        |rule: &str| all.traces.iter().find(|trace| trace.rule == rule).map(|trace| lines(trace).join("; ")).unwrap_or_default();
    assert_eq!(found("pull-7"), "- event github.pull_request (this is github.push)");
    assert_eq!(found("off"), "- enabled (the rule is switched off by `enabled: false`)");
    assert!(
        found("other-7").contains(r#"- repos: [acme/r7] (repo.full_name = "acme/web", no pattern matches)"#),
        "{}",
        found("other-7")
    );
}

#[test]
fn what_does_not_fit_the_declared_body_does_not_match() {
    let index = index(
        "  r:\n    on: { http.webhook: { source: shop, body: { id: int, items: [{ sku: string }] } } }\n    if: 'event.body.id > 1'\n    STEPS\n",
    );
    let event = |source: &str, body: Value| Event {
        kind: "http.webhook".to_owned(),
        source: source.to_owned(),
        event: json!({ "method": "POST", "body": body }),
        repo: Value::Null,
        actor: Value::Null,
        delivery: json!({}),
    };
    let found = |body: Value| {
        let trace = index.decide(&event("shop", body)).traces.remove(0);
        (trace.verdict, trace.checks.last().map(|check| check.found.clone()).unwrap_or_default())
    };
    assert_eq!(found(json!({ "id": 2, "items": [], "more": 1 })).0, Verdict::Matched);
    assert_eq!(
        found(json!({ "id": "2", "items": [] })),
        (Verdict::NotMatched, "event.body.id must be an int, this is a string".to_owned())
    );
    assert_eq!(found(json!({ "id": 2, "items": [{}] })), (Verdict::NotMatched, "event.body.items[0].sku is missing".to_owned()));
    assert_eq!(found(json!([])), (Verdict::NotMatched, "event.body must be an object, this is a list".to_owned()));
    assert!(index.decide(&event("other", json!({}))).traces.is_empty());
    assert_eq!(index.decide_all(&event("other", json!({}))).traces.remove(0).checks.remove(0).text, "source: shop");
}

#[test]
fn a_command_is_heard_as_a_comment_too_and_starts_a_rule_once() {
    let index = index(
        "  comments:\n    on: { github.issue_comment: { types: [created] } }\n    STEPS\n  commands:\n    on: { github.command: { command: go } }\n    allow: { permission: anyone }\n    STEPS\n  both:\n    on: { github.command: { command: stop }, github.issue_comment: }\n    allow: { permission: anyone }\n    if: event.payload.comment.body != \"\"\n    STEPS\n",
    );
    assert!(index.reads_payload("github.command") && index.reads_payload("github.issue_comment"));
    let mut event = push(json!({}));
    event.kind = "github.command".to_owned();
    event.event =
        json!({ "command": "go", "action": "created", "on": "issue", "number": 1, "payload": { "comment": { "body": "/go" } } });
    let names = |event: &Event| {
        let matched = |decisions: declic::matching::Decisions| {
            decisions.matched.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>().join(" ")
        };
        let all = matched(index.decide_all(event));
        assert_eq!(matched(index.decide(event)), all);
        all
    };
    assert_eq!(names(&event), "comments commands both");
    event.kind = "github.issue_comment".to_owned();
    assert_eq!(names(&event), "comments both");
}

#[test]
fn a_guard_fails_closed_where_a_promised_field_is_gone() {
    let index = index(
        "  r:\n    on: { github.pull_request: { forks: true } }\n    if: event.payload.pull_request.user.type ?? 'User' != 'Bot' && event.payload.pull_request.state != 'closed'\n    STEPS\n",
    );
    let found = |payload: Value| {
        let mut event = push(json!({ "fork": false, "payload": payload }));
        event.kind = "github.pull_request".to_owned();
        let trace = index.decide(&event).traces.remove(0);
        (trace.verdict, trace.checks.last().map(|check| check.found.clone()).unwrap_or_default())
    };
    assert_eq!(found(json!({ "pull_request": { "state": "open" } })).0, Verdict::Matched);
    assert_eq!(found(json!({ "pull_request": { "state": "closed" } })).0, Verdict::NotMatched);
    let missing = "`event.payload.pull_request.state` is missing, though its type promises a string";
    for payload in [json!({ "pull_request": {} }), json!({ "pull_request": null }), json!({})] {
        assert_eq!(found(payload), (Verdict::Error, missing.to_owned()));
    }
    let other = "`event.payload.pull_request.state` is a bool, though its type promises a string";
    assert_eq!(found(json!({ "pull_request": { "state": true } })), (Verdict::Error, other.to_owned()));
}

#[test]
fn what_is_not_known_to_be_no_fork_is_not_let_in() {
    let index = index("  r:\n    on: { github.pull_request: { } }\n    STEPS\n");
    let verdict = |fields: Value| {
        let mut event = push(fields);
        event.kind = "github.pull_request".to_owned();
        index.decide(&event).traces.remove(0).verdict
    };
    assert_eq!(verdict(json!({ "fork": false })), Verdict::Matched);
    assert_eq!(verdict(json!({ "fork": true })), Verdict::NotMatched);
    assert_eq!(verdict(json!({})), Verdict::NotMatched);
}

#[test]
fn reasons_stay_few_however_many_rules_hear_an_event() {
    let mut rules = String::from("  other:\n    on: { github.pull_request: }\n    STEPS\n");
    for number in 0..1000 {
        rules.push_str(&format!("  r{number}:\n    on: {{ github.push: {{ branches: [b{number}] }} }}\n    STEPS\n"));
    }
    let (index, event) = (index(&rules), push(json!({ "branch": "b999" })));
    assert_eq!(index.decide(&event).traces.len(), 1000);
    let decisions = index.decide_within(&event, MOST_REASONS);
    assert_eq!((decisions.traces.len(), decisions.matched.len()), (201, 1));
    let stored = decisions.to_store();
    assert_eq!(stored.len(), 202);
    assert!(stored.iter().any(|trace| trace.rule == "r999" && trace.verdict == Verdict::Matched));
    let counted: Vec<&str> = stored.last().into_iter().flat_map(|trace| &trace.checks).map(|check| check.text.as_str()).collect();
    assert_eq!(counted, ["799 more rules did not match", "1 rule is for other events, sources or repositories, or switched off"]);
}
