//! Keys of those who say who somebody is.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::receive::Outward;
use crate::verify::person::key_id;
use crate::verify::trust::{Form, Keys as Known, Trust, Want};

/// Fetches keys when a token needs one that is not known, as often as `Trust` allows.
pub struct Keys {
    trust: Arc<Trust>,
    outward: Arc<Outward>,
}

impl Keys {
    /// With the memory that sources share, and whoever fetches for them.
    pub fn new(trust: Arc<Trust>, outward: Arc<Outward>) -> Self {
        Self { trust, outward }
    }

    /// The keys at an address, with that of the token if it is there. The error is for the log.
    pub async fn of(&self, url: &str, token: &str) -> Result<Arc<Known>, String> {
        let id = key_id(token).ok_or("the token cannot be read, or is not signed with RS256 or ES256")?;
        if self.trust.is_due(url, &id, Timestamp::now()) {
            self.outward.fetch(Want { url: url.to_owned(), form: Form::Keys, id }).await;
        }
        self.trust.keys(url).ok_or_else(|| format!("the keys of {url} are not known"))
    }
}
