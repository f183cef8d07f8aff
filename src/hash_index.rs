//! A hash map from keyed 64-bit hashes to positions: peers choose the texts that are hashed, but not the key.
//!
//! Collisions of a keyed 64-bit SipHash are not expected to occur, so the texts themselves are not compared.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// Positions in a list, by hash.
pub type HashIndex = HashMap<u64, usize, BuildHasherDefault<Hashed>>;

/// A hasher for keys that are hashes already: it returns them unchanged.
#[derive(Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Positions by name, where peers may choose the names, which are not kept. A name has one part or several.
#[derive(Debug, Default)]
pub struct NameIndex {
    key: RandomState,
    positions: HashIndex,
}

impl NameIndex {
    /// The position of a name.
    pub fn get(&self, name: &[&[u8]]) -> Option<usize> {
        self.positions.get(&self.hash(name)).copied()
    }

    /// Sets the position of a name; returns the one before.
    pub fn insert(&mut self, name: &[&[u8]], position: usize) -> Option<usize> {
        self.positions.insert(self.hash(name), position)
    }

    /// Adds a name whose position does not matter; returns whether it is new.
    pub fn add(&mut self, name: &[&[u8]]) -> bool {
        self.insert(name, 0).is_none()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    fn hash(&self, name: &[&[u8]]) -> u64 {
        hash_parts(&self.key, name)
    }
}

/// The hash of a name of several parts: other parts that are the same text together have another one.
#[inline]
pub fn hash_parts(key: &impl BuildHasher, parts: &[&[u8]]) -> u64 {
    let mut hasher = key.build_hasher();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// Values by such names.
#[derive(Debug, Default)]
pub struct NameValues<V> {
    index: NameIndex,
    values: Vec<V>,
}

impl<V> NameValues<V> {
    /// The value of a name.
    pub fn get(&self, name: &[&[u8]]) -> Option<&V> {
        self.values.get(self.index.get(name)?)
    }

    /// Sets the value of a name.
    pub fn set(&mut self, name: &[&[u8]], value: V) {
        match self.index.get(name).and_then(|position| self.values.get_mut(position)) {
            Some(known) => *known = value,
            None => {
                self.index.insert(name, self.values.len());
                self.values.push(value);
            }
        }
    }

    /// How many names have a value.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Numbers that a daemon gives, and no peer chooses.
pub type NumberSet = HashSet<u64, NumberState>;

/// What belongs to such a number.
pub type NumberMap<V> = HashMap<u64, V, NumberState>;

/// What belongs to a name that a configuration gives, and no peer chooses.
pub type NameMap<V> = HashMap<Box<[u8]>, V, NumberState>;

/// Hashes numbers, and names eight bytes at a time, by multiplications with a key: less than half of what SipHash takes.
#[derive(Clone, Copy, Debug)]
pub struct NumberState(u64);

/// The hasher of one number.
#[derive(Clone, Copy, Debug)]
pub struct NumberHasher(u64);

impl Default for NumberState {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for NumberState {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher(self.0)
    }
}

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_ne_bytes(*word)));
        if !rest.is_empty() {
            let mut word = [0; 8];
            word.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, number: u64) {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ number).wrapping_mul(ODD);
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_all_its_parts_in_their_order() {
        let mut index = NameIndex::default();
        let names: [&[&[u8]]; 6] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"abc", b""], &[b"c", b"ab"], &[b"\xff", b""]];
        for (position, name) in names.into_iter().enumerate() {
            assert_eq!((index.get(name), index.insert(name, position)), (None, None), "{name:?}");
        }
        for (position, name) in names.into_iter().enumerate() {
            assert_eq!((index.get(name), index.add(name)), (Some(position), false), "{name:?}");
        }
        assert_eq!((index.len(), index.insert(names[3], 7), index.get(names[3])), (6, Some(0), Some(7)));
    }

    #[test]
    fn a_value_is_the_last_that_was_set() {
        let mut values = NameValues::default();
        for (name, value) in [("a", 1), ("b", 2), ("a", 3)] {
            values.set(&[name.as_bytes()], value);
        }
        assert_eq!((values.get(&[b"a"]), values.get(&[b"b"]), values.get(&[b"c"])), (Some(&3), Some(&2), None));
        assert_eq!(values.len(), 2);
    }

    #[test]
    fn numbers_that_follow_each_other_have_hashes_that_differ_in_all_parts() {
        let state = NumberState::default();
        let hashes: Vec<u64> = (0..4096u64).map(|number| state.hash_one(number)).collect();
        // Hash maps take the upper and the lower bits.
        for part in [|hash: &u64| hash >> 56, |hash: &u64| hash & 0xff] {
            let different: HashSet<u64> = hashes.iter().map(part).collect();
            assert!(different.len() > 200, "{}", different.len());
        }
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 4096);
    }
}
