//! The catalogue of all metric families: the subcommand `metrics` and docs/metrics.md.

use std::fmt::Write as _;

use crate::exposition::{self, Group, Listed};
use crate::sources;
use crate::{json, self_metrics};

/// How the catalogue of all families is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalogue {
    /// Markdown: a heading and a table for each source.
    Markdown,
    /// A line for each family, in columns.
    Table,
    /// An array with an object for each family.
    Json,
}

/// The catalogue of all families.
pub fn catalogue(format: Catalogue) -> String {
    let mut all = Vec::new();
    let sources = sources::ALL.iter().map(|source| (source.name, source.tables));
    for (source, tables) in sources.chain([("the exporter", self_metrics::TABLES)]) {
        let mut families: Vec<_> = tables.iter().flat_map(|table| exposition::list(*table)).collect();
        families.sort_by_key(|family| family.name);
        all.extend(families.into_iter().map(|family| (source, family)));
    }
    let width = all.iter().map(|(_, family)| family.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    let mut before = "";
    if format == Catalogue::Table {
        let [source, family, kind] = ["SOURCE", "FAMILY", "TYPE"];
        let _ =
            writeln!(text, "{source:<12}  {family:<width$}  {kind:<7}  GROUP         LABELS                    VALUE");
    }
    for (source, Listed { name, kind, labels, help, group }) in all {
        let (kind, group) = (kind.word(), group.map(Group::word).unwrap_or_default());
        let _ = match format {
            Catalogue::Table => {
                let labels = labels.join(",");
                writeln!(text, "{source:<12}  {name:<width$}  {kind:<7}  {group:<12}  {labels:<24}  {help}")
            }
            Catalogue::Json => {
                // Neither names nor words of these have anything to escape.
                let labels = if labels.is_empty() { String::new() } else { format!("\"{}\"", labels.join("\",\"")) };
                let group = if group.is_empty() { "null".into() } else { format!("\"{group}\"") };
                let (separator, help) = (if text.is_empty() { "[" } else { "," }, json::text(help));
                writeln!(
                    text,
                    "{separator}{{\"source\":\"{source}\",\"name\":\"{name}\",\"type\":\"{kind}\",\"group\":{group},\
                     \"labels\":[{labels}],\"help\":{help}}}"
                )
            }
            Catalogue::Markdown => {
                if before != source {
                    text.push_str(if before.is_empty() { "" } else { "\n" });
                    let _ = write!(
                        text,
                        "### {source}\n\n| family | type | labels | value | group |\n|---|---|---|---|---|\n"
                    );
                }
                let labels = labels.join(", ");
                writeln!(text, "| `{name}` | {kind} | {labels} | {help} | {group} |")
            }
        };
        before = source;
    }
    text.push_str(match format {
        Catalogue::Markdown => "\n",
        Catalogue::Table => "",
        Catalogue::Json => "]\n",
    });
    text
}
