//! OpenVPN, by the status files that its servers rewrite every few seconds.
//!
//! The simplest house, and the one to read first: [`status`] parses, `metrics` and `sessions`
//! say what it means, and this file reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use self::memory::Memory;
use self::metrics::{Now, Reading};
use self::status::{Document, Entry};
use crate::collector::{Collector, Deadline, Error, Notice, Report, Turn};
use crate::source::{blocking, clock, file};

pub mod memory;
pub mod metrics;
pub mod sessions;
pub mod status;

/// The largest status file that is read: room for a quarter of a million clients.
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

/// One server, or, where `status` is a pattern, all whose files match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in labels and in the session list; without one, the label comes from the file's name
    /// and the session list has the gateway's.
    pub name: Option<String>,
    /// The status file, or a pattern with `*`, `?` or `[…]` that is looked up at every scrape.
    pub status: PathBuf,
    /// The protocol, where the configuration says it; else it is `tcp` for a file that has it in its name.
    pub protocol: Option<Protocol>,
    /// How old the file may be, in seconds, before the server counts as down; without it three times
    /// as old as the longest of the last three times between two updates.
    pub stale_after: Option<i64>,
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
    settings: Settings,
    memory: Arc<Turn<Memory>>,
}

/// A status file, read or not.
struct StatusFile<'s> {
    server: &'s Server,
    path: PathBuf,
    label: String,
    bytes: Option<Vec<u8>>,
    protocol: Protocol,
    torn: bool,
}

impl StatusFile<'_> {
    fn reading(&self) -> Reading<'_> {
        let stale_after = self.server.stale_after;
        Reading {
            server: &self.label,
            path: &self.path,
            file: self.bytes.as_deref(),
            protocol: self.protocol,
            torn: self.torn,
            stale_after,
        }
    }
}

impl OpenVpn {
    /// A collector for these servers.
    pub fn new(settings: Settings) -> Self {
        let memory = Arc::new(Turn::new(Memory::new(settings.most_clients)));
        Self { settings, memory }
    }

    /// A collector for these servers that remembers what this one does, unless it may remember more or less.
    pub fn renewed(&self, settings: Settings) -> Self {
        if settings.most_clients != self.settings.most_clients {
            return Self::new(settings);
        }
        Self { settings, memory: Arc::clone(&self.memory) }
    }

    /// Reads every file and notes how each answered.
    fn read(&self, deadline: Deadline, report: &mut Report) -> Vec<StatusFile<'_>> {
        let mut files = Vec::new();
        for server in &self.settings.servers {
            let paths = match paths(&server.status, deadline) {
                Ok(paths) => paths,
                Err(error) => {
                    report.target(server.status.display().to_string(), Err::<(), _>(error));
                    continue;
                }
            };
            if paths.is_empty() {
                report.notices.push(Notice::NoMatch { thing: server.status.display().to_string() });
            }
            for path in paths {
                let (bytes, state) = match read_aside(&path, deadline) {
                    Ok((bytes, complaint)) => (Some(bytes), complaint.map_or(Ok(()), Err)),
                    Err(error) => (None, Err(error)),
                };
                let torn = state.is_err();
                report.target(path.display().to_string(), state);
                let protocol = server.protocol.unwrap_or_else(|| guess(&path));
                let label = server.name.clone().unwrap_or_else(|| name(&path));
                files.push(StatusFile { server, path, label, bytes, protocol, torn });
            }
        }
        files
    }
}

impl Collector for OpenVpn {
    fn name(&self) -> &'static str {
        "openvpn"
    }

    fn targets(&self) -> Vec<String> {
        self.settings.servers.iter().map(|server| server.status.display().to_string()).collect()
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        // One scrape at a time: what an earlier look saw must not be booked after a later one.
        let Ok(mut memory) = self.memory.take(deadline, self.name()) else {
            // The time is over, and each file says so.
            self.read(deadline, report);
            return;
        };
        let files = self.read(deadline, report);
        let readings: Vec<_> = files.iter().map(StatusFile::reading).collect();
        let now = Now { seconds: clock::now(), unix: clock::unix };
        let stale = metrics::expose(&readings, &mut memory, now, &mut report.exposition);
        let notice = |(place, age): (usize, i64)| {
            files.get(place).map(|file| Notice::Stale { thing: file.path.display().to_string(), age })
        };
        report.notices.extend(stale.into_iter().filter_map(notice));
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        // One at a time here, too: a crowd must not hold every file in memory for each of it.
        let _turn = self.memory.take(deadline, self.name());
        for file in self.read(deadline, report) {
            let name = file.server.name.as_ref().unwrap_or(&self.settings.gateway);
            sessions::list(&file.reading(), name, &mut report.sessions);
        }
    }
}

