//! Messages of netlink: which interfaces are WireGuard's, under which number the kernel speaks of WireGuard, and what an
//! interface says.
//!
//! Formats: netlink(7), rtnetlink(7), and the kernel's `linux/genetlink.h` and `linux/wireguard.h`. Everything but ports
//! and addresses is in the byte order of the machine. A message is read whole or not at all.
//!
//! An interface with many peers comes in several messages, of which only the first speaks of the interface. Networks of
//! a peer that did not fit come in the next message, under the peer's key and nothing else. Private and preshared keys
//! are in the messages, and are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::device::{AllowedIp, Device, Peer};
use super::key::Key;

/// `NLM_F_REQUEST | NLM_F_DUMP`: all there is, not one.
const DUMP: u16 = 0x301;

/// `NLM_F_DUMP_INTR`: what is listed changed while it was.
const INTERRUPTED: u16 = 0x10;

/// The kinds of messages that are the same everywhere: `NLMSG_ERROR`, `NLMSG_DONE`, `NLMSG_OVERRUN`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;

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

/// The common header: length, kind, flags, number, port.
const HEADER: usize = 16;

/// The header of an attribute: length and kind.
const ATTRIBUTE: usize = 4;

/// The name of WireGuard's interfaces and messages.
const NAME: &[u8] = b"wireguard";

/// The order of the bytes in a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest byte first.
    Little,
    /// The highest byte first.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };

    fn u16(self, bytes: [u8; 2]) -> u16 {
        if self == Self::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        if self == Self::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        if self == Self::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}

/// What the format does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What should have stood there.
    pub expected: &'static str,
    /// Where, in bytes from the start of the datagram.
    pub offset: usize,
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Whether what is listed changed meanwhile, so that some may be missing or come twice.
    pub is_interrupted: bool,
    /// What it says.
    pub content: Content<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Something that was asked for.
    Data(Data<'a>),
    /// Nothing else comes.
    End,
    /// The kernel refused, with the number of the error.
    Refused(i32),
}

/// What is in a message behind its header.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    kind: u16,
    bytes: Piece<'a>,
}

/// The messages of one datagram, or of several behind one another, up to one that is malformed.
#[derive(Clone, Debug)]
pub struct Messages<'a>(Piece<'a>);

/// Bytes that know where they stand.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    bytes: &'a [u8],
    offset: usize,
    order: ByteOrder,
}

/// Attributes behind one another, up to one that is malformed.
#[derive(Clone, Debug)]
struct Attributes<'a>(Piece<'a>);

/// One attribute, without the flags in its kind.
#[derive(Clone, Copy, Debug)]
struct Attribute<'a> {
    kind: u16,
    value: Piece<'a>,
}

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

/// The messages of one datagram.
pub fn messages(datagram: &[u8], order: ByteOrder) -> Messages<'_> {
    Messages(Piece { bytes: datagram, offset: 0, order })
}

/// The name of the interface that a message of rtnetlink speaks of, where it is one of WireGuard.
pub fn link(data: Data<'_>) -> Result<Option<String>, Malformed> {
    let (mut name, mut is_wireguard) = (None, false);
    if data.kind != NEW_LINK {
        return Ok(None);
    }
    for attribute in data.attributes(LINK_HEADER)? {
        let Attribute { kind, value } = attribute?;
        match kind {
            // IFLA_IFNAME
            3 => name = Some(value.text()),
            // IFLA_LINKINFO with IFLA_INFO_KIND
            18 => {
                for attribute in value.attributes() {
                    let attribute = attribute?;
                    is_wireguard |= attribute.kind == 1 && trim(attribute.value.bytes) == NAME;
                }
            }
            _ => {}
        }
    }
    Ok(name.filter(|name| is_wireguard && !name.is_empty()))
}

