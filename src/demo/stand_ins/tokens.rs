//! Access tokens that the identity stand-in issued, and that the other stand-ins ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::ledger::lock;

/// What a valid token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Email of the service account.
    pub identity: String,
    /// OAuth scopes.
    pub scopes: Vec<String>,
    expires: Instant,
}

/// All tokens of a world. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Arc<Mutex<BTreeMap<String, Grant>>>);

impl Tokens {
    /// A new token for an identity.
    pub fn issue(&self, identity: &str, scopes: &[String], valid_for: Duration) -> String {
        let token = format!("ya29.stand-in-{}", ulid::Ulid::new().to_string().to_lowercase());
        let grant = Grant { identity: identity.to_owned(), scopes: scopes.to_vec(), expires: Instant::now() + valid_for };
        lock(&self.0).insert(token.clone(), grant);
        token
    }

    /// What a token stands for, if it was issued here and has not expired.
    pub fn check(&self, token: &str) -> Option<Grant> {
        lock(&self.0).get(token).filter(|grant| grant.expires > Instant::now()).cloned()
    }

    /// Every token issued so far stops working: a client must get a new one.
    pub fn revoke_all(&self) {
        lock(&self.0).clear();
    }
}
