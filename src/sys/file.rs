//! Files and folders: capped reads that a FIFO can't hang, globs, links.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;

use super::erased::ErasedBuffer;
use crate::deadline::Deadline;
use crate::encoding::hex_array;
use crate::error::{Error, ErrorKind};

/// The most matches of a glob, and the most entries of one folder that it reads.
const GLOB_LIMIT: usize = 4096;

/// How many bytes are read between two checks of the deadline.
const STEP: usize = 1024 * 1024;

/// The room for a file that says no length, in bytes.
const PROC_ROOM: usize = 4096;

/// The longest line that [`read_lines`] hands out.
const LINE_LIMIT: usize = 64 * 1024;

/// Reads a regular file, at most `limit` bytes of it.
///
/// A folder, a FIFO or a device is refused without waiting for it.
pub fn read(path: &Path, limit: usize, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let subject = path.display().to_string();
    // A path may be on a file system that hangs: with no time left it is not touched.
    deadline.left(&subject)?;
    let (file, meta) = open_regular(path, &subject)?;
    // Files under /proc say 0; a longer file than it said is still read up to the limit.
    let expected = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    if expected > limit {
        return Err(Error::new(subject, ErrorKind::TooLong { limit }));
    }
    read_all(&file, expected, limit, deadline, &subject)
}

/// Reads a regular file of lines and hands it out in blocks of whole lines, at most `limit`
/// bytes in all; only the last line may lack its end. What was handed out before an error stands.
pub fn read_lines(path: &Path, limit: usize, deadline: Deadline, mut block: impl FnMut(&[u8])) -> Result<(), Error> {
    read_blocks(path, limit, deadline, &mut block)
}

fn read_blocks(path: &Path, limit: usize, deadline: Deadline, block: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let subject = path.display().to_string();
    deadline.left(&subject)?;
    let (file, _) = open_regular(path, &subject)?;
    let (mut buffer, mut filled, mut total) = (ErasedBuffer::new(LINE_LIMIT), 0, 0usize);
    loop {
        deadline.left(&subject)?;
        let read = read_some(&file, buffer.get_mut(filled..).unwrap_or_default(), &subject)?;
        (filled, total) = (filled.saturating_add(read), total.saturating_add(read));
        let bytes = buffer.get(..filled).unwrap_or_default();
        if read == 0 {
            block(bytes);
            return Ok(());
        }
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end.saturating_add(1));
        let limit = if whole == 0 && filled == LINE_LIMIT { LINE_LIMIT.saturating_sub(1) } else { limit };
        if total > limit {
            return Err(Error::new(subject, ErrorKind::TooLong { limit }));
        }
        block(bytes.get(..whole).unwrap_or_default());
        buffer.copy_within(whole..filled, 0);
        filled = filled.saturating_sub(whole);
    }
}

/// Reads the beginning of a file: at most `limit` bytes, fewer where it is shorter.
pub fn head(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let subject = path.display().to_string();
    let mut bytes = Vec::new();
    let (file, _) = open_regular(path, &subject)?;
    file.take(limit as u64).read_to_end(&mut bytes).map_err(|error| Error::io(&subject, &error))?;
    Ok(bytes)
}

/// Replaces a file in one step: a reader sees the old content or the new one, never a part of either.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let subject = path.display().to_string();
    // A device or a link in the same place is not ours to remove.
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(not_a_file(&subject));
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside);
    let written = written.and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        Error::io(&subject, &error)
    })
}

/// Reads a secret of 128 bits, written as 32 hex digits; where there is no such file it is made, readable for
/// this user only.
pub fn secret(path: &Path) -> Result<[u8; 16], Error> {
    let subject = path.display().to_string();
    let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match new {
        Ok(mut file) => {
            let made = random().and_then(|secret| write_secret(&mut file, &secret).map(|()| secret));
            // Half a secret must not be taken for one at the next start.
            made.map_err(|error| {
                let _ = fs::remove_file(path);
                Error::io(&subject, &error)
            })
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = head(path, 4096)?;
            if fs::metadata(path).is_ok_and(|meta| meta.mode() & 0o077 != 0) {
                log::warn!("{subject}: others can read the secret; its mode should be 0600");
            }
            hex_array(text.trim_ascii())
                .ok_or(Error::new(subject, ErrorKind::Malformed { expected: "32 hex digits", offset: 0 }))
        }
        Err(error) => Err(Error::io(&subject, &error)),
    }
}

