//! bcrypt: password hashes that are slow to compute, as Prometheus' web configuration has them.
//!
//! Defined by Provos and Mazières, "A Future-Adaptable Password Scheme" (1999); the text form
//! `$2b$<cost>$<salt><sum>` is OpenBSD's. The only file that knows blowfish.

use std::fmt;

use blowfish::Blowfish;

/// The cost of new hashes, as htpasswd and Prometheus' own example have it.
pub const COST: u32 = 10;

/// The costs that are accepted; each one more takes twice the time, and 16 takes seconds on a fast machine.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// The alphabet of the text form; no other base64 has this one.
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    cost: u32,
    salt: [u8; 16],
    sum: [u8; 23],
}

impl Hash {
    /// The hash of a password; only its first 72 bytes count.
    pub fn new(password: &[u8], cost: u32, salt: [u8; 16]) -> Self {
        Self { cost, salt, sum: sum(password, cost, &salt) }
    }

    /// Reads the text form; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "is no bcrypt hash";
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix)).ok_or(wrong)?;
        let (cost, rest) = rest.split_once('$').ok_or(wrong)?;
        let cost = cost.parse().ok().filter(|_| cost.len() == 2).ok_or(wrong)?;
        let (salt, sum) = rest.as_bytes().split_at_checked(22).ok_or(wrong)?;
        if !COSTS.contains(&cost) {
            return Err("is a bcrypt hash with a cost that is not between 4 and 16");
        }
        Ok(Self { cost, salt: decode(salt).ok_or(wrong)?, sum: decode(sum).ok_or(wrong)? })
    }

    /// How much work it is to compute: 2 to the power of this.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it is the hash of this password. Takes as long for every password.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let other = sum(password, self.cost, &self.salt);
        self.sum.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// The text form.
impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "$2b${:02}${}{}", self.cost, encode(&self.salt), encode(&self.sum))
    }
}

/// Shows nothing that could be guessed from.
impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash(cost {})", self.cost)
    }
}

fn sum(password: &[u8], cost: u32, salt: &[u8; 16]) -> [u8; 23] {
    let mut key: Vec<u8> = password.iter().copied().chain([0]).take(72).collect();
    let mut state = Blowfish::bc_init_state();
    state.salted_expand_key(salt, &key);
    for _ in 0..1u32.checked_shl(cost).unwrap_or(0) {
        state.bc_expand_key(&key);
        state.bc_expand_key(salt);
    }
    key.fill(0);
    let mut blocks = [*b"OrpheanB", *b"eholderS", *b"cryDoubt"].map(u64::from_be_bytes);
    for block in &mut blocks {
        for _ in 0..64 {
            let [high, low] = state.bc_encrypt([(*block >> 32) as u32, *block as u32]);
            *block = (u64::from(high) << 32) | u64::from(low);
        }
    }
    let mut sum = [0; 23];
    for (to, from) in sum.iter_mut().zip(blocks.into_iter().flat_map(u64::to_be_bytes)) {
        *to = from;
    }
    sum
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, at| (word << 8) | u32::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..=three.len() {
            let place = (word >> (18 - 6 * digit)) & 63;
            text.extend(ALPHABET.get(place as usize).map(|byte| char::from(*byte)));
        }
    }
    text
}

/// None where it is not that many bytes, or not the alphabet's.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut places = bytes.iter_mut();
    let (mut word, mut bits) = (0u32, 0u32);
    for byte in text {
        let digit = ALPHABET.iter().position(|letter| letter == byte)?;
        word = ((word << 6) | u32::try_from(digit).ok()?) & 0xffff;
        bits = bits.checked_add(6)?;
        if let Some(left) = bits.checked_sub(8) {
            *places.next()? = u8::try_from((word >> left) & 0xff).ok()?;
            bits = left;
        }
    }
    places.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From jBCrypt's test vectors.
    const VECTORS: [(&str, &str); 5] = [
        ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
        ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
        ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
        ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
        ("~!@#$%^&*()      ~!@#$%^&*()PNBFRD", "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO"),
    ];

    #[test]
    fn known_hashes_are_of_their_passwords_only() {
        for (password, text) in VECTORS {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.is_of(password.as_bytes()), "{password:?}");
            assert!(!hash.is_of(format!("{password}x").as_bytes()), "{password:?}");
            assert_eq!(hash.to_string(), text.replacen("$2a", "$2b", 1));
            assert_eq!(Hash::new(password.as_bytes(), 6, hash.salt), hash);
        }
    }

    #[test]
    fn only_the_first_72_bytes_count() {
        let hash = Hash::new(&[b'a'; 100], 4, [7; 16]);
        assert!(hash.is_of(&[b'a'; 72]) && !hash.is_of(&[b'a'; 71]));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let good = VECTORS[1].1;
        for text in [
            "",
            "secret",
            "$2a$",
            "$2a$06$",
            "$1$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            &good[..59],
            &format!("{good}a"),
            &good.replace('C', "ü"),
            &good.replace("$06$", "$6$"),
            &good.replace("$06$", "$-6$"),
        ] {
            assert_eq!(Hash::parse(text), Err("is no bcrypt hash"), "{text}");
        }
        assert!(Hash::parse(&good.replace("$06$", "$31$")).unwrap_err().contains("cost"));
    }
}
