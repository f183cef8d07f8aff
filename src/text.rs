//! Bytes that a source sent, borrowed, and the few cuts that the parsers need.
//!
//! Peers choose identities and names, so nothing here assumes UTF-8: parsers cut at
//! bytes, and only [`Display`](fmt::Display) replaces what isn't UTF-8.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};

use memchr::{memchr, memchr2, memmem};

use crate::siphash::Key;

/// The longest name that is shown whole, in bytes.
pub const LONGEST: usize = 1024;

/// What follows the beginning of a longer one: an ellipsis, and the hash of the whole in hex.
const MARK: usize = "…".len() + 16;

/// The months as C and HTTP name them.
pub(crate) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A borrowed piece of input that prints as valid UTF-8.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The piece that is all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes as they came.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Without white space at both ends.
    pub fn trim(self) -> Self {
        Self(self.0.trim_ascii())
    }

    /// What follows `prefix`, if the text starts with it.
    pub fn after(self, prefix: &str) -> Option<Self> {
        self.0.strip_prefix(prefix.as_bytes()).map(Self)
    }

    /// What precedes `suffix`, if the text ends with it.
    pub fn before(self, suffix: &str) -> Option<Self> {
        self.0.strip_suffix(suffix.as_bytes()).map(Self)
    }

    /// The parts on both sides of the first `separator`.
    pub fn cut(self, separator: u8) -> Option<(Self, Self)> {
        self.split_around(memchr(separator, self.0)?, 1)
    }

    /// The same in half the instructions where the separator is near: eight bytes at a time.
    pub fn cut_near(self, separator: u8) -> Option<(Self, Self)> {
        let (words, _) = self.0.as_chunks::<8>();
        for (at, word) in (0usize..).step_by(8).zip(words) {
            let found = places(separator, *word);
            if found != 0 {
                return self.split_around(at.wrapping_add(found.trailing_zeros() as usize / 8), 1);
            }
        }
        self.cut(separator)
    }

    /// The parts on both sides of the last `separator`.
    pub fn cut_last(self, separator: u8) -> Option<(Self, Self)> {
        self.split_around(self.0.iter().rposition(|byte| *byte == separator)?, 1)
    }

    /// The parts on both sides of the first `needle`.
    pub fn cut_at(self, needle: &str) -> Option<(Self, Self)> {
        self.split_around(memmem::find(self.0, needle.as_bytes())?, needle.len())
    }

    /// The parts on both sides of the last `needle`.
    pub fn cut_last_at(self, needle: &str) -> Option<(Self, Self)> {
        self.split_around(memmem::rfind(self.0, needle.as_bytes())?, needle.len())
    }

    /// The parts on both sides of the first space or tab; the second has no leading white space.
    pub fn cut_word(self) -> Option<(Self, Self)> {
        let (word, rest) = self.split_around(memchr2(b' ', b'\t', self.0)?, 1)?;
        Some((word, Self(rest.0.trim_ascii_start())))
    }

    /// Whether `needle` occurs anywhere.
    pub fn contains(self, needle: &str) -> bool {
        memmem::find(self.0, needle.as_bytes()).is_some()
    }

    /// A decimal number and nothing else; absent where it does not fit.
    pub fn number(self) -> Option<u64> {
        // 19 digits always fit, and few numbers have more.
        if self.0.len() < 20 {
            let mut sum = 0u64;
            for byte in self.0 {
                sum = sum.wrapping_mul(10).wrapping_add(digit(*byte)?);
            }
            return Some(sum).filter(|_| !self.is_empty());
        }
        self.0.iter().try_fold(0u64, |sum, byte| sum.checked_mul(10)?.checked_add(digit(*byte)?))
    }

    /// The decimal number that the text begins with, and what follows it; absent where there is none, or it does not fit.
    pub fn cut_number(self) -> Option<(u64, Self)> {
        let (mut number, mut rest) = (0u64, self.0);
        while let [byte @ b'0'..=b'9', after @ ..] = rest {
            number = number.wrapping_mul(10).wrapping_add(u64::from(byte & 0xf));
            rest = after;
        }
        let digits = self.0.len().saturating_sub(rest.len());
        // 19 digits always fit, and few numbers have more.
        if digits > 19 {
            let add = |sum: u64, byte: &u8| sum.checked_mul(10)?.checked_add(u64::from(byte & 0xf));
            number = self.0.iter().take(digits).try_fold(0, add)?;
        }
        (digits > 0).then_some((number, Self(rest)))
    }

    /// A decimal number with an optional minus sign and nothing else.
    pub fn signed(self) -> Option<i64> {
        match self.after("-") {
            Some(digits) => 0i64.checked_sub_unsigned(digits.number()?),
            None => i64::try_from(self.number()?).ok(),
        }
    }

    /// An IPv4 or IPv6 address and nothing else.
    pub fn address(self) -> Option<IpAddr> {
        self.dotted().map(IpAddr::V4).or_else(|| std::str::from_utf8(self.0).ok()?.parse().ok())
    }

    /// Whether it is a network with its length, or a range of addresses.
    pub fn is_network_or_range(self) -> bool {
        let is_address = |text: Self| text.trim().address().is_some();
        self.cut(b'/').is_some_and(|(network, length)| is_address(network) && length.trim().number().is_some())
            || self.cut(b'-').is_some_and(|(first, last)| is_address(first) && is_address(last))
    }

    /// An IPv4 address, in half the instructions that the standard library takes; absent where it is none.
    pub fn dotted(self) -> Option<Ipv4Addr> {
        let (mut address, mut octet, mut digits, mut dots) = (0u32, 0u32, 0u32, 0u32);
        for byte in self.0 {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if digit < 10 {
                // No octet but 0 begins with a 0.
                if digits > 0 && octet == 0 {
                    return None;
                }
                octet = octet.wrapping_mul(10).wrapping_add(digit);
                digits = digits.wrapping_add(1);
            } else if *byte == b'.' && digits > 0 {
                address = address << 8 | octet;
                (octet, digits, dots) = (0, 0, dots.wrapping_add(1));
            } else {
                return None;
            }
            if octet > 255 {
                return None;
            }
        }
        (dots == 3 && digits > 0).then(|| (address << 8 | octet).into())
    }

    /// 1 to 12 for a month's name as C prints it: `Jan`, `Feb`, …
    pub fn month(self) -> Option<i64> {
        (1i64..).zip(MONTHS).find_map(|(number, name)| (self == name).then_some(number))
    }

    /// The lines without their ends; `\r\n` ends a line too.
    pub fn lines(self) -> impl Iterator<Item = Text<'a>> + Clone {
        let mut rest = self;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (line, after) = rest.cut(b'\n').unwrap_or((rest, Text::default()));
            rest = after;
            Some(line.before("\r").unwrap_or(line))
        })
    }

    /// The fields between single `separator`s; an empty text is one empty field.
    pub fn fields(self, separator: u8) -> impl Iterator<Item = Text<'a>> + Clone {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let text = rest?;
            let (field, after) = match text.cut(separator) {
                Some((field, after)) => (field, Some(after)),
                None => (text, None),
            };
            rest = after;
            Some(field)
        })
    }

    /// The words between runs of white space.
    pub fn words(self) -> impl Iterator<Item = Text<'a>> + Clone {
        self.0.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(Text)
    }

    fn split_around(self, at: usize, width: usize) -> Option<(Self, Self)> {
        Some((Self(self.0.get(..at)?), Self(self.0.get(at.checked_add(width)?..)?)))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl PartialEq<&str> for Text<'_> {
    // Most keys have another length than the one that they are compared with, which needs no call to be seen.
    #[inline(always)]
    fn eq(&self, other: &&str) -> bool {
        self.0.len() == other.len() && self.0 == other.as_bytes()
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            out.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                out.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", String::from_utf8_lossy(self.0))
    }
}

