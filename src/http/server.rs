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

use super::parse::{self, Reject};
use super::pool::{Job, Pool};
use super::stream::{Stream, would_block};
use super::write;
use super::{AccessControl, Limits};

/// How long to leave a listener alone that can't accept.
const PAUSE: Duration = Duration::from_millis(100);
/// How often to look after requests that wait for a thread.
const TICK: Duration = Duration::from_millis(25);
/// Connections let in before the others are looked after again.
const BATCH: usize = 64;
/// Pauses in a row after which the door will not read_ready again.
const DEAF: usize = 100;
/// After this long without another one, trouble is over.
const CALM: Duration = Duration::from_secs(60);

/// Where to listen, and whom to let in.
pub(super) struct Reconfigure {
    pub(super) listeners: Vec<Arc<TcpListener>>,
    pub(super) access: AccessControl,
}

/// The next order, until it is carried out; a byte comes through `waker` for each, and goes back when it was heard.
pub(super) struct Reconfigures {
    pub(super) waker: UnixStream,
    pub(super) next: Arc<Mutex<Option<Reconfigure>>>,
}

pub(super) struct Server {
    listeners: Vec<Arc<TcpListener>>,
    access: AccessControl,
    reconfigures: Option<Reconfigures>,
    connections: Vec<Connection>,
    pool: Arc<Pool>,
    limits: Limits,
    /// No accepting until then.
    paused: Option<Instant>,
    trouble: LogOnce,
}

/// A connection without a complete request.
struct Connection {
    stream: Stream,
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

/// What a connection's words come to.
enum Heard {
    Head(parse::Head),
    Wrong(Reject),
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
pub(super) struct LogOnce {
    last: Option<Instant>,
}

impl LogOnce {
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
pub(super) fn heaviest_peer(peers: impl Iterator<Item = Peer>) -> Option<usize> {
    let mut counts = HashMap::new();
    for (place, peer) in peers.enumerate() {
        let (count, _) = counts.entry(peer).or_insert((0_usize, Reverse(place)));
        *count = count.saturating_add(1);
    }
    counts.into_values().max().map(|(_, Reverse(first))| first)
}

impl Connection {
    fn new(stream: Stream, peer: Peer, time: Duration, stage: Stage) -> Self {
        let now = Instant::now();
        Self { stream, peer, until: now.checked_add(time).unwrap_or(now), stage }
    }
}

impl Server {
    pub(super) fn new(
        order: Reconfigure,
        reconfigures: Option<Reconfigures>,
        limits: Limits,
        pool: Arc<Pool>,
    ) -> io::Result<Self> {
        let Reconfigure { listeners, access } = order;
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let trouble = LogOnce::default();
        Ok(Self { listeners, access, reconfigures, connections: Vec::new(), pool, limits, paused: None, trouble })
    }

    /// Returns only when waiting for connections fails for good.
    pub(super) fn run(mut self) {
        let mut failures = 0_usize;
        while failures < DEAF {
            let (acceptable, readable, is_ordered) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.on_error(error);
                    continue;
                }
            };
            failures = 0;
            self.read_ready(&readable);
            self.accept(&acceptable);
            self.expire();
            if is_ordered {
                self.apply_config();
            }
            for job in self.pool.relieve() {
                self.refuse(job.stream, job.peer, Reject::Full);
            }
        }
    }

    /// Takes over what was ordered meanwhile.
    fn apply_config(&mut self) {
        let Some(Reconfigures { waker, next }) = &self.reconfigures else { return };
        let rung = (&*waker).read(&mut [0; 64]);
        // Kept until the order is carried out: whoever finds it gone may rely on that.
        let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = next.take() {
            self.listeners = order.listeners;
            self.access = order.access;
            self.paused = None;
        }
        drop(next);
        // Whoever ordered it may have stopped waiting.
        let _ = (&*waker).write(&[0]);
        if matches!(rung, Ok(0)) {
            self.reconfigures = None;
        }
    }

