//! Credentials that stand in a text: in addresses, behind names, or known by how they look.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::HIDDEN;

/// What is hidden wherever it stands, for people.
pub const KINDS: &[&str] = &[
    "user and password of an address: https://USER:PASSWORD@host/",
    "parameters of an address with the name of a hidden field, or named sig, key, code, auth or jwt",
    "paths of incoming webhooks of Slack and Discord",
    "what follows Bearer or Basic",
    "tokens of GitHub, Slack, Google, AWS and Stripe, and JSON Web Tokens",
    "NAME=VALUE with the name of a hidden field",
];

/// Parameters of addresses that hold a credential under a name too short to look for elsewhere.
const PARAMETERS: &[&str] = &["sig", "key", "code", "auth", "jwt"];

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant that is a pattern")
}

/// Up to the end of the address's authority; a path may have an `@` of its own.
static USER: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*://)[^\s/?#@<>]+@"));
static PARAMETER: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(?P<before>[?&])(?P<name>[A-Za-z]+)=[^\s&#"'<>]+"#));
static WEBHOOK: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?P<host>https://(?:hooks\.slack\.com/[a-z]+/|discord(?:app)?\.com/api/webhooks/))[^\s?#"'<>]+"#)
});
static SCHEME: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(?P<scheme>bearer|basic)[ \t]+[A-Za-z0-9._~+/\-]{8,}=*"));
static KNOWN: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[a-z]-[A-Za-z0-9\-]{10,}|ya29\.[A-Za-z0-9_\-]{10,}|AIza[A-Za-z0-9_\-]{30,}|AKIA[0-9A-Z]{16}|sk_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{10,}|eyJ[A-Za-z0-9_\-]+\.eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+)",
    )
});
/// What stands before a value in a text for people: `name=`.
static SET: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?P<name>[A-Za-z0-9_.\-]+)="));
/// The same in one for programs: also `name: `, `"name": `, `<name>`.
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(?P<name>[A-Za-z0-9_.\-]+)(?:["']?[ \t]*[=:][ \t]*|>)"#));

/// A text without its credentials. `hides` says which names hide what is behind them.
pub(super) fn without(text: &str, hides: impl Fn(&str) -> bool) -> String {
    let text = anywhere(text);
    behind(&SET, &text, hides)
}

/// The same of a text that is written for programs: names and values in it are what they look like.
pub(super) fn without_assigned(text: &str, hides: impl Fn(&str) -> bool) -> String {
    let text = anywhere(text);
    behind(&ASSIGNED, &text, hides)
}

fn anywhere(text: &str) -> String {
    let text = USER.replace_all(text, format!("${{scheme}}{HIDDEN}@"));
    let text = WEBHOOK.replace_all(&text, format!("${{host}}{HIDDEN}"));
    let text = PARAMETER.replace_all(&text, |found: &Captures<'_>| {
        let (before, name) = (&found["before"], &found["name"]);
        if PARAMETERS.contains(&name.to_ascii_lowercase().as_str()) {
            format!("{before}{name}={HIDDEN}")
        } else {
            found[0].to_owned()
        }
    });
    let text = SCHEME.replace_all(&text, format!("${{scheme}} {HIDDEN}"));
    KNOWN.replace_all(&text, HIDDEN).into_owned()
}

/// Values are looked through themselves, unless they are hidden.
fn behind(pattern: &Regex, text: &str, hides: impl Fn(&str) -> bool) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((whole, name)) = pattern.captures(rest).and_then(|found| Some((found.get(0)?, found.name("name")?.as_str()))) {
        let hidden = hides(name);
        let (before, after) = rest.split_at(whole.end());
        shown.push_str(before);
        rest = after;
        let length = value(rest);
        if hidden && length > 0 {
            shown.push_str(HIDDEN);
            rest = rest.split_at(length).1;
        }
    }
    shown + rest
}

/// Bytes of a value: in quotes with what is in them, else up to what ends it.
fn value(text: &str) -> usize {
    let ends = |letter: char| letter.is_whitespace() || "\"'&;,#<>".contains(letter);
    let Some(quoted) = text.strip_prefix('"') else { return text.find(ends).unwrap_or(text.len()) };
    let mut escaped = false;
    let close = quoted.find(|letter: char| {
        let closes = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        closes
    });
    close.map_or(text.len(), |close| close + 2)
}
