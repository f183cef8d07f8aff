//! What clients and tunnels have had in all, over every SA that was ever seen.

use std::borrow::Cow;
use std::collections::HashMap;

use super::configured::{Configured, Volume};
use super::ike_sas::{IkeSas, Missing, Unlisted};
use super::sa::{ChildSa, Identity, IkeSa};
use crate::text::{Text, clip};
use crate::totals::{OriginId, Totals, Traffic};

/// Stands between the names of a connection and its child; no configured name can hold it.
const SEPARATOR: char = '\0';

/// The totals of every client and every tunnel, and the IKE_SAs that they come from.
#[derive(Debug, Default)]
pub struct SaTotals {
    /// Those that were listed, or may be there all the same.
    pub ikes: IkeSas,
    clients: Totals,
    tunnels: Totals,
    identity: Identity,
    /// How much the CHILD_SAs of those tunnels carry that are rekeyed by volume.
    volumes: HashMap<String, Volume>,
    /// How many CHILD_SAs may be known before nothing more is booked.
    limit: usize,
    /// How many clients, and tunnels, may be kept that are there no more.
    max_idle: usize,
    /// CHILD_SAs that the current list had so far.
    listed: usize,
    /// The most that lists had, by and by forgotten.
    typical: usize,
}

/// How many CHILD_SAs may be booked beyond those that the last list had: of a list that never ends, or by events where
/// nobody ever asks for a list again.
const MAX_UNLISTED: usize = 5_000;

/// How many CHILD_SAs are remembered, that are gone or not, for one that is listed: they are for ten minutes.
const REMEMBERED_PER_LISTED: usize = 4;

/// The most IKE_SAs that charon is busy with of which more is kept than their names: each is looked for.
const MAX_BUSY: usize = 1_000;

/// The most IKE_SAs that charon is believed to have.
const MAX_EXPECTED: u64 = 100_000;

/// The most that it may have where it does not count them, which each charon does.
const DEFAULT_EXPECTED: u64 = 5_000;

impl SaTotals {
    /// Totals that keep at most `max_idle` clients, and as many tunnels, that are there no more.
    pub fn new(identity: Identity, max_idle: usize) -> Self {
        let (clients, tunnels) = (Totals::new(max_idle), Totals::new(max_idle));
        Self { clients, tunnels, identity, limit: MAX_UNLISTED, max_idle, ..Self::default() }
    }

    /// Begins a look at all SAs, of so many IKE_SAs as charon counts, and notes the tunnels that are loaded, also those
    /// that carry nothing.
    pub fn begin_pass(&mut self, counted: Option<u64>, configured: &Configured) {
        self.clients.begin_pass();
        self.tunnels.begin_pass();
        self.listed = 0;
        let expected = counted.unwrap_or(DEFAULT_EXPECTED).min(MAX_EXPECTED);
        self.limit = self.limit.max(limit(usize::try_from(expected).unwrap_or(0)));
        self.volumes.clear();
        for (connection, child) in configured.children().filter(|(_, child)| child.has_sas()) {
            let name = tunnel(Text::new(connection), Text::new(&child.name));
            if can_register(&self.tunnels, self.limit, self.max_idle) {
                self.tunnels.register(&name);
            }
            if child.volume != Volume::default() {
                self.volumes.insert(name, child.volume);
            }
        }
    }

    /// How much a CHILD_SA may carry before it is rekeyed.
    pub fn volume(&self, ike: &IkeSa<'_>, child: &ChildSa<'_>) -> Volume {
        if self.volumes.is_empty() {
            return Volume::default();
        }
        self.volumes.get(&tunnel(ike.name, child.name)).copied().unwrap_or_default()
    }

    /// Notes who is there, also while nothing goes through its IKE_SA.
    ///
    /// An IKE_SA that is not up and has no child is not booked: until it is authenticated, its
    /// peer can claim any identity.
    pub fn register_client(&mut self, ike: &IkeSa<'_>) {
        let can_register = can_register(&self.clients, self.limit, self.max_idle);
        if let Some(client) = ike.client(self.identity).filter(|_| ike.is_up() && can_register) {
            self.clients.register(&name(client));
        }
    }

