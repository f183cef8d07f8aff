//! Reads the keys of a section one by one; a key that is left over at the end is unknown.

use std::fmt::Display;
use std::time::Duration;

use super::document::{Node, Value};
use super::error::{ConfigError, shown};

/// A section: a mapping whose keys are read by name.
#[derive(Debug)]
pub struct Section {
    /// Its path, such as `sockets[0]`; empty for the top level of the file.
    path: String,
    line: usize,
    nodes: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

/// The value of a key, with its path and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    path: String,
    line: usize,
}

impl<T> Located<T> {
    /// The line in the file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// An error about this value.
    pub fn error(&self, message: &str) -> ConfigError {
        ConfigError::of(&self.path, self.line, message)
    }

    /// Parses it with `read`, whose error says what is wrong with it.
    pub fn read<U, E: Display>(&self, read: impl FnOnce(&T) -> Result<U, E>) -> Result<U, ConfigError> {
        read(&self.value).map_err(|why| self.error(&why.to_string()))
    }
}

impl Located<String> {
    /// What the written word means, which must be one of these.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let known = words.iter().find(|(word, _)| *word == self.value).map(|(_, meaning)| *meaning);
        known.ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(&format!("{:?} is none of {}", self.value, names.join(", ")))
        })
    }
}

impl Section {
    /// The section at `path`.
    pub(super) fn of(node: Node, path: &str) -> Result<Self, ConfigError> {
        let line = node.line;
        let nodes = match node.value {
            Value::Map(nodes) => nodes,
            _ if node.is_nothing() => Vec::new(),
            _ => return Err(ConfigError::of(path, line, "expected keys with values")),
        };
        Ok(Self { path: path.into(), line, nodes, known: Vec::new() })
    }

    /// Whether no key is left that was not read.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// An error about the section as a whole.
    pub fn error(&self, message: &str) -> ConfigError {
        ConfigError::of(&self.path, self.line, message)
    }

    /// An error about a key that is missing.
    pub fn error_of(&self, key: &str, message: &str) -> ConfigError {
        ConfigError::of(&self.path_of(key), self.line, message)
    }

    /// An error about the value of a key.
    pub fn error_at(&self, key: &str, line: usize, message: &str) -> ConfigError {
        ConfigError::of(&self.path_of(key), line, message)
    }

    /// The line of a key without a value that was not read yet.
    pub fn line_of_nothing(&self, key: &str) -> Option<usize> {
        self.nodes.iter().find(|(name, node)| name == key && node.is_nothing()).map(|(_, node)| node.line)
    }

