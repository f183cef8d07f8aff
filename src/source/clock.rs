//! The time of day and the local calendar.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, UTC.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

/// A moment in the local calendar; prints as `YYYY-MM-DD hh:mm:ss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

/// The local calendar's date and time of a moment given in seconds since 1970; absent where
/// the C library can't say (on 32-bit targets after 2038).
#[expect(unsafe_code, reason = "no safe wrapper of localtime_r exists among the dependencies")]
pub fn local(seconds: i64) -> Option<Local> {
    #[allow(deprecated, clippy::useless_conversion, reason = "musl's time_t is 32 bits wide on some targets")]
    let moment: libc::time_t = seconds.try_into().ok()?;
    let mut calendar = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and localtime_r keeps neither. It fills
    // `calendar` unless it returns null.
    let calendar = unsafe {
        if libc::localtime_r(&raw const moment, calendar.as_mut_ptr()).is_null() {
            return None;
        }
        calendar.assume_init()
    };
    Some(Local {
        year: i64::from(calendar.tm_year).checked_add(1900)?,
        month: i64::from(calendar.tm_mon).checked_add(1)?,
        day: calendar.tm_mday.into(),
        hour: calendar.tm_hour.into(),
        minute: calendar.tm_min.into(),
        second: calendar.tm_sec.into(),
    })
}

impl fmt::Display for Local {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
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
    fn a_moment_beyond_the_calendar_is_absent() {
        assert_eq!(local(i64::MAX), None);
    }
}
