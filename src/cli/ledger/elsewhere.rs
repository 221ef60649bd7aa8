//! The API of a service elsewhere.

use declic_actions::action::Answer;
use poem_openapi::types::ParseFromJSON;
use serde_json::{Value, json};

use super::{Ledger, Redrive, Redriven, Trouble, Whole};
use crate::api::deliveries::Header;
use crate::api::shapes::{Delivery, Run, RunDetail};
use crate::cli::remote::{Ask, Remote};
use crate::journal::record::Listing;
use crate::matching::Trace;

/// Items of a page of the API, at most.
const PAGE: usize = 500;

/// A service that is asked over HTTP.
pub struct Elsewhere(pub Remote);

impl Elsewhere {
    /// A list, page after page, as long as there is one and as many are wanted.
    fn list<T: ParseFromJSON>(&self, path: &str, listing: &Listing) -> Result<Vec<T>, Trouble> {
        let mut items = Vec::new();
        let mut cursor = listing.before.clone();
        while items.len() < listing.limit {
            let most = (listing.limit - items.len()).min(PAGE);
            let mut ask = Ask::get(path).with("limit", Some(most.to_string())).with("cursor", cursor);
            for state in &listing.states {
                ask = ask.with("state", Some(state));
            }
            ask = ask
                .with("source", listing.source.as_ref())
                .with("event", listing.event.as_ref())
                .with("repository", listing.repository.as_ref())
                .with("rule", listing.rule.as_ref())
                .with("since", listing.since.map(|since| since.rfc3339()))
                .with("until", listing.until.map(|until| until.rfc3339()))
                .with("text", listing.text.as_ref());
            let page = self.0.ask(&ask)?;
            items.extend(read::<Vec<T>>(&page, "/items")?);
            cursor = page["next"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }

    fn traces(answer: &Value, pointer: &str) -> Result<Vec<Trace>, Trouble> {
        let traces = answer.pointer(pointer).cloned().unwrap_or_default();
        serde_json::from_value(traces).map_err(|_| not_ours(pointer))
    }
}

impl Ledger for Elsewhere {
    fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, Trouble> {
        self.list("/deliveries", listing)
    }

    fn runs(&self, listing: &Listing) -> Result<Vec<Run>, Trouble> {
        self.list("/runs", listing)
    }

    fn delivery(&self, id: &str) -> Result<Whole, Trouble> {
        let answer = self.0.ask(&Ask::get(format!("/deliveries/{id}")))?;
        let runs: Vec<Run> = read(&answer, "/runs")?;
        Ok(Whole {
            delivery: read(&answer, "/delivery")?,
            headers: read::<Vec<Header>>(&answer, "/headers")?,
            decisions: Self::traces(&answer, "/decisions")?,
            runs: runs.iter().map(|run| self.run(&run.id)).collect::<Result<_, _>>()?,
        })
    }

    fn body(&self, id: &str) -> Result<Vec<u8>, Trouble> {
        Ok(self.0.bytes(&Ask::get(format!("/deliveries/{id}/body")))?.to_vec())
    }

    fn run(&self, id: &str) -> Result<RunDetail, Trouble> {
        read(&self.0.ask(&Ask::get(format!("/runs/{id}")))?, "")
    }

    fn decisions(&self, delivery: &str) -> Result<Vec<Trace>, Trouble> {
        let ask = Ask::get(format!("/deliveries/{delivery}/decisions")).with("rules", Some("now"));
        Self::traces(&self.0.ask(&ask)?, "/items")
    }

    fn replay(&self, delivery: &str) -> Result<String, Trouble> {
        let answer = self.0.ask(&Ask::post(format!("/deliveries/{delivery}/replay"), json!({})))?;
        Ok(answer["delivery"].as_str().unwrap_or_default().to_owned())
    }

    fn retry(&self, run: &str) -> Result<(), Trouble> {
        self.0.ask(&Ask::post(format!("/runs/{run}/retry"), json!({}))).map(drop)
    }

    fn cancel(&self, run: &str) -> Result<bool, Trouble> {
        Ok(self.0.ask(&Ask::post(format!("/runs/{run}/cancel"), json!({})))?["over"] == true)
    }

    fn answer(&self, run: &str, answer: &Answer) -> Result<(), Trouble> {
        let word = if answer.approved { "approve" } else { "reject" };
        self.0.ask(&Ask::post(format!("/runs/{run}/{word}"), json!({ "comment": answer.comment }))).map(drop)
    }

    fn redrive(&self, which: &Redrive) -> Result<Redriven, Trouble> {
        let since = which.since.map(|since| since.rfc3339());
        let Listing { source, event, repository, rule, text, .. } = &which.among;
        let body = json!({
            "source": source, "event": event, "repository": repository, "rule": rule, "text": text,
            "since": since, "limit": which.limit, "dry_run": which.dry_run,
        });
        let answer = self.0.ask(&Ask::post("/redrive", body))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let list = |name: &str| answer[name].as_array().cloned().unwrap_or_default();
        Ok(Redriven {
            runs: list("runs").iter().map(text).collect(),
            refused: list("refused").iter().map(|one| (text(&one["run"]), text(&one["why"]))).collect(),
        })
    }
}

/// A part of an answer, as the API describes it.
fn read<T: ParseFromJSON>(answer: &Value, pointer: &str) -> Result<T, Trouble> {
    T::parse_from_json(answer.pointer(pointer).cloned()).map_err(|_| not_ours(pointer))
}

fn not_ours(part: &str) -> Trouble {
    Trouble::usage(format!("the service answers, but not as this Declic does (`{part}`): is it of another version?"))
}
