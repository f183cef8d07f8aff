//! Dates of the Gregorian calendar as numbers, without a zone.

/// The length of a day, in seconds.
pub const DAY: i64 = 86_400;

/// How far, in seconds, a time of another machine or daemon may be ahead of our clock and still be believed.
pub const CLOCK_SKEW: i64 = 60;

/// The moment, in seconds since 1970, of a date and time in UTC (year, month, day, hour, minute, second); absent for what
/// is no date.
pub fn utc([year, month, day, hour, minute, second]: [i64; 6]) -> Option<i64> {
    let is_date = (1900..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..=60).contains(&second) {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// The date and time in UTC (year, month, day, hour, minute, second) of a moment in seconds since 1970: the reverse of [`utc`].
pub fn date(moment: i64) -> [i64; 6] {
    let (days, second) = (moment.div_euclid(DAY), moment.rem_euclid(DAY));
    // Days since 1 March of the year 0, in periods of 400 years, which are alike; the year begins in March here, too.
    let days = days.saturating_add(719_468);
    let (period, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    [period * 400 + year + next, month, day, second / 3600, second / 60 % 60, second % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_seconds_is_a_date() {
        for (moment, expected) in [
            (0, [1970, 1, 1, 0, 0, 0]),
            (951_782_400, [2000, 2, 29, 0, 0, 0]),
            (951_868_799, [2000, 2, 29, 23, 59, 59]),
            (1_795_180_825, [2026, 11, 20, 13, 20, 25]),
            (253_402_300_799, [9999, 12, 31, 23, 59, 59]),
            (-1, [1969, 12, 31, 23, 59, 59]),
        ] {
            assert_eq!(date(moment), expected, "{moment}");
        }
        // Every day from 1900 to 2300 has a date of its own.
        for day in -25_567..120_530 {
            let moment = day * DAY + 45_296;
            assert_eq!(utc(date(moment)), Some(moment), "day {day}");
        }
        let _ = (date(i64::MIN), date(i64::MAX));
    }

    #[test]
    fn a_date_is_a_number_of_seconds() {
        for (date, expected) in [
            ([1970, 1, 1, 0, 0, 0], Some(0)),
            ([2000, 2, 29, 0, 0, 0], Some(951_782_400)),
            ([2026, 11, 20, 13, 20, 25], Some(1_795_180_825)),
            ([9999, 12, 31, 23, 59, 59], Some(253_402_300_799)),
            ([1950, 1, 1, 0, 0, 0], Some(-631_152_000)),
            ([2026, 13, 1, 0, 0, 0], None),
            ([2026, 1, 1, 24, 0, 0], None),
            ([i64::MAX; 6], None),
        ] {
            assert_eq!(utc(date), expected, "{date:?}");
        }
    }
}
