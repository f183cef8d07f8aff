//! Which IKE_SAs charon has, also those that it leaves out of a list.
//!
//! `list-sas` with `noblock` passes over an IKE_SA that a worker thread of charon has checked out, be it for the
//! milliseconds of a rekey or for as long as an updown script hangs. `stats` counts it nevertheless. So what earlier
//! lists said of it is kept as long as charon counts more IKE_SAs than it lists: it is there, and was established.
//! `ike-updown` and `ike-rekey` tell which ones have ended meanwhile.

use super::sa::IkeSa;
use crate::hash_index::{NameMap, NumberMap};

/// The most that are known at all: lists that fail, one after the other, may name any number.
const MOST_KNOWN: usize = 50_000;

/// The IKE_SAs that were established when they were last listed.
#[derive(Debug, Default)]
pub struct IkeSas {
    known: NumberMap<Known>,
    /// Which list it is.
    list: u32,
    /// Whether any list since charon started was gone through to its end.
    has_base: bool,
}

#[derive(Debug)]
struct Known {
    connection: Box<[u8]>,
    is_up: bool,
    /// The list that had it last.
    list: u32,
}

/// How many IKE_SAs that are not half-open charon has and did not list. It counts them before and after a list, while
/// some come and others go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// No fewer than this.
    pub least: u64,
    /// No more than this.
    pub most: u64,
}

impl Unlisted {
    /// Where so many were counted `before` a list and `after` it, and so many were `listed`; none where charon does not
    /// count them.
    pub fn of(before: Option<u64>, after: Option<u64>, listed: u64) -> Self {
        let (before, after) = (before.or(after).unwrap_or(0), after.or(before).unwrap_or(0));
        let (least, most) = (before.min(after), before.max(after));
        Self { least: least.saturating_sub(listed), most: most.saturating_sub(listed) }
    }
}

/// Why a list may be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gaps {
    /// It left out one that may matter: one that was listed before, or any where none ever was.
    pub lacks_any: bool,
    /// It lacks more than charon counts besides, so some have ended. One list is no proof: where another IKE_SA came, was
    /// listed and went between the two counts, they are the same as if the one that is missing had ended.
    pub some_ended: bool,
}

/// What is known of the IKE_SAs that a list did not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// How many of them earlier lists had as established, by connection.
    pub held: NameMap<usize>,
    /// The numbers of these.
    pub numbers: Vec<u64>,
    /// How many no list ever had.
    pub unknown: u64,
    /// How many there are in all.
    pub count: u64,
}

impl Missing {
    /// How many IKE_SAs of this connection are held.
    pub fn held_of(&self, connection: &[u8]) -> u64 {
        self.held.get(connection).map_or(0, |count| *count as u64)
    }
}

impl IkeSas {
    /// Begins a list.
    pub fn begin(&mut self) {
        self.list = self.list.saturating_add(1);
    }

    /// Notes one that is listed; whether it is known that no other in this list had its number.
    pub fn record(&mut self, ike: &IkeSa<'_>) -> bool {
        let Some(number) = ike.unique_id.number() else { return false };
        let (list, is_up, is_full) = (self.list, ike.is_up(), self.known.len() >= MOST_KNOWN);
        match self.known.get_mut(&number) {
            Some(known) if known.list == list => return false,
            Some(known) if &*known.connection == ike.name.bytes() => (known.list, known.is_up) = (list, is_up),
            None if is_full => return false,
            _ => drop(self.known.insert(number, Known { connection: ike.name.bytes().into(), is_up, list })),
        }
        true
    }

    /// Forgets one that has ended.
    pub fn forget(&mut self, number: Option<u64>) {
        number.and_then(|number| self.known.remove(&number));
    }

    /// Forgets all: charon was started anew, and numbers its IKE_SAs from 1.
    pub fn clear(&mut self) {
        (self.known, self.has_base) = (NumberMap::default(), false);
    }

    /// What the last list lacks.
    pub fn gaps(&self, unlisted: Unlisted) -> Gaps {
        let absent = self.absent().count() as u64;
        Gaps { lacks_any: unlisted.most > 0 && (!self.has_base || absent > 0), some_ended: absent > unlisted.most }
    }

    /// Ends a list that left out so many, and tells what is known of them.
    ///
    /// Where more are absent than charon counts, some have ended. One that is missing for long goes on missing, so those
    /// are held that have been for longest; of those that are missing since the same list none can be told from another.
    pub fn finish(&mut self, unlisted: Unlisted) -> Missing {
        let mut lists: Vec<u32> = self.absent().map(|known| known.list).collect();
        lists.sort_unstable();
        let most = usize::try_from(unlisted.most).unwrap_or(usize::MAX);
        let held_until =
            most.checked_sub(1).and_then(|last| lists.get(last.min(lists.len().saturating_sub(1))).copied());
        let list = self.list;
        self.known
            .retain(|_, known| known.list == list || known.is_up && held_until.is_some_and(|last| known.list <= last));
        let mut missing = Missing::default();
        for (number, known) in self.known.iter().filter(|(_, known)| known.list != list) {
            missing.numbers.push(*number);
            let count = missing.held.entry(known.connection.clone()).or_default();
            *count = count.saturating_add(1);
        }
        let held = missing.numbers.len() as u64;
        missing.unknown = unlisted.least.saturating_sub(held);
        missing.count = held.min(unlisted.most).saturating_add(missing.unknown);
        self.has_base = true;
        missing
    }

