//! The sockets source against the kernel's tables: captured ones, this machine's, and a naive twin.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::error::ErrorKind;
use gateway_exporter::exposition::Exposition;
use gateway_exporter::netlink::ByteOrder;
use gateway_exporter::sockets::diag;
use gateway_exporter::sockets::matcher::Matcher;
use gateway_exporter::sockets::procnet::Lines;
use gateway_exporter::sockets::rule::{Names, Rule, Spec};
use gateway_exporter::sockets::tables::{LISTEN, States, Table};
use gateway_exporter::sockets::{Settings, Sockets, metrics};
use gateway_exporter::sys::netlink::{self, Protocol};

use crate::fixture::{Case, cases, samples};

/// How far into a table the cuts and flips go; its lines are all alike.
const SPOILT: usize = 900;

fn rules_of(case: &Case) -> Vec<Rule> {
    let config = Config::parse(&case.text("rules.yaml"), &Overrides::default()).expect("rules");
    config.sources.get::<Sockets>().expect("rules").rules.clone()
}

fn table_in(case: &Case, table: Table) -> Option<Vec<u8>> {
    fs::read(case.path(table.protocol())).ok()
}

fn order_of(case: &Case) -> ByteOrder {
    if case.name == "big-endian" { ByteOrder::Big } else { ByteOrder::Little }
}

/// What comes of one capture.
pub(crate) fn exposed_case(case: &Case) -> Exposition {
    exposed(&rules_of(case), order_of(case), |table| table_in(case, table))
}

/// What rules see in tables, without a file being read.
fn exposed(rules: &[Rule], order: ByteOrder, table_of: impl Fn(Table) -> Option<Vec<u8>>) -> Exposition {
    let names = Names::new();
    let mut matcher = Matcher::new(rules, &names);
    let mut exposition = Exposition::default();
    for table in Table::ALL {
        match table_of(table) {
            Some(bytes) => {
                let mut lines = Lines::default();
                matcher.count(table, &bytes, order, &mut lines);
                assert_eq!(lines.skipped, 0, "{table:?}");
                if matcher.reads(table) {
                    metrics::expose_state_counts(table, &lines.state_counts, matcher.states(table), &mut exposition);
                }
            }
            None => matcher.mark_unknown(|rule| rule.requires(table)),
        }
    }
    matcher.counts().for_each(|finding| metrics::expose(finding, &mut exposition));
    exposition
}

fn collected(proc: &Path, rules: Vec<Rule>) -> (String, Report) {
    let mut report = Report::default();
    Sockets::new(Settings { proc: proc.into(), rules }).collect(Deadline::within(Duration::from_secs(10)), &mut report);
    (samples(std::mem::take(&mut report.exposition)), report)
}

#[test]
fn captures_become_the_expected_samples() {
    for case in cases("sockets") {
        case.expect_samples(exposed_case(&case));
        if order_of(&case) == ByteOrder::NATIVE {
            let proc = std::env::temp_dir().join(format!("gwx-it-sockets-{}", std::process::id()));
            fs::create_dir_all(&proc).expect("a scratch folder");
            symlink(case.path("."), proc.join("net")).expect("a link");
            let (text, report) = collected(&proc, rules_of(&case));
            fs::remove_dir_all(&proc).expect("the scratch folder goes");
            assert_eq!(text, case.text("expected.prom"), "{}", case.name);
            assert!(report.targets.iter().all(|(_, result)| result.is_ok()), "{:?}", report.targets);
        }
    }
}

#[test]
fn spoilt_tables_never_see_more_sockets() {
    for case in cases("sockets") {
        let rules = rules_of(&case);
        let names = Names::new();
        let lines_of = |table, bytes: &[u8]| {
            let mut lines = Lines::default();
            Matcher::new(&rules, &names).count(table, bytes, ByteOrder::Little, &mut lines);
            lines
        };
        for table in Table::ALL {
            let Some(mut bytes) = table_in(&case, table) else { continue };
            let whole = lines_of(table, &bytes);
            bytes.truncate(SPOILT);
            for at in 0..bytes.len() {
                assert!(lines_of(table, &bytes[..at]).understood <= whole.understood);
                bytes[at] ^= 1 << (at % 8);
                let lines = lines_of(table, &bytes);
                // A flip may join two lines or make two of one.
                assert!(lines.understood <= whole.understood && lines.skipped <= 3, "{lines:?} at {at}");
                bytes[at] ^= 1 << (at % 8);
            }
        }
    }
}