    /// Records what a listed CHILD_SA of an IKE_SA counts at the moment `now`.
    pub fn record(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        self.listed = self.listed.saturating_add(1);
        self.record_event(ike, child, now);
    }

    /// The same where an event tells it.
    pub fn record_event(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        if self.tunnels.sessions() >= self.limit {
            return;
        }
        let (key, traffic) = (self.clients.key((child.unique_id, child.spi_in)), traffic(child));
        let ike_sa = self.origin(ike.unique_id.number());
        if let Some(client) = ike.client(self.identity) {
            self.clients.record(ike_sa, key, traffic, None, now, || name(client));
        }
        self.tunnels.record(ike_sa, key, traffic, None, now, || tunnel(ike.name, child.name).into());
    }

    /// Ends the look, which left out so many IKE_SAs. What is known of those that are there all the same stays, however
    /// long charon is busy with them.
    pub fn end_pass(&mut self, now: i64, unlisted: Unlisted) -> Missing {
        let missing = self.ikes.finish(unlisted);
        for number in missing.numbers.iter().take(MAX_BUSY) {
            let ike_sa = self.origin(Some(*number));
            self.clients.keep(ike_sa, now);
            self.tunnels.keep(ike_sa, now);
        }
        self.clients.end_pass(now);
        self.tunnels.end_pass(now);
        // Those that have all gone at once are remembered for as long, beside those that come back.
        self.typical = self.listed.max(self.typical.saturating_sub(self.typical / 32));
        self.limit = limit(self.typical);
        missing
    }

    /// What tells the CHILD_SAs of one IKE_SA from those of others; charon always numbers them.
    fn origin(&self, number: Option<u64>) -> OriginId {
        number.map_or_else(OriginId::default, |number| self.clients.origin(number))
    }

    /// Every client and its totals, in the order in which they were first seen.
    pub fn clients(&self) -> impl Iterator<Item = (&str, Traffic)> {
        self.clients.entries().iter().map(|client| (&*client.name, client.total))
    }

    /// Every connection, child and its totals, those first that were loaded first.
    pub fn tunnels(&self) -> impl Iterator<Item = (&str, &str, Traffic)> {
        self.tunnels.entries().iter().filter_map(|tunnel| {
            let (connection, child) = tunnel.name.split_once(SEPARATOR)?;
            Some((connection, child, tunnel.total))
        })
    }
}

/// A tunnel's name as its account has it.
fn tunnel(connection: Text<'_>, child: Text<'_>) -> String {
    format!("{connection}{SEPARATOR}{child}")
}

/// How many CHILD_SAs may be known where so many are listed.
fn limit(listed: usize) -> usize {
    listed.saturating_mul(REMEMBERED_PER_LISTED).saturating_add(MAX_UNLISTED)
}

