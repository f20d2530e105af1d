//! Cluster: what can be restored, what runs now, and how did it come to this?

use pgbackrest_keeper::metrics::catalogue::{Metric, backups, compat, jobs, operator, wal};

use super::archive;
use super::frame::Dashboard;
use super::model::{NONE_IS_GOOD, Panel, Step, says};
use super::query::{
    CLUSTER as S, REPO, REPO_NAME, SLOT, SLOT_NAME, Scope, TYPE, TYPE_NAME, not_ok, variables,
};

pub(super) const STANZA: &str = "namespace, pg_cluster, host, stanza";
pub(super) const STANZA_NAME: &str = "{{namespace}} {{pg_cluster}}{{host}} {{stanza}}";
const GOOD_IS_ONE: &[Step] = &[(0.0, "red"), (1.0, "green")];
const REPO_AND_TYPE: &str = "repo{{repo_key}} {{backup_type}} {{pg_cluster}}{{host}} {{stanza}}";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        file: "cluster",
        uid: "pgbackrest-cluster",
        title: "pgBackRest / Cluster",
        description: "What can be restored of this cluster, what runs now, and what went wrong?",
        from: "now-7d",
        variables: variables(S, false),
        annotations: S.annotations(),
        rows: vec![
            ("Restore", restore()),
            ("Now", now()),
            ("Backups", vec![newest()]),
            ("Trends", trends()),
            ("WAL", archive::row()),
            ("Jobs (operator)", run()),
            ("Volumes of the repo host (Kubernetes)", volumes()),
        ],
    }
}

pub(super) fn milliseconds(what: &str) -> String {
    format!("1000 * {what}")
}

fn restore() -> Vec<Panel> {
    let size = S.max(REPO, &backups::RESTORE_SIZE_BYTES);
    let speed = S.max(REPO, &backups::BACKUP_LAST_THROUGHPUT_BYTES_PER_SECOND);
    vec![
        Panel::stat(
            "Latest point",
            "To which instant can the cluster be restored? At most, where it is proven; else WAL archived since reaches further.",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&wal::RECOVERY_LATEST_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Oldest point",
            "Which is the earliest instant to which the cluster can be restored?",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&wal::RECOVERY_EARLIEST_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Recovery window",
            "How long is the time into which the cluster can go back, in its best repository?",
            "s",
            format!("max({})", S.of(&wal::RECOVERY_WINDOW_SECONDS)),
        ),
        Panel::stat(
            "WAL of the window",
            "Is it proven that no WAL is missing in the window? What info tells alone does not prove it.",
            "none",
            format!("min({})", S.of(&wal::RECOVERY_WINDOW_VERIFIED)),
        )
        .steps(&[(0.0, "orange"), (1.0, "green")])
        .maps(says(&[("0", "not proven", "orange"), ("1", "proven", "green")])),
        Panel::stat(
            "Restore size",
            "How much does a restore of the newest backup have to write?",
            "bytes",
            format!("max({})", S.of(&backups::RESTORE_SIZE_BYTES)),
        ),
        Panel::stat(
            "Copy time, estimated",
            "How long would a restore take at the speed of the fastest of the last backups? Recovery of WAL comes on top.",
            "s",
            format!("max({size} / {speed})"),
        ),
        Panel::lines(
            "Recovery window by repository",
            "Does the window stay as long as it should be? A repository that is lost shows here at once.",
            "s",
        )
        .query(S.max(REPO, &wal::RECOVERY_WINDOW_SECONDS), REPO_NAME),
        Panel::lines(
            "Age of the latest point",
            "How much would a restore have lost at each time? An idle database archives nothing, and loses nothing.",
            "s",
        )
        .query(format!("time() - {}", S.max(REPO, &wal::RECOVERY_LATEST_TIMESTAMP_SECONDS)), REPO_NAME),
    ]
}

