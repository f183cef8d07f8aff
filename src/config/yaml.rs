//! The part of YAML that configuration files are written in: mappings, lists, texts, and JSON's brackets.
//!
//! What is not read is an error with its line, never a guess: anchors, tags, blocks that begin with `|` or `>`,
//! keys of more than one line, a second document. Format: <https://yaml.org/spec/1.2.2/>; the tests hold the two
//! side by side.

/// How deep lists and mappings may stand in each other; ours need four.
const DEEPEST: usize = 16;

/// Something that was written, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The line of its key, or of itself where it has none.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text without quotes, as it was written: a word, a number, nothing at all.
    Plain(String),
    Quoted(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(String, Node)>),
}

/// What stands before a node in its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Key,
    Dash,
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// How many characters of the line are read.
    column: usize,
    /// The character that was read last.
    last: char,
    depth: usize,
}

impl Node {
    /// Whether there is a key or a dash and nothing behind it, or a word for nothing.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// What a file says; the complaint names the line.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut reader = Reader { rest: &text, line: 1, column: 0, last: '\n', depth: 0 };
    let is_odd = |letter: &char| letter.is_control() && !matches!(letter, '\n' | '\t' | '\u{85}');
    if let Some((before, _)) = text.split_once(|letter| is_odd(&letter)) {
        reader.line = before.split('\n').count();
        return Err(reader.complaint("a control character"));
    }
    reader.skip()?;
    let root = if reader.is_marker("---") {
        reader.pass(3);
        reader.node(0, Before::Key)?
    } else {
        reader.node(0, Before::Nothing)?
    };
    reader.skip()?;
    if reader.is_marker("...") {
        reader.pass(3);
        reader.skip()?;
    }
    match reader.rest {
        "" => Ok(root),
        _ if reader.is_marker("---") => Err(reader.complaint("a second document")),
        _ => Err(reader.unexpected()),
    }
}

impl<'a> Reader<'a> {
    fn complaint(&self, what: &str) -> String {
        format!("{what} at line {}", self.line)
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            None => self.complaint("unexpected end"),
            Some('&' | '*') => self.complaint("anchors and aliases are not read here: unexpected mark"),
            Some('!') => self.complaint("tags are not read here: unexpected mark"),
            Some('|' | '>') => self.complaint("blocks of text are not read here: unexpected mark"),
            Some('\t') => self.complaint("a tab where only spaces may indent"),
            Some(letter) => self.complaint(&format!("unexpected {letter:?}")),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Whether the character after the next is blank, or none.
    fn ends_after(&self) -> bool {
        self.rest.chars().nth(1).is_none_or(is_blank)
    }

    fn next(&mut self) -> Option<char> {
        let mut letters = self.rest.chars();
        let letter = letters.next()?;
        self.rest = letters.as_str();
        self.last = letter;
        self.column = self.column.saturating_add(1);
        if letter == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 0;
        }
        Some(letter)
    }

    fn pass(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    /// Passes blanks and ends of lines; says how many lines ended.
    fn skip_blanks(&mut self) -> usize {
        let line = self.line;
        while self.peek().is_some_and(is_blank) {
            self.next();
        }
        self.line.saturating_sub(line)
    }

    /// Passes what says nothing, comments too.
    fn skip(&mut self) -> Result<(), String> {
        let from = *self;
        self.skip_blanks();
        while self.peek() == Some('#') && is_blank(self.last) {
            while self.peek().is_some_and(|letter| letter != '\n') {
                self.next();
            }
            self.skip_blanks();
        }
        let passed = from.rest.get(..from.rest.len().saturating_sub(self.rest.len())).unwrap_or_default();
        let indent = passed.rsplit('\n').next().unwrap_or_default();
        let begins_line = indent.chars().count() == self.column;
        if begins_line && indent.contains('\t') && !self.rest.is_empty() && !self.rest.starts_with(['}', ']']) {
            return Err(self.complaint("a tab where only spaces may indent"));
        }
        Ok(())
    }

    fn is_marker(&self, marker: &str) -> bool {
        self.column == 0 && self.rest.strip_prefix(marker).is_some_and(|rest| rest.chars().next().is_none_or(is_blank))
    }

    fn is_at_end(&self) -> bool {
        self.rest.is_empty() || self.is_marker("---") || self.is_marker("...")
    }

    fn is_dash(&self) -> bool {
        self.peek() == Some('-') && self.ends_after()
    }

    /// A list or mapping begins.
    fn descend(&mut self) -> Result<(), String> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEEPEST { Err(self.complaint("too deep")) } else { Ok(()) }
    }

