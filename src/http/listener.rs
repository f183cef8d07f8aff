//! The listening sockets: opens, replaces and closes them. An address is written `:port` for all addresses of the machine,
//! `host:port`, `[address]:port` or `interface:port`; [`PASSED`] stands for sockets that systemd has opened.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::ifaddrs;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};

use super::server::{Reconfigure, Reconfigures};
use super::{AccessControl, FreeMemory, Handler, Limits};
use crate::error::Error;
use crate::lock::lock;
use crate::sys::libc;

/// As many as net.core.somaxconn allows, usually 4096: nix rejects any larger number than the C library's SOMAXCONN, which is
/// 128 with musl. If the backlog overflows, peers try again after a second.
const BACKLOG: Backlog = Backlog::MAXALLOWABLE;
/// The send buffer of a connection, in bytes; by default the kernel would keep megabytes for a peer that does not read.
const SEND_BUFFER: usize = int(128 * 1024);
/// The receive buffer, in bytes: enough for the head of a request; bodies are discarded.
const RECEIVE_BUFFER: usize = int(16 * 1024);

/// The name of the listening sockets that systemd passes to this process, in the place of addresses.
pub const PASSED: &str = "--web.systemd-socket";

/// How long to wait until the accept loop has applied a change.
const RECONFIGURE_TIME: Duration = Duration::from_secs(5);

/// nix passes a usize to the kernel, which reads an int: on a big-endian 64-bit machine that is the upper half.
const fn int(value: usize) -> usize {
    if cfg!(all(target_endian = "big", target_pointer_width = "64")) { value.rotate_left(32) } else { value }
}

/// One address to listen on, and whether its socket accepts both IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Endpoint {
    address: SocketAddr,
    is_dual_stack: bool,
}

/// The listening sockets, and the connection to the accept loop that uses them.
pub struct Listeners {
    open: Vec<Open>,
    reconfigures: Option<Waker>,
}

/// One listening socket, and the address as the configuration writes it.
struct Open {
    name: String,
    endpoint: Endpoint,
    listener: Arc<TcpListener>,
}

/// The socket that wakes the accept loop, and the change that it has to apply.
type Waker = (UnixStream, Arc<Mutex<Option<Reconfigure>>>);

impl Listeners {
    /// Listens on all these addresses; one that occurs twice is opened once. `:9234` means all addresses of the machine, in
    /// one socket for IPv4 and IPv6 if the kernel has IPv6.
    pub fn open(addresses: &[String]) -> Result<Self, Error> {
        let mut listeners = Self { open: Vec::new(), reconfigures: None };
        for name in addresses {
            match name.as_str() {
                PASSED => listeners.take_passed()?,
                _ => listeners.add(name, resolve(name)?)?,
            }
        }
        Ok(listeners)
    }

    /// Takes over the sockets that the service manager has passed, which it does by two variables of the environment
    /// (sd_listen_fds(3)).
    fn take_passed(&mut self) -> Result<(), Error> {
        let wrong = |what: String| Error::io(PASSED, &io::Error::other(what));
        let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        let is_ours = number("LISTEN_PID") == Some(std::process::id());
        let count = number("LISTEN_FDS").filter(|_| is_ours).unwrap_or_default();
        if count == 0 {
            return Err(wrong("systemd has passed no socket".into()));
        }
        for _ in 0..count {
            let passed = libc::next_passed_listener().ok().map(TcpListener::from);
            let with_address = passed.and_then(|listener| Some((listener.local_addr().ok()?, listener)));
            let Some((address, listener)) = with_address else {
                return Err(wrong("systemd has passed something that is no listening TCP socket".into()));
            };
            listener
                .set_nonblocking(true)
                .and_then(|()| set_options(&listener))
                .map_err(|error| Error::io(PASSED, &error))?;
            let endpoint = Endpoint { address, is_dual_stack: false };
            self.open.push(Open { name: PASSED.into(), endpoint, listener: Arc::new(listener) });
        }
        Ok(())
    }

