//! The page of one cluster of a fleet: its setup, and its backups as an exporter would show them.

use chrono::{DateTime, Utc};
use maud::{Markup, PreEscaped, html};

use crate::metrics::Fleet;
use crate::metrics::operator::Overview;
use crate::state::health::{self, Health};
use crate::state::human;
use crate::state::snapshot::Snapshot;

use super::super::{collection, pieces, stanza, timeline};
use super::{FleetContext, Seen, TEXT_LIMIT};

/// The whole page of the cluster `wanted`, written `namespace/name`.
pub(super) fn render(
    clusters: &[Overview],
    fleet: &Fleet,
    wanted: &str,
    context: &FleetContext<'_>,
    now: DateTime<Utc>,
) -> String {
    let found = wanted.split_once('/').and_then(|(namespace, name)| {
        clusters.iter().find(|cluster| cluster.key.0 == namespace && cluster.key.1 == name)
    });
    let seen = found.map(|overview| Seen::of(overview, fleet, now, context.fresh_for()));
    let name = human::line(wanted, 120);
    let headline = match seen.as_ref().map(|seen| seen.health) {
        None => format!("Cluster {name} not found"),
        Some(Some(Health::Ok)) => format!("{name} is ok"),
        Some(Some(Health::Warning)) => format!("{name} needs attention"),
        Some(Some(Health::Failed)) => format!("{name} has failed"),
        Some(None) => name,
    };
    let worst = seen.as_ref().map_or(Some(Health::Failed), |seen| seen.health);
    let body = html! {
        header {
            p.soft { "pgBackRest backups · operator " bdi { (human::line(context.title, 120)) } }
            h1 { (pieces::symbol(worst)) " " (headline) }
            @if seen.is_none() {
                p { "Check the name. The cluster may not have been reconciled yet, or another replica leads." }
            }
            p.soft {
                @if let Some(version) = seen.as_ref().and_then(|seen| seen.snapshot?.version) {
                    (version.with_name()) " · "
                }
                "times in UTC · " a href="?" { "all clusters" }
            }
        }
        @if let Some(seen) = &seen {
            main {
                (set_up(seen.overview, now))
                (jobs(seen.overview))
                @match seen.snapshot {
                    Some(snapshot) => { (backups(snapshot, context, now)) }
                    None if context.collects => { p.soft { "No data from its pgBackRest yet." } }
                    None => { p.soft { "Collection is disabled (--collector.pgbackrest=false)." } }
                }
            }
        }
        footer { (pieces::provenance()) (pieces::last_line(context.version, context.metrics_path)) }
    };
    pieces::document(&headline, context.title, &body)
}

fn set_up(overview: &Overview, now: DateTime<Utc>) -> Markup {
    let status = overview.judgement.status;
    html! {
        section aria-labelledby="set-up" {
            h2 #set-up { "Setup" }
            p {
                (if status.is_empty() { "unknown" } else { status })
                @if let Some(at) = overview.last_success { span.soft { ", reconciled " (pieces::age(at, now)) } }
            }
            @for line in &overview.judgement.lines { p { (human::line(line, TEXT_LIMIT)) } }
        }
    }
}

fn jobs(overview: &Overview) -> Markup {
    html! {
        @if !overview.jobs.is_empty() {
            section aria-labelledby="jobs" {
                h2 #jobs { "Jobs" }
                @for concern in overview.jobs.iter() {
                    p class={ "reason " (concern.health) } { (human::line(&concern.text, TEXT_LIMIT)) }
                }
            }
        }
    }
}

fn backups(snapshot: &Snapshot, context: &FleetContext<'_>, now: DateTime<Utc>) -> Markup {
    let fresh_for = context.fresh_for();
    let entries = health::of_snapshot(snapshot, now, Some(fresh_for));
    let marks = timeline::marks_per_type(&entries);
    let fold = if entries.len() == 1 { stanza::Fold::Alone } else { stanza::Fold::Never };
    // A cluster has one stanza.
    let sections = entries.iter().map(|entry| stanza::section(entry, fold, marks, now, fresh_for));
    html! {
        (collection::failures(&snapshot.collection, now))
        (timeline::shapes())
        @for section in sections { (PreEscaped(section.into_string())) }
        (collection::section(snapshot, now))
    }
}
