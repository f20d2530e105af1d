//! The result of the last backup attempt, as far as the queried host shows it.
//!
//! pgBackRest's log file contains every attempt whose process ended by itself. If a process was killed, the log contains its start,
//! and there is no lock. Without a log, a lock with progress that is released without a new backup shows a failure but not its
//! cause, and attempts that were not seen running are unknown. A newer backup in the repository is a newer attempt, no matter where
//! it ran.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::backup_log::{BackupLog, Ended};
use crate::pgbackrest::exit_code::Reason;

use super::archive::CLOCK_TOLERANCE;
use super::snapshot::{
    AttemptEvidence, AttemptFailure, Backup, BackupAttempt, Repo, RepoState, Snapshot, Stanza, WatchedBackup,
};

/// The readable backup logs, by stanza.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupLogs {
    pub logs: BTreeMap<Arc<str>, Arc<BackupLog>>,
    /// When they were read; absent before the first time.
    pub read_at: Option<DateTime<Utc>>,
}

/// The known state of one repository.
struct Known<'a> {
    stanza: &'a Stanza,
    repo: &'a Repo,
    before: Option<(&'a Stanza, &'a Repo)>,
    now: DateTime<Utc>,
}

/// Writes the last attempts into the snapshot. `previous` is the snapshot of the previous collection.
pub fn judge_into(snapshot: &mut Snapshot, previous: &Snapshot, logs: &BackupLogs, now: DateTime<Utc>) {
    for stanza in &mut snapshot.stanzas {
        let before = previous.stanza(&stanza.name);
        let log = logs.logs.get(&stanza.name).zip(logs.read_at);
        let judged: Vec<_> = stanza
            .repos
            .iter()
            .map(|repo| {
                let before = before.and_then(|before| Some((before, before.repo(repo.key)?)));
                let known = Known { stanza, repo, before, now };
                let (watched, failed) = known.watch();
                (known.last_attempt(log, failed), watched)
            })
            .collect();
        for (repo, (attempt, watched)) in stanza.repos.iter_mut().zip(judged) {
            (repo.last_attempt, repo.watched) = (attempt, watched);
        }
    }
}

