//! Rules that could both answer the same event: only the first one's reply is sent, which is seldom what was meant.

use crate::rules::check::Checked;
use crate::rules::diagnostic::Diagnostic;
use crate::rules::glob::GlobSet;
use crate::rules::model::{Filter, FilterTest, Rule, RuleFile, Trigger};

/// A warning for each rule with a reply that an earlier one may always be faster than. Rules with an `if` are left out: they are
/// how one event is shared out between several rules, and whether two conditions can both hold is not for a checker to know.
pub fn overlaps(files: &[RuleFile], checked: &[Checked]) -> Vec<Diagnostic> {
    let mut answering: Vec<&Rule> = Vec::new();
    let mut faults = Vec::new();
    for (file, checked) in files.iter().zip(checked) {
        let rules = checked.rules.iter().filter(|rule| rule.enabled && rule.reply.is_some() && rule.condition.is_none());
        for rule in rules {
            if let Some(first) = answering.iter().find(|first| both(first, rule))
                && let Some((_, span)) = checked.names.iter().find(|(name, _)| *name == rule.name)
            {
                let message =
                    format!("`{}` ({}) can match the same event, and then only its reply is sent", first.name, first.place);
                let fault = Diagnostic::error(&file.path, "overlap", span.clone(), message).warning();
                faults.push(fault.help("narrow one of them by its filters, or by an `if`"));
            }
            answering.push(rule);
        }
    }
    faults
}

fn both(one: &Rule, other: &Rule) -> bool {
    one.triggers.iter().any(|one| other.triggers.iter().any(|other| meet(one, other)))
}

fn meet(one: &Trigger, other: &Trigger) -> bool {
    one.event == other.event
        && one.source == other.source
        && one.filters.iter().all(|filter| {
            let same = other.filters.iter().find(|other| other.name == filter.name);
            same.is_none_or(|other| can_both_hold(filter, other))
        })
}

/// Lists of words and of names without patterns can be compared; anything else may overlap.
fn can_both_hold(one: &Filter, other: &Filter) -> bool {
    match (words(&one.test), words(&other.test)) {
        (Some(one), Some(other)) => one.iter().any(|word| other.contains(word)),
        _ => true,
    }
}

fn words(test: &FilterTest) -> Option<Vec<&str>> {
    match test {
        FilterTest::In(words) => Some(words.iter().map(String::as_str).collect()),
        FilterTest::Is(word) => Some(vec![word]),
        FilterTest::Glob(set) => GlobSet::names(set),
        FilterTest::AnyGlob(_) | FilterTest::AnyIn(_) | FilterTest::Flag(_) => None,
    }
}
