//! What is remembered of status files between scrapes: clients' totals, their sessions, and how often a file is
//! written.
//!
//! A session is the same as long as the file says so, in one of these ways:
//!
//! - **By its ids**: the client id (2.4 and later, unless built without the management interface), or the peer id of a
//!   UDP client. A client that floats changes its address only; a server may be given another name.
//! - **Without ids** (version 1; TCP without client ids; peers with the highest peer id, which stands for none): by
//!   name, user and Connected Since, and by the address, which can stand there without a port (2.3 and 2.4). Several
//!   rows may have all of these in common: `duplicate-cn` behind one address, connected in the same second. The rows of
//!   one such key are then given to its sessions so that no session's bytes fall, in either direction; OpenVPN's order
//!   of rows is that of a hash and says nothing. A UDP client's row that is left over is a session that floated
//!   (`multi_process_float` in `multi.c` changes the address and nothing else) where one of the same name and Connected
//!   Since is left over whose bytes are not more. All other rows are new sessions: one that reconnects in the same
//!   second has fewer bytes, after a restart of the server Connected Since is another.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::Protocol;
use super::metrics::Now;
use super::staleness::{Times, Writings};
use super::status::{Client, Moment};
use crate::text::{Text, clip};
use crate::totals::{Account, REMEMBERED, Source, Totals, Traffic};

/// The memory of one collector.
#[derive(Debug, Default)]
pub struct Memory {
    clients: Totals,
    files: HashMap<PathBuf, File>,
    /// How many sessions without ids there have been.
    serial: u64,
    /// What a session's key is made of.
    scratch: Vec<u8>,
}

/// What is known of one file.
#[derive(Debug, Default)]
struct File {
    writings: Option<Writings>,
    /// Its sessions without ids, by owner and address.
    sessions: Vec<Session>,
    looked: i64,
}

/// A session without ids that was seen.
#[derive(Clone, Copy, Debug)]
struct Session {
    at: Whereabouts,
    key: u64,
    bytes: [u64; 2],
    seen: i64,
    is_found: bool,
}

/// A row without ids.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    at: Whereabouts,
    bytes: [u64; 2],
    identity: Text<'a>,
    protocol: Protocol,
    since: Beginning,
    /// Where its session is, among those of its file.
    session: Option<usize>,
    /// Which row of these it is.
    place: usize,
}

/// When a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// In seconds since 1970; absent where nothing says it.
    At(Option<i64>),
    /// It is no session any more: its server has ended.
    Ended,
}

/// An authenticated client's row.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'r, 'a> {
    /// The row.
    pub client: &'r Client<'a>,
    /// Whose it is.
    pub identity: Text<'a>,
    /// What the client comes over.
    pub protocol: Protocol,
    /// When it began.
    pub since: Beginning,
}

/// Who a row's client is, and from where it comes, by hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Whereabouts {
    owner: u64,
    address: u64,
}

impl Memory {
    /// A memory that keeps at most `most` clients that are there no more.
    pub fn new(most: usize) -> Self {
        Self { clients: Totals::new(most), ..Self::default() }
    }

    /// Begins a look at all files.
    pub fn begin(&mut self) {
        self.clients.begin();
    }

    /// The file at a path, as [`Memory::see`] and [`Memory::keep`] know it.
    pub fn file(&self, path: &Path) -> Source {
        self.clients.source(path)
    }

    /// Notes that the file at `path`, of that mtime, says that it was written at `updated`, and tells what that means.
    pub fn times(
        &mut self,
        path: &Path,
        updated: Moment<'_>,
        modified: Option<i64>,
        stale_after: Option<i64>,
        now: Now,
    ) -> Times {
        let file = self.looked_at(path, now.seconds);
        file.writings.insert(Writings::after(file.writings, updated, modified, now)).times(stale_after, now)
    }

    /// How old each file that was read may be, in seconds.
    pub fn limits(&self) -> HashMap<PathBuf, i64> {
        let limit = |(path, file): (&PathBuf, &File)| Some((path.clone(), file.writings?.limit()));
        self.files.iter().filter_map(limit).collect()
    }

