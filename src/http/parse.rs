//! Parses the head of a request (RFC 9112), with httparse.

use std::net::Ipv4Addr;
use std::time::Duration;

use httparse::{EMPTY_HEADER, Header, Status};

use super::accept::Weights;
use super::{Method, RELOAD, Request};
use crate::auth::basic;
use crate::encoding::hex_digit;

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) request: Request,
    pub(super) version: Version,
    /// Whether the connection may be used for another request: the client wants that, and the end of this request is certain.
    pub(super) keeps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// No chunked encoding: a streamed body ends with the connection.
    Http10,
    Http11,
}

impl Version {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// Why the server refuses a request without calling the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reject {
    Forbidden,
    Malformed,
    Method,
    /// Plain HTTP on a TLS port.
    PlainHttp,
    TooSlow,
    TooLong,
    Busy,
    Version,
}

const MOST_HEADERS: usize = 64;
const MOST_QUERY: usize = 64;
const TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

/// Parses the head at the start of `bytes`; `None` if its end is missing. What follows the head is ignored, and the connection
/// is closed after the reply.
/// Lenient: `Host` may be missing, and lines may end in LF alone.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>, Reject> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Reject::TooLong),
        Err(httparse::Error::Version) if has_http_version(bytes) => return Err(Reject::Version),
        Err(_) => return Err(Reject::Malformed),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(Reject::Malformed) };
    check_framing(parsed.headers)?;
    let target = split_target(target);
    let method = match (method, target) {
        ("GET", _) => Method::Get,
        ("HEAD", _) => Method::Head,
        ("POST", Some((_, RELOAD, _))) => Method::Post,
        _ => return Err(Reject::Method),
    };
    let (authority, path, query) = target.ok_or(Reject::Malformed)?;
    let host =
        authority.or_else(|| find(parsed.headers, "Host").next().and_then(|value| std::str::from_utf8(value).ok()));
    let request = Request {
        method,
        path: path.to_owned(),
        query: parse_query(query).ok_or(Reject::Malformed)?,
        host: host.map(str::trim).filter(|host| !host.is_empty()).map(|host| without_port(host).to_owned()),
        timeout: find(parsed.headers, TIMEOUT).next().and_then(parse_seconds),
        credentials: find(parsed.headers, "Authorization").next().and_then(basic::parse),
        accepts_gzip: accepts_gzip(parsed.headers),
        peer: Ipv4Addr::UNSPECIFIED.into(),
        is_local: false,
        is_cross_site: is_cross_site(parsed.headers, host),
    };
    let version = if parsed.version == Some(0) { Version::Http10 } else { Version::Http11 };
    let is_alone = length == bytes.len() && !has_body(parsed.headers) && has_plain_line_ends(bytes);
    Ok(Some(Head { request, version, keeps: is_alone && wants_to_keep(parsed.headers, version) }))
}

