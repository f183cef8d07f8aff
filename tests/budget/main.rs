//! What a scrape may ask of the allocator: counted, so that it is the same on every machine, however busy.
//!
//! A budget is what was counted when it was last looked at; a tenth more fails. Ten times the work may take few more
//! calls, since vectors grow by doubling: no call for an SA, a client or a label, and two for a tunnel of `ipsec`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "../replay/charon.rs"]
mod charon;
mod counting;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::http::{Compress, Compression, Method, Reply, Request};
use gateway_exporter::ipsec::{self, Ipsec};
use gateway_exporter::memory_budget::MemoryBudget;
use gateway_exporter::openvpn::{self, OpenVpn};
use gateway_exporter::settings::Common;
use gateway_exporter::sockets::rule::{Rule, Spec};
use gateway_exporter::sockets::{self, Sockets};
use gateway_exporter::strongswan::sa::Identity;
use gateway_exporter::strongswan::vici::{Element, Packet, encode, parse};
use gateway_exporter::strongswan::{self, StrongSwan};
use gateway_exporter::sys::socket::Address;
use gateway_exporter::text::Text;
use gateway_exporter::wireguard::WireGuard;
use gateway_exporter::wireguard::settings::Settings as WireGuardSettings;

use counting::{Count, counted};

/// What a thousand, and then ten thousand, of something may cost.
struct Budget {
    calls: [usize; 2],
    bytes_each: usize,
}

/// A folder of this test, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-budget-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a scratch folder");
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Collects and writes the answer, as a scrape does, into a buffer that was there before.
fn scrape(collector: &dyn Collector) -> (Count, usize) {
    let mut buffer = vec![0; 16 * 1024];
    counted(|| {
        let mut report = Report::default();
        collector.collect(Deadline::within(Duration::from_secs(60)), &mut report);
        assert!(report.targets.iter().all(|(_, result)| result.is_ok()), "{:?}", report.targets);
        let (mut encoder, mut total) = (report.exposition.encode(), 0);
        loop {
            match encoder.read(&mut buffer).expect("text") {
                0 => return total,
                count => total += count,
            }
        }
    })
}

fn hold(what: &str, budget: &Budget, [small, large]: [Count; 2]) {
    let within = |counted: usize, allowed: usize| counted * 10 <= allowed * 11;
    let each = (large.peak - small.peak) / 9000;
    let said = format!("{what}: {small:?} and {large:?}, {each} bytes each");
    assert!(within(small.calls, budget.calls[0]) && within(large.calls, budget.calls[1]), "{said}");
    assert!(within(each, budget.bytes_each), "{said}");
}

/// The SA of a capture, `count` times with numbers of its own.
fn list_sas(count: usize) -> Vec<u8> {
    let capture = fs::read(fixture("strongswan/two-children/list-sas.vici")).expect("a capture");
    let length = u32::from_be_bytes(*capture[5..].first_chunk().unwrap()) as usize;
    let Ok(Packet::Event(name, message)) = parse(&capture[9..9 + length]) else { panic!("no event") };
    let mut out = Vec::new();
    for number in 0..count {
        let number = number.to_string();
        let mut body = vec![7, 7];
        body.extend_from_slice(name.bytes());
        for element in message.elements() {
            match element {
                Element::Pair(key, _) if key == "uniqueid" || key == "remote-id" => {
                    encode(Element::Pair(key, (&*number).into()), &mut body)
                }
                element => encode(element, &mut body),
            }
        }
        out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&body);
    }
    out.extend_from_slice(b"\0\0\0\x01\x01");
    out
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

fn strongswan(count: usize) -> Count {
    let scratch = Scratch::new(&format!("vici-{count}"));
    for name in ["version.vici", "list-conns.vici"] {
        fs::copy(fixture("strongswan/two-children").join(name), scratch.0.join(name)).expect("a capture");
    }
    fs::write(scratch.0.join("list-sas.vici"), list_sas(count)).expect("a capture");
    let replay = charon::Replay::read(&scratch.0).expect("a capture");
    let socket = scratch.0.join("vici");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let charon = thread::spawn(move || {
        listener.incoming().take(2).try_for_each(|client| replay.answer(client.expect("a client")))
    });
    let settings = strongswan::Settings {
        socket: Address::Unix(socket),
        gateway: "gw".into(),
        identity: Identity::default(),
        most_clients: 10_000,
        certificate_interval: Duration::from_secs(3600),
    };
    let collector = StrongSwan::new(settings);
    // The first scrape opens an account for each client, which stays.
    scrape(&collector);
    let (taken, bytes) = scrape(&collector);
    assert!(bytes > count * 3000, "{bytes}: the answer is whole");
    charon.join().unwrap().expect("an answered client");
    taken
}

