//! The values of samples, and those of a table's rows, packed into eight bytes each.

use std::time::Duration;

/// A sample's value. Whole numbers are printed exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// A whole number below zero.
    Below(i64),
    /// A decimal number in billionths; printed with as many decimals as needed.
    Billionths(i64),
}

/// For each row the end of its labels, in bytes, and then a value for each family, which may be absent.
///
/// `Option<Value>` takes 16 bytes. Packed into eight, ten thousand SAs touch a fifth fewer memory pages, which saves a
/// sixth of a scrape's time.
pub(super) struct Values {
    /// The number of words of a row.
    stride: usize,
    /// Of a value: the whole number; [`ABSENT`]; or the bit [`OVERFLOW`] and a position in `overflow`.
    words: Vec<u64>,
    overflow: Vec<Value>,
    /// How many values of the last row are not absent.
    present: usize,
}

/// A value, packed.
#[derive(Clone, Copy)]
pub(super) struct Packed(u64);

const ABSENT: u64 = u64::MAX;

/// The bit that marks a position in `overflow`; whole numbers that have it go there, too.
const OVERFLOW: u64 = 1 << 63;

impl Values {
    /// No rows, of so many families.
    pub(super) fn of(families: usize) -> Self {
        Self { stride: families.saturating_add(1), words: Vec::new(), overflow: Vec::new(), present: 0 }
    }

    /// Makes room for so many rows.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.words.reserve_exact(rows.saturating_mul(self.stride));
    }

    /// Begins a row whose labels end there; its values follow.
    pub(super) fn begin_row(&mut self, end: usize) {
        self.present = 0;
        self.words.push(end as u64);
    }

    /// Adds a value to the row that was begun.
    #[inline]
    pub(super) fn push(&mut self, value: Option<Value>) {
        self.present = self.present.wrapping_add(usize::from(value.is_some()));
        self.words.push(packed(value, &mut self.overflow));
    }

    /// The number of values of the last row that are not absent.
    pub(super) fn present(&self) -> usize {
        self.present
    }

    /// The end of a row's labels.
    pub(super) fn end(&self, row: usize) -> Option<usize> {
        self.words.get(row.saturating_mul(self.stride)).map(|end| *end as usize)
    }

    pub(super) fn at(&self, row: usize, column: usize) -> Option<Value> {
        self.words.get(self.index(row, column)).and_then(|word| self.unpacked(Packed(*word)))
    }

    pub(super) fn set(&mut self, row: usize, column: usize, value: Option<Value>) {
        let index = self.index(row, column);
        if let Some(word) = self.words.get_mut(index) {
            *word = packed(value, &mut self.overflow);
        }
    }

    /// Removes the last row, none of whose values was copied to another.
    pub(super) fn discard(&mut self) {
        let first = self.words.len().saturating_sub(self.stride).saturating_add(1);
        let first_overflow = self.words.get(first..).unwrap_or_default().iter().find(|word| is_overflow(**word));
        if let Some(word) = first_overflow {
            self.overflow.truncate((word & !OVERFLOW) as usize);
        }
        self.forget();
    }

    /// Removes the last row, whose values may have been copied to another.
    pub(super) fn forget(&mut self) {
        self.words.truncate(self.words.len().saturating_sub(self.stride));
    }

    /// The end of the labels and the value of one column in each row, from row `from` on.
    #[inline]
    pub(super) fn column(&self, column: usize, from: usize) -> impl Iterator<Item = (usize, Packed)> {
        let words = self.words.get(from.saturating_mul(self.stride)..).unwrap_or_default();
        words.chunks_exact(self.stride).map_while(move |row| {
            let (end, values) = row.split_first()?;
            Some((*end as usize, Packed(*values.get(column)?)))
        })
    }

    /// The memory use in bytes.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        each(self.words.capacity(), size_of::<u64>()).saturating_add(each(self.overflow.capacity(), size_of::<Value>()))
    }

    fn index(&self, row: usize, column: usize) -> usize {
        row.saturating_mul(self.stride).saturating_add(column).saturating_add(1)
    }

    /// A value as it was before it was packed.
    pub(super) fn unpacked(&self, Packed(word): Packed) -> Option<Value> {
        match word {
            0..OVERFLOW => Some(Value::Whole(word)),
            ABSENT => None,
            _ => self.overflow.get((word & !OVERFLOW) as usize).copied(),
        }
    }
}

