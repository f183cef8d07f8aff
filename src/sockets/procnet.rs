//! The kernel's socket tables, `/proc/net/{tcp,tcp6,udp,udp6}`: one line for each socket.
//!
//! Format: <https://docs.kernel.org/networking/proc_net_tcp.html>. An address is hexadecimal,
//! each 32-bit word of it in the byte order of the machine; a port is a plain number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::encoding::hex_digit;
use crate::netlink::ByteOrder;
use crate::text::Text;

use super::state_counts::StateCounts;

/// The state of a connection, for TCP and UDP alike.
pub const ESTABLISHED: u8 = 0x01;

/// The state of a UDP socket that has no peer; in TCP's tables it means closed.
pub const UNCONNECTED: u8 = 0x07;

/// The state of a TCP socket that waits for connections.
pub const LISTEN: u8 = 0x0a;

/// How many columns stand between the state and the inode.
const COLUMNS_BEFORE_INODE: usize = 5;

/// One of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// TCP sockets that speak IPv4 only.
    Tcp,
    /// TCP sockets that speak IPv6, and IPv4 where they are not told otherwise.
    Tcp6,
    /// UDP sockets that speak IPv4 only.
    Udp,
    /// UDP sockets that speak IPv6, and IPv4 where they are not told otherwise.
    Udp6,
}

impl Table {
    /// All tables, in the order in which they are read.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// The name of the table's file in `/proc/net`, which is that of its protocol in a rule.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
    }

    /// Whether it is one of those for IPv6.
    pub const fn is_v6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }

    /// The state of a socket that waits for peers.
    pub const fn listening(self) -> u8 {
        match self {
            Self::Tcp | Self::Tcp6 => LISTEN,
            Self::Udp | Self::Udp6 => UNCONNECTED,
        }
    }
}

/// A set of states. The kernel has 13; a state above 31 is in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(u32::MAX);

    /// The set of one state.
    pub fn one(state: u8) -> Self {
        Self(1u32.checked_shl(state.into()).unwrap_or(0))
    }

    /// The states of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A bit for each state.
    pub const fn mask(self) -> u32 {
        self.0
    }

    /// Whether a state is in the set.
    pub fn contains(self, state: u8) -> bool {
        self.0 & Self::one(state).0 != 0
    }
}

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As the table has it: a v4-mapped address stays an IPv6 address.
    pub address: IpAddr,
    /// 0 where there is no peer.
    pub port: u16,
}

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The near end.
    pub local: Endpoint,
    /// The far end; all zeros where there is no peer.
    pub remote: Endpoint,
    /// The kernel's number of the state.
    pub state: u8,
    /// What tells the socket from others; 0 where no process holds it any more.
    pub inode: u64,
    /// Whether it was told to leave IPv4 alone; `/proc` does not say, and then it is false.
    pub v6_only: bool,
}

/// How many lines of a table were sockets, and how many were not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Sockets, whether their state is wanted or not.
    pub understood: usize,
    /// Neither a socket nor the header.
    pub skipped: usize,
    /// The sockets by state.
    pub state_counts: StateCounts,
}

/// Calls `each` with every socket in one of the `wanted` states of a block of whole lines, and adds to `lines` what the
/// block has.
pub fn read(block: &[u8], order: ByteOrder, wanted: States, lines: &mut Lines, each: &mut dyn FnMut(&Row)) {
    for line in Text::new(block).lines().filter(|line| !is_header(*line)) {
        match parse_line(line, order, wanted) {
            Some((state, row)) => {
                lines.understood = lines.understood.saturating_add(1);
                lines.state_counts.add(state);
                row.iter().for_each(&mut *each);
            }
            None => lines.skipped = lines.skipped.saturating_add(1),
        }
    }
}

fn is_header(line: Text<'_>) -> bool {
    let line = line.trim();
    line.is_empty() || line.after("sl ").is_some()
}

/// A line's state, and its socket unless the state is not wanted, which spares decoding the rest.
fn parse_line(line: Text<'_>, order: ByteOrder, wanted: States) -> Option<(u8, Option<Row>)> {
    let (slot, rest) = line.trim().cut_word()?;
    slot.before(":")?;
    let (local, rest) = rest.cut_word()?;
    let (remote, rest) = rest.cut_word()?;
    let (state, rest) = rest.cut_word()?;
    let state = u8::try_from(hex(state.bytes(), 2)?).ok()?;
    if !wanted.contains(state) {
        return Some((state, None));
    }
    let (local, remote) = (endpoint(local, order)?, endpoint(remote, order)?);
    let inode = rest.words().nth(COLUMNS_BEFORE_INODE)?.number()?;
    Some((state, Some(Row { local, remote, state, inode, v6_only: false })))
}

fn endpoint(text: Text<'_>, order: ByteOrder) -> Option<Endpoint> {
    let (address, port) = text.cut(b':')?;
    let port = u16::try_from(hex(port.bytes(), 4)?).ok()?;
    Some(Endpoint { address: address_of(address.bytes(), order)?, port })
}

