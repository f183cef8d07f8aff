//! The daemon: arguments, configuration, logging, signals; then it serves.

use std::cell::LazyCell;
use std::io::{self, IsTerminal as _, Write as _};
use std::mem;
use std::path::Path;
use std::process::{self, ExitCode};
use std::slice;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gateway_exporter::app::{App, STATE, in_words, status_path};
use gateway_exporter::auth::prompt;
use gateway_exporter::bcrypt::{self, Hash};
use gateway_exporter::catalogue::catalogue;
use gateway_exporter::cli::{self, Command, Flags, Task};
use gateway_exporter::config::load::{self, Loaded};
use gateway_exporter::config::{Protection, Web};
use gateway_exporter::diagnosis::{self, Finding, Severity};
use gateway_exporter::error::Error;
use gateway_exporter::http::{self, AccessControl, Limits, Listeners, Tls};
use gateway_exporter::lock::lock;
use gateway_exporter::sys::environment::Environment;
use gateway_exporter::sys::thread::{self, LARGE_STACK};
use gateway_exporter::sys::{clock, command, file, libc, stderr};
use gateway_exporter::text::printable;
use gateway_exporter::watched::Counts;
use gateway_exporter::{logging, self_metrics};
use log::LevelFilter;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// The exit status where a source is down.
const EXIT_DOWN: u8 = 1;

/// The exit status where the configuration or the command line is wrong.
const EXIT_CONFIG: u8 = 2;

/// How long an answer waits for the reload that it asked for.
const RELOAD_TIME: Duration = Duration::from_secs(10);

/// Why it ends, and the exit status for that.
#[derive(Clone)]
struct Failure(u8, String);

impl Failure {
    /// The configuration is wrong.
    fn config(complaint: String) -> Self {
        Self(EXIT_CONFIG, complaint)
    }
}

impl From<String> for Failure {
    fn from(complaint: String) -> Self {
        Self(EXIT_DOWN, complaint)
    }
}

