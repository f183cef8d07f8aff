//! Who may ask: names and password hashes, and a memory of what was right before.
//!
//! A password costs one bcrypt the first time; after that a keyed hash of it is known, so that a weak CPU does
//! not work at every scrape. Wrong passwords cost one each: only one is computed at a time and few wait for it.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Credentials;
use crate::bcrypt::Hash;
use crate::collector::{Deadline, Turn};
use crate::siphash::Key;

/// The most that wait for a bcrypt, all peers together and each peer.
const MOST_WAITING: usize = 8;
const MOST_OF_A_PEER: usize = 2;

/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// Names and the hashes of their passwords; without any, everybody may ask.
#[derive(Debug)]
pub struct Users {
    hashes: Vec<(String, Hash)>,
    /// Of each user the password that was right last, as a keyed hash.
    verified: Mutex<Vec<(String, u64)>>,
    key: Key,
    waiting: Mutex<Vec<IpAddr>>,
    turn: Turn<()>,
}

/// Whether somebody may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Yes.
    Granted,
    /// No: no user, or not that user's password.
    Denied,
    /// Too many want to know at the same time.
    Busy,
}

/// A place among those who wait; it is free again when this is dropped.
struct Place<'a> {
    waiting: &'a Mutex<Vec<IpAddr>>,
    peer: IpAddr,
}

impl Users {
    /// These users.
    pub fn new(hashes: Vec<(String, Hash)>) -> Self {
        let secret = RandomState::new();
        let [a, b, c, d, e, f, g, h] = secret.hash_one(0).to_le_bytes();
        let [i, j, k, l, m, n, o, p] = secret.hash_one(1).to_le_bytes();
        Self {
            hashes,
            verified: Mutex::default(),
            key: Key::new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]),
            waiting: Mutex::default(),
            turn: Turn::new(()),
        }
    }

    /// Whether a peer may ask with these credentials. A user that does not exist takes as long as one that does.
    pub fn check(&self, credentials: Option<&Credentials>, peer: IpAddr) -> Auth {
        // The costliest hash stands in for those of users that don't exist.
        let Some(stranger) = self.hashes.iter().map(|(_, hash)| hash).max_by_key(|hash| hash.cost()) else {
            return Auth::Granted;
        };
        let Some(Credentials { user, password }) = credentials else { return Auth::Denied };
        let tag = self.tag(user, password);
        if self.was_right(user, tag) {
            return Auth::Granted;
        }
        let Some(_place) = Place::take(&self.waiting, peer) else { return Auth::Busy };
        let Ok(_turn) = self.turn.take(Deadline::within(PATIENCE), "users") else { return Auth::Busy };
        // While it waited another request of the same scraper may have had it computed.
        if self.was_right(user, tag) {
            return Auth::Granted;
        }
        let known = self.hashes.iter().find(|(name, _)| name == user).map(|(_, hash)| hash);
        let is_right = known.unwrap_or(stranger).is_of(password);
        if known.is_none() || !is_right {
            return Auth::Denied;
        }
        let mut verified = lock(&self.verified);
        verified.retain(|(name, _)| name != user);
        verified.push((user.clone(), tag));
        Auth::Granted
    }

    fn was_right(&self, user: &str, tag: u64) -> bool {
        lock(&self.verified).iter().any(|(name, known)| name == user && *known == tag)
    }

    fn tag(&self, user: &str, password: &[u8]) -> u64 {
        let mut bytes = Vec::with_capacity(user.len().saturating_add(password.len()).saturating_add(8));
        bytes.extend_from_slice(&(user.len() as u64).to_le_bytes());
        bytes.extend_from_slice(user.as_bytes());
        bytes.extend_from_slice(password);
        self.key.hash(&bytes)
    }
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<Vec<IpAddr>>, peer: IpAddr) -> Option<Self> {
        let mut places = lock(waiting);
        let own = places.iter().filter(|other| **other == peer).count();
        if places.len() >= MOST_WAITING || own >= MOST_OF_A_PEER {
            return None;
        }
        places.push(peer);
        Some(Self { waiting, peer })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = lock(self.waiting);
        if let Some(place) = places.iter().position(|peer| *peer == self.peer) {
            places.remove(place);
        }
    }
}

/// Every update here is a single step: what a panic left stands.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn users(cost: u32) -> Users {
        let hash = |password: &str| Hash::new(password.as_bytes(), cost, [3; 16]);
        Users::new([("ann".to_owned(), hash("secret")), ("bob".to_owned(), hash("other"))].into())
    }

    fn credentials(user: &str, password: &str) -> Credentials {
        Credentials { user: user.into(), password: password.into() }
    }

    #[test]
    fn only_a_user_with_its_own_password_is_welcome() {
        let users = users(4);
        for (user, password, expected) in [
            ("ann", "secret", Auth::Granted),
            ("ann", "secret", Auth::Granted),
            ("ann", "other", Auth::Denied),
            ("ann", "", Auth::Denied),
            ("bob", "other", Auth::Granted),
            ("bob", "secret", Auth::Denied),
            ("carol", "secret", Auth::Denied),
            ("", "", Auth::Denied),
            ("annsecret", "", Auth::Denied),
        ] {
            assert_eq!(users.check(Some(&credentials(user, password)), HERE), expected, "{user} {password}");
        }
        assert_eq!(users.check(None, HERE), Auth::Denied);
        assert_eq!(Users::new(Vec::new()).check(None, HERE), Auth::Granted);
    }

    #[test]
    fn a_right_password_is_computed_once_and_a_wrong_one_forgets_nothing() {
        let users = users(8);
        let time = |user, password| {
            let started = Instant::now();
            users.check(Some(&credentials(user, password)), HERE);
            started.elapsed()
        };
        let first = time("ann", "secret");
        assert!(time("ann", "secret") < first / 10, "the first took {first:?}");
        assert!(time("ann", "wrong") > first / 10, "a wrong one is computed");
        assert!(time("ann", "wrong") > first / 10, "and never remembered");
        assert!(time("nobody", "secret") > first / 10, "a stranger costs as much");
        assert!(time("ann", "secret") < first / 10);
        assert_eq!(lock(&users.verified).len(), 1);
    }

    #[test]
    fn few_wait_and_those_who_are_known_never_do() {
        let users = users(4);
        assert_eq!(users.check(Some(&credentials("ann", "secret")), HERE), Auth::Granted);
        let places: Vec<_> = (0..3).map(|_| Place::take(&users.waiting, HERE)).collect();
        assert_eq!(places.iter().flatten().count(), MOST_OF_A_PEER);
        assert_eq!(users.check(Some(&credentials("ann", "wrong")), HERE), Auth::Busy);
        assert_eq!(users.check(Some(&credentials("ann", "secret")), HERE), Auth::Granted);
        let elsewhere = |last| IpAddr::from([192, 0, 2, last]);
        assert_eq!(users.check(Some(&credentials("ann", "wrong")), elsewhere(1)), Auth::Denied);
        let others: Vec<_> = (0..20).map(|last| Place::take(&users.waiting, elsewhere(last))).collect();
        assert_eq!(others.iter().flatten().count(), MOST_WAITING - MOST_OF_A_PEER);
        drop((places, others));
        assert!(lock(&users.waiting).is_empty());
    }
}
