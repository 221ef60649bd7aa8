//! Who gets which part of the traffic. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cloud_run::{short, text};

const LATEST: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
const REVISION: &str = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION";

/// One entry of a service's `traffic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Short name; none means whichever revision became ready last.
    pub(crate) revision: Option<String>,
    pub(crate) percent: i64,
    pub(crate) tag: Option<String>,
}

impl Share {
    pub(crate) fn is(&self, revision: &str) -> bool {
        self.revision.as_deref() == Some(revision)
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.tag.as_deref() == Some(tag)
    }

    /// Does it route anything anywhere?
    fn counts(&self) -> bool {
        self.percent > 0 || self.tag.is_some()
    }
}

/// The allocation of a service as it is written; an empty one means everything to the latest.
pub(crate) fn read(service: &Value) -> Vec<Share> {
    let entries = service.get("traffic").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if entries.is_empty() {
        return vec![Share { revision: None, percent: 100, tag: None }];
    }
    let share = |entry: &Value| Share {
        revision: Some(short(text(entry, "revision")).to_owned())
            .filter(|name| !name.is_empty() && text(entry, "type") != LATEST),
        percent: entry.get("percent").and_then(Value::as_i64).unwrap_or(0),
        tag: Some(text(entry, "tag").to_owned()).filter(|tag| !tag.is_empty()),
    };
    entries.iter().map(share).collect()
}

/// The same with "the latest" replaced by the revision that is it now, so that a new revision changes nothing.
/// A service that never had a ready revision has nothing to hold on to.
pub(crate) fn pinned(service: &Value) -> Vec<Share> {
    let latest = Some(short(text(service, "latestReadyRevision")).to_owned()).filter(|name| !name.is_empty());
    let pin = |share: Share| if share.revision.is_none() { Share { revision: latest.clone(), ..share } } else { share };
    read(service).into_iter().map(pin).collect()
}

/// For the API.
pub(crate) fn write(shares: &[Share]) -> Value {
    let entry = |share: &Share| {
        let mut entry = Map::new();
        match &share.revision {
            Some(revision) => {
                entry.insert("type".into(), REVISION.into());
                entry.insert("revision".into(), revision.clone().into());
            }
            None => {
                entry.insert("type".into(), LATEST.into());
            }
        }
        if share.percent > 0 {
            entry.insert("percent".into(), json!(share.percent));
        }
        if let Some(tag) = &share.tag {
            entry.insert("tag".into(), tag.clone().into());
        }
        Value::Object(entry)
    };
    shares.iter().map(entry).collect()
}

/// Adds `revision` with a tag and no traffic. The tag is taken from whoever has it.
pub(crate) fn with_candidate(shares: &[Share], revision: &str, tag: &str) -> Vec<Share> {
    let mut result = without_tag(shares, tag);
    result.push(Share { revision: Some(revision.to_owned()), percent: 0, tag: Some(tag.to_owned()) });
    result
}

/// The allocation without a tag; a share that was there only for it goes.
pub(crate) fn without_tag(shares: &[Share], tag: &str) -> Vec<Share> {
    let strip = |share: &Share| if share.has_tag(tag) { Share { tag: None, ..share.clone() } } else { share.clone() };
    shares.iter().map(strip).filter(Share::counts).collect()
}

/// Does any share have this tag?
pub(crate) fn has_tag(shares: &[Share], tag: &str) -> bool {
    shares.iter().any(|share| share.has_tag(tag))
}

/// Tags that route no traffic, with their revisions: the previews among them can go.
pub(crate) fn idle_tags(shares: &[Share]) -> impl Iterator<Item = (&str, &str)> {
    let idle = shares.iter().filter(|share| share.percent == 0);
    idle.filter_map(|share| Some((share.tag.as_deref()?, share.revision.as_deref()?)))
}

