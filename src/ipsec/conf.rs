//! ipsec.conf: which tunnels are configured, and which of them serve many users.
//!
//! Format: ipsec.conf(5) of strongSwan; libreswan's is nearly the same. A daemon refuses a file with
//! one mistake in it; we complain about the line and keep the rest, since the daemon may have read an
//! older version.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::text::Text;

/// The most complaints that are kept.
const COMPLAINT_LIMIT: usize = 100;

/// How many `also` lines are followed for one conn.
const ALSO_LIMIT: usize = 256;

const NO_NAME: &str = "a name is missing";

/// The keys by which a gateway says how its peers prove who they are; the last three are libreswan's.
const AUTH_KEYS: [&str; 7] =
    ["rightauth", "rightauth2", "authby", "xauth", "rightautheap", "leftxauthserver", "rightxauthclient"];

/// One conn, with what it inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The conn's name.
    pub name: Vec<u8>,
    /// `auto=ignore`: the daemon doesn't load it.
    pub ignored: bool,
    /// Peers are users who prove their name by EAP or XAuth.
    pub multi_user: bool,
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
pub struct Place {
    /// The number of the file, as the caller counts them.
    pub file: usize,
    /// The line, from 1.
    pub line: usize,
}

/// What was not understood, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file and line.
    pub place: Place,
    /// In the operator's words.
    pub what: &'static str,
}

/// The sections, as the statements of all files build them up.
#[derive(Default)]
pub struct Sections {
    conns: Vec<Conn>,
    numbers: HashMap<Vec<u8>, usize>,
    current: Current,
    complaints: Vec<Complaint>,
}

/// Whose settings follow.
#[derive(Clone, Copy, Default)]
enum Current {
    #[default]
    Nobody,
    Conn(usize),
    Other,
}

struct Conn {
    name: Vec<u8>,
    keys: Keys,
    also: Vec<(Vec<u8>, Place)>,
}

/// The settings that matter here; absent where they don't stand.
#[derive(Clone, Copy, Default)]
struct Keys {
    ignored: Option<bool>,
    by_user: [Option<bool>; AUTH_KEYS.len()],
}

impl Keys {
    /// Own settings over inherited ones, key by key.
    fn over(self, inherited: Self) -> Self {
        let mut by_user = self.by_user;
        for (own, other) in by_user.iter_mut().zip(inherited.by_user) {
            *own = own.or(other);
        }
        Self { ignored: self.ignored.or(inherited.ignored), by_user }
    }

    /// Takes a setting; an empty value clears what would be inherited.
    fn set(&mut self, key: Text<'_>, value: Text<'_>) {
        if key == "auto" {
            self.ignored = Some(value == "ignore");
        }
        for (name, by_user) in AUTH_KEYS.iter().zip(&mut self.by_user) {
            if key == *name {
                *by_user = Some(names_users(value));
            }
        }
    }
}

impl Sections {
    /// Takes the next statement, in the order in which included files replace their `include`.
    pub fn take(&mut self, statement: &Statement<'_>, place: Place) {
        match statement {
            Statement::Conn(name) => self.current = Current::Conn(self.conn(name)),
            Statement::Other => self.current = Current::Other,
            Statement::Setting(key, value) => self.set(*key, value, place),
            Statement::Include(_) => {}
            Statement::Unknown(what) => self.complain(place, what),
            Statement::Stray(what) => {
                self.current = Current::Other;
                self.complain(place, what);
            }
        }
    }

    /// The conns in the order of their first mention, with all that they inherit.
    pub fn tunnels(mut self) -> (Vec<Tunnel>, Vec<Complaint>) {
        let parents = self.parents();
        let mut tunnels = Vec::new();
        let mut seen = vec![usize::MAX; self.conns.len()];
        for (number, conn) in self.conns.iter().enumerate().filter(|(_, conn)| conn.name != b"%default") {
            let keys = self.inherit(number, &parents, &mut seen);
            tunnels.push(Tunnel {
                name: conn.name.clone(),
                ignored: keys.ignored == Some(true),
                multi_user: keys.by_user.contains(&Some(true)),
            });
        }
        (tunnels, self.complaints)
    }

