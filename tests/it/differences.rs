//! One test for each row of docs/differences.md, named as the row names it.

use std::path::Path;
use std::time::{Duration, Instant};

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::{self, Ipsec};
use gateway_exporter::netlink::ByteOrder;
use gateway_exporter::openvpn::Protocol;
use gateway_exporter::openvpn::metrics::{Asked, Reading};
use gateway_exporter::sockets::matcher::Matcher;
use gateway_exporter::sockets::metrics as socket_metrics;
use gateway_exporter::sockets::procnet::Lines;
use gateway_exporter::sockets::rule::{Names, Rule, Spec};
use gateway_exporter::sockets::tables::Table;
use gateway_exporter::strongswan::configured::{Configured, ScrapeTime};
use gateway_exporter::strongswan::metrics::Listing;
use gateway_exporter::strongswan::sa::{Connection, Identity, IkeSa};
use gateway_exporter::strongswan::totals::SaTotals;
use gateway_exporter::strongswan::vici::{Element, Packet, encode, parse};
use gateway_exporter::strongswan::{Settings, StrongSwan, metrics};
use gateway_exporter::sys::socket::Address;

use crate::fixture::{self, samples, text};

/// What comes of an IKE_SA with one CHILD_SA that has these keys.
fn child(keys: &[(&str, &str)]) -> String {
    samples(listed("ESTABLISHED", keys).out)
}

/// A list of one IKE_SA in that state with one CHILD_SA that has these keys.
fn listed(state: &str, keys: &[(&str, &str)]) -> Listing {
    let mut segment = vec![1];
    let mut put = |element| encode(element, &mut segment);
    put(Element::Section("conn".into()));
    put(Element::Pair("uniqueid".into(), "1".into()));
    put(Element::Pair("state".into(), state.into()));
    put(Element::Pair("initiator".into(), "yes".into()));
    put(Element::Pair("remote-id".into(), "peer".into()));
    put(Element::Section("child-sas".into()));
    put(Element::Section("net-1".into()));
    for (key, value) in [("name", "net"), ("uniqueid", "1")].iter().chain(keys) {
        put(Element::Pair((*key).into(), (*value).into()));
    }
    (0..3).for_each(|_| put(Element::SectionEnd));
    let Ok(Packet::Response(message)) = parse(&segment) else { panic!("a message") };
    let ike = IkeSa::parse(message).unwrap();
    let (mut listing, mut configured) = (Listing::default(), Configured::default());
    let now = ScrapeTime { unix: 0, instant: Instant::now() };
    listing.record(&ike, now, &mut configured, &mut SaTotals::new(Identity::Remote, 10));
    listing
}

/// What comes of an OpenVPN status file, version 3, with these client rows.
fn openvpn(rows: &[&str]) -> String {
    let file = status(rows);
    samples(crate::openvpn::exposed(&[reading(&file)]))
}

fn reading(file: &str) -> Reading<'_> {
    let (path, file) = (Path::new("/run/office.status"), Some(file.as_bytes()));
    let protocol = Protocol::Udp;
    Reading {
        server: "office",
        path,
        modified: None,
        is_gone: false,
        file,
        lines: None,
        protocol,
        torn: false,
        stale_after: None,
        asked: Asked::No,
    }
}

fn status(rows: &[&str]) -> String {
    let header = "TITLE\tOpenVPN 2.6.14 x\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\tBytes Received\tBytes Sent\tUsername\n";
    let rows: Vec<String> = rows.iter().map(|row| format!("CLIENT_LIST\t{}\n", row.replace(' ', "\t"))).collect();
    format!("{header}{}END\n", rows.concat())
}

