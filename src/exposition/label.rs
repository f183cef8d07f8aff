//! Label values: escaped for the text format, without terminal control characters, and cut to a maximum length.

use std::fmt::{self, Write as _};

use crate::privacy::Identities;
use crate::text::{LONGEST, Text, clipped, is_disruptive};

/// The writer that a row writes one label's value to; it escapes as the text format demands.
///
/// Characters that would disturb a terminal ([`is_disruptive`]) are replaced, and values longer than
/// [`crate::text::LONGEST`] are cut.
pub struct LabelValue<'w> {
    out: Vec<u8>,
    /// What stands before the current label's value.
    opening: &'static str,
    /// Where in `out` its value begins; 0 while it has none.
    begin: usize,
    identities: &'w Identities,
    flags: RowFlags,
}

/// A label's name as it stands before a value: `,name="`. The macro `name!` makes it in the compiler, so that it is written by
/// one copy and not by three.
#[derive(Clone, Copy, Debug)]
pub struct LabelName(pub(super) &'static str);

impl LabelName {
    /// For the macro `name!`.
    pub const fn of(opening: &'static str) -> Self {
        Self(opening)
    }

    /// The name alone.
    pub const fn name(self) -> &'static str {
        let (_, rest) = self.0.split_at(1);
        rest.split_at(rest.len() - 2).0
    }
}

/// The [`LabelName`] of a name.
macro_rules! name {
    ($name:literal) => {
        $crate::exposition::LabelName::of(concat!(",", $name, "=\""))
    };
}
pub(crate) use name;

/// Labels that the rows of several tables share: they are escaped and joined once (a tenth of a scrape of IKE_SAs).
#[derive(Debug, Default)]
pub struct SharedLabels {
    /// `,name="value"` for each.
    text: Vec<u8>,
    flags: RowFlags,
}

/// The room that shared labels usually take, in bytes.
const USUAL_LABELS: usize = 64;

