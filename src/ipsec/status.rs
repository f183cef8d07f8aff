//! `ipsec statusall`: the IKE_SAs and CHILD_SAs with their peers and traffic.
//!
//! strongSwan prints it (`stroke_list.c`); there is no other definition of the format. Known forms, by version:
//!
//! - A CHILD_SA has `, reqid N` from 5.3.0, unique ids in the braces with it (before, the reqid itself: two CHILD_SAs
//!   of one rekeying share it); counters have `(N pkts, Ns ago)` from 5.0.3, `(Ns ago)` before; IPComp adds CPIs.
//! - The heading is `Security Associations:` in 4.x, with counts later; `Shunted Connections:` is there from 4.6.
//! - Peers stand as `HOST[ID]`, in Vyatta's builds (EdgeOS, early VyOS) as `HOST[PORT][ID]`.
//! - In 4.x pluto's status for IKEv1 stands before charon's, with `000 ` before each line: see [`libreswan`].
//!
//! Each of the four counters is absent where it was not printed. Identities are chosen by remote peers and may hold
//! anything that prints, also what looks like the rest of a line: what stands first on a line decides.

use crate::text::Text;

use super::kind::Dialect;
use super::libreswan;

/// The daemon's present SAs, and the conns that it has loaded.
#[derive(Debug, Default)]
pub struct Status<'a> {
    /// Who printed it.
    pub dialect: Dialect,
    /// The IKE_SAs as printed: the newest first.
    pub sas: Vec<IkeSa<'a>>,
    /// The conns that the daemon has loaded, as far as it lists them.
    pub conns: Vec<Listed<'a>>,
    /// The names of the shunts that are installed.
    pub shunts: Vec<Text<'a>>,
    /// The names of the conns whose policy waits for a packet.
    pub traps: Vec<Text<'a>>,
    /// The daemon's own addresses.
    pub addresses: Vec<Text<'a>>,
    /// The lines that could not be understood.
    pub skipped: Skipped,
    /// Whether packets are counted beside bytes.
    pub counts_packets: bool,
    /// Whether users are named.
    pub names_users: bool,
}

/// A conn as the daemon lists it.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its name, with what libreswan adds to it.
    pub name: Text<'a>,
    /// Its ends, as the daemon assigned them.
    pub ends: Ends<'a>,
    /// Whether the policy that it should have is in the kernel; absent where that is not said.
    pub is_routed: Option<bool>,
    /// Made from a conn for one peer.
    pub is_instance: bool,
}

/// The hosts of a conn, as the daemon assigned them: its own end and the peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends<'a> {
    /// Its own end.
    pub local: Text<'a>,
    /// The peer's: an address, a name, `%any`…
    pub remote: Text<'a>,
}

/// The lines that were not understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    kinds: u8,
}

/// What kind of line was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// About an IKE_SA.
    Ike,
    /// About a CHILD_SA.
    Child,
    /// In the list of connections, shunts or routes.
    Listed,
    /// A state of pluto.
    State,
    /// A row of `ipsec trafficstatus`.
    Traffic,
    /// None of these.
    Other,
}

impl LineKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [Self::Ike, Self::Child, Self::Listed, Self::State, Self::Traffic, Self::Other];

    /// The kind in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ike => "a line about an IKE_SA",
            Self::Child => "a line about a CHILD_SA",
            Self::Listed => "a line of the list of connections",
            Self::State => "a line about a state of pluto",
            Self::Traffic => "a row of trafficstatus",
            Self::Other => "a line that belongs to no SA",
        }
    }
}

impl Skipped {
    /// Counts a line of that kind.
    pub fn add(&mut self, kind: LineKind) {
        self.count = self.count.saturating_add(1);
        self.kinds |= 1 << kind as u8;
    }

    /// Whether a line of that kind is among them.
    pub fn has(self, kind: LineKind) -> bool {
        self.kinds & 1 << kind as u8 != 0
    }
}

