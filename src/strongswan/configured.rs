//! Which tunnels should be up, and which are, from `list-conns`, `list-policies` and `list-sas`.
//!
//! | a child is | where | `strongswan_tunnel_up` |
//! |---|---|---|
//! | a shunt | mode PASS or DROP | 1 while its policy is installed, else absent: it never has a CHILD_SA |
//! | for anyone | its connection waits for peers, see [`Connection::is_for_anyone`] | absent |
//! | a tunnel | the rest, also with a trap (`start_action = trap`), which list-conns does not tell | 1 or 0 |
//!
//! A trap that is installed is told beside it, since without traffic such a tunnel is rightly down.
//!
//! While charon leaves out IKE_SAs that it is busy with (see [`super::ike_sas`]), a tunnel that was down is down until a list
//! shows it up, and one that was up and may belong to such an IKE_SA is up for [`HELD`] and then unknown.

use std::time::{Duration, Instant};

use super::ike_sas::Missing;
use super::sa::{ChildSa, Connection, IkeSa, Policy};
use crate::hash_index::NameMap;

/// How long a tunnel of an IKE_SA that is not listed is what it was.
pub const HELD: Duration = Duration::from_secs(60);

/// The position of no child.
const AMBIGUOUS: usize = usize::MAX;

/// The most connections, and the most children, that are kept.
pub const MOST: usize = 10_000;

/// When a scrape read the lists.
#[derive(Clone, Copy, Debug)]
pub struct ScrapeTime {
    /// In seconds since 1970.
    pub unix: i64,
    /// By the monotonic clock.
    pub instant: Instant,
}

/// The connections that charon has loaded, with their children.
#[derive(Debug, Default)]
pub struct Configured {
    /// As many as charon lists, also those of one name.
    pub known: u64,
    connections: Vec<Loaded>,
    children: Vec<Child>,
    /// The positions of the connections.
    by_name: NameMap<usize>,
    /// The position of a child by its name alone; [`AMBIGUOUS`] where several connections have one of that name.
    by_child: NameMap<usize>,
}

/// One name of connections.
#[derive(Debug)]
pub struct Loaded {
    /// The name.
    pub name: Box<[u8]>,
    /// Established IKE_SAs; absent where it is not known.
    pub sessions: Option<u64>,
    /// The positions of its children.
    children: NameMap<usize>,
}

/// One name of children within one name of connections.
#[derive(Debug)]
pub struct Child {
    /// The position of its connection.
    connection: usize,
    /// The name.
    pub name: Box<[u8]>,
    kind: Kind,
    state: State,
    /// The connection whose IKE_SA it was last listed under, where that is not its own.
    under: Option<Box<[u8]>>,
    /// Whether a policy of it is installed: a trap, or the shunt itself.
    is_installed: bool,
    /// How much its CHILD_SAs carry before they are rekeyed.
    pub volume: Volume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ForAnyone,
    Shunt,
    Tunnel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Down,
    /// When a list last showed it.
    Up(Instant),
}

/// How many bytes and packets a CHILD_SA may carry before it is rekeyed; absent where that is no matter.
///
/// charon takes a random part off for each CHILD_SA, a tenth at most where nothing else is configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Bytes, in each direction for itself.
    pub bytes: Option<u64>,
    /// The same in packets.
    pub packets: Option<u64>,
}

impl Volume {
    /// How much of it a CHILD_SA has used, in parts of 10,000; absent where there is no limit.
    pub fn used(self, child: &ChildSa<'_>) -> Option<u64> {
        let part = |limit: Option<u64>, counted: [Option<u64>; 2]| {
            counted.into_iter().flatten().max()?.saturating_mul(10_000).checked_div(limit?)
        };
        part(self.bytes, [child.bytes_in, child.bytes_out])
            .max(part(self.packets, [child.packets_in, child.packets_out]))
    }
}

/// What there is too much of.
pub type TooMany = &'static str;

