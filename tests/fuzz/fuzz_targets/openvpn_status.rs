//! OpenVPN's status files, all versions, to metrics, JSON and a page.
#![no_main]

use std::path::Path;

use gateway_exporter::exposition::Exposition;
use gateway_exporter::openvpn::metrics::{Asked, Reading, expose};
use gateway_exporter::openvpn::staleness::Now;
use gateway_exporter::openvpn::totals::ClientTotals;
use gateway_exporter::openvpn::{Protocol, sessions};
use gateway_exporter::pages::{self, Frame};
use gateway_exporter::session;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|file: &[u8]| {
    let length = file.len();
    let torn = length % 2 == 0;
    let path = Path::new("/run/office.status");
    let now = Now { seconds: 1_795_180_825, unix: |_| None, local: |_| None };
    let protocol = Protocol::Udp;
    let modified = (length / 8 % 2 == 0).then_some(1_795_180_820);
    let file = Some(file);
    let (server, is_gone, lines, stale_after, asked) = ("office", false, None, None, Asked::No);
    let reading = Reading { server, path, modified, is_gone, file, lines, protocol, torn, stale_after, asked };
    let mut totals = ClientTotals::new(10);
    // What is made of the file is read from its length: one subject at a time, so that more files are tried.
    if length / 2 % 2 == 0 {
        let mut out = Exposition::default();
        expose(&[reading], &mut totals, now, &mut out);
        return judge::check(out);
    }
    let mut rows = Vec::new();
    let document = reading.document();
    if let Some(times) = reading.times(&document, &mut totals.files, now) {
        sessions::list(&reading, document, times, now, "gateway", &mut rows);
    }
    if length / 4 % 2 == 0 {
        let (mut rows, mut out) = (rows.into_iter(), Vec::new());
        let mut write = session::json_writer(|| rows.next());
        while write(&mut out) {}
    } else {
        let frame = Frame { gateway: "gateway", version: "0", telemetry_path: "/metrics", has_sessions: true, filter: "" };
        let (mut page, _) = pages::around_sessions(frame, rows.len(), &[], 0);
        let filter = pages::Filter::default();
        for row in &rows {
            pages::write_session(row, "openvpn", Some(1), &filter, &mut page);
        }
    }
});
