//! Counters for each client or tunnel that survive rekeys and reconnects.
//!
//! A daemon counts for each session, and a new session counts from 0: after a rekey, or when a client reconnects. A sum
//! over the present sessions would fall each time, and Prometheus would take that for a counter reset. So each pass adds
//! only the difference between a session's counters now and at the previous pass to the entry of its client or tunnel.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::hash_index::HashIndex;

/// How long a session that is no longer listed is remembered, in seconds: charon leaves out IKE_SAs that it is busy with,
/// and one that is listed again must not be counted twice.
pub const REMEMBERED: i64 = 600;

/// Bytes and packets of one session as the daemon counts them, or the total of one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes received from the peer.
    pub bytes_in: u64,
    /// Bytes sent to the peer.
    pub bytes_out: u64,
    /// Packets received from the peer.
    pub packets_in: u64,
    /// Packets sent to the peer.
    pub packets_out: u64,
}

/// The totals of all clients or tunnels by name, and the sessions listed lately.
///
/// Both are indexed by a keyed 64-bit hash: peers choose names, but not the key. Daemons list their sessions in nearly the
/// same order each time, so the position after the previous session is tried before the index.
#[derive(Debug, Default)]
pub struct Totals {
    entries: Vec<Entry>,
    entries_by_name: HashIndex,
    sessions: Vec<Session>,
    sessions_by_key: HashIndex,
    /// The position that the next session probably has.
    next: usize,
    hasher: RandomState,
    /// The most entries without a session that are kept.
    max_idle: usize,
    /// The number of the current pass.
    generation: u32,
}

/// The total of all sessions of one name.
#[derive(Debug)]
pub struct Entry {
    /// The name.
    pub name: Box<str>,
    /// The sum over all of its sessions, past ones included.
    pub total: Traffic,
    /// The number of its sessions listed in this pass.
    pub sessions: u64,
    /// When the oldest of these began, in seconds since 1970; absent if the daemon does not say.
    pub since: Option<i64>,
    generation: u32,
}

/// What a session was read from, such as a status file or an IKE_SA, as a hash; the default where there is only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OriginId(u64);

impl OriginId {
    /// The id of an origin among others that have numbers, too.
    pub const fn numbered(number: u64) -> Self {
        Self(number.wrapping_add(1))
    }

    /// What tells it from others.
    pub const fn bytes(self) -> [u8; 8] {
        self.0.to_ne_bytes()
    }
}

#[derive(Debug)]
struct Session {
    key: u64,
    origin: OriginId,
    last: Traffic,
    seen: i64,
    /// The position of its entry; absent if the entry was forgotten.
    entry: Option<usize>,
}

/// What a session counts now.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What it was read from.
    pub origin: OriginId,
    /// Its key, by [`Totals::key`] of these totals, or always of the same others.
    pub key: u64,
    /// Its counters.
    pub counted: Traffic,
}

/// One pass over all sessions. It ends when it is dropped: sessions that have not been listed for [`REMEMBERED`] seconds
/// are forgotten, and the oldest entries without a session if there are more than `max_idle`.
///
/// A session's counters don't fall: a lower value than in the previous pass adds nothing. The functions that record call
/// `name` only for a new session; the entry of a session never changes.
#[derive(Debug)]
pub struct Pass<'t> {
    totals: &'t mut Totals,
    now: i64,
}

impl Totals {
    /// Totals that keep at most `max_idle` entries of which no session is left.
    pub fn new(max_idle: usize) -> Self {
        Self { max_idle, ..Self::default() }
    }

