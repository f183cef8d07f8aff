//! ipsec: ipsec.conf says which tunnels there should be, one `ipsec statusall` how they are.
//!
//! The same two names stand for libreswan, which is asked `ipsec status` and `ipsec trafficstatus`
//! instead. Which of them it is shows in the first answer and is remembered; ipsec.conf is then read by its rules.
//!
//! `ipsec statusall` ends with starter's exit status, not with charon's (`_ipsec.in`): a whole status with 1 (starter
//! may not be signalled) or 3 (starter does not run) behind it is a status. Where ipsec.conf has no conn at all, as
//! beside swanctl.conf, there is nothing to ask, and the command is not run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::warn;

use crate::advice::Advice;
use crate::collector::{Collector, Report};
use crate::deadline::{Deadline, DeadlineMutex};
use crate::error::{Error, ErrorKind};
use crate::exposition::TableInfo;
use crate::lock::lock;
use crate::settings::{Common, ConfigError, Input};
use crate::source::{Needs, Source};
use crate::sys::environment::{Environment, Traces};
use crate::sys::file::{self, Stamp};
use crate::sys::{blocking, command};
use crate::text::Text;
use crate::watched::Watched;

use self::conf::{Complaint, Cursor, Location, Sections, Statement, Tunnel};
use self::kind::Dialect;
use self::sas::{LineKind, Skipped, Status};

mod advice;
pub mod conf;
pub mod kind;
pub mod libreswan;
pub mod metrics;
pub mod sas;
mod settings;
pub mod status;

/// The most that ipsec.conf and all files it includes may hold.
const CONFIG_LIMIT: usize = 4 * 1024 * 1024;

/// The most files that ipsec.conf may consist of.
const FILE_LIMIT: usize = 1000;

/// The command that only strongSwan's `ipsec` has.
const STATUSALL: &str = "statusall";

/// The command that only libreswan's `ipsec` has.
const TRAFFICSTATUS: &str = "trafficstatus";

/// The most that `ipsec statusall` may print: some 20,000 users.
const STATUS_LIMIT: usize = 16 * 1024 * 1024;

/// How long reading ipsec.conf may take where it is only looked for.
const READ_TIME: Duration = Duration::from_secs(5);

/// The most complaints about ipsec.conf that are logged.
const COMPLAINT_LIMIT: usize = 100;

/// Where the tunnels are configured, and the command that prints their state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// ipsec.conf.
    pub config: PathBuf,
    /// The command with its arguments, such as `ipsec statusall`.
    pub command: Vec<String>,
}

/// The tunnels of ipsec.conf.
pub struct Ipsec {
    settings: Arc<Settings>,
    known: Mutex<LastConfiguration>,
    detected: Mutex<Detected>,
    command_lock: DeadlineMutex<()>,
}

/// What the commands have shown so far.
#[derive(Clone, Copy, Default)]
struct Detected {
    /// Whose `ipsec` it is.
    dialect: Dialect,
    /// It has no `trafficstatus`.
    lacks_traffic: bool,
    /// The kinds of lines that were not understood and that the log has seen.
    skipped: Skipped,
}

/// A command, and what it printed.
struct CommandOutput {
    command: Vec<String>,
    result: Result<Vec<u8>, Error>,
}

/// What the commands of one scrape printed.
struct Answer {
    status: CommandOutput,
    /// libreswan prints its counters with a command of their own.
    traffic: Option<CommandOutput>,
}

/// ipsec.conf with all that it includes, as it was when it was read.
#[derive(Debug)]
pub struct Configuration {
    /// The conns.
    pub tunnels: Vec<Tunnel>,
    /// What could not be read or understood: `path:line: why`.
    pub complaints: Vec<String>,
    dialect: Dialect,
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(PathBuf, Vec<PathBuf>)>,
    is_whole: bool,
    /// A file exists and could not be read, so that it may have conns.
    hides_conns: bool,
}

/// The last configuration, and the complaints that the log has seen.
#[derive(Default)]
struct LastConfiguration {
    configuration: Option<Arc<Configuration>>,
    complaints: Vec<String>,
}

impl Ipsec {
    /// Watches the tunnels of a configuration; nothing is read yet.
    pub fn new(settings: impl Into<Arc<Settings>>) -> Self {
        let settings = settings.into();
        Self { settings, known: Mutex::default(), detected: Mutex::default(), command_lock: DeadlineMutex::new(()) }
    }

    fn config_name(&self) -> String {
        self.settings.config.display().to_string()
    }

