//! The configuration and Prometheus' web file: YAML to what is meant, or an error of one line that is in the file.
#![no_main]

use gateway_exporter::config::{Config, ConfigError, Overrides};
use libfuzzer_sys::fuzz_target;

fn judge<T>(text: &str, read: Result<T, ConfigError>) {
    let Err(error) = read else { return };
    let last = text.split('\n').count();
    assert!(error.line.is_none_or(|line| (1..=last).contains(&line)), "{error:?} of {last} lines");
    assert!(!error.message.is_empty() && !error.to_string().contains('\n'), "{error:?}");
}

fuzz_target!(|text: &str| {
    judge(text, Config::parse(text, &Overrides::default()));
    judge(text, Config::web_file(text));
});
