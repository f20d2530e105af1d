//! How long a recovery takes, by the speeds that restore tests of the same repository measured.
//!
//! `time = fixed + bytes ÷ restore speed + WAL ÷ replay speed`. Restore and replay are measured separately, each from pairs of bytes
//! and seconds of recent tests that passed:
//!
//! - Tests with at least 64 MiB, and at least a quarter of the largest amount, measure the speed.
//! - The others measure the fixed part: what they took besides their bytes at that speed. Without such a test, the fixed part is
//!   contained in the speed.
//! - Nothing is known beyond ten times the largest amount that was measured. If no test measured the speed, nothing is known
//!   beyond 64 MiB: the replay of a few kilobytes takes seconds, which says nothing about a terabyte.
//!
//! Bytes are those of the database and positions of WAL, neither of them compressed, in tests as well as in what `info` reports.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::proofs::{Outcome, Phase, RestoreTest};

/// Bytes with which a test measures a speed.
const LEAST: u64 = 64 << 20;
/// The share of the largest amount with which a test measures a speed.
const LARGE_PART: u64 = 4;
/// How far beyond the largest amount an estimate reaches.
const FURTHEST: f64 = 10.0;
/// The fixed part is never taken for more than this share of a test that measures the speed.
const MOST_FIXED: f64 = 0.9;

/// What one test measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// When it ended.
    pub at: DateTime<Utc>,
    restore: Option<Sample>,
    replay: Option<Sample>,
}

/// Bytes, and the seconds that they took.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    bytes: u64,
    seconds: f64,
}

/// The speeds of a repository.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speeds {
    /// When the newest of the tests ended.
    pub measured_at: DateTime<Utc>,
    restore: Course,
    replay: Course,
}

/// Seconds as a function of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Course {
    fixed: Estimate,
    per_byte: Estimate,
    /// Bytes up to which it is known.
    reach: f64,
}

/// Seconds according to the median of the tests, and to the slowest one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Estimate {
    #[serde(rename = "median_seconds")]
    pub median: f64,
    #[serde(rename = "worst_seconds")]
    pub worst: f64,
}

/// How long recoveries from a repository take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RecoveryTime {
    /// When the newest of the tests ended.
    pub measured_at: DateTime<Utc>,
    /// To the latest point in time: the newest backup, and all WAL since.
    pub latest: Option<Estimate>,
    /// To the point in time that takes longest.
    pub worst_point: Option<Estimate>,
    #[serde(skip)]
    pub speeds: Speeds,
}

/// What a recovery reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Size of the database in the backup.
    pub bytes: u64,
    /// From the start of the backup to the point in time.
    pub wal: u64,
}

impl Measurement {
    /// None if the test did not pass, or if it is not known how much it restored and how long that took. How large single databases are
    /// is unknown.
    #[must_use]
    pub fn of(test: &RestoreTest) -> Option<Self> {
        let sample = |phase, bytes: Option<u64>| {
            let seconds = test.phase(phase)?.as_secs_f64();
            Some(Sample { bytes: bytes?, seconds })
        };
        let size = test.backup.as_ref().and_then(|backup| backup.size);
        let restored = size.or(test.restored_bytes).filter(|_| test.is_whole());
        let measured = Self {
            at: test.stop,
            restore: sample(Phase::Restore, restored),
            replay: sample(Phase::Replay, test.wal_bytes),
        };
        let is_known = measured.restore.is_some() || measured.replay.is_some();
        (test.outcome == Outcome::Passed && is_known).then_some(measured)
    }
}

impl Speeds {
    /// None until restore and replay were measured.
    #[must_use]
    pub fn of(measurements: &[Measurement]) -> Option<Self> {
        let samples = |of: fn(&Measurement) -> Option<Sample>| -> Vec<Sample> {
            measurements.iter().filter_map(of).collect()
        };
        Some(Self {
            measured_at: measurements.iter().map(|measured| measured.at).max()?,
            restore: Course::of(&samples(|measured| measured.restore))?,
            replay: Course::of(&samples(|measured| measured.replay))?,
        })
    }

    /// None for more than was measured.
    #[must_use]
    pub fn estimate(&self, amount: Amount) -> Option<Estimate> {
        Some(self.restore.estimate(amount.bytes)?.plus(self.replay.estimate(amount.wal)?))
    }
}

impl Course {
    fn of(samples: &[Sample]) -> Option<Self> {
        let largest = samples.iter().map(|sample| sample.bytes).max()?;
        let is_large = |sample: &Sample| sample.bytes >= LEAST.max(largest / LARGE_PART);
        let (large, small): (Vec<Sample>, Vec<Sample>) = samples.iter().copied().partition(is_large);
        // With the fixed part. At least 64 MiB in no time are a wrong clock.
        let large: Vec<Sample> = large.into_iter().filter(|sample| sample.seconds > 0.0).collect();
        let raw = Estimate::of(large.iter().map(|sample| sample.seconds / sample.bytes as f64));
        let besides = |sample: &Sample| {
            let of_bytes = raw.map_or(0.0, |raw| raw.median * sample.bytes as f64);
            (sample.seconds - of_bytes).max(0.0)
        };
        let fixed = Estimate::of(small.iter().map(besides));
        if fixed.is_none() && raw.is_none() {
            return None;
        }
        let fixed = fixed.unwrap_or_default();
        let per_byte = large.iter().map(|sample| {
            let of_fixed = fixed.median.min(MOST_FIXED * sample.seconds);
            (sample.seconds - of_fixed) / sample.bytes as f64
        });
        let measured = large.iter().map(|sample| sample.bytes).max();
        Some(Self {
            fixed,
            per_byte: Estimate::of(per_byte).unwrap_or_default(),
            reach: measured.map_or(LEAST as f64, |largest| FURTHEST * largest as f64),
        })
    }

    fn estimate(&self, bytes: u64) -> Option<Estimate> {
        let bytes = bytes as f64;
        (bytes <= self.reach).then(|| self.fixed.plus(self.per_byte.times(bytes)))
    }
}

impl Estimate {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let is_even = values.len().is_multiple_of(2);
        let lower = if is_even { *values.get(middle.checked_sub(1)?)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), worst: *values.last()? })
    }

    fn plus(self, other: Self) -> Self {
        Self { median: self.median + other.median, worst: self.worst + other.worst }
    }

    fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, worst: self.worst * factor }
    }

    /// The longer of both, as they are estimated.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { median: self.median.max(other.median), worst: self.worst.max(other.worst) }
    }
}

#[cfg(test)]
mod tests;
