//! strongSwan's settings: `vici_socket`, and of `metrics` what is asked of charon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Settings;
use super::sa::Identity;
use crate::settings::{Common, ConfigError, Input, under};
use crate::sys::file;
use crate::sys::socket::Address;

/// Where charon's socket is unless something else is said.
pub(super) const VICI: &str = "/var/run/charon.vici";

/// What OpenWrt's package strongswan-mod-vici installs.
const VICI_PLUGIN: &str = "/usr/lib/*/plugins/libstrongswan-vici.so";

/// How long charon's certificates are remembered: they change seldom, and there may be many.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(3600);

/// What is written; absent where no socket is.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let identity = input.metrics.text("client")?.map(|word| word.read(|word| identity(word))).transpose()?;
    let certificate_interval = input.metrics.time("certificate_interval")?;
    // The second is in the original's container.
    let socket = input.file.text_of(["vici_socket", "vici-socket"])?;
    let socket = socket.map(|text| text.read(|text| address(text))).transpose()?;
    Ok(socket.map(|socket| Settings {
        identity: identity.unwrap_or_default(),
        certificate_interval: certificate_interval.unwrap_or(CERTIFICATE_INTERVAL),
        ..settings(socket, input.common)
    }))
}

/// What stands under `root`.
pub(super) fn discover(root: &Path, common: &Common) -> Option<Settings> {
    let socket = under(root, VICI);
    file::is_socket(&socket).then(|| settings(Address::Unix(socket), common))
}

/// charon's usual socket, where OpenWrt's strongSwan with VICI is installed below a root directory, or in any case.
pub(super) fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
    let is_wanted = root.is_none_or(|root| file::is_any(&under(root, VICI_PLUGIN)));
    is_wanted.then(|| settings(Address::Unix(VICI.into()), common))
}

/// What must be seen: the folders of charon's socket and of its plugins.
pub(super) fn paths(settings: &Settings) -> Vec<PathBuf> {
    settings.socket.folder().into_iter().chain(file::folder(Path::new(VICI_PLUGIN))).collect()
}

fn settings(socket: Address, common: &Common) -> Settings {
    Settings {
        socket,
        gateway: common.gateway.clone(),
        identity: Identity::default(),
        certificate_interval: CERTIFICATE_INTERVAL,
        most_clients: common.most_clients,
    }
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).ok_or_else(|| format!("{text:?} is neither a path, nor unix:///path, nor tcp://host:port"))
}

fn identity(word: &str) -> Result<Identity, String> {
    match word {
        "remote-id" => Ok(Identity::Remote),
        "user" => Ok(Identity::User),
        _ => Err(format!("{word:?} is neither \"remote-id\" nor \"user\"")),
    }
}
