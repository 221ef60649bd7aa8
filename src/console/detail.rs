//! Pages about one thing: a delivery, a run, a rule.

use maud::{Markup, html};

use super::layout::{Page, act, badge, decision, empty, json, key, length, lines, moment, mood, time};
use super::pages::{link, retry};
use super::parts::{run_rows, why};
use crate::access::Admitted;
use crate::api::State;
use crate::api::problem::Failure;
use crate::api::redact::Body;
use crate::api::repositories::Repository;
use crate::api::shapes::{Attempt, LogLine, Run, RunDetail, Step};
use crate::clock::Timestamp;
use crate::journal::record::{Listing, RunState};
use crate::matching::Trace;
use crate::run::approval::asked;

/// Letters of a body that are shown.
const LONGEST: usize = 64 << 10;
/// Runs that are shown with a rule.
const LAST: usize = 20;

/// How it was verified, the request, each rule with its reasons, the runs.
pub(super) async fn delivery(state: &State, admitted: &Admitted, id: &str) -> Result<Page, Failure> {
    let (record, traces) = state.delivery(&admitted.viewer, id).await?;
    let content = state.content(id).await?;
    let runs: Vec<Run> = state.runs_of(id).await?.into_iter().map(Run::from).collect();
    let title = record.about.title.clone().unwrap_or_else(|| record.event_type.clone());
    let body = html! {
        h1 { (title) }
        p class="lead" { (badge(record.state.word())) " " (record.source) ", " (record.about.event.as_deref().unwrap_or(&record.event_type)) ", " (time(record.received_at)) }
        @if let Some(reason) = &record.reason { div class="notice bad" { (reason) } }
        div class="acts" {
            (act(admitted, &format!("/deliveries/{id}/replay"), "", "Replay"))
            @if admitted.viewer.role == crate::access::Role::Operator {
                a class="button plain" href={ "/playground?delivery=" (id) } { "Try edited rules on it" }
            }
        }
        section class="card" aria-label="Facts" {
            dl class="facts twice" {
                dt { "Verified" } dd { (record.verified) }
                @if let Some(repository) = &record.about.repository { dt { "Repository" } dd { a href={ "/deliveries?repository=" (repository) } { (repository) } } }
                dt { "Received" } dd { (moment(record.received_at)) @if record.replay { " (a replay)" } }
                dt { "Provider's id" } dd { code { (record.delivery_id) } }
                dt { "Our id" } dd { code { (record.id) } }
                dt { "Trace" } dd { code { (record.trace) } }
            }
        }
        h2 { "Runs" }
        @if runs.is_empty() { (empty("No rule started.")) } @else { (run_rows(&runs)) }
        h2 { "Why" }
        (decisions(&traces))
        h2 { "Request" }
        div class="card" {
            details id="headers" {
                summary { "Headers that were kept" }
                dl class="facts" {
                    @for (name, value) in &content.content.headers {
                        dt { (name) } dd { code { (state.redaction.header(name, value)) } }
                    }
                }
            }
            details id="body" open {
                summary { "Body, " (record.size) " bytes" }
                @match state.redaction.body(&content.content.body) {
                    Body::Json(value) => { (shortened(&format!("{value:#}"))) }
                    Body::Text(text) => { (shortened(&text)) }
                    Body::Binary => { p class="sub" { "These bytes are no text." } }
                }
            }
        }
    };
    Ok(Page { title, section: "/deliveries", live: true, body })
}

/// The rules that were looked at: what matched and what was refused first, the others after.
pub(super) fn decisions(traces: &[Trace]) -> Markup {
    html! {
        @if traces.is_empty() {
            (empty("No rule is about this event of this source."))
        } @else {
            div class="card" { @for (number, trace) in traces.iter().enumerate() { (decision(trace, number)) } }
        }
    }
}

fn shortened(text: &str) -> Markup {
    let shown: String = text.chars().take(LONGEST).collect();
    let more = shown.len() < text.len();
    html! { pre tabindex="0" { code { (shown) } } @if more { p class="sub" { "The rest is not shown." } } }
}

