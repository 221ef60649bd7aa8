//! A target that answers only when a test says so, and knows how many of each path it has in hand.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use declic::demo::stand_ins::exchange::{Answer, Request};
use declic::demo::stand_ins::server::{self, Api, Running};
use serde_json::json;
use tokio::sync::watch;

/// Paths that begin with `/held` wait.
pub struct Held {
    open: watch::Receiver<bool>,
    /// Path -> in hand, and the most at one time.
    hands: Mutex<BTreeMap<String, (usize, usize)>>,
}

/// Started on a free port, and what opens it.
pub async fn start() -> (Running<Held>, watch::Sender<bool>) {
    let (opens, open) = watch::channel(false);
    let held = server::start(|_, _| Held { open, hands: Mutex::default() }).await.expect("a port");
    (held, opens)
}

/// One request in hand, until it is answered or its connection is gone.
struct Hand<'a>(&'a Held, &'a str);

impl<'a> Hand<'a> {
    fn take(held: &'a Held, path: &'a str) -> Self {
        let mut hands = held.hands.lock().unwrap();
        let (now, most) = hands.entry(path.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Self(held, path)
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.0.hands.lock().unwrap().get_mut(self.1) {
            *now -= 1;
        }
    }
}

impl Held {
    /// The most that were in hand at one time.
    pub fn most(&self, path: &str) -> usize {
        self.hands.lock().unwrap().get(path).map_or(0, |(_, most)| *most)
    }
}

#[async_trait]
impl Api for Held {
    async fn answer(&self, request: &Request) -> Answer {
        let _hand = Hand::take(self, &request.path);
        if request.path.starts_with("/held") {
            // The sender outlives the server.
            let _ = self.open.clone().wait_for(|open| *open).await;
        }
        Answer::json(200, &json!({ "done": true }))
    }

    fn refuse(&self, status: u16, message: &str) -> Answer {
        Answer::json(status, &json!({ "message": message }))
    }
}
