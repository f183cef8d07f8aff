//! Access control: users and passwords, credentials of a request, allowed networks and host names, and the rate limit.

pub mod basic;
pub mod hosts;
pub mod networks;
pub mod prompt;
mod queue;
pub mod rate_limit;
pub mod users;

pub use basic::Credentials;
pub use hosts::Hosts;
pub use networks::Networks;
pub use rate_limit::{Bucket, RateLimit};
pub use users::{Auth, Users};
