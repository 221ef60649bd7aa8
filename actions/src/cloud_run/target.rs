//! An entry of `targets:` of type `cloud-run`.

use serde::{Deserialize, Serialize};

use crate::action::{Call, Why};
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
        })
    }

    /// The service's full name.
    pub(crate) fn name(&self) -> String {
        format!("projects/{}/locations/{}/services/{}", self.project, self.region, self.service)
    }
}

/// The address of a service account: it becomes a segment of an address.
pub(crate) fn account(email: &str) -> Result<String, Why> {
    let fits = email.contains('@') && email.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._@".contains(&byte));
    if fits { Ok(email.to_owned()) } else { Err(invalid("a service account is named by its e-mail address")) }
}