    /// The configuration by the rules of `dialect`, read again where a file of it has changed.
    fn configuration(&self, dialect: Dialect, deadline: Deadline) -> Result<Arc<Configuration>, Error> {
        // The lock is not held while files are read: a slow disk must not stop another scrape.
        let known = lock(&self.known).configuration.clone();
        let path = self.settings.config.clone();
        let configuration = blocking::run(&self.config_name(), deadline, move || match known {
            Some(known) if known.dialect == dialect && known.is_current(deadline) => Ok(known),
            _ => read(&path, dialect, deadline).map(Arc::new),
        })?;
        let mut known = lock(&self.known);
        known.configuration = Some(Arc::clone(&configuration));
        Ok(configuration)
    }

    /// Logs what is wrong with the configuration, once. Called when the command has answered, since that shows whose
    /// rules apply.
    fn log_complaints(&self, configuration: &Configuration) {
        let mut known = lock(&self.known);
        if known.complaints != configuration.complaints {
            configuration.complaints.iter().for_each(|complaint| warn!("{complaint}"));
            known.complaints.clone_from(&configuration.complaints);
        }
    }

    /// Runs the commands, if this scrape has the lock.
    fn ask(&self, lock: Result<&(), Error>, deadline: Deadline) -> Answer {
        let run = |command: Vec<String>| {
            let result = lock.clone().and_then(|_| run(&command, deadline));
            CommandOutput { command, result }
        };
        let mut status = run(self.status_command());
        if self.detected().dialect == Dialect::StrongSwan && lacks(&status.result, STATUSALL) {
            self.remember(|detected| detected.dialect = Dialect::Libreswan5);
            status = run(self.status_command());
        }
        if let Some(dialect) = dialect_of(&status.result) {
            self.remember(|detected| {
                // Another version may have what this one lacked.
                detected.lacks_traffic &= detected.dialect == dialect;
                detected.dialect = dialect;
            });
        }
        let traffic = self.traffic_command().map(run);
        let traffic = traffic.filter(|traffic| {
            let lacks_traffic = lacks(&traffic.result, TRAFFICSTATUS);
            self.remember(|detected| detected.lacks_traffic = lacks_traffic);
            !lacks_traffic
        });
        Answer { status, traffic }
    }

    fn detected(&self) -> Detected {
        *lock(&self.detected)
    }

    fn remember(&self, change: impl FnOnce(&mut Detected)) {
        change(&mut lock(&self.detected));
    }

    fn status_command(&self) -> Vec<String> {
        match self.detected().dialect.is_libreswan() {
            false => self.settings.command.clone(),
            true => replaced(&self.settings.command, &[STATUSALL], "status"),
        }
    }

    /// Absent for strongSwan, and where the configured command is something else than `… statusall` or `… status`.
    fn traffic_command(&self) -> Option<Vec<String>> {
        let detected = self.detected();
        let command = replaced(&self.settings.command, &[STATUSALL, "status"], TRAFFICSTATUS);
        (detected.dialect.is_libreswan() && !detected.lacks_traffic && command != self.settings.command)
            .then_some(command)
    }

    /// Logs each kind of lines that was not understood once, so that a new version of the daemon is noticed.
    fn log_skipped(&self, command: &str, skipped: Skipped) {
        let mut detected = lock(&self.detected);
        for kind in LineKind::ALL.into_iter().filter(|kind| skipped.has(*kind)) {
            if !detected.skipped.has(kind) {
                detected.skipped.add(kind);
                warn!("{command}: not understood: {}; ipsec_status_lines_skipped counts such lines", kind.words());
            }
        }
    }
}

impl Source for Ipsec {
    type Settings = Settings;
    const NAME: &'static str = "ipsec";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;
    const WATCHED: &'static [Watched] = metrics::WATCHED;
    const LOOKED_FOR: Option<&'static str> = Some(settings::LOOKED_FOR);
    const TRACES: Traces = advice::TRACES;
    const USES_KERNEL_IPSEC: bool = true;

    fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
        settings::read(input)
    }

    fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
        settings::usual(root, common)
    }

    fn needs(settings: &Settings) -> Needs {
        Needs { paths: settings::paths(settings), runs_programs: true, ..Needs::default() }
    }

    fn discover(root: &Path, common: &Common) -> Option<Settings> {
        settings::discover(root, common)
    }

    fn build(settings: Arc<Settings>, _before: Option<&Self>) -> Self {
        Self::new(settings)
    }

    fn explain(target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        advice::explain(target, error, environment)
    }
}

