//! Writes the text of an exposition piece by piece, while it is sent.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::Exposition;
use super::rows::Rows;
use super::table::FamilyInfo;
use super::values::Value;

/// The room of an [`Encoder`] for text, in bytes; it writes until [`CHUNK`] of it are used.
const ROOM: usize = 64 * 1024;
const CHUNK: usize = ROOM - 4096;

/// How many families there usually are at most.
const MOST_FAMILIES: usize = 128;

/// The most bytes that a name has, with the end of a line before it; a longer one takes longer.
const USUAL_NAME: usize = 48;

/// A reader that produces the text of expositions.
pub struct Encoder {
    tables: Tables,
    blocks: Vec<Block>,
    block: usize,
    row: usize,
    ready: Vec<u8>,
    taken: usize,
}

/// One family in the text: a column of one table, or the merged columns of several tables, as the one column of a new table.
enum Block {
    Column(Column),
    Merged(&'static FamilyInfo, Rows),
}

/// A column of a table of a part.
#[derive(Clone, Copy)]
struct Column {
    info: &'static FamilyInfo,
    part: usize,
    table: usize,
    column: usize,
}

/// The tables of all parts. Other encoders may read the same parts.
struct Tables(Vec<Arc<Exposition>>);

impl Tables {
    /// The columns that have a value.
    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::with_capacity(MOST_FAMILIES);
        for (part, exposition) in self.0.iter().enumerate() {
            for (table, rows) in exposition.tables.iter().enumerate() {
                for column in 0..rows.families {
                    let has_value = rows.column(column, 0).any(|(_, value)| value.is_some());
                    if let Some(info) = rows.table_info.family(column).filter(|_| has_value) {
                        columns.push(Column { info, part, table, column });
                    }
                }
            }
        }
        columns
    }

    fn rows(&self, column: Column) -> Option<&Rows> {
        self.0.get(column.part)?.tables.get(column.table)
    }
}

impl Encoder {
    pub(super) fn new(parts: Vec<Arc<Exposition>>) -> Self {
        let tables = Tables(parts);
        Self { blocks: blocks(&tables), tables, block: 0, row: 0, ready: Vec::with_capacity(ROOM), taken: 0 }
    }

    /// Whether nothing follows what is in the buffer.
    pub fn is_last(&self) -> bool {
        self.block >= self.blocks.len()
    }

    /// Fills the buffer with the next chunk.
    fn refill(&mut self) {
        // On the stack while it is filled: there its length takes no way through the encoder.
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.taken = 0;
        while let Some(block) = self.blocks.get(self.block).filter(|_| ready.len() < CHUNK) {
            match write_block(&self.tables, block, self.row, &mut ready) {
                Some(next) => self.row = next,
                None => (self.block, self.row) = (self.block.saturating_add(1), 0),
            }
        }
        self.ready = ready;
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
    let mut columns = tables.columns();
    // Columns of one name stay in the order of their tables.
    columns.sort_by_key(|column| column.info.name);
    let mut blocks = Vec::with_capacity(columns.len());
    for same in columns.chunk_by(|one, next| one.info.name == next.info.name) {
        blocks.extend(block(tables, same));
    }
    blocks
}

/// The block of columns of one name.
fn block(tables: &Tables, columns: &[Column]) -> Option<Block> {
    let [Column { info, .. }, more @ ..] = columns else { return None };
    if more.is_empty() {
        return columns.first().copied().map(Block::Column);
    }
    let mut merged = tables.rows(*columns.first()?)?.merged();
    for column in columns {
        let Some(rows) = tables.rows(*column) else { continue };
        for (labels, value) in rows.column(column.column, 0) {
            if let Some(value) = value {
                merged.add_sample(column.info.merge, labels, value);
            }
        }
    }
    Some(Block::Merged(info, merged))
}

/// Writes a block from row `from` on, with the family's header before the first row, until a chunk is full; returns the
/// row to continue with, if any.
fn write_block(tables: &Tables, block: &Block, from: usize, out: &mut Vec<u8>) -> Option<usize> {
    let (info, rows, column) = match block {
        Block::Column(column) => (column.info, tables.rows(*column)?, column.column),
        Block::Merged(info, rows) => (*info, rows, 0),
    };
    if from == 0 {
        write_header(info, out);
    }
    let written = write_samples(&Begin::of(info.name), rows, column, from, out);
    if out.len() >= CHUNK {
        return Some(from.saturating_add(written));
    }
    out.push(b'\n');
    None
}

/// Writes the samples of a column from row `from` on, until a chunk is full; returns how many rows these are. A function of its
/// own has registers for its variables.
#[inline(never)]
fn write_samples(begin: &Begin<'_>, rows: &Rows, column: usize, from: usize, out: &mut Vec<u8>) -> usize {
    let mut ready = std::mem::take(out);
    let mut count = 0usize;
    for (labels, value) in rows.cells(column, from) {
        count = count.wrapping_add(1);
        if let Some(number) = value.whole() {
            begin.write(&mut ready);
            ready.extend_from_slice(labels);
            // One digit, as states and versions have, is no number to be formatted.
            if number < 10 {
                ready.extend_from_slice(&[b' ', b'0' | number as u8]);
            } else {
                ready.push(b' ');
                write_digits(number, &mut ready);
            }
        } else if let Some(value) = rows.value(value) {
            begin.write(&mut ready);
            ready.extend_from_slice(labels);
            ready.push(b' ');
            write_value(value, &mut ready);
        }
        // After one at least, also where the header filled the chunk: it is written where no row is yet.
        if ready.len() >= CHUNK {
            break;
        }
    }
    *out = ready;
    count
}

/// How each line of a family begins: with the end of the line before it, and the family's name.
struct Begin<'a> {
    name: &'a str,
    padded: [u8; USUAL_NAME],
}

