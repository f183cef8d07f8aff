//! The metrics of OpenVPN, from its status files.

use std::path::Path;
use std::sync::Arc;

use super::Protocol;
use super::management::State;
use super::staleness::{Now, Times};
use super::status::{Client, Document, Entries, Entry, Lines, Statistics, parse, parse_again};
use super::totals::{Answered, ClientPass, ClientRow, ClientTotals, KnownFiles, SessionStart, UnidentifiedRow};
use crate::advice::Severity;
use crate::exposition::{
    Exposition, Family, Group, Label, Merge, Table, TableInfo, Value, counter, gauge, label, name, table,
};
use crate::hash_index::NameIndex;
use crate::text::Text;
use crate::totals::{Entry as ClientEntry, OriginId};
use crate::watched::{Watched, up_or_down};

/// One status file.
pub struct Reading<'a> {
    /// Its server's name, which other files may have, too.
    pub server: &'a str,
    /// Its path, before it was rotated if it was; the state of a file is kept under this path.
    pub path: &'a Path,
    /// Its mtime in seconds since 1970; absent if it is not known.
    pub modified: Option<i64>,
    /// Whether there is no such file.
    pub is_gone: bool,
    /// The file's bytes; absent where it could not be read.
    pub file: Option<&'a [u8]>,
    /// Its lines, where they were found before.
    pub lines: Option<&'a Arc<Lines>>,
    /// The protocol of its clients where their rows don't say it.
    pub protocol: Protocol,
    /// Whether the file was read while it was written, so that it may list a session twice.
    pub torn: bool,
    /// The age in seconds from which the file is stale; absent if that follows from how often it is written.
    pub stale_after: Option<i64>,
    /// Whether the server has a management interface, and what it answered just now.
    pub asked: Asked<'a>,
}

/// Whether a server is asked over its management interface.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// It has none: the file is all there is.
    No,
    /// It gave no status; the file that was read in its place may be older than an earlier answer.
    Unanswered,
    /// The bytes are its answer, which says this besides.
    Answered {
        /// The release; empty where it was not said.
        version: &'a [u8],
        /// The latest state, where there was one.
        state: Option<&'a State>,
    },
}

struct Probe;

impl Table for Probe {
    type Row<'a> = (Text<'a>, bool);
    const LABELS: &'static [Label<Self>] = &[label(name!("version"), |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("probe_success", "OpenVPN Status", Merge::Lowest, |row| Some(row.1.into()))];
}

struct Info;

impl Table for Info {
    type Row<'a> = Text<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("product"), |_, out| out.text("OpenVPN".into())),
        label(name!("version"), |version, out| out.text(*version)),
    ];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("ovpn_info", "Software info", Merge::First, |_| Some(1u64.into()))];
}

struct Sessions;

impl Table for Sessions {
    type Row<'a> = u64;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("ovpn_sessions_total", "Total number of active sessions", Merge::Sum, |count| Some((*count).into()))];
}

/// A client: its totals over all sessions, and its present sessions.
struct Person;

impl Table for Person {
    type Row<'a> = &'a ClientEntry;
    const LABELS: &'static [Label<Self>] =
        &[label(name!("client"), |client, out| out.identity_before(b'_', Text::from(&*client.name)))];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("ovpn_bytes_in_total", "Total number of bytes received", |row| Some(row.total.bytes_in.into())),
        counter("ovpn_bytes_out_total", "Total number of bytes sent", |row| Some(row.total.bytes_out.into())),
        gauge(
            "ovpn_client_connected_timestamp_seconds",
            "Unix time at which the client's oldest session began, in seconds.",
            Merge::Lowest,
            |row| row.since.map(Value::from),
        ),
        gauge("ovpn_client_sessions", "Number of sessions of the client.", Merge::Sum, |row| {
            Some(row.sessions).filter(|sessions| *sessions > 0).map(Value::from)
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Clients);
}

/// The values of one status file; those that the file does not contain are absent.
#[derive(Default)]
struct ServerRow<'a> {
    server: &'a str,
    up: bool,
    updated: Option<i64>,
    started: Option<i64>,
    sessions: Option<u64>,
    skipped: Option<u64>,
    routes: Option<u64>,
    queue: Option<u64>,
    dco: Option<u64>,
}

