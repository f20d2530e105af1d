//! The state of the clusters of a fleet: a heading and the usual tables for each, or JSON.
//!
//! Pure: the caller passes the time and the properties of the terminal.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cluster::finding::Finding;
use crate::cluster::key::Key;
use crate::state::health::{self, Health};
use crate::state::snapshot::{RepoState, ScopeKind, Snapshot};
use crate::text;

use super::info_json::SnapshotDocument;
use super::info_table::{self, Terminal};

/// One cluster and the result of querying it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterReport {
    /// The cluster.
    pub key: Key,
    /// The result.
    pub result: QueryResult,
}

/// The result of querying a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryResult {
    /// pgBackRest's answer, or why there is none.
    Facts(Box<Snapshot>),
    /// It cannot be queried: its resource has these errors.
    Invalid(Vec<Finding>),
    /// There is nothing to query: its resource configures no backup, see the findings.
    WithoutBackups(Vec<Finding>),
}

/// Its form in the JSON.
#[derive(Serialize)]
struct Line<'a> {
    namespace: &'a str,
    cluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<SnapshotDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<&'a [Finding]>,
}

impl ClusterReport {
    /// Whether pgBackRest answered every query. Without anything to query, nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.result {
            QueryResult::Facts(snapshot) => has_answered(snapshot),
            QueryResult::Invalid(_) => false,
            QueryResult::WithoutBackups(_) => true,
        }
    }

    /// What is known of it.
    pub(super) fn facts(&self) -> Option<&Snapshot> {
        match &self.result {
            QueryResult::Facts(snapshot) => Some(snapshot),
            _ => None,
        }
    }

    fn health(&self, now: DateTime<Utc>) -> Health {
        match &self.result {
            QueryResult::Invalid(_) => Health::Failed,
            QueryResult::WithoutBackups(_) => Health::Ok,
            QueryResult::Facts(snapshot) => {
                let judged = health::of_snapshot(snapshot, now, None);
                let worst = judged.iter().map(|one| one.assessment.health).max();
                worst.unwrap_or(Health::Failed)
            }
        }
    }

    fn text(&self, now: DateTime<Utc>, terminal: Terminal) -> String {
        let said = match &self.result {
            QueryResult::Facts(snapshot) => info_table::render(snapshot, now, terminal),
            QueryResult::Invalid(findings) => {
                let text = format!("not queried, because its resource is invalid: {}", first_of(findings));
                let wrong = health::Finding { health: Health::Failed, repo_key: None, text };
                info_table::sentence(&wrong, terminal) + "\n"
            }
            QueryResult::WithoutBackups(findings) => format!("nothing to query: {}\n", first_of(findings)),
        };
        // Names in Kubernetes cannot contain control characters.
        format!("{}\n{said}", info_table::bold(&self.key.to_string(), terminal))
    }
}

/// Whether every call was answered, and every repository could be read.
pub(super) fn has_answered(snapshot: &Snapshot) -> bool {
    let mut calls =
        snapshot.collection.scopes.values().filter(|scope| scope.kind == ScopeKind::Call).peekable();
    let mut repos = snapshot.stanzas.iter().flat_map(|stanza| &stanza.repos);
    calls.peek().is_some()
        && calls.all(|scope| scope.up)
        && !repos.any(|repo| matches!(repo.state, RepoState::Other | RepoState::Timeout))
}

/// All clusters, the worst first, ending in a line break.
#[must_use]
pub fn text(fleet: &[ClusterReport], now: DateTime<Utc>, terminal: Terminal) -> String {
    if fleet.is_empty() {
        return "no clusters found: there are no postgresql resources\n".to_owned();
    }
    let mut sorted: Vec<&ClusterReport> = fleet.iter().collect();
    sorted.sort_by_key(|report| (Reverse(report.health(now)), &report.key));
    let texts: Vec<String> = sorted.into_iter().map(|report| report.text(now, terminal)).collect();
    texts.join("\n")
}

/// An array with an object for each cluster, in the order of the fleet, ending in a line break.
pub fn json(fleet: &[ClusterReport], now: DateTime<Utc>) -> serde_json::Result<String> {
    let lines: Vec<Line<'_>> = fleet.iter().map(|report| Line::of(report, now)).collect();
    text::json(&lines)
}

impl<'a> Line<'a> {
    fn of(report: &'a ClusterReport, now: DateTime<Utc>) -> Self {
        let (snapshot, findings) = match &report.result {
            QueryResult::Facts(snapshot) => (Some(SnapshotDocument::of(snapshot, now)), None),
            QueryResult::Invalid(findings) | QueryResult::WithoutBackups(findings) => {
                (None, Some(&**findings))
            }
        };
        Self { namespace: &report.key.namespace, cluster: &report.key.name, snapshot, findings }
    }
}

fn first_of(findings: &[Finding]) -> String {
    let Some(first) = findings.first() else { return "it configures no backup".to_owned() };
    let value = first.value.as_ref().map(|value| format!(" (is \"{value}\")")).unwrap_or_default();
    let more = match findings.len() - 1 {
        0 => String::new(),
        more => format!("; {more} more findings are shown by --output=json and lint"),
    };
    format!("{}{value} {}; {}{more}", first.field, first.message, first.remedy)
}
