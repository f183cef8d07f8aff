//! The `ipsec` source: captures against what must come of them, and the whole way with a stand-in command.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::error::{Error, ErrorKind};
use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::conf::{self, Cursor, Location, Sections};
use gateway_exporter::ipsec::kind::{Dialect, Start};
use gateway_exporter::ipsec::{Ipsec, Settings, metrics, read, status};
use gateway_exporter::text::Text;

use crate::fixture::{Case, cases, samples, text, torment};
use crate::reader;

fn within(milliseconds: u64) -> Deadline {
    Deadline::within(Duration::from_millis(milliseconds))
}

/// What comes of one capture.
pub(crate) fn exposed_case(case: &Case) -> Exposition {
    let configuration =
        read(&case.path("ipsec.conf"), Dialect::StrongSwan, within(5000)).expect("ipsec.conf is readable");
    assert!(configuration.complaints.is_empty(), "{:?}", configuration.complaints);
    let output = case.bytes("statusall");
    let status = status::parse(Text::new(&output)).expect("a status");
    assert_eq!(status.skipped.count, 0, "{}: {:?}", case.name, status.skipped);
    let mut exposition = Exposition::default();
    metrics::expose(&configuration.tunnels, Some(&status), &mut exposition);
    exposition
}

#[test]
fn captures_become_the_expected_samples() {
    for case in cases("ipsec") {
        case.expect_samples(exposed_case(&case));
    }
}

#[test]
fn damaged_captures_still_give_valid_text() {
    for case in cases("ipsec") {
        let tunnels =
            read(&case.path("ipsec.conf"), Dialect::StrongSwan, within(5000)).expect("ipsec.conf is readable").tunnels;
        torment(&case.bytes("statusall"), |damaged| {
            let mut exposition = Exposition::default();
            metrics::expose(&tunnels, status::parse(Text::new(damaged)).as_ref(), &mut exposition);
            reader::read(&text(exposition));
        });
        torment(&case.bytes("ipsec.conf"), |damaged| {
            let (mut sections, mut cursor) = (Sections::default(), Cursor::default());
            while let Some(statement) = conf::parse(Text::new(damaged), &mut cursor, Dialect::StrongSwan) {
                sections.take(&statement, Location { file: 0, line: cursor.line });
            }
            let mut exposition = Exposition::default();
            metrics::expose(&sections.tunnels().0, None, &mut exposition);
            reader::read(&text(exposition));
        });
    }
}

const UP: &str = "\
Security Associations (1 up, 0 connecting):
         lan[1]: ESTABLISHED 2 seconds ago, 10.9.0.1[gw]...10.9.0.2[branch]
         lan{1}:  INSTALLED, TUNNEL, reqid 1, ESP SPIs: 585e2ca4_i 61c9e49e_o
         lan{1}:  AES_CBC_128/HMAC_SHA2_256_128, 5000000000 bytes_i (6 pkts, 2s ago), 7 bytes_o (1 pkt, 2s ago), rekeying in 43 minutes
         lan{1}:   10.1.1.0/24 === 10.2.1.0/24
";

/// A folder with an ipsec.conf and a stand-in for `ipsec statusall`; it goes when the test ends.
struct Gateway {
    folder: PathBuf,
}

