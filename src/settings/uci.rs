//! Parses OpenWrt's UCI files into the same tree as YAML files: the same keys, checks and errors. Pure.
//!
//! The format is defined by libuci's `file.c`: one command per line, `config TYPE [NAME]`, `option NAME VALUE` or
//! `list NAME VALUE`, whose words can be quoted. What libuci silently ignores is an error here.

use std::path::PathBuf;

use super::document::{Node, Value};
use super::error::{ConfigError, shown};
use super::section::Section;

/// The type of the section that holds the options.
const MAIN: &str = "gateway-exporter";

/// An option with another name than its key: it has the name of the flag.
const LISTEN: (&str, &str) = ("web_listen_address", "web.listen");

/// The sections whose keys are written as options of the main section: `web_allow` is `allow` in `web`.
const PREFIXES: [&str; 2] = ["metrics", "web"];

/// The most sections and values in a file.
const MOST: usize = 5_000;

/// The key of the configuration that a UCI word stands for.
#[derive(Debug)]
pub struct UciWord {
    /// The type of a section, or the name of an option of the main section.
    pub word: &'static str,
    /// Whether it is the type of a section.
    pub is_section: bool,
    /// The key of the configuration, as `wireguard.peers`; that of a section's type is a list.
    pub key: &'static str,
    /// A key that a named section has by default, and its value, in which `*` stands for the section's name.
    pub implied: Option<(&'static str, &'static str)>,
}

/// A parsed file.
#[derive(Debug)]
pub struct UciFile {
    /// The keys, as in YAML.
    pub file: Section,
    /// The sources that are switched on or off; others are watched if they are found.
    pub switches: Vec<(String, bool)>,
    /// The options about the daemon itself.
    pub service: Service,
}

/// The options about the daemon itself, which are no keys of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Whether it runs.
    pub is_enabled: bool,
    /// OpenWrt's name of the interface on whose address it listens, or `*` for all addresses; used without
    /// `web_listen_address`.
    pub interface: String,
    /// The port there.
    pub port: u16,
    /// A configuration file that replaces all keys.
    pub config_file: Option<PathBuf>,
    /// The file with the users.
    pub web_config: Option<PathBuf>,
    /// The path of the metrics, with its slash.
    pub telemetry_path: Option<String>,
    /// Whether to log more.
    pub debug: bool,
}

/// A section as it is written.
struct Written {
    kind: String,
    /// Empty if it has none.
    name: String,
    line: usize,
    options: Vec<(String, Node)>,
}

/// Parses a file. `words` are the UCI words of all sources; `switches` are the options that are `auto`, on or off.
pub fn parse(text: &str, words: &[&UciWord], switches: &[&str]) -> Result<UciFile, ConfigError> {
    let (mut keys, mut switched, mut has_main, mut service) = (Vec::new(), Vec::new(), false, Service::default());
    for section in sections(text)? {
        if section.kind != MAIN {
            list_entry(section, words, &mut keys)?;
            continue;
        }
        if std::mem::replace(&mut has_main, true) {
            return Err(ConfigError::at(section.line, &format!("a second section of the type {MAIN}")));
        }
        for (name, node) in section.options {
            let line = node.line;
            let taken = service.take(&name, node).map_err(|message| ConfigError::of(&name, line, message))?;
            let Some(node) = taken else { continue };
            if switches.contains(&name.as_str()) {
                match node.is_on() {
                    Some(is_on) => switched.push((name, is_on)),
                    None if node.value == Value::Word("auto".into()) => {}
                    None => return Err(ConfigError::of(&name, node.line, "expected auto, 1 or 0")),
                }
            } else {
                put(node, &key_of(&name, words), &mut keys)?;
            }
        }
    }
    let file = Section::of(Node { line: 1, value: Value::Map(keys) }, "")?;
    Ok(UciFile { file, switches: switched, service })
}

/// The key that an option of the main section stands for.
fn key_of(option: &str, words: &[&UciWord]) -> String {
    if option == LISTEN.0 {
        return LISTEN.1.into();
    }
    if let Some(word) = words.iter().find(|word| !word.is_section && word.word == option) {
        return word.key.into();
    }
    let inner = PREFIXES.iter().find_map(|section| Some((section, option.strip_prefix(section)?.strip_prefix('_')?)));
    inner.map_or_else(|| option.into(), |(section, key)| format!("{section}.{key}"))
}

