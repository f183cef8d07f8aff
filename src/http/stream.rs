//! One connection, with or without TLS. The accept loop reads and writes it without blocking.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::tls::{Session, Tls};

pub(super) struct Stream {
    pub(super) socket: Arc<TcpStream>,
    session: Option<Session>,
}

impl Stream {
    /// `None` if no TLS session can be created.
    pub(super) fn new(socket: TcpStream, tls: Option<&Tls>) -> Option<Self> {
        let session = match tls {
            Some(tls) => Some(tls.session()?),
            None => None,
        };
        Some(Self { socket: socket.into(), session })
    }

    /// Whether the peer speaks plain HTTP on a TLS port; then the reply is sent in plain HTTP.
    pub(super) fn is_plain_http(&mut self) -> bool {
        self.session.take_if(|session| session.receives_plain_http(&self.socket)).is_some()
    }

    /// Whether the peer is this machine itself: it asks from loopback, or from the address that it asks.
    pub(super) fn is_local(&self) -> bool {
        let addresses = self.socket.peer_addr().and_then(|peer| Ok((peer.ip(), self.socket.local_addr()?.ip())));
        addresses.is_ok_and(|(peer, own)| peer == own || peer.to_canonical().is_loopback())
    }

    /// Reads from the peer. Call it until it would block: poll does not report data that is buffered already.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => (&*self.socket).read(buffer),
            Some(session) => session.read(&self.socket, buffer),
        }
    }

    /// Whether the TLS handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_handshaking)
    }

    /// Whether reading has computed a part of the handshake, such as a signature, since the last call.
    pub(super) fn take_computed(&mut self) -> bool {
        self.session.as_mut().is_some_and(Session::take_computed)
    }

    /// Whether the peer has sent nothing more and has not closed its side. What it has sent is lost.
    pub(super) fn is_silent(&mut self) -> bool {
        would_block(&self.read(&mut [0]))
    }

    /// Closes a connection that was kept, with the end of TLS.
    pub(super) fn close(mut self) {
        // If it fails, the peer is told by the socket alone.
        let _ = self.send_last(&[]);
    }

    /// Sends the last bytes without blocking: they fit into the buffer of a socket whose peer has read all before. Fails before
    /// the end of the handshake.
    pub(super) fn send_last(&mut self, words: &[u8]) -> io::Result<()> {
        match &mut self.session {
            None if words.is_empty() => {}
            None => (&*self.socket).write(words).map(drop)?,
            Some(session) => session.send_all(&self.socket, words)?,
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Discards what the peer sends, at most `max` bytes; returns how many more it may send, `None` at the end.
    pub(super) fn discard(&self, max: usize) -> Option<usize> {
        let mut buffer = [0; 4096];
        let space = buffer.len().min(max);
        match (&*self.socket).read(buffer.get_mut(..space).unwrap_or_default()) {
            Ok(read @ 1..) => max.checked_sub(read),
            result => would_block(&result).then_some(max),
        }
    }

    /// Calls `with` to write a reply to `wire`, which is this stream's socket with a deadline. With `keeps`, another request may
    /// follow.
    pub(super) fn write(
        &mut self,
        mut wire: impl Write,
        keeps: bool,
        with: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match &mut self.session {
            None => with(&mut wire),
            Some(session) => session.write(wire, keeps, with),
        }
    }
}

/// Whether there was nothing to read yet.
pub(super) fn would_block(result: &io::Result<usize>) -> bool {
    let kind = result.as_ref().map_err(io::Error::kind);
    matches!(kind, Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
}
