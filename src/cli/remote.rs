//! `--remote`: the same questions and acts through the API of a service elsewhere.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use declic_actions::http::{Http, HttpSettings, Method, Request};
use declic_actions::secret::Secret;
use serde_json::Value;
use url::Url;

use super::paint::{Paint, printable, table};
use super::stored::{Format, document};
use super::{USAGE, WRONG, block_on, colour, complain};
use crate::settings::Environment;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer: a delivery's body may be 25 MiB.
const LARGEST: usize = 32 << 20;
/// The variable with the token.
const TOKEN: &str = "DECLIC_TOKEN";

/// A service elsewhere.
pub struct Remote {
    base: Url,
    token: Option<Secret>,
    http: Http,
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
    /// At an address, with the token of the environment. The error is for the user.
    pub fn new(address: &str, environment: &Environment) -> Result<Self, String> {
        let base = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        let base = base.ok_or_else(|| format!("`{address}` is no address: write https://HOST"))?;
        let token = environment.get(TOKEN).filter(|token| !token.is_empty());
        let host = base.host_str().unwrap_or_default();
        let this_machine =
            host == "localhost" || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        if base.scheme() == "http" && !this_machine && token.is_some() {
            return Err(format!("{TOKEN} would be sent to {host} for everybody to read: use https"));
        }
        // Where the user points it, it may go.
        let allow = vec![base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))];
        let http = Http::new(HttpSettings { allow, user_agent: concat!("declic/", env!("CARGO_PKG_VERSION")).to_owned() })?;
        Ok(Self { base, token: token.map(Secret::new), http })
    }

    /// The bytes of the answer. The error is its problem, for the user.
    pub async fn bytes(&self, ask: &Ask) -> Result<bytes::Bytes, String> {
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
        let response = self.http.send(request).await.map_err(|error| error.to_string())?;
        if (200..300).contains(&response.status) {
            return Ok(response.body);
        }
        let problem = response.json().ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or_default();
        let advice = if response.status == 401 { format!(" Put a token of `admin:` into {TOKEN}.") } else { String::new() };
        Err(format!("{} answered {}: {}{advice}", self.base, response.status, printable(detail)))
    }

    /// Asks, and shows the answer as a document.
    pub fn document(&self, ask: &Ask) -> ExitCode {
        self.show(ask, |answer| document(&answer))
    }

    /// Asks, and says one line.
    pub fn line(&self, ask: &Ask, format: Format, line: impl FnOnce(&Value) -> String) -> ExitCode {
        self.show(ask, |answer| if format == Format::Json { document(&answer) } else { line(&answer) + "\n" })
    }

    /// Asks for a list, and shows these fields of its items: (heading, pointer).
    pub fn list(&self, ask: &Ask, format: Format, columns: &[(&str, &str)]) -> ExitCode {
        self.show(ask, |answer| {
            if format == Format::Json {
                return document(&answer["items"]);
            }
            let cell = |item: &Value, pointer: &str| {
                let found = item.pointer(pointer).unwrap_or(&Value::Null);
                found.as_str().map_or_else(|| if found.is_null() { String::new() } else { found.to_string() }, printable)
            };
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            let rows: Vec<Vec<String>> =
                items.iter().map(|item| columns.iter().map(|(_, pointer)| cell(item, pointer)).collect()).collect();
            if rows.is_empty() {
                return "nothing\n".to_owned();
            }
            let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
            let paint = Paint::new(colour());
            table(&headings, &rows, paint, |column, cell| {
                if headings.get(column) == Some(&"STATE") { paint.state(cell) } else { cell.to_owned() }
            })
        })
    }

    fn show(&self, ask: &Ask, text: impl FnOnce(Value) -> String) -> ExitCode {
        match block_on(self.bytes(ask)) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(answer) => {
                    out!("{}", text(answer));
                    ExitCode::SUCCESS
                }
                Err(_) => complain(USAGE, format_args!("{} answers, but not as Declic does", self.base)),
            },
            Err(why) => complain(WRONG, why),
        }
    }
}
