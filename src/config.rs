//! The configuration: what was written ([`File`]) and what is meant ([`Config`]).
//!
//! A file of any of the five originals is valid, and one file may hold them all.

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::place::located;
use self::section::Section;
use self::web::FileWeb;
pub use self::web::{Web, WebFile, anchor};
use crate::collector::Error;
use crate::expo::{Group, Groups, Terms};
use crate::identities::Identities;
use crate::siphash::Key;
use crate::sockets::rule::{Rule, Spec};
use crate::source::file;
use crate::source::socket::Address;
use crate::strongswan::sa::Identity;
use crate::wireguard::{self, WireGuard};
use crate::{ipsec, openvpn, sockets, strongswan};

mod place;
pub(crate) mod section;
mod web;
mod yaml;

/// Where charon's socket is unless something else is said.
const VICI: &str = "/var/run/charon.vici";

/// Where ipsec.conf is unless something else is said.
const IPSEC_CONF: &str = "/etc/ipsec.conf";

/// The most clients whose totals are kept when they are gone.
const MOST_CLIENTS: usize = 10_000;

/// The most series of one source.
const MOST_SERIES: usize = 200_000;

/// How long charon's certificates are remembered: they change seldom, and there may be many.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(3600);

/// Where OpenVPN's status files are commonly put: by OpenWrt, by Debian's units, by its sample.
const STATUS_FILES: [&str; 3] = ["/var/run/openvpn*.status", "/run/openvpn*/*status*", "/var/log/openvpn/*status*"];

/// Where sources are looked for while none is configured.
pub const LOOKED_FOR: [(&str, &str); 4] = [
    ("ipsec", "/etc/ipsec.conf and ipsec in PATH"),
    ("openvpn", "/var/run/openvpn*.status, /run/openvpn*/*status*, /var/log/openvpn/*status*"),
    ("strongswan", VICI),
    ("wireguard", wireguard::settings::LOOKED_FOR),
];

/// What is meant: the sources that are watched.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The gateway's name, on the pages and in the session list.
    pub gateway: String,
    /// charon over VICI.
    pub strongswan: Option<strongswan::Settings>,
    /// ipsec.conf and the `ipsec` command.
    pub ipsec: Option<ipsec::Settings>,
    /// OpenVPN's status files.
    pub openvpn: Option<openvpn::Settings>,
    /// Sockets that should be there.
    pub sockets: Option<sockets::Settings>,
    /// WireGuard's interfaces.
    pub wireguard: Option<wireguard::settings::Settings>,
    /// What is asked of the metrics: what is left out, how many there may be, how clients are shown.
    pub terms: Terms,
    /// Where the key is that clients' names are hashed with, where they are. Until it is read
    /// ([`Config::unlock`]) they are not shown at all.
    pub key_file: Option<PathBuf>,
    /// Where to listen, and who may ask.
    pub web: Web,
}

/// What the command line and the machine add to a file.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `--config-path`.
    pub ipsec_config: Option<PathBuf>,
    /// `--enable.sudo`.
    pub sudo: bool,
    /// The machine's name, for the session list.
    pub hostname: String,
}

/// What was written. Every key is optional, and one that we don't know is an error.
#[derive(Debug, Default)]
struct File {
    vici_socket: Option<String>,
    server_name: Option<String>,
    ovpntcpstatus: Option<PathBuf>,
    ovpnudpstatus: Option<PathBuf>,
    openvpn: Vec<FileServer>,
    ipsec_config: Option<PathBuf>,
    ipsec_command: Option<Vec<String>>,
    sockets: Vec<Spec>,
    wireguard: Option<wireguard::settings::Written>,
    metrics: FileMetrics,
    max_series: Option<usize>,
    identities: Option<String>,
    identities_key_file: Option<PathBuf>,
    web: FileWeb,
}

/// The section `metrics`: how much detail is exposed.
#[derive(Debug, Default)]
struct FileMetrics {
    without: Vec<String>,
    client: Option<String>,
    max_clients: Option<usize>,
    certificate_interval: Option<u32>,
}

/// One entry of `openvpn`.
#[derive(Debug)]
struct FileServer {
    status: PathBuf,
    name: Option<String>,
    protocol: Option<String>,
    stale_after: Option<u32>,
}

impl Config {
    /// What a file means; the complaint names the key and the line.
    pub fn parse(text: &str, surroundings: &Surroundings) -> Result<Self, String> {
        let meant = File::read(text).and_then(|file| file.meaning(surroundings));
        meant.map_err(|complaint| located(text, complaint))
    }

