//! Messages of netlink about WireGuard: its interfaces, the number of its generic netlink family, and an interface with its
//! peers.
//!
//! Formats: rtnetlink(7), and the kernel's `linux/genetlink.h` and `linux/wireguard.h`; [`crate::netlink`] has what all
//! messages share.
//!
//! An interface with many peers comes in several messages, of which only the first speaks of the interface. Networks of
//! a peer that did not fit come in the next message, under the peer's key and nothing else. Private and preshared keys
//! are in the messages, and are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::device::{Device, Peer, write_endpoint, write_network};
use super::key::Key;
use crate::netlink::{ByteOrder, Data, Malformed, Piece, Request};

/// `RTM_NEWLINK` and `RTM_GETLINK`.
const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;

/// `GENL_ID_CTRL`, which knows the numbers of all others; `CTRL_CMD_GETFAMILY`.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;

/// `WG_CMD_GET_DEVICE`, and the version of its messages.
const GET_DEVICE: u8 = 0;
const VERSION: u8 = 1;

/// The headers behind the common one: `struct ifinfomsg` and `struct genlmsghdr`.
const LINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// The name of WireGuard's interfaces and messages.
const NAME: &[u8] = b"wireguard";

/// Asks rtnetlink for the interfaces of WireGuard. Kernels that don't know the kind, or are older than this filter, list
/// all.
pub fn links_request(order: ByteOrder) -> Vec<u8> {
    let mut out = Request::new(GET_LINK, &[0; LINK_HEADER], order);
    // IFLA_EXT_MASK with RTEXT_FILTER_SKIP_STATS; IFLA_LINKINFO with IFLA_INFO_KIND.
    out.put(29, &out.u32(1 << 3));
    let kind = out.attribute(1, NAME);
    out.put(18 | 0x8000, &kind);
    out.finish()
}

/// Asks generic netlink for all that it speaks of. To ask for WireGuard by its name would load its module.
pub fn families_request(order: ByteOrder) -> Vec<u8> {
    Request::new(CONTROL, &[GET_FAMILY, VERSION, 0, 0], order).finish()
}

/// Asks WireGuard, under the number `family`, for an interface with its peers.
pub fn device_request(family: u16, interface: &str, order: ByteOrder) -> Vec<u8> {
    let mut out = Request::new(family, &[GET_DEVICE, VERSION, 0, 0], order);
    // WGDEVICE_A_IFNAME
    out.put(2, &[interface.as_bytes(), b"\0"].concat());
    out.finish()
}

