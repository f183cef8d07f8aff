//! What charon's answers mean to Prometheus.

use super::configured::{Configured, ScrapeTime};
use super::sa::{ChildSa, IkeSa, Proposal};
use super::stats::{Event, PRIORITIES, Pool, Stats};
use super::totals::SaTotals;
use crate::advice::Severity;
use crate::exposition::{
    Exposition, Family, Group, Label, LabelValue, Merge, SharedLabels, Table, TableInfo, Value, counter, gauge, label,
    name, shared, table,
};
use crate::hash_index::NumberSet;
use crate::text::Text;
use crate::totals::Traffic;
use crate::watched::{WAITING, Watched, up_or_down};

struct Probe;

impl Table for Probe {
    type Row<'a> = (Text<'a>, bool);
    const LABELS: &'static [Label<Self>] = &[label(name!("version"), |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("probe_success", "StrongSwan Status", Merge::Lowest, |row| Some(row.1.into()))];
}

struct Info;

impl Table for Info {
    type Row<'a> = (Text<'a>, Text<'a>);
    const LABELS: &'static [Label<Self>] =
        &[label(name!("product"), |row, out| out.text(row.0)), label(name!("version"), |row, out| out.text(row.1))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("strongswan_info", "Software info", Merge::First, |_| Some(1u64.into()))];
}

/// How many IKE_SAs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// In all.
    pub total: u64,
    /// Established ones, also where charon is busy with them.
    pub sessions: u64,
    /// Those that charon is busy with and did not list; absent where it does not tell how many it has.
    pub busy: Option<u64>,
}

impl Table for Count {
    type Row<'a> = Self;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "strongswan_busy_ike_sas",
            "Number of IKE_SAs that charon did not list because it is busy with them.",
            Merge::Sum,
            |count| count.busy.map(Value::from),
        ),
        gauge("strongswan_number_of_ikes_connected", "Number of IKE_SAs.", Merge::Sum, |count| {
            Some(count.total.into())
        }),
        gauge("strongswan_sessions_total", "Total number of active sessions", Merge::Sum, |count| {
            Some(count.sessions.into())
        }),
    ];
}

struct Known;

impl Table for Known {
    type Row<'a> = u64;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_number_of_known_ikes",
        "Number of connections that charon has loaded.",
        Merge::Sum,
        |count| Some((*count).into()),
    )];
}

struct Client;

impl Table for Client {
    type Row<'a> = (&'a str, Traffic);
    const LABELS: &'static [Label<Self>] = &[label(name!("client"), |row, out| out.identity(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("strongswan_bytes_in_total", "Total number of bytes received", |row| Some(row.1.bytes_in.into())),
        counter("strongswan_bytes_out_total", "Total number of bytes sent", |row| Some(row.1.bytes_out.into())),
    ];
    const GROUP: Option<Group> = Some(Group::Clients);
}

struct TunnelTraffic;

impl Table for TunnelTraffic {
    type Row<'a> = (&'a str, &'a str, Traffic);
    const LABELS: &'static [Label<Self>] = &[
        label(name!("child"), |row, out| out.text(row.1.into())),
        label(name!("connection"), |row, out| out.text(row.0.into())),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("strongswan_tunnel_bytes_in_total", "Bytes received over all CHILD_SAs of the child.", |row| {
            Some(row.2.bytes_in.into())
        }),
        counter("strongswan_tunnel_bytes_out_total", "Bytes sent over all CHILD_SAs of the child.", |row| {
            Some(row.2.bytes_out.into())
        }),
        counter("strongswan_tunnel_packets_in_total", "Packets received over all CHILD_SAs of the child.", |row| {
            Some(row.2.packets_in.into())
        }),
        counter("strongswan_tunnel_packets_out_total", "Packets sent over all CHILD_SAs of the child.", |row| {
            Some(row.2.packets_out.into())
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Tunnels);
}

struct ConnectionSessions;

impl Table for ConnectionSessions {
    type Row<'a> = (Text<'a>, u64);
    const LABELS: &'static [Label<Self>] = &[label(name!("connection"), |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_connection_sessions",
        "Number of established IKE_SAs of the connection.",
        Merge::Sum,
        |row| Some(row.1.into()),
    )];
}

