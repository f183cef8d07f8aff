//! Limits the rate of answered requests: a token bucket, like exporter-toolkit's `rate_limit`.

use std::time::{Duration, Instant};

/// The limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The time after which another request is answered.
    pub interval: Duration,
    /// The number of requests that are answered at once after a pause.
    pub burst: u32,
}

/// The remaining tokens, as the time at which the bucket is full again; absent if it is full.
#[derive(Debug, Default)]
pub struct Bucket(Option<Instant>);

impl Bucket {
    /// Takes a token for a request; returns whether there was one.
    pub fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let full = self.0.map_or(now, |full| full.max(now)).checked_add(limit.interval);
        let most = limit.interval.saturating_mul(limit.burst);
        let next = full.filter(|full| full.saturating_duration_since(now) <= most);
        self.0 = next.or(self.0);
        next.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_request_is_answered_in_each_interval() {
        let limit = RateLimit { interval: Duration::from_millis(100), burst: 3 };
        let start = Instant::now();
        let mut bucket = Bucket::default();
        for (milliseconds, expected) in [
            (0, true),
            (0, true),
            (1, true),
            (1, false),
            (99, false),
            (100, true),
            (101, false),
            (199, false),
            (200, true),
            (200, false),
            // Two tokens are back, and later no more than three.
            (400, true),
            (400, true),
            (400, false),
            (9000, true),
            (9000, true),
            (9000, true),
            (9000, false),
        ] {
            let now = start + Duration::from_millis(milliseconds);
            assert_eq!(bucket.take(limit, now), expected, "at {milliseconds} ms");
        }
    }

    #[test]
    fn a_limit_beyond_all_time_answers_as_many_as_its_burst() {
        let limit = RateLimit { interval: Duration::MAX, burst: 1 };
        assert!(!Bucket::default().take(limit, Instant::now()), "there is no such time");
        let limit = RateLimit { interval: Duration::from_secs(86_400), burst: u32::MAX };
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|_| bucket.take(limit, Instant::now())));
    }
}
