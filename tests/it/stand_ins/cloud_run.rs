//! The Admin API's rules: authorization, etags, masks, unknown fields, revision names, traffic, operations.

use std::time::Duration;

use declic::demo::stand_ins::{IMAGE, IMAGE_REPOSITORY, SERVICE_NAME, World};
use serde_json::{Value, json};

use crate::support::client::{Client, Reply};

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
const LATEST: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
const REVISION: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION";

/// A world and an operator of its service.
struct Operator {
    world: World,
    client: Client,
}

impl Operator {
    async fn new() -> Self {
        let world = World::start().await.unwrap();
        world.cloud_run.operations_take(Duration::from_millis(5), 1);
        let token =
            world.tokens.issue("deployer@acme-ops.iam.gserviceaccount.com", &[CLOUD_PLATFORM.into()], Duration::from_secs(60));
        Self { world, client: Client::bearer(&token) }
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{SERVICE_NAME}{rest}", self.world.cloud_run.url)
    }

    async fn service(&self) -> Value {
        self.client.get(&self.url("")).await.body
    }

    async fn patch(&self, query: &str, body: &Value) -> Reply {
        self.client.json("PATCH", &self.url(query), body).await
    }

    /// The fetched service with another image and this revision name.
    async fn changed(&self, revision: &str, tag: &str) -> Value {
        let digest = self.world.registry.push(IMAGE_REPOSITORY, tag, tag);
        let mut service = self.service().await;
        service["template"]["containers"][0]["image"] = format!("{IMAGE}@{digest}").into();
        service["template"]["revision"] = revision.into();
        service
    }

    async fn finished(&self, operation: &Reply) -> Value {
        assert_eq!(operation.status, 200, "{}", operation.body);
        for _ in 0..100 {
            let url = format!("{}/v2/{}:wait", self.world.cloud_run.url, operation.text("/name"));
            let reply = self.client.json("POST", &url, &json!({ "timeout": "10s" })).await;
            assert_eq!(reply.status, 200, "{}", reply.body);
            if reply.body["done"] == true {
                return reply.body;
            }
        }
        panic!("the operation never ended");
    }
}

fn refused(reply: &Reply, status: u16, word: &str, message: &str) {
    assert_eq!((reply.status, reply.text("/error/status")), (status, word), "{}", reply.body);
    assert!(reply.text("/error/message").contains(message), "{}", reply.body);
}

#[tokio::test]
async fn a_token_that_was_not_issued_is_refused() {
    let operator = Operator::new().await;
    for client in [Client::anonymous(), Client::bearer("ya29.made-up")] {
        refused(&client.get(&operator.url("")).await, 401, "UNAUTHENTICATED", "credentials");
    }
    operator.world.tokens.revoke_all();
    refused(&operator.client.get(&operator.url("")).await, 401, "UNAUTHENTICATED", "credentials");
}

#[tokio::test]
async fn a_token_of_too_narrow_a_scope_can_read_but_not_write() {
    let operator = Operator::new().await;
    let scope = "https://www.googleapis.com/auth/run.readonly".to_owned();
    let token = operator.world.tokens.issue("reader@acme-ops.iam.gserviceaccount.com", &[scope], Duration::from_secs(60));
    let client = Client::bearer(&token);
    assert_eq!(client.get(&operator.url("")).await.status, 200);
    let reply = client.json("PATCH", &operator.url("?updateMask=labels"), &json!({ "labels": {} })).await;
    refused(&reply, 403, "PERMISSION_DENIED", "insufficient authentication scopes");
}

#[tokio::test]
async fn an_identity_without_the_role_is_refused() {
    let operator = Operator::new().await;
    operator.world.cloud_run.allow_only(&["someone-else@acme-ops.iam.gserviceaccount.com"]);
    refused(&operator.client.get(&operator.url("")).await, 403, "PERMISSION_DENIED", "run.services.get");
}

