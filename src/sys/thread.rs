//! Threads, all of which are started here.

use std::io;
use std::thread::{Builder, JoinHandle};

/// The stack of a thread that calls the system's resolver or prepares the daemon's start, in bytes.
pub const LARGE_STACK: usize = 2 * 1024 * 1024;

/// Starts a thread with a stack of as many bytes. Not generic, so that the code for it is in the binary once.
pub fn spawn(name: &str, stack: usize, run: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.into()).stack_size(stack).spawn(run)
}
