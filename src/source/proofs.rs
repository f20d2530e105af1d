//! Reads records from the state directory, those of one kind at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::files::FileTask;
use crate::state::proofs::{Record, file};
use crate::state::records::{History, Records};

pub(in crate::source) mod listing;

use listing::{Listing, RepoFiles};
pub use listing::{StoredRecord, StoredRepo, UnreadableRecord};

/// Follows the records: they are read again only when a file is new, changed or gone.
#[derive(Debug)]
pub struct ProofFiles<H> {
    reading: FileTask,
    known: Known<H>,
}

/// The files that were read, and what they show.
#[derive(Debug)]
struct Known<H> {
    files: Arc<Vec<RepoFiles>>,
    records: Arc<Records<H>>,
}

/// The records of one kind in a state directory.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded<R> {
    /// Oldest first for each stanza and repository.
    pub records: BTreeMap<(String, u32), Vec<R>>,
    /// Files and directories that could not be read, and faults of chains.
    pub unreadable: Vec<UnreadableRecord>,
}

impl<R: Record> Recorded<R> {
    /// When the newest record of each repository of a stanza begins.
    pub fn last_start(&self, stanza: &str) -> impl Fn(u32) -> Option<DateTime<Utc>> {
        move |repo| {
            let records = self.records.get(&(stanza.to_owned(), repo))?;
            records.iter().map(Record::start).max()
        }
    }
}

impl<R> Default for Recorded<R> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), unreadable: Vec::new() }
    }
}

impl<H> Default for ProofFiles<H> {
    fn default() -> Self {
        Self { reading: FileTask::default(), known: Known::default() }
    }
}

impl<H> Default for Known<H> {
    fn default() -> Self {
        Self { files: Arc::default(), records: Arc::default() }
    }
}

impl<H> Clone for Known<H> {
    fn clone(&self) -> Self {
        Self { files: Arc::clone(&self.files), records: Arc::clone(&self.records) }
    }
}

impl<H: History + Send + Sync + 'static> ProofFiles<H> {
    /// What the records show. If the file system does not respond, what they showed before.
    pub async fn read(&mut self, state_directory: PathBuf) -> Arc<Records<H>> {
        let (known, directory) = (self.known.clone(), state_directory.clone());
        match self.reading.run(move || read_changes(&directory, known, Utc::now())).await {
            Ok(known) => {
                self.known = known;
                Arc::clone(&self.known.records)
            }
            Err(error) => {
                let mut records = (*self.known.records).clone();
                records.reject(format!("{}: {error}", state_directory.display()));
                Arc::new(records)
            }
        }
    }
}

/// The last records, with no deadline.
#[must_use]
pub fn read<R: Record>(state_directory: &Path) -> Recorded<R> {
    let mut records: BTreeMap<(String, u32), Vec<R>> = BTreeMap::new();
    let unreadable = visit_usable(Listing::of_last::<R>(state_directory), |record: R| {
        records.entry((record.stanza().to_owned(), record.repo())).or_default().push(record);
    });
    Recorded { records, unreadable }
}

/// All records as they are stored, with no deadline, one repository after the other. Returns what could not be listed.
pub fn read_stored<R: Record>(
    state_directory: &Path,
    visit: impl FnMut(StoredRepo<R>),
) -> Vec<UnreadableRecord> {
    Listing::of_all::<R>(state_directory).read(visit)
}

fn read_changes<H: History>(state_directory: &Path, known: Known<H>, now: DateTime<Utc>) -> Known<H> {
    let listing = Listing::of_last::<H::Record>(state_directory);
    // What could not be used may be usable now.
    if known.records.are_usable() && listing.unreadable.is_empty() && *known.files == listing.repos {
        return known;
    }
    let (mut records, files) = (Records::default(), Arc::new(listing.repos.clone()));
    for UnreadableRecord { path, why } in visit_usable(listing, |record| records.add(record, now)) {
        records.reject(format!("{}: {why}", path.display()));
    }
    Known { files, records: Arc::new(records) }
}

