//! OpenVPN's status file in versions 1, 2 and 3, read without copying.
//!
//! The format is what `multi_print_status` in OpenVPN's `multi.c` writes: columns are named by a header and found by
//! it; unknown lines and columns are skipped. Common names and user names are chosen by peers: they may contain commas
//! in the comma formats, and may be the file's own keywords in all. So the type of a row is decided by its section in
//! version 1 and by its first field in the others.
//!
//! | releases | what differs |
//! |---|---|
//! | 2.0 to 2.2 | versions 1 to 3; no user name, no ids, dates by `ctime` |
//! | 2.3 | user name; IPv6 clients have no port, all clients of a dual-stack socket neither |
//! | 2.4 | IPv6 address in the tunnel, client id (not in builds without the management interface), peer id |
//! | 2.5 | cipher; dates as `2026-11-20 13:20:25`; IPv4 clients of a dual-stack socket have their port |
//! | 2.6 | `dco_enabled` |
//! | 2.7 | IPv6 clients have their port; the socket's protocol before the address of a server with several (`mroute_addr_print_ex`) |
//!
//! The management interface answers `status` with the same text (`manage.c`), which may have its other messages before
//! it.

use std::sync::Arc;

use super::Protocol;
use crate::text::{Text, places};

/// The most fields a row may have; a row with more is skipped.
const MOST_FIELDS: usize = 64;

/// A file, by its type.
pub enum Document<'a> {
    /// A server's status.
    Server(Entries<'a>),
    /// A client's own statistics (`OpenVPN STATISTICS`), which list no sessions.
    Statistics(Statistics<'a>),
    /// Not a status file.
    Unknown,
}

/// One entry of a server's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// OpenVPN's version, such as `2.6.14`; status version 1 has none.
    Version(Text<'a>),
    /// When the file was written.
    Updated(Timestamp<'a>),
    /// A row of the client list, for [`Entries::client`].
    Client(Text<'a>),
    /// A row of the routing table, for [`Entries::route`]: most of the time the rows are counted.
    Route(Text<'a>),
    /// A number for the whole server, by its name: `dco_enabled`.
    Global(Text<'a>, Text<'a>),
    /// A row that could not be understood; a client's row is not known to be one before it is split.
    Skipped,
    /// The rest of a line whose start was overwritten: the file was read while it was written.
    Fragment,
    /// The line `END`. A file without it was read while it was written.
    End,
}

/// One row of the client list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client<'a> {
    /// The certificate's common name; `UNDEF` where there is none (yet).
    pub common_name: Text<'a>,
    /// The user name; empty or `UNDEF` where there is none.
    pub username: Text<'a>,
    /// The client's real address; see [`Client::peer`].
    pub real_address: Text<'a>,
    /// Its IPv4 address in the tunnel; empty in version 1 and before it has one.
    pub virtual_address: Text<'a>,
    /// Its IPv6 address in the tunnel; empty where it has none.
    pub virtual_ipv6: Text<'a>,
    /// Bytes received from the client.
    pub bytes_received: u64,
    /// Bytes sent to the client.
    pub bytes_sent: u64,
    /// When it connected.
    pub since: Timestamp<'a>,
    /// The daemon's number for the client; empty in version 1.
    pub client_id: Text<'a>,
    /// The number in the client's packets; empty in version 1.
    pub peer_id: Text<'a>,
}

/// A time as a file states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp<'a> {
    /// The date and time in the daemon's zone; see [`date`].
    pub text: Text<'a>,
    /// Seconds since 1970; absent in version 1.
    pub seconds: Option<i64>,
}

/// A client's own statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics<'a>(Text<'a>);

/// The fields of a row of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// An address in the tunnel, a network behind a client, or a cached address ending in `C`.
    pub virtual_address: Text<'a>,
    /// The client that it leads to, by its common name.
    pub common_name: Text<'a>,
    /// The client that it leads to, by its real address, which several may have where it has no port.
    pub real_address: Text<'a>,
}

/// The lines of a server's status up to its end, found and checked in one pass; eight bytes of memory for each.
#[derive(Debug, Default)]
pub struct Lines {
    all: Vec<Line>,
    /// What is wrong with the file, if anything.
    pub defect: Option<Defect>,
}

/// A line, which begins behind the one before it.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Where its line end stands, in bytes.
    end: u32,
    kind: LineKind,
}

/// What the first field of a line says; status version 1 has none that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineKind {
    Client,
    Route,
    Other,
}

/// The entries of a status file, in order, up to the first `END`.
#[derive(Clone)]
pub struct Entries<'a> {
    text: Text<'a>,
    lines: Arc<Lines>,
    /// The number of the next line, and where it begins.
    next: usize,
    start: usize,
    separator: u8,
    section: Section,
    clients: Columns,
    routes: Columns,
    /// The starts of the fields of the last client's row.
    starts: Box<Starts>,
}

/// What is wrong with a file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// It has no last line.
    Cut,
    /// The rest of a line whose start was overwritten stands in it.
    HalfWritten,
}

/// The section of a version 1 file; the other versions name the section in each row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Tagged,
    Clients,
    Routes,
    Other,
}

/// The first fields of rows.
const CLIENT: &str = "CLIENT_LIST";
const ROUTE: &str = "ROUTING_TABLE";

/// The columns that we know, in the order of [`TITLES`].
#[derive(Clone, Copy)]
enum Column {
    CommonName,
    RealAddress,
    VirtualAddress,
    VirtualIpv6,
    BytesReceived,
    BytesSent,
    Since,
    SinceSeconds,
    Username,
    ClientId,
    PeerId,
}

