//! The interface that each source implements, and the same without its types, so that all sources fit into one list.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::advice::Advice;
use crate::collector::{Collector, Notice};
use crate::error::Error;
use crate::exposition::TableInfo;
use crate::settings::{Common, ConfigError, Input, UciWord};
use crate::sys::environment::{Environment, Traces};
use crate::watched::Watched;

/// What a source provides besides reading: implemented by its collector.
pub trait Source: Collector + Sized {
    /// Its settings. At a reload, a collector whose settings are equal is kept.
    type Settings: PartialEq + Send + Sync + 'static;

    /// Its name: that of the folder, in `collect[]`, in labels and in log lines.
    const NAME: &'static str;

    /// Its metric families.
    const TABLES: &'static [&'static dyn TableInfo];

    /// Which of them say how something is that should be well.
    const WATCHED: &'static [Watched] = &[];

    /// The paths where it is looked for if no source is configured, for people; absent if it must be configured.
    const LOOKED_FOR: Option<&'static str> = None;

    /// The process names and socket paths by which its daemon is recognised.
    const TRACES: Traces = Traces::NONE;

    /// Whether its tunnels use the kernel's IPsec.
    const USES_KERNEL_IPSEC: bool = false;

    /// The words of OpenWrt's configuration that are not its keys.
    const UCI: &'static [UciWord] = &[];

    /// Takes its keys out of the configuration; absent if none of them is written.
    fn read(input: &mut Input<'_>) -> Result<Option<Self::Settings>, ConfigError>;

    /// Looks for it on the machine whose root directory is `root`; absent if it is not there.
    fn discover(_root: &Path, _common: &Common) -> Option<Self::Settings> {
        None
    }

    /// Its settings where nothing but a switch in OpenWrt's configuration is about it. With a root directory, only if OpenWrt's
    /// package of its daemon is installed there, running or not. Absent if it must be configured.
    fn usual(_root: Option<&Path>, _common: &Common) -> Option<Self::Settings> {
        None
    }

    /// What reading it needs.
    fn needs(_settings: &Self::Settings) -> Needs {
        Needs::default()
    }

    /// Adds what was found later to the settings; absent if nothing is new.
    fn with_discovered(_known: &Self::Settings, _found: &Self::Settings) -> Option<Self::Settings> {
        None
    }

    /// Makes a collector with these settings, which takes over the totals and other state of the one before, if any.
    fn build(settings: Arc<Self::Settings>, before: Option<&Self>) -> Self;

    /// Makes a collector that needs no settings, if the `watched` sources need it.
    fn accompany(_watched: &[&'static AnySource]) -> Option<Self> {
        None
    }

    /// Problems in valid settings, found without reading the source.
    fn review(_settings: &Self::Settings) -> Vec<Notice> {
        Vec::new()
    }

    /// Why a target could not be read and what to do; absent if the error says it all.
    fn explain(_target: &str, _error: &Error, _environment: &Environment) -> Option<Advice> {
        None
    }

    /// Why it was not found on the machine; absent if there is no more to say than "not on this machine".
    fn explain_absence(_environment: &Environment) -> Option<Advice> {
        None
    }
}

/// What a process needs to read a source: for jails, units and containers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Files and folders that it must see, also those by which [`Source::usual`] tells that its daemon is installed. A socket or
    /// a file that is made anew is seen through its folder.
    pub paths: Vec<PathBuf>,
    /// Rights of root's without which these can't be read, as capabilities(7) names them.
    pub capabilities: &'static [&'static str],
    /// Whether it runs a program, which may need anything.
    pub runs_programs: bool,
    /// Whether it must see the processes of others.
    pub sees_processes: bool,
}

