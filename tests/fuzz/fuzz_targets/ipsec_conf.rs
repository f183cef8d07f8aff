//! ipsec.conf: sections, defaults, `also`, quotes.
#![no_main]

use gateway_exporter::expo::Exposition;
use gateway_exporter::ipsec::conf::{self, Cursor, Place, Sections};
use gateway_exporter::ipsec::metrics;
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

fuzz_target!(|file: &[u8]| {
    let (mut sections, mut cursor) = (Sections::default(), Cursor::default());
    while let Some(statement) = conf::parse(Text::new(file), &mut cursor) {
        sections.take(&statement, Place { file: 0, line: cursor.line });
    }
    let mut out = Exposition::default();
    metrics::expose(&sections.tunnels().0, None, &mut out);
    judge::check(out);
});
