//! OpenVPN, by the status files that its servers rewrite every few seconds, or by their management interfaces.
//!
//! The simplest source, and the one to read first: [`files`] finds the files, [`query`] asks management interfaces for the
//! same text as [`management`] says, [`status`] parses it, [`staleness`] tells whether the servers are alive and [`totals`]
//! which sessions are the same as before, `metrics` and `sessions` say what it means, and this file reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use self::files::StatusPath;
use self::management::Answer;
use self::metrics::{Asked, Reading};
use self::query::Management;
use self::staleness::Now;
use self::status::{Defect, Document, Lines};
use self::totals::{ClientTotals, Limits, path_bytes};
use crate::advice::Advice;
use crate::collector::{Collector, Notice, Report};
use crate::deadline::{Deadline, DeadlineMutex};
use crate::error::{Error, ErrorKind};
use crate::exposition::TableInfo;
use crate::hash_index::NameIndex;
use crate::settings::{Common, ConfigError, Input, UciWord};
use crate::source::{Needs, Source};
use crate::sys::environment::{Environment, Traces};
use crate::sys::{blocking, clock, file};
use crate::watched::Watched;

mod advice;
pub mod copies;
pub mod files;
pub mod management;
pub mod metrics;
pub mod query;
pub mod sessions;
mod settings;
pub mod staleness;
pub mod status;
pub mod totals;

/// The largest status file or answer that is read, in bytes: room for a quarter of a million clients.
const LIMIT: usize = 64 * 1024 * 1024;

/// A file that was written to less than this ago may still be being written: OpenVPN rewrites it
/// in place, line by line. Two ticks of the slowest kernel clock that stamps files.
const REST: Duration = Duration::from_millis(20);

/// How often a file is looked at that is never at rest.
const TRIES: u32 = 12;

/// The protocol of a server, as the `client` label and the JSON say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// `tcp`
    Tcp,
    /// `udp`
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// One server or client, or, where `status` is a pattern, all whose files match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its name in labels and in the session list; without one, the label comes from the file's or socket's name
    /// and the session list has the gateway's.
    pub name: Option<String>,
    /// The status file, or a pattern with `*`, `?` or `[…]` that is looked up at every scrape; absent where there is only
    /// the management interface.
    pub status: Option<PathBuf>,
    /// Its management interface, which is asked first; absent where the file is all there is.
    pub management: Option<Management>,
    /// The file with its password; absent where it asks for none.
    pub password_file: Option<PathBuf>,
    /// The protocol, where the configuration says it; else it is `tcp` for a file or socket that has it in its name.
    pub protocol: Option<Protocol>,
    /// How old the file may be, in seconds, before the server counts as down; without it three times
    /// as old as the longest of the last three times between two updates.
    pub stale_after: Option<i64>,
}

impl Server {
    /// What the target is called: the status file or pattern, else the address of the management interface.
    fn target(&self) -> PathBuf {
        let address = || self.management.as_ref().map(|management| management.address.to_string().into());
        self.status.clone().or_else(address).unwrap_or_default()
    }

    fn is_pattern(&self) -> bool {
        self.status.as_deref().is_some_and(files::is_pattern)
    }
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers, in the order of the configuration.
    pub servers: Vec<Server>,
    /// The gateway's name in the session list.
    pub gateway: String,
    /// The most clients whose totals are kept when they are gone.
    pub most_clients: usize,
}

/// The collector.
pub struct OpenVpn {
    settings: Arc<Settings>,
    /// Under which path a server is remembered that had another target before a reload.
    aliases: Aliases,
    totals: Arc<DeadlineMutex<ClientTotals>>,
}

/// Targets, each with its path.
type Aliases = Vec<(PathBuf, PathBuf)>;

/// A status file or an answer, read or not.
struct StatusFile<'s> {
    server: &'s Server,
    path: StatusPath,
    /// What is remembered goes by this.
    known_as: PathBuf,
    label: String,
    bytes: Option<Vec<u8>>,
    /// The lines of `bytes`, if they are a server's.
    lines: Option<Arc<Lines>>,
    answer: Option<Answer>,
    modified: Option<i64>,
    is_gone: bool,
    protocol: Protocol,
    torn: bool,
}

