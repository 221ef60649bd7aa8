//! Pull requests that change rule files: what is wrong with them, what their tests say, what they ask for, and what they would have done.
//!
//! Nothing of a pull request is ever in force. Texts from it are shown as code, so that nobody is mentioned by them.

use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Document, Reader, Unreadable, json as read_json};
use super::{Repositories, id_of, set};
use crate::event::Event;
use crate::rules::check::{Checked, Ground, Repository, check};
use crate::rules::diagnostic::{Diagnostic, Severity, position};
use crate::rules::glob::{GlobSet, Subject};
use crate::rules::load::{clashes, too_many};
use crate::rules::model::{Rule, RuleFile, RuleSet};
use crate::rules::requested::{Request, requested};
use crate::rules::testing;
use crate::settings::RepositorySettings;

/// A hundred files a page; of a pull request with more only these are looked at.
const PAGES: usize = 10;
/// Lines of a list in the summary.
const MOST_LINES: usize = 50;

/// What there is to say about a pull request.
#[derive(Debug)]
pub struct Review {
    /// `owner/name`
    pub repository: String,
    /// Its head.
    pub sha: String,
    /// Can its rules be used, and do its tests pass?
    pub passed: bool,
    /// One line.
    pub title: String,
    /// Markdown.
    pub summary: String,
    /// `{path, line, end-line, level, message, title}`.
    pub annotations: Vec<Value>,
    /// The rules as they would be, for holding them against what was recorded; none if they are wrong, or if a stranger wrote them.
    pub rules: Option<RuleSet>,
}

#[derive(Deserialize)]
struct Changed {
    filename: String,
    previous_filename: Option<String>,
}

impl Repositories {
    /// Is it a pull request of a repository that may bring rules, with commits that were not looked at?
    pub fn reviews(&self, event: &Event) -> bool {
        let action = event.event.get("action").and_then(Value::as_str).unwrap_or_default();
        event.kind == "github.pull_request"
            && matches!(action, "opened" | "reopened" | "synchronize" | "ready_for_review")
            && id_of(event).is_some_and(|id| self.granted.contains_key(&id))
    }

    /// `None`: it changes no rule file. The error says why it cannot be looked at.
    pub async fn review(&self, event: &Event, deadline: Instant) -> Result<Option<Review>, String> {
        let text = |pointer: &str| event.event.pointer(pointer).and_then(Value::as_str);
        let one = id_of(event).and_then(|id| self.granted.get(&id));
        let (Some(one), Some(name), Some(sha)) = (one, event.repository(), text("/head/sha")) else { return Ok(None) };
        let Some(number) = event.event.get("number").and_then(Value::as_u64) else { return Ok(None) };
        let reader = Reader { github: &self.github, deadline };
        let read = async {
            let (_, document) = reader.document(name, None).await?;
            self.still_granted(one, &document)?;
            if !touches(&reader, &document, number, &one.files).await? {
                return Ok(None);
            }
            match reader.files(&document.full_name, sha, &one.files).await {
                Ok(files) => Ok(Some((document, files, Vec::new()))),
                Err(Unreadable::Faulty(path, why)) => {
                    let fault = Diagnostic::error(&path, "file", 0..0, why);
                    Ok(Some((document, Vec::new(), vec![fault])))
                }
                Err(other) => Err(other),
            }
        };
        let fork = event.event.get("fork") == Some(&Value::Bool(true));
        match read.await {
            Ok(None) => Ok(None),
            Ok(Some((document, files, faults))) => Ok(Some(self.reviewed(one, document, sha, &files, faults, fork))),
            Err(Unreadable::Off(why) | Unreadable::Faulty(_, why)) => Err(why),
            Err(Unreadable::Later(failure)) => Err(failure.why().message.clone()),
        }
    }

    fn reviewed(
        &self,
        one: &RepositorySettings,
        document: Document,
        sha: &str,
        files: &[RuleFile],
        mut faults: Vec<Diagnostic>,
        fork: bool,
    ) -> Review {
        let name = document.full_name;
        let ground = Ground { offer: Some(&self.offer), repository: Some(Repository { name: &name, grant: &one.grant }) };
        let checked: Vec<Checked> = files.iter().map(|file| check(&file.path, &file.text, &ground)).collect();
        faults.extend(checked.iter().flat_map(|file| file.diagnostics.iter().cloned()));
        faults.extend(clashes(files, &checked));
        faults.extend(one.max_rules.and_then(|most| too_many(files, &checked, most)));
        let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        let rules: usize = checked.iter().map(|file| file.names.len()).sum();
        let tests = self.tests(checked);
        let failed = tests.iter().filter(|(_, differences)| !differences.is_empty()).count();
        let granted = Ground { repository: None, ..ground };
        let all: Vec<Rule> = files.iter().flat_map(|file| check(&file.path, &file.text, &granted).rules).collect();
        let requests = requested(all.iter(), &one.grant);

        let title = match (errors, failed) {
            (0, 0) => format!("{}, {} passed", counted(rules, "rule"), counted(tests.len(), "test")),
            (0, failed) => format!("{} of {} failed", failed, counted(tests.len(), "test")),
            (errors, _) => counted(errors, "fault"),
        };
        let mut summary = String::new();
        section(&mut summary, "Faults", faults.iter().map(|fault| line_of(fault, files)));
        section(&mut summary, "Tests", tests.iter().flat_map(|(name, differences)| test_lines(name, differences)));
        section(&mut summary, "Requested and granted", requests.iter().map(request_line));
        if fork {
            summary
                .push_str("\nIt comes from a fork: what its rules would have done with recorded deliveries is not told here.\n");
        }
        let rules = (errors == 0 && !fork).then(|| set::load(files, one, &name, sha, &self.offer).ok()).flatten();
        let annotations = faults.iter().map(|fault| annotation(fault, files)).collect();
        Review { repository: name, sha: sha.to_owned(), passed: errors + failed == 0, title, summary, annotations, rules }
    }

