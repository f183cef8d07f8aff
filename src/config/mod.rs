//! The configuration: a file of any of the five original exporters is valid, and one file can contain all of them.
//!
//! [`crate::settings`] parses YAML; each source reads its own keys from it, or searches the machine.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::web::{Web, anchor};
use crate::error::Error;
use crate::exposition::{Group, Groups, Options};
use crate::http::TlsFiles;
use crate::privacy::Identities;
use crate::settings::{self, Common, Input, Located, Section, Service, UciFile};
pub use crate::settings::{ConfigError, Overrides};
use crate::siphash::Key;
use crate::source::{self, AnySettings, AnySource, Needs, Source};
use crate::sources;
use crate::sys::file;

pub mod load;
mod web;

/// The default number of disconnected clients whose totals are kept.
const MOST_CLIENTS: usize = 10_000;

/// The default limit of series per source.
const MOST_SERIES: usize = 200_000;

/// A configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The gateway's name, on the pages and in the session list.
    pub gateway: String,
    /// The sources that are watched, in the order of the list.
    pub sources: Configured,
    /// The options of the metrics: groups left out, the limit of series, how clients are shown.
    pub options: Options,
    /// Whether the file has the key `identities`.
    pub says_identities: bool,
    /// The file with the key for hashing clients' names, if they are hashed. Until it is read ([`Config::load_key`]) they
    /// are not shown at all.
    pub key_file: Option<PathBuf>,
    /// Where to listen, and who may request what.
    pub web: Web,
    /// The sources that the command line switches on or off.
    pub collectors: Collectors,
}

/// The sources that the command line switches on or off.
#[derive(Clone, Debug, Default)]
pub struct Collectors {
    named: Vec<(&'static str, bool)>,
    /// Whether only sources that are switched on are searched for on the machine, since others are configured.
    only_named: bool,
}

/// The settings of the sources that are watched.
#[derive(Clone, Default)]
pub struct Configured(Vec<Arc<dyn AnySettings>>);

/// A configuration in OpenWrt's format.
#[derive(Debug)]
pub struct Uci {
    /// The options about the daemon itself.
    pub service: Service,
    config: Config,
    /// The names of sources that are switched on or off.
    switches: Vec<(String, bool)>,
    common: Common,
}

/// The restrictions of access in a configuration, for comparison with the next one.
#[derive(Clone, Debug)]
pub struct Protection {
    shows_names: bool,
    web: Web,
}

impl Configured {
    /// The settings of all sources.
    pub fn iter(&self) -> impl Iterator<Item = &dyn AnySettings> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The settings of the source `S`.
    pub fn get<S: Source>(&self) -> Option<&S::Settings> {
        self.iter().find_map(source::settings_of::<S>)
    }

    /// The settings of a source.
    pub fn of(&self, source: &AnySource) -> Option<&dyn AnySettings> {
        self.iter().find(|settings| settings.source().name == source.name)
    }

    /// Adds settings, or replaces those of the same source.
    pub fn set(&mut self, settings: Arc<dyn AnySettings>) {
        let rank = |source: &AnySource| sources::ALL.iter().position(|known| known.name == source.name);
        let own = rank(settings.source());
        self.0.retain(|known| rank(known.source()) != own);
        let at = self.0.iter().filter(|known| rank(known.source()) < own).count();
        self.0.insert(at, settings);
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Collectors {
    /// Whether this source is switched off.
    pub fn is_off(&self, source: &str) -> bool {
        self.choice(source) == Some(false)
    }

    /// Whether this source is searched for on the machine.
    pub fn looks_for(&self, source: &str) -> bool {
        self.choice(source).unwrap_or(!self.only_named)
    }

    fn choice(&self, source: &str) -> Option<bool> {
        self.named.iter().find(|(name, _)| *name == source).map(|(_, is_on)| *is_on)
    }
}

impl fmt::Debug for Configured {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter().map(|settings| settings.source().name)).finish()
    }
}

impl Config {
    /// Parses a file; the error names the key and the line.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut file = settings::parse(text)?;
        file.drop_extensions();
        Ok(Self::read(file, overrides)?.0)
    }

    /// Parses a file in OpenWrt's format.
    pub fn parse_uci(text: &str, overrides: &Overrides) -> Result<Uci, ConfigError> {
        let words: Vec<_> = sources::ALL.iter().flat_map(|source| source.uci).collect();
        let UciFile { file, switches, service } =
            settings::parse_uci(text, &words, &sources::ALL.map(|source| source.name))?;
        let (config, common) = Self::read(file, overrides)?;
        Ok(Uci { config, service, switches, common })
    }

    fn read(mut file: Section, overrides: &Overrides) -> Result<(Self, Common), ConfigError> {
        let mut metrics = file.section("metrics")?;
        let common = Common {
            gateway: file.text("server_name")?.map_or_else(|| overrides.hostname.clone(), |name| name.value),
            most_clients: metrics.number("max_clients")?.unwrap_or(MOST_CLIENTS),
            overrides: overrides.clone(),
        };
        let without = groups(metrics.texts("without")?)?;
        let mut input = Input { file: &mut file, metrics: &mut metrics, common: &common };
        let mut configured = Configured::default();
        for source in sources::ALL {
            configured.0.extend((source.read)(&mut input)?);
        }
        metrics.end()?;
        let most_series = Some(file.number("max_series")?.unwrap_or(MOST_SERIES)).filter(|most| *most > 0);
        let says_identities = file.line_of("identities").is_some();
        let (identities, key_file) = identities(file.text("identities")?, file.text("identities_key_file")?)?;
        let web = web::section(&mut file)?;
        file.end()?;
        let options = Options { without, most_series, identities };
        let (gateway, collectors) = (common.gateway.clone(), Collectors::default());
        Ok((Self { gateway, sources: configured, options, says_identities, key_file, web, collectors }, common))
    }

