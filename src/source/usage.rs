//! What this process uses of the machine, from proc(5).

use std::path::Path;

use super::file;
use crate::text::Text;

/// Ticks of the CPU times in `/proc/self/stat`: 100 a second on every architecture that we build for.
const TICKS: f64 = 100.0;

/// The most of a file under `/proc` that is read.
const LIMIT: usize = 64 * 1024;

/// What is used; absent where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of CPU time, user and system.
    pub cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// The most file descriptors that may be open.
    pub max_fds: Option<u64>,
    /// Memory in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// When the process started, in seconds since 1970.
    pub start_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Reads what this process uses now.
pub fn read() -> Usage {
    let text = |path: &str| file::head(Path::new(path), LIMIT).unwrap_or_default();
    let usage =
        parse(&text("/proc/self/stat"), &text("/proc/self/status"), &text("/proc/self/limits"), &text("/proc/stat"));
    Usage { open_fds: Some(file::names(Path::new("/proc/self/fd")).len() as u64), ..usage }
}

fn parse(stat: &[u8], status: &[u8], limits: &[u8], machine: &[u8]) -> Usage {
    // The command's name stands in brackets and may hold anything; field 3 follows the last one.
    let fields: Vec<_> = Text::new(stat).cut_last(b')').unwrap_or_default().1.words().collect();
    let ticks = |number: usize| Some(fields.get(number.checked_sub(3)?)?.number()? as f64 / TICKS);
    let kibibytes = |key: &str| value(status, key)?.words().next()?.number()?.checked_mul(1024);
    Usage {
        cpu_seconds: ticks(14).zip(ticks(15)).map(|(user, system)| user + system),
        open_fds: None,
        max_fds: value(limits, "Max open files").and_then(|text| text.words().next()?.number()),
        resident_bytes: kibibytes("VmRSS:"),
        virtual_bytes: kibibytes("VmSize:"),
        start_seconds: value(machine, "btime").and_then(|text| Some(text.trim().number()? as f64 + ticks(22)?)),
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
                cpu_seconds: Some(2.0),
                open_fds: None,
                max_fds: Some(1024),
                resident_bytes: Some(512 * 1024),
                virtual_bytes: Some(2048 * 1024),
                start_seconds: Some(1_795_180_835.0),
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
        let now = super::super::clock::now() as f64;
        assert!(usage.start_seconds.is_some_and(|start| start <= now + 1.0 && start > now - 3600.0), "{usage:?}");
    }
}
