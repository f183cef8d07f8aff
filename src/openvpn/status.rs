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

use super::Protocol;
use crate::text::{Text, count, places};

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
    /// A client, also one that has not authenticated yet.
    Client(Client<'a>),
    /// A row of the routing table.
    Route(RouteRow<'a>),
    /// A number for the whole server, by its name: `dco_enabled`.
    Global(Text<'a>, Text<'a>),
    /// A client's or route's row that could not be understood.
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

/// One row of the routing table, which is split only where its fields are wanted: most of the time the rows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRow<'a> {
    line: Text<'a>,
    separator: u8,
    columns: Columns,
}

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

/// The entries of a status file, in order, up to the first `END`.
#[derive(Clone)]
pub struct Entries<'a> {
    rest: Text<'a>,
    separator: u8,
    section: Section,
    clients: Columns,
    routes: Columns,
    with_rows: bool,
}

/// The section of a version 1 file; the other versions name the section in each row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    Tagged,
    Clients,
    Routes,
    Other,
    Over,
}

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

/// The indexes of a table's columns by its header, and their number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Columns {
    at: [Option<u8>; TITLES.len()],
    count: u8,
}

/// A line and the starts of its fields; the last start is that of a field that would follow the line. A field ends
/// before the separator that precedes the next start.
struct Fields<'a, 's> {
    line: Text<'a>,
    starts: &'s [u32],
}

/// The buffer for the starts of [`Fields`], which is reused for all rows.
type Starts = [u32; MOST_FIELDS + 1];

/// How many surplus separators of a comma row belong to the common name, and how many to the user name.
#[derive(Clone, Copy, Default)]
struct Surplus {
    name: usize,
    user: usize,
}

/// Detects the type of a file; its entries are parsed while they are iterated.
pub fn parse(file: &[u8]) -> Document<'_> {
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
        rest: text,
        separator,
        section,
        clients: Columns::default(),
        routes: Columns::default(),
        with_rows: true,
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
        while self.section != Section::Over {
            // A line without an end was cut, and its numbers may be wrong.
            let Some((line, rest)) = self.rest.cut(b'\n') else {
                self.section = Section::Over;
                return (self.rest == "END").then_some(Entry::End);
            };
            self.rest = rest;
            let line = line.before("\r").unwrap_or(line);
            if line == "END" {
                self.section = Section::Over;
                return Some(Entry::End);
            }
            if let Some(entry) = self.entry(line) {
                return Some(entry);
            }
        }
        None
    }
}

impl<'a> Entries<'a> {
    /// The same without the rows: enough to tell whether the file is whole.
    #[must_use]
    pub fn without_rows(mut self) -> Self {
        self.with_rows = false;
        self
    }