/// Bytes that nobody can guess.
pub fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn write_secret(file: &mut File, secret: &[u8]) -> io::Result<()> {
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Opens a file without waiting for a FIFO or a device, which are refused.
fn open_regular(path: &Path, subject: &str) -> Result<(File, Metadata), Error> {
    let flags = OFlag::O_NONBLOCK.bits() | OFlag::O_NOCTTY.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    regular(file.map_err(|error| Error::io(subject, &error))?, subject)
}

/// An open file with its metadata, if it is a regular one.
pub(super) fn regular(file: File, subject: &str) -> Result<(File, Metadata), Error> {
    let meta = file.metadata().map_err(|error| Error::io(subject, &error))?;
    if meta.is_file() { Ok((file, meta)) } else { Err(not_a_file(subject)) }
}

/// Reads what one call gives; 0 at the end.
fn read_some(mut file: &File, buffer: &mut [u8], subject: &str) -> Result<usize, Error> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(|error| Error::io(subject, &error)),
        }
    }
}

fn not_a_file(subject: &str) -> Error {
    Error::new(subject, ErrorKind::Io { why: "not a regular file".into() })
}

fn read_all(file: &File, expected: usize, limit: usize, deadline: Deadline, subject: &str) -> Result<Vec<u8>, Error> {
    // Read into no room at all, a file under /proc takes a call for each 32, 64, 128 bytes and so on.
    let room = if expected == 0 { PROC_ROOM } else { expected.saturating_add(1) };
    let mut bytes = Vec::with_capacity(room);
    loop {
        deadline.left(subject)?;
        let read = file.take(STEP as u64).read_to_end(&mut bytes).map_err(|error| Error::io(subject, &error))?;
        if bytes.len() > limit {
            return Err(Error::new(subject, ErrorKind::TooLong { limit }));
        }
        if read < STEP {
            return Ok(bytes);
        }
    }
}

/// What tells one version of a file from the next; absent where there is no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// How long ago the file was written to; absent where the clock was set back since.
    pub fn age(&self) -> Option<Duration> {
        let (seconds, nanoseconds) = self.modified;
        let modified = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        SystemTime::now().duration_since(UNIX_EPOCH.checked_add(modified)?).ok()
    }

    /// When the file was written to, in seconds since 1970 and nanoseconds.
    pub fn modified(&self) -> (i64, i64) {
        self.modified
    }

    /// Whether there is nothing in the file.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The device and inode: the same for every name of one file.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

/// The stamp of a file as it is now.
pub fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
    })
}

/// Whether the path is a regular file.
pub fn is_file(path: &Path) -> bool {
    path.is_file()
}

/// Whether the path is a socket.
pub fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Whether a pattern matches any file.
pub fn is_any(pattern: &Path) -> bool {
    glob(pattern, Deadline::within(Duration::from_secs(1))).is_ok_and(|found| !found.is_empty())
}

/// The folder in which a path or the files of a pattern stand; absent where that is the root.
pub fn folder(path: &Path) -> Option<PathBuf> {
    let is_whole = |folder: &&Path| !is_pattern(&folder.to_string_lossy());
    path.ancestors().skip(1).find(is_whole).filter(|folder| folder.file_name().is_some()).map(Path::to_owned)
}

/// How many entries a folder has; absent where it can't be read.
pub fn count(folder: &Path) -> Option<u64> {
    u64::try_from(fs::read_dir(folder).ok()?.count()).ok()
}

/// The names in a folder, sorted, at most as many as a pattern may match; none where it can't be read.
pub fn names(folder: &Path) -> Vec<String> {
    list(folder).unwrap_or_default()
}

/// The names in a folder, sorted, at most as many as a pattern may match.
pub fn list(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder).map_err(|error| Error::io(&folder.display().to_string(), &error))?;
    let mut names: Vec<String> =
        entries.flatten().take(GLOB_LIMIT).filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// The first place in `PATH` where a command stands.
