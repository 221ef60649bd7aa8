//! The check run on a pull request that changes a repository's rules. It is made before the delivery is decided: once more after a crash finds
//! the same check run and writes the same into it.

use std::sync::Arc;
use std::time::Duration;

use declic_actions::action::{Call, Origin};
use serde_json::json;
use tokio::time::Instant;

use super::aside::act;
use super::shared::Shared;
use crate::backtest::{Change, Recorded, compare};
use crate::event::Event;
use crate::journal::record::{Delivery, DeliveryRecord, Listing};
use crate::matching::{Index, Trace, Verdict};
use crate::repositories::review::{Review, code, section};
use crate::repositories::set::note;
use crate::rules::model::RuleSet;

/// How long reading and writing take together, at most: the delivery waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Deliveries of the repository that the rules are held against, the newest.
const RECORDED: usize = 50;
/// Its name among the checks of the commit.
const NAME: &str = "declic/rules";

/// What was made of it, as a reason; none if there was nothing to look at.
pub(super) async fn review(shared: &Arc<Shared>, delivery: &Delivery, event: &Event) -> Option<Trace> {
    let repositories = shared.repositories.as_ref().filter(|repositories| repositories.reviews(event))?;
    let deadline = Instant::now() + PATIENCE;
    let outcome = match repositories.review(event, deadline.into_std()).await {
        Ok(None) => return None,
        Ok(Some(review)) => check(shared, delivery, event, review, deadline).await,
        Err(why) => Err(why),
    };
    let name = event.repository().unwrap_or_default();
    let text = "check of the rule files that the pull request changes";
    Some(match outcome {
        Ok(said) => {
            tracing::info!(repository = name, "a pull request changes the rules: {said}");
            note(name, "", Verdict::NotMatched, text, &said)
        }
        Err(why) => {
            tracing::warn!(repository = name, "a pull request changes the rules, and its check cannot be made: {why}");
            note(name, "", Verdict::NotMatched, text, &format!("it cannot be made: {why}"))
        }
    })
}

async fn check(
    shared: &Arc<Shared>,
    delivery: &Delivery,
    event: &Event,
    review: Review,
    deadline: Instant,
) -> Result<String, String> {
    let Review { repository, sha, passed, title, mut summary, annotations, rules } = review;
    if let Some(rules) = rules {
        backtest(shared, event, rules, &mut summary).await?;
    }
    let conclusion = if passed { "success" } else { "failure" };
    let params =
        json!({ "name": NAME, "conclusion": conclusion, "title": title, "summary": summary, "annotations": annotations });
    let origin = Origin {
        delivery: delivery.id.clone(),
        // The same for every look at the same commit: it has one check run.
        run: "rules".to_owned(),
        rule: NAME.to_owned(),
        step: "1".to_owned(),
        repository: Some(repository),
        sha: Some(sha),
        trace: Some(delivery.content.trace.clone()),
        ..Origin::default()
    };
    let params = params.as_object().cloned().unwrap_or_default();
    let call = Call { key: "declic-rules".to_owned(), params, target: None, connection: None, origin };
    act(shared, "github/check-run", call, deadline).await.map_err(|failure| failure.why().message.clone())?;
    Ok(format!("{conclusion}: {title}"))
}

/// What the rules would have done otherwise with the last deliveries of the repository. Names and numbers only: what was in them may be for others.
async fn backtest(shared: &Arc<Shared>, event: &Event, rules: RuleSet, summary: &mut String) -> Result<(), String> {
    let failed = |error: crate::journal::JournalError| error.to_string();
    let repository = event.repository().map(str::to_owned);
    let listing = Listing { repository, limit: RECORDED, ..Listing::default() };
    let index = Arc::new(Index::new(Arc::new(rules)));
    let (mut looked_at, mut lines) = (0, Vec::new());
    for record in shared.journal.deliveries(listing).await.map_err(failed)? {
        let Some((happened, recorded)) = recorded(shared, event, &record).await.map_err(failed)? else { continue };
        looked_at += 1;
        let differences = compare(&happened, &recorded, &index, Some(&shared.offer));
        lines.extend(differences.iter().map(|difference| {
            let change = match &difference.change {
                Change::WouldFire { .. } => "would start",
                Change::WouldNotFire { .. } => "would not start any more",
                Change::OtherInputs { .. } => "would do something else",
                Change::WouldFail { .. } => "could not be evaluated",
            };
            let kind = record.about.event.as_deref().unwrap_or(&record.event_type);
            format!("{} {change} for the delivery {} ({})", code(&difference.rule), code(&record.id), code(kind))
        }));
    }
    if lines.is_empty() {
        summary.push_str(&format!(
            "\nFor the last {looked_at} deliveries of the repository, these rules would do what the present ones did.\n"
        ));
    } else {
        section(summary, &format!("With the last {looked_at} deliveries of the repository"), lines.into_iter());
    }
    Ok(())
}

/// A delivery with what the repository's own rules made of it then.
async fn recorded(
    shared: &Arc<Shared>,
    event: &Event,
    record: &DeliveryRecord,
) -> Result<Option<(Event, Recorded)>, crate::journal::JournalError> {
    let Some(delivery) = shared.journal.delivery(&record.id).await? else { return Ok(None) };
    let Some((_, Some(traces))) = shared.journal.delivery_record(&record.id).await? else { return Ok(None) };
    let Ok(Some(happened)) = shared.decode(&delivery, true) else { return Ok(None) };
    // The name may have been another repository's then.
    let (Some(repositories), true) = (&shared.repositories, happened.repo.get("id") == event.repo.get("id")) else {
        return Ok(None);
    };
    let Ok(mut traces) = serde_json::from_value::<Vec<Trace>>(traces) else { return Ok(None) };
    traces.retain(|trace| repositories.is_place_of(event, &trace.place) && trace.place.contains(':'));
    let mut runs = Vec::new();
    for run in shared.journal.runs_of(&record.id).await?.into_iter().filter(|run| run.owner.is_some()) {
        let rules = shared.rules_of(&run).await;
        let steps = shared.journal.run(&run.id).await?.map(|(_, steps)| steps).unwrap_or_default();
        runs.push((run, steps, rules));
    }
    Ok(Some((happened, Recorded { traces, runs })))
}
