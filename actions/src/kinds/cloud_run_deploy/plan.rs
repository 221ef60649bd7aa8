//! What a deploy will do, derived from the call alone.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::action::{Call, Faults, Intent, Why};
use crate::cloud_run::{self, Runs, Target, env};
use crate::given::{self, all, every, invalid, refuse_if};
use crate::kinds::cloud_run_deploy::build::Build;
use crate::registry::Image;

/// More shares are no canary any more.
const MOST_SHARES: usize = 20;

/// The plan of one deploy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) image: Image,
    /// How long to wait for the image.
    pub(super) wait: Duration,
    /// The name its revision will have, the same on every attempt.
    pub(super) revision: String,
    /// The tag it has at least until it gets traffic.
    pub(super) tag: String,
    /// Whether the rule asked for the tag, so that it stays.
    pub(super) keep_tag: bool,
    /// What it gets in the end.
    pub(super) percent: i64,
    /// The shares of a canary in their order, the last one included; empty if it gets all at once.
    #[serde(default)]
    pub(super) canary: Vec<i64>,
    /// How long each of them is kept.
    #[serde(default)]
    pub(super) hold: Duration,
    /// The container that is changed, where there are several.
    #[serde(default)]
    pub(super) container: Option<String>,
    #[serde(default)]
    pub(super) env: env::Settings,
    #[serde(default)]
    pub(super) build: Option<Build>,
    pub(super) health: Option<Health>,
    pub(super) rollback: bool,
    pub(super) labels: BTreeMap<String, String>,
}

impl Plan {
    /// The shares that it gets one after the other.
    pub(super) fn shares(&self) -> &[i64] {
        if self.canary.is_empty() { std::slice::from_ref(&self.percent) } else { &self.canary }
    }
}

/// `health:`
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Health {
    pub(super) path: String,
    /// Any 2xx if none is given.
    pub(super) status: Option<u16>,
    pub(super) attempts: u32,
    pub(super) every: Duration,
}

pub(super) fn prepare(call: Call) -> Result<Intent, Faults> {
    let given = given::params(&call);
    let target = Target::read_any(&call)?;
    let of_services = ["tag", "traffic", "hold", "health"].map(|field| {
        let refused = target.runs == Runs::Job && given.value(field).is_some();
        refuse_if(refused, || invalid(format!("a job serves nothing, so it has no `{field}`")))
    });
    every::<(), _, ()>(of_services)?;
    let image = image(&given, &target).map_err(Faults::from).and_then(|image| {
        let build = Build::read(&call, &given, &target, &image)?;
        Ok((image, build))
    });
    let ((image, build), shift, wait, health, rollback, container, env, labels) = all((
        image,
        Shift::read(&given, &target),
        given.duration("wait-for-image"),
        health(&given),
        given.optional_flag("rollback"),
        container(&given, &target),
        env::read(&given, &target),
        labels(&call),
    ))?;
    let short = short_hash(&call.key);
    let plan = Plan {
        wait: wait.unwrap_or_default(),
        revision: format!("{}-{short}", target.service),
        keep_tag: shift.tag.is_some(),
        tag: shift.tag.unwrap_or_else(|| format!("d{}", short.get(..7).unwrap_or(&short))),
        percent: shift.percent,
        health,
        rollback: rollback.unwrap_or(!shift.canary.is_empty()),
        canary: shift.canary,
        hold: shift.hold,
        container,
        env,
        build,
        labels,
        image,
        target,
    };
    let summary = summary(&plan);
    given::intent(call, &plan, summary)
}

/// The image, if the target may run it.
fn image(given: &given::Given<'_>, target: &Target) -> Result<Image, Why> {
    let image = Image::parse(given.text("image")?)
        .map_err(|fault| invalid(format!("`with.image` is not the name of an image: {fault}")))?;
    if image.is_allowed(&target.images) {
        return Ok(image);
    }
    let message =
        format!("`image`: `{}` is not among the images that the target may run ({})", image.name(), target.images.join(", "));
    Err(Why::new("image-not-allowed", message))
}

/// How the traffic comes to the revision.
struct Shift {
    /// The tag that the rule asked for.
    tag: Option<String>,
    percent: i64,
    canary: Vec<i64>,
    hold: Duration,
}

impl Shift {
    fn read(given: &given::Given<'_>, target: &Target) -> Result<Self, Faults> {
        let (tag, canary, hold) = all((given.optional_text("tag"), canary(given), given.duration("hold")))?;
        let percent = match canary.last() {
            Some(last) => *last,
            None => given.int_within("traffic", 0, 100)?.unwrap_or(if target.tags_only { 0 } else { 100 }),
        };
        let hold = hold.unwrap_or_default();
        all((
            check_tag(tag, percent, target),
            refuse_if(canary.is_empty() && !hold.is_zero(), || {
                invalid("`with.hold` is for a list of shares, such as `traffic: [10, 50, 100]`")
            }),
        ))?;
        Ok(Self { tag: tag.map(str::to_owned), percent, canary, hold })
    }
}

