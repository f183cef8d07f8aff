//! The HTTP server under attack: real sockets on loopback, with limits short enough to wait for.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gateway_exporter::http::{AccessControl, Limits, Listeners, Networks, Reply, Request};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn};

const BIG: usize = 20 * 1024 * 1024;

/// Limits as they are, but for times that a test can wait for.
fn short_limits() -> Limits {
    Limits {
        head_time: Duration::from_millis(400),
        answer_time: Duration::from_millis(800),
        queue_time: Duration::from_millis(200),
        linger_time: Duration::from_millis(200),
        ..Limits::default()
    }
}

fn start(limits: Limits, respond: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> SocketAddr {
    let mut listeners = Listeners::open(&["127.0.0.1:0".to_owned()]).unwrap();
    let _ = listeners.serve(AccessControl::default(), limits, Arc::new(respond)).unwrap();
    listeners.addresses()[0]
}

fn routes(request: &Request) -> Reply {
    match request.path.as_str() {
        "/big" => Reply::ok("application/octet-stream", vec![b'x'; BIG]),
        "/stream" => Reply::stream("application/octet-stream", BufReader::new(std::io::repeat(b'x').take(BIG as u64))),
        "/short" => Reply::stream("text/plain", &b"a short stream"[..]),
        "/metrics" => Reply::ok("text/plain", &b"up 1\n"[..]),
        _ => Reply::text(404, "not found\n"),
    }
}

/// Connects from any address of loopback.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("the tests listen on IPv4") };
    let stream: OwnedFd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::bind(stream.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::from(from), 0))).unwrap();
    socket::connect(stream.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    patient(stream.into())
}

fn connect(to: SocketAddr) -> TcpStream {
    patient(TcpStream::connect(to).unwrap())
}

/// A test fails rather than hangs.
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(FAIL_SAFE)).unwrap();
    stream.set_write_timeout(Some(FAIL_SAFE)).unwrap();
    stream
}

/// All that comes back; a reset at its end is an end.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    bytes
}

fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> String {
    ask_on(connect(to), request)
}

fn ask_on(mut stream: TcpStream, request: impl AsRef<[u8]>) -> String {
    // The server may have answered and closed before it has read it all.
    let _ = stream.write_all(request.as_ref());
    String::from_utf8(rest(&mut stream)).unwrap()
}

fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).unwrap_or(0)
}

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";

/// The same, of a client that keeps its connections.
const KEPT: &str = "GET /metrics HTTP/1.1\r\nHost: gateway\r\n\r\n";

/// One ordinary scrape from another address than the attack's; its status.
fn scrape(to: SocketAddr) -> u16 {
    status(&ask_on(connect_from(SCRAPER, to), SCRAPE))
}

fn assert_scraped(to: SocketAddr) {
    assert_eq!(scrape(to), 200);
}

/// How long a test waits for what must come, on however slow a machine; what must not be waited for takes longer.
const FAIL_SAFE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(3600);

/// The addresses of loopback that the scraper and some of the others ask from.
const SCRAPER: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

#[test]
fn get_and_head_say_the_same_head() {
    let address = start(short_limits(), routes);
    let get = ask(address, SCRAPE);
    let (head, body) = get.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "up 1\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in ["Content-Type: text/plain", "Content-Length: 5", "Connection: close"] {
        assert!(head.lines().any(|one| one == line), "{line} is not in {head}");
    }
    let without_date =
        |head: &str| head.lines().filter(|line| !line.starts_with("Date: ")).collect::<Vec<_>>().join("\n");
    let answer = ask(address, SCRAPE.replace("GET", "HEAD"));
    assert_eq!(without_date(&answer), without_date(&format!("{head}\r\n\r\n")));
}