/// Whether one more name can be kept, beside those of `max_idle` that are there no more.
fn can_register(names: &Totals, limit: usize, max_idle: usize) -> bool {
    names.entries().len() < limit.saturating_add(max_idle)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An IKE_SA of that number with a peer.
    fn ike<'a>(number: &'a str, state: &'a str) -> IkeSa<'a> {
        let mut ike = IkeSa::default();
        (ike.name, ike.unique_id, ike.state, ike.remote_id) = ("gw".into(), number.into(), state.into(), "peer".into());
        ike
    }

    fn child(number: &str, bytes: u64) -> ChildSa<'_> {
        let (name, bytes_in) = ("lan".into(), Some(bytes));
        ChildSa { name, unique_id: number.into(), spi_in: number.into(), bytes_in, ..ChildSa::default() }
    }

    fn received(totals: &SaTotals) -> Vec<u64> {
        totals.clients().map(|(_, total)| total.bytes_in).chain(totals.tunnels().map(|row| row.2.bytes_in)).collect()
    }

    #[test]
    fn only_who_is_authenticated_is_a_client_before_anything_went_through() {
        for (state, clients) in
            [("CONNECTING", 0), ("DELETING", 0), ("REKEYED", 0), ("", 0), ("ESTABLISHED", 1), ("REKEYING", 1)]
        {
            let mut totals = SaTotals::new(Identity::Remote, 10);
            totals.begin_pass(Some(1), &Configured::default());
            totals.register_client(&ike("1", state));
            assert_eq!(totals.clients().count(), clients, "{state}");
        }
    }

    #[test]
    fn what_events_tell_between_two_lists_is_bounded() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        let numbers: Vec<String> = (0..3 * MAX_UNLISTED).map(|number| number.to_string()).collect();
        for round in 0..3 {
            for number in &numbers {
                totals.record_event(&ike(number, "ESTABLISHED"), &child(number, 1), round);
            }
            assert_eq!(totals.tunnels.sessions(), MAX_UNLISTED);
            totals.begin_pass(Some(0), &Configured::default());
            totals.end_pass(round, Unlisted::default());
        }
        assert_eq!(received(&totals), [MAX_UNLISTED as u64; 2]);
    }

    #[test]
    fn a_list_that_charon_says_is_long_is_booked_whole() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        totals.begin_pass(Some(3 * MAX_UNLISTED as u64), &Configured::default());
        for number in 0..3 * MAX_UNLISTED {
            let number = number.to_string();
            totals.record(&ike(&number, "ESTABLISHED"), &child(&number, 1), 0);
        }
        totals.end_pass(0, Unlisted::default());
        assert_eq!(received(&totals), [3 * MAX_UNLISTED as u64; 2]);
    }

    #[test]
    fn who_comes_back_after_all_have_gone_is_counted() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        let mut list = |numbers: std::ops::Range<usize>, now| {
            totals.begin_pass(Some(numbers.len() as u64), &Configured::default());
            for number in numbers {
                let number = number.to_string();
                totals.record(&ike(&number, "ESTABLISHED"), &child(&number, 1), now);
            }
            totals.end_pass(now, Unlisted::default());
            received(&totals)
        };
        assert_eq!(list(0..2 * MAX_UNLISTED, 0), [10_000; 2]);
        for now in 1..20 {
            list(0..0, 15 * now);
        }
        assert_eq!(list(20_000..20_100, 300), [10_100; 2]);
    }

    #[test]
    fn what_an_ike_sa_had_that_hangs_for_long_is_not_counted_twice() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        let (hangs, mut look) = (ike("1", "ESTABLISHED"), 0);
        let mut list = |totals: &mut SaTotals, is_listed: bool, bytes: u64| {
            look += 300;
            totals.begin_pass(Some(1), &Configured::default());
            totals.ikes.begin();
            if is_listed {
                totals.record(&hangs, &child("7", bytes), look);
                totals.ikes.record(&hangs);
            }
            let unlisted = u64::from(!is_listed);
            totals.end_pass(look, Unlisted { least: unlisted, most: unlisted }).count
        };
        assert_eq!(list(&mut totals, true, 1000), 0);
        for _ in 0..10 {
            assert_eq!(list(&mut totals, false, 0), 1);
            assert_eq!(received(&totals), [1000; 2]);
        }
        assert_eq!(list(&mut totals, true, 1200), 0);
        assert_eq!(received(&totals), [1200; 2]);
    }

    #[test]
    fn a_child_sa_goes_on_under_the_ike_sa_that_replaces_its_own() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        for (look, number, bytes, unlisted) in
            [(0, "1", 100, 0), (300, "2", 150, 0), (900, "", 0, 1), (1600, "2", 160, 0)]
        {
            totals.begin_pass(Some(1), &Configured::default());
            totals.ikes.begin();
            if !number.is_empty() {
                totals.record(&ike(number, "ESTABLISHED"), &child("7", bytes), look);
                totals.ikes.record(&ike(number, "ESTABLISHED"));
            }
            totals.end_pass(look, Unlisted { least: unlisted, most: unlisted });
        }
        assert_eq!(received(&totals), [160; 2]);
    }
}