/// A run as a timeline.
pub(super) async fn run(state: &State, admitted: &Admitted, id: &str) -> Result<Page, Failure> {
    let (record, steps) = state.run(&admitted.viewer, id).await?;
    let open = !record.state.is_final();
    let can_retry = matches!(
        record.state,
        RunState::Failed | RunState::Dead | RunState::Cancelled | RunState::Superseded | RunState::Skipped
    );
    let asked = crate::run::approval::question(&steps).filter(|_| open).map(|(_, step)| asked(step).to_owned());
    let RunDetail { run, steps, log } = RunDetail::new(record, steps, state.parts.observer.lately(id), &state.redaction);
    let (delivery, _) = state.delivery(&admitted.viewer, &run.delivery).await?;
    let body = html! {
        h1 { (run.rule) }
        p class="lead" { (badge(&run.state.0)) " run " code { (run.id) } @if run.round > 0 { ", taken up again " (run.round) " times" } }
        @if let Some(failure) = &run.failure {
            div class="notice bad" {
                b { @if !failure.step.is_empty() { (failure.step) ": " } (failure.code) } " " (failure.message)
                @if failure.rolled_back { " What was there before is back." }
            }
        } @else if run.covered_by.is_some() || run.cancelled || run.note.is_some() {
            div class="notice" { (why(&run)) }
        }
        @if let Some(asked) = &asked { (question(admitted, id, asked)) }
        div class="acts" {
            @if can_retry { (retry(admitted, id)) }
            @if open { (act(admitted, &format!("/runs/{id}/cancel"), "danger", "Cancel")) }
        }
        section class="card" aria-label="Facts" {
            dl class="facts twice" {
                dt { "Because of" } dd { a href={ "/deliveries/" (run.delivery) } { (delivery.about.title.as_deref().unwrap_or(&delivery.event_type)) } " " span class="sub" { (delivery.source) } }
                dt { "Rule" }
                dd {
                    // A repository's own rules are in no list of the operator's.
                    @if let Some(owner) = &run.owner { (run.place) " of " (owner) } @else { a href={ "/rules/" (run.rule) } { (run.place) } }
                    " " span class="sub" { "rule set " (run.revision) }
                }
                @if let Some(group) = &run.group { dt { "Group" } dd { (group.key) " " span class="sub" { (group.mode.0) } } }
                dt { "Created" } dd { (moment(run.created_at.0)) }
                @if let Some(at) = run.started_at { dt { "Started" } dd { (moment(at.0)) } }
                @if let Some(at) = run.due_at { dt { "Next attempt" } dd { (moment(at.0)) } }
                @if let Some(at) = run.finished_at { dt { "Finished" } dd { (moment(at.0)) } }
                @if let Some(name) = &run.waits_for { dt { "Waits for" } dd { (name) } }
                @if run.by_hand { dt { "Started" } dd { "by hand" } }
                @if run.dry { dt { "Dry run" } dd { "nothing is done" } }
            }
        }
        h2 { "Steps" }
        @if steps.is_empty() { (empty("No step was reached.")) } @else {
            @let span = Span::of(&steps);
            ol class="timeline" { @for (number, step) in steps.iter().enumerate() { (timeline_step(step, number, &span, &log, run.dry)) } }
        }
    };
    Ok(Page { title: format!("{} {}", run.rule, run.state.0), section: "/runs", live: true, body })
}

/// From the first step's beginning to the last one's end.
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    fn of(steps: &[Step]) -> Self {
        let now = Timestamp::now().0;
        let from = steps.iter().filter_map(|step| step.started_at).map(|at| at.0.0).min().unwrap_or(now);
        let to = steps.iter().map(|step| step.finished_at.map_or(now, |at| at.0.0)).max().unwrap_or(now);
        Self { from, to: to.max(from + 1) }
    }

    /// Where a length of time is in it, in thousandths: (beginning, width).
    fn place(&self, from: i64, to: i64) -> (i64, i64) {
        let whole = (self.to - self.from).max(1);
        let at = |moment: i64| (moment - self.from).clamp(0, whole) * 1000 / whole;
        let (begin, end) = (at(from), at(to));
        (begin.min(994), (end - begin).max(6))
    }
}

