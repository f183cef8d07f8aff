//! What `ipsec statusall` prints, strongSwan's and Libreswan's, held against an ipsec.conf with two tunnels.
#![no_main]

use std::sync::LazyLock;

use gateway_exporter::expo::Exposition;
use gateway_exporter::ipsec::conf::{self, Cursor, Place, Sections, Tunnel};
use gateway_exporter::ipsec::{libreswan, metrics, status};
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

static TUNNELS: LazyLock<Vec<Tunnel>> = LazyLock::new(|| {
    let file =
        Text::from("conn site\n auto=start\n right=192.0.2.1\nconn eap\n also=site\n rightauth=eap\n right=%any\n");
    let (mut sections, mut cursor) = (Sections::default(), Cursor::default());
    while let Some(statement) = conf::parse(file, &mut cursor) {
        sections.take(&statement, Place { file: 0, line: cursor.line });
    }
    sections.tunnels().0
});

fuzz_target!(|printed: &[u8]| {
    let mut out = Exposition::default();
    let text = Text::new(printed);
    let status = status::parse(text).or_else(|| libreswan::parse(text, Some(text)));
    metrics::expose(&TUNNELS, status.as_ref(), &mut out);
    judge::check(out);
});
