//! Loads the configuration: from the file that a flag names, from a default path, or by discovery on the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Config, ConfigError, Overrides, anchor};
use crate::cli::{Flags, Task};
use crate::deadline::Deadline;
use crate::diagnosis;
use crate::error::Error;
use crate::http;
use crate::settings::Service;
use crate::sys::blocking;
use crate::sys::environment::{Environment, Traces};
use crate::sys::settings_file::{self, Search};

/// The default paths in the current folder, as in the original exporters.
const HERE: [&str; 2] = ["exporter.yaml", "config/config.yml"];

/// The default path for the whole machine.
const MACHINE: &str = "/etc/gateway-exporter.yaml";

/// The default path on OpenWrt.
const UCI: &str = "/etc/config/gateway-exporter";

/// The default listen address: all addresses.
const EVERYWHERE: &str = ":9234";

/// The subject of the error if the discovery does not return.
pub const DISCOVERY: &str = "what is on this machine";

/// The time limit of the discovery, of which [`blocking::run`](crate::sys::blocking::run) uses half.
pub const DISCOVERY_TIME: Duration = Duration::from_secs(1);

/// Discovers what there is to watch.
pub type Discover = dyn Fn() -> Config + Send + Sync;

/// A configuration, and where it comes from.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Searches the machine for sources; absent if sources are configured.
    pub discover: Option<Box<Discover>>,
    /// The file, or `found on this machine`.
    pub origin: String,
    /// Why files at default paths were not read.
    pub refused: Vec<String>,
    /// Why the machine could not be searched: a folder does not respond.
    pub unseen: Option<Error>,
    /// The options about the daemon itself in OpenWrt's configuration, if that is used.
    pub uci: Option<UciService>,
}

/// The options about the daemon itself in OpenWrt's configuration.
pub struct UciService {
    /// Whether there is an address to listen on among them.
    has_address: bool,
    /// The options.
    pub service: Service,
}

impl Loaded {
    fn of(config: Config, origin: String) -> Self {
        Self { config, discover: None, origin, refused: Vec::new(), unseen: None, uci: None }
    }

    /// What a process needs for the configuration: [`Config::needs`]; for OpenWrt's configuration also `off` if the daemon is
    /// disabled, and `interface NAME PORT` if it listens on the address of one of OpenWrt's interfaces.
    pub fn needs(&self, flags: &Flags) -> String {
        let service = self.uci.as_ref().map(|uci| &uci.service);
        let theirs = service.map(|service| [service.config_file.as_deref(), service.web_config.as_deref()]);
        let files = theirs.into_iter().flatten().chain([flags.web_config.as_deref()]).flatten();
        let mut needs = self.config.needs(files);
        if let Some(UciService { has_address, service }) = &self.uci {
            if !has_address {
                needs = format!("{needs}interface {} {}\n", service.interface, service.port);
            }
            if !service.is_enabled {
                needs.push_str("off\n");
            }
        }
        needs
    }
}

/// Loads the configuration by the flags; the error names the file.
pub fn load(flags: &Flags, hostname: String) -> Result<Loaded, String> {
    let overrides = Overrides { ipsec_config: flags.ipsec_config.clone(), sudo: flags.sudo, hostname };
    let is_here = || HERE.iter().any(|path| Path::new(path).exists());
    let default = || Some(PathBuf::from(UCI)).filter(|path| flags.config.is_none() && path.exists() && !is_here());
    if let Some(path) = flags.uci.clone().or_else(default) {
        return load_uci(&path, flags, &overrides);
    }
    let (file, mut refused) = match &flags.config {
        Some(path) => (Some((path.clone(), read(path)?)), Vec::new()),
        None => find_default()?,
    };
    let mut config = match &file {
        None => nothing_written(&overrides)?,
        Some((path, bytes)) => main_file(path, bytes, &overrides)?,
    };
    set_access(&mut config, flags.web_config.as_deref(), flags)?;
    let is_configured = !config.is_empty();
    let (looks, lost) = config.choose(&flags.collectors);
    let complaint = "is not looked for on this machine, and the configuration does not say what of it to watch";
    refused.extend(lost.into_iter().map(|source| format!("--collector.{source}: it {complaint}")));
    let file = file.map(|(path, _)| path.display().to_string()).filter(|_| is_configured);
    let origin = file.unwrap_or_else(|| "found on this machine".into());
    if !looks {
        return Ok(Loaded { refused, ..Loaded::of(config, origin) });
    }
    let overrides = Overrides { hostname: config.gateway.clone(), ..overrides };
    let discover = Arc::new(move || Config::discover("/".as_ref(), &overrides));
    let theirs = Arc::clone(&discover);
    let found = blocking::run(DISCOVERY, Deadline::within(DISCOVERY_TIME), move || Ok(theirs()));
    let unseen = found.map(|found| config.merge_discovered(&found)).err();
    let discover: Box<Discover> = Box::new(move || discover());
    Ok(Loaded { discover: Some(discover), refused, unseen, ..Loaded::of(config, origin) })
}

