//! Pages that list: deliveries, runs, what is deployed, dead runs, sources, audit log.

use std::time::Duration;

use maud::{Markup, html};
use serde_json::Value;

use super::forms::Fields;
use super::layout::{Page, act, badge, empty, json, key, moment, time};
use super::parts::{pager, run_rows};
use crate::access::Admitted;
use crate::api::State;
use crate::api::around::Deployed;
use crate::api::problem::Failure;
use crate::api::runs::dead_states;
use crate::clock::Timestamp;
use crate::journal::record::{DeliveryRecord, DeliveryState, Listing, RunState};

/// Items of a page.
const PAGE: usize = 50;

/// What came in, newest first.
pub(super) async fn deliveries(state: &State, admitted: &Admitted, query: &Fields) -> Result<Page, Failure> {
    let words: Vec<&str> = DeliveryState::ALL.iter().map(|state| state.word()).collect();
    let (items, next) = state.deliveries(&admitted.viewer, listing(query)).await?;
    let body = html! {
        h1 { "Deliveries" }
        p class="lead" { "What came in and was proved to come from where it says." }
        (filters("/deliveries", query, &words))
        @if items.is_empty() {
            (empty(if query.is_empty() { "Nothing has come in yet. Point a webhook at a source, or try: declic send SOURCE --event KIND --payload FILE" } else { "Nothing fits these filters." }))
        } @else {
            div class="table" { table class="stack" {
                thead { tr { th { "Received" } th { "State" } th { "What" } th { "Source" } th { "Id" } } }
                tbody { @for item in &items { (delivery_row(item)) } }
            } }
            (pager("/deliveries", query, next.as_deref()))
        }
    };
    Ok(Page { title: "Deliveries".to_owned(), section: "/deliveries", live: query.get("cursor").is_none(), body })
}

pub(super) fn delivery_row(item: &DeliveryRecord) -> Markup {
    html! {
        tr {
            td { (time(item.received_at)) }
            td { (badge(item.state.word())) @if item.replay { " " span class="sub" { "replay" } } }
            td {
                a href={ "/deliveries/" (item.id) } { (item.about.title.as_deref().unwrap_or(&item.event_type)) }
                div class="sub" {
                    @if let Some(repository) = &item.about.repository { (repository) " · " }
                    (item.about.event.as_deref().unwrap_or(&item.event_type))
                    @if let Some(reason) = &item.reason { " · " (reason) }
                }
            }
            td { (item.source) }
            td class="id" { (item.id) }
        }
    }
}

/// What was done, newest first.
pub(super) async fn runs(state: &State, admitted: &Admitted, query: &Fields) -> Result<Page, Failure> {
    let words: Vec<&str> = RunState::ALL.iter().map(|state| state.word()).collect();
    let (items, next) = state.runs(&admitted.viewer, listing(query)).await?;
    let items: Vec<_> = items.into_iter().map(crate::api::shapes::Run::from).collect();
    let body = html! {
        h1 { "Runs" }
        p class="lead" { "What rules did, or are doing." }
        (filters("/runs", query, &words))
        @if items.is_empty() {
            (empty(if query.is_empty() { "No rule has started yet." } else { "Nothing fits these filters." }))
        } @else {
            (run_rows(&items))
            (pager("/runs", query, next.as_deref()))
        }
    };
    Ok(Page { title: "Runs".to_owned(), section: "/runs", live: query.get("cursor").is_none(), body })
}

/// What failed for good, and the way back.
pub(super) async fn dead(state: &State, admitted: &Admitted, query: &Fields) -> Result<Page, Failure> {
    let listing = Listing { states: dead_states(), ..listing(query) };
    let (items, next) = state.runs(&admitted.viewer, listing).await?;
    let items: Vec<_> = items.into_iter().map(crate::api::shapes::Run::from).collect();
    let body = html! {
        h1 { "Dead runs" }
        p class="lead" { "They failed for good. Redriven, each goes on at the step that failed; what it did stays done." }
        (filters("/dead", query, &[]))
        @if items.is_empty() {
            (empty(if query.is_empty() { "No dead runs. Good." } else { "Nothing fits these filters." }))
        } @else {
            @if admitted.viewer.role == crate::access::Role::Operator {
                form class="acts" method="post" action="/dead/redrive" {
                    (key(admitted))
                    @for name in ["text", "since", "source", "event", "repository", "rule"] {
                        @if let Some(value) = query.get(name) { input type="hidden" name=(name) value=(value); }
                    }
                    button { @if query.is_empty() { "Redrive all" } @else { "Redrive all that fit the filters" } }
                }
            }
            (run_rows(&items))
            (pager("/dead", query, next.as_deref()))
        }
    };
    Ok(Page { title: "Dead runs".to_owned(), section: "/dead", live: query.get("cursor").is_none(), body })
}

