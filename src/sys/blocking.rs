//! System calls that may never return, each on a thread of its own.
//!
//! A file system that hangs (NFS, sshfs, FUSE, failing flash) blocks every open, readdir or stat of a file there, and
//! no signal or deadline ends that. So these calls for configured paths are made on another thread, and the caller
//! waits for it until its deadline. There is at most one such thread for each subject: other callers wait for it, and
//! while a thread that nobody waits for any more has not returned, further calls for its subject fail at once.
//!
//! Every wait of the exporter, and what bounds it:
//!
//! | wait | bound |
//! |---|---|
//! | open, read, stat, readdir of status files and of `ipsec.conf` with its includes; globs; sockets in a folder and files with names; discovery; the surroundings of a target | [`run`] |
//! | fork and exec of a command | [`run`] |
//! | output of a command, its end | poll and try_wait until the deadline, then SIGKILL; one that can't be killed is abandoned |
//! | connect, send, receive on sockets | the deadline, by time-outs of the kernel and poll |
//! | path lookup of a Unix socket; files below `/proc` | the read of the source, which nobody waits for beyond its deadline ([`crate::app`]) |
//! | `/proc/net/xfrm_stat` | none: the kernel answers from memory, so the thread that answers reads it |
//! | getaddrinfo for the address of a daemon | [`resolve`] |
//! | getaddrinfo for the hosts of rules | a thread of its own, one at a time |
//! | netlink | time-outs of the kernel; the kernel answers from memory |
//! | a lock | held for steps in memory only; those that wait for a source or a password have a deadline |
//! | the standard error | a thread of its own, one at a time ([`crate::logging`]) |
//! | configuration, certificates, users at a reload | the thread of the reload; signals are heard by another |
//!
//! A thread or process that the kernel itself blocks, as in a write to a dead NFS server, ends when the kernel returns.

use std::cell::Cell;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::thread;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::lock::lock;

/// The most threads that have not returned in time; with this many, no call is made until one returns.
const MOST_STUCK: usize = 24;

/// The calls that have not returned.
static PENDING: Mutex<Vec<Pending>> = Mutex::new(Vec::new());

/// Signals that a call returned, or that nobody waits for it any more.
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Whether this thread makes such a call.
    static IS_BLOCKING_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// A call that has not returned.
struct Pending {
    subject: String,
    /// Whether nobody waits for it any more.
    is_stuck: bool,
}

/// What is done on a thread, and how that is started.
type Work = Box<dyn FnOnce() + Send>;
type Start = fn(Work) -> io::Result<()>;

/// A call, and the signal for its caller.
struct Call {
    /// Absent once it is made.
    work: Mutex<Option<Work>>,
    stage: Mutex<Stage>,
    done: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    Done,
    /// Nobody waits any more.
    Abandoned,
}

/// Makes a call and returns its result; `TimedOut` if it takes longer than half of the remaining time, so that there is
/// time for what is read after it. Waits for another call for the same subject that is under way; `TimedOut` at once if
/// that has not returned in its time. A result that comes too late is dropped.
pub fn run<T: Send + 'static>(
    subject: &str,
    deadline: Deadline,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    run_on(thread::run, subject, deadline, call)
}

/// The same for the system's resolver. That of musl needs no larger stack; that of glibc calls modules, for which a thread has
/// what it has by default.
pub fn resolve<T: Send + 'static>(
    subject: &str,
    deadline: Deadline,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let on_large_stack = |work| thread::spawn("resolver", thread::LARGE_STACK, work).map(drop);
    run_on(if cfg!(target_env = "musl") { thread::run } else { on_large_stack }, subject, deadline, call)
}

fn run_on<T: Send + 'static>(
    start: Start,
    subject: &str,
    deadline: Deadline,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let result = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&result);
    run_work(start, subject, deadline, Box::new(move || *lock(&slot) = Some(call())))?;
    let result = lock(&result).take();
    result.unwrap_or_else(|| Err(Error::new(subject, ErrorKind::TimedOut)))
}

/// Not generic, so that the code for it is in the binary once.
fn run_work(start: Start, subject: &str, deadline: Deadline, work: Work) -> Result<(), Error> {
    deadline.left(subject)?;
    if IS_BLOCKING_THREAD.get() {
        work();
        return Ok(());
    }
    begin(subject, deadline.half())?;
    let work = Mutex::new(Some(work));
    let call = Arc::new(Call { work, stage: Mutex::new(Stage::UnderWay), done: Condvar::new() });
    let (shared, name) = (Arc::clone(&call), subject.to_owned());
    let make = move || {
        IS_BLOCKING_THREAD.set(true);
        shared.make();
        IS_BLOCKING_THREAD.set(false);
        shared.end(&name);
    };
    if start(Box::new(make)).is_ok() {
        return call.wait(deadline.half(), subject);
    }
    // If no thread can be started, the call is made here, and may block the whole read.
    call.make();
    end(subject);
    Ok(())
}

