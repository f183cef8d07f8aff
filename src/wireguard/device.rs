//! What an interface says of itself and its peers, however it was asked.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::key::Key;

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
    allowed_ips: Vec<AllowedIp>,
}

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is known by.
    pub public_key: Key,
    /// Where it was last heard from, or is configured to be; absent where neither is known.
    pub endpoint: Option<SocketAddr>,
    /// How often it is sent a keepalive, in seconds; absent where never.
    pub keepalive: Option<u16>,
    /// When the last handshake was, in seconds since 1970; absent where there was none.
    pub handshake: Option<i64>,
    /// Bytes received from it.
    pub received: u64,
    /// Bytes sent to it.
    pub sent: u64,
    allowed_ips: Range<usize>,
}

/// A network whose addresses are the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedIp {
    /// The network's address.
    pub address: IpAddr,
    /// The length of its prefix, in bits.
    pub prefix: u8,
}

impl Peer {
    /// A peer of which nothing else is known yet.
    pub fn new(public_key: Key) -> Self {
        let (endpoint, keepalive, handshake) = (None, None, None);
        Self { public_key, endpoint, keepalive, handshake, received: 0, sent: 0, allowed_ips: 0..0 }
    }
}

impl Device {
    /// Adds a peer, which has no networks yet.
    pub fn add(&mut self, mut peer: Peer) {
        let end = self.allowed_ips.len();
        peer.allowed_ips = end..end;
        self.peers.push(peer);
    }

    /// Adds a network to the last peer; without a peer it is nobody's.
    pub fn allow(&mut self, network: AllowedIp) {
        if let Some(peer) = self.peers.last_mut() {
            self.allowed_ips.push(network);
            peer.allowed_ips.end = self.allowed_ips.len();
        }
    }

    /// The networks of one of its peers, in the order in which they came.
    pub fn allowed_ips(&self, peer: &Peer) -> &[AllowedIp] {
        self.allowed_ips.get(peer.allowed_ips.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_the_last_peers_and_nobodys_before_any() {
        let network = |last| AllowedIp { address: IpAddr::from([10, 0, 0, last]), prefix: 32 };
        let mut device = Device::default();
        device.allow(network(9));
        for number in 1..=3 {
            device.add(Peer::new(Key([number; 32])));
            (0..number % 3).for_each(|more| device.allow(network(10 * number + more)));
        }
        let networks: Vec<_> = device.peers.iter().map(|peer| device.allowed_ips(peer)).collect();
        assert_eq!(networks, [&[network(10)][..], &[network(20), network(21)], &[]]);
    }
}