impl SharedLabels {
    /// Sets the labels, sorted by name.
    pub fn set(&mut self, labels: &[(LabelName, Text<'_>)]) {
        self.write(&Identities::Plain, false, labels);
    }

    /// Sets them to values that tell who a client is; those that are empty are left out.
    pub fn set_identities(&mut self, identities: &Identities, labels: &[(LabelName, Text<'_>)]) {
        self.write(identities, true, labels);
    }

    /// Sets one label, whose value is most often the one that it was last set to.
    pub fn set_usual(&mut self, name: LabelName, text: Text<'_>) {
        let value = self.text.strip_prefix(name.0.as_bytes()).and_then(|rest| rest.strip_suffix(b"\""));
        if !self.flags.is_verbatim || value != Some(text.bytes()) {
            self.set(&[(name, text)]);
        }
    }

    fn write(&mut self, identities: &Identities, are_identities: bool, labels: &[(LabelName, Text<'_>)]) {
        self.text.clear();
        self.text.reserve(USUAL_LABELS);
        let mut out = LabelValue::new(std::mem::take(&mut self.text), identities);
        for (name, text) in labels {
            out.open(*name);
            if are_identities {
                out.some_identity(*text)
            } else {
                out.text(*text)
            }
            out.close();
        }
        (self.text, self.flags) = (out.out, out.flags);
    }
}

/// What became known of a row while its labels were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowFlags {
    pub(super) subject: Subject,
    /// Whether every value was written unchanged, so that different values give different texts.
    pub(super) is_verbatim: bool,
}

impl Default for RowFlags {
    fn default() -> Self {
        Self { subject: Subject::None, is_verbatim: true }
    }
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Not a client.
    None,
    Client,
    /// A client whose name must not be shown: the row is left out.
    Hidden,
}

impl<'w> LabelValue<'w> {
    fn new(out: Vec<u8>, identities: &'w Identities) -> Self {
        Self { out, opening: "", begin: 0, identities, flags: RowFlags::default() }
    }

    /// Begins the next label; one without a value is left out.
    pub(super) fn open(&mut self, name: LabelName) {
        self.opening = name.0;
    }

    /// Ends the label.
    #[inline]
    pub(super) fn close(&mut self) {
        if self.begin > 0 {
            if self.out.len().saturating_sub(self.begin) > LONGEST {
                self.flags.is_verbatim &= !shorten(self.begin, &mut self.out);
            }
            self.out.push(b'"');
            self.begin = 0;
        }
    }

    /// Writes a client's name as the configuration wants it shown; if it must not be shown, the row is left out.
    pub fn identity(&mut self, identity: Text<'_>) {
        self.flags.subject = Subject::Client;
        // No copy needed: every text is escaped and cut anyway.
        if *self.identities == Identities::Plain {
            return self.text(identity);
        }
        self.flags.is_verbatim = false;
        match self.identities.show(identity) {
            Some(name) => self.text(name.as_str().into()),
            None => self.flags.subject = Subject::Hidden,
        }
    }

    /// The same, unless it is empty.
    pub fn some_identity(&mut self, identity: Text<'_>) {
        if !identity.is_empty() {
            self.identity(identity);
        }
    }

    /// Writes a client's name and what follows its last `separator`, which is no part of what tells who the client is.
    pub fn identity_before(&mut self, separator: u8, whole: Text<'_>) {
        // As one text, if nothing is changed in it (4 % of a scrape).
        if *self.identities == Identities::Plain {
            return self.identity(whole);
        }
        let identity = whole.cut_last(separator).map_or(whole, |(identity, _)| identity);
        self.identity(identity);
        self.text(Text::new(whole.bytes().get(identity.bytes().len()..).unwrap_or_default()));
    }

    /// Writes a peer's addresses, separated by `separator`, unless they must not be shown.
    pub fn addresses<'a>(&mut self, addresses: impl IntoIterator<Item = Text<'a>>, separator: &str) {
        if self.identities.shows_addresses() {
            self.joined(addresses, separator);
        }
    }

    /// Writes a text.
    pub fn text(&mut self, text: Text<'_>) {
        self.begin_value();
        self.flags.is_verbatim &= escape(text, &mut self.out);
    }

    /// Writes labels that were written before, in place of one.
    pub fn shared(&mut self, labels: &SharedLabels) {
        let RowFlags { subject, is_verbatim } = labels.flags;
        self.flags.is_verbatim &= is_verbatim;
        if subject != Subject::None && self.flags.subject != Subject::Hidden {
            self.flags.subject = subject;
        }
        self.out.extend_from_slice(&labels.text);
    }

    /// Writes a text, if there is one.
    pub fn maybe(&mut self, text: Option<Text<'_>>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Writes a value by its `Display`.
    pub fn display(&mut self, value: impl fmt::Display) {
        self.begin_value();
        // Writing to a LabelValue can't fail; a failing Display only ends early.
        let _ = write!(self, "{value}");
    }

    /// Writes the label's name before the first piece of its value.
    #[inline]
    fn begin_value(&mut self) {
        if self.begin == 0 {
            self.out.extend_from_slice(self.opening.as_bytes());
            self.begin = self.out.len();
        }
    }

    /// Writes several texts, separated by `separator`.
    pub fn joined<'a>(&mut self, parts: impl IntoIterator<Item = Text<'a>>, separator: &str) {
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                self.text(separator.into());
            }
            self.text(part);
        }
    }
}

impl fmt::Write for LabelValue<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text.into());
        Ok(())
    }
}

/// Writes `{a="x",b="y"}` as `write` gives the labels, or nothing if none has a value.
#[inline]
pub(super) fn write_labels(
    identities: &Identities,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut LabelValue<'_>),
) -> RowFlags {
    let begin = out.len();
    // On the stack: in the heap its length would be read and written for each piece of each label.
    let mut value = LabelValue::new(std::mem::take(out), identities);
    write(&mut value);
    if let Some(first) = value.out.get_mut(begin) {
        *first = b'{';
        value.out.push(b'}');
    }
    *out = value.out;
    value.flags
}

/// A label that a sample must have with this value, in which nothing is to be escaped; with an empty value, that it must not
/// have.
pub type Condition = (&'static str, &'static str);

