//! Snapshots for the status page: real documents of pgBackRest, and constructed ones for large or malicious input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use pgbackrest_keeper::http::page::{self, PageContext};
use pgbackrest_keeper::pgbackrest::label::BackupType;
use pgbackrest_keeper::pgbackrest::sanitize;
use pgbackrest_keeper::pgbackrest::{info, version};
use pgbackrest_keeper::state::assemble;
use pgbackrest_keeper::state::snapshot::{
    Backup, ByteCount, Collection, Failure, FailureReason, RepoSettings, RepoState, Retention, ScopeHealth,
    ScopeKind, Snapshot, Stanza,
};

/// Text that breaks out of HTML, attributes, terminals and reading order.
pub(crate) const HOSTILE: &str = "</pre><script>alert(1)</script>\"' onclick=\"x\" style=\"y\" \u{1b}[31m\u{7}\u{202e}gnp.\u{2066}a http://evil.example/";

/// A moment shortly after the fixtures were made.
pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-22T13:10:10Z".parse().unwrap()
}

pub(crate) fn context() -> PageContext<'static> {
    PageContext {
        title: "db1.example",
        metrics_path: "/metrics",
        interval: Duration::from_mins(10),
        collects: true,
        version: "0.1.0",
        stanza: None,
    }
}

pub(crate) fn render(snapshot: &Snapshot) -> String {
    page::render(snapshot, &context(), now())
}

/// The file of that name in the directory that `STATUS_PAGE_DIR` names: whoever works on the page wants to look at it.
pub(crate) fn kept(name: &str) -> Option<PathBuf> {
    std::env::var_os("STATUS_PAGE_DIR").map(|dir| Path::new(&dir).join(name))
}

/// The snapshot that a saved output of pgBackRest 2.60 leads to.
pub(crate) fn fixture(case: &str) -> Snapshot {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/info/2.60.0/{case}.json"));
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let cleaned = sanitize::clean(&bytes);
    let read_at = now() - TimeDelta::seconds(42);
    let document = info::parse(&cleaned.text).unwrap();
    let stanzas = document.stanzas().map(|stanza| assemble::stanza(stanza, read_at)).collect();
    with_collection(stanzas)
}

/// A healthy collection of these stanzas.
pub(crate) fn with_collection(stanzas: Vec<Stanza>) -> Snapshot {
    let at = now() - TimeDelta::seconds(42);
    let mut scopes = BTreeMap::from([(Arc::from("all-stanzas"), answered(ScopeKind::Call, at))]);
    for stanza in &stanzas {
        scopes.insert(Arc::clone(&stanza.name), answered(ScopeKind::Stanza, at));
    }
    Snapshot {
        stanzas,
        collection: Collection { scopes, ..Collection::default() },
        version: version::parse("pgBackRest 2.60.0"),
        ..Snapshot::default()
    }
}

fn answered(kind: ScopeKind, at: DateTime<Utc>) -> ScopeHealth {
    ScopeHealth { kind, up: true, last_run: at, last_success: Some(at), failure: None }
}

/// A scope that has not answered for three hours.
pub(crate) fn failed(kind: ScopeKind) -> ScopeHealth {
    ScopeHealth {
        kind,
        up: false,
        last_run: now() - TimeDelta::seconds(42),
        last_success: Some(now() - TimeDelta::hours(3)),
        failure: Some(Failure {
            reason: FailureReason::Timeout,
            exit_code: None,
            message: "no answer within 60 s: is the repository host reachable?".to_owned(),
        }),
    }
}

/// Two repositories over five weeks: a full backup each week, a differential each day, an incremental every six hours.
pub(crate) fn five_weeks() -> Snapshot {
    let mut snapshot = fixture("two_repos_one_encrypted");
    let storages = [("posix", Retention::Count(4)), ("s3", Retention::Days(30))];
    for (repo, (storage, retention)) in snapshot.stanzas[0].repos.iter_mut().zip(storages) {
        let last = now() - TimeDelta::minutes(192);
        let model = repo.backups[0].clone();
        let start = 140 - 20 * usize::try_from(repo.key).unwrap();
        repo.backups = (0..start).rev().map(|back| rotated(&model, back, start, last)).collect();
        repo.settings = Some(RepoSettings {
            storage: Some(storage.to_owned()),
            retention_full: Some(retention),
            retention_diff: Some(7),
            credentials: vec![],
            ..RepoSettings::default()
        });
    }
    snapshot
}

fn rotated(model: &Backup, back: usize, oldest: usize, last: DateTime<Utc>) -> Backup {
    let number = oldest - 1 - back;
    let (backup_type, minutes, share) = match number {
        _ if number.is_multiple_of(28) => (BackupType::Full, 47, 1),
        _ if number.is_multiple_of(4) => (BackupType::Diff, 9, 12),
        _ => (BackupType::Incr, 2, 60),
    };
    let start = last - TimeDelta::hours(6 * i64::try_from(back).unwrap());
    let size = 214_748_364_800 + 104_857_600 * u64::try_from(number).unwrap();
    let letter = match backup_type {
        BackupType::Full => "F",
        BackupType::Diff => "D",
        BackupType::Incr => "I",
    };
    Backup {
        label: format!("{}{letter}", start.format("%Y%m%d-%H%M%S")).into(),
        backup_type,
        start,
        stop: start + TimeDelta::minutes(minutes),
        size: ByteCount::new(size),
        delta: ByteCount::new(size / share),
        repo_delta: ByteCount::new(size / share / 4),
        ..model.clone()
    }
}

