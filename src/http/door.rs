//! The thread at the door: lets connections in, waits for their heads, and shows out whoever takes too long.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::answer;
use super::head::{self, Refusal};
use super::line::{Line, would_block};
use super::workers::{Job, Workers};
use super::{Guard, Limits};

/// How long to leave a listener alone that can't accept.
const PAUSE: Duration = Duration::from_millis(100);
/// How often to look after requests that wait for a thread.
const TICK: Duration = Duration::from_millis(25);
/// Connections let in before the others are looked after again.
const BATCH: usize = 64;
/// Pauses in a row after which the door will not hear again.
const DEAF: usize = 100;
/// After this long without another one, trouble is over.
const CALM: Duration = Duration::from_secs(60);

/// Where to listen, and whom to let in.
pub(super) struct Order {
    pub(super) listeners: Vec<Arc<TcpListener>>,
    pub(super) guard: Guard,
}

/// The next order, until it is carried out; a byte comes through `bell` for each, and goes back when it was heard.
pub(super) struct Orders {
    pub(super) bell: UnixStream,
    pub(super) next: Arc<Mutex<Option<Order>>>,
}

pub(super) struct Door {
    listeners: Vec<Arc<TcpListener>>,
    guard: Guard,
    orders: Option<Orders>,
    guests: Vec<Guest>,
    workers: Arc<Workers>,
    limits: Limits,
    /// No accepting until then.
    paused: Option<Instant>,
    trouble: Trouble,
}

/// A connection without a complete request.
struct Guest {
    line: Line,
    peer: Peer,
    /// When its stage is over.
    until: Instant,
    stage: Stage,
}

enum Stage {
    /// Its head, so far.
    Reading(Vec<u8>),
    /// Refused; this many more bytes of it are thrown away until it closes.
    Leaving(usize),
}

/// What a guest's words come to.
enum Heard {
    Head(head::Head),
    Wrong(Refusal),
    /// Not yet anything.
    Part,
    End,
}

