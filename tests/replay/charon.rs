//! A charon that answers from a capture: `version`, `list-sas` and `list-conns` as a real one did, and whatever else
//! the capture has.
//!
//! What it has not, it answers as charon answers what it does not know.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

/// What a real charon sent for each command, segments with their lengths.
#[derive(Clone)]
pub(crate) struct Replay {
    version: Vec<u8>,
    sas: Vec<Vec<u8>>,
    connections: Vec<Vec<u8>>,
    certificates: Option<Vec<Vec<u8>>>,
    policies: Option<Vec<Vec<u8>>>,
    keys: Option<Vec<u8>>,
    stats: Option<Vec<u8>>,
    pools: Option<Vec<u8>>,
    counters: Option<Vec<u8>>,
    sums: Option<Vec<u8>>,
    left_out: usize,
    has_events: bool,
}

/// The answer to `stats`, as far as it is asked for: `ikesas { total = 1 }`.
const ONE_IKE_SA: &[u8] = b"\0\0\0\x14\x01\x01\x06ikesas\x03\x05total\0\x011\x02";

/// The answer to a command that charon does not know.
const UNKNOWN: &[u8] = b"\0\0\0\x01\x02";

/// The answer to `list-sas` when charon is busy with every IKE_SA: an empty response.
const NO_IKE_SA: &[u8] = b"\0\0\0\x01\x01";

impl Replay {
    /// Reads `version.vici`, `list-sas.vici` and `list-conns.vici` in a folder, and the others that are there.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let capture = |name: &str| fs::read(folder.join(name));
        Ok(Self {
            version: capture("version.vici")?,
            sas: segments(&capture("list-sas.vici")?),
            connections: segments(&capture("list-conns.vici")?),
            certificates: capture("list-certs.vici").ok().map(|capture| segments(&capture)),
            policies: capture("list-policies.vici").ok().map(|capture| segments(&capture)),
            keys: capture("get-keys.vici").ok(),
            stats: capture("stats.vici").ok(),
            pools: capture("get-pools.vici").ok(),
            counters: capture("get-counters.vici").ok(),
            sums: capture("get-counters-sums.vici").ok(),
            left_out: 0,
            has_events: false,
        })
    }

    /// The same with one IKE_SA that is left out of so many lists and counted by `stats`.
    #[allow(dead_code, reason = "the program that plays a charon has no use for it")]
    pub(crate) fn busy(self, lists: usize) -> Self {
        Self { stats: Some(ONE_IKE_SA.to_vec()), ..self.leaving_out(lists) }
    }

    /// The same with no IKE_SA in the first so many lists of a connection.
    #[allow(dead_code, reason = "the program that plays a charon has no use for it")]
    pub(crate) fn leaving_out(self, lists: usize) -> Self {
        Self { left_out: lists, ..self }
    }

    /// The same with the events that every charon has; nothing ever happens.
    #[allow(dead_code, reason = "the tests want to be left when their scrape ends")]
    pub(crate) fn with_events(self) -> Self {
        Self { has_events: true, ..self }
    }

    /// The same with each list sent from one buffer, not packet by packet, so that it costs as little as it can.
    #[allow(dead_code, reason = "only the bench wants a charon that is faster than a real one")]
    pub(crate) fn in_one_buffer(self) -> Self {
        Self { sas: vec![self.sas.concat()], connections: vec![self.connections.concat()], ..self }
    }

    /// Answers one client until it hangs up, which it may do while it is answered.
    pub(crate) fn answer(&self, stream: impl Read + Write) -> io::Result<()> {
        match self.converse(stream) {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => Ok(()),
            result => result,
        }
    }

    fn converse(&self, mut stream: impl Read + Write) -> io::Result<()> {
        let mut lists: usize = 0;
        loop {
            let mut length = [0; 4];
            if stream.read_exact(&mut length).is_err() {
                return Ok(());
            }
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut request)?;
            let name = request.get(2..).unwrap_or_default();
            let known = |word: &str| name.starts_with(word.as_bytes());
            match request.first() {
                Some(0) if known("version") => stream.write_all(&self.version)?,
                Some(0) if known("list-sas") && lists < self.left_out => {
                    lists = lists.saturating_add(1);
                    stream.write_all(NO_IKE_SA)?;
                }
                Some(0) if known("list-sas") => stream_all(&self.sas, &mut stream)?,
                Some(0) if known("list-conns") => stream_all(&self.connections, &mut stream)?,
                Some(0) if known("list-certs") => match &self.certificates {
                    Some(certificates) => stream_all(certificates, &mut stream)?,
                    None => stream.write_all(UNKNOWN)?,
                },
                Some(0) if known("list-policies") => match &self.policies {
                    Some(policies) => stream_all(policies, &mut stream)?,
                    None => stream.write_all(UNKNOWN)?,
                },
                Some(0) => stream.write_all(self.other(name).unwrap_or(UNKNOWN))?,
                Some(3 | 4) if self.sends(name) => stream.write_all(b"\0\0\0\x01\x05")?,
                _ => stream.write_all(b"\0\0\0\x01\x06")?,
            }
        }
    }
}

impl Replay {
    /// The answer to a command that a capture may leave out.
    fn other(&self, request: &[u8]) -> Option<&[u8]> {
        [
            (&b"stats"[..], &self.stats),
            (b"get-keys", &self.keys),
            (b"get-pools", &self.pools),
            (b"get-counters\x03", &self.counters),
            (b"get-counters", &self.sums),
        ]
        .into_iter()
        .find_map(|(name, answer)| answer.as_deref().filter(|_| request.starts_with(name)))
    }

    /// Whether it knows that event.
    fn sends(&self, event: &[u8]) -> bool {
        match event {
            b"list-sa" | b"list-conn" => true,
            b"list-cert" => self.certificates.is_some(),
            b"list-policy" => self.policies.is_some(),
            b"child-updown" | b"child-rekey" | b"ike-updown" | b"ike-rekey" => self.has_events,
            _ => false,
        }
    }
}

/// Sends the events and the response as charon does: each length and each segment by a call of its own.
fn stream_all(segments: &[Vec<u8>], mut out: impl Write) -> io::Result<()> {
    for segment in segments {
        let (length, body) = segment.split_at(4);
        out.write_all(length)?;
        out.write_all(body)?;
    }
    Ok(())
}

/// The events and the response of a capture, without the confirmations around them.
fn segments(mut capture: &[u8]) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    while let Some(length) = capture.first_chunk::<4>() {
        let end = (4 + u32::from_be_bytes(*length) as usize).min(capture.len());
        let (segment, rest) = capture.split_at(end);
        if segment.get(4).is_some_and(|kind| *kind != 5) {
            segments.push(segment.to_vec());
        }
        capture = rest;
    }
    segments
}
