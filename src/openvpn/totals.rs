//! The state that is kept between scrapes: each client's totals and sessions, and when each status file was written.
//!
//! A row is matched to a session of the previous scrape in one of these ways:
//!
//! - **By its ids**: the client id (2.4 and later, unless built without the management interface), or the peer id of a
//!   UDP client. A floating client changes only its address; the server may be renamed.
//! - **Without ids** (version 1; TCP without client ids; peers with the highest peer id, which means none): by
//!   name, user and Connected Since, and by the address, which may be written without a port (2.3 and 2.4). Several
//!   rows may have all of these in common: `duplicate-cn` behind one address, connected in the same second. The rows of
//!   one such key are then given to its sessions so that no session's bytes fall, in either direction; OpenVPN's order
//!   of rows is that of a hash and says nothing. A UDP client's row that is left over is a session that floated
//!   (`multi_process_float` in `multi.c` changes the address and nothing else) where one of the same name and Connected
//!   Since is left over whose bytes are not more. All other rows are new sessions: one that reconnects in the same
//!   second has fewer bytes, after a restart of the server Connected Since is another.
//! - **Both ways** where a server is asked over its management interface: what it answers has ids, but the file that is
//!   read in its place may have none, and is older. A row whose ids are known is that session's. Any other is matched as
//!   one without ids, in an older file also to a session of that client and address whose bytes are more; what is left
//!   is a new session, which has the key of its ids.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::Protocol;
use super::staleness::{Now, Times, UpdateHistory};
use super::status::{Client, Timestamp};
use crate::hash_index::{HashIndex, NameValues};
use crate::text::{Text, clip};
use crate::totals::{Entry, OriginId, Pass, REMEMBERED, Sample, Totals, Traffic};

/// Longer statistics of a client are not kept, in bytes.
const MOST_STATISTICS: usize = 4096;

/// What one collector keeps between scrapes.
#[derive(Debug, Default)]
pub struct ClientTotals {
    clients: Totals,
    /// What is known of each status file.
    pub files: KnownFiles,
}

/// What is kept of all status files between scrapes.
#[derive(Debug, Default)]
pub struct KnownFiles {
    by_path: HashMap<PathBuf, File>,
    /// A counter from which the keys of sessions without ids are made.
    next_key: u64,
}

/// The age in seconds from which a file is stale, by its path.
pub type Limits = NameValues<i64>;

/// A path as a name.
pub fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// One pass over all files. It ends when it is dropped: files that have not been read for [`REMEMBERED`] seconds are
/// forgotten.
#[derive(Debug)]
pub struct ClientPass<'t> {
    clients: Pass<'t>,
    /// What is known of each status file.
    pub files: &'t mut KnownFiles,
    now: i64,
}

/// What is known of one status file.
#[derive(Debug, Default)]
struct File {
    updates: Option<UpdateHistory>,
    answered: Answered,
    /// Its sessions without ids, sorted by owner and address.
    sessions: Vec<Session>,
    last_read: i64,
}

/// What a server last answered over its management interface; empty where it has not.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    /// Its release, which its file may not say.
    pub version: Vec<u8>,
    /// The statistics of a client.
    pub statistics: Vec<u8>,
    /// When that was.
    pub at: i64,
}

/// A session without ids of an earlier scrape, or of a server that is asked.
#[derive(Clone, Copy, Debug)]
struct Session {
    at: ClientAddress,
    key: u64,
    bytes: [u64; 2],
    seen: i64,
    is_found: bool,
}

/// A row without ids.
#[derive(Clone, Copy, Debug)]
pub struct UnidentifiedRow<'a> {
    at: ClientAddress,
    bytes: [u64; 2],
    identity: Text<'a>,
    protocol: Protocol,
    since: SessionStart,
    /// The key that its ids make, where it has some.
    key: Option<u64>,
    /// The position of the matched session among those of the file.
    session: Option<usize>,
    /// The position of the row among those without ids of the file.
    position: usize,
}

/// When a session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStart {
    /// In seconds since 1970; absent if the file does not say.
    At(Option<i64>),
    /// The session has ended with its server.
    Ended,
}

