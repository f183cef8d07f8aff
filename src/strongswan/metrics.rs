//! What charon's answers mean to Prometheus.

use std::collections::HashMap;

use super::sa::{ChildSa, Connection, IkeSa};
use crate::expo::{Exposition, Family, Label, Table, Twin, Value, counter, gauge, label};
use crate::text::Text;

struct Probe;

impl Table for Probe {
    type Row<'a> = (Text<'a>, bool);
    const LABELS: &'static [Label<Self>] = &[label("version", |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("probe_success", "StrongSwan Status", Twin::Lowest, |row| Some(row.1.into()))];
}

struct Info;

impl Table for Info {
    type Row<'a> = (Text<'a>, Text<'a>);
    const LABELS: &'static [Label<Self>] =
        &[label("product", |row, out| out.text(row.0)), label("version", |row, out| out.text(row.1))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("strongswan_info", "Software info", Twin::First, |_| Some(1u64.into()))];
}

struct Count;

impl Table for Count {
    type Row<'a> = u64;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_number_of_ikes_connected", "Number of IKE_SAs.", Twin::Sum, |count| Some((*count).into())),
        gauge("strongswan_sessions_total", "Total number of active sessions", Twin::Sum, |count| Some((*count).into())),
    ];
}

struct Known;

impl Table for Known {
    type Row<'a> = u64;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_number_of_known_ikes",
        "Number of connections that charon has loaded.",
        Twin::Sum,
        |count| Some((*count).into()),
    )];
}

/// The bytes of one CHILD_SA for its client, or 0 for a client whose IKE_SA has no child.
struct ClientRow<'a> {
    client: Text<'a>,
    bytes_in: u64,
    bytes_out: u64,
}

struct Client;

impl Table for Client {
    type Row<'a> = ClientRow<'a>;
    const LABELS: &'static [Label<Self>] = &[label("client", |row, out| out.text(row.client))];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("strongswan_bytes_in_total", "Total number of bytes received", |row| Some(row.bytes_in.into())),
        counter("strongswan_bytes_out_total", "Total number of bytes sent", |row| Some(row.bytes_out.into())),
    ];
}

struct Ike;

impl Table for Ike {
    type Row<'a> = (&'a IkeSa<'a>, u64);
    const LABELS: &'static [Label<Self>] = &[
        label("name", |(ike, _), out| out.text(ike.name)),
        label("uniqueid", |(ike, _), out| out.text(ike.unique_id)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_ike_children", "Number of CHILD_SAs of the IKE_SA.", Twin::Sum, |row| Some(row.1.into())),
        gauge("strongswan_ike_established_second", "Seconds since the IKE_SA was established.", Twin::First, |row| {
            row.0.established.map(Value::from)
        }),
        gauge("strongswan_ike_initiator", "Whether this side initiated the IKE_SA.", Twin::First, |row| {
            Some(row.0.initiator.into())
        }),
        gauge("strongswan_ike_nat_fake", "Whether a NAT is faked to force UDP encapsulation.", Twin::First, |row| {
            Some(row.0.nat_fake.into())
        }),
        gauge("strongswan_ike_nat_remote", "Whether the peer is behind a NAT.", Twin::First, |row| {
            Some(row.0.nat_remote.into())
        }),
        gauge("strongswan_ike_reauth_second", "Seconds until the IKE_SA is reauthenticated.", Twin::First, |row| {
            row.0.reauth_time.map(Value::from)
        }),
        gauge("strongswan_ike_rekey_second", "Seconds until the IKE_SA is rekeyed.", Twin::First, |row| {
            row.0.rekey_time.map(Value::from)
        }),
        gauge("strongswan_ike_state", "Whether the IKE_SA is up (ESTABLISHED or REKEYING).", Twin::Lowest, |row| {
            Some(row.0.is_up().into())
        }),
        gauge("strongswan_ike_version", "IKE version of the IKE_SA.", Twin::First, |row| {
            row.0.version.map(Value::from)
        }),
    ];
}

struct IkeEncryption;

impl Table for IkeEncryption {
    type Row<'a> = IkeSa<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("algorithm", |ike, out| out.text(ike.proposal.encryption)),
        label("dh_group", |ike, out| out.maybe(ike.proposal.dh_group)),
        label("name", |ike, out| out.text(ike.name)),
        label("uniqueid", |ike, out| out.text(ike.unique_id)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_ike_encryption_keysize",
        "Key size of the IKE_SA's encryption, in bits.",
        Twin::First,
        |ike| Some(ike.proposal.encryption_keysize.unwrap_or(0).into()),
    )];
}

