//! The overview: how the sources are, and what is watched through them. The page `/`, `/status` and the subcommand
//! `status` show it.

use std::sync::Arc;

use serde::Serialize;

use super::App;
use super::outcome::Query;
use super::scrape::{Source, Times, gather};
use crate::advice::Severity;
use crate::diagnosis::{self, Finding, Since};
use crate::memory_budget::Reservation;
use crate::sys::clock;
use crate::watched::Counts;
use crate::{json, self_metrics};

/// The overview as JSON; docs/status.schema.json describes it.
#[derive(Serialize)]
struct Report<'a> {
    gateway: &'a str,
    version: &'a str,
    state: &'static str,
    summary: &'a str,
    counts: &'a Counts,
    findings: Vec<Entry<'a>>,
}

/// One finding.
#[derive(Serialize)]
struct Entry<'a> {
    source: &'a str,
    subject: &'a str,
    state: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    fix: &'a str,
    /// Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    /// Whether it may have been so for longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_at_least: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_in: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<i64>,
}

/// The most bytes of a page that stand around the texts of a finding.
const LINE: usize = 256;

impl App {
    /// The overview without a request: as JSON or as text, and how bad the worst of it is; nothing where it does not fit
    /// into the memory for answers.
    pub fn look(&self, is_json: bool) -> Option<(Vec<u8>, Severity)> {
        let (findings, counts, _reservation) = self.overview(&self.registry.current(), Times::usual())?;
        let text = || diagnosis::print(&findings, &counts, in_words).into_bytes();
        let answer = if is_json { json(&self.gateway(), &findings, &counts) } else { text() };
        Some((answer, diagnosis::summary(&findings).0))
    }

    /// Reads the sources, and says how they are and what is watched through them: what is worst stands first, and within a
    /// source, too. With the memory for that and for an answer; nothing where there is none.
    pub(super) fn overview(
        &self,
        sources: &[Arc<Source>],
        times: Times,
    ) -> Option<(Vec<Finding>, Counts, Reservation)> {
        let outcomes = gather(sources, Query::Metrics, times);
        if outcomes.iter().any(|outcome| !outcome.fits) {
            return None;
        }
        let mut findings = self.shared.status.findings(&self.registry.absent(), times.wait);
        let mut counts = Counts::default();
        for outcome in &outcomes {
            findings.extend(self.shared.status.watched(outcome, &mut counts));
            findings.extend(dropped(outcome.name, outcome.exposition.dropped()));
        }
        let reservation = self.shared.memory.reserve();
        let size = findings.iter().map(size).fold(0, usize::saturating_add);
        reservation.grow(size).then(|| (worst_first(findings), counts, reservation))
    }
}

/// The memory for a finding and for what a page says of it, in bytes.
fn size(finding: &Finding) -> usize {
    let texts = [finding.subject.len(), finding.message.len(), finding.fix.len()];
    let texts = texts.into_iter().fold(0, usize::saturating_add);
    size_of::<Finding>().saturating_add(LINE).saturating_add(texts.saturating_mul(2))
}

/// The findings of one source after the other, the source with the worst one first; of each source the worst ones first.
fn worst_first(mut findings: Vec<Finding>) -> Vec<Finding> {
    const LEVELS: [Severity; 3] = [Severity::Error, Severity::Warning, Severity::Absent];
    // What is not on this machine is no worse than what is well.
    let level = |finding: &Finding| finding.severity.max(Severity::Absent);
    let mut order: Vec<&str> = Vec::new();
    for wanted in LEVELS {
        for finding in findings.iter().filter(|finding| level(finding) == wanted) {
            if !order.contains(&finding.source) {
                order.push(finding.source);
            }
        }
    }
    let mut sorted = Vec::with_capacity(findings.len());
    for source in order {
        for wanted in LEVELS {
            let group = findings.iter_mut().filter(|finding| finding.source == source);
            sorted.extend(group.filter(|finding| level(finding) == wanted).map(std::mem::take));
        }
    }
    sorted
}

/// What is said where series are left out: what they would say is not watched.
fn dropped(source: &'static str, series: usize) -> Option<Finding> {
    (series > 0).then(|| Finding {
        severity: Severity::Warning,
        source,
        subject: "max_series".into(),
        message: format!("{series} series are left out, and what they say is not watched").into(),
        fix: "leave groups out that nobody needs (metrics: {without: [sas]}), or raise the limit".into(),
        ..Finding::default()
    })
}

/// `2026-11-28 13:20:25` in local time, with `at least` before it where no more is known.
pub fn in_words(since: Since) -> String {
    let moment = clock::local(since.moment).map(|moment| moment.to_string()).unwrap_or_default();
    if since.is_at_least { format!("at least {moment}") } else { moment }
}

/// The findings of a gateway as JSON.
pub(super) fn json(gateway: &str, findings: &[Finding], counts: &Counts) -> Vec<u8> {
    let (severity, summary) = diagnosis::summary(findings);
    let (state, version) = (severity.word(), self_metrics::VERSION);
    let findings = findings.iter().map(entry).collect();
    let report = Report { gateway, version, state, summary: &summary, counts, findings };
    let mut out = Vec::new();
    json::write(&report, &mut out);
    out
}

fn entry(finding: &Finding) -> Entry<'_> {
    let Finding { severity, source, subject, message, fix, since, bytes } = finding;
    let state = severity.word();
    let since_at_least = since.filter(|since| since.is_at_least).map(|_| true);
    let (bytes_in, bytes_out) = bytes.map(|[received, sent]| (received, sent)).unzip();
    let since = since.map(|since| since.moment);
    Entry { source, subject, state, message, fix, since, since_at_least, bytes_in, bytes_out }
}
