//! Health over made-up stanzas.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::examples::{backup, database, day, listed, repo, stanza};
use super::super::snapshot::{
    AttemptEvidence, AttemptFailure, BackupAttempt, BlockedExpiry, Collection, CredentialExpiry,
    CredentialKind, Evidence, OtherProgram, Progress, RepoSettings, Retention, StopFile, StopScope,
};
use super::*;
use crate::pgbackrest::exit_code::Reason;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::version::Product;

const FULL: &str = "20260101-000000F";
const NEXT: &str = "20260107-000000F";

fn good(key: u32) -> Repo {
    Repo { collected_at: day(0), ..repo(key, vec![backup(FULL, day(0), 1)]) }
}

fn in_state(key: u32, state: RepoState, message: &str) -> Repo {
    Repo { state, status_message: message.to_owned(), ..repo(key, vec![]) }
}

fn of(repos: Vec<Repo>) -> Assessment {
    of_stanza(&stanza(repos), None, day(1), None)
}

/// Health and the one finding's text.
fn only(repo: &Repo, fresh_for: Option<TimeDelta>) -> (Health, String) {
    let assessment = of_repo(repo, day(1), fresh_for);
    assert_eq!(assessment.findings.len(), 1, "{assessment:?}");
    assert_eq!(assessment.findings[0].repo_key, Some(repo.key));
    (assessment.health, assessment.findings[0].text.clone())
}

fn scope(kind: ScopeKind, up: bool) -> ScopeHealth {
    ScopeHealth { kind, up, last_run: day(1), last_success: Some(day(0)), failure: None }
}

#[test]
fn a_failed_attempt_is_a_warning() {
    let reported = |evidence, ended, failure| {
        let (backup_type, began) = (Some(BackupType::Diff), Some(day(0)));
        let last_attempt =
            Some(BackupAttempt { evidence, backup_type, began, ended, failure: Some(failure) });
        let (health, text) = only(&Repo { last_attempt, ..good(1) }, None);
        assert_eq!(health, Health::Warning);
        text
    };
    let failure = |exit_code, message: Option<&str>, reason| AttemptFailure {
        reason,
        exit_code,
        message: message.map(str::to_owned),
    };
    let ended = Some(day(1) - TimeDelta::hours(3));
    let database = failure(Some(56), Some("unable to find primary"), Some(Reason::Database));
    assert_eq!(
        reported(AttemptEvidence::Log, ended, database),
        "the last backup attempt (diff) failed 3 h ago with DbConnectError [056]: unable to find primary"
    );
    let killed = failure(None, None, Some(Reason::OomOrKill));
    assert_eq!(
        reported(AttemptEvidence::Log, None, killed),
        "the last backup attempt (diff), started 1 d ago, did not log its end: it was killed, or the host went down"
    );
    let text = reported(AttemptEvidence::Log, ended, failure(None, None, None));
    assert!(text.contains("does not show which of its errors"), "{text}");
    let text = reported(AttemptEvidence::Lock, ended, failure(None, None, None));
    assert!(
        text.starts_with("a backup was running until 2026-01-01 21:00:00 UTC, but there is no new backup"),
        "{text}"
    );
}

