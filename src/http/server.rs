//! The accept loop: one thread accepts connections, reads request heads without blocking, and passes complete requests to the
//! pool. It answers health checks itself.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fairness::{self, Handshakes, Peer, Purpose};
use super::log_once::LogOnce;
use super::parse::{self, Reject, Version};
use super::pool::{Answered, Job, Pool};
use super::stream::{Stream, would_block};
use super::write;
use super::{AccessControl, Limits, Method, Reply};
use crate::lock::lock;

/// How long to pause after a listener could not accept.
const PAUSE: Duration = Duration::from_millis(100);
/// The paths of the liveness and readiness checks, as in Prometheus itself.
pub(super) const HEALTHY: &str = "/-/healthy";
const READY: &str = "/-/ready";

/// The interval for checking requests that wait for a thread.
const TICK: Duration = Duration::from_millis(25);
/// The most connections to accept before reading from the others again.
const BATCH: usize = 64;
/// The number of consecutive failures of poll after which the loop ends.
const MOST_FAILURES: usize = 100;

/// A change of the listening sockets and the access control.
pub(super) struct Reconfigure {
    pub(super) listeners: Vec<Arc<TcpListener>>,
    pub(super) access: AccessControl,
}

/// The next change, until it is applied. A byte is received through `waker` for each change, and sent back as confirmation.
pub(super) struct Reconfigures {
    pub(super) waker: UnixStream,
    pub(super) next: Arc<Mutex<Option<Reconfigure>>>,
}

pub(super) struct Server {
    listeners: Vec<Arc<TcpListener>>,
    access: AccessControl,
    /// Absent once the sender of changes is gone.
    reconfigures: Option<Reconfigures>,
    /// Sorted by age, the oldest first.
    connections: Vec<Connection>,
    handshakes: Handshakes,
    pool: Arc<Pool>,
    /// A byte is received through it when the pool has orders.
    waker: UnixStream,
    limits: Limits,
    /// The number of changes of the configuration so far; connections of earlier ones are not kept.
    generation: usize,
    /// Whether kept connections must be closed: something is short, or the configuration has changed.
    closes_kept: bool,
    /// Nothing is accepted until then.
    paused: Option<Instant>,
    failure: LogOnce,
}

/// A connection without a complete request: one that is kept for another request, or one that its peer has to close.
struct Connection {
    stream: Stream,
    peer: Peer,
    /// The number of the configuration under which it was accepted.
    generation: usize,
    /// The end of its phase.
    until: Instant,
    phase: Phase,
}

enum Phase {
    /// Answered; another request may come.
    Kept,
    /// The head is incomplete; these are its bytes so far.
    Reading(Vec<u8>),
    /// Answered; this many more bytes are discarded until the peer closes.
    Closing(usize),
}

/// The result of reading a head.
enum HeadRead {
    Complete(parse::Head),
    Wrong(Reject),
    Incomplete,
    End,
}

/// The result of poll: which sockets are readable.
struct Ready {
    listeners: Vec<bool>,
    connections: Vec<bool>,
    orders: bool,
    reconfigures: bool,
}

impl Connection {
    fn new(stream: Stream, peer: Peer, generation: usize, time: Duration, phase: Phase) -> Self {
        let now = Instant::now();
        Self { stream, peer, generation, until: now.checked_add(time).unwrap_or(now), phase }
    }

    fn purpose(&self) -> Purpose {
        match self.phase {
            Phase::Kept => Purpose::Kept,
            Phase::Reading(_) => Purpose::Reading,
            Phase::Closing(_) => Purpose::Closing,
        }
    }
}

impl Server {
    pub(super) fn new(
        first: Reconfigure,
        reconfigures: Reconfigures,
        limits: Limits,
        pool: Arc<Pool>,
        waker: UnixStream,
    ) -> Self {
        Self {
            listeners: first.listeners,
            access: first.access,
            reconfigures: Some(reconfigures),
            connections: Vec::new(),
            handshakes: Handshakes::default(),
            pool,
            waker,
            limits,
            generation: 0,
            closes_kept: false,
            paused: None,
            failure: LogOnce::default(),
        }
    }

