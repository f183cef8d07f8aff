//! The kernel's tables of sockets, in both byte orders, held against a few rules.
#![no_main]

use std::sync::LazyLock;

use gateway_exporter::expo::Exposition;
use gateway_exporter::kernel::{metrics as kernel_metrics, xfrm};
use gateway_exporter::sockets::{diag, metrics};
use gateway_exporter::sockets::procnet::{Endian, Table};
use gateway_exporter::sockets::watch::{Names, Rule, Spec, Tally};
use gateway_exporter::text::Text;
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |protocol: &str, srcport: Option<&str>, status: Option<&str>| {
        let text = |text: &str| Some(text.to_owned());
        let (srcport, status) = (srcport.map(str::to_owned), status.map(str::to_owned));
        Rule::new(&Spec { name: text(protocol), protocol: text(protocol), srcport, status, ..Spec::default() })
            .expect("a rule")
    };
    vec![rule("tcp", Some("22"), Some("listen")), rule("tcp6", None, Some("established")), rule("udp", None, None)]
});

fuzz_target!(|table: &[u8]| {
    assert!(diag::parse(table).count() <= table.len(), "more messages than bytes");
    if let Some(errors) = xfrm::parse(Text::new(table)) {
        let mut out = Exposition::default();
        kernel_metrics::expose(&errors, &mut out);
        judge::read(out);
    }
    for endian in [Endian::Little, Endian::Big] {
        let names = Names::new();
        let mut tally = Tally::new(&RULES, &names);
        let (mut out, lines) = (Exposition::default(), table.split(|byte| *byte == b'\n').count());
        for kind in Table::ALL {
            let counted = tally.count(kind, table, endian);
            assert!(counted.understood.saturating_add(counted.skipped) <= lines, "more rows than lines");
        }
        tally.findings().for_each(|finding| metrics::expose(finding, &mut out));
        judge::read(out);
    }
});
