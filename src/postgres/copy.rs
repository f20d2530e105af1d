//! The command line of a PostgreSQL that recovers a copy of a database and is thrown away afterwards.
//!
//! The copy is a standby without a primary, so it never ends recovery by itself: it cannot write, archive, or start background workers
//! and subscriptions. It reads no configuration of the original: `config_file` is empty, and `postgresql.auto.conf` is emptied before.
//! The command line has priority over every file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use Value::{Always, Of, Usual};

/// Settings that a standby needs at least as large as they were on the primary. PostgreSQL 14 and later pause recovery otherwise, and
/// earlier versions stop.
pub const SIZED: [&str; 5] = [
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
];

/// The smallest values: those of a cluster that was never changed, for a `pg_controldata` that prints none.
const SMALLEST: [u64; 5] = [100, 8, 10, 0, 64];

/// The port names the socket; the copy does not listen on the network.
pub const PORT: &str = "5432";

/// Bytes of the path of a socket, including the zero at its end (`sockaddr_un`).
const LONGEST_SOCKET: usize = 108;

/// Settings that users cannot make, with what [`arguments`] makes of them. The [`SIZED`] ones are added.
static OURS: [(&str, Value); 48] = [
    ("allow_alter_system", Usual),
    ("archive_cleanup_command", Always("")),
    ("archive_command", Always("")),
    ("archive_library", Usual),
    ("archive_mode", Always("off")),
    // PostgreSQL promotes a copy that reaches its target before it accepts queries. Even then, it does nothing by itself.
    ("autovacuum", Always("off")),
    ("config_file", Of(|copy| Some(copy.file("postgresql.conf")))),
    ("data_directory", Usual),
    // Shared memory in files of the data directory goes with it, however the copy ends.
    ("dynamic_shared_memory_type", Always("mmap")),
    // Login triggers fire on standbys, too (PostgreSQL 17 and later).
    ("event_triggers", Of(|copy| (copy.major >= 17).then(|| "off".into()))),
    ("external_pid_file", Usual),
    ("fsync", Always("off")),
    ("hba_file", Of(|copy| Some(copy.file("pg_hba.conf")))),
    ("hot_standby", Always("on")),
    ("huge_pages", Always("off")),
    ("ident_file", Of(|copy| Some(copy.file("pg_ident.conf")))),
    // With these, damage would pass.
    ("ignore_checksum_failure", Usual),
    ("ignore_invalid_pages", Usual),
    ("zero_damaged_pages", Usual),
    ("lc_messages", Always("C")),
    ("listen_addresses", Always("")),
    ("log_destination", Always("stderr")),
    ("log_directory", Usual),
    ("log_error_verbosity", Usual),
    ("log_filename", Usual),
    ("log_line_prefix", Always("")),
    ("log_min_messages", Usual),
    ("logging_collector", Always("off")),
    ("max_logical_replication_workers", Always("0")),
    ("port", Always(PORT)),
    ("primary_conninfo", Always("")),
    ("primary_slot_name", Always("")),
    ("promote_trigger_file", Usual),
    ("recovery_end_command", Always("")),
    // PostgreSQL 15 and later.
    ("recovery_prefetch", Of(|copy| (copy.major >= 15 && !copy.recovery.reads_ahead).then(|| "off".into()))),
    (
        "recovery_target",
        Of(|copy| (copy.recovery.target == RecoveryTarget::Immediate).then(|| "immediate".into())),
    ),
    ("recovery_target_action", Always("pause")),
    ("recovery_target_inclusive", Usual),
    ("recovery_target_lsn", Usual),
    ("recovery_target_name", Usual),
    (
        "recovery_target_time",
        Of(|copy| match &copy.recovery.target {
            RecoveryTarget::Time(time) => Some(time.into()),
            RecoveryTarget::None | RecoveryTarget::Immediate => None,
        }),
    ),
    ("recovery_target_timeline", Of(|copy| copy.recovery.timeline.as_ref().map(OsString::from))),
    ("recovery_target_xid", Usual),
    ("restart_after_crash", Always("off")),
    ("restore_command", Of(|copy| Some(OsString::from(&copy.recovery.restore_command)))),
    ("unix_socket_directories", Of(|copy| Some(copy.place.socket.clone().into()))),
    ("unix_socket_permissions", Always("0700")),
    ("wal_retrieve_retry_interval", Always("1s")),
];

/// What a setting of a copy is.
enum Value {
    /// What PostgreSQL sets by itself.
    Usual,
    /// The same for every copy.
    Always(&'static str),
    /// What PostgreSQL sets by itself if there is none.
    Of(fn(&Copy<'_>) -> Option<OsString>),
}

/// What settings depend on.
struct Copy<'a> {
    place: &'a Place,
    recovery: &'a Recovery,
    /// Major version of PostgreSQL.
    major: u32,
}

/// Where a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub data: PathBuf,
    /// The directory of its socket, which only the user may enter.
    pub socket: PathBuf,
    /// The directory of its own configuration files.
    pub configuration: PathBuf,
}

/// How a copy recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// For a shell.
    pub restore_command: String,
    /// Where to pause.
    pub target: RecoveryTarget,
    /// As PostgreSQL reads it.
    pub timeline: Option<String>,
    /// Whether WAL is read ahead (PostgreSQL 15 and later).
    pub reads_ahead: bool,
}

/// Where recovery pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryTarget {
    /// Nowhere: it waits for more WAL.
    None,
    /// As soon as the copy is consistent.
    Immediate,
    /// Before the first commit after a time, as PostgreSQL reads it.
    Time(String),
}

