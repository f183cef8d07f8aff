//! What is watched through the sources (tunnels, servers, peers, rules, pools, certificates), and how each of it is.
//!
//! Each source lists the families whose samples say so; everything else is the same for all. The overview page, `/status`
//! and the subcommand `status` show what comes of it.

use std::cell::OnceCell;
use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};

use serde::Serialize;

use crate::advice::{Phrase, Severity};
use crate::exposition::{Condition, Exposition, Labels};
use crate::hash_index::HashIndex;

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
    /// Whether something else is said to be down where it is: then it is counted, and not said again.
    pub is_told_elsewhere: bool,
}

impl Watched {
    /// Things that are up with 1 and down with 0; their family, kind and labels are to be filled in.
    pub const PLAIN: Self = Self {
        family: "",
        kind: "",
        labels: &[],
        only: None,
        unless: None,
        beside: None,
        judge: up_or_down,
        fix: "",
        traffic: None,
        is_told_elsewhere: false,
    };
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

/// What a thing is that comes up by itself once it is needed, and is well.
pub const WAITING: &str = "waits for traffic";

/// How many things of one kind are how.
#[derive(Debug, Serialize)]
pub struct Count {
    kind: &'static str,
    ok: u32,
    waiting: u32,
    check: u32,
    down: u32,
}

/// A count for each kind that is watched, in the order in which they were found.
#[derive(Debug, Default, Serialize)]
pub struct Counts(pub Vec<Count>);

impl Counts {
    /// Counts a thing.
    pub fn add(&mut self, thing: &Thing<'_>) {
        let kind = thing.watched.kind;
        let index = self.0.iter().position(|count| count.kind == kind).unwrap_or_else(|| {
            self.0.push(Count { kind, ok: 0, waiting: 0, check: 0, down: 0 });
            self.0.len().saturating_sub(1)
        });
        let Some(count) = self.0.get_mut(index) else { return };
        let number = match thing.severity {
            Severity::Ok | Severity::Absent if thing.message == WAITING => &mut count.waiting,
            Severity::Ok | Severity::Absent => &mut count.ok,
            Severity::Warning => &mut count.check,
            Severity::Error => &mut count.down,
        };
        *number = number.saturating_add(1);
    }
}

/// `tunnels: 3 ok, 1 waiting, 1 down`
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, ok, waiting, check, down } = self;
        write!(f, "{kind}s")?;
        let mut before = ": ";
        for (number, word) in [(ok, "ok"), (waiting, "waiting"), (check, "to check"), (down, "down")] {
            if *number > 0 {
                write!(f, "{before}{number} {word}")?;
                before = ", ";
            }
        }
        Ok(())
    }
}

/// One thing, and how it is.
pub struct Thing<'a> {
    watched: &'static Watched,
    /// The labels of its sample.
    pub labels: Labels<'a>,
    /// How bad it is.
    pub severity: Severity,
    /// How it is, in words.
    pub message: Phrase,
    traffic: &'a dyn Fn() -> Option<[i64; 2]>,
}

impl Thing<'_> {
    /// The family that it is judged by.
    pub fn family(&self) -> &'static str {
        self.watched.family
    }

    /// Its name: `home/net`.
    pub fn name(&self) -> String {
        let values: Vec<String> = self.watched.labels.iter().filter_map(|name| self.labels.value(name)).collect();
        values.join("/")
    }

    /// What it is called: `tunnel home/net`.
    pub fn subject(&self) -> String {
        format!("{} {}", self.watched.kind, self.name())
    }

    /// Whether there is nothing to do about it.
    pub fn is_well(&self) -> bool {
        self.severity < Severity::Warning
    }

    /// Whether it is said elsewhere that it is not well.
    pub fn is_told_elsewhere(&self) -> bool {
        self.watched.is_told_elsewhere && !self.is_well()
    }

    /// What to do about it; empty if it is well.
    pub fn fix(&self) -> Phrase {
        if self.is_well() {
            return Phrase::default();
        }
        let last = self.watched.labels.iter().rev().find_map(|name| self.labels.value(name)).unwrap_or_default();
        self.watched.fix.replace("NAME", &last).into()
    }

    /// The bytes that it received and sent, where they are counted.
    pub fn bytes(&self) -> Option<[i64; 2]> {
        (self.traffic)()
    }
}

