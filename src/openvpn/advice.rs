//! What a person does where a status file can't be read, or shows that its server has ended, and where a management
//! interface does not answer.

use crate::advice::{Advice, Phrase, Severity, denied, joined, quoted, span};
use crate::collector::Notice;
use crate::error::{Error, ErrorKind};
use crate::sys::environment::Environment;

/// What stands before the address of a management interface in errors about it.
pub(super) const INTERFACE: &str = "management interface ";

/// That a daemon asks for a password which is not known.
pub(super) const PASSWORD_WANTED: &str = "asks for a password";

/// That the password is another one.
pub(super) const PASSWORD_REFUSED: &str = "refuses the password";

/// What stands before what a daemon waits for.
pub(super) const WAITS: &str = "waits ";

/// Whether an error says that a daemon waits for somebody who uses its management interface.
pub(super) fn is_waiting(error: &Error) -> bool {
    error.subject.starts_with(INTERFACE) && matches!(&error.kind, ErrorKind::Refused { why } if why.starts_with(WAITS))
}

/// Why a status could not be read, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
    if let Some(address) = error.subject.strip_prefix(INTERFACE) {
        let is_denied = error.kind == ErrorKind::Denied;
        return Some(match is_denied && address == target {
            true => denied(target, environment, ""),
            false => unanswered(address, error, environment.is_running),
        });
    }
    Some(match &error.kind {
        ErrorKind::Denied => denied(target, environment, ""),
        ErrorKind::NotFound => Advice::of(error, "OpenVPN has not written it", start(target)),
        ErrorKind::Malformed { expected: "END", .. } => {
            Advice::of(error, "half written", "df says whether the disk is full; is OpenVPN still running?")
        }
        ErrorKind::Malformed { .. } => Advice::of(
            error,
            "neither version 1, 2 nor 3, nor a client's statistics",
            "name the file that status in OpenVPN's configuration names; status-version 2 is known here",
        ),
        _ => return None,
    })
}

/// Why a management interface gave no status, and what to do; `is_running` says that there is an OpenVPN.
fn unanswered(address: &str, error: &Error, is_running: bool) -> Advice {
    let setting = match address.strip_prefix("tcp://").and_then(|host| host.rsplit_once(':')) {
        Some((host, port)) => format!("management {} {port}", host.trim_matches(['[', ']'])),
        None => format!("management {} unix", quoted(address)),
    };
    let (more, fix): (&str, Phrase) = match &error.kind {
        ErrorKind::NotFound | ErrorKind::NotListening if is_running => (
            "OpenVPN runs without it, or serves another client",
            format!("write {setting} into its configuration").into(),
        ),
        ErrorKind::NotFound | ErrorKind::NotListening => {
            ("OpenVPN is not running", format!("start OpenVPN, with {setting} in its configuration").into())
        }
        ErrorKind::TimedOut => (
            "most likely another client holds it, for OpenVPN serves one at a time: a second exporter, a monitor or GUI, \
             NetworkManager, a helper for logins, a forgotten telnet, nc or socat; else OpenVPN hangs",
            format!("{} says who; end that, or give status as well, which is read meanwhile", who(address)).into(),
        ),
        ErrorKind::Denied => ("", "give this user read and write on the socket and search on its folders".into()),
        ErrorKind::Malformed { .. } => {
            ("something else listens there", format!("name the address of {setting}").into())
        }
        ErrorKind::Io { .. } => (
            "OpenVPN ended, or management-client-user or management-client-group names somebody else",
            "name this daemon's user or group there".into(),
        ),
        ErrorKind::Refused { why } => ("", refused(why)),
        _ => ("", Phrase::default()),
    };
    Advice::of(error, more, fix)
}

/// The command that shows who is connected to a management interface.
fn who(address: &str) -> String {
    match address.rsplit_once(':').filter(|_| address.starts_with("tcp://")) {
        Some((_, port)) => format!("ss -tnp 'dport = :{port}'"),
        // The other end of a socket has no name, only a number.
        None => format!("ss -xp | grep -w \"$(ss -xH src {} | awk '{{print $8}}')\"", quoted(address)),
    }
}

/// What to do where OpenVPN answers that it gives no status.
fn refused(why: &str) -> Phrase {
    match why {
        PASSWORD_WANTED => "name the file of its password: management_password_file",
        PASSWORD_REFUSED => {
            "management_password_file must name the file that management in OpenVPN's configuration names"
        }
        _ if why.starts_with(WAITS) => {
            "OpenVPN's management client has to answer it; is it running? Without one, take management-hold, \
             management-query-passwords and the like out of OpenVPN's configuration"
        }
        _ => "see OpenVPN's log",
    }
    .into()
}

/// That a status file was read since a management interface did not answer.
pub(super) fn file_instead(error: &Error) -> Notice {
    let subject = &*error.subject;
    let advice = unanswered(subject.strip_prefix(INTERFACE).unwrap_or(subject), error, true);
    let message = joined(advice.message.into_owned(), "the status file is read instead");
    let advice = Advice { message, ..advice };
    Notice { severity: Severity::Warning, subject: subject.into(), advice, is_logged: true }
}

