//! A process under a memory limit, as in a container: a control group of its own, which is removed with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::process::wait_for;

/// The limit of the operator in `deploy/base`.
pub(crate) const SHIPPED: u64 = 256 << 20;

/// A control group with a memory limit.
pub(crate) struct MemoryGroup {
    path: PathBuf,
    is_first_version: bool,
}

impl MemoryGroup {
    /// An error where control groups cannot be made.
    pub(crate) fn create(limit: u64) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let first = Path::new("/sys/fs/cgroup/memory");
        let is_first_version = first.join("memory.limit_in_bytes").exists();
        let root = if is_first_version { first } else { Path::new("/sys/fs/cgroup") };
        let name = format!("keeper-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let group = Self { path: root.join(name), is_first_version };
        let failed = |what: &Path, error| format!("cannot limit memory: {}: {error}", what.display());
        fs::create_dir(&group.path).map_err(|error| failed(&group.path, error))?;
        let file = group.path.join(if is_first_version { "memory.limit_in_bytes" } else { "memory.max" });
        fs::write(&file, limit.to_string()).map_err(|error| failed(&file, error))?;
        Ok(group)
    }

    /// The command, which joins the group before it starts.
    pub(crate) fn wrap(&self, command: &Command) -> Command {
        let join = r#"echo $$ > "$0" && exec "$@""#;
        let mut wrapped = Command::new("sh");
        wrapped.args(["-c", join]).arg(self.path.join("cgroup.procs"));
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        wrapped.current_dir("/");
        wrapped
    }

    /// How often a process was killed because the limit was reached.
    pub(crate) fn kills(&self) -> u64 {
        let file = if self.is_first_version { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.map_or(0, |kills| kills.trim().parse().unwrap())
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // The kernel needs a moment after the last process.
        wait_for("the end of a control group", || fs::remove_dir(&self.path).ok());
    }
}

/// The most memory that a process has used so far, in MiB.
pub(crate) fn peak(process: u32) -> u64 {
    let process = procfs::process::Process::new(process.cast_signed()).unwrap();
    process.status().unwrap().vmhwm.unwrap() / 1024
}
