//! The rows of one table: each row's labels as text, and its values, one for each family.

use std::any::TypeId;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use super::label::openings;
use super::table::{Desc, Line, Shape, Twin, Value};

/// The rows of one table.
pub(super) struct Rows {
    pub(super) table: TypeId,
    pub(super) descs: Vec<&'static Desc>,
    pub(super) openings: Vec<String>,
    pub(super) labels: Vec<u8>,
    ends: Vec<usize>,
    values: Vec<Option<Value>>,
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
            values: Vec::new(),
            index: Index::default(),
            has_gaps: false,
            must_find: false,
        }
    }

    /// The row with the labels that stand at `start..` of the label text, or where it can be entered.
    pub(super) fn find(&mut self, start: usize, likeness: Likeness, hasher: &RandomState) -> Place {
        if likeness == Likeness::Any && !self.must_find {
            self.must_find = true;
            self.index_all(hasher);
        }
        if likeness == Likeness::None && !self.must_find {
            return Place::Free(None);
        }
        let written = self.labels.get(start..).unwrap_or_default();
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

    /// Makes the label text that was written last a new row, and says how many series it has.
    pub(super) fn enter(&mut self, hash: Option<u32>, row: &dyn Line) -> usize {
        let start = self.values.len();
        let number = self.ends.len();
        self.ends.push(self.labels.len());
        match hash {
            Some(hash) => self.index.insert(hash, number),
            None => self.has_gaps = true,
        }
        self.values.extend((0..self.descs.len()).map(|column| row.value(column)));
        self.values.get(start..).unwrap_or_default().iter().flatten().count()
    }

    /// How much memory they hold, in bytes, about.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        let index = each(self.index.slots.capacity(), size_of::<Option<Slot>>());
        let ends = each(self.ends.capacity(), size_of::<usize>());
        let values = each(self.values.capacity(), size_of::<Option<Value>>());
        self.labels.capacity().saturating_add(index).saturating_add(ends).saturating_add(values)
    }

    /// Merges values into a row, and says how many series are new.
    pub(super) fn settle(&mut self, number: usize, row: &dyn Line) -> usize {
        let start = number.saturating_mul(self.descs.len());
        let mut new_series = 0usize;
        let old = self.values.get_mut(start..).unwrap_or_default();
        for (column, (old, desc)) in old.iter_mut().zip(&self.descs).enumerate() {
            let new = row.value(column);
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            *old = settle(desc.twin, *old, new);
        }
        new_series
    }

    pub(super) fn labels_of(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(number).and_then(|end| self.labels.get(start..*end)).unwrap_or_default()
    }

    /// The samples of one family from row `from` on: the labels, and the value if there is one.
    pub(super) fn column(&self, column: usize, from: usize) -> impl Iterator<Item = (&[u8], Option<Value>)> {
        let mut start = from.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let ends = self.ends.get(from..).unwrap_or_default();
        let values =
            self.values.get(from.saturating_mul(self.descs.len()).saturating_add(column)..).unwrap_or_default();
        ends.iter().zip(values.iter().step_by(self.descs.len().max(1))).map(move |(end, value)| {
            let labels = self.labels.get(start..*end).unwrap_or_default();
            start = *end;
            (labels, *value)
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
        Twin::Sum => match (a, b) {
            (Value::Whole(a), Value::Whole(b)) => Value::Whole(a.saturating_add(b)),
            _ => Value::Real(a.as_real() + b.as_real()),
        },
        Twin::Lowest if b.as_real() < a.as_real() => b,
        Twin::Highest if b.as_real() > a.as_real() => b,
        Twin::Lowest | Twin::Highest => a,
    })
}
