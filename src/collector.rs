//! The interface of a collector, which reads one source within a deadline, and the errors that all of them use.

use std::any::Any;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::advice::{Advice, Severity};
use crate::exposition::{Exposition, Options};
use crate::lock::lock;
use crate::session::Sessions;

/// Reads one watched source.
pub trait Collector: Any + Send + Sync {
    /// The source's name in the configuration, `collect[]`, labels and log lines.
    fn name(&self) -> &'static str;

    /// The paths, addresses and commands that are watched; logged at the start.
    fn targets(&self) -> Vec<String>;

    /// Reads the source and exposes its metrics. What was written before a target failed is kept.
    fn collect(&self, deadline: Deadline, report: &mut Report);

    /// Whether it waits for nothing, since the kernel answers it from memory; then it needs no thread of its own.
    fn never_waits(&self) -> bool {
        false
    }

    /// Reads the source and lists its sessions; sources without sessions keep this default.
    fn sessions(&self, _deadline: Deadline, _report: &mut Report) {}
}

/// What one collector read.
#[derive(Default)]
pub struct Report {
    /// The families.
    pub exposition: Exposition,
    /// The sessions, where they were asked for.
    pub sessions: Sessions,
    /// Every target that was tried, and why it could not be read.
    pub targets: Vec<(String, Result<(), Error>)>,
    /// Notices about targets that could be read.
    pub notices: Vec<Notice>,
}

/// A problem that a source noticed although the target could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub severity: Severity,
    /// The file, pattern, address or rule.
    pub subject: String,
    /// What is wrong, and what to do.
    pub advice: Advice,
    /// Whether it is logged when it is new.
    pub is_logged: bool,
}

impl Report {
    /// An empty report with these options.
    pub fn with_options(options: Options) -> Self {
        let sessions = Sessions::on(options.identities, options.most_series);
        Self { exposition: Exposition::with_options(options), sessions, ..Self::default() }
    }

    /// Records whether a target could be read; returns what was read.
    pub fn target<T>(&mut self, name: impl Into<String>, result: Result<T, Error>) -> Option<T> {
        let (state, value) = match result {
            Ok(value) => (Ok(()), Some(value)),
            Err(error) => (Err(error), None),
        };
        self.targets.push((name.into(), state));
        value
    }
}

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

/// Why a source could not be read; displayed as `subject: kind`.
///
/// It is a pointer, because most functions that read something may return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Failure>);

/// What an [`Error`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The path, address or command.
    pub subject: String,
    /// What happened.
    pub kind: ErrorKind,
}

/// What happened to the subject of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such file, socket or command.
    NotFound,
    /// The system refused access.
    Denied,
    /// Nothing listens at the address.
    NotListening,
    /// Another process listens at the address.
    AddressInUse,
    /// Another error of the operating system.
    Io {
        /// The system's message.
        why: String,
    },
    /// No answer within the scrape's deadline.
    TimedOut,
    /// It is larger than the limit.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// It has more entries than the limit.
    TooMany {
        /// The limit.
        limit: usize,
        /// What the entries are, in the plural.
        what: &'static str,
    },
    /// It is not in the expected format.
    Malformed {
        /// What was expected at the offset.
        expected: &'static str,
        /// The offset in bytes from the start of the message or file.
        offset: usize,
    },
    /// The source answered that it refuses the request.
    Refused {
        /// Its reason.
        why: String,
    },
}

impl Error {
    /// What happened to `subject`: a path, address or command.
    // Inlined in its hundred callers it takes 3 KB more.
    #[inline(never)]
    pub fn new(subject: impl Into<String>, kind: ErrorKind) -> Self {
        Self(Box::new(Failure { subject: subject.into(), kind }))
    }

    /// The error for what the system reported about `subject`.
    pub fn io(subject: &str, error: &io::Error) -> Self {
        Self::new(subject, ErrorKind::from(error))
    }
}

impl Deref for Error {
    type Target = Failure;

    fn deref(&self) -> &Failure {
        &self.0
    }
}

impl From<&io::Error> for ErrorKind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
            io::ErrorKind::ConnectionRefused => Self::NotListening,
            io::ErrorKind::AddrInUse => Self::AddressInUse,
            io::ErrorKind::UnexpectedEof => Self::Io { why: "closed by the other side".into() },
            _ => Self::Io { why: plain(error) },
        }
    }
}

/// The system's message without Rust's ` (os error 111)`, and with a small first letter.
fn plain(error: &io::Error) -> String {
    let mut text = error.to_string();
    text.truncate(text.find(" (os error").unwrap_or(text.len()));
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.subject, self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => out.write_str("not found"),
            Self::Denied => out.write_str("permission denied"),
            Self::NotListening => out.write_str("connection refused"),
            Self::AddressInUse => out.write_str("address already in use"),
            Self::Io { why } | Self::Refused { why } => out.write_str(why),
            Self::TimedOut => out.write_str("no answer in time"),
            Self::TooLong { limit } => write!(out, "more than {limit} bytes"),
            Self::TooMany { limit, what } => write!(out, "more than {limit} {what}"),
            Self::Malformed { expected, offset } => write!(out, "expected {expected} at byte {offset}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_thing_first_and_end_without_a_full_stop() {
        let error = |kind| Error::io("/run/x", &io::Error::from(kind)).to_string();
        assert_eq!(error(io::ErrorKind::NotFound), "/run/x: not found");
        assert_eq!(error(io::ErrorKind::PermissionDenied), "/run/x: permission denied");
        assert_eq!(error(io::ErrorKind::WouldBlock), "/run/x: no answer in time");
        let refused = io::Error::from_raw_os_error(nix::libc::ECONNREFUSED);
        assert_eq!(Error::io("tcp://[::1]:1", &refused).to_string(), "tcp://[::1]:1: connection refused");
    }

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
