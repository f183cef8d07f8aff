//! What WireGuard's interfaces and peers mean to Prometheus.

use super::device::{Device, Peer};
use super::names::Names;
use super::settings::Configured;
use super::totals::{PeerPass, Recorded};
use crate::advice::Severity;
use crate::exposition::{
    Exposition, Family, Group, Label, LabelValue, Merge, SharedLabels, Table, TableInfo, Value, counter, gauge, label,
    name, shared, table,
};
use crate::text::Text;
use crate::watched::Watched;

/// `REJECT_AFTER_TIME` of the protocol, in seconds: the keys of an older handshake are used no more.
pub const REJECT_AFTER_TIME: i64 = 180;

/// `REKEY_TIMEOUT`, in seconds: how long the first message of a handshake is waited for.
const REKEY_TIMEOUT: i64 = 5;

/// The keepalive that WireGuard's own documentation advises, in seconds; the other side's where this side has none.
const USUAL_KEEPALIVE: u16 = 25;

/// An interface and what is known about it from elsewhere.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Its name.
    pub interface: &'a str,
    /// What tells it from others of its name, before and after it.
    pub id: u64,
    /// What it says.
    pub device: &'a Device,
    /// Names of peers.
    pub names: &'a Names,
    /// What the configuration says of peers.
    pub configured: &'a Configured,
}

struct Interface;

impl Table for Interface {
    type Row<'a> = (&'a str, usize, usize);
    const LABELS: &'static [Label<Self>] = &[label(name!("interface"), |row, out| out.text(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("wireguard_peers", "Peers of the interface.", Merge::Sum, |row| Some(row.1.into())),
        gauge(
            "wireguard_peers_connected",
            "Peers of the interface whose last handshake is younger than 180 seconds.",
            Merge::Sum,
            |row| Some(row.2.into()),
        ),
    ];
}

struct InterfaceInfo;

impl Table for InterfaceInfo {
    type Row<'a> = (&'a str, &'a Device);
    const LABELS: &'static [Label<Self>] = &[
        label(name!("fwmark"), |row, out| number(row.1.fwmark, out)),
        label(name!("interface"), |row, out| out.text(row.0.into())),
        label(name!("listen_port"), |row, out| number(row.1.listen_port, out)),
        label(name!("public_key"), |row, out| {
            if let Some(key) = row.1.public_key {
                out.identity(Text::new(&key.text()));
            }
        }),
    ];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("wireguard_interface_info", "The interface's settings.", Merge::First, |_| Some(1u64.into()))];
}

/// A peer, and what its tables share.
struct PeerRow<'a> {
    interface: &'a SharedLabels,
    public_key: &'a SharedLabels,
    device: &'a Device,
    peer: &'a Peer,
    name: Text<'a>,
    total: Recorded,
    is_up: bool,
}

fn number(value: Option<impl Into<u64>>, out: &mut LabelValue<'_>) {
    if let Some(value) = value {
        let number: u64 = value.into();
        out.text(itoa::Buffer::new().format(number).into());
    }
}

struct Traffic;

impl Table for Traffic {
    type Row<'a> = PeerRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("allowed_ips"), |row, out| out.some_identity(row.device.allowed_ips(row.peer))),
        label(name!("friendly_name"), |row, out| out.some_identity(row.name)),
        shared(name!("interface"), &[], |row, out| out.shared(row.interface)),
        shared(name!("public_key"), &[], |row, out| out.shared(row.public_key)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("wireguard_latest_handshake_seconds", "Unix time of the peer's last handshake.", Merge::Highest, |row| {
            row.peer.handshake.map(Value::from)
        }),
        counter("wireguard_received_bytes_total", "Bytes received from the peer.", |row| {
            Some(row.total.received.into())
        }),
        counter("wireguard_sent_bytes_total", "Bytes sent to the peer.", |row| Some(row.total.sent.into())),
    ];
    const GROUP: Option<Group> = Some(Group::Clients);
}

struct PeerInfo;

