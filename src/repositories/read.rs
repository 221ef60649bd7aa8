//! Reads a repository at GitHub: which one it is, where its default branch stands, and its rule files there.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use declic_actions::action::Failure;
use declic_actions::github::GitHub;
use declic_actions::http::Response;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::rules::glob::{GlobSet, Subject};
use crate::rules::model::RuleFile;

/// Files of a repository, and bytes of one, at most.
pub const MOST_FILES: usize = 10;
/// See [`MOST_FILES`].
pub const LARGEST_FILE: u64 = 64 * 1024;

/// Why there is nothing to read.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// GitHub could not answer; later it may.
    Later(Failure),
    /// We may not read it, or there is nothing: the text is for the operator.
    Off(String),
    /// The files cannot be used, whatever is in them: which one, and why.
    Faulty(String, String),
}

impl From<Failure> for Unreadable {
    fn from(failure: Failure) -> Self {
        let why = failure.why();
        let off =
            ["not-found", "not-installed", "not-permitted", "suspended", "redirect", "forbidden"].contains(&why.code.as_str());
        match failure {
            Failure::Final { why } if off => Self::Off(why.message),
            failure => Self::Later(failure),
        }
    }
}

/// `GET /repos/OWNER/NAME`, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Document {
    pub id: i64,
    pub full_name: String,
    pub default_branch: String,
}

/// The default branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Branch {
    pub name: String,
    pub commit: String,
    pub protected: bool,
}

#[derive(Deserialize)]
struct BranchDocument {
    commit: CommitDocument,
    #[serde(default)]
    protected: bool,
}

#[derive(Deserialize)]
struct CommitDocument {
    sha: String,
}

/// One entry of a folder.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    path: String,
    size: u64,
    sha: String,
}

#[derive(Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

/// Reads with a deadline.
pub(super) struct Reader<'a> {
    pub github: &'a GitHub,
    pub deadline: Instant,
}

impl Reader<'_> {
    /// The repository of that name. What was known under an ETag is taken over if it is as it was.
    pub async fn document(&self, name: &str, known: Option<(String, Document)>) -> Result<(String, Document), Unreadable> {
        self.unless(&format!("/repos/{name}"), known, Ok).await
    }

    /// Where its default branch stands.
    pub async fn branch(&self, of: &Document, known: Option<(String, Branch)>) -> Result<(String, Branch), Unreadable> {
        let name = of.default_branch.clone();
        let known = known.filter(|(_, branch)| branch.name == name);
        let path = format!("/repos/{}/branches/{}", of.full_name, escaped(&name));
        let read = |BranchDocument { commit, protected }| {
            let plain = matches!(commit.sha.len(), 40 | 64) && commit.sha.bytes().all(|byte| byte.is_ascii_hexdigit());
            let branch = Branch { name, commit: commit.sha, protected };
            if plain { Ok(branch) } else { Err(Failure::last("bad-answer", "GitHub's answer names no commit")) }
        };
        self.unless(&path, known, read).await
    }

    /// The rule files at a commit, by a pattern such as `.declic/*.yaml`. A folder that is not there has none.
    pub async fn files(&self, name: &str, commit: &str, pattern: &str) -> Result<Vec<RuleFile>, Unreadable> {
        let (folder, _) = pattern.rsplit_once('/').unwrap_or(("", pattern));
        let path = format!("/repos/{name}/contents/{}?ref={commit}", escaped_path(folder));
        let listed: Vec<Listed> = match self.github.get_unless(&path, None, self.deadline).await {
            Ok(Some(answer)) => json(&answer)?,
            Ok(None) => Vec::new(),
            Err(failure) if failure.why().code == "not-found" => return Ok(Vec::new()),
            Err(failure) => return Err(failure.into()),
        };
        let set = GlobSet::compile(&[pattern.to_owned()], Subject::Name)
            .map_err(|_| Unreadable::Off(format!("`files: {pattern}` of the settings is no pattern")))?;
        let mut meant: Vec<Listed> = listed.into_iter().filter(|one| one.kind != "dir" && set.decide(&one.path).0).collect();
        meant.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some(first) = meant.get(MOST_FILES) {
            let why = format!("{} rule files are more than the {MOST_FILES} that a repository may have", meant.len());
            return Err(Unreadable::Faulty(first.path.clone(), why));
        }
        let mut files = Vec::with_capacity(meant.len());
        for one in meant {
            files.push(self.file(name, one).await?);
        }
        Ok(files)
    }

    async fn file(&self, name: &str, one: Listed) -> Result<RuleFile, Unreadable> {
        let Listed { kind, path, size, sha, .. } = one;
        let faulty = |why: String| Err(Unreadable::Faulty(path.clone(), why));
        if kind != "file" {
            return faulty(format!("it is a {kind}, and rules are read from files only"));
        }
        if size > LARGEST_FILE {
            return faulty(format!("{size} bytes are more than the {LARGEST_FILE} that a rule file of a repository may have"));
        }
        let answer = self.github.get_unless(&format!("/repos/{name}/git/blobs/{}", escaped(&sha)), None, self.deadline).await?;
        let blob: Blob = json(&answer.ok_or_else(unasked)?)?;
        let text = decoded(&blob).and_then(|bytes| String::from_utf8(bytes).ok());
        match text {
            Some(text) => Ok(RuleFile { path, text }),
            None => faulty("it is not UTF-8 text".to_owned()),
        }
    }

    /// The text of one file at a commit; `None` if there is none.
    pub async fn text(&self, name: &str, commit: &str, path: &str) -> Result<Option<String>, Unreadable> {
        let address = format!("/repos/{name}/contents/{}?ref={commit}", escaped_path(path));
        match self.github.get_unless(&address, None, self.deadline).await {
            Ok(answer) => {
                let blob: Blob = json(&answer.ok_or_else(unasked)?)?;
                Ok(decoded(&blob).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(failure) if failure.why().code == "not-found" => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn unless<T: DeserializeOwned, K: Clone>(
        &self,
        path: &str,
        known: Option<(String, K)>,
        read: impl FnOnce(T) -> Result<K, Failure>,
    ) -> Result<(String, K), Unreadable> {
        let etag = known.as_ref().map(|(etag, _)| etag.as_str());
        match (self.github.get_unless(path, etag, self.deadline).await?, known) {
            (Some(answer), _) => {
                let etag = answer.header("etag").unwrap_or_default().to_owned();
                Ok((etag, read(json(&answer)?)?))
            }
            (None, Some(known)) => Ok(known),
            (None, None) => Err(unasked().into()),
        }
    }
}

fn unasked() -> Failure {
    Failure::retry("bad-answer", "GitHub answered that nothing changed without having been asked that")
}

/// What GitHub answers in another form than its own may be a proxy in between: later it may be better.
pub(super) fn json<T: DeserializeOwned>(answer: &Response) -> Result<T, Failure> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Failure::retry("bad-answer", format!("GitHub's answer is not in its form (line {})", error.line())))
}

fn decoded(blob: &Blob) -> Option<Vec<u8>> {
    if blob.encoding != "base64" {
        return None;
    }
    let text: String = blob.content.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    STANDARD.decode(text).ok()
}

/// Text as one segment of a path.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn escaped_path(path: &str) -> String {
    path.split('/').map(escaped).collect::<Vec<_>>().join("/")
}
