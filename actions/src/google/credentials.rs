//! Who we are at Google: a key file's contents, or the metadata server.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::secret::Secret;

/// Google gives no token for longer.
const ASSERTION_SECONDS: i64 = 3600;

pub(super) enum Credentials {
    Metadata,
    ServiceAccount(ServiceAccount),
    User(User),
    /// One token for everything, that was not asked for.
    Given(Secret),
}

pub(super) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    key: EncodingKey,
    pub(super) token_url: String,
}

pub(super) struct User {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_url: String,
}

#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

impl Credentials {
    /// Errors name the missing part and never quote the file.
    pub(super) fn read(file: Option<&Secret>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Metadata) };
        let file: KeyFile = serde_json::from_slice(file.expose())
            .map_err(|error| format!("the Google key file is not the JSON of a key (line {})", error.line()))?;
        let token_url = file.token_uri.unwrap_or_else(|| "https://oauth2.googleapis.com/token".into());
        let need = |value: Option<String>, name: &str| value.ok_or_else(|| format!("the Google key file has no `{name}`"));
        match file.kind.as_str() {
            "service_account" => {
                let pem = need(file.private_key, "private_key")?;
                let key = EncodingKey::from_rsa_pem(pem.as_bytes())
                    .map_err(|_| "`private_key` of the Google key file is not an RSA key in PEM form".to_owned())?;
                let email = need(file.client_email, "client_email")?;
                Ok(Self::ServiceAccount(ServiceAccount { email, key_id: file.private_key_id, key, token_url }))
            }
            "authorized_user" => Ok(Self::User(User {
                client_id: need(file.client_id, "client_id")?,
                client_secret: Secret::new(need(file.client_secret, "client_secret")?),
                refresh_token: Secret::new(need(file.refresh_token, "refresh_token")?),
                token_url,
            })),
            other => Err(format!(
                "a Google key file of type `{}` is not supported; use `service_account` or `authorized_user`, or none on Google Cloud",
                crate::http::shown(other)
            )),
        }
    }
}

impl ServiceAccount {
    /// A signed request for a token: `claim` is `scope` or `target_audience`.
    pub(super) fn assertion(&self, claim: &str, value: &str, now: i64) -> Result<Secret, String> {
        let mut header = Header::new(Algorithm::RS256);
        header.kid.clone_from(&self.key_id);
        let mut claims =
            json!({ "iss": self.email, "sub": self.email, "aud": self.token_url, "iat": now, "exp": now + ASSERTION_SECONDS });
        if let Some(claims) = claims.as_object_mut() {
            claims.insert(claim.to_owned(), Value::String(value.to_owned()));
        }
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map(Secret::new)
            .map_err(|_| "the key of the Google key file cannot sign".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_that_cannot_be_used_is_an_error_that_does_not_quote_it() {
        for text in [
            "hunter2",
            r#"{"type":"service_account","client_email":"a@b","private_key":"hunter2"}"#,
            r#"{"type":"service_account","private_key_id":"hunter2"}"#,
            r#"{"type":"authorized_user","client_id":"x","client_secret":"hunter2"}"#,
            r#"{"type":"external_account","token_uri":"hunter2"}"#,
        ] {
            let error = Credentials::read(Some(&Secret::new(text))).err().expect("it is refused");
            assert!(error.contains("key file") && !error.contains("hunter2"), "{error}");
        }
        assert!(matches!(Credentials::read(None), Ok(Credentials::Metadata)));
    }
}
