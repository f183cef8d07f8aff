//! OpenVPN's management interface, from a daemon that this file plays to text, JSON and advice.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gateway_exporter::advice::Severity;
use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::config::Config;
use gateway_exporter::deadline::Deadline;
use gateway_exporter::diagnosis;
use gateway_exporter::error::{Error, ErrorKind};
use gateway_exporter::openvpn::management::{Answer, Failure, Inquiry, Next, Password, State};
use gateway_exporter::openvpn::query::Management;
use gateway_exporter::openvpn::{OpenVpn, Server, Settings};
use gateway_exporter::source::Source;
use gateway_exporter::sys::environment::Environment;
use gateway_exporter::sys::socket::Address;

use crate::fixture::{case, samples};

const GREETING: &str = ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n";
const COMMANDS: [&str; 5] = ["version", "state", "status 3", "quit", "<closed>"];
const SINCE: i64 = 1_795_180_820;

/// What the daemon says to whom.
#[derive(Clone)]
struct Script {
    /// What it asks for before anything else.
    password: Option<&'static str>,
    greeting: String,
    state: String,
    /// The answer to `status 3`.
    status: String,
}

impl Script {
    fn of(status: &str) -> Self {
        let state = format!("{SINCE},CONNECTED,SUCCESS,10.8.0.1,,,,\r\nEND\r\n");
        Self { password: None, greeting: GREETING.into(), state, status: status.replace('\n', "\r\n") }
    }

    /// In hold, as long as nobody releases it.
    fn holding() -> Self {
        let refusal = "ERROR: The 'status' command is not supported by the current daemon mode\n";
        Self { greeting: format!("{GREETING}>HOLD:Waiting for hold release:0\r\n"), ..Self::of(refusal) }
    }
}

