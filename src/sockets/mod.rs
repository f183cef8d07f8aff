//! Sockets that should exist: rules, matched against the kernel's tables of sockets.
//!
//! A scrape asks the kernel once for each table that a rule needs, and only for the states that rules name; if that is
//! not permitted, it reads `/proc/net`, a block of lines at a time. Processes are read only if a rule names one. What
//! could not be read is unknown and has no sample.

mod advice;
pub mod diag;
mod hosts;
pub mod matcher;
pub mod metrics;
pub mod owner;
pub mod procnet;
pub mod rule;
mod settings;
pub mod state_counts;
pub mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::advice::Advice;
use crate::collector::{Collector, Notice, Report};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::exposition::TableInfo;
use crate::netlink::ByteOrder;
use crate::settings::{ConfigError, Input, UciWord};
use crate::source::{Needs, Source};
use crate::sys::environment::Environment;
use crate::sys::netlink::{self, Protocol};
use crate::sys::{file, socket};
use crate::watched::Watched;

use diag::Message;
use hosts::{Answers, Hosts};
use matcher::Matcher;
use procnet::Lines;
use rule::{Names, Rule};
use state_counts::StateCounts;
use tables::Table;

/// The most of a table that is read: well over a million sockets.
const TABLE_LIMIT: usize = 256 * 1024 * 1024;

/// How long the start waits for host names; those that take longer are known later.
const START_WAIT: Duration = Duration::from_secs(5);

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the kernel's view of processes and sockets is mounted: `/proc`.
    pub proc: PathBuf,
    /// The sockets that should exist.
    pub rules: Vec<Rule>,
}

/// The collector.
pub struct Sockets {
    settings: Arc<Settings>,
    hosts: Arc<Hosts>,
}

impl Sockets {
    /// Looks up the host names that the rules use, which may take a few seconds.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        Self::with_known_addresses(&Answers::new(), settings.into())
    }

    fn with_known_addresses(before: &Answers, settings: Arc<Settings>) -> Self {
        let names = settings.rules.iter().flat_map(Rule::names);
        let hosts = Arc::new(Hosts::new(names, before, socket::resolve));
        hosts.look_up(Instant::now());
        // The first scrape has the addresses that are known by then.
        hosts.wait(START_WAIT);
        Self { settings, hosts }
    }

    fn path(&self, table: Table) -> PathBuf {
        self.settings.proc.join("net").join(table.protocol())
    }

    /// Matches a table's sockets; returns their number in each state, at least in those that rules name.
    fn read(&self, table: Table, deadline: Deadline, matcher: &mut Matcher<'_>) -> Result<StateCounts, Error> {
        // Another folder has copies of another kernel's tables. A kernel without IPv6 would answer with an empty list.
        if self.settings.proc == Path::new("/proc") && file::is_file(&self.path(table)) {
            let before = matcher.clone();
            match ask(table, deadline, matcher) {
                Ok(state_counts) => return Ok(state_counts),
                Err(error) => log::debug!("{error}; reading {} instead", self.path(table).display()),
            }
            *matcher = before;
        }
        self.read_table(table, deadline, matcher)
    }

    fn read_table(&self, table: Table, deadline: Deadline, matcher: &mut Matcher<'_>) -> Result<StateCounts, Error> {
        let path = self.path(table);
        let mut lines = Lines::default();
        let count = |block: &[u8]| matcher.count(table, block, ByteOrder::NATIVE, &mut lines);
        file::read_lines(&path, TABLE_LIMIT, deadline, count)?;
        if lines.skipped > 0 {
            log::debug!("{}: {} lines skipped", path.display(), lines.skipped);
        }
        if lines.skipped > 0 && lines.understood == 0 {
            let subject = path.display().to_string();
            return Err(Error::new(subject, ErrorKind::Malformed { expected: "sockets", offset: 0 }));
        }
        Ok(lines.state_counts)
    }

    fn read_tables(&self, deadline: Deadline, matcher: &mut Matcher<'_>, report: &mut Report) {
        for table in Table::ALL {
            if !matcher.reads(table) {
                continue;
            }
            let result = self.read(table, deadline, matcher);
            match &result {
                // The same, however it was read: the kernel is not asked for the other states, `/proc` shows them all.
                Ok(state_counts) => {
                    metrics::expose_state_counts(table, state_counts, matcher.states(table), &mut report.exposition)
                }
                // A machine without IPv6 has no tables for it.
                Err(error) if matches!(error.kind, ErrorKind::NotFound) && !matcher.requires(table) => continue,
                Err(error) if matches!(error.kind, ErrorKind::NotFound) => {
                    matcher.mark_unknown(|rule| rule.requires(table))
                }
                Err(_) => matcher.mark_unknown(|rule| rule.reads(table)),
            }
            report.target(self.path(table).display().to_string(), result);
        }
    }
}

