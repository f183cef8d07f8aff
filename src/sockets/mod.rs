//! Sockets that should be there: rules, matched against the kernel's tables of sockets.
//!
//! A scrape asks the kernel once for each table that a rule needs, and only for the states that
//! rules name; where it may not ask it reads `/proc/net`, a block of lines at a time. Processes
//! are asked only where a rule names one. What could not be seen is not known: it has no sample.

pub mod census;
pub mod diag;
pub mod metrics;
pub mod owner;
pub mod procnet;
pub mod watch;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::collector::{Collector, Deadline, Error, Notice, Report};
use crate::source::{file, netlink, socket};

use census::Census;
use diag::Message;
use procnet::{Endian, Table};
use watch::{Lines, Names, Rule, Tally};

/// The most of a table that is read: well over a million sockets.
const TABLE_LIMIT: usize = 256 * 1024 * 1024;

/// How long the start waits for host names; those that take longer are known later.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How long names without an address are left alone before they are tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long addresses are believed before all names are looked up again: peers have dynamic ones.
const RENEW_AFTER: Duration = Duration::from_secs(300);

/// What is watched.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the kernel's view of processes and sockets is mounted: `/proc`.
    pub proc: PathBuf,
    /// What should be there.
    pub rules: Vec<Rule>,
}

/// The rules, ready to be held against the tables.
pub struct Sockets {
    settings: Settings,
    hosts: Arc<Hosts>,
}

impl Sockets {
    /// Looks up the host names that the rules use, which may take a few seconds.
    pub fn new(settings: Settings) -> Self {
        Self::knowing(&Answers::new(), settings)
    }

    /// The same for other settings; names that can't be looked up now keep the addresses that they had.
    #[must_use]
    pub fn renewed(&self, settings: Settings) -> Self {
        Self::knowing(&self.hosts.answers(), settings)
    }

    fn knowing(before: &Answers, settings: Settings) -> Self {
        let names = settings.rules.iter().flat_map(Rule::names);
        let hosts = Arc::new(Hosts::new(names, before, socket::resolve));
        hosts.look_up(Instant::now());
        // Whatever is known by then is what the first scrape has.
        hosts.wait(START_PATIENCE);
        Self { settings, hosts }
    }

    fn path(&self, table: Table) -> PathBuf {
        self.settings.proc.join(table.path())
    }

    /// Counts a table's sockets; gives how many are in each state, at least in those that rules name.
    fn read(&self, table: Table, deadline: Deadline, tally: &mut Tally<'_>) -> Result<Census, Error> {
        // Elsewhere stand copies of another kernel's tables. A kernel without IPv6 would answer with nothing.
        if self.settings.proc == Path::new("/proc") && file::is_file(&self.path(table)) {
            let before = tally.clone();
            match ask(table, deadline, tally) {
                Ok(census) => return Ok(census),
                Err(error) => log::debug!("{error}; reading {} instead", self.path(table).display()),
            }
            *tally = before;
        }
        self.read_table(table, deadline, tally)
    }

    fn read_table(&self, table: Table, deadline: Deadline, tally: &mut Tally<'_>) -> Result<Census, Error> {
        let path = self.path(table);
        let mut lines = Lines::default();
        file::read_lines(&path, TABLE_LIMIT, deadline, |block| {
            let more = tally.count(table, block, Endian::default());
            lines.understood = lines.understood.saturating_add(more.understood);
            lines.skipped = lines.skipped.saturating_add(more.skipped);
            lines.census.absorb(&more.census);
        })?;
        if lines.skipped > 0 {
            log::debug!("{}: {} lines skipped", path.display(), lines.skipped);
        }
        if lines.skipped > 0 && lines.understood == 0 {
            return Err(Error::Malformed { thing: path.display().to_string(), expected: "sockets", offset: 0 });
        }
        Ok(lines.census)
    }

    fn read_tables(&self, deadline: Deadline, tally: &mut Tally<'_>, report: &mut Report) {
        for table in Table::ALL {
            if !tally.reads(table) {
                continue;
            }
            let result = self.read(table, deadline, tally);
            match &result {
                // The same, however it was read: the kernel is not asked for the other states, `/proc` shows them all.
                Ok(census) => metrics::expose_census(table, census, tally.states(table), &mut report.exposition),
                // A machine without IPv6 has no tables for it.
                Err(Error::NotFound { .. }) if !tally.requires(table) => continue,
                Err(Error::NotFound { .. }) => tally.lack(table),
                Err(_) => tally.lose(table),
            }
            report.target(self.path(table).display().to_string(), result);
        }
    }
}