impl Gateway {
    fn new(name: &str, config: &str, script: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-ipsec-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a scratch folder");
        let gateway = Self { folder };
        gateway.write("ipsec.conf", config);
        gateway.write("statusall", UP);
        gateway.write("script", script);
        gateway
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a scratch folder");
        fs::write(path, text).expect("a scratch file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn watch(&self) -> Ipsec {
        let script = self.folder.join("script").display().to_string();
        let folder = self.folder.display().to_string();
        Ipsec::new(Settings { config: self.folder.join("ipsec.conf"), command: vec!["sh".into(), script, folder] })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One round: how the two targets answered, and the sample lines.
fn collect(ipsec: &Ipsec, deadline: Deadline) -> (Result<(), Error>, Result<(), Error>, String) {
    let mut report = Report::default();
    ipsec.collect(deadline, &mut report);
    let names: Vec<String> = report.targets.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ipsec.targets());
    let mut results = report.targets.into_iter().map(|(_, result)| result);
    let (config, command) = (results.next().expect("the config"), results.next().expect("the command"));
    (config, command, samples(report.exposition))
}

const LAN: &str = "conn lan\n\tauto=add\nconn old\n\tauto=ignore\n";

const LAN_UP: &str = "\
ipsec_in_bytes{tunnel=\"lan\"} 5000000000
ipsec_in_packets{tunnel=\"lan\"} 6
ipsec_out_bytes{tunnel=\"lan\"} 7
ipsec_out_packets{tunnel=\"lan\"} 1
ipsec_status_lines_skipped 0
ipsec_tunnel_info{kind=\"always\",tunnel=\"lan\"} 1
ipsec_tunnel_info{kind=\"not-loaded\",tunnel=\"old\"} 1
ipsec_tunnel_status{tunnel=\"lan\"} 0
ipsec_tunnel_status{tunnel=\"old\"} 4
ipsec_up{tunnel=\"lan\"} 1
";

const LAN_UNKNOWN: &str = "\
ipsec_tunnel_status{tunnel=\"lan\"} 3
ipsec_tunnel_status{tunnel=\"old\"} 4
ipsec_up{tunnel=\"lan\"} 0
";

#[test]
fn the_whole_way() {
    let gateway = Gateway::new("way", LAN, "cat $1/statusall");
    assert_eq!(collect(&gateway.watch(), within(5000)), (Ok(()), Ok(()), LAN_UP.to_owned()));
}

#[test]
fn a_changed_configuration_is_read_again() {
    let gateway = Gateway::new("change", "include d/*.conf\nconn a\n", "cat $1/statusall");
    let ipsec = gateway.watch();
    let tunnels = || {
        let (config, _, text) = collect(&ipsec, within(5000));
        assert_eq!(config, Ok(()));
        let lines = text.lines().filter_map(|line| line.strip_prefix("ipsec_tunnel_status{tunnel=\""));
        lines.filter_map(|line| line.split('"').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(tunnels(), ["a"]);
    gateway.write("d/new.conf", "conn new\n");
    assert_eq!(tunnels(), ["new", "a"], "a file that the pattern finds now");
    gateway.write("d/new.conf", "conn new\nconn newer\ninclude ../ipsec.conf\ninclude ../d/../d/new.conf\n");
    assert_eq!(tunnels(), ["new", "newer", "a"], "an included file that changed, and loops");
    gateway.write("ipsec.conf", "conn b\n");
    assert_eq!(tunnels(), ["b"], "the file itself");
    fs::remove_file(gateway.folder.join("ipsec.conf")).expect("it goes");
    let (config, command, text) = collect(&ipsec, within(5000));
    assert_eq!(config, Err(Error::new(gateway.folder.join("ipsec.conf").display().to_string(), ErrorKind::NotFound)));
    assert_eq!((command, text.as_str()), (Ok(()), "ipsec_status_lines_skipped 0\n"));
}

#[test]
fn an_included_file_that_cannot_be_read_is_a_complaint() {
    let config = "conn a\ninclude gone.conf\ninclude folder\nauto=add\nconn b\ninclude none/*.conf\n";
    let gateway = Gateway::new("complaint", config, "");
    gateway.write("folder/x", "");
    let configuration =
        read(&gateway.folder.join("ipsec.conf"), Dialect::StrongSwan, within(5000)).expect("it is readable");
    let names: Vec<_> = configuration.tunnels.iter().map(|tunnel| tunnel.name.as_slice()).collect();
    assert_eq!(names, [b"a", b"b"]);
    let folder = gateway.folder.display();
    assert_eq!(
        configuration.complaints,
        [
            format!("{folder}/gone.conf: not found"),
            format!("{folder}/folder: not a regular file"),
            format!("{folder}/ipsec.conf:4: neither a section nor an indented setting"),
        ]
    );
}

#[test]
fn an_include_stands_where_it_is_written() {
    let gateway = Gateway::new("place", "conn a\n auto=add\ninclude i.conf\n auto=ignore\n", "");
    gateway.write("i.conf", " auto=ignore\nconn b\n auto=add\n");
    let configuration =
        read(&gateway.folder.join("ipsec.conf"), Dialect::StrongSwan, within(5000)).expect("it is readable");
    let is_ignored = |start: Start| start == Start::Ignore;
    let ignored: Vec<_> =
        configuration.tunnels.iter().map(|tunnel| (tunnel.name.as_slice(), is_ignored(tunnel.conn.start))).collect();
    assert_eq!(ignored, [(b"a".as_slice(), true), (b"b".as_slice(), true)]);
}

#[test]
fn two_scrapes_do_not_run_the_command_at_the_same_moment() {
    let script = "mkdir $1/busy || echo both >>$1/log; echo run >>$1/log; sleep 0.2; rmdir $1/busy; cat $1/statusall";
    let gateway = Gateway::new("turn", LAN, script);
    let ipsec = gateway.watch();
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| assert_eq!(collect(&ipsec, within(5000)), (Ok(()), Ok(()), LAN_UP.to_owned())));
        }
    });
    assert_eq!(gateway.read("log"), "run\nrun\n");
}

#[test]
fn a_hanging_command_costs_its_own_scrape_only() {
    let hanging = Gateway::new("hang", LAN, "echo run >>$1/log; sleep 60");
    let ipsec = hanging.watch();
    let late = Err(Error::new(ipsec.targets().remove(1), ErrorKind::TimedOut));
    let started = Instant::now();
    thread::scope(|threads| {
        for milliseconds in [600, 300] {
            let (ipsec, late) = (&ipsec, &late);
            threads.spawn(move || {
                let (config, command, text) = collect(ipsec, within(milliseconds));
                assert_eq!((config, &command, text.as_str()), (Ok(()), late, LAN_UNKNOWN));
            });
        }
        let working = Gateway::new("beside", LAN, "cat $1/statusall");
        assert_eq!(collect(&working.watch(), within(5000)), (Ok(()), Ok(()), LAN_UP.to_owned()));
    });
    // The command hangs for a minute, and a slow machine takes a few seconds.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    hanging.write("script", "cat $1/statusall");
    assert_eq!(collect(&ipsec, within(5000)).2, LAN_UP, "afterwards all is well");
}

#[test]
fn a_whole_status_counts_whatever_starter_says_behind_it() {
    for code in [1, 3] {
        let gateway = Gateway::new(&format!("starter-{code}"), LAN, &format!("cat $1/statusall; exit {code}"));
        assert_eq!(collect(&gateway.watch(), within(5000)), (Ok(()), Ok(()), LAN_UP.to_owned()));
        gateway.write("statusall", "Security Associations (0 up, 0 connecting):\n  none\n");
        let (_, command, text) = collect(&gateway.watch(), within(5000));
        assert!(command.is_ok() && text.contains("ipsec_tunnel_status{tunnel=\"lan\"} 2\n"), "{text}");
    }
}

#[test]
fn without_a_conn_there_is_nothing_to_ask() {
    // Debian's own file includes one that is not there on every machine.
    let config = "config setup\n# conn x\n#\tauto=start\ninclude gone.inc\ninclude none/*.conf\n";
    let gateway = Gateway::new("no-conns", config, "echo run >>$1/log; exit 3");
    let ipsec = gateway.watch();
    for _ in 0..2 {
        let mut report = Report::default();
        ipsec.collect(within(5000), &mut report);
        let names: Vec<_> = report.targets.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, [gateway.folder.join("ipsec.conf").display().to_string()]);
        assert_eq!((ipsec.targets(), samples(report.exposition)), (names, String::new()));
    }
    assert_eq!(gateway.read("log"), "");
    assert!(gateway_exporter::ipsec::is_without_conns(&gateway.folder.join("ipsec.conf")));
    gateway.write("ipsec.conf", "include folder\n");
    gateway.write("folder/x", "");
    let hidden = gateway.folder.join("ipsec.conf");
    assert!(!gateway_exporter::ipsec::is_without_conns(&hidden), "what can't be read may have conns");
    gateway.write("ipsec.conf", LAN);
    gateway.write("script", "cat $1/statusall");
    assert_eq!(collect(&ipsec, within(5000)), (Ok(()), Ok(()), LAN_UP.to_owned()));
}

#[test]
fn a_command_that_fails_leaves_the_states_unknown() {
    for (script, why) in [
        ("cat $1/statusall; echo 'no such subject' >&2; exit 2", "no such subject"),
        ("head -c 300 $1/statusall; echo 'connecting to stroke failed' >&2; exit 1", "connecting to stroke failed"),
        ("echo 'Security Associations (0 up, 0 connecting):'; exit 3", "exit status: 3"),
        ("cat $1/statusall; kill -9 $$", "signal: 9 (SIGKILL)"),
        ("exit 3", "exit status: 3"),
        ("echo '000 Total IPsec connections'", "expected \"Security Associations\" at byte 28"),
        ("", "expected \"Security Associations\" at byte 0"),
    ] {
        let gateway = Gateway::new("fail", LAN, script);
        let ipsec = gateway.watch();
        let (config, command, text) = collect(&ipsec, within(5000));
        assert_eq!((config, text.as_str()), (Ok(()), LAN_UNKNOWN), "{script}");
        assert_eq!(command.unwrap_err().to_string(), format!("{}: {why}", ipsec.targets()[1]));
    }
    let gateway = Gateway::new("missing", LAN, "");
    let config = gateway.folder.join("ipsec.conf");
    let missing = Ipsec::new(Settings { config, command: vec!["no-such-ipsec".into(), "statusall".into()] });
    let (_, command, text) = collect(&missing, within(5000));
    assert_eq!((command, text.as_str()), (Err(Error::new("no-such-ipsec", ErrorKind::NotFound)), LAN_UNKNOWN));
}