impl Place {
    /// The configuration files with their contents.
    #[must_use]
    pub fn files(&self) -> [(PathBuf, &'static str); 4] {
        let file = |name: &str| self.configuration.join(name);
        [
            (file("postgresql.conf"), ""),
            // Only the user that runs the copy can reach its socket.
            (file("pg_hba.conf"), "local all all trust\n"),
            (file("pg_ident.conf"), ""),
            (self.data.join("postgresql.auto.conf"), "archive_mode = 'off'\n"),
        ]
    }

    /// Whether the path of the socket is short enough.
    #[must_use]
    pub fn has_short_socket(&self) -> bool {
        let path = self.socket.join(format!(".s.PGSQL.{PORT}"));
        path.as_os_str().len() < LONGEST_SOCKET
    }
}

impl Copy<'_> {
    /// One of its own configuration files.
    fn file(&self, name: &str) -> OsString {
        self.place.configuration.join(name).into()
    }

    /// The value of a setting on the command line.
    fn value(&self, setting: &Value) -> Option<OsString> {
        match setting {
            Usual => None,
            Always(value) => Some(value.into()),
            Of(value) => value(self),
        }
    }
}

/// Whether users can set this themselves.
#[must_use]
pub fn is_free(setting: &str) -> bool {
    !OURS.iter().any(|(ours, _)| *ours == setting) && !SIZED.contains(&setting)
}

/// `sized` are values for [`SIZED`], `more` settings of the user, `major` the version of PostgreSQL.
#[must_use]
pub fn arguments(
    program: &Path,
    place: &Place,
    recovery: &Recovery,
    sized: &[(&str, u64)],
    more: &[(String, String)],
    major: u32,
) -> Vec<OsString> {
    let copy = Copy { place, recovery, major };
    let of_user = more.iter().map(|(name, value)| (&**name, OsString::from(value)));
    let ours = OURS.iter().filter_map(|(name, setting)| Some((*name, copy.value(setting)?)));
    let sized = SIZED.into_iter().zip(SMALLEST).map(|(name, smallest)| {
        let wanted = sized.iter().filter(|(sized, _)| *sized == name).map(|(_, value)| *value).max();
        (name, wanted.unwrap_or(smallest).max(smallest).to_string().into())
    });
    let start: [OsString; 3] = [program.into(), "-D".into(), place.data.clone().into()];
    let options = of_user.chain(ours).chain(sized).flat_map(|(name, value)| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value);
        ["-c".into(), setting]
    });
    start.into_iter().chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &str) -> Place {
        let path = |name: &str| Path::new(directory).join(name);
        Place { data: path("data"), socket: path("socket"), configuration: path("conf") }
    }

    fn line(target: RecoveryTarget, sized: &[(&str, u64)], major: u32) -> String {
        let recovery = Recovery {
            restore_command: "pgbackrest archive-get %f \"%p\"".to_owned(),
            target,
            timeline: Some("3".to_owned()),
            reads_ahead: false,
        };
        let more = [("shared_preload_libraries".to_owned(), "timescaledb".to_owned())];
        let words = arguments(Path::new("/bin/postgres"), &place("/t"), &recovery, sized, &more, major);
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_copy_archives_nothing_and_listens_nowhere() {
        let line = line(RecoveryTarget::Time("2026-01-01 00:00:00+00".to_owned()), &[], 15);
        assert!(line.starts_with(
            "/bin/postgres -D /t/data -c shared_preload_libraries=timescaledb -c archive_cleanup_command= -c "
        ));
        for setting in [
            "archive_mode=off",
            "archive_command=",
            "config_file=/t/conf/postgresql.conf",
            "hba_file=/t/conf/pg_hba.conf",
            "listen_addresses=",
            "unix_socket_directories=/t/socket",
            "recovery_target_time=2026-01-01 00:00:00+00",
            "recovery_target_action=pause",
            "recovery_target_timeline=3",
            "recovery_prefetch=off",
            "restore_command=pgbackrest archive-get %f \"%p\"",
            "max_connections=100",
        ] {
            assert!(format!("{line} ").contains(&format!(" -c {setting} ")), "{setting}: {line}");
        }
        assert!(!line.contains("event_triggers"), "{line}");
    }

    #[test]
    fn settings_are_never_smaller_than_on_the_primary() {
        let sized = [("max_connections", 200), ("max_wal_senders", 2), ("max_connections", 300)];
        let line = line(RecoveryTarget::Immediate, &sized, 17);
        assert!(line.contains(" max_connections=300 ") && line.contains(" max_wal_senders=10 "), "{line}");
        assert!(
            line.contains(" recovery_target=immediate ") && line.contains(" event_triggers=off "),
            "{line}"
        );
    }

    #[test]
    fn the_path_of_the_socket_is_limited() {
        assert!(place(&format!("/{}", "a".repeat(85))).has_short_socket());
        assert!(!place(&format!("/{}", "a".repeat(86))).has_short_socket());
    }

    #[test]
    fn what_a_copy_sets_is_not_free() {
        let all: Vec<String> = [RecoveryTarget::Immediate, RecoveryTarget::Time(String::new())]
            .into_iter()
            .flat_map(|target| {
                let line = line(target, &[], 17);
                let settings = line.split(" -c ").skip(2).filter_map(|word| word.split_once('='));
                settings.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
            })
            .collect();
        assert!(all.len() > 60, "{all:?}");
        for name in all.iter().map(String::as_str).chain(["zero_damaged_pages", "max_connections"]) {
            assert!(!is_free(name), "{name}");
        }
        assert!(is_free("work_mem"));
        let names: std::collections::BTreeSet<&str> = OURS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), OURS.len());
    }
}
