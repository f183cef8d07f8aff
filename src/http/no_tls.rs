//! Replaces `tls.rs` in a build without TLS: no value of these types can exist, so the compiler removes their code.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::TcpStream;

use super::TlsFiles;

/// The TLS configuration: there is none.
#[derive(Clone)]
pub struct Tls(Infallible);

pub(super) struct Session(Infallible);

impl Tls {
    /// Always an error.
    pub fn load(_: &TlsFiles) -> Result<Self, String> {
        Err("built without TLS".into())
    }

    pub(super) fn session(&self) -> Option<Session> {
        match self.0 {}
    }
}

impl Session {
    pub(super) fn receives_plain_http(&self, _: &TcpStream) -> bool {
        match self.0 {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(super) fn take_computed(&mut self) -> bool {
        match self.0 {}
    }

    pub(super) fn read(&mut self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(super) fn send_all(&mut self, _: &TcpStream, _: &[u8]) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn write(
        &mut self,
        _: impl Write,
        _: bool,
        _: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        match self.0 {}
    }
}
