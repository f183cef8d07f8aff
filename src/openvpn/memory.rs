//! What is remembered of status files between scrapes: clients' totals, and how often a file is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Protocol;
use super::status::Client;
use crate::ledger::{Account, Ledger, Source, Traffic};
use crate::text::{Text, clip};

/// How often OpenVPN writes its status where nothing else is asked of it, in seconds.
const USUAL_INTERVAL: i64 = 60;

/// A file that missed this many of its updates is stale.
const MISSED: i64 = 3;

/// The memory of one collector.
#[derive(Debug, Default)]
pub struct Memory {
    clients: Ledger,
    updates: HashMap<PathBuf, Update>,
}

/// When a file was last written, and the last three times between two writings that were seen, the latest first.
///
/// The longest of them counts: a server that is started again writes at once. Looks that are rarer than the writings see
/// a multiple, and are content with it.
#[derive(Clone, Copy, Debug)]
struct Update {
    last: i64,
    gaps: [i64; 3],
}

impl Memory {
    /// A memory that keeps at most `most` clients that are there no more.
    pub fn new(most: usize) -> Self {
        Self { clients: Ledger::new(most), updates: HashMap::new() }
    }

    /// Begins a look at all files.
    pub fn begin(&mut self) {
        self.clients.begin();
    }

    /// The file at a path, as [`Memory::see`] and [`Memory::keep`] know it.
    pub fn file(&self, path: &Path) -> Source {
        self.clients.source(path)
    }

    /// Books what a session of `identity` in a file, which began at `since`, counts at the moment `now`.
    ///
    /// It is the same session as long as the file has the same ids for it: a client that floats changes its address, and
    /// a server may be given another name. Only UDP clients float, and not every server gives those over TCP peer ids of
    /// their own.
    pub fn see(
        &mut self,
        file: Source,
        protocol: Protocol,
        identity: Text<'_>,
        client: &Client<'_>,
        since: Option<i64>,
        now: i64,
    ) {
        let (received, sent) = (client.bytes_received, client.bytes_sent);
        let traffic = Traffic { bytes_in: received, bytes_out: sent, ..Traffic::default() };
        let has_id = !client.client_id.is_empty() || (protocol == Protocol::Udp && !client.peer_id.is_empty());
        let address = if has_id { Text::default() } else { client.real_address };
        let ids = (client.client_id, client.peer_id, address);
        let key = self.clients.key((file, protocol, identity, client.since.text, ids));
        self.clients.see(file, key, traffic, since, now, || {
            format!("{}_{}", clip(String::from_utf8_lossy(identity.bytes())), protocol.word()).into()
        });
    }

    /// Keeps what is known of the sessions in a file that could not be read whole at the moment `now`.
    pub fn keep(&mut self, file: Source, now: i64) {
        self.clients.keep(file, now);
    }

    /// Ends the look.
    pub fn end(&mut self, now: i64) {
        self.clients.end(now);
    }

    /// Every client, in the order in which they were first seen: its identity, `_`, and its protocol.
    pub fn clients(&self) -> &[Account] {
        self.clients.accounts()
    }

    /// Whether the file at `file` that says it was written at `updated` is fresh at `now`: it may miss two updates.
    pub fn is_fresh(&mut self, file: &Path, updated: i64, now: i64, stale_after: Option<i64>) -> bool {
        let first = Update { last: updated, gaps: [USUAL_INTERVAL; 3] };
        let update = self.updates.get(file).map_or(first, |known| known.then(updated));
        self.updates.insert(file.to_owned(), update);
        now.saturating_sub(updated) <= stale_after.unwrap_or_else(|| update.limit())
    }
}

impl Update {
    /// What is known after a look that found the file written at `updated`.
    ///
    /// A server that was down for a night left a gap, too: it counts for no more than the file might have been
    /// late, so that one which dies soon after its start is noticed. A new interval is still learned, in some steps.
    fn then(self, updated: i64) -> Self {
        let gap = updated.saturating_sub(self.last).min(self.limit().max(USUAL_INTERVAL.saturating_mul(MISSED)));
        let [latest, before, _] = self.gaps;
        Self { last: updated, gaps: if gap > 0 { [gap, latest, before] } else { self.gaps } }
    }

