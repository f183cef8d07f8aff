//! What OpenVPN's status files mean to Prometheus.

use std::collections::HashSet;

use super::Protocol;
use super::status::{Client, Document, Entry, parse};
use crate::expo::{Exposition, Family, Label, Listed, Table, Twin, counter, describe, gauge, label};
use crate::text::Text;

/// A status file that could be read, and the protocol of its server.
pub struct Reading<'a> {
    /// The file's bytes.
    pub file: &'a [u8],
    /// What the configuration says that its clients come over.
    pub protocol: Protocol,
    /// Whether the file was caught half written, so that one session may stand in it twice.
    pub torn: bool,
}

struct Probe;

impl Table for Probe {
    type Row<'a> = (Text<'a>, bool);
    const LABELS: &'static [Label<Self>] = &[label("version", |row, out| out.text(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("probe_success", "OpenVPN Status", Twin::Lowest, |row| Some(row.1.into()))];
}

struct Info;

impl Table for Info {
    type Row<'a> = Text<'a>;
    const LABELS: &'static [Label<Self>] =
        &[label("product", |_, out| out.text("OpenVPN".into())), label("version", |version, out| out.text(*version))];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("ovpn_info", "Software info", Twin::First, |_| Some(1u64.into()))];
}

struct Sessions;

impl Table for Sessions {
    type Row<'a> = u64;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("ovpn_sessions_total", "Total number of active sessions", Twin::Sum, |count| Some((*count).into()))];
}

struct Traffic;

impl Table for Traffic {
    type Row<'a> = (Text<'a>, Protocol, Client<'a>);
    const LABELS: &'static [Label<Self>] = &[label("client", |(identity, protocol, _), out| {
        out.identity(*identity);
        out.text("_".into());
        out.text(protocol.word().into());
    })];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("ovpn_bytes_in_total", "Total number of bytes received", |row| Some(row.2.bytes_received.into())),
        counter("ovpn_bytes_out_total", "Total number of bytes sent", |row| Some(row.2.bytes_sent.into())),
    ];
}

/// What this source exposes.
pub fn catalogue() -> impl Iterator<Item = Listed> {
    describe::<Probe>().chain(describe::<Info>()).chain(describe::<Sessions>()).chain(describe::<Traffic>())
}

/// Exposes all files together: sessions of one name in several files are one client.
///
/// Where no file could be read only `probe_success 0` is said. A client that has not
/// authenticated yet is no session and has no series.
pub fn expose(readings: &[Reading<'_>], out: &mut Exposition) {
    let mut version = None;
    let mut sessions: u64 = 0;
    let mut understood = false;
    for reading in readings {
        let Document::Server(entries) = parse(reading.file) else { continue };
        understood = true;
        let mut seen = HashSet::new();
        for entry in entries {
            match entry {
                Entry::Version(text) => {
                    version.get_or_insert(text);
                    out.add::<Info>(&text);
                }
                Entry::Client(client) => {
                    let Some(identity) = client.identity() else { continue };
                    if reading.torn && !seen.insert((client.real_address, client.client_id)) {
                        continue;
                    }
                    sessions = sessions.saturating_add(1);
                    out.add::<Traffic>(&(identity, reading.protocol, client));
                }
                Entry::Route(_) | Entry::Skipped | Entry::Fragment | Entry::End => {}
            }
        }
    }
    out.add::<Probe>(&(version.unwrap_or_default(), understood));
    if understood {
        out.add::<Sessions>(&sessions);
    }
}