#[test]
fn verifications_that_do_not_pass_are_warnings() {
    use super::super::examples::verification;
    use super::super::proofs::Outcome;
    use super::super::records::Records;
    use super::super::verifications::judge_into;

    let told = |outcomes: &[Outcome]| {
        let mut records = Records::default();
        for (outcome, at) in outcomes.iter().zip(-20..) {
            records.add(verification(day(at), *outcome), day(1));
        }
        let mut snapshot = Snapshot { stanzas: vec![stanza(vec![good(1)])], ..Snapshot::default() };
        judge_into(&mut snapshot, &records);
        of_repo(&snapshot.stanzas[0].repos[0], day(1), None)
    };
    assert_eq!(told(&[Outcome::Failed, Outcome::Passed]).health, Health::Ok);
    assert_eq!(told(&[Outcome::Inconclusive, Outcome::TimedOut]).health, Health::Ok);
    let failed = told(&[Outcome::Failed]);
    assert_eq!(failed.health, Health::Warning);
    let why = "(damaged_backup): 1 of 1 backup has faults";
    assert_eq!(failed.findings[0].text, format!("a verification failed 21 d ago {why}"));
    let without = told(&[Outcome::Failed, Outcome::TimedOut, Outcome::TimedOut, Outcome::TimedOut]);
    let text = &without.findings[1].text;
    assert!(
        text.starts_with("the last 3 verifications had no result, the last one 18 d ago (deadline)"),
        "{text}"
    );
}

#[test]
fn restore_tests_that_do_not_pass_are_warnings() {
    use super::super::examples::restore_test;
    use super::super::proofs::Outcome;
    use super::super::records::Records;
    use super::super::restore_tests::judge_into;

    let told = |outcomes: &[Outcome]| {
        let mut records = Records::default();
        for (outcome, at) in outcomes.iter().zip(-20..) {
            records.add(restore_test(day(at), *outcome), day(1));
        }
        let mut snapshot = Snapshot { stanzas: vec![stanza(vec![good(1)])], ..Snapshot::default() };
        judge_into(&mut snapshot, &records);
        of_repo(&snapshot.stanzas[0].repos[0], day(1), None)
    };
    assert_eq!(told(&[Outcome::Failed, Outcome::Passed]).health, Health::Ok);
    assert_eq!(told(&[Outcome::Inconclusive, Outcome::TimedOut]).health, Health::Ok);
    let why = "with 20260101-000000F (missing_wal, replay): WAL segment 000000010000000000000003 is missing: check the archive";
    let failed = told(&[Outcome::Failed]);
    assert_eq!(failed.health, Health::Warning);
    assert_eq!(failed.findings[0].text, format!("a restore test failed 21 d ago {why}"));
    let both = told(&[
        Outcome::Failed,
        Outcome::Failed,
        Outcome::Inconclusive,
        Outcome::TimedOut,
        Outcome::TimedOut,
    ]);
    let texts: Vec<&str> = both.findings.iter().map(|finding| &*finding.text).collect();
    assert_eq!(texts[0], format!("2 restore tests failed in a row, the last one 20 d ago {why}"));
    assert!(
        texts[1].starts_with("the last 3 restore tests had no result, the last one 17 d ago with"),
        "{}",
        texts[1]
    );
    assert!(texts[1].contains("(deadline, replay)"), "{}", texts[1]);
}

#[test]
fn stop_files_are_warnings() {
    let reported = |scope, since, pod: Option<&str>| {
        let stop_files = Some(vec![StopFile { scope, since, pod: pod.map(Arc::from) }]);
        let stanza = Stanza { stop_files, ..stanza(vec![good(1)]) };
        let Assessment { health, findings } = of_stanza(&stanza, None, day(4), None);
        assert_eq!((health, findings.len()), (Health::Warning, 1), "{findings:?}");
        findings[0].text.clone()
    };
    let text = reported(StopScope::All, Some(day(1)), None);
    assert!(text.starts_with("pgbackrest stop was run for all stanzas 3 d ago"), "{text}");
    assert!(text.ends_with("fail until pgbackrest start is run"), "{text}");
    let text = reported(StopScope::Stanza, None, None);
    assert!(text.starts_with("pgbackrest stop was run for this stanza at an unknown time"), "{text}");
    assert!(text.ends_with("until pgbackrest --stanza=demo start is run"), "{text}");
    let text = reported(StopScope::All, Some(day(1)), Some("ledger-0"));
    assert!(text.contains(": in pod ledger-0 archive-push"), "{text}");
    assert!(text.ends_with("fail until pgbackrest start is run there"), "{text}");
    let none = Stanza { stop_files: Some(Vec::new()), ..stanza(vec![good(1)]) };
    assert_eq!(of_stanza(&none, None, day(4), None).health, Health::Ok);
}

