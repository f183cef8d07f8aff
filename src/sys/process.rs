//! Processes: their names, and the sockets they hold.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::deadline::Deadline;
use crate::error::Error;

use super::file;

/// The most of a command line that is read for its first word.
const COMMAND_LINE_LIMIT: usize = 4096;

/// How many descriptors are read between two checks of the deadline.
const STEP: usize = 256;

/// A process that existed when `/proc` was listed; it may have ended since.
#[derive(Clone, Debug)]
pub struct Process {
    folder: PathBuf,
}

/// The processes under `proc`, which is `/proc`.
pub fn list(proc: &Path) -> Result<impl Iterator<Item = Process>, Error> {
    let entries = fs::read_dir(proc).map_err(|error| Error::io(&proc.display().to_string(), &error))?;
    Ok(entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let is_pid = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        is_pid.then(|| Process { folder: entry.path() })
    }))
}

/// Whether the processes of others are left out of `proc` (its mount option `hidepid`).
pub fn are_hidden(proc: &Path) -> bool {
    proc.join("self").exists() && !proc.join("1").exists()
}

impl Process {
    /// The names of the process: the kernel's name, cut to 15 bytes, and the last part of the path that it was started
    /// with, if there is one.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut comm = file::head(&self.folder.join("comm"), COMMAND_LINE_LIMIT)?;
        comm.pop_if(|last| *last == b'\n');
        let mut names = vec![String::from_utf8_lossy(&comm).into_owned()];
        if let Ok(line) = file::head(&self.folder.join("cmdline"), COMMAND_LINE_LIMIT) {
            let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
            let last_part = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            if !last_part.is_empty() && last_part != comm {
                names.push(String::from_utf8_lossy(last_part).into_owned());
            }
        }
        Ok(names)
    }

    /// Whether it is in this process's network namespace and not, for example, in a container's; true if that is
    /// unknown.
    pub fn shares_network(&self) -> bool {
        let own = fs::read_link("/proc/self/ns/net").ok();
        fs::read_link(self.folder.join("ns/net")).map_or(true, |theirs| Some(theirs) == own)
    }

    /// Calls `each` with the inode of every socket that the process holds; one that it holds
    /// twice comes twice. Denied if one of its descriptors is.
    pub fn socket_inodes(&self, deadline: Deadline, mut each: impl FnMut(u64)) -> Result<(), Error> {
        let folder = self.folder.join("fd");
        let subject = folder.display().to_string();
        let mut denied = None;
        for (number, entry) in fs::read_dir(&folder).map_err(|error| Error::io(&subject, &error))?.flatten().enumerate()
        {
            if number.is_multiple_of(STEP) {
                deadline.left(&subject)?;
            }
            match fs::read_link(entry.path()) {
                Ok(target) => socket_of(target.as_os_str().as_encoded_bytes()).into_iter().for_each(&mut each),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
                // It was closed meanwhile.
                Err(_) => {}
            }
        }
        denied.map_or(Ok(()), |error| Err(Error::io(&subject, &error)))
    }
}

/// The inode in `socket:[inode]`.
fn socket_of(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    #[test]
    fn links_to_sockets_hold_an_inode() {
        assert_eq!(socket_of(b"socket:[4294967296]"), Some(4_294_967_296));
        for target in ["socket:[]", "socket:[x]", "socket:[1", "pipe:[1]", "/tmp/socket:[1]", "anon_inode:[eventfd]"] {
            assert_eq!(socket_of(target.as_bytes()), None, "{target}");
        }
    }

    #[test]
    fn this_process_is_found_with_its_names_and_sockets() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).expect("the link of a descriptor");
        let inode = socket_of(link.as_os_str().as_encoded_bytes()).expect("a socket");
        let own = PathBuf::from("/proc").join(std::process::id().to_string());
        let process = list(Path::new("/proc")).unwrap().find(|process| process.folder == own).expect("this process");
        let exe = std::env::current_exe().expect("this program");
        let exe = exe.file_name().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(process.names().unwrap(), [&exe[..exe.len().min(15)], exe]);
        let mut inodes = Vec::new();
        process.socket_inodes(Deadline::within(Duration::from_secs(5)), |inode| inodes.push(inode)).unwrap();
        assert!(inodes.contains(&inode), "{inode} in {inodes:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let process = Process { folder: "/proc/no-such-process".into() };
        assert!(matches!(process.names(), Err(error) if matches!(error.kind, ErrorKind::NotFound)));
        let sockets = process.socket_inodes(Deadline::within(Duration::from_secs(5)), |_| {});
        assert!(matches!(sockets, Err(error) if matches!(error.kind, ErrorKind::NotFound)));
    }
}
