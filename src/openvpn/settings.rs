//! OpenVPN's settings: the keys of the original, and the list `openvpn`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::management::Password;
use super::query::Management;
use super::{Protocol, Server, Settings, files};
use crate::deadline::Deadline;
use crate::settings::{Common, ConfigError, Input, Located, Section, UciWord, under};
use crate::source::Needs;
use crate::sys::socket::Address;
use crate::sys::{file, settings_file};

/// Where OpenVPN's status files are commonly put: by OpenWrt, by Debian's units, by its sample.
const STATUS_FILES: [&str; 3] = ["/var/run/openvpn*.status", "/run/openvpn*/*status*", "/var/log/openvpn/*status*"];

/// Where OpenWrt's init script and its protocol handler both put the status of each instance.
const OPENWRT_STATUS: &str = "/var/run/openvpn.*.status";

/// What OpenWrt's package of OpenVPN installs.
const DAEMON: &str = "/usr/sbin/openvpn";

/// The section of OpenWrt's configuration for a server; one that names no status file has that of OpenWrt's init script.
pub(super) const UCI: &[UciWord] =
    &[UciWord { word: "openvpn", is_section: true, key: "openvpn", implied: Some(("status", OPENWRT_STATUS)) }];

/// Where they are looked for while no source is configured.
pub(super) const LOOKED_FOR: &str = "/var/run/openvpn*.status, /run/openvpn*/*status*, /var/log/openvpn/*status*";

/// The words of OpenVPN's `proto`: <https://openvpn.net/community-docs/openvpn-2-6-manual.html>.
const PROTOCOLS: [&str; 3] = ["", "-server", "-client"];

/// The longest path of a socket, in bytes: `sun_path` has room for one more.
const LONGEST_SOCKET: usize = 107;

