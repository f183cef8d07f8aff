//! The keys of a section, taken one after the other; what is left at the end is a key that we don't know.

use super::yaml::{Node, Value};

/// A mapping whose keys are asked for by name.
pub(crate) struct Section {
    /// Where it stands, as `sockets[0]`; empty for the file itself.
    at: String,
    nodes: Vec<(String, Node)>,
    known: Vec<&'static str>,
}

/// What a section means to its reader.
type Read<T> = fn(&mut Section) -> Result<T, String>;

impl Section {
    /// The section that stands `at`.
    pub(super) fn of(node: Node, at: &str) -> Result<Self, String> {
        let nodes = match node.value {
            Value::Map(nodes) => nodes,
            _ if node.is_nothing() => Vec::new(),
            _ => {
                let colon = if at.is_empty() { "" } else { ": " };
                return Err(format!("{at}{colon}expected keys with values at line {}", node.line));
            }
        };
        Ok(Self { at: at.to_owned(), nodes, known: Vec::new() })
    }

    /// How complaints name a key of this section.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }

    /// What was written behind a key, if anything was.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self.nodes.iter().position(|(name, _)| name == key)?;
        Some(self.nodes.remove(at).1).filter(|node| !node.is_nothing())
    }

    /// A key that says who may do something must not be written with nothing behind it: that would mean everybody.
    pub(super) fn must_say(&self, key: &str, whom: &str) -> Result<(), String> {
        match self.nodes.iter().find(|(name, node)| name == key && node.is_nothing()) {
            Some((_, node)) => Err(format!("{}: names no {whom} at line {}", self.path(key), node.line)),
            None => Ok(()),
        }
    }

    /// A text that has two names, of which only one may be written.
    pub(super) fn text_of(&mut self, names: [&'static str; 2]) -> Result<Option<String>, String> {
        let [key, alias] = names;
        if self.nodes.iter().filter(|(name, _)| name == key || name == alias).count() > 1 {
            return Err(format!("duplicate field `{}`: it is the same as `{alias}`", self.path(key)));
        }
        let found = self.text(key)?;
        let other = self.text(alias)?;
        Ok(found.or(other))
    }

    /// A text; numbers are texts too.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, String> {
        self.take(key).map(|node| text(node, &self.path(key))).transpose()
    }

    /// A whole number.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<Option<T>, String> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let (line, path) = (node.line, self.path(key));
        let text = text(node, &path)?;
        let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("{path}: {text:?} is not a whole number, at line {line}"))
    }

    /// `true` or `false`.
    pub(crate) fn switch(&mut self, key: &'static str) -> Result<Option<bool>, String> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.value {
            Value::Plain(word) | Value::Quoted(word) if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Value::Plain(word) | Value::Quoted(word) if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(format!("{}: expected true or false at line {}", self.path(key), node.line)),
        }
    }

    /// A list, each with its place as complaints name it.
    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<Vec<(String, Node)>>, String> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let path = self.path(key);
        let Value::List(nodes) = node.value else {
            return Err(format!("{path}: expected a list at line {}", node.line));
        };
        if let Some(empty) = nodes.iter().find(|node| node.is_nothing()) {
            return Err(format!("{path}: nothing behind the dash at line {}", empty.line));
        }
        Ok(Some(nodes.into_iter().enumerate().map(|(index, node)| (format!("{path}[{index}]"), node)).collect()))
    }

    /// A section within this one; as if it were empty where it is not written.
    pub(super) fn section<T>(&mut self, key: &'static str, read: Read<T>) -> Result<T, String> {
        let nothing = Node { line: 0, value: Value::Map(Vec::new()) };
        let node = self.take(key).unwrap_or(nothing);
        whole(Self::of(node, &self.path(key))?, read)
    }

    /// A section that may be missing.
    pub(super) fn optional<T>(&mut self, key: &'static str, read: Read<T>) -> Result<Option<T>, String> {
        let path = self.path(key);
        self.take(key).map(|node| whole(Self::of(node, &path)?, read)).transpose()
    }

    /// A list of sections.
    pub(super) fn sections<T>(&mut self, key: &'static str, read: Read<T>) -> Result<Vec<T>, String> {
        let list = self.list(key)?.unwrap_or_default();
        list.into_iter().map(|(path, node)| whole(Self::of(node, &path)?, read)).collect()
    }

    /// The same, to be read by the caller, who ends each ([`Section::end`]).
    pub(crate) fn entries(&mut self, key: &'static str) -> Result<Vec<Self>, String> {
        let mut entries = Vec::new();
        for (path, node) in self.list(key)?.unwrap_or_default() {
            entries.push(Self::of(node, &path)?);
        }
        Ok(entries)
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, String> {
        let texts = |list: Vec<(String, Node)>| list.into_iter().map(|(path, node)| text(node, &path)).collect();
        self.list(key)?.map(texts).transpose()
    }

    /// Texts by names that are the operator's.
    pub(super) fn named(&mut self, key: &'static str) -> Result<Vec<(String, String)>, String> {
        let Some(node) = self.take(key) else { return Ok(Vec::new()) };
        let inner = Self::of(node, &self.path(key))?;
        let read = |(name, node)| Ok((String::clone(&name), text(node, &format!("{}.{name}", inner.at))?));
        inner.nodes.into_iter().map(read).collect()
    }

    /// The complaint that a key must be written.
    pub(crate) fn missing(&self, key: &str) -> String {
        format!("{}: missing field `{key}`", self.at)
    }

    /// Nothing else may be written.
    pub(crate) fn end(self) -> Result<(), String> {
        let Some((key, node)) = self.nodes.first() else { return Ok(()) };
        let colon = if self.at.is_empty() { "" } else { ": " };
        let known = self.known.join(", ");
        let key = key.escape_debug();
        Err(format!("{}{colon}unknown field `{key}` at line {}, known are {known}", self.at, node.line))
    }
}

/// Reads a section to its end.
fn whole<T>(mut section: Section, read: Read<T>) -> Result<T, String> {
    let read = read(&mut section)?;
    section.end()?;
    Ok(read)
}

fn text(node: Node, path: &str) -> Result<String, String> {
    match node.value {
        Value::Plain(text) | Value::Quoted(text) => Ok(text),
        Value::List(_) | Value::Map(_) => Err(format!("{path}: expected a text at line {}", node.line)),
    }
}
