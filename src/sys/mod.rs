//! The only place that knows the operating system: read a file, ask a socket, run a command,
//! look at the clock. Every read has a cap and a deadline; [`blocking`] lists what may wait, and for how long.

pub mod blocking;
pub mod clock;
pub mod command;
pub mod environment;
mod erased;
pub mod file;
pub mod libc;
pub mod netlink;
pub mod process;
pub mod settings_file;
pub mod socket;
pub mod stderr;
pub mod thread;
pub mod usage;