/// An IKE_SA: the negotiated keys between the daemon and one peer.
#[derive(Debug)]
pub struct IkeSa<'a> {
    /// The name of the conn it was made from.
    pub name: Text<'a>,
    /// The number that tells it from others of that name.
    pub id: u64,
    /// `ESTABLISHED`, `CONNECTING`…
    pub state: Text<'a>,
    /// The peer's identity; absent while it is unknown.
    pub remote: Option<Text<'a>>,
    /// The name given by EAP or XAuth; printed only where it differs from `remote`.
    pub login: Option<Text<'a>>,
    /// The CHILD_SAs below it.
    pub children: Vec<ChildSa<'a>>,
}

/// A CHILD_SA: the keys for the traffic between two networks.
#[derive(Debug)]
pub struct ChildSa<'a> {
    /// The name of the conn whose networks these are.
    pub name: Text<'a>,
    /// The number that tells it from others of that name.
    pub id: u64,
    /// `INSTALLED`, `REKEYING`…
    pub state: Text<'a>,
    /// Its counters; all absent where none were printed.
    pub traffic: Traffic,
    /// `OURS === THEIRS`, networks separated by spaces; absent where they were not printed.
    pub selectors: Option<Text<'a>>,
}

/// Counters; absent where they were not printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes from the peer.
    pub in_bytes: Option<u64>,
    /// Packets from the peer.
    pub in_packets: Option<u64>,
    /// Bytes to the peer.
    pub out_bytes: Option<u64>,
    /// Packets to the peer.
    pub out_packets: Option<u64>,
}

impl<'a> IkeSa<'a> {
    /// Whether both sides are authenticated and the IKE_SA has not ended.
    pub fn is_established(&self) -> bool {
        ["ESTABLISHED", "REKEYING", "REKEYED"].iter().any(|state| self.state == *state)
    }

    /// The peer's name; absent before it is authenticated, since it can claim any name until then.
    pub fn user(&self) -> Option<Text<'a>> {
        let proved = self.state != "CREATED" && self.state != "CONNECTING";
        self.login.or(self.remote).filter(|_| proved)
    }
}

impl ChildSa<'_> {
    /// Whether it carries traffic.
    pub fn is_installed(&self) -> bool {
        ["INSTALLED", "UPDATING", "REKEYING", "REKEYED"].iter().any(|state| self.state == *state)
    }
}

/// Whether this is what strongSwan's `ipsec statusall` or `ipsec status` prints.
pub fn is_status(text: Text<'_>) -> bool {
    text.lines().any(|line| Part::of(line) == Some(Part::Sas)) || libreswan::is_pluto(text)
}

/// Whether this is a status to its end: the list of SAs has an entry, if only that there are none, or there is pluto's
/// status alone.
pub fn is_whole(text: Text<'_>) -> bool {
    let (mut part, mut has_sas) = (Part::Head, false);
    let mut is_entry = |line: Text<'_>| {
        if let Some(next) = Part::of(line) {
            (part, has_sas) = (next, has_sas || next == Part::Sas);
            return false;
        }
        part == Part::Sas && (is_nothing(line) || line.after("000 ").is_none() && tag(line).is_some())
    };
    text.bytes().ends_with(b"\n") && (text.lines().any(&mut is_entry) || !has_sas && libreswan::is_pluto(text))
}

/// Reads what `ipsec statusall` or `ipsec status` printed; absent where it is neither.
pub fn parse(text: Text<'_>) -> Option<Status<'_>> {
    let mut status = Status { counts_packets: true, names_users: true, ..Status::default() };
    let (mut part, mut is_found) = (Part::Head, false);
    for line in text.lines() {
        if let Some(next) = Part::of(line) {
            is_found |= next == Part::Sas;
            part = next;
        } else if line.after("000 ").is_some() {
            continue;
        } else if let Some(kind) = part.take(line, &mut status) {
            status.skipped.add(kind);
        }
    }
    let has_pluto = libreswan::add_pluto(text, &mut status);
    (is_found || has_pluto).then_some(status)
}

/// The parts of the output; each begins with a heading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Addresses,
    Connections,
    Shunts,
    Routes,
    Sas,
}

