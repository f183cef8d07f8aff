//! What to do where an interface can't be read.

use super::NO_MODULE;
use crate::advice::{Advice, Phrase, denied};
use crate::error::{Error, ErrorKind};
use crate::sys::environment::Environment;

/// Why an interface could not be read, and what to do.
pub(super) fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
    let is_socket = target.starts_with('/');
    let (message, remedy): (&'static str, Phrase) = match &error.kind {
        ErrorKind::Denied if is_socket => return Some(denied(target, environment, "")),
        ErrorKind::Denied => (
            "permission denied: CAP_NET_ADMIN is needed",
            "run it as root, or give it CAP_NET_ADMIN (systemd: wireguard.conf among the examples)".into(),
        ),
        ErrorKind::Refused { why, .. } if why == NO_MODULE => (
            "not found, and the kernel has no WireGuard",
            "modprobe wireguard (OpenWrt: opkg install kmod-wireguard), or start wireguard-go".into(),
        ),
        ErrorKind::NotFound if !is_socket => {
            ("there is no such WireGuard interface", format!("wg-quick up {target} (OpenWrt: ifup {target})").into())
        }
        ErrorKind::NotListening => {
            ("its process ended and left the socket behind", format!("start it again, or rm {target}").into())
        }
        _ => return None,
    };
    Some(Advice::new(message, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_a_fix() {
        let environment = Environment::default();
        let fix = |error: Error| {
            explain("wg0", &error, &environment).map(|advice| advice.fix.into_owned()).unwrap_or_default()
        };
        assert!(fix(Error::new("wg0", ErrorKind::Denied)).contains("wireguard.conf"));
        assert!(fix(Error::new("wg0", ErrorKind::Refused { why: NO_MODULE.into() })).starts_with("modprobe wireguard"));
        assert_eq!(fix(Error::new("wg0", ErrorKind::NotFound)), "wg-quick up wg0 (OpenWrt: ifup wg0)");
        assert_eq!(explain("wg0", &Error::new("wg0", ErrorKind::TimedOut), &environment), None);
    }

    #[test]
    fn a_sockets_permissions_are_explained_as_every_files() {
        let (socket, environment) = ("/var/run/wireguard/wg0.sock", Environment::default());
        let is_denied = Error::new(socket, ErrorKind::Denied);
        assert_eq!(explain(socket, &is_denied, &environment), Some(denied(socket, &environment, "")));
        let advice = explain(socket, &Error::new(socket, ErrorKind::NotListening), &environment).expect("advice");
        assert!(advice.message.contains("left the socket behind") && advice.fix.ends_with(socket), "{advice:?}");
    }
}
