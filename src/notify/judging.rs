//! What holds at a moment for each target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::check::facts::{Place, Selection};
use crate::check::report::Severity;
use crate::check::stanzas;

use super::changes::Verdict;
use super::config::NotifyConfig;
use super::source::{Source, SourceError};

/// What was judged: what each target is about.
#[derive(Debug)]
pub(super) struct Judgement {
    /// Whether the conditions of each heartbeat hold.
    pub(super) heartbeats: BTreeMap<Arc<str>, bool>,
    pub(super) webhooks: BTreeMap<Arc<str>, Verdicts>,
    /// All that are known, whether a target is about them or not.
    pub(super) stanzas: BTreeSet<Place>,
    pub(super) at: DateTime<Utc>,
}

/// The states of everything that a webhook is about.
#[derive(Debug)]
pub(super) struct Verdicts {
    pub(super) all: Vec<Verdict>,
    /// Where stanzas could not be listed.
    pub(super) unlisted: Vec<Place>,
}

/// None before the first collection has ended. Takes time in proportion to the number of series: not for an async thread.
pub(super) fn judge(
    source: &Source,
    config: &NotifyConfig,
    expects_scan: bool,
) -> Result<Option<Judgement>, SourceError> {
    let Some(mut facts) = source.facts()? else { return Ok(None) };
    let at = Utc::now();
    let now = at.timestamp_millis() as f64 / 1000.0;
    facts.select(Selection::default());
    let stanzas = stanzas::known(&facts);
    let (mut heartbeats, mut webhooks) = (BTreeMap::new(), BTreeMap::new());
    for heartbeat in &config.heartbeats {
        heartbeat.conditions.select(&mut facts);
        let report = heartbeat.conditions.judge(&heartbeat.conditions.services, &facts, expects_scan, now);
        let worst = if heartbeat.allows_warnings { Severity::Warning } else { Severity::Ok };
        heartbeats.insert(Arc::clone(&heartbeat.name), report.severity() <= worst);
    }
    for webhook in &config.webhooks {
        webhook.conditions.select(&mut facts);
        let mut all = Vec::new();
        for service in &webhook.conditions.services {
            let report = webhook.conditions.judge(&[*service], &facts, expects_scan, now);
            all.extend(stanzas::by_stanza(&report, &facts).into_iter().map(|(place, problems)| {
                let severity = problems.first().map_or(Severity::Ok, |worst| worst.severity);
                let problems = problems.into_iter().cloned().collect();
                Verdict { service: service.name, place, severity, problems }
            }));
        }
        let verdicts = Verdicts { all, unlisted: stanzas::unlisted(&facts) };
        webhooks.insert(Arc::clone(&webhook.name), verdicts);
    }
    Ok(Some(Judgement { heartbeats, webhooks, stanzas, at }))
}
