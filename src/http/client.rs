//! Asks the gateway-exporter that listens on an address of this machine.

use std::net::SocketAddr;
use std::time::Duration;

use super::listener::addresses_to_ask;
use super::server::HEALTHY;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::sys::socket::{self, Address, Channel};

/// How long to wait for the head of an answer.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// How long to wait for a whole answer: longer than its sources may take.
const ANSWER_TIME: Duration = Duration::from_secs(8);

/// The largest head and the largest answer that are read, in bytes.
const HEAD_LIMIT: usize = 4096;
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// The line of a head by which we know our own.
const OURS: &str = "Server: gateway-exporter";

/// Whether the process that listens on `address` is a gateway-exporter.
pub fn is_ours(address: &str) -> bool {
    let head = |address| read_head(&mut request(address, HEALTHY, PROBE_TIME)?);
    addresses_to_ask(address).into_iter().any(|address| head(address).is_ok_and(|(head, _)| is_ours_by(&head)))
}

/// Asks for a path. Returns the value of a header of the answer and its body; nothing if no gateway-exporter answers there
/// with 200, this header and all of its body.
pub fn ask(address: &str, path: &str, header: &str) -> Option<(String, Vec<u8>)> {
    addresses_to_ask(address).into_iter().find_map(|address| answer(address, path, header).ok().flatten())
}

fn answer(address: SocketAddr, path: &str, header: &str) -> Result<Option<(String, Vec<u8>)>, Error> {
    let mut channel = request(address, path, ANSWER_TIME)?;
    let (head, mut body) = read_head(&mut channel)?;
    let is_answer = is_ours_by(&head) && head.lines().next().is_some_and(|line| line.contains(" 200 "));
    let value = value(&head, header).filter(|_| is_answer);
    let length = self::value(&head, "Content-Length").and_then(|length| length.parse().ok());
    let (Some(value), Some(length)) = (value, length.filter(|length| *length <= ANSWER_LIMIT)) else { return Ok(None) };
    while body.len() < length {
        body.extend_from_slice(channel.receive()?);
    }
    Ok((body.len() == length).then(|| (value.to_owned(), body)))
}

fn request(address: SocketAddr, path: &str, time: Duration) -> Result<Channel, Error> {
    let mut channel = socket::open(&Address::Tcp(address.to_string()), Deadline::within(time))?;
    channel.send(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    Ok(channel)
}

/// The head, and what came with it of the body; an empty head where it is too long.
fn read_head(channel: &mut Channel) -> Result<(String, Vec<u8>), Error> {
    let mut answer: Vec<u8> = Vec::new();
    while answer.len() < HEAD_LIMIT {
        answer.extend_from_slice(channel.receive()?);
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let body = answer.split_off(end.saturating_add(4));
            return Ok((String::from_utf8_lossy(&answer).into_owned(), body));
        }
    }
    Ok(Default::default())
}

fn is_ours_by(head: &str) -> bool {
    head.lines().any(|line| line == OURS)
}

fn value<'h>(head: &'h str, header: &str) -> Option<&'h str> {
    head.lines().find_map(|line| line.strip_prefix(header)?.strip_prefix(": "))
}
