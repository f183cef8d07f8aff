//! The families of ipsec.conf tunnels: names, help, and how conns and SAs become rows.
//!
//! The values for each [`Kind`] of conn while none of its SAs is up and the status could be read:
//!
//! - not loaded: 4, without `ipsec_up`.
//! - shunt: 0 where the daemon lists it as installed. 4 with `auto=add`, since nobody asked for it to be installed.
//!   Where it should be installed and the daemon's list of shunts does not have it: 2. Where there is no such list, as
//!   in `ipsec status` of old versions, 3. A group of libreswan's has no state of its own: only its members are
//!   installed.
//! - anybody: no `ipsec_tunnel_status`, `ipsec_up` 1, 0 users.
//! - on demand, always: 2.

use super::conf::Tunnel;
use super::kind::{self, Assessment, Ends, Kind, Start};
use super::sas::{ChildSa, Status, Traffic};
use crate::advice::Severity;
use crate::exposition::{Exposition, Family, Label, Merge, Table, TableInfo, counter, gauge, label, name, table};
use crate::hash_index::NameIndex;
use crate::text::Text;
use crate::watched::{WAITING, Watched};

/// A tunnel, or one of its users. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Installed = 0,
    Established = 1,
    #[default]
    Down = 2,
    Unknown = 3,
    Ignored = 4,
}

struct Tunnels;
struct Infos;
struct Details;
struct Lines;

struct Row<'a> {
    tunnel: Text<'a>,
    user: Option<Text<'a>>,
    /// The state; absent for a conn that accepts any peer, while none is connected.
    state: Option<State>,
    traffic: Traffic,
}

impl Table for Tunnels {
    type Row<'a> = Row<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("tunnel"), |row, out| out.text(row.tunnel)),
        label(name!("user"), |row, out| {
            if let Some(user) = row.user {
                out.identity(user);
            }
        }),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("ipsec_in_bytes", "Bytes received, over the CHILD_SAs that are up.", |row| {
            row.traffic.in_bytes.map(Into::into)
        }),
        counter("ipsec_in_packets", "Packets received, over the CHILD_SAs that are up.", |row| {
            row.traffic.in_packets.map(Into::into)
        }),
        counter("ipsec_out_bytes", "Bytes sent, over the CHILD_SAs that are up.", |row| {
            row.traffic.out_bytes.map(Into::into)
        }),
        counter("ipsec_out_packets", "Packets sent, over the CHILD_SAs that are up.", |row| {
            row.traffic.out_packets.map(Into::into)
        }),
        gauge(
            "ipsec_tunnel_status",
            "0 installed, 1 established only, 2 down, 3 unknown, 4 ignored.",
            Merge::Highest,
            |row| Some((row.state? as u64).into()),
        ),
        gauge("ipsec_up", "1 when the status of the tunnel could be read.", Merge::Lowest, |row| match row.state {
            Some(State::Ignored) => None,
            state => Some((state != Some(State::Unknown)).into()),
        }),
    ];
}

/// A tunnel and its kind.
impl Table for Infos {
    type Row<'a> = (Text<'a>, Kind);
    const LABELS: &'static [Label<Self>] = &[
        label(name!("kind"), |row, out| out.text(row.1.word().into())),
        label(name!("tunnel"), |row, out| out.text(row.0)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "ipsec_tunnel_info",
        "1; kind is not-loaded, shunt, anybody (any peer may connect), on-demand (a packet brings it up) or always.",
        Merge::First,
        |_| Some(1u64.into()),
    )];
}

/// What else is known of a tunnel; absent where it does not apply.
struct Detail<'a> {
    tunnel: Text<'a>,
    /// The number of its users that have rows.
    users: Option<usize>,
    /// Whether the trap policy is installed that brings it up.
    is_trapped: Option<bool>,
    /// The pairs of one of our networks and one of the peer's: those configured and those up.
    pairs: Option<(usize, usize)>,
}

