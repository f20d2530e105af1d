//! Chooses in small example repositories.

use std::sync::Arc;

use chrono::Duration;

use super::*;
use crate::state::examples::{backup, day, listed, offline, repo as of_backups, stanza as of_repos};
use crate::state::faults;
use crate::state::snapshot::RepoState;

const FULL: &str = "20260102-000000F";
const NEXT: &str = "20260104-000000F";

fn both() -> Repo {
    of_backups(1, vec![backup(FULL, day(1), 3), backup(NEXT, day(3), 7)])
}

fn chosen(repo: &Repo, backup: &BackupWish, target: TargetWish) -> Result<Choice, ReasonClass> {
    let stanza = of_repos(vec![repo.clone()]);
    let mut draw = |limit: u64| limit / 2;
    choose(&stanza, repo, (backup, target), day(99), &mut draw).map_err(|stop| stop.class)
}

fn label(repo: &Repo, backup: &BackupWish, target: TargetWish) -> Result<String, ReasonClass> {
    chosen(repo, backup, target).map(|choice| choice.backup.label.to_string())
}

#[test]
fn a_backup_is_chosen() {
    let repo = both();
    for (wish, expected) in [
        (BackupWish::Latest, Ok(NEXT)),
        (BackupWish::Oldest, Ok(FULL)),
        (BackupWish::Random, Ok(NEXT)),
        (BackupWish::Label(FULL.to_owned()), Ok(FULL)),
        (BackupWish::Label("20200101-000000F".to_owned()), Err(ReasonClass::Configuration)),
    ] {
        let expected = expected.map(str::to_owned);
        assert_eq!(label(&repo, &wish, TargetWish::Latest), expected, "{wish:?}");
    }
    let without_wal = of_backups(1, vec![offline(FULL, day(1))]);
    assert_eq!(label(&without_wal, &BackupWish::Latest, TargetWish::Latest), Err(ReasonClass::NoBackup));
}

#[test]
fn the_end_that_was_proven_must_be_reached() {
    let proven = chosen(&listed(both(), 1..=9), &BackupWish::Latest, TargetWish::Latest).unwrap();
    assert_eq!(proven.archive.proven, Lsn::parse("0/A000000"));
    assert_eq!((proven.archive.timeline, proven.timeline), (Some(1), None));
    let unproven = chosen(&both(), &BackupWish::Latest, TargetWish::Latest).unwrap();
    assert_eq!(
        (unproven.archive.proven, unproven.archive.newest.map(|newest| newest.low)),
        (None, Some(0x20))
    );
    let immediate = chosen(&both(), &BackupWish::Latest, TargetWish::Immediate).unwrap();
    assert_eq!(immediate.timeline, Some(TargetTimeline::Current));
}

#[test]
fn the_timeline_is_named_if_postgresql_might_choose_another() {
    let mut repo = listed(both(), 1..=9);
    Arc::make_mut(repo.wal.as_mut().unwrap()).newest_history = Some(2);
    let choice = chosen(&repo, &BackupWish::Latest, TargetWish::Latest).unwrap();
    assert_eq!(choice.timeline, Some(TargetTimeline::Number(1)));
}

#[test]
fn a_point_in_time_needs_a_backup_before_it() {
    let repo = listed(both(), 1..=9);
    let at = |day_number| TargetWish::Time(day(day_number));
    assert_eq!(label(&repo, &BackupWish::Latest, at(5)), Ok(NEXT.to_owned()));
    assert_eq!(label(&repo, &BackupWish::Oldest, at(5)), Ok(FULL.to_owned()));
    assert_eq!(label(&repo, &BackupWish::Label(NEXT.to_owned()), at(2)), Err(ReasonClass::Configuration));
    for unreachable in [0, 50] {
        let reason = label(&repo, &BackupWish::Latest, at(unreachable));
        assert_eq!(reason, Err(ReasonClass::UnreachableTarget), "{unreachable}");
    }
}

#[test]
fn a_random_target_lies_in_the_proven_window() {
    let repo = listed(both(), 1..=9);
    let choice = chosen(&repo, &BackupWish::Latest, TargetWish::Random).unwrap();
    let time = choice.target.time.unwrap();
    assert!(day(1) < time && time < day(9) + Duration::seconds(1) && choice.target.random, "{choice:?}");
    let unproven = chosen(&both(), &BackupWish::Latest, TargetWish::Random);
    assert_eq!(unproven, Err(ReasonClass::UnreachableTarget));
}

#[test]
fn a_repository_that_cannot_be_read_has_its_reason() {
    let class = |state, error, cipher: &str| {
        let mut repo = both();
        (repo.state, repo.error, repo.printed_cipher) = (state, error, Some(cipher.to_owned()));
        faults::of_repo(&repo).unwrap().0
    };
    let aes = "aes-256-cbc";
    assert_eq!(class(RepoState::Other, Some("CryptoError"), aes), ReasonClass::WrongPassphrase);
    assert_eq!(class(RepoState::Other, Some("FormatError"), aes), ReasonClass::WrongPassphrase);
    assert_eq!(class(RepoState::Other, Some("FormatError"), "none"), ReasonClass::DamagedBackup);
    assert_eq!(class(RepoState::Other, Some("HostConnectError"), aes), ReasonClass::Repository);
    assert_eq!(class(RepoState::Timeout, None, "none"), ReasonClass::Repository);
    assert_eq!(class(RepoState::NoValidBackups, None, "none"), ReasonClass::NoBackup);
    assert_eq!(faults::of_repo(&both()), None);
}