fn summary(plan: &Plan) -> String {
    let reference =
        if plan.image.digest.is_some() { format!("@{}", plan.image.reference()) } else { format!(":{}", plan.image.reference()) };
    let what = format!("deploy {}{reference} to {} as {}", plan.image.name(), plan.target.name(), plan.revision);
    let what = match &plan.build {
        Some(build) => format!("{what}, after {build}"),
        None => what,
    };
    if plan.target.runs == Runs::Job {
        format!("deploy {}{reference} to {}", plan.image.name(), plan.target.name())
    } else if !plan.canary.is_empty() {
        let shares: Vec<String> = plan.canary.iter().map(i64::to_string).collect();
        format!("{what}, {} % of the traffic in turn", shares.join(", "))
    } else if plan.percent == 0 {
        format!("{what}, tag {}, no traffic", plan.tag)
    } else {
        format!("{what}, {} % of the traffic", plan.percent)
    }
}

/// `traffic:` as a list: growing shares.
fn canary(given: &given::Given<'_>) -> Result<Vec<i64>, Why> {
    let Some(list) = given.value("traffic").and_then(Value::as_array) else { return Ok(Vec::new()) };
    let shares: Option<Vec<i64>> = list.iter().map(|share| share.as_i64().filter(|share| (1..=100).contains(share))).collect();
    let grows = |shares: &Vec<i64>| shares.windows(2).all(|pair| pair.first() < pair.last());
    shares.filter(|shares| (1..=MOST_SHARES).contains(&shares.len()) && grows(shares)).ok_or_else(|| {
        invalid(format!("`with.traffic` as a list holds 1 to {MOST_SHARES} percentages that grow, such as [10, 50, 100]"))
    })
}

/// The operator's word on the container, if there is one, is the last.
fn container(given: &given::Given<'_>, target: &Target) -> Result<Option<String>, Why> {
    match (given.optional_text("container")?, target.container.as_deref()) {
        (Some(asked), Some(set)) if asked != set => {
            Err(Why::new("not-allowed", format!("the target lets only the container `{set}` be changed")))
        }
        (asked, set) => Ok(set.or(asked).map(str::to_owned)),
    }
}

/// The part of names that tells one call from all others.
pub(super) fn short_hash(key: &str) -> String {
    hex::encode(Sha256::digest(key.as_bytes())).chars().take(10).collect()
}

fn check_tag(tag: Option<&str>, percent: i64, target: &Target) -> Result<(), Why> {
    if target.tags_only && percent != 0 {
        return Err(invalid("the target is for previews (`tags-only`): `with.traffic` must be 0"));
    }
    let Some(tag) = tag else {
        return if percent == 0 {
            Err(invalid("with `traffic: 0` a `tag` is needed, or nobody could reach the revision"))
        } else {
            Ok(())
        };
    };
    cloud_run::check_tag(tag, &target.service)
}

fn health(given: &given::Given<'_>) -> Result<Option<Health>, Faults> {
    let Some(inner) = given.inner("health")? else { return Ok(None) };
    let (path, status, attempts, every) = all((
        health_path(&inner),
        inner.int_within("status", 100, 599),
        inner.int_within("attempts", 1, 1000),
        inner.duration("every"),
    ))?;
    Ok(Some(Health {
        path: path.to_owned(),
        status: status.and_then(|status| u16::try_from(status).ok()),
        attempts: attempts.and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or(10),
        every: every.unwrap_or(Duration::from_secs(3)),
    }))
}

fn health_path<'a>(health: &given::Given<'a>) -> Result<&'a str, Why> {
    let path = health.text("path")?;
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    if path.starts_with('/') && !path.starts_with("//") && plain {
        return Ok(path);
    }
    Err(invalid("`health.path` begins with one slash and holds no spaces, `\\` or `#`"))
}

/// The rule's labels, over those that every deploy sets.
fn labels(call: &Call) -> Result<BTreeMap<String, String>, Faults> {
    let mut labels = BTreeMap::from([("managed-by".to_owned(), "declic".to_owned())]);
    if let Some(sha) = call.origin.sha.as_deref().map(str::to_ascii_lowercase).filter(|sha| is_label_value(sha)) {
        labels.insert("commit-sha".into(), sha);
    }
    let label = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.to_ascii_lowercase(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => return Err(invalid(format!("`labels.{}` must be text", crate::http::shown(name)))),
        };
        if !is_label_value(name) || !name.starts_with(|first: char| first.is_ascii_lowercase()) || !is_label_value(&value) {
            return Err(invalid(format!(
                "`labels.{}` has characters that labels cannot have: lower-case letters, digits, `_` and `-`, at most 63, the name begins with a letter",
                crate::http::shown(name)
            )));
        }
        Ok((name.clone(), value))
    };
    let given: Vec<(String, String)> = every(given::params(call).optional_object("labels")?.into_iter().flatten().map(label))?;
    labels.extend(given);
    Ok(labels)
}