#[test]
fn blocked_expiry_and_other_programs_are_warnings() {
    let by = "20260102-000000F".into();
    let blocked = Repo { expiry_blocked: Some(BlockedExpiry { by, since: day(3) }), ..good(1) };
    let (health, text) = only(&blocked, None);
    assert_eq!(health, Health::Warning);
    let expected = "since 2026-01-04 00:00:00 UTC: backup 20260102-000000F has page checksum errors";
    assert!(text.contains(expected), "{text}");

    for (product, evidence, expected) in [
        (Some(Product::Pgxbackup), Evidence::Lock, "pgxbackup locked the stanza in its own lock-path"),
        (None, Evidence::Backup, "Another program made a backup"),
    ] {
        let mut stanza = stanza(vec![good(1)]);
        stanza.other_program = Some(OtherProgram { product, evidence, seen_at: day(1) });
        let assessment = of_stanza(&stanza, None, day(1), None);
        let [finding] = &assessment.findings[..] else { panic!("{assessment:?}") };
        assert!(assessment.health == Health::Warning && finding.repo_key.is_none());
        assert!(finding.text.starts_with(expected), "{}", finding.text);
    }
}

#[test]
fn nothing_wrong_is_ok() {
    assert_eq!(of(vec![good(1), good(2)]), Assessment { health: Health::Ok, findings: vec![] });
}

#[test]
fn a_stanza_fails_only_where_no_repository_is_left() {
    let empty = || in_state(2, RepoState::NoValidBackups, "no valid backups");
    let one_left = of(vec![good(1), empty()]);
    assert_eq!((one_left.health, one_left.findings[0].health), (Health::Warning, Health::Failed));
    assert_eq!(of(vec![empty()]).health, Health::Failed);
    assert_eq!(of(vec![]).health, Health::Failed);
}

#[test]
fn every_state_has_a_sentence() {
    let table = [
        (RepoState::MissingStanzaPath, "stanza-create"),
        (RepoState::NoValidBackups, "take a full backup"),
        (RepoState::MissingStanzaData, "backup.info is missing"),
        (RepoState::BackupNotFound, "does not exist"),
    ];
    for (state, expected) in table {
        let (health, text) = only(&in_state(1, state, "as pgBackRest says"), None);
        assert!(health == Health::Failed && text.contains(expected), "{state:?}: {text}");
    }
    for state in [RepoState::Timeout, RepoState::Other] {
        assert_eq!(only(&in_state(1, state, "first:\nsecond"), None).1, "first");
        assert!(!only(&in_state(1, state, ""), None).1.is_empty());
    }
    let mut running = in_state(1, RepoState::NoValidBackups, "no valid backups");
    running.progress = Some(Progress { complete: 1, total: 2 });
    assert!(only(&running, None).1.contains("running"));
}

#[test]
fn facts_of_a_silent_repository_are_dated() {
    let silent = Repo { state: RepoState::Timeout, status_message: String::new(), ..good(1) };
    assert_eq!(
        only(&silent, Some(TimeDelta::hours(1))).1,
        "no response within the timeout; its last known state was read 1 d ago"
    );
}

#[test]
fn old_facts_are_a_warning() {
    assert_eq!(
        only(&good(1), Some(TimeDelta::hours(1))),
        (Health::Warning, "data is outdated: last read 1 d ago".to_owned())
    );
    assert_eq!(of_repo(&good(1), day(1), Some(TimeDelta::days(1))).health, Health::Ok);
}

