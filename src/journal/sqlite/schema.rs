//! The tables, and how older ones become them.

use rusqlite::{Connection, TransactionBehavior};

use crate::journal::sql::not_newer;

/// `Decl` in ASCII: a file with another mark is not ours.
const APPLICATION_ID: i32 = 0x4465_636c;

/// Schema n is what the first n of these make. A released one is never edited: add another.
const MIGRATIONS: &[&str] = &[
    // `next_at` is when somebody may take the subject: its arrival, its due time, or the end of its lease. NULL: never again.
    // Bodies are apart, so that a change of state does not write a body again.
    "CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY,
        source TEXT NOT NULL,
        delivery_id TEXT NOT NULL,
        event_type TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        trace TEXT NOT NULL,
        verified TEXT NOT NULL,
        size INTEGER NOT NULL,
        replay INTEGER NOT NULL DEFAULT 0,
        state TEXT NOT NULL,
        reason TEXT,
        finished_at INTEGER,
        next_at INTEGER,
        claims INTEGER NOT NULL DEFAULT 0,
        token INTEGER NOT NULL DEFAULT 0
     );
     CREATE UNIQUE INDEX deliveries_known ON deliveries (source, delivery_id) WHERE replay = 0;
     CREATE INDEX deliveries_next ON deliveries (next_at) WHERE next_at IS NOT NULL;
     CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
     CREATE TABLE contents (
        delivery INTEGER PRIMARY KEY,
        headers TEXT NOT NULL,
        body BLOB NOT NULL
     );
     CREATE TABLE traces (
        delivery INTEGER PRIMARY KEY,
        traces TEXT NOT NULL
     );
     CREATE TABLE runs (
        seq INTEGER PRIMARY KEY,
        delivery INTEGER NOT NULL,
        number INTEGER NOT NULL,
        rule TEXT NOT NULL,
        owner TEXT,
        place TEXT NOT NULL,
        revision TEXT NOT NULL,
        state TEXT NOT NULL,
        group_key TEXT,
        group_mode TEXT,
        round INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL,
        started_at INTEGER,
        finished_at INTEGER,
        failure TEXT,
        covered_by INTEGER,
        next_at INTEGER,
        claims INTEGER NOT NULL DEFAULT 0,
        token INTEGER NOT NULL DEFAULT 0,
        worker TEXT
     );
     CREATE UNIQUE INDEX runs_of ON runs (delivery, number);
     CREATE INDEX runs_next ON runs (next_at) WHERE next_at IS NOT NULL;
     CREATE INDEX runs_group ON runs (group_key, seq) WHERE group_key IS NOT NULL AND next_at IS NOT NULL;
     CREATE INDEX runs_revision ON runs (revision);
     CREATE TABLE steps (
        run INTEGER NOT NULL,
        round INTEGER NOT NULL,
        phase TEXT NOT NULL,
        number INTEGER NOT NULL,
        id TEXT,
        name TEXT,
        uses TEXT NOT NULL,
        state TEXT NOT NULL,
        intent TEXT,
        saved TEXT,
        outcome TEXT,
        why TEXT,
        started_at INTEGER,
        finished_at INTEGER,
        PRIMARY KEY (run, round, phase, number)
     ) WITHOUT ROWID;
     CREATE TABLE attempts (
        run INTEGER NOT NULL,
        step_round INTEGER NOT NULL,
        phase TEXT NOT NULL,
        step INTEGER NOT NULL,
        number INTEGER NOT NULL,
        round INTEGER NOT NULL,
        worker TEXT NOT NULL,
        state TEXT NOT NULL,
        why TEXT,
        started_at INTEGER NOT NULL,
        finished_at INTEGER,
        PRIMARY KEY (run, step_round, phase, step, number)
     ) WITHOUT ROWID;
     CREATE TABLE rule_sets (
        revision TEXT PRIMARY KEY,
        files TEXT NOT NULL,
        kept_at INTEGER NOT NULL
     );
     CREATE TABLE probe (
        id INTEGER PRIMARY KEY,
        count INTEGER NOT NULL
     );
     INSERT INTO probe (id, count) VALUES (1, 0);",
    // What orders runs: commits of deliveries, what a step has to itself, and what was last done there; and what people ask for.
    "ALTER TABLE runs ADD COLUMN share TEXT NOT NULL DEFAULT '';
     ALTER TABLE runs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE runs ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE runs ADD COLUMN note TEXT;
     ALTER TABLE runs ADD COLUMN waits_for TEXT;
     ALTER TABLE steps ADD COLUMN exclusive TEXT;
     CREATE INDEX steps_exclusive ON steps (exclusive) WHERE exclusive IS NOT NULL;
     CREATE INDEX runs_waits_for ON runs (waits_for) WHERE waits_for IS NOT NULL;
     CREATE INDEX runs_share ON runs (share, next_at) WHERE next_at IS NOT NULL;
     CREATE TABLE lines (
        delivery INTEGER PRIMARY KEY,
        repository TEXT NOT NULL,
        reference TEXT NOT NULL,
        before_sha TEXT,
        after_sha TEXT NOT NULL,
        forced INTEGER NOT NULL
     );
     CREATE INDEX lines_of ON lines (repository, reference, delivery);
     CREATE TABLE ancestry (
        repository TEXT NOT NULL,
        line TEXT NOT NULL,
        other TEXT NOT NULL,
        known TEXT NOT NULL,
        kept_at INTEGER NOT NULL,
        PRIMARY KEY (repository, line, other)
     ) WITHOUT ROWID;
     CREATE TABLE exclusives (
        name TEXT PRIMARY KEY,
        run INTEGER NOT NULL,
        run_id TEXT NOT NULL,
        delivery INTEGER NOT NULL,
        repository TEXT,
        reference TEXT,
        before_sha TEXT,
        after_sha TEXT,
        forced INTEGER
     ) WITHOUT ROWID;
     CREATE TABLE marks (
        name TEXT PRIMARY KEY,
        at INTEGER NOT NULL
     ) WITHOUT ROWID;",
    // What people look for, and what they did.
    "ALTER TABLE deliveries ADD COLUMN event TEXT;
     ALTER TABLE deliveries ADD COLUMN repository TEXT;
     ALTER TABLE deliveries ADD COLUMN title TEXT;
     CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        who TEXT NOT NULL,
        act TEXT NOT NULL,
        subject TEXT NOT NULL,
        outcome TEXT
     );",
    // What people answer to steps that ask.
    "ALTER TABLE steps ADD COLUMN answer TEXT;",
    // Runs that do nothing.
    "ALTER TABLE runs ADD COLUMN dry INTEGER NOT NULL DEFAULT 0;",
    // What a provider was asked about a delivery; and what is told once, however often it happens.
    "ALTER TABLE deliveries ADD COLUMN learned TEXT;
     ALTER TABLE runs ADD COLUMN streak INTEGER;
     CREATE TABLE streaks (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        count INTEGER NOT NULL,
        first_at INTEGER NOT NULL,
        last_at INTEGER NOT NULL,
        delivery INTEGER NOT NULL,
        run INTEGER,
        kept TEXT
     );
     CREATE INDEX streaks_key ON streaks (key, seq);
     CREATE INDEX streaks_delivery ON streaks (delivery);",
    // What actions say of their steps. And runs that failed, which people look for first, without a look at all the others.
    "ALTER TABLE steps ADD COLUMN said TEXT;
     CREATE INDEX runs_failed ON runs (seq) WHERE state IN ('failed', 'dead');",
    // Deliveries in turn: those that wait by their share, those in hand by the end of their lease.
    "ALTER TABLE deliveries ADD COLUMN share TEXT NOT NULL DEFAULT '';
     DROP INDEX deliveries_next;
     CREATE INDEX deliveries_waiting ON deliveries (share, next_at) WHERE state = 'accepted';
     CREATE INDEX deliveries_leased ON deliveries (next_at) WHERE state = 'matching';",
];

