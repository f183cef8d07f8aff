//! A charon that answers from a capture.
fn main() {}
