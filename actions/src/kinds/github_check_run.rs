//! `github/check-run`: a check run on a commit, with annotations.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::action::{Action, Call, Class, Context, Failure, Faults, Field, Intent, Outcome, Repeat, Spec, Why};
use crate::given::{self, Given, all, every, invalid};
use crate::hops;
use crate::http::shown;
use crate::kinds::github;

const CONCLUSIONS: &[&str] = &["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"];
/// GitHub takes so many with one request; it adds them to those before.
const BATCH: usize = 50;
const MOST_ANNOTATIONS: usize = 1_000;
const LONGEST_TEXT: usize = 65_000;
const LONGEST_MESSAGE: usize = 16_000;
const LONGEST_TITLE: usize = 255;

/// The action.
pub struct GithubCheckRun;

static SPEC: Spec = Spec {
    name: "github/check-run",
    summary: "Keeps a check run of this name on the run's commit, with annotations in its files; needs the token of a GitHub App",
    class: Class::Plain,
    parameters: &[
        Field { name: "name", shape: "string", summary: "Its name; one run of a rule has one check run of a name" },
        Field { name: "status", shape: "queued|in_progress|completed?", summary: "`completed` if there is a conclusion" },
        Field {
            name: "conclusion",
            shape: "success|failure|neutral|cancelled|skipped|timed_out|action_required?",
            summary: "What came of it",
        },
        Field { name: "title", shape: "plain?", summary: "One line: the name if left out" },
        Field { name: "summary", shape: "markdown?", summary: "What it found, in Markdown" },
        Field { name: "text", shape: "markdown?", summary: "Details in Markdown" },
        Field {
            name: "annotations",
            shape: "[{ path: plain, line: int, end-line: int?, level: notice|warning|failure?, message: plain, title: plain? }]?",
            summary: "Remarks on lines of files; they are added to those that it has already",
        },
        Field { name: "details-url", shape: "string?", summary: "Where more can be read; the run in the console if left out" },
        Field { name: "sha", shape: "string?", summary: "Another commit than that of the event" },
    ],
    outputs: &[
        Field { name: "id", shape: "int", summary: "GitHub's id of the check run" },
        Field { name: "url", shape: "string", summary: "Its address" },
        Field { name: "annotations", shape: "int", summary: "Annotations that it has" },
    ],
    example: r#"name: declic/rules
conclusion: failure
summary: One rule is wrong.
annotations: [{ path: .declic/deploy.yaml, line: 7, level: failure, message: There is no action of that name. }]
"#,
    deadline: Duration::from_secs(60),
    repeat: Repeat::Found,
    repeat_how: "Its `external_id` names run and check, so that it is found again; how many annotations it has says which are still to come",
};

/// What `prepare` derives.
#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    /// `/repos/OWNER/NAME`
    repository: String,
    sha: String,
    name: String,
    external_id: String,
    status: String,
    conclusion: Option<String>,
    title: String,
    summary: String,
    text: Option<String>,
    details_url: Option<String>,
    annotations: Vec<Value>,
}

impl Plan {
    /// The check run of this run and name, if it was made.
    async fn search(&self, context: &Context<'_>) -> Result<Option<Value>, Failure> {
        let name: String = url::form_urlencoded::byte_serialize(self.name.as_bytes()).collect();
        let path = format!("{}/commits/{}/check-runs?check_name={name}&filter=all&per_page=100", self.repository, self.sha);
        let list = github::json(context.clients.github.reporting().get(&path, context.deadline).await?)?;
        let ours = |run: &&Value| run.get("external_id").and_then(Value::as_str) == Some(&self.external_id);
        Ok(list.get("check_runs").and_then(Value::as_array).into_iter().flatten().find(ours).cloned())
    }

    /// With a part of the annotations.
    fn body(&self, annotations: &[Value]) -> Map<String, Value> {
        let mut output = json!({ "title": self.title, "summary": self.summary });
        if let Some(text) = &self.text {
            output["text"] = text.clone().into();
        }
        if !annotations.is_empty() {
            output["annotations"] = annotations.into();
        }
        let mut body = Map::from_iter([
            ("name".to_owned(), self.name.clone().into()),
            ("external_id".to_owned(), self.external_id.clone().into()),
            ("output".to_owned(), output),
        ]);
        match &self.conclusion {
            Some(conclusion) => drop(body.insert("conclusion".into(), conclusion.clone().into())),
            None => drop(body.insert("status".into(), self.status.clone().into())),
        }
        if let Some(url) = &self.details_url {
            body.insert("details_url".into(), url.clone().into());
        }
        body
    }

    fn outcome(&self, run: &Value) -> Result<Outcome, Failure> {
        let (id, url) = github::identity(run, "html_url")?;
        let summary = format!("{} is {}", self.name, self.conclusion.as_ref().unwrap_or(&self.status));
        let outputs = json!({ "id": id, "url": url, "annotations": annotations_of(run) });
        Ok(Outcome { outputs, summary, url: Some(url) })
    }
}

/// Saved before the first annotation goes: how many there were.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    before: u64,
}

