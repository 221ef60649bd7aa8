//! The frame of every page, and the parts that pages share.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::access::{Admitted, Role};
use crate::clock::Timestamp;
use crate::matching::{Check, Trace, Verdict};
use crate::rules::expr::Reason;

/// A page before it is framed.
pub(super) struct Page {
    /// What it is about: the title of the window, and what a screen reader says first.
    pub title: String,
    /// Entry of the navigation that it belongs to.
    pub section: &'static str,
    /// Does it follow what happens?
    pub live: bool,
    /// Inside of `main`.
    pub body: Markup,
}

/// The navigation: path and name.
const SECTIONS: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/deliveries", "Deliveries"),
    ("/runs", "Runs"),
    ("/deployed", "Deployed"),
    ("/rules", "Rules"),
    ("/playground", "Playground"),
    ("/backtest", "Backtest"),
    ("/dead", "Dead runs"),
    ("/sources", "Sources"),
    ("/audit", "Audit log"),
];

/// A whole document. `admitted` is none for those who have to sign in first.
pub(super) fn document(page: &Page, admitted: Option<&Admitted>, version: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Declic" }
                link rel="stylesheet" href={ "/assets/console.css?v=" (version) };
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                script src={ "/assets/console.js?v=" (version) } defer {}
            }
            body {
                a class="skip" href="#main" { "Skip to the content" }
                header class="top" {
                    div {
                        a class="brand" href="/" { "Declic" }
                        @if let Some(admitted) = admitted { (navigation(page.section, admitted)) }
                    }
                }
                main id="main" tabindex="-1" data-live[page.live] { (page.body) }
                p id="status" class="hidden" role="status" {}
                p id="lost" class="notice wait" role="alert" hidden { "The connection was lost. What is shown may be old; it is tried again." }
            }
        }
    }
}

fn navigation(section: &str, admitted: &Admitted) -> Markup {
    let operator = admitted.viewer.role == Role::Operator;
    html! {
        nav aria-label="Pages" {
            ul {
                @for (path, name) in SECTIONS {
                    @if operator || !matches!(*path, "/playground" | "/backtest" | "/audit") {
                        li { a href=(path) aria-current=[(section == *path).then_some("page")] { (name) } }
                    }
                }
            }
        }
        div class="who" {
            span { (admitted.viewer.who) @if !operator { " (may only look)" } }
            @if admitted.session.is_some() {
                form method="post" action="/sign-out" { (key(admitted)) button class="plain" { "Sign out" } }
            }
        }
    }
}

/// What every form repeats.
pub(super) fn key(admitted: &Admitted) -> Markup {
    html! { input type="hidden" name="key" value=(admitted.form_key); }
}

/// A button that asks for something.
pub(super) fn act(admitted: &Admitted, action: &str, class: &str, name: &str) -> Markup {
    html! {
        @if admitted.viewer.role == Role::Operator {
            form method="post" action=(action) { (key(admitted)) button class=(class) { (name) } }
        }
    }
}

/// The mood of a state's word: a class, never the only sign of it.
pub(super) fn mood(word: &str) -> &'static str {
    match word {
        "succeeded" | "completed" | "found" | "matched" => "good",
        "failed" | "dead" | "rejected" | "denied" | "error" | "retry" | "interrupted" => "bad",
        "running" | "matching" | "accepted" | "open" => "run",
        "waiting" | "queued" => "wait",
        _ => "idle",
    }
}

/// A state, in its word and colour.
pub(super) fn badge(word: &str) -> Markup {
    html! { span class={ "badge " (mood(word)) } { (word) } }
}

/// A moment: relative for the eye, exact for whoever asks.
pub(super) fn time(moment: Timestamp) -> Markup {
    let exact = moment.rfc3339();
    html! { time datetime=(exact) title=(exact) { (relative(moment, Timestamp::now())) } }
}

/// A moment where there is room for both.
pub(super) fn moment(moment: Timestamp) -> Markup {
    html! { (time(moment)) " " span class="sub exact" { (moment.rfc3339()) } }
}

/// `3 min ago`, `in 5 s`.
pub(super) fn relative(moment: Timestamp, now: Timestamp) -> String {
    let seconds = moment.0.saturating_sub(now.0).div_euclid(1000);
    let size = seconds.unsigned_abs();
    let text = match size {
        0 | 1 => return "now".to_owned(),
        2..=59 => format!("{size} s"),
        60..=3599 => format!("{} min", size / 60),
        3600..=86_399 => format!("{} h", size / 3600),
        _ => format!("{} d", size / 86_400),
    };
    if seconds < 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// A length of time: `1.2 s`, `3 min 5 s`.
pub(super) fn length(milliseconds: i64) -> String {
    match milliseconds.max(0) {
        short @ 0..=999 => format!("{short} ms"),
        seconds @ 1000..=59_999 => format!("{}.{} s", seconds / 1000, seconds % 1000 / 100),
        long => format!("{} min {} s", long / 60_000, long % 60_000 / 1000),
    }
}

/// A value as indented JSON.
pub(super) fn json(value: &Value) -> Markup {
    html! { pre tabindex="0" { code { (format!("{value:#}")) } } }
}

/// The reasons of one rule. Open where they say why something was done or refused.
pub(super) fn decision(trace: &Trace, number: usize) -> Markup {
    html! {
        details id={ "decision-" (number) } open[trace.verdict != Verdict::NotMatched] {
            summary {
                (badge(trace.verdict.word())) " "
                b { (trace.rule) }
                @if let Some(check) = trace.checks.last().filter(|check| !check.holds) {
                    " " span class="sub" { (check.text) @if !check.found.is_empty() { " — " (check.found) } }
                }
            }
            ul class="checks" { @for check in &trace.checks { (one_check(check)) } }
            @if !trace.place.is_empty() { p class="sub" { (trace.place) } }
        }
    }
}

fn one_check(check: &Check) -> Markup {
    html! {
        li {
            (mark(check.holds)) code { (check.text) }
            @if !check.found.is_empty() { " " span class="sub" { (check.found) } }
            @if let Some(hint) = &check.hint { " " span class="hint" { (hint) } }
            @if let Some(reason) = &check.reason { ul { (one_reason(reason)) } }
        }
    }
}

fn one_reason(reason: &Reason) -> Markup {
    html! {
        li {
            (mark(reason.holds)) code { (reason.text) }
            @if !reason.found.is_empty() { " " span class="sub" { (reason.found.join(", ")) } }
            @if let Some(hint) = &reason.hint { " " span class="hint" { (hint) } }
            @if !reason.parts.is_empty() { ul { @for part in &reason.parts { (one_reason(part)) } } }
        }
    }
}

fn mark(holds: bool) -> Markup {
    if holds {
        html! { span class="holds" aria-hidden="true" { "✔ " } span class="hidden" { "holds: " } }
    } else {
        html! { span class="fails" aria-hidden="true" { "✘ " } span class="hidden" { "does not hold: " } }
    }
}

/// A text with numbered lines; `here` and `wrong` are lines to be seen.
pub(super) fn lines(text: &str, here: Option<usize>, wrong: &[usize]) -> Markup {
    html! {
        pre tabindex="0" {
            code {
                @for (number, line) in (1..).zip(text.lines()) {
                    @let class = if wrong.contains(&number) { "line wrong" } else if here == Some(number) { "line here" } else { "line" };
                    span class=(class) data-n=(number) { (line) "\n" }
                }
            }
        }
    }
}

/// What stands where there is nothing.
pub(super) fn empty(text: &str) -> Markup {
    html! { div class="card empty" { (text) } }
}
