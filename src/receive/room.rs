//! Room for connections. There is as much as the limits and the process's file descriptors allow; where there is none left, the
//! connection that has waited longest for a request makes it, so that ten thousand silent ones do not keep a sender out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A connection that waited less may have its request on the way.
const PATIENCE: Duration = Duration::from_millis(250);
/// While there is no room, it is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// File descriptors that connections leave to the store, to files and to what actions call.
const KEPT: u64 = 256;

/// What a seat tells while its request is being answered.
const BUSY: u64 = 0;

/// The seats of one listener.
pub(super) struct Room {
    permits: Arc<Semaphore>,
    size: u32,
    seats: Mutex<HashMap<u64, Arc<Place>>>,
    numbers: AtomicU64,
    begun: Instant,
}

/// What others see of a seat.
struct Place {
    /// Milliseconds after the beginning, and one; [`BUSY`] from a request's head to the end of its answer.
    waits_since: AtomicU64,
    leave: Notify,
}

impl Room {
    pub(super) fn new(connections: usize) -> Arc<Self> {
        let size = u32::try_from(connections).unwrap_or(u32::MAX).min(descriptors());
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(size as usize)),
            size,
            seats: Mutex::default(),
            numbers: AtomicU64::new(0),
            begun: Instant::now(),
        })
    }

    /// A seat, as soon as there is one.
    pub(super) async fn seat(self: &Arc<Self>) -> Seat {
        loop {
            let permit = tokio::time::timeout(LOOK_AGAIN, Arc::clone(&self.permits).acquire_owned());
            if self.permits.available_permits() == 0 {
                self.make_room();
            }
            // The semaphore is never closed.
            if let Ok(Ok(permit)) = permit.await {
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let place = Arc::new(Place { waits_since: AtomicU64::new(self.now()), leave: Notify::new() });
                self.seats().insert(number, Arc::clone(&place));
                return Seat { room: Arc::clone(self), number, place, _permit: permit };
            }
        }
    }

    /// Asks the connection to leave that has waited longest for a request. True if there is one.
    pub(super) fn make_room(&self) -> bool {
        let latest = self.now().saturating_sub(u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX));
        let seats = self.seats();
        let waiting = seats.values().filter_map(|place| match place.waits_since.load(Ordering::Relaxed) {
            BUSY => None,
            since => (since <= latest).then_some((since, place)),
        });
        let Some((_, place)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        // It is on its way out: the next look must find another one.
        place.waits_since.store(BUSY, Ordering::Relaxed);
        place.leave.notify_one();
        true
    }

    /// Until nobody is left.
    pub(super) async fn emptied(&self) {
        // The semaphore is never closed.
        let _ = self.permits.acquire_many(self.size).await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn seats(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Place>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back when dropped.
pub(super) struct Seat {
    room: Arc<Room>,
    number: u64,
    place: Arc<Place>,
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// A request came: until what is answered is dropped, nobody asks this connection to leave.
    pub(super) fn request(&self) -> Busy {
        self.place.waits_since.store(BUSY, Ordering::Relaxed);
        Busy { room: Arc::clone(&self.room), place: Arc::clone(&self.place) }
    }

    /// Until somebody else needs the room.
    pub(super) async fn asked_to_leave(&self) {
        self.place.leave.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seats().remove(&self.number);
    }
}

/// A request under way, or its answer.
pub(super) struct Busy {
    room: Arc<Room>,
    place: Arc<Place>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.place.waits_since.store(self.room.now(), Ordering::Relaxed);
    }
}

/// How many connections the process's file descriptors allow, once their soft limit is as high as it may be.
#[cfg(unix)]
fn descriptors() -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let allowed = if raised.is_ok() { limit.maximum } else { limit.current };
    // None: as many as one likes.
    allowed.map_or(u32::MAX, |allowed| u32::try_from(allowed.saturating_sub(KEPT.min(allowed / 2)).max(1)).unwrap_or(u32::MAX))
}

#[cfg(not(unix))]
fn descriptors() -> u32 {
    u32::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_waiting_leaves_and_the_busy_one_stays() {
        let room = Room::new(2);
        let busy = room.seat().await;
        let request = busy.request();
        let waiting = room.seat().await;
        let (third, ()) = tokio::join!(room.seat(), async {
            waiting.asked_to_leave().await;
            drop(waiting);
        });
        drop(request);
        let (fourth, ()) = tokio::join!(room.seat(), async {
            third.asked_to_leave().await;
            drop(third);
        });
        drop((busy, fourth));
        tokio::time::timeout(Duration::from_secs(5), room.emptied()).await.expect("all have left");
    }
}