impl Table for Details {
    type Row<'a> = Detail<'a>;
    const LABELS: &'static [Label<Self>] = &[label(name!("tunnel"), |row, out| out.text(row.tunnel))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "ipsec_tunnel_subnet_pairs",
            "Number of configured network pairs of the tunnel; only if there is more than one.",
            Merge::Highest,
            |row| row.pairs.map(|(configured, _)| configured.into()),
        ),
        gauge(
            "ipsec_tunnel_subnet_pairs_up",
            "Number of network pairs with an installed CHILD_SA; only if several are configured.",
            Merge::Lowest,
            |row| row.pairs.map(|(_, up)| up.into()),
        ),
        gauge(
            "ipsec_tunnel_trap_installed",
            "1 when the policy is installed that brings the tunnel up at the first packet; only for the kind on-demand.",
            Merge::Lowest,
            |row| row.is_trapped.map(Into::into),
        ),
        gauge("ipsec_tunnel_users", "Number of users connected to a tunnel that serves many.", Merge::Highest, |row| {
            row.users.map(Into::into)
        }),
    ];
}

/// The lines of the status that were not understood.
impl Table for Lines {
    type Row<'a> = usize;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "ipsec_status_lines_skipped",
        "Number of lines of the status that could not be parsed.",
        Merge::Sum,
        |count| Some((*count).into()),
    )];
}

/// What is watched of it.
pub const WATCHED: &[Watched] = &[
    Watched {
        family: "ipsec_tunnel_status",
        kind: "tunnel",
        labels: &["tunnel"],
        only: Some(("user", "")),
        unless: Some(("ipsec_tunnel_info", ("kind", "anybody"))),
        beside: Some("ipsec_tunnel_trap_installed"),
        judge: |tunnel| match tunnel.value {
            0 => Some((Severity::Ok, "up".into())),
            1 | 2 if tunnel.beside() == Some(1) => Some((Severity::Ok, WAITING.into())),
            1 => Some((Severity::Error, "its IKE_SA is up, but no CHILD_SA".into())),
            2 => Some((Severity::Error, "down".into())),
            // Unknown, and ignored.
            _ => None,
        },
        fix: "ipsec up NAME says what the peer answers",
        traffic: Some(["ipsec_in_bytes", "ipsec_out_bytes"]),
        ..Watched::PLAIN
    },
    Watched {
        family: "ipsec_tunnel_subnet_pairs_up",
        kind: "networks of tunnel",
        labels: &["tunnel"],
        // Each of its pairs may wait for a packet.
        unless: Some(("ipsec_tunnel_info", ("kind", "on-demand"))),
        beside: Some("ipsec_tunnel_subnet_pairs"),
        judge: |pairs| {
            let all = pairs.beside()?;
            let is_part = pairs.value > 0 && pairs.value < all;
            is_part.then(|| (Severity::Error, format!("{} of {all} pairs are up", pairs.value).into()))
        },
        fix: "ipsec status NAME shows which; do both sides have the same networks configured?",
        ..Watched::PLAIN
    },
];

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[table::<Tunnels>(), table::<Infos>(), table::<Details>(), table::<Lines>()];

/// Exposes every configured tunnel; without a status their states are unknown.
pub fn expose(tunnels: &[Tunnel], status: Option<&Status<'_>>, out: &mut Exposition) {
    let Some(status) = status else {
        return tunnels.iter().for_each(|tunnel| expose_unknown(tunnel, out));
    };
    out.add::<Lines>(&status.skipped.count);
    let counts = TunnelCounts::of(tunnels, status);
    for (tunnel, count) in tunnels.iter().zip(&counts.tunnels) {
        expose_tunnel(tunnel, count, status, out);
    }
}

fn expose_unknown(tunnel: &Tunnel, out: &mut Exposition) {
    let state = match tunnel.conn.start {
        Start::Ignore => State::Ignored,
        _ => State::Unknown,
    };
    let tunnel = Text::new(&tunnel.name);
    out.add::<Tunnels>(&Row { tunnel, user: None, state: Some(state), traffic: Traffic::default() });
}