    /// How old the file may be.
    fn limit(self) -> i64 {
        self.gaps.into_iter().max().unwrap_or(USUAL_INTERVAL).saturating_mul(MISSED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_stale_when_it_missed_three_updates() {
        let mut memory = Memory::default();
        assert!(memory.is_fresh(Path::new("a"), 1000, 1180, None), "written every minute, as far as is known");
        assert!(!memory.is_fresh(Path::new("a"), 1000, 1181, None));
        assert!(memory.is_fresh(Path::new("a"), 1010, 1190, None) && memory.is_fresh(Path::new("a"), 1020, 1200, None));
        assert!(memory.is_fresh(Path::new("a"), 1030, 1060, None), "the writings were 10 s apart, three times");
        assert!(!memory.is_fresh(Path::new("a"), 1030, 1061, None));
        assert!(memory.is_fresh(Path::new("a"), 1030, 1061, Some(60)), "told otherwise");
        assert!(memory.is_fresh(Path::new("a"), 1030, 900, None), "the clock was set back");
        assert!(memory.is_fresh(Path::new("b"), 1000, 1041, None), "another file");
    }

    #[test]
    fn how_often_a_file_is_written_is_learned_and_forgotten() {
        let (mut memory, mut updated) = (Memory::default(), 1000);
        for (gap, limit, why) in [
            (60, 180, "every minute"),
            (60, 180, "every minute"),
            (5, 180, "started again, and written at once"),
            (60, 180, "as before"),
            (5, 180, "started again"),
            (5, 180, "and again"),
            (60, 180, "as before"),
            (60, 180, "as before"),
            (36_000, 540, "down for a night"),
            (60, 540, "back"),
            (60, 540, "back"),
            (60, 180, "as before"),
            (600, 540, "told to write every 10 minutes"),
            (600, 1620, "the same"),
            (600, 1800, "known"),
            (10, 1800, "told to write every 10 seconds"),
            (10, 1800, "the same"),
            (10, 30, "known"),
            (60, 180, "every minute again"),
        ] {
            updated += gap;
            assert!(memory.is_fresh(Path::new("a"), updated, updated + limit, None), "{updated}: {why}");
            assert!(!memory.is_fresh(Path::new("a"), updated, updated + limit + 1, None), "{updated}: {why}");
        }
    }

    #[test]
    fn a_client_that_comes_back_goes_on_where_it_was() {
        let mut memory = Memory::new(10);
        let session =
            |id: &'static str, bytes_received| Client { client_id: id.into(), bytes_received, ..Client::default() };
        for (now, client) in
            [(0, session("0", 100)), (1, session("0", 150)), (2, session("1", 7)), (3, session("1", 9))]
        {
            memory.begin();
            memory.see(memory.file(Path::new("office")), Protocol::Udp, "ann".into(), &client, None, now);
            memory.end(now);
        }
        let [client] = memory.clients() else { panic!("one client") };
        assert_eq!((&*client.name, client.total.bytes_in), ("ann_udp", 159));
    }

    #[test]
    fn a_session_without_an_id_of_its_own_goes_by_its_address() {
        // Status version 1 has no ids, and to some servers all TCP clients have the highest peer id.
        for (protocol, peer_id) in [(Protocol::Udp, ""), (Protocol::Tcp, "16777215")] {
            let mut memory = Memory::new(10);
            memory.begin();
            for (address, bytes_received) in [("192.0.2.1:1", 100), ("192.0.2.2:1", 30)] {
                let (real_address, peer_id) = (address.into(), peer_id.into());
                let client = Client { real_address, peer_id, bytes_received, ..Client::default() };
                memory.see(memory.file(Path::new("/status")), protocol, "ann".into(), &client, None, 0);
            }
            memory.end(0);
            let [client] = memory.clients() else { panic!("one client") };
            assert_eq!((client.total.bytes_in, client.sessions), (130, 2));
        }
    }
}
