//! A charon that says what a test wants, one answer after the other, and what the exporter makes of it.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use gateway_exporter::collector::{Collector, Report};
use gateway_exporter::deadline::Deadline;
use gateway_exporter::strongswan::sa::Identity;
use gateway_exporter::strongswan::vici::{Element, encode};
use gateway_exporter::strongswan::{Settings, StrongSwan};
use gateway_exporter::sys::socket::Address;

use crate::charon::Replay;
use crate::fixture::{case, text};
use crate::reader;

/// What charon says in one scrape, in a short notation: `+name` and `-` for sections, `[name` and `]` for lists, `=item`,
/// and `key=value`, where `~` is a space.
#[derive(Clone, Copy, Default)]
struct Says<'a> {
    connections: &'a [&'a str],
    sas: &'a [&'a str],
    stats: &'a str,
    policies: Option<&'a [&'a str]>,
    pools: Option<&'a str>,
    counters: Option<&'a str>,
    keys: Option<&'a str>,
    certificates: Option<&'a [u8]>,
    /// In how many lists there is no IKE_SA, before they are as above.
    left_out: usize,
}

/// A folder and a socket that go with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gwx-says-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn segment(head: &[u8], notation: &str) -> Vec<u8> {
    let mut out = head.to_vec();
    for word in notation.split_whitespace() {
        let word = &*word.replace('~', " ");
        let element = match (word.split_at(1), word.split_once('=')) {
            (("+", name), _) => Element::Section(name.into()),
            (("-", ""), _) => Element::SectionEnd,
            (("[", name), _) => Element::List(name.into()),
            (("]", _), _) => Element::ListEnd,
            (("=", item), _) => Element::Item(item.into()),
            (_, Some((key, value))) => Element::Pair(key.into(), value.into()),
            _ => panic!("{word}"),
        };
        encode(element, &mut out);
    }
    [&u32::try_from(out.len()).unwrap().to_be_bytes()[..], &out].concat()
}

fn stream(event: &str, messages: &[&str]) -> Vec<u8> {
    let head = [&[7, event.len() as u8], event.as_bytes()].concat();
    let mut out: Vec<u8> = messages.iter().flat_map(|message| segment(&head, message)).collect();
    out.extend(segment(&[1], ""));
    out
}

impl Says<'_> {
    fn replay(&self) -> Replay {
        let folder = Scratch::new();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.0.join(name), bytes).unwrap();
        write("version.vici", &case("strongswan", "two-children").bytes("version.vici"));
        write("list-conns.vici", &stream("list-conn", self.connections));
        write("list-sas.vici", &stream("list-sa", self.sas));
        write("stats.vici", &segment(&[1], self.stats));
        let answer = |name: &str, notation: Option<&str>| {
            if let Some(notation) = notation {
                write(name, &segment(&[1], notation));
            }
        };
        answer("get-pools.vici", self.pools);
        answer("get-counters.vici", self.counters);
        answer("get-keys.vici", self.keys);
        if let Some(policies) = self.policies {
            write("list-policies.vici", &stream("list-policy", policies));
        }
        if let Some(certificates) = self.certificates {
            write("list-certs.vici", certificates);
        }
        Replay::read(&folder.0).unwrap().leaving_out(self.left_out)
    }
}

/// A connection that keeps what it was asked.
struct Heard<T>(T, Vec<u8>);