    /// Returns only when waiting for connections fails for good.
    pub(super) fn run(mut self) {
        let mut failures = 0_usize;
        while failures < MOST_FAILURES {
            let ready = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.on_error(error);
                    continue;
                }
            };
            failures = 0;
            // Read first: connections that have closed since make space for new ones.
            self.read_ready(&ready.connections);
            self.accept(&ready.listeners);
            self.expire();
            if ready.reconfigures {
                self.apply_config();
            }
            if ready.orders {
                self.take_orders();
            }
            if mem::take(&mut self.closes_kept) {
                self.close_kept();
            }
            for job in self.pool.take_expired() {
                self.reject(job.stream, job.peer, Reject::Busy);
            }
        }
    }

    /// Applies a change of the configuration.
    fn apply_config(&mut self) {
        let Some(Reconfigures { waker, next }) = &self.reconfigures else { return };
        let woken = (&*waker).read(&mut [0; 64]);
        // The lock is held until the change is applied: the sender relies on that when the slot is empty.
        let mut next = lock(next);
        if let Some(change) = next.take() {
            self.listeners = change.listeners;
            self.access = change.access;
            self.paused = None;
            // Their peers may not be allowed any more, or the certificate is another one.
            self.generation = self.generation.wrapping_add(1);
            self.closes_kept = true;
        }
        drop(next);
        // The sender may have stopped waiting.
        let _ = (&*waker).write(&[0]);
        if matches!(woken, Ok(0)) {
            self.reconfigures = None;
        }
    }

    /// Keeps the connections that the pool has answered.
    fn take_orders(&mut self) {
        // A byte that is left wakes the loop once more.
        let _ = (&self.waker).read(&mut [0; 64]);
        let orders = self.pool.take_orders();
        self.closes_kept |= orders.closes_kept;
        for answered in orders.answered {
            self.keep_answered(answered);
        }
    }

    /// Keeps a connection for another request, if there is space: nothing else is closed for it but an older one of the peer.
    fn keep_answered(&mut self, Answered { stream, peer, generation }: Answered) {
        if let Some(index) = fairness::surplus(&self.purposes(), peer, self.limits.kept) {
            self.connections.remove(index).stream.close();
        }
        let is_current = generation == self.generation && self.limits.kept > 0;
        if is_current && self.connections.len() < self.limits.connections {
            self.connections.push(Connection::new(stream, peer, generation, self.limits.kept_time, Phase::Kept));
        } else {
            stream.close();
        }
    }

    fn close_kept(&mut self) {
        let is_kept = |connection: &mut Connection| matches!(connection.phase, Phase::Kept);
        self.connections.extract_if(.., is_kept).for_each(|connection| connection.stream.close());
    }

    /// Waits for the next event.
    fn wait(&mut self) -> io::Result<Ready> {
        let now = Instant::now();
        self.paused = self.paused.filter(|until| *until > now);
        let tick = self.pool.has_waiting().then(|| now.checked_add(TICK)).flatten();
        let next = self.connections.iter().map(|connection| connection.until).chain(self.paused).chain(tick).min();
        // One millisecond later, so that the loop does not spin.
        let timeout = next.map(|next| next.saturating_duration_since(now).saturating_add(Duration::from_millis(1)));
        let timeout = timeout.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let open = if self.paused.is_some() { PollFlags::empty() } else { PollFlags::POLLIN };
        let listeners = self.listeners.iter().map(|listener| PollFd::new(listener.as_fd(), open));
        let connections = self.connections.iter().map(|one| PollFd::new(one.stream.socket.as_fd(), PollFlags::POLLIN));
        let reconfigures = self.reconfigures.iter().map(|all| &all.waker);
        let wakers = [&self.waker].into_iter().chain(reconfigures);
        let wakers = wakers.map(|waker| PollFd::new(waker.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = listeners.chain(connections).chain(wakers).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds.iter().map(|fd| fd.any() == Some(true));
        Ok(Ready {
            listeners: ready.by_ref().take(self.listeners.len()).collect(),
            connections: ready.by_ref().take(self.connections.len()).collect(),
            orders: ready.next() == Some(true),
            reconfigures: ready.next() == Some(true),
        })
    }

    /// poll fails if memory is short or the limit of descriptors was lowered: without connections it needs almost nothing.
    fn on_error(&mut self, error: io::Error) {
        self.failure.set(&format!("http: cannot wait for connections: {error}"));
        self.connections.clear();
        std::thread::sleep(PAUSE);
    }

    /// Reads from readable connections. Only one TLS handshake is computed, since an RSA signature takes milliseconds: poll
    /// returns at once for the others.
    fn read_ready(&mut self, readable: &[bool]) {
        let connections = std::mem::take(&mut self.connections);
        let mut connections: Vec<Option<Connection>> = connections.into_iter().map(Some).collect();
        let mut handshaking = Vec::new();
        for (index, (slot, _)) in connections.iter_mut().zip(readable).enumerate().filter(|(_, (_, ready))| **ready) {
            match slot {
                Some(connection) if connection.stream.is_handshaking() => handshaking.push((index, connection.peer)),
                _ => *slot = slot.take().and_then(|connection| self.advance(connection)),
            }
        }
        let computed = self.handshakes.total();
        for index in self.handshakes.order(handshaking) {
            if let Some(slot) = connections.get_mut(index) {
                *slot = slot.take().and_then(|connection| self.advance(connection));
            }
            if self.handshakes.total() != computed {
                break;
            }
        }
        // Connections that were refused meanwhile were added to the list.
        let rejected = std::mem::replace(&mut self.connections, connections.into_iter().flatten().collect());
        self.connections.extend(rejected);
    }

    /// Reads from a connection; returns it unless it has ended or was passed to the pool.
    fn advance(&mut self, mut connection: Connection) -> Option<Connection> {
        let mut first = Vec::new();
        let head = match &mut connection.phase {
            Phase::Closing(max) => {
                *max = connection.stream.discard(*max)?;
                return Some(connection);
            }
            Phase::Reading(head) => head,
            Phase::Kept => &mut first,
        };
        let read = read_head(&mut connection.stream, head, self.limits.head_bytes);
        if connection.stream.take_computed() {
            self.handshakes.record(connection.peer);
        }
        match read {
            HeadRead::Complete(head) => self.respond(connection, head),
            HeadRead::Wrong(reject) => self.reply_and_close(connection.stream, connection.peer, reject),
            HeadRead::Incomplete if first.is_empty() => Some(connection),
            HeadRead::Incomplete => {
                // The next request has begun: from now on it is a connection as any other, and the youngest.
                let Connection { stream, peer, generation, .. } = connection;
                let phase = Phase::Reading(first);
                self.connections.push(Connection::new(stream, peer, generation, self.limits.head_time, phase));
                None
            }
            HeadRead::End => None,
        }
    }

    /// Answers health checks, and passes other requests to the pool.
    fn respond(&mut self, connection: Connection, mut head: parse::Head) -> Option<Connection> {
        let Connection { stream, peer, generation, .. } = connection;
        if let Some(reply) = probe(&head.request.path) {
            return self.send(stream, peer, reply, head.version, head.request.method);
        }
        head.request.peer = peer.address();
        head.request.is_local = (head.request.accepts_gzip || head.request.method == Method::Post) && stream.is_local();
        let refused = self.pool.submit(Job { stream, peer, head, since: Instant::now(), generation })?;
        self.closes_kept = true;
        self.reject(refused.stream, refused.peer, Reject::Busy);
        None
    }

    /// Accepts new connections.
    fn accept(&mut self, acceptable: &[bool]) {
        for index in 0..self.listeners.len() {
            if acceptable.get(index) != Some(&true) {
                continue;
            }
            for _ in 0..BATCH {
                let Some(listener) = self.listeners.get(index) else { break };
                match listener.accept() {
                    Ok((socket, address)) => self.accept_one(socket, address.ip()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_connection_error(&error) => {}
                    Err(error) => {
                        self.failure.set(&format!("http: cannot accept connections: {error}"));
                        // Usually there are no free descriptors: closing a connection frees one.
                        if !self.evict() {
                            self.paused = Instant::now().checked_add(PAUSE);
                            return;
                        }
                    }
                }
            }
        }
    }

    fn accept_one(&mut self, socket: TcpStream, address: IpAddr) {
        let peer = Peer::new(address);
        self.failure.clear("http: accepting connections again");
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let tls = self.access.tls.as_ref();
        if self.access.allow.as_ref().is_some_and(|allow| !allow.contains(address)) {
            log::debug!("http: {peer}: refused: {:?}", Reject::Forbidden);
            return if tls.is_none() {
                refuse_at_once(&socket)
            };
        }
        let Some(stream) = Stream::new(socket, tls) else { return };
        let is_plain = tls.is_none();
        let phase = Phase::Reading(Vec::new());
        let connection = Connection::new(stream, peer, self.generation, self.limits.head_time, phase);
        // Usually the head has arrived already: read it at once. TLS handshakes wait for their turn.
        let kept = if is_plain { self.advance(connection) } else { Some(connection) };
        if let Some(connection) = kept {
            self.keep(connection);
        }
    }

    fn reject(&mut self, stream: Stream, peer: Peer, reject: Reject) {
        if let Some(connection) = self.reply_and_close(stream, peer, reject) {
            self.keep(connection);
        }
    }

    fn reply_and_close(&self, stream: Stream, peer: Peer, reject: Reject) -> Option<Connection> {
        log::debug!("http: {peer}: refused: {reject:?}");
        self.send(stream, peer, reject.reply(), Version::Http11, Method::Get)
    }

    /// Sends a short reply without blocking: it fits into the buffer, since the peer has read what was sent before. Returns
    /// the connection, which the peer has to close.
    fn send(
        &self,
        mut stream: Stream,
        peer: Peer,
        reply: Reply,
        version: Version,
        method: Method,
    ) -> Option<Connection> {
        stream.send_last(&write::print(reply, version, method == Method::Get)).ok()?;
        let phase = Phase::Closing(self.limits.linger_bytes);
        Some(Connection::new(stream, peer, self.generation, self.limits.linger_time, phase))
    }

    fn keep(&mut self, connection: Connection) {
        while self.connections.len() >= self.limits.connections && self.evict() {}
        self.connections.push(connection);
    }

    /// Closes the connection that [`fairness::evict`] selects; returns whether there was one.
    fn evict(&mut self) -> bool {
        fairness::evict(&self.purposes()).map(|index| self.connections.remove(index)).is_some()
    }

    fn purposes(&self) -> Vec<(Peer, Purpose)> {
        self.connections.iter().map(|connection| (connection.peer, connection.purpose())).collect()
    }

    /// Ends connections whose time is over: an incomplete head is answered with 408, others are closed.
    fn expire(&mut self) {
        let now = Instant::now();
        let (over, connections): (Vec<Connection>, _) = self.connections.drain(..).partition(|one| one.until <= now);
        self.connections = connections;
        for Connection { stream, peer, phase, .. } in over {
            match phase {
                Phase::Reading(_) => self.reject(stream, peer, Reject::TooSlow),
                Phase::Kept => stream.close(),
                Phase::Closing(_) => {}
            }
        }
    }
}

/// The reply to a liveness or readiness check. It is constant, whatever the passwords, sources and threads do. The daemon
/// listens only with a valid configuration, and keeps the previous one if a new one is invalid, so it is never alive
/// without being ready.
fn probe(path: &str) -> Option<Reply> {
    let text = match path {
        HEALTHY => "gateway-exporter is healthy\n",
        READY => "gateway-exporter is ready\n",
        _ => return None,
    };
    Some(Reply::text(200, text).with("Cache-Control", "no-store"))
}

/// Sends 403 to a peer outside the allowed networks, and closes the connection at once. What it has sent is read first,
/// since closing with unread bytes sends a reset, which could destroy the reply.
fn refuse_at_once(mut socket: &TcpStream) {
    let _ = socket.read(&mut [0; 4096]);
    let _ = socket.write(&write::print(Reject::Forbidden.reply(), Version::Http11, true));
    let _ = socket.shutdown(Shutdown::Write);
}

/// Reads a head as far as it has arrived; `head` holds the bytes so far.
fn read_head(stream: &mut Stream, head: &mut Vec<u8>, max: usize) -> HeadRead {
    if stream.is_plain_http() {
        return HeadRead::Wrong(Reject::PlainHttp);
    }
    // A head of Prometheus has 300 bytes, and each byte here is zeroed first.
    let mut buffer = [0; 1024];
    loop {
        let space = buffer.len().min(max.saturating_sub(head.len()));
        let said = match stream.read(buffer.get_mut(..space).unwrap_or_default()) {
            Ok(read @ 1..) => buffer.get(..read).unwrap_or_default(),
            result if would_block(&result) => return HeadRead::Incomplete,
            _ => return HeadRead::End,
        };
        // Only a line end can complete a head: a head that arrives byte by byte is not parsed for each byte.
        let tells = head.is_empty() || said.contains(&b'\n');
        head.extend_from_slice(said);
        match if tells { parse::parse(head) } else { Ok(None) } {
            Ok(Some(head)) => return HeadRead::Complete(head),
            Ok(None) if head.len() >= max => return HeadRead::Wrong(Reject::TooLong),
            Ok(None) => {}
            Err(reject) => return HeadRead::Wrong(reject),
        }
    }
}

/// Whether an error is of the connection to be accepted, not of the listener (accept(2) lists these).
fn is_connection_error(error: &io::Error) -> bool {
    use nix::libc::{
        ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT, EOPNOTSUPP, EPERM,
        EPROTO,
    };
    let network = [ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, EPROTO, ENOPROTOOPT, EOPNOTSUPP];
    let code = error.raw_os_error();
    matches!(code, Some(ECONNABORTED | EINTR | EPERM)) || code.is_some_and(|code| network.contains(&code))
}