impl Known<'_> {
    fn last_attempt(
        &self,
        log: Option<(&Arc<BackupLog>, DateTime<Utc>)>,
        failed: Option<BackupAttempt>,
    ) -> Option<BackupAttempt> {
        let logged = log.and_then(|(log, read_at)| self.logged(log, read_at));
        let earlier = self.before.and_then(|(_, repo)| repo.last_attempt.clone());
        let earlier = earlier.filter(|attempt| attempt.evidence == AttemptEvidence::Lock);
        let unlogged = failed.or(earlier).filter(|failed| {
            logged.as_ref().is_none_or(|logged| logged.ended.is_some() && logged.ended < failed.began)
        });
        let newest = self.repo.dated_backups().max_by_key(|backup| backup.stop);
        // Attempts in the log are in the order of the log, even if its times are wrong.
        let is_logged = |backup: &Backup| log.is_some_and(|(log, _)| log.has_made(&backup.label));
        let is_before = |attempt: &BackupAttempt, backup: &Backup| {
            let is_earlier = attempt.ended.or(attempt.began).is_some_and(|at| at < backup.stop);
            is_earlier && !(attempt.evidence == AttemptEvidence::Log && is_logged(backup))
        };
        match (unlogged.or(logged), newest) {
            (Some(attempt), Some(backup)) if is_before(&attempt, backup) => {
                // Without a log, later failed attempts may have gone unnoticed.
                log.is_some().then(|| made(backup))
            }
            (None, Some(backup)) => {
                // The last start in the log was that of this backup.
                let began = log.and_then(|(log, _)| log.running(self.repo.key.max(1))?.began);
                began.is_some_and(|began| began < backup.stop).then(|| made(backup))
            }
            (attempt, _) => attempt,
        }
    }

    /// The last attempt according to the log; None if that is not certain yet.
    fn logged(&self, log: &BackupLog, read_at: DateTime<Utc>) -> Option<BackupAttempt> {
        let key = self.repo.key.max(1);
        let ended = log.ended(key, self.stanza.repos.len() == 1);
        let Some(running) = log.running(key) else { return ended.map(|ended| self.attempt(ended)) };
        if self.stanza.backup_lock.held == Some(true) {
            return ended.map(|ended| self.attempt(ended));
        }
        // The lock was free between two readings of the log, neither of which found an end.
        let was_free = self.before.is_some_and(|(stanza, repo)| {
            is_free(stanza, repo) && running.read_at < repo.collected_at && repo.collected_at < read_at
        });
        let reason = if log.has_unassigned_failure() { None } else { Some(Reason::OomOrKill) };
        let killed = BackupAttempt {
            evidence: AttemptEvidence::Log,
            backup_type: Some(running.backup_type),
            began: self.possible(running.began),
            ended: None,
            failure: Some(AttemptFailure { reason, ..AttemptFailure::default() }),
        };
        // This does not change while the repository does not answer.
        let was_known = self.before.is_some_and(|(_, repo)| repo.last_attempt.as_ref() == Some(&killed));
        let is_gone = !running.may_have_ended && was_free && is_free(self.stanza, self.repo);
        (is_gone || was_known).then_some(killed)
    }

    fn attempt(&self, ended: &Ended) -> BackupAttempt {
        BackupAttempt {
            evidence: AttemptEvidence::Log,
            backup_type: ended.backup_type,
            began: self.possible(ended.began),
            ended: self.possible(ended.at),
            failure: ended.failure.as_ref().map(|failure| AttemptFailure {
                reason: failure.reason(),
                exit_code: failure.code,
                message: failure.message.clone(),
            }),
        }
    }

    /// A time, unless it is in the future.
    fn possible(&self, at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        at.filter(|at| *at <= self.now + CLOCK_TOLERANCE)
    }

    /// The running backup to watch, and an attempt that ended without a new backup.
    fn watch(&self) -> (Option<WatchedBackup>, Option<BackupAttempt>) {
        let watched = self.before.and_then(|(_, repo)| repo.watched.clone());
        // Otherwise the current backups are unknown.
        if !self.repo.is_up() {
            return (watched, None);
        }
        let newest = self.repo.backups.last().map(|backup| backup.label.clone());
        let begin = || {
            let since = self.repo.in_progress_since.unwrap_or(self.repo.collected_at);
            WatchedBackup { since, newest: newest.clone(), released: None }
        };
        let has_failed = |watched: &WatchedBackup| {
            let is_later = watched.released.is_some_and(|released| released < self.repo.collected_at);
            (is_later && watched.newest == newest).then(|| BackupAttempt {
                evidence: AttemptEvidence::Lock,
                backup_type: None,
                began: Some(watched.since),
                ended: watched.released,
                failure: Some(AttemptFailure::default()),
            })
        };
        match (watched, self.stanza.is_backing_up(self.repo)) {
            (watched, None) => (watched, None),
            (None, Some(false)) => (None, None),
            (None, Some(true)) => (Some(begin()), None),
            (Some(watched), Some(true)) if watched.released.is_none() && watched.newest == newest => {
                (Some(watched), None)
            }
            (Some(watched), Some(true)) => (Some(begin()), has_failed(&watched)),
            (Some(watched), Some(false)) if watched.newest != newest => (None, None),
            (Some(watched), Some(false)) if watched.released.is_none() => {
                (Some(WatchedBackup { released: Some(self.repo.collected_at), ..watched }), None)
            }
            (Some(watched), Some(false)) => match has_failed(&watched) {
                Some(failed) => (None, Some(failed)),
                None => (Some(watched), None),
            },
        }
    }
}

/// Whether no backup to a repository can be running.
fn is_free(stanza: &Stanza, repo: &Repo) -> bool {
    let is_readable = !matches!(repo.state, RepoState::Other | RepoState::Timeout);
    stanza.backup_lock.held == Some(false) && is_readable
}

fn made(backup: &Backup) -> BackupAttempt {
    BackupAttempt {
        evidence: AttemptEvidence::Backup,
        backup_type: Some(backup.backup_type),
        began: Some(backup.start),
        ended: Some(backup.stop),
        failure: None,
    }
}

#[cfg(test)]
mod tests;
