//! Restore tests: whether they fail, have results, pass and run, and how long a recovery takes.

use std::collections::BTreeMap;

use crate::check::judge::{Judge, Reading};
use crate::check::quantity::Quantity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::restore_tests as metrics;

use super::Service;
use super::records::{self, Kind};

pub(super) const SERVICE: Service = Service {
    name: "restore-test",
    about: "Results and age of restore tests, estimated duration of a recovery; nothing without a record of a test",
    metrics: &[
        &metrics::CONSECUTIVE_INCONCLUSIVE,
        &metrics::LAST_START_TIMESTAMP_SECONDS,
        &metrics::LAST_SUCCESS_TIMESTAMP_SECONDS,
        &metrics::NOT_PASSED_INFO,
        &metrics::OLDEST_START_TIMESTAMP_SECONDS,
        &metrics::RECORDS_UNUSABLE,
        &metrics::RECOVERY_TIME_ESTIMATE_SECONDS,
    ],
    quantities: &[&AGE, &SUCCESS_AGE, &RECOVERY_TIME],
    alerts: &[
        "PgBackRestRestoreTestFailed",
        "PgBackRestRestoreTestNotPassed",
        "PgBackRestRestoreTestsStopped",
        "PgBackRestRestoreTestInconclusive",
        "PgBackRestRestoreTestRecordsUnusable",
        "PgBackRestRecoveryTooSlow",
    ],
    judge,
};

const AGE: Quantity = Quantity {
    name: "restore-test-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("8d"),
    critical: None,
    alert: Some("PgBackRestRestoreTestsStopped"),
    about: "time since the start of the last restore test of a stanza",
};
const SUCCESS_AGE: Quantity = Quantity {
    name: "restore-test-success-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("15d"),
    critical: None,
    alert: Some("PgBackRestRestoreTestNotPassed"),
    about: "time since a restore test of a stanza passed, or since the first one if none has",
};
const RECOVERY_TIME: Quantity = Quantity {
    name: "recovery-time",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("4h"),
    critical: None,
    alert: Some("PgBackRestRecoveryTooSlow"),
    about: "estimated duration of a recovery to the point in time that takes longest",
};

const KIND: Kind = Kind {
    name: "restore test",
    unrecorded: "restore tests: there is no record",
    not_passed: &metrics::NOT_PASSED_INFO,
    inconclusive: &metrics::CONSECUTIVE_INCONCLUSIVE,
    last_start: &metrics::LAST_START_TIMESTAMP_SECONDS,
    oldest_start: &metrics::OLDEST_START_TIMESTAMP_SECONDS,
    last_success: &metrics::LAST_SUCCESS_TIMESTAMP_SECONDS,
    unusable: &metrics::RECORDS_UNUSABLE,
    age: &AGE,
    success_age: &SUCCESS_AGE,
    failed_alert: "PgBackRestRestoreTestFailed",
    inconclusive_alert: "PgBackRestRestoreTestInconclusive",
    unusable_alert: "PgBackRestRestoreTestRecordsUnusable",
};

fn judge(judge: &mut Judge<'_>) {
    records::judge(judge, &KIND);
    let facts = judge.facts;
    let mut slowest = BTreeMap::new();
    for (repo, series) in facts.of(&metrics::RECOVERY_TIME_ESTIMATE_SECONDS) {
        if series.label("speed") == "median" {
            let known = slowest.entry(repo).or_insert(series.value);
            *known = known.max(series.value);
        }
    }
    for (repo, seconds) in slowest {
        let text = format!("a recovery takes about {}", Unit::Seconds.words(seconds));
        judge.measure(&Reading::new(&RECOVERY_TIME, repo, seconds, text));
    }
}
