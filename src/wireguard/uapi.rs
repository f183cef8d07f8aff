//! What a WireGuard in user space answers to `get=1` on its socket: a line for each value, `key=value`, and an empty line
//! at the end.
//!
//! Format: <https://www.wireguard.com/xplatform/#configuration-protocol>. Keys are hex digits. A line `public_key` begins
//! a peer, and what follows is that peer's. Private and preshared keys are passed over, so that the interface's own
//! public key is known only where it is said.
//!
//! | what differs | who |
//! |---|---|
//! | `own_public_key` in place of `private_key`, and the age of a handshake in place of its time | boringtun (`api_get`) |
//! | a range of seconds as keepalive (`20-30`) | amneziawg-go (`UintRange`) |

use std::net::SocketAddr;

use super::device::{Device, Peer, write_endpoint, write_network};
use super::key::Key;
use crate::text::Text;

/// The question.
pub const REQUEST: &[u8] = b"get=1\n\n";

/// What is at least this is a time and not an age, in seconds: 34 years, and the year 2004.
const LONGEST_AGE: u64 = 1 << 30;

/// An answer that is being read.
#[derive(Debug)]
pub struct Answer<'d> {
    device: &'d mut Device,
    /// How many bytes of it were read; where there is an error, the line that it is about begins there.
    pub offset: usize,
    /// Whose the values are that stand before any peer.
    nobody: Peer,
    /// In seconds since 1970.
    now: i64,
    error: Option<i64>,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More comes.
    More,
    /// All of it is here.
    Whole,
    /// It is here, and it is no, with the number of an error.
    Refused(i64),
}

impl<'d> Answer<'d> {
    /// An answer that is given at the moment `now`, of which nothing is known yet, and where to put what it says.
    pub fn new(device: &'d mut Device, now: i64) -> Self {
        Self { device, offset: 0, nobody: Peer::default(), now, error: None }
    }

    /// Reads whole lines. The error is what should have stood there; keys are in no error.
    pub fn read(&mut self, lines: Text<'_>) -> Result<Progress, &'static str> {
        let mut rest = Lines(lines.bytes());
        let (left, progress) = loop {
            let left = rest.0.len();
            let progress = self.read_line(&mut rest).transpose();
            if let Some(progress) = progress {
                break (left, progress);
            }
        };
        self.offset = self.offset.saturating_add(lines.bytes().len().saturating_sub(left));
        progress
    }

    /// Reads one line; nothing where more may follow. To look at its first byte before keys are compared takes half of the
    /// instructions.
    fn read_line(&mut self, lines: &mut Lines<'_>) -> Result<Option<Progress>, &'static str> {
        let Self { device, nobody, now, error, .. } = self;
        let Some(first) = lines.0.first() else { return Ok(Some(Progress::More)) };
        let peer = device.peers.last_mut().unwrap_or(nobody);
        match first {
            b'p' if lines.take("public_key=") => device.add(Peer::new(lines.key()?)),
            b'p' if lines.take("persistent_keepalive_interval=") => peer.keepalive = lines.longest()?,
            b'r' if lines.take("rx_bytes=") => peer.received = lines.number(u64::MAX)?,
            b't' if lines.take("tx_bytes=") => peer.sent = lines.number(u64::MAX)?,
            b'l' if lines.take("last_handshake_time_sec=") => {
                let seconds = lines.number(i64::MAX.unsigned_abs())?;
                peer.handshake = moment(seconds, *now, device.public_key.is_some());
            }
            b'o' if lines.take("own_public_key=") => device.public_key = Some(lines.key()?),
            b'l' if lines.take("listen_port=") => device.listen_port = lines.short()?,
            b'e' if lines.take("endpoint=") => {
                let value = lines.value();
                device.set_endpoint(|out| copy_endpoint(value, out));
            }
            b'a' if lines.take("allowed_ip=") => {
                let value = lines.value();
                device.allow(|out| copy_network(value, out).ok_or("a network")).transpose()?;
            }
            b'f' if lines.take("fwmark=") => device.fwmark = not_0(lines.number(u32::MAX.into())?),
            b'e' if lines.take("errno=") => *error = Some(lines.value().signed().ok_or("a number")?),
            // Nanoseconds would tell only whether there was a handshake at the very beginning of 1970.
            b'l' if lines.take("last_handshake_time_nsec=") => lines.pass(),
            b'p' if lines.take("preshared_key=") || lines.take("protocol_version=") => lines.pass(),
            // What later versions add is passed over, and so is the private key.
            _ => match lines.value() {
                line if !line.is_empty() => drop(line.cut_near(b'=').ok_or("key=value")?),
                _ => return error.map(end).ok_or("errno before the end"),
            },
        }
        Ok(None)
    }
}

/// The lines that are left.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// Passes over a key, if the line begins with it; whether it does.
    fn take(&mut self, key: &str) -> bool {
        let value = self.0.strip_prefix(key.as_bytes());
        self.0 = value.unwrap_or(self.0);
        value.is_some()
    }

    /// Passes over what is left of the line; gives it without its end.
    fn value(&mut self) -> Text<'a> {
        let left = Text::new(self.0);
        let (value, rest) = left.cut_near(b'\n').unwrap_or((left, Text::default()));
        self.0 = rest.bytes();
        value.before("\r").unwrap_or(value)
    }

