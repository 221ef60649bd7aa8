//! The real `declic` command as a child process, ended by its id.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Where cargo built the command.
pub const DECLIC: &str = env!("CARGO_BIN_EXE_declic");

/// The webhook secret that these tests put into the environment.
pub const WEBHOOK_SECRET: &str = "a webhook secret of this test";

/// How long a service may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command with the secrets of a fresh `declic init`, not yet started.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(DECLIC);
    command
        .args(arguments)
        .current_dir(folder)
        .env("DECLIC_GITHUB_SECRET", WEBHOOK_SECRET)
        .env("DECLIC_GITHUB_TOKEN", "a token of this test")
        .env_remove("PORT")
        .env_remove("K_SERVICE")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn declic(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the command starts")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// `declic serve` on a port of its own. Killed when dropped.
pub struct Binary {
    child: Child,
    /// `127.0.0.1:PORT`
    pub address: String,
    log: std::path::PathBuf,
}

impl Binary {
    /// Starts `declic serve` in a folder with a `declic.yaml`, and waits until it answers. `prepare` may add to the environment.
    pub fn start(folder: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        Self::launch(folder, &address, &["--listen", &address], prepare)
    }

    /// The same without `--listen`: something else makes it listen on `address`.
    pub fn start_expecting(folder: &Path, address: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        Self::launch(folder, address, &[], prepare)
    }

    fn launch(folder: &Path, address: &str, listen: &[&str], prepare: impl FnOnce(&mut Command)) -> Self {
        let log = folder.join(format!("serve-{}.log", address.rsplit(':').next().unwrap_or_default()));
        let file = fs::File::create(&log).expect("a log file");
        let mut command = command(folder, &[&["serve", "--config", "declic.yaml"], listen].concat());
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        prepare(&mut command);
        let child = command.spawn().expect("the command starts");
        let mut started = Self { child, address: address.to_owned(), log };
        let until = Instant::now() + PATIENCE;
        while !answers(&started.address) {
            let ended = started.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none() && Instant::now() < until, "serve did not start ({ended:?}):\n{}", started.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        started
    }

    /// Everything it wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What Linux tells of the process under a name in `/proc/PID/status`, in its unit (kB for memory).
    pub fn status(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a known name");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("a running process").count()
    }

    /// Limits how many it may have open.
    pub fn limit_descriptors(&self, most: usize) {
        let limited = Command::new("prlimit").arg(format!("--pid={}", self.child.id())).arg(format!("--nofile={most}:")).status();
        assert!(limited.expect("prlimit is part of util-linux").success());
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(id, signal).expect("our own child can be signalled");
    }

    /// Waits for its end and gives the exit status; panics if it outlives `limit`.
    pub fn wait(&mut self, limit: Duration) -> std::process::ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(Instant::now() < until, "still running after {limit:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does it answer `/livez`? That it listens is not enough: the port is bound before the store is opened.
pub fn answers(address: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut answer = String::new();
    write!(stream, "GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// A folder as `declic init` leaves it, with nothing to reach outside this machine.
pub fn fresh() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = declic(folder.path(), &["init"]);
    assert!(output.status.success(), "{output:?}");
    keep_to_this_machine(folder.path());
    folder
}

/// Settings as `init` wrote them, with nothing to reach outside this machine.
pub fn keep_to_this_machine(folder: &Path) {
    let path = folder.join("declic.yaml");
    let text = fs::read_to_string(&path).expect("declic.yaml");
    let text = text.replace("github:\n  token:", "github:\n  api-url: http://127.0.0.1:9\n  token:");
    let closed =
        "google: { run-url: \"http://127.0.0.1:9\", metadata-host: \"127.0.0.1:9\", registry-url: \"http://127.0.0.1:9\" }\n";
    fs::write(path, text + closed).expect("declic.yaml");
}