fn expose_tunnel(tunnel: &Tunnel, count: &TunnelCount<'_>, status: &Status<'_>, out: &mut Exposition) {
    let name = Text::new(&tunnel.name);
    let Assessment { kind, has_users, .. } = count.assessment;
    let state = count.state(tunnel.conn.start, status);
    let traffic = match state {
        Some(State::Ignored | State::Unknown) => Traffic::default(),
        _ if kind == Kind::Shunt && count.total.state == State::Down => Traffic::default(),
        _ => count.total.traffic(status.counts_packets),
    };
    out.add::<Infos>(&(name, kind));
    out.add::<Tunnels>(&Row { tunnel: name, user: None, state, traffic });
    for (user, sum) in &count.users {
        let (state, traffic) = (Some(sum.state), sum.traffic(status.counts_packets));
        out.add::<Tunnels>(&Row { tunnel: name, user: Some(*user), state, traffic });
    }
    // If users are not named, it is still known when there are none.
    let knows_users = status.names_users || count.total.state == State::Down;
    let pairs = tunnel.conn.pairs();
    let has_pairs = pairs > 1 && matches!(kind, Kind::OnDemand | Kind::Always);
    let detail = Detail {
        tunnel: name,
        users: (has_users && kind != Kind::NotLoaded && knows_users).then_some(count.users.len()),
        is_trapped: (kind == Kind::OnDemand).then_some(count.is_trapped),
        pairs: has_pairs.then(|| (pairs, count.pairs.len().min(pairs))),
    };
    if detail.users.is_some() || detail.is_trapped.is_some() || has_pairs {
        out.add::<Details>(&detail);
    }
}

/// The states and counters of all SAs, by tunnel.
struct TunnelCounts<'a> {
    tunnels: Vec<TunnelCount<'a>>,
}

/// One tunnel, and its users in the order of their first SA.
#[derive(Default)]
struct TunnelCount<'a> {
    assessment: Assessment,
    total: Sum,
    users: Vec<(Text<'a>, Sum)>,
    /// The position of each user in this list.
    positions: NameIndex,
    /// The networks that a CHILD_SA is installed for, where several are configured.
    pairs: NameIndex,
    /// Whether its policy is in the kernel; absent if the daemon does not say.
    is_routed: Option<bool>,
    /// Whether a shunt of that name is installed.
    is_shunted: bool,
    is_trapped: bool,
}

/// The best state over several SAs, and the sums of their counters.
#[derive(Default)]
struct Sum {
    state: State,
    /// The sums of the counters that were printed.
    known: Traffic,
    /// Whether an installed CHILD_SA has no counters, as during a rekeying.
    has_unknown: bool,
    /// Which counters a CHILD_SA did not print beside others: 1 for each in the order of [`Traffic`].
    lacks: [bool; 4],
}

/// Finds the conn that a name of the daemon's belongs to.
struct Names(NameIndex);

impl Names {
    fn of(tunnels: &[Tunnel]) -> Self {
        let mut names = NameIndex::default();
        for (number, tunnel) in tunnels.iter().enumerate() {
            names.insert(&[&tunnel.name], number);
        }
        Self(names)
    }

    /// The daemons add to a name: `NAME/2x1` is what libreswan makes of a conn for its second and the peer's first
    /// network, `NAME#198.51.100.0/24` what it makes of a group for a network, and both may meet. An instance's
    /// `[1]` and a CHILD_SA's `{1}` are cut off already where they are no part of the name.
    fn find(&self, name: Text<'_>) -> Option<usize> {
        let number = |name: Text<'_>| self.0.get(&[name.bytes()]);
        let conn = || number(without_networks(name)?);
        let group = || number(without_group(name)?);
        let both = || number(without_networks(without_group(name)?)?);
        number(name).or_else(conn).or_else(group).or_else(both)
    }
}

impl<'a> TunnelCounts<'a> {
    fn of(tunnels: &[Tunnel], status: &Status<'a>) -> Self {
        let names = Names::of(tunnels);
        let empty = tunnels.iter().map(|_| TunnelCount::default()).collect();
        let mut counts = Self { tunnels: empty };
        let listed = counts.list(&names, status);
        for ((tunnel, count), listed) in tunnels.iter().zip(&mut counts.tunnels).zip(listed) {
            count.assessment = kind::assess(&tunnel.conn, status.dialect, listed, &status.addresses);
        }
        for sa in &status.sas {
            let owner = names.find(sa.name);
            let state = if sa.is_established() { State::Established } else { State::Down };
            counts.add(owner, sa.user(), state, None);
            for child in &sa.children {
                // Conns with the same ends share one IKE_SA, and their children keep their names.
                let number = names.find(child.name).or(owner);
                match child.is_installed() {
                    true => counts.add(number, sa.user(), State::Installed, Some(child.traffic)),
                    false => counts.add(number, sa.user(), state, None),
                }
                if let Some(number) = number.filter(|_| child.is_installed()) {
                    counts.pair(tunnels, number, child);
                }
            }
        }
        counts
    }

