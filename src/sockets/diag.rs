//! sock_diag, the kernel's own way of listing sockets: a request that names the states, and the messages of its answer.
//!
//! Format: sock_diag(7) and the kernel's `inet_diag.h`. Headers are in the byte order of the machine, ports and
//! addresses in that of the network. The kernel leaves out what was not asked for, which spares printing and parsing
//! it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tables::{Endpoint, Row, States, Table};
use crate::netlink::{ByteOrder, Content, Piece, Request, messages};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// `SOCK_DIAG_BY_FAMILY`.
const SOCKET: u16 = 20;

/// `INET_DIAG_SKV6ONLY`, one byte; the kernel adds it to IPv6 sockets that listen.
const V6_ONLY: u16 = 11;

/// The states that `/proc/net` prints, 1 to 12; a later one stands for sockets that are only bound.
const PRINTED: u32 = 0x1ffe;

/// One message of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A socket.
    Socket(Row),
    /// Nothing else comes.
    End,
    /// The kernel refused, with the number of the error.
    Refused(i32),
    /// The rest of the datagram makes no sense.
    Broken,
}

/// The request for all sockets of a table in any of `states`.
pub fn request(table: Table, states: States) -> Vec<u8> {
    let (family, protocol) = match table {
        Table::Tcp => (AF_INET, IPPROTO_TCP),
        Table::Tcp6 => (AF_INET6, IPPROTO_TCP),
        Table::Udp => (AF_INET, IPPROTO_UDP),
        Table::Udp6 => (AF_INET6, IPPROTO_UDP),
    };
    // No port and no address: the sockets by state are counted whatever ports and addresses rules name.
    let header = [&[family, protocol, 0, 0][..], &(states.mask() & PRINTED).to_ne_bytes(), &[0; 48]].concat();
    Request::new(SOCKET, &header, ByteOrder::NATIVE).finish()
}

/// The messages of one datagram, up to one that is broken; messages of other kinds are skipped.
pub fn parse(datagram: &[u8]) -> impl Iterator<Item = Message> {
    messages(datagram, ByteOrder::NATIVE).filter_map(|message| match message.map(|message| message.content) {
        Ok(Content::Data(data)) if data.kind != SOCKET => None,
        Ok(Content::Data(data)) => Some(socket(data.bytes).map_or(Message::Broken, Message::Socket)),
        Ok(Content::End) => Some(Message::End),
        Ok(Content::Refused(code)) => Some(Message::Refused(code)),
        Err(_) => Some(Message::Broken),
    })
}

/// `struct inet_diag_msg` and the attributes behind it.
fn socket(body: Piece<'_>) -> Option<Row> {
    let (head, attributes) = (body.bytes.first_chunk::<72>()?, body.after(72)?);
    let ([family, state, _, _], rest) = head.split_first_chunk()?;
    let (local_port, rest) = rest.split_first_chunk()?;
    let (remote_port, rest) = rest.split_first_chunk()?;
    let (local, rest) = rest.split_first_chunk()?;
    let (remote, rest) = rest.split_first_chunk()?;
    // The interface, a cookie, a time, two queues and the user stand before the inode.
    let inode = u32::from_ne_bytes(*rest.last_chunk()?);
    let end = |address: &[u8; 16], port: &[u8; 2]| {
        Some(Endpoint { address: address_of(*family, address)?, port: u16::from_be_bytes(*port) })
    };
    Some(Row {
        local: end(local, local_port)?,
        remote: end(remote, remote_port)?,
        state: *state,
        inode: inode.into(),
        // Only sockets of IPv6 have the attribute; reading those of others took 100 instructions each.
        v6_only: *family == AF_INET6 && is_v6_only(attributes),
    })
}

