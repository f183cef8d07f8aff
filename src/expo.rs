//! The one writer of Prometheus text, built so that a wrong exposition can't be said.
//!
//! A [`Table`] names a label set once and, beside each family that carries it, where its
//! value comes from. A house adds rows; a row's labels are escaped and kept once for all
//! its families, and a row whose labels were seen before is merged into the first instead
//! of becoming a second series. The text itself is written while it is sent ([`Encoder`]),
//! so a scrape never holds it whole.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::num::NonZeroU32;

use crate::identities::Identities;
use crate::text::{Text, clipped, is_disruptive};

/// The Content-Type of what [`Encoder`] writes; Prometheus 3 refuses others.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How much text an [`Encoder`] keeps ready at a time.
const CHUNK: usize = 32 * 1024;

/// What a sample means to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; a fall is a restart.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// What becomes of two values for one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// Both count.
    Sum,
    /// The smaller stands: the worse of two states where 1 is good.
    Lowest,
    /// The larger stands: the worse of two states where 0 is good.
    Highest,
    /// The first stands.
    First,
}

/// A sample's value. Whole numbers are printed exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Counts and bytes.
    Whole(u64),
    /// Durations and whatever may be negative.
    Real(f64),
}

/// The name, help, kind and twin rule of one family.
#[derive(Debug)]
pub struct Desc {
    /// The family's name.
    pub name: &'static str,
    /// One line for a person.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What becomes of two values for one series.
    pub twin: Twin,
}

/// A part of the catalogue that an operator may leave out, by the word that the configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Each client's totals.
    Clients,
    /// Each configured tunnel's totals.
    Tunnels,
    /// Each IKE_SA and CHILD_SA by its number.
    Sas,
    /// Address pools and their leases.
    Pools,
    /// Certificates and how long they are valid.
    Certificates,
    /// Counters of IKE messages.
    Events,
    /// The daemons' own threads, queues and tables.
    Daemons,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Clients, Self::Tunnels, Self::Sas, Self::Pools, Self::Certificates, Self::Events, Self::Daemons];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Tunnels => "tunnels",
            Self::Sas => "sas",
            Self::Pools => "pools",
            Self::Certificates => "certificates",
            Self::Events => "events",
            Self::Daemons => "daemons",
        }
    }
}

/// A set of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups(u16);

impl Groups {
    /// The set with one more.
    #[must_use]
    pub const fn with(self, group: Group) -> Self {
        Self(self.0 | (1 << group as u16))
    }

    /// Whether a group is in it.
    pub const fn contains(self, group: Group) -> bool {
        self.0 & (1 << group as u16) != 0
    }
}

/// A family of a table: its description, and where a row keeps the value (`None`: no sample).
pub struct Family<T: Table + ?Sized> {
    desc: Desc,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
}

/// A label of a table: its name, and how a row writes the value.
pub struct Label<T: Table + ?Sized> {
    name: &'static str,
    value: for<'a> fn(&T::Row<'a>, &mut LabelValue<'_>),
}

/// One label set and the families that carry it.
pub trait Table: 'static {
    /// What one row is made from.
    type Row<'a>;
    /// The labels, sorted by name.
    const LABELS: &'static [Label<Self>];
    /// The families, sorted by name.
    const FAMILIES: &'static [Family<Self>];
    /// The part of the catalogue that it belongs to; `None` can't be left out.
    const GROUP: Option<Group> = None;
    /// Refuses bad or unsorted names at compile time.
    const CHECKED: () = check::<Self>();
}

/// A counter; two values for one series are added.
pub const fn counter<T: Table + ?Sized>(
    name: &'static str,
    help: &'static str,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
) -> Family<T> {
    Family { desc: Desc { name, help, kind: Kind::Counter, twin: Twin::Sum }, value }
}

/// A gauge; two values for one series are settled by `twin`.
pub const fn gauge<T: Table + ?Sized>(
    name: &'static str,
    help: &'static str,
    twin: Twin,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
) -> Family<T> {
    Family { desc: Desc { name, help, kind: Kind::Gauge, twin }, value }
}

/// A label; a value function that writes nothing leaves the label out.
pub const fn label<T: Table + ?Sized>(
    name: &'static str,
    value: for<'a> fn(&T::Row<'a>, &mut LabelValue<'_>),
) -> Label<T> {
    Label { name, value }
}

