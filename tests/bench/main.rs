//! The limits that a scrape is held against: the same work without the exporter.
//!
//! `bench copy LISTEN BYTES KIND SOURCE…` answers as a daemon that does nothing with what it reads: for each connection it
//! reads its source anew, throws that away, and sends as many bytes as the exporter's answer has. A source is `drain SOCKET`,
//! a charon's SAs, `uapi SOCKET`, a WireGuard's peers, `read FILE…`, which is read into one buffer again and again, or `load
//! FILE`, which is kept in memory as a whole.
//! `memchr FILE` looks for every line's end, and `parse FILE` reads a status file's entries: each prints how many seconds it
//! took, and how many of them on a CPU. `serve LISTEN CONFIG PROC` is the daemon with its sockets read from another `/proc`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gateway_exporter::app::App;
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::http::{AccessControl, Limits, Listeners, Request};
use gateway_exporter::openvpn::status::{Document, parse};
use gateway_exporter::sockets::Sockets;
use gateway_exporter::source;
use gateway_exporter::strongswan::vici;
use gateway_exporter::sys::libc::return_freed_memory;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one call asks the system for.
const BLOCK: usize = 64 * 1024;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let taken = match *words.as_slice() {
        ["copy", listen, bytes, ref source @ ..] => return copy(listen, bytes.parse().expect("a number"), source),
        ["memchr", file] => over(&fs::read(file)?, |bytes| memchr::memchr_iter(b'\n', bytes).count()),
        ["parse", file] => over(&fs::read(file)?, |bytes| match parse(bytes) {
            Document::Server(entries) => entries.map(black_box).count(),
            _ => panic!("no status file"),
        }),
        ["serve", listen, config, proc] => return serve(listen, config, proc),
        _ => panic!("usage: bench copy|memchr|parse|serve …"),
    };
    println!("{:.6} {:.6}", taken.wall.as_secs_f64(), taken.cpu.as_secs_f64());
    Ok(())
}

/// Answers connections one after the other with `bytes` bytes, each after its source was read.
fn copy(listen: &str, bytes: usize, source: &[&str]) -> io::Result<()> {
    // A file that is kept as a whole is so in fresh memory, as in the daemon.
    return_freed_memory();
    let mut buffer = vec![0; BLOCK];
    let block = vec![b'x'; BLOCK];
    for client in TcpListener::bind(listen)?.incoming() {
        let mut client = client?;
        // Whoever only looks whether somebody listens asks for nothing.
        if client.read(&mut buffer)? == 0 {
            continue;
        }
        match *source {
            ["drain", socket] => drain(socket, &mut buffer)?,
            ["uapi", socket] => uapi(socket, &mut buffer)?,
            ["read", ref files @ ..] => files.iter().try_for_each(|file| discard(File::open(file)?, &mut buffer))?,
            ["load", file] => drop(black_box(fs::read(file)?)),
            _ => panic!("a source is drain|uapi|read|load …"),
        }
        client.write_all(HEAD)?;
        let mut left = bytes.checked_sub(HEAD.len()).expect("room for the head");
        while left > 0 {
            let count = left.min(BLOCK);
            client.write_all(&block[..count])?;
            left -= count;
        }
    }
    Ok(())
}

/// How long something took, and how much of that this thread was on a CPU.
#[derive(Clone, Copy)]
struct Elapsed {
    wall: Duration,
    cpu: Duration,
}

struct Stopwatch(Instant, Duration);

impl Stopwatch {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn stop(self) -> Elapsed {
        Elapsed { wall: self.0.elapsed(), cpu: cpu() - self.1 }
    }
}

/// The time that this thread was on a CPU so far.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("a thread's usage");
    Duration::from_micros((usage.user_time() + usage.system_time()).num_microseconds().unsigned_abs())
}

fn timed<T>(work: impl FnOnce() -> T) -> (Elapsed, T) {
    let watch = Stopwatch::start();
    let result = work();
    (watch.stop(), result)
}

/// The best of several times over bytes that are in memory already.
fn over(bytes: &[u8], work: impl Fn(&[u8]) -> usize) -> Elapsed {
    let times = (0..5).map(|_| timed(|| black_box(work(black_box(bytes)))).0);
    times.reduce(|a, b| Elapsed { wall: a.wall.min(b.wall), cpu: a.cpu.min(b.cpu) }).expect("five")
}

/// Reads a charon's SAs up to the end of the list, and of each packet no more than its length and kind.
fn drain(socket: &str, buffer: &mut [u8]) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&vici::register("list-sa"))?;
    stream.read_exact(&mut [0; 5])?;
    stream.write_all(&vici::command("list-sas", &[("noblock", "yes")]))?;
    let (mut filled, mut skip) = (0, 0);
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        assert!(read > 0, "the list has an end");
        filled += read;
        let mut at = skip.min(filled);
        skip -= at;
        while let Some(head) = buffer[..filled].get(at..at + 5) {
            if head[4] == 1 {
                return Ok(());
            }
            let next = at + 4 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            at = next.min(filled);
            skip = next - at;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Reads a WireGuard's peers, and looks at nothing but the end.
fn uapi(socket: &str, buffer: &mut [u8]) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(b"get=1\n\n")?;
    let mut end = [0; 2];
    while end != *b"\n\n" {
        let read = stream.read(buffer)?;
        assert!(read > 1, "the answer has an end");
        end.copy_from_slice(&buffer[read - 2..read]);
    }
    Ok(())
}

fn discard(mut source: impl Read, buffer: &mut [u8]) -> io::Result<()> {
    while source.read(buffer)? > 0 {}
    Ok(())
}

fn serve(listen: &str, config: &str, proc: &str) -> io::Result<()> {
    let mut config = Config::parse(&fs::read_to_string(config)?, &Overrides::default()).expect("a configuration");
    let mut settings = config.sources.get::<Sockets>().expect("rules").clone();
    settings.proc = proc.into();
    config.sources.set(source::erased::<Sockets>(settings));
    let app = Arc::new(App::new(config, None, "/metrics".into()));
    let mut listeners = Listeners::open(&[listen.to_owned()]).expect("an address");
    let handler = Arc::new(move |request: &Request| app.answer(request));
    let _ = listeners.serve(AccessControl::default(), Limits::default(), handler)?;
    loop {
        thread::park();
    }
}
