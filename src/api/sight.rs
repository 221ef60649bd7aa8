//! Whoever does not see everything sees what is about repositories that GitHub shows them; lists are filled up from further back.

use super::problem::Failure;
use super::state::State;
use crate::access::{Role, Sight, Viewer};
use crate::journal::record::{About, Listing};

/// Items that are looked at for one page, at most; the next page begins behind them.
const LOOKED_AT: usize = 2000;

impl State {
    /// May they see what is about this repository? What is about none is for operators.
    pub(crate) async fn sees(&self, viewer: &Viewer, repository: Option<&str>) -> bool {
        match (&viewer.sight, repository) {
            (Sight::Everything, _) => true,
            (Sight::Repositories(_), None) => viewer.role == Role::Operator,
            (Sight::Repositories(None), Some(_)) => false,
            (Sight::Repositories(Some(login)), Some(repository)) => match &self.parts.visibility {
                Some(visibility) => visibility.permits(login, repository).await,
                None => false,
            },
        }
    }

    /// May they see a delivery? One that was not decoded yet may be about any repository.
    pub(crate) async fn shows(&self, viewer: &Viewer, about: &About) -> bool {
        let unknown = about.event.is_none() && about.repository.is_none();
        viewer.sees_all() || (!unknown && self.sees(viewer, about.repository.as_deref()).await)
    }

    /// May they see what came of a delivery?
    pub(crate) async fn shows_of(&self, viewer: &Viewer, delivery: &str) -> Result<bool, Failure> {
        if viewer.sees_all() {
            return Ok(true);
        }
        Ok(match self.journal().delivery_record(delivery).await? {
            Some((record, _)) => self.shows(viewer, &record.about).await,
            None => false,
        })
    }
}

/// A page that is filled from several reads.
pub(super) struct Page<T> {
    wanted: usize,
    looked_at: usize,
    seen: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    /// An empty one. `listing.limit` is one more than wanted.
    pub fn of(listing: &Listing) -> Self {
        Self { wanted: listing.limit.saturating_sub(1), looked_at: 0, seen: Vec::new(), next: None }
    }

    /// Takes from a read what is shown. Answers before which id to read on; none if the page is done.
    pub fn add(&mut self, items: Vec<T>, shown: &[bool], id: impl Fn(&T) -> &str) -> Option<String> {
        let more = items.len() > self.wanted;
        let count = items.len().min(self.wanted);
        let mut last = None;
        for (number, (item, shown)) in (1..=count).zip(items.into_iter().zip(shown)) {
            self.looked_at += 1;
            let place = id(&item).to_owned();
            if *shown {
                self.seen.push(item);
            }
            if self.seen.len() == self.wanted {
                self.next = (more || number < count).then_some(place);
                return None;
            }
            last = Some(place);
        }
        if !more {
            return None;
        }
        if self.looked_at >= LOOKED_AT {
            self.next = last;
            return None;
        }
        last
    }

    /// What is seen, and where the next page begins.
    pub fn done(self) -> (Vec<T>, Option<String>) {
        (self.seen, self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every fourth of so many numbers, in pages of two, as the store would give them.
    fn all(count: usize) -> Vec<Vec<String>> {
        let store: Vec<String> = (0..count).map(|number| format!("{number:05}")).collect();
        let mut pages = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut page = Page::of(&Listing { limit: 3, ..Listing::default() });
            let mut before = cursor.take();
            loop {
                let items: Vec<String> =
                    store.iter().filter(|id| before.as_ref().is_none_or(|before| *id > before)).take(3).cloned().collect();
                let shown: Vec<bool> = items.iter().map(|id| id.parse::<usize>().unwrap() % 4 == 0).collect();
                match page.add(items, &shown, |id| id) {
                    Some(place) => before = Some(place),
                    None => break,
                }
            }
            let (seen, next) = page.done();
            pages.push(seen);
            match next {
                Some(next) => cursor = Some(next),
                None => return pages,
            }
        }
    }

    #[test]
    fn pages_are_filled_with_what_is_seen_and_nothing_is_lost_or_doubled() {
        for count in [0, 1, 2, 3, 8, 9, 17] {
            let pages = all(count);
            let expected: Vec<String> = (0..count).step_by(4).map(|number| format!("{number:05}")).collect();
            assert_eq!(pages.concat(), expected, "{count}");
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == 2), "{pages:?}");
        }
    }

    #[test]
    fn a_page_ends_where_too_much_was_looked_at() {
        let mut page = Page::of(&Listing { limit: LOOKED_AT + 1, ..Listing::default() });
        let items: Vec<String> = (0..=LOOKED_AT).map(|number| number.to_string()).collect();
        assert_eq!(page.add(items, &vec![false; LOOKED_AT + 1], |id| id), None);
        assert_eq!(page.done(), (Vec::new(), Some((LOOKED_AT - 1).to_string())));
    }
}
