//! Cluster, the row of verifications: are the files of the backups intact?

use pgbackrest_keeper::metrics::catalogue::verifications as catalogue;

use super::cluster::milliseconds;
use super::model::{NONE_IS_GOOD, Panel};
use super::query::{CLUSTER as S, REPO, Scope};

pub(super) fn row() -> Vec<Panel> {
    let failures = S.of(&catalogue::CONSECUTIVE_FAILURES);
    vec![
        Panel::stat(
            "Last passed verification",
            "When were all files of a repository last read and found intact?",
            "dateTimeFromNow",
            milliseconds(&format!("max({})", S.of(&catalogue::LAST_SUCCESS_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Repositories with faults",
            "In how many repositories has a verification failed since the last one that passed?",
            "short",
            Scope::count(&format!("{failures} > 0"), &failures),
        )
        .steps(NONE_IS_GOOD),
        Panel::table(
            "Newest verification of each repository",
            "What came of the newest verification of each repository, and how many failed or had no result in a row?",
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
        .value("Backups not valid", "short", S.max_with(REPO, &catalogue::LAST_BACKUPS, "result=\"not_valid\""))
        .coloured(NONE_IS_GOOD)
        .value("Gaps in the WAL", "short", S.max(REPO, &catalogue::LAST_WAL_GAPS))
        .value("Failures", "short", S.max(REPO, &catalogue::CONSECUTIVE_FAILURES))
        .coloured(NONE_IS_GOOD)
        .value("Without a result", "short", S.max(REPO, &catalogue::CONSECUTIVE_INCONCLUSIVE))
        .coloured(&[(0.0, "text"), (1.0, "orange")])
        .worst("Failures"),
        Panel::table("Files of the newest verification", "How many files did the newest verification of each repository find intact, missing and damaged?")
            .size(12, 6)
            .labels_of_repo()
            .label("kind", "Kind")
            .label("result", "Result")
            .value("Files", "short", S.max(&format!("{REPO}, kind, result"), &catalogue::LAST_FILES)),
        Panel::table("Reasons of verifications", "Why have verifications not passed since the last one that did?")
            .size(12, 6)
            .labels_of_repo()
            .label("outcome", "Result")
            .label("reason", "Reason")
            .value(
                "Verifications",
                "short",
                S.max(&format!("{REPO}, outcome, reason"), &catalogue::NOT_PASSED_INFO),
            ),
    ]
}
