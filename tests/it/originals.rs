//! The samples in the originals' documents come out of us too, to the letter.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::kind::Dialect;
use gateway_exporter::openvpn::{OpenVpn, Protocol, Server, Settings};
use gateway_exporter::strongswan::configured::{Configured, ScrapeTime};
use gateway_exporter::strongswan::metrics::{Count, Listing};
use gateway_exporter::strongswan::sa::{Identity, IkeSa};
use gateway_exporter::strongswan::totals::SaTotals;
use gateway_exporter::strongswan::vici::{Packet, parse};
use gateway_exporter::strongswan::{metrics, sessions};

use crate::fixture::{NOW, case, text};
use crate::{ipsec, sockets};

fn original(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/originals").join(file)
}

/// Every line of a sample must come out, in whatever order; a gauge that the sample calls a counter is mended.
fn assert_lines(found: &str, sample: &[&str]) {
    for line in sample {
        assert!(found.lines().any(|found| found == *line), "{line}\nis not in\n{found}");
    }
}

/// The events of the strongSwan sample, handed to `each`.
fn strongswan(mut each: impl FnMut(IkeSa<'_>)) {
    let capture = std::fs::read(original("strongswan/list-sas.vici")).unwrap();
    let mut rest = &capture[..];
    while let Some(length) = rest.first_chunk::<4>() {
        let end = 4 + u32::from_be_bytes(*length) as usize;
        if let Packet::Event(_, message) = parse(&rest[4..end]).unwrap() {
            each(IkeSa::parse(message).unwrap());
        }
        rest = &rest[end..];
    }
}

fn openvpn(files: &[(&str, Protocol)]) -> OpenVpn {
    let server = |(file, protocol): &(&str, Protocol)| Server {
        status: Some(original(file)),
        protocol: Some(*protocol),
        stale_after: Some(i64::MAX),
        ..Server::default()
    };
    OpenVpn::new(Settings {
        servers: files.iter().map(server).collect(),
        gateway: "vpn-server-01".into(),
        most_clients: 10,
    })
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(5))
}

#[test]
fn the_strongswan_exporters_metrics_sample() {
    let mut out = Exposition::default();
    let (mut listing, mut configured) = (Listing::default(), Configured::default());
    let mut totals = SaTotals::new(Identity::Remote, 10);
    metrics::expose_version("charon".into(), "6.0.3".into(), &mut out);
    let now = ScrapeTime { unix: NOW, instant: Instant::now() };
    strongswan(|ike| listing.record(&ike, now, &mut configured, &mut totals));
    metrics::expose_count(&Count { total: 3, sessions: listing.up, busy: None }, &mut out);
    metrics::expose_totals(&totals, &mut out);
    assert_lines(
        &text(out),
        &[
            "# HELP probe_success StrongSwan Status",
            "# TYPE probe_success gauge",
            r#"probe_success{version="6.0.3"} 1"#,
            "# HELP strongswan_info Software info",
            r#"strongswan_info{product="charon",version="6.0.3"} 1"#,
            "# HELP strongswan_sessions_total Total number of active sessions",
            "# TYPE strongswan_sessions_total gauge",
            // The sample says 3 and counts one that is CONNECTING, see `a_half_open_ike_sa_is_no_session`.
            "strongswan_sessions_total 2",
            "# HELP strongswan_bytes_in_total Total number of bytes received",
            "# TYPE strongswan_bytes_in_total counter",
            r#"strongswan_bytes_in_total{client="user1@domain.com"} 1234567"#,
            r#"strongswan_bytes_in_total{client="user2@domain.com"} 9876543"#,
            "# HELP strongswan_bytes_out_total Total number of bytes sent",
            "# TYPE strongswan_bytes_out_total counter",
            r#"strongswan_bytes_out_total{client="user1@domain.com"} 7654321"#,
            r#"strongswan_bytes_out_total{client="user2@domain.com"} 3456789"#,
        ],
    );
}

