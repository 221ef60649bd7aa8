//! `declic send`: a delivery as the provider would make it, signed with the source's own secret.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use declic_actions::http::{Http, HttpSettings, Method, Request, Response, Url};
use declic_actions::secret::Secret;
use serde_json::Value;

use super::{USAGE, WRONG, block_on, complain};
use crate::clock::Timestamp;
use crate::inbound::Inbound;
use crate::json;
use crate::settings::{self, Environment, Mode, SecretSource, Settings, SourceSettings};
use crate::sources::{self, Source};

mod examples;

/// What most providers send.
pub(crate) const JSON: &str = "application/json";

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `declic send`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic send github --event push --payload payloads/push.json
  declic send github --event push --payload push.json --to https://declic.example.dev
  declic send github --event push --payload push.json --id 72d3162e    the same id again: a redelivery
  declic send twilio --payload message.form                            a body that is no JSON is a form
  declic send github --event pull_request.opened                       an example of @octokit/webhooks-examples, if it is installed")]
pub struct Arguments {
    /// Name of the source in declic.yaml
    source: String,
    /// The event in the provider's words: push, pull_request, …; not needed where the body names it
    #[arg(long, value_name = "KIND", default_value = "")]
    event: String,
    /// File with the body, or - for standard input; without it GitHub's own example of the event (push, or with its action:
    /// pull_request.opened), from the npm package @octokit/webhooks-examples in a node_modules here or above
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Which of the examples of that event, from 1
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "payload")]
    example: usize,
    /// Media type of the body. Default: JSON if it begins like JSON, else a form
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Where to; an address without a path gets the source's path. Default: the address that declic.yaml listens on
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The delivery's id; new if not given
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// File with a private key made for tests, for providers that keep theirs to themselves
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The operator's settings
    #[arg(long, value_name = "FILE", default_value = "declic.yaml")]
    config: PathBuf,
}

/// Sends once and shows the answer. Status 0 if it was taken in.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let prepared = match prepare(arguments, environment) {
        Ok(prepared) => prepared,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    match block_on(send(prepared)) {
        Ok(response) => {
            outln!("{}", response.status);
            let body = String::from_utf8_lossy(&response.body);
            if !body.trim().is_empty() {
                outln!("{}", body.trim_end());
            }
            ExitCode::from(if (200..300).contains(&response.status) { 0 } else { WRONG })
        }
        Err(why) => complain(WRONG, why),
    }
}

/// A signed request and where it goes.
struct Prepared {
    to: Url,
    inbound: Inbound,
}

fn prepare(arguments: &Arguments, environment: &Environment) -> Result<Prepared, String> {
    let loaded = settings::load(&arguments.config, Mode::Resolved, environment).map_err(|unusable| unusable.render(false))?;
    let source = source(&loaded.settings, &arguments.source)?;
    let event = arguments.event.strip_prefix("github.").unwrap_or(&arguments.event);
    let (event, body) = match &arguments.payload {
        Some(file) => (event, payload(file)?),
        None if is_github(&loaded.settings, &arguments.source) => examples::named(event, arguments.example)?,
        None => return Err("name the file of the body with --payload; only GitHub's events have examples to take".to_owned()),
    };
    let content_type = arguments.content_type.as_deref().unwrap_or_else(|| media_type(&body));
    if content_type == JSON
        && let Err(flaw) = json::check(&body)
    {
        let file = arguments.payload.as_deref().unwrap_or(Path::new("the example")).display();
        return Err(format!("{file}: {flaw}; a provider sends JSON that can be read in one way only"));
    }
    let id = arguments.id.clone().unwrap_or_else(|| ulid::Ulid::new().to_string().to_lowercase());
    let key = arguments.key.as_deref().map(|path| payload(path).map(Secret::new)).transpose()?;
    let inbound = signed(source.as_ref(), event, &id, content_type, body, key.as_ref())?;
    let mut to = address(arguments.to.as_deref(), &loaded.settings, &source.entry().path)?;
    carry(&mut to, &inbound, source.entry().below);
    Ok(Prepared { to, inbound })
}

fn is_github(settings: &Settings, name: &str) -> bool {
    settings.sources.iter().any(|source| source.name == name && source.kind.starts_with("github"))
}

fn media_type(body: &[u8]) -> &'static str {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[')) { JSON } else { "application/x-www-form-urlencoded" }
}

/// Some providers show their secret in the address: as the last segment of the path, or in the query.
fn carry(to: &mut Url, inbound: &Inbound, below: bool) {
    if let (true, Some((_, secret))) = (below, inbound.path.rsplit_once('/')) {
        to.set_path(&format!("{}/{secret}", to.path().trim_end_matches('/')));
    }
    if !inbound.query.is_empty() {
        to.set_query(Some(&inbound.query));
    }
}

