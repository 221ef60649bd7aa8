//! The schemas in a real editor service: `yaml-language-server`, which VS Code's YAML extension is, over its protocol.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::binary::declic;
use crate::support::packages;

/// How long the service may take to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service as a child process that speaks JSON-RPC.
struct Editor {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    diagnostics: HashMap<String, Vec<Value>>,
    next: u64,
}

impl Editor {
    fn start() -> Self {
        let mut child = Command::new("node")
            .arg(packages::npm("yaml-language-server/bin/yaml-language-server"))
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is installed");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut editor = Self { child, input, messages, diagnostics: HashMap::new(), next: 0 };
        editor.ask(
            "initialize",
            json!({ "processId": null, "rootUri": null, "capabilities": { "workspace": { "configuration": true } } }),
        );
        editor.tell("initialized", json!({}));
        editor
    }

    fn write(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input, "Content-Length: {}\r\n\r\n{text}", text.len()).and_then(|()| self.input.flush()).expect("it listens");
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.write(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let until = Instant::now() + PATIENCE;
        loop {
            let message = self.receive(until);
            if message.get("method").is_none() && message["id"] == id {
                assert!(message.get("error").is_none(), "{message}");
                return message["result"].clone();
            }
        }
    }

    /// The next message; questions of the service are answered on the way, diagnostics are kept.
    fn receive(&mut self, until: Instant) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        let message = self.messages.recv_timeout(left).expect("the service answers in time");
        if message["method"] == "textDocument/publishDiagnostics" {
            let address = message["params"]["uri"].as_str().unwrap_or_default().to_owned();
            self.diagnostics.insert(address, message["params"]["diagnostics"].as_array().cloned().unwrap_or_default());
        }
        if let (Some(_), Some(id)) = (message.get("method"), message.get("id")) {
            let asked = message["params"]["items"].as_array().map_or(0, Vec::len);
            let yaml = json!({ "validate": true, "hover": true, "completion": true, "schemaStore": { "enable": false } });
            let answers: Vec<Value> = (0..asked)
                .map(|item| if message["params"]["items"][item]["section"] == "yaml" { yaml.clone() } else { Value::Null })
                .collect();
            let result = if message["method"] == "workspace/configuration" { json!(answers) } else { Value::Null };
            self.write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }));
        }
        message
    }

    /// Opens a file and waits for what is said about it: `line:column message`, counted from 1.
    fn open(&mut self, path: &Path, text: &str) -> Vec<String> {
        let address = url::Url::from_file_path(path).expect("a whole path").to_string();
        let document = json!({ "uri": address, "languageId": "yaml", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }));
        let until = Instant::now() + PATIENCE;
        while !self.diagnostics.contains_key(&address) {
            self.receive(until);
        }
        let said = self.diagnostics.remove(&address).unwrap_or_default();
        let mut lines: Vec<String> = said
            .iter()
            .map(|fault| {
                let start = &fault["range"]["start"];
                let place = |key: &str| start[key].as_u64().unwrap_or_default() + 1;
                format!("{}:{} {}", place("line"), place("character"), fault["message"].as_str().unwrap_or_default())
            })
            .collect();
        lines.sort();
        lines
    }

    fn at(&mut self, method: &str, path: &Path, line: usize, column: usize) -> Value {
        let address = url::Url::from_file_path(path).expect("a whole path").to_string();
        self.ask(method, json!({ "textDocument": { "uri": address }, "position": { "line": line - 1, "character": column - 1 } }))
    }

    /// The labels that are offered at a place.
    fn offered(&mut self, path: &Path, line: usize, column: usize) -> Vec<String> {
        let answer = self.at("textDocument/completion", path, line, column);
        let items = answer["items"].as_array().or(answer.as_array()).cloned().unwrap_or_default();
        items.iter().map(|item| item["label"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One message: headers, an empty line, and so many bytes.
fn read(output: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(found) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = found.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

const MODELINE: &str = "# yaml-language-server: $schema=../../../docs/reference/rules.schema.json\n";

#[test]
fn nothing_is_said_about_right_files() {
    let mut editor = Editor::start();
    for name in ["rules/alerts", "rules/chat", "rules/images", "rules/orders", "repo/.declic/deploy", "declic"] {
        let path = root().join(format!("rules/examples/{name}.yaml"));
        let mut text = text(&path);
        if !text.starts_with("# yaml-language-server:") {
            text = format!("{MODELINE}{text}");
        }
        assert_eq!(editor.open(&path, &text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn what_init_writes_brings_its_schemas() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    assert!(declic(folder.path(), &["init"]).status.success());
    let mut editor = Editor::start();
    for name in ["declic.yaml", "rules/staging.yaml"] {
        let path = folder.path().join(name);
        assert_eq!(editor.open(&path, &text(&path)), Vec::<String>::new(), "{name}");
    }
    // Not by silence: with a mistake in it, the same file is complained about.
    let path = folder.path().join("rules/other.yaml");
    let wrong = text(&folder.path().join("rules/staging.yaml")).replacen("steps:", "stesp:", 1);
    assert!(editor.open(&path, &wrong).iter().any(|said| said.ends_with("Property stesp is not allowed.")));
}

#[test]
fn mistakes_are_marked_where_they_are() {
    let mut editor = Editor::start();
    let path = root().join("rules/examples/rules/mistakes.yaml");
    let file = format!(
        "{MODELINE}version: 1\nrules:\n  deploy:\n    on:\n      github.push:\n        brnaches: [main]\n      github.isues:\n    stesp: []\n    steps:\n      - uses: cloud-run/deploy\n        with: {{ target: web, image: x, trafic: 1 }}\n      - uses: github/coment\n        with: {{ body: x }}\n"
    );
    let said = editor.open(&path, &file);
    for expected in [
        "7:9 Property brnaches is not allowed.",
        "8:7 Property github.isues is not allowed.",
        "9:5 Property stesp is not allowed.",
        "12:40 Property trafic is not allowed.",
    ] {
        assert!(said.iter().any(|line| line == expected), "{expected}\n{said:#?}");
    }
    assert!(
        said.iter().any(|line| line.starts_with("13:15 Value is not accepted. Valid values: \"cloud-run/deploy\"")),
        "{said:#?}"
    );
    assert_eq!(said.len(), 5, "{said:#?}");
}

#[test]
fn names_are_offered_and_explained() {
    let mut editor = Editor::start();
    let path = root().join("rules/examples/rules/new.yaml");
    let file = format!(
        "{MODELINE}version: 1\nrules:\n  deploy:\n    on:\n      github.push:\n        branches: [main]\n    steps:\n      - uses: \n      - uses: cloud-run/deploy\n        with:\n          target: web\n          image: x\n          \n"
    );
    editor.open(&path, &file);
    let uses = editor.offered(&path, 9, 15);
    for name in ["cloud-run/deploy", "github/comment", "http/request"] {
        assert!(uses.iter().any(|label| label == name), "{name}: {uses:?}");
    }
    let parameters = editor.offered(&path, 14, 11);
    for name in ["traffic", "wait-for-image", "rollback"] {
        assert!(parameters.iter().any(|label| label == name), "{name}: {parameters:?}");
    }
    assert!(!parameters.iter().any(|label| label == "body"), "of another action: {parameters:?}");
    let hover = editor.at("textDocument/hover", &path, 7, 11);
    assert!(hover.to_string().contains("Patterns of branch names"), "{hover}");
}

/// What the schema can know of the broken examples; what depends on meaning is for `declic check`.
#[test]
fn broken_examples_are_marked() {
    let mut editor = Editor::start();
    let folder = root().join("rules/examples/broken");
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).expect("the examples").map(|entry| entry.expect("an entry").path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    let mut said = String::new();
    for path in names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lines = editor.open(&path, &format!("{MODELINE}{}", text(&path)));
        // The words that would be right are many, and grow.
        let short = |line: &String| format!("  {}\n", line.split(" Valid values:").next().unwrap_or_default());
        said.push_str(&format!("{name}\n{}", lines.iter().map(short).collect::<String>()));
    }
    assert_eq!(said, include_str!("broken-in-editor.txt"));
}