const TITLES: [&str; 11] = [
    "Common Name",
    "Real Address",
    "Virtual Address",
    "Virtual IPv6 Address",
    "Bytes Received",
    "Bytes Sent",
    "Connected Since",
    "Connected Since (time_t)",
    "Username",
    "Client ID",
    "Peer ID",
];

/// The number of a field that is always empty: that of the columns that a table does not have.
const NO_FIELD: u8 = u8::MAX;

/// The numbers of the fields that a table's columns are, by its header, and how many there are; none where it lacks a column
/// that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    at: [u8; TITLES.len()],
    count: u8,
}

/// A line and the starts of its fields, of which there are `count`; one start more is that of a field that would follow
/// the line. A field ends before the separator that precedes the next start.
struct Fields<'a, 's> {
    line: Text<'a>,
    starts: &'s Starts,
    count: usize,
}

/// The buffer for the starts of [`Fields`], which is reused for all rows. It is so long that any number of a field has a
/// place, and a row fills its beginning.
type Starts = [u32; NO_FIELD as usize + 2];

const NO_STARTS: Starts = [0; NO_FIELD as usize + 2];

/// How many surplus separators of a comma row belong to the common name, and how many to the user name.
#[derive(Clone, Copy, Default)]
struct Surplus {
    name: usize,
    user: usize,
}

/// Detects the type of a file, and finds its lines; its entries are parsed while they are iterated.
pub fn parse(file: &[u8]) -> Document<'_> {
    parse_again(file, None)
}

/// The same with the lines that were found before in the same file.
pub fn parse_again<'a>(file: &'a [u8], lines: Option<&Arc<Lines>>) -> Document<'a> {
    // Editors on Windows begin a file with a byte order mark.
    let text = without_replies(Text::new(file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file)));
    let first = text.lines().next().unwrap_or_default();
    let (separator, section) = match first.bytes() {
        b"OpenVPN CLIENT LIST" => (b',', Section::Other),
        b"OpenVPN STATISTICS" => return Document::Statistics(Statistics(text)),
        line if line.starts_with(b"TITLE,") => (b',', Section::Tagged),
        line if line.starts_with(b"TITLE\t") => (b'\t', Section::Tagged),
        _ => return Document::Unknown,
    };
    Document::Server(Entries {
        text,
        lines: lines.map_or_else(|| Arc::new(Lines::of(text, separator, section)), Arc::clone),
        next: 0,
        start: 0,
        separator,
        section,
        clients: Columns::NONE,
        routes: Columns::NONE,
        starts: Box::new(NO_STARTS),
    })
}

/// A status without the messages of the management interface before it (`manage.c`): `>INFO:…` and other notifications,
/// the prompt for a password, `SUCCESS: …`.
fn without_replies(mut text: Text<'_>) -> Text<'_> {
    while let Some((line, rest)) = text.cut(b'\n') {
        let is_reply = [">", "SUCCESS:", "ENTER PASSWORD:"].iter().any(|start| line.after(start).is_some());
        if !is_reply {
            break;
        }
        text = rest;
    }
    text
}

/// A date as OpenVPN prints it (`2026-11-20 13:20:25`, before 2.5 `Thu Apr 30 13:55:38 2020`) in the first form.
pub fn date(text: Text<'_>) -> String {
    match parts(text) {
        Some([year, month, day, hour, minute, second]) => {
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
        None => text.to_string(),
    }
}

/// Year, month, day, hour, minute and second of a date in either form.
pub fn parts(text: Text<'_>) -> Option<[i64; 6]> {
    let mut words = text.words();
    let (year, month, day, time) = match [words.next(), words.next(), words.next(), words.next(), words.next()] {
        [Some(day), Some(time), None, ..] => {
            let mut fields = day.fields(b'-').map(Text::signed);
            (fields.next()??, fields.next()??, fields.next()??, time)
        }
        [_, Some(month), Some(day), Some(time), Some(year)] => (year.signed()?, month.month()?, day.signed()?, time),
        _ => return None,
    };
    let mut clock = time.fields(b':').map(Text::signed);
    Some([year, month, day, clock.next()??, clock.next()??, clock.next()??])
}

impl<'a> Statistics<'a> {
    /// When the file was written.
    pub fn updated(self) -> Timestamp<'a> {
        let text = self.0.lines().find_map(|line| line.after("Updated,")).unwrap_or_default();
        Timestamp { text, seconds: None }
    }

    /// The counters by their names: `TUN/TAP read bytes`.
    pub fn counters(self) -> impl Iterator<Item = (Text<'a>, u64)> {
        self.0.lines().take_while(|line| *line != "END").filter_map(|line| {
            let (name, value) = line.cut_last(b',')?;
            Some((name, value.number()?))
        })
    }

    /// Whether the file has its last line.
    pub fn is_whole(self) -> bool {
        self.0.lines().any(|line| line == "END")
    }
}

impl<'a> Client<'a> {
    /// The common name, or the user name where there is no certificate; absent where both are `UNDEF`.
    pub fn name(&self) -> Option<Text<'a>> {
        [self.common_name, self.username].into_iter().find(|name| !name.is_empty() && *name != "UNDEF")
    }

    /// The name of the session's client; absent until the client is authenticated.
    ///
    /// OpenVPN prints `UNDEF` where there is no name: before authentication, always on a server that neither asks for
    /// certificates nor uses user names as common names, and for a client of that very name. Only authenticated clients
    /// have an address in the tunnel or a route (`is_routed`); for these `UNDEF` is returned as the name.
    pub fn identity(&self, is_routed: bool) -> Option<Text<'a>> {
        self.name().or_else(|| (is_routed || self.has_address()).then_some(self.common_name))
    }

    fn has_address(&self) -> bool {
        let [v4, v6] = [self.virtual_address, self.virtual_ipv6];
        !(v4.is_empty() || v4 == "0.0.0.0") || !(v6.is_empty() || v6 == "::")
    }

    /// The client's protocol; absent where its address does not name it. Servers of 2.7 may listen on several sockets.
    pub fn protocol(&self) -> Option<Protocol> {
        // Nearly all addresses begin with a digit.
        let has_word = self.real_address.bytes().first().is_some_and(|first| !first.is_ascii_digit());
        if has_word { self.real_address.cut(b':').and_then(|(word, _)| socket(word)?) } else { None }
    }

    /// The host and port of the real address (`1.2.3.4:5`, `[2001:db8::1]:5`, `udp4:1.2.3.4:5`); the
    /// port is empty where the file does not say it (OpenVPN prints IPv6 peers without one).
    pub fn peer(&self) -> (Text<'a>, Text<'a>) {
        let address = match self.real_address.cut(b':') {
            Some((word, rest)) if socket(word).is_some() => rest,
            _ => self.real_address,
        };
        if let Some((host, port)) = address.after("[").and_then(|rest| rest.cut(b']')) {
            return (host, port.after(":").unwrap_or_default());
        }
        match address.cut_last(b':') {
            Some((host, port)) if host.cut(b':').is_none() => (host, port),
            _ => (address, Text::default()),
        }
    }
}

