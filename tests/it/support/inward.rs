//! An engine without a front door: what is to be decided is put into the journal, and nothing leaves the process.

use declic::event::Event;
use declic::inbound::Inbound;
use declic::journal::record::Delivery;
use declic::sources::{Entry, Identity, Source};
use declic::verify::{Refusal, Verified};
use declic_actions::action::Clients;
use declic_actions::github::{GitHub, GitHubSettings};
use declic_actions::google::{Google, GoogleSettings};
use declic_actions::http::{Http, HttpSettings};
use declic_actions::secret::Secret;
use serde_json::Value;

/// Clients that reach nothing.
pub fn idle() -> Clients {
    let http = Http::new(HttpSettings::default()).expect("a client");
    Clients {
        google: Google::new(http.clone(), GoogleSettings::default(), || 0).expect("settings are right"),
        github: GitHub::new(http.clone(), GitHubSettings { api_url: "https://api.github.com".to_owned(), token: None })
            .expect("settings are right"),
        http,
    }
}

/// What the JSON of a body says to rules.
pub type Reading = fn(&Delivery, Value) -> Result<Option<Event>, String>;

/// A source that nothing comes in by.
pub struct Inward {
    entry: Entry,
    reading: Reading,
}

impl Inward {
    pub fn new(name: &str, reading: Reading) -> Self {
        let entry = Entry {
            name: name.to_owned(),
            path: format!("/hooks/{name}"),
            below: false,
            methods: vec!["POST"],
            body_limit: 1 << 20,
        };
        Self { entry, reading }
    }
}

impl Source for Inward {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn kept(&self, _inbound: &Inbound) -> Vec<(String, String)> {
        Vec::new()
    }

    fn sign(&self, _inbound: &mut Inbound, _event: &str, _id: &str, _private: Option<&Secret>) -> Result<(), Refusal> {
        Ok(())
    }

    fn authenticate(&self, _inbound: Inbound) -> Result<Verified, Refusal> {
        Err(Refusal { status: 401, public: "no", private: "nothing comes in this way".to_owned() })
    }

    fn identify(&self, _verified: &Verified) -> Result<Identity, Refusal> {
        Err(Refusal { status: 400, public: "no", private: "nothing comes in this way".to_owned() })
    }

    fn decode(&self, delivery: &Delivery, _payload: bool) -> Result<Option<Event>, String> {
        let body = serde_json::from_slice(&delivery.content.body).map_err(|error| error.to_string())?;
        (self.reading)(delivery, body)
    }
}
