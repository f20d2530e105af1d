//! Fleet: is anything wrong, and where?

use pgbackrest_keeper::metrics::catalogue::{backups, jobs, restore_tests, wal};

use super::frame::Dashboard;
use super::model::{NONE_IS_GOOD, Panel, Step, ranges, says};
use super::query::{
    ANY_AGE, FLEET as S, REPO, REPO_NAME, SLOT, SLOT_NAME, STANZA, STANZA_NAME, SUCCESS_AGE, Scope, TYPE,
    TYPE_NAME, alerts, firing, variables,
};

/// Two runs of the schedule are the most that may pass.
const OF_SCHEDULE: &[Step] = &[(0.0, "green"), (1.5, "orange"), (2.0, "red")];
const RESTORABLE: &[Step] = &[(0.0, "green"), (93_600.0, "orange"), (172_800.0, "red")];
const SOME: &[Step] = &[(0.0, "red"), (1.0, "green")];
/// Of backups that cannot be restored; of others it could not be told.
pub(super) const LOST: &str = "reason!=\"unknown\"";
const FAILURES: &[Step] = &[(0.0, "green"), (1.0, "orange"), (3.0, "red")];

pub(crate) fn dashboard() -> Dashboard {
    Dashboard {
        file: "fleet",
        uid: "pgbackrest-fleet",
        title: "pgBackRest / Fleet",
        description: "Are the backups of all clusters healthy? Which are not?",
        from: "now-7d",
        variables: variables(S, true),
        annotations: vec![alerts()],
        rows: vec![
            ("Monitoring and recoverability", [numbers(), defects()].concat()),
            ("Clusters and repositories", vec![repositories(), firing_alerts()]),
            ("Restore tests", tests()),
            ("Trends", course()),
        ],
    }
}