    /// The same where nobody asks for it.
    fn pass(&mut self) {
        self.value();
    }

    /// Whether nothing is left of the line, whose end is passed over.
    fn end(&mut self) -> bool {
        match self.0 {
            [b'\n', rest @ ..] => {
                self.0 = rest;
                true
            }
            _ => self.value().is_empty(),
        }
    }

    /// What is left of the line as a number that is not above `most`.
    fn number(&mut self, most: u64) -> Result<u64, &'static str> {
        let (number, rest) = Text::new(self.0).cut_number().ok_or("a number")?;
        self.0 = rest.bytes();
        if number <= most && self.end() { Ok(number) } else { Err("a number") }
    }

    /// The same as a number of 16 bits; absent where it is 0.
    fn short(&mut self) -> Result<Option<u16>, &'static str> {
        self.number(u16::MAX.into()).map(not_0)
    }

    /// The same where it may be a range, of which the longest counts.
    fn longest(&mut self) -> Result<Option<u16>, &'static str> {
        if let Some((_, rest)) = Text::new(self.0).cut_number() {
            self.0 = rest.after("-").map_or(self.0, Text::bytes);
        }
        self.short()
    }

    /// The same as the digits of a public key.
    fn key(&mut self) -> Result<Key, &'static str> {
        let key = self.0.split_first_chunk().and_then(|(digits, rest)| {
            self.0 = rest;
            Key::from_hex(digits).filter(|_| self.end())
        });
        key.ok_or("a key of 64 hex digits")
    }
}

/// When a handshake was; absent where there was none. An age is told from a time by its size.
fn moment(seconds: u64, now: i64, is_age: bool) -> Option<i64> {
    if is_age && seconds < LONGEST_AGE {
        return now.checked_sub_unsigned(seconds);
    }
    not_0(seconds)
}

/// How an answer ends whose errno is `code`.
fn end(code: i64) -> Option<Progress> {
    Some(if code == 0 { Progress::Whole } else { Progress::Refused(code) })
}

/// A number that fits; absent where it is 0.
fn not_0<T: TryFrom<u64>>(number: u64) -> Option<T> {
    T::try_from(number).ok().filter(|_| number > 0)
}

/// Writes an address with a port; nothing where it is none. The interface behind `%` is no part of it.
fn copy_endpoint(value: Text<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (host, port) = value.cut_last(b':')?;
    let number = port.number().and_then(not_0)?;
    if host.dotted().is_some() && has_one_spelling(port) {
        out.extend_from_slice(value.bytes());
        return Some(());
    }
    let host = host.after("[").and_then(|host| host.before("]")).unwrap_or(host);
    let address = host.address().or_else(|| host.cut(b'%')?.0.address())?;
    write_endpoint(SocketAddr::new(address, number), out);
    Some(())
}

