//! The watched sources: creates collectors from the configuration, replaces them at a reload, and adds sources that appear
//! on the machine later.

use std::sync::{Arc, Mutex};

use super::lock;
use super::scrape::{Shared, Source};
use crate::collector::Collector;
use crate::config::Config;
pub use crate::config::load::Discover;
use crate::config::load::{DISCOVERY, DISCOVERY_TIME};
use crate::deadline::Deadline;
use crate::sources;
use crate::sys::blocking;

/// The sources, in the order in which they are exposed.
pub(super) type Sources = Arc<[Arc<Source>]>;

/// The registry of watched sources.
pub(super) struct Registry {
    pub(super) watch: Mutex<Watch>,
    shared: Arc<Shared>,
}

/// The sources, and the discovery of further ones if nothing is configured.
pub(super) struct Watch {
    pub(super) config: Config,
    pub(super) sources: Sources,
    discover: Option<Arc<Discover>>,
}

impl Registry {
    pub(super) fn new(config: Config, discover: Option<Box<Discover>>, shared: Arc<Shared>) -> Self {
        let sources = sources(collectors(&config, None), &[], &shared);
        let registry = Self { watch: Mutex::new(Watch { config, sources, discover: discover.map(Arc::from) }), shared };
        registry.publish(&lock(&registry.watch));
        registry
    }

    /// Replaces the configuration. Creating collectors may take seconds; until then the previous ones are used.
    pub(super) fn reload(&self, config: Config, discover: Option<Box<Discover>>) {
        let (before, current) = {
            let watch = lock(&self.watch);
            (watch.config.clone(), Arc::clone(&watch.sources))
        };
        let collectors = collectors(&config, Some((&before, &current)));
        let mut watch = lock(&self.watch);
        let sources = sources(collectors, &watch.sources, &self.shared);
        *watch = Watch { config, sources, discover: discover.map(Arc::from) };
        self.publish(&watch);
    }

    /// The sources, after discovery of new ones.
    pub(super) fn current(&self) -> Sources {
        let discover = lock(&self.watch).discover.clone();
        if let Some(discover) = discover {
            self.discover_new(&discover);
        }
        Arc::clone(&lock(&self.watch).sources)
    }

    /// The sources, without discovery.
    pub(super) fn known(&self) -> Sources {
        Arc::clone(&lock(&self.watch).sources)
    }

    /// The sources that discovery did not find, and where it looked for them.
    pub(super) fn absent(&self) -> Vec<(&'static str, &'static str)> {
        let watch = lock(&self.watch);
        let is_watched = |name: &str| watch.sources.iter().any(|source| source.collector.name() == name);
        let is_missing =
            |name: &str| watch.discover.is_some() && !is_watched(name) && watch.config.collectors.looks_for(name);
        sources::looked_for().into_iter().filter(|(name, _)| is_missing(name)).collect()
    }

    /// Adds sources that are new on this machine. No lock is held during discovery, since a file system may hang.
    fn discover_new(&self, discover: &Arc<Discover>) {
        let theirs = Arc::clone(discover);
        let look = move || Ok(theirs());
        let Ok(found) = blocking::run(DISCOVERY, Deadline::within(DISCOVERY_TIME), look) else {
            return;
        };
        let mut watch = lock(&self.watch);
        // A reload may have changed the configuration meanwhile.
        if !watch.discover.as_ref().is_some_and(|current| Arc::ptr_eq(current, discover)) {
            return;
        }
        let mut config = watch.config.clone();
        let new = config.merge_discovered(&found);
        if new.is_empty() {
            return;
        }
        let collectors = collectors(&config, Some((&watch.config, &watch.sources)));
        watch.sources = sources(collectors, &watch.sources, &self.shared);
        watch.config = config;
        self.publish(&watch);
        drop(watch);
        log::info!("found on this machine: {}", new.join(", "));
    }

    /// Hands the options and the collectors to what the reads share.
    fn publish(&self, watch: &Watch) {
        *lock(&self.shared.options) = watch.config.options;
        self.shared.status.watch(watch.sources.iter().map(|source| Arc::clone(&source.collector)).collect());
    }

    /// Replaces the collectors, for a test.
    #[cfg(test)]
    pub(super) fn replace_collectors(&self, collectors: Vec<Arc<dyn Collector>>, change: impl FnOnce(&mut Config)) {
        let mut watch = lock(&self.watch);
        change(&mut watch.config);
        watch.sources = sources(collectors, &watch.sources, &self.shared);
        self.publish(&watch);
    }
}

/// The sources of these collectors; a source whose collector was watched before keeps its reads.
fn sources(collectors: Vec<Arc<dyn Collector>>, before: &[Arc<Source>], shared: &Arc<Shared>) -> Sources {
    let source = |collector: Arc<dyn Collector>| {
        let known = before.iter().find(|source| Arc::ptr_eq(&source.collector, &collector)).cloned();
        known.unwrap_or_else(|| Source::new(collector, Arc::clone(shared)))
    };
    collectors.into_iter().map(source).collect()
}

/// The collectors of a configuration. A collector whose settings did not change is kept, with its totals; a new one takes
/// over what it can from the previous one.
fn collectors(config: &Config, before: Option<(&Config, &Sources)>) -> Vec<Arc<dyn Collector>> {
    let before = |name: &str| {
        let (config, sources) = before?;
        let settings = config.sources.iter().find(|settings| settings.source().name == name)?;
        let source = sources.iter().find(|source| source.collector.name() == name)?;
        Some((settings, &source.collector))
    };
    let (mut collectors, mut watched) = (Vec::new(), Vec::new());
    for settings in config.sources.iter() {
        watched.push(settings.source());
        collectors.push(settings.build(before(settings.source().name)));
    }
    for source in sources::ALL.iter().filter(|source| !config.collectors.is_off(source.name)) {
        collectors.extend((source.accompany)(&watched));
    }
    collectors
}
