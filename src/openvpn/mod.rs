//! OpenVPN, by the status files that its servers rewrite every few seconds.
//!
//! The simplest house, and the one to read first: [`status`] parses, `metrics` and `sessions`
//! say what it means, and this file reads.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use self::metrics::Reading;
use self::status::{Document, Entry};
use crate::collector::{Collector, Deadline, Error, Report};
use crate::source::file;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Its name in the session list; the gateway's where it has none of its own.
    pub name: Option<String>,
    /// The status file, or a pattern with `*`, `?` or `[…]` that is looked up at every scrape.
    pub status: PathBuf,
    /// The protocol, where the configuration says it; else it is `tcp` for a file that has it in its name.
    pub protocol: Option<Protocol>,
}

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The servers, in the order of the configuration.
    pub servers: Vec<Server>,
    /// The gateway's name in the session list.
    pub gateway: String,
}

/// The collector.
pub struct OpenVpn {
    settings: Settings,
}

/// A status file that was read.
struct StatusFile<'s> {
    server: &'s Server,
    bytes: Vec<u8>,
    protocol: Protocol,
    torn: bool,
}

impl StatusFile<'_> {
    fn reading(&self) -> Reading<'_> {
        Reading { file: &self.bytes, protocol: self.protocol, torn: self.torn }
    }
}

impl OpenVpn {
    /// A collector for these servers.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Reads every file, notes how each answered, and gives those that are a server's status.
    fn read(&self, deadline: Deadline, report: &mut Report) -> Vec<StatusFile<'_>> {
        let mut files = Vec::new();
        for server in &self.settings.servers {
            for path in paths(&server.status) {
                let protocol = server.protocol.unwrap_or_else(|| guess(&path));
                let (bytes, state) = match read_status(&path, deadline) {
                    Ok((bytes, complaint)) => (Some(bytes), complaint.map_or(Ok(()), Err)),
                    Err(error) => (None, Err(error)),
                };
                let torn = state.is_err();
                report.target(path.display().to_string(), state);
                files.extend(bytes.map(|bytes| StatusFile { server, bytes, protocol, torn }));
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
        let files = self.read(deadline, report);
        let readings: Vec<_> = files.iter().map(StatusFile::reading).collect();
        metrics::expose(&readings, &mut report.exposition);
    }

    fn sessions(&self, deadline: Deadline, report: &mut Report) {
        for file in self.read(deadline, report) {
            let name = file.server.name.as_ref().unwrap_or(&self.settings.gateway);
            sessions::list(&file.reading(), name, &mut report.sessions);
        }
    }
}

/// The files that a pattern names now; a plain path names itself, there or not.
fn paths(status: &Path) -> Vec<PathBuf> {
    if status.to_string_lossy().contains(['*', '?', '[']) { file::glob(status) } else { vec![status.to_owned()] }
}

/// `tcp` where the file's name says so, `udp` (OpenVPN's default) where it does not.
fn guess(path: &Path) -> Protocol {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
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

/// What is wrong with a server's status, if anything; other files are an error.
fn defect(bytes: &[u8], thing: &str) -> Result<Option<Error>, Error> {
    let Document::Server(entries) = status::parse(bytes) else { return Err(stranger(bytes, thing.into())) };
    let mut ended = false;
    for entry in entries.without_rows() {
        ended |= entry == Entry::End;
        if entry == Entry::Fragment {
            let why = "half written: new rows stand over old ones".into();
            return Ok(Some(Error::Io { thing: thing.into(), why }));
        }
    }
    let torn = Error::Malformed { thing: thing.into(), expected: "END", offset: bytes.len() };
    Ok((!ended).then_some(torn))
}

fn stranger(bytes: &[u8], thing: String) -> Error {
    match status::parse(bytes) {
        Document::Statistics => {
            Error::Refused { thing, why: "a client's own statistics, where a server's status is expected".into() }
        }
        _ => Error::Malformed { thing, expected: "an OpenVPN status file", offset: 0 },
    }
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
    fn a_plain_path_is_a_target_also_where_nothing_stands() {
        assert_eq!(paths(Path::new("/no/such/status")), [PathBuf::from("/no/such/status")]);
        assert!(paths(Path::new("/no/such/*.status")).is_empty());
    }
}
