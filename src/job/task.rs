//! The backup that a job makes, and its timeouts.

use std::time::Duration;

use crate::cluster::labels;
use crate::pgbackrest::backup_options::BackupOptions;
use crate::pgbackrest::command::{self, Command, InfoQuery};
use crate::pgbackrest::label::BackupType;
use crate::source::pod::Place;

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The namespace of the cluster.
    pub namespace: String,
    /// The name of the cluster, for messages.
    pub cluster: String,
    pub stanza: String,
    /// The number of the repo.
    pub repo: u32,
    /// The requested type. Without a prior backup, pgBackRest makes a full one instead.
    pub backup_type: BackupType,
    /// Options of pgBackRest for this backup.
    pub options: BackupOptions,
    /// The container in which pgBackRest runs.
    pub container: String,
    /// The label selector of the pod, as for `kubectl --selector`.
    pub selector: String,
    /// The pod is the primary: if several have its labels, PostgreSQL is asked.
    pub is_primary: bool,
    /// Identifies this run: the Job and the pod. It is passed to pgBackRest and stored with the backup.
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

    /// `pgbackrest backup`, with the mark if this version supports annotations.
    pub(super) fn command(&self, annotates: bool) -> Command {
        let annotation = annotates.then(|| self.annotation());
        command::backup(&self.stanza, self.repo, self.backup_type, &self.options, annotation)
    }

    /// `info` of the repo.
    pub(super) fn info(&self) -> InfoQuery {
        InfoQuery { stanza: Some(self.stanza.clone()), repo: Some(self.repo), set: None }
    }
}

/// Timeouts and numbers of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long to wait for a ready pod.
    pub target: Duration,
    /// Pause between two searches for it, and before a retry.
    pub pause: Duration,
    /// Attempts to make the backup, not counting waits for a lock.
    pub tries: u32,
    /// Attempts of `info` and `version`.
    pub asks: u32,
    /// Pause between two attempts to get a lock: first and longest.
    pub lock: (Duration, Duration),
    /// Pause between two log lines about progress: first and longest.
    pub progress: (Duration, Duration),
    /// Pause between two checks of a backup whose connection was lost: first and longest.
    pub lost: (Duration, Duration),
    /// How long its state may be unknown.
    pub unknown: Duration,
    /// How long a backup may take to stop after a signal.
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
            // Sending the signal takes a moment, and a kubelet kills after thirty seconds.
            grace: seconds(15),
        }
    }
}

/// The next pause: longer by half.
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
        options: BackupOptions::default(),
        container: "postgres".to_owned(),
        selector: "role=master".to_owned(),
        is_primary: true,
        mark: "job-1/pod-1".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_marked_where_that_is_known() {
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
