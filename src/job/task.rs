//! What a job is to do, and how patient it is.

use std::time::Duration;

use crate::cluster::labels;
use crate::pgbackrest::command::{self, Command, InfoQuery};
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Version;
use crate::source::pod::Place;

/// The first version that takes `--annotation`.
const ANNOTATES: Version = Version { major: 2, minor: 41, patch: 0 };

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The cluster's name, for people.
    pub cluster: String,
    /// The stanza.
    pub stanza: String,
    /// The number of the repo.
    pub repo: u32,
    /// What is asked for. Without a prior backup pgBackRest makes a full one instead.
    pub backup_type: BackupType,
    /// The container of the pod that pgBackRest is run in.
    pub container: String,
    /// The labels of that pod, in the words of `kubectl --selector`.
    pub selector: String,
    /// The Job and the pod, or whatever else no other run has. It is an argument of pgBackRest and kept with the backup.
    pub mark: String,
}

impl Task {
    /// The container of this pod.
    pub(super) fn place<'a>(&'a self, pod: &'a str) -> Place<'a> {
        Place { namespace: &self.namespace, pod, container: &self.container }
    }

    /// The argument that marks the backup and its process.
    pub(super) fn annotation(&self) -> String {
        format!("--annotation={}={}", labels::MADE_BY, self.mark)
    }

    /// `pgbackrest backup`, with the mark where this version takes one.
    pub(super) fn command(&self, annotates: bool) -> Command {
        let annotation = annotates.then(|| self.annotation());
        command::backup(&self.stanza, self.repo, self.backup_type, annotation)
    }

    /// `info` of the repo.
    pub(super) fn info(&self) -> InfoQuery {
        InfoQuery { stanza: Some(self.stanza.clone()), repo: Some(self.repo), set: None }
    }
}

/// Whether this pgBackRest keeps annotations with its backups.
pub(super) fn annotates(version: Version) -> bool {
    version >= ANNOTATES
}

/// How long what is waited for, and how often what is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a pod that is ready.
    pub target: Duration,
    /// Between two looks for it, and before another try.
    pub pause: Duration,
    /// How often the backup is tried in one pod, beside waiting for a lock.
    pub tries: u32,
    /// How often `info` and `version` are asked for one answer.
    pub asks: u32,
    /// Between two tries to get a lock: at first, and at most.
    pub lock: (Duration, Duration),
    /// Between two lines about the progress: at first, and at most.
    pub progress: (Duration, Duration),
    /// Between two looks at a backup whose connection was lost: at first, and at most.
    pub lost: (Duration, Duration),
    /// How long nothing may be known about it.
    pub unknown: Duration,
    /// What a signalled backup has to end.
    pub grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            target: seconds(300),
            pause: seconds(5),
            tries: 3,
            asks: 4,
            lock: (seconds(5), seconds(60)),
            progress: (seconds(30), seconds(300)),
            lost: (seconds(10), seconds(60)),
            unknown: seconds(600),
            // Signalling takes a moment before, and a kubelet kills after thirty seconds.
            grace: seconds(15),
        }
    }
}

/// The next one of pauses that grow by half.
pub(super) fn longer(pause: Duration, longest: Duration) -> Duration {
    pause.saturating_mul(3).checked_div(2).unwrap_or(longest).min(longest)
}

#[cfg(test)]
pub(super) fn example() -> Task {
    Task {
        namespace: "shop".to_owned(),
        cluster: "ledger".to_owned(),
        stanza: "db".to_owned(),
        repo: 2,
        backup_type: BackupType::Incr,
        container: "postgres".to_owned(),
        selector: "role=master".to_owned(),
        mark: "job-1/pod-1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_marked_where_that_is_known() {
        let version = |minor| Version { major: 2, minor, patch: 0 };
        assert!(!annotates(version(40)) && annotates(version(41)) && annotates(version(60)));
        let words = "pgbackrest backup --stanza=db --repo=2 --type=incr";
        let marked = format!("{words} --annotation=pgbackrest-keeper.io-job=job-1/pod-1");
        assert_eq!(example().command(false).to_string(), words);
        assert_eq!(example().command(true).to_string(), marked);
        assert_eq!(example().command(true).in_pod().last(), Some(&example().annotation().as_str()));
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let (first, most) = (Duration::from_secs(4), Duration::from_secs(10));
        let all: Vec<u64> = std::iter::successors(Some(first), |pause| Some(longer(*pause, most)))
            .take(4)
            .map(|pause| pause.as_secs())
            .collect();
        assert_eq!(all, [4, 6, 9, 10]);
    }
}
