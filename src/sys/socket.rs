//! Stream sockets that keep a deadline: `unix:///path`, a bare path, or `tcp://host:port`.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, connect, setsockopt, shutdown, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::blocking;
use super::erased::ErasedBuffer;
use super::file;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

/// The most addresses of one host name that are kept.
const ADDRESS_LIMIT: usize = 64;

/// Where a stream socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A path in the file system.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Address {
    /// The folder of a socket in the file system, through which one that is made anew is seen.
    pub fn folder(&self) -> Option<PathBuf> {
        match self {
            Self::Unix(path) => file::folder(path),
            Self::Tcp(_) => None,
        }
    }

    /// Reads `unix:///path`, `/path` or `tcp://host:port`; anything else is not an address.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(host) = text.strip_prefix("tcp://") {
            let (name, port) = host.rsplit_once(':')?;
            return (!name.is_empty() && port.parse::<u16>().is_ok()).then(|| Self::Tcp(host.into()));
        }
        let path = text.strip_prefix("unix://").unwrap_or(text);
        (path.len() > 1 && !path.contains("://")).then(|| Self::Unix(path.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(out),
            Self::Tcp(host) => write!(out, "tcp://{host}"),
        }
    }
}

/// A connected socket; reads and writes fail with `TimedOut` when the deadline is over.
pub struct Channel {
    /// The socket as a file: only then a buffer need not be zeroed before it is read into.
    reader: BufReader<File>,
    /// How many of the buffered bytes were taken.
    taken: usize,
    /// What was taken last, if it came by several reads.
    joined: Vec<u8>,
    deadline: Deadline,
    subject: String,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

/// Closes a channel that another thread reads.
pub struct Closer(File);

/// The time-out that a socket has for reads, or for writes; absent where none was set.
#[derive(Clone, Copy, Debug, Default)]
struct Timeout(Option<Duration>);

/// How many bytes are read ahead, so that many small segments cost one system call.
const AHEAD: usize = 64 * 1024;

/// How much later than at the deadline a read or write may end: setting the time-out anew before each was a quarter of a
/// scrape's system calls.
const LATENESS: Duration = Duration::from_millis(50);

/// Connects within the deadline.
pub fn open(address: &Address, deadline: Deadline) -> Result<Channel, Error> {
    open_as(address.to_string(), address, deadline)
}

/// The same with another name for what is talked to in errors.
pub fn open_as(subject: String, address: &Address, deadline: Deadline) -> Result<Channel, Error> {
    let (read_timeout, mut write_timeout) = <(Timeout, Timeout)>::default();
    let stream = match address {
        Address::Unix(path) => {
            let left = deadline.left(&subject)?;
            write_timeout.must_set(left);
            open_unix(path, left)
        }
        Address::Tcp(host) => open_tcp(host, deadline, &subject)?.map(OwnedFd::from),
    };
    let stream = File::from(stream.map_err(|error| Error::io(&subject, &error))?);
    let reader = BufReader::with_capacity(AHEAD, stream);
    Ok(Channel { reader, taken: 0, joined: Vec::new(), deadline, subject, read_timeout, write_timeout })
}

/// The addresses of a host name, v4-mapped ones as IPv4. Blocks for as long as the system's
/// resolver does, which no deadline can cut short.
pub fn resolve(host: &str) -> Result<Vec<IpAddr>, Error> {
    let found = (host, 0).to_socket_addrs().map_err(|error| Error::io(host, &error))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).take(ADDRESS_LIMIT).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(Error::new(host, ErrorKind::NotFound)) } else { Ok(addresses) }
}

/// A connect to a full backlog waits for the send time-out, which std can't set beforehand.
fn open_unix(path: &PathBuf, left: Duration) -> io::Result<OwnedFd> {
    let socket: OwnedFd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket.as_fd(), sockopt::SendTimeout, &time_value(left))?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Tries the addresses of a host, one after the other, in the time that all of them have together.
fn open_tcp(host: &str, deadline: Deadline, subject: &str) -> Result<io::Result<TcpStream>, Error> {
    let mut last = Err(io::ErrorKind::NotFound.into());
    for address in addresses(host, deadline, subject)? {
        last = TcpStream::connect_timeout(&address, deadline.left(subject)?);
        if let Ok(stream) = &last {
            return Ok(stream.set_nodelay(true).and(last));
        }
    }
    Ok(last)
}

/// The addresses of `host:port`.
fn addresses(host: &str, deadline: Deadline, subject: &str) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let (host, name) = (host.to_owned(), subject.to_owned());
    blocking::resolve(subject, deadline, move || {
        let found = host.to_socket_addrs().map_err(|error| Error::io(&name, &error))?;
        Ok(found.take(ADDRESS_LIMIT).collect())
    })
}

