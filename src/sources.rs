//! The list of sources, and what the folder of each brings.
//!
//! A *source* is what is watched. Adding one is a folder and a line in [`ALL`]: the application, the configuration, the
//! catalogue, the advice and the tests go through that list and know no source by name.

use std::any::Any;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use crate::advice::Advice;
use crate::collector::{Collector, Error, Notice};
use crate::exposition::TableInfo;
use crate::settings::{Common, ConfigError, Input};
use crate::sys::environment::{Environment, Traces};

/// The list: one line for each source, in the order in which they are exposed.
pub static ALL: [&dyn AnySource; 6] = [
    source::<crate::strongswan::StrongSwan>(),
    source::<crate::ipsec::Ipsec>(),
    source::<crate::openvpn::OpenVpn>(),
    source::<crate::sockets::Sockets>(),
    source::<crate::kernel::Kernel>(),
    source::<crate::wireguard::WireGuard>(),
];

/// What a source brings: its collector, which implements this, and what is known of it before there is one.
pub trait Source: Collector + Sized {
    /// What can be configured.
    type Settings: Clone + PartialEq + Send + Sync + 'static;

    /// The one word for it: folder, `collect[]`, labels, log.
    const NAME: &'static str;

    /// The families.
    const TABLES: &'static [&'static dyn TableInfo];

    /// Where it is looked for while nothing is configured; absent where it must be configured.
    const LOOKED_FOR: Option<&'static str> = None;

    /// What shows that its daemon is on the machine.
    const TRACES: Traces = Traces::NONE;

    /// Whether the kernel's half of IPsec works for it.
    const USES_KERNEL_IPSEC: bool = false;

    /// Takes its keys out of the configuration; absent where nothing is configured.
    fn read(input: &mut Input<'_>) -> Result<Option<Self::Settings>, ConfigError>;

    /// What is on the machine whose files stand under `root`.
    fn discover(_root: &Path, _common: &Common) -> Option<Self::Settings> {
        None
    }

    /// The settings with what was found later; absent where nothing is new.
    fn with_discovered(known: Option<&Self::Settings>, found: &Self::Settings) -> Option<Self::Settings> {
        if known.is_none() { Some(found.clone()) } else { None }
    }

    /// A collector for these settings, with what the one before them remembers.
    fn build(settings: Self::Settings, before: Option<&Self>) -> Self;

    /// A collector that is there because others are watched; `watched` are these.
    fn accompany(_watched: &[&'static dyn AnySource]) -> Option<Self> {
        None
    }

    /// What is wrong with valid settings, which shows before anything is read.
    fn review(_settings: &Self::Settings) -> Vec<Notice> {
        Vec::new()
    }

    /// Why a target could not be read and what to do, where there is more to say than the error does.
    fn explain(_target: &str, _error: &Error, _environment: &Environment) -> Option<Advice> {
        None
    }

    /// Why it was not found on the machine, where that is more than "not on this machine".
    fn explain_absence(_environment: &Environment) -> Option<Advice> {
        None
    }
}

/// A source whose settings are not known by their type.
pub trait AnySource: Sync {
    /// [`Source::NAME`]
    fn name(&self) -> &'static str;
    /// [`Source::TABLES`]
    fn tables(&self) -> &'static [&'static dyn TableInfo];
    /// [`Source::LOOKED_FOR`]
    fn looked_for(&self) -> Option<&'static str>;
    /// [`Source::TRACES`]
    fn traces(&self) -> Traces;
    /// [`Source::USES_KERNEL_IPSEC`]
    fn uses_kernel_ipsec(&self) -> bool;
    /// [`Source::read`]
    fn read(&self, input: &mut Input<'_>) -> Result<Option<Arc<dyn AnySettings>>, ConfigError>;
    /// [`Source::discover`]
    fn discover(&self, root: &Path, common: &Common) -> Option<Arc<dyn AnySettings>>;
    /// [`Source::accompany`]
    fn accompany(&self, watched: &[&'static dyn AnySource]) -> Option<Arc<dyn Collector>>;
    /// [`Source::explain`]
    fn explain(&self, target: &str, error: &Error, environment: &Environment) -> Option<Advice>;
    /// [`Source::explain_absence`]
    fn explain_absence(&self, environment: &Environment) -> Option<Advice>;
}

/// The settings of any source.
pub trait AnySettings: Any + Send + Sync {
    /// The source that they belong to.
    fn source(&self) -> &'static dyn AnySource;
    /// [`Source::with_discovered`], where these are what was found.
    fn added_to(&self, known: Option<&dyn AnySettings>) -> Option<Arc<dyn AnySettings>>;
    /// The collector for these settings: the one before, where its settings are the same, else a new one.
    fn build(&self, before: Option<(&dyn AnySettings, &Arc<dyn Collector>)>) -> Arc<dyn Collector>;
    /// [`Source::review`]
    fn review(&self) -> Vec<Notice>;
}

/// The source of that name.
pub fn named(name: &str) -> Option<&'static dyn AnySource> {
    ALL.into_iter().find(|source| source.name() == name)
}

/// The sources that are looked for while nothing is configured, and where, by name.
pub fn looked_for() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<_> = ALL.iter().filter_map(|source| Some((source.name(), source.looked_for()?))).collect();
    all.sort_unstable();
    all
}

/// Settings of a source, without their type.
pub fn erased<S: Source>(settings: S::Settings) -> Arc<dyn AnySettings> {
    Arc::new(SettingsOf::<S>(settings))
}

/// The settings of the source `S`, where they are that.
pub fn settings_of<S: Source>(settings: &dyn AnySettings) -> Option<&S::Settings> {
    let settings: &dyn Any = settings;
    settings.downcast_ref::<SettingsOf<S>>().map(|settings| &settings.0)
}

struct Entry<S>(PhantomData<fn() -> S>);

struct SettingsOf<S: Source>(S::Settings);

const fn source<S: Source>() -> &'static dyn AnySource {
    const { &Entry::<S>(PhantomData) }
}

