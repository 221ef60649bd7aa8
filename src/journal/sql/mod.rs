//! The ledger, written once in SQL that every store's database understands. A store brings connections and its own way of committing; what
//! is written in a transaction, and in which order, is the same for all.
//!
//! What only a database with several writers needs stands in the statements as a comment that SQLite passes over: `/*pg: FOR UPDATE */`.
//! Rows are locked in one order: names (groups, targets) first, then a delivery, then its runs; claims wait for nobody.

mod append;
mod audit;
mod by_hand;
mod claim;
mod deliveries;
mod exclusive;
mod filter;
pub(super) mod identity;
mod journal;
mod ledger;
mod listing;
mod locks;
mod look;
mod order;
mod retention;
mod rows;
mod store;
mod streaks;
mod value;

pub(super) use append::{append, known, leased};
pub(super) use claim::{ITS_TURN, due_by_share};
pub(super) use deliveries::share;
pub use look::ReadOnly;
pub(super) use look::{Look, Looking};
pub(super) use store::{Care, Database, Durability, Fault, Session, Store, Undo};
pub(super) use value::{Columns, Row, ToValue, Value};

/// Refuses what a newer Declic wrote.
pub(super) fn not_newer(version: i64, newest: i64) -> Result<(), String> {
    if version > newest {
        return Err(format!(
            "it has schema {version}, this Declic knows only {newest}: run the Declic that wrote it, or a newer one"
        ));
    }
    Ok(())
}