    /// The line of a key that was not read yet.
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.nodes.iter().find(|(name, _)| name == key).map(|(_, node)| node.line)
    }

    /// The error that a required key is missing.
    pub fn missing(&self, key: &str) -> ConfigError {
        self.error(&format!("missing field `{key}`"))
    }

    /// Checks that a key that restricts access does not have an empty value, which would allow everybody.
    pub fn must_name(&self, key: &str, whom: &str) -> Result<(), ConfigError> {
        let is_empty = |node: &Node| match &node.value {
            Value::List(nodes) => nodes.is_empty(),
            Value::Map(nodes) => nodes.is_empty(),
            _ => node.is_nothing(),
        };
        match self.nodes.iter().find(|(name, node)| name == key && is_empty(node)) {
            Some((_, node)) => Err(ConfigError::of(&self.path_of(key), node.line, &format!("names no {whom}"))),
            None => Ok(()),
        }
    }

    /// A text; numbers are texts too.
    pub fn text(&mut self, key: &'static str) -> Result<Option<Located<String>>, ConfigError> {
        let path = self.path_of(key);
        self.take(key).map(|node| text(node, path)).transpose()
    }

    /// A text whose key has two names, of which only one may be used. An empty text counts as absent, as in the original
    /// exporters.
    pub fn text_of(&mut self, names: [&'static str; 2]) -> Result<Option<Located<String>>, ConfigError> {
        let [key, alias] = names;
        let [found, other] =
            [self.text(key)?, self.text(alias)?].map(|text| text.filter(|text| !text.value.is_empty()));
        if let (Some(one), Some(other)) = (&found, &other) {
            let line = one.line.max(other.line);
            let message = format!("duplicate field `{key}`: it is the same as `{alias}`");
            return Err(ConfigError::of(&self.path, line, &message));
        }
        Ok(found.or(other))
    }

    /// A whole number.
    pub fn number<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        let read = |text: &String| match text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(number),
            None => Err(format!("{text:?} is not a whole number")),
        };
        self.text(key)?.map(|text| text.read(read)).transpose()
    }

    /// A time: whole seconds, or a number with its unit (`90s`, `3m`, `2h`, `1d`).
    pub fn time(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let read =
            |text: &String| time(text).ok_or_else(|| format!("{text:?} is not a time as 180, 90s, 3m, 2h or 1d"));
        self.text(key)?.map(|text| text.read(read)).transpose()
    }

    /// A time as Go writes it (`1s`, `1m30s`, `250ms`), or 0.
    pub fn go_time(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let read = |text: &String| go_time(text).ok_or_else(|| format!("{text:?} is not a time as 250ms, 1s or 1m30s"));
        self.text(key)?.map(|text| text.read(read)).transpose()
    }

    /// `true` or `false`, or one of the words of YAML 1.1 and UCI for these.
    pub fn switch(&mut self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        if let Some(is_on) = self.nodes.iter().find(|(name, _)| name == key).and_then(|(_, node)| node.is_on()) {
            self.take(key);
            return Ok(Some(is_on));
        }
        let read = |word: &String| match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("expected true or false"),
        };
        self.text(key)?.map(|word| word.read(read)).transpose()
    }

    /// A section within this one; empty if it is absent.
    pub fn section(&mut self, key: &'static str) -> Result<Self, ConfigError> {
        let nothing = Node { line: self.line, value: Value::Map(Vec::new()) };
        let path = self.path_of(key);
        Self::of(self.take(key).unwrap_or(nothing), &path)
    }

    /// A section within this one, if it is there.
    pub fn optional(&mut self, key: &'static str) -> Result<Option<Self>, ConfigError> {
        let path = self.path_of(key);
        self.take(key).map(|node| Self::of(node, &path)).transpose()
    }

    /// A list of sections.
    pub fn sections(&mut self, key: &'static str) -> Result<Vec<Self>, ConfigError> {
        let list = self.list(key)?.unwrap_or_default();
        list.into_iter().map(|(path, node)| Self::of(node, &path)).collect()
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &'static str) -> Result<Option<Vec<Located<String>>>, ConfigError> {
        let texts = |list: Vec<(String, Node)>| list.into_iter().map(|(path, node)| text(node, path)).collect();
        self.list(key)?.map(texts).transpose()
    }

    /// Texts with keys that the operator chooses.
    pub fn named(&mut self, key: &'static str) -> Result<Vec<(String, Located<String>)>, ConfigError> {
        let inner = self.section(key)?;
        let path = inner.path;
        let read = |(name, node): (String, Node)| {
            let path = format!("{path}.{}", shown(&name));
            Ok((name, text(node, path)?))
        };
        inner.nodes.into_iter().map(read).collect()
    }

    /// Ends reading: a key that was not read is an error.
    pub fn end(self) -> Result<(), ConfigError> {
        let Some((key, node)) = self.nodes.first() else { return Ok(()) };
        let message = format!("unknown field `{}` (known: {})", shown(key), self.known.join(", "));
        Err(ConfigError::of(&self.path, node.line, &message))
    }

    /// Takes out what is not for us: keys by which an operator gives a name to what is used elsewhere in the file, and those of
    /// the originals that are without effect, as nothing is asked between scrapes and flags say what is logged.
    pub fn drop_extensions(&mut self) {
        self.nodes.retain(|(key, _)| !(key.starts_with("x-") || key == "refresh_interval" || key == "debug"));
    }

    /// The path of a key in error messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Removes and returns the value of a key, if it has one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.nodes.iter().position(|(name, _)| name == key)?;
        Some(self.nodes.remove(at).1).filter(|node| !node.is_nothing())
    }

    /// A list of nodes, each with its path.
    fn list(&mut self, key: &'static str) -> Result<Option<Vec<(String, Node)>>, ConfigError> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let path = self.path_of(key);
        let nodes = match node.value {
            Value::List(nodes) => nodes,
            Value::Word(words) => {
                let one = |word: &str| Node { line: node.line, value: Value::Word(word.into()) };
                words.split_whitespace().map(one).collect()
            }
            _ => return Err(ConfigError::of(&path, node.line, "expected a list")),
        };
        if let Some(empty) = nodes.iter().find(|node| node.is_nothing()) {
            return Err(ConfigError::of(&path, empty.line, "nothing behind the dash"));
        }
        Ok(Some(nodes.into_iter().enumerate().map(|(index, node)| (format!("{path}[{index}]"), node)).collect()))
    }
}

fn text(node: Node, path: String) -> Result<Located<String>, ConfigError> {
    match node.value {
        Value::Plain(value) | Value::Quoted(value) | Value::Word(value) => Ok(Located { value, path, line: node.line }),
        Value::List(_) | Value::Map(_) => Err(ConfigError::of(&path, node.line, "expected a text")),
    }
}

