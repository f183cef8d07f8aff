//! The daemon: arguments, configuration, logging, signals; then it serves.

use std::fs;
use std::io::{self, BufRead as _, IsTerminal, Read as _, Write as _};
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use gateway_exporter::app::{App, Discover, catalogue};
use gateway_exporter::bcrypt::{self, Hash};
use gateway_exporter::cli::{self, Command, Flags, Task};
use gateway_exporter::collector::Error;
use gateway_exporter::config::{self, Config, Surroundings, Web, WebFile};
use gateway_exporter::doctor::{self, Finding, Verdict};
use gateway_exporter::http::{self, Entrance, Guard, Limits, Tls};
use gateway_exporter::source::scene::Scene;
use gateway_exporter::source::{c, command, file};
use gateway_exporter::{logging, own};
use log::LevelFilter;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{self, LocalFlags, SetArg};

/// Where a configuration is looked for when none is named: as the originals do, then for the whole machine.
const CONFIG_FILES: [&str; 3] = ["exporter.yaml", "config/config.yml", "/etc/gateway-exporter.yaml"];

/// Where it listens unless something else is said: every address.
const EVERYWHERE: &str = ":9234";

/// What of a password bcrypt takes.
const LONGEST_PASSWORD: usize = 72;

/// What is watched, and how to look for more.
struct Watched {
    config: Config,
    discover: Option<Box<Discover>>,
    origin: String,
}

/// The exit status where a source is down.
const DOWN: u8 = 1;

/// The exit status where the configuration or the command line is wrong.
const WRONG: u8 = 2;

/// Why it ends, and the exit status for that.
struct Failure(u8, String);

impl From<String> for Failure {
    fn from(complaint: String) -> Self {
        Self(DOWN, complaint)
    }
}

fn main() -> ExitCode {
    c::give_memory_back();
    c::say_faults();
    let flags = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(flags)) => flags,
        Ok(Command::Help) => return say(&cli::help()),
        Ok(Command::HashPassword) => return hash_password(),
        Ok(Command::ListMetrics) => return say(&catalogue()),
        Ok(Command::Version) => {
            let (version, revision, target) = (own::VERSION, own::REVISION, own::TARGET);
            return say(&format!("gateway-exporter {version} (revision {revision}, {target})\n"));
        }
        Err(complaint) => {
            eprintln!("gateway-exporter: {complaint}");
            return ExitCode::from(WRONG);
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
fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let watched = read_config(flags).map_err(|complaint| Failure(WRONG, complaint))?;
    let guard = read_guard(&watched.config.web).map_err(|complaint| Failure(WRONG, complaint))?;
    match &flags.task {
        Task::Serve => serve(flags, watched, guard),
        Task::Check => {
            check(flags, watched);
            Ok(ExitCode::SUCCESS)
        }
        Task::DryRun => scrape(&check(flags, watched), None),
        Task::Once(output) => {
            let watched = unlocked(watched).map_err(|complaint| Failure(WRONG, complaint))?;
            scrape(&app(flags, watched), output.as_deref())
        }
        Task::Doctor => examine(flags, watched),
    }
}

fn app(flags: &Flags, watched: Watched) -> App {
    App::new(watched.config, watched.discover, flags.telemetry_path.clone())
}

/// Says what would be watched; that the configuration can be read is its being valid.
fn check(flags: &Flags, watched: Watched) -> App {
    let origin = watched.origin.clone();
    let app = app(flags, watched);
    announce(&app, &origin);
    log::info!("the configuration is valid ({origin})");
    app
}

/// Reads the key for clients' names, where there is one.
fn unlocked(mut watched: Watched) -> Result<Watched, String> {
    watched.config.unlock().map_err(|error| format!("identities_key_file: {error}"))?;
    Ok(watched)
}

/// The daemon at work. What may wait, its start and its reloads, has a thread of its own, so that a signal is always
/// heard; one such thread at a time.
struct Work {
    flags: Flags,
    daemon: Mutex<Option<(Arc<App>, Entrance)>>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    is_running: bool,
    is_reload_wanted: bool,
}