fn now() -> Vec<Panel> {
    let complete = S.of(&compat::STANZA_BACKUP_COMPLETE_BYTES);
    let total = S.of(&compat::STANZA_BACKUP_TOTAL_BYTES);
    let lock = S.of(&compat::STANZA_BACKUP_LOCK_STATUS);
    let suspended = S.of(&jobs::SCHEDULE_SUSPENDED);
    let match_ = S.of(&backups::STANZA_REPO_SYSTEM_ID_MATCH);
    vec![
        Panel::stat(
            "Stale information",
            "Can this page be believed? Collections that have not succeeded within three intervals and a timeout.",
            "short",
            S.stale(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stanza",
            "What does pgBackRest say of the stanza? The worst of those selected.",
            "none",
            format!("max({})", S.of(&compat::STANZA_STATUS)),
        )
        .steps(NONE_IS_GOOD)
        .maps(says(&[
            ("0", "ok", "green"),
            ("1", "missing path", "red"),
            ("2", "no valid backups", "red"),
            ("3", "missing data", "red"),
            ("4", "repositories differ", "orange"),
            ("5", "another database", "red"),
            ("6", "backup not found", "red"),
            ("99", "other", "red"),
        ])),
        Panel::stat(
            "Backup lock",
            "Does a backup, expire or stanza command run?",
            "none",
            format!("max({lock})"),
        )
        .maps(says(&[("0", "free", "text"), ("1", "held", "blue")])),
        Panel::stat(
            "Backup progress",
            "How far is the backup that runs, where pgBackRest tells sizes?",
            "percentunit",
            format!("max({complete} / ({total} > 0)) or clamp_max(count({lock}), 0) - 1"),
        )
        .steps(PROGRESS)
        .maps(says(&[("-1", "none told", "text")])),
        Panel::stat(
            "Same database",
            "Do all repositories hold the same PostgreSQL cluster? Absent with one repository.",
            "none",
            format!("min({match_})"),
        )
        .steps(GOOD_IS_ONE)
        .maps(says(&[("0", "no", "red"), ("1", "yes", "green")])),
        Panel::stat(
            "Suspended schedules",
            "Has somebody suspended CronJobs of this cluster? Only the operator tells it.",
            "short",
            Scope::count(&format!("{suspended} > 0"), &suspended),
        )
        .steps(&[(0.0, "green"), (1.0, "orange")]),
    ]
}

const PROGRESS: &[Step] = &[(0.0, "blue")];

fn newest() -> Panel {
    let of = |metric: &Metric| S.max(TYPE, metric);
    let deviation = S.max_with(TYPE, &backups::BACKUP_SIZE_DEVIATION_RATIO, "what=\"database\"");
    Panel::table(
        "Newest backup of each type",
        "What is there of each type, in each repository? Ratio is what compression makes of what is copied; deviation compares the database's size with the backups before.",
    )
    .label("namespace", "Namespace")
    .label("pg_cluster", "Cluster")
    .label("host", "Host")
    .label("stanza", "Stanza")
    .label("repo_key", "Repository")
    .label("backup_type", "Type")
    .value("Kept", "short", of(&backups::BACKUPS))
    .value("Age", "s", format!("time() - {}", of(&backups::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS)))
    .value("Took", "s", of(&backups::REPO_BACKUP_LAST_DURATION_SECONDS))
    .value("Database", "bytes", of(&backups::REPO_BACKUP_LAST_DATABASE_BYTES))
    .value("Copied", "bytes", of(&backups::REPO_BACKUP_LAST_COPIED_BYTES))
    .value("Stored", "bytes", of(&backups::REPO_BACKUP_LAST_STORED_BYTES))
    .value("Ratio", "none", of(&backups::BACKUP_LAST_COMPRESSION_RATIO))
    .value("Deviation", "percentunit", deviation)
    .coloured(&[(0.0, "red"), (0.5, "green"), (2.0, "orange")])
    .value("Retention", "none", of(&backups::RETENTION_SATISFIED))
    .coloured(GOOD_IS_ONE)
    .spelt(says(&[("0", "no", "red"), ("1", "yes", "green")]))
    .worst("Age")
}

fn trends() -> Vec<Panel> {
    let line = |title, description, unit, metric: &Metric| {
        Panel::lines(title, description, unit).query(S.max(TYPE, metric), TYPE_NAME)
    };
    vec![
        line(
            "Duration",
            "Do backups take longer and longer?",
            "s",
            &backups::REPO_BACKUP_LAST_DURATION_SECONDS,
        ),
        line(
            "Throughput",
            "How fast does a backup copy out of the database?",
            "Bps",
            &backups::BACKUP_LAST_THROUGHPUT_BYTES_PER_SECOND,
        ),
        line(
            "Bytes stored by the newest backup",
            "How much does one backup add to the repository?",
            "bytes",
            &backups::REPO_BACKUP_LAST_STORED_BYTES,
        ),
        Panel::lines("Repository size", "How fast do the repositories of this cluster grow?", "bytes")
            .query(S.max(REPO, &backups::REPO_STORED_BYTES), REPO_NAME),
        Panel::lines("Backups kept and required", "Are as many backups kept as retention asks for?", "short")
            .query(S.max(TYPE, &backups::BACKUPS), &format!("kept {REPO_AND_TYPE}"))
            .query(S.max(TYPE, &backups::RETENTION_BACKUPS_REQUIRED), &format!("required {REPO_AND_TYPE}")),
        Panel::states(
            "Repositories",
            "When did a repository answer, and when not?",
            says(&[("0", "down", "red"), ("1", "up", "green")]),
        )
        .steps(GOOD_IS_ONE)
        .query(S.max(REPO, &backups::REPO_UP), REPO_NAME),
    ]
}

fn run() -> Vec<Panel> {
    let runs = S.of(&jobs::RUNS_TOTAL);
    let duration = S.buckets(&jobs::DURATION_SECONDS);
    vec![
        Panel::table("Schedules", "What is due when, what ran last, and what was missed?")
            .size(24, 7)
            .label("namespace", "Namespace")
            .label("pg_cluster", "Cluster")
            .label("repo_key", "Repository")
            .label("backup_type", "Type")
            .value("Runs now", "short", slot(&jobs::ACTIVE))
            .value(
                "Last success",
                "dateTimeFromNow",
                milliseconds(&slot(&jobs::LAST_SUCCESS_TIMESTAMP_SECONDS)),
            )
            .value("Next run", "dateTimeFromNow", milliseconds(&slot(&jobs::SCHEDULE_NEXT_TIMESTAMP_SECONDS)))
            .value("Took", "s", slot(&jobs::LAST_DURATION_SECONDS))
            .value("Failures in a row", "short", slot(&jobs::CONSECUTIVE_FAILURES))
            .coloured(&[(0.0, "green"), (1.0, "orange"), (3.0, "red")])
            .value("Missed runs", "short", slot(&jobs::SCHEDULE_MISSED_RUNS))
            .coloured(NONE_IS_GOOD)
            .value("Overdue", "s", slot(&jobs::SCHEDULE_OVERDUE_SECONDS))
            .coloured(NONE_IS_GOOD)
            .value("Suspended", "none", slot(&jobs::SCHEDULE_SUSPENDED))
            .spelt(says(&[("0", "no", "text"), ("1", "yes", "orange")])),
        Panel::table("Why jobs failed", "Why did the newest job fail? Nothing is listed where it succeeded.")
            .size(14, 6)
            .label("namespace", "Namespace")
            .label("pg_cluster", "Cluster")
            .label("repo_key", "Repository")
            .label("backup_type", "Type")
            .label("reason", "Reason")
            .label("exit_code", "Exit code")
            .value(
                "Failures",
                "short",
                format!(
                    "max by ({SLOT}, reason, exit_code) ({}) * on ({SLOT}) group_left () {}",
                    S.of(&jobs::LAST_FAILURE_INFO),
                    slot(&jobs::CONSECUTIVE_FAILURES)
                ),
            ),
        Panel::stat(
            "Not set up",
            "Clusters that the operator could not set up as their resource asks.",
            "short",
            not_ok(S),
        )
        .size(2, 6)
        .steps(NONE_IS_GOOD),
        Panel::table("Findings", "What does the operator find wrong or risky in the resource?")
            .size(8, 6)
            .label("severity", "Severity")
            .label("code", "Code")
            .label("pg_cluster", "Cluster")
            .value(
                "Findings",
                "short",
                format!("max by (severity, code, pg_cluster) ({})", S.of(&operator::FINDINGS)),
            ),
        Panel::lines("Outcomes by reason", "How many jobs ended how, within an hour?", "short")
            .stacked()
            .query(format!("sum by (outcome, reason) (increase({runs}[1h]))"), "{{outcome}} {{reason}}"),
        Panel::lines("Job duration, 90th percentile", "How long do jobs take, of a day?", "s").query(
            format!("histogram_quantile(0.9, sum by (backup_type, outcome, le) (rate({duration}[1d]))) >= 0"),
            "{{backup_type}} {{outcome}}",
        ),
        Panel::lines("Duration of the last job", "How long did each schedule's last job take?", "s")
            .query(slot(&jobs::LAST_DURATION_SECONDS), SLOT_NAME),
        Panel::lines("Missed runs", "Since when do runs fail to succeed?", "short")
            .query(slot(&jobs::SCHEDULE_MISSED_RUNS), SLOT_NAME),
    ]
}

/// What kubelets tell: they know neither our job nor the cluster, but for the name of the claim.
fn volumes() -> Vec<Panel> {
    let of = |what: &str| {
        let claims = "persistentvolumeclaim=~\"repo[1-4]-($pg_cluster)-pgbackrest-repo-host-0\"";
        format!("kubelet_volume_stats_{what}_bytes{{namespace=~\"$namespace\",{claims}}}")
    };
    let of_claim = |what: &str| format!("max by (namespace, persistentvolumeclaim) ({what})");
    let (available, capacity) = (of_claim(&of("available")), of_claim(&of("capacity")));
    let name = "{{namespace}} {{persistentvolumeclaim}}";
    vec![
        Panel::lines("Room used", "How full are the volumes of the repositories?", "percentunit")
            .query(format!("1 - {available} / {capacity}"), name)
            .limits(&[(0.0, "text"), (0.9, "red")]),
        Panel::lines(
            "Room left in four days",
            "When are they full, at the pace of the last two days? Backups and archiving then stop.",
            "bytes",
        )
        .query(
            format!(
                "clamp_min({}, 0)",
                of_claim(&format!("predict_linear({}[2d], 4 * 86400)", of("available")))
            ),
            name,
        ),
    ]
}

fn slot(metric: &Metric) -> String {
    format!("max by ({SLOT}) ({})", S.of(metric))
}
