//! Reads the sources for requests: one read at a time per source, whose result serves every request waiting for it.
//!
//! A request that comes while its source is being read gets the result of the next read, which begins when the current
//! one ends. So a request waits for two reads at most, however many requests there are. Metrics and sessions that are
//! requested together come from one read, metrics first.
//!
//! The deadline of a read is the latest deadline of the requests that wait when it begins; each request waits until its
//! own deadline. A read that does not return keeps its thread, and no other read of that source begins until it does:
//! requests then get "no answer in time" at once.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::lock;
use super::outcome::{Outcome, Query};
use super::status::Status;
use crate::collector::{Collector, Report};
use crate::deadline::Deadline;
use crate::exposition::Options;
use crate::memory_budget::MemoryBudget;
use crate::sys::thread;

/// A timeout of a read that had less time than this is not recorded as a failure: peers choose their requests' timeouts.
const LEAST_TIME: Duration = Duration::from_millis(500);

/// A read that is this late counts as stuck: it may never return.
const OVERDUE: Duration = Duration::from_secs(1);

/// The most time for a scrape, whatever timeout the request states.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);

/// A tenth of the scrape timeout is kept for sending the reply, but not less than this.
const LEAST_MARGIN: Duration = Duration::from_millis(50);

/// Half of that margin, but not more than this, is spent on waiting for reads that end at their deadline.
const MAX_EXTRA_WAIT: Duration = Duration::from_millis(250);

/// The deadlines of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The deadline of the reads.
    pub(super) read: Deadline,
    /// Until when it waits for the result of a read that ends at its deadline.
    pub(super) wait: Deadline,
    /// Whether it is not a peer's choice, so that a source that does not answer until then is recorded as down.
    pub(super) is_default: bool,
}

/// What the reads of all sources share.
pub(super) struct Shared {
    pub(super) status: Status,
    pub(super) memory: Arc<MemoryBudget>,
    pub(super) options: Mutex<Options>,
}

/// One source, and the reads of it.
pub(super) struct Source {
    pub(super) collector: Arc<dyn Collector>,
    shared: Arc<Shared>,
    reads: Mutex<Reads>,
    changed: Condvar,
}

/// The reads of one source.
#[derive(Default)]
struct Reads {
    /// The number of reads begun so far, which is the number of the last one.
    begun: u64,
    /// The deadline of the running read, or of the one about to begin.
    running: Option<Deadline>,
    /// The number of the last read that was recorded as stuck.
    noted_overdue: u64,
    /// The number of requests that sleep until a result is there.
    sleeping: usize,
    metrics: Results,
    sessions: Results,
}

/// The results of one source's reads for one query, and the requests that wait for the next.
#[derive(Default)]
struct Results {
    /// The latest deadline of the requests that wait for the next read; absent if none does.
    wanted: Option<Deadline>,
    /// The number of waiting requests.
    waiting: usize,
    /// The last result and the number of its read, while requests wait.
    last: Option<(u64, Arc<Outcome>)>,
    /// Earlier results, which may still be in memory.
    held: Vec<Weak<Outcome>>,
}

/// A request that waits for one source.
struct Waiting<'a> {
    source: &'a Source,
    query: Query,
    since: Instant,
    /// The number of the first read that began after the request came.
    number: u64,
    /// Whether the current read is stuck, so that there is no use in waiting.
    is_stuck: bool,
}

/// Reads all sources in parallel; returns their outcomes in the same order.
pub(super) fn gather(sources: &[Arc<Source>], query: Query, times: Times) -> Vec<Arc<Outcome>> {
    let waiting: Vec<Waiting<'_>> = sources.iter().map(|source| source.ask(query, times.read)).collect();
    waiting.into_iter().map(|waiting| waiting.outcome(times)).collect()
}

impl Times {
    /// The times for a request without a scrape timeout.
    pub(super) fn usual() -> Self {
        Self { is_default: true, ..Self::within(SCRAPE_TIMEOUT, MAX_EXTRA_WAIT) }
    }

    /// The times for a request with this scrape timeout: reads end before Prometheus stops waiting, so that the data of the
    /// healthy sources arrives.
    pub(super) fn of(timeout: Option<Duration>) -> Self {
        let Some(timeout) = timeout else { return Self::usual() };
        let margin = timeout.checked_div(10).unwrap_or_default().max(LEAST_MARGIN);
        Self::within(
            timeout.saturating_sub(margin).min(SCRAPE_TIMEOUT),
            margin.checked_div(2).unwrap_or_default().min(MAX_EXTRA_WAIT),
        )
    }

