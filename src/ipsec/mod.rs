//! ipsec: ipsec.conf says which tunnels there should be, one `ipsec statusall` how they are.
//!
//! The same two names stand for libreswan, which is asked `ipsec status` and `ipsec trafficstatus`
//! instead. Which of them it is shows in the first answer and is remembered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use log::{debug, warn};

use crate::collector::{Collector, Deadline, Error, Report, Turn};
use crate::source::file::{self, Stamp};
use crate::source::{blocking, command};
use crate::text::Text;

use self::conf::{Cursor, Place, Sections, Statement, Tunnel};

pub mod conf;
pub mod libreswan;
pub mod metrics;
pub mod status;

/// The most that ipsec.conf and all files it includes may hold.
const CONFIG_LIMIT: usize = 4 * 1024 * 1024;

/// The most files that ipsec.conf may consist of.
const FILE_LIMIT: usize = 1000;

/// The command that only strongSwan's `ipsec` has.
const STATUSALL: &str = "statusall";

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
    flavour: Mutex<Flavour>,
    turn: Turn<()>,
}

/// Whose `ipsec` it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flavour {
    #[default]
    StrongSwan,
    Libreswan,
}

/// A command, and what it printed.
struct Printed {
    command: Vec<String>,
    result: Result<Vec<u8>, Error>,
}

/// What one round of commands printed.
struct Answer {
    status: Printed,
    /// Libreswan's counters stand apart.
    traffic: Option<Printed>,
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
        Self { settings, known: Mutex::default(), flavour: Mutex::default(), turn: Turn::new(()) }
    }

    fn config_name(&self) -> String {
        self.settings.config.display().to_string()
    }

    /// The configuration, read again where a file of it has changed.
    fn configuration(&self, deadline: Deadline) -> Result<Arc<Configuration>, Error> {
        // The lock is not held while files are read: a slow disk must not stop another scrape.
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).configuration.clone();
        let path = self.settings.config.clone();
        let configuration = blocking::run(&self.config_name(), deadline, move || match known {
            Some(known) if known.is_current(deadline) => Ok(known),
            _ => read(&path, deadline).map(Arc::new),
        })?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.complaints != configuration.complaints {
            configuration.complaints.iter().for_each(|complaint| warn!("{complaint}"));
            known.complaints.clone_from(&configuration.complaints);
        }
        known.configuration = Some(Arc::clone(&configuration));
        Ok(configuration)
    }

    /// What the commands print, where it is this scrape's turn.
    fn ask(&self, turn: Result<&(), Error>, deadline: Deadline) -> Answer {
        let run = |command: Vec<String>| {
            let result = turn.clone().and_then(|_| run(&command, deadline));
            Printed { command, result }
        };
        let mut status = run(self.status_command());
        let found = flavour_of(&status.result);
        if found == Some(Flavour::Libreswan) && status.result.is_err() {
            status = run(replaced(&self.settings.command, &[STATUSALL], "status"));
        }
        let flavour = self.remember(found);
        let traffic = (flavour == Flavour::Libreswan).then(|| self.traffic_command()).flatten().map(run);
        Answer { status, traffic }
    }

    /// Keeps what was found for the next time, and hands out what is known now.
    fn remember(&self, found: Option<Flavour>) -> Flavour {
        let mut flavour = self.flavour.lock().unwrap_or_else(PoisonError::into_inner);
        *flavour = found.unwrap_or(*flavour);
        *flavour
    }

    fn status_command(&self) -> Vec<String> {
        match self.remember(None) {
            Flavour::StrongSwan => self.settings.command.clone(),
            Flavour::Libreswan => replaced(&self.settings.command, &[STATUSALL], "status"),
        }
    }

    /// Absent where the configured command is something else than `… statusall` or `… status`.
    fn traffic_command(&self) -> Option<Vec<String>> {
        let command = replaced(&self.settings.command, &[STATUSALL, "status"], "trafficstatus");
        (command != self.settings.command).then_some(command)
    }
}

