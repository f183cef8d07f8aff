//! The metrics of the socket rules, and of the kernel's socket tables.

use crate::advice::Severity;
use crate::exposition::{Exposition, Family, Label, Merge, Table, TableInfo, Value, gauge, label, name, table};
use crate::watched::Watched;

use super::matcher::RuleCount;
use super::state_counts::StateCounts;
use super::tables::{self, States};

/// What is watched of it.
pub const WATCHED: &[Watched] = &[Watched {
    family: "connection_status_up",
    kind: "connection",
    labels: &["name"],
    judge: |rule| match rule.value {
        0 => Some((Severity::Error, "there is no such socket".into())),
        _ => Some((Severity::Ok, "up".into())),
    },
    fix: "ss -anp lists the sockets: does the process run, and at the port of the rule?",
    ..Watched::PLAIN
}];

/// What this source exposes.
pub const TABLES: &[&dyn TableInfo] = &[table::<Connection>(), table::<Sockets>()];

/// Adds what was found for one rule; nothing where it is not known.
pub fn expose(count: &RuleCount<'_>, exposition: &mut Exposition) {
    exposition.add::<Connection>(count);
}

/// Adds how many sockets of a table are in each state of `seen`.
pub fn expose_state_counts(
    table: tables::Table,
    state_counts: &StateCounts,
    seen: States,
    exposition: &mut Exposition,
) {
    for (state, count) in state_counts.counts(table, seen) {
        exposition.add::<Sockets>(&(table.protocol(), state, count));
    }
}

struct Connection;

/// Two rules with the same labels are the same rule twice: the first one's values stand.
impl Table for Connection {
    type Row<'a> = RuleCount<'a>;

    const LABELS: &'static [Label<Self>] = &[
        label(name!("dsthost"), |row, out| out.display(&row.labels().dsthost)),
        label(name!("dstport"), |row, out| out.display(&row.labels().dstport)),
        label(name!("name"), |row, out| out.display(&row.labels().name)),
        label(name!("process"), |row, out| out.display(&row.labels().process)),
        label(name!("protocol"), |row, out| out.display(&row.labels().protocol)),
        label(name!("srchost"), |row, out| out.display(&row.labels().srchost)),
        label(name!("srcport"), |row, out| out.display(&row.labels().srcport)),
        label(name!("status"), |row, out| out.display(&row.labels().status)),
    ];

    const FAMILIES: &'static [Family<Self>] = &[
        gauge("connection_status_count", "number of socket with same parameter.", Merge::First, |row| {
            row.count().map(Value::from)
        }),
        gauge("connection_status_up", "Connection status of the socket (0 down - 1 up).", Merge::First, |row| {
            row.up().map(Value::from)
        }),
    ];
}

struct Sockets;

impl Table for Sockets {
    /// The protocol, the state and the number of sockets.
    type Row<'a> = (&'static str, &'static str, usize);

    const LABELS: &'static [Label<Self>] = &[
        label(name!("protocol"), |row, out| out.display(row.0)),
        label(name!("state"), |row, out| out.display(row.1)),
    ];

    const FAMILIES: &'static [Family<Self>] = &[gauge(
        "connection_table_sockets",
        "Number of sockets in the kernel's table of a protocol, for each state that a rule names.",
        Merge::First,
        |row| Some(row.2.into()),
    )];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::ByteOrder;
    use crate::sockets::matcher::Matcher;
    use crate::sockets::procnet::Lines;
    use crate::sockets::rule::{Names, Rule, Spec};
    use crate::sockets::tables::Table;
    use std::io::Read;

    const LISTENER: &str = "0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 7 1\n";

    fn spec() -> Spec {
        Spec { name: Some("ssh \"here\"".into()), srcport: Some("22".into()), ..Spec::default() }
    }

    fn exposed(rules: &[Rule], lost: bool) -> String {
        let names = Names::new();
        let mut matcher = Matcher::new(rules, &names);
        matcher.count(Table::Tcp, LISTENER.as_bytes(), ByteOrder::Little, &mut Lines::default());
        if lost {
            matcher.mark_unknown(|rule| rule.reads(Table::Tcp6));
        }
        let mut exposition = Exposition::default();
        matcher.counts().for_each(|count| expose(count, &mut exposition));
        let mut text = String::new();
        exposition.encode().read_to_string(&mut text).expect("the text is UTF-8");
        text
    }

    const LABELS: &str = "{dsthost=\"*\",dstport=\"*\",name=\"ssh \\\"here\\\"\",process=\"*\",protocol=\"tcp\",\
                          srchost=\"*\",srcport=\"22\",status=\"*\"}";

    #[test]
    fn the_same_rule_twice_is_one_series() {
        let rules = [Rule::new(&spec()).unwrap(), Rule::new(&spec()).unwrap()];
        assert_eq!(
            exposed(&rules, false),
            format!(
                "# HELP connection_status_count number of socket with same parameter.\n\
                 # TYPE connection_status_count gauge\nconnection_status_count{LABELS} 1\n\
                 # HELP connection_status_up Connection status of the socket (0 down - 1 up).\n\
                 # TYPE connection_status_up gauge\nconnection_status_up{LABELS} 1\n"
            )
        );
    }

    #[test]
    fn what_is_not_known_has_no_sample() {
        let rule = Rule::new(&spec()).unwrap();
        let text = exposed(&[rule], true);
        assert!(text.ends_with(&format!("gauge\nconnection_status_up{LABELS} 1\n")), "{text}");
        assert!(!text.contains("connection_status_count"), "{text}");
        let elsewhere = Rule::new(&Spec { srcport: Some("23".into()), ..spec() }).unwrap();
        assert_eq!(exposed(&[elsewhere], true), "");
    }
}
