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

/// How long the service may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `declic send`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic send github --event push --payload payloads/push.json
  declic send github --event push --payload push.json --to https://declic.example.dev
  declic send github --event push --payload push.json --id 72d3162e    the same id again: a redelivery")]
pub struct Arguments {
    /// Name of the source in declic.yaml
    source: String,
    /// The event in the provider's words: push, pull_request, …
    #[arg(long, value_name = "KIND")]
    event: String,
    /// File with the body, or - for standard input
    #[arg(long, value_name = "FILE")]
    payload: PathBuf,
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
    let body = payload(&arguments.payload)?;
    if let Err(flaw) = json::check(&body) {
        return Err(format!("{}: {flaw}; a provider sends JSON that can be read in one way only", arguments.payload.display()));
    }
    let to = address(arguments.to.as_deref(), &loaded.settings, &source.entry().path)?;
    let event = arguments.event.strip_prefix("github.").unwrap_or(&arguments.event);
    let id = arguments.id.clone().unwrap_or_else(|| ulid::Ulid::new().to_string().to_lowercase());
    let key = arguments.key.as_deref().map(|path| payload(path).map(Secret::new)).transpose()?;
    let inbound = signed(source.as_ref(), event, &id, body, key.as_ref())?;
    Ok(Prepared { to, inbound })
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
    body: Vec<u8>,
    private: Option<&Secret>,
) -> Result<Inbound, String> {
    let entry = source.entry();
    let mut inbound = Inbound {
        method: "POST".to_owned(),
        path: entry.path.clone(),
        query: String::new(),
        headers: vec![("content-type".to_owned(), "application/json".into())],
        body: body.into(),
        received_at: Timestamp::now(),
    };
    source.sign(&mut inbound, event, id, private).map_err(|refusal| refusal.private)?;
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
    let mut request = Request::new(Method::POST, to.clone(), Instant::now() + PATIENCE).bytes(inbound.body.clone()).expect_any();
    for (name, value) in &inbound.headers {
        request = request.header(name, std::str::from_utf8(value).unwrap_or_default());
    }
    http.send(request).await.map_err(|error| format!("{to}: {error}"))
}