    /// SaTotals what a session in the file at `source` counts at the moment `now`; one without ids is handed back, to be
    /// booked by [`Memory::settle`] with all others of its file.
    pub fn see<'a>(&mut self, source: Source, session: &Seen<'_, 'a>, now: i64) -> Option<Row<'a>> {
        let Seen { client, identity, protocol, since } = *session;
        let Client { client_id, peer_id, .. } = *client;
        let bytes = [client.bytes_received, client.bytes_sent];
        if client_id.is_empty() && (protocol == Protocol::Tcp || is_no_id(peer_id)) {
            let owner = self.clients.key((protocol, identity, client.since.text));
            let at = Whereabouts { owner, address: self.clients.key(client.real_address) };
            return Some(Row { at, bytes, identity, protocol, since, session: None, place: 0 });
        }
        // One text is hashed faster than six pieces; the lengths tell where each ends.
        self.scratch.clear();
        for part in [identity, client.since.text, client_id, peer_id] {
            self.scratch.extend_from_slice(part.bytes());
            self.scratch.extend_from_slice(&part.bytes().len().to_ne_bytes());
        }
        let key = self.clients.key((source, protocol, self.scratch.as_slice()));
        self.book(source, key, bytes, since, now, (identity, protocol));
        None
    }

    /// SaTotals the sessions without ids of the file at `path`.
    pub fn settle(&mut self, path: &Path, mut rows: Vec<Row<'_>>, now: i64) {
        let mut sessions = self.files.get_mut(path).map(|file| std::mem::take(&mut file.sessions)).unwrap_or_default();
        if rows.is_empty() && sessions.is_empty() {
            return;
        }
        sessions.retain(|session| now.saturating_sub(session.seen) <= REMEMBERED);
        sessions.iter_mut().for_each(|session| session.is_found = false);
        (0..).zip(&mut rows).for_each(|(place, row)| row.place = place);
        rows.sort_unstable_by_key(|row| row.at);
        assign(&mut rows, &mut sessions, |at| at, pair);
        assign(&mut rows, &mut sessions, |at| Whereabouts { address: 0, ..at }, float);
        // Clients stand in the order in which they were first seen.
        rows.sort_unstable_by_key(|row| row.place);
        let source = self.file(path);
        for row in rows {
            let found = row.session.and_then(|place| sessions.get_mut(place));
            let key = found.as_ref().map_or_else(|| self.new_key(), |session| session.key);
            let session = Session { at: row.at, key, bytes: row.bytes, seen: now, is_found: true };
            match found {
                Some(known) => *known = session,
                None => sessions.push(session),
            }
            self.book(source, key, row.bytes, row.since, now, (row.identity, row.protocol));
        }
        sessions.sort_unstable_by_key(|session| session.at);
        self.looked_at(path, now).sessions = sessions;
    }

    /// Keeps what is known of the sessions in a file that could not be read whole at the moment `now`.
    pub fn keep(&mut self, path: &Path, now: i64) {
        let source = self.clients.source(path);
        self.clients.keep(source, now);
        if let Some(file) = self.files.get_mut(path) {
            file.looked = now;
            file.sessions.iter_mut().for_each(|session| session.seen = now);
        }
    }

    /// Ends the look, and forgets files that were not looked at for long.
    pub fn end(&mut self, now: i64) {
        self.clients.end(now);
        self.files.retain(|_, file| now.saturating_sub(file.looked) <= REMEMBERED);
    }

    /// Every client, in the order in which they were first seen: its identity, `_`, and its protocol.
    pub fn clients(&self) -> &[Account] {
        self.clients.accounts()
    }

    /// A key that no other session has.
    fn new_key(&mut self) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        self.clients.key(self.serial)
    }

    /// SaTotals a session's bytes for its client, and the session itself where it is one of now.
    fn book(
        &mut self,
        source: Source,
        key: u64,
        [bytes_in, bytes_out]: [u64; 2],
        since: Beginning,
        now: i64,
        (identity, protocol): (Text<'_>, Protocol),
    ) {
        let traffic = Traffic { bytes_in, bytes_out, ..Traffic::default() };
        let name = || format!("{}_{}", clip(String::from_utf8_lossy(identity.bytes())), protocol.word()).into();
        match since {
            Beginning::Ended => self.clients.see_ended(source, key, traffic, now, name),
            Beginning::At(since) => self.clients.see(source, key, traffic, since, now, name),
        }
    }

    fn looked_at(&mut self, path: &Path, now: i64) -> &mut File {
        let file = self.files.entry(path.to_owned()).or_default();
        file.looked = now;
        file
    }
}