impl Collector for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn targets(&self) -> Vec<String> {
        let rules = &self.settings.rules;
        let tables = Table::ALL.into_iter().filter(|table| rules.iter().any(|rule| rule.reads(*table)));
        let mut targets: Vec<String> = tables.map(|table| self.path(table).display().to_string()).collect();
        if rules.iter().any(Rule::asks_for_process) {
            targets.push(owner::target(&self.settings.proc));
        }
        targets.extend(self.hosts.answers().into_keys());
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
        report.notices.extend(self.settings.rules.iter().filter_map(|rule| never(rule, &names)));
        let mut tally = Tally::new(&self.settings.rules, &names);
        self.read_tables(deadline, &mut tally, report);
        if let Some(claims) = tally.claims() {
            let settled = owner::settle(&self.settings.proc, deadline, claims);
            report.target(owner::target(&self.settings.proc), settled);
        }
        tally.findings().for_each(|finding| metrics::expose(finding, &mut report.exposition));
    }
}

/// The notice that a rule can't match, where it can't.
pub fn never(rule: &Rule, names: &Names) -> Option<Notice> {
    rule.flaw(names).map(|flaw| Notice::Never { thing: rule.name().into(), flaw })
}

/// Counts the sockets that the kernel lists; after an error some may have been counted.
fn ask(table: Table, deadline: Deadline, tally: &mut Tally<'_>) -> Result<Census, Error> {
    let mut census = Census::default();
    let broken = |why: String| Error::Io { thing: "sock_diag".into(), why };
    netlink::sock_diag(&diag::request(table, tally.states(table)), TABLE_LIMIT, deadline, |datagram| {
        for message in diag::parse(datagram) {
            match message {
                Message::Socket(row) => {
                    census.add(row.state);
                    tally.count_row(table, &row);
                }
                Message::End => return Ok(false),
                Message::Refused(code) => return Err(broken(format!("error {code}"))),
                Message::Broken => return Err(broken("not understood".into())),
            }
        }
        Ok(true)
    })?;
    Ok(census)
}

/// The system's resolver, which may block for long.
type Resolve = fn(&str) -> Result<Vec<IpAddr>, Error>;

/// What is known of each host name: its addresses, or why there are none.
type Answers = BTreeMap<String, Result<Vec<IpAddr>, Error>>;

/// The host names that rules use. They are looked up aside, by one thread at a time.
struct Hosts {
    resolve: Resolve,
    state: Mutex<HostsState>,
    done: Condvar,
}

struct HostsState {
    answers: Answers,
    /// When some were looked up, and when all were.
    tried: Option<Instant>,
    renewed: Option<Instant>,
    busy: bool,
}

