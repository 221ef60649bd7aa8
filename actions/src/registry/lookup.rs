//! Asks a registry (HTTP API v2 of the distribution specification) for the digest of an image.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::action::{Context, Failure};
use crate::http::{HttpError, Request, Response};
use crate::registry::Image;
use crate::registry::image::is_digest;
use crate::secret::Secret;

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Every form an image can have; without its own form in the list a registry says that there is no image.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// What the registry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// This digest.
    Digest(String),
    /// There is no such image, or not yet.
    Missing,
}

/// Looks once.
pub(crate) async fn look_up(
    context: &Context<'_>,
    account: Option<&str>,
    image: &Image,
    until: Instant,
) -> Result<Found, Failure> {
    let host = if image.host == "docker.io" { "registry-1.docker.io" } else { image.host.as_str() };
    let base = context.clients.google.settings().registry_url.clone().unwrap_or_else(|| format!("https://{host}"));
    let asker =
        Asker { context, account, base: base.trim_end_matches('/'), image, deadline: until.min(Instant::now() + CALL_TIMEOUT) };
    let what = format!("The registry {}, asked for `{}`,", image.host, image.repository);
    match asker.digest_with_fresh_token().await {
        Ok(digest) => Ok(Found::Digest(digest)),
        Err(HttpError::Status { status: 404, .. }) => Ok(Found::Missing),
        Err(error) => Err(error.into_failure(&what)),
    }
}

struct Asker<'a> {
    context: &'a Context<'a>,
    account: Option<&'a str>,
    base: &'a str,
    image: &'a Image,
    deadline: Instant,
}

impl Asker<'_> {
    /// A token that is refused is renewed once, as everywhere at Google.
    async fn digest_with_fresh_token(&self) -> Result<String, HttpError> {
        if !self.is_google() {
            return self.digest(None).await;
        }
        let google = &self.context.clients.google;
        let token = google.access_token(self.account, self.deadline).await.map_err(HttpError::Token)?;
        match self.digest(Some(token.clone())).await {
            Err(HttpError::Status { status: 401, .. }) => {}
            other => return other,
        }
        let token = google.renewed_access_token(self.account, &token, self.deadline).await.map_err(HttpError::Token)?;
        self.digest(Some(token)).await
    }

    async fn digest(&self, credential: Option<Secret>) -> Result<String, HttpError> {
        let first = self.manifest(Method::HEAD);
        let first = match &credential {
            Some(token) => first.basic("oauth2accesstoken", token),
            None => first,
        };
        let refused = match self.context.clients.http.send(first.clone()).await {
            Err(HttpError::Status { status: 401, response, .. }) => response,
            Err(error) => return Err(error),
            Ok(answer) => return self.read(&answer, first).await,
        };
        let token = self.bearer(&refused, credential.as_ref()).await?;
        let second = self.manifest(Method::HEAD).bearer(&token);
        let answer = self.context.clients.http.send(second.clone()).await?;
        self.read(&answer, second).await
    }

    fn manifest(&self, method: Method) -> Request {
        let address = format!("{}/v2/{}/manifests/{}", self.base, self.image.repository, self.image.reference());
        Request::to(method, &address, self.deadline).header("accept", ACCEPT)
    }

    /// From the header; a registry that leaves it out is asked for the manifest itself, whose hash it is.
    async fn read(&self, answer: &Response, asked: Request) -> Result<String, HttpError> {
        let digest = match answer.header("docker-content-digest").filter(|digest| is_digest(digest)) {
            Some(digest) => digest.to_owned(),
            None => {
                let manifest = self.context.clients.http.send(asked.method(Method::GET)).await?;
                format!("sha256:{}", hex::encode(Sha256::digest(&manifest.body)))
            }
        };
        match &self.image.digest {
            Some(asked) if *asked != digest => Err(HttpError::BadAnswer(format!("names another digest than {asked}"))),
            _ => Ok(digest),
        }
    }

    fn is_google(&self) -> bool {
        let host = self.image.host.as_str();
        host == "gcr.io" || host.ends_with(".gcr.io") || host.ends_with(".pkg.dev")
    }

    /// A token by the way that the challenge describes. Our credential only goes to the registry's own host.
    async fn bearer(&self, refused: &Response, credential: Option<&Secret>) -> Result<Secret, HttpError> {
        let refused_for_good = || HttpError::status(refused.clone(), &[]);
        let challenge = refused.header("www-authenticate").and_then(challenge).ok_or_else(refused_for_good)?;
        let realm = Url::parse(&challenge.realm)
            .map_err(|_| HttpError::BadAnswer("sends us to an address that cannot be read".into()))?;
        let same_host = Url::parse(self.base).is_ok_and(|base| base.host() == realm.host() && base.scheme() == realm.scheme());
        let scope = challenge.scope.unwrap_or_else(|| format!("repository:{}:pull", self.image.repository));
        let mut request = Request::new(Method::GET, realm, self.deadline).query("scope", &scope);
        if let Some(service) = &challenge.service {
            request = request.query("service", service);
        }
        if let Some(token) = credential.filter(|_| same_host) {
            request = request.basic("oauth2accesstoken", token);
        }
        let answer = self.context.clients.http.send(request).await?.json()?;
        let token = ["token", "access_token"].iter().find_map(|name| answer.get(name).and_then(Value::as_str));
        token.map(Secret::new).ok_or_else(|| HttpError::BadAnswer("holds no token".into()))
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// `Bearer realm="…",service="…",scope="…"`; a comma can be inside quotes.
fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim().trim_start_matches(',').trim() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = after;
    }
    Some(Challenge { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let found = challenge(r#"Bearer realm="https://r/t?x=1,2", service="r", scope="repository:a/b:pull,push""#).unwrap();
        assert_eq!(found.realm, "https://r/t?x=1,2");
        assert_eq!(found.service.as_deref(), Some("r"));
        assert_eq!(found.scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(challenge("Basic realm=\"x\""), None);
        assert_eq!(challenge("Bearer service=\"x\""), None);
        assert_eq!(challenge("Bearer realm=\"x"), None);
    }
}
