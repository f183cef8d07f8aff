//! ipsec.conf: which tunnels are configured, and what each conn says about its kind.
//!
//! Formats: ipsec.conf(5) of strongSwan (`starter/parser/`) and of libreswan (`ipsecconf/`). They differ in more than
//! keys, so a file is read in one [`Dialect`]:
//!
//! | | strongSwan | libreswan to 4, Openswan | libreswan 5 |
//! |---|---|---|---|
//! | `#` behind a word | a comment, unless as `@#` | part of the word | part of the word |
//! | `"…"` | may hold `\"` and line ends | neither | neither |
//! | keys and words | as written | in any case | in any case |
//! | one key twice in a conn | the last counts | the conn is not loaded, unless they are equal | the first counts |
//! | a conn against its `also` | the conn's own counts | the conn's own counts | not loaded, unless they are equal |
//! | several `also` | the last counts | the first counts | not loaded, unless they are equal |
//! | `also=A B` | a conn with that name | two conns | two conns |
//! | `key=` | clears what is inherited | says nothing | says nothing |
//!
//! A daemon refuses a file with one mistake in it; we complain about the line and keep the rest, since the daemon may
//! have read an older version. A carriage return is white space.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;

use crate::hash_index::NameIndex;
use crate::text::Text;

use super::kind::{self, Dialect, End, Start};

/// The most complaints that are kept.
const COMPLAINT_LIMIT: usize = 100;

/// The most `also` lines that are followed for one conn.
const ALSO_LIMIT: usize = 256;

/// The longest pattern whose braces are expanded, and the most patterns that it is expanded to.
const PATTERN_LIMIT: usize = 1024;
const ALTERNATIVE_LIMIT: usize = 100;

/// The most networks of an end that are compared with each other; of more, each counts.
const NETWORK_LIMIT: usize = 100;

const NO_NAME: &str = "a name is missing";

/// The keys of a conn that matter here.
const CONN_KEYS: [&str; 5] = ["auto", "type", "authby", "xauth", "keyexchange"];

/// The same for one end, behind `left` or `right`; the last three are libreswan's.
const END_KEYS: [&str; 8] = ["", "subnet", "auth", "auth2", "subnets", "autheap", "xauthserver", "xauthclient"];

/// All keys: those of a conn, of its left end, of its right end.
const KEY_COUNT: usize = CONN_KEYS.len() + 2 * END_KEYS.len();

/// One conn, with what it inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The conn's name.
    pub name: Vec<u8>,
    /// What it says about its kind.
    pub conn: kind::Conn,
}

