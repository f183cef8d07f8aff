//! The interface of a collector, which reads one source within a deadline, and what it reports.

use std::any::Any;

use crate::advice::{Advice, Severity};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::exposition::{Exposition, Options};
use crate::session::Sessions;

/// Reads one watched source.
pub trait Collector: Any + Send + Sync {
    /// The source's name in the configuration, `collect[]`, labels and log lines.
    fn name(&self) -> &'static str;

    /// The paths, addresses and commands that are watched; logged at the start.
    fn targets(&self) -> Vec<String>;

    /// Reads the source and exposes its metrics. What was written before a target failed is kept.
    fn collect(&self, deadline: Deadline, report: &mut Report);

    /// Whether it waits for nothing, since the kernel answers it from memory; then it needs no thread of its own.
    fn never_waits(&self) -> bool {
        false
    }

    /// Reads the source and lists its sessions; sources without sessions keep this default.
    fn sessions(&self, _deadline: Deadline, _report: &mut Report) {}
}

/// What one collector read.
#[derive(Default)]
pub struct Report {
    /// The families.
    pub exposition: Exposition,
    /// The sessions, where they were asked for.
    pub sessions: Sessions,
    /// Every target that was tried, and why it could not be read.
    pub targets: Vec<(String, Result<(), Error>)>,
    /// Notices about targets that could be read.
    pub notices: Vec<Notice>,
}

/// A problem that a source noticed although the target could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How bad it is.
    pub severity: Severity,
    /// The file, pattern, address or rule.
    pub subject: String,
    /// What is wrong, and what to do.
    pub advice: Advice,
    /// Whether it is logged when it is new.
    pub is_logged: bool,
}

impl Report {
    /// An empty report with these options.
    pub fn with_options(options: Options) -> Self {
        let sessions = Sessions::on(options.identities, options.most_series);
        Self { exposition: Exposition::with_options(options), sessions, ..Self::default() }
    }

    /// Records whether a target could be read; returns what was read.
    pub fn target<T>(&mut self, name: impl Into<String>, result: Result<T, Error>) -> Option<T> {
        let (state, value) = match result {
            Ok(value) => (Ok(()), Some(value)),
            Err(error) => (Err(error), None),
        };
        self.targets.push((name.into(), state));
        value
    }
}