/// What the catalogue says of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The family's name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Its labels, sorted.
    pub labels: Vec<&'static str>,
    /// One line for a person.
    pub help: &'static str,
    /// The part of the catalogue that it belongs to; `None` can't be left out.
    pub group: Option<Group>,
}

/// What the catalogue says of a table.
pub fn describe<T: Table>() -> impl Iterator<Item = Listed> {
    let listed = |desc: &Desc| Listed {
        name: desc.name,
        kind: desc.kind,
        labels: T::LABELS.iter().map(|label| label.name).collect(),
        help: desc.help,
        group: T::GROUP,
    };
    T::FAMILIES.iter().map(move |family| listed(&family.desc))
}

/// What an operator asks of all metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// The groups that are left out.
    pub without: Groups,
    /// The most series of one source; no limit where absent.
    ///
    /// Rows that would be more are left out: those of a group and those of a client. Counts, states and what
    /// the configuration names stay.
    pub most_series: Option<usize>,
    /// What becomes of the names of clients. Where they are not shown, no family has a row of a client.
    pub identities: Identities,
}

/// Where a row writes one label's value; escapes as the format asks.
///
/// No value disturbs the terminal that it is printed on ([`is_disruptive`]), and none is longer than
/// [`crate::text::LONGEST`].
pub struct LabelValue<'w> {
    out: &'w mut Vec<u8>,
    written: bool,
    identities: Identities,
    whose: Whose,
}

/// Whom a row is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Nobody,
    Client,
    /// A client that is not to be shown.
    Hidden,
}

impl LabelValue<'_> {
    /// Writes the name of a client as the operator wants it; where it is not to be shown there will be no row.
    pub fn identity(&mut self, identity: Text<'_>) {
        self.whose = Whose::Client;
        // No copy where none is needed: what disturbs or is too long is seen to for every text.
        if self.identities == Identities::Plain {
            return self.text(identity);
        }
        match self.identities.show(identity) {
            Some(name) => self.text(name.as_str().into()),
            None => self.whose = Whose::Hidden,
        }
    }

    /// Writes the addresses of a peer with a separator between them, unless they are not to be shown.
    pub fn addresses<'a>(&mut self, addresses: impl IntoIterator<Item = Text<'a>>, separator: &str) {
        if self.identities.shows_addresses() {
            self.joined(addresses, separator);
        }
    }

    /// Writes a piece of input.
    pub fn text(&mut self, text: Text<'_>) {
        self.written = true;
        escape(text, self.out);
    }

    /// Writes a piece of input, if there is one.
    pub fn maybe(&mut self, text: Option<Text<'_>>) {
        if let Some(text) = text {
            self.text(text);
        }
    }

    /// Writes what prints.
    pub fn display(&mut self, value: impl fmt::Display) {
        self.written = true;
        // Writing to a LabelValue can't fail; a failing Display only ends early.
        let _ = write!(self, "{value}");
    }

    /// Writes pieces with a separator between them.
    pub fn joined<'a>(&mut self, parts: impl IntoIterator<Item = Text<'a>>, separator: &str) {
        for (index, part) in parts.into_iter().enumerate() {
            if index > 0 {
                self.text(separator.into());
            }
            self.text(part);
        }
    }
}

impl fmt::Write for LabelValue<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text.into());
        Ok(())
    }
}

/// The families of one scrape.
#[derive(Default)]
pub struct Exposition {
    tables: Vec<Rows>,
    hasher: RandomState,
    terms: Terms,
    series: usize,
    dropped: usize,
}

/// The rows of one table: each row's labels as text, and its values, one for each family.
struct Rows {
    table: TypeId,
    descs: Vec<&'static Desc>,
    openings: Vec<String>,
    labels: Vec<u8>,
    ends: Vec<usize>,
    values: Vec<Option<Value>>,
    index: Index,
}

/// Finds a row by the hash of its labels: open addressing, never more than half full.
///
/// Peers choose labels, so the hash is keyed (SipHash) and a row is only the same where its
/// labels are. Eight bytes a slot; with a `HashMap` of hashes a row was hashed twice.
#[derive(Default)]
struct Index {
    slots: Vec<Option<Slot>>,
    filled: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    /// The row's number and one.
    row: NonZeroU32,
}