/// The row of an authenticated client.
#[derive(Clone, Copy, Debug)]
pub struct ClientRow<'r, 'a> {
    /// The row.
    pub client: &'r Client<'a>,
    /// The client's name.
    pub identity: Text<'a>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// When the session began.
    pub since: SessionStart,
    /// Whether the server is asked over its management interface, so that its rows may be read without ids, too.
    pub is_asked: bool,
}

/// A client and the address that it connects from, as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ClientAddress {
    owner: u64,
    address: u64,
}

impl ClientTotals {
    /// Totals that keep at most `most` clients without a session.
    pub fn new(most: usize) -> Self {
        Self { clients: Totals::new(most), ..Self::default() }
    }

    /// Begins a pass over all files at the time `now`.
    pub fn pass(&mut self, now: i64) -> ClientPass<'_> {
        let Self { clients, files } = self;
        ClientPass { clients: clients.pass(now), files, now }
    }

    /// The age in seconds from which each known file is stale.
    pub fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        for (path, file) in &self.files.by_path {
            if let Some(updates) = file.updates {
                limits.set(&[path_bytes(path)], updates.limit());
            }
        }
        limits
    }

    /// All clients, named `IDENTITY_PROTOCOL`, in the order in which they were first recorded.
    pub fn clients(&self) -> &[Entry] {
        self.clients.entries()
    }
}

impl KnownFiles {
    /// Records that the file at `path`, last modified at `modified`, states that it was written at `updated`; returns
    /// its times at `now`.
    pub fn times(
        &mut self,
        path: &Path,
        updated: Timestamp<'_>,
        modified: Option<i64>,
        stale_after: Option<i64>,
        now: Now,
    ) -> Times {
        let file = self.touch(path, now.seconds);
        let mut updates = UpdateHistory::after(file.updates, updated, modified, now);
        if let Some(before) = file.updates.filter(|before| before.last_read() < file.answered.at) {
            updates = updates.with_intervals_of(before);
        }
        file.updates.insert(updates).times(stale_after, now)
    }

    /// Records what the server of the file at `path` answered at the time `now`: its release, and, of a client, its
    /// statistics.
    pub fn note_answer(&mut self, path: &Path, version: &[u8], statistics: &[u8], now: i64) {
        let statistics = if statistics.len() > MOST_STATISTICS { &[] } else { statistics };
        let answered = Answered { version: version.to_owned(), statistics: statistics.to_owned(), at: now };
        self.touch(path, now).answered = answered;
    }

    /// What the server of the file at `path` last answered.
    pub fn answered(&self, path: &Path) -> Answered {
        self.by_path.get(path).map(|file| file.answered.clone()).unwrap_or_default()
    }

    fn touch(&mut self, path: &Path, now: i64) -> &mut File {
        let file = self.by_path.entry(path.to_owned()).or_default();
        file.last_read = now;
        file
    }
}

