//! Why something could not be read: the error of all sources and of all calls to the operating system.

use std::fmt;
use std::io;
use std::ops::Deref;

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
}