    /// The number of the conn of that name; the same name again continues the first.
    fn conn(&mut self, name: &[u8]) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.conns.len();
        self.numbers.insert(name.to_vec(), number);
        self.conns.push(Conn { name: name.to_vec(), keys: Keys::default(), also: Vec::new() });
        number
    }

    fn set(&mut self, key: Text<'_>, value: &[u8], place: Place) {
        let number = match self.current {
            Current::Conn(number) => number,
            Current::Other => return,
            Current::Nobody => return self.complain(place, "a setting outside of any section"),
        };
        let Some(conn) = self.conns.get_mut(number) else { return };
        if key != "also" {
            conn.keys.set(key, Text::new(value));
        } else if !value.is_empty() && value != b"%default" {
            conn.also.push((value.to_vec(), place));
        }
    }

    fn complain(&mut self, place: Place, what: &'static str) {
        if self.complaints.len() < COMPLAINT_LIMIT {
            self.complaints.push(Complaint { place, what });
        }
    }

    /// The numbers of the conns that each conn names by `also`, in the order written.
    fn parents(&mut self) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        let mut missing = Vec::new();
        for conn in &self.conns {
            let (found, lost): (Vec<_>, Vec<_>) =
                conn.also.iter().map(|(name, place)| self.numbers.get(name).ok_or(*place)).partition(Result::is_ok);
            all.push(found.into_iter().flatten().copied().collect());
            missing.extend(lost.into_iter().filter_map(Result::err).take(COMPLAINT_LIMIT));
        }
        for place in missing {
            self.complain(place, "also names a conn that is not there");
        }
        all
    }

    /// The settings of a conn over those of its parents, a later `also` over an earlier one,
    /// a parent over its own parents, and all of them over `%default`.
    ///
    /// Parents are settled before their children and each of them once, so a loop ends; `seen`
    /// remembers for which conn each was met last.
    fn inherit(&self, start: usize, parents: &[Vec<usize>], seen: &mut [usize]) -> Keys {
        let default = self.numbers.get(b"%default".as_slice()).and_then(|number| self.conns.get(*number));
        let mut keys = default.map(|conn| conn.keys).unwrap_or_default();
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
            keys = self.conns.get(*number).map_or(keys, |conn| conn.keys.over(keys));
            path.pop();
        }
        keys
    }
}

/// Whether the value of one of [`AUTH_KEYS`] says that peers are users: by EAP, by XAuth, by EAP-TLS, or yes.
fn names_users(value: Text<'_>) -> bool {
    value.after("eap").is_some()
        || value.after("xauth").is_some()
        || ["tls", "yes", "true", "on", "1"].iter().any(|word| value == *word)
}

/// Parses the next statement behind `cursor`; absent at the end of the file.
pub fn parse<'a>(file: Text<'a>, cursor: &mut Cursor) -> Option<Statement<'a>> {
    loop {
        let rest = file.bytes().get(cursor.offset..).filter(|rest| !rest.is_empty())?;
        let line = Line::cut(rest);
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
}

impl<'a> Line<'a> {
    fn cut(rest: &'a [u8]) -> Self {
        let mut scan = Scan::default();
        let mut first_end = None;
        for (at, byte) in rest.iter().enumerate() {
            let after = rest.get(at.saturating_add(1)..).unwrap_or_default();
            if *byte == b'\n' {
                scan.ends = scan.ends.saturating_add(1);
                first_end.get_or_insert(at);
                if !scan.quoted {
                    return scan.line(rest, at, false);
                }
                if starts_section(Text::new(after)) {
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
        Scan { ends: usize::from(first_end.is_some()), ..Scan::default() }.line(rest, end, true)
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
            b"include" if !is_setting => Some(match word(rest) {
                Some((pattern, _)) => Statement::Include(pattern),
                None => Statement::Unknown(NO_NAME),
            }),
            _ if self.text.bytes().first().is_some_and(u8::is_ascii_whitespace) => Some(setting(content)),
            _ => Some(section(content)),
        }
    }
}

/// Where a scan over bytes stands: in a comment, in quotes, or in neither.
#[derive(Default)]
struct Scan {
    quoted: bool,
    escaped: bool,
    comment: Option<usize>,
    after_word: bool,
    ends: usize,
}

impl Scan {
    fn step(&mut self, at: usize, byte: u8) {
        if self.comment.is_some() {
            return;
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            b'#' if !self.quoted && !self.after_word => self.comment = Some(at),
            _ => {}
        }
        self.after_word = !byte.is_ascii_whitespace();
    }

    fn line<'a>(&self, rest: &'a [u8], end: usize, quote_is_open: bool) -> Line<'a> {
        let text = rest.get(..self.comment.unwrap_or(end)).unwrap_or_default();
        let length = end.saturating_add(1).min(rest.len());
        Line { text: Text::new(text), length, ends: self.ends, quote_is_open }
    }
}

