//! Configuration files and secrets: opened once and without waiting; owner and mode are checked on the open file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Uid, geteuid};

use super::environment;
use super::file::regular;
use crate::error::{Error, ErrorKind};

/// The longest such file, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;

/// The bits of a mode that let others than the owner write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The result of looking for a file that the operator did not name.
#[derive(Debug, PartialEq, Eq)]
pub enum Search {
    /// There is none.
    Absent,
    /// It is not read; the words say why, and what to do.
    Refused(String),
    /// Its content.
    Found(Vec<u8>),
}

/// Reads a file that the operator named, whoever owns it; logs a warning if others can write it.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let subject = path.display().to_string();
    let here = nix::fcntl::AT_FDCWD;
    let file = openat(here, path, flags(), Mode::empty()).map_err(|error| Error::io(&subject, &error.into()))?;
    let (file, meta) = regular(file.into(), &subject)?;
    if meta.mode() & WRITABLE_BY_OTHERS != 0 {
        log::warn!("{subject}: can be written by others; chmod go-w {subject}");
    }
    whole(&file, &subject)
}

/// Looks for a file in the current folder, where another user may have put one: it is read only if it and its folder
/// belong to root or to this user, and nobody else can write either.
pub fn search(path: &Path) -> Result<Search, Error> {
    folder(nix::fcntl::AT_FDCWD, Path::new(".")).map_or(Ok(Search::Absent), |here| search_in(here, path))
}

fn search_in(mut folder: OwnedFd, path: &Path) -> Result<Search, Error> {
    let subject = path.display().to_string();
    let judge = |folder: &OwnedFd| distrust(&fstat(folder)).map(|why| format!("lies in a folder that {why}"));
    let mut distrusted = judge(&folder);
    let mut parts = path.components().peekable();
    while let Some(Component::Normal(part)) = parts.next() {
        let Ok(found) = fstatat(&folder, part, AtFlags::AT_SYMLINK_NOFOLLOW) else { return Ok(Search::Absent) };
        let is_link = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK;
        if parts.peek().is_none() {
            let why = distrusted.or(is_link.then(|| "is a symbolic link".to_owned()));
            return match why {
                Some(why) => Ok(refused(&subject, &why)),
                None => found_in(&folder, Path::new(part), &subject),
            };
        }
        if is_link {
            return Ok(refused(&subject, "lies behind a symbolic link"));
        }
        match self::folder(&folder, Path::new(part)) {
            Ok(inner) => folder = inner,
            Err(_) => return Ok(Search::Absent),
        }
        distrusted = distrusted.or_else(|| judge(&folder));
    }
    Ok(Search::Absent)
}

/// The file in a folder that nobody else can write; its owner and mode are checked once it is open.
fn found_in(folder: &OwnedFd, name: &Path, subject: &str) -> Result<Search, Error> {
    let flags = flags() | OFlag::O_NOFOLLOW;
    let file = openat(folder, name, flags, Mode::empty()).map_err(|error| Error::io(subject, &error.into()))?;
    if let Some(why) = distrust(&fstat(&file)) {
        return Ok(refused(subject, &why));
    }
    let (file, _) = regular(file.into(), subject)?;
    Ok(Search::Found(whole(&file, subject)?))
}

fn refused(subject: &str, why: &str) -> Search {
    Search::Refused(format!("{subject} {why}: not read; --config.file={subject} if you mean it"))
}

/// Why another user may have made it, or may change it.
fn distrust(found: &nix::Result<FileStat>) -> Option<String> {
    let Ok(found) = found else { return Some("can't be looked at".into()) };
    let owner = Uid::from_raw(found.st_uid);
    if !owner.is_root() && owner != geteuid() {
        let name = environment::user_name(found.st_uid).unwrap_or_else(|| format!("user {owner}"));
        return Some(format!("belongs to {name}"));
    }
    (found.st_mode & WRITABLE_BY_OTHERS != 0).then(|| "can be written by others".into())
}

