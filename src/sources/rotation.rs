//! Which secret of a source matched, and when last: the evidence that an old one can go. It is kept in the journal, so that a restart
//! does not lose it; a moment is written at most once a minute for each secret.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use declic_actions::secret::Secret;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::journal::{Journal, JournalError};
use crate::settings::SourceSettings;

/// For how long an old secret must have matched nothing. Providers send again for up to three days what failed, signed as it was.
const QUIET: Duration = Duration::from_secs(72 * 60 * 60);
/// How exact the moments are.
const EVERY: i64 = 60 * 1000;

/// The secret by which one source verifies, and the names its values have in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Name of the source.
    pub source: String,
    /// Entry of `secrets:`.
    pub secret: String,
    /// One for each value, newest first.
    values: Vec<String>,
}

impl Watched {
    /// The secret of a source. `None` where it has none of its own, as with ID tokens, or where it mixes kinds of keys, of which a match does
    /// not tell the place in the list.
    pub fn of(settings: &SourceSettings, secrets: &BTreeMap<String, Vec<Secret>>) -> Option<Self> {
        let (secret, values) = ["secret", "signing-secret", "public-key", "auth"]
            .iter()
            .filter_map(|field| settings.fields.get(*field))
            .find_map(|value| named(value, secrets))?;
        let public = values.iter().filter(|value| value.expose().starts_with(b"whpk_")).count();
        if public != 0 && public != values.len() {
            return None;
        }
        let values = values.iter().map(|value| fingerprint(&settings.name, value)).collect();
        Some(Self { source: settings.name.clone(), secret: secret.to_owned(), values })
    }

    /// Evidence, with what `kept` says of the journal's marks.
    pub fn read<E>(&self, mut kept: impl FnMut(&str) -> Result<Option<Timestamp>, E>) -> Result<Rotation, E> {
        let uses =
            self.values.iter().map(|value| Ok(Use { known_since: kept(&known(value))?, last_matched: kept(&matched(value))? }));
        Ok(Rotation { source: self.source.clone(), secret: self.secret.clone(), uses: uses.collect::<Result<_, E>>()? })
    }
}

/// The entry that a setting names, wherever in it.
fn named<'v>(value: &'v Value, secrets: &'v BTreeMap<String, Vec<Secret>>) -> Option<(&'v str, &'v [Secret])> {
    match value {
        Value::String(name) => secrets.get(name).map(|values| (name.as_str(), values.as_slice())),
        Value::Object(fields) => match fields.get("secret") {
            Some(secret) => named(secret, secrets),
            None => fields.values().find_map(|value| named(value, secrets)),
        },
        _ => None,
    }
}

/// Tells values apart without holding them: 64 bits, and others for another source with the same secret.
fn fingerprint(source: &str, secret: &Secret) -> String {
    let key = Key::new(HMAC_SHA256, format!("which secret of {source} matched").as_bytes());
    let tag = sign(&key, secret.expose());
    format!("{source} {}", hex::encode(tag.as_ref().iter().take(8).copied().collect::<Vec<_>>()))
}

fn known(value: &str) -> String {
    format!("secret known: {value}")
}

fn matched(value: &str) -> String {
    format!("secret matched: {value}")
}

/// What is known of one value of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Since when this service has had it.
    pub known_since: Option<Timestamp>,
    /// When a request was last verified with it; to the minute.
    pub last_matched: Option<Timestamp>,
}

/// How far the change of a source's secret has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Name of the source.
    pub source: String,
    /// Entry of `secrets:`.
    pub secret: String,
    /// Its values, newest first.
    pub uses: Vec<Use>,
}

/// What to do about an old value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// There is only one value.
    NothingToRemove,
    /// The provider does not sign with the newest value yet.
    NotChangedYet,
    /// The old one may still come, in what the provider sends again; safe from then on if it does not.
    Wait(Timestamp),
    /// Nothing needs the old value.
    SafeToRemove,
}

impl Advice {
    /// `safe-to-remove` and so on.
    pub fn word(self) -> &'static str {
        match self {
            Self::NothingToRemove => "nothing-to-remove",
            Self::NotChangedYet => "not-changed-yet",
            Self::Wait(_) => "wait",
            Self::SafeToRemove => "safe-to-remove",
        }
    }
}

impl Rotation {
    /// Can the older values go?
    pub fn advice(&self, now: Timestamp) -> Advice {
        let Some((newest, older)) = self.uses.split_first().filter(|(_, older)| !older.is_empty()) else {
            return Advice::NothingToRemove;
        };
        // A value that this service has not known for long may have matched elsewhere, or before.
        let needed = older.iter().map(|old| old.last_matched.max(old.known_since).unwrap_or(now)).max().unwrap_or(now);
        match newest.last_matched {
            None => Advice::NotChangedYet,
            Some(last) if older.iter().any(|old| old.last_matched.is_some_and(|old| old > last)) => Advice::NotChangedYet,
            Some(_) if needed.after(QUIET) > now => Advice::Wait(needed.after(QUIET)),
            Some(_) => Advice::SafeToRemove,
        }
    }

    /// One line for people.
    pub fn say(&self, now: Timestamp) -> String {
        let when =
            |at: Option<Timestamp>| at.map_or_else(|| "never matched".to_owned(), |at| format!("last matched {}", at.rfc3339()));
        let newest = self.uses.first().and_then(|newest| newest.last_matched);
        let older = self.uses.iter().skip(1).filter_map(|old| old.last_matched).max();
        let secret = &self.secret;
        let found = format!("the current `{secret}` {}, the previous one {}", when(newest), when(older));
        match self.advice(now) {
            Advice::NothingToRemove => format!("`{secret}` {}", when(newest)),
            Advice::NotChangedYet if older.is_none() => format!("{found}: keep the previous one until the current one matches"),
            Advice::NotChangedYet => format!("{found}: keep the previous one, the provider still signs with it"),
            Advice::Wait(until) => {
                format!(
                    "{found}: keep the previous one; safe to remove from {} on if it matches nothing until then",
                    until.rfc3339()
                )
            }
            Advice::SafeToRemove => format!("{found}: the previous one is safe to remove"),
        }
    }