    /// Begins a pass over all sessions at the time `now`.
    pub fn pass(&mut self, now: i64) -> Pass<'_> {
        Pass { totals: self, now }
    }

    /// Adds an entry if it is new, and marks it as used in the pass that ends next.
    pub fn register(&mut self, name: &str) {
        let index = self.entry(name);
        self.add_traffic(index, Traffic::default());
    }

    /// Records the counters of a session at the time `now` without counting the session, for a source that can't hold a
    /// [`Pass`] while it reads, or that reads events between passes.
    pub fn record<'n>(&mut self, sample: Sample, now: i64, name: impl FnOnce() -> Cow<'n, str>) {
        self.update(sample, false, now, name);
    }

    /// The id of an origin, from whatever names it.
    pub fn origin(&self, name: impl Hash) -> OriginId {
        OriginId(self.hasher.hash_one(name))
    }

    /// A session's key, from everything that distinguishes it from all other sessions, past and future.
    pub fn key(&self, session: impl Hash) -> u64 {
        self.hasher.hash_one(session)
    }

    /// The same from one text; [`Totals::key`] of a slice would hash its length, too.
    pub fn key_of(&self, session: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(session);
        hasher.finish()
    }

    /// Whether a session is remembered.
    pub fn knows(&self, key: u64) -> bool {
        self.sessions_by_key.contains_key(&key)
    }

    /// The number of remembered sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// All entries, in the order in which they were first recorded.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Forgets the entries last used before the pass `limit`, and `ties` of those last used in it.
    fn forget(&mut self, limit: u32, mut ties: usize) {
        let mut kept = 0usize;
        let mut moved = Vec::with_capacity(self.entries.len());
        self.entries.retain(|entry| {
            let tie = entry.generation == limit && ties > 0;
            ties = ties.saturating_sub(usize::from(tie));
            let stays = entry.generation >= limit && !tie;
            moved.push(stays.then_some(kept));
            kept = kept.saturating_add(usize::from(stays));
            stays
        });
        for session in &mut self.sessions {
            session.entry = session.entry.and_then(|index| moved.get(index).copied().flatten());
        }
        self.entries_by_name = indexes(self.entries.iter().map(|entry| self.hasher.hash_one(&*entry.name)));
    }

    /// Ends a pass at the time `now`.
    fn end_pass(&mut self, now: i64) {
        let before = self.sessions.len();
        self.sessions.retain(|session| now.saturating_sub(session.seen) <= REMEMBERED);
        if self.sessions.len() < before {
            self.sessions_by_key = indexes(self.sessions.iter().map(|session| session.key));
        }
        let mut idle: Vec<u32> = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.generation < self.generation) {
            idle.push(entry.generation);
            (entry.sessions, entry.since) = (0, None);
        }
        self.generation = self.generation.saturating_add(1);
        self.next = 0;
        let Some(excess) = idle.len().checked_sub(self.max_idle).and_then(|excess| excess.checked_sub(1)) else {
            return;
        };
        idle.sort_unstable();
        let limit = idle.get(excess).copied().unwrap_or_default();
        // Of the entries last used in the pass `limit`, only as many are removed as necessary.
        let ties = idle.iter().take(excess.saturating_add(1)).filter(|seen| **seen == limit).count();
        self.forget(limit, ties);
    }

    /// Adds to a session's entry what its counters gained. Where it may begin again at 0, one lower counter says that all did.
    fn update<'n>(
        &mut self,
        sample: Sample,
        may_restart: bool,
        now: i64,
        name: impl FnOnce() -> Cow<'n, str>,
    ) -> Option<&mut Entry> {
        let Sample { origin, key, counted } = sample;
        let index = self.session(origin, key);
        let session = self.sessions.get_mut(index)?;
        if may_restart && session.last.with(counted, u64::max) != counted {
            session.last = Traffic::default();
        }
        let more = counted.with(session.last, u64::saturating_sub);
        // A CHILD_SA moves to the IKE_SA that replaces its own.
        session.origin = origin;
        (session.last, session.seen) = (session.last.with(counted, u64::max), now);
        let known = session.entry;
        let entry = known.unwrap_or_else(|| self.entry(&name()));
        if let (None, Some(session)) = (known, self.sessions.get_mut(index)) {
            session.entry = Some(entry);
        }
        self.add_traffic(entry, more)
    }

    /// The position of a session, which is added if it is new.
    fn session(&mut self, origin: OriginId, key: u64) -> usize {
        let index = match self.sessions.get(self.next) {
            Some(session) if session.key == key => self.next,
            _ => *self.sessions_by_key.entry(key).or_insert(self.sessions.len()),
        };
        if index == self.sessions.len() {
            self.sessions.push(Session { key, origin, last: Traffic::default(), seen: 0, entry: None });
        }
        self.next = index.saturating_add(1);
        index
    }

    /// The position of an entry, which is added if it is new.
    fn entry(&mut self, name: &str) -> usize {
        let index = *self.entries_by_name.entry(self.hasher.hash_one(name)).or_insert(self.entries.len());
        if index == self.entries.len() {
            self.entries.push(Entry {
                name: name.into(),
                total: Traffic::default(),
                sessions: 0,
                since: None,
                generation: self.generation,
            });
        }
        index
    }

    fn add_traffic(&mut self, index: usize, more: Traffic) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(index)?;
        entry.mark_used(self.generation);
        entry.total = entry.total.with(more, u64::saturating_add);
        Some(entry)
    }
}

