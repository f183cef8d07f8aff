//! Totals of peers that survive: an interface that is made anew, or a peer that is added again, counts from 0.

use std::hash::{BuildHasher, Hasher};

use super::device::Peer;
use crate::hash_index::{NumberHasher, NumberState};
use crate::totals::{OriginId, Pass, Sample, Totals, Traffic};

/// The totals of all peers; interfaces are known by their names.
#[derive(Debug, Default)]
pub struct PeerTotals {
    totals: Totals,
    /// Whoever found two public keys with one hash, without knowing its secret, would have two peers that share a total, and
    /// nothing more: that is not worth a SipHash, which is 300 instructions more.
    hasher: NumberState,
}

/// One scrape; it ends when this is dropped.
#[derive(Debug)]
pub struct PeerPass<'t> {
    pass: Pass<'t>,
    hasher: NumberState,
}

/// An interface as it was made: another one of the same name is another incarnation.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation<'n> {
    interface: &'n str,
    origin: OriginId,
    /// Has hashed what tells it from others.
    hasher: NumberHasher,
}

/// What became known of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        Self { totals: Totals::new(most), ..Self::default() }
    }

    /// How many peers are remembered: about as many as the next scrape will list.
    pub fn peers(&self) -> usize {
        self.totals.sessions()
    }

    /// Begins a scrape at the time `now`.
    pub fn pass(&mut self, now: i64) -> PeerPass<'_> {
        PeerPass { pass: self.totals.pass(now), hasher: self.hasher }
    }
}

impl PeerPass<'_> {
    /// An interface of that name; `id` tells it from those of the same name before and after it.
    pub fn incarnation<'n>(&self, interface: &'n str, id: u64) -> Incarnation<'n> {
        let (origin, mut hasher) = (self.pass.origin(interface), self.hasher.build_hasher());
        hasher.write(&origin.bytes());
        hasher.write(&id.to_ne_bytes());
        Incarnation { interface, origin, hasher }
    }

    /// Records the counters of a peer. Counters that are lower than at the previous scrape began anew.
    pub fn record(&mut self, incarnation: Incarnation<'_>, peer: &Peer) -> Recorded {
        let Incarnation { interface, origin, mut hasher } = incarnation;
        hasher.write(&peer.public_key.0);
        let key = hasher.finish();
        let counted = Traffic { bytes_in: peer.received, bytes_out: peer.sent, ..Traffic::default() };
        let name = || format!("{interface} {}", peer.public_key).into();
        let entry = self.pass.record_restartable(Sample { origin, key, counted }, name);
        entry.map_or_else(Recorded::default, |entry| {
            let (received, sent) = (entry.total.bytes_in, entry.total.bytes_out);
            Recorded { received, sent, is_first: entry.sessions == 1 }
        })
    }

    /// Keeps the totals of the peers of an interface that could not be read.
    pub fn keep(&mut self, interface: &str) {
        self.pass.keep(self.pass.origin(interface));
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Key;
    use super::*;

    /// Records one peer of wg0, as it was made for the `id`th time.
    fn record(totals: &mut PeerTotals, now: i64, id: u64, received: u64, sent: u64) -> (u64, u64) {
        let mut peer = Peer::new(Key([1; 32]));
        (peer.received, peer.sent) = (received, sent);
        let mut pass = totals.pass(now);
        let total = pass.record(pass.incarnation("wg0", id), &peer);
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
        for most in [0, 10] {
            let mut totals = PeerTotals::new(most);
            record(&mut totals, 0, 1, 100, 10);
            record(&mut totals, 30, 2, 100, 10);
            for now in (60..7200).step_by(60) {
                totals.pass(now).keep("wg0");
            }
            assert_eq!(record(&mut totals, 7200, 2, 110, 10), (210, 20), "{most}");
        }
    }

    #[test]
    fn an_interface_that_was_away_goes_on_and_one_of_another_name_is_another() {
        let mut totals = PeerTotals::new(10);
        record(&mut totals, 0, 1, 100, 10);
        drop(totals.pass(5000));
        assert_eq!(record(&mut totals, 5001, 2, 7, 7), (107, 17));
        let mut peer = Peer::new(Key([1; 32]));
        peer.received = 3;
        let expected = Recorded { received: 3, sent: 0, is_first: true };
        let mut pass = totals.pass(5001);
        assert_eq!(pass.record(pass.incarnation("wg1", 2), &peer), expected);
    }

    #[test]
    fn a_peer_that_is_listed_twice_is_told_from_the_first() {
        let mut totals = PeerTotals::new(10);
        for now in [0, 15] {
            let mut pass = totals.pass(now);
            let is_first = [("wg0", 1), ("wg0", 2), ("wg0", 1), ("wg1", 1)].map(|(interface, number)| {
                pass.record(pass.incarnation(interface, 0), &Peer::new(Key([number; 32]))).is_first
            });
            assert_eq!(is_first, [true, true, false, true]);
        }
    }
}
