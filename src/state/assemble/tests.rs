//! Facts from whole documents, and from what is taken out of them while they are printed.

use std::fs;
use std::path::Path;

use crate::pgbackrest::info::view::UNNUMBERED_REPO;
use crate::pgbackrest::label::BackupType;
use crate::pgbackrest::sanitize;
use crate::pgbackrest::wal::Lsn;

use super::*;

fn read(text: &[u8], name: &str) -> Stanza {
    let cleaned = sanitize::clean(text);
    let document = info::parse(&cleaned.text).unwrap();
    stanza(document.stanza(name).unwrap(), read_at())
}

fn read_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

/// All stanzas, and what cannot be read; none if it is no document. Read as a whole, or `step` bytes at a time.
fn read_all(text: &[u8], step: Option<usize>) -> Option<(Vec<Stanza>, Vec<Unreadable>)> {
    let (mut reader, mut rest) = (InfoReader::default(), Vec::new());
    match step {
        None => rest.extend(text),
        Some(step) => {
            for piece in text.chunks(step) {
                rest.extend(piece);
                reader.read(&mut rest);
            }
        }
    }
    let cleaned = sanitize::clean(&rest);
    let document = info::parse_rest(&cleaned.text, |place| reader.taken(place)).ok()?;
    let mut unreadable = document.unreadable.clone();
    let stanzas: Vec<Stanza> =
        document.stanzas().map(|view| reader.stanza(view, read_at(), &mut unreadable)).collect();
    unreadable.sort_by_key(ToString::to_string);
    Some((stanzas, unreadable))
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

#[test]
fn a_document_means_the_same_however_it_arrives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/info");
    let mut read = 0;
    for version in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for file in fs::read_dir(version).unwrap().map(|entry| entry.unwrap().path()) {
            let text = fs::read(&file).unwrap();
            let whole = read_all(&text, None);
            for step in [1000, 1 << 16] {
                assert_eq!(read_all(&text, Some(step)), whole, "{}", file.display());
            }
            read += usize::from(whole.is_some());
        }
    }
    assert!(read > 100, "{read}");
}

/// A document with these backups of `repo`.
fn with_backups(backups: &[String]) -> Vec<u8> {
    format!(r#"[{{"name":"db","repo":[{{"key":1}},{{"key":2}}],"backup":[{}]}}]"#, backups.join(","))
        .into_bytes()
}

fn printed(label: &str, repo: u32, more: &str) -> String {
    format!(
        r#"{{"label":"{label}","type":"full","timestamp":{{"start":0,"stop":1}},"database":{{"id":1,"repo-key":{repo}}}{more}}}"#
    )
}

fn labels(stanza: &Stanza) -> Vec<Vec<&str>> {
    stanza.repos.iter().map(|repo| repo.backups.iter().map(|backup| &*backup.label).collect()).collect()
}

#[test]
fn backups_that_must_be_repaired_keep_their_place() {
    let backups = [
        printed("a", 1, ""),
        printed("b", 1, ",\"annotation\":{\"x\":\"\u{1}\"}"),
        printed("b", 2, ""),
        printed("c", 1, ""),
    ];
    let text = with_backups(&backups);
    for step in [None, Some(10), Some(10_000)] {
        let (stanzas, unreadable) = read_all(&text, step).unwrap();
        assert_eq!(labels(&stanzas[0]), [vec!["a", "b", "c"], vec!["b"]], "{step:?}");
        assert_eq!(unreadable, []);
    }
}

#[test]
fn a_label_that_is_printed_twice_counts_once_and_is_reported() {
    let backups = ["a", "b", "a", "c"].map(|label| printed(label, 1, ""));
    let without_type = printed("d", 1, "").replace("full", "other");
    let text = with_backups(&[&backups[..], &[without_type]].concat());
    for step in [None, Some(10_000)] {
        let (stanzas, unreadable) = read_all(&text, step).unwrap();
        assert_eq!(labels(&stanzas[0]), [vec!["a", "b", "c"], vec![]], "{step:?}");
        assert_eq!(unreadable, ["db/a", "db/d"].map(|name| Unreadable::Backup(name.to_owned())));
    }
}

#[test]
fn what_is_taken_is_weighed() {
    let weight = |count: usize| {
        let backups: Vec<String> =
            (0..count).map(|number| printed(&format!("label-{number}"), 1, "")).collect();
        let (mut reader, mut text) = (InfoReader::default(), with_backups(&backups));
        let weight = reader.read(&mut text);
        assert!(text.len() < 100 + 5 * count, "only what stands for them is left");
        weight
    };
    assert_eq!(weight(0), 0);
    let (few, many) = (weight(100), weight(1100));
    assert!((many - few) / 1000 >= size_of::<Backup>() as u64, "{few} {many}");
}

#[test]
fn the_first_of_two_with_the_same_label_decides_however_they_arrive() {
    let (usable, other) = (printed("a", 1, ""), printed("a", 1, "").replace("full", "other"));
    let unclean = printed("a", 1, ",\"error\":true,\"annotation\":{\"x\":\"\u{1}\"}");
    for backups in [[&other, &usable], [&usable, &other], [&unclean, &usable], [&usable, &unclean]] {
        let text = with_backups(&backups.map(Clone::clone));
        let whole = read_all(&text, None).unwrap();
        for step in [7, 10_000] {
            assert_eq!(read_all(&text, Some(step)).unwrap(), whole, "{backups:?}");
        }
    }
}