impl<T: Read> Read for Heard<T> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(out)?;
        self.1.extend_from_slice(&out[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Heard<T> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// What one scrape said.
struct Scrape {
    text: String,
    error: Option<String>,
    asked: Vec<u8>,
}

impl Scrape {
    /// How often charon was asked that command.
    fn asked(&self, command: &str) -> usize {
        let word = [&[0, command.len() as u8], command.as_bytes()].concat();
        self.asked.windows(word.len()).filter(|window| *window == word).count()
    }

    fn assert(&self, lines: &[&str]) {
        for line in lines {
            match line.strip_prefix('!') {
                Some(absent) => assert!(!self.text.contains(absent), "{absent} in\n{}", self.text),
                None => assert!(self.text.lines().any(|found| found == *line), "{line}\nis not in\n{}", self.text),
            }
        }
    }
}

/// Scrapes by one collector, one for each subject that charon says.
fn scrapes(says: &[Says<'_>]) -> Vec<Scrape> {
    let scratch = Scratch::new();
    let socket = scratch.0.join("vici");
    let listener = UnixListener::bind(&socket).unwrap();
    let replays: Vec<_> = says.iter().map(Says::replay).collect();
    let server = thread::spawn(move || {
        let answer = |replay: Replay| {
            let mut heard = Heard(listener.accept().unwrap().0, Vec::new());
            replay.answer(&mut heard).unwrap();
            heard.1
        };
        replays.into_iter().map(answer).collect::<Vec<_>>()
    });
    let collector = StrongSwan::new(Settings {
        socket: Address::Unix(socket),
        gateway: "gateway".into(),
        identity: Identity::Remote,
        certificate_interval: Duration::from_secs(3600),
        most_clients: 100,
    });
    let reports: Vec<_> = says
        .iter()
        .map(|_| {
            let mut report = Report::default();
            collector.collect(Deadline::within(Duration::from_secs(30)), &mut report);
            report
        })
        .collect();
    drop(collector);
    let asked = server.join().unwrap();
    let scrape = |(report, asked): (Report, _)| {
        let text = text(report.exposition);
        reader::read(&text);
        let error = report.targets[0].1.as_ref().err();
        Scrape { text, error: error.map(|error| error.to_string().replace(&report.targets[0].0, "VICI")), asked }
    };
    reports.into_iter().zip(asked).map(scrape).collect()
}

const THREE: [&str; 3] = [
    "+mill [remote_addrs =192.0.2.1 ] +children +lan mode=TUNNEL - - -",
    "+weir [remote_addrs =192.0.2.2 ] +children +lan mode=TUNNEL - - -",
    "+oak [remote_addrs =192.0.2.3 ] +children +lan mode=TUNNEL - - -",
];

const MILL: &str = "+mill uniqueid=1 state=ESTABLISHED remote-id=mill +child-sas +lan-1 name=lan uniqueid=1 state=INSTALLED bytes-in=10 - - -";
const WEIR: &str = "+weir uniqueid=2 state=ESTABLISHED remote-id=weir +child-sas +lan-2 name=lan uniqueid=2 state=INSTALLED bytes-in=20 - - -";

const TWO_IKE_SAS: &str = "+ikesas total=2 half-open=0 -";
const ONE_IKE_SA: &str = "+ikesas total=1 half-open=0 -";

#[test]
fn an_ike_sa_that_charon_is_busy_with_hides_nothing() {
    let both = Says { connections: &THREE, sas: &[MILL, WEIR], stats: TWO_IKE_SAS, ..Says::default() };
    let without_mill = Says { sas: &[WEIR], ..both };
    let alone = Says { sas: &[], stats: ONE_IKE_SA, ..both };
    let at_last =
        Says { sas: &["+mill uniqueid=1 state=ESTABLISHED remote-id=mill +child-sas - -"], stats: ONE_IKE_SA, ..both };
    let scrapes = scrapes(&[both, without_mill, alone, both, alone, at_last]);
    let [whole, busy, weir_is_gone, again, gone_at_once, listed] = &scrapes[..] else { panic!() };
    whole.assert(&["strongswan_busy_ike_sas 0", "strongswan_sessions_total 2"]);
    for scrape in [busy, weir_is_gone] {
        scrape.assert(&[
            "strongswan_busy_ike_sas 1",
            "strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 1",
            "strongswan_tunnel_up{child=\"lan\",connection=\"oak\"} 0",
            "strongswan_connection_sessions{connection=\"mill\"} 1",
            "strongswan_connection_sessions{connection=\"oak\"} 0",
            "strongswan_bytes_in_total{client=\"mill\"} 10",
            "strongswan_bytes_in_total{client=\"weir\"} 20",
        ]);
    }
    let weir_is_down = [
        "strongswan_tunnel_up{child=\"lan\",connection=\"weir\"} 0",
        "strongswan_connection_sessions{connection=\"weir\"} 0",
        "strongswan_sessions_total 1",
    ];
    busy.assert(&["strongswan_sessions_total 2", "strongswan_tunnel_up{child=\"lan\",connection=\"weir\"} 1"]);
    weir_is_gone.assert(&weir_is_down);
    again.assert(&["strongswan_busy_ike_sas 0", "strongswan_sessions_total 2"]);
    // Nothing tells which of the two is gone, so that neither is said to be down.
    gone_at_once.assert(&[
        "strongswan_busy_ike_sas 1",
        "strongswan_sessions_total 1",
        "strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 1",
        "strongswan_tunnel_up{child=\"lan\",connection=\"weir\"} 1",
        "strongswan_tunnel_up{child=\"lan\",connection=\"oak\"} 0",
    ]);
    listed.assert(&weir_is_down);
    listed.assert(&["strongswan_busy_ike_sas 0", "strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 0"]);
}

#[test]
fn an_ike_sa_has_ended_when_two_lists_say_so() {
    // While this list was sent, another IKE_SA came, was listed and went: the numbers before and after are the same.
    let one = Says { connections: &THREE, sas: &[MILL], stats: "+ikesas total=0 half-open=0 -", ..Says::default() };
    let scrapes = scrapes(&[one, Says { left_out: 1, ..one }, Says { left_out: 100, ..one }, one]);
    let up = |value| format!("strongswan_tunnel_up{{child=\"lan\",connection=\"mill\"}} {value}");
    for (scrape, (value, lists)) in scrapes.iter().zip([(1, 1), (1, 2), (0, 2), (1, 1)]) {
        scrape.assert(&[&up(value), &format!("strongswan_sessions_total {value}"), "strongswan_busy_ike_sas 0"]);
        assert_eq!(scrape.asked("list-sas"), lists);
    }
}

#[test]
fn the_list_is_not_asked_for_again_and_again_while_one_hangs() {
    let both = Says { connections: &THREE, sas: &[MILL, WEIR], stats: TWO_IKE_SAS, ..Says::default() };
    let busy = Says { sas: &[WEIR], ..both };
    let asked: Vec<_> =
        scrapes(&[both, busy, busy, busy, both]).iter().map(|scrape| scrape.asked("list-sas")).collect();
    assert_eq!(asked, [1, 6, 1, 1, 1]);
}

#[test]
fn a_charon_that_was_started_anew_has_nothing_of_the_one_before() {
    let [first, second] =
        ["37", "52"].map(|second| format!("+uptime since=Nov~20~17:42:{second}~2026 - +ikesas total=2 half-open=0 -"));
    let both = Says { connections: &THREE, sas: &[MILL, WEIR], stats: &first, ..Says::default() };
    let missing = Says { sas: &[WEIR], ..both };
    let scrapes = scrapes(&[both, missing, Says { stats: &second, ..missing }]);
    scrapes[1].assert(&["strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 1"]);
    scrapes[2].assert(&[
        "strongswan_tunnel_up{child=\"lan\",connection=\"weir\"} 1",
        "!strongswan_tunnel_up{child=\"lan\",connection=\"mill\"}",
        "!strongswan_connection_sessions",
    ]);
}

#[test]
fn strangers_are_one_number_and_what_this_side_begins_is_seen() {
    let stranger = |number: u32| {
        format!(
            "+(unnamed) uniqueid={number} state=CONNECTING remote-host=192.0.2.9 remote-id=%any encr-alg=AES_CBC +child-sas - -"
        )
    };
    let strangers: Vec<String> = (10..50).map(stranger).collect();
    let mut sas: Vec<&str> = strangers.iter().map(String::as_str).collect();
    sas.push("+mill uniqueid=7 state=CONNECTING initiator=yes remote-id=mill +child-sas - -");
    // A peer that has claimed whose connection it wants and is not authenticated yet.
    sas.push("+weir uniqueid=8 state=CONNECTING remote-id=weir +child-sas - -");
    let says = Says { connections: &THREE, sas: &sas, stats: "+ikesas total=42 half-open=42 -", ..Says::default() };
    let scrapes = scrapes(&[says]);
    scrapes[0].assert(&[
        "strongswan_half_open_ike_sas 42",
        "strongswan_number_of_ikes_connected 42",
        "strongswan_sessions_total 0",
        "strongswan_busy_ike_sas 0",
        "strongswan_ike_state{name=\"mill\",uniqueid=\"7\"} 0",
        "strongswan_connection_sessions{connection=\"mill\"} 0",
        "!unnamed",
        "!name=\"weir\"",
        "!strongswan_bytes_in_total",
    ]);
    assert_eq!(scrapes[0].text.matches("\nstrongswan_ike_").count(), 5, "{}", scrapes[0].text);
}

#[test]
fn a_replaced_ike_sa_is_no_second_session() {
    let replaced = "+mill uniqueid=4 state=REKEYED remote-id=mill +child-sas - -";
    let rekeying = "+mill uniqueid=5 state=REKEYING remote-id=mill +child-sas - -";
    let says = Says {
        connections: &THREE,
        sas: &[MILL, replaced, rekeying],
        stats: "+ikesas total=3 half-open=0 -",
        ..Says::default()
    };
    scrapes(&[says])[0].assert(&[
        "strongswan_sessions_total 2",
        "strongswan_number_of_ikes_connected 3",
        "strongswan_connection_sessions{connection=\"mill\"} 2",
        "strongswan_ike_state{name=\"mill\",uniqueid=\"4\"} 0",
    ]);
}

#[test]
fn shunts_are_up_where_they_are_installed_and_traps_are_told() {
    let connections = [
        "+mill [remote_addrs =192.0.2.1 ] +children +lan mode=TUNNEL - +dns mode=PASS - +smb mode=DROP - - -",
        "+weir [remote_addrs =192.0.2.0/24 ] +children +any mode=TRANSPORT - - -",
    ];
    let policies = [
        "+mill/lan child=lan ike=mill mode=TUNNEL -",
        "+mill/dns child=dns ike=mill mode=PASS -",
        "+bypass-lan/x child=x ike=bypass-lan mode=PASS -",
    ];
    let says = Says { connections: &connections, stats: "+ikesas total=0 half-open=0 -", ..Says::default() };
    let scrapes = scrapes(&[says, Says { policies: Some(&policies), ..says }]);
    scrapes[0].assert(&[
        "strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 0",
        "!child=\"dns\"",
        "!child=\"smb\"",
        "!strongswan_tunnel_trap_installed{",
    ]);
    scrapes[1].assert(&[
        "strongswan_tunnel_up{child=\"lan\",connection=\"mill\"} 0",
        "strongswan_tunnel_trap_installed{child=\"lan\",connection=\"mill\"} 1",
        "strongswan_tunnel_up{child=\"dns\",connection=\"mill\"} 1",
        "!child=\"smb\"",
        "!child=\"x\"",
        "!strongswan_tunnel_up{child=\"any\"",
    ]);
}

#[test]
fn certificates_are_asked_for_anew_when_charon_was_loaded_anew() {
    let certificates = case("strongswan", "inside").bytes("list-certs.vici");
    let [first, second] = ["37", "59"].map(|second| format!("+uptime since=Nov~20~17:42:{second}~2026 -"));
    let says = Says {
        connections: &THREE,
        stats: &first,
        keys: Some("[keys =aa ]"),
        certificates: Some(&certificates),
        ..Says::default()
    };
    let other_key = Says { keys: Some("[keys =bb ]"), ..says };
    let other_connections = Says { connections: &THREE[..2], ..other_key };
    let other_start = Says { stats: &second, ..other_connections };
    let steps = [says, says, other_key, other_key, other_connections, other_connections, other_start, other_start];
    let scrapes = scrapes(&steps);
    let asked: Vec<_> = scrapes.iter().map(|scrape| scrape.asked("list-certs")).collect();
    assert_eq!(asked, [1, 0, 1, 0, 1, 0, 1, 0]);
    for scrape in scrapes {
        assert_eq!(scrape.text.matches("\nstrongswan_certificate_not_after_timestamp_seconds{").count(), 5);
    }
}

/// What is said where charon has more than ten thousand of something.
fn complaint(says: Says<'_>) -> Option<String> {
    let scrapes = scrapes(&[Says { stats: "+ikesas total=0 half-open=0 -", ..says }]);
    scrapes[0].assert(&["probe_success{version=\"5.9.8\"} 1"]);
    scrapes[0].error.clone()
}

/// So many of a notation, with their number in place of `#`.
fn many(count: usize, notation: &str) -> Vec<String> {
    (0..count).map(|number| notation.replace('#', &number.to_string())).collect()
}

#[test]
fn what_charon_has_is_kept_up_to_a_limit() {
    for (count, has_room) in [(10_000, true), (10_001, false)] {
        let said = |what: &str| (!has_room).then(|| format!("VICI: more than 10000 {what}"));
        let connections = many(count, "+c# [remote_addrs =%any ] -");
        let connections: Vec<&str> = connections.iter().map(String::as_str).collect();
        assert_eq!(complaint(Says { connections: &connections, ..Says::default() }), said("connections"));
        let part = |from: usize, to: usize| many(to, "+c# -")[from..].concat();
        let children = [part(0, 5000), part(5000, count)]
            .map(|children| format!("+gw +children {} - -", children.replace('-', "- ").replace('+', " +")));
        let children: Vec<&str> = children.iter().map(String::as_str).collect();
        assert_eq!(complaint(Says { connections: &children, ..Says::default() }), said("children"));
        let policies = many(count, "+c# mode=PASS -");
        let policies: Vec<&str> = policies.iter().map(String::as_str).collect();
        assert_eq!(complaint(Says { policies: Some(&policies), ..Says::default() }), said("policies"));
        let pools = many(count, "+p# size=1 - ").concat();
        assert_eq!(complaint(Says { pools: Some(&pools), ..Says::default() }), said("pools"));
        let counters = format!("+counters +gw {} - -", many(count, "e#=1 ").concat());
        assert_eq!(complaint(Says { counters: Some(&counters), ..Says::default() }), said("counters"));
    }
}

#[test]
fn certificates_are_kept_up_to_a_limit() {
    let capture = case("strongswan", "inside").bytes("list-certs.vici");
    // Past the confirmation: the first event, with its length.
    let length = 4 + u32::from_be_bytes(*capture[5..].first_chunk().unwrap()) as usize;
    let event = &capture[5..5 + length];
    for (count, said) in [(10_000, None), (10_001, Some("VICI: more than 10000 certificates"))] {
        let certificates = [event.repeat(count), b"\0\0\0\x01\x01".to_vec()].concat();
        assert_eq!(complaint(Says { certificates: Some(&certificates), ..Says::default() }).as_deref(), said);
    }
}

#[test]
fn a_list_that_is_longer_than_charon_says_is_refused() {
    let sas =
        many(3000, &MILL.replace("=1", "=#").replace("remote-id=mill", &format!("remote-id={}", "m".repeat(800))));
    let sas: Vec<&str> = sas.iter().map(String::as_str).collect();
    let says = Says { connections: &THREE, sas: &sas, stats: "+ikesas total=2 half-open=0 -", ..Says::default() };
    let scrapes = scrapes(&[says, Says { stats: "+ikesas total=3000 half-open=0 -", ..says }]);
    assert_eq!(scrapes[0].error.as_deref(), Some("VICI: more than 2129920 bytes"));
    scrapes[0].assert(&["probe_success{version=\"5.9.8\"} 1", "!strongswan_sessions_total"]);
    assert_eq!(scrapes[1].error, None);
    scrapes[1].assert(&["strongswan_sessions_total 3000"]);
}
