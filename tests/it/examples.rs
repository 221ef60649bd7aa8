//! Every example is checked and tested, and every broken file gives the faults written beside it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use declic::rules::check::{Ground, Repository, check};
use declic::rules::diagnostic::{Source, render};
use declic::rules::model::RuleSet;
use declic::rules::testing;
use declic::settings::{Environment, Mode, Settings, load};

use crate::support::binary::declic;

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
    said.push_str(&format!("{path}: {}\n", checked.counts()));
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
        assert!(said.contains(" 1 error, 0 warnings\n"), "one fault, and none that follow from it:\n{said}");
    }
}

/// What the command prints for the examples, and its exit status.
fn printed(arguments: &[&str]) -> (String, Option<i32>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/examples");
    let output = declic(&folder, arguments);
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

/// The part of `OUTPUT.txt` between two lines.
fn between(from: &str, to: &str) -> String {
    let output = example("OUTPUT.txt");
    let start = output.find(from).map(|at| at + from.len()).expect("OUTPUT.txt has that line");
    let end = output[start..].find(to).map_or(output.len(), |at| start + at);
    output[start..end].trim().to_owned()
}

#[test]
fn the_test_command_prints_what_is_written_down() {
    let (rules, first) = printed(&["test", "--config", "declic.yaml", "rules"]);
    let (repository, second) = printed(&["test", "--config", "declic.yaml", "repo/.declic"]);
    assert_eq!((first, second), (Some(0), Some(0)));
    assert_eq!((rules + &repository).trim(), between("$ check/test of all example files\n", "$ explain"));
}

#[test]
fn the_explain_command_prints_what_is_written_down() {
    let mut said = String::new();
    for name in ["docs", "skip", "ok"] {
        let payload = format!("deliveries/push-{name}.yaml");
        let rules = "repo/.declic/deploy.yaml";
        let (text, status) =
            printed(&["explain", "--config", "declic.yaml", "--event", "github.push", "--payload", &payload, rules]);
        assert_eq!(status, Some(0));
        said.push_str(&format!("--- {payload}\n{text}"));
    }
    assert_eq!(said.trim(), between("$ explain: why did this push not deploy\n", "$ check"));
}

#[test]
fn a_test_that_fails_says_what_differs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = example("repo/.declic/deploy.yaml")
        .replace("web:0123456e7\", traffic: 100", "web:0123456e8\", traffic: 50")
        .replace("expect: { matched: [], not-called: [cloud-run/deploy] }", "expect: { matched: [deploy-staging] }");
    fs::write(folder.path().join("deploy.yaml"), text).expect("a written file");
    let output = declic(folder.path(), &["test", "deploy.yaml"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in [
        "FAIL  a push to main that touches the service is deployed by sha  (deploy.yaml:126)",
        "calls, number 1: cloud-run/deploy was expected",
        "with.image: expected \"europe-docker.pkg.dev/acme-build/web/web:0123456e8\", found \"europe-docker.pkg.dev/acme-build/web/web:0123456e7\"",
        "with.traffic: expected 50, found 100",
        "`deploy-staging` fails at if: !event.message.contains(\"[skip deploy]\") (event.message = \"wip [skip deploy]\")",
        "10 passed, 2 failed",
    ] {
        assert!(said.contains(part), "{part}\n\n{said}");
    }
    let junit = declic(folder.path(), &["test", "deploy.yaml", "--format", "junit"]);
    let said = String::from_utf8_lossy(&junit.stdout).into_owned();
    assert!(said.contains("tests=\"12\" failures=\"2\" errors=\"0\""), "{said}");
}

#[test]
fn what_is_wrong_decides_the_exit_status() {
    assert_eq!(printed(&["check", "--config", "declic.yaml", "rules", "repo/.declic/*.yaml"]).1, Some(0));
    assert_eq!(printed(&["check", "--config", "declic.yaml", "broken/mistakes.yaml"]).1, Some(1));
    assert_eq!(printed(&["check", "--config", "broken/mistakes.yaml", "rules"]).1, Some(2));
    assert_eq!(printed(&["check", "--config", "declic.yaml", "nowhere/*.yaml"]).1, Some(2));
    assert_eq!(printed(&["check", "--config", "declic.yaml", "--repo", "acme/unknown", "rules"]).1, Some(2));
    assert_eq!(printed(&["check", "--config", "nowhere.yaml", "rules"]).1, Some(2));
    assert_eq!(printed(&["check", "declic.yaml"]), ("declic.yaml: 0 errors, 0 warnings\n".to_owned(), Some(0)));
}