#[test]
fn a_repository_without_a_usable_backup_fails() {
    assert_eq!(only(&repo(1, vec![]), None).1, "no backup exists here");
    let without_wal = Repo { archives: vec![], ..good(1) };
    assert!(only(&without_wal, None).1.contains("WAL"));
    let mut upgraded = good(1);
    upgraded.databases.push(database(2, 78));
    assert!(only(&upgraded, None).1.contains("PostgreSQL 15, database id 2"));
}

#[test]
fn page_checksum_errors_name_the_newest_backup() {
    let mut corrupt = good(1);
    corrupt.backups[0].error = Some(true);
    let (health, text) = only(&corrupt, None);
    assert_eq!(health, Health::Warning);
    assert!(text.contains("1 of 1 backup,") && text.contains(FULL), "{text}");
}

#[test]
fn unmet_retention_and_ending_credentials_are_warnings() {
    let with = |settings| Repo { settings: Some(settings), collected_at: day(900), ..good(1) };
    let kept = RepoSettings { retention_full: Some(Retention::Count(3)), ..RepoSettings::default() };
    let late = of_repo(&with(kept), day(900), None);
    assert_eq!(late.health, Health::Warning);
    assert!(late.findings[0].text.starts_with("retention requires 3 full backups, found 1"));
    let ending = |not_after| {
        let expiry = CredentialExpiry { kind: CredentialKind::TlsClient, not_after };
        with(RepoSettings { credentials: vec![expiry], ..RepoSettings::default() })
    };
    assert_eq!(only(&ending(day(4)), None).1, "the TLS client certificate expires in 3 d");
    assert!(only(&ending(day(0)), None).1.contains("expired at 2026-01-01"));
    assert_eq!(of_repo(&ending(day(90)), day(1), None).health, Health::Ok);
}

#[test]
fn different_clusters_are_a_warning_about_the_stanza() {
    let foreign = Repo { databases: vec![database(1, 99)], ..good(2) };
    let assessment = of(vec![good(1), foreign]);
    assert_eq!(assessment.health, Health::Warning);
    assert_eq!(assessment.findings[0].repo_key, None);
}

#[test]
fn the_worst_stanza_comes_first_and_lost_ones_are_named() {
    let named = |name: &str, repos| Stanza { name: Arc::from(name), ..stanza(repos) };
    let scopes = [
        ("all-stanzas", scope(ScopeKind::Call, true)),
        ("a", scope(ScopeKind::Stanza, true)),
        ("b", scope(ScopeKind::Stanza, false)),
        ("lost", scope(ScopeKind::Stanza, false)),
    ];
    let snapshot = Snapshot {
        stanzas: vec![named("a", vec![good(1)]), named("b", vec![good(1)]), named("z", vec![])],
        collection: Collection {
            scopes: scopes.into_iter().map(|(name, scope)| (Arc::from(name), scope)).collect(),
            ..Collection::default()
        },
        version: None,
        archivers: BTreeMap::new(),
    };
    let all = of_snapshot(&snapshot, day(1), None);
    let order: Vec<_> = all.iter().map(|one| (one.name, one.assessment.health)).collect();
    let expected =
        [("lost", Health::Failed), ("z", Health::Failed), ("b", Health::Warning), ("a", Health::Ok)];
    assert_eq!(order, expected);
    assert!(all[0].stanza.is_none() && all[0].assessment.findings[0].text.contains("last succeeded 1 d ago"));
    assert!(all[2].assessment.findings[0].text.contains("last success: 1 d ago"));
}