/// A daemon that serves one client after the other.
struct Daemon {
    folder: PathBuf,
    script: Arc<Mutex<Script>>,
    /// The lines that it was sent, and the end of each connection.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn new(name: &str, script: Script) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-management-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let daemon = Self { folder, script: Arc::new(Mutex::new(script)), heard: Arc::default() };
        let listener = UnixListener::bind(daemon.socket()).unwrap();
        let (script, heard) = (Arc::clone(&daemon.script), Arc::clone(&daemon.heard));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let script = script.lock().unwrap().clone();
                let reader = BufReader::new(stream.try_clone().unwrap());
                serve(reader, stream, &script, &heard);
            }
        });
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("office.sock")
    }

    fn file(&self) -> PathBuf {
        self.folder.join("office.status")
    }

    /// The daemon's own words from now on.
    fn says(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn management(&self) -> Management {
        Management { address: Address::Unix(self.socket()), password: None }
    }

    /// A server that is asked, and whose file is read besides.
    fn both(&self) -> Server {
        Server { status: Some(self.file()), stale_after: Some(i64::MAX), ..self.alone() }
    }

    /// A server that is asked only.
    fn alone(&self) -> Server {
        Server { name: Some("office".into()), management: Some(self.management()), ..Server::default() }
    }

    fn write(&self, status: &str) {
        std::fs::write(self.file(), status).unwrap();
        // A file that was just written to is looked at again until it rests.
        let file = std::fs::File::options().write(true).open(self.file()).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(5)).unwrap();
    }

    /// The lines of the last `count` connections, when they are over.
    fn heard(&self, count: usize) -> Vec<String> {
        for _ in 0..6000 {
            let heard = self.heard.lock().unwrap();
            if heard.iter().filter(|line| *line == "<closed>").count() >= count {
                return heard.clone();
            }
            drop(heard);
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", self.heard.lock().unwrap());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Serves one client as `manage.c` does.
fn serve(reader: impl BufRead, mut writer: impl Write, script: &Script, heard: &Mutex<Vec<String>>) {
    let mut wanted = script.password;
    let first = if wanted.is_some() { "ENTER PASSWORD:" } else { &script.greeting };
    let _ = writer.write_all(first.as_bytes());
    for line in reader.lines().map_while(Result::ok) {
        heard.lock().unwrap().push(line.clone());
        let answer = match (wanted.take(), line.as_str()) {
            (Some(password), given) if password == given => format!("SUCCESS: password is correct\r\n{}", script.greeting),
            (Some(password), _) => {
                wanted = Some(password);
                "ENTER PASSWORD:".into()
            }
            (None, "version") => "OpenVPN Version: OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)]\r\nManagement Version: 5\r\nEND\r\n".into(),
            (None, "state" | "state all") => script.state.clone(),
            (None, "status 3") => script.status.clone(),
            (None, "quit") => break,
            (None, other) => format!("ERROR: unknown command [{other}], enter 'help' for more options\r\n"),
        };
        let _ = writer.write_all(answer.as_bytes());
    }
    heard.lock().unwrap().push("<closed>".into());
}

fn collector(servers: Vec<Server>) -> OpenVpn {
    OpenVpn::new(settings(servers))
}

fn settings(servers: Vec<Server>) -> Settings {
    Settings { servers, gateway: "gateway".into(), most_clients: 100 }
}

fn scrape_within(collector: &OpenVpn, seconds: u64) -> (String, Report) {
    let mut report = Report::default();
    collector.collect(Deadline::within(Duration::from_secs(seconds)), &mut report);
    let exposition = std::mem::take(&mut report.exposition);
    (samples(exposition), report)
}

fn scrape(collector: &OpenVpn) -> (String, Report) {
    scrape_within(collector, 60)
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
    }
}

/// The only error of a scrape.
fn error(report: &Report) -> Error {
    let [(_, state)] = report.targets.as_slice() else { panic!("{:?}", report.targets) };
    state.clone().expect_err("an error")
}

/// What the doctor says of the only target.
fn advice(report: &Report) -> (String, String) {
    let [(target, state)] = report.targets.as_slice() else { panic!("{:?}", report.targets) };
    let found = diagnosis::target("openvpn", target, state.as_ref().err(), &Environment::default());
    (found.message.into_owned(), found.fix.into_owned())
}

#[test]
fn an_answer_says_what_the_file_says() {
    for name in ["version-3", "tcp-server", "awkward-names", "undef", "client-statistics"] {
        let status = case("openvpn", name).bytes("status");
        let status = String::from_utf8(status).unwrap();
        let daemon = Daemon::new(name, Script::of(&status));
        daemon.write(&status);
        let read = |server: Server| {
            let collector = collector(vec![server]);
            let mut report = Report::default();
            collector.sessions(Deadline::within(Duration::from_secs(60)), &mut report);
            (scrape(&collector).0, report.sessions.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>())
        };
        let (asked, asked_sessions) = read(daemon.alone());
        let (file, file_sessions) = read(Server { management: None, ..daemon.both() });
        assert_eq!(asked_sessions, file_sessions, "{name}");
        let added = [
            "ovpn_server_started_",
            "ovpn_link_up",
            "ovpn_link_connected_",
            "ovpn_info",
            "probe_success",
            "ovpn_status_updated_",
        ];
        let rest = |text: &str| -> Vec<String> {
            let is_known = |line: &&str| added.iter().all(|name| !line.starts_with(name));
            text.lines().filter(is_known).map(str::to_owned).collect()
        };
        assert_eq!(rest(&asked), rest(&file), "{name}");
        has(&asked, &["probe_success{version=\"2.6.14\"} 1", "ovpn_info{product=\"OpenVPN\",version=\"2.6.14\"} 1"]);
        if status.starts_with("TITLE") {
            has(&asked, &[&format!("ovpn_server_started_timestamp_seconds{{server=\"office\"}} {SINCE}")]);
        } else {
            let connected = format!("ovpn_link_connected_timestamp_seconds{{server=\"office\"}} {SINCE}");
            has(&asked, &["ovpn_link_up{server=\"office\"} 1", &connected]);
        }
        assert_eq!(daemon.heard(2), [COMMANDS, COMMANDS].concat(), "{name}: nothing else is ever sent");
    }
}

#[test]
fn a_daemon_may_listen_on_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let heard = Mutex::new(Vec::new());
    thread::scope(|threads| {
        threads.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let reader = BufReader::new(stream.try_clone().unwrap());
            serve(reader, stream, &Script::of(&status(3, &[("ann", 4000, 1000)])), &heard);
        });
        let server = Server { management: Some(Management { address, password: None }), ..Server::default() };
        let (text, report) = scrape(&collector(vec![server]));
        has(&text, &["ovpn_bytes_in_total{client=\"ann_udp\"} 1000", "ovpn_sessions_total 1"]);
        assert!(report.targets[0].0.starts_with("tcp://127.0.0.1:"), "{:?}", report.targets);
    });
    assert_eq!(heard.into_inner().unwrap(), COMMANDS);
}

