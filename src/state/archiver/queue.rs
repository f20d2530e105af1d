//! How fast the queue grows, and when it will be full.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Observation;
use super::passed;

/// Growth is computed over this time.
const WINDOW: Duration = Duration::from_mins(30);
/// The minimum time for computing growth: in less time, single segments matter too much.
const SHORTEST_SECONDS: f64 = 30.0;
/// The minimum time between samples, except for the newest.
const SPACING: Duration = Duration::from_secs(15);
/// Predictions beyond this time are omitted.
const HORIZON: Duration = Duration::from_hours(366 * 24);

/// The size of the queue at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// By a monotonic clock.
    uptime: Duration,
    bytes: u64,
}

/// The samples since the queue last became shorter or its size was unknown, including that of the observation.
pub(super) fn samples(before: &[Sample], observed: &Observation) -> Vec<Sample> {
    let queue = observed.queue.as_ref().ok().filter(|queue| !queue.is_idle && !queue.is_truncated);
    let Some(bytes) = queue.and_then(super::Queue::bytes) else { return Vec::new() };
    let now = Sample { uptime: observed.uptime, bytes };
    let has_grown = before.last().is_some_and(|last| last.bytes <= bytes && last.uptime <= now.uptime);
    let mut samples: Vec<Sample> = if has_grown { before.to_vec() } else { Vec::new() };
    if let [.., earlier, last] = samples.as_slice()
        && last.uptime.saturating_sub(earlier.uptime) < SPACING
    {
        samples.pop();
    }
    samples.retain(|sample| now.uptime.saturating_sub(sample.uptime) <= WINDOW && sample.uptime < now.uptime);
    samples.push(now);
    samples
}

/// Bytes per second over the samples, if the queue grows.
pub(super) fn growth(samples: &[Sample]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let seconds = passed(first.uptime, last.uptime).filter(|seconds| *seconds >= SHORTEST_SECONDS)?;
    let grown = last.bytes.checked_sub(first.bytes).filter(|grown| *grown > 0)?;
    Some(grown as f64 / seconds)
}

/// When pgBackRest will start to drop WAL: now if the limit is already exceeded.
pub(super) fn drop_expected_at(observed: &Observation, growth: Option<f64>) -> Option<DateTime<Utc>> {
    let queue = observed.queue.as_ref().ok().filter(|queue| !queue.is_idle)?;
    let (queued, limit) = (queue.bytes()?, observed.queue_limit?);
    let Some(left) = limit.checked_sub(queued) else { return Some(observed.at) };
    let seconds = left as f64 / growth?;
    let left = Duration::try_from_secs_f64(seconds).ok().filter(|left| *left <= HORIZON)?;
    observed.at.checked_add_signed(TimeDelta::from_std(left).ok()?)
}