fn numbers() -> Vec<Panel> {
    let full = S.with(&backups::BACKUPS, "backup_type=\"full\"");
    let failures = S.of(&jobs::CONSECUTIVE_FAILURES);
    let chain = S.of(&backups::BACKUP_CHAIN_LAST_COMPLETION_TIMESTAMP_SECONDS);
    let latest = S.of(&wal::RECOVERY_LATEST_TIMESTAMP_SECONDS);
    vec![
        Panel::stat(
            "Exporters down",
            "Does Prometheus reach every exporter and operator? The last values of a target that is down are outdated.",
            "short",
            Scope::count(&format!("{} == 0", S.up()), &S.up()),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stale data",
            "Is the other data on this page current? Collections that have not succeeded within three intervals plus one timeout.",
            "short",
            S.stale(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "With a full backup",
            "How many repositories contain at least one full backup, counted for each cluster?",
            "short",
            Scope::count(&format!("{full} > 0"), &full),
        )
        .steps(SOME),
        Panel::stat(
            "Without a full backup",
            "Repositories from which nothing can be restored.",
            "short",
            Scope::count(&format!("{full} == 0"), &full),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Worst data loss",
            "How old is the latest point that you can restore to, in the repository that is furthest behind? An idle database loses nothing.",
            "s",
            format!("max(time() - {latest})"),
        )
        .steps(RESTORABLE),
        Panel::stat(
            "Shortest recovery window",
            "How far back can you restore, in the repository with the shortest window? Based on backups alone if the WAL archive is not scanned.",
            "s",
            format!("min({})", S.of(&wal::RECOVERY_WINDOW_SECONDS)),
        ),
        Panel::stat(
            "Overdue",
            "Schedules with missed runs, and full backups older than eight days if no schedule is known.",
            "short",
            Scope::count(&S.overdue(), &chain),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Failing jobs",
            "Schedules whose most recent backup job failed. Reported only by the operator.",
            "short",
            Scope::count(&format!("{failures} > 0"), &failures),
        )
        .steps(NONE_IS_GOOD),
    ]
}

fn defects() -> Vec<Panel> {
    let (up, errors) = (S.of(&backups::REPO_UP), S.of(&backups::BACKUPS_WITH_ERRORS));
    let expiry = S.of(&backups::REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS);
    let others = S.of(&backups::OTHER_PROGRAM_SEEN_TIMESTAMP_SECONDS);
    let stopped = S.of(&backups::STANZA_STOPPED);
    let (gaps, lost) = (S.of(&wal::WAL_GAPS), S.with(&wal::BACKUP_UNRESTORABLE, LOST));
    vec![
        Panel::stat(
            "Repositories down",
            "Repositories that do not answer, or whose stanza is missing.",
            "short",
            Scope::count(&format!("{up} == 0"), &up),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Backups with page errors",
            "Existing backups in which pgBackRest found pages with invalid checksums.",
            "short",
            format!("sum({errors})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "WAL gaps",
            "Separate gaps in all repositories whose WAL archive is scanned. WAL that expire removed on purpose does not count.",
            "short",
            format!("sum({gaps})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Lost backups",
            "Backups that info lists but that cannot be restored.",
            "short",
            format!("sum({lost})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Other programs",
            "Stanzas on which another program works that does not respect the locks of the queried one.",
            "short",
            Scope::count(&others, &up),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stopped stanzas",
            "Stanzas whose backups and WAL archiving are disabled by pgbackrest stop. Reported only by exporters on hosts.",
            "short",
            Scope::count(&format!("{stopped} == 1"), &stopped),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Next credential expiry",
            "When does the first certificate or signature that is used to access a repository expire?",
            "s",
            format!("min({expiry} - time())"),
        )
        .steps(&[(-1e12, "red"), (0.0, "orange"), (1_209_600.0, "green")]),
        Panel::stat(
            "Firing alerts",
            "How many alerts of this project are firing?",
            "short",
            Scope::count(&firing(), &S.up()),
        )
        .steps(NONE_IS_GOOD),
    ]
}

fn repositories() -> Panel {
    let allowed = format!(
        "max by ({REPO}) ({}) or max by ({REPO}) (({}) / ({ANY_AGE}))",
        S.age_of_schedule(),
        S.age(REPO, "backup_type=\"incr\"")
    );
    let up = S.max(REPO, &backups::REPO_UP);
    let failures =
        format!("max by (namespace, pg_cluster, repo_key) ({})", S.of(&jobs::CONSECUTIVE_FAILURES));
    let next = format!(
        "min by (namespace, pg_cluster, repo_key) ({})",
        S.of(&jobs::SCHEDULE_NEXT_TIMESTAMP_SECONDS)
    );
    let blocked = S.max(REPO, &backups::EXPIRY_BLOCKED_SINCE_TIMESTAMP_SECONDS);
    let lost = S.max_with(&format!("{REPO}, reason"), &wal::BACKUP_UNRESTORABLE, LOST);
    let joined = |what: &str| format!("0 * {up} + on (namespace, pg_cluster, repo_key) group_left () {what}");
    let cluster = "/d/pgbackrest-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}\
                   &var-pg_cluster=${__data.fields.Cluster}&var-instance=${__data.fields.Host}\
                   &var-stanza=${__data.fields.Stanza}&${__url_time_range}";
    Panel::table(
        "Backups by cluster and repository, worst first",
        "Which clusters and repositories have problems, and are their other repositories fine? Schedule used is the age of the \
         newest backup relative to the interval of its schedule, or to 26 hours if no schedule is known.",
    )
    .label("namespace", "Namespace")
    .linked(cluster.to_owned())
    .label("pg_cluster", "Cluster")
    .linked(cluster.to_owned())
    .label("host", "Host")
    .linked(cluster.to_owned())
    .label("stanza", "Stanza")
    .linked(cluster.to_owned())
    .label("repo_key", "Repository")
    .value("Answers", "none", up.clone())
    .coloured(&[(0.0, "red"), (1.0, "green")])
    .spelt(says(&[("0", "no", "red"), ("1", "yes", "green")]))
    .value("Schedule used", "percentunit", allowed)
    .coloured(OF_SCHEDULE)
    .value("Newest", "s", S.age(REPO, "backup_type=\"incr\""))
    .value("Newest full", "s", S.age(REPO, "backup_type=\"full\""))
    .value("Window", "s", S.max(REPO, &wal::RECOVERY_WINDOW_SECONDS))
    .value("Gaps", "short", S.max(REPO, &wal::WAL_GAPS))
    .coloured(NONE_IS_GOOD)
    .value("Lost", "short", format!("sum by ({REPO}) ({lost})"))
    .coloured(NONE_IS_GOOD)
    .value("Backups", "short", format!("sum by ({REPO}) ({})", S.max(TYPE, &backups::BACKUPS)))
    .value("Expiry blocked", "s", format!("time() - {blocked}"))
    .coloured(NONE_IS_GOOD)
    .value("Last attempt", "none", S.max(REPO, &backups::BACKUP_LAST_ATTEMPT_SUCCESS))
    .coloured(&[(0.0, "red"), (1.0, "green")])
    .spelt(says(&[("0", "failed", "red"), ("1", "completed", "green")]))
    .value("Stored", "bytes", S.max(REPO, &backups::REPO_STORED_BYTES))
    .value("Failures", "short", joined(&failures))
    .coloured(FAILURES)
    .value("Next run", "dateTimeFromNow", format!("1000 * ({})", joined(&next)))
    .worst("Schedule used")
}

fn firing_alerts() -> Panel {
    Panel::table("Active alerts", "Which alerts are firing? Each has a runbook of the same name.")
        .size(24, 6)
        .label("severity", "Severity")
        .label("alertname", "Alert")
        .label("namespace", "Namespace")
        .label("pg_cluster", "Cluster")
        .label("instance", "Instance")
        .label("stanza", "Stanza")
        .label("repo_key", "Repository")
        .label("backup_type", "Type")
        .value(
            "Series",
            "short",
            format!(
                "count by (severity, alertname, namespace, pg_cluster, instance, stanza, repo_key, backup_type) ({})",
                firing()
            ),
        )
}

/// A proof of a cluster is its newest test that passed, from any of its repositories.
fn tests() -> Vec<Panel> {
    let success = &restore_tests::LAST_SUCCESS_TIMESTAMP_SECONDS;
    let age = format!("time() - {}", S.max(STANZA, success));
    let all = S.max(STANZA, &backups::REPO_UP);
    let proven = Scope::count(&format!("({age}) <= {SUCCESS_AGE}"), &all);
    let tested = S.max(STANZA, &restore_tests::LAST_START_TIMESTAMP_SECONDS);
    let failures = S.max(STANZA, &restore_tests::CONSECUTIVE_FAILURES);
    vec![
        Panel::stat(
            "Proven by a restore",
            "Of which share of all clusters has a restore test passed within the last 15 days?",
            "percentunit",
            format!("({proven}) / count({all})"),
        ),
        Panel::stat(
            "Never tested",
            "Clusters without any restore test on record.",
            "short",
            Scope::count(&format!("{all} unless on ({STANZA}) {tested}"), &all),
        ),
        Panel::stat(
            "Oldest proof",
            "How long ago was the backup of the cluster that was proven longest ago restored in a test that passed?",
            "s",
            format!("max({age})"),
        ),
        Panel::stat(
            "Failing tests",
            "Clusters of which a restore test has failed since the last one that passed from the same repository.",
            "short",
            Scope::count(&format!("{failures} > 0"), &failures),
        )
        .steps(NONE_IS_GOOD),
        Panel::bars(
            "Age of the last proof",
            "When was a backup of each cluster last restored in a test that passed? Clusters of which none has passed are missing.",
            "s",
        )
        .now(format!("sort_desc({age})"), STANZA_NAME),
        Panel::bars(
            "Recovery time, estimated",
            "How long does a recovery of each cluster to the latest point in time take, at the median speed of recent restore \
             tests? In its fastest repository.",
            "s",
        )
        .now(
            format!(
                "sort_desc({})",
                S.min_with(
                    STANZA,
                    &restore_tests::RECOVERY_TIME_ESTIMATE_SECONDS,
                    "point=\"latest\",speed=\"median\""
                )
            ),
            STANZA_NAME,
        ),
    ]
}

fn course() -> Vec<Panel> {
    // Ages above three intervals look the same, so that one dead schedule does not flatten all others.
    let used = format!("clamp_max({}, 3)", S.age_of_schedule());
    let plain = format!("clamp_max(({}) / ({ANY_AGE}), 3)", S.age(REPO, "backup_type=\"incr\""));
    let lsn = format!(
        "max by ({REPO}) ({})",
        S.max("namespace, pg_cluster, host, stanza, repo_key, database_id", &wal::WAL_MAX_LSN_BYTES)
    );
    vec![
        Panel::lines(
            "Age relative to schedule",
            "Is any backup older than its schedule allows? 200 % means two runs. Values above 300 % are shown as 300 %.",
            "percentunit",
        )
        .query(used, TYPE_NAME)
        .limits(OF_SCHEDULE),
        Panel::states(
            "Job outcomes",
            "Since when have the jobs of a schedule been failing? Consecutive failures, reported only by the operator.",
            ranges(&[(0.0, 0.5, "ok", "green"), (0.6, 2.5, "failed", "orange"), (2.6, 1e9, "keeps failing", "red")]),
        )
        .steps(FAILURES)
        .query(S.max(SLOT, &jobs::CONSECUTIVE_FAILURES), SLOT_NAME),
        Panel::lines(
            "Age of the newest backup relative to 26 hours",
            "The same if no schedule is known: one backup of any type per day is expected.",
            "percentunit",
        )
        .query(plain, REPO_NAME)
        .limits(OF_SCHEDULE),
        Panel::lines(
            "WAL archived",
            "Does WAL arrive in every repository? The rate at which the newest segment advances, over an hour.",
            "Bps",
        )
        .query(format!("clamp_min(deriv(({lsn})[1h:5m]), 0)"), REPO_NAME),
        Panel::bars("Repository size", "Which repositories use the most space? Backups only, without WAL.", "bytes")
            .now(format!("sort_desc({})", S.max(REPO, &backups::REPO_STORED_BYTES)), REPO_NAME),
        Panel::lines("Stored bytes", "Which repositories grow?", "bytes")
            .query(S.max(REPO, &backups::REPO_STORED_BYTES), REPO_NAME),
    ]
}