    /// What is there to be watched on a machine whose files stand under `root`.
    pub fn discover(root: &Path, surroundings: &Surroundings) -> Self {
        let gateway = surroundings.hostname.clone();
        let under = |path: &str| root.join(path.trim_start_matches('/'));
        let servers: Vec<_> = STATUS_FILES
            .iter()
            .map(|pattern| openvpn::Server { name: None, status: under(pattern), protocol: None, stale_after: None })
            .filter(|server| !file::glob(&server.status).is_empty())
            .collect();
        let socket = under(VICI);
        let has_ipsec = file::is_file(&under(IPSEC_CONF)) && file::command("ipsec").is_some();
        Self {
            strongswan: file::is_socket(&socket).then(|| strongswan::Settings {
                socket: Address::Unix(socket),
                gateway: gateway.clone(),
                identity: Identity::default(),
                certificate_interval: CERTIFICATE_INTERVAL,
                most_clients: MOST_CLIENTS,
            }),
            ipsec: (surroundings.asks_for_ipsec() || has_ipsec).then(|| ipsec_settings(None, None, surroundings)),
            openvpn: (!servers.is_empty()).then(|| openvpn::Settings {
                servers,
                gateway: gateway.clone(),
                most_clients: MOST_CLIENTS,
            }),
            sockets: None,
            wireguard: WireGuard::discover(root, gateway.clone(), MOST_CLIENTS),
            gateway,
            ..Self::default()
        }
    }

    /// Prometheus' web configuration file.
    pub fn web_file(text: &str) -> Result<WebFile, String> {
        web::toolkit(Section::of(yaml::parse(text)?, "")?).map_err(|complaint| located(text, complaint))
    }

    /// Reads the key that clients' names are hashed with, and makes one where there is none yet.
    pub fn unlock(&mut self) -> Result<(), Error> {
        if let Some(path) = &self.key_file {
            self.terms.identities = Identities::Hashed(Key::new(file::secret(path)?));
        }
        Ok(())
    }

    /// Adds the sources of `found` that are not here yet, and names them.
    pub fn absorb(&mut self, found: Self) -> Vec<&'static str> {
        let mut new = Vec::new();
        if self.strongswan.is_none() && found.strongswan.is_some() {
            self.strongswan = found.strongswan;
            new.push("strongswan");
        }
        if self.ipsec.is_none() && found.ipsec.is_some() {
            self.ipsec = found.ipsec;
            new.push("ipsec");
        }
        if self.wireguard.is_none() && found.wireguard.is_some() {
            self.wireguard = found.wireguard;
            new.push("wireguard");
        }
        if let Some(found) = found.openvpn {
            let known = self.openvpn.get_or_insert_with(|| openvpn::Settings { servers: Vec::new(), ..found.clone() });
            let before = known.servers.len();
            known
                .servers
                .extend(found.servers.into_iter().filter(|server| !known.servers.contains(server)).collect::<Vec<_>>());
            if known.servers.len() > before {
                new.push("openvpn");
            }
        }
        new
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        let is_ipsec = self.strongswan.is_some() || self.ipsec.is_some();
        !is_ipsec && self.openvpn.is_none() && self.sockets.is_none() && self.wireguard.is_none()
    }
}

impl Surroundings {
    fn asks_for_ipsec(&self) -> bool {
        self.ipsec_config.is_some() || self.sudo
    }
}

impl File {
    fn read(text: &str) -> Result<Self, String> {
        let mut file = Section::of(yaml::parse(text)?, "")?;
        let read = Self {
            vici_socket: file.text("vici_socket")?,
            server_name: file.text("server_name")?,
            ovpntcpstatus: file.text_of(["ovpntcpstatus", "ovpn_tcp_status"])?.map(PathBuf::from),
            ovpnudpstatus: file.text_of(["ovpnudpstatus", "ovpn_udp_status"])?.map(PathBuf::from),
            openvpn: file.sections("openvpn", FileServer::read)?,
            ipsec_config: file.text("ipsec_config")?.map(PathBuf::from),
            ipsec_command: file.texts("ipsec_command")?,
            sockets: file.sections("sockets", spec)?,
            wireguard: file.optional("wireguard", wireguard::settings::Written::read)?,
            metrics: file.section("metrics", FileMetrics::read)?,
            max_series: file.number("max_series")?,
            identities: file.text("identities")?,
            identities_key_file: file.text("identities_key_file")?.map(PathBuf::from),
            web: file.section("web", FileWeb::read)?,
        };
        file.end()?;
        Ok(read)
    }