impl Collector for Ipsec {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        let mut targets = vec![self.config_name()];
        let known = lock(&self.known).configuration.clone();
        if !known.is_some_and(|configuration| configuration.is_empty()) {
            targets.push(self.status_command().join(" "));
            targets.extend(self.traffic_command().map(|command| command.join(" ")));
        }
        targets
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let dialect = self.detected().dialect;
        let mut configuration = self.configuration(dialect, deadline);
        if let Some(configuration) = configuration.as_ref().ok().filter(|configuration| configuration.is_empty()) {
            self.log_complaints(configuration);
            report.target(self.config_name(), Ok(()));
            return;
        }
        // No command runs twice at the same moment, and what one prints is in memory once.
        let lock = self.command_lock.take(deadline, &self.settings.command.join(" "));
        let answer = self.ask(lock.as_deref().map_err(Error::clone), deadline);
        let found = self.detected().dialect;
        if found != dialect {
            configuration = self.configuration(found, deadline);
        }
        let configuration = report.target(self.config_name(), configuration);
        if let Some(configuration) = &configuration {
            self.log_complaints(configuration);
        }
        let tunnels = configuration.as_ref().map(|configuration| configuration.tunnels.as_slice()).unwrap_or_default();
        let name = answer.status.command.join(" ");
        let traffic = answer.traffic.as_ref().map(|printed| (printed.command.join(" "), printed.text()));
        let traffic_text = traffic.as_ref().and_then(|(_, text)| text.clone().ok());
        let status = answer.status.text().and_then(|text| parse_status(text, traffic_text, &name));
        let status = report.target(name.clone(), status);
        if let Some((name, text)) = traffic {
            report.target(name, text);
        }
        if let Some(status) = &status {
            self.log_skipped(&name, status.skipped);
        }
        metrics::expose(tunnels, status.as_ref(), &mut report.exposition);
    }
}

/// Parses what the commands of strongSwan or libreswan printed.
fn parse_status<'a>(text: Text<'a>, traffic: Option<Text<'a>>, command: &str) -> Result<Status<'a>, Error> {
    let status = status::parse(text).or_else(|| libreswan::parse(text, traffic));
    status.ok_or_else(|| {
        Error::new(command, ErrorKind::Malformed { expected: "\"Security Associations\"", offset: text.bytes().len() })
    })
}

impl CommandOutput {
    fn text(&self) -> Result<Text<'_>, Error> {
        self.result.as_ref().map(|bytes| Text::new(bytes)).map_err(Error::clone)
    }
}

fn run(command: &[String], deadline: Deadline) -> Result<Vec<u8>, Error> {
    let output = command::run(command, STATUS_LIMIT, deadline)?;
    let is_starters_status = matches!(output.code, Some(1 | 3));
    match output.success || is_starters_status && status::is_whole(Text::new(&output.stdout)) {
        true => Ok(output.stdout),
        false => Err(Error::new(command.join(" "), ErrorKind::Refused { why: output.complaint })),
    }
}

/// Whose `ipsec` printed this; absent if it is not a status.
fn dialect_of(printed: &Result<Vec<u8>, Error>) -> Option<Dialect> {
    let text = Text::new(printed.as_ref().ok()?);
    if status::is_status(text) {
        return Some(Dialect::StrongSwan);
    }
    libreswan::is_status(text).then(|| libreswan::dialect(text))
}

/// Whether the command was refused because this `ipsec` does not have it.
fn lacks(printed: &Result<Vec<u8>, Error>, command: &str) -> bool {
    let kind = printed.as_ref().err().map(|error| &error.kind);
    matches!(kind, Some(ErrorKind::Refused { why }) if libreswan::lacks(why, command))
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
    /// Whether no conn is configured: neither here nor in a file that is there and could not be read.
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty() && !self.hides_conns
    }

    /// Whether the files, and those that its patterns find, are still what they were.
    fn is_current(&self, deadline: Deadline) -> bool {
        let is_same = |pattern: &Path, found: &[PathBuf]| file::glob(pattern, deadline).is_ok_and(|now| now == found);
        self.is_whole
            && self.files.iter().all(|(path, stamp)| file::stamp(path) == *stamp)
            && self.patterns.iter().all(|(pattern, found)| is_same(pattern, found))
    }
}

/// Reads ipsec.conf and what it includes; only ipsec.conf itself must be readable.
pub fn read(config: &Path, dialect: Dialect, deadline: Deadline) -> Result<Configuration, Error> {
    let mut reading = Reading { sections: Sections::new(dialect), dialect, ..Reading::default() };
    let first = reading.open(config, deadline)?;
    let mut steps: Vec<Step> = first.map(Step::Within).into_iter().collect();
    while let Some(step) = steps.pop() {
        match step {
            Step::Enter(path) => match reading.open(&path, deadline) {
                Ok(source) => steps.extend(source.map(Step::Within)),
                Err(error) => reading.record_error(error),
            },
            Step::Within(source) => {
                let (source, found) = reading.take_statements(source, deadline);
                steps.extend(source.map(Step::Within));
                steps.extend(found.into_iter().rev().map(Step::Enter));
            }
        }
    }
    Ok(reading.end())
}

