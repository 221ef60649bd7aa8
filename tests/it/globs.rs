//! Filter patterns mean what they mean on GitHub: the vectors, their faults, and a second matcher that knows no regular expressions.

use declic::rules::glob::{GlobSet, Subject};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::vectors;

fn compile(patterns: &[&str], subject: Subject) -> Result<GlobSet, Vec<declic::rules::glob::GlobFault>> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    GlobSet::compile(&patterns, subject)
}

fn texts(case: &Value, key: &str) -> Vec<String> {
    case[key].as_array().expect(key).iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn globs_decide_as_github_does_for_all_vectors() {
    let Some(file) = vectors("_github-actions-globs.json") else { return };
    let cases = file["cases"].as_array().expect("cases");
    for case in cases {
        let (patterns, inputs) = (texts(case, "patterns"), texts(case, "inputs"));
        // No patterns: the workflow has no filter, and neither would the rule.
        let set = match patterns.as_slice() {
            [] => None,
            _ => Some(GlobSet::compile(&patterns, Subject::Name).unwrap_or_else(|faults| panic!("{case}: {faults:?}"))),
        };
        let matched = |input: &String| set.as_ref().is_none_or(|set| set.decide(input).0);
        assert_eq!(set.is_none() || inputs.iter().any(matched), case["include_runs"].as_bool().expect("include_runs"), "{case}");
        // An ignore list is not of our language. It leaves out what any of its patterns covers; `!x` covers all but `x`.
        let covers = |pattern: &str, input: &str| {
            let list = if pattern.starts_with('!') { vec!["**", pattern] } else { vec![pattern] };
            compile(&list, Subject::Name).expect("compiled before").decide(input).0
        };
        if let Some(ignore_runs) = case["ignore_runs"].as_bool() {
            let ignored = |input: &String| patterns.iter().any(|pattern| covers(pattern, input));
            assert_eq!(patterns.is_empty() || !inputs.iter().all(ignored), ignore_runs, "{case}");
        }
    }
    println!("{} cases", cases.len());
}

#[test]
fn the_pattern_that_decided_is_named() {
    let set = compile(&["services/**", "Cargo.lock", "!**/*.md", "services/keep.md"], Subject::Path).expect("compiles");
    assert_eq!(set.decide("services/web/a.rs"), (true, Some("services/**")));
    assert_eq!(set.decide("services/README.md"), (false, Some("!**/*.md")));
    assert_eq!(set.decide("services/keep.md"), (true, Some("services/keep.md")));
    assert_eq!(set.decide("README"), (false, None));
    assert_eq!(set.names(), None);
    assert_eq!(compile(&["acme/web", "acme/api"], Subject::Name).expect("compiles").names(), Some(vec!["acme/web", "acme/api"]));
}

#[test]
fn a_faulty_pattern_says_what_to_write() {
    let check = |pattern: &str, subject: Subject, message: &str, help: &str| {
        let faults = compile(&["ok", pattern], subject).expect_err(pattern);
        let fault = faults.first().expect("a fault");
        assert_eq!((faults.len(), fault.index, fault.whole_list), (1, 1, false), "{pattern}");
        assert!(pattern.get(fault.span.clone()).is_some(), "{pattern}: {fault:?}");
        assert!(fault.message.contains(message), "{pattern}: {}", fault.message);
        assert!(fault.help.as_deref().unwrap_or("").contains(help), "{pattern}: {:?}", fault.help);
    };
    check("./src/**", Subject::Path, "paths start at the root of the repository, without `/` or `./`", "write `src/**`");
    check("/src/**", Subject::Path, "paths start at the root", "write `src/**`");
    check("docs/", Subject::Path, "never ends in `/`", "write `docs/**`");
    check("../x", Subject::Path, "never contains `..`", "root");
    check("v[9-1]", Subject::Path, "the range 9-1 runs backwards", "");
    check("v[a-9]", Subject::Path, "is none", "");
    check("v[!a]", Subject::Path, "only letters, digits and ranges", "none of these");
    check("v[]", Subject::Path, "lists no character", "");
    check("v[ab", Subject::Path, "the `]` is missing", "\\[");
    check("?x", Subject::Path, "there is none", "`*`");
    check("a*+", Subject::Path, "there is none", "\\+");
    check("a\\", Subject::Path, "nothing follows", "\\\\");
    check("", Subject::Path, "is empty", "");
    check("!", Subject::Path, "is empty", "");
    check("^src/.*$", Subject::Path, "without `^` and `$`", "this is a glob, not a regular expression");
    check("src/(a|b)/**", Subject::Path, "(a|b)", "glob");
    check("v\\d+", Subject::Tag, "`\\d` has no meaning", "glob");
    check(
        "^release/.*$",
        Subject::Branch,
        "a branch name never contains `^`",
        "this is a glob, not a regular expression: * stays within one /, ** crosses it",
    );
    check("release/.*", Subject::Branch, "begins with `.`", "glob");
    check("refs/heads/main", Subject::Branch, "without `refs/heads/`", "write `main`");
    check("refs/tags/v*", Subject::Tag, "without `refs/tags/`", "write `v*`");
    check("refs/tags/v*", Subject::Branch, "without `refs/tags/`", "tags: [\"v*\"]");
    check(&"a".repeat(1001), Subject::Name, "at most 1000 bytes", "");
}

#[test]
fn a_list_that_lets_nothing_in_is_refused() {
    let faults = compile(&["!v1*"], Subject::Tag).expect_err("only excluding");
    assert_eq!(faults.len(), 1);
    assert!(faults[0].whole_list);
    assert_eq!(faults[0].message, "only excluding patterns: nothing would ever match");
    assert_eq!(faults[0].help.as_deref(), Some("put what to include first: tags: [\"**\", \"!v1*\"]"));
    assert!(compile(&[], Subject::Branch).expect_err("empty")[0].whole_list);
    assert_eq!(
        compile(&["a[", "ok", "?b"], Subject::Name).expect_err("two").iter().map(|fault| fault.index).collect::<Vec<_>>(),
        [0, 2]
    );
}

/// Does the pattern (without `!`) match the whole input? Tries every way, character by character.
fn slow(pattern: &[char], input: &[char]) -> bool {
    let any_tail = |rest: &[char], keep: &dyn Fn(&[char]) -> bool| {
        (0..=input.len()).any(|cut| keep(&input[..cut]) && slow(rest, &input[cut..]))
    };
    match pattern {
        [] => input.is_empty(),
        ['*', '*', '/', rest @ ..] => slow(rest, input) || any_tail(rest, &|taken| taken.len() > 1 && taken.last() == Some(&'/')),
        ['*', '*', rest @ ..] => any_tail(rest, &|_| true),
        ['*', rest @ ..] => any_tail(rest, &|taken| !taken.contains(&'/')),
        _ => {
            let (one, rest): (Box<dyn Fn(char) -> bool>, &[char]) = match pattern {
                ['\\', escaped, rest @ ..] => (Box::new(move |c| c == *escaped), rest),
                ['[', low, '-', high, ']', rest @ ..] => (Box::new(move |c| (*low..=*high).contains(&c)), rest),
                [plain, rest @ ..] => (Box::new(move |c| c == *plain), rest),
                [] => return false,
            };
            match rest {
                ['?', rest @ ..] => slow(rest, input) || input.split_first().is_some_and(|(c, tail)| one(*c) && slow(rest, tail)),
                ['+', rest @ ..] => any_tail(rest, &|taken| !taken.is_empty() && taken.iter().all(|c| one(*c))),
                rest => input.split_first().is_some_and(|(c, tail)| one(*c) && slow(rest, tail)),
            }
        }
    }
}

proptest! {
    #[test]
    fn a_name_without_signs_matches_itself_and_nothing_longer(name in "[a-zA-Z0-9_ü-][a-zA-Z0-9_ü/-]{0,20}") {
        let set = compile(&[&name], Subject::Name).expect("a plain name");
        prop_assert_eq!(set.decide(&name), (true, Some(name.as_str())));
        let longer = format!("{}x", name);
        prop_assert!(!set.decide(&longer).0);
    }

    #[test]
    fn any_pattern_is_compiled_or_refused_but_never_panics(patterns in prop::collection::vec(".{0,12}", 0..4), input in ".{0,12}") {
        for subject in [Subject::Branch, Subject::Tag, Subject::Path, Subject::Name] {
            match GlobSet::compile(&patterns, subject) {
                Ok(set) => { set.decide(&input); }
                Err(faults) => prop_assert!(faults.iter().all(|fault| fault.whole_list || patterns[fault.index].get(fault.span.clone()).is_some())),
            }
        }
    }

    #[test]
    fn a_matcher_without_regular_expressions_agrees(pattern in r"(\*|\*\*|\*\*/|[a-c./]|[a-c][?+]|\[a-b\]|\[a-b\]\+|\\\*){1,6}", input in "[a-c./*]{0,8}") {
        if let Ok(set) = compile(&[&pattern], Subject::Name) {
            let characters: Vec<char> = pattern.chars().collect();
            let expected = slow(&characters, &input.chars().collect::<Vec<_>>());
            prop_assert_eq!(set.decide(&input).0, expected, "{} on {}", pattern, input);
        }
    }
}
