//! JSON. The only file that knows serde_json.

use serde::Serialize;

/// The Content-Type of JSON.
pub const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// A text in quotes.
pub fn text(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Writes a value behind `out`.
pub fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    // What is written here always serializes.
    out.extend(serde_json::to_vec(value).unwrap_or_default());
}
