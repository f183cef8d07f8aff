//! The overview: what is watched through the sources, and since when it is not well.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway_exporter::advice::Severity;
use gateway_exporter::app::App;
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::exposition;
use gateway_exporter::sources;
use serde_json::{Value, json};

const CONF: &str = "conn home\n left=192.0.2.1\n right=192.0.2.2\n auto=start\nconn spare\n left=192.0.2.1\n right=192.0.2.3\n auto=start\n";
const HEAD: &str = "Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):\n";
const UP: &str = "Security Associations (1 up, 0 connecting):\n        home[1]: ESTABLISHED 5 minutes ago, \
                  192.0.2.1[a]...192.0.2.2[b]\n        home{1}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: c1_i c2_o\n        \
                  home{1}:  AES_CBC_128/HMAC_SHA2_256_128, 4096 bytes_i, 512 bytes_o, rekeying in 40 minutes\n        \
                  home{1}:   10.0.0.0/24 === 10.1.0.0/24\n";
const DOWN: &str = "Security Associations (0 up, 0 connecting):\n  none\n";

/// A gateway whose `ipsec statusall` is a file.
struct Gateway(PathBuf);

impl Gateway {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gateway-exporter-status-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("ipsec.conf"), CONF).unwrap();
        Self(folder)
    }

    fn prints(&self, status: &str) {
        fs::write(self.0.join("status"), format!("{HEAD}{status}")).unwrap();
    }

    fn app(&self) -> App {
        let folder = self.0.display();
        app(&format!("server_name: gw\nipsec_config: {folder}/ipsec.conf\nipsec_command: [cat, {folder}/status]\n"))
    }
}

fn app(config: &str) -> App {
    App::new(Config::parse(config, &Overrides::default()).unwrap(), None, "/metrics".into())
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn status(app: &App) -> Value {
    let value: Value = serde_json::from_slice(&app.look(true).unwrap().0).unwrap();
    let schema = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status.schema.json")).unwrap();
    assert_fits(&value, &serde_json::from_str(&schema).unwrap());
    value
}

/// Fails if a value is not what a schema says; of JSON Schema it knows what docs/status.schema.json uses.
fn assert_fits(value: &Value, schema: &Value) {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let list = || wanted.as_array().unwrap().iter();
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                other => panic!("a type that the test does not know: {other}"),
            },
            "enum" => list().any(|known| known == value),
            "const" => wanted == value,
            "required" => list().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "additionalProperties" => {
                value.as_object().unwrap().keys().all(|key| schema["properties"].get(key).is_some())
            }
            "properties" => {
                let parts = wanted.as_object().unwrap().iter();
                parts.filter_map(|(key, part)| Some((value.get(key)?, part))).for_each(|(value, part)| {
                    assert_fits(value, part);
                });
                true
            }
            "items" => {
                value.as_array().unwrap().iter().for_each(|entry| assert_fits(entry, wanted));
                true
            }
            other => panic!("a keyword that the test does not know: {other}"),
        };
        assert!(fits, "{keyword}: {wanted} does not hold for {value}");
    }
}

fn finding<'v>(status: &'v Value, subject: &str) -> Option<&'v Value> {
    status["findings"].as_array().unwrap().iter().find(|finding| finding["subject"] == subject)
}

