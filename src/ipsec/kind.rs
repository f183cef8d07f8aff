//! What a conn of ipsec.conf is for: which of them should be up, and which only wait.
//!
//! The metrics, the doctor and the pages follow what is decided here, and nowhere else:
//!
//! | kind | what makes it so | nothing is up |
//! |---|---|---|
//! | not loaded | no `auto=`, `auto=ignore`, a word that the daemon does not know; where libreswan refuses that: two values for one key, no peer | 4 |
//! | shunt | `type=passthrough`, `pass`, `drop` or `reject`; `authby=never` | 0 installed, else see [`super::metrics`] |
//! | anybody | the peer is `%any`, `%any4`, `%any6`, `0.0.0.0`, `::`, `%group`, `%opportunistic`, `%opportunisticgroup`, or networks and ranges only | no sample |
//! | on demand | `auto=route`, `auto=ondemand`, a peer with a name or address | 2 |
//! | always | the rest | 2 |
//!
//! Sources: ipsec.conf(5) and `starter/confread.c`, `stroke_config.c` (strongSwan); ipsec.conf(5), `keywords.c`,
//! `confread.c`, `orient.c` (libreswan). A tunnel is never 4 while an SA of it is up.
//!
//! Which end is the peer: the one that the daemon lists as such. Where it lists no such conn: strongSwan swaps the
//! ends where `right` is an address of this machine and takes `left` as its own otherwise; libreswan's own end has an
//! address of this machine or `%defaultroute`, and its peer may be `%any` at either end.
//!
//! A peer that is not written, as in a template which is loaded since `%default` says `auto=start`, is what the daemon
//! lists; libreswan refuses such a conn. One that strongSwan does not list does not wait for anybody.

use crate::text::Text;

/// What a conn is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The daemon does not load it by itself.
    NotLoaded,
    /// A policy without keys: traffic that matches it passes unprotected or is dropped.
    Shunt,
    /// It accepts every peer that proves an identity; none has to be connected.
    Anybody,
    /// A policy brings it up at the first packet.
    OnDemand,
    /// It should be up.
    #[default]
    Always,
}

impl Kind {
    /// The value of the label `kind`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotLoaded => "not-loaded",
            Self::Shunt => "shunt",
            Self::Anybody => "anybody",
            Self::OnDemand => "on-demand",
            Self::Always => "always",
        }
    }
}

/// The hosts of a conn, as the daemon assigned them: its own end and the peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends<'a> {
    /// Its own end.
    pub local: Text<'a>,
    /// The peer's: an address, a name, `%any`…
    pub remote: Text<'a>,
}

/// What `auto=` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Not loaded; also where nothing is written.
    #[default]
    Ignore,
    /// Loaded.
    Add,
    /// Loaded, and its policy installed.
    Route,
    /// Loaded and brought up.
    Start,
}

/// Whose rules of ipsec.conf apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// strongSwan: the last of two equal keys counts, `#` starts a comment anywhere.
    #[default]
    StrongSwan,
    /// Openswan, and libreswan up to 4: two different values for one key in one section, and the conn is not loaded.
    Libreswan4,
    /// libreswan from 5.0: the first of two equal keys in a section counts; two different values in a section and in
    /// one that it names by `also`, and the conn is not loaded.
    Libreswan5,
}

impl Dialect {
    /// Whether it is libreswan's or Openswan's.
    pub fn is_libreswan(self) -> bool {
        self != Self::StrongSwan
    }
}

/// What a conn says, with all that it inherits, about its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conn {
    /// `auto=`.
    pub start: Start,
    /// `type=` or `authby=` says that nothing is negotiated.
    pub is_shunt: bool,
    /// Two values for one key, so that libreswan does not load it.
    pub is_refused: bool,
    /// `left…=`.
    pub left: End,
    /// `right…=`.
    pub right: End,
}

