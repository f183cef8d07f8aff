//! The text of an exposition, written while it is sent.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write as _};

use super::rows::{Rows, settle};
use super::table::{Desc, Value};

/// How much text an [`Encoder`] keeps ready at a time.
const CHUNK: usize = 64 * 1024;

/// Writes an exposition's text piece by piece, as [`Read`] asks for it.
pub struct Encoder {
    tables: Vec<Rows>,
    blocks: Vec<Block>,
    block: usize,
    row: usize,
    ready: Vec<u8>,
    taken: usize,
}

/// One family in the text: a column of one table, or what several tables said of one name.
enum Block {
    Column { desc: &'static Desc, table: usize, column: usize },
    Merged { desc: &'static Desc, samples: Vec<(Vec<u8>, Value)> },
}

impl Encoder {
    pub(super) fn new(tables: Vec<Rows>) -> Self {
        Self { blocks: blocks(&tables), tables, block: 0, row: 0, ready: Vec::new(), taken: 0 }
    }

    /// Writes until a chunk is ready or nothing is left.
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

/// The families sorted by name; a name that stands in several tables becomes one merged block.
fn blocks(tables: &[Rows]) -> Vec<Block> {
    let mut families: BTreeMap<&'static str, Vec<Block>> = BTreeMap::new();
    for (table, rows) in tables.iter().enumerate() {
        for (column, desc) in rows.descs.iter().enumerate() {
            if rows.column(column, 0).any(|(_, value)| value.is_some()) {
                families.entry(desc.name).or_default().push(Block::Column { desc, table, column });
            }
        }
    }
    families.into_values().filter_map(|columns| merge(tables, columns)).collect()
}

fn merge(tables: &[Rows], mut columns: Vec<Block>) -> Option<Block> {
    if columns.len() == 1 {
        return columns.pop();
    }
    let mut first = None;
    let mut samples: Vec<(Vec<u8>, Value)> = Vec::new();
    for block in &columns {
        let Block::Column { desc, table, column } = block else { continue };
        let desc = *first.get_or_insert(*desc);
        let Some(rows) = tables.get(*table) else { continue };
        for (labels, value) in rows.column(*column, 0) {
            let Some(value) = value else { continue };
            match samples.iter_mut().find(|(seen, _)| seen == labels) {
                Some((_, old)) => *old = settle(desc.twin, Some(*old), Some(value)).unwrap_or(value),
                None => samples.push((labels.to_vec(), value)),
            }
        }
    }
    Some(Block::Merged { desc: first?, samples })
}

/// Writes a block from row `from` on, the family's header before the first, until a chunk is
/// full; gives the row to go on with, if there is one.
fn write_block(tables: &[Rows], block: &Block, from: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (Block::Column { desc, .. } | Block::Merged { desc, .. }) = block;
    if from == 0 {
        write_header(desc, out);
    }
    let mut next = from;
    let mut write = |labels: &[u8], value: Option<Value>| {
        if let Some(value) = value {
            write_sample(desc.name, labels, value, out);
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
    write_value(value, out);
    out.push(b'\n');
}

fn write_header(desc: &Desc, out: &mut Vec<u8>) {
    let kind = desc.kind.word();
    let help = desc.help.replace('\\', "\\\\").replace('\n', "\\n");
    // Writing to a Vec can't fail.
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n", name = desc.name);
}

fn write_value(value: Value, out: &mut Vec<u8>) {
    // Writing to a Vec can't fail.
    let _ = match value {
        Value::Whole(number) => {
            write_whole(number, out);
            Ok(())
        }
        Value::Real(number) if number.is_nan() => write!(out, "NaN"),
        Value::Real(number) if number.is_infinite() => write!(out, "{}Inf", if number > 0.0 { '+' } else { '-' }),
        Value::Real(number) => write!(out, "{number}"),
    };
}

/// Writes the digits, as `write!` would in four times as many instructions; most samples are whole.
fn write_whole(number: u64, out: &mut Vec<u8>) {
    let (mut digits, mut start, mut rest) = ([0; 20], 20usize, number);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (rest % 10) as u8;
        rest /= 10;
        start = start.saturating_sub(1);
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_prometheus_reads_them() {
        for (value, expected) in [
            (Value::from(-5i64), "-5"),
            (Value::from(0.25), "0.25"),
            (Value::from(f64::NAN), "NaN"),
            (Value::from(f64::NEG_INFINITY), "-Inf"),
            (Value::from(true), "1"),
        ] {
            let mut out = Vec::new();
            write_value(value, &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }
}
