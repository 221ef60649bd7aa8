//! `cloud-run/remove-tag`: takes a tag and its address off a service, as when a preview's pull request is closed.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::cloud_run::{self, Api, Ended, Target, traffic};
use crate::given;

/// The action.
pub struct CloudRunRemoveTag;

static SPEC: Spec = Spec {
    name: "cloud-run/remove-tag",
    summary: "Takes a tag with its address off a Cloud Run service; traffic stays as it is",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The service, by its name under `targets:`" },
        Field { name: "tag", shape: "string", summary: "The tag" },
    ],
    outputs: &[Field { name: "removed", shape: "bool", summary: "Was there anything to remove?" }],
    example: "target: web_preview\ntag: pr-17\n",
    deadline: Duration::from_secs(120),
    repeat: Repeat::Idempotent,
    repeat_how: "A tag that is gone stays gone",
};

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    target: Target,
    tag: String,
}

#[async_trait]
impl Action for CloudRunRemoveTag {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let target = Target::read(&call)?;
        let tag = given::params(&call).text("tag")?.to_owned();
        cloud_run::check_tag(&tag, &target.service)?;
        let summary = format!("remove the tag {tag} from {}", target.name());
        given::intent(call, &Plan { target, tag }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let api = Api::new(context, &plan.target);
        // An earlier attempt saw it, so that its absence now is this step's doing.
        let mut removed = context.saved.is_some();
        if !removed {
            let shares = traffic::read(&api.service(context.deadline).await?);
            if traffic::has_tag(&shares, &plan.tag) {
                removed = true;
                context.progress.save(json!({ "seen": true })).await?;
            }
        }
        let operation = api
            .change_traffic(context.deadline, |service| {
                let shares = traffic::read(service);
                let there = traffic::has_tag(&shares, &plan.tag);
                Ok(there.then(|| traffic::write(&traffic::without_tag(&shares, &plan.tag))))
            })
            .await?;
        if let Some(operation) = operation {
            removed = true;
            match api.wait(&operation, context.deadline).await? {
                Ended::Failed(message) => {
                    return Err(Failure::last("not-ready", format!("Cloud Run did not remove the tag: {message}")));
                }
                Ended::Late => return Err(Failure::retry("timeout", "The tag was not removed in time")),
                Ended::Succeeded | Ended::Forgotten => {}
            }
        }
        let summary = if removed { format!("removed the tag {}", plan.tag) } else { format!("there is no tag {}", plan.tag) };
        Ok(Outcome { outputs: json!({ "removed": removed }), summary, url: None })
    }
}
