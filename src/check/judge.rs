//! What services judge with: facts, thresholds and time in, a report out.

use std::collections::BTreeSet;

use crate::metrics::catalogue::Metric;
use crate::metrics::catalogue::exporter::{
    COLLECTOR_INTERVAL_SECONDS, COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, COLLECTOR_TIMEOUT_SECONDS,
    COLLECTOR_UP,
};
use crate::state::archive::CLOCK_TOLERANCE;
use crate::state::human;

use super::facts::{Facts, Place};
use super::limits::Limits;
use super::quantity::{Quantity, Thresholds};
use super::report::{Measure, Problem, Report, Severity};
use super::unit::Unit;

/// A value with everything that is said about it.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    pub(super) quantity: &'static Quantity,
    pub(super) place: &'a Place,
    /// What sets it apart from others of the quantity at the place.
    pub(super) detail: &'a str,
    pub(super) value: f64,
    /// Without the threshold.
    pub(super) text: String,
    /// Instead of those of the quantity.
    pub(super) usual: Option<Thresholds>,
    /// Instead of that of the quantity.
    pub(super) alert: Option<&'static str>,
}

/// Judges.
#[derive(Debug)]
pub struct Judge<'a> {
    pub(super) facts: &'a Facts,
    pub(super) limits: &'a Limits,
    /// Seconds since 1970.
    pub(super) now: f64,
    /// Whether it is wrong if the WAL archives were not scanned.
    pub(super) expects_scan: bool,
    /// Whether it is wrong if there is no proof.
    pub(super) demands_proof: bool,
    pub(super) report: Report,
}

impl<'a> Reading<'a> {
    pub(super) fn new(quantity: &'static Quantity, place: &'a Place, value: f64, text: String) -> Self {
        Self { quantity, place, detail: "", value, text, usual: None, alert: None }
    }
}