fn spec(name: &str, port: u16) -> Spec {
    Spec { name: Some(name.into()), srcport: Some(port.to_string()), ..Spec::default() }
}

/// The values of one rule's samples: up, count.
fn values(text: &str, name: &str) -> (Option<u64>, Option<u64>) {
    let value = |family: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(family));
        let line = lines.find(|line| line.contains(&format!("name=\"{name}\"")))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    (value("connection_status_up{"), value("connection_status_count{"))
}

#[test]
fn this_machines_sockets_are_found_with_their_process() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    let accepted: Vec<_> = clients.iter().map(|_| listener.accept().expect("a peer")).collect();
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let udp_port = datagrams.local_addr().expect("an address").port();
    let exe = std::env::current_exe().expect("this program");
    let exe = exe.file_name().and_then(|name| name.to_str()).expect("a name");

    let tcp = |name, status: &str, process: &str| Spec {
        status: Some(status.into()),
        process: Some(process.into()),
        ..spec(name, address.port())
    };
    let there = (Some(1), Some(1));
    let written = [
        (tcp("listener", "listen", "*"), there),
        (tcp("own", "listen", exe), there),
        (tcp("own-comm", "listen", &format!("{}.*", &exe[..exe.len().min(15)])), there),
        (tcp("foreign", "listen", "no-such-process"), (Some(0), Some(0))),
        (tcp("accepted", "established", "*"), (Some(1), Some(3))),
        (tcp("own-accepted", "established", exe), (Some(1), Some(3))),
        (Spec { dsthost: Some("192.0.2.1".into()), ..spec("elsewhere", address.port()) }, (Some(0), Some(0))),
        (Spec { protocol: Some("udp".into()), status: Some("listen".into()), ..spec("udp", udp_port) }, there),
        (
            Spec { srchost: Some("localhost".into()), status: Some("listen".into()), ..spec("named", address.port()) },
            there,
        ),
    ];
    let rules = written.iter().map(|(spec, _)| Rule::new(spec).expect("a rule")).collect();
    let (text, report) = collected(Path::new("/proc"), rules);
    for (spec, expected) in &written {
        let name = spec.name.as_deref().unwrap_or_default();
        assert_eq!(values(&text, name), *expected, "{name} {:?}", report.targets);
    }
    drop(accepted);
}

/// A test that can't run says so, and fails where CI is set.
fn skipped(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    println!("SKIPPED: {reason}");
}

#[test]
fn this_machines_dual_stack_listener_speaks_both() {
    let Ok(listener) = TcpListener::bind("[::]:0") else { return skipped("no IPv6") };
    let port = listener.local_addr().expect("an address").port();
    let rules =
        [("four", "tcp", "0.0.0.0"), ("any", "tcp4", "*"), ("six", "tcp6", "::"), ("local", "tcp", "127.0.0.1")];
    let written = rules.map(|(name, protocol, host)| {
        let (protocol, srchost) = (Some(protocol.into()), Some(host.into()));
        Rule::new(&Spec { protocol, srchost, ..spec(name, port) }).expect("a rule")
    });
    let (text, _) = collected(Path::new("/proc"), written.into());
    let up = rules.map(|(name, ..)| values(&text, name).0);
    assert_eq!(up, [Some(1), Some(1), Some(1), Some(0)]);
}

/// This machine's tables under another name: they are read, and the kernel is not asked instead.
struct Link(PathBuf);