impl Hosts {
    /// The names, with the addresses that some had `before`.
    fn new<'a>(names: impl Iterator<Item = &'a str>, before: &Answers, resolve: Resolve) -> Self {
        let waiting = |name: &str| Err(Error::TimedOut { thing: name.into() });
        let known = |name: &str| before.get(name).filter(|answer| answer.is_ok()).cloned();
        let answers = names.map(|name| (name.to_owned(), known(name).unwrap_or_else(|| waiting(name)))).collect();
        let state = HostsState { answers, tried: None, renewed: None, busy: false };
        Self { resolve, state: Mutex::new(state), done: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, HostsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answers(&self) -> Answers {
        self.state().answers.clone()
    }

    /// Has names looked up, unless that is under way: those without addresses where that was not tried in the minute
    /// before `now`, all of them where their addresses are old. Gives whether that has begun.
    fn look_up(self: &Arc<Self>, now: Instant) -> bool {
        let open = self.state().begin(now);
        if open.is_empty() {
            return false;
        }
        let hosts = Arc::clone(self);
        let started = thread::Builder::new().name("resolver".into()).spawn(move || {
            for name in open {
                let answer = (hosts.resolve)(&name);
                hosts.state().note(name, answer);
            }
            hosts.state().busy = false;
            hosts.done.notify_all();
        });
        if started.is_err() {
            self.state().busy = false;
        }
        true
    }

    /// Waits until nothing is being looked up, but no longer than `patience`.
    fn wait(&self, patience: Duration) {
        drop(self.done.wait_timeout_while(self.state(), patience, |state| state.busy));
    }
}

impl HostsState {
    /// The names to look up now; none where it is not the time.
    fn begin(&mut self, now: Instant) -> Vec<String> {
        let passed =
            |since: Option<Instant>, time| since.is_none_or(|since| now.saturating_duration_since(since) >= time);
        if self.busy || !passed(self.tried, RETRY_AFTER) {
            return Vec::new();
        }
        let all = passed(self.renewed, RENEW_AFTER);
        if all {
            self.renewed = Some(now);
        }
        let open: Vec<String> =
            self.answers.iter().filter(|(_, answer)| all || answer.is_err()).map(|(name, _)| name.clone()).collect();
        if !open.is_empty() {
            (self.tried, self.busy) = (Some(now), true);
        }
        open
    }

    /// Whoever had addresses keeps them while there are no others: a resolver that fails says nothing about a peer.
    fn note(&mut self, name: String, answer: Result<Vec<IpAddr>, Error>) {
        if answer.is_ok() || self.answers.get(&name).is_none_or(Result::is_err) {
            self.answers.insert(name, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use watch::Spec;

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
        assert!(matches!(&targets[1], (name, Err(Error::NotFound { .. })) if name == "net/tcp6"), "{targets:?}");
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
        let sockets = Sockets { settings, hosts };
        assert_eq!(sockets.targets(), ["/proc/net/udp", "/proc/net/udp6", "b.invalid"]);
    }

    #[test]
    fn names_are_looked_up_by_one_thread_and_again_after_a_minute() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        static GATE: Mutex<()> = Mutex::new(());
        let resolve: Resolve = |name| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            drop(GATE.lock());
            if name == "a.example" { Ok(vec![IpAddr::from([192, 0, 2, 1])]) } else { Err(no_such(name)) }
        };
        fn no_such(name: &str) -> Error {
            Error::NotFound { thing: name.into() }
        }
        let names = ["a.example", "b.example", "a.example"].into_iter();
        let hosts = Arc::new(Hosts::new(names, &Answers::new(), resolve));
        let start = Instant::now();
        let shut = GATE.lock().unwrap();
        assert!(hosts.look_up(start));
        let much_later = start + Duration::from_secs(600);
        assert!(!hosts.look_up(much_later), "one is at work");
        assert_eq!(hosts.answers()["a.example"], Err(Error::TimedOut { thing: "a.example".into() }));
        drop(shut);
        hosts.wait(Duration::from_secs(60));
        assert_eq!(hosts.answers()["a.example"], Ok(vec![IpAddr::from([192, 0, 2, 1])]));
        assert_eq!(hosts.answers()["b.example"], Err(no_such("b.example")));
        assert_eq!(CALLS.load(Ordering::SeqCst), 2);
        assert!(!hosts.look_up(start + Duration::from_secs(59)), "too early");
        assert!(hosts.look_up(start + Duration::from_secs(60)));
        hosts.wait(Duration::from_secs(60));
        assert_eq!(CALLS.load(Ordering::SeqCst), 3, "only the name without an address");
    }

    #[test]
    fn addresses_are_renewed_and_kept_while_nobody_knows_better() {
        static ROUND: AtomicUsize = AtomicUsize::new(0);
        let resolve: Resolve = |name| match (ROUND.load(Ordering::SeqCst), name) {
            (0, "new.example") | (2, _) => Err(Error::NotFound { thing: name.into() }),
            (round, _) => Ok(vec![IpAddr::from([192, 0, 2, round as u8])]),
        };
        let mut before = Answers::new();
        let old = Ok(vec![IpAddr::from([192, 0, 2, 99])]);
        before.insert("old.example".into(), old.clone());
        before.insert("gone.example".into(), old.clone());
        let hosts = Arc::new(Hosts::new(["old.example", "new.example"].into_iter(), &before, resolve));
        let start = Instant::now();
        let look = |seconds: u64| {
            let looks = hosts.look_up(start + Duration::from_secs(seconds));
            hosts.wait(Duration::from_secs(60));
            let last = |name: &str| match hosts.answers().get(name) {
                Some(Ok(addresses)) => addresses.first().map(|address| address.to_string()),
                _ => None,
            };
            (looks, last("old.example"), last("new.example"))
        };
        assert_eq!(hosts.answers().get("old.example"), Some(&old), "until it is looked up");
        assert_eq!(look(0), (true, Some("192.0.2.0".into()), None));
        ROUND.store(1, Ordering::SeqCst);
        assert_eq!(look(60), (true, Some("192.0.2.0".into()), Some("192.0.2.1".into())));
        assert_eq!(look(299), (false, Some("192.0.2.0".into()), Some("192.0.2.1".into())));
        assert_eq!(look(300), (true, Some("192.0.2.1".into()), Some("192.0.2.1".into())));
        ROUND.store(2, Ordering::SeqCst);
        assert_eq!(look(600), (true, Some("192.0.2.1".into()), Some("192.0.2.1".into())), "nobody knows better");
        assert_eq!(hosts.answers().len(), 2);
    }
}
