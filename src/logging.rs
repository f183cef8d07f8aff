//! The log: one line on the standard error for each message, such as `[WARN] what happened`; or logfmt or JSON.
//!
//! Logging never blocks: lines go into a queue, and a thread that exists only while the queue has lines writes them. If the
//! standard error blocks (a pipe that is not read, a log daemon that hangs), only that thread waits; lines that don't fit
//! into the queue are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::lock::lock;
use crate::sys::{clock, stderr, thread};
use crate::text::printable;
use crate::{calendar, json};

/// The most lines in the queue.
const MOST_LINES: usize = 256;

/// The longest line, in bytes: a pipe takes this much in one atomic write (`PIPE_BUF`, pipe(7)).
const LONGEST: usize = 4096;

/// How long the end of the process waits until all lines are written.
const FLUSH_TIME: Duration = Duration::from_millis(200);

/// The stack size of the writing thread, in bytes.
const STACK: usize = 64 * 1024;

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `[WARN] what happened`, on a terminal behind the time, since service managers add their own.
    Text,
    /// `time=2026-11-20T13:20:25Z level=warn msg="what happened"`, the time in UTC.
    Logfmt,
    /// An object with the keys `time`, `level` and `msg`.
    Json,
}

/// Logs messages up to [`log::max_level`].
struct Logger {
    format: Format,
    is_terminal: bool,
}

/// The lines that wait to be written.
struct Queue {
    /// Writes a line; may block.
    write: fn(&str) -> io::Result<()>,
    /// Whether a line can be written without blocking.
    is_ready: fn() -> bool,
    state: Mutex<State>,
    /// Notified when the queue is empty.
    is_done: Condvar,
}

struct State {
    lines: VecDeque<String>,
    is_writing: bool,
    dropped: usize,
}

static QUEUE: Queue = Queue::new(stderr::write, stderr::is_ready);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            QUEUE.push(line(record, self.format, self.is_terminal));
        }
    }

    /// Waits until all lines are written, at most [`FLUSH_TIME`].
    fn flush(&self) {
        QUEUE.wait(FLUSH_TIME);
    }
}