/// An IKE_SA, and how many CHILD_SAs it has.
struct IkeRow<'a> {
    ike: &'a IkeSa<'a>,
    children: u64,
    /// Its name and number, as its own rows have them.
    labels: &'a SharedLabels,
    proposal: &'a ProposalLabels,
}

/// The algorithms of an SA as labels: those of most SAs are the same.
#[derive(Default)]
struct ProposalLabels {
    encryption: SharedLabels,
    integrity: SharedLabels,
    dh_group: SharedLabels,
}

impl ProposalLabels {
    fn set(&mut self, proposal: &Proposal<'_>) {
        self.encryption.set_usual(name!("algorithm"), proposal.encryption);
        self.integrity.set_usual(name!("algorithm"), proposal.integrity);
        if let Some(group) = proposal.dh_group {
            self.dh_group.set_usual(name!("dh_group"), group);
        }
    }
}

/// Writes the key exchange of an SA, where it has one.
fn dh_group(proposal: &Proposal<'_>, labels: &ProposalLabels, out: &mut LabelValue<'_>) {
    if proposal.dh_group.is_some() {
        out.shared(&labels.dh_group);
    }
}

struct Ike;

impl Table for Ike {
    type Row<'a> = IkeRow<'a>;
    const LABELS: &'static [Label<Self>] = &[shared(name!("name"), &["uniqueid"], |row, out| out.shared(row.labels))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_ike_children", "Number of CHILD_SAs of the IKE_SA.", Merge::Sum, |row| {
            Some(row.children.into())
        }),
        gauge("strongswan_ike_established_second", "Seconds since the IKE_SA was established.", Merge::First, |row| {
            row.ike.established.map(Value::from)
        }),
        gauge("strongswan_ike_initiator", "1 if this side initiated the IKE_SA, else 0.", Merge::First, |row| {
            Some(row.ike.initiator.into())
        }),
        gauge(
            "strongswan_ike_nat_fake",
            "1 if a NAT is faked to force UDP encapsulation, else 0.",
            Merge::First,
            |row| Some(row.ike.nat_fake.into()),
        ),
        gauge("strongswan_ike_nat_remote", "1 if the peer is behind a NAT, else 0.", Merge::First, |row| {
            Some(row.ike.nat_remote.into())
        }),
        gauge("strongswan_ike_reauth_second", "Seconds until the IKE_SA is reauthenticated.", Merge::First, |row| {
            row.ike.reauth_time.map(Value::from)
        }),
        gauge("strongswan_ike_rekey_second", "Seconds until the IKE_SA is rekeyed.", Merge::First, |row| {
            row.ike.rekey_time.map(Value::from)
        }),
        gauge(
            "strongswan_ike_state",
            "1 if the IKE_SA is up (ESTABLISHED or REKEYING), else 0.",
            Merge::Lowest,
            |row| Some(row.ike.is_up().into()),
        ),
        gauge("strongswan_ike_version", "IKE version of the IKE_SA.", Merge::First, |row| {
            row.ike.version.map(Value::from)
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Sas);
}

struct IkeEncryption;

impl Table for IkeEncryption {
    type Row<'a> = IkeRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("algorithm"), &[], |row, out| out.shared(&row.proposal.encryption)),
        shared(name!("dh_group"), &[], |row, out| dh_group(&row.ike.proposal, row.proposal, out)),
        shared(name!("name"), &["uniqueid"], |row, out| out.shared(row.labels)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_ike_encryption_keysize",
        "Key size of the IKE_SA's encryption, in bits.",
        Merge::First,
        |row| Some(row.ike.proposal.encryption_keysize.unwrap_or(0).into()),
    )];
    const GROUP: Option<Group> = Some(Group::Sas);
}

struct IkeIntegrity;