#[test]
fn a_password_is_sent_to_whom_asks_for_it_and_is_in_no_answer() {
    let script = Script { password: Some("two \"words\""), ..Script::of(&status(3, &[])) };
    let daemon = Daemon::new("password", script);
    let with = |file: &[u8]| {
        let password = Some(Password::first_line(file).unwrap());
        Server { management: Some(Management { password, ..daemon.management() }), ..daemon.alone() }
    };
    let (text, _) = scrape(&collector(vec![with(b"two \"words\"\n")]));
    has(&text, &["ovpn_server_up{server=\"office\"} 1"]);
    assert_eq!(daemon.heard(1), [&["two \"words\""][..], &COMMANDS].concat());
    let (text, report) = scrape(&collector(vec![with(b"another\n")]));
    has(&text, &["ovpn_server_up{server=\"office\"} 0"]);
    let (message, fix) = advice(&report);
    assert_eq!(message, "refuses the password");
    assert!(fix.contains("management_password_file"), "{fix}");
    assert!(!format!("{:?} {text} {message} {fix}", report.targets).contains("another"));
    assert_eq!(daemon.heard(2)[6..], ["another", "<closed>"], "one try");
    let (_, report) = scrape(&collector(vec![daemon.alone()]));
    let (message, fix) = advice(&report);
    assert_eq!((&*message, &*fix), ("asks for a password", "name the file of its password: management_password_file"));
    assert_eq!(daemon.heard(3)[8..], ["<closed>"]);
    daemon.says(Script::of(&status(3, &[])));
    scrape(&collector(vec![with(b"secret\n")]));
    assert_eq!(daemon.heard(4)[9..], COMMANDS, "it is not sent where nobody asks");
}

#[test]
fn a_daemon_in_hold_is_down_whatever_its_file_says() {
    let daemon = Daemon::new("hold", Script::of(&status(3, &[("ann", 4000, 1000)])));
    let collector = collector(vec![daemon.both()]);
    has(&scrape(&collector).0, &["ovpn_sessions_total 1"]);
    daemon.write(&status(3, &[("ann", 4000, 900)]));
    daemon.says(Script::holding());
    let (text, report) = scrape(&collector);
    has(
        &text,
        &[
            "ovpn_server_up{server=\"office\"} 0",
            "ovpn_sessions_total 0",
            "ovpn_bytes_in_total{client=\"ann_udp\"} 1000",
        ],
    );
    let (message, fix) = advice(&report);
    assert_eq!(message, "waits for its hold to be released");
    assert!(fix.contains("management-hold"), "{fix}");
    assert_eq!(daemon.heard(2), [COMMANDS, COMMANDS].concat());
}

