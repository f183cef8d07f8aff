//! The log: one line on the standard error for each message, `[WARN] what happened`.

use std::io::{self, IsTerminal, Write};

use gateway_exporter::source::clock;
use gateway_exporter::text::printable;
use log::{LevelFilter, Log, Metadata, Record};

/// Writes lines to the standard error, with the time where a person reads them; service managers add their own.
struct Journal {
    level: LevelFilter,
    is_terminal: bool,
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Where the standard error is gone there is nobody to tell.
            let _ = io::stderr().write_all(line(record, self.is_terminal).as_bytes());
        }
    }

    fn flush(&self) {}
}

/// From here on messages up to `level` are written.
pub(crate) fn start(level: LevelFilter) {
    let journal = Journal { level, is_terminal: io::stderr().is_terminal() };
    // It fails only where a journal is set already, and none is.
    if log::set_boxed_logger(Box::new(journal)).is_ok() {
        log::set_max_level(level);
    }
}

/// A whole line, so that it reaches the standard error in one write and no other comes between its parts.
fn line(record: &Record<'_>, with_time: bool) -> String {
    // What a peer chose can be in a message: it stays in its line and out of the terminal's controls.
    let text = printable(&record.args().to_string().replace('\n', " "));
    let message = format!("[{}] {text}\n", record.level());
    match clock::local(clock::now()).filter(|_| with_time) {
        Some(time) => format!("{time} {message}"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_level_and_for_people_the_time() {
        let record = |with_time| {
            line(&Record::builder().level(log::Level::Warn).args(format_args!("it's {}", "down")).build(), with_time)
        };
        assert_eq!(record(false), "[WARN] it's down\n");
        let evil = Record::builder().level(log::Level::Warn).args(format_args!("a\n\u{1b}[31mb\u{202e}")).build();
        assert_eq!(line(&evil, false), "[WARN] a \u{fffd}[31mb\u{fffd}\n");
        let line = record(true);
        assert!(line.starts_with("20") && line.get(19..) == Some(" [WARN] it's down\n"), "{line:?}");
    }

    #[test]
    fn a_message_neither_ends_its_line_nor_moves_the_cursor() {
        let text = line(
            &Record::builder().level(log::Level::Info).args(format_args!("a\n[WARN] b\u{1b}[2J\r")).build(),
            false,
        );
        assert_eq!(text, "[INFO] a [WARN] b\u{fffd}[2J\u{fffd}\n");
    }
}
