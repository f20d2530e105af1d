//! The command line of a PostgreSQL that recovers a copy of a database and is thrown away afterwards.
//!
//! The copy is a standby without a primary, so it never ends recovery by itself: it cannot write, archive, or start background workers
//! and subscriptions. It reads no configuration of the original: `config_file` is empty, and `postgresql.auto.conf` is emptied before.
//! The command line has priority over every file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// Settings that [`arguments`] makes, so users cannot.
const OURS: [&str; 42] = [
    "allow_alter_system",
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "archive_mode",
    "autovacuum",
    "config_file",
    "data_directory",
    "dynamic_shared_memory_type",
    "event_triggers",
    "external_pid_file",
    "fsync",
    "hba_file",
    "hot_standby",
    "ident_file",
    "lc_messages",
    "listen_addresses",
    "log_destination",
    "log_directory",
    "log_filename",
    "log_line_prefix",
    "log_min_messages",
    "logging_collector",
    "max_logical_replication_workers",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restart_after_crash",
    "restore_command",
    "unix_socket_directories",
    "unix_socket_permissions",
    "wal_retrieve_retry_interval",
];

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

/// Whether users can set this themselves.
#[must_use]
pub fn is_free(setting: &str) -> bool {
    !OURS.contains(&setting) && !SIZED.contains(&setting)
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
    let mut arguments: Vec<OsString> = vec![program.into(), "-D".into(), place.data.clone().into()];
    let mut set = |name: &str, value: &dyn AsRef<std::ffi::OsStr>| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(value.as_ref());
        arguments.extend(["-c".into(), setting]);
    };
    for (name, value) in more {
        set(name, value);
    }
    let file = |name: &str| place.configuration.join(name);
    set("config_file", &file("postgresql.conf"));
    set("hba_file", &file("pg_hba.conf"));
    set("ident_file", &file("pg_ident.conf"));
    set("unix_socket_directories", &place.socket);
    let fixed = [
        ("listen_addresses", ""),
        ("port", PORT),
        ("unix_socket_permissions", "0700"),
        ("archive_mode", "off"),
        ("archive_command", ""),
        ("hot_standby", "on"),
        ("primary_conninfo", ""),
        ("primary_slot_name", ""),
        ("archive_cleanup_command", ""),
        ("recovery_end_command", ""),
        ("recovery_target_action", "pause"),
        ("wal_retrieve_retry_interval", "1s"),
        ("restart_after_crash", "off"),
        // PostgreSQL promotes a copy that reaches its target before it accepts queries. Even then, it does nothing by itself.
        ("max_logical_replication_workers", "0"),
        ("autovacuum", "off"),
        ("fsync", "off"),
        // Shared memory in files of the data directory goes with it, however the copy ends.
        ("dynamic_shared_memory_type", "mmap"),
        ("huge_pages", "off"),
        ("logging_collector", "off"),
        ("log_destination", "stderr"),
        ("log_line_prefix", ""),
        ("lc_messages", "C"),
    ];
    for (name, value) in fixed {
        set(name, &value);
    }
    if major >= 17 {
        // Login triggers fire on standbys, too.
        set("event_triggers", &"off");
    }
    if major >= 15 && !recovery.reads_ahead {
        set("recovery_prefetch", &"off");
    }
    set("restore_command", &recovery.restore_command);
    match &recovery.target {
        RecoveryTarget::None => {}
        RecoveryTarget::Immediate => set("recovery_target", &"immediate"),
        RecoveryTarget::Time(time) => set("recovery_target_time", time),
    }
    if let Some(timeline) = &recovery.timeline {
        set("recovery_target_timeline", timeline);
    }
    for (name, smallest) in SIZED.into_iter().zip(SMALLEST) {
        let wanted = sized.iter().filter(|(sized, _)| *sized == name).map(|(_, value)| *value).max();
        set(name, &wanted.unwrap_or(smallest).max(smallest).to_string());
    }
    arguments
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
        assert!(
            line.starts_with(
                "/bin/postgres -D /t/data -c shared_preload_libraries=timescaledb -c config_file="
            )
        );
        for setting in [
            "archive_mode=off",
            "archive_command=",
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
        assert!(!is_free("archive_mode") && !is_free("max_connections") && is_free("work_mem"));
    }
}
