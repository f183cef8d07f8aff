//! The state of every target since its last read. Changes are logged; the overview page and `--doctor` show all states.
//!
//! States come from reads, not from requests, since a peer decides how long its request waits. At most one line per target
//! and minute is logged. A change in between is logged by the first read after that minute, if it lasts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::Level;

use super::lock;
use super::outcome::{Outcome, Query};
use super::troubles::{Troubles, judge};
use crate::collector::{Collector, Notice};
use crate::deadline::Deadline;
use crate::diagnosis::{self, Finding, Since};
use crate::error::{Error, ErrorKind};
use crate::sources;
use crate::sys::blocking;
use crate::sys::clock;
use crate::sys::environment::{Environment, Traces};
use crate::watched::Counts;

/// The shortest time between two log lines about one target.
const QUIET: Duration = Duration::from_secs(60);

/// The last state of all targets, shared by all reads.
#[derive(Default)]
pub(super) struct Status(Mutex<KnownState>);

#[derive(Default)]
struct KnownState {
    /// The collectors whose reads count.
    watched: Vec<Arc<dyn Collector>>,
    /// Sorted by source and name.
    targets: Vec<Target>,
    /// The notices of each source's last read of metrics.
    notices: Vec<(&'static str, Notice)>,
    /// The findings about the addresses to listen on.
    listeners: Vec<Finding>,
    troubles: Troubles,
}

/// A target, and why it could not be read, if it could not.
#[derive(Clone, Debug)]
struct Target {
    source: &'static str,
    name: String,
    error: Option<Error>,
    /// Since when it can, or cannot, be read.
    since: Since,
    /// What was logged about it last, and when; absent if nothing was.
    logged: Option<(Option<Error>, Instant)>,
}

/// A line for the log.
type Line = (Level, String);

impl Status {
    /// Records only reads of these collectors from now on, and forgets the states of others.
    pub(super) fn watch(&self, watched: Vec<Arc<dyn Collector>>) {
        let mut known = lock(&self.0);
        let has = |source: &str| watched.iter().any(|collector| collector.name() == source);
        known.targets.retain(|target| has(target.source));
        known.notices.retain(|(source, _)| has(source));
        known.troubles.retain(has);
        known.watched = watched;
    }

    /// Records the outcome of a read, and logs changes. With `has_short_deadline` the read had so little time that a timeout
    /// says nothing about the target.
    pub(super) fn note(
        &self,
        collector: &Arc<dyn Collector>,
        query: Query,
        outcome: &Outcome,
        has_short_deadline: bool,
    ) {
        let lines = lock(&self.0).note(collector, query, outcome, has_short_deadline, Instant::now());
        for (level, line) in lines {
            log::log!(level, "{}: {line}", outcome.name);
        }
    }

    /// Records the findings about the addresses to listen on.
    pub(super) fn note_listeners(&self, findings: Vec<Finding>) {
        lock(&self.0).listeners = findings;
    }

    /// The findings about what is watched through a source, which is counted.
    pub(super) fn watched(&self, outcome: &Outcome, counts: &mut Counts) -> Vec<Finding> {
        let (mut findings, known) = (Vec::new(), lock(&self.0));
        judge(outcome, clock::now(), &mut |thing| {
            counts.add(&thing);
            // A notice about it says more: a rule that can never match has no socket, either.
            if !thing.is_told_elsewhere() && !known.has_notice(outcome.name, &thing.name()) {
                findings.push(Finding {
                    severity: thing.severity,
                    source: outcome.name,
                    subject: thing.subject(),
                    fix: thing.fix(),
                    since: known.troubles.since_of(outcome.name, &thing),
                    bytes: thing.bytes(),
                    message: thing.message,
                });
            }
        });
        findings
    }

    /// Whether every target could be read at its last read.
    pub(super) fn is_well(&self) -> bool {
        lock(&self.0).targets.iter().all(|target| target.error.is_none())
    }

