//! An entry of `targets:` of type `cloud-run`.

use serde::{Deserialize, Serialize};

use crate::action::{Call, Failure, Why};
use crate::cloud_run::traffic::{self, Share};
use crate::given::{self, invalid};

/// The service and what may be done to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) project: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) images: Vec<String>,
    pub(crate) deploy_as: Option<String>,
    pub(crate) tags_only: bool,
    pub(crate) max_tags: Option<i64>,
    pub(crate) container: Option<String>,
    /// Health checks carry an ID token.
    #[serde(default)]
    pub(crate) health_id_token: bool,
}

impl Target {
    pub(crate) fn read(call: &Call) -> Result<Self, Why> {
        let given = given::target(call, "cloud-run")?;
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
        Ok(Self {
            project: name("project")?,
            region: name("region")?,
            service: name("service")?,
            images: given.optional_texts("images")?.unwrap_or_default().into_iter().map(str::to_owned).collect(),
            deploy_as,
            tags_only: given.flag("tags-only")?,
            max_tags: given.int_within("max-tags", 1, 1000)?,
            container: given.optional_text("container")?.map(str::to_owned),
            health_id_token: given.one_of("health-auth", &["none", "id-token"])? == Some("id-token"),
        })
    }

    /// May the service have one more tag?
    pub(crate) fn room_for(&self, shares: &[Share], tag: &str) -> Result<(), Failure> {
        let tags = traffic::other_tags(shares, tag);
        match self.max_tags {
            Some(most) if i64::try_from(tags).unwrap_or(i64::MAX) >= most => Err(Failure::last(
                "too-many-tags",
                format!("The service has {tags} tags and the target allows {most}; remove the tags of previews that are done"),
            )),
            _ => Ok(()),
        }
    }

    /// The service's full name.
    pub(crate) fn name(&self) -> String {
        format!("projects/{}/locations/{}/services/{}", self.project, self.region, self.service)
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
