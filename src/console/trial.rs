//! The playground and the backtest: edited rules, tried without effects.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::detail::decisions;
use super::forms::Fields;
use super::layout::{Page, decision, empty, json, key, lines, time};
use crate::access::Admitted;
use crate::api::State;
use crate::api::problem::Failure;
use crate::api::rehearsal::{Difference, Fault, Loaded, Occasion};
use crate::api::rendered::{Rendered, RenderedRequest};
use crate::api::rules::File;
use crate::backtest::{self, Change};
use crate::happening::{from_body, known};
use crate::journal::record::Listing;
use crate::rules::model::RuleFile;
use crate::rules::testing::{Happening, Played};

/// Deliveries that can be picked.
const PICK: usize = 30;

/// Paste or pick a delivery, edit a rule, see check, why, and the requests that would be made.
pub(super) async fn playground(state: &State, admitted: &Admitted, fields: &Fields) -> Result<Page, Failure> {
    let edited = Edited::of(state, fields).await?;
    let loaded = state.load(Some(edited.files())).await?;
    let listing = Listing { limit: PICK + 1, ..Listing::default() };
    let (recent, _) = state.deliveries(&admitted.viewer, listing).await?;
    let picked = fields.get("delivery").map(str::to_owned).or_else(|| recent.first().map(|one| one.id.clone()));
    let event = fields.get("event").unwrap_or_default();
    let payload = fields.get("payload").unwrap_or_default();
    let occasion = if payload.is_empty() { Ok(picked.clone().map(Occasion::Delivery)) } else { pasted(event, payload).map(Some) };
    let result = result(state, admitted, loaded, occasion, &edited).await?;
    let body = html! {
        h1 { "Playground" }
        p class="lead" { "Edit the rules and see what they would do. Nothing is done, and nothing is saved." }
        form method="post" action="/playground" data-try {
            (key(admitted))
            div class="two" {
                div {
                    label for="text" { "Rule file " (edited.path) }
                    input type="hidden" name="path" value=(edited.path);
                    textarea id="text" name="text" spellcheck="false" autocomplete="off" { "\n" (edited.text) }
                    @if edited.all.len() > 1 {
                        p class="sub" { "Other files: " @for file in edited.all.iter().filter(|file| file.path != edited.path) {
                            a href={ "/playground?path=" (file.path) } { (file.path) } " "
                        } }
                    }
                    label for="delivery" { "Delivery" }
                    select id="delivery" name="delivery" {
                        @if let Some(id) = picked.as_ref().filter(|id| !recent.iter().any(|one| one.id == **id)) { option value=(id) selected { (id) } }
                        @for one in &recent {
                            option value=(one.id) selected[picked.as_ref() == Some(&one.id)] {
                                (one.source) ": " (one.about.title.as_deref().unwrap_or(&one.event_type)) " (" (one.id) ")"
                            }
                        }
                    }
                    details id="paste" open[!payload.is_empty()] {
                        summary { "Or paste one" }
                        label for="event" { "Event, such as github.push" }
                        input id="event" name="event" value=(event);
                        label for="payload" { "Body as the provider sends it, JSON" }
                        textarea id="payload" name="payload" spellcheck="false" { "\n" (payload) }
                    }
                    div class="acts" { button { "Try" } }
                }
                (result)
            }
        }
    };
    Ok(Page { title: "Playground".to_owned(), section: "/playground", live: false, body })
}

/// The file that is edited, among all of them.
struct Edited {
    path: String,
    text: String,
    all: Vec<RuleFile>,
}

impl Edited {
    async fn of(state: &State, fields: &Fields) -> Result<Self, Failure> {
        let all = state.files().await?;
        let wanted = fields.get("path");
        let kept = wanted.and_then(|path| all.iter().find(|file| file.path == path)).or_else(|| all.first());
        let path = kept.map_or_else(|| "rules.yaml".to_owned(), |file| file.path.clone());
        let text = fields.get("text").map(|text| text.replace("\r\n", "\n"));
        let text = text.unwrap_or_else(|| kept.map(|file| file.text.clone()).unwrap_or_default());
        Ok(Self { path, text, all })
    }

    fn files(&self) -> Vec<File> {
        let mut files: Vec<File> =
            self.all.iter().map(|file| File { path: file.path.clone(), text: file.text.clone() }).collect();
        match files.iter_mut().find(|file| file.path == self.path) {
            Some(file) => file.text.clone_from(&self.text),
            None => files.push(File { path: self.path.clone(), text: self.text.clone() }),
        }
        files
    }
}

