//! Errors in a configuration: the key, the line and the reason.

use std::fmt;

/// The most characters of an unknown key that are shown: the file may not be a configuration at all.
const LONGEST_KEY: usize = 40;

/// Why a configuration is refused: the path of the key, such as `sockets[1].srcPort`, the reason, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Box<str>);

impl ConfigError {
    /// An error in a line (counted from 1) that is not about a key.
    pub(super) fn at(line: usize, message: &str) -> Self {
        Self(format!("{message} at line {line}").into())
    }

    /// An error about a key; `path` is empty for the file itself.
    pub fn of(path: &str, line: usize, message: &str) -> Self {
        if path.is_empty() { Self::at(line, message) } else { Self(format!("{path}: {message} at line {line}").into()) }
    }

    /// An error without a line, such as one about several keys together.
    pub fn without_line(path: &str, message: &str) -> Self {
        Self(format!("{path}: {message}").into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A word of a file for an error message: up to the first character that no known key contains, and at most
/// [`LONGEST_KEY`] characters.
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
        assert_eq!(ConfigError::of("", 3, "too deep").to_string(), "too deep at line 3");
        assert_eq!(ConfigError::without_line("web", "half").to_string(), "web: half");
    }
}
