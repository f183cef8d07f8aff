//! What `list-sas` and `list-conns` tell, as typed views on a message.
//!
//! Keys are described in strongSwan's VICI README. Any may be missing: absent is `None` or
//! empty here, never 0. Children and selectors are read from the message when they are asked for.

use super::vici::{Element, Elements, Message};
use crate::text::Text;

/// One IKE_SA: a session with a peer.
#[derive(Clone, Debug, Default)]
pub struct IkeSa<'a> {
    /// The connection that it was made from.
    pub name: Text<'a>,
    /// charon's number for it.
    pub unique_id: Text<'a>,
    /// 1 or 2.
    pub version: Option<u64>,
    /// `ESTABLISHED`, `CONNECTING`, …
    pub state: Text<'a>,
    /// The peer's address.
    pub remote_host: Text<'a>,
    /// The peer's IKE port.
    pub remote_port: Text<'a>,
    /// The peer's IKE identity; `%any` while it has not said it.
    pub remote_id: Text<'a>,
    /// The identity that the peer proved by EAP; empty where that is its IKE identity, or where it used none.
    pub remote_eap_id: Text<'a>,
    /// The identity that the peer proved by XAuth.
    pub remote_xauth_id: Text<'a>,
    /// Whether this side began.
    pub initiator: bool,
    /// Whether the peer is behind a NAT.
    pub nat_remote: bool,
    /// Whether a NAT was feigned to get ESP in UDP.
    pub nat_fake: bool,
    /// The algorithms.
    pub proposal: Proposal<'a>,
    /// Seconds since it was established.
    pub established: Option<u64>,
    /// Seconds until it is rekeyed; negative when overdue.
    pub rekey_time: Option<i64>,
    /// Seconds until the peer is authenticated again; negative when overdue.
    pub reauth_time: Option<i64>,
    /// What follows the start of the section that holds its CHILD_SAs.
    children: Option<Elements<'a>>,
}

/// One CHILD_SA: a tunnel's pair of IPsec SAs.
#[derive(Clone, Debug, Default)]
pub struct ChildSa<'a> {
    /// The child's name in the configuration.
    pub name: Text<'a>,
    /// charon's number for it.
    pub unique_id: Text<'a>,
    /// The SPI of the inbound SA, which no other has; empty where it is not installed yet.
    pub spi_in: Text<'a>,
    /// `INSTALLED`, `REKEYED`, …
    pub state: Text<'a>,
    /// Whether ESP travels in UDP.
    pub encap: bool,
    /// The algorithms.
    pub proposal: Proposal<'a>,
    /// Bytes received.
    pub bytes_in: Option<u64>,
    /// Bytes sent.
    pub bytes_out: Option<u64>,
    /// Packets received.
    pub packets_in: Option<u64>,
    /// Packets sent.
    pub packets_out: Option<u64>,
    /// Seconds since the last packet came in; absent where none ever did.
    pub use_in: Option<u64>,
    /// Seconds since the last packet went out; absent where none ever did.
    pub use_out: Option<u64>,
    /// Seconds until it is rekeyed; negative when overdue, absent where rekeying is off.
    pub rekey_time: Option<i64>,
    /// Seconds until it ends; absent where it has no end.
    pub life_time: Option<i64>,
    /// Seconds since it was installed.
    pub install_time: Option<u64>,
    /// Our traffic selectors.
    pub local_ts: Items<'a>,
    /// The peer's traffic selectors.
    pub remote_ts: Items<'a>,
}

/// Which identity tells clients apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The IKE identity, as the original has it.
    #[default]
    Remote,
    /// The EAP or XAuth identity where there is one: several users may share an IKE identity.
    User,
}

/// The algorithms of an SA; empty where it has none of a kind (AEAD needs no integrity).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// Encryption, as in `AES_CBC`.
    pub encryption: Text<'a>,
    /// Its key size in bits; absent where the algorithm implies it.
    pub encryption_keysize: Option<u64>,
    /// Integrity, as in `HMAC_SHA2_256_128`.
    pub integrity: Text<'a>,
    /// Its key size in bits; absent where the algorithm implies it.
    pub integrity_keysize: Option<u64>,
    /// The key exchange; absent for a CHILD_SA that took its keys from the IKE_SA's.
    pub dh_group: Option<Text<'a>>,
}

