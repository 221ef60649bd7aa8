//! Every example is checked and tested, and every broken file gives the faults written beside it.

use declic::rules::diagnostic::{Source, render};
use declic::rules::yaml::{Limits, read};

fn example(path: &str) -> String {
    let path = format!("{}/rules/examples/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of `OUTPUT.txt` that shows this file's fault.
fn expected(path: &str) -> String {
    let output = example("OUTPUT.txt");
    let at = output.find(&format!(" --> {path}:")).expect("OUTPUT.txt shows every broken file");
    let start = output[..at].trim_end().rfind("\n").map_or(0, |newline| newline + 1);
    let end = output[at..].find("\n\n").map_or(output.len(), |end| at + end);
    output[start..end].to_owned()
}

#[test]
fn what_is_not_yaml_is_shown_as_written_down() {
    for name in ["anchor", "bang", "docs", "dup", "flow", "merge", "star", "tab", "ternary"] {
        let path = format!("broken/yaml-{name}.yaml");
        let text = example(&path);
        let (_, faults) = read(&path, &text, Limits::REPOSITORY);
        let shown = render(&faults, &[Source { path: &path, text: &text }], false);
        assert_eq!(shown.trim_end(), expected(&path).trim_end());
    }
}
