//! Keys that others publish: sets of JSON Web Keys and certificates, kept by address. Checking only reads here; whoever fetches puts
//! what it got in. Old keys stay when a fetch fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::signature::RsaPublicKeyComponents;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::x509;
use crate::clock::Timestamp;

/// Addresses that are remembered at once.
const MOST: usize = 64;
/// Seconds between two fetches of one address: an unknown key id must not let a sender make us ask as often as it likes.
const PAUSE: i64 = 30;
/// Fetches in one minute, of all addresses of one form together: certificates, whose addresses senders name, leave the keys their share.
const PER_MINUTE: usize = 30;
/// Seconds for which keys are fresh at least and at most, whatever their server says.
const FRESH: (i64, i64) = (60, 24 * 3600);

/// What stands at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON Web Key Set.
    Keys,
    /// A certificate in PEM.
    Certificate,
}

/// Something that must be fetched before a request can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where it is.
    pub url: String,
    /// What it is.
    pub form: Form,
    /// The key that is needed; empty for a certificate.
    pub id: String,
}

/// An RSA key in its two numbers.
pub type RsaKey = RsaPublicKeyComponents<Vec<u8>>;

/// A public key that signatures are checked with.
#[derive(Debug, Clone)]
pub enum Key {
    /// RSA.
    Rsa(RsaKey),
    /// A point on P-256, uncompressed: 65 bytes.
    P256(Vec<u8>),
}

/// Keys by their id; a certificate has one key with an empty id.
pub type Keys = HashMap<String, Key>;

#[derive(Default)]
struct Entry {
    keys: Option<Arc<Keys>>,
    fresh_until: i64,
    tried_at: Option<i64>,
    /// Is somebody fetching?
    flying: bool,
}

impl Entry {
    fn is_wanted(&self, id: &str, now: i64) -> bool {
        let known = self.keys.as_ref().is_some_and(|keys| keys.contains_key(id));
        !known || self.fresh_until <= now
    }

    fn is_due(&self, id: &str, now: i64) -> bool {
        self.is_wanted(id, now) && self.tried_at.is_none_or(|tried| now.saturating_sub(tried) >= PAUSE)
    }
}

/// The memory. Shared by the sources and whoever fetches.
#[derive(Default)]
pub struct Trust {
    entries: Mutex<HashMap<String, Entry>>,
    tries: Mutex<Vec<(Form, i64)>>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Trust")
    }
}

