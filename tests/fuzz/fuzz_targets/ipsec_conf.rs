//! ipsec.conf: sections, defaults, `also`, quotes.
#![no_main]

use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::conf::{self, Cursor, Location, Sections};
use gateway_exporter::ipsec::kind::Dialect;
use gateway_exporter::ipsec::metrics;
use gateway_exporter::ipsec::sas::Status;
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|file: &[u8]| {
    for dialect in [Dialect::StrongSwan, Dialect::Libreswan4, Dialect::Libreswan5] {
        let (mut sections, mut cursor) = (Sections::new(dialect), Cursor::default());
        while let Some(statement) = conf::parse(Text::new(file), &mut cursor, dialect) {
            sections.take(&statement, Location { file: 0, line: cursor.line });
        }
        let mut out = Exposition::default();
        metrics::expose(&sections.tunnels().0, Some(&Status { dialect, ..Status::default() }), &mut out);
        judge::check(out);
    }
});