/// How many tags of others the service has.
pub(crate) fn other_tags(shares: &[Share], tag: &str) -> usize {
    shares.iter().filter(|share| share.tag.as_deref().is_some_and(|other| other != tag)).count()
}

/// Is the revision there with this tag?
pub(crate) fn has_candidate(shares: &[Share], revision: &str, tag: &str) -> bool {
    shares.iter().any(|share| share.is(revision) && share.has_tag(tag))
}

/// Percent that a revision has in all its shares.
pub(crate) fn percent_of(shares: &[Share], revision: &str) -> i64 {
    shares.iter().filter(|share| share.is(revision)).map(|share| share.percent).sum()
}

/// Gives `revision` this percentage; the others share the rest as they did before. Its tag goes unless it is to be kept,
/// all other tags stay.
pub(crate) fn shifted(shares: &[Share], revision: &str, percent: i64, tag: &str, keep_tag: bool) -> Vec<Share> {
    let mut others: Vec<Share> = shares.iter().filter(|share| !share.is(revision)).cloned().collect();
    let total: i64 = others.iter().map(|share| share.percent).sum();
    let rest = if total > 0 { 100 - percent } else { 0 };
    scale(&mut others, total, rest);
    let mut result =
        vec![Share { revision: Some(revision.to_owned()), percent: 100 - rest, tag: keep_tag.then(|| tag.to_owned()) }];
    // Further tags of the same revision are somebody else's.
    let kept = shares.iter().filter(|share| share.is(revision) && share.tag.is_some() && !share.has_tag(tag));
    result.extend(kept.map(|share| Share { percent: 0, ..share.clone() }));
    result.extend(others);
    result.retain(Share::counts);
    result
}

/// Largest remainders, so that the sum is exact.
fn scale(shares: &mut [Share], total: i64, rest: i64) {
    if total <= 0 {
        return;
    }
    let mut remainders: Vec<(i64, usize)> = Vec::new();
    let mut given = 0;
    for (index, share) in shares.iter_mut().enumerate() {
        let exact = share.percent * rest;
        share.percent = exact / total;
        given += share.percent;
        remainders.push((exact % total, index));
    }
    remainders.sort_by_key(|(remainder, index)| (-remainder, *index));
    for (_, index) in remainders {
        if given >= rest {
            break;
        }
        if let Some(share) = shares.get_mut(index) {
            share.percent += 1;
            given += 1;
        }
    }
}

/// What a failed deploy leaves: `before` if it had got traffic already, else what is there now without it. A tag it had taken
/// goes back.
pub(crate) fn restored(now: &[Share], before: &[Share], revision: &str, tag: &str) -> Vec<Share> {
    if percent_of(now, revision) > 0 {
        return before.to_vec();
    }
    let mut result: Vec<Share> = now.iter().filter(|share| !share.is(revision)).cloned().collect();
    if !result.iter().any(|share| share.has_tag(tag)) {
        result.extend(before.iter().filter(|share| share.has_tag(tag)).map(|share| Share { percent: 0, ..share.clone() }));
    }
    if result.iter().map(|share| share.percent).sum::<i64>() == 100 { result } else { before.to_vec() }
}

/// Revisions and what they get, without tags: what two allocations have in common if nobody has moved traffic.
pub(crate) fn weights(shares: &[Share]) -> Vec<(Option<String>, i64)> {
    let mut weights = std::collections::BTreeMap::new();
    for share in shares.iter().filter(|share| share.percent > 0) {
        *weights.entry(share.revision.clone()).or_insert(0) += share.percent;
    }
    weights.into_iter().collect()
}

/// The revision that gets most.
pub(crate) fn main_revision(shares: &[Share]) -> Option<String> {
    let weights = weights(shares);
    weights.into_iter().max_by_key(|(_, percent)| *percent).and_then(|(revision, _)| revision)
}

