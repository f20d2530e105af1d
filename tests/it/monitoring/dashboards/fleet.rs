//! Fleet: is anything wrong, and where?

use pgbackrest_keeper::metrics::catalogue::{backups, jobs, wal};

use super::frame::Dashboard;
use super::model::{NONE_IS_GOOD, Panel, Step, ranges, says};
use super::query::{
    ANY_AGE, FLEET as S, REPO, REPO_NAME, SLOT, SLOT_NAME, Scope, TYPE, TYPE_NAME, alerts, firing, variables,
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
        description: "Are the backups of all clusters well, and which are not?",
        from: "now-7d",
        variables: variables(S, true),
        annotations: vec![alerts()],
        rows: vec![
            ("Can this be believed, and can everything be restored?", [numbers(), defects()].concat()),
            ("Clusters and repositories", vec![repositories(), firing_alerts()]),
            ("The time shown", course()),
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
            "Does Prometheus reach every exporter and operator? What one told last says nothing of now.",
            "short",
            Scope::count(&format!("{} == 0", S.up()), &S.up()),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Stale information",
            "Can the rest be believed? Collections that have not succeeded within three intervals and a timeout.",
            "short",
            S.stale(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "With a full backup",
            "How many repositories hold at least one full backup, counted for each cluster?",
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
            "Lost at worst",
            "How old is the last instant that a restore reaches, in the repository that is furthest behind? An idle database loses nothing.",
            "s",
            format!("max(time() - {latest})"),
        )
        .steps(RESTORABLE),
        Panel::stat(
            "Shortest recovery window",
            "How far back can the repository go that can go back least? Where no WAL archive is listed, by backups alone.",
            "s",
            format!("min({})", S.of(&wal::RECOVERY_WINDOW_SECONDS)),
        ),
        Panel::stat(
            "Overdue",
            "Schedules with missed runs, and full backups older than eight days where no schedule is known.",
            "short",
            Scope::count(&S.overdue(), &chain),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Failing jobs",
            "Schedules whose newest backup job failed. Only the operator tells it.",
            "short",
            Scope::count(&format!("{failures} > 0"), &failures),
        )
        .steps(NONE_IS_GOOD),
    ]
}

fn defects() -> Vec<Panel> {
    let (up, errors) = (S.of(&backups::REPO_UP), S.of(&backups::BACKUPS_WITH_ERRORS));
    let expiry = S.of(&backups::REPO_CREDENTIAL_EXPIRY_TIMESTAMP_SECONDS);
    let (gaps, lost) = (S.of(&wal::WAL_GAPS), S.with(&wal::BACKUP_UNRESTORABLE, LOST));
    vec![
        Panel::stat(
            "Repositories down",
            "Repositories that did not answer or have lost their stanza.",
            "short",
            Scope::count(&format!("{up} == 0"), &up),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Backups with page errors",
            "Kept backups in which pgBackRest found pages with a wrong checksum.",
            "short",
            format!("sum({errors})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Holes in the WAL",
            "Separate holes, in all repositories whose WAL archive is listed. What expire removed on purpose is none.",
            "short",
            format!("sum({gaps})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Lost backups",
            "Backups that info lists and that a restore could not use.",
            "short",
            format!("sum({lost})"),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Next credential ends",
            "When does the first certificate or signature end with which a repository is reached?",
            "s",
            format!("min({expiry} - time())"),
        )
        .steps(&[(-1e12, "red"), (0.0, "orange"), (1_209_600.0, "green")]),
        Panel::stat(
            "Firing alerts",
            "How many alerts of this project fire?",
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
    let lost = S.max_with(&format!("{REPO}, reason"), &wal::BACKUP_UNRESTORABLE, LOST);
    let joined = |what: &str| format!("0 * {up} + on (namespace, pg_cluster, repo_key) group_left () {what}");
    let cluster = "/d/pgbackrest-cluster?var-datasource=${datasource}&var-namespace=${__data.fields.Namespace}\
                   &var-pg_cluster=${__data.fields.Cluster}&var-instance=${__data.fields.Host}\
                   &var-stanza=${__data.fields.Stanza}&${__url_time_range}";
    Panel::table(
        "Backups by cluster and repository, worst first",
        "Which cluster and which repository is in trouble, and is its other repository fine? Time used is the age of the newest \
         backup in intervals of its schedule; where none is known, in parts of 26 hours.",
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
    .value("Time used", "percentunit", allowed)
    .coloured(OF_SCHEDULE)
    .value("Newest", "s", S.age(REPO, "backup_type=\"incr\""))
    .value("Newest full", "s", S.age(REPO, "backup_type=\"full\""))
    .value("Window", "s", S.max(REPO, &wal::RECOVERY_WINDOW_SECONDS))
    .value("Holes", "short", S.max(REPO, &wal::WAL_GAPS))
    .coloured(NONE_IS_GOOD)
    .value("Lost", "short", format!("sum by ({REPO}) ({lost})"))
    .coloured(NONE_IS_GOOD)
    .value("Backups", "short", format!("sum by ({REPO}) ({})", S.max(TYPE, &backups::BACKUPS)))
    .value("Stored", "bytes", S.max(REPO, &backups::REPO_STORED_BYTES))
    .value("Failures", "short", joined(&failures))
    .coloured(FAILURES)
    .value("Next run", "dateTimeFromNow", format!("1000 * ({})", joined(&next)))
    .worst("Time used")
}

fn firing_alerts() -> Panel {
    Panel::table("What fires", "What does the alerting say is wrong now? A runbook stands behind each name.")
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
            "Age against schedule",
            "Is any backup older than its schedule allows? 200 % is two runs; more than 300 % is drawn as 300 %.",
            "percentunit",
        )
        .query(used, TYPE_NAME)
        .limits(OF_SCHEDULE),
        Panel::states(
            "Job outcomes",
            "Since when do the jobs of a schedule fail? Failures in a row; only the operator tells them.",
            ranges(&[(0.0, 0.5, "well", "green"), (0.6, 2.5, "failed", "orange"), (2.6, 1e9, "keeps failing", "red")]),
        )
        .steps(FAILURES)
        .query(S.max(SLOT, &jobs::CONSECUTIVE_FAILURES), SLOT_NAME),
        Panel::lines(
            "Age of the newest backup against 26 hours",
            "The same where no schedule is known: one backup of any type a day is expected.",
            "percentunit",
        )
        .query(plain, REPO_NAME)
        .limits(OF_SCHEDULE),
        Panel::lines(
            "WAL archived",
            "Does WAL arrive in every repository? The slope of the newest segment's position over an hour.",
            "Bps",
        )
        .query(format!("clamp_min(deriv(({lsn})[1h:5m]), 0)"), REPO_NAME),
        Panel::bars("Repository size", "Where is the room used? Backups alone, without WAL.", "bytes")
            .now(format!("sort_desc({})", S.max(REPO, &backups::REPO_STORED_BYTES)), REPO_NAME),
        Panel::lines("Stored bytes", "Which repository grows?", "bytes")
            .query(S.max(REPO, &backups::REPO_STORED_BYTES), REPO_NAME),
    ]
}
