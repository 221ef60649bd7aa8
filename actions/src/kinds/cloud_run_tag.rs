//! `cloud-run/tag`: gives a revision that exists an address of its own.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec};
use crate::cloud_run::{self, Api, Ended, Target, traffic};
use crate::given::{self, all};

/// The action.
pub struct CloudRunTag;

static SPEC: Spec = Spec {
    name: "cloud-run/tag",
    summary: "Gives a revision a tag with an address of its own; traffic stays as it is",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The service, by its name under `targets:`" },
        Field { name: "revision", shape: "string", summary: "Name of the revision" },
        Field { name: "tag", shape: "string", summary: "The tag; it is taken from the revision that has it" },
    ],
    outputs: &[
        Field { name: "url", shape: "string", summary: "Address of the tag" },
        Field { name: "removed_tag", shape: "string?", summary: "The preview's tag that had to make room" },
    ],
    example: "target: web_staging\nrevision: web-00042\ntag: candidate\n",
    deadline: Duration::from_secs(120),
    repeat: Repeat::Idempotent,
    repeat_how: "The same tag is written again",
};

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    target: Target,
    revision: String,
    tag: String,
}

#[async_trait]
impl Action for CloudRunTag {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let target = Target::read(&call)?;
        let tag = given.text("tag").and_then(|tag| cloud_run::check_tag(tag, &target.service).map(|()| tag.to_owned()));
        let (revision, tag) = all((given.text("revision").and_then(cloud_run::revision_name), tag))?;
        let summary = format!("tag {revision} of {} as {tag}", target.name());
        given::intent(call, &Plan { target, revision, tag }, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let Plan { target, revision, tag } = given::plan(intent)?;
        let api = Api::new(context, &target);
        if api.revision(&revision, context.deadline).await?.is_none() {
            return Err(Failure::last("not-found", format!("The service has no revision `{revision}`")));
        }
        let shares = traffic::read(&api.service(context.deadline).await?);
        let removed = match traffic::has_candidate(&shares, &revision, &tag) {
            true => None,
            false => cloud_run::make_room(&api, &target, &shares, &tag, context.deadline).await?,
        };
        let operation = api
            .change_traffic(context.deadline, |service| {
                let mut shares = traffic::read(service);
                if traffic::has_candidate(&shares, &revision, &tag) {
                    return Ok(None);
                }
                if let Some(removed) = &removed {
                    shares = traffic::without_tag(&shares, removed);
                }
                if target.is_full(&shares, &tag) {
                    return Err(target.full(&shares, &tag));
                }
                Ok(Some(traffic::write(&traffic::with_candidate(&shares, &revision, &tag))))
            })
            .await?;
        if let Some(operation) = operation
            && let Ended::Failed(message) = api.wait(&operation, context.deadline).await?
        {
            return Err(Failure::last("not-ready", format!("Cloud Run did not set the tag: {message}")));
        }
        let address = |service: &serde_json::Value| traffic::tag_address(service, &revision, &tag).map(str::to_owned);
        let found = api.until(context.deadline, address).await?;
        let url = found.ok_or_else(|| Failure::retry("timeout", "The tag got no address in time"))?;
        if let Some(removed) = &removed {
            context.progress.stage("tag removed", &format!("{removed} made room for {tag}"));
        }
        let outputs = json!({ "url": url, "removed_tag": removed });
        Ok(Outcome { outputs, summary: format!("{revision} is at {url}"), url: Some(url) })
    }
}
