//! A limit on tags: what has to go for one more.

use std::time::Instant;

use serde_json::Value;

use crate::action::Failure;
use crate::cloud_run::traffic::{self, Share};
use crate::cloud_run::{Api, PREVIEW, PURPOSE, Target, short, text};

/// The tag that has to go before `tag` can be added, if there is one: of previews that get no traffic, that of the oldest revision.
/// Fails if the target is full and nothing may go.
pub(crate) async fn make_room(
    api: &Api<'_>,
    target: &Target,
    shares: &[Share],
    tag: &str,
    until: Instant,
) -> Result<Option<String>, Failure> {
    if !target.is_full(shares, tag) {
        return Ok(None);
    }
    let full = || target.full(shares, tag);
    // One in, one out: a target that is further beyond its limit was filled by somebody else.
    let one_less = traffic::other_tags(shares, tag).saturating_sub(1);
    let fits = target.max_tags.is_some_and(|most| i64::try_from(one_less).is_ok_and(|tags| tags < most));
    if !target.remove_oldest || !fits {
        return Err(full());
    }
    let newest_first = api.newest_revisions(until).await?;
    oldest_preview(&newest_first, shares, tag).map(|tag| Some(tag.to_owned())).ok_or_else(full)
}

fn oldest_preview<'s>(newest_first: &[Value], shares: &'s [Share], tag: &str) -> Option<&'s str> {
    let is_preview =
        |revision: &Value| revision.get("labels").and_then(|labels| labels.get(PURPOSE)).and_then(Value::as_str) == Some(PREVIEW);
    let age = |name: &str| newest_first.iter().position(|revision| is_preview(revision) && short(text(revision, "name")) == name);
    let others = traffic::idle_tags(shares).filter(|(other, _)| *other != tag);
    others.filter_map(|(other, revision)| Some((age(revision)?, other))).max().map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_oldest_preview_without_traffic_goes() {
        let share = |revision: &str, percent, tag: &str| Share {
            revision: Some(revision.into()),
            percent,
            tag: Some(tag).filter(|tag| !tag.is_empty()).map(str::to_owned),
        };
        let revision = |name: &str, purpose: &str| json!({ "name": format!("x/{name}"), "labels": { PURPOSE: purpose } });
        let revisions = [
            revision("e", PREVIEW),
            revision("d", PREVIEW),
            revision("c", "release"),
            revision("b", PREVIEW),
            revision("a", PREVIEW),
        ];
        let shares =
            [share("c", 90, ""), share("a", 10, "old"), share("b", 0, "pr-1"), share("d", 0, "pr-2"), share("c", 0, "stable")];
        assert_eq!(oldest_preview(&revisions, &shares, "pr-3"), Some("pr-1"));
        assert_eq!(oldest_preview(&revisions, &shares, "pr-1"), Some("pr-2"));
        assert_eq!(oldest_preview(&revisions, &shares[..2], "pr-3"), None);
    }
}
