//! The status page of the operator: a table of all clusters, worst first, and a page for each cluster.

mod cluster;
mod seen;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, PreEscaped, html};

use crate::metrics::Fleet;
use crate::metrics::operator::Overview;
use crate::state::health::Health;
use crate::state::human;
use crate::state::restore_tests;

use super::pieces;

pub(super) use seen::Seen;

/// Maximum size of all rows in bytes; rows are added worst cluster first.
const ROW_BUDGET_BYTES: usize = 160_000;
/// Maximum length of a finding.
pub(super) const TEXT_LIMIT: usize = 400;

/// The context of the page, in addition to the clusters.
#[derive(Debug, Clone, Copy)]
pub struct FleetContext<'a> {
    /// The name of the operator, such as that of its pod.
    pub title: &'a str,
    /// The path of the metrics, such as `/metrics`.
    pub metrics_path: &'a str,
    /// The interval of collections per cluster.
    pub interval: Duration,
    /// Whether clusters are collected at all.
    pub collects: bool,
    /// Version of this program.
    pub version: &'a str,
    /// Why the operator is not working, if it is not.
    pub trouble: Option<&'a str>,
    /// The leader, if this replica is on standby.
    pub leader: Option<&'a str>,
    /// Show only this cluster, from the query `?cluster=NAMESPACE/NAME`.
    pub cluster: Option<&'a str>,
}

impl FleetContext<'_> {
    /// Older facts count as outdated.
    pub(super) fn fresh_for(&self) -> TimeDelta {
        super::fresh_for(self.interval)
    }
}

/// Renders the page. `fleet` contains the snapshots of the clusters.
#[must_use]
pub fn render(
    clusters: &[Overview],
    fleet: &Fleet,
    context: &FleetContext<'_>,
    now: DateTime<Utc>,
) -> String {
    if let Some(wanted) = context.cluster {
        return cluster::render(clusters, fleet, wanted, context, now);
    }
    let mut clusters: Vec<Seen<'_>> =
        clusters.iter().map(|cluster| Seen::of(cluster, fleet, now, context.fresh_for())).collect();
    clusters.sort_by(|a, b| b.rank().cmp(&a.rank()).then_with(|| a.overview.key.cmp(&b.overview.key)));
    let (worst, headline) = headline(&clusters, context);
    let body = html! {
        header {
            p.soft { "pgBackRest backups · operator " bdi { (human::line(context.title, 120)) } }
            h1 { (pieces::symbol(worst)) " " (headline) }
            @if let Some(trouble) = context.trouble { p { (human::line(trouble, TEXT_LIMIT)) } }
            @else if let Some(leader) = context.leader {
                p { bdi { (human::line(leader, 120)) } " is the leader. See its page for the clusters." }
            }
        }
        main { @if !clusters.is_empty() { (table(&clusters, now)) } }
        footer {
            @if !clusters.is_empty() { (pieces::provenance()) }
            (pieces::last_line(context.version, context.metrics_path))
        }
    };
    pieces::document(&headline, context.title, &body)
}

