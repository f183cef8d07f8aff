//! The overview: how the sources are, and what is watched through them. The page `/`, `/status` and the subcommand
//! `status` show it.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Serialize;

use super::App;
use super::lock;
use super::routes::default_times;
use super::scrape::{Query, Source, Times, gather};
use super::status::{Since, add_to_groups};
use crate::advice::Severity;
use crate::diagnosis::{self, Finding};
use crate::{json, self_metrics};

/// The overview as JSON; docs/status.schema.json describes it.
#[derive(Serialize)]
struct Report<'a> {
    gateway: &'a str,
    version: &'a str,
    state: &'static str,
    summary: &'a str,
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
}

impl<'a> Entry<'a> {
    fn of(finding: &'a Finding, since: Option<Since>) -> Self {
        let Finding { severity, source, subject, message, fix } = finding;
        Self {
            source,
            subject,
            state: severity.word(),
            message,
            fix,
            since: since.map(|since| since.moment),
            since_at_least: since.filter(|since| since.is_at_least).map(|_| true),
        }
    }
}

impl App {
    /// The overview without a request: as JSON or as text, and how bad the worst of it is.
    pub fn look(&self, is_json: bool) -> (Vec<u8>, Severity) {
        let findings = self.overview(&self.registry.current(), default_times());
        let (severity, _) = diagnosis::summary(findings.iter().map(|(finding, _)| finding));
        let gateway = lock(&self.registry.watch).config.gateway.clone();
        let text = || diagnosis::print(&printed(findings.clone())).into_bytes();
        (if is_json { json(&gateway, &findings) } else { text() }, severity)
    }

    /// Reads the sources, and says how they are and what is watched through them: what is worst stands first, and within a
    /// source, too.
    pub(super) fn overview(&self, sources: &[Arc<Source>], times: Times) -> Vec<(Finding, Option<Since>)> {
        let outcomes = gather(sources, Query::Metrics, times);
        let mut findings = self.shared.status.findings(&self.registry.absent(), times.wait);
        for outcome in &outcomes {
            add_to_groups(self.shared.status.watched(outcome), &mut findings);
        }
        let mut groups: Vec<_> = findings.chunk_by(|(a, _), (b, _)| a.source == b.source).map(<[_]>::to_vec).collect();
        // What is not on this machine is no worse than what is well.
        let badness = |(finding, _): &(Finding, _)| Reverse(Severity::Absent.max(finding.severity));
        for group in &mut groups {
            group.sort_by_key(badness);
        }
        groups.sort_by_key(|group| group.first().map(badness));
        groups.concat()
    }
}

/// The findings, each with the words for since when.
pub(super) fn printed(findings: Vec<(Finding, Option<Since>)>) -> Vec<(Finding, String)> {
    let words = |(finding, since): (_, Option<Since>)| (finding, since.map(Since::in_words).unwrap_or_default());
    findings.into_iter().map(words).collect()
}

/// The findings of a gateway as JSON.
pub(super) fn json(gateway: &str, findings: &[(Finding, Option<Since>)]) -> Vec<u8> {
    let (severity, summary) = diagnosis::summary(findings.iter().map(|(finding, _)| finding));
    let mut out = Vec::new();
    let (state, version) = (severity.word(), self_metrics::VERSION);
    let findings = findings.iter().map(|(finding, since)| Entry::of(finding, *since)).collect();
    json::write(&Report { gateway, version, state, summary: &summary, findings }, &mut out);
    out
}
