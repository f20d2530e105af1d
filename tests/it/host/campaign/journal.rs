//! What was committed when and on which branch, for checking claims.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::history::Kind;

/// Everything that has happened.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) branches: Vec<Branch>,
    /// When which branch was the database, in order.
    pub(super) reigns: Vec<Reign>,
    pub(super) backups: Vec<Taken>,
    /// Repository and name of each segment that was ever archived.
    pub(super) archived: BTreeSet<(u32, String)>,
    /// Bytes of a segment.
    pub(super) segment_size: u64,
}

/// A timeline of the database or of a copy.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) timeline: u32,
    /// The branch that it comes from, and where that was left.
    pub(super) parent: Option<(usize, u64)>,
    /// Markers of its ancestors that it has.
    pub(super) inherited: Vec<u32>,
    pub(super) markers: Vec<Marker>,
}

/// A commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marker {
    pub(super) id: u32,
    /// Before its transaction.
    pub(super) before: DateTime<Utc>,
    /// After its commit, and before the next one.
    pub(super) at: DateTime<Utc>,
    /// Position in the WAL behind the commit.
    pub(super) end: u64,
}

/// A branch was the database.
#[derive(Debug)]
pub(super) struct Reign {
    pub(super) branch: usize,
    pub(super) from: DateTime<Utc>,
    /// None while it lasts.
    pub(super) to: Option<DateTime<Utc>>,
}

/// A backup that was made.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) repo: u32,
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) branch: usize,
    /// Before it began and after it ended.
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
    /// Position in the WAL after it ended.
    pub(super) end: u64,
    /// Its directory was emptied, which no listing of names shows.
    pub(super) is_emptied: bool,
    /// A backup that it may have been made against is gone.
    pub(super) has_lost_prior: bool,
}

/// How the content of a copy compares with what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// It is the state at that time.
    Same,
    /// It lacks commits that never reached the archive.
    Unarchived,
    /// It is an earlier state of the branch.
    Earlier,
    /// It is no state of the branch.
    Other,
}

impl Journal {
    /// The branches that can be called the live one at a time: none before the first, two between one and the next.
    pub(super) fn live(&self, at: DateTime<Utc>) -> Vec<usize> {
        let mut live = Vec::new();
        for (index, reign) in self.reigns.iter().enumerate() {
            let next = self.reigns.get(index + 1);
            let until = next.map_or(DateTime::<Utc>::MAX_UTC, |next| next.from);
            let from = index.checked_sub(1).map_or(reign.from, |before| self.reigns[before].to.unwrap());
            if (from..until).contains(&at) {
                live.push(reign.branch);
            }
        }
        live
    }

    /// A commit may have happened before this time or after it.
    pub(super) fn is_unclear(&self, at: DateTime<Utc>) -> bool {
        let mut markers = self.branches.iter().flat_map(|branch| &branch.markers);
        markers.any(|marker| (marker.before..marker.at).contains(&at))
    }

    /// What a branch had at a time.
    pub(super) fn state(&self, branch: usize, at: DateTime<Utc>) -> Vec<u32> {
        let branch = &self.branches[branch];
        let own = branch.markers.iter().filter(|marker| marker.at <= at).map(|marker| marker.id);
        branch.inherited.iter().copied().chain(own).collect()
    }

    /// The branch and the marker of a number.
    pub(super) fn marker(&self, id: u32) -> (usize, Marker) {
        let mut all = self.branches.iter().enumerate().flat_map(|(branch, one)| {
            one.markers.iter().filter(move |marker| marker.id == id).map(move |marker| (branch, *marker))
        });
        all.next().unwrap_or_else(|| panic!("no marker {id}"))
    }

    /// A branch and those it comes from, youngest first, each with where it was left.
    pub(super) fn ancestry(&self, branch: usize) -> Vec<(usize, u64)> {
        let mut all = vec![(branch, u64::MAX)];
        while let Some(parent) = all.last().and_then(|(branch, _)| self.branches[*branch].parent) {
            all.push(parent);
        }
        all
    }

    /// The branches, backups and commits with their positions, for those who read of a defect.
    pub(super) fn told(&self) -> Vec<String> {
        let of_branch = |(index, branch): (usize, &Branch)| {
            let from = branch.parent.map_or_else(String::new, |(parent, left)| {
                format!(" left timeline {} at {left:X}", self.branches[parent].timeline)
            });
            let ids = branch.markers.iter().map(|marker| format!("{}@{:X}", marker.id, marker.end));
            let backups = self.backups.iter().filter(|taken| taken.branch == index);
            let backups =
                backups.map(|taken| format!("repo{} {} before {:X}", taken.repo, taken.label, taken.end));
            let of_it: Vec<String> = ids.chain(backups).collect();
            format!("timeline {}{from}: {}", branch.timeline, of_it.join(", "))
        };
        self.branches.iter().enumerate().map(of_branch).collect()
    }

