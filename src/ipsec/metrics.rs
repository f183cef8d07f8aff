//! The families of ipsec.conf tunnels: names, help, and how conns and SAs become rows.

use std::collections::HashMap;

use super::conf::Tunnel;
use super::status::{Status, Traffic};
use crate::expo::{Exposition, Family, Label, Shape, Table, Twin, counter, gauge, label, table};
use crate::text::Text;

/// A tunnel, or one of its users. Ordered: the first is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Installed = 0,
    Established = 1,
    Down = 2,
    Unknown = 3,
    Ignored = 4,
}

struct Tunnels;
struct Users;

struct Row<'a> {
    tunnel: Text<'a>,
    user: Option<Text<'a>>,
    state: State,
    traffic: Traffic,
}

impl Table for Tunnels {
    type Row<'a> = Row<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("tunnel", |row, out| out.text(row.tunnel)),
        label("user", |row, out| {
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
            Twin::Highest,
            |row| Some((row.state as u64).into()),
        ),
        gauge("ipsec_up", "1 when the status of the tunnel could be read.", Twin::Lowest, |row| match row.state {
            State::Ignored => None,
            state => Some((state != State::Unknown).into()),
        }),
    ];
}

/// A tunnel, and how many users have rows of their own; no row where users are not named.
impl Table for Users {
    type Row<'a> = (Text<'a>, usize);
    const LABELS: &'static [Label<Self>] = &[label("tunnel", |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("ipsec_tunnel_users", "Users on a tunnel that serves many.", Twin::Highest, |row| Some(row.1.into()))];
}

/// What this source exposes.
pub const TABLES: &[&dyn Shape] = &[table::<Tunnels>(), table::<Users>()];

/// Exposes every configured tunnel; without a status their states are unknown.
pub fn expose(tunnels: &[Tunnel], status: Option<&Status<'_>>, out: &mut Exposition) {
    let tally = status.map(|status| Tally::of(tunnels, status));
    for (number, tunnel) in tunnels.iter().enumerate() {
        let name = Text::new(&tunnel.name);
        let mut add = |user, state, traffic| out.add::<Tunnels>(&Row { tunnel: name, user, state, traffic });
        let count = tally.as_ref().and_then(|tally| tally.tunnels.get(number));
        match count {
            _ if tunnel.ignored => add(None, State::Ignored, Traffic::default()),
            None => add(None, State::Unknown, Traffic::default()),
            Some(Count { total, users }) => {
                let counts_packets = status.is_some_and(|status| status.counts_packets);
                add(None, total.state, total.traffic(counts_packets));
                for (user, sum) in users {
                    add(Some(*user), sum.state, sum.traffic(counts_packets));
                }
                if tunnel.multi_user && status.is_some_and(|status| status.names_users) {
                    out.add::<Users>(&(name, users.len()));
                }
            }
        }
    }
}

/// What all SAs come to, for each tunnel.
struct Tally<'a> {
    tunnels: Vec<Count<'a>>,
    /// Where each user stands among those of a tunnel.
    places: HashMap<(usize, Text<'a>), usize>,
}

/// One tunnel, and its users in the order of their first SA.
#[derive(Default)]
struct Count<'a> {
    total: Sum,
    users: Vec<(Text<'a>, Sum)>,
}

/// The best state over several SAs, and the sums of their counters.
struct Sum {
    state: State,
    /// The sums of the counters that were printed.
    known: Traffic,
    /// A CHILD_SA carries traffic and printed no counters, as while it is rekeyed.
    has_unknown: bool,
}

