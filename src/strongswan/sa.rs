//! What `list-sas`, `list-conns` and `list-policies` tell, as typed views on a message.
//!
//! Keys are described in strongSwan's VICI README and written by `vici_query.c`. Any may be missing: absent is `None`
//! or empty here, never 0. Children and selectors are read from the message when they are asked for.
//!
//! What differs by version and state, all of it read here and nowhere else:
//!
//! | what | where |
//! |---|---|
//! | a CHILD_SA without `name`: its section has the name | before 5.5.2 |
//! | a CHILD_SA without `uniqueid` | before 5.3 |
//! | a policy without `child` and `ike`: its section has the child's name, and nothing tells the connection | before 5.5.2 |
//! | a CHILD_SA without SPIs and counters | CREATED, ROUTED, INSTALLING, UPDATING, RETRYING, DESTROYING; DELETED before 5.8 |
//! | several CHILD_SAs of one name, each of a CPU (`per-cpu-sas`, `cpu`) | since 6.0.2 |
//! | `mode`: TUNNEL, TRANSPORT, TRANSPORT_PROXY, BEET and (6.0) IPTFS have CHILD_SAs, PASS and DROP are shunts | list-conns, list-policies |
//! | an IKE_SA named `(unnamed)`: its peer has not said yet which connection it wants | CONNECTING |
//! | an IKE_SA without `established` | all states but ESTABLISHED |
//! | identities that are not UTF-8, empty, or `%any` | any |

use super::vici::{Element, Elements, Fault, Items, Message, Unchecked};
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
    /// The first CHILD_SA: most IKE_SAs have one, so that none is passed over and read again (5 % of a scrape).
    first_child: Option<ChildSa<'a>>,
    /// What follows the first CHILD_SA.
    more_children: Option<Elements<'a>>,
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

/// One configured child of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Child<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Whether it is a policy that lets traffic pass or drops it, and never has a CHILD_SA.
    pub is_shunt: bool,
    /// How many bytes a CHILD_SA of it may carry before it is rekeyed; absent where that is no matter.
    pub rekey_bytes: Option<u64>,
    /// The same in packets.
    pub rekey_packets: Option<u64>,
}

/// One installed policy: a shunt, or a trap that brings a child up when traffic matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy<'a> {
    /// The child's name.
    pub child: Text<'a>,
    /// The connection's name; absent before strongSwan 5.5.2.
    pub connection: Option<Text<'a>>,
    /// Whether traffic passes or is dropped, and not protected.
    pub is_shunt: bool,
}

/// One configured connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Its name.
    pub name: Text<'a>,
    message: Message<'a>,
}

impl<'a> IkeSa<'a> {
    /// Hands the view on a `list-sa` event to `each`, if it holds a section. The event is checked while it is read.
    pub fn read(message: Unchecked<'a>, each: &mut dyn FnMut(&Self)) -> Result<(), Fault> {
        let (mut ike, mut elements) = (Self::default(), message.elements());
        let is_sa = ike.fill(&mut elements).is_some();
        message.end(elements)?;
        if is_sa {
            each(&ike);
        }
        Ok(())
    }

    /// The view on an event that was checked before; absent where it holds no section.
    pub fn parse(message: Message<'a>) -> Option<Self> {
        let mut ike = Self::default();
        ike.fill(&mut message.elements())?;
        Some(ike)
    }

