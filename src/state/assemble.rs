//! Converts the `info` document from lists per stanza to one entry per repository.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::pgbackrest::exit_code;
use crate::pgbackrest::info;
use crate::pgbackrest::info::view::{Presence, RepoView, StanzaView};
use crate::pgbackrest::wal::{Lsn, WalSegment};

use super::snapshot::{Activity, Archive, Backup, ByteCount, Database, Progress, Repo, RepoState, Stanza};

/// The stanza as facts per repository, read at `read_at`.
///
/// If a repository cannot be listed by a query for all stanzas, pgBackRest reports a stanza named `[invalid]` with
/// the state of that repository; it is kept as it is.
#[must_use]
pub fn stanza(view: StanzaView<'_>, read_at: DateTime<Utc>) -> Stanza {
    let status = &view.raw.status;
    let mut texts = Texts::default();
    let mut repos: Vec<Repo> = view.repos().map(|own| repo(own, read_at, &mut texts)).collect();
    repos.sort_by_key(|repo| repo.key);
    repos.dedup_by_key(|repo| repo.key);
    let is_told = view.repos().any(|repo| repo.code.presence() == Presence::Present);
    Stanza {
        name: Arc::from(&*view.raw.name),
        status_code: status.code.0,
        status_message: status.message.redacted(),
        backup_lock: activity(status.lock.backup.as_ref(), is_told, read_at),
        restore_lock: activity(status.lock.restore.as_ref(), is_told, read_at),
        repos,
        other_program: None,
        stop_files: None,
    }
}

fn repo(view: RepoView<'_>, read_at: DateTime<Utc>, texts: &mut Texts) -> Repo {
    let status_message = view.message.redacted();
    let mut databases: Vec<Database> = view.databases().map(database).collect();
    databases.sort_by_key(|database| database.id);
    // A database has one archive in a repository; whatever is named again would be a series again.
    let mut known = BTreeSet::new();
    let archives = view.archives().map(archive).filter(|archive| known.insert(archive.database_id)).collect();
    let progress = view.progress().and_then(|repo| progress(repo.size, repo.size_complete));
    Repo {
        key: view.key,
        state: RepoState::of_code(view.code.0),
        status_code: Some(view.code.0),
        error: exit_code::class_in(&status_message),
        status_message,
        collected_at: read_at,
        cipher: view.cipher.filter(|_| view.code.presence() != Presence::Unreadable).map(str::to_owned),
        printed_cipher: view.cipher.map(str::to_owned),
        databases,
        archives,
        backups: {
            let mut backups = Vec::with_capacity(view.backups().count());
            backups.extend(view.backups().filter_map(|raw| backup(raw, texts)));
            backups.shrink_to_fit();
            backups
        },
        progress,
        in_progress_since: progress.map(|_| read_at),
        settings: None,
        expiry: None,
        expiry_blocked: None,
        last_attempt: None,
        watched: None,
        wal: None,
        leftovers: None,
        restore_tests: None,
        verifications: None,
        archived_segments: 0,
    }
}

/// Keeps each text once. A backup is named by those that depend on it, too.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.0.insert(Arc::clone(&text));
        text
    }
}

/// pgBackRest looks for locks only if it could read the stanza in a repository; otherwise it prints that none is held.
fn activity(lock: Option<&info::LockState>, is_told: bool, read_at: DateTime<Utc>) -> Activity {
    match lock.map(|lock| (lock, lock.held)) {
        Some((lock, held @ Some(true))) => {
            Activity { held, since: Some(read_at), progress: progress(lock.size, lock.size_complete) }
        }
        Some((_, Some(false))) => Activity { held: is_told.then_some(false), ..Activity::default() },
        _ => Activity::default(),
    }
}

fn progress(total: Option<u64>, complete: Option<u64>) -> Option<Progress> {
    total.map(|total| Progress { total, complete: complete.unwrap_or(0) })
}

fn database(raw: &info::InfoDatabase<'_>) -> Database {
    Database { id: raw.id, system_id: raw.system_id, version: raw.version.to_string() }
}

