//! `cloud-run/run-job`: runs a job and waits for what comes of it.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, STOPPED, Spec, Why};
use crate::cloud_run::{Api, Target, env, pause, short, text};
use crate::given::{self, all, every, invalid, refuse_if};
use crate::http::{HttpError, shown};

/// Cloud Run's own limits.
const MOST_TASKS: i64 = 10_000;
const LONGEST_TASK: Duration = Duration::from_secs(7 * 24 * 3600);
/// Variable by which an execution is found again.
const CALL: &str = "DECLIC_CALL";
/// While only looking, so many failed looks in a row are borne.
const FAILED_LOOKS: u32 = 8;
/// Tasks that are looked through for the one that failed.
const TASKS: usize = 100;

/// The action.
pub struct CloudRunRunJob;

static SPEC: Spec = Spec {
    name: "cloud-run/run-job",
    summary: "Runs a Cloud Run job, waits until it is done, and fails if a task of it does",
    class: Class::Deploy,
    parameters: &[
        Field { name: "target", shape: "target", summary: "The job, by its name under `targets:`" },
        Field { name: "args", shape: "[string]?", summary: "Arguments in place of the job's own, where the target allows it" },
        Field {
            name: "env",
            shape: "{ \"*\": { secret: string, version: string? }|string }?",
            summary: "Variables for this run, of those that the target allows",
        },
        Field { name: "container", shape: "string?", summary: "The container they are for, where the job has several" },
        Field { name: "tasks", shape: "int?", summary: "How many tasks, where the target allows it" },
        Field { name: "task-timeout", shape: "duration?", summary: "How long each task may take, where the target allows it" },
        Field { name: "wait", shape: "bool?", summary: "Wait until it is done: true if left out" },
    ],
    outputs: &[
        Field { name: "execution", shape: "string", summary: "Name of the execution" },
        Field { name: "succeeded", shape: "int", summary: "Tasks that succeeded so far" },
        Field { name: "failed", shape: "int", summary: "Tasks that failed so far" },
        Field { name: "log_url", shape: "string", summary: "Where its log can be read" },
    ],
    example: "target: db_migrate\nargs: [--to, \"42\"]\n",
    deadline: Duration::from_secs(900),
    repeat: Repeat::Found,
    repeat_how: "Every execution carries the call's key in the variable `DECLIC_CALL`, by which it is found again",
};

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    target: Target,
    key: String,
    args: Option<Vec<String>>,
    env: env::Settings,
    container: Option<String>,
    tasks: Option<i64>,
    task_timeout: Option<Duration>,
    wait: bool,
}

/// Saved before the job is run, and again once the execution's name is known.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    execution: Option<String>,
}

#[async_trait]
impl Action for CloudRunRunJob {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let target = Target::read_job(&call)?;
        let overrides = [("args", "args"), ("tasks", "tasks"), ("task-timeout", "timeout")].map(|(field, word)| {
            let refused = given.value(field).is_some() && !target.overrides.iter().any(|allowed| allowed == word);
            let message = || format!("the target does not allow `{field}`; add `{word}` to its `overrides`");
            refuse_if(refused, || Why::new("not-allowed", message()))
        });
        let (_, args, env, container, tasks, task_timeout, wait) = all((
            every::<(), _, ()>(overrides),
            given.optional_texts("args"),
            env::read(&given, &target),
            given.optional_text("container"),
            given.int_within("tasks", 1, MOST_TASKS),
            task_timeout(&given),
            given.optional_flag("wait"),
        ))?;
        let plan = Plan {
            key: call.key.clone(),
            args: args.map(|args| args.into_iter().map(str::to_owned).collect()),
            env,
            container: container.or(target.container.as_deref()).map(str::to_owned),
            tasks,
            task_timeout,
            wait: wait.unwrap_or(true),
            target,
        };
        let summary = format!("run {}", plan.target.name());
        given::intent(call, &plan, summary)
    }

    /// Two runs of a job do not get in each other's way as two deploys do, but an older one must not follow a newer one.
    fn exclusive(&self, call: &Call) -> Option<String> {
        Some(call.params.get("target").and_then(Value::as_str)?.to_owned())
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let api = Api::new(context, &plan.target);
        let execution = match begun(context)? {
            Some(State { execution: Some(execution) }) => execution,
            begun => {
                let earlier = if begun.is_some() { search(&api, &plan, context.deadline).await? } else { None };
                let execution = match earlier {
                    Some(execution) => execution,
                    None => {
                        save(context, None).await?;
                        start(&api, &plan, context.deadline).await?
                    }
                };
                save(context, Some(&execution)).await?;
                context.progress.stage("execution started", &execution);
                execution
            }
        };
        watch(context, &api, &plan, &execution).await
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let api = Api::new(context, &plan.target);
        let execution = match begun(context)? {
            // Nothing was asked for yet.
            None => return Ok(None),
            Some(State { execution: Some(execution) }) => Some(execution),
            Some(State { execution: None }) => search(&api, &plan, context.deadline).await?,
        };
        let Some(execution) = execution else { return Ok(None) };
        let Some(shown) = api.below(&format!("/executions/{execution}"), context.deadline).await? else { return Ok(None) };
        // One that is not done yet is waited for by `run`.
        let over =
            !text(&shown, "completionTime").is_empty() && count(&shown, "failedCount") + count(&shown, "cancelledCount") == 0;
        Ok((over || !plan.wait).then(|| outcome(&execution, &shown)))
    }
}