    /// The same for programs: moments as milliseconds since 1970.
    pub fn json(&self, now: Timestamp) -> Value {
        let uses = self.uses.iter().map(|one| json!({ "known_since": one.known_since, "last_matched": one.last_matched }));
        json!({
            "source": self.source,
            "secret": self.secret,
            "values": uses.collect::<Vec<_>>(),
            "advice": self.advice(now).word(),
            "says": self.say(now),
        })
    }
}

/// Keeps the evidence of a service.
pub struct Evidence {
    journal: Arc<dyn Journal>,
    watched: Vec<Watched>,
    written: Mutex<HashMap<String, Timestamp>>,
}

impl Evidence {
    /// Of these sources.
    pub fn new(journal: Arc<dyn Journal>, watched: Vec<Watched>) -> Self {
        Self { journal, watched, written: Mutex::default() }
    }

    /// Writes down since when each value is known.
    pub async fn begin(&self, now: Timestamp) -> Result<(), JournalError> {
        for value in self.watched.iter().flat_map(|watched| &watched.values) {
            let name = known(value);
            if self.journal.mark(&name).await?.is_none() {
                self.journal.set_mark(&name, now).await?;
            }
        }
        Ok(())
    }

    /// A request was verified with this value of a source's secret, from 0: the newest. Writes in the background.
    pub fn matched(self: &Arc<Self>, source: &str, index: usize, now: Timestamp) {
        let watched = self.watched.iter().find(|watched| watched.source == source);
        let Some(value) = watched.and_then(|watched| watched.values.get(index)) else { return };
        {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            if written.get(value).is_some_and(|last| now.0.saturating_sub(last.0) < EVERY) {
                return;
            }
            written.insert(value.clone(), now);
        }
        let (evidence, value) = (Arc::clone(self), value.clone());
        tokio::spawn(async move {
            if let Err(error) = evidence.journal.set_mark(&matched(&value), now).await {
                tracing::warn!("which secret matched could not be written down: {error}");
                evidence.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&value);
            }
        });
    }

    /// What is known of every source with a secret of its own.
    pub async fn rotations(&self) -> Result<Vec<Rotation>, JournalError> {
        let mut rotations = Vec::new();
        for watched in &self.watched {
            let mut marks = HashMap::new();
            for name in watched.values.iter().flat_map(|value| [known(value), matched(value)]) {
                let at = self.journal.mark(&name).await?;
                marks.insert(name, at);
            }
            let kept = |name: &str| Ok::<_, JournalError>(marks.get(name).copied().flatten());
            rotations.push(watched.read(kept)?);
        }
        Ok(rotations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;
    const NOW: Timestamp = Timestamp(1000 * HOUR);

    fn advice(values: &[(i64, Option<i64>)]) -> Advice {
        let ago = |hours: i64| Timestamp(NOW.0 - hours * HOUR);
        let uses = values.iter().map(|(known, matched)| Use { known_since: Some(ago(*known)), last_matched: matched.map(ago) });
        Rotation { source: "s".to_owned(), secret: "hook".to_owned(), uses: uses.collect() }.advice(NOW)
    }

    #[test]
    fn an_old_secret_is_safe_to_remove_once_the_new_one_matches_and_it_was_quiet_for_three_days() {
        assert_eq!(advice(&[(900, Some(1))]), Advice::NothingToRemove);
        assert_eq!(advice(&[(10, None), (900, Some(1))]), Advice::NotChangedYet);
        assert_eq!(advice(&[(10, Some(5)), (900, Some(1))]), Advice::NotChangedYet);
        assert_eq!(advice(&[(80, Some(1)), (900, Some(71))]), Advice::Wait(Timestamp(NOW.0 + HOUR)));
        assert_eq!(advice(&[(80, Some(1)), (900, Some(72))]), Advice::SafeToRemove);
        // A store that began yesterday knows nothing of the day before.
        assert_eq!(advice(&[(24, Some(1)), (24, None)]), Advice::Wait(Timestamp(NOW.0 + 48 * HOUR)));
    }

    #[test]
    fn the_secret_of_a_source_is_found_where_it_is_named() {
        let values = |names: &[&str]| names.iter().map(|name| Secret::new(*name)).collect::<Vec<_>>();
        let secrets = BTreeMap::from([
            ("hook".to_owned(), values(&["new", "old"])),
            ("key".to_owned(), values(&["pem"])),
            ("mixed".to_owned(), values(&["whpk_a", "whsec_b"])),
        ]);
        let of = |fields: Value| {
            let fields = fields.as_object().cloned().unwrap_or_default();
            let settings = SourceSettings { name: "s".to_owned(), kind: "webhook".to_owned(), path: "/s".to_owned(), fields };
            Watched::of(&settings, &secrets)
        };
        for fields in [
            json!({ "key": "key", "secret": "hook" }),
            json!({ "auth": { "hmac": { "header": "x", "key": "text", "secret": "hook" } } }),
            json!({ "auth": { "basic": "hook" } }),
        ] {
            let watched = of(fields).expect("it has a secret");
            assert_eq!((watched.secret.as_str(), watched.values.len()), ("hook", 2));
            assert!(!watched.values.join("").contains("new"));
        }
        assert_eq!(of(json!({ "auth": { "oidc": { "audience": "a", "email": "e" } } })), None);
        assert_eq!(of(json!({ "secret": "mixed" })), None);
    }
}
