//! Totals that survive: what a session had when it was last seen stays in its account.
//!
//! A rekey replaces an SA by one that counts from 0, a client comes back as a new session; a sum
//! over what is there now would fall each time, and Prometheus would count all of it again. The
//! ledger adds up only what each session has more than at the last look.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

/// How long a session that is not seen is still known, in seconds. charon leaves out an IKE_SA that
/// is busy, and one that comes back after that must not be counted twice.
const REMEMBERED: i64 = 600;

/// Bytes and packets of one session, as counted by the daemon, or of one account.
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

/// Accounts by their names, and the sessions that were seen lately.
///
/// Both are found by a keyed hash of 64 bits: peers choose names, but not the key. Daemons list their
/// sessions in much the same order each time, so a session is first looked for behind the last one.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
    accounts_by_name: Places,
    sessions: Vec<Session>,
    sessions_by_key: Places,
    /// Where the next session is likely to be.
    next: usize,
    hasher: RandomState,
    most: usize,
    round: u32,
}

/// Positions by hashes.
type Places = HashMap<u64, usize, BuildHasherDefault<Hashed>>;

/// What all sessions of one name came to.
#[derive(Debug)]
pub struct Account {
    /// The name.
    pub name: Box<str>,
    /// What they count in all, also those that are gone.
    pub total: Traffic,
    /// How many of them were seen at this look.
    pub sessions: u64,
    /// When the oldest of these began, in seconds since 1970; absent where nothing says it.
    pub since: Option<i64>,
    round: u32,
}

/// Where sessions are read from, by a hash; the default where there is one place only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Source(u64);

#[derive(Debug)]
struct Session {
    key: u64,
    source: Source,
    last: Traffic,
    seen: i64,
    /// Absent where the account was forgotten.
    account: Option<usize>,
}