#[tokio::test]
async fn an_update_makes_the_named_revision_and_moves_the_traffic_when_it_is_done() {
    let operator = Operator::new().await;
    let service = operator.changed("web-a1", "a1").await;
    let reply = operator.patch("?updateMask=template", &service).await;
    assert_eq!(reply.body["metadata"]["reconciling"], true, "{}", reply.body);
    assert_eq!(operator.world.cloud_run.allocation(SERVICE_NAME), [("web-00001-kuz".to_owned(), 100)]);

    let done = operator.finished(&reply).await;
    assert_eq!(done["response"]["latestReadyRevision"], format!("{SERVICE_NAME}/revisions/web-a1"), "{done}");
    assert_eq!(done["response"]["terminalCondition"]["state"], "CONDITION_SUCCEEDED");
    assert_eq!(done["response"]["observedGeneration"], done["response"]["generation"]);
    assert_eq!(operator.world.cloud_run.allocation(SERVICE_NAME), [("web-a1".to_owned(), 100)]);
    assert_eq!(operator.world.cloud_run.ledger.effects_of("revision.created"), ["web-a1"]);

    let revision = operator.client.get(&operator.url("/revisions/web-a1")).await.body;
    let image = service["template"]["containers"][0]["image"].clone();
    assert_eq!(revision["containerStatuses"][0]["imageDigest"], image, "{revision}");
    assert_eq!(revision["conditions"][0]["state"], "CONDITION_SUCCEEDED");
}

#[tokio::test]
async fn an_old_etag_conflicts_and_a_current_one_does_not() {
    let operator = Operator::new().await;
    let service = operator.changed("web-a1", "a1").await;
    operator.world.cloud_run.conflict_once();
    refused(&operator.patch("?updateMask=template", &service).await, 409, "ABORTED", "Conflict for resource 'web'");
    assert!(operator.world.cloud_run.ledger.effects_of("revision.created").is_empty());
    let again = operator.changed("web-a1", "a1").await;
    assert_eq!(again["annotations"]["example.com/edited-by"], "another-writer");
    operator.finished(&operator.patch("?updateMask=template", &again).await).await;
}

#[tokio::test]
async fn a_revision_name_is_used_once_only() {
    let operator = Operator::new().await;
    let first = operator.changed("web-a1", "a1").await;
    operator.finished(&operator.patch("?updateMask=template", &first).await).await;

    let other = operator.changed("web-a1", "a2").await;
    let message = "Revision named 'web-a1' with different configuration already exists.";
    refused(&operator.patch("?updateMask=template", &other).await, 409, "ALREADY_EXISTS", message);

    let mut same = first.clone();
    same["etag"] = operator.service().await["etag"].clone();
    operator.finished(&operator.patch("?updateMask=template", &same).await).await;
    assert_eq!(operator.world.cloud_run.ledger.effects_of("revision.created"), ["web-a1"]);
}

#[tokio::test]
async fn an_update_beside_the_template_must_not_carry_a_used_revision_name() {
    let operator = Operator::new().await;
    let service = operator.service().await;
    refused(&operator.patch("?updateMask=traffic", &service).await, 409, "ALREADY_EXISTS", "web-00001-kuz");
    let traffic = json!({ "etag": service["etag"], "traffic": service["traffic"] });
    operator.finished(&operator.patch("?updateMask=traffic", &traffic).await).await;
    assert_eq!(operator.world.cloud_run.revisions(SERVICE_NAME).len(), 1);
}

#[tokio::test]
async fn a_template_that_did_not_change_makes_a_revision_only_when_forced() {
    let operator = Operator::new().await;
    let mut service = operator.service().await;
    service["template"].as_object_mut().unwrap().remove("revision");
    operator.finished(&operator.patch("?updateMask=template", &service).await).await;
    assert_eq!(operator.world.cloud_run.revisions(SERVICE_NAME).len(), 1);
    service["etag"] = operator.service().await["etag"].clone();
    operator.finished(&operator.patch("?updateMask=template&forceNewRevision=true", &service).await).await;
    assert_eq!(operator.world.cloud_run.revisions(SERVICE_NAME).len(), 2);
}

#[tokio::test]
async fn what_the_mask_does_not_name_stays_as_it_was() {
    let operator = Operator::new().await;
    let before = operator.service().await;
    let body = json!({ "labels": { "a": "b" }, "description": "must not be written" });
    operator.finished(&operator.patch("?updateMask=labels", &body).await).await;
    let after = operator.service().await;
    assert_eq!(after["labels"], json!({ "a": "b" }));
    for field in ["description", "template", "traffic", "scaling", "ingress", "client"] {
        assert_eq!(after[field], before[field], "{field}");
    }
}

