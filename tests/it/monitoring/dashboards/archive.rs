//! Cluster, the row of the WAL archive: does it contain what a restore needs?

use pgbackrest_keeper::metrics::catalogue::{Metric, backups, wal};

use super::cluster::{STANZA, STANZA_NAME, milliseconds};
use super::fleet::LOST;
use super::model::{NONE_IS_GOOD, Panel, says};
use super::query::{CLUSTER as S, REPO, REPO_NAME};

pub(super) fn row() -> Vec<Panel> {
    [completeness(), retained()].concat()
}

fn completeness() -> Vec<Panel> {
    let sum = |metric: &Metric| format!("sum({})", S.of(metric));
    let by_class = format!("{REPO}, class");
    let by_reason = format!("{REPO}, reason");
    let by_state = format!("{REPO}, state");
    let by_kind = format!("{REPO}, kind");
    let lsn = S.max("namespace, pg_cluster, host, stanza, repo_key, database_id", &wal::WAL_MAX_LSN_BYTES);
    let lsn = format!("max by ({REPO}) ({lsn})");
    vec![
        Panel::stat(
            "Plain restore",
            "Does pgbackrest restore without options lead to the timeline that the database is on?",
            "none",
            format!("min({})", S.of(&wal::RECOVERY_DEFAULT_RESTORE_OK)),
        )
        .maps(says(&[("0", "fails or leads elsewhere", "red"), ("1", "leads there", "green")])),
        Panel::stat(
            "WAL gaps",
            "How many separate gaps are there in the WAL? WAL that expire removed on purpose does not count.",
            "short",
            sum(&wal::WAL_GAPS),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Lost backups",
            "How many of the backups that info lists cannot be restored?",
            "short",
            format!("sum({})", S.with(&wal::BACKUP_UNRESTORABLE, LOST)),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Duplicate segments",
            "How many segments exist more than once, with different contents? pgBackRest refuses to restore them.",
            "short",
            sum(&wal::WAL_DUPLICATE_SEGMENTS),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Abandoned timelines",
            "How many timelines do not lead to the newest one? Promotions and restores leave them behind.",
            "short",
            format!("max({})", S.of(&wal::WAL_ORPHAN_TIMELINES)),
        ),
        Panel::stat(
            "Last segment",
            "When did the newest WAL segment arrive, in the repository with the most recent one?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&wal::WAL_LAST_ARCHIVED_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Archive scanned",
            "How old is the oldest scan that this data is based on?",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&wal::WAL_LISTED_TIMESTAMP_SECONDS))),
        ),
        Panel::lines(
            "Missing WAL segments",
            "Which segments are missing? backup: a backup is lost; pitr_new: nothing later can be restored; pitr_old: some times between backups cannot be restored; wrong_size: the files are incomplete; expired: removed on purpose.",
            "short",
        )
        .query(S.max(&by_class, &wal::WAL_MISSING_SEGMENTS), &format!("{{{{class}}}} {REPO_NAME}")),
        Panel::lines(
            "Backups that cannot be restored",
            "Since when, and why? wal: WAL is missing; directory: its files are missing; reference: a backup that it depends on is missing or cannot be restored.",
            "short",
        )
        .query(S.max(&by_reason, &wal::BACKUP_UNRESTORABLE), &format!("{{{{reason}}}} {REPO_NAME}")),
        Panel::lines("WAL stored", "How much space do the WAL segments use in each repository?", "bytes")
            .query(S.max(REPO, &wal::WAL_STORED_BYTES), REPO_NAME),
        Panel::lines(
            "Missing history files",
            "Can PostgreSQL follow to the newest timeline? Without its history file it cannot, and nothing can be verified.",
            "short",
        )
        .query(S.max(REPO, &wal::WAL_MISSING_HISTORY_FILES), REPO_NAME),
        Panel::lines(
            "Branches of history",
            "Has another server archived to this stanza (foreign), or was the database restored to an earlier time (abandoned)?",
            "short",
        )
        .query(S.max(&by_state, &wal::WAL_BRANCHES), &format!("{{{{state}}}} {REPO_NAME}")),
        Panel::lines(
            "Wrong clocks",
            "How far do the clocks of repository and PostgreSQL differ, and how many backups or WAL files are dated in the future? Such times are not used.",
            "short",
        )
        .query(S.max(REPO, &wal::REPO_CLOCK_BEHIND_SECONDS), &format!("seconds behind {REPO_NAME}"))
        .query(S.max(&by_kind, &wal::REPO_FUTURE_TIMESTAMPS), &format!("future {{{{kind}}}} {REPO_NAME}")),
        Panel::lines("WAL archived", "Is WAL arriving, and if not, since when? The rate over an hour.", "Bps")
            .query(format!("clamp_min(deriv(({lsn})[1h:5m]), 0)"), REPO_NAME),
        Panel::lines(
            "WAL lag between repositories",
            "Does one repository receive its WAL later than another? Not shown with a single repository.",
            "short",
        )
        .query(S.max(STANZA, &backups::STANZA_REPO_WAL_SKEW_SEGMENTS), STANZA_NAME),
    ]
}

fn retained() -> Vec<Panel> {
    let by_state = format!("{REPO}, state");
    vec![
        Panel::lines(
            "WAL that no backup needs",
            "How much WAL is older than every backup? expire keeps it if archive retention is larger than full retention.",
            "bytes",
        )
        .query(S.max(REPO, &wal::WAL_UNNEEDED_BYTES), REPO_NAME),
        Panel::lines(
            "What expire will remove",
            "How much can be removed now, after the next backup of each type, and once the next backup is old enough? Each value \
             includes what can be removed now.",
            "bytes",
        )
        .query(
            format!("sum by ({REPO}, after) ({})", S.max(&format!("{REPO}, after, kind"), &backups::EXPIRY_BYTES)),
            &format!("{{{{after}}}} {REPO_NAME}"),
        ),
        Panel::lines(
            "Unfinished backups",
            "How many directories of incomplete backups does each repository contain? abandoned: expire should have removed them; \
             unfinished: the next backup resumes or removes it.",
            "short",
        )
        .query(S.max(&by_state, &wal::REPO_LEFTOVER_BACKUPS), &format!("{{{{state}}}} {REPO_NAME}")),
        Panel::bars("WAL per backup", "How much WAL is there from the start of each backup to the next one?", "bytes")
            .now(
                S.max(&format!("{REPO}, backup_name"), &wal::BACKUP_WAL_STORED_BYTES),
                &format!("{{{{backup_name}}}} {REPO_NAME}"),
            ),
    ]
}
