//! Everything that README and docs show is run: YAML blocks are checked, the README's commands are executed as a newcomer would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::binary::{answers, command, declic, free_port, keep_to_this_machine};

/// Commands of `sh` blocks that are run by another test, or cannot be run inside one.
const ELSEWHERE: &[&str] = &["make ", "cargo ", "cd ", "./scripts/", "docker ", "curl ", "gcloud ", "set -a"];

struct Block {
    place: String,
    language: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every fenced block of a Markdown file.
fn blocks(path: &Path) -> Vec<Block> {
    let text = fs::read_to_string(path).expect("a readable document");
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let place = format!("{}:{}", path.display(), number + 1);
                open = Some(Block { place, language: language.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut paths = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for entry in fs::read_dir(root().join("docs")).expect("docs/") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths
}

fn assert_success(what: &str, output: &Output) {
    assert!(
        output.status.success(),
        "{what} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_yaml_block_is_right() {
    let mut seen = 0;
    for document in documents() {
        // A rule is checked with the settings of `declic init`, or with those that the document showed before it if it names a source of theirs.
        let mut settings: Option<String> = None;
        for block in blocks(&document).into_iter().filter(|block| block.language == "yaml") {
            let name = block.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default().to_owned();
            assert!(name.ends_with(".yaml"), "{}: a YAML block begins with the name of its file, `# rules/x.yaml`", block.place);
            let folder = tempfile::tempdir().expect("a temporary folder");
            assert_success("declic init", &declic(folder.path(), &["init"]));
            let file = folder.path().join(&name);
            fs::create_dir_all(file.parent().expect("below the folder")).expect("a folder");
            if name == "declic.yaml" {
                settings = Some(block.text.clone());
            } else if let Some(settings) = settings.as_ref().filter(|settings| names_a_source_of(settings, &block.text)) {
                fs::remove_dir_all(folder.path().join("rules")).expect("the rules of init");
                fs::create_dir(folder.path().join("rules")).expect("a folder");
                fs::write(folder.path().join("declic.yaml"), settings).expect("a written file");
            }
            fs::write(&file, &block.text).expect("a written file");
            assert_success(&format!("{}: declic check", block.place), &declic(folder.path(), &["check"]));
            if name.starts_with("rules/") {
                assert_success(&format!("{}: declic check {name}", block.place), &declic(folder.path(), &["check", &name]));
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "no YAML block was found");
}

/// Does the rule hear a source that these settings have?
fn names_a_source_of(settings: &str, rule: &str) -> bool {
    let named = rule.split("source: ").skip(1).filter_map(|after| after.split([',', ' ', '}', '\n']).next());
    named.into_iter().any(|name| settings.contains(&format!("\n  {name}:")))
}

#[test]
fn every_path_that_is_named_exists() {
    let mut documents = documents();
    documents.extend(["ARCHITECTURE.md", "SECURITY.md"].map(|name| root().join(name)));
    let mut faults = Vec::new();
    let mut seen = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("a readable document");
        for name in text.split('`').skip(1).step_by(2) {
            let path = name.trim_end_matches('/');
            let ours = ["src/", "actions/", "tests/", "docs/", "scripts/", "benches/", "fuzz/"]
                .iter()
                .any(|folder| name.starts_with(folder));
            if ours && !path.contains([' ', '*', '<', '{']) {
                seen += 1;
                if !root().join(path).exists() {
                    faults.push(format!("{}: there is no {name}", document.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(seen > 20, "only {seen} paths were found");
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("a Makefile");
    for document in documents() {
        for block in blocks(&document).into_iter().filter(|block| block.language == "sh") {
            for line in block.text.lines() {
                if let Some(target) = line.strip_prefix("make ").and_then(|rest| rest.split_whitespace().next()) {
                    assert!(makefile.contains(&format!("\n{target}:")), "{}: there is no `make {target}`", block.place);
                }
            }
        }
    }
}

/// Ends the process it holds, by its id, when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn use_a_free_port(folder: &Path) {
    let path = folder.join("declic.yaml");
    let text = fs::read_to_string(&path).expect("declic.yaml");
    fs::write(path, text.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", free_port()))).expect("declic.yaml");
}

/// Waits until the service took in one delivery, and gives its id.
fn first_delivery(folder: &Path) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        let output = declic(folder, &["deliveries", "list", "--format", "json"]);
        let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let items = list.as_array().or_else(|| list.get("deliveries").and_then(serde_json::Value::as_array));
        if let Some(id) =
            items.and_then(|items| items.first()).and_then(|item| item.get("id")).and_then(serde_json::Value::as_str)
        {
            return id.to_owned();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("no delivery was listed within 20 s");
}

#[test]
fn the_five_minutes_of_the_readme_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("hooks");
    let mut service = None;
    let mut ran = Vec::new();
    for block in blocks(&root().join("README.md")).into_iter().filter(|block| block.language == "sh") {
        for line in block.text.lines().filter(|line| !line.trim().is_empty()) {
            if ELSEWHERE.iter().any(|known| line.starts_with(known)) || line.starts_with("export ") {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[0], "declic", "{}: the test does not know how to run `{line}`", block.place);
            let arguments = &words[1..];
            match arguments[0] {
                "init" => {
                    assert_success(line, &declic(folder.path(), arguments));
                    keep_to_this_machine(&place);
                    use_a_free_port(&place);
                }
                "serve" => service = Some(serve(&place, arguments)),
                _ => {
                    let id = if line.contains("ID") { first_delivery(&place) } else { String::new() };
                    let arguments: Vec<&str> =
                        arguments.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
                    let output = declic(&place, &arguments);
                    assert_success(line, &output);
                    if line.ends_with("show ID") {
                        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
                        assert!(shown.contains("deploy-staging"), "`{line}` does not say what came of the rule:\n{shown}");
                    }
                }
            }
            ran.push(arguments[0].to_owned());
        }
    }
    drop(service);
    for command in ["init", "check", "test", "serve", "send", "deliveries"] {
        assert!(ran.iter().any(|name| name == command), "the README no longer shows `declic {command}`");
    }
}

/// Starts the service and waits until it says that it is alive.
fn serve(folder: &Path, arguments: &[&str]) -> Running {
    let child = command(folder, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    let running = Running(child);
    let settings = fs::read_to_string(folder.join("declic.yaml")).expect("declic.yaml");
    let address = settings.lines().find_map(|line| line.strip_prefix("listen: ")).expect("an address").to_owned();
    let until = Instant::now() + Duration::from_secs(20);
    while !answers(&address) {
        assert!(Instant::now() < until, "nothing listens on {address} after 20 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}