/// As [`five_weeks`], with a second repository that has not answered for three hours.
pub(crate) fn second_repo_hangs() -> Snapshot {
    let mut snapshot = five_weeks();
    let stanza = &mut snapshot.stanzas[0];
    let hung = &mut stanza.repos[1];
    hung.state = RepoState::Timeout;
    hung.status_code = None;
    hung.status_message = String::from("no answer within 60 s");
    hung.collected_at = now() - TimeDelta::hours(3);
    let name = Arc::clone(&stanza.name);
    snapshot.collection.scopes.insert(name, failed(ScopeKind::Stanza));
    snapshot
}

/// As [`five_weeks`], with restore tests of the first repository.
pub(crate) fn restore_tests() -> Snapshot {
    let mut snapshot = five_weeks();
    crate::golden::snapshots::restore_tests::add(&mut snapshot, now());
    snapshot
}

/// As [`five_weeks`], with verifications of the first repository.
pub(crate) fn verifications() -> Snapshot {
    let mut snapshot = five_weeks();
    crate::golden::snapshots::verifications::add(&mut snapshot, now());
    snapshot
}

/// One stanza with 5,000 backups.
pub(crate) fn many_backups() -> Snapshot {
    let mut snapshot = five_weeks();
    for repo in &mut snapshot.stanzas[0].repos {
        let model = repo.backups[0].clone();
        repo.backups = (0..5_000)
            .rev()
            .map(|back| rotated(&model, back, 5_000, now() - TimeDelta::minutes(10)))
            .collect();
    }
    snapshot
}

/// `number` stanzas of two repositories: one failed, one with page checksum errors, the others well.
pub(crate) fn many_stanzas(number: usize) -> Snapshot {
    let model = five_weeks().stanzas.remove(0);
    let mut stanzas: Vec<Stanza> = (0..number)
        .map(|place| Stanza { name: Arc::from(format!("stanza-{place:04}")), ..model.clone() })
        .collect();
    let broken = fixture("azure_wrong_key").stanzas.remove(0);
    stanzas[number / 2].repos = broken.repos;
    stanzas[number / 3].repos[0].backups[3].error = Some(true);
    with_collection(stanzas)
}

/// pgBackRest answers nobody, and the facts have been dropped.
pub(crate) fn nothing_answers() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let mut root_refused = failed(ScopeKind::Call);
    root_refused.last_success = None;
    root_refused.failure = Some(Failure {
        reason: FailureReason::RootRefused,
        exit_code: Some(31),
        message: "run this program as the user that owns the backups, such as postgres".to_owned(),
    });
    snapshot.collection.scopes.insert(Arc::from("all-stanzas"), root_refused);
    snapshot
}

/// Every free text is as bad as it can be.
pub(crate) fn hostile() -> Snapshot {
    let mut snapshot = fixture("two_repos_one_encrypted");
    let stanza = &mut snapshot.stanzas[0];
    stanza.name = Arc::from(HOSTILE);
    stanza.status_message = String::from(HOSTILE);
    for repo in &mut stanza.repos {
        repo.state = RepoState::Other;
        repo.status_message = [HOSTILE; 40].join("\n");
        repo.cipher = Some(String::from(HOSTILE));
        for database in &mut repo.databases {
            database.version = String::from(HOSTILE);
        }
        for archive in &mut repo.archives {
            (archive.id, archive.min, archive.max) =
                (String::from(HOSTILE), Some(String::from(HOSTILE)), Some(String::from(HOSTILE)));
        }
        for backup in repo.backups.iter_mut() {
            backup.label = HOSTILE.into();
            backup.error = Some(true);
        }
        repo.settings =
            Some(RepoSettings { storage: Some(String::from(HOSTILE)), ..RepoSettings::default() });
    }
    let mut scope = failed(ScopeKind::Call);
    scope.failure.as_mut().unwrap().message = String::from(HOSTILE);
    snapshot.collection.scopes.insert(Arc::from(HOSTILE), scope.clone());
    scope.kind = ScopeKind::Stanza;
    snapshot.collection.scopes.insert(Arc::from(format!("{HOSTILE} gone")), scope);
    snapshot
}

/// Every case by name, for looking at.
pub(crate) fn all() -> Vec<(&'static str, Snapshot)> {
    let mut cases = vec![
        ("five-weeks", five_weeks()),
        ("second-repo-hangs", second_repo_hangs()),
        ("restore-tests", restore_tests()),
        ("verifications", verifications()),
        ("many-backups", many_backups()),
        ("many-stanzas", many_stanzas(200)),
        ("nothing-yet", Snapshot::default()),
        ("nothing-answers", nothing_answers()),
        ("no-stanza", with_collection(vec![])),
        ("hostile", hostile()),
    ];
    let real = [
        "two_repos_one_encrypted",
        "encrypted_repo_only",
        "page_checksum_error",
        "two_repos_repo2_unreachable_no_stanza_option",
        "in_progress_incr_with_earlier_backups",
        "timeline_switch",
        "azure_wrong_key",
    ];
    cases.extend(real.map(|case| (case, fixture(case))));
    cases
}
