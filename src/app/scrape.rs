//! One scrape: the collectors run side by side, and what they brought stands together.

use super::routes::LEAST_TIME;
use super::*;

/// A collector reads and writes into buffers on the heap; its stack stays small.
pub(super) const STACK: usize = 256 * 1024;

/// What a collector is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Metrics,
    Sessions,
}

/// What one collector brought, and how long it took.
pub(super) struct Round {
    pub(super) name: &'static str,
    pub(super) report: Report,
    pub(super) taken: Duration,
    /// Whether there was room for it.
    pub(super) fits: bool,
    /// Sessions that are more than `max_series`.
    pub(super) unlisted: usize,
}

impl App {
    /// Runs the collectors side by side, so that one that hangs costs only itself.
    pub(super) fn gather(
        &self,
        collectors: &[&dyn Collector],
        wish: Wish,
        deadline: Deadline,
        place: &Place,
    ) -> Vec<Round> {
        let terms = lock(&self.watch).config.terms;
        let is_hasty = deadline.left("").map_or(true, |left| left < LEAST_TIME);
        let rounds: Vec<Round> = thread::scope(|scope| {
            let (last, others) = collectors.split_last().map_or((None, &[][..]), |(last, others)| (Some(last), others));
            let running: Vec<_> = others
                .iter()
                .map(|collector| {
                    let run = move || collect(*collector, wish, terms, deadline, place);
                    // Where the system has no thread to give it runs here, one after the other.
                    thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run).map_err(|_| Box::new(run()))
                })
                .collect();
            let mine = last.map(|collector| collect(*collector, wish, terms, deadline, place));
            let theirs = running.into_iter().map(|running| match running {
                Ok(thread) => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(round) => *round,
            });
            theirs.chain(mine).collect()
        });
        self.note(&rounds, wish, is_hasty);
        rounds
    }
}

/// Collects, and takes room for what came of it; where there is none it is let go at once.
pub(super) fn collect(collector: &dyn Collector, wish: Wish, terms: Terms, deadline: Deadline, place: &Place) -> Round {
    let started = Instant::now();
    let mut report = Report::on(terms);
    match wish {
        Wish::Metrics => collector.collect(deadline, &mut report),
        Wish::Sessions => collector.sessions(deadline, &mut report),
    }
    let most = terms.most_series.unwrap_or(usize::MAX);
    let unlisted = report.sessions.len().saturating_sub(most);
    report.sessions.truncate(most);
    report.sessions.shrink_to_fit();
    let fits = place.take(report.size());
    if !fits {
        (report.exposition, report.sessions) = Default::default();
    }
    Round { name: collector.name(), report, taken: started.elapsed(), fits, unlisted }
}
