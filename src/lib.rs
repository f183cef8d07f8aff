//! Tells Prometheus how a VPN gateway is doing.
//!
//! The data flows one way, and each arrow has one verb, which is also the name of the function
//! that does it:
//!
//! ```text
//! source —read→ bytes —parse→ borrowed view —expose→ families —encode→ text —respond→ reply —serve→ socket
//! ```
//!
//! A *house* is the folder of one source: [`strongswan`], [`ipsec`], [`openvpn`], [`sockets`],
//! [`kernel`], [`wireguard`].
//! Its `mod.rs` reads, its `metrics.rs` has the names of the families and says where each value
//! comes from, and what stands between them are pure parsers. Houses don't know each other.
//!
//! Start with [`openvpn`], the simplest house, then [`expo`], which makes wrong output unsayable;
//! the rest follows the same pattern. [`app`] puts the houses side by side, [`http`] is the door,
//! [`doctor`] has the words for what is wrong, and [`source`] is the only place that knows the
//! operating system.

pub mod app;
pub mod bcrypt;
pub mod cli;
pub mod collector;
pub mod config;
pub mod doctor;
pub mod expo;
pub mod http;
pub mod identities;
pub mod ipsec;
pub mod kernel;
pub mod ledger;
pub mod openvpn;
pub mod own;
pub mod pages;
pub mod room;
pub mod session;
pub mod siphash;
pub mod sockets;
pub mod source;
pub mod strongswan;
pub mod text;
pub mod users;
pub mod wireguard;
