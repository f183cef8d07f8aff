//! gateway-exporter.

pub mod collector;
pub mod expo;
pub mod session;
pub mod sockets;
pub mod source;
pub mod text;
