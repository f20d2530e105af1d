//! Verifications: whether they fail, have results, pass and run.

use crate::check::judge::Judge;
use crate::check::quantity::Quantity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::verifications as metrics;

use super::Service;
use super::records::{self, Kind};

pub(super) const SERVICE: Service = Service {
    name: "verify",
    about: "Results and age of verifications; nothing without a record of one",
    metrics: &[
        &metrics::CONSECUTIVE_INCONCLUSIVE,
        &metrics::LAST_START_TIMESTAMP_SECONDS,
        &metrics::LAST_SUCCESS_TIMESTAMP_SECONDS,
        &metrics::NOT_PASSED_INFO,
        &metrics::OLDEST_START_TIMESTAMP_SECONDS,
        &metrics::RECORDS_UNUSABLE,
    ],
    quantities: &[&AGE, &SUCCESS_AGE],
    alerts: &[
        "PgBackRestVerifyFailed",
        "PgBackRestVerifyNotPassed",
        "PgBackRestVerifyStopped",
        "PgBackRestVerifyInconclusive",
        "PgBackRestVerifyRecordsUnusable",
    ],
    judge,
};

const AGE: Quantity = Quantity {
    name: "verify-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("35d"),
    critical: None,
    alert: Some("PgBackRestVerifyStopped"),
    about: "time since the start of the last verification of a stanza",
};
const SUCCESS_AGE: Quantity = Quantity {
    name: "verify-success-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: Some("66d"),
    critical: None,
    alert: Some("PgBackRestVerifyNotPassed"),
    about: "time since a verification of a whole repository of a stanza passed, or since the first one if none has",
};

const KIND: Kind = Kind {
    name: "verification",
    unrecorded: "verifications: there is no record",
    not_passed: &metrics::NOT_PASSED_INFO,
    inconclusive: &metrics::CONSECUTIVE_INCONCLUSIVE,
    last_start: &metrics::LAST_START_TIMESTAMP_SECONDS,
    oldest_start: &metrics::OLDEST_START_TIMESTAMP_SECONDS,
    last_success: &metrics::LAST_SUCCESS_TIMESTAMP_SECONDS,
    unusable: &metrics::RECORDS_UNUSABLE,
    age: &AGE,
    success_age: &SUCCESS_AGE,
    failed_alert: "PgBackRestVerifyFailed",
    inconclusive_alert: "PgBackRestVerifyInconclusive",
    unusable_alert: "PgBackRestVerifyRecordsUnusable",
};

fn judge(judge: &mut Judge<'_>) {
    records::judge(judge, &KIND);
}
