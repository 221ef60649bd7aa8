//! The stand-ins and the published descriptions of the APIs agree: in what may be sent, and in what is answered.

use std::time::Duration;

use declic::clock::Timestamp;
use declic::demo::stand_ins::github::TOKEN;
use declic::demo::stand_ins::github::hooks::LoggedAttempt;
use declic::demo::stand_ins::shape::Shapes;
use declic::demo::stand_ins::{
    FIRST_COMMIT, IMAGE, IMAGE_REPOSITORY, REPOSITORY, SERVICE_NAME, World, cloud_run, dialogflow, github,
};
use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::discovery::{self, DIALOGFLOW_CX, DIALOGFLOW_ES, Document, IAM, RUN};
use crate::support::openapi::{self, GITHUB};

const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// How a discovery document's field would be written in a shape file.
fn kind_of(field: &Value, prefix: &str) -> String {
    let text = |key: &str| field.get(key).and_then(Value::as_str);
    if let Some(message) = text("$ref") {
        return message.trim_start_matches(prefix).to_owned();
    }
    if let Some(words) = field.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|");
    }
    match (text("type"), text("format")) {
        (Some("array"), _) => format!("[{}]", kind_of(&field["items"], prefix)),
        (Some("object"), _) => format!("{{{}}}", kind_of(&field["additionalProperties"], prefix)),
        (Some("boolean"), _) => "bool".into(),
        (_, Some("google-datetime")) => "timestamp".into(),
        (_, Some("google-duration")) => "duration".into(),
        (Some(kind), format) => format.unwrap_or(kind).to_owned(),
        (None, _) => "nothing".into(),
    }
}

/// Differences between the messages of a shape file and those of a document. `name_of` gives the document's name of a message.
fn differences(
    shapes: &Shapes,
    document: &Document,
    prefix: &str,
    name_of: impl Fn(&str) -> Option<String>,
    whole: bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for message in shapes.messages() {
        let Some(published_name) = name_of(message) else { continue };
        let Some(published) = document.fields(&published_name) else {
            if shapes.fields(message).is_some_and(|fields| !fields.is_empty()) {
                found.push(format!("{message}: the document has no {published_name}"));
            }
            continue;
        };
        for field in shapes.fields(message).unwrap() {
            let Some(kind) = published.get(&field.name).map(|field| kind_of(field, prefix)) else {
                found.push(format!("{message}.{}: not in the document", field.name));
                continue;
            };
            let loose =
                !whole && (field.kind.contains("any") || shapes.fields(field.kind.trim_matches(['[', ']', '{', '}'])).is_some());
            if field.kind != kind && !loose {
                found.push(format!("{message}.{}: {} here, {kind} in the document", field.name, field.kind));
            }
        }
        let here = |name: &&String| shapes.field(message, name).is_some();
        found.extend(
            published.keys().filter(|name| whole && !here(name)).map(|name| format!("{message}.{name}: only in the document")),
        );
    }
    found
}

