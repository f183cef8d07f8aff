//! Compresses replies with gzip (RFC 1952) while they are sent. The only file that uses miniz_oxide and const_crc32.
//!
//! A compressor holds [`HEAP`] bytes, which count in the memory budget; at most [`MOST`] work at the same time, one for a
//! peer, and other replies are sent as they are. What is compressed, and why that tells nobody a secret, is said in
//! docs/security.md.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

use super::types::Pieces;
use super::{Body, Reply, Request};
use crate::lock::lock;
use crate::memory_budget::{MemoryBudget, Reservation};

/// The most bytes of a body that is not worth compressing: it fits into one packet.
const LEAST: usize = 1400;

/// The most compressors at the same time.
const MOST: usize = 2;

/// What one compressor holds, in bytes: its window, hash chains, codes and output, and the buffer for what it has written.
const HEAP: usize = 352 * 1024;

/// The level of compression: the first one, since the sixth takes twice the time for a twentieth less.
const LEVEL: i32 = 1;

/// How much compressed text is kept ready at a time, in bytes.
const CHUNK: usize = 16 * 1024;

/// The header: gzip, deflate, no flags, no time, the fastest level, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// The length of what follows the compressed data: its CRC-32 and its length.
const TRAILER: usize = 8;

/// Whether replies are compressed for peers that accept it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// Except for peers on this machine.
    #[default]
    Auto,
    /// For every peer.
    Always,
    /// For no peer.
    Never,
}

/// The compressors of all replies.
pub struct Compression {
    memory: Arc<MemoryBudget>,
    /// The peers whose replies are being compressed.
    peers: Mutex<Vec<IpAddr>>,
}

/// The right to compress one reply.
struct Slot {
    compression: Arc<Compression>,
    peer: IpAddr,
    _memory: Reservation,
}

impl Compression {
    /// Compressors whose memory counts in `memory`.
    pub fn new(memory: Arc<MemoryBudget>) -> Arc<Self> {
        Arc::new(Self { memory, peers: Mutex::default() })
    }

    /// Compresses a reply if the peer accepts that, if the body is long enough, and if a compressor is free. Errors are short
    /// and stay as they are.
    pub fn apply(self: &Arc<Self>, compress: Compress, request: &Request, reply: Reply) -> Reply {
        if !cfg!(feature = "gzip") || compress == Compress::Never || reply.status != 200 {
            return reply;
        }
        let mut reply = reply.with("Vary", "Accept-Encoding");
        let is_wanted = request.accepts_gzip && (compress == Compress::Always || !request.is_local);
        if !is_wanted || !reply.body.is_longer_than(LEAST) {
            return reply;
        }
        match self.slot(request.peer) {
            Some(slot) => {
                reply.body = Body::Stream(Box::new(Gzip::new(reply.body.into_stream(), slot)));
                reply.with("Content-Encoding", "gzip")
            }
            None => reply,
        }
    }

    fn slot(self: &Arc<Self>, peer: IpAddr) -> Option<Slot> {
        let memory = self.memory.reserve();
        let mut peers = lock(&self.peers);
        if peers.len() >= MOST || peers.contains(&peer) || !memory.grow_if_free(HEAP) {
            return None;
        }
        peers.push(peer);
        Some(Slot { compression: Arc::clone(self), peer, _memory: memory })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut peers = lock(&self.compression.peers);
        peers.retain(|peer| *peer != self.peer);
    }
}

/// A body that is compressed while it is read.
struct Gzip {
    body: Box<dyn Pieces>,
    /// Absent until the first byte is read: the answer to HEAD needs none.
    deflate: Option<CompressorOxide>,
    crc: u32,
    length: u32,
    is_over: bool,
    /// Compressed text, from `taken` to `filled`.
    ready: Vec<u8>,
    filled: usize,
    taken: usize,
    _slot: Slot,
}

impl Gzip {
    fn new(body: Box<dyn Pieces>, slot: Slot) -> Self {
        let (ready, filled, taken) = (Vec::new(), 0, 0);
        Self { body, deflate: None, crc: 0, length: 0, is_over: false, ready, filled, taken, _slot: slot }
    }

    /// Fills the empty buffer.
    fn refill(&mut self) -> io::Result<()> {
        (self.filled, self.taken) = (0, 0);
        if self.deflate.is_none() {
            self.ready = vec![0; CHUNK.saturating_add(TRAILER)];
            self.put(&HEADER);
        }
        while !self.is_over && self.filled < CHUNK {
            self.step()?;
        }
        Ok(())
    }