#[tokio::test]
async fn bodies_masks_and_parameters_outside_the_api_are_refused() {
    let operator = Operator::new().await;
    let with = |change: &dyn Fn(&mut Value), service: &Value| {
        let mut changed = service.clone();
        changed["template"].as_object_mut().unwrap().remove("revision");
        change(&mut changed);
        changed
    };
    let service = operator.service().await;
    let bodies: Vec<(&str, Value)> = vec![
        ("Unknown name \"imgae\"", with(&|s| s["template"]["containers"][0]["imgae"] = "x".into(), &service)),
        ("Unknown name \"metadata\"", json!({ "metadata": {} })),
        ("expected bool", with(&|s| s["template"]["containers"][0]["resources"]["cpuIdle"] = "yes".into(), &service)),
        ("expected duration", with(&|s| s["template"]["timeout"] = 300.into(), &service)),
        (
            "reserved namespace",
            with(&|s| s["template"]["annotations"] = json!({ "autoscaling.knative.dev/maxScale": "3" }), &service),
        ),
        ("reserved namespace", with(&|s| s["labels"] = json!({ "run.googleapis.com/satisfies": "x" }), &service)),
        ("not a valid label", with(&|s| s["labels"] = json!({ "commit-sha": "ABC" }), &service)),
        ("at least one container", with(&|s| s["template"]["containers"] = json!([]), &service)),
        (
            "exactly one container must have a port",
            with(&|s| s["template"]["containers"][1]["ports"] = json!([{ "containerPort": 1 }]), &service),
        ),
        ("names a volume", with(&|s| s["template"]["volumes"] = json!([]), &service)),
        ("must be 'web-' and more", with(&|s| s["template"]["revision"] = "api-1".into(), &service)),
        ("must be 'web-' and more", with(&|s| s["template"]["revision"] = format!("web-{}", "x".repeat(60)).into(), &service)),
    ];
    for (message, body) in bodies {
        refused(&operator.patch("?updateMask=template,labels", &body).await, 400, "INVALID_ARGUMENT", message);
    }
    let nothing = json!({});
    for (query, message) in [
        ("?updateMask=tempalte", "not a field of Service"),
        ("?updateMask=template.containers.image", "not a field of Service"),
        ("?updateMask=etag,uid", "not a field of Service"),
        ("?updatemask=labels", "Cannot bind query parameter"),
        ("?updateMask=labels&validateOnly=yes", "TYPE_BOOL"),
    ] {
        refused(&operator.patch(query, &nothing).await, 400, "INVALID_ARGUMENT", message);
    }
    let reply = operator.client.send("PATCH", &operator.url("?updateMask=labels"), &[], b"{\"labels\":".to_vec()).await;
    refused(&reply, 400, "INVALID_ARGUMENT", "Invalid JSON payload");
    assert_eq!(operator.client.json("PUT", &operator.url(""), &service).await.status, 404);
    assert_eq!(operator.client.get(&operator.url("").replace("/web", "/wbe")).await.status, 404);
    assert_eq!(operator.world.cloud_run.revisions(SERVICE_NAME).len(), 1);
}

#[tokio::test]
async fn traffic_must_add_up_and_name_what_exists() {
    let operator = Operator::new().await;
    let old = json!({ "type": REVISION, "revision": "web-00001-kuz", "percent": 100 });
    for (message, traffic) in [
        ("sum to 90", json!([{ "type": LATEST, "percent": 90 }])),
        ("sum to 200", json!([{ "type": LATEST, "percent": 100 }, old])),
        ("does not exist", json!([old, { "type": REVISION, "revision": "web-none", "tag": "x" }])),
        (
            "used twice",
            json!([old, { "type": LATEST, "tag": "x" }, { "type": REVISION, "revision": "web-00001-kuz", "tag": "x" }]),
        ),
        ("not a valid tag", json!([old, { "type": LATEST, "tag": "PR_7" }])),
        ("not a valid tag", json!([old, { "type": LATEST, "tag": "a".repeat(44) }])),
        ("must not be set", json!([{ "type": LATEST, "revision": "web-00001-kuz", "percent": 100 }])),
        ("not an allocation type", json!([{ "percent": 100 }])),
    ] {
        let reply = operator.patch("?updateMask=traffic", &json!({ "traffic": traffic })).await;
        refused(&reply, 400, "INVALID_ARGUMENT", message);
    }
}

#[tokio::test]
async fn a_tagged_revision_serves_at_its_own_address_before_it_gets_traffic() {
    let operator = Operator::new().await;
    operator.world.cloud_run.unhealthy_at_first(1, 500);
    let mut service = operator.changed("web-a1", "a1").await;
    service["traffic"] = json!([
        { "type": REVISION, "revision": "web-00001-kuz", "percent": 100 },
        { "type": REVISION, "revision": "web-a1", "tag": "next" },
    ]);
    let done = operator.finished(&operator.patch("?updateMask=template,traffic", &service).await).await;
    let status = &done["response"]["trafficStatuses"][1];
    assert_eq!((&status["tag"], &status["revision"]), (&"next".into(), &"web-a1".into()), "{done}");

    let uri = status["uri"].as_str().unwrap();
    let visitor = Client::anonymous();
    assert_eq!(visitor.get(&format!("{uri}/livez")).await.status, 500);
    let healed = visitor.get(&format!("{uri}/livez")).await;
    assert_eq!((healed.status, healed.header("x-served-by")), (200, "web-a1"));
    let main = visitor.get(done["response"]["uri"].as_str().unwrap()).await;
    assert_eq!((main.status, main.header("x-served-by")), (200, "web-00001-kuz"));
}

