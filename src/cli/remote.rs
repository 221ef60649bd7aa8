//! `--remote`: the API of a service elsewhere, asked with a token.

use std::path::Path;
use std::time::{Duration, Instant};

use declic_actions::http::{Http, HttpSettings, Method, Request};
use declic_actions::secret::Secret;
use serde_json::{Value, json};
use url::Url;

use super::ledger::Trouble;
use super::paint::printable;
use super::runtime;
use crate::rule_files;
use crate::settings::Environment;

/// How long an answer is waited for; a backtest takes longest.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer: a delivery's body may be 25 MiB.
const LARGEST: usize = 32 << 20;
/// The variable with the token.
const TOKEN: &str = "DECLIC_TOKEN";

/// A service elsewhere.
pub struct Remote {
    base: Url,
    token: Option<Secret>,
    http: Http,
    /// One for all questions: connections live as long as it does.
    runtime: tokio::runtime::Runtime,
}

/// A question or an act.
pub struct Ask {
    /// GET or POST.
    pub method: Method,
    /// Below `/api/v1`.
    pub path: String,
    /// `?…`
    pub query: Vec<(&'static str, String)>,
    /// JSON of a POST.
    pub body: Option<Value>,
}

impl Ask {
    /// Looks at something.
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), query: Vec::new(), body: None }
    }

    /// Asks for something.
    pub fn post(path: impl Into<String>, body: Value) -> Self {
        Self { method: Method::POST, path: path.into(), query: Vec::new(), body: Some(body) }
    }

    /// With a filter, if there is one.
    pub fn with(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.query.extend(value.map(|value| (name, value.into())));
        self
    }
}

impl Remote {
    /// At an address, with the token of the environment.
    pub fn new(address: &str, environment: &Environment) -> Result<Self, Trouble> {
        let base = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        let base = base.ok_or_else(|| Trouble::usage(format!("`{address}` is no address: write https://HOST")))?;
        let token = environment.get(TOKEN).filter(|token| !token.is_empty());
        let host = base.host_str().unwrap_or_default();
        let this_machine =
            host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if base.scheme() == "http" && !this_machine && token.is_some() {
            return Err(Trouble::usage(format!("{TOKEN} would be sent to {host} for everybody to read: use https")));
        }
        // Where the user points it, it may go.
        let allow = vec![base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))];
        let settings = HttpSettings { allow, user_agent: concat!("declic/", env!("CARGO_PKG_VERSION")).to_owned() };
        let http = Http::new(settings).map_err(Trouble::usage)?;
        Ok(Self { base, token: token.map(Secret::new), http, runtime: runtime() })
    }

    /// The answer as JSON.
    pub fn ask(&self, ask: &Ask) -> Result<Value, Trouble> {
        let bytes = self.bytes(ask)?;
        serde_json::from_slice(&bytes).map_err(|_| Trouble::usage(format!("{} answers, but not as Declic does", self.base)))
    }

    /// The bytes of the answer. The trouble is its problem, for the user.
    pub fn bytes(&self, ask: &Ask) -> Result<bytes::Bytes, Trouble> {
        let url = format!("{}/api/v1{}", self.base.as_str().trim_end_matches('/'), ask.path);
        let mut request = Request::to(ask.method.clone(), &url, Instant::now() + PATIENCE).cap(LARGEST).expect_any();
        for (name, value) in &ask.query {
            request = request.query(name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer(token);
        }
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        let response = self.runtime.block_on(self.http.send(request)).map_err(Trouble::wrong)?;
        if (200..300).contains(&response.status) {
            return Ok(response.body);
        }
        let problem = response.json().ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or_default();
        let advice = if response.status == 401 { format!(" Put a token of `admin:` into {TOKEN}.") } else { String::new() };
        Err(Trouble::wrong(format!("{} answered {}: {}{advice}", self.base, response.status, printable(detail))))
    }
}

/// Rule files as the API takes them; none if none are named, so that those in force count.
pub fn sent(paths: &[String]) -> Result<Option<Vec<Value>>, Trouble> {
    if paths.is_empty() {
        return Ok(None);
    }
    let files = rule_files::read(Path::new(""), paths).map_err(Trouble::usage)?;
    Ok(Some(files.into_iter().map(|file| json!({ "path": file.path, "text": file.text })).collect()))
}

/// What is wrong with the rule files that were sent.
pub fn faults(answer: &Value) -> Result<(), Trouble> {
    let faults = answer["faults"].as_array().cloned().unwrap_or_default();
    let wrong: Vec<String> = faults
        .iter()
        .filter(|fault| fault["severity"] == "error")
        .map(|fault| {
            let text = |name: &str| printable(fault[name].as_str().unwrap_or_default());
            format!("{}:{}:{}: {}", text("file"), fault["line"], fault["column"], text("message"))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::usage(format!("the rules are wrong\n\n{}", wrong.join("\n")))) }
}
