//! An entry of `targets:` of type `cloud-run` or `cloud-run-job`.

use serde::{Deserialize, Serialize};

use crate::action::{Call, Failure, Why};
use crate::cloud_run::traffic::{self, Share};
use crate::given::{self, Given, invalid};

/// What runs at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Runs {
    #[default]
    Service,
    Job,
}

/// What `build:` may start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Builds {
    pub(crate) triggers: Vec<String>,
    pub(crate) source: Option<String>,
    pub(crate) service_account: Option<String>,
    pub(crate) region: String,
}

/// The service or job and what may be done to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    #[serde(default)]
    pub(crate) runs: Runs,
    pub(crate) project: String,
    pub(crate) region: String,
    /// Name of the service, or of the job.
    pub(crate) service: String,
    pub(crate) images: Vec<String>,
    pub(crate) deploy_as: Option<String>,
    pub(crate) tags_only: bool,
    pub(crate) max_tags: Option<i64>,
    pub(crate) container: Option<String>,
    /// Health checks carry an ID token.
    #[serde(default)]
    pub(crate) health_id_token: bool,
    /// A tag too many takes the place of the oldest preview.
    #[serde(default)]
    pub(crate) remove_oldest: bool,
    /// Variables that may be set.
    #[serde(default)]
    pub(crate) env: Vec<String>,
    /// Secrets that they may refer to.
    #[serde(default)]
    pub(crate) secrets: Vec<String>,
    /// What a run of the job may override.
    #[serde(default)]
    pub(crate) overrides: Vec<String>,
    #[serde(default)]
    pub(crate) builds: Option<Builds>,
}

impl Target {
    /// A service.
    pub(crate) fn read(call: &Call) -> Result<Self, Why> {
        Self::of(&given::target(call, "cloud-run")?, Runs::Service)
    }

    /// A job.
    pub(crate) fn read_job(call: &Call) -> Result<Self, Why> {
        Self::of(&given::target(call, "cloud-run-job")?, Runs::Job)
    }

    /// Whichever it is.
    pub(crate) fn read_any(call: &Call) -> Result<Self, Why> {
        let kind = call.target.as_ref().and_then(|target| target.get("type")).and_then(serde_json::Value::as_str);
        if kind == Some("cloud-run-job") { Self::read_job(call) } else { Self::read(call) }
    }

    fn of(given: &Given<'_>, runs: Runs) -> Result<Self, Why> {
        let name = |field: &str| -> Result<String, Why> {
            let value = given.text(field)?;
            // These become segments of addresses.
            let fits = value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte));
            if fits {
                Ok(value.to_owned())
            } else {
                Err(invalid(format!("`target.{field}` holds characters that no {field} has")))
            }
        };
        let deploy_as = given.optional_text("deploy-as")?.map(account).transpose()?;
        let texts = |given: &Given<'_>, field: &str| -> Result<Vec<String>, Why> {
            Ok(given.optional_texts(field)?.unwrap_or_default().into_iter().map(str::to_owned).collect())
        };
        let region = name("region")?;
        let builds = match given.inner("builds")? {
            None => None,
            Some(builds) => Some(Builds {
                triggers: texts(&builds, "triggers")?,
                source: builds.optional_text("source")?.map(str::to_owned),
                service_account: builds.optional_text("service-account")?.map(account).transpose()?,
                region: builds.optional_text("region")?.map_or_else(|| region.clone(), str::to_owned),
            }),
        };
        Ok(Self {
            runs,
            project: name("project")?,
            region,
            service: name(if runs == Runs::Job { "job" } else { "service" })?,
            images: texts(given, "images")?,
            deploy_as,
            tags_only: given.flag("tags-only")?,
            max_tags: given.int_within("max-tags", 1, 1000)?,
            container: given.optional_text("container")?.map(str::to_owned),
            health_id_token: given.one_of("health-auth", &["none", "id-token"])? == Some("id-token"),
            remove_oldest: given.one_of("when-full", &["refuse", "remove-oldest"])? == Some("remove-oldest"),
            env: texts(given, "env")?,
            secrets: texts(given, "secrets")?,
            overrides: texts(given, "overrides")?,
            builds,
        })
    }

    /// Is there a tag too many if this one is added?
    pub(crate) fn is_full(&self, shares: &[Share], tag: &str) -> bool {
        let tags = traffic::other_tags(shares, tag);
        self.max_tags.is_some_and(|most| i64::try_from(tags).unwrap_or(i64::MAX) >= most)
    }

    /// Why there is no room for another tag.
    pub(crate) fn full(&self, shares: &[Share], tag: &str) -> Failure {
        let (tags, most) = (traffic::other_tags(shares, tag), self.max_tags.unwrap_or_default());
        let message =
            format!("The service has {tags} tags and the target allows {most}; remove the tags of previews that are done");
        Failure::last("too-many-tags", message)
    }

    /// The full name of the service or job.
    pub(crate) fn name(&self) -> String {
        let kind = if self.runs == Runs::Job { "jobs" } else { "services" };
        format!("projects/{}/locations/{}/{kind}/{}", self.project, self.region, self.service)
    }
}

/// A tag and the name of its service together make one label of a host name.
const TAG_AND_SERVICE: usize = 46;

/// What Cloud Run takes as a tag of this service.
pub(crate) fn check_tag(tag: &str, service: &str) -> Result<(), Why> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = tag.bytes().all(letters) && tag.starts_with(|first: char| first.is_ascii_lowercase()) && !tag.ends_with('-');
    if !fits {
        return Err(invalid(
            "`with.tag` has lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen",
        ));
    }
    if tag.len() + service.len() > TAG_AND_SERVICE {
        return Err(invalid(format!(
            "`with.tag` and the name of the service must not be longer than {TAG_AND_SERVICE} characters together"
        )));
    }
    Ok(())
}

/// The short name of a revision: it becomes a segment of an address.
pub(crate) fn revision_name(name: &str) -> Result<String, Why> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=63).contains(&name.len()) && name.bytes().all(letters);
    if fits { Ok(name.to_owned()) } else { Err(invalid("a revision is named by its short name, such as `web-00042-abc`")) }
}

/// The address of a service account: it becomes a segment of an address.
pub(crate) fn account(email: &str) -> Result<String, Why> {
    let fits = email.contains('@') && email.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte));
    if fits { Ok(email.to_owned()) } else { Err(invalid("a service account is named by its e-mail address")) }
}