/// What one line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Statement<'a> {
    /// `conn NAME`: settings of a connection follow.
    Conn(Cow<'a, [u8]>),
    /// `config setup` or `ca NAME`: settings that are not about connections follow.
    Other,
    /// An indented `key = value`.
    Setting(Text<'a>, Cow<'a, [u8]>),
    /// `include PATTERN`, to be replaced by the files that match.
    Include(Cow<'a, [u8]>),
    /// A line in a section that is none of these, and why.
    Unknown(&'static str),
    /// A line outside of a section that is none of these, and why: what follows is not the section's before.
    Stray(&'static str),
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor {
    offset: usize,
    /// The line of the last statement, from 1.
    pub line: usize,
    following: usize,
}

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The number of the file, as the caller counts them.
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
}

/// What was not understood, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file and line.
    pub location: Location,
    /// In the operator's words.
    pub what: &'static str,
}

/// The sections, as the statements of all files build them up.
#[derive(Default)]
pub struct Sections {
    dialect: Dialect,
    conns: Vec<Conn>,
    numbers: NameIndex,
    current: Current,
    complaints: Vec<Complaint>,
}

/// Whose settings follow.
#[derive(Clone, Copy, Default)]
enum Current {
    #[default]
    None,
    Conn(usize),
    Other,
}

struct Conn {
    name: Vec<u8>,
    keys: Keys,
    /// Two different values for one key.
    is_ambiguous: bool,
    also: Vec<(Vec<u8>, Location)>,
}

/// The values by key; absent where none is written.
#[derive(Clone, Default)]
struct Keys([Option<Rc<[u8]>>; KEY_COUNT]);

impl Keys {
    /// Own settings over inherited ones, key by key; whether one of them differs from what it hides.
    fn over(&self, inherited: &mut Self) -> bool {
        let mut differs = false;
        for (at, (own, other)) in self.0.iter().zip(&mut inherited.0).enumerate() {
            let Some(value) = own else { continue };
            differs |= !is_list(at) && other.as_ref().is_some_and(|other| !other.eq_ignore_ascii_case(value));
            *other = Some(Rc::clone(value));
        }
        differs
    }

    fn get(&self, at: usize) -> Text<'_> {
        self.0.get(at).and_then(Option::as_deref).map(Text::new).unwrap_or_default()
    }
}

/// The index of a key among all; absent for one that doesn't matter here.
fn place_of(key: Text<'_>, dialect: Dialect) -> Option<usize> {
    let is = |written: &[u8], name: &str| is_word(Text::new(written), name, dialect);
    let find = |written: &[u8], names: &[&str]| names.iter().position(|name| is(written, name));
    if let Some(at) = find(key.bytes(), &CONN_KEYS) {
        return Some(at);
    }
    let ends = [("left", CONN_KEYS.len()), ("right", CONN_KEYS.len().saturating_add(END_KEYS.len()))];
    ends.into_iter().find_map(|(side, first)| {
        let (written, name) = key.bytes().split_at_checked(side.len())?;
        is(written, side).then(|| find(name, &END_KEYS)).flatten().map(|at| at.saturating_add(first))
    })
}

impl Sections {
    /// No sections yet, of a file in that dialect.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Takes the next statement, in the order in which included files replace their `include`.
    pub fn take(&mut self, statement: &Statement<'_>, location: Location) {
        match statement {
            Statement::Conn(name) => self.current = Current::Conn(self.conn(name)),
            Statement::Other => self.current = Current::Other,
            Statement::Setting(key, value) => self.set(*key, value, location),
            Statement::Include(_) => {}
            Statement::Unknown(what) => self.complain(location, what),
            Statement::Stray(what) => {
                self.current = Current::Other;
                self.complain(location, what);
            }
        }
    }

    /// The conns in the order of their first mention, with all that they inherit.
    pub fn tunnels(mut self) -> (Vec<Tunnel>, Vec<Complaint>) {
        let parents = self.parents();
        let mut tunnels = Vec::new();
        let mut seen = vec![usize::MAX; self.conns.len()];
        for (number, conn) in self.conns.iter().enumerate().filter(|(_, conn)| conn.name != b"%default") {
            let (keys, is_refused) = match self.dialect {
                Dialect::StrongSwan => (self.inherit_last(number, &parents, &mut seen), false),
                _ => self.inherit_first(number, &parents, &mut seen),
            };
            tunnels.push(Tunnel { name: conn.name.clone(), conn: meaning(&keys, is_refused, self.dialect) });
        }
        (tunnels, self.complaints)
    }

    /// The number of the conn of that name; the same name again continues the first.
    fn conn(&mut self, name: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(&[name]) {
            return number;
        }
        let number = self.conns.len();
        self.numbers.insert(&[name], number);
        self.conns.push(Conn { name: name.to_vec(), keys: Keys::default(), is_ambiguous: false, also: Vec::new() });
        number
    }

    fn set(&mut self, key: Text<'_>, value: &[u8], location: Location) {
        let number = match self.current {
            Current::Conn(number) => number,
            Current::Other => return,
            Current::None => return self.complain(location, "a setting outside of any section"),
        };
        let dialect = self.dialect;
        if is_word(key, "auto", dialect) && start_of(Text::new(value), dialect).is_none() {
            self.complain(location, "auto has a value that is not known, so the conn is not loaded");
        }
        let Some(conn) = self.conns.get_mut(number) else { return };
        if is_word(key, "also", dialect) {
            if !value.is_empty() && value != b"%default" {
                conn.also.push((value.to_vec(), location));
            }
        } else if let Some(at) = place_of(key, dialect).filter(|_| !(dialect.is_libreswan() && value.is_empty())) {
            conn.set(at, value, dialect);
        }
    }

    fn complain(&mut self, location: Location, what: &'static str) {
        if self.complaints.len() < COMPLAINT_LIMIT {
            self.complaints.push(Complaint { location, what });
        }
    }

    /// The numbers of the conns that each conn names by `also`, in the order written.
    fn parents(&mut self) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        let mut missing = Vec::new();
        for conn in &self.conns {
            let mut found = Vec::new();
            for (written, location) in &conn.also {
                let whole = self.numbers.get(&[written]);
                let is_one = whole.is_some() || !self.dialect.is_libreswan();
                let names: Vec<Text<'_>> =
                    if is_one { vec![Text::new(written)] } else { Text::new(written).words().collect() };
                let numbers = names.iter().map(|name| self.numbers.get(&[name.bytes()]));
                let before = found.len();
                found.extend(numbers.flatten());
                if found.len().saturating_sub(before) < names.len() && missing.len() < COMPLAINT_LIMIT {
                    missing.push(*location);
                }
            }
            all.push(found);
        }
        for location in missing {
            self.complain(location, "also names a conn that is not there");
        }
        all
    }

    fn default_keys(&self) -> Keys {
        let default = self.numbers.get(&[b"%default"]).and_then(|number| self.conns.get(number));
        default.map(|conn| conn.keys.clone()).unwrap_or_default()
    }

    /// strongSwan: the settings of a conn over those of its parents, a later `also` over an earlier one,
    /// a parent over its own parents, and all of them over `%default`.
    ///
    /// Parents are resolved before their children, and each of them once, so that a loop ends; `seen` has for each conn
    /// the one for which it was visited last.
    fn inherit_last(&self, start: usize, parents: &[Vec<usize>], seen: &mut [usize]) -> Keys {
        let mut keys = self.default_keys();
        let mut path = vec![(start, 0usize)];
        let mut followed = 0usize;
        while let Some((number, next)) = path.last_mut() {
            let parent = parents.get(*number).and_then(|parents| parents.get(*next));
            if let Some(parent) = parent.filter(|_| followed < ALSO_LIMIT) {
                *next = next.saturating_add(1);
                followed = followed.saturating_add(1);
                if let Some(seen) = seen.get_mut(*parent).filter(|seen| **seen != start && *parent != start) {
                    *seen = start;
                    path.push((*parent, 0));
                }
                continue;
            }
            if let Some(conn) = self.conns.get(*number) {
                conn.keys.over(&mut keys);
            }
            path.pop();
        }
        keys
    }

    /// libreswan: a conn, then those it names by `also` in the order in which they are met, each once; what is set
    /// stays. And whether two of the values differ in a way for which that version does not load the conn.
    fn inherit_first(&self, start: usize, parents: &[Vec<usize>], seen: &mut [usize]) -> (Keys, bool) {
        let mut queue = vec![start];
        let (mut next, mut followed) = (0usize, 0usize);
        while let Some(number) = queue.get(next).copied() {
            next = next.saturating_add(1);
            for parent in parents.get(number).into_iter().flatten() {
                if followed >= ALSO_LIMIT {
                    break;
                }
                followed = followed.saturating_add(1);
                if let Some(seen) = seen.get_mut(*parent).filter(|seen| **seen != start && *parent != start) {
                    *seen = start;
                    queue.push(*parent);
                }
            }
        }
        let (mut keys, mut differs) = (Keys::default(), false);
        for conn in queue.iter().rev().filter_map(|number| self.conns.get(*number)) {
            differs |= conn.keys.over(&mut keys);
        }
        let mut all = self.default_keys();
        keys.over(&mut all);
        let is_refused = match self.dialect {
            Dialect::Libreswan5 => differs,
            _ => self.conns.get(start).is_some_and(|conn| conn.is_ambiguous),
        };
        (all, is_refused)
    }
}

impl Conn {
    /// Takes a value for the key at that index, by the rule for a key that stands twice.
    fn set(&mut self, at: usize, value: &[u8], dialect: Dialect) {
        let Some(slot) = self.keys.0.get_mut(at) else { return };
        let is_last_right = match dialect {
            Dialect::StrongSwan => true,
            Dialect::Libreswan4 => self.name == b"%default",
            Dialect::Libreswan5 => false,
        };
        match slot {
            // Lists of networks are added up.
            Some(before) if dialect.is_libreswan() && is_list(at) => {
                *slot = Some([before, b" ".as_slice(), value].concat().into());
            }
            Some(before) if !is_last_right => self.is_ambiguous |= !before.eq_ignore_ascii_case(value),
            _ => *slot = Some(value.into()),
        }
    }
}

/// Whether the key at that index is `leftsubnets` or `rightsubnets`.
fn is_list(at: usize) -> bool {
    at.checked_sub(CONN_KEYS.len()).and_then(|at| END_KEYS.get(at % END_KEYS.len())) == Some(&"subnets")
}

