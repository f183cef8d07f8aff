//! Password hashes that are slow to compute, as Prometheus' web configuration has them.
//!
//! Defined by Provos and Mazières, "A Future-Adaptable Password Scheme" (1999); the text form
//! `$2b$<cost>$<salt><sum>` is OpenBSD's. The only file that knows the crate bcrypt, which computes the sum; what is
//! accepted and what is shown is decided here.

use std::fmt;

use crate::encoding::BCRYPT;

/// The cost of new hashes, as htpasswd and Prometheus' own example have it.
pub const COST: u32 = 10;

/// The costs that are accepted; each one more takes twice the time, and 16 takes seconds on a fast machine.
const COSTS: std::ops::RangeInclusive<u32> = 4..=16;

/// How many bytes of a password are used.
const LONGEST: usize = 72;

/// A password's hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    cost: u32,
    salt: [u8; 16],
    sum: [u8; 23],
}

impl Hash {
    /// The hash of a password; only its first 72 bytes count. A cost outside 4 to 16 becomes the nearest of them.
    pub fn new(password: &[u8], cost: u32, salt: [u8; 16]) -> Self {
        let cost = cost.clamp(*COSTS.start(), *COSTS.end());
        Self { cost, salt, sum: sum(password, cost, salt) }
    }

    /// Reads the text form; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let wrong = "is no bcrypt hash";
        let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix)).ok_or(wrong)?;
        let (cost, rest) = rest.split_once('$').ok_or(wrong)?;
        let is_number = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let cost = cost.parse().ok().filter(|_| is_number).ok_or(wrong)?;
        let (salt, sum) = rest.as_bytes().split_at_checked(22).ok_or(wrong)?;
        if !COSTS.contains(&cost) {
            return Err("is a bcrypt hash with a cost that is not between 4 and 16");
        }
        Ok(Self { cost, salt: BCRYPT.decode_array(salt).ok_or(wrong)?, sum: BCRYPT.decode_array(sum).ok_or(wrong)? })
    }

    /// How much work it is to compute: 2 to the power of this.
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it is the hash of this password. Takes as long for every password.
    pub fn is_of(&self, password: &[u8]) -> bool {
        let other = sum(password, self.cost, self.salt);
        self.sum.iter().zip(other).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// The text form.
impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut salt, mut sum) = ([0; 22], [0; 31]);
        let salt = BCRYPT.encode(&self.salt, &mut salt).ok_or(fmt::Error)?;
        let sum = BCRYPT.encode(&self.sum, &mut sum).ok_or(fmt::Error)?;
        write!(out, "$2b${:02}${salt}{sum}", self.cost)
    }
}

/// Shows nothing that could be guessed from.
impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash(cost {})", self.cost)
    }
}

fn sum(password: &[u8], cost: u32, salt: [u8; 16]) -> [u8; 23] {
    let mut key: Vec<u8> = password.iter().copied().chain([0]).take(LONGEST).collect();
    let [sum @ .., _] = bcrypt::bcrypt(cost, salt, &key);
    key.fill(0);
    sum
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
    }

    #[test]
    fn a_cost_that_takes_too_long_or_no_time_is_refused() {
        let cost = |cost: &str| Hash::parse(&VECTORS[1].1.replace("$06$", cost)).map(|hash| hash.cost());
        for (text, expected) in [
            ("$03$", Err("is a bcrypt hash with a cost that is not between 4 and 16")),
            ("$04$", Ok(4)),
            ("$16$", Ok(16)),
            ("$17$", Err("is a bcrypt hash with a cost that is not between 4 and 16")),
            ("$31$", Err("is a bcrypt hash with a cost that is not between 4 and 16")),
            ("$99$", Err("is a bcrypt hash with a cost that is not between 4 and 16")),
            ("$+6$", Err("is no bcrypt hash")),
        ] {
            assert_eq!(cost(text), expected, "{text}");
        }
        assert_eq!(Hash::new(b"", 0, [0; 16]).cost(), 4, "what is no cost at all can't be asked for");
    }

    #[test]
    fn bits_that_say_nothing_are_passed_over() {
        // The salt's last letter has four of them, the sum's two.
        let good = VECTORS[1].1;
        let (salt, sum) = (good.split_at(28).0, good.split_at(29).1);
        let odd = format!("{salt}{}{}f", "P", &sum[..30]);
        assert_eq!((&good[28..29], &good[59..]), ("O", "e"), "the letters that are replaced by the next ones");
        assert_eq!(Hash::parse(&odd), Hash::parse(good));
    }

    #[test]
    fn nothing_of_a_hash_is_printed_for_debugging() {
        assert_eq!(format!("{:?}", Hash::new(b"secret", 4, [7; 16])), "Hash(cost 4)");
    }
}
