//! The rows of one table: each row's labels as text, and its values, one for each family.

use std::any::TypeId;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use super::label::{Look, openings, write_labels};
use super::table::{Desc, Line, Shape, Twin, Value};
use super::values::Values;
use crate::identities::Identities;

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: TypeId,
    pub(super) descs: Vec<&'static Desc>,
    pub(super) openings: Vec<String>,
    pub(super) labels: Vec<u8>,
    ends: Vec<usize>,
    values: Values,
    index: Index,
    /// Whether some rows are not in the index.
    has_gaps: bool,
    /// Whether every row has to be in it.
    must_find: bool,
}

/// Finds a row by the hash of its labels: open addressing, never more than half full.
///
/// Peers choose labels, so the hash is keyed (SipHash), and a row is only the same where its labels are. Eight
/// bytes a slot; with a `HashMap` of hashes a row was hashed twice.
#[derive(Default)]
struct Index {
    slots: Vec<Option<Slot>>,
    filled: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// The row's number and one.
    row: NonZeroU32,
}

/// Which rows may have the labels of a new one.
///
/// A row that can't be like another is not looked for until one comes that can: that saves a cache miss or
/// two for each of a hundred thousand rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// No other: its label values are its own and stand there as they were given.
    None,
    /// One that had to be changed as well.
    Changed,
    /// Any.
    Any,
}

/// Where a row's labels are looked for.
pub(super) enum Place {
    /// This row has them.
    Taken(usize),
    /// None has; this is the hash of a new one, where it has to be found again.
    Free(Option<u32>),
}

impl Rows {
    /// None yet, for a table.
    pub(super) fn of(table: TypeId, shape: &dyn Shape) -> Self {
        Self {
            table,
            descs: (0..).map_while(|number| shape.desc(number)).collect(),
            openings: openings(shape),
            labels: Vec::new(),
            ends: Vec::new(),
            values: Values::default(),
            index: Index::default(),
            has_gaps: false,
            must_find: false,
        }
    }

    /// Writes a row behind the last one, where it is until it is kept, settled or discarded.
    pub(super) fn write(&mut self, row: &dyn Line, identities: Identities) -> Look {
        row.write_values(&mut self.values);
        write_labels(row, &self.openings, identities, &mut self.labels)
    }

    /// The row that has the labels of the written one.
    pub(super) fn find(&mut self, likeness: Likeness, hasher: &RandomState) -> Place {
        if likeness == Likeness::Any && !self.must_find {
            self.must_find = true;
            self.index_all(hasher);
        }
        if likeness == Likeness::None && !self.must_find {
            return Place::Free(None);
        }
        let written = self.labels.get(self.kept_labels()..).unwrap_or_default();
        let hash = hash(written, hasher);
        let twin = self.index.rows(hash).find(|number| self.labels_of(*number) == written);
        twin.map_or(Place::Free(Some(hash)), Place::Taken)
    }

    /// Makes the index anew where it has gaps.
    fn index_all(&mut self, hasher: &RandomState) {
        if std::mem::take(&mut self.has_gaps) {
            self.index = Index::default();
            for number in 0..self.ends.len() {
                let hash = hash(self.labels_of(number), hasher);
                self.index.insert(hash, number);
            }
        }
    }

    /// Makes the written row one of them, and says how many series it has.
    pub(super) fn keep(&mut self, hash: Option<u32>) -> usize {
        let series = self.written_series();
        match hash {
            Some(hash) => self.index.insert(hash, self.ends.len()),
            None => self.has_gaps = true,
        }
        self.ends.push(self.labels.len());
        series
    }

    /// Merges the written row into another, and says how many series are new.
    pub(super) fn settle(&mut self, number: usize) -> usize {
        let (first, written) = (number.saturating_mul(self.descs.len()), self.kept_values());
        let mut new_series = 0usize;
        for (column, desc) in self.descs.iter().enumerate() {
            let place = first.saturating_add(column);
            let (old, new) = (self.values.at(place), self.values.at(written.saturating_add(column)));
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            self.values.set(place, settle(desc.twin, old, new));
        }
        self.labels.truncate(self.kept_labels());
        self.values.forget(written);
        new_series
    }

