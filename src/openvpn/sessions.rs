//! A status file's clients as rows of the session list.

use super::Protocol;
use super::metrics::Reading;
use super::staleness::Now;
use super::staleness::{Times, Zone};
use super::status::{Client, Document, Entries, Entry, Route, Timestamp, date};
use crate::hash_index::{NameIndex, NameValues};
use crate::session::Session;
use crate::text::Text;

/// Lists the clients of one file, also those that have not authenticated yet; those of a server that has ended are
/// none.
pub fn list(
    reading: &Reading<'_>,
    document: Document<'_>,
    times: Times,
    now: Now,
    server: &str,
    rows: &mut impl Extend<Session>,
) {
    let Document::Server(mut entries) = document else { return };
    if times.late.is_some() {
        return;
    }
    let routes = routes(entries.clone());
    let mut seen = NameIndex::default();
    while let Some(entry) = entries.next() {
        if let Entry::Client(row) = entry
            && let Some(client) = entries.client(row)
            && (!reading.torn || seen.add(&[client.real_address.bytes(), client.client_id.bytes()]))
        {
            let established = established(client.since, times.zone, now);
            rows.extend([session(&client, &routes, reading.protocol, established, server)]);
        }
    }
}

/// The tunnel address of each common name and real address that a route leads to: status version 1 has it in the routing
/// table only.
///
/// Networks behind a client and cached addresses (`10.8.0.4C`) are not its own, so that it can be absent; IPv4 comes
/// first.
fn routes<'a>(mut entries: Entries<'a>) -> NameValues<Option<Text<'a>>> {
    let mut routes = NameValues::<Option<Text<'a>>>::default();
    while let Some(entry) = entries.next() {
        let Entry::Route(row) = entry else { continue };
        let Some(Route { virtual_address, common_name, real_address }) = entries.route(row) else { continue };
        let client = [common_name.bytes(), real_address.bytes()];
        let known = routes.get(&client).copied().flatten();
        let is_its = !virtual_address.contains("/") && virtual_address.before("C").is_none();
        let is_better = is_its && known.is_none_or(|known| known.contains(":") && !virtual_address.contains(":"));
        routes.set(&client, if is_better { Some(virtual_address) } else { known });
    }
    routes
}

/// A moment as a local date: ours, where the daemon's zone is another one.
fn established(moment: Timestamp<'_>, zone: Zone, now: Now) -> String {
    let other = (zone != Zone::Local).then(|| zone.moment(moment, now).and_then(now.local)).flatten();
    other.unwrap_or_else(|| date(moment.text))
}

fn session(
    client: &Client<'_>,
    routes: &NameValues<Option<Text<'_>>>,
    protocol: Protocol,
    established: String,
    server: &str,
) -> Session {
    let (host, port) = client.peer();
    let route = routes.get(&[client.common_name.bytes(), client.real_address.bytes()]);
    let identity = client.identity(route.is_some());
    let own = [client.virtual_address, client.virtual_ipv6].into_iter().find(|address| !address.is_empty());
    let address = own.or_else(|| route.copied().flatten());
    Session {
        server: server.into(),
        protocol: client.protocol().unwrap_or(protocol).word().into(),
        p1uniqueid: Some(client.peer_id.to_string()),
        p2uniqueid: Some(client.client_id.to_string()),
        state: if identity.is_some() { "ESTABLISHED" } else { "CONNECTING" }.into(),
        remotehost: host.to_string(),
        remoteport: port.to_string(),
        remoteid: identity.unwrap_or(client.common_name).to_string(),
        remotets: address.unwrap_or_default().to_string(),
        established,
        bytesin: client.bytes_received.to_string(),
        bytesout: client.bytes_sent.to_string(),
        packetsin: "0".into(),
        packetsout: "0".into(),
        ..Session::default()
    }
}
