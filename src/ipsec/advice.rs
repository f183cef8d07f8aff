//! What a person does where ipsec.conf or the `ipsec` command can't be read.

use crate::advice::{Advice, denied};
use crate::error::{Error, ErrorKind};
use crate::sys::environment::{Environment, Traces};

/// What strongSwan's daemon is called, which others than `ipsec` may have started.
pub(super) const TRACES: Traces = Traces { processes: &["charon", "charon-systemd"], socket_paths: &[] };

const INSTALL: &str = "install it (Debian: strongswan-starter or libreswan), or say where it is: \
                       ipsec_command: [/usr/sbin/ipsec, statusall]";

/// Why ipsec.conf or the command could not be read, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
    let command = &error.subject;
    Some(match &error.kind {
        ErrorKind::Denied if command == target => denied(target, environment, ""),
        ErrorKind::NotFound if command == target => Advice::of(
            error,
            "",
            "write ipsec_config as it is called here; with swanctl.conf there is none, and strongswan is the source",
        ),
        ErrorKind::NotFound if command.contains('/') => Advice::of(error, "there is no such command", INSTALL),
        ErrorKind::NotFound => {
            Advice::of(error, &format!("{command} is not in PATH, which is {}", environment.path), INSTALL)
        }
        // What the command ends with where charon does not run, as init scripts do. One that something else has started
        // would only get a second one beside it.
        ErrorKind::Refused { why, .. } if why == "exit status: 3" && environment.is_running => Advice::of(
            error,
            "charon is running, but ipsec has not started it",
            "leave ipsec_config and ipsec_command out: the source strongswan asks it over VICI",
        ),
        ErrorKind::Refused { why, .. } if why == "exit status: 3" => {
            Advice::of(error, "charon is not running", "ipsec start")
        }
        ErrorKind::Refused { .. } | ErrorKind::TimedOut => {
            let sudo = match environment.user.as_str() {
                "root" => "",
                _ => "; where only root may, add --enable.sudo and a rule in sudoers",
            };
            Advice::of(error, "", format!("run {target} by hand as {}{sudo}", environment.user))
        }
        ErrorKind::Malformed { .. } if command.contains(' ') => {
            Advice::of(error, "neither strongSwan nor libreswan prints that", INSTALL)
        }
        _ => return None,
    })
}