    /// Serves on a new thread, as long as the process lives. Returns the function that cancels slow replies to free memory.
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
        let free_memory = super::start(self.reconfigure(access), reconfigures, limits, handler)?;
        self.reconfigures = Some((wake, next));
        Ok(free_memory)
    }

    /// Changes the addresses and the access control. Access control changes even if an address fails. Sockets whose address
    /// stays are not closed, nor are those of a name that can't be resolved now. If an address can't be opened, the others
    /// are opened nevertheless, and the error names the first one that failed.
    pub fn change(&mut self, addresses: &[String], access: AccessControl) -> Result<(), Error> {
        // Those that were passed stay.
        let addresses = addresses.iter().filter(|name| *name != PASSED);
        let resolved: Vec<_> = addresses.map(|name| (name, resolve(name))).collect();
        let is_wanted = |open: &Open| {
            let is_named = resolved.iter().any(|(name, endpoints)| match endpoints {
                Ok(endpoints) => endpoints.contains(&open.endpoint),
                Err(_) => **name == open.name,
            });
            is_named || open.name == PASSED
        };
        // Close first: a new socket may need the address of a closed one.
        self.open.retain(is_wanted);
        self.send(access.clone());
        let mut result = Ok(());
        for (name, endpoints) in resolved {
            let added = endpoints.and_then(|endpoints| self.add(name, endpoints));
            result = result.and(added);
        }
        self.send(access);
        result
    }

    /// Whether there is no listening socket.
    pub fn is_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// The addresses of the listening sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.iter().filter_map(|open| open.listener.local_addr().ok()).collect()
    }

    fn reconfigure(&self, access: AccessControl) -> Reconfigure {
        Reconfigure { listeners: self.open.iter().map(|open| Arc::clone(&open.listener)).collect(), access }
    }

    /// Sends a change to the accept loop, and waits until it is applied.
    fn send(&self, access: AccessControl) {
        let Some((waker, next)) = &self.reconfigures else { return };
        *lock(next) = Some(self.reconfigure(access));
        let mut is_sent = (&*waker).write(&[0]).is_ok();
        // The byte may be the late confirmation of an earlier change.
        while is_sent && lock(next).is_some() {
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
                // A name such as localhost can have an IPv6 address on a machine without IPv6.
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

/// Where to connect to for a listen address; where every address is listened on, IPv6 may be off.
pub(super) fn addresses_to_ask(address: &str) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for Endpoint { address, is_dual_stack } in resolve(address).unwrap_or_default() {
        all.push(address);
        all.extend(is_dual_stack.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()))));
    }
    all
}

/// Checks the syntax of a listen address; the error says what is wrong with it.
pub fn check(address: &str) -> Result<(), String> {
    match address.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => match host.strip_prefix('[') {
            Some(inner) if inner.ends_with(']') => Ok(()),
            None if !host.contains(':') => Ok(()),
            _ => Err(format!("{address:?}: an IPv6 address needs brackets, as in [::1]:9234")),
        },
        Some((_, port)) => Err(format!("{address:?}: {port:?} is not a port")),
        None => Err(format!("{address:?} is neither :PORT, nor host:port, nor interface:port")),
    }
}

fn resolve(address: &str) -> Result<Vec<Endpoint>, Error> {
    let wrong = |error: io::Error| Error::io(address, &error);
    if let Some(port) = address.strip_prefix(':') {
        let port = port.parse().map_err(|_| wrong(io::Error::other("not a port")))?;
        return Ok(vec![Endpoint { address: (Ipv6Addr::UNSPECIFIED, port).into(), is_dual_stack: true }]);
    }
    // A numeric address needs no look-up.
    if let Ok(address) = address.parse() {
        return Ok(vec![Endpoint { address, is_dual_stack: false }]);
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
            Endpoint { address, is_dual_stack: false }
        };
        return Ok(found.into_iter().map(endpoint).collect());
    }
    let found = address.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => wrong(error),
        _ => wrong(io::Error::other("neither an interface of this machine nor a known host name")),
    })?;
    Ok(found.map(|address| Endpoint { address, is_dual_stack: false }).collect())
}

/// The addresses of an interface; absent if there is no such interface.
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
    match listen(endpoint.address, endpoint.is_dual_stack) {
        Err(error) if endpoint.is_dual_stack && is_absent(&error) => {
            listen((Ipv4Addr::UNSPECIFIED, endpoint.address.port()).into(), false)
        }
        result => result,
    }
}

/// How many file descriptors the waiting connections may take: computing replies needs some, too.
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
    set_options(&socket)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Sets what connections inherit.
fn set_options(socket: &impl AsFd) -> io::Result<()> {
    socket::setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    socket::setsockopt(socket, sockopt::SndBuf, &SEND_BUFFER)?;
    socket::setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAFNOSUPPORT};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str) -> Result<Vec<Arc<TcpListener>>, Error> {
        let listeners = Listeners::open(&[address.to_owned()])?;
        Ok(listeners.open.into_iter().map(|open| open.listener).collect())
    }
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

    #[test]
    fn an_interface_is_all_its_addresses() {
        let listeners = bind("lo:0").unwrap();
        assert!(!listeners.is_empty());
        assert!(listeners.iter().all(|one| one.local_addr().unwrap().ip().is_loopback()), "{listeners:?}");
        let error = bind("no-such-interface.invalid:0").unwrap_err().to_string();
        let expected = "no-such-interface.invalid:0: neither an interface of this machine nor a known host name";
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
            ("::1:9234", "\"::1:9234\": an IPv6 address needs brackets, as in [::1]:9234"),
            ("[::1:9234", "\"[::1:9234\": an IPv6 address needs brackets, as in [::1]:9234"),
        ] {
            assert_eq!(check(bad), Err(why.to_owned()));
        }
    }
}
