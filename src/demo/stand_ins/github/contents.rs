//! Files of a repository at a commit: directories, files, blobs. And what a pull request changes of them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::answers::{Refusal, refused};
use super::commits::commit_of;
use super::state::{Commit, Repository, State};
use super::{Call, GitHub, Reply, number, repository};
use crate::demo::stand_ins::ledger::lock;

/// Files from this size on are told without their content.
const WITHOUT_CONTENT: usize = 1024 * 1024;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A file with these bytes.
    File(Vec<u8>),
    /// A link to another path.
    Symlink(String),
}

impl Entry {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::File(bytes) => bytes,
            Self::Symlink(target) => target.as_bytes(),
        }
    }

    /// Git's own names are SHA-1; all that matters is that they are named by what they hold.
    fn sha(&self) -> String {
        let mut sha = hex::encode(sha2::Sha256::digest(self.bytes()));
        sha.truncate(40);
        sha
    }
}

impl GitHub {
    /// Adds a commit with what it changes of its first parent's files (`None` removes one), and moves a branch to it.
    pub fn commit_files(&self, repository: &str, branch: &str, sha: &str, parents: &[&str], changes: &[(&str, Option<&str>)]) {
        let changes = changes.iter().map(|(path, text)| (*path, text.map(|text| Entry::File(text.into()))));
        self.commit_entries(repository, branch, sha, parents, changes.collect());
    }

    /// The same with links.
    pub fn commit_entries(
        &self,
        repository: &str,
        branch: &str,
        sha: &str,
        parents: &[&str],
        changes: Vec<(&str, Option<Entry>)>,
    ) {
        let mut state = lock(&self.state);
        let Some(repository) = state.repositories.get_mut(repository) else { return };
        let mut tree = parents.first().and_then(|parent| repository.trees.get(*parent)).cloned().unwrap_or_default();
        for (path, entry) in changes {
            match entry {
                Some(entry) => drop(tree.insert(path.to_owned(), entry)),
                None => drop(tree.remove(path)),
            }
        }
        let commit =
            Commit { parents: parents.iter().map(|parent| (*parent).to_owned()).collect(), message: format!("Commit {sha}") };
        repository.commits.insert(sha.to_owned(), commit);
        repository.branches.insert(branch.to_owned(), sha.to_owned());
        repository.trees.insert(sha.to_owned(), tree);
    }
}

pub(super) fn answer(call: &Call<'_>, state: &mut State, rest: &[&str]) -> Option<Result<Reply, Refusal>> {
    Some(match (call.request.method.as_str(), rest) {
        ("GET", ["contents", path @ ..]) => contents(call, state, &path.join("/")),
        ("GET", ["git", "blobs", sha]) => blob(call, state, sha),
        ("GET", ["pulls", pull, "files"]) => pull_files(call, state, pull),
        _ => return None,
    })
}

fn contents(call: &Call<'_>, state: &mut State, path: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let reference = call.request.parameter("ref").map_or_else(|| repository.default_branch.clone(), str::to_owned);
    let not_found = || refused(404, format!("No commit found for the ref {reference}"));
    let sha = repository.resolve(&reference).ok_or_else(not_found)?;
    let tree = repository.trees.get(&sha).cloned().unwrap_or_default();
    if let Some(entry) = tree.get(path) {
        return Ok(Reply::Ok(shown(call, path, entry, &sha, true)));
    }
    let below = format!("{path}/");
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for (full, entry) in &tree {
        let Some(rest) = full.strip_prefix(&below) else { continue };
        match rest.split_once('/') {
            None => drop(found.insert(full.clone(), shown(call, full, entry, &sha, false))),
            Some((folder, _)) => {
                let path = format!("{below}{folder}");
                let mut shown = shown(call, &path, &Entry::File(path.clone().into()), &sha, false);
                if let Some(fields) = shown.as_object_mut() {
                    fields.insert("type".into(), "dir".into());
                    fields.insert("size".into(), 0.into());
                    fields.insert("download_url".into(), Value::Null);
                }
                found.insert(path, shown);
            }
        }
    }
    if found.is_empty() { Err(refused(404, "Not Found")) } else { Ok(Reply::Ok(found.into_values().collect())) }
}

fn shown(call: &Call<'_>, path: &str, entry: &Entry, commit: &str, whole: bool) -> Value {
    let url = call.api_url(&format!("/contents/{path}?ref={commit}"));
    let (git, html) = (call.api_url(&format!("/git/blobs/{}", entry.sha())), call.html_url(&format!("/blob/{commit}/{path}")));
    let name = path.rsplit('/').next().unwrap_or(path);
    let kind = if matches!(entry, Entry::File(_)) { "file" } else { "symlink" };
    let mut shown = json!({
        "type": kind, "size": entry.bytes().len(), "name": name, "path": path, "sha": entry.sha(), "url": url, "git_url": git,
        "html_url": html, "download_url": html, "_links": { "self": url, "git": git, "html": html },
    });
    let Some(fields) = shown.as_object_mut().filter(|_| whole) else { return shown };
    match entry {
        Entry::File(bytes) if bytes.len() < WITHOUT_CONTENT => {
            fields.insert("encoding".into(), "base64".into());
            fields.insert("content".into(), lines(&STANDARD.encode(bytes)).into());
        }
        Entry::File(_) => {
            fields.insert("encoding".into(), "none".into());
            fields.insert("content".into(), "".into());
        }
        Entry::Symlink(target) => drop(fields.insert("target".into(), target.as_str().into())),
    }
    shown
}

/// GitHub breaks Base64 into lines.
fn lines(text: &str) -> String {
    text.as_bytes().chunks(60).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

fn blob(call: &Call<'_>, state: &mut State, sha: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let entries = repository.trees.values().flat_map(BTreeMap::values);
    let entry = entries.into_iter().find(|entry| entry.sha() == sha).ok_or_else(|| refused(404, "Not Found"))?;
    Ok(Reply::Ok(json!({
        "sha": sha, "node_id": format!("B_{sha}"), "size": entry.bytes().len(), "url": call.api_url(&format!("/git/blobs/{sha}")),
        "content": lines(&STANDARD.encode(entry.bytes())), "encoding": "base64",
    })))
}

/// What the head of a pull request changes of the branch it is for.
fn pull_files(call: &Call<'_>, state: &mut State, pull: &str) -> Result<Reply, Refusal> {
    let repository = repository(call, state)?;
    let head = repository.issues.get(&number(pull)?).cloned().flatten().ok_or_else(|| refused(404, "Not Found"))?;
    let base = commit_of(repository, &repository.default_branch.clone())?;
    let tree = |repository: &Repository, sha: &str| repository.trees.get(sha).cloned().unwrap_or_default();
    let (before, after) = (tree(repository, &base), tree(repository, &head));
    let paths: Vec<&String> = before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))).collect();
    let changed = paths.into_iter().filter_map(|path| {
        let (status, entry) = match (before.get(path), after.get(path)) {
            (Some(one), Some(other)) if one == other => return None,
            (Some(_), Some(entry)) => ("modified", entry),
            (None, Some(entry)) => ("added", entry),
            (Some(entry), None) => ("removed", entry),
            (None, None) => return None,
        };
        Some(json!({
            "sha": entry.sha(), "filename": path, "status": status, "additions": 1, "deletions": 0, "changes": 1,
            "blob_url": call.html_url(&format!("/blob/{head}/{path}")), "raw_url": call.html_url(&format!("/raw/{head}/{path}")),
            "contents_url": call.api_url(&format!("/contents/{path}?ref={head}")),
        }))
    });
    Ok(Reply::List(changed.collect()))
}