    /// Searches for sources on a machine whose root directory is `root`.
    pub fn discover(root: &Path, overrides: &Overrides) -> Self {
        let gateway = overrides.hostname.clone();
        let common = Common { gateway, most_clients: MOST_CLIENTS, overrides: overrides.clone() };
        let found = sources::ALL.iter().filter_map(|source| (source.discover)(root, &common)).collect();
        Self { gateway: common.gateway, sources: Configured(found), ..Self::default() }
    }

    /// Parses Prometheus' web configuration file: only users, TLS, headers and the rate limit are set.
    pub fn web_file(text: &str) -> Result<Web, ConfigError> {
        web::toolkit(settings::parse(text)?)
    }

    /// Reads the key for hashing clients' names; creates the file if it does not exist.
    pub fn load_key(&mut self) -> Result<(), Error> {
        if let Some(path) = &self.key_file {
            self.options.identities = Identities::Hashed(Key::new(file::secret(path)?));
        }
        Ok(())
    }

    /// Switches sources on (true) or off; of several entries for one source, the last counts. A source that is switched on and
    /// not configured is searched for. Returns whether any source is to be searched for, and the names of sources that are
    /// switched on but can't be searched for.
    pub fn choose(&mut self, named: &[(&'static str, bool)]) -> (bool, Vec<&'static str>) {
        let is_configured = !self.is_empty();
        let choice = |source: &AnySource| named.iter().rev().find(|(name, _)| *name == source.name).copied();
        let is_off = |source: &AnySource| choice(source).is_some_and(|(_, is_on)| !is_on);
        self.sources.0.retain(|settings| !is_off(settings.source()));
        // Switching a configured source on changes nothing.
        let others: Vec<_> = sources::ALL.into_iter().filter(|source| self.sources.of(source).is_none()).collect();
        let named = others.iter().filter_map(|source| choice(source)).collect();
        self.collectors = Collectors { named, only_named: is_configured };
        let watched: Vec<_> = self.sources.iter().map(AnySettings::source).collect();
        let (found, lost): (Vec<_>, Vec<_>) = others
            .into_iter()
            .filter(|source| choice(source).is_some_and(|(_, is_on)| is_on) && (source.accompany)(&watched).is_none())
            .partition(|source| source.looked_for.is_some());
        (!is_configured || !found.is_empty(), lost.iter().map(|source| source.name).collect())
    }

    /// Adds sources of `found` that are missing here; returns their names.
    pub fn merge_discovered(&mut self, found: &Self) -> Vec<&'static str> {
        let mut new = Vec::new();
        for settings in found.sources.iter().filter(|settings| self.collectors.looks_for(settings.source().name)) {
            if let Some(merged) = settings.added_to(self.sources.of(settings.source())) {
                self.sources.set(merged);
                new.push(settings.source().name);
            }
        }
        new
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// What a process needs for this configuration: sorted lines, for jails and units. `files` are further files that it reads.
    ///
    /// `source NAME`, `path PATH` that must be visible, `file PATH` that is read at the start, `key PATH` of the key for clients'
    /// names, which is created if it does not exist, `capability NAME`, `programs` if it runs any, and `processes` if it must
    /// see those of others.
    pub fn needs<'a>(&'a self, files: impl Iterator<Item = &'a Path>) -> String {
        let mut all: Vec<&Path> = files.collect();
        all.extend(self.key_file.as_deref());
        if let Some(TlsFiles { certificate, key, client_ca, .. }) = &self.web.tls {
            all.extend([certificate.as_path(), key]);
            all.extend(client_ca.as_ref().map(|(path, _)| path.as_path()));
        }
        let mut lines: Vec<_> = all.iter().map(|path| format!("file {}\n", path.display())).collect();
        // Such files usually belong to root.
        lines.extend((!lines.is_empty()).then(|| "capability CAP_DAC_OVERRIDE\n".into()));
        lines.extend(self.key_file.iter().map(|path| format!("key {}\n", path.display())));
        for settings in self.sources.iter() {
            let Needs { paths, capabilities, runs_programs, sees_processes } = settings.needs();
            lines.push(format!("source {}\n", settings.source().name));
            lines.extend(paths.iter().map(|path| format!("path {}\n", path.display())));
            lines.extend(capabilities.iter().map(|name| format!("capability {name}\n")));
            lines.extend(runs_programs.then(|| "programs\n".into()));
            lines.extend(sees_processes.then(|| "processes\n".into()));
        }
        lines.sort_unstable();
        lines.dedup();
        lines.concat()
    }

    /// The restrictions of access, and whether clients' names are hidden.
    pub fn protection(&self) -> Protection {
        Protection { shows_names: self.options.identities == Identities::Plain, web: self.web.clone() }
    }
}

impl Uci {
    /// The configuration for a machine whose root directory is `root`: a source without options is watched if it is switched on,
    /// or if it is not switched off and its daemon is installed or found there.
    pub fn on_machine(self, root: &Path) -> Config {
        let Self { mut config, switches, common, .. } = self;
        for source in sources::ALL {
            let switch = switches.iter().find(|(name, _)| name == source.name).map(|(_, is_on)| *is_on);
            let usual = |root| (source.usual)(root, &common);
            match (switch, config.sources.of(source)) {
                (Some(false), _) => config.sources.0.retain(|settings| settings.source().name != source.name),
                (_, Some(_)) => {}
                (Some(true), None) => usual(None).into_iter().for_each(|settings| config.sources.set(settings)),
                (None, None) => {
                    let found = usual(Some(root)).or_else(|| (source.discover)(root, &common));
                    found.into_iter().for_each(|settings| config.sources.set(settings));
                }
            }
        }
        config
    }
}

impl Protection {
    /// The first restriction that `after` lacks without stating that this is intended: a truncated file can be valid, too.
    pub fn lost_by(&self, after: &Config) -> Option<ConfigError> {
        let shows_names = after.options.identities == Identities::Plain && after.key_file.is_none();
        let names = "clients' names were not shown, and now they are; identities: plain says that this is meant";
        let lost = (!self.shows_names && shows_names && !after.says_identities).then(|| ("identities", names.into()));
        let (path, message) = lost.or_else(|| after.web.loses(&self.web))?;
        Some(ConfigError::without_line(path, &message))
    }
}

/// How clients are shown, and the file with the key for that.
fn identities(
    word: Option<Located<String>>,
    key_file: Option<Located<String>>,
) -> Result<(Identities, Option<PathBuf>), ConfigError> {
    // Absent for hashed names.
    let kinds = [("plain", Some(Identities::Plain)), ("hashed", None), ("off", Some(Identities::Off))];
    let kind = word.as_ref().map(|word| word.one_of(&kinds)).transpose()?;
    match (kind, word, key_file) {
        (Some(None), _, Some(path)) if !path.value.is_empty() => Ok((Identities::Off, Some(path.value.into()))),
        (Some(None), Some(word), _) => {
            Err(word.error("hashed names need a key, and identities_key_file does not say where"))
        }
        (_, _, Some(path)) => Err(path.error("the key is for identities: hashed")),
        (kind, _, None) => Ok((kind.flatten().unwrap_or_default(), None)),
    }
}

fn groups(words: Option<Vec<Located<String>>>) -> Result<Groups, ConfigError> {
    let known = Group::ALL.map(|group| (group.word(), group));
    let add = |groups: Groups, word: Located<String>| Ok(groups.with(word.one_of(&known)?));
    words.into_iter().flatten().try_fold(Groups::default(), add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::Compress;
    use crate::ipsec::Ipsec;
    use crate::openvpn::{OpenVpn, Protocol};
    use crate::sockets::Sockets;
    use crate::strongswan::StrongSwan;
    use crate::sys::socket::Address;

    fn here() -> Overrides {
        Overrides { hostname: "gateway".into(), ..Overrides::default() }
    }

    fn parse(text: &str) -> Config {
        Config::parse(text, &here()).unwrap_or_else(|complaint| panic!("{complaint}"))
    }

    fn complaint(text: &str) -> String {
        Config::parse(text, &here()).expect_err(text).to_string()
    }

    #[test]
    fn flags_switch_sources_on_and_off() {
        let file = "vici_socket: /a\nsockets: [{name: b, port: 1}]\n";
        for (text, named, watched, looks, looked_for, lost) in [
            (file, &[][..], "[\"strongswan\", \"sockets\"]", false, "", ""),
            (file, &[("sockets", false)], "[\"strongswan\"]", false, "", ""),
            (file, &[("sockets", false), ("sockets", true)], "[\"strongswan\", \"sockets\"]", false, "", ""),
            (file, &[("strongswan", true), ("kernel", true)], "[\"strongswan\", \"sockets\"]", false, "kernel", ""),
            (file, &[("strongswan", true), ("openvpn", true)], "[\"strongswan\", \"sockets\"]", true, "openvpn", ""),
            (file, &[("strongswan", false), ("sockets", false)], "[]", false, "", ""),
            ("vici_socket: /a\n", &[("sockets", true)], "[\"strongswan\"]", false, "sockets", "sockets"),
            ("{}", &[], "[]", true, "strongswan ipsec openvpn sockets kernel wireguard", ""),
            ("{}", &[("openvpn", false)], "[]", true, "strongswan ipsec sockets kernel wireguard", ""),
            (
                "{}",
                &[("openvpn", true), ("sockets", true)],
                "[]",
                true,
                "strongswan ipsec openvpn sockets kernel wireguard",
                "sockets",
            ),
        ] {
            let mut config = parse(text);
            let (does_look, not_found) = config.choose(named);
            assert_eq!(format!("{:?}", config.sources), watched, "{text} {named:?}");
            assert_eq!((does_look, not_found.join(" ").as_str()), (looks, lost), "{text} {named:?}");
            let names: Vec<_> = sources::ALL.iter().map(|source| source.name).collect();
            let all: Vec<_> = names.iter().copied().filter(|name| config.collectors.looks_for(name)).collect();
            assert_eq!(all.join(" "), looked_for, "{text} {named:?}");
            for name in names {
                let last = named.iter().rfind(|(known, _)| *known == name);
                assert_eq!(
                    config.collectors.is_off(name),
                    last.is_some_and(|(_, is_on)| !is_on),
                    "{text} {named:?} {name}"
                );
            }
            let found = Config::parse("ovpnudpstatus: /x\nvici_socket: /y\n", &here()).expect("valid");
            let merged = config.merge_discovered(&found);
            let expected = looked_for.split(' ').filter(|name| ["strongswan", "openvpn"].contains(name));
            assert_eq!(merged.len(), expected.count(), "{text} {named:?}");
            assert!(merged.iter().all(|name| looked_for.contains(name)), "{text} {named:?}: {merged:?}");
        }
    }

    #[test]
    fn one_file_may_hold_them_all() {
        let config = parse(
            "vici_socket: /run/vici\novpntcpstatus: /a\novpnudpstatus: /b\nserver_name: gw\nopenvpn:\n  - name: office\n    \
             status: /c\n    protocol: tcp4-server\n  - status: /d-*.status\nipsec_config: /e\nipsec_command: [ipsec, status]\n\
             sockets:\n  - name: web\n    port: 80\n    status: listen\n  - name: ssh\n    srcPort: \"22\"\n    status: listen\n",
        );
        let strongswan = config.sources.get::<StrongSwan>().expect("strongSwan").clone();
        assert_eq!((strongswan.socket, strongswan.gateway), (Address::Unix("/run/vici".into()), "gw".into()));
        let servers = config.sources.get::<OpenVpn>().expect("OpenVPN").clone().servers;
        assert_eq!(servers[2].name.as_deref(), Some("office"));
        let found: Vec<_> =
            servers.iter().map(|s| (s.status.as_ref().unwrap().to_str().unwrap(), s.protocol)).collect();
        let (tcp, udp) = (Some(Protocol::Tcp), Some(Protocol::Udp));
        assert_eq!(found, [("/a", tcp), ("/b", udp), ("/c", tcp), ("/d-*.status", None)]);
        let ipsec = config.sources.get::<Ipsec>().expect("ipsec").clone();
        assert_eq!((ipsec.config, ipsec.command), (PathBuf::from("/e"), vec!["ipsec".into(), "status".into()]));
        assert_eq!(config.sources.get::<Sockets>().expect("sockets").clone().rules.len(), 2);
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
        assert_eq!(config.sources.get::<OpenVpn>().expect("OpenVPN").clone().servers.len(), 2);
        assert!(complaint("ovpn_tcp_status: /a\novpntcpstatus: /b\n").contains("duplicate field"));
    }

    #[test]
    fn the_keys_of_all_releases_of_the_originals_are_known() {
        let config = parse("ovpn_status: /a/status\nserver_name: gw\ndebug: true\nrefresh_interval: 15\n");
        let servers = &config.sources.get::<OpenVpn>().expect("OpenVPN").servers;
        let found: Vec<_> = servers.iter().map(|server| (server.status.as_deref(), server.protocol)).collect();
        assert_eq!(found, [(Some(Path::new("/a/status")), None)]);
        // As in the original's container.
        let config = parse("vici-socket: \"/run/vici\"\n");
        assert_eq!(config.sources.get::<StrongSwan>().expect("strongSwan").socket, Address::Unix("/run/vici".into()));
        assert!(complaint("vici-socket: /a\nvici_socket: /b\n").contains("duplicate field"));
    }

    #[test]
    fn an_empty_text_of_an_originals_key_is_not_written() {
        let config = parse("ovpntcpstatus: \"\"\novpn_tcp_status: ~\novpnudpstatus: /a\novpn_udp_status: ''\n");
        let servers = &config.sources.get::<OpenVpn>().expect("OpenVPN").servers;
        assert_eq!(servers.iter().map(|server| server.status.as_deref()).collect::<Vec<_>>(), [Some(Path::new("/a"))]);
        let config = parse("vici_socket: ''\novpntcpstatus: ''\novpnudpstatus:\n");
        assert!(config.sources.get::<OpenVpn>().is_none() && config.sources.get::<StrongSwan>().is_none());
        let rules = parse("sockets: [{name: a, host: '', srcHost: 192.0.2.1, port: 22, srcPort: ''}]\n");
        let rule = format!("{:?}", rules.sources.get::<Sockets>().expect("rules"));
        assert!(rule.contains("srchost: \"192.0.2.1\"") && rule.contains("srcport: \"22\""), "{rule}");
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
            ("openvpn: [{status: \"\"}]", "openvpn[0].status: a status file without a path"),
            ("ipsec_command: []", "ipsec_command: no command"),
            ("metrics: {client: cn}", "metrics.client: \"cn\" is neither \"remote-id\" nor \"user\""),
            (
                "metrics: {without: [sas, sa]}",
                "metrics.without[1]: \"sa\" is none of clients, tunnels, sas, pools, certificates, events, daemons",
            ),
            ("sockets:\n  - {name: a}\n  - {name: b, port: http}", "sockets[1].port: \"http\" is not a port"),
            ("web: {listen: [\":1\", \":x\"]}", "web.listen[1]: \":x\": \"x\" is not a port"),
            ("web: {allow: []}", "web.allow: names no network"),
            ("web: {listen: []}", "web.listen: names no address"),
            ("web:\n  listen:", "web.listen: names no address"),
            ("web: {basic_auth_users: {}}", "web.basic_auth_users: names no user"),
            ("web:\n  tls_server_config:", "web.tls_server_config: names no certificate"),
            ("vici_socket: /a\nweb:", "web: nothing is written in it; leave it out, or write web: {open: true}"),
            ("web: ~", "web: nothing is written in it; leave it out, or write web: {open: true}"),
            ("web: {open: maybe}", "web.open: expected true or false"),
            ("web:\n  sessions: false\n  #- 192.0.2.0/24\n  allow:", "web.allow: names no network"),
            ("web:\n  basic_auth_users:", "web.basic_auth_users: names no user"),
            (
                "web: {allow: [\"::1\", lan]}",
                "web.allow[1]: \"lan\" is neither an address nor a network as 192.0.2.0/24",
            ),
            ("web: {basic_auth_users: {\"\": x}}", "web.basic_auth_users: \"\" can't be a user's name"),
            (
                "web: {basic_auth_users: {ann: secret}}",
                "web.basic_auth_users.ann: what is written there is no bcrypt hash; --hash-password makes one",
            ),
            ("sockets: [{port: 1}]", "sockets[0].name: missing"),
            (
                "sockets:\n  - name: a\n    processName: (",
                "sockets[0].processName: \"(\" is not a regular expression: found open group without closing ')'",
            ),
            ("sockets: [{name: a, host: b c}]", "sockets[0].host: \"b c\" is neither an address nor a host name"),
            ("sockets: [{name: a, srcHost: b c}]", "sockets[0].srcHost: \"b c\" is neither an address nor a host name"),
            (
                "openvpn:\n- status: /a\n  protocol: tcpfoo",
                "openvpn[0].protocol: \"tcpfoo\" is neither \"tcp\" nor \"udp\"",
            ),
            (
                "openvpn: [{management: office.sock}]",
                "openvpn[0].management: \"office.sock\" is neither a path, unix:PATH nor HOST:PORT",
            ),
            (
                "openvpn: [{status: /a*, management: /b}]",
                "openvpn[0].status: a pattern may match several files, but management is one server's: name its file",
            ),
            (
                "openvpn: [{management: /b, stale_after: 3m}]",
                "openvpn[0].stale_after: there is no status file that could be too old",
            ),
            (
                "openvpn: [{status: /a, management_password_file: /p}]",
                "openvpn[0].management_password_file: it is the password of management, which is missing",
            ),
            (
                "openvpn: [{management: /b, management_password_file: /no/such/file}]",
                "openvpn[0].management_password_file: /no/such/file: not found",
            ),
            ("openvpn: [{name: a}]", "openvpn[0]: missing field `status` or `management`"),
            (
                "openvpn: [{status: /a, stale_after: soon}]",
                "openvpn[0].stale_after: \"soon\" is not a time as 180, 90s, 3m, 2h or 1d",
            ),
            ("openvpn: [a]", "openvpn[0]: expected keys with values"),
            ("openvpn: a", "openvpn: expected a list"),
            ("ipsec_command: ipsec", "ipsec_command: expected a list"),
            ("ipsec_command:\n- a\n-", "ipsec_command: nothing behind the dash"),
            ("vici_socket: [a]", "vici_socket: expected a text"),
            ("max_series: 1e3", "max_series: \"1e3\" is not a whole number"),
            (
                "ovpn_tcp_status: /a\novpntcpstatus: /b",
                "duplicate field `ovpntcpstatus`: it is the same as `ovpn_tcp_status`",
            ),
            (
                "a: b",
                "unknown field `a` (known: metrics, server_name, vici_socket, vici-socket, ipsec_config, ipsec_command, \
                ovpntcpstatus, ovpn_tcp_status, ovpnudpstatus, ovpn_udp_status, ovpn_status, ovpnstatus, openvpn, sockets, \
                wireguard, max_series, identities, identities_key_file, web)",
            ),
            ("[a]", "expected keys with values"),
            ("identities: \"x at line 9\"", "identities: \"x at line 9\" is none of plain, hashed, off"),
            ("identities: none", "identities: \"none\" is none of plain, hashed, off"),
            ("identities: hashed", "identities: hashed names need a key, and identities_key_file does not say where"),
            ("identities_key_file: /k", "identities_key_file: the key is for identities: hashed"),
        ] {
            let said = complaint(text);
            let (words, place) = said.rsplit_once(" at line ").expect(text);
            assert_eq!(words, expected);
            assert_eq!(place.parse(), Ok(text.lines().count()), "{said}: the last line");
        }
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
        assert_eq!(parse("web: {}").web, Web::default());
        assert_eq!(
            parse("web: {sessions: off}").web,
            Web { hides_sessions: true, says_sessions: true, ..Web::default() }
        );
    }

    #[test]
    fn compression_is_auto_always_or_never() {
        assert_eq!(parse("web: {open: true}").web.compress, Compress::Auto);
        for (word, expected) in [("auto", Compress::Auto), ("always", Compress::Always), ("never", Compress::Never)] {
            assert_eq!(parse(&format!("web: {{compress: {word}}}")).web.compress, expected);
        }
        let said =
            Config::parse("web:\n  open: true\n  compress: yes\n", &Overrides::default()).expect_err("no such word");
        let expected = "web.compress: \"yes\" is none of auto, always, never at line 3";
        assert_eq!(said.to_string(), expected);
    }

    #[test]
    fn prometheus_own_web_file_is_read() {
        let users =
            Config::web_file(&format!("basic_auth_users:\n  ann: {HASH}\nhttp_server_config: {{http2: false}}\n"));
        assert_eq!(users.expect("users").users.len(), 1);
        let tls = match cfg!(feature = "tls") {
            true => "tls_server_config: missing field `key_file` at line 1",
            false => {
                "tls_server_config: built without TLS; `cargo build --features tls` has it, or a reverse proxy at line 1"
            }
        };
        for (text, expected) in [
            ("tls_server_config: {cert_file: a}", tls),
            (
                "http_server_config:\n  headers:\n    Content-Type: b\n",
                "http_server_config.headers: unknown field `Content-Type` (known: Content-Security-Policy, X-Frame-Options, \
                 X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security) at line 3",
            ),
            (
                "http_server_config: {headers: {X-Frame-Options: DENY}}",
                "http_server_config.headers.X-Frame-Options: \"DENY\" is not deny or sameorigin at line 1",
            ),
            (
                "http_server_config:\n  headers: {X-XSS-Protection: \"1\\r\\nX-A: b\"}",
                "http_server_config.headers.X-XSS-Protection: a header has no line ends and control characters at line 2",
            ),
            (
                "rate_limit:\n  interval: 1s\n",
                "rate_limit.burst: 0 would refuse every request; 20 answers up to 20 at once at line 1",
            ),
            (
                "rate_limit: {interval: 1, burst: 1}",
                "rate_limit.interval: \"1\" is not a time as 250ms, 1s or 1m30s at line 1",
            ),
            ("rate_limit: {interval: 1s, burst: -1}", "rate_limit.burst: \"-1\" is not a whole number at line 1"),
            (
                "basic_auth_users: {ann: secret}",
                "basic_auth_users.ann: what is written there is no bcrypt hash; --hash-password makes one at line 1",
            ),
            (
                "basic_auth_user: {}",
                "unknown field `basic_auth_user` (known: basic_auth_users, tls_server_config, http_server_config, rate_limit) at line 1",
            ),
            ("", "empty: it names neither users nor certificates at line 1"),
            ("# nothing\n", "empty: it names neither users nor certificates at line 1"),
            ("{}", "empty: it names neither users nor certificates at line 1"),
            ("http_server_config: {}\nbasic_auth_users:\n", "basic_auth_users: names no user at line 2"),
            ("basic_auth_users: {}", "basic_auth_users: names no user at line 1"),
            ("basic_auth_users: {}\ntls_server_config:", "basic_auth_users: names no user at line 1"),
            ("tls_server_config:", "tls_server_config: names no certificate at line 1"),
        ] {
            let said = Config::web_file(text).expect_err(text).to_string();
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn what_the_examples_of_exporter_toolkit_have_is_read() {
        let rest = format!(
            "basic_auth_users:\n  ann: {HASH}\n  bob: {HASH}\nhttp_server_config:\n  http2: true\n  headers:\n    \
             Content-Security-Policy: \"default-src 'self' *.example.net\"\n    X-Frame-Options: sameorigin\n    \
             X-Content-Type-Options: nosniff\n    X-XSS-Protection: 1\n    \
             Strict-Transport-Security: max-age=31536000; includeSubDomains\n\
             rate_limit:\n  interval: \"1s\"\n  burst: 20\n"
        );
        let file = Config::web_file(&rest).expect("valid");
        let headers: Vec<_> = file.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected = [
            ("Content-Security-Policy", "default-src 'self' *.example.net"),
            ("X-Frame-Options", "sameorigin"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-XSS-Protection", "1"),
            ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ];
        assert_eq!((headers.as_slice(), file.users.len()), (expected.as_slice(), 2));
        assert_eq!(file.rate_limit, Some(crate::auth::RateLimit { interval: Duration::from_secs(1), burst: 20 }));
        // Without TLS the passwords would be sent in clear text, so that leaving it out is no choice.
        let whole =
            Config::web_file(&format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{rest}"));
        match whole {
            Ok(whole) => {
                assert!(cfg!(feature = "tls") && Web { tls: None, ..whole.clone() } == file && whole.tls.is_some())
            }
            Err(error) => assert!(!cfg!(feature = "tls") && error.to_string().contains("built without TLS"), "{error}"),
        }
        let off = Config::web_file(
            "rate_limit: {interval: 0, burst: 0}\nhttp_server_config: {headers: {X-XSS-Protection: ''}}\n",
        );
        assert_eq!(off, Ok(Web::default()));
    }

    #[test]
    fn what_protected_is_not_lost_without_a_word() {
        let users = format!("  basic_auth_users: {{ann: {HASH}}}\n");
        let allow = "  allow: [192.0.2.0/24]\n";
        let (password, network) = (
            "web.basic_auth_users: a password was asked for, and now none is; web: {open: true} says that this is meant",
            "web.allow: only some networks could ask, and now all can; web: {open: true} says that this is meant",
        );
        let listen = "web.listen: only some addresses were listened on, and now all are; web: {open: true} says that this is meant";
        let hosts =
            "web.hosts: only some host names were answered, and now all are; web: {open: true} says that this is meant";
        let sessions =
            "web.sessions: the session pages were off, and now they are on; sessions: true says that this is meant";
        let names =
            "identities: clients' names were not shown, and now they are; identities: plain says that this is meant";
        let hashed = "identities: hashed\nidentities_key_file: /k\n";
        for (before, after, lost) in [
            (format!("web:\n{users}"), "vici_socket: /a\n".to_owned(), Some(password)),
            (format!("web:\n{users}"), "# nothing\n".to_owned(), Some(password)),
            (format!("web:\n{users}"), format!("web:\n{allow}"), Some(password)),
            (format!("web:\n{users}{allow}"), format!("web:\n{users}"), Some(network)),
            (format!("web:\n{users}{allow}"), "web: {open: false}".to_owned(), Some(password)),
            (format!("web:\n{users}{allow}"), "web: {open: true}".to_owned(), None),
            (format!("web:\n{users}{allow}"), format!("web:\n  open: true\n{allow}"), None),
            (format!("web:\n{allow}"), "web: {allow: [\"::/0\"]}".to_owned(), None),
            ("vici_socket: /a".to_owned(), "vici_socket: /b".to_owned(), None),
            ("web: {open: true}".to_owned(), "vici_socket: /b".to_owned(), None),
            ("vici_socket: /a".to_owned(), format!("web:\n{users}{allow}"), None),
            ("web: {listen: [\"127.0.0.1:9234\"]}".to_owned(), String::new(), Some(listen)),
            ("web: {listen: [\"127.0.0.1:9234\"]}".to_owned(), format!("web:\n{allow}"), None),
            ("web: {listen: [\"127.0.0.1:9234\"]}".to_owned(), "web: {listen: [\":9234\"]}".to_owned(), None),
            ("web: {hosts: [gw.example.org]}".to_owned(), format!("web:\n{allow}"), Some(hosts)),
            ("web: {hosts: [gw.example.org]}".to_owned(), "web: {hosts: [gw]}".to_owned(), None),
            ("web: {sessions: false}".to_owned(), String::new(), Some(sessions)),
            ("web: {sessions: false}".to_owned(), "web: {open: true}".to_owned(), Some(sessions)),
            ("web: {sessions: false}".to_owned(), "web: {sessions: true}".to_owned(), None),
            ("identities: off".to_owned(), String::new(), Some(names)),
            ("identities: off".to_owned(), "web: {open: true}".to_owned(), Some(names)),
            ("identities: off".to_owned(), "identities: plain".to_owned(), None),
            ("identities: off".to_owned(), hashed.to_owned(), None),
            (hashed.to_owned(), String::new(), Some(names)),
            (hashed.to_owned(), "identities: off".to_owned(), None),
        ] {
            let said = parse(&before).protection().lost_by(&parse(&after)).map(|error| error.to_string());
            assert_eq!(said.as_deref(), lost, "{before} then {after}");
        }
    }

    #[test]
    fn losing_tls_or_the_clients_certificate_is_no_accident_either() {
        let tls = |client_ca| crate::http::TlsFiles {
            certificate: "/c".into(),
            key: "/k".into(),
            client_ca,
            only_tls13: false,
        };
        let with = |tls, open| Config { web: Web { tls, open, ..Web::default() }, ..Config::default() };
        use crate::http::ClientAuth::{IfGiven, Required};
        let lost = |before, after, open| {
            let lost = with(before, false).protection().lost_by(&with(after, open));
            lost.map(|error| error.to_string().split([':', ',']).nth(1).unwrap_or_default().trim().to_owned())
        };
        let (plain, some) = (tls(None), tls(Some(("/ca".into(), Required))));
        let given = tls(Some(("/ca".into(), IfGiven)));
        assert_eq!(lost(Some(plain.clone()), None, false).as_deref(), Some("there was TLS"));
        assert_eq!(lost(Some(plain.clone()), None, true), None);
        for after in [None, Some(plain.clone()), Some(given.clone())] {
            let found = lost(Some(some.clone()), after.clone(), false);
            assert_eq!(found.as_deref(), Some("a client's certificate was asked for"), "{after:?}");
            assert_eq!(lost(Some(some.clone()), after, true), None);
        }
        assert_eq!(lost(Some(given), Some(plain), false), None, "nobody had to show one");
        assert_eq!(lost(None, None, false), None);
    }

    #[test]
    fn what_generators_of_configurations_write_is_read() {
        let config = parse(
            "%YAML 1.2\n---\nx-hosts: &hosts\n  protocol: tcp\n  status: listen\nx-words: [&command ipsec, statusall]\n\
             vici_socket: |\n  /run/vici\nserver_name: !!str 1194\nsockets:\n  - <<: *hosts\n    name: a\n    port: 22\n  - name: b\n    \
             <<: *hosts\n    status: established\nipsec_command: [*command, status]\nweb:\n  sessions: no\n  basic_auth_users:\n    \
             ann: >-\n      HASH\n...\n"
                .replace("HASH", HASH)
                .as_str(),
        );
        let strongswan = config.sources.get::<StrongSwan>().expect("strongSwan").clone();
        assert_eq!((strongswan.socket, strongswan.gateway), (Address::Unix("/run/vici".into()), "1194".into()));
        assert_eq!(config.sources.get::<Ipsec>().expect("ipsec").clone().command, ["ipsec", "status"]);
        let rules = config.sources.get::<Sockets>().expect("sockets").clone().rules;
        assert_eq!(rules.iter().map(|rule| rule.name()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(config.web.hides_sessions && config.web.users.len() == 1);
    }

    #[test]
    fn a_key_is_named_with_the_line_it_has_whatever_stands_around_it() {
        for (text, expected) in [
            // A text in quotes that looks like the same key.
            (
                "server_name: \"\n\n  sockets:\n  - protocol: q\"\nsockets:\n  - name: a\n    protocol: sctp\n",
                "sockets[0].protocol: \"sctp\" is none of tcp, tcp4, tcp6, udp, udp4, udp6 at line 7",
            ),
            // A value that speaks of a line.
            ("\nidentities: \"x at line 9\"\n", "identities: \"x at line 9\" is none of plain, hashed, off at line 2"),
            // A rule that is taken over from elsewhere: the line where it is written.
            (
                "x-a: &a\n  protocol: sctp\nsockets:\n  - <<: *a\n    name: b\n",
                "sockets[0].protocol: \"sctp\" is none of tcp, tcp4, tcp6, udp, udp4, udp6 at line 2",
            ),
            // Several in one line, and lists that go over several.
            ("sockets: [{name: a},\n  {name: b,\n   port: x}]\n", "sockets[1].port: \"x\" is not a port at line 3"),
            ("web:\n  listen: [\":1\",\n\n    \":x\"]\n", "web.listen[1]: \":x\": \"x\" is not a port at line 4"),
            (
                "web:\n  allow:\n  - ::1\n  - x\n",
                "web.allow[1]: \"x\" is neither an address nor a network as 192.0.2.0/24 at line 4",
            ),
            // Nothing behind the last sign of a file has no line of its own.
            (
                "server_name: a\n? ",
                "unknown field `` (known: metrics, server_name, vici_socket, vici-socket, ipsec_config, ipsec_command, \
                 ovpntcpstatus, ovpn_tcp_status, ovpnudpstatus, ovpn_udp_status, ovpn_status, ovpnstatus, openvpn, sockets, \
                 wireguard, max_series, identities, identities_key_file, web) at line 2",
            ),
            (
                "openvpn:\n  - status: /a\n    management: localhost\n",
                "openvpn[0].management: \"localhost\" is neither a path, unix:PATH nor HOST:PORT at line 3",
            ),
            (
                "openvpn:\n  - management: /a\n    management_password_file:\n      /no/such/file\n",
                "openvpn[0].management_password_file: /no/such/file: not found at line 3",
            ),
            ("openvpn:\n  - name: a\n\n  - name: b\n", "openvpn[0]: missing field `status` or `management` at line 2"),
            (
                "openvpn:\n  - status: a\n\n  - name: b\n",
                "openvpn[1]: missing field `status` or `management` at line 4",
            ),
            (
                "metrics:\n  without: [sas,\n    sa]\n",
                "metrics.without[1]: \"sa\" is none of clients, tunnels, sas, pools, certificates, events, daemons at line 3",
            ),
        ] {
            assert_eq!(complaint(text), expected);
        }
    }

    #[test]
    fn keys_for_elsewhere_are_passed_over_at_the_top_and_nowhere_else() {
        assert!(parse("x-a: 1\nx-b: {c: [d]}\n").is_empty());
        assert!(complaint("web: {x-a: 1}").starts_with("web: unknown field `x-a`"));
        assert!(complaint("X-a: 1").starts_with("unknown field `X-a`"));
    }

    #[test]
    fn a_time_may_have_a_unit() {
        let config =
            parse("openvpn: [{status: /a, stale_after: 3m}]\nvici_socket: /x\nmetrics: {certificate_interval: 2h}\n");
        assert_eq!(config.sources.get::<OpenVpn>().expect("OpenVPN").clone().servers[0].stale_after, Some(180));
        assert_eq!(
            config.sources.get::<StrongSwan>().expect("strongSwan").clone().certificate_interval,
            Duration::from_secs(7200)
        );
    }

    #[test]
    fn clients_are_shown_unless_something_else_is_said() {
        let options = |text: &str| parse(text).options;
        assert_eq!((options("").identities, options("").most_series), (Identities::Plain, Some(MOST_SERIES)));
        assert_eq!(options("max_series: 0").most_series, None);
        assert_eq!(options("max_series: 7").most_series, Some(7));
        assert_eq!(options("identities: off").identities, Identities::Off);
        assert_eq!(options("identities: plain").identities, Identities::Plain);
        let locked = parse("identities: hashed\nidentities_key_file: /k\n");
        assert_eq!((locked.options.identities, locked.key_file), (Identities::Off, Some("/k".into())));
    }

    #[test]
    fn certificates_are_asked_for_as_seldom_as_was_said() {
        for (metrics, expected) in [("{}", 3600), ("{certificate_interval: 60}", 60), ("{certificate_interval: 0}", 0)]
        {
            let config = parse(&format!("vici_socket: /x\nmetrics: {metrics}\n"));
            assert_eq!(
                config.sources.get::<StrongSwan>().expect("strongSwan").clone().certificate_interval,
                Duration::from_secs(expected)
            );
        }
        assert!(complaint("metrics: {certificate_interval: -1}").contains("certificate_interval"));
    }

    #[test]
    fn flags_ask_for_ipsec_and_win() {
        let overrides = Overrides { ipsec_config: Some("/flag".into()), sudo: true, ..here() };
        let config = Config::parse("ipsec_config: /file\n", &overrides).expect("valid");
        let ipsec = config.sources.get::<Ipsec>().expect("ipsec").clone();
        assert_eq!(ipsec.config, PathBuf::from("/flag"));
        assert_eq!(ipsec.command, ["sudo", "ipsec", "statusall"]);
        assert!(Config::parse("", &overrides).expect("valid").sources.get::<Ipsec>().is_some());
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
        assert_eq!(
            config.sources.get::<StrongSwan>().unwrap().clone().socket,
            Address::Unix(root.join("var/run/charon.vici"))
        );
        let servers = config.sources.get::<OpenVpn>().unwrap().clone().servers;
        let found: Vec<_> = servers.into_iter().map(|server| server.status).collect();
        assert_eq!(found, ["var/run/openvpn*.status", "run/openvpn*/*status*"].map(|path| Some(root.join(path))));
    }
}
