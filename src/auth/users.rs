//! Checks users and passwords, and remembers correct passwords.
//!
//! A correct password costs one bcrypt check the first time; then a keyed hash of it is remembered, so that a slow CPU does
//! not compute bcrypt at every scrape. Each wrong password costs one check: `queue` decides which is checked next.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Credentials;
use super::queue::{Queue, Step, Ticket};
use crate::bcrypt::Hash;
use crate::lock::lock;
use crate::siphash::Key;

/// How long a request waits until its password is checked.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The users and the hashes of their passwords; without users, every request is granted.
#[derive(Debug)]
pub struct Users {
    hashes: Vec<(String, Hash)>,
    /// The last correct password of each user, as a keyed hash.
    verified: Mutex<Vec<(String, u64)>>,
    key: Key,
    queue: Mutex<Queue>,
    /// Notified when a change of the queue concerns waiting requests.
    changed: Condvar,
}

/// The result of checking credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// The request is granted.
    Granted,
    /// No credentials, or a wrong user or password.
    Denied,
    /// Too many passwords are waiting to be checked.
    Busy,
}

impl Users {
    /// Users with the hashes of their passwords.
    pub fn new(hashes: Vec<(String, Hash)>) -> Self {
        let secret = RandomState::new();
        let [a, b, c, d, e, f, g, h] = secret.hash_one(0).to_le_bytes();
        let [i, j, k, l, m, n, o, p] = secret.hash_one(1).to_le_bytes();
        Self {
            hashes,
            verified: Mutex::default(),
            key: Key::new([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]),
            queue: Mutex::new(Queue::new(Instant::now())),
            changed: Condvar::new(),
        }
    }

    /// Checks a peer's credentials. An unknown user takes as long as a known one.
    pub fn check(&self, credentials: Option<&Credentials>, peer: IpAddr) -> Auth {
        // For unknown users the hash with the highest cost is computed.
        let Some(costliest) = self.hashes.iter().map(|(_, hash)| hash).max_by_key(|hash| hash.cost()) else {
            return Auth::Granted;
        };
        let Some(Credentials { user, password }) = credentials else { return Auth::Denied };
        // bcrypt repeats a key after its first NUL: `a` and `a NUL a` would be equal.
        if password.contains(&0) {
            return Auth::Denied;
        }
        let fingerprint = self.fingerprint(user, password);
        if self.was_right(user, fingerprint) {
            return Auth::Granted;
        }
        let Some(ticket) = self.update(|queue| queue.enter(peer, Instant::now())) else { return Auth::Busy };
        // Meanwhile another request may have had the same password checked.
        if let Some(auth) = self.wait(ticket, || self.was_right(user, fingerprint)) {
            return auth;
        }
        let known = self.hashes.iter().find(|(name, _)| name == user).map(|(_, hash)| hash);
        let is_right = known.unwrap_or(costliest).is_of(password) && known.is_some();
        if is_right {
            let mut verified = lock(&self.verified);
            verified.retain(|(name, _)| name != user);
            verified.push((user.clone(), fingerprint));
        }
        self.update(|queue| queue.finish(ticket, is_right, Instant::now()));
        if is_right { Auth::Granted } else { Auth::Denied }
    }

    /// Waits until this request has to check its password; returns the result if that is not necessary any more.
    fn wait(&self, ticket: Ticket, was_right: impl Fn() -> bool) -> Option<Auth> {
        let now = Instant::now();
        let deadline = now.checked_add(MAX_WAIT).unwrap_or(now);
        let mut queue = lock(&self.queue);
        let auth = loop {
            if was_right() {
                break Auth::Granted;
            }
            let now = Instant::now();
            let until = match queue.step(ticket, now) {
                Step::Compute => return None,
                Step::Refused => return Some(Auth::Busy),
                Step::Wait(until) => until.unwrap_or(deadline).min(deadline),
            };
            if now >= deadline {
                break Auth::Busy;
            }
            let time = until.saturating_duration_since(now);
            (queue, _) = self.changed.wait_timeout(queue, time).unwrap_or_else(PoisonError::into_inner);
        };
        drop(queue);
        self.update(|queue| queue.leave(ticket));
        Some(auth)
    }

