//! The HTTP door: takes one request from each connection, answers it, and stays open under attack.
//!
//! One thread, the door, waits in poll(2) for newcomers and for the heads of their requests; a complete request gets
//! a blocking thread of its own until it is answered. Connections, threads, bytes and times are all bounded by
//! [`Limits`]. Where there is no room the heaviest_peer peer makes it: the scraper is not shut out by strangers.
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
mod write;

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::auth::{Credentials, Networks};
pub use listener::{Listeners, bind, check, is_ours};
pub use tls::Tls;

/// How to answer: called on the request's own thread.
pub type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Ends answers that are long under way, for the memory that they hold; whether there were any.
pub type Relief = dyn Fn() -> bool + Send + Sync;

/// Whom the door lets in, and how it speaks to them.
#[derive(Clone, Default)]
pub struct AccessControl {
    /// The networks that may ask; all where absent.
    pub allow: Option<Networks>,
    /// Plain HTTP where absent.
    pub tls: Option<Tls>,
}

/// The files that TLS needs, all in PEM, and what it is to ask of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, with those between it and its authority.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The authorities of clients, where clients are asked for certificates.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// Whether TLS 1.2 is too old.
    pub only_tls13: bool,
}

/// What is asked of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A certificate, or no answer.
    Required,
    /// If they show a certificate, it must be good.
    IfGiven,
}

/// What is asked for. The door answers other methods than these itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The whole answer.
    Get,
    /// Only its head; answer as for GET, the door leaves the body out.
    Head,
}

/// What a peer asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET or HEAD.
    pub method: Method,
    /// As it was sent, starting with `/`: no escape is decoded, no `..` is followed. For comparing, not for opening.
    pub path: String,
    /// Names and values in their order, decoded; at most 64. Any character can be in them, NUL too.
    pub query: Vec<(String, String)>,
    /// The host that is asked for, without its port: of the target where it names one, else of `Host`. Absent where neither
    /// does.
    pub host: Option<String>,
    /// How long Prometheus will still wait (`X-Prometheus-Scrape-Timeout-Seconds`); never zero.
    pub timeout: Option<Duration>,
    /// The name and password that came with it (RFC 7617).
    pub credentials: Option<Credentials>,
    /// Whom it counts against: an IPv4 address, or the /64 of an IPv6 one.
    pub peer: IpAddr,
}

impl Request {
    /// The values of one query name, in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered. Header values are constants of the program and counts, so that nothing a peer chose can get into
/// them.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Body,
    kept: Option<Box<dyn Send>>,
}

/// What follows the head of a reply.
pub enum Body {
    /// Sent with its length.
    Whole(Cow<'static, [u8]>),
    /// Sent as it is read. An error while reading cuts the connection, so that the peer does not take it for the end.
    Stream(Box<dyn BufRead + Send>),
}

impl Reply {
    /// 200 with a body that stands.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::new(200, content_type, Body::Whole(body.into()))
    }

    /// 200 with a body that is made while it is sent.
    pub fn stream(content_type: &'static str, body: impl BufRead + Send + 'static) -> Self {
        Self::new(200, content_type, Body::Stream(Box::new(body)))
    }

    /// Any status with a line of text.
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(status, "text/plain; charset=utf-8", Body::Whole(bytes))
    }

    /// One more header. `Connection`, `Date` and what frames the body are the door's.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// One more header that counts something.
    #[must_use]
    pub fn with_count(mut self, name: &'static str, count: usize) -> Self {
        self.headers.push((name, count.to_string().into()));
        self
    }

    /// Keeps something until the answer was sent or given up.
    #[must_use]
    pub fn keeping(mut self, thing: impl Send + 'static) -> Self {
        self.kept = Some(Box::new(thing));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers that were given, `Content-Type` first.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// The body, read to its end; for whoever is no socket, such as a test.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        match self.body {
            Body::Whole(bytes) => Ok(bytes.into_owned()),
            Body::Stream(mut stream) => {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).map(|_| bytes)
            }
        }
    }

    fn new(status: u16, content_type: &'static str, body: Body) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.into())], body, kept: None }
    }
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
/// If that thread or an answering one panics, the process ends: it must not live on deaf.
pub fn serve(listeners: Vec<TcpListener>, limits: Limits, handler: Arc<Handler>) -> io::Result<()> {
    let order = server::Reconfigure {
        listeners: listeners.into_iter().map(Arc::new).collect(),
        access: AccessControl::default(),
    };
    start(order, None, limits, handler).map(drop)
}

/// Starts the door's thread, which heeds further `reconfigures`.
fn start(
    order: server::Reconfigure,
    reconfigures: Option<server::Reconfigures>,
    limits: Limits,
    handler: Arc<Handler>,
) -> io::Result<Box<Relief>> {
    let limits = Limits { connections: limits.connections.min(listener::spare_descriptors()).max(1), ..limits };
    let pool = pool::Pool::new(limits, handler);
    let relief = Arc::clone(&pool);
    let door = server::Server::new(order, reconfigures, limits, pool)?;
    let run = move || {
        let _ends = EndsProcess;
        door.run();
        end_process("http: no connections can be waited for");
    };
    std::thread::Builder::new().name("http-door".into()).stack_size(STACK).spawn(run)?;
    Ok(Box::new(move || relief.free_memory()))
}

/// What a fuzzer asks of the head's parser: the request, none while the head is not whole, or the refusal's status.
#[cfg(fuzzing)]
pub fn read_head(bytes: &[u8]) -> Result<Option<Request>, u16> {
    let parsed = parse::parse(bytes).map_err(|refusal| refusal.reply().status())?;
    Ok(parsed.map(|head| head.request))
}

/// A head and its parsing fit in a tenth; the rest is for what answers.
const STACK: usize = 256 * 1024;

/// Dropped by a panic where panics unwind: a daemon without its door or its answers must not look alive.
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