fn main() -> ExitCode {
    libc::return_freed_memory();
    libc::report_faults();
    let flags = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(flags)) => flags,
        Ok(Command::Help { is_whole }) => return print(&cli::help(is_whole)),
        Ok(Command::HashPassword) => return hash_password(),
        Ok(Command::ListMetrics(format)) => return print(&catalogue(format)),
        Ok(Command::Version) => {
            let (version, revision, target) = (self_metrics::VERSION, self_metrics::REVISION, self_metrics::TARGET);
            return print(&format!("gateway-exporter {version} (revision {revision}, {target})\n"));
        }
        Err(complaint) => {
            eprintln!("gateway-exporter: {complaint}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    start_logging(&flags);
    let status = run(&flags).unwrap_or_else(|Failure(status, complaint)| {
        log::error!("{complaint}");
        ExitCode::from(status)
    });
    log::logger().flush();
    status
}

/// Prints to the standard output; a reader that went away is no failure.
fn print(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let loaded = load::load(flags, hostname()).map_err(Failure::config)?;
    if loaded.uci.as_ref().is_some_and(|uci| uci.service.debug) {
        log::set_max_level(LevelFilter::Debug);
    }
    loaded.refused.iter().for_each(|why| log::warn!("{why}"));
    loaded.unseen.iter().for_each(|why| log::warn!("{why}: a folder hangs; looking again at every scrape"));
    let access = read_access(&loaded.config.web).map_err(Failure::config)?;
    match &flags.task {
        Task::Serve => serve(flags, loaded, access),
        Task::Check => {
            check(flags, loaded);
            Ok(ExitCode::SUCCESS)
        }
        Task::DryRun => scrape(&check(flags, loaded), None),
        Task::Once(output) => scrape(&app(flags, with_key(loaded).map_err(Failure::config)?), output.as_deref()),
        Task::Needs => Ok(print(&loaded.needs(flags))),
        Task::Doctor => examine(flags, loaded),
        Task::Status { is_json, is_quiet, watch } => status(flags, loaded, *is_json, *is_quiet, *watch),
    }
}

fn app(flags: &Flags, loaded: Loaded) -> App {
    let theirs = loaded.uci.and_then(|uci| uci.service.telemetry_path);
    App::new(loaded.config, loaded.discover, theirs.unwrap_or_else(|| flags.telemetry_path.clone()))
}

/// Logs what would be watched; a configuration that could be read is valid.
fn check(flags: &Flags, loaded: Loaded) -> App {
    let origin = loaded.origin.clone();
    let app = app(flags, loaded);
    announce(&app, &origin);
    log::info!("the configuration is valid ({origin})");
    app
}

/// Reads the key for clients' names, where there is one.
fn with_key(mut loaded: Loaded) -> Result<Loaded, String> {
    loaded.config.load_key().map_err(|error| format!("identities_key_file: {error}"))?;
    Ok(loaded)
}

/// The same, but a key that is not there yet is the daemon's to make.
fn with_known_key(loaded: Loaded) -> Result<Loaded, Failure> {
    let is_there = loaded.config.key_file.as_ref().is_some_and(|path| path.exists());
    if is_there { with_key(loaded).map_err(Failure::config) } else { Ok(loaded) }
}

/// The daemon at work. What may wait, its start and its reloads, has a thread of its own, so that a signal is always
/// received; one such thread at a time.
struct Work {
    flags: Flags,
    daemon: Mutex<Option<Daemon>>,
    tasks: Mutex<Tasks>,
    /// Notified after every reload.
    reloaded: Condvar,
}

/// What answers, where it listens, and what keeps others out.
struct Daemon {
    app: Arc<App>,
    listeners: Listeners,
    protection: Protection,
}

/// The reloads, by their number: how many were wanted, begun and done so far.
struct Tasks {
    is_running: bool,
    wanted: u64,
    begun: u64,
    done: u64,
    /// Why the last one changed nothing, or not all.
    result: Result<(), String>,
}

fn serve(flags: &Flags, loaded: Loaded, access: AccessControl) -> Result<ExitCode, Failure> {
    let signals = block_signals()?;
    let tasks = Mutex::new(Tasks { is_running: true, wanted: 0, begun: 0, done: 0, result: Ok(()) });
    let work = Arc::new(Work { flags: flags.clone(), daemon: Mutex::default(), tasks, reloaded: Condvar::new() });
    work.spawn(move |work| work.start(loaded, access)).map_err(|error| format!("no thread to start with: {error}"))?;
    let signal = wait_for_end(&signals, &work)?;
    log::info!("{signal}: ending");
    command::end_all();
    Ok(ExitCode::SUCCESS)
}

impl Work {
    /// Does `first`, then the reloads that are wanted, on a thread that ends when there is none. What goes wrong ends the
    /// process.
    fn spawn(
        self: &Arc<Self>,
        first: impl FnOnce(&Arc<Self>) -> Result<(), Failure> + Send + 'static,
    ) -> io::Result<()> {
        let work = Arc::clone(self);
        let run = move || {
            let mut result = first(&work);
            while result.is_ok() && work.take_reload_request() {
                result = work.reload();
            }
            if let Err(Failure(status, complaint)) = result {
                log::error!("{complaint}");
                log::logger().flush();
                command::end_all();
                process::exit(status.into());
            }
        };
        thread::spawn("work", LARGE_STACK, Box::new(run)).map(drop)
    }

    /// Has the configuration read again, after what is under way. Returns the number of that reload.
    fn request_reload(self: &Arc<Self>) -> Result<u64, String> {
        let mut tasks = lock(&self.tasks);
        tasks.wanted = tasks.wanted.saturating_add(1);
        let number = tasks.wanted;
        if !mem::replace(&mut tasks.is_running, true) {
            drop(tasks);
            self.spawn(|_| Ok(())).map_err(|error| {
                lock(&self.tasks).is_running = false;
                format!("reload: no thread to read the configuration: {error}; ask again")
            })?;
        }
        Ok(number)
    }

    /// Has the configuration read again, and waits for that; the error is what was not taken of it.
    fn reload_now(self: &Arc<Self>) -> Result<(), String> {
        let number = self.request_reload()?;
        let is_pending = |tasks: &mut Tasks| tasks.done < number;
        let waited = self.reloaded.wait_timeout_while(lock(&self.tasks), RELOAD_TIME, is_pending);
        let (tasks, time) = waited.unwrap_or_else(PoisonError::into_inner);
        if time.timed_out() {
            return Err("reload: the configuration is still being read; the log says how that ends".into());
        }
        tasks.result.clone()
    }

    /// Whether a reload is wanted; if not, nothing runs from here on.
    fn take_reload_request(&self) -> bool {
        let mut tasks = lock(&self.tasks);
        tasks.is_running = tasks.begun < tasks.wanted;
        tasks.begun = tasks.wanted;
        tasks.is_running
    }

    fn start(self: &Arc<Self>, loaded: Loaded, access: AccessControl) -> Result<(), Failure> {
        let loaded = with_key(loaded).map_err(Failure::config)?;
        let (web, origin) = (loaded.config.web.clone(), loaded.origin.clone());
        let protection = loaded.config.protection();
        let app = Arc::new(app(&self.flags, loaded));
        announce(&app, &origin);
        let mut listeners = Listeners::open(&web.listen).map_err(|error| not_listening(&error))?;
        let work = Arc::clone(self);
        app.reload_by(Box::new(move || work.reload_now()));
        let answering = Arc::clone(&app);
        let free_memory = listeners
            .serve(access, Limits::default(), Arc::new(move |request| answering.answer(request)))
            .map_err(|error| format!("{}: {error}", web.listen.join(", ")))?;
        app.free_memory_by(free_memory);
        let found = findings(&listeners, &web);
        app.note_listeners(found.clone());
        announce_listeners(&listeners, &web, &found);
        *lock(&self.daemon) = Some(Daemon { app, listeners, protection });
        Ok(())
    }

    fn reload(&self) -> Result<(), Failure> {
        let result = match lock(&self.daemon).as_mut() {
            Some(daemon) => daemon.reload(&self.flags)?,
            None => Ok(()),
        };
        let mut tasks = lock(&self.tasks);
        (tasks.done, tasks.result) = (tasks.begun, result);
        self.reloaded.notify_all();
        Ok(())
    }
}

/// One scrape to the standard output, or into a file; a target that did not answer is said by the exit status.
fn scrape(app: &App, output: Option<&Path>) -> Result<ExitCode, Failure> {
    let (reply, is_complete) = app.once();
    let text = reply.into_bytes().map_err(|error| error.to_string())?;
    match output {
        Some(path) => file::replace(path, &text).map_err(|error| format!("--output: {error}"))?,
        None => match io::stdout().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}"))?,
            _ => {}
        },
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DOWN) })
}

