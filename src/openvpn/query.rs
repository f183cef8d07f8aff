//! Asks a daemon over its management interface: the only place that talks to it.
//!
//! Each question is a connection of its own, which is closed before the next one: OpenVPN serves one client at a time.

use std::time::Duration;

use super::management::{Answer, Failure, Inquiry, Next, Password, QUIT};
use super::{LIMIT, advice};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::sys::socket::{self, Address};
use crate::text::clip;

/// How long a daemon may take to say its first word where a status file can be read instead. One that serves somebody
/// else says none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where a daemon's management interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Management {
    /// Its socket.
    pub address: Address,
    /// Its password; absent where it asks for none.
    pub password: Option<Password>,
}

impl Management {
    /// How errors name it.
    fn subject(&self) -> String {
        format!("{}{}", advice::INTERFACE, self.address)
    }

    /// Asks for release, state and status within half of the time that is left, so that what is read after it has time as
    /// well; with a status file to read instead, no longer than [`PATIENCE`] for the first word.
    pub(super) fn ask(&self, has_file: bool, deadline: Deadline) -> Result<Answer, Error> {
        let subject = self.subject();
        deadline.left(&subject)?;
        let deadline = deadline.half();
        let first = if has_file { deadline.min(Deadline::within(PATIENCE)) } else { deadline };
        let mut channel = socket::open_as(subject.clone(), &self.address, first)?;
        let mut inquiry = Inquiry::new(self.password.as_ref());
        loop {
            let next = inquiry.read(channel.receive()?);
            channel.extend(deadline);
            match next {
                Ok(_) if inquiry.count() > LIMIT => {
                    return Err(Error::new(subject, ErrorKind::TooLong { limit: LIMIT }));
                }
                Ok(Next::Read) => {}
                Ok(Next::Send(message)) => channel.send(message)?,
                Ok(Next::End) => {
                    // All is known: one that does not hear it notices that the connection is closed.
                    let _ = channel.send(QUIT);
                    return Ok(inquiry.into_answer());
                }
                Err(failure) => {
                    if matches!(failure, Failure::Waits(_) | Failure::Refused(_)) {
                        let _ = channel.send(QUIT);
                    }
                    return Err(error(subject, failure));
                }
            }
        }
    }
}

/// A failure as an error about the management interface.
fn error(subject: String, failure: Failure) -> Error {
    let refused = |why| ErrorKind::Refused { why };
    let kind = match failure {
        Failure::PasswordWanted => refused(advice::PASSWORD_WANTED.into()),
        Failure::PasswordRefused => refused(advice::PASSWORD_REFUSED.into()),
        Failure::Waits(what) => refused(format!("{}{what}", advice::WAITS)),
        // Its own words are long at most as a label's, and never those of the failures above.
        Failure::Refused(why) => refused(format!("answers {}", clip(why.into()))),
        Failure::Foreign => ErrorKind::Malformed { expected: "OpenVPN's management interface", offset: 0 },
        Failure::Endless(limit) => ErrorKind::TooLong { limit },
    };
    Error::new(subject, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemons_own_words_are_short_and_are_not_taken_for_ours() {
        let error = |why: &str| error(advice::INTERFACE.into(), Failure::Refused(why.into()));
        assert!(!advice::is_waiting(&error("waits for a password")));
        assert!(error("no").to_string().ends_with(": answers no"), "{}", error("no"));
        assert!(error(&"x".repeat(16_000)).to_string().len() < 2000);
        assert!(advice::is_waiting(&super::error(advice::INTERFACE.into(), Failure::Waits("for a password"))));
    }
}