impl StatusFile<'_> {
    fn reading(&self) -> Reading<'_> {
        let asked = match (&self.server.management, &self.answer) {
            (_, Some(Answer { version, state, .. })) => Asked::Answered { version, state: state.as_ref() },
            (Some(_), None) => Asked::Unanswered,
            (None, None) => Asked::No,
        };
        Reading {
            server: &self.label,
            path: &self.known_as,
            modified: self.modified,
            is_gone: self.is_gone,
            file: self.answer.as_ref().map(|answer| answer.status.as_slice()).or(self.bytes.as_deref()),
            lines: self.lines.as_ref(),
            protocol: self.protocol,
            torn: self.torn,
            stale_after: self.server.stale_after,
            asked,
        }
    }

    fn target(&self) -> String {
        self.path.original.display().to_string()
    }

    /// What is noticed where OpenVPN writes to a file that was moved away under it.
    fn rotated(&self) -> Option<Notice> {
        let rotated = || advice::rotated(self.target(), &self.path.current.display().to_string());
        (self.path.is_moved && !self.torn && self.answer.is_none()).then(rotated)
    }

    /// What is noticed of a client that says that it has no connection.
    fn unconnected(&self) -> Option<Notice> {
        let Answer { status, state, .. } = self.answer.as_ref()?;
        let state = state.as_ref().filter(|state| !state.is_connected())?;
        let is_client = matches!(status::parse(status), Document::Statistics(_));
        let age = clock::now().saturating_sub(state.since);
        is_client.then(|| advice::unconnected(self.target(), &state.name, age))
    }
}