impl Source for Sockets {
    type Settings = Settings;
    const NAME: &'static str = "sockets";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const UCI: &'static [UciWord] = settings::UCI;

    /// The kernel's tables anybody may read, but the open files of others only who may look into their processes.
    fn needs(settings: &Settings) -> Needs {
        let paths = ["/etc/hosts", "/etc/resolv.conf", "/tmp/resolv.conf"].map(PathBuf::from).into();
        let sees_processes = settings.rules.iter().any(Rule::asks_for_process);
        let capabilities: &[_] = if sees_processes { &["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"] } else { &[] };
        Needs { paths, capabilities, sees_processes, ..Needs::default() }
    }

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
    }

    /// Host names that can't be looked up now keep the addresses that they had.
    fn build(settings: Arc<Settings>, before: Option<&Self>) -> Self {
        let known = before.map(|before| before.hosts.answers()).unwrap_or_default();
        Self::with_known_addresses(&known, settings)
    }

    fn review(settings: &Settings) -> Vec<Notice> {
        settings.rules.iter().filter_map(|rule| unmatchable(rule, &Names::new())).collect()
    }

    fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        advice::explain(target, error, environment)
    }
}

impl Collector for Sockets {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        let rules = &self.settings.rules;
        let tables = Table::ALL.into_iter().filter(|table| rules.iter().any(|rule| rule.reads(*table)));
        let mut targets: Vec<String> = tables.map(|table| self.path(table).display().to_string()).collect();
        if rules.iter().any(Rule::asks_for_process) {
            targets.push(owner::target(&self.settings.proc));
        }
        targets.extend(self.hosts.answers().into_iter().map(|(name, _)| name));
        targets
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        self.hosts.look_up(Instant::now());
        let mut names = Names::new();
        for (name, answer) in self.hosts.answers() {
            if let Some(addresses) = report.target(name.clone(), answer) {
                names.push((name, addresses));
            }
        }
        report.notices.extend(self.settings.rules.iter().filter_map(|rule| unmatchable(rule, &names)));
        let mut matcher = Matcher::new(&self.settings.rules, &names);
        self.read_tables(deadline, &mut matcher, report);
        if let Some(pending_owners) = matcher.pending_owners() {
            let resolved = owner::resolve(&self.settings.proc, deadline, pending_owners);
            report.target(owner::target(&self.settings.proc), resolved);
        }
        matcher.counts().for_each(|count| metrics::expose(count, &mut report.exposition));
    }
}

/// The notice that a rule can't match, where it can't.
pub fn unmatchable(rule: &Rule, names: &Names) -> Option<Notice> {
    rule.error(names).map(|error| advice::unmatchable(rule.name().into(), error))
}