impl Table for IkeIntegrity {
    type Row<'a> = IkeRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("algorithm"), &[], |row, out| out.shared(&row.proposal.integrity)),
        shared(name!("dh_group"), &[], |row, out| dh_group(&row.ike.proposal, row.proposal, out)),
        shared(name!("name"), &["uniqueid"], |row, out| out.shared(row.labels)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_ike_integrity_keysize",
        "Key size of the IKE_SA's integrity algorithm, in bits; 0 where the algorithm implies it.",
        Merge::First,
        |row| Some(row.ike.proposal.integrity_keysize.unwrap_or(0).into()),
    )];
    const GROUP: Option<Group> = Some(Group::Sas);
}

/// A CHILD_SA and the IKE_SA that it belongs to.
struct ChildRow<'a> {
    child: &'a ChildSa<'a>,
    /// Its number and name.
    child_labels: &'a SharedLabels,
    /// The IKE_SA's number and name, as the rows of its CHILD_SAs have them.
    ike_labels: &'a SharedLabels,
    proposal: &'a ProposalLabels,
}

/// The families that carry the traffic selectors.
struct ChildTraffic;

impl Table for ChildTraffic {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("child_id"), &["child_name"], |row, out| out.shared(row.child_labels)),
        shared(name!("ike_id"), &["ike_name"], |row, out| out.shared(row.ike_labels)),
        label(name!("localTS"), |row, out| out.joined(row.child.local_ts, ";")),
        label(name!("remoteTS"), |row, out| out.addresses(row.child.remote_ts, ";")),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_sa_bytes_inbound", "Bytes received through the CHILD_SA.", Merge::Sum, |row| {
            row.child.bytes_in.map(Value::from)
        }),
        gauge("strongswan_sa_bytes_outbound", "Bytes sent through the CHILD_SA.", Merge::Sum, |row| {
            row.child.bytes_out.map(Value::from)
        }),
        gauge("strongswan_sa_last_inbound_seconds", "Seconds since the last packet came in.", Merge::First, |row| {
            row.child.use_in.map(Value::from)
        }),
        gauge("strongswan_sa_last_outbound_seconds", "Seconds since the last packet went out.", Merge::First, |row| {
            row.child.use_out.map(Value::from)
        }),
        gauge("strongswan_sa_packets_inbound", "Packets received through the CHILD_SA.", Merge::Sum, |row| {
            row.child.packets_in.map(Value::from)
        }),
        gauge("strongswan_sa_packets_outbound", "Packets sent through the CHILD_SA.", Merge::Sum, |row| {
            row.child.packets_out.map(Value::from)
        }),
        gauge(
            "strongswan_sa_state",
            "1 if the CHILD_SA carries traffic (INSTALLED, UPDATING or REKEYING), else 0.",
            Merge::Lowest,
            |row| Some(row.child.is_up().into()),
        ),
    ];
    const GROUP: Option<Group> = Some(Group::Sas);
}

/// The families that don't.
struct Child;

impl Table for Child {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("child_id"), &["child_name"], |row, out| out.shared(row.child_labels)),
        shared(name!("ike_id"), &["ike_name"], |row, out| out.shared(row.ike_labels)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_sa_encap", "1 if the CHILD_SA's ESP is encapsulated in UDP, else 0.", Merge::First, |row| {
            Some(row.child.encap.into())
        }),
        gauge("strongswan_sa_established_second", "Seconds since the CHILD_SA was installed.", Merge::First, |row| {
            row.child.install_time.map(Value::from)
        }),
        gauge("strongswan_sa_lifetime_second", "Seconds until the CHILD_SA ends.", Merge::First, |row| {
            row.child.life_time.map(Value::from)
        }),
        gauge("strongswan_sa_rekey_second", "Seconds until the CHILD_SA is rekeyed.", Merge::First, |row| {
            row.child.rekey_time.map(Value::from)
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Sas);
}

struct ChildEncryption;

