//! Restricts where programs can write, with Landlock (Linux 5.13 and later). PostgreSQL that replays `CREATE TABLESPACE` empties
//! directories at the place that the WAL names, which may be those of the original database.
//!
//! The restriction belongs to the thread that starts a program and is inherited by all processes that the program starts.

use std::io;
use std::path::Path;
use std::thread;

use landlock::{
    ABI, AccessFs, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus,
    path_beneath_rules,
};

/// The rights of this version are all about files and directories, and include moving files between directories.
const VERSION: ABI = ABI::V3;

/// Where programs always can write.
const DEVICES: [&str; 2] = ["/dev/null", "/dev/zero"];

/// Runs `start` in a thread that can write only in `directory`, and not at all if the kernel cannot enforce that.
pub fn writing_only_in<T: Send>(
    directory: &Path,
    start: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let restricted = || match restrict(directory) {
        Ok(true) => start(),
        Ok(false) => Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel does not support Landlock")),
        Err(error) => Err(io::Error::other(error)),
    };
    thread::scope(|scope| {
        let spawned = thread::Builder::new().spawn_scoped(scope, restricted)?;
        spawned
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that starts the program panicked")))
    })
}

/// Whether the kernel enforces the restriction.
#[must_use]
pub fn is_supported(directory: &Path) -> bool {
    writing_only_in(directory, || Ok(())).is_ok()
}

/// Whether the kernel enforces it.
fn restrict(directory: &Path) -> Result<bool, RulesetError> {
    let writes = AccessFs::from_write(VERSION);
    let devices = path_beneath_rules(DEVICES, AccessFs::WriteFile | AccessFs::Truncate);
    let status = Ruleset::default()
        .handle_access(writes)?
        .create()?
        .add_rules(path_beneath_rules([directory], writes))?
        .add_rules(devices)?
        .restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_written_elsewhere() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let script = format!(
            "echo x > {0}/file && mkdir {0}/a {0}/b && mv {0}/file {0}/a && mv {0}/a/file {0}/b && echo x > /dev/null \
             && cat {1}/there && ! echo x > {1}/file && ! rm {1}/there && ! mkdir {1}/more",
            own.path().display(),
            other.path().display()
        );
        fs::write(other.path().join("there"), "x").unwrap();
        let ran =
            writing_only_in(own.path(), || std::process::Command::new("sh").args(["-c", &script]).output());
        if is_supported(own.path()) {
            let output = ran.unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
        } else {
            assert_eq!(ran.unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
        // The restriction ends with the thread.
        fs::write(other.path().join("file"), "x").unwrap();
    }
}
