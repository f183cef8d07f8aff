//! When a status file was last written, and in which zone its dates are.
//!
//! A file remains when its server dies, so only its age shows that. What a file states, and what is made of it:
//!
//! - **`TIME` of versions 2 and 3** has a time_t, which does not depend on a zone: it is used and not the file's mtime,
//!   so that a copied or touched file does not look fresh. Only if it is in the future (the clock was set back) the
//!   mtime is used.
//! - **`Updated` of version 1 and of client statistics** is a local date of the daemon (`time_string` in `otime.c`),
//!   whose zone may be another than this machine's. If it equals the mtime in a zone (a multiple of a quarter of an
//!   hour from UTC, from -12 to +14 hours), that is the zone, and the mtime is used. This machine's zone is tried
//!   first, with its summer time; any other is assumed to be constant, since its rules are not known: dates on the
//!   other side of a clock change are wrong by an hour.
//! - If date and mtime fit in no zone (the file was copied or touched later, or it changed and its mtime was kept),
//!   both must be fresh; the zone is the last one that fitted, or this machine's.
//! - **A change** since the previous scrape counts as well: the file was written in between, whatever the clock of
//!   another machine says. For a file whose time is ahead of this machine's clock only changes count, and an mtime that
//!   is ahead is ignored. An older time in the file is no write, nor is a new mtime alone.

use super::status::{Timestamp, parts};
use crate::calendar::{CLOCK_SKEW, utc};

/// How often OpenVPN writes its status where nothing else is asked of it, in seconds.
const USUAL_INTERVAL: i64 = 60;

/// A file that missed this many of its updates is stale.
const MISSED: i64 = 3;

/// The age in seconds from which a file is stale that has been seen to be written only once.
pub const FIRST_LIMIT: i64 = USUAL_INTERVAL * MISSED;

/// The offsets of all zones are multiples of this, in seconds.
const QUARTER: i64 = 900;

/// The smallest and the greatest offset of a zone, in seconds east of UTC.
const ZONES: std::ops::RangeInclusive<i64> = -12 * 3600..=14 * 3600;

/// How much later than `Updated` a file may have been written, in seconds: by a slow disk, or by a copy every minute.
const DELAY: std::ops::RangeInclusive<i64> = -15..=120;

/// The present time, and the conversion of local dates.
#[derive(Clone, Copy)]
pub struct Now {
    /// Seconds since 1970.
    pub seconds: i64,
    /// The moment of a local date and time.
    pub unix: fn([i64; 6]) -> Option<i64>,
    /// The local date and time of a moment.
    pub local: fn(i64) -> Option<String>,
}

/// The zone of a file's dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// This machine's.
    #[default]
    Local,
    /// Seconds east of UTC.
    East(i64),
}

/// What the times of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The time that the file itself states, in seconds since 1970; absent where it states none.
    pub updated: Option<i64>,
    /// The zone of its other dates.
    pub zone: Zone,
    /// The age of the file in seconds if it is stale, else absent.
    pub late: Option<i64>,
}

/// What is known of the times at which a file was written.
///
/// The longest of the last three intervals between two writes counts: a server that is started again writes at once. If
/// the file is read less often than it is written, the intervals that are seen are multiples of the real one.
#[derive(Clone, Copy, Debug)]
pub struct UpdateHistory {
    /// The time that the file stated last, read as UTC; only compared with the next.
    stated: i64,
    updated: Option<i64>,
    written: i64,
    /// When it was last read.
    last_read: i64,
    zone: Option<Zone>,
    gaps: [i64; 3],
}