impl Pass<'_> {
    /// The id of an origin, as by [`Totals::origin`].
    pub fn origin(&self, name: impl Hash) -> OriginId {
        self.totals.origin(name)
    }

    /// A session's key, as by [`Totals::key`].
    pub fn key(&self, session: impl Hash) -> u64 {
        self.totals.key(session)
    }

    /// A session's key, as by [`Totals::key_of`].
    pub fn key_of(&self, session: &[u8]) -> u64 {
        self.totals.key_of(session)
    }

    /// Whether a session is remembered, as by [`Totals::knows`].
    pub fn knows(&self, key: u64) -> bool {
        self.totals.knows(key)
    }

    /// Records and counts a session, which began at `since`.
    pub fn record<'n>(&mut self, sample: Sample, since: Option<i64>, name: impl FnOnce() -> Cow<'n, str>) {
        if let Some(entry) = self.totals.update(sample, false, self.now, name) {
            entry.sessions = entry.sessions.saturating_add(1);
            entry.since = entry.since.into_iter().chain(since).min();
        }
    }

    /// Records a session that has ended although its origin still lists it: its counters are added to the total, and the
    /// session is not counted.
    pub fn record_ended<'n>(&mut self, sample: Sample, name: impl FnOnce() -> Cow<'n, str>) {
        self.totals.update(sample, false, self.now, name);
    }

    /// Records and counts a session that may begin again at 0: where one of its counters is lower than in the previous
    /// pass, all of them did, and all that they count is added. Gives its entry.
    pub fn record_restartable<'n>(&mut self, sample: Sample, name: impl FnOnce() -> Cow<'n, str>) -> Option<&Entry> {
        let entry = self.totals.update(sample, true, self.now, name)?;
        entry.sessions = entry.sessions.saturating_add(1);
        Some(entry)
    }

    /// Keeps the sessions of an origin that could not be read in this pass, and their entries: it is not known whether they
    /// have ended, and forgotten sessions would be counted again from 0.
    pub fn keep(&mut self, origin: OriginId) {
        let Totals { sessions, entries, generation, .. } = &mut *self.totals;
        for session in sessions.iter_mut().filter(|session| session.origin == origin) {
            session.seen = self.now;
            let entry = session.entry.and_then(|index| entries.get_mut(index));
            if let Some(entry) = entry {
                entry.mark_used(*generation);
            }
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.totals.end_pass(self.now);
    }
}

impl Entry {
    /// Marks it as used in the pass `generation`.
    fn mark_used(&mut self, generation: u32) {
        if self.generation != generation {
            (self.generation, self.sessions, self.since) = (generation, 0, None);
        }
    }
}

fn indexes(hashes: impl Iterator<Item = u64>) -> HashIndex {
    hashes.enumerate().map(|(index, hash)| (hash, index)).collect()
}

