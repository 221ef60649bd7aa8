//! `declic test`: the `tests:` blocks of rule files.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::check::{Operator, checked, found};
use super::paint::{Paint, printable};
use super::{USAGE, WRONG, colour, complain};
use crate::rules::check::Ground;
use crate::rules::diagnostic::{Source, render};
use crate::rules::model::RuleSet;
use crate::rules::testing::{Case, Verdict, run as run_case};
use crate::settings::Environment;

/// Arguments of `declic test`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  declic test                          the tests of the rule files that declic.yaml names
  declic test .declic/deploy.yaml
  declic test --format junit > tests.xml

Exit status: 0 all pass, 1 some do not or a file is wrong, 2 the settings or the command are wrong.")]
pub struct Arguments {
    /// Rule files, folders, patterns, or - for standard input
    paths: Vec<String>,
    /// The operator's settings; with them the actions' own checks of each call run too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How results are shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How results are shown.
#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
    /// JUnit XML, which most CI systems show
    Junit,
}

/// The results of one file.
struct Tested {
    path: String,
    counts: String,
    /// Why no test was run: what `check` says.
    wrong: Option<String>,
    results: Vec<(Case, Verdict)>,
}

/// Runs them and says how they went.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let operator = match Operator::usable(arguments.config.as_deref(), environment) {
        Ok(operator) => operator,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let files = match found(&arguments.paths, &operator) {
        Ok(files) => files,
        Err(why) => return complain(USAGE, why),
    };
    let offer = operator.settings.as_ref().map(|settings| &settings.offer);
    let mut tested = Vec::new();
    for found in &files {
        let checked = checked(found, &Ground { offer, repository: None });
        let file = &found.file;
        let wrong = (checked.errors() > 0).then(|| {
            render(
                &checked.diagnostics,
                &[Source { path: &file.path, text: &file.text }],
                colour() && arguments.format == Format::Text,
            )
        });
        let counts = checked.counts();
        let rules = Arc::new(RuleSet { rules: checked.rules.into_iter().map(Arc::new).collect(), revision: String::new() });
        let cases = if wrong.is_some() { Vec::new() } else { checked.cases };
        let results = cases.into_iter().map(|case| (case.clone(), run_case(&case, &rules, offer))).collect();
        tested.push(Tested { path: file.path.clone(), counts, wrong, results });
    }
    match arguments.format {
        Format::Text => text(&tested),
        Format::Json => json_document(&tested),
        Format::Junit => out!("{}", junit(&tested)),
    }
    let failed = tested.iter().any(|file| file.wrong.is_some() || file.results.iter().any(|(_, verdict)| !verdict.passed()));
    ExitCode::from(if failed { WRONG } else { 0 })
}

fn text(tested: &[Tested]) {
    let (mut passed, mut failed) = (0, 0);
    let paint = Paint::new(colour());
    for file in tested {
        if let Some(wrong) = &file.wrong {
            out!("{wrong}");
        }
        outln!("{}: {}", file.path, file.counts);
        for (case, verdict) in &file.results {
            if verdict.passed() {
                passed += 1;
                outln!("  {}    {}", paint.green("ok"), printable(&case.name));
                continue;
            }
            failed += 1;
            outln!("  {}  {}  ({})", paint.red("FAIL"), printable(&case.name), case.place);
            for line in verdict.differences.iter().flat_map(|difference| difference.lines()) {
                outln!("          {}", printable(line));
            }
        }
    }
    outln!("{passed} passed, {failed} failed");
}

fn json_document(tested: &[Tested]) {
    let files: Vec<_> = tested
        .iter()
        .map(|file| {
            let tests: Vec<_> = file
                .results
                .iter()
                .map(|(case, verdict)| {
                    json!({ "name": case.name, "place": case.place, "passed": verdict.passed(), "differences": verdict.differences })
                })
                .collect();
            json!({ "file": file.path, "tests": tests, "wrong": file.wrong })
        })
        .collect();
    outln!("{:#}", json!({ "files": files }));
}

fn junit(tested: &[Tested]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"declic\">\n");
    for file in tested {
        let failures = file.results.iter().filter(|(_, verdict)| !verdict.passed()).count();
        let errors = usize::from(file.wrong.is_some());
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
            escaped(&file.path),
            file.results.len() + errors
        ));
        if let Some(wrong) = &file.wrong {
            xml.push_str(&format!(
                "    <testcase name=\"check\" classname=\"{}\"><error message=\"the file is wrong\">{}</error></testcase>\n",
                escaped(&file.path),
                escaped(wrong)
            ));
        }
        for (case, verdict) in &file.results {
            xml.push_str(&format!("    <testcase name=\"{}\" classname=\"{}\"", escaped(&case.name), escaped(&file.path)));
            if verdict.passed() {
                xml.push_str("/>\n");
                continue;
            }
            let message = verdict.differences.first().map_or("", |difference| difference.lines().next().unwrap_or(""));
            xml.push_str(&format!(
                "><failure message=\"{}\">{}</failure></testcase>\n",
                escaped(message),
                escaped(&verdict.differences.join("\n"))
            ));
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// For attributes and text alike; what XML 1.0 cannot hold at all is left out.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for found in text.chars() {
        match found {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            '\t' => xml.push(' '),
            found if found.is_control() || matches!(found, '\u{fffe}' | '\u{ffff}') => {}
            found => xml.push(found),
        }
    }
    xml
}
