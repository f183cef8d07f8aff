//! Session: one row for `/sessions` and for the session table; and a list of them.

use std::iter;

use serde::Serialize;

use crate::json;
use crate::privacy::Identities;

/// How many fields a session has.
const FIELDS: usize = 16;

/// The length of a field that is absent.
const ABSENT: u32 = u32::MAX;

/// One session as the originals' JSON has it: all strings, in this order, absent fields left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The name of the gateway.
    pub server: String,
    /// `ikev1`, `ikev2`, `tcp`, `udp` or `wireguard`.
    pub protocol: String,
    /// strongSwan: `<connection>[<id>]`; WireGuard: the interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uniqueid: Option<String>,
    /// OpenVPN: the peer id; empty where the status version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p1uniqueid: Option<String>,
    /// OpenVPN: the client id; empty where the status version has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p2uniqueid: Option<String>,
    /// The IKE_SA's state; `ESTABLISHED` or `CONNECTING` for OpenVPN, `ESTABLISHED` or `IDLE` for WireGuard.
    pub state: String,
    /// The peer's address; empty where it is unknown.
    pub remotehost: String,
    /// The peer's port; empty where the source does not say.
    pub remoteport: String,
    /// The peer's identity or common name; for WireGuard its configured name, or its public key.
    pub remoteid: String,
    /// The peer's traffic selectors or allowed IPs joined by `;`, or its virtual address.
    pub remotets: String,
    /// strongSwan: our traffic selectors joined by `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub localts: Option<String>,
    /// `YYYY-MM-DD hh:mm:ss`, local time, for WireGuard of the last handshake; empty where unknown.
    pub established: String,
    /// Bytes received from the peer.
    pub bytesin: String,
    /// Bytes sent to the peer.
    pub bytesout: String,
    /// Packets received from the peer; `0` where they are not counted.
    pub packetsin: String,
    /// Packets sent to the peer; `0` where they are not counted.
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
        if self.hides_addresses && identities != Identities::Plain {
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

    /// The texts of the fields, in their order.
    fn fields(&self) -> [Option<&str>; FIELDS] {
        [
            Some(&self.server),
            Some(&self.protocol),
            self.uniqueid.as_deref(),
            self.p1uniqueid.as_deref(),
            self.p2uniqueid.as_deref(),
            Some(&self.state),
            Some(&self.remotehost),
            Some(&self.remoteport),
            Some(&self.remoteid),
            Some(&self.remotets),
            self.localts.as_deref(),
            Some(&self.established),
            Some(&self.bytesin),
            Some(&self.bytesout),
            Some(&self.packetsin),
            Some(&self.packetsout),
        ]
    }

    /// The session whose fields have the texts that `next` gives one after the other.
    fn from_fields(mut next: impl FnMut() -> Option<String>) -> Self {
        Self {
            server: next().unwrap_or_default(),
            protocol: next().unwrap_or_default(),
            uniqueid: next(),
            p1uniqueid: next(),
            p2uniqueid: next(),
            state: next().unwrap_or_default(),
            remotehost: next().unwrap_or_default(),
            remoteport: next().unwrap_or_default(),
            remoteid: next().unwrap_or_default(),
            remotets: next().unwrap_or_default(),
            localts: next(),
            established: next().unwrap_or_default(),
            bytesin: next().unwrap_or_default(),
            bytesout: next().unwrap_or_default(),
            packetsin: next().unwrap_or_default(),
            packetsout: next().unwrap_or_default(),
            hides_addresses: false,
        }
    }
}

/// A list of sessions: each shown as the operator wants, and no more than are allowed. The texts of all fields stand
/// one behind the other, for a hundred thousand sessions would be more than a million strings.
#[derive(Debug, Default)]
pub struct Sessions {
    identities: Identities,
    most: Option<usize>,
    text: String,
    /// For each session the lengths of its fields, in bytes.
    lengths: Vec<[u32; FIELDS]>,
    left_out: usize,
}

/// Which session of a list is the next one, and where its text begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    row: usize,
    at: usize,
}

impl Sessions {
    /// An empty list that takes no more than `most` sessions, any number where absent.
    pub fn on(identities: Identities, most: Option<usize>) -> Self {
        Self { identities, most, ..Self::default() }
    }

