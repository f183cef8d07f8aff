//! WireGuard, from what the kernel and sockets answered to text and JSON.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::error::Error;
use gateway_exporter::exposition::{Exposition, Options};
use gateway_exporter::netlink::{ByteOrder, Content, Malformed, messages};
use gateway_exporter::privacy::Identities;
use gateway_exporter::settings::Common;
use gateway_exporter::siphash::Key as HashKey;
use gateway_exporter::source::Source;
use gateway_exporter::text::Text;
use gateway_exporter::wireguard::WireGuard;
use gateway_exporter::wireguard::device::Device;
use gateway_exporter::wireguard::key::Key;
use gateway_exporter::wireguard::metrics::{Reading, expose};
use gateway_exporter::wireguard::names::{Format, Names, Reader};
use gateway_exporter::wireguard::netlink;
use gateway_exporter::wireguard::sessions::{Listing, list};
use gateway_exporter::wireguard::settings::{Configured, Settings};
use gateway_exporter::wireguard::totals::PeerTotals;
use gateway_exporter::wireguard::uapi::Answer;

use crate::fixture::{self, Case, NOW, cases, samples, text, torment};
use crate::reader;

/// The private and preshared keys in the captures: the tests' own, which everybody may know.
const SECRETS: [&str; 6] = [
    "QCj6nA3gorMqUemPyjcp58xRM/dN6D2azoZ9UQwDjEI=",
    "CM9tHBOLBnuJO9/n4lnczPJJsnY1Flh/GLwwMXURt2A=",
    "COEQQZkRrD8bic9sGCDaH8dOWbD2cs3NFbc7FOWdWVs=",
    "eEpsFlb1Glli+ESWiLcExvnMamZgiATqErWJr9So0VM=",
    "10656312edc2fe6cc0dced3beafb0d5dc7122e8e563fe76579379c7a69a00b59",
    "e8304a32e1600e695aa741ab47125ba7a7760f5106888a904282966dcd7a9051",
];

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(5))
}

/// What the messages of one interface say; whether it changed meanwhile.
fn device(bytes: &[u8], order: ByteOrder) -> Result<(Device, bool), Malformed> {
    let (mut device, mut is_interrupted) = (Device::default(), false);
    for message in messages(bytes, order) {
        let message = message?;
        is_interrupted |= message.is_interrupted;
        if let Content::Data(data) = message.content {
            netlink::read_device(data, &mut device)?;
        }
    }
    Ok((device, is_interrupted))
}

/// What a socket answered.
fn answer(text: &[u8]) -> Result<Device, &'static str> {
    let mut device = Device::default();
    Answer::new(&mut device, NOW).read(Text::new(text))?;
    Ok(device)
}