impl Judge<'_> {
    pub(super) fn problem(
        &mut self,
        severity: Severity,
        alert: &'static str,
        place: &Place,
        text: impl Into<String>,
    ) {
        self.add(severity, Some(alert), place, text.into());
    }

    pub(super) fn unknown(&mut self, place: &Place, text: impl Into<String>) {
        self.add(Severity::Unknown, None, place, text.into());
    }

    fn add(&mut self, severity: Severity, alert: Option<&'static str>, place: &Place, text: String) {
        self.report.add(Problem { severity, alert, place: place.clone(), text, is_ignored: false });
    }

    /// Something need not be known, because pgBackRest or its configuration do not always tell it.
    pub(super) fn unchecked(&mut self, what: &'static str) {
        *self.report.unchecked.entry(what).or_default() += 1;
    }

    /// Records a value, and compares it with its thresholds.
    pub(super) fn measure(&mut self, reading: &Reading<'_>) {
        let Reading { quantity, place, value, .. } = *reading;
        let usual = reading.usual.unwrap_or_else(|| quantity.usual());
        let thresholds = self.limits.of(quantity, usual);
        let violated = [(Severity::Critical, thresholds.critical), (Severity::Warning, thresholds.warning)]
            .into_iter()
            .find_map(|(severity, range)| {
                Some((severity, range.filter(|range| range.is_violated_by(value))?))
            });
        if let Some((severity, range)) = violated {
            let text = format!("{} (expected: {})", reading.text, range.words(quantity.unit));
            self.add(severity, reading.alert.or(quantity.alert), place, text);
        }
        let (place, detail) = (place.clone(), reading.detail.to_owned());
        self.report.measures.push(Measure { quantity, place, value, thresholds, detail });
    }

    /// A value for which the user has set a threshold is known in every repository.
    pub(super) fn expect_values(&mut self, quantities: &[&'static Quantity]) {
        let (facts, limits) = (self.facts, self.limits);
        for quantity in quantities.iter().filter(|quantity| quantity.is_everywhere && limits.is_set(quantity))
        {
            let measured = self.report.measures.iter().filter(|measure| measure.quantity == *quantity);
            let known: BTreeSet<Place> = measured.map(|measure| measure.place.clone()).collect();
            for repo in facts.repos().into_iter().filter(|repo| !known.contains(*repo)) {
                self.unknown(repo, format!("{} is unknown, and has a threshold", quantity.name));
            }
        }
    }

    /// Seconds since a time. One in the future is nothing that can be judged.
    pub(super) fn age(&mut self, place: &Place, what: &str, at: f64) -> Option<f64> {
        let age = self.now - at;
        if age < -(CLOCK_TOLERANCE.num_seconds() as f64) {
            let ahead = Unit::Seconds.words(-age);
            self.unknown(place, format!("{what} is {ahead} in the future: check the clocks of both hosts"));
            return None;
        }
        Some(age.max(0.0))
    }

    /// The age at which the data of a collector counts as outdated: three intervals and what one run may take.
    pub(super) fn outdated_after(&self, collector: &str) -> Option<f64> {
        let of = |metric: &Metric| {
            let mut all = self.facts.of(metric);
            all.find(|(_, series)| series.label("collector") == collector).map(|(_, series)| series.value)
        };
        Some(3.0 * of(&COLLECTOR_INTERVAL_SECONDS)? + of(&COLLECTOR_TIMEOUT_SECONDS)?)
    }

    /// Nothing is fine that was asked for and not answered.
    pub(super) fn expect_whole_answer(&mut self) {
        let all = Place::default();
        if let Some(cause) = self.facts.cause(&all) {
            self.unknown(&all, cause);
        }
        for name in self.facts.missing_stanzas() {
            self.unknown(&Place::stanza(&name), "the stanza is not known");
        }
        for cluster in self.facts.missing_clusters() {
            self.unknown(&cluster, "the cluster is not known");
        }
        for repo in self.facts.missing_repos() {
            self.unknown(&Place { repo: Some(repo), ..Place::default() }, "the repository is not known");
        }
    }

    /// Nothing is fine that is too long to be read.
    pub(super) fn expect_readable(&mut self) {
        let facts = self.facts;
        for (place, count) in facts.too_long() {
            let text = format!("{} cannot be read: a name is too long", human::count(count, "metric"));
            self.unknown(place, text);
        }
    }

    /// Nothing that was not collected, or is outdated, is fine.
    pub(super) fn expect_facts_of(&mut self, collector: &str) {
        let facts = self.facts;
        let repos = facts.repos();
        self.expect_whole_answer();
        let mut runs = facts.of(&COLLECTOR_UP).filter(|(_, series)| series.label("collector") == collector);
        let is_explained =
            facts.cause(&Place::default()).is_some() || runs.any(|(_, series)| !series.is_true());
        if repos.is_empty() && !is_explained {
            self.unknown(&Place::default(), "no stanza is known; see the service collection");
        }
        let limit = self.outdated_after(collector);
        for (place, series) in
            facts.of(&COLLECTOR_UP).filter(|(_, series)| series.label("collector") == collector)
        {
            // The repository says more.
            let mut of_it = repos.iter().filter(|repo| repo.of_stanza() == *place);
            if !series.is_true() && !of_it.any(|repo| facts.unreadable(repo).is_some()) {
                let cause = facts.cause(place).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.unknown(place, format!("{} failed{cause}", run_of(collector)));
            }
        }
        let times = facts.of(&COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS);
        for (place, series) in times.filter(|(_, series)| series.label("collector") == collector) {
            let Some(age) = self.age(place, &format!("the time of {}", run_of(collector)), series.value)
            else {
                continue;
            };
            if limit.is_some_and(|limit| age > limit) {
                let age = Unit::Seconds.words(age);
                let text =
                    format!("{} that succeeded was {age} ago, so the facts are outdated", run_of(collector));
                self.unknown(place, text);
            }
        }
    }
}

/// `1 repository`, `2 repositories`
pub(super) fn repositories(number: usize) -> String {
    if number == 1 { "1 repository".to_owned() } else { format!("{number} repositories") }
}

/// In sentences.
pub(super) fn run_of(collector: &str) -> &'static str {
    if collector == "wal" { "the last scan of the WAL archive" } else { "the last collection" }
}