/// Adds a section as an entry of its list.
fn list_entry(section: Written, words: &[&UciWord], keys: &mut Vec<(String, Node)>) -> Result<(), ConfigError> {
    let Written { kind, name, line, mut options } = section;
    let Some(word) = words.iter().find(|word| word.is_section && word.word == kind) else {
        let known: Vec<_> = words.iter().filter(|word| word.is_section).map(|word| word.word).collect();
        let message = format!("unknown section type `{}` (known: {MAIN}, {})", shown(&kind), known.join(", "));
        return Err(ConfigError::at(line, &message));
    };
    if let Some((key, value)) =
        word.implied.filter(|(key, _)| !name.is_empty() && options.iter().all(|(name, _)| name != key))
    {
        options.push((key.into(), Node { line, value: Value::Word(value.replace('*', &name)) }));
    }
    let entry = Node { line, value: Value::Map(options) };
    put(Node { line, value: Value::List(vec![entry]) }, word.key, keys)
}

/// Sets the value of a key such as `web.allow`, in which all parts but the last are sections; lists with the same key are
/// joined.
fn put(node: Node, key: &str, keys: &mut Vec<(String, Node)>) -> Result<(), ConfigError> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let line = node.line;
    let at = match keys.iter().position(|(name, _)| name == first) {
        Some(at) => at,
        None => {
            let empty = if rest.is_some() { Value::Map(Vec::new()) } else { Value::List(Vec::new()) };
            keys.push((first.into(), Node { line, value: empty }));
            keys.len().saturating_sub(1)
        }
    };
    let Some((_, there)) = keys.get_mut(at) else { return Ok(()) };
    match (rest, &mut there.value, node.value) {
        (Some(rest), Value::Map(inner), value) => return put(Node { line, value }, rest, inner),
        (None, Value::List(list), Value::List(more)) => list.extend(more),
        (None, Value::List(list), value) if list.is_empty() => there.value = value,
        _ => return Err(ConfigError::of(key, line, "it is written twice")),
    }
    Ok(())
}

impl Service {
    /// Takes an option about the daemon; returns any other option. The error says what was expected.
    fn take(&mut self, name: &str, node: Node) -> Result<Option<Node>, &'static str> {
        let is_on = node.is_on().ok_or("expected 1 or 0");
        let text = if let Value::Word(text) = &node.value { text.clone() } else { String::new() };
        let path =
            || if text.starts_with('/') { Ok(text.clone()) } else { Err("expected a path that begins with a slash") };
        match name {
            "enabled" => self.is_enabled = is_on?,
            "debug" => self.debug = is_on?,
            "config_file" => self.config_file = Some(path()?.into()),
            "web_config_file" => self.web_config = Some(path()?.into()),
            "web_telemetry_path" => self.telemetry_path = Some(path()?),
            "listen_port" => self.port = text.parse().map_err(|_| "expected a port")?,
            "listen_interface" if !is_interface(&text) => return Err("expected the name of an interface, or *"),
            "listen_interface" => self.interface = text,
            _ => return Ok(Some(node)),
        }
        Ok(None)
    }
}

