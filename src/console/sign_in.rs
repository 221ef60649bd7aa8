//! Signing in, with a token or at an issuer, and what somebody sees who is not in.

use maud::{Markup, html};
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Request, Response};

use super::forms::Fields;
use super::layout::Page;
use super::{Console, asset_named, see, with_cookie};
use crate::access::oidc::{CALLBACK, Denied, Oidc};
use crate::access::{Refused, from_ourselves, not_listed};
use crate::api::problem::Problem;
use crate::clock::Timestamp;

/// Somebody who tries tokens waits this long after each wrong one.
const WRONG_TOKEN: std::time::Duration = std::time::Duration::from_millis(500);
/// Letters of an address that somebody is led back to.
const LONGEST: usize = 512;

impl Console {
    /// Answers somebody who is not in: the ways to sign in, and what their pages look like.
    pub async fn stranger(&self, mut request: Request) -> Response {
        let path = request.uri().path().to_owned();
        if let Some(asset) = path.strip_prefix("/assets/").and_then(asset_named) {
            return asset;
        }
        let query = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
        let to = local(query.get("to"));
        match (request.method().clone(), path.as_str()) {
            (Method::GET | Method::HEAD, "/sign-in") => self.form(StatusCode::OK, None, &to),
            (Method::GET, "/sign-in/oidc") => self.begin(&request, &to).await,
            (Method::GET, CALLBACK) => self.came_back(&request).await,
            (Method::POST, "/sign-in") if from_ourselves(&request).is_ok() => self.with_token(&mut request).await,
            (Method::GET | Method::HEAD, "/") => see("/sign-in"),
            (Method::GET | Method::HEAD, _) => {
                let asked = request.uri().path_and_query().map_or(path.as_str(), |asked| asked.as_str());
                see(&format!("/sign-in{}", Fields::default().with("to", &local(Some(asked)))))
            }
            _ => Problem::new(StatusCode::UNAUTHORIZED, "Sign in first.").response(),
        }
    }

    async fn with_token(&self, request: &mut Request) -> Response {
        if let Err(problem) = self.access.may_try(request) {
            return self.too_often(&problem);
        }
        let fields = Fields::of_body(request).await.unwrap_or_default();
        let to = local(fields.get("to"));
        let Some(viewer) = fields.get("token").and_then(|token| self.access.by_token(token.trim())) else {
            self.access.attempts.failed(request, Timestamp::now());
            tokio::time::sleep(WRONG_TOKEN).await;
            return self.form(StatusCode::UNAUTHORIZED, Some("This token is not known."), &to);
        };
        self.welcome(&viewer, &to).await
    }

    async fn welcome(&self, viewer: &crate::access::Viewer, to: &str) -> Response {
        match self.state.signed_in(viewer).await {
            Ok(()) => with_cookie(see(to), &self.access.sessions.begin(viewer, Timestamp::now())),
            Err(failure) => failure.problem().clone().response(),
        }
    }

    /// Sends somebody to the issuer.
    async fn begin(&self, request: &Request, to: &str) -> Response {
        let Some(oidc) = self.access.oidc() else { return self.form(StatusCode::NOT_FOUND, None, to) };
        if let Err(problem) = self.access.may_try(request) {
            return self.too_often(&problem);
        }
        match oidc.begin(&self.access.sessions, to, Timestamp::now()).await {
            Ok((url, cookie)) => with_cookie(see(&url), &cookie),
            Err(denied) => self.denied(&denied, oidc),
        }
    }

    /// Somebody comes back from the issuer.
    async fn came_back(&self, request: &Request) -> Response {
        let Some(oidc) = self.access.oidc() else { return self.form(StatusCode::NOT_FOUND, None, "/") };
        if let Err(problem) = self.access.may_try(request) {
            return self.too_often(&problem);
        }
        let response = match self.access.came_back(request).await {
            Ok((viewer, to)) => {
                return with_cookie(self.welcome(&viewer, &local(Some(&to))).await, &Oidc::forget(&self.access.sessions));
            }
            Err(Refused::NotListed(who)) => {
                self.access.attempts.failed(request, Timestamp::now());
                self.state.turned_away(&who).await;
                self.form(StatusCode::FORBIDDEN, Some(&not_listed().detail), "/")
            }
            Err(Refused::Denied(denied)) => {
                if matches!(denied, Denied::Unproved(_)) {
                    self.access.attempts.failed(request, Timestamp::now());
                }
                self.denied(&denied, oidc)
            }
        };
        with_cookie(response, &Oidc::forget(&self.access.sessions))
    }

