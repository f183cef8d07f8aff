//! The totals of clients and tunnels over all their SAs, past and present.

use std::borrow::Cow;

use super::configured::{Configured, Volume};
use super::ike_sas::{IkeSas, Missing, Unlisted};
use super::sa::{ChildSa, Identity, IkeSa};
use crate::hash_index::{NameValues, NumberState, hash_parts};
use crate::text::{Text, clip};
use crate::totals::{OriginId, Sample, Totals, Traffic};

/// Separates connection and child in a tunnel's name; no configured name can contain it.
const SEPARATOR: char = '\0';

/// The totals of all clients and tunnels, and the IKE_SAs that they come from.
#[derive(Debug, Default)]
pub struct SaTotals {
    /// The IKE_SAs that were listed, or that still exist although they were not.
    pub ikes: IkeSas,
    clients: Totals,
    tunnels: Totals,
    identity: Identity,
    /// The rekey volume of the CHILD_SAs of each tunnel that has one.
    volumes: NameValues<Volume>,
    /// The most CHILD_SAs that are remembered; no new ones are recorded beyond.
    limit: usize,
    /// The most clients, and the most tunnels, without an SA that are kept.
    max_idle: usize,
    /// The number of CHILD_SAs in the current list so far.
    listed: usize,
    /// The greatest number of CHILD_SAs in a list, decaying slowly.
    typical: usize,
    /// What the keys of CHILD_SAs are made with.
    hasher: NumberState,
}

/// How many more CHILD_SAs than in the last list are recorded: an endless list, or events without any further list, must
/// not use up the memory.
const MAX_UNLISTED: usize = 5_000;

/// How many CHILD_SAs are remembered for each listed one: ended ones are remembered for ten minutes.
const REMEMBERED_PER_LISTED: usize = 4;

/// The most busy IKE_SAs whose sessions are kept: each costs a search.
const MAX_BUSY: usize = 1_000;

/// The greatest number of IKE_SAs from charon's statistics that is believed.
const MAX_EXPECTED: u64 = 100_000;

/// The expected number of IKE_SAs if charon's statistics lack it, which does not happen.
const DEFAULT_EXPECTED: u64 = 5_000;

impl SaTotals {
    /// Totals that keep at most `max_idle` clients, and as many tunnels, that are there no more.
    pub fn new(identity: Identity, max_idle: usize) -> Self {
        let (clients, tunnels) = (Totals::new(max_idle), Totals::new(max_idle));
        Self { clients, tunnels, identity, limit: MAX_UNLISTED, max_idle, ..Self::default() }
    }

    /// Begins a pass over all SAs, where charon's statistics count `counted` IKE_SAs, and registers all configured tunnels.
    pub fn begin_pass(&mut self, counted: Option<u64>, configured: &Configured) {
        let expected = counted.unwrap_or(DEFAULT_EXPECTED).min(MAX_EXPECTED);
        self.limit = self.limit.max(limit(usize::try_from(expected).unwrap_or(0)));
        self.volumes = NameValues::default();
        for (connection, child) in configured.children().filter(|(_, child)| child.has_sas()) {
            let name = tunnel(Text::new(connection), Text::new(&child.name));
            if can_register(&self.tunnels, self.limit, self.max_idle) {
                self.tunnels.register(&name);
            }
            if child.volume != Volume::default() {
                self.volumes.set(&[name.as_bytes()], child.volume);
            }
        }
    }

    /// Begins a list, of which a pass may have several: only the last one is complete. Gives the number of CHILD_SAs in the
    /// list before.
    pub fn begin_list(&mut self) -> usize {
        self.ikes.begin();
        std::mem::take(&mut self.listed)
    }

    /// How much a CHILD_SA may carry before it is rekeyed.
    pub fn volume(&self, ike: &IkeSa<'_>, child: &ChildSa<'_>) -> Volume {
        if self.volumes.is_empty() {
            return Volume::default();
        }
        self.volumes.get(&[tunnel(ike.name, child.name).as_bytes()]).copied().unwrap_or_default()
    }

    /// Registers the client of an IKE_SA, even if it has no traffic.
    ///
    /// An IKE_SA that is not up is left out: before authentication its peer can claim any identity.
    pub fn register_client(&mut self, ike: &IkeSa<'_>) {
        let can_register = can_register(&self.clients, self.limit, self.max_idle);
        if let Some(client) = ike.client(self.identity).filter(|_| ike.is_up() && can_register) {
            self.clients.register(&name(client));
        }
    }

    /// Records the counters of a listed CHILD_SA at the time `now`.
    pub fn record(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        self.listed = self.listed.saturating_add(1);
        self.record_event(ike, child, now);
    }