/// The protocol that the word before an address names (`proto2ascii` in OpenVPN's `socket_util.c`: `udp4`,
/// `tcp6-server`, …); `Some(None)` for a word of that list without a protocol, `None` for any other text, such as a
/// host.
fn socket(word: Text<'_>) -> Option<Option<Protocol>> {
    let words = [("udp", Protocol::Udp), ("tcp", Protocol::Tcp)];
    if let Some((rest, protocol)) = words.into_iter().find_map(|(name, protocol)| Some((word.after(name)?, protocol))) {
        let role = rest.after("4").or(rest.after("6")).unwrap_or(rest);
        let is_role = role.is_empty() || (protocol == Protocol::Tcp && (role == "-server" || role == "-client"));
        return is_role.then_some(Some(protocol));
    }
    (word == "proto-uninitialized" || word == "[unknown protocol]").then_some(None)
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while let Some(line) = self.lines.all.get(self.next) {
            let (kind, end) = (line.kind, line.end as usize);
            let text = Text::new(self.text.bytes().get(self.start..end)?);
            (self.next, self.start) = (self.next.saturating_add(1), end.saturating_add(1));
            let text = without_return(text);
            let entry = match kind {
                LineKind::Client => behind(text, CLIENT).map(Entry::Client),
                LineKind::Route => behind(text, ROUTE).map(|row| self.route_row(row)),
                LineKind::Other => self.entry(text),
            };
            if entry.is_some() {
                return entry;
            }
        }
        None
    }
}

impl<'a> Entries<'a> {
    /// The lines of the file, for [`parse_again`].
    pub fn lines(&self) -> &Arc<Lines> {
        &self.lines
    }