    /// Each test against the rules of its file, and how it differs from what it expects.
    fn tests(&self, checked: Vec<Checked>) -> Vec<(String, Vec<String>)> {
        let mut tests = Vec::new();
        for Checked { rules, cases, .. } in checked {
            let set = Arc::new(RuleSet { rules: rules.into_iter().map(Arc::new).collect(), revision: String::new() });
            tests.extend(
                cases.into_iter().map(|case| (case.name.clone(), testing::run(&case, &set, Some(&self.offer)).differences)),
            );
        }
        tests
    }

    /// Is that a place in one of the repository's rule files?
    pub fn is_place_of(&self, event: &Event, place: &str) -> bool {
        let one = id_of(event).and_then(|id| self.granted.get(&id));
        let path = place.rsplit_once(':').map_or(place, |(path, _)| path);
        one.is_some_and(|one| matching(&one.files).is_some_and(|set| set.decide(path).0))
    }
}

/// Does it change, add, remove or rename a rule file?
async fn touches(reader: &Reader<'_>, document: &Document, number: u64, pattern: &str) -> Result<bool, Unreadable> {
    let Some(set) = matching(pattern) else { return Ok(false) };
    for page in 1..=PAGES {
        let path = format!("/repos/{}/pulls/{number}/files?per_page=100&page={page}", document.full_name);
        let Some(answer) = reader.github.get_unless(&path, None, reader.deadline).await? else { return Ok(false) };
        let files: Vec<Changed> = read_json(&answer)?;
        let fits = |one: &Changed| std::iter::once(&one.filename).chain(&one.previous_filename).any(|path| set.decide(path).0);
        if files.iter().any(fits) {
            return Ok(true);
        }
        if files.len() < 100 {
            break;
        }
    }
    Ok(false)
}

fn matching(pattern: &str) -> Option<GlobSet> {
    GlobSet::compile(&[pattern.to_owned()], Subject::Name).ok()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A heading and a list, if there is anything in it; bounded.
pub fn section(text: &mut String, heading: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    text.push_str(&format!("\n### {heading}\n\n"));
    for line in lines.by_ref().take(MOST_LINES) {
        text.push_str(&format!("- {line}\n"));
    }
    let more = lines.count();
    if more > 0 {
        text.push_str(&format!("- … and {more} more\n"));
    }
}

/// Text that an outsider may have chosen, as code: nothing in it means anything.
pub fn code(text: &str) -> String {
    let plain: String = text.chars().map(|letter| if letter == '`' || letter.is_control() { '\'' } else { letter }).collect();
    format!("`{}`", plain.chars().take(300).collect::<String>())
}

fn line_of(fault: &Diagnostic, files: &[RuleFile]) -> String {
    let (line, _) = position(text_of(fault, files), fault.span.start);
    let help = fault.help.as_ref().map(|help| format!(" ({})", code(help))).unwrap_or_default();
    format!("{}: {}{help}", code(&format!("{}:{line}", fault.file)), code(&fault.message))
}

fn test_lines(name: &str, differences: &[String]) -> Vec<String> {
    if differences.is_empty() {
        return vec![format!("passed: {}", code(name))];
    }
    differences.iter().map(|difference| format!("**failed**: {}: {}", code(name), code(difference))).collect()
}

fn request_line(Request { what, name, granted }: &Request) -> String {
    format!("{what} {}: {}", code(name), if *granted { "granted" } else { "**not granted**" })
}

fn annotation(fault: &Diagnostic, files: &[RuleFile]) -> Value {
    let text = text_of(fault, files);
    let (line, _) = position(text, fault.span.start);
    let (end, _) = position(text, fault.span.end);
    let message = match &fault.help {
        Some(help) => format!("{}\n{help}", fault.message),
        None => fault.message.clone(),
    };
    let level = if fault.severity == Severity::Error { "failure" } else { "warning" };
    json!({ "path": fault.file, "line": line, "end-line": end, "level": level, "message": message, "title": fault.code })
}

fn text_of<'f>(fault: &Diagnostic, files: &'f [RuleFile]) -> &'f str {
    files.iter().find(|file| file.path == fault.file).map_or("", |file| file.text.as_str())
}