    /// Records the counters of a CHILD_SA from an event at the time `now`.
    pub fn record_event(&mut self, ike: &IkeSa<'_>, child: &ChildSa<'_>, now: i64) {
        let key = self.key(child);
        if self.tunnels.sessions() >= self.limit && !self.tunnels.knows(key) {
            return;
        }
        let sample = Sample { origin: origin(ike.unique_id.number()), key, counted: traffic(child) };
        if let Some(client) = ike.client(self.identity) {
            self.clients.record(sample, now, || name(client));
        }
        self.tunnels.record(sample, now, || tunnel(ike.name, child.name).into());
    }

    /// The key of a CHILD_SA: charon chooses its number and the SPI of its inbound SA, so that no SipHash is needed (3 % of a scrape).
    fn key(&self, child: &ChildSa<'_>) -> u64 {
        hash_parts(&self.hasher, &[child.unique_id.bytes(), child.spi_in.bytes()])
    }

    /// Ends the pass; `unlisted` IKE_SAs were left out of the list. The sessions of those that still exist are kept, however
    /// long charon is busy with them.
    pub fn end_pass(&mut self, now: i64, unlisted: Unlisted) -> Missing {
        let missing = self.ikes.finish(unlisted);
        let (mut clients, mut tunnels) = (self.clients.pass(now), self.tunnels.pass(now));
        for number in missing.numbers.iter().take(MAX_BUSY) {
            let ike_sa = OriginId::numbered(*number);
            clients.keep(ike_sa);
            tunnels.keep(ike_sa);
        }
        drop((clients, tunnels));
        // If all clients disconnect at once and come back, both their old and their new SAs are remembered.
        self.typical = self.listed.max(self.typical.saturating_sub(self.typical / 32));
        self.limit = limit(self.typical);
        missing
    }

    /// All clients with their totals, in the order in which they were first recorded.
    pub fn clients(&self) -> impl Iterator<Item = (&str, Traffic)> {
        self.clients.entries().iter().map(|client| (&*client.name, client.total))
    }

    /// All tunnels (connection, child) with their totals, in the order in which they were first loaded.
    pub fn tunnels(&self) -> impl Iterator<Item = (&str, &str, Traffic)> {
        self.tunnels.entries().iter().filter_map(|tunnel| {
            let (connection, child) = tunnel.name.split_once(SEPARATOR)?;
            Some((connection, child, tunnel.total))
        })
    }
}

/// The origin of an IKE_SA's sessions; charon always numbers IKE_SAs.
fn origin(number: Option<u64>) -> OriginId {
    number.map_or_else(OriginId::default, OriginId::numbered)
}

/// The name of a tunnel's entry.
fn tunnel(connection: Text<'_>, child: Text<'_>) -> String {
    format!("{connection}{SEPARATOR}{child}")
}

/// The most CHILD_SAs to remember if `listed` are in a list.
fn limit(listed: usize) -> usize {
    listed.saturating_mul(REMEMBERED_PER_LISTED).saturating_add(MAX_UNLISTED)
}

/// Whether one more entry may be added.
fn can_register(names: &Totals, limit: usize, max_idle: usize) -> bool {
    names.entries().len() < limit.saturating_add(max_idle)
}