impl OpenVpn {
    /// A collector for these servers.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        let totals = Arc::new(DeadlineMutex::new(ClientTotals::new(settings.most_clients)));
        Self { settings, aliases: Aliases::new(), totals }
    }

    /// Reads every server and notes how each answered.
    fn read(&self, totals: &ClientTotals, deadline: Deadline, report: &mut Report) -> Vec<StatusFile<'_>> {
        let found = self.find(totals, deadline, report);
        found.into_iter().map(|(server, path)| self.read_server(server, path, deadline, report)).collect()
    }

    /// Reads one server: its management interface if it has one, and the file where that does not answer.
    fn read_server<'s>(
        &'s self,
        server: &'s Server,
        path: StatusPath,
        deadline: Deadline,
        report: &mut Report,
    ) -> StatusFile<'s> {
        let (mut bytes, mut lines, mut answer, mut modified) = (None, None, None, None);
        let state = match ask(server, deadline, report) {
            Some(Ok(found)) => {
                answer = Some(found);
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => read_blocking(&path.current, deadline).and_then(|((read, found, written), complaint)| {
                (bytes, lines, modified) = (Some(read), found, written);
                complaint.map_or(Ok(()), Err)
            }),
        };
        let torn = state.is_err();
        let is_gone = state.as_ref().is_err_and(has_ended);
        report.target(path.original.display().to_string(), state);
        let protocol = server.protocol.unwrap_or_else(|| guess(&path.original));
        let label = server.name.clone().unwrap_or_else(|| name(&path.original));
        let known_as = self.known_as(path.original.clone());
        StatusFile { server, path, known_as, label, bytes, lines, answer, modified, is_gone, protocol, torn }
    }

    /// The path under which a target is remembered.
    fn known_as(&self, target: PathBuf) -> PathBuf {
        let alias = self.aliases.iter().find(|(known, _)| *known == target);
        alias.map_or(target, |(_, path)| path.clone())
    }

    /// Under which paths servers of new settings are remembered that had other targets: those that are still known, and
    /// those of a server that has the same management interface or the same name, which no other has.
    fn aliases_for(&self, settings: &Settings) -> Aliases {
        let is_new = |target: &PathBuf| self.settings.servers.iter().all(|server| server.target() != *target);
        let mut aliases = Aliases::new();
        for server in settings.servers.iter().filter(|server| !server.is_pattern()) {
            let target = server.target();
            let former = if is_new(&target) { self.former(server, settings) } else { Some(target.clone()) };
            let Some(former) = former else { continue };
            let path = self.known_as(former);
            let is_free = settings.servers.iter().all(|server| server.target() != path);
            if path != target && is_free {
                aliases.push((target, path));
            }
        }
        aliases
    }

    /// The target, before, of a server of new settings.
    fn former(&self, server: &Server, settings: &Settings) -> Option<PathBuf> {
        let is_same = |other: &&Server| {
            let has_its_name = server.name.is_some() && server.name == other.name;
            !other.is_pattern()
                && (has_its_name || (server.management.is_some() && server.management == other.management))
        };
        let mut before = self.settings.servers.iter().filter(is_same);
        let is_only_one = settings.servers.iter().filter(is_same).count() == 1;
        let (former, None) = (before.next()?.target(), before.next()) else { return None };
        let is_gone = settings.servers.iter().all(|server| server.target() != former);
        (is_only_one && is_gone).then_some(former)
    }

    /// The age in seconds from which each known file is stale, by its path now.
    fn limits(&self, totals: &ClientTotals) -> Limits {
        let mut limits = totals.limits();
        for (target, path) in &self.aliases {
            if let Some(limit) = limits.get(&[path_bytes(path)]).copied() {
                limits.set(&[path_bytes(target)], limit);
            }
        }
        limits
    }

    /// The files to read, in the order of the configuration; none that is named exactly comes again by a pattern, and
    /// none twice by patterns. Of several entries that name one file the last counts, unless they say that it is of
    /// several protocols, as the two keys of the original can.
    fn find(&self, totals: &ClientTotals, deadline: Deadline, report: &mut Report) -> Vec<(&Server, StatusPath)> {
        let limits = Arc::new(self.limits(totals));
        let all: Vec<_> =
            self.settings.servers.iter().map(|server| (server, find_files(server, &limits, deadline))).collect();
        // The last entry that names a file exactly, or the first whose pattern matches it.
        let mut named = NameIndex::default();
        let key = |(device, inode): (u64, u64)| [device.to_ne_bytes(), inode.to_ne_bytes()].concat();
        for (position, (server, found)) in all.iter().enumerate() {
            for found in found.iter().flatten().filter(|_| !server.is_pattern()) {
                if let Some(original) = found.original {
                    named.insert(&[&key(original)], position);
                }
            }
        }
        let mut chosen: Vec<Vec<StatusPath>> = all.iter().map(|_| Vec::new()).collect();
        for by_pattern in [false, true] {
            for (position, ((server, found), chosen)) in all.iter().zip(&mut chosen).enumerate() {
                if server.is_pattern() != by_pattern {
                    continue;
                }
                match found {
                    Ok(found) if found.is_empty() => {
                        report.notices.push(advice::no_match(server.target().display().to_string()));
                    }
                    Ok(_) => {}
                    Err(error) if by_pattern => {
                        report.target(server.target().display().to_string(), Err::<(), _>(error.clone()));
                    }
                    // That it can't be read is said when it is read.
                    Err(_) => chosen.push(StatusPath::exactly(server.target())),
                }
                for Found { path, original, current } in found.iter().flatten() {
                    let last = original.filter(|_| !by_pattern).and_then(|original| named.get(&[&key(original)]));
                    let last = last.filter(|last| *last != position).and_then(|last| all.get(last));
                    let is_same =
                        |last: &Server| last.protocol.or(server.protocol) == server.protocol.or(last.protocol);
                    if last.is_some_and(|(last, _)| is_same(last)) {
                        report.notices.push(advice::named_twice(server.target().display().to_string()));
                        continue;
                    }
                    let current = current.map(key);
                    let is_new = current.as_ref().is_none_or(|current| named.get(&[current]).is_none());
                    if let Some(current) = current.filter(|_| is_new) {
                        named.insert(&[&current], position);
                    }
                    if is_new || !by_pattern {
                        // A copy that is named itself is not read instead of the original.
                        let path = path.clone();
                        chosen.push(if is_new { path } else { path.unmoved() });
                    }
                }
            }
        }
        let mut files = Vec::new();
        for ((server, _), paths) in all.iter().zip(chosen) {
            paths.into_iter().for_each(|path| files.push((*server, path)));
        }
        files
    }
}

