//! The real `declic demo` as a child process, with its history.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::binary::command;
use super::client::Client;

/// `declic demo`, as a person starts it. Killed when dropped.
pub struct Shown {
    child: Child,
    /// Where its console is: `http://127.0.0.1:PORT`.
    pub console: String,
}

impl Shown {
    /// Up as soon as it says where its console is.
    pub fn start(folder: &Path) -> Self {
        let mut command = command(folder, &["demo", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let address = |line: &str| Some(line.split_once("The console is at http://")?.1.split('/').next()?.to_owned());
        let found = lines.by_ref().find_map(|line| {
            let found = address(&line);
            said.push(line);
            found
        });
        let console =
            format!("http://{}", found.unwrap_or_else(|| panic!("it does not say where its console is:\n{}", said.join("\n"))));
        // It must not wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, console }
    }

    /// Waits until it has brought what there is to look at.
    pub async fn history(&self) {
        let client = Client::anonymous();
        let end = Instant::now() + Duration::from_secs(60);
        let count = async |query: &str| {
            let reply = client.get(&format!("{}/api/v1/runs?{query}", self.console)).await;
            reply.body["items"].as_array().map_or(0, Vec::len)
        };
        while count("rule=deploy-staging").await < 3 || count("rule=release&state=waiting").await < 1 {
            assert!(Instant::now() < end, "the history did not come");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