impl Trust {
    /// What is known of an address.
    pub fn keys(&self, url: &str) -> Option<Arc<Keys>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(url)?.keys.clone()
    }

    /// Must this be fetched for the key `id`, and may it be now? While somebody fetches it, yes: whoever asks waits for that.
    pub fn is_due(&self, url: &str, id: &str, now: Timestamp) -> bool {
        let now = now.seconds();
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get(url) else { return true };
        entry.is_due(id, now) || (entry.flying && entry.keys.as_ref().is_none_or(|keys| !keys.contains_key(id)))
    }

    /// Notes that somebody is about to fetch; false if somebody just did, or if there were too many.
    pub fn begin(&self, want: &Want, now: Timestamp) -> bool {
        let now = now.seconds();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(&want.url).is_some_and(|entry| !entry.is_due(&want.id, now)) {
            return false;
        }
        if entries.len() >= MOST && !entries.contains_key(&want.url) {
            entries.retain(|_, entry| entry.fresh_until > now);
            if entries.len() >= MOST {
                return false;
            }
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.retain(|(_, tried)| now.saturating_sub(*tried) < 60);
        if tries.iter().filter(|(form, _)| *form == want.form).count() >= PER_MINUTE {
            return false;
        }
        tries.push((want.form, now));
        let entry = entries.entry(want.url.clone()).or_default();
        entry.tried_at = Some(now);
        entry.flying = true;
        true
    }

    /// Notes that a fetch is over, however it ended.
    pub fn end(&self, url: &str) {
        if let Some(entry) = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get_mut(url) {
            entry.flying = false;
        }
    }

    /// Takes in what was fetched. An error leaves what was there; it says what is wrong with the document.
    pub fn put(&self, want: &Want, document: &[u8], max_age: Option<i64>, now: Timestamp) -> Result<(), String> {
        let keys = match want.form {
            Form::Keys => key_set(document)?,
            Form::Certificate => HashMap::from([(String::new(), Key::Rsa(x509::rsa_key(document)?))]),
        };
        let fresh = max_age.unwrap_or(3600).clamp(FRESH.0, FRESH.1);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.entry(want.url.clone()).or_default();
        entry.keys = Some(Arc::new(keys));
        entry.fresh_until = now.seconds().saturating_add(fresh);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Published {
    /// The key with its id, if it is for signatures and of a kind that is checked here.
    fn key(self) -> Option<(String, Key)> {
        let number = |text: Option<String>| URL_SAFE_NO_PAD.decode(text?).ok();
        let is_for = |algorithm: &str| self.alg.as_deref().is_none_or(|alg| alg == algorithm);
        let signs = self.usage.as_deref().is_none_or(|usage| usage == "sig");
        let key = match self.kty.as_str() {
            "RSA" if signs && is_for("RS256") => Key::Rsa(RsaPublicKeyComponents { n: number(self.n)?, e: number(self.e)? }),
            "EC" if signs && is_for("ES256") && self.crv.as_deref() == Some("P-256") => {
                let (x, y) = (number(self.x)?, number(self.y)?);
                Key::P256([&[4], x.as_slice(), y.as_slice()].concat()).whole()?
            }
            _ => return None,
        };
        Some((self.kid?, key))
    }
}

impl Key {
    /// A point has two coordinates of 32 bytes.
    fn whole(self) -> Option<Self> {
        match &self {
            Self::P256(point) if point.len() != 65 => None,
            _ => Some(self),
        }
    }
}

/// The keys of a set that signatures are checked with; others in it are left out.
fn key_set(document: &[u8]) -> Result<Keys, String> {
    let set: Set = serde_json::from_slice(document).map_err(|_| "it is not a JSON Web Key Set".to_owned())?;
    let keys: Keys = set.keys.into_iter().filter_map(Published::key).collect();
    if keys.is_empty() { Err("it holds no RSA or P-256 key for signatures".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &str = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"},{"kty":"EC","kid":"b"}]}"#;

    fn want() -> Want {
        Want { url: "https://keys.example/".to_owned(), form: Form::Keys, id: "a".to_owned() }
    }

    #[test]
    fn an_unknown_key_is_asked_for_once_in_a_while() {
        let trust = Trust::default();
        let at = |seconds: i64| Timestamp(seconds * 1000);
        let want = want();
        assert!(trust.is_due(&want.url, "a", at(0)));
        assert!(trust.begin(&want, at(0)));
        assert!(!trust.begin(&want, at(0)));
        assert!(trust.is_due(&want.url, "a", at(0)), "who comes now waits for whoever fetches");
        trust.put(&want, SET.as_bytes(), Some(600), at(0)).unwrap();
        trust.end(&want.url);
        assert!(!trust.is_due(&want.url, "a", at(599)));
        assert!(trust.is_due(&want.url, "a", at(600)));
        assert!(!trust.is_due(&want.url, "other", at(29)));
        assert!(trust.is_due(&want.url, "other", at(30)));
    }

    #[test]
    fn what_is_no_key_set_leaves_the_old_keys() {
        let trust = Trust::default();
        trust.put(&want(), SET.as_bytes(), None, Timestamp(0)).unwrap();
        for document in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","kid":"a","k":"AA"}]}"#] {
            assert!(trust.put(&want(), document.as_bytes(), None, Timestamp(0)).is_err(), "{document}");
        }
        assert!(trust.keys(&want().url).unwrap().contains_key("a"));
    }

    #[test]
    fn a_flood_of_addresses_is_not_fetched() {
        let trust = Trust::default();
        let other = |number: i32| Want { url: format!("https://{number}.example/"), ..want() };
        let certificate = |number: i32| Want { form: Form::Certificate, ..other(number) };
        let begun = (0..100).filter(|number| trust.begin(&certificate(*number), Timestamp(0))).count();
        assert_eq!(begun, PER_MINUTE);
        // Whoever names addresses of certificates does not keep anybody's keys from being fetched.
        let begun = (100..200).filter(|number| trust.begin(&other(*number), Timestamp(0))).count();
        assert_eq!(begun, PER_MINUTE);
    }
}