/// What one rule sees in one table row.
fn socket(spec: Spec, table: Table, row: &str) -> String {
    let rules = [Rule::new(&Spec { name: Some("r".into()), ..spec }).unwrap()];
    let names = Names::new();
    let mut matcher = Matcher::new(&rules, &names);
    let row = format!(
        "  sl  local_address rem_address   st\n   0: {row} 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    );
    matcher.count(table, row.as_bytes(), ByteOrder::Little, &mut Lines::default());
    for other in Table::ALL.into_iter().filter(|other| *other != table) {
        matcher.mark_unknown(|rule| rule.requires(other));
    }
    let mut out = Exposition::default();
    matcher.counts().for_each(|finding| socket_metrics::expose(finding, &mut out));
    samples(out)
}

#[test]
fn info_is_a_gauge() {
    let mut out = Exposition::default();
    metrics::expose_version("charon".into(), "6.0.3".into(), &mut out);
    assert!(text(out).contains("# TYPE strongswan_info gauge\n"));
    let file = status(&[]);
    assert!(text(crate::openvpn::exposed(&[reading(&file)])).contains("# TYPE ovpn_info gauge\n"));
}

#[test]
fn the_configured_vici_socket_is_asked() {
    let socket = Address::Unix("/no/such/charon.vici".into());
    let mut report = Report::default();
    StrongSwan::new(Settings {
        socket,
        gateway: "gateway".into(),
        identity: Identity::Remote,
        certificate_interval: Duration::ZERO,
        most_clients: 100,
    })
    .collect(Deadline::within(Duration::from_secs(1)), &mut report);
    let (target, result) = &report.targets[0];
    assert_eq!(target, "/no/such/charon.vici");
    assert_eq!(result.as_ref().unwrap_err().to_string(), "/no/such/charon.vici: not found");
}

#[test]
fn a_child_sa_that_carries_traffic_is_1() {
    for (state, up) in
        [("INSTALLED", 1), ("UPDATING", 1), ("REKEYING", 1), ("REKEYED", 0), ("DELETING", 0), ("ROUTED", 0)]
    {
        let text = child(&[("state", state)]);
        let line = text.lines().find(|line| line.starts_with("strongswan_sa_state{")).expect(state);
        assert!(line.ends_with(&format!(" {up}")), "{state}: {line}");
    }
}

#[test]
fn a_half_open_ike_sa_is_no_session() {
    for (state, sessions) in [
        ("CREATED", 0),
        ("CONNECTING", 0),
        ("ESTABLISHED", 1),
        ("PASSIVE", 0),
        ("REKEYING", 1),
        ("REKEYED", 0),
        ("DELETING", 0),
        ("DESTROYING", 0),
    ] {
        assert_eq!(listed(state, &[]).up, sessions, "{state}");
    }
}

#[test]
fn packets_are_counted_from_packets() {
    let text = child(&[("bytes-in", "1000"), ("bytes-out", "2000"), ("packets-in", "3"), ("packets-out", "4")]);
    for (family, value) in
        [("packets_inbound", 3), ("packets_outbound", 4), ("bytes_inbound", 1000), ("bytes_outbound", 2000)]
    {
        let line = text.lines().find(|line| line.starts_with(&format!("strongswan_sa_{family}{{"))).expect(family);
        assert!(line.ends_with(&format!(" {value}")), "{line}");
    }
}

#[test]
fn known_connections_are_counted() {
    let mut configured = Configured::default();
    for _ in 0..2 {
        configured.register(&Connection::default()).unwrap();
    }
    let mut out = Exposition::default();
    metrics::expose_configured(&configured, &mut out);
    assert_eq!(samples(out), "strongswan_number_of_known_ikes 2\n");
}

#[test]
fn what_charon_does_not_send_has_no_sample() {
    let text = child(&[("state", "INSTALLED")]);
    for family in ["last_inbound_seconds", "bytes_inbound", "rekey_second", "lifetime_second", "keysize"] {
        assert!(!text.contains(family), "{family}: {text}");
    }
    assert!(child(&[("use-in", "0")]).contains("last_inbound_seconds"), "0 that was sent is 0");
}

#[test]
fn no_client_is_not_down() {
    let text = openvpn(&[]);
    assert!(
        text.contains("probe_success{version=\"2.6.14\"} 1\n") && text.contains("ovpn_sessions_total 0\n"),
        "{text}"
    );
}

#[test]
fn a_client_that_has_not_authenticated_is_no_session() {
    let rows = ["UNDEF 192.0.2.1:5 22 0 UNDEF", "ann 192.0.2.2:5 7 8 UNDEF"];
    let text = openvpn(&rows);
    assert!(text.contains("ovpn_sessions_total 1\n") && !text.contains("UNDEF"), "{text}");
    let file = status(&rows);
    let listed = crate::openvpn::listed(&reading(&file), crate::openvpn::now());
    let states: Vec<_> = listed.iter().map(|session| session.state.as_str()).collect();
    assert_eq!(states, ["CONNECTING", "ESTABLISHED"]);
}

#[test]
fn one_name_twice_is_one_series() {
    let text = openvpn(&["ann 192.0.2.1:5 1 2 UNDEF", "ann 192.0.2.2:5 30 40 UNDEF"]);
    assert!(text.contains("ovpn_bytes_in_total{client=\"ann_udp\"} 31\n"), "{text}");
    assert!(text.contains("ovpn_bytes_out_total{client=\"ann_udp\"} 42\n"), "{text}");
}

#[test]
fn names_are_escaped() {
    let text = openvpn(&["a\"b\\c 192.0.2.1:5 1 2 UNDEF"]);
    assert!(text.contains("{client=\"a\\\"b\\\\c_udp\"} 1\n"), "{text}");
}

#[test]
fn an_unset_side_of_a_connection_matches_anything() {
    let established = Spec { status: Some("established".into()), dstport: Some("443".into()), ..Spec::default() };
    // 192.0.2.1:50000 to 198.51.100.7:443, ESTABLISHED.
    let text = socket(established, Table::Tcp, "010200C0:C350 076433C6:01BB 01");
    assert!(text.contains("connection_status_count{dsthost=\"*\",dstport=\"443\",name=\"r\",process=\"*\",protocol=\"tcp\",srchost=\"*\",srcport=\"*\",status=\"established\"} 1\n"), "{text}");
}

#[test]
fn udp_can_listen() {
    let listen = Spec { status: Some("listen".into()), protocol: Some("udp".into()), ..Spec::default() };
    // 0.0.0.0:1194, unconnected.
    let text = socket(listen, Table::Udp, "00000000:04AA 00000000:0000 07");
    assert!(text.contains("protocol=\"udp\",srchost=\"*\",srcport=\"*\",status=\"listen\"} 1\n"), "{text}");
}

#[test]
fn one_ipsec_process_serves_a_scrape() {
    let case = fixture::case("ipsec", "site-to-site");
    let folder = std::env::temp_dir().join(format!("gwx-one-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (calls, status) = (folder.join("calls"), case.path("statusall"));
    let script = format!("echo called >> '{}'; cat '{}'", calls.display(), status.display());
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let mut report = Report::default();
    Ipsec::new(ipsec::Settings { config: case.path("ipsec.conf"), command })
        .collect(Deadline::within(Duration::from_secs(5)), &mut report);
    let called = std::fs::read_to_string(&calls).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(called, "called\n", "three tunnels, one process");
    assert_eq!(samples(report.exposition), case.text("expected.prom"));
}

#[test]
fn a_tunnel_that_is_rekeyed_is_up() {
    let text = samples(crate::ipsec::exposed_case(&fixture::case("ipsec", "rekeying")));
    assert!(text.contains("ipsec_tunnel_status{tunnel=\"depot\"} 0\n"), "its one child is REKEYING: {text}");
}

#[test]
fn no_session_is_an_empty_list() {
    assert_eq!(fixture::json(&[]), b"[]");
}

#[test]
fn a_dry_run_ends_with_0_when_all_is_well() {
    let folder = std::env::temp_dir().join(format!("gwx-dry-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let config = folder.join("config.yaml");
    let dry_run = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_gateway-exporter"));
        let output = { command }.arg("--dry-run").arg("-c").arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let status = folder.join("status");
    std::fs::write(&status, self::status(&["a 1.1.1.1:1 10 20 a"])).unwrap();
    let (code, text) = dry_run(&format!("ovpnudpstatus: {}\n", status.display()));
    assert!(code == Some(0) && text.contains("\novpn_bytes_in_total{client=\"a_udp\"} 10\n"), "{code:?}: {text}");
    let (code, text) = dry_run("ovpnudpstatus: /no/such\n");
    assert!(code == Some(1) && text.contains("probe_success{version=\"\"} 0"), "{code:?}: {text}");
    assert_eq!(dry_run("ovpnudpstatuz: /no/such\n"), (Some(2), String::new()));
    std::fs::remove_dir_all(&folder).unwrap();
}