fn archive(raw: &info::InfoArchive<'_>) -> Archive {
    let name = |name: &Option<info::Text<'_>>| {
        name.as_ref().filter(|name| !name.is_empty()).map(ToString::to_string)
    };
    Archive { database_id: raw.database.id, id: raw.id.to_string(), min: name(&raw.min), max: name(&raw.max) }
}

fn backup(raw: &info::InfoBackup<'_>, texts: &mut Texts) -> Option<Backup> {
    let span = raw.timestamp?;
    let segment = |name: &Option<info::Text<'_>>| name.as_ref().and_then(|name| WalSegment::parse(name));
    let lsn = |of: fn(&info::InfoRange<'_>) -> Option<Lsn>| raw.lsn.as_ref().and_then(of);
    Some(Backup {
        label: texts.shared(&raw.label),
        backup_type: raw.backup_type?,
        start: span.start,
        stop: span.stop,
        database_id: raw.database.id,
        backrest_version: texts.shared(&raw.backrest.version),
        wal_start: segment(&raw.archive.start),
        wal_stop: segment(&raw.archive.stop),
        lsn_start: lsn(|range| range.start.as_deref().and_then(Lsn::parse)),
        lsn_stop: lsn(|range| range.stop.as_deref().and_then(Lsn::parse)),
        size: raw.info.size.and_then(ByteCount::new),
        delta: raw.info.delta.and_then(ByteCount::new),
        repo_size: raw.info.repository.size.and_then(ByteCount::new),
        repo_delta: raw.info.repository.delta.and_then(ByteCount::new),
        repo_size_map: raw.info.repository.size_map.and_then(ByteCount::new),
        repo_delta_map: raw.info.repository.delta_map.and_then(ByteCount::new),
        prior: raw.prior.as_deref().map(|prior| texts.shared(prior)),
        references: raw.reference.0,
        error: raw.error,
        annotations: raw.annotation.as_ref().map_or(0, |all| count(all.len())),
        databases: raw.database_ref.as_ref().map(|all| count(all.len())),
    })
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

impl RepoState {
    /// The state for a status code of pgBackRest.
    #[must_use]
    pub const fn of_code(code: i64) -> Self {
        match code {
            0 => Self::Ok,
            1 => Self::MissingStanzaPath,
            2 => Self::NoValidBackups,
            3 => Self::MissingStanzaData,
            6 => Self::BackupNotFound,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::pgbackrest::info::view::UNNUMBERED_REPO;
    use crate::pgbackrest::label::BackupType;

    use super::*;

    fn read(text: &[u8], name: &str) -> Stanza {
        let cleaned = crate::pgbackrest::sanitize::clean(text);
        let document = info::parse(&cleaned.text).unwrap();
        stanza(document.stanza(name).unwrap(), DateTime::from_timestamp(1_800_000_000, 0).unwrap())
    }

    macro_rules! fixture {
        ($path:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/info/", $path))
        };
    }

    #[test]
    fn backups_wal_and_clusters_go_to_their_repo() {
        let demo = read(fixture!("2.60.0/timeline_switch.json"), "demo");
        let shape: Vec<_> = demo
            .repos
            .iter()
            .map(|repo| (repo.key, repo.backups.len(), repo.archives.len(), repo.databases.len()))
            .collect();
        assert_eq!(shape.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), [1, 2]);
        assert!(
            shape
                .iter()
                .all(|(_, backups, archives, databases)| *backups > 1 && (*archives, *databases) == (1, 1))
        );
        let newest = demo.repos[0].newest(BackupType::Incr).unwrap();
        assert_eq!(newest.references[0], 1);
        assert_eq!(&*newest.backrest_version, "2.60.0");
        assert!(Arc::ptr_eq(&newest.backrest_version, &demo.repos[1].backups[0].backrest_version));
    }

    #[test]
    fn a_repo_that_cannot_be_read_names_its_error_beside_a_good_one() {
        let demo = read(fixture!("2.60.0/two_repos_repo2_wrong_pass.json"), "demo");
        let states: Vec<_> = demo.repos.iter().map(|repo| (repo.state, repo.error)).collect();
        assert_eq!(states, [(RepoState::Ok, None), (RepoState::Other, Some("FormatError"))]);
        assert!(!demo.repos[0].backups.is_empty());
        assert_eq!(demo.status_code, 4);
    }

    #[test]
    fn a_repo_that_cannot_be_listed_is_a_stanza_of_its_own() {
        let invalid = read(fixture!("2.60.0/repo_permission_denied_no_stanza_option.json"), "[invalid]");
        assert_eq!((invalid.repos.len(), invalid.repos[0].error), (1, Some("PathOpenError")));
        assert_eq!(invalid.repos[0].current_database_id(), None);
    }

    #[test]
    fn an_upgraded_stanza_keeps_both_clusters_apart() {
        let demo = read(fixture!("2.45/stanza_upgraded_two_db_history.json"), "demo");
        let repo = &demo.repos[0];
        assert_eq!(repo.current_database_id(), Some(2));
        assert_eq!(repo.archives.iter().map(|archive| archive.database_id).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(repo.backups.iter().filter(|backup| backup.database_id == 2).count(), 1);
    }

    #[test]
    fn progress_is_reported_only_while_the_lock_is_held() {
        let running = read(fixture!("2.60.0/in_progress_sigstop.json"), "demo");
        assert!(running.backup_lock.held == Some(true) && running.backup_lock.progress.is_some());
        assert!(running.repos.iter().any(|repo| repo.progress.is_some() && repo.in_progress_since.is_some()));
        let before_sizes_were_told = read(fixture!("2.45/in_progress_sigstop.json"), "demo");
        assert_eq!(before_sizes_were_told.backup_lock.held, Some(true));
        assert_eq!(before_sizes_were_told.backup_lock.progress, None);
        let over = r#"[{"name":"demo","repo":[{"key":1}],"status":{"lock":{"backup":{"held":false,"size":9,
            "repo":[{"key":1,"size":9}]}}}}]"#;
        let over = read(over.as_bytes(), "demo");
        assert_eq!((over.backup_lock.progress, over.repos[0].progress), (None, None));
    }

    #[test]
    fn offline_backups_have_no_wal() {
        let demo = read(fixture!("2.45/offline_backup_null_wal.json"), "demo");
        let offline = demo.repos[0].backups.iter().filter(|backup| backup.wal_start.is_none());
        assert!(offline.clone().count() > 0);
        assert!(offline.clone().all(|backup| backup.wal_stop.is_none() && backup.lsn_start.is_none()));
    }

    #[test]
    fn the_only_repo_of_old_versions_gets_everything() {
        let old = r#"[{"name":"demo","cipher":"aes-256-cbc","status":{"code":2,"message":"no valid backups"},
            "db":[{"id":2,"system-id":7,"version":"13"},{"id":1,"system-id":6,"version":"12"}],
            "archive":[{"database":{"id":1},"id":"12-1","min":"no segment","max":""}],
            "backup":[{"label":"20200101-000000F","type":"full","database":{"id":1},"timestamp":{"start":1,"stop":2},
            "archive":{"start":"no segment","stop":null},"lsn":{"start":"0/X","stop":"1/2"}}]}]"#;
        let demo = read(old.as_bytes(), "demo");
        let repo = &demo.repos[0];
        assert_eq!((demo.repos.len(), repo.key, repo.state), (1, UNNUMBERED_REPO, RepoState::NoValidBackups));
        assert_eq!((repo.cipher.as_deref(), repo.current_database_id()), (Some("aes-256-cbc"), Some(2)));
        assert_eq!(
            (repo.archives[0].min.as_deref(), repo.archives[0].max.as_deref()),
            (Some("no segment"), None)
        );
        let backup = &repo.backups[0];
        assert_eq!((backup.wal_start, backup.lsn_start, backup.lsn_stop), (None, None, Lsn::parse("1/2")));
    }
}
