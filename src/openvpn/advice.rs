//! What a person does where a status file can't be read, or shows that its server has ended.

use crate::advice::{Advice, Phrase, Severity, denied, span};
use crate::collector::{Error, ErrorKind, Notice};
use crate::sys::environment::Environment;

/// Why a status file could not be read, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
