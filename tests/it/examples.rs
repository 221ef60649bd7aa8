//! Every example is checked and tested, and every broken file gives the faults written beside it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use declic::rules::check::{Ground, Repository, check};
use declic::rules::diagnostic::{Source, render};
use declic::rules::model::RuleSet;
use declic::rules::testing;
use declic::settings::{Environment, Mode, Settings, load};

const GOOD: &[&str] =
    &["rules/alerts.yaml", "rules/chat.yaml", "rules/images.yaml", "rules/orders.yaml", "repo/.declic/deploy.yaml"];

fn example(path: &str) -> String {
    let path = format!("{}/rules/examples/{path}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn settings() -> Settings {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/examples/declic.yaml");
    match load(&path, Mode::Names, &Environment::given([])) {
        Ok(loaded) => loaded.settings,
        Err(unusable) => panic!("{}", unusable.render(false)),
    }
}

/// What `declic check` says about one example, as one text.
fn said(path: &str, repository: Option<&str>) -> String {
    let settings = settings();
    let text = example(path);
    let path = path.strip_prefix("broken/mistakes").map_or(path, |_| "mistakes.yaml");
    let granted = repository.map(|name| {
        let repository = settings.repository(name).expect("the example settings list it");
        Repository { name, grant: &repository.grant }
    });
    let checked = check(path, &text, &Ground { offer: Some(&settings.offer), repository: granted });
    let mut said = render(&checked.diagnostics, &[Source { path, text: &text }], false);
    said.push_str(&format!(
        "{path}: {} rules, {} tests, {} errors, {} warnings\n",
        checked.names.len(),
        checked.case_count,
        checked.errors(),
        checked.warnings()
    ));
    said
}

/// The part of `OUTPUT.txt` that shows this file's faults.
fn written_down(path: &str) -> String {
    let output = example("OUTPUT.txt");
    let at = output.find(&format!(" --> {path}:")).expect("OUTPUT.txt shows every broken file");
    let start = output[..at].trim_end().rfind('\n').map_or(0, |newline| newline + 1);
    let end = output[at..].find("\n\n").map_or(output.len(), |end| at + end);
    output[start..end].to_owned()
}

#[test]
fn every_example_is_right() {
    for path in GOOD {
        let repository = path.starts_with("repo/").then_some("acme/web");
        let said = said(path, repository);
        assert!(said.ends_with("0 errors, 0 warnings\n") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn all_tests_of_the_examples_pass() {
    let settings = settings();
    let mut passed = 0;
    for path in GOOD {
        let checked = check(path, &example(path), &Ground { offer: Some(&settings.offer), repository: None });
        let rules = Arc::new(RuleSet { rules: checked.rules.into_iter().map(Arc::new).collect(), revision: String::new() });
        for case in &checked.cases {
            let verdict = testing::run(case, &rules, Some(&settings.offer));
            assert!(verdict.passed(), "{path}: {}\n{}", case.name, verdict.differences.join("\n"));
            passed += 1;
        }
    }
    assert_eq!(passed, 27);
}

#[test]
fn every_mistake_is_found_at_its_place() {
    assert_eq!(said("broken/mistakes.yaml", None), example("broken/mistakes.expected.txt"));
}

#[test]
fn what_was_not_granted_is_refused() {
    assert_eq!(said("broken/not-granted.yaml", Some("acme/docs")), example("broken/not-granted.expected.txt"));
}

#[test]
fn what_is_not_yaml_is_shown_as_written_down() {
    for name in ["anchor", "bang", "docs", "dup", "flow", "merge", "star", "tab", "ternary"] {
        let path = format!("broken/yaml-{name}.yaml");
        let said = said(&path, None);
        let shown = said.split("\n\n").next().unwrap_or_default();
        assert_eq!(shown, written_down(&path).trim_end());
        assert!(said.contains(" 1 errors, 0 warnings\n"), "one fault, and none that follow from it:\n{said}");
    }
}