    /// What stands behind a key or a dash or alone; in lines of its own, it stands `least` columns in.
    fn node(&mut self, least: usize, before: Before) -> Result<Node, String> {
        let line = self.line;
        self.skip()?;
        let in_own_line = self.line > line || before == Before::Nothing;
        // A list may stand as far left as its key.
        let least = if before == Before::Key && self.is_dash() { least.saturating_sub(1) } else { least };
        if self.is_at_end() || in_own_line && self.column < least {
            return Ok(Node { line, value: Value::Plain(String::new()) });
        }
        let (line, column) = (self.line, self.column);
        let may_be_block = in_own_line || before == Before::Dash;
        let value = match self.peek() {
            Some('-') if may_be_block && self.is_dash() => self.list(column)?,
            _ if may_be_block && self.clone().key()?.is_some() => self.mapping(column)?,
            Some('[' | '{') => self.flow()?,
            Some('"' | '\'') => Value::Quoted(self.quoted()?),
            _ => Value::Plain(self.plain(false, least)?),
        };
        let end = self.line;
        if !matches!(value, Value::List(_) | Value::Map(_)) || !may_be_block {
            let mut after = *self;
            after.skip()?;
            if after.line == end && !after.rest.is_empty() {
                return Err(after.unexpected());
            }
        }
        Ok(Node { line, value })
    }

    /// The list whose dashes stand in this column.
    fn list(&mut self, column: usize) -> Result<Value, String> {
        self.descend()?;
        let mut nodes = Vec::new();
        while self.is_dash() && self.column == column {
            self.next();
            nodes.push(self.node(column.saturating_add(1), Before::Dash)?);
            self.skip()?;
        }
        self.ascend(column, Value::List(nodes))
    }

    /// The mapping whose keys stand in this column.
    fn mapping(&mut self, column: usize) -> Result<Value, String> {
        self.descend()?;
        let mut nodes = Vec::new();
        while self.column == column && !self.is_at_end() && !self.is_dash() {
            let line = self.line;
            let key = self.key()?.ok_or_else(|| self.unexpected())?;
            let node = self.node(column.saturating_add(1), Before::Key)?;
            self.enter(&mut nodes, key, Node { line, ..node })?;
            self.skip()?;
        }
        self.ascend(column, Value::Map(nodes))
    }

    /// A list or mapping of its own lines has ended, in this column.
    fn ascend(&mut self, column: usize, value: Value) -> Result<Value, String> {
        self.depth = self.depth.saturating_sub(1);
        if !self.is_at_end() && self.column > column { Err(self.unexpected()) } else { Ok(value) }
    }

    fn enter(&self, nodes: &mut Vec<(String, Node)>, key: String, node: Node) -> Result<(), String> {
        if nodes.iter().any(|(known, _)| *known == key) {
            return Err(format!("duplicate field `{}` at line {}", key.escape_debug(), node.line));
        }
        nodes.push((key, node));
        Ok(())
    }

    /// The key that stands here with its colon, in one line.
    fn key(&mut self) -> Result<Option<String>, String> {
        let mut ahead = *self;
        let key = match ahead.peek() {
            Some('"' | '\'') => ahead.quoted()?,
            Some(_) if ahead.begins_plain(false) => ahead.plain_line(false).to_owned(),
            _ => return Ok(None),
        };
        while matches!(ahead.peek(), Some(' ' | '\t')) {
            ahead.next();
        }
        if ahead.peek() != Some(':') || !ahead.ends_after() || ahead.line != self.line {
            return Ok(None);
        }
        ahead.next();
        *self = ahead;
        Ok(Some(key))
    }

    /// A list or mapping in brackets.
    fn flow(&mut self) -> Result<Value, String> {
        self.descend()?;
        let (mut list, mut map) = (Vec::new(), Vec::new());
        let is_list = self.next() == Some('[');
        let close = if is_list { ']' } else { '}' };
        self.skip()?;
        while self.peek() != Some(close) {
            if is_list {
                list.push(self.flow_node()?);
            } else {
                let line = self.line;
                let (key, node) = self.flow_entry()?;
                self.enter(&mut map, key, Node { line, ..node })?;
            }
            self.skip()?;
            match self.peek() {
                Some(',') => _ = self.next(),
                Some(letter) if letter == close => {}
                _ => return Err(self.unexpected()),
            }
            self.skip()?;
        }
        self.next();
        self.depth = self.depth.saturating_sub(1);
        Ok(if is_list { Value::List(list) } else { Value::Map(map) })
    }

