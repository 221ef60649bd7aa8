//! The places of an engine: what is in hand has one until it is done, and no repository has all of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::record::{Places, Room};

/// Places for work of one kind. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Seats(Arc<Mutex<Places>>);

/// One place. Dropped, it is free again.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    share: String,
}

impl Seats {
    /// So many, all free.
    pub fn new(all: usize) -> Self {
        Self(Arc::new(Mutex::new(Places::new(all))))
    }

    /// A place, if the share may have one more.
    pub fn offer(&self, share: &str) -> Option<Seat> {
        let mut places = self.lock();
        (places.left(share) > 0).then(|| {
            places.take(share);
            Seat { seats: self.clone(), share: share.to_owned() }
        })
    }

    /// A place for what was claimed already.
    pub fn seat(&self, share: &str) -> Seat {
        self.lock().take(share);
        Seat { seats: self.clone(), share: share.to_owned() }
    }

    /// What there is room for, at most so many at once.
    pub fn room(&self, most: usize) -> Room {
        let places = self.lock().clone();
        Room { most: most.min(places.free()), places: Some(places) }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().give_back(&self.share);
    }
}
