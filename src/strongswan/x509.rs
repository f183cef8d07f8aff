//! X.509 certificates: the few fields that an operator asks for, out of the DER that charon sends.
//!
//! The format is RFC 5280's; names are printed as charon prints them. A certificate is checked as far as its
//! subject's key before anything of it is believed, so a [`Name`] that was parsed prints whole. Nothing is verified:
//! charon has done that.

use std::fmt::{self, Write as _};

use crate::text::Text;

/// The fields of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate<'a> {
    /// The serial number.
    pub serial: Serial<'a>,
    /// Whom it is for.
    pub subject: Name<'a>,
    /// Year, month, day, hour, minute and second in UTC from which it is valid.
    pub not_before: [i64; 6],
    /// Until when it is valid, in the same form.
    pub not_after: [i64; 6],
}

/// A serial number; prints in hexadecimal, two digits for each byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial<'a>(&'a [u8]);

/// A distinguished name; prints as `C=DE, O=Example Works, CN=Root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(Der<'a>);

/// One attribute of a name.
struct Attribute<'a> {
    kind: &'a [u8],
    tag: u8,
    value: &'a [u8],
}

/// What is left of a run of DER elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Der<'a>(&'a [u8]);

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const TELETEX_STRING: u8 = 0x14;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// Attribute types, by the bytes of their object identifiers, and charon's words for them.
const KINDS: [(&[u8], &str); 20] = [
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x04", "SN"),
    (b"\x55\x04\x05", "serialNumber"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x55\x04\x0c", "T"),
    (b"\x55\x04\x0d", "D"),
    (b"\x55\x04\x29", "N"),
    (b"\x55\x04\x2a", "G"),
    (b"\x55\x04\x2b", "I"),
    (b"\x55\x04\x2d", "ID"),
    (b"\x55\x04\x2e", "dnQualifier"),
    (b"\x55\x04\x41", "pseudonym"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "E"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
];

impl<'a> Certificate<'a> {
    /// The view on a certificate; absent where any of it, down to its frame, is not what it should be.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut whole = Der(der);
        let mut parts = whole.inner(SEQUENCE)?;
        whole.end()?;
        let mut signed = parts.inner(SEQUENCE)?;
        parts.inner(SEQUENCE)?;
        parts.take(BIT_STRING)?;
        parts.end()?;
        if signed.next_is(VERSION) {
            signed.take(VERSION)?;
        }
        let serial = Serial::parse(signed.take(INTEGER)?)?;
        signed.inner(SEQUENCE)?;
        Name::parse(signed.inner(SEQUENCE)?)?;
        let mut validity = signed.inner(SEQUENCE)?;
        let (not_before, not_after) = (validity.time()?, validity.time()?);
        validity.end()?;
        let subject = Name::parse(signed.inner(SEQUENCE)?)?;
        signed.inner(SEQUENCE)?;
        Some(Self { serial, subject, not_before, not_after })
    }
}

impl<'a> Serial<'a> {
    /// A leading zero only says that the number is positive, and is no part of it.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes {
            [] => None,
            [0, digits @ ..] if !digits.is_empty() => Some(Self(digits)),
            digits => Some(Self(digits)),
        }
    }
}

impl fmt::Display for Serial<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl<'a> Name<'a> {
    fn parse(der: Der<'a>) -> Option<Self> {
        let mut attributes = Attributes { names: der, together: Der(&[]) };
        while !attributes.is_over() {
            attributes.read().filter(|attribute| attribute.is_valid())?;
        }
        Some(Self(der))
    }

    fn attributes(self) -> impl Iterator<Item = Attribute<'a>> {
        let mut attributes = Attributes { names: self.0, together: Der(&[]) };
        std::iter::from_fn(move || attributes.read())
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, attribute) in self.attributes().enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            attribute.fmt(out)?;
        }
        Ok(())
    }
}

/// The attributes that are left; `together` are those of one relative name.
struct Attributes<'a> {
    names: Der<'a>,
    together: Der<'a>,
}

impl<'a> Attributes<'a> {
    fn is_over(&self) -> bool {
        self.names.is_over() && self.together.is_over()
    }