/// Starts logging messages up to `level`.
pub fn start(level: LevelFilter, format: Format) {
    let logger = Logger { format, is_terminal: io::stderr().is_terminal() };
    // It fails only if a logger is set already.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// The number of lines dropped so far.
pub fn dropped() -> usize {
    QUEUE.state().dropped
}

impl Queue {
    const fn new(write: fn(&str) -> io::Result<()>, is_ready: fn() -> bool) -> Self {
        let state = State { lines: VecDeque::new(), is_writing: false, dropped: 0 };
        Self { write, is_ready, state: Mutex::new(state), is_done: Condvar::new() }
    }

    /// Adds a line to the queue; if the queue is full, the line is dropped.
    fn push(&'static self, line: String) {
        let mut state = self.state();
        if state.lines.len() >= MOST_LINES {
            state.dropped = state.dropped.saturating_add(1);
            return;
        }
        state.lines.push_back(line);
        if std::mem::replace(&mut state.is_writing, true) {
            return;
        }
        drop(state);
        if stderr::without_signals(|| thread::spawn("log", STACK, Box::new(|| self.write_all(|| true)))).is_err() {
            // If no thread can be started, only lines that can be written without blocking are written.
            self.write_all(self.is_ready);
        }
    }

    /// Writes all lines of the queue; drops those that `may_write` refuses.
    fn write_all(&self, may_write: impl Fn() -> bool) {
        let mut state = self.state();
        while let Some(line) = state.lines.pop_front() {
            drop(state);
            let is_written = may_write() && (self.write)(&line).is_ok();
            state = self.state();
            state.dropped = state.dropped.saturating_add(usize::from(!is_written));
        }
        state.lines.shrink_to_fit();
        state.is_writing = false;
        self.is_done.notify_all();
    }

    /// Waits until the queue is empty, at most `max_wait`.
    fn wait(&self, max_wait: Duration) {
        drop(self.is_done.wait_timeout_while(self.state(), max_wait, |state| state.is_writing));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Formats a whole line, so that it is written at once and is not mixed with others.
fn line(record: &Record<'_>, format: Format, is_terminal: bool) -> String {
    // A message may contain text that a peer chose: it must not break the line or control the terminal.
    let mut text = printable(&record.args().to_string().replace('\n', " "));
    let (level, now) = (record.level(), clock::now());
    loop {
        let line = write(level, now, &text, format, is_terminal);
        let excess = line.len().saturating_sub(LONGEST);
        if excess == 0 {
            return line;
        }
        // Half of it at a time: an escaped byte takes two.
        let most = text.len().saturating_sub(excess.div_ceil(2));
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
}

/// A line with its end; `now` is Unix time.
fn write(level: Level, now: i64, text: &str, format: Format, is_terminal: bool) -> String {
    if format == Format::Text {
        return match clock::local(now).filter(|_| is_terminal) {
            Some(time) => format!("{time} [{level}] {text}\n"),
            None => format!("[{level}] {text}\n"),
        };
    }
    let [year, month, day, hour, minute, second] = calendar::date(now);
    let time = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
    let level = level.as_str().to_ascii_lowercase();
    let text = json::text(text);
    match format {
        Format::Json => format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":{text}}}\n"),
        _ => format!("time={time} level={level} msg={text}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_level_and_for_people_the_time() {
        let record = |with_time| {
            let format = Format::Text;
            line(&Record::builder().level(Level::Warn).args(format_args!("it's {}", "down")).build(), format, with_time)
        };
        assert_eq!(record(false), "[WARN] it's down\n");
        let evil = Record::builder().level(Level::Warn).args(format_args!("a\n\u{1b}[31mb\u{202e}")).build();
        assert_eq!(line(&evil, Format::Text, false), "[WARN] a \u{fffd}[31mb\u{fffd}\n");
        let line = record(true);
        assert!(line.starts_with("20") && line.get(19..) == Some(" [WARN] it's down\n"), "{line:?}");
    }

    #[test]
    fn a_message_neither_ends_its_line_nor_moves_the_cursor() {
        let text = |format| {
            let text = format_args!("a\n[WARN] b\u{1b}[2J\r\\ \"c\"");
            line(&Record::builder().level(Level::Info).args(text).build(), format, false)
        };
        assert_eq!(text(Format::Text), "[INFO] a [WARN] b\u{fffd}[2J\u{fffd}\\ \"c\"\n");
        let escaped = r#""a [WARN] b?[2J?\\ \"c\"""#.replace('?', "\u{fffd}");
        let logfmt = text(Format::Logfmt);
        assert!(logfmt.ends_with(&format!("Z level=info msg={escaped}\n")), "{logfmt}");
        let json: serde_json::Value = serde_json::from_str(&text(Format::Json)).unwrap();
        assert_eq!(json["msg"], "a [WARN] b\u{fffd}[2J\u{fffd}\\ \"c\"");
    }

    #[test]
    fn logfmt_and_json_have_time_level_and_message() {
        let text = |format| write(Level::Warn, 1_795_180_825, "it is \"down\"", format, true);
        assert_eq!(text(Format::Logfmt), "time=2026-11-20T13:20:25Z level=warn msg=\"it is \\\"down\\\"\"\n");
        let expected = r#"{"time":"2026-11-20T13:20:25Z","level":"warn","msg":"it is \"down\""}"#;
        assert_eq!(text(Format::Json), format!("{expected}\n"));
    }

    #[test]
    fn a_line_is_no_longer_than_what_a_pipe_takes_at_once() {
        for letter in ["x", "ü", "\u{1f600}"] {
            let long = letter.repeat(5000);
            let record = |text: &str, format| {
                line(&Record::builder().level(Level::Warn).args(format_args!("{text}")).build(), format, false)
            };
            let text = record(&long, Format::Text);
            assert!(text.len() <= LONGEST && text.len() > LONGEST - 4 && text.ends_with(&format!("{letter}\n")));
            // A quotation mark takes two bytes.
            for long in [long, "\"".repeat(5000)] {
                let text = record(&long, Format::Logfmt);
                assert!(text.len() <= LONGEST && text.ends_with("\"\n"), "{text}");
                let text = record(&long, Format::Json);
                let json: serde_json::Value = serde_json::from_str(&text).expect("it is whole");
                assert!(text.len() <= LONGEST && json["level"] == "warn" && text.len() > LONGEST - 5, "{text}");
            }
        }
    }

    #[test]
    fn logging_never_waits_and_lines_that_can_not_be_written_are_counted() {
        static GATE: Mutex<()> = Mutex::new(());
        static TAKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn write(line: &str) -> io::Result<()> {
            drop(GATE.lock());
            if line == "broken" {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            TAKEN.lock().unwrap().push(line.into());
            Ok(())
        }
        static QUEUE: Queue = Queue::new(write, || true);
        let shut = GATE.lock().unwrap();
        let lines = MOST_LINES + 20;
        (0..lines).for_each(|number| QUEUE.push(number.to_string()));
        // One may be with the thread that is held.
        let dropped = QUEUE.state().dropped;
        assert!(dropped == 19 || dropped == 20, "{dropped}");
        QUEUE.wait(Duration::from_millis(1));
        assert!(QUEUE.state().is_writing, "the end of the process waits for a moment only");
        drop(shut);
        QUEUE.wait(Duration::from_secs(60));
        let taken = TAKEN.lock().unwrap().len();
        assert_eq!(taken + dropped, lines);
        QUEUE.push("broken".into());
        QUEUE.push("last".into());
        QUEUE.wait(Duration::from_secs(60));
        assert_eq!(TAKEN.lock().unwrap().last().map(String::as_str), Some("last"));
        assert_eq!(QUEUE.state().dropped, dropped + 1);
    }

    #[test]
    fn without_a_thread_only_what_needs_no_waiting_is_written() {
        static TAKEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn write(line: &str) -> io::Result<()> {
            TAKEN.lock().unwrap().push(line.into());
            Ok(())
        }
        static QUEUE: Queue = Queue::new(write, || false);
        let fill = || QUEUE.state().lines.extend(["a".to_owned(), "b".to_owned()]);
        fill();
        QUEUE.write_all(QUEUE.is_ready);
        assert_eq!((QUEUE.state().dropped, TAKEN.lock().unwrap().len()), (2, 0));
        fill();
        QUEUE.write_all(|| true);
        assert_eq!((QUEUE.state().dropped, TAKEN.lock().unwrap().len()), (2, 2));
    }
}
