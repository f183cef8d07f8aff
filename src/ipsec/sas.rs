//! What a daemon says of its SAs and conns, whichever daemon and form it is.

use crate::text::Text;

use super::kind::{Dialect, Ends};

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
