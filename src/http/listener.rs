//! Where to listen: `:port` for every address of the machine, `host:port`, `[address]:port`, `interface:port`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::ifaddrs;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};

use super::server::{Reconfigure, Reconfigures};
use super::{AccessControl, FreeMemory, Handler, Limits};
use crate::collector::Error;

/// Whom it overflows on comes again after a second: net.core.somaxconn, 4096 as a rule. A number of one's own may not
/// be more than what the C library calls the most, 128 with musl.
const BACKLOG: Backlog = Backlog::MAXALLOWABLE;
/// What the kernel keeps for one connection; it would let a peer that does not read have megabytes.
const SEND_BUFFER: usize = int(128 * 1024);
/// A head and no more: bodies are thrown away.
const RECEIVE_BUFFER: usize = int(16 * 1024);

/// How long the accept loop may take to put a change in force.
const RECONFIGURE_TIME: Duration = Duration::from_secs(5);

/// How long somebody else who listens may take to say who it is.
const PROBE_TIME: Duration = Duration::from_secs(1);

/// nix hands the kernel a usize where it reads an int: its first half, on a 64-bit MIPS that is big-endian.
const fn int(value: usize) -> usize {
    if cfg!(all(target_endian = "big", target_pointer_width = "64")) { value.rotate_left(32) } else { value }
}

/// What an address of the configuration means: one address, and whether its socket takes IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: SocketAddr,
    takes_both: bool,
}

/// Every socket that is listened on, and how to change them while they are.
pub struct Listeners {
    open: Vec<Open>,
    reconfigures: Option<Waker>,
}

/// One socket, and the configuration's name for its endpoint.
struct Open {
    name: String,
    endpoint: Endpoint,
    listener: Arc<TcpListener>,
}

/// What wakes the accept loop for a change, and where the change lies.
type Waker = (UnixStream, Arc<Mutex<Option<Reconfigure>>>);

impl Listeners {
    /// Listens on every address that these mean ([`bind`]); one that is meant twice is one.
    pub fn open(addresses: &[String]) -> Result<Self, Error> {
        let mut listeners = Self { open: Vec::new(), reconfigures: None };
        for name in addresses {
            listeners.add(name, meaning(name)?)?;
        }
        Ok(listeners)
    }

    /// Serves them, as [`super::serve`] does; `access` says who may ask. Gives what ends answers where memory is short.
    pub fn serve(
        &mut self,
        access: AccessControl,
        limits: Limits,
        handler: Arc<Handler>,
    ) -> io::Result<Box<FreeMemory>> {
        let (waker, wake) = UnixStream::pair()?;
        waker.set_nonblocking(true)?;
        wake.set_read_timeout(Some(RECONFIGURE_TIME))?;
        let next = Arc::default();
        let reconfigures = Reconfigures { waker, next: Arc::clone(&next) };
        let free_memory = super::start(self.reconfigure(access), Some(reconfigures), limits, handler)?;
        self.reconfigures = Some((wake, next));
        Ok(free_memory)
    }

    /// Listens elsewhere from now on, and lets in whom `access` says, whatever becomes of the addresses. What is meant
    /// before and after stays open all the while, as does what a name meant that means nothing now; where an address
    /// can't be had the others are listened on all the same, and the error names the first of those that can't.
    pub fn change(&mut self, addresses: &[String], access: AccessControl) -> Result<(), Error> {
        let meanings: Vec<_> = addresses.iter().map(|name| (name, meaning(name))).collect();
        let is_meant = |open: &Open| {
            meanings.iter().any(|(name, endpoints)| match endpoints {
                Ok(endpoints) => endpoints.contains(&open.endpoint),
                Err(_) => **name == open.name,
            })
        };
        // A new socket may need the address of one that goes: that one is closed first.
        self.open.retain(is_meant);
        self.send(access.clone());
        let mut result = Ok(());
        for (name, endpoints) in meanings {
            let added = endpoints.and_then(|endpoints| self.add(name, endpoints));
            result = result.and(added);
        }
        self.send(access);
        result
    }

    /// Whether nothing is listened on.
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|open| open.listener.local_addr().ok()).collect()
    }

    fn reconfigure(&self, access: AccessControl) -> Reconfigure {
        Reconfigure { listeners: self.open.iter().map(|open| Arc::clone(&open.listener)).collect(), access }
    }

    /// Sends the accept loop a change, and waits until it is in force.
    fn send(&self, access: AccessControl) {
        let Some((waker, next)) = &self.reconfigures else { return };
        let lock = || next.lock().unwrap_or_else(PoisonError::into_inner);
        *lock() = Some(self.reconfigure(access));
        let mut is_sent = (&*waker).write(&[0]).is_ok();
        // What comes back may be the late answer to an earlier change.
        while is_sent && lock().is_some() {
            is_sent = matches!((&*waker).read(&mut [0]), Ok(1));
        }
    }

    fn add(&mut self, name: &str, endpoints: Vec<Endpoint>) -> Result<(), Error> {
        let mut absent = None;
        let mut found = false;
        for endpoint in endpoints {
            if self.open.iter().any(|open| open.endpoint == endpoint) {
                found = true;
                continue;
            }
            match open(endpoint).and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
                Ok(listener) => {
                    found = true;
                    self.open.push(Open { name: name.to_owned(), endpoint, listener: Arc::new(listener) });
                }
                // A name such as localhost can have an IPv6 address that the machine has not.
                Err(error) if is_absent(&error) => absent = Some(error),
                Err(error) => return Err(Error::io(name, &error)),
            }
        }
        match absent {
            Some(error) if !found => Err(Error::io(name, &error)),
            _ => Ok(()),
        }
    }
}

