//! The threads that answer: one for a request, so many at most, and those that wait for one.
//!
//! A source that hangs holds every answer for seconds. So one peer gets half of the threads at most to have answers
//! made: the others are left for whoever else asks.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::parse::Head;
use super::server::{LogOnce, Peer, heaviest_peer};
use super::stream::Stream;
use super::write::{self, Wire};
use super::{EndsProcess, Handler, Limits, Method, STACK};

/// How long ended answers may take to be gone.
const LEAVE_TIME: Duration = Duration::from_millis(100);

/// A complete request and whom to answer.
pub(super) struct Job {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) head: Head,
    /// When its head was complete.
    pub(super) since: Instant,
}

pub(super) struct Pool {
    limits: Limits,
    handler: Arc<Handler>,
    shifts: Mutex<Shifts>,
}

/// Who waits, who is served, and by how many.
#[derive(Default)]
struct Shifts {
    waiting: VecDeque<Job>,
    served: Vec<Served>,
    threads: usize,
    trouble: LogOnce,
}

struct Served {
    socket: Arc<TcpStream>,
    peer: Peer,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The answer is being made; nothing can hurry it.
    Making,
    Writing(Instant),
    /// Answered; waits for the peer to close.
    Lingering,
    /// Its socket is shut down, its thread about to know.
    Leaving,
}

impl Pool {
    pub(super) fn new(limits: Limits, handler: Arc<Handler>) -> Arc<Self> {
        Arc::new(Self { limits, handler, shifts: Mutex::default() })
    }

    /// Has the request answered; hands back one that must be refused, where too many wait.
    pub(super) fn take(self: &Arc<Self>, job: Job) -> Option<Job> {
        let mut shifts = self.shifts();
        shifts.waiting.push_back(job);
        self.staff(&mut shifts);
        if shifts.waiting.len() > self.limits.connections { shifts.newest_of_greediest() } else { None }
    }

    /// To be called again soon while requests wait: makes room for them, and hands back those that waited too long.
    pub(super) fn relieve(self: &Arc<Self>) -> Vec<Job> {
        let mut shifts = self.shifts();
        self.staff(&mut shifts);
        let patience = self.limits.patience;
        let (late, waiting): (Vec<Job>, _) = shifts.waiting.drain(..).partition(|job| job.since.elapsed() >= patience);
        shifts.waiting = waiting.into();
        late
    }

    pub(super) fn are_awaited(&self) -> bool {
        !self.shifts().waiting.is_empty()
    }

    /// How many answers may be made at once for one peer.
    fn share(&self) -> usize {
        self.limits.answers.div_ceil(2)
    }

    /// A thread for each that may be served, as far as they go; then room for the rest.
    fn staff(self: &Arc<Self>, shifts: &mut Shifts) {
        let idle = shifts.threads.saturating_sub(shifts.served.len());
        let ready = shifts.ready(self.share());
        let wanted = ready.saturating_sub(idle);
        for _ in 0..wanted.min(self.limits.answers.saturating_sub(shifts.threads)) {
            let pool = Arc::clone(self);
            let run = move || {
                let _ends = EndsProcess;
                pool.run();
            };
            match std::thread::Builder::new().name("http-answer".into()).stack_size(STACK).spawn(run) {
                Ok(_) => {
                    shifts.threads = shifts.threads.saturating_add(1);
                    shifts.trouble.over("http: threads start again");
                }
                Err(error) => {
                    shifts.trouble.begins(&format!("http: no thread for an answer: {error}"));
                    break;
                }
            }
        }
        if shifts.threads >= self.limits.answers {
            shifts.make_room(self.limits.stall_time, ready);
        }
    }