fn folder(at: impl std::os::fd::AsFd, path: &Path) -> nix::Result<OwnedFd> {
    openat(at, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
}

/// A FIFO or device is opened without waiting.
fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn whole(file: &File, subject: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let most = (LONGEST as u64).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error: io::Error| Error::io(subject, &error))?;
    if bytes.len() > LONGEST {
        return Err(Error::new(subject, ErrorKind::TooLong { limit: LONGEST }));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::PathBuf;

    use super::*;

    /// A folder of this test's own.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gwx-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("config")).unwrap();
            for folder in [&path, &path.join("config")] {
                fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            }
            Self(path)
        }

        fn write(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, "a: b\n").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }

        /// What a search in this folder says.
        fn search(&self, path: &str) -> Result<Search, Error> {
            let at = folder(nix::fcntl::AT_FDCWD, &self.0).unwrap();
            search_in(at, Path::new(path))
        }

        fn why(&self, path: &str) -> String {
            match self.search(path) {
                Ok(Search::Refused(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MEANT: &str = "not read; --config.file=exporter.yaml if you mean it";

    #[test]
    fn what_only_this_user_and_root_can_write_is_read() {
        let folder = Folder::new("own");
        assert_eq!(folder.search("exporter.yaml"), Ok(Search::Absent));
        assert_eq!(folder.search("no/such.yaml"), Ok(Search::Absent));
        for mode in [0o644, 0o600, 0o755] {
            folder.write("exporter.yaml", mode);
            assert_eq!(folder.search("exporter.yaml"), Ok(Search::Found(b"a: b\n".into())), "{mode:o}");
        }
        folder.write("config/config.yml", 0o644);
        assert_eq!(folder.search("config/config.yml"), Ok(Search::Found(b"a: b\n".into())));
    }

    #[test]
    fn what_others_can_write_is_named_and_not_read() {
        let folder = Folder::new("open");
        for mode in [0o664, 0o646, 0o666] {
            folder.write("exporter.yaml", mode);
            assert_eq!(
                folder.why("exporter.yaml"),
                format!("exporter.yaml can be written by others: {MEANT}"),
                "{mode:o}"
            );
        }
        folder.write("exporter.yaml", 0o644);
        folder.write("config/config.yml", 0o644);
        let meant = "not read; --config.file=config/config.yml if you mean it";
        for mode in [0o775, 0o777, 0o1777, 0o757] {
            fs::set_permissions(folder.0.join("config"), Permissions::from_mode(mode)).unwrap();
            let why = format!("config/config.yml lies in a folder that can be written by others: {meant}");
            assert_eq!(folder.why("config/config.yml"), why, "{mode:o}");
        }
        fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
        let why = format!("exporter.yaml lies in a folder that can be written by others: {MEANT}");
        assert_eq!(folder.why("exporter.yaml"), why);
        fs::set_permissions(folder.0.join("config"), Permissions::from_mode(0o755)).unwrap();
        let why = format!("config/config.yml lies in a folder that can be written by others: {meant}");
        assert_eq!(folder.why("config/config.yml"), why, "the folder above");
        assert_eq!(folder.search("absent.yaml"), Ok(Search::Absent), "nothing is there: nothing to say");
    }

    #[test]
    fn what_leads_elsewhere_is_named_and_not_read() {
        let folder = Folder::new("links");
        let there = folder.write("there.yaml", 0o644);
        symlink(&there, folder.0.join("exporter.yaml")).unwrap();
        assert_eq!(folder.why("exporter.yaml"), format!("exporter.yaml is a symbolic link: {MEANT}"));
        symlink("config", folder.0.join("other")).unwrap();
        folder.write("config/config.yml", 0o644);
        let meant = "not read; --config.file=other/config.yml if you mean it";
        assert_eq!(folder.why("other/config.yml"), format!("other/config.yml lies behind a symbolic link: {meant}"));
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = Folder::new("odd");
        let fifo = folder.0.join("exporter.yaml");
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let error = folder.search("exporter.yaml").expect_err("a FIFO");
        assert_eq!(error.to_string(), "exporter.yaml: not a regular file");
        for path in [fifo.as_path(), folder.0.as_path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = read(path).expect_err("no file");
            assert_eq!(error.to_string(), format!("{}: not a regular file", path.display()));
        }
        assert!(matches!(read(&folder.0.join("absent")), Err(error) if matches!(error.kind, ErrorKind::NotFound)));
    }

    #[test]
    fn four_mebibytes_are_read_and_not_a_byte_more() {
        let folder = Folder::new("long");
        let path = folder.write("exporter.yaml", 0o644);
        fs::write(&path, vec![b'#'; 4 * 1024 * 1024]).unwrap();
        assert_eq!(read(&path).map(|bytes| bytes.len()), Ok(4 * 1024 * 1024));
        fs::write(&path, vec![b'#'; 4 * 1024 * 1024 + 1]).unwrap();
        let subject = path.display().to_string();
        assert_eq!(read(&path), Err(Error::new(subject, ErrorKind::TooLong { limit: LONGEST })));
        assert!(
            matches!(folder.search("exporter.yaml"), Err(error) if matches!(error.kind, ErrorKind::TooLong { .. }))
        );
    }

    #[test]
    fn a_file_that_was_named_is_read_whoever_owns_it() {
        let folder = Folder::new("named");
        let path = folder.write("exporter.yaml", 0o666);
        assert_eq!(read(&path), Ok(b"a: b\n".into()));
        if !geteuid().is_root() {
            return;
        }
        chown(&path, Some(65534), None).unwrap();
        assert_eq!(read(&path), Ok(b"a: b\n".into()));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(folder.why("exporter.yaml"), format!("exporter.yaml belongs to nobody: {MEANT}"));
        chown(&path, Some(4_000_000_000), None).unwrap();
        assert_eq!(folder.why("exporter.yaml"), format!("exporter.yaml belongs to user 4000000000: {MEANT}"));
        chown(&path, Some(0), None).unwrap();
        chown(&folder.0, Some(65534), None).unwrap();
        let why = format!("exporter.yaml lies in a folder that belongs to nobody: {MEANT}");
        assert_eq!(folder.why("exporter.yaml"), why);
    }
}
