//! The running API against its own description: schemathesis makes up requests, valid and not, and looks at every answer.

use std::path::Path;
use std::process::Command;

use super::world::World;
use crate::support::packages;

/// Holds the operations of a method to their description. Answers what was said, and how many operations were asked.
fn checked(folder: &Path, url: &str, method: &str, without: &[&str]) -> (String, u32) {
    let mut command = Command::new("python3");
    command
        .current_dir(folder)
        .env("PYTHONPATH", packages::folder().join("python"))
        .args(["-m", "schemathesis.cli", "run", url, "--include-method", method, "--exclude-path", "/changes"])
        .args(["--seed", "20261124", "--max-examples", "10", "--phases", "coverage,fuzzing", "--checks", "all", "--no-color"]);
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
async fn every_answer_is_as_described_whatever_is_asked() {
    let world = World::start().await;
    world.deliver("main", "d-1").await;
    let folder = world.folder.path().to_owned();
    let url = world.url("/api/v1/openapi.json");
    let (said, reads, acts) = tokio::task::spawn_blocking(move || {
        let (said, reads) = checked(&folder, &url, "GET", &[]);
        // Which fields of a body go together cannot be said in a description, so some valid ones are refused, with a reason; and
        // poem-openapi takes a number where a text is asked for.
        let (_, acts) = checked(&folder, &url, "POST", &["positive_data_acceptance", "negative_data_rejection"]);
        (said, reads, acts)
    })
    .await
    .unwrap();
    assert!(reads >= 18 && acts >= 9, "{reads} and {acts}: {said}");
}
