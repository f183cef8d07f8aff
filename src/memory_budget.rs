//! Limits the memory of all replies together: what was collected counts until it was sent.

use std::sync::{Arc, Mutex, OnceLock};

use crate::lock::lock;

/// The memory limit, and how much of it is reserved.
pub struct MemoryBudget {
    size: usize,
    reserved: Mutex<usize>,
    free_memory: OnceLock<FreeMemory>,
}

/// Cancels slow replies to free memory; returns whether any was cancelled. Replies to a peer that does not read would hold
/// the budget until their time limit, and every large scrape would be refused meanwhile.
type FreeMemory = Box<dyn Fn() -> bool + Send + Sync>;

/// The part of the budget that one reply holds; released when this is dropped.
pub struct Reservation {
    budget: Arc<MemoryBudget>,
    size: Mutex<usize>,
}

impl MemoryBudget {
    /// A budget of `size` bytes.
    pub fn new(size: usize) -> Arc<Self> {
        Arc::new(Self { size, reserved: Mutex::default(), free_memory: OnceLock::new() })
    }

    /// Sets the function that is called if the budget is used up; only the first call counts.
    pub fn free_by(&self, free_memory: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.free_memory.set(Box::new(free_memory));
    }

    /// An empty reservation for one reply.
    pub fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), size: Mutex::default() }
    }
}

impl Reservation {
    /// Reserves `more` bytes; returns whether they were free or could be freed. The only reply in memory may be larger than
    /// the budget, even if it grows in steps.
    pub fn grow(&self, more: usize) -> bool {
        let is_freed = || self.budget.free_memory.get().is_some_and(|free_memory| free_memory());
        self.grow_if_free(more) || is_freed() && self.grow_if_free(more)
    }

    /// Reserves `more` bytes even if they are not free; returns true.
    pub fn grow_anyway(&self, more: usize) -> bool {
        self.grow_where(more, |_, _| true)
    }

    /// Reserves `more` bytes if they are free; returns whether they were. Nothing is cancelled for them.
    pub fn grow_if_free(&self, more: usize) -> bool {
        self.grow_where(more, |reserved, own| {
            more == 0 || reserved == own || reserved.saturating_add(more) <= self.budget.size
        })
    }

    /// Reserves `more` bytes if `may` allows it, given the bytes of all reservations and of this one.
    fn grow_where(&self, more: usize, may: impl FnOnce(usize, usize) -> bool) -> bool {
        let mut reserved = lock(&self.budget.reserved);
        let mut own = lock(&self.size);
        let may = may(*reserved, *own);
        if may {
            *own = own.saturating_add(more);
            *reserved = reserved.saturating_add(more);
        }
        may
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let own = *lock(&self.size);
        let mut reserved = lock(&self.budget.reserved);
        *reserved = reserved.saturating_sub(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(budget: &Arc<MemoryBudget>, size: usize) -> Option<Reservation> {
        let reservation = budget.reserve();
        reservation.grow(size).then_some(reservation)
    }

    #[test]
    fn a_budget_that_is_used_up_gives_nothing_until_something_is_given_back() {
        let budget = MemoryBudget::new(10);
        let first = reserve(&budget, 6).expect("free");
        let second = reserve(&budget, 4).expect("free");
        assert!(reserve(&budget, 1).is_none(), "it is used up");
        assert!(reserve(&budget, 0).is_some(), "nothing fits always");
        assert!(!second.grow(1), "and what has some gets no more");
        drop(first);
        assert!(second.grow(2));
        let beyond = budget.reserve();
        assert!(!beyond.grow(5) && beyond.grow_anyway(5), "unless it must");
        assert_eq!(*lock(&budget.reserved), 11);
        assert!(reserve(&budget, 0).is_some(), "nothing fits even then");
        drop(beyond);
        let third = reserve(&budget, 4).expect("what the first one gave back");
        drop((second, third));
        assert_eq!(*lock(&budget.reserved), 0);
    }

    #[test]
    fn where_it_is_used_up_some_is_freed() {
        let budget = MemoryBudget::new(10);
        let held = Mutex::new(vec![reserve(&budget, 4).expect("free"), reserve(&budget, 5).expect("free")]);
        budget.free_by(move || held.lock().unwrap().pop().is_some());
        let first = reserve(&budget, 6).expect("the last one was freed");
        assert!(reserve(&budget, 5).is_none(), "one is freed at a time, and 4 bytes are not enough");
        assert!(reserve(&budget, 4).is_some());
        drop(first);
    }

    #[test]
    fn one_alone_may_be_larger_than_the_budget_also_in_pieces() {
        let budget = MemoryBudget::new(10);
        let large = reserve(&budget, 1).expect("free");
        assert!(large.grow(1000) && large.grow(1000), "nothing else is held");
        assert!(reserve(&budget, 1).is_none());
        drop(large);
        assert!(reserve(&budget, 1).is_some());
    }
}
