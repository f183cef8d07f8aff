//! The integration tests, one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod architecture;
#[path = "../replay/charon.rs"]
mod charon;
mod completions;
mod contrib;
mod dependencies;
mod differences;
mod docs;
mod fixture;
mod http;
mod ipsec;
mod kernel;
mod libreswan;
mod man;
mod management;
mod openvpn;
mod originals;
mod reader;
mod scripted_charon;
mod sockets;
mod status;
mod strongswan;
mod uci;
mod wireguard;