/// Brings the file to the newest schema, all in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), String> {
    let newest = i64::try_from(MIGRATIONS.len()).map_err(|error| error.to_string())?;
    let marks = marks(connection)?;
    let version = marks.version;
    check(marks, newest)?;
    if version == newest {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|error| error.to_string())?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(migration).map_err(|error| error.to_string())?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(|error| error.to_string())?;
    transaction.pragma_update(None, "user_version", newest).map_err(|error| error.to_string())?;
    transaction.commit().map_err(|error| error.to_string())
}

/// Refuses a file that is not ours, or not of this version; for those who only read.
pub(super) fn recognise(connection: &Connection) -> Result<(), String> {
    let newest = i64::try_from(MIGRATIONS.len()).map_err(|error| error.to_string())?;
    let marks = marks(connection)?;
    let version = marks.version;
    check(marks, newest)?;
    if version < newest {
        return Err(format!(
            "it has schema {version}, this Declic reads schema {newest}: start `declic serve` once, it brings the file up to date"
        ));
    }
    Ok(())
}

struct Marks {
    version: i64,
    mark: i32,
    tables: i64,
}

fn marks(connection: &Connection) -> Result<Marks, String> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let version = number("user_version").map_err(|error| error.to_string())?;
    let mark = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(|error| error.to_string())?;
    let tables =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(|error| error.to_string())?;
    Ok(Marks { version, mark, tables })
}

fn check(Marks { version, mark, tables }: Marks, newest: i64) -> Result<(), String> {
    if mark != APPLICATION_ID && (mark != 0 || version != 0 || tables != 0) {
        return Err("it is a database of another program: name another file in `store:`".to_owned());
    }
    not_newer(version, newest)
}