    fn read(&mut self) -> Option<Attribute<'a>> {
        if self.together.is_over() {
            self.together = self.names.inner(SET)?;
        }
        let mut attribute = self.together.inner(SEQUENCE)?;
        let kind = attribute.take(OBJECT_IDENTIFIER)?;
        let (tag, value) = attribute.any()?;
        attribute.end()?;
        Some(Attribute { kind, tag, value })
    }
}

impl Attribute<'_> {
    fn is_valid(&self) -> bool {
        match self.tag {
            BMP_STRING => self.value.len().is_multiple_of(2),
            UNIVERSAL_STRING => self.value.len().is_multiple_of(4),
            _ => true,
        }
    }
}

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KINDS.iter().find(|(kind, _)| *kind == self.kind) {
            Some((_, word)) => out.write_str(word)?,
            None => identifier(self.kind, out)?,
        }
        out.write_str("=")?;
        match self.tag {
            BMP_STRING => {
                let units = self.value.chunks_exact(2).map(|unit| number(unit) as u16);
                let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
                write_letters(letters, out)
            }
            UNIVERSAL_STRING => {
                let units = self.value.chunks_exact(4).map(number);
                write_letters(units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)), out)
            }
            TELETEX_STRING => write_letters(self.value.iter().map(|byte| char::from(*byte)), out),
            _ => Text::new(self.value).fmt(out),
        }
    }
}

impl<'a> Der<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    fn end(&self) -> Option<()> {
        self.is_over().then_some(())
    }

    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The next element, whatever it is: its tag and its content.
    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            // Four bytes of length are more than any certificate has.
            let (bytes, after) =
                rest.split_at_checked(length & 0x7f).filter(|(bytes, _)| (1..=4).contains(&bytes.len()))?;
            length =
                bytes.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
            rest = after;
        }
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.any().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    fn inner(&mut self, tag: u8) -> Option<Der<'a>> {
        self.take(tag).map(Der)
    }

    /// A moment, in one of the two forms that RFC 5280 allows: `261120132025Z`, `20261120132025Z`.
    fn time(&mut self) -> Option<[i64; 6]> {
        let (tag, text) = self.any()?;
        let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let (century, digits) = match (tag, digits.len()) {
            (GENERALIZED_TIME, 14) => digits.split_at_checked(2)?,
            (UTC_TIME, 12) if digits < b"5".as_slice() => (b"20".as_slice(), digits),
            (UTC_TIME, 12) => (b"19".as_slice(), digits),
            _ => return None,
        };
        let mut pairs = digits.chunks_exact(2).map(pair);
        let year = pair(century)?.checked_mul(100)?.checked_add(pairs.next()??)?;
        let [month, day] = [pairs.next()??, pairs.next()??];
        let [hour, minute, second] = [pairs.next()??, pairs.next()??, pairs.next()??];
        let valid = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
        valid.then_some([year, month, day, hour, minute, second])
    }
}

fn pair(digits: &[u8]) -> Option<i64> {
    Text::new(digits).signed()
}

/// A number of up to four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn write_letters(mut letters: impl Iterator<Item = char>, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    letters.try_for_each(|letter| out.write_char(letter))
}