    /// Records the conns, shunts and traps that the daemon lists; returns the ends that it lists for each tunnel.
    fn list(&mut self, names: &Names, status: &Status<'a>) -> Vec<Option<Ends<'a>>> {
        let mut listed = vec![None; self.tunnels.len()];
        for conn in &status.conns {
            let Some(number) = names.find(conn.name) else { continue };
            let is_whole = names.0.get(&[conn.name.bytes()]).is_some();
            if let Some(ends) =
                listed.get_mut(number).filter(|_| !conn.is_instance && (is_whole || without_group(conn.name).is_none()))
            {
                ends.get_or_insert(conn.ends);
            }
            if let Some(count) = self.tunnels.get_mut(number) {
                count.is_routed = count.is_routed.max(conn.is_routed);
            }
        }
        for name in &status.shunts {
            let Some(count) = names.find(*name).and_then(|number| self.tunnels.get_mut(number)) else { continue };
            count.is_shunted = true;
        }
        for name in &status.traps {
            let Some(count) = names.find(*name).and_then(|number| self.tunnels.get_mut(number)) else { continue };
            count.is_trapped = true;
        }
        listed
    }

    fn add(&mut self, number: Option<usize>, user: Option<Text<'a>>, state: State, traffic: Option<Traffic>) {
        let Some(count) = number.and_then(|number| self.tunnels.get_mut(number)) else { return };
        count.total.add(state, traffic);
        // A peer that has disconnected, or is not connected yet, is no user.
        let Some(user) = user.filter(|_| count.assessment.has_users && state != State::Down) else { return };
        let index = count.positions.get(&[user.bytes()]).unwrap_or(count.users.len());
        if index == count.users.len() {
            count.positions.insert(&[user.bytes()], index);
            count.users.push((user, Sum::default()));
        }
        if let Some((_, sum)) = count.users.get_mut(index) {
            sum.add(state, traffic);
        }
    }

    /// Records the networks of an installed CHILD_SA: its selectors or, without these, its name as libreswan makes it.
    fn pair(&mut self, tunnels: &[Tunnel], number: usize, child: &ChildSa<'a>) {
        let Some(most) = tunnels.get(number).map(|tunnel| tunnel.conn.pairs()).filter(|pairs| *pairs > 1) else {
            return;
        };
        let Some(TunnelCount { pairs: known, .. }) = self.tunnels.get_mut(number) else { return };
        // A peer may narrow its selectors to any number of networks; only as many are counted as are configured.
        if known.len() >= most {
            return;
        }
        match child.selectors.and_then(|selectors| selectors.cut_at("===")) {
            Some((ours, theirs)) => {
                let pairs =
                    ours.words().flat_map(|ours| theirs.words().map(move |theirs| [ours.bytes(), theirs.bytes()]));
                for pair in pairs.take(most.min(PAIR_LIMIT)) {
                    known.add(&pair);
                }
            }
            None => _ = known.add(&[child.name.bytes()]),
        }
    }
}

/// The most pairs of networks that one CHILD_SA adds.
const PAIR_LIMIT: usize = 10_000;

impl TunnelCount<'_> {
    /// The value of the row without a user.
    fn state(&self, start: Start, status: &Status<'_>) -> Option<State> {
        let is_up = self.total.state != State::Down;
        match self.assessment.kind {
            _ if is_up => Some(self.total.state),
            Kind::NotLoaded => Some(State::Ignored),
            Kind::Shunt => self.shunt_state(start, status),
            Kind::Anybody => None,
            Kind::OnDemand | Kind::Always => Some(State::Down),
        }
    }

    fn shunt_state(&self, start: Start, status: &Status<'_>) -> Option<State> {
        let lists_shunts = !status.shunts.is_empty() || self.is_routed == Some(false);
        match start {
            _ if self.is_shunted || self.is_routed == Some(true) => Some(State::Installed),
            _ if self.assessment.is_group => None,
            Start::Add | Start::Ignore => Some(State::Ignored),
            Start::Route | Start::Start if lists_shunts => Some(State::Down),
            Start::Route | Start::Start => Some(State::Unknown),
        }
    }
}