/// Calls `each` with every thing. Nothing is allocated for things that are judged by their value alone and of which `each` asks
/// nothing.
pub fn judge_all(watched: &'static [Watched], exposition: &Exposition, now: i64, each: &mut dyn FnMut(Thing<'_>)) {
    for watched in watched {
        judge(watched, exposition, now, each);
    }
}

fn judge(watched: &'static Watched, exposition: &Exposition, now: i64, each: &mut dyn FnMut(Thing<'_>)) {
    // Read when they are asked for.
    let (others, exceptions, sums) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
    let values = |family, only, join| Values::of(family, only, watched, exposition, join);
    exposition.samples(watched.family, &mut |labels, value| {
        if !labels.fit(watched.only) {
            return;
        }
        let beside = || {
            let read = || values(watched.beside.unwrap_or_default(), None, i64::max);
            others.get_or_init(read).get(watched, labels)
        };
        let Some((severity, message)) = (watched.judge)(Measured { value, now, beside: &beside }) else { return };
        let is_excepted = |(family, condition)| {
            exceptions.get_or_init(|| values(family, Some(condition), i64::max)).get(watched, labels).is_some()
        };
        let traffic = || {
            // A sample with a label that the thing must not have is a part of the thing's own.
            let only = watched.only.filter(|(_, value)| value.is_empty());
            let read = || watched.traffic.map(|both| both.map(|family| values(family, only, i64::saturating_add)));
            let [received, sent] = sums.get_or_init(read).as_ref()?;
            Some([received.get(watched, labels)?, sent.get(watched, labels)?])
        };
        let thing = Thing { watched, labels, severity, message, traffic: &traffic };
        if thing.is_well() || !watched.unless.is_some_and(is_excepted) {
            each(thing);
        }
    });
}

/// The values of a family by the names of the things.
#[derive(Default)]
struct Values {
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

    fn get(&self, watched: &Watched, labels: Labels<'_>) -> Option<i64> {
        self.values.get(*self.index.get(&self.hash(watched, labels))?).copied()
    }

    fn hash(&self, watched: &Watched, labels: Labels<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        watched.labels.iter().for_each(|name| labels.escaped(name).hash(&mut hasher));
        hasher.finish()
    }
}

/// How something is that is up with 1 and down with 0.
pub fn up_or_down(measured: Measured<'_>) -> Option<(Severity, Phrase)> {
    Some(if measured.value > 0 { (Severity::Ok, "up".into()) } else { (Severity::Error, "down".into()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::{Family, Label, Merge, Table, Value, gauge, label, name};

    struct Tunnel;

    impl Table for Tunnel {
        /// The name, the user, what `up` and `trap` say, and whether there is a `kind`.
        type Row<'a> = (&'a str, &'a str, Option<u64>, Option<u64>, bool);
        const LABELS: &'static [Label<Self>] = &[
            label(name!("name"), |row, out| out.text(row.0.into())),
            label(name!("user"), |row, out| {
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
            0 if tunnel.beside() == Some(1) => Some((Severity::Ok, WAITING.into())),
            2 => None,
            _ => up_or_down(tunnel),
        },
        fix: "start NAME",
        ..Watched::PLAIN
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
        let (mut found, mut counts) = (Vec::new(), Counts::default());
        judge_all(WATCHED, &out, 0, &mut |thing| {
            counts.add(&thing);
            found.push((thing.subject(), thing.severity, thing.message.to_string(), thing.fix().into_owned()));
        });
        let expected = [
            ("tunnel a", Severity::Ok, "up", ""),
            ("tunnel b", Severity::Ok, WAITING, ""),
            ("tunnel c \"d\"", Severity::Error, "down", "start c \"d\""),
        ];
        let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b, c.to_owned(), d.to_owned()));
        assert_eq!(found, expected);
        assert_eq!(counts.0[0].to_string(), "tunnels: 1 ok, 1 waiting, 1 down");
    }
}