#[test]
fn what_a_listing_found_is_reported() {
    let made =
        || Repo { collected_at: day(900), ..repo(1, vec![backup(FULL, day(3), 3), backup(NEXT, day(6), 6)]) };
    let texts = |repo: Repo| -> Vec<String> {
        of_repo(&repo, day(900), None).findings.into_iter().map(|finding| finding.text).collect()
    };
    assert!(texts(listed(made(), 1..=9)).is_empty());
    let holed = texts(listed(made(), [1, 2, 3, 5, 6, 7, 9]));
    let expected = [
        "1 WAL segment is missing after the newest backup, nothing after 2026-01-08 00:00:00 UTC can be restored: take a full backup now",
        "1 WAL segment is missing between backups: not every point in time before 2026-01-07 00:00:00 UTC can be restored",
    ];
    assert_eq!(holed, expected);
    let inside = texts(listed(made(), [1, 2, 3, 4, 5, 7]));
    assert_eq!(inside, ["backups that cannot be restored: 1 without the WAL needed for consistency"]);
    let nothing = of_repo(&listed(made(), [1, 2, 4]), day(900), None);
    assert_eq!(nothing.health, Health::Failed);
    assert!(
        nothing.findings.iter().any(|finding| finding.text == "no backup can be restored"),
        "{nothing:?}"
    );
}

#[test]
fn problems_of_the_archiver_are_warnings() {
    use super::super::archiver::{Next, Observation, PushError, Queue, RepoArchive, Spool};

    let observed = |limit, since| Observation {
        at: day(2),
        pod: None,
        uptime: std::time::Duration::from_hours(1),
        queue_limit: limit,
        queue: Ok(Queue {
            files: 3,
            next: Some(Next { file: "00000001000000000000000A".to_owned(), since: Some(since) }),
            file_bytes: Some(16 << 20),
            ..Queue::default()
        }),
        spool: Ok(Spool::default()),
    };
    let reported = |observed: &Observation, repos: &[RepoArchive]| {
        let archiver = super::Archiver::of(observed, None, repos);
        let mut snapshot = Snapshot { stanzas: vec![stanza(vec![good(1)])], ..Snapshot::default() };
        snapshot.archivers.insert(Arc::from("demo"), archiver);
        let judged = of_snapshot(&snapshot, day(2), None).remove(0);
        let line = archiver_line(judged.archiver.unwrap(), day(2));
        let texts: Vec<String> = judged.assessment.findings.into_iter().map(|finding| finding.text).collect();
        (judged.assessment.health, texts.join("\n"), line)
    };
    let minutes = TimeDelta::minutes;
    let (health, text, line) = reported(&observed(None, day(2) - minutes(3)), &[]);
    assert_eq!((health, text.as_str()), (Health::Ok, ""));
    let expected =
        "3 WAL files are waiting to be archived, the first for 3 min (00000001000000000000000A), 48.0 MiB";
    assert_eq!(line, expected);

    let (health, text, _) = reported(&observed(None, day(2) - minutes(30)), &[]);
    let expected = "3 WAL files are waiting to be archived, the first for 30 min: archiving does not work";
    assert_eq!((health, text.as_str()), (Health::Warning, expected));

    let (_, text, line) = reported(&observed(Some(40 << 20), day(2)), &[]);
    assert_eq!(
        text,
        "48.0 MiB of at most 40.0 MiB are waiting to be archived: pgBackRest drops WAL (archive-push-queue-max)"
    );
    assert!(line.ends_with("48.0 MiB of at most 40.0 MiB"), "{line}");

    let mut failing = observed(None, day(2) - minutes(30));
    let message = "WAL file exists".to_owned();
    let error = PushError { file: None, class: "ArchiveMismatchError", message, seen_at: day(2) };
    failing.spool = Ok(Spool { errors: vec![error], ..Spool::default() });
    let (_, text, _) = reported(&failing, &[]);
    assert!(
        text.contains("has been rejected for 30 min: it belongs to another PostgreSQL cluster"),
        "{text}"
    );
    assert!(text.contains("archive-push failed for WAL: ArchiveMismatchError: WAL file exists"), "{text}");
    assert!(!text.contains("the first for"), "said once: {text}");

    failing.queue = Err("cannot read it".to_owned());
    let (health, text, line) = reported(&failing, &[]);
    assert_eq!((health, line.as_str()), (Health::Warning, "unknown"));
    assert_eq!(text, "The state of the archiver is unknown: cannot read it");
}
