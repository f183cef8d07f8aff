//! Threads, all of which are started here. One that has done short work is kept for the next: to start and end a thread takes
//! 18 system calls, to wake one takes two.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle, Thread, current, park};

use crate::lock::lock;

/// The stack of a thread that calls the system's resolver or prepares the daemon's start, in bytes.
pub const LARGE_STACK: usize = 2 * 1024 * 1024;

/// The stack of a thread for short work, in bytes: buffers are on the heap.
const STACK: usize = 256 * 1024;

/// The most threads that are kept without work: one for an answer, and three for what it asks at the same time.
const MOST_IDLE: usize = 4;

/// What a thread does.
type Work = Box<dyn FnOnce() + Send>;

/// The threads without work; the next is the last one that had some.
static IDLE: Mutex<Vec<Idle>> = Mutex::new(Vec::new());

/// A thread that waits for work.
struct Idle {
    thread: Thread,
    next: Arc<Mutex<Option<Work>>>,
}

/// Starts a thread with a stack of as many bytes. Not generic, so that the code for it is in the binary once.
pub fn spawn(name: &str, stack: usize, work: Work) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).stack_size(stack).spawn(work)
}

/// Does short work on a thread that has none, or on a new one.
pub fn run(work: Work) -> io::Result<()> {
    let idle = lock(&IDLE).pop();
    let Some(Idle { thread, next }) = idle else {
        return spawn("worker", STACK, Box::new(move || run_all(work))).map(drop);
    };
    *lock(&next) = Some(work);
    thread.unpark();
    Ok(())
}

/// Does the work, and what comes next, until enough other threads have none.
fn run_all(first: Work) {
    let (mut work, next) = (first, Arc::new(Mutex::new(None)));
    loop {
        work();
        let mut idle = lock(&IDLE);
        if idle.len() >= MOST_IDLE {
            return;
        }
        idle.push(Idle { thread: current(), next: Arc::clone(&next) });
        drop(idle);
        work = loop {
            park();
            if let Some(work) = lock(&next).take() {
                break work;
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread::{self, ThreadId};

    /// The thread of some work that ends with the gate.
    fn start(gate: Receiver<()>) -> Receiver<ThreadId> {
        let (tell, told) = channel();
        let work = move || {
            let _ = tell.send(current().id());
            let _ = gate.recv();
        };
        run(Box::new(work)).expect("a thread");
        told
    }

    #[test]
    fn work_never_waits_for_other_work_and_few_threads_are_kept_for_more() {
        let (ends, threads): (Vec<_>, Vec<_>) = (0..3 * MOST_IDLE)
            .map(|_| {
                let (end, gate) = channel();
                (end, start(gate))
            })
            .unzip();
        let mut threads: Vec<ThreadId> = threads.into_iter().map(|told| told.recv().expect("it runs")).collect();
        threads.sort_by_key(|id| format!("{id:?}"));
        threads.dedup();
        assert_eq!(threads.len(), 3 * MOST_IDLE);
        drop(ends);
        // Other tests have work, too: sooner or later a thread gets ours again.
        let is_one_of_ours = |_| {
            let (_end, gate) = channel();
            let next = start(gate).recv().expect("it runs");
            thread::yield_now();
            threads.contains(&next) || {
                threads.push(next);
                false
            }
        };
        assert!((0..10_000).any(is_one_of_ours), "threads are kept");
        assert!(lock(&IDLE).len() <= MOST_IDLE);
    }
}
