//! The Prometheus text exposition: metric families, their rows, and the writer of the text.
//!
//! A [`Table`] defines a set of labels once, and the metric families that have these labels, each with the function that
//! takes its value out of a row. Bad names and unsorted labels do not compile. A source adds rows; a row's labels are
//! escaped and stored once for all its families, and a row with the labels of an earlier one is merged into it, so that
//! no series occurs twice. The text is written while it is sent ([`Encoder`]), so it is never in memory as a whole.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

use std::any::TypeId;
use std::hash::RandomState;
use std::sync::Arc;

pub use self::encoder::Encoder;
pub(crate) use self::label::name;
pub use self::label::{Condition, LabelName, LabelValue, Labels, SharedLabels};
pub use self::table::{
    Family, FamilyInfo, Group, Groups, Kind, Label, Listed, Merge, Table, TableInfo, counter, gauge, label, list,
    shared, table,
};
pub use self::values::Value;

use self::label::{RowFlags, Subject};
use self::rows::{DuplicateCheck, Lookup, Rows};
use self::table::{DynRow, RowOf};
use crate::privacy::Identities;

mod encoder;
mod label;
mod rows;
mod table;
mod values;

/// The Content-Type of what [`Encoder`] writes; Prometheus 3 refuses others.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many tables one source has rows of, at most.
const MOST_TABLES: usize = 24;

/// What the configuration says about all metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The groups of metrics that are left out.
    pub without: Groups,
    /// The most series of one source; no limit where absent.
    ///
    /// Beyond the limit, rows about a client and rows of groups whose size peers decide ([`Group::is_peers`]) are left out.
    /// All other rows are always exposed.
    pub most_series: Option<usize>,
    /// How clients' names are shown. If they are not, rows about a client are left out.
    pub identities: Identities,
}

/// The families of one scrape.
#[derive(Default)]
pub struct Exposition {
    tables: Vec<Rows>,
    /// The position of the table that the next row probably belongs to: rows of several tables take turns.
    next: usize,
    hasher: RandomState,
    options: Options,
    /// How many rows a table of a group whose size peers decide will probably have.
    expected: usize,
    series: usize,
    dropped: usize,
}

