//! gateway-exporter.

pub mod collector;
pub mod expo;
pub mod http;
pub mod ipsec;
pub mod openvpn;
pub mod session;
pub mod sockets;
pub mod source;
pub mod strongswan;
pub mod text;