fn serve(flags: &Flags, watched: Watched, guard: Guard) -> Result<ExitCode, Failure> {
    let signals = block_signals()?;
    let tasks = Mutex::new(Tasks { is_running: true, is_reload_wanted: false });
    let work = Arc::new(Work { flags: flags.clone(), daemon: Mutex::default(), tasks });
    work.spawn(move |work| work.start(watched, guard)).map_err(|error| format!("no thread to start with: {error}"))?;
    let signal = heed(&signals, &work)?;
    log::info!("{signal}: ending");
    command::end_all();
    Ok(ExitCode::SUCCESS)
}

impl Work {
    /// Does `first`, then the reloads that are wanted, on a thread that ends when there is none. What goes wrong ends the
    /// process.
    fn spawn(self: &Arc<Self>, first: impl FnOnce(&Self) -> Result<(), Failure> + Send + 'static) -> io::Result<()> {
        let work = Arc::clone(self);
        let run = move || {
            let mut result = first(&work);
            while result.is_ok() && work.goes_on() {
                result = work.reload();
            }
            if let Err(Failure(status, complaint)) = result {
                log::error!("{complaint}");
                log::logger().flush();
                command::end_all();
                process::exit(status.into());
            }
        };
        thread::Builder::new().name("work".into()).spawn(run).map(drop)
    }

    /// Has the configuration read again, after what is under way.
    fn want_reload(self: &Arc<Self>) {
        let mut tasks = lock(&self.tasks);
        tasks.is_reload_wanted = true;
        if mem::replace(&mut tasks.is_running, true) {
            return;
        }
        drop(tasks);
        if let Err(error) = self.spawn(|_| Ok(())) {
            lock(&self.tasks).is_running = false;
            log::error!("SIGHUP: no thread to read the configuration: {error}; send it again");
        }
    }

    /// Whether a reload is wanted; if not, nothing runs from here on.
    fn goes_on(&self) -> bool {
        let mut tasks = lock(&self.tasks);
        tasks.is_running = mem::take(&mut tasks.is_reload_wanted);
        tasks.is_running
    }

    fn start(&self, watched: Watched, guard: Guard) -> Result<(), Failure> {
        let watched = unlocked(watched).map_err(|complaint| Failure(WRONG, complaint))?;
        let (web, origin) = (watched.config.web.clone(), watched.origin.clone());
        let app = Arc::new(app(&self.flags, watched));
        announce(&app, &origin);
        let mut entrance = Entrance::open(&web.listen).map_err(|error| shut(&error))?;
        let answering = Arc::clone(&app);
        let relief = entrance
            .serve(guard, Limits::default(), Arc::new(move |request| answering.answer(request)))
            .map_err(|error| format!("{}: {error}", web.listen.join(", ")))?;
        app.relieve_by(relief);
        announce_door(&app, &entrance, &web);
        *lock(&self.daemon) = Some((app, entrance));
        Ok(())
    }

    fn reload(&self) -> Result<(), Failure> {
        match lock(&self.daemon).as_mut() {
            Some((app, entrance)) => Ok(reload(&self.flags, app, entrance)?),
            None => Ok(()),
        }
    }
}

/// Nothing here is left half done by a panic, which ends the process.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One scrape to the standard output, or into a file; a target that did not answer is said by the exit status.
fn scrape(app: &App, output: Option<&Path>) -> Result<ExitCode, Failure> {
    let (reply, is_whole) = app.once();
    let text = reply.into_bytes().map_err(|error| error.to_string())?;
    match output {
        Some(path) => file::replace(path, &text).map_err(|error| format!("--output: {error}"))?,
        None => match io::stdout().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}"))?,
            _ => {}
        },
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(DOWN) })
}

/// Says what is right, what is wrong and what to do.
fn examine(flags: &Flags, mut watched: Watched) -> Result<ExitCode, Failure> {
    // A key that is not there yet is the daemon's to make.
    if watched.config.key_file.as_ref().is_some_and(|path| path.exists()) {
        watched = unlocked(watched).map_err(|complaint| Failure(WRONG, complaint))?;
    }
    let (web, origin) = (watched.config.web.clone(), watched.origin.clone());
    let app = app(flags, watched);
    let mut door = Vec::new();
    for address in &web.listen {
        match Entrance::open(slice::from_ref(address)) {
            Ok(entrance) => door.append(&mut open_doors(&entrance, &web)),
            Err(error) => door.push(doctor::shut_door(address, &error, http::is_ours(address))),
        }
    }
    app.note_door(door);
    let findings = app.examine();
    say(&format!("gateway-exporter {}, as {}, {origin}\n\n", own::VERSION, Scene::here().user));
    say(&doctor::print(&findings));
    Ok(match doctor::summary(&findings).0 {
        Verdict::Bad => ExitCode::from(DOWN),
        _ => ExitCode::SUCCESS,
    })
}

