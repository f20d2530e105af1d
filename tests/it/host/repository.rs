//! Directories and files of real repositories, plain and encrypted, as `repo-ls` and `repo-get` give them.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use pgbackrest_keeper::pgbackrest::command::{Program, RepoQuery};
use pgbackrest_keeper::pgbackrest::repository::{Entries, Kind, RepoPath};
use pgbackrest_keeper::source::environment::Environment;
use pgbackrest_keeper::source::pgbackrest::Client;
use pgbackrest_keeper::source::process::Limits;
use pgbackrest_keeper::state::snapshot::FailureReason;
use tokio_util::sync::CancellationToken;

use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::{Pgbackrest, skip};

const ARCHIVE: &str = "15-1";
const HISTORY: &str = "1\t0/3000110\tno recovery target specified\n";

#[tokio::test]
async fn the_installed_version_lists_and_reads_repositories() {
    check("the_installed_version_lists_and_reads_repositories", Pgbackrest::installed()).await;
}

#[tokio::test]
async fn the_newest_version_lists_and_reads_repositories() {
    check("the_newest_version_lists_and_reads_repositories", Pgbackrest::newest()).await;
}

async fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let site = match Site::new(pgbackrest) {
        Ok(site) => site,
        Err(missing) => return skip(test, missing),
    };
    let lab = Lab::start(&site, 16);
    let label = lab.back_up(1, "full");
    push_history(&lab);
    for repo in [1, 2] {
        let directory = site.path(&format!("repo{repo}/archive/{STANZA}/{ARCHIVE}"));
        let top = list(&lab, &query(repo, &[ARCHIVE])).await;
        assert_eq!(top["0000000100000000"].kind, Kind::Path);
        assert_eq!(top["00000002.history"].kind, Kind::File);

        let segments = list(&lab, &query(repo, &[ARCHIVE, "0000000100000000"])).await;
        let on_disk = directory.join("0000000100000000");
        let names: BTreeSet<_> = fs::read_dir(&on_disk)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(!names.is_empty());
        assert!(names.iter().eq(segments.keys()), "{names:?}: {segments:?}");
        for (name, entry) in &segments {
            let metadata = fs::metadata(on_disk.join(name)).unwrap();
            let changed = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(entry.size, Some(metadata.len()), "{name}");
            let seconds = entry.time.unwrap().timestamp();
            assert_eq!(seconds, i64::try_from(changed.as_secs()).unwrap(), "{name}");
        }

        let history = get(&lab, &query(repo, &[ARCHIVE, "00000002.history"])).await.unwrap();
        assert_eq!(String::from_utf8(history).unwrap(), HISTORY);
        let plain = fs::read(directory.join("00000002.history")).unwrap() == HISTORY.as_bytes();
        assert_eq!(plain, repo == 1, "the second repository is the encrypted one");
        assert_eq!(get(&lab, &query(repo, &[ARCHIVE, "00000003.history"])).await, Err(Some(55)));

        // pgBackRest itself does not tell a missing directory from an empty one.
        assert!(list(&lab, &query(repo, &["15-2"])).await.is_empty());
    }
    let path = RepoPath::backup(STANZA, &[]).unwrap();
    let backups = list(&lab, &RepoQuery { path, ..query(1, &[]) }).await;
    assert_eq!(backups[&label].kind, Kind::Path);

    let no_such_repo = client(&lab).repo_ls(&query(7, &[]), &CancellationToken::new()).await;
    let failure = no_such_repo.failure().unwrap();
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exit, Some(32)), "{failure:?}");
}

/// Archives a history as a server does after its promotion.
fn push_history(lab: &Lab<'_>) {
    let file = lab.site.write("postgres/data/pg_wal/00000002.history", HISTORY);
    lab.pgbackrest(&["archive-push", file.to_str().unwrap()]);
}

fn query(repo: u32, names: &[&str]) -> RepoQuery {
    RepoQuery { stanza: STANZA.to_owned(), repo, path: RepoPath::archive(STANZA, names).unwrap() }
}

fn client(lab: &Lab<'_>) -> Client {
    let program = Program {
        binary: lab.site.pgbackrest.program.clone(),
        config: Some(lab.both.clone()),
        config_include_path: None,
    };
    // The tests may run as root, which 2.60 refuses unless it is told.
    let name = "PGBACKREST_ALLOW_ROOT".to_owned();
    let environment = Environment::choose([(name.clone().into(), "y".into())], &[name]);
    Client::new(program, environment, Limits::with_timeout(Duration::from_mins(1)))
}

async fn list(lab: &Lab<'_>, query: &RepoQuery) -> Entries {
    client(lab).repo_ls(query, &CancellationToken::new()).await.answer.unwrap().unwrap()
}

/// The file, or the exit code of the failure.
async fn get(lab: &Lab<'_>, query: &RepoQuery) -> Result<Vec<u8>, Option<i32>> {
    let call = client(lab).repo_get(query, &CancellationToken::new()).await;
    call.answer.unwrap().map_err(|failure| failure.exit_code)
}