/// Says what is right, what is wrong and what to do.
fn examine(flags: &Flags, mut loaded: Loaded) -> Result<ExitCode, Failure> {
    loaded = with_known_key(loaded)?;
    let (web, origin) = (loaded.config.web.clone(), loaded.origin.clone());
    let refused = std::mem::take(&mut loaded.refused);
    let app = app(flags, loaded);
    let mut all = Vec::new();
    for address in &web.listen {
        match Listeners::open(slice::from_ref(address)) {
            Ok(listeners) => all.append(&mut findings(&listeners, &web)),
            Err(error) => all.push(diagnosis::failed_listener(address, &error, http::is_ours(address))),
        }
    }
    app.note_listeners(all);
    let findings = app.examine();
    print(&format!("gateway-exporter {}, as {}, {origin}\n", self_metrics::VERSION, Environment::current().user));
    refused.iter().for_each(|why| _ = print(&format!("{why}\n")));
    print("\n");
    print(&diagnosis::print(&findings, &Counts::default(), in_words));
    Ok(match diagnosis::summary(&findings).0 {
        Severity::Error => ExitCode::from(EXIT_DOWN),
        _ => ExitCode::SUCCESS,
    })
}

/// Says how everything is, again and again where that is wanted.
fn status(
    flags: &Flags,
    loaded: Loaded,
    is_json: bool,
    is_quiet: bool,
    watch: Option<u16>,
) -> Result<ExitCode, Failure> {
    if watch.is_some() {
        end_at_a_signal(block_signals()?)?;
    }
    let listen = loaded.config.web.listen.clone();
    let app = LazyCell::new(|| Ok(app(flags, with_known_key(loaded)?)));
    let is_terminal = io::stdout().is_terminal();
    let has_colors = !is_json && is_terminal && std::env::var_os("NO_COLOR").is_none();
    loop {
        let (mut text, is_down) = ask_status(&listen, &app, is_json)?;
        let status = if is_down { EXIT_DOWN } else { 0 };
        LAST_STATUS.store(status, Ordering::Relaxed);
        if has_colors {
            text = diagnosis::colored(&text);
        }
        if let Some(seconds) = watch.filter(|_| !is_json) {
            let clear = if is_terminal { "\u{1b}[H\u{1b}[2J" } else { "" };
            let time = clock::local(clock::now()).map(|time| format!("{time}, ")).unwrap_or_default();
            text = format!("{clear}{time}every {seconds} s\n\n{text}\n");
        }
        let is_read = is_quiet || io::stdout().write_all(text.as_bytes()).is_ok();
        let Some(seconds) = watch.filter(|_| is_read) else { return Ok(ExitCode::from(status)) };
        let is_closed = stderr::is_output_closed(Duration::from_secs(seconds.into()));
        if is_closed.map_err(|error| format!("standard output: {error}"))? {
            return Ok(ExitCode::from(status));
        }
    }
}