/// Where a row's labels are looked for.
enum Place {
    /// This row has them.
    Taken(usize),
    /// None has; this is the hash of a new one.
    Free(u32),
}

impl Exposition {
    /// An exposition on these terms.
    pub fn on(terms: Terms) -> Self {
        Self { terms, ..Self::default() }
    }

    /// An exposition that leaves groups out.
    pub fn without(groups: Groups) -> Self {
        Self::on(Terms { without: groups, ..Terms::default() })
    }

    /// An exposition on the same terms, with nothing in it yet.
    #[must_use]
    pub fn like(&self) -> Self {
        let most_series = self.terms.most_series.map(|most| most.saturating_sub(self.series));
        Self::on(Terms { most_series, ..self.terms })
    }

    /// Whether a group is exposed; if not, nobody needs to ask for it.
    pub fn wants(&self, group: Group) -> bool {
        !self.terms.without.contains(group)
    }

    /// Adds a row. Where its labels were seen before, each family's twin rule settles the value.
    pub fn add<T: Table>(&mut self, row: &T::Row<'_>) {
        const { T::CHECKED };
        if T::GROUP.is_some_and(|group| !self.wants(group)) {
            return;
        }
        let id = TypeId::of::<T>();
        let at = self.tables.iter().position(|rows| rows.table == id).unwrap_or(self.tables.len());
        if at == self.tables.len() {
            self.tables.push(Rows::of::<T>());
        }
        let Some(rows) = self.tables.get_mut(at) else { return };
        let start = rows.labels.len();
        let whose = write_labels::<T>(row, &rows.openings, self.terms.identities, &mut rows.labels);
        let values = T::FAMILIES.iter().map(|family| (family.value)(row));
        let is_full = self.terms.most_series.is_some_and(|most| self.series.saturating_add(values.len()) > most);
        let may_go = T::GROUP.is_some() || whose == Whose::Client;
        let number = match rows.find(start, &self.hasher) {
            _ if whose == Whose::Hidden => None,
            Place::Free(_) if is_full && may_go => {
                self.dropped = self.dropped.saturating_add(values.clone().flatten().count());
                None
            }
            Place::Free(hash) => return self.series = self.series.saturating_add(rows.enter(hash, values)),
            Place::Taken(number) => Some(number),
        };
        rows.labels.truncate(start);
        if let Some(number) = number {
            self.series = self.series.saturating_add(rows.settle(number, values));
        }
    }

    /// Takes over what another source exposed.
    pub fn absorb(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.series = self.series.saturating_add(other.series);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// How many series stand so far.
    pub fn series(&self) -> usize {
        self.series
    }

    /// How many were left out because there would have been too many.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// How much memory it holds, in bytes, about.
    pub fn size(&self) -> usize {
        self.tables.iter().map(Rows::size).fold(0, usize::saturating_add)
    }

    /// The text, written as it is read.
    pub fn encode(self) -> Encoder {
        Encoder { blocks: blocks(&self.tables), tables: self.tables, block: 0, row: 0, ready: Vec::new(), taken: 0 }
    }
}

impl Rows {
    fn of<T: Table>() -> Self {
        Self {
            table: TypeId::of::<T>(),
            descs: T::FAMILIES.iter().map(|family| &family.desc).collect(),
            openings: openings::<T>(),
            labels: Vec::new(),
            ends: Vec::new(),
            values: Vec::new(),
            index: Index::default(),
        }
    }

    /// The row with the labels that stand at `start..` of the label text, or where it can be entered.
    fn find(&self, start: usize, hasher: &RandomState) -> Place {
        let written = self.labels.get(start..).unwrap_or_default();
        let mut hash = hasher.build_hasher();
        hash.write(written);
        // The lower half is as good as all of it.
        let hash = hash.finish() as u32;
        let twin = self.index.rows(hash).find(|number| self.labels_of(*number) == written);
        twin.map_or(Place::Free(hash), Place::Taken)
    }

    /// Makes the label text that was written last a new row, and says how many series it has.
    fn enter(&mut self, hash: u32, values: impl Iterator<Item = Option<Value>>) -> usize {
        let start = self.values.len();
        let number = self.ends.len();
        self.ends.push(self.labels.len());
        self.index.insert(hash, number);
        self.values.extend(values);
        self.values.get(start..).unwrap_or_default().iter().flatten().count()
    }

