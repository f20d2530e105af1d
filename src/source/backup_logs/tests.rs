//! Real files: followed, rotated, cut, too large, and no files at all.

use std::fs::OpenOptions;
use std::io::Write as _;

use super::*;

struct Case {
    directory: tempfile::TempDir,
    followed: BTreeMap<Arc<str>, Followed>,
}

impl Case {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), followed: BTreeMap::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("demo-backup.log")
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn read_up_to(&mut self, budget: u64) -> Option<Arc<BackupLog>> {
        let paths = vec![(Arc::from("demo"), self.path())];
        let (followed, logs) = follow(paths, std::mem::take(&mut self.followed), budget);
        self.followed = followed;
        logs.logs.get("demo").cloned()
    }

    fn read(&mut self) -> Option<Arc<BackupLog>> {
        self.read_up_to(MAX_BYTES_OF_ALL)
    }

    /// Whether the last attempt that has ended failed.
    fn last(&mut self) -> Option<bool> {
        Some(self.read()?.ended(1, true)?.failure.is_some())
    }
}

fn line(text: &str) -> String {
    format!("{} P00   INFO: {text}\n", Utc::now().format("%Y-%m-%d %H:%M:%S%.3f"))
}

fn began() -> String {
    line("backup command begin 2.60.0: --repo=1 --stanza=demo")
}

fn completed() -> String {
    line("backup command end: completed successfully (0ms)")
}

fn aborted() -> String {
    line("backup command end: aborted with exception [055]")
}

#[test]
fn a_file_is_followed() {
    let mut case = Case::new();
    assert!(case.read().is_none(), "there is none");
    case.append(&began());
    assert_eq!(case.last(), None);
    let end = completed();
    case.append(&end[..30]);
    assert!(case.read().unwrap().is_any_running(), "half a line");
    case.append(&end[30..]);
    assert_eq!(case.last(), Some(false));
    let ended = case.read().unwrap().ended(1, true).unwrap().clone();
    let ages = [ended.began, ended.at].map(|at| (Utc::now() - at.unwrap()).num_seconds().abs());
    assert!(ages.iter().all(|age| *age < 60), "{ended:?}");
    case.append(&(began() + &aborted()));
    assert_eq!(case.last(), Some(true));
    // It was started again, and reads all of it.
    case.followed.clear();
    assert_eq!(case.last(), Some(true));
    // The end of a large file.
    case.append(&("x".repeat(100) + "\n").repeat(10_000));
    case.append(&(began() + &completed()));
    assert_eq!(case.last(), Some(false));
    // More than is read of it at once came after a beginning.
    case.append(&began());
    assert!(!case.read().unwrap().running(1).unwrap().may_have_ended);
    case.append(&("x".repeat(100) + "\n").repeat(10_000));
    assert!(case.read().unwrap().running(1).unwrap().may_have_ended);
}

#[test]
fn rotation_loses_nothing_that_was_read() {
    let mut case = Case::new();
    case.append(&(began() + &aborted()));
    assert_eq!(case.last(), Some(true));
    fs::rename(case.path(), case.directory.path().join("demo-backup.log.gz")).unwrap();
    assert_eq!(case.last(), Some(true), "no other was made since");
    case.append(&began());
    assert!(case.read().unwrap().is_any_running());
    // It goes on under the name of its file.
    let rotated = case.directory.path().join("demo-backup.log.1");
    fs::rename(case.path(), &rotated).unwrap();
    fs::write(&rotated, fs::read_to_string(&rotated).unwrap() + &completed()).unwrap();
    case.append(&began());
    assert_eq!(case.last(), Some(false));
    // The file was copied and cut, and so the end of this one may have been.
    fs::write(case.path(), "").unwrap();
    assert!(case.read().unwrap().running(1).unwrap().may_have_ended);
    case.append(&aborted());
    assert_eq!(case.last(), Some(true));
}

#[test]
fn what_is_no_file_or_too_much_is_not_read() {
    let mut case = Case::new();
    let made = std::process::Command::new("mkfifo").arg(case.path()).status().unwrap();
    assert!(made.success() && case.read().is_none(), "nobody writes to it");
    fs::remove_file(case.path()).unwrap();
    fs::create_dir(case.path()).unwrap();
    assert!(case.read().is_none());
    fs::remove_dir(case.path()).unwrap();
    case.append(&(began() + &aborted()));
    assert!(case.read_up_to(10).is_none(), "there are too many others");
    assert_eq!(case.last(), Some(true));
}
