//! The rules of the simulation, and the source whose deliveries are pushes to one branch.

use std::sync::Arc;
use std::time::Duration;

use declic::event::Event;
use declic::journal::record::Delivery;
use declic::rules::expr::{Expression, Scope};
use declic::rules::model::{Concurrency, Mode, Offer, Retry, Rule, RuleSet, Step, Trigger};
use declic::rules::template::Template;
use declic::rules::types::Type;
use serde_json::{Value, json};

use super::chance::Chance;

pub const SOURCE: &str = "pushes";
/// Deploys, one run of its group at a time.
pub const DEPLOY: &str = "deploy";
/// Does this and that, in a group.
pub const BATCH: &str = "batch";
/// Does this and that.
pub const PLAIN: &str = "plain";

/// Events are the JSON of the body: pushes if they have a `sha`, anything else otherwise.
pub fn read(delivery: &Delivery, event: Value) -> Result<Option<Event>, String> {
    let delivery = json!({ "id": delivery.id, "source": SOURCE, "received_at": "", "replay": delivery.replay });
    Ok(Some(Event { delivery, ..arriving(event) }))
}

/// The event as it is before its delivery is stored.
pub fn arriving(event: Value) -> Event {
    let is_push = event.get("sha").is_some();
    Event {
        kind: if is_push { "github.push" } else { "test.event" }.to_owned(),
        source: SOURCE.to_owned(),
        repo: json!({ "full_name": event.get("repository") }),
        event,
        actor: Value::Null,
        delivery: Value::Null,
    }
}

/// Targets: the service that is deployed to, which is left alone for a while after three failures.
pub fn offer() -> Offer {
    let web = json!({ "type": "sim", "limit": { "failures": 3, "pause": "2s" } });
    Offer { targets: [("web".to_owned(), web)].into(), ..Offer::default() }
}

pub fn set(chance: &Chance) -> Arc<RuleSet> {
    let after_deploy = vec![step(chance, "sim/put", "status", DEPLOY)];
    let deploy = Rule {
        finally: after_deploy,
        ..rule(DEPLOY, "github.push", vec![step(chance, "sim/post", "note", DEPLOY), deploy_step(chance)])
    };
    let modes = [Mode::QueueLatest, Mode::QueueLatest, Mode::Supersede, Mode::QueueAll];
    let deploy = Rule { concurrency: Some(concurrency(DEPLOY, *chance.pick(&modes))), ..deploy };
    let modes = [Mode::QueueAll, Mode::QueueLatest, Mode::Skip, Mode::Supersede];
    let batch = Rule {
        on_failure: vec![step(chance, "sim/post", "sorry", BATCH)],
        concurrency: Some(concurrency(BATCH, *chance.pick(&modes))),
        timeout: chance.one_in(3).then_some(Duration::from_secs(10)),
        ..rule(BATCH, "test.event", steps(chance, BATCH))
    };
    let plain = Rule {
        finally: vec![step(chance, "sim/put", "end", "")],
        on_failure: vec![step(chance, "sim/post", "sorry", "")],
        ..rule(PLAIN, "test.event", steps(chance, ""))
    };
    Arc::new(RuleSet { rules: [deploy, batch, plain].map(Arc::new).to_vec(), revision: "r1".to_owned() })
}

fn steps(chance: &Chance, group: &str) -> Vec<Step> {
    (0..1 + chance.below(3))
        .map(|number| {
            let uses = *chance.pick(&["sim/put", "sim/post", "sim/post", "sim/call"]);
            step(chance, uses, &format!("s{number}"), group)
        })
        .collect()
}

fn concurrency(group: &str, mode: Mode) -> Box<Concurrency> {
    Box::new(Concurrency { group: Template::literal(json!(group)), mode })
}

fn with(fields: &[(&str, Template)]) -> Template {
    Template::Object(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn step(chance: &Chance, uses: &str, name: &str, group: &str) -> Step {
    let attempts = 1 + chance.below(4);
    let mut fields = vec![("step", Template::literal(json!(name))), ("attempts", Template::literal(json!(attempts)))];
    if !group.is_empty() {
        fields.push(("group", Template::literal(json!(group))));
    }
    Step {
        id: Some(name.to_owned()),
        name: None,
        uses: uses.to_owned(),
        condition: None,
        with: with(&fields),
        timeout: Duration::from_millis(600 + chance.below(2000)),
        retry: Retry {
            attempts: u32::try_from(attempts).unwrap_or(1),
            wait: Duration::from_millis(100),
            max_wait: Duration::from_millis(1500),
        },
        continue_on_error: chance.one_in(8),
    }
}

fn deploy_step(chance: &Chance) -> Step {
    let scope = Scope { names: [("event".to_owned(), Type::Any)].into(), ..Scope::default() };
    let commit = Expression::compile("event.sha", &scope).expect("the expression is right");
    let fields = [
        ("step", Template::literal(json!("deploy"))),
        ("group", Template::literal(json!(DEPLOY))),
        ("target", Template::literal(json!("web"))),
        ("commit", Template::Whole(commit, Type::Any)),
    ];
    Step { with: with(&fields), continue_on_error: false, ..step(chance, "sim/deploy", "deploy", "") }
}

fn rule(name: &str, event: &'static str, steps: Vec<Step>) -> Rule {
    Rule {
        name: name.to_owned(),
        owner: None,
        place: format!("rules/{name}.yaml:1"),
        description: None,
        enabled: true,
        dry_run: false,
        triggers: vec![Trigger {
            event,
            source: None,
            filters: Vec::new(),
            own_events: false,
            shapes: Vec::new(),
            arguments: Vec::new(),
        }],
        condition: None,
        allow: None,
        environment: None,
        concurrency: None,
        collapse: None,
        timeout: None,
        vars: Vec::new(),
        steps,
        reply: None,
        on_failure: Vec::new(),
        finally: Vec::new(),
        reads_payload: false,
        reads_permission: false,
        reads_id: false,
    }
}