/// A status file, and what tells it from others whatever path leads to it: the file as it is named, and the one to read.
struct Found {
    path: StatusPath,
    original: Option<(u64, u64)>,
    current: Option<(u64, u64)>,
}

/// The files of one entry of the configuration, which may be on a file system that hangs.
fn find_files(server: &Server, limits: &Arc<Limits>, deadline: Deadline) -> Result<Vec<Found>, Error> {
    let Some(status) = server.status.clone() else {
        return Ok(vec![Found { path: StatusPath::exactly(server.target()), original: None, current: None }]);
    };
    let (stale_after, limits) = (server.stale_after, Arc::clone(limits));
    blocking::run(&status.display().to_string(), deadline, move || {
        let identity = |path: &Path| file::stamp(path).map(|stamp| stamp.identity());
        let paths = files::find(&status, stale_after, |path| limits.get(&[path_bytes(path)]).copied(), deadline)?;
        let found = |path: StatusPath| {
            let (original, current) = (identity(&path.original), identity(&path.current));
            Found { path, original, current }
        };
        Ok(paths.into_iter().map(found).collect())
    })
}

/// What a server's management interface answers; absent where the file is to be read, as there is no interface, or it does
/// not answer, which is noticed.
fn ask(server: &Server, deadline: Deadline, report: &mut Report) -> Option<Result<Answer, Error>> {
    let management = server.management.as_ref()?;
    let error = match management.ask(server.status.is_some(), deadline) {
        Ok(answer) => return Some(Ok(answer)),
        Err(error) => error,
    };
    // One that has said that it waits does not serve, whatever its file still says.
    if server.status.is_none() || advice::is_waiting(&error) {
        return Some(Err(error));
    }
    report.notices.push(advice::file_instead(&error));
    None
}

/// Whether an error says that a server has ended, or has not begun.
fn has_ended(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::NotListening) || advice::is_waiting(error)
}

/// What the world says at the moment.
fn now() -> Now {
    Now {
        seconds: clock::now(),
        unix: clock::unix,
        local: |moment| clock::local(moment).map(|moment| moment.to_string()),
    }
}

impl Source for OpenVpn {
    type Settings = Settings;
    const NAME: &'static str = "openvpn";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const LOOKED_FOR: Option<&'static str> = Some(settings::LOOKED_FOR);
    const TRACES: Traces = Traces { processes: &["openvpn"], socket_paths: &[] };
    const UCI: &'static [UciWord] = settings::UCI;

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
    }

    fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
        settings::usual(root, common)
    }

    fn needs(settings: &Settings) -> Needs {
        settings::needs(settings)
    }

    fn discover(root: &Path, common: &Common) -> Option<Settings> {
        settings::discover(root, common)
    }

    fn with_discovered(known: &Settings, found: &Settings) -> Option<Settings> {
        settings::with_discovered(known, found)
    }

    /// Servers that were watched before keep what is remembered of them, whatever comes or goes beside them, unless more or
    /// fewer clients are remembered now.
    fn build(settings: Arc<Settings>, before: Option<&Self>) -> Self {
        match before.filter(|before| before.settings.most_clients == settings.most_clients) {
            Some(before) => {
                let aliases = before.aliases_for(&settings);
                Self { settings, aliases, totals: Arc::clone(&before.totals) }
            }
            None => Self::new(settings),
        }
    }

    fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        advice::explain(target, error, environment)
    }
}