impl<'a> Tally<'a> {
    fn of(tunnels: &[Tunnel], status: &Status<'a>) -> Self {
        let numbers: HashMap<&[u8], usize> =
            tunnels.iter().enumerate().map(|(number, tunnel)| (tunnel.name.as_slice(), number)).collect();
        let number_of = |name: Text<'_>| {
            let number = numbers.get(name.bytes()).or_else(|| numbers.get(without_networks(name)?.bytes()));
            number.copied()
        };
        let has_users = |number: usize| tunnels.get(number).is_some_and(|tunnel| tunnel.multi_user);
        let mut tally = Self { tunnels: tunnels.iter().map(|_| Count::default()).collect(), places: HashMap::new() };
        for sa in &status.sas {
            let owner = number_of(sa.name);
            let state = if sa.is_established() { State::Established } else { State::Down };
            let mut add = |number: Option<usize>, state, traffic| {
                if let Some(number) = number {
                    tally.add(number, sa.user().filter(|_| has_users(number)), state, traffic);
                }
            };
            add(owner, state, None);
            for child in &sa.children {
                // Conns with the same ends share one IKE_SA, and their children keep their names.
                let number = number_of(child.name).or(owner);
                match child.is_installed() {
                    true => add(number, State::Installed, Some(child.traffic)),
                    false => add(number, state, None),
                }
            }
        }
        tally
    }

    fn add(&mut self, number: usize, user: Option<Text<'a>>, state: State, traffic: Option<Traffic>) {
        let Some(count) = self.tunnels.get_mut(number) else { return };
        count.total.add(state, traffic);
        let Some(user) = user else { return };
        let place = *self.places.entry((number, user)).or_insert(count.users.len());
        if place == count.users.len() {
            count.users.push((user, Sum::default()));
        }
        if let Some((_, sum)) = count.users.get_mut(place) {
            sum.add(state, traffic);
        }
    }
}

impl Default for Sum {
    fn default() -> Self {
        Self { state: State::Down, known: Traffic::default(), has_unknown: false }
    }
}

impl Sum {
    fn add(&mut self, state: State, traffic: Option<Traffic>) {
        self.state = self.state.min(state);
        let Some(traffic) = traffic else { return };
        self.has_unknown |= traffic == Traffic::default();
        for (sum, new) in [
            (&mut self.known.in_bytes, traffic.in_bytes),
            (&mut self.known.in_packets, traffic.in_packets),
            (&mut self.known.out_bytes, traffic.out_bytes),
            (&mut self.known.out_packets, traffic.out_packets),
        ] {
            *sum = sum.map_or(new, |sum| Some(sum.saturating_add(new.unwrap_or(0))));
        }
    }

    /// The sums; 0 where nothing is up, absent where only what prints no counters is up.
    fn traffic(&self, counts_packets: bool) -> Traffic {
        let nothing = (!self.has_unknown).then_some(0);
        let no_packets = nothing.filter(|_| counts_packets);
        Traffic {
            in_bytes: self.known.in_bytes.or(nothing),
            in_packets: self.known.in_packets.or(no_packets),
            out_bytes: self.known.out_bytes.or(nothing),
            out_packets: self.known.out_packets.or(no_packets),
        }
    }
}

/// `plant/2x1` is what libreswan makes of the conn `plant` for its second and the peer's first network.
fn without_networks(name: Text<'_>) -> Option<Text<'_>> {
    let (name, networks) = name.cut_last(b'/')?;
    let (ours, theirs) = networks.cut(b'x')?;
    ours.number().and(theirs.number()).map(|_| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipsec::status;
    use std::io::Read;

    fn tunnel(name: &str, multi_user: bool) -> Tunnel {
        Tunnel { name: name.into(), ignored: false, multi_user }
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

    #[test]
    fn without_a_status_only_the_states_are_said() {
        let tunnels = [tunnel("lan", false), Tunnel { ignored: true, ..tunnel("old", true) }];
        assert_eq!(samples(&tunnels, None, "ipsec_up"), ["{tunnel=\"lan\"} 0"]);
        assert_eq!(samples(&tunnels, None, "ipsec_tunnel_status"), ["{tunnel=\"lan\"} 3", "{tunnel=\"old\"} 4"]);
        assert!(samples(&tunnels, None, "ipsec_in_bytes").is_empty());
    }
}