/// An attribute type that charon has no word for, as it prints one: `55:04:61`.
fn identifier(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        write!(out, "{}{byte:02x}", if index > 0 { ":" } else { "" })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A self-signed RSA certificate: a serial with its highest bit set, and valid beyond 2049.
    const RSA: &[u8] = include_bytes!("../../fixtures/x509/rsa.der");
    /// An EC certificate with every attribute that has a word, one that has none, and two in one RDN.
    const EC: &[u8] = include_bytes!("../../fixtures/x509/ec.der");
    /// One whose name is in UTF-16.
    const BMP: &[u8] = include_bytes!("../../fixtures/x509/bmp.der");

    fn fields(der: &[u8]) -> (String, String, [i64; 6], [i64; 6]) {
        let certificate = Certificate::parse(der).expect("a certificate");
        let Certificate { serial, subject, not_before, not_after } = certificate;
        (serial.to_string(), subject.to_string(), not_before, not_after)
    }

    #[test]
    fn fields_are_those_that_openssl_and_charon_print() {
        let made = [2026, 11, 20, 17, 26, 40];
        let soon = [2027, 11, 20, 17, 26, 40];
        let rsa = ("9f8e7d6c5b4a39281706f5e4d3c2b1a0".into(), "C=DE, O=Example Works, CN=Root".into());
        assert_eq!(fields(RSA), (rsa.0, rsa.1, made, [2126, 10, 27, 17, 26, 40]));
        let subject = "DC=org, UID=7, O=Café, Söhne, OU=Net, OU=Ops, CN=gw, E=a@b.c, 55:04:61=x, SN=sur, G=given, \
                       serialNumber=9, T=t, STREET=s, L=l, ST=st, dnQualifier=q, pseudonym=p, I=i, N=n, D=d";
        assert_eq!(fields(EC), ("80".into(), subject.into(), made, soon));
        assert_eq!(fields(BMP), ("05".into(), "O=Žofie 東京, CN=bmp".into(), made, soon));
    }

    /// The time in a certificate's bytes.
    fn time(tag: u8, text: &str) -> Option<[i64; 6]> {
        let length = u8::try_from(text.len()).expect("short");
        Der(&[&[tag, length], text.as_bytes()].concat()).time()
    }

    #[test]
    fn times_have_the_two_forms_of_the_standard() {
        assert_eq!(time(UTC_TIME, "491231235959Z"), Some([2049, 12, 31, 23, 59, 59]));
        assert_eq!(time(UTC_TIME, "500101000000Z"), Some([1950, 1, 1, 0, 0, 0]));
        assert_eq!(time(GENERALIZED_TIME, "99991231235959Z"), Some([9999, 12, 31, 23, 59, 59]));
        assert_eq!(time(UTC_TIME, "161231235960Z"), Some([2016, 12, 31, 23, 59, 60]), "a leap second");
        assert_eq!(time(UTC_TIME, "490101000000Z"), Some([2049, 1, 1, 0, 0, 0]));
        for (tag, text) in [
            (UTC_TIME, ""),
            (UTC_TIME, "4912312359Z"),
            (UTC_TIME, "491231235959"),
            (UTC_TIME, "491231235959+0100"),
            (UTC_TIME, "20491231235959Z"),
            (UTC_TIME, "491331235959Z"),
            (UTC_TIME, "490031235959Z"),
            (UTC_TIME, "491200235959Z"),
            (UTC_TIME, "491231236059Z"),
            (UTC_TIME, "491231235961Z"),
            (UTC_TIME, "491232235959Z"),
            (UTC_TIME, "491231245959Z"),
            (UTC_TIME, "-91231235959Z"),
            (GENERALIZED_TIME, "491231235959Z"),
            (GENERALIZED_TIME, "20491231235959.5Z"),
            (INTEGER, "491231235959Z"),
        ] {
            assert_eq!(time(tag, text), None, "{text}");
        }
    }

    /// A name of one attribute: a common name.
    fn common_name(tag: u8, value: &[u8]) -> Option<String> {
        let element = |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).expect("short")], body].concat();
        let pair = [element(OBJECT_IDENTIFIER, b"\x55\x04\x03"), element(tag, value)].concat();
        let name = element(SET, &element(SEQUENCE, &pair));
        Name::parse(Der(&name)).map(|name| name.to_string())
    }

    #[test]
    fn every_kind_of_string_prints() {
        for (tag, value, expected) in [
            (0x13, &b"Root"[..], Some("CN=Root")),
            (0x0c, b"", Some("CN=")),
            (0x0c, b"\xff", Some("CN=\u{fffd}")),
            (TELETEX_STRING, b"Caf\xe9", Some("CN=Café")),
            (BMP_STRING, b"\xd8\x3d\xde\x00", Some("CN=\u{1f600}")),
            (BMP_STRING, b"\xd8\x3d", Some("CN=\u{fffd}")),
            (BMP_STRING, b"\0", None),
            (UNIVERSAL_STRING, b"\0\0\0A", Some("CN=A")),
            (UNIVERSAL_STRING, b"\0\x11\0\0", Some("CN=\u{fffd}")),
            (UNIVERSAL_STRING, b"\0\0\0", None),
        ] {
            assert_eq!(common_name(tag, value).as_deref(), expected, "{tag} {value:?}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for der in [
            &b""[..],
            b"\x30",
            b"\x30\x80",
            b"\x30\x81",
            b"\x30\x01",
            b"\x30\x85\0\0\0\0\0",
            b"\x30\x84\xff\xff\xff\xff",
        ] {
            assert_eq!(Certificate::parse(der), None, "{der:?}");
        }
        assert_eq!(Certificate::parse(&[RSA, b"\0"].concat()), None, "something follows");
    }

    #[test]
    fn a_certificate_that_was_cut_is_refused_and_a_flipped_bit_harms_nobody() {
        for der in [RSA, EC, BMP] {
            for end in 0..der.len() {
                assert_eq!(Certificate::parse(&der[..end]), None, "{end}");
            }
            let mut broken = der.to_vec();
            for bit in 0..der.len() * 8 {
                broken[bit / 8] ^= 1 << (bit % 8);
                if let Some(certificate) = Certificate::parse(&broken) {
                    assert!(!certificate.serial.to_string().is_empty());
                    assert!(certificate.subject.to_string().len() <= 4 * der.len());
                }
                broken[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_serial_number_is_its_bytes_without_the_zero_of_its_sign() {
        for (bytes, expected) in [
            (&b"\x01"[..], Some("01")),
            (b"\0\x80", Some("80")),
            (b"\0", Some("00")),
            (b"\0\0\x01", Some("0001")),
            (b"", None),
        ] {
            assert_eq!(Serial::parse(bytes).map(|serial| serial.to_string()).as_deref(), expected, "{bytes:?}");
        }
    }

    /// An element of DER: a tag, a length of one byte, and what is in it.
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        [&[tag, u8::try_from(body.len()).expect("short")], body.as_slice()].concat()
    }

    /// A certificate with nothing in it but what is read, and what is put behind its parts.
    fn smallest(version: bool, behind_name: &[u8], behind_times: &[u8], behind_key: &[u8]) -> Vec<u8> {
        let empty = element(SEQUENCE, &[]);
        let pair = [element(OBJECT_IDENTIFIER, &[b"\x55\x04\x03"]), element(0x13, &[b"gw"])].concat();
        let name = element(SEQUENCE, &[&element(SET, &[&element(SEQUENCE, &[&pair, behind_name])])]);
        let time = element(UTC_TIME, &[b"261120132025Z"]);
        let times = element(SEQUENCE, &[&time, &time, behind_times]);
        let version = if version { element(VERSION, &[&element(INTEGER, &[b"\x02"])]) } else { Vec::new() };
        let serial = element(INTEGER, &[b"\x07"]);
        let signed = element(SEQUENCE, &[&version, &serial, &empty, &empty, &times, &name, &empty]);
        element(SEQUENCE, &[&signed, &empty, &element(BIT_STRING, &[b"\0"]), behind_key])
    }

    #[test]
    fn nothing_may_stand_behind_the_parts_of_a_certificate() {
        let expected = Some(("07".to_owned(), "CN=gw".to_owned()));
        for (der, expected) in [
            (smallest(true, b"", b"", b""), expected.clone()),
            (smallest(false, b"", b"", b""), expected),
            (smallest(true, b"\x05\0", b"", b""), None),
            (smallest(true, b"", b"\x05\0", b""), None),
            (smallest(true, b"", b"", b"\x05\0"), None),
        ] {
            let found = Certificate::parse(&der).map(|found| (found.serial.to_string(), found.subject.to_string()));
            assert_eq!(found, expected, "{der:x?}");
        }
    }

    #[test]
    fn a_length_has_four_bytes_at_most() {
        for (der, expected) in [
            (&b"\x04\x82\0\x01x"[..], Some(&b"x"[..])),
            (b"\x04\x84\0\0\0\x01x", Some(b"x")),
            (b"\x04\x85\0\0\0\0\x01x", None),
            (b"\x04\x80x", None),
        ] {
            assert_eq!(Der(der).take(0x04), expected, "{der:?}");
        }
    }
}