impl Sum {
    fn add(&mut self, state: State, traffic: Option<Traffic>) {
        self.state = self.state.min(state);
        let Some(traffic) = traffic else { return };
        let prints_nothing = traffic == Traffic::default();
        self.has_unknown |= prints_nothing;
        for ((sum, new), lacks) in [
            (&mut self.known.in_bytes, traffic.in_bytes),
            (&mut self.known.in_packets, traffic.in_packets),
            (&mut self.known.out_bytes, traffic.out_bytes),
            (&mut self.known.out_packets, traffic.out_packets),
        ]
        .into_iter()
        .zip(&mut self.lacks)
        {
            *lacks |= new.is_none() && !prints_nothing;
            *sum = sum.map_or(new, |sum| Some(sum.saturating_add(new.unwrap_or(0))));
        }
    }

    /// The sums; 0 if no SA is up, absent if only SAs without counters are up, or if one of them lacks that counter.
    fn traffic(&self, counts_packets: bool) -> Traffic {
        let nothing = (!self.has_unknown).then_some(0);
        let [in_bytes, in_packets, out_bytes, out_packets] = self.lacks;
        let whole = |sum: Option<u64>, lacks: bool| sum.or(nothing).filter(|_| !lacks);
        Traffic {
            in_bytes: whole(self.known.in_bytes, in_bytes),
            in_packets: whole(self.known.in_packets, in_packets || !counts_packets),
            out_bytes: whole(self.known.out_bytes, out_bytes),
            out_packets: whole(self.known.out_packets, out_packets || !counts_packets),
        }
    }
}

