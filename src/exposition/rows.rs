//! The rows of one table in memory: each row's labels as text, and its values, one for each family.

use std::any::TypeId;
use std::hash::{BuildHasher, RandomState};

use super::label::{RowFlags, write_labels};
use super::table::{DynRow, Merge, TableInfo};
use super::values::{Packed, Value, Values};
use crate::hash_index::HashIndex;
use crate::privacy::Identities;

/// The room for the labels of a table to begin with, in bytes, and for its rows: most tables have few.
const ROOM: usize = 320;
const ROWS: usize = 5;

/// The most bytes of labels that a row usually has.
const USUAL_LABELS: usize = 256;

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: TypeId,
    pub(super) table_info: &'static dyn TableInfo,
    /// The number of families.
    pub(super) families: usize,
    /// How many rows there will probably be.
    expected: usize,
    labels: Vec<u8>,
    values: Values,
    /// The number of rows; `values` has one more while it is not known whether a written one stays.
    kept: usize,
    index: HashIndex,
    /// Whether some rows after the first are missing in the index.
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
    /// No rows, for a table that will probably have so many. There is room for an eighth more: growing by doubling copies
    /// what is there each time, which was a twentieth of a scrape of 500 IKE_SAs.
    pub(super) fn of(table: TypeId, table_info: &'static dyn TableInfo, expected: usize) -> Self {
        Self::of_families(table, table_info, table_info.families(), expected.saturating_add(expected / 8))
    }

    /// No rows, for one family that this table and others have.
    pub(super) fn merged(&self) -> Self {
        Self::of_families(self.table, self.table_info, 1, 0)
    }

    fn of_families(table: TypeId, table_info: &'static dyn TableInfo, families: usize, expected: usize) -> Self {
        let mut values = Values::of(families);
        values.reserve(expected.max(ROWS));
        Self {
            table,
            table_info,
            families,
            expected,
            labels: Vec::with_capacity(if table_info.label(0).is_some() { ROOM } else { 0 }),
            values,
            kept: 0,
            index: HashIndex::default(),
            has_gaps: false,
            must_find: false,
        }
    }

    /// Adds a sample to rows of one family; if it has the labels of an earlier one, both are combined by the rule.
    pub(super) fn add_sample(&mut self, rule: Merge, labels: &[u8], value: Value) {
        match (0..self.kept).find(|number| self.labels_of(*number) == labels) {
            Some(number) => self.values.set(number, 0, merge(rule, self.values.at(number, 0), Some(value))),
            None => {
                self.labels.extend_from_slice(labels);
                self.values.begin_row(self.labels.len());
                self.values.push(Some(value));
                self.kept = self.kept.saturating_add(1);
            }
        }
    }

    /// Writes a row after the last one; call `keep`, `merge` or `discard` next.
    pub(super) fn write(&mut self, row: &dyn DynRow, identities: &Identities) -> RowFlags {
        let flags = write_labels(identities, &mut self.labels, |out| row.write_labels(out));
        self.values.begin_row(self.labels.len());
        row.write_values(&mut self.values);
        flags
    }

    /// Looks for a row with the labels of the written one.
    pub(super) fn find(&mut self, check: DuplicateCheck, hasher: &RandomState) -> Lookup {
        if check == DuplicateCheck::None && !self.must_find {
            return Lookup::New(None);
        }
        // Most tables have one row: it is compared, and the index is for the others.
        let written = self.labels.get(self.kept_labels()..).unwrap_or_default();
        if self.kept == 0 {
            return Lookup::New(None);
        }
        if written == self.labels_of(0) {
            return Lookup::Found(0);
        }
        let hash = hasher.hash_one(written);
        if check == DuplicateCheck::Any && !self.must_find {
            self.must_find = true;
            self.index_all(hasher);
        }
        self.index.get(&hash).map_or(Lookup::New(Some(hash)), |number| Lookup::Found(*number))
    }

    /// Rebuilds the index if rows are missing in it.
    fn index_all(&mut self, hasher: &RandomState) {
        if std::mem::take(&mut self.has_gaps) {
            self.index = (1..self.kept).map(|number| (hasher.hash_one(self.labels_of(number)), number)).collect();
        }
    }

    /// Keeps the written row; returns its number of series.
    pub(super) fn keep(&mut self, hash: Option<u64>) -> usize {
        let series = self.written_series();
        match hash {
            Some(hash) => drop(self.index.insert(hash, self.kept)),
            None => self.has_gaps = self.kept > 0,
        }
        self.kept = self.kept.saturating_add(1);
        if self.kept == 1 {
            // Others of this table have labels about as long as the first, which a peer may have made unusually long.
            self.labels.reserve(self.labels.len().min(USUAL_LABELS).saturating_mul(self.expected));
        }
        series
    }

    /// Merges the written row into an earlier one; returns how many series that adds.
    pub(super) fn merge(&mut self, number: usize) -> usize {
        let mut new_series = 0usize;
        for (column, info) in (0..).map_while(|column| Some((column, self.table_info.family(column)?))) {
            let (old, new) = (self.values.at(number, column), self.values.at(self.kept, column));
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            self.values.set(number, column, merge(info.merge, old, new));
        }
        self.labels.truncate(self.kept_labels());
        self.values.forget();
        new_series
    }

    /// Removes the written row.
    pub(super) fn discard(&mut self) {
        self.labels.truncate(self.kept_labels());
        self.values.discard();
    }

    /// The number of series of the written row.
    pub(super) fn written_series(&self) -> usize {
        self.values.present()
    }

    fn kept_labels(&self) -> usize {
        self.start(self.kept)
    }

    /// Where the labels of a row begin.
    fn start(&self, number: usize) -> usize {
        number.checked_sub(1).and_then(|before| self.values.end(before)).unwrap_or(0)
    }

    /// The approximate memory use in bytes.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        let index = each(self.index.capacity(), size_of::<(u64, usize)>());
        self.labels.capacity().saturating_add(index).saturating_add(self.values.size())
    }

    fn labels_of(&self, number: usize) -> &[u8] {
        self.values.end(number).and_then(|end| self.labels.get(self.start(number)..end)).unwrap_or_default()
    }

    /// The samples of one family from row `from` on: the labels, and the value if the row has one.
    pub(super) fn column(&self, column: usize, from: usize) -> impl Iterator<Item = (&[u8], Option<Value>)> {
        self.cells(column, from).map(|(labels, value)| (labels, self.values.unpacked(value)))
    }

    /// The same with the values as they are packed.
    #[inline]
    pub(super) fn cells(&self, column: usize, from: usize) -> impl Iterator<Item = (&[u8], Packed)> {
        let mut start = self.start(from);
        self.values.column(column, from).map_while(move |(end, value)| {
            let labels = self.labels.get(start..end)?;
            start = end;
            Some((labels, value))
        })
    }

    /// A value that was packed.
    pub(super) fn value(&self, packed: Packed) -> Option<Value> {
        self.values.unpacked(packed)
    }
}

/// Combines two values of one series by the family's rule; a single value stays as it is.
fn merge(rule: Merge, old: Option<Value>, new: Option<Value>) -> Option<Value> {
    let (Some(a), Some(b)) = (old, new) else { return old.or(new) };
    Some(match rule {
        Merge::First => a,
        Merge::Sum => a.plus(b),
        Merge::Lowest if b.billionths() < a.billionths() => b,
        Merge::Highest if b.billionths() > a.billionths() => b,
        Merge::Lowest | Merge::Highest => a,
    })
}
