//! The settings of the `ipsec` command: `ipsec_config`, `ipsec_command`, and the flags that one of the originals has.

use std::path::{Path, PathBuf};

use super::Settings;
use crate::settings::{Common, ConfigError, Input, under};
use crate::sys::file;

/// The command that OpenWrt's strongSwan has without VICI, the folder of its plugins, and what that has with VICI.
const COMMAND: &str = "/usr/sbin/ipsec";
const VICI_PLUGIN: &str = "/usr/lib/ipsec/plugins/*-vici.so";

/// What the command reads and runs: it is a script, which calls other programs.
const READ_BY_THE_COMMAND: [&str; 9] =
    ["/bin", "/etc/ipsec.d", "/lib", "/sbin", "/usr/bin", "/usr/lib", "/usr/sbin", "/var/ipsec", "/var/run"];

/// Where ipsec.conf is unless something else is said.
const IPSEC_CONF: &str = "/etc/ipsec.conf";

/// Where it is looked for while no source is configured.
pub(super) const LOOKED_FOR: &str = "/etc/ipsec.conf with a conn, and ipsec in PATH";

/// What is written or asked for by a flag; absent where nothing is.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let config = input.file.text("ipsec_config")?.map(|path| PathBuf::from(path.value));
    let written = input.file.line_of("ipsec_command");
    let command = input.file.texts("ipsec_command")?;
    let command: Option<Vec<String>> = command.map(|words| words.into_iter().map(|word| word.value).collect());
    if command.as_ref().is_some_and(|words| words.iter().all(String::is_empty)) {
        return Err(input.file.error_at("ipsec_command", written.unwrap_or_default(), "no command"));
    }
    let is_asked_for = config.is_some() || command.is_some() || asks(input.common);
    Ok(is_asked_for.then(|| settings(config, command, input.common)))
}

/// What stands under `root`, or is asked for by a flag.
pub(super) fn discover(root: &Path, common: &Common) -> Option<Settings> {
    let conf = under(root, IPSEC_CONF);
    let is_there = || file::is_file(&conf) && file::command("ipsec").is_some() && !super::is_without_conns(&conf);
    (asks(common) || is_there()).then(|| settings(None, None, common))
}

/// ipsec.conf and `ipsec statusall`, where OpenWrt's strongSwan without VICI is installed below a root directory, or in any case.
pub(super) fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
    let is_there = |root: &Path| under(root, COMMAND).exists() && !file::is_any(&under(root, VICI_PLUGIN));
    root.is_none_or(is_there).then(|| settings(None, None, common))
}

/// The files and folders that must be seen.
pub(super) fn paths(settings: &Settings) -> Vec<PathBuf> {
    READ_BY_THE_COMMAND.iter().map(PathBuf::from).chain([settings.config.clone()]).collect()
}

fn asks(common: &Common) -> bool {
    common.overrides.ipsec_config.is_some() || common.overrides.sudo
}

/// The flag wins over the file, and both over the default.
fn settings(config: Option<PathBuf>, command: Option<Vec<String>>, common: &Common) -> Settings {
    let mut command = command.unwrap_or_else(|| vec!["ipsec".into(), "statusall".into()]);
    if common.overrides.sudo {
        command.insert(0, "sudo".into());
    }
    let flag = common.overrides.ipsec_config.clone();
    Settings { config: flag.or(config).unwrap_or_else(|| IPSEC_CONF.into()), command }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_that_is_looked_at_is_said() {
        assert!(LOOKED_FOR.starts_with(IPSEC_CONF));
    }
}