impl ClientPass<'_> {
    /// The origin of the sessions in the file at a path.
    pub fn file(&self, path: &Path) -> OriginId {
        self.clients.origin(path)
    }

    /// Records the counters of a session in the file `origin`; returns a row without ids, which must be passed to
    /// [`ClientPass::record_unidentified`] together with all others of its file.
    pub fn record<'a>(&mut self, origin: OriginId, session: &ClientRow<'_, 'a>) -> Option<UnidentifiedRow<'a>> {
        let ClientRow { client, identity, protocol, since, is_asked } = *session;
        let bytes = [client.bytes_received, client.bytes_sent];
        let has_ids = !client.client_id.is_empty() || (protocol == Protocol::Udp && !is_no_id(client.peer_id));
        let key = if has_ids { Some(self.key_by_ids(origin, session)) } else { None };
        match key {
            Some(key) if !is_asked => {
                self.add(origin, key, bytes, since, (identity, protocol));
                None
            }
            _ => {
                let owner = self.clients.key((protocol, identity, client.since.text));
                let at = ClientAddress { owner, address: self.clients.key(client.real_address) };
                Some(UnidentifiedRow { at, bytes, identity, protocol, since, key, session: None, position: 0 })
            }
        }
    }

    /// The key of a session that has ids.
    fn key_by_ids(&self, origin: OriginId, session: &ClientRow<'_, '_>) -> u64 {
        let Client { client_id, peer_id, since, .. } = *session.client;
        // A server gives each client id once; a peer id is given again.
        let id = if client_id.is_empty() { peer_id } else { client_id };
        let hash = |text: Text<'_>| self.clients.key_of(text.bytes());
        let id = id.number().unwrap_or_else(|| hash(id));
        let time = since.seconds.map_or_else(|| hash(since.text).rotate_left(8), i64::cast_unsigned);
        // Peers choose their names only. Put to the hash of the name and not into it, the rest tells sessions of one name apart and
        // costs next to nothing. Multiplied, ids differ in all bits: an index takes the lower ones.
        let rest = time ^ id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(session.protocol as u8).rotate_right(1);
        hash(session.identity) ^ u64::from_ne_bytes(origin.bytes()) ^ rest
    }

    /// Records all rows without ids of the file at `path`; `is_older` says that its server may have answered with more bytes
    /// since it was written.
    pub fn record_unidentified(&mut self, path: &Path, mut rows: Vec<UnidentifiedRow<'_>>, is_older: bool) {
        let (known, now) = (self.files.by_path.get_mut(path), self.now);
        let mut sessions = known.map(|file| std::mem::take(&mut file.sessions)).unwrap_or_default();
        if rows.is_empty() && sessions.is_empty() {
            return;
        }
        sessions.retain(|session| now.saturating_sub(session.seen) <= REMEMBERED);
        sessions.iter_mut().for_each(|session| session.is_found = false);
        (0..).zip(&mut rows).for_each(|(position, row)| row.position = position);
        let known = self.take_known(&mut rows, &mut sessions);
        rows.sort_unstable_by_key(|row| row.at);
        match_groups(&mut rows, &mut sessions, |at| at, &match_by_bytes);
        if is_older {
            match_groups(&mut rows, &mut sessions, |at| at, &|rows, rest, first| match_rest(rows, rest, first, false));
        }
        let owner = |at| ClientAddress { address: 0, ..at };
        match_groups(&mut rows, &mut sessions, owner, &match_floating);
        if is_older {
            match_groups(&mut rows, &mut sessions, owner, &|rows, rest, first| match_rest(rows, rest, first, true));
        }
        rows.extend(known);
        // Clients are exposed in the order in which they were first recorded.
        rows.sort_unstable_by_key(|row| row.position);
        let origin = self.file(path);
        for row in rows {
            let found = row.session.and_then(|position| sessions.get_mut(position));
            let known = found.as_ref().map(|session| session.key).or(row.key);
            let key = known.unwrap_or_else(|| self.new_key());
            let session = Session { at: row.at, key, bytes: row.bytes, seen: now, is_found: true };
            match found {
                Some(known) => *known = session,
                None => sessions.push(session),
            }
            self.add(origin, key, row.bytes, row.since, (row.identity, row.protocol));
        }
        sessions.sort_unstable_by_key(|session| session.at);
        self.files.touch(path, now).sessions = sessions;
    }

    /// Takes out the rows whose ids are known, and their sessions: each row begins its session anew, with the same key.
    fn take_known<'a>(
        &self,
        rows: &mut Vec<UnidentifiedRow<'a>>,
        sessions: &mut Vec<Session>,
    ) -> Vec<UnidentifiedRow<'a>> {
        let (mut known, mut keys) = (Vec::new(), HashIndex::default());
        rows.retain(|row| {
            let key = row.key.filter(|key| self.clients.knows(*key));
            if let Some(key) = key {
                keys.insert(key, 0);
                known.push(*row);
            }
            key.is_none()
        });
        sessions.retain(|session| !keys.contains_key(&session.key));
        known
    }

    /// Keeps the sessions of a file that could not be read completely.
    pub fn keep(&mut self, path: &Path) {
        self.clients.keep(self.clients.origin(path));
        if let Some(file) = self.files.by_path.get_mut(path) {
            file.last_read = self.now;
            file.sessions.iter_mut().for_each(|session| session.seen = self.now);
        }
    }

    /// A new session key.
    fn new_key(&mut self) -> u64 {
        self.files.next_key = self.files.next_key.wrapping_add(1);
        self.clients.key(self.files.next_key)
    }

    /// Adds a session's bytes to its client's totals, and counts the session if it has not ended.
    fn add(
        &mut self,
        origin: OriginId,
        key: u64,
        [bytes_in, bytes_out]: [u64; 2],
        since: SessionStart,
        (identity, protocol): (Text<'_>, Protocol),
    ) {
        let sample = Sample { origin, key, counted: Traffic { bytes_in, bytes_out, ..Traffic::default() } };
        let name = || format!("{}_{}", clip(String::from_utf8_lossy(identity.bytes())), protocol.word()).into();
        match since {
            SessionStart::Ended => self.clients.record_ended(sample, name),
            SessionStart::At(since) => self.clients.record(sample, since, name),
        }
    }
}

