//! All calls to the operating system: files, sockets, commands, the clock. Every read has a size limit and a deadline;
//! [`blocking`] lists what may wait, and for how long.

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