struct Server;

impl Table for Server {
    type Row<'a> = ServerRow<'a>;
    const LABELS: &'static [Label<Self>] = &[label(name!("server"), |row, out| out.text(row.server.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "ovpn_dco_enabled",
            "1 if the kernel module DCO forwards the server's data, else 0.",
            Merge::First,
            |row| row.dco.map(Value::from),
        ),
        gauge(
            "ovpn_max_bcast_mcast_queue_length",
            "Greatest length that the broadcast and multicast queue has had, in packets.",
            Merge::Highest,
            |row| row.queue.map(Value::from),
        ),
        gauge("ovpn_routes", "Number of rows of the routing table.", Merge::Sum, |row| row.routes.map(Value::from)),
        gauge(
            "ovpn_server_sessions",
            "Number of sessions of the server's clients; absent where its status is stale or can't be read.",
            Merge::Sum,
            |row| row.sessions.map(Value::from),
        ),
        gauge(
            "ovpn_server_started_timestamp_seconds",
            "Unix time at which the server completed its start, in seconds, where its management interface says it.",
            Merge::Highest,
            |row| row.started.map(Value::from),
        ),
        gauge(
            "ovpn_server_up",
            "1 if the management interface answers or the status file is readable and fresh, else 0.",
            Merge::Lowest,
            |row| Some(row.up.into()),
        ),
        gauge(
            "ovpn_status_rows_skipped",
            "Number of rows of the status file that could not be parsed.",
            Merge::Sum,
            |row| row.skipped.map(Value::from),
        ),
        gauge(
            "ovpn_status_updated_timestamp_seconds",
            "Unix time at which the status file was written, as it says itself, in seconds.",
            Merge::Lowest,
            |row| row.updated.map(Value::from),
        ),
    ];
}

struct Link;

impl Table for Link {
    type Row<'a> = (&'a str, Statistics<'a>);
    const LABELS: &'static [Label<Self>] = &[label(name!("server"), |row, out| out.text(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        counter(
            "ovpn_link_auth_read_bytes_total",
            "Bytes received by a client after authentication of the packets.",
            |row| statistic(row.1, "Auth read bytes"),
        ),
        counter("ovpn_link_transport_read_bytes_total", "Bytes received by a client from its server.", |row| {
            statistic(row.1, "TCP/UDP read bytes")
        }),
        counter("ovpn_link_transport_write_bytes_total", "Bytes sent by a client to its server.", |row| {
            statistic(row.1, "TCP/UDP write bytes")
        }),
        counter("ovpn_link_tun_read_bytes_total", "Bytes that a client read from its tunnel device.", |row| {
            statistic(row.1, "TUN/TAP read bytes")
        }),
        counter("ovpn_link_tun_write_bytes_total", "Bytes that a client wrote to its tunnel device.", |row| {
            statistic(row.1, "TUN/TAP write bytes")
        }),
    ];
}

/// A client's connection to its server, as its management interface says.
struct LinkState;

impl Table for LinkState {
    type Row<'a> = (&'a str, &'a State);
    const LABELS: &'static [Label<Self>] = &[label(name!("server"), |row, out| out.text(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "ovpn_link_connected_timestamp_seconds",
            "Unix time at which a client's connection to its server was established, in seconds; absent while it has none.",
            Merge::Highest,
            |row| row.1.is_connected().then_some(row.1.since).map(Value::from),
        ),
        gauge(
            "ovpn_link_up",
            "1 if a client is connected to its server, else 0, where its management interface says it.",
            Merge::Lowest,
            |row| Some(row.1.is_connected().into()),
        ),
    ];
}

fn statistic(statistics: Statistics<'_>, wanted: &str) -> Option<Value> {
    statistics.counters().find(|(name, _)| *name == wanted).map(|(_, bytes)| bytes.into())
}

