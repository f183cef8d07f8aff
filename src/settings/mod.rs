//! What a configuration file says, for those who read it: sections, and values that know their line.
//!
//! `document` reads YAML and `uci` OpenWrt's format, `section` hands its values out. Each source reads its own keys from an [`Input`].

use std::path::{Path, PathBuf};

pub use self::error::ConfigError;
pub use self::section::{Located, Section};
pub use self::uci::{Service, UciFile, UciWord, parse as parse_uci};

mod document;
mod error;
mod section;
mod uci;

/// What a source's settings are read from.
pub struct Input<'a> {
    /// The file's own keys.
    pub file: &'a mut Section,
    /// The section `metrics`.
    pub metrics: &'a mut Section,
    /// What does not belong to one source.
    pub common: &'a Common,
}

/// What several sources go by.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// The gateway's name in the session list.
    pub gateway: String,
    /// The most clients whose totals are kept when they are gone.
    pub most_clients: usize,
    /// What the command line and the machine add to a file.
    pub overrides: Overrides,
}

/// What the command line and the machine add to a file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config-path`.
    pub ipsec_config: Option<PathBuf>,
    /// `--enable.sudo`.
    pub sudo: bool,
    /// The machine's name, for the session list.
    pub hostname: String,
}

/// The section that a whole file is.
pub fn parse(text: &str) -> Result<Section, ConfigError> {
    Section::of(document::parse(text)?, "")
}

/// A path of the machine whose files stand under `root`.
pub fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
