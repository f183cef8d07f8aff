//! Parses YAML into a tree of texts, lists and mappings with their lines, within limits. Pure.
//!
//! The only file that uses saphyr-parser, which parses YAML 1.2 (<https://yaml.org/spec/1.2.2/>) into events. Aliases and
//! merge keys (`<<`) are expanded here. Ambiguous input is an error with its line: a second document, a duplicate key, a tag
//! other than those of texts, lists and mappings.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::error::ConfigError;
use crate::hash_index::NameIndex;

/// The deepest nesting of lists and mappings, with aliases expanded; a configuration needs four levels.
const DEEPEST: usize = 16;

/// The most characters that can begin a node. The parser keeps all nodes between a pair of brackets in memory, a
/// hundred bytes for each, before it reports the first of them.
const MOST_MARKS: usize = 100_000;

/// About how many bytes of memory a tree may take: without a limit, aliases of aliases could use up all memory.
const LARGEST: usize = 16 * 1024 * 1024;

/// The most bytes that are parsed in total: the text is parsed again for each line that is changed by [`lenient`].
const MOST_READ: usize = 64 * 1024 * 1024;

/// Deeper than any line is indented.
const INDENT: &str = "                                                                ";

/// The memory of a node in addition to its text, in bytes.
const NODE: usize = 64;

/// The key for merging another mapping: <https://yaml.org/type/merge.html>.
const MERGE: [char; 2] = ['<', '<'];

/// A value and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The line of its key, or its own if it has none.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A text without quotes, as written: a word, a number, or empty.
    Plain(String),
    /// A text in quotes, in a block, or with the tag of texts.
    Quoted(String),
    /// A value of UCI, which can also be read as a list of words.
    Word(String),
    List(Vec<Node>),
    /// In the order of the file; no key twice.
    Map(Vec<(String, Node)>),
}

/// A node with its height and size, which are limited.
#[derive(Clone)]
struct Sized {
    node: Node,
    /// How deep lists and mappings are nested in it.
    height: usize,
    size: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    line: usize,
    anchor: usize,
    height: usize,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        names: NameIndex,
        /// The key whose value comes next.
        key: Option<Key>,
        /// What merge keys take over.
        merged: Vec<Node>,
    },
}

struct Key {
    name: String,
    line: usize,
    is_merge: bool,
}

/// Builds the tree from events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    /// The nodes with an anchor, by the parser's numbers, which begin at 1.
    anchors: Vec<Option<Sized>>,
    /// The size of the tree and the anchors so far.
    size: usize,
    documents: usize,
}

impl Node {
    /// Whether the value is empty or null.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// Parses a file; an empty file is an empty text.
pub(super) fn parse(text: &str) -> Result<Node, ConfigError> {
    let text = text.trim_start_matches('\u{feff}');
    check(text)?;
    let (mut text, mut read) = (Cow::Borrowed(text), 0usize);
    loop {
        read = read.saturating_add(text.len());
        let error = match tree(&text) {
            Ok(tree) => return tree,
            Err(error) => error,
        };
        text = match lenient(&text, &error).filter(|_| read < MOST_READ) {
            Some(text) => text.into(),
            None => return Err(malformed(&text, &error)),
        };
    }
}

/// Parses a text into a tree. The outer error is the parser's, the inner one ours, such as an exceeded limit.
fn tree(text: &str) -> Result<Result<Node, ConfigError>, ScanError> {
    let (mut builder, last) = (Builder::default(), last_line(text));
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event?;
        if let Err(error) = builder.take(event, span.start.line().min(last)) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Plain(String::new()) })))
}

fn last_line(text: &str) -> usize {
    text.lines().count().max(1)
}

/// Changes a line that this parser rejects and others accept: a tab behind a colon becomes a space, and a line within brackets
/// is indented. The meaning and the line numbers stay the same. Absent if the error has another reason.
fn lenient(text: &str, error: &ScanError) -> Option<String> {
    let (line, column) = (error.marker().line(), error.marker().col());
    let begin = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let (before, rest) = text.split_at_checked(begin)?;
    match error.info() {
        "invalid indentation" | "invalid indentation in flow construct" => Some(format!("{before}{INDENT}{rest}")),
        "':' must be followed by a valid YAML whitespace" => {
            let (tab, letter) = rest.char_indices().nth(column.checked_sub(1)?)?;
            let (key, value) = rest.split_at_checked(tab)?;
            (letter == '\t').then(|| format!("{before}{key} {}", value.trim_start_matches('\t')))
        }
        _ => None,
    }
}

