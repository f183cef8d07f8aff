//! What a conn of ipsec.conf is for: which of them should be up, and which only wait.
//!
//! The metrics, the doctor and the pages follow what is decided here, and nowhere else:
//!
//! | kind | what makes it so | nothing is up |
//! |---|---|---|
//! | not loaded | no `auto=`, `auto=ignore`, a word that the daemon does not know, two values for one key where libreswan refuses that | 4 |
//! | shunt | `type=passthrough`, `pass`, `drop` or `reject`; `authby=never` | see [`shunt_state`] |
//! | anybody | the peer is `%any`, `%any4`, `%any6`, `0.0.0.0`, `::`, `%group`, `%opportunistic`, `%opportunisticgroup`, or networks and ranges only | no sample |
//! | on demand | `auto=route`, `auto=ondemand`, a peer with a name or address | 2 |
//! | always | the rest | 2 |
//!
//! Sources: ipsec.conf(5) and `starter/confread.c`, `stroke_config.c` (strongSwan); ipsec.conf(5), `keywords.c`,
//! `confread.c`, `orient.c` (libreswan). A tunnel is never 4 while an SA of it exists.
//!
//! Which end is the peer: the one that the daemon lists as such. Where it lists no such conn: strongSwan swaps the
//! ends where `right` is an address of this machine and takes `left` as its own otherwise; libreswan's own end has an
//! address of this machine or `%defaultroute`, and its peer may be `%any` at either end. An end that is not written is
//! `%any` only where the daemon lists it so: a conn that it has not loaded at all does not wait for anybody.

use crate::text::Text;

use super::status::Ends;

/// What a conn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The daemon does not load it by itself.
    NotLoaded,
    /// A policy without keys: what it names is let through or dropped.
    Shunt,
    /// It answers whoever proves an identity; nobody has to be there.
    Anybody,
    /// A policy brings it up at the first packet.
    OnDemand,
    /// It should be up.
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
    /// libreswan from 5.0: the first of two equal keys in a section counts; two different values in a section and in one
    /// that it names by `also`, and the conn is not loaded.
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

/// One end of a conn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// `left=` or `right=`; absent where it is not written.
    pub host: Option<Box<[u8]>>,
    /// Who stands at this end proves a name by EAP or XAuth.
    pub logs_in: bool,
    /// How many networks are written for this end, at least 1.
    pub networks: usize,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A conn's kind, and whether those who connect have rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it is for.
    pub kind: Kind,
    /// Peers are users: they prove a name by EAP or XAuth, or anybody may connect.
    pub has_users: bool,
    /// It is a group of libreswan's: pluto makes conns of it, one for each network in a file.
    pub is_group: bool,
}

/// What a conn is, given how the daemon lists its ends (absent where it doesn't) and the daemon's own addresses.
pub fn judge(conn: &Conn, dialect: Dialect, listed: Option<Ends<'_>>, own: &[Text<'_>]) -> Verdict {
    let peer = peer(conn, dialect, listed, own);
    let end = match peer {
        Side::Left => &conn.left,
        Side::Right => &conn.right,
    };
    let host = end.host.as_deref().map(Text::new);
    // What libreswan lists of a peer that has not been resolved is no address.
    let is_anybody = match (host, listed) {
        (Some(host), _) => is_anybody(host, dialect),
        (None, Some(ends)) => is_anybody(ends.remote, dialect),
        (None, None) => false,
    };
    let kind = match conn.start {
        Start::Ignore => Kind::NotLoaded,
        _ if conn.is_refused && listed.is_none() => Kind::NotLoaded,
        _ if conn.is_shunt => Kind::Shunt,
        _ if is_anybody => Kind::Anybody,
        Start::Route => Kind::OnDemand,
        Start::Add | Start::Start => Kind::Always,
    };
    let is_group = dialect.is_libreswan() && host.is_some_and(|host| GROUPS.iter().any(|word| same(host, word)));
    Verdict { kind, has_users: end.logs_in || is_anybody && !conn.is_shunt, is_group }
}

/// Which end the peer stands at.
fn peer(conn: &Conn, dialect: Dialect, listed: Option<Ends<'_>>, own: &[Text<'_>]) -> Side {
    let (left, right) = (conn.left.host.as_deref().map(Text::new), conn.right.host.as_deref().map(Text::new));
    let is_own = |host: Option<Text<'_>>| {
        host.is_some_and(|host| host.fields(b',').any(|entry| own.contains(&entry.trim())))
    };
    if let Some(ends) = listed {
        let is = |host: Option<Text<'_>>, printed: Text<'_>| host.is_some_and(|host| same_host(host, printed, dialect));
        if left != right && (is(right, ends.local) || is(left, ends.remote)) && !is(left, ends.local) {
            return Side::Left;
        }
        if is(left, ends.local) || is(right, ends.remote) {
            return Side::Right;
        }
    }
    if is_own(right) && !(dialect.is_libreswan() && is_own(left)) {
        return Side::Left;
    }
    let is_ours = |host: Option<Text<'_>>| host.is_some_and(|host| same(host, "%defaultroute"));
    let waits = |host: Option<Text<'_>>| host.is_some_and(|host| is_anybody(host, dialect));
    let is_swapped = dialect.is_libreswan() && !is_own(left) && !is_ours(left);
    match is_swapped && (is_ours(right) || waits(left) && !waits(right)) {
        true => Side::Left,
        false => Side::Right,
    }
}

/// Whether what is written for an end is what the daemon prints for it.
fn same_host(host: Text<'_>, printed: Text<'_>, dialect: Dialect) -> bool {
    if dialect.is_libreswan() {
        return same_word(host, printed);
    }
    // strongSwan takes the address from the route, and prints this instead.
    host == printed || host == "%defaultroute" && printed == "%any"
}

const GROUPS: [&str; 3] = ["%group", "%opportunisticgroup", "%oppogroup"];

const ANYBODY: [&str; 9] =
    ["%any", "%any4", "%any6", "%opportunistic", "%oppo", "0.0.0.0", "::", "%group", "%opportunisticgroup"];

/// Whether the words for an end name nobody: each entry of the list is everybody, a network, or a range.
fn is_anybody(host: Text<'_>, dialect: Dialect) -> bool {
    if host.trim().is_empty() {
        return false;
    }
    let is_default_route = |entry: Text<'_>| dialect == Dialect::StrongSwan && entry == "%defaultroute";
    host.fields(b',').map(Text::trim).filter(|entry| !entry.is_empty()).all(|entry| {
        ANYBODY.iter().chain(&GROUPS).any(|word| same(entry, word))
            || is_default_route(entry)
            || is_network(entry)
            || is_range(entry)
    })
}

fn is_network(entry: Text<'_>) -> bool {
    entry.cut(b'/').is_some_and(|(address, bits)| is_address(address) && bits.number().is_some())
}

fn is_range(entry: Text<'_>) -> bool {
    entry.cut(b'-').is_some_and(|(first, last)| is_address(first) && is_address(last))
}

fn is_address(text: Text<'_>) -> bool {
    std::str::from_utf8(text.bytes()).is_ok_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

fn same(text: Text<'_>, word: &str) -> bool {
    text.bytes().eq_ignore_ascii_case(word.as_bytes())
}

fn same_word(a: Text<'_>, b: Text<'_>) -> bool {
    a.bytes().eq_ignore_ascii_case(b.bytes())
}
