//! The list of sources.
//!
//! A *source* is one kind of daemon or kernel table and the folder of its code. To add one, add its folder and a line in
//! [`ALL`]: the application, the configuration, the catalogue, the advice and the tests use this list and mention no source
//! by name.

use crate::source::{AnySource, source};

/// All sources, in the order in which they are exposed.
pub static ALL: [&AnySource; 6] = [
    source::<crate::strongswan::StrongSwan>(),
    source::<crate::ipsec::Ipsec>(),
    source::<crate::openvpn::OpenVpn>(),
    source::<crate::sockets::Sockets>(),
    source::<crate::kernel::Kernel>(),
    source::<crate::wireguard::WireGuard>(),
];

/// Finds a source by its name.
pub fn named(name: &str) -> Option<&'static AnySource> {
    ALL.into_iter().find(|source| source.name == name)
}

/// The sources that are looked for if no source is configured, sorted by name, and where they are looked for.
pub fn looked_for() -> Vec<(&'static str, &'static str)> {
    let mut all = Vec::new();
    for source in ALL {
        let behind = all.partition_point(|(name, _)| *name < source.name);
        all.splice(behind..behind, source.looked_for.map(|paths| (source.name, paths)));
    }
    all
}
