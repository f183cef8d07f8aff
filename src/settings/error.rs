//! What is wrong with a configuration: which key, in which line, and why.

use std::fmt;

/// How many characters of an unknown key are shown: the file may be something else than a configuration.
const LONGEST_KEY: usize = 40;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The path of the key, such as `sockets[1].srcPort`; empty if the error is about the file.
    pub path: String,
    /// The line in the file, from 1; absent if the error is about several keys together.
    pub line: Option<usize>,
    /// What is wrong, in words.
    pub message: String,
}

impl ConfigError {
    /// An error in a line, independent of a key.
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { path: String::new(), line: Some(line), message: message.into() }
    }

    /// An error about a key.
    pub fn of(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::at(line, message) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)?;
        self.line.map_or(Ok(()), |line| write!(out, " at line {line}"))
    }
}

/// A word of a file as it is shown: up to the first character that no key of ours has, and not more of it than is
/// needed to find it.
pub(super) fn shown(word: &str) -> String {
    let fits = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    let mut text: String = word.chars().take_while(fits).take(LONGEST_KEY).collect();
    if text.len() < word.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_another_file_is_not_shown_whole() {
        for (word, expected) in [
            ("vici_sockets", "vici_sockets"),
            ("x-a.b", "x-a.b"),
            ("", ""),
            ("root:$6$salt$secret:20228:0:99999:7::", "root…"),
            ("a\u{1b}[2J", "a…"),
            ("ü", "…"),
            (&"a".repeat(40), &"a".repeat(40)),
            (&"a".repeat(41), &("a".repeat(40) + "…")),
        ] {
            assert_eq!(shown(word), expected);
        }
    }

    #[test]
    fn it_says_where_as_far_as_it_is_known() {
        assert_eq!(
            ConfigError::of("web.allow", 3, "names no network").to_string(),
            "web.allow: names no network at line 3"
        );
        assert_eq!(ConfigError::at(3, "too deep").to_string(), "too deep at line 3");
        let several = ConfigError { line: None, ..ConfigError::of("web", 1, "half") };
        assert_eq!(several.to_string(), "web: half");
    }
}