struct IkeIntegrity;

impl Table for IkeIntegrity {
    type Row<'a> = IkeSa<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("algorithm", |ike, out| out.text(ike.proposal.integrity)),
        label("dh_group", |ike, out| out.maybe(ike.proposal.dh_group)),
        label("name", |ike, out| out.text(ike.name)),
        label("uniqueid", |ike, out| out.text(ike.unique_id)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_ike_integrity_keysize",
        "Key size of the IKE_SA's integrity algorithm, in bits; 0 where the algorithm implies it.",
        Twin::First,
        |ike| Some(ike.proposal.integrity_keysize.unwrap_or(0).into()),
    )];
}

/// A CHILD_SA and the IKE_SA that it belongs to.
struct ChildRow<'a> {
    ike: &'a IkeSa<'a>,
    child: ChildSa<'a>,
}

/// The families that carry the traffic selectors.
struct ChildTraffic;

impl Table for ChildTraffic {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("child_id", |row, out| out.text(row.child.unique_id)),
        label("child_name", |row, out| out.text(row.child.name)),
        label("ike_id", |row, out| out.text(row.ike.unique_id)),
        label("ike_name", |row, out| out.text(row.ike.name)),
        label("localTS", |row, out| out.joined(&row.child.local_ts, ";")),
        label("remoteTS", |row, out| out.joined(&row.child.remote_ts, ";")),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_sa_bytes_inbound", "Bytes received through the CHILD_SA.", Twin::Sum, |row| {
            row.child.bytes_in.map(Value::from)
        }),
        gauge("strongswan_sa_bytes_outbound", "Bytes sent through the CHILD_SA.", Twin::Sum, |row| {
            row.child.bytes_out.map(Value::from)
        }),
        gauge("strongswan_sa_last_inbound_seconds", "Seconds since the last packet came in.", Twin::First, |row| {
            row.child.use_in.map(Value::from)
        }),
        gauge("strongswan_sa_last_outbound_seconds", "Seconds since the last packet went out.", Twin::First, |row| {
            row.child.use_out.map(Value::from)
        }),
        gauge("strongswan_sa_packets_inbound", "Packets received through the CHILD_SA.", Twin::Sum, |row| {
            row.child.packets_in.map(Value::from)
        }),
        gauge("strongswan_sa_packets_outbound", "Packets sent through the CHILD_SA.", Twin::Sum, |row| {
            row.child.packets_out.map(Value::from)
        }),
        gauge(
            "strongswan_sa_state",
            "Whether the CHILD_SA carries traffic (INSTALLED, UPDATING or REKEYING).",
            Twin::Lowest,
            |row| Some(row.child.is_up().into()),
        ),
    ];
}

/// The families that don't.
struct Child;

impl Table for Child {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("child_id", |row, out| out.text(row.child.unique_id)),
        label("child_name", |row, out| out.text(row.child.name)),
        label("ike_id", |row, out| out.text(row.ike.unique_id)),
        label("ike_name", |row, out| out.text(row.ike.name)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_sa_encap", "Whether the CHILD_SA's ESP travels in UDP.", Twin::First, |row| {
            Some(row.child.encap.into())
        }),
        gauge("strongswan_sa_established_second", "Seconds since the CHILD_SA was installed.", Twin::First, |row| {
            row.child.install_time.map(Value::from)
        }),
        gauge("strongswan_sa_lifetime_second", "Seconds until the CHILD_SA ends.", Twin::First, |row| {
            row.child.life_time.map(Value::from)
        }),
        gauge("strongswan_sa_rekey_second", "Seconds until the CHILD_SA is rekeyed.", Twin::First, |row| {
            row.child.rekey_time.map(Value::from)
        }),
    ];
}

struct ChildEncryption;

impl Table for ChildEncryption {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("algorithm", |row, out| out.text(row.child.proposal.encryption)),
        label("child_id", |row, out| out.text(row.child.unique_id)),
        label("child_name", |row, out| out.text(row.child.name)),
        label("dh_group", |row, out| out.maybe(row.child.proposal.dh_group)),
        label("ike_id", |row, out| out.text(row.ike.unique_id)),
        label("ike_name", |row, out| out.text(row.ike.name)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_sa_encryption_keysize",
        "Key size of the CHILD_SA's encryption, in bits.",
        Twin::First,
        |row| Some(row.child.proposal.encryption_keysize.unwrap_or(0).into()),
    )];
}

struct ChildIntegrity;