    /// Changes the queue, and wakes waiting requests if necessary.
    fn update<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = lock(&self.queue);
        let result = change(&mut queue);
        if queue.take_changed() {
            self.changed.notify_all();
        }
        result
    }

    fn was_right(&self, user: &str, fingerprint: u64) -> bool {
        lock(&self.verified).iter().any(|(name, known)| name == user && *known == fingerprint)
    }

    fn fingerprint(&self, user: &str, password: &[u8]) -> u64 {
        let mut bytes = Vec::with_capacity(user.len().saturating_add(password.len()).saturating_add(8));
        bytes.extend_from_slice(&(user.len() as u64).to_le_bytes());
        bytes.extend_from_slice(user.as_bytes());
        bytes.extend_from_slice(password);
        self.key.hash(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(users: &Users, user: &str, password: impl AsRef<[u8]>, last: u8) -> Auth {
        let credentials = Credentials { user: user.into(), password: password.as_ref().into() };
        users.check(Some(&credentials), [192, 0, 2, last].into())
    }

    fn users() -> Users {
        let hash = |password: &str| Hash::new(password.as_bytes(), 4, [3; 16]);
        Users::new([("ann".to_owned(), hash("secret")), ("bob".to_owned(), hash("other"))].into())
    }

    fn computed(users: &Users) -> usize {
        lock(&users.queue).computed()
    }

    #[test]
    fn only_a_user_with_its_own_password_may_ask() {
        let users = users();
        for (last, (user, password, expected)) in [
            ("ann", "secret", Auth::Granted),
            ("ann", "secret", Auth::Granted),
            ("ann", "other", Auth::Denied),
            ("ann", "", Auth::Denied),
            ("bob", "other", Auth::Granted),
            ("bob", "secret", Auth::Denied),
            ("carol", "secret", Auth::Denied),
            ("carol", "other", Auth::Denied),
            ("carol", "secret", Auth::Denied),
            ("", "", Auth::Denied),
            ("annsecret", "", Auth::Denied),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(check(&users, user, password, last as u8), expected, "{user} {password}");
        }
        assert_eq!(users.check(None, [192, 0, 2, 1].into()), Auth::Denied);
        assert_eq!(Users::new(Vec::new()).check(None, [192, 0, 2, 1].into()), Auth::Granted);
    }

    #[test]
    fn a_right_password_is_computed_once_and_a_wrong_one_forgets_nothing() {
        let users = users();
        for (last, (user, password, expected)) in [
            ("ann", "secret", 1),
            ("ann", "secret", 1),
            ("ann", "wrong", 2),
            ("ann", "wrong", 3),
            ("nobody", "secret", 4),
            ("ann", "secret", 4),
            ("bob", "other", 5),
            ("bob", "other", 5),
        ]
        .into_iter()
        .enumerate()
        {
            check(&users, user, password, last as u8);
            assert_eq!(computed(&users), expected, "{user} {password}, no. {last}");
        }
        assert_eq!(lock(&users.verified).len(), 2);
    }

    #[test]
    fn a_nul_in_a_password_is_refused_before_it_is_computed() {
        let users = users();
        assert_eq!(check(&users, "ann", "secret", 1), Auth::Granted);
        for password in [&b"secret\0"[..], b"\0secret", b"secret\0secret", b"\0", b"secret\0wrong"] {
            assert_eq!(check(&users, "ann", password, 1), Auth::Denied, "{password:?}");
        }
        assert_eq!(computed(&users), 1);
    }

    #[test]
    fn a_verified_user_never_waits_and_of_peers_that_failed_one_does() {
        let users = users();
        assert_eq!(check(&users, "ann", "secret", 1), Auth::Granted);
        assert_eq!(check(&users, "ann", "wrong", 2), Auth::Denied);
        let place = lock(&users.queue).enter([192, 0, 2, 2].into(), Instant::now());
        assert!(place.is_some());
        assert_eq!(check(&users, "ann", "wrong", 2), Auth::Busy);
        assert_eq!(check(&users, "ann", "secret", 2), Auth::Granted);
        assert_eq!(computed(&users), 2);
    }

    #[test]
    fn requests_with_the_same_password_share_one_computation() {
        let users = users();
        let first = lock(&users.queue).enter([192, 0, 2, 1].into(), Instant::now()).unwrap();
        assert_eq!(lock(&users.queue).step(first, Instant::now()), Step::Compute);
        let granted = std::thread::scope(|threads| {
            let waiting = threads.spawn(|| check(&users, "ann", "secret", 2));
            while lock(&users.queue).enter([192, 0, 2, 2].into(), Instant::now()).is_some() {
                std::thread::yield_now();
            }
            let fingerprint = users.fingerprint("ann", b"secret");
            lock(&users.verified).push(("ann".into(), fingerprint));
            users.update(|queue| queue.finish(first, true, Instant::now()));
            waiting.join().unwrap()
        });
        assert_eq!((granted, computed(&users)), (Auth::Granted, 1), "the first one computes it");
    }

    #[test]
    fn of_a_user_one_right_password_is_remembered() {
        let long = "x".repeat(72);
        let users = Users::new(vec![("ann".to_owned(), Hash::new(long.as_bytes(), 4, [3; 16]))]);
        for more in ["", "a", "b"] {
            assert_eq!(check(&users, "ann", format!("{long}{more}"), 1), Auth::Granted, "{more}");
        }
        assert_eq!(lock(&users.verified).len(), 1);
    }

    #[test]
    fn where_a_name_ends_is_part_of_its_fingerprint() {
        let users = users();
        assert_ne!(users.fingerprint("ann", b"secret"), users.fingerprint("anns", b"ecret"));
        assert_ne!(users.fingerprint("ann", b"secret"), users.fingerprint("bob", b"secret"));
        assert_eq!(users.fingerprint("ann", b"secret"), users.fingerprint("ann", b"secret"));
    }
}
