//! Cluster: what can be restored, what is running, and what went wrong?

use pgbackrest_keeper::metrics::catalogue::{Metric, backups, compat, jobs, operator, wal};

use super::archive;
use super::archiver;
use super::frame::Dashboard;
use super::model::{NONE_IS_GOOD, Panel, Step, says};
use super::query::{
    CLUSTER as S, REPO, REPO_NAME, SLOT, SLOT_NAME, Scope, TYPE, TYPE_NAME, not_ok, variables,
};
use super::restore_tests;
use super::verifications;

pub(super) const STANZA: &str = "namespace, pg_cluster, host, stanza";
pub(super) const STANZA_NAME: &str = "{{namespace}} {{pg_cluster}}{{host}} {{stanza}}";
const GOOD_IS_ONE: &[Step] = &[(0.0, "red"), (1.0, "green")];
const REPO_AND_TYPE: &str = "repo{{repo_key}} {{backup_type}} {{pg_cluster}}{{host}} {{stanza}}";

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        file: "cluster",
        uid: "pgbackrest-cluster",
        title: "pgBackRest / Cluster",
        description: "What can be restored of this cluster, what is running, and what went wrong?",
        from: "now-7d",
        variables: variables(S, false),
        annotations: S.annotations(),
        rows: vec![
            ("Restore", restore()),
            ("Now", now()),
            ("Backups", vec![newest()]),
            ("Trends", trends()),
            ("WAL", archive::row()),
            ("Archiver", archiver::row()),
            ("Restore tests", restore_tests::row()),
            ("Verifications", verifications::row()),
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
            "What is the latest point in time that you can restore to? An upper bound if verified; otherwise, WAL archived since may reach further.",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&wal::RECOVERY_LATEST_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Oldest point",
            "What is the earliest point in time that you can restore to?",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&wal::RECOVERY_EARLIEST_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Recovery window",
            "How far back can you restore, in the repository with the longest window?",
            "s",
            format!("max({})", S.of(&wal::RECOVERY_WINDOW_SECONDS)),
        ),
        Panel::stat(
            "WAL of the window",
            "Was it verified that no WAL is missing in the window? The output of info alone cannot show this.",
            "none",
            format!("min({})", S.of(&wal::RECOVERY_WINDOW_VERIFIED)),
        )
        .steps(&[(0.0, "orange"), (1.0, "green")])
        .maps(says(&[("0", "not verified", "orange"), ("1", "verified", "green")])),
        Panel::stat(
            "Restore size",
            "How much data does a restore of the newest backup write?",
            "bytes",
            format!("max({})", S.of(&backups::RESTORE_SIZE_BYTES)),
        ),
        Panel::stat(
            "Copy time, estimated",
            "How long would a restore take at the throughput of recent backups? Replaying WAL takes additional time.",
            "s",
            format!("max({size} / {speed})"),
        ),
        Panel::lines(
            "Recovery window by repository",
            "Does the window stay as long as it should? A lost repository shows up here immediately.",
            "s",
        )
        .query(S.max(REPO, &wal::RECOVERY_WINDOW_SECONDS), REPO_NAME),
        Panel::lines(
            "Age of the latest point",
            "How much would a restore have lost at each point in time? An idle database archives nothing and loses nothing.",
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
            "Stale data",
            "Is the data on this page current? Collections that have not succeeded within three intervals plus one timeout.",
            "short",
            S.stale(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stanza",
            "What status does pgBackRest report? The worst of the selected stanzas.",
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
            ("5", "database mismatch", "red"),
            ("6", "backup not found", "red"),
            ("99", "other", "red"),
        ])),
        Panel::stat(
            "Backup lock",
            "Is a backup, expire or stanza command running?",
            "none",
            format!("max({lock})"),
        )
        .maps(says(&[("0", "free", "text"), ("1", "held", "blue")])),
        Panel::stat(
            "Backup progress",
            "How much of the running backup is done, if pgBackRest reports sizes?",
            "percentunit",
            format!("max({complete} / ({total} > 0)) or clamp_max(count({lock}), 0) - 1"),
        )
        .steps(PROGRESS)
        .maps(says(&[("-1", "none", "text")])),
        Panel::stat(
            "Same database",
            "Do all repositories belong to the same PostgreSQL cluster? Not shown with a single repository.",
            "none",
            format!("min({match_})"),
        )
        .steps(GOOD_IS_ONE)
        .maps(says(&[("0", "no", "red"), ("1", "yes", "green")])),
        Panel::stat(
            "Suspended schedules",
            "Are CronJobs of this cluster suspended? Reported only by the operator.",
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
        "Which backups of each type exist in each repository? Ratio is the compression ratio. Deviation compares the size of the database with that in previous backups.",
    )
    .label("namespace", "Namespace")
    .labels_of_repo()
    .label("backup_type", "Type")
    .value("Count", "short", of(&backups::BACKUPS))
    .value("Age", "s", format!("time() - {}", of(&backups::BACKUP_LAST_COMPLETION_TIMESTAMP_SECONDS)))
    .value("Duration", "s", of(&backups::REPO_BACKUP_LAST_DURATION_SECONDS))
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
            "Are backups taking longer over time?",
            "s",
            &backups::REPO_BACKUP_LAST_DURATION_SECONDS,
        ),
        line(
            "Throughput",
            "How fast does a backup copy data?",
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
        Panel::lines(
            "Existing and required backups",
            "Are there as many backups as the retention requires?",
            "short",
        )
        .query(S.max(TYPE, &backups::BACKUPS), &format!("existing {REPO_AND_TYPE}"))
        .query(S.max(TYPE, &backups::RETENTION_BACKUPS_REQUIRED), &format!("required {REPO_AND_TYPE}")),
        Panel::states(
            "Repositories",
            "When was each repository available?",
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
        Panel::table(
            "Schedules",
            "When do schedules run next, when did they last succeed, and which runs were missed?",
        )
        .size(24, 7)
        .label("namespace", "Namespace")
        .label("pg_cluster", "Cluster")
        .label("repo_key", "Repository")
        .label("backup_type", "Type")
        .value("Running", "short", slot(&jobs::ACTIVE))
        .value("Last success", "dateTimeFromNow", milliseconds(&slot(&jobs::LAST_SUCCESS_TIMESTAMP_SECONDS)))
        .value("Next run", "dateTimeFromNow", milliseconds(&slot(&jobs::SCHEDULE_NEXT_TIMESTAMP_SECONDS)))
        .value("Duration", "s", slot(&jobs::LAST_DURATION_SECONDS))
        .value("Consecutive failures", "short", slot(&jobs::CONSECUTIVE_FAILURES))
        .coloured(&[(0.0, "green"), (1.0, "orange"), (3.0, "red")])
        .value("Missed runs", "short", slot(&jobs::SCHEDULE_MISSED_RUNS))
        .coloured(NONE_IS_GOOD)
        .value("Overdue", "s", slot(&jobs::SCHEDULE_OVERDUE_SECONDS))
        .coloured(NONE_IS_GOOD)
        .value("Suspended", "none", slot(&jobs::SCHEDULE_SUSPENDED))
        .spelt(says(&[("0", "no", "text"), ("1", "yes", "orange")])),
        Panel::table(
            "Failure reasons",
            "Why did the most recent job of each schedule fail? Jobs that succeeded are not listed.",
        )
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
            "Clusters that the operator could not set up as requested.",
            "short",
            not_ok(S),
        )
        .size(2, 6)
        .steps(NONE_IS_GOOD),
        Panel::table("Findings", "Which mistakes and risks did the operator find in the resource?")
            .size(8, 6)
            .label("severity", "Severity")
            .label("code", "Code")
            .label("pg_cluster", "Cluster")
            .value(
                "Findings",
                "short",
                format!("max by (severity, code, pg_cluster) ({})", S.of(&operator::FINDINGS)),
            ),
        Panel::lines(
            "Outcomes by reason",
            "How many jobs ended within an hour, by outcome and reason?",
            "short",
        )
        .stacked()
        .query(format!("sum by (outcome, reason) (increase({runs}[1h]))"), "{{outcome}} {{reason}}"),
        Panel::lines("Job duration, 90th percentile", "How long do jobs take, over a day?", "s").query(
            format!("histogram_quantile(0.9, sum by (backup_type, outcome, le) (rate({duration}[1d]))) >= 0"),
            "{{backup_type}} {{outcome}}",
        ),
        Panel::lines("Duration of the last job", "How long did each schedule's last job take?", "s")
            .query(slot(&jobs::LAST_DURATION_SECONDS), SLOT_NAME),
        Panel::lines("Missed runs", "Since when have runs been missed?", "short")
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
        Panel::lines("Space used", "How full are the volumes of the repositories?", "percentunit")
            .query(format!("1 - {available} / {capacity}"), name)
            .limits(&[(0.0, "text"), (0.9, "red")]),
        Panel::lines(
            "Space left in four days",
            "When will the volumes be full, at the rate of the last two days? Backups and archiving stop then.",
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
