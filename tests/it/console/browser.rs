//! The console in Chromium, driven by `tests/e2e/console.mjs`, which plays a person and looks for violations with axe.

use std::process::Command;

use crate::api::world::{More, World};
use crate::support::binary::WEBHOOK_SECRET;
use crate::support::packages;

/// Names of the browser in distributions.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

fn browser() -> String {
    let found =
        BROWSERS.iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
    found.map(|name| (*name).to_owned()).unwrap_or_else(|| {
        panic!("Chromium is missing: run scripts/test-packages (make test does), or install it (Debian: apt install chromium)")
    })
}

#[tokio::test]
async fn a_person_sees_a_push_arrive_asks_why_retries_a_run_and_edits_a_rule() {
    let world = World::of(More { rules: crate::api::ASKING, ..More::default() }, |_| {}).await;
    let guarded = World::with("admin: { token: operator }\n", |_| {}).await;
    world.deliver("main", "d-1").await;
    let axe = packages::npm("axe-core/axe.min.js");
    let playwright = packages::npm("playwright-core");
    let browser = browser();
    let (base, guarded_url) = (world.url(""), guarded.url(""));
    let played = tokio::task::spawn_blocking(move || {
        Command::new("node")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/console.mjs"))
            .env("DECLIC_URL", base)
            .env("DECLIC_GUARDED_URL", guarded_url)
            .env("DECLIC_OPERATOR", "nobody uses this token here")
            .env("DECLIC_AXE", axe)
            .env("DECLIC_PLAYWRIGHT", playwright)
            .env("DECLIC_BROWSER", browser)
            .env("DECLIC_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .output()
            .expect("node starts")
    });
    let output = played.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}\n{}", world.service.log());
    assert!(said.contains("14 pages in 4 shapes without violations"), "{said}");
}
