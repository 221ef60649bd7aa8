//! What the demo puts on the terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use declic_actions::http::Url;

use super::Verdict;
use super::stand_ins::World;
use crate::clock::Timestamp;
use crate::journal::record::DeliveryRecord;
use crate::matching::{Trace, Verdict as Match};
use crate::rules::expr::Reason;
use crate::run::observe::Stage;

/// Width of the column of names.
const NAME: usize = 17;

/// The terminal. Writing to one that is gone is not an error of the demo.
pub(super) struct Screen<'o, W: Write> {
    out: &'o mut W,
    colour: bool,
    began: Option<Timestamp>,
    /// Names that the rule gives its steps, by step.
    names: BTreeMap<String, String>,
}

impl<'o, W: Write> Screen<'o, W> {
    pub fn new(out: &'o mut W, colour: bool) -> Self {
        Self { out, colour, began: None, names: BTreeMap::new() }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn entry(&mut self, at: Timestamp, good: bool, name: &str, line: &str) {
        let elapsed = self.began.map_or(0, |began| at.0.saturating_sub(began.0));
        let mark = if good { self.paint("32", "✔") } else { self.paint("31", "✘") };
        let name = self.paint("1", &format!("{name:<NAME$}"));
        self.line(&format!("{elapsed:>6} ms  {mark} {name} {line}"));
    }

    pub fn opening(&mut self, world: &World, address: SocketAddr) {
        let title = self.paint("1", "Declic demo");
        self.line(&format!("{title}: the real service on http://{address}, with stand-ins on this machine for"));
        let stand_ins = [
            ("Cloud Run", &world.cloud_run.url),
            ("image registry", &world.registry.url),
            ("Google's tokens", &world.identity.url),
            ("GitHub", &world.github.url),
            ("Dialogflow webhook", &world.dialogflow.url),
        ];
        for (name, url) in stand_ins {
            self.line(&format!("  {name:<19} {url}"));
        }
        self.line("");
    }

    pub fn sent(&mut self, to: &Url, bytes: usize) {
        self.began = Some(Timestamp::now());
        self.line(&format!("A push of {bytes} bytes, signed as GitHub would, goes to POST {to}"));
        self.line("");
    }

    pub fn verified(&mut self, record: &DeliveryRecord, at: Timestamp) {
        self.entry(at, true, "verified", &format!("{}, {} bytes", record.verified, record.size));
    }

    /// Why each rule starts, or does not.
    pub fn traces(&mut self, traces: &[Trace], at: Timestamp) {
        for trace in traces {
            let matched = trace.verdict == Match::Matched;
            let (name, verb) = if matched { ("matched", "starts") } else { ("not matched", "does not start") };
            // Those that are only counted have no place.
            let which = match trace.place.as_str() {
                "" => "what is left out here".to_owned(),
                place => format!("rule {} ({place}) {verb}", trace.rule),
            };
            self.entry(at, true, name, &format!("{which}:"));
            for check in &trace.checks {
                let mark = if check.holds { self.paint("32", "✔") } else { self.paint("33", "✘") };
                let found = if check.found.is_empty() { String::new() } else { self.paint("2", &format!("  ({})", check.found)) };
                self.line(&format!("{:32}{mark} {}{found}", "", check.text));
                if let Some(reason) = &check.reason {
                    self.reason(reason, 34);
                }
            }
        }
    }

    fn reason(&mut self, reason: &Reason, indent: usize) {
        let mark = if reason.holds { self.paint("32", "✔") } else { self.paint("33", "✘") };
        let found =
            if reason.found.is_empty() { String::new() } else { self.paint("2", &format!("  ({})", reason.found.join(", "))) };
        self.line(&format!("{:indent$}{mark} {}{found}", "", reason.text));
        for part in &reason.parts {
            self.reason(part, indent + 2);
        }
    }

    pub fn stage(&mut self, stage: &Stage) {
        let step = stage.step.as_deref().unwrap_or_default();
        // A step starts with its name, or with what it is about to do, which the action then tells in more detail.
        if stage.name == "started" {
            if stage.line.len() <= NAME {
                self.names.insert(step.to_owned(), stage.line.clone());
            }
            return;
        }
        let good = !matches!(stage.name.as_str(), "failed" | "rejected" | "retrying") && !stage.line.starts_with("failed");
        let name = match (stage.name.as_str(), self.names.get(step)) {
            ("succeeded", Some(name)) => name.clone(),
            ("succeeded" | "failed" | "skipped" | "retrying", _) if !step.is_empty() => format!("step {step}"),
            (name, _) => name.to_owned(),
        };
        self.entry(stage.at, good, &name, &stage.line);
    }

    pub fn closing(&mut self, verdict: &Verdict, settings: &Path, address: SocketAddr, stays: bool) {
        self.line("");
        if verdict.missing.is_empty() {
            let done = self.paint("32", "Done");
            self.line(&format!(
                "{done} in {} ms: the stand-in for Cloud Run serves the pushed commit, and the commit has its status and comment.",
                verdict.took.as_millis()
            ));
        } else {
            for what in &verdict.missing {
                let mark = self.paint("31", "Missing");
                self.line(&format!("{mark}: {what}"));
            }
        }
        if stays {
            self.look_further(verdict, settings, address);
        }
    }

    fn look_further(&mut self, verdict: &Verdict, settings: &Path, address: SocketAddr) {
        let config = settings.display();
        self.line("");
        let console = self.paint("1", &format!("http://{address}/"));
        self.line(&format!(
            "It stays up; end it with Ctrl-C. The console is at {console}, with a few deliveries more. Look further:"
        ));
        let declic = this_command();
        self.line(&format!("  {declic} deliveries show {} --config {config}", verdict.delivery));
        self.line(&format!("  {declic} runs list --config {config}"));
        self.line(&format!("  {declic} check {}", settings.with_file_name("rules.yaml").display()));
        self.line(&format!("  http://{address}/readyz, http://{address}/metrics, http://{address}/api/v1/openapi.json"));
    }
}

/// The running command as it can be typed in the current folder; whoever builds it has it on no path.
fn this_command() -> String {
    let Ok(command) = std::env::current_exe() else { return "declic".to_owned() };
    let here = std::env::current_dir().ok();
    let below = here.as_deref().and_then(|here| command.strip_prefix(here).ok());
    let typed = below.map_or_else(|| command.display().to_string(), |below| format!("./{}", below.display()));
    let plain = |character: char| character.is_alphanumeric() || "/._-+".contains(character);
    if typed.chars().all(plain) { typed } else { format!("'{}'", typed.replace('\'', "'\\''")) }
}
