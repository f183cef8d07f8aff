//! The HTTP server (RFC 9110, RFC 9112): answers one request at a time on a connection, and stays reachable under attack.
//!
//! One thread waits in poll(2) for connections and for the heads of their requests (`server`); a complete request gets a
//! thread until it is answered (`pool`). Then the connection may be kept for another request, which needs no thread, and is the
//! first to be closed if anything runs short. Connections, threads, bytes and times are all bounded by [`Limits`]. If one of them
//! runs out, `fairness` decides which peer's connection is closed, so that no peer can keep another from being served.

mod accept;
mod client;
mod date;
mod fairness;
mod gzip;
mod listener;
mod log_once;
mod parse;
mod pool;
mod server;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod types;
mod write;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crate::sys::thread;

pub use crate::auth::{Credentials, Networks};
pub use client::{ask, is_ours};
pub use gzip::{Compress, Compression};
pub use listener::{Listeners, PASSED, check};
pub use tls::Tls;
pub use types::{Body, ClientAuth, Method, Pieces, RELOAD, Reply, Request, TlsFiles};

/// Computes the reply to a request; called on the request's thread.
pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Cancels slow replies to free memory; returns whether any was cancelled.
pub type FreeMemory = dyn Fn() -> bool + Send + Sync;

/// Which peers may connect, and whether TLS is used.
#[derive(Clone, Default)]
pub struct AccessControl {
    /// The networks that may connect; all if absent.
    pub allow: Option<Networks>,
    /// The TLS configuration; plain HTTP if absent.
    pub tls: Option<Tls>,
}

/// The limits of the server. The defaults suit a gateway with a few Prometheus servers and users.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections whose head is incomplete, and the most requests that wait for a thread. Each is at most an eighth
    /// of the file descriptors that the process may open.
    pub connections: usize,
    /// The most requests that are answered at the same time, each by a thread.
    pub answers: usize,
    /// The longest head of a request, in bytes.
    pub head_bytes: usize,
    /// The time from accept to the end of the head.
    pub head_time: Duration,
    /// The time to send the whole reply.
    pub answer_time: Duration,
    /// The time that a request may wait for a thread before it gets 503.
    pub queue_time: Duration,
    /// The time after which a reply that is still being sent can be cancelled for a waiting request.
    pub stall_time: Duration,
    /// The time to wait for the peer to close after the reply, since a reset could destroy the reply.
    pub linger_time: Duration,
    /// The most bytes of a request body that are discarded meanwhile.
    pub linger_bytes: usize,
    /// The most connections of a peer that are kept for further requests.
    pub kept: usize,
    /// The time for which a connection is kept.
    pub kept_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            answers: 16,
            head_bytes: 8 * 1024,
            head_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(30),
            queue_time: Duration::from_millis(750),
            stall_time: Duration::from_millis(250),
            linger_time: Duration::from_secs(1),
            linger_bytes: 256 * 1024,
            kept: 2,
            kept_time: Duration::from_secs(75),
        }
    }
}

/// Starts the accept loop on a thread of its own, as long as the process lives. If that thread or an answering one panics, the
/// process aborts: it must not go on without answering.
fn start(
    first: server::Reconfigure,
    reconfigures: server::Reconfigures,
    limits: Limits,
    handler: Arc<Handler>,
) -> io::Result<Box<FreeMemory>> {
    let limits = Limits { connections: limits.connections.min(listener::spare_descriptors()).max(1), ..limits };
    let (waker, answered) = UnixStream::pair()?;
    for end in [&waker, &answered] {
        end.set_nonblocking(true)?;
    }
    let pool = pool::Pool::new(limits, handler, waker);
    let slow = Arc::clone(&pool);
    let server = server::Server::new(first, reconfigures, limits, pool, answered);
    let run = move || {
        let _abort = AbortOnPanic;
        server.run();
        end_process("http: cannot wait for connections");
    };
    thread::spawn("http-server", STACK, Box::new(run))?;
    Ok(Box::new(move || slow.free_memory()))
}

/// The parser of heads for fuzzing: the request, `None` if the head is incomplete, or the status of the rejection.
#[cfg(fuzzing)]
pub fn read_head(bytes: &[u8]) -> Result<Option<Request>, u16> {
    let parsed = parse::parse(bytes).map_err(|reject| reject.reply().status())?;
    Ok(parsed.map(|head| head.request))
}

/// The stack size of the accept loop's thread, in bytes. Parsing a head takes a tenth.
const STACK: usize = 256 * 1024;

/// Aborts the process if it is dropped by a panic: a daemon that accepts or answers nothing must not seem alive.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            end_process("http: a thread panicked");
        }
    }
}

fn end_process(why: &str) -> ! {
    log::error!("{why}; ending");
    log::logger().flush();
    std::process::abort()
}