/// What the daemon says that runs here, else what `app` reads from the sources now; and whether something is down.
fn ask_status<F: FnOnce() -> Result<App, Failure>>(
    listen: &[String],
    app: &LazyCell<Result<App, Failure>, F>,
    is_json: bool,
) -> Result<(String, bool), Failure> {
    let path = status_path(is_json);
    let known = listen.iter().find_map(|address| http::ask(address, &path, STATE));
    let (text, is_down) = match known {
        Some((state, text)) => (text, state == Severity::Error.word()),
        None => {
            let answer = (**app).as_ref().map_err(Failure::clone)?.look(is_json);
            let (text, severity) = answer.ok_or_else(|| "what there is to say does not fit into memory".to_owned())?;
            (text, severity == Severity::Error)
        }
    };
    // It may come from another process.
    let text: Vec<String> = String::from_utf8_lossy(&text).lines().map(printable).collect();
    Ok((text.join("\n") + "\n", is_down))
}

/// The exit status by what was said last; before that nothing is known to be well.
static LAST_STATUS: AtomicU8 = AtomicU8::new(EXIT_DOWN);

/// Has one of these signals end the process at once, also while a source is waited for.
fn end_at_a_signal(signals: SigSet) -> Result<(), String> {
    let wait = move || {
        let _ = signals.wait();
        command::end_all();
        process::exit(LAST_STATUS.load(Ordering::Relaxed).into());
    };
    thread::run(Box::new(wait)).map_err(|error| format!("no thread to wait for signals: {error}"))
}

/// What the doctor says of the addresses.
fn findings(listeners: &Listeners, web: &Web) -> Vec<Finding> {
    listeners.addresses().into_iter().map(|address| diagnosis::open_listener(address, web.is_restricted())).collect()
}

/// Why an address can't be listened on, and what to do.
fn not_listening(error: &Error) -> String {
    diagnosis::failed_listener(&error.subject, error, http::is_ours(&error.subject)).in_one_line()
}

/// The signals that are waited for. They are blocked before any thread starts, so that every thread inherits that.
fn block_signals() -> Result<SigSet, String> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().map_err(signal_error)?;
    Ok(signals)
}

/// Why no signal is heard. The words are the C library's: nix has them all a second time.
fn signal_error(error: Errno) -> String {
    format!("signals: {}", io::Error::from(error))
}

/// Waits for signals until one ends the daemon, and gives that one.
fn wait_for_end(signals: &SigSet, work: &Arc<Work>) -> Result<Signal, String> {
    loop {
        match signals.wait().map_err(signal_error)? {
            Signal::SIGHUP => {
                if let Err(complaint) = work.request_reload() {
                    log::error!("{complaint}");
                }
            }
            signal => return Ok(signal),
        }
    }
}