/// Whether a text can name an interface in /etc/config/network.
fn is_interface(text: &str) -> bool {
    text == "*" || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

impl Default for Service {
    fn default() -> Self {
        Self {
            is_enabled: true,
            interface: "lan".into(),
            port: 9234,
            config_file: None,
            web_config: None,
            telemetry_path: None,
            debug: false,
        }
    }
}

impl Node {
    /// The value of an option that is on or off; absent if it is neither.
    pub(super) fn is_on(&self) -> Option<bool> {
        let Value::Word(word) = &self.value else { return None };
        match word.as_str() {
            "1" | "on" | "true" | "yes" | "enabled" => Some(true),
            "0" | "off" | "false" | "no" | "disabled" => Some(false),
            _ => None,
        }
    }
}

/// Parses the sections of a file; sections with the same name are joined.
fn sections(text: &str) -> Result<Vec<Written>, ConfigError> {
    let mut words = Words { rest: text, line: 1 };
    let (mut sections, mut current, mut values) = (Vec::<Written>::new(), None, 0usize);
    while !words.rest.is_empty() {
        let line = words.line;
        if let Some(command) = words.next()? {
            let [first, second, third] = [words.next()?, words.next()?, words.next()?];
            let error = |message| Err(ConfigError::at(line, message));
            values = values.saturating_add(1);
            if values > MOST {
                return error("too long: more sections and values than any configuration needs");
            }
            let Some(first) = first else { return error("a command without a name behind it") };
            let is_last = if command.starts_with('p') { second.is_none() } else { third.is_none() };
            if !is_last {
                return error("too many words: a value with spaces stands in quotes");
            }
            match command.as_str() {
                "package" | "p" if sections.is_empty() => {}
                "config" | "c" => current = Some(begin(first, second.unwrap_or_default(), line, &mut sections)?),
                "option" | "o" | "list" | "l" => {
                    let Some(section) = current.and_then(|at| sections.get_mut(at)) else {
                        return error("an option before the first section");
                    };
                    section.add(first, second.unwrap_or_default(), line, command.starts_with('l'))?;
                }
                _ => return error("neither config, nor option, nor list"),
            }
        }
        words.end_line();
    }
    Ok(sections)
}

/// The index of the section that a `config` command begins or continues.
fn begin(kind: String, name: String, line: usize, sections: &mut Vec<Written>) -> Result<usize, ConfigError> {
    check_name(&name, line)?;
    let same = sections.iter().position(|section| !name.is_empty() && section.name == name);
    match same.map(|at| (at, sections.get(at).is_some_and(|section| section.kind == kind))) {
        Some((at, true)) => Ok(at),
        Some(_) => Err(ConfigError::at(line, "a section of this name and of another type stands before it")),
        None => {
            sections.push(Written { kind, name, line, options: Vec::new() });
            Ok(sections.len().saturating_sub(1))
        }
    }
}

fn check_name(name: &str, line: usize) -> Result<(), ConfigError> {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { Ok(()) } else { Err(ConfigError::at(line, "a name has letters, digits and _ only")) }
}

impl Written {
    /// Adds a value as libuci does: the last of several options with the same name counts, an option without a value is
    /// ignored, and an option replaces a list of the same name.
    fn add(&mut self, name: String, text: String, line: usize, is_list: bool) -> Result<(), ConfigError> {
        check_name(&name, line)?;
        if text.is_empty() && !is_list {
            return Ok(());
        }
        let known = self.options.iter_mut().find(|(known, _)| *known == name).map(|(_, node)| node);
        let value = Value::Word(text);
        match (known, is_list) {
            (Some(node), false) => *node = Node { line, value },
            (Some(Node { value: Value::List(list), .. }), true) => list.push(Node { line, value }),
            (Some(node), true) => {
                let first = std::mem::replace(&mut node.value, Value::List(Vec::new()));
                node.value = Value::List(vec![Node { line: node.line, value: first }, Node { line, value }]);
            }
            (None, false) => self.options.push((name, Node { line, value })),
            (None, true) => {
                let list = Value::List(vec![Node { line, value }]);
                self.options.push((name, Node { line, value: list }));
            }
        }
        Ok(())
    }
}

/// Splits lines into words.
struct Words<'a> {
    rest: &'a str,
    /// The line where the rest begins.
    line: usize,
}