impl<'a> Begin<'a> {
    fn of(name: &'a str) -> Self {
        let mut padded = [b'\n'; USUAL_NAME];
        for (to, byte) in padded.iter_mut().skip(1).zip(name.as_bytes()) {
            *to = *byte;
        }
        Self { name, padded }
    }

    /// To copy as many bytes each time and forget those behind the name takes a third of what copying just the name does.
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        if self.name.len() < USUAL_NAME {
            let end = out.len().saturating_add(self.name.len()).saturating_add(1);
            out.extend_from_slice(&self.padded);
            out.truncate(end);
        } else {
            out.push(b'\n');
            out.extend_from_slice(self.name.as_bytes());
        }
    }
}

/// Writes a value.
fn write_value(value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Whole(number) => write_digits(number, out),
        Value::Below(number) => {
            out.push(b'-');
            write_digits(number.unsigned_abs(), out);
        }
        Value::Billionths(number) => write_decimal(number, out),
    }
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

/// Writes the lines before a family's samples; the next one ends the last of them.
fn write_header(info: &FamilyInfo, out: &mut Vec<u8>) {
    for piece in ["# HELP ", info.name, " ", info.help, "\n# TYPE ", info.name, " ", info.kind.word()] {
        out.extend_from_slice(piece.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Family, Label, Merge, Table, gauge, label, name};
    use super::*;

    struct Wide;

    impl Table for Wide {
        type Row<'a> = &'a str;
        const LABELS: &'static [Label<Self>] = &[label(name!("a"), |row, out| out.text((*row).into()))];
        const FAMILIES: &'static [Family<Self>] = &[gauge("wide", "Wide.", Merge::First, |_| Some(1u64.into()))];
    }

    struct Narrow;

    impl Table for Narrow {
        type Row<'a> = ();
        const LABELS: &'static [Label<Self>] = &[];
        const FAMILIES: &'static [Family<Self>] = &[gauge("xnarrow", "Narrow.", Merge::First, |()| Some(1u64.into()))];
    }

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
            write_value(value, &mut out);
            assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_family_is_whole_wherever_a_chunk_ends() {
        for last in 400..800 {
            let mut exposition = Exposition::default();
            let mut expected = String::from("# HELP wide Wide.\n# TYPE wide gauge\n");
            for (number, width) in (0..60).map(|number| (number, 1000)).chain([(60, last)]) {
                let text = format!("{number:0>width$}");
                exposition.add::<Wide>(&text.as_str());
                expected += &format!("wide{{a=\"{text}\"}} 1\n");
            }
            assert!((CHUNK - 300..CHUNK + 300).contains(&expected.len()), "around the end of the first chunk");
            exposition.add::<Narrow>(&());
            expected += "# HELP xnarrow Narrow.\n# TYPE xnarrow gauge\nxnarrow 1\n";
            let mut text = String::new();
            exposition.encode().read_to_string(&mut text).expect("UTF-8");
            assert_eq!(text, expected, "{last}");
        }
    }

    #[test]
    fn a_name_of_any_length_is_whole() {
        for length in 1..2 * USUAL_NAME {
            let name = "n".repeat(length);
            let mut out = b"1".to_vec();
            Begin::of(&name).write(&mut out);
            assert_eq!(String::from_utf8(out), Ok(format!("1\n{name}")));
        }
    }
}
