//! The configuration, as YAML and as UCI, and Prometheus' web file: text to what is meant, or an error of one line that is in the file.
#![no_main]

use gateway_exporter::config::{Config, ConfigError, Overrides};
use libfuzzer_sys::fuzz_target;

fn judge<T>(text: &str, read: Result<T, ConfigError>) {
    let Err(error) = read else { return };
    let last = text.split('\n').count();
    let text = error.to_string();
    let line = text.rsplit_once(" at line ").and_then(|(_, line)| line.parse().ok());
    assert!(line.is_none_or(|line| (1..=last).contains(&line)), "{text} of {last} lines");
    assert!(!text.is_empty() && !text.contains('\n'), "{text}");
}

fuzz_target!(|text: &str| {
    judge(text, Config::parse(text, &Overrides::default()));
    judge(text, Config::parse_uci(text, &Overrides::default()));
    judge(text, Config::web_file(text));
});