/// Whether a peer id stands for none: OpenVPN prints the highest one, or -1, for peers that have none of their own.
fn is_no_id(peer_id: Text<'_>) -> bool {
    peer_id.is_empty() || ["16777215", "4294967295"].iter().any(|none| peer_id == *none)
}

/// Calls `give` with all rows and sessions of the same `key`, both sorted by where they are, and where the first of the
/// sessions stands.
fn assign(
    rows: &mut [Row<'_>],
    sessions: &mut [Session],
    key: impl Fn(Whereabouts) -> Whereabouts,
    give: impl Fn(&mut [Row<'_>], &mut [Session], usize),
) {
    let mut first = 0;
    for rows in rows.chunk_by_mut(|one, next| key(one.at) == key(next.at)) {
        let Some(wanted) = rows.first().map(|row| key(row.at)) else { continue };
        let rest = sessions.get(first..).unwrap_or_default();
        first = first.saturating_add(rest.iter().take_while(|session| key(session.at) < wanted).count());
        let rest = sessions.get_mut(first..).unwrap_or_default();
        let count = rest.iter().take_while(|session| key(session.at) == wanted).count();
        give(rows, rest.split_at_mut(count).0, first);
        first = first.saturating_add(count);
    }
}

/// Gives the rows of one client to those of its sessions that have other addresses now.
///
/// The addresses may have been exchanged, so that a row was given to another's session: where rows and sessions are
/// left over all are given anew, whatever their addresses, unless no more find each other then.
fn float(rows: &mut [Row<'_>], sessions: &mut [Session], first: usize) {
    if rows.iter().all(|row| row.session.is_some() || row.protocol != Protocol::Udp) {
        return;
    }
    pair(rows, sessions, first);
    let count = |rows: &[Row<'_>]| rows.iter().filter(|row| row.session.is_some()).count();
    let found = count(rows);
    if found == rows.len() || sessions.iter().all(|session| session.is_found) {
        return;
    }
    let before: Vec<_> = rows.iter().map(|row| row.session).collect();
    rows.iter_mut().for_each(|row| row.session = None);
    sessions.iter_mut().for_each(|session| session.is_found = false);
    pair(rows, sessions, first);
    if count(rows) <= found {
        rows.iter_mut().zip(before).for_each(|(row, session)| row.session = session);
    }
}

/// Gives as many rows as possible to sessions, the first of which stands at `first`, none of whose bytes fall: the row
/// with the fewest bytes received first, and always the session that sent the most.
fn pair(rows: &mut [Row<'_>], sessions: &mut [Session], first: usize) {
    if let ([row], [session]) = (&mut *rows, &mut *sessions) {
        if row.session.is_none() && !session.is_found && session.may_become(row.bytes) {
            (row.session, session.is_found) = (Some(first), true);
        }
        return;
    }
    let mut rows: Vec<_> = rows.iter_mut().filter(|row| row.session.is_none()).collect();
    rows.sort_unstable_by_key(|row| row.bytes);
    let free = sessions.iter().enumerate().filter(|(_, session)| !session.is_found);
    let mut free: Vec<([u64; 2], usize)> = free.map(|(place, session)| (session.bytes, place)).collect();
    free.sort_unstable();
    let (mut free, mut fitting) = (free.into_iter().peekable(), BTreeSet::new());
    for row in rows {
        let [received, sent] = row.bytes;
        while let Some(([_, sent], place)) = free.next_if(|([known, _], _)| *known <= received) {
            fitting.insert((sent, place));
        }
        let Some((sent, place)) = fitting.range(..=(sent, usize::MAX)).next_back().copied() else { continue };
        fitting.remove(&(sent, place));
        row.session = Some(first.saturating_add(place));
        if let Some(session) = sessions.get_mut(place) {
            session.is_found = true;
        }
    }
}

impl Session {
    /// Whether this can be the session that has these bytes now: its counters don't fall.
    fn may_become(&self, bytes: [u64; 2]) -> bool {
        self.bytes.iter().zip(bytes).all(|(before, now)| *before <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/run/office.status";

    /// A row without ids: name, address, Connected Since, bytes received and sent.
    type Line = (&'static str, &'static str, &'static str, [u64; 2]);

    /// One scrape of a file without ids.
    fn look(memory: &mut Memory, now: i64, protocol: Protocol, lines: &[Line]) {
        memory.begin();
        let source = memory.file(Path::new(FILE));
        let mut rows = Vec::new();
        for (name, address, since, [bytes_received, bytes_sent]) in lines.iter().copied() {
            let since = Moment { text: since.into(), seconds: None };
            let (common_name, real_address) = (name.into(), address.into());
            let client = Client { common_name, real_address, since, bytes_received, bytes_sent, ..Client::default() };
            let seen = Seen { client: &client, identity: common_name, protocol, since: Beginning::At(None) };
            rows.extend(memory.see(source, &seen, now));
        }
        assert_eq!(rows.len(), lines.len(), "none of them has an id");
        memory.settle(Path::new(FILE), rows, now);
        memory.end(now);
    }

    fn totals(memory: &Memory) -> Vec<(&str, [u64; 2], u64)> {
        let clients = memory.clients().iter();
        clients
            .map(|client| (&*client.name, [client.total.bytes_in, client.total.bytes_out], client.sessions))
            .collect()
    }

    #[test]
    fn a_client_that_comes_back_goes_on_where_it_was() {
        let mut memory = Memory::new(10);
        for (now, id, bytes_received) in [(0, "0", 100), (1, "0", 150), (2, "1", 7), (3, "1", 9)] {
            let client = Client { client_id: id.into(), bytes_received, ..Client::default() };
            let since = Beginning::At(None);
            let seen = Seen { client: &client, identity: "ann".into(), protocol: Protocol::Udp, since };
            memory.begin();
            assert!(memory.see(memory.file(Path::new(FILE)), &seen, now).is_none());
            memory.end(now);
        }
        assert_eq!(totals(&memory), [("ann_udp", [159, 0], 1)]);
    }

    #[test]
    fn a_peer_id_is_an_id_where_it_is_one_of_its_own() {
        for (protocol, client_id, peer_id, has_id) in [
            (Protocol::Udp, "", "", false),
            (Protocol::Udp, "", "0", true),
            (Protocol::Udp, "", "16777215", false),
            (Protocol::Udp, "", "4294967295", false),
            (Protocol::Udp, "0", "16777215", true),
            (Protocol::Tcp, "", "0", false),
            (Protocol::Tcp, "7", "16777215", true),
        ] {
            let mut memory = Memory::new(10);
            let client = Client { client_id: client_id.into(), peer_id: peer_id.into(), ..Client::default() };
            let seen = Seen { client: &client, identity: "ann".into(), protocol, since: Beginning::At(None) };
            let row = memory.see(memory.file(Path::new(FILE)), &seen, 0);
            assert_eq!(row.is_none(), has_id, "{protocol:?} {client_id} {peer_id}");
        }
    }

    /// Scrapes of one file, ten seconds apart, and what the clients come to in the end.
    fn play(protocol: Protocol, scrapes: &[&[Line]], expected: &[(&str, [u64; 2], u64)]) {
        let mut memory = Memory::new(10);
        for (now, lines) in (0..).step_by(10).zip(scrapes) {
            look(&mut memory, now, protocol, lines);
        }
        assert_eq!(totals(&memory), expected);
    }

    const A: &str = "192.0.2.20:41000";
    const B: &str = "198.51.100.44:5012";
    const C: &str = "203.0.113.9:999";
    const T: &str = "2026-11-28 08:00:00";
    const U: &str = "2026-11-28 08:00:01";

    #[test]
    fn a_client_without_an_id_that_floats_is_the_same_session() {
        play(
            Protocol::Udp,
            &[
                &[("ann", A, T, [1000, 2000])],
                &[("ann", B, T, [1300, 2900])],
                &[("ann", C, T, [1300, 2900])],
                &[("ann", A, T, [1400, 2900])],
            ],
            &[("ann_udp", [1400, 2900], 1)],
        );
    }

    #[test]
    fn what_is_no_float_is_a_new_session() {
        let began = ("ann", A, T, [1000, 2000]);
        for (protocol, next, expected, why) in [
            (Protocol::Udp, ("ann", B, U, [1300, 2900]), [2300, 4900], "it began later"),
            (
                Protocol::Udp,
                ("ann", B, T, [999, 2900]),
                [1999, 4900],
                "it received less: reconnected in the same second",
            ),
            (Protocol::Udp, ("ann", B, T, [1300, 1999]), [2300, 3999], "it sent less"),
            (Protocol::Udp, ("ann", A, T, [30, 40]), [1030, 2040], "the same address, with less"),
            (Protocol::Udp, ("ann", A, U, [1300, 2900]), [2300, 4900], "the server was started again"),
            (Protocol::Tcp, ("ann", B, T, [1300, 2900]), [2300, 4900], "TCP does not float"),
        ] {
            let mut memory = Memory::new(10);
            look(&mut memory, 0, protocol, &[began]);
            look(&mut memory, 10, protocol, &[next]);
            assert_eq!(totals(&memory)[0].1, expected, "{why}");
        }
        // The old row is still there, so that nothing floated.
        play(Protocol::Udp, &[&[began], &[began, ("ann", B, T, [1300, 2900])]], &[("ann_udp", [2300, 4900], 2)]);
        // Another's session is not hers.
        let (ann, bob) = ((began), ("bob", B, T, [1300, 2900]));
        play(Protocol::Udp, &[&[ann], &[bob]], &[("ann_udp", [1000, 2000], 0), ("bob_udp", [1300, 2900], 1)]);
    }

    #[test]
    fn rows_that_differ_in_nothing_but_their_bytes_are_sessions_of_their_own() {
        let crew = |bytes| ("crew", "198.51.100.7", T, bytes);
        for scrapes in [
            // In any order, and one that overtakes the other in one direction.
            vec![vec![crew([100, 200]), crew([1000, 2000])], vec![crew([150, 260]), crew([1100, 2200])]],
            vec![vec![crew([1000, 2000]), crew([100, 200])], vec![crew([150, 260]), crew([1100, 2200])]],
            vec![vec![crew([100, 200]), crew([1000, 2000])], vec![crew([1100, 2200]), crew([150, 260])]],
            vec![vec![crew([100, 2000]), crew([1000, 200])], vec![crew([150, 2200]), crew([1100, 260])]],
            vec![vec![crew([100, 2000]), crew([1000, 200])], vec![crew([1100, 260]), crew([150, 2200])]],
            // The second came within the same second, after a scrape.
            vec![vec![crew([100, 200])], vec![crew([1100, 2200]), crew([150, 260])]],
            vec![vec![crew([100, 200])], vec![crew([150, 260]), crew([1100, 2200])]],
        ] {
            let mut memory = Memory::new(10);
            for (now, lines) in (0..).zip(&scrapes) {
                look(&mut memory, now, Protocol::Udp, lines);
            }
            assert_eq!(totals(&memory), [("crew_udp", [1250, 2460], 2)], "{scrapes:?}");
        }
        // One leaves, whichever: the other goes on.
        for (left, bytes) in [([1100, 2200], [1200, 2400]), ([150, 260], [1150, 2260])] {
            let mut memory = Memory::new(10);
            look(&mut memory, 0, Protocol::Udp, &[crew([100, 200]), crew([1000, 2000])]);
            look(&mut memory, 10, Protocol::Udp, &[crew(left)]);
            let expected = [bytes[0], bytes[1]];
            let [(_, found, 1)] = totals(&memory)[..] else { panic!("one session: {:?}", totals(&memory)) };
            assert_eq!(found, expected, "{left:?}");
        }
        // Equal in all.
        let (one, two) = (crew([5, 5]), crew([7, 5]));
        play(Protocol::Udp, &[&[one, one], &[two, two], &[two, two]], &[("crew_udp", [14, 10], 2)]);
    }

    #[test]
    fn several_may_float_at_once() {
        play(
            Protocol::Udp,
            &[
                &[("crew", A, T, [100, 200]), ("crew", B, T, [1000, 2000]), ("crew", C, T, [10, 20])],
                // One stays, two have new addresses, one is somebody new.
                &[
                    ("crew", "192.0.2.1:1", T, [1001, 2002]),
                    ("crew", "192.0.2.2:2", T, [103, 204]),
                    ("crew", C, T, [15, 26]),
                    ("crew", "192.0.2.3:3", T, [1, 2]),
                ],
            ],
            &[("crew_udp", [1001 + 103 + 15 + 1, 2002 + 204 + 26 + 2], 4)],
        );
        // Two behind one address part: one of them floats away.
        let nat = "198.51.100.7";
        play(
            Protocol::Udp,
            &[
                &[("crew", nat, T, [100, 200]), ("crew", nat, T, [1000, 2000])],
                &[("crew", nat, T, [120, 240]), ("crew", A, T, [1100, 2200])],
                &[("crew", nat, T, [1200, 2400]), ("crew", A, T, [130, 250])],
            ],
            &[("crew_udp", [1330, 2650], 2)],
        );
    }

    #[test]
    fn what_was_not_read_or_left_out_once_is_not_counted_twice() {
        let mut memory = Memory::new(10);
        let ann = |bytes| [("ann", A, T, bytes)];
        look(&mut memory, 0, Protocol::Udp, &ann([100, 100]));
        look(&mut memory, 10, Protocol::Udp, &[]);
        look(&mut memory, 20, Protocol::Udp, &ann([110, 110]));
        for now in [500, 1000, 1500, 2000] {
            memory.begin();
            memory.keep(Path::new(FILE), now);
            memory.end(now);
        }
        look(&mut memory, 2500, Protocol::Udp, &[("ann", B, T, [120, 120])]);
        assert_eq!(totals(&memory), [("ann_udp", [120, 120], 1)]);
        look(&mut memory, 3101, Protocol::Udp, &[]);
        assert!(memory.files[Path::new(FILE)].sessions.is_empty(), "gone for long");
        memory.begin();
        memory.end(9000);
        assert!(memory.files.is_empty(), "no longer looked at");
    }

    #[test]
    fn a_server_that_has_ended_has_no_sessions() {
        let mut memory = Memory::new(10);
        for (now, since, bytes_received) in [(0, Beginning::At(Some(5)), 100), (10, Beginning::Ended, 130)] {
            for client_id in ["7", ""] {
                let client = Client { client_id: client_id.into(), bytes_received, ..Client::default() };
                let seen = Seen { client: &client, identity: "ann".into(), protocol: Protocol::Udp, since };
                memory.begin();
                let row = memory.see(memory.file(Path::new(FILE)), &seen, now);
                memory.settle(Path::new(FILE), row.into_iter().collect(), now);
                memory.end(now);
            }
        }
        let [client] = memory.clients() else { panic!("one client") };
        assert_eq!((client.total.bytes_in, client.sessions, client.since), (260, 0, None));
    }

    #[test]
    fn as_many_rows_as_possible_find_their_sessions() {
        // Against every assignment, for all small sets of counters.
        let steps: Vec<[u64; 2]> = (0..9).map(|at| [at / 3, at % 3]).collect();
        let fits = |session: [u64; 2], row: [u64; 2]| session[0] <= row[0] && session[1] <= row[1];
        for a in &steps {
            for b in &steps {
                for x in &steps {
                    for y in &steps {
                        let session = |bytes, key| Session {
                            at: Whereabouts { owner: 0, address: 0 },
                            key,
                            bytes,
                            seen: 0,
                            is_found: false,
                        };
                        let row = |bytes| Row {
                            at: Whereabouts { owner: 0, address: 0 },
                            bytes,
                            identity: Text::default(),
                            protocol: Protocol::Udp,
                            since: Beginning::Ended,
                            session: None,
                            place: 0,
                        };
                        let mut rows = [row(*x), row(*y)];
                        let mut sessions = [session(*a, 0), session(*b, 1)];
                        assign(&mut rows, &mut sessions, |at| at, pair);
                        let given: Vec<_> = rows.iter().filter_map(|row| Some((row.bytes, row.session?))).collect();
                        assert!(given.iter().all(|(bytes, place)| fits(sessions[*place].bytes, *bytes)));
                        assert!(given.len() < 2 || given[0].1 != given[1].1, "one session twice");
                        let both = (fits(*a, *x) && fits(*b, *y)) || (fits(*a, *y) && fits(*b, *x));
                        let any = [(a, x), (a, y), (b, x), (b, y)].iter().any(|(session, row)| fits(**session, **row));
                        assert_eq!(given.len(), usize::from(any) + usize::from(both), "{a:?} {b:?} {x:?} {y:?}");
                    }
                }
            }
        }
    }
}
