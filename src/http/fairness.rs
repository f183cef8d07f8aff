//! Decides which peer's request is served next, and which is refused or cancelled if something runs out. Pure functions:
//! no socket, no clock.
//!
//! No peer may keep another from being served. A peer is an IPv4 address or the /64 of an IPv6 address; a host with both
//! counts as two peers, so one peer gets at most half of what is left.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// After this many handshakes all counts are halved.
const HANDSHAKES_REMEMBERED: usize = 256;

/// The peer that a connection counts against: an IPv4 address, or the /64 of an IPv6 address, since a host can use any
/// address in its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Peer(IpAddr);

/// What a connection in the accept loop is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Another request may come.
    Kept,
    /// The head of a request is incomplete.
    Reading,
    /// It was refused or answered, and its peer has to close it.
    Closing,
}

/// A reply that has a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) peer: Peer,
    pub(super) stage: Stage,
}

/// The stage of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is being computed; this cannot be interrupted.
    Computing,
    /// It is being sent, since then.
    Writing(Instant),
    /// It was sent; the thread waits for the peer to close.
    Lingering,
    /// Its socket was shut down; the thread is about to end it.
    Ending,
}

/// The number of recent TLS handshakes by peer; "recent" is counted in handshakes, not in time.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    counts: HashMap<Peer, usize>,
    total: usize,
}