    /// How the content of a copy restored from a repository compares with a branch at a time.
    pub(super) fn compare(
        &self,
        branch: usize,
        at: DateTime<Utc>,
        repo: Option<u32>,
        found: &[u32],
    ) -> Likeness {
        let state = self.state(branch, at);
        if state == found {
            Likeness::Same
        } else if !state.starts_with(found) {
            Likeness::Other
        } else if state[found.len()..].iter().all(|id| !self.was_archived(repo, *id)) {
            Likeness::Unarchived
        } else {
            Likeness::Earlier
        }
    }

    /// A segment with this commit has reached a repository, on its own branch or on one that continues it.
    pub(super) fn was_archived(&self, repo: Option<u32>, id: u32) -> bool {
        let (own, marker) = self.marker(id);
        let holds = |branch: usize| {
            let mut ancestry = self.ancestry(branch).into_iter();
            ancestry.any(|(ancestor, left)| ancestor == own && marker.end <= left)
        };
        let number = marker.end.saturating_sub(1) / self.segment_size;
        let is_there = |branch: &Branch| {
            let name = self.segment_name(branch.timeline, number);
            self.archived.iter().any(|(of, segment)| *segment == name && repo.is_none_or(|repo| repo == *of))
        };
        self.branches.iter().enumerate().any(|(index, branch)| holds(index) && is_there(branch))
    }

    /// The name of a segment.
    pub(super) fn segment_name(&self, timeline: u32, number: u64) -> String {
        let per_word = 0x1_0000_0000 / self.segment_size;
        format!("{timeline:08X}{:08X}{:08X}", number / per_word, number % per_word)
    }

    /// The next commit of a branch after a time, if its WAL was ever archived.
    pub(super) fn next_archived(
        &self,
        branch: usize,
        at: DateTime<Utc>,
        repo: Option<u32>,
    ) -> Option<Marker> {
        let mut after = self.branches[branch].markers.iter().filter(|marker| marker.at > at);
        after.find(|marker| self.was_archived(repo, marker.id)).copied()
    }

    /// Backups that WAL leads on from to a branch: those of the branch, and those that ended before it was left.
    pub(super) fn backups_towards(&self, branch: usize) -> impl Iterator<Item = &Taken> {
        let ancestry = self.ancestry(branch);
        self.backups.iter().filter(move |taken| {
            let mut ancestry = ancestry.iter();
            ancestry.any(|(ancestor, left)| taken.branch == *ancestor && taken.end <= *left)
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn marker(id: u32, second: i64, end: u64) -> Marker {
        Marker { id, before: at(second) - TimeDelta::milliseconds(9), at: at(second), end }
    }

    /// The database goes back from second 30 to marker 1.
    fn made() -> Journal {
        let first = Branch {
            timeline: 1,
            parent: None,
            inherited: Vec::new(),
            markers: vec![marker(1, 10, 100), marker(2, 20, 1100)],
        };
        let second = Branch {
            timeline: 2,
            parent: Some((0, 150)),
            inherited: vec![1],
            markers: vec![marker(3, 50, 200)],
        };
        let reigns = vec![
            Reign { branch: 0, from: at(0), to: Some(at(30)) },
            Reign { branch: 1, from: at(40), to: None },
        ];
        let archived = BTreeSet::from([(1, "000000020000000000000000".to_owned())]);
        Journal { branches: vec![first, second], reigns, backups: Vec::new(), archived, segment_size: 1000 }
    }

    #[test]
    fn the_state_at_a_time_is_that_of_the_live_branch() {
        let journal = made();
        for (second, live) in [(-1, vec![]), (5, vec![0]), (30, vec![0, 1]), (35, vec![0, 1]), (40, vec![1])]
        {
            assert_eq!(journal.live(at(second)), live, "{second}");
        }
        assert_eq!((journal.state(0, at(25)), journal.state(1, at(25))), (vec![1, 2], vec![1]));
        assert!(journal.is_unclear(at(20) - TimeDelta::milliseconds(1)));
        assert!(!journal.is_unclear(at(20)));
    }

    #[test]
    fn what_was_never_archived_may_be_missing() {
        let journal = made();
        // The segment of marker 1 was archived on the second timeline, that of marker 2 never.
        assert_eq!([1, 2, 3].map(|id| journal.was_archived(Some(1), id)), [true, false, true]);
        assert!(!journal.was_archived(Some(2), 1));
        let compare = |found: &[u32]| journal.compare(0, at(25), Some(1), found);
        assert_eq!(
            [&[1, 2][..], &[1], &[], &[1, 3]].map(compare),
            [Likeness::Same, Likeness::Unarchived, Likeness::Earlier, Likeness::Other]
        );
    }
}
