//! Chooses the backup and the target. Pure.

use std::cmp::Reverse;

use chrono::{DateTime, TimeDelta, Utc};

use crate::pgbackrest::command::TargetTimeline;
use crate::pgbackrest::wal::{Lsn, WalSegment};
use crate::state::archive::Branch;
use crate::state::proofs::{ReasonClass, Target, TargetKind};
use crate::state::recovery;
use crate::state::restore::{self, Doubt, RestoreTarget, Start};
use crate::state::snapshot::{Backup, Repo, Stanza};

use super::order::{BackupWish, TargetWish};
use super::stop::Stop;

/// How often a random point in time is drawn: near the end of the window, some are not certain to be reached.
const DRAWS: u32 = 30;

/// What is restored, and to where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub(super) backup: Backup,
    pub(super) target: Target,
    /// The timeline to follow, if PostgreSQL might choose another one.
    pub(super) timeline: Option<TargetTimeline>,
    /// Whether PostgreSQL may read WAL ahead.
    pub(super) reads_ahead: bool,
    /// Major version of PostgreSQL.
    pub(super) postgres: Option<u32>,
    pub(super) archive: ArchiveEnd,
}

/// How far the archived WAL leads on from the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ArchiveEnd {
    /// Up to here nothing is missing, according to the listing of the archive.
    pub(super) proven: Option<Lsn>,
    /// The newest archived segment by name.
    pub(super) newest: Option<WalSegment>,
    /// The timeline of the branch, if it is known.
    pub(super) timeline: Option<u32>,
    /// Whether a history file is known to be missing.
    pub(super) lacks_history: bool,
    /// Whether WAL is missing only because `expire` removed it.
    pub(super) is_expired: bool,
}

/// The random numbers that are needed: one below a limit.
pub(super) type Draw<'a> = &'a mut dyn FnMut(u64) -> u64;

/// Chooses in a repository that can be read.
pub(super) fn choose(
    stanza: &Stanza,
    repo: &Repo,
    wish: (&BackupWish, TargetWish),
    now: DateTime<Utc>,
    draw: Draw<'_>,
) -> Result<Choice, Stop> {
    let (backup, target) = wish;
    match target {
        TargetWish::Latest | TargetWish::Immediate => to_an_end(repo, backup, target, draw),
        TargetWish::Time(time) => {
            // Only the backup that is wanted.
            let chosen = match backup {
                BackupWish::Latest => None,
                wanted => Some(one(repo, wanted, Some(time), draw)?.label.clone()),
            };
            let alone = alone(stanza, repo, chosen.as_deref());
            let start = restore::start(&alone, RestoreTarget { time, timeline: None }, now);
            let start = start.map_err(|reasons| {
                let why = reasons.first().map(|(_, why)| format!(": {why}")).unwrap_or_default();
                Stop::new(ReasonClass::UnreachableTarget, format!("the target cannot be reached{why}"))
            })?;
            Ok(to_time(repo, &start, time, false))
        }
        TargetWish::Random => random(stanza, repo, backup, now, draw),
    }
}

fn random(
    stanza: &Stanza,
    repo: &Repo,
    backup: &BackupWish,
    now: DateTime<Utc>,
    draw: Draw<'_>,
) -> Result<Choice, Stop> {
    let unproven = |why: &str| {
        Stop::new(
            ReasonClass::UnreachableTarget,
            format!("there is no random target: {why}; see `info --wal`"),
        )
    };
    let window = recovery::window(repo).filter(|window| window.verified);
    let window = window.ok_or_else(|| unproven("no recovery window is proven"))?;
    let length = window.length().num_milliseconds();
    let length = u64::try_from(length).ok().filter(|length| *length > 0);
    let length = length.ok_or_else(|| unproven("the recovery window is a single instant"))?;
    let chosen = match backup {
        BackupWish::Latest => None,
        wanted => Some(one(repo, wanted, Some(window.latest), draw)?.label.clone()),
    };
    let alone = alone(stanza, repo, chosen.as_deref());
    for _ in 0..DRAWS {
        let offset = i64::try_from(draw(length) + 1).unwrap_or(i64::MAX);
        let time = window.start() + TimeDelta::milliseconds(offset);
        let start = restore::start(&alone, RestoreTarget { time, timeline: None }, now);
        if let Ok(start) = start.as_ref()
            && start.proof.is_ok()
        {
            return Ok(to_time(repo, start, time, true));
        }
    }
    Err(unproven("no point in time that was drawn is certain to be reached from this backup"))
}