/// Takes a number that is a hash already as it is.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Ledger {
    /// A ledger that keeps at most `most` accounts of which no session is left.
    pub fn new(most: usize) -> Self {
        Self { most, ..Self::default() }
    }

    /// Begins a look at all sessions.
    pub fn begin(&mut self) {
        self.round = self.round.saturating_add(1);
        self.next = 0;
    }

    /// Makes sure that an account is there, and counts it as in use.
    pub fn open(&mut self, name: &str) {
        let place = self.account(name);
        self.book(place, Traffic::default());
    }

    /// A source by its name.
    pub fn source(&self, name: impl Hash) -> Source {
        Source(self.hasher.hash_one(name))
    }

    /// A session's key, from all that tells it from every other session, also from later ones.
    pub fn key(&self, session: impl Hash) -> u64 {
        self.hasher.hash_one(session)
    }

    /// Books what a session of `source` counts at the moment `now`: one session's counters don't fall, so what is below the
    /// last look adds nothing. Its key is [`Ledger::key`]'s, of this ledger or always of the same other one.
    ///
    /// Its account is asked for where the session is new; one session's account does not change.
    pub fn see<'n>(
        &mut self,
        source: Source,
        key: u64,
        counted: Traffic,
        since: Option<i64>,
        now: i64,
        name: impl FnOnce() -> Cow<'n, str>,
    ) {
        let place = self.session(source, key);
        let last = self.last(place);
        let more = counted.with(last, u64::saturating_sub);
        let account = self.account_of(place, name);
        self.count(place, last.with(counted, u64::max), account, more, now);
        if let Some(account) = self.accounts.get_mut(account) {
            account.since = account.since.into_iter().chain(since).min();
        }
    }

    /// The same for a session whose counters may begin anew at 0: what is below the last look is more by all of it. Gives
    /// what its account comes to.
    pub fn see_counter<'n>(
        &mut self,
        source: Source,
        key: u64,
        counted: Traffic,
        now: i64,
        name: impl FnOnce() -> Cow<'n, str>,
    ) -> Traffic {
        let place = self.session(source, key);
        let last = self.last(place);
        let is_anew = last.with(counted, u64::max) != counted;
        let more = if is_anew { counted } else { counted.with(last, u64::saturating_sub) };
        let account = self.account_of(place, name);
        self.count(place, counted, account, more, now)
    }

    /// What a session counted at the last look; nothing where it is new.
    fn last(&self, place: usize) -> Traffic {
        self.sessions.get(place).map(|session| session.last).unwrap_or_default()
    }

    /// The place of a session's account.
    fn account_of<'n>(&mut self, place: usize, name: impl FnOnce() -> Cow<'n, str>) -> usize {
        let known = self.sessions.get(place).and_then(|session| session.account);
        known.unwrap_or_else(|| self.account(&name()))
    }

    /// Counts a session that now stands at `last`, and what is more in its account; gives what that comes to.
    fn count(&mut self, place: usize, last: Traffic, account: usize, more: Traffic, now: i64) -> Traffic {
        if let Some(session) = self.sessions.get_mut(place) {
            (session.last, session.seen, session.account) = (last, now, Some(account));
        }
        let Some(account) = self.book(account, more) else { return Traffic::default() };
        account.sessions = account.sessions.saturating_add(1);
        account.total
    }

    /// Keeps the sessions of a source that could not be read at this look, at the moment `now`, and their accounts:
    /// nobody looked whether they are gone, and forgotten ones would be counted again from 0.
    pub fn keep(&mut self, source: Source, now: i64) {
        for session in self.sessions.iter_mut().filter(|session| session.source == source) {
            session.seen = now;
            let account = session.account.and_then(|place| self.accounts.get_mut(place));
            if let Some(account) = account {
                account.turn(self.round);
            }
        }
    }

    /// Ends the look: forgets sessions that are gone for long, and the oldest of the accounts
    /// without a session where there are too many of them.
    pub fn end(&mut self, now: i64) {
        let before = self.sessions.len();
        self.sessions.retain(|session| now.saturating_sub(session.seen) <= REMEMBERED);
        if self.sessions.len() < before {
            self.sessions_by_key = places(self.sessions.iter().map(|session| session.key));
        }
        let mut idle: Vec<u32> = Vec::new();
        for account in self.accounts.iter_mut().filter(|account| account.round < self.round) {
            idle.push(account.round);
            (account.sessions, account.since) = (0, None);
        }
        let Some(excess) = idle.len().checked_sub(self.most).and_then(|excess| excess.checked_sub(1)) else { return };
        idle.sort_unstable();
        let limit = idle.get(excess).copied().unwrap_or_default();
        // Of those that ended together at the limit only as many go as must.
        let ties = idle.iter().take(excess.saturating_add(1)).filter(|seen| **seen == limit).count();
        self.forget(limit, ties);
    }

    /// How many sessions are known.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Every account, in the order in which they were first seen.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Forgets the accounts that were last in use before the look `limit`, and `ties` of those of that look.
    fn forget(&mut self, limit: u32, mut ties: usize) {
        let mut kept = 0usize;
        let mut moved = Vec::with_capacity(self.accounts.len());
        self.accounts.retain(|account| {
            let tie = account.round == limit && ties > 0;
            ties = ties.saturating_sub(usize::from(tie));
            let stays = account.round >= limit && !tie;
            moved.push(stays.then_some(kept));
            kept = kept.saturating_add(usize::from(stays));
            stays
        });
        for session in &mut self.sessions {
            session.account = session.account.and_then(|place| moved.get(place).copied().flatten());
        }
        self.accounts_by_name = places(self.accounts.iter().map(|account| self.hasher.hash_one(&*account.name)));
    }

    /// The place of a session, entered where it is new.
    fn session(&mut self, source: Source, key: u64) -> usize {
        let place = match self.sessions.get(self.next) {
            Some(session) if session.key == key => self.next,
            _ => *self.sessions_by_key.entry(key).or_insert(self.sessions.len()),
        };
        if place == self.sessions.len() {
            self.sessions.push(Session { key, source, last: Traffic::default(), seen: 0, account: None });
        }
        self.next = place.saturating_add(1);
        place
    }

    /// The place of an account, opened where it is new.
    fn account(&mut self, name: &str) -> usize {
        let place = *self.accounts_by_name.entry(self.hasher.hash_one(name)).or_insert(self.accounts.len());
        if place == self.accounts.len() {
            self.accounts.push(Account {
                name: name.into(),
                total: Traffic::default(),
                sessions: 0,
                since: None,
                round: self.round,
            });
        }
        place
    }

    fn book(&mut self, place: usize, more: Traffic) -> Option<&mut Account> {
        let account = self.accounts.get_mut(place)?;
        account.turn(self.round);
        account.total = account.total.with(more, u64::saturating_add);
        Some(account)
    }
}