/// What serves where.
pub(super) async fn deployed(state: &State, admitted: &Admitted) -> Result<Page, Failure> {
    let targets = state.targets(&admitted.viewer).await?;
    let body = html! {
        h1 { "Deployed" }
        p class="lead" { "What was last done to each target, by which delivery." }
        @if targets.is_empty() { (empty("The settings name no targets.")) }
        @for target in &targets {
            section class="card" aria-labelledby={ "target-" (target.name) } {
                h2 id={ "target-" (target.name) } { (target.name) }
                @if let Some(breaker) = target.breaker.as_ref().filter(|breaker| breaker.breaker != "closed") {
                    div class="notice bad" { b { "It is not asked at the moment" } " (" (breaker.breaker) ")" @if let Some(reason) = &breaker.reason { ": " (reason) } }
                }
                @match &target.deployed { Some(deployed) => { (serving(deployed)) } None => { p class="sub" { "Nothing was deployed there yet." } } }
                @if !target.previews.is_empty() {
                    h3 { "Previews" }
                    @for preview in &target.previews { details id={ "preview-" (preview.name) } open { summary { (preview.name) } (serving(preview)) } }
                }
                details id={ "settings-" (target.name) } { summary { "Settings" } (json(&target.settings.0)) }
            }
        }
    };
    Ok(Page { title: "Deployed".to_owned(), section: "/deployed", live: true, body })
}

fn serving(deployed: &Deployed) -> Markup {
    let output = |name: &str| {
        let outputs = deployed.outputs.as_ref().map(|outputs| &outputs.0);
        outputs.and_then(|outputs| outputs.get(name)).and_then(Value::as_str).filter(|text| !text.is_empty())
    };
    html! {
        dl class="facts" {
            @if let Some(revision) = output("revision") { dt { "Revision" } dd { b { (revision) } } }
            @if let Some(sha) = &deployed.sha {
                dt { "Commit" }
                dd { code { (sha.get(..12).unwrap_or(sha)) } " " span class="sub" { (deployed.repository.as_deref().unwrap_or_default()) " " (deployed.reference.as_deref().unwrap_or_default()) } }
            }
            @if let Some(url) = &deployed.url { dt { "Address" } dd { (link(url)) } }
            @if let Some(digest) = output("digest") { dt { "Image" } dd { code { (digest) } } }
            @if let Some(summary) = &deployed.summary { dt { "Came of it" } dd { (summary) } }
            @if let Some(at) = deployed.at { dt { "When" } dd { (moment(at.0)) } }
            dt { "By" } dd { a href={ "/runs/" (deployed.run) } { "run " (deployed.run) } ", because of " a href={ "/deliveries/" (deployed.delivery) } { "delivery " (deployed.delivery) } }
            @if let Some(before) = output("previous_revision") { dt { "Before" } dd { (before) } }
        }
    }
}

/// A link, if it leads to a page; others, such as `javascript:`, are only text.
pub(super) fn link(url: &str) -> Markup {
    if url.starts_with("https://") || url.starts_with("http://") {
        html! { a href=(url) rel="noopener noreferrer" { (url) } }
    } else {
        html! { code { (url) } }
    }
}

/// The entry points.
pub(super) async fn sources(state: &State, admitted: &Admitted) -> Result<Page, Failure> {
    let sources = state.sources(&admitted.viewer).await?;
    let hidden = state.hidden();
    let body = html! {
        h1 { "Sources" }
        p class="lead" { "Where deliveries come in, and what proves them." }
        @for source in &sources {
            section class="card" {
                h2 { (source.name) " " span class="sub" { (source.kind) } }
                dl class="facts" {
                    dt { "Path" } dd { code { (source.path) } }
                    @for secret in &source.secrets {
                        dt { "Secret" } dd { (secret.name) @if secret.rotating { " " (badge("waiting")) span class="sub" { " an older value is still accepted" } } }
                    }
                    @if let Some(rotation) = &source.rotation { dt { "In use" } dd { (rotation) } }
                    @if source.values.len() > 1 {
                        @for (index, value) in source.values.iter().enumerate() {
                            dt { @if index == 0 { "Current value" } @else { "Previous value " (index) } }
                            dd {
                                @if let Some(last) = value.last_matched { "last matched " (time(last.0)) } @else { "never matched" }
                                @if index > 0 { " " span class="sub" { (value.advice.replace('-', " ")) } }
                            }
                        }
                    }
                    dt { "Last" } dd { a href={ "/deliveries?source=" (source.name) } { "its deliveries" } }
                }
                details id={ "source-" (source.name) } { summary { "Settings" } (json(&source.settings.0)) }
            }
        }
        h2 { "What is hidden" }
        div class="card" {
            p { "Values of headers whose names contain: " @for word in &hidden.headers { code { (word) } " " } }
            p { "Values of fields whose names contain: " @for word in &hidden.fields { code { (word) } " " } }
            p { "Wherever it stands:" }
            ul { @for kind in &hidden.anywhere { li { (kind) } } }
        }
    };
    Ok(Page { title: "Sources".to_owned(), section: "/sources", live: false, body })
}