impl Configured {
    /// Notes a loaded connection. Several may have one name, of which charon's backends do not know from each other.
    pub fn register(&mut self, connection: &Connection<'_>) -> Result<(), TooMany> {
        if self.known >= MOST as u64 {
            return Err("connections");
        }
        self.known = self.known.saturating_add(1);
        let name = connection.name.bytes();
        let next = self.connections.len();
        let position = *self.by_name.entry(name.into()).or_insert(next);
        if position == next {
            self.connections.push(Loaded { name: name.into(), sessions: None, children: NameMap::default() });
        }
        let Some(loaded) = self.connections.get_mut(position) else { return Ok(()) };
        let is_for_anyone = connection.is_for_anyone();
        for child in connection.children() {
            let kind = match (child.is_shunt, is_for_anyone) {
                (true, _) => Kind::Shunt,
                (false, true) => Kind::ForAnyone,
                (false, false) => Kind::Tunnel,
            };
            let next = self.children.len();
            let index = *loaded.children.entry(child.name.bytes().into()).or_insert(next);
            if index == next {
                let only = self.by_child.entry(child.name.bytes().into());
                only.and_modify(|only| *only = AMBIGUOUS).or_insert(index);
            }
            match self.children.get_mut(index) {
                // Of twins that one counts which should be up.
                Some(twin) if kind == Kind::Tunnel => twin.kind = kind,
                Some(_) => {}
                None if index >= MOST => return Err("children"),
                None => self.children.push(Child {
                    connection: position,
                    name: child.name.bytes().into(),
                    kind,
                    state: State::Unknown,
                    under: None,
                    is_installed: false,
                    volume: Volume { bytes: child.rekey_bytes, packets: child.rekey_packets },
                }),
            }
        }
        Ok(())
    }

    /// Notes an installed policy. Where it does not tell its connection, it is that of every child of its name.
    pub fn record_policy(&mut self, policy: &Policy<'_>) {
        let child = policy.child.bytes();
        let found = match policy.connection {
            Some(connection) => {
                let position = self.by_name.get(connection.bytes());
                position.and_then(|position| self.connections.get(*position)).map(std::slice::from_ref)
            }
            None => Some(self.connections.as_slice()),
        };
        for index in found.into_iter().flatten().filter_map(|loaded| loaded.children.get(child)) {
            let child = self.children.get_mut(*index).filter(|child| (child.kind == Kind::Shunt) == policy.is_shunt);
            if let Some(child) = child {
                child.is_installed = true;
            }
        }
    }

    /// The position of the connection of an IKE_SA; absent where it is not loaded.
    pub fn connection_of(&self, ike: &IkeSa<'_>) -> Option<usize> {
        self.by_name.get(ike.name.bytes()).copied()
    }

    /// What is known of a connection.
    fn connection(&self, name: &[u8]) -> Option<&Loaded> {
        self.by_name.get(name).and_then(|position| self.connections.get(*position))
    }

    /// Notes a listed child of an IKE_SA of the connection at that position, if it carries traffic.
    ///
    /// charon brings a child up under an IKE_SA of another connection where nothing but their names and children differ
    /// (`reuse_ikesa`, `peer_cfg.c` equals). It is found there where no other connection has a child of that name.
    pub fn record(&mut self, connection: Option<usize>, child: &ChildSa<'_>, now: Instant) {
        if !child.is_up() {
            return;
        }
        let Some(loaded) = connection.and_then(|position| self.connections.get(position)) else { return };
        let own = loaded.children.get(child.name.bytes()).copied();
        let only = || self.by_child.get(child.name.bytes()).copied();
        let under = own.is_none().then(|| loaded.name.clone());
        if let Some(child) = own.or_else(only).and_then(|index| self.children.get_mut(index)) {
            (child.state, child.under) = (State::Up(now), under);
        }
    }