/// Waits until no other call for the subject is under way, and registers one; an error if none may be made now.
fn begin(subject: &str, deadline: Deadline) -> Result<(), Error> {
    let mut pending = lock(&PENDING);
    loop {
        let other = pending.iter().find(|call| call.subject == subject);
        let is_full = pending.iter().filter(|call| call.is_stuck).count() >= MOST_STUCK;
        if is_full || other.is_some_and(|call| call.is_stuck) {
            return Err(Error::new(subject, ErrorKind::TimedOut));
        }
        if other.is_none() {
            pending.push(Pending { subject: subject.into(), is_stuck: false });
            return Ok(());
        }
        let left = deadline.left(subject)?;
        pending = CHANGED.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Marks the call for a subject as stuck: nobody waits for it any more.
fn abandon(subject: &str) {
    let mut pending = lock(&PENDING);
    pending.iter_mut().filter(|call| call.subject == subject).for_each(|call| call.is_stuck = true);
    CHANGED.notify_all();
}

/// Removes the call for a subject, which has returned.
fn end(subject: &str) {
    lock(&PENDING).retain(|call| call.subject != subject);
    CHANGED.notify_all();
}

impl Call {
    fn make(&self) {
        let work = lock(&self.work).take();
        if let Some(work) = work {
            work();
        }
    }

    /// Waits for the end of the call, and abandons it at the deadline.
    fn wait(&self, deadline: Deadline, subject: &str) -> Result<(), Error> {
        let mut stage = lock(&self.stage);
        while *stage != Stage::Done {
            let left = deadline.left(subject).inspect_err(|_| {
                *stage = Stage::Abandoned;
                abandon(subject);
            })?;
            (stage, _) = self.done.wait_timeout(stage, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn end(&self, subject: &str) {
        let mut stage = lock(&self.stage);
        end(subject);
        if *stage != Stage::Abandoned {
            *stage = Stage::Done;
            self.done.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    fn within(milliseconds: u64) -> Deadline {
        Deadline::within(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_call_gives_what_it_returns() {
        assert_eq!(run("a call", within(60_000), || Ok(7)), Ok(7));
        let error = Error::new("x", ErrorKind::NotFound);
        let same = error.clone();
        assert_eq!(run::<()>("a call", within(60_000), move || Err(same)), Err(error));
        let inner = || run("an inner call", within(60_000), || Ok(thread::current().id()));
        let outer = run("an outer call", within(60_000), move || Ok((thread::current().id(), inner()?)));
        assert!(outer.is_ok_and(|(outer, inner)| outer == inner), "a call within a call needs no other thread");
    }

    #[test]
    fn of_calls_that_do_not_return_there_is_one_for_each_subject() {
        let (release, gate) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let subject = "a file that hangs";
        let hang = move || {
            begun.send(()).expect("the test waits");
            let _ = gate.recv();
            Ok(())
        };
        let timed_out = || Err(Error::new(subject, ErrorKind::TimedOut));
        assert_eq!(run(subject, within(100), hang), timed_out());
        begins.recv().expect("it was called");
        for _ in 0..100 {
            let never = || -> Result<(), Error> { panic!("it must not be asked again") };
            assert_eq!(run(subject, within(60_000), never), timed_out());
        }
        assert_eq!(run("another file", within(60_000), || Ok(1)), Ok(1));
        release.send(()).expect("it still waits");
        let back = || run(subject, within(60_000), || Ok(()));
        while back().is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn of_those_who_ask_at_once_one_calls_and_the_others_wait() {
        static CALLS: Mutex<u32> = Mutex::new(0);
        let subject = "a folder that hangs";
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let ask = |time| {
            let gate = Arc::clone(&gate);
            let hang = move || {
                *lock(&CALLS) += 1;
                let _ = lock(&gate).recv();
                Ok(())
            };
            thread::spawn(move || run(subject, within(time), hang))
        };
        let first = ask(400);
        while *lock(&CALLS) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let others: Vec<_> = (0..2 * MOST_STUCK).map(|_| ask(60_000)).collect();
        let timed_out = || Err(Error::new(subject, ErrorKind::TimedOut));
        assert_eq!(first.join().unwrap(), timed_out());
        assert!(others.into_iter().all(|other| other.join().unwrap() == timed_out()), "they are told, too");
        assert_eq!(*lock(&CALLS), 1);
        assert_eq!(run("a file that is well", within(60_000), || Ok(1)), Ok(1));
        drop(release);
        while run(subject, within(60_000), || Ok(())).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
        // None of those that wait for a call that returns is refused.
        let returning = |_| thread::spawn(move || run("a call that returns", within(60_000), || Ok(())));
        let all: Vec<_> = (0..50).map(returning).collect();
        assert!(all.into_iter().all(|asking| asking.join().unwrap() == Ok(())));
    }

    #[test]
    fn with_no_time_left_nothing_is_called() {
        let never = || -> Result<(), Error> { panic!("there is no time") };
        assert_eq!(run("late", within(0), never), Err(Error::new("late", ErrorKind::TimedOut)));
    }
}
