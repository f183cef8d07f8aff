//! Loads the configuration: from the file that a flag names, from a default path, or by discovery on the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Config, ConfigError, Overrides, WebFile, anchor};
use crate::cli::Flags;
use crate::collector::{Deadline, Error};
use crate::diagnosis;
use crate::http;
use crate::sys::blocking;
use crate::sys::environment::{Environment, Traces};
use crate::sys::settings_file::{self, Search};

/// The default paths in the current folder, as in the original exporters.
const HERE: [&str; 2] = ["exporter.yaml", "config/config.yml"];

/// The default path for the whole machine.
const MACHINE: &str = "/etc/gateway-exporter.yaml";

/// The default listen address: all addresses.
const EVERYWHERE: &str = ":9234";

/// The subject of the error if the discovery does not return.
pub const DISCOVERY: &str = "what is on this machine";

/// The time limit of the discovery, of which [`blocking::run`](crate::sys::blocking::run) uses half.
pub const DISCOVERY_TIME: Duration = Duration::from_secs(1);

/// Discovers what there is to watch.
pub type Discover = dyn Fn() -> Config + Send + Sync;

/// A configuration, and what there is to say about where it comes from.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Looks for more, where nothing is configured.
    pub discover: Option<Box<Discover>>,
    /// The file, or that it was found on the machine.
    pub origin: String,
    /// Why files at default paths were not read.
    pub refused: Vec<String>,
    /// Why it could not be seen what is on this machine: a folder there hangs.
    pub unseen: Option<Error>,
}

/// What was found at the default paths.
struct Found {
    file: Option<(PathBuf, Vec<u8>)>,
    refused: Vec<String>,
}

/// Loads the configuration by the flags; the error names the file.
pub fn load(flags: &Flags, hostname: String) -> Result<Loaded, String> {
    let overrides = Overrides { ipsec_config: flags.ipsec_config.clone(), sudo: flags.sudo, hostname };
    let Found { file, mut refused } = match &flags.config {
        Some(path) => Found { file: Some((path.clone(), read(path)?)), refused: Vec::new() },
        None => find_default()?,
    };
    let mut config = match &file {
        None => nothing_written(&overrides)?,
        Some((path, bytes)) => main_file(path, bytes, &overrides)?,
    };
    set_access(&mut config, flags)?;
    let is_configured = !config.is_empty();
    let (looks, lost) = config.choose(&flags.collectors);
    let complaint = "is not looked for on this machine, and the configuration does not say what of it to watch";
    refused.extend(lost.into_iter().map(|source| format!("--collector.{source}: it {complaint}")));
    let file = file.map(|(path, _)| path.display().to_string()).filter(|_| is_configured);
    let origin = file.unwrap_or_else(|| "found on this machine".into());
    if !looks {
        return Ok(Loaded { config, discover: None, origin, refused, unseen: None });
    }
    let overrides = Overrides { hostname: config.gateway.clone(), ..overrides };
    let discover = Arc::new(move || Config::discover("/".as_ref(), &overrides));
    let theirs = Arc::clone(&discover);
    let found = blocking::run(DISCOVERY, Deadline::within(DISCOVERY_TIME), move || Ok(theirs()));
    let unseen = found.map(|found| config.merge_discovered(&found)).err();
    let discover: Box<Discover> = Box::new(move || discover());
    Ok(Loaded { config, discover: Some(discover), origin, refused, unseen })
}

/// Reads the first file at a default path that can be trusted.
fn find_default() -> Result<Found, String> {
    let mut refused = Vec::new();
    for path in HERE.map(Path::new) {
        match settings_file::search(path).map_err(|error| unreadable(path, &error))? {
            Search::Absent => {}
            Search::Refused(why) => refused.push(why),
            Search::Found(bytes) => return Ok(Found { file: Some((path.into(), bytes)), refused }),
        }
    }
    let path = Path::new(MACHINE);
    let file = path.exists().then(|| read(path)).transpose()?.map(|bytes| (path.into(), bytes));
    Ok(Found { file, refused })
}

/// The configuration without a file: the defaults of all keys, and no source, even if a flag asks for one, so that the
/// others are discovered.
fn nothing_written(overrides: &Overrides) -> Result<Config, String> {
    let config = Config::parse("", &Overrides::default()).map_err(|error| error.to_string())?;
    Ok(Config { gateway: overrides.hostname.clone(), ..config })
}

fn main_file(path: &Path, bytes: &[u8], overrides: &Overrides) -> Result<Config, String> {
    let text = text(path, bytes)?;
    if text.trim().is_empty() {
        let name = path.display();
        return Err(format!(
            "{name}: the file is empty, perhaps truncated; write {{}} into it if nothing is to be configured"
        ));
    }
    let mut config = Config::parse(text, overrides).map_err(|error| in_file(path, &error))?;
    config.web.tls.iter_mut().for_each(|files| anchor(files, path));
    Ok(config)
}

/// Applies the flags about access, which take precedence over the file.
fn set_access(config: &mut Config, flags: &Flags) -> Result<(), String> {
    if let Some(path) = &flags.web_config {
        let bytes = read(path)?;
        let parsed = Config::web_file(text(path, &bytes)?);
        let WebFile { users, mut tls, headers, rate_limit } = parsed.map_err(|error| in_file(path, &error))?;
        (config.web.headers, config.web.rate_limit) = (headers, rate_limit);
        tls.iter_mut().for_each(|files| anchor(files, path));
        config.web.tls = tls.or(config.web.tls.take());
        if !users.is_empty() {
            config.web.users = users;
        }
    }
    if !flags.listen.is_empty() {
        config.web.listen.clone_from(&flags.listen);
        config.web.says_listen = true;
    }
    if flags.systemd_socket {
        config.web.listen = vec![http::PASSED.into()];
        config.web.says_listen = true;
    }
    config.web.hides_process = flags.disable_exporter_metrics;
    if config.web.listen.is_empty() {
        config.web.listen.push(EVERYWHERE.into());
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    settings_file::read(path).map_err(|error| unreadable(path, &error))
}

fn text<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{}: the file is not UTF-8 text", path.display()))
}

fn in_file(path: &Path, error: &ConfigError) -> String {
    format!("{}: {error}", path.display())
}

/// Why a configuration file can't be read, and what to do.
fn unreadable(path: &Path, error: &Error) -> String {
    let name = path.display().to_string();
    diagnosis::target("", &name, Some(error), &Environment::inspect(Traces::NONE, &name, error)).in_one_line()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_file_every_limit_holds_and_no_source_is_named() {
        let overrides = Overrides { ipsec_config: Some("/flag".into()), sudo: true, hostname: "gateway".into() };
        let config = nothing_written(&overrides).expect("nothing is valid");
        assert!(config.is_empty() && config.gateway == "gateway");
        assert_eq!(config.options.most_series, Some(200_000));
    }
}
