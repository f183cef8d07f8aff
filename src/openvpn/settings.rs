//! OpenVPN's settings: the two keys of the original, and the list `openvpn`.

use std::path::Path;
use std::time::Duration;

use super::{Protocol, Server, Settings, files};
use crate::collector::Deadline;
use crate::settings::{Common, ConfigError, Input, Located, Section, under};

/// Where OpenVPN's status files are commonly put: by OpenWrt, by Debian's units, by its sample.
const STATUS_FILES: [&str; 3] = ["/var/run/openvpn*.status", "/run/openvpn*/*status*", "/var/log/openvpn/*status*"];

/// Where they are looked for while no source is configured.
pub(super) const LOOKED_FOR: &str = "/var/run/openvpn*.status, /run/openvpn*/*status*, /var/log/openvpn/*status*";

/// The words of OpenVPN's `proto`: <https://openvpn.net/community-docs/openvpn-2-6-manual.html>.
const PROTOCOLS: [&str; 3] = ["", "-server", "-client"];

/// What is written; absent where no status file is.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let mut servers = Vec::new();
    let named =
        [(["ovpntcpstatus", "ovpn_tcp_status"], Protocol::Tcp), (["ovpnudpstatus", "ovpn_udp_status"], Protocol::Udp)];
    for (names, protocol) in named {
        if let Some(status) = input.file.text_of(names)? {
            servers.push(Server { protocol: Some(protocol), ..server(status)? });
        }
    }
    for section in input.file.sections("openvpn")? {
        servers.push(entry(section)?);
    }
    Ok((!servers.is_empty()).then(|| settings(servers, input.common)))
}

/// What stands under `root`.
pub(super) fn discover(root: &Path, common: &Common) -> Option<Settings> {
    let soon = Deadline::within(Duration::from_secs(1));
    let servers: Vec<Server> = STATUS_FILES
        .iter()
        .map(|pattern| Server { name: None, status: under(root, pattern), protocol: None, stale_after: None })
        .filter(|server| files::find(&server.status, None, |_| None, soon).is_ok_and(|found| !found.is_empty()))
        .collect();
    (!servers.is_empty()).then(|| settings(servers, common))
}

/// The settings with the servers that are not known yet; absent where there are none.
pub(super) fn with_discovered(known: Option<&Settings>, found: &Settings) -> Option<Settings> {
    let mut merged = known.cloned().unwrap_or_else(|| Settings { servers: Vec::new(), ..found.clone() });
    let before = merged.servers.len();
    let is_new = |server: &&Server| known.is_none_or(|known| !known.servers.contains(server));
    merged.servers.extend(found.servers.iter().filter(is_new).cloned());
    (merged.servers.len() > before).then_some(merged)
}

fn settings(servers: Vec<Server>, common: &Common) -> Settings {
    Settings { servers, gateway: common.gateway.clone(), most_clients: common.most_clients }
}

/// One entry of the list.
fn entry(mut section: Section) -> Result<Server, ConfigError> {
    let status = section.text("status")?.ok_or_else(|| section.missing("status"))?;
    let server = Server {
        name: section.text("name")?.map(|name| name.value),
        protocol: section.text("protocol")?.map(|word| word.read(|word| protocol(word))).transpose()?,
        stale_after: section.time("stale_after")?.and_then(|time| i64::try_from(time.as_secs()).ok()),
        ..server(status)?
    };
    section.end()?;
    Ok(server)
}

fn server(status: Located<String>) -> Result<Server, ConfigError> {
    if status.value.is_empty() {
        return Err(status.error("a status file without a path"));
    }
    Ok(Server { name: None, status: status.value.into(), protocol: None, stale_after: None })
}

/// `tcp` or `udp`, with or without what OpenVPN's own `proto` may add: `tcp4-server`, `udp6`.
fn protocol(word: &str) -> Result<Protocol, String> {
    let known = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp)];
    let found = known.into_iter().find(|(name, _)| {
        let rest = word.strip_prefix(name).map(|rest| rest.strip_prefix(['4', '6']).unwrap_or(rest));
        rest.is_some_and(|rest| PROTOCOLS.contains(&rest))
    });
    found.map(|(_, protocol)| protocol).ok_or_else(|| format!("{word:?} is neither \"tcp\" nor \"udp\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_that_are_looked_at_are_said() {
        assert_eq!(LOOKED_FOR, STATUS_FILES.join(", "));
    }

    #[test]
    fn a_protocol_is_a_word_of_openvpns_own_and_no_other() {
        for word in ["tcp", "tcp4", "tcp6", "tcp-server", "tcp-client", "tcp4-server", "tcp6-client"] {
            assert_eq!(protocol(word), Ok(Protocol::Tcp), "{word}");
        }
        for word in ["udp", "udp4", "udp6"] {
            assert_eq!(protocol(word), Ok(Protocol::Udp), "{word}");
        }
        for word in ["", "tcpfoo", "tcp-", "tcp5", "tcp46", "udpx", "TCP", "sctp", "utcp", "tcp server"] {
            assert_eq!(protocol(word), Err(format!("{word:?} is neither \"tcp\" nor \"udp\"")));
        }
    }
}
