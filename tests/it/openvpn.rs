//! OpenVPN's status files, from captures to text and JSON.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_exporter::collector::{Collector, Notice, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::exposition::Exposition;
use gateway_exporter::openvpn::metrics::{Asked, Reading, expose};
use gateway_exporter::openvpn::staleness::Now;
use gateway_exporter::openvpn::totals::{ClientTotals, KnownFiles};
use gateway_exporter::openvpn::{OpenVpn, Protocol, Server, Settings, sessions};
use gateway_exporter::session::Session;
use gateway_exporter::text::Text;

use crate::fixture::{self, Case, NOW, cases, samples, text, torment, utc};

fn protocol(case: &Case) -> Protocol {
    if case.name.contains("tcp") { Protocol::Tcp } else { Protocol::Udp }
}

/// A server whose file is never too old: captures are.
fn server(status: PathBuf, name: Option<&str>, protocol: Option<Protocol>) -> Server {
    let name = name.map(str::to_owned);
    Server { name, status: Some(status), protocol, stale_after: Some(i64::MAX), ..Server::default() }
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
        lines: None,
        protocol,
        torn,
        stale_after: None,
        asked: Asked::No,
    }
}

/// A number that stands alone in a file of the case, if there is such a file.
fn number(case: &Case, file: &str) -> Option<i64> {
    case.path(file).exists().then(|| Text::from(case.text(file).trim()).signed().expect("a number"))
}

/// The moment at which a capture is looked at, in UTC: that of all captures, or the one in its file `now`.
fn moment(case: &Case) -> Now {
    Now { seconds: number(case, "now").unwrap_or(NOW), ..now() }
}

/// A case's file as it was read, with the mtime in its file `modified`, if there is one.
fn reading_of<'a>(case: &Case, file: &'a [u8]) -> Reading<'a> {
    Reading { modified: number(case, "modified"), ..reading(file, protocol(case), case.name.starts_with("torn")) }
}

/// The moment of the captures, in UTC.
pub(crate) fn now() -> Now {
    Now { seconds: NOW, unix: utc, local: date_in_utc }
}

/// The date and time of a moment in UTC, found naively: by trying all days.
fn date_in_utc(moment: i64) -> Option<String> {
    let (days, rest) = (moment.div_euclid(86_400), moment.rem_euclid(86_400));
    let dates = (1970..2100).flat_map(|year| (1..13).flat_map(move |month| (1..32).map(move |day| [year, month, day])));
    let mut dates = dates.filter(|[year, month, day]| utc([*year, *month, *day, 0, 0, 0]) == Some(days * 86_400));
    let [year, month, day] = dates.next_back()?;
    Some(format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60))
}

