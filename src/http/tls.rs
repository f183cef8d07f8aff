//! TLS (RFC 8446, RFC 5246) with rustls: the accept loop does handshakes without blocking, as part of reading heads.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection};

use super::{ClientAuth, TlsFiles};
use crate::sys::settings_file;

/// The most bytes to receive up to a reply, more than any handshake and head: then the connection is closed.
const MOST_RECEIVED: usize = 128 * 1024;
/// The first byte that a TLS client sends: the type of a handshake record.
const HANDSHAKE: u8 = 22;

/// The server's certificate and key, and which client certificates to ask for.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

/// One connection's side of TLS.
pub(super) struct Session {
    connection: Box<ServerConnection>,
    received: usize,
    has_computed: bool,
}

impl Tls {
    /// Reads the certificates and the key.
    pub fn load(files: &TlsFiles) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = if files.only_tls13 { &[&TLS13] } else { &[&TLS12, &TLS13] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions);
        let builder = builder.map_err(|error| error.to_string())?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some((path, auth)) => {
                let wrong = |error: String| format!("{}: {error}", path.display());
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::IfGiven => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(error.to_string()))?)
            }
        };
        let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
            .map_err(|_| format!("{}: contains no unencrypted private key in PEM", files.key.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&files.certificate)?, key)
            .map_err(|error| format!("{}: {error}", files.certificate.display()))?;
        // Prometheus does not resume, and its connection is kept: there is nothing else to keep.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self(config.into()))
    }

    /// A session for a new connection; `None` if it cannot be created.
    pub(super) fn session(&self) -> Option<Session> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).ok()?;
        Some(Session { connection: Box::new(connection), received: 0, has_computed: false })
    }
}

impl Session {
    /// Whether the first bytes of the peer are not TLS.
    pub(super) fn receives_plain_http(&self, stream: &TcpStream) -> bool {
        let mut first = [0];
        self.received == 0 && self.is_handshaking() && matches!(stream.peek(&mut first), Ok(1)) && first != [HANDSHAKE]
    }

    /// Whether the handshake is not complete.
    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether reading has computed a part of the handshake since the last call.
    pub(super) fn take_computed(&mut self) -> bool {
        std::mem::take(&mut self.has_computed)
    }

    /// Reads from the peer without blocking: `WouldBlock` while a record is incomplete.
    pub(super) fn read(&mut self, mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            let received = self.connection.read_tls(&mut stream)?;
            self.received = self.received.saturating_add(received);
            if received == 0 || self.received > MOST_RECEIVED {
                return Ok(0);
            }
            let was_handshaking = self.connection.is_handshaking();
            let understood = self.connection.process_new_packets();
            // Data to send means that a key exchange or signature was computed.
            self.has_computed |= was_handshaking && self.connection.wants_write();
            // It fits into the buffer of a new socket; after a failure it is the alert.
            let sent = self.send(stream);
            understood.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sent?;
        }
    }

    /// Sends the bytes and close_notify without blocking, if the handshake is complete.
    pub(super) fn send_all(&mut self, stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
        if self.connection.is_handshaking() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.write(stream, false, |out| out.write_all(bytes))
    }

    /// Calls `with` to write a reply; then sends close_notify, unless that failed or the connection is kept.
    pub(super) fn write(
        &mut self,
        wire: impl Write,
        keeps: bool,
        with: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut sealed = Sealed { session: self, wire };
        with(&mut sealed)?;
        if keeps {
            sealed.session.received = 0;
        } else {
            sealed.session.connection.send_close_notify();
        }
        sealed.flush()
    }

    fn send(&mut self, mut wire: impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut wire)?;
        }
        Ok(())
    }
}

/// Encrypts what is written.
struct Sealed<'a, W> {
    session: &'a mut Session,
    wire: W,
}

impl<W: Write> Write for Sealed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.connection.writer().write(bytes)?;
        self.flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.session.send(&mut self.wire)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let found = found.ok().filter(|found| !found.is_empty());
    found.ok_or_else(|| format!("{}: contains no certificate in PEM", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    settings_file::read(path).map_err(|error| error.to_string())
}