fn address_of(digits: &[u8], order: ByteOrder) -> Option<IpAddr> {
    match digits.as_chunks::<8>() {
        ([word], []) => Some(Ipv4Addr::from(word_of(word, order)?).into()),
        ([a, b, c, d], []) => {
            let mut bytes = [0; 16];
            for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip([a, b, c, d]) {
                *four = word_of(word, order)?;
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The four bytes in memory, which are in network order, of a word printed as a number.
fn word_of(digits: &[u8; 8], order: ByteOrder) -> Option<[u8; 4]> {
    let word = hex(digits, 8)?;
    Some(if order == ByteOrder::Big { word.to_be_bytes() } else { word.to_le_bytes() })
}

/// A hexadecimal number of exactly `width` digits, at most eight.
fn hex(digits: &[u8], width: usize) -> Option<u32> {
    let add = |number: u32, digit: &u8| Some((number << 4) | u32::from(hex_digit(*digit)?));
    digits.iter().try_fold(0, add).filter(|_| digits.len() == width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(local: &str, remote: &str, state: &str, inode: &str) -> String {
        format!(
            "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0\n"
        )
    }

    fn found(text: &str, order: ByteOrder, wanted: States) -> (Vec<Row>, Lines) {
        let (mut rows, mut lines) = (Vec::new(), Lines::default());
        read(text.as_bytes(), order, wanted, &mut lines, &mut |row| rows.push(*row));
        (rows, lines)
    }

    fn only(text: &str, order: ByteOrder) -> Row {
        let (rows, _) = found(text, order, States::ALL);
        assert_eq!(rows.len(), 1, "{text}");
        rows[0]
    }

    #[test]
    fn a_line_is_a_socket() {
        let text = HEADER.to_owned() + &line("0100007F:1F90", "076433C6:CB21", "01", "28551");
        assert_eq!(
            only(&text, ByteOrder::Little),
            Row {
                local: Endpoint { address: "127.0.0.1".parse().unwrap(), port: 8080 },
                remote: Endpoint { address: "198.51.100.7".parse().unwrap(), port: 52001 },
                state: ESTABLISHED,
                inode: 28551,
                v6_only: false,
            }
        );
    }

    #[test]
    fn the_byte_order_is_the_machines() {
        let little = line("B80D0120000000000000000010000000:01BB", "0000000000000000FFFF0000076433C6:0000", "0A", "1");
        let big = line("20010DB8000000000000000000000010:01bb", "00000000000000000000ffffC6336407:0000", "0a", "1");
        let row = only(&little, ByteOrder::Little);
        assert_eq!(row.local.address, "2001:db8::10".parse::<IpAddr>().unwrap());
        assert_eq!(row.remote.address, "::ffff:198.51.100.7".parse::<IpAddr>().unwrap());
        assert_eq!(row, only(&big, ByteOrder::Big));
        assert_eq!(row.local.port, 443);
    }

    #[test]
    fn what_is_no_socket_is_skipped_and_counted() {
        let good = line("0100007F:1F90", "00000000:0000", "0A", "7");
        let bad = [
            line("0100007G:1F90", "00000000:0000", "0A", "7"),
            line("0100007F:1F9", "00000000:0000", "0A", "7"),
            line("0100007F:01F90", "00000000:0000", "0A", "7"),
            line("0100007F", "00000000:0000", "0A", "7"),
            line("0100007F0100007F:1F90", "00000000:0000", "0A", "7"),
            line("0100007F:1F90", "00000000:0000", "10A", "7"),
            line("0100007F:1F90", "00000000:0000", "0A", "-7"),
            line("0100007F:1F90", "00000000:0000", "0A", "18446744073709551616"),
            good.replace("0:", "0"),
            good.replacen("0:", "0", 1),
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000\n".into(),
            "\u{fffd}\n".into(),
        ];
        let text = HEADER.to_owned() + &bad.concat() + &good + "\n";
        let (rows, lines) = found(&text, ByteOrder::Little, States::ALL);
        assert_eq!((rows.len(), lines.understood, lines.skipped), (1, 1, bad.len()));
    }

    #[test]
    fn udp_listens_in_a_state_of_its_own() {
        assert_eq!(Table::ALL.map(Table::listening), [10, 10, 7, 7]);
    }

    #[test]
    fn unwanted_states_are_left_out() {
        let states = ["01", "0A", "06", "07", "1F", "20", "FF"];
        let text: String = states.iter().map(|state| line("00000000:0001", "00000000:0000", state, "1")).collect();
        let seen = |wanted| {
            let (rows, lines) = found(&text, ByteOrder::Little, wanted);
            assert_eq!((lines.understood, lines.skipped), (7, 0));
            rows.iter().map(|row| row.state).collect::<Vec<u8>>()
        };
        assert_eq!(seen(States::one(LISTEN)), [0x0a]);
        assert_eq!(seen(States::one(ESTABLISHED).and(States::one(UNCONNECTED))), [0x01, 0x07]);
        assert_eq!(seen(States::ALL), [0x01, 0x0a, 0x06, 0x07, 0x1f]);
        assert!(seen(States::default()).is_empty());
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let text = line("0100007F:1F90", "00000000:0000", "0A", "7");
        assert_eq!(only(text.trim_end(), ByteOrder::Little).inode, 7);
        assert!(found("", ByteOrder::Little, States::ALL).0.is_empty());
    }
}