#[test]
fn where_somebody_else_is_served_the_file_answers() {
    let folder = Daemon::new("held", Script::of(""));
    // Nobody accepts there: the kernel does, as it does for a client that OpenVPN does not serve yet.
    let socket = folder.folder.join("held.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let management = Some(Management { address: Address::Unix(socket.clone()), password: None });
    folder.write(&status(3, &[("ann", 4000, 900)]));
    let (text, report) = scrape(&collector(vec![Server { management: management.clone(), ..folder.both() }]));
    has(&text, &["ovpn_server_up{server=\"office\"} 1", "ovpn_sessions_total 1"]);
    assert_eq!(report.targets, [(folder.file().display().to_string(), Ok(()))]);
    let [notice] = report.notices.as_slice() else { panic!("{:?}", report.notices) };
    assert_eq!(
        (notice.severity, &*notice.subject),
        (Severity::Warning, &*format!("management interface {}", socket.display()))
    );
    let message = &notice.advice.message;
    assert!(message.starts_with("no answer in time: most likely another client holds it"), "{message}");
    assert!(message.ends_with("the status file is read instead"), "{message}");
    let who = format!("ss -xp | grep -w \"$(ss -xH src {} | awk '{{print $8}}')\" says who; ", socket.display());
    assert!(notice.advice.fix.starts_with(&who), "{:?}", notice.advice);
    let (text, report) = scrape_within(&collector(vec![Server { management, ..folder.alone() }]), 1);
    has(&text, &["ovpn_server_up{server=\"office\"} 0"]);
    assert_eq!(error(&report), Error::new(format!("management interface {}", socket.display()), ErrorKind::TimedOut));
    assert!(advice(&report).0.contains("OpenVPN serves one at a time"));
}

#[test]
fn what_is_not_there_says_what_to_write() {
    let daemon = Daemon::new("absent", Script::of(""));
    let absent = |address| Server { management: Some(Management { address, password: None }), ..daemon.alone() };
    let (_, report) = scrape(&collector(vec![absent(Address::Unix("/no/such.sock".into()))]));
    let (message, fix) = advice(&report);
    assert_eq!(message, "not found: OpenVPN is not running");
    assert_eq!(fix, "start OpenVPN, with management /no/such.sock unix in its configuration");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, report) = scrape(&collector(vec![absent(Address::Tcp(closed.to_string()))]));
    let (message, fix) = advice(&report);
    assert_eq!(message, "connection refused: OpenVPN is not running");
    assert_eq!(fix, format!("start OpenVPN, with management 127.0.0.1 {} in its configuration", closed.port()));
    let running = Environment { is_running: true, ..Environment::default() };
    let found = diagnosis::target("openvpn", "tcp://x", report.targets[0].1.as_ref().err(), &running);
    assert_eq!(found.message, "connection refused: OpenVPN runs without it, or serves another client");
}

#[test]
fn one_that_never_ends_is_bounded() {
    let late = [ErrorKind::TimedOut, ErrorKind::TooLong { limit: 64 * 1024 * 1024 }];
    let long_line = [ErrorKind::TooLong { limit: 16 * 1024 }];
    for (line, expected) in [
        (">LOG:1,I,x\r\n".repeat(1000), &late[..]),
        (format!(">{}", "x".repeat(12_000)), &long_line),
        (format!("{GREETING}{}", "x\r\n".repeat(4000)), &late),
    ] {
        let daemon = Daemon::new("endless", Script::of(""));
        let socket = daemon.folder.join("endless.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let management = Some(Management { address: Address::Unix(socket), password: None });
        let server = Server { management, ..daemon.alone() };
        let error = thread::scope(|threads| {
            threads.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                while stream.write_all(line.as_bytes()).is_ok() {}
            });
            error(&scrape_within(&collector(vec![server]), 3).1)
        });
        assert!(expected.contains(&error.kind), "{error:?}");
    }
}

#[test]
fn two_scrapes_at_once_are_served_one_after_the_other() {
    let daemon = Daemon::new("crowd", Script::of(&status(3, &[("ann", 4000, 1000)])));
    let collector = collector(vec![daemon.alone()]);
    thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| has(&scrape(&collector).0, &["ovpn_sessions_total 1"]));
        }
    });
    assert_eq!(daemon.heard(8), COMMANDS.repeat(8));
}