    /// The findings about all targets, grouped by source. `absent` are the sources that were not found on this machine, with
    /// the paths where they were looked for.
    pub(super) fn findings(&self, absent: &[(&'static str, &'static str)], deadline: Deadline) -> Vec<Finding> {
        let (targets, notices, listeners) = {
            let known = lock(&self.0);
            let noticed = known.notices.iter().map(|(source, notice)| Finding {
                since: known.troubles.since_of_notice(source, notice),
                ..diagnosis::notice(source, notice)
            });
            (known.targets.clone(), noticed.collect::<Vec<_>>(), known.listeners.clone())
        };
        let mut down: Vec<(&str, String, Error)> = Vec::new();
        for target in &targets {
            down.extend(target.error.clone().map(|error| (target.source, target.name.clone(), error)));
        }
        for (source, tried) in absent {
            down.push((source, (*tried).into(), Error::new(*tried, ErrorKind::NotFound)));
        }
        let mut environments = inspect_environments(down, deadline).into_iter();
        let mut environment = || environments.next().unwrap_or_default();
        let mut findings = Vec::new();
        for Target { source, name, error, since, .. } in targets {
            let environment = if error.is_some() { environment() } else { Environment::default() };
            let has_notice = notices.iter().any(|notice| notice.source == source && notice.subject == name);
            if error.is_some() || !has_notice {
                findings.push(Finding {
                    since: Some(since),
                    ..diagnosis::target(source, &name, error.as_ref(), &environment)
                });
            }
        }
        // A notice about a target that is down says less than its error.
        let is_down = |notice: &Finding| findings.iter().any(|finding| finding.subject == notice.subject);
        let mut news: Vec<_> = notices.into_iter().filter(|notice| !is_down(notice)).collect();
        news.extend(absent.iter().map(|(source, tried)| diagnosis::absent(source, tried, &environment())));
        news.extend(listeners);
        for finding in news {
            let behind = findings.iter().rposition(|known| known.source == finding.source);
            findings.insert(behind.map_or(findings.len(), |index| index.saturating_add(1)), finding);
        }
        findings
    }
}

/// The environment of each target that could not be read; empty if it cannot be inspected in time.
fn inspect_environments(targets: Vec<(&'static str, String, Error)>, deadline: Deadline) -> Vec<Environment> {
    if targets.is_empty() {
        return Vec::new();
    }
    let look = move || {
        let environment = |(source, target, error): &(&'static str, String, Error)| {
            let traces = sources::named(source).map_or(Traces::NONE, |source| source.traces);
            Environment::inspect(traces, target, error)
        };
        Ok(targets.iter().map(environment).collect())
    };
    blocking::run("what is around the targets", deadline, look).unwrap_or_default()
}

impl KnownState {
    fn has_notice(&self, source: &str, subject: &str) -> bool {
        self.notices.iter().any(|(known, notice)| *known == source && notice.subject == subject)
    }

    fn note(
        &mut self,
        collector: &Arc<dyn Collector>,
        query: Query,
        outcome: &Outcome,
        has_short_deadline: bool,
        now: Instant,
    ) -> Vec<Line> {
        // A collector that a reload has replaced meanwhile no longer counts.
        if !self.watched.iter().any(|watched| Arc::ptr_eq(watched, collector)) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if query == Query::Metrics {
            self.note_notices(outcome.name, &outcome.notices, &mut lines);
            self.troubles.note(outcome, clock::now());
            let is_there = |name: &str| outcome.targets.iter().any(|(reported, _)| reported == name);
            self.targets.retain(|target| target.source != outcome.name || is_there(&target.name));
        }
        for (name, result) in &outcome.targets {
            let error = result.as_ref().err();
            if !has_short_deadline || !error.is_some_and(|error| matches!(error.kind, ErrorKind::TimedOut)) {
                lines.extend(self.target(outcome.name, name, error).and_then(|target| target.note(error, now)));
            }
        }
        lines
    }

    /// Replaces a source's notices; new ones are logged if they are marked so.
    fn note_notices(&mut self, source: &'static str, notices: &[Notice], lines: &mut Vec<Line>) {
        for notice in notices {
            if notice.is_logged && !self.has_notice(source, &notice.subject) {
                lines.push((Level::Warn, format!("{}: {}", notice.subject, notice.advice.message)));
            }
        }
        self.notices.retain(|(name, _)| *name != source);
        self.notices.extend(notices.iter().map(|notice| (source, notice.clone())));
    }

    /// The target of that name, which is added if it is new: then it has been so for longer, maybe.
    fn target(&mut self, source: &'static str, name: &str, error: Option<&Error>) -> Option<&mut Target> {
        let index = self.targets.binary_search_by(|target| (target.source, target.name.as_str()).cmp(&(source, name)));
        if let Err(index) = index {
            let target = Target {
                source,
                name: name.into(),
                error: error.cloned(),
                since: Since { moment: clock::now(), is_at_least: true },
                logged: None,
            };
            self.targets.insert(index, target);
        }
        let (Ok(index) | Err(index)) = index;
        self.targets.get_mut(index)
    }
}

impl Target {
    /// Records whether it could be read; returns a line if that has to be logged.
    fn note(&mut self, error: Option<&Error>, now: Instant) -> Option<Line> {
        // The time stays if only the reason of the failure changes.
        if self.error.is_some() != error.is_some() {
            self.since = Since { moment: clock::now(), is_at_least: false };
        }
        self.error = error.cloned();
        let is_logged_already = match &self.logged {
            None => error.is_none(),
            Some((logged, at)) => logged.as_ref() == error || now.saturating_duration_since(*at) < QUIET,
        };
        if is_logged_already {
            return None;
        }
        self.logged = Some((error.cloned(), now));
        Some(match error {
            Some(error) => (Level::Warn, error.to_string()),
            None => (Level::Info, format!("{} answers again", self.name)),
        })
    }
}

#[cfg(test)]
impl Status {
    /// Why the first target could not be read.
    pub(super) fn error(&self) -> Option<Error> {
        lock(&self.0).targets.first().and_then(|target| target.error.clone())
    }

    /// Since when the first target is as it is.
    pub(super) fn since(&self) -> i64 {
        lock(&self.0).targets[0].since.moment
    }

    pub(super) fn set_since(&self, since: i64) {
        lock(&self.0).targets[0].since.moment = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_line_of_the_log_a_minute_however_often_it_changes() {
        let since = Since { moment: 0, is_at_least: true };
        let mut target = Target { source: "a", name: "/a".into(), error: None, since, logged: None };
        let start = Instant::now();
        let slow = Error::new("/a", ErrorKind::TimedOut);
        let gone = Error::new("/a", ErrorKind::NotFound);
        let mut note = |seconds: u64, error: Option<&Error>| {
            let line = target.note(error, start + Duration::from_secs(seconds));
            line.map(|(level, line)| format!("{level} {line}")).unwrap_or_default()
        };
        assert_eq!(note(0, None), "", "that it answers is nothing new");
        assert_eq!(note(1, Some(&slow)), "WARN /a: no answer in time");
        for second in 2..61 {
            assert_eq!(note(second, Some(&slow).filter(|_| second % 2 > 0)), "");
        }
        assert_eq!(note(61, Some(&slow)), "", "that was logged");
        assert_eq!(note(62, None), "INFO /a answers again");
        assert_eq!(note(63, Some(&gone)), "");
        assert_eq!(note(122, Some(&gone)), "WARN /a: not found", "logged late rather than never");
        assert_eq!(target.error, Some(gone));
    }
}
