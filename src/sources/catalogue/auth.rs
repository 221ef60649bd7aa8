//! `auth:` as it is written, in a provider's file or in an operator's settings.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::Value;

/// One thing or a list of them.
#[derive(Debug, Clone)]
pub struct Many<T>(Vec<T>);

impl<T> Many<T> {
    /// All of them.
    pub fn list(self) -> Vec<T> {
        self.0
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = match Value::deserialize(deserializer)? {
            Value::Array(items) => items,
            one => vec![one],
        };
        let items = items.into_iter().map(|item| serde_json::from_value(item).map_err(D::Error::custom));
        items.collect::<Result<_, _>>().map(Self)
    }
}

/// One way to prove where a request comes from. Secrets are names of entries of `secrets:`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// A MAC.
    Hmac(Signed),
    /// Standard Webhooks.
    StandardWebhooks(Standard),
    /// Ed25519.
    Ed25519(Signed),
    /// ECDSA on P-256.
    EcdsaP256(Signed),
    /// A MAC in the body, or in each item of it.
    Items(Items),
    /// Amazon SNS.
    Sns(Sns),
    /// An ID token.
    Oidc(Oidc),
    /// `Authorization: Basic`; the secret is `user:password`.
    Basic(String),
    /// `Authorization: Bearer`.
    Bearer(String),
    /// A header with a secret.
    Token(Token),
    /// A parameter of the query.
    Query(Named),
    /// The last segment of the path.
    Path(String),
    /// A field in every item of the body.
    Field(Field),
    /// Any of these proves it.
    Any(Vec<Auth>),
}

impl Auth {
    /// The secret by which it proves, if that is one.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Hmac(signed) | Self::Ed25519(signed) | Self::EcdsaP256(signed) => Some(&signed.secret),
            Self::StandardWebhooks(standard) => Some(&standard.secret),
            Self::Items(items) => Some(&items.secret),
            Self::Basic(secret) | Self::Bearer(secret) | Self::Path(secret) => Some(secret),
            Self::Token(token) => Some(&token.secret),
            Self::Query(named) => Some(&named.secret),
            Self::Field(field) => Some(&field.secret),
            Self::Sns(_) | Self::Oidc(_) | Self::Any(_) => None,
        }
    }

    /// Is what it signs put together from fields of the body?
    pub fn signs_fields(&self) -> bool {
        match self {
            Self::Items(_) => true,
            Self::Any(ways) => ways.iter().any(Self::signs_fields),
            _ => false,
        }
    }
}

/// A signature in a header or in the query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signed {
    pub(super) secret: String,
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) label: Option<String>,
    pub(super) separator: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) signed: Option<String>,
    pub(super) timestamp_header: Option<String>,
    pub(super) timestamp_query: Option<String>,
    pub(super) timestamp_label: Option<String>,
    pub(super) timestamp_field: Option<String>,
    pub(super) timestamp_unit: Option<String>,
    pub(super) max_age: Option<String>,
    pub(super) key: Option<String>,
    pub(super) public_url: Option<String>,
}

/// Standard Webhooks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Standard {
    pub(super) secret: String,
    /// Before `-id`, `-timestamp` and `-signature`.
    pub(super) headers: Option<String>,
    pub(super) max_age: Option<String>,
}

/// A signature in the body, or in each item of a list there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Items {
    pub(super) secret: String,
    pub(super) list: Option<String>,
    #[serde(default)]
    pub(super) item: String,
    pub(super) signature: String,
    pub(super) signed: Vec<String>,
    pub(super) join: Option<String>,
    pub(super) algorithm: Option<String>,
    pub(super) encoding: Option<String>,
    pub(super) key: Option<String>,
    pub(super) timestamp_field: Option<String>,
    pub(super) timestamp_unit: Option<String>,
    pub(super) max_age: Option<String>,
}

/// Amazon SNS.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Sns {
    pub(super) topic_arn: Many<String>,
}

/// An ID token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    pub(super) audience: Many<String>,
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) issuers: Vec<String>,
    pub(super) keys_url: Option<String>,
}

/// A header with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    pub(super) header: String,
    #[serde(default)]
    pub(super) prefix: String,
    pub(super) secret: String,
}

/// A parameter with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Named {
    pub(super) name: String,
    pub(super) secret: String,
}

/// A field with a secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Field {
    pub(super) path: String,
    pub(super) secret: String,
}
