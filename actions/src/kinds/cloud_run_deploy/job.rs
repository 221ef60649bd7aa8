//! A deploy to a job: the next execution runs the new image. There is no traffic to move, and no revision to go back to, so what is
//! put back is what was changed.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::action::{Context, Failure, Outcome, Why};
use crate::cloud_run::{Api, Ended, cause, env, pause, text};
use crate::kinds::cloud_run_deploy::plan::{Plan, short_hash};
use crate::kinds::cloud_run_deploy::{build, create, image};

/// Label that names the call that wrote the job last.
const CALL: &str = "declic-call";
/// What only the API writes, and what would start an execution.
const NOT_OURS: &[&str] = &[
    "uid",
    "generation",
    "createTime",
    "updateTime",
    "deleteTime",
    "expireTime",
    "creator",
    "lastModifier",
    "observedGeneration",
    "terminalCondition",
    "conditions",
    "executionCount",
    "latestCreatedExecution",
    "reconciling",
    "satisfiesPzs",
    "runExecutionToken",
    "startExecutionToken",
];

/// What a later attempt must know.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    digest: Option<String>,
    /// The build, once it may have been started.
    build: Option<build::Begun>,
    /// The container's image and the entries of its variables that are changed, saved before they are.
    before: Option<Before>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before {
    image: Value,
    env: Map<String, Value>,
}

/// One attempt.
pub(super) struct Deploy<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    api: Api<'a>,
    state: State,
    mark: String,
}

impl<'a> Deploy<'a> {
    pub(super) fn resume(context: &'a Context<'a>, plan: &'a Plan) -> Result<Self, Failure> {
        let state = match &context.saved {
            None => State::default(),
            Some(saved) => serde_json::from_value(saved.clone())
                .map_err(|error| Failure::last("invalid", format!("What an earlier attempt saved cannot be read: {error}")))?,
        };
        Ok(Self { context, plan, api: Api::new(context, &plan.target), state, mark: short_hash(&plan.revision) })
    }

    pub(super) async fn run(mut self) -> Result<Outcome, Failure> {
        let digest = match self.state.digest.clone() {
            Some(digest) => digest,
            None => {
                let digest = self.resolve().await?;
                self.state.digest = Some(digest.clone());
                self.save().await?;
                self.context.progress.stage("image resolved", &format!("{} is {digest}", self.plan.image.reference()));
                digest
            }
        };
        self.write(&digest).await?;
        match self.settled().await {
            Ok(job) => Ok(self.outcome(&job, &digest)),
            Err(Failure::Final { why }) if self.plan.rollback => Err(self.put_back(why).await),
            Err(failure) => Err(failure),
        }
    }

    async fn resolve(&mut self) -> Result<String, Failure> {
        let (context, plan) = (self.context, self.plan);
        let Some(build) = &plan.build else { return image::resolve(context, plan, context.deadline).await };
        let cloud_build = build::CloudBuild::new(context, plan, build, context.deadline);
        cloud_build.digest(&mut self.state, |state| &mut state.build).await
    }

    async fn save(&self) -> Result<(), Failure> {
        super::save(self.context, &self.state).await
    }

    /// Writes the job under its etag, unless an earlier attempt did.
    async fn write(&mut self, digest: &str) -> Result<(), Failure> {
        let until = self.context.deadline;
        let mut conflicts = 0;
        loop {
            let mut job = self.api.job(until).await?;
            if job.pointer("/labels/declic-call").and_then(Value::as_str) == Some(&self.mark) {
                return Ok(());
            }
            let before = self.change(&mut job, &self.plan.image.at(digest)).map_err(|why| Failure::Final { why })?;
            self.state.before = Some(before);
            self.save().await?;
            match self.api.write_job(&job, until).await {
                Ok(operation) => {
                    self.context.progress.stage("job changed", &self.plan.target.service);
                    if let Ended::Failed(message) = self.api.wait(&operation, until).await? {
                        self.context.progress.stage("job not ready", &message);
                    }
                    return Ok(());
                }
                Err(error) => self.api.after_conflict(error, &mut conflicts).await?,
            }
        }
    }

