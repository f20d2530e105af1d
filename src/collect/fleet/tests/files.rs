//! Files in pods: an archiver that waits, stop files, and containers that cannot tell.

use super::*;
use crate::cluster::references::References;
use crate::cluster::validate;
use crate::pgbackrest::conf::{Archiving, Conf};
use crate::pgbackrest::exit_code::Reason;
use crate::source::pod::Ran;
use crate::source::pod_files::FilePaths;
use crate::state::archiver::Archiver;
use crate::state::snapshot::{StopFile, StopScope};

/// Archived, as `info` says in [`document`].
const HELD: &str = "000000010000000000000003";
const NEXT: &str = "000000010000000000000004";
const STATUS: &str = "4096 1767225600.0000000000 archive_status\n";
/// What they are told apart by.
const LIST: &str = "ledger-0*archive_status";
const CONTENTS: &str = "ledger-0*head";
const ON_REPO_HOST: &str = "ledger-host*stat";

fn subject_with_files() -> Subject {
    let lock = Some("/locks".into());
    let archiving = Archiving {
        pg_path: "/pg".to_owned(),
        spool_path: Some("/spool".to_owned()),
        queue_max: Some(1 << 30),
    };
    Subject {
        database_files: Some(FilePaths { lock: lock.clone(), archiving: Some(Ok(archiving)) }),
        repo_host_files: Some(FilePaths { lock, archiving: None }),
        ..subject()
    }
}

/// A command that did not find everything.
fn missed(stdout: impl Into<String>, stderr: &str) -> Ran {
    Ran { stderr: stderr.to_owned(), ..ran(1, stdout) }
}

fn absent(file: &str) -> String {
    format!("find: '{file}': No such file or directory\n")
}

/// Pods in which nothing waits and nothing is stopped.
fn calm() -> (FakePods<'static>, Case) {
    let fakes = pods_of(&["ledger"]);
    fakes.when(LIST, [missed(STATUS, &absent("/spool/archive/db/out"))]);
    fakes.when(ON_REPO_HOST, [missed("", &absent("/locks/db.stop"))]);
    let case = Case { subject: subject_with_files(), ..Case::new(&fakes) };
    (fakes, case)
}

fn archiver(snapshot: &Snapshot) -> &Archiver {
    &snapshot.archivers["db"]
}

/// What they are for, and the pod.
fn stop_files(snapshot: &Snapshot) -> Option<Vec<(StopScope, String)>> {
    let told = |file: &StopFile| (file.scope, file.pod.as_deref().unwrap().to_owned());
    Some(snapshot.stanza("db")?.stop_files.as_ref()?.iter().map(told).collect())
}

fn ready(files: &[&str]) -> String {
    let line = |file: &&str| format!("0 1767225600.5000000000 {file}.ready\n");
    files.iter().map(line).chain([STATUS.to_owned()]).collect()
}

/// As `find` prints it: the size, then the header of a cluster's segment.
fn segment(system_id: u64) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    header[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    header[24..32].copy_from_slice(&system_id.to_ne_bytes());
    header[32..36].copy_from_slice(&(16_u32 << 20).to_ne_bytes());
    [&b"16777216\n"[..], &header].concat()
}

fn contents(stdout: Vec<u8>) -> Does {
    Ran { code: 0, stdout: stdout.into(), stderr: String::new() }.into()
}

#[tokio::test]
async fn nothing_waits_and_nothing_is_stopped() {
    let (fakes, mut case) = calm();
    let snapshot = case.ask().await;
    let known = archiver(&snapshot);
    assert!(known.is_known() && known.waiting_files() == Some(0) && known.pushed_files == Some(0));
    assert_eq!((known.pod.as_deref(), known.queue_limit_bytes), (Some("ledger-0"), Some(1 << 30)));
    assert_eq!(stop_files(&snapshot), Some(vec![]));
    let asked = fakes.take_asked();
    let commands = |place: &str| {
        let of_place = asked.iter().filter(|asked| asked.place == place && asked.command[0] == "env");
        of_place.map(|asked| asked.command.join(" ")).collect::<Vec<_>>()
    };
    let signals = "/pg/standby.signal /pg/recovery.signal";
    assert_eq!(
        commands("ledger-0/postgres"),
        [format!(
            "env LC_ALL=C find -L /spool/archive/db/out /pg/pg_wal/archive_status {signals} /locks \
             -ignore_readdir_race -maxdepth 1 ( -type f ( -name *.ready -o -name *.ok -o -name *.error -o -name *.stop \
             -o -name *.signal ) -o -type d -name archive_status ) -printf %s %T@ %f\n"
        )]
    );
    assert_eq!(
        commands("ledger-host/pgbackrest"),
        ["env LC_ALL=C stat -L -c %A %s %Y %n /locks/db.stop /locks/all.stop"]
    );
    assert!(asked.iter().all(|asked| asked.command[0] != "sh"));
}

