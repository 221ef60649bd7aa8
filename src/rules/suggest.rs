//! "did you mean": the known word that a typing mistake stands closest to.

/// The closest of the candidates, if it is close enough to have been meant.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = word.to_lowercase().replace('_', "-");
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_lowercase().replace('_', "-");
            // What both begin with says nothing: `github.nope` is no more like `github.fork` than `nope` is like `fork`.
            let limit = (differing(&folded, &other).chars().count() / 3).clamp(1, 3);
            let distance = distance(&folded, &other);
            // `push` for `github.push`, `queue` for `queue-latest`: a whole part of the name, or its beginning.
            let part = folded.len() >= 3 && (other.split(['.', '/']).any(|part| part == folded) || other.starts_with(&folded));
            (distance <= limit || part).then_some((if part { distance.min(1) } else { distance }, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The word without the whole parts of a name, `github.` or `slack/`, that it begins with as the other does.
fn differing<'w>(word: &'w str, other: &str) -> &'w str {
    let same: usize = word
        .split_inclusive(['.', '/'])
        .zip(other.split_inclusive(['.', '/']))
        .take_while(|(one, two)| one == two)
        .map(|(part, _)| part.len())
        .sum();
    word.get(same..).filter(|rest| !rest.is_empty()).unwrap_or(word)
}

/// The advice as it is shown.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Insertions, deletions, replacements and swaps of neighbours. Long words are cut: nobody mistypes that far.
fn distance(left: &str, right: &str) -> usize {
    const LONGEST: usize = 64;
    let left: Vec<char> = left.chars().take(LONGEST).collect();
    let right: Vec<char> = right.chars().take(LONGEST).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, &one) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &other) in right.iter().enumerate() {
            let replaced = previous[column] + usize::from(one != other);
            let mut best = replaced.min(previous[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && left[row - 1] == other && right[column - 1] == one;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_their_word() {
        let events = ["github.push", "github.pull_request", "http.webhook"];
        assert_eq!(closest("push", events), Some("github.push"));
        assert_eq!(closest("github.pul_request", events), Some("github.pull_request"));
        assert_eq!(closest("brnaches", ["tags", "branches"]), Some("branches"));
        assert_eq!(closest("opend", ["opened", "reopened"]), Some("opened"));
        assert_eq!(closest("Branches", ["branches"]), Some("branches"));
        assert_eq!(closest("queue", ["skip", "queue-latest"]), Some("queue-latest"));
        assert_eq!(closest("xyz", ["branches", "tags"]), None);
        assert_eq!(closest("on", ["in", "id"]), Some("in"));
        assert_eq!(closest("github.nope", ["github.fork", "github.ping"]), None);
        assert_eq!(closest("github.frok", ["github.fork", "github.ping"]), Some("github.fork"));
        assert_eq!(closest("githb.fork", ["github.fork"]), Some("github.fork"));
        assert_eq!(closest("slack/pots", ["slack/post", "slack/respond"]), Some("slack/post"));
    }
}