    /// Reads end within `time`; the request waits for results until `longer` after that.
    pub(super) fn within(time: Duration, longer: Duration) -> Self {
        let wait = Deadline::within(time.saturating_add(longer));
        Self { read: Deadline::within(time), wait, is_default: false }
    }
}

impl Source {
    /// A source without reads.
    pub(super) fn new(collector: Arc<dyn Collector>, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { collector, shared, reads: Mutex::default(), changed: Condvar::new() })
    }

    /// Starts a read, or waits for the next one if a read is running.
    fn ask(self: &Arc<Self>, query: Query, deadline: Deadline) -> Waiting<'_> {
        let since = Instant::now();
        let mut reads = lock(&self.reads);
        let (number, is_stuck) = (reads.begun.saturating_add(1), reads.is_overdue());
        let results = reads.results(query);
        results.waiting = results.waiting.saturating_add(1);
        if !is_stuck {
            results.wanted = results.wanted.max(Some(deadline));
        }
        let starts = reads.running.is_none();
        if starts {
            reads.running = Some(deadline.max(Deadline::within(OVERDUE)));
        }
        drop(reads);
        if starts {
            self.start();
        }
        Waiting { source: self, query, since, number, is_stuck }
    }

    /// Has a thread read as long as requests wait; reads here what never waits, but only once for other requests.
    fn start(self: &Arc<Self>) {
        if self.collector.never_waits() && (0..2).any(|_| !self.read_next()) {
            return;
        }
        let spawn = || {
            let source = Arc::clone(self);
            let run = move || while source.read_next() {};
            thread::run(Box::new(run))
        };
        // If there is no thread, this one reads.
        while spawn().is_err() && self.read_next() {}
    }

    /// Reads once for all waiting requests; returns whether there were any.
    fn read_next(&self) -> bool {
        let Some((number, metrics, sessions)) = lock(&self.reads).begin() else { return false };
        for (query, deadline) in [(Query::Metrics, metrics), (Query::Sessions, sessions)] {
            if let Some(deadline) = deadline {
                let outcome = self.read(query, deadline);
                self.publish(number, query, outcome);
            }
        }
        true
    }

    fn read(&self, query: Query, deadline: Deadline) -> Outcome {
        let has_short_deadline = deadline.left("").map_or(true, |left| left < LEAST_TIME);
        let outcome = self.collect(query, deadline);
        self.shared.status.note(&self.collector, query, &outcome, has_short_deadline);
        outcome
    }

    /// Collects, and reserves memory for the result; if there is none, the result is dropped at once.
    fn collect(&self, query: Query, deadline: Deadline) -> Outcome {
        let (started, options, reservation) =
            (Instant::now(), *lock(&self.shared.options), self.shared.memory.reserve());
        let mut report = Report::with_options(options);
        match query {
            Query::Metrics => self.collector.collect(deadline, &mut report),
            Query::Sessions => self.collector.sessions(deadline, &mut report),
        }
        report.sessions.shrink();
        let size = report.exposition.size().saturating_add(report.sessions.size());
        let fits = reservation.grow(size) || self.is_alone(query) && reservation.grow_anyway(size);
        if !fits {
            (report.exposition, report.sessions) = Default::default();
        }
        let ended = Instant::now();
        Outcome {
            name: self.collector.name(),
            exposition: Arc::new(report.exposition),
            sessions: report.sessions,
            targets: report.targets,
            notices: report.notices,
            taken: ended.saturating_duration_since(started),
            fits,
            ended,
            is_late: deadline.is_over_by(OVERDUE),
            _reservation: reservation,
        }
    }

    /// Whether no earlier result of the source is in memory: a single result is kept however large it is.
    fn is_alone(&self, query: Query) -> bool {
        let mut reads = lock(&self.reads);
        let results = reads.results(query);
        // A result that no request has taken yet is dropped.
        let last = results.last.take();
        drop(reads);
        drop(last);
        lock(&self.reads).results(query).held.iter().all(|outcome| outcome.strong_count() == 0)
    }

    fn publish(&self, number: u64, query: Query, outcome: Outcome) {
        let outcome = Arc::new(outcome);
        let mut reads = lock(&self.reads);
        let results = reads.results(query);
        results.held.retain(|outcome| outcome.strong_count() > 0);
        results.held.push(Arc::downgrade(&outcome));
        let before = if results.waiting > 0 { results.last.replace((number, outcome)) } else { None };
        let is_awaited = reads.sleeping > 0;
        drop(reads);
        if is_awaited {
            self.changed.notify_all();
        }
        // Dropped after the lock is released: it may be many megabytes.
        drop(before);
    }

    /// The outcome of a read without time: every target has timed out.
    fn no_answer(&self, query: Query) -> Outcome {
        self.collect(query, Deadline::within(Duration::ZERO))
    }

    /// Records once that a read is stuck.
    fn note_overdue(&self) {
        let mut reads = lock(&self.reads);
        if !reads.is_overdue() || reads.noted_overdue == reads.begun {
            return;
        }
        reads.noted_overdue = reads.begun;
        drop(reads);
        let outcome = self.no_answer(Query::Metrics);
        self.shared.status.note(&self.collector, Query::Metrics, &outcome, false);
    }
}

