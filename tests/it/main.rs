//! The integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../replay/charon.rs"]
mod charon;
mod fixture;
mod http;
mod ipsec;
mod openvpn;
mod reader;
mod sockets;
mod strongswan;