/// One configured connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Its name.
    pub name: Text<'a>,
    message: Message<'a>,
}

/// The items of one list.
#[derive(Clone, Debug, Default)]
pub struct Items<'a>(Option<Elements<'a>>);

impl<'a> IkeSa<'a> {
    /// The view on a `list-sa` event; absent where it holds no section.
    pub fn parse(message: Message<'a>) -> Option<Self> {
        let mut elements = message.elements();
        let Element::Section(name) = elements.next()? else { return None };
        let mut ike = Self { name, ..Self::default() };
        while let Some(element) = elements.next() {
            match element {
                Element::Section(name) => {
                    if name == "child-sas" && ike.children.is_none() {
                        ike.children = Some(elements.clone());
                    }
                    elements.leave();
                }
                Element::SectionEnd => break,
                Element::Pair(key, value) => ike.take(key, value),
                _ => {}
            }
        }
        Some(ike)
    }

    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        match key.bytes() {
            b"uniqueid" => self.unique_id = value,
            b"version" => self.version = value.number(),
            b"state" => self.state = value,
            b"remote-host" => self.remote_host = value,
            b"remote-port" => self.remote_port = value,
            b"remote-id" => self.remote_id = value,
            b"remote-eap-id" => self.remote_eap_id = value,
            b"remote-xauth-id" => self.remote_xauth_id = value,
            b"initiator" => self.initiator = value == "yes",
            b"nat-remote" => self.nat_remote = value == "yes",
            b"nat-fake" => self.nat_fake = value == "yes",
            b"established" => self.established = value.number(),
            b"rekey-time" => self.rekey_time = value.signed(),
            b"reauth-time" => self.reauth_time = value.signed(),
            _ => self.proposal.take(key, value),
        }
    }

    /// Its CHILD_SAs, in charon's order.
    pub fn children(&self) -> impl Iterator<Item = ChildSa<'a>> + use<'a> {
        let mut elements = self.children.clone();
        std::iter::from_fn(move || {
            let elements = elements.as_mut()?;
            loop {
                match elements.next()? {
                    Element::Section(_) => return Some(ChildSa::read(elements)),
                    Element::SectionEnd => return None,
                    _ => {}
                }
            }
        })
    }

    /// The CHILD_SAs of a `child-rekey` event, which stand one section deeper: each old one, then its new one.
    pub fn rekeyed(&self) -> impl Iterator<Item = ChildSa<'a>> + use<'a> {
        let mut elements = self.children.clone();
        let mut depth = 0usize;
        std::iter::from_fn(move || {
            let elements = elements.as_mut()?;
            loop {
                match elements.next()? {
                    Element::Section(_) if depth == 1 => return Some(ChildSa::read(elements)),
                    Element::Section(_) => depth = depth.saturating_add(1),
                    Element::SectionEnd => depth = depth.checked_sub(1)?,
                    _ => {}
                }
            }
        })
    }

    /// Whether the peer is authenticated and the SA in use.
    pub fn is_up(&self) -> bool {
        matches!(self.state.bytes(), b"ESTABLISHED" | b"REKEYING")
    }

    /// Whether it is one of those that charon counts as half-open, on whichever side it began.
    pub fn is_half_open(&self) -> bool {
        self.state == "CONNECTING"
    }

    /// Who the peer is; absent while it has not said.
    pub fn client(&self, identity: Identity) -> Option<Text<'a>> {
        let user = [self.remote_eap_id, self.remote_xauth_id].into_iter().find(|id| !id.is_empty());
        let id = user.filter(|_| identity == Identity::User).unwrap_or(self.remote_id);
        Some(id).filter(|id| !id.is_empty() && *id != "%any")
    }
}

