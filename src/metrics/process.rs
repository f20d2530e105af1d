//! Process metrics from the operating system. The figures are passed in.

use std::fmt;

use super::catalogue::exporter as catalogue;
use super::family::Families;

/// The figures of this process at one point in time. Unknown ones are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    /// Log lines that standard error did not take.
    pub log_lines_dropped: Option<u64>,
    /// Responses refused, and responses cut off, because others waited for memory.
    pub responses: Option<(u64, u64)>,
    /// Memory that the process may use, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// User and system time, seconds.
    pub cpu_seconds: Option<f64>,
    /// File descriptors in use.
    pub open_fds: Option<u64>,
    /// Soft limit of file descriptors.
    pub max_fds: Option<u64>,
    pub threads: Option<u64>,
    /// Address space, bytes.
    pub virtual_memory_bytes: Option<u64>,
    /// Soft limit of address space, bytes; absent without one.
    pub virtual_memory_max_bytes: Option<u64>,
    /// Resident set, bytes.
    pub resident_memory_bytes: Option<u64>,
    /// Start, Unix seconds.
    pub start_time_seconds: Option<f64>,
}

pub(super) fn write(families: &mut Families<'_, '_>, figures: &ProcessFigures) -> fmt::Result {
    if let Some(lines) = figures.log_lines_dropped {
        families.counter(&catalogue::LOG_LINES_DROPPED_TOTAL, lines as f64)?;
    }
    if let Some((refused, cut)) = figures.responses {
        families.counter(&catalogue::RESPONSES_REFUSED_TOTAL, refused as f64)?;
        families.counter(&catalogue::RESPONSES_CUT_TOTAL, cut as f64)?;
    }
    families
        .family(&catalogue::MEMORY_LIMIT_BYTES, |family| family.add_known(&[], figures.memory_limit_bytes))?;
    if let Some(seconds) = figures.cpu_seconds {
        families.counter(&catalogue::PROCESS_CPU_SECONDS_TOTAL, seconds)?;
    }
    let integers = [
        (&catalogue::PROCESS_OPEN_FDS, figures.open_fds),
        (&catalogue::PROCESS_MAX_FDS, figures.max_fds),
        (&catalogue::PROCESS_THREADS, figures.threads),
        (&catalogue::PROCESS_VIRTUAL_MEMORY_BYTES, figures.virtual_memory_bytes),
        (&catalogue::PROCESS_VIRTUAL_MEMORY_MAX_BYTES, figures.virtual_memory_max_bytes),
        (&catalogue::PROCESS_RESIDENT_MEMORY_BYTES, figures.resident_memory_bytes),
    ];
    for (metric, figure) in integers {
        families.family(metric, |family| family.add_known(&[], figure))?;
    }
    families.family(&catalogue::PROCESS_START_TIME_SECONDS, |family| {
        family.add_known(&[], figures.start_time_seconds)
    })
}