fn pasted(event: &str, payload: &str) -> Result<Occasion, String> {
    let kind = known(event)?;
    let body = crate::json::parse(payload.as_bytes()).map_err(|error| format!("the body is no JSON: {error}"))?;
    let happening = from_body(kind, payload, body.clone()).or_else(|why| match body {
        // Of other kinds, the fields that matter can be given as in tests.
        Value::Object(fields) if !fields.is_empty() => {
            let with = Value::Object(Map::from_iter(fields));
            Ok(Happening { event: kind.to_owned(), with, ..Happening::default() })
        }
        _ => Err(why),
    })?;
    Ok(Occasion::Happening(Box::new(happening)))
}

async fn result(
    state: &State,
    admitted: &Admitted,
    loaded: Loaded,
    occasion: Result<Option<Occasion>, String>,
    edited: &Edited,
) -> Result<Markup, Failure> {
    let faults = loaded.faults.clone();
    let usable = loaded.set.is_some();
    let played = match occasion {
        Ok(Some(occasion)) if usable => match state.rehearse(&admitted.viewer, loaded, occasion).await {
            Ok(played) => Ok(Some(played)),
            Err(failure @ (Failure::NotFound(_) | Failure::Conflict(_) | Failure::Malformed(_))) => {
                Err(failure.detail().to_owned())
            }
            Err(failure) => return Err(failure),
        },
        Ok(_) => Ok(None),
        Err(why) => Err(why),
    };
    let rendered = match &played {
        Ok(Some(played)) => state.rendered(&played.calls).await,
        _ => Vec::new(),
    };
    let summary = match &played {
        _ if !usable => format!("{} faults.", faults.len()),
        Ok(Some(played)) => format!("{} calls would be made.", played.calls.len()),
        Ok(None) => "There is no delivery to try it on.".to_owned(),
        Err(why) => why.clone(),
    };
    Ok(html! {
        section id="result" aria-label="What would happen" data-summary=(summary) {
            (fault_list(&faults, edited))
            @match &played {
                Err(why) => { div class="notice bad" { (why) } }
                Ok(None) => { @if usable { (empty("There is no delivery to try it on yet; paste one.")) } }
                Ok(Some(played)) => { (outcome(played, &rendered)) }
            }
        }
    })
}

fn outcome(played: &Played, rendered: &[Rendered]) -> Markup {
    html! {
        @for fault in &played.faults { div class="notice bad" { (fault) } }
        h2 { "What would be done" }
        @if played.calls.is_empty() && played.reply.is_none() { (empty("Nothing.")) }
        @for (number, (call, rendered)) in played.calls.iter().zip(rendered).enumerate() {
            details class="card" id={ "call-" (number) } open {
                summary { b { (call.rule) } " " span class="sub" { (call.step) } " " code { (call.uses) } }
                @if let Some(summary) = &rendered.summary { p { (summary) } }
                @for one in &rendered.requests { (request(one)) }
                @if let Some(note) = &rendered.note { p class="sub" { (note) } }
                details id={ "call-" (number) "-with" } open[rendered.requests.is_empty()] { summary { "Parameters" } (json(&call.with)) }
            }
        }
        @if let Some(reply) = &played.reply { h3 { "Reply" } (json(reply)) }
        h2 { "Why" }
        (decisions(&played.traces))
    }
}

/// A request as it would go out.
fn request(one: &RenderedRequest) -> Markup {
    html! {
        pre class="request" tabindex="0" {
            code {
                b { (one.method) } " " (one.url) "\n"
                @for header in &one.headers { (header.name) ": " (header.value) "\n" }
                @if let Some(body) = &one.body { "\n" (format!("{:#}", body.0)) }
                @if let Some(text) = &one.text { "\n" (text) }
            }
        }
    }
}

fn fault_list(faults: &[Fault], edited: &Edited) -> Markup {
    let wrong: Vec<usize> = faults
        .iter()
        .filter(|fault| fault.file == edited.path && fault.severity == "error")
        .filter_map(|fault| usize::try_from(fault.line).ok())
        .collect();
    html! {
        @if faults.is_empty() {
            div class="notice good" { "The rules are right." }
        } @else {
            @for fault in faults {
                div class={ "notice " (if fault.severity == "error" { "bad" } else { "" }) } {
                    b { (fault.severity) } " " (fault.file) ":" (fault.line) ":" (fault.column) " " (fault.message)
                    @if let Some(help) = &fault.help { div { (help) } }
                }
            }
            @if !wrong.is_empty() { (lines(&edited.text, None, &wrong)) }
        }
    }
}