impl Link {
    fn new() -> Self {
        let thread = std::thread::current().id();
        let link = std::env::temp_dir().join(format!("gwx-it-proc-{}-{thread:?}", std::process::id()));
        symlink("/proc", &link).expect("a link");
        Self(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_kernel_answers_what_its_tables_print() {
    let four = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let near = TcpStream::connect(four.local_addr().unwrap()).expect("a connection");
    let far = four.accept().expect("a connection");
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    peer.connect(udp.local_addr().unwrap()).expect("a peer");
    // There may be no IPv6 here.
    let six = TcpListener::bind("[::]:0").ok();
    let mapped = six.as_ref().and_then(|six| {
        let port = six.local_addr().ok()?.port();
        TcpStream::connect(("::ffff:127.0.0.1".parse::<Ipv6Addr>().ok()?, port)).ok()
    });
    let udp6 = UdpSocket::bind("[::1]:0").ok();
    let ports = [
        Some(four.local_addr()),
        Some(near.local_addr()),
        Some(udp.local_addr()),
        Some(peer.local_addr()),
        six.as_ref().map(TcpListener::local_addr),
        mapped.as_ref().map(TcpStream::local_addr),
        udp6.as_ref().map(UdpSocket::local_addr),
    ];
    let mut rules = Vec::new();
    for port in ports.into_iter().flatten().map(|address| address.expect("an address").port()) {
        for (protocol, status, far) in PROTOCOLS.iter().flat_map(|protocol| {
            STATUSES[1..].iter().flat_map(move |status| [true, false].map(|far| (*protocol, *status, far)))
        }) {
            let name = format!("{port} {protocol} {status} {far}");
            let mut spec = Spec { protocol: Some(protocol.into()), status: Some(status.into()), ..spec(&name, port) };
            if far {
                (spec.srcport, spec.dstport) = (None, spec.srcport);
            }
            rules.push(Rule::new(&spec).expect("a rule"));
        }
    }
    let link = Link::new();
    let both = || (collected(Path::new("/proc"), rules.clone()).0, collected(&link.0, rules.clone()).0);
    // Other tests open and close sockets meanwhile, now and then on one of these ports.
    let (asked, printed) = (0..20).map(|_| both()).find(|(asked, printed)| asked == printed).unwrap_or_else(both);
    assert_eq!(asked, printed);
    assert!(asked.matches("} 1\n").count() >= 20, "{asked}");
    drop((far, near));
}

#[test]
fn a_listener_for_ipv6_only_is_none_for_ipv4_where_the_kernel_says_so() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn6};
    use nix::sys::socket::{bind, getsockname, listen, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let Ok(six) = socket(AddressFamily::Inet6, SockType::Stream, SockFlag::empty(), None) else {
        return skipped("no IPv6");
    };
    setsockopt(&six, sockopt::Ipv6V6Only, &true).expect("an option");
    // A machine may have the family and no address of it.
    if bind(six.as_raw_fd(), &SockaddrIn6::from(std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0))).is_err() {
        return skipped("no IPv6");
    }
    listen(&six, Backlog::new(1).unwrap()).expect("a listener");
    let port = getsockname::<SockaddrIn6>(six.as_raw_fd()).expect("an address").port();
    let rule = |protocol: &str| Rule::new(&Spec { protocol: Some(protocol.into()), ..spec(protocol, port) }).unwrap();
    let up = |proc: &Path| {
        let (text, _) = collected(proc, vec![rule("tcp"), rule("tcp6")]);
        ["tcp", "tcp6"].map(|name| values(&text, name).0)
    };
    let request = diag::request(Table::Tcp6, States::one(LISTEN));
    let deadline = Deadline::within(Duration::from_secs(5));
    let answers =
        netlink::ask(Protocol::SockDiag, "sock_diag", &request, 1 << 24, deadline, &mut |_| Ok(false)).is_ok();
    assert_eq!(up(Path::new("/proc")), [Some(u64::from(!answers)), Some(1)]);
    assert_eq!(up(&Link::new().0), [Some(1), Some(1)], "the tables don't say");
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<'a>(&mut self, among: &[&'a str]) -> &'a str {
        among[self.below(among.len())]
    }
}

const ADDRESSES4: [&str; 4] = ["00000000", "0100007F", "0A0200C0", "076433C6"];
const ADDRESSES6: [&str; 6] = [
    "00000000000000000000000000000000",
    "00000000000000000000000001000000",
    "0000000000000000FFFF00000A0200C0",
    "0000000000000000FFFF0000076433C6",
    "0000000000000000FFFF000000000000",
    "B80D0120000000000000000010000000",
];
const HOSTS: [&str; 12] =
    ["", "", "*", "*", "any", "0.0.0.0", "127.0.0.1", "192.0.2.10", "198.51.100.7", "::", "2001:db8::10", "::1"];
