//! `/`: the console. Pages are made here and work without a script; a few lines of it keep them live. Nothing comes from elsewhere.

mod detail;
mod forms;
mod layout;
mod overview;
mod pages;
mod parts;
mod sign_in;
mod trial;

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use maud::html;
use poem::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};
use sha2::{Digest, Sha256};

use crate::access::{Access, Admitted};
use crate::api::State;
use crate::api::problem::{Failure, Problem};
use forms::Fields;
use layout::Page;

const STYLE: &str = include_str!("assets/console.css");
const SCRIPT: &str = include_str!("assets/console.js");
const ICON: &str =
    r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="#0b5fa5"/></svg>"##;

/// What a page may load, and who may frame it: only what comes from here, and nobody.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The pages.
pub struct Console {
    state: Arc<State>,
    access: Arc<Access>,
    /// Changes with the assets: browsers may keep them for ever.
    version: String,
}

/// What is answered: a page, or the way to another one.
enum Answer {
    Page(Page),
    Go(String),
}

impl Console {
    /// On top of what it shows.
    pub fn new(state: Arc<State>, access: Arc<Access>) -> Self {
        let hash = hex::encode(Sha256::new().chain_update(STYLE).chain_update(SCRIPT).finalize());
        Self { state, access, version: hash.get(..12).unwrap_or_default().to_owned() }
    }

    /// Answers somebody who is in.
    pub async fn answer(&self, mut request: Request, admitted: &Admitted) -> Response {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        if let ["assets", name] = parts.as_slice() {
            return asset_named(name).unwrap_or_else(|| self.failed(Failure::not_found("page").problem(), admitted));
        }
        // Somebody who is in may come in as somebody else.
        if matches!(parts.as_slice(), ["sign-in", _]) {
            return self.stranger(request).await;
        }
        if parts.as_slice() == ["sign-out"] && method == Method::POST {
            if let Some(session) = &admitted.session
                && let Err(failure) = self.state.sign_out(&admitted.viewer, session).await
            {
                return self.failed(failure.problem(), admitted);
            }
            let cookie = self.access.sessions.end();
            return with_cookie(see("/sign-in"), &cookie);
        }
        let answer = match method {
            Method::GET | Method::HEAD => {
                let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
                self.look(&parts, &query, admitted).await
            }
            Method::POST => match Fields::of_body(&mut request).await {
                Some(fields) => self.act(&parts, &fields, admitted).await,
                None => Err(Failure::malformed("The form is too large, or could not be read.")),
            },
            _ => Err(Failure::malformed("Pages answer to GET and POST.")),
        };
        match answer {
            Ok(Answer::Page(page)) => self.page(StatusCode::OK, &page, Some(admitted)),
            Ok(Answer::Go(to)) => see(&to),
            Err(failure) => self.failed(failure.problem(), admitted),
        }
    }

    async fn look(&self, parts: &[&str], query: &Fields, admitted: &Admitted) -> Result<Answer, Failure> {
        let state = &self.state;
        let page = match parts {
            [] => overview::overview(state, admitted).await?,
            ["deliveries"] => pages::deliveries(state, admitted, query).await?,
            ["deliveries", id] => detail::delivery(state, admitted, id).await?,
            ["runs"] => pages::runs(state, admitted, query).await?,
            ["runs", id] => detail::run(state, admitted, id).await?,
            ["deployed"] => pages::deployed(state, admitted).await?,
            ["rules"] => detail::rules(state, admitted).await,
            ["rules", name] => detail::rule(state, admitted, name).await?,
            ["playground"] => {
                crate::api::operator(&admitted.viewer)?;
                trial::playground(state, admitted, query).await?
            }
            ["backtest"] => {
                crate::api::operator(&admitted.viewer)?;
                trial::backtest(state, admitted, &Fields::default()).await?
            }
            ["dead"] => pages::dead(state, admitted, query).await?,
            ["sources"] => pages::sources(state, admitted).await?,
            ["audit"] => pages::audit(state, admitted, query).await?,
            ["sign-in"] => return Ok(Answer::Go("/".to_owned())),
            _ => return Err(Failure::not_found("page")),
        };
        Ok(Answer::Page(page))
    }

    async fn act(&self, parts: &[&str], fields: &Fields, admitted: &Admitted) -> Result<Answer, Failure> {
        let given = fields.get("key").unwrap_or_default();
        if admitted.form_key.is_empty() || verify_slices_are_equal(given.as_bytes(), admitted.form_key.as_bytes()).is_err() {
            return Err(Failure::forbidden(
                "This form is too old, or not ours: go back, load the page again, and try once more.",
            ));
        }
        crate::api::operator(&admitted.viewer)?;
        let (state, viewer) = (&self.state, &admitted.viewer);
        let to = match parts {
            ["deliveries", id, "replay"] => format!("/deliveries/{}", state.replay(viewer, id).await?),
            ["runs", id, "retry"] => {
                state.retry(viewer, id).await?;
                format!("/runs/{id}")
            }
            ["runs", id, "cancel"] => {
                state.cancel(viewer, id).await?;
                format!("/runs/{id}")
            }
            ["runs", id, answer @ ("approve" | "reject")] => {
                let comment = fields.get("comment").map(str::to_owned);
                state.answer_run(viewer, id, *answer == "approve", comment).await?;
                format!("/runs/{id}")
            }
            ["dead", "redrive"] => {
                state.redrive(viewer, pages::listing(fields), None, None, false).await?;
                "/runs".to_owned()
            }
            ["playground"] => return Ok(Answer::Page(trial::playground(state, admitted, fields).await?)),
            ["backtest"] => return Ok(Answer::Page(trial::backtest(state, admitted, fields).await?)),
            _ => return Err(Failure::not_found("page")),
        };
        Ok(Answer::Go(to))
    }

    fn failed(&self, problem: &Problem, admitted: &Admitted) -> Response {
        let body = html! {
            h1 { (problem.title) }
            div class="notice bad" role="alert" { (problem.detail) }
            p { a href="/" { "To the overview" } }
        };
        let page = Page { title: problem.title.clone(), section: "", live: false, body };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.page(status, &page, Some(admitted))
    }

    fn page(&self, status: StatusCode, page: &Page, admitted: Option<&Admitted>) -> Response {
        let text = layout::document(page, admitted, &self.version).into_string();
        secured(Response::builder().status(status).content_type("text/html; charset=utf-8").body(text), "no-store")
    }
}

/// What pages load.
fn asset_named(name: &str) -> Option<Response> {
    Some(match name {
        "console.css" => asset("text/css; charset=utf-8", STYLE),
        "console.js" => asset("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => asset("image/svg+xml", ICON),
        _ => return None,
    })
}

fn asset(kind: &str, text: &'static str) -> Response {
    secured(Response::builder().content_type(kind).body(text), "public, max-age=31536000, immutable")
}

fn see(to: &str) -> Response {
    let mut response = Response::builder().status(StatusCode::SEE_OTHER).body(());
    if let Ok(value) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    secured(response, "no-store")
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn secured(mut response: Response, cache: &'static str) -> Response {
    let headers: [(HeaderName, &'static str); 7] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, cache),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A part of a path without its `%xx`.
fn decoded(part: &str) -> String {
    // A form's `+` is a space, a path's is not.
    let escaped = part.replace('+', "%2B");
    url::form_urlencoded::parse(escaped.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
