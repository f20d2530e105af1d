//! The token bucket of `rate_limit`, as in exporter-toolkit: `burst` requests at once, plus one per `interval`.
//!
//! All clients and listeners share one bucket, as in the toolkit. Where passwords are required, each client address has its own, so
//! that those who guess cannot keep out those who know. A request rejected for its password takes a token too; `/healthz` and
//! `/readyz` take none, so that a busy scraper cannot make a probe fail.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::client::ClientAddress;

/// `rate_limit` as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Time to refill one token; never zero.
    pub interval: Duration,
    /// Size of the bucket; never zero.
    pub burst: u32,
}

/// The buckets. Each starts full, and is replaced when the configuration changes.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<HashMap<Option<ClientAddress>, Bucket>>);

/// Clients that are remembered. A bucket that is forgotten would be full again after a while.
const CLIENTS: usize = 1024;

#[derive(Debug)]
struct Bucket {
    limit: RateLimit,
    tokens: f64,
    counted_at: Instant,
}

impl Buckets {
    /// Takes a token of a client, or of all together. `Err` contains the time until one is available.
    pub fn take(&self, of: Option<ClientAddress>, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.0.lock();
        if buckets.len() >= CLIENTS && !buckets.contains_key(&of) {
            let longest_unused = buckets.iter().min_by_key(|(_, bucket)| bucket.counted_at);
            if let Some(client) = longest_unused.map(|(client, _)| *client) {
                buckets.remove(&client);
            }
        }
        let full = || Bucket { limit, tokens: f64::from(limit.burst), counted_at: now };
        let bucket = buckets.entry(of).or_insert_with(full);
        if bucket.limit != limit {
            *bucket = full();
        }
        bucket.take(now)
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let interval = self.limit.interval.as_secs_f64();
        let grown = now.saturating_duration_since(self.counted_at).as_secs_f64() / interval;
        self.tokens = (self.tokens + grown).min(f64::from(self.limit.burst));
        self.counted_at = now;
        if self.tokens < 1.0 {
            return Err(self.limit.interval.mul_f64(1.0 - self.tokens));
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { interval: Duration::from_secs(2), burst: 3 };

    #[test]
    fn burst_then_one_each_interval() {
        let bucket = Buckets::default();
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(bucket.take(None, LIMIT, start), Ok(()));
        }
        assert_eq!(bucket.take(None, LIMIT, start), Err(Duration::from_secs(2)));
        assert!(bucket.take(None, LIMIT, start + Duration::from_millis(1900)).is_err());
        assert_eq!(bucket.take(None, LIMIT, start + Duration::from_millis(2100)), Ok(()));
        assert!(bucket.take(None, LIMIT, start + Duration::from_millis(2200)).is_err());
    }

    #[test]
    fn never_more_than_a_burst() {
        let bucket = Buckets::default();
        let start = Instant::now();
        assert_eq!(bucket.take(None, LIMIT, start), Ok(()));
        let later = start + Duration::from_hours(1);
        let taken = (0..10).filter(|_| bucket.take(None, LIMIT, later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_new_limit_starts_full() {
        let bucket = Buckets::default();
        let now = Instant::now();
        while bucket.take(None, LIMIT, now).is_ok() {}
        let other = RateLimit { burst: 1, ..LIMIT };
        assert_eq!(bucket.take(None, other, now), Ok(()));
        assert!(bucket.take(None, other, now).is_err());
    }

    #[test]
    fn clients_do_not_take_each_others_tokens() {
        let bucket = Buckets::default();
        let now = Instant::now();
        let client = |number: u32| Some(std::net::IpAddr::from(number.to_be_bytes()).into());
        for number in (0_u32..).take(3 * CLIENTS) {
            assert_eq!(bucket.take(client(number), LIMIT, now), Ok(()));
        }
        assert_eq!(bucket.0.lock().len(), CLIENTS);
        while bucket.take(client(1), LIMIT, now).is_ok() {}
        assert_eq!(bucket.take(client(2), LIMIT, now), Ok(()));
        assert_eq!(bucket.take(None, LIMIT, now), Ok(()));
    }
}
