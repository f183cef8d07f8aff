//! What is watched through the sources (tunnels, servers, peers, rules, pools, certificates), and how each of it is.
//!
//! Each source lists the families whose samples say so; everything else is the same for all. The overview page, `/status`
//! and the subcommand `status` show what comes of it.

use std::cell::OnceCell;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

use crate::advice::{Phrase, Severity};
use crate::exposition::Exposition;
use crate::hash_index::HashIndex;

/// A label that a sample must have with this value, in which nothing is to be escaped; with an empty value, that it must not
/// have.
pub type Condition = (&'static str, &'static str);

/// A family, each of whose samples is about one thing that should be well.
#[derive(Debug)]
pub struct Watched {
    /// The name of the family.
    pub family: &'static str,
    /// What such a thing is called, as `tunnel`.
    pub kind: &'static str,
    /// The labels that name it, in the order in which they are shown; those that a sample has not are passed over.
    pub labels: &'static [&'static str],
    /// Which of its samples count; all where absent.
    pub only: Option<Condition>,
    /// A family, and which of its samples: a thing that has one there with its name is not watched.
    pub unless: Option<(&'static str, Condition)>,
    /// A second family, whose value with the same names is given to `judge`.
    pub beside: Option<&'static str>,
    /// How it is; nothing if it is not watched after all.
    pub judge: fn(Measured<'_>) -> Option<(Severity, Phrase)>,
    /// What to do if it is not well; `NAME` stands for the last of the labels.
    pub fix: &'static str,
    /// The families with its bytes received and sent, over all samples with the same names.
    pub traffic: Option<[&'static str; 2]>,
}

/// What is measured of a thing.
pub struct Measured<'a> {
    /// The value of the sample.
    pub value: i64,
    /// The unix time.
    pub now: i64,
    beside: &'a dyn Fn() -> Option<i64>,
}

impl Measured<'_> {
    /// The value in the second family, if it has one.
    pub fn beside(&self) -> Option<i64> {
        (self.beside)()
    }
}

/// Calls `each` with every thing and how it is. Nothing is allocated for things that are judged by their value alone and
/// that `each` does not name.
pub fn judge_all(
    watched: &'static [Watched],
    exposition: &Exposition,
    now: i64,
    each: &mut dyn FnMut(&'static Watched, Labels<'_>, Severity, Phrase),
) {
    for watched in watched {
        let (others, exceptions): (OnceCell<Values>, OnceCell<Values>) = Default::default();
        exposition.samples(watched.family, &mut |labels, value| {
            let labels = Labels(labels);
            if !labels.fit(watched.only) {
                return;
            }
            let beside = || {
                let read = || Values::of(watched.beside.unwrap_or_default(), None, watched, exposition, i64::max);
                others.get_or_init(read).get(watched, labels)
            };
            let Some((severity, message)) = (watched.judge)(Measured { value, now, beside: &beside }) else { return };
            let is_excepted = |(family, condition)| {
                let read = || Values::of(family, Some(condition), watched, exposition, i64::max);
                exceptions.get_or_init(read).get(watched, labels).is_some()
            };
            if severity < Severity::Warning || !watched.unless.is_some_and(is_excepted) {
                each(watched, labels, severity, message);
            }
        });
    }
}

/// The values of a family by the names of the things.
#[derive(Default)]
pub struct Values {
    values: Vec<i64>,
    index: HashIndex,
    hasher: RandomState,
}

impl Values {
    /// Reads those samples of a family that fit; where several have one name, their values are joined by `join`.
    fn of(
        family: &str,
        only: Option<Condition>,
        watched: &Watched,
        exposition: &Exposition,
        join: fn(i64, i64) -> i64,
    ) -> Self {
        let mut all = Self::default();
        exposition.samples(family, &mut |labels, value| {
            let labels = Labels(labels);
            if !labels.fit(only) {
                return;
            }
            let hash = all.hash(watched, labels);
            let Self { values, index, .. } = &mut all;
            match index.get(&hash).and_then(|position| values.get_mut(*position)) {
                Some(known) => *known = join(*known, value),
                None => {
                    index.insert(hash, values.len());
                    values.push(value);
                }
            }
        });
        all
    }

    /// The bytes that each thing received, and those that it sent.
    pub fn traffic(watched: &Watched, exposition: &Exposition) -> Option<[Self; 2]> {
        // A sample with a label that the thing must not have is a part of the thing's own.
        let only = watched.only.filter(|(_, value)| value.is_empty());
        let sums = |family| Self::of(family, only, watched, exposition, i64::saturating_add);
        watched.traffic.map(|families| families.map(sums))
    }

    /// The value of a thing.
    pub fn get(&self, watched: &Watched, labels: Labels<'_>) -> Option<i64> {
        self.values.get(*self.index.get(&self.hash(watched, labels))?).copied()
    }

    fn hash(&self, watched: &Watched, labels: Labels<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        watched.labels.iter().for_each(|name| labels.escaped(name).hash(&mut hasher));
        hasher.finish()
    }
}

impl Watched {
    /// The name of a thing: `home/net`.
    pub fn name(&self, labels: Labels<'_>) -> String {
        labels.joined(self.labels)
    }

    /// What a thing is called: `tunnel home/net`.
    pub fn subject(&self, labels: Labels<'_>) -> String {
        format!("{} {}", self.kind, self.name(labels))
    }

