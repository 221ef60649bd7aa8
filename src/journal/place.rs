//! Where the journal is, as the settings say, and the ways of opening it: to serve from it, to change it beside whoever serves, to look.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use declic_actions::secret::Secret;

use super::Journal;
use super::crash::Faults;
use super::postgres::{self, Address, Postgres};
use super::sqlite::{self, ReadOnly, Sqlite};

/// Where the journal is.
#[derive(Debug, Clone)]
pub enum Place {
    /// `sqlite:` a file of this machine.
    File(PathBuf),
    /// `postgres:` a server.
    Server(Box<Server>),
}

/// A server and what is needed to use it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its URL, without a password.
    pub address: Address,
    /// Entry of `secrets:` with the password.
    pub password_name: Option<String>,
    /// The password. None where it could not be read, and until it was fetched if it is in Secret Manager.
    pub password: Option<Secret>,
    /// Certificates of its issuer.
    pub ca: Option<PathBuf>,
    /// Schema of the tables.
    pub schema: String,
    /// Connections, at most.
    pub connections: usize,
}

impl Place {
    /// Opens or makes the store of a process that serves. The error is for the operator.
    pub async fn serve(&self, faults: Faults) -> Result<Arc<dyn Journal>, String> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let options = sqlite::Options { faults, ..sqlite::Options::default() };
                let opened = tokio::task::spawn_blocking(move || Sqlite::open(&path, options)).await;
                let opened = opened.map_err(|error| format!("opening the store broke off: {error}"))?;
                Ok(Arc::new(opened.map_err(|error| error.to_string())?))
            }
            Self::Server(server) => {
                let options = postgres::Options { faults, ..server.options()? };
                Ok(Arc::new(Postgres::open(options).await.map_err(|error| error.to_string())?))
            }
        }
    }

    /// Opens an existing store for what a person asks for, beside the process that may be serving from it.
    pub async fn beside(&self) -> Result<Arc<dyn Journal>, String> {
        match self {
            Self::File(path) => Ok(Arc::new(Sqlite::beside(path).map_err(|error| error.to_string())?)),
            Self::Server(_) => self.serve(Faults::default()).await,
        }
    }

    /// Opens an existing store for looking into.
    pub fn look(&self) -> Result<ReadOnly, String> {
        match self {
            Self::File(path) => ReadOnly::open(path).map_err(|error| error.to_string()),
            Self::Server(server) => ReadOnly::of_server(&server.options()?).map_err(|error| error.to_string()),
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(formatter),
            Self::Server(server) => write!(formatter, "PostgreSQL, {}", server.address),
        }
    }
}

impl Server {
    fn options(&self) -> Result<postgres::Options, String> {
        let address = match (&self.password_name, &self.password) {
            (_, Some(password)) => self.address.clone().with_password(password),
            (None, None) => self.address.clone(),
            (Some(name), None) => {
                return Err(format!(
                    "the password of the store, the secret `{name}`, cannot be read here; a service elsewhere is asked with --remote"
                ));
            }
        };
        let options = postgres::Options::new(address);
        Ok(postgres::Options { ca: self.ca.clone(), schema: self.schema.clone(), connections: self.connections, ..options })
    }
}
