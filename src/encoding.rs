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

/// As many bytes in hex digits, two for each, and nothing else. Their number is even.
pub fn hex_array<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    const { assert!(N.is_multiple_of(2), "four digits are read at a time") };
    let mut bytes = [0; N];
    read_hex(text, &mut bytes).then_some(bytes)
}

/// Fills `bytes` with what hex digits say; whether these are as many and nothing else.
fn read_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    let ((fours, rest), (twos, _)) = (text.as_chunks(), bytes.as_chunks_mut());
    for (two, four) in twos.iter_mut().zip(fours) {
        *two = two_bytes(*four);
    }
    // To look at all of them is several times as fast as to stop at the first that is none.
    let are_digits = text.iter().fold(true, |are, letter| are & letter.is_ascii_hexdigit());
    are_digits && fours.len() == twos.len() && rest.is_empty()
}

/// What four hex digits say: the steps of [`digit`] for all of them at once, then their halves side by side.
fn two_bytes(digits: [u8; 4]) -> [u8; 2] {
    let word = u32::from_le_bytes(digits);
    let halves = (word & 0x0f0f_0f0f).wrapping_add((word >> 6 & 0x0101_0101).wrapping_mul(9));
    let bytes = (halves << 4 | halves >> 8) & 0x00ff_00ff;
    ((bytes >> 8 | bytes) as u16).to_le_bytes()
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
    fn hex_digits_are_as_many_as_asked_for() {
        assert_eq!(hex_array(b"00fFa901"), Some([0, 255, 0xa9, 1]));
        assert_eq!(
            hex_array(b"0123456789abcdefABCDEF98"),
            Some([1, 35, 69, 103, 137, 171, 205, 239, 171, 205, 239, 152])
        );
        for text in ["", "00ffa9", "00ffa90", "00ffa901a", "00ffa901aa", "00ffa901aabb", "00ffg901", "00ffa90/"] {
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
