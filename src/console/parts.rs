//! Rows and pagers that several pages have.

use maud::{Markup, html};

use super::forms::Fields;
use super::layout::{badge, time};
use crate::api::shapes::Run;

/// Runs as a table.
pub(super) fn run_rows(runs: &[Run]) -> Markup {
    html! {
        div class="table" { table class="stack" {
            thead { tr { th { "Created" } th { "State" } th { "Rule" } th { "Why" } th { "Id" } } }
            tbody { @for run in runs { tr {
                td { (time(run.created_at.0)) }
                td { (badge(&run.state.0)) }
                td { a href={ "/runs/" (run.id) } { (run.rule) } @if let Some(group) = &run.group { div class="sub" { "group " (group.key) } } }
                td { (why(run)) }
                td class="id" { (run.id) }
            } } }
        } }
    }
}

/// What keeps or ended a run, in one line.
pub(super) fn why(run: &Run) -> Markup {
    html! {
        @if let Some(failure) = &run.failure {
            span { @if !failure.step.is_empty() { b { (failure.step) } ": " } (failure.message) @if failure.rolled_back { " (rolled back)" } }
        } @else if let Some(by) = &run.covered_by {
            "covered by " a href={ "/runs/" (by) } { (by) }
        } @else if let Some(name) = &run.waits_for {
            span class="sub" { "waits for " (name) }
        } @else if let Some(due) = run.due_at {
            span class="sub" { "next attempt " } (time(due.0))
        } @else if run.cancelled {
            span class="sub" { "asked to stop" }
        } @else if let Some(note) = &run.note {
            span class="sub" { (note) }
        }
    }
}

/// The way to the next page.
pub(super) fn pager(path: &str, query: &Fields, next: Option<&str>) -> Markup {
    html! {
        nav class="acts" aria-label="More" {
            @if query.get("cursor").is_some() { a class="button plain" href={ (path) (query.without("cursor")) } { "Newest" } }
            @if let Some(next) = next { a class="button plain" rel="next" href={ (path) (query.with("cursor", next)) } { "Older" } }
        }
    }
}