pub(super) fn time_value(time: Duration) -> TimeVal {
    // A minute is more than any deadline and fits also where a time has 32 bits; zero would mean for ever.
    const LONGEST: i64 = 60_000_000;
    TimeVal::microseconds(i64::try_from(time.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST))
}

impl Timeout {
    /// Whether it must be set before a call that may take as long as `left`; then it is taken to be set.
    fn must_set(&mut self, left: Duration) -> bool {
        let is_right = |set: Duration| left <= set && set <= left.saturating_add(LATENESS);
        let must_set = !self.0.is_some_and(is_right);
        if must_set {
            self.0 = Some(left);
        }
        must_set
    }
}

impl Closer {
    /// Closes the channel; its reader gets the end of the stream.
    pub fn close(&self) {
        // It may be closed already.
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

impl Channel {
    /// The next `count` bytes, as a part of the buffer where one read brought them all: a list of SAs has
    /// megabytes, of which only what several reads brought is copied again.
    pub fn take(&mut self, count: usize) -> Result<&[u8], Error> {
        if self.unread().is_empty() && count > 0 {
            self.fill()?;
        }
        if self.unread().len() < count {
            return self.join(count);
        }
        let start = self.taken;
        self.taken = start.saturating_add(count);
        Ok(self.reader.buffer().get(start..self.taken).unwrap_or_default())
    }

    /// What comes next, as many bytes as are there and at least one.
    pub fn receive(&mut self) -> Result<&[u8], Error> {
        if self.unread().is_empty() {
            self.fill()?;
        }
        self.take(self.unread().len())
    }

    /// The next `count` bytes from several reads.
    fn join(&mut self, count: usize) -> Result<&[u8], Error> {
        self.joined.clear();
        while self.joined.len() < count {
            if self.unread().is_empty() {
                self.fill()?;
            }
            let unread = self.reader.buffer().get(self.taken..).unwrap_or_default();
            let piece = unread.get(..count.saturating_sub(self.joined.len())).unwrap_or(unread);
            self.joined.extend_from_slice(piece);
            self.taken = self.taken.saturating_add(piece.len());
        }
        Ok(&self.joined)
    }

    fn unread(&self) -> &[u8] {
        self.reader.buffer().get(self.taken..).unwrap_or_default()
    }

    /// Reads what one call gives, at least one byte, in place of what was taken.
    fn fill(&mut self) -> Result<(), Error> {
        self.reader.consume(std::mem::take(&mut self.taken));
        self.read_some(|reader| reader.fill_buf().map(<[u8]>::len)).map(drop)
    }

    /// Reads what one call gives, at least one byte.
    fn read_some(&mut self, mut read: impl FnMut(&mut BufReader<File>) -> io::Result<usize>) -> Result<usize, Error> {
        loop {
            let left = self.deadline.left(&self.subject)?;
            let set = || setsockopt(self.reader.get_ref(), sockopt::ReceiveTimeout, &time_value(left));
            let set = if self.read_timeout.must_set(left) { set().map_err(io::Error::from) } else { Ok(()) };
            let error = match set.and_then(|()| read(&mut self.reader)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            return Err(Error::io(&self.subject, &error));
        }
    }

    /// For a channel from which nothing was taken: calls `each` with blocks of whole lines until it returns false, which
    /// means that it has seen the end; `TooLong` after `limit` bytes. The buffer is overwritten afterwards, since it may
    /// contain keys.
    pub fn read_lines(
        &mut self,
        limit: usize,
        each: &mut dyn FnMut(&[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let (mut buffer, mut filled, mut total) = (ErasedBuffer::new(AHEAD), 0usize, 0usize);
        loop {
            let room = buffer.get_mut(filled..).unwrap_or_default();
            let limit = if room.is_empty() { AHEAD } else { limit };
            if room.is_empty() || total > limit {
                return Err(Error::new(&*self.subject, ErrorKind::TooLong { limit }));
            }
            let count = self.read_some(|reader| reader.get_mut().read(room))?;
            (filled, total) = (filled.saturating_add(count), total.saturating_add(count));
            let bytes = buffer.get(..filled).unwrap_or_default();
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end.saturating_add(1));
            if whole > 0 && !each(bytes.get(..whole).unwrap_or_default())? {
                return Ok(());
            }
            buffer.copy_within(whole..filled, 0);
            filled = filled.saturating_sub(whole);
        }
    }

    /// Waits until there is something to take, or `deadline` has passed; whether there is.
    ///
    /// A receive timeout would come an eighth too late: the kernel rounds long ones up.
    pub fn wait(&self, deadline: Deadline) -> Result<bool, Error> {
        while self.unread().is_empty() {
            let Ok(left) = deadline.left(&self.subject) else { return Ok(false) };
            let fd = self.reader.get_ref().as_fd();
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], left) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(Error::io(&self.subject, &error.into())),
            }
        }
        Ok(true)
    }

    /// Another deadline for what comes.
    pub fn extend(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// Another end of this channel, to close it from elsewhere.
    pub fn closer(&self) -> io::Result<Closer> {
        self.reader.get_ref().try_clone().map(Closer)
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let left = self.deadline.left(&self.subject)?;
        let socket = self.reader.get_mut();
        let set = if self.write_timeout.must_set(left) {
            setsockopt(socket, sockopt::SendTimeout, &time_value(left)).map_err(io::Error::from)
        } else {
            Ok(())
        };
        set.and_then(|()| socket.write_all(bytes)).map_err(|error| Error::io(&self.subject, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn addresses_are_paths_or_tcp() {
        let unix = Some(Address::Unix("/run/charon.vici".into()));
        assert_eq!(Address::parse("unix:///run/charon.vici"), unix);
        assert_eq!(Address::parse("/run/charon.vici"), unix);
        assert_eq!(Address::parse("tcp://[::1]:4502"), Some(Address::Tcp("[::1]:4502".into())));
        for text in ["", "/", "tcp://", "tcp://host", "tcp://:1", "tcp://host:65536", "http://host:80"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_connected_to_at_an_address_that_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let open = |host: &str| {
            let address = Address::Tcp(format!("{host}:{port}"));
            open(&address, Deadline::within(Duration::from_secs(5))).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(open("localhost"), Ok(()), "also where its first address is IPv6");
        let error = open("no-such-host.invalid").unwrap_err();
        assert!(error.starts_with(&format!("tcp://no-such-host.invalid:{port}: ")), "{error}");
    }

    #[test]
    fn a_host_name_has_addresses_or_is_an_error() {
        assert_eq!(resolve("::ffff:192.0.2.1"), Ok(vec![IpAddr::from([192, 0, 2, 1])]));
        assert!(resolve("localhost").is_ok_and(|found| found.iter().all(IpAddr::is_loopback)));
        let error = resolve("no such host").unwrap_err().to_string();
        assert!(error.starts_with("no such host: "), "{error}");
    }

    #[test]
    fn a_timeout_is_set_where_it_would_be_too_short_or_end_too_late() {
        let (mut timeout, milliseconds) = (Timeout::default(), Duration::from_millis);
        for (left, must_set) in
            [(500, true), (500, false), (480, false), (450, false), (449, true), (399, false), (398, true), (399, true)]
        {
            assert_eq!(timeout.must_set(milliseconds(left)), must_set, "{left}");
        }
    }

    #[test]
    fn what_comes_in_pieces_is_whole() {
        let (here, mut there) = std::os::unix::net::UnixStream::pair().expect("sockets");
        let reader = BufReader::with_capacity(8, File::from(OwnedFd::from(here)));
        let (read_timeout, write_timeout) = Default::default();
        let deadline = Deadline::within(Duration::from_secs(60));
        let subject = "pair".to_owned();
        let mut channel =
            Channel { reader, taken: 0, joined: Vec::new(), deadline, subject, read_timeout, write_timeout };
        there.write_all(b"abcdefghijklmnopqrstuvwxyz").expect("room");
        for (count, expected) in
            [(3, &b"abc"[..]), (0, b""), (5, b"defgh"), (2, b"ij"), (9, b"klmnopqrs"), (7, b"tuvwxyz")]
        {
            assert_eq!(channel.take(count), Ok(expected));
        }
        drop(there);
        assert!(channel.take(0).is_ok() && channel.take(1).is_err());
    }

    #[test]
    fn a_silent_or_deaf_listener_costs_the_deadline_and_no_more() {
        let path = std::env::temp_dir().join(format!("gwx-socket-{}", std::process::id()));
        let _listener = UnixListener::bind(&path).expect("a socket");
        let deadline = Deadline::within(Duration::from_millis(200));
        let mut kept = Vec::new();
        // Nobody accepts: the first ones connect and then read nothing, later ones may not even connect.
        let error = loop {
            match open(&Address::Unix(path.clone()), deadline) {
                Ok(mut channel) if kept.is_empty() => {
                    let error = channel.take(1).unwrap_err();
                    kept.push(channel);
                    break error;
                }
                Ok(channel) => kept.push(channel),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::new(path.display().to_string(), ErrorKind::TimedOut));
        std::fs::remove_file(&path).expect("the socket goes");
    }
}