/// The name of the interface that a message of rtnetlink speaks of, where it is one of WireGuard.
pub fn link(data: Data<'_>) -> Result<Option<String>, Malformed> {
    let (mut name, mut is_wireguard) = (&[][..], false);
    if data.kind != NEW_LINK {
        return Ok(None);
    }
    data.each(LINK_HEADER, &mut |kind, value| {
        match kind {
            // IFLA_IFNAME
            3 => name = trim(value.bytes),
            // IFLA_LINKINFO with IFLA_INFO_KIND
            18 => value.each(&mut |kind, value| {
                is_wireguard |= kind == 1 && trim(value.bytes) == NAME;
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((is_wireguard && !name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()))
}

/// The number of what a message of generic netlink's own speaks of, where that is WireGuard.
pub fn family(data: Data<'_>) -> Result<Option<u16>, Malformed> {
    let (mut number, mut is_wireguard) = (None, false);
    data.each(GENERIC_HEADER, &mut |kind, value| {
        match kind {
            // CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME
            1 => number = Some(value.u16()?),
            2 => is_wireguard = trim(value.bytes) == NAME,
            _ => {}
        }
        Ok(())
    })?;
    Ok(number.filter(|_| is_wireguard))
}

/// Adds to `device` what one of its messages says.
pub fn read_device(data: Data<'_>, device: &mut Device) -> Result<(), Malformed> {
    data.each(GENERIC_HEADER, &mut |kind, value| {
        match kind {
            // WGDEVICE_A_IFINDEX; _PUBLIC_KEY, _LISTEN_PORT, _FWMARK; _PEERS
            1 => device.index = Some(value.u32()?),
            4 => device.public_key = Some(value.key()?),
            6 => device.listen_port = Some(value.u16()?).filter(|port| *port > 0),
            7 => device.fwmark = Some(value.u32()?).filter(|mark| *mark > 0),
            8 => value.each(&mut |_, peer| read_peer(peer, device))?,
            _ => {}
        }
        Ok(())
    })
}

/// A peer, or more networks of the last one.
fn read_peer(piece: Piece<'_>, device: &mut Device) -> Result<(), Malformed> {
    let (mut key, mut endpoint, mut networks) = (None, None, None);
    let mut peer = Peer::new(Key::default());
    piece.each(&mut |kind, value| {
        match kind {
            // WGPEER_A_PUBLIC_KEY, without which a peer is none
            1 => key = Some(value.key()?),
            // WGPEER_A_ENDPOINT, _PERSISTENT_KEEPALIVE_INTERVAL, _LAST_HANDSHAKE_TIME, _RX_BYTES, _TX_BYTES, _ALLOWEDIPS
            4 => endpoint = Some(value.endpoint()?),
            5 => peer.keepalive = Some(value.u16()?).filter(|interval| *interval > 0),
            6 => peer.handshake = value.time()?,
            7 => peer.received = value.u64()?,
            8 => peer.sent = value.u64()?,
            9 => networks = Some(value),
            _ => {}
        }
        Ok(())
    })?;
    peer.public_key = key.ok_or_else(|| piece.malformed("a public key"))?;
    if device.peers.last().is_none_or(|last| last.public_key != peer.public_key) {
        device.add(peer);
        if let Some(endpoint) = endpoint {
            device.set_endpoint(|out| write_endpoint(endpoint, out));
        }
    }
    let Some(networks) = networks else { return Ok(()) };
    networks.each(&mut |_, network| {
        let (address, prefix) = network.network()?;
        device.allow(|out| write_network(address, prefix, out));
        Ok(())
    })
}

impl Piece<'_> {
    fn key(self) -> Result<Key, Malformed> {
        Ok(Key(self.exactly("a key of 32 bytes")?))
    }

    /// `struct __kernel_timespec`; nothing where it is 0, which means never. Before 2019 a kernel of 32 bits said it in two
    /// numbers of 32 bits.
    fn time(mut self) -> Result<Option<i64>, Malformed> {
        let both = self.bytes;
        let (seconds, nanoseconds) = both.split_at(both.len() / 2);
        self.bytes = seconds;
        let seconds = if nanoseconds.len() == 4 { self.u32()?.into() } else { self.u64()?.cast_signed() };
        Ok(Some(seconds).filter(|_| both.iter().any(|byte| *byte != 0)))
    }

    /// `struct sockaddr_in` or `struct sockaddr_in6`.
    fn endpoint(self) -> Result<SocketAddr, Malformed> {
        let malformed = self.malformed("an address with a port");
        let ([a, b, c, d], rest) = self.bytes.split_first_chunk().ok_or(malformed)?;
        let (family, port) = (self.order.u16([*a, *b]), u16::from_be_bytes([*c, *d]));
        // The flow label stands before an address of IPv6; what follows is no part of it.
        let address = if family == AF_INET6 { rest.get(4..20) } else { rest.get(..4) };
        let address = address.and_then(|bytes| ip(family, bytes));
        address.map(|address| SocketAddr::new(address, port)).ok_or(malformed)
    }

    /// WGALLOWEDIP_A_FAMILY, _IPADDR and _CIDR_MASK, which is the length of the prefix.
    fn network(self) -> Result<(IpAddr, u8), Malformed> {
        let (mut family, mut address, mut prefix) = (0, &[][..], None);
        self.each(&mut |kind, value| {
            match kind {
                1 => family = value.u16()?,
                2 => address = value.bytes,
                3 => prefix = Some(value.exactly("1 byte")?),
                _ => {}
            }
            Ok(())
        })?;
        let network = ip(family, address).zip(prefix);
        let (address, [prefix]) = network.ok_or_else(|| self.malformed("a network"))?;
        Ok((address, prefix))
    }
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

fn ip(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        AF_INET6 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// Without the NUL that ends a name.
fn trim(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Content, Message, messages};

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

    fn attribute(kind: u16, value: &[u8], order: ByteOrder) -> Vec<u8> {
        Request::new(0, &[], order).attribute(kind, value)
    }

    fn two(number: u16, order: ByteOrder) -> [u8; 2] {
        if order == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn four(number: u32, order: ByteOrder) -> [u8; 4] {
        Request::new(0, &[], order).u32(number)
    }

    /// What a message of that kind says to `read`.
    fn read<T>(kind: u16, body: &[u8], order: ByteOrder, read: impl FnOnce(Data<'_>) -> T) -> T {
        let datagram = Request::new(kind, body, order).finish();
        match messages(&datagram, order).next() {
            Some(Ok(Message { content: Content::Data(data), .. })) => read(data),
            other => panic!("{other:?}"),
        }
    }

    /// What a message of WireGuard with these attributes says.
    fn device(attributes: &[Vec<u8>], order: ByteOrder) -> Result<Device, Malformed> {
        let mut device = Device::default();
        let body = [&[0; GENERIC_HEADER][..], &attributes.concat()].concat();
        read(29, &body, order, |data| read_device(data, &mut device))?;
        Ok(device)
    }

    fn peer(attributes: &[Vec<u8>], order: ByteOrder) -> Vec<u8> {
        let key = attribute(1, &[7; 32], order);
        attribute(8 | 0x8000, &attribute(0x8000, &[key, attributes.concat()].concat(), order), order)
    }

    #[test]
    fn numbers_are_whole_and_0_is_none() {
        for order in ORDERS {
            for (number, expected) in [(0, None), (1, Some(1)), (u16::MAX, Some(u16::MAX))] {
                let attributes = [
                    attribute(1, &four(number.into(), order), order),
                    attribute(6, &two(number, order), order),
                    attribute(7, &four(number.into(), order), order),
                    peer(&[attribute(5, &two(number, order), order)], order),
                ];
                let found = device(&attributes, order).expect("a device");
                assert_eq!(found.index, Some(number.into()));
                assert_eq!((found.listen_port, found.fwmark), (expected, expected.map(u32::from)));
                assert_eq!(found.peers[0].keepalive, expected);
            }
            assert_eq!(
                device(&[attribute(6, &[1], order)], order).map_err(|malformed| malformed.expected),
                Err("2 bytes")
            );
        }
    }

    #[test]
    fn a_peers_counters_time_and_endpoint_are_its_own() {
        for order in ORDERS {
            let eight = |number: u64| match order {
                ByteOrder::Big => number.to_be_bytes(),
                ByteOrder::Little => number.to_le_bytes(),
            };
            let time = |seconds, nanoseconds| attribute(6, &[eight(seconds), eight(nanoseconds)].concat(), order);
            let short =
                |seconds, nanoseconds| attribute(6, &[four(seconds, order), four(nanoseconds, order)].concat(), order);
            for (time, expected) in [
                (time(0, 0), None),
                (time(9, 0), Some(9)),
                (time(0, 1), Some(0)),
                (short(0, 0), None),
                (short(9, 8), Some(9)),
                (short(0, 1), Some(0)),
                (short(u32::MAX, 0), Some(u32::MAX.into())),
            ] {
                let attributes = [attribute(7, &eight(11), order), attribute(8, &eight(22), order), time];
                let found = device(&[peer(&attributes, order)], order).expect("a device");
                let peer = &found.peers[0];
                assert_eq!((peer.received, peer.sent, peer.handshake), (11, 22, expected));
            }
            let port = 51_820_u16.to_be_bytes();
            let four = [&two(AF_INET, order)[..], &port, &[192, 0, 2, 1], &[0; 8]].concat();
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
            let six = [&two(AF_INET6, order)[..], &port, &[1, 2, 3, 4], &address, &[0; 4]].concat();
            for (bytes, expected) in [(four, "192.0.2.1:51820"), (six, "[2001:db8::1]:51820")] {
                let found = device(&[peer(&[attribute(4, &bytes, order)], order)], order).expect("a device");
                assert_eq!(found.endpoint(&found.peers[0]), expected);
            }
        }
    }

    #[test]
    fn networks_without_more_than_the_key_are_the_last_peers() {
        let order = ByteOrder::NATIVE;
        let network = |last: u8| {
            let parts = [
                attribute(1, &two(AF_INET, order), order),
                attribute(2, &[10, 0, 0, last], order),
                attribute(3, &[32], order),
            ];
            attribute(9 | 0x8000, &attribute(0x8000, &parts.concat(), order), order)
        };
        let found = device(&[peer(&[network(1)], order), peer(&[network(2)], order)], order).expect("a device");
        assert_eq!(found.peers.len(), 1);
        assert_eq!(found.allowed_ips(&found.peers[0]), "10.0.0.1/32,10.0.0.2/32");
    }

    #[test]
    fn an_interface_of_wireguard_has_its_kind_and_a_name() {
        let order = ByteOrder::NATIVE;
        let named = |message: u16, name: &[u8], kind: &[u8]| {
            let information = attribute(18 | 0x4000 | 0x8000, &attribute(1, kind, order), order);
            let body = [&[0; LINK_HEADER][..], &attribute(3, name, order), &information].concat();
            read(message, &body, order, link)
        };
        for (message, name, kind, expected) in [
            (NEW_LINK, &b"wg0\0"[..], &b"wireguard\0"[..], Some("wg0")),
            (NEW_LINK, b"wg0", b"wireguard", Some("wg0")),
            (NEW_LINK, b"\0", b"wireguard\0", None),
            (NEW_LINK, b"eth0\0", b"veth\0", None),
            (17, b"wg0\0", b"wireguard\0", None),
        ] {
            assert_eq!(named(message, name, kind), Ok(expected.map(str::to_owned)), "{message} {name:?} {kind:?}");
        }
    }
}