/// What is asked, and the two answers.
fn question(admitted: &Admitted, id: &str, asked: &str) -> Markup {
    html! {
        div class="notice wait" {
            p { b { "It waits for a person: " } (asked) }
            @if admitted.viewer.role == crate::access::Role::Operator {
                form method="post" action={ "/runs/" (id) "/approve" } {
                    (key(admitted))
                    label for="comment" { "Comment, for the record" }
                    input id="comment" name="comment" maxlength="500" autocomplete="off";
                    div class="acts" {
                        button { "Approve" }
                        button class="danger" formaction={ "/runs/" (id) "/reject" } { "Reject" }
                    }
                }
            }
        }
    }
}

fn timeline_step(step: &Step, number: usize, span: &Span, log: &[LogLine], dry: bool) -> Markup {
    let called = step.id.clone().unwrap_or_else(|| format!("{}", step.index + 1));
    let label = step.shown();
    let said: Vec<&LogLine> = log.iter().filter(|line| line.step.as_deref() == Some(&label)).collect();
    let now = Timestamp::now().0;
    let end = step.finished_at.map_or(now, |at| at.0.0);
    let open = step.finished_at.is_none();
    html! {
        li class=(mood(&step.state.0)) {
            div class="stephead" {
                h3 { @if step.phase.0 != "steps" { span class="sub" { (step.phase.0) "/" } } (called) }
                code { (step.uses) } (badge(&step.state.0))
                @if let Some(from) = step.started_at { span class="sub nowrap" { (length(end - from.0.0)) } }
            }
            @if let Some(name) = &step.name { p class="sub" { (name) } }
            @if let Some(from) = step.started_at {
                @let (x, width) = span.place(from.0.0, end);
                svg class="bar" viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true" { rect x=(x) y="0" width=(width) height="6" {} }
            }
            @if let Some(summary) = &step.summary { p { (summary) } } @else if let Some(intent) = &step.intent { p { (intent) } }
            @if let Some(url) = &step.url { p { (link(url)) } }
            @if let Some(answer) = &step.answer {
                p { @if answer.approved { "Approved" } @else { "Rejected" } " by " b { (answer.by) } " (" (answer.via) ")" @if let Some(comment) = &answer.comment { ": " q { (comment) } } }
            }
            @if let Some(why) = &step.why {
                @if open { p class="waits" { (why.message) } } @else { p class="fails" { (why.code) ": " (why.message) } }
            }
            @if step.attempts.len() > 1 { ol class="attempts" { @for attempt in &step.attempts { (one_attempt(attempt)) } } }
            div class="more" {
            @if !said.is_empty() {
                details id={ "log-" (number) } open[open] { summary { "Log" } ol class="log" { @for line in said { li { (time(line.at.0)) " " b { (line.name) } " " (line.line) } } } }
            }
            @if let Some(with) = &step.with { details id={ "with-" (number) } { summary { "Parameters" } (json(&with.0)) } }
            @if let Some(plan) = step.plan.as_ref().filter(|_| dry) { details id={ "plan-" (number) } { summary { "Rendered" } (json(&plan.0)) } }
            @if let Some(outputs) = &step.outputs { details id={ "outputs-" (number) } { summary { "Outputs" } (json(&outputs.0)) } }
            }
        }
    }
}

fn one_attempt(attempt: &Attempt) -> Markup {
    html! {
        li {
            (badge(&attempt.state.0)) " " (time(attempt.started_at.0))
            @if let Some(end) = attempt.finished_at { " " span class="sub" { (length(end.0.0 - attempt.started_at.0.0)) } }
            @if let Some(why) = &attempt.why { " " span class="sub" { (why.code) ": " (why.message) } }
        }
    }
}

/// The rules in force.
pub(super) async fn rules(state: &State, admitted: &Admitted) -> Page {
    let (set, rules) = state.rules(&admitted.viewer).await;
    let repositories = state.repositories(&admitted.viewer).await;
    let body = html! {
        h1 { "Rules" }
        p class="lead" { (rules.len()) " rules are in force, rule set " code { (set.revision) } "." }
        @if let Some(fault) = state.parts.rules.fault() {
            div class="notice bad" role="alert" { b { "The rule files are wrong; the last good rules are in force." } pre tabindex="0" { (fault) } }
        }
        @if rules.is_empty() { (empty("There are no rules: nothing will be done.")) } @else {
            div class="table" { table class="stack" {
                thead { tr { th { "Rule" } th { "On" } th { "Does" } th { "Place" } } }
                tbody { @for rule in &rules { tr {
                    td { a href={ "/rules/" (rule.name) } { (rule.name) } @if !rule.enabled { " " (badge("switched off")) }
                        @if let Some(text) = &rule.description { div class="sub" { (text) } } }
                    td { @for event in &rule.events { code { (event) } " " } }
                    td { @for uses in &rule.uses { code { (uses) } " " } @if rule.replies { code { "reply" } } }
                    td class="sub" { (rule.place) }
                } } }
            } }
        }
        (own_rules(&repositories))
    };
    Page { title: "Rules".to_owned(), section: "/rules", live: false, body }
}