impl Collector for Ipsec {
    fn name(&self) -> &'static str {
        "ipsec"
    }

    fn targets(&self) -> Vec<String> {
        let traffic = self.traffic_command().filter(|_| self.remember(None) == Flavour::Libreswan);
        let commands = [Some(self.status_command()), traffic].into_iter().flatten();
        std::iter::once(self.config_name()).chain(commands.map(|command| command.join(" "))).collect()
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let configuration = report.target(self.config_name(), self.configuration(deadline));
        let tunnels = configuration.as_ref().map(|configuration| configuration.tunnels.as_slice()).unwrap_or_default();
        // No command runs twice at the same moment, and what one prints is in memory once.
        let turn = self.turn.take(deadline, &self.settings.command.join(" "));
        let answer = self.ask(turn.as_deref().map_err(Error::clone), deadline);
        let name = answer.status.command.join(" ");
        let traffic = answer.traffic.as_ref().map(|printed| (printed.command.join(" "), printed.text()));
        let status = answer.status.text().and_then(|text| {
            let libreswan = || libreswan::parse(text, traffic.as_ref().and_then(|(_, text)| text.clone().ok()));
            status::parse(text).or_else(libreswan).ok_or_else(|| Error::Malformed {
                thing: name.clone(),
                expected: "\"Security Associations\"",
                offset: text.bytes().len(),
            })
        });
        let status = report.target(name.clone(), status);
        if let Some((name, text)) = traffic {
            report.target(name, text);
        }
        if let Some(skipped) = status.as_ref().map(|status| status.skipped).filter(|skipped| *skipped > 0) {
            debug!("{name}: {skipped} lines not understood");
        }
        metrics::expose(tunnels, status.as_ref(), &mut report.exposition);
    }
}

impl Printed {
    fn text(&self) -> Result<Text<'_>, Error> {
        self.result.as_ref().map(|bytes| Text::new(bytes)).map_err(Error::clone)
    }
}

fn run(command: &[String], deadline: Deadline) -> Result<Vec<u8>, Error> {
    let output = command::run(command, STATUS_LIMIT, deadline)?;
    match output.success {
        true => Ok(output.stdout),
        false => Err(Error::Refused { thing: command.join(" "), why: output.complaint }),
    }
}

/// Whose `ipsec` printed this; absent where that does not show.
fn flavour_of(printed: &Result<Vec<u8>, Error>) -> Option<Flavour> {
    match printed {
        Ok(bytes) if libreswan::is_status(Text::new(bytes)) => Some(Flavour::Libreswan),
        Ok(bytes) => status::parse(Text::new(bytes)).map(|_| Flavour::StrongSwan),
        Err(Error::Refused { why, .. }) => libreswan::lacks_statusall(why).then_some(Flavour::Libreswan),
        Err(_) => None,
    }
}

/// A command with its last word replaced, where it is one of `words`.
fn replaced(command: &[String], words: &[&str], word: &str) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(last) = command.last_mut().filter(|last| words.contains(&last.as_str())) {
        *last = word.into();
    }
    command
}

impl Configuration {
    /// Whether the files, and those that its patterns find, are still what they were.
    fn is_current(&self, deadline: Deadline) -> bool {
        let is_same = |pattern: &Path, found: &[PathBuf]| file::glob(pattern, deadline).is_ok_and(|now| now == found);
        self.is_whole
            && self.files.iter().all(|(path, stamp)| file::stamp(path) == *stamp)
            && self.patterns.iter().all(|(pattern, found)| is_same(pattern, found))
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
                let (source, found) = reading.go_on(source, deadline);
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
    fn go_on(&mut self, mut source: Source, deadline: Deadline) -> (Option<Source>, Vec<PathBuf>) {
        while let Some(statement) = conf::parse(Text::new(&source.bytes), &mut source.cursor) {
            if let Statement::Include(pattern) = statement {
                let found = self.matching(source.number, &Text::new(&pattern).to_string(), deadline);
                return (Some(source), found);
            }
            self.sections.take(&statement, Place { file: source.number, line: source.cursor.line });
        }
        (None, Vec::new())
    }

    /// The files that a pattern finds beside the including file.
    fn matching(&mut self, including: usize, pattern: &str, deadline: Deadline) -> Vec<PathBuf> {
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
        let found = file::glob(&path, deadline).unwrap_or_else(|error| {
            self.lose(error);
            Vec::new()
        });
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
