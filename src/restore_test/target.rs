//! Whether recovery has reached its target, and ended nowhere else.

use chrono::{DateTime, Utc};

use crate::pgbackrest::wal::{Lsn, SegmentSize};
use crate::state::proofs::reason::ReasonClass;
use crate::state::proofs::{Position, TargetKind};

use super::choose::{ArchiveEnd, Choice};
use super::query::Session;
use super::recovery::{End, Recovery};
use super::stop::Stop;

/// The replayed position, and the time of the last commit in microseconds.
const POSITION: &str = "SELECT pg_last_wal_replay_lsn(), \
                        (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint, pg_is_in_recovery()";
/// More WAL may arrive in the archive while the copy is checked.
const PAUSE: &str = "SELECT pg_wal_replay_pause()";

/// Holds recovery where it is, and asks for the position.
pub(super) async fn hold(
    session: &Session,
    followed: &Recovery,
    size: SegmentSize,
) -> Result<Position, Stop> {
    session.rows(PAUSE).await?;
    let row = session.row(POSITION).await?;
    let unreadable = || Stop::new(ReasonClass::Unclassified, "psql printed no position");
    let [lsn, last_commit, is_in_recovery] = row.as_slice() else { return Err(unreadable()) };
    if is_in_recovery != "t" {
        return Err(Stop::new(ReasonClass::WrongTarget, "recovery ended, though the copy is a standby"));
    }
    let commit = |micros: &String| micros.parse().ok().and_then(DateTime::<Utc>::from_timestamp_micros);
    let lsn = Lsn::parse(lsn).ok_or_else(unreadable)?;
    Ok(Position {
        lsn,
        timeline: followed.timeline_at(lsn, size),
        last_commit: if last_commit.is_empty() {
            None
        } else {
            Some(commit(last_commit).ok_or_else(unreadable)?)
        },
    })
}

/// Whether that is where recovery was to end. A remark is about a target that is later than the last commit.
pub(super) fn check(
    choice: &Choice,
    end: End,
    position: Position,
    size: SegmentSize,
) -> Result<Option<String>, Stop> {
    let wrong = |message: String| Err(Stop::new(ReasonClass::WrongTarget, message));
    if let Some(stop) = choice.backup.lsn_stop.filter(|stop| position.lsn < *stop) {
        return wrong(format!("recovery ended at {}, before the end of the backup at {stop}", position.lsn));
    }
    match (choice.target.kind, end) {
        (TargetKind::Time, End::Target) => match (choice.target.time, position.last_commit) {
            (Some(target), Some(commit)) if commit > target => {
                wrong(format!("a commit of {commit} was replayed, after the target {target}"))
            }
            _ => Ok(None),
        },
        (TargetKind::Time, End::Missing(_) | End::Within(_)) => {
            if choice.archive.proven.is_none() {
                let message = "the archived WAL ends before the target";
                return Err(Stop::new(ReasonClass::UnreachableTarget, message));
            }
            match whole(end, &choice.archive, size)? {
                Rest::Nothing => Ok(Some("nothing in the archive was committed after the target".to_owned())),
                Rest::Expired => {
                    let message = "expire removed WAL before the target";
                    Err(Stop::new(ReasonClass::UnreachableTarget, message))
                }
            }
        }
        (TargetKind::Immediate, End::Target) => Ok(None),
        (TargetKind::Latest, End::Missing(_) | End::Within(_)) => {
            on_the_branch(position, &choice.archive)?;
            Ok(match whole(end, &choice.archive, size)? {
                Rest::Nothing => None,
                Rest::Expired => Some("expire removed the WAL after that".to_owned()),
            })
        }
        _ => wrong(format!("recovery ended unexpectedly at {}", position.lsn)),
    }
}

/// PostgreSQL goes on with a timeline behind the place where the next one begins, as long as the archive has no WAL of that one.
fn on_the_branch(position: Position, archive: &ArchiveEnd) -> Result<(), Stop> {
    let (Some(reached), Some(live), Some(proven)) = (position.timeline, archive.timeline, archive.proven)
    else {
        return Ok(());
    };
    if reached >= live || position.lsn <= proven {
        return Ok(());
    }
    let message = format!(
        "the archive has no WAL from the beginning of timeline {live} yet, so PostgreSQL continued on timeline {reached} up to {}",
        position.lsn
    );
    Err(Stop::new(ReasonClass::UnreachableTarget, message))
}

/// What is behind the end of recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Nothing,
    /// WAL that cannot be reached, because `expire` removed what leads there.
    Expired,
}