    /// What went wrong is for the log; a stranger only learns what to do.
    fn denied(&self, denied: &Denied, oidc: &Oidc) -> Response {
        let issuer = oidc.name();
        let (status, text) = match denied {
            Denied::NotBegun => {
                (StatusCode::BAD_REQUEST, "This sign-in was not begun here, or too long ago. Begin again.".to_owned())
            }
            Denied::Refused(why) => {
                tracing::info!(issuer, why, "the issuer refused a sign-in");
                (StatusCode::FORBIDDEN, format!("{issuer} did not let you through."))
            }
            Denied::Unreachable(why) => {
                tracing::error!(issuer, "people cannot sign in: {why}");
                (StatusCode::SERVICE_UNAVAILABLE, format!("{issuer} does not answer. Try again later."))
            }
            Denied::Unproved(why) => {
                tracing::warn!(issuer, "a sign-in is refused: {why}");
                (StatusCode::UNAUTHORIZED, "Who you are could not be proved. Begin again.".to_owned())
            }
        };
        self.form(status, Some(&text), "/")
    }

    fn too_often(&self, problem: &Problem) -> Response {
        let mut response = self.form(StatusCode::TOO_MANY_REQUESTS, Some(&problem.detail), "/");
        if let Some(seconds) = problem.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    fn form(&self, status: StatusCode, wrong: Option<&str>, to: &str) -> Response {
        let body = self.ways(wrong, to);
        self.page(status, &Page { title: "Sign in".to_owned(), section: "", live: false, body }, None)
    }

    fn ways(&self, wrong: Option<&str>, to: &str) -> Markup {
        let issuer = self.access.oidc().map(Oidc::name);
        html! {
            div class="narrow" {
                h1 { "Sign in" }
                @if let Some(wrong) = wrong { div class="notice bad" role="alert" { (wrong) } }
                @if let Some(issuer) = &issuer {
                    div class="card" {
                        a class="button wide" href={ "/sign-in/oidc" (Fields::default().with("to", to)) } { "Continue with " (issuer) }
                    }
                }
                @if self.access.knows_tokens() {
                    form class="card" method="post" action="/sign-in" {
                        input type="hidden" name="to" value=(to);
                        label for="token" { "Token of " code { "admin:" } " in the settings" }
                        input id="token" class="wide" type="password" name="token" required autofocus[issuer.is_none()] autocomplete="current-password";
                        div class="acts" { button class=(if issuer.is_some() { "plain" } else { "" }) { "Sign in" } }
                    }
                }
                @if issuer.is_none() && !self.access.knows_tokens() {
                    p class="lead" { "People come in through the Identity-Aware Proxy. This request did not, or it is not for this service." }
                }
            }
        }
    }
}

/// A path of ours, and nothing that leads elsewhere.
fn local(to: Option<&str>) -> String {
    let fits = |to: &&str| {
        to.starts_with('/')
            && to.len() <= LONGEST
            && !to.starts_with("//")
            && !to.starts_with("/sign-")
            && to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    to.filter(fits).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn nobody_is_led_elsewhere_after_signing_in() {
        for path in ["/", "/runs?state=failed&text=a%20b", "/deliveries/abc"] {
            assert_eq!(local(Some(path)), path);
        }
        for elsewhere in
            ["", "https://attacker.example", "//attacker.example", "/\\attacker.example", "/a\nb", "/sign-out", "runs"]
        {
            assert_eq!(local(Some(elsewhere)), "/", "{elsewhere}");
        }
        assert_eq!(local(Some(&format!("/{}", "a".repeat(600)))), "/");
    }
}
