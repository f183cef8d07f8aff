//! `ipsec status` and `ipsec trafficstatus` of libreswan, the other daemon that `ipsec` may speak for.
//!
//! Openswan and libreswan 3 to 5 print it (`whack`); there is no other definition of the format. Known forms:
//!
//! - Up to 4.x every line begins with a number (`000 `, `006 `).
//! - A state is `#2: "name"[1] 192.0.2.2:500 STATE_NAME (its story); …`; the port is `:4500(tcp)` where IKE goes over
//!   TCP (from 4.0); 5.4 prints the story alone. The names of the states have changed often: the story decides, and
//!   an SA is established in every version where it says so (`IPsec SA established`, `established Child SA`, …).
//! - A conn is `"name": OURS...THEIRS; erouted; eroute owner: #2` up to 4.x, `…; routed-tunnel; my_ip=…` from 5.0. The
//!   routings of a policy without keys are `prospective erouted`, `routed-ondemand` and `routed-never-negotiate`.
//! - Openswan and old versions have no `trafficstatus`: what passed is not known then, nor who the users are.
//! - pluto of strongSwan 4 prints the same lines without the port, and the bytes of an SA behind its SPIs:
//!   `esp.c9e1a7b2@PEER (532 bytes, 3s ago) esp.5a1122b3@OURS (1200 bytes, 2s ago)`, first those that were sent.

use crate::hash_index::NumberSet;
use crate::text::Text;

use super::kind::{Dialect, Ends};
use super::sas::{ChildSa, IkeSa, LineKind, Listed, Status, Traffic};

/// The states of an IKE_SA and of a CHILD_SA, as strongSwan prints them.
const ESTABLISHED: &str = "ESTABLISHED";
const INSTALLED: &str = "INSTALLED";

/// What a state of pluto has negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing yet.
    Open,
    /// An IKE SA.
    Ike,
    /// A Child SA.
    Child,
}

/// Whether this is what libreswan's `ipsec status` prints.
pub fn is_status(text: Text<'_>) -> bool {
    let is_own = |line: Text<'_>| {
        line.after("using kernel interface:").is_some() || line.after("Total IPsec connections:").is_some()
    };
    text.lines().map(unnumbered).any(is_own)
}

/// Whether an error message says that this `ipsec` does not have a command.
pub fn lacks(complaint: &str, command: &str) -> bool {
    ["unknown", "unrecognized"].iter().any(|word| complaint.contains(word)) && complaint.contains(command)
}

/// Reads what `ipsec status` printed and, where it could be read, `ipsec trafficstatus`; absent
/// where the first is not libreswan's. Packets are not counted.
pub fn parse<'a>(status: Text<'a>, traffic: Option<Text<'a>>) -> Option<Status<'a>> {
    if !is_status(status) {
        return None;
    }
    let mut found = Status { dialect: dialect(status), names_users: traffic.is_some(), ..Status::default() };
    let mut serials = NumberSet::default();
    // A row is established, also where the status was printed a moment too early to say so.
    for line in traffic.unwrap_or_default().lines().map(unnumbered).filter(|line| !line.is_empty()) {
        match row(line).filter(|sa| serials.insert(sa.id)) {
            Some(sa) => found.sas.push(sa),
            None => found.skipped.add(LineKind::Traffic),
        }
    }
    add_lines(status.lines(), &mut serials, &mut found);
    Some(found)
}

/// Adds the status of strongSwan 4's pluto, which precedes charon's; returns whether there is one.
pub fn add_pluto<'a>(text: Text<'a>, status: &mut Status<'a>) -> bool {
    let has_pluto = is_pluto(text);
    if has_pluto {
        status.counts_packets = false;
        let own = text.lines().filter(|line| line.after("000 ").is_some());
        add_lines(own, &mut NumberSet::default(), status);
    }
    has_pluto
}

/// Whether pluto of strongSwan 4 printed a part of this.
pub fn is_pluto(text: Text<'_>) -> bool {
    let is_own = |line: Text<'_>| ["Status of IKEv1 pluto", "%myid"].iter().any(|word| line.after(word).is_some());
    text.lines().filter_map(|line| line.after("000 ")).any(is_own) && !is_status(text)
}

