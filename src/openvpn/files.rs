//! Which files are read: those that are named, those that match a pattern, and what rotation left of either.
//!
//! An exactly named file is a server's, there or not. A pattern's matches are servers unless they are copies of another
//! file ([`copies`]) or no status files at all; the latter are only told by their first line, and only until they were
//! read once: a status file that is damaged later is no reason to stop watching its server. Two paths to one file are
//! one server.
//!
//! Two files of one server are one server: where the original is missing, empty or no longer written, and a copy that
//! OpenVPN may have kept open is, the copy is read in its place and under its name.

use std::path::{Path, PathBuf};

use super::copies::{CopyOf, copy_of};
use super::staleness::FIRST_LIMIT;
use super::status::{self, Document};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::sys::file::{self, Stamp};

/// How much of a pattern's match is read to tell whether it is a status file, in bytes.
const HEAD: usize = 4096;

/// A server's status file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPath {
    /// The file as it is named or matched; the server's state is kept under this path.
    pub original: PathBuf,
    /// The file to read: the original, or the copy that OpenVPN writes to.
    pub current: PathBuf,
    /// Whether the original was moved away and OpenVPN writes to it under its new name.
    pub is_moved: bool,
}

impl StatusPath {
    /// A file that is read under its own name.
    pub fn exactly(path: PathBuf) -> Self {
        Self { current: path.clone(), original: path, is_moved: false }
    }

    /// The original, without a copy that is read in its place.
    #[must_use]
    pub fn unmoved(self) -> Self {
        Self { current: self.original.clone(), is_moved: false, ..self }
    }
}

/// The status files of a path or pattern.
///
/// `limit` gives the age in seconds from which a file is stale, absent for one that was never read; `stale_after` is
/// that age as configured.
pub fn find(
    status: &Path,
    stale_after: Option<i64>,
    limit: impl Fn(&Path) -> Option<i64>,
    deadline: Deadline,
) -> Result<Vec<StatusPath>, Error> {
    let found = |original: PathBuf| {
        let known = limit(&original);
        let most = stale_after.or(known).unwrap_or(FIRST_LIMIT);
        let current = current(&original, most, known.is_some());
        // A copy that is older than an emptied original was made before OpenVPN wrote to that again.
        let modified = |path| file::stamp(path).map(|stamp| stamp.modified());
        let is_moved = current != original && modified(&current) > modified(&original);
        StatusPath { original, current, is_moved }
    };
    if !is_pattern(status) {
        return Ok(vec![found(status.to_owned())]);
    }
    let mut originals: Vec<PathBuf> = file::glob(status, deadline)?.into_iter().map(original).collect();
    originals.sort_unstable();
    originals.dedup();
    let is_server =
        |path: &StatusPath| path.current.exists() && (limit(&path.original).is_some() || is_status(&path.current));
    Ok(originals.into_iter().map(found).filter(is_server).collect())
}

/// Whether a path is a pattern, whose files are searched at every scrape.
pub fn is_pattern(status: &Path) -> bool {
    file::is_pattern(&status.to_string_lossy())
}

/// The file that a path is a copy of; itself where it is none.
fn original(path: PathBuf) -> PathBuf {
    match copy_at(&path) {
        Some(copy) => path.with_file_name(copy.original),
        None => path,
    }
}

fn copy_at(path: &Path) -> Option<CopyOf> {
    copy_of(path.file_name()?.to_str()?, |name| file::is_file(&path.with_file_name(name)))
}

/// The file that a server writes to now: its original, unless only a copy was written to within `limit` seconds.
///
/// If the original is gone, it is the last copy of a server that `was_read` before, so that the end of the server is
/// noticed.
fn current(original: &Path, limit: i64, was_read: bool) -> PathBuf {
    let most = u64::try_from(limit).unwrap_or_default();
    let is_fresh = |stamp: &Stamp| !stamp.is_empty() && stamp.age().is_none_or(|age| age.as_secs() <= most);
    let known = file::stamp(original);
    if known.as_ref().is_some_and(is_fresh) {
        return original.to_owned();
    }
    let is_wanted = |stamp: &Stamp| is_fresh(stamp) || (was_read && known.is_none());
    let newest = copies(original).filter(|(stamp, path)| is_wanted(stamp) && is_status(path));
    newest.max_by_key(|(stamp, _)| stamp.modified()).map_or_else(|| original.to_owned(), |(_, path)| path)
}

/// The copies beside a file that OpenVPN may be writing to.
fn copies(original: &Path) -> impl Iterator<Item = (Stamp, PathBuf)> {
    let folder = original.parent().unwrap_or(original).to_owned();
    let name = original.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let names = if name.is_empty() { Vec::new() } else { file::names(&folder) };
    names.into_iter().filter_map(move |other| {
        let path = folder.join(&other);
        let is_its = |copy: CopyOf| copy.original == name && copy.may_be_written;
        if !other.contains(name.split('.').next()?) || !copy_at(&path).is_some_and(is_its) {
            return None;
        }
        Some((file::stamp(&path)?, path))
    })
}

