//! Problems that a peer can cause again and again, in the log.

use std::time::{Duration, Instant};

/// After this long without a failure, the problem counts as over.
const CALM: Duration = Duration::from_secs(60);

/// Logs once when a problem begins and once when it is over, however often a peer causes it.
#[derive(Default)]
pub(super) struct LogOnce {
    last: Option<Instant>,
}

impl LogOnce {
    pub(super) fn set(&mut self, what: &str) {
        if self.last.replace(Instant::now()).is_none() {
            log::warn!("{what}");
        }
    }

    /// Call it whenever the operation succeeded.
    pub(super) fn clear(&mut self, what: &str) {
        if self.last.is_some_and(|last| last.elapsed() >= CALM) {
            self.last = None;
            log::info!("{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once() {
        let mut failure = LogOnce::default();
        failure.set("it");
        let first = failure.last;
        failure.clear("it is over");
        assert_eq!(failure.last, first, "not yet over: it may come again at once");
        failure.last = Instant::now().checked_sub(CALM);
        failure.clear("it is over");
        assert!(failure.last.is_none());
    }
}