/// The number of what a message of generic netlink's own speaks of, where that is WireGuard.
pub fn family(data: Data<'_>) -> Result<Option<u16>, Malformed> {
    let (mut number, mut is_wireguard) = (None, false);
    for attribute in data.attributes(GENERIC_HEADER)? {
        let Attribute { kind, value } = attribute?;
        match kind {
            // CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME
            1 => number = Some(value.u16()?),
            2 => is_wireguard = trim(value.bytes) == NAME,
            _ => {}
        }
    }
    Ok(number.filter(|_| is_wireguard))
}

/// Adds to `device` what one of its messages says.
pub fn read_device(data: Data<'_>, device: &mut Device) -> Result<(), Malformed> {
    for attribute in data.attributes(GENERIC_HEADER)? {
        let Attribute { kind, value } = attribute?;
        match kind {
            // WGDEVICE_A_IFINDEX; _PUBLIC_KEY, _LISTEN_PORT, _FWMARK; _PEERS
            1 => device.index = Some(value.u32()?),
            4 => device.public_key = Some(value.key()?),
            6 => device.listen_port = Some(value.u16()?).filter(|port| *port > 0),
            7 => device.fwmark = Some(value.u32()?).filter(|mark| *mark > 0),
            8 => value.attributes().try_for_each(|peer| read_peer(peer?.value, device))?,
            _ => {}
        }
    }
    Ok(())
}

/// A peer, or more networks of the last one.
fn read_peer(piece: Piece<'_>, device: &mut Device) -> Result<(), Malformed> {
    let mut peer = Peer::new(public_key(piece)?);
    let mut networks = None;
    for attribute in piece.attributes() {
        let Attribute { kind, value } = attribute?;
        match kind {
            // WGPEER_A_ENDPOINT, _PERSISTENT_KEEPALIVE_INTERVAL, _LAST_HANDSHAKE_TIME, _RX_BYTES, _TX_BYTES, _ALLOWEDIPS
            4 => peer.endpoint = Some(value.endpoint()?),
            5 => peer.keepalive = Some(value.u16()?).filter(|interval| *interval > 0),
            6 => peer.handshake = value.time()?,
            7 => peer.received = value.u64()?,
            8 => peer.sent = value.u64()?,
            9 => networks = Some(value),
            _ => {}
        }
    }
    if device.peers.last().is_none_or(|last| last.public_key != peer.public_key) {
        device.add(peer);
    }
    let Some(networks) = networks else { return Ok(()) };
    networks.attributes().try_for_each(|network| network?.value.network().map(|network| device.allow(network)))
}

/// WGPEER_A_PUBLIC_KEY, without which a peer is none.
fn public_key(peer: Piece<'_>) -> Result<Key, Malformed> {
    for attribute in peer.attributes() {
        let attribute = attribute?;
        if attribute.kind == 1 {
            return attribute.value.key();
        }
    }
    Err(peer.malformed("a public key"))
}

/// Without the NUL that ends a name.
fn trim(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"\0").unwrap_or(name)
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.bytes.is_empty() {
            let Some((kind, flags, body)) = self.0.cut_message() else {
                let malformed = self.0.malformed("a message");
                self.0.bytes = &[];
                return Some(Err(malformed));
            };
            let content = match (kind, body.code()) {
                // An acknowledgement.
                (ERROR, Some(0)) => continue,
                (ERROR, Some(code)) => Content::Refused(code.saturating_neg()),
                // A list that failed half way says so at its end.
                (DONE, Some(code)) if code < 0 => Content::Refused(code.saturating_neg()),
                (DONE, _) => Content::End,
                (ERROR | OVERRUN, _) => return Some(Err(body.malformed("a message that is whole"))),
                (kind, _) if kind < CONTROL => continue,
                _ => Content::Data(Data { kind, bytes: body }),
            };
            return Some(Ok(Message { is_interrupted: flags & INTERRUPTED != 0, content }));
        }
        None
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.bytes.is_empty() {
            return None;
        }
        let cut = self.0.cut_attribute();
        if cut.is_none() {
            let malformed = self.0.malformed("an attribute");
            self.0.bytes = &[];
            return Some(Err(malformed));
        }
        cut.map(Ok)
    }
}

