//! A hash map from keyed 64-bit hashes to positions: peers choose the texts that are hashed, but not the key.
//!
//! Collisions of a keyed 64-bit SipHash are not expected to occur, so the texts themselves are not compared.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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
