//! The metrics of the kernel's IPsec errors.

use crate::exposition::{Exposition, Family, Label, Table, TableInfo, counter, label, name, table};

use super::xfrm::Counter;

struct Errors;

impl Table for Errors {
    type Row<'a> = Counter<'a>;

    const LABELS: &'static [Label<Self>] = &[label(name!("error"), |row, out| out.text(row.name))];

    const FAMILIES: &'static [Family<Self>] = &[counter(
        "xfrm_errors_total",
        "Number of packets that the kernel's IPsec could not process, by the kernel's name of the reason.",
        |row| Some(row.count.into()),
    )];
}

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[table::<Errors>()];

/// Adds every counter.
pub fn expose(errors: &[Counter<'_>], exposition: &mut Exposition) {
    errors.iter().for_each(|error| exposition.add::<Errors>(error));
}