impl Exposition {
    /// An empty exposition with these options.
    pub fn with_options(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// An empty exposition with the same options, limited to the series that are left of `most_series`.
    #[must_use]
    pub fn like(&self) -> Self {
        let most_series = self.options.most_series.map(|most| most.saturating_sub(self.series));
        Self::with_options(Options { most_series, ..self.options })
    }

    /// How clients' names are shown.
    pub fn identities(&self) -> &Identities {
        &self.options.identities
    }

    /// Makes room for so many rows in each table of a group whose size peers decide ([`Group::is_peers`]).
    #[must_use]
    pub fn expecting(mut self, rows: usize) -> Self {
        self.expect(rows);
        self
    }

    /// The same for tables that are there later.
    pub fn expect(&mut self, rows: usize) {
        self.expected = rows;
    }

    /// Whether a group is exposed; if not, its data need not be read.
    pub fn wants(&self, group: Group) -> bool {
        !self.options.without.contains(group)
    }

    /// Adds a row. If a row has the same labels already, each family's merge rule combines the two values.
    pub fn add<T: Table>(&mut self, row: &T::Row<'_>) {
        self.add_row::<T>(row, false);
    }

    /// Adds a row; with `is_distinct` the caller guarantees that no other row of the table gets the same label values.
    /// Then the row is not looked up, which saves a tenth of the time of ten thousand SAs.
    pub fn add_row<T: Table>(&mut self, row: &T::Row<'_>, is_distinct: bool) {
        if T::GROUP.is_none_or(|group| self.wants(group)) {
            self.add_dyn(TypeId::of::<T>(), T::GROUP.is_some_and(Group::is_peers), &RowOf::<T>(row), is_distinct);
        }
    }

    fn add_dyn(&mut self, table: TypeId, is_peers: bool, row: &dyn DynRow, is_distinct: bool) {
        let is = |at: &usize| self.tables.get(*at).is_some_and(|rows| rows.table == table);
        // Or it belongs to the same one as the last row.
        let at = [self.next, self.next.saturating_sub(1)].into_iter().find(is);
        let at = at.or_else(|| self.tables.iter().position(|rows| rows.table == table)).unwrap_or_else(|| {
            let expected = if is_peers { self.expected } else { 0 };
            if self.tables.len() == self.tables.capacity() {
                self.tables.reserve(MOST_TABLES);
            }
            self.tables.push(Rows::of(table, row.table_info(), expected));
            self.tables.len().saturating_sub(1)
        });
        self.next = at.saturating_add(1);
        let Some(rows) = self.tables.get_mut(at) else { return };
        let RowFlags { subject, is_verbatim } = rows.write(row, &self.options.identities);
        let is_full = self.options.most_series.is_some_and(|most| self.series.saturating_add(rows.families) > most);
        let may_go = is_peers || subject == Subject::Client;
        let check = match (is_distinct, is_verbatim) {
            (true, true) => DuplicateCheck::None,
            (true, false) => DuplicateCheck::Changed,
            (false, _) => DuplicateCheck::Any,
        };
        match rows.find(check, &self.hasher) {
            _ if subject == Subject::Hidden => rows.discard(),
            Lookup::New(_) if is_full && may_go => {
                self.dropped = self.dropped.saturating_add(rows.written_series());
                rows.discard();
            }
            Lookup::New(hash) => self.series = self.series.saturating_add(rows.keep(hash)),
            Lookup::Found(number) => self.series = self.series.saturating_add(rows.merge(number)),
        }
    }

    /// Takes over what another source exposed.
    pub fn absorb(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.series = self.series.saturating_add(other.series);
        self.dropped = self.dropped.saturating_add(other.dropped);
    }

    /// Calls `each` with every sample of a family: its labels, and its value in whole numbers.
    pub fn samples(&self, family: &str, each: &mut dyn FnMut(Labels<'_>, i64)) {
        for rows in &self.tables {
            let is_it = |column: &usize| rows.table_info.family(*column).is_some_and(|info| info.name == family);
            let Some(column) = (0..rows.families).find(is_it) else { continue };
            for (labels, value) in rows.column(column, 0) {
                if let Some(value) = value {
                    each(Labels(labels), value.whole());
                }
            }
        }
    }

    /// The number of series so far.
    pub fn series(&self) -> usize {
        self.series
    }

    /// The number of series that were left out because of `most_series`.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The approximate memory use in bytes.
    pub fn size(&self) -> usize {
        self.tables.iter().map(Rows::size).fold(0, usize::saturating_add)
    }

    /// The text, written as it is read.
    pub fn encode(self) -> Encoder {
        encode(vec![Arc::new(self)])
    }
}

/// The text of all `parts` together, written as it is read.
pub fn encode(parts: Vec<Arc<Exposition>>) -> Encoder {
    Encoder::new(parts)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;
    use crate::text::Text;

    struct Client;
    struct ClientRow<'a>(&'a [u8], u64, Option<Duration>);

    impl Table for Client {
        type Row<'a> = ClientRow<'a>;
        const LABELS: &'static [Label<Self>] = &[label(name!("client"), |row, out| out.text(Text::new(row.0)))];
        const FAMILIES: &'static [Family<Self>] = &[
            counter("bytes_total", "Bytes.", |row| Some(row.1.into())),
            gauge("up", "Up.", Merge::Lowest, |row| row.2.map(Value::from)),
        ];
    }

