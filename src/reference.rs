//! The generated reference: pages made from the lists that the checker and the engine work with, so that they cannot differ from them.

mod payloads;

use std::fmt::Write;
use std::time::Duration;

use declic_actions::action::{Class, Field, Repeat, Spec};
use declic_actions::targets::{CONNECTIONS, SettingKind, TARGETS};

use crate::rules::github_payloads::{self, Presence};
use crate::rules::registry::{self, ACTOR, DELIVERY, Declares, EVENTS, EventSpec, FAILURE, REPOSITORY};
use crate::schema;
use crate::settings::keys;
use crate::sources;

/// One page: its file name below `docs/reference/`, and its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// `events.md`
    pub name: &'static str,
    /// Markdown, or a JSON Schema.
    pub text: String,
}

/// All pages, always the same for the same build.
pub fn pages() -> Vec<Page> {
    vec![
        Page { name: "events.md", text: events() },
        Page { name: "github-events.md", text: github_events() },
        Page { name: "github-payloads.md", text: payloads::page() },
        Page { name: "actions.md", text: actions() },
        Page { name: "settings.md", text: settings() },
        Page { name: "rules.schema.json", text: schema::text(&schema::rules()) },
        Page { name: "config.schema.json", text: schema::text(&schema::config()) },
        Page { name: "openapi.json", text: format!("{:#}\n", crate::api::document()) },
    ]
}

fn heading(title: &str) -> String {
    format!("<!-- Made by `declic reference`: change the lists in the source, not this page. -->\n\n# {title}\n\n")
}

/// A table of fields; nothing if there are none.
fn table(page: &mut String, first: &str, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }
    let _ = writeln!(page, "| {first} | type | |\n|---|---|---|");
    for field in fields {
        let _ = writeln!(page, "| `{}` | `{}` | {} |", field.name, cell(field.shape), cell(field.summary));
    }
    page.push('\n');
}

/// Text inside a table: a bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn duration(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn events() -> String {
    let mut page = heading("Events");
    page.push_str("What can stand under `on:`, the filters of each, and what its `event` holds. A type with `?` may be missing; `text` is what an outsider can choose.\n\n");
    for event in EVENTS {
        event_section(&mut page, event);
    }
    page.push_str("## What every event has\n\n`delivery`:\n\n");
    table(&mut page, "field", DELIVERY);
    page.push_str("`repo`, of GitHub's events:\n\n");
    table(&mut page, "field", REPOSITORY);
    page.push_str("`actor`, of GitHub's events:\n\n");
    table(&mut page, "field", ACTOR);
    page.push_str("`failure`, in `on-failure`:\n\n");
    table(&mut page, "field", FAILURE);
    page
}

fn github_events() -> String {
    let mut page = heading("GitHub's other events");
    page.push_str("Every webhook of GitHub's can start a rule. Those with fields of their own are in [events.md](events.md); these have `event.payload`, [typed as GitHub describes it](github-payloads.md), and where the webhook has actions `event.action` and the filter `types`. Where it names a repository, there is the filter `repos`; `repo` may be missing where the table says \"sometimes\".\n\nA rule that deploys must say who may start it (`allow:`) where strangers can cause the event.\n\n| event | `types` | names a repository | strangers can cause it |\n|---|---|---|---|\n");
    for event in registry::GENERAL.iter() {
        let event_type = registry::github_event_type(event.name).unwrap_or_default();
        let types: Vec<String> = github_payloads::actions(event_type).iter().map(|word| format!("`{word}`")).collect();
        let repository = match registry::repository_of(event) {
            Presence::Always => "yes",
            Presence::Sometimes => "sometimes",
            Presence::Never => "no",
        };
        let strangers = if registry::open_to_strangers(event) { "yes" } else { "" };
        let _ = writeln!(page, "| `{}` | {} | {repository} | {strangers} |", event.name, types.join(" "));
    }
    page
}