impl Table for ChildIntegrity {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label("algorithm", |row, out| out.text(row.child.proposal.integrity)),
        label("child_id", |row, out| out.text(row.child.unique_id)),
        label("child_name", |row, out| out.text(row.child.name)),
        label("dh_group", |row, out| out.maybe(row.child.proposal.dh_group)),
        label("ike_id", |row, out| out.text(row.ike.unique_id)),
        label("ike_name", |row, out| out.text(row.ike.name)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_sa_integrity_keysize",
        "Key size of the CHILD_SA's integrity algorithm, in bits; 0 where the algorithm implies it.",
        Twin::First,
        |row| Some(row.child.proposal.integrity_keysize.unwrap_or(0).into()),
    )];
}

struct Tunnel;

impl Table for Tunnel {
    type Row<'a> = (Text<'a>, Text<'a>, bool);
    const LABELS: &'static [Label<Self>] =
        &[label("child", |row, out| out.text(row.1)), label("connection", |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_tunnel_up",
        "Whether a configured child has a CHILD_SA that carries traffic.",
        Twin::Highest,
        |row| Some(row.2.into()),
    )];
}

/// The children that are configured towards known peers, and whether each is up.
#[derive(Default)]
pub struct Tunnels {
    connections: u64,
    known: Vec<(Vec<u8>, Vec<u8>)>,
    up: HashMap<Vec<u8>, HashMap<Vec<u8>, bool>>,
}

impl Tunnels {
    /// Notes a loaded connection; one for anyone has no tunnels that should be up.
    pub fn load(&mut self, connection: &Connection<'_>) {
        self.connections = self.connections.saturating_add(1);
        if connection.is_for_anyone() {
            return;
        }
        let name = connection.name.bytes().to_vec();
        for child in connection.children() {
            let child = child.bytes().to_vec();
            self.known.push((name.clone(), child.clone()));
            self.up.entry(name.clone()).or_default().insert(child, false);
        }
    }

    /// Notes the children of an IKE_SA that carry traffic.
    pub fn see(&mut self, ike: &IkeSa<'_>) {
        let Some(children) = self.up.get_mut(ike.name.bytes()) else { return };
        for child in ike.children().filter(ChildSa::is_up) {
            if let Some(up) = children.get_mut(child.name.bytes()) {
                *up = true;
            }
        }
    }

    /// Exposes what was loaded and which of it is up.
    pub fn expose(&self, out: &mut Exposition) {
        out.add::<Known>(&self.connections);
        for (connection, child) in &self.known {
            let up = self.up.get(connection).and_then(|children| children.get(child)).copied().unwrap_or(false);
            out.add::<Tunnel>(&(Text::new(connection), Text::new(child), up));
        }
    }
}

/// Exposes who answered `version`.
pub fn expose_version(daemon: Text<'_>, version: Text<'_>, out: &mut Exposition) {
    out.add::<Probe>(&(version, true));
    out.add::<Info>(&(daemon, version));
}

/// Exposes that nobody did.
pub fn expose_down(out: &mut Exposition) {
    out.add::<Probe>(&(Text::default(), false));
}

/// Exposes how many IKE_SAs there are.
pub fn expose_count(ikes: u64, out: &mut Exposition) {
    out.add::<Count>(&ikes);
}

/// Exposes one IKE_SA with its CHILD_SAs.
pub fn expose_ike(ike: &IkeSa<'_>, out: &mut Exposition) {
    let mut children: u64 = 0;
    for child in ike.children() {
        children = children.saturating_add(1);
        expose_client(ike, &child, out);
        let row = ChildRow { ike, child };
        out.add::<ChildTraffic>(&row);
        out.add::<Child>(&row);
        if !row.child.proposal.encryption.is_empty() {
            out.add::<ChildEncryption>(&row);
        }
        if !row.child.proposal.integrity.is_empty() {
            out.add::<ChildIntegrity>(&row);
        }
    }
    if children == 0 {
        expose_client(ike, &ChildSa::default(), out);
    }
    out.add::<Ike>(&(ike, children));
    if !ike.proposal.encryption.is_empty() {
        out.add::<IkeEncryption>(ike);
    }
    if !ike.proposal.integrity.is_empty() {
        out.add::<IkeIntegrity>(ike);
    }
}

fn expose_client(ike: &IkeSa<'_>, child: &ChildSa<'_>, out: &mut Exposition) {
    let Some(client) = ike.client() else { return };
    let (bytes_in, bytes_out) = (child.bytes_in.unwrap_or(0), child.bytes_out.unwrap_or(0));
    out.add::<Client>(&ClientRow { client, bytes_in, bytes_out });
}
