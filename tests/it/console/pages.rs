//! Pages as they come over the wire.

use serde_json::Value;

use crate::api::world::World;
use crate::support::client::Reply;

fn text(reply: &Reply) -> &str {
    match &reply.body {
        Value::String(text) => text,
        other => panic!("no page: {other:?}"),
    }
}

/// The key that the forms of a page repeat.
fn key(reply: &Reply) -> String {
    let page = text(reply);
    let rest = page.split(r#"name="key" value=""#).nth(1).expect("a form");
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_page_has_a_title_a_policy_and_nothing_from_elsewhere() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let (delivery, run) = (format!("/deliveries/{id}"), format!("/runs/{id}-2"));
    for (path, title, says) in [
        ("/", "Overview", "Failed in the last 24 hours"),
        ("/deliveries", "Deliveries", "main: Fix login"),
        ("/deliveries?state=ignored", "Deliveries", "Nothing fits these filters."),
        ("/deliveries?since=1h&text=login", "Deliveries", "main: Fix login"),
        ("/deliveries?repository=acme%2Fapi", "Deliveries", "Nothing fits these filters."),
        ("/runs?rule=tell&since=24h&event=github.push&source=github&state=succeeded", "Runs", "-1\">tell</a>"),
        (&delivery, "main: Fix login", "x-hub-signature-256, secret 1 of 1"),
        (&delivery, "main: Fix login", "branches: [release/*]"),
        ("/runs", "Runs", "tell"),
        (&run, "break failed", "answered with a redirect"),
        ("/deployed", "Deployed", "The settings name no targets."),
        ("/rules", "Rules", "Tells the other side."),
        ("/rules/tell", "tell", "Last matches"),
        ("/playground", "Playground", "The rules are right."),
        ("/backtest", "Backtest", "Compare"),
        ("/dead", "Dead runs", "Redrive all"),
        ("/sources", "Sources", "/hooks/github"),
        ("/audit", "Audit log", "Nobody has asked for anything yet."),
    ] {
        let page = world.client.get(&world.url(path)).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let body = text(&page);
        assert!(body.contains(&format!("<title>{title} · Declic</title>")), "{path}: {body}");
        assert!(body.contains(says), "{path} does not say `{says}`: {body}");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        for foreign in ["src=\"http", "href=\"//", "@import", " style=\"", " onclick="] {
            assert!(!body.contains(foreign), "{path} holds `{foreign}`");
        }
        // The text of a rule file is shown as it is.
        let shows_files = path.starts_with("/rules/") || path == "/playground" || path == "/backtest";
        assert!(shows_files || !body.contains("not-for-eyes"), "{path} shows what is to be hidden");
    }
    let missing = world.client.get(&world.url("/nowhere")).await;
    assert_eq!(missing.status, 404);
    assert!(text(&missing).contains("There is no such page."), "{missing:?}");
}

#[tokio::test]
async fn an_outsiders_title_is_text_on_every_page() {
    let world = World::start().await;
    let id = world.deliver("<script>alert(1)</script>", "d-1").await;
    for path in ["/deliveries".to_owned(), format!("/deliveries/{id}"), "/playground".to_owned()] {
        let page = world.client.get(&world.url(&path)).await;
        assert!(text(&page).contains("&lt;script&gt;alert(1)"), "{path}");
        assert!(!text(&page).contains("<script>alert"), "{path}");
    }
}

#[tokio::test]
async fn a_form_works_with_its_key_and_not_without() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    let run = world.url(&format!("/runs/{id}-2"));
    let key = key(&world.client.get(&run).await);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let retry = format!("{run}/retry");
    for wrong in ["", "key=", "key=0000", &format!("key={}", key.to_uppercase())] {
        let refused = world.client.send("POST", &retry, &form, wrong.as_bytes().to_vec()).await;
        assert_eq!(refused.status, 403, "{wrong}");
    }
    assert_eq!(world.get(&format!("/runs/{id}-2")).await.body["run"]["round"], 0);
    let retried = world.client.send("POST", &retry, &form, format!("key={key}").into_bytes()).await;
    assert_eq!((retried.status, retried.header("location")), (303, format!("/runs/{id}-2").as_str()));
    world.until(&format!("/runs/{id}-2"), |run| run.body["run"]["round"] == 1).await;

    let text = "version: 1\nrules:\n  a:\n    on: { github.psh: {} }\n";
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("key", &key)
        .append_pair("path", "rules.yaml")
        .append_pair("text", text)
        .finish();
    let tried = world.client.send("POST", &world.url("/playground"), &form, body.into_bytes()).await;
    let page = match &tried.body {
        Value::String(page) => page,
        other => panic!("{other:?}"),
    };
    assert!(page.contains("did you mean `github.push`?"), "{page}");
}

#[tokio::test]
async fn the_first_paint_is_quick_with_a_hundred_thousand_deliveries() {
    let world = World::start().await;
    let id = world.deliver("main", "d-1").await;
    {
        // Copies of what really came in, written while the service runs.
        let store = rusqlite::Connection::open(world.folder.path().join("declic.db")).unwrap();
        store.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        store
            .execute_batch(
                "BEGIN IMMEDIATE;
                 INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, replay, state, finished_at, event, repository, title)
                   WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
                   SELECT seq - n, source, 'copy-' || n, event_type, received_at, trace, verified, size, 0, 'ignored', received_at, event, repository, title
                   FROM deliveries, numbers WHERE delivery_id = 'd-1';
                 INSERT INTO runs (delivery, number, rule, place, revision, state, failure, created_at, started_at, finished_at)
                   SELECT d.seq, 1, r.rule, r.place, r.revision, CASE WHEN d.seq % 1000 = 0 THEN 'failed' ELSE 'succeeded' END,
                          CASE WHEN d.seq % 1000 = 0 THEN (SELECT failure FROM runs WHERE failure IS NOT NULL LIMIT 1) END,
                          d.received_at, d.received_at, d.received_at
                   FROM deliveries d, runs r WHERE d.delivery_id LIKE 'copy-%' AND r.rule = 'tell';
                 COMMIT;",
            )
            .unwrap();
    }
    let paths = [
        "/",
        "/deliveries",
        "/runs",
        "/dead",
        "/deployed",
        "/rules/tell",
        "/runs?rule=tell&state=failed",
        "/runs?text=nowhere-to-be-found",
    ];
    let paths = paths.map(str::to_owned).into_iter();
    for path in paths.chain(["/deliveries?text=nowhere-to-be-found".to_owned(), format!("/deliveries/{id}")]) {
        // The first look may find a cold cache; what a person waits for is the best of three on a busy machine.
        let mut best = std::time::Duration::MAX;
        for _ in 0..3 {
            let begun = std::time::Instant::now();
            assert_eq!(world.client.get(&world.url(&path)).await.status, 200);
            best = best.min(begun.elapsed());
        }
        println!("{path}: {best:?}");
        // A debug build on a machine that others use; the goal of 200 ms is for a release build.
        assert!(best < std::time::Duration::from_millis(600), "{path}: {best:?}");
    }
}