fn is_label_value(text: &str) -> bool {
    text.len() <= 63 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(with: Value, target: Value) -> Call {
        let mut settings =
            json!({ "type": "cloud-run", "project": "p", "region": "r", "service": "web", "images": ["e.dev/b/web/*"] });
        settings.as_object_mut().unwrap().extend(target.as_object().unwrap().clone());
        let mut params = json!({ "target": "web_staging", "image": "e.dev/b/web/web:main" });
        params.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        Call {
            key: "d1-deploy-1".into(),
            params: params.as_object().unwrap().clone(),
            target: Some(settings),
            connection: None,
            origin: crate::action::Origin { sha: Some("0123ABC".into()), ..Default::default() },
        }
    }

    fn plan(with: Value, target: Value) -> Result<Plan, String> {
        prepare(call(with, target))
            .map(|intent| serde_json::from_value(intent.plan).unwrap())
            .map_err(|faults| Why::from(faults).message)
    }

    #[test]
    fn names_follow_from_the_call_and_are_valid() {
        let one = plan(json!({}), json!({})).unwrap();
        let again = plan(json!({}), json!({})).unwrap();
        assert_eq!((&one.revision, &one.tag), (&again.revision, &again.tag));
        assert!(one.revision.starts_with("web-") && one.revision.len() <= 63);
        assert!(one.tag.starts_with('d') && !one.keep_tag);
        let mut other = call(json!({}), json!({}));
        other.key = "d2-deploy-1".into();
        assert_ne!(prepare(other).unwrap().plan["revision"], one.revision);
    }

    #[test]
    fn what_the_target_does_not_allow_is_refused_before_anything_runs() {
        for (with, target, fault) in [
            (json!({ "image": "evil.dev/b/web/web:main" }), json!({}), "not among the images"),
            (json!({ "image": "e.dev/b/web/../x" }), json!({}), "not the name of an image"),
            (json!({ "tag": "pr-1" }), json!({ "tags-only": true }), ""),
            (json!({ "tag": "pr-1", "traffic": 1 }), json!({ "tags-only": true }), "must be 0"),
            (json!({}), json!({ "tags-only": true }), "a `tag` is needed"),
            (json!({ "tag": "Pr" }), json!({}), "lower-case"),
            (json!({ "tag": "a".repeat(44) }), json!({}), "46"),
            (json!({ "traffic": 101 }), json!({}), "between 0 and 100"),
            (json!({ "traffic": [10, 50, 100] }), json!({}), ""),
            (json!({ "traffic": [50, 10] }), json!({}), "that grow"),
            (json!({ "traffic": [0, 10] }), json!({}), "that grow"),
            (json!({ "traffic": [] }), json!({}), "that grow"),
            (json!({ "hold": "5m" }), json!({}), "list of shares"),
            (json!({ "env": { "A": "1" } }), json!({ "env": ["A"] }), ""),
            (json!({ "env": { "B": "1" } }), json!({ "env": ["A"] }), "does not allow the variable"),
            (json!({ "env": { "PORT": "1" } }), json!({ "env": ["PORT"] }), "cannot be set"),
            (json!({ "env": { "A": { "secret": "s" } } }), json!({ "env": ["A"] }), "does not allow the secret"),
            (json!({ "env": { "A": { "secret": "s" } } }), json!({ "env": ["A"], "secrets": ["s"] }), ""),
            (json!({ "container": "web" }), json!({ "container": "api" }), "only the container"),
            (json!({ "build": { "trigger": "t" } }), json!({}), "does not offer builds"),
            (json!({ "build": { "trigger": "t" } }), json!({ "builds": { "triggers": ["u"] } }), "not among"),
            (json!({ "build": {} }), json!({ "builds": { "triggers": ["u"] } }), "no `source`"),
            (json!({ "traffic": 10 }), json!({ "type": "cloud-run-job", "job": "j" }), "serves nothing"),
            (json!({ "health": { "path": "x" } }), json!({}), "one slash"),
            (json!({ "health": { "path": "//evil.dev/" } }), json!({}), "one slash"),
            (json!({ "health": { "path": "/ok", "status": 99 } }), json!({}), "between 100 and 599"),
            (json!({ "labels": { "Run.googleapis.com/x": "y" } }), json!({}), "labels cannot have"),
            (json!({}), json!({ "type": "pubsub" }), "of type `pubsub`"),
            (json!({}), json!({ "region": "r/../x" }), "characters"),
            (json!({ "wait-for-image": "soon" }), json!({}), "length of time"),
        ] {
            match plan(with.clone(), target) {
                Ok(_) => assert!(fault.is_empty(), "{with} was accepted"),
                Err(message) => assert!(!fault.is_empty() && message.contains(fault), "{with}: {message}"),
            }
        }
    }

    #[test]
    fn labels_name_the_commit_and_who_manages_it() {
        let plan = plan(json!({ "labels": { "pushed-tag": "Main" } }), json!({})).unwrap();
        let labels: Vec<(&str, &str)> = plan.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("commit-sha", "0123abc"), ("managed-by", "declic"), ("pushed-tag", "main")]);
    }
}
