//! Any label values and numbers: what is written, a naive reader reads back.
#![no_main]

use std::collections::BTreeMap;

use gateway_exporter::exposition::{Exposition, Family, Label, LabelName, Merge, Table, Value, counter, gauge, label};
use gateway_exporter::text::{Text, is_disruptive};
use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

const A: LabelName = LabelName::of(",a=\"");
const B: LabelName = LabelName::of(",b=\"");

struct Any;

impl Table for Any {
    type Row<'a> = (Text<'a>, Text<'a>, u64);
    const LABELS: &'static [Label<Self>] =
        &[label(A, |row, out| out.text(row.0)), label(B, |row, out| out.text(row.1))];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("any_total", "Any.", |row| Some(Value::Whole(row.2))),
        gauge("any_value", "Any.", Merge::First, |row| Some(Value::Billionths(row.2.cast_signed()))),
    ];
}

fuzz_target!(|rows: Vec<(Vec<u8>, Vec<u8>, u64)>| {
    let (mut out, mut sums) = (Exposition::default(), BTreeMap::<(String, String), u64>::new());
    for (a, b, number) in &rows {
        out.add::<Any>(&(Text::new(a), Text::new(b), *number));
        let sum = sums.entry((Text::new(a).to_string(), Text::new(b).to_string())).or_default();
        *sum = sum.saturating_add(*number);
    }
    let value = |sample: &judge::reader::Sample, name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let read = judge::read(out);
    let said: BTreeMap<_, _> = read
        .iter()
        .filter(|sample| sample.name == "any_total")
        .map(|sample| ((value(sample, "a"), value(sample, "b")), sample.value.parse().expect("a number")))
        .collect();
    // What would disturb a terminal is replaced, and what is long is cut: then two names may become one.
    let plain = |bytes: &[u8]| {
        let text = Text::new(bytes).to_string();
        text.len() <= 1000 && !text.chars().any(|c| is_disruptive(c) && !matches!(c, '\n' | '\t'))
    };
    if rows.iter().all(|(a, b, _)| plain(a) && plain(b)) {
        assert_eq!(said, sums);
    }
});
