//! Names of peers from the files that configure them: comments `# friendly_name = …` in the files of wg-quick(8), and
//! the option `description` in OpenWrt's `/etc/config/network`.
//!
//! Formats: wg(8), and <https://openwrt.org/docs/guide-user/base-system/uci#file_syntax>. The comment stands in the
//! section `[Peer]` that it names, before or behind its `PublicKey`. Whatever else is in these files, among it private
//! keys, is passed over.

use std::hash::{BuildHasher, RandomState};

use super::key::Key;
use crate::hash_index::HashIndex;
use crate::text::Text;

/// The most names of one file.
const MOST: usize = 65_536;

/// Names by public keys.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<(Key, Box<str>)>,
    index: HashIndex,
    hasher: RandomState,
}

impl Names {
    /// No names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The name of a peer.
    pub fn get(&self, key: Key) -> Option<&str> {
        // The hash takes 300 instructions for each peer, and many have no names at all.
        if self.names.is_empty() {
            return None;
        }
        let (_, name) = self.names.get(*self.index.get(&self.hash(key))?)?;
        Some(name)
    }

    /// Gives a peer a name, unless it has one; whether it had none.
    pub fn add(&mut self, key: Key, name: &str) -> bool {
        let is_new = self.get(key).is_none();
        if is_new {
            self.index.insert(self.hash(key), self.names.len());
            self.names.push((key, name.into()));
        }
        is_new
    }

    /// All names.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(_, name)| &**name)
    }

    // As a slice, for which others need the same code: 0.3 KB less on MIPS.
    fn hash(&self, Key(key): Key) -> u64 {
        self.hasher.hash_one(key.as_slice())
    }

    /// Adds the names of another file, of peers that have none.
    pub fn add_all(&mut self, other: &Self) {
        for (key, name) in &other.names {
            self.add(*key, name);
        }
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names
    }
}

impl Eq for Names {}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As wg-quick reads it.
    Quick,
    /// As OpenWrt's UCI reads it.
    Uci,
}

/// A file that is being read, a line at a time.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    is_peer: bool,
    key: Option<Key>,
    name: Option<Box<str>>,
    names: Names,
}

impl Reader {
    /// Begins a file.
    pub fn new(format: Format) -> Self {
        Self { format, is_peer: false, key: None, name: None, names: Names::new() }
    }

    /// Reads one line.
    pub fn read(&mut self, line: Text<'_>) {
        match self.format {
            Format::Quick => self.read_quick(line.trim()),
            Format::Uci => self.read_uci(line.trim()),
        }
    }

    /// Ends the file, and gives its names.
    pub fn end(mut self) -> Names {
        self.begin(false);
        self.names
    }

    /// Ends a section and begins another.
    fn begin(&mut self, is_peer: bool) {
        self.is_peer = is_peer;
        if let (Some(key), Some(name)) = (self.key.take(), self.name.take())
            && self.names.names.len() < MOST
        {
            self.names.add(key, &name);
        }
    }

    fn read_quick(&mut self, line: Text<'_>) {
        let line = match line.after("#") {
            Some(comment) => {
                let name = comment.cut(b'=').filter(|(key, _)| key.trim() == "friendly_name");
                if let Some((_, name)) = name.filter(|_| self.is_peer) {
                    self.name = shown(name.trim());
                }
                return;
            }
            None => line.cut(b'#').map_or(line, |(line, _)| line.trim()),
        };
        if line.after("[").is_some() {
            self.begin(line.bytes().eq_ignore_ascii_case(b"[peer]"));
        } else if let Some((key, value)) = line.cut(b'=')
            && self.is_peer
            && key.trim().bytes().eq_ignore_ascii_case(b"publickey")
        {
            self.key = Key::parse(value.trim().bytes());
        }
    }

    fn read_uci(&mut self, line: Text<'_>) {
        let Some((command, rest)) = line.cut_word() else { return };
        let is_section = command == "config";
        if is_section || command == "package" {
            self.begin(is_section && word(rest).0.starts_with(b"wireguard_"));
        } else if command == "option" && self.is_peer {
            let (option, rest) = word(rest);
            // No copy is made of other values: they may be private keys.
            if option == b"public_key" {
                self.key = Key::parse(&word(rest).0);
            } else if option == b"description" {
                self.name = shown(Text::new(&word(rest).0));
            }
        }
    }
}

/// A name to be kept; none where it is empty.
fn shown(name: Text<'_>) -> Option<Box<str>> {
    (!name.is_empty()).then(|| name.to_string().into_boxed_str())
}