impl Part {
    /// The part that a heading begins. Names of conns begin a line, too, but something follows their colon.
    fn of(line: Text<'_>) -> Option<Self> {
        let heading = line.before(":")?;
        Some(match heading.bytes() {
            b"Listening IP addresses" => Self::Addresses,
            b"Connections" => Self::Connections,
            b"Shunted Connections" => Self::Shunts,
            b"Routed Connections" => Self::Routes,
            _ if heading.after("Security Associations").is_some() => Self::Sas,
            _ if heading.after("Status of IKE").is_some() || heading.after("Virtual IP pools").is_some() => Self::Head,
            _ => return None,
        })
    }

    /// Takes a line of this part; what kind of line it is where it was not understood.
    fn take<'a>(self, line: Text<'a>, status: &mut Status<'a>) -> Option<LineKind> {
        match self {
            Self::Head => None,
            Self::Addresses => {
                status.addresses.push(line.trim());
                None
            }
            Self::Connections => {
                let conn = connection(line).or_else(|| merged(line, status.conns.last()?));
                status.conns.extend(conn);
                (!line.contains(":  ")).then_some(LineKind::Listed)
            }
            Self::Shunts => {
                let name = line.cut_at(":  ").map(|(name, _)| name.trim());
                status.shunts.extend(name);
                name.is_none().then_some(LineKind::Listed)
            }
            Self::Routes => {
                let tag = tag(line).filter(|tag| matches!(tag.kind, Kind::Child));
                status.traps.extend(tag.as_ref().filter(|tag| child_sa(tag).is_some()).map(|tag| tag.name));
                tag.is_none().then_some(LineKind::Listed)
            }
            Self::Sas => understand(line, status),
        }
    }
}

/// `  NAME:  LOCAL...REMOTE  IKEv2, dpddelay=30s`; the lines below it have more spaces behind the colon.
fn connection(line: Text<'_>) -> Option<Listed<'_>> {
    let (name, rest) = line.cut_at(":  ").filter(|(_, rest)| rest.after(" ").is_none())?;
    let (local, rest) = rest.cut_at("...")?;
    let remote = rest.cut_at("  IKE").map_or(rest, |(remote, _)| remote);
    let remote = remote.cut_at(", dpddelay=").map_or(remote, |(remote, _)| remote);
    let ends = Ends { local: local.trim(), remote: remote.trim() };
    Some(Listed { name: name.trim(), ends, is_routed: None, is_instance: false })
}

/// `  NAME:   child:  OURS === THEIRS TUNNEL` below a conn of another name: charon keeps conns that differ in nothing
/// but their networks as one, which has the first one's name.
fn merged<'a>(line: Text<'a>, first: &Listed<'a>) -> Option<Listed<'a>> {
    let (name, _) = line.cut_at(":   child:  ")?;
    let name = name.trim();
    (name != first.name).then_some(Listed { name, ..*first })
}

/// Takes one line into the SAs above it; its kind where it does not fit.
fn understand<'a>(line: Text<'a>, status: &mut Status<'a>) -> Option<LineKind> {
    let Some(tag) = tag(line) else {
        return (!is_nothing(line) && !line.trim().is_empty()).then_some(LineKind::Other);
    };
    let understood = match tag.kind {
        Kind::Ike => about_ike_sa(&tag, status),
        Kind::Child => about_child_sa(&tag, status),
    };
    match (understood, tag.kind) {
        (Some(()), _) => None,
        (None, Kind::Ike) => Some(LineKind::Ike),
        (None, Kind::Child) => Some(LineKind::Child),
    }
}

/// Whether a line of the list of SAs says that there are none.
fn is_nothing(line: Text<'_>) -> bool {
    ["none", "no match"].iter().any(|word| line.trim() == *word)
}

fn about_ike_sa<'a>(tag: &Tag<'a>, status: &mut Status<'a>) -> Option<()> {
    if let Some(sa) = ike_sa(tag) {
        status.sas.push(sa);
        return Some(());
    }
    let sa = status.sas.last_mut().filter(|sa| (sa.name, sa.id) == (tag.name, tag.id))?;
    let login = login(tag.rest);
    sa.login = sa.login.or(login.and_then(known));
    let is_known = ["IKE proposal: ", "IKE SPIs: ", "IKEv1 SPIs: ", "IKEv2 SPIs: ", "Tasks "];
    (login.is_some() || is_known.iter().any(|words| tag.rest.after(words).is_some())).then_some(())
}

