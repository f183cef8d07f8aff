//! The limits that a scrape is held against: the same work without the exporter, one piece at a time.
//!
//! `bench drain SOCKET` asks a charon for its SAs and throws the answer away, `uapi SOCKET` a WireGuard for its peers;
//! `pipe BYTES` sends bytes through a pipe; `read FILE` reads and throws away, `load FILE` reads and keeps; `memchr
//! FILE` looks for every line's end; `parse FILE` reads a status file's entries. Each prints how many seconds it took,
//! and how many of them on a CPU. `serve LISTEN CONFIG PROC` is the daemon with its sockets read from another `/proc`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use gateway_exporter::app::App;
use gateway_exporter::config::{Config, Overrides};
use gateway_exporter::http::{self, Limits};
use gateway_exporter::openvpn::status::{Document, parse};
use gateway_exporter::sockets::Sockets;
use gateway_exporter::sources;
use gateway_exporter::strongswan::vici;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one call asks the system for.
const BLOCK: usize = 64 * 1024;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let taken = match *words.as_slice() {
        ["drain", socket] => drain(socket)?,
        ["uapi", socket] => uapi(socket)?,
        ["pipe", bytes] => pipe(bytes.parse().expect("a number"))?,
        ["read", file] => read(file)?,
        ["load", file] => timed(|| fs::read(file)).0,
        ["memchr", file] => over(&fs::read(file)?, |bytes| memchr::memchr_iter(b'\n', bytes).count()),
        ["parse", file] => over(&fs::read(file)?, |bytes| match parse(bytes) {
            Document::Server(entries) => entries.map(black_box).count(),
            _ => panic!("no status file"),
        }),
        ["serve", listen, config, proc] => return serve(listen, config, proc),
        _ => panic!("usage: bench drain|uapi|pipe|read|load|memchr|parse|serve …"),
    };
    println!("{:.6} {:.6}", taken.wall.as_secs_f64(), taken.cpu.as_secs_f64());
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

/// From the first question to the end of the list, every byte read and none looked at but the lengths of the packets.
fn drain(socket: &str) -> io::Result<Elapsed> {
    let mut stream = UnixStream::connect(socket)?;
    let watch = Stopwatch::start();
    stream.write_all(&vici::register("list-sa"))?;
    stream.read_exact(&mut [0; 5])?;
    stream.write_all(&vici::command("list-sas", &[("noblock", "yes")]))?;
    let (mut buffer, mut filled, mut skip) = (vec![0; BLOCK], 0, 0);
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        assert!(read > 0, "the list has an end");
        filled += read;
        let mut at = skip.min(filled);
        while let Some(head) = buffer[..filled].get(at..at + 5) {
            if head[4] == 1 {
                return Ok(watch.stop());
            }
            at += 4 + u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        }
        skip = at.saturating_sub(filled);
        let kept = at.min(filled);
        buffer.copy_within(kept..filled, 0);
        filled -= kept;
    }
}

/// From the question to the end of the answer, none of it looked at but its end.
fn uapi(socket: &str) -> io::Result<Elapsed> {
    let mut stream = UnixStream::connect(socket)?;
    let watch = Stopwatch::start();
    stream.write_all(b"get=1\n\n")?;
    let (mut buffer, mut end) = (vec![0; BLOCK], [0; 2]);
    while end != *b"\n\n" {
        let read = stream.read(&mut buffer)?;
        assert!(read > 1, "the answer has an end");
        end.copy_from_slice(&buffer[read - 2..read]);
    }
    Ok(watch.stop())
}

/// From the first byte written to the last one read; on a CPU, the writer alone.
fn pipe(bytes: u64) -> io::Result<Elapsed> {
    let (reader, mut writer) = io::pipe()?;
    let reading = thread::spawn(move || discard(reader));
    let watch = Stopwatch::start();
    let block = vec![b'x'; BLOCK];
    let mut left = bytes;
    while left > 0 {
        let count = left.min(BLOCK as u64);
        writer.write_all(&block[..count as usize])?;
        left -= count;
    }
    drop(writer);
    assert_eq!(reading.join().expect("no panic")?, bytes);
    Ok(watch.stop())
}

fn read(file: &str) -> io::Result<Elapsed> {
    let watch = Stopwatch::start();
    discard(File::open(file)?)?;
    Ok(watch.stop())
}

fn discard(mut source: impl Read) -> io::Result<u64> {
    let (mut buffer, mut total) = (vec![0; BLOCK], 0);
    loop {
        match source.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

fn serve(listen: &str, config: &str, proc: &str) -> io::Result<()> {
    let mut config = Config::parse(&fs::read_to_string(config)?, &Overrides::default()).expect("a configuration");
    let mut settings = config.sources.get::<Sockets>().expect("rules").clone();
    settings.proc = proc.into();
    config.sources.set(sources::erased::<Sockets>(settings));
    let app = Arc::new(App::new(config, None, "/metrics".into()));
    let listeners = http::bind(listen).expect("an address");
    http::serve(listeners, Limits::default(), Arc::new(move |request| app.answer(request)))?;
    loop {
        thread::park();
    }
}
