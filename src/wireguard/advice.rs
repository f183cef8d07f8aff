//! What to do where an interface can't be read.

use std::borrow::Cow;

use super::NO_MODULE;
use crate::collector::Error;

/// Words that are mostly written here.
type Words = Cow<'static, str>;

/// What is wrong with a target, besides what the error says, and what to do; nothing where what is said of every source
/// is enough.
pub fn explain(target: &str, error: &Error) -> Option<(Words, Words)> {
    let is_socket = target.starts_with('/');
    match error {
        Error::Denied { .. } if !is_socket => Some((
            "permission denied: it takes CAP_NET_ADMIN".into(),
            "run it as root, or give it CAP_NET_ADMIN (systemd: wireguard.conf among the examples)".into(),
        )),
        Error::Refused { why, .. } if why == NO_MODULE => Some((
            "not found, and the kernel has no WireGuard".into(),
            "modprobe wireguard (OpenWrt: opkg install kmod-wireguard), or start wireguard-go".into(),
        )),
        Error::NotFound { .. } if !is_socket => Some((
            "there is no such WireGuard interface".into(),
            format!("wg-quick up {target} (OpenWrt: ifup {target})").into(),
        )),
        Error::Deaf { .. } => Some((
            "its process is gone and left its socket behind".into(),
            format!("start it again, or rm {target}").into(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_has_a_remedy() {
        let thing = || "wg0".to_owned();
        let remedy = |error: Error| explain("wg0", &error).map(|(_, remedy)| remedy.into_owned()).unwrap_or_default();
        assert!(remedy(Error::Denied { thing: thing() }).contains("wireguard.conf"));
        assert!(remedy(Error::Refused { thing: thing(), why: NO_MODULE.into() }).starts_with("modprobe wireguard"));
        assert_eq!(remedy(Error::NotFound { thing: thing() }), "wg-quick up wg0 (OpenWrt: ifup wg0)");
        assert_eq!(explain("wg0", &Error::TimedOut { thing: thing() }), None);
    }

    #[test]
    fn a_sockets_permissions_are_explained_as_every_files() {
        let socket = "/var/run/wireguard/wg0.sock";
        assert_eq!(explain(socket, &Error::Denied { thing: socket.into() }), None);
        let (words, remedy) = explain(socket, &Error::Deaf { thing: socket.into() }).expect("advice");
        assert!(words.contains("left its socket behind") && remedy.ends_with(socket), "{words} {remedy}");
    }
}
