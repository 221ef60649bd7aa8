//! JSON Web Tokens with keys that the issuer publishes: those of machines that call, whose claims name us and the one account that may.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use super::Refusal;
use super::trust::{Form, Key, Trust, Want};
use crate::inbound::Inbound;

/// Seconds by which clocks may differ.
const SKEW: i64 = 10;
/// Bytes of a token; Google's have about a thousand.
const LONGEST: usize = 16 * 1024;

/// Who issues, whom it is for, and who may call.
#[derive(Debug, Clone)]
pub struct Scheme {
    /// Accepted values of `iss`.
    pub issuers: Vec<String>,
    /// Accepted values of `aud`: an address of ours that the caller was told.
    pub audiences: Vec<String>,
    /// The one account: anybody can get a token for our audience, so this is the authorisation. `None` only where the issuer signs for a
    /// single caller.
    pub email: Option<String>,
    /// Where the issuer publishes its keys.
    pub keys_url: String,
    /// What is known of them.
    pub trust: Arc<Trust>,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
}

/// A token in its parts. Its own word counts for nothing but the key's id: keys or addresses of keys in it are not looked at.
pub(crate) struct Token<'t> {
    signed: &'t str,
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: String,
    /// Nothing to believe before [`Token::verify`].
    pub(crate) claims: Value,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Takes a token apart. The error continues a sentence: `the token …`.
    pub(crate) fn parse(token: &'t str) -> Result<Self, &'static str> {
        if token.len() > LONGEST {
            return Err("is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("is not a JSON Web Token")?;
        let (header, claims) = signed.split_once('.').ok_or("is not a JSON Web Token")?;
        let header = part(header).ok_or("has a header that cannot be read")?;
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => Algorithm::Rs256,
            Some("ES256") => Algorithm::Es256,
            _ => return Err("is not signed with RS256 or ES256"),
        };
        if header.get("crit").is_some() {
            return Err("has a header that must be understood and is not");
        }
        let key_id = header.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty() && id.len() <= 256);
        let key_id = key_id.ok_or("names no key")?.to_owned();
        let claims = part(claims).ok_or("has claims that cannot be read")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "has a signature that is not base64url")?;
        Ok(Self { signed, algorithm, key_id, claims, signature })
    }

    /// Checks the signature: the key decides how, not the token.
    pub(crate) fn verify(&self, key: &Key) -> Result<(), &'static str> {
        let message = self.signed.as_bytes();
        let right = match (key, self.algorithm) {
            (Key::Rsa(key), Algorithm::Rs256) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &self.signature),
            (Key::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &self.signature)
            }
            _ => return Err("is signed in another way than its key is for"),
        };
        right.map_err(|_| "has a wrong signature")
    }

    /// Is it its time?
    pub(crate) fn in_time(&self, now: i64) -> Result<(), &'static str> {
        let time = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let (Some(issued), Some(expires)) = (time("iat"), time("exp")) else { return Err("has no iat or no exp") };
        if expires < now.saturating_sub(SKEW) {
            return Err("has expired");
        }
        if issued > now.saturating_add(SKEW) || time("nbf").is_some_and(|begin| begin > now.saturating_add(SKEW)) {
            return Err("is from the future: check both clocks");
        }
        Ok(())
    }
}

impl Scheme {
    /// What must be fetched before this request can be checked.
    pub fn wants(&self, inbound: &Inbound) -> Option<Want> {
        let token = token(inbound).ok()?;
        let due = self.trust.is_due(&self.keys_url, &token.key_id, inbound.received_at);
        due.then(|| Want { url: self.keys_url.clone(), form: Form::Keys, id: token.key_id })
    }

    /// Checks the token.
    pub fn verify(&self, inbound: &Inbound) -> Result<(), Refusal> {
        let token = token(inbound).map_err(|why| Refusal::unverified(format!("the token {why}")))?;
        let Some(keys) = self.trust.keys(&self.keys_url) else {
            return Err(Refusal::not_now(format!("the keys of {} are not known yet", self.keys_url)));
        };
        let Some(key) = keys.get(&token.key_id) else {
            return Err(Refusal::unverified("the token is signed with a key that its issuer does not publish"));
        };
        token.verify(key).map_err(|why| Refusal::unverified(format!("the token {why}")))?;
        self.check(&token, inbound.received_at.seconds()).map_err(|why| Refusal::unverified(format!("the token {why}")))
    }

    fn check(&self, token: &Token<'_>, now: i64) -> Result<(), String> {
        let claims = &token.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        if !self.issuers.iter().any(|issuer| issuer == text("iss")) {
            return Err("is from another issuer".to_owned());
        }
        if !self.audiences.iter().any(|audience| audience == text("aud")) {
            return Err("is for another audience: check `audience`".to_owned());
        }
        token.in_time(now)?;
        let Some(email) = &self.email else { return Ok(()) };
        if text("email") != email {
            return Err("is of another account: check `email`".to_owned());
        }
        if claims.get("email_verified") != Some(&Value::Bool(true)) {
            return Err("has an address that was not verified".to_owned());
        }
        Ok(())
    }

    /// A token as the issuer would make it, with an RSA key made for tests (PKCS#8 in base64), whose public half has the id `test`.
    pub fn sign(&self, inbound: &Inbound, private: Option<&Secret>) -> Result<String, Refusal> {
        let Some(private) = private else {
            let why = "only the issuer has the private key of its tokens; give one made for tests with --key FILE, and let \
                `keys-url` of the source lead to its public half with the id `test`";
            return Err(Refusal::unverified(why));
        };
        let unusable = || Refusal::unverified("the key given with --key is not an RSA key in PKCS#8");
        let text = private.expose_text().unwrap_or_default();
        let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(lines.trim()).map_err(|_| unusable())?;
        let pair = RsaKeyPair::from_pkcs8(&der).map_err(|_| unusable())?;
        let now = inbound.received_at.seconds();
        let mut claims = json!({ "iss": self.issuers.first(), "aud": self.audiences.first(), "iat": now, "exp": now + 3600 });
        if let (Some(email), Some(claims)) = (&self.email, claims.as_object_mut()) {
            claims.insert("email".to_owned(), email.as_str().into());
            claims.insert("email_verified".to_owned(), true.into());
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "RS256", "kid": "test", "typ": "JWT" })), part(&claims));
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| unusable())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// The token of `Authorization`.
fn token(inbound: &Inbound) -> Result<Token<'_>, &'static str> {
    let value = inbound.header("authorization").ok_or("is missing or occurs twice")?;
    let (scheme, token) = value.split_once(' ').ok_or("is missing")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("is no bearer token");
    }
    let token = Token::parse(token)?;
    if token.algorithm == Algorithm::Rs256 { Ok(token) } else { Err("is not signed with RS256") }
}

/// A JSON object in base64url. Doubled keys are refused: which one would count?
fn part(text: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    crate::json::parse(&bytes).ok().filter(Value::is_object)
}
