//! The kernel's IPsec errors: how many packets it could not process, by reason.

pub mod metrics;
pub mod xfrm;

use std::path::PathBuf;
use std::sync::Arc;

use crate::collector::{Collector, Report};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::exposition::TableInfo;
use crate::settings::{ConfigError, Input};
use crate::source::{AnySource, Source};
use crate::sys::file;
use crate::text::Text;

/// Where procfs is mounted.
const PROC: &str = "/proc";

/// The most bytes to read; the file has some thirty short lines.
const LIMIT: usize = 64 * 1024;

/// The collector of the kernel's IPsec error counters.
pub struct Kernel {
    path: PathBuf,
}

impl Kernel {
    /// A collector for the procfs mounted at `proc`; absent if the kernel has no such counters.
    pub fn find(proc: PathBuf) -> Option<Self> {
        let path = proc.join("net/xfrm_stat");
        file::is_file(&path).then_some(Self { path })
    }

    fn target(&self) -> String {
        self.path.display().to_string()
    }
}

/// It has no settings: it accompanies sources whose tunnels use the kernel's IPsec.
impl Source for Kernel {
    type Settings = PathBuf;
    const NAME: &'static str = "kernel";
    const TABLES: &'static [&'static dyn TableInfo] = metrics::TABLES;

    fn read(_input: &mut Input<'_>) -> Result<Option<PathBuf>, ConfigError> {
        Ok(None)
    }

    fn build(settings: Arc<PathBuf>, _before: Option<&Self>) -> Self {
        Self { path: settings.to_path_buf() }
    }

    fn accompany(watched: &[&'static AnySource]) -> Option<Self> {
        let is_used = watched.iter().any(|source| source.uses_kernel_ipsec);
        if is_used { Self::find(PROC.into()) } else { None }
    }
}

impl Collector for Kernel {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target()]
    }

    fn never_waits(&self) -> bool {
        true
    }

    fn collect(&self, deadline: Deadline, report: &mut Report) {
        let bytes = file::read(&self.path, LIMIT, deadline);
        let errors = bytes.as_ref().map_err(Error::clone).and_then(|bytes| {
            let expected = "a name and a number on a line";
            xfrm::parse(Text::new(bytes))
                .ok_or_else(|| Error::new(self.target(), ErrorKind::Malformed { expected, offset: 0 }))
        });
        if let Some(errors) = report.target(self.target(), errors) {
            metrics::expose(&errors, &mut report.exposition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn collect(kernel: &Kernel) -> (usize, Result<(), Error>) {
        let mut report = Report::default();
        kernel.collect(Deadline::within(Duration::from_secs(5)), &mut report);
        let result = report.targets.pop().expect("a target").1;
        (report.exposition.series(), result)
    }

    #[test]
    fn counters_are_watched_where_there_are_any_and_are_read_anew() {
        let proc = std::env::temp_dir().join(format!("gwx-kernel-{}", std::process::id()));
        fs::create_dir_all(proc.join("net")).expect("a scratch folder");
        assert!(Kernel::find(proc.clone()).is_none(), "a kernel without them");
        let write = |text: &str| fs::write(proc.join("net/xfrm_stat"), text).expect("a scratch file");
        write("XfrmInError 0\nXfrmInNoStates 3\n");
        let kernel = Kernel::find(proc.clone()).expect("they are there");
        assert_eq!(collect(&kernel), (2, Ok(())));
        write("nonsense\n");
        let (series, result) = collect(&kernel);
        let subject = proc.join("net/xfrm_stat").display().to_string();
        assert_eq!(series, 0);
        assert_eq!(
            result.unwrap_err().to_string(),
            format!("{subject}: expected a name and a number on a line at byte 0")
        );
        fs::remove_dir_all(&proc).expect("the scratch folder goes");
        assert_eq!(collect(&kernel), (0, Err(Error::new(subject, ErrorKind::NotFound))));
    }
}