fn starts_section(text: Text<'_>) -> bool {
    ["conn", "ca", "config", "include"].iter().any(|word| {
        text.after(word).and_then(|rest| rest.bytes().first().copied()).is_some_and(|byte| byte.is_ascii_whitespace())
    })
}

/// `conn NAME`, `ca NAME` or `config setup`; anything else ends the section before.
fn section<'a>(content: Text<'a>) -> Statement<'a> {
    let kind =
        |word| content.after(word).filter(|rest| rest.bytes().first().is_some_and(|byte| b" \t\"".contains(byte)));
    if let Some(rest) = kind("conn") {
        let name = word(rest).map(|(name, _)| name).filter(|name| !name.is_empty());
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

fn setting(content: Text<'_>) -> Statement<'_> {
    let Some((key, value)) = content.cut(b'=') else {
        return Statement::Unknown("not key = value");
    };
    let key = key.trim();
    let key = key.after("\"").and_then(|key| key.before("\"")).unwrap_or(key);
    Statement::Setting(key, words(value))
}

/// A value: its words, with one space between them.
fn words(value: Text<'_>) -> Cow<'_, [u8]> {
    let Some((first, mut rest)) = word(value) else { return Cow::default() };
    let mut all = first;
    while let Some((next, after)) = word(rest) {
        let all = all.to_mut();
        all.push(b' ');
        all.extend_from_slice(&next);
        rest = after;
    }
    all
}

/// The next word, bare or quoted, and what follows it.
fn word(text: Text<'_>) -> Option<(Cow<'_, [u8]>, Text<'_>)> {
    let text = text.trim();
    if let Some(inside) = text.after("\"") {
        return Some(quoted(inside.bytes()));
    }
    let end = text.bytes().iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'"');
    let (word, rest) = text.bytes().split_at_checked(end.unwrap_or(text.bytes().len()))?;
    (!word.is_empty()).then_some((Cow::Borrowed(word), Text::new(rest)))
}

/// What stands before the closing quote, without its backslashes, and what follows it.
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

    fn read(text: &str) -> (Vec<Tunnel>, Vec<Complaint>) {
        read_bytes(text.as_bytes())
    }

    fn read_bytes(bytes: &[u8]) -> (Vec<Tunnel>, Vec<Complaint>) {
        let (mut sections, mut cursor) = (Sections::default(), Cursor::default());
        while let Some(statement) = parse(Text::new(bytes), &mut cursor) {
            sections.take(&statement, Place { file: 0, line: cursor.line });
        }
        sections.tunnels()
    }

    /// `name`, `name!` where ignored, `name*` where it has many users.
    fn tunnels(text: &str) -> Vec<String> {
        let (tunnels, complaints) = read(text);
        assert!(complaints.is_empty(), "{complaints:?}");
        tunnels.iter().map(show).collect()
    }

    fn show(tunnel: &Tunnel) -> String {
        let name = String::from_utf8_lossy(&tunnel.name);
        format!("{name}{}{}", if tunnel.ignored { "!" } else { "" }, if tunnel.multi_user { "*" } else { "" })
    }

    fn complaints(text: &str) -> Vec<(usize, &'static str)> {
        read(text).1.iter().map(|complaint| (complaint.place.line, complaint.what)).collect()
    }

    #[test]
    fn names_may_be_quoted_and_hold_anything_but_space() {
        let text = "conn a\n  left=1\nconn \"head office\"\nconn\tdots.x{1}[2]\r\n\nconn   b   # beside\nconn \"q\\\"uo#te\" \nconn x#1\n";
        assert_eq!(tunnels(text), ["a", "head office", "dots.x{1}[2]", "b", "q\"uo#te", "x#1"]);
        assert_eq!(read_bytes(b"conn \xff").0[0].name, b"\xff");
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
        assert_eq!(tunnels("conn %default\n auto=ignore\n authby=xauthpsk\nconn a\n auto=\n authby=\n"), ["a"]);
    }

    #[test]
    fn the_same_conn_twice_is_one_and_the_later_setting_wins() {
        let text = "conn a\n auto=ignore\nconn b\nconn a\n auto=add\n rightauth2=xauth-pam\n";
        assert_eq!(tunnels(text), ["a*", "b"]);
    }

    #[test]
    fn users_are_those_of_the_right_side() {
        for (setting, expected) in [
            ("rightauth=eap", "a*"),
            ("rightauth=eap-radius", "a*"),
            ("rightauth2=xauth", "a*"),
            ("authby=xauthrsasig", "a*"),
            ("xauth=xauth-eap", "a*"),
            ("authby=eaponly", "a*"),
            ("rightautheap=tls", "a*"),
            ("leftxauthserver=yes", "a*"),
            ("rightxauthclient=yes", "a*"),
            ("rightautheap=none", "a"),
            ("leftxauthserver=no", "a"),
            ("rightxauthserver=yes", "a"),
            ("leftxauthclient=yes", "a"),
            ("leftauth=eap-mschapv2", "a"),
            ("rightauth=pubkey", "a"),
            ("eap_identity=%identity", "a"),
        ] {
            assert_eq!(tunnels(&format!("conn a\n\t{setting}\n")), [expected], "{setting}");
        }
    }

    #[test]
    fn loops_end() {
        let text = "conn a\n also=b\nconn b\n also=c\n auto=ignore\nconn c\n also=a\n also=c\n";
        assert_eq!(tunnels(text), ["a!", "b!", "c!"]);
    }

    #[test]
    fn a_great_many_also_lines_take_no_great_time() {
        let mut text = String::new();
        for number in 0..5000 {
            text.push_str(&format!("conn c{number}\n also=c{}\n also=c{}\n", (number + 1) % 5000, (number + 2) % 5000));
        }
        let started = std::time::Instant::now();
        assert_eq!(tunnels(&text).len(), 5000);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn a_mistake_costs_its_own_line_and_is_named() {
        let text = "\tauto=add\nconn\nconn a\n\tauto ignore\nauto=ignore\n\tauto=ignore\n\nconn b\n also=nobody\n rightid=\"x\n auto=ignore\nconn c\n";
        let (tunnels, _) = read(text);
        assert_eq!(tunnels.iter().map(show).collect::<Vec<_>>(), ["a", "b!", "c"]);
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
        assert_eq!(read(text).0.iter().map(show).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(complaints(text), [(6, "neither a section nor an indented setting")]);
    }

    #[test]
    fn includes_are_handed_to_the_caller() {
        let mut cursor = Cursor::default();
        let text = Text::from("# x\ninclude ipsec.d/*.conf # y\n include \"a b\"\n include = z\ninclude\n");
        assert_eq!(parse(text, &mut cursor), Some(Statement::Include(b"ipsec.d/*.conf".into())));
        assert_eq!(cursor.line, 2);
        assert_eq!(parse(text, &mut cursor), Some(Statement::Include(b"a b".into())));
        assert_eq!(parse(text, &mut cursor), Some(Statement::Setting("include".into(), b"z".into())));
        assert_eq!(parse(text, &mut cursor), Some(Statement::Unknown("a name is missing")));
        assert_eq!((parse(text, &mut cursor), cursor.line), (None, 5));
    }

    #[test]
    fn damage_never_stops_it() {
        let bytes: &[u8] = b"config setup # x\nconn %default\n auto = \"ig\\\"n\\\nore\"\nconn \"a b\"\n also=c\ninclude \"x\"\nconn c\n also=\"a b\"\n";
        for end in 0..bytes.len() {
            read_bytes(&bytes[..end]);
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[end] ^= 1 << bit;
                read_bytes(&flipped);
            }
        }
    }
}