    /// When the file was written, as its lines before the rows state.
    pub fn updated(&self) -> Timestamp<'a> {
        let updated = |entry| if let Entry::Updated(moment) = entry { Some(moment) } else { None };
        self.clone().without_rows().find_map(updated).unwrap_or_default()
    }

    fn entry(&mut self, line: Text<'a>) -> Option<Entry<'a>> {
        if self.section == Section::Tagged {
            // Nearly all lines are rows.
            for (tag, is_client) in [("CLIENT_LIST", true), ("ROUTING_TABLE", false)] {
                let row = line.after(tag).and_then(|rest| rest.bytes().split_first());
                if let Some((_, row)) = row.filter(|(separator, _)| **separator == self.separator) {
                    return if is_client { self.client(Text::new(row)) } else { self.route(Text::new(row)) };
                }
            }
            let (tag, rest) = line.cut(self.separator).unwrap_or((line, Text::default()));
            return self.tagged(tag, rest);
        }
        match line.bytes() {
            b"ROUTING TABLE" => self.section = Section::Routes,
            b"GLOBAL STATS" => self.section = Section::Other,
            title if title.starts_with(b"Common Name,") && self.clients.count == 0 => {
                self.clients = Columns::named(line.fields(b','));
                self.section = Section::Clients;
            }
            title
                if title.starts_with(b"Virtual Address,")
                    && self.section == Section::Routes
                    && self.routes.count == 0 =>
            {
                self.routes = Columns::named(line.fields(b','));
            }
            _ if self.section == Section::Clients => return self.client(line),
            _ if self.section == Section::Routes => return self.route(line),
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
            b"CLIENT_LIST" => return self.client(rest),
            b"ROUTING_TABLE" => return self.route(rest),
            b"TITLE" => return rest.words().nth(1).map(Entry::Version),
            b"GLOBAL_STATS" => return rest.cut_last(self.separator).map(|(name, value)| Entry::Global(name, value)),
            b"TIME" => {
                let (text, seconds) = rest.cut(self.separator).unwrap_or((rest, Text::default()));
                return Some(Entry::Updated(Timestamp { text, seconds: seconds.signed() }));
            }
            b"HEADER" => {
                let (table, titles) = rest.cut(self.separator)?;
                match table.bytes() {
                    b"CLIENT_LIST" => self.clients = Columns::named(titles.fields(self.separator)),
                    b"ROUTING_TABLE" => self.routes = Columns::named(titles.fields(self.separator)),
                    _ => {}
                }
            }
            _ if !is_tag(tag) => return Some(Entry::Fragment),
            _ => {}
        }
        None
    }

    fn client(&self, line: Text<'a>) -> Option<Entry<'a>> {
        if !self.with_rows {
            return None;
        }
        let columns = &self.clients;
        let client = Fields::of(line, self.separator, &mut [0; MOST_FIELDS + 1]).and_then(|fields| {
            match columns.surplus(fields.count())? {
                0 => fields.client(columns),
                // Most likely all surplus separators are in the common name; the user name is tried after it.
                more => (0..=more).find_map(|user| {
                    let mut starts = [0; MOST_FIELDS + 1];
                    let surplus = Surplus { name: more.checked_sub(user)?, user };
                    let fields = fields.joined(columns, surplus, &mut starts)?;
                    fields.client(columns).filter(|client| is_address(client.real_address))
                }),
            }
        });
        Some(client.map_or(Entry::Skipped, Entry::Client))
    }

    fn route(&self, line: Text<'a>) -> Option<Entry<'a>> {
        if !self.with_rows {
            return None;
        }
        let (separator, columns) = (self.separator, self.routes);
        let separators = count(separator, line.bytes());
        let is_whole = separators < MOST_FIELDS
            && columns.surplus(separators.saturating_add(1)).is_some()
            && [Column::VirtualAddress, Column::RealAddress].into_iter().all(|column| columns.at(column).is_some());
        Some(if is_whole { Entry::Route(RouteRow { line, separator, columns }) } else { Entry::Skipped })
    }
}

impl<'a> RouteRow<'a> {
    /// Its fields, which it has.
    pub fn route(&self) -> Option<Route<'a>> {
        let (mut all, mut starts) = ([0; MOST_FIELDS + 1], [0; MOST_FIELDS + 1]);
        let fields = Fields::of(self.line, self.separator, &mut all)?;
        let surplus = Surplus { name: self.columns.surplus(fields.count())?, user: 0 };
        let fields = fields.joined(&self.columns, surplus, &mut starts)?;
        Some(Route {
            virtual_address: fields.get(&self.columns, Column::VirtualAddress)?,
            common_name: fields.get(&self.columns, Column::CommonName).unwrap_or_default(),
            real_address: fields.get(&self.columns, Column::RealAddress)?,
        })
    }
}

impl Columns {
    fn named<'a>(titles: impl Iterator<Item = Text<'a>>) -> Self {
        let mut columns = Self::default();
        for (index, title) in (0..u8::MAX).zip(titles) {
            columns.count = index.saturating_add(1);
            if let Some(at) = TITLES.iter().position(|known| title == *known).and_then(|at| columns.at.get_mut(at)) {
                at.get_or_insert(index);
            }
        }
        columns
    }

    fn at(&self, column: Column) -> Option<usize> {
        self.at.get(column as usize).copied().flatten().map(usize::from)
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
                *starts.get_mut(count)? = behind.wrapping_add(found.trailing_zeros() / 8);
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
        Some(Self { line, starts: starts.get(..=count)? })
    }

    fn count(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The same with the surplus separators as parts of the two names.
    fn joined<'t>(&self, columns: &Columns, surplus: Surplus, starts: &'t mut Starts) -> Option<Fields<'a, 't>> {
        let names = [(Column::CommonName, surplus.name), (Column::Username, surplus.user)];
        let (mut count, mut field) = (0usize, 0usize);
        while let Some(start) = self.starts.get(field) {
            *starts.get_mut(count)? = *start;
            let name = names.into_iter().find(|(name, _)| columns.at(*name) == Some(count));
            field = field.checked_add(1)?.checked_add(name.map_or(0, |(_, width)| width))?;
            count = count.checked_add(1)?;
        }
        Some(Fields { line: self.line, starts: starts.get(..count)? })
    }

    fn client(&self, columns: &Columns) -> Option<Client<'a>> {
        let get = |column| self.get(columns, column);
        Some(Client {
            common_name: get(Column::CommonName)?,
            username: get(Column::Username).unwrap_or_default(),
            real_address: get(Column::RealAddress)?,
            virtual_address: get(Column::VirtualAddress).unwrap_or_default(),
            virtual_ipv6: get(Column::VirtualIpv6).unwrap_or_default(),
            bytes_received: get(Column::BytesReceived)?.number()?,
            bytes_sent: get(Column::BytesSent)?.number()?,
            since: Timestamp {
                text: get(Column::Since).unwrap_or_default(),
                seconds: get(Column::SinceSeconds).and_then(Text::signed),
            },
            client_id: get(Column::ClientId).unwrap_or_default(),
            peer_id: get(Column::PeerId).unwrap_or_default(),
        })
    }

    /// A column's text.
    fn get(&self, columns: &Columns, column: Column) -> Option<Text<'a>> {
        self.field(columns.at(column)?)
    }

    fn field(&self, at: usize) -> Option<Text<'a>> {
        let (start, next) = (*self.starts.get(at)?, *self.starts.get(at.checked_add(1)?)?);
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(next).ok()?.checked_sub(1)?);
        self.line.bytes().get(start..end).map(Text::new)
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
            Document::Server(entries) => entries.collect(),
            _ => Vec::new(),
        }
    }

    fn clients(text: &str) -> Vec<Client<'_>> {
        let clients = entries(text).into_iter();
        clients.filter_map(|entry| if let Entry::Client(client) = entry { Some(client) } else { None }).collect()
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
                let mut starts = [0; MOST_FIELDS + 1];
                let fields = Fields::of(Text::new(&line), b',', &mut starts).expect("few fields");
                let count = fields.starts.len() - 1;
                let found: Vec<_> = (0..count).map(|field| fields.field(field).map(Text::bytes)).collect();
                let expected: Vec<_> = line.split(|byte| *byte == b',').map(Some).collect();
                assert_eq!(found, expected, "{line:?}");
                assert_eq!(fields.field(count), None);
            }
        }
        assert!(Fields::of(Text::new(&[b','; MOST_FIELDS - 1]), b',', &mut [0; MOST_FIELDS + 1]).is_some());
        assert!(Fields::of(Text::new(&[b','; MOST_FIELDS]), b',', &mut [0; MOST_FIELDS + 1]).is_none());
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
