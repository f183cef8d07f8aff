//! gateway-exporter.

pub mod collector;
pub mod expo;
pub mod http;
pub mod session;
pub mod source;
pub mod text;
