//! What the machine says around a target that can't be read: who we are, what keeps us out, whether its daemon runs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use super::{file, process};
use crate::error::{Error, ErrorKind};
use crate::text::Text;

/// What shows that a source's daemon is on the machine.
#[derive(Clone, Copy, Debug)]
pub struct Traces {
    /// What its process may be called.
    pub processes: &'static [&'static str],
    /// Where its socket may be.
    pub socket_paths: &'static [&'static str],
}

impl Traces {
    /// No daemon is searched for.
    pub const NONE: Self = Self { processes: &[], socket_paths: &[] };
}

/// The most processes that are read.
const MOST_PROCESSES: usize = 65_536;

/// The most of `/etc/passwd` and `/etc/group` that is read.
const LIMIT: usize = 256 * 1024;

/// What was found on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// This process's user.
    pub user: String,
    /// This process's group.
    pub group: String,
    /// Why access was denied, if it was and the permissions show it.
    pub access_problem: Option<AccessProblem>,
    /// Whether the source's daemon runs, as far as we can see processes.
    pub is_running: bool,
    /// Where else its socket is, if not where it was looked for.
    pub elsewhere: Option<String>,
    /// Where commands are looked for: `PATH`.
    pub path: String,
}

/// The first part of a path to which access is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessProblem {
    /// The folder, or the file itself.
    pub path: String,
    /// Its owner.
    pub owner: String,
    /// The group that it belongs to.
    pub group: String,
    /// The permission bits.
    pub mode: u32,
    /// What we need there, as one octal digit: 1 to pass through a folder, 4 to read, 6 to talk.
    pub needed: u32,
}

impl Environment {
    /// Looks around after `target` of a source that leaves `traces` could not be read.
    pub fn inspect(traces: Traces, target: &str, error: &Error) -> Self {
        let is_denied = error.kind == ErrorKind::Denied;
        Self {
            access_problem: is_denied.then(|| access_problem(Path::new(target))).flatten(),
            is_running: !traces.processes.is_empty() && runs(traces.processes),
            elsewhere: elsewhere(traces.socket_paths, target),
            path: std::env::var("PATH").unwrap_or_default(),
            ..Self::current()
        }
    }

    /// Who we are, and nothing more.
    pub fn current() -> Self {
        let user = named("/etc/passwd", geteuid().as_raw());
        Self { user, group: named("/etc/group", getegid().as_raw()), ..Self::default() }
    }
}

/// Whether a process of one of these names can be seen in our network.
fn runs(names: &[&str]) -> bool {
    let is_one = |found: Vec<String>| found.iter().any(|name| names.contains(&name.as_str()));
    process::list(Path::new("/proc")).is_ok_and(|all| {
        let mut all = all.take(MOST_PROCESSES);
        all.any(|process| process.names().is_ok_and(is_one) && process.shares_network())
    })
}

fn elsewhere(paths: &[&str], target: &str) -> Option<String> {
    paths.iter().find(|path| **path != target && file::is_socket(Path::new(path))).map(|path| (*path).to_owned())
}

/// The first folder on the way that can't be searched, or the file itself where it can't be opened.
fn access_problem(path: &Path) -> Option<AccessProblem> {
    let closed = path.ancestors().skip(1).filter(|folder| access(*folder, AccessFlags::X_OK).is_err()).last();
    let (blocked, needed) = match closed {
        Some(folder) => (folder, 1),
        None if file::is_socket(path) => (path, 6),
        None => (path, 4),
    };
    let meta = fs::metadata(blocked).ok()?;
    Some(AccessProblem {
        path: blocked.display().to_string(),
        owner: named("/etc/passwd", meta.uid()),
        group: named("/etc/group", meta.gid()),
        mode: meta.mode() & 0o777,
        needed,
    })
}

/// The name of a user or group; its number where it has none.
fn named(list: &str, number: u32) -> String {
    name(list, number).unwrap_or_else(|| number.to_string())
}

/// The name of a user, if it is listed.
///
/// getpwuid(3) would ask name services, too: 7 KB in the static MIPS binary.
pub(super) fn user_name(number: u32) -> Option<String> {
    name("/etc/passwd", number)
}

/// The name of a user or group, by a file with lines of `name:password:number:…`.
fn name(list: &str, number: u32) -> Option<String> {
    let bytes = file::head(Path::new(list), LIMIT).unwrap_or_default();
    Text::new(&bytes).lines().find_map(|line| {
        let mut fields = line.fields(b':');
        let name = fields.next()?;
        (fields.nth(1)?.number()? == u64::from(number)).then(|| name.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_where_they_are_listed() {
        let list = std::env::temp_dir().join(format!("gwx-names-{}", std::process::id()));
        fs::write(&list, "root:x:0:\nbroken\n:x:7:\nvpn:x:115:ann\n").expect("a list");
        let name = |number| named(list.to_str().expect("UTF-8"), number);
        assert_eq!((name(0), name(115), name(7), name(8)), ("root".into(), "vpn".into(), String::new(), "8".into()));
        fs::remove_file(&list).expect("the list goes");
        assert_eq!(named("/no/such/list", 7), "7");
    }

    #[test]
    fn a_process_is_seen_by_its_name() {
        assert!(!runs(&["no-such-process"]));
        let own = process::list(Path::new("/proc/")).expect("processes").count();
        assert!(own > 0);
    }
}
