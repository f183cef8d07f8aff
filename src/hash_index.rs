//! Positions by a hash that is keyed already: peers choose the texts that are hashed, but not the key.
//!
//! With 64 bits of SipHash two texts with the same hash do not occur, so that the texts themselves are not compared.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Positions by hashes.
pub type HashIndex = HashMap<u64, usize, BuildHasherDefault<Hashed>>;

/// Takes a number that is a hash already as it is.
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