impl Conn {
    /// How many pairs of networks it connects, at least 1. libreswan makes none of an IPv4 and an IPv6 network.
    pub fn pairs(&self) -> usize {
        let [[left, left6], [right, right6]] = [self.left.networks, self.right.networks];
        let pairs = match (left.saturating_add(left6), right.saturating_add(right6)) {
            (0, all) | (all, 0) => all,
            _ => left.saturating_mul(right).saturating_add(left6.saturating_mul(right6)),
        };
        pairs.max(1)
    }
}

/// One end of a conn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// `left=` or `right=`; absent where it is not written.
    pub host: Option<Box<[u8]>>,
    /// Whether the peer at this end proves a user name by EAP or XAuth.
    pub logs_in: bool,
    /// How many networks are written for this end, those of IPv6 counted apart for libreswan. charon leaves out those that are part of
    /// others.
    pub networks: [usize; 2],
}

/// A conn's kind, and whether those who connect have rows of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// What it is for.
    pub kind: Kind,
    /// Peers are users: they prove a name by EAP or XAuth, or anybody may connect.
    pub has_users: bool,
    /// It is a group of libreswan's: pluto makes conns of it, one for each network in a file.
    pub is_group: bool,
}

/// What a conn is, given how the daemon lists its ends (absent where it doesn't) and the daemon's own addresses.
pub fn assess(conn: &Conn, dialect: Dialect, listed: Option<Ends<'_>>, own: &[Text<'_>]) -> Assessment {
    let end = peer(conn, dialect, listed, own);
    let host = end.host.as_deref().map(Text::new);
    // What libreswan lists of a peer that has not been resolved is no address.
    let is_anybody = match (host, listed) {
        (Some(host), _) => is_anybody(host, dialect),
        (None, Some(ends)) => is_anybody(ends.remote, dialect),
        (None, None) => false,
    };
    let is_refused = conn.is_refused || dialect.is_libreswan() && host.is_none();
    let kind = match conn.start {
        Start::Ignore => Kind::NotLoaded,
        _ if is_refused && listed.is_none() => Kind::NotLoaded,
        _ if conn.is_shunt => Kind::Shunt,
        _ if is_anybody => Kind::Anybody,
        Start::Route => Kind::OnDemand,
        Start::Add | Start::Start => Kind::Always,
    };
    let is_group = dialect.is_libreswan() && host.is_some_and(|host| GROUPS.iter().any(|word| same(host, *word)));
    Assessment { kind, has_users: end.logs_in || is_anybody && !conn.is_shunt, is_group }
}

/// The end that is the peer's.
fn peer<'c>(conn: &'c Conn, dialect: Dialect, listed: Option<Ends<'_>>, own: &[Text<'_>]) -> &'c End {
    let (left, right) = (conn.left.host.as_deref().map(Text::new), conn.right.host.as_deref().map(Text::new));
    let is_own =
        |host: Option<Text<'_>>| host.is_some_and(|host| host.fields(b',').any(|entry| own.contains(&entry.trim())));
    if let Some(ends) = listed {
        let is = |host: Option<Text<'_>>, printed: Text<'_>| host.is_some_and(|host| same_host(host, printed, dialect));
        if left != right && (is(right, ends.local) || is(left, ends.remote)) && !is(left, ends.local) {
            return &conn.left;
        }
        if is(left, ends.local) || is(right, ends.remote) {
            return &conn.right;
        }
    }
    if is_own(right) && !(dialect.is_libreswan() && is_own(left)) {
        return &conn.left;
    }
    let is_ours = |host: Option<Text<'_>>| host.is_some_and(|host| same(host, "%defaultroute"));
    let waits = |host: Option<Text<'_>>| host.is_some_and(|host| is_anybody(host, dialect));
    let is_swapped = dialect.is_libreswan() && !is_own(left) && !is_ours(left);
    if is_swapped && (is_ours(right) || waits(left) && !waits(right)) { &conn.left } else { &conn.right }
}

/// Whether a configured end is the one that the daemon prints.
fn same_host(host: Text<'_>, printed: Text<'_>, dialect: Dialect) -> bool {
    if dialect.is_libreswan() {
        return same(host, printed);
    }
    // strongSwan takes the address from the route, and prints this instead.
    host == printed || host == "%defaultroute" && printed == "%any"
}