/// A bit in each byte: times a word of small bytes, their sum is in the highest byte.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The highest bit of each byte of a word that is `wanted`, the first byte's lowest.
pub fn places(wanted: u8, word: [u8; 8]) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let other = u64::from_le_bytes(word) ^ u64::from_ne_bytes([wanted; 8]);
    !((other & LOW).wrapping_add(LOW) | other | LOW)
}

/// How many bytes are `wanted`, eight at a time.
pub fn count(wanted: u8, bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let found: u64 = words.iter().map(|word| (places(wanted, *word) >> 7).wrapping_mul(ONES) >> 56).sum();
    rest.iter().filter(|byte| **byte == wanted).count().saturating_add(usize::try_from(found).unwrap_or(usize::MAX))
}

fn digit(byte: u8) -> Option<u64> {
    Some(u64::from(byte).wrapping_sub(u64::from(b'0'))).filter(|digit| *digit < 10)
}

/// A name of at most [`LONGEST`] bytes: a longer one ends in `…` and 16 hex digits, which are others
/// for every name.
pub fn clip(name: Cow<'_, str>) -> Cow<'_, str> {
    match clipped(name.as_bytes()) {
        None => name,
        Some((kept, mark)) => format!("{}{mark}", name.get(..kept).unwrap_or_default()).into(),
    }
}

/// How many bytes of a name stay, and what is put behind them; none where it is short enough.
/// What stays ends with a character.
pub fn clipped(name: &[u8]) -> Option<(usize, String)> {
    if name.len() <= LONGEST {
        return None;
    }
    let is_inside = |at: &usize| name.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let kept = (0..=LONGEST.saturating_sub(MARK)).rev().find(|at| !is_inside(at)).unwrap_or(0);
    Some((kept, format!("…{:016x}", Key::new([0; 16]).hash(name))))
}

/// Writes a value by its `Display`.
pub fn push_display(value: impl fmt::Display, out: &mut Vec<u8>) {
    struct Bytes<'a>(&'a mut Vec<u8>);
    impl fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Writing to memory can't fail; a failing Display only ends early.
    let _ = write!(Bytes(out), "{value}");
}

