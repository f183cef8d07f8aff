//! What clients and tunnels have had in all, over every SA that was ever seen.

use std::borrow::Cow;

use super::sa::{ChildSa, Connection, Identity, IkeSa};
use crate::ledger::{Ledger, Source, Traffic};
use crate::text::{Text, clip};

/// Stands between the names of a connection and its child; no configured name can hold it.
const BETWEEN: char = '\0';

/// The totals of every client and every tunnel.
#[derive(Debug, Default)]
pub struct Books {
    clients: Ledger,
    tunnels: Ledger,
    identity: Identity,
    /// So many sessions may be known before what is heard between two looks is no longer booked.
    limit: usize,
}

/// How many sessions may be heard of between two looks: nobody may ever look again.
const MOST_HEARD: usize = 10_000;

impl Books {
    /// Books that keep at most `most` clients, and as many tunnels, that are there no more.
    pub fn new(identity: Identity, most: usize) -> Self {
        Self { clients: Ledger::new(most), tunnels: Ledger::new(most), identity, limit: MOST_HEARD }
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
        if let Some(client) = ike.client(self.identity).filter(|_| ike.is_up()) {
            self.clients.open(&name(client));
        }
    }

    /// Books what a CHILD_SA of an IKE_SA counts at the moment `now`.
    pub fn see(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        let (key, traffic) = (self.clients.key((child.unique_id, child.spi_in)), traffic(child));
        let charon = Source::default();
        if let Some(client) = ike.client(self.identity) {
            self.clients.see(charon, key, traffic, None, now, || name(client));
        }
        self.tunnels.see(charon, key, traffic, None, now, || format!("{}{BETWEEN}{}", ike.name, child.name).into());
    }

    /// Books the same between two looks.
    pub fn hear(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        if self.tunnels.sessions() < self.limit {
            self.see(ike, child, now);
        }
    }

    /// Ends the look.
    pub fn end(&mut self, now: i64) {
        self.clients.end(now);
        self.tunnels.end(now);
        self.limit = self.tunnels.sessions().saturating_add(MOST_HEARD);
    }

    /// Every client and its totals, in the order in which they were first seen.
    pub fn clients(&self) -> impl Iterator<Item = (&str, Traffic)> {
        self.clients.accounts().iter().map(|client| (&*client.name, client.total))
    }

    /// Every connection, child and its totals, those first that were loaded first.
    pub fn tunnels(&self) -> impl Iterator<Item = (&str, &str, Traffic)> {
        self.tunnels.accounts().iter().filter_map(|tunnel| {
            let (connection, child) = tunnel.name.split_once(BETWEEN)?;
            Some((connection, child, tunnel.total))
        })
    }
}

/// A client's name as its account has it.
fn name(client: Text<'_>) -> Cow<'_, str> {
    clip(String::from_utf8_lossy(client.bytes()))
}

fn traffic(child: &ChildSa<'_>) -> Traffic {
    Traffic {
        bytes_in: child.bytes_in.unwrap_or(0),
        bytes_out: child.bytes_out.unwrap_or(0),
        packets_in: child.packets_in.unwrap_or(0),
        packets_out: child.packets_out.unwrap_or(0),
    }
}
