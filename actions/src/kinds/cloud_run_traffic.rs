//! `cloud-run/traffic`: a share of the traffic for a revision.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::cloud_run::{self, Aim, Api, Shift, Target, traffic};
use crate::given::{self, all, invalid, refuse_if};

/// The action.
pub struct CloudRunTraffic;

static SPEC: Spec = Spec {
    name: "cloud-run/traffic",
    summary: "Sends a share of the traffic to a revision; the others share the rest as they did before",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The service, by its name under `targets:`" },
        Field { name: "revision", shape: "string", summary: "Name of the revision" },
        Field { name: "percent", shape: "int", summary: "Percent of the traffic, 0 to 100" },
    ],
    outputs: &[Field { name: "url", shape: "string", summary: "Address of the service" }],
    example: "target: web_staging\nrevision: web-00042\npercent: 10\n",
    deadline: Duration::from_secs(300),
    repeat: Repeat::Idempotent,
    repeat_how: "The same allocation is written again, unless somebody else moved the traffic since",
};

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    target: Target,
    revision: String,
    percent: i64,
}

#[async_trait]
impl Action for CloudRunTraffic {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let target = Target::read(&call)?;
        let percent = given.int_within("percent", 0, 100);
        let (_, revision, percent) = all((
            refuse_if(target.tags_only, || invalid("the target is for previews (`tags-only`): its traffic is not moved")),
            given.text("revision").and_then(cloud_run::revision_name),
            percent.and_then(|percent| percent.ok_or_else(|| invalid("`with.percent` is missing"))),
        ))?;
        let summary = format!("send {percent} % of {} to {revision}", target.name());
        given::intent(call, &Plan { target, revision, percent }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let api = Api::new(context, &plan.target);
        let shift = Shift { context, api: &api };
        let aim = match shift.saved()? {
            Some(aim) => aim,
            None => {
                let before = traffic::pinned(&api.service(context.deadline).await?);
                let from = traffic::main_revision(&before).unwrap_or_default();
                Aim { revision: plan.revision, percent: plan.percent, from, before }
            }
        };
        let url = shift.to(&aim).await?;
        let summary = format!("{} has {} % of {}", aim.revision, aim.percent, plan.target.service);
        Ok(Outcome { outputs: json!({ "url": url }), summary, url: Some(url) })
    }
}
