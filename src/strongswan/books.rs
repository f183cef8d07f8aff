//! What clients and tunnels have had in all, over every SA that was ever seen.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::sa::{ChildSa, Connection, Identity, IkeSa};
use crate::ledger::{Ledger, Traffic};
use crate::text::clip;

/// Stands between the names of a connection and its child; no configured name can hold it.
const BETWEEN: char = '\0';

/// The totals of every client and every tunnel.
#[derive(Debug, Default)]
pub struct Books {
    clients: Ledger,
    tunnels: Ledger,
    identity: Identity,
    /// The name of the tunnel that is being booked: one text for all of them.
    tunnel: String,
    /// So many sessions may be known before what is heard in between is no longer booked.
    limit: usize,
}

/// How many sessions may be heard of between two looks: nobody may ever look again.
const MOST_HEARD: usize = 10_000;

impl Books {
    /// Books that keep at most `most` clients, and as many tunnels, that are there no more.
    pub fn new(identity: Identity, most: usize) -> Self {
        Self {
            clients: Ledger::new(most),
            tunnels: Ledger::new(most),
            identity,
            tunnel: String::new(),
            limit: MOST_HEARD,
        }
    }

    /// Begins a look at all SAs.
    pub fn begin(&mut self) {
        self.clients.begin();
        self.tunnels.begin();
    }

    /// Notes the tunnels of a loaded connection, also those that carry nothing.
    pub fn load(&mut self, connection: &Connection<'_>) {
        for child in connection.children() {
            self.tunnels.open(&format!("{}{BETWEEN}{child}", connection.name));
        }
    }

    /// Notes who is there, also while nothing goes through its IKE_SA.
    ///
    /// An IKE_SA that is not up and has no child is not booked: until it is authenticated, its
    /// peer can claim any identity.
    pub fn greet(&mut self, ike: &IkeSa<'_>) {
        if let Some(client) = self.client(ike).filter(|_| ike.is_up()) {
            self.clients.open(&client);
        }
    }

    /// Books what a CHILD_SA of an IKE_SA counts at the moment `now`.
    pub fn see(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        let (key, traffic) = ((child.unique_id, child.spi_in), traffic(child));
        if let Some(client) = self.client(ike) {
            self.clients.see(&client, key, traffic, now);
        }
        self.tunnel.clear();
        // Writing to a String can't fail.
        let _ = write!(self.tunnel, "{}{BETWEEN}{}", ike.name, child.name);
        self.tunnels.see(&self.tunnel, key, traffic, now);
    }

    /// Books the same between two looks.
    pub fn hear(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        if self.tunnels.sessions() < self.limit {
            self.see(ike, child, now);
        }
    }

    fn client<'a>(&self, ike: &IkeSa<'a>) -> Option<Cow<'a, str>> {
        ike.client(self.identity).map(|client| clip(String::from_utf8_lossy(client.bytes())))
    }

    /// Ends the look.
    pub fn end(&mut self, now: i64) {
        self.clients.end(now);
        self.tunnels.end(now);
        self.limit = self.tunnels.sessions().saturating_add(MOST_HEARD);
    }

    /// Every client and its totals, in the order in which they were first seen.
    pub fn clients(&self) -> impl Iterator<Item = (&str, Traffic)> {
        self.clients.totals()
    }

    /// Every connection, child and its totals, those first that were loaded first.
    pub fn tunnels(&self) -> impl Iterator<Item = (&str, &str, Traffic)> {
        self.tunnels.totals().filter_map(|(name, traffic)| {
            let (connection, child) = name.split_once(BETWEEN)?;
            Some((connection, child, traffic))
        })
    }
}

fn traffic(child: &ChildSa<'_>) -> Traffic {
    Traffic {
        bytes_in: child.bytes_in.unwrap_or(0),
        bytes_out: child.bytes_out.unwrap_or(0),
        packets_in: child.packets_in.unwrap_or(0),
        packets_out: child.packets_out.unwrap_or(0),
    }
}