impl Traffic {
    fn with(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            bytes_in: each(self.bytes_in, other.bytes_in),
            bytes_out: each(self.bytes_out, other.bytes_out),
            packets_in: each(self.packets_in, other.packets_in),
            packets_out: each(self.packets_out, other.packets_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes_in: u64, bytes_out: u64) -> Traffic {
        Traffic { bytes_in, bytes_out, ..Traffic::default() }
    }

    /// One pass: the sessions that are there, each with its entry, key and counters.
    fn pass(totals: &mut Totals, now: i64, sessions: &[(&str, &str, Traffic)]) {
        let mut pass = totals.pass(now);
        for (entry, key, counted) in sessions {
            let sample = Sample { origin: OriginId::default(), key: pass.key(key), counted: *counted };
            pass.record(sample, None, || (*entry).into());
        }
    }

    /// A sample of the session `key` that has received `bytes_in`.
    fn sample(pass: &Pass<'_>, origin: OriginId, key: u32, bytes_in: u64) -> Sample {
        Sample { origin, key: pass.key(key), counted: bytes(bytes_in, 0) }
    }

    fn total(totals: &Totals, name: &str) -> Option<Traffic> {
        totals.entries().iter().find(|entry| *entry.name == *name).map(|entry| entry.total)
    }

    #[test]
    fn a_rekey_does_not_lower_the_total() {
        let mut totals = Totals::new(10);
        pass(&mut totals, 0, &[("ann", "old", bytes(100, 10))]);
        pass(&mut totals, 1, &[("ann", "old", bytes(150, 15)), ("ann", "new", bytes(5, 1))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(155, 16)));
        pass(&mut totals, 2, &[("ann", "new", bytes(25, 2))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(175, 17)));
    }

    #[test]
    fn one_direction_may_end_before_the_other() {
        let mut totals = Totals::new(10);
        pass(&mut totals, 0, &[("ann", "old", bytes(100, 10))]);
        // charon takes the outbound SA down first: its counter is 0 while the inbound one goes on.
        pass(&mut totals, 1, &[("ann", "old", bytes(120, 0))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(120, 10)));
        pass(&mut totals, 2, &[("ann", "old", bytes(125, 11))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(125, 11)));
    }

    #[test]
    fn a_session_that_was_left_out_once_is_not_counted_twice() {
        let mut totals = Totals::new(10);
        pass(&mut totals, 0, &[("ann", "a", bytes(100, 0))]);
        pass(&mut totals, 30, &[]);
        pass(&mut totals, 60, &[("ann", "a", bytes(130, 0))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(130, 0)));
    }

    #[test]
    fn the_sessions_of_a_source_that_was_not_read_stay_and_so_do_their_accounts() {
        let mut totals = Totals::new(0);
        let (read, unread) = (totals.origin("read"), totals.origin("unread"));
        let mut first = totals.pass(0);
        first.record(sample(&first, read, 1, 10), Some(5), || "ann".into());
        first.record(sample(&first, unread, 2, 100), Some(5), || "bob".into());
        drop(first);
        for now in [300, 601, 5000] {
            totals.pass(now).keep(unread);
        }
        assert_eq!((total(&totals, "ann"), total(&totals, "bob")), (None, Some(bytes(100, 0))));
        let [bob] = totals.entries() else { panic!("one entry") };
        assert_eq!((bob.sessions, bob.since, totals.sessions()), (0, None, 1), "nobody saw one at this pass");
        let mut last = totals.pass(5600);
        last.record(sample(&last, unread, 2, 120), Some(5), || "bob".into());
        drop(last);
        assert_eq!(total(&totals, "bob"), Some(bytes(120, 0)));
        pass(&mut totals, 6201, &[]);
        assert_eq!((totals.sessions(), totals.entries().len()), (0, 0), "read again, and gone for long");
    }

    #[test]
    fn what_a_client_had_stays_when_it_leaves() {
        let mut totals = Totals::new(10);
        pass(&mut totals, 0, &[("ann", "a", bytes(100, 0))]);
        pass(&mut totals, 10_000, &[]);
        assert_eq!(total(&totals, "ann"), Some(bytes(100, 0)));
        assert!(totals.sessions.is_empty(), "the session itself is forgotten");
        pass(&mut totals, 10_001, &[("ann", "b", bytes(7, 0))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(107, 0)));
    }

    #[test]
    fn the_oldest_finished_accounts_are_forgotten_first_and_live_ones_never() {
        let mut totals = Totals::new(2);
        for (now, name) in (0..).zip(["a", "b", "c", "d"]) {
            pass(&mut totals, now, &[(name, name, bytes(1, 0)), ("live", "live", bytes(1, 0))]);
        }
        let names: Vec<_> = totals.entries().iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["live", "b", "c", "d"], "d is not finished yet");
        pass(&mut totals, 5, &[]);
        assert_eq!(totals.entries().len(), 2);
    }

