//! The only place that knows the operating system: read a file, ask a socket, run a command,
//! look at the clock. Every read has a cap and a deadline.

pub mod c;
pub mod clock;
pub mod command;
mod erased;
pub mod file;
pub mod netlink;
pub mod process;
pub mod scene;
pub mod socket;
pub mod usage;
