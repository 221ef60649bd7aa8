//! `store:`

use std::path::PathBuf;
use std::time::Duration;

use declic_actions::action::Field;
use serde_json::{Map, Value};

use super::Store;
use super::read::Reader;
use super::sections::{field, length, text};
use crate::journal::place::{Place, Server};
use crate::journal::postgres::{Address, Certificate};
use crate::rules::suggest::did_you_mean;
use crate::rules::yaml::Entry;

/// `store:` as a mapping.
pub static STORE: &[Field] = &[
    field(
        "sqlite",
        "string?",
        "Path of the database file; if not given, `declic.db` in `STATE_DIRECTORY` of the environment, or beside the settings",
    ),
    field(
        "postgres",
        "string?",
        "A PostgreSQL server in place of a file, for several replicas: `postgres://USER@HOST/DATABASE`, or a folder of sockets such as \
         `postgres:///DATABASE?host=/cloudsql/PROJECT:REGION:INSTANCE&user=USER`",
    ),
    field("password", "secret?", "Entry of `secrets:` with the password of the server's user"),
    field(
        "tls",
        "string?",
        "`full` checks issuer and name of the server's certificate, `issuer` only who issued it, `off` goes without; if not given, `off` on \
         this machine and `full` elsewhere",
    ),
    field(
        "ca",
        "string?",
        "Path of a file with the certificates that the server's issuer goes by, if this machine does not know it",
    ),
    field("schema", "string?", "Schema of the tables on the server, `declic` if not given"),
    field("connections", "int?", "Connections to the server at once, 10 if not given; each replica has one more that listens"),
    field("keep", "duration?", "How long finished deliveries and runs are kept, 30d if not given"),
    field(
        "max-size",
        "string?",
        "The oldest finished deliveries go earlier while the store holds more than this: `500MiB`, `10GiB`",
    ),
];

/// What only a server has.
const OF_SERVER: [&str; 5] = ["password", "tls", "ca", "schema", "connections"];

const DAY: Duration = Duration::from_secs(86_400);

impl Reader<'_> {
    /// `store: sqlite` or `store: { sqlite: path, keep: 30d }` or `store: { postgres: url }`. Where a service manager or an image gives a
    /// folder for state, the default is there: settings are often read-only.
    pub fn store(&mut self, entry: Option<&Entry>) -> Store {
        let state = self.environment.get("STATE_DIRECTORY").filter(|folder| !folder.is_empty());
        let folder = state.map_or_else(|| self.folder.clone(), PathBuf::from);
        let mut store = Store { place: Place::File(folder.join("declic.db")), keep: DAY * 30, max_size: None };
        let Some(entry) = entry else { return store };
        if let Some(scalar) = entry.value.scalar() {
            let help = match scalar.text.as_str() {
                "sqlite" => return store,
                "postgres" => "name the server: `store: { postgres: postgres://USER@HOST/DATABASE }`".to_owned(),
                word => did_you_mean(word, ["sqlite", "postgres"]).unwrap_or_else(|| "write `store: sqlite`".to_owned()),
            };
            let message = match scalar.text.as_str() {
                "postgres" => "`store: postgres` does not say where".to_owned(),
                word => format!("there is no store `{word}`"),
            };
            self.faults.error("name", entry.value.span.clone(), message, Some(help));
            return store;
        }
        let fields = self.mapping(entry, STORE);
        match (text(&fields, "sqlite"), text(&fields, "postgres")) {
            (Some(_), Some(_)) => {
                self.wrong(entry, "postgres", "a store is a file or a server, not both", "take out `sqlite` or `postgres`");
            }
            (_, Some(url)) => {
                if let Some(server) = self.server(entry, &fields, &url) {
                    store.place = Place::Server(Box::new(server));
                }
            }
            (path, None) => {
                if let Some(path) = path {
                    store.place = Place::File(self.folder.join(path));
                }
                if let Some(key) = OF_SERVER.into_iter().find(|key| fields.contains_key(*key)) {
                    self.wrong(
                        entry,
                        key,
                        &format!("`{key}` belongs to a server"),
                        "name the server in `postgres`, or take it out",
                    );
                }
            }
        }
        if let Some(keep) = length(&fields, "keep") {
            store.keep = keep;
        }
        if let Some(size) = text(&fields, "max-size") {
            store.max_size = bytes(&size);
            if store.max_size.is_none() {
                let help = "write a number with MiB, GiB or TiB, at least 16MiB: `10GiB`".to_owned();
                self.faults.error("value", entry.value.span.clone(), format!("`max-size: {size}` is not a size"), Some(help));
            }
        }
        store
    }

    fn server(&mut self, entry: &Entry, fields: &Map<String, Value>, url: &str) -> Option<Server> {
        let mut address = match Address::read(url) {
            Ok(address) => address,
            Err(why) => {
                // It may hold a password.
                if let Some(written) = entry.value.get("postgres") {
                    self.faults.conceal(written.value.span.clone());
                }
                self.wrong(entry, "postgres", "this is no address of a PostgreSQL server", &why);
                return None;
            }
        };
        if let Some(word) = text(fields, "tls") {
            match Certificate::of_word(&word) {
                Some(certificate) => address = address.with_certificate(certificate),
                None => {
                    let help = did_you_mean(&word, Certificate::WORDS.iter().copied());
                    self.wrong(entry, "tls", "`tls` is full or issuer or off", help.as_deref().unwrap_or("leave it out"));
                }
            }
        }
        let schema = text(fields, "schema").unwrap_or_else(|| "declic".to_owned());
        if schema.is_empty() || !schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            self.wrong(entry, "schema", &format!("`{schema}` cannot name a schema"), "use small letters, digits and _");
        }
        let connections = fields.get("connections").and_then(Value::as_u64).unwrap_or(10);
        if !(2..=1000).contains(&connections) {
            self.wrong(entry, "connections", "`connections` must be a number from 2 to 1000", "10 is enough for most");
        }
        Some(Server {
            address,
            password_name: text(fields, "password"),
            password: None,
            ca: text(fields, "ca").map(|path| self.folder.join(path)),
            schema,
            connections: usize::try_from(connections).unwrap_or(10),
        })
    }

    fn wrong(&mut self, entry: &Entry, key: &str, message: &str, help: &str) {
        let span = entry.value.get(key).map_or_else(|| entry.value.span.clone(), |field| field.value.span.clone());
        self.faults.error("value", span, message, Some(help.to_owned()));
    }
}

/// A size in bytes: `10GiB`. Below 16 MiB the store's own pages would leave no room.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes >= 16 << 20)
}
