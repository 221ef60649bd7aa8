//! The rules of the house that a compiler does not know, run over the tree itself.

use std::fs;
use std::path::{Path, PathBuf};

/// Files may be longer than this only with a reason below.
const LONGEST: usize = 450;

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Places that compute and never touch the world.
const PURE: &[&str] =
    &["src/rules", "src/matching", "src/matching.rs", "src/run/retry.rs", "src/journal/record", "src/event.rs", "src/json.rs"];

/// What a pure place never names.
const IMPURE: &[&str] =
    &["tokio::", "std::fs", "std::net", "std::env", "std::process", "Instant::now", "Timestamp::now", "reqwest", "poem::"];

/// What a shipped line never says.
const FORBIDDEN: &[(&str, &str)] = &[
    (".unwrap()", "data must not be able to end the process: return an error"),
    ("todo!(", "nothing is left for later in what ships"),
    ("unimplemented!(", "nothing is left for later in what ships"),
    ("dbg!(", "left over from a search"),
    ("#[allow(", "use #[expect(…, reason = \"…\")]"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below the folders, as (path from the root, text), sorted.
fn sources(folders: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut |path| {
            if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(path).expect("a readable source file")));
            }
        });
    }
    files.sort();
    assert!(files.len() > 20, "the walk found too little: {} files", files.len());
    files
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) {
    if path.is_file() {
        return visit(path);
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries {
        walk(&entry.expect("a readable folder").path(), visit);
    }
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/") || name.ends_with("/tests.rs") || name.contains("/tests/")
}

/// The part of a file that ships: everything before an inline `mod tests`.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_module_says_first_what_it_is() {
    let faults: Vec<String> = sources(&["src", "actions/src", "tests"])
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| format!("{name}: the first line must be `//! …`"))
        .collect();
    report(&faults);
}

#[test]
fn files_stay_short() {
    let mut faults = Vec::new();
    for (name, text) in sources(&["src", "actions/src", "tests"]) {
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(excused, _)| *excused == name);
        if lines > LONGEST && !excused {
            faults.push(format!("{name}: {lines} lines; split it by idea, or give a reason in LONG_FILES"));
        }
        if lines <= LONGEST && excused {
            faults.push(format!("{name}: short again, take it off LONG_FILES"));
        }
    }
    report(&faults);
}

#[test]
fn pure_places_do_not_touch_the_world() {
    let mut faults = Vec::new();
    for (name, text) in sources(&["src"]) {
        if !PURE.iter().any(|pure| name == *pure || name.starts_with(&format!("{pure}/"))) || is_test(&name) {
            continue;
        }
        for word in IMPURE {
            if shipped(&text).contains(word) {
                faults.push(format!("{name}: is pure, but names `{word}`"));
            }
        }
    }
    report(&faults);
}

/// Where `std::time::Instant` may stand in the engine: the pure gate is given its moments, and what asks GitHub beside the runs hands its client a
/// deadline of the system's clock, outside of what the simulation plays.
const SYSTEM_TIME: &[&str] = &["src/run/gate/state.rs", "src/run/aside.rs", "src/run/heeding.rs", "src/run/reviewing.rs"];

/// The simulation holds the runtime's clock and nothing else: whatever else the engine asked for time, or for chance, would differ from one play
/// of a schedule to the next.
#[test]
fn the_engine_has_no_clock_and_no_chance_of_its_own() {
    let mut faults = Vec::new();
    for (name, text) in sources(&["src/run", "src/dispatch", "src/journal/sqlite"]) {
        if is_test(&name) {
            continue;
        }
        let text = shipped(&text);
        if !SYSTEM_TIME.contains(&name.as_str()) && text.contains("Instant") && !text.contains("use tokio::time::Instant;") {
            faults.push(format!("{name}: use tokio::time::Instant"));
        }
        for select in text.split("tokio::select! {").skip(1) {
            let first = select.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("//"));
            if first != Some("biased;") {
                faults.push(format!("{name}: a select without `biased;` chooses by a chance that no seed holds"));
            }
        }
    }
    report(&faults);
}

#[test]
fn what_ships_holds_nothing_unfinished() {
    let mut faults = Vec::new();
    for (name, text) in sources(&["src", "actions/src"]) {
        if is_test(&name) {
            continue;
        }
        for (number, line) in shipped(&text).lines().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") {
                continue;
            }
            for (word, reason) in FORBIDDEN {
                if code.contains(word) {
                    faults.push(format!("{name}:{}: `{word}`: {reason}", number + 1));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn actions_know_nothing_of_the_rest() {
    let manifest = fs::read_to_string(root().join("actions/Cargo.toml")).expect("the manifest of actions");
    assert!(!manifest.contains("\"..\"") && !manifest.contains("declic ="), "actions must not depend on the root crate");
}

#[test]
fn every_file_of_a_list_is_registered() {
    let mut faults = Vec::new();
    for folder in ["actions/src/kinds", "src/sources", "src/cli"] {
        let list = fs::read_to_string(root().join(folder).join("mod.rs")).expect("a mod.rs");
        for entry in fs::read_dir(root().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is_module = path.extension().is_some_and(|extension| extension == "rs") || path.join("mod.rs").is_file();
            if is_module && stem != "mod" && !list.contains(&format!("mod {stem};")) {
                faults.push(format!("{folder}/{stem}: no `mod {stem};` in {folder}/mod.rs"));
            }
        }
    }
    report(&faults);
}

#[test]
fn no_machine_is_named_in_the_tree() {
    // Spelled in two parts, so that this file does not find itself.
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut faults = Vec::new();
    for folder in [
        "src",
        "actions",
        "tests/it",
        "docs",
        "rules",
        "scripts",
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "Makefile",
        "Dockerfile",
        "Cargo.toml",
    ] {
        walk(&root().join(folder), &mut |path| {
            if path.components().any(|part| part.as_os_str() == "node_modules") {
                return;
            }
            let Ok(text) = fs::read_to_string(path) else { return };
            for word in words {
                if text.contains(word) {
                    faults.push(format!("{}: names a path of a machine: {word}", path.display()));
                }
            }
        });
    }
    report(&faults);
}
