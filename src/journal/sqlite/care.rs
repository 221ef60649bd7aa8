//! Care of the file by its operator: what it holds, a copy of it while it is served from, whether it is whole, and making it small.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::{OpenError, Options, connect, lock, reader, schema};

/// Faults that are told at most; a file that is broken is broken in many places.
const MOST_FAULTS: usize = 100;

/// What a store holds. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// The database file.
    pub file: u64,
    /// The log beside it, which moves into the file from time to time.
    pub log: u64,
    /// Of the file, what nothing uses any more; it is used again before the file grows.
    pub free: u64,
    /// Version of the schema.
    pub schema: i64,
    /// How many deliveries are in each state.
    pub deliveries: Vec<(String, u64)>,
    /// How many runs are in each state.
    pub runs: Vec<(String, u64)>,
}

/// Looks into a store that may be served from.
pub fn measure(path: &Path) -> Result<Measure, OpenError> {
    let connection = look(path)?;
    let ask = || -> rusqlite::Result<Measure> {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let page = number("page_size")?;
        Ok(Measure {
            file: size(path),
            log: size(&beside(path, "-wal")),
            free: unsigned(number("freelist_count")? * page),
            schema: number("user_version")?,
            deliveries: states(&connection, "deliveries")?,
            runs: states(&connection, "runs")?,
        })
    };
    ask().map_err(|error| fail(path, error))
}

fn states(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, u64)>> {
    let mut statement = connection.prepare(&format!("SELECT state, count(*) FROM {table} GROUP BY state ORDER BY state"))?;
    statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?.collect()
}

/// Writes a copy as of one moment, while the store may be served from. It is there whole or not at all: under a name of its own until it
/// is on disk. `copied` is told now and then how many bytes are written, of about how many.
pub fn backup(path: &Path, to: &Path, replace: bool, copied: impl Fn(u64, u64) + Send + Sync) -> Result<u64, OpenError> {
    let connection = look(path)?;
    if to.exists() && !replace {
        return Err(fail(to, "there is a file of that name already; name another one, or say --force"));
    }
    let part = beside(to, ".part");
    // What is in a store is for its operator only, and so is the copy, from its first byte on.
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part);
    drop(made.map_err(|error| fail(&part, error))?);
    let whole = size(path);
    let result = std::thread::scope(|scope| {
        let (done, waiting) = std::sync::mpsc::channel::<()>();
        let part = &part;
        scope.spawn(move || {
            while waiting.recv_timeout(std::time::Duration::from_millis(200)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                copied(size(part), whole);
            }
        });
        let result = copy(&connection, part, to);
        drop(done);
        result
    });
    if result.is_err() {
        // Best effort: what is reported is why there is no copy.
        drop(fs::remove_file(&part));
    }
    result.map_err(|why| fail(to, why))?;
    Ok(size(to))
}

/// The copy is one transaction's view of the store; readers do not hold up whoever writes.
fn copy(connection: &Connection, part: &Path, to: &Path) -> Result<(), String> {
    let name = part.to_str().ok_or("its path is not UTF-8")?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| error.to_string())?;
    let synced = File::open(part).and_then(|file| file.sync_all()).and_then(|()| fs::rename(part, to));
    synced.and_then(|()| File::open(folder(to))?.sync_all()).map_err(|error| error.to_string())
}

/// What is wrong with a store; nothing if it is whole. It may be served from meanwhile.
pub fn check(path: &Path) -> Result<Vec<String>, OpenError> {
    let connection = look(path)?;
    let mut faults = Vec::new();
    // A file that is damaged enough breaks off the very checks; that is a finding, too.
    match damage(&connection) {
        Ok(found) => faults.extend(found),
        Err(error) => faults.push(error.to_string()),
    }
    if faults.is_empty() {
        for (what, sql) in RELATIONS {
            match connection.query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| row.get::<_, i64>(0)) {
                Ok(0) => {}
                Ok(count) => faults.push(format!("{count} {what}")),
                Err(error) => faults.push(error.to_string()),
            }
        }
    }
    faults.truncate(MOST_FAULTS);
    Ok(faults)
}

fn damage(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MOST_FAULTS})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// What must hold between the tables; each query finds what does not.
const RELATIONS: &[(&str, &str)] = &[
    ("deliveries have no body", "SELECT 1 FROM deliveries WHERE seq NOT IN (SELECT delivery FROM contents)"),
    ("bodies belong to no delivery", "SELECT 1 FROM contents WHERE delivery NOT IN (SELECT seq FROM deliveries)"),
    ("runs belong to no delivery", "SELECT 1 FROM runs WHERE delivery NOT IN (SELECT seq FROM deliveries)"),
    ("steps belong to no run", "SELECT 1 FROM steps WHERE run NOT IN (SELECT seq FROM runs)"),
    (
        "attempts belong to no step",
        "SELECT 1 FROM attempts a WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.run = a.run AND s.round = a.step_round
            AND s.phase = a.phase AND s.number = a.step)",
    ),
    (
        "deliveries that are over would be matched again",
        "SELECT 1 FROM deliveries WHERE finished_at IS NOT NULL AND next_at IS NOT NULL",
    ),
    ("runs that are over would be done again", "SELECT 1 FROM runs WHERE finished_at IS NOT NULL AND next_at IS NOT NULL"),
    ("runs that are not over would never be done", "SELECT 1 FROM runs WHERE finished_at IS NULL AND next_at IS NULL"),
    (
        "deliveries are over while a run of theirs is not",
        "SELECT 1 FROM deliveries d WHERE d.finished_at IS NOT NULL
            AND EXISTS (SELECT 1 FROM runs r WHERE r.delivery = d.seq AND r.finished_at IS NULL)",
    ),
];

/// Gives the file's unused room back to the disk. Nobody may serve from it meanwhile. Answers its size before and after.
pub fn compact(path: &Path) -> Result<(u64, u64), OpenError> {
    drop(look(path)?);
    let _lock = lock(path).map_err(|why| fail(path, why))?;
    let before = size(path) + size(&beside(path, "-wal"));
    let work = || -> rusqlite::Result<()> {
        let connection = connect(path, &Options::default())?;
        connection.execute_batch("PRAGMA synchronous = FULL; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
    };
    work().map_err(|error| fail(path, error))?;
    Ok((before, size(path) + size(&beside(path, "-wal"))))
}

/// A connection that changes nothing by itself, to a file that is ours.
fn look(path: &Path) -> Result<Connection, OpenError> {
    if !path.is_file() {
        return Err(fail(path, "there is no such file; has `declic serve` run with these settings?"));
    }
    let connection = reader::connect(path).map_err(|error| fail(path, error))?;
    schema::recognise(&connection).map_err(|why| fail(path, why))?;
    Ok(connection)
}

fn fail(path: &Path, why: impl ToString) -> OpenError {
    OpenError { path: path.to_owned(), why: why.to_string() }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
