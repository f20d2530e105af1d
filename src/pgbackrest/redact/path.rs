//! The parts of a path that cannot be secrets.
//!
//! A path in a message may be the value of an option, which may be the key itself instead of a file name. So a part is only shown if
//! it is a common directory, or a name from pgBackRest, PostgreSQL or a stanza.

use super::HIDDEN;

/// Directories of systems, of packages, and within repositories and data directories.
#[rustfmt::skip]
const DIRECTORIES: [&str; 60] = [
    "archive", "backup", "backup.history", "backups", "base", "bin", "bundle", "certs", "conf.d", "config", "data",
    "dev", "etc", "global", "home", "lib", "local", "lock", "log", "main", "mnt", "opt", "pg_data", "pg_replslot",
    "pg_tblspc", "pg_wal", "pg_xact", "pgbackrest", "pgBackRest", "pgdata", "pgsql", "PG_VERSION", "pg_control", "postgres",
    "postgresql", "repo", "repos", "root", "run", "secret", "secrets", "serviceaccount", "share", "shm", "spool", "srv", "ssh", ".ssh",
    "ssl", "stanza", "tablespace_map", "tls", "tmp", "usr", "var", "volumes", "wal", "env", "sh", "backup_label",
];
/// Endings of files. A key or a password has none.
#[rustfmt::skip]
const ENDINGS: [&str; 24] = [
    ".auth", ".backup", ".bz2", ".ca", ".cer", ".conf", ".control", ".copy", ".crt", ".gz", ".history", ".info", ".json", ".key", ".lock",
    ".log", ".lz4", ".manifest", ".partial", ".pem", ".pid", ".pub", ".stop", ".zst",
];

pub(super) fn shown(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let mut above = "";
    for part in path.split('/') {
        let is_shown =
            part.is_empty() || is_given(part) || matches!(above, "archive" | "backup") && is_stanza(part);
        above = part;
        if is_shown {
            parts.push(part);
        } else if parts.last().is_none_or(|last| *last != HIDDEN) {
            parts.push(HIDDEN);
        }
    }
    parts.join("/")
}

fn is_given(part: &str) -> bool {
    DIRECTORIES.contains(&part) || is_number(part) || is_group(part) || is_name(part) || is_file(part)
}

/// `1663`, `9.6`, `15-1`, `2026`
fn is_number(part: &str) -> bool {
    part.len() <= 10 && part.chars().all(|c| c.is_ascii_digit() || ".-".contains(c))
}

/// `repo1`, `pg2`
pub(super) fn is_group(part: &str) -> bool {
    let number = ["repo", "pg"].into_iter().find_map(|group| part.strip_prefix(group));
    number.is_some_and(|number| {
        (1..=3).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// A WAL segment, its directory, or a backup.
fn is_name(part: &str) -> bool {
    let name = part.split(['.', '-']).next().unwrap_or_default();
    let is_wal = matches!(name.len(), 8 | 16 | 24)
        && name.chars().all(|c| c.is_ascii_digit() || matches!(c, 'A'..='F'));
    let is_rest = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase() || ".-".contains(c);
    let is_whole = part.get(name.len()..).is_some_and(|rest| rest.len() <= 64 && rest.chars().all(is_rest));
    let is_label = (16..=33).contains(&part.len())
        && part.starts_with("20")
        && part.chars().all(|c| c.is_ascii_digit() || "-_FDI".contains(c));
    is_wal && is_whole || is_label
}

fn is_stanza(part: &str) -> bool {
    (1..=64).contains(&part.len()) && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// `archive.info.copy`, `demo-backup-1.lock`, `all.stop`
fn is_file(part: &str) -> bool {
    ENDINGS.iter().any(|ending| part.ends_with(ending)) && is_stanza(part)
}
