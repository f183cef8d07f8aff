//! An allocator that counts what one thread asks of it.
#![expect(unsafe_code, reason = "an allocator is an unsafe trait; it only hands on to the system's and counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a piece of work asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How often memory was taken, made larger or made smaller.
    pub(crate) calls: usize,
    /// The most bytes that were held at one moment.
    pub(crate) peak: usize,
    held: usize,
}

thread_local! {
    // Without a destructor and initialised by a constant: reading it never allocates.
    static COUNT: Cell<Count> = const { Cell::new(Count { calls: 0, peak: 0, held: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does the work and says what it asked for.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (Count, T) {
    COUNT.set(Count::default());
    let result = work();
    (COUNT.get(), result)
}

fn note(taken: usize, given_back: usize) {
    let count = COUNT.get();
    let held = count.held.saturating_add(taken).saturating_sub(given_back);
    let calls = count.calls + usize::from(taken > 0);
    COUNT.set(Count { calls, held, peak: count.peak.max(held) });
}

// SAFETY: every call is handed on to the system's allocator as it came, and what that gives is given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the caller keeps the contract of this same function.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
