//! Looking into a server from a thread that may block: for commands, beside the replicas that serve from it.

use deadpool_postgres::Pool;
use tokio::runtime::Runtime;

use super::database::Connection;
use super::{OpenError, Options, pool, schema, unreachable};
use crate::journal::JournalError;
use crate::journal::sql::{Database, Fault, Look, Looking, ReadOnly};

/// A server, and the thread that speaks to it.
struct Server {
    pool: Pool,
    runtime: Option<Runtime>,
}

impl ReadOnly {
    /// A server whose tables are there already.
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
        let known = on_the(&runtime, known);
        let server = Server { pool, runtime: Some(runtime) };
        known.map_err(fail)?;
        Ok(Self(Box::new(server)))
    }
}

impl Look for Server {
    fn with(&self, query: Looking<'_>) -> Result<(), JournalError> {
        let Some(runtime) = &self.runtime else { return Err(JournalError::Down("the store was closed".to_owned())) };
        let client = on_the(runtime, async { self.pool.get().await.map_err(|error| unreachable(&error)) });
        Ok(in_one_view(Connection::new(client.map_err(JournalError::Down)?), query)?)
    }

    /// The server looks after its files itself.
    fn damage(&self) -> Result<Option<String>, JournalError> {
        Ok(None)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Waiting for its threads is not allowed inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// From a thread of its own, because whoever looks may be inside another runtime.
fn on_the<T: Send>(runtime: &Runtime, work: impl Future<Output = Result<T, String>> + Send) -> Result<T, String> {
    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(work)).join())
        .unwrap_or_else(|_| Err("the thread that speaks to the server fell over".to_owned()))
}

/// Several statements of one query see the same moment.
pub(super) fn in_one_view<T>(connection: Connection, query: impl FnOnce(&dyn Database) -> Result<T, Fault>) -> Result<T, Fault> {
    connection.begin_view()?;
    let result = query(&connection);
    connection.roll_back();
    result
}
