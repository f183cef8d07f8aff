//! What a read of a source is for, and what comes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collector::Notice;
use crate::error::Error;
use crate::exposition::Exposition;
use crate::memory_budget::Reservation;
use crate::session::Sessions;

/// What to read from a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// Families.
    Metrics,
    /// Rows for the session list.
    Sessions,
}

/// The result of one read of one source for one query.
pub(super) struct Outcome {
    pub(super) name: &'static str,
    /// The families.
    pub(super) exposition: Arc<Exposition>,
    /// The sessions.
    pub(super) sessions: Sessions,
    /// Every target that was tried, and why it could not be read.
    pub(super) targets: Vec<(String, Result<(), Error>)>,
    /// Notices about targets that could be read.
    pub(super) notices: Vec<Notice>,
    /// How long the read took.
    pub(super) taken: Duration,
    /// Whether the memory budget allowed it; if not, there are neither families nor sessions.
    pub(super) fits: bool,
    pub(super) ended: Instant,
    /// Whether the read returned so long after its deadline that its data may be outdated.
    pub(super) is_late: bool,
    /// Of the memory budget, for the families and sessions.
    pub(super) _reservation: Reservation,
}
