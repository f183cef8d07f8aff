//! What is watched through the sources and not well, and since when.

use super::outcome::Outcome;
use crate::advice::Severity;
use crate::collector::Notice;
use crate::diagnosis::Since;
use crate::hash_index::{HashIndex, NumberState, hash_parts};
use crate::sources;
use crate::watched::{self, Thing};

/// The most things of one source that are remembered.
const MOST: usize = 10_000;

/// Since when each is not well.
#[derive(Default)]
pub(super) struct Troubles {
    known: Vec<Trouble>,
    /// Their positions, by their hash.
    index: HashIndex,
    hasher: NumberState,
    /// The sources that were read before.
    read: Vec<&'static str>,
}

/// A thing that is not well, or a notice.
#[derive(Clone, Copy)]
struct Trouble {
    source: &'static str,
    /// [`Troubles::hash`]
    hash: u64,
    since: Since,
}

/// Judges what is watched through a source.
pub(super) fn judge(outcome: &Outcome, now: i64, each: &mut dyn FnMut(Thing<'_>)) {
    let watched = sources::named(outcome.name).map_or(&[][..], |source| source.watched);
    watched::judge_all(watched, &outcome.exposition, now, each);
}

impl Troubles {
    /// Since when a thing is not well; absent if it is.
    pub(super) fn since_of(&self, source: &str, thing: &Thing<'_>) -> Option<Since> {
        if thing.is_well() { None } else { self.since(self.hash_of(source, thing)) }
    }

    /// Since when there is a notice.
    pub(super) fn since_of_notice(&self, source: &str, notice: &Notice) -> Option<Since> {
        self.since(self.hash_of_notice(source, notice))
    }

    /// Takes over what a read at the time `now` found. What it could not see, because a target could not be read, is as it
    /// was.
    pub(super) fn note(&mut self, outcome: &Outcome, now: i64) {
        let source = outcome.name;
        let is_whole = outcome.fits && outcome.targets.iter().all(|(_, result)| result.is_ok());
        let (found, seen) = self.look(outcome, is_whole, now);
        let since = Since { moment: now, is_at_least: !self.read.contains(&source) };
        let mut known: Vec<Trouble> = self.known.iter().filter(|trouble| trouble.source != source).copied().collect();
        if !is_whole {
            let is_unseen = |trouble: &&Trouble| trouble.source == source && !seen.contains_key(&trouble.hash);
            known.extend(self.known.iter().filter(is_unseen).take(MOST));
        }
        let since = |hash| self.since(hash).unwrap_or(since);
        known.extend(found.into_iter().map(|hash| Trouble { source, hash, since: since(hash) }));
        self.set(known);
        if is_whole && !self.read.contains(&source) {
            self.read.push(source);
        }
    }

    /// Forgets the sources that are not watched any more.
    pub(super) fn retain(&mut self, has: impl Fn(&str) -> bool) {
        self.read.retain(|source| has(source));
        self.set(self.known.iter().filter(|trouble| has(trouble.source)).copied().collect());
    }

    /// The hashes of what is not well, and of all that was seen; of all only if the read was not whole.
    fn look(&self, outcome: &Outcome, is_whole: bool, now: i64) -> (Vec<u64>, HashIndex) {
        let notices = outcome.notices.iter().filter(|notice| notice.severity >= Severity::Warning);
        let mut found: Vec<u64> = notices.map(|notice| self.hash_of_notice(outcome.name, notice)).collect();
        let mut seen: HashIndex = found.iter().map(|hash| (*hash, 0)).collect();
        judge(outcome, now, &mut |thing| {
            if thing.is_well() && is_whole {
                return;
            }
            let hash = self.hash_of(outcome.name, &thing);
            if !is_whole {
                seen.insert(hash, 0);
            }
            if !thing.is_well() && found.len() < MOST {
                found.push(hash);
            }
        });
        (found, seen)
    }

    /// Replaces what is known; of two with one hash, as two notices about one file have, the first counts.
    fn set(&mut self, mut known: Vec<Trouble>) {
        self.index.clear();
        known.retain(|trouble| {
            let is_new = !self.index.contains_key(&trouble.hash);
            if is_new {
                self.index.insert(trouble.hash, self.index.len());
            }
            is_new
        });
        self.known = known;
    }

    fn since(&self, hash: u64) -> Option<Since> {
        self.known.get(*self.index.get(&hash)?).map(|trouble| trouble.since)
    }

    fn hash_of(&self, source: &str, thing: &Thing<'_>) -> u64 {
        self.hash(source, thing.family(), thing.labels.bytes())
    }

    /// A notice is about no sample.
    fn hash_of_notice(&self, source: &str, notice: &Notice) -> u64 {
        self.hash(source, "", notice.subject.as_bytes())
    }

    /// Tells one thing from all others: by its source, the family that it is judged by, and the labels of its sample.
    ///
    /// Peers choose names among the labels. Whoever found two with one hash, without knowing the key, would have two troubles that
    /// began at once, and nothing more: that is not worth a SipHash (5 % of a scrape of WireGuard's peers).
    fn hash(&self, source: &str, family: &str, labels: &[u8]) -> u64 {
        hash_parts(&self.hasher, &[source.as_bytes(), family.as_bytes(), labels])
    }
}
