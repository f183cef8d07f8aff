//! OpenVPN's status files, from captures to text and JSON.

use std::time::Duration;

use gateway_exporter::collector::{Collector, Deadline, Report};
use gateway_exporter::expo::Exposition;
use gateway_exporter::openvpn::metrics::{Reading, expose};
use gateway_exporter::openvpn::{OpenVpn, Protocol, Server, Settings, sessions};
use gateway_exporter::text::Text;

use crate::fixture::{self, Case, cases, text, torment};

fn protocol(case: &Case) -> Protocol {
    if case.name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
}

fn collector(case: &Case) -> OpenVpn {
    let server = Server { name: None, status: case.path("status"), protocol: Some(protocol(case)) };
    OpenVpn::new(Settings { servers: vec![server], gateway: "gateway".into() })
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(5))
}

#[test]
fn captures_become_the_expected_text_and_json() {
    for case in cases("openvpn") {
        let mut report = Report::default();
        collector(&case).collect(soon(), &mut report);
        case.expect_samples(report.exposition);
        let mut report = Report::default();
        collector(&case).sessions(soon(), &mut report);
        case.expect_sessions(&report.sessions);
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    for (name, complaint) in [
        ("torn", "expected END at byte"),
        ("torn-rewrite", "half written: new rows stand over old ones"),
        ("client-statistics", "a client's own statistics, where a server's status is expected"),
    ] {
        let case = fixture::case("openvpn", name);
        let mut report = Report::default();
        collector(&case).collect(soon(), &mut report);
        let error = report.targets[0].1.as_ref().expect_err(name).to_string();
        assert!(error.starts_with(&*case.path("status").to_string_lossy()), "{error}");
        assert!(error.contains(complaint), "{error}");
    }
}

#[test]
fn a_missing_file_costs_only_itself() {
    let present = fixture::case("openvpn", "version-3");
    let files = [present.path("no-such-file"), present.path("status")];
    let servers = files.map(|status| Server { name: None, status, protocol: None }).to_vec();
    let mut report = Report::default();
    OpenVpn::new(Settings { servers, gateway: "gateway".into() }).collect(soon(), &mut report);
    let states: Vec<_> = report.targets.iter().map(|(_, state)| state.is_ok()).collect();
    assert_eq!(states, [false, true]);
    assert!(text(report.exposition).contains("\novpn_sessions_total 3\n"));
}

#[test]
fn a_server_with_a_name_says_it_in_the_session_list() {
    let status = fixture::case("openvpn", "tcp-server").path("status");
    let servers = vec![Server { name: Some("office".into()), status, protocol: None }];
    let mut report = Report::default();
    OpenVpn::new(Settings { servers, gateway: "gateway".into() }).sessions(soon(), &mut report);
    assert_eq!(report.sessions.len(), 2);
    assert!(report.sessions.iter().all(|session| session.server == "office"));
}

#[test]
fn one_name_in_two_files_is_one_client() {
    let file = fixture::case("openvpn", "version-3").bytes("status");
    let reading = || Reading { file: &file, protocol: Protocol::Udp, torn: false };
    let (mut once, mut twice) = (Exposition::default(), Exposition::default());
    expose(&[reading()], &mut once);
    expose(&[reading(), reading()], &mut twice);
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect(name).to_owned();
        Text::from(line.rsplit(' ').next().unwrap()).number().unwrap()
    };
    let (once, twice) = (text(once), text(twice));
    for name in ["ovpn_bytes_in_total", "ovpn_bytes_out_total", "ovpn_sessions_total"] {
        assert_eq!(value(&once, name) * 2, value(&twice, name), "{name}");
    }
}

#[test]
fn broken_files_give_valid_text() {
    for case in cases("openvpn") {
        torment(&case.bytes("status"), |file| {
            let mut exposition = Exposition::default();
            let reading = Reading { file, protocol: Protocol::Udp, torn: true };
            sessions::list(&reading, "gateway", &mut Vec::new());
            expose(&[reading], &mut exposition);
            crate::reader::read(&text(exposition));
        });
    }
}
