//! `ipsec statusall`: which keys are agreed with whom, and what went through them.
//!
//! strongSwan 5 and 6 print it (`stroke_list.c`); there is no other definition of the format.
//! Identities are chosen by remote peers and may hold anything that prints, also what looks
//! like the rest of a line: what stands first on a line decides.

use crate::text::Text;

/// What the daemon has up at the moment.
#[derive(Debug, Default)]
pub struct Status<'a> {
    /// The IKE_SAs as printed: the newest first.
    pub sas: Vec<IkeSa<'a>>,
    /// How many lines about SAs could not be understood.
    pub skipped: usize,
    /// Whether packets are counted beside bytes.
    pub counts_packets: bool,
    /// Whether users are named.
    pub names_users: bool,
}

/// An agreement with one peer.
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

/// The keys for traffic between two networks.
#[derive(Debug)]
pub struct ChildSa<'a> {
    /// The name of the conn whose networks these are.
    pub name: Text<'a>,
    /// The number that tells it from others of that name.
    pub id: u64,
    /// `INSTALLED`, `REKEYING`…
    pub state: Text<'a>,
    /// What went through; all absent where no counters were printed.
    pub traffic: Traffic,
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
    /// Whether both sides have proved who they are and still agree.
    pub fn is_established(&self) -> bool {
        ["ESTABLISHED", "REKEYING", "REKEYED"].iter().any(|state| self.state == *state)
    }

    /// Who the peer is, once that is proved: a connecting peer can claim any name.
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

/// Reads what `ipsec statusall` or `ipsec status` printed; absent where it is neither.
pub fn parse(text: Text<'_>) -> Option<Status<'_>> {
    let mut lines = text.lines();
    // Connections and routes above have lines of the same shape.
    lines.find(|line| line.after("Security Associations").is_some_and(|rest| rest.before(":").is_some()))?;
    let mut status = Status { counts_packets: true, names_users: true, ..Status::default() };
    for line in lines {
        if !understand(line, &mut status.sas) {
            status.skipped = status.skipped.saturating_add(1);
        }
    }
    Some(status)
}

/// Takes one line into the SAs above it; false where it does not fit.
fn understand<'a>(line: Text<'a>, sas: &mut Vec<IkeSa<'a>>) -> bool {
    let Some(tag) = tag(line) else {
        return ["", "none", "no match"].iter().any(|word| line.trim() == *word);
    };
    match tag.kind {
        Kind::Ike => match ike_sa(&tag) {
            Some(sa) => sas.push(sa),
            None => {
                let Some(sa) = sas.last_mut().filter(|sa| (sa.name, sa.id) == (tag.name, tag.id)) else { return false };
                sa.login = sa.login.or(login(tag.rest));
            }
        },
        Kind::Child => {
            let Some(sa) = sas.last_mut() else { return false };
            match child_sa(&tag) {
                Some(child) => sa.children.push(child),
                None => {
                    let child = sa.children.last_mut().filter(|child| (child.name, child.id) == (tag.name, tag.id));
                    let Some(child) = child else { return false };
                    child.traffic = traffic(tag.rest).unwrap_or(child.traffic);
                }
            }
        }
    }
    true
}

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
    // Ours comes first, so what a peer puts into its own identity can't move the cut.
    let (_, theirs) = ends.cut_at("]...")?;
    let (_, identity) = theirs.before("]")?.cut(b'[')?;
    let remote = known(identity);
    Some(IkeSa { name: tag.name, id: tag.id, state, remote, login: None, children: Vec::new() })
}

/// `INSTALLED, TUNNEL, reqid 2, …`
fn child_sa<'a>(tag: &Tag<'a>) -> Option<ChildSa<'a>> {
    let (state, rest) = tag.rest.cut_at(", ")?;
    let (_mode, rest) = rest.cut_at(", ")?;
    let is_first_line = is_state(state) && rest.after("reqid ").is_some();
    is_first_line.then(|| ChildSa { name: tag.name, id: tag.id, state, traffic: Traffic::default() })
}

fn is_state(word: Text<'_>) -> bool {
    !word.is_empty() && word.bytes().iter().all(u8::is_ascii_uppercase)
}

fn login(rest: Text<'_>) -> Option<Text<'_>> {
    rest.after("Remote EAP identity: ").or_else(|| rest.after("Remote XAuth identity: ")).and_then(known)
}

/// `%any` is what charon prints for an identity that it doesn't know yet.
fn known(identity: Text<'_>) -> Option<Text<'_>> {
    Some(identity).filter(|identity| !identity.is_empty() && *identity != "%any")
}

/// `AES_CBC_128/…, 311812 bytes_i (227 pkts, 0s ago), 5156 bytes_o (1 pkt, 0s ago), rekeying in …`
fn traffic(rest: Text<'_>) -> Option<Traffic> {
    let (in_bytes, in_packets) = direction(rest, " bytes_i")?;
    let (out_bytes, out_packets) = direction(rest, " bytes_o")?;
    Some(Traffic { in_bytes, in_packets, out_bytes, out_packets })
}

fn direction(rest: Text<'_>, unit: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (before, after) = rest.cut_at(unit)?;
    let bytes = before.cut_last(b' ').map_or(before, |(_, number)| number).number();
    let packets = after.after(" (").and_then(|inside| inside.cut_at(" pkt")).and_then(|(number, _)| number.number());
    // The packets are left out where there was no traffic, and only then is that a 0.
    Some((bytes, packets.or(bytes.filter(|bytes| *bytes == 0))))
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
        assert_eq!(skipped, 0, "{lines}");
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
    fn what_is_not_a_status_is_absent() {
        for text in ["", "000 Total IPsec connections: loaded 0, active 0\n", "Connections:\n   a[1]: ESTABLISHED\n"] {
            assert!(parse(Text::from(text)).is_none(), "{text:?}");
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
        let traffic = traffic("NULL/HMAC_SHA1_96, 99999999999999999999 bytes_i, 7 bytes_o, rekeying active".into());
        assert_eq!(traffic, Some(Traffic { out_bytes: Some(7), ..Traffic::default() }));
    }

    #[test]
    fn lines_that_do_not_fit_are_counted() {
        let lines = "Security Associations (1 up, 0 connecting):\n\
            users{9}:  INSTALLED, TUNNEL, reqid 2\n\
            users[3]: IKE proposal: X\n\
            something else\n";
        let status = parse(Text::from(lines)).expect("a status");
        assert_eq!((status.sas.len(), status.skipped), (0, 3));
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
}