    #[test]
    fn of_many_that_end_together_only_as_many_go_as_must() {
        let mut totals = Totals::new(3);
        pass(&mut totals, 0, &[("z", "z", bytes(1, 0))]);
        pass(
            &mut totals,
            1,
            &[("a", "a", bytes(1, 0)), ("b", "b", bytes(1, 0)), ("c", "c", bytes(1, 0)), ("d", "d", bytes(1, 0))],
        );
        pass(&mut totals, 2, &[]);
        let names: Vec<_> = totals.entries().iter().map(|entry| &*entry.name).collect();
        assert_eq!(names, ["b", "c", "d"]);
    }

    #[test]
    fn an_account_without_a_session_is_0() {
        let mut totals = Totals::new(10);
        totals.register("ann");
        drop(totals.pass(0));
        assert_eq!(total(&totals, "ann"), Some(Traffic::default()));
    }

    #[test]
    fn what_is_recorded_before_a_pass_is_not_counted_twice_by_it() {
        let mut totals = Totals::new(0);
        let early = Sample { origin: OriginId::default(), key: totals.key("a"), counted: bytes(10, 1) };
        totals.record(early, 0, || "ann".into());
        pass(&mut totals, 1, &[("ann", "a", bytes(15, 1))]);
        assert_eq!(total(&totals, "ann"), Some(bytes(15, 1)));
        assert_eq!(totals.entries()[0].sessions, 1, "a session is counted by the pass that lists it");
        pass(&mut totals, 2, &[]);
        assert_eq!(total(&totals, "ann"), None, "no idle entries are kept");
    }

    #[test]
    fn sessions_may_change_places() {
        let mut totals = Totals::new(10);
        let (a, b, c) = (("a", "a", bytes(1, 0)), ("b", "b", bytes(2, 0)), ("c", "c", bytes(4, 0)));
        for (now, order) in (0..).zip([vec![a, b, c], vec![c, a, b], vec![b], vec![a, c, b], vec![c, b, a]]) {
            pass(&mut totals, now, &order);
        }
        let totals: Vec<_> = totals.entries().iter().map(|entry| (&*entry.name, entry.total.bytes_in)).collect();
        assert_eq!(totals, [("a", 1), ("b", 2), ("c", 4)]);
    }

    #[test]
    fn a_session_outlives_its_forgotten_account() {
        let mut totals = Totals::new(1);
        pass(&mut totals, 0, &[("a", "a", bytes(5, 0)), ("b", "b", bytes(1, 0)), ("c", "c", bytes(1, 0))]);
        pass(&mut totals, 1, &[]);
        assert_eq!(totals.entries().len(), 1);
        pass(&mut totals, 2, &[("a", "a", bytes(7, 0)), ("c", "c", bytes(2, 0))]);
        assert_eq!(total(&totals, "a"), Some(bytes(2, 0)), "what it had was forgotten with the entry");
        assert_eq!(total(&totals, "c"), Some(bytes(2, 0)));
    }