/// Address of a tag, once the service has it, for this revision.
pub(crate) fn tag_address<'a>(service: &'a Value, revision: &str, tag: &str) -> Option<&'a str> {
    let statuses = service.get("trafficStatuses").and_then(Value::as_array)?;
    let status = statuses.iter().find(|status| text(status, "tag") == tag && short(text(status, "revision")) == revision)?;
    Some(text(status, "uri")).filter(|address| !address.is_empty())
}

/// Percent that the service says it really routes to a revision.
pub(crate) fn routed(service: &Value, revision: &str) -> i64 {
    let statuses = service.get("trafficStatuses").and_then(Value::as_array);
    let of = |status: &&Value| short(text(status, "revision")) == revision;
    statuses.into_iter().flatten().filter(of).filter_map(|status| status.get("percent").and_then(Value::as_i64)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(text: &str) -> Vec<Share> {
        // `revision=percent#tag`, `*` for the latest.
        let share = |part: &str| {
            let (revision, rest) = part.split_once('=').unwrap();
            let (percent, tag) = rest.split_once('#').map_or((rest, None), |(percent, tag)| (percent, Some(tag.to_owned())));
            Share { revision: Some(revision.to_owned()).filter(|name| name != "*"), percent: percent.parse().unwrap(), tag }
        };
        text.split_whitespace().map(share).collect()
    }

    #[test]
    fn the_latest_is_pinned_to_the_revision_that_serves() {
        let service = json!({ "latestReadyRevision": "projects/p/locations/l/services/s/revisions/s-1" });
        assert_eq!(pinned(&service), shares("s-1=100"));
        let service = json!({
            "latestReadyRevision": "x/s-2",
            "traffic": [{ "type": LATEST, "percent": 90 }, { "type": REVISION, "revision": "s-1", "percent": 10, "tag": "old" }]
        });
        assert_eq!(pinned(&service), shares("s-2=90 s-1=10#old"));
        assert_eq!(pinned(&json!({})), shares("*=100"));
    }

    #[test]
    fn a_candidate_takes_its_tag_from_whoever_has_it() {
        assert_eq!(with_candidate(&shares("a=100 b=0#pr-1"), "c", "pr-1"), shares("a=100 c=0#pr-1"));
        assert_eq!(with_candidate(&shares("a=100#pr-1"), "c", "pr-1"), shares("a=100 c=0#pr-1"));
    }

    #[test]
    fn shares_always_sum_to_a_hundred() {
        for (before, percent, after) in [
            ("a=100 n=0#t", 100, "n=100"),
            ("a=100#keep n=0#t", 100, "n=100 a=0#keep"),
            ("a=50 b=50 n=0#t", 10, "n=10 a=45 b=45"),
            ("a=33 b=33 c=34 n=0#t", 50, "n=50 a=17 b=16 c=17"),
            ("a=1 b=99 n=0#t", 99, "n=99 b=1"),
            ("n=0#t", 20, "n=100"),
        ] {
            let result = shifted(&shares(before), "n", percent, "t", false);
            assert_eq!(result, shares(after), "{before} {percent}");
            assert_eq!(result.iter().map(|share| share.percent).sum::<i64>(), 100, "{before}");
        }
        assert_eq!(shifted(&shares("a=100 n=0#t"), "n", 25, "t", true), shares("n=25#t a=75"));
    }

    #[test]
    fn a_failed_deploy_leaves_what_was_there() {
        let before = shares("a=100 b=0#pr-1");
        assert_eq!(restored(&shares("a=100 n=0#pr-1"), &before, "n", "pr-1"), before);
        assert_eq!(restored(&shares("n=100"), &before, "n", "t"), before);
        // Somebody else moved the traffic meanwhile: only ours goes.
        assert_eq!(restored(&shares("c=100 n=0#t"), &before, "n", "t"), shares("c=100"));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let all = shares("*=40 a=60#t b=0#u");
        assert_eq!(read(&json!({ "traffic": write(&all) })), all);
    }
}
