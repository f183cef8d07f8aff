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

use super::device::{AllowedIp, Device, Peer};
use super::key::Key;
use crate::text::Text;

/// The question.
pub const REQUEST: &[u8] = b"get=1\n\n";

/// What is at least this is a time and not an age, in seconds: 34 years, and the year 2004.
const LONGEST_AGE: u64 = 1 << 30;

/// An answer that is being read.
#[derive(Debug, Default)]
pub struct Answer {
    /// What it said so far.
    pub device: Device,
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

impl Answer {
    /// An answer that is given at the moment `now`, in seconds since 1970.
    pub fn at(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// Reads one line without its end. The error is what should have stood there; keys are in no error.
    pub fn read(&mut self, line: Text<'_>) -> Result<Progress, &'static str> {
        if line.is_empty() {
            return Ok(match self.error {
                Some(0) => Progress::Whole,
                Some(code) => Progress::Refused(code),
                None => return Err("errno before the end"),
            });
        }
        let (key, value) = line.cut_near(b'=').ok_or("key=value")?;
        let device = &mut self.device;
        match key {
            _ if key == "public_key" => device.add(Peer::new(public_key(value)?)),
            _ if key == "own_public_key" => device.public_key = Some(public_key(value)?),
            _ if key == "last_handshake_time_sec" => {
                let seconds = number(value, i64::MAX.unsigned_abs())?;
                let is_age = device.public_key.is_some();
                if let Some(peer) = device.peers.last_mut() {
                    peer.handshake = moment(seconds, self.now, is_age);
                }
            }
            _ if key == "allowed_ip" => device.allow(network(value).ok_or("a network")?),
            _ if key == "listen_port" => device.listen_port = short(value)?,
            _ if key == "fwmark" => device.fwmark = not_0(number(value, u32::MAX.into())?),
            _ if key == "errno" => self.error = Some(value.signed().ok_or("a number")?),
            _ => device.peers.last_mut().map_or(Ok(()), |peer| read_peer(key, value, peer))?,
        }
        Ok(Progress::More)
    }
}

/// Reads what is said of a peer. Keys, what later versions add, and protocol_version are passed over, and so is what stands
/// before any peer.
fn read_peer(key: Text<'_>, value: Text<'_>, peer: &mut Peer) -> Result<(), &'static str> {
    match key {
        _ if key == "endpoint" => peer.endpoint = endpoint(value),
        _ if key == "rx_bytes" => peer.received = number(value, u64::MAX)?,
        _ if key == "tx_bytes" => peer.sent = number(value, u64::MAX)?,
        // The longest of a range.
        _ if key == "persistent_keepalive_interval" => {
            peer.keepalive = short(value.cut_last(b'-').map_or(value, |(_, longest)| longest))?;
        }
        _ => {}
    }
    Ok(())
}

fn public_key(value: Text<'_>) -> Result<Key, &'static str> {
    Key::from_hex(value.bytes()).ok_or("a key of 64 hex digits")
}

/// When a handshake was; absent where there was none. An age is told from a time by its size.
fn moment(seconds: u64, now: i64, is_age: bool) -> Option<i64> {
    if is_age && seconds < LONGEST_AGE {
        return now.checked_sub_unsigned(seconds);
    }
    // Its nanoseconds would tell only whether there was a handshake at the very beginning of 1970.
    not_0(seconds)
}

fn number(value: Text<'_>, most: u64) -> Result<u64, &'static str> {
    value.number().filter(|number| *number <= most).ok_or("a number")
}

/// A number of 16 bits; absent where it is 0.
fn short(value: Text<'_>) -> Result<Option<u16>, &'static str> {
    number(value, u16::MAX.into()).map(not_0)
}

/// A number that fits; absent where it is 0.
fn not_0<T: TryFrom<u64>>(number: u64) -> Option<T> {
    T::try_from(number).ok().filter(|_| number > 0)
}

/// An address with a port; absent where it is none. The interface behind `%` is no part of it.
fn endpoint(value: Text<'_>) -> Option<SocketAddr> {
    let (host, port) = value.cut_last(b':')?;
    let host = host.after("[").and_then(|host| host.before("]")).unwrap_or(host);
    let address = host.address().or_else(|| host.cut(b'%')?.0.address())?;
    Some(SocketAddr::new(address, short(port).ok()??))
}

fn network(value: Text<'_>) -> Option<AllowedIp> {
    let (host, prefix) = value.cut_near(b'/')?;
    let address = host.address()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = u8::try_from(number(prefix, longest).ok()?).ok()?;
    Some(AllowedIp { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Answer, Progress), &'static str> {
        let mut answer = Answer::default();
        let mut progress = Progress::More;
        for line in Text::from(text).lines() {
            progress = answer.read(line)?;
        }
        Ok((answer, progress))
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
        const NOW: i64 = 1_795_180_825;
        for (own, seconds, expected) in [
            (&*own, 0, Some(NOW)),
            (&own, 42, Some(NOW - 42)),
            (&own, (1 << 30) - 1, Some(NOW - (1 << 30) + 1)),
            (&own, 1 << 30, Some(1 << 30)),
            (&own, NOW - 42, Some(NOW - 42)),
            ("", 0, None),
            ("", 42, Some(42)),
        ] {
            let mut answer = Answer::at(NOW);
            for line in Text::from(&*format!("{own}{peer}last_handshake_time_sec={seconds}\n")).lines() {
                answer.read(line).expect("a line");
            }
            assert_eq!(answer.device.peers[0].handshake, expected, "{own}{seconds}");
        }
    }

    #[test]
    fn a_keepalive_may_be_a_range() {
        for (text, expected) in [("20-30", Some(30)), ("25", Some(25)), ("0-0", None)] {
            let text = format!("public_key={}\npersistent_keepalive_interval={text}\n", "ab".repeat(32));
            assert_eq!(read(&text).expect("an answer").0.device.peers[0].keepalive, expected, "{text}");
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
            ("example.org:51820", None),
            ("", None),
            ("%", None),
        ] {
            assert_eq!(endpoint(text.into()).map(|end| end.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_comes_before_any_peer_or_is_not_known_is_passed_over() {
        let (answer, progress) = read("rx_bytes=7\nallowed_ip=10.0.0.0/8\nnew=1\nerrno=0\n\n").expect("an answer");
        assert_eq!((answer.device, progress), (Device::default(), Progress::Whole));
    }

    #[test]
    fn numbers_are_taken_to_their_bounds_and_0_is_none() {
        let peer = format!("public_key={}\n", "ab".repeat(32));
        for (number, port) in [(0, None), (1, Some(1)), (65_535, Some(65_535))] {
            let text = format!("listen_port={number}\n{peer}persistent_keepalive_interval={number}\n");
            let (Answer { device, .. }, _) = read(&text).expect("an answer");
            assert_eq!((device.listen_port, device.peers[0].keepalive), (port, port));
        }
        for (number, mark) in [(0, None), (1, Some(1)), (u32::MAX, Some(u32::MAX))] {
            let (Answer { device, .. }, _) = read(&format!("fwmark={number}\n")).expect("an answer");
            assert_eq!(device.fwmark, mark);
        }
        for (number, handshake) in [(0, None), (1, Some(1)), (i64::MAX, Some(i64::MAX))] {
            let text = format!("{peer}last_handshake_time_sec={number}\nrx_bytes=18446744073709551615\ntx_bytes=1\n");
            let (Answer { device, .. }, _) = read(&text).expect("an answer");
            let peer = &device.peers[0];
            assert_eq!((peer.handshake, peer.received, peer.sent), (handshake, u64::MAX, 1));
        }
        let text = format!("{peer}allowed_ip=10.0.0.2/32\nallowed_ip=fd00::2/128\nallowed_ip=0.0.0.0/0\n");
        let (Answer { device, .. }, _) = read(&text).expect("an answer");
        let networks = device.allowed_ips(&device.peers[0]);
        let expected = [("10.0.0.2", 32), ("fd00::2", 128), ("0.0.0.0", 0)];
        let allowed =
            |(address, prefix): (&str, u8)| AllowedIp { address: address.parse().expect("an address"), prefix };
        assert_eq!(networks, expected.map(allowed));
        for (line, expected) in
            [("fwmark=4294967296\n", "a number"), ("last_handshake_time_sec=9223372036854775808\n", "a number")]
        {
            assert_eq!(read(&format!("{peer}{line}")).map(|_| ()), Err(expected), "{line}");
        }
        assert_eq!(endpoint("192.0.2.1:0".into()), None);
    }
}
