//! What a person does where charon can't be asked.

use super::COUNTERS;
use crate::advice::{Advice, Severity, denied};
use crate::collector::Notice;
use crate::error::{Error, ErrorKind};
use crate::sys::environment::{Environment, Traces};

/// What charon's process is called, started by `ipsec` or an init script, or by systemd; and where its VICI socket is, by
/// distribution, the first being strongSwan's own default.
pub(super) const TRACES: Traces = Traces {
    processes: &["charon", "charon-systemd"],
    socket_paths: &["/var/run/charon.vici", "/run/strongswan/charon.vici", "/run/charon.vici"],
};

const START_CHARON: &str = "systemctl start strongswan (or strongswan-starter; on OpenWrt /etc/init.d/swanctl start)";

/// Why charon could not be asked, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
    Some(match &error.kind {
        ErrorKind::Denied => {
            let lasting = format!("; to last, charon {{ group = {} }} in strongswan.conf", environment.group);
            denied(target, environment, &lasting)
        }
        ErrorKind::NotFound if target.starts_with('/') => no_socket(environment),
        ErrorKind::NotListening if !environment.is_running => {
            Advice::of(error, "charon is gone and left its socket behind", START_CHARON)
        }
        ErrorKind::TimedOut => {
            Advice::of(error, "charon hangs", "swanctl --stats shows whether it answers others; if not, restart it")
        }
        ErrorKind::TooMany { .. } => Advice::of(
            error,
            "nothing is said of any, since half of them would be wrong",
            "swanctl --list-conns, --list-pols, --list-pools, --list-certs and --counters show them",
        ),
        ErrorKind::Malformed { .. } | ErrorKind::TooLong { .. } => Advice::of(
            error,
            "what answers there does not speak VICI",
            "vici_socket must name the socket of charon's plugin vici",
        ),
        _ => return None,
    })
}

/// Why it was not found where nothing is configured. A charon without the socket may be meant for the `ipsec` command, so
/// that this is no error.
pub(super) fn explain_absence(environment: &Environment) -> Option<Advice> {
    (environment.is_running || environment.elsewhere.is_some()).then(|| no_socket(environment))
}

fn no_socket(environment: &Environment) -> Advice {
    match (&environment.elsewhere, environment.is_running) {
        (Some(path), _) => Advice::new(format!("not found, but {path} is there"), format!("write vici_socket: {path}")),
        (None, true) => Advice::new(
            "not found, though charon is running: its plugin vici is not loaded, or its socket is elsewhere",
            "install the plugin (Debian: strongswan-swanctl, OpenWrt: strongswan-mod-vici) and restart charon, or write \
             vici_socket as charon.plugins.vici.socket in strongswan.conf has it",
        ),
        (None, false) => Advice::new("not found: charon is not running", START_CHARON),
    }
}

/// That charon does not count events, for want of a plugin.
pub(super) fn lacks_counters(subject: String) -> Notice {
    let advice = Advice::new(
        format!("charon answers, but not to {COUNTERS}"),
        "load its plugin counters, or leave them out: metrics: {without: [events]}",
    );
    Notice { severity: Severity::Warning, subject, advice, is_logged: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charon_without_counters_is_noticed() {
        let notice = lacks_counters("x".into());
        assert_eq!(notice.advice.message, "charon answers, but not to get-counters");
        assert_eq!((notice.severity, notice.is_logged), (Severity::Warning, false));
    }
}
