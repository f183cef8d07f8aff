//! The values of a table's rows, packed into eight bytes each.

use super::table::Value;

/// Values by position; a value may be absent.
///
/// `Option<Value>` takes 16 bytes. Packed into eight, ten thousand SAs touch a fifth fewer memory pages, which saves a
/// sixth of a scrape's time.
#[derive(Default)]
pub(super) struct Values {
    /// The whole number; [`ABSENT`]; or the bit [`OVERFLOW`] and a position in `overflow`.
    words: Vec<u64>,
    overflow: Vec<Value>,
}

const ABSENT: u64 = u64::MAX;

/// The bit that marks a position in `overflow`; whole numbers that have it go there, too.
const OVERFLOW: u64 = 1 << 63;

impl Values {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { words: Vec::with_capacity(count), overflow: Vec::new() }
    }

    pub(super) fn push(&mut self, value: Option<Value>) {
        let word = match value {
            None => ABSENT,
            Some(Value::Whole(number)) if number < OVERFLOW => number,
            Some(value) => {
                self.overflow.push(value);
                OVERFLOW | self.overflow.len().saturating_sub(1) as u64
            }
        };
        self.words.push(word);
    }

    pub(super) fn at(&self, index: usize) -> Option<Value> {
        self.words.get(index).and_then(|word| self.unpacked(*word))
    }

    /// The number of values from an index on that are not absent.
    pub(super) fn count(&self, from: usize) -> usize {
        self.words.get(from..).unwrap_or_default().iter().filter(|word| **word != ABSENT).count()
    }

    pub(super) fn set(&mut self, index: usize, value: Option<Value>) {
        self.push(value);
        if let (Some(last), Some(word)) = (self.words.pop(), self.words.get_mut(index)) {
            *word = last;
        }
    }

    /// Removes the values from an index on; none of them was copied to an index before it.
    pub(super) fn discard(&mut self, from: usize) {
        let first_overflow = self.words.get(from..).unwrap_or_default().iter().find(|word| is_overflow(**word));
        if let Some(word) = first_overflow {
            self.overflow.truncate((word & !OVERFLOW) as usize);
        }
        self.words.truncate(from);
    }

    /// Removes the values from an index on; some of them may have been copied to an index before it.
    pub(super) fn forget(&mut self, from: usize) {
        self.words.truncate(from);
    }

    /// The memory use in bytes.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        each(self.words.capacity(), size_of::<u64>()).saturating_add(each(self.overflow.capacity(), size_of::<Value>()))
    }

    fn unpacked(&self, word: u64) -> Option<Value> {
        match word {
            0..OVERFLOW => Some(Value::Whole(word)),
            ABSENT => None,
            _ => self.overflow.get((word & !OVERFLOW) as usize).copied(),
        }
    }
}

fn is_overflow(word: u64) -> bool {
    word & OVERFLOW != 0 && word != ABSENT
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
        let mut values = Values::default();
        all.iter().for_each(|value| values.push(*value));
        assert_eq!((0..7).map(|index| values.at(index)).collect::<Vec<_>>(), [&all[..], &[None]].concat());
        assert_eq!((values.count(0), values.count(5), values.count(6)), (5, 1, 0));
        values.set(0, Some(Value::Whole(u64::MAX)));
        values.set(5, None);
        assert_eq!((values.at(0), values.at(5), values.at(6)), (all[4], None, None));
    }

    #[test]
    fn what_is_discarded_takes_no_memory() {
        let mut values = Values::default();
        values.push(Some(Value::Billionths(1)));
        for _ in 0..1000 {
            [Some(Value::Billionths(2)), None, Some(Value::Billionths(3))]
                .into_iter()
                .for_each(|value| values.push(value));
            values.discard(1);
        }
        assert_eq!((values.at(0), values.at(1)), (Some(Value::Billionths(1)), None));
        assert!(values.size() < 200, "{}", values.size());
    }
}
