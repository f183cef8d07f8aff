//! Totals that survive: what a session had when it was last seen stays in its account.
//!
//! A rekey replaces an SA by one that counts from 0, a client comes back as a new session; a sum
//! over what is there now would fall each time, and Prometheus would count all of it again. The
//! ledger adds up only what each session has more than at the last look.

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
/// Both are found by a keyed hash of 64 bits: peers choose names, but not the key.
#[derive(Debug, Default)]
pub struct Ledger {
    accounts: Vec<Account>,
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    sessions: HashMap<u64, Session, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
    most: usize,
    round: u32,
}

#[derive(Debug)]
struct Account {
    name: Box<str>,
    total: Traffic,
    round: u32,
}

#[derive(Debug, Default)]
struct Session {
    last: Traffic,
    seen: i64,
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
    }

    /// Makes sure that an account is there, and counts it as in use.
    pub fn open(&mut self, account: &str) {
        self.book(account, Traffic::default());
    }

    /// Books what a session counts at the moment `now`. The key tells it from every other session, also
    /// from later ones: one session's counters don't fall, so what is below the last look adds nothing.
    pub fn see(&mut self, account: &str, key: impl Hash, counted: Traffic, now: i64) {
        let session = self.sessions.entry(self.hasher.hash_one(key)).or_default();
        let more = counted.with(session.last, u64::saturating_sub);
        *session = Session { last: session.last.with(counted, u64::max), seen: now };
        self.book(account, more);
    }

    /// Ends the look: forgets sessions that are gone for long, and the oldest of the accounts
    /// without a session where there are too many of them.
    pub fn end(&mut self, now: i64) {
        self.sessions.retain(|_, session| now.saturating_sub(session.seen) <= REMEMBERED);
        let round = self.round;
        let mut idle: Vec<u32> =
            self.accounts.iter().map(|account| account.round).filter(|seen| *seen < round).collect();
        let Some(excess) = idle.len().checked_sub(self.most).and_then(|excess| excess.checked_sub(1)) else { return };
        idle.sort_unstable();
        let limit = idle.get(excess).copied().unwrap_or_default();
        // Of those that ended together at the limit only as many go as must.
        let mut ties = idle.iter().take(excess.saturating_add(1)).filter(|seen| **seen == limit).count();
        self.accounts.retain(|account| {
            let tie = account.round == limit && ties > 0;
            ties = ties.saturating_sub(usize::from(tie));
            account.round >= limit && !tie
        });
        let hasher = &self.hasher;
        let places = self.accounts.iter().enumerate().map(|(place, account)| (hasher.hash_one(&*account.name), place));
        self.places = places.collect();
    }

    /// How many sessions are known.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Every account and what all its sessions came to, in the order in which they were first seen.
    pub fn totals(&self) -> impl Iterator<Item = (&str, Traffic)> {
        self.accounts.iter().map(|account| (&*account.name, account.total))
    }

    fn book(&mut self, name: &str, more: Traffic) {
        let place = *self.places.entry(self.hasher.hash_one(name)).or_insert(self.accounts.len());
        match self.accounts.get_mut(place) {
            Some(account) => {
                account.total = account.total.with(more, u64::saturating_add);
                account.round = self.round;
            }
            None => self.accounts.push(Account { name: name.into(), total: more, round: self.round }),
        }
    }
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
            ledger.see(account, key, *counted, now);
        }
        ledger.end(now);
    }

    fn total(ledger: &Ledger, name: &str) -> Option<Traffic> {
        ledger.totals().find(|(account, _)| *account == name).map(|(_, total)| total)
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
        let names: Vec<_> = ledger.totals().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["live", "b", "c", "d"], "d is not finished yet");
        look(&mut ledger, 5, &[]);
        assert_eq!(ledger.totals().count(), 2);
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
        let names: Vec<_> = ledger.totals().map(|(name, _)| name.to_owned()).collect();
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
}