/// That a client has no connection to its server for `age` seconds; `state` is what it does.
pub(super) fn unconnected(subject: String, state: &str, age: i64) -> Notice {
    let advice = Advice::new(
        format!("the client is not connected to its server: {state} for {}", span(age)),
        "see its log; is the server reachable?",
    );
    Notice { severity: Severity::Warning, subject, advice, is_logged: true }
}

fn start(file: &str) -> Phrase {
    format!("start OpenVPN, with status {file} in its configuration").into()
}

/// That a file has not been written for `age` seconds.
pub(super) fn stale(subject: String, age: i64) -> Notice {
    let advice = Advice::new(
        format!("stale, not written for {}: OpenVPN has ended, or it hangs", span(age)),
        "systemctl status 'openvpn*'; where it is written seldom, stale_after says how old it may be",
    );
    Notice { severity: Severity::Error, subject, advice, is_logged: true }
}

/// That a file was moved away while OpenVPN had it open, and is called `file` now.
pub(super) fn rotated(subject: String, file: &str) -> Notice {
    let advice = Advice::new(
        format!("moved away while OpenVPN had it open: it writes to {file} now"),
        "restart OpenVPN, and leave the status file out of log rotation or have it rotated with copytruncate",
    );
    Notice { severity: Severity::Warning, subject, advice, is_logged: false }
}

/// That no file matches a pattern.
pub(super) fn no_match(subject: String) -> Notice {
    let advice = Advice::new("no file matches this pattern", start("a file that matches"));
    Notice { severity: Severity::Error, subject, advice, is_logged: true }
}

/// That another entry names the same file.
pub(super) fn named_twice(subject: String) -> Notice {
    let advice = Advice::new("several entries name this file; the last one counts", "remove the others");
    Notice { severity: Severity::Warning, subject, advice, is_logged: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_management_interface_does_has_its_words() {
        let subject = || String::from("management interface /run/it's.sock");
        let is_running = Environment { is_running: true, ..Environment::default() };
        let explained = |error: &Error, environment: &Environment| {
            let advice = explain("/run/it's.sock", error, environment).expect("advice");
            (advice.message.into_owned(), advice.fix.into_owned())
        };
        let quoted = "management '/run/it'\\''s.sock' unix";
        for (error, message, fix) in [
            (
                Error::new(subject(), ErrorKind::NotFound),
                "not found: OpenVPN runs without it, or serves another client",
                format!("write {quoted} into its configuration"),
            ),
            (
                Error::new(subject(), ErrorKind::Io { why: "closed by the other side".into() }),
                "closed by the other side: OpenVPN ended, or management-client-user or management-client-group names \
                 somebody else",
                "name this daemon's user or group there".into(),
            ),
            (
                Error::new(subject(), ErrorKind::Malformed { expected: "OpenVPN's management interface", offset: 0 }),
                "expected OpenVPN's management interface at byte 0: something else listens there",
                format!("name the address of {quoted}"),
            ),
            (
                Error::new(subject(), ErrorKind::Refused { why: "The 'status' command is not supported".into() }),
                "The 'status' command is not supported",
                "see OpenVPN's log".into(),
            ),
            (Error::new(subject(), ErrorKind::TooLong { limit: 7 }), "more than 7 bytes", String::new()),
        ] {
            assert_eq!(explained(&error, &is_running), (message.to_owned(), fix));
        }
        let denied = Error::new(subject(), ErrorKind::Denied);
        let user = Environment { user: "prom".into(), ..Environment::default() };
        assert_eq!(explained(&denied, &user).0, "permission denied to prom");
        let notice = file_instead(&denied);
        assert_eq!(notice.advice.message, "permission denied: the status file is read instead");
        assert!(notice.advice.fix.contains("socket") && notice.subject == subject(), "{notice:?}");
        assert!(is_waiting(&Error::new(subject(), ErrorKind::Refused { why: "waits for a password".into() })));
        assert!(!is_waiting(&Error::new("/x", ErrorKind::Refused { why: "waits for a password".into() })));
    }

    #[test]
    fn what_is_noticed_says_what_happened_and_what_to_do() {
        for (notice, severity, message) in [
            (
                stale("x".into(), 7400),
                Severity::Error,
                "stale, not written for 2 hours: OpenVPN has ended, or it hangs",
            ),
            (
                rotated("x".into(), "x.1"),
                Severity::Warning,
                "moved away while OpenVPN had it open: it writes to x.1 now",
            ),
            (no_match("x".into()), Severity::Error, "no file matches this pattern"),
        ] {
            assert_eq!((notice.severity, &*notice.advice.message, &*notice.subject), (severity, message, "x"));
            assert!(!notice.advice.fix.is_empty());
        }
        for (seconds, expected) in [(-5, "-5 seconds"), (119, "119 seconds"), (120, "2 minutes"), (200_000, "2 days")] {
            assert_eq!(span(seconds), expected);
        }
    }
}
