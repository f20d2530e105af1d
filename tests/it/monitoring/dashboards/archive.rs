//! Cluster, the row of the WAL archive: is what a restore needs there?

use pgbackrest_keeper::metrics::catalogue::{Metric, backups, wal};

use super::cluster::{STANZA, STANZA_NAME, milliseconds};
use super::fleet::LOST;
use super::model::{NONE_IS_GOOD, Panel};
use super::query::{CLUSTER as S, REPO, REPO_NAME};

pub(super) fn row() -> Vec<Panel> {
    let sum = |metric: &Metric| format!("sum({})", S.of(metric));
    let by_class = format!("{REPO}, class");
    let by_reason = format!("{REPO}, reason");
    let lsn = S.max("namespace, pg_cluster, host, stanza, repo_key, database_id", &wal::WAL_MAX_LSN_BYTES);
    let lsn = format!("max by ({REPO}) ({lsn})");
    vec![
        Panel::stat(
            "Gaps",
            "How many separate holes are there in the WAL? What expire removed on purpose is none.",
            "short",
            sum(&wal::WAL_GAPS),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Lost backups",
            "How many backups that info lists cannot be restored?",
            "short",
            format!("sum({})", S.with(&wal::BACKUP_UNRESTORABLE, LOST)),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Segments there twice",
            "How many segments are there with several contents? pgBackRest refuses to restore them.",
            "short",
            sum(&wal::WAL_DUPLICATE_SEGMENTS),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Abandoned timelines",
            "How many timelines do not lead to the newest one? They are left by promotions and restores.",
            "short",
            format!("max({})", S.of(&wal::WAL_ORPHAN_TIMELINES)),
        ),
        Panel::stat(
            "Last segment",
            "When did the newest WAL segment come into the repository that got it last?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&wal::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Archive listed",
            "How old is the oldest listing that all this rests upon?",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&wal::WAL_LISTED_TIMESTAMP_SECONDS))),
        ),
        Panel::lines(
            "Missing WAL segments",
            "Which holes are there? backup: a backup is lost; pitr_new: nothing later can be restored; pitr_old: not every time between backups; expired: removed on purpose.",
            "short",
        )
        .query(S.max(&by_class, &wal::WAL_MISSING_SEGMENTS), &format!("{{{{class}}}} {REPO_NAME}")),
        Panel::lines(
            "Backups that cannot be restored",
            "Since when, and why? wal: it lacks WAL; directory: its files are gone; reference: those of a backup that it builds on are.",
            "short",
        )
        .query(S.max(&by_reason, &wal::BACKUP_UNRESTORABLE), &format!("{{{{reason}}}} {REPO_NAME}")),
        Panel::lines("WAL stored", "How much room do the listed segments take in each repository?", "bytes")
            .query(S.max(REPO, &wal::WAL_STORED_BYTES), REPO_NAME),
        Panel::lines(
            "Timelines without a history",
            "Can PostgreSQL find the way to the newest timeline? Without a history file it cannot, and nothing is proven of it.",
            "short",
        )
        .query(S.max(REPO, &wal::WAL_MISSING_HISTORY_FILES), REPO_NAME),
        Panel::lines("WAL archived", "Is WAL flowing, and since when not? The slope over an hour.", "Bps")
            .query(format!("clamp_min(deriv(({lsn})[1h:5m]), 0)"), REPO_NAME),
        Panel::lines(
            "Newest WAL segment behind another repository",
            "Does one repository get its WAL later than another? Absent with one repository.",
            "short",
        )
        .query(S.max(STANZA, &backups::STANZA_REPO_WAL_SKEW_SEGMENTS), STANZA_NAME),
    ]
}
