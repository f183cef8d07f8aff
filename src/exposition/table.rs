//! Tables: a set of labels, the metric families that have these labels, and how a row gives their values.

use std::marker::PhantomData;

use super::label::{LabelName, LabelValue};
use super::values::{Value, Values};

/// The metric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; a decrease means a restart.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Kind {
    /// Its name in the text format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// How two values of one series are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// They are added.
    Sum,
    /// The smaller one: the worse of two states if 1 is good.
    Lowest,
    /// The larger one: the worse of two states if 0 is good.
    Highest,
    /// The first one.
    First,
}

/// The name, help, kind and merge rule of one family.
#[derive(Debug)]
pub struct FamilyInfo {
    /// The family's name.
    pub name: &'static str,
    /// The help text, one line.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// How two values of one series are combined.
    pub merge: Merge,
}

/// A group of metrics that the configuration can leave out (`metrics: {without: […]}`).
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
    /// All groups.
    pub const ALL: [Self; 7] =
        [Self::Clients, Self::Tunnels, Self::Sas, Self::Pools, Self::Certificates, Self::Events, Self::Daemons];

    /// Whether the number of its rows is decided by peers, not by the configuration.
    pub const fn is_peers(self) -> bool {
        matches!(self, Self::Clients | Self::Sas | Self::Certificates)
    }

    /// Its name in the configuration.
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

/// A metric family of a table: its description, and the function that takes its value out of a row (`None`: no sample).
pub struct Family<T: Table + ?Sized> {
    info: FamilyInfo,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
}

/// A label of a table, or several that are written together: their names, and the function that writes a row's values.
pub struct Label<T: Table + ?Sized> {
    name: LabelName,
    more: &'static [&'static str],
    value: for<'a> fn(&T::Row<'a>, &mut LabelValue<'_>),
}

/// A set of labels and the metric families that have them.
pub trait Table: 'static {
    /// The data of one row.
    type Row<'a>;
    /// The labels, sorted by name.
    const LABELS: &'static [Label<Self>];
    /// The families, sorted by name.
    const FAMILIES: &'static [Family<Self>];
    /// The group that it belongs to; `None` can't be left out.
    const GROUP: Option<Group> = None;
    /// Rejects bad and unsorted names at compile time.
    const CHECKED: () = check::<Self>();
}

/// A counter; two values of one series are added.
pub const fn counter<T: Table + ?Sized>(
    name: &'static str,
    help: &'static str,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
) -> Family<T> {
    Family { info: FamilyInfo { name, help, kind: Kind::Counter, merge: Merge::Sum }, value }
}

/// A gauge; two values of one series are combined by `merge`.
pub const fn gauge<T: Table + ?Sized>(
    name: &'static str,
    help: &'static str,
    merge: Merge,
    value: for<'a> fn(&T::Row<'a>) -> Option<Value>,
) -> Family<T> {
    Family { info: FamilyInfo { name, help, kind: Kind::Gauge, merge }, value }
}

/// A label; a value function that writes nothing leaves the label out.
pub const fn label<T: Table + ?Sized>(
    name: LabelName,
    value: for<'a> fn(&T::Row<'a>, &mut LabelValue<'_>),
) -> Label<T> {
    Label { name, more: &[], value }
}

/// Labels that a row shares with rows of other tables; the value function calls [`LabelValue::shared`].
pub const fn shared<T: Table + ?Sized>(
    name: LabelName,
    more: &'static [&'static str],
    value: for<'a> fn(&T::Row<'a>, &mut LabelValue<'_>),
) -> Label<T> {
    Label { name, more, value }
}

/// The description of one family for the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The family's name.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// Its labels, sorted.
    pub labels: Vec<&'static str>,
    /// The help text, one line.
    pub help: &'static str,
    /// The group that it belongs to; `None` can't be left out.
    pub group: Option<Group>,
}

