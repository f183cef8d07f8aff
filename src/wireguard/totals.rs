//! Totals of peers that survive: an interface that is made anew, or a peer that is added again, counts from 0.

use std::hash::Hash;

use super::device::Peer;
use super::key::Key;
use crate::totals::{Pass, Sample, Totals, Traffic};

/// The totals of all peers; interfaces are known by their names.
#[derive(Debug, Default)]
pub struct PeerTotals(Totals);

/// One scrape; it ends when this is dropped.
#[derive(Debug)]
pub struct PeerPass<'t>(Pass<'t>);

/// An interface as it was made: another one of the same name is another incarnation.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation<'n, I> {
    /// Its name.
    pub interface: &'n str,
    /// What tells it from those of the same name before and after it.
    pub id: I,
}

impl PeerTotals {
    /// Totals that keep at most `most` peers that are there no more.
    pub fn new(most: usize) -> Self {
        Self(Totals::new(most))
    }

    /// Begins a scrape at the time `now`.
    pub fn pass(&mut self, now: i64) -> PeerPass<'_> {
        PeerPass(self.0.pass(now))
    }
}

impl PeerPass<'_> {
    /// Records the counters of a peer; returns the totals of its bytes received and sent. Counters that are lower than at the
    /// previous scrape began anew.
    pub fn record(&mut self, incarnation: Incarnation<'_, impl Hash>, peer: &Peer) -> (u64, u64) {
        let Incarnation { interface, id } = incarnation;
        let origin = self.0.origin(interface);
        let key = self.0.key((origin, id, peer.public_key));
        let counted = Traffic { bytes_in: peer.received, bytes_out: peer.sent, ..Traffic::default() };
        let sample = Sample { origin, key, counted };
        let total = self.0.record_restartable(sample, || name(interface, peer.public_key).into());
        (total.bytes_in, total.bytes_out)
    }

    /// Keeps the totals of the peers of an interface that could not be read.
    pub fn keep(&mut self, interface: &str) {
        self.0.keep(self.0.origin(interface));
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
        let mut peer = Peer::new(Key([1; 32]));
        (peer.received, peer.sent) = (received, sent);
        totals.pass(now).record(Incarnation { interface: "wg0", id }, &peer)
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
        assert_eq!(totals.pass(5001).record(Incarnation { interface: "wg1", id: 2 }, &peer), (3, 0));
    }
}
