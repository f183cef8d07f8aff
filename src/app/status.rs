//! What every target did when it was last read: the log has what changed, the landing page all of it.
//!
//! Reads are noted, not requests: how long a request waits is its peer's to say. A target has at most one line of the
//! log a minute. What changes in between is logged by the first read after that, if it is still so.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use log::Level;

use super::lock;
use super::scrape::{Outcome, Query};
use crate::collector::{Collector, Deadline, Error, Notice};
use crate::diagnosis::{self, Finding};
use crate::sources;
use crate::sys::blocking;
use crate::sys::clock;
use crate::sys::environment::{Environment, Traces};

/// The shortest time between two lines of the log about one target.
const QUIET: Duration = Duration::from_secs(60);

/// The last state of everything that is watched.
#[derive(Default)]
pub(super) struct Status(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// The collectors whose reads count.
    watched: Vec<Arc<dyn Collector>>,
    /// In the order of sources and targets.
    targets: Vec<Target>,
    /// What every source noticed when it was last asked for its metrics.
    notices: Vec<(&'static str, Notice)>,
    /// About the addresses that are listened on.
    listeners: Vec<Finding>,
}

/// A target, and why it could not be read, if it could not.
#[derive(Clone, Debug)]
struct Target {
    source: &'static str,
    name: String,
    trouble: Option<Error>,
    /// The unix time from which on it could, or could not, be read.
    since: i64,
    /// What the log said of it last, and when; absent where it never had to.
    said: Option<(Option<Error>, Instant)>,
}

/// A line for the log.
type Line = (Level, String);

impl Status {
    /// Counts the reads of these collectors from now on, and forgets what others said.
    pub(super) fn watch(&self, watched: Vec<Arc<dyn Collector>>) {
        let mut known = lock(&self.0);
        let has = |source: &str| watched.iter().any(|collector| collector.name() == source);
        known.targets.retain(|target| has(target.source));
        known.notices.retain(|(source, _)| has(source));
        known.watched = watched;
    }

    /// Notes what a read brought, and logs what is new. With `is_hasty` it was given so little time that it says
    /// nothing about a target that it was too slow for.
    pub(super) fn note(&self, collector: &Arc<dyn Collector>, query: Query, outcome: &Outcome, is_hasty: bool) {
        let lines = lock(&self.0).note(collector, query, outcome, is_hasty, Instant::now());
        for (level, line) in lines {
            log::log!(level, "{}: {line}", outcome.name);
        }
    }

    /// Notes what was found out about the addresses that are listened on.
    pub(super) fn note_listeners(&self, findings: Vec<Finding>) {
        lock(&self.0).listeners = findings;
    }

    /// Whether every target could be read.
    pub(super) fn is_well(&self) -> bool {
        lock(&self.0).targets.iter().all(|target| target.trouble.is_none())
    }

    /// What was found out about every target, by source, and since when it is so where that is known. `absent` are
    /// sources that are not on this machine, and where they were looked for.
    pub(super) fn findings(
        &self,
        absent: &[(&'static str, &'static str)],
        deadline: Deadline,
    ) -> Vec<(Finding, Option<i64>)> {
        let (targets, notices, listeners) = {
            let known = lock(&self.0);
            (known.targets.clone(), known.notices.clone(), known.listeners.clone())
        };
        let down =
            targets.iter().filter_map(|target| Some((target.source, target.name.clone(), target.trouble.clone()?)));
        let missing = absent.iter().map(|(source, tried)| {
            let subject = (*tried).to_owned();
            (*source, subject.clone(), Error::NotFound { subject })
        });
        let mut scenes = look_around(down.chain(missing).collect(), deadline).into_iter();
        let mut environment = || scenes.next().unwrap_or_default();
        let mut findings = Vec::new();
        for Target { source, name, trouble, since, .. } in targets {
            let environment = if trouble.is_some() { environment() } else { Environment::default() };
            let has_notice = notices.iter().any(|(noticed, notice)| *noticed == source && notice.subject == name);
            if trouble.is_some() || !has_notice {
                findings.push((diagnosis::target(source, &name, trouble.as_ref(), &environment), Some(since)));
            }
        }
        // What was noticed of a target that is down says less.
        let is_down = |notice: &Notice| findings.iter().any(|(finding, _)| finding.subject == notice.subject);
        let news = notices.iter().filter(|(_, notice)| !is_down(notice));
        let news: Vec<_> = news.map(|(source, notice)| diagnosis::notice(source, notice)).collect();
        let absent = absent.iter().map(|(source, tried)| diagnosis::absent(source, tried, &environment()));
        for finding in news.into_iter().chain(absent).chain(listeners) {
            let behind = findings.iter().rposition(|(known, _)| known.source == finding.source);
            findings.insert(behind.map_or(findings.len(), |place| place.saturating_add(1)), (finding, None));
        }
        findings
    }
}

/// What the machine says around each target that could not be read; nothing of any where it does not say it in time.
fn look_around(targets: Vec<(&'static str, String, Error)>, deadline: Deadline) -> Vec<Environment> {
    if targets.is_empty() {
        return Vec::new();
    }
    let look = move || {
        let environment = |(source, target, error): &(&'static str, String, Error)| {
            let traces = sources::named(source).map_or(Traces::NONE, |source| source.traces());
            Environment::inspect(traces, target, error)
        };
        Ok(targets.iter().map(environment).collect())
    };
    blocking::run("what is around the targets", deadline, look).unwrap_or_default()
}

impl Known {
    fn note(
        &mut self,
        collector: &Arc<dyn Collector>,
        query: Query,
        outcome: &Outcome,
        is_hasty: bool,
        now: Instant,
    ) -> Vec<Line> {
        // One that a reload has let go meanwhile says nothing any more.
        if !self.watched.iter().any(|watched| Arc::ptr_eq(watched, collector)) {
            return Vec::new();
        }
        let mut lines = Vec::new();
        if query == Query::Metrics {
            self.note_notices(outcome.name, &outcome.notices, &mut lines);
            let is_there = |name: &str| outcome.targets.iter().any(|(reported, _)| reported == name);
            self.targets.retain(|target| target.source != outcome.name || is_there(&target.name));
        }
        for (name, result) in &outcome.targets {
            let trouble = result.as_ref().err();
            if !is_hasty || !matches!(trouble, Some(Error::TimedOut { .. })) {
                lines.extend(self.target(outcome.name, name).and_then(|target| target.note(trouble, now)));
            }
        }
        lines
    }

    /// Keeps what a source noticed; what is new and can mean that something is down is worth a line.
    fn note_notices(&mut self, source: &'static str, notices: &[Notice], lines: &mut Vec<Line>) {
        for notice in notices {
            let is_known = self.notices.iter().any(|(name, known)| *name == source && known.subject == notice.subject);
            if notice.is_logged && !is_known {
                lines.push((Level::Warn, format!("{}: {}", notice.subject, notice.advice.message)));
            }
        }
        self.notices.retain(|(name, _)| *name != source);
        self.notices.extend(notices.iter().map(|notice| (source, notice.clone())));
    }

    /// The target of that name; one that was not known answers as far as anybody knows.
    fn target(&mut self, source: &'static str, name: &str) -> Option<&mut Target> {
        let place = self.targets.binary_search_by(|target| (target.source, target.name.as_str()).cmp(&(source, name)));
        if let Err(place) = place {
            let target = Target { source, name: name.into(), trouble: None, since: clock::now(), said: None };
            self.targets.insert(place, target);
        }
        let (Ok(place) | Err(place)) = place;
        self.targets.get_mut(place)
    }
}

impl Target {
    /// Notes why it could not be read, if it could not; gives a line where the log has not said so and may.
    fn note(&mut self, trouble: Option<&Error>, now: Instant) -> Option<Line> {
        // Another reason for the same silence does not make it younger.
        if self.trouble.is_some() != trouble.is_some() {
            self.since = clock::now();
        }
        self.trouble = trouble.cloned();
        let is_said = match &self.said {
            None => trouble.is_none(),
            Some((said, at)) => said.as_ref() == trouble || now.saturating_duration_since(*at) < QUIET,
        };
        if is_said {
            return None;
        }
        self.said = Some((trouble.cloned(), now));
        Some(match trouble {
            Some(trouble) => (Level::Warn, trouble.to_string()),
            None => (Level::Info, format!("{} answers again", self.name)),
        })
    }
}

#[cfg(test)]
impl Status {
    /// Why the first target could not be read.
    pub(super) fn trouble(&self) -> Option<Error> {
        lock(&self.0).targets.first().and_then(|target| target.trouble.clone())
    }

    /// Since when the first target is as it is.
    pub(super) fn since(&self) -> i64 {
        lock(&self.0).targets[0].since
    }

    pub(super) fn set_since(&self, since: i64) {
        lock(&self.0).targets[0].since = since;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_has_a_line_of_the_log_a_minute_however_often_it_changes() {
        let mut target = Target { source: "a", name: "/a".into(), trouble: None, since: 0, said: None };
        let start = Instant::now();
        let slow = Error::TimedOut { subject: "/a".into() };
        let gone = Error::NotFound { subject: "/a".into() };
        let mut note = |seconds: u64, trouble: Option<&Error>| {
            let line = target.note(trouble, start + Duration::from_secs(seconds));
            line.map(|(level, line)| format!("{level} {line}")).unwrap_or_default()
        };
        assert_eq!(note(0, None), "", "that it answers is nothing new");
        assert_eq!(note(1, Some(&slow)), "WARN /a: no answer in time");
        for second in 2..61 {
            assert_eq!(note(second, Some(&slow).filter(|_| second % 2 > 0)), "");
        }
        assert_eq!(note(61, Some(&slow)), "", "that was said");
        assert_eq!(note(62, None), "INFO /a answers again");
        assert_eq!(note(63, Some(&gone)), "");
        assert_eq!(note(122, Some(&gone)), "WARN /a: not found", "said late rather than never");
        assert_eq!(target.trouble, Some(gone));
    }
}