/// A source without its settings' type, so that all sources fit into one list: the constants and functions of [`Source`].
#[expect(missing_docs, reason = "each is the item of that name of the trait")]
pub struct AnySource {
    pub name: &'static str,
    pub tables: &'static [&'static dyn TableInfo],
    pub watched: &'static [Watched],
    pub looked_for: Option<&'static str>,
    pub traces: Traces,
    pub uses_kernel_ipsec: bool,
    pub uci: &'static [UciWord],
    pub usual: fn(Option<&Path>, &Common) -> Option<SharedSettings>,
    pub read: fn(&mut Input<'_>) -> Result<Option<SharedSettings>, ConfigError>,
    pub discover: fn(&Path, &Common) -> Option<SharedSettings>,
    pub accompany: fn(&[&'static AnySource]) -> Option<Arc<dyn Collector>>,
    pub explain: fn(&str, &Error, &Environment) -> Option<Advice>,
    pub explain_absence: fn(&Environment) -> Option<Advice>,
}

/// The settings of a source, without their type.
pub trait AnySettings: Any + Send + Sync {
    /// Their source.
    fn source(&self) -> &'static AnySource;
    /// These, which were found, where none are known, else [`Source::with_discovered`].
    fn added_to(&self, known: Option<&dyn AnySettings>) -> Option<SharedSettings>;
    /// The collector for these settings: the one before if its settings are equal, else a new one.
    fn build(&self, before: Option<(&dyn AnySettings, &Arc<dyn Collector>)>) -> Arc<dyn Collector>;
    /// [`Source::review`]
    fn review(&self) -> Vec<Notice>;
    /// [`Source::needs`]
    fn needs(&self) -> Needs;
}

/// The settings of any source.
pub type SharedSettings = Arc<dyn AnySettings>;

/// Hides the type of a source's settings.
pub fn erased<S: Source>(settings: S::Settings) -> Arc<dyn AnySettings> {
    shared::<S>(Arc::new(settings))
}

fn shared<S: Source>(settings: Arc<S::Settings>) -> Arc<dyn AnySettings> {
    Arc::new(SettingsOf::<S>(settings))
}

/// The settings as those of the source `S`; absent if they are another source's.
pub fn settings_of<S: Source>(settings: &dyn AnySettings) -> Option<&S::Settings> {
    let settings: &dyn Any = settings;
    settings.downcast_ref::<SettingsOf<S>>().map(|settings| &*settings.0)
}

struct SettingsOf<S: Source>(Arc<S::Settings>);

/// A source for the list.
pub const fn source<S: Source>() -> &'static AnySource {
    const {
        &AnySource {
            name: S::NAME,
            tables: S::TABLES,
            watched: S::WATCHED,
            looked_for: S::LOOKED_FOR,
            traces: S::TRACES,
            uses_kernel_ipsec: S::USES_KERNEL_IPSEC,
            uci: S::UCI,
            usual: |root, common| S::usual(root, common).map(erased::<S>),
            read: |input| Ok(S::read(input)?.map(erased::<S>)),
            discover: |root, common| S::discover(root, common).map(erased::<S>),
            accompany: |watched| S::accompany(watched).map(|collector| Arc::new(collector) as Arc<dyn Collector>),
            explain: S::explain,
            explain_absence: S::explain_absence,
        }
    }
}

impl Needs {
    /// What reads files and sockets of root's needs.
    pub fn of_root(paths: Vec<PathBuf>) -> Self {
        Self { paths, capabilities: &["CAP_DAC_OVERRIDE"], ..Self::default() }
    }
}

impl<S: Source> AnySettings for SettingsOf<S> {
    fn source(&self) -> &'static AnySource {
        source::<S>()
    }

    fn added_to(&self, known: Option<&dyn AnySettings>) -> Option<SharedSettings> {
        match known.and_then(settings_of::<S>) {
            Some(known) => S::with_discovered(known, &self.0).map(erased::<S>),
            None => Some(shared::<S>(Arc::clone(&self.0))),
        }
    }

    fn build(&self, before: Option<(&dyn AnySettings, &Arc<dyn Collector>)>) -> Arc<dyn Collector> {
        let is_same = |before: &dyn AnySettings| settings_of::<S>(before) == Some(&*self.0);
        if let Some((_, collector)) = before.filter(|(before, _)| is_same(*before)) {
            return Arc::clone(collector);
        }
        let before = before.and_then(|(_, collector)| {
            let collector: &dyn Any = collector.as_ref();
            collector.downcast_ref::<S>()
        });
        Arc::new(S::build(Arc::clone(&self.0), before))
    }

    fn review(&self) -> Vec<Notice> {
        S::review(&self.0)
    }

    fn needs(&self) -> Needs {
        S::needs(&self.0)
    }
}