fn go_time(text: &str) -> Option<Duration> {
    let units = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1000)];
    let mut rest = text.strip_prefix('0').filter(|rest| rest.is_empty()).unwrap_or(text);
    let mut total = Some(0_u64).filter(|_| !text.is_empty());
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit())?);
        let (unit, factor) = units.into_iter().find(|(unit, _)| behind.starts_with(unit))?;
        total = number.parse::<u64>().ok()?.checked_mul(factor)?.checked_add(total?);
        rest = behind.strip_prefix(unit)?;
    }
    total.map(Duration::from_millis)
}

fn time(text: &str) -> Option<Duration> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = units.into_iter().find(|(letter, _)| text.ends_with(*letter));
    let (digits, factor) = unit.map_or((text, 1), |(letter, factor)| (text.trim_end_matches(letter), factor));
    // `3ss` has no number before its unit.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && text.len().saturating_sub(digits.len()) < 2;
    let seconds = digits.parse::<u32>().ok().filter(|_| is_number)?.checked_mul(factor)?;
    Some(Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::of(super::super::document::parse(text).expect(text), "").expect(text)
    }

    #[test]
    fn a_switch_is_a_word_of_either_version_of_yaml() {
        for (word, expected) in [
            ("true", Some(true)),
            ("Yes", Some(true)),
            ("on", Some(true)),
            ("'true'", Some(true)),
            ("FALSE", Some(false)),
            ("no", Some(false)),
            ("off", Some(false)),
            ("", None),
            ("~", None),
        ] {
            assert_eq!(section(&format!("a: {word}\n")).switch("a"), Ok(expected), "{word}");
        }
        for word in ["y", "n", "1", "0", "truely", "[true]"] {
            let said = section(&format!("\na: {word}\n")).switch("a").expect_err(word).to_string();
            assert!(said.starts_with("a: expected ") && said.ends_with(" at line 2"), "{said}");
        }
    }

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        for (text, expected) in [
            ("0", Some(0)),
            ("180", Some(180)),
            ("90s", Some(90)),
            ("3m", Some(180)),
            ("2h", Some(7200)),
            ("1d", Some(86_400)),
            ("4294967295", Some(u32::MAX.into())),
            ("4294967296", None),
            ("100000d", None),
            ("m", None),
            ("3mm", None),
            ("3ms", None),
            ("+3", None),
            ("-3", None),
            ("1.5h", None),
            ("3 m", None),
            ("0x10", None),
            ("", None),
        ] {
            assert_eq!(time(text), expected.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_time_of_go_has_numbers_with_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1s", Some(1000)),
            ("250ms", Some(250)),
            ("1m30s", Some(90_000)),
            ("1h0m1s5ms", Some(3_601_005)),
            ("", None),
            ("1", None),
            ("s", None),
            ("1x", None),
            ("1s2", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5s", None),
            ("1 s", None),
            ("18446744073709551615ms", Some(u64::MAX)),
            ("18446744073709551615ms1ms", None),
            ("18446744073709551615s", None),
        ] {
            assert_eq!(go_time(text), expected.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_left_is_named_cut_and_in_its_line() {
        let left = |text: &str| {
            let mut section = section(text);
            let _ = (section.take("a"), section.take("b"));
            section.end().map_err(|error| error.to_string())
        };
        assert_eq!(left("a: 1\nb: 2\n"), Ok(()));
        assert_eq!(left("a: 1\nc: 2\n"), Err("unknown field `c` (known: a, b) at line 2".into()));
        let shadow = "root:$6$salt$secret:20228:0:99999:7::: x\n";
        assert_eq!(left(shadow), Err("unknown field `root…` (known: a, b) at line 1".into()));
        let long = format!("{}: x\n", "k".repeat(1000));
        assert_eq!(left(&long), Err(format!("unknown field `{}…` (known: a, b) at line 1", "k".repeat(40))));
    }

    #[test]
    fn keys_of_the_operators_begin_with_x_and_a_dash() {
        let mut kept = section("x-names: &a b\nxray: 1\nx: 2\n");
        kept.drop_extensions();
        assert!(kept.line_of("x-names").is_none());
        assert_eq!((kept.line_of("xray"), kept.line_of("x")), (Some(2), Some(3)));
    }

    #[test]
    fn who_may_do_something_is_named() {
        for (text, is_named) in [
            ("a:\n", false),
            ("a: []\n", false),
            ("a: {}\n", false),
            ("a: [x]\n", true),
            ("a: {b: c}\n", true),
            ("a: x\n", true),
            ("b:\n", true),
        ] {
            assert_eq!(section(text).must_name("a", "network").is_ok(), is_named, "{text}");
        }
    }

    #[test]
    fn a_dash_with_nothing_behind_it_is_an_error() {
        let found = section("a:\n  - x\n  -\n").texts("a").map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(found, Err("a: nothing behind the dash at line 3".into()));
    }
}
