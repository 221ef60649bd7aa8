//! Hints between replicas, by LISTEN and NOTIFY. They may be late or lost without harm: every replica also looks by itself.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tokio_postgres::{AsyncMessage, Config};

use super::tls::Tls;

/// A notice that ends a transaction makes the others of the server wait for it: one for all that happened meanwhile is enough.
const AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// A connection that was lost is made again after this long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Tells the other replicas that something may be due, as often as `changed` says so.
pub(super) async fn tell(pool: Pool, channel: String, changed: Arc<Notify>) {
    loop {
        changed.notified().await;
        if let Ok(client) = pool.get().await {
            // A hint that cannot be sent is none.
            drop(client.execute("SELECT pg_notify($1, '')", &[&channel]).await);
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
    }
}

/// Hears what the others tell; after each break of the connection it says so too, for what may have been missed.
pub(super) async fn hear(config: Config, tls: Tls, channel: String, heard: watch::Sender<u64>) {
    loop {
        if let Ok((client, mut connection)) = config.connect(tls.clone()).await {
            let messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
            let listen = async {
                if client.batch_execute(&format!("LISTEN \"{channel}\"")).await.is_err() {
                    return;
                }
                heard.send_modify(|count| *count += 1);
                // Held until the connection ends: without its client it would end at once.
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = listen => {}
                () = each(messages, &heard) => {}
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn each(
    messages: impl futures_util::Stream<Item = Result<AsyncMessage, tokio_postgres::Error>>,
    heard: &watch::Sender<u64>,
) {
    use futures_util::StreamExt;
    let mut messages = std::pin::pin!(messages);
    while let Some(Ok(message)) = messages.next().await {
        if matches!(message, AsyncMessage::Notification(_)) {
            heard.send_modify(|count| *count += 1);
        }
    }
}
