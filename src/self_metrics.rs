//! The exporter's own metrics: its build, its targets, its requests, and the resources that it uses.

use std::time::Duration;

use crate::exposition::{
    Exposition, Family, Label, Merge, Table, TableInfo, Value, counter, gauge, label, name, table,
};
use crate::sys::usage::Usage;

/// The version that was built.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that was built, where the build says it.
pub const REVISION: &str = match option_env!("GATEWAY_EXPORTER_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The machine that it was built for.
pub const TARGET: &str = env!("GATEWAY_EXPORTER_TARGET");

struct Build;

impl Table for Build {
    type Row<'a> = ();
    const LABELS: &'static [Label<Self>] = &[
        label(name!("revision"), |(), out| out.text(REVISION.into())),
        label(name!("target"), |(), out| out.text(TARGET.into())),
        label(name!("version"), |(), out| out.text(VERSION.into())),
    ];
    const FAMILIES: &'static [Family<Self>] =
        &[gauge("gateway_exporter_build_info", "Constant 1; the labels describe the build.", Merge::First, |()| {
            Some(1u64.into())
        })];
}

struct Target;

impl Table for Target {
    type Row<'a> = (&'a str, &'a str, bool);
    const LABELS: &'static [Label<Self>] = &[
        label(name!("collector"), |row, out| out.text(row.0.into())),
        label(name!("target"), |row, out| out.text(row.1.into())),
    ];
    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "gateway_exporter_target_up",
        "1 if the socket, file, command or table could be read, else 0.",
        Merge::Lowest,
        |row| Some(row.2.into()),
    )];
}

struct Collector;

impl Table for Collector {
    type Row<'a> = (&'a str, Duration, usize);
    const LABELS: &'static [Label<Self>] = &[label(name!("collector"), |row, out| out.text(row.0.into()))];
    const FAMILIES: &'static [Family<Self>] = &[
        gauge(
            "gateway_exporter_collector_duration_seconds",
            "Time that the collector took for this scrape, in seconds.",
            Merge::First,
            |row| Some(row.1.into()),
        ),
        gauge(
            "gateway_exporter_series_dropped",
            "Number of series left out of this scrape because of max_series.",
            Merge::First,
            |row| Some(row.2.into()),
        ),
    ];
}

struct Log;

impl Table for Log {
    type Row<'a> = usize;
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[counter(
        "gateway_exporter_log_lines_dropped_total",
        "Number of log lines dropped because the standard error was blocked.",
        |count| Some((*count).into()),
    )];
}

struct Requests;

impl Table for Requests {
    type Row<'a> = (u16, u64);
    const LABELS: &'static [Label<Self>] = &[label(name!("code"), |row, out| out.display(row.0))];
    const FAMILIES: &'static [Family<Self>] =
        &[counter("promhttp_metric_handler_requests_total", "Total number of scrapes by HTTP status code.", |row| {
            Some(row.1.into())
        })];
}

struct Process;

impl Table for Process {
    /// What the process uses, and how many scrapes are being served.
    type Row<'a> = (Usage, u64);
    const LABELS: &'static [Label<Self>] = &[];
    const FAMILIES: &'static [Family<Self>] = &[
        counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", |row| {
            row.0.cpu_time.map(Value::from)
        }),
        gauge("process_max_fds", "Maximum number of open file descriptors.", Merge::First, |row| {
            row.0.max_fds.map(Value::from)
        }),
        gauge("process_open_fds", "Number of open file descriptors.", Merge::First, |row| {
            row.0.open_fds.map(Value::from)
        }),
        gauge("process_resident_memory_bytes", "Resident memory size in bytes.", Merge::First, |row| {
            row.0.resident_bytes.map(Value::from)
        }),
        gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            Merge::First,
            |row| row.0.started.map(Value::from),
        ),
        gauge("process_threads", "Number of threads.", Merge::First, |row| row.0.threads.map(Value::from)),
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", Merge::First, |row| {
            row.0.virtual_bytes.map(Value::from)
        }),
        gauge(
            "promhttp_metric_handler_requests_in_flight",
            "Current number of scrapes being served.",
            Merge::First,
            |row| Some(row.1.into()),
        ),
    ];
}

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[
    table::<Build>(),
    table::<Target>(),
    table::<Collector>(),
    table::<Log>(),
    table::<Requests>(),
    table::<Process>(),
];

/// Exposes what was built, and how many lines of the log were dropped.
pub fn expose_build(dropped_lines: usize, out: &mut Exposition) {
    out.add::<Build>(&());
    out.add::<Log>(&dropped_lines);
}

/// Exposes whether one target could be read.
pub fn expose_target(collector: &str, target: &str, up: bool, out: &mut Exposition) {
    out.add::<Target>(&(collector, target, up));
}

/// Exposes how long one collector took, and how many of its series were left out.
pub fn expose_collector(collector: &str, taken: Duration, dropped: usize, out: &mut Exposition) {
    out.add::<Collector>(&(collector, taken, dropped));
}

/// Exposes the scrapes answered so far, by status, those under way, and what this process uses.
pub fn expose_process(usage: Usage, codes: &[(u16, u64)], in_flight: u64, out: &mut Exposition) {
    codes.iter().for_each(|row| out.add::<Requests>(row));
    out.add::<Process>(&(usage, in_flight));
}
