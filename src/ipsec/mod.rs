//! ipsec: ipsec.conf says which tunnels there should be, one `ipsec statusall` how they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use log::{debug, warn};

use crate::collector::{Collector, Deadline, Error, Report, Turn};
use crate::source::command;
use crate::source::file::{self, Stamp};
use crate::text::Text;

use self::conf::{Cursor, Place, Sections, Statement, Tunnel};

pub mod conf;
pub mod metrics;
pub mod status;

/// The most that ipsec.conf and all files it includes may hold.
const CONFIG_LIMIT: usize = 4 * 1024 * 1024;

/// The most files that ipsec.conf may consist of.
const FILE_LIMIT: usize = 1000;

/// The most that `ipsec statusall` may print: some 20,000 users.
const STATUS_LIMIT: usize = 16 * 1024 * 1024;

/// The most complaints about ipsec.conf that are logged.
const COMPLAINT_LIMIT: usize = 100;

/// Where the tunnels are configured, and who knows their state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ipsec.conf.
    pub config: PathBuf,
    /// The command with its arguments, such as `ipsec statusall`.
    pub command: Vec<String>,
}

/// The tunnels of ipsec.conf.
pub struct Ipsec {
    settings: Settings,
    known: Mutex<Known>,
    turn: Turn<()>,
}

/// ipsec.conf with all that it includes, as it was when it was read.
#[derive(Debug)]
pub struct Configuration {
    /// The conns.
    pub tunnels: Vec<Tunnel>,
    /// What could not be read or understood: `path:line: why`.
    pub complaints: Vec<String>,
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(PathBuf, Vec<PathBuf>)>,
    is_whole: bool,
}

/// The last configuration, and the complaints that the log has seen.
#[derive(Default)]
struct Known {
    configuration: Option<Arc<Configuration>>,
    complaints: Vec<String>,
}

impl Ipsec {
    /// Watches the tunnels of a configuration; nothing is read yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, known: Mutex::default(), turn: Turn::new(()) }
    }

    fn config_name(&self) -> String {
        self.settings.config.display().to_string()
    }

    fn command_name(&self) -> String {
        self.settings.command.join(" ")
    }

    /// The configuration, read again where a file of it has changed.
    fn configuration(&self, deadline: Deadline) -> Result<Arc<Configuration>, Error> {
        // The lock is not held while files are read: a slow disk must not stop another scrape.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).configuration.clone();
        if let Some(configuration) = known.filter(|configuration| configuration.is_current()) {
            return Ok(configuration);
        }
        let configuration = Arc::new(read(&self.settings.config, deadline)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.complaints != configuration.complaints {
            configuration.complaints.iter().for_each(|complaint| warn!("{complaint}"));
            known.complaints.clone_from(&configuration.complaints);
        }
        known.configuration = Some(Arc::clone(&configuration));
        Ok(configuration)
    }

    /// What the command prints; it never runs twice at the same moment.
    fn ask(&self, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let thing = self.command_name();
        let _turn = self.turn.take(deadline, &thing)?;
        let output = command::run(&self.settings.command, STATUS_LIMIT, deadline)?;
        if !output.success {
            return Err(Error::Refused { thing, why: output.complaint });
        }
        Ok(output.stdout)
    }
}

impl Collector for Ipsec {
    fn name(&self) -> &'static str {
        "ipsec"
    }

    fn targets(&self) -> Vec<String> {
        vec![self.config_name(), self.command_name()]
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let configuration = report.target(self.config_name(), self.configuration(deadline));
        let tunnels = configuration.as_ref().map(|configuration| configuration.tunnels.as_slice()).unwrap_or_default();
        let output = self.ask(deadline);
        let status = output.as_ref().map_err(Error::clone).and_then(|bytes| {
            status::parse(Text::new(bytes)).ok_or_else(|| Error::Malformed {
                thing: self.command_name(),
                expected: "\"Security Associations\"",
                offset: bytes.len(),
            })
        });
        let status = report.target(self.command_name(), status);
        if let Some(skipped) = status.as_ref().map(|status| status.skipped).filter(|skipped| *skipped > 0) {
            debug!("{}: {skipped} lines not understood", self.command_name());
        }
        metrics::expose(tunnels, status.as_ref(), &mut report.exposition);
    }
}

impl Configuration {
    /// Whether the files, and those that its patterns find, are still what they were.
    fn is_current(&self) -> bool {
        self.is_whole
            && self.files.iter().all(|(path, stamp)| file::stamp(path) == *stamp)
            && self.patterns.iter().all(|(pattern, found)| file::glob(pattern) == *found)
    }
}