/// Listens on every address that `address` means: one, all that a name has, or all of an interface.
/// `:9234` is all addresses of the machine, IPv4 and IPv6, in one socket where the kernel has IPv6.
pub fn bind(address: &str) -> Result<Vec<TcpListener>, Error> {
    let listeners = Listeners::open(&[address.to_owned()])?;
    Ok(listeners.open.into_iter().filter_map(|open| Arc::into_inner(open.listener)).collect())
}

/// Whether what listens on `address` already is a gateway-exporter.
pub fn is_ours(address: &str) -> bool {
    meaning(address).is_ok_and(|endpoints| endpoints.iter().any(|endpoint| answers(endpoint.address).unwrap_or(false)))
}

fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_TIME)?;
    stream.set_read_timeout(Some(PROBE_TIME))?;
    stream.write_all(b"GET /-/healthy HTTP/1.0\r\n\r\n")?;
    let mut head = [0; 256];
    let read = stream.read(&mut head)?;
    let ours = b"\r\nServer: gateway-exporter\r\n";
    Ok(head.get(..read).unwrap_or_default().windows(ours.len()).any(|bytes| bytes == ours))
}

/// Whether `address` is written as one that can be listened on; the error says what is wrong with it.
pub fn check(address: &str) -> Result<(), String> {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => match host.strip_prefix('[') {
            Some(inner) if inner.ends_with(']') => Ok(()),
            None if !host.contains(':') => Ok(()),
            _ => Err(format!("{address:?}: an IPv6 address stands in brackets, as in [::1]:9234")),
        },
        Some((_, port)) => Err(format!("{address:?}: {port:?} is not a port")),
        None => Err(format!("{address:?} is neither :PORT, nor host:port, nor interface:port")),
    }
}

fn meaning(address: &str) -> Result<Vec<Endpoint>, Error> {
    let wrong = |error: io::Error| Error::io(address, &error);
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong(io::Error::other("not a port")))?;
        return Ok(vec![Endpoint { address: (Ipv6Addr::UNSPECIFIED, port).into(), takes_both: true }]);
    }
    // An address needs no question to the kernel.
    if let Ok(address) = address.parse() {
        return Ok(vec![Endpoint { address, takes_both: false }]);
    }
    let interface = address.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    if let Some((name, port)) = interface
        && let Some(found) = addresses_of(name)
    {
        if found.is_empty() {
            return Err(wrong(io::Error::other("the interface has no address")));
        }
        let endpoint = |mut address: SocketAddr| {
            address.set_port(port);
            Endpoint { address, takes_both: false }
        };
        return Ok(found.into_iter().map(endpoint).collect());
    }
    let found = address.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => wrong(error),
        _ => wrong(io::Error::other("neither an interface of this machine nor a host of that name")),
    })?;
    Ok(found.map(|address| Endpoint { address, takes_both: false }).collect())
}

/// The addresses of an interface by name; absent where there is no such interface.
fn addresses_of(name: &str) -> Option<Vec<SocketAddr>> {
    let mut entries = ifaddrs::getifaddrs().ok()?.filter(|entry| entry.interface_name == name).peekable();
    entries.peek()?;
    let found = entries.filter_map(|entry| {
        let address = entry.address?;
        let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
    });
    Some(found.collect())
}

fn open(endpoint: Endpoint) -> io::Result<TcpListener> {
    match listen(endpoint.address, endpoint.takes_both) {
        Err(error) if endpoint.takes_both && is_absent(&error) => {
            listen((Ipv4Addr::UNSPECIFIED, endpoint.address.port()).into(), false)
        }
        result => result,
    }
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

    #[test]
    fn an_interface_is_all_its_addresses() {
        let listeners = bind("lo:0").unwrap();
        assert!(!listeners.is_empty());
        assert!(listeners.iter().all(|one| one.local_addr().unwrap().ip().is_loopback()), "{listeners:?}");
        let error = bind("no-such-interface.invalid:0").unwrap_err().to_string();
        let expected = "no-such-interface.invalid:0: neither an interface of this machine nor a host of that name";
        assert_eq!(error, expected);
    }

    #[test]
    fn an_address_is_checked_as_it_is_written() {
        for good in [":9234", "localhost:1", "br-lan:80", "[::1]:9234", "192.0.2.1:0"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("br-lan", "\"br-lan\" is neither :PORT, nor host:port, nor interface:port"),
            (":http", "\":http\": \"http\" is not a port"),
            ("::1:9234", "\"::1:9234\": an IPv6 address stands in brackets, as in [::1]:9234"),
            ("[::1:9234", "\"[::1:9234\": an IPv6 address stands in brackets, as in [::1]:9234"),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()));
        }
    }
}