/// Whom a connection counts against: an IPv4 address, or the /64 of an IPv6 one, which is one household.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn address(self) -> IpAddr {
        self.0
    }

    pub(super) fn new(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self(address),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Says once that something began and once that it is over, however often a peer can make it happen.
#[derive(Default)]
pub(super) struct Trouble {
    last: Option<Instant>,
}

impl Trouble {
    pub(super) fn begins(&mut self, what: &str) {
        if self.last.replace(Instant::now()).is_none() {
            log::warn!("{what}");
        }
    }

    /// Called whenever it went well.
    pub(super) fn over(&mut self, what: &str) {
        if self.last.is_some_and(|last| last.elapsed() >= CALM) {
            self.last = None;
            log::info!("{what}");
        }
    }
}

/// The place of the first one of the peer that is there most often; of several such peers, the first.
pub(super) fn greediest(peers: impl Iterator<Item = Peer>) -> Option<usize> {
    let mut counts = HashMap::new();
    for (place, peer) in peers.enumerate() {
        let (count, _) = counts.entry(peer).or_insert((0_usize, Reverse(place)));
        *count = count.saturating_add(1);
    }
    counts.into_values().max().map(|(_, Reverse(first))| first)
}

impl Guest {
    fn new(line: Line, peer: Peer, time: Duration, stage: Stage) -> Self {
        let now = Instant::now();
        Self { line, peer, until: now.checked_add(time).unwrap_or(now), stage }
    }
}

impl Door {
    pub(super) fn new(order: Order, orders: Option<Orders>, limits: Limits, workers: Arc<Workers>) -> io::Result<Self> {
        let Order { listeners, guard } = order;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let trouble = Trouble::default();
        Ok(Self { listeners, guard, orders, guests: Vec::new(), workers, limits, paused: None, trouble })
    }

    /// Returns only when waiting for connections fails for good.
    pub(super) fn run(mut self) {
        let mut failures = 0_usize;
        while failures < DEAF {
            let (knocking, speaking, is_ordered) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.bear(error);
                    continue;
                }
            };
            failures = 0;
            self.hear(&speaking);
            self.admit(&knocking);
            self.expire();
            if is_ordered {
                self.obey();
            }
            for job in self.workers.relieve() {
                self.refuse(job.line, job.peer, Refusal::Full);
            }
        }
    }

    /// Takes over what was ordered meanwhile.
    fn obey(&mut self) {
        let Some(Orders { bell, next }) = &self.orders else { return };
        let rung = (&*bell).read(&mut [0; 64]);
        // Kept until the order is carried out: whoever finds it gone may rely on that.
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = next.take() {
            self.listeners = order.listeners;
            self.guard = order.guard;
            self.paused = None;
        }
        drop(next);
        // Whoever ordered it may have stopped waiting.
        let _ = (&*bell).write(&[0]);
        if matches!(rung, Ok(0)) {
            self.orders = None;
        }
    }

    /// Sleeps until something happens; says which listeners and which guests have something, and whether
    /// there is an order.
    fn wait(&mut self) -> io::Result<(Vec<bool>, Vec<bool>, bool)> {
        let now = Instant::now();
        self.paused = self.paused.filter(|until| *until > now);
        let tick = self.workers.are_awaited().then(|| now.checked_add(TICK)).flatten();
        let next = self.guests.iter().map(|guest| guest.until).chain(self.paused).chain(tick).min();
        // A little late rather than early, so as not to spin.
        let timeout = next.map(|next| next.saturating_duration_since(now).saturating_add(Duration::from_millis(1)));
        let timeout = timeout.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let open = if self.paused.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let listeners = self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), open));
        let guests = self.guests.iter().map(|guest| PollFd::new(guest.line.stream.as_fd(), PollFlags::POLLIN));
        let orders = self.orders.iter().map(|orders| PollFd::new(orders.bell.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = listeners.chain(guests).chain(orders).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any() == Some(true));
        let knocking = ready.by_ref().take(self.listeners.len()).collect();
        let speaking = ready.by_ref().take(self.guests.len()).collect();
        Ok((knocking, speaking, ready.next() == Some(true)))
    }

    /// poll fails where memory or the descriptor limit was taken from under us: without guests it needs next to none.
    fn bear(&mut self, error: io::Error) {
        self.trouble.begins(&format!("http: cannot wait for connections: {error}"));
        self.guests.clear();
        std::thread::sleep(PAUSE);
    }

    /// Reads what guests say.
    fn hear(&mut self, speaking: &[bool]) {
        let guests = std::mem::take(&mut self.guests);
        for (guest, speaks) in guests.into_iter().zip(speaking) {
            if *speaks {
                self.attend(guest);
            } else {
                self.guests.push(guest);
            }
        }
    }

    fn attend(&mut self, mut guest: Guest) {
        match &mut guest.stage {
            Stage::Leaving(most) => {
                if let Some(left) = guest.line.ignore(*most) {
                    *most = left;
                    self.keep(guest);
                }
            }
            Stage::Reading(head) => match read_head(&mut guest.line, head, self.limits.head_bytes) {
                Heard::Head(head) => self.pass_on(guest, head),
                Heard::Wrong(refusal) => self.refuse(guest.line, guest.peer, refusal),
                Heard::Part => self.keep(guest),
                Heard::End => {}
            },
        }
    }

    fn pass_on(&mut self, guest: Guest, mut head: head::Head) {
        head.request.peer = guest.peer.address();
        let job = Job { line: guest.line, peer: guest.peer, head, since: Instant::now() };
        if let Some(job) = self.workers.take(job) {
            self.refuse(job.line, job.peer, Refusal::Full);
        }
    }

    /// Lets newcomers in.
    fn admit(&mut self, knocking: &[bool]) {
        for place in 0..self.listeners.len() {
            if knocking.get(place) != Some(&true) {
                continue;
            }
            for _ in 0..BATCH {
                let Some(listener) = self.listeners.get(place) else { break };
                match listener.accept() {
                    Ok((stream, address)) => self.welcome(stream, address.ip()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_its_own(&error) => {}
                    Err(error) => {
                        self.trouble.begins(&format!("http: cannot accept connections: {error}"));
                        // Descriptors are what it lacks as a rule, and a guest has one.
                        if !self.evict() {
                            self.paused = Instant::now().checked_add(PAUSE);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn welcome(&mut self, stream: TcpStream, address: IpAddr) {
        let peer = Peer::new(address);
        self.trouble.over("http: accepting connections again");
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let Some(line) = Line::new(stream, self.guard.tls.as_ref()) else { return };
        if self.guard.allow.as_ref().is_some_and(|allow| !allow.contains(address)) {
            return self.refuse(line, peer, Refusal::Forbidden);
        }
        // In a crowd its head is already there: it need not stand in the way.
        self.attend(Guest::new(line, peer, self.limits.head_time, Stage::Reading(Vec::new())));
    }

    /// Answers without waiting.
    fn refuse(&mut self, mut line: Line, peer: Peer, refusal: Refusal) {
        log::debug!("http: {peer}: refused: {refusal:?}");
        if line.take_leave(&answer::print_refusal(refusal)).is_ok() {
            self.keep(Guest::new(line, peer, self.limits.linger_time, Stage::Leaving(self.limits.linger_bytes)));
        }
    }

    fn keep(&mut self, guest: Guest) {
        while self.guests.len() >= self.limits.connections && self.evict() {}
        self.guests.push(guest);
    }

    /// Shows the oldest guest of the greediest peer out, so that strangers can't keep the scraper out.
    fn evict(&mut self) -> bool {
        let place = greediest(self.guests.iter().map(|guest| guest.peer));
        place.map(|place| self.guests.remove(place)).is_some()
    }

    /// Guests whose time is up: a head is answered with 408, the others just go.
    fn expire(&mut self) {
        let now = Instant::now();
        let (over, guests): (Vec<Guest>, _) = self.guests.drain(..).partition(|guest| guest.until <= now);
        self.guests = guests;
        for guest in over {
            if matches!(guest.stage, Stage::Reading(_)) {
                self.refuse(guest.line, guest.peer, Refusal::TooSlow);
            }
        }
    }
}

/// What is there of a head; `head` has what was there before.
fn read_head(line: &mut Line, head: &mut Vec<u8>, most: usize) -> Heard {
    if line.is_mistaken() {
        return Heard::Wrong(Refusal::Plain);
    }
    let mut buffer = [0; 4096];
    loop {
        let space = buffer.len().min(most.saturating_sub(head.len()));
        let said = match line.read(buffer.get_mut(..space).unwrap_or_default()) {
            Ok(read @ 1..) => buffer.get(..read).unwrap_or_default(),
            result if would_block(&result) => return Heard::Part,
            _ => return Heard::End,
        };
        // Only a line end can complete a head: one that drips is not parsed anew at every drop.
        let tells = head.is_empty() || said.contains(&b'\n');
        head.extend_from_slice(said);
        match if tells { head::parse(head) } else { Ok(None) } {
            Ok(Some(head)) => return Heard::Head(head),
            Ok(None) if head.len() >= most => return Heard::Wrong(Refusal::TooLong),
            Ok(None) => {}
            Err(refusal) => return Heard::Wrong(refusal),
        }
    }
}

/// An error of the connection that was to be accepted, not of the listener (accept(2) lists them).
fn is_its_own(error: &io::Error) -> bool {
    use nix::libc;
    let network = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPERM,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENONET,
        libc::EOPNOTSUPP,
    ];
    error.raw_os_error().is_some_and(|code| network.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer::new(address.parse().unwrap())
    }

    #[test]
    fn a_household_is_one_peer() {
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("::ffff:192.0.2.1"), peer("::ffff:192.0.2.2"));
        assert_ne!(peer("::1"), peer("127.0.0.1"));
    }

    #[test]
    fn the_oldest_of_the_greediest_goes_first() {
        let place = |peers: &[&str]| greediest(peers.iter().map(|one| peer(one)));
        assert_eq!(place(&[]), None);
        assert_eq!(place(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.2"]), Some(1));
        assert_eq!(place(&["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"]), Some(1));
        assert_eq!(place(&["192.0.2.3", "192.0.2.2", "192.0.2.1"]), Some(0), "all alike: the oldest");
    }

    #[test]
    fn trouble_is_said_once() {
        let mut trouble = Trouble::default();
        trouble.begins("it");
        let first = trouble.last;
        trouble.over("it is over");
        assert_eq!(trouble.last, first, "not yet over: it may come again at once");
        trouble.last = Instant::now().checked_sub(CALM);
        trouble.over("it is over");
        assert!(trouble.last.is_none());
    }
}