/// What the keys of a conn mean for its kind.
fn meaning(keys: &Keys, is_refused: bool, dialect: Dialect) -> kind::Conn {
    let is = |text: Text<'_>, word: &str| is_word(text, word, dialect);
    let [auto, kind, authby, xauth, keyexchange] = [0, 1, 2, 3, 4].map(|at| keys.get(at));
    let [mut left, mut right] = [0, END_KEYS.len()].map(|first| EndKeys::of(keys, first));
    // If one end is configured as the client, the other is the server.
    let [left_logs_in, right_logs_in] = [(&left, &right), (&right, &left)].map(|(end, other)| {
        [end.auth, end.auth2, end.autheap].into_iter().any(names_users) || is_yes(end.client) || is_yes(other.server)
    });
    let says_how = !(left.auth.is_empty() && right.auth.is_empty());
    let by_xauth = !says_how && authby.after("xauth").is_some();
    let is_server = is(xauth, "server") || names_users(xauth);
    (left.logs_in, right.logs_in) = (left_logs_in || by_xauth && !is_server, right_logs_in || by_xauth && is_server);
    if names_users(authby) && !by_xauth && !says_how || names_users(xauth) {
        right.logs_in = true;
        left.logs_in |= dialect.is_libreswan();
    }
    let shunts = ["passthrough", "pass", "drop", "reject"];
    // In strongSwan, IKEv1 agrees on one network of each end, whatever is written.
    let takes_one = keyexchange == "ikev1" && !dialect.is_libreswan();
    kind::Conn {
        start: start_of(auto, dialect).unwrap_or_default(),
        is_shunt: shunts.iter().any(|word| is(kind, word)) || is(authby, "never"),
        is_refused,
        left: left.end(dialect, takes_one),
        right: right.end(dialect, takes_one),
    }
}

/// What is written for one end.
struct EndKeys<'a> {
    host: Text<'a>,
    subnet: Text<'a>,
    auth: Text<'a>,
    auth2: Text<'a>,
    subnets: Text<'a>,
    autheap: Text<'a>,
    server: Text<'a>,
    client: Text<'a>,
    logs_in: bool,
}

impl<'a> EndKeys<'a> {
    fn of(keys: &'a Keys, first: usize) -> Self {
        let at = |number: usize| keys.get(CONN_KEYS.len().saturating_add(first).saturating_add(number));
        let [host, subnet, auth, auth2, subnets, autheap, server, client] = [0, 1, 2, 3, 4, 5, 6, 7].map(at);
        Self { host, subnet, auth, auth2, subnets, autheap, server, client, logs_in: false }
    }

    fn end(&self, dialect: Dialect, takes_one: bool) -> End {
        let separates = |byte: &u8| byte.is_ascii_whitespace() || b",{}".contains(byte);
        let is_libreswan = dialect.is_libreswan();
        let (list, one) = if is_libreswan { (self.subnets, self.subnet) } else { (self.subnet, Text::default()) };
        let written = list.bytes().split(separates).chain([one.bytes()]).map(Text::new);
        // libreswan adds `subnet` to `subnets`, unless it is `vhost:…` or `vnet:…`.
        let counts = |network: &Text<'_>| !takes_one && !network.is_empty() && network.after("v").is_none();
        let all: Vec<Network<'_>> = written.filter(counts).map(Network::of).collect();
        let mut networks = [0usize; 2];
        for (at, network) in all.iter().enumerate() {
            if !is_libreswan && all.len() <= NETWORK_LIMIT && network.is_part_of_others(at, &all) {
                continue;
            }
            let [ipv4, ipv6] = &mut networks;
            let count = if is_libreswan && network.written.contains(":") { ipv6 } else { ipv4 };
            *count = count.saturating_add(1);
        }
        let host = (!self.host.is_empty()).then(|| self.host.bytes().into());
        End { host, logs_in: self.logs_in, networks }
    }
}

/// A network of an end.
struct Network<'a> {
    written: Text<'a>,
    /// Absent for ranges, ports and `%dynamic`.
    parsed: Option<Prefix>,
}

/// An address and how many of its bits count.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Prefix {
    is_ipv4: bool,
    /// From the left.
    bits: u128,
    length: u32,
}

impl<'a> Network<'a> {
    fn of(written: Text<'a>) -> Self {
        Self { written, parsed: Prefix::parse(written) }
    }

    /// Whether it is part of another one, or is written before, too; it stands at that index.
    fn is_part_of_others(&self, at: usize, all: &[Self]) -> bool {
        all.iter().enumerate().any(|(other_at, other)| match (self.parsed, other.parsed) {
            (Some(this), Some(other)) => this.is_in(other) && (other_at < at || other.length < this.length),
            _ => self.written == other.written && other_at < at,
        })
    }
}

impl Prefix {
    fn parse(network: Text<'_>) -> Option<Self> {
        let (address, length) = network.cut(b'/').map_or((network, None), |(address, length)| (address, Some(length)));
        let (is_ipv4, bits, most) = match address.address()? {
            IpAddr::V4(address) => (true, u128::from(address.to_bits()) << 96, 32),
            IpAddr::V6(address) => (false, address.to_bits(), 128),
        };
        let length = u32::try_from(length.map_or(Some(most), Text::number)?).ok()?;
        Some(Self { is_ipv4, bits, length })
    }

    /// Whether another one has all of its addresses.
    fn is_in(self, other: Self) -> bool {
        self.is_ipv4 == other.is_ipv4
            && other.length <= self.length
            && (self.bits ^ other.bits).leading_zeros() >= other.length
    }
}

/// What `auto` means; absent for a word that the daemon does not know.
fn start_of(word: Text<'_>, dialect: Dialect) -> Option<Start> {
    let words: &[(&str, Start)] = match dialect {
        Dialect::StrongSwan => {
            &[("ignore", Start::Ignore), ("add", Start::Add), ("route", Start::Route), ("start", Start::Start)]
        }
        _ => &[
            ("ignore", Start::Ignore),
            ("add", Start::Add),
            ("route", Start::Route),
            ("ondemand", Start::Route),
            ("start", Start::Start),
            ("up", Start::Start),
            ("keep", Start::Start),
        ],
    };
    let known = words.iter().find(|(known, _)| is_word(word, known, dialect)).map(|(_, start)| *start);
    known.or_else(|| word.is_empty().then_some(Start::Ignore))
}

fn is_word(text: Text<'_>, word: &str, dialect: Dialect) -> bool {
    text == word || dialect.is_libreswan() && text.bytes().eq_ignore_ascii_case(word.as_bytes())
}

/// Whether a value says that the peer at this end proves a user name: by EAP, by XAuth, by EAP-TLS.
fn names_users(value: Text<'_>) -> bool {
    value.after("eap").is_some() || value.after("xauth").is_some() || value.bytes().eq_ignore_ascii_case(b"tls")
}