/// The first word of a UCI line, and what follows it. Parts in quotes may have white space in them; a backslash takes its
/// meaning from the character behind it, but not between single quotes.
fn word(line: Text<'_>) -> (Vec<u8>, Text<'_>) {
    let (mut word, mut quote) = (Vec::new(), None);
    let mut bytes = line.bytes().trim_ascii_start();
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        match (byte, quote) {
            (b'\\', None | Some(b'"')) => {
                let Some((escaped, rest)) = bytes.split_first() else { break };
                word.push(*escaped);
                bytes = rest;
            }
            (b'\'' | b'"', None) => quote = Some(*byte),
            (byte, Some(end)) if *byte == end => quote = None,
            (b' ' | b'\t' | b'#', None) => break,
            (byte, _) => word.push(*byte),
        }
    }
    (word, Text::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 3] = [
        "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
        "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    ];

    fn names(format: Format, text: &str) -> Vec<String> {
        let mut text = text.to_owned();
        for (number, key) in KEYS.iter().enumerate() {
            text = text.replace(&format!("KEY{number}"), key);
        }
        let mut reader = Reader::new(format);
        Text::from(text.as_str()).lines().for_each(|line| reader.read(line));
        let names = reader.end();
        let of = |key: &&str| names.get(Key::parse(key.as_bytes()).unwrap()).unwrap_or("-").to_owned();
        KEYS.iter().map(of).collect()
    }

    #[test]
    fn comments_name_the_peer_in_whose_section_they_stand() {
        let text = "# friendly_name = nobody\n[Interface]\nPrivateKey = KEY2\n# friendly_name = the gateway\n\n\
                    [Peer]\n# Ann's phone\n# friendly_name=Ann's phone = new\nPublicKey = KEY0 # hers\nAllowedIPs = 10.0.0.2/32\n\n\
                    [ peer ]\nPublicKey = KEY2\n[PEER]\r\npublickey=KEY1\r\n  #   friendly_name   =   branch office  \r\n";
        assert_eq!(names(Format::Quick, text), ["Ann's phone = new", "branch office", "-"]);
    }

    #[test]
    fn a_peer_without_a_key_or_a_name_is_none() {
        let text = "[Peer]\n# friendly_name = keyless\n[Peer]\nPublicKey = KEY1\n# friendly_name =\n[Peer]\n\
                    # friendly_name = broken\nPublicKey = KEY\n";
        assert_eq!(names(Format::Quick, text), ["-", "-", "-"]);
    }

    #[test]
    fn descriptions_are_options_of_a_peers_section() {
        let text = "config interface 'wg0'\n\toption proto 'wireguard'\n\toption private_key 'KEY2'\n\toption description 'no'\n\n\
                    config wireguard_wg0\n\toption description 'Ann'\\''s phone'\n\toption public_key 'KEY0'\n\tlist allowed_ips 'x'\n\n\
                    config 'wireguard_wg1' \"branch\" # one\n\toption public_key\tKEY1\n\toption 'description' \"the \\\"branch\\\"\"\n\
                    config device\n\toption description 'KEY2'\n\
                    config wireguards\n\toption public_key 'KEY2'\n\toption description 'no interface'\n";
        assert_eq!(names(Format::Uci, text), ["Ann's phone", "the \"branch\"", "-"]);
    }

    #[test]
    fn a_uci_line_that_ends_early_harms_nothing() {
        for text in
            ["config", "config wireguard_x\noption", "option description '", "config wireguard_\noption description \\"]
        {
            assert_eq!(names(Format::Uci, text), ["-", "-", "-"], "{text:?}");
        }
    }

    #[test]
    fn a_backslash_between_single_quotes_is_itself_and_white_space_in_quotes_stays() {
        for (value, expected) in [
            (r"'C:\Ann'", r"C:\Ann"),
            (r#""C:\\Ann""#, r"C:\Ann"),
            (r"two\ words", "two words"),
            ("' a '", " a "),
            ("bare#comment", "bare"),
        ] {
            let text = format!("config wireguard_x\noption public_key KEY0\noption description {value}\n");
            assert_eq!(names(Format::Uci, &text)[0], expected, "{value}");
        }
    }

    #[test]
    fn of_a_file_65536_names_are_kept() {
        let mut reader = Reader::new(Format::Quick);
        for number in 0..65_537_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            for line in ["[Peer]".to_owned(), format!("PublicKey = {}", Key(bytes)), "# friendly_name = x".to_owned()] {
                reader.read(Text::from(line.as_str()));
            }
        }
        assert_eq!(reader.end().names.len(), 65_536);
    }
}