/// Loads OpenWrt's configuration. Sources that it does not mention are searched for on the machine.
fn load_uci(path: &Path, flags: &Flags, overrides: &Overrides) -> Result<Loaded, String> {
    if flags.config.is_some() {
        return Err("--config.uci and --config.file: only one of them can count".into());
    }
    let bytes = read(path)?;
    let uci = Config::parse_uci(written(path, &bytes, "config gateway-exporter")?, overrides)
        .map_err(|error| in_file(path, &error))?;
    let (service, listen) = (uci.service.clone(), uci.config.web.listen.clone());
    let (mut config, origin) = match service.config_file.clone() {
        Some(own) => (main_file(&own, &read(&own)?, overrides)?, own),
        None => {
            let on_machine = move || Ok(uci.on_machine("/".as_ref()));
            let found = blocking::run(DISCOVERY, Deadline::within(DISCOVERY_TIME), on_machine);
            (found.map_err(|error| format!("{error}: a folder hangs"))?, path.to_owned())
        }
    };
    if config.web.listen.is_empty() {
        config.web.listen = listen;
    }
    if config.web.listen.is_empty() && service.interface == "*" {
        config.web.listen.push(format!(":{}", service.port));
    }
    if config.web.listen.is_empty() && flags.listen.is_empty() && !flags.systemd_socket && flags.task == Task::Serve {
        return Err(format!(
            "{}: only OpenWrt knows the address of the interface {}: its init script gives it by --web.listen-address",
            path.display(),
            service.interface
        ));
    }
    let has_address = !config.web.listen.is_empty();
    config.choose(&flags.collectors);
    set_access(&mut config, flags.web_config.as_deref().or(service.web_config.as_deref()), flags)?;
    let uci = Some(UciService { has_address, service });
    Ok(Loaded { uci, ..Loaded::of(config, origin.display().to_string()) })
}

/// The path of a file, and its content.
type ReadFile = (PathBuf, Vec<u8>);

/// Reads the first file at a default path that can be trusted. Returns its path and content, and why others were not read.
fn find_default() -> Result<(Option<ReadFile>, Vec<String>), String> {
    let mut refused = Vec::new();
    for path in HERE.map(Path::new) {
        match settings_file::search(path).map_err(|error| unreadable(path, &error))? {
            Search::Absent => {}
            Search::Refused(why) => refused.push(why),
            Search::Found(bytes) => return Ok((Some((path.into(), bytes)), refused)),
        }
    }
    let path = Path::new(MACHINE);
    let file = path.exists().then(|| read(path)).transpose()?.map(|bytes| (path.into(), bytes));
    Ok((file, refused))
}

/// The configuration without a file: the defaults of all keys and no source, so that sources are discovered.
fn nothing_written(overrides: &Overrides) -> Result<Config, String> {
    let config = Config::parse("", &Overrides::default()).map_err(|error| error.to_string())?;
    Ok(Config { gateway: overrides.hostname.clone(), ..config })
}

fn main_file(path: &Path, bytes: &[u8], overrides: &Overrides) -> Result<Config, String> {
    let mut config = Config::parse(written(path, bytes, "{}")?, overrides).map_err(|error| in_file(path, &error))?;
    config.web.tls.iter_mut().for_each(|files| anchor(files, path));
    Ok(config)
}

/// Applies the flags about access, which take precedence over the file; `web_config` is Prometheus' web configuration file.
fn set_access(config: &mut Config, web_config: Option<&Path>, flags: &Flags) -> Result<(), String> {
    if let Some(path) = web_config {
        let bytes = read(path)?;
        let mut web = Config::web_file(text(path, &bytes)?).map_err(|error| in_file(path, &error))?;
        (config.web.headers, config.web.rate_limit) = (web.headers, web.rate_limit);
        web.tls.iter_mut().for_each(|files| anchor(files, path));
        config.web.tls = web.tls.or(config.web.tls.take());
        if !web.users.is_empty() {
            config.web.users = web.users;
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

/// The text of a configuration file that is not empty; `nothing` is what to write into a file that configures nothing.
fn written<'b>(path: &Path, bytes: &'b [u8], nothing: &str) -> Result<&'b str, String> {
    let text = text(path, bytes)?;
    if text.trim().is_empty() {
        let name = path.display();
        return Err(format!(
            "{name}: the file is empty, perhaps truncated; write {nothing} into it if nothing is to be configured"
        ));
    }
    Ok(text)
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
