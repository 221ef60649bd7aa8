//! `/rules`: what is in force.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::problem::Failure;
use super::shapes::Run;
use super::state::State;
use crate::access::Viewer;
use crate::journal::record::Listing;
use crate::rules::check::{Ground, check};
use crate::rules::model::{self, Mode, RuleFile, RuleSet};
use crate::rules::testing;

/// Runs that are shown with a rule.
const LAST: usize = 20;
/// A rule in force.
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The repository whose rule it is; none for an operator's rule.
    pub owner: Option<String>,
    /// `file:line` of it.
    pub place: String,
    /// For people.
    pub description: Option<String>,
    /// Is it looked at?
    pub enabled: bool,
    /// Events that start it.
    pub events: Vec<String>,
    /// Its actions, in the order of its steps.
    pub uses: Vec<String>,
    /// Does it reply to the sender?
    pub replies: bool,
    /// What happens to its runs of the same concurrency group.
    pub concurrency: Option<String>,
}

impl From<&model::Rule> for Rule {
    fn from(rule: &model::Rule) -> Self {
        Self {
            name: rule.name.clone(),
            owner: rule.owner.clone(),
            place: rule.place.clone(),
            description: rule.description.clone(),
            enabled: rule.enabled,
            events: rule.triggers.iter().map(|trigger| trigger.event.to_owned()).collect(),
            uses: rule.steps.iter().map(|step| step.uses.clone()).collect(),
            replies: rule.reply.is_some(),
            concurrency: rule.concurrency.as_ref().map(|concurrency| mode(concurrency.mode).to_owned()),
        }
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::QueueLatest => "queue-latest",
        Mode::QueueAll => "queue-all",
        Mode::Supersede => "supersede",
        Mode::Skip => "skip",
        Mode::Parallel => "parallel",
    }
}

/// The rules in force.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct Rules {
    /// Hash of the files they come from.
    revision: String,
    /// What is wrong with the files as they are now, if the last good rules are in force instead.
    fault: Option<String>,
    /// In the order of files and lines.
    items: Vec<Rule>,
}

/// A rule with its file and its last runs.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct RuleDetail {
    /// The rule.
    rule: Rule,
    /// The file it stands in.
    file: Option<File>,
    /// Its last runs, newest first.
    runs: Vec<Run>,
}

/// A rule file.
#[derive(Debug, Clone, Object)]
#[oai(deny_unknown_fields)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// The operations.
pub(super) struct RulesApi(pub Arc<State>);

#[OpenApi]
impl RulesApi {
    /// List the rules in force
    #[oai(path = "/rules", method = "get", operation_id = "listRules")]
    async fn list(&self, viewer: Data<&Viewer>) -> Result<Json<Rules>, Failure> {
        let (set, items) = self.0.rules(&viewer).await;
        Ok(Json(Rules { revision: set.revision.clone(), fault: self.0.parts.rules.fault(), items }))
    }

    /// Show a rule with its file and its last runs
    #[oai(path = "/rules/:name", method = "get", operation_id = "getRule")]
    async fn show(
        &self,
        viewer: Data<&Viewer>,
        /// Name of the rule.
        name: Path<String>,
    ) -> Result<Json<RuleDetail>, Failure> {
        let (rule, file) = self.0.rule(&viewer, &name).await?;
        let listing = Listing { limit: LAST + 1, rule: Some(name.0), ..Listing::default() };
        let (runs, _) = self.0.runs(&viewer, listing).await?;
        Ok(Json(RuleDetail { rule, file, runs: runs.into_iter().map(Run::from).collect() }))
    }
}

impl State {
    /// The rules in force that may be seen: the operator's, and those of repositories that may be.
    pub(crate) async fn rules(&self, viewer: &Viewer) -> (Arc<RuleSet>, Vec<Rule>) {
        let set = Arc::clone(self.parts.rules.current().load().rules());
        let mut items = Vec::new();
        for rule in &set.rules {
            if rule.owner.is_none() || self.sees(viewer, rule.owner.as_deref()).await {
                items.push(Rule::from(rule.as_ref()));
            }
        }
        (set, items)
    }

    /// A rule in force, with the file it stands in.
    pub(crate) async fn rule(&self, viewer: &Viewer, name: &str) -> Result<(Rule, Option<File>), Failure> {
        let (set, items) = self.rules(viewer).await;
        let rule = items.into_iter().find(|rule| rule.name == name).ok_or_else(|| Failure::not_found("rule"))?;
        let path = rule.place.rsplit_once(':').map_or(rule.place.as_str(), |(path, _)| path);
        let files = self.journal().rules(&set.revision).await?.unwrap_or_default();
        let file = files.into_iter().find(|file| file.path == path);
        Ok((rule, file.map(|file| File { path: file.path, text: file.text })))
    }

    /// The tests of a file, with what differs from what they expect.
    pub(crate) fn rule_tests(&self, file: Option<&File>) -> Vec<(String, Vec<String>)> {
        let Some(file) = file else { return Vec::new() };
        let offer = Some(&self.parts.settings.offer);
        let checked = check(&file.path, &file.text, &Ground { offer, repository: None });
        let rules = Arc::new(RuleSet { rules: checked.rules.into_iter().map(Arc::new).collect(), revision: String::new() });
        checked.cases.iter().map(|case| (case.name.clone(), testing::run(case, &rules, offer).differences)).collect()
    }

    /// The files of the rules in force.
    pub(crate) async fn files(&self) -> Result<Vec<RuleFile>, Failure> {
        let revision = self.parts.rules.current().load().rules().revision.clone();
        Ok(self.journal().rules(&revision).await?.unwrap_or_default())
    }
}
