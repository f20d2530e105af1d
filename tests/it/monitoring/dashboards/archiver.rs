//! Cluster, the row of the archiver on a host: will WAL be lost before it reaches a repository?

use pgbackrest_keeper::metrics::catalogue::archiver as catalogue;

use super::cluster::{STANZA, STANZA_NAME, milliseconds};
use super::model::{NONE_IS_GOOD, Panel};
use super::query::CLUSTER as S;

pub(super) fn row() -> Vec<Panel> {
    let of_stanza = |metric| S.max(STANZA, metric);
    let waited = format!(
        "({} - on ({STANZA}) {}) or 0 * {}",
        of_stanza(&catalogue::ARCHIVER_COLLECTED_TIMESTAMP_SECONDS),
        of_stanza(&catalogue::ARCHIVER_WAITING_SINCE_TIMESTAMP_SECONDS),
        of_stanza(&catalogue::ARCHIVER_WAITING_FILES)
    );
    vec![
        Panel::stat(
            "WAL files waiting",
            "How many WAL files are waiting to be archived? It is normal that one is waiting for a moment.",
            "short",
            format!("max({})", S.of(&catalogue::ARCHIVER_WAITING_FILES)),
        ),
        Panel::stat(
            "WAL is dropped",
            "When will the waiting WAL exceed archive-push-queue-max, at the rate of the last half hour? Not shown if the queue does not grow.",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&catalogue::ARCHIVER_DROP_EXPECTED_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "WAL was dropped",
            "When did pgBackRest drop WAL? The recovery window ends there until the next backup. Not shown if no WAL was dropped.",
            "dateTimeFromNow",
            milliseconds(&format!("min({})", S.of(&catalogue::ARCHIVER_DROPPED_SINCE_TIMESTAMP_SECONDS))),
        ),
        Panel::stat(
            "Archiver unreadable",
            "For how many clusters is the state of the archiver unknown?",
            "short",
            format!("count({0}) - sum({0})", S.of(&catalogue::ARCHIVER_UP)),
        )
        .steps(NONE_IS_GOOD),
        Panel::lines(
            "WAL waiting to be archived",
            "How much WAL is waiting on the host, and at which limit does pgBackRest drop WAL?",
            "bytes",
        )
        .query(of_stanza(&catalogue::ARCHIVER_QUEUED_BYTES), &format!("waiting {STANZA_NAME}"))
        .query(of_stanza(&catalogue::ARCHIVER_QUEUE_LIMIT_BYTES), &format!("limit {STANZA_NAME}")),
        Panel::lines("Longest wait", "How long has the next WAL file been waiting?", "s")
            .query(waited, STANZA_NAME),
        Panel::lines(
            "Archiving errors",
            "Why is WAL waiting? Errors of the asynchronous archive-push, and WAL that pgBackRest will always reject.",
            "short",
        )
        .query(
            S.max(&format!("{STANZA}, error"), &catalogue::ARCHIVER_ERRORS),
            &format!("{{{{error}}}} {STANZA_NAME}"),
        )
        .query(
            format!(
                "0 * {} + 1",
                S.max(&format!("{STANZA}, reason"), &catalogue::ARCHIVER_REJECTED_SINCE_TIMESTAMP_SECONDS)
            ),
            &format!("rejected: {{{{reason}}}} {STANZA_NAME}"),
        ),
    ]
}