const PORTS: [&str; 5] = ["", "*", "any", "22", "443"];
const PROTOCOLS: [&str; 6] = ["tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"];
const STATUSES: [&str; 4] = ["", "*", "listen", "established"];

fn random_table(dice: &mut Dice, addresses: &[&str]) -> String {
    let mut text =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n".to_owned();
    for number in 0..dice.below(60) {
        let (local, remote) = (dice.pick(addresses), dice.pick(addresses));
        let (near, far) = (dice.pick(&["0016", "01BB", "0050"]), dice.pick(&["0016", "01BB", "0000"]));
        let state = dice.pick(&["01", "06", "07", "0A"]);
        text += &format!("{number:4}: {local}:{near} {remote}:{far} {state} 0:0 0:0 0 0 0 {number} 1 0 100\n");
    }
    text
}

/// An address as people write it, and whether it is IPv4, told from its text.
fn naive_address(hex: &str) -> (String, bool) {
    let bytes: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
    let bytes: Vec<u8> = bytes.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
    let dotted = |four: &[u8]| four.iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    match bytes.len() {
        4 => (dotted(&bytes), true),
        _ if hex.starts_with("0000000000000000FFFF0000") => (dotted(&bytes[12..]), true),
        _ => (IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap())).to_string(), false),
    }
}

/// Whether a rule sees a line of a table, said as plainly as possible.
fn naive_match(spec: &Spec, table: &str, line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let field = |field: &Option<String>| field.clone().filter(|text| !["", "*", "any"].contains(&text.as_str()));
    let protocol = spec.protocol.clone().unwrap();
    let listening = words[3] == if table.starts_with("tcp") { "0A" } else { "07" };
    let state_fits = match field(&spec.status).as_deref() {
        Some("listen") => listening,
        Some(_) => words[3] == "01",
        None => true,
    };
    let (local, near) = words[1].split_once(':').unwrap();
    let (remote, far) = words[2].split_once(':').unwrap();
    let ((local, local4), (remote, remote4)) = (naive_address(local), naive_address(remote));
    let unspecified = |text: &str| text == "::" || text == "0.0.0.0";
    let fits = |v4: bool| {
        let written = |text: &str| if v4 && text == "::" { "0.0.0.0".to_owned() } else { text.to_owned() };
        let port = |hex: &str| u16::from_str_radix(hex, 16).unwrap().to_string();
        field(&spec.srchost).is_none_or(|host| host == written(&local))
            && field(&spec.dsthost).is_none_or(|host| host == written(&remote))
            && field(&spec.srcport).is_none_or(|number| number == port(near))
            && field(&spec.dstport).is_none_or(|number| number == port(far))
    };
    let wants6 = protocol.ends_with('6');
    let speaks4 = (local4 || local == "::") && (remote4 || remote == "::");
    let speaks4 = speaks4 && (local4 || remote4 || (listening && unspecified(&local) && unspecified(&remote)));
    let speaks6 = !local4 && !remote4;
    table[..3] == protocol[..3] && state_fits && if wants6 { speaks6 && fits(false) } else { speaks4 && fits(true) }
}

