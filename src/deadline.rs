//! The time by which something must be done, and a mutex whose waiting ends then.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::lock::lock;

/// The time by which something must be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline `time` from now.
    pub fn within(time: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(time).unwrap_or(now))
    }

    /// The remaining time; `TimedOut` with this subject if there is none.
    pub fn left(self, subject: &str) -> Result<Duration, Error> {
        match self.0.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => Ok(left),
            _ => Err(Error::new(subject, ErrorKind::TimedOut)),
        }
    }

    /// Whether it has passed.
    pub fn is_over(self) -> bool {
        Instant::now() >= self.0
    }

    /// Whether it passed `time` ago, or earlier.
    pub fn is_over_by(self, time: Duration) -> bool {
        Instant::now().saturating_duration_since(self.0) >= time
    }

    /// A deadline after half of the remaining time, for one of several steps.
    #[must_use]
    pub fn half(self) -> Self {
        Self::within(self.0.saturating_duration_since(Instant::now()) / 2)
    }
}

/// A mutex whose waiting ends at a deadline, for what only one scrape at a time may use, such as a command that must not
/// run twice at once.
#[derive(Debug)]
pub struct DeadlineMutex<T> {
    value: Mutex<Value<T>>,
    free: Condvar,
}

/// The value of a [`DeadlineMutex`].
#[derive(Debug)]
struct Value<T> {
    /// Absent while it is locked.
    free: Option<T>,
    /// How many wait for it: to wake nobody is a system call, too.
    waiting: usize,
}

/// The lock of a [`DeadlineMutex`], released when this is dropped.
#[must_use = "the lock is released when this is dropped"]
pub struct DeadlineGuard<'a, T: Default> {
    mutex: &'a DeadlineMutex<T>,
    value: T,
}

impl<T: Default> DeadlineMutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(Value { free: Some(value), waiting: 0 }), free: Condvar::new() }
    }

    /// Waits for the lock; `TimedOut` with this subject if it is not free before the deadline.
    pub fn take(&self, deadline: Deadline, subject: &str) -> Result<DeadlineGuard<'_, T>, Error> {
        let mut slot = lock(&self.value);
        loop {
            if let Some(value) = slot.free.take() {
                return Ok(DeadlineGuard { mutex: self, value });
            }
            let left = deadline.left(subject)?;
            slot.waiting = slot.waiting.saturating_add(1);
            (slot, _) = self.free.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner);
            slot.waiting = slot.waiting.saturating_sub(1);
        }
    }
}

impl<T: Default> Deref for DeadlineGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for DeadlineGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Drop for DeadlineGuard<'_, T> {
    fn drop(&mut self) {
        let value = std::mem::take(&mut self.value);
        let mut slot = lock(&self.mutex.value);
        slot.free = Some(value);
        if slot.waiting > 0 {
            self.mutex.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_the_past_is_an_error_that_names_whose() {
        let deadline = Deadline::within(Duration::ZERO);
        assert_eq!(deadline.left("x").unwrap_err().to_string(), "x: no answer in time");
        assert!(deadline.is_over() && deadline.is_over_by(Duration::ZERO));
        assert!(!deadline.is_over_by(Duration::from_secs(60)) && !Deadline::within(Duration::from_secs(60)).is_over());
    }

    #[test]
    fn a_turn_is_one_at_a_time_and_waiting_ends_at_the_deadline() {
        let turn = DeadlineMutex::new(7);
        let taken = turn.take(Deadline::within(Duration::ZERO), "x").ok();
        assert_eq!(taken.as_deref(), Some(&7), "a free turn needs no waiting");
        let error = turn.take(Deadline::within(Duration::from_millis(50)), "x").err();
        assert_eq!(error, Some(Error::new("x", ErrorKind::TimedOut)));
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| turn.take(Deadline::within(Duration::from_secs(5)), "x").is_ok());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished(), "it went in beside the first");
            drop(taken);
            assert!(waiting.join().expect("no panic"), "it was not let in afterwards");
        });
    }
}
