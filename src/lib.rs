//! A Prometheus exporter for VPN gateways: strongSwan, libreswan, OpenVPN, WireGuard, the kernel's IPsec errors, and sockets.
//!
//! # How the data flows
//!
//! Data flows in one direction, and each step has one verb, which is also the name of the function that does it:
//!
//! ```text
//! daemon, file, kernel —read→ bytes —parse→ borrowed view —expose→ rows of families —encode→ text —respond→ reply —serve→ socket
//! ```
//!
//! - A *source* is one kind of daemon or kernel table and the folder of its code: [`strongswan`], [`ipsec`], [`openvpn`],
//!   [`sockets`], [`kernel`], [`wireguard`]. Sources don't know each other; [`source`] defines what each must provide, and [`sources`]
//!   lists them.
//! - In the folder of a source, `mod.rs` reads, pure parsers turn the bytes into views, `metrics.rs` defines the metric
//!   families and fills their rows, `settings.rs` reads the source's keys of the configuration, and `advice.rs` explains
//!   errors.
//! - [`sys`] makes all calls to the operating system; each has a size limit and a deadline. [`collector`] has the interface
//!   that reads a source, [`deadline`] the time by which it must have answered, and [`error`] why it could not be read.
//! - [`netlink`] reads and writes the messages of netlink(7), which several sources use.
//! - [`exposition`] holds the rows of all families and writes the Prometheus text. [`totals`] keeps counters that survive
//!   rekeys and reconnects, [`session`] is a row of the session list, [`privacy`] hides or hashes clients' names.
//! - [`app`] connects sources and requests: it reads the sources in parallel, within the scrape's deadline, and makes the
//!   reply. [`pages`] writes the HTML, [`self_metrics`] the exporter's own metrics, [`catalogue`] the list of all families,
//!   [`diagnosis`] (`--doctor` and the overview page) says what is down and what to do, with the texts of [`advice`]; [`watched`] says how the tunnels, servers and
//!   peers are, by the families that each source names for that. [`json`] writes JSON. [`memory_budget`] limits the memory of
//!   all replies together.
//! - [`http`] is the server: it accepts connections, bounds them, and calls [`app`]. [`auth`] checks who may request.
//! - [`config`] is the configuration as a whole; [`settings`] reads YAML into values that know their line. [`cli`] has the
//!   flags, [`logging`] writes the log, `main.rs` starts everything and handles signals.
//!
//! `tests/it/architecture.rs` checks these rules: which module may use which.
//!
//! # What to read first
//!
//! 1. [`kernel`], the smallest source: one file is read, parsed and exposed.
//! 2. [`openvpn`], a source with sessions, totals and discovery.
//! 3. [`exposition`], what `metrics.rs` fills; then [`app`].
//!
//! # Where a change goes
//!
//! | change | where |
//! |---|---|
//! | a new column of OpenVPN's status file | parse it in `openvpn/status.rs` (`Column`, `TITLES`, `Client`), expose it in `openvpn/metrics.rs`, list it in `openvpn/sessions.rs` |
//! | a new line of OpenVPN's `GLOBAL_STATS` | match its name in `openvpn/metrics.rs` (`Entry::Global`), and add a family there |
//! | a new limit of the HTTP server | a field of [`http::Limits`]; enforce it in `http/server.rs` (connections, heads) or `http/pool.rs` (answers); which peer loses is decided in `http/fairness.rs` |
//! | a new source | a folder, and a line in [`sources::ALL`]: see docs/development.md |
//! | a new key of the configuration | of one source: its `settings.rs`; of all: [`config`] |
//! | something else that should be well on the overview | an entry of `WATCHED` in the `metrics.rs` of its source |
//! | a new system call | [`sys`] |

pub mod advice;
pub mod app;
pub mod auth;
pub mod bcrypt;
pub mod calendar;
pub mod catalogue;
pub mod cli;
pub mod collector;
pub mod config;
pub mod deadline;
pub mod diagnosis;
pub mod encoding;
pub mod error;
pub mod exposition;
pub mod hash_index;
pub mod http;
pub mod ipsec;
pub mod json;
pub mod kernel;
pub mod lock;
pub mod logging;
pub mod memory_budget;
pub mod netlink;
pub mod openvpn;
pub mod pages;
pub mod privacy;
pub mod self_metrics;
pub mod session;
pub mod settings;
pub mod siphash;
pub mod sockets;
pub mod source;
pub mod sources;
pub mod strongswan;
pub mod sys;
pub mod text;
pub mod totals;
pub mod watched;
pub mod wireguard;