/// The files that a pattern names now; a plain path names itself, there or not.
fn paths(status: &Path, deadline: Deadline) -> Result<Vec<PathBuf>, Error> {
    if !status.to_string_lossy().contains(['*', '?', '[']) {
        return Ok(vec![status.to_owned()]);
    }
    let pattern = status.to_owned();
    blocking::run(&status.display().to_string(), deadline, move || file::glob(&pattern, deadline))
}

/// `tcp` where the file's name says so, `udp` (OpenVPN's default) where it does not.
fn guess(path: &Path) -> Protocol {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
}

/// A server's name by its file: `office` for `openvpn.office.status` and for `status-office.log`.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = file.trim_end_matches(".log").trim_end_matches(".status");
    let bare = stem.trim_start_matches("openvpn").trim_start_matches(['.', '-', '_']);
    let bare = bare.trim_start_matches("status").trim_end_matches("status").trim_matches(['.', '-', '_']);
    if bare.is_empty() { file } else { bare.to_owned() }
}

/// Reads a status file, which may be on a file system that hangs.
fn read_aside(path: &Path, deadline: Deadline) -> Result<(Vec<u8>, Option<Error>), Error> {
    let theirs = path.to_owned();
    blocking::run(&path.display().to_string(), deadline, move || read_status(&theirs, deadline))
}

/// Reads a status file that nobody is writing to at the moment.
///
/// What a torn file says is given beside the complaint if it stays torn at rest (a full disk, a
/// dead OpenVPN). A file that is never at rest gives nothing: its totals could be wrong.
fn read_status(path: &Path, deadline: Deadline) -> Result<(Vec<u8>, Option<Error>), Error> {
    let thing = path.display().to_string();
    let mut torn_before = false;
    for _ in 0..TRIES {
        let stamp = file::stamp(path);
        let rested = stamp.is_none_or(|stamp| stamp.age().is_none_or(|age| age >= REST));
        let bytes = file::read(path, LIMIT, deadline)?;
        if rested && file::stamp(path) == stamp {
            match defect(&bytes, &thing)? {
                None => return Ok((bytes, None)),
                Some(complaint) if torn_before => return Ok((bytes, Some(complaint))),
                Some(_) => torn_before = true,
            }
        }
        thread::sleep(REST.min(deadline.left(&thing)?));
    }
    Err(Error::Io { thing, why: "rewritten faster than it can be read".into() })
}

/// What is wrong with a status file, if anything; other files are an error.
fn defect(bytes: &[u8], thing: &str) -> Result<Option<Error>, Error> {
    let torn = || Error::Malformed { thing: thing.into(), expected: "END", offset: bytes.len() };
    let entries = match status::parse(bytes) {
        Document::Server(entries) => entries,
        Document::Statistics(statistics) => return Ok((!statistics.is_whole()).then(torn)),
        Document::Unknown => {
            return Err(Error::Malformed { thing: thing.into(), expected: "an OpenVPN status file", offset: 0 });
        }
    };
    let mut ended = false;
    for entry in entries.without_rows() {
        ended |= entry == Entry::End;
        if entry == Entry::Fragment {
            let why = "half written: new rows stand over old ones".into();
            return Ok(Some(Error::Io { thing: thing.into(), why }));
        }
    }
    Ok((!ended).then(torn))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("/x/status", "status"),
        ] {
            assert_eq!(name(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn a_plain_path_is_a_target_also_where_nothing_stands() {
        let found = |status: &str| paths(Path::new(status), Deadline::within(Duration::from_secs(60)));
        assert_eq!(found("/no/such/status"), Ok(vec![PathBuf::from("/no/such/status")]));
        assert_eq!(found("/no/such/*.status"), Ok(Vec::new()));
    }
}