    /// The job's own JSON with as little changed as can be; gives what was there.
    fn change(&self, job: &mut Value, image: &str) -> Result<Before, Why> {
        let fault = || Why::new("bad-answer", "Cloud Run shows the job without a template");
        let labels = create::labelled(job.get("labels"), self.plan);
        let Some(fields) = job.as_object_mut() else { return Err(fault()) };
        fields.retain(|name, _| !NOT_OURS.contains(&name.as_str()));
        fields.insert("labels".into(), labels);
        create::identify(fields);
        if let Some(labels) = fields.get_mut("labels").and_then(Value::as_object_mut) {
            labels.insert(CALL.into(), self.mark.clone().into());
        }
        let container = self.container(job)?;
        let old = |name: &String| {
            let list = container.get("env").and_then(Value::as_array).into_iter().flatten();
            list.into_iter().find(|entry| text(entry, "name") == name).cloned().unwrap_or(Value::Null)
        };
        let before = Before {
            image: container.get("image").cloned().unwrap_or_default(),
            env: self.plan.env.keys().map(|name| (name.clone(), old(name))).collect(),
        };
        container.insert("image".into(), image.into());
        env::apply(container, &self.plan.env);
        Ok(before)
    }

    fn container<'j>(&self, job: &'j mut Value) -> Result<&'j mut Map<String, Value>, Why> {
        let containers = job.pointer_mut("/template/template/containers").and_then(Value::as_array_mut);
        create::select(containers, self.plan.container.as_deref())
    }

    /// The job once the API is content with it.
    async fn settled(&self) -> Result<Value, Failure> {
        let mut looks = 0;
        loop {
            let job = self.api.job(self.context.deadline).await?;
            let condition = job.get("terminalCondition").unwrap_or(&Value::Null);
            let moving = job.get("reconciling").and_then(Value::as_bool).unwrap_or(false);
            match text(condition, "state") {
                "CONDITION_SUCCEEDED" if !moving => return Ok(job),
                "CONDITION_FAILED" if !moving => return Err(Failure::Final { why: cause(condition) }),
                _ => {}
            }
            looks += 1;
            if self.context.deadline.saturating_duration_since(Instant::now()) < pause(looks) {
                return Err(Failure::retry("timeout", "The job was not ready in time; another attempt goes on from here"));
            }
            sleep(pause(looks)).await;
        }
    }

    /// Puts image and variables back, unless somebody else has written the job since.
    async fn put_back(&self, mut why: Why) -> Failure {
        match self.restore().await {
            Ok(true) => {
                why.rolled_back = true;
                self.context.progress.stage("rolled back", "the job has the image it had before");
            }
            Ok(false) => {}
            Err(failure) => {
                why.message = format!("{}. Putting the image back failed as well: {}", why.message, failure.why().message)
            }
        }
        Failure::Final { why }
    }

    async fn restore(&self) -> Result<bool, Failure> {
        let until = self.context.deadline;
        let mut conflicts = 0;
        loop {
            let mut job = self.api.job(until).await?;
            let ours = job.pointer("/labels/declic-call").and_then(Value::as_str) == Some(&self.mark);
            let Some(before) = self.state.before.as_ref().filter(|_| ours) else { return Ok(false) };
            if let Some(fields) = job.as_object_mut() {
                fields.retain(|name, _| !NOT_OURS.contains(&name.as_str()));
            }
            if let Some(labels) = job.get_mut("labels").and_then(Value::as_object_mut) {
                labels.shift_remove(CALL);
            }
            let container = self.container(&mut job).map_err(|why| Failure::Final { why })?;
            container.insert("image".into(), before.image.clone());
            if let Some(list) = container.get_mut("env").and_then(Value::as_array_mut) {
                list.retain(|entry| before.env.get(text(entry, "name")).is_none_or(|old| !old.is_null()));
                for entry in list {
                    if let Some(old) = before.env.get(text(entry, "name")) {
                        *entry = old.clone();
                    }
                }
            }
            match self.api.write_job(&job, until).await {
                Ok(operation) => return self.api.wait(&operation, until).await.map(|_| true),
                Err(error) => self.api.after_conflict(error, &mut conflicts).await?,
            }
        }
    }

    fn outcome(&self, job: &Value, digest: &str) -> Outcome {
        let target = &self.plan.target;
        let url = format!(
            "https://console.cloud.google.com/run/jobs/details/{}/{}?project={}",
            target.region, target.service, target.project
        );
        let outputs = json!({
            "url": url,
            "revision": format!("{}@{}", target.service, text(job, "generation")),
            "previous_revision": null,
            "digest": digest,
            "removed_tag": null,
            "rolled_back": false,
        });
        Outcome { outputs, summary: format!("{} runs {digest} from now on", target.service), url: Some(url) }
    }
}