fn without_networks(name: Text<'_>) -> Option<Text<'_>> {
    let (name, networks) = name.cut_last(b'/')?;
    let (ours, theirs) = networks.cut(b'x')?;
    ours.number().and(theirs.number()).map(|_| name)
}

/// A network begins with a digit, or has a colon in it.
fn without_group(name: Text<'_>) -> Option<Text<'_>> {
    let (name, network) = name.cut_last(b'#')?;
    let is_network = network.bytes().first().is_some_and(u8::is_ascii_digit) || network.contains(":");
    is_network.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipsec::kind::End;
    use crate::ipsec::status;
    use std::io::Read;

    fn tunnel(name: &str, logs_in: bool) -> Tunnel {
        let end = |logs_in, host: &str| End { host: Some(host.as_bytes().into()), logs_in, networks: [1, 0] };
        let (left, right) = (end(false, "192.0.2.1"), end(logs_in, "192.0.2.7"));
        let conn = kind::Conn { start: Start::Add, left, right, ..kind::Conn::default() };
        Tunnel { name: name.into(), conn }
    }

    fn ignored(name: &str) -> Tunnel {
        let tunnel = tunnel(name, true);
        Tunnel { conn: kind::Conn { start: Start::Ignore, ..tunnel.conn }, ..tunnel }
    }

    /// The samples of one family, without its name.
    fn samples(tunnels: &[Tunnel], lines: Option<&str>, family: &str) -> Vec<String> {
        let output = lines.map(|lines| format!("Security Associations (1 up, 0 connecting):\n{lines}"));
        let status = output.as_ref().map(|output| status::parse(output.as_str().into()).expect("a status"));
        let mut exposition = Exposition::default();
        expose(tunnels, status.as_ref(), &mut exposition);
        let mut text = String::new();
        exposition.encode().read_to_string(&mut text).expect("UTF-8");
        text.lines().filter_map(|line| line.strip_prefix(family)).map(str::to_owned).collect()
    }

    const CAROL_TWICE: &str = "\
        users[4]: CONNECTING, 10.9.0.1[gw]...10.9.0.9[root]\n\
        users[3]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[carol]\n\
        users[2]: ESTABLISHED 2 hours ago, 10.9.0.1[gw]...10.9.0.2[laptop]\n\
        users[2]: Remote EAP identity: carol\n\
        users{2}:  INSTALLED, TUNNEL, reqid 2, ESP SPIs: 3fde83da_i a2923e36_o\n\
        users{2}:  AES_GCM_16_128, 5000000000 bytes_i (227 pkts, 0s ago), 5156 bytes_o (1 pkt, 0s ago), rekeying in 44 minutes\n\
        users{5}:  INSTALLED, TUNNEL, reqid 5, ESP SPIs: 3fde83db_i a2923e37_o\n\
        users{5}:  AES_GCM_16_128, 1 bytes_i (1 pkt, 0s ago), 0 bytes_o, rekeying in 44 minutes\n\
        users[1]: ESTABLISHED 3 hours ago, 10.9.0.1[gw]...10.9.0.4[dave]\n";

    #[test]
    fn one_user_with_several_sas_is_one_row_and_a_connecting_peer_is_none() {
        let users = [tunnel("users", true)];
        assert_eq!(
            samples(&users, Some(CAROL_TWICE), "ipsec_in_bytes"),
            [
                "{tunnel=\"users\"} 5000000001",
                "{tunnel=\"users\",user=\"carol\"} 5000000001",
                "{tunnel=\"users\",user=\"dave\"} 0",
            ]
        );
        assert_eq!(
            samples(&users, Some(CAROL_TWICE), "ipsec_tunnel_status"),
            ["{tunnel=\"users\"} 0", "{tunnel=\"users\",user=\"carol\"} 0", "{tunnel=\"users\",user=\"dave\"} 1"]
        );
        assert_eq!(samples(&users, Some(CAROL_TWICE), "ipsec_tunnel_users"), ["{tunnel=\"users\"} 2"]);
        assert_eq!(samples(&users, Some(""), "ipsec_tunnel_users"), ["{tunnel=\"users\"} 0"]);
        assert!(samples(&users, None, "ipsec_tunnel_users").is_empty());
    }

    #[test]
    fn a_point_to_point_tunnel_names_no_user() {
        let tunnels = [tunnel("users", false)];
        assert_eq!(samples(&tunnels, Some(CAROL_TWICE), "ipsec_out_packets"), ["{tunnel=\"users\"} 1"]);
        assert!(samples(&tunnels, Some(CAROL_TWICE), "ipsec_tunnel_users").is_empty());
    }

    #[test]
    fn a_child_counts_for_the_conn_of_its_name_else_for_that_of_its_ike_sa() {
        let lines = "\
            lan[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[carol]\n\
            voice{2}:  INSTALLED, TUNNEL, reqid 2, ESP SPIs: 3fde83da_i a2923e36_o\n\
            voice{2}:  AES_GCM_16_128, 20 bytes_i (1 pkt, 0s ago), 0 bytes_o, rekeying in 44 minutes\n\
            other{3}:  INSTALLED, TUNNEL, reqid 3, ESP SPIs: 3fde83db_i a2923e37_o\n\
            other{3}:  AES_GCM_16_128, 300 bytes_i (1 pkt, 0s ago), 0 bytes_o, rekeying in 44 minutes\n\
            nobody[2]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.4[dave]\n";
        let tunnels = [tunnel("lan", false), tunnel("voice", true)];
        assert_eq!(
            samples(&tunnels, Some(lines), "ipsec_in_bytes"),
            ["{tunnel=\"lan\"} 300", "{tunnel=\"voice\"} 20", "{tunnel=\"voice\",user=\"carol\"} 20"]
        );
    }

    #[test]
    fn a_rekeying_child_is_up_and_its_counters_are_unknown() {
        let tunnels = [tunnel("lan", false)];
        let rekeying = "\
            lan[1]: REKEYING, 10.9.0.1[gw]...10.9.0.3[b]\n\
            lan{1}:  REKEYING, TUNNEL, reqid 1, expires in 59 minutes\n";
        assert_eq!(samples(&tunnels, Some(rekeying), "ipsec_tunnel_status"), ["{tunnel=\"lan\"} 0"]);
        assert!(samples(&tunnels, Some(rekeying), "ipsec_in_bytes").is_empty());
        let both = format!(
            "{rekeying}lan{{2}}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 3fde83da_i a2923e36_o\n\
             lan{{2}}:  AES_GCM_16_128, 7 bytes_i (1 pkt, 0s ago), 0 bytes_o, rekeying in 44 minutes\n"
        );
        assert_eq!(samples(&tunnels, Some(&both), "ipsec_in_bytes"), ["{tunnel=\"lan\"} 7"]);
        let gone = "lan[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[b]\nlan{1}:  DELETED, TUNNEL, reqid 1\n";
        assert_eq!(samples(&tunnels, Some(gone), "ipsec_tunnel_status"), ["{tunnel=\"lan\"} 1"]);
        assert_eq!(samples(&tunnels, Some(gone), "ipsec_in_bytes"), ["{tunnel=\"lan\"} 0"]);
    }

    fn with(tunnel: Tunnel, change: impl FnOnce(&mut kind::Conn)) -> Tunnel {
        let mut tunnel = tunnel;
        change(&mut tunnel.conn);
        tunnel
    }

    fn shunt(name: &str, start: Start) -> Tunnel {
        with(tunnel(name, false), |conn| (conn.is_shunt, conn.start) = (true, start))
    }

    fn anybody(name: &str) -> Tunnel {
        with(tunnel(name, false), |conn| conn.right.host = Some(b"%any".as_slice().into()))
    }

    #[test]
    fn names_that_the_daemon_makes_of_a_conns_belong_to_it() {
        let tunnels = [tunnel("a", false), tunnel("a#10.0.0.0/8", false), tunnel("b/1x1", false), tunnel("c#d", false)];
        let names = Names::of(&tunnels);
        for (name, expected) in [
            ("a", Some(0)),
            ("a/1x0", Some(0)),
            ("a#192.0.2.0/24", Some(0)),
            ("a#2001:db8::/32", Some(0)),
            ("a#::/0", Some(0)),
            ("a/2x1#192.0.2.0/24", Some(0)),
            ("a#10.0.0.0/8", Some(1)),
            ("b/1x1", Some(2)),
            ("b/1x2", None),
            ("c#d#192.0.2.0/24", Some(3)),
            ("c", None),
            ("a#x", None),
            ("a#backup", None),
            ("a/1", None),
        ] {
            assert_eq!(names.find(name.into()), expected, "{name}");
        }
    }

    #[test]
    fn a_shunt_is_up_when_it_is_installed_and_never_down_for_want_of_an_sa() {
        let tunnels = [shunt("on", Start::Route), shunt("off", Start::Route), shunt("spare", Start::Add)];
        let states = |shunts: &str| {
            let output = format!("{shunts}Security Associations (0 up, 0 connecting):\n  none\n");
            let mut exposition = Exposition::default();
            expose(&tunnels, status::parse(output.as_str().into()).as_ref(), &mut exposition);
            let mut text = String::new();
            exposition.encode().read_to_string(&mut text).expect("UTF-8");
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
                line.map(str::to_owned).unwrap_or_default()
            };
            ["on", "off", "spare"].map(|name| value(&format!("ipsec_tunnel_status{{tunnel=\"{name}\"}}")))
        };
        assert_eq!(states("Shunted Connections:\n  on:  10.1.0.0/16 === 10.1.0.0/16 PASS\n"), ["0", "2", "4"]);
        assert_eq!(states(""), ["3", "3", "4"], "whether this version lists shunts does not show");
    }

    #[test]
    fn who_waits_for_anybody_is_not_down_and_who_has_left_is_no_user() {
        let tunnels = [anybody("users")];
        assert!(samples(&tunnels, Some("  none\n"), "ipsec_tunnel_status").is_empty());
        assert_eq!(samples(&tunnels, Some("  none\n"), "ipsec_up"), ["{tunnel=\"users\"} 1"]);
        assert_eq!(samples(&tunnels, Some("  none\n"), "ipsec_tunnel_users"), ["{tunnel=\"users\"} 0"]);
        let leaving =
            "users[1]: DELETING, 10.9.0.1[gw]...10.9.0.3[carol]\nusers[2]: CONNECTING, 10.9.0.1[gw]...10.9.0.4[dave]\n";
        assert!(samples(&tunnels, Some(leaving), "ipsec_tunnel_status").is_empty());
        assert_eq!(samples(&tunnels, Some(leaving), "ipsec_tunnel_users"), ["{tunnel=\"users\"} 0"]);
        let there = "users[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[C=DE, CN=carol]\n";
        assert_eq!(
            samples(&tunnels, Some(there), "ipsec_tunnel_status"),
            ["{tunnel=\"users\"} 1", "{tunnel=\"users\",user=\"C=DE, CN=carol\"} 1"]
        );
    }

    #[test]
    fn a_counter_that_one_line_lacks_is_absent_and_the_others_stay() {
        let tunnels = [tunnel("lan", false)];
        let lines = "\
            lan[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[b]\n\
            lan{1}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 3fde83da_i a2923e36_o\n\
            lan{1}:  AES_GCM_16_128, 7 bytes_i (1 pkt, 0s ago), 3 bytes_o (1 pkt, 0s ago), rekeying in 44 minutes\n\
            lan{2}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 3fde83db_i a2923e37_o\n\
            lan{2}:  AES_GCM_16_128, 8 bytes_i (2 pkts, 0s ago), rekeying in 44 minutes\n";
        assert_eq!(samples(&tunnels, Some(lines), "ipsec_in_bytes"), ["{tunnel=\"lan\"} 15"]);
        assert_eq!(samples(&tunnels, Some(lines), "ipsec_in_packets"), ["{tunnel=\"lan\"} 3"]);
        assert!(samples(&tunnels, Some(lines), "ipsec_out_bytes").is_empty());
        assert!(samples(&tunnels, Some(lines), "ipsec_out_packets").is_empty());
    }

    #[test]
    fn no_more_pairs_of_networks_are_remembered_than_twice_those_configured() {
        let tunnels = [with(tunnel("lan", false), |conn| (conn.left.networks, conn.right.networks) = ([2, 0], [2, 0]))];
        let mut lines = "lan[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[b]\n".to_owned();
        for child in 0..50 {
            let ours: String = (0..50).map(|host| format!(" 10.1.{child}.{host}/32")).collect();
            lines.push_str(&format!(
                "lan{{{child}}}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 3fde83da_i a2923e36_o\n\
                 lan{{{child}}}:  {ours} === 10.2.0.0/16\n"
            ));
        }
        let output = format!("Security Associations (1 up, 0 connecting):\n{lines}");
        let status = status::parse(output.as_str().into()).expect("a status");
        assert_eq!(TunnelCounts::of(&tunnels, &status).tunnels[0].pairs.len(), 4);
        assert_eq!(samples(&tunnels, Some(&lines), "ipsec_tunnel_subnet_pairs_up"), ["{tunnel=\"lan\"} 4"]);
    }

    #[test]
    fn a_pair_of_networks_that_is_down_does_not_hide_behind_another() {
        let tunnels = [with(tunnel("lan", false), |conn| (conn.left.networks, conn.right.networks) = ([2, 0], [2, 0]))];
        let up = |selectors: &str| {
            let lines = format!(
                "lan[1]: ESTABLISHED 1 second ago, 10.9.0.1[gw]...10.9.0.3[b]\n\
                 lan{{1}}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 3fde83da_i a2923e36_o\n\
                 lan{{1}}:   {selectors}\n\
                 lan{{2}}:  REKEYED, TUNNEL, reqid 1, expires in 3 minutes\n\
                 lan{{2}}:   {selectors}\n"
            );
            samples(&tunnels, Some(&lines), "ipsec_tunnel_subnet_pairs_up")
        };
        assert_eq!(up("10.1.1.0/24 === 10.2.1.0/24"), ["{tunnel=\"lan\"} 1"]);
        assert_eq!(up("10.1.1.0/24 10.1.2.0/24 === 10.2.1.0/24"), ["{tunnel=\"lan\"} 2"]);
        assert_eq!(up("10.1.1.0/24 10.1.2.0/24 === 10.2.1.0/24 10.2.2.0/24 10.2.3.0/24"), ["{tunnel=\"lan\"} 4"]);
        assert_eq!(samples(&tunnels, Some(""), "ipsec_tunnel_subnet_pairs{"), ["tunnel=\"lan\"} 4"]);
    }

    #[test]
    fn without_a_status_only_the_states_are_said() {
        let tunnels = [tunnel("lan", false), ignored("old")];
        assert_eq!(samples(&tunnels, None, "ipsec_up"), ["{tunnel=\"lan\"} 0"]);
        assert_eq!(samples(&tunnels, None, "ipsec_tunnel_status"), ["{tunnel=\"lan\"} 3", "{tunnel=\"old\"} 4"]);
        assert!(samples(&tunnels, None, "ipsec_in_bytes").is_empty());
    }
}
