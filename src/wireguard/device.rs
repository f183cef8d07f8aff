//! What an interface says of itself and its peers, however it was asked.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::key::Key;
use crate::text::{Text, push_display};

/// One interface; what it did not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The interface's number in the kernel, another one for each interface that is made; userspace has none.
    pub index: Option<u32>,
    /// Its own public key; absent where it has none yet, and in userspace, which says only the private one.
    pub public_key: Option<Key>,
    /// The UDP port that it listens on; absent where it has none yet.
    pub listen_port: Option<u16>,
    /// The mark of its packets; absent where there is none.
    pub fwmark: Option<u32>,
    /// Its peers.
    pub peers: Vec<Peer>,
    /// The texts of the peers' endpoints, and of their networks: one piece of memory each.
    endpoints: Vec<u8>,
    allowed_ips: Vec<u8>,
}

/// One peer. Its endpoint and networks are at [`Device::endpoint`] and [`Device::allowed_ips`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// What it is known by.
    pub public_key: Key,
    /// How often it is sent a keepalive, in seconds; absent where never.
    pub keepalive: Option<u16>,
    /// When the last handshake was, in seconds since 1970; absent where there was none.
    pub handshake: Option<i64>,
    /// Bytes received from it.
    pub received: u64,
    /// Bytes sent to it.
    pub sent: u64,
    endpoint: Range<usize>,
    allowed_ips: Range<usize>,
}

impl Peer {
    /// A peer of which nothing else is known yet.
    pub fn new(public_key: Key) -> Self {
        Self { public_key, ..Self::default() }
    }
}

impl Device {
    /// Nothing yet, with room for so many peers.
    pub fn expecting(peers: usize) -> Self {
        Self { peers: Vec::with_capacity(peers), ..Self::default() }
    }

    /// Adds a peer, which has no endpoint and no networks yet.
    pub fn add(&mut self, mut peer: Peer) {
        let end = self.allowed_ips.len();
        (peer.endpoint, peer.allowed_ips) = (0..0, end..end);
        self.peers.push(peer);
    }

    /// Sets the endpoint of the last peer to what `write` writes; without a peer it is not called.
    pub fn set_endpoint<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) {
        if let Some(peer) = self.peers.last_mut() {
            let begin = self.endpoints.len();
            write(&mut self.endpoints);
            peer.endpoint = begin..self.endpoints.len();
        }
    }

    /// Adds the network that `write` writes to the last peer, and gives what it gives; without a peer it is not called.
    pub fn allow<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> Option<T> {
        let peer = self.peers.last_mut()?;
        if !peer.allowed_ips.is_empty() {
            self.allowed_ips.push(b',');
        }
        let given = write(&mut self.allowed_ips);
        peer.allowed_ips.end = self.allowed_ips.len();
        Some(given)
    }

    /// Where one of its peers was last heard from, or is configured to be, as `address:port`; empty where neither is known.
    pub fn endpoint(&self, peer: &Peer) -> Text<'_> {
        Text::new(self.endpoints.get(peer.endpoint.clone()).unwrap_or_default())
    }

    /// The networks of one of its peers as `address/prefix`, with commas between them, in the order in which they came.
    pub fn allowed_ips(&self, peer: &Peer) -> Text<'_> {
        Text::new(self.allowed_ips.get(peer.allowed_ips.clone()).unwrap_or_default())
    }
}

/// Writes an endpoint.
pub fn write_endpoint(endpoint: SocketAddr, out: &mut Vec<u8>) {
    match endpoint {
        SocketAddr::V4(address) => {
            write_address((*address.ip()).into(), out);
            out.push(b':');
            out.extend_from_slice(itoa::Buffer::new().format(address.port()).as_bytes());
        }
        address => push_display(address, out),
    }
}

/// Writes a network, the length of whose prefix is in bits.
pub fn write_network(address: IpAddr, prefix: u8, out: &mut Vec<u8>) {
    write_address(address, out);
    out.push(b'/');
    push_byte(prefix, out);
}

/// Writes an address. `write!` would take a sixth of what a peer takes in all.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (number, octet) in address.octets().into_iter().enumerate() {
                if number > 0 {
                    out.push(b'.');
                }
                push_byte(octet, out);
            }
        }
        IpAddr::V6(address) => push_display(address, out),
    }
}

/// Writes a number of at most three digits, in a third of the instructions that `itoa` takes.
fn push_byte(number: u8, out: &mut Vec<u8>) {
    for (least, divisor) in [(100, 100), (10, 10), (0, 1)] {
        if number >= least {
            out.push(b'0'.wrapping_add(number / divisor % 10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_the_last_peers_and_nobodys_before_any() {
        let allow = |device: &mut Device, last| {
            device.allow(|out| write_network(IpAddr::from([10, 0, 0, last]), 32, out));
        };
        let mut device = Device::default();
        allow(&mut device, 9);
        for number in 1..=3 {
            device.add(Peer::new(Key([number; 32])));
            (0..number % 3).for_each(|more| allow(&mut device, 10 * number + more));
        }
        let networks: Vec<_> = device.peers.iter().map(|peer| device.allowed_ips(peer).to_string()).collect();
        assert_eq!(networks, ["10.0.0.10/32", "10.0.0.20/32,10.0.0.21/32", ""]);
    }

    #[test]
    fn an_endpoint_is_the_last_peers_and_the_last_that_was_set() {
        let mut device = Device::default();
        device.set_endpoint(|out| out.push(b'x'));
        for ends in [&["192.0.2.1:1", "[fe80::1]:65535"][..], &[], &["10.20.255.0:51820"], &["192.0.2.1:1", ""]] {
            device.add(Peer::new(Key::default()));
            for end in ends {
                let end = end.parse().ok();
                device.set_endpoint(|out| end.into_iter().for_each(|end| write_endpoint(end, out)));
            }
        }
        let found: Vec<_> = device.peers.iter().map(|peer| device.endpoint(peer).to_string()).collect();
        assert_eq!(found, ["[fe80::1]:65535", "", "10.20.255.0:51820", ""]);
    }
}