#[test]
fn the_strongswan_exporters_json_sample() {
    let mut rows = Vec::new();
    strongswan(|ike| {
        let moment = match ike.established.map(|age| NOW - age as i64) {
            Some(1_705_314_645) => "2024-01-15 10:30:45",
            Some(1_705_317_322) => "2024-01-15 11:15:22",
            _ => "",
        };
        sessions::list(&ike, moment, "strongswan-server", &mut rows);
    });
    let expected = concat!(
        r#"[{"server":"strongswan-server","protocol":"ikev2","uniqueid":"con1[1]","state":"ESTABLISHED","#,
        r#""remotehost":"203.0.113.45","remoteport":"4500","remoteid":"user1@domain.com","remotets":"10.10.1.2/32","#,
        r#""localts":"0.0.0.0/0","established":"2024-01-15 10:30:45","bytesin":"1234567","bytesout":"7654321","#,
        r#""packetsin":"8901","packetsout":"12345"},"#,
        r#"{"server":"strongswan-server","protocol":"ikev2","uniqueid":"con2[2]","state":"ESTABLISHED","#,
        r#""remotehost":"203.0.113.89","remoteport":"4500","remoteid":"user2@domain.com","remotets":"10.10.1.3/32","#,
        r#""localts":"0.0.0.0/0","established":"2024-01-15 11:15:22","bytesin":"9876543","bytesout":"3456789","#,
        r#""packetsin":"15678","packetsout":"23456"}]"#
    );
    assert_eq!(String::from_utf8(crate::fixture::json(&rows)).unwrap(), expected);
}

#[test]
fn the_openvpn_exporters_metrics_samples() {
    let mut report = Report::default();
    openvpn(&[("openvpn/one-client", Protocol::Tcp)]).collect(soon(), &mut report);
    assert_lines(
        &text(report.exposition),
        &[
            "# HELP ovpn_bytes_in_total Total number of bytes received",
            "# TYPE ovpn_bytes_in_total counter",
            r#"ovpn_bytes_in_total{client="bookworm.openvpn.com_tcp"} 3317"#,
            "# HELP ovpn_bytes_out_total Total number of bytes sent",
            "# TYPE ovpn_bytes_out_total counter",
            r#"ovpn_bytes_out_total{client="bookworm.openvpn.com_tcp"} 3616"#,
            "# HELP ovpn_info Software info",
            r#"ovpn_info{product="OpenVPN",version="2.6.15"} 1"#,
            "# HELP ovpn_sessions_total Total number of active sessions",
            "# TYPE ovpn_sessions_total gauge",
            "ovpn_sessions_total 1",
            "# HELP probe_success OpenVPN Status",
            "# TYPE probe_success gauge",
            r#"probe_success{version="2.6.15"} 1"#,
        ],
    );
    let mut report = Report::default();
    openvpn(&[("openvpn/tcp", Protocol::Tcp), ("openvpn/udp", Protocol::Udp)]).collect(soon(), &mut report);
    assert_lines(
        &text(report.exposition),
        &[
            r#"ovpn_bytes_in_total{client="user1_tcp"} 1234567"#,
            r#"ovpn_bytes_in_total{client="user2_udp"} 9876543"#,
            r#"ovpn_bytes_out_total{client="user1_tcp"} 7654321"#,
            r#"ovpn_bytes_out_total{client="user2_udp"} 3456789"#,
        ],
    );
}

