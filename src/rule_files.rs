//! Rule files on disk: which ones a pattern means, and their texts.

use std::fs;
use std::path::{Path, PathBuf};

use crate::rules::diagnostic::Diagnostic;
use crate::rules::glob::{GlobSet, Subject};
use crate::rules::model::RuleFile;

/// Deeper folders are not looked into: a pattern that reaches further is a mistake, or a loop of links.
const DEEPEST: usize = 16;

/// Largest file that is read, in bytes; the checker has the real limits and says them with a place.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The files that a path means, sorted: a file itself, the `*.yaml`, `*.yml` and `*.json` of a folder, or what matches a glob (`rules/*.yaml`).
/// The paths begin as the pattern begins. It is an error if there are none.
pub fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    if path.is_file() {
        return Ok(vec![path]);
    }
    if path.is_dir() {
        let mut files = Vec::new();
        walk(&path, 1, &mut files)?;
        files.retain(|file| is_rule_file(file));
        return found(files, pattern, "there is no .yaml file in this folder");
    }
    if !pattern.contains(['*', '?', '[', '+']) {
        return Err(format!("{pattern}: there is no such file or folder"));
    }
    let set = GlobSet::compile(&[pattern.to_owned()], Subject::Name).map_err(|faults| {
        faults.first().map_or_else(|| format!("{pattern}: not a pattern"), |fault| format!("{pattern}: {}", fault.message))
    })?;
    let mut files = Vec::new();
    walk(&folder.join(literal_prefix(pattern)), DEEPEST, &mut files)?;
    files.retain(|file| file.strip_prefix(folder).unwrap_or(file).to_str().is_some_and(|name| set.decide(name).0));
    found(files, pattern, "no file matches this pattern")
}

/// A file that was looked for and is there.
#[derive(Debug)]
pub struct Found {
    /// Its name, and as much of its text as can be shown.
    pub file: RuleFile,
    /// Why it cannot be read.
    pub unreadable: Option<Diagnostic>,
}

impl Found {
    /// From what reading it gave.
    pub fn new(path: String, read: Result<Vec<u8>, String>) -> Self {
        let (text, unreadable) = match read.map(String::from_utf8) {
            Ok(Ok(text)) => (text, None),
            Ok(Err(error)) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                (text, Some((at, "this is not UTF-8 text".to_owned())))
            }
            Err(why) => (String::new(), Some((0, why))),
        };
        let unreadable = unreadable.map(|(at, why)| Diagnostic::error(&path, "unreadable", at..at, why));
        Self { file: RuleFile { path, text }, unreadable }
    }

    /// The file, if it could be read.
    pub fn readable(self) -> Result<RuleFile, String> {
        match self.unreadable {
            None => Ok(self.file),
            Some(fault) => Err(format!("{}: {}", self.file.path, fault.message)),
        }
    }
}

/// The texts of all files that the patterns mean, each once, in the order of the patterns.
pub fn read(folder: &Path, patterns: &[String]) -> Result<Vec<RuleFile>, String> {
    find(folder, patterns)?.into_iter().map(Found::readable).collect()
}

/// The same with those that cannot be read.
pub fn find(folder: &Path, patterns: &[String]) -> Result<Vec<Found>, String> {
    let mut files: Vec<Found> = Vec::new();
    for pattern in patterns {
        for path in expand(folder, pattern)? {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if !files.iter().any(|found| found.file.path == name) {
                files.push(Found::new(name, bytes(&path)));
            }
        }
    }
    Ok(files)
}

/// A file's text, or why there is none.
pub fn text(path: &Path) -> Result<String, String> {
    Found::new(path.to_string_lossy().into_owned(), bytes(path)).readable().map(|file| file.text)
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > LARGEST {
        return Err(format!("{size} bytes are too many for a rule file"));
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// What to watch, and whether with the folders below: each folder that a pattern reaches into. Where `busy` lies, which changes all the time,
/// only the files are watched: every write to the store beside them would wake us.
pub fn watched(folder: &Path, patterns: &[String], busy: Option<&Path>) -> Vec<(PathBuf, bool)> {
    let mut watched = Vec::new();
    for pattern in patterns {
        let prefix = literal_prefix(pattern);
        let path = folder.join(prefix);
        let inner = here(if path.is_dir() { &path } else { path.parent().unwrap_or(Path::new("")) }).to_owned();
        let below = pattern.get(prefix.len()..).is_some_and(|rest| rest.contains('/') || rest.contains("**"));
        if busy.is_some_and(|busy| holds(&inner, below, busy)) {
            let files = expand(folder, pattern).unwrap_or_default();
            watched.extend(files.into_iter().map(|file| (file, false)));
        } else if inner.is_dir() {
            watched.push((inner, below));
        }
    }
    watched.sort();
    watched.dedup();
    watched
}

/// The system does not know the folder without a name, in which we are.
fn here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Does the file lie in the folder, or somewhere below it?
fn holds(folder: &Path, below: bool, file: &Path) -> bool {
    let around = here(file.parent().unwrap_or(Path::new("")));
    let (Ok(folder), Ok(around)) = (folder.canonicalize(), around.canonicalize()) else { return false };
    folder == around || below && around.starts_with(&folder)
}

fn found(mut files: Vec<PathBuf>, pattern: &str, none: &str) -> Result<Vec<PathBuf>, String> {
    files.sort();
    if files.is_empty() { Err(format!("{pattern}: {none}")) } else { Ok(files) }
}

fn is_rule_file(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| matches!(extension, "yaml" | "yml" | "json"))
}

/// The folders of a pattern before its first special character: `rules/` of `rules/*.yaml`.
fn literal_prefix(pattern: &str) -> &str {
    let special = pattern.find(['*', '?', '[', '+', '!']).unwrap_or(pattern.len());
    if special == pattern.len() {
        return pattern;
    }
    pattern.get(..special).and_then(|head| head.rfind('/')).and_then(|slash| pattern.get(..=slash)).unwrap_or("")
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    let entries = match fs::read_dir(here(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    for entry in entries {
        let name = entry.map_err(|error| format!("{}: {error}", folder.display()))?.file_name();
        let path = folder.join(name);
        if path.is_dir() {
            walk(&path, depth, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
