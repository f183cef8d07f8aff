//! charon's answers, from captures to text and JSON.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::exposition::{Exposition, Group, Groups, Options};
use gateway_exporter::privacy::Identities;
use gateway_exporter::siphash::Key;
use gateway_exporter::strongswan::configured::{Configured, ScrapeTime};
use gateway_exporter::strongswan::ike_sas::Unlisted;
use gateway_exporter::strongswan::metrics::Listing;
use gateway_exporter::strongswan::sa::{Connection, Identity, IkeSa, Policy, replaced_ike_sa};
use gateway_exporter::strongswan::stats::{self, Stats};
use gateway_exporter::strongswan::totals::SaTotals;
use gateway_exporter::strongswan::vici::{Element, Message, Packet, encode, parse};
use gateway_exporter::strongswan::{Settings, StrongSwan, metrics, sessions};
use gateway_exporter::sys::clock;
use gateway_exporter::sys::socket::Address;
use gateway_exporter::text::Text;

use crate::charon::Replay;
use crate::fixture::{self, Case, NOW, case, cases, samples, text, torment};

const CAPTURES: [&str; 3] = ["version.vici", "list-conns.vici", "list-sas.vici"];

/// A socket path in a folder that goes with it.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gwx-{}-{name}.vici", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn listen(&self) -> UnixListener {
        UnixListener::bind(&self.0).unwrap()
    }

    fn collector(&self) -> StrongSwan {
        collector(Address::Unix(self.0.clone()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn collector(socket: Address) -> StrongSwan {
    StrongSwan::new(settings(socket))
}

fn settings(socket: Address) -> Settings {
    Settings {
        socket,
        gateway: "gateway".into(),
        identity: Identity::Remote,
        certificate_interval: Duration::from_secs(3600),
        most_clients: 100,
    }
}

fn collect(collector: &StrongSwan, milliseconds: u64) -> Report {
    let mut report = Report::default();
    collector.collect(Deadline::within(Duration::from_millis(milliseconds)), &mut report);
    report
}

/// Segments without their lengths.
fn segments(mut capture: &[u8]) -> Vec<&[u8]> {
    let mut segments = Vec::new();
    while let Some(length) = capture.first_chunk::<4>() {
        let end = 4 + u32::from_be_bytes(*length) as usize;
        segments.push(&capture[4..end]);
        capture = &capture[end..];
    }
    segments
}

fn events(case: &Case, file: &str, mut each: impl FnMut(Packet<'_>)) {
    for segment in segments(&case.bytes(file)) {
        each(parse(segment).unwrap_or_else(|fault| panic!("{}/{file}: {fault:?}", case.name)));
    }
}

#[test]
fn captures_become_the_expected_text() {
    for case in cases("strongswan") {
        let socket = Socket::new(&case.name);
        let listener = socket.listen();
        let replay = Replay::read(&case.path(".")).unwrap();
        let server = thread::spawn(move || replay.answer(listener.accept().unwrap().0).unwrap());
        let report = collect(&socket.collector(), 5000);
        server.join().unwrap();
        assert_eq!(report.targets[0].1, Ok(()), "{}", case.name);
        case.expect_sample_lines(&started_in_utc(&case, samples(report.exposition)));
    }
}

/// charon says in local time when it started, so that family differs between machines; the captures were made in UTC.
fn started_in_utc(case: &Case, samples: String) -> String {
    let mut since = None;
    if case.path("stats.vici").exists() {
        events(case, "stats.vici", |packet| {
            let Packet::Response(message) = packet else { panic!("{}: no response", case.name) };
            since = Stats::parse(message).since;
        });
    }
    let Some(since) = since else { return samples };
    let line = |moment: i64| format!("strongswan_start_time_seconds {moment}\n");
    let local = line(clock::unix(since).expect("a moment"));
    assert!(samples.contains(&local), "{}: no {local}{samples}", case.name);
    samples.replace(&local, &line(fixture::utc(since).expect("a moment")))
}

#[test]
fn certificates_are_asked_for_once_in_their_interval() {
    let case = case("strongswan", "inside");
    for (interval, asked) in [(3600, 1), (0, 3)] {
        let socket = Socket::new(&format!("certificates-{interval}"));
        let listener = socket.listen();
        let replay = Replay::read(&case.path(".")).unwrap();
        let server = thread::spawn(move || {
            (0..3).filter(|_| Spied::answer(&replay, listener.accept().unwrap().0, b"list-certs")).count()
        });
        let collector = StrongSwan::new(Settings {
            certificate_interval: Duration::from_secs(interval),
            ..settings(Address::Unix(socket.0.clone()))
        });
        for _ in 0..3 {
            let text = text(collect(&collector, 5000).exposition);
            assert_eq!(text.matches("\nstrongswan_certificate_not_after_timestamp_seconds{").count(), 5, "{text}");
        }
        assert_eq!(server.join().unwrap(), asked, "{interval}");
    }
}

/// The samples of one family of certificates in a scrape of `inside` with these identities, their labels' values.
fn certificates(name: &str, identities: Identities) -> Vec<[String; 3]> {
    let socket = Socket::new(name);
    let listener = socket.listen();
    let replay = Replay::read(&case("strongswan", "inside").path(".")).unwrap();
    let server = thread::spawn(move || replay.answer(listener.accept().unwrap().0).unwrap());
    let mut report = Report::with_options(Options { identities, ..Options::default() });
    socket.collector().collect(Deadline::within(Duration::from_secs(5)), &mut report);
    server.join().unwrap();
    let text = text(report.exposition);
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("strongswan_certificate_not_after_timestamp_seconds{"));
    lines
        .map(|labels| {
            let mut values = labels.split('"').skip(1).step_by(2).map(str::to_owned);
            [values.next().unwrap(), values.next().unwrap(), values.next().unwrap()]
        })
        .collect()
}

#[test]
fn certificates_of_peers_are_named_as_clients_are() {
    let ours_and_authorities = [
        ["end-entity", "80", "C=DE, O=Example Works, OU=Net, OU=Ops, CN=gw.example.org"],
        ["end-entity", "1001", "O=Café, Söhne, CN=spare"],
        ["ca", "9f8e7d6c5b4a39281706f5e4d3c2b1a0", "C=DE, O=Example Works, CN=Root"],
        ["ca", "07", "O=Example Works, CN=Root of 2050"],
    ];
    let branch = ["end-entity", "abcdef", "O=Example Works, CN=branch.example.org"];
    let plain = certificates("plain", Identities::Plain);
    assert_eq!(plain[0], branch);
    assert_eq!(plain[1..], ours_and_authorities);
    assert_eq!(certificates("off", Identities::Off), ours_and_authorities);
    let key = Key::new([1; 16]);
    let hashed = certificates("hashed", Identities::Hashed(key));
    let hash = |name: &str| format!("{:016x}", key.hash(name.as_bytes()));
    assert_eq!(hashed[0], ["end-entity".to_owned(), hash("abcdef"), hash(branch[2])]);
    assert_eq!(hashed[1..], ours_and_authorities);
}

#[test]
fn what_is_left_out_is_not_asked_for() {
    let case = case("strongswan", "inside");
    let socket = Socket::new("without-certificates");
    let listener = socket.listen();
    let replay = Replay::read(&case.path(".")).unwrap();
    let server = thread::spawn(move || Spied::answer(&replay, listener.accept().unwrap().0, b"list-certs"));
    let mut report =
        Report::with_options(Options { without: Groups::default().with(Group::Certificates), ..Options::default() });
    socket.collector().collect(Deadline::within(Duration::from_secs(5)), &mut report);
    assert!(!server.join().unwrap());
    assert!(!text(report.exposition).contains("strongswan_certificate_"));
}

/// A client's end that keeps what was asked.
struct Spied<'a, T> {
    stream: T,
    heard: &'a mut Vec<u8>,
}

impl<T: Read + Write> Spied<'_, T> {
    /// Answers one client, and says whether it asked with that word.
    fn answer(replay: &Replay, stream: T, word: &[u8]) -> bool {
        let mut heard = Vec::new();
        replay.answer(Spied { stream, heard: &mut heard }).unwrap();
        heard.windows(word.len()).any(|window| window == word)
    }
}

impl<T: Read> Read for Spied<'_, T> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stream.read(out)?;
        self.heard.extend_from_slice(&out[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Spied<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

#[test]
fn captures_become_the_expected_json() {
    for case in cases("strongswan") {
        let mut rows = Vec::new();
        events(&case, "list-sas.vici", |packet| {
            if let Packet::Event(_, message) = packet {
                let ike = IkeSa::parse(message).unwrap();
                let moment = ike.established.map(|age| utc(NOW - age as i64)).unwrap_or_default();
                sessions::list(&ike, &moment, "gateway", &mut rows);
            }
        });
        case.expect_sessions(&rows);
    }
}

/// Hours, minutes and seconds of a moment on 2026-11-20, UTC.
fn utc(moment: i64) -> String {
    let second = moment - 1_795_132_800;
    format!("2026-11-20 {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[test]
fn the_session_list_over_the_socket_has_the_same_rows_in_local_time() {
    let case = case("strongswan", "same-identity-twice");
    let socket = Socket::new("sessions");
    let listener = socket.listen();
    let replay = Replay::read(&case.path(".")).unwrap();
    let server = thread::spawn(move || replay.answer(listener.accept().unwrap().0).unwrap());
    let mut report = Report::default();
    let before = clock::now();
    socket.collector().sessions(Deadline::within(Duration::from_secs(5)), &mut report);
    server.join().unwrap();
    assert_eq!(report.sessions.len(), 3);
    let ages: Vec<i64> = (0..60).collect();
    for row in report.sessions.iter() {
        let moment = |age: &i64| clock::local(before - age).unwrap().to_string();
        assert!(ages.iter().any(|age| moment(age) == row.established), "{}", row.established);
    }
}

#[test]
fn vici_over_tcp_says_the_same() {
    let case = case("strongswan", "two-children");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::parse(&format!("tcp://{}", listener.local_addr().unwrap())).unwrap();
    let replay = Replay::read(&case.path(".")).unwrap();
    let server = thread::spawn(move || replay.answer(listener.accept().unwrap().0).unwrap());
    case.expect_samples(collect(&collector(address), 5000).exposition);
    server.join().unwrap();
}

#[test]
fn captures_encode_to_the_same_bytes() {
    for case in cases("strongswan") {
        for file in CAPTURES {
            for segment in segments(&case.bytes(file)) {
                let (head, message) = match parse(segment).unwrap() {
                    Packet::Response(message) => (1, message),
                    Packet::Event(name, message) => (2 + name.bytes().len(), message),
                    _ => continue,
                };
                let mut encoded = segment[..head].to_vec();
                message.elements().for_each(|element| encode(element, &mut encoded));
                assert_eq!(encoded, segment, "{}/{file}", case.name);
            }
        }
    }
}

#[test]
fn broken_segments_are_refused_or_give_valid_text() {
    for case in cases("strongswan") {
        let bytes: Vec<_> = CAPTURES.iter().map(|file| case.bytes(file)).collect();
        for segment in bytes.iter().flat_map(|bytes| segments(bytes)) {
            torment(segment, |broken| {
                let Ok(Packet::Event(_, message) | Packet::Response(message)) = parse(broken) else { return };
                crate::reader::read(&text(exposed(message)));
            });
        }
    }
}

/// What comes of one message, whatever it is meant for.
fn exposed(message: Message<'_>) -> Exposition {
    let (mut configured, mut totals, now) = (Configured::default(), SaTotals::new(Identity::User, 10), scrape_time(0));
    let mut listing = Listing::default();
    if let Some(connection) = Connection::parse(message) {
        configured.register(&connection).unwrap();
    }
    if let Some(policy) = Policy::parse(message) {
        configured.record_policy(&policy);
    }
    totals.begin_pass(Some(1), &configured);
    if let Some(ike) = IkeSa::parse(message) {
        listing.record(&ike, now, &mut configured, &mut totals);
        ike.rekeyed().for_each(|child| totals.record_event(&ike, &child, 0));
        sessions::list(&ike, "", "gateway", &mut Vec::new());
    }
    totals.ikes.forget(replaced_ike_sa(message).and_then(Text::number));
    let missing = totals.end_pass(0, Unlisted::default());
    configured.finish(&listing.sessions, &missing, &Configured::default(), now.instant);
    metrics::expose_totals(&totals, &mut listing.out);
    metrics::expose_configured(&configured, &mut listing.out);
    listing.out
}

fn scrape_time(unix: i64) -> ScrapeTime {
    ScrapeTime { unix, instant: Instant::now() }
}

#[test]
fn a_rekey_tells_of_the_old_child_and_of_the_new_one() {
    let child = |number: &'static str, bytes: &'static str| {
        let pair = |key: &'static str, value: &'static str| Element::Pair(key.into(), value.into());
        [pair("name", "lan"), pair("uniqueid", number), pair("spi-in", number), pair("bytes-out", bytes)]
    };
    let section = |name: &'static str| vec![Element::Section(name.into())];
    let (pair, end) = (vec![Element::Pair("remote-id".into(), "branch".into())], vec![Element::SectionEnd]);
    let inner =
        [section("old"), child("1", "700").into(), end.clone(), section("new"), child("2", "3").into(), end.clone()];
    let outer = [section("gw"), pair, section("child-sas"), section("lan"), inner.concat(), end.repeat(3)];
    let mut segment = b"\x07\x0bchild-rekey".to_vec();
    outer.concat().into_iter().for_each(|element| encode(element, &mut segment));
    let Ok(Packet::Event(_, message)) = parse(&segment) else { panic!("no event") };
    let ike = IkeSa::parse(message).expect("an IKE_SA");
    let children: Vec<_> = ike.rekeyed().map(|child| (child.unique_id.to_string(), child.bytes_out)).collect();
    assert_eq!(children, [("1".into(), Some(700)), ("2".into(), Some(3))]);
    let mut totals = SaTotals::new(Identity::Remote, 10);
    ike.rekeyed().for_each(|child| totals.record_event(&ike, &child, 0));
    assert_eq!(totals.clients().map(|(name, total)| (name, total.bytes_out)).collect::<Vec<_>>(), [("branch", 703)]);
}

#[test]
fn broken_answers_about_charon_itself_give_valid_text() {
    let case = case("strongswan", "inside");
    for file in ["stats.vici", "get-pools.vici", "get-counters.vici", "get-counters-sums.vici", "list-certs.vici"] {
        for segment in segments(&case.bytes(file)) {
            torment(segment, |broken| {
                let Ok(Packet::Event(_, message) | Packet::Response(message)) = parse(broken) else { return };
                let mut out = Exposition::default();
                let stats = Stats::parse(message);
                metrics::expose_stats(&stats, stats.since.and_then(clock::unix), &mut out);
                stats::pools(message).for_each(|pool| metrics::expose_pool(&pool, &mut out));
                stats::events(message).for_each(|event| metrics::expose_event(&event, &mut out));
                if let Some(known) = stats::certificate(message) {
                    assert!(!known.certificate.serial.to_string().is_empty());
                }
                crate::reader::read(&text(out));
            });
        }
    }
}

/// What a scrape says when charon sends these bytes and then keeps the line open.
fn sick(name: &str, bytes: Vec<u8>) -> (String, String, Duration) {
    let socket = Socket::new(name);
    let listener = socket.listen();
    let server = thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let _ = client.write_all(&bytes);
        let _ = std::io::copy(&mut client, &mut std::io::sink());
    });
    let started = Instant::now();
    let report = collect(&socket.collector(), 300);
    let taken = started.elapsed();
    server.join().unwrap();
    let error = report.targets[0].1.as_ref().expect_err(name).to_string();
    let complaint = error.strip_prefix(&*socket.0.to_string_lossy()).expect("the socket is named").to_owned();
    (text(report.exposition), complaint, taken)
}

#[test]
fn a_sick_charon_costs_the_deadline_at_most_and_is_told_about() {
    let version = case("strongswan", "two-children").bytes("version.vici");
    let list = case("strongswan", "two-children").bytes("list-conns.vici");
    let after = |bytes: &[u8]| [&version[..], bytes].concat();
    for (name, bytes, complaint, up) in [
        ("silent", Vec::new(), ": no answer in time", false),
        ("huge", b"\x7f\xff\xff\xff".to_vec(), ": more than 524288 bytes", false),
        ("empty", vec![0; 4], ": expected a packet type at byte 0", false),
        ("garbage", b"\0\0\0\x04HTTP".to_vec(), ": expected a packet type that charon sends at byte 0", false),
        ("unknown-command", b"\0\0\0\x01\x02".to_vec(), ": version: charon does not know it", false),
        ("unknown-event", after(b"\0\0\0\x01\x06"), ": list-conn: charon does not know it", true),
        ("stops-in-the-stream", after(&list[..list.len() - 30]), ": no answer in time", true),
    ] {
        let prompt = |taken: Duration| taken < Duration::from_secs(2);
        // A busy machine may be slow once, not three times.
        let mut tries = (0..3).map(|_| sick(name, bytes.clone()));
        let (text, said, taken) =
            tries.find(|(_, _, taken)| prompt(*taken)).unwrap_or_else(|| sick(name, bytes.clone()));
        assert_eq!(said, complaint, "{name}");
        assert!(prompt(taken), "{name}: {taken:?}");
        assert_eq!(text.contains("probe_success{version=\"5.9.8\"} 1\n"), up, "{name}: {text}");
        assert_eq!(text.contains("probe_success{version=\"\"} 0\n"), !up, "{name}: {text}");
        assert!(!text.contains("sessions_total"), "what is not known is absent: {text}");
    }
}

#[test]
fn no_charon_is_down() {
    let socket = Socket::new("nobody");
    let report = collect(&socket.collector(), 5000);
    assert_eq!(report.targets[0].1.as_ref().unwrap_err().to_string(), format!("{}: not found", socket.0.display()));
    assert_eq!(crate::reader::sample_lines(&text(report.exposition)), "probe_success{version=\"\"} 0\n");
}

/// A message of charon's in hand-made bytes, with its length in front.
fn framed(head: &[u8], elements: &[Element<'_>]) -> Vec<u8> {
    let mut segment = head.to_vec();
    elements.iter().for_each(|element| encode(*element, &mut segment));
    [&u32::try_from(segment.len()).unwrap().to_be_bytes()[..], &segment].concat()
}

/// A folder with a capture in it that goes with it.
struct Changed(PathBuf);

impl Changed {
    /// That case, with these files instead of its own.
    fn new(name: &str, case: &Case, files: &[(&str, &[u8])]) -> Self {
        let folder = std::env::temp_dir().join(format!("gwx-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for file in CAPTURES {
            std::fs::write(folder.join(file), case.bytes(file)).unwrap();
        }
        files.iter().for_each(|(file, bytes)| std::fs::write(folder.join(file), bytes).unwrap());
        Self(folder)
    }

    fn replay(&self) -> Replay {
        Replay::read(&self.0).unwrap()
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The samples of the tunnel `lan` and of the connection `branch`, which is down, where charon lists IKE_SAs of strangers
/// in these states and counts so many, of which so many are half-open; and how often it was asked for the list.
fn besides_strangers(name: &str, states: &[&str], total: &str, half_open: &str) -> (bool, usize) {
    let case = case("strongswan", "nothing-up");
    let section = |name: &'static str| Element::Section(name.into());
    let mut list = Vec::new();
    for state in states {
        let state = Element::Pair("state".into(), (*state).into());
        list.extend(framed(b"\x07\x07list-sa", &[section("(unnamed)"), state, Element::SectionEnd]));
    }
    list.extend(framed(b"\x01", &[]));
    let numbers =
        [("total", total), ("half-open", half_open)].map(|(key, value)| Element::Pair(key.into(), value.into()));
    let stats = framed(b"\x01", &[section("ikesas"), numbers[0], numbers[1], Element::SectionEnd]);
    let changed = Changed::new(name, &case, &[("list-sas.vici", &list), ("stats.vici", &stats)]);
    let (socket, replay) = (Socket::new(name), changed.replay());
    let listener = socket.listen();
    let server = thread::spawn(move || {
        let mut heard = Vec::new();
        replay.answer(Spied { stream: listener.accept().unwrap().0, heard: &mut heard }).unwrap();
        heard.windows(10).filter(|window| window == b"\x00\x08list-sas").count()
    });
    let collector = socket.collector();
    let text = text(collect(&collector, 5000).exposition);
    drop(collector);
    let asked = server.join().unwrap();
    let is_known = text.contains("\nstrongswan_tunnel_up{child=\"lan\",connection=\"branch\"} 0\n");
    assert_eq!(text.contains("\nstrongswan_connection_sessions{connection=\"branch\"} 0\n"), is_known, "{text}");
    assert_eq!(text.contains("\nstrongswan_tunnel_up"), is_known, "{text}");
    assert!(text.contains(&format!("\nstrongswan_number_of_ikes_connected {total}\n")), "{text}");
    (is_known, asked)
}

#[test]
fn strangers_that_charon_is_busy_with_hide_no_tunnel_that_is_down() {
    for (name, states, total, half_open) in [
        ("stranger", &[][..], "1", "1"),
        ("stranger-beside-one", &["CONNECTING"], "2", "2"),
        ("stranger-beside-others", &["CONNECTING", "ESTABLISHED", "DELETING"], "5", "3"),
    ] {
        assert_eq!(besides_strangers(name, states, total, half_open), (true, 1), "{name}");
    }
}

#[test]
fn an_established_ike_sa_that_charon_is_busy_with_is_no_stranger() {
    for (name, states, total, half_open) in [
        ("busy-alone", &[][..], "1", "0"),
        ("busy-beside-stranger", &[], "2", "1"),
        ("busy-beside-listed-stranger", &["CONNECTING"], "2", "1"),
    ] {
        let (is_known, asked) = besides_strangers(name, states, total, half_open);
        assert!(!is_known && asked > 1, "{name}: {asked}");
    }
}

/// When charon started, as each of these scrapes says; charon says so many seconds of that minute.
fn started(seconds: &[&str]) -> Vec<i64> {
    let case = case("strongswan", "inside");
    let socket = Socket::new("started");
    let listener = socket.listen();
    let replays: Vec<_> = seconds
        .iter()
        .map(|second| {
            let mut stats = case.bytes("stats.vici");
            let at = stats.windows(8).position(|window| window == b"17:42:37").unwrap();
            stats[at + 6..at + 8].copy_from_slice(second.as_bytes());
            Changed::new(&format!("started-{second}"), &case, &[("stats.vici", &stats)]).replay()
        })
        .collect();
    let server = thread::spawn(move || {
        thread::scope(|scope| {
            for replay in replays {
                let stream = listener.accept().unwrap().0;
                scope.spawn(move || replay.answer(stream).unwrap());
            }
        });
    });
    let collector = socket.collector();
    let name = "\nstrongswan_start_time_seconds ";
    let moments = seconds.iter().map(|_| {
        let text = text(collect(&collector, 5000).exposition);
        let (_, rest) = text.split_once(name).unwrap();
        rest.split('\n').next().unwrap().parse().unwrap()
    });
    let moments = moments.collect();
    drop(collector);
    server.join().unwrap();
    moments
}

#[test]
fn a_start_that_charon_tells_a_second_apart_is_the_same_start() {
    let moments = started(&["37", "38", "36", "37", "40", "41"]);
    let first = moments[0];
    assert_eq!(moments.iter().map(|moment| moment - first).collect::<Vec<_>>(), [0, 0, 0, 0, 3, 3]);
}

/// What a scrape of `two-children` says when charon is busy with its one IKE_SA for that many lists.
fn busy(name: &str, lists: usize) -> Report {
    let socket = Socket::new(name);
    let listener = socket.listen();
    let replay = Replay::read(&case("strongswan", "two-children").path(".")).unwrap().busy(lists);
    let server = thread::spawn(move || replay.answer(listener.accept().unwrap().0).unwrap());
    let report = collect(&socket.collector(), 5000);
    server.join().unwrap();
    assert_eq!(report.targets[0].1, Ok(()));
    report
}

#[test]
fn an_ike_sa_that_charon_is_busy_with_is_asked_for_again() {
    let samples = samples(busy("busy", 2).exposition);
    // This charon tells how many IKE_SAs it has.
    let (before, after) = samples.split_once("strongswan_busy_ike_sas 0\n").expect("none is busy any more");
    case("strongswan", "two-children").expect_sample_lines(&format!("{before}{after}"));
}

#[test]
fn a_tunnel_that_charon_does_not_list_for_long_is_neither_up_nor_down() {
    let text = text(busy("busy-for-long", 1000).exposition);
    assert!(text.contains("\nstrongswan_sessions_total 1\n"), "{text}");
    assert!(!text.contains("strongswan_tunnel_up{"), "{text}");
}