    #[test]
    fn an_account_knows_its_sessions_of_this_look() {
        let mut totals = Totals::new(10);
        let live = |totals: &Totals| totals.entries().iter().map(|a| (a.sessions, a.since)).collect::<Vec<_>>();
        let mut first = totals.pass(0);
        for (key, since) in [(1, Some(40)), (2, None), (3, Some(30))] {
            first.record(sample(&first, OriginId::default(), key, 1), since, || "ann".into());
        }
        drop(first);
        assert_eq!(live(&totals), [(3, Some(30))]);
        pass(&mut totals, 1, &[]);
        assert_eq!(live(&totals), [(0, None)]);
    }

    #[test]
    fn a_session_is_remembered_for_ten_minutes_and_no_second_longer() {
        for (away, expected) in [(600, 130), (601, 230)] {
            let mut totals = Totals::new(10);
            pass(&mut totals, 0, &[("ann", "a", bytes(100, 0))]);
            pass(&mut totals, away, &[]);
            pass(&mut totals, away + 1, &[("ann", "a", bytes(130, 0))]);
            assert_eq!(total(&totals, "ann"), Some(bytes(expected, 0)), "away for {away} s");
        }
    }

    #[test]
    fn each_of_the_four_counters_is_its_own_and_none_wraps_around() {
        let four =
            |bytes_in, bytes_out, packets_in, packets_out| Traffic { bytes_in, bytes_out, packets_in, packets_out };
        let mut totals = Totals::new(10);
        pass(&mut totals, 0, &[("ann", "a", four(100, 20, 3, 4))]);
        pass(&mut totals, 1, &[("ann", "a", four(110, 40, 33, 44))]);
        assert_eq!(total(&totals, "ann"), Some(four(110, 40, 33, 44)));
        pass(&mut totals, 2, &[("ann", "b", four(u64::MAX, 1, u64::MAX, 1))]);
        assert_eq!(total(&totals, "ann"), Some(four(u64::MAX, 41, u64::MAX, 45)));
    }

    #[test]
    fn a_session_is_found_by_its_key_where_those_before_it_are_gone() {
        let mut totals = Totals::new(10);
        let of = |name: &'static str, counted| (name, name, bytes(counted, 0));
        pass(&mut totals, 0, &[of("a", 1), of("b", 10), of("c", 100)]);
        pass(&mut totals, 700, &[of("b", 20), of("c", 200)]);
        pass(&mut totals, 701, &[of("c", 300), of("b", 30)]);
        let totals: Vec<_> = totals.entries().iter().map(|entry| (&*entry.name, entry.total.bytes_in)).collect();
        assert_eq!(totals, [("a", 1), ("b", 30), ("c", 300)]);
    }

    #[test]
    fn a_session_that_may_begin_again_does_so_where_one_counter_is_lower() {
        let mut totals = Totals::new(10);
        for (counted, expected) in [
            (bytes(100, 10), bytes(100, 10)),
            (bytes(120, 10), bytes(120, 10)),
            (bytes(120, 10), bytes(120, 10)),
            (bytes(5, 50), bytes(125, 60)),
            (bytes(6, 49), bytes(131, 109)),
            (bytes(7, 49), bytes(132, 109)),
        ] {
            let mut pass = totals.pass(0);
            let sample = Sample { origin: OriginId::default(), key: pass.key("a"), counted };
            let total = pass.record_restartable(sample, || "ann".into()).map(|entry| entry.total);
            assert_eq!(total, Some(expected), "{counted:?}");
        }
    }

    #[test]
    fn a_session_that_moved_is_kept_with_what_it_moved_to() {
        let mut totals = Totals::new(10);
        let (old, new) = (totals.origin("old"), totals.origin("new"));
        for (now, origin) in [(0, old), (10, new)] {
            let mut pass = totals.pass(now);
            pass.record(Sample { origin, key: pass.key("a"), counted: bytes(100, 0) }, None, || "ann".into());
        }
        for (now, origin, left) in [(500, new, 1), (1000, old, 1), (1101, old, 0)] {
            totals.pass(now).keep(origin);
            assert_eq!(totals.sessions(), left, "{now}");
        }
    }
}
