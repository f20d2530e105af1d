//! What the operating system says of this process, for the `process_*` metrics.

use procfs::process::{LimitValue, Process};

use crate::memory::{Bounds, responses};
use crate::metrics::ProcessFigures;
use crate::telemetry;

/// The figures of this moment. What cannot be read is absent; where there is no `/proc`, nearly all is.
#[must_use]
pub fn figures() -> ProcessFigures {
    let own = ProcessFigures {
        log_lines_dropped: telemetry::dropped_lines(),
        responses: Some((responses::refused(), responses::cut())),
        memory_limit_bytes: Some(Bounds::of_process().limit),
        ..ProcessFigures::default()
    };
    let Ok(process) = Process::myself() else { return own };
    let (stat, limits) = (process.stat().ok(), process.limits().ok());
    let of_limit = |value: LimitValue| match value {
        LimitValue::Value(value) => Some(value),
        LimitValue::Unlimited => None,
    };
    let ticks = procfs::ticks_per_second() as f64;
    let booted = procfs::boot_time_secs().ok();
    ProcessFigures {
        cpu_seconds: stat.as_ref().map(|stat| (stat.utime + stat.stime) as f64 / ticks),
        open_fds: process.fd_count().ok().map(|count| count as u64),
        max_fds: limits.as_ref().and_then(|limits| of_limit(limits.max_open_files.soft_limit)),
        threads: stat.as_ref().and_then(|stat| u64::try_from(stat.num_threads).ok()),
        virtual_memory_bytes: stat.as_ref().map(|stat| stat.vsize),
        virtual_memory_max_bytes: limits
            .as_ref()
            .and_then(|limits| of_limit(limits.max_address_space.soft_limit)),
        resident_memory_bytes: stat.as_ref().map(|stat| stat.rss * procfs::page_size()),
        start_time_seconds: stat
            .zip(booted)
            .map(|(stat, booted)| booted as f64 + stat.starttime as f64 / ticks),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let held = std::fs::File::open("/proc/self/stat").unwrap();
        let now = figures();
        assert!(now.cpu_seconds.unwrap() >= 0.0);
        let virtual_bytes = now.virtual_memory_bytes.unwrap();
        let resident = now.resident_memory_bytes.unwrap();
        assert!(resident > 100_000 && resident < virtual_bytes, "{resident} {virtual_bytes}");
        assert!(now.open_fds.unwrap() >= 4 && now.open_fds <= now.max_fds, "{:?}", now.open_fds);
        assert!(now.threads.unwrap() >= 1);
        let age = chrono::Utc::now().timestamp() as f64 - now.start_time_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
        drop(held);
    }
}
