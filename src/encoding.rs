//! Bytes as text: base64 and hex digits. The only file that knows the crate base64.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode::Indifferent;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, PAD};

/// One way to write base64.
pub struct Base64(GeneralPurpose);

/// RFC 4648 with its padding, and no other text for the same bytes.
pub static STANDARD: Base64 = Base64(GeneralPurpose::new(&alphabet::STANDARD, PAD));

/// RFC 4648, read with or without padding, as HTTP clients write credentials.
pub static LENIENT: Base64 = Base64(GeneralPurpose::new(
    &alphabet::STANDARD,
    PAD.with_decode_padding_mode(Indifferent).with_decode_allow_trailing_bits(true),
));

/// The text form of bcrypt. Some programs leave bits in its last letter that say nothing; Prometheus takes those, too.
pub static BCRYPT: Base64 =
    Base64(GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true)));

impl Base64 {
    /// The bytes that a text stands for; absent where it is not of this alphabet.
    pub fn decode(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = vec![0; text.len()];
        let length = self.0.decode_slice(text, &mut bytes).ok()?;
        bytes.truncate(length);
        Some(bytes)
    }

    /// The same where it must be as many bytes, without a copy elsewhere in memory.
    pub fn decode_array<const N: usize>(&self, text: &[u8]) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let length = self.0.decode_slice(text, &mut bytes).ok()?;
        (length == N).then_some(bytes)
    }

    /// The text of some bytes in a room that is large enough for it; absent where it is not.
    pub fn encode<'t>(&self, bytes: &[u8], room: &'t mut [u8]) -> Option<&'t str> {
        std::str::from_utf8(self.encode_bytes(bytes, room)?).ok()
    }

    /// The same, not checked to be UTF-8.
    pub fn encode_bytes<'t>(&self, bytes: &[u8], room: &'t mut [u8]) -> Option<&'t [u8]> {
        let length = self.0.encode_slice(bytes, room).ok()?;
        room.get(..length)
    }
}

/// The value of a hex digit.
pub fn hex_digit(letter: u8) -> Option<u8> {
    letter.is_ascii_hexdigit().then_some(digit(letter))
}

/// As many bytes in hex digits, two for each, and nothing else. Their number is a multiple of four.
pub fn hex_array<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(4), "eight digits are read at a time") };
    let mut bytes = [0; N];
    read_hex(text, &mut bytes).then_some(bytes)
}

/// Fills `bytes` with what hex digits say; whether these are as many and nothing else.
fn read_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    let ((eights, rest), (fours, _)) = (text.as_chunks(), bytes.as_chunks_mut());
    for (four, eight) in fours.iter_mut().zip(eights) {
        *four = four_bytes(*eight);
    }
    // To look at all of them is several times as fast as to stop at the first that is none.
    let are_digits = text.iter().fold(true, |are, letter| are & letter.is_ascii_hexdigit());
    are_digits && eights.len() == fours.len() && rest.is_empty()
}

/// What eight hex digits say: the steps of [`digit`] for all of them at once, then their halves side by side.
fn four_bytes(digits: [u8; 8]) -> [u8; 4] {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(digits);
    let halves = (word & ONES.wrapping_mul(0xf)).wrapping_add((word >> 6 & ONES).wrapping_mul(9));
    let bytes = (halves << 4 | halves >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes >> 8 | bytes) & 0x0000_ffff_0000_ffff;
    ((pairs >> 16 | pairs) as u32).to_le_bytes()
}

/// What `wg` writes for a key: 32 bytes in base64 as RFC 4648 has it, in less than half of the instructions that a table of
/// letters takes.
pub fn base64_of_32(bytes: &[u8; 32]) -> [u8; 44] {
    let (mut padded, mut letters) = ([0; 36], [0; 48]);
    padded.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
    for (eight, six) in letters.as_chunks_mut().0.iter_mut().zip(padded.as_chunks().0) {
        *eight = eight_sextets(*six);
    }
    letters.iter_mut().for_each(|letter| *letter = base64_letter(*letter));
    let mut text = [b'='; 44];
    text.iter_mut().zip(letters).take(43).for_each(|(to, letter)| *to = letter);
    text
}