/// Counts the sockets that the kernel lists; after an error some may have been counted.
fn ask(table: Table, deadline: Deadline, matcher: &mut Matcher<'_>) -> Result<StateCounts, Error> {
    const SUBJECT: &str = "sock_diag";
    let mut state_counts = StateCounts::default();
    let broken = |why: String| Error::new(SUBJECT, ErrorKind::Io { why });
    let request = diag::request(table, matcher.states(table));
    netlink::ask(Protocol::SockDiag, SUBJECT, &request, TABLE_LIMIT, deadline, &mut |datagram| {
        for message in diag::parse(datagram) {
            match message {
                Message::Socket(row) => {
                    state_counts.add(row.state);
                    matcher.count_row(table, &row);
                }
                Message::End => return Ok(false),
                Message::Refused(code) => return Err(broken(format!("error {code}"))),
                Message::Broken => return Err(broken("not understood".into())),
            }
        }
        Ok(true)
    })?;
    Ok(state_counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;

    use rule::Spec;

    const LISTENER: &str = "0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 7 1\n";

    fn rule(protocol: &str, host: &str) -> Rule {
        let (name, protocol) = (Some("r".into()), Some(protocol.into()));
        Rule::new(&Spec { name, protocol, srchost: Some(host.into()), ..Spec::default() }).expect("a rule")
    }

    /// Targets, and how they answered.
    type Targets = Vec<(String, Result<(), Error>)>;

    /// A folder that looks like `/proc`, gone when dropped.
    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str, tables: &[(&str, &str)]) -> Self {
            let folder = std::env::temp_dir().join(format!("gwx-sockets-{name}-{}", std::process::id()));
            fs::create_dir_all(folder.join("net")).expect("a scratch folder");
            for (table, text) in tables {
                fs::write(folder.join("net").join(table), text).expect("a table");
            }
            Self(folder)
        }

        fn collect(&self, rules: Vec<Rule>) -> (String, Targets) {
            let sockets = Sockets::new(Settings { proc: self.0.clone(), rules });
            let mut report = Report::default();
            sockets.collect(Deadline::within(Duration::from_secs(5)), &mut report);
            let mut text = String::new();
            report.exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
            let samples = text.lines().filter(|line| line.starts_with("connection_status_"));
            let short = |line: &str| {
                let (_, value) = line.rsplit_once(' ').unwrap_or_default();
                let protocol = line.split("protocol=\"").nth(1).and_then(|rest| rest.split('"').next());
                let family = line.split('{').next().and_then(|name| name.strip_prefix("connection_status_"));
                format!("{} {} {value}\n", family.unwrap_or("?"), protocol.unwrap_or("?"))
            };
            let base = format!("{}/", self.0.display());
            let targets = report.targets.into_iter().map(|(name, result)| (name.replace(&base, ""), result));
            (samples.map(short).collect(), targets.collect())
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_machine_without_ipv6_is_no_error_unless_a_rule_asks_for_it() {
        let proc = Proc::new("no-ipv6", &[("tcp", LISTENER)]);
        let (samples, targets) = proc.collect(vec![rule("tcp", "*")]);
        assert_eq!(samples, "count tcp 1\nup tcp 1\n");
        assert_eq!(targets, [("net/tcp".into(), Ok(()))]);
        let (samples, targets) = proc.collect(vec![rule("tcp", "*"), rule("tcp6", "*")]);
        assert_eq!(samples, "count tcp 1\nup tcp 1\n");
        assert_eq!(targets.len(), 2, "{targets:?}");
        assert!(
            matches!(&targets[1], (name, Err(error)) if name == "net/tcp6" && matches!(error.kind, ErrorKind::NotFound)),
            "{targets:?}"
        );
    }

    #[test]
    fn what_can_not_be_read_is_not_known() {
        let proc = Proc::new("spoilt", &[("tcp", LISTENER), ("udp", "nonsense\n"), ("udp6", "")]);
        // A folder is no table.
        fs::create_dir(proc.0.join("net/tcp6")).expect("a folder");
        let rules = vec![rule("tcp", "*"), rule("tcp4", "192.0.2.1"), rule("udp", "*"), rule("udp6", "*")];
        let (samples, targets) = proc.collect(rules);
        assert_eq!(samples, "count udp6 0\nup tcp 1\nup udp6 0\n");
        let errors: Vec<_> = targets.iter().map(|(name, result)| (name.as_str(), result.is_err())).collect();
        assert_eq!(errors, [("net/tcp", false), ("net/tcp6", true), ("net/udp", true), ("net/udp6", false)]);
        let udp = targets[2].1.as_ref().unwrap_err().to_string();
        assert!(udp.ends_with("net/udp: expected sockets at byte 0"), "{udp}");
    }

    #[test]
    fn a_host_name_is_a_target() {
        let proc = Proc::new("names", &[("tcp", LISTENER), ("tcp6", "")]);
        let (samples, targets) = proc.collect(vec![rule("tcp", "no-such-host.invalid"), rule("tcp4", "*")]);
        assert_eq!(samples, "count tcp4 1\nup tcp4 1\n");
        assert!(matches!(&targets[0], (name, Err(_)) if name == "no-such-host.invalid"), "{targets:?}");
        let settings = Settings { proc: "/proc".into(), rules: vec![rule("udp", "b.invalid"), rule("udp6", "*")] };
        let hosts =
            Arc::new(Hosts::new(settings.rules.iter().flat_map(Rule::names), &Answers::new(), |_| Ok(Vec::new())));
        let sockets = Sockets { settings: settings.into(), hosts };
        assert_eq!(sockets.targets(), ["/proc/net/udp", "/proc/net/udp6", "b.invalid"]);
    }
}