fn begun(context: &Context<'_>) -> Result<Option<State>, Failure> {
    let read = |saved: &Value| serde_json::from_value(saved.clone());
    let unread =
        |error: serde_json::Error| Failure::last("invalid", format!("What an earlier attempt saved cannot be read: {error}"));
    context.saved.as_ref().map(read).transpose().map_err(unread)
}

async fn save(context: &Context<'_>, execution: Option<&str>) -> Result<(), Failure> {
    context.progress.save(json!({ "execution": execution })).await
}

/// The execution that carries this call's key.
async fn search(api: &Api<'_>, plan: &Plan, until: Instant) -> Result<Option<String>, Failure> {
    let list = api.below("/executions?pageSize=100", until).await?.unwrap_or_default();
    let executions = list.get("executions").and_then(Value::as_array).into_iter().flatten();
    let ours = |execution: &&Value| {
        let containers = execution.pointer("/template/containers").and_then(Value::as_array).into_iter().flatten();
        let mut entries = containers.filter_map(|container| container.get("env")?.as_array()).flatten();
        entries.any(|entry| text(entry, "name") == CALL && text(entry, "value") == plan.key)
    };
    Ok(executions.into_iter().find(ours).map(|execution| short(text(execution, "name")).to_owned()))
}

/// Runs the job; gives the execution's short name.
async fn start(api: &Api<'_>, plan: &Plan, until: Instant) -> Result<String, Failure> {
    let job = api.job(until).await?;
    let body = json!({ "etag": text(&job, "etag"), "overrides": overrides(&job, plan).map_err(|why| Failure::Final { why })? });
    let operation = api.act(":run", &body, until).await?;
    let execution = operation.pointer("/metadata/name").and_then(Value::as_str).map(short).filter(|name| !name.is_empty());
    execution.map(str::to_owned).ok_or_else(|| HttpError::BadAnswer("names no execution".into()).into_failure("Cloud Run"))
}

