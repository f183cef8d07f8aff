//! The `ipsec` source where libreswan stands behind the command: captures, and the whole way with a stand-in for it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::error::Error;
use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::conf::Tunnel;
use gateway_exporter::ipsec::kind::Dialect;
use gateway_exporter::ipsec::{Ipsec, Settings, libreswan, metrics, read, status};
use gateway_exporter::text::Text;

use crate::fixture::{Case, case, cases, samples, text, torment};
use crate::reader;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(5))
}

fn tunnels(case: &Case) -> Vec<Tunnel> {
    let status = case.bytes("status");
    let dialect = libreswan::parse(Text::new(&status), None).map_or(Dialect::Libreswan5, |status| status.dialect);
    let configuration = read(&case.path("ipsec.conf"), dialect, soon()).expect("ipsec.conf is readable");
    assert!(configuration.complaints.is_empty(), "{:?}", configuration.complaints);
    configuration.tunnels
}

/// What comes of two outputs.
fn exposed(tunnels: &[Tunnel], status: &[u8], traffic: Option<&[u8]>) -> Exposition {
    let mut exposition = Exposition::default();
    let status = libreswan::parse(Text::new(status), traffic.map(Text::new));
    metrics::expose(tunnels, status.as_ref(), &mut exposition);
    exposition
}

/// The end of what `ipsec status` printed: the lists of connections before it are long and all alike.
fn states(status: &[u8]) -> &[u8] {
    let text = b"Total IPsec connections:";
    &status[status.windows(text.len()).position(|window| window == text).unwrap_or_default()..]
}

#[test]
fn captures_become_the_expected_samples() {
    for case in cases("libreswan") {
        let (status, traffic) = (case.bytes("status"), case.optional("trafficstatus"));
        let parsed = libreswan::parse(Text::new(&status), traffic.as_deref().map(Text::new)).expect("a status");
        assert_eq!(parsed.skipped.count, 0, "{}: {:?}", case.name, parsed.skipped);
        assert!(status::parse(Text::new(&status)).is_none(), "{}: taken for strongSwan's", case.name);
        case.expect_samples(exposed(&tunnels(&case), &status, traffic.as_deref()));
    }
}

#[test]
fn strongswan_is_not_taken_for_libreswan() {
    for case in cases("ipsec") {
        let output = case.bytes("statusall");
        assert_eq!(status::parse(Text::new(&output)).map(|status| status.dialect), Some(Dialect::StrongSwan));
        assert!(libreswan::parse(Text::new(&output), None).is_none(), "{}", case.name);
    }
}

#[test]
fn without_traffic_the_states_stand_and_the_bytes_of_what_is_up_are_unknown() {
    for case in cases("libreswan") {
        // Only traffic names the users.
        let is_known = |line: &&str| !["_bytes", "user=", "_users"].iter().any(|word| line.contains(word));
        let states_of = |text: &str| text.lines().filter(is_known).map(str::to_owned).collect();
        let text = samples(exposed(&tunnels(&case), &case.bytes("status"), None));
        let (found, expected): (Vec<String>, Vec<String>) = (states_of(&text), states_of(&case.text("expected.prom")));
        assert_eq!(found, expected, "{}", case.name);
    }
    let gateway = case("libreswan", "v4-gateway");
    let text = samples(exposed(&tunnels(&gateway), &gateway.bytes("status"), None));
    assert!(text.contains("ipsec_in_bytes{tunnel=\"depot\"} 0\n"), "{text}");
    assert!(!text.contains("ipsec_in_bytes{tunnel=\"branch\"}"), "{text}");
}

#[test]
fn damaged_captures_still_give_valid_text() {
    for case in cases("libreswan") {
        let (tunnels, status) = (tunnels(&case), case.bytes("status"));
        let traffic = case.optional("trafficstatus").unwrap_or_default();
        let judge = |status: &[u8], traffic: &[u8]| {
            reader::read(&text(exposed(&tunnels, status, Some(traffic))));
        };
        torment(states(&status), |damaged| judge(damaged, &traffic));
        torment(&traffic, |damaged| judge(states(&status), damaged));
    }
}

/// Behaves as libreswan's `ipsec`: it knows `status` and `trafficstatus`, and notes every call.
const IPSEC: &str = r#"
echo "$2" >>"$1/calls"
case $2 in
status|trafficstatus)
    [ -e "$1/$2" ] || { echo 'whack: Pluto is not running (no "/run/pluto/pluto.ctl")' >&2; exit 33; }
    cat "$1/$2" ;;
*)
    echo "/usr/sbin/ipsec: unknown IPsec command \"$2\" (\"ipsec --help\" for list)" >&2
    exit 1 ;;
esac
"#;

/// A folder with libreswan's `ipsec` in it; it goes when the test ends.
struct Gateway {
    folder: PathBuf,
    case: Case,
}