impl Reads {
    fn results(&mut self, query: Query) -> &mut Results {
        match query {
            Query::Metrics => &mut self.metrics,
            Query::Sessions => &mut self.sessions,
        }
    }

    fn is_overdue(&self) -> bool {
        self.running.is_some_and(|deadline| deadline.is_over_by(OVERDUE))
    }

    /// Begins the next read: returns its number and the deadline of each query, absent if no request waits for it. Returns
    /// `None` if no request waits at all; then no read is running.
    fn begin(&mut self) -> Option<(u64, Option<Deadline>, Option<Deadline>)> {
        let mut take = |query| self.results(query).wanted.take().filter(|deadline| !deadline.is_over());
        let (metrics, sessions) = (take(Query::Metrics), take(Query::Sessions));
        self.running = metrics.max(sessions);
        self.running?;
        self.begun = self.begun.saturating_add(1);
        Some((self.begun, metrics, sessions))
    }
}

impl Waiting<'_> {
    /// The result of the first read that began after the request came or, if that does not end in time, of one that ended
    /// meanwhile. Without either, the source has not answered in all that time.
    fn outcome(self, times: Times) -> Arc<Outcome> {
        if let Some(found) = self.wait(times.wait) {
            return found;
        }
        self.source.note_overdue();
        let outcome = self.source.no_answer(self.query);
        if times.is_default && !self.is_stuck {
            self.source.shared.status.note(&self.source.collector, self.query, &outcome, false);
        }
        Arc::new(outcome)
    }

    fn wait(&self, deadline: Deadline) -> Option<Arc<Outcome>> {
        let mut reads = lock(&self.source.reads);
        loop {
            let last = reads.results(self.query).last.as_ref();
            if let Some((_, outcome)) = last.filter(|(number, _)| *number >= self.number) {
                return Some(Arc::clone(outcome));
            }
            let left = deadline.left("").ok().filter(|_| !self.is_stuck);
            let Some(left) = left else {
                let meanwhile = last.filter(|(_, outcome)| outcome.ended >= self.since && !outcome.is_late);
                return meanwhile.map(|(_, outcome)| Arc::clone(outcome));
            };
            reads = self.sleep(reads, left);
        }
    }

    fn sleep<'r>(&self, mut reads: MutexGuard<'r, Reads>, time: Duration) -> MutexGuard<'r, Reads> {
        reads.sleeping = reads.sleeping.saturating_add(1);
        let (mut reads, _) = self.source.changed.wait_timeout(reads, time).unwrap_or_else(PoisonError::into_inner);
        reads.sleeping = reads.sleeping.saturating_sub(1);
        reads
    }
}