impl<'a> Data<'a> {
    /// The attributes behind a header of `header` bytes.
    fn attributes(self, header: usize) -> Result<Attributes<'a>, Malformed> {
        self.bytes.after(header).map(Attributes).ok_or_else(|| self.bytes.malformed("a header"))
    }
}

impl<'a> Piece<'a> {
    fn malformed(self, expected: &'static str) -> Malformed {
        Malformed { expected, offset: self.offset }
    }

    /// What follows the first `count` bytes.
    fn after(self, count: usize) -> Option<Self> {
        Some(Self { bytes: self.bytes.get(count..)?, offset: self.offset.saturating_add(count), ..self })
    }

    /// Takes the first `length` bytes away, with what fills them up to four; gives those from `header` on.
    fn cut(&mut self, header: usize, length: usize) -> Option<Self> {
        let part = Self { bytes: self.bytes.get(..length)?, ..*self }.after(header)?;
        // What ends a message or a list of attributes need not be filled up.
        let padded = length.checked_next_multiple_of(4)?.min(self.bytes.len());
        *self = self.after(padded)?;
        Some(part)
    }

    /// Takes the first message away: its kind, its flags and its body.
    fn cut_message(&mut self) -> Option<(u16, u16, Self)> {
        let ([a, b, c, d, e, f, g, h], _) = self.bytes.split_first_chunk()?;
        let length = usize::try_from(self.order.u32([*a, *b, *c, *d])).ok()?;
        let (kind, flags) = (self.order.u16([*e, *f]), self.order.u16([*g, *h]));
        Some((kind, flags, self.cut(HEADER, length)?))
    }