    /// Ends a list: settles what it did not show by what was known `before`. `sessions` are the established IKE_SAs that
    /// were listed, by the position of their connection.
    pub fn finish(&mut self, sessions: &[u64], missing: &Missing, before: &Self, now: Instant) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let listed = sessions.get(index).copied().unwrap_or(0);
            let counted = listed.saturating_add(missing.held_of(&connection.name));
            let known = before.connection(&connection.name).and_then(|known| known.sessions);
            // One that no list ever had may be any connection's, but it is no reason for a count to fall.
            connection.sessions = match missing.unknown {
                0 => Some(counted),
                unknown => known.map(|known| counted.max(known.min(counted.saturating_add(unknown)))),
            };
        }
        for child in self.children.iter_mut().filter(|child| child.state == State::Unknown) {
            let Some(connection) = self.connections.get(child.connection) else { continue };
            let known = before.child(&connection.name, &child.name);
            child.under = known.and_then(|known| known.under.clone());
            let owner = child.under.as_ref().unwrap_or(&connection.name);
            let may_be_up = missing.unknown > 0 || missing.held_of(owner) > 0;
            child.state = match known.map_or(State::Unknown, |known| known.state) {
                _ if !may_be_up => State::Down,
                State::Up(seen) if now.saturating_duration_since(seen) > HELD => State::Unknown,
                known => known,
            };
        }
    }

    /// What is known of a child.
    fn child(&self, connection: &[u8], child: &[u8]) -> Option<&Child> {
        let index = self.connection(connection).and_then(|loaded| loaded.children.get(child));
        index.and_then(|index| self.children.get(*index))
    }

    /// The loaded connections, in charon's order.
    pub fn connections(&self) -> &[Loaded] {
        &self.connections
    }

    /// The children with the names of their connections, in charon's order.
    pub fn children(&self) -> impl Iterator<Item = (&[u8], &Child)> {
        self.children.iter().filter_map(|child| Some((&*self.connections.get(child.connection)?.name, child)))
    }
}

impl Child {
    /// Whether it may have CHILD_SAs.
    pub fn has_sas(&self) -> bool {
        self.kind != Kind::Shunt
    }

    /// Whether it is one that should be up.
    pub fn is_tunnel(&self) -> bool {
        self.kind == Kind::Tunnel
    }

    /// Whether it is up; absent where nothing says so, or that it should be.
    pub fn is_up(&self) -> Option<bool> {
        match (self.kind, self.state) {
            (Kind::Shunt, _) => self.is_installed.then_some(true),
            (Kind::Tunnel, State::Up(_)) => Some(true),
            (Kind::Tunnel, State::Down) => Some(false),
            (Kind::Tunnel, State::Unknown) | (Kind::ForAnyone, _) => None,
        }
    }

    /// Whether a trap waits for its traffic.
    pub fn is_trapped(&self) -> bool {
        self.kind != Kind::Shunt && self.is_installed
    }
}

#[cfg(test)]
mod tests {
    use super::super::vici::{Element, Message, Packet, encode, parse};
    use super::*;

    /// A segment with a connection of these `remote_addrs` and children, each with its mode.
    fn segment(name: &str, addresses: &[&str], children: &[(&str, &str)]) -> Vec<u8> {
        let mut out = vec![1];
        let mut put = |element| encode(element, &mut out);
        put(Element::Section(name.into()));
        put(Element::List("remote_addrs".into()));
        addresses.iter().for_each(|address| put(Element::Item((*address).into())));
        put(Element::ListEnd);
        put(Element::Section("children".into()));
        for (child, mode) in children {
            put(Element::Section((*child).into()));
            put(Element::Pair("mode".into(), (*mode).into()));
            put(Element::SectionEnd);
        }
        put(Element::SectionEnd);
        put(Element::SectionEnd);
        out
    }

