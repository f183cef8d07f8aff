//! The rows of one table: each row's labels as text, and its values, one for each family.

use std::any::TypeId;
use std::hash::{BuildHasher, RandomState};

use super::label::{Look, label_prefixes, write_labels};
use super::table::{Desc, Line, Merge, TableInfo, Value};
use super::values::Values;
use crate::hash_index::HashIndex;
use crate::privacy::Identities;

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: TypeId,
    pub(super) descs: Vec<&'static Desc>,
    pub(super) label_prefixes: Vec<String>,
    pub(super) labels: Vec<u8>,
    ends: Vec<usize>,
    values: Values,
    index: HashIndex,
    /// Whether some rows are not in the index.
    has_gaps: bool,
    /// Whether every row has to be in it.
    must_find: bool,
}

/// Which rows may have the labels of a new one.
///
/// A row that can't be like another is not looked for until one comes that can: that saves a cache miss or
/// two for each of a hundred thousand rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DuplicateCheck {
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
    Free(Option<u64>),
}

impl Rows {
    /// None yet, for a table.
    pub(super) fn of(table: TypeId, shape: &dyn TableInfo) -> Self {
        Self {
            table,
            descs: (0..).map_while(|number| shape.desc(number)).collect(),
            label_prefixes: label_prefixes(shape),
            labels: Vec::new(),
            ends: Vec::new(),
            values: Values::default(),
            index: HashIndex::default(),
            has_gaps: false,
            must_find: false,
        }
    }

    /// Writes a row behind the last one, where it is until it is kept, merged or discarded.
    pub(super) fn write(&mut self, row: &dyn Line, identities: Identities) -> Look {
        row.write_values(&mut self.values);
        write_labels(row, &self.label_prefixes, identities, &mut self.labels)
    }

    /// The row that has the labels of the written one.
    pub(super) fn find(&mut self, likeness: DuplicateCheck, hasher: &RandomState) -> Place {
        if likeness == DuplicateCheck::Any && !self.must_find {
            self.must_find = true;
            self.index_all(hasher);
        }
        if likeness == DuplicateCheck::None && !self.must_find {
            return Place::Free(None);
        }
        let written = self.labels.get(self.kept_labels()..).unwrap_or_default();
        let hash = hasher.hash_one(written);
        self.index.get(&hash).map_or(Place::Free(Some(hash)), |number| Place::Taken(*number))
    }

    /// Makes the index anew where it has gaps.
    fn index_all(&mut self, hasher: &RandomState) {
        if std::mem::take(&mut self.has_gaps) {
            self.index = (0..self.ends.len()).map(|number| (hasher.hash_one(self.labels_of(number)), number)).collect();
        }
    }

    /// Makes the written row one of them, and says how many series it has.
    pub(super) fn keep(&mut self, hash: Option<u64>) -> usize {
        let series = self.written_series();
        match hash {
            Some(hash) => drop(self.index.insert(hash, self.ends.len())),
            None => self.has_gaps = true,
        }
        self.ends.push(self.labels.len());
        series
    }

    /// Merges the written row into another, and says how many series are new.
    pub(super) fn merge(&mut self, number: usize) -> usize {
        let (first, written) = (number.saturating_mul(self.descs.len()), self.kept_values());
        let mut new_series = 0usize;
        for (column, desc) in self.descs.iter().enumerate() {
            let place = first.saturating_add(column);
            let (old, new) = (self.values.at(place), self.values.at(written.saturating_add(column)));
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            self.values.set(place, merge(desc.twin, old, new));
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
        let index = each(self.index.capacity(), size_of::<(u64, usize)>());
        let ends = each(self.ends.capacity(), size_of::<usize>());
        self.labels.capacity().saturating_add(index).saturating_add(ends).saturating_add(self.values.size())
    }

    fn labels_of(&self, number: usize) -> &[u8] {
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

/// What becomes of two values for one series; one alone stands.
pub(super) fn merge(twin: Merge, old: Option<Value>, new: Option<Value>) -> Option<Value> {
    let (Some(a), Some(b)) = (old, new) else { return old.or(new) };
    Some(match twin {
        Merge::First => a,
        Merge::Sum => a.plus(b),
        Merge::Lowest if b.billionths() < a.billionths() => b,
        Merge::Highest if b.billionths() > a.billionths() => b,
        Merge::Lowest | Merge::Highest => a,
    })
}
