//! How much memory the answers may hold together: what was collected counts until it is sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Room for so many bytes.
pub struct Room {
    size: usize,
    taken: Mutex<usize>,
}

/// A part of the room that is taken until this is dropped.
pub struct Place {
    room: Arc<Room>,
    size: usize,
}

impl Room {
    /// Room for `size` bytes.
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, taken: Mutex::default() })
    }

    /// A place for so many bytes; none where the room is too full. One alone finds a place however large it is.
    pub fn take(self: &Arc<Self>, size: usize) -> Option<Place> {
        let mut taken = self.taken();
        let sum = taken.saturating_add(size);
        let fits = size == 0 || *taken == 0 || sum <= self.size;
        fits.then(|| {
            *taken = sum;
            Place { room: Arc::clone(self), size }
        })
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        *taken = taken.saturating_sub(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_room_has_no_place_until_somebody_leaves() {
        let room = Room::new(10);
        let first = room.take(6).expect("room for the first");
        let second = room.take(4).expect("room for the second");
        assert!(room.take(1).is_none(), "it is full");
        assert!(room.take(0).is_some(), "nothing fits always");
        drop(first);
        let third = room.take(6).expect("the first one's place");
        drop((second, third));
        assert_eq!(*room.taken(), 0);
    }

    #[test]
    fn one_alone_may_be_larger_than_the_room() {
        let room = Room::new(10);
        let large = room.take(1000).expect("nobody else is there");
        assert!(room.take(1).is_none());
        drop(large);
        assert!(room.take(1).is_some());
    }
}