/// Whether everything that the archive has was replayed.
fn whole(end: End, archive: &ArchiveEnd, size: SegmentSize) -> Result<Rest, Stop> {
    let (segment, reached, class) = match end {
        End::Missing(segment) => (segment, segment.start_lsn(size), ReasonClass::MissingWal),
        End::Within(segment) => (segment, segment.end_lsn(size), ReasonClass::DamagedWal),
        End::Target => return Ok(Rest::Nothing),
    };
    let what = match end {
        End::Missing(_) => format!("WAL segment {segment} is not in the archive"),
        _ => format!("the WAL ends within segment {segment}"),
    };
    if let Some(proven) = archive.proven.filter(|proven| reached.is_none_or(|reached| reached < *proven)) {
        return Err(Stop::new(
            class,
            format!("{what}, though the archive had WAL up to {proven} before the test"),
        ));
    }
    let Some(newest) = archive.newest else { return Ok(Rest::Nothing) };
    if newest.timeline == segment.timeline && newest > segment {
        if archive.is_expired {
            return Ok(Rest::Expired);
        }
        return Err(Stop::new(class, format!("{what}, but later ones are, up to {newest}")));
    }
    let (from, to) = (segment.timeline, newest.timeline);
    if to > from && archive.lacks_history {
        let message = format!("the history file that leads from timeline {from} to {to} is missing");
        return Err(Stop::new(ReasonClass::MissingWal, message));
    }
    if to > from && archive.timeline != Some(from) {
        let message = format!("recovery ended on timeline {from}, and the archive contains timeline {to}");
        return Err(Stop::new(ReasonClass::UnreachableTarget, message));
    }
    Ok(Rest::Nothing)
}

#[cfg(test)]
mod tests {
    use crate::pgbackrest::wal::WalSegment;

    use super::*;

    const SIZE: SegmentSize = SegmentSize::DEFAULT;

    fn segment(timeline: u32, low: u32) -> WalSegment {
        WalSegment { timeline, high: 0, low }
    }

    fn class(end: End, archive: ArchiveEnd) -> Option<ReasonClass> {
        whole(end, &archive, SIZE).err().map(|stop| stop.class)
    }

    #[test]
    fn an_end_before_that_of_the_archive_is_a_hole() {
        let proven = |low, newest| ArchiveEnd {
            proven: segment(1, low).start_lsn(SIZE),
            newest: Some(segment(1, newest)),
            timeline: Some(1),
            ..ArchiveEnd::default()
        };
        assert_eq!(class(End::Missing(segment(1, 5)), proven(5, 4)), None);
        // More arrived in the meantime.
        assert_eq!(class(End::Missing(segment(1, 7)), proven(5, 4)), None);
        assert_eq!(class(End::Missing(segment(1, 4)), proven(5, 4)), Some(ReasonClass::MissingWal));
        assert_eq!(class(End::Missing(segment(1, 5)), proven(5, 8)), Some(ReasonClass::MissingWal));
        let expired = ArchiveEnd { is_expired: true, ..proven(5, 8) };
        assert_eq!(whole(End::Missing(segment(1, 5)), &expired, SIZE), Ok(Rest::Expired));
        assert_eq!(class(End::Within(segment(1, 4)), proven(5, 4)), None);
        assert_eq!(class(End::Within(segment(1, 3)), proven(5, 4)), Some(ReasonClass::DamagedWal));
        assert_eq!(class(End::Missing(segment(1, 3)), ArchiveEnd::default()), None);
    }

    #[test]
    fn a_timeline_that_was_left_is_not_the_latest() {
        let archive = ArchiveEnd { proven: Some(Lsn(0xC0_0000)), timeline: Some(2), ..ArchiveEnd::default() };
        let class = |timeline, lsn| {
            let position = Position { lsn: Lsn(lsn), timeline, last_commit: None };
            on_the_branch(position, &archive).err().map(|stop| stop.class)
        };
        assert_eq!(class(Some(1), 0xE0_0000), Some(ReasonClass::UnreachableTarget));
        // It ends before that, or has gone over, or that is unknown.
        assert_eq!([class(Some(1), 0xC0_0000), class(Some(2), 0xE0_0000), class(None, 0xE0_0000)], [None; 3]);
    }

    #[test]
    fn an_end_on_an_earlier_timeline_is_not_the_latest() {
        let later = ArchiveEnd { newest: Some(segment(2, 9)), ..ArchiveEnd::default() };
        assert_eq!(class(End::Missing(segment(1, 5)), later), Some(ReasonClass::UnreachableTarget));
        for timeline in [None, Some(1)] {
            let lost = ArchiveEnd { lacks_history: true, timeline, ..later };
            assert_eq!(class(End::Missing(segment(1, 5)), lost), Some(ReasonClass::MissingWal));
        }
        // The later timeline is not of this database.
        let foreign = ArchiveEnd { timeline: Some(1), ..later };
        assert_eq!(class(End::Missing(segment(1, 5)), foreign), None);
    }
}