impl Collector for OpenVpn {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        let target = |server: &Server| match (&server.status, &server.management) {
            (Some(status), Some(management)) => format!("{} and {}", management.address, status.display()),
            _ => server.target().display().to_string(),
        };
        self.settings.servers.iter().map(target).collect()
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        // One scrape at a time: what an earlier scrape saw must not be booked after a later one.
        let Ok(mut totals) = self.totals.take(deadline, self.name()) else {
            // The time is over, and each file says so.
            self.read(&ClientTotals::default(), deadline, report);
            return;
        };
        let files = self.read(&totals, deadline, report);
        let readings: Vec<_> = files.iter().map(StatusFile::reading).collect();
        let stale = metrics::expose(&readings, &mut totals, now(), &mut report.exposition);
        let notice = |(index, age): (usize, i64)| files.get(index).map(|file| advice::stale(file.target(), age));
        report.notices.extend(stale.into_iter().filter_map(notice));
        report.notices.extend(files.iter().filter_map(StatusFile::rotated));
        report.notices.extend(files.iter().filter_map(StatusFile::unconnected));
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        // One at a time here, too: a crowd must not hold every file in memory for each request.
        let Ok(mut totals) = self.totals.take(deadline, self.name()) else {
            self.read(&ClientTotals::default(), deadline, report);
            return;
        };
        for file in self.read(&totals, deadline, report) {
            let name = file.server.name.as_ref().unwrap_or(&self.settings.gateway);
            let (reading, now) = (file.reading(), now());
            let document = reading.document();
            if let Some(times) = reading.times(&document, &mut totals.files, now) {
                sessions::list(&reading, document, times, now, name, &mut report.sessions);
            }
        }
    }
}

/// `tcp` where the file's name says so, `udp` (OpenVPN's default) where it does not.
fn guess(path: &Path) -> Protocol {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
}

/// A server's name by its file: `office` for `openvpn.office.status` and for `status-office.log`.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (start, end): (Cut<'_>, Cut<'_>) = (|name, word| name.strip_prefix(word), |name, word| name.strip_suffix(word));
    let stem = without(&file, &[".log", ".status", ".sock"], end);
    let bare = without(stem, &["openvpn"], start).trim_start_matches(['.', '-', '_']);
    let bare = without(without(bare, &["status"], start), &["status"], end).trim_matches(['.', '-', '_']);
    if bare.is_empty() { file } else { bare.to_owned() }
}

/// Takes a word from one end of a name; nothing where it is not there.
type Cut<'n> = fn(&'n str, &str) -> Option<&'n str>;

/// A name without words at one of its ends, each as often as it is there. `str::trim_end_matches` would bring a search for
/// texts from both ends, which nothing else needs.
fn without<'n>(mut name: &'n str, words: &[&str], cut: Cut<'n>) -> &'n str {
    for word in words {
        while let Some(rest) = cut(name, word) {
            name = rest;
        }
    }
    name
}

/// Reads a status file, which may be on a file system that hangs.
fn read_blocking(path: &Path, deadline: Deadline) -> Result<(Content, Option<Error>), Error> {
    let theirs = path.to_owned();
    blocking::run(&path.display().to_string(), deadline, move || read_status(&theirs, deadline))
}

/// Reads a status file that nobody is writing to at the moment.
///
/// What a torn file says is given beside the complaint if it stays torn at rest (a full disk, a
/// dead OpenVPN). A file that is never at rest gives nothing: its totals could be wrong.
fn read_status(path: &Path, deadline: Deadline) -> Result<(Content, Option<Error>), Error> {
    read_at_rest(path, deadline, |path| file::read(path, LIMIT, deadline))
}

/// A file's bytes, its lines if it is a server's, and its mtime in seconds since 1970 where there is one.
type Content = (Vec<u8>, Option<Arc<Lines>>, Option<i64>);

/// The same with another way to read, which may be what disturbs the file.
fn read_at_rest(
    path: &Path,
    deadline: Deadline,
    mut read: impl FnMut(&Path) -> Result<Vec<u8>, Error>,
) -> Result<(Content, Option<Error>), Error> {
    let subject = path.display().to_string();
    let mut torn_before = false;
    for _ in 0..TRIES {
        let stamp = file::stamp(path);
        let rested = stamp.is_none_or(|stamp| stamp.age().is_none_or(|age| age >= REST));
        let bytes = read(path)?;
        if rested && file::stamp(path) == stamp {
            let modified = stamp.map(|stamp| stamp.modified().0);
            let (lines, complaint) = check(&bytes, &subject)?;
            if complaint.is_none() || torn_before {
                return Ok(((bytes, lines, modified), complaint));
            }
            torn_before = true;
        }
        thread::sleep(REST.min(deadline.left(&subject)?));
    }
    Err(Error::new(subject, ErrorKind::Io { why: "rewritten faster than it can be read".into() }))
}

