//! OpenVPN's status files, all versions, to metrics, JSON and a page.
#![no_main]

use std::path::Path;

use gateway_exporter::expo::Exposition;
use gateway_exporter::openvpn::memory::Memory;
use gateway_exporter::openvpn::metrics::{Now, Reading, expose};
use gateway_exporter::openvpn::{Protocol, sessions};
use gateway_exporter::pages::{self, Frame};
use gateway_exporter::session;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|file: &[u8]| {
    let torn = file.len() % 2 == 0;
    let path = Path::new("/run/office.status");
    let reading = Reading { server: "office", path, file: Some(file), protocol: Protocol::Udp, torn, stale_after: None };
    // What is made of the file is read from its length: one thing at a time, so that more files are tried.
    if file.len() / 2 % 2 == 0 {
        let mut out = Exposition::default();
        expose(&[reading], &mut Memory::new(10), Now { seconds: 1_795_180_825, unix: |_| None }, &mut out);
        return judge::check(out);
    }
    let mut rows = Vec::new();
    sessions::list(&reading, "gateway", &mut rows);
    if file.len() / 4 % 2 == 0 {
        session::json(&rows);
    } else {
        let frame = Frame { gateway: "gateway", version: "0", telemetry_path: "/metrics", has_sessions: true };
        pages::sessions(frame, &rows, &[], 0);
    }
});
