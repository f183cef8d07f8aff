//! The time of day and the local calendar.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::calendar::{CLOCK_SKEW, DAY, utc};

/// Seconds since 1970, UTC.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// A moment in the local calendar: year, month, day, hour, minute, second. Prints as `YYYY-MM-DD hh:mm:ss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local([i64; 6]);

/// The local calendar's date and time of a moment given in seconds since 1970; absent where
/// the C library can't say (on 32-bit targets after 2038).
pub fn local(seconds: i64) -> Option<Local> {
    let calendar = super::libc::localtime(seconds)?;
    let (year, month) = (i64::from(calendar.tm_year).checked_add(1900)?, i64::from(calendar.tm_mon).checked_add(1)?);
    let [day, hour, minute, second] =
        [calendar.tm_mday, calendar.tm_hour, calendar.tm_min, calendar.tm_sec].map(i64::from);
    Some(Local([year, month, day, hour, minute, second]))
}

/// The moment, in seconds since 1970, of a local date and time of the past (year, month, day, hour, minute,
/// second); absent where there is none, as in the hour that summer time skips.
pub fn unix(parts: [i64; 6]) -> Option<i64> {
    let offset = |moment: i64| utc(local(moment)?.0)?.checked_sub(moment);
    reading(utc(parts)?, now(), offset)
}

/// The moment of a local date and time, given as if it were UTC, in the zone whose offset from UTC at a moment is `offset`.
///
/// In the hour that autumn repeats there are two: it is the later one, unless that is still to come.
fn reading(wanted: i64, now: i64, offset: impl Fn(i64) -> Option<i64>) -> Option<i64> {
    // A zone is less than a day from UTC and changes seldom: it has one of the offsets of a day before and a day after.
    let [before, after] = [-DAY, DAY].map(|day| {
        let moment = wanted.checked_sub(offset(wanted.checked_add(day)?)?)?;
        (moment.checked_add(offset(moment)?)? == wanted).then_some(moment)
    });
    let is_past = |moment: &i64| *moment <= now.saturating_add(CLOCK_SKEW);
    // Where a clock is set back, the offset from before makes the earlier moment.
    after.filter(is_past).or(before).or(after)
}

impl fmt::Display for Local {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [year, month, day, hour, minute, second] = self.0;
        write!(out, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_a_date() {
        let text = local(1_795_180_825).expect("a date in 2026").to_string();
        // The zone is the machine's; zones differ from UTC by whole minutes.
        assert!(text.starts_with("2026-11-2") && text.ends_with(":25") && text.len() == 19, "{text}");
    }

    #[test]
    fn a_local_date_is_the_moment_it_came_from() {
        for moment in [0, 951_782_400, 1_582_934_400, 1_795_180_825, 2_000_000_000] {
            assert_eq!(unix(local(moment).expect("a date").0), Some(moment));
        }
        assert_eq!(unix([2026, 13, 1, 0, 0, 0]), None);
        assert_eq!(unix([i64::MAX; 6]), None);
    }

    #[test]
    fn an_hour_that_is_repeated_is_the_one_before_now() {
        // 2026-11-01 06:00:00 UTC: New York goes from UTC-4 to UTC-5, Berlin did a week before, from UTC+2 to UTC+1.
        let (new_york, berlin) = (1_793_512_800, 1_792_890_000);
        let west = |moment: i64| Some(if moment < new_york { -14_400 } else { -18_000 });
        let east = |moment: i64| Some(if moment < berlin { 7200 } else { 3600 });
        // 01:30:00 in New York, which is 05:30:00 and then 06:30:00 UTC.
        let half_past_one = 1_793_496_600;
        for (now, expected) in [
            (1_793_511_000, 1_793_511_000),
            (1_793_511_180, 1_793_511_000),
            (1_793_514_539, 1_793_511_000),
            (1_793_514_540, 1_793_514_600),
            (1_793_514_600, 1_793_514_600),
            (1_793_600_000, 1_793_514_600),
        ] {
            assert_eq!(reading(half_past_one, now, west), Some(expected), "at {now}");
        }
        // 02:30:00 in Berlin, which is 00:30:00 and then 01:30:00 UTC.
        let half_past_two = 1_792_895_400;
        assert_eq!(reading(half_past_two, 1_792_888_300, east), Some(1_792_888_200));
        assert_eq!(reading(half_past_two, 1_792_891_900, east), Some(1_792_891_800));
        // The hours beside the repeated one come once.
        for (wanted, expected) in [(half_past_one - 3600, 1_793_507_400), (half_past_one + 3600, 1_793_518_200)] {
            assert_eq!(reading(wanted, 1_793_600_000, west), Some(expected));
        }
        assert_eq!(reading(half_past_one + 3600, 0, west), Some(1_793_518_200), "to come, and no other");
    }

    #[test]
    fn an_hour_that_is_skipped_has_no_moment() {
        // 2026-03-08 07:00:00 UTC: New York goes from UTC-5 to UTC-4.
        let spring = 1_772_953_200;
        let west = |moment: i64| Some(if moment < spring { -18_000 } else { -14_400 });
        let two = spring - 18_000;
        assert_eq!(reading(two + 1800, 1_793_600_000, west), None);
        assert_eq!(reading(two - 1, 1_793_600_000, west), Some(spring - 1));
        assert_eq!(reading(two + 3600, 1_793_600_000, west), Some(spring));
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_absent() {
        assert_eq!(local(i64::MAX), None);
    }
}
