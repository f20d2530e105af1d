//! Results that are recorded: what restore tests and verifications have in common.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::facts::{Place, clean};
use crate::check::judge::{Judge, Reading};
use crate::check::quantity::Quantity;
use crate::check::report::Severity;
use crate::check::unit::Unit;
use crate::metrics::catalogue::Metric;
use crate::state::records::INCONCLUSIVE_LIMIT;

/// One kind of records.
pub(super) struct Kind {
    /// Such as `restore test`.
    pub(super) name: &'static str,
    /// What is not checked without a record.
    pub(super) unrecorded: &'static str,
    pub(super) not_passed: &'static Metric,
    pub(super) inconclusive: &'static Metric,
    pub(super) last_start: &'static Metric,
    pub(super) oldest_start: &'static Metric,
    pub(super) last_success: &'static Metric,
    pub(super) unusable: &'static Metric,
    pub(super) age: &'static Quantity,
    pub(super) success_age: &'static Quantity,
    pub(super) failed_alert: &'static str,
    pub(super) inconclusive_alert: &'static str,
    pub(super) unusable_alert: &'static str,
}

/// Judges what is recorded. A stanza without a record cannot be judged, unless a proof or a threshold demands one.
pub(super) fn judge(judge: &mut Judge<'_>, kind: &Kind) {
    let (facts, name) = (judge.facts, kind.name);
    judge.expect_facts_of("info");
    for (repo, series) in facts.of(kind.not_passed) {
        if series.is_true() && series.label("outcome") == "failed" {
            let reason = clean(series.label("reason"), 60).replace('_', " ");
            judge.problem(Severity::Critical, kind.failed_alert, repo, format!("a {name} failed: {reason}"));
        }
    }
    for (repo, series) in facts.of(kind.inconclusive) {
        if series.value >= INCONCLUSIVE_LIMIT as f64 {
            let text = format!("the last {} {name}s had no result", series.value);
            judge.problem(Severity::Warning, kind.inconclusive_alert, repo, text);
        }
    }
    for (place, series) in facts.of(kind.unusable) {
        if series.value > 0.0 {
            let text = format!("{} records of {name}s cannot be used", series.value);
            judge.problem(Severity::Warning, kind.unusable_alert, place, text);
        }
    }
    // A demand for a proof, or a threshold for it, means that there must be one.
    let demands_success = judge.demands_proof || judge.limits.is_set(kind.success_age);
    let demands_run = demands_success || judge.limits.is_set(kind.age);
    // The repositories of a stanza take turns.
    let newest = extreme(judge, kind.last_start, f64::max);
    for (stanza, at) in &newest {
        if let Some(age) = judge.age(stanza, &format!("the time of the last {name}"), *at) {
            let text = format!("the last {name} started {} ago", Unit::Seconds.words(age));
            judge.measure(&Reading::new(kind.age, stanza, age, text));
        }
    }
    let passed = extreme(judge, kind.last_success, f64::max);
    let oldest = extreme(judge, kind.oldest_start, f64::min);
    let stanzas: BTreeSet<&Place> = passed.keys().chain(oldest.keys()).collect();
    for stanza in stanzas {
        let (at, words) = match (passed.get(stanza), oldest.get(stanza)) {
            (Some(at), _) => (*at, format!("the last {name} that passed was")),
            // It is no success.
            (None, Some(_)) if demands_success => continue,
            (None, Some(at)) => (*at, format!("no {name} has passed; the first on record was")),
            (None, None) => continue,
        };
        if let Some(age) = judge.age(stanza, &format!("the time of the last {name} that passed"), at) {
            let text = format!("{words} {} ago", Unit::Seconds.words(age));
            judge.measure(&Reading::new(kind.success_age, stanza, age, text));
        }
    }
    let all: BTreeSet<Place> = facts.repos().iter().map(|repo| repo.of_stanza()).collect();
    let without = all.iter().filter(|stanza| !newest.contains_key(*stanza)).count();
    for stanza in &all {
        if demands_success && !passed.contains_key(stanza) {
            judge.unknown(stanza, format!("no {name} that passed is on record"));
        } else if !newest.contains_key(stanza) {
            if demands_run {
                judge.unknown(stanza, format!("no {name} is on record"));
            } else {
                judge.unchecked(kind.unrecorded);
            }
        }
    }
    judge.report.summaries.push(format!("stanzas with a {name}: {} of {}", all.len() - without, all.len()));
}

/// The largest or smallest value of the repositories of each stanza.
fn extreme(judge: &Judge<'_>, metric: &Metric, choose: fn(f64, f64) -> f64) -> BTreeMap<Place, f64> {
    let mut values = BTreeMap::new();
    for (repo, series) in judge.facts.of(metric) {
        values
            .entry(repo.of_stanza())
            .and_modify(|known| *known = choose(*known, series.value))
            .or_insert(series.value);
    }
    values
}