fn overrides(job: &Value, plan: &Plan) -> Result<Value, Why> {
    let containers =
        job.pointer("/template/template/containers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = containers.iter().map(|container| text(container, "name")).collect();
    let name = match (plan.container.as_deref(), names.as_slice()) {
        (Some(name), names) if names.contains(&name) => name,
        (Some(name), _) => return Err(invalid(format!("the job has no container `{}`", shown(name)))),
        (None, [only]) => *only,
        (None, _) => return Err(invalid("the job has several containers; name one with `container`")),
    };
    let mut entries: Vec<Value> = plan.env.iter().map(|(name, setting)| env::entry(name, setting)).collect();
    entries.push(json!({ "name": CALL, "value": plan.key }));
    let mut container = Map::from_iter([("env".to_owned(), Value::from(entries))]);
    if !name.is_empty() {
        container.insert("name".into(), name.into());
    }
    match plan.args.as_deref() {
        // No arguments at all is something else than no word about them.
        Some([]) => drop(container.insert("clearArgs".into(), true.into())),
        Some(args) => drop(container.insert("args".into(), args.into())),
        None => {}
    }
    let mut overrides = json!({ "containerOverrides": [container] });
    if let Some(tasks) = plan.tasks {
        overrides["taskCount"] = tasks.into();
    }
    if let Some(timeout) = plan.task_timeout {
        overrides["timeout"] = format!("{}s", timeout.as_secs_f64()).into();
    }
    Ok(overrides)
}

/// Until it is done, or the run is not wanted any more.
async fn watch(context: &Context<'_>, api: &Api<'_>, plan: &Plan, execution: &str) -> Result<Outcome, Failure> {
    let path = format!("/executions/{execution}");
    let (mut looks, mut failed, mut told) = (0, 0, String::new());
    loop {
        match api.below(&path, context.deadline).await {
            Ok(None) => {
                return Err(Failure::last("not-found", format!("The execution `{execution}` is gone; somebody deleted it")));
            }
            Ok(Some(shown)) => {
                failed = 0;
                if !plan.wait {
                    return Ok(outcome(execution, &shown));
                }
                if !text(&shown, "completionTime").is_empty() {
                    return ended(context, api, execution, &shown).await;
                }
                let line = format!("{} running, {} done", count(&shown, "runningCount"), count(&shown, "succeededCount"));
                if line != told {
                    context.progress.stage("running", &line);
                    told = line;
                }
            }
            Err(failure @ Failure::Final { .. }) => return Err(failure),
            Err(failure) if failed >= FAILED_LOOKS || Instant::now() >= context.deadline => return Err(failure),
            Err(_) => failed += 1,
        }
        looks += 1;
        if context.deadline.saturating_duration_since(Instant::now()) < pause(looks) {
            return Err(Failure::retry(
                "timeout",
                format!("The execution `{execution}` is not done in time; another attempt waits on"),
            ));
        }
        tokio::select! {
            biased;
            () = context.stop.asked() => {
                api.cancel(execution, context.deadline).await?;
                return Err(Failure::last(STOPPED, format!("The execution `{execution}` was cancelled: its run is no longer wanted")));
            }
            () = sleep(pause(looks)) => {}
        }
    }
}

/// What came of it, with the task that failed.
async fn ended(context: &Context<'_>, api: &Api<'_>, execution: &str, shown: &Value) -> Result<Outcome, Failure> {
    if count(shown, "failedCount") + count(shown, "cancelledCount") == 0 {
        return Ok(outcome(execution, shown));
    }
    let log = text(shown, "logUri");
    if count(shown, "failedCount") == 0 {
        return Err(Failure::last("cancelled", format!("The execution `{execution}` was cancelled; its log is at {log}")));
    }
    let path = format!("/executions/{execution}/tasks?pageSize={TASKS}");
    // Which task it was is worth a look, but not another failure.
    let tasks = api.below(&path, context.deadline).await.ok().flatten().unwrap_or_default();
    let all = tasks.get("tasks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let of = count(shown, "taskCount");
    let message = match all.iter().find_map(|task| Some((task, fault(task)?))) {
        Some((task, fault)) => {
            let log = Some(text(task, "logUri")).filter(|own| !own.is_empty()).unwrap_or(log);
            format!("Task {} of {of} of `{execution}` {fault}; its log is at {log}", count(task, "index") + 1)
        }
        None => format!("{} of {of} tasks of `{execution}` failed; its log is at {log}", count(shown, "failedCount")),
    };
    Err(Failure::last("job-failed", message))
}

/// Why a task failed, if it did.
fn fault(task: &Value) -> Option<String> {
    let completed =
        task.get("conditions").and_then(Value::as_array)?.iter().find(|condition| text(condition, "type") == "Completed")?;
    if text(completed, "state") != "CONDITION_FAILED" {
        return None;
    }
    let last = task.get("lastAttemptResult");
    let number = |field: &str| last.and_then(|last| last.get(field)).and_then(Value::as_i64).filter(|number| *number != 0);
    let retries = match count(task, "retried") {
        0 => String::new(),
        times => format!(" after {times} retries"),
    };
    Some(match (number("exitCode"), number("termSignal")) {
        (Some(code), _) => format!("ended with exit code {code}{retries}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{retries}"),
        (None, None) => format!("failed{retries}: {}", shown(text(completed, "message"))),
    })
}

fn count(resource: &Value, field: &str) -> i64 {
    resource.get(field).and_then(Value::as_i64).unwrap_or(0)
}

fn outcome(execution: &str, shown: &Value) -> Outcome {
    let log = text(shown, "logUri");
    let outputs = json!({
        "execution": execution,
        "succeeded": count(shown, "succeededCount"),
        "failed": count(shown, "failedCount"),
        "log_url": log,
    });
    let url = Some(log.to_owned()).filter(|log| !log.is_empty());
    let state = if text(shown, "completionTime").is_empty() { "is running" } else { "is done" };
    Outcome { outputs, summary: format!("{execution} {state}"), url }
}

fn task_timeout(given: &given::Given<'_>) -> Result<Option<Duration>, Why> {
    let timeout = given.duration("task-timeout")?;
    let fits = timeout.is_none_or(|timeout| !timeout.is_zero() && timeout <= LONGEST_TASK);
    if fits { Ok(timeout) } else { Err(invalid("`with.task-timeout` is more than nothing and at most 7d")) }
}
