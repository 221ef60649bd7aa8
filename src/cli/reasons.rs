//! Why a rule matched or did not, for people: the same text wherever it is asked.

use std::fmt::Write;

use super::paint::{Paint, printable};
use crate::matching::{Check, Trace, Verdict};
use crate::rules::expr::Reason;

/// One rule's verdict and its checks, a line each, with a line break at the end.
pub fn render(trace: &Trace, paint: Paint) -> String {
    let mut text = String::new();
    let (word, name) = match trace.verdict {
        Verdict::Matched => (paint.green("MATCH   "), &trace.rule),
        Verdict::NotMatched => (paint.dim("no match"), &trace.rule),
        Verdict::Denied => (paint.red("denied  "), &trace.rule),
        Verdict::Error => (paint.red("ERROR   "), &trace.rule),
    };
    // A rule that does not hear the event, or is switched off, is a line.
    if let ([Check { holds: false, text: why, found, reason: None, hint: None }], Verdict::NotMatched) =
        (trace.checks.as_slice(), trace.verdict)
    {
        let why = paint.dim(&format!("{} ({})", printable(why), printable(found)));
        line(&mut text, &format!("{word} {}: {why}", printable(name)));
        return text;
    }
    line(&mut text, &format!("{word} {}", printable(name)));
    for check in &trace.checks {
        render_check(&mut text, check, paint);
    }
    text
}

fn render_check(text: &mut String, check: &Check, paint: Paint) {
    if let Some(reason) = &check.reason {
        line(text, &format!("    {}:", printable(&check.text)));
        return render_reason(text, reason, 3, paint);
    }
    let found = if check.found.is_empty() { String::new() } else { format!("      ({})", printable(&check.found)) };
    line(
        text,
        &format!(
            "    {} {}{}{}",
            mark(check.holds, paint),
            printable(&check.text),
            paint.dim(&found),
            hint(check.hint.as_deref())
        ),
    );
}

fn render_reason(text: &mut String, reason: &Reason, depth: usize, paint: Paint) {
    let found = if reason.found.is_empty() { String::new() } else { format!("      ({})", printable(&reason.found.join(", "))) };
    let indent = "  ".repeat(depth);
    let mark = mark(reason.holds, paint);
    line(text, &format!("{indent}{mark} {}{}{}", printable(&reason.text), paint.dim(&found), hint(reason.hint.as_deref())));
    for part in &reason.parts {
        render_reason(text, part, depth + 1, paint);
    }
}

fn hint(hint: Option<&str>) -> String {
    hint.map(|hint| format!("      <- {}", printable(hint))).unwrap_or_default()
}

fn mark(holds: bool, paint: Paint) -> String {
    if holds { paint.green("✔") } else { paint.red("✘") }
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