pub fn command(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether a path or name is a pattern of [`glob`].
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The paths that match a pattern with `*`, `?` and `[a-z]` in its parts, sorted; `TimedOut` where looking for them
/// takes longer than there is time.
///
/// A pattern without any of these is its own match where such a path exists. As in a shell,
/// a leading dot must be written out.
pub fn glob(pattern: &Path, deadline: Deadline) -> Result<Vec<PathBuf>, Error> {
    let subject = pattern.display().to_string();
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let Some(wild) = part.to_str().filter(|part| is_pattern(part)) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let mut below = Vec::new();
        for folder in &found {
            deadline.left(&subject)?;
            below.extend(matching(folder, wild));
            if below.len() >= GLOB_LIMIT {
                below.truncate(GLOB_LIMIT);
                break;
            }
        }
        found = below;
    }
    let mut there = Vec::new();
    for path in found {
        deadline.left(&subject)?;
        if path.exists() {
            there.push(path);
        }
    }
    Ok(there)
}

fn matching(folder: &Path, wild: &str) -> Vec<PathBuf> {
    let listed = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    names(listed)
        .into_iter()
        .filter(|name| !name.starts_with('.') || wild.starts_with('.'))
        .filter(|name| matches(wild.as_bytes(), name.as_bytes()))
        .map(|name| folder.join(name))
        .collect()
}

/// Whether a whole name matches a shell pattern. Takes at most pattern × name steps.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some((b'*', after)) = pattern.split_first() {
            pattern = after;
            retry = Some((after, name));
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return true;
        }
        if let Some((byte, rest)) = name.split_first()
            && let Some(after) = match_one(pattern, *byte)
        {
            (pattern, name) = (after, rest);
            continue;
        }
        // Let the last star take one byte more.
        let Some((after, [_, rest @ ..])) = retry else { return false };
        (pattern, name) = (after, rest);
        retry = Some((after, rest));
    }
}

/// What is left of the pattern after its first element matched `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', after @ ..] => Some(after),
        [b'[', set @ ..] => match_set(set, byte),
        [literal, after @ ..] if *literal == byte => Some(after),
        _ => None,
    }
}