impl Table for ChildEncryption {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("algorithm"), &[], |row, out| out.shared(&row.proposal.encryption)),
        shared(name!("child_id"), &["child_name"], |row, out| out.shared(row.child_labels)),
        shared(name!("dh_group"), &[], |row, out| dh_group(&row.child.proposal, row.proposal, out)),
        shared(name!("ike_id"), &["ike_name"], |row, out| out.shared(row.ike_labels)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_sa_encryption_keysize",
        "Key size of the CHILD_SA's encryption, in bits.",
        Merge::First,
        |row| Some(row.child.proposal.encryption_keysize.unwrap_or(0).into()),
    )];
    const GROUP: Option<Group> = Some(Group::Sas);
}

struct ChildIntegrity;

impl Table for ChildIntegrity {
    type Row<'a> = ChildRow<'a>;
    const LABELS: &'static [Label<Self>] = &[
        shared(name!("algorithm"), &[], |row, out| out.shared(&row.proposal.integrity)),
        shared(name!("child_id"), &["child_name"], |row, out| out.shared(row.child_labels)),
        shared(name!("dh_group"), &[], |row, out| dh_group(&row.child.proposal, row.proposal, out)),
        shared(name!("ike_id"), &["ike_name"], |row, out| out.shared(row.ike_labels)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_sa_integrity_keysize",
        "Key size of the CHILD_SA's integrity algorithm, in bits; 0 where the algorithm implies it.",
        Merge::First,
        |row| Some(row.child.proposal.integrity_keysize.unwrap_or(0).into()),
    )];
    const GROUP: Option<Group> = Some(Group::Sas);
}

struct Tunnel;

impl Table for Tunnel {
    type Row<'a> = (Text<'a>, Text<'a>, bool);
    const LABELS: &'static [Label<Self>] =
        &[label(name!("child"), |row, out| out.text(row.1)), label(name!("connection"), |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_tunnel_up",
        "1 if the configured child has a CHILD_SA that carries traffic, or is an installed shunt; 0 if it has none. Absent for children whose peer is anybody, for shunts that are not installed, and while it is not known.",
        Merge::Highest,
        |row| Some(row.2.into()),
    )];
}

struct Trap;

impl Table for Trap {
    type Row<'a> = (Text<'a>, Text<'a>);
    const LABELS: &'static [Label<Self>] =
        &[label(name!("child"), |row, out| out.text(row.1)), label(name!("connection"), |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_tunnel_trap_installed",
        "1 for a child with an installed trap policy, which brings it up when there is traffic; other children have no sample.",
        Merge::Highest,
        |_| Some(1u64.into()),
    )];
}

struct Daemon;

impl Table for Daemon {
    type Row<'a> = (Stats, Option<i64>);
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_half_open_ike_sas", "Number of IKE_SAs that are not established yet.", Merge::First, |row| {
            row.0.half_open.map(Value::from)
        }),
        gauge("strongswan_jobs_scheduled", "Number of jobs scheduled for later.", Merge::First, |row| {
            row.0.scheduled.map(Value::from)
        }),
        gauge("strongswan_start_time_seconds", "Unix time at which charon started, in seconds.", Merge::First, |row| {
            row.1.map(Value::from)
        }),
        gauge("strongswan_worker_threads", "Number of charon's worker threads.", Merge::First, |row| {
            row.0.workers.map(Value::from)
        }),
        gauge("strongswan_worker_threads_idle", "Number of worker threads that wait for a job.", Merge::First, |row| {
            row.0.idle.map(Value::from)
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Daemons);
}

struct Jobs;

impl Table for Jobs {
    type Row<'a> = (&'a str, Option<u64>, Option<u64>);
    const LABELS: &'static [Label<Self>] = &[label(name!("priority"), |row, out| out.text(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("strongswan_jobs_queued", "Number of jobs that wait for a worker thread.", Merge::First, |row| {
            row.2.map(Value::from)
        }),
        gauge("strongswan_worker_threads_active", "Number of worker threads that run a job.", Merge::First, |row| {
            row.1.map(Value::from)
        }),
    ];
    const GROUP: Option<Group> = Some(Group::Daemons);
}

