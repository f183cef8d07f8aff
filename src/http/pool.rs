//! The pool of threads that answer requests, and the queue of requests that wait for a thread. A connection on which another
//! request may follow goes back to the accept loop.
//!
//! A source that hangs delays every reply for seconds, so the threads are shared fairly among peers ([`super::fairness`]).

use std::io::Write;
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fairness::{self, Answer, Peer, Stage};
use super::log_once::LogOnce;
use super::parse::Head;
use super::stream::Stream;
use super::write::{self, Framing, Wire};
use super::{AbortOnPanic, Handler, Limits, Method};
use crate::lock::lock;
use crate::sys::thread;

/// How long to wait until cancelled replies have freed their memory.
const SHED_TIME: Duration = Duration::from_millis(100);

/// A complete request and its connection.
pub(super) struct Job {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) head: Head,
    /// When its head was complete.
    pub(super) since: Instant,
    /// The number of the configuration under which its connection was accepted.
    pub(super) generation: usize,
}

/// A connection whose request was answered and on which another one may follow.
pub(super) struct Answered {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    /// As in [`Job`].
    pub(super) generation: usize,
}

/// What the accept loop has to do, after a byte was received through the waker.
#[derive(Default)]
pub(super) struct Orders {
    /// Connections to keep.
    pub(super) answered: Vec<Answered>,
    /// Whether all kept connections must be closed, since something is short.
    pub(super) closes_kept: bool,
}

pub(super) struct Pool {
    limits: Limits,
    handler: Arc<Handler>,
    state: Mutex<State>,
    no_thread: Mutex<LogOnce>,
    waker: UnixStream,
}

/// The waiting requests, the replies in progress, and the number of threads.
#[derive(Default)]
struct State {
    waiting: Vec<Job>,
    under_way: Vec<UnderWay>,
    threads: usize,
    orders: Orders,
}

struct UnderWay {
    socket: Arc<TcpStream>,
    answer: Answer,
}

/// The state of a waiting peer's connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerState {
    Open,
    /// It has sent more than its request, which was discarded.
    SendsMore,
    /// It has closed its side; it may still read.
    HalfClosed,
    /// It has closed the connection.
    Gone,
}

impl Pool {
    /// A pool without threads. It writes a byte to `waker` when there are [`Orders`].
    pub(super) fn new(limits: Limits, handler: Arc<Handler>, waker: UnixStream) -> Arc<Self> {
        Arc::new(Self { limits, handler, state: Mutex::default(), no_thread: Mutex::default(), waker })
    }

    /// Takes what the accept loop has to do.
    pub(super) fn take_orders(&self) -> Orders {
        mem::take(&mut self.state().orders)
    }

    fn wake(&self) {
        // If its buffer is full, the loop is about to wake up.
        let _ = (&self.waker).write(&[0]);
    }

    /// Queues a request; returns one that must be refused if too many wait.
    pub(super) fn submit(self: &Arc<Self>, job: Job) -> Option<Job> {
        let mut state = self.state();
        state.waiting.push(job);
        let new = self.reserve_threads(&mut state);
        let refused = if state.waiting.len() > self.limits.connections { state.refuse_one() } else { None };
        drop(state);
        self.start_threads(new);
        refused
    }

    /// Frees threads for waiting requests, and returns those that have waited too long; call it every few milliseconds while
    /// requests wait.
    pub(super) fn take_expired(self: &Arc<Self>) -> Vec<Job> {
        let mut state = self.state();
        let new = self.reserve_threads(&mut state);
        let queue_time = self.limits.queue_time;
        let (late, waiting): (Vec<Job>, _) = state.waiting.drain(..).partition(|job| job.since.elapsed() >= queue_time);
        state.waiting = waiting;
        drop(state);
        self.start_threads(new);
        late
    }

    /// Whether more requests wait than there are threads about to take one.
    pub(super) fn has_waiting(&self) -> bool {
        let state = self.state();
        state.waiting.len() > state.idle()
    }