/// What is watched of it.
pub const WATCHED: &[Watched] = &[
    Watched {
        family: "ovpn_server_up",
        kind: "server",
        labels: &["server"],
        beside: Some("ovpn_server_sessions"),
        judge: |server| match server.beside() {
            Some(sessions) if server.value > 0 => {
                let plural = if sessions == 1 { "" } else { "s" };
                Some((Severity::Ok, format!("up, {sessions} session{plural}").into()))
            }
            _ => up_or_down(server),
        },
        // It is said about its file or its management interface why it is down.
        is_told_elsewhere: true,
        ..Watched::PLAIN
    },
    Watched {
        family: "ovpn_link_up",
        kind: "client",
        labels: &["server"],
        fix: "the log of OpenVPN's client NAME says what its server answers",
        ..Watched::PLAIN
    },
];

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[
    table::<Probe>(),
    table::<Info>(),
    table::<Sessions>(),
    table::<Person>(),
    table::<Server>(),
    table::<Link>(),
    table::<LinkState>(),
];

/// Exposes all files together: sessions of one name in several files are one client.
///
/// A server whose file is stale or gone has no sessions, but what its clients had stays in their totals. Where no file
/// could be read there is no number of sessions, unless all servers are gone that were there before. Where no server is
/// alive it is `probe_success 0`. A client that has not authenticated yet is no session and has no series. Gives the
/// stale ones: the index in `readings`, and the age in seconds.
pub fn expose(
    readings: &[Reading<'_>],
    totals: &mut ClientTotals,
    now: Now,
    out: &mut Exposition,
) -> Vec<(usize, i64)> {
    let before: Vec<Answered> = readings.iter().map(|reading| reading.answered_before(&totals.files)).collect();
    let mut summary = Summary::default();
    let mut stale = Vec::new();
    let mut pass = totals.pass(now.seconds);
    for (index, (reading, before)) in readings.iter().zip(&before).enumerate() {
        let document = reading.document();
        if reading.torn || matches!(document, Document::Unknown) {
            pass.keep(reading.path);
        }
        let times = reading.times(&document, pass.files, now);
        let is_clients = matches!(document, Document::Statistics(_));
        let late = times.and_then(|times| times.late);
        let row = match (document, times) {
            (Document::Server(entries), Some(times)) => {
                summary.server((reading, before), entries, times, &mut pass, now, out)
            }
            (Document::Statistics(statistics), Some(times)) => {
                summary.link(reading, before, (statistics, times), out);
                ServerRow { updated: times.updated, ..ServerRow::default() }
            }
            _ => ServerRow::default(),
        };
        reading.note_answer(is_clients, pass.files, now);
        summary.is_alive |= times.is_some() && late.is_none();
        stale.extend(late.map(|age| (index, age)));
        let up = reading.file.is_some() && !reading.torn && late.is_none();
        out.add::<Server>(&ServerRow { server: reading.server, up, ..row });
    }
    drop(pass);
    let version = summary.living_version.or(summary.version).unwrap_or_default();
    out.add::<Probe>(&(version, summary.is_alive));
    let clients = totals.clients();
    if summary.has_servers || (!clients.is_empty() && readings.iter().all(|reading| reading.is_gone)) {
        out.add::<Sessions>(&summary.sessions);
    }
    clients.iter().for_each(|client| out.add_row::<Person>(&client, true));
    stale
}

impl Reading<'_> {
    /// What the file says; unknown where there is none.
    pub fn document(&self) -> Document<'_> {
        self.file.map_or(Document::Unknown, |file| parse_again(file, self.lines))
    }

    /// What the times of the document say; absent where it is no status.
    pub fn times(&self, document: &Document<'_>, files: &mut KnownFiles, now: Now) -> Option<Times> {
        let updated = match document {
            Document::Server(entries) => entries.updated(),
            Document::Statistics(statistics) => statistics.updated(),
            Document::Unknown => return None,
        };
        if matches!(self.asked, Asked::Answered { .. }) {
            return Some(Times::of_answer(updated, now));
        }
        Some(files.times(self.path, updated, self.modified, self.stale_after, now))
    }

    /// What the server answered earlier, if it is asked.
    fn answered_before(&self, files: &KnownFiles) -> Answered {
        if matches!(self.asked, Asked::No) { Answered::default() } else { files.answered(self.path) }
    }

    /// The release that the server says beside its status, or has said.
    fn version<'v>(&self, before: &'v Answered) -> Text<'v>
    where
        Self: 'v,
    {
        match self.asked {
            Asked::Answered { version, .. } => Text::new(version),
            Asked::No | Asked::Unanswered => Text::new(&before.version),
        }
    }

    fn state(&self) -> Option<&State> {
        if let Asked::Answered { state, .. } = self.asked { state } else { None }
    }

    /// Remembers an answer: a server's, or a client's with its statistics.
    fn note_answer(&self, is_clients: bool, files: &mut KnownFiles, now: Now) {
        if let (Asked::Answered { version, .. }, Some(status)) = (self.asked, self.file) {
            let statistics = if is_clients { status } else { &[] };
            files.note_answer(self.path, version, statistics, now.seconds);
        }
    }
}