#[test]
fn the_openvpn_exporters_json_sample() {
    let mut report = Report::default();
    openvpn(&[("openvpn/tcp", Protocol::Tcp), ("openvpn/udp", Protocol::Udp)]).sessions(soon(), &mut report);
    let expected = concat!(
        r#"[{"server":"vpn-server-01","protocol":"tcp","p1uniqueid":"1234567890","p2uniqueid":"123","#,
        r#""state":"ESTABLISHED","remotehost":"203.0.113.45","remoteport":"54321","remoteid":"user1","#,
        r#""remotets":"10.8.0.6","established":"2024-01-15 10:30:45","bytesin":"1234567","bytesout":"7654321","#,
        r#""packetsin":"0","packetsout":"0"},"#,
        r#"{"server":"vpn-server-01","protocol":"udp","p1uniqueid":"9876543210","p2uniqueid":"456","#,
        r#""state":"ESTABLISHED","remotehost":"203.0.113.89","remoteport":"12345","remoteid":"user2","#,
        r#""remotets":"10.8.0.10","established":"2024-01-15 11:15:22","bytesin":"9876543","bytesout":"3456789","#,
        r#""packetsin":"0","packetsout":"0"}]"#
    );
    assert_eq!(String::from_utf8(crate::fixture::json(&report.sessions.iter().collect::<Vec<_>>())).unwrap(), expected);
}

#[test]
fn the_connection_watch_exporters_metrics_sample() {
    assert_lines(
        &text(sockets::exposed_case(&case("sockets", "readme-sample"))),
        &[
            "# HELP connection_status_count number of socket with same parameter.",
            "# TYPE connection_status_count gauge",
            r#"connection_status_count{dsthost="*",dstport="*",name="hostname-grafana",process="*",protocol="tcp6",srchost="::",srcport="3000",status="listen"} 1"#,
            r#"connection_status_count{dsthost="127.0.0.1",dstport="22",name="ssh-from-localhost",process="*",protocol="tcp",srchost="127.0.0.1",srcport="*",status="established"} 0"#,
            "# HELP connection_status_up Connection status of the socket (0 down - 1 up).",
            "# TYPE connection_status_up gauge",
            r#"connection_status_up{dsthost="*",dstport="*",name="hostname-grafana",process="*",protocol="tcp6",srchost="::",srcport="3000",status="listen"} 1"#,
            r#"connection_status_up{dsthost="127.0.0.1",dstport="22",name="ssh-from-localhost",process="*",protocol="tcp",srchost="127.0.0.1",srcport="*",status="established"} 0"#,
        ],
    );
}

#[test]
fn the_ipsec_exporters_values() {
    for (name, line) in [
        ("site-to-site", "ipsec_tunnel_status{tunnel=\"branch-a\"} 0"),
        ("half-up", "ipsec_tunnel_status{tunnel=\"agreed\"} 1"),
        ("nothing-up", "ipsec_tunnel_status{tunnel=\"branch-a\"} 2"),
        ("ignored", "ipsec_tunnel_status{tunnel=\"depot\"} 4"),
    ] {
        assert_lines(&text(ipsec::exposed_case(&case("ipsec", name))), &[line]);
    }
    // 3, the unknown state, is what is left when the command says nothing that can be read.
    let tunnels =
        gateway_exporter::ipsec::read(&case("ipsec", "site-to-site").path("ipsec.conf"), Dialect::StrongSwan, soon())
            .unwrap()
            .tunnels;
    let mut out = Exposition::default();
    gateway_exporter::ipsec::metrics::expose(&tunnels, None, &mut out);
    assert_lines(&text(out), &["ipsec_tunnel_status{tunnel=\"branch-a\"} 3"]);
}