    /// Compresses what the body has ready, as far as there is space.
    fn step(&mut self) -> io::Result<()> {
        let new = || CompressorOxide::new(create_comp_flags_from_zip_params(LEVEL, 0, 0));
        let deflate = self.deflate.get_or_insert_with(new);
        let text = self.body.piece()?;
        let flush = if text.is_empty() { TDEFLFlush::Finish } else { TDEFLFlush::None };
        let space = self.ready.get_mut(self.filled..CHUNK).unwrap_or_default();
        let (status, read, written) = compress(deflate, text, space, flush);
        self.crc = const_crc32::crc32_seed(text.get(..read).unwrap_or_default(), self.crc);
        // The length is counted modulo 2^32, as the format wants it.
        self.length = self.length.wrapping_add(read as u32);
        self.filled = self.filled.saturating_add(written);
        self.body.advance(read);
        match status {
            TDEFLStatus::Done => {
                self.put(&self.crc.to_le_bytes());
                self.put(&self.length.to_le_bytes());
                self.is_over = true;
                Ok(())
            }
            TDEFLStatus::Okay if read > 0 || written > 0 => Ok(()),
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.filled.saturating_add(bytes.len());
        if let Some(space) = self.ready.get_mut(self.filled..end) {
            space.copy_from_slice(bytes);
            self.filled = end;
        }
    }
}

impl Pieces for Gzip {
    fn piece(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.filled && !self.is_over {
            self.refill()?;
        }
        Ok(self.ready.get(self.taken..self.filled).unwrap_or_default())
    }

    fn advance(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.filled);
    }