/// The interfaces of a case, by their files `NAME.netlink` (of a little-endian machine), `NAME.netlink-be` and `NAME.uapi`.
fn devices(case: &Case) -> Vec<(String, Device)> {
    let mut files: Vec<PathBuf> = fs::read_dir(case.path("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let name = file.file_stem()?.to_str()?.to_owned();
        let bytes = fs::read(&file).unwrap();
        let device = match file.extension()?.to_str()? {
            "netlink" => device(&bytes, ByteOrder::Little).unwrap().0,
            "netlink-be" => device(&bytes, ByteOrder::Big).unwrap().0,
            "uapi" => answer(&bytes).unwrap(),
            _ => return None,
        };
        Some((name, device))
    };
    let devices: Vec<_> = files.into_iter().filter_map(read).collect();
    assert!(!devices.is_empty(), "{}: no interface", case.name);
    devices
}

/// The names and expected peers of a case: `names.conf`, and keys in `expected`.
fn known(case: &Case) -> (Names, Configured) {
    let mut reader = Reader::new(Format::Quick);
    let file = fs::read(case.path("names.conf")).unwrap_or_default();
    Text::new(&file).lines().for_each(|line| reader.read(line));
    let mut configured = Configured::default();
    for line in fs::read_to_string(case.path("expected")).unwrap_or_default().lines() {
        configured.expect(Key::parse(line.as_bytes()).unwrap());
    }
    (reader.end(), configured)
}

fn exposed(devices: &[(String, Device)], names: &Names, configured: &Configured, options: Options) -> Exposition {
    let (mut out, mut totals) = (Exposition::with_options(options), PeerTotals::new(10));
    let mut pass = totals.pass(NOW);
    for (interface, device) in devices {
        expose(Reading { interface, id: 0, device, names, configured }, &mut pass, NOW, &mut out);
    }
    drop(pass);
    out
}

fn plain(device: Device) -> Exposition {
    exposed(&[("wg0".into(), device)], &Names::new(), &Configured::default(), Options::default())
}

#[test]
fn captures_become_the_expected_text_and_json() {
    for case in cases("wireguard") {
        let devices = devices(&case);
        let (names, configured) = known(&case);
        case.expect_samples(exposed(&devices, &names, &configured, Options::default()));
        let mut rows = Vec::new();
        for (interface, device) in &devices {
            let listing = Listing { gateway: "gateway", interface, now: NOW };
            let name = |key| names.get(key);
            list(device, &listing, name, |moment| Some(format!("at {moment}")), &mut rows);
        }
        case.expect_sessions(&rows);
        let said = text(exposed(&devices, &names, &configured, Options::default())).into_bytes();
        for secret in SECRETS {
            let hides = |bytes: &[u8]| !bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(hides(&said) && hides(&fixture::json(&rows)), "{}: a key is shown", case.name);
        }
    }
}

#[test]
fn the_same_in_the_other_byte_order_is_the_same() {
    let big = fixture::case("wireguard", "big-endian");
    let little = fixture::case("wireguard", "two-interfaces");
    assert_eq!(swapped(&little.bytes("wg0.netlink")), big.bytes("wg0.netlink-be"));
    assert_eq!(big.text("expected.prom"), little.text("expected.prom"));
    for name in CAPTURED {
        let case = fixture::case("wireguard", name);
        for (interface, read) in devices(&case) {
            let swapped = swapped(&case.bytes(&format!("{interface}.netlink")));
            assert_eq!(device(&swapped, ByteOrder::Big), Ok((read, false)), "{name}/{interface}");
        }
    }
}

/// The captures of one kernel's interfaces.
const CAPTURED: [&str; 2] = ["two-interfaces", "several-messages"];

/// A capture as a machine of the other byte order would have sent it: every number that is not the network's is turned.
fn swapped(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let kind = u16::from_le_bytes(bytes[at + 4..at + 6].try_into().unwrap());
        for (start, size) in [(0, 4), (4, 2), (6, 2), (8, 4), (12, 4)] {
            out[at + start..at + start + size].reverse();
        }
        if kind >= 16 {
            swap_attributes(bytes, &mut out, at + 20, at + length, "device");
        } else {
            out[at + 16..at + 20].reverse();
        }
        at += length.next_multiple_of(4);
    }
    out
}

/// Turns the attributes between two places; `level` is what they belong to.
fn swap_attributes(bytes: &[u8], out: &mut [u8], mut at: usize, end: usize, level: &str) {
    while at < end {
        let length = u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()) as usize;
        let kind = u16::from_le_bytes(bytes[at + 2..at + 4].try_into().unwrap()) & 0x3fff;
        out[at..at + 2].reverse();
        out[at + 2..at + 4].reverse();
        let value = at + 4..at + length;
        match (level, kind) {
            ("device", 8) => swap_attributes(bytes, out, value.start, value.end, "peers"),
            ("peers", _) => swap_attributes(bytes, out, value.start, value.end, "peer"),
            ("peer", 9) => swap_attributes(bytes, out, value.start, value.end, "networks"),
            ("networks", _) => swap_attributes(bytes, out, value.start, value.end, "network"),
            // Keys, names and addresses have no order.
            ("device", 2..=4) | ("peer", 1 | 2) | ("network", 2) => {}
            // An address: its family only, and the number of an interface at the end of IPv6.
            ("peer", 4) => out[value.start..value.start + 2].reverse(),
            ("peer", 6) => {
                out[value.start..value.start + 8].reverse();
                out[value.start + 8..value.end].reverse();
            }
            _ => out[value].reverse(),
        }
        at += length.next_multiple_of(4);
    }
}

#[test]
fn a_peer_goes_on_in_the_next_message_with_nothing_but_its_key() {
    let case = fixture::case("wireguard", "several-messages");
    let bytes = case.bytes("many.netlink");
    assert!(messages(&bytes, ByteOrder::Little).count() >= 3, "it is one message and the end");
    let (device, _) = device(&bytes, ByteOrder::Little).unwrap();
    let long = device.peers.last().unwrap();
    let networks: Vec<_> = device.allowed_ips(long).fields(b',').collect();
    assert_eq!((device.peers.len(), networks.len()), (151, 300));
    assert_eq!(networks[299], "10.20.1.43/32");
    assert_eq!(device.listen_port, Some(51822), "the first message alone says it");
}