/// The daemon in place of an original, until it goes out of scope.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The status and the body of a path.
fn ask(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// What a program listens on now.
fn is_taken(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Starts it by the words of a command in docs/migrating.md, of which the paths below / are put below `root`, and asks every path of
/// the original's README on the original's port: each must answer, and the metrics must have this line.
fn takes_the_place(command: &str, port: u16, files: &[(&str, String)], paths: &[&str], line: &str) {
    let page = fs::read_to_string("docs/migrating.md").unwrap();
    assert!(page.contains(&format!("| `{command}` |")), "{command} is not in docs/migrating.md");
    assert!(!is_taken(port), "another program listens on port {port} of this machine: this test needs it");
    let root = env::temp_dir().join(format!("gateway-exporter-original-{port}-{}", process::id()));
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    for (path, content) in files {
        fs::create_dir_all(below(path).parent().unwrap()).unwrap();
        fs::write(below(path), content).unwrap();
    }
    let words = command.split(' ').skip(1).map(|word| match word.split_once("=/") {
        Some((flag, path)) => format!("{flag}={}", below(path).display()),
        None => word.replace("=:", "=127.0.0.1:"),
    });
    let mut words: Vec<_> = words.collect();
    if words.iter().all(|word| !word.starts_with("--web.listen-address")) {
        words.push("--web.listen-address=127.0.0.1:9234".into());
    }
    let sudo = below("/bin");
    let daemon = Command::new(env!("CARGO_BIN_EXE_gateway-exporter"))
        .args(words)
        .current_dir(&root)
        .env("PATH", format!("{}:{}", sudo.display(), env::var("PATH").unwrap()))
        .stderr(Stdio::null())
        .spawn();
    let daemon = Started(daemon.unwrap());
    let end = Instant::now() + Duration::from_secs(120);
    while !is_taken(port) {
        assert!(Instant::now() < end, "{command} does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    for path in paths {
        let (status, body) = ask(port, path).unwrap();
        assert_eq!(status, 200, "{command}: {path}: {body}");
        if *path == "/metrics" {
            assert!(body.lines().any(|found| found == line), "{command}: {line}\nis not in\n{body}");
        }
    }
    drop(daemon);
    fs::remove_dir_all(root).unwrap();
}

fn executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// One after the other: two of the originals have the same port.
#[test]
fn each_original_is_replaced_by_the_command_that_is_documented() {
    const ALL: [&str; 6] = ["/", "/metrics", "/prom", "/sessions", "/sessions_local", "/static"];
    takes_the_place(
        "gateway-exporter --config.file=/etc/strongswan-exporter/exporter.yaml",
        9234,
        &[("/etc/strongswan-exporter/exporter.yaml", "vici_socket: \"/var/run/no.such.charon\"\n".into())],
        &ALL,
        "probe_success{version=\"\"} 0",
    );
    let status = original("openvpn/tcp");
    takes_the_place(
        "gateway-exporter --config.file=/etc/openvpn-exporter/exporter.yaml",
        9234,
        &[("/etc/openvpn-exporter/exporter.yaml", format!("ovpntcpstatus: \"{}\"\n", status.display()))],
        &ALL,
        "ovpn_bytes_in_total{client=\"user1_tcp\"} 1234567",
    );
    takes_the_place(
        "gateway-exporter --web.listen-address=:9814",
        9814,
        &[("/exporter.yaml", "vici_socket: /var/run/no.such.charon\n".into())],
        &["/metrics"],
        "probe_success{version=\"\"} 0",
    );
    let folder = env::temp_dir().join(format!("gateway-exporter-original-9536-{}/bin", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let case = case("ipsec", "site-to-site");
    for (name, script) in [
        ("sudo", "#!/bin/sh\nexec \"$@\"\n".to_owned()),
        ("ipsec", format!("#!/bin/sh\n[ \"$1\" = statusall ] && cat '{}'\n", case.path("statusall").display())),
    ] {
        fs::write(folder.join(name), script).unwrap();
        executable(&folder.join(name));
    }
    takes_the_place(
        "gateway-exporter --config-path=/etc/ipsec.conf --enable.sudo --web.listen-address=:9536",
        9536,
        &[("/etc/ipsec.conf", case.text("ipsec.conf"))],
        &["/metrics"],
        "ipsec_tunnel_status{tunnel=\"branch-a\"} 0",
    );
    takes_the_place(
        "gateway-exporter --config-file=config/user_config.yml --web.listen-address=:9293",
        9293,
        &[("/config/user_config.yml", "sockets:\n  - name: itself\n    port: 9293\n    status: listen\n".into())],
        &["/metrics"],
        "connection_status_up{dsthost=\"*\",dstport=\"*\",name=\"itself\",process=\"*\",protocol=\"tcp\",srchost=\"*\",\
         srcport=\"9293\",status=\"listen\"} 1",
    );
}
