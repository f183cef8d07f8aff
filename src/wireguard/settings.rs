//! WireGuard's settings: the section `wireguard` of the configuration, and what is found without one.

use std::path::{Path, PathBuf};

use super::key::Key;
use super::names::Names;
use crate::settings::{Common, ConfigError, Input, Section, UciWord, under};
use crate::source::Needs;
use crate::sys::file;

/// Where sockets of WireGuard in user space are: <https://www.wireguard.com/xplatform/>.
const SOCKETS: &str = "/var/run/wireguard";

/// The files that name peers: wg-quick's, and OpenWrt's.
const NAME_FILES: [&str; 2] = ["/etc/wireguard/*.conf", "/etc/config/network"];

/// The words of OpenWrt's configuration: a section for each peer, and a list in the main section.
pub const UCI: &[UciWord] = &[
    UciWord { word: "peer", is_section: true, key: "wireguard.peers", implied: None },
    UciWord { word: "wireguard_interfaces", is_section: false, key: "wireguard.interfaces", implied: None },
];

/// What the kernel's module is seen by.
pub const MODULE: &str = "/sys/module/wireguard";

/// Where interfaces are looked for while no source is configured.
pub const LOOKED_FOR: &str = "the kernel's interfaces, /var/run/wireguard/*.sock";

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The interfaces, or patterns of their names; all where there is none.
    pub interfaces: Vec<String>,
    /// What is said of peers.
    pub peers: Configured,
    /// Files, or patterns of files, with names of peers; one that ends in `.conf` is wg-quick's, others are UCI's.
    pub name_files: Vec<String>,
    /// The folder of the sockets of WireGuard in user space.
    pub socket_folder: PathBuf,
    /// The gateway's name in the session list.
    pub gateway: String,
    /// The most peers whose totals are kept when they are gone.
    pub most_clients: usize,
}

/// What the configuration says of peers, by their public keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configured {
    names: Names,
    /// Those that should be connected whatever their keepalive, without names.
    expected: Names,
}

/// What is written; absent where there is no section.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let Some(mut section) = input.file.optional("wireguard")? else { return Ok(None) };
    let mut settings = Settings::usual(Path::new("/"), input.common);
    for interface in section.texts("interfaces")?.unwrap_or_default() {
        if interface.value.is_empty() {
            return Err(interface.error("an interface without a name"));
        }
        settings.interfaces.push(interface.value);
    }
    for entry in section.sections("peers")? {
        settings.peers.read(entry)?;
    }
    if let Some(files) = section.texts("name_files")? {
        settings.name_files.clear();
        for file in files {
            settings.name_files.push(file.value);
        }
    }
    if let Some(folder) = section.text("socket_folder")? {
        settings.socket_folder = folder.value.into();
    }
    section.end()?;
    Ok(Some(settings))
}

impl Configured {
    /// Reads one entry of `peers`.
    fn read(&mut self, mut entry: Section) -> Result<(), ConfigError> {
        let text = entry.text("public_key")?.ok_or_else(|| entry.missing("public_key"))?;
        // Whatever stands there may be a private key: it is not repeated.
        let key =
            Key::parse(text.value.as_bytes()).ok_or_else(|| text.error("this is no public key as `wg` prints it"))?;
        let name = entry.text("name")?.map(|name| name.value).filter(|name| !name.is_empty());
        let is_expected = entry.switch("expected")?.unwrap_or(false);
        let is_new = name.is_none_or(|name| self.name_it(key, &name));
        if !is_new || is_expected && !self.expect(key) {
            return Err(text.error("this peer is named twice"));
        }
        entry.end()
    }

    /// Gives a peer a name; whether it had none before.
    pub fn name_it(&mut self, key: Key, name: &str) -> bool {
        self.names.add(key, name)
    }

    /// Says that a peer should be connected whatever its keepalive; whether nothing had said so before.
    pub fn expect(&mut self, key: Key) -> bool {
        self.expected.add(key, "")
    }

    /// The name that the configuration gives a peer.
    pub fn name(&self, key: Key) -> Option<&str> {
        self.names.get(key)
    }

    /// Whether a peer should be connected whatever its keepalive.
    pub fn is_expected(&self, key: Key) -> bool {
        self.expected.get(key).is_some()
    }
}

impl Settings {
    /// All interfaces that there are, under the usual paths below `root`.
    pub fn usual(root: &Path, common: &Common) -> Self {
        Self {
            interfaces: Vec::new(),
            peers: Configured::default(),
            name_files: NAME_FILES.map(|path| under(root, path).display().to_string()).into(),
            socket_folder: under(root, SOCKETS),
            gateway: common.gateway.clone(),
            most_clients: common.most_clients,
        }
    }

    /// What reading it needs: the kernel answers only who may change the network.
    pub fn needs(&self) -> Needs {
        let paths = self.name_files.iter().map(Path::new);
        let paths = paths
            .filter_map(|path| if file::is_pattern(path.to_str()?) { file::folder(path) } else { Some(path.into()) });
        let paths = paths.chain(file::folder(&self.socket_folder)).chain([MODULE.into()]).collect();
        Needs { paths, capabilities: &["CAP_DAC_OVERRIDE", "CAP_NET_ADMIN"], ..Needs::default() }
    }

    /// Whether an interface of that name is watched.
    pub fn watches(&self, interface: &str) -> bool {
        let is_match = |pattern: &String| file::matches(pattern.as_bytes(), interface.as_bytes());
        self.interfaces.is_empty() || self.interfaces.iter().any(is_match)
    }

    /// The interfaces that are named without a pattern, and so should be there.
    pub fn required(&self) -> impl Iterator<Item = &String> {
        self.interfaces.iter().filter(|name| !file::is_pattern(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_that_are_looked_at_are_said() {
        assert!(LOOKED_FOR.contains(SOCKETS));
    }

    #[test]
    fn an_interface_is_watched_by_its_name_or_by_a_pattern() {
        let mut settings = Settings::usual(Path::new("/"), &Common::default());
        assert_eq!(settings.socket_folder, Path::new(SOCKETS));
        assert!(settings.watches("wg0") && settings.required().next().is_none());
        settings.interfaces = vec!["wg0".into(), "office-*".into()];
        let watched = ["wg0", "wg1", "office-", "office-1", "wg00"].map(|name| settings.watches(name));
        assert_eq!(watched, [true, false, true, true, false]);
        assert_eq!(settings.required().collect::<Vec<_>>(), ["wg0"]);
    }
}