    fn meaning(self, surroundings: &Surroundings) -> Result<Config, String> {
        let gateway = self.server_name.unwrap_or_else(|| surroundings.hostname.clone());
        let ipsec = self.ipsec_config.is_some() || self.ipsec_command.is_some() || surroundings.asks_for_ipsec();
        if self.ipsec_command.as_ref().is_some_and(|words| words.iter().all(String::is_empty)) {
            return Err("ipsec_command: no command".into());
        }
        let servers = servers(self.ovpntcpstatus, self.ovpnudpstatus, self.openvpn)?;
        let rules = rules(&self.sockets)?;
        let socket = self.vici_socket.map(|text| address(&text)).transpose()?;
        let metrics = self.metrics;
        let identity = metrics.client.as_deref().map_or(Ok(Identity::default()), identity)?;
        let (identities, key_file) = identities(self.identities.as_deref(), self.identities_key_file)?;
        let most_series = Some(self.max_series.unwrap_or(MOST_SERIES)).filter(|most| *most > 0);
        let most_clients = metrics.max_clients.unwrap_or(MOST_CLIENTS);
        let seconds = metrics.certificate_interval.map(|seconds| Duration::from_secs(seconds.into()));
        let certificate_interval = seconds.unwrap_or(CERTIFICATE_INTERVAL);
        Ok(Config {
            strongswan: socket.map(|socket| {
                let gateway = gateway.clone();
                strongswan::Settings { socket, gateway, identity, certificate_interval, most_clients }
            }),
            ipsec: ipsec.then(|| ipsec_settings(self.ipsec_config, self.ipsec_command, surroundings)),
            openvpn: (!servers.is_empty()).then(|| openvpn::Settings {
                servers,
                gateway: gateway.clone(),
                most_clients,
            }),
            sockets: (!rules.is_empty()).then_some(sockets::Settings { proc: "/proc".into(), rules }),
            wireguard: self.wireguard.map(|written| written.meaning(gateway.clone(), most_clients)),
            terms: Terms { without: groups(&metrics.without)?, most_series, identities },
            key_file,
            web: self.web.meaning()?,
            gateway,
        })
    }
}

impl FileMetrics {
    fn read(section: &mut Section) -> Result<Self, String> {
        Ok(Self {
            without: section.texts("without")?.unwrap_or_default(),
            client: section.text("client")?,
            max_clients: section.number("max_clients")?,
            certificate_interval: section.number("certificate_interval")?,
        })
    }
}

impl FileServer {
    fn read(section: &mut Section) -> Result<Self, String> {
        Ok(Self {
            status: section.text("status")?.ok_or_else(|| section.missing("status"))?.into(),
            name: section.text("name")?,
            protocol: section.text("protocol")?,
            stale_after: section.number("stale_after")?,
        })
    }
}

/// One entry of `sockets`.
fn spec(section: &mut Section) -> Result<Spec, String> {
    Ok(Spec {
        name: section.text("name")?,
        srchost: section.text_of(["host", "srcHost"])?,
        srcport: section.text_of(["port", "srcPort"])?,
        dsthost: section.text("dstHost")?,
        dstport: section.text("dstPort")?,
        protocol: section.text("protocol")?,
        process: section.text_of(["process", "processName"])?,
        status: section.text("status")?,
    })
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text)
        .ok_or_else(|| format!("vici_socket: {text:?} is neither a path, nor unix:///path, nor tcp://host:port"))
}

fn identity(word: &str) -> Result<Identity, String> {
    match word {
        "remote-id" => Ok(Identity::Remote),
        "user" => Ok(Identity::User),
        _ => Err(format!("metrics.client: {word:?} is neither \"remote-id\" nor \"user\"")),
    }
}

/// How clients are shown, and where the key for it is.
fn identities(word: Option<&str>, key_file: Option<PathBuf>) -> Result<(Identities, Option<PathBuf>), String> {
    match (word, key_file) {
        (Some("hashed"), Some(path)) if !path.as_os_str().is_empty() => Ok((Identities::Off, Some(path))),
        (Some("hashed"), _) => {
            Err("identities: hashed names need a key, and identities_key_file does not say where".into())
        }
        (_, Some(_)) => Err("identities_key_file: the key is for identities: hashed".into()),
        (None | Some("plain"), None) => Ok((Identities::Plain, None)),
        (Some("off"), None) => Ok((Identities::Off, None)),
        (Some(word), None) => Err(format!("identities: {word:?} is neither \"plain\", nor \"hashed\", nor \"off\"")),
    }
}

