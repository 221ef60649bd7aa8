//! The checker, case by case: what is a fault, where, and what is said about it.
//!
//! `cases/*.txt` hold the cases: a line `=== name`, the file, a line `---`, and what is expected, one fault a line:
//! `line:column code message (help)`. `fine` alone expects none.

use std::fs;
use std::path::Path;

use declic::rules::check::{Checked, Ground, Repository, check};
use declic::rules::diagnostic::{self, Severity, Source, position};
use declic::rules::model::{Grant, Offer};
use declic::settings::{Environment, Mode, read};
use proptest::prelude::*;

/// Names for the cases to use.
const OPERATOR: &str = "
version: 1
secrets: { s: { from: env, name: S } }
sources:
  github: { type: github, secret: s }
targets:
  web: { type: cloud-run, project: p, region: r, service: web, images: [\"r.example/web/*\"] }
connections:
  api: { type: http, base-url: https://api.example }
  bot: { type: dialogflow-fulfillment, url: https://bot.example/hook }
  chat: { type: slack, token: s, channels: [\"#a\"] }
";

fn offer() -> Offer {
    let (settings, faults) = read(Path::new("declic.yaml"), OPERATOR, Mode::Names, &Environment::given([]));
    let mut offer = settings.unwrap_or_else(|| panic!("{faults:?}")).offer;
    // Types of sources that may not be built yet; the checker only looks at their kinds.
    for (name, kind, format) in [
        ("slack", "slack", None),
        ("flow", "dialogflow-cx", None),
        ("shop", "webhook", None),
        ("images", "pubsub-push", Some("artifact-registry")),
        ("queue", "pubsub-push", None),
    ] {
        offer.sources.insert(name.to_owned(), serde_json::json!({ "type": kind, "format": format }));
    }
    offer.sources.insert("slow".to_owned(), serde_json::json!({ "type": "dialogflow-cx", "deadline": "20s" }));
    offer
}

fn shown(text: &str, checked: &Checked) -> String {
    let mut lines = String::new();
    for fault in &checked.diagnostics {
        let (line, column) = position(text, fault.span.start);
        let warning = if fault.severity == Severity::Warning { "warning " } else { "" };
        let help = fault.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
        lines.push_str(&format!("{line}:{column} {warning}{} {}{help}\n", fault.code, fault.message));
    }
    if lines.is_empty() { "fine\n".to_owned() } else { lines }
}

/// One case: its name, the file, and what is expected of it.
fn cases() -> Vec<(String, String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases");
    let mut paths: Vec<_> = fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a readable file");
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for case in text.split("=== ").skip(1) {
            let (name, rest) = case.split_once('\n').expect("a name");
            let (input, expected) = rest.split_once("\n---\n").unwrap_or_else(|| panic!("{file}, {name}: there is no ---"));
            cases.push((format!("{file}, {name}"), input.to_owned(), expected.trim_end().to_owned() + "\n"));
        }
    }
    cases
}

/// Cases show what matters: a file around a rule, a rule around its parts.
fn completed(input: &str) -> String {
    if input.starts_with("version:") || input.starts_with('#') {
        return input.to_owned();
    }
    let indented = |text: &str, by: usize| -> String {
        text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") }).collect()
    };
    format!("version: 1\nrules:\n  r:\n{}", indented(input, 4))
}

#[test]
fn every_case_gives_what_is_written_beside_it() {
    let offer = offer();
    let grant = Grant {
        events: vec!["github.push".to_owned(), "slack.command".to_owned()],
        actions: vec!["github/*".to_owned(), "cloud-run/deploy".to_owned()],
        targets: vec!["web".to_owned()],
        ..Grant::default()
    };
    let cases = cases();
    let mut wrong = Vec::new();
    for (name, input, expected) in &cases {
        let text = completed(input);
        let repository = name.contains("repository").then_some(Repository { name: "acme/web", grant: &grant });
        let checked = check("rules.yaml", &text, &Ground { offer: Some(&offer), repository });
        let found = shown(&text, &checked);
        if found != *expected {
            wrong.push(format!("=== {name}\n{text}--- expected\n{expected}--- found\n{found}"));
        }
        let whole = checked.rules.len() == checked.names.len();
        assert!(whole || checked.errors() > 0, "{name}: a rule was left out without a word");
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 100, "only {} cases were read", cases.len());
}

#[test]
fn names_are_not_checked_without_an_operator() {
    let text = completed(
        "on: { github.push: }\nsteps: [{ uses: cloud-run/deploy, with: { target: whatever, image: \"x:${{ event.sha }}\" } }]\n",
    );
    assert_eq!(shown(&text, &check("rules.yaml", &text, &Ground::default())), "fine\n");
}

#[test]
fn a_thousand_rules_are_checked_in_one_pass() {
    let mut text = String::from("version: 1\nrules:\n");
    for number in 0..1000 {
        text.push_str(&format!(
            "  rule-{number}:\n    on: {{ github.push: {{ branches: [main, \"release/**\"], paths: [\"services/{number}/**\"] }} }}\n    \
             if: '!event.deleted && event.message != \"skip\"'\n    steps:\n      - id: d\n        uses: cloud-run/deploy\n        \
             with: {{ target: web, image: \"r.example/web/x:${{{{ event.sha }}}}\" }}\n      - uses: github/comment\n        \
             with: {{ body: \"${{{{ steps.d.outputs.url }}}}\" }}\n"
        ));
    }
    let start = std::time::Instant::now();
    let checked = check("rules.yaml", &text, &Ground { offer: Some(&offer()), repository: None });
    println!("1000 rules, {} bytes: {:?}", text.len(), start.elapsed());
    assert_eq!(shown(&text, &checked), "fine\n");
    assert_eq!(checked.rules.len(), 1000);
}

#[test]
fn every_format_tells_the_same_faults() {
    let text = completed("on: { github.push: { brnaches: [main] } }\nsteps: []\nruns-on: x\n");
    let checked = check("my rules.yaml", &text, &Ground::default());
    let sources = [Source { path: "my rules.yaml", text: &text }];
    let json = diagnostic::json(&checked.diagnostics, &sources);
    assert_eq!(json[0]["line"], 4);
    assert_eq!(json[0]["column"], 26);
    assert_eq!(json[0]["endColumn"], 34);
    assert_eq!(json[0]["help"], "did you mean `branches`?");
    let github = diagnostic::github(&checked.diagnostics, &sources);
    assert_eq!(github.lines().count(), 2);
    assert!(
        github.starts_with(
            "::error file=my rules.yaml,line=4,endLine=4,col=26,endColumn=34,title=unknown-key::`github.push` has no `brnaches`%0Adid you mean"
        ),
        "{github}"
    );
    let sarif = diagnostic::sarif(&checked.diagnostics, &sources);
    assert_eq!(sarif["version"], "2.1.0");
    let results = sarif["runs"][0]["results"].as_array().map(Vec::len);
    assert_eq!(results, Some(2));
    assert_eq!(sarif["runs"][0]["results"][1]["locations"][0]["physicalLocation"]["region"]["startLine"], 6);
    assert_eq!(sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "my%20rules.yaml");
}

/// A right file to break.
fn right() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/examples/rules/orders.yaml");
    fs::read_to_string(path).expect("the example")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damage_to_a_file_makes_the_checker_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[ -~\n]{0,6}|\\$\\{\\{|[\u{e9}\u{1f600}]|: \\{|- \\["), 1..8)
    ) {
        let mut text = right();
        for (at, removed, put) in edits {
            let mut start = at.index(text.len());
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            let mut end = (start + removed).min(text.len());
            while !text.is_char_boundary(end) {
                end += 1;
            }
            text.replace_range(start..end, &put);
        }
        let checked = check("rules.yaml", &text, &Ground { offer: Some(&offer()), repository: None });
        let _ = diagnostic::render(&checked.diagnostics, &[Source { path: "rules.yaml", text: &text }], false);
        for fault in &checked.diagnostics {
            prop_assert!(text.get(fault.span.clone()).is_some(), "{fault:?}");
        }
    }

    #[test]
    fn no_line_left_out_makes_the_checker_panic(line in any::<prop::sample::Index>(), indent in 0usize..6) {
        let text = right();
        let lines: Vec<&str> = text.lines().collect();
        let without = line.index(lines.len());
        let damaged: String = lines
            .iter()
            .enumerate()
            .map(|(number, line)| if number == without { format!("{:indent$}{}\n", "", line.trim()) } else { format!("{line}\n") })
            .collect();
        let _ = check("rules.yaml", &damaged, &Ground { offer: Some(&offer()), repository: None });
    }
}