    /// When the file was written, as its lines before the rows state.
    pub fn updated(&self) -> Timestamp<'a> {
        let updated = |entry| if let Entry::Updated(moment) = entry { Some(moment) } else { None };
        self.clone().find_map(updated).unwrap_or_default()
    }

    /// The client of a row, also one that has not authenticated yet; absent where the row can't be understood.
    pub fn client(&mut self, row: Text<'a>) -> Option<Client<'a>> {
        let columns = &self.clients;
        let fields = Fields::of(row, self.separator, &mut self.starts)?;
        match columns.surplus(fields.count)? {
            0 => fields.client(columns),
            more => fields.client_with(columns, more),
        }
    }

    /// The route of a row; absent where the row can't be understood.
    pub fn route(&self, row: Text<'a>) -> Option<Route<'a>> {
        let (mut all, mut starts) = (NO_STARTS, NO_STARTS);
        let fields = Fields::of(row, self.separator, &mut all)?;
        let surplus = Surplus { name: self.routes.surplus(fields.count)?, user: 0 };
        let fields = fields.joined(&self.routes, surplus, &mut starts)?;
        let get = |column| fields.field(self.routes.at(column));
        Some(Route {
            virtual_address: get(Column::VirtualAddress),
            common_name: get(Column::CommonName),
            real_address: get(Column::RealAddress),
        })
    }

    /// The entry of a line whose first field does not say that it is a row. Most lines are rows, and the loop over them is
    /// faster without this inside.
    #[inline(never)]
    fn entry(&mut self, line: Text<'a>) -> Option<Entry<'a>> {
        if line == "END" {
            return Some(Entry::End);
        }
        if self.section == Section::Tagged {
            let (tag, rest) = line.cut(self.separator).unwrap_or((line, Text::default()));
            return self.tagged(tag, rest);
        }
        match line.bytes() {
            b"ROUTING TABLE" => self.section = Section::Routes,
            b"GLOBAL STATS" => self.section = Section::Other,
            title if title.starts_with(b"Common Name,") && self.clients.count == 0 => {
                self.clients = Columns::of_clients(line.fields(b','));
                self.section = Section::Clients;
            }
            title
                if title.starts_with(b"Virtual Address,")
                    && self.section == Section::Routes
                    && self.routes.count == 0 =>
            {
                self.routes = Columns::of_routes(line.fields(b','));
            }
            _ if self.section == Section::Clients => return Some(Entry::Client(line)),
            _ if self.section == Section::Routes => return Some(self.route_row(line)),
            _ => {
                return match line.after("Updated,") {
                    Some(text) => Some(Entry::Updated(Timestamp { text, seconds: None })),
                    None => line.cut_last(b',').map(|(name, value)| Entry::Global(name, value)),
                };
            }
        }
        None
    }

    fn tagged(&mut self, tag: Text<'a>, rest: Text<'a>) -> Option<Entry<'a>> {
        match tag.bytes() {
            b"CLIENT_LIST" | b"ROUTING_TABLE" => return Some(Entry::Skipped),
            b"TITLE" => return rest.words().nth(1).map(Entry::Version),
            b"GLOBAL_STATS" => return rest.cut_last(self.separator).map(|(name, value)| Entry::Global(name, value)),
            b"TIME" => {
                let (text, seconds) = rest.cut(self.separator).unwrap_or((rest, Text::default()));
                return Some(Entry::Updated(Timestamp { text, seconds: seconds.signed() }));
            }
            b"HEADER" => {
                let (table, titles) = rest.cut(self.separator)?;
                match table.bytes() {
                    b"CLIENT_LIST" => self.clients = Columns::of_clients(titles.fields(self.separator)),
                    b"ROUTING_TABLE" => self.routes = Columns::of_routes(titles.fields(self.separator)),
                    _ => {}
                }
            }
            _ if !is_tag(tag) => return Some(Entry::Fragment),
            _ => {}
        }
        None
    }

    fn route_row(&self, line: Text<'a>) -> Entry<'a> {
        let separators = count(self.separator, line.bytes());
        let is_whole = separators < MOST_FIELDS && self.routes.surplus(separators.saturating_add(1)).is_some();
        if is_whole { Entry::Route(line) } else { Entry::Skipped }
    }
}

impl Lines {
    fn of(text: Text<'_>, separator: u8, section: Section) -> Self {
        let (mut all, mut rest, mut start) = (Vec::new(), text, 0usize);
        let (mut has_end, mut is_half_written) = (false, false);
        let kinds = [(CLIENT, LineKind::Client), (ROUTE, LineKind::Route)];
        // A line without an end was cut, and its numbers may be wrong.
        while !has_end && let Some((line, after)) = rest.cut(b'\n') {
            let is_row = |tag| line.after(tag).is_some_and(|row| row.bytes().first() == Some(&separator));
            let row = kinds.into_iter().find(|(tag, _)| section == Section::Tagged && is_row(tag));
            let kind = row.map_or(LineKind::Other, |(_, kind)| kind);
            let end = start.saturating_add(line.bytes().len());
            // What no 32 bits can tell is no status file of any server.
            let Ok(marked) = u32::try_from(end) else { break };
            all.push(Line { end: marked, kind });
            (start, rest) = (end.saturating_add(1), after);
            if kind == LineKind::Other {
                let line = without_return(line);
                has_end = line == "END";
                let tag = line.cut(separator).map_or(line, |(tag, _)| tag);
                is_half_written |= section == Section::Tagged && !has_end && !is_tag(tag);
            }
        }
        if !has_end && rest == "END" {
            has_end = true;
            all.extend(u32::try_from(text.bytes().len()).map(|end| Line { end, kind: LineKind::Other }));
        }
        let defect = if is_half_written { Some(Defect::HalfWritten) } else { (!has_end).then_some(Defect::Cut) };
        Self { all, defect }
    }
}

/// How many bytes are `wanted`: of so many at a time that a byte can count them, so that the compiler uses vectors.
fn count(wanted: u8, bytes: &[u8]) -> usize {
    let count = |part: &[u8]| part.iter().fold(0u8, |sum, byte| sum.wrapping_add(u8::from(*byte == wanted)));
    bytes.chunks(128).map(|part| usize::from(count(part))).sum()
}

/// What follows a line's first field.
fn behind<'a>(line: Text<'a>, field: &str) -> Option<Text<'a>> {
    line.bytes().get(field.len().saturating_add(1)..).map(Text::new)
}

/// A line without what Windows has before its end.
fn without_return(line: Text<'_>) -> Text<'_> {
    if let [text @ .., b'\r'] = line.bytes() { Text::new(text) } else { line }
}

impl Columns {
    /// Before a header names some.
    const NONE: Self = Self { at: [NO_FIELD; TITLES.len()], count: 0 };

    fn of_clients<'a>(titles: impl Iterator<Item = Text<'a>>) -> Self {
        let needed = [Column::CommonName, Column::RealAddress, Column::BytesReceived, Column::BytesSent];
        Self::named(titles, &needed)
    }

    fn of_routes<'a>(titles: impl Iterator<Item = Text<'a>>) -> Self {
        Self::named(titles, &[Column::VirtualAddress, Column::RealAddress])
    }

    fn named<'a>(titles: impl Iterator<Item = Text<'a>>, needed: &[Column]) -> Self {
        let mut columns = Self::NONE;
        for (index, title) in (0..NO_FIELD).zip(titles) {
            columns.count = index.saturating_add(1);
            if let Some(at) = TITLES.iter().position(|known| title == *known).and_then(|at| columns.at.get_mut(at)) {
                *at = index.min(*at);
            }
        }
        if needed.iter().any(|column| columns.at(*column) == NO_FIELD) { Self::NONE } else { columns }
    }

    fn at(&self, column: Column) -> u8 {
        self.at.get(column as usize).copied().unwrap_or(NO_FIELD)
    }

    /// The number of fields in excess of the columns; absent if there are fewer.
    fn surplus(&self, fields: usize) -> Option<usize> {
        fields.checked_sub(self.count.into()).filter(|_| self.count > 0)
    }
}