fn about_child_sa<'a>(tag: &Tag<'a>, status: &mut Status<'a>) -> Option<()> {
    let sa = status.sas.last_mut()?;
    if let Some(child) = child_sa(tag) {
        sa.children.push(child);
        return Some(());
    }
    let child = sa.children.last_mut().filter(|child| (child.name, child.id) == (tag.name, tag.id))?;
    if let Some((traffic, counts_packets)) = traffic(tag.rest) {
        child.traffic = traffic;
        status.counts_packets &= counts_packets;
        return Some(());
    }
    child.selectors = Some(tag.rest).filter(|rest| rest.contains("==="));
    child.selectors.map(|_| ())
}

#[derive(Clone, Copy)]
enum Kind {
    Ike,
    Child,
}

/// What each line begins with: `NAME[n]: ` for an IKE_SA, `NAME{n}: ` for a CHILD_SA.
struct Tag<'a> {
    kind: Kind,
    name: Text<'a>,
    id: u64,
    rest: Text<'a>,
}

/// The first `]: ` or `}: ` behind a number; names may hold brackets, colons and spaces.
fn tag(line: Text<'_>) -> Option<Tag<'_>> {
    let bytes = line.bytes();
    let colons = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b": ").map(|(at, _)| at);
    for colon in colons {
        let (head, rest) = bytes.split_at_checked(colon)?;
        if let Some((kind, name, id)) = label(head) {
            let rest = Text::new(rest.strip_prefix(b": ")?.trim_ascii_start());
            return Some(Tag { kind, name: Text::new(name.trim_ascii_start()), id, rest });
        }
    }
    None
}

/// Cuts `NAME[n]` or `NAME{n}`.
fn label(head: &[u8]) -> Option<(Kind, &[u8], u64)> {
    let (kind, open, inner) = match head {
        [inner @ .., b']'] => (Kind::Ike, b'[', inner),
        [inner @ .., b'}'] => (Kind::Child, b'{', inner),
        _ => return None,
    };
    let before = inner.iter().rposition(|byte| !byte.is_ascii_digit())?;
    let (name, digits) = inner.split_at_checked(before)?;
    let id = Text::new(digits.strip_prefix(&[open])?).number()?;
    Some((kind, name, id))
}

/// `ESTABLISHED 2 seconds ago, HOST[OURS]...HOST[THEIRS]`; other states have no age.
fn ike_sa<'a>(tag: &Tag<'a>) -> Option<IkeSa<'a>> {
    let (head, ends) = tag.rest.trim().cut_at(", ")?;
    let state = head.cut_word().map_or(head, |(state, _)| state);
    if !is_state(state) {
        return None;
    }
    // Our end comes first, so that nothing in the peer's identity can change where the text is split.
    let (ours, theirs) = ends.cut_at("]...")?;
    let (_, identity) = theirs.before("]")?.cut(b'[')?;
    // Where our own end has a port before the identity, the peer's has one, too.
    let has_port = ours.cut(b'[').is_some_and(|(_, ours)| without_port(ours).is_some());
    let identity = without_port(identity).filter(|_| has_port).unwrap_or(identity);
    let remote = known(identity);
    Some(IkeSa { name: tag.name, id: tag.id, state, remote, login: None, children: Vec::new() })
}

/// The identity after `4500][`; absent where there is no port.
fn without_port(identity: Text<'_>) -> Option<Text<'_>> {
    let (port, identity) = identity.cut_at("][")?;
    port.number().map(|_| identity)
}

/// `INSTALLED, TUNNEL` and what the version and the state add: `, reqid 2`, `, ESP SPIs: …`, `, expires in …`.
fn child_sa<'a>(tag: &Tag<'a>) -> Option<ChildSa<'a>> {
    let (state, rest) = tag.rest.trim().cut_at(", ")?;
    let mode = rest.cut_at(", ").map_or(rest, |(mode, _)| mode);
    let is_mode = !mode.is_empty() && mode.bytes().iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_');
    let traffic = Traffic::default();
    (is_state(state) && is_mode).then_some(ChildSa { name: tag.name, id: tag.id, state, traffic, selectors: None })
}

