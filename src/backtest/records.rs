//! What the store holds, for holding edited rules against it: read without secrets, and without writing anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Change, Difference, Recorded, compare};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::journal::record::{Delivery, DeliveryRecord, Listing};
use crate::journal::sqlite::ReadOnly;
use crate::matching::Index;
use crate::rules::load;
use crate::rules::model::{Offer, RuleSet};
use crate::settings::Settings;
use crate::sources::Decoder;

/// Deliveries are listed in pages of this size.
const PAGE: usize = 500;

/// What the store holds, read without secrets.
pub struct Records {
    store: ReadOnly,
    decoders: BTreeMap<String, Result<Decoder, String>>,
}

impl Records {
    /// The store that the settings name.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        Ok(Self::of(settings.store.place.look()?, settings))
    }

    /// A store that was opened already, read as these settings say.
    pub fn of(store: ReadOnly, settings: &Settings) -> Self {
        let decoders = settings.sources.iter().map(|source| (source.name.clone(), Decoder::new(source))).collect();
        Self { store, decoders }
    }

    /// A delivery as rules see it. The error is for the user.
    pub fn event(&self, id: &str) -> Result<Event, String> {
        let delivery = self.store.delivery(id).map_err(|error| error.to_string())?;
        let delivery = delivery.ok_or_else(|| format!("there is no delivery {id}; `declic deliveries` lists them"))?;
        self.decoded(&delivery)?.ok_or_else(|| "no rule can ask for this kind of event".to_owned())
    }

    fn decoded(&self, delivery: &Delivery) -> Result<Option<Event>, String> {
        let source = &delivery.content.source;
        match self.decoders.get(source) {
            None => Err(format!("the settings have no source `{source}`, from which it came")),
            Some(Err(why)) => Err(format!("the source `{source}` {why}")),
            Some(Ok(decoder)) => decoder.decode(delivery),
        }
    }
}

/// One delivery for which something would be different.
#[derive(Debug)]
pub struct Differing {
    /// The delivery.
    pub delivery: DeliveryRecord,
    /// What would be different.
    pub differences: Vec<Difference>,
}

/// What came of holding rules against what was recorded.
#[derive(Debug, Default)]
pub struct Report {
    /// Deliveries that could be compared.
    pub looked_at: usize,
    /// Those that could not, each with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Those for which something would be different, newest first.
    pub differing: Vec<Differing>,
}

/// Page by page, newest first, one delivery at a time: those received at `oldest` or later, at most so many.
pub fn look(oldest: Timestamp, most: usize, records: &Records, index: &Index, offer: &Offer) -> Result<Report, String> {
    let mut report = Report::default();
    let mut old_rules = OldRules { records, offer, known: BTreeMap::new() };
    let mut before = None;
    loop {
        let listing = Listing { before: before.take(), limit: PAGE, ..Listing::default() };
        let page = records.store.deliveries(&listing).map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(report) };
        before = Some(last.id.clone());
        for delivery in page {
            if delivery.received_at < oldest || report.looked_at + report.unreadable.len() >= most {
                return Ok(report);
            }
            one(delivery, records, index, offer, &mut old_rules, &mut report)?;
        }
    }
}

fn one(
    delivery: DeliveryRecord,
    records: &Records,
    index: &Index,
    offer: &Offer,
    old_rules: &mut OldRules<'_>,
    report: &mut Report,
) -> Result<(), String> {
    let failed = |error: crate::journal::JournalError| error.to_string();
    // It may have been forgotten since the page was read.
    let Some(stored) = records.store.delivery(&delivery.id).map_err(failed)? else { return Ok(()) };
    let Some((_, Some(traces))) = records.store.delivery_record(&delivery.id).map_err(failed)? else { return Ok(()) };
    let event = match records.decoded(&stored) {
        Ok(Some(event)) => event,
        Ok(None) => {
            report.looked_at += 1;
            return Ok(());
        }
        Err(why) => {
            report.unreadable.push((delivery.id, why));
            return Ok(());
        }
    };
    let Ok(traces) = serde_json::from_value(traces) else {
        report.unreadable.push((delivery.id, "its reasons were written by another version".to_owned()));
        return Ok(());
    };
    let mut recorded = Recorded { traces, runs: Vec::new() };
    for run in records.store.runs_of(&delivery.id).map_err(failed)? {
        let rules = old_rules.of(&run.revision)?;
        let steps = records.store.run(&run.id).map_err(failed)?.map(|(_, steps)| steps).unwrap_or_default();
        recorded.runs.push((run, steps, rules));
    }
    report.looked_at += 1;
    let differences = compare(&event, &recorded, index, Some(offer));
    if !differences.is_empty() {
        report.differing.push(Differing { delivery, differences });
    }
    Ok(())
}

/// Rule sets that runs began with, each read once. Those that this version cannot read are left out.
struct OldRules<'a> {
    records: &'a Records,
    offer: &'a Offer,
    known: BTreeMap<String, Option<Arc<RuleSet>>>,
}

impl OldRules<'_> {
    fn of(&mut self, revision: &str) -> Result<Option<Arc<RuleSet>>, String> {
        if let Some(rules) = self.known.get(revision) {
            return Ok(rules.clone());
        }
        let files = self.records.store.rules(revision).map_err(|error| error.to_string())?;
        let rules = files.and_then(|files| load::load(&files, Some(self.offer)).ok()).map(|loaded| Arc::new(loaded.set));
        self.known.insert(revision.to_owned(), rules.clone());
        Ok(rules)
    }
}

impl Report {
    /// How many differences of each kind: would fire, would not, other inputs, would fail.
    pub fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for difference in self.differing.iter().flat_map(|differing| &differing.differences) {
            let [fire, not, other, fail] = &mut counts;
            *match difference.change {
                Change::WouldFire { .. } => fire,
                Change::WouldNotFire { .. } => not,
                Change::OtherInputs { .. } => other,
                Change::WouldFail { .. } => fail,
            } += 1;
        }
        counts
    }
}
