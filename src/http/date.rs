//! The date of an answer (RFC 9110, section 5.6.7).

use crate::text::MONTHS;

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: i64 = 86_400;
const DAYS_OF_4_CENTURIES: i64 = 146_097;

/// A moment in seconds since 1970, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn print(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (year, month, day) = date(days);
    let weekday = name(&WEEKDAYS, days.rem_euclid(7));
    let month = name(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month and day of the month, from days since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    // The year begins in March, so that the leap day is its last, and the calendar repeats every 400 years.
    let days = days + 719_468;
    let cycle = days.div_euclid(DAYS_OF_4_CENTURIES);
    let days = days.rem_euclid(DAYS_OF_4_CENTURIES);
    let year = (days - days / 1460 + days / 36_524 - days / (DAYS_OF_4_CENTURIES - 1)) / 365;
    let day = days - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let new_year = i64::from(month >= 10);
    (400 * cycle + year + new_year, (month + 2) % 12 + 1, day - (153 * month + 2) / 5 + 1)
}

fn name(names: &[&'static str], at: i64) -> &'static str {
    usize::try_from(at).ok().and_then(|at| names.get(at)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::clock;

    #[test]
    fn moments_print_as_the_rfc_has_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(print(seconds), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_the_day_it_came_from() {
        for day in 0..DAYS_OF_4_CENTURIES {
            let (year, month, number) = date(day);
            assert_eq!(clock::utc([year, month, number, 0, 0, 0]), Some(day * DAY), "{day}");
        }
    }

    #[test]
    fn no_moment_is_too_far_away() {
        assert!(print(i64::MAX).ends_with(" GMT") && print(i64::MIN).ends_with(" GMT"));
    }
}