fn open_doors(entrance: &Entrance, web: &Web) -> Vec<Finding> {
    let is_guarded = web.allow.is_some() || !web.users.is_empty();
    entrance.addresses().into_iter().map(|address| doctor::open_door(address, is_guarded)).collect()
}

/// Why an address can't be listened on, and what to do.
fn shut(error: &Error) -> String {
    said(doctor::shut_door(error.thing(), error, http::is_ours(error.thing())))
}

/// The signals that are waited for. They are blocked before any thread starts, so that every thread inherits that.
fn block_signals() -> Result<SigSet, String> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().map_err(deaf)?;
    Ok(signals)
}

/// Why no signal is heard. The words are the C library's: nix has them all a second time.
fn deaf(error: Errno) -> String {
    format!("signals: {}", io::Error::from(error))
}

/// Waits for signals until one says that it is over, and gives that one.
fn heed(signals: &SigSet, work: &Arc<Work>) -> Result<Signal, String> {
    loop {
        match signals.wait().map_err(deaf)? {
            Signal::SIGHUP => work.want_reload(),
            signal => return Ok(signal),
        }
    }
}

/// Reads the configuration again. A bad one changes nothing; the error is that nothing is listened on any more.
fn reload(flags: &Flags, app: &App, entrance: &mut Entrance) -> Result<(), String> {
    let read =
        read_config(flags).and_then(unlocked).and_then(|watched| Ok((read_guard(&watched.config.web)?, watched)));
    let (guard, Watched { config, discover, origin }) = match read {
        Ok(read) => read,
        Err(complaint) => {
            log::error!("{complaint}; what was watched before is still watched");
            return Ok(());
        }
    };
    let web = config.web.clone();
    app.reload(config, discover);
    announce(app, &origin);
    let before = entrance.addresses();
    if let Err(error) = entrance.change(&web.listen, guard) {
        log::error!("{}", shut(&error));
    }
    if entrance.is_closed() {
        return Err(format!("{}: nothing is listened on any more", web.listen.join(", ")));
    }
    app.note_door(open_doors(entrance, &web));
    if entrance.addresses() != before {
        announce_door(app, entrance, &web);
    }
    Ok(())
}

fn read_config(flags: &Flags) -> Result<Watched, String> {
    let surroundings =
        Surroundings { ipsec_config: flags.ipsec_config.clone(), sudo: flags.sudo, hostname: hostname() };
    let named = flags.config.clone();
    let file = named.or_else(|| CONFIG_FILES.iter().map(PathBuf::from).find(|path| path.exists()));
    let mut config = match &file {
        None => Config { gateway: surroundings.hostname.clone(), ..Config::parse("", &Surroundings::default())? },
        Some(path) => read_as(path, |text| Config::parse(text, &surroundings))?,
    };
    if let (Some(files), Some(path)) = (&mut config.web.tls, &file) {
        config::anchor(files, path);
    }
    set_access(&mut config, flags)?;
    if !config.is_empty() {
        let origin = file.map(|path| path.display().to_string()).unwrap_or_default();
        return Ok(Watched { config, discover: None, origin });
    }
    let surroundings = Surroundings { hostname: config.gateway.clone(), ..surroundings };
    let discover = move || Config::discover("/".as_ref(), &surroundings);
    config.absorb(discover());
    Ok(Watched { config, discover: Some(Box::new(discover)), origin: "found on this machine".into() })
}

/// The certificates are read anew at every reload.
fn read_guard(web: &Web) -> Result<Guard, String> {
    Ok(Guard { allow: web.allow.clone(), tls: web.tls.as_ref().map(Tls::load).transpose()? })
}