impl<'a, 's> Fields<'a, 's> {
    /// Splits a row; absent where it has too many fields.
    ///
    /// Eight bytes at a time: fields are short, so that a search for each separator takes longer, even a fast one (304
    /// M instructions for a file of 100,000 clients, against 226 M).
    fn of(line: Text<'a>, separator: u8, starts: &'s mut Starts) -> Option<Self> {
        let (words, rest) = line.bytes().as_chunks::<8>();
        let mut last = [0; 8];
        last.get_mut(..rest.len())?.copy_from_slice(rest);
        let (mut count, mut behind) = (1usize, 1u32);
        let mut note = |word: [u8; 8]| {
            let mut found = places(separator, word);
            while found != 0 {
                *starts.get_mut(count).filter(|_| count < MOST_FIELDS)? =
                    behind.wrapping_add(found.trailing_zeros() / 8);
                count = count.wrapping_add(1);
                found &= found.wrapping_sub(1);
            }
            behind = behind.wrapping_add(8);
            Some(())
        };
        for word in words {
            note(*word)?;
        }
        note(last)?;
        *starts.get_mut(count)? = u32::try_from(line.bytes().len()).ok()?.checked_add(1)?;
        Some(Self { line, starts, count })
    }

    /// The same with the surplus separators as parts of the two names.
    fn joined<'t>(&self, columns: &Columns, surplus: Surplus, starts: &'t mut Starts) -> Option<Fields<'a, 't>> {
        let names = [(Column::CommonName, surplus.name), (Column::Username, surplus.user)];
        let (mut count, mut field) = (0usize, 0usize);
        while let Some(start) = self.starts.get(field).filter(|_| field <= self.count) {
            *starts.get_mut(count)? = *start;
            let name = names.into_iter().find(|(name, _)| usize::from(columns.at(*name)) == count);
            field = field.checked_add(1)?.checked_add(name.map_or(0, |(_, width)| width))?;
            count = count.checked_add(1)?;
        }
        Some(Fields { line: self.line, starts, count: count.checked_sub(1)? })
    }

    /// The client of a row with surplus separators: most likely all of them are in the common name; the user name is tried
    /// after it.
    fn client_with(&self, columns: &Columns, more: usize) -> Option<Client<'a>> {
        (0..=more).find_map(|user| {
            let mut starts = NO_STARTS;
            let fields = self.joined(columns, Surplus { name: more.checked_sub(user)?, user }, &mut starts)?;
            fields.client(columns).filter(|client| is_address(client.real_address))
        })
    }

    fn client(&self, columns: &Columns) -> Option<Client<'a>> {
        let get = |column| self.field(columns.at(column));
        Some(Client {
            common_name: get(Column::CommonName),
            username: get(Column::Username),
            real_address: get(Column::RealAddress),
            virtual_address: get(Column::VirtualAddress),
            virtual_ipv6: get(Column::VirtualIpv6),
            bytes_received: get(Column::BytesReceived).number()?,
            bytes_sent: get(Column::BytesSent).number()?,
            since: Timestamp { text: get(Column::Since), seconds: get(Column::SinceSeconds).signed() },
            client_id: get(Column::ClientId),
            peer_id: get(Column::PeerId),
        })
    }

    /// A field's text; that of a row that has no such field is empty.
    #[inline]
    fn field(&self, number: u8) -> Text<'a> {
        let start = |at: usize| self.starts.get(at).map_or(0, |start| *start as usize);
        let (start, next) = (start(number.into()), start(usize::from(number).wrapping_add(1)));
        Text::new(self.line.bytes().get(start..next.wrapping_sub(1)).unwrap_or_default())
    }
}

/// Whether a word can be the keyword of a row, known or unknown, such as `GLOBAL_STATS`.
fn is_tag(word: Text<'_>) -> bool {
    word.bytes().len() > 3 && word.bytes().iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
}