#[tokio::test]
async fn what_waits_is_told_and_why() {
    let (fakes, mut case) = calm();
    fakes.when(LIST, [ran(0, ready(&[HELD, NEXT]))]);
    fakes.when(CONTENTS, [contents(segment(7))]);
    let snapshot = case.ask().await;
    let known = archiver(&snapshot);
    assert_eq!((known.waiting_files(), known.queued_bytes()), (Some(2), Some(32 << 20)));
    assert_eq!(known.next().unwrap().since.unwrap().timestamp_millis(), 1_767_225_600_500);
    let rejected = known.rejected.as_ref().unwrap();
    assert_eq!((&*rejected.file, rejected.reason), (HELD, Reason::ArchiveDuplicate));
    fakes.when(LIST, [ran(0, ready(&[NEXT]))]);
    fakes.when(CONTENTS, [contents(segment(8))]);
    assert_eq!(archiver(&*case.ask().await).rejected.as_ref().unwrap().reason, Reason::Mismatch);
    // What the spool says.
    let spool = format!("{}9 1767225600 {HELD}.ok\n0 1767225600 {NEXT}.error\n", ready(&[NEXT]));
    let said = format!(
        "==> /spool/archive/db/out/{HELD}.ok <==\n0\ndropped WAL file '{HELD}' because archive queue exceeded 1GB\n\
         ==> /spool/archive/db/out/{NEXT}.error <==\n45\nWAL file '{NEXT}' already exists"
    );
    fakes.when(LIST, [ran(0, spool)]);
    fakes.when(CONTENTS, [contents([segment(7), said.into_bytes()].concat())]);
    let snapshot = case.ask().await;
    let known = archiver(&snapshot);
    assert_eq!(known.pushed_files, Some(1));
    assert_eq!(known.dropped.as_ref().unwrap().first, HELD);
    // A file that says so and cannot be read is not one that says nothing.
    fakes.when(CONTENTS, [missed("", "find: 'head': No such file or directory\n")]);
    let snapshot = case.ask().await;
    let known = archiver(&snapshot);
    assert_eq!(known.spool_problem.as_deref(), Some("pod ledger-0: find: 'head': No such file or directory"));
    assert_eq!((known.waiting_files(), known.queued_bytes(), known.pushed_files), (Some(1), None, None));
    assert!(known.dropped.is_some(), "until there is a newer backup");
}

#[tokio::test]
async fn a_standby_with_old_files_does_not_wait() {
    let (fakes, mut case) = calm();
    fakes.when(LIST, [ran(0, format!("{}0 1767225601.0 standby.signal\n", ready(&[NEXT])))]);
    fakes.when(CONTENTS, [contents(segment(7))]);
    let snapshot = case.ask().await;
    assert!(archiver(&snapshot).queue.as_ref().unwrap().is_idle);
    assert_eq!(archiver(&snapshot).waiting_files(), None);
}

