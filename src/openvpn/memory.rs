//! What is remembered of status files between scrapes: clients' totals, and how often a file is written.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::Protocol;
use super::status::Client;
use crate::ledger::{Account, Ledger, Traffic};
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

/// When a file was last written, and the shortest time between two writings that was seen.
#[derive(Clone, Copy, Debug)]
struct Update {
    last: i64,
    interval: Option<i64>,
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

    /// Books what a session of `identity` in the file at `file`, which began at `since`, counts at the moment `now`.
    ///
    /// It is the same session as long as the file has the same ids for it: a client that floats changes its address, and
    /// a server may be given another name. Only UDP clients float, and not every server gives those over TCP peer ids of
    /// their own.
    pub fn see(
        &mut self,
        file: &Path,
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
        let key = self.clients.key((file.as_os_str(), protocol, identity, client.since.text, ids));
        self.clients.see(key, traffic, since, now, || {
            format!("{}_{}", clip(String::from_utf8_lossy(identity.bytes())), protocol.word()).into()
        });
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
        let update = match self.updates.get(file).copied() {
            None => Update { last: updated, interval: None },
            Some(Update { last, interval }) => {
                let gap = Some(updated.saturating_sub(last)).filter(|gap| *gap > 0);
                Update { last: updated, interval: interval.into_iter().chain(gap).min() }
            }
        };
        self.updates.insert(file.to_owned(), update);
        let limit = stale_after.unwrap_or_else(|| update.interval.unwrap_or(USUAL_INTERVAL).saturating_mul(MISSED));
        now.saturating_sub(updated) <= limit
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
        assert!(memory.is_fresh(Path::new("a"), 1010, 1040, None), "two writings were 10 s apart");
        assert!(!memory.is_fresh(Path::new("a"), 1010, 1041, None));
        assert!(memory.is_fresh(Path::new("a"), 1010, 1041, Some(60)), "told otherwise");
        assert!(memory.is_fresh(Path::new("a"), 1010, 900, None), "the clock was set back");
        assert!(memory.is_fresh(Path::new("b"), 1000, 1041, None), "another file");
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
            memory.see(Path::new("office"), Protocol::Udp, "ann".into(), &client, None, now);
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
                memory.see(Path::new("/status"), protocol, "ann".into(), &client, None, 0);
            }
            memory.end(0);
            let [client] = memory.clients() else { panic!("one client") };
            assert_eq!((client.total.bytes_in, client.sessions), (130, 2));
        }
    }
}
