//! A push starts a rule when it would start a workflow on GitHub: every vector through a rule file, the checker and the index.
//!
//! How the vectors map to our language: `run` and `skip` as given; `config-error` is a fault of the checker; `compare` (the changed files
//! are not known from the payload) runs, and the trace says why: deploying once too often is better than once too few.
//! `branches-ignore: [x]` and `paths-ignore: [x]` do not exist; they are written `["**", "!x"]`, and both lists of a pair are an error.

use std::sync::Arc;

use declic::event::Event;
use declic::matching::{Index, Trace, Verdict};
use declic::rules::check::{Ground, check};
use declic::rules::model::RuleSet;
use declic::sources::github::push::push_event_fields;
use serde_json::{Value, json};

use crate::support::vectors;

/// The index of one rule with these filters and condition, or what the checker says against it.
fn index(filters: &str, condition: Option<&str>) -> Result<Index, Vec<String>> {
    let condition = condition.map(|condition| format!("    if: '{condition}'\n")).unwrap_or_default();
    let step = "{ uses: github/comment, with: { body: x, number: 1 } }";
    let file = format!("version: 1\nrules:\n  r:\n    on:\n      github.push: {filters}\n{condition}    steps: [ {step} ]\n");
    let checked = check("r.yaml", &file, &Ground { offer: None, repository: None });
    let faults: Vec<String> = checked.diagnostics.iter().map(|fault| fault.message.clone()).collect();
    if checked.errors() > 0 {
        return Err(faults);
    }
    let rules = checked.rules.into_iter().map(Arc::new).collect();
    Ok(Index::new(Arc::new(RuleSet { rules, revision: "r".to_owned() })))
}

/// The only trace for a push with these fields.
fn decide(index: &Index, fields: Value) -> Trace {
    let event = Event {
        kind: "github.push".to_owned(),
        source: "github".to_owned(),
        event: fields,
        repo: json!({ "full_name": "acme/web" }),
        actor: json!({ "login": "mona" }),
        delivery: json!({}),
    };
    index.decide(&event).traces.pop().expect("the index offers the rule")
}

/// The filter of a vector in our words, as a flow mapping.
fn translated(filter: &Value) -> Result<String, String> {
    let mut lists = serde_json::Map::new();
    for (key, patterns) in filter.as_object().ok_or("a filter is an object")? {
        let (name, patterns) = match key.strip_suffix("-ignore") {
            None => (key.as_str(), patterns.clone()),
            Some(name) => {
                let excluded =
                    patterns.as_array().into_iter().flatten().filter_map(Value::as_str).map(|pattern| format!("!{pattern}"));
                (name, json!(std::iter::once("**".to_owned()).chain(excluded).collect::<Vec<_>>()))
            }
        };
        if lists.insert(name.to_owned(), patterns).is_some() {
            return Err(format!("{name} is given twice"));
        }
    }
    Ok(Value::Object(lists).to_string())
}

/// The payload of a vector: a count of commits stands for that many of them.
fn payload(push: &Value) -> Value {
    let mut push = push.clone();
    let count = push["commits_truncated_at"].as_u64().or(push["commit_count"].as_u64());
    let commits: Vec<Value> = push["commits"].as_array().cloned().unwrap_or_default();
    let many = count.map_or(commits.len(), |count| usize::try_from(count).expect("a number of commits"));
    let listed: Vec<Value> = commits.iter().cycle().take(many).cloned().collect();
    push["commits"] = json!(listed);
    push
}

#[test]
fn pushes_are_decided_as_github_does_for_all_vectors() {
    let Some(file) = vectors("_github-push-decisions.json") else { return };
    let cases = file.as_array().or(file["cases"].as_array()).expect("cases");
    for case in cases {
        let rule = translated(&case["filter"]).map_err(|fault| vec![fault]).and_then(|filters| index(&filters, None));
        let decision = case["decision"].as_str().expect("a decision");
        let index = match (rule, decision) {
            (Err(_), "config-error") => continue,
            (Ok(_), "config-error") => panic!("accepted: {case}"),
            (Err(faults), _) => panic!("{case}: {faults:?}"),
            (Ok(index), _) => index,
        };
        let fields = push_event_fields(&payload(&case["push"])).unwrap_or_else(|error| panic!("{case}: {error}"));
        let trace = decide(&index, fields);
        let expected = if decision == "skip" { Verdict::NotMatched } else { Verdict::Matched };
        assert_eq!(trace.verdict, expected, "{case}\n{trace:#?}");
        if decision == "compare" {
            assert!(trace.checks.iter().any(|check| check.found.contains("incomplete")), "{case}\n{trace:#?}");
        }
    }
    println!("{} cases", cases.len());
}

#[test]
fn a_deletion_starts_only_what_asks_for_deletions() {
    let deleted = |branch: &str| json!({ "ref": format!("refs/heads/{branch}"), "branch": branch, "deleted": true, "files": [], "files_complete": true });
    let verdict =
        |condition: Option<&str>| decide(&index("{ branches: [main] }", condition).expect("compiles"), deleted("main")).verdict;
    assert_eq!(verdict(None), Verdict::NotMatched);
    assert_eq!(verdict(Some("event.sha != \"\"")), Verdict::NotMatched);
    assert_eq!(verdict(Some("!event.deleted")), Verdict::NotMatched);
    assert_eq!(verdict(Some("event.deleted")), Verdict::Matched);
}

#[test]
fn branches_and_tags_together_let_both_in() {
    let index = index("{ branches: [main], tags: [\"v*\"], paths: [\"src/**\"] }", None).expect("compiles");
    let branch =
        |name: &str, file: &str| decide(&index, json!({ "branch": name, "files": [file], "files_complete": true })).verdict;
    assert_eq!(branch("main", "src/a.rs"), Verdict::Matched);
    assert_eq!(branch("main", "docs/a.md"), Verdict::NotMatched);
    assert_eq!(branch("v1", "src/a.rs"), Verdict::NotMatched);
    assert_eq!(decide(&index, json!({ "tag": "v1", "files": [] })).verdict, Verdict::Matched);
    assert_eq!(decide(&index, json!({ "tag": "main", "files": [] })).verdict, Verdict::NotMatched);
}