const GROUPS: [&str; 3] = ["%group", "%opportunisticgroup", "%oppogroup"];

const ANYBODY: [&str; 7] = ["%any", "%any4", "%any6", "%opportunistic", "%oppo", "0.0.0.0", "::"];

/// Whether an end names no single peer: each entry of the list is a wildcard, a network, or a range.
fn is_anybody(host: Text<'_>, dialect: Dialect) -> bool {
    if host.trim().is_empty() {
        return false;
    }
    let is_default_route = |entry: Text<'_>| dialect == Dialect::StrongSwan && entry == "%defaultroute";
    host.fields(b',').map(Text::trim).filter(|entry| !entry.is_empty()).all(|entry| {
        ANYBODY.iter().chain(&GROUPS).any(|word| same(entry, *word))
            || is_default_route(entry)
            || entry.is_network_or_range()
    })
}

/// Whether two words are the same in any case.
fn same<'a>(a: Text<'_>, b: impl Into<Text<'a>>) -> bool {
    a.bytes().eq_ignore_ascii_case(b.into().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Libreswan5, StrongSwan};

    fn conn(left: &str, right: &str) -> Conn {
        let end = |host: &str, logs_in| End {
            host: (!host.is_empty()).then(|| host.as_bytes().into()),
            logs_in,
            networks: [1, 0],
        };
        Conn { start: Start::Add, left: end(left, false), right: end(right, true), ..Conn::default() }
    }

    /// The kind, and `*` where the peer stands at the right end, which logs in.
    fn kind(conn: &Conn, dialect: Dialect, listed: Option<(&str, &str)>, own: &[&str]) -> String {
        let listed = listed.map(|(local, remote)| Ends { local: local.into(), remote: remote.into() });
        let own: Vec<Text<'_>> = own.iter().map(|address| Text::from(*address)).collect();
        let side = if std::ptr::eq(peer(conn, dialect, listed, &own), &conn.right) { "*" } else { "" };
        format!("{}{side}", assess(conn, dialect, listed, &own).kind.word())
    }

    #[test]
    fn who_is_anybody() {
        for (host, expected) in [
            ("%any", true),
            ("%any4", true),
            ("%any6", true),
            ("0.0.0.0", true),
            ("::", true),
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("198.51.100.0/24", true),
            ("198.51.100.4-198.51.100.9", true),
            ("2001:db8::/32", true),
            ("198.51.100.0/24, 203.0.113.4-203.0.113.9,%any", true),
            ("%group", true),
            ("%opportunistic", true),
            ("%opportunisticgroup", true),
            ("%oppogroup", true),
            ("%OpportunisticGroup", true),
            ("198.51.100.7", false),
            ("198.51.100.7,0.0.0.0/0", false),
            ("198.51.100.7,198.51.100.8", false),
            ("%peer.example.org", false),
            ("branch-7.example.org", false),
            ("10-11", false),
            ("", false),
        ] {
            for dialect in [StrongSwan, Libreswan5] {
                assert_eq!(is_anybody(host.into(), dialect), expected, "{host}");
            }
        }
        assert!(is_anybody("%defaultroute".into(), StrongSwan) && !is_anybody("%defaultroute".into(), Libreswan5));
    }

    #[test]
    fn the_daemons_own_list_says_which_end_is_the_peer() {
        for (left, right, listed, expected) in [
            ("192.0.2.1", "%any", ("192.0.2.1", "%any"), "anybody*"),
            ("%any", "192.0.2.1", ("192.0.2.1", "%any"), "anybody"),
            ("%any", "198.51.100.7", ("%any", "198.51.100.7"), "always*"),
            ("198.51.100.7", "192.0.2.1", ("192.0.2.1", "198.51.100.7"), "always"),
            ("%any", "%any", ("%any", "%any"), "anybody*"),
            ("%defaultroute", "%any", ("%any", "%any"), "anybody*"),
            ("", "", ("%any", "%any"), "anybody*"),
            ("192.0.2.1", "", ("192.0.2.1", "%any"), "anybody*"),
            ("", "198.51.100.7", ("%any", "198.51.100.7"), "always*"),
        ] {
            assert_eq!(kind(&conn(left, right), StrongSwan, Some(listed), &[]), expected, "{left} {right}");
        }
        for (left, right, listed, expected) in [
            ("%defaultroute", "%any", ("192.0.2.1", "%any"), "anybody*"),
            ("%any", "%defaultroute", ("192.0.2.1", "%any"), "anybody"),
            ("%defaultroute", "%opportunisticgroup", ("192.0.2.1", "%group"), "anybody*"),
            ("peer.example.org", "%defaultroute", ("192.0.2.1", "198.51.100.7"), "always"),
            ("gw.example.org", "peer.example.org", ("192.0.2.1", "198.51.100.7"), "always*"),
        ] {
            assert_eq!(kind(&conn(left, right), Libreswan5, Some(listed), &[]), expected, "{left} {right}");
        }
    }

    #[test]
    fn without_a_list_each_daemons_rule_says_it() {
        let own = ["192.0.2.1"];
        for (left, right, strongswan, libreswan) in [
            ("192.0.2.1", "%any", "anybody*", "anybody*"),
            ("%any", "192.0.2.1", "anybody", "anybody"),
            ("%any", "198.51.100.7", "always*", "anybody"),
            ("%defaultroute", "198.51.100.7", "always*", "always*"),
            ("198.51.100.7", "%defaultroute", "anybody*", "always"),
            ("198.51.100.7", "192.0.2.1", "always", "always"),
            ("192.0.2.9", "198.51.100.7", "always*", "always*"),
            ("", "", "always*", "not-loaded*"),
            ("192.0.2.1", "", "always*", "not-loaded*"),
            ("", "198.51.100.7", "always*", "always*"),
        ] {
            let conn = conn(left, right);
            assert_eq!(kind(&conn, StrongSwan, None, &own), strongswan, "{left} {right}");
            assert_eq!(kind(&conn, Libreswan5, None, &own), libreswan, "{left} {right}");
        }
    }

    #[test]
    fn a_conn_without_a_peer_is_what_libreswan_lists_and_refused_where_it_does_not() {
        assert_eq!(kind(&conn("192.0.2.1", ""), Libreswan5, None, &[]), "not-loaded*");
        assert_eq!(kind(&conn("192.0.2.1", ""), Libreswan5, Some(("192.0.2.1", "%any")), &[]), "anybody*");
    }

    #[test]
    fn what_comes_first() {
        let all = Conn { is_shunt: true, is_refused: true, ..conn("192.0.2.1", "%any") };
        let is = |conn: Conn, listed| kind(&conn, Libreswan5, listed, &[]);
        let listed = Some(("192.0.2.1", "%any"));
        assert_eq!(is(Conn { start: Start::Ignore, ..all.clone() }, listed), "not-loaded*");
        assert_eq!(is(all.clone(), None), "not-loaded*");
        assert_eq!(is(all.clone(), listed), "shunt*", "the daemon has loaded it all the same");
        assert_eq!(is(Conn { is_shunt: false, start: Start::Route, ..all.clone() }, listed), "anybody*");
        let named = Conn { start: Start::Route, ..conn("192.0.2.1", "198.51.100.7") };
        assert_eq!(is(named, None), "on-demand*");
        assert_eq!(is(Conn { start: Start::Start, ..conn("192.0.2.1", "198.51.100.7") }, None), "always*");
    }

    #[test]
    fn users_are_peers_that_log_in_and_peers_of_a_conn_for_anybody() {
        let has_users = |conn: &Conn| assess(conn, StrongSwan, None, &["192.0.2.1".into()]).has_users;
        assert!(has_users(&conn("192.0.2.1", "198.51.100.7")), "it logs in");
        assert!(!has_users(&conn("198.51.100.7", "192.0.2.1")), "we log in");
        assert!(has_users(&conn("%any", "192.0.2.1")), "anybody");
        assert!(!has_users(&Conn { is_shunt: true, ..conn("%any", "192.0.2.1") }));
    }
}
