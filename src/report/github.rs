//! `environment:` of a rule as steps around the user's: a GitHub deployment whose statuses follow the run. Pure.
//!
//! They are durable steps like any other, so that they survive a crash, are retried and can be looked at; but their failure
//! never fails the run.

use std::time::Duration;

use serde_json::json;

use crate::journal::record::RunFailure;
use crate::rules::model::{Environment, Retry, Step};
use crate::rules::template::Template;

/// The action that does it.
pub const ACTION: &str = "github/deployment";

const DEADLINE: Duration = Duration::from_secs(15);
/// The beginning is worth one more try, but must not hold up the deploy.
const AT_THE_BEGINNING: Retry = Retry { attempts: 2, wait: Duration::from_secs(1), max_wait: Duration::from_secs(1) };
/// The end matters: about two minutes of trouble at GitHub are waited out.
const AT_THE_END: Retry = Retry { attempts: 8, wait: Duration::from_secs(1), max_wait: Duration::from_secs(60) };
/// GitHub's limit for a description.
const LONGEST_DESCRIPTION: usize = 140;

/// How the run came out, in the words of `result`.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending<'a> {
    /// All steps succeeded.
    Success,
    /// A step failed.
    Failure(&'a RunFailure),
    /// A newer run covers it, or a person stopped it.
    Cancelled,
}

/// Before the first step: the deployment, in progress.
pub fn begin(environment: &Environment) -> Step {
    let name = "Tell GitHub that the deployment begins";
    step(name, AT_THE_BEGINNING, parameters(environment, "in_progress"))
}

/// After the last step: how it ended.
pub fn end(environment: &Environment, ending: &Ending<'_>) -> Step {
    let state = match ending {
        Ending::Success => "success",
        Ending::Failure(_) => "failure",
        Ending::Cancelled => "inactive",
    };
    let mut with = parameters(environment, state);
    match ending {
        Ending::Success => with.extend(environment.url.clone().map(|url| ("environment-url".to_owned(), url))),
        Ending::Failure(failure) => with.push(("description".to_owned(), Template::literal(json!(shortened(&failure.message))))),
        Ending::Cancelled => with.push(("description".to_owned(), Template::literal(json!("Covered by a newer run")))),
    }
    step("Tell GitHub how the deployment ended", AT_THE_END, with)
}

fn parameters(environment: &Environment, state: &str) -> Vec<(String, Template)> {
    let mut with =
        vec![("state".to_owned(), Template::literal(json!(state))), ("environment".to_owned(), environment.name.clone())];
    with.extend(environment.sha.clone().map(|sha| ("sha".to_owned(), sha)));
    if environment.transient {
        with.push(("transient".to_owned(), Template::literal(json!(true))));
    }
    with
}

fn step(name: &str, retry: Retry, with: Vec<(String, Template)>) -> Step {
    Step {
        id: None,
        name: Some(name.to_owned()),
        uses: ACTION.to_owned(),
        condition: None,
        with: Template::Object(with),
        timeout: DEADLINE,
        retry,
        continue_on_error: true,
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST_DESCRIPTION {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST_DESCRIPTION - 1).collect();
    short.push('…');
    short
}