impl Drop for ClientPass<'_> {
    fn drop(&mut self) {
        self.files.by_path.retain(|_, file| self.now.saturating_sub(file.last_read) <= REMEMBERED);
    }
}

/// Whether a peer id means "none": OpenVPN prints the highest one, or -1, for peers without an id.
fn is_no_id(peer_id: Text<'_>) -> bool {
    peer_id.is_empty() || ["16777215", "4294967295"].iter().any(|none| peer_id == *none)
}

/// Gives rows to sessions, the first of which stands at the number among all of the file.
type Give<'g> = dyn Fn(&mut [UnidentifiedRow<'_>], &mut [Session], usize) + 'g;

/// Calls `give` with all rows and sessions of the same `key`, and the index of the first of these sessions; both lists
/// are sorted by address.
fn match_groups(
    rows: &mut [UnidentifiedRow<'_>],
    sessions: &mut [Session],
    key: fn(ClientAddress) -> ClientAddress,
    give: &Give<'_>,
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

/// Matches the remaining rows of one client with its remaining sessions, whose addresses have changed.
///
/// Two clients may have exchanged addresses, so that a row was matched with the other's session. So if rows and
/// sessions remain, all of them are matched again without regard to addresses; the result is kept only if it matches
/// more.
fn match_floating(rows: &mut [UnidentifiedRow<'_>], sessions: &mut [Session], first: usize) {
    if rows.iter().all(|row| row.session.is_some() || row.protocol != Protocol::Udp) {
        return;
    }
    match_by_bytes(rows, sessions, first);
    let count = |rows: &[UnidentifiedRow<'_>]| rows.iter().filter(|row| row.session.is_some()).count();
    let found = count(rows);
    if found == rows.len() || sessions.iter().all(|session| session.is_found) {
        return;
    }
    let before: Vec<_> = rows.iter().map(|row| row.session).collect();
    rows.iter_mut().for_each(|row| row.session = None);
    sessions.iter_mut().for_each(|session| session.is_found = false);
    match_by_bytes(rows, sessions, first);
    if count(rows) <= found {
        rows.iter_mut().zip(before).for_each(|(row, session)| row.session = session);
    }
}

/// Matches as many rows as possible with sessions so that no session's bytes fall: rows in the order of the bytes
/// received, each with the session that sent the most. `first` is the index of the first of these sessions.
fn match_by_bytes(rows: &mut [UnidentifiedRow<'_>], sessions: &mut [Session], first: usize) {
    if let ([row], [session]) = (&mut *rows, &mut *sessions) {
        if row.session.is_none() && !session.is_found && session.may_become(row.bytes) {
            (row.session, session.is_found) = (Some(first), true);
        }
        return;
    }
    let mut rows: Vec<_> = rows.iter_mut().filter(|row| row.session.is_none()).collect();
    rows.sort_unstable_by_key(|row| row.bytes);
    let free = sessions.iter().enumerate().filter(|(_, session)| !session.is_found);
    let mut free: Vec<([u64; 2], usize)> = free.map(|(position, session)| (session.bytes, position)).collect();
    free.sort_unstable();
    let (mut free, mut fitting) = (free.into_iter().peekable(), BTreeSet::new());
    for row in rows {
        let [received, sent] = row.bytes;
        while let Some(([_, sent], position)) = free.next_if(|([known, _], _)| *known <= received) {
            fitting.insert((sent, position));
        }
        let Some((sent, position)) = fitting.range(..=(sent, usize::MAX)).next_back().copied() else { continue };
        fitting.remove(&(sent, position));
        row.session = Some(first.saturating_add(position));
        if let Some(session) = sessions.get_mut(position) {
            session.is_found = true;
        }
    }
}

/// Gives the rows of one client to what is left of its sessions, whatever their bytes; only those that may float, if so
/// asked.
fn match_rest(rows: &mut [UnidentifiedRow<'_>], sessions: &mut [Session], first: usize, floats: bool) {
    let is_free = |row: &&mut UnidentifiedRow<'_>| row.session.is_none() && (!floats || row.protocol == Protocol::Udp);
    let rows = rows.iter_mut().filter(is_free);
    let sessions = (first..).zip(sessions).filter(|(_, session)| !session.is_found);
    for (row, (position, session)) in rows.zip(sessions) {
        (row.session, session.is_found) = (Some(position), true);
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
    fn scrape(totals: &mut ClientTotals, now: i64, protocol: Protocol, lines: &[Line]) {
        let mut pass = totals.pass(now);
        let origin = pass.file(Path::new(FILE));
        let mut rows = Vec::new();
        for (name, address, since, [bytes_received, bytes_sent]) in lines.iter().copied() {
            let since = Timestamp { text: since.into(), seconds: None };
            let (common_name, real_address) = (name.into(), address.into());
            let client = Client { common_name, real_address, since, bytes_received, bytes_sent, ..Client::default() };
            let since = SessionStart::At(None);
            let seen = ClientRow { client: &client, identity: common_name, protocol, since, is_asked: false };
            rows.extend(pass.record(origin, &seen));
        }
        assert_eq!(rows.len(), lines.len(), "none of them has an id");
        pass.record_unidentified(Path::new(FILE), rows, false);
    }

    fn sums(totals: &ClientTotals) -> Vec<(&str, [u64; 2], u64)> {
        let clients = totals.clients().iter();
        clients
            .map(|client| (&*client.name, [client.total.bytes_in, client.total.bytes_out], client.sessions))
            .collect()
    }

    #[test]
    fn a_client_that_comes_back_goes_on_where_it_was() {
        let mut totals = ClientTotals::new(10);
        for (now, id, bytes_received) in [(0, "0", 100), (1, "0", 150), (2, "1", 7), (3, "1", 9)] {
            let client = Client { client_id: id.into(), bytes_received, ..Client::default() };
            let since = SessionStart::At(None);
            let seen =
                ClientRow { client: &client, identity: "ann".into(), protocol: Protocol::Udp, since, is_asked: false };
            let mut pass = totals.pass(now);
            assert!(pass.record(pass.file(Path::new(FILE)), &seen).is_none());
        }
        assert_eq!(sums(&totals), [("ann_udp", [159, 0], 1)]);
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
            let mut totals = ClientTotals::new(10);
            let client = Client { client_id: client_id.into(), peer_id: peer_id.into(), ..Client::default() };
            let since = SessionStart::At(None);
            let seen = ClientRow { client: &client, identity: "ann".into(), protocol, since, is_asked: false };
            let mut pass = totals.pass(0);
            let row = pass.record(pass.file(Path::new(FILE)), &seen);
            assert_eq!(row.is_none(), has_id, "{protocol:?} {client_id} {peer_id}");
        }
    }

    /// Scrapes one file every ten seconds, and compares the clients' totals after the last scrape.
    fn play(protocol: Protocol, scrapes: &[&[Line]], expected: &[(&str, [u64; 2], u64)]) {
        let mut totals = ClientTotals::new(10);
        for (now, lines) in (0..).step_by(10).zip(scrapes) {
            scrape(&mut totals, now, protocol, lines);
        }
        assert_eq!(sums(&totals), expected);
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
            (Protocol::Tcp, ("ann", B, T, [1300, 2900]), [2300, 4900], "a TCP client does not float"),
        ] {
            let mut totals = ClientTotals::new(10);
            scrape(&mut totals, 0, protocol, &[began]);
            scrape(&mut totals, 10, protocol, &[next]);
            assert_eq!(sums(&totals)[0].1, expected, "{why}");
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
            let mut totals = ClientTotals::new(10);
            for (now, lines) in (0..).zip(&scrapes) {
                scrape(&mut totals, now, Protocol::Udp, lines);
            }
            assert_eq!(sums(&totals), [("crew_udp", [1250, 2460], 2)], "{scrapes:?}");
        }
        // One leaves, whichever: the other goes on.
        for (left, bytes) in [([1100, 2200], [1200, 2400]), ([150, 260], [1150, 2260])] {
            let mut totals = ClientTotals::new(10);
            scrape(&mut totals, 0, Protocol::Udp, &[crew([100, 200]), crew([1000, 2000])]);
            scrape(&mut totals, 10, Protocol::Udp, &[crew(left)]);
            let expected = [bytes[0], bytes[1]];
            let [(_, found, 1)] = sums(&totals)[..] else { panic!("one session: {:?}", sums(&totals)) };
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
                // One keeps its address, two have new addresses, one is a new client.
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
        let mut totals = ClientTotals::new(10);
        let ann = |bytes| [("ann", A, T, bytes)];
        scrape(&mut totals, 0, Protocol::Udp, &ann([100, 100]));
        scrape(&mut totals, 10, Protocol::Udp, &[]);
        scrape(&mut totals, 20, Protocol::Udp, &ann([110, 110]));
        for now in [500, 1000, 1500, 2000] {
            totals.pass(now).keep(Path::new(FILE));
        }
        scrape(&mut totals, 2500, Protocol::Udp, &[("ann", B, T, [120, 120])]);
        assert_eq!(sums(&totals), [("ann_udp", [120, 120], 1)]);
        scrape(&mut totals, 3101, Protocol::Udp, &[]);
        assert!(totals.files.by_path[Path::new(FILE)].sessions.is_empty(), "gone for long");
        drop(totals.pass(9000));
        assert!(totals.files.by_path.is_empty(), "not read for long");
    }

    #[test]
    fn a_server_that_has_ended_has_no_sessions() {
        let mut totals = ClientTotals::new(10);
        for (now, since, bytes_received) in [(0, SessionStart::At(Some(5)), 100), (10, SessionStart::Ended, 130)] {
            for client_id in ["7", ""] {
                let client = Client { client_id: client_id.into(), bytes_received, ..Client::default() };
                let seen = ClientRow {
                    client: &client,
                    identity: "ann".into(),
                    protocol: Protocol::Udp,
                    since,
                    is_asked: false,
                };
                let mut pass = totals.pass(now);
                let row = pass.record(pass.file(Path::new(FILE)), &seen);
                pass.record_unidentified(Path::new(FILE), row.into_iter().collect(), false);
            }
        }
        let [client] = totals.clients() else { panic!("one client") };
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
                            at: ClientAddress { owner: 0, address: 0 },
                            key,
                            bytes,
                            seen: 0,
                            is_found: false,
                        };
                        let row = |bytes| UnidentifiedRow {
                            at: ClientAddress { owner: 0, address: 0 },
                            bytes,
                            identity: Text::default(),
                            protocol: Protocol::Udp,
                            since: SessionStart::Ended,
                            key: None,
                            session: None,
                            position: 0,
                        };
                        let mut rows = [row(*x), row(*y)];
                        let mut sessions = [session(*a, 0), session(*b, 1)];
                        match_groups(&mut rows, &mut sessions, |at| at, &match_by_bytes);
                        let given: Vec<_> = rows.iter().filter_map(|row| Some((row.bytes, row.session?))).collect();
                        assert!(given.iter().all(|(bytes, position)| fits(sessions[*position].bytes, *bytes)));
                        assert!(given.len() < 2 || given[0].1 != given[1].1, "one session twice");
                        let both = (fits(*a, *x) && fits(*b, *y)) || (fits(*a, *y) && fits(*b, *x));
                        let any = [(a, x), (a, y), (b, x), (b, y)].iter().any(|(session, row)| fits(**session, **row));
                        assert_eq!(given.len(), usize::from(any) + usize::from(both), "{a:?} {b:?} {x:?} {y:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_has_no_ids_is_remembered_for_ten_minutes_and_no_second_longer() {
        for (away, expected) in [(600, 130), (601, 230)] {
            let mut totals = ClientTotals::new(10);
            scrape(&mut totals, 0, Protocol::Udp, &[("ann", A, T, [100, 0])]);
            scrape(&mut totals, away, Protocol::Udp, &[("ann", A, T, [130, 0])]);
            assert_eq!(sums(&totals)[0].1, [expected, 0], "away for {away} s");
        }
        for (away, is_known) in [(600, true), (601, false)] {
            let mut totals = ClientTotals::new(10);
            let now = Now { seconds: 0, unix: |_| None, local: |_| None };
            let updated = Timestamp { text: "".into(), seconds: Some(0) };
            totals.files.times(Path::new(FILE), updated, None, None, now);
            drop(totals.pass(away));
            assert_eq!(totals.limits().get(&[FILE.as_bytes()]).is_some(), is_known, "not read for {away} s");
        }
    }

    #[test]
    fn the_time_in_which_a_daemon_answered_itself_is_no_interval_of_its_file() {
        let (mut files, path) = (KnownFiles::default(), Path::new(FILE));
        let read = |files: &mut KnownFiles, now: i64| {
            let updated = Timestamp { text: "".into(), seconds: Some(now) };
            let now = Now { seconds: now, unix: |_| None, local: |_| None };
            files.times(path, updated, Some(now.seconds), None, now);
            files.by_path[path].updates.map(|updates| updates.limit())
        };
        let limits = [1000, 1060, 1120, 1180].map(|now| read(&mut files, now));
        assert_eq!(limits[3], Some(180));
        for hour in 1..5 {
            files.note_answer(path, b"2.6.14", b"", 3600 * hour + 1000);
            assert_eq!(read(&mut files, 3600 * hour + 1180), Some(180), "{hour}");
        }
        // The interval of the file itself is learned as before.
        assert_eq!(read(&mut files, 3600 * 4 + 1270), Some(270));
    }

    #[test]
    fn rows_stay_with_their_addresses_where_no_more_would_be_found_otherwise() {
        play(
            Protocol::Udp,
            &[
                &[("crew", A, T, [100, 200]), ("crew", B, T, [1000, 2000])],
                &[("crew", A, T, [1500, 2500]), ("crew", C, T, [50, 60])],
            ],
            &[("crew_udp", [1000 + 1500 + 50, 2000 + 2500 + 60], 2)],
        );
    }

    #[test]
    fn clients_without_ids_are_listed_in_the_order_of_their_rows() {
        let rows: Vec<Line> = ["d", "a", "c", "b", "f", "e"].map(|name| (name, A, T, [1, 1])).into();
        let mut totals = ClientTotals::new(10);
        scrape(&mut totals, 0, Protocol::Udp, &rows);
        let names: Vec<_> = sums(&totals).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["d_udp", "a_udp", "c_udp", "b_udp", "f_udp", "e_udp"]);
    }

    #[test]
    fn keys_of_sessions_that_differ_in_their_id_only_differ_in_all_parts() {
        let mut totals = ClientTotals::new(10);
        let pass = totals.pass(0);
        let keys: Vec<u64> = (0..4096)
            .map(|id| {
                let (id, since) = (format!("{id}"), Timestamp { text: Text::default(), seconds: Some(1_795_180_825) });
                let client = Client { client_id: (&*id).into(), since, ..Client::default() };
                let (identity, since) = ("ann".into(), SessionStart::At(None));
                let row = ClientRow { client: &client, identity, protocol: Protocol::Tcp, since, is_asked: false };
                pass.key_by_ids(OriginId::default(), &row)
            })
            .collect();
        // Hash maps take the upper and the lower bits.
        for part in [|key: &u64| key >> 56, |key: &u64| key & 0xff] {
            let different: BTreeSet<u64> = keys.iter().map(part).collect();
            assert!(different.len() > 200, "{}", different.len());
        }
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4096);
    }

    #[test]
    fn where_a_name_ends_and_an_id_begins_is_told() {
        let mut totals = ClientTotals::new(10);
        let mut pass = totals.pass(0);
        for (identity, client_id, peer_id, bytes_received) in
            [("ann", "12", "0", 100), ("ann1", "2", "0", 50), ("ann", "1", "", 20), ("ann", "", "3", 3)]
        {
            let client =
                Client { client_id: client_id.into(), peer_id: peer_id.into(), bytes_received, ..Client::default() };
            let since = SessionStart::At(None);
            let seen = ClientRow {
                client: &client,
                identity: identity.into(),
                protocol: Protocol::Udp,
                since,
                is_asked: false,
            };
            assert!(pass.record(pass.file(Path::new(FILE)), &seen).is_none());
        }
        drop(pass);
        assert_eq!(sums(&totals), [("ann_udp", [123, 0], 3), ("ann1_udp", [50, 0], 1)]);
    }
}