impl Peer {
    pub(super) fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self(address),
        }
    }

    pub(super) fn address(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Which connection to close if too many are open: a kept one, else the oldest one that was refused already, else the
/// oldest one of the peer with the most.
pub(super) fn evict(connections: &[(Peer, Purpose)]) -> Option<usize> {
    let refused = || connections.iter().position(|(_, purpose)| *purpose == Purpose::Closing);
    let heaviest = || heaviest_peer(connections.iter().map(|(peer, _)| *peer));
    heaviest_kept(connections).or_else(refused).or_else(heaviest)
}

/// Which connection to close before another one of `peer` is kept: the oldest kept one, if there are `max` already.
pub(super) fn surplus(connections: &[(Peer, Purpose)], peer: Peer, max: usize) -> Option<usize> {
    let mut kept = connections.iter().enumerate().filter(|(_, one)| **one == (peer, Purpose::Kept));
    let (oldest, _) = kept.next()?;
    (kept.count() >= max.saturating_sub(1)).then_some(oldest)
}

/// The oldest kept connection of the peer that has most connections of any purpose, among the peers that have a kept one.
fn heaviest_kept(connections: &[(Peer, Purpose)]) -> Option<usize> {
    let count = |peer: Peer| connections.iter().filter(|(other, _)| *other == peer).count();
    let kept = connections.iter().enumerate().filter(|(_, (_, purpose))| *purpose == Purpose::Kept);
    kept.max_by_key(|(index, (peer, _))| (count(*peer), Reverse(*index))).map(|(index, _)| index)
}

/// Which waiting request to refuse if too many wait: the newest one of the peer with the most; requests whose peer has
/// closed its side are refused first. Each entry is a peer and whether it has closed its side.
pub(super) fn refuse(waiting: &[(Peer, bool)]) -> Option<usize> {
    let newest_first = |only_closed: bool| {
        let candidates = waiting.iter().enumerate().rev().filter(move |(_, (_, is_closed))| *is_closed || !only_closed);
        candidates.map(|(index, (peer, _))| (index, *peer))
    };
    let pick = |only_closed| {
        let index = heaviest_peer(newest_first(only_closed).map(|(_, peer)| peer))?;
        newest_first(only_closed).nth(index).map(|(index, _)| index)
    };
    pick(true).or_else(|| pick(false))
}

/// Which waiting request gets the next thread: of those that may start, one of the peer with the fewest replies in
/// progress, and of these the one that waits longest.
pub(super) fn next_fair(waiting: impl Iterator<Item = Peer>, under_way: &[Answer], threads: usize) -> Option<usize> {
    let all = computing(under_way).count();
    let may = waiting.enumerate().filter(|(_, peer)| can_start(computing_for(under_way, *peer), all, threads));
    let first = may.min_by_key(|(_, peer)| under_way.iter().filter(|answer| answer.peer == *peer).count());
    first.map(|(index, _)| index)
}

/// How many of the waiting requests may start now.
pub(super) fn startable(waiting: impl Iterator<Item = Peer>, under_way: &[Answer], threads: usize) -> usize {
    let all = computing(under_way).count();
    let mut started: Vec<Peer> = Vec::new();
    for peer in waiting {
        let own = started.iter().filter(|other| **other == peer).count();
        let own = own.saturating_add(computing_for(under_way, peer));
        if can_start(own, all.saturating_add(started.len()), threads) {
            started.push(peer);
        }
    }
    started.len()
}

/// Which reply to cancel if a thread is needed: the newest one that only lingers, else the one that has been sent for
/// longest to the peer with the most, if that is at least `stall`.
pub(super) fn shed(under_way: &[Answer], stall: Duration, now: Instant) -> Option<usize> {
    let lingering = under_way.iter().rposition(|answer| answer.stage == Stage::Lingering);
    lingering.or_else(|| slowest(under_way, stall, now))
}

/// The replies to cancel if memory is needed: of the peer with the most, all that have been sent for at least `stall`.
pub(super) fn shed_memory(under_way: &[Answer], stall: Duration, now: Instant) -> Vec<usize> {
    let peer = slowest(under_way, stall, now).and_then(|index| under_way.get(index)).map(|answer| answer.peer);
    let slow = under_way.iter().enumerate().filter(|(_, answer)| answer.written(stall, now).is_some());
    slow.filter(|(_, answer)| Some(answer.peer) == peer).map(|(index, _)| index).collect()
}

/// The first entry of the peer with the most entries; of several such peers, of the first.
fn heaviest_peer(peers: impl Iterator<Item = Peer>) -> Option<usize> {
    let mut entries: Vec<_> = peers.zip(0..).collect();
    entries.sort_unstable();
    let groups = entries.chunk_by(|(one, _), (next, _)| one == next);
    let heaviest = groups.max_by_key(|group| (group.len(), group.first().map(|(_, index)| Reverse(*index))));
    heaviest?.first().map(|(_, index)| *index)
}

/// Whether a peer with `own` replies being computed, of `all`, may start another one: as many threads must stay free as it
/// then has. So one peer gets 8 of 16 threads, a second one 4, then 2, then 1. A peer without any may take the last one.
fn can_start(own: usize, all: usize, threads: usize) -> bool {
    let Some(free) = threads.checked_sub(all).and_then(|free| free.checked_sub(1)) else { return false };
    own == 0 || own < free
}

fn computing(under_way: &[Answer]) -> impl Iterator<Item = &Answer> {
    under_way.iter().filter(|answer| answer.stage == Stage::Computing)
}

fn computing_for(under_way: &[Answer], peer: Peer) -> usize {
    computing(under_way).filter(|answer| answer.peer == peer).count()
}

fn slowest(under_way: &[Answer], stall: Duration, now: Instant) -> Option<usize> {
    let answers_of = |peer| under_way.iter().filter(|other| other.peer == peer).count();
    let slow = under_way.iter().enumerate().filter_map(|(index, answer)| {
        let time = answer.written(stall, now)?;
        Some((answers_of(answer.peer), time, index))
    });
    slow.max().map(|(.., index)| index)
}

impl Answer {
    /// For how long it has been sent, if that is at least `stall`.
    fn written(&self, stall: Duration, now: Instant) -> Option<Duration> {
        let Stage::Writing(since) = self.stage else { return None };
        Some(now.saturating_duration_since(since)).filter(|time| *time >= stall)
    }
}

impl Handshakes {
    /// Counts one handshake.
    pub(super) fn record(&mut self, peer: Peer) {
        let count = self.counts.entry(peer).or_insert(0);
        *count = count.saturating_add(1);
        self.total = self.total.wrapping_add(1);
        if self.total.is_multiple_of(HANDSHAKES_REMEMBERED) {
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    /// The number of all handshakes counted; it wraps around.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// The order in which to read from connections: first of the peer with the fewest recent handshakes, then the oldest
    /// connection.
    pub(super) fn order(&self, mut waiting: Vec<(usize, Peer)>) -> Vec<usize> {
        waiting.sort_by_key(|(_, peer)| self.counts.get(peer).copied().unwrap_or_default());
        waiting.into_iter().map(|(index, _)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    const STALL: Duration = Duration::from_millis(250);

    /// When all replies of these tests began; they are looked at so much later.
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    const DAY: Duration = Duration::from_secs(86_400);

    /// A reply that has been written for so long.
    fn writing(time: Duration) -> Stage {
        Stage::Writing(*START + DAY - time)
    }

    fn now() -> Instant {
        *START + DAY
    }

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    /// A peer for each letter.
    fn peers(letters: &str) -> Vec<Peer> {
        letters.bytes().map(|letter| Peer::new([192, 0, 2, letter].into())).collect()
    }

    /// A peer for each letter; upper case says yes.
    fn marked(letters: &str) -> Vec<(Peer, bool)> {
        let marks = letters.bytes().map(|letter| letter.is_ascii_uppercase());
        peers(&letters.to_lowercase()).into_iter().zip(marks).collect()
    }

    /// Letter and stage: `m`aking, `l`ingering, `e`nding, or for how many seconds it has been written.
    fn answers(list: &str) -> Vec<Answer> {
        let answer = |word: &str| {
            let (letter, stage) = word.split_at(1);
            let stage = match stage {
                "m" => Stage::Computing,
                "l" => Stage::Lingering,
                "e" => Stage::Ending,
                seconds => writing(Duration::from_secs(seconds.parse().unwrap())),
            };
            Answer { peer: peers(letter)[0], stage }
        };
        list.split_whitespace().map(answer).collect()
    }

    #[test]
    fn a_64_is_one_peer() {
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("::ffff:192.0.2.1"), peer("::ffff:192.0.2.2"));
        assert_ne!(peer("::1"), peer("127.0.0.1"));
    }

    /// Letter and purpose: `r`eading, `c`losing, `k`ept.
    fn connections(list: &str) -> Vec<(Peer, Purpose)> {
        let connection = |word: &str| {
            let (letter, purpose) = word.split_at(1);
            let purpose = match purpose {
                "r" => Purpose::Reading,
                "c" => Purpose::Closing,
                "k" => Purpose::Kept,
                other => panic!("{other}"),
            };
            (peers(letter)[0], purpose)
        };
        list.split_whitespace().map(connection).collect()
    }

    #[test]
    fn the_refused_are_closed_before_the_oldest_of_the_heaviest_peer() {
        for (list, expected) in [
            ("", None),
            ("ar br cr br", Some(1)),
            ("cr br ar", Some(0)),
            ("ar br cr bc", Some(3)),
            ("ar br cc bc ar", Some(2)),
            ("ar ar ar ar ar bc", Some(5)),
        ] {
            assert_eq!(evict(&connections(list)), expected, "{list}");
        }
    }

    #[test]
    fn the_kept_are_closed_before_all_others_and_first_those_of_who_has_most() {
        for (list, expected) in [
            ("ar ar ar bk", Some(3)),
            ("ac ak", Some(1)),
            ("ak bk", Some(0)),
            ("ak bk bk", Some(1)),
            ("ak bk cr br cr cr", Some(1)),
            ("ak ak bk br bc", Some(2)),
        ] {
            assert_eq!(evict(&connections(list)), expected, "{list}");
        }
        // One after the other, until nothing is left.
        let mut left = connections("ar ak bk ac bk cr br");
        let order = std::iter::from_fn(|| evict(&left).map(|index| left.remove(index)));
        let order: Vec<_> = order.collect();
        assert_eq!(order, connections("ak bk bk ac ar cr br"));
    }

    #[test]
    fn a_peer_keeps_so_many_and_the_oldest_makes_room() {
        for (list, max, expected) in [
            ("", 2, None),
            ("ak", 2, None),
            ("bk ar ak ar ak bk", 2, Some(2)),
            ("ak bk", 1, Some(0)),
            ("ar ac bk", 1, None),
        ] {
            assert_eq!(surplus(&connections(list), peers("a")[0], max), expected, "{list}");
        }
    }

    #[test]
    fn the_newest_of_the_heaviest_peer_is_refused_and_before_it_whoever_has_closed() {
        for (waiting, expected) in [
            ("", None),
            ("aab", Some(1)),
            ("aba", Some(2)),
            ("abc", Some(2)),
            ("Aab", Some(0)),
            ("ABaaa", Some(1)),
            ("AbAC", Some(2)),
        ] {
            assert_eq!(refuse(&marked(waiting)), expected, "{waiting}");
        }
    }

    #[test]
    fn a_peer_gets_half_of_the_threads_that_are_left() {
        for (threads, expected) in [
            (16, &[("a", 8), ("b", 4), ("c", 2), ("d", 1), ("e", 1), ("f", 0)][..]),
            (4, &[("a", 2), ("b", 1), ("c", 1), ("d", 0)]),
            (2, &[("a", 1), ("b", 1), ("c", 0)]),
            (1, &[("a", 1), ("b", 0)]),
        ] {
            let mut under_way = Vec::new();
            for (letter, max) in expected {
                let waiting = peers(&letter.repeat(32));
                assert_eq!(startable(waiting.iter().copied(), &under_way, threads), *max, "{letter} of {threads}");
                for _ in 0..*max {
                    assert!(next_fair(waiting.iter().copied(), &under_way, threads).is_some());
                    under_way.push(Answer { peer: waiting[0], stage: Stage::Computing });
                }
                assert_eq!(next_fair(waiting.iter().copied(), &under_way, threads), None, "{letter} of {threads}");
            }
        }
    }

    #[test]
    fn whoever_keeps_asking_leaves_a_thread_for_who_has_none() {
        // Answers end and begin anew, in turns, until nothing changes any more.
        for crowd in 1..=15_u8 {
            let letters: Vec<Peer> = (0..crowd).map(|n| Peer::new([198, 51, 100, n].into())).collect();
            let mut under_way: Vec<Answer> = Vec::new();
            for round in 0..400_usize {
                if under_way.len() > round % 16 {
                    under_way.remove(round * 7 % under_way.len());
                }
                while let Some(index) = next_fair(letters.iter().copied().cycle().take(64), &under_way, 16) {
                    let peer = letters[index % letters.len()];
                    under_way.push(Answer { peer, stage: Stage::Computing });
                }
            }
            assert!(under_way.len() < 16, "{crowd} peers have all threads");
            assert_eq!(next_fair(peers("s").into_iter(), &under_way, 16), Some(0), "{crowd}");
        }
    }

    #[test]
    fn whoever_has_least_is_served_next() {
        for (waiting, under_way, threads, expected) in [
            ("aab", "am", 16, Some(2)),
            ("aa", "am bm", 16, Some(0)),
            ("ab", "a0 b0 b0", 16, Some(0)),
            ("ab", "am am", 4, Some(1)),
            ("ab", "am am al al bm", 16, Some(1)),
            ("a", "am am", 4, None),
            ("a", "am", 4, Some(0)),
            ("b", "am bl", 2, Some(0)),
        ] {
            let index = next_fair(peers(waiting).into_iter(), &answers(under_way), threads);
            assert_eq!(index, expected, "{waiting} beside {under_way} on {threads}");
        }
        assert_eq!(startable(peers("aabb").into_iter(), &answers("am am al bm"), 16), 4);
        assert_eq!(startable(peers("aabb").into_iter(), &answers("am am al bm"), 6), 1);
    }

    #[test]
    fn what_harms_least_is_shed() {
        let mut under_way = answers("b9 a1 a2 am bl a0");
        let mut ended = Vec::new();
        while let Some(index) = shed(&under_way, STALL, now()) {
            under_way[index].stage = Stage::Ending;
            ended.push(index);
        }
        let writing = |time| Answer { peer: peer("192.0.2.1"), stage: writing(time) };
        assert_eq!(shed(&[writing(STALL)], STALL, now()), Some(0));
        assert_eq!(shed(&[writing(STALL - Duration::from_nanos(1))], STALL, now()), None);
        assert_eq!(shed(&answers("al bl"), STALL, now()), Some(1), "the newest that only lingers");
        // Lingering first, then the longest of the heaviest peer; what is made or has just begun stays.
        assert_eq!(ended, [4, 2, 1, 0]);
    }

    #[test]
    fn memory_is_freed_by_the_peer_that_has_most_and_is_slow() {
        let mut under_way = answers("b9 a1 am al a2 a0");
        let mut ended = Vec::new();
        while let Some(last) = shed_memory(&under_way, STALL, now()).last() {
            ended.push(shed_memory(&under_way, STALL, now()));
            let peer = under_way[*last].peer;
            under_way.retain(|answer| answer.peer != peer || answer.written(STALL, now()).is_none());
        }
        assert_eq!(ended, [vec![1, 4], vec![0]]);
    }

    #[test]
    fn handshakes_go_round_by_peer() {
        let mut handshakes = Handshakes::default();
        let waiting = |letters: &str| peers(letters).into_iter().enumerate().collect::<Vec<_>>();
        assert_eq!(handshakes.order(waiting("aab")), [0, 1, 2], "all alike: the oldest first");
        handshakes.record(peers("a")[0]);
        assert_eq!(handshakes.order(waiting("aab")), [2, 0, 1]);
        (0..100).for_each(|_| handshakes.record(peers("b")[0]));
        assert_eq!(handshakes.order(waiting("babc")), [3, 1, 0, 2]);
    }

    #[test]
    fn a_peer_that_comes_late_waits_for_one_handshake_however_many_others_want() {
        let mut handshakes = Handshakes::default();
        let crowd = peers("a")[0];
        for _ in 0..1000 {
            let mut waiting: Vec<_> = (0..200).map(|index| (index, crowd)).collect();
            waiting.push((200, peers("s")[0]));
            handshakes.record(crowd);
            assert_eq!(handshakes.order(waiting)[0], 200);
        }
    }

    #[test]
    fn handshakes_are_forgotten_and_no_more_peers_are_remembered_than_that() {
        let mut handshakes = Handshakes::default();
        for n in 0..100_000_u32 {
            handshakes.record(Peer::new(std::net::Ipv4Addr::from_bits(n).into()));
            assert!(handshakes.counts.len() <= 2 * HANDSHAKES_REMEMBERED);
        }
        (0..HANDSHAKES_REMEMBERED * 20).for_each(|n| handshakes.record(peers(["a", "b"][n % 2])[0]));
        assert_eq!(handshakes.counts.len(), 2);
    }

    #[test]
    fn counts_are_halved_at_every_256th_handshake() {
        let (few, many) = (peers("a")[0], peers("b")[0]);
        let mut handshakes = Handshakes::default();
        handshakes.record(few);
        (0..254).for_each(|_| handshakes.record(many));
        assert_eq!((handshakes.counts.get(&few), handshakes.counts.get(&many)), (Some(&1), Some(&254)));
        handshakes.record(many);
        assert_eq!((handshakes.counts.get(&few), handshakes.counts.get(&many)), (None, Some(&127)));
    }
}