fn groups(words: &[String]) -> Result<Groups, String> {
    words.iter().try_fold(Groups::default(), |groups, word| {
        match Group::ALL.into_iter().find(|group| group.word() == word) {
            Some(group) => Ok(groups.with(group)),
            None => {
                let known = Group::ALL.map(Group::word).join(", ");
                Err(format!("metrics.without: {word:?} is none of {known}"))
            }
        }
    })
}

/// The flag wins over the file, and both over the default.
fn ipsec_settings(
    config: Option<PathBuf>,
    command: Option<Vec<String>>,
    surroundings: &Surroundings,
) -> ipsec::Settings {
    let mut command = command.unwrap_or_else(|| vec!["ipsec".into(), "statusall".into()]);
    if surroundings.sudo {
        command.insert(0, "sudo".into());
    }
    let config = surroundings.ipsec_config.clone().or(config).unwrap_or_else(|| IPSEC_CONF.into());
    ipsec::Settings { config, command }
}

fn servers(tcp: Option<PathBuf>, udp: Option<PathBuf>, list: Vec<FileServer>) -> Result<Vec<openvpn::Server>, String> {
    let is_path = |status: &PathBuf, key: &str| match status.as_os_str().is_empty() {
        true => Err(format!("{key}: a status file without a path")),
        false => Ok(()),
    };
    let mut servers = Vec::new();
    let named = [("ovpntcpstatus", tcp, openvpn::Protocol::Tcp), ("ovpnudpstatus", udp, openvpn::Protocol::Udp)];
    for (key, status, protocol) in named {
        let Some(status) = status else { continue };
        is_path(&status, key)?;
        servers.push(openvpn::Server { name: None, status, protocol: Some(protocol), stale_after: None });
    }
    for (index, FileServer { status, name, protocol, stale_after }) in list.into_iter().enumerate() {
        is_path(&status, &format!("openvpn[{index}].status"))?;
        let protocol = protocol.map(|word| protocol_of(&word, index)).transpose()?;
        servers.push(openvpn::Server { name, status, protocol, stale_after: stale_after.map(i64::from) });
    }
    Ok(servers)
}

/// `tcp` or `udp`, with or without what OpenVPN's own `proto` may add (`tcp4-server`).
fn protocol_of(word: &str, index: usize) -> Result<openvpn::Protocol, String> {
    match word.get(..3) {
        Some("tcp") => Ok(openvpn::Protocol::Tcp),
        Some("udp") => Ok(openvpn::Protocol::Udp),
        _ => Err(format!("openvpn[{index}].protocol: {word:?} is neither \"tcp\" nor \"udp\"")),
    }
}