impl<'a> ChildSa<'a> {
    /// Reads up to the end of the child's section.
    fn read(elements: &mut Elements<'a>) -> Self {
        let mut child = Self::default();
        while let Some(element) = elements.next() {
            match element {
                Element::Section(_) => elements.leave(),
                Element::SectionEnd => break,
                Element::Pair(key, value) => child.take(key, value),
                Element::List(name) if name == "local-ts" => child.local_ts = Items(Some(elements.clone())),
                Element::List(name) if name == "remote-ts" => child.remote_ts = Items(Some(elements.clone())),
                _ => {}
            }
        }
        child
    }

    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        match key.bytes() {
            b"name" => self.name = value,
            b"uniqueid" => self.unique_id = value,
            b"state" => self.state = value,
            b"spi-in" => self.spi_in = value,
            b"encap" => self.encap = value == "yes",
            b"bytes-in" => self.bytes_in = value.number(),
            b"bytes-out" => self.bytes_out = value.number(),
            b"packets-in" => self.packets_in = value.number(),
            b"packets-out" => self.packets_out = value.number(),
            b"use-in" => self.use_in = value.number(),
            b"use-out" => self.use_out = value.number(),
            b"rekey-time" => self.rekey_time = value.signed(),
            b"life-time" => self.life_time = value.signed(),
            b"install-time" => self.install_time = value.number(),
            _ => self.proposal.take(key, value),
        }
    }

    /// Whether it carries traffic.
    pub fn is_up(&self) -> bool {
        matches!(self.state.bytes(), b"INSTALLED" | b"UPDATING" | b"REKEYING")
    }
}

impl<'a> Proposal<'a> {
    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        match key.bytes() {
            b"encr-alg" => self.encryption = value,
            b"encr-keysize" => self.encryption_keysize = value.number(),
            b"integ-alg" => self.integrity = value,
            b"integ-keysize" => self.integrity_keysize = value.number(),
            b"dh-group" => self.dh_group = Some(value),
            _ => {}
        }
    }
}

impl<'a> Connection<'a> {
    /// The view on a `list-conn` event; absent where it holds no section.
    pub fn parse(message: Message<'a>) -> Option<Self> {
        match message.elements().next()? {
            Element::Section(name) => Some(Self { name, message }),
            _ => None,
        }
    }

    /// Whether peers may come from anywhere: then nothing says how many tunnels should be up.
    pub fn is_for_anyone(&self) -> bool {
        self.message
            .elements()
            .skip_while(|element| *element != Element::List("remote_addrs".into()))
            .skip(1)
            .map_while(|element| if let Element::Item(item) = element { Some(item) } else { None })
            .any(|address| matches!(address.bytes(), b"%any" | b"%any4" | b"%any6" | b"0.0.0.0/0" | b"::/0"))
    }

    /// The names of its configured children, without those that are policies: traffic that passes or is dropped never
    /// has a CHILD_SA.
    pub fn children(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let mut elements = below(self.message, "children");
        std::iter::from_fn(move || {
            loop {
                match elements.next()? {
                    Element::Section(name) if has_sas(&mut elements) => return Some(name),
                    Element::SectionEnd => return None,
                    _ => {}
                }
            }
        })
    }
}

impl<'a> IntoIterator for &Items<'a> {
    type Item = Text<'a>;
    type IntoIter = ItemTexts<'a>;

    fn into_iter(self) -> ItemTexts<'a> {
        ItemTexts(self.0.clone())
    }
}

/// The texts of one list.
pub struct ItemTexts<'a>(Option<Elements<'a>>);

impl<'a> Iterator for ItemTexts<'a> {
    type Item = Text<'a>;

    fn next(&mut self) -> Option<Text<'a>> {
        match self.0.as_mut()?.next()? {
            Element::Item(item) => Some(item),
            _ => None,
        }
    }
}

/// Whether a configured child ever has CHILD_SAs; reads up to the end of its section.
fn has_sas(elements: &mut Elements<'_>) -> bool {
    let mut has_sas = true;
    while let Some(element) = elements.next() {
        match element {
            Element::Section(_) => elements.leave(),
            Element::SectionEnd => break,
            Element::Pair(key, mode) if key == "mode" => has_sas = !matches!(mode.bytes(), b"PASS" | b"DROP"),
            _ => {}
        }
    }
    has_sas
}

