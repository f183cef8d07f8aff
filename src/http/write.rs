//! Writes replies (RFC 9112).

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::linger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use super::parse::{Reject, Version};
use super::types::Pieces;
use super::{Body, Limits, Reply, date};
use crate::sys::clock;

/// A socket that can be read and written until a deadline, however slow the peer is. The socket does not block.
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Wire<'a> {
    pub(super) fn new(stream: &'a TcpStream, time: Duration) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(time).unwrap_or(now);
        Self { stream, deadline }
    }

    /// The remaining time, which is not zero.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Waits until the socket can be read or written.
    fn wait(&self, events: PollFlags) -> io::Result<()> {
        loop {
            // One millisecond later, so that the loop does not spin.
            let left = PollTimeout::try_from(self.left()?.saturating_add(Duration::from_millis(1)));
            match poll(&mut [PollFd::new(self.stream.as_fd(), events)], left.unwrap_or(PollTimeout::MAX)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Tries first: an answer of usual size fits into the buffer of the socket.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            self.left()?;
            match self.stream.write_vectored(parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(PollFlags::POLLOUT)?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a reply is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    pub(super) version: Version,
    /// False for HEAD.
    pub(super) with_body: bool,
    /// Whether another request may follow on the connection.
    pub(super) keeps: bool,
}

/// Whether another request may follow this reply: errors end the connection, and so does a body without another end.
pub(super) fn may_be_followed(reply: &Reply, version: Version) -> bool {
    reply.status == 200 && (version == Version::Http11 || matches!(reply.body, Body::Whole(_)))
}

/// Writes the reply. After an error, call [`reset`], so that the peer notices that the reply is incomplete.
pub(super) fn write(out: &mut dyn Write, reply: Reply, framing: Framing) -> io::Result<()> {
    let head = print_head(&reply, framing)?;
    match reply.body {
        Body::Whole(bytes) if framing.with_body => write_parts(out, [&head, &bytes, b""]),
        Body::Stream(mut stream) if framing.with_body => write_stream(out, head, &mut *stream, framing.version),
        _ => out.write_all(&head),
    }
}

/// The bytes of a short reply, after which the connection is closed.
pub(super) fn print(reply: Reply, version: Version, with_body: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector can't fail.
    let _ = write(&mut bytes, reply, Framing { version, with_body, keeps: false });
    bytes
}

/// Closes our side and waits until the peer closes: closing with unread bytes sends a reset, which could destroy the reply.
pub(super) fn linger(stream: &TcpStream, limits: &Limits) {
    let wire = Wire::new(stream, limits.linger_time);
    let mut buffer = [0; 1024];
    let mut left = limits.linger_bytes;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while let Ok(read @ 1..) = wire.wait(PollFlags::POLLIN).and_then(|()| (&*stream).read(&mut buffer)) {
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Makes closing send a reset and drop unsent data, which the kernel would otherwise keep for minutes.
pub(super) fn reset(stream: &TcpStream) {
    // If it fails, the socket is closed anyway.
    let _ = setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
}

impl Reject {
    pub(super) fn reply(self) -> Reply {
        match self {
            Self::Forbidden => Reply::text(403, "your address is not allowed\n"),
            Self::Malformed => Reply::text(400, "this is not an HTTP request\n"),
            Self::Method => Reply::text(405, "only GET and HEAD are allowed\n").with("Allow", "GET, HEAD"),
            Self::PlainHttp => Reply::text(400, "this port speaks TLS: use https instead of http\n"),
            Self::TooSlow => Reply::text(408, "the request took too long\n"),
            Self::TooLong => Reply::text(431, "the head of the request is too long\n"),
            Self::Busy => Reply::text(503, "busy, try again\n").with("Retry-After", "1"),
            Self::Version => Reply::text(505, "only HTTP/1.0 and HTTP/1.1 are supported\n"),
        }
    }
}

/// Sends a streamed body in chunks, with the head before the first.
fn write_stream(out: &mut dyn Write, mut before: Vec<u8>, stream: &mut dyn Pieces, version: Version) -> io::Result<()> {
    let is_chunked = version != Version::Http10;
    loop {
        let length = match stream.piece() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?.len(),
        };
        if is_chunked {
            write!(before, "{length:x}\r\n")?;
        }
        let is_last = length == 0 || stream.is_last();
        let end: &[u8] = match (is_chunked && is_last, length) {
            (false, _) => b"",
            (true, 0) => b"\r\n",
            (true, _) => b"\r\n0\r\n\r\n",
        };
        write_parts(out, [&before, stream.piece()?, end])?;
        if is_last {
            return Ok(());
        }
        stream.advance(length);
        before.clear();
        if is_chunked {
            before.extend_from_slice(b"\r\n");
        }
    }
}

/// Writes all parts with one system call, if possible, without copying them together.
fn write_parts(out: &mut dyn Write, [head, body, end]: [&[u8]; 3]) -> io::Result<()> {
    let mut parts = &mut [IoSlice::new(head), IoSlice::new(body), IoSlice::new(end)][..];
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match out.write_vectored(parts) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn print_head(reply: &Reply, Framing { version, keeps, .. }: Framing) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    let status = reply.status;
    write!(head, "{} {status} {}\r\n", version.name(), reason(status))?;
    write!(head, "Date: {}\r\nServer: gateway-exporter\r\n", date::print(clock::now()))?;
    // A line end would begin another header: such a value is left out.
    for (name, value) in reply.headers().filter(|(_, value)| !value.contains(['\r', '\n'])) {
        write!(head, "{name}: {value}\r\n")?;
    }
    match (&reply.body, version) {
        (Body::Whole(bytes), _) => write!(head, "Content-Length: {}\r\n", bytes.len())?,
        (Body::Stream(_), Version::Http11) => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // The end of the connection is the end of the body.
        (Body::Stream(_), Version::Http10) => {}
    }
    let connection = if keeps { "keep-alive" } else { "close" };
    write!(head, "Connection: {connection}\r\n\r\n")?;
    Ok(head)
}

/// The reason phrases (RFC 9110, section 15) of the statuses that are used.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn printed(reply: Reply, version: Version, with_body: bool) -> String {
        let mut out = Vec::new();
        write(&mut out, reply, Framing { version, with_body, keeps: false }).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (before, rest) = text.split_once("Date: ").expect("a date");
        assert_eq!(before.lines().count(), 1, "{before}");
        let (date, after) = rest.split_once("\r\n").unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        format!("{before}{after}")
    }

    fn stream(parts: &'static [&'static [u8]]) -> Reply {
        struct Parts(std::slice::Iter<'static, &'static [u8]>);
        impl Read for Parts {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                match self.0.next() {
                    Some(part) if *part == b"error" => Err(io::Error::other("lost")),
                    Some(part) => part.to_vec().as_slice().read(buffer),
                    None => Ok(0),
                }
            }
        }
        Reply::stream("text/x", BufReader::new(Parts(parts.iter())))
    }

    #[test]
    fn a_whole_body_has_its_length() {
        let head = "HTTP/1.1 200 OK\r\nServer: gateway-exporter\r\nContent-Type: text/x\r\n\
                    Content-Length: 2\r\nConnection: close\r\n\r\n";
        assert_eq!(printed(Reply::ok("text/x", "ab".as_bytes()), Version::Http11, true), format!("{head}ab"));
        assert_eq!(printed(Reply::ok("text/x", "ab".as_bytes()), Version::Http11, false), head);
        let old = head.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(printed(Reply::ok("text/x", "ab".as_bytes()), Version::Http10, true), format!("{old}ab"));
        let long = printed(Reply::ok("text/x", vec![b'a'; 100_000]), Version::Http11, false);
        assert!(long.contains("Content-Length: 100000\r\n") && !long.contains("chunked"), "{long}");
    }

    #[test]
    fn a_stream_is_chunked_or_ends_with_its_connection() {
        let head = "HTTP/1.1 200 OK\r\nServer: gateway-exporter\r\nContent-Type: text/x\r\n\
                    Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        let old = head.replace("HTTP/1.1", "HTTP/1.0").replace("Transfer-Encoding: chunked\r\n", "");
        let parts: &[&[u8]] = &[b"one", b"seventeen letters"];
        let chunks = "3\r\none\r\n11\r\nseventeen letters\r\n0\r\n\r\n";
        assert_eq!(printed(stream(parts), Version::Http11, true), format!("{head}{chunks}"));
        assert_eq!(printed(stream(parts), Version::Http11, false), head);
        assert_eq!(printed(stream(parts), Version::Http10, true), format!("{old}oneseventeen letters"));
        assert_eq!(printed(stream(parts), Version::Http10, false), old);
    }

    #[test]
    fn only_what_has_an_end_of_its_own_may_be_followed() {
        let whole = || Reply::ok("text/x", "ab".as_bytes());
        for (reply, version, expected) in [
            (whole(), Version::Http11, true),
            (whole(), Version::Http10, true),
            (stream(&[b"one"]), Version::Http11, true),
            (stream(&[b"one"]), Version::Http10, false),
            (Reply::text(404, "no\n"), Version::Http11, false),
            (Reply::text(503, "no\n"), Version::Http10, false),
        ] {
            assert_eq!(may_be_followed(&reply, version), expected);
        }
        for version in [Version::Http11, Version::Http10] {
            let mut out = Vec::new();
            write(&mut out, whole(), Framing { version, with_body: true, keeps: true }).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.ends_with("\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nab"), "{text}");
        }
    }

    #[test]
    fn a_stream_that_fails_is_not_ended_as_if_it_were_whole() {
        let mut out = Vec::new();
        write(
            &mut out,
            stream(&[b"one", b"error"]),
            Framing { version: Version::Http11, with_body: true, keeps: false },
        )
        .unwrap_err();
        assert!(!out.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn line_ends_do_not_become_headers() {
        let reply = Reply::ok("text/x", &b""[..]).with("X-A", "a\r\nX-B: b").with("X-C", "c");
        let text = printed(reply, Version::Http11, true);
        assert!(!text.contains("X-A") && !text.contains("X-B") && text.contains("X-C: c\r\n"), "{text}");
    }

    #[test]
    fn headers_stand_in_the_order_they_were_given() {
        let reply = Reply::text(401, "no\n").with("X-B", "b").with_count("X-A", 3);
        let expected = "HTTP/1.1 401 Unauthorized\r\nServer: gateway-exporter\r\n\
                        Content-Type: text/plain; charset=utf-8\r\nX-B: b\r\nX-A: 3\r\n\
                        Content-Length: 3\r\nConnection: close\r\n\r\nno\n";
        assert_eq!(printed(reply, Version::Http11, true), expected);
    }

    #[test]
    fn every_status_has_its_words() {
        for status in [200, 400, 401, 403, 404, 405, 408, 421, 429, 431, 500, 503, 505] {
            assert_ne!(reason(status), reason(0), "{status}");
        }
    }

    #[test]
    fn refusals_say_what_would_do() {
        let text = |reject: Reject| String::from_utf8(print(reject.reply(), Version::Http11, true)).unwrap();
        assert!(text(Reject::Method).starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
        assert!(text(Reject::Method).contains("\r\nAllow: GET, HEAD\r\n"));
        assert!(text(Reject::Busy).starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert!(text(Reject::Busy).contains("\r\nRetry-After: 1\r\n"));
        assert!(text(Reject::Busy).ends_with("\r\n\r\nbusy, try again\n"));
    }
}