    /// Takes the first attribute away.
    fn cut_attribute(&mut self) -> Option<Attribute<'a>> {
        let ([a, b, c, d], _) = self.bytes.split_first_chunk()?;
        let length = usize::from(self.order.u16([*a, *b]));
        // The two highest bits say that it is nested, and in the byte order of the network.
        let kind = self.order.u16([*c, *d]) & 0x3fff;
        Some(Attribute { kind, value: self.cut(ATTRIBUTE, length)? })
    }

    fn attributes(self) -> Attributes<'a> {
        Attributes(self)
    }

    /// The number of an error, where one stands there.
    fn code(self) -> Option<i32> {
        self.bytes.first_chunk().map(|bytes| self.order.u32(*bytes).cast_signed())
    }

    /// All of it as so many bytes.
    fn exactly<const N: usize>(self, expected: &'static str) -> Result<[u8; N], Malformed> {
        self.bytes.try_into().map_err(|_| self.malformed(expected))
    }

    fn u16(self) -> Result<u16, Malformed> {
        Ok(self.order.u16(self.exactly("2 bytes")?))
    }

    fn u32(self) -> Result<u32, Malformed> {
        Ok(self.order.u32(self.exactly("4 bytes")?))
    }

    fn u64(self) -> Result<u64, Malformed> {
        Ok(self.order.u64(self.exactly("8 bytes")?))
    }

    fn key(self) -> Result<Key, Malformed> {
        Ok(Key(self.exactly("a key of 32 bytes")?))
    }

    fn text(self) -> String {
        String::from_utf8_lossy(trim(self.bytes)).into_owned()
    }

    /// `struct __kernel_timespec`; nothing where it is 0, which means never.
    fn time(self) -> Result<Option<i64>, Malformed> {
        let both: [u8; 16] = self.exactly("a time of 16 bytes")?;
        let seconds = both.first_chunk().map(|bytes| self.order.u64(*bytes).cast_signed());
        Ok(seconds.filter(|_| both != [0; 16]))
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

    /// WGALLOWEDIP_A_FAMILY, _IPADDR and _CIDR_MASK.
    fn network(self) -> Result<AllowedIp, Malformed> {
        let (mut family, mut address, mut prefix) = (None, None, None);
        for attribute in self.attributes() {
            let Attribute { kind, value } = attribute?;
            match kind {
                1 => family = Some(value.u16()?),
                2 => address = Some(value.bytes),
                3 => {
                    let [bits] = value.exactly("1 byte")?;
                    prefix = Some(bits);
                }
                _ => {}
            }
        }
        let address = family.zip(address).and_then(|(family, bytes)| ip(family, bytes));
        let network = address.zip(prefix).map(|(address, prefix)| AllowedIp { address, prefix });
        network.ok_or_else(|| self.malformed("a network"))
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

/// A message that is being written.
struct Request {
    bytes: Vec<u8>,
    order: ByteOrder,
}

impl Request {
    fn new(kind: u16, header: &[u8], order: ByteOrder) -> Self {
        let mut request = Self { bytes: Vec::new(), order };
        // The length comes last; neither number nor port is needed.
        let head = [&[0; 4][..], &request.u16(kind), &request.u16(DUMP), &[0; 8], header].concat();
        request.bytes = head;
        request
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        let attribute = self.attribute(kind, value);
        self.bytes.extend_from_slice(&attribute);
    }

    fn attribute(&self, kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len().saturating_add(ATTRIBUTE)).unwrap_or(u16::MAX);
        let mut out = [&self.u16(length)[..], &self.u16(kind), value].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.u32(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.iter_mut().zip(length).for_each(|(byte, new)| *byte = new);
        self.bytes
    }

    fn u16(&self, number: u16) -> [u8; 2] {
        if self.order == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u32(&self, number: u32) -> [u8; 4] {
        if self.order == ByteOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

    fn request(order: ByteOrder) -> Request {
        Request { bytes: Vec::new(), order }
    }

    fn attribute(kind: u16, value: &[u8], order: ByteOrder) -> Vec<u8> {
        request(order).attribute(kind, value)
    }

    /// A message, which is not filled up to four bytes.
    fn message(kind: u16, flags: u16, body: &[u8], order: ByteOrder) -> Vec<u8> {
        let out = request(order);
        let length = u32::try_from(HEADER + body.len()).expect("short");
        [&out.u32(length)[..], &out.u16(kind), &out.u16(flags), &[0; 8], body].concat()
    }

    /// What messages say in one word each, and whether they were interrupted.
    fn words(datagram: &[u8], order: ByteOrder) -> Vec<(String, bool)> {
        let word = |message: Result<Message<'_>, Malformed>| match message {
            Ok(Message { is_interrupted, content: Content::Data(data) }) => {
                (format!("data {}", data.kind), is_interrupted)
            }
            Ok(Message { is_interrupted, content: Content::End }) => ("end".into(), is_interrupted),
            Ok(Message { is_interrupted, content: Content::Refused(code) }) => {
                (format!("refused {code}"), is_interrupted)
            }
            Err(malformed) => (malformed.expected.into(), false),
        };
        messages(datagram, order).map(word).collect()
    }

    #[test]
    fn each_kind_of_message_is_told_from_the_others() {
        for order in ORDERS {
            let code = |code: i32| request(order).u32(code.cast_unsigned());
            for (kind, flags, body, expected) in [
                (ERROR, 0, &code(0)[..], &[][..]),
                (ERROR, 0, &code(-13), &[("refused 13", false)]),
                (ERROR, 0, &code(-13)[..3], &[("a message that is whole", false)]),
                (DONE, 0, &code(0), &[("end", false)]),
                (DONE, 0x10, &code(0), &[("end", true)]),
                (DONE, 0x20, &code(7), &[("end", false)]),
                (DONE, 0, b"", &[("end", false)]),
                (DONE, 0, &code(-2), &[("refused 2", false)]),
                (OVERRUN, 0, b"", &[("a message that is whole", false)]),
                (1, 0, b"", &[]),
                (15, 0, b"", &[]),
                (16, 0x12, b"x", &[("data 16", true)]),
                (29, 0x02, b"", &[("data 29", false)]),
            ] {
                let expected: Vec<_> = expected.iter().map(|(word, is)| ((*word).to_owned(), *is)).collect();
                assert_eq!(
                    words(&message(kind, flags, body, order), order),
                    expected,
                    "{kind} {flags} {body:?} {order:?}"
                );
            }
            let mut two = message(16, 0, b"abc", order);
            two.push(0);
            two.extend(message(DONE, 0, b"", order));
            assert_eq!(words(&two, order), [("data 16".to_owned(), false), ("end".to_owned(), false)]);
        }
    }

    /// What a message of WireGuard with these attributes says.
    fn device(attributes: &[Vec<u8>], order: ByteOrder) -> Result<Device, Malformed> {
        let mut device = Device::default();
        let body = [&[0; GENERIC_HEADER][..], &attributes.concat()].concat();
        read_device(Data { kind: 29, bytes: Piece { bytes: &body, offset: 0, order } }, &mut device)?;
        Ok(device)
    }

    fn peer(attributes: &[Vec<u8>], order: ByteOrder) -> Vec<u8> {
        let key = attribute(1, &[7; 32], order);
        attribute(8 | 0x8000, &attribute(0x8000, &[key, attributes.concat()].concat(), order), order)
    }

    #[test]
    fn numbers_are_whole_and_0_is_none() {
        for order in ORDERS {
            let out = request(order);
            for (number, expected) in [(0, None), (1, Some(1)), (u16::MAX, Some(u16::MAX))] {
                let attributes = [
                    attribute(1, &out.u32(number.into()), order),
                    attribute(6, &out.u16(number), order),
                    attribute(7, &out.u32(number.into()), order),
                    peer(&[attribute(5, &out.u16(number), order)], order),
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
            for (time, expected) in [(time(0, 0), None), (time(9, 0), Some(9)), (time(0, 1), Some(0))] {
                let attributes = [attribute(7, &eight(11), order), attribute(8, &eight(22), order), time];
                let found = device(&[peer(&attributes, order)], order).expect("a device");
                let peer = &found.peers[0];
                assert_eq!((peer.received, peer.sent, peer.handshake), (11, 22, expected));
            }
            let out = request(order);
            let port = 51_820_u16.to_be_bytes();
            let four = [&out.u16(AF_INET)[..], &port, &[192, 0, 2, 1], &[0; 8]].concat();
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets();
            let six = [&out.u16(AF_INET6)[..], &port, &[1, 2, 3, 4], &address, &[0; 4]].concat();
            for (bytes, expected) in [(four, "192.0.2.1:51820"), (six, "[2001:db8::1]:51820")] {
                let found = device(&[peer(&[attribute(4, &bytes, order)], order)], order).expect("a device");
                assert_eq!(found.peers[0].endpoint, expected.parse().ok());
            }
        }
    }

    #[test]
    fn networks_without_more_than_the_key_are_the_last_peers() {
        let order = ByteOrder::NATIVE;
        let network = |last: u8| {
            let parts = [
                attribute(1, &request(order).u16(AF_INET), order),
                attribute(2, &[10, 0, 0, last], order),
                attribute(3, &[32], order),
            ];
            attribute(9 | 0x8000, &attribute(0x8000, &parts.concat(), order), order)
        };
        let found = device(&[peer(&[network(1)], order), peer(&[network(2)], order)], order).expect("a device");
        assert_eq!((found.peers.len(), found.allowed_ips(&found.peers[0]).len()), (1, 2));
    }

    #[test]
    fn an_interface_of_wireguard_has_its_kind_and_a_name() {
        let order = ByteOrder::NATIVE;
        let named = |message: u16, name: &[u8], kind: &[u8]| {
            let information = attribute(18 | 0x4000 | 0x8000, &attribute(1, kind, order), order);
            let body = [&[0; LINK_HEADER][..], &attribute(3, name, order), &information].concat();
            link(Data { kind: message, bytes: Piece { bytes: &body, offset: 0, order } })
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