/// Edited rules against what came in, as a difference.
pub(super) async fn backtest(state: &State, admitted: &Admitted, fields: &Fields) -> Result<Page, Failure> {
    let edited = Edited::of(state, fields).await?;
    let difference = match fields.get("text") {
        Some(_) => {
            let loaded = state.load(Some(edited.files())).await?;
            Some(state.backtest(&admitted.viewer, loaded, None, None).await?)
        }
        None => None,
    };
    let body = html! {
        h1 { "Backtest" }
        p class="lead" { "What edited rules would have done with the deliveries of the last 7 days. Nothing is done: steps give what they gave then." }
        form method="post" action="/backtest" {
            (key(admitted))
            input type="hidden" name="path" value=(edited.path);
            label for="text" { "Rule file " (edited.path) }
            textarea id="text" name="text" spellcheck="false" { "\n" (edited.text) }
            div class="acts" { button { "Compare" } }
        }
        @if let Some(difference) = &difference { (comparison(difference, &edited)) }
    };
    Ok(Page { title: "Backtest".to_owned(), section: "/backtest", live: false, body })
}

fn comparison(difference: &Difference, edited: &Edited) -> Markup {
    let tiles = [
        (difference.looked_at, "deliveries compared"),
        (difference.would_fire, "would fire"),
        (difference.would_not_fire, "would not fire"),
        (difference.other_inputs, "with other inputs"),
        (difference.would_fail, "would fail"),
    ];
    html! {
        @if !difference.faults.is_empty() { (fault_list(&difference.faults, edited)) }
        ul class="tiles" { @for (count, name) in tiles { li { b { (count) } (name) } } }
        @if difference.deliveries.is_empty() { (empty("Nothing would be different.")) }
        @for differing in &difference.deliveries {
            section class="card" {
                h2 { a href={ "/deliveries/" (differing.delivery.id) } { (differing.delivery.title.as_deref().unwrap_or(&differing.delivery.event_type)) } }
                p class="sub" { (differing.delivery.source) " " (time(differing.delivery.received_at.0)) }
                @for (number, one) in differing.differences.iter().enumerate() {
                    details id={ (differing.delivery.id) "-" (number) } open {
                        @match serde_json::from_value::<backtest::Difference>(one.0.clone()) {
                            Ok(difference) => { (changed(&difference, number)) }
                            Err(_) => { summary { "A difference" } (json(&one.0)) }
                        }
                    }
                }
            }
        }
        @for why in &difference.unreadable { p class="sub" { (why) } }
    }
}

/// What one rule would do otherwise.
fn changed(difference: &backtest::Difference, number: usize) -> Markup {
    let (word, mood) = match &difference.change {
        Change::WouldFire { .. } => ("would fire", "good"),
        Change::WouldNotFire { .. } => ("would not fire", "idle"),
        Change::OtherInputs { .. } => ("other inputs", "wait"),
        Change::WouldFail { .. } => ("would fail", "bad"),
    };
    html! {
        summary { span class={ "badge " (mood) } { (word) } " " b { (difference.rule) } }
        @match &difference.change {
            Change::WouldFire { calls } => {
                @for call in calls { p { "It would run " code { (call.uses) } } (json(&call.with)) }
            }
            Change::WouldNotFire { trace: Some(trace) } => { (decision(trace, number)) }
            Change::WouldNotFire { trace: None } => { p class="sub" { "There is no such rule for this event any more." } }
            Change::OtherInputs { inputs } => {
                div class="table" { table class="stack" {
                    thead { tr { th { "Step" } th { "Value" } th { "Then" } th { "Now" } } }
                    tbody { @for input in inputs { tr {
                        td { (input.step) } td { code { (input.path) } }
                        td { (side(&input.then)) } td { (side(&input.now)) }
                    } } }
                } }
            }
            Change::WouldFail { why } => { @for why in why { p class="fails" { (why) } } }
        }
    }
}

/// One side of a difference.
fn side(value: &Value) -> Markup {
    match value {
        Value::Null => html! { span class="sub" { "nothing" } },
        Value::String(text) => html! { code { (text) } },
        other => html! { code { (other) } },
    }
}
