//! Options of the resource that would make pgBackRest fail in one container, and are right in another. They are left out where
//! they fail.

use super::names;
use super::validated::RepoNumber;

/// Log files of pgBackRest on the repo host; its own default.
pub const REPO_HOST_LOG: &str = "/var/log/pgbackrest";
/// Locks of pgBackRest on the repo host are below this.
pub const TEMPORARY: &str = "/tmp";

/// Where pgBackRest runs.
#[derive(Debug, Clone, Copy)]
pub enum Container<'a> {
    /// In PostgreSQL's pods. It knows only the PostgreSQL of its own pod.
    Database,
    /// On the repo host. Its root file system is read-only.
    RepoHost {
        /// How many pods of PostgreSQL it knows.
        instances: u32,
        /// The repos on its volumes.
        volumes: &'a [RepoNumber],
    },
}

impl Container<'_> {
    /// Why an option is left out here.
    #[must_use]
    pub fn objection(self, option: &str, value: &str) -> Option<&'static str> {
        match (self, option) {
            (Self::Database | Self::RepoHost { instances: 0 | 1, .. }, "backup-standby") if value == "y" => {
                Some("backups would fail, because pgBackRest knows no standby there (error 56)")
            }
            (Self::RepoHost { volumes, .. }, "lock-path") if !is_writable(value, volumes) => Some(
                "pgBackRest could not create locks, because the root file system is read-only (error 47)",
            ),
            (Self::RepoHost { volumes, .. }, "log-path") if !is_writable(value, volumes) => {
                Some("pgBackRest could not write logs, because the root file system is read-only")
            }
            _ => None,
        }
    }
}

/// Whether the repo host can create a path.
fn is_writable(path: &str, volumes: &[RepoNumber]) -> bool {
    let is_below = |directory: &str| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_plain = !path.split('/').any(|part| part == "..");
    let on_volume = || volumes.iter().any(|number| is_below(&names::volume_mount(*number)));
    is_plain && (is_below(TEMPORARY) || is_below(REPO_HOST_LOG) || on_volume())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_left_out_where_they_fail() {
        let volumes = [RepoNumber::of_name("repo2").unwrap()];
        let repo_host = |instances| Container::RepoHost { instances, volumes: &volumes };
        for (container, option, value, fails) in [
            (Container::Database, "backup-standby", "y", true),
            (Container::Database, "backup-standby", "n", false),
            (Container::Database, "backup-standby", "prefer", false),
            (repo_host(1), "backup-standby", "y", true),
            (repo_host(2), "backup-standby", "y", false),
            (Container::Database, "lock-path", "/pgdata/lock", false),
            (repo_host(2), "lock-path", "/pgdata/lock", true),
            (repo_host(2), "lock-path", "/tmp/lock", false),
            (repo_host(2), "lock-path", "/tmp", false),
            (repo_host(2), "lock-path", "/tmpfs", true),
            (repo_host(2), "lock-path", "/tmp/../lock", true),
            (repo_host(2), "lock-path", "/data/pgbackrest/repo2/lock", false),
            (repo_host(2), "lock-path", "/data/pgbackrest/repo1/lock", true),
            (repo_host(2), "log-path", "/pgdata/log", true),
            (repo_host(2), "spool-path", "/pgdata/spool", false),
        ] {
            assert_eq!(container.objection(option, value).is_some(), fails, "{container:?} {option}={value}");
        }
    }
}