/// Reads ipsec.conf and what it includes; only ipsec.conf itself must be readable.
pub fn read(config: &Path, deadline: Deadline) -> Result<Configuration, Error> {
    let mut reading = Reading::default();
    let first = reading.open(config, deadline)?;
    let mut steps: Vec<Step> = first.map(Step::Within).into_iter().collect();
    while let Some(step) = steps.pop() {
        match step {
            Step::Enter(path) => match reading.open(&path, deadline) {
                Ok(source) => steps.extend(source.map(Step::Within)),
                Err(error) => reading.lose(error),
            },
            Step::Within(source) => {
                let (source, found) = reading.go_on(source);
                steps.extend(source.map(Step::Within));
                steps.extend(found.into_iter().rev().map(Step::Enter));
            }
        }
    }
    Ok(reading.end())
}

/// What remains to be done: an included file stands in the place of its `include`.
enum Step {
    Enter(PathBuf),
    Within(Source),
}

/// A file that was read, and how far its statements were taken.
struct Source {
    number: usize,
    bytes: Vec<u8>,
    cursor: Cursor,
}

#[derive(Default)]
struct Reading {
    sections: Sections,
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(PathBuf, Vec<PathBuf>)>,
    size: usize,
    lost: Vec<String>,
}

impl Reading {
    /// Reads a file; nothing where it was read before, so that files which include each other end.
    fn open(&mut self, path: &Path, deadline: Deadline) -> Result<Option<Source>, Error> {
        let stamp = file::stamp(path);
        if stamp.is_some() && self.files.iter().any(|(_, seen)| *seen == stamp) {
            return Ok(None);
        }
        let number = self.files.len();
        if number >= FILE_LIMIT {
            let why = format!("left out, more than {FILE_LIMIT} files are included");
            return Err(Error::Refused { thing: path.display().to_string(), why });
        }
        self.files.push((path.to_owned(), stamp));
        let bytes =
            file::read(path, CONFIG_LIMIT.saturating_sub(self.size), deadline).map_err(|error| match error {
                Error::TooLong { thing, .. } => Error::TooLong { thing, limit: CONFIG_LIMIT },
                error => error,
            })?;
        self.size = self.size.saturating_add(bytes.len());
        Ok(Some(Source { number, bytes, cursor: Cursor::default() }))
    }

    /// Takes a file's statements up to the next `include`: what is left of it, and the files found.
    fn go_on(&mut self, mut source: Source) -> (Option<Source>, Vec<PathBuf>) {
        while let Some(statement) = conf::parse(Text::new(&source.bytes), &mut source.cursor) {
            if let Statement::Include(pattern) = statement {
                let found = self.matching(source.number, &Text::new(&pattern).to_string());
                return (Some(source), found);
            }
            self.sections.take(&statement, Place { file: source.number, line: source.cursor.line });
        }
        (None, Vec::new())
    }

    /// The files that a pattern finds beside the including file.
    fn matching(&mut self, including: usize, pattern: &str) -> Vec<PathBuf> {
        let folder = self.files.get(including).and_then(|(path, _)| path.parent()).unwrap_or(Path::new(""));
        let path = folder.join(pattern);
        if self.patterns.len() >= FILE_LIMIT {
            let why = format!("left out, more than {FILE_LIMIT} includes");
            self.lose(Error::Refused { thing: path.display().to_string(), why });
            return Vec::new();
        }
        if !pattern.contains(['*', '?', '[']) {
            return vec![path];
        }
        let found = file::glob(&path);
        self.patterns.push((path, found.clone()));
        found
    }

    fn lose(&mut self, error: Error) {
        self.lost.push(error.to_string());
        self.lost.truncate(COMPLAINT_LIMIT);
    }

    fn end(self) -> Configuration {
        let (tunnels, complaints) = self.sections.tunnels();
        // What could not be read may become readable without a new stamp.
        let is_whole = self.lost.is_empty();
        let place = |file: usize| self.files.get(file).map(|(path, _)| path.display());
        let located = complaints.iter().filter_map(|complaint| {
            Some(format!("{}:{}: {}", place(complaint.place.file)?, complaint.place.line, complaint.what))
        });
        let complaints = self.lost.iter().cloned().chain(located).take(COMPLAINT_LIMIT).collect();
        Configuration { tunnels, complaints, files: self.files, patterns: self.patterns, is_whole }
    }
}