    fn message(segment: &[u8]) -> Message<'_> {
        let Ok(Packet::Response(message)) = parse(segment) else { panic!("no message") };
        message
    }

    fn register(
        into: &mut Configured,
        name: &str,
        addresses: &[&str],
        children: &[(&str, &str)],
    ) -> Result<(), TooMany> {
        let segment = segment(name, addresses, children);
        into.register(&Connection::parse(message(&segment)).expect("a connection"))
    }

    /// `mill` with one child, `weir` with one, and `laptops` for anyone.
    fn configured() -> Configured {
        let mut configured = Configured::default();
        for (name, address) in [("mill", "192.0.2.1"), ("weir", "192.0.2.2"), ("laptops", "%any")] {
            register(&mut configured, name, &[address], &[("lan", "TUNNEL")]).expect("room");
        }
        configured
    }

    fn up(configured: &Configured) -> Vec<Option<bool>> {
        configured.children().map(|(_, child)| child.is_up()).collect()
    }

    fn sessions(configured: &Configured) -> Vec<Option<u64>> {
        configured.connections().iter().map(|connection| connection.sessions).collect()
    }

    /// What a list says at that second, that showed the tunnels of these connections, by what was known `before`.
    fn list(before: &Configured, start: Instant, second: u64, shown: &[&str], missing: &Missing) -> Configured {
        let (mut after, now) = (configured(), start + Duration::from_secs(second));
        let mut counts = vec![0; 3];
        for name in shown {
            let mut ike = IkeSa::default();
            ike.name = (*name).into();
            after.record(
                after.connection_of(&ike),
                &ChildSa { name: "lan".into(), state: "INSTALLED".into(), ..ChildSa::default() },
                now,
            );
            counts[after.connection_of(&ike).expect("a connection")] += 1;
        }
        after.finish(&counts, missing, before, now);
        after
    }

    fn hung(connection: &str) -> Missing {
        Missing { held: [(connection.as_bytes().into(), 1)].into_iter().collect(), ..Missing::default() }
    }

    fn unknown() -> Missing {
        Missing { unknown: 1, ..Missing::default() }
    }

    const UP: Option<bool> = Some(true);
    const DOWN: Option<bool> = Some(false);

    #[test]
    fn a_tunnel_of_an_ike_sa_that_is_missing_is_what_it_was_for_a_minute() {
        let start = Instant::now();
        let mut known = list(&Configured::default(), start, 0, &["mill"], &Missing::default());
        assert_eq!(up(&known), [UP, DOWN, None]);
        for (second, mill) in [(1, UP), (30, UP), (60, UP), (61, None), (600, None)] {
            known = list(&known, start, second, &[], &hung("mill"));
            assert_eq!(up(&known), [mill, DOWN, None], "{second}");
            assert_eq!(sessions(&known), [Some(1), Some(0), Some(0)], "{second}");
        }
        assert_eq!(up(&list(&known, start, 601, &["mill"], &Missing::default())), [UP, DOWN, None]);
        assert_eq!(up(&list(&known, start, 601, &[], &Missing::default())), [DOWN, DOWN, None]);
    }

    #[test]
    fn a_tunnel_that_was_down_is_down_until_a_list_shows_it() {
        let start = Instant::now();
        let known = list(&Configured::default(), start, 0, &[], &Missing::default());
        for missing in [hung("mill"), unknown()] {
            assert_eq!(up(&list(&known, start, 1, &[], &missing)), [DOWN, DOWN, None]);
            assert_eq!(up(&list(&known, start, 1, &["mill"], &missing)), [UP, DOWN, None]);
        }
    }

    #[test]
    fn others_go_up_and_down_meanwhile() {
        let start = Instant::now();
        let known = list(&Configured::default(), start, 0, &["mill", "weir", "laptops"], &Missing::default());
        let down = list(&known, start, 10, &[], &hung("mill"));
        assert_eq!((up(&down), sessions(&down)), (vec![UP, DOWN, None], vec![Some(1), Some(0), Some(0)]));
        let again = list(&down, start, 20, &["weir", "laptops", "laptops"], &hung("mill"));
        assert_eq!((up(&again), sessions(&again)), (vec![UP, UP, None], vec![Some(1), Some(1), Some(2)]));
    }

    #[test]
    fn what_no_list_showed_before_is_not_known() {
        let start = Instant::now();
        let first = list(&Configured::default(), start, 0, &["mill"], &unknown());
        assert_eq!((up(&first), sessions(&first)), (vec![UP, None, None], vec![None; 3]));
        let second = list(&first, start, 1, &["mill"], &Missing::default());
        assert_eq!((up(&second), sessions(&second)), (vec![UP, DOWN, None], vec![Some(1), Some(0), Some(0)]));
    }

    #[test]
    fn an_ike_sa_that_no_list_had_lets_no_count_fall() {
        let start = Instant::now();
        let known = list(&Configured::default(), start, 0, &["mill", "laptops", "laptops"], &Missing::default());
        let reauthenticated = list(&known, start, 1, &["laptops"], &unknown());
        assert_eq!(sessions(&reauthenticated), [Some(1), Some(0), Some(2)]);
        assert_eq!(up(&reauthenticated), [UP, DOWN, None]);
    }

    #[test]
    fn a_child_may_be_up_under_the_ike_sa_of_another_connection() {
        let now = Instant::now();
        let list = |before: &Configured, listed: &[&'static str], missing: &Missing| {
            let mut configured = Configured::default();
            for (name, children) in [("a", ["lan", "x"]), ("b", ["voice", "y"]), ("c", ["dmz", "y"])] {
                let children = children.map(|child| (child, "TUNNEL"));
                register(&mut configured, name, &["192.0.2.1"], &children).expect("room");
            }
            let mut ike = IkeSa::default();
            ike.name = "a".into();
            for name in listed {
                let child = ChildSa { name: (*name).into(), state: "INSTALLED".into(), ..ChildSa::default() };
                configured.record(configured.connection_of(&ike), &child, now);
            }
            ike.name = "gone".into();
            let dmz = ChildSa { name: "dmz".into(), state: "INSTALLED".into(), ..ChildSa::default() };
            configured.record(configured.connection_of(&ike), &dmz, now);
            configured.finish(&[], missing, before, now);
            configured
        };
        let known = list(&Configured::default(), &["lan", "voice", "y"], &Missing::default());
        assert_eq!(up(&known), [UP, DOWN, UP, DOWN, DOWN, DOWN], "two connections have a child y");
        let held = list(&known, &[], &hung("a"));
        assert_eq!(up(&held), [UP, DOWN, UP, DOWN, DOWN, DOWN]);
        assert_eq!(up(&list(&held, &[], &hung("a"))), up(&held), "and as long as that IKE_SA is busy");
        assert_eq!(up(&list(&held, &[], &hung("b"))), [DOWN; 6]);
    }

    #[test]
    fn policies_are_installed_where_they_are_configured() {
        let mut configured = Configured::default();
        register(&mut configured, "mill", &["192.0.2.1"], &[("lan", "TUNNEL"), ("dns", "PASS"), ("smb", "DROP")])
            .expect("room");
        register(&mut configured, "weir", &["192.0.2.2"], &[("lan", "TRANSPORT"), ("dns", "PASS")]).expect("room");
        register(&mut configured, "any", &["%any"], &[("lan", "TRANSPORT"), ("smb", "DROP")]).expect("room");
        let policy = |child: &'static str, connection: Option<&'static str>, is_shunt| Policy {
            child: child.into(),
            connection: connection.map(Into::into),
            is_shunt,
        };
        configured.record_policy(&policy("lan", Some("mill"), false));
        configured.record_policy(&policy("dns", Some("mill"), true));
        configured.record_policy(&policy("lan", Some("any"), false));
        configured.record_policy(&policy("Bypass LAN 192.0.2.0/24", Some("bypass-lan"), true));
        configured.record_policy(&policy("smb", None, true));
        configured.finish(&[], &Missing::default(), &Configured::default(), Instant::now());
        let rows: Vec<_> = configured.children().map(|(_, child)| (child.is_up(), child.is_trapped())).collect();
        let shunt = (UP, false);
        assert_eq!(rows, [(DOWN, true), shunt, shunt, (DOWN, false), (None, false), (None, true), shunt]);
    }

    #[test]
    fn one_name_twice_is_one_connection() {
        let mut configured = Configured::default();
        register(&mut configured, "mill", &["%any"], &[("lan", "TUNNEL"), ("voice", "TUNNEL")]).expect("room");
        register(&mut configured, "mill", &["192.0.2.1"], &[("lan", "TUNNEL")]).expect("room");
        configured.finish(&[2], &Missing::default(), &Configured::default(), Instant::now());
        assert_eq!((configured.known, sessions(&configured), up(&configured)), (2, vec![Some(2)], vec![DOWN, None]));
    }

    #[test]
    fn connections_and_children_have_a_limit() {
        let mut configured = Configured::default();
        for number in 0..MOST {
            register(&mut configured, &number.to_string(), &[], &[]).expect("room");
        }
        assert_eq!(register(&mut configured, "0", &[], &[]), Err("connections"));
        let names: Vec<String> = (0..=MOST).map(|number| number.to_string()).collect();
        let children: Vec<_> = names.iter().map(|name| (name.as_str(), "TUNNEL")).collect();
        assert_eq!(register(&mut Configured::default(), "mill", &[], &children[..MOST]), Ok(()));
        assert_eq!(register(&mut Configured::default(), "mill", &[], &children), Err("children"));
    }
}
