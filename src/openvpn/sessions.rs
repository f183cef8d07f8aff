//! A status file's clients as rows of the session list.

use std::collections::{HashMap, HashSet};

use super::Protocol;
use super::metrics::Reading;
use super::status::{Client, Document, Entry, Route, date, parse};
use crate::session::Session;
use crate::text::Text;

/// Lists the clients of one file, also those that have not authenticated yet.
pub fn list(reading: &Reading<'_>, server: &str, rows: &mut Vec<Session>) {
    let Some(Document::Server(entries)) = reading.file.map(parse) else { return };
    let addresses = addresses(entries.clone());
    let mut seen = HashSet::new();
    for entry in entries {
        if let Entry::Client(client) = entry
            && (!reading.torn || seen.insert((client.real_address, client.client_id)))
        {
            rows.push(session(&client, &addresses, reading.protocol, server));
        }
    }
}

/// The tunnel address of each real address: status version 1 has it in the routing table only.
/// Networks behind a client and cached addresses (`10.8.0.4C`) are not its own; IPv4 comes first.
fn addresses<'a>(entries: impl Iterator<Item = Entry<'a>>) -> HashMap<Text<'a>, Text<'a>> {
    let mut addresses: HashMap<Text<'a>, Text<'a>> = HashMap::new();
    for entry in entries {
        let Entry::Route(Route { virtual_address, real_address }) = entry else { continue };
        if virtual_address.contains("/") || virtual_address.before("C").is_some() {
            continue;
        }
        let known = addresses.entry(real_address).or_insert(virtual_address);
        if known.contains(":") && !virtual_address.contains(":") {
            *known = virtual_address;
        }
    }
    addresses
}

fn session(client: &Client<'_>, addresses: &HashMap<Text<'_>, Text<'_>>, protocol: Protocol, server: &str) -> Session {
    let (host, port) = client.peer();
    let identity = client.identity();
    let address = [client.virtual_address, client.virtual_ipv6]
        .into_iter()
        .find(|address| !address.is_empty())
        .or_else(|| addresses.get(&client.real_address).copied());
    Session {
        server: server.into(),
        protocol: protocol.word().into(),
        p1uniqueid: Some(client.client_id.to_string()),
        p2uniqueid: Some(client.peer_id.to_string()),
        state: if identity.is_some() { "ESTABLISHED" } else { "CONNECTING" }.into(),
        remotehost: host.to_string(),
        remoteport: port.to_string(),
        remoteid: identity.unwrap_or(client.common_name).to_string(),
        remotets: address.unwrap_or_default().to_string(),
        established: date(client.since.text),
        bytesin: client.bytes_received.to_string(),
        bytesout: client.bytes_sent.to_string(),
        packetsin: "0".into(),
        packetsout: "0".into(),
        ..Session::default()
    }
}