/// Which rules of ipsec.conf the version follows that printed this.
pub fn dialect(status: Text<'_>) -> Dialect {
    let version = status.lines().find_map(|line| unnumbered(line).cut_at("pluto_version=").map(|(_, version)| version));
    let major = version.and_then(|version| version.cut(b'.')).and_then(|(major, _)| major.number());
    match major {
        Some(major) if major >= 5 => Dialect::Libreswan5,
        None if !status.lines().any(|line| line.after("000 ").is_some()) => Dialect::Libreswan5,
        _ => Dialect::Libreswan4,
    }
}

fn add_lines<'a>(lines: impl Iterator<Item = Text<'a>>, serials: &mut NumberSet, found: &mut Status<'a>) {
    for line in lines.map(unnumbered) {
        if line.after("\"").is_some() {
            add_conn(line, found);
        } else if let Some(rest) = line.after("interface ") {
            found.addresses.extend(rest.words().filter_map(interface_address).next());
        } else if line.after("#").is_some() {
            add_state(line, serials, found);
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:500`, `192.0.2.1@500`, `[2001:db8::1]:500`; absent for a name such as `eth0/eth0` or `UDP`.
fn interface_address(word: Text<'_>) -> Option<Text<'_>> {
    let inside = word.after("[").and_then(|word| word.cut(b']')).map(|(address, _)| address);
    let bare = || word.cut(b'@').or_else(|| word.cut_last(b':')).map_or(word, |(address, _)| address);
    [inside.unwrap_or(word), bare()].into_iter().find(|text| text.address().is_some())
}

/// Adds the first line of a conn to the list of conns and, if it is routed, to that of the traps. The conn's other
/// lines, which are indented further, are skipped.
fn add_conn<'a>(line: Text<'a>, found: &mut Status<'a>) {
    let Some(conn) = conn(line) else { return };
    if conn.is_routed == Some(true) {
        found.traps.push(conn.name);
    }
    found.conns.push(conn);
}

/// `"name": OURS...THEIRS; ROUTING; …`
fn conn(line: Text<'_>) -> Option<Listed<'_>> {
    let (name, rest) = line.after("\"")?.cut(b'"')?;
    let (instance, rest) = rest.cut_at(": ")?;
    if rest.bytes().first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let (local, remote) = rest.cut_at("...")?;
    // The peer's identity precedes these words and may contain them, so the last ones count.
    let (topology, _) = rest.cut_last_at("; eroute owner:").or_else(|| rest.cut_last_at("; my_ip="))?;
    let routing = topology.cut_last_at("; ").map(|(_, routing)| routing);
    // While pluto negotiates, and after it has failed, another policy is in place of the one that waits for a packet.
    let others = ["unrouted", "HOLD", "negotiation", "fail"];
    let is_routed =
        routing.map(|routing| routing.contains("routed") && !others.iter().any(|other| routing.contains(other)));
    let before_id = local.cut(b'[').map_or(local, |(local, _)| local);
    let local = before_id.cut_last_at("===").map_or(local, |(_, local)| local);
    let remote = remote.cut_at("---").filter(|(hop, _)| is_host(*hop)).map_or(remote, |(_, remote)| remote);
    let ends = Ends { local: host(local), remote: host(remote) };
    Some(Listed { name, ends, is_routed, is_instance: instance.after("[").is_some() })
}

fn is_host(text: Text<'_>) -> bool {
    !text.bytes().iter().any(|byte| b"[]=;< ".contains(byte))
}

/// The host of an end, without the name in `<…>`, the identity in `[…]`, the network after `===` and the next hop after
/// `---`.
fn host(end: Text<'_>) -> Text<'_> {
    if let Some((address, _)) = end.after("[").and_then(|end| end.cut(b']')) {
        return address;
    }
    let length = end.bytes().iter().position(|byte| b"[=;< ".contains(byte)).unwrap_or(end.bytes().len());
    let host = Text::new(end.bytes().get(..length).unwrap_or_default());
    let host = host.cut_at("---").map_or(host, |(host, _)| host);
    host.after("%").and_then(|_| host.cut(b':')).map_or(host, |(host, _)| host)
}

/// Adds a state to the SAs; the line below it may have its traffic.
fn add_state<'a>(line: Text<'a>, serials: &mut NumberSet, found: &mut Status<'a>) {
    // The second line of a state has no stage: its SPIs, user and bytes.
    if tag(line).is_some_and(|(_, _, rest)| port(rest).is_some()) {
        match state(line) {
            Some((stage, sa)) if stage != Stage::Open && serials.insert(sa.id) => found.sas.push(sa),
            Some(_) => {}
            None => found.skipped.add(LineKind::State),
        }
        return;
    }
    let Some((serial, _, rest)) = tag(line) else {
        if !line.contains(": pending ") {
            found.skipped.add(LineKind::State);
        }
        return;
    };
    if !rest.words().any(|word| word.bytes().contains(&b'@')) {
        return found.skipped.add(LineKind::State);
    }
    let children = found.sas.last_mut().filter(|sa| sa.id == serial).map(|sa| &mut sa.children);
    if let Some(child) = children.and_then(|children| children.last_mut()) {
        child.traffic = match child.traffic == Traffic::default() {
            true => pluto_traffic(rest),
            false => child.traffic,
        };
    }
}

/// The bytes that strongSwan 4's pluto prints after each SPI: the peer's SPI and ours alternate.
fn pluto_traffic(rest: Text<'_>) -> Traffic {
    let (mut traffic, mut is_ours, mut number) = (Traffic::default(), true, None);
    for word in rest.words() {
        if word.bytes().contains(&b'@') {
            is_ours = !is_ours;
        } else if let Some(digits) = word.after("(") {
            number = digits.number();
        } else if word.after("bytes").is_some() {
            let slot = if is_ours { &mut traffic.in_bytes } else { &mut traffic.out_bytes };
            *slot = slot.or(number.take());
        }
    }
    traffic
}

/// Every Child SA gets an IKE SA of its own: they name their conn and user themselves.
fn ike_sa<'a>(name: Text<'a>, id: u64, children: Vec<ChildSa<'a>>) -> IkeSa<'a> {
    IkeSa { name, id, state: ESTABLISHED.into(), remote: None, login: None, children }
}

fn child(name: Text<'_>, id: u64, traffic: Traffic) -> ChildSa<'_> {
    ChildSa { name, id, state: INSTALLED.into(), traffic, selectors: None }
}

/// A line without the number that whack puts before it up to 4.x, and without the space of empty ones.
fn unnumbered(line: Text<'_>) -> Text<'_> {
    let rest = line.cut_word().filter(|(word, _)| word.bytes().len() == 3 && word.number().is_some());
    rest.map_or(line, |(_, rest)| rest).trim()
}

/// `#2: "name"`: the serial number, the conn's name, and what follows.
fn tag(line: Text<'_>) -> Option<(u64, Text<'_>, Text<'_>)> {
    let (serial, rest) = line.after("#")?.cut_at(": \"")?;
    let (name, rest) = rest.cut(b'"')?;
    Some((serial.number()?, name, rest))
}

/// The text after the peer's port, which precedes the name of a state: `[3] 192.0.2.2:500 STATE_…`. pluto of
/// strongSwan 4 has no port there, but a state's name always.
fn port(rest: Text<'_>) -> Option<Text<'_>> {
    let is_spi = |text: Text<'_>| text.words().next().is_some_and(|word| word.bytes().contains(&b'@'));
    let mut rest = rest;
    while let Some((word, after)) = rest.cut_word() {
        if word.after("STATE_").is_some() {
            return Some(rest);
        }
        if is_spi(word) || is_spi(after) {
            return None;
        }
        let number = word.cut_last(b':').map(|(_, number)| number.before("(tcp)").unwrap_or(number));
        if number.and_then(Text::number).is_some() {
            return Some(after);
        }
        rest = after;
    }
    None
}

/// `#2: "name"[1] 192.0.2.2:500 STATE_NAME (its story); REKEY in 27860s; …`; 5.4 has only the story.
fn state(line: Text<'_>) -> Option<(Stage, IkeSa<'_>)> {
    // The number tells the state from all others of this run of pluto.
    let (serial, name, rest) = tag(line)?;
    let (stage, details) = port(rest)?.cut_at(";")?;
    let stage = stage_of(stage, details);
    let children = if stage == Stage::Child { vec![child(name, serial, Traffic::default())] } else { Vec::new() };
    Some((stage, ike_sa(name, serial, children)))
}

fn stage_of(stage: Text<'_>, details: Text<'_>) -> Stage {
    let (name, story) = stage.cut_at(" (").unwrap_or((stage, stage));
    let story = story.before(")").unwrap_or(story);
    // A server that has assigned an address waits for an acknowledgement that few clients send.
    if name.after("STATE_MODE_CFG_R").is_some() {
        return Stage::Ike;
    }
    let says = |words: &[&str]| words.iter().any(|words| story.contains(words));
    // Early IKEv2 calls both alike; only a Child SA names its parent.
    let is_child = says(&["PARENT SA established"]) && details.contains("; isakmp#");
    if is_child || says(&CHILD_WORDS) {
        return Stage::Child;
    }
    if says(&["SA established", "established IKE SA", "established ISAKMP SA"]) { Stage::Ike } else { Stage::Open }
}

/// What the versions print about a Child SA that carries traffic.
const CHILD_WORDS: [&str; 6] = [
    "IPsec SA established",
    "established IPsec SA",
    "Child SA established",
    "established Child SA",
    "CHILD SA established",
    "established CHILD SA",
];

/// A line of `ipsec trafficstatus`, about an established Child SA:
/// `#2: "name"[1] 192.0.2.2, username=carol, type=ESP, add_time=…, inBytes=1, outBytes=2, …`, or
/// without a user name and with `, id='@peer'` behind the bytes.
fn row(line: Text<'_>) -> Option<IkeSa<'_>> {
    let (serial, name, rest) = tag(line)?;
    let (_instance, rest) = rest.cut_at(", ")?;
    // Users choose their names and peers their identities, which may look like the rest of the line.
    let (username, fields, id) = match rest.after("username=") {
        Some(rest) => {
            let (username, fields) = rest.cut_last_at(", type=")?;
            (Some(username), fields, None)
        }
        None => {
            let (fields, id) = rest.after("type=")?.cut_at(", id='").unwrap_or((rest, Text::default()));
            (None, fields, id.cut_last(b'\'').map(|(id, _)| id))
        }
    };
    let count = |key: &str| {
        let value = fields.fields(b',').find_map(|field| field.trim().after(key));
        value.and_then(Text::number)
    };
    let traffic = Traffic { in_bytes: count("inBytes="), out_bytes: count("outBytes="), ..Traffic::default() };
    let known = |text: &Text<'_>| !text.is_empty();
    let sa = ike_sa(name, serial, vec![child(name, serial, traffic)]);
    Some(IkeSa { remote: id.filter(known), login: username.filter(known), ..sa })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_version_are_one_stage() {
        for (stage, details, expected) in [
            ("STATE_MAIN_I4 (ISAKMP SA established)", " EVENT_SA_REPLACE in 1s; newest ISAKMP; idle", Stage::Ike),
            ("STATE_MAIN_R3 (sent MR3, ISAKMP SA established)", " EVENT_SA_REPLACE in 1s; nodpd", Stage::Ike),
            ("STATE_MAIN_R3 (IKE SA established)", " REPLACE in 1s", Stage::Ike),
            ("STATE_MODE_CFG_R1 (ModeCfg Set sent, expecting Ack)", " EVENT_SA_REPLACE in 1s", Stage::Ike),
            ("STATE_XAUTH_R0 (XAUTH responder - optional CFG exchange)", " EVENT_RETRANSMIT in 1s", Stage::Open),
            ("STATE_QUICK_I2 (sent QI2, IPsec SA established)", " EVENT_SA_EXPIRE in 1s; isakmp#1", Stage::Child),
            ("STATE_QUICK_R1 (sent QR1, inbound IPsec SA installed, expecting QI2)", " RETRANSMIT in 1s", Stage::Open),
            ("STATE_PARENT_R2 (received v2I2, PARENT SA established)", " EVENT_SA_REPLACE in 1s; idle", Stage::Ike),
            ("STATE_PARENT_I3 (PARENT SA established)", " EVENT_SA_REPLACE in 1s; isakmp#3; idle", Stage::Child),
            ("STATE_V2_IPSEC_R (IPsec SA established)", " EVENT_SA_REPLACE in 1s; isakmp#3", Stage::Child),
            ("STATE_V2_ESTABLISHED_IKE_SA (established IKE SA)", " REKEY in 1s", Stage::Ike),
            ("STATE_V2_ESTABLISHED_CHILD_SA (established Child SA)", " REKEY in 1s; IKE SA #1", Stage::Child),
            ("ESTABLISHED_CHILD_SA (established Child SA)", " EXPIRE in 0s; IKE SA #1", Stage::Child),
            ("established IKE SA", " REKEY in 1s", Stage::Ike),
            ("established Child SA", " REKEY in 1s", Stage::Child),
            ("ESTABLISHED_CHILD_SA (established CHILD SA)", " REKEY in 1s", Stage::Child),
            ("STATE_QUICK_R2 (IPsec SA established tunnel mode)", " EVENT_SA_REPLACE in 1s", Stage::Child),
            ("STATE_CHILD_C1_KEYED (CHILD SA established)", " EVENT_SA_REPLACE in 1s", Stage::Child),
            ("STATE_MAIN_R3 (ISAKMP SA established)", " REPLACE in 1s", Stage::Ike),
            ("establishing Child SA", " RETRANSMIT in 1s", Stage::Open),
            ("ISAKMP SA not established", "", Stage::Open),
            ("IKE_SA_INIT_I (sent IKE_SA_INIT request)", " RETRANSMIT in 0s", Stage::Open),
            ("", "", Stage::Open),
        ] {
            assert_eq!(stage_of(stage.into(), details.into()), expected, "{stage}");
        }
    }

    #[test]
    fn conns_are_listed_with_their_ends_and_their_routing() {
        for (line, expected) in [
            (
                "\"a\": 10.1.0.0/16===192.0.2.1<192.0.2.1>[@gw]...192.0.2.9---198.51.100.7<peer>[@x]===10.2.0.0/16; erouted; eroute owner: #2",
                Some(("a", "192.0.2.1", "198.51.100.7", true)),
            ),
            (
                "\"a\": 192.0.2.1---192.0.2.9...%any[+MC+XC+S=C]==={10.3.0.1-10.3.0.9}; unrouted; my_ip=unset; their_ip=unset;",
                Some(("a", "192.0.2.1", "%any", false)),
            ),
            (
                "\"a\": [2001:db8::1]:4500[@gw]...[2001:db8::2]:4500[@x]; routed-tunnel; my_ip=unset; their_ip=unset;",
                Some(("a", "2001:db8::1", "2001:db8::2", true)),
            ),
            (
                "\"g\": 192.0.2.1[C=DE, O=A; B]...%group; unrouted; my_ip=unset; their_ip=unset;",
                Some(("g", "192.0.2.1", "%group", false)),
            ),
            (
                "\"g#192.0.2.0/24\": 192.0.2.1...%opportunistic[%fromcert]===192.0.2.0/24; routed-ondemand; my_ip=unset;",
                Some(("g#192.0.2.0/24", "192.0.2.1", "%opportunistic", true)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; routed-never-negotiate; my_ip=unset;",
                Some(("p", "192.0.2.1", "198.51.100.7", true)),
            ),
            ("\"p\": 192.0.2.1...%any; prospective erouted; eroute owner: #0", Some(("p", "192.0.2.1", "%any", true))),
            (
                "\"p\": 192.0.2.1...198.51.100.7; unrouted HOLD; eroute owner: #0",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; erouted HOLD; eroute owner: #0",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; fail erouted; eroute owner: #0",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; routed-failure; my_ip=unset;",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; routed-negotiation; my_ip=unset;",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            (
                "\"p\": 192.0.2.1...198.51.100.7; unoriented; my_ip=unset;",
                Some(("p", "192.0.2.1", "198.51.100.7", false)),
            ),
            ("\"a\":   newest IKE SA: #1; newest IPsec SA: #2;", None),
            ("\"a\"[1] 198.51.100.7:   policy: IKEv2+PSK...;", None),
        ] {
            let found = conn(line.into()).map(|conn| (conn.name, conn.ends.local, conn.ends.remote, conn.is_routed));
            let expected =
                expected.map(|(name, local, remote, routed)| (name.into(), local.into(), remote.into(), Some(routed)));
            assert_eq!(found, expected, "{line}");
        }
        assert!(
            conn("\"a\"[1]: 192.0.2.1...198.51.100.7; erouted; eroute owner: #2".into())
                .is_some_and(|conn| conn.is_instance)
        );
    }

    #[test]
    fn the_version_says_whose_rules_apply() {
        for (status, expected) in [
            ("000 pluto_version=3.32, pluto_vendorid=OE-Libreswan-3.32", Dialect::Libreswan4),
            ("000 pluto_version=4.10, pluto_vendorid=OE", Dialect::Libreswan4),
            ("pluto_version=5.2, pluto_vendorid=OE", Dialect::Libreswan5),
            ("000 using kernel interface: netkey", Dialect::Libreswan4),
            ("using kernel interface: xfrm", Dialect::Libreswan5),
        ] {
            assert_eq!(dialect(status.into()), expected, "{status}");
        }
    }

    #[test]
    fn own_addresses_are_those_of_the_interfaces() {
        for (line, expected) in [
            ("interface eth0 UDP 192.0.2.1:500", Some("192.0.2.1")),
            ("interface eth0/eth0 192.0.2.1", Some("192.0.2.1")),
            ("interface eth0/eth0 192.0.2.1@4500", Some("192.0.2.1")),
            ("interface eth0/eth0 192.0.2.1:500", Some("192.0.2.1")),
            ("interface eth0 UDP [2001:db8::1]:500", Some("2001:db8::1")),
            ("interface eth0/eth0 2001:db8::1", Some("2001:db8::1")),
            ("interface eth0 TCP nowhere", None),
        ] {
            let mut found = Status::default();
            add_lines([Text::from(line)].into_iter(), &mut NumberSet::default(), &mut found);
            assert_eq!(found.addresses, expected.map(Text::from).into_iter().collect::<Vec<_>>(), "{line}");
        }
    }

    #[test]
    fn a_line_about_a_state_in_unknown_words_is_counted() {
        for (line, expected) in [
            ("#2: \"a\" esp.1@192.0.2.2 esp.2@192.0.2.1 ref=0 refhim=4294901761", 0),
            ("#1: pending Child SA for \"a\"", 0),
            ("#1: \"a\":500(quic) established Child SA", 1),
            ("#1: \"a\" something else", 1),
            ("#1 \"a\":500 established Child SA;", 1),
        ] {
            let mut found = Status::default();
            add_lines([Text::from(line)].into_iter(), &mut NumberSet::default(), &mut found);
            assert_eq!((found.skipped.count, found.sas.len()), (expected, 0), "{line}");
        }
    }

    #[test]
    fn pluto_of_strongswan_4_prints_no_port_and_the_bytes_behind_the_spis() {
        let text = "000 Status of IKEv1 pluto daemon (strongSwan 4.5.2):\n\
            000 #2: \"a\"[1] 192.0.2.2 STATE_QUICK_R2 (IPsec SA established); EVENT_SA_REPLACE in 9s; newest IPSEC\n\
            000 #2: \"a\"[1] 192.0.2.2 esp.1@192.0.2.2 esp.2@192.0.2.1 (20 bytes, 2s ago); tunnel\n\
            000 #1: \"a\"[1] 192.0.2.2:4500 STATE_MAIN_R3 (sent MR3, ISAKMP SA established); EVENT_SA_REPLACE in 9s\n\
            000 #3: \"b\" STATE_MAIN_I1 (sent MI1, expecting MR1); EVENT_RETRANSMIT in 4s\n";
        let mut status = Status::default();
        assert!(add_pluto(text.into(), &mut status));
        let found: Vec<_> = status.sas.iter().map(|sa| (sa.name, sa.id, sa.children.len())).collect();
        assert_eq!(found, [("a".into(), 2, 1), ("a".into(), 1, 0)]);
        let traffic = Traffic { in_bytes: Some(20), ..Traffic::default() };
        assert_eq!((status.sas[0].children[0].traffic, status.skipped.count), (traffic, 0));
        assert!(!add_pluto("000 using kernel interface: netkey\n000 %myid = (none)\n".into(), &mut status), "Openswan");
    }

    #[test]
    fn a_state_is_named_with_its_peer_and_port_and_its_second_line_is_none() {
        for (line, expected) in [
            ("#2: \"lan\":500 established Child SA; idle;", Some((2, "lan"))),
            ("#2: \"a/1x2\"[31] 192.0.2.2:4500 established Child SA; idle;", Some((2, "a/1x2"))),
            ("#2: \"a\"[1] 2001:db8::2:500 established Child SA; idle;", Some((2, "a"))),
            ("#2: \"a\":4500(tcp) established Child SA; idle;", Some((2, "a"))),
            ("#2: \"a\"[1] 192.0.2.2:4500(tcp) STATE_V2_IPSEC_R (IPsec SA established); idle;", Some((2, "a"))),
            (
                "#2: \"clear#0.0.0.0/0\"[2] ...192.0.2.2===10.2.0.0/16:500 established Child SA; idle;",
                Some((2, "clear#0.0.0.0/0")),
            ),
            ("#2: \"a\"[1] 192.0.2.2 esp.1@192.0.2.2:500 established Child SA; username=x", None),
            ("#2: \"a\"[1] 2001:db8::2 esp.1@2001:db8::2 established Child SA; username=x", None),
            ("#2: \"a\" esp.1@192.0.2.2 Traffic: ESPin=1KB ESPout=1KB ESPmax=2^63B", None),
            ("#2: pending Child SA for \"a\"", None),
            ("\"a\": 10.1.0.0/16===192.0.2.1...192.0.2.2:500 established Child SA; x", None),
        ] {
            let line = Text::from(line);
            let found = state(line);
            let found = found.map(|(stage, sa)| (sa.id, sa.name.to_string(), stage));
            assert_eq!(found, expected.map(|(serial, name)| (serial, name.to_owned(), Stage::Child)), "{line:?}");
        }
    }

    #[test]
    fn what_users_and_peers_call_themselves_moves_nothing() {
        let tail = "type=ESP, add_time=1, inBytes=5, outBytes=7, maxBytes=2^63B";
        for (line, username, id) in [
            (format!("#1: \"a\"[1] 192.0.2.2, username=carol, {tail}, lease=10.3.0.1/32"), Some("carol"), None),
            (
                format!("#1: \"a\"[1] 192.0.2.2, username=x, type=AH, inBytes=9, {tail}"),
                Some("x, type=AH, inBytes=9"),
                None,
            ),
            (format!("#1: \"a\", {tail}, id='@peer'"), None, Some("@peer")),
            (
                format!("#1: \"a\", {tail}, id='C=DE, CN=O'Brien, inBytes=9', lease=10.3.0.1/32"),
                None,
                Some("C=DE, CN=O'Brien, inBytes=9"),
            ),
            (format!("#1: \"a\", {tail}, id='x, username=root'"), None, Some("x, username=root")),
            (format!("#1: \"a\", {tail}, id=''"), None, None),
            (format!("#1: \"a\", {tail}"), None, None),
        ] {
            let row = row(line.as_str().into()).expect(&line);
            assert_eq!((row.id, row.name), (1, "a".into()));
            assert_eq!((row.login, row.remote), (username.map(Text::from), id.map(Text::from)), "{line}");
            let traffic = row.children[0].traffic;
            assert_eq!((traffic.in_bytes, traffic.out_bytes), (Some(5), Some(7)), "{line}");
        }
    }

    #[test]
    fn bytes_that_were_not_printed_are_unknown() {
        let row =
            row("#1: \"a\", type=ESP(nic-offload=packet), add_time=1, outBytes=x, id='@b'".into()).expect("a row");
        assert_eq!(row.children[0].traffic, Traffic::default());
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_a_serial_counts_once() {
        let status = "000 using kernel interface: xfrm\n000 #1: \"a\":500 established Child SA; idle;\n\
            000 #1: \"a\":500 established Child SA; idle;\n000 #2: \"a\":500 nothing of note\n";
        let traffic =
            "#1: \"a\", type=ESP, inBytes=1, outBytes=2\n#1: \"a\", type=ESP, inBytes=1, outBytes=2\nwhack: what\n";
        let found = parse(status.into(), Some(traffic.into())).expect("a status");
        assert_eq!((found.sas.len(), found.skipped.count), (1, 3));
        assert_eq!(found.sas[0].children[0].traffic.in_bytes, Some(1));
        assert!(found.names_users && !found.counts_packets);
    }

    #[test]
    fn what_is_not_its_status_is_absent() {
        for text in ["", "Security Associations (0 up, 0 connecting):\n  none\n", "whack: using kernel interface: x\n"]
        {
            assert!(parse(text.into(), None).is_none(), "{text:?}");
        }
        for complaint in [
            "/usr/sbin/ipsec: unknown IPsec command \"statusall\" (\"ipsec help\" for list)",
            "/usr/sbin/ipsec: unknown IPsec command `statusall' (`ipsec --help' for list)",
        ] {
            assert!(lacks(complaint, "statusall"), "{complaint}");
        }
        assert!(lacks("whack: unrecognized option '--trafficstatus'", "trafficstatus"));
        assert!(!lacks("connecting to 'unix:///var/run/charon.ctl' failed: No such file or directory", "statusall"));
    }

    #[test]
    fn spis_are_of_the_state_above_them_only() {
        let text = "000 Status of IKEv1 pluto daemon (strongSwan 4.5.2):\n\
            000 #2: \"a\" STATE_QUICK_R2 (IPsec SA established); EVENT_SA_REPLACE in 9s; newest IPSEC\n\
            000 #3: \"a\" esp.1@192.0.2.2 (20 bytes) esp.2@192.0.2.1 (30 bytes); tunnel\n";
        let mut status = Status::default();
        assert!(add_pluto(text.into(), &mut status));
        assert_eq!(status.sas[0].children[0].traffic, Traffic::default());
    }

    #[test]
    fn the_number_before_a_line_has_three_digits() {
        for (line, expected) in
            [("000 x", "x"), ("  000  x ", "000  x"), ("0000 x", "0000 x"), ("00 x", "00 x"), ("abc x", "abc x")]
        {
            assert_eq!(unnumbered(line.into()), Text::from(expected), "{line}");
        }
    }

    #[test]
    fn what_names_its_parent_is_a_child_sa_only_once_it_is_established() {
        for (line, expected) in [
            (
                "#2: \"a\":500 STATE_PARENT_I3 (PARENT SA established); EVENT_SA_REPLACE in 9s; isakmp#1; idle;",
                Stage::Child,
            ),
            ("#1: \"a\":500 STATE_PARENT_I3 (PARENT SA established); EVENT_SA_REPLACE in 9s; idle;", Stage::Ike),
            (
                "#3: \"a\":500 STATE_QUICK_I1 (sent QI1, expecting QR1); EVENT_RETRANSMIT in 4s; isakmp#1; idle;",
                Stage::Open,
            ),
            (
                "#4: \"a\":500 STATE_MODE_CFG_R1 (ModeCfg Set sent, expecting Ack); EVENT_SA_REPLACE in 4s; idle;",
                Stage::Ike,
            ),
        ] {
            assert_eq!(state(line.into()).map(|(stage, _)| stage), Some(expected), "{line}");
        }
    }
}