    /// What to do about a thing that is not well.
    pub fn fix(&self, labels: Labels<'_>) -> Phrase {
        let last = self.labels.iter().rev().find_map(|name| labels.value(name)).unwrap_or_default();
        self.fix.replace("NAME", &last).into()
    }
}

/// The labels of a sample as the exposition has them: `{name="value",other="value"}`, the values escaped.
#[derive(Clone, Copy, Debug)]
pub struct Labels<'a>(pub &'a [u8]);

impl<'a> Labels<'a> {
    /// The value of a label.
    pub fn value(self, name: &str) -> Option<String> {
        let mut value = Vec::new();
        let mut rest = self.escaped(name)?.iter();
        while let Some(byte) = rest.next() {
            value.push(match byte {
                b'\\' => match rest.next()? {
                    b'n' => b'\n',
                    escaped => *escaped,
                },
                byte => *byte,
            });
        }
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// Whether a condition holds.
    fn fit(self, condition: Option<Condition>) -> bool {
        condition.is_none_or(|(name, value)| self.escaped(name).unwrap_or_default() == value.as_bytes())
    }

    /// The value of a label as it stands in the text.
    fn escaped(self, name: &str) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            // Behind the brace or the comma stands the name, then the value in quotes.
            let (label, after) = cut(rest.get(1..)?, b'=')?;
            let after = after.strip_prefix(b"\"")?;
            let mut is_escaped = false;
            let is_end = |byte: &u8| {
                let is_end = *byte == b'"' && !is_escaped;
                is_escaped = *byte == b'\\' && !is_escaped;
                is_end
            };
            let end = after.iter().position(is_end)?;
            if label == name.as_bytes() {
                return after.get(..end);
            }
            rest = after.get(end.saturating_add(1)..)?;
        }
    }

    /// The values of these labels with `/` between them, without those that are missing.
    fn joined(self, names: &[&str]) -> String {
        let values: Vec<String> = names.iter().filter_map(|name| self.value(name)).collect();
        values.join("/")
    }
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = text.split_at(text.iter().position(|byte| *byte == at)?);
    Some((before, after.get(1..)?))
}

/// How something is that is up with 1 and down with 0.
pub fn up_or_down(measured: Measured<'_>) -> Option<(Severity, Phrase)> {
    Some(if measured.value > 0 { (Severity::Ok, "up".into()) } else { (Severity::Error, "down".into()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Family, Label, Merge, Table, Value, gauge, label};

    struct Tunnel;

    impl Table for Tunnel {
        /// The name, the user, what `up` and `trap` say, and whether there is a `kind`.
        type Row<'a> = (&'a str, &'a str, Option<u64>, Option<u64>, bool);
        const LABELS: &'static [Label<Self>] = &[
            label("name", |row, out| out.text(row.0.into())),
            label("user", |row, out| {
                if !row.1.is_empty() {
                    out.text(row.1.into());
                }
            }),
        ];
        const FAMILIES: &'static [Family<Self>] = &[
            gauge("kind", "x", Merge::First, |row| row.4.then_some(1u64.into())),
            gauge("trap", "x", Merge::First, |row| row.3.map(Value::from)),
            gauge("up", "x", Merge::First, |row| row.2.map(Value::from)),
        ];
    }

    const WATCHED: &[Watched] = &[Watched {
        family: "up",
        kind: "tunnel",
        labels: &["name"],
        only: Some(("user", "")),
        unless: Some(("kind", ("user", ""))),
        beside: Some("trap"),
        judge: |tunnel| match tunnel.value {
            0 if tunnel.beside() == Some(1) => Some((Severity::Ok, "waits".into())),
            2 => None,
            _ => up_or_down(tunnel),
        },
        fix: "start NAME",
        traffic: None,
    }];

    #[test]
    fn each_thing_is_judged_by_its_own_values() {
        let mut out = Exposition::default();
        for row in [
            ("a", "", Some(1), None, true),
            ("b", "", Some(0), Some(1), false),
            ("c \"d\"", "", Some(0), Some(0), false),
            ("c", "ann", Some(0), None, false),
            ("anybody", "", Some(0), None, true),
            ("ignored", "", Some(2), None, false),
            ("unknown", "", None, None, false),
        ] {
            out.add::<Tunnel>(&row);
        }
        let mut found = Vec::new();
        judge_all(WATCHED, &out, 0, &mut |watched, labels, severity, message| {
            found.push((watched.subject(labels), severity, message.into_owned(), watched.fix(labels).into_owned()));
        });
        let expected = [
            ("tunnel a", Severity::Ok, "up", "start a"),
            ("tunnel b", Severity::Ok, "waits", "start b"),
            ("tunnel c \"d\"", Severity::Error, "down", "start c \"d\""),
        ];
        let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b, c.to_owned(), d.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_label_is_found_by_its_name_and_not_within_a_value() {
        let labels = Labels(b"{a=\",b=\\\"1\\\"\",b=\"x\\\\y\\nz\",cb=\"2\"}");
        assert_eq!(labels.value("a").as_deref(), Some(",b=\"1\""));
        assert_eq!(labels.value("b").as_deref(), Some("x\\y\nz"));
        assert_eq!(labels.value("c"), None);
        assert_eq!(labels.joined(&["cb", "c", "a"]), "2/,b=\"1\"");
        assert_eq!(Labels(b"").value("a"), None);
        assert_eq!(Labels(b"{a=\"x").value("a"), None, "a quote is missing");
    }
}
