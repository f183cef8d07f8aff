//! The configuration: YAML to what is meant, or a complaint of one printable piece.
#![no_main]

use gateway_exporter::config::{Config, Surroundings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(complaint) = Config::parse(text, &Surroundings::default()) {
        assert!(!complaint.is_empty());
    }
});
