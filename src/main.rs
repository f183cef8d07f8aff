//! The daemon: arguments, configuration, logging, signals; then it serves.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{self, ExitCode};
use std::slice;
use std::sync::Arc;

use gateway_exporter::app::{App, catalogue};
use gateway_exporter::auth::prompt;
use gateway_exporter::bcrypt::{self, Hash};
use gateway_exporter::cli::{self, Command, Flags, Task};
use gateway_exporter::collector::Error;
use gateway_exporter::config::load::{self, Loaded};
use gateway_exporter::config::{Protection, Web};
use gateway_exporter::doctor::{self, Finding, Verdict};
use gateway_exporter::http::{self, AccessControl, Limits, Listeners, Tls};
use gateway_exporter::own;
use gateway_exporter::source::scene::Scene;
use gateway_exporter::source::{c, command, file};
use log::LevelFilter;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

mod journal;

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
    run(&flags).unwrap_or_else(|Failure(status, complaint)| {
        log::error!("{complaint}");
        ExitCode::from(status)
    })
}

/// Prints to the standard output; a reader that went away is no failure.
fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn run(flags: &Flags) -> Result<ExitCode, Failure> {
    let watched = load::load(flags, hostname()).map_err(|complaint| Failure(WRONG, complaint))?;
    watched.refused.iter().for_each(|why| log::warn!("{why}"));
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

fn app(flags: &Flags, watched: Loaded) -> App {
    App::new(watched.config, watched.discover, flags.telemetry_path.clone())
}

/// Says what would be watched; that the configuration can be read is its being valid.
fn check(flags: &Flags, watched: Loaded) -> App {
    let origin = watched.origin.clone();
    let app = app(flags, watched);
    announce(&app, &origin);
    log::info!("the configuration is valid ({origin})");
    app
}

/// Reads the key for clients' names, where there is one.
fn unlocked(mut watched: Loaded) -> Result<Loaded, String> {
    watched.config.unlock().map_err(|error| format!("identities_key_file: {error}"))?;
    Ok(watched)
}

fn serve(flags: &Flags, watched: Loaded, guard: AccessControl) -> Result<ExitCode, Failure> {
    let signals = block_signals()?;
    let watched = unlocked(watched).map_err(|complaint| Failure(WRONG, complaint))?;
    let (web, origin) = (watched.config.web.clone(), watched.origin.clone());
    let protection = watched.config.protection();
    let app = Arc::new(app(flags, watched));
    announce(&app, &origin);
    let mut entrance = Listeners::open(&web.listen).map_err(|error| shut(&error))?;
    let answering = Arc::clone(&app);
    let free_memory = entrance
        .serve(guard, Limits::default(), Arc::new(move |request| answering.answer(request)))
        .map_err(|error| format!("{}: {error}", web.listen.join(", ")))?;
    app.free_memory_by(free_memory);
    announce_door(&app, &entrance, &web);
    heed(&signals, flags, &app, &mut entrance, protection)?;
    Ok(ExitCode::SUCCESS)
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
fn examine(flags: &Flags, mut watched: Loaded) -> Result<ExitCode, Failure> {
    // A key that is not there yet is the daemon's to make.
    if watched.config.key_file.as_ref().is_some_and(|path| path.exists()) {
        watched = unlocked(watched).map_err(|complaint| Failure(WRONG, complaint))?;
    }
    let (web, origin) = (watched.config.web.clone(), watched.origin.clone());
    let refused = std::mem::take(&mut watched.refused);
    let app = app(flags, watched);
    let mut door = Vec::new();
    for address in &web.listen {
        match Listeners::open(slice::from_ref(address)) {
            Ok(entrance) => door.append(&mut open_doors(&entrance, &web)),
            Err(error) => door.push(doctor::shut_door(address, &error, http::is_ours(address))),
        }
    }
    app.note_door(door);
    let findings = app.examine();
    say(&format!("gateway-exporter {}, as {}, {origin}\n", own::VERSION, Scene::here().user));
    refused.iter().for_each(|why| _ = say(&format!("{why}\n")));
    say("\n");
    say(&doctor::print(&findings));
    Ok(match doctor::summary(&findings).0 {
        Verdict::Bad => ExitCode::from(DOWN),
        _ => ExitCode::SUCCESS,
    })
}

fn open_doors(entrance: &Listeners, web: &Web) -> Vec<Finding> {
    entrance.addresses().into_iter().map(|address| doctor::open_door(address, web.is_restricted())).collect()
}

/// Why an address can't be listened on, and what to do.
fn shut(error: &Error) -> String {
    doctor::shut_door(error.thing(), error, http::is_ours(error.thing())).in_one_line()
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

/// Waits for signals until one says that it is over.
fn heed(
    signals: &SigSet,
    flags: &Flags,
    app: &App,
    entrance: &mut Listeners,
    mut protection: Protection,
) -> Result<(), String> {
    loop {
        match signals.wait().map_err(deaf)? {
            Signal::SIGHUP => reload(flags, app, entrance, &mut protection)?,
            signal => {
                log::info!("{signal}: ending");
                command::end_all();
                return Ok(());
            }
        }
    }
}

/// Reads the configuration again. A bad one changes nothing; the error is that nothing is listened on any more.
fn reload(flags: &Flags, app: &App, entrance: &mut Listeners, protection: &mut Protection) -> Result<(), String> {
    let (guard, Loaded { config, discover, origin, .. }) = match load_again(flags, protection) {
        Ok(read) => read,
        Err(complaint) => {
            log::error!("{complaint}; what was watched before is still watched");
            return Ok(());
        }
    };
    *protection = config.protection();
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

fn load_again(flags: &Flags, protection: &Protection) -> Result<(AccessControl, Loaded), String> {
    let loaded = load::load(flags, hostname())?;
    loaded.refused.iter().for_each(|why| log::warn!("{why}"));
    if let Some(error) = protection.lost_by(&loaded.config) {
        return Err(format!("{}: {error}", loaded.origin));
    }
    let loaded = unlocked(loaded)?;
    Ok((read_guard(&loaded.config.web)?, loaded))
}

/// The certificates are read anew at every reload.
fn read_guard(web: &Web) -> Result<AccessControl, String> {
    Ok(AccessControl { allow: web.allow.clone(), tls: web.tls.as_ref().map(Tls::load).transpose()? })
}

/// Reads a password and prints its hash.
fn hash_password() -> ExitCode {
    let result = prompt::new_password().and_then(|password| {
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

fn announce(app: &App, origin: &str) {
    let watched = app.watched();
    for line in &watched {
        log::info!("watching {line} ({origin})");
    }
    for flaw in app.flaws() {
        let source = flaw.source;
        log::warn!("{source}: {}", flaw.in_one_line());
    }
    if watched.is_empty() {
        log::warn!("nothing to watch was found on this machine yet; looking again at every scrape");
    }
}

fn announce_door(app: &App, entrance: &Listeners, web: &Web) {
    let found = open_doors(entrance, web);
    app.note_door(found.clone());
    let addresses: Vec<String> = entrance.addresses().iter().map(ToString::to_string).collect();
    let protocol = if web.tls.is_some() { " with TLS" } else { "" };
    log::info!("listening on {} ({}){protocol}", web.listen.join(", "), addresses.join(", "));
    for open in found.into_iter().filter(|found| found.verdict == Verdict::Care && !web.open) {
        log::warn!("{}; web: {{open: true}} says that this is meant", open.in_one_line());
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Messages go to the standard error; a single scrape says what is down, and the doctor has words of its own.
/// A panic ends the process: half a daemon is worse than none, and the service manager starts it again.
fn start_logging(flags: &Flags) {
    journal::start(match flags.task {
        _ if flags.debug => LevelFilter::Debug,
        Task::Doctor => LevelFilter::Error,
        Task::Once(_) => LevelFilter::Warn,
        _ => LevelFilter::Info,
    });
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        process::abort();
    }));
}
