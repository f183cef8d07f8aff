//! SipHash-2-4: a short keyed hash that nobody without the key can compute or turn back.
//!
//! Defined by Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012). The only file that knows the crate
//! siphasher; the standard library has a weaker variant, whose key can't be chosen.

use std::fmt;

use siphasher::sip::SipHasher24;

/// A secret of 128 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// The key that these bytes are.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The hash of some bytes.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(bytes)
    }
}

/// Shows nothing of the secret.
impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' vectors: key 00 01 … 0f, input 00 01 … of each length.
    #[test]
    fn the_authors_vectors_come_out() {
        let key = Key::new(std::array::from_fn(|at| at as u8));
        let input: Vec<u8> = (0..64).collect();
        for (length, expected) in [
            (0, 0x726f_db47_dd0e_0e31),
            (1, 0x74f8_39c5_93dc_67fd),
            (7, 0xab02_00f5_8b01_d137),
            (8, 0x93f5_f579_9a93_2462),
            (15, 0xa129_ca61_49be_45e5),
            (63, 0x958a_324c_eb06_4572),
        ] {
            assert_eq!(key.hash(&input[..length]), expected, "{length} bytes");
        }
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", Key::new([7; 16])), "Key");
    }
}
