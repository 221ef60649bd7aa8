//! Names of the operator's file, and what a repository was granted.

use super::Checker;
use crate::rules::registry;
use crate::rules::suggest::did_you_mean;
use crate::rules::template::Template;
use crate::rules::yaml::{Node, Scalar};

/// What a step works on.
#[derive(Clone, Copy, PartialEq)]
pub enum Partner {
    /// An entry of `targets:`
    Target,
    /// An entry of `connections:`
    Connection,
}

impl Partner {
    fn word(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Connection => "connection",
        }
    }
}

/// Is it in a list of grants, in which `github/*` is all of a service?
pub fn is_granted(granted: &[String], name: &str) -> bool {
    granted.iter().any(|granted| match granted.strip_suffix('*') {
        Some(service) => name.starts_with(service),
        None => granted == name,
    })
}

fn granted_list(granted: &[String]) -> String {
    if granted.is_empty() {
        return "granted: none. An operator can add it to `repositories:` in the server file".to_owned();
    }
    format!("granted: {}", granted.join(", "))
}

impl Checker<'_> {
    /// `target:` and `connection:` are literal, so that "which rules can touch staging?" is a search.
    pub fn partner(&mut self, node: &Node, scalar: &Scalar, partner: Partner, name: &str) -> Option<Template> {
        let word = partner.word();
        if scalar.text.contains("${{") {
            let message = format!("`{name}` cannot be computed");
            let help =
                format!("write the name of the {word}; where it depends on the event, write a step for each with an `if:`");
            self.faults.error("literal", node.span.clone(), message, Some(help));
            return None;
        }
        let known = self.granted(node, &scalar.text, partner) && self.known(node, &scalar.text, partner, name);
        known.then(|| Template::literal(scalar.text.as_str().into()))
    }

    fn granted(&mut self, node: &Node, name: &str, partner: Partner) -> bool {
        let Some(repository) = self.ground.repository else { return true };
        let granted = match partner {
            Partner::Target => &repository.grant.targets,
            Partner::Connection => &repository.grant.connections,
        };
        if is_granted(granted, name) {
            return true;
        }
        let message = format!("this repository may not use the {} `{name}`", partner.word());
        self.faults.error("not-granted", node.span.clone(), message, Some(granted_list(granted)));
        false
    }

    fn known(&mut self, node: &Node, name: &str, partner: Partner, key: &str) -> bool {
        let Some(offer) = self.ground.offer else { return true };
        let offered = match partner {
            Partner::Target => &offer.targets,
            Partner::Connection => &offer.connections,
        };
        if offered.contains_key(name) {
            return true;
        }
        let message = format!("`{key}`: the server file has no {} `{name}`", partner.word());
        let help = did_you_mean(name, offered.keys().map(String::as_str)).or_else(|| known_list(offered.keys()));
        self.faults.error("name", node.span.clone(), message, help);
        false
    }

    /// A Slack action on a BigQuery connection is a mistake that only the names can show.
    pub fn partner_fits(&mut self, uses: &str, with: &Node) -> bool {
        let Some(offer) = self.ground.offer else { return true };
        let Some(wanted) = registry::kind_of_partner(uses) else { return true };
        let mut fits = true;
        for (key, offered) in [("target", &offer.targets), ("connection", &offer.connections)] {
            let Some(entry) = with.get(key) else { continue };
            let name = entry.value.scalar().map_or("", |scalar| scalar.text.as_str());
            let kind = offered.get(name).and_then(|settings| settings.get("type")).and_then(serde_json::Value::as_str);
            if let Some(kind) = kind.filter(|kind| *kind != wanted) {
                let message = format!("`{uses}` needs a {key} of type `{wanted}`, `{name}` is one of type `{kind}`");
                self.faults.error("name", entry.value.span.clone(), message, None);
                fits = false;
            }
        }
        fits
    }

    /// May this repository's rules use that action?
    pub fn action_granted(&mut self, node: &Node, uses: &str) {
        let Some(repository) = self.ground.repository else { return };
        if uses == "exec/run" {
            let message = "`exec/run` is for the operator's own rules; no grant gives it to a repository";
            self.faults.error("not-granted", node.span.clone(), message, None);
        } else if !is_granted(&repository.grant.actions, uses) {
            let message = format!("this repository may not use the action `{uses}`");
            let help = granted_list(&repository.grant.actions);
            self.faults.error("not-granted", node.span.clone(), message, Some(help));
        }
    }

    /// May this repository's rules use that event?
    pub fn event_granted(&mut self, span: std::ops::Range<usize>, event: &str) {
        let Some(repository) = self.ground.repository else { return };
        if !is_granted(&repository.grant.events, event) {
            let message = format!("rules of this repository may not use the event `{event}`");
            self.faults.error("not-granted", span, message, Some(granted_list(&repository.grant.events)));
        }
    }

    /// `source:` names an entry point of the operator that can bring the event.
    pub fn source(&mut self, node: &Node, event: &'static registry::EventSpec) -> Option<String> {
        let name = self.plain_text(node, "source")?;
        if let Some(repository) = self.ground.repository
            && !is_granted(&repository.grant.sources, &name)
        {
            let message = format!("this repository may not use the source `{name}`");
            self.faults.error("not-granted", node.span.clone(), message, Some(granted_list(&repository.grant.sources)));
            return None;
        }
        let Some(offer) = self.ground.offer else { return Some(name) };
        let Some(settings) = offer.sources.get(&name) else {
            let help = did_you_mean(&name, offer.sources.keys().map(String::as_str)).or_else(|| known_list(offer.sources.keys()));
            self.faults.error("name", node.span.clone(), format!("`source`: the server file has no source `{name}`"), help);
            return None;
        };
        let field = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
        if let Some(kind) = field("type")
            && !registry::can_come_from(event, kind, field("format"))
        {
            let message = format!("the source `{name}` is of type `{kind}` and never brings `{}`", event.name);
            let fitting: Vec<&str> = offer
                .sources
                .iter()
                .filter(|(_, settings)| {
                    let field = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
                    field("type").is_some_and(|kind| registry::can_come_from(event, kind, field("format")))
                })
                .map(|(name, _)| name.as_str())
                .collect();
            let help = (!fitting.is_empty()).then(|| format!("it comes from: {}", fitting.join(", ")));
            self.faults.error("name", node.span.clone(), message, help);
            return None;
        }
        Some(name)
    }
}

fn known_list<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let names: Vec<&str> = names.map(String::as_str).take(12).collect();
    (!names.is_empty()).then(|| format!("there is: {}", names.join(", ")))
}