impl Daemon {
    /// Reads the configuration again. A bad one changes nothing; returns what is wrong with it. The error is that nothing is
    /// listened on any more.
    fn reload(&mut self, flags: &Flags) -> Result<Result<(), String>, String> {
        let (access, Loaded { config, discover, origin, .. }) = match load_again(flags, &self.protection) {
            Ok(read) => read,
            Err(complaint) => {
                let complaint = format!("{complaint}; what was watched before is still watched");
                log::error!("{complaint}");
                return Ok(Err(complaint));
            }
        };
        self.protection = config.protection();
        let web = config.web.clone();
        self.app.reload(config, discover);
        announce(&self.app, &origin);
        let before = self.listeners.addresses();
        let result = self.listeners.change(&web.listen, access).map_err(|error| not_listening(&error));
        if let Err(complaint) = &result {
            log::error!("{complaint}");
        }
        if self.listeners.is_closed() {
            return Err(format!("{}: nothing is listened on any more", web.listen.join(", ")));
        }
        let found = findings(&self.listeners, &web);
        self.app.note_listeners(found.clone());
        if self.listeners.addresses() != before {
            announce_listeners(&self.listeners, &web, &found);
        }
        Ok(result)
    }
}

fn load_again(flags: &Flags, protection: &Protection) -> Result<(AccessControl, Loaded), String> {
    let loaded = load::load(flags, hostname())?;
    loaded.refused.iter().for_each(|why| log::warn!("{why}"));
    if let Some(error) = &loaded.unseen {
        return Err(format!("{error}: a folder hangs"));
    }
    if let Some(error) = protection.lost_by(&loaded.config) {
        return Err(format!("{}: {error}", loaded.origin));
    }
    let loaded = with_key(loaded)?;
    Ok((read_access(&loaded.config.web)?, loaded))
}

/// The certificates are read anew at every reload.
fn read_access(web: &Web) -> Result<AccessControl, String> {
    Ok(AccessControl { allow: web.allow.clone(), tls: web.tls.as_ref().map(Tls::load).transpose()? })
}

/// Reads a password and prints its hash.
fn hash_password() -> ExitCode {
    let result = prompt::new_password().and_then(|password| {
        let salt = file::random()?;
        Ok(Hash::new(password.as_bytes(), bcrypt::COST, salt))
    });
    match result {
        Ok(hash) => print(&format!("{hash}\n")),
        Err(error) => {
            eprintln!("gateway-exporter: password: {error}");
            ExitCode::FAILURE
        }
    }
}

fn announce(app: &App, origin: &str) {
    let watched = app.watched();
    for line in &watched {
        log::info!("watching {line} ({origin})");
    }
    for finding in app.config_findings() {
        let source = finding.source;
        log::warn!("{source}: {}", finding.in_one_line());
    }
    if watched.is_empty() {
        log::warn!("nothing to watch was found on this machine yet; looking again at every scrape");
    }
}

fn announce_listeners(listeners: &Listeners, web: &Web, found: &[Finding]) {
    let addresses: Vec<String> = listeners.addresses().iter().map(ToString::to_string).collect();
    let protocol = if web.tls.is_some() { " with TLS" } else { "" };
    log::info!("listening on {} ({}){protocol}", web.listen.join(", "), addresses.join(", "));
    for open in found.iter().filter(|found| found.severity == Severity::Warning && !web.open) {
        log::warn!("{}; web: {{open: true}} says that this is meant", open.in_one_line());
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Messages go to the standard error; a single scrape says what is down, and the doctor has words of its own.
/// A panic ends the process: half a daemon is worse than none, and the service manager starts it again.
fn start_logging(flags: &Flags) {
    let level = match flags.task {
        Task::Doctor | Task::Status { .. } => LevelFilter::Error,
        Task::Once(_) => LevelFilter::Warn,
        _ => LevelFilter::Info,
    };
    logging::start(flags.log_level.unwrap_or(level), flags.log_format);
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        log::logger().flush();
        process::abort();
    }));
}