#[tokio::test]
async fn stop_files_count_wherever_commands_run() {
    let (fakes, mut case) = calm();
    fakes.when(LIST, [ran(0, format!("{STATUS}0 1767225600.0 db.stop\n0 1767225600.0 other.stop\n"))]);
    let file = "-rw-r----- 0 1767225600 /locks/all.stop\ndrwxr-x--- 0 1767225600 /locks/db.stop\n";
    fakes.when(ON_REPO_HOST, [ran(0, file)]);
    let both = [(StopScope::Stanza, "ledger-0"), (StopScope::All, "ledger-host")];
    let both = both.map(|(scope, pod)| (scope, pod.to_owned())).to_vec();
    assert_eq!(stop_files(&*case.ask().await), Some(both.clone()));
    // One that is known counts whatever is known of the others; that there is none does not.
    fakes.when(ON_REPO_HOST, [missed("", "stat: cannot statx '/locks/db.stop': Permission denied\n")]);
    assert_eq!(stop_files(&*case.ask().await), Some(both[..1].to_vec()));
    fakes.when(LIST, [ran(0, STATUS)]);
    assert_eq!(stop_files(&*case.ask().await), None);
    fakes.when(ON_REPO_HOST, [ran(127, "")]);
    assert_eq!(stop_files(&*case.ask().await), None);
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown() {
    let (fakes, mut case) = calm();
    let no_find = Ran { stderr: "env: 'find': No such file or directory\n".to_owned(), ..ran(127, "") };
    let denied = "find: '/pg/pg_wal/archive_status': Permission denied\n";
    for (does, problem) in [
        (no_find.into(), "pod ledger-0: the image has no find"),
        (missed(STATUS, denied).into(), "archive_status': Permission denied"),
        (missed("", &absent("/pg/pg_wal/archive_status")).into(), "check pg1-path"),
        (not_started(), "container not found"),
        (Does::End(Err(NoEnd::TimedOut(Duration::from_secs(10)))), "was terminated after 10s"),
    ] {
        fakes.when(LIST, [does]);
        let snapshot = case.ask().await;
        let told = archiver(&snapshot).problem.as_deref().unwrap();
        assert!(told.contains(problem), "{told}");
        assert!(archiver(&snapshot).waiting_files().is_none());
        assert!(scope(&snapshot).up, "repositories are read all the same");
    }
    // No second command joins one that may still run.
    fakes.when(LIST, [lost()]);
    case.ask().await;
    fakes.take_asked();
    assert!(archiver(&*case.ask().await).problem.as_deref().unwrap().contains("may still be running"));
    assert_eq!(fakes.count("archive_status"), 0);
    // Without a primary.
    fakes.change("ledger-0", |pod| pod.ready = false);
    let snapshot = case.ask().await;
    assert_eq!(archiver(&snapshot).problem.as_deref(), Some("pod ledger-0 is not ready"));
    assert_eq!(stop_files(&snapshot), None);
}

#[tokio::test]
async fn paths_that_are_no_paths_reach_no_command() {
    let (fakes, mut case) = calm();
    let mut wrong = |change: fn(&mut Archiving)| {
        let paths = case.subject.database_files.as_mut().unwrap();
        paths.lock = Some("-delete".into());
        change(paths.archiving.as_mut().unwrap().as_mut().unwrap());
        case.subject.clone()
    };
    let subjects = [
        wrong(|archiving| archiving.pg_path = "-delete".to_owned()),
        wrong(|archiving| {
            (archiving.pg_path, archiving.spool_path) = ("/pg".to_owned(), Some("(".to_owned()));
        }),
    ];
    for subject in subjects {
        case.subject = subject;
        let snapshot = case.ask().await;
        assert!(archiver(&snapshot).problem.as_deref().unwrap().contains("absolute"));
        assert_eq!(stop_files(&snapshot), None);
    }
    case.subject.database_files.as_mut().unwrap().archiving = Some(Err("wrong".to_owned()));
    assert_eq!(archiver(&*case.ask().await).problem.as_deref(), Some("wrong"));
    assert_eq!(fakes.count("-delete") + fakes.count("ledger-0/postgres: env"), 0);
}

#[test]
fn paths_are_those_of_the_configuration() {
    let document = serde_json::json!({
        "apiVersion": "cpo.opensource.cybertec.at/v1", "kind": "postgresql",
        "metadata": {"name": "ledger", "namespace": "shop"},
        "spec": {
            "teamId": "till", "numberOfInstances": 1, "postgresql": {"version": "17"}, "volume": {"size": "1Gi"},
            "backup": {"pgbackrest": {
                "image": "registry.example/pgbackrest:2.58",
                "global": {"repo1-retention-full": "3", "archive-push-queue-max": "1GiB"},
                "configuration": {"secret": "vault"},
                "repos": [{"name": "repo1", "storage": "pvc", "volume": {"size": "5Gi"},
                    "schedule": {"full": "0 1 * * *"}}],
            }},
        },
    });
    let settings = Settings::default();
    let (cluster, findings) = validate::document(document, &References::default(), &settings);
    let cluster = cluster.unwrap_or_else(|| panic!("{findings:?}"));
    let of = |secret: &str| {
        let secret = Conf::parse(&[("vault.conf", secret)]).unwrap();
        let Subject { database_files, repo_host_files, .. } = Subject::of(&cluster, &settings, &secret);
        [database_files, repo_host_files].map(Option::unwrap)
    };
    let archiving = Archiving {
        pg_path: "/home/postgres/pgdata/pgroot/data".to_owned(),
        spool_path: Some("/home/postgres/pgdata/pgbackrest/spool-path".to_owned()),
        queue_max: Some(1 << 30),
    };
    let lock = |path: &str| Some(path.into());
    let [database, repo_host] = of("");
    assert_eq!(database, FilePaths { lock: lock("/tmp/pgbackrest"), archiving: Some(Ok(archiving.clone())) });
    assert_eq!(repo_host, FilePaths { lock: lock("/tmp/pgbackrest"), archiving: None });
    // The resource's Secret adds options.
    let [database, repo_host] =
        of("[global]\nlock-path=/locks\n[global:archive-push]\narchive-push-queue-max=2GiB\n");
    assert_eq!((&database.lock, &repo_host.lock), (&lock("/locks"), &lock("/locks")));
    assert_eq!(database.archiving.unwrap().unwrap().queue_max, Some(2 << 30));
    // pgBackRest takes no option twice.
    let [database, _] = of("[global]\narchive-push-queue-max=2GiB\n");
    assert!(database.archiving.unwrap().unwrap_err().contains("archive-push-queue-max"));
    assert_eq!(of("[global]\nlock-path=\n")[1].lock, None);
}
