//! Which process holds a socket: the links in `/proc/<pid>/fd` say `socket:[inode]`.
//!
//! Reading every descriptor of every process is expensive, so the names of a process are read first, and its
//! descriptors only if a rule names it. A socket that several processes hold counts for each name that one of them has.

use std::path::Path;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::sys::process;

use super::matcher::PendingOwners;

/// What is read to find owners, as a target's name.
pub fn target(proc: &Path) -> String {
    proc.join("*/fd").display().to_string()
}

/// Resolves the pending owners by reading the processes under `proc`. If a process that a rule may name could not be
/// read while sockets of the rule are still pending, the rule is marked as unknown, and the error says why.
pub fn resolve(proc: &Path, deadline: Deadline, mut pending_owners: PendingOwners<'_, '_>) -> Result<(), Error> {
    let subject = target(proc);
    let mut unknown_rules = Vec::new();
    let walked = walk(proc, deadline, &mut pending_owners, &mut unknown_rules);
    if walked.is_err() || process::are_hidden(proc) {
        unknown_rules = pending_owners.pending_rules().collect();
    }
    let matters = unknown_rules.into_iter().filter(|rule| pending_owners.mark_unknown(*rule)).count() > 0;
    match walked {
        Err(error) if matches!(error.kind, ErrorKind::TimedOut) => Err(Error::new(subject, ErrorKind::TimedOut)),
        Ok(()) if matters => Err(Error::new(subject, ErrorKind::Denied)),
        Ok(()) if pending_owners.overflowed() => {
            Err(Error::new(subject, ErrorKind::Io { why: "too many sockets to look for".into() }))
        }
        walked => walked,
    }
}

