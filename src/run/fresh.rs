//! From the receiver straight to matching. What can be decided from memory alone is decided before it is appended, and both are one
//! transaction; anything else is leased as it is appended, and need not be claimed and read back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::matcher;
use super::seats::{Seat, Seats};
use super::shared::Shared;
use crate::dispatch::local::Local;
use crate::event::Event;
use crate::journal::record::{ClaimedDelivery, Decision, Left, NewDelivery, Taking};

/// Larger bodies are read back from the store instead: together with the number of places this bounds the memory, at 24 MiB.
const LARGEST: usize = 64 << 10;

/// Where the receiver asks for a place. Cheap to clone.
#[derive(Clone)]
pub struct Fresh {
    arrivals: mpsc::Sender<Arrival>,
    seats: Seats,
    lease: Duration,
    shared: Arc<Shared>,
    dispatch: Local,
}

/// Room for one delivery. Given up without use, it is free again.
pub struct Place {
    permit: mpsc::OwnedPermit<Arrival>,
    seat: Seat,
    lease: Duration,
    shared: Arc<Shared>,
    dispatch: Local,
    /// What the receiver has read of it already.
    event: Option<Box<Event>>,
    decision: Option<Arc<Decision>>,
}

/// A delivery that is ours already.
pub(super) struct Arrival {
    pub claimed: ClaimedDelivery,
    /// What the receiver has read of it already.
    pub event: Option<Box<Event>>,
    /// The store's lease began no earlier.
    pub asked: Instant,
    /// Its place, until it is decided.
    pub seat: Seat,
}

impl Fresh {
    /// The way in, and what comes out of it. There are no more arrivals than places.
    pub(super) fn new(
        shared: Arc<Shared>,
        lease: Duration,
        dispatch: Local,
        seats: Seats,
        places: usize,
    ) -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, arriving) = mpsc::channel(places);
        (Self { arrivals, seats, lease, shared, dispatch }, arriving)
    }

    /// Room for a delivery of this share with a body of so many bytes, if there is any. `event` is what was read of it before. What there is no
    /// room for is appended without a lease, and claimed like all others.
    pub fn place(&self, size: usize, share: &str, event: Option<Box<Event>>) -> Option<Place> {
        if size > LARGEST {
            return None;
        }
        let seat = self.seats.offer(share)?;
        let permit = self.arrivals.clone().try_reserve_owned().ok()?;
        let (shared, dispatch) = (Arc::clone(&self.shared), self.dispatch.clone());
        Some(Place { permit, seat, lease: self.lease, shared, dispatch, event, decision: None })
    }
}

impl Place {
    /// How the delivery is to be appended.
    pub fn taking(&mut self, delivery: &NewDelivery) -> Taking {
        let decided = self.event.as_mut().and_then(|event| matcher::ahead(&self.shared, delivery, event));
        self.decision = decided.map(Arc::new);
        match &self.decision {
            Some(decision) => Taking::Decided(Arc::clone(decision), self.lease),
            None => Taking::Leased(self.lease),
        }
    }

    /// Does what appending left to do with what is new. `asked` is when the delivery was given to the journal.
    pub fn fill(self, delivery: &str, left: Left, asked: Instant) {
        self.shared.observer.journaled(delivery);
        match left {
            Left::Nothing => self.dispatch.wake(),
            Left::Matching(claimed) => {
                drop(self.permit.send(Arrival { claimed: *claimed, event: self.event, asked, seat: self.seat }))
            }
            Left::Runs(runs) => {
                if let Some(decision) = &self.decision {
                    matcher::tell(&self.shared, delivery, decision);
                }
                if !runs.is_empty() {
                    self.dispatch.wake();
                }
            }
        }
    }
}
