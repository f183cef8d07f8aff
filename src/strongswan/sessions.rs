//! CHILD_SAs as rows of the session list.

use super::sa::{ChildSa, IkeSa};
use super::vici::Items;
use crate::session::Session;

/// Lists the CHILD_SAs of one IKE_SA. `established` is the moment as it shall be printed.
pub fn list(ike: &IkeSa<'_>, established: &str, server: &str, rows: &mut impl Extend<Session>) {
    ike.for_each_child(&mut |child| rows.extend([session(ike, child, established, server)]));
}

fn session(ike: &IkeSa<'_>, child: &ChildSa<'_>, established: &str, server: &str) -> Session {
    Session {
        server: server.into(),
        protocol: ike.version.map(|version| format!("ikev{version}")).unwrap_or_default(),
        uniqueid: Some(format!("{}[{}]", ike.name, ike.unique_id)),
        state: ike.state.to_string(),
        remotehost: ike.remote_host.to_string(),
        remoteport: ike.remote_port.to_string(),
        remoteid: ike.remote_id.to_string(),
        remotets: joined(child.remote_ts),
        localts: Some(joined(child.local_ts)),
        established: established.into(),
        bytesin: number(child.bytes_in),
        bytesout: number(child.bytes_out),
        packetsin: number(child.packets_in),
        packetsout: number(child.packets_out),
        ..Session::default()
    }
}

fn joined(selectors: Items<'_>) -> String {
    selectors.map(|selector| selector.to_string()).collect::<Vec<_>>().join(";")
}

fn number(value: Option<u64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}