/// The sums over the files that were read so far.
#[derive(Default)]
struct Summary<'a> {
    is_alive: bool,
    has_servers: bool,
    sessions: u64,
    version: Option<Text<'a>>,
    living_version: Option<Text<'a>>,
}

/// What is known of a file before its clients are read, and the clients that can be recorded only after its last row.
struct Pending<'a> {
    file: OriginId,
    protocol: Protocol,
    times: Times,
    is_asked: bool,
    /// The rows without ids, and all rows of a server that is asked.
    rows: Vec<UnidentifiedRow<'a>>,
    /// The clients whose rows don't say whether they are authenticated.
    nameless: Vec<Client<'a>>,
    /// The common names and real addresses to which routes lead; collected only if there are nameless clients.
    routed: NameIndex,
}

impl<'a> Summary<'a> {
    /// A release that a server says, which has ended if it is late.
    fn note_version(&mut self, version: Text<'a>, times: Times, out: &mut Exposition) {
        let known = if times.late.is_none() { &mut self.living_version } else { &mut self.version };
        known.get_or_insert(version);
        out.add::<Info>(&version);
    }

    /// A client's own statistics: the last answer, where the file is older than that.
    fn link(
        &mut self,
        reading: &Reading<'a>,
        before: &'a Answered,
        (statistics, times): (Statistics<'a>, Times),
        out: &mut Exposition,
    ) {
        let is_older = matches!(reading.asked, Asked::Unanswered) && times.updated.is_some_and(|at| at <= before.at);
        let statistics = match parse(&before.statistics) {
            Document::Statistics(latest) if is_older => latest,
            _ => statistics,
        };
        out.add::<Link>(&(reading.server, statistics));
        if let Some(state) = reading.state() {
            out.add::<LinkState>(&(reading.server, state));
        }
        let version = reading.version(before);
        if !version.is_empty() {
            self.note_version(version, times, out);
        }
    }

    fn server(
        &mut self,
        (reading, before): (&Reading<'a>, &'a Answered),
        mut entries: Entries<'a>,
        times: Times,
        pass: &mut ClientPass<'_>,
        now: Now,
        out: &mut Exposition,
    ) -> ServerRow<'a> {
        let started = reading.state().filter(|state| state.is_connected()).map(|state| state.since);
        let mut row = ServerRow { updated: times.updated, started, ..ServerRow::default() };
        let others = self.sessions;
        self.has_servers = true;
        let mut version = reading.version(before);
        let (mut skipped, mut routes) = (0u64, 0u64);
        let mut pending = Pending::of(pass.file(reading.path), reading, times);
        let mut seen = NameIndex::default();
        while let Some(entry) = entries.next() {
            match entry {
                Entry::Version(text) => version = text,
                Entry::Client(row) => match entries.client(row) {
                    Some(client)
                        if reading.torn && !seen.add(&[client.real_address.bytes(), client.client_id.bytes()]) => {}
                    Some(client) => self.client(&client, &mut pending, pass, now),
                    None => skipped = skipped.saturating_add(1),
                },
                Entry::Route(route) => {
                    routes = routes.saturating_add(1);
                    if !pending.nameless.is_empty()
                        && let Some(route) = entries.route(route)
                    {
                        pending.routed.add(&[route.common_name.bytes(), route.real_address.bytes()]);
                    }
                }
                Entry::Global(name, value) if name == "dco_enabled" => row.dco = value.number(),
                Entry::Global(name, value) if name == "Max bcast/mcast queue length" => row.queue = value.number(),
                Entry::Skipped | Entry::Fragment => skipped = skipped.saturating_add(1),
                Entry::Global(..) | Entry::End | Entry::Updated(_) => {}
            }
        }
        for client in std::mem::take(&mut pending.nameless) {
            let route = pending.routed.get(&[client.common_name.bytes(), client.real_address.bytes()]);
            if let Some(identity) = client.identity(route.is_some()) {
                self.session(&client, identity, &mut pending, pass, now);
            }
        }
        if !version.is_empty() {
            self.note_version(version, times, out);
        }
        let is_older = matches!(reading.asked, Asked::Unanswered);
        pass.record_unidentified(reading.path, pending.rows, is_older);
        let sessions = times.late.is_none().then(|| self.sessions.saturating_sub(others));
        ServerRow { sessions, skipped: Some(skipped), routes: Some(routes), ..row }
    }

