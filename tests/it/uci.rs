//! OpenWrt's configuration means what the same keys mean in YAML, and decides which sources are watched on the machine.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::ipsec::Ipsec;
use gateway_exporter::openvpn::OpenVpn;
use gateway_exporter::sockets::Sockets;
use gateway_exporter::strongswan::StrongSwan;
use gateway_exporter::wireguard::WireGuard;

/// A folder of a test, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("gateway-exporter-{name}-{}", process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn overrides() -> Overrides {
    Overrides { hostname: "router".into(), ..Overrides::default() }
}

/// What a file means on a machine on which these files are.
fn on_machine(text: &str, root: &Path) -> Config {
    Config::parse_uci(text, &overrides()).unwrap_or_else(|error| panic!("{error}: {text}")).on_machine(root)
}

fn names(config: &Config) -> Vec<&'static str> {
    config.sources.iter().map(|settings| settings.source().name).collect()
}

#[test]
fn a_file_means_what_the_same_keys_mean_in_yaml() {
    let folder = Scratch::new("uci-yaml");
    let password = folder.path().join("pw");
    fs::write(&password, "secret\n").expect("a file");
    let password = password.display();
    let uci = on_machine(
        &format!(
            "config gateway-exporter 'main'
	option vici_socket 'tcp://127.0.0.1:4502'
	option ipsec_config '/etc/ipsec-two.conf'
	list ipsec_command 'ipsec'
	list ipsec_command \"two words: it's\"
	option ovpntcpstatus '/tmp/status/tcp.status'
	option server_name \"it's # a: \\\"name\\\"\"
	option web_listen_address '127.0.0.1:1'
	option web_sessions 'false'
	list web_allow '192.0.2.0/24'
	list web_allow '::1'
	list web_hosts 'router.lan'
	option web_compress never
	list metrics_without 'sas'
	option metrics_client user
	option metrics_max_clients '50'
	option max_series '20000'
	list wireguard_interfaces wg0
	option identities off
config openvpn 'office'
config openvpn
	option name 'home - [x]'
	option status '/mnt/a b/*.status'
	option protocol 'udp'
	option stale_after '60'
config openvpn 'branch'
	option management '/tmp/run/branch.sock'
	option management_password_file '{password}'
config peer 'laptop'
	option public_key 'hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo='
	option name 'laptop'
	option expected '1'
config socket 'dns'
	option port '53'
	option status 'listen'
config socket
	option name 'far side'
	option dstHost '198.51.100.7'
"
        ),
        folder.path(),
    );
    let yaml = Config::parse(
        &format!(
            "vici_socket: tcp://127.0.0.1:4502
ipsec_config: /etc/ipsec-two.conf
ipsec_command: [ipsec, \"two words: it's\"]
ovpntcpstatus: /tmp/status/tcp.status
openvpn:
  - status: /var/run/openvpn.office.status
  - {{name: \"home - [x]\", status: \"/mnt/a b/*.status\", protocol: udp, stale_after: 60}}
  - {{status: /var/run/openvpn.branch.status, management: /tmp/run/branch.sock, management_password_file: \"{password}\"}}
server_name: \"it's # a: \\\"name\\\"\"
max_series: 20000
identities: off
metrics: {{client: user, max_clients: 50, without: [sas]}}
web: {{listen: [\"127.0.0.1:1\"], sessions: false, allow: [192.0.2.0/24, \"::1\"], hosts: [router.lan], compress: never}}
wireguard:
  interfaces: [wg0]
  peers: [{{public_key: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=, name: laptop, expected: true}}]
sockets: [{{name: dns, port: 53, status: listen}}, {{name: far side, dstHost: 198.51.100.7}}]
"
        ),
        &overrides(),
    )
    .expect("valid");
    assert_eq!(uci.sources.get::<StrongSwan>(), yaml.sources.get::<StrongSwan>());
    assert_eq!(uci.sources.get::<Ipsec>(), yaml.sources.get::<Ipsec>());
    assert_eq!(uci.sources.get::<OpenVpn>(), yaml.sources.get::<OpenVpn>());
    assert_eq!(uci.sources.get::<WireGuard>(), yaml.sources.get::<WireGuard>());
    assert_eq!(uci.sources.get::<Sockets>(), yaml.sources.get::<Sockets>());
    assert_eq!(names(&uci), ["strongswan", "ipsec", "openvpn", "sockets", "wireguard"]);
    assert_eq!((&uci.gateway, &uci.web, uci.options.most_series), (&yaml.gateway, &yaml.web, yaml.options.most_series));
    assert_eq!(format!("{:?}", uci.options), format!("{:?}", yaml.options));
}

#[test]
fn a_source_is_watched_where_its_daemon_is_installed_unless_its_switch_says_otherwise() {
    const VICI: &str = "/usr/lib/ipsec/plugins/libstrongswan-vici.so";
    const IPSEC: &str = "/usr/sbin/ipsec";
    const OPENVPN: &str = "/usr/sbin/openvpn";
    const WIREGUARD: &str = "/sys/module/wireguard";
    for (number, (installed, options, expected)) in [
        (&[][..], "", &[][..]),
        (
            &[],
            "option strongswan 1\noption ipsec on\noption openvpn yes\noption wireguard true\n",
            &["strongswan", "ipsec", "openvpn", "wireguard"],
        ),
        (&[VICI, IPSEC, OPENVPN, WIREGUARD], "", &["strongswan", "openvpn", "wireguard"]),
        (&[IPSEC], "option strongswan auto\n", &["ipsec"]),
        (&[VICI, IPSEC, OPENVPN, WIREGUARD], "option openvpn 0\noption strongswan off\n", &["wireguard"]),
        (&[], "option vici_socket /run/vici\noption strongswan 0\n", &[]),
        (&[], "option vici_socket /run/vici\n", &["strongswan"]),
    ]
    .into_iter()
    .enumerate()
    {
        let root = Scratch::new(&format!("uci-installed-{number}"));
        for path in installed {
            let path = root.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let found = on_machine(&format!("config gateway-exporter\n{options}"), root.path());
        assert_eq!(names(&found), expected, "{installed:?} {options}");
    }
}

#[test]
fn the_shipped_configuration_is_valid_and_watches_nothing_by_itself() {
    let shipped = fs::read_to_string("openwrt/files/gateway-exporter.config").expect("the file");
    let root = Scratch::new("uci-shipped");
    assert!(on_machine(&shipped, root.path()).is_empty());
}

#[test]
fn what_a_process_needs_is_said() {
    let needs = |text: &str| {
        let config = Config::parse(text, &overrides()).expect(text);
        config.needs(std::iter::empty()).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        needs("vici_socket: /var/run/charon.vici\n"),
        ["capability CAP_DAC_OVERRIDE", "path /usr/lib", "path /var/run", "source strongswan",]
    );
    assert_eq!(
        needs("vici_socket: tcp://127.0.0.1:4502\nidentities: hashed\nidentities_key_file: /etc/key\n"),
        ["capability CAP_DAC_OVERRIDE", "file /etc/key", "key /etc/key", "path /usr/lib", "source strongswan",]
    );
    assert_eq!(
        needs("openvpn: [{status: /srv/*/a.status}, {status: /x.status}]\n"),
        ["capability CAP_DAC_OVERRIDE", "path /srv", "path /usr/sbin/openvpn", "source openvpn",]
    );
    assert_eq!(
        needs("sockets: [{name: a, process: b}]\n"),
        [
            "capability CAP_DAC_READ_SEARCH",
            "capability CAP_SYS_PTRACE",
            "path /etc/hosts",
            "path /etc/resolv.conf",
            "path /tmp/resolv.conf",
            "processes",
            "source sockets",
        ]
    );
    assert!(needs("ipsec_config: /etc/ipsec.conf\n").contains(&"programs".to_owned()));
    assert!(needs("wireguard: {interfaces: [wg0]}\n").contains(&"capability CAP_NET_ADMIN".to_owned()));
}
