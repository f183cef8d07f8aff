//! Locks that a panic of their holder does not poison.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. Its holders change it in single steps, so that what a panic left is valid.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
