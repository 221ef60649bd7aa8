//! The store on this machine, beside the process that serves from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use declic_actions::action::Answer;

use super::{Ledger, Redrive, Redriven, Trouble, Whole};
use crate::api::deliveries::headers;
use crate::api::redact::Redaction;
use crate::api::shapes::{Delivery, Run, RunDetail};
use crate::cli::block_on;
use crate::clock::Timestamp;
use crate::journal::acts::accounted;
use crate::journal::record::{Listing, Selection};
use crate::journal::sqlite::ReadOnly;
use crate::journal::{Journal, LedgerError};
use crate::matching::{Index, Trace};
use crate::run::approval;
use crate::settings::{self, Environment, Mode, Settings};
use crate::{reload, rule_files, sources};

/// Who the audit log says it was.
const WHO: &str = "command line";

/// The store that the settings name.
pub struct Here {
    config: PathBuf,
    environment: Environment,
    settings: Settings,
    redaction: Redaction,
}

impl Here {
    /// Reads the settings, and opens nothing yet.
    pub fn new(config: &Path, environment: &Environment) -> Result<Self, Trouble> {
        let loaded =
            settings::load(config, Mode::Names, environment).map_err(|unusable| Trouble::usage(unusable.render(false)))?;
        let admin = &loaded.settings.admin;
        let redaction = Redaction::new(&admin.hidden_headers, &admin.hidden_fields);
        Ok(Self { config: config.to_owned(), environment: environment.clone(), settings: loaded.settings, redaction })
    }

    fn store(&self) -> Result<ReadOnly, Trouble> {
        self.settings.store.place.look().map_err(Trouble::usage)
    }

    /// Does something that changes the store, and that the audit log tells: `[who, act, subject]`.
    fn act<T>(&self, told: [&str; 3], work: impl AsyncFnOnce(&dyn Journal) -> Result<T, LedgerError>) -> Result<T, Trouble> {
        block_on(async {
            let journal = self.settings.store.place.beside().await.map_err(Trouble::usage)?;
            let journal = journal.as_ref();
            accounted(journal, told, work(journal), ToString::to_string).await.map_err(Trouble::wrong)
        })
    }
}

impl Ledger for Here {
    fn deliveries(&self, listing: &Listing) -> Result<Vec<Delivery>, Trouble> {
        let found = self.store()?.deliveries(listing).map_err(Trouble::wrong)?;
        Ok(found.into_iter().map(|one| self.redaction.delivery(one).into()).collect())
    }

    fn runs(&self, listing: &Listing) -> Result<Vec<Run>, Trouble> {
        let found = self.store()?.runs(listing).map_err(Trouble::wrong)?;
        Ok(found.into_iter().map(|one| self.redaction.run(one).into()).collect())
    }

    fn delivery(&self, id: &str) -> Result<Whole, Trouble> {
        let store = self.store()?;
        let (delivery, traces) = store.delivery_record(id).map_err(Trouble::wrong)?.ok_or_else(no_delivery)?;
        // A store of another version may hold reasons that cannot be read.
        let traces: Vec<Trace> = traces.and_then(|traces| serde_json::from_value(traces).ok()).unwrap_or_default();
        let content = store.delivery(id).map_err(Trouble::wrong)?.ok_or_else(no_delivery)?;
        let mut runs = Vec::new();
        for run in store.runs_of(id).map_err(Trouble::wrong)? {
            let found = store.run(&run.id).map_err(Trouble::wrong)?;
            runs.extend(found.map(|(run, steps)| RunDetail::new(self.redaction.run(run), steps, Vec::new(), &self.redaction)));
        }
        let decisions = traces.into_iter().map(|trace| self.redaction.trace(trace)).collect();
        Ok(Whole {
            delivery: self.redaction.delivery(delivery).into(),
            headers: headers(&content, &self.redaction),
            decisions,
            runs,
        })
    }

