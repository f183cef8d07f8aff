//! Calls that the system may never return from, each on a thread of its own.
//!
//! A file system that hangs (NFS, sshfs, FUSE, a dying flash) holds whoever opens, lists or looks at a file there, and
//! no signal or deadline ends that. So what is asked of a path that somebody configured is asked on another thread, which
//! is waited for no longer than there is time. Of a thread that does not come back there is one for each subject: until
//! it does, that subject is not asked again.
//!
//! Every wait of the exporter, and what bounds it:
//!
//! | wait | bound |
//! |---|---|
//! | open, read, stat, readdir of status files and of `ipsec.conf` with its includes; globs; discovery; the surroundings of a target | [`run`] |
//! | fork and exec of a command | [`run`] |
//! | output of a command, its end | poll and try_wait until the deadline, then SIGKILL; one that can't be killed is left alone |
//! | connect, send, receive on sockets | the deadline, by time-outs of the kernel and poll |
//! | path lookup of a Unix socket; files below `/proc` | the read of the source, which nobody waits for beyond its deadline ([`crate::app`]) |
//! | getaddrinfo | a thread of its own, one at a time |
//! | netlink | time-outs of the kernel; the kernel answers from memory |
//! | a lock | held for steps in memory only; those that wait for a source or a password have a deadline |
//! | the standard error | a thread of its own, one at a time ([`crate::logging`]) |
//! | configuration, certificates, users at a reload | the thread of the reload; signals are heard by another |
//!
//! What the kernel itself does not let go, such as a process in a write to a dead NFS server, ends when it does.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::collector::{Deadline, Error};

/// The most threads that have not come back; with more, nothing is asked until one does.
const MOST_STUCK: usize = 24;

/// Files are read into buffers on the heap, and nothing here calls itself.
const STACK: usize = 256 * 1024;

/// The subjects of calls that nobody waits for any more.
static STUCK: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread may be left alone with a call that does not return.
    static IS_BLOCKING_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// A call, and who waits for it.
struct Call<T> {
    stage: Mutex<Stage<T>>,
    done: Condvar,
}

enum Stage<T> {
    UnderWay,
    Done(T),
    /// Nobody waits any more.
    Abandoned,
}

/// Makes a call and gives what it returns; `TimedOut` where it does not within half of the time that is left, so that
/// what is to be read after it has time as well. An earlier call for the same subject that has not come back is an error
/// at once. What comes back too late is dropped.
pub fn run<T: Send + 'static>(
    subject: &str,
    deadline: Deadline,
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    deadline.left(subject)?;
    if IS_BLOCKING_THREAD.get() {
        return call();
    }
    if is_stuck(subject) {
        return Err(Error::TimedOut { subject: subject.into() });
    }
    let waiting = Arc::new(Call { stage: Mutex::new(Stage::UnderWay), done: Condvar::new() });
    let shared = Arc::clone(&waiting);
    let (name, call) = (subject.to_owned(), Arc::new(Mutex::new(Some(call))));
    let taken = Arc::clone(&call);
    let make = move || {
        IS_BLOCKING_THREAD.set(true);
        if let Some(call) = take(&taken) {
            shared.end(call(), &name);
        }
    };
    match thread::Builder::new().name("blocking".into()).stack_size(STACK).spawn(make) {
        Ok(_) => waiting.result(deadline.half(), subject),
        // Where the system has no thread to give it is asked here, and may take the thread of the whole read.
        Err(error) => take(&call).map_or_else(|| Err(Error::io(subject, &error)), |call| call()),
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    lock(slot).take()
}

/// Whether a subject is not to be asked now.
fn is_stuck(subject: &str) -> bool {
    let stuck = lock(&STUCK);
    stuck.len() >= MOST_STUCK || stuck.iter().any(|other| other == subject)
}

impl<T> Call<Result<T, Error>> {
    /// Waits for the end of the call, or leaves it alone.
    fn result(&self, deadline: Deadline, subject: &str) -> Result<T, Error> {
        let mut stage = lock(&self.stage);
        loop {
            match std::mem::replace(&mut *stage, Stage::UnderWay) {
                Stage::Done(result) => return result,
                Stage::UnderWay | Stage::Abandoned => {}
            }
            let Ok(left) = deadline.left(subject) else {
                *stage = Stage::Abandoned;
                lock(&STUCK).push(subject.into());
                return Err(Error::TimedOut { subject: subject.into() });
            };
            (stage, _) = self.done.wait_timeout(stage, left).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Call<T> {
    fn end(&self, result: T, subject: &str) {
        let mut stage = lock(&self.stage);
        if matches!(*stage, Stage::Abandoned) {
            let mut stuck = lock(&STUCK);
            if let Some(index) = stuck.iter().position(|other| other == subject) {
                stuck.swap_remove(index);
            }
        } else {
            *stage = Stage::Done(result);
            self.done.notify_one();
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
    use std::sync::mpsc;
    use std::time::Duration;

    fn within(milliseconds: u64) -> Deadline {
        Deadline::within(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_call_gives_what_it_returns() {
        assert_eq!(run("a call", within(60_000), || Ok(7)), Ok(7));
        let error = Error::NotFound { subject: "x".into() };
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
        let timed_out = || Err(Error::TimedOut { subject: subject.into() });
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
    fn with_no_time_left_nothing_is_called() {
        let never = || -> Result<(), Error> { panic!("there is no time") };
        assert_eq!(run("late", within(0), never), Err(Error::TimedOut { subject: "late".into() }));
    }
}
