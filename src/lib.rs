//! Tells Prometheus how a VPN gateway is doing.
//!
//! The data flows one way, and each arrow has one verb, which is also the name of the function
//! that does it:
//!
//! ```text
//! source —read→ bytes —parse→ borrowed view —expose→ families —encode→ text —respond→ reply —serve→ socket
//! ```
//!
//! A *source* is the folder of one source: [`strongswan`], [`ipsec`], [`openvpn`], [`sockets`],
//! [`kernel`], [`wireguard`].
//! Its `mod.rs` reads, its `metrics.rs` has the names of the families and says where each value
//! comes from, and what stands between them are pure parsers. Sources don't know each other.
//!
//! Start with [`openvpn`], the simplest source, then [`expo`], which makes wrong output unsayable;
//! the rest follows the same pattern. [`app`] puts the sources side by side, [`http`] is the door,
//! [`doctor`] has the words for what is wrong, and [`source`] is the only place that knows the
//! operating system.

pub mod advice;
pub mod app;
pub mod auth;
pub mod bcrypt;
pub mod calendar;
pub mod cli;
pub mod collector;
pub mod config;
pub mod diagnosis;
pub mod exposition;
pub mod hash_index;
pub mod http;
pub mod ipsec;
pub mod kernel;
pub mod logging;
pub mod memory_budget;
pub mod openvpn;
pub mod pages;
pub mod privacy;
pub mod self_metrics;
pub mod session;
pub mod settings;
pub mod siphash;
pub mod sockets;
pub mod sources;
pub mod strongswan;
pub mod sys;
pub mod text;
pub mod totals;
pub mod wireguard;