fn table(clusters: &[Seen<'_>], now: DateTime<Utc>) -> Markup {
    let mut rows = String::new();
    let mut shown = 0;
    let has_tests = clusters.iter().any(|cluster| cluster.is_tested);
    for cluster in clusters {
        let row = row(cluster, has_tests, now).into_string();
        if rows.len() + row.len() > ROW_BUDGET_BYTES {
            break;
        }
        rows.push_str(&row);
        shown += 1;
    }
    html! {
        section aria-labelledby="clusters" {
            h2 #clusters { "Clusters" }
            table.rows.stanzas {
                thead {
                    tr { th scope="col" { "State" } th scope="col" { "Cluster" }
                        th scope="col" { "Restorable to" } th scope="col" { "Newest backup" }
                        @if has_tests { th scope="col" { "Proven by a restore" } th scope="col" { "Recovery time" } } }
                }
                tbody { (PreEscaped(rows)) }
            }
            @if let Some(rest) = clusters.get(shown..).filter(|rest| !rest.is_empty()) {
                @let well = rest.iter().filter(|cluster| cluster.health == Some(Health::Ok)).count();
                p.soft { (human::count(rest.len(), "more cluster")) " not shown, " (well) " of them ok." }
            }
        }
    }
}

fn row(cluster: &Seen<'_>, has_tests: bool, now: DateTime<Utc>) -> Markup {
    let (namespace, name) = &cluster.overview.key;
    let class = cluster.health.map_or("soft", Health::as_str);
    html! {
        tr {
            td {
                @if let Some(health) = cluster.health { (pieces::badge(health, cluster.word)) }
                @else { span.keep { (pieces::symbol(None)) " " (cluster.word) } }
            }
            th scope="row" {
                a href=(pieces::address_of_cluster(namespace, name)) {
                    bdi { (human::line(namespace, 63)) "/" (human::line(name, 253)) }
                }
                @for line in &cluster.overview.judgement.lines {
                    p class={ "reason " (class) } { (human::line(line, TEXT_LIMIT)) }
                }
                @for (health, line) in &cluster.lines {
                    p class={ "reason " (health) } { (human::line(line, TEXT_LIMIT)) }
                }
                @if cluster.more > 0 { p.soft { "+" (cluster.more) " more" } }
            }
            td {
                @match (cluster.restorable, cluster.snapshot) {
                    (Some(at), _) => { (pieces::instant(at)) }
                    (None, Some(_)) => { "nothing" }
                    (None, None) => { "unknown" }
                }
            }
            td {
                @match (cluster.newest, cluster.snapshot) {
                    (Some(at), _) => { (pieces::age(at, now)) }
                    (None, Some(_)) => { "none" }
                    (None, None) => { "unknown" }
                }
            }
            @if has_tests {
                td {
                    @match (cluster.proven, cluster.snapshot) {
                        (Some(at), _) => { (pieces::age(at, now)) }
                        (None, Some(_)) if cluster.is_tested => { "no test has passed" }
                        (None, Some(_)) => { "never tested" }
                        (None, None) => { "unknown" }
                    }
                }
                td {
                    @match cluster.recovery_time {
                        Some((estimate, measured_at)) => { (restore_tests::estimate_words(estimate, measured_at, now)) }
                        None => { "unknown" }
                    }
                }
            }
        }
    }
}

fn headline(clusters: &[Seen<'_>], context: &FleetContext<'_>) -> (Option<Health>, String) {
    let count = |wanted| clusters.iter().filter(|cluster| cluster.health == Some(wanted)).count();
    let (failed, warned, total) = (count(Health::Failed), count(Health::Warning), clusters.len());
    if context.trouble.is_some() {
        return (Some(Health::Failed), "The operator is not working".to_owned());
    }
    if context.leader.is_some() {
        return (None, "This replica is on standby".to_owned());
    }
    if total == 0 {
        return (None, "There are no clusters to manage".to_owned());
    }
    let clusters = human::count(total, "cluster");
    match (failed, warned) {
        (0, 0) => (Some(Health::Ok), format!("No problems in {clusters}")),
        (0, _) => (Some(Health::Warning), format!("{warned} of {clusters} with warnings")),
        (_, 0) => (Some(Health::Failed), format!("{failed} of {clusters} failed")),
        _ => (Some(Health::Failed), format!("{failed} of {clusters} failed, {warned} with warnings")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::operator::Judgement;

    const CONTEXT: FleetContext<'static> = FleetContext {
        title: "pod-1",
        metrics_path: "/metrics",
        interval: Duration::from_mins(5),
        collects: true,
        version: "1",
        trouble: None,
        leader: None,
        cluster: None,
    };

    fn page(clusters: &[Overview], context: &FleetContext<'_>) -> String {
        render(clusters, &Fleet::default(), context, now())
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_340_000, 0).unwrap()
    }

    fn cluster(name: &str, status: &'static str, line: &str) -> Overview {
        let lines = if line.is_empty() { vec![] } else { vec![line.to_owned()] };
        Overview {
            key: ("shop".to_owned(), name.to_owned()),
            judgement: Arc::new(Judgement { status, lines, ..Judgement::default() }),
            last_success: Some(now()),
            jobs: Arc::default(),
        }
    }

    #[test]
    fn the_worst_comes_first_and_nothing_is_markup() {
        let clusters = vec![
            cluster("calm", "Ok", ""),
            cluster("asleep", "Paused", "paused"),
            cluster("broken", "Error", "error x: <script>"),
            cluster("so-so", "Warning", "w"),
        ];
        let html = page(&clusters, &CONTEXT);
        let places = ["shop/broken", "shop/so-so", "shop/asleep", "shop/calm"]
            .map(|text| html.find(text).unwrap_or_else(|| panic!("{text} is not in {html}")));
        assert!(places.is_sorted(), "{places:?}");
        assert!(html.contains("1 of 4 clusters failed, 1 with warnings"));
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn trouble_and_a_leader_elsewhere_are_said_first() {
        let trouble = FleetContext { trouble: Some("no CRD"), ..CONTEXT };
        let html = page(&[cluster("calm", "Ok", "")], &trouble);
        assert!(html.contains("The operator is not working") && html.contains("no CRD"));
        let standby = FleetContext { leader: Some("pod-2_00ff"), ..CONTEXT };
        let html = page(&[], &standby);
        assert!(html.contains("This replica is on standby") && html.contains("pod-2_00ff"), "{html}");
        assert!(page(&[], &CONTEXT).contains("There are no clusters to manage"));
    }

    #[test]
    fn a_large_fleet_stays_within_bounds() {
        let clusters: Vec<_> = (0..3000)
            .map(|number| {
                let status = if number % 2 == 0 { "Ok" } else { "Error" };
                cluster(&format!("c{number}"), status, &"&".repeat(1000))
            })
            .collect();
        let html = page(&clusters, &CONTEXT);
        assert!(html.len() < 200_000, "{}", html.len());
        assert!(html.contains("more clusters not shown, 1500 of them ok"));
    }
}
