//! Which sources are watched: from a configuration to collectors, also at a reload, and what turns up on the machine later.

use super::*;

/// Where the kernel's view of itself is mounted.
pub(super) const PROC: &str = "/proc";

/// Finds out anew what there is to watch.
pub type Discover = dyn Fn() -> Config + Send + Sync;

/// The collectors, and how to look for more where nothing is configured.
pub(super) struct Watch {
    pub(super) config: Config,
    pub(super) collectors: Collectors,
    pub(super) discover: Option<Box<Discover>>,
}

pub(super) type Collectors = Arc<[Arc<dyn Collector>]>;

impl Watch {
    pub(super) fn new(config: Config, discover: Option<Box<Discover>>) -> Self {
        Self { collectors: collectors(&config, None), config, discover }
    }

    /// Whether a source of that name is watched.
    pub(super) fn has(&self, name: &str) -> bool {
        self.collectors.iter().any(|collector| collector.name() == name)
    }

    /// The collectors, after a look for sources that are new on this machine.
    pub(super) fn current(&mut self) -> Collectors {
        if let Some(discover) = &self.discover {
            let mut config = self.config.clone();
            let new = config.absorb(discover());
            if !new.is_empty() {
                log::info!("found on this machine: {}", new.join(", "));
                self.collectors = collectors(&config, Some((&self.config, &self.collectors)));
                self.config = config;
            }
        }
        Arc::clone(&self.collectors)
    }
}

/// The collectors of a configuration. One whose settings are as they were before stays, with the
/// totals that it remembers.
pub(super) fn collectors(config: &Config, before: Option<(&Config, &Collectors)>) -> Collectors {
    let kept = |name: &str, is_same: fn(&Config, &Config) -> bool| {
        let (_, collectors) = before.filter(|(before, _)| is_same(before, config))?;
        collectors.iter().find(|collector| collector.name() == name).cloned()
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
    all.into()
}

/// The collector of that kind among those that were watched before.
pub(super) fn watched_before<'a, T: Collector>(before: Option<(&Config, &'a Collectors)>) -> Option<&'a T> {
    let (_, collectors) = before?;
    collectors.iter().map(|collector| collector.as_ref() as &dyn Any).find_map(<dyn Any>::downcast_ref)
}
