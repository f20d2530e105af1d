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
    /// The errors of its resource, or why it configures no backup.
    pub findings: Vec<Finding>,
}

/// The result of querying a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryResult {
    /// pgBackRest's answer, or why there is none.
    Facts(Box<Snapshot>),
    /// It cannot be queried: its resource is invalid and names no repository.
    Invalid,
    /// There is nothing to query: its resource configures no backup.
    WithoutBackups,
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
    /// Whether the resource is valid and pgBackRest answered every query. Without anything to query, nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match &self.result {
            QueryResult::Facts(snapshot) => self.findings.is_empty() && has_answered(snapshot),
            QueryResult::Invalid => false,
            QueryResult::WithoutBackups => true,
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
            QueryResult::Invalid => Health::Failed,
            QueryResult::WithoutBackups => Health::Ok,
            QueryResult::Facts(snapshot) => {
                let judged = health::of_snapshot(snapshot, now, None);
                let worst = judged.iter().map(|one| one.assessment.health).max().unwrap_or(Health::Failed);
                if self.findings.is_empty() { worst } else { worst.max(Health::Warning) }
            }
        }
    }

    fn text(&self, now: DateTime<Utc>, terminal: Terminal) -> String {
        let said = match &self.result {
            QueryResult::Facts(snapshot) if self.findings.is_empty() => {
                info_table::render(snapshot, now, terminal)
            }
            QueryResult::Facts(snapshot) => {
                let text = format!("its resource is invalid: {}", first_of(&self.findings));
                sentence(Health::Warning, text, terminal) + &info_table::render(snapshot, now, terminal)
            }
            QueryResult::Invalid => {
                let text =
                    format!("not queried, because its resource is invalid: {}", first_of(&self.findings));
                sentence(Health::Failed, text, terminal)
            }
            QueryResult::WithoutBackups => format!("nothing to query: {}\n", first_of(&self.findings)),
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
        let snapshot = match &report.result {
            QueryResult::Facts(snapshot) => Some(SnapshotDocument::of(snapshot, now)),
            QueryResult::Invalid | QueryResult::WithoutBackups => None,
        };
        let findings = Some(report.findings.as_slice()).filter(|all| snapshot.is_none() || !all.is_empty());
        Self { namespace: &report.key.namespace, cluster: &report.key.name, snapshot, findings }
    }
}

fn sentence(health: Health, text: String, terminal: Terminal) -> String {
    info_table::sentence(&health::Finding { health, repo_key: None, text }, terminal) + "\n"
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