fn accepts_gzip(headers: &[Header<'_>]) -> bool {
    let mut weights = Weights::default();
    find(headers, "Accept-Encoding").for_each(|list| weights.add(list));
    weights.prefer_gzip()
}

/// Whether a page of another site than `host` has a browser send it: browsers say so by these headers, which a page can't
/// change.
fn is_cross_site(headers: &[Header<'_>], host: Option<&str>) -> bool {
    let own = host.unwrap_or_default().as_bytes();
    let is_own = |origin: &[u8]| {
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(own))
    };
    find(headers, "Sec-Fetch-Site").any(|site| site != b"same-origin" && site != b"none")
        || find(headers, "Origin").any(|origin| !is_own(origin))
}

/// Whether the client wants to send another request on the connection (RFC 9112, section 9.3).
fn wants_to_keep(headers: &[Header<'_>], version: Version) -> bool {
    let names = |option: &[u8]| {
        let mut options = find(headers, "Connection").flat_map(|list| list.split(|byte| *byte == b','));
        options.any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
    };
    !names(b"close") && (version == Version::Http11 || names(b"keep-alive"))
}

/// Whether a body may follow, which is not read.
fn has_body(headers: &[Header<'_>]) -> bool {
    ["Content-Length", "Transfer-Encoding"].into_iter().any(|name| find(headers, name).next().is_some())
}

/// Whether every line ends in CR LF: what another reader on the way takes for the end of the head is the same then.
fn has_plain_line_ends(bytes: &[u8]) -> bool {
    bytes.split_inclusive(|byte| *byte == b'\n').all(|line| line.ends_with(b"\r\n"))
}

/// Whether the third word of the first line is `HTTP/…`, as in the preface of HTTP/2.
fn has_http_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    line.splitn(3, |byte| *byte == b' ').nth(2).is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// Bodies are not read, since the connection ends after them; but requests whose end is ambiguous are rejected (request smuggling).
fn check_framing(headers: &[Header<'_>]) -> Result<(), Reject> {
    let mut lengths = find(headers, "Content-Length");
    let length = lengths.next();
    let chunked = find(headers, "Transfer-Encoding").next().is_some();
    let is_number = |value: &[u8]| !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let odd = lengths.next().is_some() || length.is_some_and(|value| chunked || !is_number(value));
    if odd || find(headers, "Host").nth(1).is_some() { Err(Reject::Malformed) } else { Ok(()) }
}

fn find<'a>(headers: &'a [Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Authority, path and query of `/path?query` or `http://authority/path?query`.
fn split_target(target: &str) -> Option<(Option<&str>, &str, &str)> {
    let (authority, local) = match target.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") => {
            let (authority, local) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(authority), local)
        }
        _ if target.starts_with('/') => (None, target),
        _ => return None,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    Some((authority, if path.is_empty() { "/" } else { path }, query))
}

/// The host of `host:port`, `[address]:port` or either without a port (RFC 3986).
fn without_port(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (host.ends_with(']') || !host.contains(':')) => host,
        _ => authority,
    }
}

/// Splits and decodes the query; `None` if it has too many parameters.
fn parse_query(query: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pairs.len() == MOST_QUERY {
            return None;
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((decode(name), decode(value)));
    }
    Some(pairs)
}

/// Decodes `%41` and `+`; invalid escapes are kept as they are.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, tail @ ..]) => {
                hex_digit(*high).zip(hex_digit(*low)).map(|(high, low)| ((high << 4) | low, tail))
            }
            (b'+', _) => Some((b' ', after)),
            _ => None,
        };
        let (decoded, tail) = escaped.unwrap_or((byte, after));
        bytes.push(decoded);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Parses seconds with a decimal fraction, as Prometheus writes them (Go's format `'f'`). The standard library's parser for
/// floating-point numbers would add 13 KB.
fn parse_seconds(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let time = is_number.then(|| Some(Duration::new(whole.parse().ok()?, nanoseconds)))?;
    time.filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, query: &[(&str, &str)]) -> Request {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let peer = Ipv4Addr::UNSPECIFIED.into();
        Request {
            method: Method::Get,
            path: path.into(),
            query,
            host: Some("gateway".into()),
            timeout: None,
            credentials: None,
            accepts_gzip: false,
            peer,
            is_local: false,
            is_cross_site: false,
        }
    }

    fn get(target: &str) -> Result<Option<Request>, Reject> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gateway\r\n\r\n");
        parse(head.as_bytes()).map(|head| head.map(|head| head.request))
    }

    fn status(head: &[u8]) -> Option<u16> {
        parse(head).err().map(|refusal| refusal.reply().status())
    }

    const SCRAPE: &[u8] = b"GET /metrics?collect[]=openvpn&collect%5b%5D=sockets HTTP/1.1\r\n\
        Host: gateway:9234\r\nUser-Agent: Prometheus/3.5.0\r\nAccept: text/plain;version=0.0.4\r\n\
        Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 2.5\r\n\r\n";

    #[test]
    fn a_scrape_is_understood() {
        let head = parse(SCRAPE).unwrap().unwrap();
        let expected = request("/metrics", &[("collect[]", "openvpn"), ("collect[]", "sockets")]);
        let timeout = Some(Duration::from_millis(2500));
        assert_eq!(head.request, Request { timeout, accepts_gzip: true, ..expected });
        assert_eq!((head.version, head.keeps), (Version::Http11, true));
        assert_eq!(head.request.values("collect[]").collect::<Vec<_>>(), ["openvpn", "sockets"]);
    }

    #[test]
    fn targets_are_split_and_paths_left_alone() {
        assert_eq!(get("/"), Ok(Some(request("/", &[]))));
        assert_eq!(get("/%6detrics/../%00"), Ok(Some(request("/%6detrics/../%00", &[]))));
        assert_eq!(get("http://gateway:9234/metrics?a=b"), Ok(Some(request("/metrics", &[("a", "b")]))));
        assert_eq!(get("HTTPS://gateway"), Ok(Some(request("/", &[]))));
        assert_eq!(get("http://gateway?a"), Ok(Some(request("/", &[("a", "")]))));
        assert_eq!(get("/x?u=http://gateway/"), Ok(Some(request("/x", &[("u", "http://gateway/")]))));
        for target in ["*", "metrics", "ftp://gateway/metrics", "javascript://x"] {
            assert_eq!(get(target), Err(Reject::Malformed), "{target}");
        }
    }

    #[test]
    fn the_host_is_the_targets_or_the_headers_without_its_port() {
        for (target, header, expected) in [
            ("/", "Host: gateway.example.com:9234\r\n", Some("gateway.example.com")),
            ("/", "hOST:  Gateway \r\n", Some("Gateway")),
            ("/", "Host: [2001:db8::1]:9234\r\n", Some("[2001:db8::1]")),
            ("/", "Host: [2001:db8::1]\r\n", Some("[2001:db8::1]")),
            ("/", "Host: 192.0.2.1:9234\r\n", Some("192.0.2.1")),
            ("/", "Host: gateway:\r\n", Some("gateway")),
            ("/", "Host: gateway:http\r\n", Some("gateway:http")),
            ("/", "Host: a:b:1\r\n", Some("a:b:1")),
            ("/", "Host: \u{e4}\r\n", Some("\u{e4}")),
            ("/", "Host:\r\n", None),
            ("/", "", None),
            ("http://evil.example:80/", "Host: gateway\r\n", Some("evil.example")),
            ("http://evil.example?x", "Host: gateway\r\n", Some("evil.example")),
            ("http://user@evil.example/", "Host: gateway\r\n", Some("user@evil.example")),
            ("http:///", "Host: gateway\r\n", None),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\n{header}\r\n");
            let host = parse(head.as_bytes()).unwrap().unwrap().request.host;
            assert_eq!(host.as_deref(), expected, "{target} {header}");
        }
    }

    #[test]
    fn query_values_are_decoded_once() {
        let query = |text: &str| get(&format!("/?{text}")).map(|request| request.unwrap().query);
        let pairs = |pairs: &[(&str, &str)]| Ok(request("/", pairs).query);
        assert_eq!(query("a=1+2%2B3&&b=%2525&c"), pairs(&[("a", "1 2+3"), ("b", "%25"), ("c", "")]));
        assert_eq!(query("a=%&b=%4&c=%zz&d=%+1"), pairs(&[("a", "%"), ("b", "%4"), ("c", "%zz"), ("d", "% 1")]));
        assert_eq!(query("a=%00%ff%C3%A9"), pairs(&[("a", "\0\u{fffd}\u{e9}")]));
        assert_eq!(query("a=b=c?d"), pairs(&[("a", "b=c?d")]));
        assert_eq!(query(&"x&".repeat(64)).unwrap().len(), 64);
        assert_eq!(query(&"x&".repeat(65)), Err(Reject::Malformed));
    }

    #[test]
    fn only_a_time_is_a_time_out() {
        let timeout = |value: &str| {
            let head = format!("GET / HTTP/1.0\r\nx-prometheus-scrape-timeout-seconds: {value}\r\n\r\n");
            parse(head.as_bytes()).unwrap().unwrap().request.timeout
        };
        assert_eq!(timeout("10"), Some(Duration::from_secs(10)));
        assert_eq!(timeout("0.0010000001"), Some(Duration::from_millis(1)));
        for value in [
            "",
            "x",
            "0",
            "-1",
            "NaN",
            "inf",
            "1e400",
            "1e3",
            "+1",
            "1.+1",
            ".",
            "99999999999999999999",
            "1,5",
            "\u{e9}",
        ] {
            assert_eq!(timeout(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_not_asked_properly_is_refused() {
        for (expected, head) in [
            (400, &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..]),
            (400, b"GET /\r\n"),
            (400, b"GET / \r\n\r\n"),
            (400, b"GET / FTP/1.1\r\n\r\n"),
            (400, b"GET /a b HTTP/1.1\r\n\r\n"),
            (400, b"GET /\0 HTTP/1.1\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nno colon\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nA : b\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n"),
            (405, b"POST /metrics HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\n"),
            (405, b"OPTIONS * HTTP/1.1\r\n\r\n"),
            (405, b"CONNECT a:1 HTTP/1.1\r\n\r\n"),
            (405, b"POST /-/reload/ HTTP/1.1\r\n\r\n"),
            (405, b"PUT /-/reload HTTP/1.1\r\n\r\n"),
            (405, b"get / HTTP/1.1\r\n\r\n"),
            (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (505, b"GET / HTTP/0.9\r\n\r\n"),
            (505, b"GET / HTTP/3\r\n\r\n"),
        ] {
            assert_eq!(status(head), Some(expected), "{}", String::from_utf8_lossy(head));
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
        assert_eq!(status(many.as_bytes()), Some(431));
        let as_many_as_may_be = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(64));
        assert!(parse(as_many_as_may_be.as_bytes()).is_ok_and(|head| head.is_some()));
    }

    #[test]
    fn what_a_page_of_another_site_sends_is_known() {
        for (headers, expected) in [
            ("", false),
            ("Origin: http://gateway:9234\r\n", false),
            ("Origin: https://Gateway:9234\r\nSec-Fetch-Site: same-origin\r\n", false),
            ("Sec-Fetch-Site: none\r\n", false),
            ("Origin: http://gateway\r\n", true),
            ("Origin: http://gateway:9235\r\n", true),
            ("Origin: http://evil.example\r\n", true),
            ("Origin: null\r\n", true),
            ("Origin:\r\n", true),
            ("Sec-Fetch-Site: cross-site\r\n", true),
            ("Sec-Fetch-Site: same-site\r\n", true),
            ("Sec-Fetch-Site: same-origin\r\nsec-fetch-site: cross-site\r\n", true),
        ] {
            let head = format!("POST /-/reload HTTP/1.1\r\nHost: gateway:9234\r\n{headers}\r\n");
            let request = parse(head.as_bytes()).unwrap().unwrap().request;
            assert_eq!((request.method, request.is_cross_site), (Method::Post, expected), "{headers}");
        }
    }

    #[test]
    fn what_is_lenient_is_let_in() {
        for head in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            b"GET / HTTP/1.1\n\n",
            b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\nbody",
            b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: \xff\r\n\r\nGET /second HTTP/1.1\r\n\r\n",
        ] {
            let expected = Request { host: None, ..request("/", &[]) };
            assert_eq!(parse(head).unwrap().unwrap().request, expected, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_connection_is_kept_where_both_sides_agree_on_the_end_of_the_request() {
        let keeps = |head: &str| parse(head.as_bytes()).unwrap().unwrap().keeps;
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "HEAD / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: TE, x\r\nConnection: closed\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\nconnection: x , Keep-Alive\r\n\r\n",
        ] {
            assert!(keeps(head), "{head}");
        }
        for head in [
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: keep-alive\r\nCONNECTION: te,\tCLOSE\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "GET / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\nG",
            "GET / HTTP/1.1\r\n\r\n\r\n",
            "GET / HTTP/1.1\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
        ] {
            assert!(!keeps(head), "{head}");
        }
    }

    #[test]
    fn a_head_that_is_cut_is_awaited() {
        for end in 0..SCRAPE.len() {
            assert_eq!(parse(&SCRAPE[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn no_flipped_bit_harms() {
        let mut bytes = SCRAPE.to_vec();
        let mut understood = 0;
        for index in 0..bytes.len() * 8 {
            bytes[index / 8] ^= 1 << (index % 8);
            if let Ok(Some(head)) = parse(&bytes) {
                understood += 1;
                assert!(head.request.path.starts_with('/') && head.request.query.len() <= 64);
            }
            bytes[index / 8] ^= 1 << (index % 8);
        }
        assert!(understood > 100, "{understood}");
    }
}
