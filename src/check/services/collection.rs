//! Whether the other services can be relied on: the last collection, its age, and pgBackRest's configuration.

use crate::check::facts::Place;
use crate::check::judge::{Judge, Reading, run_of};
use crate::check::quantity::{Quantity, Thresholds};
use crate::check::range::Range;
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::backups::REPO_UP;
use crate::metrics::catalogue::exporter as metrics;
use crate::metrics::catalogue::operator::LEADER;

use super::Service;

pub(super) const SERVICE: Service = Service {
    name: "collection",
    about: "Whether pgBackRest can be queried, how old the data is, and whether pgBackRest's configuration can be read",
    metrics: &[
        &metrics::COLLECTOR_INTERVAL_SECONDS,
        &metrics::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS,
        &metrics::COLLECTOR_RUNS_TOTAL,
        &metrics::COLLECTOR_UP,
        &metrics::CONFIGURATION_READ_SUCCESS,
        &LEADER,
        &REPO_UP,
    ],
    quantities: &[&AGE],
    alerts: &[
        "PgBackRestCollectionFailing",
        "PgBackRestCollectionStale",
        "PgBackRestConfigurationUnreadable",
        "PgBackRestNothingCollected",
    ],
    judge,
};

const AGE: Quantity = Quantity {
    name: "collection-age",
    unit: Unit::Seconds,
    is_everywhere: false,
    warning: None,
    critical: None,
    alert: Some("PgBackRestCollectionStale"),
    about: "age of the data; critical after three intervals of the exporter and the timeout of a run",
};

fn judge(judge: &mut Judge<'_>) {
    let facts = judge.facts;
    let times = |place: &Place, collector: &str| {
        let all = facts.at(&metrics::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, place);
        all.iter().any(|series| series.label("collector") == collector)
    };
    let mut is_failing = false;
    for (place, series) in facts.of(&metrics::COLLECTOR_UP) {
        if series.is_true() {
            continue;
        }
        is_failing = true;
        let collector = series.label("collector");
        let cause = facts.cause(place).map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("{} failed{cause}", run_of(collector));
        // Without an earlier one, nothing is known at all.
        let severity = if times(place, collector) { Severity::Warning } else { Severity::Unknown };
        judge.problem(severity, "PgBackRestCollectionFailing", place, text);
    }
    let mut newest: Option<f64> = None;
    for (place, series) in facts.of(&metrics::COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS) {
        let collector = series.label("collector");
        let Some(age) = judge.age(place, &format!("the time of {}", run_of(collector)), series.value) else {
            continue;
        };
        newest = Some(newest.map_or(age, |newest| newest.min(age)));
        let text = format!("{} that succeeded was {} ago", run_of(collector), Unit::Seconds.words(age));
        let critical = judge.outdated_after(collector).map(Range::at_most);
        let usual = Some(Thresholds { warning: None, critical });
        judge.measure(&Reading { detail: collector, usual, ..Reading::new(&AGE, place, age, text) });
    }
    for (place, series) in facts.of(&metrics::CONFIGURATION_READ_SUCCESS) {
        if series.value == 0.0 {
            let text = "pgBackRest's configuration cannot be read, so retention, credentials and stop files are unknown";
            judge.problem(Severity::Warning, "PgBackRestConfigurationUnreadable", place, text);
        }
    }
    judge.expect_whole_answer();
    nothing(judge, is_failing);
    let age = newest.map_or_else(String::new, |age| format!(", {} ago", Unit::Seconds.words(age)));
    judge.report.summaries.push(format!("pgBackRest answered{age}"));
}

/// Without any stanza, nothing else can be wrong.
fn nothing(judge: &mut Judge<'_>, is_failing: bool) {
    let facts = judge.facts;
    // Before the first collection, and after one that was cut short, nothing is known.
    let is_unfinished = facts.has(&metrics::COLLECTOR_RUNS_TOTAL) && !facts.has(&metrics::COLLECTOR_UP);
    if !facts.has(&REPO_UP) && !facts.has(&LEADER) && !is_unfinished {
        let mut collectors = facts.of(&metrics::COLLECTOR_INTERVAL_SECONDS);
        if !is_failing && collectors.any(|(_, series)| series.label("collector") == "info") {
            let text = "pgBackRest lists no stanza: run stanza-create, or check which configuration is used";
            return judge.problem(Severity::Critical, "PgBackRestNothingCollected", &Place::default(), text);
        }
    }
    if facts.repos().is_empty() && !is_failing {
        judge.unknown(&Place::default(), "no stanza is known, or none is selected");
    }
}