    /// Sleeps until something happens; says which listeners and which connections have something, and whether
    /// there is an order.
    fn wait(&mut self) -> io::Result<(Vec<bool>, Vec<bool>, bool)> {
        let now = Instant::now();
        self.paused = self.paused.filter(|until| *until > now);
        let tick = self.pool.are_awaited().then(|| now.checked_add(TICK)).flatten();
        let next = self.connections.iter().map(|connection| connection.until).chain(self.paused).chain(tick).min();
        // A little late rather than early, so as not to spin.
        let timeout = next.map(|next| next.saturating_duration_since(now).saturating_add(Duration::from_millis(1)));
        let timeout = timeout.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let open = if self.paused.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let listeners = self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), open));
        let connections =
            self.connections.iter().map(|connection| PollFd::new(connection.stream.socket.as_fd(), PollFlags::POLLIN));
        let reconfigures =
            self.reconfigures.iter().map(|reconfigures| PollFd::new(reconfigures.waker.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = listeners.chain(connections).chain(reconfigures).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any() == Some(true));
        let acceptable = ready.by_ref().take(self.listeners.len()).collect();
        let readable = ready.by_ref().take(self.connections.len()).collect();
        Ok((acceptable, readable, ready.next() == Some(true)))
    }

    /// poll fails where memory or the descriptor limit was taken from under us: without connections it needs next to none.
    fn on_error(&mut self, error: io::Error) {
        self.trouble.begins(&format!("http: cannot wait for connections: {error}"));
        self.connections.clear();
        std::thread::sleep(PAUSE);
    }

    /// Reads what connections say.
    fn read_ready(&mut self, readable: &[bool]) {
        let connections = std::mem::take(&mut self.connections);
        for (connection, speaks) in connections.into_iter().zip(readable) {
            if *speaks {
                self.attend(connection);
            } else {
                self.connections.push(connection);
            }
        }
    }

    fn attend(&mut self, mut connection: Connection) {
        match &mut connection.stage {
            Stage::Leaving(most) => {
                if let Some(left) = connection.stream.ignore(*most) {
                    *most = left;
                    self.keep(connection);
                }
            }
            Stage::Reading(head) => match read_head(&mut connection.stream, head, self.limits.head_bytes) {
                Heard::Head(head) => self.pass_on(connection, head),
                Heard::Wrong(refusal) => self.refuse(connection.stream, connection.peer, refusal),
                Heard::Part => self.keep(connection),
                Heard::End => {}
            },
        }
    }

    fn pass_on(&mut self, connection: Connection, mut head: parse::Head) {
        head.request.peer = connection.peer.address();
        let job = Job { stream: connection.stream, peer: connection.peer, head, since: Instant::now() };
        if let Some(job) = self.pool.take(job) {
            self.refuse(job.stream, job.peer, Reject::Full);
        }
    }

    /// Lets newcomers in.
    fn accept(&mut self, acceptable: &[bool]) {
        for place in 0..self.listeners.len() {
            if acceptable.get(place) != Some(&true) {
                continue;
            }
            for _ in 0..BATCH {
                let Some(listener) = self.listeners.get(place) else { break };
                match listener.accept() {
                    Ok((socket, address)) => self.welcome(socket, address.ip()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_its_own(&error) => {}
                    Err(error) => {
                        self.trouble.begins(&format!("http: cannot accept connections: {error}"));
                        // Descriptors are what it lacks as a rule, and a connection has one.
                        if !self.evict() {
                            self.paused = Instant::now().checked_add(PAUSE);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn welcome(&mut self, socket: TcpStream, address: IpAddr) {
        let peer = Peer::new(address);
        self.trouble.over("http: accepting connections again");
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let Some(stream) = Stream::new(socket, self.access.tls.as_ref()) else { return };
        if self.access.allow.as_ref().is_some_and(|allow| !allow.contains(address)) {
            return self.refuse(stream, peer, Reject::Forbidden);
        }
        // In a crowd its head is already there: it need not stand in the way.
        self.attend(Connection::new(stream, peer, self.limits.head_time, Stage::Reading(Vec::new())));
    }

    /// Answers without waiting.
    fn refuse(&mut self, mut stream: Stream, peer: Peer, refusal: Reject) {
        log::debug!("http: {peer}: refused: {refusal:?}");
        if stream.take_leave(&write::print_reject(refusal)).is_ok() {
            self.keep(Connection::new(stream, peer, self.limits.linger_time, Stage::Leaving(self.limits.linger_bytes)));
        }
    }

    fn keep(&mut self, connection: Connection) {
        while self.connections.len() >= self.limits.connections && self.evict() {}
        self.connections.push(connection);
    }

    /// Shows the oldest connection of the heaviest_peer peer out, so that strangers can't keep the scraper out.
    fn evict(&mut self) -> bool {
        let place = heaviest_peer(self.connections.iter().map(|connection| connection.peer));
        place.map(|place| self.connections.remove(place)).is_some()
    }

    /// Guests whose time is up: a head is answered with 408, the others just go.
    fn expire(&mut self) {
        let now = Instant::now();
        let (over, connections): (Vec<Connection>, _) =
            self.connections.drain(..).partition(|connection| connection.until <= now);
        self.connections = connections;
        for connection in over {
            if matches!(connection.stage, Stage::Reading(_)) {
                self.refuse(connection.stream, connection.peer, Reject::TooSlow);
            }
        }
    }
}

/// What is there of a head; `head` has what was there before.
fn read_head(stream: &mut Stream, head: &mut Vec<u8>, most: usize) -> Heard {
    if stream.is_mistaken() {
        return Heard::Wrong(Reject::Plain);
    }
    let mut buffer = [0; 4096];
    loop {
        let space = buffer.len().min(most.saturating_sub(head.len()));
        let said = match stream.read(buffer.get_mut(..space).unwrap_or_default()) {
            Ok(read @ 1..) => buffer.get(..read).unwrap_or_default(),
            result if would_block(&result) => return Heard::Part,
            _ => return Heard::End,
        };
        // Only a line end can complete a head: one that drips is not parsed anew at every drop.
        let tells = head.is_empty() || said.contains(&b'\n');
        head.extend_from_slice(said);
        match if tells { parse::parse(head) } else { Ok(None) } {
            Ok(Some(head)) => return Heard::Head(head),
            Ok(None) if head.len() >= most => return Heard::Wrong(Reject::TooLong),
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
        let place = |peers: &[&str]| heaviest_peer(peers.iter().map(|one| peer(one)));
        assert_eq!(place(&[]), None);
        assert_eq!(place(&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.2"]), Some(1));
        assert_eq!(place(&["192.0.2.1", "2001:db8::1", "192.0.2.2", "2001:db8::2"]), Some(1));
        assert_eq!(place(&["192.0.2.3", "192.0.2.2", "192.0.2.1"]), Some(0), "all alike: the oldest");
    }

    #[test]
    fn trouble_is_said_once() {
        let mut trouble = LogOnce::default();
        trouble.begins("it");
        let first = trouble.last;
        trouble.over("it is over");
        assert_eq!(trouble.last, first, "not yet over: it may come again at once");
        trouble.last = Instant::now().checked_sub(CALM);
        trouble.over("it is over");
        assert!(trouble.last.is_none());
    }
}