/// Eight times six bits, each in a byte.
fn eight_sextets([a, b, c, d, e, f]: [u8; 6]) -> [u8; 8] {
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    let halves = (word & 0xffff_ff00_0000) << 8 | word & 0xff_ffff;
    let quarters = (halves & 0x00ff_f000_00ff_f000) << 4 | halves & 0x0000_0fff_0000_0fff;
    ((quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2 | quarters & 0x003f_003f_003f_003f).to_be_bytes()
}

/// The letter for six bits: each step is for the bits from there on.
fn base64_letter(bits: u8) -> u8 {
    let step = |from: u8, step: u8| if bits >= from { step } else { 0 };
    let letter =
        b'A'.wrapping_add(bits).wrapping_add(step(26, b'a' - b'Z' - 1)).wrapping_sub(step(52, b'z' - b'0' + 1));
    letter.wrapping_sub(step(62, b'9' - b'+' + 1)).wrapping_add(step(63, b'/' - b'+' - 1))
}

/// The value of what is known to be a hex digit: letters have the bit 64, and the lower four bits of `a` are 1.
const fn digit(letter: u8) -> u8 {
    (letter & 0xf).wrapping_add((letter >> 6).wrapping_mul(9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_its_user_writes_it() {
        // RFC 4648, section 10.
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob")] {
            assert_eq!(STANDARD.decode(text.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{text}");
            assert_eq!(STANDARD.encode(bytes.as_bytes(), &mut [0; 8]), Some(text));
            let bare = text.trim_end_matches('=');
            assert_eq!(LENIENT.decode(bare.as_bytes()).as_deref(), Some(bytes.as_bytes()), "{bare}");
            assert_eq!(STANDARD.decode(bare.as_bytes()).is_some(), bare == text, "{bare}");
        }
        for (text, expected) in [("Zh==", None), ("Zm9v!", None), ("Z", None), ("=", None)] {
            assert_eq!(STANDARD.decode(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(LENIENT.decode(b"Zh==").as_deref(), Some(b"f".as_slice()), "bits that say nothing");
        assert_eq!(STANDARD.decode_array(b"Zm9v"), Some(*b"foo"));
        assert_eq!(STANDARD.decode_array::<2>(b"Zm9v"), None);
        assert_eq!(STANDARD.decode_array::<4>(b"Zm9v"), None);
        assert_eq!(STANDARD.encode(b"foo", &mut [0; 3]), None);
    }

    #[test]
    fn the_base64_of_a_key_is_the_base64_of_its_bytes() {
        for first in 0..=u8::MAX {
            let bytes: [u8; 32] = std::array::from_fn(|at| first.wrapping_mul(7).wrapping_add((at * at) as u8));
            let (text, mut room) = (base64_of_32(&bytes), [0; 44]);
            assert_eq!(STANDARD.encode_bytes(&bytes, &mut room), Some(&text[..]), "{bytes:?}");
        }
    }

    #[test]
    fn hex_digits_are_as_many_as_asked_for() {
        assert_eq!(hex_array(b"00fFa901"), Some([0, 255, 0xa9, 1]));
        assert_eq!(
            hex_array(b"0123456789abcdefABCDEF98"),
            Some([1, 35, 69, 103, 137, 171, 205, 239, 171, 205, 239, 152])
        );
        for text in ["", "00ffa9", "00ffa90", "00ffa901a", "00ffa901aa", "00ffa901aabbccdd", "00ffg901", "00ffa90/"] {
            assert_eq!(hex_array::<4>(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn bits_of_the_last_letter_that_say_nothing_are_refused_by_the_standard_only() {
        for (text, standard, lenient) in
            [("AA==", true, true), ("AB==", false, true), ("AA", false, true), ("AB", false, true)]
        {
            let found = [&STANDARD, &LENIENT].map(|base64| base64.decode(text.as_bytes()));
            assert_eq!(found, [standard, lenient].map(|is| is.then(|| vec![0])), "{text}");
        }
        assert_eq!([b"..", b"./"].map(|text| BCRYPT.decode(text)), [Some(vec![0]), Some(vec![0])]);
        assert_eq!(STANDARD.decode_array::<2>(b"AAAA"), None, "three bytes are not two");
        assert_eq!(STANDARD.decode_array::<3>(b"AAE="), None, "and two are not three");
    }
}