/// Who asked for what.
pub(super) async fn audit(state: &State, admitted: &Admitted, query: &Fields) -> Result<Page, Failure> {
    let cursor = query.get("cursor").and_then(|cursor| cursor.parse().ok());
    let (items, next) = state.audit(&admitted.viewer, cursor, PAGE).await?;
    let body = html! {
        h1 { "Audit log" }
        p class="lead" { "Who asked for what, and what came of it." }
        @if items.is_empty() { (empty("Nobody has asked for anything yet.")) } @else {
            div class="table" { table class="stack" {
                thead { tr { th { "When" } th { "Who" } th { "Asked for" } th { "Of" } th { "Outcome" } } }
                tbody { @for entry in &items { tr {
                    td { (time(entry.at.0)) } td { (entry.who) } td { (entry.act) } td class="id" { (entry.subject) }
                    td { (entry.outcome.as_deref().unwrap_or("unknown: the process ended")) }
                } } }
            } }
            (pager("/audit", query, next.map(|next| next.to_string()).as_deref()))
        }
    };
    Ok(Page { title: "Audit log".to_owned(), section: "/audit", live: false, body })
}

/// The filters of an address as a listing; one more than a page is asked for.
pub(super) fn listing(query: &Fields) -> Listing {
    let text = |name: &str| query.get(name).map(str::to_owned);
    Listing {
        before: text("cursor"),
        limit: PAGE + 1,
        states: query.all("state").map(str::to_owned).collect(),
        source: text("source"),
        event: text("event"),
        repository: text("repository"),
        rule: text("rule"),
        since: query.get("since").and_then(since),
        until: None,
        text: text("text"),
    }
}

/// Lengths of time that can be looked back.
const BACK: &[(&str, &str, u64)] =
    &[("1h", "last hour", 3600), ("24h", "last 24 hours", 86_400), ("7d", "last 7 days", 7 * 86_400)];

fn since(word: &str) -> Option<Timestamp> {
    let (_, _, seconds) = BACK.iter().find(|(known, _, _)| *known == word)?;
    Some(Timestamp::now().before(Duration::from_secs(*seconds)))
}

fn filters(path: &str, query: &Fields, states: &[&str]) -> Markup {
    let value = |name: &str| query.get(name).unwrap_or_default().to_owned();
    html! {
        form class="filters" method="get" action=(path) role="search" {
            label { "Text" input type="search" name="text" value=(value("text")); }
            @if !states.is_empty() {
                label { "State" select name="state" {
                    option value="" { "any" }
                    @for word in states { option value=(word) selected[query.all("state").any(|one| one == *word)] { (word) } }
                } }
            }
            label { "Time" select name="since" {
                option value="" { "any" }
                @for (word, name, _) in BACK { option value=(word) selected[query.get("since") == Some(word)] { (name) } }
            } }
            details id="more-filters" open[["source", "event", "repository", "rule"].iter().any(|name| query.get(name).is_some())] {
                summary { "More filters" }
                div {
                    label { "Source" input name="source" value=(value("source")); }
                    label { "Event" input name="event" value=(value("event")); }
                    label { "Repository" input name="repository" value=(value("repository")); }
                    label { "Rule" input name="rule" value=(value("rule")); }
                }
            }
            button class="plain" { "Filter" }
            @if !query.is_empty() { a href=(path) { "Clear" } }
        }
    }
}

/// A retry for those who may.
pub(super) fn retry(admitted: &Admitted, run: &str) -> Markup {
    act(admitted, &format!("/runs/{run}/retry"), "", "Retry")
}