impl<S: Source> AnySource for Entry<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn tables(&self) -> &'static [&'static dyn TableInfo] {
        S::TABLES
    }

    fn looked_for(&self) -> Option<&'static str> {
        S::LOOKED_FOR
    }

    fn traces(&self) -> Traces {
        S::TRACES
    }

    fn uses_kernel_ipsec(&self) -> bool {
        S::USES_KERNEL_IPSEC
    }

    fn read(&self, input: &mut Input<'_>) -> Result<Option<Arc<dyn AnySettings>>, ConfigError> {
        Ok(S::read(input)?.map(erased::<S>))
    }

    fn discover(&self, root: &Path, common: &Common) -> Option<Arc<dyn AnySettings>> {
        S::discover(root, common).map(erased::<S>)
    }

    fn accompany(&self, watched: &[&'static dyn AnySource]) -> Option<Arc<dyn Collector>> {
        S::accompany(watched).map(|collector| Arc::new(collector) as Arc<dyn Collector>)
    }

    fn explain(&self, target: &str, error: &Error, environment: &Environment) -> Option<Advice> {
        S::explain(target, error, environment)
    }

    fn explain_absence(&self, environment: &Environment) -> Option<Advice> {
        S::explain_absence(environment)
    }
}

impl<S: Source> AnySettings for SettingsOf<S> {
    fn source(&self) -> &'static dyn AnySource {
        source::<S>()
    }

    fn added_to(&self, known: Option<&dyn AnySettings>) -> Option<Arc<dyn AnySettings>> {
        S::with_discovered(known.and_then(settings_of::<S>), &self.0).map(erased::<S>)
    }

    fn build(&self, before: Option<(&dyn AnySettings, &Arc<dyn Collector>)>) -> Arc<dyn Collector> {
        let is_same = |before: &dyn AnySettings| settings_of::<S>(before) == Some(&self.0);
        if let Some((_, collector)) = before.filter(|(before, _)| is_same(*before)) {
            return Arc::clone(collector);
        }
        let before = before.and_then(|(_, collector)| {
            let collector: &dyn Any = collector.as_ref();
            collector.downcast_ref::<S>()
        });
        Arc::new(S::build(self.0.clone(), before))
    }

    fn review(&self) -> Vec<Notice> {
        S::review(&self.0)
    }
}
