//! Which sources are watched: a configuration becomes collectors, at a reload, too, and what turns up on the machine
//! later joins them.

use std::sync::{Arc, Mutex};

use super::lock;
use super::scrape::{Shared, Source};
use crate::collector::{Collector, Deadline};
use crate::config::Config;
pub use crate::config::load::Discover;
use crate::config::load::{DISCOVERY, DISCOVERY_TIME};
use crate::sources;
use crate::sys::blocking;

/// The sources, in the order in which they are exposed.
pub(super) type Sources = Arc<[Arc<Source>]>;

/// What is watched.
pub(super) struct Registry {
    pub(super) watch: Mutex<Watch>,
    shared: Arc<Shared>,
}

/// The sources, and how to look for more where nothing is configured.
pub(super) struct Watch {
    pub(super) config: Config,
    pub(super) sources: Sources,
    discover: Option<Arc<Discover>>,
}

impl Registry {
    pub(super) fn new(config: Config, discover: Option<Box<Discover>>, shared: Arc<Shared>) -> Self {
        let sources = sources(collectors(&config, None), &[], &shared);
        let registry = Self { watch: Mutex::new(Watch { config, sources, discover: discover.map(Arc::from) }), shared };
        registry.tell(&lock(&registry.watch));
        registry
    }

    /// Watches something else from now on. Making the collectors may take seconds, in which what was watched still is.
    pub(super) fn reload(&self, config: Config, discover: Option<Box<Discover>>) {
        let (before, current) = {
            let watch = lock(&self.watch);
            (watch.config.clone(), Arc::clone(&watch.sources))
        };
        let collectors = collectors(&config, Some((&before, &current)));
        let mut watch = lock(&self.watch);
        let sources = sources(collectors, &watch.sources, &self.shared);
        *watch = Watch { config, sources, discover: discover.map(Arc::from) };
        self.tell(&watch);
    }

    /// The sources, after a look for some that are new on this machine.
    pub(super) fn current(&self) -> Sources {
        let discover = lock(&self.watch).discover.clone();
        if let Some(discover) = discover {
            self.look(&discover);
        }
        Arc::clone(&lock(&self.watch).sources)
    }

    /// The sources as they are known.
    pub(super) fn known(&self) -> Sources {
        Arc::clone(&lock(&self.watch).sources)
    }

    /// The sources that are looked for on this machine and are not there, and where they were looked for.
    pub(super) fn absent(&self) -> Vec<(&'static str, &'static str)> {
        let watch = lock(&self.watch);
        let is_missing = |source: &str| watch.discover.is_some() && !watch.has(source);
        sources::looked_for().into_iter().filter(|(source, _)| is_missing(source)).collect()
    }

    /// Watches what is new on this machine. No lock is held while it looks, for a file system may hang.
    fn look(&self, discover: &Arc<Discover>) {
        let theirs = Arc::clone(discover);
        let look = move || Ok(theirs());
        let Ok(found) = blocking::run(DISCOVERY, Deadline::within(DISCOVERY_TIME), look) else {
            return;
        };
        let mut watch = lock(&self.watch);
        // A reload may have come in between.
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
        self.tell(&watch);
        drop(watch);
        log::info!("found on this machine: {}", new.join(", "));
    }

    /// Tells those who read what is watched and how it is shown.
    fn tell(&self, watch: &Watch) {
        *lock(&self.shared.options) = watch.config.options;
        self.shared.status.watch(watch.sources.iter().map(|source| Arc::clone(&source.collector)).collect());
    }

    /// Watches these instead, for a test.
    #[cfg(test)]
    pub(super) fn put(&self, collectors: Vec<Arc<dyn Collector>>, change: impl FnOnce(&mut Config)) {
        let mut watch = lock(&self.watch);
        change(&mut watch.config);
        watch.sources = sources(collectors, &watch.sources, &self.shared);
        self.tell(&watch);
    }
}

impl Watch {
    /// Whether a source of that name is watched.
    fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|source| source.collector.name() == name)
    }
}

/// The sources of these collectors; one that was watched before goes on with the reads that are under way.
fn sources(collectors: Vec<Arc<dyn Collector>>, before: &[Arc<Source>], shared: &Arc<Shared>) -> Sources {
    let source = |collector: Arc<dyn Collector>| {
        let known = before.iter().find(|source| Arc::ptr_eq(&source.collector, &collector)).cloned();
        known.unwrap_or_else(|| Source::new(collector, Arc::clone(shared)))
    };
    collectors.into_iter().map(source).collect()
}

/// The collectors of a configuration. One whose settings are as they were before stays, with the totals that it
/// remembers; others take over what they can of the one before them.
fn collectors(config: &Config, before: Option<(&Config, &Sources)>) -> Vec<Arc<dyn Collector>> {
    let before = |name: &str| {
        let (config, sources) = before?;
        let settings = config.sources.iter().find(|settings| settings.source().name() == name)?;
        let source = sources.iter().find(|source| source.collector.name() == name)?;
        Some((settings, &source.collector))
    };
    let watched: Vec<_> = config.sources.iter().map(|settings| settings.source()).collect();
    let configured = config.sources.iter().map(|settings| settings.build(before(settings.source().name())));
    let companions = sources::ALL.iter().filter_map(|source| source.accompany(&watched));
    configured.chain(companions).collect()
}