    fn flow_entry(&mut self) -> Result<(String, Node), String> {
        let nothing = Node { line: self.line, value: Value::Plain(String::new()) };
        let (Value::Plain(key) | Value::Quoted(key)) = self.flow_node()?.value else { return Err(self.unexpected()) };
        self.skip()?;
        if self.peek() != Some(':') {
            return Ok((key, nothing));
        }
        if self.line != nothing.line {
            return Err(self.unexpected());
        }
        self.next();
        self.skip()?;
        let node = if matches!(self.peek(), Some(',' | '}')) { nothing } else { self.flow_node()? };
        Ok((key, node))
    }

    fn flow_node(&mut self) -> Result<Node, String> {
        let line = self.line;
        let value = match self.peek() {
            Some('[' | '{') => self.flow()?,
            Some('"' | '\'') => Value::Quoted(self.quoted()?),
            _ => Value::Plain(self.plain(true, 0)?),
        };
        Ok(Node { line, value })
    }

    fn begins_plain(&self, in_flow: bool) -> bool {
        let is_mark = |letter| in_flow && is_bracket(letter);
        match self.peek() {
            Some('-' | '?' | ':') => !self.rest.chars().nth(1).is_none_or(|letter| is_blank(letter) || is_mark(letter)),
            Some(letter) => !is_bracket(letter) && !"#&*!|>'\"%@`".contains(letter) && !is_blank(letter),
            None => false,
        }
    }

    /// A text without quotes, which goes on in lines that stand `least` columns in.
    fn plain(&mut self, in_flow: bool, least: usize) -> Result<String, String> {
        if !self.begins_plain(in_flow) {
            return Err(self.unexpected());
        }
        let mut text = self.plain_line(in_flow).to_owned();
        while self.peek() == Some('\n') {
            let mut ahead = *self;
            let lines = ahead.skip_blanks();
            let goes_on = if in_flow { ahead.begins_plain(true) } else { ahead.column >= least };
            if !goes_on || ahead.is_at_end() || ahead.peek() == Some('#') {
                break;
            }
            fold(&mut text, lines);
            *self = ahead;
            text.push_str(self.plain_line(in_flow));
        }
        Ok(text)
    }

    /// What of it stands in this line.
    fn plain_line(&mut self, in_flow: bool) -> &'a str {
        let start = self.rest;
        while let Some(letter) = self.peek() {
            let ends = match letter {
                '\n' => true,
                '#' => is_blank(self.last),
                ':' if in_flow => self.rest.chars().nth(1).is_none_or(|letter| is_blank(letter) || is_bracket(letter)),
                ':' => self.ends_after(),
                _ => in_flow && is_bracket(letter),
            };
            if ends {
                break;
            }
            self.next();
        }
        let length = start.len().saturating_sub(self.rest.len());
        start.get(..length).unwrap_or_default().trim_end_matches([' ', '\t'])
    }

    fn quoted(&mut self) -> Result<String, String> {
        let begin = *self;
        let quote = self.next();
        let mut text = String::new();
        // How much of the text stays where a line ends: not the blanks at its end.
        let mut solid = 0;
        while let Some(letter) = self.next() {
            match letter {
                '\n' => {
                    text.truncate(text.trim_end_matches([' ', '\t']).len().max(solid));
                    fold(&mut text, self.skip_blanks().saturating_add(1));
                    solid = text.len();
                }
                '\'' if quote == Some('\'') && self.peek() == Some('\'') => {
                    self.next();
                    text.push('\'');
                }
                '\\' if quote == Some('"') => {
                    self.escape(&mut text)?;
                    solid = text.len();
                }
                _ if Some(letter) == quote => return Ok(text),
                _ => text.push(letter),
            }
        }
        Err(begin.complaint("no end of the text in quotes that begins"))
    }

    /// What stands behind a backslash.
    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let Some(letter) = self.next() else { return Ok(()) };
        text.push(match letter {
            '\n' => {
                text.extend(std::iter::repeat_n('\n', self.skip_blanks()));
                return Ok(());
            }
            '0' => '\0',
            'a' => '\x07',
            'b' => '\x08',
            't' | '\t' => '\t',
            'n' => '\n',
            'v' => '\x0b',
            'f' => '\x0c',
            'r' => '\r',
            'e' => '\x1b',
            ' ' | '"' | '/' | '\\' => letter,
            'N' => '\u{85}',
            '_' => '\u{a0}',
            'L' => '\u{2028}',
            'P' => '\u{2029}',
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            _ => return Err(self.complaint("an unknown escape")),
        });
        Ok(())
    }

    /// The character whose number stands here in so many hexadecimal digits.
    fn code(&mut self, digits: usize) -> Result<char, String> {
        let number = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let letter = number.and_then(|text| u32::from_str_radix(text, 16).ok()).and_then(char::from_u32);
        self.pass(digits);
        letter.ok_or_else(|| self.complaint("an unknown escape"))
    }
}