/// The lines of a status file if it is a server's, and what is wrong with it, if anything; other files are an error.
fn check(bytes: &[u8], subject: &str) -> Result<(Option<Arc<Lines>>, Option<Error>), Error> {
    let torn = || Error::new(subject, ErrorKind::Malformed { expected: "END", offset: bytes.len() });
    let lines = match status::parse(bytes) {
        Document::Server(entries) => Arc::clone(entries.lines()),
        Document::Statistics(statistics) => return Ok((None, (!statistics.is_whole()).then(torn))),
        Document::Unknown => {
            return Err(Error::new(subject, ErrorKind::Malformed { expected: "an OpenVPN status file", offset: 0 }));
        }
    };
    let complaint = lines.defect.map(|defect| match defect {
        Defect::Cut => torn(),
        Defect::HalfWritten => {
            let why = "half written: new rows stand over old ones".into();
            Error::new(subject, ErrorKind::Io { why })
        }
    });
    Ok((Some(lines), complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_another_name_since_a_reload_keeps_its_limit() {
        let mut collector = OpenVpn::new(Settings { servers: Vec::new(), gateway: "gw".into(), most_clients: 10 });
        collector.aliases = vec![("/new".into(), "/former".into()), ("/other".into(), "/unknown".into())];
        let mut totals = ClientTotals::new(10);
        let now = Now { seconds: 1000, unix: |_| None, local: |_| None };
        let updated = status::Timestamp { text: "".into(), seconds: Some(1000) };
        totals.files.times(Path::new("/former"), updated, Some(1000), None, now);
        let limits = collector.limits(&totals);
        assert!(limits.get(&[b"/new"]).is_some());
        assert_eq!(limits.get(&[b"/new"]), totals.limits().get(&[b"/former"]));
        assert_eq!(limits.len(), 2, "{limits:?}");
    }

    #[test]
    fn a_files_name_tells_the_protocol_where_nothing_else_does() {
        for (name, expected) in [
            ("/run/openvpn/server-TCP.status", Protocol::Tcp),
            ("/run/tcp/server.status", Protocol::Udp),
            ("/var/log/openvpn/openvpn-status.log", Protocol::Udp),
        ] {
            assert_eq!(guess(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn a_file_names_its_server() {
        for (file, expected) in [
            ("/var/run/openvpn.office.status", "office"),
            ("/run/openvpn-server/status-office.log", "office"),
            ("/home/openvpn/logs/openvpn-tcp-status", "tcp"),
            ("/var/log/openvpn/openvpn-status.log", "openvpn-status.log"),
            ("/run/openvpn/branch.status", "branch"),
            ("/run/openvpn/branch.sock", "branch"),
            ("tcp://127.0.0.1:7505", "127.0.0.1:7505"),
            ("/x/status", "status"),
        ] {
            assert_eq!(name(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn a_file_that_is_written_to_while_it_is_read_is_read_again() {
        let path = std::env::temp_dir().join(format!("gwx-written-{}", std::process::id()));
        let of = |client: &str| {
            format!("TITLE,OpenVPN 2.6.14 x\nTIME,,1795180825\nGLOBAL_STATS,{client},0\nEND\n").into_bytes()
        };
        let (old, new) = (of("old"), of("newer"));
        std::fs::write(&path, &old).expect("a scratch file");
        let mut reads = 0;
        let deadline = Deadline::within(Duration::from_secs(60));
        let read = read_at_rest(&path, deadline, |path| {
            let bytes = file::read(path, LIMIT, deadline)?;
            // The writer comes right behind the first read at rest: what was read may be torn without a trace.
            if bytes == old && file::stamp(path).is_some_and(|stamp| stamp.age().is_some_and(|age| age >= REST)) {
                reads += 1;
                std::fs::write(path, &new).expect("the file is written to");
            }
            Ok(bytes)
        });
        std::fs::remove_file(&path).expect("the scratch file goes");
        let ((bytes, _, modified), complaint) = read.expect("it rests at last");
        assert_eq!((reads, complaint), (1, None));
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&new));
        assert!(modified.is_some());
    }
}
