//! A real PostgreSQL, made and ended by the tests: `scripts/test-postgres`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// A server with a cluster of its own. It ends with its input: with this process at the latest.
pub struct Server {
    port: u16,
    folder: PathBuf,
    schemas: AtomicU32,
    talk: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    script: Mutex<Child>,
}

/// The one that all tests share that do not stop it; each has a schema of its own.
pub fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

impl Server {
    /// A new one.
    pub fn start() -> Self {
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/test-postgres");
        let mut script = Command::new(script)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/test-postgres runs");
        let input = script.stdin.take().expect("its input is piped");
        let mut output = BufReader::new(script.stdout.take().expect("its output is piped"));
        let folder = line(&mut output);
        assert!(!folder.is_empty(), "PostgreSQL starts: scripts/test-packages installs it");
        Self {
            port,
            folder: folder.into(),
            schemas: AtomicU32::new(0),
            talk: Mutex::new((Some(input), output)),
            script: Mutex::new(script),
        }
    }

    /// `stop`, `crash` or `start`; returns when it is done.
    pub fn tell(&self, command: &str) {
        let mut talk = self.talk.lock().expect("nobody panicked");
        let input = talk.0.as_mut().expect("it is taken away only by drop");
        writeln!(input, "{command}").expect("the script listens");
        assert_eq!(line(&mut talk.1), "done", "{command}");
    }

    /// For a user who is trusted.
    pub fn url(&self) -> String {
        format!("postgres://declic@127.0.0.1:{}/postgres", self.port)
    }

    /// The same by its socket.
    pub fn socket_url(&self) -> String {
        format!("postgres:///postgres?host={}&port={}&user=declic", self.folder.display(), self.port)
    }

    /// For a user who needs TLS and a password, at this name of the machine.
    pub fn secured_url(&self, host: &str) -> String {
        format!("postgres://secured@{host}:{}/postgres", self.port)
    }

    /// The certificate of the authority that signed the server's.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Another certificate, which signed nothing.
    pub fn stranger(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// A name that no other test has.
    pub fn new_schema(&self) -> String {
        format!("t{}", self.schemas.fetch_add(1, Ordering::Relaxed))
    }

    /// Somebody else's connection, for looking and for standing in the way.
    pub async fn connect(&self) -> tokio_postgres::Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await.expect("the server answers");
        // It ends with its client.
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The script ends with its input.
        if let Ok(talk) = self.talk.get_mut() {
            talk.0 = None;
        }
        if let Ok(script) = self.script.get_mut() {
            drop(script.wait());
        }
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut text = String::new();
    output.read_line(&mut text).expect("the script can be heard");
    text.trim_end().to_owned()
}