/// The stanza with one repository, and perhaps one backup.
fn alone(stanza: &Stanza, repo: &Repo, label: Option<&str>) -> Stanza {
    let mut repo = repo.clone();
    if let Some(label) = label {
        repo.backups.retain(|backup| *backup.label == *label);
    }
    Stanza { repos: vec![repo], ..stanza.clone() }
}

fn to_time(repo: &Repo, start: &Start<'_>, time: DateTime<Utc>, random: bool) -> Choice {
    let branch = start.branch.and_then(|chosen| branch(repo, |branch| branch.timeline == chosen.timeline));
    Choice {
        backup: start.backup.clone(),
        target: Target { kind: TargetKind::Time, time: Some(time), random },
        timeline: start.timeline.map(TargetTimeline::Number),
        reads_ahead: start.proof != Err(Doubt::Damage),
        postgres: start.postgres_version,
        archive: archive_end(repo, start.backup, branch),
    }
}

/// To the end of the WAL, or of the backup.
fn to_an_end(repo: &Repo, wish: &BackupWish, target: TargetWish, draw: Draw<'_>) -> Result<Choice, Stop> {
    let backup = one(repo, wish, None, draw)?;
    let branch = branch(repo, |branch| branch.reach.contains_key(&backup.label));
    let newest_history = repo.wal.as_ref().and_then(|wal| wal.newest_history);
    let is_default = |branch: &Branch| newest_history.is_none_or(|newest| newest <= branch.timeline);
    let is_immediate = target == TargetWish::Immediate;
    let timeline = match branch {
        _ if is_immediate => Some(TargetTimeline::Current),
        Some(branch) if !is_default(branch) => Some(TargetTimeline::Number(branch.timeline)),
        _ => None,
    };
    let kind = if is_immediate { TargetKind::Immediate } else { TargetKind::Latest };
    Ok(Choice {
        backup: backup.clone(),
        target: Target { kind, time: None, random: false },
        timeline,
        reads_ahead: !is_immediate,
        postgres: repo.postgres_version(),
        archive: archive_end(repo, backup, branch),
    })
}

/// The live branch is the first.
fn branch(repo: &Repo, wanted: impl Fn(&Branch) -> bool) -> Option<&Branch> {
    recovery::proof(repo)?.branches.iter().find(|branch| wanted(branch))
}

fn archive_end(repo: &Repo, backup: &Backup, branch: Option<&Branch>) -> ArchiveEnd {
    let archive = repo.archives.iter().find(|archive| archive.database_id == backup.database_id);
    let reach = branch.and_then(|branch| branch.reach.get(&backup.label));
    ArchiveEnd {
        proven: reach.and_then(|end| end.lsn),
        newest: archive.and_then(|archive| WalSegment::parse(archive.max.as_deref()?)),
        timeline: branch.map(|branch| branch.timeline),
        lacks_history: repo.wal.as_ref().is_some_and(|wal| wal.missing_histories > 0),
        is_expired: recovery::proof(repo)
            .and_then(|wal| wal.path)
            .is_some_and(|path| path.missing_expired > 0 && path.missing_new == 0 && path.missing_old == 0),
    }
}

/// One of the backups of the current database on which WAL can be replayed, and which ended before a time.
fn one<'a>(
    repo: &'a Repo,
    wish: &BackupWish,
    before: Option<DateTime<Utc>>,
    draw: Draw<'_>,
) -> Result<&'a Backup, Stop> {
    let current = repo.current_database_id();
    let is_suitable = |backup: &&Backup| {
        Some(backup.database_id) == current
            && backup.wal_start.is_some()
            && before.is_none_or(|before| backup.stop < before)
    };
    let all: Vec<&Backup> = repo.dated_backups().filter(is_suitable).collect();
    let found = match wish {
        BackupWish::Latest => all.iter().max_by_key(|backup| (backup.stop, &backup.label)),
        BackupWish::Oldest => all.iter().min_by_key(|backup| (backup.stop, Reverse(&backup.label))),
        BackupWish::Random if all.is_empty() => None,
        BackupWish::Random => usize::try_from(draw(all.len() as u64)).ok().and_then(|place| all.get(place)),
        BackupWish::Label(label) => all.iter().find(|backup| *backup.label == **label),
    };
    let name = crate::state::human::repo_name(repo.key);
    found.copied().ok_or_else(|| match wish {
        BackupWish::Label(label) => Stop::new(
            ReasonClass::Configuration,
            format!("{name} has no suitable backup {}; see `info`", crate::text::escaped(label, 60)),
        ),
        _ if before.is_some() => {
            Stop::new(ReasonClass::UnreachableTarget, format!("no backup in {name} ended before the target"))
        }
        _ => Stop::new(ReasonClass::NoBackup, format!("{name} has no backup on which WAL can be replayed")),
    })
}

#[cfg(test)]
mod tests;
