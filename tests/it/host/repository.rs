//! Directories and files of real repositories, plain and encrypted, from `repo-ls` and `repo-get`, and the output of `info`,
//! regardless of log and output settings in configuration and environment.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgbackrest_keeper::pgbackrest::command::{self, InfoQuery, Program, RepoQuery, UNWANTED_VARIABLES};
use pgbackrest_keeper::pgbackrest::repository::{Entries, EntryKind, RepoPath};
use pgbackrest_keeper::source::call;
use pgbackrest_keeper::source::environment::Environment;
use pgbackrest_keeper::source::local::Local;
use pgbackrest_keeper::source::process::Limits;
use pgbackrest_keeper::state::snapshot::{FailureReason, RepoState};
use tokio_util::sync::CancellationToken;

use crate::support::lab::{Lab, STANZA, Site};
use crate::support::machine::Pgbackrest;
use crate::support::process::{call, successful};

const ARCHIVE: &str = "15-1";
const LIMITS: Limits = Limits::with_timeout(Duration::from_mins(1));
const HISTORY: &str = "1\t0/3000110\tno recovery target specified\n";

#[tokio::test]
async fn the_installed_version_lists_and_reads_repositories() {
    check("the_installed_version_lists_and_reads_repositories", Pgbackrest::installed()).await;
}

#[tokio::test]
async fn a_version_in_between_lists_and_reads_repositories() {
    check("a_version_in_between_lists_and_reads_repositories", Pgbackrest::in_between()).await;
}

#[tokio::test]
async fn the_newest_version_lists_and_reads_repositories() {
    check("the_newest_version_lists_and_reads_repositories", Pgbackrest::newest()).await;
}

async fn check(test: &str, pgbackrest: Result<Pgbackrest, String>) {
    let Some(site) = Site::or_skip(test, pgbackrest) else { return };
    let lab = Lab::start(&site, 16);
    let label = lab.back_up(1, "full");
    push_history(&lab);
    for repo in [1, 2] {
        let directory = site.path(&format!("repo{repo}/archive/{STANZA}/{ARCHIVE}"));
        let top = list(&lab, &query(repo, &[ARCHIVE])).await;
        assert_eq!(top["0000000100000000"].kind, EntryKind::Path);
        assert_eq!(top["00000002.history"].kind, EntryKind::File);

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

        let inside = segments.into_iter().map(|(name, entry)| (format!("0000000100000000/{name}"), entry));
        assert_eq!(list_each(&lab, &query(repo, &[ARCHIVE])).await, top.into_iter().chain(inside).collect());

        let history = get(&lab, &query(repo, &[ARCHIVE, "00000002.history"])).await.unwrap();
        assert_eq!(String::from_utf8(history).unwrap(), HISTORY);
        let plain = fs::read(directory.join("00000002.history")).unwrap() == HISTORY.as_bytes();
        assert_eq!(plain, repo == 1, "the second repository is the encrypted one");
        assert_eq!(get(&lab, &query(repo, &[ARCHIVE, "00000003.history"])).await, Err(Some(55)));

        // pgBackRest itself does not tell a missing directory from an empty one.
        assert!(list(&lab, &query(repo, &["15-2"])).await.is_empty());
        assert!(list_each(&lab, &query(repo, &["15-2"])).await.is_empty());
    }
    let path = RepoPath::backup(STANZA, &[]).unwrap();
    let backups = list(&lab, &RepoQuery { path, ..query(1, &[]) }).await;
    assert_eq!(backups[&label].kind, EntryKind::Path);

    let no_such_repo = call::repo_ls(&local(&lab), &query(7, &[]), &LIMITS).await;
    let failure = no_such_repo.failure().unwrap();
    assert_eq!((failure.reason, failure.exit_code), (FailureReason::Exit, Some(32)), "{failure:?}");
    info_answers(&lab, &label).await;
    variables_of_a_pod_change_no_answer(&lab, &label);
}

/// For all stanzas and repositories, for one, and for one that nobody has.
async fn info_answers(lab: &Lab<'_>, label: &str) {
    let asked = async |stanza: Option<&str>, repo: Option<u32>| {
        let query = InfoQuery { stanza: stanza.map(str::to_owned), repo, set: None };
        let call = call::info(&local(lab), &query, &LIMITS).await;
        assert!(!call.sanitized, "{call:?}");
        call.answer.unwrap().unwrap().stanzas
    };
    for (stanza, repo, keys) in
        [(None, None, vec![1, 2]), (Some(STANZA), None, vec![1, 2]), (None, Some(2), vec![2])]
    {
        let stanzas = asked(stanza, repo).await;
        let [found] = stanzas.as_slice() else { panic!("{stanzas:?}") };
        assert_eq!(found.repos.iter().map(|repo| repo.key).collect::<Vec<_>>(), keys);
        let labels: Vec<_> = found.repos[0].backups.iter().map(|backup| &*backup.label).collect();
        assert_eq!(labels, if keys[0] == 1 { vec![label] } else { vec![] });
    }
    let nobody = asked(Some("nobody"), Some(1)).await;
    assert_eq!((&*nobody[0].name, nobody[0].repos[0].state), ("nobody", RepoState::MissingStanzaPath));
}