/// What is written; absent where no server is.
pub(super) fn read(input: &mut Input<'_>) -> Result<Option<Settings>, ConfigError> {
    let mut servers = Vec::new();
    let named = [
        (["ovpntcpstatus", "ovpn_tcp_status"], Some(Protocol::Tcp)),
        (["ovpnudpstatus", "ovpn_udp_status"], Some(Protocol::Udp)),
        // Of a server of 2.7, whose rows name their protocols.
        (["ovpn_status", "ovpnstatus"], None),
    ];
    for (names, protocol) in named {
        if let Some(status) = input.file.text_of(names)? {
            servers.push(Server { protocol, status: Some(path(status)?), ..Server::default() });
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
        .map(|pattern| under(root, pattern))
        .filter(|status| files::find(status, None, |_| None, soon).is_ok_and(|found| !found.is_empty()))
        .map(|status| Server { status: Some(status), ..Server::default() })
        .collect();
    (!servers.is_empty()).then(|| settings(servers, common))
}

/// OpenWrt's status files, where its OpenVPN is installed below a root directory, or in any case.
pub(super) fn usual(root: Option<&Path>, common: &Common) -> Option<Settings> {
    let server = || Server { status: Some(OPENWRT_STATUS.into()), ..Server::default() };
    root.is_none_or(|root| under(root, DAEMON).exists()).then(|| settings(vec![server()], common))
}

/// What reading the servers needs.
pub(super) fn needs(settings: &Settings) -> Needs {
    let mut paths = vec![DAEMON.into()];
    for server in &settings.servers {
        paths.extend(server.status.as_deref().and_then(file::folder));
        paths.extend(server.management.as_ref().and_then(|management| management.address.folder()));
        paths.extend(server.password_file.clone());
    }
    Needs::of_root(paths)
}

/// The settings with the servers that are not known yet; absent where there are none.
pub(super) fn with_discovered(known: &Settings, found: &Settings) -> Option<Settings> {
    let new: Vec<_> = found.servers.iter().filter(|server| !known.servers.contains(server)).cloned().collect();
    (!new.is_empty()).then(|| Settings { servers: [known.servers.as_slice(), &new].concat(), ..known.clone() })
}

fn settings(servers: Vec<Server>, common: &Common) -> Settings {
    Settings { servers, gateway: common.gateway.clone(), most_clients: common.most_clients }
}

/// One entry of the list.
fn entry(mut section: Section) -> Result<Server, ConfigError> {
    let status = section.text("status")?;
    let (management, password_file) = management(&mut section)?;
    if status.is_none() && management.is_none() {
        return Err(section.error("missing field `status` or `management`"));
    }
    let is_one = |status: &Located<String>| management.is_none() || !files::is_pattern(Path::new(&status.value));
    if let Some(status) = status.as_ref().filter(|status| !is_one(status)) {
        return Err(status.error("a pattern may match several files, but management is one server's: name its file"));
    }
    let stale_after = section.time("stale_after")?;
    if stale_after.is_some() && status.is_none() {
        return Err(section.error_of("stale_after", "there is no status file that could be too old"));
    }
    let server = Server {
        name: section.text("name")?.map(|name| name.value),
        status: status.map(path).transpose()?,
        management,
        password_file,
        protocol: section.text("protocol")?.map(|word| word.read(|word| protocol(word))).transpose()?,
        stale_after: stale_after.and_then(|time| i64::try_from(time.as_secs()).ok()),
    };
    section.end()?;
    Ok(server)
}

fn path(status: Located<String>) -> Result<PathBuf, ConfigError> {
    if status.value.is_empty() {
        return Err(status.error("a status file without a path"));
    }
    Ok(status.value.into())
}

/// The management interface of an entry, with its password as the file says it now.
fn management(section: &mut Section) -> Result<(Option<Management>, Option<PathBuf>), ConfigError> {
    let written = section.text("management")?;
    let file = section.text("management_password_file")?;
    let Some(written) = written else {
        return match file {
            Some(file) => Err(file.error("it is the password of management, which is missing")),
            None => Ok((None, None)),
        };
    };
    let address = written.read(|text| address(text))?;
    let password = |path: &String| {
        let bytes = settings_file::read(Path::new(path)).map_err(|error| error.to_string())?;
        Password::first_line(&bytes).map_err(|why| format!("{path}: {why}"))
    };
    let path = file.as_ref().map(|file| file.value.clone().into());
    Ok((Some(Management { address, password: file.map(|file| file.read(password)).transpose()? }), path))
}

/// Where a management interface is: `/path`, `unix:/path` or `host:port`.
fn address(text: &str) -> Result<Address, String> {
    let path = text.strip_prefix("unix:").map(|path| path.strip_prefix("//").unwrap_or(path));
    let path = path.or_else(|| text.starts_with('/').then_some(text));
    let found = match path {
        Some(path) if path.len() > LONGEST_SOCKET => {
            return Err(format!("the path of a socket has at most {LONGEST_SOCKET} bytes"));
        }
        Some(path) => path.starts_with('/').then(|| Address::parse(path)).flatten(),
        None => Address::parse(&format!("tcp://{}", text.strip_prefix("tcp://").unwrap_or(text))),
    };
    found.ok_or_else(|| format!("{text:?} is neither a path, unix:PATH nor HOST:PORT"))
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
    fn a_management_interface_is_a_path_or_a_host_with_a_port() {
        let unix = |path: &str| Ok(Address::Unix(path.into()));
        let tcp = |host: &str| Ok(Address::Tcp(host.into()));
        for (text, expected) in [
            ("/run/office.sock", unix("/run/office.sock")),
            ("unix:/run/office.sock", unix("/run/office.sock")),
            ("unix:///run/office.sock", unix("/run/office.sock")),
            ("127.0.0.1:7505", tcp("127.0.0.1:7505")),
            ("tcp://127.0.0.1:7505", tcp("127.0.0.1:7505")),
            ("[::1]:7505", tcp("[::1]:7505")),
            ("localhost:7505", tcp("localhost:7505")),
        ] {
            assert_eq!(address(text), expected, "{text}");
        }
        for text in [
            "",
            "/",
            "unix:",
            "unix:office.sock",
            "office.sock",
            "127.0.0.1",
            "7505",
            ":7505",
            "localhost:0x1",
            "a:65536",
        ] {
            assert_eq!(address(text), Err(format!("{text:?} is neither a path, unix:PATH nor HOST:PORT")));
        }
        assert_eq!(address(&format!("/{}", "a".repeat(106))), unix(&format!("/{}", "a".repeat(106))));
        let long = format!("unix:/{}", "a".repeat(107));
        assert_eq!(address(&long), Err("the path of a socket has at most 107 bytes".into()));
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
