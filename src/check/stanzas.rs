//! What a report says about each stanza.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::catalogue::exporter::COLLECTOR_UP;

use super::facts::{Facts, Place};
use super::report::{Problem, Report};

/// All selected stanzas that are known.
#[must_use]
pub fn known(facts: &Facts) -> BTreeSet<Place> {
    let stanzas = facts.repos().into_iter().map(Place::of_stanza);
    stanzas.filter(|place| !place.is_of_all_stanzas()).collect()
}

/// The problems of each selected stanza that count: its own, and those that concern all stanzas, as if the report were about it alone.
/// If no stanza is known, the problems are those of the places where they are.
#[must_use]
pub fn by_stanza<'a>(report: &'a Report, facts: &Facts) -> BTreeMap<Place, Vec<&'a Problem>> {
    let (of_all, of_one): (Vec<&Problem>, Vec<&Problem>) =
        report.told().partition(|problem| problem.place.is_of_all_stanzas());
    let mut found: BTreeMap<Place, Vec<&Problem>> =
        known(facts).into_iter().map(|place| (place, Vec::new())).collect();
    for problem in of_one {
        found.entry(problem.place.of_stanza()).or_default().push(problem);
    }
    if found.is_empty() {
        for problem in of_all {
            found.entry(problem.place.of_stanza()).or_default().push(problem);
        }
        return found;
    }
    for (place, problems) in &mut found {
        problems.extend(of_all.iter().filter(|problem| problem.place.concerns(place)));
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    }
    found
}

/// Where it is not known which stanzas there are, because they could not be listed: what is not there may still exist.
#[must_use]
pub fn unlisted(facts: &Facts) -> Vec<Place> {
    let runs = facts.of(&COLLECTOR_UP).filter(|(_, series)| series.label("collector") == "info");
    let failed = runs.filter(|(place, series)| !series.is_true() && place.is_of_all_stanzas());
    failed.map(|(place, _)| place.of_stanza()).collect()
}