fn rules(list: &[Spec]) -> Result<Vec<Rule>, String> {
    let rule = |(index, spec)| Rule::new(spec).map_err(|complaint| format!("sockets[{index}].{complaint}"));
    list.iter().enumerate().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Surroundings {
        Surroundings { hostname: "gateway".into(), ..Surroundings::default() }
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, &here()).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    fn complaint(text: &str) -> String {
        Config::parse(text, &here()).expect_err(text)
    }

    #[test]
    fn one_file_may_hold_them_all() {
        let config = parse(
            "vici_socket: /run/vici\novpntcpstatus: /a\novpnudpstatus: /b\nserver_name: gw\nopenvpn:\n  - name: office\n    \
             status: /c\n    protocol: tcp4-server\n  - status: /d-*.status\nipsec_config: /e\nipsec_command: [ipsec, status]\n\
             sockets:\n  - name: web\n    port: 80\n    status: listen\n  - name: ssh\n    srcPort: \"22\"\n    status: listen\n",
        );
        let strongswan = config.strongswan.expect("strongSwan");
        assert_eq!((strongswan.socket, strongswan.gateway), (Address::Unix("/run/vici".into()), "gw".into()));
        let servers = config.openvpn.expect("OpenVPN").servers;
        assert_eq!(servers[2].name.as_deref(), Some("office"));
        let found: Vec<_> = servers.iter().map(|s| (s.status.to_str().unwrap(), s.protocol)).collect();
        let (tcp, udp) = (Some(openvpn::Protocol::Tcp), Some(openvpn::Protocol::Udp));
        assert_eq!(found, [("/a", tcp), ("/b", udp), ("/c", tcp), ("/d-*.status", None)]);
        let ipsec = config.ipsec.expect("ipsec");
        assert_eq!((ipsec.config, ipsec.command), (PathBuf::from("/e"), vec!["ipsec".into(), "status".into()]));
        assert_eq!(config.sockets.expect("sockets").rules.len(), 2);
    }

    #[test]
    fn nothing_written_is_nothing_meant() {
        for text in ["", "# only a comment\n", "---\n", "{}"] {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn both_spellings_of_the_status_files_are_one_key() {
        let config = parse("ovpn_tcp_status: /a\novpn_udp_status: /b\n");
        assert_eq!(config.openvpn.expect("OpenVPN").servers.len(), 2);
        assert!(complaint("ovpn_tcp_status: /a\novpntcpstatus: /b\n").contains("duplicate field"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = complaint("vici_socket: /run/vici\nvici_sockets: /run/vici\n");
        assert!(text.starts_with("unknown field `vici_sockets`") && text.contains("line 2"), "{text}");
        let text = complaint("sockets:\n  - name: a\n    prot: tcp\n");
        assert!(text.starts_with("sockets[0]: unknown field `prot`") && text.contains("line 3"), "{text}");
    }

    #[test]
    fn a_bad_value_is_named_with_its_key() {
        for (text, expected) in [
            (
                "vici_socket: http://x",
                "vici_socket: \"http://x\" is neither a path, nor unix:///path, nor tcp://host:port",
            ),
            (
                "openvpn:\n  - {status: /a, protocol: sctp}",
                "openvpn[0].protocol: \"sctp\" is neither \"tcp\" nor \"udp\"",
            ),
            ("ovpntcpstatus: \"\"", "ovpntcpstatus: a status file without a path"),
            ("openvpn: [{status: \"\"}]", "openvpn[0].status: a status file without a path"),
            ("ipsec_command: []", "ipsec_command: no command"),
            ("metrics: {client: cn}", "metrics.client: \"cn\" is neither \"remote-id\" nor \"user\""),
            (
                "metrics: {without: [sas, sa]}",
                "metrics.without: \"sa\" is none of clients, tunnels, sas, pools, certificates, events, daemons",
            ),
            ("sockets:\n  - {name: a}\n  - {name: b, port: http}", "sockets[1].srcPort: \"http\" is not a port"),
            ("web: {listen: [\":1\", \":x\"]}", "web.listen[1]: \":x\": \"x\" is not a port"),
            ("web: {allow: []}", "web.allow: an empty list would let nobody in"),
            ("web:\n  sessions: false\n  #- 192.0.2.0/24\n  allow:", "web.allow: names no network"),
            ("web:\n  basic_auth_users:", "web.basic_auth_users: names no user"),
            ("web: {allow: [lan]}", "web.allow: \"lan\" is neither an address nor a network as 192.0.2.0/24"),
            ("web: {basic_auth_users: {\"\": x}}", "web.basic_auth_users: \"\" can't be a user's name"),
            (
                "web: {basic_auth_users: {ann: secret}}",
                "web.basic_auth_users.ann: what is written there is no bcrypt hash; --hash-password makes one",
            ),
            ("identities: none", "identities: \"none\" is neither \"plain\", nor \"hashed\", nor \"off\""),
            ("identities: hashed", "identities: hashed names need a key, and identities_key_file does not say where"),
            ("identities_key_file: /k", "identities_key_file: the key is for identities: hashed"),
        ] {
            let said = complaint(text);
            let (words, place) = said.rsplit_once(" at line ").expect(text);
            assert_eq!(words, expected);
            assert_eq!(place.parse(), Ok(text.lines().count()), "{said}: the last line");
        }
        assert!(complaint("openvpn:\n  - {name: a}").contains("missing field `status`"));
    }

    const HASH: &str = "$2y$04$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";

    #[test]
    fn access_is_written_in_one_section() {
        let web = parse(&format!(
            "web:\n  listen: [\":9234\", \"[::1]:9235\", br-lan:9236]\n  allow: [192.0.2.0/24, \"::1\"]\n  sessions: false\n  \
             basic_auth_users: {{ann: {HASH}}}\n"
        ))
        .web;
        assert_eq!(web.listen, [":9234", "[::1]:9235", "br-lan:9236"]);
        let allow = web.allow.expect("networks");
        assert!(allow.contains([192, 0, 2, 9].into()) && !allow.contains([192, 0, 3, 9].into()));
        assert!(web.hides_sessions && web.users.iter().any(|(name, _)| name == "ann"));
        assert_eq!(parse("web: {sessions: true}").web, Web::default());
    }

    #[test]
    fn prometheus_own_web_file_is_read() {
        let users =
            Config::web_file(&format!("basic_auth_users:\n  ann: {HASH}\nhttp_server_config: {{http2: false}}\n"));
        assert_eq!(users.expect("users").users.len(), 1);
        assert!(Config::web_file("# nothing\n").expect("no users").users.is_empty());
        for (text, complaint) in [
            ("tls_server_config: {cert_file: a}", "tls_server_config: missing field `key_file`"),
            ("http_server_config: {headers: {A: b}}", "http_server_config.headers: no headers can be added"),
            ("basic_auth_users: {ann: secret}", "basic_auth_users.ann: what is written there is no bcrypt hash"),
            ("basic_auth_user: {}", "unknown field `basic_auth_user`"),
        ] {
            let said = Config::web_file(text).expect_err(text);
            assert!(said.starts_with(complaint) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn clients_are_shown_unless_something_else_is_said() {
        let terms = |text: &str| parse(text).terms;
        assert_eq!((terms("").identities, terms("").most_series), (Identities::Plain, Some(MOST_SERIES)));
        assert_eq!(terms("max_series: 0").most_series, None);
        assert_eq!(terms("max_series: 7").most_series, Some(7));
        assert_eq!(terms("identities: off").identities, Identities::Off);
        assert_eq!(terms("identities: plain").identities, Identities::Plain);
        let locked = parse("identities: hashed\nidentities_key_file: /k\n");
        assert_eq!((locked.terms.identities, locked.key_file), (Identities::Off, Some("/k".into())));
    }

    #[test]
    fn certificates_are_asked_for_as_seldom_as_was_said() {
        for (metrics, expected) in [("{}", 3600), ("{certificate_interval: 60}", 60), ("{certificate_interval: 0}", 0)]
        {
            let config = parse(&format!("vici_socket: /x\nmetrics: {metrics}\n"));
            assert_eq!(config.strongswan.expect("strongSwan").certificate_interval, Duration::from_secs(expected));
        }
        assert!(complaint("metrics: {certificate_interval: -1}").contains("certificate_interval"));
    }

    #[test]
    fn flags_ask_for_ipsec_and_win() {
        let surroundings = Surroundings { ipsec_config: Some("/flag".into()), sudo: true, ..here() };
        let config = Config::parse("ipsec_config: /file\n", &surroundings).expect("valid");
        let ipsec = config.ipsec.expect("ipsec");
        assert_eq!(ipsec.config, PathBuf::from("/flag"));
        assert_eq!(ipsec.command, ["sudo", "ipsec", "statusall"]);
        assert!(Config::parse("", &surroundings).expect("valid").ipsec.is_some());
    }

    #[test]
    fn the_places_that_are_looked_at_are_said() {
        let tried = |source| LOOKED_FOR.iter().find(|(name, _)| *name == source).expect("a source").1;
        assert_eq!(tried("openvpn"), STATUS_FILES.join(", "));
        assert!(tried("ipsec").starts_with(IPSEC_CONF));
    }

    #[test]
    fn what_stands_on_the_machine_is_found() {
        let root = std::env::temp_dir().join(format!("gwx-root-{}", std::process::id()));
        assert!(Config::discover(&root, &here()).is_empty());
        for folder in ["var/run", "run/openvpn-server", "var/log/openvpn"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("var/run/openvpn.office.status"), "").unwrap();
        std::fs::write(root.join("run/openvpn-server/status-office.log"), "").unwrap();
        let _charon = std::os::unix::net::UnixListener::bind(root.join("var/run/charon.vici")).unwrap();
        let config = Config::discover(&root, &here());
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(config.strongswan.unwrap().socket, Address::Unix(root.join("var/run/charon.vici")));
        let servers = config.openvpn.unwrap().servers;
        let found: Vec<_> = servers.into_iter().map(|server| server.status).collect();
        assert_eq!(found, [root.join("var/run/openvpn*.status"), root.join("run/openvpn*/*status*")]);
    }
}