/// One end of a line is a space in the text; of more, each but the first is one.
fn fold(text: &mut String, lines: usize) {
    match lines {
        1 => text.push(' '),
        _ => text.extend(std::iter::repeat_n('\n', lines.saturating_sub(1))),
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n')
}

fn is_bracket(letter: char) -> bool {
    matches!(letter, ',' | '[' | ']' | '{' | '}')
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_yaml::Value as Other;

    use super::*;

    /// Whether both read the same; a text of ours is what serde_yaml makes a number, a switch or nothing of.
    fn is_same(node: &Node, other: &Other) -> bool {
        match (&node.value, other) {
            (Value::Plain(text), Other::Bool(is)) => text.to_lowercase() == is.to_string(),
            (Value::Plain(text), Other::Number(number)) => {
                let digits = text.trim_start_matches('+');
                let whole = match (digits.strip_prefix("0x"), digits.strip_prefix("0o")) {
                    (Some(digits), _) => i64::from_str_radix(digits, 16).ok(),
                    (_, Some(digits)) => i64::from_str_radix(digits, 8).ok(),
                    _ => digits.parse().ok(),
                };
                let real = digits.replace(".inf", "inf").replace(".nan", "nan").parse::<f64>();
                match whole {
                    Some(whole) => number.as_i64() == Some(whole),
                    None => number.as_f64().map(f64::to_bits) == real.ok().map(f64::to_bits),
                }
            }
            (Value::Plain(_), Other::Null) => node.is_nothing(),
            (Value::Plain(text), Other::String(other)) => text == other && !node.is_nothing(),
            (Value::Quoted(text), Other::String(other)) => text == other,
            (Value::List(list), Other::Sequence(others)) => {
                list.len() == others.len() && list.iter().zip(others).all(|(node, other)| is_same(node, other))
            }
            (Value::Map(map), Other::Mapping(others)) => {
                let key = |text: &str| Node { line: 0, value: Value::Plain(text.into()) };
                let quoted = |text: &str| Node { line: 0, value: Value::Quoted(text.into()) };
                map.len() == others.len()
                    && map.iter().zip(others).all(|((name, node), (other_key, other))| {
                        (is_same(&key(name), other_key) || is_same(&quoted(name), other_key)) && is_same(node, other)
                    })
            }
            _ => false,
        }
    }

    /// How what we read differs from what serde_yaml reads.
    fn difference(text: &str) -> Option<String> {
        match (parse(text), serde_yaml::from_str::<Other>(text)) {
            (Ok(node), Ok(other)) if is_same(&node, &other) => None,
            (Err(_), Err(_)) => None,
            (ours, theirs) => Some(format!("{text:?}\n  we: {ours:?}\n  they: {theirs:?}")),
        }
    }

    fn compare(texts: impl IntoIterator<Item = String>) {
        let found: Vec<String> = texts.into_iter().filter_map(|text| difference(&text)).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// Every YAML file and every piece of YAML in a document below a folder.
    fn configurations(folder: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                if !["target", ".git", "dist"].iter().any(|skipped| path.ends_with(skipped)) {
                    configurations(&path, found);
                }
            } else if [".yaml", ".yml"].iter().any(|end| name.ends_with(end)) {
                found.push((name, fs::read_to_string(path).unwrap()));
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(path).unwrap();
                let pieces = text.split("```yaml\n").skip(1);
                found.extend(pieces.map(|piece| (name.clone(), piece.split("```").next().unwrap().to_owned())));
            }
        }
    }

    #[test]
    fn what_stands_in_the_repository_is_read_as_serde_yaml_does() {
        let mut found = Vec::new();
        configurations(Path::new(env!("CARGO_MANIFEST_DIR")), &mut found);
        assert!(found.len() > 10, "{} configurations", found.len());
        // Prometheus' own files have blocks of text and anchors, which no configuration of ours needs.
        let foreign = [": |\n", ": >-\n", ": &", ": *"];
        let is_ours = |text: &String| !foreign.iter().any(|sign| text.contains(sign));
        compare(found.into_iter().map(|(_, text)| text).filter(is_ours));
    }

    #[test]
    fn tricky_texts_are_read_as_serde_yaml_does() {
        let mut found = Vec::new();
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "null",
            "Null",
            "NULL",
            "nULL",
            "~",
            "",
            "0x10",
            "0o17",
            "017",
            "1e3",
            "+5",
            "-5",
            "5",
            "1.5",
            ".5",
            ".inf",
            "-.inf",
            "0.0",
            "true",
            "True",
            "TRUE",
            "tRUE",
            "false",
            "'12'",
            "\"12\"",
            "'null'",
            "\"a: b\"",
            "'a # b'",
            "a#b",
            "a # b",
            "a:b",
            "http://host:80/x",
            "-x",
            "- x",
            "--",
            "---x",
            "x:",
            "a b  c",
            "'it''s'",
            "'it\\n'",
            "\"tab\\t nl\\n \\x41 \\u00e9 \\U0001F600 \\\\ \\/ \\\"\"",
            "\"\\q\"",
            "\"\\ud83d\"",
            "'open",
            "\"open",
            "[",
            "]",
            "{",
            "}",
            "[]",
            "{}",
            "[a, b]",
            "[a, b,]",
            "[,]",
            "[a b, 'c d', \"e\"]",
            "{a: 1, b: [2, 3]}",
            "{a: 1, b}",
            "{a:1}",
            "{\"a\":1}",
            "{'a':\"b\"}",
            "{a: {b: {c: d}}}",
            "[a:b, c]",
            "%x",
            "@x",
            "`x",
            ",x",
            "#x",
            "'x' y",
            "'x' # y",
            "[a] b",
            "[a] # b",
            "\u{e9}\u{1f600}",
            "a\tb",
            "a \t# b",
            "'\u{1}'",
            "x\u{7f}",
            "a: b: c",
            "- - a",
        ] {
            found.extend([
                format!("key: {text}\n"),
                format!("key: {text}"),
                format!("- {text}\n- last\n"),
                format!("{text}\n"),
                format!("key:\n  {text}\nlast: 1\n"),
                format!("key:\r\n  inner: {text}\r\nlast: 1\r\n"),
                format!("key:\n- inner: {text}\n  other: 2\n- x\nlast: 1\n"),
                format!("key: [{text}]\n"),
                format!("--- # first\nkey: {text} # comment\n...\n"),
            ]);
        }
        compare(found);
    }

    #[test]
    fn shapes_are_read_as_serde_yaml_does() {
        compare(
            [
                "a:\n  - b\n  - c\nd: e\n",
                "a:\n- b\n- c\nd: e\n",
                "a:\n    b:\n      c: d\n    e: f\n",
                "a:\n  b: c\n d: e\n",
                "a: b\n c: d\n",
                "a:\n  - b: 1\n    c: 2\n  -   d: 3\n      e: 4\n",
                "- a\n - b\n",
                "a\nb\n",
                "a: b\nc\n",
                "a: one\n  two\n\n  three\nb: x\n",
                "a: one # x\n  two\n",
                "a: 'one\n  two\n\n\n  three '\n",
                "a: \"one \\\n   two \\\n\n b\"\n",
                "a: \"one  \n  two\\t \n  three\"\n",
                "a: [b,\n  c, # comment\n  d\n]\ne: f\n",
                "a: {b: c,\n  d: e}\n",
                "a:\n\n\n  b: c\n# x\n  d: e\n",
                "\ta: b\n",
                "a:\n\tb: c\n",
                "a:\tb\n",
                "a: b\t\nc: d\n",
                "a: 1\na: 2\n",
                "{a: 1, a: 2}\n",
                "---\na: b\n---\nc: d\n",
                "---\n...\n",
                "--- a\n",
                "--- {a: b}\n",
                "--- a: b\n",
                "a: b\n...\nc: d\n",
                "\u{feff}a: b\n",
                "'a': b\n\"c\": d\n",
                "a : b\n",
                "a:\n  b\n",
                "a:\n  'b'\n",
                "a:\n  [b]\n",
                "a:\nb:\nc: 1\n",
                "-\n  a: b\n-\n- c\n",
                "- - a\n  - b\n- c\n",
                "- a: - b\n",
                "a: - b\n",
                "a:\n  - b\n c: d\n",
                "a: 'b'\n  'c'\n",
                "a: [b]\n  c: d\n",
                "a: b\n  - c\n",
                "a:\n  b: c\n  - d\n",
                "a:\n- b\nc\n",
                "a: \"b\nc\"\n",
                "a: b\n\n\n",
                "   \n  # x\n a: b\n c: d\n",
                "a: [\n]\n",
                "a: {\n}\n",
                "a: [b\n, c]\n",
                "a: [b c\n  d, e]\n",
                "[a, b]\n[c]\n",
                "a:\n    - b\n    -\n        c: d\n",
                "1: 2\n",
                ": b\n",
                "a:: b\n",
                "a: b:\n",
                "a:\n  b:\n",
                "a: #x\n  b\n",
                "a:#x\n",
            ]
            .map(str::to_owned),
        );
    }

    #[test]
    fn what_is_read_otherwise_is_meant() {
        // serde_yaml keeps to YAML 1.1, in which no text in brackets begins with a colon: addresses do.
        for text in ["[:x, ?x]", "[\"http://x:80/\", ::1]", "{a: ::1}"] {
            assert!(parse(text).is_ok() && difference(text).is_some(), "{text}");
        }
        // Keys that are no text, and pairs in lists.
        for text in ["? x\n", "? a\n: b\n", "[a]: b\n", "[<<: x]\n", "[-]"] {
            assert!(parse(text).is_err() && difference(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_not_read_is_named_with_its_line() {
        for (text, complaint) in [
            ("a: 1\nb: &x c\n", "anchors and aliases are not read here: unexpected mark at line 2"),
            ("a: *x\n", "anchors and aliases are not read here: unexpected mark at line 1"),
            ("a: !!str 1\n", "tags are not read here: unexpected mark at line 1"),
            ("a: |\n  b\n", "blocks of text are not read here: unexpected mark at line 1"),
            ("a: 1\n---\nb: 2\n", "a second document at line 2"),
            ("a: 1\na: 2\n", "duplicate field `a` at line 2"),
            ("a:\n\tb: 1\n", "a tab where only spaces may indent at line 2"),
            ("a: 1\nb: \"x\n\n", "no end of the text in quotes that begins at line 2"),
            ("a: \u{1b}[0m\n", "a control character at line 1"),
            ("a: b: c\n", "unexpected ':' at line 1"),
        ] {
            assert_eq!(parse(text).expect_err(text), complaint);
        }
        let deep = "[".repeat(DEEPEST + 1);
        assert_eq!(parse(&deep).expect_err("deep"), "too deep at line 1");
        assert!(parse(&"- ".repeat(100_000)).is_err());
    }

    #[test]
    fn of_broken_text_nothing_else_is_read_than_serde_yaml_does() {
        let whole = [
            "a:\n  - b: 'c'\n    d: \"e\"\n  - f\n",
            "{a: [b, c], 'd': e}\n",
            "a: b\n  c\nd:\n- e # f\n- - g\n",
            "---\na: \"x\\ty\n  z\"\n...\n",
            "a:\n  b:\n    c: 1\n  d: ~\n# e\n",
        ];
        let pieces: Vec<&str> =
            "\n|  |: |- |'|\"|[|]|{|}|,|#| #|\t|a|b:|\n  |\n- |\\|-|:|...\n|---\n|\r\n|~|1".split('|').collect();
        let mut seed = 88_172_645_463_325_252_u64;
        let mut dice = |sides: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % sides
        };
        let mut read = 0;
        for _ in 0..50_000 {
            let mut text = whole[dice(whole.len())].to_owned();
            for _ in 0..=dice(4) {
                let at = dice(text.len());
                match dice(3) {
                    0 => _ = text.remove(at),
                    _ => text.insert_str(at, pieces[dice(pieces.len())]),
                }
            }
            if let (Ok(node), Ok(other)) = (parse(&text), serde_yaml::from_str::<Other>(&text)) {
                assert!(is_same(&node, &other), "{text:?}\n  we: {node:?}\n  they: {other:?}");
                read += 1;
            }
        }
        assert!(read > 5_000, "{read} were read by both");
    }
}
