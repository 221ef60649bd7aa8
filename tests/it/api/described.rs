//! The running API against its own description: schemathesis makes up requests, valid and not, and looks at every answer.

use std::path::Path;
use std::process::Command;

use super::world::World;
use crate::support::client::Client;
use crate::support::packages;
use crate::support::shown::Shown;

/// The token of a service that asks for one.
const OPERATOR: &str = "nobody uses this token here";

/// Holds the operations of a method to their description. Answers what was said, and how many operations were asked.
fn checked(folder: &Path, base: &str, method: &str, token: Option<&str>, without: &[&str]) -> (String, u32) {
    let mut command = Command::new("python3");
    command
        .current_dir(folder)
        .env("PYTHONPATH", packages::folder().join("python"))
        // The committed description: a stranger is not shown the served one, which is the same (`reference` holds it).
        .args(["-m", "schemathesis.cli", "run", concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/openapi.json")])
        .args(["--url", &format!("{base}/api/v1")])
        .args(["--include-method", method, "--exclude-path", "/changes"])
        .args(["--seed", "20261124", "--max-examples", "10", "--phases", "coverage,fuzzing", "--checks", "all", "--no-color"]);
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    if !without.is_empty() {
        command.args(["--exclude-checks", &without.join(",")]);
    }
    let output = command.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let tested = said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.trim().parse().ok());
    (said, tested.unwrap_or_default())
}

#[tokio::test]
async fn every_answer_is_as_described_whatever_is_asked_with_a_token() {
    let world = World::with("admin: { token: operator }\n", |_| {}).await;
    world.deliver_as(&Client::bearer(OPERATOR), "main", "d-1").await;
    let folder = world.folder.path().to_owned();
    let url = world.url("");
    let (said, reads, acts) = tokio::task::spawn_blocking(move || {
        let (said, reads) = checked(&folder, &url, "GET", Some(OPERATOR), &[]);
        // Which fields of a body go together cannot be said in a description, so some valid ones are refused, with a reason; and
        // poem-openapi takes a number where a text is asked for.
        let (_, acts) = checked(&folder, &url, "POST", Some(OPERATOR), &["positive_data_acceptance", "negative_data_rejection"]);
        (said, reads, acts)
    })
    .await
    .unwrap();
    assert!(reads >= 18 && acts >= 9, "{reads} and {acts}: {said}");
}

#[tokio::test]
async fn every_refusal_of_a_stranger_is_as_described() {
    let world = World::with("admin: { token: operator }\n", |_| {}).await;
    let folder = world.folder.path().to_owned();
    let url = world.url("");
    // Whoever is not let in learns nothing of what would have been wrong with the question.
    let without = ["negative_data_rejection", "positive_data_acceptance", "unsupported_method"];
    let refused =
        tokio::task::spawn_blocking(move || ["GET", "POST"].map(|method| checked(&folder, &url, method, None, &without).1));
    let [reads, acts] = refused.await.unwrap();
    assert!(reads >= 18 && acts >= 9, "{reads} and {acts}");
}

#[tokio::test]
async fn every_answer_is_as_described_where_there_is_much_to_show() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Shown::start(folder.path());
    demo.history().await;
    let (path, url) = (folder.path().to_owned(), demo.console.clone());
    let (said, reads) = tokio::task::spawn_blocking(move || checked(&path, &url, "GET", None, &[])).await.unwrap();
    assert!(reads >= 18, "{reads}: {said}");
}
