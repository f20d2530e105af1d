//! A cluster as shown in a row of the table: setup, jobs and backups combined into one state.

use chrono::{DateTime, TimeDelta, Utc};

use crate::cluster::key::Key;
use crate::metrics::Fleet;
use crate::metrics::operator::Overview;
use crate::state::answer;
use crate::state::health::{self, Health};
use crate::state::human;
use crate::state::snapshot::{Snapshot, Stanza};
use crate::state::speeds::Estimate;
use crate::state::test_history::RestoreTests;

/// Maximum number of lines about jobs and backups in a row.
const LINE_LIMIT: usize = 3;

/// The combined state of one cluster.
pub(in crate::http::page) struct Seen<'a> {
    pub(in crate::http::page) overview: &'a Overview,
    /// Its last snapshot; `None` before the first collection.
    pub(in crate::http::page) snapshot: Option<&'a Snapshot>,
    /// `None` if nothing is to be managed, or nothing is known yet.
    pub(in crate::http::page) health: Option<Health>,
    /// The state in a word.
    pub(super) word: &'static str,
    /// Problems with jobs and backups, worst first.
    pub(super) lines: Vec<(Health, String)>,
    /// How many more there are.
    pub(super) more: usize,
    pub(super) restorable: Option<DateTime<Utc>>,
    pub(super) newest: Option<DateTime<Utc>>,
    /// Whether there was a restore test.
    pub(super) is_tested: bool,
    /// When one last passed.
    pub(super) proven: Option<DateTime<Utc>>,
    /// The estimated duration of a recovery to the latest point in time, from the repository where it is shortest, and when it was
    /// measured.
    pub(super) recovery_time: Option<(Estimate, DateTime<Utc>)>,
}

impl<'a> Seen<'a> {
    /// Facts older than `fresh_for` count as outdated.
    pub(in crate::http::page) fn of(
        overview: &'a Overview,
        fleet: &'a Fleet,
        now: DateTime<Utc>,
        fresh_for: TimeDelta,
    ) -> Self {
        let (namespace, name) = &overview.key;
        let snapshot = fleet.clusters.get(&Key::new(namespace, name)).map(|snapshot| &**snapshot);
        let mut lines: Vec<(Health, String)> =
            overview.jobs.iter().map(|concern| (concern.health, concern.text.clone())).collect();
        if let Some(snapshot) = snapshot {
            lines.extend(of_backups(snapshot, now, fresh_for));
        }
        lines.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        let set_up = of_set_up(overview.judgement.status);
        let answers = snapshot.map(|_| Health::Ok);
        let worst = lines.first().map(|(health, _)| *health);
        // Good backups do not make a paused or suspended cluster healthy.
        let health = set_up.max(worst).or(answers.filter(|_| set_up.is_some()));
        let status = overview.judgement.status;
        let word = match health {
            Some(health) if set_up != Some(health) => health.as_str(),
            _ if status.is_empty() => "unknown",
            _ => status,
        };
        let more = lines.len().saturating_sub(LINE_LIMIT);
        lines.truncate(LINE_LIMIT);
        let stanzas = || snapshot.into_iter().flat_map(|snapshot| &snapshot.stanzas);
        let restorable = |stanza: &Stanza| answer::restorable(stanza).map(|one| one.window.latest);
        let newest = |stanza: &Stanza| answer::newest_backup(stanza).map(|backup| backup.stop);
        let repos = || stanzas().flat_map(|stanza| &stanza.repos);
        let tests = || repos().filter_map(|repo| repo.restore_tests.as_deref());
        let latest = |tests: &RestoreTests| {
            let time = tests.recovery_time?;
            Some((time.latest?, time.measured_at))
        };
        Self {
            overview,
            snapshot,
            health,
            word,
            lines,
            more,
            restorable: stanzas().filter_map(restorable).max(),
            newest: stanzas().filter_map(newest).max(),
            is_tested: tests().next().is_some(),
            proven: tests().filter_map(|tests| tests.history.last_success).max(),
            recovery_time: tests()
                .filter_map(latest)
                .min_by(|(one, _), (other, _)| one.median.total_cmp(&other.median)),
        }
    }

    /// Unknown clusters rank above healthy ones.
    pub(super) fn rank(&self) -> u8 {
        match self.health {
            Some(Health::Failed) => 3,
            Some(Health::Warning) => 2,
            None => 1,
            Some(Health::Ok) => 0,
        }
    }
}

fn of_backups(snapshot: &Snapshot, now: DateTime<Utc>, fresh_for: TimeDelta) -> Vec<(Health, String)> {
    let judged = health::of_snapshot(snapshot, now, Some(fresh_for));
    if judged.is_empty() {
        let failed = snapshot.collection.scopes.values().find(|scope| !scope.up);
        return failed.map(|scope| (Health::Failed, human::failure(scope))).into_iter().collect();
    }
    let mut lines = Vec::new();
    for entry in judged {
        let limit = entry.assessment.health;
        for finding in entry.assessment.findings {
            let repo = finding.repo_key.map_or_else(String::new, |key| human::repo_name(key) + ": ");
            // If only some of the repositories failed, the cluster has not failed.
            lines.push((finding.health.min(limit), format!("{repo}{}", finding.text)));
        }
    }
    lines
}

fn of_set_up(status: &str) -> Option<Health> {
    match status {
        "Ok" => Some(Health::Ok),
        "Warning" => Some(Health::Warning),
        "Error" | "Failing" => Some(Health::Failed),
        _ => None,
    }
}