impl Zone {
    /// The zone in which the date of `updated` is the file's time_t or, without that, its mtime; absent where no zone
    /// fits.
    fn of(updated: Timestamp<'_>, modified: Option<i64>, now: Now) -> Option<Self> {
        let (written, date) = (updated.seconds.or(modified)?, parts(updated.text)?);
        let fits = |moment: i64| DELAY.contains(&written.saturating_sub(moment));
        if (now.unix)(date).is_some_and(fits) {
            return Some(Self::Local);
        }
        let wall = utc(date)?;
        let ahead = wall.checked_sub(written)?.checked_add(*DELAY.end())?;
        let zone = Self::East(ahead.div_euclid(QUARTER).checked_mul(QUARTER)?);
        let Self::East(east) = zone else { return None };
        (ZONES.contains(&east) && fits(wall.checked_sub(east)?)).then_some(zone)
    }

    /// A time of the file in seconds since 1970: its number or, without that, its date in this zone.
    pub fn moment(self, moment: Timestamp<'_>, now: Now) -> Option<i64> {
        moment.seconds.or_else(|| match self {
            Self::Local => (now.unix)(parts(moment.text)?),
            Self::East(east) => utc(parts(moment.text)?)?.checked_sub(east),
        })
    }
}

impl Times {
    /// What the times of a status say that the daemon gave at `now`.
    pub fn of_answer(updated: Timestamp<'_>, now: Now) -> Self {
        let zone = Zone::of(updated, Some(now.seconds), now).unwrap_or_default();
        Self { updated: zone.moment(updated, now), zone, late: None }
    }
}

impl UpdateHistory {
    /// The history after the file was read for the first time.
    fn first(updated: Timestamp<'_>, modified: Option<i64>, now: Now, known: Option<Zone>) -> Self {
        let past = |moment: &i64| *moment <= now.seconds.saturating_add(CLOCK_SKEW);
        let modified = modified.filter(past);
        let zone = Zone::of(updated, modified, now).or(known);
        let moment = zone.unwrap_or_default().moment(updated, now);
        let stated = if updated.seconds.is_some() { moment } else { moment.into_iter().chain(modified).min() };
        let written = stated.filter(past).or(modified).unwrap_or(now.seconds);
        Self {
            stated: updated.seconds.or_else(|| utc(parts(updated.text)?)).or(modified).unwrap_or(now.seconds),
            updated: moment,
            written,
            last_read: now.seconds,
            zone,
            gaps: [USUAL_INTERVAL; 3],
        }
    }

    /// The history after the file was read at `now`, with the mtime `modified` and the statement that it was written at
    /// `updated`.
    ///
    /// The interval over which a server was down counts for no more than the limit of that time, so that a server that
    /// dies soon after its start is noticed. A longer interval is learned in several steps.
    pub fn after(before: Option<Self>, updated: Timestamp<'_>, modified: Option<i64>, now: Now) -> Self {
        let new = Self::first(updated, modified, now, before.and_then(|before| before.zone));
        let Some(before) = before else { return new };
        if new.stated == before.stated {
            return Self { last_read: now.seconds, ..before };
        }
        let is_later = new.stated > before.stated;
        let seen = if is_later { before.last_read.min(now.seconds) } else { new.written };
        let gap = new.updated.unwrap_or(new.written).saturating_sub(before.updated.unwrap_or(before.written));
        let gap = gap.min(before.limit().max(FIRST_LIMIT));
        let [latest, earlier, _] = before.gaps;
        let gaps = if gap > 0 { [gap, latest, earlier] } else { before.gaps };
        Self { written: new.written.max(seen), gaps, ..new }
    }

    /// When the file was last read.
    pub fn last_read(&self) -> i64 {
        self.last_read
    }

    /// The same without a new interval, for a file that was not read while its daemon answered itself.
    pub fn with_intervals_of(self, before: Self) -> Self {
        Self { gaps: before.gaps, ..self }
    }

    /// The file's times at `now`. It is stale when it is older than `stale_after` seconds or, without that, than
    /// [`UpdateHistory::limit`].
    pub fn times(&self, stale_after: Option<i64>, now: Now) -> Times {
        let age = now.seconds.saturating_sub(self.written);
        let late = (age > stale_after.unwrap_or_else(|| self.limit())).then_some(age);
        Times { updated: self.updated, zone: self.zone.unwrap_or_default(), late }
    }

