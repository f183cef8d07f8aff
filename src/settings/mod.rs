//! Parsed configuration files: sections, and values with their lines.
//!
//! `document` parses YAML and `uci` OpenWrt's format; a `section` returns the values of its keys. Each source reads its own keys
//! from an [`Input`].

use std::path::{Path, PathBuf};

pub use self::error::ConfigError;
pub use self::section::{Located, Section};
pub use self::uci::{Service, UciFile, UciWord, parse as parse_uci};

mod document;
mod error;
mod section;
mod uci;

/// What a source reads its settings from.
pub struct Input<'a> {
    /// The keys at the top level of the file.
    pub file: &'a mut Section,
    /// The section `metrics`.
    pub metrics: &'a mut Section,
    /// The settings that several sources use.
    pub common: &'a Common,
}

/// Settings that several sources use.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// The gateway's name in the session list.
    pub gateway: String,
    /// The number of disconnected clients whose totals are kept.
    pub most_clients: usize,
    /// What the command line and the machine add to the file.
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

/// Parses a YAML file into its top-level section.
pub fn parse(text: &str) -> Result<Section, ConfigError> {
    Section::of(document::parse(text)?, "")
}

/// A path on a machine whose root directory is `root`.
pub fn under(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
