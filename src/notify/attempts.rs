//! When a call is repeated.

use std::time::Duration;

/// The first pause after a failed call …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … which doubles until it is this long.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// How often a call has failed in a row.
#[derive(Debug, Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    pub(super) fn succeeded(&mut self) {
        self.0 = 0;
    }

    /// Whether the last call failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.0 > 0
    }

    /// The pause until the next attempt. `random` is between 0 and 1; it keeps many from calling at the same time.
    pub(super) fn failed(&mut self, random: f64) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.0)).min(LONGEST_PAUSE);
        self.0 = self.0.saturating_add(1);
        pause.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let mut attempts = Attempts::default();
        let pauses: Vec<f64> = (0..12).map(|_| attempts.failed(1.0).as_secs_f64()).collect();
        assert_eq!(pauses[..4], [1.0, 2.0, 4.0, 8.0]);
        assert!(pauses[9..].iter().all(|pause| (pause - 300.0).abs() < 1e-9), "{pauses:?}");
        assert!((attempts.failed(0.0).as_secs_f64() - 150.0).abs() < 1e-9);
        attempts.succeeded();
        assert!((attempts.failed(0.5).as_secs_f64() - 0.75).abs() < 1e-9);
        (0..100).for_each(|_| assert!(attempts.failed(1.0) <= LONGEST_PAUSE));
    }
}