    #[test]
    fn distinct_rows_that_print_alike_and_others_are_still_one_series() {
        let add =
            |exposition: &mut Exposition, name: &[u8]| exposition.add_row::<Client>(&ClientRow(name, 1, None), true);
        let mut exposition = Exposition::default();
        for name in [&b"a"[..], b"b", b"\xff", b"\xfe"] {
            add(&mut exposition, name);
        }
        assert_eq!(exposition.series(), 3, "what is not UTF-8 prints alike");
        exposition.add::<Client>(&ClientRow(b"a", 5, None));
        add(&mut exposition, b"c");
        exposition.add::<Client>(&ClientRow(b"c", 5, None));
        let text = text(exposition);
        for line in ["{client=\"a\"} 6", "{client=\"b\"} 1", "{client=\"\u{fffd}\"} 2", "{client=\"c\"} 6"] {
            assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
        }
    }

    struct OtherUp;

    impl Table for OtherUp {
        type Row<'a> = (&'static str, bool);
        const LABELS: &'static [Label<Self>] = &[label(name!("client"), |row, out| {
            out.maybe(Some(row.0.into()).filter(|name: &Text<'_>| !name.is_empty()))
        })];
        const FAMILIES: &'static [Family<Self>] = &[gauge("up", "Up.", Merge::Lowest, |row| Some(row.1.into()))];
    }

    fn text(exposition: Exposition) -> String {
        let mut text = String::new();
        exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
        text
    }

    #[test]
    fn rows_become_families_sorted_by_name() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"b", u64::MAX, Some(Duration::from_millis(1500))));
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
        exposition.add::<Client>(&ClientRow(b"a", 2, Some(Duration::from_secs(1))));
        exposition.add::<Client>(&ClientRow(b"a", 3, Some(Duration::ZERO)));
        let text = text(exposition);
        assert!(text.contains("bytes_total{client=\"a\"} 5\n"), "{text}");
        assert!(text.contains("up{client=\"a\"} 0\n"), "{text}");
    }

    #[test]
    fn a_name_in_two_tables_is_one_family() {
        let mut exposition = Exposition::default();
        exposition.add::<Client>(&ClientRow(b"a", 1, Some(Duration::from_secs(1))));
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
        const FAMILIES: &'static [Family<Self>] = &[gauge("detail", "Detail.", Merge::First, |()| Some(1u64.into()))];
        const GROUP: Option<Group> = Some(Group::Sas);
    }

    #[test]
    fn a_group_can_be_left_out() {
        for (without, expected) in [(Groups::default(), 1), (Groups::default().with(Group::Pools), 1)] {
            let mut exposition = Exposition::with_options(Options { without, ..Options::default() });
            exposition.add::<Detail>(&());
            assert_eq!(exposition.series(), expected, "{without:?}");
        }
        let without = Groups::default().with(Group::Sas);
        let mut exposition = Exposition::with_options(Options { without, ..Options::default() }).like();
        exposition.add::<Detail>(&());
        exposition.add::<Client>(&ClientRow(b"a", 1, None));
        assert_eq!(exposition.series(), 1);
    }

    #[test]
    fn a_large_text_comes_out_whole() {
        let mut exposition = Exposition::default();
        for number in 0..10_000u64 {
            exposition.add::<Client>(&ClientRow(format!("client-{number}").as_bytes(), number, Some(Duration::ZERO)));
        }
        assert_eq!(exposition.series(), 20_000);
        let text = text(exposition);
        assert_eq!(text.lines().count(), 20_004);
        assert!(text.ends_with("up{client=\"client-9999\"} 0\n"));
    }

    /// A client of a source: its name and bytes.
    struct Person;

    impl Table for Person {
        type Row<'a> = (Text<'a>, u64);
        const LABELS: &'static [Label<Self>] = &[label(name!("client"), |row, out| {
            out.identity(row.0);
            out.text("_udp".into());
        })];
        const FAMILIES: &'static [Family<Self>] = &[counter("client_bytes_total", "Bytes.", |row| Some(row.1.into()))];
    }

    fn clients(options: Options, rows: &[(&[u8], u64)]) -> (Vec<String>, usize) {
        let mut exposition = Exposition::with_options(options);
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
        let on = |identities| clients(Options { identities, ..Options::default() }, &rows);
        let plain = ["client_bytes_total{client=\"carol_udp\"} 5", "client_bytes_total{client=\"dave_udp\"} 2"];
        assert_eq!(on(Identities::Plain).0, plain);
        let (hashed, _) = on(Identities::Hashed(crate::siphash::Key::new([1; 16])));
        assert!(hashed.len() == 2 && hashed[0].ends_with("_udp\"} 5"), "{hashed:?}");
        assert!(!hashed.concat().contains("carol"), "{hashed:?}");
        assert_eq!(on(Identities::Off), (Vec::new(), 0), "hidden rows are not counted as dropped");
    }

    #[test]
    fn more_clients_than_there_may_be_are_left_out_and_counted() {
        let options = Options { most_series: Some(2), ..Options::default() };
        let mut exposition = Exposition::with_options(options);
        exposition.add::<Person>(&("a".into(), 1));
        let mut all = exposition.like();
        for (name, bytes) in [("b", 2), ("c", 3), ("d", 4), ("b", 10)] {
            all.add::<Person>(&(name.into(), bytes));
        }
        assert_eq!((all.series(), all.dropped()), (1, 2), "a known client goes on counting");
        exposition.absorb(all);
        assert_eq!((exposition.series(), exposition.dropped()), (2, 2));
    }

    /// One row in a group of its own.
    struct In<const GROUP: usize>;

    impl<const GROUP: usize> Table for In<GROUP> {
        type Row<'a> = ();
        const LABELS: &'static [Label<Self>] = &[];
        const FAMILIES: &'static [Family<Self>] = &[gauge("row", "Row.", Merge::First, |()| Some(1u64.into()))];
        const GROUP: Option<Group> = Some(Group::ALL[GROUP]);
    }

    #[test]
    fn what_the_configuration_decides_stays_where_there_are_too_many() {
        fn is_dropped<const GROUP: usize>() -> Option<&'static str> {
            let mut exposition = Exposition::with_options(Options { most_series: Some(0), ..Options::default() });
            exposition.add::<In<GROUP>>(&());
            assert_eq!(exposition.series() + exposition.dropped(), 1);
            (exposition.dropped() > 0).then_some(Group::ALL[GROUP].word())
        }
        let dropped = [
            is_dropped::<0>(),
            is_dropped::<1>(),
            is_dropped::<2>(),
            is_dropped::<3>(),
            is_dropped::<4>(),
            is_dropped::<5>(),
            is_dropped::<6>(),
        ];
        assert_eq!(dropped.into_iter().flatten().collect::<Vec<_>>(), ["clients", "sas", "certificates"]);
    }

    #[test]
    fn no_name_breaks_a_line_or_a_terminal() {
        let evil = "\u{1b}[2J\u{202e}\r\u{9b}\"\\\n\tü".as_bytes();
        let (lines, _) = clients(Options::default(), &[(evil, 1), (b"\xff\"", 2)]);
        let bad = '\u{fffd}';
        assert_eq!(
            lines[0],
            format!(r#"client_bytes_total{{client="{bad}[2J{bad}{bad}{bad}\"\\\nTABü_udp"}} 1"#).replace("TAB", "\t")
        );
        assert_eq!(lines[1], format!(r#"client_bytes_total{{client="{bad}\"_udp"}} 2"#));
    }

    #[test]
    fn a_name_of_64_kib_is_cut_and_stays_apart_from_its_like() {
        for filler in ["a", "\"", "\\", "ü", "\n"] {
            let long = filler.repeat(65_536);
            let (one, other) = (format!("{long}1"), format!("{long}2"));
            let (lines, _) = clients(Options::default(), &[(one.as_bytes(), 1), (other.as_bytes(), 2)]);
            assert_eq!(lines.len(), 2, "{filler:?}");
            assert!(lines.iter().all(|line| line.len() < 1100), "{filler:?}: {}", lines[0].len());
            let (start, _) = lines[0].rsplit_once('…').expect("its mark");
            let slashes = start.bytes().rev().take_while(|byte| *byte == b'\\').count();
            assert_eq!(slashes % 2, 0, "{filler:?}: cut within an escape");
        }
    }
}
