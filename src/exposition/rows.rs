//! The rows of one table in memory: each row's labels as text, and its values, one for each family.

use std::any::TypeId;
use std::hash::{BuildHasher, RandomState};

use super::label::{RowFlags, write_labels};
use super::table::{DynRow, Merge, TableInfo, Value};
use super::values::Values;
use crate::hash_index::HashIndex;
use crate::privacy::Identities;

/// The room for the labels of a table to begin with, in bytes: most tables have few rows.
const ROOM: usize = 320;

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: TypeId,
    pub(super) table_info: &'static dyn TableInfo,
    /// The number of families.
    pub(super) families: usize,
    labels: Vec<u8>,
    ends: Vec<usize>,
    values: Values,
    index: HashIndex,
    /// Whether some rows are missing in the index.
    has_gaps: bool,
    /// Whether the index has to hold every row.
    must_find: bool,
}

/// Which of the existing rows may have the same labels as a new one.
///
/// A row that can't have a duplicate is not looked up, and not indexed until one comes that can: that saves a cache miss
/// or two for each of a hundred thousand rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DuplicateCheck {
    /// None: its label values are unique and were written unchanged.
    None,
    /// Only rows with a value that was changed when it was written (escaped, cut or hashed).
    Changed,
    /// All rows.
    Any,
}

/// Whether a row with the same labels exists.
pub(super) enum Lookup {
    /// It does, at this position.
    Found(usize),
    /// It does not; the hash of the labels, if the new row has to go into the index.
    New(Option<u64>),
}

impl Rows {
    /// No rows, for a table.
    pub(super) fn of(table: TypeId, table_info: &'static dyn TableInfo) -> Self {
        Self {
            table,
            table_info,
            families: table_info.families(),
            labels: Vec::with_capacity(ROOM),
            ends: Vec::with_capacity(ROOM / 32),
            values: Values::with_capacity(ROOM / 32),
            index: HashIndex::default(),
            has_gaps: false,
            must_find: false,
        }
    }

    /// Writes a row after the last one; call `keep`, `merge` or `discard` next.
    pub(super) fn write(&mut self, row: &dyn DynRow, identities: Identities) -> RowFlags {
        row.write_values(&mut self.values);
        write_labels(row, identities, &mut self.labels)
    }

    /// Looks for a row with the labels of the written one.
    pub(super) fn find(&mut self, check: DuplicateCheck, hasher: &RandomState) -> Lookup {
        if check == DuplicateCheck::Any && !self.must_find {
            self.must_find = true;
            self.index_all(hasher);
        }
        if check == DuplicateCheck::None && !self.must_find {
            return Lookup::New(None);
        }
        let written = self.labels.get(self.kept_labels()..).unwrap_or_default();
        let hash = hasher.hash_one(written);
        self.index.get(&hash).map_or(Lookup::New(Some(hash)), |number| Lookup::Found(*number))
    }

    /// Rebuilds the index if rows are missing in it.
    fn index_all(&mut self, hasher: &RandomState) {
        if std::mem::take(&mut self.has_gaps) {
            self.index = (0..self.ends.len()).map(|number| (hasher.hash_one(self.labels_of(number)), number)).collect();
        }
    }

    /// Keeps the written row; returns its number of series.
    pub(super) fn keep(&mut self, hash: Option<u64>) -> usize {
        let series = self.written_series();
        match hash {
            Some(hash) => drop(self.index.insert(hash, self.ends.len())),
            None => self.has_gaps = true,
        }
        self.ends.push(self.labels.len());
        series
    }

    /// Merges the written row into an earlier one; returns how many series that adds.
    pub(super) fn merge(&mut self, number: usize) -> usize {
        let (first, written) = (number.saturating_mul(self.families), self.kept_values());
        let mut new_series = 0usize;
        for (column, info) in (0..).map_while(|column| Some((column, self.table_info.family(column)?))) {
            let index = first.saturating_add(column);
            let (old, new) = (self.values.at(index), self.values.at(written.saturating_add(column)));
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            self.values.set(index, merge(info.merge, old, new));
        }
        self.labels.truncate(self.kept_labels());
        self.values.forget(written);
        new_series
    }

    /// Removes the written row.
    pub(super) fn discard(&mut self) {
        self.labels.truncate(self.kept_labels());
        self.values.discard(self.kept_values());
    }

    /// The number of series of the written row.
    pub(super) fn written_series(&self) -> usize {
        self.values.count(self.kept_values())
    }

    fn kept_labels(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn kept_values(&self) -> usize {
        self.ends.len().saturating_mul(self.families)
    }

    /// The approximate memory use in bytes.
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

    /// The samples of one family from row `from` on: the labels, and the value if the row has one.
    pub(super) fn column(&self, column: usize, from: usize) -> impl Iterator<Item = (&[u8], Option<Value>)> {
        let mut start = from.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let ends = self.ends.get(from..).unwrap_or_default();
        let mut index = from.saturating_mul(self.families).saturating_add(column);
        ends.iter().map(move |end| {
            let labels = self.labels.get(start..*end).unwrap_or_default();
            let value = self.values.at(index);
            (start, index) = (*end, index.saturating_add(self.families));
            (labels, value)
        })
    }
}

/// Combines two values of one series by the family's rule; a single value stays as it is.
pub(super) fn merge(rule: Merge, old: Option<Value>, new: Option<Value>) -> Option<Value> {
    let (Some(a), Some(b)) = (old, new) else { return old.or(new) };
    Some(match rule {
        Merge::First => a,
        Merge::Sum => a.plus(b),
        Merge::Lowest if b.billionths() < a.billionths() => b,
        Merge::Highest if b.billionths() > a.billionths() => b,
        Merge::Lowest | Merge::Highest => a,
    })
}
