//! Which secret of a source matched, and when last: the evidence that an old one can go. It is kept in the journal, so that a restart
//! does not lose it; a moment is written at most once a minute for each secret.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// The one entry that a setting names, wherever in it. `None` if there are several: the place of a match is that in one of them.
fn named<'v>(value: &'v Value, secrets: &'v BTreeMap<String, Vec<Secret>>) -> Option<(&'v str, &'v [Secret])> {
    let mut names = BTreeSet::new();
    collect(value, &mut names);
    let mut known = names.into_iter().filter_map(|name| Some((name, secrets.get(name)?.as_slice())));
    known.next().filter(|_| known.next().is_none())
}

/// What may be the name of a secret in it: where there is a key `secret`, that alone.
fn collect<'v>(value: &'v Value, names: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(name) => {
            names.insert(name);
        }
        Value::Object(fields) => match fields.get("secret") {
            Some(secret) => collect(secret, names),
            None => fields.values().for_each(|value| collect(value, names)),
        },
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
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

/// What to do about the older values of a secret, or about one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// There is only one value.
    NothingToRemove,
    /// The provider signs with none that is newer yet.
    NotChangedYet,
    /// It may still come, in what the provider sends again; safe from then on if it does not.
    Wait(Timestamp),
    /// Nothing needs it.
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
    /// Can all the older values go?
    pub fn advice(&self, now: Timestamp) -> Advice {
        let mut whole = Advice::NothingToRemove;
        for index in 1..self.uses.len() {
            whole = match (whole, self.advice_on(index, now)) {
                (Advice::NotChangedYet, _) | (_, Advice::NotChangedYet) => Advice::NotChangedYet,
                (Advice::Wait(one), Advice::Wait(other)) => Advice::Wait(one.max(other)),
                (Advice::Wait(until), _) | (_, Advice::Wait(until)) => Advice::Wait(until),
                (_, other) => other,
            };
        }
        whole
    }

    /// Can this value go? 0 is the current one, which stays.
    pub fn advice_on(&self, index: usize, now: Timestamp) -> Advice {
        let (Some(newer), Some(value)) = (self.uses.get(..index).filter(|newer| !newer.is_empty()), self.uses.get(index)) else {
            return Advice::NothingToRemove;
        };
        let Some(changed) = newer.iter().filter_map(|newer| newer.last_matched).max() else { return Advice::NotChangedYet };
        if value.last_matched.is_some_and(|last| last > changed) {
            return Advice::NotChangedYet;
        }
        // A value that this service has not known for long may have matched elsewhere, or before.
        let quiet_from = value.last_matched.max(value.known_since).unwrap_or(now).after(QUIET);
        if quiet_from > now { Advice::Wait(quiet_from) } else { Advice::SafeToRemove }
    }

    /// One line for people.
    pub fn say(&self, now: Timestamp) -> String {
        let secret = &self.secret;
        let Some(current) = self.uses.first() else { return format!("`{secret}` has no value") };
        if self.uses.len() == 1 {
            return format!("`{secret}` {}", current.when());
        }
        let mut said = format!("the current `{secret}` {}", current.when());
        for index in 1..self.uses.len() {
            said.push_str(&self.say_of(index, now));
        }
        said
    }

    /// What is said of an older value, and what to do about it.
    fn say_of(&self, index: usize, now: Timestamp) -> String {
        let Some(value) = self.uses.get(index) else { return String::new() };
        let name = if self.uses.len() == 2 { "the previous one".to_owned() } else { format!("previous value {index}") };
        let advice = match self.advice_on(index, now) {
            Advice::NothingToRemove => String::new(),
            Advice::NotChangedYet if value.last_matched.is_none() => ": keep it until a newer one matches".to_owned(),
            Advice::NotChangedYet => ": keep it, the provider still signs with it".to_owned(),
            Advice::Wait(until) => {
                format!(": keep it; safe to remove from {} on if it matches nothing until then", until.rfc3339())
            }
            Advice::SafeToRemove => ": safe to remove".to_owned(),
        };
        format!("; {name} {}{advice}", value.when())
    }

    /// The same for programs: moments as milliseconds since 1970.
    pub fn json(&self, now: Timestamp) -> Value {
        let uses = self.uses.iter().enumerate().map(|(index, one)| {
            json!({ "known_since": one.known_since, "last_matched": one.last_matched, "advice": self.advice_on(index, now).word() })
        });
        json!({
            "source": self.source,
            "secret": self.secret,
            "values": uses.collect::<Vec<_>>(),
            "advice": self.advice(now).word(),
            "says": self.say(now),
        })
    }
}