/// The labels of a sample as they stand in the text: `{name="value",other="value"}`, the values escaped.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a>(pub(super) &'a [u8]);

impl<'a> Labels<'a> {
    /// All of them as they stand there.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value of a label.
    pub fn value(self, name: &str) -> Option<String> {
        let mut value = Vec::new();
        let mut rest = self.escaped(name)?.iter();
        while let Some(byte) = rest.next() {
            value.push(match byte {
                b'\\' => match rest.next()? {
                    b'n' => b'\n',
                    escaped => *escaped,
                },
                byte => *byte,
            });
        }
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Whether a condition holds.
    pub fn fit(self, condition: Option<Condition>) -> bool {
        condition.is_none_or(|(name, value)| self.escaped(name).unwrap_or_default() == value.as_bytes())
    }

    /// The value of a label as it stands in the text.
    pub fn escaped(self, name: &str) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            // Behind the brace or the comma stands the name, then the value in quotes.
            let (label, after) = Text::new(rest.get(1..)?).cut(b'=')?;
            let after = after.bytes().strip_prefix(b"\"")?;
            let mut is_escaped = false;
            let is_end = |byte: &u8| {
                let is_end = *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                is_end
            };
            let end = after.iter().position(is_end)?;
            if label == name {
                return after.get(..end);
            }
            rest = after.get(end.saturating_add(1)..)?;
        }
    }
}

/// Cuts the escaped text at `begin..` if it is too long, but not within an escape sequence; returns whether it did.
fn shorten(begin: usize, out: &mut Vec<u8>) -> bool {
    let written = out.get(begin..).unwrap_or_default();
    let Some((kept, mark)) = clipped(written) else { return false };
    let slashes = written.iter().take(kept).rev().take_while(|byte| **byte == b'\\').count();
    out.truncate(begin.saturating_add(kept).saturating_sub(slashes % 2));
    out.extend_from_slice(mark.as_bytes());
    true
}

/// Writes a text with escapes and replacements; returns whether it was written unchanged.
fn escape(text: Text<'_>, out: &mut Vec<u8>) -> bool {
    let bytes = text.bytes();
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return true;
    }
    replace(bytes, out);
    false
}

/// Writes a text that has what must be escaped or replaced.
#[cold]
#[inline(never)]
fn replace(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        escape_characters(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether a text is printable ASCII without quotes and backslashes, tested eight bytes at a time: this runs for each label
/// of each row.
fn is_plain(bytes: &[u8]) -> bool {
    // The last eight bytes may overlap the eight before, as the last four may overlap the first four.
    if let Some(last) = bytes.last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().fold(odd_bytes(u64::from_ne_bytes(*last)), |odd, word| odd | odd_bytes(u64::from_ne_bytes(*word)))
            == 0
    } else if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        odd_bytes(u64::from(u32::from_ne_bytes(*first)) << 32 | u64::from(u32::from_ne_bytes(*last))) == 0
    } else if let (Some(first), Some(last)) = (bytes.first(), bytes.last()) {
        let middle = bytes.get(1).unwrap_or(first);
        odd_bytes(u64::from_ne_bytes([*first, *middle, *last, b' ', b' ', b' ', b' ', b' '])) == 0
    } else {
        true
    }
}

/// Not 0 if one of eight bytes is not printable ASCII, or is a quote or a backslash.
fn odd_bytes(word: u64) -> u64 {
    const EACH: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = EACH << 7;
    // Exact for "any byte is less than `limit`", as long as no byte is above 127, which is odd as well.
    let less = |word: u64, limit: u64| word.wrapping_sub(EACH.wrapping_mul(limit)) & !word;
    let is = |byte: u8| less(word ^ EACH.wrapping_mul(byte.into()), 1);
    (less(word, b' '.into()) | is(b'"') | is(b'\\') | is(0x7f) | word) & HIGH
}