#[async_trait]
impl Action for GithubCheckRun {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn prepare(&self, call: Call) -> Result<Intent, Faults> {
        let given = given::params(&call);
        let run_url = call.origin.run_url.as_deref();
        let (repository, sha, name, (status, conclusion), title, summary, text, details_url, annotations) = all((
            github::repository(&call),
            github::sha(&call),
            given.text("name"),
            status(&given),
            given.optional_text("title"),
            given.optional_text("summary"),
            given.optional_text("text"),
            given.optional_text("details-url").and_then(|url| github::address("details-url", url.or(run_url))),
            annotations(&given),
        ))?;
        let name = name.to_owned();
        let own = hex::encode(Sha256::digest(name.as_bytes()));
        let plan = Plan {
            repository,
            sha,
            external_id: format!(
                "{}{}:{}:{}",
                hops::CHECK_RUN,
                call.origin.run,
                own.get(..12).unwrap_or(&own),
                hops::next(&call)?
            ),
            status: status.to_owned(),
            conclusion: conclusion.map(str::to_owned),
            title: github::cut(title.unwrap_or(&name), LONGEST_TITLE),
            summary: summary.map(|text| github::cut(text, LONGEST_TEXT)).unwrap_or_default(),
            text: text.map(|text| github::cut(text, LONGEST_TEXT)),
            details_url,
            annotations,
            name,
        };
        let summary = format!("check {} is {} on {}", plan.name, plan.conclusion.as_ref().unwrap_or(&plan.status), plan.sha);
        given::intent(call, &plan, summary)
    }

    async fn run(&self, context: &Context<'_>, intent: &Intent) -> Result<Outcome, Failure> {
        let plan: Plan = given::plan(intent)?;
        let client = context.clients.github.reporting();
        let there = plan.search(context).await?;
        let state: Option<State> = context.saved.clone().and_then(|saved| serde_json::from_value(saved).ok());
        let has = there.as_ref().map_or(0, annotations_of);
        let before = match state {
            Some(State { before }) => before,
            None => {
                context.progress.save(json!({ "before": has })).await?;
                has
            }
        };
        let sent = usize::try_from(has.saturating_sub(before)).unwrap_or(usize::MAX).min(plan.annotations.len());
        let mut left = plan.annotations.get(sent..).unwrap_or_default();
        let mut run = there;
        loop {
            let (batch, rest) = left.split_at(left.len().min(BATCH));
            let mut body = plan.body(batch);
            let answer = match run.as_ref().map(|run| github::identity(run, "html_url")).transpose()? {
                Some((id, _)) => {
                    let path = format!("{}/check-runs/{id}", plan.repository);
                    client.patch(&path, &Value::Object(body), context.deadline).await?
                }
                None => {
                    body.insert("head_sha".into(), plan.sha.clone().into());
                    client.post(&format!("{}/check-runs", plan.repository), &Value::Object(body), context.deadline).await?
                }
            };
            run = Some(github::json(answer)?);
            left = rest;
            if left.is_empty() {
                break;
            }
        }
        plan.outcome(run.as_ref().unwrap_or(&Value::Null))
    }

    async fn find(&self, context: &Context<'_>, intent: &Intent) -> Result<Option<Outcome>, Failure> {
        let plan: Plan = given::plan(intent)?;
        let state: Option<State> = context.saved.clone().and_then(|saved| serde_json::from_value(saved).ok());
        let (Some(run), Some(State { before })) = (plan.search(context).await?, state) else { return Ok(None) };
        let text = |pointer: &str| run.pointer(pointer).and_then(Value::as_str);
        let same = text("/status") == Some(&plan.status)
            && text("/conclusion") == plan.conclusion.as_deref()
            && text("/output/title") == Some(&plan.title)
            && text("/output/summary").unwrap_or_default() == plan.summary;
        let complete = annotations_of(&run) >= before + plan.annotations.len() as u64;
        if same && complete { plan.outcome(&run).map(Some) } else { Ok(None) }
    }
}

fn annotations_of(run: &Value) -> u64 {
    run.pointer("/output/annotations_count").and_then(Value::as_u64).unwrap_or(0)
}

/// With its conclusion, which a completed check has and no other.
fn status<'a>(given: &Given<'a>) -> Result<(&'a str, Option<&'a str>), Why> {
    let status = given.one_of("status", &["queued", "in_progress", "completed"])?;
    match (status, given.one_of("conclusion", CONCLUSIONS)?) {
        (Some(status @ ("queued" | "in_progress")), None) => Ok((status, None)),
        (Some("completed") | None, conclusion @ Some(_)) => Ok(("completed", conclusion)),
        (None, None) => Ok(("in_progress", None)),
        _ => Err(invalid("`with.conclusion` belongs to the status `completed`, and to no other")),
    }
}

/// As GitHub wants them.
fn annotations(given: &Given<'_>) -> Result<Vec<Value>, Faults> {
    let Some(list) = given.value("annotations") else { return Ok(Vec::new()) };
    let list = list.as_array().ok_or_else(|| invalid("`with.annotations` is a list"))?;
    if list.len() > MOST_ANNOTATIONS {
        return Err(invalid(format!("a check run takes at most {MOST_ANNOTATIONS} annotations here")).into());
    }
    every(list.iter().map(annotation))
}

fn annotation(given: &Value) -> Result<Value, Why> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let line = |name: &str| given.get(name).and_then(Value::as_i64).filter(|line| *line >= 1);
    let (Some(path), Some(start), Some(message)) = (text("path"), line("line"), text("message")) else {
        return Err(invalid("an annotation has a `path`, a `line` from 1 on and a `message`"));
    };
    if path.starts_with('/') || path.contains(char::is_control) {
        return Err(invalid(format!("`{}` is no path of the repository", shown(path))));
    }
    let level = text("level").unwrap_or("warning");
    if !["notice", "warning", "failure"].contains(&level) {
        return Err(invalid("an annotation's `level` is notice, warning or failure"));
    }
    let mut annotation = json!({
        "path": path, "start_line": start, "end_line": line("end-line").unwrap_or(start).max(start), "annotation_level": level,
        "message": github::cut(message, LONGEST_MESSAGE),
    });
    if let Some(title) = text("title") {
        annotation["title"] = github::cut(title, LONGEST_TITLE).into();
    }
    Ok(annotation)
}
