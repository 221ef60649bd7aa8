//! A stand-in for an image registry: the read side of the OCI distribution API, with token authentication.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::exchange::{Answer, Request};
use super::ledger::{Ledger, lock};
use super::server::Api;
use super::tokens::Tokens;

/// Media type of the manifests it keeps.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// State of the stand-in.
pub struct Registry {
    base: String,
    ledger: Ledger,
    tokens: Tokens,
    /// Bearer tokens of its own token endpoint, with the repository they are for.
    own_tokens: Mutex<BTreeMap<String, String>>,
    repositories: Mutex<BTreeMap<String, Repository>>,
}

#[derive(Debug, Default)]
struct Repository {
    public: bool,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, (String, Instant)>,
}

#[derive(Debug, Clone)]
struct Manifest {
    bytes: Vec<u8>,
    since: Instant,
}

impl Registry {
    pub(super) fn new(base: &str, ledger: &Ledger, tokens: Tokens) -> Self {
        Self {
            base: base.to_owned(),
            ledger: ledger.clone(),
            tokens,
            own_tokens: Mutex::new(BTreeMap::new()),
            repositories: Mutex::new(BTreeMap::new()),
        }
    }

    /// Pushes an image of one layer and tags it; `content` makes it different from others. Gives its digest.
    pub fn push(&self, repository: &str, tag: &str, content: &str) -> String {
        self.appears_after(repository, tag, content, Duration::ZERO)
    }

    /// The same, but until `delay` has passed the registry does not know the image.
    pub fn appears_after(&self, repository: &str, tag: &str, content: &str, delay: Duration) -> String {
        let bytes = manifest(content);
        let digest = digest_of(&bytes);
        let since = Instant::now() + delay;
        let mut repositories = lock(&self.repositories);
        let repository = repositories.entry(repository.to_owned()).or_default();
        repository.manifests.insert(digest.clone(), Manifest { bytes, since });
        repository.tags.insert(tag.to_owned(), (digest.clone(), since));
        digest
    }

    /// Lets everybody read a repository.
    pub fn make_public(&self, repository: &str) {
        lock(&self.repositories).entry(repository.to_owned()).or_default().public = true;
    }

    /// Removes a tag.
    pub fn untag(&self, repository: &str, tag: &str) {
        if let Some(repository) = lock(&self.repositories).get_mut(repository) {
            repository.tags.remove(tag);
        }
    }

    /// Digest of `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@DIGEST`, whatever the host: what Cloud Run would find.
    pub fn resolve(&self, image: &str) -> Option<String> {
        let (_, path) = image.split_once('/')?;
        let (repository, reference) = path.split_once('@').or_else(|| path.rsplit_once(':')).unwrap_or((path, "latest"));
        self.find(repository, reference).map(|(digest, _)| digest)
    }

    fn find(&self, repository: &str, reference: &str) -> Option<(String, Manifest)> {
        let repositories = lock(&self.repositories);
        let repository = repositories.get(repository)?;
        let now = Instant::now();
        let digest = match repository.tags.get(reference) {
            Some((digest, since)) if *since <= now => digest.as_str(),
            _ => reference,
        };
        let manifest = repository.manifests.get(digest).filter(|manifest| manifest.since <= now)?;
        Some((digest.to_owned(), manifest.clone()))
    }

    fn may_read(&self, request: &Request, repository: &str) -> bool {
        if lock(&self.repositories).get(repository).is_some_and(|repository| repository.public) && request.bearer().is_none() {
            return false;
        }
        let own = |token: &str| lock(&self.own_tokens).get(token).is_some_and(|scope| scope == repository);
        let bearer = request.bearer().is_some_and(|token| own(token) || self.tokens.check(token).is_some());
        bearer || self.basic(request)
    }

    /// `oauth2accesstoken` with a Google access token as the password.
    fn basic(&self, request: &Request) -> bool {
        let credentials = request
            .header("authorization")
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
            .and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        credentials
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .is_some_and(|(user, token)| user == "oauth2accesstoken" && self.tokens.check(token).is_some())
    }

    /// The token endpoint that `WWW-Authenticate` names.
    fn token(&self, request: &Request) -> Answer {
        let scope = request.parameter("scope").unwrap_or_default();
        let ["repository", repository, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
            return error(400, "DENIED", &format!("`{scope}` is not a scope"));
        };
        if !actions.split(',').all(|action| action == "pull") {
            return error(403, "DENIED", "only pull is allowed");
        }
        let public = lock(&self.repositories).get(repository).is_some_and(|repository| repository.public);
        if !public && !self.basic(request) {
            return error(401, "UNAUTHORIZED", "authentication failed");
        }
        let token = format!("registry-{}", ulid::Ulid::new().to_string().to_lowercase());
        lock(&self.own_tokens).insert(token.clone(), repository.to_owned());
        self.ledger.effect("registry-token.issued", repository, Value::Null);
        Answer::json(200, &json!({ "token": token, "access_token": token, "expires_in": 300 }))
    }

    fn challenge(&self, repository: &str) -> Answer {
        let realm = format!("{}/v2/token", self.base);
        let service = self.base.trim_start_matches("http://");
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"{service}\"");
        if !repository.is_empty() {
            challenge.push_str(&format!(",scope=\"repository:{repository}:pull\""));
        }
        error(401, "UNAUTHORIZED", "authentication required").with_header("www-authenticate", challenge)
    }

    fn manifest(&self, request: &Request, repository: &str, reference: &str) -> Answer {
        if !self.may_read(request, repository) {
            return self.challenge(repository);
        }
        let accepted: Vec<&str> =
            request.headers.iter().filter(|(name, _)| name == "accept").flat_map(|(_, value)| value.split(',')).collect();
        let accepts = |kind: &&str| matches!(kind.split(';').next().unwrap_or_default().trim(), "*/*" | MANIFEST);
        let found = self.find(repository, reference);
        match found {
            Some(_) if !accepted.iter().any(accepts) => {
                let message = "OCI manifest found, but the Accept header does not support OCI manifests";
                error(404, "MANIFEST_UNKNOWN", message)
            }
            Some((digest, manifest)) => Answer::of_type(200, MANIFEST, manifest.bytes)
                .with_header("docker-content-digest", digest)
                .with_header("docker-distribution-api-version", "registry/2.0"),
            None => error(404, "MANIFEST_UNKNOWN", &format!("Failed to fetch \"{reference}\"")),
        }
    }
}

#[async_trait]
impl Api for Registry {
    async fn answer(&self, request: &Request) -> Answer {
        let reads = matches!(request.method.as_str(), "GET" | "HEAD");
        match &request.segments()[..] {
            ["v2"]
                if reads && (self.basic(request) || request.bearer().is_some_and(|token| self.tokens.check(token).is_some())) =>
            {
                Answer::json(200, &json!({}))
            }
            ["v2"] if reads => self.challenge(""),
            ["v2", "token"] if request.method == "GET" => self.token(request),
            ["v2", repository @ .., "manifests", reference] if reads => self.manifest(request, &repository.join("/"), reference),
            _ if !reads => error(405, "UNSUPPORTED", "The operation is unsupported."),
            _ => error(404, "NAME_UNKNOWN", "repository name not known to registry"),
        }
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        error(status, if status == 429 { "TOOMANYREQUESTS" } else { "UNKNOWN" }, message)
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({ "errors": [{ "code": code, "message": message }] }))
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn manifest(content: &str) -> Vec<u8> {
    let descriptor = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": digest_of(bytes), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", content.as_bytes())],
    });
    manifest.to_string().into_bytes()
}
