//! Resource usage of a process.

use std::io;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use procfs::process::Process;

/// Of one process alone, without its children.
#[derive(Debug)]
#[allow(dead_code, reason = "not every program that measures tells all of it")]
pub(crate) struct Usage {
    /// Memory that is resident now.
    pub(crate) settled_mib: f64,
    /// The most that ever was.
    pub(crate) peak_mib: f64,
    /// In user and system mode, of all threads that there ever were.
    pub(crate) cpu_seconds: f64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        let number = i32::try_from(process).map_err(io::Error::other)?;
        let status = Process::new(number).and_then(|process| process.status()).map_err(io::Error::other)?;
        // Unlike /proc/PID/stat, it counts nanoseconds.
        let cpu = clock_getcpuclockid(Pid::from_raw(number)).and_then(clock_gettime)?;
        let mib = |kib: Option<u64>| {
            kib.map(|kib| kib as f64 / 1024.0).ok_or_else(|| io::Error::other("no memory is told"))
        };
        Ok(Self {
            settled_mib: mib(status.vmrss)?,
            peak_mib: mib(status.vmhwm)?,
            cpu_seconds: cpu.tv_sec() as f64 + cpu.tv_nsec() as f64 / 1e9,
        })
    }
}
