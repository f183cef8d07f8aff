//! The calls of the C library that have no safe wrapper among the dependencies, and descriptors that are known by their number;
//! the only `unsafe` code.
#![expect(
    unsafe_code,
    reason = "localtime_r, mallopt, sigaction, waitpid and passed descriptors are wrapped here, and nowhere else"
)]

use std::io::{self, Write as _};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{self, Pid};

/// The local calendar's fields of a moment given in seconds since 1970; absent where the C library can't say.
pub(super) fn localtime(seconds: i64) -> Option<libc::tm> {
    #[allow(deprecated, clippy::useless_conversion, reason = "musl's time_t is 32 bits wide on some targets")]
    let moment: libc::time_t = seconds.try_into().ok()?;
    let mut calendar = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and localtime_r keeps neither. It fills
    // `calendar` unless it returns null.
    unsafe {
        if libc::localtime_r(&raw const moment, calendar.as_mut_ptr()).is_null() {
            return None;
        }
        Some(calendar.assume_init())
    }
}

/// The number of the first descriptor that a service manager passes (sd_listen_fds(3)), and of the next one to take over.
static NEXT_PASSED: AtomicI32 = AtomicI32::new(3);

/// Takes over the next descriptor that a service manager has passed to this process; programs that this process starts don't
/// get it. The error is its number, if it is not open or no listening socket.
pub fn next_passed_listener() -> Result<OwnedFd, RawFd> {
    let number = NEXT_PASSED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: it takes two numbers and a flag. Where the descriptor is not open it fails and changes nothing.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(number);
    }
    // SAFETY: it is open, as was just seen, and the borrow ends in this line.
    if getsockopt(&unsafe { BorrowedFd::borrow_raw(number) }, sockopt::AcceptConn) != Ok(true) {
        return Err(number);
    }
    // SAFETY: a listening socket that nothing here has opened was passed by the service manager, and each number is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has memory that was freed given back to the system; to be called before any thread is started.
///
/// glibc keeps a heap for each of many threads, and in each as much as twice the largest buffer
/// that it ever held: hundreds of megabytes after some large answers. musl does neither.
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (what, value) in [(libc::M_ARENA_MAX, 2), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)] {
        // SAFETY: it takes two numbers, and there is no other thread yet. Where it fails all stays as it was.
        unsafe { libc::mallopt(what, value) };
    }
}

/// A buffer of this size is mapped on its own, and unmapped when it is freed.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 128 * 1024;

/// How a child of this process ended; absent while it runs. The system says it once. (nix has no words for a child that a
/// real-time signal ended.)
pub(super) fn try_wait(child: Pid) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call, which keeps none.
    match unsafe { libc::waitpid(child.as_raw(), &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(ExitStatus::from_raw(status))),
    }
}

/// From here on a fault that would end the process without a word is said on the standard error.
pub fn report_faults() {
    let flags = SaFlags::SA_RESETHAND | SaFlags::SA_SIGINFO;
    let action = SigAction::new(SigHandler::SigAction(report_fault), flags, SigSet::empty());
    for (signal, _) in FAULTS {
        // SAFETY: the handler calls poll, write and raise, which may be called wherever a signal finds a thread, and takes
        // no lock. What stood there before was the default. Where it fails all stays as it was.
        let _ = unsafe { sigaction(*signal, &action) };
    }
}

/// Says which fault it is and at which address. What is the default again then ends the process, with the status and the
/// core of that signal.
extern "C" fn report_fault(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    for (fault, words) in FAULTS.iter().filter(|(fault, _)| *fault as libc::c_int == signal) {
        // There is nobody else to tell, and one that takes nothing is not waited for.
        if super::stderr::is_ready() {
            // SAFETY: the kernel hands a valid pointer to a handler with SA_SIGINFO. The number is an address where a fault
            // was and not another process that sent the signal, which si_code tells.
            let address = unsafe { info.as_ref().filter(|info| info.si_code > 0).map(|info| info.si_addr()) };
            let mut line = [0; 128];
            let length = describe(words, address.map(|address| address as usize), &mut line);
            let _ = unistd::write(io::stderr(), line.get(..length).unwrap_or_default());
        }
        let _ = raise(*fault);
    }
}

/// Writes what is said of a fault, as far as there is space, without memory of the heap; returns the length.
fn describe(words: &str, address: Option<usize>, line: &mut [u8]) -> usize {
    const DIGITS: usize = "0x".len() + usize::BITS as usize / 4;
    let mut rest = &mut *line;
    let _ = rest.write_all(words.as_bytes());
    if let Some(address) = address {
        let _ = write!(rest, " at {address:#0DIGITS$x}");
    }
    let _ = rest.write_all(b"; please report it\n");
    let left = rest.len();
    line.len().saturating_sub(left)
}

macro_rules! faults {
    ($($signal:ident)*) => {
        &[$((
            Signal::$signal,
            concat!("gateway-exporter: ended by a fault in the program (", stringify!($signal), ")"),
        )),*]
    };
}

/// The signals of a fault, and what is said of each.
///
/// std has words for a stack that overflows, the panic hook has them for a panic, which then aborts.
#[cfg(not(panic = "immediate-abort"))]
const FAULTS: &[(Signal, &str)] = faults!(SIGTRAP SIGILL SIGFPE);

/// Where a panic is nothing but a trap (contrib/cross.sh says why), std has no words for the others either. A stack that
/// overflows has no room for ours.
#[cfg(panic = "immediate-abort")]
const FAULTS: &[(Signal, &str)] = faults!(SIGTRAP SIGILL SIGFPE SIGBUS SIGSEGV SIGABRT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_described_as_far_as_there_is_space() {
        let described = |words: &str, address| {
            let mut line = [0; 64];
            let length = describe(words, address, &mut line);
            String::from_utf8(line[..length].to_vec()).unwrap()
        };
        let zeros = "0".repeat(size_of::<usize>() * 2 - 6);
        assert_eq!(described("odd", Some(0x40_12ab)), format!("odd at 0x{zeros}4012ab; please report it\n"));
        assert_eq!(described("odd", None), "odd; please report it\n");
        assert_eq!(described(&"x".repeat(70), Some(1)), "x".repeat(64));
    }
}