fn escape_characters(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(br"\\"),
            '"' => out.extend_from_slice(br#"\""#),
            '\n' => out.extend_from_slice(br"\n"),
            '\t' => out.push(b'\t'),
            character if is_disruptive(character) => out.extend_from_slice("\u{fffd}".as_bytes()),
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let expected = (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
            for (length, at) in (1..=20).flat_map(|length| (0..length).map(move |at| (length, at))) {
                for filler in [b' ', b'!', b'~', b'a'] {
                    let mut text = vec![filler; length];
                    text[at] = byte;
                    assert_eq!(is_plain(&text), expected, "{text:?}");
                }
            }
        }
    }

    #[test]
    fn shared_labels_are_the_last_that_were_set() {
        let long = "x".repeat(LONGEST + 1);
        let mut usual = SharedLabels::default();
        for value in ["a", "a", "ab", "", "a\"b", "a\\\"b", "a", "\u{7}", "\u{fffd}", "a", &long, &long, "a"] {
            let mut expected = SharedLabels::default();
            expected.set(&[(name!("label"), value.into())]);
            usual.set_usual(name!("label"), value.into());
            assert_eq!(Text::new(&usual.text), Text::new(&expected.text), "{value}");
            assert_eq!(usual.flags.is_verbatim, expected.flags.is_verbatim, "{value}");
        }
    }

    #[test]
    fn identities_among_shared_labels_are_shown_as_the_operator_wants() {
        let shown = |identities: Identities| {
            let (mut shared, mut out) = (SharedLabels::default(), LabelValue::new(Vec::new(), &Identities::Plain));
            shared.set_identities(&identities, &[(name!("a"), "ann".into()), (name!("b"), "".into())]);
            out.shared(&shared);
            (String::from_utf8(out.out).expect("UTF-8"), out.flags.subject)
        };
        assert_eq!(shown(Identities::Plain), (",a=\"ann\"".into(), Subject::Client));
        let (hashed, subject) = shown(Identities::Hashed(crate::siphash::Key::new([1; 16])));
        assert!(hashed.len() == ",a=\"\"".len() + 16 && subject == Subject::Client, "{hashed}");
        assert_eq!(shown(Identities::Off), (String::new(), Subject::Hidden));
    }

    #[test]
    fn what_follows_a_clients_name_is_shown_as_it_is() {
        let shown = |identities: Identities, whole: &str| {
            let mut out = LabelValue::new(Vec::new(), &identities);
            out.open(name!("client"));
            out.identity_before(b'_', whole.into());
            out.close();
            (String::from_utf8(out.out).expect("UTF-8"), out.flags.subject)
        };
        let key = crate::siphash::Key::new([1; 16]);
        assert_eq!(shown(Identities::Plain, "a_b_udp").0, ",client=\"a_b_udp\"");
        let expected = format!(",client=\"{:016x}_udp\"", key.hash(b"a_b"));
        assert_eq!(shown(Identities::Hashed(key), "a_b_udp"), (expected, Subject::Client));
        assert_eq!(shown(Identities::Off, "a_b_udp").1, Subject::Hidden);
    }

    #[test]
    fn what_a_quoted_value_may_not_hold_is_escaped_or_replaced() {
        let mut line = Vec::new();
        escape(Text::new(b"two\nlines\tand \"quotes\"\x07"), &mut line);
        assert_eq!(String::from_utf8(line), Ok("two\\nlines\tand \\\"quotes\\\"\u{fffd}".to_owned()));
    }

    #[test]
    fn a_label_is_found_by_its_name_and_not_within_a_value() {
        let labels = Labels(b"{a=\",b=\\\"1\\\"\",b=\"x\\\\y\\nz\",cb=\"2\"}");
        assert_eq!(labels.value("a").as_deref(), Some(",b=\"1\""));
        assert_eq!(labels.value("b").as_deref(), Some("x\\y\nz"));
        assert_eq!((labels.value("c"), labels.value("cb").as_deref()), (None, Some("2")));
        assert_eq!(Labels(b"").value("a"), None);
        assert_eq!(Labels(b"{a=\"x").value("a"), None, "a quote is missing");
        assert!(labels.fit(None) && labels.fit(Some(("cb", "2"))) && labels.fit(Some(("c", ""))));
        assert!(!labels.fit(Some(("cb", ""))) && !labels.fit(Some(("c", "2"))));
    }
}