    /// Counts a thread for each request that may start, as far as the limit allows, and cancels replies for the rest; returns
    /// how many threads to start.
    fn reserve_threads(&self, state: &mut State) -> usize {
        let startable = fairness::startable(state.peers(), &state.answers(), self.limits.answers);
        let wanted = startable.saturating_sub(state.idle());
        let new = wanted.min(self.limits.answers.saturating_sub(state.threads));
        state.threads = state.threads.saturating_add(new);
        if state.threads >= self.limits.answers {
            state.shed(self.limits.stall_time, startable);
        }
        new
    }

    /// Starts so many threads, which are counted already. The lock is free, as each takes it at once.
    fn start_threads(self: &Arc<Self>, count: usize) {
        for left in (1..=count).rev() {
            let pool = Arc::clone(self);
            let run = move || {
                let _abort = AbortOnPanic;
                pool.run();
            };
            match thread::run(Box::new(run)) {
                Ok(()) => lock(&self.no_thread).clear("http: threads start again"),
                Err(error) => {
                    lock(&self.no_thread).set(&format!("http: no thread for an answer: {error}"));
                    let mut state = self.state();
                    state.threads = state.threads.saturating_sub(left);
                    return;
                }
            }
        }
    }

    /// Has kept connections closed and cancels the slow replies of the peer with the most, to free memory, and waits until
    /// those are cancelled; returns whether there were any.
    pub(super) fn free_memory(&self) -> bool {
        let mut state = self.state();
        state.orders.closes_kept = true;
        let is_any = state.shed_memory(self.limits.stall_time);
        drop(state);
        self.wake();
        if !is_any {
            return false;
        }
        let started = Instant::now();
        while self.state().is_ending() && started.elapsed() < SHED_TIME {
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn run(&self) {
        let mut done = None;
        while let Some(job) = self.next(done.take()) {
            let socket = Arc::clone(&job.stream.socket);
            done = Some((socket, self.answer(job)));
        }
    }

    /// The next request to answer; with `None` the thread must end. `done` is the socket of the last one, and its connection
    /// if that is to be kept.
    fn next(&self, done: Option<(Arc<TcpStream>, Option<Answered>)>) -> Option<Job> {
        let mut state = self.state();
        if let Some((socket, answered)) = done {
            // First: with the connection in its hands, the accept loop may submit another request of it.
            state.under_way.retain(|answer| !Arc::ptr_eq(&answer.socket, &socket));
            if let Some(answered) = answered {
                state.orders.answered.push(answered);
                self.wake();
            }
        }
        let next = fairness::next_fair(state.peers(), &state.answers(), self.limits.answers);
        let job = next.and_then(|index| state.take(index));
        match &job {
            Some(Job { stream, peer, .. }) => {
                let socket = Arc::clone(&stream.socket);
                state.under_way.push(UnderWay { socket, answer: Answer { peer: *peer, stage: Stage::Computing } });
            }
            None => {
                state.threads = state.threads.saturating_sub(1);
                // The accept loop may rely on this thread.
                if !state.waiting.is_empty() {
                    self.wake();
                }
            }
        }
        job
    }

    /// Answers a request; returns its connection if another request may follow on it.
    fn answer(&self, mut job: Job) -> Option<Answered> {
        let socket = Arc::clone(&job.stream.socket);
        // The peer has reset the connection while it waited: don't scrape.
        if !matches!(socket.take_error(), Ok(None)) {
            return None;
        }
        // The time in the queue counts.
        let timeout = &mut job.head.request.timeout;
        *timeout = timeout.map(|time| time.saturating_sub(job.since.elapsed()).max(Duration::from_millis(1)));
        let reply = (self.handler)(&job.head.request);
        let version = job.head.version;
        // Who has sent more before this request is answered is not answered again: pipelining is refused.
        let keeps = job.head.keeps && write::may_be_followed(&reply, version) && job.stream.is_silent();
        let framing = Framing { version, with_body: job.head.request.method != Method::Head, keeps };
        self.note(&socket, Stage::Writing(Instant::now()));
        let wire = Wire::new(&socket, self.limits.answer_time);
        let write = |out: &mut dyn Write| write::write(out, reply, framing);
        match job.stream.write(wire, keeps, write) {
            Ok(()) if keeps => {
                let Job { stream, peer, generation, .. } = job;
                return Some(Answered { stream, peer, generation });
            }
            Ok(()) => {
                self.note(&socket, Stage::Lingering);
                write::linger(&socket, &self.limits);
            }
            Err(error) => {
                log::debug!("http: {}: answer not taken: {error}", job.peer);
                write::reset(&socket);
            }
        }
        None
    }

    /// Records a reply's stage, unless it was cancelled.
    fn note(&self, socket: &Arc<TcpStream>, stage: Stage) {
        let mut state = self.state();
        let one = state.under_way.iter_mut().find(|one| Arc::ptr_eq(&one.socket, socket));
        if let Some(one) = one.filter(|one| one.answer.stage != Stage::Ending) {
            one.answer.stage = stage;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn peers(&self) -> impl Iterator<Item = Peer> {
        self.waiting.iter().map(|job| job.peer)
    }

    fn answers(&self) -> Vec<Answer> {
        self.under_way.iter().map(|one| one.answer).collect()
    }

    /// Removes requests whose peers are gone; if there are none, returns the one that must be refused.
    fn refuse_one(&mut self) -> Option<Job> {
        let before = self.waiting.len();
        let mut peer_states = peer_states(&self.waiting).into_iter();
        let mut left = Vec::new();
        self.waiting.retain_mut(|job| {
            let peer_state = peer_states.next().unwrap_or(PeerState::Open);
            // The connection can't be kept: the next request would begin in the middle of what was discarded.
            job.head.keeps &= peer_state == PeerState::Open;
            if peer_state != PeerState::Gone {
                left.push((job.peer, peer_state == PeerState::HalfClosed));
            }
            peer_state != PeerState::Gone
        });
        if self.waiting.len() < before {
            return None;
        }
        self.take(fairness::refuse(&left)?)
    }

    /// Takes one of the waiting requests out.
    fn take(&mut self, index: usize) -> Option<Job> {
        (index < self.waiting.len()).then(|| self.waiting.remove(index))
    }

    /// The number of threads without a reply.
    fn idle(&self) -> usize {
        self.threads.saturating_sub(self.under_way.len())
    }

    /// Cancels replies until, if possible, `wanted` threads are free.
    fn shed(&mut self, stall: Duration, wanted: usize) {
        let ending = self.under_way.iter().filter(|one| one.answer.stage == Stage::Ending).count();
        for _ in ending.saturating_add(self.idle())..wanted {
            let Some(index) = fairness::shed(&self.answers(), stall, Instant::now()) else { return };
            if let Some(answer) = self.under_way.get_mut(index) {
                answer.end();
            }
        }
    }

    /// Cancels slow replies; returns whether there were any.
    fn shed_memory(&mut self, stall: Duration) -> bool {
        let slow = fairness::shed_memory(&self.answers(), stall, Instant::now());
        for index in &slow {
            if let Some(answer) = self.under_way.get_mut(*index) {
                answer.end();
            }
        }
        !slow.is_empty()
    }

    fn is_ending(&self) -> bool {
        self.under_way.iter().any(|one| one.answer.stage == Stage::Ending)
    }
}

impl UnderWay {
    fn end(&mut self) {
        self.answer.stage = Stage::Ending;
        // Wakes the thread. Fails if the peer has closed, and then the thread is awake.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The connection states of the waiting peers, in their order; empty if poll fails.
fn peer_states(waiting: &[Job]) -> Vec<PeerState> {
    let mut fds: Vec<PollFd<'_>> =
        waiting.iter().map(|job| PollFd::new(job.stream.socket.as_fd(), PollFlags::POLLIN)).collect();
    if poll(&mut fds, PollTimeout::ZERO).is_err() {
        return Vec::new();
    }
    let peer_state = |(fd, job): (&PollFd<'_>, &Job)| match fd.revents().unwrap_or(PollFlags::empty()) {
        events if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) => PeerState::Gone,
        events if events.contains(PollFlags::POLLIN) => match job.stream.discard(usize::MAX) {
            None => PeerState::HalfClosed,
            Some(_) => PeerState::SendsMore,
        },
        _ => PeerState::Open,
    };
    fds.iter().zip(waiting).map(peer_state).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Request, parse::Version};
    use super::*;
    use std::net::TcpListener;

    /// A request, and the peer's end of its connection.
    fn job(peer: [u8; 4], path: &str) -> (Job, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Stream::new(listener.accept().unwrap().0, None).unwrap();
        let request = Request {
            method: Method::Get,
            path: path.into(),
            query: Vec::new(),
            host: None,
            timeout: None,
            credentials: None,
            accepts_gzip: false,
            peer: peer.into(),
            is_local: false,
            is_cross_site: false,
        };
        let head = Head { request, version: Version::Http11, keeps: true };
        let job = Job { stream, peer: Peer::new(peer.into()), head, since: Instant::now(), generation: 0 };
        (job, client)
    }

    fn waiting(jobs: &[([u8; 4], &str)]) -> (State, Vec<TcpStream>) {
        let (jobs, clients): (Vec<Job>, Vec<TcpStream>) = jobs.iter().map(|(peer, path)| job(*peer, path)).unzip();
        (State { waiting: jobs, ..State::default() }, clients)
    }

    fn paths(state: &State) -> Vec<&str> {
        state.waiting.iter().map(|job| job.head.request.path.as_str()).collect()
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];
    const C: [u8; 4] = [192, 0, 2, 3];

    #[test]
    fn what_is_dead_goes_before_what_lives() {
        let (mut state, mut clients) = waiting(&[(A, "reset"), (A, "a"), (B, "b"), (C, "half closed"), (B, "reset")]);
        for index in [4, 0] {
            write::reset(&clients[index]);
            clients.remove(index);
        }
        clients[2].shutdown(Shutdown::Write).unwrap();
        assert!(state.refuse_one().is_none(), "those that are gone need no answer");
        assert_eq!(paths(&state), ["a", "b", "half closed"]);
        let refused = state.refuse_one().map(|job| job.head.request.path);
        assert_eq!(refused.as_deref(), Some("half closed"));
        let refused = state.refuse_one().map(|job| job.head.request.path);
        assert_eq!(refused.as_deref(), Some("b"), "all alike: the newest");
        assert_eq!(paths(&state), ["a"]);
    }

    #[test]
    fn room_is_made_for_no_more_than_want_it() {
        let long = |seconds| Stage::Writing(Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap());
        let under_way =
            [(B, long(9)), (A, long(1)), (A, long(2)), (A, Stage::Computing), (B, Stage::Lingering), (A, long(0))];
        for (idle, wanted, expected) in [
            (0, 0, &[][..]),
            (0, 1, &[4]),
            (0, 2, &[2, 4]),
            (0, 3, &[1, 2, 4]),
            (0, 9, &[0, 1, 2, 4]),
            (1, 1, &[]),
            (1, 2, &[4]),
        ] {
            let (jobs, _clients): (Vec<Job>, Vec<TcpStream>) = under_way.iter().map(|(peer, _)| job(*peer, "")).unzip();
            let under_way = jobs.into_iter().zip(under_way).map(|(job, (_, stage))| {
                let Job { stream, peer, .. } = job;
                UnderWay { socket: stream.socket, answer: Answer { peer, stage } }
            });
            let under_way: Vec<_> = under_way.collect();
            let mut state = State { threads: under_way.len() + idle, under_way, ..State::default() };
            state.shed(Duration::from_millis(250), wanted);
            state.shed(Duration::from_millis(250), wanted);
            let ended = state.under_way.iter().enumerate().filter(|(_, one)| one.answer.stage == Stage::Ending);
            assert_eq!(ended.map(|(index, _)| index).collect::<Vec<_>>(), expected);
        }
    }
}
