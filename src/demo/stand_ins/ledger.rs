//! What a stand-in was asked and what it did: the evidence that tests count.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::exchange::{Answer, Request};
use crate::clock::Timestamp;

/// A test that panicked while it held the lock must not hide what the others see.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request that came in. `Authorization` is not kept.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    /// When, in milliseconds since the epoch.
    pub at: Timestamp,
    /// `GET`, …
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query parameters.
    pub query: Vec<(String, String)>,
    /// Headers but `authorization`.
    pub headers: Vec<(String, String)>,
    /// The body if it is JSON, else null.
    pub body: Value,
    /// Status of the answer; 0 while it is being worked on, or if the connection was cut.
    pub status: u16,
    /// The answer's body if it is an error, for a readable test failure.
    pub refusal: Option<String>,
}

/// One change of the world.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
pub struct Effect {
    /// When.
    pub at: Timestamp,
    /// What kind, as `revision.created`.
    pub kind: String,
    /// What it happened to: a revision's name, a comment's id.
    pub name: String,
    /// Details.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

/// Shared by a stand-in's server and its state.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    asked: Mutex<Vec<Asked>>,
    effects: Mutex<Vec<Effect>>,
    journal: Mutex<Option<File>>,
}

impl Ledger {
    /// Appends every later effect as a JSON line to a file too.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn journal_to(&self, file: &Path) -> std::io::Result<()> {
        *lock(&self.0.journal) = Some(OpenOptions::new().create(true).append(true).open(file)?);
        Ok(())
    }

    /// Notes a request; `answered` completes the note.
    pub(super) fn ask(&self, request: &Request) -> usize {
        let headers = request.headers.iter().filter(|(name, _)| name != "authorization").cloned().collect();
        let mut asked = lock(&self.0.asked);
        asked.push(Asked {
            at: Timestamp::now(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers,
            body: request.json().unwrap_or_default(),
            status: 0,
            refusal: None,
        });
        asked.len() - 1
    }

    pub(super) fn answered(&self, index: usize, answer: &Answer) {
        if let Some(entry) = lock(&self.0.asked).get_mut(index) {
            entry.status = answer.status;
            entry.refusal = (answer.status >= 400).then(|| String::from_utf8_lossy(&answer.body).into_owned());
        }
    }

    /// Notes a change of the world.
    pub fn effect(&self, kind: &str, name: &str, details: Value) {
        let details = match details {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let effect = Effect { at: Timestamp::now(), kind: kind.to_owned(), name: name.to_owned(), details };
        if let Some(file) = lock(&self.0.journal).as_mut()
            && let Ok(line) = serde_json::to_string(&effect)
        {
            // A full disk shows in the test that reads the file; the stand-in itself goes on.
            let _ = writeln!(file, "{line}");
        }
        lock(&self.0.effects).push(effect);
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.0.asked).clone()
    }

    /// How many requests had this method and a path that contains the text.
    pub fn count(&self, method: &str, path: &str) -> usize {
        lock(&self.0.asked).iter().filter(|asked| asked.method == method && asked.path.contains(path)).count()
    }

    /// Every effect so far.
    pub fn effects(&self) -> Vec<Effect> {
        lock(&self.0.effects).clone()
    }

    /// Names of the effects of one kind, in their order.
    pub fn effects_of(&self, kind: &str) -> Vec<String> {
        lock(&self.0.effects).iter().filter(|effect| effect.kind == kind).map(|effect| effect.name.clone()).collect()
    }

    /// Answers of 400, 404, 405, 415 and 422 so far, as readable lines: what was asked wrongly.
    pub fn refusals(&self) -> Vec<String> {
        let refused = |asked: &&Asked| matches!(asked.status, 400 | 404 | 405 | 415 | 422);
        let line = |asked: &Asked| {
            format!("{} {} -> {} {}", asked.method, asked.path, asked.status, asked.refusal.as_deref().unwrap_or_default())
        };
        lock(&self.0.asked).iter().filter(refused).map(line).collect()
    }
}