/// A status in this version of clients, each with its port and bytes: all came at the same moment.
fn status(version: u8, clients: &[(&str, u16, u64)]) -> String {
    let (now, since) = (gateway_exporter::sys::clock::now(), "2026-11-20 13:20:20");
    let updated = gateway_exporter::sys::clock::local(now).unwrap();
    if version == 1 {
        let rows =
            clients.iter().map(|(name, port, bytes)| format!("{name},192.0.2.1:{port},{bytes},{bytes},{since}\n"));
        let rows: String = rows.collect();
        let head = format!(
            "OpenVPN CLIENT LIST\nUpdated,{updated}\nCommon Name,Real Address,Bytes Received,Bytes Sent,Connected Since\n"
        );
        return format!(
            "{head}{rows}ROUTING TABLE\nVirtual Address,Common Name,Real Address,Last Ref\nGLOBAL STATS\nEND\n"
        );
    }
    let header = "HEADER,CLIENT_LIST,Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since,Connected Since (time_t),Client ID,Peer ID";
    let rows = clients.iter().map(|(name, port, bytes)| {
        let id = name.bytes().last().unwrap();
        format!("CLIENT_LIST,{name},192.0.2.1:{port},{bytes},{bytes},{since},{SINCE},{id},{id}\n")
    });
    let rows: String = rows.collect();
    let text = format!("TITLE,OpenVPN 2.6.14 x\nTIME,{updated},{now}\n{header}\n{rows}END\n");
    if version == 3 { text.replace(',', "\t") } else { text }
}

/// A step of a change between file and daemon: who answers with which clients, and their totals afterwards.
type Step = (bool, &'static [(&'static str, u16, u64)], &'static [(&'static str, u64)]);

/// What is scraped before and behind these steps, by one server of a daemon.
fn take(collector: &OpenVpn, daemon: &Daemon, version: u8, (is_asked, clients, totals): Step) {
    if is_asked {
        daemon.says(Script::of(&status(3, clients)));
    } else {
        // What OpenVPN would say to nobody, and the exporter takes for a client that somebody else has.
        daemon.says(Script { greeting: "busy\r\n".into(), ..Script::of("") });
        daemon.write(&status(version, clients));
    }
    let (text, report) = scrape(collector);
    assert_eq!(
        report.targets.iter().map(|(_, state)| state.is_ok()).collect::<Vec<_>>(),
        [true],
        "{:?}",
        report.targets
    );
    for (name, bytes) in totals {
        has(&text, &[&format!("ovpn_bytes_in_total{{client=\"{name}_udp\"}} {bytes}")]);
    }
    let release = "ovpn_info{product=\"OpenVPN\",version=\"2.6.14\"} 1";
    has(&text, &[release, "probe_success{version=\"2.6.14\"} 1", "ovpn_server_up{server=\"office\"} 1"]);
    has(&text, &[&format!("ovpn_sessions_total {}", clients.len())]);
}

#[test]
fn no_total_falls_or_is_counted_twice_where_file_and_daemon_take_turns() {
    let steps: [Step; 9] = [
        (true, &[("ann", 4000, 1000), ("bob", 4001, 50)], &[("ann", 1000), ("bob", 50)]),
        // The file is older than the answer: fewer bytes, and bob is not in it yet.
        (false, &[("ann", 4000, 900)], &[("ann", 1000), ("bob", 50)]),
        (true, &[("ann", 4000, 1100), ("bob", 4001, 60)], &[("ann", 1100), ("bob", 60)]),
        // One that only the file has seen so far, and one that floated since it was written.
        (false, &[("ann", 4000, 1050), ("bob", 4009, 55), ("cid", 4002, 7)], &[("ann", 1100), ("bob", 60), ("cid", 7)]),
        (false, &[("ann", 4000, 1150), ("bob", 4009, 70), ("cid", 4002, 8)], &[("ann", 1150), ("bob", 70), ("cid", 8)]),
        (true, &[("ann", 4000, 1200), ("bob", 4009, 80), ("cid", 4002, 9)], &[("ann", 1200), ("bob", 80), ("cid", 9)]),
        (false, &[("ann", 4000, 1150), ("cid", 4002, 9)], &[("ann", 1200), ("bob", 80), ("cid", 9)]),
        (true, &[("ann", 4000, 1300), ("cid", 4002, 11)], &[("ann", 1300), ("bob", 80), ("cid", 11)]),
        (true, &[("ann", 4007, 1400), ("cid", 4002, 12)], &[("ann", 1400), ("bob", 80), ("cid", 12)]),
    ];
    for version in [1, 2, 3] {
        let daemon = Daemon::new(&format!("turns-{version}"), Script::of(""));
        let collector = collector(vec![daemon.both()]);
        for step in steps {
            take(&collector, &daemon, version, step);
        }
    }
}

