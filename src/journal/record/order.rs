//! Which of two deliveries about commits is the newer one. Pure: from what the journaled pushes say, and what GitHub said when asked.

use std::collections::{HashSet, VecDeque};

use serde::Serialize;

/// What a delivery says about commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `owner/name`
    pub repository: String,
    /// `refs/heads/main`, `refs/pull/7/head`
    pub reference: String,
    /// Where the reference was before; none if it did not exist, or the delivery does not say.
    pub before: Option<String>,
    /// The commit it is about.
    pub after: String,
    /// It left the line of commits it was on.
    pub forced: bool,
}

/// How one delivery stands to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// It comes after the other.
    Newer,
    /// The other comes after it.
    Older,
    /// The same commit.
    Same,
    /// Neither comes before the other, by all that is known.
    Unknown,
}

impl Order {
    /// Seen from the other.
    pub const fn reversed(self) -> Self {
        match self {
            Self::Newer => Self::Older,
            Self::Older => Self::Newer,
            same => same,
        }
    }

    /// The word for it in the store.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Newer => "newer",
            Self::Older => "older",
            Self::Same => "same",
            Self::Unknown => "unknown",
        }
    }

    /// The order of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Newer, Self::Older, Self::Same, Self::Unknown].into_iter().find(|order| order.word() == word)
    }
}

/// Is `line` newer than `other`, by the pushes of their reference? A forced push counts as newer than the line it left.
pub fn by_pushes(line: &Line, other: &Line, pushes: &[Line]) -> Order {
    if line.repository != other.repository || line.reference != other.reference {
        return Order::Unknown;
    }
    if line.after == other.after {
        return Order::Same;
    }
    match (leads(other, line, pushes), leads(line, other, pushes)) {
        (true, false) => Order::Newer,
        (false, true) => Order::Older,
        // Pushed back to where it had been: whoever was forced has the last word.
        (true, true) if line.forced != other.forced => {
            if line.forced {
                Order::Newer
            } else {
                Order::Older
            }
        }
        _ => Order::Unknown,
    }
}

/// Do pushes lead from where `from` ended to where `to` ended?
fn leads(from: &Line, to: &Line, pushes: &[Line]) -> bool {
    let mut seen = HashSet::new();
    let mut next: VecDeque<&str> = to.before.as_deref().into_iter().collect();
    // A delivery that does not say where it came from (a pull request, a workflow) may be of a commit that a push tells of.
    if to.before.is_none() {
        next.extend(before(&to.after, pushes));
    }
    while let Some(commit) = next.pop_front() {
        if commit == from.after {
            return true;
        }
        if seen.insert(commit) {
            next.extend(before(commit, pushes));
        }
    }
    false
}

fn before<'p>(commit: &str, pushes: &'p [Line]) -> impl Iterator<Item = &'p str> {
    pushes.iter().filter(move |push| push.after == commit).filter_map(|push| push.before.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(text: &str) -> Line {
        // `a>b`, forced with `!` at the end, `>b` for a new branch.
        let forced = text.ends_with('!');
        let (before, after) = text.trim_end_matches('!').split_once('>').unwrap();
        let before = Some(before.to_owned()).filter(|before| !before.is_empty());
        Line { repository: "o/r".to_owned(), reference: "refs/heads/main".to_owned(), before, after: after.to_owned(), forced }
    }

    #[test]
    fn descendants_are_newer_a_forced_push_wins_and_gaps_are_unknown() {
        let cases = [
            ("a>b", "b>c", "", Order::Older),
            ("b>c", "a>b", "", Order::Newer),
            ("a>b", "a>b", "", Order::Same),
            ("a>b", "c>d", "b>c", Order::Older),
            ("a>b", "c>d", "", Order::Unknown),
            // A new line wins, and what follows it wins over the old line.
            ("b>x!", "a>b", "", Order::Newer),
            ("x>y", "a>b", "b>x!", Order::Newer),
            ("a>b", "x>y", "b>x!", Order::Older),
            // Forced back to the parent.
            ("b>a!", "a>b", "", Order::Newer),
            ("a>b", "b>a!", "", Order::Older),
            (">a", "a>b", "", Order::Older),
        ];
        for (line, other, between, expected) in cases {
            let (line, other) = (push(line), push(other));
            let mut pushes: Vec<Line> = between.split_whitespace().map(push).collect();
            pushes.extend([line.clone(), other.clone()]);
            assert_eq!(by_pushes(&line, &other, &pushes), expected, "{line:?} {other:?} {between}");
        }
    }

    #[test]
    fn branches_say_nothing_of_each_other() {
        let (line, other) = (push("a>b"), Line { reference: "refs/heads/other".to_owned(), ..push("b>c") });
        assert_eq!(by_pushes(&line, &other, &[line.clone(), other.clone()]), Order::Unknown);
    }
}
