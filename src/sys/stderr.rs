//! The standard error, written to without a lock of ours; and whether the standard output is read.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd;

/// Starts a thread that takes no signal: the main thread waits for them.
pub fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let started = start();
    if let Ok(before) = before {
        // It was in force a moment ago.
        let _ = before.thread_set_mask();
    }
    started
}

/// Writes to the standard error, past the lock that std has for it.
pub fn write(line: &str) -> io::Result<()> {
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match unistd::write(io::stderr(), rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether it takes something without a wait, as far as the system says.
pub fn is_ready() -> bool {
    let stderr = io::stderr();
    let mut waiting = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    poll(&mut waiting, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Waits so long, or until nobody reads the standard output any more; returns whether that is so.
pub fn is_output_closed(time: Duration) -> io::Result<bool> {
    let output = io::stdout();
    let mut fds = [PollFd::new(output.as_fd(), PollFlags::empty())];
    let closed = poll(&mut fds, PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    Ok(closed? > 0)
}