/// What comes of readings at the captures' moment, in UTC.
pub(crate) fn exposed(readings: &[Reading<'_>]) -> Exposition {
    exposed_at(readings, now())
}

fn exposed_at(readings: &[Reading<'_>], now: Now) -> Exposition {
    let mut out = Exposition::default();
    expose(readings, &mut ClientTotals::new(100), now, &mut out);
    out
}

/// The rows of a reading in the session list.
pub(crate) fn listed(reading: &Reading<'_>, now: Now) -> Vec<Session> {
    let mut rows = Vec::new();
    let document = reading.document();
    if let Some(times) = reading.times(&document, &mut KnownFiles::default(), now) {
        sessions::list(reading, document, times, now, "gateway", &mut rows);
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
        case.expect_samples(exposed_at(&[reading_of(&case, &file)], moment(&case)));
        case.expect_sessions(&listed(&reading_of(&case, &file), moment(&case)));
    }
}

#[test]
fn the_next_writing_becomes_the_expected_text() {
    let mut count = 0;
    for case in cases("openvpn").iter().filter(|case| case.path("status-2").exists()) {
        let mut totals = ClientTotals::new(100);
        for (file, expected) in [("status", "expected.prom"), ("status-2", "expected-2.prom")] {
            let (file, mut out) = (case.bytes(file), Exposition::default());
            expose(&[reading_of(case, &file)], &mut totals, moment(case), &mut out);
            case.expect(expected, &samples(out));
        }
        count += 1;
    }
    assert_eq!(count, 2);
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
        // One in so many, another in each case: all of them would take minutes, and are what the fuzzer tries.
        let count = std::cell::Cell::new(case.name.len());
        torment(&case.bytes("status"), |file| {
            count.set(count.get() + 1);
            if count.get() % 61 != 0 {
                return;
            }
            let reading = reading(file, Protocol::Udp, count.get() % 2 == 0);
            listed(&reading, now());
            crate::reader::read(&text(exposed(&[reading])));
        });
    }
}

/// A folder with a status file that is being rewritten, and what becomes of it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-openvpn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Writes a status of one client; it was written `age` seconds ago.
    fn write(&self, name: &str, bytes: u64, age: i64) {
        let written = gateway_exporter::sys::clock::now() - age;
        let header = "Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since,Client ID,Peer ID";
        let row = format!("hazel,192.0.2.20:41000,{bytes},7,900,0,0");
        let text =
            format!("TITLE,OpenVPN 2.6.14 x\nTIME,,{written}\nHEADER,CLIENT_LIST,{header}\nCLIENT_LIST,{row}\nEND\n");
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(written.unsigned_abs())).unwrap();
    }

    fn watch(&self, patterns: &[&str]) -> OpenVpn {
        let server = |pattern: &&str| Server { stale_after: None, ..server(self.0.join(pattern), None, None) };
        openvpn(patterns.iter().map(server).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The sample lines of one scrape, its targets without their folder, and what was noticed.
fn scrape(collector: &OpenVpn) -> (String, Vec<(String, bool)>, Vec<Notice>) {
    let mut report = Report::default();
    collector.collect(Deadline::within(Duration::from_secs(60)), &mut report);
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let targets = report.targets.iter().map(|(target, state)| (name(target), state.is_ok())).collect();
    (samples(report.exposition), targets, report.notices)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_server_goes_on_where_it_was_when_its_file_is_rotated() {
    let folder = Folder::new("rotated");
    let collector = folder.watch(&["*status*"]);
    let up = "ovpn_server_up{server=\"openvpn-status.log\"} 1";
    folder.write("openvpn-status.log", 1000, 5);
    folder.write("openvpn-status.log.1", 900, 86_400);
    folder.write("openvpn-status.log.2.gz", 800, 172_800);
    let targets = [("openvpn-status.log".to_owned(), true)];
    let (text, found, notices) = scrape(&collector);
    assert_eq!((&*found, &*notices), (&targets[..], &[][..]));
    has(&text, &["ovpn_sessions_total 1", "ovpn_bytes_in_total{client=\"hazel_udp\"} 1000", up]);
    // Renamed, and a new one made: OpenVPN writes to the old one.
    folder.write("openvpn-status.log.1", 1100, 1);
    std::fs::write(folder.0.join("openvpn-status.log"), "").unwrap();
    let emptied = std::fs::File::options().write(true).open(folder.0.join("openvpn-status.log")).unwrap();
    emptied.set_modified(std::time::SystemTime::now() - Duration::from_secs(30)).unwrap();
    let (text, found, notices) = scrape(&collector);
    assert_eq!(found, targets);
    assert!(
        matches!(&notices[..], [Notice { advice, .. }] if advice.message.contains("moved away") && advice.message.contains("log.1")),
        "{notices:?}"
    );
    has(&text, &["ovpn_sessions_total 1", "ovpn_bytes_in_total{client=\"hazel_udp\"} 1100", up]);
    // It has ended, and only the copy is there.
    std::fs::remove_file(folder.0.join("openvpn-status.log")).unwrap();
    folder.write("openvpn-status.log.1", 1100, 5000);
    let (text, found, _) = scrape(&collector);
    assert_eq!(found, targets);
    has(
        &text,
        &[
            "ovpn_sessions_total 0",
            "ovpn_bytes_in_total{client=\"hazel_udp\"} 1100",
            "probe_success{version=\"2.6.14\"} 0",
        ],
    );
    // Nobody who did not know it takes it for one.
    let (text, found, notices) = scrape(&folder.watch(&["*status*"]));
    assert_eq!((found.len(), text.as_str()), (0, "probe_success{version=\"\"} 0\n"));
    assert!(
        matches!(notices[..], [Notice { ref advice, .. }] if advice.message == "no file matches this pattern"),
        "{notices:?}"
    );
    // Unless it is named.
    let (text, found, _) = scrape(&folder.watch(&["openvpn-status.log.1"]));
    assert_eq!(found, [("openvpn-status.log.1".to_owned(), true)]);
    has(&text, &["ovpn_server_up{server=\"log.1\"} 0", "ovpn_sessions_total 0"]);
}

#[test]
fn a_file_that_is_named_and_matched_is_one_server() {
    let folder = Folder::new("twice");
    folder.write("a.status", 1000, 5);
    std::os::unix::fs::symlink("a.status", folder.0.join("current.status")).unwrap();
    for patterns in [&["a.status", "*.status"][..], &["*.status", "a.status"], &["*.status"], &["*.status", "a*"]] {
        let (text, found, notices) = scrape(&folder.watch(patterns));
        assert_eq!((found, notices), (vec![("a.status".to_owned(), true)], vec![]), "{patterns:?}");
        has(&text, &["ovpn_sessions_total 1", "ovpn_bytes_in_total{client=\"hazel_udp\"} 1000"]);
    }
}

#[test]
fn a_file_that_two_entries_name_is_one_server() {
    let folder = Folder::new("entries");
    folder.write("office.status", 1000, 5);
    std::os::unix::fs::symlink("office.status", folder.0.join("link")).unwrap();
    let entry = |file: &str, name, protocol| server(folder.0.join(file), name, protocol);
    let collector =
        openvpn(vec![entry("office.status", None, Some(Protocol::Udp)), entry("link", Some("office"), None)]);
    let (text, found, notices) = scrape(&collector);
    assert_eq!(found, [("link".to_owned(), true)]);
    has(
        &text,
        &[
            "ovpn_sessions_total 1",
            "ovpn_client_sessions{client=\"hazel_udp\"} 1",
            "ovpn_server_up{server=\"office\"} 1",
        ],
    );
    let said: Vec<_> = notices.iter().map(|notice| (&*notice.subject, &*notice.advice.message)).collect();
    let first = folder.0.join("office.status").display().to_string();
    assert_eq!(said, [(&*first, "several entries name this file; the last one counts")]);
    // The two keys of the original may name one file.
    let both = |protocol| entry("office.status", None, Some(protocol));
    let (text, _, notices) = scrape(&openvpn(vec![both(Protocol::Tcp), both(Protocol::Udp)]));
    assert!(notices.is_empty());
    has(&text, &["ovpn_bytes_in_total{client=\"hazel_tcp\"} 1000", "ovpn_bytes_in_total{client=\"hazel_udp\"} 1000"]);
}

#[test]
fn a_copy_that_is_named_is_read_once() {
    let folder = Folder::new("named");
    folder.write("a.status", 900, 5000);
    folder.write("a.status.1", 1000, 5);
    let (text, found, _) = scrape(&folder.watch(&["a.status", "a.status.1"]));
    assert_eq!(found, [("a.status".to_owned(), true), ("a.status.1".to_owned(), true)]);
    has(&text, &["ovpn_sessions_total 1", "ovpn_client_sessions{client=\"hazel_udp\"} 1"]);
    let (text, found, _) = scrape(&folder.watch(&["a.status"]));
    assert_eq!(found, [("a.status".to_owned(), true)]);
    has(&text, &["ovpn_sessions_total 1", "ovpn_bytes_in_total{client=\"hazel_udp\"} 1000"]);
}

#[test]
fn a_server_that_has_ended_is_not_in_the_session_list() {
    let folder = Folder::new("ended");
    let collector = folder.watch(&["a.status"]);
    for (age, count) in [(5, 1), (181, 0)] {
        folder.write("a.status", 1000, age);
        let mut report = Report::default();
        collector.sessions(Deadline::within(Duration::from_secs(60)), &mut report);
        assert_eq!(report.sessions.len(), count, "{age}");
    }
}