impl Gateway {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-libreswan-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a scratch folder");
        let gateway = Self { folder, case: case("libreswan", "v4-gateway") };
        gateway.start();
        fs::write(gateway.folder.join("script"), IPSEC).expect("a scratch file");
        gateway
    }

    fn start(&self) {
        for output in ["status", "trafficstatus"] {
            fs::copy(self.case.path(output), self.folder.join(output)).expect("a scratch file");
        }
    }

    fn remove(&self, output: &str) {
        fs::remove_file(self.folder.join(output)).expect("it goes");
    }

    fn calls(&self) -> String {
        let path = self.folder.join("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls
    }

    fn watch(&self, word: &str) -> Ipsec {
        let folder = self.folder.display();
        let command = ["sh".into(), format!("{folder}/script"), folder.to_string(), word.into()].to_vec();
        Ipsec::new(Settings { config: self.case.path("ipsec.conf"), command })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How commands answered: the last word of each, and its result.
type Answers = Vec<(String, Result<(), Error>)>;

/// One round: the last word of each command and how it answered, and the sample lines.
fn collect(ipsec: &Ipsec) -> (Answers, String) {
    let mut report = Report::default();
    ipsec.collect(soon(), &mut report);
    let names: Vec<String> = report.targets.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ipsec.targets());
    let word = |name: &str| name.rsplit(' ').next().unwrap_or_default().to_owned();
    let targets = report.targets.into_iter().skip(1).map(|(name, result)| (word(&name), result)).collect();
    (targets, samples(report.exposition))
}

fn both_answer() -> Answers {
    vec![("status".into(), Ok(())), ("trafficstatus".into(), Ok(()))]
}

#[test]
fn libreswan_is_found_once_and_then_asked_two_commands_a_scrape() {
    let gateway = Gateway::new("found");
    let ipsec = gateway.watch("statusall");
    let expected = (both_answer(), gateway.case.text("expected.prom"));
    assert_eq!(collect(&ipsec), expected);
    assert_eq!(gateway.calls(), "statusall\nstatus\ntrafficstatus\n");
    assert_eq!(collect(&ipsec), expected);
    assert_eq!(gateway.calls(), "status\ntrafficstatus\n");
}

#[test]
fn a_command_that_says_status_is_asked_as_it_stands() {
    let gateway = Gateway::new("status");
    let ipsec = gateway.watch("status");
    assert_eq!(collect(&ipsec), (both_answer(), gateway.case.text("expected.prom")));
    assert_eq!(gateway.calls(), "status\ntrafficstatus\n");
}

#[test]
fn pluto_may_be_down_and_come_back() {
    let gateway = Gateway::new("down");
    let ipsec = gateway.watch("statusall");
    gateway.remove("status");
    gateway.remove("trafficstatus");
    for calls in ["statusall\nstatus\ntrafficstatus\n", "status\ntrafficstatus\n"] {
        let (targets, text) = collect(&ipsec);
        assert!(text.contains("ipsec_up{tunnel=\"branch\"} 0\n") && !text.contains("_bytes"), "{text}");
        assert!(text.contains("ipsec_tunnel_status{tunnel=\"branch\"} 3\n"), "{text}");
        for (name, result) in targets {
            let why = result.unwrap_err().to_string();
            assert!(
                why.ends_with(&format!(" {name}: whack: Pluto is not running (no \"/run/pluto/pluto.ctl\")")),
                "{why}"
            );
        }
        assert_eq!(gateway.calls(), calls);
    }
    gateway.start();
    assert_eq!(collect(&ipsec), (both_answer(), gateway.case.text("expected.prom")));
}

#[test]
fn one_of_the_two_may_fail() {
    let gateway = Gateway::new("half");
    let ipsec = gateway.watch("statusall");
    gateway.remove("trafficstatus");
    let (targets, text) = collect(&ipsec);
    assert_eq!(targets.iter().map(|(_, result)| result.is_ok()).collect::<Vec<_>>(), [true, false]);
    assert!(text.contains("ipsec_tunnel_status{tunnel=\"branch\"} 0\n"), "{text}");
    assert!(!text.contains("ipsec_in_bytes{tunnel=\"branch\"}"), "{text}");
    assert!(!text.contains("ipsec_tunnel_users"), "only traffic names the users: {text}");
}

#[test]
fn strongswan_may_take_its_place() {
    let gateway = Gateway::new("changed");
    let ipsec = gateway.watch("statusall");
    collect(&ipsec);
    let strongswan = case("ipsec", "site-to-site").path("statusall");
    fs::copy(&strongswan, gateway.folder.join("status")).expect("a scratch file");
    ipsec.collect(soon(), &mut Report::default());
    gateway.calls();
    fs::write(gateway.folder.join("script"), "echo $2 >>$1/calls; cat $1/status").expect("a scratch file");
    let (targets, _) = collect(&ipsec);
    assert_eq!(targets, [("statusall".to_owned(), Ok(()))]);
    assert_eq!(gateway.calls(), "statusall\n");
}
