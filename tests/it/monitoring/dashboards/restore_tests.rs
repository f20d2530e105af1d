//! Cluster, the row of restore tests: were the backups really restored, and how long does a recovery take?

use pgbackrest_keeper::metrics::catalogue::restore_tests as catalogue;

use super::cluster::milliseconds;
use super::model::{NONE_IS_GOOD, Panel};
use super::query::{CLUSTER as S, REPO, REPO_NAME};

pub(super) fn row() -> Vec<Panel> {
    let estimate = &catalogue::RECOVERY_TIME_ESTIMATE_SECONDS;
    let estimated =
        |point: &str, speed: &str| S.with(estimate, &format!("point=\"{point}\",speed=\"{speed}\""));
    let by_point =
        |speed: &str| S.max_with(&format!("{REPO}, point"), estimate, &format!("speed=\"{speed}\""));
    vec![
        Panel::stat(
            "Last passed test",
            "When was a backup last restored and recovered, and passed all checks?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Failing repositories",
            "In how many repositories has a restore test failed since the last one that passed?",
            "short",
            failing(),
        )
        .steps(NONE_IS_GOOD),
        Panel::stat(
            "Tested full backups",
            "Which share of the full backups was restored in a test that passed, in the repository with the smallest one?",
            "percentunit",
            format!("min({})", S.of(&catalogue::FULL_BACKUPS_RATIO)),
        ),
        Panel::stat(
            "Newest tested backup",
            "From when is the newest backup that was restored in a test that passed?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&catalogue::NEWEST_BACKUP_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Recovery time, estimated",
            "How long does a recovery to the latest point in time take, at the median speed of recent restore tests? In the fastest repository.",
            "s",
            format!("min({})", estimated("latest", "median")),
        ),
        Panel::stat(
            "Measured",
            "When were the speeds for the recovery time last measured?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&catalogue::RECOVERY_TIME_MEASURED_TIMESTAMP_SECONDS))),
        ),
        Panel::lines(
            "Recovery time by repository",
            "How long does a recovery take to the latest point in time, and to the one that takes longest? At the median speed of recent restore tests.",
            "s",
        )
        .query(by_point("median"), &format!("{{{{point}}}} {REPO_NAME}")),
        Panel::lines(
            "Duration of the last test by phase",
            "Where did the time of the newest restore test go?",
            "s",
        )
        .query(
            S.max(&format!("{REPO}, phase"), &catalogue::LAST_PHASE_DURATION_SECONDS),
            &format!("{{{{phase}}}} {REPO_NAME}"),
        ),
        newest(),
        Panel::table("Results", "What came of the newest test of each repository?")
            .size(12, 6)
            .labels_of_repo()
            .label("outcome", "Result")
            .value(
                "Tests",
                "short",
                format!("{} == 1", S.max(&format!("{REPO}, outcome"), &catalogue::LAST_OUTCOME)),
            ),
        Panel::table("Reasons", "Why have tests not passed since the last one that did?")
            .size(12, 6)
            .labels_of_repo()
            .label("outcome", "Result")
            .label("phase", "Phase")
            .label("reason", "Reason")
            .value(
                "Tests",
                "short",
                S.max(&format!("{REPO}, outcome, phase, reason"), &catalogue::NOT_PASSED_INFO),
            ),
    ]
}

fn newest() -> Panel {
    Panel::table(
        "Newest restore test of each repository",
        "What came of the newest test of each repository, and how many failed or had no result in a row?",
    )
    .size(24, 7)
    .label("namespace", "Namespace")
    .labels_of_repo()
    .value("Started", "dateTimeFromNow", milliseconds(&S.max(REPO, &catalogue::LAST_START_TIMESTAMP_SECONDS)))
    .value(
        "Last passed",
        "dateTimeFromNow",
        milliseconds(&S.max(REPO, &catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS)),
    )
    .value("Duration", "s", S.max(REPO, &catalogue::LAST_DURATION_SECONDS))
    .value("Restored", "bytes", S.max(REPO, &catalogue::LAST_RESTORED_BYTES))
    .value("Replayed", "bytes", S.max(REPO, &catalogue::LAST_REPLAYED_BYTES))
    .value("Failures", "short", S.max(REPO, &catalogue::CONSECUTIVE_FAILURES))
    .coloured(NONE_IS_GOOD)
    .value("Without a result", "short", S.max(REPO, &catalogue::CONSECUTIVE_INCONCLUSIVE))
    .coloured(&[(0.0, "text"), (1.0, "orange")])
    .worst("Failures")
}

fn failing() -> String {
    let failures = S.of(&catalogue::CONSECUTIVE_FAILURES);
    super::query::Scope::count(&format!("{failures} > 0"), &failures)
}