/// Writes a decimal number behind a text, in a quarter of the instructions that `write!` takes.
pub fn push_number(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// The text with U+FFFD for every character that would move, hide or reorder what stands beside it.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|character| if is_disruptive(character) { char::REPLACEMENT_CHARACTER } else { character })
        .collect()
}

/// Whether a character moves, hides or reorders what stands beside it, on a terminal or on a page:
/// controls, and the marks of bidirectional text.
pub fn is_disruptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_or_absent() {
        assert_eq!(Text::from("18446744073709551615").number(), Some(u64::MAX));
        for text in ["", "18446744073709551616", "-1", "+1", " 1", "1 ", "0x1"] {
            assert_eq!(Text::from(text).number(), None, "{text:?}");
        }
        assert_eq!(Text::from("-9223372036854775808").signed(), Some(i64::MIN));
        assert_eq!(Text::from("--1").signed(), None);
    }

    #[test]
    fn lines_end_with_or_without_a_newline() {
        let lines = |text| Text::from(text).lines().map(|line| line.to_string()).collect::<Vec<_>>();
        assert_eq!(lines("a\r\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("a\n"), ["a"]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn fields_keep_empty_ones() {
        let fields: Vec<_> = Text::from(",a,,").fields(b',').map(|field| field.to_string()).collect();
        assert_eq!(fields, ["", "a", "", ""]);
    }

    #[test]
    fn a_long_name_is_cut_and_stays_different_from_others() {
        let short = "ü".repeat(LONGEST / 2);
        assert_eq!(clip(short.as_str().into()), short);
        let (one, other) = (clip(format!("{short}a").into()), clip(format!("{short}b").into()));
        assert!(one.len() <= LONGEST && one.len() > LONGEST - 4, "{}", one.len());
        assert!(one.starts_with("üüü") && one[one.len() - 16..].bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert_ne!(one, other);
        assert_eq!(clip(one.clone()), one);
    }

    #[test]
    fn what_would_disturb_its_neighbours_is_replaced() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}b\u{9b}\r\nü"), "a\u{fffd}[2J\u{fffd}b\u{fffd}\u{fffd}\u{fffd}ü");
    }

    #[test]
    fn a_cut_is_at_the_first_or_the_last() {
        let text = Text::from("a, b, c");
        assert_eq!(text.cut_at(", "), Some(("a".into(), "b, c".into())));
        assert_eq!(text.cut_last_at(", "), Some(("a, b".into(), "c".into())));
        assert_eq!(text.cut_last_at("; "), None);
    }

    #[test]
    fn what_is_not_utf8_is_replaced_when_printed() {
        assert_eq!(Text::new(b"a\xffb\xe2\x82").to_string(), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn what_moves_or_hides_its_neighbours_is_disruptive_and_they_are_not() {
        for (first, last) in [
            ('\0', '\u{1f}'),
            ('\u{7f}', '\u{9f}'),
            ('\u{61c}', '\u{61c}'),
            ('\u{200e}', '\u{200f}'),
            ('\u{202a}', '\u{202e}'),
            ('\u{2066}', '\u{2069}'),
        ] {
            assert!((first..=last).all(is_disruptive), "{first:?} to {last:?}");
            let beside = [u32::from(first).checked_sub(1), u32::from(last).checked_add(1)];
            let beside = beside.into_iter().flatten().filter_map(char::from_u32);
            assert!(!beside.into_iter().any(is_disruptive), "beside {first:?} to {last:?}");
        }
    }

    #[test]
    fn numbers_are_taken_to_their_bounds() {
        for (text, number, signed) in [
            ("", None, None),
            ("-", None, None),
            ("0", Some(0), Some(0)),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs()), Some(i64::MAX)),
            ("9223372036854775808", Some(1 << 63), None),
            ("-9223372036854775808", None, Some(i64::MIN)),
            ("-9223372036854775809", None, None),
            ("18446744073709551615", Some(u64::MAX), None),
            ("18446744073709551616", None, None),
            ("99999999999999999999", None, None),
            ("000000000000000000000000000001", Some(1), Some(1)),
            ("1 ", None, None),
            ("+1", None, None),
        ] {
            assert_eq!((Text::from(text).number(), Text::from(text).signed()), (number, signed), "{text}");
        }
    }

    #[test]
    fn a_cut_near_the_beginning_is_the_same_wherever_it_is() {
        for length in 0..20 {
            for at in 0..=length {
                let mut text = vec![b'x'; length];
                text.splice(at..at, *b"=").for_each(drop);
                text.extend(*b"=y");
                let text = Text::new(&text);
                assert_eq!(text.cut_near(b'='), text.cut(b'='), "{text}");
                assert_eq!(text.cut_near(b'-'), None);
            }
        }
    }

    #[test]
    fn an_ipv4_address_is_what_the_standard_library_takes_for_one() {
        for text in [
            "0.0.0.0",
            "255.255.255.255",
            "192.0.2.1",
            "10.0.0.100",
            "256.0.0.1",
            "1.2.3",
            "1.2.3.",
            ".1.2.3",
            "1..2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.04",
            "1.2.3.4 ",
            "1.2.3.x",
            "1.2.3.-4",
            "",
            ".",
            "1",
            "1.2.3.1000",
            "...",
        ] {
            let expected = text.parse::<Ipv4Addr>().ok();
            assert_eq!(Text::from(text).dotted(), expected, "{text}");
            assert_eq!(Text::from(text).address(), expected.map(IpAddr::V4), "{text}");
        }
        assert_eq!(Text::from("2001:db8::1").address(), "2001:db8::1".parse().ok());
        assert_eq!(Text::new(b"1.2.3.\xff").address(), None);
    }

    #[test]
    fn a_name_of_1024_bytes_is_whole_and_a_longer_one_is_cut_between_characters() {
        assert_eq!(clipped("x".repeat(1024).as_bytes()), None);
        for (name, kept) in
            [("x".repeat(1025), 1005), ("é".repeat(600), 1004), ("a".to_owned() + &"é".repeat(600), 1005)]
        {
            let (found, mark) = clipped(name.as_bytes()).expect("it is cut");
            assert_eq!((found, mark.len(), name.is_char_boundary(found)), (kept, 19, true));
        }
    }
}