fn source(settings: &Settings, name: &str) -> Result<Arc<dyn Source>, String> {
    let Some(found) = settings.sources.iter().find(|source| source.name == name) else {
        let names: Vec<&str> = settings.sources.iter().map(|source| source.name.as_str()).collect();
        let there = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(format!("{} has no source `{name}`: {there}", settings.file.display()));
    };
    if let Some(secret) = out_of_reach(settings, found) {
        let config = settings.file.display();
        return Err(format!(
            "the source `{name}` is signed with the secret `{secret}`, and that is in Secret Manager, which `declic send` does not ask: \
             name a copy of {config} with --config in which `{secret}` comes from `env` or `file`"
        ));
    }
    let around = sources::Around { public_url: settings.public_url.clone(), ..sources::Around::default() };
    sources::build(found, &settings.secrets, &around).map_err(|why| format!("the source `{name}` {why}"))
}

/// A secret of the source that only the service itself can have.
fn out_of_reach<'a>(settings: &Settings, source: &'a SourceSettings) -> Option<&'a str> {
    let mut rest: Vec<&Value> = source.fields.values().collect();
    while let Some(value) = rest.pop() {
        match value {
            Value::Array(items) => rest.extend(items),
            Value::Object(fields) => rest.extend(fields.values()),
            Value::String(name) => {
                let entry = settings.secret_entries.get(name);
                if entry.is_some_and(|entry| matches!(entry.current, SecretSource::GcpSecret(_))) {
                    return Some(name);
                }
            }
            _ => {}
        }
    }
    None
}

fn payload(file: &Path) -> Result<Vec<u8>, String> {
    let limit = sources::BODY_LIMIT as u64;
    let mut body = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(limit + 1).read_to_end(&mut body)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(limit + 1).read_to_end(&mut body))
    };
    read.map_err(|error| format!("{}: {error}", file.display()))?;
    if body.len() as u64 > limit {
        return Err(format!("{}: larger than the {limit} bytes that a source takes", file.display()));
    }
    Ok(body)
}

/// Where to, with the source's path if none was given.
fn address(to: Option<&str>, settings: &Settings, path: &str) -> Result<Url, String> {
    let Some(to) = to else {
        let mut listen = settings.listen;
        if listen.ip().is_unspecified() {
            listen.set_ip(if listen.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
        }
        return Url::parse(&format!("http://{listen}{path}")).map_err(|error| error.to_string());
    };
    let mut url = Url::parse(to).map_err(|error| format!("--to {to}: {error}; write it as http://127.0.0.1:8080"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("--to {to}: only http and https can be sent to"));
    }
    if url.path() == "/" {
        url.set_path(path);
    }
    Ok(url)
}

/// Signs the request, and looks at it as the service will: what it would refuse is told here, with the reason it keeps from senders.
pub(crate) fn signed(
    source: &dyn Source,
    event: &str,
    id: &str,
    content_type: &str,
    body: Vec<u8>,
    private: Option<&Secret>,
) -> Result<Inbound, String> {
    let entry = source.entry();
    let mut inbound = Inbound {
        method: "POST".to_owned(),
        path: entry.path.clone(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), content_type.to_owned().into())],
        body: body.into(),
        received_at: Timestamp::now(),
    };
    source.sign(&mut inbound, event, id, private).map_err(|refusal| refusal.private)?;
    if source.wants(&inbound).is_some() {
        // Whether the issuer's keys fit can only be told by whoever has them: the service fetches them, this command does not.
        return Ok(inbound);
    }
    let verified = source.authenticate(inbound.clone()).map_err(|refusal| refusal.private)?;
    source.identify(&verified).map_err(|refusal| format!("not sent, because it would be refused: {}", refusal.private))?;
    Ok(inbound)
}

async fn send(prepared: Prepared) -> Result<Response, String> {
    post(&prepared.to, &prepared.inbound).await
}

/// Posts a signed request. Whoever types an address may reach it, private or not.
pub(crate) async fn post(to: &Url, inbound: &Inbound) -> Result<Response, String> {
    let host = to.host_str().unwrap_or_default();
    let allow = vec![to.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))];
    let user_agent = concat!("declic-send/", env!("CARGO_PKG_VERSION")).to_owned();
    let http = Http::new(HttpSettings { allow, user_agent })?;
    let method = Method::from_bytes(inbound.method.as_bytes()).unwrap_or(Method::POST);
    let mut request = Request::new(method, to.clone(), Instant::now() + PATIENCE).bytes(inbound.body.clone()).expect_any();
    for (name, value) in &inbound.headers {
        request = request.header(name, std::str::from_utf8(value).unwrap_or_default());
    }
    http.send(request).await.map_err(|error| format!("{to}: {error}"))
}