struct PoolSize;

impl Table for PoolSize {
    type Row<'a> = Pool<'a>;
    const LABELS: &'static [Label<Self>] = &[label(name!("pool"), |pool, out| out.text(pool.name))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("strongswan_pool_addresses", "Number of addresses in the pool.", Merge::First, |pool| {
            pool.size.map(Value::from)
        })];
    const GROUP: Option<Group> = Some(Group::Pools);
}

struct Leases;

impl Table for Leases {
    type Row<'a> = (Text<'a>, &'static str, Option<u64>);
    const LABELS: &'static [Label<Self>] =
        &[label(name!("pool"), |row, out| out.text(row.0)), label(name!("state"), |row, out| out.text(row.1.into()))];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "strongswan_pool_leases",
        "Number of the pool's leases in use (online) or reserved for disconnected clients (offline).",
        Merge::First,
        |row| row.2.map(Value::from),
    )];
    const GROUP: Option<Group> = Some(Group::Pools);
}

struct Events;

impl Table for Events {
    type Row<'a> = Event<'a>;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("connection"), |event, out| out.maybe(event.connection)),
        label(name!("event"), |event, out| out.text(event.name)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[counter(
        "strongswan_ike_events_total",
        "Number of IKE messages and events; without the label connection, of all connections.",
        |event| Some(event.count.into()),
    )];
    const GROUP: Option<Group> = Some(Group::Events);
}

/// A certificate that charon has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// `ca`, `end-entity`, `aa` or `ocsp`.
    pub kind: &'static str,
    /// Whether it may be a peer's: then it names a client.
    pub is_peers: bool,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Whom it is for.
    pub subject: String,
    /// Unix time from which it is valid.
    pub not_before: Option<i64>,
    /// Unix time until which it is valid.
    pub not_after: Option<i64>,
}

impl Certified {
    /// Writes what tells whose it is.
    fn name(&self, name: &str, out: &mut LabelValue<'_>) {
        if self.is_peers { out.identity(name.into()) } else { out.text(name.into()) }
    }
}

impl Table for Certified {
    type Row<'a> = &'a Self;
    const LABELS: &'static [Label<Self>] = &[
        label(name!("kind"), |row, out| out.text(row.kind.into())),
        label(name!("serial"), |row, out| row.name(&row.serial, out)),
        label(name!("subject"), |row, out| row.name(&row.subject, out)),
    ];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "strongswan_certificate_not_after_timestamp_seconds",
            "Unix time until which the certificate is valid, in seconds.",
            Merge::Lowest,
            |row| row.not_after.map(Value::from),
        ),
        gauge(
            "strongswan_certificate_not_before_timestamp_seconds",
            "Unix time from which the certificate is valid, in seconds.",
            Merge::Highest,
            |row| row.not_before.map(Value::from),
        ),
    ];
    const GROUP: Option<Group> = Some(Group::Certificates);
}

/// What is watched of it.
pub const WATCHED: &[Watched] = &[
    Watched {
        family: "strongswan_tunnel_up",
        kind: "tunnel",
        labels: &["connection", "child"],
        beside: Some("strongswan_tunnel_trap_installed"),
        judge: |tunnel| match tunnel.value {
            0 if tunnel.beside() == Some(1) => Some((Severity::Ok, WAITING.into())),
            _ => up_or_down(tunnel),
        },
        fix: "swanctl --initiate --child NAME says what the peer answers",
        traffic: Some(["strongswan_tunnel_bytes_in_total", "strongswan_tunnel_bytes_out_total"]),
        ..Watched::PLAIN
    },
    Watched {
        family: "strongswan_pool_leases",
        kind: "pool",
        labels: &["pool"],
        only: Some(("state", "online")),
        beside: Some("strongswan_pool_addresses"),
        judge: |pool| {
            let (used, size) = (pool.value, pool.beside().filter(|size| *size > 0)?);
            let is_full = used.saturating_mul(10) > size.saturating_mul(9);
            let severity = if is_full { Severity::Warning } else { Severity::Ok };
            Some((severity, format!("{used} of {size} addresses in use").into()))
        },
        fix: "swanctl --list-pools --leases lists who has them; make the pool larger",
        ..Watched::PLAIN
    },
    // A certificate that has a newer one of its subject beside it counts no more.
    Watched {
        family: "strongswan_certificate_not_after_timestamp_seconds",
        kind: "certificate",
        labels: &["kind", "subject"],
        beside: Some("strongswan_certificate_not_after_timestamp_seconds"),
        judge: |certificate| {
            if certificate.beside() > Some(certificate.value) {
                return None;
            }
            let days = certificate.value.saturating_sub(certificate.now).div_euclid(DAY);
            let severity = if days < WARNING_DAYS { Severity::Warning } else { Severity::Ok };
            let message = if days < 0 { "has ended".into() } else { format!("ends in {days} days").into() };
            Some((severity, message))
        },
        fix: "renew it, then swanctl --load-creds",
        ..Watched::PLAIN
    },
];

