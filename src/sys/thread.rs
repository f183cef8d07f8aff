//! Threads that nobody joins.

use std::io;
use std::thread::Builder;

/// The stack of a thread that calls the system's resolver, in bytes.
pub const RESOLVER_STACK: usize = 2 * 1024 * 1024;

/// Starts a thread that ends by itself. Not generic: what starts a thread is there once, not for each who starts one.
pub fn spawn(name: &str, stack: usize, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    Builder::new().name(name.into()).stack_size(stack).spawn(run).map(drop)
}