/// The name of a client's entry.
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
        for now in 0..3 {
            for number in &numbers {
                totals.record_event(&ike(number, "ESTABLISHED"), &child(number, 1), now);
            }
            assert_eq!(totals.tunnels.sessions(), MAX_UNLISTED);
            totals.begin_pass(Some(0), &Configured::default());
            totals.end_pass(now, Unlisted::default());
        }
        assert_eq!(received(&totals), [MAX_UNLISTED as u64; 2]);
    }

    #[test]
    fn a_known_child_sa_goes_on_where_there_is_no_room_for_others() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        totals.begin_pass(Some(1), &Configured::default());
        totals.record(&ike("known", "ESTABLISHED"), &child("known", 1000), 0);
        totals.end_pass(0, Unlisted::default());
        for number in 0..2 * MAX_UNLISTED {
            let number = number.to_string();
            totals.record_event(&ike(&number, "ESTABLISHED"), &child(&number, 0), 1);
        }
        totals.begin_pass(Some(1), &Configured::default());
        totals.record(&ike("known", "ESTABLISHED"), &child("known", 1200), 2);
        totals.end_pass(2, Unlisted::default());
        assert_eq!(received(&totals), [1200; 2]);
    }

    #[test]
    fn a_list_that_charon_says_is_long_is_recorded_whole() {
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
        let (hangs, mut now) = (ike("1", "ESTABLISHED"), 0);
        let mut list = |totals: &mut SaTotals, is_listed: bool, bytes: u64| {
            now += 300;
            totals.begin_pass(Some(1), &Configured::default());
            totals.begin_list();
            if is_listed {
                totals.record(&hangs, &child("7", bytes), now);
                totals.ikes.record(&hangs);
            }
            let unlisted = u64::from(!is_listed);
            totals.end_pass(now, Unlisted { least: unlisted, most: unlisted }).count
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
        for (now, number, bytes, unlisted) in
            [(0, "1", 100, 0), (300, "2", 150, 0), (900, "", 0, 1), (1600, "2", 160, 0)]
        {
            totals.begin_pass(Some(1), &Configured::default());
            totals.begin_list();
            if !number.is_empty() {
                totals.record(&ike(number, "ESTABLISHED"), &child("7", bytes), now);
                totals.ikes.record(&ike(number, "ESTABLISHED"));
            }
            totals.end_pass(now, Unlisted { least: unlisted, most: unlisted });
        }
        assert_eq!(received(&totals), [160; 2]);
    }

    #[test]
    fn no_more_clients_and_tunnels_are_registered_than_there_is_room_for() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        totals.begin_pass(Some(0), &Configured::default());
        let names: Vec<String> = (0..2 * MAX_UNLISTED).map(|number| number.to_string()).collect();
        for name in &names {
            let mut client = ike("1", "ESTABLISHED");
            client.remote_id = name.as_str().into();
            totals.register_client(&client);
        }
        assert_eq!(totals.clients().count(), 5_000 + 10);
    }

    #[test]
    fn four_child_sas_are_remembered_for_each_listed_one_and_5000_more() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        totals.begin_pass(Some(1000), &Configured::default());
        for number in 0..1000 {
            let number = number.to_string();
            totals.record(&ike(&number, "ESTABLISHED"), &child(&number, 1), 0);
        }
        totals.end_pass(0, Unlisted::default());
        assert_eq!(totals.limit, 9_000);
        for number in 0..20_000 {
            let number = number.to_string();
            totals.record_event(&ike(&number, "ESTABLISHED"), &child(&number, 1), 1);
        }
        assert_eq!(totals.tunnels.sessions(), 9_000);
        // It falls slowly when they are gone, and what charon counts raises it at once, but not without bound.
        totals.begin_list();
        totals.end_pass(2, Unlisted::default());
        assert_eq!(totals.limit, 4 * (1000 - 31) + 5_000);
        for (counted, limit) in [(Some(u64::MAX), 405_000), (None, 25_000), (Some(0), 8_876)] {
            totals.limit = 4 * (1000 - 31) + 5_000;
            totals.begin_pass(counted, &Configured::default());
            assert_eq!(totals.limit, limit, "{counted:?}");
        }
    }

    #[test]
    fn a_child_sa_of_the_same_number_and_another_spi_is_another() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        totals.begin_pass(Some(2), &Configured::default());
        for spi in ["c1", "c2"] {
            let child = ChildSa { spi_in: spi.into(), ..child("7", 100) };
            totals.record(&ike("1", "ESTABLISHED"), &child, 0);
        }
        assert_eq!(received(&totals), [200; 2], "before strongSwan 5.3 none has a number");
    }

    /// A connection with so many children of a mode.
    fn configured(count: usize, mode: &str) -> Configured {
        use super::super::sa::Connection;
        use super::super::vici::{Element, Packet, encode, parse};
        let mut out = vec![1];
        for element in [Element::Section("gw".into()), Element::Section("children".into())] {
            encode(element, &mut out);
        }
        for number in 0..count {
            encode(Element::Section(number.to_string().as_str().into()), &mut out);
            encode(Element::Pair("mode".into(), mode.into()), &mut out);
            encode(Element::SectionEnd, &mut out);
        }
        encode(Element::SectionEnd, &mut out);
        encode(Element::SectionEnd, &mut out);
        let Ok(Packet::Response(message)) = parse(&out) else { panic!("no message") };
        let mut configured = Configured::default();
        configured.register(&Connection::parse(message).expect("a connection")).expect("few enough");
        configured
    }

    #[test]
    fn no_more_configured_tunnels_are_registered_than_there_is_room_for_and_no_shunts() {
        for (count, mode, expected) in
            [(6_000, "TUNNEL", 5_000 + 10), (3, "TRANSPORT", 3), (3, "PASS", 0), (3, "DROP", 0)]
        {
            let mut totals = SaTotals::new(Identity::Remote, 10);
            totals.begin_pass(Some(0), &configured(count, mode));
            assert_eq!(totals.tunnels().count(), expected, "{mode}");
        }
    }

    #[test]
    fn of_ike_sas_that_charon_is_busy_with_a_thousand_keep_their_sessions() {
        let mut totals = SaTotals::new(Identity::Remote, 10);
        for (now, listed) in [(0, 1_500), (500, 0), (1_000, 0)] {
            totals.begin_pass(Some(1_500), &Configured::default());
            totals.begin_list();
            for number in 0..listed {
                let number = number.to_string();
                totals.record(&ike(&number, "ESTABLISHED"), &child(&number, 1), now);
                totals.ikes.record(&ike(&number, "ESTABLISHED"));
            }
            let unlisted = 1_500 - listed;
            totals.end_pass(now, Unlisted { least: unlisted, most: unlisted });
        }
        assert_eq!(totals.tunnels.sessions(), 1_000);
    }
}
