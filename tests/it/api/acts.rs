//! What can be asked for, and who may.

use serde_json::json;

use super::world::World;

#[tokio::test]
async fn a_failed_run_is_retried_a_delivery_replayed_and_the_audit_log_says_so() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let refused = world.post(&format!("/runs/{id}-1/retry"), &json!({})).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.text("/detail").contains("it succeeded"), "{refused:?}");
    let retried = world.post(&format!("/runs/{id}-2/retry"), &json!({})).await;
    assert_eq!(retried.status, 200, "{retried:?}");
    let again =
        world.until(&format!("/runs/{id}-2"), |run| run.text("/run/state") == "failed" && run.body["run"]["round"] == 1).await;
    assert_eq!(again.body["run"]["by_hand"], true);
    let replayed = world.post(&format!("/deliveries/{id}/replay"), &json!({})).await;
    let new = replayed.text("/delivery").to_owned();
    world.until(&format!("/deliveries/{new}"), |delivery| delivery.text("/delivery/state") == "failed").await;
    let cancelled = world.post(&format!("/runs/{new}-1/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 409, "it is over: {cancelled:?}");

    let log = world.get("/audit").await;
    let entries = log.body["items"].as_array().unwrap();
    let shown: Vec<_> = entries.iter().map(|entry| (entry["act"].as_str().unwrap(), entry["who"].as_str().unwrap())).collect();
    let who = "this machine";
    assert_eq!(shown, [("cancel", who), ("replay", who), ("retry", who), ("retry", who)]);
    assert_eq!(entries[2]["outcome"], "done");
    assert!(entries[3]["outcome"].as_str().unwrap().starts_with("refused: "), "{entries:?}");
}

#[tokio::test]
async fn dead_runs_are_redriven_together() {
    let world = World::start().await;
    let first = world.deliver("main", "d-1").await;
    let second = world.deliver("main", "d-2").await;
    let dry = world.post("/redrive", &json!({ "rule": "break", "dry_run": true })).await;
    assert_eq!(dry.body["runs"], json!([format!("{first}-2"), format!("{second}-2")]), "{dry:?}");
    assert_eq!(world.post("/redrive", &json!({ "rule": "tell" })).await.body["runs"], json!([]));
    assert_eq!(world.post("/redrive", &json!({ "rles": "tell" })).await.status, 400, "an unknown key is an error");
    let redriven = world.post("/redrive", &json!({ "rule": "break", "limit": 1 })).await;
    assert_eq!(redriven.body, json!({ "runs": [format!("{first}-2")], "refused": [] }));
    world.until(&format!("/runs/{first}-2"), |run| run.body["run"]["round"] == 1).await;
}

#[tokio::test]
async fn edited_rules_are_checked_played_and_held_against_what_came_in_without_effects() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let wrong = json!({ "files": [{ "path": "rules.yaml", "text": "version: 1\nrules:\n  a:\n    on: { github.psh: {} }\n    steps: [{ uses: log, with: { message: a } }]\n" }] });
    let faults = world.post("/check", &wrong).await;
    assert_eq!(faults.body["usable"], false);
    assert_eq!((&faults.body["items"][0]["line"], &faults.body["items"][0]["severity"]), (&json!(4), &json!("error")));
    let text = std::fs::read_to_string(world.folder.path().join("rules.yaml")).unwrap().replace("release/*", "main");
    let files = json!([{ "path": "rules.yaml", "text": text }]);
    let played = world.post("/play", &json!({ "files": files, "delivery": id })).await;
    let calls: Vec<_> = played.body["calls"].as_array().unwrap().iter().map(|call| call["rule"].as_str().unwrap()).collect();
    assert_eq!(calls, ["tell", "break", "elsewhere"], "{played:?}");
    assert_eq!(played.body["calls"][0]["with"]["body"]["api_token"], "‹hidden›");
    // The request itself, as it would go out: with its headers, and without what is to be hidden.
    let request = &played.body["calls"][0]["requests"][0];
    assert_eq!(request["method"], "POST", "{played:?}");
    assert!(request["url"].as_str().unwrap().ends_with("/ok"), "{request:#}");
    assert_eq!(request["body"], json!({ "ref": "refs/heads/main", "api_token": "‹hidden›" }));
    let header = |name: &str| request["headers"].as_array().unwrap().iter().find(|header| header["name"] == name);
    assert!(header("content-type").is_some_and(|header| header["value"] == "application/json"), "{request:#}");
    assert!(header("idempotency-key").is_some(), "{request:#}");
    let made_up = world.post("/play", &json!({ "event": "github.push", "with": { "branch": "release/1" } })).await;
    assert_eq!(made_up.body["calls"][0]["rule"], "elsewhere", "{made_up:?}");
    let difference = world.post("/backtest", &json!({ "files": files })).await;
    assert_eq!((&difference.body["looked_at"], &difference.body["would_fire"]), (&json!(1), &json!(1)), "{difference:?}");
    assert_eq!(difference.text("/deliveries/0/differences/0/rule"), "elsewhere");
    assert_eq!(world.get("/runs").await.body["items"].as_array().unwrap().len(), 2, "nothing was done");
}

#[tokio::test]
async fn nobody_gets_in_from_elsewhere_or_through_somebody_elses_page() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let address = world.service.address.clone();
    for headers in [
        [("x-forwarded-for", "203.0.113.7")].as_slice(),
        &[("forwarded", "for=203.0.113.7")],
        &[("host", "attacker.example")],
        &[("host", "127.0.0.1.attacker.example:80")],
    ] {
        let reply = world.client.send("GET", &world.url("/api/v1/deliveries"), headers, Vec::new()).await;
        assert_eq!(reply.status, 404, "{headers:?}");
        assert_eq!(reply.text("/detail"), "There is nothing here.");
    }
    let retry = world.url(&format!("/api/v1/runs/{id}-2/retry"));
    for headers in [
        [("origin", "https://attacker.example")].as_slice(),
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
    ] {
        let reply = world.client.send("POST", &retry, headers, Vec::new()).await;
        assert_eq!(reply.status, 403, "{headers:?}");
    }
    assert_eq!(world.get(&format!("/runs/{id}-2")).await.body["run"]["round"], 0);
    let own = [("origin", format!("http://{address}")), ("sec-fetch-site", "same-origin".to_owned())];
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(world.client.send("POST", &retry, &own, Vec::new()).await.status, 200);
}