impl Packed {
    /// A whole number, unless it is one of the largest.
    #[inline]
    pub(super) fn whole(self) -> Option<u64> {
        (self.0 < OVERFLOW).then_some(self.0)
    }
}

fn packed(value: Option<Value>, overflow: &mut Vec<Value>) -> u64 {
    match value {
        None => ABSENT,
        Some(Value::Whole(number)) if number < OVERFLOW => number,
        Some(value) => {
            overflow.push(value);
            OVERFLOW | overflow.len().saturating_sub(1) as u64
        }
    }
}

fn is_overflow(word: u64) -> bool {
    word & OVERFLOW != 0 && word != ABSENT
}

impl Value {
    /// The value without its decimals; the largest number where it is larger.
    pub(super) fn whole(self) -> i64 {
        match self {
            Self::Whole(number) => i64::try_from(number).unwrap_or(i64::MAX),
            Self::Below(number) => number,
            Self::Billionths(number) => number.checked_div(1_000_000_000).unwrap_or_default(),
        }
    }

    /// The value in billionths, for comparisons.
    pub(super) fn billionths(self) -> i128 {
        const EACH: i128 = 1_000_000_000;
        match self {
            Self::Whole(number) => i128::from(number).saturating_mul(EACH),
            Self::Below(number) => i128::from(number).saturating_mul(EACH),
            Self::Billionths(number) => number.into(),
        }
    }

    /// The sum. A family has either whole or decimal numbers; of a whole and a decimal number the first is returned.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Self::Whole(a.saturating_add(b)),
            (Self::Billionths(a), Self::Billionths(b)) => Self::Billionths(a.saturating_add(b)),
            (Self::Below(a), Self::Below(b)) => Self::Below(a.saturating_add(b)),
            (Self::Whole(a), Self::Below(b)) | (Self::Below(b), Self::Whole(a)) => match a.checked_add_signed(b) {
                Some(sum) => Self::Whole(sum),
                None => Self::Below(b.saturating_add_unsigned(a)),
            },
            (first, _) => first,
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Below(number), Self::Whole)
    }
}

impl From<Duration> for Value {
    /// In seconds; one of more than 292 years is that long.
    fn from(time: Duration) -> Self {
        Self::Billionths(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_what_it_was() {
        let all = [
            None,
            Some(Value::Whole(0)),
            Some(Value::Whole(OVERFLOW - 1)),
            Some(Value::Whole(OVERFLOW)),
            Some(Value::Whole(u64::MAX)),
            Some(Value::Below(-5)),
        ];
        let mut values = Values::of(3);
        for (end, row) in all.chunks(3).enumerate() {
            values.begin_row(end);
            row.iter().for_each(|value| values.push(*value));
            assert_eq!(values.present(), 2 + end);
        }
        let found = |values: &Values| (0..6).map(|index| values.at(index / 3, index % 3)).collect::<Vec<_>>();
        assert_eq!(found(&values), all);
        assert_eq!((values.at(2, 0), values.end(0), values.end(1), values.end(2)), (None, Some(0), Some(1), None));
        let column = |column, from| {
            values.column(column, from).map(|(end, value)| (end, values.unpacked(value))).collect::<Vec<_>>()
        };
        assert_eq!(column(2, 0), [(0, all[2]), (1, all[5])]);
        assert_eq!(column(0, 1), [(1, all[3])]);
        values.set(0, 0, Some(Value::Whole(u64::MAX)));
        values.set(1, 2, None);
        assert_eq!((values.at(0, 0), values.at(1, 2), values.end(1)), (all[4], None, Some(1)));
    }

    #[test]
    fn what_is_discarded_takes_no_memory() {
        let mut values = Values::of(3);
        let add = |values: &mut Values, first| {
            values.begin_row(7);
            [Some(Value::Billionths(first)), None, Some(Value::Billionths(3))]
                .into_iter()
                .for_each(|value| values.push(value));
        };
        add(&mut values, 1);
        for _ in 0..1000 {
            add(&mut values, 2);
            values.discard();
        }
        assert_eq!((values.at(0, 0), values.at(0, 1), values.end(1)), (Some(Value::Billionths(1)), None, None));
        assert!(values.size() < 300, "{}", values.size());
    }
}