    /// Reads up to the end of its section.
    fn fill(&mut self, elements: &mut Elements<'a>) -> Option<()> {
        let Element::Section(name) = elements.next()? else { return None };
        self.name = name;
        while let Some(element) = elements.after_pairs(|key, value| self.take(key, value)) {
            match element {
                Element::Section(name) => {
                    if name == "child-sas" && self.children.is_none() {
                        self.children = Some(elements.clone());
                        let Some(name) = elements.section() else { continue };
                        self.first_child.insert(ChildSa { name, ..ChildSa::default() }).fill(elements);
                        self.more_children = Some(elements.clone());
                    }
                    elements.leave();
                }
                Element::SectionEnd => break,
                _ => {}
            }
        }
        Some(())
    }

    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        // As patterns they would be compared byte by byte (4 % of a scrape).
        match key {
            _ if key == "uniqueid" => self.unique_id = value,
            _ if key == "version" => self.version = value.number(),
            _ if key == "state" => self.state = value,
            _ if key == "remote-host" => self.remote_host = value,
            _ if key == "remote-port" => self.remote_port = value,
            _ if key == "remote-id" => self.remote_id = value,
            _ if key == "remote-eap-id" => self.remote_eap_id = value,
            _ if key == "remote-xauth-id" => self.remote_xauth_id = value,
            _ if key == "initiator" => self.initiator = value == "yes",
            _ if key == "nat-remote" => self.nat_remote = value == "yes",
            _ if key == "nat-fake" => self.nat_fake = value == "yes",
            _ if key == "established" => self.established = value.number(),
            _ if key == "rekey-time" => self.rekey_time = value.signed(),
            _ if key == "reauth-time" => self.reauth_time = value.signed(),
            _ => self.proposal.take(key, value),
        }
    }

    /// Hands its CHILD_SAs to `each`, in charon's order.
    pub fn for_each_child(&self, each: &mut dyn FnMut(&ChildSa<'a>)) {
        let (mut child, mut more) = (self.first_child.as_ref(), self.more_children.clone());
        let mut read;
        while let Some(current) = child {
            each(current);
            read = more.as_mut().and_then(ChildSa::next);
            child = read.as_ref();
        }
    }

    /// The CHILD_SAs of a `child-rekey` event, which stand one section deeper: each old one, then its new one.
    pub fn rekeyed(&self) -> impl Iterator<Item = ChildSa<'a>> + use<'a> {
        let mut elements = self.children.clone();
        let mut depth = 0usize;
        std::iter::from_fn(move || {
            let elements = elements.as_mut()?;
            loop {
                match elements.next()? {
                    Element::Section(_) if depth == 1 => return Some(ChildSa::read(Text::default(), elements)),
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

    /// Whether it was begun by a peer that is not authenticated: anybody can make any number of them, and claim any name.
    pub fn is_unauthenticated(&self) -> bool {
        !self.initiator && matches!(self.state.bytes(), b"CREATED" | b"CONNECTING")
    }

    /// Who the peer is; absent while it has not said.
    pub fn client(&self, identity: Identity) -> Option<Text<'a>> {
        let user = [self.remote_eap_id, self.remote_xauth_id].into_iter().find(|id| !id.is_empty());
        let id = user.filter(|_| identity == Identity::User).unwrap_or(self.remote_id);
        Some(id).filter(|id| !id.is_empty() && *id != "%any")
    }
}

impl<'a> ChildSa<'a> {
    /// The next one of a section that holds CHILD_SAs.
    fn next(elements: &mut Elements<'a>) -> Option<Self> {
        elements.section().map(|name| Self::read(name, elements))
    }

    /// Reads up to the end of the child's section, of that name.
    fn read(name: Text<'a>, elements: &mut Elements<'a>) -> Self {
        let mut child = Self { name, ..Self::default() };
        child.fill(elements);
        child
    }

    /// Reads up to the end of its section.
    fn fill(&mut self, elements: &mut Elements<'a>) {
        while let Some(element) = elements.after_pairs(|key, value| self.take(key, value)) {
            match element {
                Element::Section(_) => elements.leave(),
                Element::SectionEnd => break,
                Element::List(name) if name == "local-ts" => self.local_ts = elements.items(),
                Element::List(name) if name == "remote-ts" => self.remote_ts = elements.items(),
                _ => {}
            }
        }
    }

    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        match key {
            _ if key == "name" => self.name = value,
            _ if key == "uniqueid" => self.unique_id = value,
            _ if key == "state" => self.state = value,
            _ if key == "spi-in" => self.spi_in = value,
            _ if key == "encap" => self.encap = value == "yes",
            _ if key == "bytes-in" => self.bytes_in = value.number(),
            _ if key == "bytes-out" => self.bytes_out = value.number(),
            _ if key == "packets-in" => self.packets_in = value.number(),
            _ if key == "packets-out" => self.packets_out = value.number(),
            _ if key == "use-in" => self.use_in = value.number(),
            _ if key == "use-out" => self.use_out = value.number(),
            _ if key == "rekey-time" => self.rekey_time = value.signed(),
            _ if key == "life-time" => self.life_time = value.signed(),
            _ if key == "install-time" => self.install_time = value.number(),
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
        match key {
            _ if key == "encr-alg" => self.encryption = value,
            _ if key == "encr-keysize" => self.encryption_keysize = value.number(),
            _ if key == "integ-alg" => self.integrity = value,
            _ if key == "integ-keysize" => self.integrity_keysize = value.number(),
            _ if key == "dh-group" => self.dh_group = Some(value),
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

    /// Whether nothing says how many tunnels should be up, since this side waits for peers: as charon has it, it can
    /// only begin where one of the `remote_addrs` is an address or a name, and neither a network, also of one address, nor
    /// a range.
    ///
    /// Where wildcards stand beside a name, as `rightallowany=yes` makes them, the peer is that one, from whatever
    /// address it comes. Without the list, which charon always sends, nobody is taken to be waited for.
    pub fn is_for_anyone(&self) -> bool {
        let mut list = self.message.elements().skip_while(|element| *element != Element::List("remote_addrs".into()));
        if list.next().is_none() {
            return false;
        }
        let mut addresses = list.map_while(|element| if let Element::Item(item) = element { Some(item) } else { None });
        addresses.all(|address| is_any(address) || address.is_network_or_range())
    }

    /// Its configured children.
    pub fn children(&self) -> impl Iterator<Item = Child<'a>> + use<'a> {
        let mut elements = below(self.message, "children");
        std::iter::from_fn(move || elements.section().map(|name| Child::read(name, &mut elements)))
    }
}

impl<'a> Child<'a> {
    /// Reads up to the end of the child's section, of that name.
    fn read(name: Text<'a>, elements: &mut Elements<'a>) -> Self {
        let mut child = Self { name, ..Self::default() };
        while let Some((key, value)) = elements.pair() {
            child.take(key, value);
        }
        child
    }

    fn take(&mut self, key: Text<'a>, value: Text<'a>) {
        let limit = || value.number().filter(|limit| *limit > 0);
        match key.bytes() {
            b"mode" => self.is_shunt = is_shunt(value),
            b"rekey_bytes" => self.rekey_bytes = limit(),
            b"rekey_packets" => self.rekey_packets = limit(),
            _ => {}
        }
    }
}

impl<'a> Policy<'a> {
    /// The view on a `list-policy` event; absent where it holds no section.
    pub fn parse(message: Message<'a>) -> Option<Self> {
        let mut elements = message.elements();
        let Element::Section(child) = elements.next()? else { return None };
        let mut policy = Self { child, ..Self::default() };
        while let Some((key, value)) = elements.pair() {
            match key.bytes() {
                b"child" => policy.child = value,
                b"ike" => policy.connection = Some(value),
                b"mode" => policy.is_shunt = is_shunt(value),
                _ => {}
            }
        }
        Some(policy)
    }
}

/// The number of the IKE_SA that an `ike-rekey` event says is replaced.
pub fn replaced_ike_sa(message: Message<'_>) -> Option<Text<'_>> {
    let mut elements = below(message, "old");
    std::iter::from_fn(|| elements.pair()).find_map(|(key, value)| (key == "uniqueid").then_some(value))
}

/// Whether a child's or policy's mode is one without CHILD_SAs.
fn is_shunt(mode: Text<'_>) -> bool {
    matches!(mode.bytes(), b"PASS" | b"DROP")
}

/// Whether an address of `remote_addrs` is every address.
fn is_any(address: Text<'_>) -> bool {
    address.after("%any").is_some() || address.trim().address().is_some_and(|address| address.is_unspecified())
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
    use super::super::vici::{Packet, encode, parse, split};
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

    fn children<'a>(ike: &IkeSa<'a>) -> Vec<ChildSa<'a>> {
        let mut all = Vec::new();
        ike.for_each_child(&mut |child| all.push(child.clone()));
        all
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
        let children = children(&ike);
        assert_eq!(children.len(), 2);
        assert_eq!((children[0].name, children[0].rekey_time), ("lan".into(), Some(-3)));
        assert_eq!(children[0].local_ts.collect::<Vec<_>>(), ["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(children[0].remote_ts.count(), 0);
        assert_eq!((children[1].is_up(), children[1].local_ts.count()), (false, 0));
    }

    #[test]
    fn an_event_that_is_checked_while_it_is_read_is_refused_and_understood_as_one_that_was_checked_before() {
        let whole = segment(
            "+gw state=ESTABLISHED +child-sas +a-1 name=a +deeper - bytes-in=1 [local-ts =l ] - +b-2 name=b - - \
             [local-vips =v ] uniqueid=4 - +other -",
        );
        let mut broken: Vec<Vec<u8>> = (1..=whole.len()).map(|end| whole[..end].to_vec()).collect();
        for (at, kind) in (1..whole.len()).flat_map(|at| (0..=7).map(move |kind| (at, kind))) {
            broken.push([&whole[..at], &[kind], &whole[at + 1..]].concat());
        }
        let mut refused = 0;
        for segment in &broken {
            let Ok(Packet::Response(event)) = split(segment) else { panic!("no message") };
            let (mut read, before) = (None, event.check());
            let fault = IkeSa::read(event, &mut |ike| read = Some(format!("{ike:?}"))).err();
            assert_eq!(fault, before.err(), "{segment:?}");
            assert_eq!(read, before.ok().and_then(IkeSa::parse).map(|ike| format!("{ike:?}")), "{segment:?}");
            refused += usize::from(fault.is_some());
        }
        assert!(refused > 400 && refused < broken.len(), "{refused} of {}", broken.len());
    }

    #[test]
    fn a_connection_lists_its_children_and_not_what_is_in_them() {
        let segment = segment(
            "+gw [local_addrs =%any ] [remote_addrs =192.0.2.2 ] +remote-1 +children +no - - id=x - +children +lan mode=TUNNEL \
             +deeper - [local-ts =a ] - +voice - - -",
        );
        let connection = Connection::parse(message(&segment)).expect("a connection");
        assert!(!connection.is_for_anyone(), "only our own address is any");
        assert_eq!(connection.children().map(|child| child.name).collect::<Vec<_>>(), ["lan", "voice"]);
    }

    #[test]
    fn a_child_that_passes_or_drops_is_a_shunt() {
        let segment = segment(
            "+gw +children +a mode=TUNNEL - +b mode=PASS [local-ts =a ] - +c +deeper mode=DROP - mode=TRANSPORT - \
             +d mode=DROP - +e mode=BEET - +f - +g mode=IPTFS - +h mode=TRANSPORT_PROXY - - +after +i mode=TUNNEL - - -",
        );
        let connection = Connection::parse(message(&segment)).expect("a connection");
        let children: Vec<_> = connection.children().map(|child| (child.name.to_string(), child.is_shunt)).collect();
        let shunts: Vec<_> = children.iter().filter(|child| child.1).map(|child| &*child.0).collect();
        assert_eq!((children.len(), shunts), (8, vec!["b", "d"]));
    }

    #[test]
    fn limits_of_volume_are_told_and_0_is_none() {
        let segment =
            segment("+gw +children +a rekey_bytes=1000 rekey_packets=0 - +b rekey_packets=7 rekey_bytes=1 - - -");
        let connection = Connection::parse(message(&segment)).expect("a connection");
        let limits: Vec<_> = connection.children().map(|child| (child.rekey_bytes, child.rekey_packets)).collect();
        assert_eq!(limits, [(Some(1000), None), (Some(1), Some(7))]);
    }

    #[test]
    fn peers_are_waited_for_where_no_single_address_is_known() {
        for (addresses, is_for_anyone) in [
            ("=%any", true),
            ("=%any6", true),
            ("=0.0.0.0", true),
            ("=::", true),
            ("=%any =192.0.2.0/24", true),
            ("=0.0.0.0/0 =::/0", true),
            ("=192.0.2.2 =%any", false),
            ("=branch.example.org =0.0.0.0/0 =::/0", false),
            ("=192.0.2.0/24", true),
            ("=192.0.2.7/32", true),
            ("=2001:db8::/32 =192.0.2.0/24", true),
            ("=192.0.2.1-192.0.2.9", true),
            ("=2001:db8::1-2001:db8::9", true),
            ("", true),
            ("=192.0.2.2", false),
            ("=2001:db8::2", false),
            ("=vpn-gw.example.org", false),
            ("=192.0.2.0/24 =branch.example.org", false),
            ("=10-20.example.org", false),
        ] {
            let segment = segment(&format!("+gw [local_addrs =192.0.2.9 ] [remote_addrs {addresses} ] -"));
            assert_eq!(
                Connection::parse(message(&segment)).map(|gw| gw.is_for_anyone()),
                Some(is_for_anyone),
                "{addresses}"
            );
        }
        let without = segment("+gw version=IKEv2 -");
        assert_eq!(Connection::parse(message(&without)).map(|gw| gw.is_for_anyone()), Some(false));
    }

    #[test]
    fn policies_of_old_and_new_versions_are_read() {
        let read = |notation: &str| {
            let segment = segment(notation);
            Policy::parse(message(&segment))
                .map(|it| (it.child.to_string(), it.connection.map(|it| it.to_string()), it.is_shunt))
        };
        let gw = || Some("gw".to_owned());
        assert_eq!(
            read("+gw/lan child=lan ike=gw reqid=1 mode=TUNNEL [local-ts =a ] -"),
            Some(("lan".into(), gw(), false))
        );
        assert_eq!(read("+gw/dns child=dns ike=gw mode=PASS [local-ts ] -"), Some(("dns".into(), gw(), true)));
        assert_eq!(read("+lan mode=TRANSPORT -"), Some(("lan".into(), None, false)));
        assert_eq!(read("child=lan"), None);
    }

    #[test]
    fn a_rekey_tells_which_ike_sa_is_replaced() {
        let rekey = segment("+gw +old state=REKEYED +x uniqueid=9 - uniqueid=3 - +new uniqueid=4 - -");
        assert_eq!(replaced_ike_sa(message(&rekey)), Some("3".into()));
        let without = segment("+gw +old - +new uniqueid=4 - -");
        assert_eq!(replaced_ike_sa(message(&without)), None);
    }

    #[test]
    fn a_child_sa_of_before_5_5_2_is_named_by_its_section() {
        let segment = segment("+gw +child-sas +lan reqid=1 state=INSTALLED - +lan-7 name=lan uniqueid=7 - - -");
        let ike = IkeSa::parse(message(&segment)).expect("an IKE_SA");
        assert_eq!(children(&ike).iter().map(|child| child.name).collect::<Vec<_>>(), ["lan", "lan"]);
    }

    #[test]
    fn a_peer_that_calls_is_unauthenticated_until_the_ike_sa_is_established() {
        for (keys, is_unauthenticated) in [
            ("state=CONNECTING", true),
            ("state=CREATED", true),
            ("state=CONNECTING initiator=yes", false),
            ("state=ESTABLISHED", false),
            ("state=DELETING", false),
            ("uniqueid=1", false),
        ] {
            let segment = segment(&format!("+(unnamed) {keys} -"));
            assert_eq!(
                IkeSa::parse(message(&segment)).map(|ike| ike.is_unauthenticated()),
                Some(is_unauthenticated),
                "{keys}"
            );
        }
    }

    #[test]
    fn a_message_without_a_section_is_no_sa() {
        assert!(IkeSa::parse(Message::default()).is_none());
        assert!(IkeSa::parse(message(&segment("a=b"))).is_none());
    }

    #[test]
    fn which_states_carry_traffic_and_who_is_authenticated() {
        for (state, is_up) in [
            ("CREATED", false),
            ("ROUTED", false),
            ("INSTALLING", false),
            ("INSTALLED", true),
            ("UPDATING", true),
            ("REKEYING", true),
            ("REKEYED", false),
            ("RETRYING", false),
            ("DELETING", false),
            ("DELETED", false),
            ("DESTROYING", false),
        ] {
            assert_eq!(ChildSa { state: state.into(), ..ChildSa::default() }.is_up(), is_up, "{state}");
        }
        for (state, is_up, is_half_open, is_stranger) in [
            ("CREATED", false, false, true),
            ("CONNECTING", false, true, true),
            ("ESTABLISHED", true, false, false),
            ("PASSIVE", false, false, false),
            ("REKEYING", true, false, false),
            ("REKEYED", false, false, false),
            ("DELETING", false, false, false),
            ("DESTROYING", false, false, false),
        ] {
            let ike = IkeSa { state: state.into(), ..IkeSa::default() };
            assert_eq!(
                (ike.is_up(), ike.is_half_open(), ike.is_unauthenticated()),
                (is_up, is_half_open, is_stranger),
                "{state}"
            );
            assert!(!IkeSa { initiator: true, ..ike }.is_unauthenticated(), "{state}: we began");
        }
    }

    #[test]
    fn every_key_is_its_own_fields() {
        let ike = segment(
            "+gw uniqueid=1 version=2 remote-host=h remote-port=5 remote-id=r remote-eap-id=e remote-xauth-id=x \
             initiator=yes nat-remote=no nat-fake=yes established=3 rekey-time=4 reauth-time=-5 encr-alg=E \
             encr-keysize=128 integ-alg=I integ-keysize=256 dh-group=G +child-sas +c uniqueid=9 spi-in=c1 encap=yes \
             bytes-in=1 bytes-out=2 packets-in=3 packets-out=4 use-in=5 use-out=6 rekey-time=7 life-time=8 \
             install-time=9 [local-ts =l ] [remote-ts =r ] - - +child-sas +other - - -",
        );
        let ike = IkeSa::parse(message(&ike)).expect("an IKE_SA");
        assert_eq!(
            (ike.unique_id, ike.version, ike.remote_host, ike.remote_port),
            ("1".into(), Some(2), "h".into(), "5".into())
        );
        assert_eq!((ike.remote_id, ike.remote_eap_id, ike.remote_xauth_id), ("r".into(), "e".into(), "x".into()));
        assert_eq!((ike.initiator, ike.nat_remote, ike.nat_fake), (true, false, true));
        assert_eq!((ike.established, ike.rekey_time, ike.reauth_time), (Some(3), Some(4), Some(-5)));
        let Proposal { encryption, encryption_keysize, integrity, integrity_keysize, dh_group } = ike.proposal;
        assert_eq!((encryption, encryption_keysize, integrity), ("E".into(), Some(128), "I".into()));
        assert_eq!((integrity_keysize, dh_group), (Some(256), Some("G".into())));
        let children = children(&ike);
        let [child] = children.as_slice() else { panic!("the first section counts: {children:?}") };
        assert_eq!(
            (child.name, child.unique_id, child.spi_in, child.encap),
            ("c".into(), "9".into(), "c1".into(), true)
        );
        assert_eq!([child.bytes_in, child.bytes_out, child.packets_in, child.packets_out], [1, 2, 3, 4].map(Some));
        assert_eq!([child.use_in, child.use_out, child.install_time], [5, 6, 9].map(Some));
        assert_eq!([child.rekey_time, child.life_time], [7, 8].map(Some));
        let selectors = [child.local_ts, child.remote_ts].map(|items| items.collect::<Vec<_>>());
        assert_eq!(selectors, [vec![Text::from("l")], vec![Text::from("r")]]);
        assert_eq!(ike.client(Identity::Remote), Some("r".into()));
        assert_eq!(ike.client(Identity::User), Some("e".into()));
    }

    #[test]
    fn what_was_rekeyed_stands_a_section_deeper_and_ends_with_its_own() {
        let event = segment(
            "+gw uniqueid=1 +child-sas +lan +old name=a bytes-in=1 - +new name=b - - - +other +deep +child name=c - - - -",
        );
        let ike = IkeSa::parse(message(&event)).expect("an IKE_SA");
        assert_eq!(ike.rekeyed().map(|child| child.name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_peer_that_has_said_no_name_is_nobody() {
        for (remote, eap, expected, user) in [
            ("", "", None, None),
            ("%any", "", None, None),
            ("%any", "%any", None, None),
            ("gw", "", Some("gw"), Some("gw")),
            ("gw", "ann", Some("gw"), Some("ann")),
        ] {
            let ike = IkeSa { remote_id: remote.into(), remote_eap_id: eap.into(), ..IkeSa::default() };
            let found = [Identity::Remote, Identity::User].map(|identity| ike.client(identity));
            assert_eq!(found, [expected, user].map(|name| name.map(Text::from)), "{remote} {eap}");
        }
    }
}