    fn size(&self) -> usize {
        let each = |count: usize, size: usize| count.saturating_mul(size);
        let index = each(self.index.slots.capacity(), size_of::<Option<Slot>>());
        let ends = each(self.ends.capacity(), size_of::<usize>());
        let values = each(self.values.capacity(), size_of::<Option<Value>>());
        self.labels.capacity().saturating_add(index).saturating_add(ends).saturating_add(values)
    }

    /// Merges values into a row, and says how many series are new.
    fn settle(&mut self, number: usize, values: impl Iterator<Item = Option<Value>>) -> usize {
        let start = number.saturating_mul(self.descs.len());
        let mut new_series = 0usize;
        let old = self.values.get_mut(start..).unwrap_or_default();
        for ((old, new), desc) in old.iter_mut().zip(values).zip(&self.descs) {
            new_series = new_series.saturating_add(usize::from(old.is_none() && new.is_some()));
            *old = settle(desc.twin, *old, new);
        }
        new_series
    }

    fn labels_of(&self, number: usize) -> &[u8] {
        let start = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(number).and_then(|end| self.labels.get(start..*end)).unwrap_or_default()
    }

    fn value(&self, number: usize, column: usize) -> Option<Value> {
        *self.values.get(number.checked_mul(self.descs.len())?.checked_add(column)?)?
    }
}

impl Index {
    /// The rows whose labels have this hash; few others of the same 32 bits are among them.
    fn rows(&self, hash: u32) -> impl Iterator<Item = usize> {
        self.places(hash)
            .map_while(|place| self.slots.get(place).copied().flatten())
            .filter(move |slot| slot.hash == hash)
            .map(|slot| slot.row.get().saturating_sub(1) as usize)
    }

    fn insert(&mut self, hash: u32, number: usize) {
        // No scrape has four thousand million rows; one that had would print twins.
        let row = u32::try_from(number).ok().and_then(|number| NonZeroU32::MIN.checked_add(number));
        let Some(row) = row else { return };
        if self.filled.saturating_mul(2) >= self.slots.len() {
            self.grow();
        }
        self.put(Slot { hash, row });
        self.filled = self.filled.saturating_add(1);
    }

    fn grow(&mut self) {
        let size = self.slots.len().saturating_mul(2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![None; size]);
        old.into_iter().flatten().for_each(|slot| self.put(slot));
    }

    fn put(&mut self, slot: Slot) {
        let free = self.places(slot.hash).find(|place| self.slots.get(*place).is_none_or(Option::is_none));
        if let Some(free) = free.and_then(|place| self.slots.get_mut(place)) {
            *free = Some(slot);
        }
    }

    /// The places in which a hash is looked for, in order: each once.
    fn places(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let size = self.slots.len();
        let mask = size.saturating_sub(1);
        (0..size).map(move |step| (hash as usize).wrapping_add(step) & mask)
    }
}

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

impl Read for Encoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken >= self.ready.len() {
            self.refill();
        }
        let count = self.ready.get(self.taken..).unwrap_or_default().read(into)?;
        self.taken = self.taken.saturating_add(count);
        Ok(count)
    }
}