impl Use {
    fn when(&self) -> String {
        self.last_matched.map_or_else(|| "never matched".to_owned(), |at| format!("last matched {}", at.rfc3339()))
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

    /// Writes down since when each value is known. Answers what matched before this start: source, place in the list, when last.
    pub async fn begin(&self, now: Timestamp) -> Result<Vec<(String, usize, Timestamp)>, JournalError> {
        let mut before = Vec::new();
        for watched in &self.watched {
            for (index, value) in watched.values.iter().enumerate() {
                let name = known(value);
                if self.journal.mark(&name).await?.is_none() {
                    self.journal.set_mark(&name, now).await?;
                }
                let last = self.journal.mark(&matched(value)).await?;
                before.extend(last.map(|last| (watched.source.clone(), index, last)));
            }
        }
        Ok(before)
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
    fn each_of_several_old_secrets_has_its_own_evidence() {
        let ago = |hours: i64| Timestamp(NOW.0 - hours * HOUR);
        let of = |values: &[(i64, Option<i64>)]| {
            let uses =
                values.iter().map(|(known, matched)| Use { known_since: Some(ago(*known)), last_matched: matched.map(ago) });
            Rotation { source: "s".to_owned(), secret: "hook".to_owned(), uses: uses.collect() }
        };
        // The newest is not in use yet; the one before it is, and so the oldest can go.
        let rotation = of(&[(10, None), (300, Some(1)), (900, Some(100))]);
        let words: Vec<&str> = (0..3).map(|index| rotation.advice_on(index, NOW).word()).collect();
        assert_eq!(words, ["nothing-to-remove", "not-changed-yet", "safe-to-remove"]);
        assert_eq!(rotation.advice(NOW), Advice::NotChangedYet);
        let said = rotation.say(NOW);
        assert!(said.starts_with("the current `hook` never matched; previous value 1 last matched "), "{said}");
        assert!(said.contains(": keep it, the provider still signs with it; previous value 2 last matched "), "{said}");
        assert!(said.ends_with(": safe to remove"), "{said}");
        let waiting = of(&[(80, Some(1)), (900, Some(70)), (900, Some(50))]);
        assert_eq!(waiting.advice(NOW), Advice::Wait(ago(50 - 72)));
        let json = rotation.json(NOW);
        assert_eq!(
            (&json["values"][2]["advice"], &json["values"][2]["last_matched"]),
            (&"safe-to-remove".into(), &json!(ago(100)))
        );
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
            json!({ "auth": { "any": [{ "bearer": "hook" }, { "query": { "name": "t", "secret": "hook" } }] } }),
        ] {
            let watched = of(fields).expect("it has a secret");
            assert_eq!((watched.secret.as_str(), watched.values.len()), ("hook", 2));
            assert!(!watched.values.join("").contains("new"));
        }
        assert_eq!(of(json!({ "auth": { "oidc": { "audience": "a", "email": "e" } } })), None);
        assert_eq!(of(json!({ "secret": "mixed" })), None);
        assert_eq!(of(json!({ "auth": { "any": [{ "bearer": "hook" }, { "basic": "key" }] } })), None);
    }
}