fn event_section(page: &mut String, event: &EventSpec) {
    let _ = writeln!(page, "## {}\n\n{}\n", event.name, event.summary);
    let from: Vec<String> = event
        .from
        .iter()
        .map(|from| {
            from.format.map_or_else(|| format!("`{}`", from.kind), |format| format!("`{}` with `format: {format}`", from.kind))
        })
        .collect();
    if !from.is_empty() {
        let _ = writeln!(page, "Comes from sources of type {}.\n", from.join(", "));
    }
    match event.declares {
        Declares::Nothing => {}
        Declares::Command => page.push_str("Needs `command:`; `args:` declares its arguments, which become `event.args`; without it, that is the list of words.\n\n"),
        Declares::Params => page.push_str("`params:` declares its parameters, which become `event.params`.\n\n"),
        Declares::Body => {
            page.push_str("`body:` declares its content, which becomes `event.body`; what does not fit does not match.\n\n")
        }
    }
    if registry::can_be_own(event) {
        page.push_str("`own-events: true` lets in what Declic itself did, too.\n\n");
    }
    if !event.filters.is_empty() {
        page.push_str("| filter | looks at | |\n|---|---|---|\n");
        for filter in event.filters {
            let _ = writeln!(page, "| `{}` | `{}` | {} |", filter.name, filter.path, cell(filter.summary));
        }
        page.push('\n');
    }
    fields(page, event);
    if let Some(reply) = &event.reply {
        let _ =
            writeln!(page, "Somebody waits for a `reply:`, for {} unless the source says otherwise:\n", duration(reply.deadline));
        table(page, "field of the reply", reply.fields);
    }
}

/// The fields of the `event` context; a payload that is described elsewhere is linked.
fn fields(page: &mut String, event: &EventSpec) {
    let _ = writeln!(page, "| field | type | |\n|---|---|---|");
    for field in event.fields {
        let shape = match registry::github_event_type(event.name).filter(|_| field.name == "payload") {
            Some(event_type) => format!("[GitHub's `{event_type}`](github-payloads.md#{event_type})"),
            None => format!("`{}`", cell(field.shape)),
        };
        let _ = writeln!(page, "| `{}` | {shape} | {} |", field.name, cell(field.summary));
    }
    page.push('\n');
}

fn actions() -> String {
    let mut page = heading("Actions");
    page.push_str("What a step can use. A type with `?` may be left out.\n\n");
    crash_table(&mut page);
    for spec in registry::actions() {
        action_section(&mut page, spec);
    }
    page
}

/// What becomes of every effect whose outcome a crash, or a lost answer, left unknown.
fn crash_table(page: &mut String) {
    page.push_str(
        "Before an effect is made its intent is on disk. Where a crash or a lost answer leaves the outcome unknown, this is what follows:\n\n\
         | action | after a crash | how |\n|---|---|---|\n",
    );
    for spec in registry::actions() {
        let _ = writeln!(page, "| `{}` | {} | {} |", spec.name, repeated(spec.repeat), cell(spec.repeat_how));
    }
    page.push('\n');
}

fn repeated(repeat: Repeat) -> &'static str {
    match repeat {
        Repeat::Idempotent => "doing it twice is doing it once",
        Repeat::Found => "exactly once, it is looked for before it is repeated",
        Repeat::AtLeastOnce => "at least once",
    }
}

fn action_section(page: &mut String, spec: &Spec) {
    let _ = writeln!(page, "## {}\n\n{}\n", spec.name, spec.summary);
    table(page, "parameter", spec.parameters);
    table(page, "output", spec.outputs);
    let _ = writeln!(
        page,
        "Deadline {} unless the step has a `timeout:`. After a crash: {}. {}\n",
        duration(spec.deadline),
        repeated(spec.repeat),
        spec.repeat_how
    );
    if spec.class == Class::Deploy {
        page.push_str("Changes what a service serves: strangers and forks can never start it.\n\n");
    }
    if !spec.example.is_empty() {
        let _ = writeln!(page, "```yml\n{}\n```\n", spec.example.trim());
    }
}

fn settings() -> String {
    let mut page = heading("Settings");
    page.push_str("The kinds of entries in `declic.yaml`, and the keys of each. A `secret` is the name of an entry of `secrets:`.\n\n## sources\n\n");
    kinds(&mut page, sources::KINDS);
    page.push_str("## targets\n\nEvery target and every connection may also have:\n\n");
    table(&mut page, "key", &[keys::LIMIT]);
    kinds(&mut page, TARGETS);
    page.push_str("## connections\n\n");
    kinds(&mut page, CONNECTIONS);
    page.push_str("## admin\n\nWho may look and act at API and console; without it, only the machine that Declic runs on.\n\n");
    table(&mut page, "key", keys::ADMIN);
    page
}

fn kinds(page: &mut String, kinds: &[SettingKind]) {
    for kind in kinds {
        let _ = writeln!(page, "### `type: {}`\n\n{}\n", kind.name, kind.summary);
        table(page, "key", kind.fields);
    }
}
