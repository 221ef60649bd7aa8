//! `github/workflow-dispatch`: starts a workflow of the event's repository.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, all, invalid};
use crate::hops;
use crate::kinds::{github, google};

/// GitHub takes no more inputs.
const MOST_INPUTS: usize = 25;

/// The action.
pub struct GithubWorkflowDispatch;

static SPEC: Spec = Spec {
    name: "github/workflow-dispatch",
    summary: "Starts a workflow of the event's repository that has `on: workflow_dispatch`",
    class: Class::Deploy,
    parameters: &[
        Field { name: "workflow", shape: "string", summary: "Name of its file, such as `release.yml`, or its number" },
        Field { name: "ref", shape: "string", summary: "Branch or tag whose workflow file is run" },
        Field {
            name: "inputs",
            shape: "{ \"*\": any }?",
            summary: "Inputs that the workflow declares; what is not text is written as JSON",
        },
        Field {
            name: "key-input",
            shape: "string?",
            summary: "Input that gets the call's key. If the workflow shows it in its `run-name`, the run is found again after a crash",
        },
        Field {
            name: "count-hops",
            shape: "bool?",
            summary: "Fills the input `declic_hops`, which the workflow must declare: how many dispatches led to this one",
        },
    ],
    outputs: &[
        Field { name: "run_id", shape: "int?", summary: "GitHub's id of the workflow run, where GitHub tells it" },
        Field { name: "url", shape: "string?", summary: "Its address" },
    ],
    example: "workflow: release.yml\nref: main\ninputs: { environment: staging }\nkey-input: declic\n",
    deadline: Duration::from_secs(30),
    repeat: Repeat::Found,
    repeat_how: "With `key-input` the workflow's runs are looked through for the call's key; without it a run may be started twice after a crash",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME/actions/workflows/FILE`
    path: String,
    reference: String,
    inputs: Map<String, Value>,
    /// What is looked for in the names of runs.
    key: Option<String>,
}

#[async_trait]
impl Action for GithubWorkflowDispatch {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let (workflow, reference, inputs, key_input, repository) = all((
            workflow(&given),
            given.text("ref"),
            inputs(&given, &call),
            given.optional_text("key-input"),
            github::repository(&call),
        ))?;
        let plan = Plan {
            path: format!("{repository}/actions/workflows/{workflow}"),
            reference: reference.to_owned(),
            inputs,
            key: key_input.filter(|name| !name.is_empty()).map(|_| call.key.clone()),
        };
        let summary = format!("start the workflow {workflow} at {}", plan.reference);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let body = json!({ "ref": plan.reference, "inputs": plan.inputs, "return_run_details": true });
        let answer = context.clients.github.post(&format!("{}/dispatches", plan.path), &body, context.deadline).await?;
        // An Enterprise Server that does not know the question answers without a body.
        let told = github::json(answer)?;
        let run = match (told.get("workflow_run_id"), &plan.key) {
            (Some(_), _) => Some(told),
            (None, Some(key)) => search(context, &plan, key).await?,
            (None, None) => None,
        };
        Ok(outcome(run.as_ref()))
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let Some(key) = &plan.key else { return Ok(None) };
        Ok(search(context, &plan, key).await?.as_ref().map(|run| outcome(Some(run))))
    }
}

/// The run whose name shows the key.
async fn search(context: &Context<'_>, plan: &Plan, key: &str) -> Result<Option<Value>, Failure> {
    let path = format!("{}/runs?event=workflow_dispatch&per_page=100", plan.path);
    let list = github::json(context.clients.github.get(&path, context.deadline).await?)?;
    let shows = |run: &&Value| run.get("display_title").and_then(Value::as_str).is_some_and(|title| title.contains(key));
    Ok(list.get("workflow_runs").and_then(Value::as_array).into_iter().flatten().find(shows).cloned())
}

fn outcome(run: Option<&Value>) -> Outcome {
    let field = |names: [&str; 2]| run.and_then(|run| names.iter().find_map(|name| run.get(*name))).cloned().unwrap_or_default();
    let (id, url) = (field(["workflow_run_id", "id"]), field(["html_url", "html_url"]));
    let summary = id.as_u64().map_or_else(|| "workflow started".to_owned(), |id| format!("workflow run {id} started"));
    let address = url.as_str().map(str::to_owned);
    Outcome { outputs: json!({ "run_id": id, "url": url }), summary, url: address }
}

fn workflow<'a>(given: &given::Given<'a>) -> Result<&'a str, Why> {
    let workflow = given.text("workflow")?;
    let fits = workflow.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) && !workflow.starts_with('.');
    if fits { Ok(workflow) } else { Err(invalid("`with.workflow` is the name of a file in `.github/workflows`, or a number")) }
}

/// With the call's key and the number of hops, where the workflow has inputs for them.
fn inputs(given: &given::Given<'_>, call: &Call) -> Result<Map<String, Value>, Why> {
    let mut inputs: Map<String, Value> = Map::new();
    for (name, value) in given.optional_object("inputs")?.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        inputs.insert(name.clone(), google::text_of(value).into());
    }
    if let Some(name) = given.optional_text("key-input")?.filter(|name| !name.is_empty()) {
        inputs.insert(name.to_owned(), call.key.clone().into());
    }
    let hops = hops::next(call)?;
    if given.flag("count-hops")? {
        inputs.insert(hops::HOPS.to_owned(), hops.to_string().into());
    }
    if inputs.len() > MOST_INPUTS {
        return Err(invalid(format!("a workflow takes at most {MOST_INPUTS} inputs")));
    }
    Ok(inputs)
}
