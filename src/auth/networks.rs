//! Allowed networks in CIDR notation (RFC 4632, RFC 4291).

use std::net::IpAddr;

/// A list of networks. An IPv4-mapped IPv6 address counts as IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

/// The bits of an address as IPv6, IPv4 ones mapped, without the unused ones behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    is_v4: bool,
    prefix: u128,
    unused: u32,
}

impl Networks {
    /// Parses addresses and networks; the error is the first invalid one.
    pub fn parse(list: &[String]) -> Result<Self, &str> {
        list.iter().map(|text| Network::parse(text).ok_or(text.as_str())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// Bits behind the prefix are ignored, as in `192.0.2.1/24`.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let length: Option<u8> = match length {
            Some(length) if length.starts_with('+') => return None,
            Some(length) => Some(length.parse().ok()?),
            None => None,
        };
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let unused = bits.checked_sub(length.unwrap_or(bits))?.into();
        let is_v4 = address.to_canonical().is_ipv4() && unused <= 32;
        Some(Self { is_v4, prefix: shifted(address, unused), unused })
    }

    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4 && shifted(address, self.unused) == self.prefix
    }
}

/// The bits of an address as IPv6, without the last `unused`.
fn shifted(address: IpAddr, unused: u32) -> u128 {
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.to_bits().checked_shr(unused).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_networks_only() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77/24", "192.0.2.1", "192.0.1.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("::ffff:192.0.2.0/120", "192.0.2.9", "192.0.3.9"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("::ffff:0:0/96", "203.0.113.1", "2001:db8::1"),
            ("::ffff:192.0.2.0/95", "::fffe:192.0.2.1", "192.0.2.1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.2"),
        ] {
            let networks = Networks::parse(&[network.to_owned()]).unwrap().clone();
            assert!(networks.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!networks.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        assert!(!Networks::default().contains([127, 0, 0, 1].into()));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2.0/-1",
            "lan",
            "192.0.2/24",
            "::ffff:1.2.3.4/300",
        ] {
            assert_eq!(Networks::parse(&["10.0.0.0/8".into(), text.into()]), Err(text));
        }
    }
}