    fn is_last(&self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use miniz_oxide::inflate;

    use super::*;
    use crate::http::Method;

    const BUDGET: usize = 1 << 20;

    fn request(peer: [u8; 4]) -> Request {
        Request {
            method: Method::Get,
            path: "/".into(),
            query: Vec::new(),
            host: None,
            timeout: None,
            credentials: None,
            accepts_gzip: true,
            peer: peer.into(),
            is_local: false,
            is_cross_site: false,
        }
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];
    const C: [u8; 4] = [192, 0, 2, 3];

    fn text(length: usize) -> Vec<u8> {
        let lines =
            (0..).flat_map(|n: usize| format!("ovpn_bytes_in_total{{client=\"{}\"}} {}\n", n % 97, n * n).into_bytes());
        lines.take(length).collect()
    }

    fn is_gzip(reply: &Reply) -> bool {
        reply.headers().any(|header| header == ("Content-Encoding", "gzip"))
    }

    fn varies(reply: &Reply) -> bool {
        reply.headers().any(|header| header == ("Vary", "Accept-Encoding"))
    }

    /// The text, after the frame was checked by hand: RFC 1952, section 2.3.
    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let (head, rest) = bytes.split_at(10);
        assert_eq!(head, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
        let (packed, tail) = rest.split_at(rest.len() - 8);
        let text = inflate::decompress_to_vec(packed).unwrap();
        assert_eq!(tail[4..], u32::try_from(text.len()).unwrap().to_le_bytes());
        assert_eq!(tail[..4], crc(&text).to_le_bytes());
        text
    }

    /// The CRC bit by bit, as RFC 1952, section 8 defines it.
    fn crc(text: &[u8]) -> u32 {
        let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
        !text.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }

    #[test]
    fn what_is_compressed_is_the_text() {
        for length in [1401, CHUNK, 100_000, 3_000_000] {
            let compression = Compression::new(MemoryBudget::new(BUDGET));
            let reply = compression.apply(Compress::Auto, &request(A), Reply::ok("text/x", text(length)));
            assert!(is_gzip(&reply) && varies(&reply));
            let packed = reply.into_bytes().unwrap();
            assert!(packed.len() < length / 2, "{length}: {}", packed.len());
            assert_eq!(unpacked(&packed), text(length));
        }
    }

    #[test]
    fn what_can_not_be_compressed_is_the_same_afterwards() {
        let mut state = 1_u32;
        let noise: Vec<u8> = (0..300_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let compression = Compression::new(MemoryBudget::new(BUDGET));
        let reply = compression.apply(Compress::Auto, &request(A), Reply::ok("text/x", noise.clone()));
        let packed = reply.into_bytes().unwrap();
        assert!(packed.len() > noise.len() && packed.len() < noise.len() + 1000, "{}", packed.len());
        assert_eq!(unpacked(&packed), noise);
    }

    #[test]
    fn a_stream_in_small_pieces_is_compressed_whole() {
        let mut pieces: Vec<Vec<u8>> = text(200_000).chunks(7).map(<[u8]>::to_vec).collect();
        pieces.reverse();
        let write = move |out: &mut Vec<u8>| match pieces.pop() {
            Some(piece) => {
                out.extend_from_slice(&piece);
                true
            }
            None => false,
        };
        let compression = Compression::new(MemoryBudget::new(BUDGET));
        let mut reply = compression.apply(Compress::Auto, &request(A), Reply::pieces("text/x", write));
        let Body::Stream(stream) = &mut reply.body else { panic!("it is a stream") };
        let mut packed = Vec::new();
        loop {
            // Whoever takes it may take less than is there.
            let piece = stream.piece().unwrap();
            let count = piece.len().min(1000);
            packed.extend_from_slice(&piece[..count]);
            stream.advance(count);
            if count == 0 {
                break;
            }
        }
        assert!(stream.piece().unwrap().is_empty(), "it stays at its end");
        assert_eq!(unpacked(&packed), text(200_000));
    }

    #[test]
    fn gzip_itself_reads_it() {
        let compression = Compression::new(MemoryBudget::new(BUDGET));
        let reply = compression.apply(Compress::Auto, &request(A), Reply::ok("text/x", text(100_000)));
        let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        gzip.stdin.take().unwrap().write_all(&reply.into_bytes().unwrap()).unwrap();
        let output = gzip.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, text(100_000));
    }

    #[test]
    fn only_what_is_wanted_and_long_enough_is_compressed() {
        let local = Request { is_local: true, ..request(A) };
        let without = Request { accepts_gzip: false, ..request(A) };
        for (compress, request, length, expected) in [
            (Compress::Auto, &request(A), 1401, true),
            (Compress::Auto, &request(A), 1400, false),
            (Compress::Auto, &local, 100_000, false),
            (Compress::Always, &local, 100_000, true),
            (Compress::Always, &local, 1400, false),
            (Compress::Always, &without, 100_000, false),
            (Compress::Never, &request(A), 100_000, false),
        ] {
            let compression = Compression::new(MemoryBudget::new(BUDGET));
            let reply = compression.apply(compress, request, Reply::ok("text/x", text(length)));
            assert_eq!(
                (is_gzip(&reply), varies(&reply)),
                (expected, compress != Compress::Never),
                "{compress:?} {length}"
            );
            if !expected {
                assert_eq!(reply.into_bytes().unwrap(), text(length));
            }
        }
        let compression = Compression::new(MemoryBudget::new(BUDGET));
        let error = Reply::text(404, "x".repeat(5000));
        let error = compression.apply(Compress::Always, &request(A), error);
        assert!(!is_gzip(&error) && !varies(&error));
    }

    #[test]
    fn two_compress_at_once_each_for_another_peer() {
        let compression = Compression::new(MemoryBudget::new(BUDGET));
        let ask = |peer| compression.apply(Compress::Auto, &request(peer), Reply::ok("text/x", text(5000)));
        let first = ask(A);
        assert!(is_gzip(&first));
        assert!(!is_gzip(&ask(A)), "a peer has one, so that it does not keep others from theirs");
        let second = ask(B);
        assert!(is_gzip(&second));
        let third = ask(C);
        assert!(!is_gzip(&third) && varies(&third));
        assert_eq!(third.into_bytes().unwrap(), text(5000));
        drop(first);
        assert!(is_gzip(&ask(C)) && is_gzip(&ask(A)) && !is_gzip(&ask(B)));
        drop(second);
        assert!(is_gzip(&ask(B)));
    }

    #[test]
    fn a_compressor_counts_in_the_memory_budget_and_frees_nothing_for_itself() {
        let memory = MemoryBudget::new(2 * HEAP);
        memory.free_by(|| panic!("nobody is cancelled for a compressor"));
        let compression = Compression::new(Arc::clone(&memory));
        let ask = || compression.apply(Compress::Auto, &request(A), Reply::ok("text/x", text(5000)));
        let held = memory.reserve();
        assert!(held.grow_if_free(HEAP + 1));
        assert!(!is_gzip(&ask()));
        drop(held);
        let reply = ask();
        assert!(is_gzip(&reply));
        let other = memory.reserve();
        assert!(!other.grow_if_free(HEAP + 1) && other.grow_if_free(HEAP));
        drop(reply);
        assert!(other.grow_if_free(HEAP), "what it held is free again");
    }
}