fn openvpn(count: usize) -> Count {
    let scratch = Scratch::new(&format!("openvpn-{count}"));
    let captured = fs::read_to_string(fixture("openvpn/version-3/status")).expect("a capture");
    let client = captured.lines().find(|line| line.starts_with("CLIENT_LIST\talice")).expect("a client");
    let clients: String = (0..count).map(|number| client.replace("alice", &format!("a{number}")) + "\n").collect();
    let status = scratch.0.join("server.status");
    fs::write(&status, captured.replace(&format!("{client}\n"), &clients)).expect("a status file");
    thread::sleep(Duration::from_millis(50));
    let server = openvpn::Server { status: Some(status), stale_after: Some(i64::MAX), ..Default::default() };
    let settings = openvpn::Settings { servers: vec![server], gateway: "gw".into(), most_clients: 10 };
    let collector = OpenVpn::new(settings);
    // The first scrape opens an account for each client, which stays.
    scrape(&collector);
    let (taken, bytes) = scrape(&collector);
    assert!(bytes > count * 80, "{bytes}: the answer is whole");
    taken
}

fn ipsec(count: usize) -> Count {
    let scratch = Scratch::new(&format!("ipsec-{count}"));
    let (config, printed) = (scratch.0.join("ipsec.conf"), scratch.0.join("statusall"));
    let conns: String = (0..count).map(|number| format!("conn site{number}\n\tauto=start\n\n")).collect();
    fs::write(&config, conns).expect("a configuration");
    let captured = fs::read_to_string(fixture("ipsec/site-to-site/statusall")).expect("a capture");
    let (before, sas) = captured.split_once("Security Associations").expect("a list of SAs");
    let (_, sas) = sas.split_once('\n').expect("SAs");
    let name = sas.trim_start().split(['[', '{']).next().expect("a name");
    let sa: String =
        sas.lines().filter(|line| line.trim_start().starts_with(name)).flat_map(|line| [line, "\n"]).collect();
    let all: String = (0..count).map(|number| sa.replace(name, &format!("site{number}"))).collect();
    fs::write(&printed, format!("{before}Security Associations ({count} up, 0 connecting):\n{all}"))
        .expect("an output");
    let command = vec!["cat".to_owned(), printed.display().to_string()];
    let collector = Ipsec::new(ipsec::Settings { config, command });
    // The first scrape reads the configuration, which stays.
    scrape(&collector);
    let (taken, bytes) = scrape(&collector);
    assert!(bytes > count * 200, "{bytes}: the answer is whole");
    taken
}

fn tables(count: usize) -> Count {
    let scratch = Scratch::new(&format!("proc-{count}"));
    let captured = fs::read_to_string(fixture("sockets/ipv4/tcp")).expect("a capture");
    let lines: Vec<&str> = captured.lines().skip(1).collect();
    let repeated: String = lines.iter().cycle().take(count).flat_map(|line| [line, "\n"]).collect();
    fs::create_dir_all(scratch.0.join("net")).expect("a folder");
    fs::write(scratch.0.join("net/tcp"), repeated).expect("a table");
    let spec = |number: usize| Spec { name: Some(format!("r{number}")), ..Spec::default() };
    let rules = (0..20).map(|number| Rule::new(&spec(number)).expect("a rule")).collect();
    scrape(&Sockets::new(sockets::Settings { proc: scratch.0.clone(), rules })).0
}

fn wireguard(count: usize) -> Count {
    let scratch = Scratch::new(&format!("wireguard-{count}"));
    let captured = fs::read_to_string(fixture("wireguard/user-space/wg0.uapi")).expect("a capture");
    let (head, peers) = captured.split_once("public_key=").expect("a peer");
    let (_, peer) = peers.split_at(64);
    let (peer, _) = peer.split_once("public_key=").expect("another peer");
    let peers: String = (0..count).map(|number| format!("public_key={number:064x}{peer}")).collect();
    let answer = format!("{head}{peers}errno=0\n\n");
    let folder = scratch.0.join("var/run/wireguard");
    fs::create_dir_all(&folder).expect("a folder");
    let listener = UnixListener::bind(folder.join("wg0.sock")).expect("a socket");
    let user_space = thread::spawn(move || {
        listener.incoming().take(2).try_for_each(|client| client.expect("a client").write_all(answer.as_bytes()))
    });
    let common = Common { gateway: "gw".into(), most_clients: 10_000, ..Common::default() };
    let settings = WireGuardSettings::usual(&scratch.0, &common);
    let collector = WireGuard::new(WireGuardSettings { interfaces: vec!["wg0".into()], ..settings });
    // The first scrape opens an account for each peer, which stays.
    scrape(&collector);
    let (taken, bytes) = scrape(&collector);
    assert!(bytes > count * 400, "{bytes}: the answer is whole");
    user_space.join().unwrap().expect("an answered client");
    taken
}

#[test]
fn a_wireguard_peer_costs_no_call() {
    let budget = Budget { calls: [166, 203], bytes_each: 874 };
    hold("peers", &budget, [1000, 10_000].map(wireguard));
}

#[test]
fn an_ike_sa_costs_no_call_and_less_memory_than_its_text() {
    let budget = Budget { calls: [190, 205], bytes_each: 2023 };
    hold("IKE_SAs", &budget, [1000, 10_000].map(strongswan));
}