#[test]
fn a_tunnel_that_goes_down_is_down_since_then() {
    let gateway = Gateway::new("goes-down");
    gateway.prints(UP);
    let app = gateway.app();
    let before = status(&app);
    // Where the kernel has statistics of IPsec, they are watched, too.
    let all = 4 + usize::from(Path::new("/proc/net/xfrm_stat").exists());
    assert_eq!(
        (&before["state"], &before["summary"]),
        (&"down".into(), &format!("1 of {all} down").into()),
        "{before}"
    );
    let home = finding(&before, "tunnel home").unwrap();
    assert_eq!((&home["state"], home.get("since"), home.get("fix")), (&"ok".into(), None, None));
    let spare = finding(&before, "tunnel spare").unwrap();
    assert_eq!(spare["since_at_least"], true, "it was down when it was looked at first");
    assert_eq!(spare["fix"], "ipsec up spare says what the peer answers");
    assert_eq!((&home["bytes_in"], &home["bytes_out"]), (&4096.into(), &512.into()));
    assert_eq!(before["counts"], json!([{"kind": "tunnel", "ok": 1, "waiting": 0, "check": 0, "down": 1}]));
    assert_eq!(before["findings"][0], *spare, "what is down stands first");

    gateway.prints(DOWN);
    let down = status(&app);
    let home = finding(&down, "tunnel home").unwrap();
    assert_eq!((&home["state"], &home["message"], home.get("since_at_least")), (&"down".into(), &"down".into(), None));
    assert_eq!(finding(&down, "tunnel spare").unwrap()["since"], spare["since"]);

    // While the status can't be read nothing is known of the tunnels; since when they are down stays known.
    thread::sleep(Duration::from_millis(1100));
    fs::remove_file(gateway.0.join("status")).unwrap();
    let unread = status(&app);
    assert_eq!(finding(&unread, "tunnel home"), None, "{unread}");
    gateway.prints(DOWN);
    assert_eq!(finding(&status(&app), "tunnel home").unwrap()["since"], home["since"]);

    gateway.prints(UP);
    assert_eq!(finding(&status(&app), "tunnel home").unwrap()["state"], "ok");
    gateway.prints(DOWN);
    assert!(finding(&status(&app), "tunnel home").unwrap()["since"].as_i64() > home["since"].as_i64());
}

#[test]
fn a_server_that_is_down_is_counted_and_its_file_says_why() {
    let folder = Gateway::new("servers");
    let path = folder.0.join("office.status");
    let row = "CLIENT_LIST,ann,192.0.2.7:1194,10.8.0.2,,1,2,2026-11-29 07:00:00,1795935600,,0,0,none\n";
    let header = "HEADER,CLIENT_LIST,Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,\
                  Connected Since,Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher\n";
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    fs::write(&path, format!("TITLE,OpenVPN 2.6.14 x\nTIME,x,{now}\n{header}{row}END\n")).unwrap();
    let gone = folder.0.join("gone.status");
    let (path, gone) = (path.display(), gone.display());
    let app = app(&format!("openvpn:\n  - {{name: office, status: {path}}}\n  - {{name: lab, status: {gone}}}\n"));
    let status = status(&app);
    assert_eq!(status["counts"], json!([{"kind": "server", "ok": 1, "waiting": 0, "check": 0, "down": 1}]));
    assert_eq!(finding(&status, "server office").unwrap()["message"], "up, 1 session");
    assert_eq!(finding(&status, "server lab"), None, "{status}");
    assert_eq!(finding(&status, &gone.to_string()).unwrap()["state"], "down");
    let text = String::from_utf8(app.look(false).unwrap().0).unwrap();
    assert!(text.contains("\n\nservers: 1 ok, 1 down\n1 of "), "{text}");
}

#[test]
fn a_target_that_stays_down_changes_no_time() {
    let app = app("sockets:\n  - {name: nobody, port: 9, protocol: tcp, status: listen}\n  \
                   - {name: lost, port: 9, protocol: tcp, status: established, dstHost: no-such-host.invalid}\n");
    let first = status(&app);
    let since = finding(&first, "connection nobody").unwrap()["since"].as_i64();
    assert!(since.is_some(), "{first}");
    thread::sleep(Duration::from_millis(1100));
    for _ in 0..3 {
        let again = status(&app);
        let targets = again["findings"].as_array().unwrap().iter();
        assert!(targets.filter(|finding| finding["state"] == "down").count() > 1, "{again}");
        assert_eq!(finding(&again, "connection nobody").unwrap()["since"].as_i64(), since, "{again}");
    }
}