fn is_yes(value: Text<'_>) -> bool {
    ["yes", "y", "true", "on", "1"].iter().any(|word| value.bytes().eq_ignore_ascii_case(word.as_bytes()))
}

/// Parses the next statement behind `cursor`; absent at the end of the file.
pub fn parse<'a>(file: Text<'a>, cursor: &mut Cursor, dialect: Dialect) -> Option<Statement<'a>> {
    // Editors on Windows begin a file with a byte order mark.
    if cursor.offset == 0 && file.after("\u{feff}").is_some() {
        cursor.offset = "\u{feff}".len();
    }
    loop {
        let rest = file.bytes().get(cursor.offset..).filter(|rest| !rest.is_empty())?;
        let line = Line::cut(rest, dialect);
        cursor.line = cursor.line.max(1).saturating_add(cursor.following);
        cursor.offset = cursor.offset.saturating_add(line.length);
        cursor.following = line.ends;
        if let Some(statement) = line.statement() {
            return Some(statement);
        }
    }
}

/// One line, or several where a quoted value goes on over their ends.
struct Line<'a> {
    /// Without the comment.
    text: Text<'a>,
    /// With the comment and the line end.
    length: usize,
    /// How many line ends it has.
    ends: usize,
    quote_is_open: bool,
    has_escapes: bool,
}

impl<'a> Line<'a> {
    fn cut(rest: &'a [u8], dialect: Dialect) -> Self {
        let mut scan = Scan { dialect, ..Scan::default() };
        let mut first_end = None;
        for (at, byte) in rest.iter().enumerate() {
            let after = rest.get(at.saturating_add(1)..).unwrap_or_default();
            if *byte == b'\n' {
                scan.ends = scan.ends.saturating_add(1);
                first_end.get_or_insert(at);
                if !scan.quoted {
                    return scan.line(rest, at, false);
                }
                if dialect.is_libreswan() || starts_section(Text::new(after)) {
                    break;
                }
            }
            scan.step(at, *byte);
        }
        if !scan.quoted {
            return scan.line(rest, rest.len(), false);
        }
        // The quote was never closed: it costs its own line only.
        let end = first_end.unwrap_or(rest.len());
        Scan { dialect, ends: usize::from(first_end.is_some()), ..Scan::default() }.line(rest, end, true)
    }

    /// What the line says; nothing where it is empty.
    fn statement(&self) -> Option<Statement<'a>> {
        let content = self.text.trim();
        if content.is_empty() {
            return None;
        }
        if self.quote_is_open {
            return Some(Statement::Unknown("a quote that is not closed"));
        }
        let (first, rest) = content.cut_word().unwrap_or((content, Text::default()));
        let is_setting = rest.after("=").is_some();
        match first.bytes() {
            b"version" if !is_setting => None,
            b"include" if !is_setting => Some(match word(rest, self.has_escapes) {
                Some((pattern, _)) => Statement::Include(pattern),
                None => Statement::Unknown(NO_NAME),
            }),
            _ if self.text.bytes().first().is_some_and(u8::is_ascii_whitespace) => {
                Some(setting(content, self.has_escapes))
            }
            _ => Some(section(content, self.has_escapes)),
        }
    }
}

/// What precedes the next byte.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Before {
    #[default]
    Space,
    /// The first byte of a word is `@`, and nothing follows it yet.
    At,
    Word,
}

/// Where a scan over bytes stands: in a comment, in quotes, or in neither.
#[derive(Default)]
struct Scan {
    dialect: Dialect,
    quoted: bool,
    escaped: bool,
    comment: Option<usize>,
    before: Before,
    ends: usize,
}

impl Scan {
    fn step(&mut self, at: usize, byte: u8) {
        if self.comment.is_some() {
            return;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted && !self.dialect.is_libreswan() => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            b'#' if !self.quoted && self.starts_comment() => self.comment = Some(at),
            _ => {}
        }
        self.before = match byte {
            _ if byte.is_ascii_whitespace() => Before::Space,
            b'=' if !self.dialect.is_libreswan() => Before::Space,
            b'@' if self.before == Before::Space => Before::At,
            _ => Before::Word,
        };
    }

    /// Whether a `#` here starts a comment.
    fn starts_comment(&self) -> bool {
        match self.before {
            Before::Space => true,
            Before::At => false,
            Before::Word => !self.dialect.is_libreswan(),
        }
    }

    fn line<'a>(&self, rest: &'a [u8], end: usize, quote_is_open: bool) -> Line<'a> {
        let text = rest.get(..self.comment.unwrap_or(end)).unwrap_or_default();
        let length = end.saturating_add(1).min(rest.len());
        Line {
            text: Text::new(text),
            length,
            ends: self.ends,
            quote_is_open,
            has_escapes: !self.dialect.is_libreswan(),
        }
    }
}

/// The patterns that an include with `{a,b}` stands for, as libreswan reads it; else the pattern itself.
pub fn alternatives(pattern: &str) -> Vec<String> {
    let (mut done, mut open) = (Vec::new(), vec![pattern.to_owned()]);
    while let Some(pattern) = open.pop() {
        let head = pattern.split_once('}').filter(|_| pattern.len() <= PATTERN_LIMIT);
        let cut = head.and_then(|(head, after)| Some((head.rsplit_once('{')?, after)));
        match cut.filter(|_| done.len().saturating_add(open.len()) < ALTERNATIVE_LIMIT) {
            Some(((before, words), after)) => {
                let words = words.rsplit(',').take(ALTERNATIVE_LIMIT);
                open.extend(words.map(|word| format!("{before}{word}{after}")));
            }
            None => done.push(pattern),
        }
    }
    done
}

fn starts_section(text: Text<'_>) -> bool {
    ["conn", "ca", "config", "include"].iter().any(|word| {
        text.after(word).and_then(|rest| rest.bytes().first().copied()).is_some_and(|byte| byte.is_ascii_whitespace())
    })
}