    /// Ends the long answers of the peer that has most of them, for the memory that they hold, and waits a moment for
    /// that; whether there were any.
    pub(super) fn free_memory(&self) -> bool {
        if !self.shifts().end_longest(self.limits.stall_time) {
            return false;
        }
        let started = Instant::now();
        while self.shifts().is_left() && started.elapsed() < LEAVE_TIME {
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn run(&self) {
        let mut done = None;
        while let Some(job) = self.next(done.as_ref()) {
            done = Some(Arc::clone(&job.stream.socket));
            self.serve(job);
        }
    }

    /// What to serve now; with none the thread must end.
    fn next(&self, done: Option<&Arc<TcpStream>>) -> Option<Job> {
        let mut shifts = self.shifts();
        if let Some(done) = done {
            shifts.served.retain(|served| !Arc::ptr_eq(&served.socket, done));
        }
        let job = shifts.fairest(self.share());
        match &job {
            Some(Job { stream, peer, .. }) => {
                shifts.served.push(Served { socket: Arc::clone(&stream.socket), peer: *peer, stage: Stage::Making });
            }
            None => shifts.threads = shifts.threads.saturating_sub(1),
        }
        job
    }

    fn serve(&self, mut job: Job) {
        let socket = Arc::clone(&job.stream.socket);
        // Whoever reset the connection while waiting is not worth a scrape.
        if !matches!(socket.take_error(), Ok(None)) {
            return;
        }
        // What it waited for a thread is gone.
        let timeout = &mut job.head.request.timeout;
        *timeout = timeout.map(|time| time.saturating_sub(job.since.elapsed()).max(Duration::from_millis(1)));
        let reply = (self.handler)(&job.head.request);
        let with_body = job.head.request.method == Method::Get;
        self.note(&socket, Stage::Writing(Instant::now()));
        let wire = Wire::new(&socket, self.limits.answer_time);
        let write = |out: &mut dyn Write| write::write(out, reply, job.head.version, with_body);
        match socket.set_nonblocking(false).and_then(|()| job.stream.write(wire, write)) {
            Ok(()) => {
                self.note(&socket, Stage::Lingering);
                write::linger(&socket, &self.limits);
            }
            Err(error) => {
                log::debug!("http: {}: answer not taken: {error}", job.peer);
                write::reset(&socket);
            }
        }
    }

    /// Whoever is leaving keeps leaving.
    fn note(&self, socket: &Arc<TcpStream>, stage: Stage) {
        let mut shifts = self.shifts();
        let served = shifts.served.iter_mut().find(|served| Arc::ptr_eq(&served.socket, socket));
        if let Some(served) = served.filter(|served| served.stage != Stage::Leaving) {
            served.stage = stage;
        }
    }

    fn shifts(&self) -> MutexGuard<'_, Shifts> {
        self.shifts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shifts {
    /// Of those that have less than their `share`, the peer with the fewest answers under way comes first, then the one
    /// that waits longest.
    fn fairest(&mut self, share: usize) -> Option<Job> {
        let busy = |peer| self.served.iter().filter(|served| served.peer == peer).count();
        let may = self.waiting.iter().enumerate().filter(|(_, job)| self.making(job.peer) < share);
        let (first, _) = may.min_by_key(|(_, job)| busy(job.peer))?;
        self.waiting.remove(first)
    }

    /// How many answers are being made for a peer.
    fn making(&self, peer: Peer) -> usize {
        self.served.iter().filter(|served| served.peer == peer && served.stage == Stage::Making).count()
    }

    /// How many of those that wait may be served, where a peer has no more than its `share`.
    fn ready(&self, share: usize) -> usize {
        let mut taken = HashMap::new();
        let may = self.waiting.iter().filter(|job| {
            let taken = taken.entry(job.peer).or_insert_with(|| self.making(job.peer));
            *taken = taken.saturating_add(1);
            *taken <= share
        });
        may.count()
    }

    fn newest_of_greediest(&mut self) -> Option<Job> {
        let from_back = heaviest_peer(self.waiting.iter().rev().map(|job| job.peer))?;
        let place = self.waiting.len().checked_sub(from_back)?.checked_sub(1)?;
        self.waiting.remove(place)
    }

    /// Ends what may be ended, for so many: first those that only linger, then long answers, those of the heaviest_peer
    /// peer first.
    fn make_room(&mut self, stall: Duration, wanted: usize) {
        let leaving = self.served.iter().filter(|served| served.stage == Stage::Leaving).count();
        for _ in leaving..wanted {
            let lingering = self.served.iter().rposition(|served| served.stage == Stage::Lingering);
            let Some(place) = lingering.or_else(|| self.longest(stall)) else { return };
            if let Some(served) = self.served.get_mut(place) {
                served.end();
            }
        }
    }

    /// Ends every long answer of the heaviest_peer peer that has one; whether there was one.
    fn end_longest(&mut self, stall: Duration) -> bool {
        let Some(peer) = self.longest(stall).and_then(|place| self.served.get(place)).map(|served| served.peer) else {
            return false;
        };
        let long = self.served.iter_mut().filter(|served| served.peer == peer && served.written(stall).is_some());
        long.for_each(Served::end);
        true
    }

    /// Whether somebody is leaving.
    fn is_left(&self) -> bool {
        self.served.iter().any(|served| served.stage == Stage::Leaving)
    }

    /// The place of the longest answer of the heaviest_peer peer that has one.
    fn longest(&self, stall: Duration) -> Option<usize> {
        let greed = |peer| self.served.iter().filter(|other| other.peer == peer).count();
        let long = self.served.iter().enumerate().filter_map(|(place, served)| {
            let time = served.written(stall)?;
            Some((greed(served.peer), time, place))
        });
        long.max().map(|(.., place)| place)
    }
}

impl Served {
    /// How long its answer is being written, where that is long.
    fn written(&self, stall: Duration) -> Option<Duration> {
        match self.stage {
            Stage::Writing(since) => Some(since.elapsed()).filter(|time| *time >= stall),
            _ => None,
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Leaving;
        // Wakes its thread; fails where the peer has closed, and then it is awake.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, parse::Version};
    use super::*;
    use std::net::TcpListener;

    fn job(peer: [u8; 4], path: &str) -> Job {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Stream::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap(), None).unwrap();
        let request = Request {
            method: Method::Get,
            path: path.into(),
            query: Vec::new(),
            timeout: None,
            credentials: None,
            peer: A.into(),
        };
        let head = Head { request, version: Version::Http11 };
        Job { stream, peer: Peer::new(peer.into()), head, since: Instant::now() }
    }

    fn shifts(waiting: &[([u8; 4], &str)], served: &[([u8; 4], Stage)]) -> Shifts {
        let waiting = waiting.iter().map(|(peer, path)| job(*peer, path)).collect();
        let served = served.iter().map(|(peer, stage)| {
            let Job { stream, peer, .. } = job(*peer, "");
            Served { socket: stream.socket, peer, stage: *stage }
        });
        Shifts { waiting, served: served.collect(), ..Shifts::default() }
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];

    #[test]
    fn whoever_has_least_is_served_next() {
        let mut shifts = shifts(&[(A, "first"), (A, "second"), (B, "third")], &[(A, Stage::Making)]);
        let next = |shifts: &mut Shifts| shifts.fairest(8).map(|job| job.head.request.path);
        assert_eq!(next(&mut shifts).as_deref(), Some("third"));
        assert_eq!(next(&mut shifts).as_deref(), Some("first"));
        assert_eq!(next(&mut shifts).as_deref(), Some("second"));
        assert_eq!(next(&mut shifts), None);
    }

    #[test]
    fn nobody_has_more_than_a_share_of_what_is_made() {
        let making = Stage::Making;
        let served = [(A, making), (A, making), (A, Stage::Lingering), (B, making)];
        let mut shifts = shifts(&[(A, "first"), (A, "second"), (B, "third"), (B, "fourth")], &served);
        assert_eq!((shifts.ready(1), shifts.ready(2), shifts.ready(3), shifts.ready(9)), (0, 1, 3, 4));
        assert_eq!(shifts.fairest(1).map(|job| job.head.request.path), None);
        assert_eq!(shifts.fairest(2).map(|job| job.head.request.path).as_deref(), Some("third"));
        assert_eq!(shifts.fairest(3).map(|job| job.head.request.path).as_deref(), Some("fourth"));
    }

    #[test]
    fn memory_is_freed_by_whoever_has_most_answers_and_is_long_about_one() {
        let stall = Duration::from_millis(250);
        let long = |seconds| Stage::Writing(Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap());
        let served =
            [(B, long(9)), (A, long(1)), (A, Stage::Making), (A, Stage::Lingering), (A, long(2)), (A, long(0))];
        let mut shifts = shifts(&[], &served);
        let leaving = |shifts: &Shifts| {
            let leaving = shifts.served.iter().enumerate().filter(|(_, served)| served.stage == Stage::Leaving);
            leaving.map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert!(shifts.end_longest(stall));
        assert_eq!(leaving(&shifts), [1, 4]);
        assert!(shifts.end_longest(stall));
        assert_eq!(leaving(&shifts), [0, 1, 4]);
        assert!(!shifts.end_longest(stall), "what has just begun stays");
    }

    #[test]
    fn the_newest_of_the_greediest_is_refused() {
        let mut shifts = shifts(&[(A, "first"), (A, "second"), (B, "third")], &[]);
        assert_eq!(shifts.newest_of_greediest().map(|job| job.head.request.path).as_deref(), Some("second"));
    }

    #[test]
    fn room_is_made_where_it_harms_least_and_no_more_than_is_needed() {
        let stall = Duration::from_millis(250);
        let long = |seconds| Stage::Writing(Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap());
        let served =
            [(B, long(9)), (A, long(1)), (A, long(2)), (A, Stage::Making), (B, Stage::Lingering), (A, long(0))];
        let left = |waiting: usize| {
            let mut shifts = shifts(&[(B, "")].repeat(waiting), &served);
            shifts.make_room(stall, waiting);
            shifts.make_room(stall, waiting);
            let leaving = shifts.served.iter().enumerate().filter(|(_, served)| served.stage == Stage::Leaving);
            leaving.map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(left(0), [0; 0]);
        assert_eq!(left(1), [4], "who only lingers goes first");
        assert_eq!(left(2), [2, 4], "then the longest answer of the heaviest_peer");
        assert_eq!(left(3), [1, 2, 4]);
        assert_eq!(left(9), [0, 1, 2, 4], "what is being made or has just begun stays");
    }
}
