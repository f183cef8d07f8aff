//! The host names that rules use, and their addresses.
//!
//! The system's resolver may block for long, so one thread looks up all names, one after the other.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::lock::lock;
use crate::sys::thread::{self, LARGE_STACK};

/// How long to wait before names without an address are looked up again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long addresses are used before all names are looked up again: peers may have dynamic addresses.
const RENEW_AFTER: Duration = Duration::from_secs(300);

/// The system's resolver, which may block for long.
pub(super) type Resolve = fn(&str) -> Result<Vec<IpAddr>, Error>;

/// What is known of a host name: its addresses, or why there are none.
type Answer = Result<Vec<IpAddr>, Error>;

/// What is known of all host names, sorted by name.
pub(super) type Answers = Vec<(String, Answer)>;

/// The host names that rules use.
pub(super) struct Hosts {
    resolve: Resolve,
    state: Mutex<HostsState>,
    done: Condvar,
}

struct HostsState {
    answers: Answers,
    /// When names were last looked up.
    tried: Option<Instant>,
    /// When all names were last looked up.
    renewed: Option<Instant>,
    busy: bool,
}

impl Hosts {
    /// These names, with the addresses of those that are in `before`.
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>, before: &Answers, resolve: Resolve) -> Self {
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        let known = |name: &str| before.iter().find(|(other, answer)| other == name && answer.is_ok());
        let answer = |name: String| {
            let answer = known(&name).map(|(_, answer)| answer.clone());
            let answer = answer.unwrap_or_else(|| Err(Error::new(name.as_str(), ErrorKind::TimedOut)));
            (name, answer)
        };
        let answers = names.into_iter().map(answer).collect();
        let state = HostsState { answers, tried: None, renewed: None, busy: false };
        Self { resolve, state: Mutex::new(state), done: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, HostsState> {
        lock(&self.state)
    }

    pub(super) fn answers(&self) -> Answers {
        self.state().answers.clone()
    }

    /// Starts a thread that looks up the names that are due at `now`: those without an address [`RETRY_AFTER`] after
    /// the last attempt, all of them after [`RENEW_AFTER`]. Returns whether there were any; none are due while a thread
    /// is at work.
    pub(super) fn look_up(self: &Arc<Self>, now: Instant) -> bool {
        let pending = self.state().begin(now);
        if pending.is_empty() {
            return false;
        }
        let hosts = Arc::clone(self);
        let look_up = move || {
            for name in pending {
                let answer = (hosts.resolve)(&name);
                hosts.state().note(&name, answer);
            }
            hosts.state().busy = false;
            hosts.done.notify_all();
        };
        if thread::spawn("resolver", LARGE_STACK, Box::new(look_up)).is_err() {
            self.state().busy = false;
        }
        true
    }

    /// Waits until the thread has ended, at most `max_wait`.
    pub(super) fn wait(&self, max_wait: Duration) {
        drop(self.done.wait_timeout_while(self.state(), max_wait, |state| state.busy));
    }
}

impl HostsState {
    /// The names that are due at `now`; marks them as being looked up.
    fn begin(&mut self, now: Instant) -> Vec<String> {
        let passed =
            |since: Option<Instant>, time| since.is_none_or(|since| now.saturating_duration_since(since) >= time);
        if self.busy || !passed(self.tried, RETRY_AFTER) {
            return Vec::new();
        }
        let all = passed(self.renewed, RENEW_AFTER);
        if all {
            self.renewed = Some(now);
        }
        let pending: Vec<String> =
            self.answers.iter().filter(|(_, answer)| all || answer.is_err()).map(|(name, _)| name.clone()).collect();
        if !pending.is_empty() {
            (self.tried, self.busy) = (Some(now), true);
        }
        pending
    }

    /// Stores an answer. A name keeps its addresses if it can't be looked up: a failure of the resolver says nothing
    /// about the peer.
    fn note(&mut self, name: &str, answer: Answer) {
        let known = self.answers.iter_mut().find(|(other, _)| other == name);
        if let Some((_, known)) = known.filter(|(_, known)| answer.is_ok() || known.is_err()) {
            *known = answer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn answer_of<'a>(answers: &'a Answers, name: &str) -> Option<&'a Answer> {
        answers.iter().find(|(other, _)| other == name).map(|(_, answer)| answer)
    }

    #[test]
    fn names_are_looked_up_by_one_thread_and_again_after_a_minute() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static GATE: Mutex<()> = Mutex::new(());
        let resolve: Resolve = |name| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            drop(GATE.lock());
            if name == "a.example" { Ok(vec![IpAddr::from([192, 0, 2, 1])]) } else { Err(no_such(name)) }
        };
        fn no_such(name: &str) -> Error {
            Error::new(name, ErrorKind::NotFound)
        }
        let names = ["a.example", "b.example", "a.example"].into_iter();
        let hosts = Arc::new(Hosts::new(names, &Answers::new(), resolve));
        let start = Instant::now();
        let shut = GATE.lock().unwrap();
        assert!(hosts.look_up(start));
        let much_later = start + Duration::from_secs(600);
        assert!(!hosts.look_up(much_later), "one is at work");
        assert_eq!(hosts.answers()[0].1, Err(Error::new("a.example", ErrorKind::TimedOut)));
        drop(shut);
        hosts.wait(Duration::from_secs(60));
        assert_eq!(hosts.answers()[0].1, Ok(vec![IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(hosts.answers()[1].1, Err(no_such("b.example")));
        assert_eq!(CALLS.load(Ordering::SeqCst), 2);
        assert!(!hosts.look_up(start + Duration::from_secs(59)), "too early");
        assert!(hosts.look_up(start + Duration::from_secs(60)));
        hosts.wait(Duration::from_secs(60));
        assert_eq!(CALLS.load(Ordering::SeqCst), 3, "only the name without an address");
    }

    #[test]
    fn addresses_are_renewed_and_kept_while_nobody_knows_better() {
        static ROUND: AtomicUsize = AtomicUsize::new(0);
        let resolve: Resolve = |name| match (ROUND.load(Ordering::SeqCst), name) {
            (0, "new.example") | (2, _) => Err(Error::new(name, ErrorKind::NotFound)),
            (round, _) => Ok(vec![IpAddr::from([192, 0, 2, round as u8])]),
        };
        let old = Ok(vec![IpAddr::from([192, 0, 2, 99])]);
        let before = vec![("gone.example".into(), old.clone()), ("old.example".into(), old.clone())];
        let hosts = Arc::new(Hosts::new(["old.example", "new.example"].into_iter(), &before, resolve));
        let start = Instant::now();
        let look = |seconds: u64| {
            let looks = hosts.look_up(start + Duration::from_secs(seconds));
            hosts.wait(Duration::from_secs(60));
            let last = |name: &str| match answer_of(&hosts.answers(), name) {
                Some(Ok(addresses)) => addresses.first().map(|address| address.to_string()),
                _ => None,
            };
            (looks, last("old.example"), last("new.example"))
        };
        assert_eq!(answer_of(&hosts.answers(), "old.example"), Some(&old), "until it is looked up");
        assert_eq!(look(0), (true, Some("192.0.2.0".into()), None));
        ROUND.store(1, Ordering::SeqCst);
        assert_eq!(look(60), (true, Some("192.0.2.0".into()), Some("192.0.2.1".into())));
        assert_eq!(look(299), (false, Some("192.0.2.0".into()), Some("192.0.2.1".into())));
        assert_eq!(look(300), (true, Some("192.0.2.1".into()), Some("192.0.2.1".into())));
        ROUND.store(2, Ordering::SeqCst);
        assert_eq!(look(600), (true, Some("192.0.2.1".into()), Some("192.0.2.1".into())), "nobody knows better");
        assert_eq!(hosts.answers().len(), 2);
    }
}
