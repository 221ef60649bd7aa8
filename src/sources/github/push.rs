//! `push`: what rules read, and when its list of changed files can be relied on.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::context::{Contexts, Repository, Sender, is_commit};
use super::object::Object;

/// GitHub lists at most this many commits in a payload.
const LISTED_COMMITS: usize = 2048;
/// Beyond this many commits GitHub's own path filters give up and run.
const COUNTED_COMMITS: usize = 1000;
/// GitHub lists at most this many files in a commit.
const LISTED_FILES: usize = 3000;

/// The parts of a push payload that are read; the rest is skipped without being built.
#[derive(Debug, Deserialize)]
pub struct Push<'b> {
    #[serde(borrow, rename = "ref")]
    reference: Cow<'b, str>,
    #[serde(borrow)]
    before: Cow<'b, str>,
    #[serde(borrow)]
    after: Cow<'b, str>,
    created: bool,
    deleted: bool,
    forced: bool,
    #[serde(borrow, default)]
    head_commit: Option<Object<Commit<'b>>>,
    /// Left out, nothing is known of the files.
    #[serde(borrow, default)]
    commits: Option<Vec<Object<Commit<'b>>>>,
    #[serde(default)]
    repository: Option<Object<Repository>>,
    #[serde(default)]
    sender: Option<Object<Sender>>,
}

#[derive(Debug, Deserialize)]
struct Commit<'b> {
    #[serde(borrow, default)]
    id: Cow<'b, str>,
    #[serde(borrow, default)]
    message: Cow<'b, str>,
    #[serde(borrow, default)]
    author: Object<Author<'b>>,
    #[serde(borrow, default)]
    added: Vec<Text<'b>>,
    #[serde(borrow, default)]
    modified: Vec<Text<'b>>,
    #[serde(borrow, default)]
    removed: Vec<Text<'b>>,
}

/// A string of the body where it stands, unless it has escapes.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Text<'b>(#[serde(borrow)] Cow<'b, str>);

#[derive(Debug, Default, Deserialize)]
struct Author<'b> {
    #[serde(borrow, default)]
    username: Option<Text<'b>>,
    #[serde(borrow, default)]
    name: Option<Text<'b>>,
}

impl Commit<'_> {
    fn files(&self) -> impl Iterator<Item = &str> {
        self.added.iter().chain(&self.modified).chain(&self.removed).map(|file| file.0.as_ref())
    }
}

/// The fields of `github.push` from a whole payload.
pub fn push_event_fields(payload: &Value) -> Result<Value, String> {
    let push = Push::deserialize(payload).map_err(|error| error.to_string())?;
    Ok(Value::Object(push.fields()))
}

impl<'b> Push<'b> {
    /// Reads a body. An error names the field, never its value.
    pub fn read(body: &'b [u8]) -> Result<Self, String> {
        super::read(body)
    }

    /// All contexts; an error if this is not a push as GitHub sends it.
    pub fn contexts(&self) -> Result<Contexts, String> {
        if !self.reference.starts_with("refs/") {
            return Err("ref does not begin with refs/".to_owned());
        }
        if !is_commit(&self.before) || !is_commit(&self.after) {
            return Err("before or after is not a commit id".to_owned());
        }
        let repository = self.repository.as_ref().ok_or("repository is missing")?;
        Contexts::new(Value::Object(self.fields()), repository, self.sender.as_deref())
    }

    /// Can `paths` be decided from the payload alone? Where not, a rule with `paths` runs: once too often is better than never.
    fn files_complete(&self) -> bool {
        let Some(commits) = &self.commits else { return false };
        let listed = commits.len() < LISTED_COMMITS && commits.len() <= COUNTED_COMMITS;
        self.reference.starts_with("refs/heads/")
            && !self.created
            && !self.forced
            && listed
            && commits.iter().all(|commit| commit.files().count() < LISTED_FILES)
    }

    fn commits(&self) -> impl Iterator<Item = &Commit<'b>> {
        self.commits.iter().flatten().map(|commit| &commit.0)
    }

    /// The union over the commits, in order of appearance: a superset of the difference between before and after.
    fn files(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        self.commits().flat_map(Commit::files).filter(|file| seen.insert(*file)).collect()
    }

    fn fields(&self) -> Map<String, Value> {
        let commit = |commit: &Commit<'_>| {
            let author = commit.author.username.as_ref().or(commit.author.name.as_ref());
            json!({ "sha": commit.id, "message": commit.message, "author": author.map_or("", |author| author.0.as_ref()) })
        };
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
        put("ref", Value::from(self.reference.as_ref()));
        if let Some(branch) = self.reference.strip_prefix("refs/heads/") {
            put("branch", Value::from(branch));
        }
        if let Some(tag) = self.reference.strip_prefix("refs/tags/") {
            put("tag", Value::from(tag));
        }
        put("sha", Value::from(self.after.as_ref()));
        put("before", Value::from(self.before.as_ref()));
        put("created", Value::from(self.created));
        put("deleted", Value::from(self.deleted));
        put("forced", Value::from(self.forced));
        put("files", json!(self.files()));
        put("files_complete", Value::from(self.files_complete()));
        put("message", Value::from(self.head_commit.as_ref().map_or("", |commit| commit.message.as_ref())));
        put("commits", Value::Array(self.commits().map(commit).collect()));
        fields
    }
}
