//! The status page of the operator: every cluster in one table, the worst first.

use chrono::{DateTime, Utc};
use maud::{Markup, PreEscaped, html};

use crate::metrics::operator::Overview;
use crate::state::health::Health;
use crate::state::human;

use super::pieces;

/// Rows are added, worst cluster first, as long as they take no more bytes than this together.
const ROW_BUDGET_BYTES: usize = 160_000;
/// Characters of one finding.
const TEXT_LIMIT: usize = 400;

/// What the page needs to know beside the clusters.
#[derive(Debug, Clone, Copy)]
pub struct FleetContext<'a> {
    /// Whose operator this is, such as the pod's name.
    pub title: &'a str,
    /// Where the metrics are, such as `/metrics`.
    pub metrics_path: &'a str,
    /// Version of this program.
    pub version: &'a str,
    /// Why it does not work at the moment, if it does not.
    pub trouble: Option<&'a str>,
    /// Who does the work instead, if this one stands by.
    pub leader: Option<&'a str>,
}

/// The whole page.
#[must_use]
pub fn render(mut clusters: Vec<Overview>, context: &FleetContext<'_>, now: DateTime<Utc>) -> String {
    clusters.sort_by(|a, b| rank(b).cmp(&rank(a)).then_with(|| a.key.cmp(&b.key)));
    let (worst, headline) = headline(&clusters, context);
    let body = html! {
        header {
            p.soft { "pgBackRest backups · operator " bdi { (human::line(context.title, 120)) } }
            h1 { (pieces::symbol(worst)) " " (headline) }
            @if let Some(trouble) = context.trouble { p { (human::line(trouble, TEXT_LIMIT)) } }
            @else if let Some(leader) = context.leader {
                p { bdi { (human::line(leader, 120)) } " leads, and its page shows the clusters." }
            }
        }
        main { @if !clusters.is_empty() { (table(&clusters, now)) } }
        footer {
            p {
                "This is about the set-up. Whether backups run, and to when they can be restored, "
                "the metrics and " code { "pgbackrest info" } " tell."
            }
            (pieces::last_line(context.version, context.metrics_path))
        }
    };
    pieces::document(&headline, context.title, &body)
}

fn table(clusters: &[Overview], now: DateTime<Utc>) -> Markup {
    let mut rows = String::new();
    let mut shown = 0;
    for cluster in clusters {
        let row = row(cluster, now).into_string();
        if rows.len() + row.len() > ROW_BUDGET_BYTES {
            break;
        }
        rows.push_str(&row);
        shown += 1;
    }
    html! {
        section aria-labelledby="clusters" {
            h2 #clusters { "Clusters" }
            table.rows.clusters {
                thead {
                    tr { th scope="col" { "State" } th scope="col" { "Cluster" }
                        th scope="col" { "Reconciled" } }
                }
                tbody { (PreEscaped(rows)) }
            }
            @if let Some(rest) = clusters.get(shown..).filter(|rest| !rest.is_empty()) {
                @let well = rest.iter().filter(|cluster| health(cluster) == Some(Health::Ok)).count();
                p.soft { (human::count(rest.len(), "more cluster")) " not listed, " (well) " of them ok." }
            }
        }
    }
}

fn row(cluster: &Overview, now: DateTime<Utc>) -> Markup {
    let (namespace, name) = &cluster.key;
    let (health, status) = (health(cluster), cluster.judgement.status);
    let class = health.map_or("soft", Health::as_str);
    html! {
        tr {
            td {
                @if let Some(health) = health { (pieces::badge(health, status)) }
                @else {
                    span.keep { (pieces::symbol(None)) " " (if status.is_empty() { "unknown" } else { status }) }
                }
            }
            th scope="row" {
                bdi { (human::line(namespace, 63)) "/" (human::line(name, 253)) }
                @for line in cluster.judgement.lines.iter() {
                    p class={ "reason " (class) } { (human::line(line, TEXT_LIMIT)) }
                }
            }
            td {
                @if let Some(at) = cluster.last_success { (pieces::age(at, now)) } @else { "not yet" }
            }
        }
    }
}

fn headline(clusters: &[Overview], context: &FleetContext<'_>) -> (Option<Health>, String) {
    let count = |wanted| clusters.iter().filter(|cluster| health(cluster) == Some(wanted)).count();
    let (failed, warned, total) = (count(Health::Failed), count(Health::Warning), clusters.len());
    if context.trouble.is_some() {
        return (Some(Health::Failed), "The operator is not at work".to_owned());
    }
    if context.leader.is_some() {
        return (None, "This replica stands by".to_owned());
    }
    if total == 0 {
        return (None, "There is no cluster to look after".to_owned());
    }
    let clusters = human::count(total, "cluster");
    match (failed, warned) {
        (0, 0) => (Some(Health::Ok), format!("Nothing is wrong in {clusters}")),
        (0, _) => (Some(Health::Warning), format!("{warned} of {clusters} to be looked at")),
        (_, 0) => (Some(Health::Failed), format!("{failed} of {clusters} not set up as asked")),
        _ => {
            let headline = format!("{failed} of {clusters} not set up as asked, {warned} to be looked at");
            (Some(Health::Failed), headline)
        }
    }
}

/// `None`: nobody wants anything to be done, or nothing is known yet.
fn health(cluster: &Overview) -> Option<Health> {
    match cluster.judgement.status {
        "Ok" => Some(Health::Ok),
        "Warning" => Some(Health::Warning),
        "Error" | "Failing" => Some(Health::Failed),
        _ => None,
    }
}

/// What is not known is worth more of a look than what is well.
fn rank(cluster: &Overview) -> u8 {
    match health(cluster) {
        Some(Health::Failed) => 3,
        Some(Health::Warning) => 2,
        None => 1,
        Some(Health::Ok) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::operator::Judgement;

    const CONTEXT: FleetContext<'static> =
        FleetContext { title: "pod-1", metrics_path: "/metrics", version: "1", trouble: None, leader: None };

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
        let page = render(clusters, &CONTEXT, now());
        let places = ["shop/broken", "shop/so-so", "shop/asleep", "shop/calm"]
            .map(|text| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}")));
        assert!(places.is_sorted(), "{places:?}");
        assert!(page.contains("1 of 4 clusters not set up as asked, 1 to be looked at"));
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn trouble_and_a_leader_elsewhere_are_said_first() {
        let trouble = FleetContext { trouble: Some("no CRD"), ..CONTEXT };
        let page = render(vec![cluster("calm", "Ok", "")], &trouble, now());
        assert!(page.contains("The operator is not at work") && page.contains("no CRD"));
        let standby = FleetContext { leader: Some("pod-2_00ff"), ..CONTEXT };
        let page = render(Vec::new(), &standby, now());
        assert!(page.contains("This replica stands by") && page.contains("pod-2_00ff"), "{page}");
        assert!(render(Vec::new(), &CONTEXT, now()).contains("There is no cluster to look after"));
    }

    #[test]
    fn a_large_fleet_stays_within_bounds() {
        let clusters: Vec<_> = (0..3000)
            .map(|number| {
                let status = if number % 2 == 0 { "Ok" } else { "Error" };
                cluster(&format!("c{number}"), status, &"&".repeat(1000))
            })
            .collect();
        let page = render(clusters, &CONTEXT, now());
        assert!(page.len() < 200_000, "{}", page.len());
        assert!(page.contains("more clusters not listed, 1500 of them ok"));
    }
}