/// A day, in seconds.
const DAY: i64 = 86_400;

/// How many days before its end a certificate needs attention.
const WARNING_DAYS: i64 = 30;

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[
    table::<Probe>(),
    table::<Info>(),
    table::<Count>(),
    table::<Known>(),
    table::<Client>(),
    table::<TunnelTraffic>(),
    table::<ConnectionSessions>(),
    table::<Ike>(),
    table::<IkeEncryption>(),
    table::<IkeIntegrity>(),
    table::<ChildTraffic>(),
    table::<Child>(),
    table::<ChildEncryption>(),
    table::<ChildIntegrity>(),
    table::<Tunnel>(),
    table::<Trap>(),
    table::<Daemon>(),
    table::<Jobs>(),
    table::<PoolSize>(),
    table::<Leases>(),
    table::<Events>(),
    table::<Certified>(),
];

/// Exposes the totals of clients and tunnels.
pub fn expose_totals(totals: &SaTotals, out: &mut Exposition) {
    for row in totals.clients() {
        out.add_row::<Client>(&row, true);
    }
    for row in totals.tunnels() {
        out.add_row::<TunnelTraffic>(&row, true);
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
pub fn expose_count(count: &Count, out: &mut Exposition) {
    out.add::<Count>(count);
}

/// Exposes what is loaded and which of it is up.
pub fn expose_configured(configured: &Configured, out: &mut Exposition) {
    out.add::<Known>(&configured.known);
    for connection in configured.connections() {
        if let Some(sessions) = connection.sessions {
            out.add::<ConnectionSessions>(&(Text::new(&connection.name), sessions));
        }
    }
    for (connection, child) in configured.children() {
        let (connection, name) = (Text::new(connection), Text::new(&child.name));
        if let Some(is_up) = child.is_up() {
            out.add::<Tunnel>(&(connection, name, is_up));
        }
        if child.is_trapped() {
            out.add::<Trap>(&(connection, name));
        }
    }
}

/// Exposes what charon says of itself, and the unix time at which it started.
pub fn expose_stats(stats: &Stats, started: Option<i64>, out: &mut Exposition) {
    out.add::<Daemon>(&(*stats, started));
    for (priority, (active, queued)) in PRIORITIES.iter().zip(stats.active.iter().zip(stats.queued)) {
        out.add::<Jobs>(&(priority, *active, queued));
    }
}

/// Exposes a pool of virtual addresses.
pub fn expose_pool(pool: &Pool<'_>, out: &mut Exposition) {
    out.add::<PoolSize>(pool);
    out.add::<Leases>(&(pool.name, "online", pool.online));
    out.add::<Leases>(&(pool.name, "offline", pool.offline));
}

/// Exposes how often something happened.
pub fn expose_event(event: &Event<'_>, out: &mut Exposition) {
    out.add::<Events>(event);
}

/// Exposes a certificate; one that charon has twice is one.
pub fn expose_certificate(certificate: &Certified, out: &mut Exposition) {
    out.add::<Certified>(&certificate);
}

/// One list of all IKE_SAs: what it exposes, and what it counts.
#[derive(Default)]
pub struct Listing {
    /// The samples of its SAs.
    pub out: Exposition,
    /// Established IKE_SAs.
    pub up: u64,
    /// The same of each connection, by its position.
    pub sessions: Vec<u64>,
    children: NumberSet,
    labels: Labels,
}

/// The labels of the current IKE_SA and CHILD_SA, in memory that the next ones use, too.
#[derive(Default)]
struct Labels {
    ike: SharedLabels,
    ike_of_child: SharedLabels,
    child: SharedLabels,
    ike_proposal: ProposalLabels,
    child_proposal: ProposalLabels,
}

impl Listing {
    /// A list that nothing was seen of, with samples on the options of `out`, and probably so many SAs.
    pub fn like(out: &Exposition, expected: usize) -> Self {
        let mut children = NumberSet::default();
        children.reserve(expected);
        Self { out: out.like().expecting(expected), children, ..Self::default() }
    }

    /// Counts one IKE_SA, records the traffic of its CHILD_SAs, and exposes them. One that an unauthenticated peer began is
    /// left out: `strongswan_half_open_ike_sas` counts it.
    pub fn record(&mut self, ike: &IkeSa<'_>, time: ScrapeTime, configured: &mut Configured, totals: &mut SaTotals) {
        if ike.is_unauthenticated() {
            return;
        }
        let connection = configured.connection_of(ike);
        if ike.is_up() {
            self.count(connection);
        }
        let Labels { ike: ike_labels, ike_of_child, child: child_labels, ike_proposal, child_proposal } =
            &mut self.labels;
        ike_labels.set(&[(name!("name"), ike.name), (name!("uniqueid"), ike.unique_id)]);
        ike_of_child.set(&[(name!("ike_id"), ike.unique_id), (name!("ike_name"), ike.name)]);
        let mut children: u64 = 0;
        ike.for_each_child(&mut |child| {
            children = children.saturating_add(1);
            configured.record(connection, child, time.instant);
            totals.record(ike, child, time.unix);
            let is_new = child.unique_id.number().is_some_and(|number| self.children.insert(number));
            child_labels.set(&[(name!("child_id"), child.unique_id), (name!("child_name"), child.name)]);
            child_proposal.set(&child.proposal);
            let row = ChildRow { child, child_labels, ike_labels: ike_of_child, proposal: child_proposal };
            expose_child(&row, is_new, &mut self.out);
        });
        if children == 0 {
            totals.register_client(ike);
        }
        let is_new = totals.ikes.record(ike);
        ike_proposal.set(&ike.proposal);
        expose_ike(&IkeRow { ike, children, labels: ike_labels, proposal: ike_proposal }, is_new, &mut self.out);
    }

    fn count(&mut self, connection: Option<usize>) {
        self.up = self.up.saturating_add(1);
        let Some(index) = connection else { return };
        if self.sessions.len() <= index {
            self.sessions.resize(index.saturating_add(1), 0);
        }
        if let Some(count) = self.sessions.get_mut(index) {
            *count = count.saturating_add(1);
        }
    }
}

fn expose_ike(row: &IkeRow<'_>, is_new: bool, out: &mut Exposition) {
    out.add_row::<Ike>(row, is_new);
    if !row.ike.proposal.encryption.is_empty() {
        out.add_row::<IkeEncryption>(row, is_new);
    }
    if !row.ike.proposal.integrity.is_empty() {
        out.add_row::<IkeIntegrity>(row, is_new);
    }
}

fn expose_child(row: &ChildRow<'_>, is_new: bool, out: &mut Exposition) {
    out.add_row::<ChildTraffic>(row, is_new);
    out.add_row::<Child>(row, is_new);
    if !row.child.proposal.encryption.is_empty() {
        out.add_row::<ChildEncryption>(row, is_new);
    }
    if !row.child.proposal.integrity.is_empty() {
        out.add_row::<ChildIntegrity>(row, is_new);
    }
}
