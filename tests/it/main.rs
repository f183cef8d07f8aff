//! The integration tests, one binary.

mod sockets;