#[test]
fn the_cloud_run_messages_are_those_of_the_discovery_document() {
    let prefix = "GoogleCloudRunV2";
    let found = differences(cloud_run::shapes(), &RUN, prefix, |message| Some(format!("{prefix}{message}")), true);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_dialogflow_messages_are_those_of_the_discovery_documents() {
    let es = |message: &str| Some(format!("GoogleCloudDialogflowV2{}", message.strip_prefix("Es")?));
    let mut found = differences(dialogflow::shapes(), &DIALOGFLOW_ES, "GoogleCloudDialogflowV2", es, false);
    let prefix = "GoogleCloudDialogflowCxV3";
    let cx = |message: &str| {
        Some(match message.strip_prefix("Cx")? {
            whole @ ("WebhookRequest" | "PageInfo" | "SessionInfo" | "LanguageInfo") => format!("{prefix}{whole}"),
            "FormInfo" => format!("{prefix}PageInfoFormInfo"),
            "ParameterInfo" => format!("{prefix}PageInfoFormInfoParameterInfo"),
            "IntentParameterValue" => format!("{prefix}WebhookRequestIntentInfoIntentParameterValue"),
            part => format!("{prefix}WebhookRequest{part}"),
        })
    };
    found.extend(differences(dialogflow::shapes(), &DIALOGFLOW_CX, prefix, cx, false));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_bodies_that_the_github_stand_in_takes_are_those_of_the_openapi_description() {
    let operations = [
        ("CreateCommitComment", "POST", "/repos/{owner}/{repo}/commits/{commit_sha}/comments"),
        ("UpdateCommitComment", "PATCH", "/repos/{owner}/{repo}/comments/{comment_id}"),
        ("CreateIssueComment", "POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
        ("UpdateIssueComment", "PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}"),
        ("CreateStatus", "POST", "/repos/{owner}/{repo}/statuses/{sha}"),
        ("CreateReaction", "POST", "/repos/{owner}/{repo}/issues/{issue_number}/reactions"),
        ("AddLabels", "POST", "/repos/{owner}/{repo}/issues/{issue_number}/labels"),
        ("SetLabels", "PUT", "/repos/{owner}/{repo}/issues/{issue_number}/labels"),
        ("CreateCheckRun", "POST", "/repos/{owner}/{repo}/check-runs"),
        ("UpdateCheckRun", "PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}"),
        ("WorkflowDispatch", "POST", "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"),
        ("RepositoryDispatch", "POST", "/repos/{owner}/{repo}/dispatches"),
        ("CreateInstallationToken", "POST", "/app/installations/{installation_id}/access_tokens"),
        ("CreateDeployment", "POST", "/repos/{owner}/{repo}/deployments"),
        ("CreateDeploymentStatus", "POST", "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses"),
    ];
    let parts = ["CheckRunOutput", "CheckRunAnnotation"];
    assert_eq!(github::answers::shapes().messages().filter(|message| !parts.contains(message)).count(), operations.len());
    for (message, method, path) in operations {
        let published = GITHUB.body_properties(method, path).unwrap_or_else(|| panic!("{method} {path}"));
        let fields = github::answers::shapes().fields(message).unwrap();
        let names = |required: bool| {
            let mut names: Vec<&str> =
                fields.iter().filter(|field| !required || field.required).map(|field| field.name.as_str()).collect();
            names.sort_unstable();
            names
        };
        let mut all: Vec<&str> = published.keys().map(String::as_str).collect();
        all.sort_unstable();
        assert_eq!(names(false), all, "{message}");
        let mut required = GITHUB.body_required(method, path);
        required.sort_unstable();
        assert_eq!(names(true), required, "{message}");
        for field in fields {
            let nullable = published[&field.name].get("nullable") == Some(&Value::Bool(true));
            assert_eq!(field.nullable, nullable, "{message}.{}", field.name);
        }
    }
}

#[tokio::test]
async fn what_the_delivery_log_answers_is_in_the_openapi_description() {
    let world = strict_world().await;
    let client = Client::bearer(TOKEN);
    let agent = ("user-agent", "declic-tests");
    for (of, path) in
        [(REPOSITORY, format!("/repos/{REPOSITORY}/hooks/42/deliveries")), ("acme", "/orgs/acme/hooks/42/deliveries".to_owned())]
    {
        let mut numbers = Vec::new();
        for number in 0..3 {
            numbers.push(world.github.log_attempt(
                of,
                42,
                LoggedAttempt {
                    guid: format!("guid-{number}"),
                    event: "issues".to_owned(),
                    payload: json!({ "action": "opened", "repository": { "id": 1 } }),
                    status_code: 502,
                    delivered_at: Timestamp(1_790_000_000_000 + number),
                    redelivery: false,
                    signature: Some("sha256=0".to_owned()),
                },
            ));
        }
        let page = client.send("GET", &format!("{}{path}?per_page=2", world.github.url), &[agent], Vec::new()).await;
        GITHUB.check_response("GET", &path, 200, &page.body).unwrap_or_else(|fault| panic!("{path}: {fault}"));
        let ids =
            |page: &Reply| page.body.as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect::<Vec<_>>();
        assert_eq!(ids(&page), [numbers[2], numbers[1]], "the newest come first");
        let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
        let last = client.send("GET", &next, &[agent], Vec::new()).await;
        assert_eq!((ids(&last), last.header("link")), (vec![numbers[0]], ""));
        let one = format!("{path}/{}", numbers[1]);
        let detail = client.send("GET", &format!("{}{one}", world.github.url), &[agent], Vec::new()).await;
        GITHUB.check_response("GET", &one, 200, &detail.body).unwrap_or_else(|fault| panic!("{one}: {fault}"));
        assert_eq!(detail.text("/request/payload/action"), "opened");
        let elsewhere = client.send("GET", &format!("{}{path}?cursor=v1_1", world.github.url), &[agent], Vec::new()).await;
        assert_eq!(elsewhere.status, 400);
    }
    assert_eq!(
        Client::bearer(TOKEN)
            .send("GET", &format!("{}/app/hook/deliveries", world.github.url), &[agent], Vec::new())
            .await
            .status,
        401
    );
}

/// A world whose stand-ins refuse what the documents do not allow.
async fn strict_world() -> World {
    let world = World::start().await.unwrap();
    world.cloud_run.hold_to(discovery::cloud_run());
    world.identity.hold_to(discovery::identity());
    world.dialogflow.hold_to(discovery::dialogflow());
    world.github.hold_to(openapi::github());
    world.cloud_run.operations_take(Duration::ZERO, 1);
    world
}

fn token(world: &World) -> String {
    world.tokens.issue("deployer@acme-ops.iam.gserviceaccount.com", &[CLOUD_PLATFORM.into()], Duration::from_secs(60))
}

/// The body without `@type`, as the message alone.
fn untyped(value: &Value) -> Value {
    let mut untyped = value.clone();
    untyped.as_object_mut().unwrap().remove("@type").expect("a type");
    untyped
}

#[tokio::test]
async fn what_the_cloud_run_stand_in_answers_is_in_its_document() {
    let world = strict_world().await;
    let client = Client::bearer(&token(&world));
    let send = async |method: &str, path: &str, body: Value| {
        let url = format!("{}{path}", world.cloud_run.url);
        let reply = if body.is_null() {
            client.send(method, &url, &[], Vec::new()).await
        } else {
            client.json(method, &url, &body).await
        };
        assert_eq!(reply.status, 200, "{method} {path}: {}", reply.body);
        let bare = path.split('?').next().unwrap();
        RUN.check_response(method, bare, &reply.body).unwrap_or_else(|fault| panic!("{method} {path}: {fault}"));
        reply
    };
    let service_path = format!("/v2/{SERVICE_NAME}");
    let mut service = send("GET", &service_path, Value::Null).await.body;
    for (name, healthy) in [("web-a1", true), ("web-a2", false)] {
        if !healthy {
            world.cloud_run.operation_fails("HEALTH_CHECK_CONTAINER_ERROR");
        }
        let digest = world.registry.push(IMAGE_REPOSITORY, name, name);
        service["template"]["containers"][0]["image"] = format!("{IMAGE}@{digest}").into();
        service["template"]["revision"] = name.into();
        let query =
            "updateMask=template,labels,client,clientVersion,template.containers&forceNewRevision=true&allowMissing=false";
        let operation = send("PATCH", &format!("{service_path}?{query}"), service.clone()).await;
        let operation_path = format!("/v2/{}", operation.text("/name"));
        let waited = send("POST", &format!("{operation_path}:wait"), json!({ "timeout": "1s" })).await.body;
        RUN.check_message("GoogleCloudRunV2Service", &untyped(&waited["metadata"])).unwrap();
        match healthy {
            true => RUN.check_message("GoogleCloudRunV2Service", &untyped(&waited["response"])).unwrap(),
            false => RUN.check_message("GoogleRpcStatus", &waited["error"]).unwrap(),
        }
        send("GET", &operation_path, Value::Null).await;
        send("GET", &format!("{service_path}/revisions/{name}"), Value::Null).await;
        service = send("GET", &service_path, Value::Null).await.body;
    }
    let list = send("GET", &format!("{service_path}/revisions?pageSize=2"), Value::Null).await;
    assert_eq!(list.body["revisions"].as_array().unwrap().len(), 2);
    assert_eq!(list.text("/nextPageToken"), "2");
    assert_eq!(world.cloud_run.ledger.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_identity_stand_in_answers_is_in_its_document() {
    let world = strict_world().await;
    let client = Client::bearer(&token(&world));
    let account = "/v1/projects/-/serviceAccounts/web-deployer@acme-staging.iam.gserviceaccount.com";
    for (call, body) in [
        ("generateAccessToken", json!({ "scope": [CLOUD_PLATFORM], "lifetime": "300s" })),
        ("generateIdToken", json!({ "audience": "https://x.example", "includeEmail": true })),
    ] {
        let path = format!("{account}:{call}");
        let reply = client.json("POST", &format!("{}{path}", world.identity.url), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        IAM.check_response("POST", &path, &reply.body).unwrap();
    }
}

#[tokio::test]
async fn what_the_github_stand_in_answers_is_in_its_description() {
    let world = strict_world().await;
    let client = Client::bearer(TOKEN);
    world.github.add_issue(REPOSITORY, 7, Some(FIRST_COMMIT));
    let send = async |method: &str, path: &str, body: Value, status: u16| -> Reply {
        let path = format!("/repos/{REPOSITORY}{path}");
        let url = format!("{}{path}", world.github.url);
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = client.send(method, &url, &[("user-agent", "declic-tests")], bytes).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.body);
        let bare = path.split('?').next().unwrap();
        GITHUB.check_response(method, bare, status, &reply.body).unwrap_or_else(|fault| panic!("{method} {path}: {fault}"));
        reply
    };
    let id = |reply: &Reply| reply.body["id"].as_u64().unwrap();
    let none = Value::Null;

    let comment = send("POST", &format!("/commits/{FIRST_COMMIT}/comments"), json!({ "body": "x" }), 201).await;
    send("GET", &format!("/comments/{}", id(&comment)), none.clone(), 200).await;
    send("PATCH", &format!("/comments/{}", id(&comment)), json!({ "body": "y" }), 200).await;
    send("GET", &format!("/commits/{FIRST_COMMIT}/comments?per_page=100&page=1"), none.clone(), 200).await;
    let comment = send("POST", "/issues/7/comments", json!({ "body": "x" }), 201).await;
    send("PATCH", &format!("/issues/comments/{}", id(&comment)), json!({ "body": "y" }), 200).await;
    send("GET", "/issues/7/comments?per_page=100", none.clone(), 200).await;

    let status = json!({ "state": "success", "context": "declic", "description": null, "target_url": "https://x.example" });
    send("POST", &format!("/statuses/{FIRST_COMMIT}"), status, 201).await;
    send("GET", &format!("/commits/{FIRST_COMMIT}/statuses"), none.clone(), 200).await;
    let deployment = json!({
        "ref": FIRST_COMMIT, "environment": "staging", "required_contexts": [], "auto_merge": false, "payload": { "run": "r" },
        "description": "x", "transient_environment": false, "production_environment": false, "task": "deploy",
    });
    let deployment = id(&send("POST", "/deployments", deployment, 201).await);
    send("GET", &format!("/deployments?sha={FIRST_COMMIT}&environment=staging&per_page=100"), none.clone(), 200).await;
    send("GET", &format!("/deployments/{deployment}"), none.clone(), 200).await;
    let status = json!({ "state": "in_progress", "log_url": "https://x.example", "auto_inactive": true });
    send("POST", &format!("/deployments/{deployment}/statuses"), status, 201).await;
    send("GET", &format!("/deployments/{deployment}/statuses"), none.clone(), 200).await;
    send("GET", &format!("/commits/{FIRST_COMMIT}"), none, 200).await;
}

#[tokio::test]
async fn a_request_outside_the_documents_is_refused_before_it_has_an_effect() {
    let world = strict_world().await;
    let google = Client::bearer(&token(&world));
    let service = format!("{}/v2/{SERVICE_NAME}", world.cloud_run.url);
    for (query, body) in [
        ("?updateMask=labels", json!({ "labels": { "a": 1 } })),
        ("?updateMask=label", json!({ "labels": {} })),
        ("?updateMask=labels&mask=x", json!({ "labels": {} })),
        ("?updateMask=labels", json!({ "lables": {} })),
        ("?updateMask=traffic", json!({ "traffic": [{ "type": "LATEST", "percent": 100 }] })),
    ] {
        let reply = google.json("PATCH", &format!("{service}{query}"), &body).await;
        assert_eq!(reply.status, 400, "{query} {body}: {}", reply.body);
        assert!(reply.text("/error/message").contains("published contract"), "{}", reply.body);
    }
    assert_eq!(google.json("POST", &service, &json!({})).await.status, 400);
    let url = format!("{}/repos/{REPOSITORY}/statuses/{FIRST_COMMIT}", world.github.url);
    for body in [json!({ "state": "done" }), json!({ "state": "success", "descriptoin": "x" }), json!({})] {
        let bytes = body.to_string().into_bytes();
        let reply = Client::bearer(TOKEN).send("POST", &url, &[("user-agent", "declic-tests")], bytes).await;
        assert!(reply.text("/message").contains("published contract"), "{}", reply.body);
    }
    let odd = json!({ "responseId": "r", "session": "projects/p/agent/sessions/s", "queryResult": { "lang": "en" } });
    let reply = Client::anonymous().json("POST", &format!("{}/es", world.dialogflow.url), &odd).await;
    assert!(reply.text("/error/message").contains("published contract"), "{}", reply.body);
    assert!(world.cloud_run.ledger.effects().is_empty());
    assert!(world.github.ledger.effects().is_empty());
}