fn match_set(set: &[u8], byte: u8) -> Option<&[u8]> {
    let (set, wanted) = match set {
        [b'!' | b'^', rest @ ..] => (rest, false),
        _ => (set, true),
    };
    // A bracket that stands first belongs to the set.
    let end = set.iter().skip(1).position(|byte| *byte == b']')?.checked_add(1)?;
    let (members, after) = (set.get(..end)?, set.get(end.checked_add(1)?..)?);
    let mut found = false;
    let mut rest = members;
    while let [first, tail @ ..] = rest {
        rest = match tail {
            [b'-', last, tail @ ..] => {
                found |= (*first..=*last).contains(&byte);
                tail
            }
            _ => {
                found |= *first == byte;
                tail
            }
        };
    }
    (found == wanted).then_some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(5))
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("?[0-9]", "x7", true),
            ("[!a-c]x", "bx", false),
            ("[]a]x", "]x", true),
            ("[a", "[a", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_glob_walks_folders() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = |pattern: &str| glob(&root.join(pattern), soon());
        assert_eq!(found("src/*/fil?.rs"), Ok(vec![root.join("src/sys/file.rs")]));
        assert_eq!(found("Cargo.toml"), Ok(vec![root.join("Cargo.toml")]));
        assert_eq!(found("no/such/*"), Ok(Vec::new()));
    }

    #[test]
    fn with_no_time_left_nothing_is_touched() {
        let over = Deadline::within(Duration::ZERO);
        let path = Path::new("/no/such/*");
        let error = Error::new("/no/such/*", ErrorKind::TimedOut);
        assert_eq!(glob(path, over), Err(error.clone()));
        assert_eq!(read(path, 10, over), Err(error.clone()));
        assert_eq!(read_lines(path, 10, over, |_| ()), Err(error));
    }

    #[test]
    fn what_is_not_a_file_is_refused_without_waiting() {
        let folder = std::env::temp_dir().join(format!("gwx-file-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a scratch folder");
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a FIFO");
        for path in [&fifo, &folder] {
            let error = read(path, 10, soon()).unwrap_err();
            assert_eq!(error.to_string(), format!("{}: not a regular file", path.display()));
        }
        fs::remove_dir_all(&folder).expect("the scratch folder goes");
    }

    #[test]
    fn lines_come_in_whole_blocks() {
        let path = std::env::temp_dir().join(format!("gwx-lines-{}", std::process::id()));
        let blocks_of = |text: &[u8], limit| {
            fs::write(&path, text).expect("a scratch file");
            let mut blocks: Vec<Vec<u8>> = Vec::new();
            let result = read_lines(&path, limit, soon(), |block| blocks.push(block.to_vec()));
            (result, blocks)
        };
        let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
        let (result, blocks) = blocks_of((text.clone() + "no end").as_bytes(), 1 << 20);
        assert_eq!(result, Ok(()));
        assert!(blocks.len() > 3 && blocks.iter().all(|block| block.len() <= LINE_LIMIT), "{}", blocks.len());
        assert_eq!(blocks.concat(), (text.clone() + "no end").as_bytes());
        let (last, whole) = blocks.split_last().unwrap();
        assert!(whole.iter().all(|block| block.ends_with(b"\n")));
        assert_eq!(last, b"no end");

        let (result, _) = blocks_of(text.as_bytes(), 100_000);
        assert_eq!(result, Err(Error::new(path.display().to_string(), ErrorKind::TooLong { limit: 100_000 })));
        let (result, blocks) = blocks_of(&[b"short\n".as_slice(), &[b'x'; LINE_LIMIT]].concat(), 1 << 20);
        assert!(matches!(&result, Err(error) if matches!(error.kind, ErrorKind::TooLong { .. })), "{result:?}");
        assert_eq!(blocks.concat(), b"short\n");
        assert_eq!(head(&path, 3), Ok(b"sho".to_vec()));
        fs::remove_file(&path).expect("the scratch file goes");
        assert!(matches!(head(&path, 3), Err(error) if matches!(error.kind, ErrorKind::NotFound)));
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert!(
            matches!(read(&path, 10, soon()), Err(error) if matches!(error.kind, ErrorKind::TooLong { limit: 10, .. }))
        );
        assert!(read(&path, 1 << 20, soon()).is_ok_and(|bytes| bytes.starts_with(b"[package]")));
        assert!(read(Path::new("/proc/self/stat"), 1 << 20, soon()).is_ok_and(|bytes| !bytes.is_empty()));
    }

    #[test]
    fn a_file_as_long_as_the_limit_is_read_and_one_byte_more_is_not() {
        let path = std::env::temp_dir().join(format!("gwx-limit-{}", std::process::id()));
        for (length, is_read) in [(100, true), (101, false)] {
            fs::write(&path, "x".repeat(length - 1) + "\n").expect("a scratch file");
            assert_eq!(read(&path, 100, soon()).is_ok(), is_read, "{length}");
            assert_eq!(read_lines(&path, 100, soon(), |_| ()).is_ok(), is_read, "{length} in lines");
        }
        fs::remove_file(&path).expect("the scratch file goes");
        // Of files below /proc the length is not known before.
        let path = Path::new("/proc/self/cmdline");
        let length = read(path, 1 << 20, soon()).expect("our own command line").len();
        assert!(read(path, length, soon()).is_ok() && read(path, length - 1, soon()).is_err());
    }

    #[test]
    fn a_secret_is_made_once_and_for_its_owner_only() {
        let path = std::env::temp_dir().join(format!("gwx-secret-{}", std::process::id()));
        let first = secret(&path).unwrap();
        assert_eq!(secret(&path), Ok(first), "stable over restarts");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::write(&path, "000102030405060708090A0b0c0d0e0f\n").unwrap();
        assert_eq!(secret(&path), Ok(std::array::from_fn(|at| at as u8)));
        for broken in ["", "00", "000102030405060708090a0b0c0d0e0", "x00102030405060708090a0b0c0d0e0f"] {
            fs::write(&path, broken).unwrap();
            let error = secret(&path).unwrap_err().to_string();
            assert!(error.contains("expected 32 hex digits"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(secret(&path.join("below")).is_err());
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
