//! `cloud-run/rollback`: all traffic back to a revision that served before.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{self, Aim, Api, PREVIEW, PURPOSE, Readiness, Shift, Target, readiness, short, text};
use crate::given::{self, all, invalid, refuse_if};

/// The action.
pub struct CloudRunRollback;

static SPEC: Spec = Spec {
    name: "cloud-run/rollback",
    summary: "Sends all traffic back to an earlier revision",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The service, by its name under `targets:`" },
        Field {
            name: "to",
            shape: "string?",
            summary: "Revision to go back to; if left out, the one before the newest that serves, previews not counted",
        },
    ],
    outputs: &[
        Field { name: "revision", shape: "string", summary: "Name of the revision that serves now" },
        Field { name: "from_revision", shape: "string", summary: "Name of the revision that served before" },
        Field { name: "url", shape: "string", summary: "Address of the service" },
    ],
    example: "target: web_staging\n",
    deadline: Duration::from_secs(300),
    repeat: Repeat::Idempotent,
    repeat_how: "The revision to go back to is kept before the traffic moves, so a later attempt does not go back further",
};

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    target: Target,
    to: Option<String>,
}

#[async_trait]
impl Action for CloudRunRollback {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let target = Target::read(&call)?;
        let (_, to) = all((
            refuse_if(target.tags_only, || invalid("the target is for previews (`tags-only`): its traffic is not moved")),
            given::params(&call).optional_text("to").and_then(|to| to.map(cloud_run::revision_name).transpose()),
        ))?;
        let summary = format!("roll {} back to {}", target.name(), to.as_deref().unwrap_or("the revision before"));
        given::intent(call, &Plan { target, to }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let api = Api::new(context, &plan.target);
        let shift = Shift { context, api: &api };
        let aim = match shift.saved()? {
            Some(aim) => aim,
            None => aim(context, &api, plan.to).await?,
        };
        let url = shift.to(&aim).await?;
        let summary = format!("{} serves {} again", aim.revision, plan.target.service);
        let outputs = json!({ "revision": aim.revision, "from_revision": aim.from, "url": url });
        Ok(Outcome { outputs, summary, url: Some(url) })
    }
}

async fn aim(context: &Context<'_>, api: &Api<'_>, to: Option<String>) -> Result<Aim, Failure> {
    let service = api.service(context.deadline).await?;
    let before = traffic::pinned(&service);
    let revisions = api.newest_revisions(context.deadline).await?;
    let serving = revisions.iter().position(|revision| traffic::percent_of(&before, name(revision)) > 0);
    let from = serving.and_then(|index| revisions.get(index)).map(|revision| name(revision).to_owned());
    let from = from.or_else(|| traffic::main_revision(&before)).unwrap_or_default();
    let older = revisions.iter().skip(serving.map_or(usize::MAX, |index| index + 1));
    let revision = match to {
        Some(revision) => revision,
        None => one_before(older, &before).map(str::to_owned).ok_or_else(|| {
            let message = format!("There is no revision before `{from}` to go back to; name one with `to`");
            Failure::last("not-found", message)
        })?,
    };
    Ok(Aim { revision, percent: 100, from, before })
}

/// Of the older ones the newest that can serve and was meant to: a preview is somebody's unmerged work.
fn one_before<'a>(older: impl Iterator<Item = &'a Value>, before: &[Share]) -> Option<&'a str> {
    let fits = |revision: &&Value| {
        let name = name(revision);
        let tagged = before.iter().any(|share| share.is(name) && share.tag.is_some());
        let preview = match revision.get("labels").and_then(|labels| labels.get(PURPOSE)).and_then(Value::as_str) {
            Some(purpose) => purpose == PREVIEW,
            // Made by somebody else: without traffic and with a tag it looks like one.
            None => tagged && traffic::percent_of(before, name) == 0,
        };
        !preview && readiness(revision) == Readiness::Ready
    };
    let mut older = older;
    older.find(fits).map(name)
}

fn name(revision: &Value) -> &str {
    short(text(revision, "name"))
}