    fn body(&self, id: &str) -> Result<Vec<u8>, Trouble> {
        let delivery = self.store()?.delivery(id).map_err(Trouble::wrong)?.ok_or_else(no_delivery)?;
        Ok(delivery.content.body.to_vec())
    }

    fn run(&self, id: &str) -> Result<RunDetail, Trouble> {
        let found = self.store()?.run(id).map_err(Trouble::wrong)?;
        let (run, steps) = found.ok_or_else(|| {
            Trouble::wrong("there is no such run; `declic runs` lists them, and old ones are removed after `store.keep`")
        })?;
        Ok(RunDetail::new(self.redaction.run(run), steps, Vec::new(), &self.redaction))
    }

    fn decisions(&self, id: &str) -> Result<Vec<Trace>, Trouble> {
        // Some sources decode with their secrets.
        let loaded = settings::load(&self.config, Mode::Resolved, &self.environment)
            .map_err(|unusable| Trouble::wrong(unusable.render(false)))?;
        let settings = loaded.settings;
        let delivery = self.store()?.delivery(id).map_err(Trouble::wrong)?.ok_or_else(no_delivery)?;
        let wanted = settings.sources.iter().find(|source| source.name == delivery.content.source);
        let wanted =
            wanted.ok_or_else(|| Trouble::wrong(format!("there is no source `{}` any more", delivery.content.source)))?;
        let source = sources::build(wanted, &settings.secrets, &sources::Around::default()).map_err(Trouble::wrong)?;
        let folder = settings.file.parent().map_or_else(PathBuf::new, Path::to_owned);
        let files = rule_files::read(&folder, &settings.rules).map_err(Trouble::wrong)?;
        let index = Index::new(Arc::new(reload::rebuild(&files, &settings.offer).map_err(Trouble::wrong)?));
        let Some(event) = source.decode(&delivery, true).map_err(Trouble::wrong)? else { return Ok(Vec::new()) };
        Ok(index.decide_all(&event).traces.into_iter().map(|trace| self.redaction.trace(trace)).collect())
    }

    fn replay(&self, delivery: &str) -> Result<String, Trouble> {
        self.act([WHO, "replay", delivery], async |journal| journal.replay(delivery).await)
    }

    fn retry(&self, run: &str) -> Result<(), Trouble> {
        self.act([WHO, "retry", run], async |journal| journal.retry(run).await)
    }

    fn cancel(&self, run: &str) -> Result<bool, Trouble> {
        self.act([WHO, "cancel", run], async |journal| journal.cancel(run).await)
    }

    fn answer(&self, run: &str, answer: &Answer) -> Result<(), Trouble> {
        let (who, act) = (format!("{} ({WHO})", answer.by), if answer.approved { "approve" } else { "reject" });
        self.act([&who, act, run], async |journal| approval::answer(journal, run, answer.clone()).await)
    }

    fn redrive(&self, which: &Redrive) -> Result<Redriven, Trouble> {
        let since = which.since.map(|since| {
            let age = Timestamp::now().0.saturating_sub(since.0);
            Duration::from_millis(u64::try_from(age).unwrap_or(0))
        });
        let selection = Selection { among: which.among.clone(), since, limit: which.limit };
        block_on(async {
            let journal = self.settings.store.place.beside().await.map_err(Trouble::usage)?;
            let journal = journal.as_ref();
            let mut redriven = Redriven::default();
            for id in journal.dead(selection).await.map_err(Trouble::wrong)? {
                if which.dry_run {
                    redriven.runs.push(id);
                    continue;
                }
                match accounted(journal, [WHO, "retry", &id], journal.retry(&id), ToString::to_string).await {
                    Ok(()) => redriven.runs.push(id),
                    // Somebody else was faster, or it was removed: the others still count.
                    Err(LedgerError::Refused(why)) => redriven.refused.push((id, why)),
                    Err(error) => return Err(Trouble::wrong(error)),
                }
            }
            Ok(redriven)
        })
    }
}

fn no_delivery() -> Trouble {
    Trouble::wrong("there is no such delivery; `declic deliveries` lists them, and old ones are removed after `store.keep`")
}
