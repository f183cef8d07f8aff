//! Where in a YAML file a key stands, so that a complaint about its value can name the line.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A complaint that begins with its key (`sockets[1].srcPort: …`), with the line and column of that key's value in
/// `text`, or of the section around it. A key that is not there has none.
pub(super) fn located(text: &str, complaint: String) -> String {
    let path: Vec<&str> = complaint.split(": ").next().unwrap_or_default().split(['.', '[']).collect();
    // The search ends with an error where it has found something, for only errors know where they are.
    let found = Seek { path: &path, is_inside: false }.deserialize(serde_yaml::Deserializer::from_str(text));
    match found.err().and_then(|error| error.location()) {
        Some(place) => format!("{complaint} at line {} column {}", place.line(), place.column()),
        None => complaint,
    }
}

/// What the YAML parser says, in words for people who don't know its types, and always with the line.
pub(super) fn plain(error: &serde_yaml::Error) -> String {
    let mut text = error.to_string();
    for (theirs, ours) in WORDS {
        text = text.replace(theirs, ours);
    }
    match error.location() {
        // Theirs does not say it of the first line.
        Some(place) if !text.contains(" at line ") => {
            format!("{text} at line {} column {}", place.line(), place.column())
        }
        _ => text,
    }
}

/// Their words and ours, each put in its place one after the other.
const WORDS: [(&str, &str); 7] = [
    ("invalid type: sequence", "this is a list"),
    ("invalid type: map", "this is a section"),
    ("invalid type: ", "this is "),
    ("expected a sequence", "expected a list"),
    ("expected usize", "expected a whole number"),
    ("expected u32", "expected a whole number"),
    ("found character that cannot start any token", "a tab, or a sign that must stand in quotes"),
];

/// What is left of the way to the key: names, and indexes as in `1]`.
#[derive(Clone, Copy)]
struct Seek<'p> {
    path: &'p [&'p str],
    is_inside: bool,
}

impl<'p> Seek<'p> {
    /// The next step, and the search behind it.
    fn step(self) -> Option<(&'p str, Self)> {
        let (first, path) = self.path.split_first()?;
        Some((first, Self { path, is_inside: true }))
    }

    /// The end of a section that does not have the key: it stands for it, unless it is the whole file.
    fn end<E: Error>(self) -> Result<(), E> {
        if self.is_inside { Err(E::custom("")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

/// What a visitor does not expect is an error, which is what the value that was looked for shall be.
impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((wanted, next)) = self.step() else { return self.end() };
        while let Some(key) = map.next_key::<String>()? {
            if is_called(&key, wanted) {
                return map.next_value_seed(next);
            }
            map.next_value::<IgnoredAny>()?;
        }
        self.end()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((wanted, next)) = self.step() else { return self.end() };
        let mut index = wanted.strip_suffix(']').and_then(|digits| digits.parse::<usize>().ok());
        while let Some(left) = index {
            index = left.checked_sub(1);
            let found =
                if left == 0 { list.next_element_seed(next)? } else { list.next_element::<IgnoredAny>()?.map(drop) };
            if found.is_none() {
                break;
            }
        }
        self.end()
    }
}

/// Whether a key goes by that name; rules have two names for some.
fn is_called(key: &str, wanted: &str) -> bool {
    let short = wanted.strip_prefix("src").unwrap_or(wanted);
    key == wanted || key.eq_ignore_ascii_case(short) || key.strip_suffix("Name") == Some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_key_is_found() {
        let text = "a: 1\nrules:\n  - {name: x}\n  - name: y\n    port: http\n    processName: z\n\nweb:\n  listen: [\":1\",\n           \":x\"]\n  allow:\n    - b\n";
        for (path, place) in [
            ("a", " at line 1 column 4"),
            ("rules[1].srcPort", " at line 5 column 11"),
            ("rules[1].process", " at line 6 column 18"),
            ("rules[1].name", " at line 4 column 11"),
            ("rules[1].status", " at line 4 column 5"),
            ("rules[0].srcPort", " at line 3 column 5"),
            ("rules[7].name", " at line 3 column 3"),
            ("rules", " at line 3 column 3"),
            ("web.listen[1]", " at line 10 column 12"),
            ("web.allow", " at line 12 column 5"),
            ("web.users.ann", " at line 9 column 3"),
            ("no_such", ""),
            ("", ""),
        ] {
            assert_eq!(located(text, format!("{path}: bad: x")), format!("{path}: bad: x{place}"));
        }
        assert_eq!(located("[", "a: bad".into()).split(" at ").next(), Some("a: bad"));
    }
}