    /// Those that were established and that the last list did not have.
    fn absent(&self) -> impl Iterator<Item = &Known> {
        self.known.values().filter(|known| known.is_up && known.list != self.list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ike<'a>(name: &'a str, number: &'a str) -> IkeSa<'a> {
        let mut ike = IkeSa::default();
        (ike.name, ike.unique_id, ike.state) = (name.into(), number.into(), "ESTABLISHED".into());
        ike
    }

    fn list(sas: &mut IkeSas, listed: &[(&'static str, &'static str)], least: u64, most: u64) -> (Vec<u64>, u64, u64) {
        sas.begin();
        for (name, number) in listed {
            assert!(sas.record(&ike(name, number)), "{number} twice");
        }
        let mut missing = sas.finish(Unlisted { least, most });
        missing.numbers.sort_unstable();
        assert_eq!(missing.held.values().sum::<usize>(), missing.numbers.len());
        (missing.numbers, missing.unknown, missing.count)
    }

    #[test]
    fn one_that_is_not_listed_is_held_as_long_as_charon_counts_it() {
        let mut sas = IkeSas::default();
        assert_eq!(list(&mut sas, &[("a", "1"), ("b", "2")], 0, 0), (vec![], 0, 0));
        for _ in 0..100 {
            assert_eq!(list(&mut sas, &[("b", "2")], 1, 1), (vec![1], 0, 1));
        }
        assert_eq!(list(&mut sas, &[("b", "2")], 0, 0), (vec![], 0, 0));
        assert_eq!(list(&mut sas, &[("b", "2")], 1, 1), (vec![], 1, 1), "it is another one");
    }

    #[test]
    fn while_one_hangs_those_that_end_are_not_held() {
        let mut sas = IkeSas::default();
        list(&mut sas, &[("hung", "1"), ("a", "2"), ("a", "3")], 0, 0);
        assert_eq!(list(&mut sas, &[("a", "2"), ("a", "3")], 1, 1).0, [1]);
        assert_eq!(list(&mut sas, &[("a", "3")], 1, 1).0, [1], "2 is gone");
        assert_eq!(list(&mut sas, &[("a", "3"), ("a", "4")], 1, 1).0, [1]);
        assert_eq!(list(&mut sas, &[("hung", "1")], 0, 0).0, Vec::<u64>::new(), "all but 1 are gone");
    }

    #[test]
    fn of_those_that_are_missing_since_the_same_list_only_events_tell_which_have_ended() {
        let mut sas = IkeSas::default();
        list(&mut sas, &[("hung", "1"), ("a", "2"), ("b", "3")], 0, 0);
        assert_eq!(list(&mut sas, &[("b", "3")], 1, 1), (vec![1, 2], 0, 1));
        sas.forget(Some(2));
        assert_eq!(list(&mut sas, &[("b", "3")], 1, 1), (vec![1], 0, 1));
    }

    #[test]
    fn only_what_was_established_is_held() {
        let mut sas = IkeSas::default();
        sas.begin();
        let mut replaced = ike("a", "1");
        replaced.state = "REKEYED".into();
        sas.record(&replaced);
        sas.record(&ike("a", "2"));
        assert!(!sas.record(&ike("b", "2")), "a number twice");
        assert!(!sas.record(&ike("b", "")), "no number");
        assert_eq!(sas.finish(Unlisted::default()), Missing::default());
        assert_eq!(list(&mut sas, &[], 2, 2), (vec![2], 1, 2));
    }

    #[test]
    fn a_list_is_asked_for_again_where_one_of_it_is_known_or_none_ever_was() {
        let (mut sas, one) = (IkeSas::default(), Unlisted { least: 1, most: 1 });
        sas.begin();
        assert!(sas.gaps(one).lacks_any && !sas.gaps(Unlisted::default()).lacks_any);
        list(&mut sas, &[("a", "1")], 0, 0);
        sas.begin();
        assert!(sas.gaps(one).lacks_any);
        sas.record(&ike("a", "1"));
        assert!(!sas.gaps(one).lacks_any, "it is a new one, whose child no list had");
        sas.clear();
        sas.begin();
        assert!(sas.gaps(one).lacks_any);
    }

    #[test]
    fn some_have_ended_where_more_are_missing_than_charon_counts() {
        let mut sas = IkeSas::default();
        let ended = |sas: &IkeSas, most| sas.gaps(Unlisted { least: 0, most }).some_ended;
        list(&mut sas, &[("a", "1"), ("b", "2"), ("c", "3")], 0, 0);
        sas.begin();
        assert!(ended(&sas, 2) && !ended(&sas, 3));
        sas.forget(Some(3));
        assert!(ended(&sas, 1) && !ended(&sas, 2), "an event has told of that one");
        sas.record(&ike("a", "1"));
        sas.record(&ike("b", "2"));
        assert!(!ended(&sas, 0));
    }

    #[test]
    fn what_a_lying_charon_lists_and_counts_is_not_kept_without_bound() {
        let (mut sas, numbers) = (IkeSas::default(), 0..2 * MOST_KNOWN);
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let list = |sas: &mut IkeSas, numbers: &[String]| {
            sas.begin();
            numbers.iter().filter(|number| sas.record(&ike("a", number))).count()
        };
        assert_eq!(list(&mut sas, &numbers[..20_000]), 20_000);
        sas.finish(Unlisted { least: u64::MAX, most: u64::MAX });
        list(&mut sas, &[]);
        let missing = sas.finish(Unlisted { least: u64::MAX, most: u64::MAX });
        assert_eq!(missing.numbers.len(), 20_000);
        // Lists that have no end are never settled.
        list(&mut sas, &numbers);
        assert_eq!(sas.known.len(), MOST_KNOWN);
        assert_eq!(list(&mut sas, &numbers[..20_000]), 20_000, "those that are known still are");
    }
}