fn is_state(word: Text<'_>) -> bool {
    !word.is_empty() && word.bytes().iter().all(u8::is_ascii_uppercase)
}

fn login(rest: Text<'_>) -> Option<Text<'_>> {
    rest.after("Remote EAP identity: ").or_else(|| rest.after("Remote XAuth identity: "))
}

/// `%any` is what charon prints for an identity that it doesn't know yet.
fn known(identity: Text<'_>) -> Option<Text<'_>> {
    Some(identity).filter(|identity| !identity.is_empty() && *identity != "%any")
}

/// `AES_CBC_128/…, 311812 bytes_i (227 pkts, 0s ago), 5156 bytes_o (1 pkt, 0s ago), rekeying in …`; and whether
/// packets are printed where there was traffic. Absent for a line without counters.
fn traffic(rest: Text<'_>) -> Option<(Traffic, bool)> {
    let (ours, theirs) = (direction(rest, " bytes_i"), direction(rest, " bytes_o"));
    if ours.is_none() && theirs.is_none() {
        return None;
    }
    let [ours, theirs] = [ours, theirs].map(Option::unwrap_or_default);
    let traffic = Traffic {
        in_bytes: ours.bytes,
        in_packets: ours.packets,
        out_bytes: theirs.bytes,
        out_packets: theirs.packets,
    };
    Some((traffic, !ours.lacks_packets && !theirs.lacks_packets))
}

/// What went one way.
#[derive(Clone, Copy, Default)]
struct Direction {
    bytes: Option<u64>,
    packets: Option<u64>,
    /// There was traffic, and its packets are not printed.
    lacks_packets: bool,
}

fn direction(rest: Text<'_>, unit: &str) -> Option<Direction> {
    let (before, after) = rest.cut_at(unit)?;
    let bytes = before.cut_last(b' ').map_or(before, |(_, number)| number).number();
    let inside = after.after(" (").and_then(|inside| inside.cut(b')')).map(|(inside, _)| inside);
    let packets = inside.and_then(|inside| inside.cut_at(" pkt")).and_then(|(number, _)| number.number());
    let lacks_packets = packets.is_none() && inside.is_some();
    // The packets are left out where there was no traffic, and only then is that a 0.
    Some(Direction { bytes, packets: packets.or(bytes.filter(|bytes| *bytes == 0)), lacks_packets })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "\
Connections:
       users:  10.9.0.1...%any  IKEv2
       users:   child:  10.1.0.0/16 === dynamic TUNNEL
Routed Connections:
       spare{7}:  ROUTED, TUNNEL, reqid 7
Security Associations (1 up, 1 connecting):
       users[2]: ESTABLISHED 13 seconds ago, 10.9.0.1[gw.example.org]...10.9.0.2[carol@laptop.example.org]
       users[2]: Remote EAP identity: carol
       users[2]: IKEv2 SPIs: e0b148a8fd02cc41_i b54b0a5bf7acd74e_r*, pre-shared key reauthentication in 2 hours
       users[2]: IKE proposal: AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/CURVE_25519
       users{2}:  INSTALLED, TUNNEL, reqid 2, ESP in UDP SPIs: 3fde83da_i a2923e36_o
       users{2}:  AES_CBC_128/HMAC_SHA2_256_128, 5000000000 bytes_i (227 pkts, 0s ago), 5156 bytes_o (1 pkt, 0s ago), rekeying in 44 minutes
       users{2}:   10.1.0.0/16 === 10.200.0.1/32
";

    fn sas(lines: &str) -> Vec<IkeSa<'_>> {
        let Status { sas, skipped, .. } = parse(Text::from(lines)).expect("a status");
        assert_eq!(skipped, Skipped::default(), "{lines}");
        sas
    }

    #[test]
    fn a_user_and_the_traffic() {
        let sas = sas(USERS);
        let [sa] = sas.as_slice() else { panic!("{sas:?}") };
        assert_eq!((sa.name, sa.id, sa.state), ("users".into(), 2, "ESTABLISHED".into()));
        assert_eq!(sa.remote, Some("carol@laptop.example.org".into()));
        assert_eq!(sa.user(), Some("carol".into()));
        let [child] = sa.children.as_slice() else { panic!("{sa:?}") };
        assert!(child.is_installed());
        let expected = Traffic {
            in_bytes: Some(5_000_000_000),
            in_packets: Some(227),
            out_bytes: Some(5156),
            out_packets: Some(1),
        };
        assert_eq!(child.traffic, expected);
    }

    #[test]
    fn what_stands_before_the_sas() {
        let lines = "\
Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):
  uptime: 6 hours, since Nov 20 04:10:11 2026
Listening IP addresses:
  192.0.2.1
  2001:db8::1
Connections:
      old mill:  192.0.2.1...198.51.100.7  IKEv1/2, dpddelay=30s
      old mill:   local:  [192.0.2.1] uses pre-shared key authentication
      old mill:   child:  10.1.1.0/24 === 10.2.1.0/24 TUNNEL, dpdaction=clear
          weir:   child:  10.1.2.0/24 === 10.2.2.0/24 TUNNEL, dpdaction=clear
         Routed:  %any...0.0.0.0/0,::/0, dpddelay=30s
Shunted Connections:
           lan:  10.1.0.0/16 === 10.1.0.0/16 PASS
Routed Connections:
          weir{1}:  ROUTED, TUNNEL, reqid 1
          weir{1}:   10.1.2.0/24 === 10.2.2.0/24
Security Associations (0 up, 0 connecting):
  none
";
        let status = parse(lines.into()).expect("a status");
        let conns: Vec<_> = status.conns.iter().map(|conn| (conn.name, conn.ends.local, conn.ends.remote)).collect();
        let peer = ("192.0.2.1".into(), "198.51.100.7".into());
        let expected = [
            ("old mill".into(), peer.0, peer.1),
            ("weir".into(), peer.0, peer.1),
            ("Routed".into(), "%any".into(), "0.0.0.0/0,::/0".into()),
        ];
        assert_eq!(conns, expected);
        assert_eq!(status.addresses, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!((status.shunts, status.traps), (vec!["lan".into()], vec!["weir".into()]));
        assert_eq!(status.skipped, Skipped::default());
        assert!(is_whole(lines.into()) && !is_whole(lines.trim_end().into()), "its last line has an end");
        let torn = lines.split_once("  none").expect("the end").0;
        assert!(is_status(torn.into()) && !is_whole(torn.into()));
    }

    #[test]
    fn what_is_not_a_status_is_absent() {
        for text in ["", "000 Total IPsec connections: loaded 0, active 0\n", "Connections:\n   a[1]: ESTABLISHED\n"] {
            assert!(parse(Text::from(text)).is_none(), "{text:?}");
            assert!(!is_status(text.into()) && !is_whole(text.into()), "{text:?}");
        }
        for nothing in ["none", "no match"] {
            assert!(sas(&format!("Security Associations (0 up, 0 connecting):\n  {nothing}\n")).is_empty());
        }
    }

    #[test]
    fn identities_hold_what_they_like() {
        for (ends, expected) in [
            ("10.9.0.1[gw]...10.9.0.2[C=DE, O=Acme, CN=bob]", Some("C=DE, O=Acme, CN=bob")),
            ("10.9.0.1[C=DE, O=A]...10.9.0.2[bob [mobile]@example.org]", Some("bob [mobile]@example.org")),
            ("10.9.0.1[gw]...10.9.0.2[x]...192.0.2.9[root]", Some("x]...192.0.2.9[root")),
            ("10.9.0.1[gw]...10.9.0.2[x[9]: CONNECTING]", Some("x[9]: CONNECTING")),
            ("2001:db8::1[gw]...2001:db8::2[2001:db8::2]", Some("2001:db8::2")),
            ("10.9.0.1[gw]...10.9.0.2[4500][root]", Some("4500][root")),
            ("10.9.0.1[500][gw]...10.9.0.2[4500][bob]", Some("bob")),
            ("10.9.0.1[gw]...10.9.0.2[%any]", None),
            ("10.9.0.1[gw]...10.9.0.2[]", None),
        ] {
            let text =
                format!("Security Associations (1 up, 0 connecting):\n  a b[1]: ESTABLISHED 2 hours ago, {ends}\n");
            let sas = sas(&text);
            assert_eq!(sas.len(), 1, "{text}");
            assert_eq!(sas[0].name, "a b");
            assert_eq!(sas[0].user(), expected.map(Text::from), "{text}");
        }
    }

    #[test]
    fn a_connecting_peer_is_nobody_yet() {
        let lines =
            "Security Associations (0 up, 1 connecting):\n users[1]: CONNECTING, 10.9.0.1[gw]...10.9.0.2[root]\n";
        let sas = sas(lines);
        assert_eq!((sas[0].remote, sas[0].user()), (Some("root".into()), None));
        assert!(!sas[0].is_established());
    }

    #[test]
    fn names_hold_brackets_and_are_longer_than_the_column() {
        let lines = "Security Associations (1 up, 0 connecting):\n\
            dots.and-dashes_x{1}[4]: ESTABLISHED 3 seconds ago, 10.9.0.1[gw]...10.9.0.2[b]\n\
            dots.and-dashes_x{1}{5}:  INSTALLED, TUNNEL, reqid 4, ESP SPIs: 913e9c8c_i c4fda98b_o\n\
            dots.and-dashes_x{1}{5}:  AES_GCM_16_128, 268 bytes_i (5 pkts, 3s ago), 0 bytes_o, rekeying disabled\n";
        let sas = sas(lines);
        assert_eq!((sas[0].name, sas[0].id), ("dots.and-dashes_x{1}".into(), 4));
        let child = &sas[0].children[0];
        assert_eq!((child.name, child.id), ("dots.and-dashes_x{1}".into(), 5));
        assert_eq!((child.traffic.in_packets, child.traffic.out_packets), (Some(5), Some(0)));
    }

    #[test]
    fn a_child_belongs_to_the_ike_sa_above_and_may_print_no_counters() {
        let lines = "Security Associations (2 up, 0 connecting):\n\
            \x20  lan[2]: REKEYING, 10.9.0.1[gw]...10.9.0.2[b]\n\
            \x20  lan[1]: ESTABLISHED 3 hours ago, 10.9.0.1[gw]...10.9.0.2[b]\n\
            \x20  lan[1]: Tasks active: CHILD_REKEY \n\
            \x20  lan{1}:  REKEYED, TUNNEL, reqid 1, expires in 59 minutes\n\
            \x20  lan{1}:   10.1.1.0/24 === 10.2.1.0/24\n\
            \x20voice{2}:  INSTALLED, TRANSPORT, reqid 2, ESP SPIs: efe43d51_i eafd4b4d_o\n";
        let sas = sas(lines);
        assert!(sas[0].is_established() && sas[0].children.is_empty());
        let children: Vec<_> = sas[1].children.iter().map(|child| (child.name, child.traffic)).collect();
        assert_eq!(children, [("lan".into(), Traffic::default()), ("voice".into(), Traffic::default())]);
    }

    #[test]
    fn bytes_without_packets_leave_the_packets_unknown() {
        let read = |line: &'static str| traffic(line.into());
        let line = "NULL/HMAC_SHA1_96, 99999999999999999999 bytes_i, 7 bytes_o, rekeying active";
        assert_eq!(read(line), Some((Traffic { out_bytes: Some(7), ..Traffic::default() }, true)));
        let line = "AES_CBC_128/HMAC_SHA1_96, 840 bytes_i (4s ago), 0 bytes_o, rekeying in 24 minutes";
        let expected = Traffic { in_bytes: Some(840), out_bytes: Some(0), out_packets: Some(0), ..Traffic::default() };
        assert_eq!(read(line), Some((expected, false)), "before 5.0.3");
        let line = "AES_CBC_128/HMAC_SHA1_96, 840 bytes_o (9 pkts, 4s ago)";
        let expected = Traffic { out_bytes: Some(840), out_packets: Some(9), ..Traffic::default() };
        assert_eq!(read(line), Some((expected, true)), "each counter for itself");
        assert_eq!(read("10.1.0.0/16 === 10.2.0.0/16"), None);
    }

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let lines = "Security Associations (1 up, 0 connecting):\n\
            users{9}:  INSTALLED, TUNNEL, reqid 2\n\
            users[3]: IKE proposal: X\n\
            something else\n";
        let status = parse(Text::from(lines)).expect("a status");
        assert_eq!((status.sas.len(), status.skipped.count), (0, 3));
        // Those of the same name and another number are not about what stands above them.
        let others = "Security Associations (1 up, 0 connecting):\n\
            users[2]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.2[b]\n\
            users[3]: Remote EAP identity: mallory\n\
            users{2}:  INSTALLED, TUNNEL, reqid 2\n\
            users{3}:  AES_CBC_128/HMAC_SHA1_96, 840 bytes_i (9 pkts, 4s ago), 0 bytes_o, rekeying disabled\n";
        let others = parse(Text::from(others)).expect("a status");
        assert_eq!((others.sas[0].user(), others.sas[0].children[0].traffic), (Some("b".into()), Traffic::default()));
        assert_eq!(others.skipped.count, 2);
        let kinds = LineKind::ALL.map(|kind| status.skipped.has(kind));
        assert_eq!(kinds, [true, true, false, false, false, true]);
    }

    #[test]
    fn damage_never_stops_it() {
        let bytes = USERS.as_bytes();
        for end in 0..bytes.len() {
            parse(Text::new(&bytes[..end]));
            let mut flipped = bytes.to_vec();
            flipped[end] ^= 1 << (end % 8);
            parse(Text::new(&flipped));
        }
    }

    #[test]
    fn which_states_are_established_proved_and_installed() {
        for (state, is_established, is_proved) in [
            ("CREATED", false, false),
            ("CONNECTING", false, false),
            ("ESTABLISHED", true, true),
            ("REKEYING", true, true),
            ("REKEYED", true, true),
            ("DELETING", false, true),
        ] {
            let text =
                format!("Security Associations (1 up, 0 connecting):\n a[1]: {state}, 10.9.0.1[gw]...10.9.0.2[b]\n");
            let sas = sas(&text);
            assert_eq!((sas[0].is_established(), sas[0].user().is_some()), (is_established, is_proved), "{state}");
        }
        for (state, is_installed) in [
            ("CREATED", false),
            ("ROUTED", false),
            ("INSTALLED", true),
            ("UPDATING", true),
            ("REKEYING", true),
            ("REKEYED", true),
            ("DELETING", false),
        ] {
            let text = format!(
                "Security Associations (1 up, 0 connecting):\n a[1]: ESTABLISHED, 10.9.0.1[gw]...10.9.0.2[b]\n a{{1}}:  {state}, TUNNEL, reqid 1\n"
            );
            assert_eq!(sas(&text)[0].children[0].is_installed(), is_installed, "{state}");
        }
    }

    #[test]
    fn packets_are_counted_unless_one_line_lacks_them() {
        let text = |packets: &str| {
            format!(
                "Security Associations (1 up, 0 connecting):\n a[1]: ESTABLISHED, 10.9.0.1[gw]...10.9.0.2[b]\n \
                 a{{1}}:  INSTALLED, TUNNEL, reqid 1\n a{{1}}:  AES, 840 bytes_i ({packets}4s ago), 0 bytes_o\n \
                 a{{2}}:  INSTALLED, TUNNEL, reqid 1\n a{{2}}:  AES, 840 bytes_i (9 pkts, 4s ago), 0 bytes_o\n"
            )
        };
        for (packets, is_counted) in [("9 pkts, ", true), ("", false)] {
            let text = text(packets);
            assert_eq!(parse(Text::from(text.as_str())).map(|status| status.counts_packets), Some(is_counted));
        }
    }
}