#[tokio::test]
async fn a_revision_that_fails_leaves_the_old_one_serving() {
    let operator = Operator::new().await;
    operator.world.cloud_run.operation_fails("HEALTH_CHECK_CONTAINER_ERROR");
    let service = operator.changed("web-a1", "a1").await;
    let done = operator.finished(&operator.patch("?updateMask=template", &service).await).await;
    assert!(done["error"]["message"].as_str().unwrap().contains("Revision 'web-a1' is not ready"), "{done}");
    let after = operator.service().await;
    assert_eq!(after["terminalCondition"]["state"], "CONDITION_FAILED");
    assert_eq!(after["latestCreatedRevision"], format!("{SERVICE_NAME}/revisions/web-a1"));
    assert_eq!(after["latestReadyRevision"], format!("{SERVICE_NAME}/revisions/web-00001-kuz"));
    assert_eq!(operator.world.cloud_run.allocation(SERVICE_NAME), [("web-00001-kuz".to_owned(), 100)]);
    let revision = operator.client.get(&operator.url("/revisions/web-a1")).await.body;
    assert_eq!(revision["conditions"][0]["revisionReason"], "HEALTH_CHECK_CONTAINER_ERROR", "{revision}");
}

#[tokio::test]
async fn an_image_that_does_not_exist_fails_the_revision() {
    let operator = Operator::new().await;
    let mut service = operator.changed("web-a1", "a1").await;
    service["template"]["containers"][0]["image"] = format!("{IMAGE}:nowhere").into();
    let done = operator.finished(&operator.patch("?updateMask=template", &service).await).await;
    assert!(done["error"]["message"].as_str().unwrap().contains("not found"), "{done}");
}

#[tokio::test]
async fn a_validation_run_changes_nothing() {
    let operator = Operator::new().await;
    let service = operator.changed("web-a1", "a1").await;
    let reply = operator.patch("?updateMask=template&validateOnly=true", &service).await;
    assert_eq!(reply.body["done"], true, "{}", reply.body);
    assert_eq!(operator.service().await["etag"], service["etag"]);
    assert_eq!(operator.world.cloud_run.revisions(SERVICE_NAME).len(), 1);
}

#[tokio::test]
async fn a_cut_connection_gives_no_answer_but_has_its_effect() {
    let operator = Operator::new().await;
    let service = operator.changed("web-a1", "a1").await;
    operator.world.cloud_run.faults.cut_connection_next(1);
    let body = service.to_string().into_bytes();
    let result = operator.client.try_send("PATCH", &operator.url("?updateMask=template"), &[], body).await;
    assert!(result.is_err(), "{result:?}");
    assert_eq!(operator.world.cloud_run.ledger.effects_of("revision.created"), ["web-a1"]);
    assert_eq!(operator.client.get(&operator.url("")).await.status, 200);
}

#[tokio::test]
async fn a_planned_failure_has_no_effect_and_is_used_up() {
    let operator = Operator::new().await;
    operator.world.cloud_run.faults.fail_next(1, 429, Some(7));
    let body = json!({ "labels": { "a": "b" } });
    let reply = operator.patch("?updateMask=labels", &body).await;
    refused(&reply, 429, "RESOURCE_EXHAUSTED", "");
    assert_eq!(reply.header("retry-after"), "7");
    assert_eq!(operator.patch("?updateMask=labels", &body).await.status, 200);
}

#[tokio::test]
async fn effects_can_be_counted_over_http_and_in_a_file() {
    let operator = Operator::new().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("effects.jsonl");
    operator.world.cloud_run.ledger.journal_to(&file).unwrap();
    let service = operator.changed("web-a1", "a1").await;
    operator.finished(&operator.patch("?updateMask=template", &service).await).await;
    let listed = Client::anonymous().get(&format!("{}/_stand-in/effects", operator.world.cloud_run.url)).await;
    let kinds: Vec<&str> = listed.body.as_array().unwrap().iter().map(|effect| effect["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["revision.created", "traffic.changed"]);
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 2);
}