/// The elements behind the start of a section that stands directly in the message's one section.
fn below<'a>(message: Message<'a>, name: &str) -> Elements<'a> {
    let mut elements = message.elements();
    let mut depth = 0usize;
    for element in elements.by_ref() {
        match element {
            Element::Section(found) => {
                if depth == 1 && found == name {
                    break;
                }
                depth = depth.saturating_add(1);
            }
            Element::SectionEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::super::vici::{Packet, encode, parse};
    use super::*;

    /// A message from a short notation: `+name` and `-` for sections, `[name` and `]` for lists,
    /// `=item`, and `key=value`.
    fn segment(notation: &str) -> Vec<u8> {
        let mut out = vec![1];
        for word in notation.split_whitespace() {
            let element = match (word.split_at(1), word.split_once('=')) {
                (("+", name), _) => Element::Section(name.into()),
                (("-", ""), _) => Element::SectionEnd,
                (("[", name), _) => Element::List(name.into()),
                (("]", _), _) => Element::ListEnd,
                (("=", item), _) => Element::Item(item.into()),
                (_, Some((key, value))) => Element::Pair(key.into(), value.into()),
                _ => panic!("{word}"),
            };
            encode(element, &mut out);
        }
        out
    }

    fn message(segment: &[u8]) -> Message<'_> {
        let Ok(Packet::Response(message)) = parse(segment) else { panic!("no message") };
        message
    }

    #[test]
    fn keys_of_children_are_not_the_ike_sas() {
        let segment = segment(
            "+gw state=ESTABLISHED +child-sas +lan-7 name=lan uniqueid=7 state=INSTALLED rekey-time=-3 \
             [local-ts =10.0.0.0/8 =fd00::/8 ] [remote-ts ] - +b-8 name=b state=DELETED - - uniqueid=4 -",
        );
        let ike = IkeSa::parse(message(&segment)).expect("an IKE_SA");
        assert_eq!((ike.name, ike.unique_id, ike.state), ("gw".into(), "4".into(), "ESTABLISHED".into()));
        assert_eq!(ike.established, None);
        let children: Vec<_> = ike.children().collect();
        assert_eq!(children.len(), 2);
        assert_eq!((children[0].name, children[0].rekey_time), ("lan".into(), Some(-3)));
        assert_eq!(children[0].local_ts.into_iter().collect::<Vec<_>>(), ["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(children[0].remote_ts.into_iter().count(), 0);
        assert_eq!((children[1].is_up(), children[1].local_ts.into_iter().count()), (false, 0));
    }

    #[test]
    fn a_connection_lists_its_children_and_not_what_is_in_them() {
        let segment = segment(
            "+gw [local_addrs =%any ] [remote_addrs =192.0.2.2 ] +remote-1 id=x - +children +lan mode=TUNNEL \
             +deeper - [local-ts =a ] - +voice - - -",
        );
        let connection = Connection::parse(message(&segment)).expect("a connection");
        assert!(!connection.is_for_anyone(), "only our own address is any");
        assert_eq!(connection.children().collect::<Vec<_>>(), ["lan", "voice"]);
    }

    #[test]
    fn a_policy_without_sas_is_no_child() {
        let segment = segment(
            "+gw +children +a mode=TUNNEL - +b mode=PASS [local-ts =a ] - +c +deeper mode=DROP - mode=TRANSPORT - \
             +d mode=DROP - +e mode=BEET - +f - - +after +g mode=TUNNEL - - -",
        );
        let connection = Connection::parse(message(&segment)).expect("a connection");
        assert_eq!(connection.children().collect::<Vec<_>>(), ["a", "c", "e", "f"]);
    }

    #[test]
    fn anyone_may_stand_beside_an_address() {
        let segment = segment("+gw [remote_addrs =192.0.2.2 =%any ] -");
        assert!(Connection::parse(message(&segment)).expect("a connection").is_for_anyone());
    }

    #[test]
    fn a_message_without_a_section_is_no_sa() {
        assert!(IkeSa::parse(Message::default()).is_none());
        assert!(IkeSa::parse(message(&segment("a=b"))).is_none());
    }
}
