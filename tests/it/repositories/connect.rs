//! `declic connect github`: the real command, a browser that does what its page says, and GitHub's stand-in.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use declic::demo::stand_ins::World;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::github::manifests::NextApp;
use declic::demo::stand_ins::server::{self, Api};
use serde_json::{Value, json};

use super::acme::{ID, PERMISSIONS, RULES, WEB, commit, keys};
use crate::support::binary::{Binary, command, declic};
use crate::support::client::{Client, Reply};
use crate::support::discovery::Document;
use crate::support::openapi::GITHUB;

const NUMBER: u64 = 31_337;
const HOOK: &str = "the webhook secret of a new App";

/// The command, waiting for a browser.
struct Waiting {
    child: Child,
    page: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Waiting {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, &[&["connect", "github"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let mut rest = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        rest.read_line(&mut line).expect("a line");
        let page = line.split(' ').find(|word| word.starts_with("http://127.0.0.1:")).unwrap_or_default().to_owned();
        if page.is_empty() {
            let mut said = String::new();
            let _ = child.stderr.take().expect("a pipe").read_to_string(&mut said);
            panic!("{line}{said}");
        }
        Self { child, page, rest }
    }

    /// Status, and everything that it said from the second line on.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.rest.read_to_string(&mut said).expect("text");
        let _ = self.child.stderr.take().expect("a pipe").read_to_string(&mut said);
        (self.child.wait().expect("it ends").code(), said)
    }
}

/// What the page says: where its form goes, and what is in it.
async fn form(page: &str) -> (String, String) {
    let shown = Client::anonymous().get(page).await;
    assert_eq!(shown.status, 200);
    let html = shown.body.as_str().unwrap_or_default().to_owned();
    let between = |from: &str| {
        let rest = html.split_once(from).unwrap_or_else(|| panic!("{html}")).1;
        rest.split_once('"').expect("its end").0.replace("&quot;", "\"").replace("&amp;", "&")
    };
    (between("action=\""), between("name=\"manifest\" value=\""))
}

async fn post_form(action: &str, manifest: &str) -> Reply {
    let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("manifest", manifest).finish();
    let headers = [("user-agent", "a browser"), ("content-type", "application/x-www-form-urlencoded")];
    Client::anonymous().send("POST", action, &headers, body.into_bytes()).await
}

async fn world() -> (World, String) {
    let world = World::start().await.expect("the stand-ins start");
    let (key, public) = keys();
    let private_key = key.expose_text().expect("PEM").to_owned();
    let app = NextApp { id: NUMBER, private_key: private_key.clone(), public_key: public, webhook_secret: HOOK.to_owned() };
    world.github.set_next_app(app);
    (world, private_key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_app_is_made_by_its_manifest_and_its_keys_are_kept_where_only_their_owner_reads_them() {
    let (world, private_key) = world().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let arguments = ["--public-url", "https://declic.example.com/", "--organization", "acme", "--github-url", &world.github.url];
    let waiting = Waiting::start(folder, &arguments);
    let page = waiting.page.clone();
    let (action, manifest) = form(&page).await;
    assert!(action.starts_with(&format!("{}/organizations/acme/settings/apps/new?state=", world.github.url)), "{action}");
    let described: Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(described["hook_attributes"]["url"], "https://declic.example.com/hooks/github");
    assert_eq!((&described["public"], &described["default_permissions"]["contents"]), (&json!(false), &json!("read")));

    // Answers that do not belong to what was begun change nothing.
    let client = Client::anonymous();
    for query in ["code=stolen", "code=stolen&state=", "code=stolen&state=0", "state=x"] {
        assert_eq!(client.get(&format!("{page}/created?{query}")).await.status, 400, "{query}");
    }
    let elsewhere = client.send("GET", &page, &[("host", "evil.example.com")], Vec::new()).await;
    assert_eq!(elsewhere.status, 404);

    let created = post_form(&action, &manifest).await;
    assert_eq!(created.status, 302, "{}", created.body);
    let back = client.get(created.header("location")).await;
    assert_eq!((back.status, back.header("cache-control")), (200, "no-store"));
    let (status, said) = waiting.end();
    assert_eq!(status, Some(0), "{said}");
    for secret in [HOOK, "PRIVATE KEY", "a client secret"] {
        assert!(!said.contains(secret), "{said}");
    }
    assert!(said.contains(&format!("app-id: {NUMBER}")) && said.contains("/installations/new"), "{said}");
    let kept = |name: &str| {
        let path = folder.join("secrets").join(name);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        (fs::read_to_string(&path).expect("text"), mode & 0o777)
    };
    assert_eq!(kept("github-app.pem"), (private_key, 0o600));
    assert_eq!(kept("github-webhook-secret"), (HOOK.to_owned(), 0o600));
    let asked = world.github.ledger.requests();
    let exchanged = asked.iter().find(|asked| asked.path.ends_with("/conversions")).expect("the exchange");
    assert_eq!(exchanged.status, 201);
    let request = Request {
        method: "POST".to_owned(),
        path: exchanged.path.trim_start_matches("/api/v3").to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    GITHUB.check_request(&request).expect("as GitHub describes it");

    // Keys that are there are not lost to a second App.
    let output = declic(folder, &[&["connect", "github"], &arguments[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is there already"), "{said}");

    // And they are the right ones: a service with the settings as printed hears the App and acts as it.
    serves(&world, folder).await;
}

async fn serves(world: &World, folder: &Path) {
    world.github.install(NUMBER, "acme", PERMISSIONS);
    world.github.set_repository_id(WEB, u64::try_from(ID).unwrap());
    world.github.commit_files(WEB, "main", &commit(1), &[], &[(".declic/web.yaml", Some(RULES))]);
    let settings = format!(
        "version: 1\nsecrets:\n  github_key: {{ from: file, path: secrets/github-app.pem }}\n  github_hook: {{ from: file, path: secrets/github-webhook-secret }}\n\
         sources:\n  github: {{ type: github-app, app-id: {NUMBER}, key: github_key, secret: github_hook }}\n\
         github: {{ api-url: \"{url}/api/v3\" }}\negress: {{ allow: [\"{authority}\"] }}\n\
         repositories: [{{ name: {WEB}, id: {ID}, grant: {{ events: [github.push], actions: [github/comment] }} }}]\n",
        url = world.github.url,
        authority = world.github.authority,
    );
    fs::write(folder.join("declic.yaml"), settings).expect("written");
    fs::create_dir(folder.join("rules")).expect("made");
    fs::write(folder.join("rules/none.yaml"), "version: 1\nrules: {}\n").expect("written");
    let service = Binary::start(folder, |_| {});
    let mut payload: Value = serde_json::from_str(include_str!("../../../src/cli/init/push.json")).expect("the sample is JSON");
    payload["after"] = json!(commit(1));
    payload["head_commit"]["id"] = json!(commit(1));
    payload["repository"]["id"] = json!(ID);
    Client::anonymous().deliver(&service.address, HOOK, "push", "guid-1", &payload).await;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while world.github.commit_comments(WEB, &commit(1)).is_empty() {
        assert!(std::time::Instant::now() < end, "{}", service.log());
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

/// Secret Manager, as far as secrets are made in it.
struct SecretManager {
    document: Document,
    values: Mutex<BTreeMap<String, Vec<u8>>>,
}

#[async_trait]
impl Api for SecretManager {
    async fn answer(&self, request: &Request) -> Answer {
        if let Err(fault) = self.document.check_request(request) {
            return Answer::google_error(400, &fault);
        }
        let mut values = self.values.lock().unwrap();
        let path = request.path.trim_start_matches("/v1/").to_owned();
        match (path.strip_suffix(":addVersion"), request.parameter("secretId")) {
            (Some(name), _) if values.contains_key(name) => {
                let data =
                    request.json().and_then(|body| body.pointer("/payload/data").and_then(Value::as_str).map(str::to_owned));
                values.insert(name.to_owned(), STANDARD.decode(data.unwrap_or_default()).unwrap());
                Answer::json(200, &json!({ "name": format!("{name}/versions/1"), "state": "ENABLED" }))
            }
            (Some(_), _) => Answer::google_error(404, "Secret not found"),
            (None, Some(id)) => {
                let name = format!("{path}/{id}");
                if values.contains_key(&name) {
                    return Answer::google_error_as(409, "ALREADY_EXISTS", "Secret exists already", None);
                }
                values.insert(name.clone(), Vec::new());
                Answer::json(200, &json!({ "name": name }))
            }
            _ => Answer::google_error(404, "Not found"),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::google_error(status, message)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_can_be_kept_in_secret_manager() {
    let (world, private_key) = world().await;
    let secrets = SecretManager { document: Document::load("secretmanager.v1"), values: Mutex::default() };
    // One of the two is there from an earlier try.
    secrets.values.lock().unwrap().insert("projects/acme-ops/secrets/declic-acme-key".to_owned(), Vec::new());
    let secrets = server::start(|_, _| secrets).await.expect("a port");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let settings = format!(
        "version: 1\npublic-url: https://declic.example.com\ngoogle: {{ secret-manager-url: \"{}\", metadata-host: \"{}\" }}\negress: {{ allow: [\"{}\", \"{}\"] }}\n",
        secrets.url, world.identity.authority, world.github.authority, world.identity.authority
    );
    fs::write(folder.join("declic.yaml"), settings).expect("written");
    let waiting =
        Waiting::start(folder, &["--github-url", &world.github.url, "--name", "Declic acme", "--secret-manager", "acme-ops"]);
    let (action, manifest) = form(&waiting.page).await;
    let created = post_form(&action, &manifest).await;
    assert_eq!(Client::anonymous().get(created.header("location")).await.status, 200);
    let (status, said) = waiting.end();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("{ from: gcp-secret, name: projects/acme-ops/secrets/declic-acme-key }"), "{said}");
    let values = secrets.values.lock().unwrap().clone();
    assert_eq!(values["projects/acme-ops/secrets/declic-acme-key"], private_key.into_bytes());
    assert_eq!(values["projects/acme-ops/secrets/declic-acme-webhook-secret"], HOOK.as_bytes());
    assert!(!folder.join("secrets").exists());
}

#[test]
fn what_cannot_work_is_said_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let run = |arguments: &[&str]| {
        let output = declic(folder, &[&["connect", "github"], arguments].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, part) in [
        (&[][..], "give --public-url"),
        (&["--public-url", "declic.example.com"][..], "--public-url must be an address"),
        (&["--public-url", "https://x.example.com", "--organization", "a/b"][..], "is not the name of an organisation"),
        (&["--public-url", "https://x.example.com", "--name", ""][..], "--name has 1 to 34"),
        (&["--public-url", "https://x.example.com", "--secret-manager", "a b"][..], "is not the id of a project"),
    ] {
        let (status, said) = run(arguments);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(part), "{part}: {said}");
    }
    let (status, said) = run(&["--public-url", "https://x.example.com", "--wait", "0"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("did not lead back in time"), "{said}");
}