/// What the flags say about access wins over the file.
fn set_access(config: &mut Config, flags: &Flags) -> Result<(), String> {
    if let Some(path) = &flags.web_config {
        let WebFile { users, mut tls } = read_as(path, Config::web_file)?;
        tls.iter_mut().for_each(|files| config::anchor(files, path));
        config.web.tls = tls.or(config.web.tls.take());
        if !users.is_empty() {
            config.web.users = users;
        }
    }
    if !flags.listen.is_empty() {
        config.web.listen.clone_from(&flags.listen);
    }
    if config.web.listen.is_empty() {
        config.web.listen.push(EVERYWHERE.into());
    }
    Ok(())
}

/// Reads a file of ours; the error names it.
fn read_as<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => format!("{name}: not a text in UTF-8"),
        _ => unreadable(&name, &Error::io(&name, &error)),
    })?;
    parse(&text).map_err(|complaint| format!("{name}: {complaint}"))
}

/// Why a file of ours can't be read, and what to do.
fn unreadable(name: &str, error: &Error) -> String {
    said(doctor::target("", name, Some(error), &Scene::around("", name, error)))
}

/// A finding in one line.
fn said(Finding { thing, words, remedy, .. }: Finding) -> String {
    format!("{thing}: {words}{}{remedy}", if remedy.is_empty() { "" } else { "; " })
}

/// Reads a password, from a terminal twice and unseen, and prints its hash.
fn hash_password() -> ExitCode {
    let result = read_password().and_then(|password| {
        let salt = file::random()?;
        Ok(Hash::new(password.as_bytes(), bcrypt::COST, salt))
    });
    match result {
        Ok(hash) => say(&format!("{hash}\n")),
        Err(error) => {
            eprintln!("gateway-exporter: password: {error}");
            ExitCode::FAILURE
        }
    }
}

fn read_password() -> io::Result<String> {
    let password = ask("Password: ")?;
    if io::stdin().is_terminal() && ask("Again: ")? != password {
        return Err(io::Error::other("the two are not the same"));
    }
    match password.len() {
        0 => Err(io::Error::other("there is none")),
        1..=LONGEST_PASSWORD => Ok(password),
        _ => Err(io::Error::other("bcrypt takes 72 bytes at most")),
    }
}

/// One line of the standard input, which a terminal does not show.
fn ask(prompt: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let before = stdin.is_terminal().then(|| termios::tcgetattr(&stdin)).transpose()?;
    if let Some(mut silent) = before.clone() {
        silent.local_flags.remove(LocalFlags::ECHO);
        termios::tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
        eprint!("{prompt}");
    }
    let mut line = String::new();
    let read = stdin.lock().take(4096).read_line(&mut line);
    if let Some(before) = before {
        termios::tcsetattr(&stdin, SetArg::TCSANOW, &before)?;
        eprintln!();
    }
    read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}

fn announce(app: &App, origin: &str) {
    let watched = app.watched();
    for line in &watched {
        log::info!("watching {line} ({origin})");
    }
    for flaw in app.flaws() {
        let source = flaw.source;
        log::warn!("{source}: {}", said(flaw));
    }
    if watched.is_empty() {
        log::warn!("nothing to watch was found on this machine yet; looking again at every scrape");
    }
}

fn announce_door(app: &App, entrance: &Entrance, web: &Web) {
    app.note_door(open_doors(entrance, web));
    let addresses: Vec<String> = entrance.addresses().iter().map(ToString::to_string).collect();
    let protocol = if web.tls.is_some() { " with TLS" } else { "" };
    log::info!("listening on {} ({}){protocol}", web.listen.join(", "), addresses.join(", "));
}

fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Messages go to the standard error; a single scrape says what is down, and the doctor has words of its own.
/// A panic ends the process: half a daemon is worse than none, and the service manager starts it again.
fn start_logging(flags: &Flags) {
    logging::start(match flags.task {
        _ if flags.debug => LevelFilter::Debug,
        Task::Doctor => LevelFilter::Error,
        Task::Once(_) => LevelFilter::Warn,
        _ => LevelFilter::Info,
    });
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        log::logger().flush();
        process::abort();
    }));
}
