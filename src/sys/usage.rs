//! What this process uses of the machine, from proc(5).

use std::path::Path;
use std::time::Duration;

use super::file;
use crate::text::Text;

/// A tick of the CPU times in `/proc/self/stat`, in milliseconds: 10 on every architecture that we build for.
const TICK: u64 = 10;

/// The most of a file under `/proc` that is read.
const LIMIT: usize = 64 * 1024;

/// What is used; absent where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time, user and system.
    pub cpu_time: Option<Duration>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The most file descriptors that may be open.
    pub max_fds: Option<u64>,
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// When the process started, since 1970.
    pub started: Option<Duration>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Reads what this process uses now.
pub fn read() -> Usage {
    let text = |path: &str| file::head(Path::new(path), LIMIT).unwrap_or_default();
    let usage =
        parse(&text("/proc/self/stat"), &text("/proc/self/status"), &text("/proc/self/limits"), &text("/proc/stat"));
    Usage { open_fds: file::count(Path::new("/proc/self/fd")), ..usage }
}

fn parse(stat: &[u8], status: &[u8], limits: &[u8], machine: &[u8]) -> Usage {
    // The command's name stands in brackets and may hold anything; field 3 follows the last one.
    let fields: Vec<_> = Text::new(stat).cut_last(b')').unwrap_or_default().1.words().collect();
    let time = |number: usize| {
        let ticks = fields.get(number.checked_sub(3)?)?.number()?;
        ticks.checked_mul(TICK).map(Duration::from_millis)
    };
    let kibibytes = |key: &str| value(status, key)?.words().next()?.number()?.checked_mul(1024);
    Usage {
        cpu_time: time(14).zip(time(15)).and_then(|(user, system)| user.checked_add(system)),
        open_fds: None,
        max_fds: value(limits, "Max open files").and_then(|text| text.words().next()?.number()),
        resident_bytes: kibibytes("VmRSS:"),
        virtual_bytes: kibibytes("VmSize:"),
        started: value(machine, "btime")
            .and_then(|text| Duration::from_secs(text.trim().number()?).checked_add(time(22)?)),
        threads: value(status, "Threads:").and_then(|text| text.trim().number()),
    }
}

/// What follows `key` at the start of a line.
fn value<'a>(text: &'a [u8], key: &str) -> Option<Text<'a>> {
    Text::new(text).lines().find_map(|line| line.after(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_an_awkward_name_is_read() {
        let stat = b"7 (a) b 1) S 1 7 7 0 -1 4194560 99 0 0 0 150 50 0 0 20 0 3 0 1000 9 9 9 9\n";
        let status = b"Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t3\n";
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096                 files\n";
        assert_eq!(
            parse(stat, status, limits, b"cpu 1 2\nbtime 1795180825\n"),
            Usage {
                cpu_time: Some(Duration::from_secs(2)),
                open_fds: None,
                max_fds: Some(1024),
                resident_bytes: Some(512 * 1024),
                virtual_bytes: Some(2048 * 1024),
                started: Some(Duration::from_secs(1_795_180_835)),
                threads: Some(3),
            }
        );
        assert_eq!(parse(b"", b"", b"", b""), Usage::default());
    }

    #[test]
    fn this_process_is_read() {
        let usage = read();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
        assert!(usage.threads.is_some_and(|threads| threads >= 1) && usage.max_fds.is_some(), "{usage:?}");
        let now = super::super::clock::now();
        let started = usage.started.and_then(|started| i64::try_from(started.as_secs()).ok());
        assert!(started.is_some_and(|started| started <= now + 1 && started > now - 3600), "{usage:?}");
    }
}