#[test]
fn refusals_are_answered_at_once() {
    let address = start(Limits { head_time: NEVER, linger_time: NEVER, ..Limits::default() }, routes);
    let endless = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(100_000));
    let long_line = format!("GET /{}", "a".repeat(1_000_000));
    for (expected, request) in [
        (400, "GET /\r\n"),
        (400, "\x16\x03\x01\x02\x00\x01\x00"),
        (400, "GET /\0 HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (404, "GET /../%2e%2e/etc/passwd%00 HTTP/1.1\r\n\r\n"),
        (405, "DELETE /metrics HTTP/1.1\r\n\r\n"),
        (431, &endless),
        (431, &long_line),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let answer = ask(address, request);
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
    assert!(ask(address, "POST / HTTP/1.1\r\n\r\n").contains("\r\nAllow: GET, HEAD\r\n"));
    assert!(ask(address, SCRAPE.replace("/metrics", "http://gateway/metrics")).ends_with("up 1\n"));
}

#[test]
fn a_head_that_is_silent_or_drips_is_cut_in_time() {
    let address = start(short_limits(), routes);
    let mut silent = connect(address);
    let mut drips = connect(address);
    let mut head = b"GET /metrics HTTP/1.1\r\nA: b\r\n".iter().chain(std::iter::repeat(&b'a'));
    let sent = wait_until(|| {
        std::thread::sleep(Duration::from_millis(20));
        drips.write_all(&[*head.next().unwrap()]).is_err()
    });
    assert!(sent > 5, "{sent}");
    // What dripped on after the answer made it a reset; the silent one reads it.
    let answer = String::from_utf8(rest(&mut silent)).unwrap();
    assert_eq!(status(&answer), 408, "{answer}");
}

#[test]
fn streams_are_whole_in_both_versions() {
    let address = start(Limits { answer_time: NEVER, queue_time: NEVER, ..short_limits() }, routes);
    let new = ask(address, "GET /short HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(new.contains("\r\nTransfer-Encoding: chunked\r\n"), "{new}");
    assert!(new.ends_with("\r\n\r\ne\r\na short stream\r\n0\r\n\r\n"), "{new}");
    let old = ask(address, "GET /short HTTP/1.0\r\n\r\n");
    assert!(!old.contains("chunked") && !old.contains("Content-Length"), "{old}");
    assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.ends_with("\r\n\r\na short stream"), "{old}");
    let body = ask(address, "GET /stream HTTP/1.0\r\n\r\n");
    assert_eq!(body.split_once("\r\n\r\n").unwrap().1.len(), BIG);
}

#[test]
fn bodies_are_not_awaited_and_what_follows_is_not_answered() {
    let address = start(Limits { head_time: NEVER, ..short_limits() }, routes);
    let held_back = ask(address, "GET /metrics HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\n");
    assert_eq!(status(&held_back), 200);
    let body = format!("GET /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000));
    assert!(ask(address, body).ends_with("\r\n\r\nup 1\n"), "a body that is sent does not eat the answer");
    let pipelined = ask(address, KEPT.repeat(500));
    assert_eq!(pipelined.matches("HTTP/1.1 ").count(), 1, "{pipelined}");
    assert!(pipelined.ends_with("up 1\n"), "{pipelined}");
}

/// Reads one reply, by its length or its chunks; its head and its body.
fn read_reply(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let head = read_until(stream, "\r\n\r\n");
    if head.contains("\r\nTransfer-Encoding: chunked\r\n") {
        let mut body = Vec::new();
        loop {
            let length = usize::from_str_radix(read_until(stream, "\r\n").trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).unwrap();
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return (head, body);
            }
        }
    }
    let length = head.split("\r\nContent-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// Asks on a connection that is kept afterwards.
fn ask_again(stream: &mut TcpStream) {
    stream.write_all(KEPT.as_bytes()).unwrap();
    let (head, body) = read_reply(stream);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
    assert_eq!(body, b"up 1\n");
}

/// Whether the server has closed a connection; waits a little for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let result = stream.read(&mut [0]);
    stream.set_read_timeout(Some(FAIL_SAFE)).unwrap();
    match result {
        Ok(0) => true,
        Ok(_) => panic!("nobody asked"),
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let address = start(Limits { kept_time: NEVER, ..short_limits() }, routes);
    let mut stream = connect(address);
    for _ in 0..50 {
        ask_again(&mut stream);
    }
    stream.write_all(b"GET /short HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream).1, b"a short stream");
    stream.write_all(b"GET /big HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream).1.len(), BIG);
    stream.write_all(KEPT.replace("GET", "HEAD").as_bytes()).unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.contains("\r\nContent-Length: 5\r\nConnection: keep-alive\r\n"), "{head}");
    // In pieces, and behind an empty line.
    for piece in ["\r\n", "GET /met", "rics HTTP/1.1\r\n", "\r\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_reply(&mut stream).1, b"up 1\n");
    stream.write_all(b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
    let (head, _) = read_reply(&mut stream);
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("\r\nConnection: keep-alive\r\n"), "{head}");
    let last = ask_on(stream, SCRAPE);
    assert!(last.contains("\r\nConnection: close\r\n") && last.ends_with("up 1\n"), "{last}");
}

#[test]
fn what_is_an_error_old_or_smuggled_ends_a_kept_connection() {
    let address = start(Limits { head_time: NEVER, kept_time: NEVER, ..short_limits() }, routes);
    for (expected, request) in [
        (404, "GET /nowhere HTTP/1.1\r\n\r\n"),
        (405, "POST /metrics HTTP/1.1\r\n\r\n"),
        (400, "nonsense\r\n\r\n"),
        (505, "PRI * HTTP/2.0\r\n\r\n"),
        (200, "GET /metrics HTTP/1.0\r\n\r\n"),
        (200, "GET /short HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
        (200, "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"),
        (200, "GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (200, "GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
        (200, "GET /metrics HTTP/1.1\r\nContent-Length: 46\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: smuggled\r\nX: y\r\n"),
        (400, "GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, "GET /metrics HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "GET /metrics HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n"),
        (200, "GET /metrics HTTP/1.1\nHost: gateway\n\n"),
        (200, "GET /metrics HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\n"),
    ] {
        let mut stream = connect(address);
        ask_again(&mut stream);
        let answer = ask_on(stream, request);
        assert_eq!((status(&answer), answer.matches("\r\nServer: ").count()), (expected, 1), "{request}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn what_is_sent_before_the_answer_is_not_answered() {
    let (address, gate) = start_gated(Limits { head_time: NEVER, kept_time: NEVER, ..short_limits() });
    let mut stream = send_scrape_kept(connect(address));
    gate.wait_for(1);
    stream.write_all(b"GET /nowhere HTTP/1.1\r\n\r\n").unwrap();
    // On its way it may not be overtaken by the answer.
    std::thread::sleep(Duration::from_millis(50));
    gate.open();
    let answer = ask_on(stream, "");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n") && answer.ends_with("up 1\n"), "{answer}");
}

#[test]
fn a_request_whose_rest_was_discarded_in_the_queue_is_the_last_of_its_connection() {
    let limits = Limits { answers: 1, connections: 1, queue_time: NEVER, kept_time: NEVER, ..short_limits() };
    let (address, gate) = start_gated(limits);
    let first = send_scrape(connect(address));
    gate.wait_for(1);
    let mut waiting = send_scrape_kept(connect_from(SCRAPER, address));
    waiting.write_all(b"GET /nowhere HTTP/1.1\r\nX: ").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    // It makes the queue too long: what the one that waits has sent is looked at.
    let more = send_scrape(connect(address));
    assert_eq!(statuses([more]), [503]);
    gate.open();
    let answer = ask_on(waiting, "y\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(statuses([first]), [200]);
}

fn send_scrape_kept(mut stream: TcpStream) -> TcpStream {
    stream.write_all(KEPT.as_bytes()).unwrap();
    stream
}

#[test]
fn a_peer_keeps_two_connections() {
    let address = start(Limits { kept_time: NEVER, ..short_limits() }, routes);
    let mut others: Vec<TcpStream> = (1..=2).map(|_| connect_from(OTHER, address)).collect();
    others.iter_mut().for_each(ask_again);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect(address)).collect();
    streams.iter_mut().for_each(ask_again);
    // Which is the oldest, the threads decide.
    wait_until(|| {
        streams.retain_mut(|stream| !is_closed(stream));
        streams.len() <= 2
    });
    assert_eq!(streams.len(), 2);
    for _ in 0..3 {
        streams.iter_mut().chain(&mut others).for_each(ask_again);
    }
}

#[test]
fn a_kept_connection_ends_in_its_time_and_a_head_that_has_begun_in_its_own() {
    let kept_time = Duration::from_secs(2);
    let address = start(Limits { kept_time, head_time: NEVER, ..short_limits() }, routes);
    let mut silent = connect(address);
    ask_again(&mut silent);
    let started = Instant::now();
    let mut begun = connect_from(OTHER, address);
    ask_again(&mut begun);
    begun.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert_eq!(rest(&mut silent), b"", "without a word");
    assert!(started.elapsed() >= kept_time / 2);
    assert!(!is_closed(&mut begun));
    begun.write_all(b"\r\n").unwrap();
    assert_eq!(read_reply(&mut begun).1, b"up 1\n");
    let address = start(Limits { kept_time: NEVER, ..short_limits() }, routes);
    let mut begun = connect(address);
    ask_again(&mut begun);
    begun.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    assert_eq!(status(&String::from_utf8(rest(&mut begun)).unwrap()), 408);
}

#[test]
fn kept_connections_are_the_first_to_be_closed() {
    let address = start(Limits { head_time: NEVER, kept_time: NEVER, connections: 8, ..short_limits() }, routes);
    let mut slow = connect_from(SCRAPER, address);
    slow.write_all(b"GET /metrics HT").unwrap();
    // More peers than there are connections, each with two that it keeps.
    let keep = |last: u8| {
        let mut stream = connect_from([127, 1, 0, last / 2], address);
        ask_again(&mut stream);
        stream
    };
    let mut crowd: Vec<TcpStream> = (0..40).map(keep).collect();
    wait_until(|| crowd.iter_mut().filter_map(|stream| is_closed(stream).then_some(())).count() == 33);
    // A connection that is kept takes no place from one whose request is still to come, of whatever peer.
    let mut silent: Vec<TcpStream> = (0..7).map(|last| connect_from([127, 2, 0, last], address)).collect();
    for stream in &mut crowd {
        assert_eq!(rest(stream), b"");
    }
    slow.write_all(b"TP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&ask_on(slow, "")), 200);
    for stream in &mut silent {
        ask_again(stream);
    }
    assert_scraped(address);
}

#[test]
fn kept_connections_are_closed_where_memory_or_the_queue_is_short() {
    let mut listeners = Listeners::open(&["127.0.0.1:0".to_owned()]).unwrap();
    let limits = Limits { kept_time: NEVER, ..short_limits() };
    let free_memory = listeners.serve(AccessControl::default(), limits, Arc::new(routes)).unwrap();
    let address = listeners.addresses()[0];
    let mut stream = connect(address);
    ask_again(&mut stream);
    // It is kept a little after it was answered.
    wait_until(|| {
        assert!(!free_memory(), "no answer was cancelled");
        is_closed(&mut stream)
    });
    let (address, gate) = start_gated(Limits { answers: 1, connections: 1, queue_time: NEVER, ..limits });
    let mut stream = connect_from(SCRAPER, address);
    stream.write_all(b"GET /metrics?at=once HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream).1, b"up 1\n");
    let first = send_scrape(connect(address));
    gate.wait_for(1);
    let second = send_scrape(connect(address));
    wait_until(|| {
        assert_eq!(statuses([send_scrape(connect(address))]), [503]);
        is_closed(&mut stream)
    });
    gate.open();
    assert_eq!(statuses([first, second]), [200, 200]);
}

#[test]
fn a_change_of_the_configuration_ends_kept_connections() {
    let mut listeners = Listeners::open(&["127.0.0.1:0".to_owned()]).unwrap();
    let limits = Limits { kept_time: NEVER, ..short_limits() };
    let gate = Arc::new(Gate::default());
    let at_gate = Arc::clone(&gate);
    let handler = move |request: &Request| {
        if request.path == "/short" {
            at_gate.pass();
        }
        routes(request)
    };
    let _ = listeners.serve(AccessControl::default(), limits, Arc::new(handler)).unwrap();
    let address = listeners.addresses()[0];
    let mut idle = connect(address);
    ask_again(&mut idle);
    let mut busy = connect_from(OTHER, address);
    busy.write_all(b"GET /short HTTP/1.1\r\n\r\n").unwrap();
    gate.wait_for(1);
    let mut begun = connect_from(OTHER, address);
    begun.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    let mut silent = connect_from(OTHER, address);
    // Answered after both were accepted.
    ask_again(&mut idle);
    let allow = Some(Networks::parse(&["127.0.0.2".to_owned()]).unwrap());
    listeners.change(&[address.to_string()], AccessControl { allow, tls: None }).unwrap();
    assert_eq!(rest(&mut idle), b"");
    begun.write_all(b"\r\n").unwrap();
    silent.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    for stream in [&mut begun, &mut silent] {
        assert_eq!(read_reply(stream).1, b"up 1\n", "who was connected before is answered");
        assert_eq!(rest(stream), b"", "once");
    }
    gate.open();
    assert_eq!(read_reply(&mut busy).1, b"a short stream", "what was asked before is answered");
    assert_eq!(rest(&mut busy), b"", "and nothing after it");
}

#[test]
fn gigabytes_of_body_are_cut() {
    let address = start(short_limits(), routes);
    let mut stream = connect(address);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let block = vec![b'x'; 1 << 20];
    let sent = (0..1000).take_while(|_| stream.write_all(&block).is_ok()).count();
    assert!(sent < 100, "{sent} MiB were taken");
    assert_scraped(address);
}

#[test]
fn the_silent_do_not_keep_a_scrape_out() {
    // From its own address, too, and with a head time that would not help.
    let address = start(Limits { head_time: NEVER, connections: 64, ..short_limits() }, routes);
    let silent: Vec<TcpStream> = (0..500).map(|_| connect(address)).collect();
    for _ in 0..20 {
        assert_scraped(address);
        assert_eq!(status(&ask(address, SCRAPE)), 200);
    }
    // Those that came last are still there.
    let last = silent.last().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert_eq!((&*last).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!((&silent[0]).read(&mut [0]).unwrap_or(0), 0, "the first one made room");
}

#[test]
fn a_lone_slow_starter_is_not_shown_out_by_a_crowd_from_elsewhere() {
    let address = start(Limits { head_time: NEVER, connections: 16, ..short_limits() }, routes);
    let slow = connect_from(OTHER, address);
    let _crowd: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    assert_eq!(status(&ask_on(slow, SCRAPE)), 200);
}

/// Waits until it is so; how often it was not.
fn wait_until(mut is_so: impl FnMut() -> bool) -> usize {
    let started = Instant::now();
    let mut tried = 0;
    while !is_so() {
        assert!(started.elapsed() < FAIL_SAFE);
        std::thread::sleep(Duration::from_millis(1));
        tried += 1;
    }
    tried
}

/// A gate that answers wait at.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    at: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.at.fetch_add(1, Ordering::SeqCst);
        let _open = self.opened.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap();
    }

    /// Waits until so many have come to it.
    fn wait_for(&self, count: usize) {
        wait_until(|| self.at.load(Ordering::SeqCst) >= count);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// A server with so many threads, whose answers wait at a gate but for those to `/metrics?at=once`.
fn start_gated(limits: Limits) -> (SocketAddr, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let at_gate = Arc::clone(&gate);
    let address = start(limits, move |request| {
        if request.query.is_empty() {
            at_gate.pass();
        }
        routes(request)
    });
    (address, gate)
}

const AT_ONCE: &str = "GET /metrics?at=once HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n";

fn send_scrape(mut stream: TcpStream) -> TcpStream {
    stream.write_all(SCRAPE.as_bytes()).unwrap();
    stream
}

/// The statuses of what was asked for.
fn statuses(asked: impl IntoIterator<Item = TcpStream>) -> Vec<u16> {
    asked.into_iter().map(|mut stream| status(&String::from_utf8(rest(&mut stream)).unwrap())).collect()
}

#[test]
fn with_all_threads_busy_the_rest_wait_a_little() {
    let limits = Limits { answers: 2, ..short_limits() };
    let (address, gate) = start_gated(limits);
    let asked = [connect(address), connect_from(OTHER, address)].map(send_scrape);
    gate.wait_for(2);
    let started = Instant::now();
    let refused = ask_on(connect_from(SCRAPER, address), SCRAPE);
    assert_eq!(status(&refused), 503, "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    assert!(started.elapsed() >= limits.queue_time);
    gate.open();
    assert_eq!(statuses(asked), [200, 200]);
}

#[test]
fn with_more_waiting_than_may_the_newest_of_the_heaviest_peer_are_refused_at_once() {
    let (address, gate) = start_gated(Limits { answers: 2, connections: 4, queue_time: NEVER, ..short_limits() });
    let asked = [connect(address), connect_from(OTHER, address)].map(send_scrape);
    gate.wait_for(2);
    let mut crowd: Vec<TcpStream> = (0..10).map(|_| send_scrape(connect(address))).collect();
    let alone = send_scrape(connect_from(SCRAPER, address));
    let waiting: Vec<TcpStream> = crowd.drain(..3).collect();
    assert_eq!(statuses(crowd), [503; 7]);
    gate.open();
    assert_eq!(statuses([alone]), [200], "who is alone with its address waits");
    assert_eq!((statuses(waiting), statuses(asked)), (vec![200; 3], vec![200; 2]));
}

#[test]
fn a_peer_gets_half_of_the_threads_that_are_left() {
    let (address, gate) = start_gated(Limits { answers: 16, queue_time: NEVER, ..short_limits() });
    // One host that asks from two addresses, as one with IPv4 and IPv6 does.
    let ask = |from| -> Vec<TcpStream> { (0..20).map(|_| send_scrape(connect_from(from, address))).collect() };
    let first = ask([127, 0, 0, 1]);
    gate.wait_for(8);
    let second = ask(OTHER);
    gate.wait_for(12);
    for _ in 0..20 {
        assert_eq!(status(&ask_on(connect_from(SCRAPER, address), AT_ONCE)), 200);
    }
    assert_eq!(gate.at.load(Ordering::SeqCst), 12, "8 and 4 of 16");
    gate.open();
    assert_eq!(statuses(first.into_iter().chain(second)), [200; 40]);
}

#[test]
fn health_and_readiness_need_no_thread() {
    let (address, gate) = start_gated(Limits { answers: 2, connections: 4, queue_time: NEVER, ..short_limits() });
    let asked = [connect(address), connect_from(OTHER, address)].map(send_scrape);
    gate.wait_for(2);
    let crowd: Vec<TcpStream> = (0..10).map(|_| send_scrape(connect(address))).collect();
    for (path, text) in [("/-/healthy", "gateway-exporter is healthy\n"), ("/-/ready", "gateway-exporter is ready\n")] {
        let answer = ask(address, format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n"));
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{text}")), "{answer}");
        assert!(answer.contains("\r\nCache-Control: no-store\r\n"), "{answer}");
        let head = ask(address, format!("HEAD {path}?x=y HTTP/1.0\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(status(&ask(address, format!("POST {path} HTTP/1.1\r\n\r\n"))), 405);
    }
    assert_eq!(gate.at.load(Ordering::SeqCst), 2);
    gate.open();
    assert_eq!(statuses(asked), [200, 200]);
    drop(crowd);
}

#[test]
fn whoever_may_not_ask_costs_no_place_of_who_may() {
    let mut listeners = Listeners::open(&["127.0.0.1:0".to_owned()]).unwrap();
    let allow = Some(Networks::parse(&["127.0.0.2".to_owned()]).unwrap());
    let limits = Limits { head_time: NEVER, linger_time: NEVER, connections: 16, ..Limits::default() };
    let _ = listeners.serve(AccessControl { allow, tls: None }, limits, Arc::new(routes)).unwrap();
    let address = listeners.addresses()[0];
    let mut slow = connect_from(SCRAPER, address);
    slow.write_all(b"GET /metrics HT").unwrap();
    // Each from another address, and none of them closes.
    let strangers: Vec<TcpStream> = (0..200).map(|last| connect_from([127, 1, 0, last], address)).collect();
    assert_eq!(statuses(strangers), [403; 200]);
    slow.write_all(b"TP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&ask_on(slow, "")), 200);
}

#[test]
fn whoever_is_answered_makes_room_for_a_head_under_way() {
    let address = start(Limits { head_time: NEVER, linger_time: NEVER, connections: 16, ..Limits::default() }, routes);
    let mut slow = connect_from(SCRAPER, address);
    slow.write_all(b"GET /metrics HT").unwrap();
    let answered: Vec<TcpStream> = (0..200)
        .map(|last| {
            let mut stream = connect_from([127, 1, 0, last], address);
            stream.write_all(b"BREW / HTTP/1.1\r\n\r\n").unwrap();
            assert_eq!(stream.read(&mut [0; 12]).unwrap(), 12);
            stream
        })
        .collect();
    slow.write_all(b"TP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(status(&ask_on(slow, "")), 200);
    drop(answered);
}

#[test]
fn two_hundred_scrapes_at_once_are_all_answered() {
    let address = start(Limits { queue_time: NEVER, ..Limits::default() }, |request| {
        std::thread::sleep(Duration::from_millis(5));
        routes(request)
    });
    let asked: Vec<TcpStream> = (0..200).map(|_| send_scrape(connect(address))).collect();
    let answers = asked.into_iter().map(|mut stream| status(&String::from_utf8(rest(&mut stream)).unwrap()));
    assert_eq!(answers.filter(|status| *status == 200).count(), 200);
}

#[test]
fn who_never_reads_is_cut_at_the_deadline() {
    let address = start(Limits { stall_time: NEVER, ..short_limits() }, routes);
    for path in ["/big", "/stream"] {
        let mut slow = connect(address);
        slow.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        // Reading a byte now and then does not help.
        let taken = wait_until(|| {
            std::thread::sleep(Duration::from_millis(50));
            assert_scraped(address);
            let _ = slow.read(&mut [0]);
            slow.take_error().unwrap().is_some()
        });
        assert!(taken > 1 && rest(&mut slow).len() < BIG / 2, "{path} was cut at once or not at all");
    }
}

#[test]
fn who_never_reads_makes_room_for_who_does() {
    let address = start(Limits { answers: 4, answer_time: NEVER, ..Limits::default() }, routes);
    let deaf: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /big HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_scraped(address);
    }
    drop(deaf);
}

#[test]
fn a_peer_that_resets_costs_nothing() {
    let address = start(Limits { queue_time: Duration::from_secs(5), ..short_limits() }, routes);
    for request in ["", "GET", "GET /big HTTP/1.1\r\n\r\n", "BREW / HTTP/1.1\r\n\r\n"] {
        for _ in 0..20 {
            let mut stream = connect(address);
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            socket::setsockopt(&stream, socket::sockopt::Linger, &linger).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
        }
        assert_scraped(address);
    }
    // Half closed is not gone.
    let stream = send_scrape(connect(address));
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = ask_on(stream, "");
    assert_eq!(status(&answer), 200, "{answer}");
}

#[test]
fn threads_are_counted() {
    let mut server = Server::start("threads_are_counted");
    let Some(server) = &mut server else { return };
    let threads = |server: &Server| {
        std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap().count() - server.threads_at_start
    };
    let _silent: Vec<TcpStream> = (0..400).map(|_| connect(server.address)).collect();
    assert_scraped(server.address);
    std::thread::sleep(Duration::from_millis(50));
    assert!(threads(server) <= 1, "the silent get none; that of the answer is kept");
    let _deaf: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = connect(server.address);
            stream.write_all(b"GET /big HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    for _ in 0..10 {
        assert_scraped(server.address);
        // One that is done is counted until the kernel has seen to it.
        assert!(threads(server) < 2 * Limits::default().answers, "{} threads", threads(server));
    }
}

#[test]
fn used_up_descriptors_are_waited_for() {
    let Some(mut server) = Server::start("used_up_descriptors_are_waited_for") else { return };
    server.say("starve");
    let mut waiting: Vec<TcpStream> = (0..20).map(|_| send_scrape(connect(server.address))).collect();
    waiting[0].set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = waiting[0].read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "nobody can be let in");
    let busy = server.processor_time();
    server.say("feed");
    waiting[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for stream in &mut waiting {
        assert_eq!(status(&String::from_utf8(rest(stream)).unwrap()), 200);
    }
    assert_scraped(server.address);
    assert!(busy < Duration::from_millis(250), "it waited by running: {busy:?}");
    let log = server.end();
    assert_eq!(log.matches("cannot accept connections: Too many open files").count(), 1, "{log}");
}

#[test]
fn a_panic_ends_the_process() {
    let Some(mut server) = Server::start("a_panic_ends_the_process") else { return };
    assert_scraped(server.address);
    assert_eq!(status(&ask(server.address, "GET /panic HTTP/1.1\r\n\r\n")), 0);
    let status = server.child.wait().unwrap();
    assert!(!status.success(), "{status}");
    let log = server.end();
    assert!(log.contains("http: a thread panicked; ending"), "{log}");
}

#[test]
fn an_idle_server_sleeps() {
    let Some(server) = Server::start("an_idle_server_sleeps") else { return };
    assert_scraped(server.address);
    // Also beside a connection that is kept.
    let mut kept = connect(server.address);
    ask_again(&mut kept);
    let switches = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
        let one = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("status")).unwrap();
        let text: String = tasks.map(|task| one(task.unwrap())).collect();
        let counts = text.lines().filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        counts.map(|count| count.trim().parse::<u64>().unwrap()).sum::<u64>()
    };
    std::thread::sleep(Duration::from_millis(300));
    let before = switches();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(switches(), before);
    ask_again(&mut kept);
}

/// This test binary again, as a server of its own; lines on its standard input tell it what to suffer.
struct Server {
    child: Child,
    address: SocketAddr,
    threads_at_start: usize,
    told: BufReader<std::process::ChildStdout>,
}

const ROLE: &str = "GATEWAY_EXPORTER_TEST_SERVER";

impl Server {
    /// None in the child, when it is over.
    fn start(test: &str) -> Option<Self> {
        if std::env::var_os(ROLE).is_some() {
            be_server();
            return None;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("http::{test}"), "--nocapture", "--test-threads=1"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(told.read_line(&mut line).unwrap(), 0, "the server did not start");
            if let Some((_, address)) = line.trim().split_once("address ") {
                break address.parse().unwrap();
            }
        };
        let threads_at_start = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().count();
        Some(Self { child, address, threads_at_start, told })
    }

    fn say(&mut self, word: &str) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word);
    }

    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        let _ = self.child.wait();
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        eprintln!("{} {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

fn be_server() {
    log::set_logger(&Stderr).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    let address = start(Limits::default(), |request| {
        assert_ne!(request.path, "/panic");
        routes(request)
    });
    println!("address {address}");
    let mut kept = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.as_str() {
            "starve" => {
                let null = || std::fs::File::open("/dev/null");
                kept.extend(std::iter::from_fn(|| null().ok()));
            }
            _ => kept.clear(),
        }
        println!("{line}");
    }
}

#[test]
fn limits_are_those_that_the_documentation_promises() {
    let Limits { connections, answers, head_bytes, head_time, queue_time, stall_time, kept, kept_time, .. } =
        Limits::default();
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (security, configuration) = (read("docs/security.md"), read("docs/configuration.md"));
    let half = answers / 2;
    for (text, promise) in [
        (&security, format!("more than {connections} other allowed addresses")),
        (&security, format!("half of the free threads: {half} of {answers}, the next {}", half / 2)),
        (&security, format!("for at most {} s.", queue_time.as_secs_f64())),
        (&security, format!("two for each peer, for {} s, without a thread", kept_time.as_secs())),
        (&configuration, format!("Handshake and request head have {} s together", head_time.as_secs())),
    ] {
        assert!(text.contains(&promise), "{promise}");
    }
    assert_eq!((head_bytes, stall_time, kept), (8192, Duration::from_millis(250), 2));
}

#[test]
fn a_head_of_8_kib_is_read_and_not_one_byte_more() {
    let patient = Limits { head_time: NEVER, queue_time: NEVER, ..short_limits() };
    let address = start(patient, routes);
    let small = start(Limits { head_bytes: 100, ..patient }, routes);
    for (address, length, expected) in
        [(address, 8192, 200), (address, 8193, 431), (small, 100, 200), (small, 101, 431)]
    {
        let (before, behind) = ("GET /metrics HTTP/1.1\r\nConnection: close\r\nX: ", "\r\n\r\n");
        let head = format!("{before}{}{behind}", "x".repeat(length - before.len() - behind.len()));
        assert_eq!((head.len(), status(&ask(address, head))), (length, expected));
    }
}

#[test]
fn as_many_connections_are_open_as_may_be_and_the_oldest_goes_first() {
    let address = start(Limits { head_time: NEVER, connections: 2, ..short_limits() }, routes);
    let mut silent: Vec<TcpStream> = (0..3).map(|_| connect(address)).collect();
    assert_eq!(rest(&mut silent[0]), b"", "it was closed for the third");
    for mut kept in silent.split_off(1) {
        kept.set_nonblocking(true).unwrap();
        assert!(kept.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock));
    }
}