impl Table for PeerInfo {
    type Row<'a> = PeerRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("description"), |row, out| out.some_identity(row.name)),
        label(name!("endpoint"), |row, out| out.some_identity(row.device.endpoint(row.peer))),
        shared(name!("interface"), &[], |row, out| out.shared(row.interface)),
        label(name!("persistent_keepalive_interval"), |row, out| number(row.peer.keepalive, out)),
        shared(name!("public_key"), &[], |row, out| out.shared(row.public_key)),
    ];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("wireguard_peer_info", "The peer's settings, and where it is.", Merge::First, |_| Some(1u64.into()))];
    const GROUP: Option<Group> = Some(Group::Clients);
}

struct PeerUp;

impl Table for PeerUp {
    type Row<'a> = PeerRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("friendly_name"), |row, out| out.some_identity(row.name)),
        shared(name!("interface"), &[], |row, out| out.shared(row.interface)),
        shared(name!("public_key"), &[], |row, out| out.shared(row.public_key)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "wireguard_peer_up",
        "Whether a peer with a persistent keepalive here, or that is expected, had a handshake in time.",
        Merge::Lowest,
        |row| Some(row.is_up.into()),
    )];
}

/// What is watched of it.
pub const WATCHED: &[Watched] = &[
    Watched {
        family: "wireguard_peer_up",
        kind: "peer",
        labels: &["interface", "friendly_name", "public_key"],
        fix: "wg show lists its endpoint and last handshake: does it run, and does UDP get through both ways?",
        traffic: Some(["wireguard_received_bytes_total", "wireguard_sent_bytes_total"]),
        ..Watched::PLAIN
    },
    Watched {
        family: "wireguard_peers_connected",
        kind: "interface",
        labels: &["interface"],
        beside: Some("wireguard_peers"),
        judge: |peers| {
            let all = peers.beside()?;
            Some((Severity::Ok, format!("{} of {all} peers had a handshake lately", peers.value).into()))
        },
        ..Watched::PLAIN
    },
];

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] =
    &[table::<Interface>(), table::<InterfaceInfo>(), table::<Traffic>(), table::<PeerInfo>(), table::<PeerUp>()];

/// Whether the last handshake is so young that its keys are still used.
pub fn is_connected(peer: &Peer, now: i64) -> bool {
    peer.handshake.is_some_and(|handshake| now.saturating_sub(handshake) < REJECT_AFTER_TIME)
}

/// Whether a peer that should be connected is. The side that is sent keepalives renews the keys only when the next one
/// comes, so that a handshake may be older than its keys by an interval.
fn is_up(peer: &Peer, now: i64) -> bool {
    let interval = i64::from(peer.keepalive.unwrap_or(USUAL_KEEPALIVE));
    let longest = REJECT_AFTER_TIME.saturating_add(interval).saturating_add(REKEY_TIMEOUT);
    peer.handshake.is_some_and(|handshake| now.saturating_sub(handshake) < longest)
}

/// Exposes one interface and its peers at the moment `now`.
pub fn expose(reading: Reading<'_>, pass: &mut PeerPass<'_>, now: i64, out: &mut Exposition) {
    let Reading { interface, id, device, names, configured } = reading;
    let connected = device.peers.iter().filter(|peer| is_connected(peer, now)).count();
    out.add::<Interface>(&(interface, device.peers.len(), connected));
    out.add::<InterfaceInfo>(&(interface, device));
    let (mut name_label, mut key_label) = (SharedLabels::default(), SharedLabels::default());
    let incarnation = pass.incarnation(interface, id);
    name_label.set(&[(name!("interface"), interface.into())]);
    for peer in &device.peers {
        key_label.set_identities(out.identities(), &[(name!("public_key"), Text::new(&peer.public_key.text()))]);
        let total = pass.record(incarnation, peer);
        let name = configured.name(peer.public_key).or_else(|| names.get(peer.public_key));
        let (interface, public_key, name) = (&name_label, &key_label, name.unwrap_or_default().into());
        let row = PeerRow { interface, public_key, device, peer, name, total, is_up: is_up(peer, now) };
        out.add_row::<Traffic>(&row, total.is_first);
        out.add_row::<PeerInfo>(&row, total.is_first);
        if peer.keepalive.is_some() || configured.is_expected(peer.public_key) {
            out.add_row::<PeerUp>(&row, total.is_first);
        }
    }
}