impl Account {
    /// In use at the look `round`.
    fn turn(&mut self, round: u32) {
        if self.round != round {
            (self.round, self.sessions, self.since) = (round, 0, None);
        }
    }
}

fn places(hashes: impl Iterator<Item = u64>) -> Places {
    hashes.enumerate().map(|(place, hash)| (hash, place)).collect()
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

    /// One look: the sessions that are there, each with its account, key and counters.
    fn look(ledger: &mut Ledger, now: i64, sessions: &[(&str, &str, Traffic)]) {
        ledger.begin();
        for (account, key, counted) in sessions {
            ledger.see(Source::default(), ledger.key(key), *counted, None, now, || (*account).into());
        }
        ledger.end(now);
    }

    fn total(ledger: &Ledger, name: &str) -> Option<Traffic> {
        ledger.accounts().iter().find(|account| *account.name == *name).map(|account| account.total)
    }

    #[test]
    fn a_rekey_does_not_lower_the_total() {
        let mut ledger = Ledger::new(10);
        look(&mut ledger, 0, &[("ann", "old", bytes(100, 10))]);
        look(&mut ledger, 1, &[("ann", "old", bytes(150, 15)), ("ann", "new", bytes(5, 1))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(155, 16)));
        look(&mut ledger, 2, &[("ann", "new", bytes(25, 2))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(175, 17)));
    }

    #[test]
    fn one_direction_may_end_before_the_other() {
        let mut ledger = Ledger::new(10);
        look(&mut ledger, 0, &[("ann", "old", bytes(100, 10))]);
        // charon takes the outbound SA down first: its counter is 0 while the inbound one goes on.
        look(&mut ledger, 1, &[("ann", "old", bytes(120, 0))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(120, 10)));
        look(&mut ledger, 2, &[("ann", "old", bytes(125, 11))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(125, 11)));
    }

    #[test]
    fn a_session_that_was_left_out_once_is_not_counted_twice() {
        let mut ledger = Ledger::new(10);
        look(&mut ledger, 0, &[("ann", "a", bytes(100, 0))]);
        look(&mut ledger, 30, &[]);
        look(&mut ledger, 60, &[("ann", "a", bytes(130, 0))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(130, 0)));
    }

    #[test]
    fn the_sessions_of_a_source_that_was_not_read_stay_and_so_do_their_accounts() {
        let mut ledger = Ledger::new(0);
        let (read, unread) = (ledger.source("read"), ledger.source("unread"));
        ledger.begin();
        ledger.see(read, ledger.key(1), bytes(10, 0), Some(5), 0, || "ann".into());
        ledger.see(unread, ledger.key(2), bytes(100, 0), Some(5), 0, || "bob".into());
        ledger.end(0);
        for now in [300, 601, 5000] {
            ledger.begin();
            ledger.keep(unread, now);
            ledger.end(now);
        }
        assert_eq!((total(&ledger, "ann"), total(&ledger, "bob")), (None, Some(bytes(100, 0))));
        let [bob] = ledger.accounts() else { panic!("one account") };
        assert_eq!((bob.sessions, bob.since, ledger.sessions()), (0, None, 1), "nobody saw one at this look");
        ledger.begin();
        ledger.see(unread, ledger.key(2), bytes(120, 0), Some(5), 5600, || "bob".into());
        ledger.end(5600);
        assert_eq!(total(&ledger, "bob"), Some(bytes(120, 0)));
        look(&mut ledger, 6201, &[]);
        assert_eq!((ledger.sessions(), ledger.accounts().len()), (0, 0), "read again, and gone for long");
    }

    #[test]
    fn what_a_client_had_stays_when_it_leaves() {
        let mut ledger = Ledger::new(10);
        look(&mut ledger, 0, &[("ann", "a", bytes(100, 0))]);
        look(&mut ledger, 10_000, &[]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(100, 0)));
        assert!(ledger.sessions.is_empty(), "the session itself is forgotten");
        look(&mut ledger, 10_001, &[("ann", "b", bytes(7, 0))]);
        assert_eq!(total(&ledger, "ann"), Some(bytes(107, 0)));
    }

    #[test]
    fn the_oldest_finished_accounts_are_forgotten_first_and_live_ones_never() {
        let mut ledger = Ledger::new(2);
        for (now, name) in (0..).zip(["a", "b", "c", "d"]) {
            look(&mut ledger, now, &[(name, name, bytes(1, 0)), ("live", "live", bytes(1, 0))]);
        }
        let names: Vec<_> = ledger.accounts().iter().map(|account| &*account.name).collect();
        assert_eq!(names, ["live", "b", "c", "d"], "d is not finished yet");
        look(&mut ledger, 5, &[]);
        assert_eq!(ledger.accounts().len(), 2);
    }

    #[test]
    fn of_many_that_end_together_only_as_many_go_as_must() {
        let mut ledger = Ledger::new(3);
        look(&mut ledger, 0, &[("z", "z", bytes(1, 0))]);
        look(
            &mut ledger,
            1,
            &[("a", "a", bytes(1, 0)), ("b", "b", bytes(1, 0)), ("c", "c", bytes(1, 0)), ("d", "d", bytes(1, 0))],
        );
        look(&mut ledger, 2, &[]);
        let names: Vec<_> = ledger.accounts().iter().map(|account| &*account.name).collect();
        assert_eq!(names, ["b", "c", "d"]);
    }

    #[test]
    fn an_account_without_a_session_is_0() {
        let mut ledger = Ledger::new(10);
        ledger.begin();
        ledger.open("ann");
        ledger.end(0);
        assert_eq!(total(&ledger, "ann"), Some(Traffic::default()));
    }
    #[test]
    fn sessions_may_change_places() {
        let mut ledger = Ledger::new(10);
        let (a, b, c) = (("a", "a", bytes(1, 0)), ("b", "b", bytes(2, 0)), ("c", "c", bytes(4, 0)));
        for (now, order) in (0..).zip([vec![a, b, c], vec![c, a, b], vec![b], vec![a, c, b], vec![c, b, a]]) {
            look(&mut ledger, now, &order);
        }
        let totals: Vec<_> = ledger.accounts().iter().map(|account| (&*account.name, account.total.bytes_in)).collect();
        assert_eq!(totals, [("a", 1), ("b", 2), ("c", 4)]);
    }

    #[test]
    fn a_session_outlives_its_forgotten_account() {
        let mut ledger = Ledger::new(1);
        look(&mut ledger, 0, &[("a", "a", bytes(5, 0)), ("b", "b", bytes(1, 0)), ("c", "c", bytes(1, 0))]);
        look(&mut ledger, 1, &[]);
        assert_eq!(ledger.accounts().len(), 1);
        look(&mut ledger, 2, &[("a", "a", bytes(7, 0)), ("c", "c", bytes(2, 0))]);
        assert_eq!(total(&ledger, "a"), Some(bytes(2, 0)), "what it had was forgotten with the account");
        assert_eq!(total(&ledger, "c"), Some(bytes(2, 0)));
    }

    #[test]
    fn an_account_knows_its_sessions_of_this_look() {
        let mut ledger = Ledger::new(10);
        let live = |ledger: &Ledger| ledger.accounts().iter().map(|a| (a.sessions, a.since)).collect::<Vec<_>>();
        ledger.begin();
        for (key, since) in [(1, Some(40)), (2, None), (3, Some(30))] {
            ledger.see(Source::default(), ledger.key(key), bytes(1, 1), since, 0, || "ann".into());
        }
        ledger.end(0);
        assert_eq!(live(&ledger), [(3, Some(30))]);
        look(&mut ledger, 1, &[]);
        assert_eq!(live(&ledger), [(0, None)]);
    }
}
