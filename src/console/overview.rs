//! The first page: what is running, what failed, what waits for whom, what came in last.

use maud::{Markup, html};

use super::layout::{Page, empty, mood};
use super::pages::delivery_row;
use super::parts::run_rows;
use crate::access::Admitted;
use crate::api::State;
use crate::api::overview::{Count, Overview, Waiting};
use crate::api::problem::Failure;
use crate::api::runs::OpenGroup;
use crate::journal::record::{DeliveryRecord, Listing};

/// Deliveries that are shown.
const LAST: usize = 6;

/// The page.
pub(super) async fn overview(state: &State, admitted: &Admitted) -> Result<Page, Failure> {
    let overview = state.overview(&admitted.viewer).await?;
    let (last, _) = state.deliveries(&admitted.viewer, Listing { limit: LAST + 1, ..Listing::default() }).await?;
    let body = html! {
        h1 { "Overview" }
        (warnings(state, &overview))
        (tiles(&overview))
        @let (asking, others): (Vec<_>, Vec<_>) = overview.waiting.iter().partition(|one| one.asks);
        @if !asking.is_empty() {
            h2 { "Waits for a person" }
            @for one in &asking { (question(one, &overview)) }
        }
        h2 { "Under way" }
        @if overview.open.is_empty() { (empty("Nothing is under way, and nothing waits.")) } @else { (run_rows(&overview.open)) }
        @if !others.is_empty() { (waits(&others)) }
        @if !overview.groups.is_empty() { (groups(&overview.groups)) }
        h2 { "Failed in the last 24 hours" }
        @if overview.failed.is_empty() { (empty("Nothing failed.")) } @else { (run_rows(&overview.failed)) }
        h2 { "Came in last" }
        (newest(&last))
    };
    Ok(Page { title: "Overview".to_owned(), section: "/", live: true, body })
}

fn warnings(state: &State, overview: &Overview) -> Markup {
    html! {
        @if !overview.store_works {
            div class="notice bad" role="alert" { b { "The store does not take writes." } " Deliveries are answered with 503, and their senders come again." }
        }
        @if let Some(fault) = &overview.rules_fault {
            div class="notice bad" role="alert" { b { "The rule files are wrong; the last good rules are in force." } pre tabindex="0" { (fault) } }
        }
        @for breaker in state.breakers().iter().filter(|breaker| breaker.breaker != "closed") {
            div class="notice bad" role="alert" {
                b { (breaker.target) " is not asked at the moment" } " (" (breaker.breaker) ")"
                @if let Some(reason) = &breaker.reason { ": " (reason) }
                ". " (breaker.waiting) " runs wait for it"
                @if let Some(seconds) = breaker.tries_in { "; it is tried again in " (seconds) " s" } "."
            }
        }
    }
}

fn tiles(overview: &Overview) -> Markup {
    let of = |counts: &[Count], words: &[&str]| -> u64 {
        counts.iter().filter(|count| words.contains(&count.state.as_str())).map(|count| count.count).sum()
    };
    let all: u64 = overview.deliveries.iter().map(|count| count.count).sum();
    let tiles = [
        ("/deliveries?since=24h", all, "deliveries in 24 h", ""),
        ("/runs?state=running", of(&overview.runs, &["running"]), "runs under way", "running"),
        ("/runs?state=waiting", of(&overview.runs, &["waiting", "queued"]), "runs that wait", "waiting"),
        ("/runs?state=succeeded&since=24h", of(&overview.runs, &["succeeded"]), "runs succeeded", "succeeded"),
        ("/dead", of(&overview.runs, &["failed", "dead"]), "runs failed", "failed"),
    ];
    html! {
        ul class="tiles" {
            @for (path, count, name, word) in tiles {
                li class=(if count > 0 { mood(word) } else { "idle" }) { a href=(path) { b { (count) } (name) } }
            }
        }
    }
}

/// Somebody is asked: what, and where to answer.
fn question(waiting: &Waiting, overview: &Overview) -> Markup {
    let rule = overview.open.iter().find(|run| run.id == waiting.run).map(|run| run.rule.as_str()).unwrap_or_default();
    html! {
        div class="notice wait" {
            b { (rule) } ": " (waiting.what) " "
            a href={ "/runs/" (waiting.run) } { "Answer" span class="hidden" { " " (rule) " " (waiting.run) } }
        }
    }
}

fn waits(waiting: &[&Waiting]) -> Markup {
    html! {
        ul class="plain sub" {
            @for one in waiting { li { a href={ "/runs/" (one.run) } { (one.run) } " waits in " b { (one.step) } ": " (one.what) } }
        }
    }
}

fn groups(groups: &[OpenGroup]) -> Markup {
    html! {
        h2 { "Concurrency groups" }
        div class="table" { table class="stack" {
            thead { tr { th { "Group" } th { "Has it" } th { "Wait for it" } } }
            tbody { @for group in groups { tr {
                td { (group.key) " " span class="sub" { (group.mode.0) } }
                td class="id" { @if let Some(run) = &group.holder { a href={ "/runs/" (run) } { (run) } } @else { span class="sub" { "nobody" } } }
                td class="id" { @for run in &group.waiting { a href={ "/runs/" (run) } { (run) } " " } }
            } } }
        } }
    }
}

fn newest(last: &[DeliveryRecord]) -> Markup {
    html! {
        @if last.is_empty() {
            (empty("Nothing has come in yet. Point a webhook at a source, or try: declic send SOURCE --event KIND --payload FILE"))
        } @else {
            div class="table" { table class="stack" {
                thead { tr { th { "Received" } th { "State" } th { "What" } th { "Source" } th { "Id" } } }
                tbody { @for item in last { (delivery_row(item)) } }
            } }
        }
    }
}