/// A table's names, without the type of its rows.
pub trait TableInfo: Sync {
    /// The name of its label `number`, and the names of those that are written together with it.
    fn label(&self, number: usize) -> Option<(&'static str, &'static [&'static str])>;
    /// Its family `number`.
    fn family(&self, number: usize) -> Option<&'static FamilyInfo>;
    /// The number of its families.
    fn families(&self) -> usize;
    /// The group that it belongs to.
    fn group(&self) -> Option<Group>;
}

/// A row of any table: the code that handles rows is compiled once and not for each table.
pub(super) trait DynRow {
    fn table_info(&self) -> &'static dyn TableInfo;
    fn write_labels(&self, out: &mut LabelValue<'_>);
    /// Writes one value for each family; it may be absent.
    fn write_values(&self, out: &mut Values);
}

/// A row of the table `T`.
pub(super) struct RowOf<'r, 'a, T: Table>(pub(super) &'r T::Row<'a>)
where
    T::Row<'a>: 'r;

struct TableInfoOf<T>(PhantomData<fn() -> T>);

impl<T: Table> TableInfo for TableInfoOf<T> {
    fn label(&self, number: usize) -> Option<(&'static str, &'static [&'static str])> {
        T::LABELS.get(number).map(|label| (label.name.name(), label.more))
    }

    fn family(&self, number: usize) -> Option<&'static FamilyInfo> {
        T::FAMILIES.get(number).map(|family| &family.info)
    }

    fn families(&self) -> usize {
        T::FAMILIES.len()
    }

    fn group(&self) -> Option<Group> {
        T::GROUP
    }
}

impl<T: Table> DynRow for RowOf<'_, '_, T> {
    fn table_info(&self) -> &'static dyn TableInfo {
        table::<T>()
    }

    fn write_labels(&self, out: &mut LabelValue<'_>) {
        for label in T::LABELS {
            out.open(label.name);
            (label.value)(self.0, out);
            out.close();
        }
    }

    fn write_values(&self, out: &mut Values) {
        T::FAMILIES.iter().for_each(|family| out.push((family.value)(self.0)));
    }
}

/// The names of a table.
pub const fn table<T: Table>() -> &'static dyn TableInfo {
    const { T::CHECKED };
    const { &TableInfoOf::<T>(PhantomData) }
}

/// The families of a table for the catalogue.
pub fn list(table: &dyn TableInfo) -> impl Iterator<Item = Listed> {
    let mut labels = Vec::new();
    for (name, more) in (0..).map_while(|number| table.label(number)) {
        labels.push(name);
        labels.extend_from_slice(more);
    }
    (0..).map_while(|number| table.family(number)).map(move |info| Listed {
        name: info.name,
        kind: info.kind,
        labels: labels.clone(),
        help: info.help,
        group: table.group(),
    })
}

#[expect(clippy::indexing_slicing, reason = "runs in the compiler: a bad table doesn't build")]
const fn check<T: Table + ?Sized>() {
    let mut i = 0;
    while i < T::FAMILIES.len() {
        assert!(valid_name(T::FAMILIES[i].info.name), "a family's name is not a metric name");
        assert!(valid_help(T::FAMILIES[i].info.help), "a help text has what must be escaped");
        if i > 0 {
            assert!(before(T::FAMILIES[i - 1].info.name, T::FAMILIES[i].info.name), "families are sorted by name");
        }
        i += 1;
    }
    let mut last = "";
    i = 0;
    while i < T::LABELS.len() {
        last = check_label(last, T::LABELS[i].name.name());
        let mut j = 0;
        while j < T::LABELS[i].more.len() {
            last = check_label(last, T::LABELS[i].more[j]);
            j += 1;
        }
        i += 1;
    }
}

const fn check_label(last: &str, name: &'static str) -> &'static str {
    assert!(valid_name(name), "a label's name is not a label name");
    assert!(before(last, name), "labels are sorted by name");
    name
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
const fn valid_help(help: &str) -> bool {
    let bytes = help.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if matches!(bytes[i], b'\\' | b'\n') {
            return false;
        }
        i += 1;
    }
    true
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
