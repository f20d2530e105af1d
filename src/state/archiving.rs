//! Combines the files of each archiver with its previous state and the repositories.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::wal::WalSegment;

use super::archiver::{Archiver, Observation, RepoArchive};
use super::snapshot::{Repo, Snapshot};

/// Writes the archivers into the snapshot.
pub fn judge_into(
    snapshot: &mut Snapshot,
    previous: &Snapshot,
    observations: &BTreeMap<Arc<str>, Observation>,
) {
    let judged = observations.iter().map(|(name, observed)| {
        let stanza = snapshot.stanza(name);
        let repos: Vec<RepoArchive> =
            stanza.iter().flat_map(|stanza| &stanza.repos).map(|repo| archive(repo, observed.at)).collect();
        (Arc::clone(name), Archiver::of(observed, previous.archivers.get(name), &repos))
    });
    snapshot.archivers = judged.collect();
}

fn archive(repo: &Repo, observed_at: DateTime<Utc>) -> RepoArchive {
    let current = repo.current_database_id();
    let archive = repo.archives.iter().find(|archive| Some(archive.database_id) == current);
    let segment = |name: &Option<String>| name.as_deref().and_then(WalSegment::parse);
    let range = archive.and_then(|archive| Some((segment(&archive.min)?, segment(&archive.max)?)));
    RepoArchive {
        is_current: repo.is_up() && repo.collected_at >= observed_at,
        system_id: repo.current_database().and_then(|database| database.system_id),
        range,
        newest_backup: repo.dated_backups().map(|backup| backup.start).max(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::archiver::{Next, Queue, Spool};
    use super::super::examples::{backup, day, repo, stanza};
    use super::*;
    use crate::pgbackrest::exit_code::Reason;

    #[test]
    fn repositories_say_whether_a_segment_can_be_archived() {
        let observed = |system_id, file: &str| Observation {
            at: day(2),
            pod: None,
            uptime: Duration::ZERO,
            queue_limit: None,
            queue: Ok(Queue {
                files: 1,
                next: Some(Next { file: file.to_owned(), since: Some(day(1)) }),
                file_bytes: Some(16 << 20),
                system_id: Some(system_id),
                ..Queue::default()
            }),
            spool: Ok(Spool::default()),
        };
        let rejected = |observed: Observation, collected_at| {
            let repo = Repo { collected_at, ..repo(1, vec![backup("20260101-000000F", day(0), 3)]) };
            let mut snapshot = Snapshot { stanzas: vec![stanza(vec![repo])], ..Snapshot::default() };
            let observations = BTreeMap::from([(Arc::from("demo"), observed)]);
            judge_into(&mut snapshot, &Snapshot::default(), &observations);
            snapshot.archivers["demo"].rejected.as_ref().map(|rejected| rejected.reason)
        };
        // The archive ends with 20.
        let (held, next) = ("000000010000000000000020", "000000010000000000000021");
        assert_eq!(rejected(observed(77, next), day(2)), None);
        assert_eq!(rejected(observed(78, next), day(2)), Some(Reason::Mismatch));
        assert_eq!(rejected(observed(77, held), day(2)), Some(Reason::ArchiveDuplicate));
        // The answer is older than what was read on the host.
        assert_eq!(rejected(observed(77, held), day(1)), None);
        assert_eq!(rejected(observed(78, next), day(1)), None);
    }

    #[test]
    fn an_archiver_that_is_gone_is_forgotten() {
        let unread = Observation {
            at: day(2),
            pod: None,
            uptime: Duration::ZERO,
            queue_limit: None,
            queue: Err("unreadable".to_owned()),
            spool: Ok(Spool::default()),
        };
        let mut snapshot = Snapshot::default();
        judge_into(&mut snapshot, &Snapshot::default(), &BTreeMap::from([(Arc::from("demo"), unread)]));
        assert_eq!(snapshot.archivers["demo"].problem.as_deref(), Some("unreadable"));
        let before = snapshot.clone();
        judge_into(&mut snapshot, &before, &BTreeMap::new());
        assert!(snapshot.archivers.is_empty());
    }
}
