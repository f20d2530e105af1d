//! Resource usage of a process, from `/proc`.

use procfs::process::Process;
use procfs::{ProcError, ProcResult};

/// Of one process alone, without its children.
#[derive(Debug)]
#[allow(dead_code, reason = "not every program that measures tells all of it")]
pub(crate) struct Usage {
    /// Memory that is resident now.
    pub(crate) settled_mib: f64,
    /// The most that ever was.
    pub(crate) peak_mib: f64,
    /// In user and system mode.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> ProcResult<Self> {
        let number = i32::try_from(process).map_err(|error| ProcError::Other(error.to_string()))?;
        let process = Process::new(number)?;
        let (status, stat) = (process.status()?, process.stat()?);
        let mib = |kib: Option<u64>| {
            kib.map(|kib| kib as f64 / 1024.0).ok_or_else(|| ProcError::Other("no memory is told".to_owned()))
        };
        Ok(Self {
            settled_mib: mib(status.vmrss)?,
            peak_mib: mib(status.vmhwm)?,
            cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
        })
    }
}