/// A command as it is run in a pod, where somebody has set each variable that would change its answer.
fn variables_of_a_pod_change_no_answer(lab: &Lab<'_>, label: &str) {
    let values = ["progress", "^nothing$", "y", "y", "y", "20200101-000000F", "incr"];
    let said = |command: &command::Command| {
        let words = command.in_pod();
        let mut running = call(lab.site.account.as_ref(), "env");
        running.env_clear().envs(UNWANTED_VARIABLES.iter().zip(values));
        running.args(UNWANTED_VARIABLES.map(|name| format!("--unset={name}")));
        running.arg(&lab.site.pgbackrest.program).args(&words[1..]);
        successful(running.arg(format!("--config={}", lab.both.display())))
    };
    let query = InfoQuery { stanza: Some(STANZA.to_owned()), repo: Some(1), set: None };
    let info = said(&command::info(&query));
    assert!(info.contains(label) && info.contains("\"repo\":[{"), "{info}");
    let listing = said(&command::repo_ls(&self::query(1, &[ARCHIVE])));
    assert!(listing.contains("00000002.history") && !listing.contains("0000000100000000/"), "{listing}");
    assert_eq!(said(&command::repo_get(&self::query(2, &[ARCHIVE, "00000002.history"]))), HISTORY);
}

/// Archives a history as a server does after its promotion.
fn push_history(lab: &Lab<'_>) {
    let file = lab.site.write("postgres/data/pg_wal/00000002.history", HISTORY);
    lab.pgbackrest(&["archive-push", file.to_str().unwrap()]);
}

fn query(repo: u32, names: &[&str]) -> RepoQuery {
    RepoQuery { stanza: STANZA.to_owned(), repo, path: RepoPath::archive(STANZA, names).unwrap() }
}

/// In front of a configuration and an environment that would fill both streams with logs, and with an option of a later
/// version, of which pgBackRest warns on stdout from 2.53 on.
fn local(lab: &Lab<'_>) -> Local {
    let mut config = lab.site.config().global("option-of-2-99", "y").global("output", "text");
    for stream in ["console", "file", "stderr"] {
        config = config.global(&format!("log-level-{stream}"), "debug");
    }
    let program = Program {
        binary: lab.site.pgbackrest.program.clone(),
        config: Some(lab.site.write("loud.conf", &config.text())),
        config_include_path: None,
    };
    // The tests may run as root, which 2.59 and later refuse unless it is told.
    let variables = [
        ("PGBACKREST_ALLOW_ROOT", "y"),
        ("PGBACKREST_LOG_LEVEL_CONSOLE", "trace"),
        ("PGBACKREST_LOG_LEVEL_STDERR", "trace"),
        ("PGBACKREST_OUTPUT", "text"),
        // As Kubernetes sets it for a Service named `pgbackrest`.
        ("PGBACKREST_SERVICE_HOST", "10.0.0.1"),
    ];
    let names = variables.map(|(name, _)| name.to_owned());
    let environment = Environment::choose(variables.map(|(name, value)| (name.into(), value.into())), &names);
    Local::new(program, environment, CancellationToken::new())
}

async fn list(lab: &Lab<'_>, query: &RepoQuery) -> Entries {
    call::repo_ls(&local(lab), query, &LIMITS).await.answer.unwrap().unwrap()
}

/// Everything below a directory, read while it is printed.
async fn list_each(lab: &Lab<'_>, query: &RepoQuery) -> Entries {
    let entries = Arc::new(Mutex::new(Entries::new()));
    let taken = Arc::clone(&entries);
    let take = move |name, entry| {
        taken.lock().unwrap().insert(name, entry);
    };
    call::repo_ls_each(&local(lab), query, &LIMITS, LIMITS.timeout, take).await.answer.unwrap().unwrap();
    std::mem::take(&mut *entries.lock().unwrap())
}

/// The file, or the exit code of the failure.
async fn get(lab: &Lab<'_>, query: &RepoQuery) -> Result<Vec<u8>, Option<i32>> {
    let call = call::repo_get(&local(lab), query, &LIMITS).await;
    call.answer.unwrap().map_err(|failure| failure.exit_code)
}