/// Writes an address with the length of its prefix; absent where it is none.
fn copy_network(value: Text<'_>, out: &mut Vec<u8>) -> Option<()> {
    let (host, prefix) = value.cut_last(b'/')?;
    let address = host.address()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let number = prefix.number().filter(|number| *number <= longest)? as u8;
    if address.is_ipv4() && has_one_spelling(prefix) {
        out.extend_from_slice(value.bytes());
    } else {
        write_network(address, number, out);
    }
    Some(())
}

/// Whether a number is written as everybody writes it, as addresses of IPv4 always are: then it is copied, which takes a third
/// of the instructions.
fn has_one_spelling(number: Text<'_>) -> bool {
    !matches!(number.bytes(), [b'0', _, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_180_825;

    fn read(text: &str) -> Result<(Device, Progress), &'static str> {
        let mut device = Device::default();
        let mut answer = Answer::new(&mut device, NOW);
        let progress = answer.read(text.into())?;
        Ok((device, progress))
    }

    #[test]
    fn an_answer_is_whole_at_the_empty_line_behind_errno() {
        for (text, expected) in [
            ("private_key=aa\nlisten_port=51820\nerrno=0\n", Progress::More),
            ("private_key=aa\nlisten_port=51820\nerrno=0\n\n", Progress::Whole),
            ("errno=-22\n\n", Progress::Refused(-22)),
            ("errno=5\n\n", Progress::Refused(5)),
            ("", Progress::More),
        ] {
            assert_eq!(read(text).map(|(_, progress)| progress), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_none_is_said_without_what_stood_there() {
        let peer = format!("public_key={}\n", "ab".repeat(32));
        for (line, expected) in [
            ("", "errno before the end"),
            ("errno\n", "key=value"),
            ("errno=x\n", "a number"),
            ("listen_port=65536\n", "a number"),
            ("listen_port=\n", "a number"),
            ("fwmark=-1\n", "a number"),
            ("public_key=ab\n", "a key of 64 hex digits"),
            ("allowed_ip=10.0.0.0/33\n", "a network"),
            ("allowed_ip=10.0.0.0\n", "a network"),
            ("allowed_ip=fe80::/129\n", "a network"),
            ("allowed_ip=host/8\n", "a network"),
            ("persistent_keepalive_interval=65536\n", "a number"),
            ("rx_bytes=18446744073709551616\n", "a number"),
            ("tx_bytes=1.5\n", "a number"),
            ("last_handshake_time_sec=-1\n", "a number"),
        ] {
            let text = if line.is_empty() { "\n".to_owned() } else { format!("{peer}{line}") };
            assert_eq!(read(&text).map(|_| ()), Err(expected), "{line:?}");
        }
    }

    #[test]
    fn the_age_of_a_handshake_is_told_from_its_time() {
        let (own, peer) =
            (format!("own_public_key={}\n", "cd".repeat(32)), format!("public_key={}\n", "ab".repeat(32)));
        for (own, seconds, expected) in [
            (&*own, 0, Some(NOW)),
            (&own, 42, Some(NOW - 42)),
            (&own, (1 << 30) - 1, Some(NOW - (1 << 30) + 1)),
            (&own, 1 << 30, Some(1 << 30)),
            (&own, NOW - 42, Some(NOW - 42)),
            ("", 0, None),
            ("", 42, Some(42)),
        ] {
            let (device, _) = read(&format!("{own}{peer}last_handshake_time_sec={seconds}\n")).expect("an answer");
            assert_eq!(device.peers[0].handshake, expected, "{own}{seconds}");
        }
    }

    #[test]
    fn a_keepalive_may_be_a_range() {
        for (text, expected) in [("20-30", Some(30)), ("25", Some(25)), ("0-0", None)] {
            let text = format!("public_key={}\npersistent_keepalive_interval={text}\n", "ab".repeat(32));
            assert_eq!(read(&text).expect("an answer").0.peers[0].keepalive, expected, "{text}");
        }
        let text = format!("public_key={}\npersistent_keepalive_interval=20-\n", "ab".repeat(32));
        assert_eq!(read(&text).map(|_| ()), Err("a number"));
    }

    #[test]
    fn an_endpoint_has_no_interface() {
        for (text, expected) in [
            ("192.0.2.1:51820", Some("192.0.2.1:51820")),
            ("[2001:db8::1]:51820", Some("[2001:db8::1]:51820")),
            ("[fe80::1%eth0]:51820", Some("[fe80::1]:51820")),
            ("[192.0.2.1]:51820", Some("192.0.2.1:51820")),
            ("192.0.2.1%eth0:51820", Some("192.0.2.1:51820")),
            ("192.0.2.1:051820", Some("192.0.2.1:51820")),
            ("fe80::1:51820", Some("[fe80::1]:51820")),
            ("192.0.2.01:51820", None),
            ("192.0.2.1:0", None),
            ("192.0.2.1:65536", None),
            ("example.org:51820", None),
            ("", None),
            ("%", None),
        ] {
            let mut out = Vec::new();
            let is_one = copy_endpoint(text.into(), &mut out).is_some();
            assert_eq!((is_one, Text::new(&out)), (expected.is_some(), expected.unwrap_or_default().into()), "{text}");
        }
    }

    #[test]
    fn what_comes_before_any_peer_or_is_not_known_is_passed_over() {
        let (device, progress) = read("rx_bytes=7\nallowed_ip=10.0.0.0/8\nnew=1\nerrno=0\n\n").expect("an answer");
        assert_eq!((device, progress), (Device::default(), Progress::Whole));
    }

    #[test]
    fn numbers_are_taken_to_their_bounds_and_0_is_none() {
        let peer = format!("public_key={}\n", "ab".repeat(32));
        for (number, port) in [(0, None), (1, Some(1)), (65_535, Some(65_535))] {
            let text = format!("listen_port={number}\n{peer}persistent_keepalive_interval={number}\n");
            let (device, _) = read(&text).expect("an answer");
            assert_eq!((device.listen_port, device.peers[0].keepalive), (port, port));
        }
        for (number, mark) in [(0, None), (1, Some(1)), (u32::MAX, Some(u32::MAX))] {
            let (device, _) = read(&format!("fwmark={number}\n")).expect("an answer");
            assert_eq!(device.fwmark, mark);
        }
        for (number, handshake) in [(0, None), (1, Some(1)), (i64::MAX, Some(i64::MAX))] {
            let text = format!("{peer}last_handshake_time_sec={number}\nrx_bytes=18446744073709551615\ntx_bytes=1\n");
            let (device, _) = read(&text).expect("an answer");
            let peer = &device.peers[0];
            assert_eq!((peer.handshake, peer.received, peer.sent), (handshake, u64::MAX, 1));
        }
        let text = format!(
            "{peer}allowed_ip=10.0.0.2/32\nallowed_ip=fd00:0::2/128\nallowed_ip=0.0.0.0/0\nallowed_ip=10.0.0.0/08\n"
        );
        let (device, _) = read(&text).expect("an answer");
        let networks = device.allowed_ips(&device.peers[0]);
        assert_eq!(networks, "10.0.0.2/32,fd00::2/128,0.0.0.0/0,10.0.0.0/8");
        for (line, expected) in
            [("fwmark=4294967296\n", "a number"), ("last_handshake_time_sec=9223372036854775808\n", "a number")]
        {
            assert_eq!(read(&format!("{peer}{line}")).map(|_| ()), Err(expected), "{line}");
        }
    }
}
