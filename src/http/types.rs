//! The types for requests, replies and TLS files.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Credentials;

/// The files for TLS, all in PEM, and what clients must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by intermediate certificates.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
    /// The certificate authorities for client certificates, if clients are asked for them.
    pub client_ca: Option<(PathBuf, ClientAuth)>,
    /// Whether only TLS 1.3 is accepted.
    pub only_tls13: bool,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Every client must show a valid certificate.
    Required,
    /// A certificate is optional, but must be valid.
    IfGiven,
}

/// The request method. The server itself rejects other methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: the handler replies as for GET, and the server leaves the body out.
    Head,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET or HEAD.
    pub method: Method,
    /// The path as it was sent, starting with `/`: not decoded, `..` not resolved. Only for comparisons, not for files.
    pub path: String,
    /// The decoded query parameters in their order, at most 64. They may contain any character, even NUL.
    pub query: Vec<(String, String)>,
    /// The requested host without its port, from an absolute target or else the header `Host`; absent without either.
    pub host: Option<String>,
    /// The remaining time of the scrape (`X-Prometheus-Scrape-Timeout-Seconds`); never zero.
    pub timeout: Option<Duration>,
    /// User and password (RFC 7617).
    pub credentials: Option<Credentials>,
    /// The peer: an IPv4 address, or the /64 of an IPv6 address.
    pub peer: IpAddr,
}

impl Request {
    /// The values of one query name, in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A reply. Header values are constants of the program or counts, so they contain nothing that a peer chose.
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
    /// A body in memory, sent with its length.
    Whole(Cow<'static, [u8]>),
    /// A body that is sent while it is read. An error while reading resets the connection, so that the peer notices that the
    /// body is incomplete.
    Stream(Box<dyn BufRead + Send>),
}

impl Reply {
    /// A reply 200 with a body in memory.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::new(200, content_type, Body::Whole(body.into()))
    }

    /// A reply 200 with a body that is produced while it is sent.
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

    /// Adds a header. The server adds `Connection`, `Date`, and the framing of the body.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a header with a number.
    #[must_use]
    pub fn with_count(mut self, name: &'static str, count: usize) -> Self {
        self.headers.push((name, count.to_string().into()));
        self
    }

    /// Keeps a value alive until the reply was sent or cancelled.
    #[must_use]
    pub fn keeping(mut self, subject: impl Send + 'static) -> Self {
        self.kept = Some(Box::new(subject));
        self
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers, `Content-Type` first.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// The whole body; for callers without a socket, such as tests.
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
