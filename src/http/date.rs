//! The date of a reply (RFC 9110, section 5.6.7). The only file that uses httpdate.

use std::time::{Duration, UNIX_EPOCH};

/// The last second of the year 9999; httpdate panics at later ones.
const LAST: u64 = 253_402_300_799;

/// Prints a unix time as `Sun, 06 Nov 1994 08:49:37 GMT`. A time before 1970 or after 9999, from a clock that is not set,
/// becomes the first or the last possible date.
pub(super) fn print(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH);
    httpdate::fmt_http_date(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_clock_that_nobody_set_ends_nothing() {
        for (seconds, text) in [
            (-1, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MIN, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (253_402_300_800, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (i64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(print(seconds), text);
        }
    }
}
