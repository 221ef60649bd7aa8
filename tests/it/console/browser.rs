//! The demo's console in Chromium, driven by `tests/e2e/console.mjs`, which plays a person and looks for violations with axe.

use std::process::Command;

use crate::api::world::World;
use crate::support::client::Client;
use crate::support::packages;
use crate::support::shown::Shown;

/// Names of the browser in distributions.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The token of a service that asks for one.
const OPERATOR: &str = "nobody uses this token here";

fn browser() -> String {
    let found =
        BROWSERS.iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    found.map(|name| (*name).to_owned()).unwrap_or_else(|| {
        panic!("Chromium is missing: run scripts/test-packages (make test does), or install it (Debian: apt install chromium)")
    })
}

/// Breaks the rule file of a service, and waits until it has noticed.
async fn break_rules(world: &World) {
    let path = world.folder.path().join("rules.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("branches: [main]", "brnaches: [main]")).unwrap();
    let operator = Client::bearer(OPERATOR);
    world.until_as(&operator, "/rules", |rules| rules.text("/fault").contains("brnaches")).await;
}

#[tokio::test]
async fn a_person_sees_a_push_arrive_asks_why_retries_a_run_and_edits_a_rule() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Shown::start(folder.path());
    let guarded = World::with("admin: { token: operator }\n", |_| {}).await;
    break_rules(&guarded).await;
    let axe = packages::npm("axe-core/axe.min.js");
    let playwright = packages::npm("playwright-core");
    let browser = browser();
    let (base, guarded_url) = (demo.console.clone(), guarded.url(""));
    let played = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/console.mjs"))
            .env("DECLIC_URL", base)
            .env("DECLIC_GUARDED_URL", guarded_url)
            .env("DECLIC_OPERATOR", OPERATOR)
            .env("DECLIC_AXE", axe)
            .env("DECLIC_PLAYWRIGHT", playwright)
            .env("DECLIC_BROWSER", browser)
            .env("DECLIC_WEBHOOK_SECRET", declic::demo::SECRET)
            .output()
            .expect("node starts")
    });
    let output = played.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}\n{}", guarded.service.log());
    assert!(said.contains("16 pages in 4 shapes without violations"), "{said}");
}
