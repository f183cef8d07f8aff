//! Questions to the kernel over netlink(7), answered a datagram at a time.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};

use super::erased::ErasedBuffer;
use super::socket::time_value;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

/// The size of the largest datagram that the kernel sends, in bytes.
const DATAGRAM: usize = 32 * 1024;

/// Which part of the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// sock_diag(7): sockets.
    SockDiag,
    /// rtnetlink(7): interfaces.
    Route,
    /// Generic netlink: the protocols of modules.
    Generic,
}

/// Sends a request, and calls `each` with each datagram of the answer until it returns false, which means that it has seen
/// the end; `TooLong` after `limit` bytes. `subject` is the subject of errors. The buffer is overwritten afterwards, since it
/// may contain keys.
pub fn ask(
    protocol: Protocol,
    subject: &str,
    request: &[u8],
    limit: usize,
    deadline: Deadline,
    each: &mut dyn FnMut(&[u8]) -> Result<bool, Error>,
) -> Result<(), Error> {
    let failed = |errno: Errno| Error::io(subject, &io::Error::from(errno));
    let socket = open(protocol).map_err(failed)?;
    send(socket.as_raw_fd(), request, MsgFlags::empty()).map_err(failed)?;
    let (mut buffer, mut total) = (ErasedBuffer::new(DATAGRAM), 0usize);
    loop {
        let left = deadline.left(subject)?;
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &time_value(left)).map_err(failed)?;
        // With this flag the length is that of the whole datagram, also where the buffer is shorter.
        let length = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC) {
            Err(Errno::EINTR) => continue,
            result => result.map_err(failed)?,
        };
        total = total.saturating_add(length);
        let datagram = buffer.get(..length).filter(|_| total <= limit);
        let Some(datagram) = datagram else { return Err(Error::new(subject, ErrorKind::TooLong { limit })) };
        if length == 0 {
            return Err(Error::io(subject, &io::ErrorKind::UnexpectedEof.into()));
        }
        if !each(datagram)? {
            return Ok(());
        }
    }
}

fn open(protocol: Protocol) -> nix::Result<OwnedFd> {
    let protocol = match protocol {
        Protocol::SockDiag => SockProtocol::NetlinkSockDiag,
        Protocol::Route => SockProtocol::NetlinkRoute,
        Protocol::Generic => SockProtocol::NetlinkGeneric,
    };
    socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_question_of_no_kind_is_answered_by_an_error_or_not_at_all() {
        let deadline = Deadline::within(Duration::from_millis(100));
        let mut datagrams = 0;
        // A header that says 16 bytes and a kind that sock_diag does not have.
        let request = [&16u32.to_ne_bytes()[..], &999u16.to_ne_bytes(), &1u16.to_ne_bytes(), &[0; 8]].concat();
        let result = ask(Protocol::SockDiag, "sock_diag", &request, 1 << 20, deadline, &mut |_| {
            datagrams += 1;
            Ok(false)
        });
        // Where the kernel has no sock_diag there is nobody to ask.
        assert!(datagrams == 1 && result.is_ok() || datagrams == 0 && result.is_err(), "{datagrams} {result:?}");
    }
}
