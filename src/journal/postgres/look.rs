//! Looking into a server from a thread that may block: for commands, beside the replicas that serve from it.

use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Pool;
use tokio::runtime::Runtime;

use super::database::Connection;
use super::{OpenError, Options, pool, schema, unreachable};
use crate::journal::JournalError;
use crate::journal::sql::{Database, Fault, Look, Looking, ReadOnly};

/// A server, and the thread that speaks to it.
struct Server {
    pool: Pool,
    runtime: Mutex<Runtime>,
}

impl ReadOnly {
    /// A server whose tables are there already. Not from within a runtime.
    pub fn of_server(options: &Options) -> Result<Self, OpenError> {
        let address = options.address.to_string();
        let fail = |why: String| OpenError { address: address.clone(), why };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| fail(error.to_string()))?;
        let (config, tls) = options.address.connector(options.ca.as_deref()).map_err(fail)?;
        let pool = pool(config, tls, options).map_err(fail)?;
        let known = async {
            let client = pool.get().await.map_err(|error| unreachable(&error))?;
            schema::recognise(&client).await
        };
        runtime.block_on(known).map_err(fail)?;
        Ok(Self(Box::new(Server { pool, runtime: Mutex::new(runtime) })))
    }
}

impl Look for Server {
    fn with(&self, query: Looking<'_>) -> Result<(), JournalError> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let client = runtime.block_on(self.pool.get()).map_err(|error| JournalError::Down(unreachable(&error)))?;
        Ok(in_one_view(Connection::new(client), query)?)
    }

    /// The server looks after its files itself.
    fn damage(&self) -> Result<Option<String>, JournalError> {
        Ok(None)
    }
}

/// Several statements of one query see the same moment.
pub(super) fn in_one_view<T>(connection: Connection, query: impl FnOnce(&dyn Database) -> Result<T, Fault>) -> Result<T, Fault> {
    connection.begin_view()?;
    let result = query(&connection);
    connection.roll_back();
    result
}
