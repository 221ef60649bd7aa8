//! Group commit: all deliveries that wait while a transaction is built go into it together, as one statement, and are answered after its
//! commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::database::{Connection, Opened, number, plain};
use super::{Transactions, down};
use crate::journal::JournalError;
use crate::journal::record::{Appended, DeliveryState, Left, NewDelivery, TakenIn};
use crate::journal::sql::{Fault, Session, identity, known, leased, share};

/// Deliveries in one transaction, at most.
const BATCH: usize = 256;
/// Bytes of bodies in one transaction, about: a transaction of many megabytes would make small ones wait.
const BATCH_BYTES: usize = 8 << 20;

/// One delivery on its way in.
pub(super) struct Arrival {
    pub delivery: NewDelivery,
    pub lease: Option<Duration>,
    pub answer: oneshot::Sender<Result<TakenIn, JournalError>>,
}

/// Until the last handle of the store is gone.
pub(super) async fn take_in(transactions: Transactions, mut arrivals: mpsc::Receiver<Arrival>) {
    while let Some(first) = arrivals.recv().await {
        let mut size = first.delivery.body.len();
        let mut batch = vec![first];
        while batch.len() < BATCH && size < BATCH_BYTES {
            let Ok(arrival) = arrivals.try_recv() else { break };
            size += arrival.delivery.body.len();
            batch.push(arrival);
        }
        keep(&transactions, batch).await;
    }
}

/// Everything that is new in one transaction; what came before is looked at after it, and holds nobody up.
async fn keep(transactions: &Transactions, batch: Vec<Arrival>) {
    let batch = Arc::new(batch);
    let rows = Arc::clone(&batch);
    let numbers = batch.len();
    let kept = transactions.write(numbers, move |connection, opened| insert(connection, opened, &rows)).await;
    // The work is done, and nobody else has it.
    let Some(batch) = Arc::into_inner(batch) else { return };
    let kept = match kept {
        Ok(kept) => kept,
        Err(fault) => {
            let error = down(fault);
            // Whoever asked may have gone away.
            batch.into_iter().for_each(|arrival| drop(arrival.answer.send(Err(error.clone()))));
            return;
        }
    };
    for (arrival, number) in batch.into_iter().zip(kept) {
        let Arrival { delivery, lease, answer } = arrival;
        match number {
            Some(number) => {
                let id = identity::delivery(number);
                let left = if lease.is_some() { leased(id.clone(), delivery) } else { Left::Nothing };
                drop(answer.send(Ok((Appended::New { id }, left))));
            }
            None => {
                let transactions = transactions.clone();
                tokio::spawn(async move {
                    let seen = transactions.change(move |session: &Session<'_>| known(session, &delivery)).await;
                    drop(answer.send(seen.map(|appended| (appended, Left::Nothing)).map_err(JournalError::from)));
                });
            }
        }
    }
}

/// The numbers of what is new, in the order of the batch. Rows go in in the order of their keys, so that two replicas that are sent the
/// same deliveries wait for each other in one direction only; the numbers follow the arrival.
fn insert(connection: &Connection, opened: &Opened, batch: &[Arrival]) -> Result<Vec<Option<i64>>, Fault> {
    let mut first: HashMap<(&str, &str), usize> = HashMap::with_capacity(batch.len());
    for (index, arrival) in batch.iter().enumerate() {
        first.entry((&arrival.delivery.source, &arrival.delivery.delivery_id)).or_insert(index);
    }
    let mut order: Vec<usize> = first.values().copied().collect();
    let key = |index: &usize| batch.get(*index).map(|arrival| (&arrival.delivery.source, &arrival.delivery.delivery_id));
    order.sort_unstable_by(|one, other| key(one).cmp(&key(other)));
    let mut columns = Rows::default();
    for index in order {
        let (Some(arrival), Some(counter)) = (batch.get(index), opened.numbers.get(index)) else { continue };
        columns.push(number(opened.now, *counter), arrival, opened)?;
    }
    let new: std::collections::HashSet<i64> = columns.insert(connection)?.into_iter().collect();
    let mut numbers = vec![None; batch.len()];
    for index in first.into_values() {
        let number = opened.numbers.get(index).map(|counter| number(opened.now, *counter)).filter(|number| new.contains(number));
        if let Some(place) = numbers.get_mut(index) {
            *place = number;
        }
    }
    Ok(numbers)
}

/// One array for each column.
#[derive(Default)]
struct Rows<'a> {
    seq: Vec<i64>,
    source: Vec<std::borrow::Cow<'a, str>>,
    delivery_id: Vec<std::borrow::Cow<'a, str>>,
    event_type: Vec<std::borrow::Cow<'a, str>>,
    received_at: Vec<i64>,
    trace: Vec<std::borrow::Cow<'a, str>>,
    verified: Vec<std::borrow::Cow<'a, str>>,
    size: Vec<i64>,
    state: Vec<&'static str>,
    next_at: Vec<i64>,
    claims: Vec<i64>,
    share: Vec<String>,
    headers: Vec<String>,
    body: Vec<&'a [u8]>,
}

const INSERT: &str = "WITH given AS (
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::text[],
                             $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::bytea[])
          AS g (seq, source, delivery_id, event_type, received_at, trace, verified, size, state, next_at, claims, share, headers, body)),
     new AS (
        INSERT INTO deliveries (seq, source, delivery_id, event_type, received_at, trace, verified, size, state, next_at, claims, token, share)
        SELECT seq, source, delivery_id, event_type, received_at, trace, verified, size, state, next_at, claims, claims, share FROM given
        ON CONFLICT (source, delivery_id) WHERE replay = 0 DO NOTHING RETURNING seq),
     kept AS (INSERT INTO contents (delivery, headers, body) SELECT g.seq, g.headers, g.body FROM given g JOIN new ON new.seq = g.seq)
     SELECT seq FROM new";

impl<'a> Rows<'a> {
    fn push(&mut self, seq: i64, arrival: &'a Arrival, opened: &Opened) -> Result<(), Fault> {
        let Arrival { delivery, lease, .. } = arrival;
        let state = match lease {
            Some(_) => DeliveryState::Accepted.to(DeliveryState::Matching)?,
            None => DeliveryState::Accepted,
        };
        self.seq.push(seq);
        self.source.push(plain(&delivery.source));
        self.delivery_id.push(plain(&delivery.delivery_id));
        self.event_type.push(plain(&delivery.event_type));
        self.received_at.push(delivery.received_at.0);
        self.trace.push(plain(&delivery.trace));
        self.verified.push(plain(&delivery.verified));
        self.size.push(i64::try_from(delivery.body.len()).unwrap_or(i64::MAX));
        self.state.push(state.word());
        self.next_at.push(lease.map_or(opened.now, |lease| opened.now.after(lease)).0);
        self.claims.push(i64::from(lease.is_some()));
        self.share.push(share(&plain(&delivery.share)));
        self.headers.push(serde_json::to_string(&delivery.headers)?);
        self.body.push(delivery.body.as_ref());
        Ok(())
    }

    /// The numbers of those that were not there before.
    fn insert(&self, connection: &Connection) -> Result<Vec<i64>, Fault> {
        let rows = connection.own(
            INSERT,
            &[
                &self.seq,
                &self.source,
                &self.delivery_id,
                &self.event_type,
                &self.received_at,
                &self.trace,
                &self.verified,
                &self.size,
                &self.state,
                &self.next_at,
                &self.claims,
                &self.share,
                &self.headers,
                &self.body,
            ],
        )?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
