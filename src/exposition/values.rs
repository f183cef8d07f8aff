//! The values of a table's rows, eight bytes each.

use super::table::Value;

/// Values by their places, absent ones too.
///
/// With 16 bytes each, which is what `Option<Value>` takes, the pages that ten thousand SAs touch for the first time
/// are a fifth more, and they cost a sixth of the scrape.
#[derive(Default)]
pub(super) struct Values {
    /// The whole number, [`ABSENT`], or with [`ASIDE`] the place where the value is kept.
    words: Vec<u64>,
    aside: Vec<Value>,
}

const ABSENT: u64 = u64::MAX;

/// The bit that whole numbers seldom have.
const ASIDE: u64 = 1 << 63;

impl Values {
    pub(super) fn push(&mut self, value: Option<Value>) {
        let word = match value {
            None => ABSENT,
            Some(Value::Whole(number)) if number < ASIDE => number,
            Some(value) => {
                self.aside.push(value);
                ASIDE | self.aside.len().saturating_sub(1) as u64
            }
        };
        self.words.push(word);
    }

    pub(super) fn at(&self, place: usize) -> Option<Value> {
        self.words.get(place).and_then(|word| self.unpacked(*word))
    }

    /// How many are there from a place on.
    pub(super) fn count(&self, from: usize) -> usize {
        self.words.get(from..).unwrap_or_default().iter().filter(|word| **word != ABSENT).count()
    }

    pub(super) fn set(&mut self, place: usize, value: Option<Value>) {
        self.push(value);
        if let (Some(last), Some(word)) = (self.words.pop(), self.words.get_mut(place)) {
            *word = last;
        }
    }

    /// Forgets the values from a place on, of which none was set at a place before.
    pub(super) fn discard(&mut self, from: usize) {
        let first_aside = self.words.get(from..).unwrap_or_default().iter().find(|word| is_aside(**word));
        if let Some(word) = first_aside {
            self.aside.truncate((word & !ASIDE) as usize);
        }
        self.words.truncate(from);
    }

    /// The same, of which some were.
    pub(super) fn forget(&mut self, from: usize) {
        self.words.truncate(from);
    }

    /// How much memory they hold, in bytes.
    pub(super) fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        each(self.words.capacity(), size_of::<u64>()).saturating_add(each(self.aside.capacity(), size_of::<Value>()))
    }

    fn unpacked(&self, word: u64) -> Option<Value> {
        match word {
            0..ASIDE => Some(Value::Whole(word)),
            ABSENT => None,
            _ => self.aside.get((word & !ASIDE) as usize).copied(),
        }
    }
}

fn is_aside(word: u64) -> bool {
    word & ASIDE != 0 && word != ABSENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_what_it_was() {
        let all = [
            None,
            Some(Value::Whole(0)),
            Some(Value::Whole(ASIDE - 1)),
            Some(Value::Whole(ASIDE)),
            Some(Value::Whole(u64::MAX)),
            Some(Value::Below(-5)),
        ];
        let mut values = Values::default();
        all.iter().for_each(|value| values.push(*value));
        assert_eq!((0..7).map(|place| values.at(place)).collect::<Vec<_>>(), [&all[..], &[None]].concat());
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
