//! The HTTP server: takes one request from each connection, answers it, and stays reachable under attack.
//!
//! One thread waits in poll(2) for connections and for the heads of their requests ([`server`]); a complete request gets a
//! thread of its own until it is answered ([`pool`]). Connections, threads, bytes and times are all bounded by [`Limits`].
//! Where one of them runs out, [`fairness`] says who makes room, so that no peer keeps another out.
//! HTTP/1.1 is RFC 9112, its words RFC 9110; every answer ends its connection.

mod date;
mod fairness;
mod listener;
mod parse;
mod pool;
mod server;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod types;
mod write;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

pub use crate::auth::{Credentials, Networks};
pub use listener::{Listeners, bind, check, is_ours};
pub use tls::Tls;
pub use types::{Body, ClientAuth, Method, Reply, Request, TlsFiles};

/// How to answer: called on the request's own thread.
pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Ends slow answers, for the memory that they hold; returns whether there were any.
pub type FreeMemory = dyn Fn() -> bool + Send + Sync;

/// Who may ask, and whether under TLS.
#[derive(Clone, Default)]
pub struct AccessControl {
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// Plain HTTP where absent.
    pub tls: Option<Tls>,
}

/// How much of everything. The defaults suit a gateway that a few Prometheus servers and people ask.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections whose head is awaited, and again as many requests that wait for a thread.
    /// Never more than an eighth of the descriptors that the process may have, each.
    pub connections: usize,
    /// Requests that are answered at once, each by a thread.
    pub answers: usize,
    /// The longest head of a request.
    pub head_bytes: usize,
    /// From accept to the end of the head.
    pub head_time: Duration,
    /// For the whole answer, once it is being written.
    pub answer_time: Duration,
    /// How long a request may wait for a thread before it is refused.
    pub patience: Duration,
    /// How long an answer may be under way before it makes room for one that waits.
    pub stall_time: Duration,
    /// How long an answered peer may take to close, so that a reset does not eat its answer.
    pub linger_time: Duration,
    /// How much of a body that nobody reads is thrown away meanwhile.
    pub linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            answers: 16,
            head_bytes: 8 * 1024,
            head_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(30),
            patience: Duration::from_millis(750),
            stall_time: Duration::from_millis(250),
            linger_time: Duration::from_secs(1),
            linger_bytes: 256 * 1024,
        }
    }
}

/// Serves all `listeners` on a thread of its own, for as long as the process lives.
/// If that thread or an answering one panics, the process ends: it must not live on without answering.
pub fn serve(listeners: Vec<TcpListener>, limits: Limits, handler: Arc<Handler>) -> io::Result<()> {
    let first = server::Reconfigure {
        listeners: listeners.into_iter().map(Arc::new).collect(),
        access: AccessControl::default(),
    };
    start(first, None, limits, handler).map(drop)
}

/// Starts the accept loop, which puts further `reconfigures` in force.
fn start(
    first: server::Reconfigure,
    reconfigures: Option<server::Reconfigures>,
    limits: Limits,
    handler: Arc<Handler>,
) -> io::Result<Box<FreeMemory>> {
    let limits = Limits { connections: limits.connections.min(listener::spare_descriptors()).max(1), ..limits };
    let pool = pool::Pool::new(limits, handler);
    let slow = Arc::clone(&pool);
    let server = server::Server::new(first, reconfigures, limits, pool)?;
    let run = move || {
        let _ends = EndsProcess;
        server.run();
        end_process("http: no connections can be waited for");
    };
    std::thread::Builder::new().name("http-server".into()).stack_size(STACK).spawn(run)?;
    Ok(Box::new(move || slow.free_memory()))
}

/// What a fuzzer asks of the head's parser: the request, none while the head is not whole, or the status of its rejection.
#[cfg(fuzzing)]
pub fn read_head(bytes: &[u8]) -> Result<Option<Request>, u16> {
    let parsed = parse::parse(bytes).map_err(|reject| reject.reply().status())?;
    Ok(parsed.map(|head| head.request))
}

/// A head and its parsing fit in a tenth; the rest is for what answers.
const STACK: usize = 256 * 1024;

/// Dropped by a panic where panics unwind: a daemon that accepts or answers nothing must not look alive.
struct EndsProcess;

impl Drop for EndsProcess {
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
