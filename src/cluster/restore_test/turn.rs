//! Whose turn it is: the cluster whose last test is the oldest, and its repo whose last test is the oldest.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::validated::RepoWish;
use crate::cluster::validated::RepoNumber;

/// A selected cluster that can be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub name: String,
    /// Its repos, in any order.
    pub repos: Vec<RepoNumber>,
    /// Repos that are being tested, by anyone.
    pub tested_now: Vec<RepoNumber>,
    /// Whether a backup of it prevents a test.
    pub is_backed_up_now: bool,
}

/// The next test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    pub cluster: String,
    pub repo: RepoNumber,
}

/// When each repo was last tested, whatever the outcome.
pub type LastTests = BTreeMap<Turn, DateTime<Utc>>;

/// Why there is no turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTurn {
    /// No cluster that is selected has the repo.
    Nobody,
    /// A backup of each one runs.
    BackupRuns,
    /// Each one is being tested, or a backup of it runs.
    TestRuns,
}

impl NoTurn {
    /// The reason for the suspension of the CronJob.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "no-cluster",
            Self::BackupRuns => "backup-runs",
            Self::TestRuns => "test-runs",
        }
    }
}

/// The next turn. A cluster that was never tested comes first; of several, the first by name.
pub fn next(candidates: &[Candidate], wish: RepoWish, last: &LastTests) -> Result<Turn, NoTurn> {
    let turns = |candidate: &Candidate| -> Vec<Turn> {
        let is_wanted = |repo: &&RepoNumber| wish == RepoWish::Any || wish == RepoWish::Repo(**repo);
        let repos = candidate.repos.iter().filter(is_wanted);
        repos.map(|repo| Turn { cluster: candidate.name.clone(), repo: *repo }).collect()
    };
    let mut has_turns = false;
    let mut is_tested = false;
    let mut free = Vec::new();
    for candidate in candidates {
        let turns = turns(candidate);
        let newest = turns.iter().filter_map(|turn| last.get(turn)).max().copied();
        has_turns |= !turns.is_empty();
        if candidate.is_backed_up_now {
            continue;
        }
        let (busy, open): (Vec<Turn>, Vec<Turn>) =
            turns.into_iter().partition(|turn| candidate.tested_now.contains(&turn.repo));
        is_tested |= !busy.is_empty();
        free.extend(open.into_iter().map(|turn| (newest, last.get(&turn).copied(), turn)));
    }
    // None is less than any time.
    match free.into_iter().min() {
        Some((.., turn)) => Ok(turn),
        None if !has_turns => Err(NoTurn::Nobody),
        None if is_tested => Err(NoTurn::TestRuns),
        None => Err(NoTurn::BackupRuns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(number: u8) -> RepoNumber {
        RepoNumber::of_name(&format!("repo{number}")).unwrap()
    }

    fn candidate(name: &str, repos: &[u8]) -> Candidate {
        Candidate {
            name: name.to_owned(),
            repos: repos.iter().map(|number| repo(*number)).collect(),
            tested_now: Vec::new(),
            is_backed_up_now: false,
        }
    }

    fn turn(cluster: &str, number: u8) -> Turn {
        Turn { cluster: cluster.to_owned(), repo: repo(number) }
    }

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + 60 * minute, 0).unwrap()
    }

    #[test]
    fn every_repo_of_every_cluster_gets_its_turn() {
        let candidates =
            [candidate("orders", &[2, 1]), candidate("ledger", &[1]), candidate("stock", &[1, 3])];
        let mut last = LastTests::new();
        let turns: Vec<Turn> = (0..9)
            .map(|minute| {
                let turn = next(&candidates, RepoWish::Any, &last).unwrap();
                last.insert(turn.clone(), at(minute));
                turn
            })
            .collect();
        let round = [turn("ledger", 1), turn("orders", 1), turn("stock", 1)];
        let second = [turn("ledger", 1), turn("orders", 2), turn("stock", 3)];
        assert_eq!(turns, [round.clone(), second, round].concat());
    }

    #[test]
    fn a_busy_cluster_is_passed_over_and_not_forgotten() {
        let mut candidates = [candidate("ledger", &[1]), candidate("orders", &[1, 2])];
        let last = LastTests::from([(turn("ledger", 1), at(0)), (turn("orders", 1), at(5))]);
        let next = |candidates: &[Candidate], wish| super::next(candidates, wish, &last);
        assert_eq!(next(&candidates, RepoWish::Any), Ok(turn("ledger", 1)));
        candidates[0].is_backed_up_now = true;
        assert_eq!(next(&candidates, RepoWish::Any), Ok(turn("orders", 2)));
        candidates[1].tested_now = vec![repo(2)];
        assert_eq!(next(&candidates, RepoWish::Any), Ok(turn("orders", 1)));
        assert_eq!(next(&candidates, RepoWish::Repo(repo(2))), Err(NoTurn::TestRuns));
        candidates[1].is_backed_up_now = true;
        assert_eq!(next(&candidates, RepoWish::Any), Err(NoTurn::BackupRuns));
        assert_eq!(next(&candidates, RepoWish::Repo(repo(4))), Err(NoTurn::Nobody));
        assert_eq!(next(&[], RepoWish::Any), Err(NoTurn::Nobody));
    }
}
