//! The memory that this process may use: the limit of its control group, or half of what the machine has.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the operating system says nothing: the limit of the operator in `deploy/base`.
const UNKNOWN: u64 = 256 << 20;
/// No limit is taken to be lower: with less, nothing works.
const LOWEST: u64 = 32 << 20;
/// A limit of cgroup v1 that is none is the largest multiple of a page; no machine has as much.
const HIGHEST: u64 = 1 << 60;

pub(super) fn of_process() -> u64 {
    of(Path::new("/"))
}

fn of(root: &Path) -> u64 {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_groups = groups.lines().filter_map(|line| lowest(root, line)).min();
    let memory = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total(&text));
    let of_machine = memory.map(|memory| memory / 2);
    of_groups.into_iter().chain(of_machine).min().unwrap_or(UNKNOWN).max(LOWEST)
}

/// The lowest limit of a group and those around it. A line is `number:controllers:path`, of version 2 `0::path`.
fn lowest(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount, files): (_, &[&str]) = match controllers {
        "" => ("sys/fs/cgroup", &["memory.max", "memory.high"]),
        of if of.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
        }
        _ => return None,
    };
    let mount = root.join(mount);
    // In a container the path may be that outside, while the group is mounted as the root.
    let own: PathBuf = mount.join(path.trim_start_matches('/'));
    let groups = own.ancestors().take_while(|group| group.starts_with(&mount));
    let limits = groups.flat_map(|group| files.iter().map(|file| group.join(file)));
    let read = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    limits.filter_map(read).filter(|limit| *limit < HIGHEST).min()
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limit(files: &[(&str, &str)]) -> u64 {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        of(root.path())
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:   1 kB\n");

    #[test]
    fn the_lowest_limit_counts() {
        let two = ("proc/self/cgroup", "0::/pods/one\n");
        let group = ("sys/fs/cgroup/pods/one/memory.max", "max\n");
        assert_eq!(limit(&[MACHINE, two, group]), 4096 * MIB);
        let outer = ("sys/fs/cgroup/pods/memory.max", "268435456\n");
        assert_eq!(limit(&[MACHINE, two, group, outer]), 256 * MIB);
        let high = ("sys/fs/cgroup/pods/one/memory.high", "134217728\n");
        assert_eq!(limit(&[MACHINE, two, group, outer, high]), 128 * MIB);
    }

    #[test]
    fn version_one_and_containers_are_understood() {
        let groups = ("proc/self/cgroup", "4:memory:/kubepods/x\n3:cpu:/\n0::/\n");
        let own = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
        assert_eq!(limit(&[MACHINE, groups, own]), 256 * MIB);
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit(&[MACHINE, groups, none]), 4096 * MIB);
        assert_eq!(limit(&[]), 256 * MIB);
        let tiny = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
        assert_eq!(limit(&[MACHINE, groups, tiny]), LOWEST);
    }
}