impl Words<'_> {
    /// The next word of this line; absent at its end.
    fn next(&mut self) -> Result<Option<String>, ConfigError> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
        if self.rest.is_empty() || self.rest.starts_with(['\n', '#']) {
            return Ok(None);
        }
        let mut word = String::new();
        while let Some(letter) = self.peek() {
            match letter {
                ' ' | '\t' | '\r' | '\n' | '#' => break,
                ';' => return Err(ConfigError::at(self.line, "a semicolon outside of quotes")),
                '\'' | '"' => self.quoted(letter, &mut word)?,
                '\\' => self.escaped(&mut word),
                letter => {
                    self.pass();
                    self.check(letter)?;
                    word.push(letter);
                }
            }
        }
        Ok(Some(word))
    }

    fn quoted(&mut self, quote: char, word: &mut String) -> Result<(), ConfigError> {
        let begin = self.line;
        self.pass();
        while let Some(letter) = self.peek() {
            if letter == '\\' && quote == '"' {
                self.escaped(word);
                continue;
            }
            self.pass();
            if letter == quote {
                return Ok(());
            }
            self.check(letter)?;
            word.push(letter);
        }
        Err(ConfigError::at(begin, "the file ends within a text in quotes"))
    }

    /// Reads a backslash and the character behind it, which is taken literally; a line end is left out.
    fn escaped(&mut self, word: &mut String) {
        self.pass();
        if self.rest.starts_with("\r\n") {
            self.pass();
        }
        if let Some(letter) = self.peek() {
            self.pass();
            if letter != '\n' {
                word.push(letter);
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn pass(&mut self) {
        let mut letters = self.rest.chars();
        if letters.next() == Some('\n') {
            self.line = self.line.saturating_add(1);
        }
        self.rest = letters.as_str();
    }

    fn check(&self, letter: char) -> Result<(), ConfigError> {
        let is_allowed = !letter.is_control() || matches!(letter, '\t' | '\n' | '\r');
        if is_allowed { Ok(()) } else { Err(ConfigError::at(self.line, "a control character")) }
    }

    fn end_line(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.pass();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each value as `uci show` prints it: the section's name, the option, and the values in single quotes.
    fn shown_values(text: &str) -> Result<Vec<String>, String> {
        let word = |node: &Node| match &node.value {
            Value::Word(word) => format!("'{word}'"),
            other => panic!("{other:?}"),
        };
        let mut lines = Vec::new();
        for section in sections(text).map_err(|error| error.to_string())? {
            for (name, node) in &section.options {
                let values: Vec<_> = match &node.value {
                    Value::List(list) => list.iter().map(word).collect(),
                    _ => vec![word(node)],
                };
                lines.push(format!("{}.{name}={}", section.name, values.join(" ")));
            }
        }
        Ok(lines)
    }

    /// The expected lines are those that libuci's own `uci show` printed.
    #[test]
    fn values_are_those_that_libuci_reads() {
        for (text, expected) in [
            ("", &[][..]),
            ("# a comment\n\n", &[]),
            (
                "config a 'x'\n option b ''\n list c ''\n option d 'q'\n list d r\n option e 1\n option e 2\n",
                &["x.c=''", "x.d='q' 'r'", "x.e='2'"],
            ),
            ("config a x\n option b 1\nconfig a x\n option c 2\n list b 3\n", &["x.b='1' '3'", "x.c='2'"]),
            ("package foo\nconfig a x\n option b 1\n", &["x.b='1'"]),
            ("config a x\n option b 'c\nd'\n", &["x.b='c\nd'"]),
            ("c a x\no b 1\nl c 2\n", &["x.b='1'", "x.c='2'"]),
            ("config a x\n option b\n", &[]),
            ("config a x\n option b \"c\\\"d\"\n", &["x.b='c\"d'"]),
            ("config a x\r\n option b 1\r\n", &["x.b='1'"]),
            ("config a x\n option b 'ü'\n option c 'a\tb'\n", &["x.b='ü'", "x.c='a\tb'"]),
            ("config a x\n option 'b' \"1\" # comment\n option d # none\n", &["x.b='1'"]),
            ("config a x\n list b 1\n list b 2\n option b 3\n", &["x.b='3'"]),
            ("config a x\n list b 1\n option b ''\n", &["x.b='1'"]),
            ("config a x\n option b c#d\n", &["x.b='c'"]),
            ("config a x\n option b 'e'\"f\"g\\ h\\\ni\n", &["x.b='efg hi'"]),
            ("config a x\n option b 'it'\\''s'", &["x.b='it's'"]),
            ("config a\n option b 1\nconfig a\n option b 2\n", &[".b='1'", ".b='2'"]),
        ] {
            assert_eq!(shown_values(text), Ok(expected.iter().map(|line| (*line).to_owned()).collect()), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_uci_is_refused_with_its_line() {
        for (text, expected) in [
            ("config a x\n option b 'c\n", "the file ends within a text in quotes at line 2"),
            ("config a x\n option b 1\n list c \"d", "the file ends within a text in quotes at line 3"),
            ("option b c\n", "an option before the first section at line 1"),
            ("config a x y\n", "too many words: a value with spaces stands in quotes at line 1"),
            ("config a x\n option b c d\n", "too many words: a value with spaces stands in quotes at line 2"),
            ("package a b\n", "too many words: a value with spaces stands in quotes at line 1"),
            ("config a 'x-y'\n", "a name has letters, digits and _ only at line 1"),
            ("config a x\n option b.c 1\n", "a name has letters, digits and _ only at line 2"),
            ("config\n", "a command without a name behind it at line 1"),
            ("config a x\n\n opt b c\n", "neither config, nor option, nor list at line 3"),
            ("config a x; option b c\n", "a semicolon outside of quotes at line 1"),
            (
                "config a x\n option b 1\nconfig b x\n",
                "a section of this name and of another type stands before it at line 3",
            ),
            ("config a x\npackage b\n", "neither config, nor option, nor list at line 2"),
            ("config a x\n option b 'a\u{1b}[2J'\n", "a control character at line 2"),
            ("vici_socket: /run/vici\n", "neither config, nor option, nor list at line 1"),
        ] {
            assert_eq!(shown_values(text), Err(expected.into()), "{text:?}");
        }
        let long = "config a\n".repeat(MOST + 1);
        let expected = "too long: more sections and values than any configuration needs at line 5001";
        assert_eq!(shown_values(&long), Err(expected.into()));
    }

    const WORDS: [&UciWord; 3] = [
        &UciWord { word: "peer", is_section: true, key: "vpn.peers", implied: None },
        &UciWord { word: "vpn_interfaces", is_section: false, key: "vpn.interfaces", implied: None },
        &UciWord { word: "rule", is_section: true, key: "rules", implied: Some(("file", "/run/*.status")) },
    ];

    fn read(text: &str) -> Result<UciFile, String> {
        parse(text, &WORDS, &["vpn", "dns"]).map_err(|error| error.to_string())
    }

    #[test]
    fn options_and_sections_become_keys() {
        let mut read = read(
            "config gateway-exporter 'cfg0'\n\toption enabled 1\n\toption vpn auto\n\toption dns off\n\toption web_allow '192.0.2.1 ::1'\n\
             \tlist metrics_without sas\n\tlist metrics_without pools\n\toption vpn_interfaces wg0\n\toption server_name gw\n\
             \toption web_open 1\nconfig peer laptop\n\toption expected 0\nconfig rule a\nconfig rule b\n\toption file /b\nconfig peer\n",
        )
        .expect("valid");
        assert_eq!(read.switches, [("dns".into(), false)]);
        let file = &mut read.file;
        let texts = |found: Result<Option<Vec<crate::settings::Located<String>>>, ConfigError>| -> Vec<String> {
            found.expect("a list").unwrap_or_default().into_iter().map(|text| text.value).collect()
        };
        let mut web = file.section("web").expect("web");
        assert_eq!(
            (texts(web.texts("allow")), web.switch("open")),
            (vec!["192.0.2.1".into(), "::1".into()], Ok(Some(true)))
        );
        assert_eq!(texts(file.section("metrics").expect("metrics").texts("without")), ["sas", "pools"]);
        let mut vpn = file.section("vpn").expect("vpn");
        assert_eq!(texts(vpn.texts("interfaces")), ["wg0"]);
        let mut peers = vpn.sections("peers").expect("peers");
        assert_eq!((peers.len(), peers[0].switch("expected")), (2, Ok(Some(false))));
        let mut rules = file.sections("rules").expect("rules");
        let files: Vec<_> =
            rules.iter_mut().map(|rule| rule.text("file").expect("a text").expect("one").value).collect();
        assert_eq!(files, ["/run/a.status", "/b"]);
        assert_eq!(file.text("server_name").expect("a text").expect("one").value, "gw");
        assert!(file.is_empty());
    }

    #[test]
    fn what_means_nothing_is_refused_with_its_line() {
        for (text, expected) in [
            (
                "config gateway-exporter a\nconfig gateway-exporter b\n",
                "a second section of the type gateway-exporter at line 2",
            ),
            ("config gateway-exporter\n option enabled maybe\n", "enabled: expected 1 or 0 at line 2"),
            ("config gateway-exporter\n list enabled 1\n", "enabled: expected 1 or 0 at line 2"),
            (
                "config gateway-exporter\n option listen_interface \"lan'] @.x['\"\n",
                "listen_interface: expected the name of an interface, or * at line 2",
            ),
            ("config gateway-exporter\n option listen_port 99999\n", "listen_port: expected a port at line 2"),
            (
                "config gateway-exporter\n option web_telemetry_path metrics\n",
                "web_telemetry_path: expected a path that begins with a slash at line 2",
            ),
            ("config gateway-exporter\n option vpn maybe\n", "vpn: expected auto, 1 or 0 at line 2"),
            ("\nconfig sockets a\n", "unknown section type `sockets` (known: gateway-exporter, peer, rule) at line 2"),
            ("config gateway-exporter\n option web_allow a\n option web b\n", "web: it is written twice at line 3"),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(expected.into()), "{text:?}");
        }
    }
}