#[test]
fn a_tunnel_that_waits_for_traffic_is_well_also_while_its_ike_sa_stays() {
    let gateway = Gateway::new("waits");
    fs::write(gateway.0.join("ipsec.conf"), CONF.replace("auto=start", "auto=route")).unwrap();
    let routed = "Routed Connections:\n        home{1}:  ROUTED, TUNNEL, reqid 1\n        home{1}:   10.0.0.0/24 === 10.1.0.0/24\n";
    let ike_sa = UP.lines().take(2).collect::<Vec<_>>().join("\n") + "\n";
    for status_text in [format!("{routed}{DOWN}"), format!("{routed}{ike_sa}")] {
        gateway.prints(&status_text);
        let status = status(&gateway.app());
        let home = finding(&status, "tunnel home").unwrap();
        assert_eq!((&home["state"], &home["message"]), (&"ok".into(), &"waits for traffic".into()), "{status_text}");
        assert_eq!(finding(&status, "tunnel spare").unwrap()["state"], "down", "no policy waits for its traffic");
    }
}

#[test]
fn a_pair_of_networks_that_is_missing_is_said_unless_it_waits_for_traffic() {
    let gateway = Gateway::new("pairs");
    gateway.prints(UP);
    for (auto, expected) in [("start", Some("1 of 2 pairs are up")), ("route", None)] {
        let networks = format!("auto={auto}\n rightsubnet=10.1.0.0/24,10.2.0.0/24");
        fs::write(gateway.0.join("ipsec.conf"), CONF.replace("auto=start", &networks)).unwrap();
        let status = status(&gateway.app());
        let pairs = finding(&status, "networks of tunnel home");
        assert_eq!(pairs.and_then(|pairs| pairs["message"].as_str()), expected, "{status}");
    }
}

#[test]
fn bytes_of_users_are_those_of_their_tunnel_and_nobody_being_there_is_no_fault() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ipsec/eap-users");
    let app = app(&format!("ipsec_config: {folder}/ipsec.conf\nipsec_command: [cat, {folder}/statusall]\n"));
    let metrics = fs::read_to_string(format!("{folder}/expected.prom")).unwrap();
    let of_tunnel = metrics.lines().find_map(|line| line.strip_prefix("ipsec_in_bytes{tunnel=\"users\"} ")).unwrap();
    let found = status(&app);
    assert_eq!(finding(&found, "tunnel users").unwrap()["bytes_in"].to_string(), of_tunnel, "{found}");

    let gateway = Gateway::new("anybody");
    fs::write(gateway.0.join("ipsec.conf"), CONF.replace("right=192.0.2.2", "right=%any")).unwrap();
    gateway.prints(&(UP.lines().take(2).collect::<Vec<_>>().join("\n") + "\n"));
    assert_ne!(finding(&status(&gateway.app()), "tunnel home").map(|home| home["state"].clone()), Some("down".into()));
}

#[test]
fn the_text_says_the_same_for_people() {
    let gateway = Gateway::new("text");
    gateway.prints(DOWN);
    let (text, severity) = gateway.app().look(false).unwrap();
    assert_eq!(severity, Severity::Error);
    let text = String::from_utf8(text).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("down   ipsec       tunnel home: down, since at least 2"), "{text}");
    assert_eq!(lines.next(), Some("       to do: ipsec up home says what the peer answers"));
    assert!(text.lines().last().unwrap().starts_with("2 of "), "{text}");
}

#[test]
fn what_is_watched_is_in_the_catalogue() {
    let mut count = 0;
    for source in sources::ALL {
        let families: Vec<_> = source.tables.iter().flat_map(|table| exposition::list(*table)).collect();
        for watched in source.watched {
            count += 1;
            let family = families.iter().find(|family| family.name == watched.family).expect(watched.family);
            let names = watched.labels.iter().chain(watched.only.as_ref().map(|(name, _)| name));
            names.for_each(|name| assert!(family.labels.contains(name), "{}: {name}", watched.family));
            if let Some(beside) = watched.beside {
                assert!(families.iter().any(|family| family.name == beside), "{beside}");
            }
        }
    }
    assert!(count >= 8, "{count}");
}
