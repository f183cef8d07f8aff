//! The kernel's tables of sockets, in one of both byte orders, held against a few rules.
#![no_main]

use std::sync::LazyLock;

use gateway_exporter::exposition::Exposition;
use gateway_exporter::kernel::{metrics as kernel_metrics, xfrm};
use gateway_exporter::netlink::ByteOrder;
use gateway_exporter::sockets::matcher::Matcher;
use gateway_exporter::sockets::procnet::Lines;
use gateway_exporter::sockets::tables::Table;
use gateway_exporter::sockets::rule::{Names, Rule, Spec};
use gateway_exporter::sockets::{diag, metrics};
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
        judge::check(out);
    }
    // Which table it is and in which byte order is read from its length: each is tried on its own, and soon.
    let Some(kind) = Table::ALL.get(table.len() / 2 % Table::ALL.len()).copied() else { return };
    let order = if table.len() % 2 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let names = Names::new();
    let mut matcher = Matcher::new(&RULES, &names);
    let lines = table.split(|byte| *byte == b'\n').count();
    let mut counted = Lines::default();
    matcher.count(kind, table, order, &mut counted);
    assert!(counted.understood.saturating_add(counted.skipped) <= lines, "more rows than lines");
    let mut out = Exposition::default();
    matcher.counts().for_each(|finding| metrics::expose(finding, &mut out));
    judge::check(out);
});
