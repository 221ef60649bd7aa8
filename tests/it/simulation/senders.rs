//! Providers: they send pushes and other events in some order, again if they hear nothing, and sometimes again although they did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use declic::clock::Timestamp;
use declic::dispatch::local::Local;
use declic::journal::Journal;
use declic::journal::record::{Appended, Line, NewDelivery, Order};
use declic::run::Fresh;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::chance::Chance;
use super::outside::Outside;
use super::rules::{self, SOURCE};
use super::store::{Between, Compare};

/// Where deliveries come in now.
#[derive(Clone)]
pub struct Door {
    pub between: Arc<Between>,
    pub fresh: Fresh,
    pub dispatch: Local,
}

/// The doors that are open at this moment.
pub type Doors = Arc<Mutex<Vec<Door>>>;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Sent {
    pub id: String,
    pub event: Value,
    /// The place of its commit in the true history; none if it is about something else.
    pub age: Option<u64>,
}

/// What the provider heard: (its id, ours).
pub type Heard = Arc<Mutex<Vec<(String, String)>>>;

fn commit(number: u64) -> String {
    format!("{number:040x}")
}

/// The place of a commit in the true history.
pub fn age(commit: &str) -> Option<u64> {
    u64::from_str_radix(commit, 16).ok()
}

/// Pushes of one branch, and events about other things.
pub fn deliveries(chance: &Chance) -> Vec<Sent> {
    let pushes = 2 + chance.below(4);
    let mut all: Vec<Sent> = (1..=pushes)
        .map(|number| Sent {
            id: format!("push-{number}"),
            event: json!({
                "sha": commit(number),
                "before": commit(number - 1),
                "ref": "refs/heads/main",
                "forced": false,
                "repository": "acme/web",
            }),
            age: Some(number),
        })
        .collect();
    all.extend((0..2 + chance.below(4)).map(|number| Sent {
        id: format!("event-{number}"),
        event: json!({ "repository": format!("acme/{}", chance.below(3)) }),
        age: None,
    }));
    if chance.one_in(2) { chance.shuffled(all) } else { all }
}

/// GitHub's answer to which commit follows which; silent for a schedule in which arrival has to do.
pub fn compare(is_silent: bool) -> Compare {
    Arc::new(move |line: &Line, other: &Line| {
        let (line, other) = (age(&line.after)?, age(&other.after)?);
        (!is_silent).then_some(match line.cmp(&other) {
            std::cmp::Ordering::Less => Order::Older,
            std::cmp::Ordering::Equal => Order::Same,
            std::cmp::Ordering::Greater => Order::Newer,
        })
    })
}

/// Sends one delivery until it is acknowledged, and perhaps once more.
pub async fn send(outside: Arc<Outside>, doors: Doors, heard: Heard, sent: Sent) {
    sleep(outside.chance.moment(8000)).await;
    let mut again = outside.chance.below(3);
    loop {
        match timeout(Duration::from_secs(5), knock(&outside, &doors, &sent)).await {
            Ok(Some(id)) => {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push((sent.id.clone(), id));
                if again == 0 {
                    return;
                }
                again -= 1;
                sleep(outside.chance.moment(20_000)).await;
            }
            _ => sleep(Duration::from_millis(200) + outside.chance.moment(3000)).await,
        }
    }
}

/// One request. Answers our id if it was acknowledged.
async fn knock(outside: &Outside, doors: &Doors, sent: &Sent) -> Option<String> {
    let door = {
        let doors = doors.lock().unwrap_or_else(PoisonError::into_inner);
        if doors.is_empty() {
            return None;
        }
        outside.chance.pick(&doors).clone()
    };
    let delivery = NewDelivery {
        share: sent.event["repository"].as_str().unwrap_or(SOURCE).to_owned(),
        source: SOURCE.to_owned(),
        delivery_id: sent.id.clone(),
        event_type: "push".to_owned(),
        headers: Vec::new(),
        body: Bytes::from(sent.event.to_string()),
        received_at: Timestamp(0),
        trace: "00-trace".to_owned(),
        verified: "by the simulation".to_owned(),
    };
    // Decided before it is appended, if its event is read by then; leased otherwise.
    let event = outside.chance.one_in(2).then(|| Box::new(rules::arriving(sent.event.clone())));
    let place = if outside.chance.one_in(2) { door.fresh.place(delivery.body.len(), &delivery.share, event) } else { None };
    let appended = match place {
        Some(mut place) => {
            let taking = place.taking(&delivery);
            let asked = Instant::now();
            let (appended, left) = door.between.append_as(delivery, taking).await.ok()?;
            if let Appended::New { id } | Appended::Revived { id } = &appended {
                place.fill(id, left, asked);
            }
            appended
        }
        None => door.between.append(delivery).await.ok()?,
    };
    door.dispatch.wake();
    match appended {
        Appended::New { id } | Appended::Duplicate { id } | Appended::Revived { id } => Some(id),
    }
}
