//! The kernel's socket tables, `/proc/net/{tcp,tcp6,udp,udp6}`: one line for each socket.
//!
//! Format: <https://docs.kernel.org/networking/proc_net_tcp.html>. An address is hexadecimal,
//! each 32-bit word of it in the byte order of the machine; a port is a plain number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// No hexadecimal digit.
const NO_DIGIT: u8 = 0xff;

/// The value of every byte as a hexadecimal digit.
const DIGITS: [u8; 256] = digits();

/// The byte order of the machine that wrote a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    /// x86, ARM, most others.
    Little,
    /// The larger MIPS and PowerPC routers.
    Big,
}

impl Default for Endian {
    /// This machine's.
    fn default() -> Self {
        if cfg!(target_endian = "big") { Self::Big } else { Self::Little }
    }
}

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

    /// Where the table stands under `/proc`.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Tcp => "net/tcp",
            Self::Tcp6 => "net/tcp6",
            Self::Udp => "net/udp",
            Self::Udp6 => "net/udp6",
        }
    }

    /// What the table's protocol is called, as in a rule.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
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

/// The sockets of a block of whole lines, those in other states than the wanted ones left out.
pub struct Rows<'a> {
    rest: Text<'a>,
    endian: Endian,
    wanted: States,
    understood: usize,
    skipped: usize,
    state_counts: StateCounts,
}

impl Rows<'_> {
    /// How many lines so far were sockets, those left out for their state included.
    pub const fn understood(&self) -> usize {
        self.understood
    }

    /// The sockets so far, those left out for their state included.
    pub const fn state_counts(&self) -> &StateCounts {
        &self.state_counts
    }

    /// How many lines so far were neither a socket nor the header.
    pub const fn skipped(&self) -> usize {
        self.skipped
    }
}

impl<'a> Rows<'a> {
    fn next_line(&mut self) -> Option<Text<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, after) = self.rest.cut(b'\n').unwrap_or((self.rest, Text::default()));
        self.rest = after;
        Some(line)
    }
}

impl Iterator for Rows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let (endian, wanted) = (self.endian, self.wanted);
        loop {
            let line = self.next_line()?;
            if is_header(line) {
                continue;
            }
            match parse_line(line, endian, wanted) {
                Some((state, row)) => {
                    self.understood = self.understood.saturating_add(1);
                    self.state_counts.add(state);
                    if row.is_some() {
                        return row;
                    }
                }
                None => self.skipped = self.skipped.saturating_add(1),
            }
        }
    }
}

/// The sockets in the wanted states of a block of whole lines.
pub fn rows(block: &[u8], endian: Endian, wanted: States) -> Rows<'_> {
    Rows { rest: Text::new(block), endian, wanted, understood: 0, skipped: 0, state_counts: StateCounts::default() }
}

fn is_header(line: Text<'_>) -> bool {
    let line = line.trim();
    line.is_empty() || line.after("sl ").is_some()
}

/// A line's state, and its socket unless the state is not wanted, which spares decoding the rest.
fn parse_line(line: Text<'_>, endian: Endian, wanted: States) -> Option<(u8, Option<Row>)> {
    let (slot, rest) = line.trim().cut_word()?;
    slot.before(":")?;
    let (local, rest) = rest.cut_word()?;
    let (remote, rest) = rest.cut_word()?;
    let (state, rest) = rest.cut_word()?;
    let state = u8::try_from(hex(state.bytes(), 2)?).ok()?;
    if !wanted.contains(state) {
        return Some((state, None));
    }
    let (local, remote) = (endpoint(local, endian)?, endpoint(remote, endian)?);
    let inode = rest.words().nth(COLUMNS_BEFORE_INODE)?.number()?;
    Some((state, Some(Row { local, remote, state, inode, v6_only: false })))
}

fn endpoint(text: Text<'_>, endian: Endian) -> Option<Endpoint> {
    let (address, port) = text.cut(b':')?;
    let port = u16::try_from(hex(port.bytes(), 4)?).ok()?;
    Some(Endpoint { address: address_of(address.bytes(), endian)?, port })
}

fn address_of(digits: &[u8], endian: Endian) -> Option<IpAddr> {
    match digits.as_chunks::<8>() {
        ([word], []) => Some(Ipv4Addr::from(word_of(word, endian)?).into()),
        ([a, b, c, d], []) => {
            let mut bytes = [0; 16];
            for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip([a, b, c, d]) {
                *four = word_of(word, endian)?;
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// The four bytes in memory, which are in network order, of a word printed as a number.
fn word_of(digits: &[u8; 8], endian: Endian) -> Option<[u8; 4]> {
    let word = hex(digits, 8)?;
    Some(match endian {
        Endian::Little => word.to_le_bytes(),
        Endian::Big => word.to_be_bytes(),
    })
}

/// A hexadecimal number of exactly `width` digits, at most eight.
fn hex(digits: &[u8], width: usize) -> Option<u32> {
    if digits.len() != width {
        return None;
    }
    let mut seen = 0;
    let number = digits.iter().fold(0u32, |number, byte| {
        let digit = DIGITS.get(usize::from(*byte)).copied().unwrap_or(NO_DIGIT);
        seen |= digit;
        (number << 4) | u32::from(digit & 0x0f)
    });
    (seen < 16).then_some(number)
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn digits() -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    table
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

    fn only(text: &str, endian: Endian) -> Row {
        let found: Vec<Row> = rows(text.as_bytes(), endian, States::ALL).collect();
        assert_eq!(found.len(), 1, "{text}");
        found[0]
    }

    #[test]
    fn a_line_is_a_socket() {
        let text = HEADER.to_owned() + &line("0100007F:1F90", "076433C6:CB21", "01", "28551");
        assert_eq!(
            only(&text, Endian::Little),
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
        let row = only(&little, Endian::Little);
        assert_eq!(row.local.address, "2001:db8::10".parse::<IpAddr>().unwrap());
        assert_eq!(row.remote.address, "::ffff:198.51.100.7".parse::<IpAddr>().unwrap());
        assert_eq!(row, only(&big, Endian::Big));
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
        let mut found = rows(text.as_bytes(), Endian::Little, States::ALL);
        assert_eq!(found.by_ref().count(), 1);
        assert_eq!((found.understood(), found.skipped()), (1, bad.len()));
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
            let mut found = rows(text.as_bytes(), Endian::Little, wanted);
            let states: Vec<u8> = found.by_ref().map(|row| row.state).collect();
            assert_eq!((found.understood(), found.skipped()), (7, 0));
            states
        };
        assert_eq!(seen(States::one(LISTEN)), [0x0a]);
        assert_eq!(seen(States::one(ESTABLISHED).and(States::one(UNCONNECTED))), [0x01, 0x07]);
        assert_eq!(seen(States::ALL), [0x01, 0x0a, 0x06, 0x07, 0x1f]);
        assert!(seen(States::default()).is_empty());
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let text = line("0100007F:1F90", "00000000:0000", "0A", "7");
        assert_eq!(only(text.trim_end(), Endian::Little).inode, 7);
        assert!(rows(b"", Endian::Little, States::ALL).next().is_none());
    }
}
