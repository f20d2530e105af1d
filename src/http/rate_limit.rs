//! The token bucket of `rate_limit`, as in exporter-toolkit: `burst` requests at once, plus one per `interval`.
//!
//! All clients and listeners share one bucket. A request rejected for its password takes a token too; `/healthz` and
//! `/readyz` take none, so that a busy scraper cannot make a probe fail.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// `rate_limit` as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Time to refill one token; never zero.
    pub interval: Duration,
    /// Size of the bucket; never zero.
    pub burst: u32,
}

/// The bucket. It starts full, and is replaced when the configuration changes.
#[derive(Debug, Default)]
pub struct Bucket(Mutex<Option<State>>);

#[derive(Debug)]
struct State {
    limit: RateLimit,
    tokens: f64,
    counted_at: Instant,
}

impl Bucket {
    /// Takes a token. `Err` contains the time until one is available.
    pub fn take(&self, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let mut guard = self.0.lock();
        let full = || State { limit, tokens: f64::from(limit.burst), counted_at: now };
        let state = match guard.as_mut() {
            Some(state) if state.limit == limit => state,
            _ => guard.insert(full()),
        };
        let interval = limit.interval.as_secs_f64();
        let grown = now.saturating_duration_since(state.counted_at).as_secs_f64() / interval;
        state.tokens = (state.tokens + grown).min(f64::from(limit.burst));
        state.counted_at = now;
        if state.tokens < 1.0 {
            return Err(limit.interval.mul_f64(1.0 - state.tokens));
        }
        state.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { interval: Duration::from_secs(2), burst: 3 };

    #[test]
    fn burst_then_one_each_interval() {
        let bucket = Bucket::default();
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(bucket.take(LIMIT, start), Ok(()));
        }
        assert_eq!(bucket.take(LIMIT, start), Err(Duration::from_secs(2)));
        assert!(bucket.take(LIMIT, start + Duration::from_millis(1900)).is_err());
        assert_eq!(bucket.take(LIMIT, start + Duration::from_millis(2100)), Ok(()));
        assert!(bucket.take(LIMIT, start + Duration::from_millis(2200)).is_err());
    }

    #[test]
    fn never_more_than_a_burst() {
        let bucket = Bucket::default();
        let start = Instant::now();
        assert_eq!(bucket.take(LIMIT, start), Ok(()));
        let later = start + Duration::from_hours(1);
        let taken = (0..10).filter(|_| bucket.take(LIMIT, later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_new_limit_starts_full() {
        let bucket = Bucket::default();
        let now = Instant::now();
        while bucket.take(LIMIT, now).is_ok() {}
        let other = RateLimit { burst: 1, ..LIMIT };
        assert_eq!(bucket.take(other, now), Ok(()));
        assert!(bucket.take(other, now).is_err());
    }
}