#[test]
fn a_reload_from_file_to_daemon_and_back_keeps_totals() {
    for version in [1, 2, 3] {
        let daemon = Daemon::new(&format!("reload-{version}"), Script::of(""));
        let file = || Server { management: None, ..daemon.both() };
        let mut current = collector(vec![file()]);
        daemon.write(&status(version, &[("ann", 4000, 1000)]));
        let total = |text: &str, bytes| has(text, &[&format!("ovpn_bytes_in_total{{client=\"ann_udp\"}} {bytes}")]);
        total(&scrape(&current).0, 1000);
        for (server, bytes) in [
            (daemon.both(), 1100),
            (daemon.alone(), 1200),
            (daemon.both(), 1300),
            (daemon.alone(), 1400),
            (file(), 1500),
        ] {
            let rows: &[(&str, u16, u64)] = &[("ann", 4000, bytes)];
            daemon.says(Script::of(&status(3, rows)));
            daemon.write(&status(version, rows));
            current = OpenVpn::build(settings(vec![server]).into(), Some(&current));
            total(&scrape(&current).0, bytes);
        }
    }
}

#[test]
fn a_clients_counters_do_not_fall_where_its_file_is_older() {
    let statistics = |bytes: u64, age: i64| {
        let updated = gateway_exporter::sys::clock::local(gateway_exporter::sys::clock::now() - age).unwrap();
        format!("OpenVPN STATISTICS\nUpdated,{updated}\nTUN/TAP read bytes,{bytes}\nTUN/TAP write bytes,7\nEND\n")
    };
    let daemon = Daemon::new("statistics", Script::of(&statistics(1000, 0)));
    let collector = collector(vec![daemon.both()]);
    let read = |bytes| format!("ovpn_link_tun_read_bytes_total{{server=\"office\"}} {bytes}");
    let (text, _) = scrape(&collector);
    has(&text, &[&read(1000), "ovpn_link_up{server=\"office\"} 1", "probe_success{version=\"2.6.14\"} 1"]);
    daemon.says(Script { greeting: "busy\r\n".into(), ..Script::of("") });
    daemon.write(&statistics(900, 30));
    let (text, _) = scrape(&collector);
    has(&text, &[&read(1000), "ovpn_server_up{server=\"office\"} 1", "probe_success{version=\"2.6.14\"} 1"]);
    // A newer one counts, also where the client has begun again.
    daemon.write(&statistics(5, -2));
    has(&scrape(&collector).0, &[&read(5)]);
}

#[test]
fn a_client_without_a_connection_is_noticed() {
    let now = gateway_exporter::sys::clock::now();
    let status = "OpenVPN STATISTICS\nUpdated,2026-11-20 13:20:25\nTUN/TAP read bytes,5\nEND\n";
    let state = format!("{},RECONNECTING,ping-restart,,,,,\r\nEND\r\n", now - 7400);
    let daemon = Daemon::new("reconnecting", Script { state, ..Script::of(status) });
    let (text, report) = scrape(&collector(vec![daemon.alone()]));
    has(&text, &["ovpn_link_up{server=\"office\"} 0", "ovpn_server_up{server=\"office\"} 1"]);
    assert!(!text.contains("ovpn_link_connected_timestamp_seconds{"), "{text}");
    let [notice] = report.notices.as_slice() else { panic!("{:?}", report.notices) };
    assert_eq!(notice.advice.message, "the client is not connected to its server: RECONNECTING for 2 hours");
    assert_eq!(notice.subject, daemon.socket().display().to_string());
}

