//! Totals of peers that survive: an interface that is made anew, or a peer that is added again, counts from 0.

use std::hash::Hash;

use super::device::Peer;
use super::key::Key;
use crate::hash_index::NumberSet;
use crate::totals::{OriginId, Totals, Traffic};

/// What every peer came to; interfaces are known by their names.
#[derive(Debug, Default)]
pub struct PeerTotals {
    totals: Totals,
    /// The keys of the peers of this scrape.
    listed: NumberSet,
}

/// An interface as it was made: another one of the same name is another incarnation.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation<'n> {
    interface: &'n str,
    origin: OriginId,
    id: u64,
}

/// What became known of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes received from it in all.
    pub received: u64,
    /// Bytes sent to it in all.
    pub sent: u64,
    /// Whether no other peer of its interface in this scrape has its public key.
    pub is_first: bool,
}

impl PeerTotals {
    /// Totals that keep at most `most` peers that are there no more.
    pub fn new(most: usize) -> Self {
        Self { totals: Totals::new(most), listed: NumberSet::default() }
    }

    /// Begins a scrape.
    pub fn begin_pass(&mut self) {
        self.totals.begin_pass();
        self.listed.clear();
    }

    /// An interface of that name; `id` tells it from those of the same name before and after it.
    pub fn incarnation<'n>(&self, interface: &'n str, id: impl Hash) -> Incarnation<'n> {
        let origin = self.origin(interface);
        Incarnation { interface, origin, id: self.totals.key((origin, id)) }
    }

    /// Records what a peer counts at the moment `now`. Counters that are lower than at the last scrape began anew.
    pub fn record(&mut self, incarnation: Incarnation<'_>, peer: &Peer, now: i64) -> Recorded {
        let Incarnation { interface, origin, id } = incarnation;
        let key = self.totals.key((id, peer.public_key));
        let counted = Traffic { bytes_in: peer.received, bytes_out: peer.sent, ..Traffic::default() };
        let name = || name(interface, peer.public_key).into();
        let total = self.totals.record_restartable(origin, key, counted, now, name);
        Recorded { received: total.bytes_in, sent: total.bytes_out, is_first: self.listed.insert(key) }
    }

    /// Keeps what is known of the peers of an interface that could not be read.
    pub fn keep(&mut self, interface: &str, now: i64) {
        self.totals.keep(self.origin(interface), now);
    }

    /// Ends the scrape.
    pub fn end_pass(&mut self, now: i64) {
        self.totals.end_pass(now);
    }

    fn origin(&self, interface: &str) -> OriginId {
        self.totals.origin(interface)
    }
}

fn name(interface: &str, key: Key) -> String {
    format!("{interface} {key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records one peer of wg0, as it was made for the `id`th time.
    fn record(totals: &mut PeerTotals, now: i64, id: u32, received: u64, sent: u64) -> (u64, u64) {
        totals.begin_pass();
        let mut peer = Peer::new(Key([1; 32]));
        (peer.received, peer.sent) = (received, sent);
        let total = totals.record(totals.incarnation("wg0", id), &peer, now);
        totals.end_pass(now);
        (total.received, total.sent)
    }

    #[test]
    fn a_total_never_falls() {
        let mut totals = PeerTotals::new(10);
        assert_eq!(record(&mut totals, 0, 1, 100, 10), (100, 10));
        assert_eq!(record(&mut totals, 15, 1, 120, 10), (120, 10));
        // Made anew, with less and then with more than before.
        assert_eq!(record(&mut totals, 30, 2, 5, 5), (125, 15));
        assert_eq!(record(&mut totals, 45, 3, 500, 5), (625, 20));
        // The peer was taken out and added again: one counter is enough to see it.
        assert_eq!(record(&mut totals, 60, 3, 501, 0), (1126, 20));
        assert_eq!(record(&mut totals, 75, 3, 502, 1), (1127, 21));
    }

    #[test]
    fn what_can_not_be_read_for_long_goes_on() {
        let mut totals = PeerTotals::new(0);
        record(&mut totals, 0, 1, 100, 10);
        for now in (0..7200).step_by(60) {
            totals.begin_pass();
            totals.keep("wg0", now);
            totals.end_pass(now);
        }
        assert_eq!(record(&mut totals, 7200, 1, 110, 10), (110, 10));
    }

    #[test]
    fn an_interface_that_was_away_goes_on_and_one_of_another_name_is_another() {
        let mut totals = PeerTotals::new(10);
        record(&mut totals, 0, 1, 100, 10);
        totals.begin_pass();
        totals.end_pass(5000);
        assert_eq!(record(&mut totals, 5001, 2, 7, 7), (107, 17));
        let mut peer = Peer::new(Key([1; 32]));
        peer.received = 3;
        let expected = Recorded { received: 3, sent: 0, is_first: true };
        assert_eq!(totals.record(totals.incarnation("wg1", 2), &peer, 5001), expected);
    }

    #[test]
    fn a_peer_that_is_listed_twice_is_told_from_the_first() {
        let mut totals = PeerTotals::new(10);
        for now in [0, 15] {
            totals.begin_pass();
            let is_first = [("wg0", 1), ("wg0", 2), ("wg0", 1), ("wg1", 1)].map(|(interface, number)| {
                totals.record(totals.incarnation(interface, 0), &Peer::new(Key([number; 32])), now).is_first
            });
            assert_eq!(is_first, [true, true, false, true]);
            totals.end_pass(now);
        }
    }
}
