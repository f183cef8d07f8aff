//! WireGuard's peers as rows of the session list.

use super::device::Device;
use super::key::Key;
use super::metrics::{Texts, is_connected, write_address};
use crate::session::Session;
use crate::text::{Text, push_number};

/// Whose interface is listed, and when.
pub struct Listing<'a> {
    /// The gateway's name.
    pub gateway: &'a str,
    /// The interface's name.
    pub interface: &'a str,
    /// The moment.
    pub now: i64,
}

/// Lists the peers that ever had a handshake, each with `name` of its key and its last handshake as `date` prints it.
pub fn list<'n>(
    device: &Device,
    listing: &Listing<'_>,
    name: impl Fn(Key) -> Option<&'n str>,
    date: impl Fn(i64) -> Option<String>,
    rows: &mut impl Extend<Session>,
) {
    let text = |text: &[u8]| Text::new(text).to_string();
    let mut texts = Texts::default();
    for peer in &device.peers {
        let Some(handshake) = peer.handshake else { continue };
        texts.write(device, peer);
        let (mut host, mut remoteport) = (Vec::new(), String::new());
        if let Some(endpoint) = peer.endpoint {
            write_address(endpoint.ip(), &mut host);
            push_number(endpoint.port().into(), &mut remoteport);
        }
        rows.extend(Some(Session {
            server: listing.gateway.into(),
            protocol: "wireguard".into(),
            uniqueid: Some(listing.interface.into()),
            p1uniqueid: None,
            p2uniqueid: None,
            state: if is_connected(peer, listing.now) { "ESTABLISHED" } else { "IDLE" }.into(),
            remotehost: text(&host),
            remoteport,
            remoteid: name(peer.public_key).map_or_else(|| text(&texts.public_key), str::to_owned),
            remotets: text(&texts.allowed_ips).replace(',', ";"),
            localts: None,
            established: date(handshake).unwrap_or_default(),
            bytesin: peer.received.to_string(),
            bytesout: peer.sent.to_string(),
            packetsin: "0".into(),
            packetsout: "0".into(),
            hides_addresses: true,
        }));
    }
}
