//! One connection, in plain or under TLS; the accept loop reads and answers on it without ever waiting.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::tls::{Session, Tls};

pub(super) struct Stream {
    pub(super) socket: Arc<TcpStream>,
    session: Option<Session>,
}

impl Stream {
    /// None where no session can be had.
    pub(super) fn new(socket: TcpStream, tls: Option<&Tls>) -> Option<Self> {
        let session = match tls {
            Some(tls) => Some(tls.session()?),
            None => None,
        };
        Some(Self { socket: socket.into(), session })
    }

    /// Whether the peer speaks plain HTTP where TLS is spoken; if so, it is answered so from now on.
    pub(super) fn is_mistaken(&mut self) -> bool {
        self.session.take_if(|session| session.hears_plain(&self.socket)).is_some()
    }

    /// What the peer says. Call it until it would block: what is here already wakes nobody.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => (&*self.socket).read(buffer),
            Some(session) => session.read(&self.socket, buffer),
        }
    }

    /// Whether a TLS handshake is still to be done.
    pub(super) fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_handshaking)
    }

    /// Whether reading has computed a part of a handshake, as signing is, since this was asked last.
    pub(super) fn take_computed(&mut self) -> bool {
        self.session.as_mut().is_some_and(Session::take_computed)
    }

    /// The last words without waiting: the empty buffer of a new socket takes them. Before the end of a handshake
    /// there are none.
    pub(super) fn farewell(&mut self, words: &[u8]) -> io::Result<()> {
        match &mut self.session {
            None => (&*self.socket).write(words).map(drop)?,
            Some(session) => session.say(&self.socket, words)?,
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Throws away what the peer still says, at most so much; how much more it may say, none at its end.
    pub(super) fn ignore(&self, most: usize) -> Option<usize> {
        let mut buffer = [0; 4096];
        let space = buffer.len().min(most);
        match (&*self.socket).read(buffer.get_mut(..space).unwrap_or_default()) {
            Ok(read @ 1..) => most.checked_sub(read),
            result => would_block(&result).then_some(most),
        }
    }

    /// Has `with` write an answer to `wire`, which is this stream.s socket with a deadline.
    pub(super) fn write(
        &mut self,
        mut wire: impl Write,
        with: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match &mut self.session {
            None => with(&mut wire),
            Some(session) => session.write(wire, with),
        }
    }
}

/// Whether there was nothing to read yet.
pub(super) fn would_block(result: &io::Result<usize>) -> bool {
    let kind = result.as_ref().map_err(io::Error::kind);
    matches!(kind, Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
}
