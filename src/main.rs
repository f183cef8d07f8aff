//! The daemon: arguments, configuration, logging, signals; then it serves.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;

use gateway_exporter::app::{App, Discover, catalogue};
use gateway_exporter::cli::{self, Command, Flags};
use gateway_exporter::config::{Config, Surroundings};
use gateway_exporter::http::{self, Limits};
use gateway_exporter::own;
use gateway_exporter::source::{c, command};
use log::LevelFilter;
use nix::sys::signal::{SigSet, Signal};

mod journal;

/// Where a configuration is looked for when none is named: as the originals do, then for the whole machine.
const CONFIG_FILES: [&str; 3] = ["exporter.yaml", "config/config.yml", "/etc/gateway-exporter.yaml"];

/// What is watched, and how to look for more.
struct Watched {
    config: Config,
    discover: Option<Box<Discover>>,
    origin: String,
}

fn main() -> ExitCode {
    c::give_memory_back();
    let flags = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(flags)) => flags,
        Ok(Command::Help) => return say(cli::HELP),
        Ok(Command::ListMetrics) => return say(&catalogue()),
        Ok(Command::Version) => {
            let (version, revision, target) = (own::VERSION, own::REVISION, own::TARGET);
            return say(&format!("gateway-exporter {version} (revision {revision}, {target})\n"));
        }
        Err(complaint) => {
            eprintln!("gateway-exporter: {complaint}");
            return ExitCode::from(2);
        }
    };
    start_logging(flags.debug);
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaint) => {
            log::error!("{complaint}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to the standard output; a reader that went away is no failure.
fn say(text: &str) -> ExitCode {
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn run(flags: &Flags) -> Result<(), String> {
    let signals = block_signals()?;
    let watched = read_config(flags)?;
    let origin = watched.origin.clone();
    let app = Arc::new(App::new(watched.config, watched.discover, flags.telemetry_path.clone()));
    announce(&app, &origin);
    if flags.dry_run {
        return Ok(());
    }
    let listeners = http::bind(&flags.listen).map_err(|error| error.to_string())?;
    let answering = Arc::clone(&app);
    http::serve(listeners, Limits::default(), Arc::new(move |request| answering.answer(request)))
        .map_err(|error| format!("{}: {error}", flags.listen))?;
    log::info!("listening on {}", flags.listen);
    heed(&signals, flags, &app)
}

/// The signals that are waited for. They are blocked before any thread starts, so that every thread inherits that.
fn block_signals() -> Result<SigSet, String> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().map_err(|error| format!("signals: {error}"))?;
    Ok(signals)
}

/// Waits for signals until one says that it is over.
fn heed(signals: &SigSet, flags: &Flags, app: &App) -> Result<(), String> {
    loop {
        match signals.wait().map_err(|error| format!("signals: {error}"))? {
            Signal::SIGHUP => match read_config(flags) {
                Ok(Watched { config, discover, origin }) => {
                    app.reload(config, discover);
                    announce(app, &origin);
                }
                Err(complaint) => log::error!("{complaint}; what was watched before is still watched"),
            },
            signal => {
                log::info!("{signal}: ending");
                command::end_all();
                return Ok(());
            }
        }
    }
}

fn read_config(flags: &Flags) -> Result<Watched, String> {
    let surroundings =
        Surroundings { ipsec_config: flags.ipsec_config.clone(), sudo: flags.sudo, hostname: hostname() };
    let named = flags.config.clone();
    let file = named.or_else(|| CONFIG_FILES.iter().map(PathBuf::from).find(|path| path.exists()));
    let config = match &file {
        None => Config::default(),
        Some(path) => {
            let complain = |complaint: String| format!("{}: {complaint}", path.display());
            let text = fs::read_to_string(path).map_err(|error| complain(error.to_string()))?;
            Config::parse(&text, &surroundings).map_err(complain)?
        }
    };
    if !config.is_empty() {
        let origin = file.map(|path| path.display().to_string()).unwrap_or_default();
        return Ok(Watched { config, discover: None, origin });
    }
    let discover = move || Config::discover("/".as_ref(), &surroundings);
    Ok(Watched { config: discover(), discover: Some(Box::new(discover)), origin: "found on this machine".into() })
}

fn announce(app: &App, origin: &str) {
    let watched = app.watched();
    for line in &watched {
        log::info!("watching {line} ({origin})");
    }
    if watched.is_empty() {
        log::warn!("nothing to watch was found on this machine yet; looking again at every scrape");
    }
}

fn hostname() -> String {
    nix::unistd::gethostname().map_or_else(|_| "localhost".into(), |name| name.to_string_lossy().into_owned())
}

/// Messages go to the standard error.
/// A panic ends the process: half a daemon is worse than none, and the service manager starts it again.
fn start_logging(debug: bool) {
    journal::start(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    std::panic::set_hook(Box::new(|panic| {
        log::error!("{panic}");
        process::abort();
    }));
}