    /// The age in seconds from which the file is stale.
    pub fn limit(&self) -> i64 {
        self.gaps.into_iter().max().unwrap_or(USUAL_INTERVAL).saturating_mul(MISSED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20 13:20:25 UTC.
    const NOW: i64 = 1_795_180_825;

    fn date(text: &str) -> Timestamp<'_> {
        Timestamp { text: text.into(), seconds: None }
    }

    /// Here it is an hour later than UTC, or `east` seconds.
    fn now(seconds: i64, unix: fn([i64; 6]) -> Option<i64>) -> Now {
        Now { seconds, unix, local: |_| None }
    }

    fn cet(parts: [i64; 6]) -> Option<i64> {
        utc(parts)?.checked_sub(3600)
    }

    #[test]
    fn the_zone_is_the_difference_to_the_mtime() {
        for (text, delay, zone) in [
            ("2026-11-20 14:20:25", 0, Some(Zone::Local)),
            ("2026-11-20 14:20:25", 90, Some(Zone::Local)),
            ("2026-11-20 14:20:30", 0, Some(Zone::Local)),
            ("Fri Nov 20 14:20:25 2026", 0, Some(Zone::Local)),
            ("2026-11-20 13:20:25", 0, Some(Zone::East(0))),
            ("Fri Nov 20 13:20:25 2026", 2, Some(Zone::East(0))),
            ("2026-11-20 13:20:27", 0, Some(Zone::East(0))),
            ("2026-11-20 18:50:25", 1, Some(Zone::East(5 * 3600 + 1800))),
            ("2026-11-20 19:05:25", 1, Some(Zone::East(5 * 3600 + 2700))),
            ("2026-11-20 09:50:25", 1, Some(Zone::East(-3 * 3600 - 1800))),
            ("2026-11-20 01:20:25", 1, Some(Zone::East(-12 * 3600))),
            ("2026-11-21 03:20:25", 1, Some(Zone::East(14 * 3600))),
            ("2026-11-21 03:35:25", 1, None),
            ("2026-11-20 01:05:25", 1, None),
            ("2026-11-20 13:13:25", 0, None),
            ("2026-11-19 13:20:25", 0, None),
            ("2020-04-30 13:55:38", 0, None),
            ("yesterday", 0, None),
        ] {
            let found = Zone::of(date(text), Some(NOW + delay), now(NOW, cet));
            assert_eq!(found, zone, "{text} {delay}");
            let Some(zone) = zone else { continue };
            let moment = zone.moment(date(text), now(NOW, cet)).expect("a moment");
            assert!((moment - NOW).abs() <= 5, "{text}: {moment}");
        }
        assert_eq!(Zone::of(date("2026-11-20 13:20:25"), None, now(NOW, cet)), None, "no mtime");
        let sixty = Timestamp { seconds: Some(NOW), ..date("2026-11-20 18:50:25") };
        assert_eq!(Zone::of(sixty, None, now(NOW, cet)), Some(Zone::East(19_800)), "by its own number");
        assert_eq!(Zone::Local.moment(sixty, now(NOW, cet)), Some(NOW), "which wins");
    }

    /// Looks at a file, each with our time, what the file says, and its mtime: how late it is each time.
    fn looks(looks: &[(i64, Timestamp<'_>, Option<i64>)]) -> Vec<Option<i64>> {
        let mut known = None;
        let look = |(seconds, updated, modified): &(i64, Timestamp<'_>, Option<i64>)| {
            let now = now(*seconds, cet);
            known.insert(UpdateHistory::after(known, *updated, *modified, now)).times(None, now).late
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn a_file_of_another_zone_is_as_old_as_its_mtime() {
        // UTC, and Tokyo; each first fresh, then dead.
        for text in ["2026-11-20 13:20:25", "2026-11-20 22:20:25", "2026-11-20 14:20:25"] {
            let file = (date(text), Some(NOW + 1));
            let found = looks(&[(NOW + 5, file.0, file.1), (NOW + 180, file.0, file.1), (NOW + 7200, file.0, file.1)]);
            assert_eq!(found, [None, None, Some(7200)], "{text}");
            // Read for the first time hours later, when its date is now in some zone.
            for hours in 1..14 {
                assert!(looks(&[(NOW + hours * 3600, file.0, file.1)])[0].is_some(), "{text} {hours}");
            }
        }
    }

    #[test]
    fn a_new_mtime_is_no_writing() {
        let text = date("2026-11-20 13:20:25");
        let found =
            looks(&[(NOW, text, Some(NOW)), (NOW + 170, text, Some(NOW + 165)), (NOW + 400, text, Some(NOW + 399))]);
        assert_eq!(found, [None, None, Some(400)]);
        // Copied later: 14 minutes 30 from every zone.
        assert_eq!(looks(&[(NOW + 40_470, text, Some(NOW + 40_470))]), [Some(44_070)]);
        // The number counts, whatever the mtime.
        let number = |seconds| Timestamp { text: "".into(), seconds: Some(seconds) };
        assert_eq!(looks(&[(NOW, number(NOW - 3600), Some(NOW))]), [Some(3600)]);
        assert_eq!(looks(&[(NOW, number(NOW - 5), Some(NOW - 9000))]), [None]);
        // Neither does an mtime that was kept make a dead file of one whose date is new, once it was seen to change.
        let kept = Some(NOW - 200_000);
        let found = looks(&[(NOW, date("2026-11-20 14:20:20"), kept), (NOW + 60, date("2026-11-20 14:21:20"), kept)]);
        assert_eq!(found, [Some(200_000), None]);
    }

    #[test]
    fn what_lies_in_the_future_goes_by_the_mtime_or_by_change() {
        let number = |seconds| Timestamp { text: "".into(), seconds: Some(seconds) };
        assert_eq!(looks(&[(NOW, number(NOW + 86_400), Some(NOW - 500))]), [Some(500)]);
        let ahead = (number(NOW + 86_400), Some(NOW + 86_400));
        let found = looks(&[(NOW, ahead.0, ahead.1), (NOW + 180, ahead.0, ahead.1), (NOW + 181, ahead.0, ahead.1)]);
        assert_eq!(found, [None, None, Some(181)]);
        let found = looks(&[(NOW, ahead.0, ahead.1), (NOW + 300, number(NOW + 86_700), Some(NOW + 86_700))]);
        assert_eq!(found, [None, None], "it changes");
        // An mtime of the future says nothing of the zone.
        let local = date("2026-11-20 14:20:25");
        assert_eq!(UpdateHistory::first(local, Some(NOW + 3600), now(NOW, cet), None).updated, Some(NOW));
        assert_eq!(looks(&[(NOW + 3000, local, Some(NOW + 7200))]), [Some(3000)]);
        let text = date("2026-11-21 13:20:25");
        assert_eq!(looks(&[(NOW, text, Some(NOW - 1000)), (NOW + 10, text, None)]), [Some(1000), Some(1010)]);
        assert_eq!(looks(&[(NOW, date(""), Some(NOW - 1000)), (NOW, date(""), None)])[0], Some(1000), "by mtime alone");
    }

    #[test]
    fn another_machines_clock_may_be_behind() {
        let number = |seconds| Timestamp { text: "".into(), seconds: Some(seconds) };
        let behind = |at: i64| (NOW + at, number(NOW + at - 900), None);
        assert_eq!(looks(&[behind(0), behind(60), behind(120)]), [Some(900), None, None]);
        // An older file put in its place is no writing.
        assert_eq!(looks(&[behind(0), (NOW + 60, number(NOW - 2000), None)])[1], Some(2060));
    }

    #[test]
    fn a_file_is_stale_when_it_missed_three_updates() {
        let number = |seconds| Timestamp { text: "".into(), seconds: Some(seconds) };
        let mut known = None;
        let mut late = |updated, seconds, stale_after| {
            let now = now(seconds, cet);
            known.insert(UpdateHistory::after(known, number(updated), None, now)).times(stale_after, now).late
        };
        assert_eq!(late(1000, 1180, None), None, "written every minute, as far as is known");
        assert_eq!(late(1000, 1181, None), Some(181));
        assert_eq!((late(1190, 1190, None), late(1200, 1200, None)), (None, None));
        assert_eq!((late(1210, 1210, None), late(1220, 1220, None)), (None, None));
        assert_eq!(late(1220, 1250, None), None, "the writings were 10 s apart, three times");
        assert_eq!(late(1220, 1251, None), Some(31));
        assert_eq!(late(1220, 1251, Some(60)), None, "told otherwise");
        assert_eq!(late(1220, 900, None), None, "the clock was set back");
    }

    #[test]
    fn how_often_a_file_is_written_is_learned_and_forgotten() {
        let (mut known, mut updated) = (None, 1000);
        for (gap, limit, why) in [
            (60, 180, "every minute"),
            (60, 180, "every minute"),
            (5, 180, "started again, and written at once"),
            (60, 180, "as before"),
            (5, 180, "started again"),
            (5, 180, "and again"),
            (60, 180, "as before"),
            (60, 180, "as before"),
            (36_000, 540, "down for a night"),
            (60, 540, "back"),
            (60, 540, "back"),
            (60, 180, "as before"),
            (600, 540, "told to write every 10 minutes"),
            (600, 1620, "the same"),
            (600, 1800, "known"),
            (10, 1800, "told to write every 10 seconds"),
            (10, 1800, "the same"),
            (10, 30, "known"),
            (60, 180, "every minute again"),
        ] {
            updated += gap;
            let now = now(updated, cet);
            let writings =
                UpdateHistory::after(known, Timestamp { text: "".into(), seconds: Some(updated) }, None, now);
            let late = |age| writings.times(None, Now { seconds: updated + age, ..now }).late;
            assert_eq!((late(limit), late(limit + 1)), (None, Some(limit + 1)), "{updated}: {why}");
            known = Some(writings);
        }
    }

    #[test]
    fn the_bounds_of_a_delay_and_of_a_clock_that_is_ahead() {
        let text = date("2026-11-20 14:20:25");
        for (delay, zone) in [(-16, None), (-15, Some(Zone::Local)), (120, Some(Zone::Local)), (121, None)] {
            assert_eq!(Zone::of(text, Some(NOW + delay), now(NOW, cet)), zone, "{delay}");
        }
        let number = |seconds| Timestamp { text: "".into(), seconds: Some(seconds) };
        for (ahead, late) in [(60, None), (61, Some(500))] {
            assert_eq!(looks(&[(NOW, number(NOW + ahead), Some(NOW - 500))]), [late], "{ahead} s ahead");
        }
    }

    #[test]
    fn a_change_was_made_since_the_last_look_and_not_since_the_last_change() {
        let behind =
            |at: i64, written: i64| (NOW + at, Timestamp { text: "".into(), seconds: Some(NOW + written - 900) }, None);
        let found = looks(&[behind(0, 0), behind(100, 0), behind(200, 60), behind(280, 60), behind(281, 60)]);
        assert_eq!(found[2..], [None, None, Some(181)]);
    }

    #[test]
    fn the_zone_of_the_last_time_that_it_fitted_stays() {
        let utc_file = UpdateHistory::after(None, date("2026-11-20 13:20:25"), Some(NOW + 1), now(NOW + 5, cet));
        assert_eq!(utc_file.zone, Some(Zone::East(0)));
        // Copied since: the mtime is that of the copy, and fits no zone.
        let copy =
            UpdateHistory::after(Some(utc_file), date("2026-11-20 13:21:25"), Some(NOW + 500), now(NOW + 505, cet));
        assert_eq!((copy.updated, copy.times(None, now(NOW + 505, cet)).zone), (Some(NOW + 60), Zone::East(0)));
    }
}