/// A message of generic netlink with attributes, as a little-endian machine writes it.
fn message(flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap();
    [&length.to_le_bytes()[..], &30u16.to_le_bytes(), &flags.to_le_bytes(), &[0; 8], &[0, 1, 0, 0], attributes].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut out = [&length.to_le_bytes()[..], &kind.to_le_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn of_peer(attributes: &[Vec<u8>]) -> Vec<u8> {
    message(0, &attribute(0x8008, &attribute(0x8000, &attributes.concat())))
}

#[test]
fn attributes_that_the_format_does_not_allow_are_errors() {
    let key = attribute(1, &[7; 32]);
    let network = |parts: &[Vec<u8>]| of_peer(&[key.clone(), attribute(0x8009, &attribute(0x8000, &parts.concat()))]);
    let (family, address, mask) = (attribute(1, &[2, 0]), attribute(2, &[10, 0, 0, 0]), attribute(3, &[8]));
    for (what, bytes, expected) in [
        ("no length", message(0, &[0, 0, 1, 0]), "an attribute"),
        ("a length below its header", message(0, &[3, 0, 1, 0]), "an attribute"),
        ("a length beyond the message", message(0, &[9, 0, 1, 0, 1, 1, 1, 1]), "an attribute"),
        ("less than a header", message(0, &[4, 0, 1]), "an attribute"),
        ("a short number", message(0, &attribute(1, &[1, 2])), "4 bytes"),
        ("a long number", message(0, &attribute(6, &[1, 2, 3])), "2 bytes"),
        ("a short key", message(0, &attribute(4, &[1; 31])), "a key of 32 bytes"),
        ("a peer without a key", of_peer(&[attribute(7, &[0; 8])]), "a public key"),
        ("a short time", of_peer(&[key.clone(), attribute(6, &[0; 12])]), "8 bytes"),
        ("a short counter", of_peer(&[key.clone(), attribute(8, &[0; 4])]), "8 bytes"),
        ("an address of no family", of_peer(&[key.clone(), attribute(4, &[9; 16])]), "an address with a port"),
        ("a cut address", of_peer(&[key.clone(), attribute(4, &[2, 0, 1, 1, 10, 0])]), "an address with a port"),
        ("a network without a mask", network(&[family.clone(), address.clone()]), "a network"),
        ("a network without a family", network(&[address.clone(), mask.clone()]), "a network"),
        ("a network of the other family", network(&[attribute(1, &[10, 0]), address, mask]), "a network"),
        ("no generic header", [&18u32.to_le_bytes()[..], &30u16.to_le_bytes(), &[0; 12]].concat(), "a header"),
        ("a message longer than the datagram", [&99u32.to_le_bytes()[..], &[0; 16]].concat(), "a message"),
        ("a message shorter than its header", [&8u32.to_le_bytes()[..], &[0; 16]].concat(), "a message"),
        ("an overrun", [&16u32.to_le_bytes()[..], &4u16.to_le_bytes(), &[0; 10]].concat(), "a message that is whole"),
    ] {
        assert_eq!(device(&bytes, ByteOrder::Little).map_err(|error| error.expected), Err(expected), "{what}");
    }
}

#[test]
fn what_changed_while_it_was_listed_says_so() {
    assert_eq!(device(&message(0x10, &[]), ByteOrder::Little), Ok((Device::default(), true)));
    assert_eq!(device(&message(0x02, &[]), ByteOrder::Little), Ok((Device::default(), false)));
}

#[test]
fn the_kernels_own_lists_name_wireguard_and_its_interfaces() {
    let case = fixture::case("wireguard", "two-interfaces");
    let read = |file: &str| {
        let bytes = case.bytes(file);
        let (mut links, mut families, mut ended) = (Vec::new(), Vec::new(), false);
        for message in messages(&bytes, ByteOrder::Little) {
            match message.unwrap().content {
                Content::Data(data) if file == "links" => links.extend(netlink::link(data).unwrap()),
                Content::Data(data) => families.extend(netlink::family(data).unwrap()),
                Content::End => ended = true,
                Content::Refused(number) => panic!("{number}"),
            }
        }
        assert!(ended, "{file} has an end");
        (links, families)
    };
    let mut links = read("links").0;
    links.sort();
    assert_eq!(links, ["many", "wg0", "wg1"]);
    assert_eq!(read("families").1.len(), 1);
}

#[test]
fn broken_answers_give_an_error_or_valid_text() {
    let judge = |device: Device| drop(reader::read(&text(plain(device))));
    let case = fixture::case("wireguard", "two-interfaces");
    torment(&case.bytes("wg0.netlink"), |bytes| {
        device(bytes, ByteOrder::Little).into_iter().for_each(|(device, _)| judge(device));
        device(bytes, ByteOrder::Big).into_iter().for_each(|(device, _)| judge(device));
    });
    for file in ["links", "families"] {
        let bytes = case.bytes(file);
        // Cut at every byte of the first kilobyte: the rest is alike.
        for end in 0..bytes.len().min(1024) {
            for message in messages(&bytes[..end], ByteOrder::Little).take_while(Result::is_ok).flatten() {
                if let Content::Data(data) = message.content {
                    let _ = (netlink::link(data), netlink::family(data));
                }
            }
        }
    }
    let case = fixture::case("wireguard", "user-space");
    torment(&case.bytes("wg0.uapi"), |bytes| answer(bytes).into_iter().for_each(judge));
}

#[test]
fn who_a_peer_is_is_hashed_or_left_out() {
    let case = fixture::case("wireguard", "two-interfaces");
    let (devices, (names, configured)) = (devices(&case), known(&case));
    let shown =
        |identities| samples(exposed(&devices, &names, &configured, Options { identities, ..Options::default() }));
    let plain = shown(Identities::Plain);
    let hashed = shown(Identities::Hashed(HashKey::new([1; 16])));
    assert_eq!(hashed.lines().count(), plain.lines().count(), "every row is there");
    let peer = devices[0].1.peers.iter().find(|peer| !devices[0].1.endpoint(peer).is_empty()).unwrap();
    let own = devices[0].1.public_key.unwrap().to_string();
    for telling in [&*peer.public_key.to_string(), &own, "127.0.0.1:", "10.9.0.2", "asleep"] {
        assert!(plain.contains(telling) && !hashed.contains(telling), "{telling}: {hashed}");
    }
    let off = shown(Identities::Off);
    assert_eq!(off.lines().count(), 2 * devices.len(), "how many peers there are, and no more: {off}");
    let mut rows = Vec::new();
    let listing = Listing { gateway: "gateway", interface: "wg0", now: NOW };
    list(&devices[0].1, &listing, |_| None, |_| None, &mut rows);
    let row = rows.pop().expect("a session").shown(Identities::Hashed(HashKey::new([1; 16])));
    for value in [&row.remoteid, &row.remotehost, &row.remotets] {
        assert!(value.len() == 16 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{row:?}");
    }
}

#[test]
fn more_peers_than_max_series_are_left_out_and_counted() {
    let case = fixture::case("wireguard", "several-messages");
    let devices = devices(&case);
    let options = Options { most_series: Some(50), ..Options::default() };
    let out = exposed(&devices, &Names::new(), &Configured::default(), options);
    assert!(out.series() <= 50 && out.dropped() > 400, "{} {}", out.series(), out.dropped());
    assert!(text(out).contains("\nwireguard_peers{interface=\"many\"} 151\n"));
}

#[test]
fn a_peer_is_up_as_long_as_a_handshake_may_take() {
    let key = attribute(1, &[7; 32]);
    let line = |age: i64, keepalive: u16, expected: bool| {
        let handshake = [(NOW - age).to_le_bytes(), [0; 8]].concat();
        let peer = of_peer(&[key.clone(), attribute(5, &keepalive.to_le_bytes()), attribute(6, &handshake)]);
        let (device, _) = device(&peer, ByteOrder::Little).unwrap();
        let mut configured = Configured::default();
        assert!(!expected || configured.expect(Key([7; 32])));
        let text = samples(exposed(&[("wg0".into(), device)], &Names::new(), &configured, Options::default()));
        let value = |name: &str| text.lines().find(|line| line.starts_with(name)).map(|line| line.ends_with(" 1"));
        (value("wireguard_peers_connected"), value("wireguard_peer_up"))
    };
    let (yes, no) = (Some(true), Some(false));
    for (age, keepalive, expected, connected, up) in [
        (179, 0, false, yes, None),
        (180, 0, false, no, None),
        (100_000, 0, false, no, None),
        (0, 25, false, yes, yes),
        (209, 25, false, no, yes),
        (210, 25, false, no, no),
        (209, 0, true, no, yes),
        (210, 0, true, no, no),
        (600, 3600, false, no, yes),
        (3785, 3600, false, no, no),
        // A clock that was set back.
        (-3600, 25, false, yes, yes),
    ] {
        assert_eq!(line(age, keepalive, expected), (connected, up), "{age} {keepalive} {expected}");
    }
}

/// A folder of this test, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-wireguard-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// A socket of that interface that answers each question with `answer`, in pieces.
    fn serve(&self, interface: &str, answer: Vec<u8>) {
        let path = self.0.join(format!("{interface}.sock"));
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut question = [0; 7];
                client.read_exact(&mut question).unwrap();
                assert_eq!(&question, b"get=1\n\n");
                for piece in answer.chunks(700) {
                    if client.write_all(piece).is_err() {
                        break;
                    }
                }
            }
        });
    }

    fn collector(&self, more: &str) -> WireGuard {
        WireGuard::new(self.settings(more))
    }

    fn settings(&self, more: &str) -> Settings {
        let folder = self.0.display();
        let text =
            format!("wireguard:\n  socket_folder: {folder}\n  name_files: [{folder}/*.conf, {folder}/network]\n{more}");
        Config::parse(&text, &Overrides::default()).unwrap().sources.get::<WireGuard>().unwrap().clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn collect(collector: &WireGuard) -> (String, Vec<String>) {
    let mut report = Report::default();
    collector.collect(soon(), &mut report);
    let error = |(target, result): (String, Result<(), Error>)| match result {
        Ok(()) => format!("{target} ok"),
        Err(error) => error.to_string(),
    };
    (samples(report.exposition), report.targets.into_iter().map(error).collect())
}

const PUBLIC: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn small(received: u64) -> Vec<u8> {
    let key = "01".repeat(32);
    format!("private_key={key}\nlisten_port=7\npublic_key={key}\nrx_bytes={received}\ntx_bytes=5\nerrno=0\n\n")
        .into_bytes()
}

#[test]
fn a_socket_is_asked_and_each_trouble_costs_only_itself() {
    let scratch = Scratch::new("sockets");
    scratch.serve("good", small(7));
    scratch.serve("closed", b"public_key".to_vec());
    scratch.serve("no", b"errno=-5\n\n".to_vec());
    scratch.serve("other", b"hello\n".to_vec());
    drop(UnixListener::bind(scratch.0.join("stale.sock")).unwrap());
    fs::write(scratch.0.join("not-one"), "").unwrap();
    let (text, targets) = collect(&scratch.collector("  interfaces: ['*', gwx-missing]\n"));
    let at = |name: &str| scratch.0.join(name).display().to_string();
    let expected = [
        format!("{}: closed by the other side", at("closed.sock")),
        format!("{} ok", at("good.sock")),
        format!("{}: error -5", at("no.sock")),
        format!("{}: expected key=value at byte 0", at("other.sock")),
        format!("{}: connection refused", at("stale.sock")),
    ];
    assert_eq!(targets[..5], expected);
    assert!(targets.len() == 6 && targets[5].starts_with("gwx-missing: "), "{targets:?}");
    assert!(
        text.contains(&format!("wireguard_received_bytes_total{{interface=\"good\",public_key=\"{PUBLIC}\"}} 7\n")),
        "{text}"
    );
    assert_eq!(text.matches("wireguard_peers{").count(), 1, "{text}");
}

#[test]
fn a_socket_that_hangs_costs_only_itself() {
    let scratch = Scratch::new("hangs");
    let _silent = UnixListener::bind(scratch.0.join("a.sock")).unwrap();
    scratch.serve("b", small(7));
    let (text, targets) = collect(&scratch.collector("  interfaces: [a, b]\n"));
    assert!(targets.len() == 2 && targets[0].ends_with("a.sock: no answer in time"), "{targets:?}");
    assert!(targets[1].ends_with("b.sock ok") && text.contains("wireguard_peers{interface=\"b\"} 1\n"), "{targets:?}");
}

#[test]
fn a_total_goes_on_where_an_interface_is_made_anew_and_over_a_reload() {
    let scratch = Scratch::new("anew");
    scratch.serve("wg0", small(100));
    let collector = scratch.collector("");
    let total = |collector: &WireGuard| {
        let (text, _) = collect(collector);
        let line =
            text.lines().find(|line| line.starts_with("wireguard_received_bytes_total")).unwrap_or("0").to_owned();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(total(&collector), 100);
    fs::remove_file(scratch.0.join("wg0.sock")).unwrap();
    assert_eq!(total(&collector), 0, "it is gone");
    scratch.serve("wg0", small(300));
    assert_eq!(total(&collector), 400);
    let settings = scratch.settings(&format!("  peers: [{{public_key: '{PUBLIC}', name: ann}}]\n"));
    let renewed = WireGuard::build(settings.into(), Some(&collector));
    assert_eq!(total(&renewed), 400);
    assert!(collect(&renewed).0.contains("friendly_name=\"ann\""));
}

#[test]
fn names_come_from_the_configuration_then_from_comments_then_from_uci() {
    let scratch = Scratch::new("names");
    scratch.serve("wg0", small(1));
    let name = |collector: &WireGuard| {
        let (text, _) = collect(collector);
        let (_, rest) = text.split_once("friendly_name=\"").unwrap_or(("", "-\""));
        rest.split('"').next().unwrap().to_owned()
    };
    let collector = scratch.collector("");
    assert_eq!(name(&collector), "-");
    let uci = format!("config wireguard_wg0\n\toption description 'by uci'\n\toption public_key '{PUBLIC}'\n");
    fs::write(scratch.0.join("network"), uci).unwrap();
    assert_eq!(name(&collector), "by uci");
    let conf = format!("[Peer]\n# friendly_name = by comment\nPublicKey = {PUBLIC}\n");
    fs::write(scratch.0.join("wg0.conf"), conf).unwrap();
    assert_eq!(name(&collector), "by comment");
    let named = scratch.collector(&format!("  peers: [{{public_key: '{PUBLIC}', name: by us}}]\n"));
    assert_eq!(name(&named), "by us");
    fs::remove_file(scratch.0.join("wg0.conf")).unwrap();
    assert_eq!(name(&collector), "by uci");
    let mut report = Report::default();
    collector.sessions(soon(), &mut report);
    assert!(report.sessions.is_empty(), "a peer that never had a handshake has no session");
}

#[test]
fn the_section_is_read_and_a_private_key_in_it_is_not_repeated() {
    let parse = |text: &str| {
        let config = Config::parse(text, &Overrides::default()).map_err(|error| error.to_string())?;
        Ok::<_, String>(config.sources.get::<WireGuard>().cloned())
    };
    let settings = parse("wireguard: {interfaces: [wg0]}\n").unwrap().unwrap();
    assert_eq!(settings.interfaces, ["wg0"]);
    assert!(parse("wireguard: {}\n").unwrap().unwrap().interfaces.is_empty());
    assert!(parse("server_name: gw\n").unwrap().is_none());
    for (text, expected) in [
        (
            "wireguard:\n  peers:\n    - {public_key: QUJD}",
            "wireguard.peers[0].public_key: this is no public key as `wg` prints it at line 3",
        ),
        ("wireguard:\n  peers:\n    - {name: x}", "wireguard.peers[0]: missing field `public_key` at line 3"),
        ("wireguard: {interfaces: [wg0, '']}", "wireguard.interfaces[1]: an interface without a name at line 1"),
        (
            "wireguard: {interface: wg0}",
            "wireguard: unknown field `interface` (known: interfaces, peers, name_files, socket_folder) at line 1",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected);
    }
    let twice =
        format!("wireguard:\n  peers: [{{public_key: '{PUBLIC}', name: a}}, {{public_key: '{PUBLIC}', name: b}}]\n");
    assert!(parse(&twice).unwrap_err().contains("peers[1].public_key: this peer is named twice"));
}

#[test]
fn a_socket_on_the_machine_is_found() {
    let (scratch, common) = (Scratch::new("root"), Common::default());
    assert!(WireGuard::discover(&scratch.0, &common).is_none());
    fs::create_dir_all(scratch.0.join("var/run/wireguard")).unwrap();
    assert!(WireGuard::discover(&scratch.0, &common).is_none());
    let _socket = UnixListener::bind(scratch.0.join("var/run/wireguard/wg0.sock")).unwrap();
    assert!(WireGuard::discover(&scratch.0, &common).is_some());
}
