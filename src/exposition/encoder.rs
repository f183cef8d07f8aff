//! Writes the text of an exposition piece by piece, while it is sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write as _};
use std::sync::Arc;

use super::Exposition;
use super::rows::{Rows, merge};
use super::table::{FamilyInfo, Value};

/// How much text an [`Encoder`] buffers, in bytes.
const CHUNK: usize = 64 * 1024;

/// A reader that produces the text of expositions.
pub struct Encoder {
    tables: Tables,
    blocks: Vec<Block>,
    block: usize,
    row: usize,
    ready: Vec<u8>,
    taken: usize,
}

/// One family in the text: a column of one table, or the merged columns of several tables.
enum Block {
    Column { info: &'static FamilyInfo, table: usize, column: usize },
    Merged { info: &'static FamilyInfo, samples: Vec<(Vec<u8>, Value)> },
}

/// The tables of all parts, one after the other. Other encoders may read the same parts.
struct Tables(Vec<Arc<Exposition>>);

impl Tables {
    fn iter(&self) -> impl Iterator<Item = &Rows> {
        self.0.iter().flat_map(|part| &part.tables)
    }

    fn get(&self, number: usize) -> Option<&Rows> {
        self.iter().nth(number)
    }
}

impl Encoder {
    pub(super) fn new(parts: Vec<Arc<Exposition>>) -> Self {
        let tables = Tables(parts);
        Self { blocks: blocks(&tables), tables, block: 0, row: 0, ready: Vec::new(), taken: 0 }
    }

    /// Fills the buffer with the next chunk.
    fn refill(&mut self) {
        self.ready.clear();
        self.taken = 0;
        while self.ready.len() < CHUNK {
            let Some(block) = self.blocks.get(self.block) else { return };
            match write_block(&self.tables, block, self.row, &mut self.ready) {
                Some(next) => self.row = next,
                None => (self.block, self.row) = (self.block.saturating_add(1), 0),
            }
        }
    }
}

impl BufRead for Encoder {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.ready.len() {
            self.refill();
        }
        Ok(self.ready.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count);
    }
}

impl Read for Encoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// The families sorted by name; a name that occurs in several tables becomes one merged block.
fn blocks(tables: &Tables) -> Vec<Block> {
    let mut families: BTreeMap<&'static str, Vec<Block>> = BTreeMap::new();
    for (table, rows) in tables.iter().enumerate() {
        for (column, info) in rows.families.iter().enumerate() {
            if rows.column(column, 0).any(|(_, value)| value.is_some()) {
                families.entry(info.name).or_default().push(Block::Column { info, table, column });
            }
        }
    }
    families.into_values().filter_map(|columns| merge_columns(tables, columns)).collect()
}

fn merge_columns(tables: &Tables, mut columns: Vec<Block>) -> Option<Block> {
    if columns.len() == 1 {
        return columns.pop();
    }
    let mut first = None;
    let mut samples: Vec<(Vec<u8>, Value)> = Vec::new();
    for block in &columns {
        let Block::Column { info, table, column } = block else { continue };
        let info = *first.get_or_insert(*info);
        let Some(rows) = tables.get(*table) else { continue };
        for (labels, value) in rows.column(*column, 0) {
            let Some(value) = value else { continue };
            match samples.iter_mut().find(|(seen, _)| seen == labels) {
                Some((_, old)) => *old = merge(info.merge, Some(*old), Some(value)).unwrap_or(value),
                None => samples.push((labels.to_vec(), value)),
            }
        }
    }
    Some(Block::Merged { info: first?, samples })
}

/// Writes a block from row `from` on, with the family's header before the first row, until a chunk is full; returns the
/// row to continue with, if any.
fn write_block(tables: &Tables, block: &Block, from: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (Block::Column { info, .. } | Block::Merged { info, .. }) = block;
    if from == 0 {
        write_header(info, out);
    }
    let mut next = from;
    let mut write = |labels: &[u8], value: Option<Value>| {
        if let Some(value) = value {
            write_sample(info.name, labels, value, out);
        }
        next = next.saturating_add(1);
        out.len() >= CHUNK
    };
    let is_full = match block {
        Block::Column { table, column, .. } => {
            tables.get(*table)?.column(*column, from).any(|(labels, value)| write(labels, value))
        }
        Block::Merged { samples, .. } => samples.iter().skip(from).any(|(labels, value)| write(labels, Some(*value))),
    };
    is_full.then_some(next)
}

fn write_sample(name: &str, labels: &[u8], value: Value, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(labels);
    out.push(b' ');
    match value {
        Value::Whole(number) => write_digits(number, out),
        Value::Below(number) => {
            out.push(b'-');
            write_digits(number.unsigned_abs(), out);
        }
        Value::Billionths(number) => write_decimal(number, out),
    }
    out.push(b'\n');
}

/// `write!` would take four times as many instructions for each sample.
fn write_digits(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn write_decimal(billionths: i64, out: &mut Vec<u8>) {
    const EACH: u64 = 1_000_000_000;
    if billionths < 0 {
        out.push(b'-');
    }
    write_digits(billionths.unsigned_abs() / EACH, out);
    let mut rest = billionths.unsigned_abs() % EACH;
    if rest > 0 {
        out.push(b'.');
    }
    while rest > 0 {
        rest = rest.saturating_mul(10);
        out.push(b'0' | (rest / EACH) as u8);
        rest %= EACH;
    }
}

fn write_header(info: &FamilyInfo, out: &mut Vec<u8>) {
    let kind = info.kind.word();
    let help = info.help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a Vec can't fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n", name = info.name);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_print_as_prometheus_reads_them() {
        for (value, expected) in [
            (Value::from(-5i64), "-5"),
            (Value::from(i64::MIN), "-9223372036854775808"),
            (Value::from(Duration::from_millis(250)), "0.25"),
            (Value::from(Duration::from_nanos(90_000_000_001)), "90.000000001"),
            (Value::from(Duration::from_secs(60)), "60"),
            (Value::from(Duration::MAX), "9223372036.854775807"),
            (Value::Billionths(-1_500_000_000), "-1.5"),
            (Value::Billionths(-1), "-0.000000001"),
            (Value::from(true), "1"),
            (Value::from(0u64), "0"),
            (Value::from(1_000_000u64), "1000000"),
            (Value::from(u64::MAX), "18446744073709551615"),
        ] {
            let mut out = Vec::new();
            write_sample("", b"", value, &mut out);
            assert_eq!(String::from_utf8(out), Ok(format!(" {expected}\n")));
        }
    }
}
