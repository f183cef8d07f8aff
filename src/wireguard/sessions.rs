//! WireGuard's peers as rows of the session list.

use super::device::Device;
use super::key::Key;
use super::metrics::is_connected;
use crate::session::Session;

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
    for peer in &device.peers {
        let Some(handshake) = peer.handshake else { continue };
        let (host, port) = device.endpoint(peer).cut_last(b':').unwrap_or_default();
        let host = host.after("[").and_then(|host| host.before("]")).unwrap_or(host);
        rows.extend(Some(Session {
            server: listing.gateway.into(),
            protocol: "wireguard".into(),
            uniqueid: Some(listing.interface.into()),
            p1uniqueid: None,
            p2uniqueid: None,
            state: if is_connected(peer, listing.now) { "ESTABLISHED" } else { "IDLE" }.into(),
            remotehost: host.to_string(),
            remoteport: port.to_string(),
            remoteid: name(peer.public_key).map_or_else(|| peer.public_key.to_string(), str::to_owned),
            remotets: device.allowed_ips(peer).to_string().replace(',', ";"),
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