#[test]
fn a_naive_matcher_counts_the_same() {
    let mut dice = Dice(7);
    let mut matched = 0;
    for round in 0..100 {
        let tables = ["tcp", "tcp6", "udp", "udp6"].map(|name| {
            let addresses: &[&str] = if name.ends_with('6') { &ADDRESSES6 } else { &ADDRESSES4 };
            (name, random_table(&mut dice, addresses))
        });
        for _ in 0..10 {
            let some = |text: &str| Some(text.to_owned());
            let spec = Spec {
                name: some("r"),
                srchost: some(dice.pick(&HOSTS)),
                srcport: some(dice.pick(&PORTS)),
                dsthost: some(dice.pick(&HOSTS)),
                dstport: some(dice.pick(&PORTS)),
                protocol: some(dice.pick(&PROTOCOLS)),
                process: None,
                status: some(dice.pick(&STATUSES)),
            };
            let lines = tables.iter().flat_map(|(name, text)| text.lines().skip(1).map(move |line| (*name, line)));
            let expected = lines.filter(|(name, line)| naive_match(&spec, name, line)).count() as u64;
            let table_of = |table: Table| {
                let found = tables.iter().find(|(name, _)| table.protocol() == *name);
                found.map(|(_, text)| text.clone().into_bytes())
            };
            let found = exposed(&[Rule::new(&spec).expect("a rule")], ByteOrder::Little, table_of);
            assert_eq!(
                values(&samples(found), "r"),
                (Some(expected.min(1)), Some(expected)),
                "round {round}: {spec:?}"
            );
            matched += expected;
        }
    }
    assert!(matched > 1000, "{matched}: the dice hit often enough to tell");
}

/// A folder that looks like /proc with one table, gone when dropped.
struct SickProc(PathBuf);

impl SickProc {
    fn new(name: &str, table: &[u8]) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-it-proc-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("net")).expect("a scratch folder");
        fs::write(folder.join("net/tcp"), table).expect("a table");
        Self(folder)
    }
}

impl Drop for SickProc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LISTENER: &str =
    "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 101 1 0 100 0 0 10 0\n";

#[test]
fn a_table_that_is_missing_cut_or_nonsense_has_no_numbers_of_its_own() {
    let rule = || vec![Rule::new(&spec("ssh", 22)).unwrap()];
    let proc = SickProc::new("tables", LISTENER.repeat(3).as_bytes());
    let (text, _) = collected(&proc.0, rule());
    assert_eq!(values(&text, "ssh"), (Some(1), Some(3)), "{text}");
    fs::write(proc.0.join("net/tcp"), &LISTENER.repeat(3).as_bytes()[..LISTENER.len() * 2 + 40]).unwrap();
    let (text, _) = collected(&proc.0, rule());
    assert_eq!(values(&text, "ssh"), (Some(1), Some(2)), "half a row is none: {text}");
    for (name, table) in [("nonsense", b"\xff\xfe no table\n".to_vec()), ("one endless line", vec![b'x'; 200_000])] {
        fs::write(proc.0.join("net/tcp"), table).unwrap();
        let (text, report) = collected(&proc.0, rule());
        assert_eq!(values(&text, "ssh"), (None, None), "{name}: {text}");
        assert!(report.targets[0].1.is_err(), "{name}");
    }
    fs::remove_file(proc.0.join("net/tcp")).unwrap();
    let (text, report) = collected(&proc.0, rule());
    assert_eq!(values(&text, "ssh"), (None, None), "{text}");
    assert!(
        matches!(&report.targets[0].1, Err(error) if matches!(error.kind, ErrorKind::NotFound)),
        "{:?}",
        report.targets
    );
}

#[test]
fn a_hundred_thousand_processes_cost_the_deadline_at_most() {
    let proc = SickProc::new("processes", LISTENER.as_bytes());
    for pid in 1..=100_000 {
        fs::create_dir(proc.0.join(pid.to_string())).unwrap();
    }
    let rules = vec![Rule::new(&Spec { process: Some("sshd".into()), ..spec("ssh", 22) }).unwrap()];
    let sockets = Sockets::new(Settings { proc: proc.0.clone(), rules });
    let timed = |_| {
        let (mut report, started) = (Report::default(), std::time::Instant::now());
        sockets.collect(Deadline::within(Duration::from_millis(20)), &mut report);
        (started.elapsed(), report)
    };
    // A busy machine may be slow once, not three times.
    let (taken, report) = (0..3).map(timed).min_by_key(|(taken, _)| *taken).unwrap();
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    let text = samples(report.exposition);
    assert!(
        report
            .targets
            .iter()
            .any(|(_, result)| matches!(result, Err(error) if matches!(error.kind, ErrorKind::TimedOut))),
        "{:?}",
        report.targets
    );
    assert_eq!(values(&text, "ssh"), (None, None), "what was not looked at to its end is not known: {text}");
}
