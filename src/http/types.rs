//! What is asked and what is answered, and what TLS needs.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Credentials;

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

/// What is asked for. The server answers other methods than these itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The whole answer.
    Get,
    /// Only its head; answer as for GET, the server leaves the body out.
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
    pub(super) status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) body: Body,
    kept: Option<Box<dyn Send>>,
}

/// How much text [`Pieces`] keeps ready at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// A body that `write` writes piece by piece, as it is sent; it returns whether there is more to come.
struct Pieces<F> {
    write: F,
    is_over: bool,
    ready: Vec<u8>,
    taken: usize,
}

impl<F: FnMut(&mut Vec<u8>) -> bool> BufRead for Pieces<F> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            while !self.is_over && self.ready.len() < CHUNK {
                self.is_over = !(self.write)(&mut self.ready);
            }
        }
        Ok(self.ready.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count);
    }
}

impl<F: FnMut(&mut Vec<u8>) -> bool> Read for Pieces<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
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

    /// 200 with a body that `write` appends piece by piece while it is sent; it returns whether there is more to come.
    pub fn pieces(content_type: &'static str, write: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Self {
        Self::stream(content_type, Pieces { write, is_over: false, ready: Vec::new(), taken: 0 })
    }

    /// Any status with a line of text.
    pub fn text(status: u16, text: impl Into<Cow<'static, str>>) -> Self {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self::new(status, "text/plain; charset=utf-8", Body::Whole(bytes))
    }

    /// One more header. `Connection`, `Date` and what frames the body are the server's.
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
    pub fn keeping(mut self, subject: impl Send + 'static) -> Self {
        self.kept = Some(Box::new(subject));
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

    /// The body, read to its end; for a caller that has no socket, such as a test.
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
