//! From the receiver straight to matching: a delivery that is leased as it is appended need not be claimed and read back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::observe::Observer;
use crate::event::Event;
use crate::journal::record::ClaimedDelivery;

/// Deliveries between being on disk and being matched. Beyond it they are appended without a lease and claimed like all others.
const PLACES: usize = 256;
/// Larger bodies are read back from the store instead: together with [`PLACES`] this bounds the memory, at 16 MiB.
const LARGEST: usize = 64 << 10;

/// Where the receiver asks for a place. Cheap to clone.
#[derive(Clone)]
pub struct Fresh {
    places: mpsc::Sender<Arrival>,
    lease: Duration,
    observer: Observer,
}

/// Room for one delivery. Given up without use, it is free again.
pub struct Place {
    permit: mpsc::OwnedPermit<Arrival>,
    /// How long the lease is to be that the delivery is appended with.
    pub lease: Duration,
    observer: Observer,
}

/// A delivery that is ours already.
pub(super) struct Arrival {
    pub claimed: ClaimedDelivery,
    /// What the receiver has read of it already.
    pub event: Option<Box<Event>>,
    /// The store's lease began no earlier.
    pub asked: Instant,
}

impl Fresh {
    /// The way in, and what comes out of it.
    pub(super) fn new(lease: Duration, observer: Observer) -> (Self, mpsc::Receiver<Arrival>) {
        let (places, arrivals) = mpsc::channel(PLACES);
        (Self { places, lease, observer }, arrivals)
    }

    /// Room for a delivery with a body of so many bytes, if there is any.
    pub fn place(&self, size: usize) -> Option<Place> {
        if size > LARGEST {
            return None;
        }
        let permit = self.places.clone().try_reserve_owned().ok()?;
        Some(Place { permit, lease: self.lease, observer: self.observer.clone() })
    }
}

impl Place {
    /// Hands the delivery over. `event` is what was read of it before, `asked` when it was given to the journal.
    pub fn fill(self, claimed: ClaimedDelivery, event: Option<Box<Event>>, asked: Instant) {
        self.observer.journaled(&claimed.delivery.id);
        self.permit.send(Arrival { claimed, event, asked });
    }
}