/// The families sorted by name; a name that stands in several tables becomes one merged block.
fn blocks(tables: &[Rows]) -> Vec<Block> {
    let mut families: BTreeMap<&'static str, Vec<Block>> = BTreeMap::new();
    for (table, rows) in tables.iter().enumerate() {
        for (column, desc) in rows.descs.iter().enumerate() {
            if (0..rows.ends.len()).any(|number| rows.value(number, column).is_some()) {
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
        for number in 0..rows.ends.len() {
            let Some(value) = rows.value(number, *column) else { continue };
            let labels = rows.labels_of(number);
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
    for row in from.. {
        match block {
            Block::Column { table, column, .. } => {
                let rows = tables.get(*table).filter(|rows| row < rows.ends.len())?;
                if let Some(value) = rows.value(row, *column) {
                    write_sample(desc.name, rows.labels_of(row), value, out);
                }
            }
            Block::Merged { samples, .. } => {
                let (labels, value) = samples.get(row)?;
                write_sample(desc.name, labels, *value, out);
            }
        }
        if out.len() >= CHUNK {
            return row.checked_add(1);
        }
    }
    None
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

/// What stands before each label's value: `,name="`.
fn openings<T: Table>() -> Vec<String> {
    T::LABELS.iter().map(|label| format!(",{}=\"", label.name)).collect()
}

/// Writes `{a="x",b="y"}`, or nothing where no label has a value; says whom the row is about.
fn write_labels<T: Table>(row: &T::Row<'_>, openings: &[String], identities: Identities, out: &mut Vec<u8>) -> Whose {
    let mut whose = Whose::Nobody;
    let begin = out.len();
    for (label, opening) in T::LABELS.iter().zip(openings) {
        let start = out.len();
        out.extend_from_slice(opening.as_bytes());
        let mut value = LabelValue { out, written: false, identities, whose };
        (label.value)(row, &mut value);
        whose = value.whose;
        if value.written {
            shorten(start.saturating_add(opening.len()), out);
            out.push(b'"');
        } else {
            out.truncate(start);
        }
    }
    if let Some(first) = out.get_mut(begin) {
        *first = b'{';
        out.push(b'}');
    }
    whose
}

/// Cuts the escaped text at `begin..` where it is too long, but not within an escape.
fn shorten(begin: usize, out: &mut Vec<u8>) {
    let written = out.get(begin..).unwrap_or_default();
    let Some((kept, mark)) = clipped(written) else { return };
    let slashes = written.iter().take(kept).rev().take_while(|byte| **byte == b'\\').count();
    out.truncate(begin.saturating_add(kept).saturating_sub(slashes % 2));
    out.extend_from_slice(mark.as_bytes());
}

fn escape(text: Text<'_>, out: &mut Vec<u8>) {
    let bytes = text.bytes();
    // Looks at every byte before it decides, which the compiler turns into wide instructions.
    if !bytes.iter().fold(false, |odd, byte| odd | !matches!(byte, b' '..=b'~') | matches!(byte, b'\\' | b'"')) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        escape_characters(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn escape_characters(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(br"\\"),
            '"' => out.extend_from_slice(br#"\""#),
            '\n' => out.extend_from_slice(br"\n"),
            '\t' => out.push(b'\t'),
            character if is_disruptive(character) => out.extend_from_slice("\u{fffd}".as_bytes()),
            character => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn settle(twin: Twin, old: Option<Value>, new: Option<Value>) -> Option<Value> {
    let (Some(a), Some(b)) = (old, new) else { return old.or(new) };
    Some(match twin {
        Twin::First => a,
        Twin::Sum => match (a, b) {
            (Value::Whole(a), Value::Whole(b)) => Value::Whole(a.saturating_add(b)),
            _ => Value::Real(a.as_real() + b.as_real()),
        },
        Twin::Lowest if b.as_real() < a.as_real() => b,
        Twin::Highest if b.as_real() > a.as_real() => b,
        Twin::Lowest | Twin::Highest => a,
    })
}

impl Value {
    /// The value for comparing; whole numbers above 2^53 lose their last digits here.
    fn as_real(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Whole(u64::from(yes))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Real(number as f64), Self::Whole)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler: a bad table doesn't build")]
const fn check<T: Table + ?Sized>() {
    let mut i = 0;
    while i < T::FAMILIES.len() {
        assert!(valid_name(T::FAMILIES[i].desc.name), "a family's name is not a metric name");
        if i > 0 {
            assert!(before(T::FAMILIES[i - 1].desc.name, T::FAMILIES[i].desc.name), "families are sorted by name");
        }
        i += 1;
    }
    i = 0;
    while i < T::LABELS.len() {
        assert!(valid_name(T::LABELS[i].name), "a label's name is not a label name");
        if i > 0 {
            assert!(before(T::LABELS[i - 1].name, T::LABELS[i].name), "labels are sorted by name");
        }
        i += 1;
    }
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let byte = bytes[i];
        if !(byte == b'_' || byte.is_ascii_alphabetic() || (i > 0 && byte.is_ascii_digit())) {
            return false;
        }
        i += 1;
    }
    !bytes.is_empty()
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
const fn before(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut i = 0;
    while i < left.len() && i < right.len() {
        if left[i] != right[i] {
            return left[i] < right[i];
        }
        i += 1;
    }
    left.len() < right.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Client;
    struct ClientRow<'a>(&'a [u8], u64, Option<f64>);

    impl Table for Client {
        type Row<'a> = ClientRow<'a>;
        const LABELS: &'static [Label<Self>] = &[label("client", |row, out| out.text(Text::new(row.0)))];
        const FAMILIES: &'static [Family<Self>] = &[
            counter("bytes_total", "Bytes.", |row| Some(row.1.into())),
            gauge("up", "Up.", Twin::Lowest, |row| row.2.map(Value::from)),
        ];
    }

    struct OtherUp;

    impl Table for OtherUp {
        type Row<'a> = (&'static str, bool);
        const LABELS: &'static [Label<Self>] =
            &[label("client", |row, out| out.maybe(Some(row.0.into()).filter(|name: &Text<'_>| !name.is_empty())))];
        const FAMILIES: &'static [Family<Self>] = &[gauge("up", "Up.", Twin::Lowest, |row| Some(row.1.into()))];
    }

    fn text(exposition: Exposition) -> String {
        let mut text = String::new();
        exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
        text
    }

    #[test]
    fn rows_become_families_sorted_by_name() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"b", u64::MAX, Some(1.5)));
        exposition.add::<Client>(&ClientRow(b"a", 0, None));
        assert_eq!(
            text(exposition),
            "# HELP bytes_total Bytes.\n# TYPE bytes_total counter\n\
             bytes_total{client=\"b\"} 18446744073709551615\nbytes_total{client=\"a\"} 0\n\
             # HELP up Up.\n# TYPE up gauge\nup{client=\"b\"} 1.5\n"
        );
    }

    #[test]
    fn a_twin_is_settled_and_never_written_twice() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"a", 2, Some(1.0)));
        exposition.add::<Client>(&ClientRow(b"a", 3, Some(0.0)));
        let text = text(exposition);
        assert!(text.contains("bytes_total{client=\"a\"} 5\n"), "{text}");
        assert!(text.contains("up{client=\"a\"} 0\n"), "{text}");
    }

    #[test]
    fn a_name_in_two_tables_is_one_family() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"a", 1, Some(1.0)));
        exposition.add::<OtherUp>(&("a", false));
        exposition.add::<OtherUp>(&("", true));
        let text = text(exposition);
        assert_eq!(text.matches("# TYPE up gauge").count(), 1, "{text}");
        assert!(text.ends_with("up{client=\"a\"} 0\nup 1\n"), "{text}");
    }

    #[test]
    fn label_values_are_escaped_and_valid_utf8() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"q\"b\\n\n\xff\xc3\xa4", 1, None));
        assert!(text(exposition).contains("{client=\"q\\\"b\\\\n\\n\u{fffd}\u{e4}\"} 1\n"));
    }

    struct Detail;

    impl Table for Detail {
        type Row<'a> = ();
        const LABELS: &'static [Label<Self>] = &[];
        const FAMILIES: &'static [Family<Self>] = &[gauge("detail", "Detail.", Twin::First, |()| Some(1u64.into()))];
        const GROUP: Option<Group> = Some(Group::Sas);
    }

    #[test]
    fn a_group_can_be_left_out() {
        for (without, expected) in [(Groups::default(), 1), (Groups::default().with(Group::Pools), 1)] {
            let mut exposition = Exposition::without(without);
            exposition.add::<Detail>(&());
            assert_eq!(exposition.series(), expected, "{without:?}");
        }
        let mut exposition = Exposition::without(Groups::default().with(Group::Sas)).like();
        exposition.add::<Detail>(&());
        exposition.add::<Client>(&ClientRow(b"a", 1, None));
        assert_eq!(exposition.series(), 1);
    }

    #[test]
    fn a_large_text_comes_out_whole() {
        let mut exposition = Exposition::default();
        for number in 0..10_000u64 {
            exposition.add::<Client>(&ClientRow(format!("client-{number}").as_bytes(), number, Some(-1.0)));
        }
        assert_eq!(exposition.series(), 20_000);
        let text = text(exposition);
        assert_eq!(text.lines().count(), 20_004);
        assert!(text.ends_with("up{client=\"client-9999\"} -1\n"));
    }

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

    /// A client of a source: its name and bytes.
    struct Person;

    impl Table for Person {
        type Row<'a> = (Text<'a>, u64);
        const LABELS: &'static [Label<Self>] = &[label("client", |row, out| {
            out.identity(row.0);
            out.text("_udp".into());
        })];
        const FAMILIES: &'static [Family<Self>] = &[counter("client_bytes_total", "Bytes.", |row| Some(row.1.into()))];
    }

    fn clients(terms: Terms, rows: &[(&[u8], u64)]) -> (Vec<String>, usize) {
        let mut exposition = Exposition::on(terms);
        for (name, bytes) in rows {
            exposition.add::<Person>(&(Text::new(name), *bytes));
        }
        let dropped = exposition.dropped();
        let mut text = String::new();
        exposition.encode().read_to_string(&mut text).expect("UTF-8");
        (text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect(), dropped)
    }

    #[test]
    fn a_client_is_shown_hashed_or_not_at_all() {
        let rows: [(&[u8], u64); 3] = [(b"carol", 1), (b"dave", 2), (b"carol", 4)];
        let on = |identities| clients(Terms { identities, ..Terms::default() }, &rows);
        let plain = ["client_bytes_total{client=\"carol_udp\"} 5", "client_bytes_total{client=\"dave_udp\"} 2"];
        assert_eq!(on(Identities::Plain).0, plain);
        let (hashed, _) = on(Identities::Hashed(crate::siphash::Key::new([1; 16])));
        assert!(hashed.len() == 2 && hashed[0].ends_with("_udp\"} 5"), "{hashed:?}");
        assert!(!hashed.concat().contains("carol"), "{hashed:?}");
        assert_eq!(on(Identities::Off), (Vec::new(), 0), "hidden rows are not counted as dropped");
    }

    #[test]
    fn more_clients_than_there_may_be_are_left_out_and_counted() {
        let terms = Terms { most_series: Some(2), ..Terms::default() };
        let mut exposition = Exposition::on(terms);
        exposition.add::<Person>(&("a".into(), 1));
        let mut all = exposition.like();
        for (name, bytes) in [("b", 2), ("c", 3), ("d", 4), ("b", 10)] {
            all.add::<Person>(&(name.into(), bytes));
        }
        assert_eq!((all.series(), all.dropped()), (1, 2), "a known client goes on counting");
        exposition.absorb(all);
        assert_eq!((exposition.series(), exposition.dropped()), (2, 2));
    }

    #[test]
    fn no_name_breaks_a_line_or_a_terminal() {
        let evil = "\u{1b}[2J\u{202e}\r\u{9b}\"\\\n\tü".as_bytes();
        let (lines, _) = clients(Terms::default(), &[(evil, 1), (b"\xff\"", 2)]);
        let bad = '\u{fffd}';
        assert_eq!(
            lines[0],
            format!(r#"client_bytes_total{{client="{bad}[2J{bad}{bad}{bad}\"\\\nTABü_udp"}} 1"#).replace("TAB", "\t")
        );
        assert_eq!(lines[1], format!(r#"client_bytes_total{{client="{bad}\"_udp"}} 2"#));
        let mut line = Vec::new();
        escape(Text::new(b"two\nlines\tand \"quotes\"\x07"), &mut line);
        assert_eq!(String::from_utf8(line), Ok(format!("two\\nlines\tand \\\"quotes\\\"{bad}")));
    }

    #[test]
    fn a_name_of_64_kib_is_cut_and_stays_apart_from_its_like() {
        for filler in ["a", "\"", "\\", "ü", "\n"] {
            let long = filler.repeat(65_536);
            let (one, other) = (format!("{long}1"), format!("{long}2"));
            let (lines, _) = clients(Terms::default(), &[(one.as_bytes(), 1), (other.as_bytes(), 2)]);
            assert_eq!(lines.len(), 2, "{filler:?}");
            assert!(lines.iter().all(|line| line.len() < 1100), "{filler:?}: {}", lines[0].len());
            let (start, _) = lines[0].rsplit_once('…').expect("its mark");
            let slashes = start.bytes().rev().take_while(|byte| *byte == b'\\').count();
            assert_eq!(slashes % 2, 0, "{filler:?}: cut within an escape");
        }
    }
}