fn address_of(family: u8, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => bytes.first_chunk::<4>().map(|four| Ipv4Addr::from(*four).into()),
        AF_INET6 => Some(Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

fn is_v6_only(attributes: Piece<'_>) -> bool {
    let mut is_v6_only = false;
    // What follows a malformed attribute is not read.
    let _ = attributes.each(&mut |kind, value| {
        is_v6_only |= kind == V6_ONLY && value.bytes.first().is_some_and(|yes| *yes != 0);
        Ok(())
    });
    is_v6_only
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::tables::{ESTABLISHED, LISTEN};

    /// A message as the kernel lays it out: length, kind, flags, number, port, body.
    fn written(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn socket_body(family: u8, state: u8, local: [u8; 16], attributes: &[u8]) -> Vec<u8> {
        let head = [family, state, 0, 0, 0x1f, 0x90, 0xcb, 0x21];
        let inode = 28551u32.to_ne_bytes();
        [&head[..], &local, &[0; 16], &[9; 28], &inode, attributes].concat()
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut out = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// `NLMSG_ERROR` and `NLMSG_DONE`.
    const ERROR: u16 = 2;
    const DONE: u16 = 3;

    const LOOPBACK: [u8; 16] = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_request_names_the_family_the_protocol_and_the_states() {
        let asked = request(Table::Tcp6, States::one(LISTEN).and(States::one(ESTABLISHED)));
        assert_eq!(asked.len(), 72);
        assert_eq!(asked[..4], 72u32.to_ne_bytes());
        assert_eq!(asked[4..6], 20u16.to_ne_bytes());
        assert_eq!(asked[6..8], 0x301u16.to_ne_bytes());
        assert_eq!(asked[16..20], [10, 6, 0, 0]);
        assert_eq!(asked[20..24], 0x402u32.to_ne_bytes());
        assert_eq!(request(Table::Udp, States::ALL)[16..18], [2, 17]);
        assert_eq!(request(Table::Udp, States::ALL)[20..24], 0x1ffeu32.to_ne_bytes());
    }

    #[test]
    fn sockets_come_until_the_end() {
        let v6_only = [attribute(8, &[3]), attribute(V6_ONLY, &[1])].concat();
        let datagram = [
            written(SOCKET, &socket_body(AF_INET, 1, LOOPBACK, &attribute(V6_ONLY, &[0]))),
            written(1, b"passed over"),
            written(SOCKET, &socket_body(AF_INET6, 10, [0; 16], &v6_only)),
            written(DONE, &0i32.to_ne_bytes()),
        ];
        let end = |address: IpAddr, port| Endpoint { address, port };
        let (none4, none6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
        let four = Row {
            local: end(Ipv4Addr::LOCALHOST.into(), 8080),
            remote: end(none4.into(), 52001),
            state: ESTABLISHED,
            inode: 28551,
            v6_only: false,
        };
        let (local, remote) = (end(none6.into(), 8080), end(none6.into(), 52001));
        let six = Row { local, remote, state: LISTEN, v6_only: true, ..four };
        let found: Vec<_> = parse(&datagram.concat()).collect();
        assert_eq!(found, [Message::Socket(four), Message::Socket(six), Message::End]);
    }

    #[test]
    fn a_refusal_is_told_from_the_end() {
        for kind in [ERROR, DONE] {
            let datagram = written(kind, &(-2i32).to_ne_bytes());
            assert_eq!(parse(&datagram).collect::<Vec<_>>(), [Message::Refused(2)]);
        }
        assert_eq!(parse(&written(DONE, b"")).collect::<Vec<_>>(), [Message::End]);
    }

    #[test]
    fn what_is_cut_or_spoilt_is_broken_and_ends() {
        let whole = written(SOCKET, &socket_body(AF_INET6, 10, LOOPBACK, &attribute(V6_ONLY, &[1])));
        for length in 1..whole.len() {
            assert_eq!(parse(&whole[..length]).collect::<Vec<_>>(), [Message::Broken], "{length}");
        }
        for bit in 0..whole.len() * 8 {
            let mut spoilt = whole.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&spoilt).count() <= 2, "{bit}");
        }
        assert_eq!(parse(&written(SOCKET, &socket_body(7, 1, LOOPBACK, b""))).next(), Some(Message::Broken));
        let endless = written(SOCKET, &socket_body(AF_INET6, 10, LOOPBACK, &[0; 8]));
        let Some(Message::Socket(row)) = parse(&endless).next() else { panic!("a socket") };
        assert!(!row.v6_only, "attributes without a length come to an end");
    }

    /// Whether a socket with these attributes is for IPv6 only.
    fn is_v6_only_by(attributes: &[u8]) -> bool {
        match parse(&written(SOCKET, &socket_body(AF_INET6, 10, LOOPBACK, attributes))).next() {
            Some(Message::Socket(row)) => row.v6_only,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_attribute_is_filled_up_to_four_bytes_and_has_a_value() {
        let before = |length: usize| [attribute(1, &vec![7; length]), attribute(11, &[1])].concat();
        for length in 0..9 {
            assert!(is_v6_only_by(&before(length)), "{length}");
        }
        let [empty, after] = [attribute(11, &[]), attribute(1, &[1])];
        assert!(!is_v6_only_by(&[empty, after].concat()), "what follows is another's");
    }

    #[test]
    fn a_message_is_filled_up_to_four_bytes() {
        let datagram = [written(1, b"abc"), written(DONE, &0i32.to_ne_bytes())].concat();
        assert_eq!(parse(&datagram).collect::<Vec<_>>(), [Message::End]);
    }
}