fn walk(
    proc: &Path,
    deadline: Deadline,
    pending_owners: &mut PendingOwners<'_, '_>,
    unknown_rules: &mut Vec<usize>,
) -> Result<(), Error> {
    for process in process::list(proc)? {
        if pending_owners.are_resolved() {
            break;
        }
        deadline.left("")?;
        let names = match process.names() {
            Ok(names) => names,
            Err(error) => {
                // After any other error the process is gone, and its sockets with it.
                if matches!(error.kind, ErrorKind::Denied) {
                    add_unknown(pending_owners.pending_rules(), unknown_rules);
                }
                continue;
            }
        };
        let rules = pending_owners.rules_of_process(&names);
        if rules.is_empty() {
            continue;
        }
        match process.socket_inodes(deadline, |inode| pending_owners.resolve(inode, &rules)) {
            Err(error) if matches!(error.kind, ErrorKind::Denied) => add_unknown(rules, unknown_rules),
            Err(error) if matches!(error.kind, ErrorKind::TimedOut) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Adds rules to `unknown_rules`, each once.
fn add_unknown(rules: impl IntoIterator<Item = usize>, unknown_rules: &mut Vec<usize>) {
    for rule in rules {
        if !unknown_rules.contains(&rule) {
            unknown_rules.push(rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::ByteOrder;
    use crate::sockets::matcher::{Matcher, RuleCount};
    use crate::sockets::procnet::Lines;
    use crate::sockets::rule::{Names, Rule, Spec};
    use crate::sockets::tables::Table;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::Duration;

    /// A folder that looks like `/proc`, gone when dropped.
    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("gwx-owner-{name}-{}", std::process::id()));
            fs::create_dir_all(folder.join("sys")).expect("a scratch folder");
            Self(folder)
        }

        fn process(&self, pid: u32, comm: &str, command_line: &str, links: &[&str]) -> PathBuf {
            let folder = self.0.join(pid.to_string());
            fs::create_dir_all(folder.join("fd")).expect("a folder");
            fs::write(folder.join("comm"), format!("{comm}\n")).expect("a file");
            fs::write(folder.join("cmdline"), command_line).expect("a file");
            for (number, link) in links.iter().enumerate() {
                symlink(link, folder.join("fd").join(number.to_string())).expect("a link");
            }
            folder
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn rules(patterns: &[&str]) -> Vec<Rule> {
        let spec =
            |pattern: &&str| Spec { name: Some("r".into()), process: Some((*pattern).into()), ..Spec::default() };
        patterns.iter().map(|pattern| Rule::new(&spec(pattern)).expect("a rule")).collect()
    }

    /// What a rule says: up, count.
    type Said = (Option<bool>, Option<usize>);

    /// Three sockets with the inodes 101, 102 and 103, and what rules say of who holds them.
    fn found(proc: &Path, patterns: &[&str], time: Duration) -> (Result<(), Error>, Vec<Said>) {
        let (rules, names) = (rules(patterns), Names::new());
        let mut matcher = Matcher::new(&rules, &names);
        for inode in 101..=103 {
            let line = format!("0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1\n");
            matcher.count(Table::Tcp, line.as_bytes(), ByteOrder::Little, &mut Lines::default());
        }
        let result = resolve(proc, Deadline::within(time), matcher.pending_owners().expect("pending_owners"));
        (result, matcher.counts().map(|count: &RuleCount<'_>| (count.up(), count.count())).collect())
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn sockets_are_found_by_the_name_of_their_process() {
        let proc = Proc::new("names");
        proc.process(1, "systemd", "/sbin/init\0splash\0", &["/dev/null", "socket:[101]"]);
        proc.process(20, "a-very-long-com", "/opt/x/a-very-long-command\0-v\0", &["socket:[101]", "socket:[101]"]);
        proc.process(30, "nginx", "nginx: master process /usr/sbin/nginx\0", &["socket:[102]", "pipe:[103]"]);
        proc.process(31, "nginx", "nginx: worker process\0", &["socket:[102]"]);
        proc.process(40, "bad\u{fffd}", "", &["socket:[103]"]);
        let patterns = ["a-very-long-command", "a-very-long-com", "init", "nginx", "nginx|init", ".*", "ngin"];
        let (result, counts) = found(&proc.0, &patterns, SOON);
        assert_eq!(result, Ok(()));
        let (yes, no) = (|count| (Some(true), Some(count)), (Some(false), Some(0)));
        assert_eq!(counts, [yes(1), yes(1), yes(1), yes(1), yes(2), yes(3), no]);
    }

    #[test]
    fn a_process_that_may_not_be_looked_at_makes_only_its_rules_unknown() {
        let proc = Proc::new("denied");
        proc.process(30, "nginx", "nginx\0", &["socket:[101]"]);
        proc.process(31, "sshd", "sshd\0", &["socket:[102]"]);
        let shut = proc.process(32, "nginx", "nginx\0", &[]).join("fd");
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).expect("a closed folder");
        if fs::read_dir(&shut).is_ok() {
            // The superuser sees everything: nothing is denied to the tests either.
            let (result, counts) = found(&proc.0, &["nginx"], SOON);
            assert_eq!((result, counts), (Ok(()), vec![(Some(true), Some(1))]));
            return;
        }
        let (result, counts) = found(&proc.0, &["nginx", "sshd", "other"], SOON);
        assert_eq!(result, Err(Error::new(target(&proc.0), ErrorKind::Denied)));
        assert_eq!(counts, [(Some(true), None), (Some(true), Some(1)), (Some(false), Some(0))]);
    }

    #[test]
    fn where_others_are_hidden_nothing_is_certainly_down() {
        let proc = Proc::new("hidden");
        let own = proc.process(500, "exporter", "exporter\0", &["socket:[101]"]);
        symlink(own, proc.0.join("self")).expect("a link");
        let (result, counts) = found(&proc.0, &["exporter", "nginx"], SOON);
        assert_eq!(result, Err(Error::new(target(&proc.0), ErrorKind::Denied)));
        assert_eq!(counts, [(Some(true), None), (None, None)]);
    }

    #[test]
    fn no_time_and_no_processes_are_errors() {
        let proc = Proc::new("time");
        proc.process(30, "nginx", "nginx\0", &["socket:[101]"]);
        let (result, counts) = found(&proc.0, &["nginx"], Duration::ZERO);
        assert_eq!(result, Err(Error::new(target(&proc.0), ErrorKind::TimedOut)));
        assert_eq!(counts, [(None, None)]);
        let (result, counts) = found(&proc.0.join("no-such"), &["nginx"], SOON);
        assert!(matches!(&result, Err(error) if matches!(error.kind, ErrorKind::NotFound)), "{result:?}");
        assert_eq!(counts, [(None, None)]);
    }
}