    /// An empty list that takes as many, shown in the same way.
    #[must_use]
    pub fn like(&self) -> Self {
        Self::on(self.identities, self.most)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// How many more there would be if more were allowed.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// How much memory the list holds, in bytes.
    pub fn size(&self) -> usize {
        self.text.capacity().saturating_add(self.lengths.capacity().saturating_mul(size_of::<[u32; FIELDS]>()))
    }

    /// Gives memory back that was meant for more sessions.
    pub fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.lengths.shrink_to_fit();
    }

    /// The session at the cursor, which moves on; absent behind the last one.
    pub fn next(&self, cursor: &mut Cursor) -> Option<Session> {
        let mut lengths = self.lengths.get(cursor.row)?.iter();
        cursor.row = cursor.row.saturating_add(1);
        Some(Session::from_fields(|| {
            let length = *lengths.next().filter(|length| **length != ABSENT)?;
            let end = cursor.at.saturating_add(usize::try_from(length).ok()?);
            let text = self.text.get(cursor.at..end)?.to_owned();
            cursor.at = end;
            Some(text)
        }))
    }

    /// All of them, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Session> {
        let mut cursor = Cursor::default();
        iter::from_fn(move || self.next(&mut cursor))
    }

    fn push(&mut self, session: Session) {
        if self.most.is_some_and(|most| self.len() >= most) {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let session = session.shown(self.identities);
        let lengths = session.fields().map(|field| {
            let (field, length) = field.and_then(|field| Some((field, u32::try_from(field.len()).ok()?)))?;
            self.text.push_str(field);
            Some(length)
        });
        self.lengths.push(lengths.map(|length| length.unwrap_or(ABSENT)));
    }
}

impl Extend<Session> for Sessions {
    fn extend<I: IntoIterator<Item = Session>>(&mut self, sessions: I) {
        sessions.into_iter().for_each(|session| self.push(session));
    }
}

/// Writes the sessions that `next` gives as a JSON array, one at each call; false once the end is written.
pub fn json_writer(mut next: impl FnMut() -> Option<Session>) -> impl FnMut(&mut Vec<u8>) -> bool {
    let mut before = b'[';
    move |out| {
        let session = next();
        if session.is_some() || before == b'[' {
            out.push(before);
            before = b',';
        }
        match &session {
            Some(session) => json::write(session, out),
            None => out.push(b']'),
        }
        session.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::siphash::Key;

    #[test]
    fn a_list_gives_what_it_took() {
        let mut number = 0;
        let whole = Session::from_fields(|| {
            number += 1;
            Some(format!("{number}\u{e4}"))
        });
        assert_eq!(number, FIELDS);
        assert_eq!((whole.server.as_str(), whole.packetsout.as_str()), ("1\u{e4}", "16\u{e4}"));
        let empty = Session { p1uniqueid: Some(String::new()), ..Session::default() };
        let all = [whole.clone(), empty, Session::default(), whole];
        let mut sessions = Sessions::default();
        assert!(sessions.is_empty() && sessions.iter().next().is_none());
        sessions.extend(all.clone());
        sessions.shrink();
        assert_eq!(sessions.iter().collect::<Vec<_>>(), all);
        assert_eq!((sessions.len(), sessions.left_out()), (4, 0));
        let lengths = 2 * (9 * 3 + 7 * 4) + 4 * 4 * FIELDS;
        assert_eq!(sessions.size(), lengths, "texts of 3 and 4 bytes");
    }

    #[test]
    fn a_list_takes_no_more_than_it_may_and_shows_names_as_it_shall() {
        let mut sessions = Sessions::on(Identities::Off, Some(2));
        sessions.extend(["ann", "bob", "carol"].map(|name| Session { remoteid: name.into(), ..Session::default() }));
        assert_eq!((sessions.len(), sessions.left_out()), (2, 1));
        assert_eq!(sessions.iter().collect::<Vec<_>>(), vec![Session::default(); 2]);
        assert!(sessions.like().is_empty());
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
        let (mut sessions, mut text) = ([session, Session::default()].into_iter(), Vec::new());
        let mut write = json_writer(|| sessions.next());
        while write(&mut text) {}
        let rest = r#""established":"","bytesin":"","bytesout":"","packetsin":"","packetsout":""}"#;
        let [first, second] = [r#""gw","protocol":"","p1uniqueid":"0""#, r#""","protocol":"""#].map(|start| {
            format!(
                r#"{{"server":{start},"state":"","remotehost":"","remoteport":"","remoteid":"","remotets":"",{rest}"#
            )
        });
        assert_eq!(String::from_utf8(text).expect("JSON is UTF-8"), format!("[{first},{second}]"));
    }
}