/// Answers as charon does, but a list of this event, of which `one` makes one after the other, never ends.
fn endless(mut stream: UnixStream, endless: &str, one: impl Fn(usize) -> Vec<u8>) -> io::Result<()> {
    let answer = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request)?;
        match (request[0], request.get(2..).unwrap_or_default()) {
            (3 | 4, _) => stream.write_all(&answer(&[5]))?,
            (_, name) if name.starts_with(endless.as_bytes()) => {
                for number in 0.. {
                    stream.write_all(&answer(&one(number)))?;
                }
            }
            (_, b"stats") => stream.write_all(&answer(b"\x01\x01\x06ikesas\x03\x05total\0\x011\x02"))?,
            _ => stream.write_all(&answer(&[1]))?,
        }
    }
}

/// The most bytes that a scrape holds of a charon with such a list.
fn most_held(
    name: &str,
    event: &str,
    notation: impl Fn(usize) -> Vec<Element<'static>> + Send + Sync + 'static,
) -> usize {
    let scratch = Scratch::new(&format!("endless-{name}"));
    let socket = scratch.0.join("vici");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let (name, event) = (name.to_owned(), event.to_owned());
    let charon = thread::spawn(move || {
        for client in listener.incoming().take(2) {
            let one = |number| {
                let mut body = [&[7, event.len() as u8], event.as_bytes()].concat();
                notation(number).into_iter().for_each(|element| encode(element, &mut body));
                body
            };
            // The client leaves.
            endless(client.expect("a client"), &name, one).unwrap_err();
        }
    });
    let settings = strongswan::Settings {
        socket: Address::Unix(socket),
        gateway: "gw".into(),
        identity: Identity::default(),
        most_clients: 10_000,
        certificate_interval: Duration::from_secs(3600),
    };
    let collector = StrongSwan::new(settings);
    let mut most = 0;
    for _ in 0..2 {
        let (count, ()) = counted(|| {
            let mut report = Report::default();
            collector.collect(Deadline::within(Duration::from_secs(60)), &mut report);
            let error = report.targets[0].1.as_ref().expect_err("too much").to_string();
            assert!(error.contains(": more than "), "{error}");
        });
        most = most.max(count.peak);
    }
    charon.join().unwrap();
    most
}

#[test]
fn a_hostile_charon_costs_no_more_than_16_mib() {
    fn text(number: usize, length: usize) -> Text<'static> {
        Text::new(Vec::leak(format!("{number:0>length$}").into_bytes()))
    }
    let section = |number| Element::Section(text(number, 20));
    let child =
        move |number| [Element::Section("children".into()), section(number), Element::SectionEnd, Element::SectionEnd];
    let connection = move |number| [&[section(number)][..], &child(number), &[Element::SectionEnd]].concat();
    let ike = move |number: usize| {
        let pair = |key: &'static str, value| Element::Pair(key.into(), value);
        let state = pair("state", "ESTABLISHED".into());
        let keys = [section(number), pair("uniqueid", text(number, 1)), state, pair("remote-id", text(number, 20))];
        let children = [Element::Section("child-sas".into()), section(number), pair("uniqueid", text(number, 1))];
        [&keys[..], &children, &[Element::SectionEnd; 3]].concat()
    };
    let bare = move |number: usize| vec![section(number), Element::SectionEnd];
    for most in [
        most_held("list-conns", "list-conn", connection),
        most_held("list-sas", "list-sa", ike),
        most_held("list-policies", "list-policy", bare),
    ] {
        assert!(most <= 16 * 1024 * 1024, "{most}");
    }
}

#[test]
fn an_openvpn_client_costs_no_call() {
    // Two of its threads are for calls that may hang: which files there are, and reading one.
    let budget = Budget { calls: [97, 106], bytes_each: 71 };
    hold("clients", &budget, [1000, 10_000].map(openvpn));
}

#[test]
fn a_tunnel_of_ipsec_costs_two_calls() {
    let budget = Budget { calls: [2174, 20_287], bytes_each: 1802 };
    hold("tunnels", &budget, [1000, 10_000].map(ipsec));
}

#[test]
fn a_socket_costs_nothing() {
    let budget = Budget { calls: [44, 44], bytes_each: 0 };
    hold("sockets", &budget, [1000, 10_000].map(tables));
}

/// What a compressor reserves in the memory budget: src/http/gzip.rs, `HEAP`.
const COMPRESSOR: usize = 352 * 1024;

#[test]
fn a_compressor_holds_no_more_than_it_reserves() {
    static TEXT: [u8; 1 << 21] = [b'x'; 1 << 21];
    let request = Request {
        method: Method::Get,
        path: "/".into(),
        query: Vec::new(),
        host: None,
        timeout: None,
        credentials: None,
        accepts_gzip: true,
        peer: [192, 0, 2, 1].into(),
        is_local: false,
        is_cross_site: false,
    };
    let (count, packed) = counted(|| {
        let compression = Compression::new(MemoryBudget::new(COMPRESSOR));
        compression.apply(Compress::Auto, &request, Reply::stream("text/x", &TEXT[..])).into_bytes().expect("text")
    });
    assert!(packed.len() < TEXT.len() / 100, "it was compressed: {}", packed.len());
    assert!(count.peak > COMPRESSOR * 9 / 10 && count.peak <= COMPRESSOR, "{count:?}");
}