#[test]
fn a_configuration_names_it_with_its_password() {
    let daemon = Daemon::new("config", Script { password: Some("secret"), ..Script::of(&status(3, &[])) });
    let file = daemon.folder.join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let text = format!(
        "openvpn:\n  - name: office\n    management: unix:{}\n    management_password_file: {}\n",
        daemon.socket().display(),
        file.display()
    );
    let read = |text: &str| Config::parse(text, &gateway_exporter::settings::Overrides::default());
    let config = read(&text).unwrap();
    let settings = config.sources.get::<OpenVpn>().unwrap().clone();
    assert_eq!(settings.servers[0].status, None::<PathBuf>);
    assert!(!format!("{settings:?}").contains("secret"));
    has(&scrape(&OpenVpn::new(settings)).0, &["ovpn_server_up{server=\"office\"} 1"]);
    std::fs::write(&file, "\n").unwrap();
    let said = read(&text).map(drop).unwrap_err().to_string();
    let expected = format!(
        "openvpn[0].management_password_file: {}: its first line, which is the password, is empty at line 4",
        file.display()
    );
    assert_eq!(said, expected);
    assert!(Path::new(&file).exists());
}

/// What real daemons said, in the order in which they were sent something: the pieces of one case.
fn recorded(case: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/openvpn-management").join(case);
    let pieces = (0..).map(|number| std::fs::read(folder.join(format!("said-{number}")))).map_while(Result::ok);
    let pieces: Vec<_> = pieces.collect();
    assert!(pieces.len() > 1, "{case}");
    pieces
}

/// What comes of a recording whose every piece is cut at the same byte.
fn replayed(pieces: &[Vec<u8>], at: usize) -> Result<Answer, Failure> {
    let password = Password::first_line(b"quoted \"word\"\n").unwrap();
    let mut inquiry = Inquiry::new(Some(&password));
    for piece in pieces {
        let (first, second) = piece.split_at(at.min(piece.len()));
        for bytes in [first, second] {
            if inquiry.read(bytes)? == Next::End {
                return Ok(inquiry.into_answer());
            }
        }
    }
    panic!("it goes on")
}

#[test]
fn recordings_mean_what_they_say_wherever_they_are_cut() {
    let answer = |name: &str, since| {
        let status = String::from_utf8(recorded(name).pop().unwrap()).unwrap().replace("\r\n", "\n");
        let state = if name == "connecting" { "WAIT" } else { "CONNECTED" };
        let state = Some(State { name: state.into(), since });
        Ok(Answer { status: status.into(), version: b"2.6.14".into(), state })
    };
    for (name, expected) in [
        ("server", answer("server", 1_795_894_048)),
        ("client", answer("client", 1_795_894_048)),
        ("connecting", answer("connecting", 1_795_894_062)),
        ("peer-to-peer", answer("peer-to-peer", 1_795_951_477)),
        ("hold", Err(Failure::Waits("for its hold to be released"))),
        ("password-wanted", Err(Failure::Waits("for a password"))),
        ("password-refused", Err(Failure::PasswordRefused)),
    ] {
        let pieces = recorded(name);
        let longest = pieces.iter().map(Vec::len).max().unwrap();
        for at in 0..=longest {
            assert_eq!(replayed(&pieces, at), expected, "{name} {at}");
        }
    }
}

#[test]
fn a_recorded_server_becomes_the_expected_text() {
    let status = String::from_utf8(recorded("server").pop().unwrap()).unwrap();
    let daemon = Daemon::new("recorded", Script { status, ..Script::of("") });
    let (text, _) = scrape(&collector(vec![daemon.alone()]));
    has(
        &text,
        &[
            "ovpn_bytes_in_total{client=\"ann_udp\"} 7161",
            "ovpn_bytes_out_total{client=\"ann_udp\"} 4888",
            "ovpn_bytes_in_total{client=\"Smith, Bob_udp\"} 9270",
            "ovpn_client_connected_timestamp_seconds{client=\"ann_udp\"} 1795894048",
            "ovpn_routes{server=\"office\"} 4",
            "ovpn_dco_enabled{server=\"office\"} 0",
            "ovpn_sessions_total 2",
            "ovpn_status_updated_timestamp_seconds{server=\"office\"} 1795894052",
            "ovpn_status_rows_skipped{server=\"office\"} 0",
        ],
    );
}
