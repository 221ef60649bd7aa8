//! Google's Identity-Aware Proxy: each request that it lets through carries an assertion of who it is from.

use std::sync::Arc;

use poem::Request;

use super::issuers::Keys;
use super::people::Person;
use crate::clock::Timestamp;
use crate::settings::IapSettings;
use crate::verify::person::{self, Expected};

/// Header of the assertion.
const HEADER: &str = "x-goog-iap-jwt-assertion";
/// `iss` of all of them.
const ISSUER: &str = "https://cloud.google.com/iap";

/// Checks assertions.
pub struct Iap {
    settings: IapSettings,
    keys: Arc<Keys>,
}

impl Iap {
    /// With the keys that others publish.
    pub fn new(settings: IapSettings, keys: Arc<Keys>) -> Self {
        Self { settings, keys }
    }

    /// Who a request is from; none if it carries no assertion. The error is for the log.
    pub async fn person(&self, request: &Request) -> Result<Option<Person>, String> {
        let mut values = request.headers().get_all(HEADER).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err("there are two assertions".to_owned());
        }
        let token = value.to_str().map_err(|_| "the assertion is no text".to_owned())?;
        let keys = self.keys.of(&self.settings.keys_url, token).await?;
        let expected = Expected { issuers: &[ISSUER], audience: &self.settings.audience, nonce: None };
        let mut claims = person::claims(token, &expected, &keys, Timestamp::now())?;
        if let Some(claims) = claims.as_object_mut() {
            // The proxy only ever names accounts that signed in with this address, and does not say so.
            claims.insert("email_verified".to_owned(), true.into());
            let plain = claims.get("email").and_then(|email| email.as_str()?.strip_prefix("accounts.google.com:"));
            if let Some(plain) = plain.map(str::to_owned) {
                claims.insert("email".to_owned(), plain.into());
            }
        }
        Ok(Some(Person::of_claims(&claims, "groups", None)))
    }
}
