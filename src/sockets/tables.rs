//! The kernel's socket tables: which there are, and what a row of them is, however it was read.

use std::net::IpAddr;

/// The state of a connection, for TCP and UDP alike.
pub const ESTABLISHED: u8 = 0x01;

/// The state of a UDP socket that has no peer; in TCP's tables it means closed.
pub const UNCONNECTED: u8 = 0x07;

/// The state of a TCP socket that waits for connections.
pub const LISTEN: u8 = 0x0a;

/// One of the kernel's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// TCP sockets that speak IPv4 only.
    Tcp,
    /// TCP sockets that speak IPv6, and IPv4 where they are not told otherwise.
    Tcp6,
    /// UDP sockets that speak IPv4 only.
    Udp,
    /// UDP sockets that speak IPv6, and IPv4 where they are not told otherwise.
    Udp6,
}

impl Table {
    /// All tables, in the order in which they are read.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tcp6, Self::Udp, Self::Udp6];

    /// The name of the table's file in `/proc/net`, which is that of its protocol in a rule.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
        }
    }

    /// Whether it is one of those for IPv6.
    pub const fn is_v6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6)
    }

    /// The state of a socket that waits for peers.
    pub const fn listening(self) -> u8 {
        match self {
            Self::Tcp | Self::Tcp6 => LISTEN,
            Self::Udp | Self::Udp6 => UNCONNECTED,
        }
    }
}

/// A set of states. The kernel has 13; a state above 31 is in no set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(u32::MAX);

    /// The set of one state.
    pub fn one(state: u8) -> Self {
        Self(1u32.checked_shl(state.into()).unwrap_or(0))
    }

    /// The states of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// A bit for each state.
    pub const fn mask(self) -> u32 {
        self.0
    }

    /// Whether a state is in the set.
    pub fn contains(self, state: u8) -> bool {
        self.0 & Self::one(state).0 != 0
    }
}

/// One end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// As the table has it: a v4-mapped address stays an IPv6 address.
    pub address: IpAddr,
    /// 0 where there is no peer.
    pub port: u16,
}

/// One socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The near end.
    pub local: Endpoint,
    /// The far end; all zeros where there is no peer.
    pub remote: Endpoint,
    /// The kernel's number of the state.
    pub state: u8,
    /// What tells the socket from others; 0 where no process holds it any more.
    pub inode: u64,
    /// Whether it was told to leave IPv4 alone; `/proc` does not say, and then it is false.
    pub v6_only: bool,
}