    fn client(&mut self, client: &Client<'a>, pending: &mut Pending<'a>, pass: &mut ClientPass<'_>, now: Now) {
        match client.identity(false) {
            Some(identity) => self.session(client, identity, pending, pass, now),
            None => pending.nameless.push(*client),
        }
    }

    fn session(
        &mut self,
        client: &Client<'a>,
        identity: Text<'a>,
        pending: &mut Pending<'a>,
        pass: &mut ClientPass<'_>,
        now: Now,
    ) {
        let since = match pending.times.late {
            Some(_) => SessionStart::Ended,
            None => {
                self.sessions = self.sessions.saturating_add(1);
                SessionStart::At(pending.times.zone.moment(client.since, now))
            }
        };
        let protocol = client.protocol().unwrap_or(pending.protocol);
        let row = ClientRow { client, identity, protocol, since, is_asked: pending.is_asked };
        if let Some(row) = pass.record(pending.file, &row) {
            pending.rows.push(row);
        }
    }
}

impl Pending<'_> {
    fn of(file: OriginId, reading: &Reading<'_>, times: Times) -> Self {
        let (protocol, is_asked) = (reading.protocol, !matches!(reading.asked, Asked::No));
        Self { file, protocol, times, is_asked, rows: Vec::new(), nameless: Vec::new(), routed: NameIndex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A file that was written at `updated`, with these rows of clients.
    fn status(updated: i64, rows: &[&str]) -> String {
        let header = "Common Name,Real Address,Bytes Received,Bytes Sent,Connected Since,Client ID,Peer ID";
        let rows: String = rows.iter().map(|row| format!("CLIENT_LIST,{row}\n")).collect();
        format!("TITLE,OpenVPN 2.6.14 x\nTIME,,{updated}\nHEADER,CLIENT_LIST,{header}\n{rows}END\n")
    }

    /// A scrape at files, each with its label and path: the sample lines, and which files are stale.
    fn scrape(totals: &mut ClientTotals, seconds: i64, files: &[(&str, &str, Option<&str>)]) -> (String, Vec<usize>) {
        let readings = files.iter().map(|(server, path, file)| Reading {
            server,
            path: Path::new(path),
            modified: None,
            is_gone: file.is_none(),
            file: file.map(str::as_bytes),
            lines: None,
            protocol: Protocol::Udp,
            torn: false,
            stale_after: None,
            asked: Asked::No,
        });
        let (mut out, mut text) = (Exposition::default(), String::new());
        let now = Now { seconds, unix: |_| None, local: |_| None };
        let stale = expose(&readings.collect::<Vec<_>>(), totals, now, &mut out);
        out.encode().read_to_string(&mut text).expect("the text is UTF-8");
        (text, stale.into_iter().map(|(index, _)| index).collect())
    }

    #[test]
    fn two_files_of_one_label_have_each_their_own_time() {
        let mut totals = ClientTotals::new(10);
        for round in 0..5 {
            let updated = 1000 + 60 * round;
            let (tcp, udp) = (status(updated, &[]), status(updated + 5, &[]));
            let files = [("status", "/tcp/status", Some(tcp.as_str())), ("status", "/udp/status", Some(udp.as_str()))];
            let (text, stale) = scrape(&mut totals, updated + 50, &files);
            assert!(text.contains("\novpn_server_up{server=\"status\"} 1\n"), "{text}");
            assert!(stale.is_empty(), "{stale:?}");
        }
    }

    #[test]
    fn a_server_that_has_ended_has_no_sessions_and_keeps_its_totals() {
        let mut totals = ClientTotals::new(0);
        let file = |bytes| status(1000, &[&format!("ann,192.0.2.1:4000,{bytes},7,900,7,0")]);
        let (alive, last) = (file(100), file(130));
        for (seconds, file, sessions, bytes, why) in [
            (1000, Some(&*alive), Some(1), 100, "alive"),
            (1181, Some(&*last), Some(0), 130, "ended, and the file has its last count"),
            (5000, Some(&*last), Some(0), 130, "for long"),
            (6000, None, Some(0), 130, "the file is gone"),
            (7000, None, Some(0), 130, "for long"),
        ] {
            let (text, _) = scrape(&mut totals, seconds, &[("office", "/office", file)]);
            let is_alive = sessions == Some(1);
            for line in [
                sessions.map(|sessions| format!("ovpn_sessions_total {sessions}")),
                Some(format!("ovpn_bytes_in_total{{client=\"ann_udp\"}} {bytes}")),
                Some(format!("ovpn_server_up{{server=\"office\"}} {}", u8::from(is_alive))),
            ] {
                let line = line.expect("a line");
                assert!(text.contains(&format!("\n{line}\n")), "{why}: {line}: {text}");
            }
            let probe = text.lines().find(|line| line.starts_with("probe_success{")).expect("a probe");
            assert!(probe.ends_with(&format!(" {}", u8::from(is_alive))), "{why}: {probe}");
            assert_eq!(text.contains("ovpn_client_sessions{"), is_alive, "{why}: {text}");
        }
        let (text, _) = scrape(&mut ClientTotals::new(0), 1000, &[("office", "/office", None)]);
        assert!(!text.contains("ovpn_sessions_total"), "nothing was ever known: {text}");
    }

    #[test]
    fn sessions_of_a_file_that_cannot_be_read_are_not_counted_twice() {
        let mut totals = ClientTotals::new(0);
        let (office, branch) =
            (status(1000, &["ann,192.0.2.1:4000,100,0,900,7,0"]), status(1000, &["bob,192.0.2.2:4000,50,0,900,7,0"]));
        for (seconds, office) in [
            (1000, Some(&*office)),
            (1300, None),
            (1700, None),
            (9000, Some("not a status file")),
            (9500, Some(&*office)),
        ] {
            let files = [("office", "/office", office), ("branch", "/branch", Some(&*branch))];
            let (text, _) = scrape(&mut totals, seconds, &files);
            for (client, bytes) in [("ann", 100), ("bob", 50)] {
                let line = format!("\novpn_bytes_in_total{{client=\"{client}_udp\"}} {bytes}\n");
                assert!(text.contains(&line), "{seconds}: {line}{text}");
            }
        }
    }

    #[test]
    fn a_session_stays_the_same_when_its_client_floats_or_its_server_is_renamed() {
        let mut totals = ClientTotals::new(10);
        for (server, row, expected) in [
            ("office", "ann,192.0.2.1:4000,100,0,900,7,0", 100),
            ("office", "ann,198.51.100.9:5000,130,0,900,7,0", 130),
            ("branch", "ann,198.51.100.9:5000,130,0,900,7,0", 130),
            // Without the management interface OpenVPN has no client ids.
            ("branch", "bob,192.0.2.2:4000,50,0,900,,1", 50),
            ("branch", "bob,198.51.100.8:4000,60,0,900,,1", 60),
            // One more session each: another client id, another beginning.
            ("branch", "ann,198.51.100.9:5000,1000,0,900,8,0", 1130),
            ("branch", "ann,198.51.100.9:5000,2000,0,990,8,0", 3130),
        ] {
            let (text, _) = scrape(&mut totals, 1000, &[(server, "/status", Some(&status(1000, &[row])))]);
            let client = &row[..3];
            let line = format!("\novpn_bytes_in_total{{client=\"{client}_udp\"}} {expected}\n");
            assert!(text.contains(&line), "{row}: {line}{text}");
        }
    }
}
