//! Where to listen: `:port` for every address of the machine, `host:port`, `[address]:port`.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};

use crate::collector::Error;

/// Whom it overflows on comes again after a second: net.core.somaxconn, 4096 as a rule. A number of one's own may not
/// be more than what the C library calls the most, 128 with musl.
const BACKLOG: Backlog = Backlog::MAXALLOWABLE;
/// What the kernel keeps for one connection; it would let a peer that does not read have megabytes.
const SEND_BUFFER: usize = int(128 * 1024);
/// A head and no more: bodies are thrown away.
const RECEIVE_BUFFER: usize = int(16 * 1024);

/// nix hands the kernel a usize where it reads an int: its first half, on a 64-bit MIPS that is big-endian.
const fn int(value: usize) -> usize {
    if cfg!(all(target_endian = "big", target_pointer_width = "64")) { value.rotate_left(32) } else { value }
}

/// Listens on every address that `address` means: one, or all that a name has.
/// `:9234` is all addresses of the machine, IPv4 and IPv6, in one socket where the kernel has IPv6.
pub fn bind(address: &str) -> Result<Vec<TcpListener>, Error> {
    let wrong = |error: io::Error| Error::io(address, &error);
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong(io::Error::other("not a port")))?;
        let both = listen((Ipv6Addr::UNSPECIFIED, port).into(), true);
        let listener = match both {
            Err(error) if is_absent(&error) => listen(([0, 0, 0, 0], port).into(), false),
            result => result,
        };
        return Ok(vec![listener.map_err(wrong)?]);
    }
    let mut listeners = Vec::new();
    let mut absent = io::Error::other("no such host");
    for found in address.to_socket_addrs().map_err(wrong)? {
        match listen(found, false) {
            Ok(listener) => listeners.push(listener),
            // A name such as localhost can have an IPv6 address that the machine has not.
            Err(error) if is_absent(&error) => absent = error,
            Err(error) => return Err(wrong(error)),
        }
    }
    if listeners.is_empty() { Err(wrong(absent)) } else { Ok(listeners) }
}

/// How many descriptors one kind of connection may take: answering needs some, too.
pub(super) fn spare_descriptors() -> usize {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    usize::try_from(soft / 8).unwrap_or(usize::MAX)
}

fn listen(address: SocketAddr, both_families: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket: OwnedFd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if both_families {
        socket::setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    // Connections inherit these.
    socket::setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(&socket, sockopt::SndBuf, &SEND_BUFFER)?;
    socket::setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

fn is_absent(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_port_alone_is_every_address() {
        let listeners = bind(":0").unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert_eq!(listeners.len(), 1);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        if listeners[0].local_addr().unwrap().is_ipv6() {
            TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn names_and_literals_are_listened_on() {
        for address in ["localhost:0", "127.0.0.1:0"] {
            assert!(bind(address).unwrap().iter().all(|one| one.local_addr().unwrap().ip().is_loopback()), "{address}");
        }
    }

    #[test]
    fn a_taken_address_is_named() {
        let taken = bind("127.0.0.1:0").unwrap();
        let address = taken[0].local_addr().unwrap().to_string();
        assert_eq!(bind(&address).unwrap_err().to_string(), format!("{address}: address already in use"));
        let port = format!(":{}", taken[0].local_addr().unwrap().port());
        assert_eq!(bind(&port).unwrap_err().to_string(), format!("{port}: address already in use"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (address, error) in [
            ("9234", "9234: invalid socket address"),
            (":http", ":http: not a port"),
            (":65536", ":65536: not a port"),
            ("127.0.0.1:65536", "127.0.0.1:65536: invalid port value"),
            ("192.0.2.1:0", "192.0.2.1:0: cannot assign requested address"),
        ] {
            assert_eq!(bind(address).unwrap_err().to_string(), error);
        }
    }
}
