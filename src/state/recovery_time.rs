//! How long recoveries from a repository take: to the latest point in time, to the one that takes longest, and to any other.

use chrono::{DateTime, Utc};

use crate::pgbackrest::wal::Lsn;

use super::archive::Branch;
use super::backup::Backup;
use super::recovery;
use super::snapshot::{Repo, Stanza};
use super::speeds::{Amount, Estimate, Measurement, RecoveryTime, Speeds};
use super::wal_range;

/// None until there is a measurement.
#[must_use]
pub fn of(stanza: &Stanza, repo: &Repo, measurements: &[Measurement]) -> Option<RecoveryTime> {
    let speeds = Speeds::of(measurements)?;
    let amounts = amounts(&starts(stanza, repo));
    let estimates: Vec<Option<Estimate>> = amounts.iter().map(|amount| speeds.estimate((*amount)?)).collect();
    let worst = |one: Option<Estimate>, other: Option<Estimate>| Some(one?.max(other?));
    Some(RecoveryTime {
        measured_at: speeds.measured_at,
        latest: estimates.last().copied().flatten(),
        worst_point: estimates.into_iter().reduce(worst).flatten(),
        speeds,
    })
}

/// To a point in time from a backup.
#[must_use]
pub fn to(
    target: DateTime<Utc>,
    backup: &Backup,
    (stanza, repo): (&Stanza, &Repo),
    speeds: &Speeds,
) -> Option<Estimate> {
    let from = backup.lsn_start?;
    let position = position_at(&starts(stanza, repo), backup, target)?;
    speeds.estimate(Amount { bytes: backup.size?.get(), wal: position.0.checked_sub(from.0)? })
}

/// The most that a recovery reads. None if that is not known of each of them.
#[must_use]
pub fn most(stanza: &Stanza, repo: &Repo) -> Option<Amount> {
    let amounts: Option<Vec<Amount>> = amounts(&starts(stanza, repo)).into_iter().collect();
    let more = |one: Amount, other: Amount| Amount {
        bytes: one.bytes.max(other.bytes),
        wal: one.wal.max(other.wal),
    };
    amounts?.into_iter().reduce(more)
}

/// A backup from which the live branch can be recovered.
struct Start<'a> {
    backup: &'a Backup,
    from: Lsn,
    /// The end of the WAL that follows.
    end: Option<Lsn>,
    /// When that was archived, if known.
    end_at: Option<DateTime<Utc>>,
}

/// In the order of their WAL. Offline backups are left out: the WAL that follows them is unknown.
fn starts<'a>(stanza: &Stanza, repo: &'a Repo) -> Vec<Start<'a>> {
    let live = recovery::proof(repo).and_then(|wal| wal.live());
    let mut starts: Vec<Start<'a>> = if let Some(branch) = live {
        repo.dated_backups().filter_map(|backup| on_branch(backup, branch)).collect()
    } else {
        let end = wal_range::range(stanza, repo).and_then(|range| range.end);
        let start = |backup: &'a Backup| Some(Start { backup, from: backup.lsn_start?, end, end_at: None });
        recovery::replayable(repo).into_iter().filter_map(start).collect()
    };
    starts.sort_by_key(|start| start.from);
    starts
}

fn on_branch<'a>(backup: &'a Backup, branch: &Branch) -> Option<Start<'a>> {
    let end = branch.reach.get(&backup.label)?;
    Some(Start { backup, from: backup.lsn_start?, end: end.lsn, end_at: Some(end.at) })
}

/// The most that is read from each backup: up to the end of the next one, or to the end of the WAL.
fn amounts(starts: &[Start<'_>]) -> Vec<Option<Amount>> {
    let next = starts.iter().skip(1).map(|next| next.backup.lsn_stop).chain([None]);
    let amount = |(start, next): (&Start<'_>, Option<Lsn>)| {
        let until = [next, start.end].into_iter().flatten().min()?;
        Some(Amount { bytes: start.backup.size?.get(), wal: until.0.saturating_sub(start.from.0) })
    };
    starts.iter().zip(next).map(amount).collect()
}

/// The position of the WAL at a time, between known ones as if the WAL had been written evenly.
fn position_at(starts: &[Start<'_>], backup: &Backup, time: DateTime<Utc>) -> Option<Lsn> {
    let start = starts.iter().find(|start| start.backup.label == backup.label)?;
    let mut before = (backup.stop, backup.lsn_stop?);
    let mut after: Option<(DateTime<Utc>, Lsn)> = None;
    let of_backups = starts.iter().flat_map(|start| {
        [(start.backup.start, start.backup.lsn_start), (start.backup.stop, start.backup.lsn_stop)]
    });
    let end = start.end_at.map(|at| (at, start.end));
    for (at, lsn) in of_backups.chain(end).filter_map(|(at, lsn)| Some((at, lsn?))) {
        if lsn <= before.1 {
            continue;
        }
        if at <= time {
            before = before.max((at, lsn));
        } else {
            after = Some(after.map_or((at, lsn), |after| after.min((at, lsn))));
        }
    }
    let Some((until, end)) = after.filter(|(_, end)| *end >= before.1) else {
        // As much as there is.
        return start.end.map(|end| end.max(before.1));
    };
    let whole = (until - before.0).num_milliseconds();
    let part = (time - before.0).num_milliseconds().clamp(0, whole.max(0));
    let bytes = u128::from(end.0 - before.1.0) * u128::from(part.unsigned_abs());
    let bytes = bytes.checked_div(u128::from(whole.unsigned_abs())).unwrap_or(0);
    Some(Lsn(before.1.0.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests;
