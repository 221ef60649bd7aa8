//! What taking in a request may need from outside: keys that a sender publishes, the confirmation of a subscription, and a place to
//! show the operator a secret that a provider made.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use declic_actions::http::{Http, Method, Request};
use declic_actions::secret::Secret;

use crate::clock::Timestamp;
use crate::verify::trust::{Trust, Want};
use crate::verify::{Refusal, sns};

/// Keys and certificates are small.
const LARGEST: usize = 256 * 1024;
/// Senders wait for us meanwhile; three seconds is the shortest patience of those whose keys we fetch.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Confirmations that are remembered: Amazon sends one again until it is answered, and an address is fetched once.
const CONFIRMED: usize = 256;

/// Shows a secret to the operator: (source, secret).
pub type Reveal = Arc<dyn Fn(&str, &Secret) + Send + Sync>;

/// Ends the note of a fetch, even if its task is dropped.
struct Landing<'f> {
    trust: &'f Trust,
    url: &'f str,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.trust.end(self.url);
    }
}

/// One for the whole service.
pub struct Outward {
    http: Http,
    trust: Arc<Trust>,
    reveal: Reveal,
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Held while a subscription is confirmed; the addresses that were fetched, the newest last.
    confirmed: tokio::sync::Mutex<VecDeque<String>>,
    /// In place of Amazon's addresses.
    sns_url: Option<String>,
}

impl Outward {
    /// With the guarded client, and the memory that the sources read.
    pub fn new(http: Http, trust: Arc<Trust>, reveal: Reveal) -> Self {
        Self { http, trust, reveal, flights: Mutex::default(), confirmed: tokio::sync::Mutex::default(), sns_url: None }
    }

    /// Reaches Amazon SNS at this base address instead of its own.
    #[must_use]
    pub fn with_sns_at(self, url: Option<String>) -> Self {
        Self { sns_url: url, ..self }
    }

    /// Fetches keys. Whoever comes while somebody is fetching waits for that and does not ask again. What fails is only logged: the
    /// old keys stay, and without any the request is refused for now.
    pub async fn fetch(&self, want: Want) {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(want.url.clone()).or_default())
        };
        let held = flight.lock().await;
        if self.trust.begin(&want, Timestamp::now()) {
            // Whoever waits for us may give up; the note that somebody fetches must not stay.
            let _landing = Landing { trust: &self.trust, url: &want.url };
            match self.get(&want.url).await {
                Ok((document, max_age)) => {
                    if let Err(why) = self.trust.put(&want, &document, max_age, Timestamp::now()) {
                        tracing::warn!(url = want.url, "the keys of a sender cannot be used: {why}");
                    }
                }
                Err(why) => tracing::warn!(url = want.url, "the keys of a sender cannot be fetched: {why}"),
            }
        }
        drop(held);
        drop(flight);
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
    }

    async fn get(&self, url: &str) -> Result<(bytes::Bytes, Option<i64>), String> {
        let request = Request::to(Method::GET, &self.reached(url), Instant::now() + PATIENCE).cap(LARGEST);
        let response = self.http.send(request).await.map_err(|error| error.to_string())?;
        let max_age = response.header("cache-control").and_then(max_age);
        Ok((response.body, max_age))
    }

    /// Where an address is reached: Amazon's elsewhere if the operator said so. Only the host changes, after the address was found to be Amazon's.
    fn reached(&self, url: &str) -> String {
        match (&self.sns_url, sns::amazon(url)) {
            (Some(base), Some(amazon)) => {
                let query = amazon.query().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{base}{}{query}", amazon.path())
            }
            _ => url.to_owned(),
        }
    }

    /// Gets the address that confirms a subscription, once. If that fails, the provider is asked to come again.
    pub async fn confirm(&self, url: &str) -> Result<(), Refusal> {
        let mut confirmed = self.confirmed.lock().await;
        if confirmed.iter().any(|known| known == url) {
            return Ok(());
        }
        let got = self.get(url).await;
        got.map_err(|why| Refusal::not_now(format!("the subscription cannot be confirmed: {why}")))?;
        if confirmed.len() >= CONFIRMED {
            confirmed.pop_front();
        }
        confirmed.push_back(url.to_owned());
        Ok(())
    }

    /// Shows a secret to the operator.
    pub fn reveal(&self, source: &str, secret: &Secret) {
        (self.reveal)(source, secret);
    }
}

/// `max-age=3600` of a `Cache-Control`.
fn max_age(value: &str) -> Option<i64> {
    value.split(',').find_map(|item| item.trim().strip_prefix("max-age=")?.parse().ok())
}
