//! The host names under which the pages may be requested, against DNS rebinding: a web site lets its own name resolve to the
//! gateway's address, and so reads the pages through the browser of a permitted user.

use std::net::{IpAddr, Ipv6Addr};

/// A list of host names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Parses host names without scheme and port; the error is the first invalid one.
    pub fn parse(list: &[String]) -> Result<Self, &str> {
        list.iter()
            .map(|text| is_name(text).then(|| canonical(text)).ok_or(text.as_str()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a request for `host` is allowed: a name of the list, an address, or `localhost`. A request without a host is
    /// allowed, since browsers always send one.
    pub fn contain(&self, host: Option<&str>) -> bool {
        let Some(host) = host.map(canonical) else { return true };
        host == "localhost" || is_address(&host) || self.0.contains(&host)
    }
}

/// The name in lower case and without a final dot.
fn canonical(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn is_name(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    is_address(text) || !canonical(text).is_empty() && text.bytes().all(is_good)
}

/// An IPv4 address, or an IPv6 one in brackets, with or without its zone.
fn is_address(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inner) => inner.split('%').next().unwrap_or_default().parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> Hosts {
        let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
        Hosts::parse(&list).unwrap().clone()
    }

    #[test]
    fn names_of_the_list_and_every_address_are_answered() {
        let hosts = hosts(&["gateway.example.com", "Router.lan.", "br_0"]);
        for host in [
            "gateway.example.com",
            "GATEWAY.Example.COM.",
            "router.lan",
            "br_0",
            "localhost",
            "LocalHost",
            "localhost.",
            "192.0.2.1",
            "127.0.0.1",
            "192.0.2.1.",
            "[2001:db8::1]",
            "[::1]",
            "[fe80::1%25eth0]",
            "2001:db8::1",
        ] {
            assert!(hosts.contain(Some(host)), "{host}");
        }
        assert!(hosts.contain(None), "HTTP/1.0 needs no Host");
    }

    #[test]
    fn other_names_are_not() {
        let hosts = hosts(&["gateway.example.com"]);
        for host in [
            "evil.example.com",
            "example.com",
            "x.gateway.example.com",
            "gateway.example.com.evil.example",
            "gateway.example.com..",
            "gateway",
            "localhost.evil.example",
            "192.0.2.1.evil.example",
            "[::1",
            "[::1].evil.example",
            "[evil.example]",
            ".",
            "",
            "3221225985",
        ] {
            assert!(!hosts.contain(Some(host)), "{host}");
        }
    }

    #[test]
    fn what_is_no_name_is_named() {
        for text in ["", ".", "*.example.com", "gateway:9234", "http://gateway", "gate way", "g\u{e4}teway", "a/b"] {
            assert_eq!(Hosts::parse(&["good.example".into(), text.into()]), Err(text));
        }
    }
}