/// What is in force of the rules that repositories bring themselves.
fn own_rules(repositories: &[Repository]) -> Markup {
    html! {
        @if !repositories.is_empty() {
            h2 { "Rules of repositories" }
            div class="table" { table class="stack" {
                thead { tr { th { "Repository" } th { "In force" } th { "Commit" } th { "What is wrong" } } }
                tbody { @for one in repositories { tr {
                    td { a href={ "/runs?repository=" (one.name) } { (one.name) } }
                    td { @if one.read { (one.rules) " rules" @if one.off > 0 { ", " (one.off) " of them off" } } @else { span class="sub" { "read when its first delivery comes" } } }
                    td { @if let Some(commit) = &one.commit { code { (commit.get(..12).unwrap_or(commit)) } } }
                    td { @if let Some(fault) = &one.fault { pre tabindex="0" { (fault) } } @if let Some(unmet) = &one.unmet { " " span class="sub" { (unmet) } } }
                } } }
            } }
        }
    }
}

/// A rule with its source and what it did last.
pub(super) async fn rule(state: &State, admitted: &Admitted, name: &str) -> Result<Page, Failure> {
    let (rule, file) = state.rule(&admitted.viewer, name).await?;
    let listing = Listing { limit: LAST + 1, rule: Some(name.to_owned()), ..Listing::default() };
    let (runs, _) = state.runs(&admitted.viewer, listing).await?;
    let runs: Vec<Run> = runs.into_iter().map(Run::from).collect();
    let here = rule.place.rsplit_once(':').and_then(|(_, line)| line.parse().ok());
    let tests = state.rule_tests(file.as_ref());
    let faults = state.faults_of(file.as_ref()).await?;
    let wrong: Vec<usize> = faults.iter().filter_map(|fault| usize::try_from(fault.line).ok()).collect();
    let edit: String = file.iter().flat_map(|file| url::form_urlencoded::byte_serialize(file.path.as_bytes())).collect();
    let body = html! {
        h1 { (rule.name) }
        p class="lead" { (rule.description.as_deref().unwrap_or("No description.")) @if !rule.enabled { " " (badge("switched off")) } }
        div class="acts" {
            a class="button plain" href={ "/deliveries?rule=" (rule.name) } { "Deliveries that started it" }
            @if admitted.viewer.role == crate::access::Role::Operator { a class="button plain" href={ "/playground?path=" (edit) } { "Edit in the playground" } }
        }
        @if let Some(fault) = state.parts.rules.fault() {
            div class="notice bad" role="alert" { b { "The files have changed and are wrong; this is the last good rule." } pre tabindex="0" { (fault) } }
        }
        h2 { "Last matches" }
        @if runs.is_empty() { (empty("It has not started yet.")) } @else { (run_rows(&runs)) }
        @if !tests.is_empty() {
            h2 { "Tests of its file" }
            div class="card" { ul class="checks" { @for (name, differences) in &tests {
                li {
                    @if differences.is_empty() { (badge("succeeded")) } @else { (badge("failed")) } " " (name)
                    @for difference in differences { pre tabindex="0" { (difference) } }
                }
            } } }
        }
        @if let Some(file) = &file {
            h2 { (file.path) }
            @for fault in &faults {
                div class={ "notice " (if fault.severity == "error" { "bad" } else { "" }) } {
                    b { (fault.severity) } " line " (fault.line) ": " (fault.message) @if let Some(help) = &fault.help { div { (help) } }
                }
            }
            (lines(&file.text, here, &wrong))
        }
    };
    Ok(Page { title: rule.name.clone(), section: "/rules", live: false, body })
}
