//! `require:`: what must hold at GitHub before the rules of a repository may deploy.

use serde::Deserialize;

use super::codeowners::{PLACES, owners_of};
use super::read::{Branch, Document, Reader, Unreadable, escaped, json};
use crate::settings::RepositorySettings;

/// Reviews that a branch asks for, by its protection or by a ruleset.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Reviews {
    /// Approving ones.
    count: u64,
    /// Of code owners?
    owners: bool,
}

#[derive(Deserialize)]
struct Protection {
    required_pull_request_reviews: Option<Asked>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    required_approving_review_count: u64,
    #[serde(default)]
    require_code_owner_reviews: bool,
}

#[derive(Deserialize)]
struct RulesetRule {
    #[serde(rename = "type")]
    kind: String,
    parameters: Option<RulesetParameters>,
}

#[derive(Deserialize)]
struct RulesetParameters {
    #[serde(default)]
    required_approving_review_count: u64,
    #[serde(default)]
    require_code_owner_review: bool,
}

/// What is not met, for people. `paths` are the rule files.
pub(super) async fn unmet(
    reader: &Reader<'_>,
    settings: &RepositorySettings,
    document: &Document,
    branch: &Branch,
    paths: &[String],
) -> Result<Option<String>, Unreadable> {
    let mut reviews = Reviews::default();
    if settings.protected_branch {
        reviews = asked(reader, document, branch).await?;
        if reviews.count == 0 {
            let why = format!("`protected-branch`: {} does not ask for an approving review of pull requests", branch.name);
            return Ok(Some(why));
        }
    }
    let Some(owner) = &settings.owners else { return Ok(None) };
    if settings.protected_branch && !reviews.owners {
        return Ok(Some(format!("`owners`: {} does not ask for the review of code owners", branch.name)));
    }
    let mut text = None;
    for place in PLACES {
        text = reader.text(&document.full_name, &branch.commit, place).await?;
        if text.is_some() {
            break;
        }
    }
    let Some(text) = text else { return Ok(Some("`owners`: there is no CODEOWNERS".to_owned())) };
    let is_owned = |path: &String| owners_of(&text, path).iter().any(|found| found.eq_ignore_ascii_case(owner));
    Ok(paths.iter().find(|path| !is_owned(path)).map(|path| format!("`owners`: CODEOWNERS does not give {path} to {owner}")))
}

async fn asked(reader: &Reader<'_>, document: &Document, branch: &Branch) -> Result<Reviews, Unreadable> {
    let name = escaped(&branch.name);
    let mut reviews = Reviews::default();
    let path = format!("/repos/{}/rules/branches/{name}?per_page=100", document.full_name);
    if let Some(answer) = reader.github.get_unless(&path, None, reader.deadline).await? {
        let rules: Vec<RulesetRule> = json(&answer)?;
        for parameters in rules.into_iter().filter(|rule| rule.kind == "pull_request").filter_map(|rule| rule.parameters) {
            reviews.count = reviews.count.max(parameters.required_approving_review_count);
            reviews.owners |= parameters.require_code_owner_review;
        }
    }
    if !branch.protected || reviews.count > 0 {
        return Ok(reviews);
    }
    let path = format!("/repos/{}/branches/{name}/protection", document.full_name);
    match reader.github.get_unless(&path, None, reader.deadline).await {
        Ok(Some(answer)) => {
            let protection: Protection = json(&answer)?;
            if let Some(asked) = protection.required_pull_request_reviews {
                reviews = Reviews { count: asked.required_approving_review_count, owners: asked.require_code_owner_reviews };
            }
        }
        Ok(None) => {}
        // Who may not see the protection cannot rely on it.
        Err(failure) if matches!(failure.why().code.as_str(), "not-found" | "forbidden" | "not-permitted") => {}
        Err(failure) => return Err(failure.into()),
    }
    Ok(reviews)
}