    /// Forgets the written row.
    pub(super) fn discard(&mut self) {
        self.labels.truncate(self.kept_labels());
        self.values.discard(self.kept_values());
    }

    /// How many series the written row has.
    pub(super) fn written_series(&self) -> usize {
        self.values.count(self.kept_values())
    }

    fn kept_labels(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn kept_values(&self) -> usize {
        self.ends.len().saturating_mul(self.descs.len())
    }

    /// How much memory they hold, in bytes, about.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        let index = each(self.index.slots.capacity(), size_of::<Option<Slot>>());
        let ends = each(self.ends.capacity(), size_of::<usize>());
        self.labels.capacity().saturating_add(index).saturating_add(ends).saturating_add(self.values.size())
    }

    pub(super) fn labels_of(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(number).and_then(|end| self.labels.get(start..*end)).unwrap_or_default()
    }

    /// The samples of one family from row `from` on: the labels, and the value if there is one.
    pub(super) fn column(&self, column: usize, from: usize) -> impl Iterator<Item = (&[u8], Option<Value>)> {
        let mut start = from.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let ends = self.ends.get(from..).unwrap_or_default();
        let mut place = from.saturating_mul(self.descs.len()).saturating_add(column);
        ends.iter().map(move |end| {
            let labels = self.labels.get(start..*end).unwrap_or_default();
            let value = self.values.at(place);
            (start, place) = (*end, place.saturating_add(self.descs.len()));
            (labels, value)
        })
    }
}

impl Index {
    /// The rows whose labels have this hash; few others of the same 32 bits are among them.
    fn rows(&self, hash: u32) -> impl Iterator<Item = usize> {
        self.places(hash)
            .map_while(|place| self.slots.get(place).copied().flatten())
            .filter(move |slot| slot.hash == hash)
            .map(|slot| slot.row.get().saturating_sub(1) as usize)
    }

    fn insert(&mut self, hash: u32, number: usize) {
        // No scrape has four thousand million rows; one that had would print twins.
        let row = u32::try_from(number).ok().and_then(|number| NonZeroU32::MIN.checked_add(number));
        let Some(row) = row else { return };
        if self.filled.saturating_mul(2) >= self.slots.len() {
            self.grow();
        }
        self.put(Slot { hash, row });
        self.filled = self.filled.saturating_add(1);
    }

    fn grow(&mut self) {
        let size = self.slots.len().saturating_mul(2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![None; size]);
        old.into_iter().flatten().for_each(|slot| self.put(slot));
    }

    fn put(&mut self, slot: Slot) {
        let free = self.places(slot.hash).find(|place| self.slots.get(*place).is_none_or(Option::is_none));
        if let Some(free) = free.and_then(|place| self.slots.get_mut(place)) {
            *free = Some(slot);
        }
    }

    /// The places in which a hash is looked for, in order: each once.
    fn places(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let size = self.slots.len();
        let mask = size.saturating_sub(1);
        (0..size).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }
}

/// The lower half of a hash is as good as all of it.
fn hash(labels: &[u8], hasher: &RandomState) -> u32 {
    hasher.hash_one(labels) as u32
}

/// What becomes of two values for one series; one alone stands.
pub(super) fn settle(twin: Twin, old: Option<Value>, new: Option<Value>) -> Option<Value> {
    let (Some(a), Some(b)) = (old, new) else { return old.or(new) };
    Some(match twin {
        Twin::First => a,
        Twin::Sum => a.plus(b),
        Twin::Lowest if b.billionths() < a.billionths() => b,
        Twin::Highest if b.billionths() > a.billionths() => b,
        Twin::Lowest | Twin::Highest => a,
    })
}
