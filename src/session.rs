//! Session: one row for `/sessions` and for the session table; the only file that knows serde_json.

use serde::Serialize;

use crate::identities::Identities;

/// The Content-Type of [`json`].
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// One session as the originals' JSON has it: all strings, in this order, absent fields left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The name of the gateway.
    pub server: String,
    /// `ikev1`, `ikev2`, `tcp` or `udp`.
    pub protocol: String,
    /// strongSwan: `<connection>[<id>]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniqueid: Option<String>,
    /// OpenVPN: the client id; empty where the status version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p1uniqueid: Option<String>,
    /// OpenVPN: the peer id; empty where the status version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p2uniqueid: Option<String>,
    /// The IKE_SA's state; `ESTABLISHED` or `CONNECTING` for OpenVPN.
    pub state: String,
    /// The peer's address.
    pub remotehost: String,
    /// The peer's port; empty where the source does not say.
    pub remoteport: String,
    /// The peer's identity or common name.
    pub remoteid: String,
    /// The peer's traffic selectors joined by `;`, or its virtual address.
    pub remotets: String,
    /// strongSwan: our traffic selectors joined by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localts: Option<String>,
    /// `YYYY-MM-DD hh:mm:ss`, local time; empty where unknown.
    pub established: String,
    /// Bytes received from the peer.
    pub bytesin: String,
    /// Bytes sent to the peer.
    pub bytesout: String,
    /// Packets received from the peer.
    pub packetsin: String,
    /// Packets sent to the peer.
    pub packetsout: String,
    /// Whether its addresses tell who the peer is, so that they are shown as its identity is.
    #[serde(skip)]
    pub hides_addresses: bool,
}

impl Session {
    /// The session with its client's identity shown as the operator wants it.
    #[must_use]
    pub fn shown(mut self, identities: Identities) -> Self {
        self.remoteid = identities.show(self.remoteid.as_str().into()).unwrap_or_default();
        if self.hides_addresses {
            for address in [&mut self.remotehost, &mut self.remotets] {
                *address = identities.show(address.as_str().into()).unwrap_or_default();
            }
        }
        if !identities.shows_addresses() {
            for address in [&mut self.remotehost, &mut self.remoteport, &mut self.remotets] {
                address.clear();
            }
        }
        self
    }

    /// How much memory it holds, in bytes, about.
    pub fn size(&self) -> usize {
        let Self { server, protocol, uniqueid, p1uniqueid, p2uniqueid, state, remotehost, remoteport, .. } = self;
        let Self { remoteid, remotets, localts, established, bytesin, bytesout, packetsin, packetsout, .. } = self;
        let always = [server, protocol, state, remotehost, remoteport, remoteid, remotets, established];
        let counters = [bytesin, bytesout, packetsin, packetsout];
        let others = [uniqueid, p1uniqueid, p2uniqueid, localts];
        let strings = always.into_iter().chain(counters).chain(others.into_iter().flatten());
        strings.map(String::capacity).fold(size_of::<Self>(), usize::saturating_add)
    }
}

/// The sessions as a JSON array; `[]` where there are none.
pub fn json(sessions: &[Session]) -> Vec<u8> {
    // Strings and arrays always serialize; the fallback keeps the answer valid JSON.
    serde_json::to_vec(sessions).unwrap_or_else(|_| b"[]".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::siphash::Key;

    #[test]
    fn no_session_is_an_empty_array() {
        assert_eq!(json(&[]), b"[]");
    }

    #[test]
    fn a_client_is_shown_as_the_operator_wants() {
        let session = Session {
            state: "ESTABLISHED".into(),
            remoteid: "carol\u{1b}".into(),
            remotehost: "192.0.2.1".into(),
            remoteport: "500".into(),
            remotets: "10.0.0.1/32".into(),
            ..Session::default()
        };
        assert_eq!(session.clone().shown(Identities::Plain).remoteid, "carol\u{fffd}");
        let hashed = session.clone().shown(Identities::Hashed(Key::new([1; 16])));
        assert!(hashed.remoteid.len() == 16 && hashed.remotehost == "192.0.2.1", "{hashed:?}");
        let off = session.shown(Identities::Off);
        assert_eq!(off, Session { state: "ESTABLISHED".into(), ..Session::default() });
    }

    #[test]
    fn absent_fields_are_left_out_and_the_order_is_the_originals() {
        let session = Session { server: "gw".into(), p1uniqueid: Some("0".into()), ..Session::default() };
        let text = String::from_utf8(json(&[session])).expect("JSON is UTF-8");
        assert!(
            text.starts_with(r#"[{"server":"gw","protocol":"","p1uniqueid":"0","state":"","remotehost":"#),
            "{text}"
        );
        assert!(!text.contains("localts"), "{text}");
    }
}