impl Drop for Waiting<'_> {
    /// The last waiting request removes the result: nothing is kept in memory between requests.
    fn drop(&mut self) {
        let mut reads = lock(&self.source.reads);
        let results = reads.results(self.query);
        results.waiting = results.waiting.saturating_sub(1);
        let last = if results.waiting == 0 { results.last.take() } else { None };
        drop(reads);
        drop(last);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;
    use crate::error::{Error, ErrorKind};
    use std::thread;

    const LONG: Duration = Duration::from_secs(60);

    /// A collector whose reads begin and end when a test says so.
    struct Stub {
        /// Tells that a read has begun.
        begun: Sender<Query>,
        /// What the read brings: the number in its only target's name, or why there is nothing.
        end: Mutex<Receiver<Result<u32, Error>>>,
    }

    impl Stub {
        fn read(&self, query: Query, deadline: Deadline, report: &mut Report) {
            let subject = || Error::new("/stub", ErrorKind::TimedOut);
            if deadline.is_over() {
                report.target("/stub", Err::<(), _>(subject()));
                return;
            }
            self.begun.send(query).expect("the test listens");
            let result = lock(&self.end).recv().expect("the test goes on");
            let name = result.as_ref().map_or("/stub".into(), u32::to_string);
            report.target(name, result);
        }
    }

    impl Collector for Stub {
        fn name(&self) -> &'static str {
            "stub"
        }

        fn targets(&self) -> Vec<String> {
            vec!["/stub".into()]
        }

        fn collect(&self, deadline: Deadline, report: &mut Report) {
            self.read(Query::Metrics, deadline, report);
        }

        fn sessions(&self, deadline: Deadline, report: &mut Report) {
            self.read(Query::Sessions, deadline, report);
        }
    }

    /// A source whose reads begin and end when the test says so.
    struct ControlledSource {
        source: Arc<Source>,
        begun: Receiver<Query>,
        end: Sender<Result<u32, Error>>,
    }

    impl ControlledSource {
        fn new() -> Self {
            let (begun, begins) = mpsc::channel();
            let (end, ends) = mpsc::channel();
            let collector: Arc<dyn Collector> = Arc::new(Stub { begun, end: Mutex::new(ends) });
            let shared =
                Shared { status: Status::default(), memory: MemoryBudget::new(1 << 20), options: Mutex::default() };
            shared.status.watch(vec![Arc::clone(&collector)]);
            Self { source: Source::new(collector, Arc::new(shared)), begun: begins, end }
        }

        /// A request on a thread of its own, which is known to wait when this returns; it gives the target's name.
        fn ask(&self, query: Query, time: Duration) -> thread::JoinHandle<String> {
            self.ask_within(query, Times::within(time, Duration::ZERO))
        }

        fn ask_within(&self, query: Query, times: Times) -> thread::JoinHandle<String> {
            let before = lock(&self.source.reads).results(query).waiting;
            let source = Arc::clone(&self.source);
            let asking = thread::spawn(move || {
                let outcomes = gather(&[source], query, times);
                let (name, result) = outcomes.first().and_then(|outcome| outcome.targets.first()).expect("a target");
                result.as_ref().map_or_else(ToString::to_string, |()| name.clone())
            });
            while lock(&self.source.reads).results(query).waiting == before && !asking.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            asking
        }

        fn begins(&self) -> Query {
            self.begun.recv_timeout(LONG).expect("a read begins")
        }

        fn ends(&self, result: Result<u32, Error>) {
            self.end.send(result).expect("a read is under way");
        }

        /// Waits until no thread reads.
        fn is_idle(&self) -> bool {
            while lock(&self.source.reads).running.is_some() {
                thread::sleep(Duration::from_millis(1));
            }
            self.begun.try_recv().is_err()
        }
    }

    fn slow() -> Error {
        Error::new("/stub", ErrorKind::TimedOut)
    }

    #[test]
    fn requests_that_come_while_a_read_runs_get_the_next_one_and_none_a_third() {
        let led = ControlledSource::new();
        let first = led.ask(Query::Metrics, LONG);
        assert_eq!(led.begins(), Query::Metrics);
        let crowd: Vec<_> = (0..30).map(|_| led.ask(Query::Metrics, LONG)).collect();
        led.ends(Ok(1));
        assert_eq!(first.join().unwrap(), "1", "it waits for its own read only");
        led.begins();
        assert!(crowd.iter().all(|asking| !asking.is_finished()), "what began before they came is not theirs");
        let late: Vec<_> = (0..30).map(|_| led.ask(Query::Metrics, LONG)).collect();
        led.ends(Ok(2));
        assert!(crowd.into_iter().all(|asking| asking.join().unwrap() == "2"));
        led.begins();
        led.ends(Ok(3));
        assert!(late.into_iter().all(|asking| asking.join().unwrap() == "3"));
        assert!(led.is_idle(), "three reads for 61 requests");
        let reads = lock(&led.source.reads);
        assert!(reads.metrics.last.is_none() && reads.metrics.held.iter().all(|held| held.strong_count() == 0));
    }

    #[test]
    fn metrics_and_sessions_that_are_asked_for_together_are_one_read() {
        let led = ControlledSource::new();
        let first = led.ask(Query::Sessions, LONG);
        assert_eq!(led.begins(), Query::Sessions);
        let both = [Query::Sessions, Query::Metrics, Query::Sessions].map(|query| led.ask(query, LONG));
        led.ends(Ok(1));
        assert_eq!(first.join().unwrap(), "1");
        assert_eq!(led.begins(), Query::Metrics, "metrics come first");
        let next = led.ask(Query::Metrics, LONG);
        led.ends(Ok(2));
        assert_eq!(led.begins(), Query::Sessions);
        led.ends(Ok(3));
        assert_eq!(both.map(|asking| asking.join().unwrap()), ["3", "2", "3"]);
        led.begins();
        led.ends(Ok(4));
        assert_eq!(next.join().unwrap(), "4");
        assert!(led.is_idle());
    }

    #[test]
    fn a_request_that_can_not_wait_for_the_next_read_gets_the_one_that_ended_meanwhile() {
        let led = ControlledSource::new();
        let first = led.ask(Query::Metrics, LONG);
        led.begins();
        let impatient = led.ask(Query::Metrics, Duration::from_millis(300));
        let patient = led.ask(Query::Metrics, LONG);
        led.ends(Ok(1));
        led.begins();
        assert_eq!((first.join().unwrap().as_str(), impatient.join().unwrap().as_str()), ("1", "1"));
        led.ends(Ok(2));
        assert_eq!(patient.join().unwrap(), "2");
    }

    #[test]
    fn a_wait_that_times_out_says_nothing_about_the_source_and_a_read_that_does_not_return_does() {
        let led = ControlledSource::new();
        let patient = led.ask(Query::Metrics, LONG);
        led.begins();
        let impatient = led.ask(Query::Metrics, Duration::from_millis(20));
        assert_eq!(impatient.join().unwrap(), slow().to_string(), "in its time there was no answer");
        assert_eq!(led.source.shared.status.error(), None);
        led.ends(Err(slow()));
        assert_eq!(patient.join().unwrap(), slow().to_string());
        assert_eq!(led.source.shared.status.error(), Some(slow()));
        assert!(led.is_idle(), "nobody waits any more for the read that was to come");
    }

    #[test]
    fn a_wait_of_the_default_time_that_times_out_is_recorded() {
        let led = ControlledSource::new();
        let short = Times::within(Duration::from_millis(20), Duration::ZERO);
        let asking = led.ask_within(Query::Metrics, Times { is_default: true, ..short });
        led.begins();
        assert_eq!(asking.join().unwrap(), slow().to_string());
        assert_eq!(led.source.shared.status.error(), Some(slow()), "else the doctor would say that all is well");
        led.ends(Ok(1));
        assert!(led.is_idle());
    }

    #[test]
    fn a_read_that_does_not_return_costs_one_thread_and_no_request_waits_for_it() {
        let led = ControlledSource::new();
        let stuck = led.ask(Query::Metrics, Duration::from_millis(20));
        led.begins();
        assert_eq!(stuck.join().unwrap(), slow().to_string());
        assert_eq!(led.source.shared.status.error(), None, "it may only be a little late");
        while !lock(&led.source.reads).is_overdue() {
            thread::sleep(Duration::from_millis(10));
        }
        for query in [Query::Metrics, Query::Sessions, Query::Metrics] {
            assert_eq!(led.ask(query, LONG).join().unwrap(), slow().to_string(), "at once");
        }
        assert_eq!(led.source.shared.status.error(), Some(slow()));
        led.ends(Ok(1));
        assert!(led.is_idle(), "no other read has begun");
        let next = led.ask(Query::Metrics, LONG);
        led.begins();
        led.ends(Ok(2));
        assert_eq!(next.join().unwrap(), "2", "it came back");
    }
}