/// Visits the last records, as many as are kept, that can be read and that their chain does not contradict. Returns what else was found.
fn visit_usable<R: Record>(listing: Listing, mut visit: impl FnMut(R)) -> Vec<UnreadableRecord> {
    let mut unusable = Vec::new();
    let unlisted = listing.read(|repo: StoredRepo<R>| {
        unusable.extend(repo.faults());
        let contradicted: Vec<bool> =
            (0..repo.records.len()).map(|index| repo.is_contradicted(index)).collect();
        let mut records: Vec<_> = repo.records.into_iter().zip(contradicted).collect();
        // Anybody who can rename a file, or set the clock, decides about its name. Those without a number are older.
        records.sort_by_key(|(stored, _)| stored.sequence());
        let mut usable = Vec::new();
        for (StoredRecord { path, record, .. }, is_contradicted) in records {
            match record {
                Ok(record) if !is_contradicted => usable.push(record),
                Ok(_) => {}
                Err(why) => unusable.push(UnreadableRecord { path, why }),
            }
        }
        let more = usable.len().saturating_sub(file::KEPT);
        usable.into_iter().skip(more).for_each(&mut visit);
    });
    unusable.extend(unlisted);
    unusable
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::files::FileTaskError;
    use crate::source::proof_writer::ProofWriter;
    use crate::state::examples::{day, restore_test};
    use crate::state::proofs::{MAX_STORED, Outcome, RestoreTest};
    use crate::state::test_history::TestHistory;

    fn record(stanza: &str, repo: u32, start: DateTime<Utc>) -> String {
        let start = start.to_rfc3339();
        format!(
            r#"{{"format":1,"source":{{"kind":"host"}},"stanza":"{stanza}","repo":{repo},"versions":{{"keeper":"0.1.0"}},
               "start":"{start}","stop":"{start}","target":{{"kind":"latest"}},"outcome":"passed"}}"#
        )
    }

    #[test]
    fn the_last_records_are_read_and_what_is_no_record_is_reported() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read::<RestoreTest>(state.path()), Recorded::default());
        let start = |minute: i64| DateTime::from_timestamp(1_795_000_000 + 60 * minute, 0).unwrap();
        let write = |stanza: &str, repo: u32, name: &str, text: &str| {
            let directory = state.path().join(file::directory::<RestoreTest>(stanza, repo).unwrap());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(name), text).unwrap();
        };
        for minute in 0..102 {
            write("demo", 1, &file::name(start(minute)), &record("demo", 1, start(minute)));
        }
        write("demo", 1, "unfinished.new", "");
        write("other", 2, &file::name(start(0)), "{");
        write("other", 2, &file::name(start(1)), &record("demo", 2, start(1)));
        write("other", 2, &file::name(start(2)), &record("other", 2, start(2)));
        let recorded = read::<RestoreTest>(state.path());
        let starts = |stanza: &str, repo| -> Vec<_> {
            recorded.records[&(stanza.to_owned(), repo)].iter().map(|test| test.start).collect()
        };
        assert_eq!(starts("demo", 1), (52..102).map(start).collect::<Vec<_>>());
        assert_eq!(starts("other", 2), [start(2)]);
        let why: Vec<&str> = recorded.unreadable.iter().map(|record| &*record.why).collect();
        assert!(why[0].starts_with("it is not a record of a restore test: "), "{why:?}");
        let more = "there are more than 100 records, of which 50 are kept";
        assert_eq!(why[1..], ["it belongs to another stanza or repository", more]);
        // Who checks all of them sees the first ones as well.
        write("demo", 1, &file::name(start(-1)), "{");
        let mut count = 0;
        let unlisted = read_stored::<RestoreTest>(state.path(), |repo| count += repo.records.len());
        assert_eq!((count, unlisted), (103 + 3, vec![]));
    }

    fn write(state: &Path, name: &str, text: &str) {
        let directory = state.join(file::directory::<RestoreTest>("demo", 1).unwrap());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), text).unwrap();
    }

    #[tokio::test]
    async fn files_are_read_again_only_when_they_change() {
        let state = tempfile::tempdir().unwrap();
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        let mut files = ProofFiles::<TestHistory>::default();
        let before = files.read(state.path().to_owned()).await;
        assert_eq!(*before, Records::default());
        write(state.path(), &file::name(start), &record("demo", 1, start));
        let first = files.read(state.path().to_owned()).await;
        assert!(first.are_usable() && first != before);
        let again = files.read(state.path().to_owned()).await;
        assert!(Arc::ptr_eq(&first, &again));
        let next = start + chrono::TimeDelta::minutes(1);
        write(state.path(), &file::name(next), &record("demo", 1, next));
        let second = files.read(state.path().to_owned()).await;
        assert_ne!(second, first);
        fs::remove_dir_all(state.path().join(RestoreTest::DIRECTORY)).unwrap();
        assert_eq!(files.read(state.path().to_owned()).await, before);
    }

    #[tokio::test]
    async fn what_was_known_stays_while_the_file_system_does_not_respond() {
        let state = tempfile::tempdir().unwrap();
        let start = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
        write(state.path(), &file::name(start), &record("demo", 1, start));
        let mut files = ProofFiles::<TestHistory> {
            reading: FileTask::with_deadline(Duration::from_mins(1)),
            ..ProofFiles::<TestHistory>::default()
        };
        let known = files.read(state.path().to_owned()).await;
        let (end, hangs) = mpsc::channel::<()>();
        files.reading = FileTask::with_deadline(Duration::from_millis(1));
        let stuck = files.reading.run(move || hangs.recv().is_ok()).await;
        assert_eq!(stuck, Err(FileTaskError::NoResponse));
        let mut expected = (*known).clone();
        expected.reject(format!("{}: the file system does not respond; remount it", state.path().display()));
        for _ in 0..2 {
            assert_eq!(*files.read(state.path().to_owned()).await, expected);
        }
        drop(end);
        files.reading = FileTask::with_deadline(Duration::from_mins(1));
        assert_eq!(files.read(state.path().to_owned()).await, known);
    }

    #[test]
    fn records_are_in_the_order_of_their_numbers_whatever_their_files_are_named() {
        let state = tempfile::tempdir().unwrap();
        let writer = ProofWriter::<RestoreTest>::open(state.path(), "demo").unwrap();
        let write = |at, outcome| writer.write(&mut restore_test(day(at), outcome), None).unwrap().path;
        let history = || {
            let known = read_changes(state.path(), Known::<TestHistory>::default(), day(90));
            let history = known.records.of_repo("demo", 1).unwrap();
            let failures = history.consecutive_failures;
            (history.last.outcome, failures, known.records.health().unwrap().unusable)
        };
        let outcomes = || {
            let recorded = read::<RestoreTest>(state.path());
            recorded.records[&("demo".to_owned(), 1)].iter().map(|test| test.outcome).collect::<Vec<_>>()
        };
        let passed = write(1, Outcome::Passed);
        // The clock was set back.
        let failed = write(0, Outcome::Failed);
        assert_eq!(history(), (Outcome::Failed, 1, 0));
        assert_eq!(outcomes(), [Outcome::Passed, Outcome::Failed]);
        fs::remove_dir_all(passed.parent().unwrap()).unwrap();
        let [passed, failed_later] = [write(1, Outcome::Passed), write(2, Outcome::Failed)];
        assert_eq!(history(), (Outcome::Failed, 1, 0));
        // Their names are exchanged.
        let between = failed.with_file_name("between");
        fs::rename(&passed, &between).unwrap();
        fs::rename(&failed_later, &passed).unwrap();
        fs::rename(&between, &failed_later).unwrap();
        assert_eq!(history(), (Outcome::Failed, 1, 2));
        fs::rename(&passed, &between).unwrap();
        fs::rename(&failed_later, &passed).unwrap();
        fs::rename(&between, &failed_later).unwrap();
        // A copy of the one that passed under a newer name.
        fs::copy(&passed, passed.with_file_name(file::name(day(3)))).unwrap();
        assert_eq!(history(), (Outcome::Failed, 1, 1));
        assert_eq!(outcomes(), [Outcome::Passed, Outcome::Failed]);
    }

    #[test]
    fn a_copy_of_a_record_without_a_number_is_not_used() {
        let state = tempfile::tempdir().unwrap();
        let start = day(1);
        write(state.path(), &file::name(start), &record("demo", 1, start));
        write(state.path(), &file::name(day(5)), &record("demo", 1, start));
        let recorded = read::<RestoreTest>(state.path());
        assert_eq!(recorded.records[&("demo".to_owned(), 1)].len(), 1);
        assert!(recorded.unreadable[0].why.contains("renamed or changed"), "{:?}", recorded.unreadable);
    }

    #[test]
    fn what_is_no_record_costs_no_other() {
        let state = tempfile::tempdir().unwrap();
        let at = |minute: i64| DateTime::from_timestamp(1_795_000_000 + 60 * minute, 0).unwrap();
        write(state.path(), &file::name(at(1)), &record("demo", 1, at(1)));
        let directory = state.path().join(file::directory::<RestoreTest>("demo", 1).unwrap());
        let path = |minute| directory.join(file::name(at(minute)));
        nix::unistd::mkfifo(&path(2), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path(3)).unwrap();
        std::os::unix::fs::symlink(path(4), path(4)).unwrap();
        fs::create_dir(path(5)).unwrap();
        fs::write(path(6), vec![b' '; MAX_STORED + 1]).unwrap();
        fs::write(path(7), "[".repeat(100_000)).unwrap();
        fs::write(state.path().join(RestoreTest::DIRECTORY).join("notes.txt"), "").unwrap();
        let recorded = read::<RestoreTest>(state.path());
        assert_eq!(recorded.records[&("demo".to_owned(), 1)].len(), 1);
        let why: Vec<_> = recorded.unreadable.iter().map(|record| (&record.path, &*record.why)).collect();
        let expected = [
            (2, "not a regular file"),
            (3, "not a regular file"),
            (4, "symbolic links"),
            (5, "not a regular"),
            (6, "too large"),
            (7, "not a record"),
        ];
        assert_eq!(why.len(), expected.len(), "{why:?}");
        for ((found, why), (minute, text)) in why.into_iter().zip(expected) {
            assert!(*found == path(minute) && why.contains(text), "{minute}: {why}");
        }
        let known = read_changes(state.path(), Known::<TestHistory>::default(), at(100));
        assert!(!known.records.are_usable());
    }
}
