//! Faults for programs: JSON, GitHub's annotations, SARIF.

use std::fmt::Write as _;

use serde_json::{Value, json as object};

use super::{Diagnostic, Severity, Source, position, text_of};

/// A JSON list of `{severity, code, file, line, column, endLine, endColumn, message, help?, related?}`; lines and columns from 1.
pub fn json(diagnostics: &[Diagnostic], sources: &[Source<'_>]) -> Value {
    diagnostics.iter().map(|diagnostic| entry(diagnostic, text_of(sources, &diagnostic.file))).collect()
}

fn entry(diagnostic: &Diagnostic, text: &str) -> Value {
    let (line, column) = position(text, diagnostic.span.start);
    let (end_line, end_column) = position(text, diagnostic.span.end);
    let mut entry = object!({
        "severity": diagnostic.severity.word(),
        "code": diagnostic.code,
        "file": diagnostic.file,
        "line": line,
        "column": column,
        "endLine": end_line,
        "endColumn": end_column,
        "message": diagnostic.message,
    });
    if let Some(help) = &diagnostic.help {
        entry["help"] = help.as_str().into();
    }
    if let Some((span, label)) = &diagnostic.related {
        let (line, column) = position(text, span.start);
        entry["related"] = object!({ "line": line, "column": column, "message": label });
    }
    entry
}

/// Workflow commands: one line a fault, which GitHub shows at the line of the change.
pub fn github(diagnostics: &[Diagnostic], sources: &[Source<'_>]) -> String {
    let mut lines = String::new();
    for diagnostic in diagnostics {
        let text = text_of(sources, &diagnostic.file);
        let (line, column) = position(text, diagnostic.span.start);
        let (end_line, end_column) = position(text, diagnostic.span.end);
        let message = match &diagnostic.help {
            Some(help) => format!("{}\n{help}", diagnostic.message),
            None => diagnostic.message.clone(),
        };
        // Columns of a range that spans lines are refused by GitHub.
        let columns = if line == end_line { format!(",col={column},endColumn={end_column}") } else { String::new() };
        let _ = writeln!(
            lines,
            "::{} file={},line={line},endLine={end_line}{columns},title={}::{}",
            diagnostic.severity.word(),
            escaped_property(&diagnostic.file),
            escaped_property(diagnostic.code),
            escaped_data(&message),
        );
    }
    lines
}

fn escaped_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn escaped_property(text: &str) -> String {
    escaped_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A SARIF 2.1.0 log, as code scanning takes it in.
pub fn sarif(diagnostics: &[Diagnostic], sources: &[Source<'_>]) -> Value {
    let mut codes: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let results: Vec<Value> = diagnostics
        .iter()
        .map(|diagnostic| {
            result(diagnostic, text_of(sources, &diagnostic.file), codes.binary_search(&diagnostic.code).unwrap_or(0))
        })
        .collect();
    object!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "declic",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| object!({ "id": code })).collect::<Vec<_>>(),
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(diagnostic: &Diagnostic, text: &str, rule: usize) -> Value {
    let location = |span: &std::ops::Range<usize>| {
        let (line, column) = position(text, span.start);
        let (end_line, end_column) = position(text, span.end);
        object!({ "physicalLocation": {
            "artifactLocation": { "uri": diagnostic.file.replace('\\', "/").replace(' ', "%20") },
            "region": { "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column },
        } })
    };
    let message = match &diagnostic.help {
        Some(help) => format!("{}\n{help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let mut result = object!({
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": match diagnostic.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": { "text": message },
        "locations": [location(&diagnostic.span)],
    });
    if let Some((span, label)) = &diagnostic.related {
        let mut related = location(span);
        related["message"] = object!({ "text": label });
        result["relatedLocations"] = object!([related]);
    }
    result
}