/// Whether a field can be a real address, unlike the names beside it, which may be any text.
fn is_address(field: Text<'_>) -> bool {
    field.bytes().iter().any(|byte| matches!(byte, b'.' | b':'))
        && field.bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b".:[]%-_".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_2: &str = "TITLE,OpenVPN 2.6.14 x86_64\nTIME,2026-11-20 13:20:25,1795180825\nHEADER,CLIENT_LIST,\
        Common Name,Real Address,Virtual Address,Virtual IPv6 Address,Bytes Received,Bytes Sent,Connected Since,\
        Connected Since (time_t),Username,Client ID,Peer ID,Data Channel Cipher\n";

    fn entries(text: &str) -> Vec<Entry<'_>> {
        match parse(text.as_bytes()) {
            Document::Server(entries) => with_clients(entries).0,
            _ => Vec::new(),
        }
    }

    fn clients(text: &str) -> Vec<Client<'_>> {
        match parse(text.as_bytes()) {
            Document::Server(entries) => with_clients(entries).1,
            _ => Vec::new(),
        }
    }

    /// All entries, and the clients of those that are rows of one.
    fn with_clients(mut entries: Entries<'_>) -> (Vec<Entry<'_>>, Vec<Client<'_>>) {
        let (mut all, mut clients) = (Vec::new(), Vec::new());
        while let Some(entry) = entries.next() {
            let Entry::Client(row) = entry else {
                all.push(entry);
                continue;
            };
            let client = entries.client(row);
            all.push(if client.is_some() { entry } else { Entry::Skipped });
            clients.extend(client);
        }
        (all, clients)
    }

    #[test]
    fn names_may_hold_commas_in_version_2() {
        for (row, name, user) in [
            (
                "Smith, Ann,192.0.2.1:5,10.8.0.2,,1,2,2026-11-20 13:20:20,1795180820,UNDEF,0,0,AES-256-GCM",
                "Smith, Ann",
                "UNDEF",
            ),
            ("ann,192.0.2.1:5,10.8.0.2,,1,2,2026-11-20 13:20:20,1795180820,a,b,,c,0,0,AES-256-GCM", "ann", "a,b,,c"),
            ("a,b,192.0.2.1:5,10.8.0.2,,1,2,2026-11-20 13:20:20,1795180820,c,d,0,0,AES-256-GCM", "a,b", "c,d"),
            (",,192.0.2.1:5,10.8.0.2,,1,2,2026-11-20 13:20:20,1795180820,UNDEF,0,0,AES-256-GCM", ",", "UNDEF"),
        ] {
            let text = format!("{HEADER_2}CLIENT_LIST,{row}\nEND\n");
            let found = clients(&text);
            assert_eq!(found.len(), 1, "{row}");
            assert_eq!((found[0].common_name, found[0].username), (name.into(), user.into()), "{row}");
            assert_eq!((found[0].bytes_received, found[0].bytes_sent), (1, 2), "{row}");
            assert_eq!(found[0].real_address, Text::from("192.0.2.1:5"), "{row}");
        }
    }

    #[test]
    fn a_name_made_to_look_like_the_other_fields_stays_a_name() {
        let row = "x,192.0.2.9:9,10.8.0.9,,7,7,2026-11-20 13:20:20,1795180820,UNDEF";
        let text = format!("{HEADER_2}CLIENT_LIST,{row},192.0.2.1:5,10.8.0.2,,1,2,d,1,UNDEF,0,0,AES-256-GCM\nEND\n");
        let found = clients(&text);
        assert_eq!(found[0].common_name, Text::from(row));
        assert_eq!(found[0].bytes_received, 1);
    }

    #[test]
    fn rows_that_cannot_be_understood_are_counted() {
        let text = format!("{HEADER_2}CLIENT_LIST,short,row\nCLIENT_LIST,a,192.0.2.1:5,,,x,2,d,1,UNDEF,0,0,c\nEND\n");
        let skipped = entries(&text).into_iter().filter(|entry| *entry == Entry::Skipped).count();
        assert_eq!(skipped, 2);
    }

    #[test]
    fn rows_before_any_header_are_skipped() {
        assert_eq!(
            entries("TITLE\tOpenVPN 2.6.14 x\nCLIENT_LIST\ta\t192.0.2.1:5\nEND\n"),
            [Entry::Version("2.6.14".into()), Entry::Skipped, Entry::End]
        );
    }

    #[test]
    fn a_line_without_an_end_is_not_believed() {
        let text = format!("{HEADER_2}CLIENT_LIST,a,192.0.2.1:5,,,1,2,d,1,UNDEF,0,0,AES");
        let updated = Timestamp { text: "2026-11-20 13:20:25".into(), seconds: Some(1_795_180_825) };
        assert_eq!(entries(&text), [Entry::Version("2.6.14".into()), Entry::Updated(updated)]);
    }

    #[test]
    fn nothing_after_the_first_end_counts() {
        let row = "CLIENT_LIST,a,192.0.2.1:5,,,1,2,d,1,UNDEF,0,0,AES\n";
        let text = format!("{HEADER_2}{row}END\n{row}END\n");
        assert_eq!(clients(&text).len(), 1);
    }

    #[test]
    fn the_rest_of_an_overwritten_line_is_a_fragment_and_an_unknown_row_is_not() {
        assert_eq!(
            entries(
                "TITLE\tOpenVPN 2.6.14 x\nF\t2\t2\tAES-256-GCM\nIST\t1\nGLOBAL_STATS\tdco_enabled\t0\nNEW_ROW\t1\nEND\n"
            ),
            [
                Entry::Version("2.6.14".into()),
                Entry::Fragment,
                Entry::Fragment,
                Entry::Global("dco_enabled".into(), "0".into()),
                Entry::End
            ]
        );
    }

    #[test]
    fn real_addresses_come_in_many_forms() {
        for (text, host, port) in [
            ("192.0.2.1:5", "192.0.2.1", "5"),
            ("192.0.2.1", "192.0.2.1", ""),
            ("[2001:db8::1]:5", "2001:db8::1", "5"),
            ("2001:db8::1", "2001:db8::1", ""),
            ("udp4:192.0.2.1:5", "192.0.2.1", "5"),
            ("tcp6-server:[2001:db8::1]:5", "2001:db8::1", "5"),
            ("", "", ""),
        ] {
            let client = Client { real_address: text.into(), ..Client::default() };
            assert_eq!(client.peer(), (host.into(), port.into()), "{text}");
        }
    }

    #[test]
    fn a_sockets_word_before_an_address_is_the_clients_protocol() {
        let (udp, tcp) = (Some(Protocol::Udp), Some(Protocol::Tcp));
        for (text, protocol, host, port) in [
            ("udp:192.0.2.1:5", udp, "192.0.2.1", "5"),
            ("udp4:192.0.2.1:5", udp, "192.0.2.1", "5"),
            ("udp6:192.0.2.1:5", udp, "192.0.2.1", "5"),
            ("udp6:[2001:db8::1]:5", udp, "2001:db8::1", "5"),
            ("udp6:2001:db8::1", udp, "2001:db8::1", ""),
            ("tcp:192.0.2.1:5", tcp, "192.0.2.1", "5"),
            ("tcp4:192.0.2.1", tcp, "192.0.2.1", ""),
            ("tcp6:[2001:db8::1]:5", tcp, "2001:db8::1", "5"),
            ("tcp-server:192.0.2.1:5", tcp, "192.0.2.1", "5"),
            ("tcp4-server:192.0.2.1:5", tcp, "192.0.2.1", "5"),
            ("tcp6-server:[2001:db8::1]:5", tcp, "2001:db8::1", "5"),
            ("tcp-client:192.0.2.1:5", tcp, "192.0.2.1", "5"),
            ("tcp4-client:192.0.2.1:5", tcp, "192.0.2.1", "5"),
            ("tcp6-client:2001:db8::1", tcp, "2001:db8::1", ""),
            ("proto-uninitialized:192.0.2.1:5", None, "192.0.2.1", "5"),
            ("[unknown protocol]:192.0.2.1:5", None, "192.0.2.1", "5"),
            ("192.0.2.1:5", None, "192.0.2.1", "5"),
            ("[2001:db8::1]:5", None, "2001:db8::1", "5"),
            ("udp5:5", None, "udp5", "5"),
            ("udp4-server:5", None, "udp4-server", "5"),
        ] {
            let client = Client { real_address: text.into(), ..Client::default() };
            assert_eq!((client.protocol(), client.peer()), (protocol, (host.into(), port.into())), "{text}");
        }
    }

    const WORDS: [&str; 14] = [
        "Virtual Address",
        "ROUTING TABLE",
        "GLOBAL STATS",
        "END",
        "UNDEF",
        "HEADER",
        "CLIENT_LIST",
        "ROUTING_TABLE",
        "TITLE",
        "TIME",
        "Updated",
        "Common Name",
        "OpenVPN CLIENT LIST",
        ">INFO:x",
    ];

    #[test]
    fn names_that_are_the_files_own_words_are_names() {
        let date = "2026-11-20 13:20:20";
        let titles = "Common Name,Real Address,Virtual Address,Bytes Received,Bytes Sent,Connected Since,Username";
        let routing = "Virtual Address,Common Name,Real Address,Last Ref";
        for word in WORDS {
            // Also with commas in it, and with what could be the rest of a header.
            for name in [word.to_owned(), format!("{word},x"), format!("{word},Common Name,Real Address,Last Ref")] {
                let row = format!("{name},192.0.2.1:5,1,2,{date}");
                let route = format!("10.8.0.2,{name},192.0.2.1:5,{date}");
                let first = format!(
                    "OpenVPN CLIENT LIST\nUpdated,{date}\nCommon Name,Real Address,Bytes Received,Bytes Sent,Connected Since\n\
                     {row}\n{row}\nROUTING TABLE\n{routing}\n{route}\n{route}\nGLOBAL STATS\nMax,0\nEND\n"
                );
                let tagged = |separator: &str| {
                    let with = |list: &str| list.replace(',', separator);
                    let row = [&name, "192.0.2.1:5", "10.8.0.2", "1", "2", date, &name].join(separator);
                    let route = ["10.8.0.2", &name, "192.0.2.1:5", date].join(separator);
                    let rows = format!("CLIENT_LIST{separator}{row}\n").repeat(2);
                    let routes = format!("ROUTING_TABLE{separator}{route}\n").repeat(2);
                    format!(
                        "TITLE{separator}OpenVPN 2.6 x\nTIME{separator}{date}{separator}1\nHEADER{separator}CLIENT_LIST{separator}\
                         {}\n{rows}HEADER{separator}ROUTING_TABLE{separator}{}\n{routes}END\n",
                        with(titles),
                        with(routing)
                    )
                };
                for (version, text) in [(1, first), (2, tagged(",")), (3, tagged("\t"))] {
                    // Where both names hold commas only their sum is known.
                    let is_told = version != 2 || !name.contains(',');
                    let entries = entries(&text);
                    let routes = entries.iter().filter(|entry| matches!(entry, Entry::Route(_))).count();
                    assert_eq!((routes, entries.last()), (2, Some(&Entry::End)), "{text}");
                    assert!(!entries.iter().any(|entry| matches!(entry, Entry::Skipped | Entry::Fragment)), "{text}");
                    let clients = clients(&text);
                    assert_eq!(clients.len(), 2, "{text}");
                    for client in clients.iter().filter(|_| is_told) {
                        assert_eq!(client.common_name, Text::from(&*name), "{text}");
                        assert_eq!(client.username, Text::from(if version == 1 { "" } else { &*name }), "{text}");
                        assert_eq!((client.bytes_received, client.bytes_sent), (1, 2), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        for text in ["OpenVPN CLIENT LIST\r\nEND\r\n", "TITLE,OpenVPN 2.6.14 x\nEND\n"] {
            assert!(entries(&format!("\u{feff}{text}")).contains(&Entry::End), "{text}");
        }
    }

    #[test]
    fn what_the_management_interface_says_before_a_status_is_passed_over() {
        let text = format!("{HEADER_2}CLIENT_LIST,a,192.0.2.1:5,,,1,2,d,1,UNDEF,0,0,c\nEND\n");
        for replies in [
            ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info\r\n",
            "SUCCESS: pid=7\r\n>STATE:1795180825,CONNECTED,SUCCESS,,,,,\r\n",
            "ENTER PASSWORD:SUCCESS: password is correct\r\n>INFO:x\r\n",
        ] {
            let text = format!("{replies}{}", text.replace('\n', "\r\n"));
            assert_eq!(clients(&text).len(), 1, "{text}");
            let statistics = format!("{replies}OpenVPN STATISTICS\nEND\n");
            assert!(matches!(parse(statistics.as_bytes()), Document::Statistics(_)));
        }
        assert!(matches!(parse(b">INFO:x\n"), Document::Unknown));
        assert!(matches!(parse(b">INFO:x"), Document::Unknown));
    }

    #[test]
    fn who_has_an_address_or_a_route_has_authenticated() {
        for (v4, v6, is_routed, expected) in [
            ("", "", false, None),
            ("0.0.0.0", "::", false, None),
            ("10.8.0.2", "", false, Some("UNDEF")),
            ("", "fd00:8::2", false, Some("UNDEF")),
            ("", "", true, Some("UNDEF")),
        ] {
            let undef = Client { common_name: "UNDEF".into(), username: "UNDEF".into(), ..Client::default() };
            let client = Client { virtual_address: v4.into(), virtual_ipv6: v6.into(), ..undef };
            assert_eq!(client.identity(is_routed), expected.map(Text::from), "{v4} {v6} {is_routed}");
            let ann = Client { username: "ann".into(), ..client };
            assert_eq!(ann.identity(is_routed), Some("ann".into()));
        }
    }

    #[test]
    fn a_client_is_known_by_its_name_or_its_users() {
        for (name, user, expected) in [
            ("ann", "UNDEF", Some("ann")),
            ("ann", "other", Some("ann")),
            ("UNDEF", "ann", Some("ann")),
            ("UNDEF", "UNDEF", None),
            ("UNDEF", "", None),
        ] {
            let client = Client { common_name: name.into(), username: user.into(), ..Client::default() };
            assert_eq!(client.identity(false), expected.map(Text::from), "{name} {user}");
        }
    }

    #[test]
    fn fields_are_what_lies_between_separators_wherever_they_stand() {
        for length in 0..40u32 {
            for pattern in [0x0204_0810_2040_8102_u64, 0xffff_ffff, 0x8001_0180, 1 << 7, 0] {
                let byte =
                    |at| if pattern >> at & 1 == 1 { b',' } else { [b'a', b'-', 0xac, 0x2d, 0][at as usize % 5] };
                let line: Vec<u8> = (0..length).map(byte).collect();
                let mut starts = NO_STARTS;
                let fields = Fields::of(Text::new(&line), b',', &mut starts).expect("few fields");
                let found: Vec<_> = (0..fields.count as u8).map(|field| fields.field(field).bytes()).collect();
                let expected: Vec<_> = line.split(|byte| *byte == b',').collect();
                assert_eq!(found, expected, "{line:?}");
                assert_eq!(count(b',', &line) + 1, fields.count);
                assert!(fields.field(NO_FIELD).is_empty());
            }
        }
        assert!(Fields::of(Text::new(&[b','; MOST_FIELDS - 1]), b',', &mut NO_STARTS.clone()).is_some());
        assert!(Fields::of(Text::new(&[b','; MOST_FIELDS]), b',', &mut NO_STARTS.clone()).is_none());
    }

    #[test]
    fn both_date_forms_print_alike() {
        for (text, expected) in [
            ("2026-11-20 13:20:25", "2026-11-20 13:20:25"),
            ("Thu Apr 30 13:55:38 2020", "2020-04-30 13:55:38"),
            ("Wed Apr  1 08:00:07 2020", "2020-04-01 08:00:07"),
            ("Wed Foo  1 08:00:07 2020", "Wed Foo  1 08:00:07 2020"),
        ] {
            assert_eq!(date(text.into()), expected);
        }
    }

    #[test]
    fn other_files_are_told_apart() {
        let text = "OpenVPN STATISTICS\nUpdated,2026-11-20 13:20:25\nTUN/TAP read bytes,12\nodd,x\nEND\nafter,1\n";
        let Document::Statistics(statistics) = parse(text.as_bytes()) else { panic!("no statistics") };
        assert_eq!(statistics.counters().collect::<Vec<_>>(), [("TUN/TAP read bytes".into(), 12)]);
        assert_eq!(statistics.updated().text, Text::from("2026-11-20 13:20:25"));
        assert!(statistics.is_whole());
        for text in ["", "\n", "hello\n", "TITLE OpenVPN\n"] {
            assert!(matches!(parse(text.as_bytes()), Document::Unknown), "{text:?}");
        }
    }

    #[test]
    fn a_row_has_64_fields_at_most() {
        for (columns, entry) in [(64, None), (65, Some(Entry::Skipped))] {
            let more = columns - 4;
            let header = format!("Common Name\tReal Address\tBytes Received\tBytes Sent{}", "\tnew".repeat(more));
            let row = format!("ann\t192.0.2.1:5\t1\t2{}", "\tx".repeat(more));
            let text = format!("TITLE\tOpenVPN 2.9 x\nHEADER\tCLIENT_LIST\t{header}\nCLIENT_LIST\t{row}\nEND\n");
            let found = entries(&text);
            assert_eq!(clients(&text).len(), usize::from(entry.is_none()), "{columns}");
            assert_eq!(found.iter().find(|found| **found == Entry::Skipped), entry.as_ref(), "{columns}");
        }
    }

    #[test]
    fn of_a_column_that_stands_twice_the_first_counts() {
        let text = "TITLE\tOpenVPN 2.9 x\nHEADER\tCLIENT_LIST\tCommon Name\tReal Address\tBytes Received\tBytes Sent\tCommon Name\n\
                    CLIENT_LIST\tann\t192.0.2.1:5\t1\t2\tbob\nEND\n";
        assert_eq!(clients(text)[0].common_name, Text::from("ann"));
    }

    #[test]
    fn the_last_line_may_lack_its_end_where_it_is_the_files_last_word() {
        let title = "TITLE\tOpenVPN 2.6.14 x\n";
        for (last, expected) in
            [("END", true), ("END\n", true), ("END\r\n", true), ("EN", false), ("ENDS", false), ("", false)]
        {
            assert_eq!(entries(&format!("{title}{last}")).contains(&Entry::End), expected, "{last:?}");
        }
    }
}
