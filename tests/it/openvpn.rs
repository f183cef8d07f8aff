//! OpenVPN's status files, from captures to text and JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_exporter::collector::{Collector, Deadline, Report};
use gateway_exporter::expo::Exposition;
use gateway_exporter::openvpn::memory::Memory;
use gateway_exporter::openvpn::metrics::{Now, Reading, expose};
use gateway_exporter::openvpn::{OpenVpn, Protocol, Server, Settings, sessions};
use gateway_exporter::session::Session;
use gateway_exporter::text::Text;

use crate::fixture::{self, Case, NOW, cases, text, torment, utc};

fn protocol(case: &Case) -> Protocol {
    if case.name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
}

fn server(status: PathBuf, name: Option<&str>, protocol: Option<Protocol>) -> Server {
    Server { name: name.map(str::to_owned), status, protocol, stale_after: None }
}

fn openvpn(servers: Vec<Server>) -> OpenVpn {
    OpenVpn::new(Settings { servers, gateway: "gateway".into(), most_clients: 100 })
}

fn collector(case: &Case) -> OpenVpn {
    openvpn(vec![server(case.path("status"), None, Some(protocol(case)))])
}

fn reading(file: &[u8], protocol: Protocol, torn: bool) -> Reading<'_> {
    let path = Path::new("/run/office.status");
    Reading {
        server: "office",
        path,
        modified: None,
        is_gone: false,
        file: Some(file),
        protocol,
        torn,
        stale_after: None,
    }
}

/// The moment at which a capture is looked at, in UTC: that of all captures, or the one in its file `now`.
fn moment(case: &Case) -> Now {
    let seconds = match case.path("now").exists() {
        true => Text::from(case.text("now").trim()).signed().expect("seconds since 1970"),
        false => NOW,
    };
    Now { seconds, ..now() }
}

/// The moment of the captures, in UTC.
pub(crate) fn now() -> Now {
    Now { seconds: NOW, unix: utc, local: |_| None }
}

/// What comes of readings at the captures' moment, in UTC.
pub(crate) fn exposed(readings: &[Reading<'_>]) -> Exposition {
    exposed_at(readings, now())
}

fn exposed_at(readings: &[Reading<'_>], now: Now) -> Exposition {
    let mut out = Exposition::default();
    expose(readings, &mut Memory::new(100), now, &mut out);
    out
}

/// The rows of a reading in the session list.
pub(crate) fn listed(reading: &Reading<'_>, now: Now) -> Vec<Session> {
    let mut rows = Vec::new();
    if let Some(times) = reading.times(&mut Memory::new(100), now) {
        sessions::list(reading, times, now, "gateway", &mut rows);
    }
    rows
}

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(5))
}

#[test]
fn captures_become_the_expected_text_and_json() {
    for case in cases("openvpn") {
        let file = case.bytes("status");
        let torn = case.name.starts_with("torn");
        let reading = reading(&file, protocol(&case), torn);
        case.expect_samples(exposed_at(&[reading], moment(&case)));
        case.expect_sessions(&listed(&self::reading(&file, protocol(&case), torn), moment(&case)));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    for (name, complaint) in
        [("torn", "expected END at byte"), ("torn-rewrite", "half written: new rows stand over old ones")]
    {
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
    let mut report = Report::default();
    openvpn(files.map(|status| server(status, None, None)).to_vec()).collect(soon(), &mut report);
    let states: Vec<_> = report.targets.iter().map(|(_, state)| state.is_ok()).collect();
    assert_eq!(states, [false, true]);
    let text = text(report.exposition);
    assert!(text.contains("\novpn_sessions_total 3\n"), "{text}");
    assert!(text.contains("\novpn_server_up{server=\"no-such-file\"} 0\n"), "{text}");
}

#[test]
fn a_server_with_a_name_says_it_in_the_session_list() {
    let status = fixture::case("openvpn", "tcp-server").path("status");
    let mut report = Report::default();
    openvpn(vec![server(status, Some("office"), None)]).sessions(soon(), &mut report);
    assert_eq!(report.sessions.len(), 2);
    assert!(report.sessions.iter().all(|session| session.server == "office"));
}

#[test]
fn one_name_in_two_files_is_one_client() {
    let file = fixture::case("openvpn", "version-3").bytes("status");
    let of = |server| Reading { server, path: Path::new(server), ..reading(&file, Protocol::Udp, false) };
    let (once, twice) = (exposed(&[of("a")]), exposed(&[of("a"), of("b")]));
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
            let reading = reading(file, Protocol::Udp, true);
            listed(&reading, now());
            crate::reader::read(&text(exposed(&[reading])));
        });
    }
}
