//! Places that nobody has all of: whoever sends most finds the others served beside it. Pure.

use std::collections::BTreeMap;

/// Of what the others leave, one part in so many is left free by each share: whoever comes next finds a place.
const LEFT_FREE: usize = 4;

/// The places of one process, and how many each share has of them. A share is a repository, or a source.
#[derive(Debug, Clone)]
pub struct Places {
    all: usize,
    taken: usize,
    shares: BTreeMap<String, usize>,
}

impl Places {
    /// So many, all free.
    pub fn new(all: usize) -> Self {
        Self { all, taken: 0, shares: BTreeMap::new() }
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.all.saturating_sub(self.taken)
    }

    /// How many a share has.
    pub fn taken_by(&self, share: &str) -> usize {
        self.shares.get(share).copied().unwrap_or(0)
    }

    /// How many more a share may have while nobody else takes any: three of four of what the others leave, and never the last one but
    /// for its first.
    pub fn left(&self, share: &str) -> usize {
        let has = self.taken_by(share);
        let open = self.all.saturating_sub(self.taken - has);
        let most = open.saturating_sub((open / LEFT_FREE).max(1)).max(1).min(open);
        most.saturating_sub(has)
    }

    /// Takes one, whatever there is.
    pub fn take(&mut self, share: &str) {
        self.taken += 1;
        match self.shares.get_mut(share) {
            Some(count) => *count += 1,
            None => drop(self.shares.insert(share.to_owned(), 1)),
        }
    }

    /// Gives one back.
    pub fn give_back(&mut self, share: &str) {
        let Some(count) = self.shares.get_mut(share) else { return };
        self.taken -= 1;
        *count -= 1;
        if *count == 0 {
            self.shares.remove(share);
        }
    }
}

/// How much a worker has room for.
#[derive(Debug, Clone)]
pub struct Room {
    /// At most so many at once.
    pub most: usize,
    /// Who has the places of this process; without them, whoever's turn it is.
    pub places: Option<Places>,
}

/// For whomever.
impl From<usize> for Room {
    fn from(most: usize) -> Self {
        Self { most, places: None }
    }
}

impl Room {
    /// How many of a share there is room for.
    pub fn left(&self, share: &str) -> usize {
        self.places.as_ref().map_or(self.most, |places| places.left(share).min(self.most))
    }

    /// How many of a share are in hand here.
    pub fn in_hand(&self, share: &str) -> usize {
        self.places.as_ref().map_or(0, |places| places.taken_by(share))
    }

    /// Of these, which are in the order of their turns, those that there is room for: each with its share.
    pub fn choose<T>(&self, wanted: impl IntoIterator<Item = (String, T)>) -> impl Iterator<Item = T> {
        let mut places = self.places.clone();
        let has_room = move |(share, one): (String, T)| {
            if let Some(places) = &mut places {
                if places.left(&share) == 0 {
                    return None;
                }
                places.take(&share);
            }
            Some(one)
        };
        wanted.into_iter().filter_map(has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(all: usize, shares: &[&str]) -> Places {
        let mut places = Places::new(all);
        for share in shares {
            while places.left(share) > 0 {
                places.take(share);
            }
        }
        places
    }

    #[test]
    fn whoever_comes_later_finds_a_place_however_much_the_others_want() {
        for all in 2..200 {
            let mut places = filled(all, &["noisy"]);
            assert!(places.free() >= 1 && places.left("quiet") >= 1, "{all}: {places:?}");
            assert!(places.taken_by("noisy") * LEFT_FREE <= all * 3 + LEFT_FREE, "{all}: {places:?}");
            places.take("quiet");
            places.give_back("quiet");
            assert_eq!(places.taken_by("quiet"), 0);
        }
        let noisy: Vec<String> = (0..4).map(|number| format!("noisy-{number}")).collect();
        let places = filled(384, &noisy.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(places.left("quiet") > 0, "{places:?}");
    }

    #[test]
    fn one_place_is_for_whoever_has_its_turn() {
        let mut places = Places::new(1);
        assert_eq!(places.left("a"), 1);
        places.take("a");
        assert_eq!((places.free(), places.left("a"), places.left("b")), (0, 0, 0));
        places.give_back("a");
        places.give_back("a");
        assert_eq!(places.left("b"), 1);
    }

    #[test]
    fn what_there_is_no_room_for_is_passed_over() {
        let mut room = Room { most: 10, places: Some(Places::new(4)) };
        let wanted = |names: &[&str]| names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), at)).collect::<Vec<_>>();
        let chosen: Vec<usize> = room.choose(wanted(&["a", "a", "a", "a", "a", "b"])).collect();
        assert_eq!(chosen, [0, 1, 2, 5]);
        room.places = None;
        assert_eq!(room.choose(wanted(&["a"; 6])).count(), 6);
    }
}
