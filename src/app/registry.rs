//! Which sources are watched: a configuration becomes collectors, at a reload, too, and what turns up on the machine
//! later joins them.

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::lock;
use super::scrape::{Shared, Source};
use crate::collector::{Collector, Deadline};
use crate::config::{Config, LOOKED_FOR};
use crate::ipsec::Ipsec;
use crate::kernel::Kernel;
use crate::openvpn::OpenVpn;
use crate::sockets::Sockets;
use crate::strongswan::StrongSwan;
use crate::sys::blocking;

/// Where the kernel's view of itself is mounted.
const PROC: &str = "/proc";

/// The most time for a look at what there is to watch, half of which it gets.
const DISCOVERY_TIME: Duration = Duration::from_secs(1);

/// Finds out anew what there is to watch.
pub type Discover = dyn Fn() -> Config + Send + Sync;

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
        LOOKED_FOR.into_iter().filter(|(source, _)| is_missing(source)).collect()
    }

    /// Watches what is new on this machine. No lock is held while it looks, for a file system may hang.
    fn look(&self, discover: &Arc<Discover>) {
        let theirs = Arc::clone(discover);
        let look = move || Ok(theirs());
        let Ok(found) = blocking::run("what is on this machine", Deadline::within(DISCOVERY_TIME), look) else {
            return;
        };
        let mut watch = lock(&self.watch);
        // A reload may have come in between.
        if !watch.discover.as_ref().is_some_and(|current| Arc::ptr_eq(current, discover)) {
            return;
        }
        let mut config = watch.config.clone();
        let new = config.absorb(found);
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
        *lock(&self.shared.terms) = watch.config.terms;
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

/// The collectors of a configuration. One whose settings are as they were before stays, with the
/// totals that it remembers.
fn collectors(config: &Config, before: Option<(&Config, &Sources)>) -> Vec<Arc<dyn Collector>> {
    let kept = |name: &str, is_same: fn(&Config, &Config) -> bool| {
        let (_, sources) = before.filter(|(before, _)| is_same(before, config))?;
        sources.iter().map(|source| &source.collector).find(|collector| collector.name() == name).cloned()
    };
    let mut all: Vec<Arc<dyn Collector>> = Vec::new();
    if let Some(settings) = &config.strongswan {
        let kept = kept("strongswan", |before, now| before.strongswan == now.strongswan);
        all.push(kept.unwrap_or_else(|| Arc::new(StrongSwan::new(settings.clone()))));
    }
    if let Some(settings) = &config.ipsec {
        all.push(Arc::new(Ipsec::new(settings.clone())));
    }
    if let Some(settings) = &config.openvpn {
        // Servers that were watched before keep what is remembered of them, whatever comes or goes beside them.
        let renewed = watched_before(before).map(|before: &OpenVpn| before.renewed(settings.clone()));
        all.push(Arc::new(renewed.unwrap_or_else(|| OpenVpn::new(settings.clone()))));
    }
    if let Some(settings) = &config.sockets {
        let renewed = watched_before(before).map(|before: &Sockets| before.renewed(settings.clone()));
        all.push(Arc::new(renewed.unwrap_or_else(|| Sockets::new(settings.clone()))));
    }
    // Where IPsec is watched, the kernel's half of it is.
    let kernel = (config.strongswan.is_some() || config.ipsec.is_some()).then(|| Kernel::find(PROC.into())).flatten();
    all.extend(kernel.map(|kernel| Arc::new(kernel) as Arc<dyn Collector>));
    all
}

/// The collector of that kind among those that were watched before.
fn watched_before<'a, T: Collector>(before: Option<(&Config, &'a Sources)>) -> Option<&'a T> {
    let (_, sources) = before?;
    sources.iter().map(|source| source.collector.as_ref() as &dyn Any).find_map(<dyn Any>::downcast_ref)
}
