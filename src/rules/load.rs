//! Texts of rule files into the rules that are in force together. For the start, a reload, and a run that goes on with old rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::rules::check::{Checked, Ground, Repository, check};
use crate::rules::compact::compact;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::rules::model::{Offer, Rule, RuleFile, RuleSet};
use crate::rules::overlap::overlaps;

/// Hexadecimal digits of a revision: short enough to read out, long enough not to meet twice.
const REVISION: usize = 16;

/// Rules that can be used, and what should be looked at in them nevertheless.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub set: RuleSet,
    /// Warnings only.
    pub warnings: Vec<Diagnostic>,
}

/// Checks the operator's rule files and puts their rules together; all faults of all files if there is an error among them.
pub fn load(files: &[RuleFile], offer: Option<&Offer>) -> Result<Loaded, Vec<Diagnostic>> {
    put_together(files, &Ground { offer, repository: None }, None)
}

/// The same for the files of a repository, within what it was granted; at most so many rules.
pub fn load_of(
    files: &[RuleFile],
    offer: &Offer,
    repository: Repository<'_>,
    most_rules: Option<usize>,
) -> Result<Loaded, Vec<Diagnostic>> {
    put_together(files, &Ground { offer: Some(offer), repository: Some(repository) }, most_rules)
}

fn put_together(files: &[RuleFile], ground: &Ground<'_>, most_rules: Option<usize>) -> Result<Loaded, Vec<Diagnostic>> {
    let mut checked: Vec<Checked> = files.iter().map(|file| check(&file.path, &file.text, ground)).collect();
    let mut clashes = clashes(files, &checked);
    clashes.extend(most_rules.and_then(|most| too_many(files, &checked, most)));
    let faults: Vec<Diagnostic> =
        checked.iter_mut().flat_map(|file| std::mem::take(&mut file.diagnostics)).chain(clashes).collect();
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    let mut rules: Vec<Rule> = checked.into_iter().flat_map(|file| file.rules).collect();
    compact(&mut rules);
    let rules = rules.into_iter().map(Arc::new).collect();
    Ok(Loaded { set: RuleSet { rules, revision: revision(files) }, warnings: faults })
}

/// The first rule beyond the limit.
pub fn too_many(files: &[RuleFile], checked: &[Checked], most: usize) -> Option<Diagnostic> {
    let mut names = files.iter().zip(checked).flat_map(|(file, checked)| checked.names.iter().map(move |(_, span)| (file, span)));
    let count = names.clone().count();
    let (file, span) = names.nth(most)?;
    let message = format!("{count} rules are more than the {most} that this repository may have");
    let help = "an operator can raise `limits: { rules: … }` of the repository in the server file".to_owned();
    Some(Diagnostic::error(&file.path, "too-many", span.clone(), message).help(help))
}

/// What is wrong between rules, wherever they stand: names are unique over all files, because runs, metrics and concurrency groups
/// go by them; and rules that would answer the same event are pointed out.
pub fn clashes(files: &[RuleFile], checked: &[Checked]) -> Vec<Diagnostic> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut faults = Vec::new();
    for (file, checked) in files.iter().zip(checked) {
        for (name, span) in &checked.names {
            match first.get(name.as_str()) {
                Some(place) if *place != file.path => {
                    let message = format!("there is a rule `{name}` in {place} already");
                    let fault = Diagnostic::error(&file.path, "duplicate-rule", span.clone(), message);
                    faults.push(fault.help("rule names are unique over all files: give this one another name"));
                }
                Some(_) => {}
                None => {
                    first.insert(name, &file.path);
                }
            }
        }
    }
    faults.extend(overlaps(files, checked));
    faults
}

/// Hash over names and texts, independent of nothing else: the same files have the same revision everywhere.
pub fn revision(files: &[RuleFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for part in [file.path.as_bytes(), file.text.as_bytes()] {
            // The length keeps `a` + `bc` apart from `ab` + `c`.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
    }
    let mut revision = hex::encode(hash.finalize());
    revision.truncate(REVISION);
    revision
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, rule: &str) -> RuleFile {
        let text = format!(
            "version: 1\nrules:\n  {rule}:\n    on: {{ github.push: }}\n    steps: [{{ uses: github/comment, with: {{ body: x }} }}]\n"
        );
        RuleFile { path: path.to_owned(), text }
    }

    #[test]
    fn rules_of_all_files_come_in_order() {
        let loaded = load(&[file("a.yaml", "one"), file("b.yaml", "two")], None).expect("nothing is wrong");
        let names: Vec<&str> = loaded.set.rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(loaded.set.rules[1].place, "b.yaml:3");
    }

    #[test]
    fn a_name_in_two_files_is_a_fault() {
        let faults = load(&[file("a.yaml", "one"), file("b.yaml", "one")], None).expect_err("the name clashes");
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].code, faults[0].file.as_str()), ("duplicate-rule", "b.yaml"));
    }

    #[test]
    fn rules_that_would_answer_the_same_event_are_pointed_out() {
        let file = |path: &str, rules: &[(&str, &str, &str)]| {
            let text = rules.iter().map(|(name, intents, condition)| {
                format!("  {name}:\n    on: {{ dialogflow.intent: {{ source: bot{intents} }} }}\n{condition}    reply: {{ text: hello }}\n")
            });
            RuleFile { path: path.to_owned(), text: format!("version: 1\nrules:\n{}", text.collect::<String>()) }
        };
        let warned = |files: &[RuleFile]| {
            let loaded = load(files, None).expect("warnings are no errors");
            loaded.warnings.iter().map(|fault| format!("{} {}", fault.code, fault.message)).collect::<Vec<_>>()
        };
        let (hours, prices) = (", intents: [hours]", ", intents: [prices]");
        assert_eq!(warned(&[file("a.yaml", &[("one", hours, ""), ("two", prices, "")])]), Vec::<String>::new());
        let apart = [file("a.yaml", &[("one", hours, "")]), file("b.yaml", &[("two", "", "")])];
        assert_eq!(warned(&apart), ["overlap `one` (a.yaml:3) can match the same event, and then only its reply is sent"]);
        let shared = "    if: event.confidence > 0.5\n";
        assert_eq!(warned(&[file("a.yaml", &[("one", hours, shared), ("two", hours, "")])]), Vec::<String>::new());
    }

    #[test]
    fn the_revision_depends_on_every_name_and_text() {
        let one = revision(&[file("a.yaml", "one")]);
        assert_eq!(one.len(), REVISION);
        assert_eq!(one, revision(&[file("a.yaml", "one")]));
        assert_ne!(one, revision(&[file("b.yaml", "one")]));
        assert_ne!(one, revision(&[file("a.yaml", "two")]));
    }
}