/// `conn NAME`, `ca NAME` or `config setup`; anything else ends the section before.
fn section(content: Text<'_>, has_escapes: bool) -> Statement<'_> {
    let kind =
        |word| content.after(word).filter(|rest| rest.bytes().first().is_some_and(|byte| b" \t\"".contains(byte)));
    if let Some(rest) = kind("conn") {
        let name = word(rest, has_escapes).map(|(name, _)| name).filter(|name| !name.is_empty());
        return name.map_or(Statement::Stray(NO_NAME), Statement::Conn);
    }
    if kind("ca").is_some() || kind("config").is_some_and(|rest| rest.trim() == "setup") {
        return Statement::Other;
    }
    match content.bytes() {
        b"conn" => Statement::Stray(NO_NAME),
        _ => Statement::Stray("neither a section nor an indented setting"),
    }
}

fn setting(content: Text<'_>, has_escapes: bool) -> Statement<'_> {
    let Some((key, value)) = content.cut(b'=') else {
        return Statement::Unknown("not key = value");
    };
    let key = key.trim();
    let key = key.after("\"").and_then(|key| key.before("\"")).unwrap_or(key);
    Statement::Setting(key, words(value, has_escapes))
}

/// A value: its words, with one space between them.
fn words(value: Text<'_>, has_escapes: bool) -> Cow<'_, [u8]> {
    let Some((first, mut rest)) = word(value, has_escapes) else { return Cow::default() };
    let mut all = first;
    while let Some((next, after)) = word(rest, has_escapes) {
        let all = all.to_mut();
        all.push(b' ');
        all.extend_from_slice(&next);
        rest = after;
    }
    all
}

/// The next word, bare or quoted, and what follows it.
fn word(text: Text<'_>, has_escapes: bool) -> Option<(Cow<'_, [u8]>, Text<'_>)> {
    let text = text.trim();
    if let Some(inside) = text.after("\"") {
        return Some(match has_escapes {
            true => quoted(inside.bytes()),
            false => {
                let (plain, rest) = inside.cut(b'"').unwrap_or((inside, Text::default()));
                (Cow::Borrowed(plain.bytes()), rest)
            }
        });
    }
    let end = text.bytes().iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'"');
    let (word, rest) = text.bytes().split_at_checked(end.unwrap_or(text.bytes().len()))?;
    (!word.is_empty()).then_some((Cow::Borrowed(word), Text::new(rest)))
}

/// The text before the closing quote, without its backslashes, and what follows the quote.
fn quoted(inside: &[u8]) -> (Cow<'_, [u8]>, Text<'_>) {
    let mut plain = Cow::Borrowed(inside.get(..0).unwrap_or_default());
    let mut rest = inside;
    loop {
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
        let (part, after) = rest.split_at_checked(length).unwrap_or_default();
        if plain.is_empty() {
            plain = Cow::Borrowed(part);
        } else {
            plain.to_mut().extend_from_slice(part);
        }
        rest = match after {
            [b'\\', b'\r', b'\n', after @ ..] | [b'\\', b'\n', after @ ..] => after,
            [b'\\', byte, after @ ..] => {
                plain.to_mut().push(unescape(*byte));
                after
            }
            [_, after @ ..] => return (plain, Text::new(after)),
            [] => return (plain, Text::default()),
        };
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Dialect::{Libreswan4, Libreswan5, StrongSwan};

    fn read(text: &str) -> (Vec<Tunnel>, Vec<Complaint>) {
        read_bytes(text.as_bytes(), StrongSwan)
    }

    fn sections(bytes: &[u8], dialect: Dialect) -> Sections {
        let (mut sections, mut cursor) = (Sections::new(dialect), Cursor::default());
        while let Some(statement) = parse(Text::new(bytes), &mut cursor, dialect) {
            sections.take(&statement, Location { file: 0, line: cursor.line });
        }
        sections
    }

    fn read_bytes(bytes: &[u8], dialect: Dialect) -> (Vec<Tunnel>, Vec<Complaint>) {
        sections(bytes, dialect).tunnels()
    }

    /// The conns by the rules of each dialect.
    fn by_dialect(text: &str) -> [Vec<String>; 3] {
        [StrongSwan, Libreswan4, Libreswan5]
            .map(|dialect| read_bytes(text.as_bytes(), dialect).0.iter().map(show).collect())
    }

    /// `name`, `name!` where it is not loaded, `name*` where who stands at the right end logs in.
    fn tunnels(text: &str) -> Vec<String> {
        let (tunnels, complaints) = read(text);
        assert!(complaints.is_empty(), "{complaints:?}");
        tunnels.iter().map(show).collect()
    }

    fn show(tunnel: &Tunnel) -> String {
        let name = String::from_utf8_lossy(&tunnel.name);
        let is_loaded = tunnel.conn.start != Start::Ignore && !tunnel.conn.is_refused;
        let sign = |is: bool, sign| if is { sign } else { "" };
        format!("{name}{}{}", sign(!is_loaded, "!"), sign(tunnel.conn.right.logs_in, "*"))
    }

    fn complaints(text: &str) -> Vec<(usize, &'static str)> {
        read(text).1.iter().map(|complaint| (complaint.location.line, complaint.what)).collect()
    }

    #[test]
    fn names_may_be_quoted_and_hold_anything_but_space() {
        let text = "conn a\n  left=1\nconn \"head office\"\nconn\tdots.x{1}[2]\r\n\nconn   b   # beside\nconn \"q\\\"uo#te\" \n";
        assert_eq!(tunnels(text), ["a!", "head office!", "dots.x{1}[2]!", "b!", "q\"uo#te!"]);
        assert_eq!(read_bytes(b"conn \xff", StrongSwan).0[0].name, b"\xff");
        assert_eq!(tunnels("\u{feff}conn a\n auto=add\n"), ["a"], "a byte order mark is no part of the first word");
    }

    #[test]
    fn comments_and_spaces_are_free() {
        let text = "version 2.0\nconfig setup\n\tauto=ignore # not a conn's\n# conn x\nconn a\n\n  # auto=add\n\t auto \t=  ignore\t# why\n \nca b\n\tauto=add\n";
        assert_eq!(tunnels(text), ["a!"]);
        assert_eq!(tunnels("conn a\n auto=\"ignore\"\nconn b\n rightid=\"# x\"\n auto=ignore"), ["a!", "b!"]);
        assert_eq!(tunnels("conn a\n rightid=@#00c0ffee\n \"auto\"=ignore\n"), ["a!"]);
    }

    #[test]
    fn default_is_inherited_wherever_it_stands_and_is_no_tunnel() {
        let text = "conn a\n right=1\nconn b\n auto=add\nconn %default\n auto=ignore\n rightauth=eap-md5\n";
        assert_eq!(tunnels(text), ["a!*", "b*"]);
    }

    #[test]
    fn also_is_inherited_through_chains_and_own_settings_win() {
        let text = "conn base\n auto=ignore\n rightauth=eap-tls\nconn middle\n also=base\n\
            conn a\n auto=add\n also=middle\nconn b\n also = \"middle\"\n rightauth=psk\n";
        assert_eq!(tunnels(text), ["base!*", "middle!*", "a*", "b!"]);
    }

    #[test]
    fn of_several_also_the_last_wins_but_a_child_over_its_parent() {
        // The orders that strongSwan's own parser documents: D B C A and E D C B A.
        let text = "conn A\n auto=add\nconn B\n also=A\nconn C\n also=A\n auto=ignore\nconn D\n also=C\n also=B\n";
        assert_eq!(tunnels(text), ["A", "B", "C!", "D!"]);
        let text = "conn A\n auto=ignore\nconn B\n auto=add\nconn C\n also=A\n also=B\nconn D\n also=B\n also=A\n\
            conn E\n also=C\n also=D\nconn F\n also=D\n also=C\n";
        assert_eq!(tunnels(text), ["A!", "B", "C", "D!", "E", "F!"]);
    }

    #[test]
    fn an_empty_value_clears_what_would_be_inherited() {
        assert_eq!(tunnels("conn %default\n auto=add\n rightauth=eap\nconn a\n auto=\n rightauth=\n"), ["a!"]);
    }

    #[test]
    fn the_same_conn_twice_is_one_and_the_later_setting_wins() {
        let text = "conn a\n auto=ignore\nconn b\nconn a\n auto=add\n rightauth2=xauth-pam\n";
        assert_eq!(tunnels(text), ["a*", "b!"]);
    }

    #[test]
    fn users_are_those_who_stand_at_that_end() {
        for (settings, left, right) in [
            ("rightauth=eap", false, true),
            ("rightauth=eap-radius", false, true),
            ("rightauth2=xauth", false, true),
            ("leftauth=eap-mschapv2", true, false),
            ("leftauth2=xauth-generic", true, false),
            ("authby=xauthrsasig\n\txauth=server", false, true),
            ("authby=xauthrsasig", true, false),
            ("authby=xauthpsk\n\txauth=client", true, false),
            ("authby=xauthpsk\n\txauth=server\n\trightauth=psk", false, false),
            ("xauth=server", false, false),
            ("xauth=xauth-eap", false, true),
            ("authby=eap", false, true),
            ("rightautheap=tls", false, true),
            ("leftautheap=tls", true, false),
            ("leftxauthserver=yes", false, true),
            ("rightxauthclient=yes", false, true),
            ("rightautheap=none", false, false),
            ("leftxauthserver=no", false, false),
            ("rightxauthserver=yes", true, false),
            ("leftxauthclient=yes", true, false),
            ("rightauth=pubkey", false, false),
            ("eap_identity=%identity", false, false),
        ] {
            let (tunnels, _) = read(&format!("conn a\n\t{settings}\n"));
            let conn = &tunnels[0].conn;
            assert_eq!((conn.left.logs_in, conn.right.logs_in), (left, right), "{settings}");
        }
    }

    #[test]
    fn what_auto_says_and_a_word_that_the_daemon_does_not_know() {
        let words = ["ignore", "add", "route", "start", "ondemand", "up", "keep", "Start", "", "strat"];
        let starts = |dialect| {
            words.map(|word| read_bytes(format!("conn a\n auto={word}\n").as_bytes(), dialect).0[0].conn.start)
        };
        use Start::{Add, Ignore, Route, Start as Up};
        assert_eq!(starts(StrongSwan), [Ignore, Add, Route, Up, Ignore, Ignore, Ignore, Ignore, Ignore, Ignore]);
        assert_eq!(starts(Libreswan5), [Ignore, Add, Route, Up, Route, Up, Up, Up, Ignore, Ignore]);
        let unknown = "auto has a value that is not known, so the conn is not loaded";
        assert_eq!(complaints("conn a\n auto=strat\n"), [(2, unknown)]);
    }

    #[test]
    fn types_of_shunts() {
        for (setting, expected) in [
            ("type=passthrough", true),
            ("type=pass", true),
            ("type=drop", true),
            ("type=reject", true),
            ("authby=never", true),
            ("type=tunnel", false),
            ("type=transport", false),
            ("type=beet", false),
            ("type=transport_proxy", false),
            ("authby=secret", false),
        ] {
            let (tunnels, _) = read(&format!("conn a\n\t{setting}\n"));
            assert_eq!(tunnels[0].conn.is_shunt, expected, "{setting}");
        }
    }

    #[test]
    fn each_daemon_has_its_own_rule_for_a_key_that_stands_twice() {
        let twice =
            "conn a\n auto=ignore\n auto=start\nconn b\n auto=add\n auto=ignore\nconn c\n auto=add\n auto=add\n";
        assert_eq!(by_dialect(twice), [vec!["a", "b!", "c"], vec!["a!", "b!", "c"], vec!["a!", "b", "c"]]);
        // In `%default` it is no mistake.
        let default = "conn %default\n auto=ignore\n auto=add\nconn a\n";
        assert_eq!(by_dialect(default), [["a"], ["a"], ["a!"]]);
    }

    #[test]
    fn each_daemon_has_its_own_rule_for_also() {
        let own = "conn base\n auto=ignore\nconn a\n also=base\n auto=add\n";
        assert_eq!(by_dialect(own), [["base!", "a"], ["base!", "a"], ["base!", "a!"]]);
        let order = "conn x\n auto=add\nconn y\n auto=ignore\nconn a\n also=x\n also=y\n";
        assert_eq!(by_dialect(order), [["x", "y!", "a!"], ["x", "y!", "a"], ["x", "y!", "a!"]]);
        let several = "conn x\n auto=add\nconn y\n rightauth=eap\nconn a\n also=\"x y\"\nconn b\n also=a\n";
        assert_eq!(by_dialect(several)[1], ["x", "y!*", "a*", "b*"]);
        assert_eq!(by_dialect(several)[2], ["x", "y!*", "a*", "b*"]);
        assert_eq!(complaints(several), [(6, "also names a conn that is not there")]);
        let quoted = "conn \"x y\"\n auto=add\nconn a\n also=\"x y\"\n";
        assert_eq!(by_dialect(quoted), [["x y", "a"], ["x y", "a"], ["x y", "a"]]);
    }

    #[test]
    fn libreswan_ignores_case() {
        let text = "conn a\n AUTO=Start\n RightAuth=secret\nconn b\n Also=a\n Right=%Any\n";
        assert_eq!(by_dialect(text), [["a!", "b!"], ["a", "b"], ["a", "b"]]);
        let conn = &read_bytes(text.as_bytes(), Libreswan5).0[1].conn;
        assert_eq!(conn.right.host.as_deref(), Some(b"%Any".as_slice()));
    }

    #[test]
    fn a_number_sign_behind_a_word_is_strongswans_comment() {
        let text =
            "conn x#1\n auto=start#now\n right=\"a\"#b\nconn y\n auto=#start\nconn z\n rightid=@#00ff\n auto=add # x\n";
        let [strongswan, libreswan, _] = by_dialect(text);
        assert_eq!(strongswan, ["x", "y!", "z"]);
        assert_eq!(libreswan, ["x#1!", "y!", "z"]);
        assert_eq!(read(text).0[0].conn.right.host.as_deref(), Some(b"a".as_slice()));
    }

    #[test]
    fn libreswans_quotes_hold_neither_escapes_nor_line_ends() {
        let text = "conn a\n leftid=\"C=DE, O=\\\"\n auto=add\nconn b\n leftid=\"open\n auto=add\n";
        assert_eq!(by_dialect(text)[2], ["a", "b"]);
        let text = "conn a\r\n\tauto\t=\tadd\r\n\trightsubnets={10.2.4.0/24 10.2.5.0/24}\r\n rightsubnets=10.2.6.0/24";
        let conn = &read_bytes(text.as_bytes(), Libreswan5).0[0].conn;
        assert_eq!((conn.start, conn.right.networks, conn.left.networks), (Start::Add, [3, 0], [0, 0]));
    }

    #[test]
    fn how_many_networks_are_written() {
        let pairs = |dialect: Dialect, text: &str| read_bytes(text.as_bytes(), dialect).0[0].conn.pairs();
        for (text, expected) in [
            ("conn a\n rightsubnet=10.2.1.0/24,10.2.2.0/24[tcp/80], 10.2.3.0/24\n", 3),
            ("conn a\n keyexchange=ikev1\n rightsubnet=10.2.1.0/24,10.2.2.0/24\n", 1),
            ("conn a\n leftsubnet=0.0.0.0/0,::/0\n rightsubnet=0.0.0.0/0,::/0\n", 4),
            ("conn a\n rightsubnet=10.1.4.0/24,10.0.0.0/8,10.1.4.7,10.0.0.0/8,192.0.2.0/24\n", 2),
            ("conn a\n rightsubnet=10.1.4.7/24,10.1.4.0/24,10.1.5.0/24\n", 2),
            ("conn a\n rightsubnet=0.0.0.0/0,10.0.0.0/8,::/0,2001:db8::/32\n", 2),
            ("conn a\n rightsubnet=2001:db8::/32,2001:db8::1,2001:db9::1/128\n", 2),
            ("conn a\n rightsubnet=10.0.0.0/8[tcp/80],10.1.0.0/16,10.0.0.0/8[tcp/80],%dynamic\n", 3),
            ("conn a\n rightsubnet=10.0.0.0/8,10.1.0.0/99999999999,10.1.0.0/x\n", 3),
            ("conn a\n rightsubnets=10.2.1.0/24,10.2.2.0/24\n", 1),
            ("conn a\n", 1),
        ] {
            assert_eq!(pairs(StrongSwan, text), expected, "{text}");
        }
        for (text, expected) in [
            ("conn a\n keyexchange=ikev1\n rightsubnets={10.2.1.0/24,10.2.2.0/24}\n", 2),
            ("conn a\n rightsubnet=10.2.1.0/24,10.2.2.0/24\n", 1),
            ("conn a\n rightsubnet=10.2.1.0/24\n rightsubnets={10.2.2.0/24 10.2.3.0/24}\n leftsubnet=10.1.0.0/16\n", 3),
            ("conn a\n rightsubnets={10.2.1.0/24 10.2.2.0/24}\n leftsubnet=vhost:%priv\n", 2),
            (
                "conn a\n leftsubnets={10.1.0.0/16 2001:db8:1::/48}\n rightsubnets={10.2.0.0/16 10.3.0.0/16 2001:db8:2::/48}\n",
                3,
            ),
            ("conn a\n leftsubnets={2001:db8:1::/48 2001:db8:2::/48}\n", 2),
            ("conn a\n leftsubnet=10.1.0.0/16\n rightsubnet=2001:db8:2::/48\n", 1),
            ("conn a\n", 1),
        ] {
            for dialect in [Libreswan4, Libreswan5] {
                assert_eq!(pairs(dialect, text), expected, "{text}");
            }
        }
    }

    #[test]
    fn loops_end() {
        let text = "conn a\n also=b\nconn b\n also=c\n auto=ignore\nconn c\n also=a\n also=c\n";
        assert_eq!(tunnels(text), ["a!", "b!", "c!"]);
    }

    #[test]
    fn of_a_great_many_also_lines_few_are_followed() {
        // Whether a conn with `count` lines that name another is still told apart by one behind them.
        let follows = |count: usize, dialect| {
            let text = format!("conn a\n{} also=last\nconn last\n auto=start\nconn b\n", " also=b\n".repeat(count - 1));
            read_bytes(text.as_bytes(), dialect).0[0].conn.start == Start::Start
        };
        // The same over a chain of conns, each of which names the next twice.
        let follows_chain = |length: usize, dialect| {
            let mut text = "conn c0\n auto=start\n".to_owned();
            for number in 1..=length {
                let next = number - 1;
                text.push_str(&format!("conn c{number}\n also=c{next}\n also=c{next}\n"));
            }
            read_bytes(text.as_bytes(), dialect).0[length].conn.start == Start::Start
        };
        for dialect in [StrongSwan, Libreswan4, Libreswan5] {
            assert!(follows(ALSO_LIMIT, dialect) && !follows(ALSO_LIMIT + 1, dialect), "{dialect:?}");
            assert!(follows_chain(ALSO_LIMIT / 2, dialect) && !follows_chain(ALSO_LIMIT + 1, dialect), "{dialect:?}");
        }
    }

    #[test]
    fn a_start_that_is_not_known_is_said_however_libreswan_lets_its_key_be_written() {
        let found = |text: &str, dialect| read_bytes(text.as_bytes(), dialect).1.len();
        for (text, strongswan, libreswan) in
            [("conn a\n\tauto=strat\n", 1, 1), ("conn a\n\tAUTO=strat\n", 0, 1), ("conn a\n\tAUTO=Start\n", 0, 0)]
        {
            assert_eq!(found(text, StrongSwan), strongswan, "{text}");
            assert_eq!([Libreswan4, Libreswan5].map(|dialect| found(text, dialect)), [libreswan; 2], "{text}");
        }
    }

    #[test]
    fn a_mistake_costs_its_own_line_and_is_named() {
        let text = "\tauto=add\nconn\nconn a\n\tauto ignore\nauto=ignore\n\tauto=ignore\n\nconn b\n also=nobody\n rightid=\"x\n auto=ignore\nconn c\n";
        let (tunnels, _) = read(text);
        assert_eq!(tunnels.iter().map(show).collect::<Vec<_>>(), ["a!", "b!", "c!"]);
        assert_eq!(
            complaints(text),
            [
                (1, "a setting outside of any section"),
                (2, "a name is missing"),
                (4, "not key = value"),
                (5, "neither a section nor an indented setting"),
                (10, "a quote that is not closed"),
                (9, "also names a conn that is not there"),
            ]
        );
    }

    #[test]
    fn a_quoted_value_goes_on_behind_a_line_end() {
        let text = "conn a\n rightid=\"C=DE, \\\nauto=ignore\"\n auto=add\nconn b\nwrong\n";
        assert_eq!(read(text).0.iter().map(show).collect::<Vec<_>>(), ["a", "b!"]);
        assert_eq!(complaints(text), [(6, "neither a section nor an indented setting")]);
    }

    #[test]
    fn braces_in_an_include_are_alternatives() {
        for (pattern, expected) in [
            ("x/*.conf", &["x/*.conf"][..]),
            ("x/{a,b}.conf", &["x/a.conf", "x/b.conf"]),
            ("{a,b}/{c,d}", &["a/c", "a/d", "b/c", "b/d"]),
            ("a{b,c{d,e}}", &["ab", "acd", "ab", "ace"]),
            ("a{,.d/*}.conf", &["a.conf", "a.d/*.conf"]),
            ("a}b{c", &["a}b{c"]),
            ("{a", &["{a"]),
        ] {
            assert_eq!(alternatives(pattern), expected, "{pattern}");
        }
        assert!(alternatives(&"{a,b}".repeat(200)).len() <= 2 * ALTERNATIVE_LIMIT);
        assert_eq!(alternatives(&"{a,b}".repeat(5000)).len(), 1);
    }

    #[test]
    fn includes_are_handed_to_the_caller() {
        let mut cursor = Cursor::default();
        let text = Text::from("# x\ninclude ipsec.d/*.conf # y\n include \"a b\"\n include = z\ninclude\n");
        assert_eq!(parse(text, &mut cursor, StrongSwan), Some(Statement::Include(b"ipsec.d/*.conf".into())));
        assert_eq!(cursor.line, 2);
        assert_eq!(parse(text, &mut cursor, StrongSwan), Some(Statement::Include(b"a b".into())));
        assert_eq!(parse(text, &mut cursor, StrongSwan), Some(Statement::Setting("include".into(), b"z".into())));
        assert_eq!(parse(text, &mut cursor, StrongSwan), Some(Statement::Unknown("a name is missing")));
        assert_eq!((parse(text, &mut cursor, StrongSwan), cursor.line), (None, 5));
    }

    #[test]
    fn damage_never_stops_it() {
        let bytes: &[u8] = b"config setup # x\nconn %default\n auto = \"ig\\\"n\\\nore\"\nconn \"a b\"\n also=c\ninclude \"x\"\nconn c\n also=\"a b\"\n";
        for dialect in [StrongSwan, Libreswan4, Libreswan5] {
            for end in 0..bytes.len() {
                read_bytes(&bytes[..end], dialect);
                for bit in 0..8 {
                    let mut flipped = bytes.to_vec();
                    flipped[end] ^= 1 << bit;
                    read_bytes(&flipped, dialect);
                }
            }
        }
    }

    #[test]
    fn as_many_complaints_are_kept_as_anybody_reads() {
        assert_eq!(complaints(&"conn a\n\twrong\n".repeat(150)).len(), 100);
        assert_eq!(complaints(&"conn a\n also=nobody\n".repeat(150)).len(), 100);
    }

    #[test]
    fn of_one_conn_256_also_lines_are_followed() {
        for (before, is_followed) in [(255, true), (256, false)] {
            let mut text = String::from("conn base\n auto=add\nconn other\nconn a\n");
            text.push_str(&" also=other\n".repeat(before));
            text.push_str(" also=base\n");
            let expected = if is_followed { "a" } else { "a!" };
            for dialect in [StrongSwan, Libreswan4, Libreswan5] {
                let found: Vec<String> = read_bytes(text.as_bytes(), dialect).0.iter().map(show).collect();
                assert_eq!(found, ["base", "other!", expected], "{before} lines before, {dialect:?}");
            }
        }
    }

    #[test]
    fn a_pattern_with_braces_has_1024_bytes_and_becomes_100_patterns_at_most() {
        for (length, expected) in [(1024, 2), (1025, 1)] {
            let pattern = format!("{}{{a,b}}", "x".repeat(length - "{a,b}".len()));
            assert_eq!((pattern.len(), alternatives(&pattern).len()), (length, expected));
        }
        let many = |count: usize| format!("{{{}}}", vec!["a"; count].join(","));
        assert_eq!([99, 100, 101, 500].map(|count| alternatives(&many(count)).len()), [99, 100, 100, 100]);
    }

    #[test]
    fn default_is_nobodys_also_and_lists_of_networks_add_up_over_also() {
        let text = "conn %default\n auto=ignore\nconn base\n auto=ignore\nconn a\n also=%default\n auto=add\n";
        assert_eq!(by_dialect(text), [["base!", "a"], ["base!", "a"], ["base!", "a"]]);
        let text = "conn %default\n auto=add\nconn base\n auto=ignore\nconn a\n also=base\n also=%default\n";
        assert_eq!(by_dialect(text), [["base!", "a!"], ["base!", "a!"], ["base!", "a!"]]);
        let text = "conn base\n auto=add\n leftsubnets=10.1.0.0/16\nconn a\n also=base\n leftsubnets=10.2.0.0/16\n";
        assert_eq!(by_dialect(text)[2], ["base", "a"], "no two values for one key");
    }

    #[test]
    fn escapes_are_read_and_an_open_quote_costs_libreswan_its_line() {
        let mut cursor = Cursor::default();
        let text = Text::from("conn a\n x=\"a\\rb\\nc\\td\\qe\"\n");
        parse(text, &mut cursor, StrongSwan);
        assert_eq!(parse(text, &mut cursor, StrongSwan), Some(Statement::Setting("x".into(), b"a\rb\nc\tdqe".into())));
        let mut cursor = Cursor::default();
        let text = Text::from(" rightid=@#00ff # x\n rightid = @#00ff#x\n left=a@#b\n");
        let values: Vec<_> = std::iter::from_fn(|| parse(text, &mut cursor, StrongSwan)).collect();
        let setting = |key: &'static str, value: &'static [u8]| Statement::Setting(key.into(), value.into());
        assert_eq!(values, [setting("rightid", b"@#00ff"), setting("rightid", b"@#00ff"), setting("left", b"a@")]);
        let text = "conn a\n leftid=\"open\n auto=add\n rightid=closed\"\n";
        assert_eq!(by_dialect(text), [["a!"], ["a"], ["a"]]);
    }
}