/// Whether an ipsec.conf can be read, with all that it includes, and configures no conn.
pub fn is_without_conns(config: &Path) -> bool {
    read(config, Dialect::default(), Deadline::within(READ_TIME)).is_ok_and(|configuration| configuration.is_empty())
}

/// What remains to be read: an included file replaces its `include`.
enum Step {
    Enter(PathBuf),
    Within(IncludedFile),
}

/// A file that was read, and how far its statements were taken.
struct IncludedFile {
    number: usize,
    bytes: Vec<u8>,
    cursor: Cursor,
}

#[derive(Default)]
struct Reading {
    dialect: Dialect,
    sections: Sections,
    files: Vec<(PathBuf, Option<Stamp>)>,
    patterns: Vec<(PathBuf, Vec<PathBuf>)>,
    size: usize,
    errors: Vec<String>,
    hides_conns: bool,
}

impl Reading {
    /// Reads a file; absent if it was read before, so that files which include each other are read once.
    fn open(&mut self, path: &Path, deadline: Deadline) -> Result<Option<IncludedFile>, Error> {
        let stamp = file::stamp(path);
        if stamp.is_some() && self.files.iter().any(|(_, seen)| *seen == stamp) {
            return Ok(None);
        }
        let number = self.files.len();
        if number >= FILE_LIMIT {
            let why = format!("left out, more than {FILE_LIMIT} files are included");
            return Err(Error::new(path.display().to_string(), ErrorKind::Refused { why }));
        }
        self.files.push((path.to_owned(), stamp));
        let left = CONFIG_LIMIT.saturating_sub(self.size);
        let bytes = file::read(path, left, deadline).map_err(|error| match error.kind {
            ErrorKind::TooLong { .. } => Error::new(&*error.subject, ErrorKind::TooLong { limit: CONFIG_LIMIT }),
            _ => error,
        })?;
        self.size = self.size.saturating_add(bytes.len());
        Ok(Some(IncludedFile { number, bytes, cursor: Cursor::default() }))
    }

    /// Takes a file's statements up to the next `include`; returns the rest of the file, and the files that are
    /// included.
    fn take_statements(
        &mut self,
        mut source: IncludedFile,
        deadline: Deadline,
    ) -> (Option<IncludedFile>, Vec<PathBuf>) {
        while let Some(statement) = conf::parse(Text::new(&source.bytes), &mut source.cursor, self.dialect) {
            if let Statement::Include(pattern) = statement {
                let found = self.matching(source.number, &Text::new(&pattern).to_string(), deadline);
                return (Some(source), found);
            }
            self.sections.take(&statement, Location { file: source.number, line: source.cursor.line });
        }
        (None, Vec::new())
    }

    /// The files that a pattern finds beside the including file.
    fn matching(&mut self, including: usize, pattern: &str, deadline: Deadline) -> Vec<PathBuf> {
        let folder = self.files.get(including).and_then(|(path, _)| path.parent()).unwrap_or(Path::new("")).to_owned();
        let mut found = Vec::new();
        for pattern in conf::alternatives(pattern) {
            found.append(&mut self.found_by(&folder, &pattern, deadline));
        }
        found
    }

    fn found_by(&mut self, folder: &Path, pattern: &str, deadline: Deadline) -> Vec<PathBuf> {
        let path = folder.join(pattern);
        if self.patterns.len() >= FILE_LIMIT {
            let why = format!("left out, more than {FILE_LIMIT} includes");
            self.record_error(Error::new(path.display().to_string(), ErrorKind::Refused { why }));
            return Vec::new();
        }
        if !file::is_pattern(pattern) {
            return vec![path];
        }
        let found = file::glob(&path, deadline).unwrap_or_else(|error| {
            self.record_error(error);
            Vec::new()
        });
        self.patterns.push((path, found.clone()));
        found
    }

    fn record_error(&mut self, error: Error) {
        self.hides_conns |= error.kind != ErrorKind::NotFound;
        self.errors.push(error.to_string());
        self.errors.truncate(COMPLAINT_LIMIT);
    }

    fn end(self) -> Configuration {
        let Self { sections, dialect, files, patterns, errors: mut complaints, hides_conns, .. } = self;
        // What could not be read may become readable without a new stamp.
        let is_whole = complaints.is_empty();
        let (tunnels, found) = sections.tunnels();
        for Complaint { location: Location { file, line }, what } in found {
            let path = files.get(file).map(|(path, _)| path.display());
            complaints.extend(path.map(|path| format!("{path}:{line}: {what}")));
        }
        complaints.truncate(COMPLAINT_LIMIT);
        Configuration { tunnels, complaints, dialect, files, patterns, is_whole, hides_conns }
    }
}
