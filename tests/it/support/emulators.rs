//! The emulators that `scripts/test-emulators` installs, each a process of its own on a port of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::binary::free_port;
use super::client::Client;

/// How long one may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running emulator; ended when dropped.
pub struct Emulator {
    child: Child,
    pub authority: String,
    pub url: String,
    folder: tempfile::TempDir,
}

impl Emulator {
    /// BigQuery, in memory.
    pub async fn bigquery() -> Self {
        let port = free_port();
        let mut command = Command::new("python3");
        command
            .args(["-m", "bqemulator", "start", "--rest-port", &port.to_string(), "--grpc-port", "0", "--ephemeral"])
            .env("PYTHONPATH", present("bigquery"))
            .env("HOME", present("home"));
        Self::start(command, port, "/bigquery/v2/projects/any/datasets").await
    }

    /// Cloud Tasks with these queues, by their full names.
    pub async fn cloud_tasks(queues: &str) -> Self {
        let port = free_port();
        let mut command = Command::new(present("cargo/bin/cloud-tasks-emulator"));
        command
            .env("LISTEN_ADDR", format!("127.0.0.1:{port}"))
            .env("OIDC_ISSUER", format!("http://127.0.0.1:{port}"))
            .env("QUEUES", queues);
        Self::start(command, port, "/.well-known/openid-configuration").await
    }

    async fn start(mut command: Command, port: u16, alive: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let authority = format!("127.0.0.1:{port}");
        let mut started = Self { child, url: format!("http://{authority}"), authority, folder };
        let (client, until) = (Client::anonymous(), Instant::now() + PATIENCE);
        let alive = format!("{}{alive}", started.url);
        while client.try_send("GET", &alive, &[], Vec::new()).await.is_err() {
            let ended = started.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "it did not start ({ended:?}):\n{}", started.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        started
    }

    /// Everything it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn present(path: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "where the emulators are is told to the tests, not to the service")]
    let told = std::env::var_os("DECLIC_TEST_EMULATORS");
    let folder = told.map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("test-emulators"), PathBuf::from);
    let path = folder.join(path);
    assert!(path.exists(), "{} is missing: run scripts/test-emulators (make test does) and try again", path.display());
    path
}