/// Checks what does not need parsing: control characters, and the number of values.
fn check(text: &str) -> Result<(), ConfigError> {
    let (mut line, mut marks) = (1usize, 0usize);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => line = line.saturating_add(1),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\t' | '\u{85}' => {}
            _ if letter.is_control() => return Err(ConfigError::at(line, "a control character")),
            _ if is_mark(letter) => marks = marks.saturating_add(1),
            _ => {}
        }
        if marks > MOST_MARKS {
            return Err(ConfigError::at(line, "too long: more keys and values than any configuration needs"));
        }
    }
    Ok(())
}

/// Whether a key, value or entry can begin or end with this character. A `-` needs no check: something else follows it.
const fn is_mark(letter: char) -> bool {
    matches!(letter, ':' | ',' | '[' | ']' | '{' | '}' | '"' | '\'' | '&' | '*' | '!' | '?')
}

/// The error for what the parser rejected, in words for the person who writes the configuration.
fn malformed(text: &str, error: &ScanError) -> ConfigError {
    // Where the text ends too early, the parser stands behind its last line.
    let line = error.marker().line().clamp(1, last_line(text));
    let why = error.info();
    let begins_with_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    let mut next =
        (1..).zip(text.lines()).skip(line.saturating_sub(1)).take(2).filter(|(_, text)| begins_with_tab(text));
    let tab = next.next().map(|(number, _)| number);
    if let Some(tab) = tab.filter(|tab| *tab == line || why.contains("tab")) {
        return ConfigError::at(tab, "a tab where only spaces may indent");
    }
    let known = [
        ("unknown anchor", "an alias of an anchor that is not there"),
        ("unexpected end of stream", "the file ends within a text in quotes"),
        ("unknown escape", "an escape that is not known in a text in double quotes"),
        ("mapping values are not allowed", "a colon where no key can be: a text that has one stands in quotes"),
        ("byte order mark", "a byte order mark that is not at the begin"),
        ("recursion limit", "too deep"),
        (
            "indentation in quoted scalar",
            "a text in quotes goes on in a line that is not indented further than its key",
        ),
        ("valid YAML whitespace", "a tab where a space must stand"),
        ("tab", "a tab where a space must stand"),
        ("invalid indentation", "what stands in brackets must be indented further than its key"),
    ];
    match known.into_iter().find(|(theirs, _)| why.contains(theirs)) {
        Some((_, ours)) => ConfigError::at(line, ours),
        None => ConfigError::at(line, &format!("no YAML: {why}")),
    }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), ConfigError> {
        match event {
            Event::DocumentStart(_) => {
                self.documents = self.documents.saturating_add(1);
                if self.documents > 1 {
                    return Err(ConfigError::at(line, "a second document"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let size = NODE.saturating_add(text.len());
                let value = scalar(text.into_owned(), style, tag.as_deref(), line)?;
                self.close(anchor, line, size, Sized { node: Node { line, value }, height: 0, size })?;
            }
            Event::SequenceStart(anchor, tag) => {
                expect(tag.as_deref(), &["seq"], line)?;
                self.begin(line, anchor, Content::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                expect(tag.as_deref(), &["map"], line)?;
                let (entries, names, merged) = (Vec::new(), NameIndex::default(), Vec::new());
                self.begin(line, anchor, Content::Map { entries, names, key: None, merged })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(anchor).cloned().flatten() else {
                    return Err(ConfigError::at(line, "an alias within what it stands for"));
                };
                if self.open.len().saturating_add(node.height) > DEEPEST {
                    return Err(ConfigError::at(line, "too deep"));
                }
                self.close(0, line, node.size, node)?;
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), ConfigError> {
        if self.open.len() >= DEEPEST {
            return Err(ConfigError::at(line, "too deep"));
        }
        self.open.push(Open { line, anchor, height: 0, size: NODE, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), ConfigError> {
        let Some(Open { line, anchor, height, size, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(nodes) => Value::List(nodes),
            Content::Map { mut entries, mut names, merged, .. } => {
                for (name, node) in merged.into_iter().flat_map(entries_of) {
                    if names.add(&[name.as_bytes()]) {
                        entries.push((name, node));
                    }
                }
                Value::Map(entries)
            }
        };
        let whole = Sized { node: Node { line, value }, height: height.saturating_add(1), size };
        self.close(anchor, line, NODE, whole)
    }

    /// Adds a complete node to its parent. `new` bytes of its size are not counted yet.
    fn close(&mut self, anchor: usize, line: usize, new: usize, whole: Sized) -> Result<(), ConfigError> {
        let kept = if anchor > 0 { whole.size } else { 0 };
        self.size = self.size.saturating_add(new).saturating_add(kept);
        if self.size > LARGEST {
            return Err(ConfigError::at(line, "too large with its aliases filled in"));
        }
        if anchor > 0 {
            // One that begins within another has the higher number, and ends before it.
            self.anchors.resize_with(self.anchors.len().max(anchor.saturating_add(1)), || None);
            if let Some(known) = self.anchors.get_mut(anchor) {
                *known = Some(whole.clone());
            }
        }
        let Sized { node, height, size } = whole;
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        parent.height = parent.height.max(height);
        parent.size = parent.size.saturating_add(size);
        match &mut parent.content {
            Content::List(nodes) => nodes.push(node),
            Content::Map { entries, names, key, merged } => match key.take() {
                None => *key = Some(Key::of(node, names)?),
                Some(Key { is_merge: true, line, .. }) => merged.append(&mut mergeable(node, line)?),
                Some(Key { name, line, .. }) => entries.push((name, Node { line, ..node })),
            },
        }
        Ok(())
    }
}

impl Key {
    /// The key from a node; `names` are the keys so far.
    fn of(node: Node, names: &mut NameIndex) -> Result<Self, ConfigError> {
        let line = node.line;
        let (name, is_merge) = match node.value {
            Value::Plain(name) => (name.clone(), name.chars().eq(MERGE)),
            Value::Quoted(name) | Value::Word(name) => (name, false),
            Value::List(_) | Value::Map(_) => return Err(ConfigError::at(line, "a key that is no text")),
        };
        if !names.add(&[name.as_bytes()]) {
            return Err(ConfigError::at(line, &format!("duplicate field `{}`", super::error::shown(&name))));
        }
        Ok(Self { name, line, is_merge })
    }
}

/// The mappings that a merge key merges, in their order.
fn mergeable(node: Node, line: usize) -> Result<Vec<Node>, ConfigError> {
    let nodes = match node.value {
        Value::List(nodes) => nodes,
        _ => vec![node],
    };
    if nodes.iter().all(|node| matches!(node.value, Value::Map(_))) {
        return Ok(nodes);
    }
    Err(ConfigError::at(line, "a merge key takes over the keys of mappings, and this is none"))
}

fn entries_of(node: Node) -> Vec<(String, Node)> {
    if let Value::Map(entries) = node.value { entries } else { Vec::new() }
}

fn scalar(mut text: String, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Value, ConfigError> {
    expect(tag, &["str", "int", "float", "bool", "null"], line)?;
    // Values are single lines: the line end of a block does not count.
    if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && text.ends_with('\n') {
        text.pop();
    }
    let is_text = tag.is_some_and(|tag| !tag.is_yaml_core_schema() || tag.suffix == "str");
    Ok(if style == ScalarStyle::Plain && !is_text { Value::Plain(text) } else { Value::Quoted(text) })
}

/// Checks a tag: it must be one of YAML's own `kinds`, or `!`, which only says that a text is a text.
fn expect(tag: Option<&Tag>, kinds: &[&str], line: usize) -> Result<(), ConfigError> {
    let Some(tag) = tag else { return Ok(()) };
    let is_non_specific = tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty();
    if is_non_specific || tag.is_yaml_core_schema() && kinds.contains(&tag.suffix.as_str()) {
        return Ok(());
    }
    let name = super::error::shown(&tag.suffix);
    Err(ConfigError::at(line, &format!("the tag `{name}` can't be read here")))
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
        compare(found.into_iter().map(|(_, text)| text));
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
        // A pair in a list is YAML 1.2's.
        found.retain(|text| text != "key: [x:]\n");
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
                "a:\n\tb: c\n",
                "a:\tb\n",
                "a:\t\tb\nc:\t- d\n",
                "a:\n  b:\t1\n  c: {d:\te}\n",
                "a: {\nb: c\n}\n",
                "a: [\nb,\nc\n]\nd: [\n]\n",
                "a:\n  - b: [\n  ]\n    c:\t[\nd,\n]\n",
                "a:\n  b: [\n 'c',\n\"d\",\n{e: f}\n  ]\n  g: {\n}\n",
                "a: |-\n  b\n   c\n\nd: |-\n  e\n",
                "a: >-\n  b\n  c\n\n  d\n- e\n",
                "a: >-\n  b\n  c\n\n  d\ne: &x [f, g]\nh: *x\n",
                "a: &x\n  b: c\nd: *x\n",
                "a: !!str 12\n",
                "? a\n: b\n? c\n",
                "a: [b: c, d]\n",
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
                "a: b\n\n\n",
                "   \n  # x\n a: b\n c: d\n",
                "a: [\n]\n",
                "a: {\n}\n",
                "a: [b\n, c]\n",
                "a: [b c\n  d, e]\n",
                "[a, b]\n[c]\n",
                "a:\n    - b\n    -\n        c: d\n",
                "1: 2\n",
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
        for text in ["[:x, ?x]", "[\"http://x:80/\", ::1]", "{a: ::1}", "key: [x:]", ": b", "\ta: b\n"] {
            assert!(parse(text).is_ok() && difference(text).is_some(), "{text}");
        }
        // Keys that are no text, a text in quotes that is not indented, and what only looks like a merge key.
        for text in ["[a]: b\n", "? [a]\n: b\n", "a: \"b\nc\"\n", "a: {<<: x}"] {
            assert!(parse(text).is_err() && difference(text).is_some(), "{text}");
        }
        // The last line's end of a block of text is not meant.
        assert_eq!(parse("a: |\n  b\n"), parse("a: 'b'\n"));
        assert_eq!(parse("a: |+\n  b\n\n"), parse("a: \"b\\n\"\n"));
    }

    #[test]
    fn merge_keys_take_over_what_is_not_written() {
        let entries = |text: &str| {
            let Value::Map(mut entries) = parse(text).expect(text).value else { panic!("{text}") };
            let Some((_, Node { value: Value::Map(last), .. })) = entries.pop() else { panic!("{text}") };
            let text = |value| match value {
                Value::Plain(text) | Value::Quoted(text) => text,
                other => format!("{other:?}"),
            };
            last.into_iter().map(|(key, node)| format!("{key}={}@{}", text(node.value), node.line)).collect::<Vec<_>>()
        };
        for (text, expected) in [
            ("x: &x\n  a: 1\n  b: 2\ny:\n  <<: *x\n  b: 3\n", ["b=3@6", "a=1@2"].as_slice()),
            ("x: &x {a: 1}\ny: {b: 3, <<: *x}\n", &["b=3@2", "a=1@1"]),
            ("x: &x {a: 1}\nz: &z {a: 2, c: 4}\ny: {<<: [*x, *z]}\n", &["a=1@1", "c=4@2"]),
            ("y: {<<: {a: 1}}\n", &["a=1@1"]),
            ("y: {'<<': 1}\n", &["<<=1@1"]),
        ] {
            assert_eq!(entries(text), expected, "{text}");
        }
    }

    fn error(text: &str) -> String {
        let text: String = text.chars().take(200).collect::<String>() + text.get(200..).unwrap_or_default();
        parse(&text).expect_err("an error").to_string()
    }

    #[test]
    fn what_is_not_read_is_named_with_its_line() {
        for (text, expected) in [
            ("a: 1\nb: *x\n", "an alias of an anchor that is not there at line 2"),
            ("a: 1\nb: &x [1, *x]\n", "an alias within what it stands for at line 2"),
            ("a: 1\nb: !vault |\n  x\n", "the tag `vault` can't be read here at line 2"),
            ("a: !!binary YQ==\n", "the tag `binary` can't be read here at line 1"),
            ("a: !!str [b]\n", "the tag `str` can't be read here at line 1"),
            ("a: !!map b\n", "the tag `map` can't be read here at line 1"),
            ("a: 1\n---\nb: 2\n", "a second document at line 2"),
            ("a: 1\n...\n---\nb: 2\n", "a second document at line 3"),
            ("a: 1\na: 2\n", "duplicate field `a` at line 2"),
            ("a: 1\n'a': 2\n", "duplicate field `a` at line 2"),
            ("{a: 1,\n a: 2}\n", "duplicate field `a` at line 2"),
            ("b:\n  x: {<<: {a: 1},\n    <<: {b: 1}}\n", "duplicate field `…` at line 3"),
            ("root:*:1::: x\nroot:*:1::: x\n", "duplicate field `root…` at line 2"),
            ("a: 1\nb:\n  <<: c\n", "a merge key takes over the keys of mappings, and this is none at line 3"),
            ("a:\n  <<: [{b: c}, d]\n", "a merge key takes over the keys of mappings, and this is none at line 2"),
            ("a: 1\n[b]: c\n", "a key that is no text at line 2"),
            ("a:\n\tb: 1\n", "a tab where only spaces may indent at line 2"),
            ("a:\n  b: 1\n\tc: 1\n", "a tab where only spaces may indent at line 3"),
            ("a:\n  - b\n\t- c\n", "a tab where only spaces may indent at line 3"),
            ("a: 1\nb: \"x\n\n", "the file ends within a text in quotes at line 2"),
            ("a: 1\nb: \"\\q\"\n", "an escape that is not known in a text in double quotes at line 2"),
            ("a: 1\nb: \u{1b}[0m\n", "a control character at line 2"),
            ("a: 1\rb: 2\n", "a control character at line 1"),
            ("a: b: c\n", "a colon where no key can be: a text that has one stands in quotes at line 1"),
            ("a: \u{feff}b\n", "a byte order mark that is not at the begin at line 1"),
        ] {
            assert_eq!(error(text), expected, "{text:?}");
        }
        for text in ["a: 1\nb: [c\n", "a: 1\nb: {c\n", "a: 1\nb\n", "a: 1\n b: 2\n", "a: 1\nb: @c\n"] {
            let said = error(text);
            assert!(said.ends_with(" at line 2") || said.ends_with(" at line 3"), "{text:?}: {said}");
        }
    }

    #[test]
    fn byte_order_mark_and_windows_lines_change_nothing() {
        for text in ["a: b\nc:\n  - d\n  - 'e'\nf: |\n  g\n", "a: \"b\n  c\"\n", "{a: [b,\n c]}\n"] {
            assert_eq!(parse(&format!("\u{feff}{}", text.replace('\n', "\r\n"))), parse(text), "{text:?}");
        }
    }

    #[test]
    fn sixteen_lists_in_each_other_are_read_and_not_one_more() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(&nested(16)).is_ok());
        assert_eq!(error(&nested(17)), "too deep at line 1");
        let keys = |depth: usize| (0..depth).map(|at| " ".repeat(at) + "a:\n").collect::<String>();
        assert!(parse(&keys(16)).is_ok());
        assert_eq!(error(&keys(17)), "too deep at line 17");
        for endless in ["[", "{a: ", "- ", "? ", "a: {b: ["] {
            assert!(parse(&endless.repeat(100_000)).is_err(), "{endless}");
        }
        // As deep by aliases, one level each.
        let aliases = |depth: usize| {
            let steps = (1..depth).map(|at| format!("- &a{at} [*a{}]\n", at - 1));
            std::iter::once("- &a0 [x]\n".to_owned()).chain(steps).collect::<String>()
        };
        assert!(parse(&aliases(15)).is_ok());
        assert_eq!(error(&aliases(16)), "too deep at line 16");
    }

    #[test]
    fn aliases_of_aliases_fill_no_memory() {
        // Each is ten times the one before: a billion after nine lines.
        let line = |at: usize| format!("- &a{at} [{}]\n", vec![format!("*a{}", at - 1); 10].join(", "));
        let bomb = "- &a0 [x]\n".to_owned() + &(1..10).map(line).collect::<String>();
        assert_eq!(error(&bomb), "too large with its aliases filled in at line 6");
        let text = format!("- &a {}\n", "x".repeat(1 << 20)) + &"- *a\n".repeat(100);
        assert_eq!(error(&text), "too large with its aliases filled in at line 15");
        let text = format!("- &a {}\n", "x".repeat(1 << 10)) + &"- *a\n".repeat(100);
        assert!(parse(&text).is_ok());
    }

    #[test]
    fn two_hundred_thousand_keys_are_refused_before_they_are_read() {
        let keys = |count: usize| (0..count).map(|at| format!("key{at}: 1\n")).collect::<String>();
        assert!(parse(&keys(100_000)).is_ok(), "linear: each key is held against a set");
        let too_long = "too long: more keys and values than any configuration needs at line 100001";
        assert_eq!(error(&keys(200_000)), too_long);
        for text in ["[\"a\" ", "[a, ", "{a: b, ", "- - [*a "] {
            assert!(error(&text.repeat(200_000)).starts_with("too long"), "{text}");
        }
    }

    #[test]
    fn what_is_read_again_is_read_a_bounded_number_of_times() {
        let lines = |count: usize| format!("a: [\n{}]\n", "b,\n".repeat(count));
        assert!(parse(&lines(50)).is_ok());
        let said = error(&lines(20_000));
        assert!(said.starts_with("what stands in brackets must be indented further than its key at line "), "{said}");
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
