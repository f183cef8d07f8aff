//! What `ipsec statusall` prints, strongSwan's and Libreswan's, held against an ipsec.conf with a tunnel of each kind.
#![no_main]

use std::sync::LazyLock;

use gateway_exporter::exposition::Exposition;
use gateway_exporter::ipsec::conf::{self, Cursor, Location, Sections, Tunnel};
use gateway_exporter::ipsec::kind::Dialect;
use gateway_exporter::ipsec::{libreswan, metrics, status};
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

static TUNNELS: LazyLock<Vec<Tunnel>> = LazyLock::new(|| {
    let file = Text::from(
        "conn site\n auto=start\n right=192.0.2.1\n leftsubnet=10.1.0.0/16,10.2.0.0/16\nconn eap\n also=site\n rightauth=eap\n right=%any\n\
            conn pass\n type=pass\n auto=route\nconn trap\n also=site\n auto=route\n",
    );
    let (mut sections, mut cursor) = (Sections::default(), Cursor::default());
    while let Some(statement) = conf::parse(file, &mut cursor, Dialect::StrongSwan) {
        sections.take(&statement, Location { file: 0, line: cursor.line });
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
