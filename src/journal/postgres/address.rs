//! Where the server is and how it is spoken to: the URL of the settings, the password beside it, TLS.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use declic_actions::secret::Secret;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::{self, Tls};

/// A server that does not answer is given up after this long.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection over which nothing comes back is dead after this long.
const SILENCE: Duration = Duration::from_secs(15);

/// How much of a server's certificate must be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate {
    /// Who issued it, and the name in it. The default, but for this machine.
    Full,
    /// Who issued it: for servers that are reached by another name than they have, such as Cloud SQL by its address.
    Issuer,
    /// No TLS: for sockets of this machine and for networks that are trusted.
    Off,
}

impl Certificate {
    /// The words of `tls:`.
    pub const WORDS: &[&str] = &["full", "issuer", "off"];

    /// What a word of `tls:` means.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "full" => Some(Self::Full),
            "issuer" => Some(Self::Issuer),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// A server and a database on it.
#[derive(Debug, Clone)]
pub struct Address {
    config: Config,
    certificate: Certificate,
    /// For people: without user and password.
    shown: String,
}

impl Address {
    /// Reads `postgres://USER@HOST:PORT/DATABASE`; a folder of sockets is `?host=/cloudsql/PROJECT:REGION:INSTANCE`. The error says what
    /// to write instead.
    pub fn read(url: &str) -> Result<Self, String> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it must begin with postgres://, such as postgres://declic@10.0.0.5/declic".to_owned());
        }
        let mut config = Config::from_str(url)
            .map_err(|error| format!("{}: write it as postgres://USER@HOST:PORT/DATABASE", without_url(&chain(&error), url)))?;
        if config.get_password().is_some() {
            return Err("a password does not belong there: name an entry of `secrets:` in `password`".to_owned());
        }
        if url.contains("sslmode=") {
            return Err("`sslmode` does not belong there: write `tls: full`, `issuer` or `off` beside it".to_owned());
        }
        if config.get_hosts().is_empty() {
            return Err("it names no host; for a socket, write `?host=/var/run/postgresql` at its end".to_owned());
        }
        config
            .application_name("declic")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE)
            // After a failover one of the hosts is a standby: it would take no delivery.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let near = config.get_hosts().iter().all(|host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        });
        let certificate = if near { Certificate::Off } else { Certificate::Full };
        let shown = shown(&config);
        Ok(Self { config, certificate, shown })
    }

    /// With the password of its user.
    #[must_use]
    pub fn with_password(mut self, password: &Secret) -> Self {
        self.config.password(password.expose());
        self
    }

    /// With another look at the server's certificate.
    #[must_use]
    pub fn with_certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = certificate;
        self
    }

    /// The configuration for connecting, with TLS as it was asked for; `ca` is a file of certificates in place of the system's.
    pub(super) fn connector(&self, ca: Option<&Path>) -> Result<(Config, Tls), String> {
        let mut config = self.config.clone();
        config.ssl_mode(if self.certificate == Certificate::Off { SslMode::Disable } else { SslMode::Require });
        Ok((config, tls::connector(self.certificate, ca)?))
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.shown)
    }
}

fn shown(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Unix(folder) => folder.display().to_string(),
        Host::Tcp(name) => name.clone(),
    });
    format!("{} on {}", config.get_dbname().or(config.get_user()).unwrap_or("postgres"), hosts.collect::<Vec<_>>().join(", "))
}

/// An error with its causes: the outermost one of the driver is only `db error`.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// An address that cannot be read may hold a password.
fn without_url(text: &str, url: &str) -> String {
    text.replace(url, "the address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_never_hold_a_password() {
        for (url, shown, certificate) in [
            ("postgres://declic@10.0.0.5/ledger", "ledger on 10.0.0.5", Certificate::Full),
            ("postgresql://declic@db.example:6432/x", "x on db.example", Certificate::Full),
            ("postgres://declic@127.0.0.1/x", "x on 127.0.0.1", Certificate::Off),
            ("postgres:///x?host=/cloudsql/p:r:i&user=declic", "x on /cloudsql/p:r:i", Certificate::Off),
            ("postgres://declic@a,b/x", "x on a, b", Certificate::Full),
        ] {
            let address = Address::read(url).unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!((address.to_string().as_str(), address.certificate), (shown, certificate), "{url}");
        }
        for (url, says) in [
            ("mysql://x", "begin with postgres://"),
            ("postgres://declic:hunter2@db/x", "secrets"),
            ("postgres://declic@db/x?sslmode=require", "tls"),
            ("postgres:///x", "no host"),
            ("postgres://declic@db:hunter2/x", "USER@HOST"),
        ] {
            let why = Address::read(url).map(|address| address.to_string()).expect_err(url);
            assert!(why.contains(says) && !why.contains("hunter2"), "{url}: {why}");
        }
    }
}
