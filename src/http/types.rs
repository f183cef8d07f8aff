//! The types for requests, replies and TLS files.

use std::borrow::Cow;
use std::io::{self, BufRead};
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

/// The path by which a reload is asked for, as in Prometheus itself: the only one that takes POST.
pub const RELOAD: &str = "/-/reload";

/// The request method. The server itself rejects other methods, and [`Post`](Method::Post) for other paths than [`RELOAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: the handler replies as for GET, and the server leaves the body out.
    Head,
    /// POST. Its body is not read.
    Post,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// GET, HEAD or POST.
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
    /// Whether the client prefers gzip to an answer that is not compressed (`Accept-Encoding`, RFC 9110, section 12.5.3).
    pub accepts_gzip: bool,
    /// The peer: an IPv4 address, or the /64 of an IPv6 address.
    pub peer: IpAddr,
    /// Whether the peer is this machine itself; false for GET and HEAD if the client does not accept gzip, since nothing else
    /// depends on it.
    pub is_local: bool,
    /// Whether a browser sends it for a page of another site (`Sec-Fetch-Site`, `Origin`).
    pub is_cross_site: bool,
}

impl Request {
    /// The values of one query name, in their order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A reply. Header values are constants of the program, counts or the operator's, so they contain nothing that a peer chose.
pub struct Reply {
    pub(super) status: u16,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    pub(super) body: Body,
    kept: Option<Box<dyn Send>>,
}

/// How much text [`Written`] keeps ready at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// A body that `write` writes piece by piece, as it is sent; it returns whether there is more to come.
struct Written<F> {
    write: F,
    is_over: bool,
    ready: Vec<u8>,
    taken: usize,
}

impl<F: FnMut(&mut Vec<u8>) -> bool + Send> Pieces for Written<F> {
    fn piece(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.ready.len() {
            self.ready.clear();
            self.taken = 0;
            while !self.is_over && self.ready.len() < CHUNK {
                self.is_over = !(self.write)(&mut self.ready);
            }
        }
        Ok(self.ready.get(self.taken..).unwrap_or_default())
    }

    fn advance(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count);
    }

    fn is_last(&self) -> bool {
        self.is_over
    }
}

/// What follows the head of a reply.
pub enum Body {
    /// A body in memory, sent with its length.
    Whole(Cow<'static, [u8]>),
    /// A body that is sent while it is read. An error while reading resets the connection, so that the peer notices that the
    /// body is incomplete.
    Stream(Box<dyn Pieces>),
}

/// What a streamed body is read by: [`BufRead`] without its other methods, which a trait object would bring along for every
/// type, at least 5,840 bytes of the static x86_64 binary.
pub trait Pieces: Send {
    /// The next bytes; none at the end.
    fn piece(&mut self) -> io::Result<&[u8]>;

    /// Marks so many of them as read.
    fn advance(&mut self, count: usize);

    /// Whether nothing follows the bytes of the last [`piece`](Self::piece); false where that is not known yet.
    fn is_last(&self) -> bool {
        false
    }
}

impl<R: BufRead + Send> Pieces for R {
    fn piece(&mut self) -> io::Result<&[u8]> {
        self.fill_buf()
    }

    fn advance(&mut self, count: usize) {
        self.consume(count);
    }
}

impl Body {
    /// Whether the body has more bytes than that; of a stream the first piece is produced for it.
    pub(super) fn is_longer_than(&mut self, count: usize) -> bool {
        match self {
            Self::Whole(bytes) => bytes.len() > count,
            Self::Stream(stream) => stream.piece().is_ok_and(|piece| piece.len() > count),
        }
    }

    pub(super) fn into_stream(self) -> Box<dyn Pieces> {
        match self {
            Self::Whole(bytes) => Box::new(io::Cursor::new(bytes.into_owned())),
            Self::Stream(stream) => stream,
        }
    }
}

impl Reply {
    /// A reply 200 with a body in memory.
    pub fn ok(content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self::new(200, content_type, Body::Whole(body.into()))
    }

    /// A reply 200 with a body that is produced while it is sent.
    pub fn stream(content_type: &'static str, body: impl Pieces + 'static) -> Self {
        Self::new(200, content_type, Body::Stream(Box::new(body)))
    }

    /// 200 with a body that `write` appends piece by piece while it is sent; it returns whether there is more to come.
    pub fn pieces(content_type: &'static str, write: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Self {
        let written = Written { write, is_over: false, ready: Vec::new(), taken: 0 };
        Self::new(200, content_type, Body::Stream(Box::new(written)))
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

    /// Sets a header, in the place of one of that name.
    pub fn set(&mut self, name: &'static str, value: String) {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
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
                loop {
                    let piece = stream.piece()?;
                    if piece.is_empty() {
                        return Ok(bytes);
                    }
                    bytes.extend_from_slice(piece);
                    let count = piece.len();
                    stream.advance(count);
                }
            }
        }
    }

    fn new(status: u16, content_type: &'static str, body: Body) -> Self {
        Self { status, headers: vec![("Content-Type", content_type.into())], body, kept: None }
    }
}
