//! How much memory the answers may hold together: what was collected counts until it is sent.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Room for so many bytes.
pub struct Room {
    size: usize,
    taken: Mutex<usize>,
    relief: OnceLock<Relief>,
}

/// Makes some who are in the room leave it; whether there was anybody to.
type Relief = Box<dyn Fn() -> bool + Send + Sync>;

/// What one answer holds of the room until this is dropped.
pub struct Place {
    room: Arc<Room>,
    size: Mutex<usize>,
}

impl Room {
    /// Room for `size` bytes.
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, taken: Mutex::default(), relief: OnceLock::new() })
    }

    /// Has `relief` called where there is no room; the first one stays.
    pub fn relieve_by(&self, relief: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.relief.set(Box::new(relief));
    }

    /// A place for an answer, which holds nothing yet.
    pub fn enter(self: &Arc<Self>) -> Place {
        Place { room: Arc::clone(self), size: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, usize> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes so many bytes more; whether there was room, or somebody left. An answer alone finds it however large it
    /// is, also where it comes in pieces.
    pub fn take(&self, more: usize) -> bool {
        self.take_beside(more, 0)
    }

    /// The same for one that is alone with `others`, so many bytes that belong to it.
    pub fn take_beside(&self, more: usize, others: usize) -> bool {
        let is_relieved = || self.room.relief.get().is_some_and(|relief| relief());
        self.fits(more, others) || is_relieved() && self.fits(more, others)
    }

    /// Takes so many bytes more, also where there is no room for them; always true.
    pub fn take_anyway(&self, more: usize) -> bool {
        self.take_where(more, |_, _| true)
    }

    fn fits(&self, more: usize, others: usize) -> bool {
        self.take_where(more, |taken, own| {
            more == 0 || taken == own.saturating_add(others) || taken.saturating_add(more) <= self.room.size
        })
    }

    /// Takes so many bytes more where `may`, given what all have taken and what this one has, says so.
    fn take_where(&self, more: usize, may: impl FnOnce(usize, usize) -> bool) -> bool {
        let mut taken = self.room.taken();
        let mut own = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let may = may(*taken, *own);
        if may {
            *own = own.saturating_add(more);
            *taken = taken.saturating_add(more);
        }
        may
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let own = *self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self.room.taken();
        *taken = taken.saturating_sub(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(room: &Arc<Room>, size: usize) -> Option<Place> {
        let place = room.enter();
        place.take(size).then_some(place)
    }

    #[test]
    fn a_full_room_has_no_place_until_somebody_leaves() {
        let room = Room::new(10);
        let first = enter(&room, 6).expect("room for the first");
        let second = enter(&room, 4).expect("room for the second");
        assert!(enter(&room, 1).is_none(), "it is full");
        assert!(enter(&room, 0).is_some(), "nothing fits always");
        assert!(!second.take(1), "and who is in it takes no more");
        drop(first);
        assert!(second.take(2));
        let beyond = room.enter();
        assert!(!beyond.take(5) && beyond.take_anyway(5), "unless it must");
        assert_eq!(*room.taken(), 11);
        drop(beyond);
        let third = enter(&room, 4).expect("what the first one left");
        drop((second, third));
        assert_eq!(*room.taken(), 0);
    }

    #[test]
    fn where_it_is_full_somebody_is_made_to_leave() {
        let room = Room::new(10);
        let sitting = Mutex::new(vec![enter(&room, 4).expect("room"), enter(&room, 5).expect("room")]);
        room.relieve_by(move || sitting.lock().unwrap().pop().is_some());
        let first = enter(&room, 6).expect("the last one left");
        assert!(enter(&room, 5).is_none(), "one leaves at a time, and 4 bytes are not enough");
        assert!(enter(&room, 4).is_some());
        drop(first);
    }

    #[test]
    fn one_alone_may_be_larger_than_the_room_also_in_pieces() {
        let room = Room::new(10);
        let large = enter(&room, 1).expect("room");
        assert!(large.take(1000) && large.take(1000), "nobody else is there");
        let text = room.enter();
        assert!(!text.take(1) && text.take_beside(1, 2001), "what it is made from is no other");
        drop(text);
        assert!(enter(&room, 1).is_none());
        drop(large);
        assert!(enter(&room, 1).is_some());
    }
}