/// Whether a file begins as a status file does, or is empty, as OpenVPN makes it; also where it may not be read.
fn is_status(path: &Path) -> bool {
    match file::head(path, HEAD) {
        Ok(head) => head.is_empty() || !matches!(status::parse(&head), Document::Unknown),
        Err(error) if matches!(error.kind, ErrorKind::Denied) => true,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    const STATUS: &str = "TITLE,OpenVPN 2.6.14 x\nEND\n";

    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(60))
    }

    /// What is found of files that were never read.
    fn all(status: &Path) -> Vec<StatusPath> {
        find(status, None, |_| None, soon()).expect("in time")
    }

    /// A folder of files, each with its text and its age in seconds.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str, u64)]) -> Self {
            let folder = std::env::temp_dir().join(format!("gwx-files-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).expect("a scratch folder");
            for (name, text, age) in files {
                fs::write(folder.join(name), text).expect("a scratch file");
                let file = File::options().write(true).open(folder.join(name)).expect("the file");
                file.set_modified(SystemTime::now() - Duration::from_secs(*age)).expect("its mtime");
            }
            Self(folder)
        }

        /// Names of originals and of the files to read.
        fn find(&self, status: &str, known: &[&str]) -> Vec<(String, String)> {
            let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
            let limit = |path: &Path| known.contains(&name(path).as_str()).then_some(180);
            let found = find(&self.0.join(status), None, limit, soon()).expect("in time");
            found.iter().map(|path| (name(&path.original), name(&path.current))).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(original, current)| ((*original).to_owned(), (*current).to_owned())).collect()
    }

    #[test]
    fn copies_are_nobodys_status() {
        let folder = Folder::new(
            "copies",
            &[
                ("a-status.log", STATUS, 5),
                ("a-status.log.1", STATUS, 90_000),
                ("a-status.log.2.gz", "\x1f\u{8b}", 90_000),
                ("a-status.log~", STATUS, 1),
                ("a-status.log.bak", STATUS, 1),
                ("a-status.log-20261127", STATUS, 90_000),
                ("b-status.log.1", STATUS, 90_000),
                ("status.sh", "#!/bin/sh\n", 5),
                ("status.new", "", 5),
            ],
        );
        fs::create_dir(folder.0.join("status.d")).expect("a folder");
        std::os::unix::fs::symlink("nowhere", folder.0.join("status.gone")).expect("a link");
        assert_eq!(
            folder.find("*status*", &[]),
            pairs(&[("a-status.log", "a-status.log"), ("status.new", "status.new")])
        );
        assert_eq!(
            folder.find("*status.[sn]*", &["status.sh"]),
            pairs(&[("status.new", "status.new"), ("status.sh", "status.sh")]),
            "what was one once stays watched"
        );
        for name in ["a-status.log.1", "a-status.log.2.gz", "b-status.log", "status.sh"] {
            assert_eq!(folder.find(name, &[]), pairs(&[(name, name)]), "named exactly");
        }
    }

    #[test]
    fn the_file_that_is_written_to_counts() {
        for (name, files, known, expected) in [
            ("renamed", &[("s.log.1", STATUS, 5u64)][..], false, Some("s.log.1")),
            ("twice", &[("s.log.1", STATUS, 90_000), ("s.log.2", STATUS, 5)], false, Some("s.log.2")),
            ("dated", &[("s.log-20261127", STATUS, 5)], false, Some("s.log-20261127")),
            ("new", &[("s.log", "", 60), ("s.log.1", STATUS, 5)], false, Some("s.log.1")),
            ("truncated", &[("s.log", "", 5), ("s.log.1", STATUS, 10)], false, Some("s.log.1")),
            ("back", &[("s.log", STATUS, 20), ("s.log.1", STATUS, 10)], false, Some("s.log")),
            ("old", &[("s.log", STATUS, 9000), ("s.log.1", STATUS, 10)], false, Some("s.log.1")),
            ("both", &[("s.log", STATUS, 9000), ("s.log.1", STATUS, 10_000)], false, Some("s.log")),
            ("dead", &[("s.log.1", STATUS, 9000)], false, None),
            ("ended", &[("s.log.1", STATUS, 9000), ("s.log.2", STATUS, 90_000)], true, Some("s.log.1")),
            ("before", &[("s.log", "", 60), ("old-s.log", STATUS, 5)], false, Some("old-s.log")),
            ("packed", &[("s.log.1.gz", "\x1f", 5)], false, None),
            ("notes", &[("s.log.old", "no status\n", 5)], false, None),
        ] {
            let folder = Folder::new(name, files);
            let known = if known { &["s.log"][..] } else { &[] };
            let expected: Vec<_> =
                expected.map(|current| ("s.log".to_owned(), current.to_owned())).into_iter().collect();
            assert_eq!(folder.find("s.log*", known), expected, "{name}");
            let exact = expected.first().map_or("s.log", |(_, current)| current.as_str());
            assert_eq!(folder.find("s.log", known), pairs(&[("s.log", exact)]), "{name}");
        }
    }

    #[test]
    fn a_copy_that_is_newer_than_its_original_was_moved() {
        for (name, files, is_moved) in [
            ("moved", &[("s.log", "", 60), ("s.log.1", STATUS, 5)][..], true),
            ("copied", &[("s.log", "", 5), ("s.log.1", STATUS, 10)], false),
            ("plain", &[("s.log", STATUS, 5)], false),
        ] {
            let folder = Folder::new(&format!("is-{name}"), files);
            let found = all(&folder.0.join("s.log"));
            assert_eq!(found.iter().map(|path| path.is_moved).collect::<Vec<_>>(), [is_moved], "{name}");
        }
    }

    #[test]
    fn a_plain_path_is_a_target_also_where_nothing_stands() {
        let path = PathBuf::from("/no/such/status");
        let expected = StatusPath { original: path.clone(), current: path.clone(), is_moved: false };
        assert_eq!(all(&path), [expected]);
        assert!(all(Path::new("/no/such/*.status")).is_empty());
    }
}
