//! A record of a verification as the termination message of a pod.

use crate::text;

use super::super::proofs::message;
use super::Verification;

/// Characters of a path, if there is not enough space for all.
const SHORT: usize = 80;

impl Verification {
    /// The record in at most [`message::MAX_MESSAGE`] bytes. Left out are files, then archives, and then backups, except for the first
    /// ones.
    pub fn message(&self) -> serde_json::Result<String> {
        message::fitted(
            self,
            &[
                |record| keep(record, 20, 50, 50),
                |record| keep(record, 5, 4, 15),
                |record| keep(record, 1, 1, 5),
                |record| keep(record, 1, 1, 1),
            ],
        )
    }
}

fn keep(record: &mut Verification, files: usize, archives: usize, backups: usize) {
    record.more_faults += record.files.len().saturating_sub(files) as u64;
    record.files.truncate(files);
    for file in &mut record.files {
        file.path = text::one_line(&file.path, SHORT);
    }
    record.archives.truncate(archives);
    record.backups.truncate(backups);
}

#[cfg(test)]
mod tests {
    use super::super::super::examples::{day, verification};
    use super::super::super::proofs::{MAX_TEXT, Outcome, Record as _, Source};
    use super::super::{ArchiveResult, Files, MAX_ARCHIVES, MAX_BACKUPS, MAX_FILES};
    use super::*;

    #[test]
    fn a_usual_record_is_whole() {
        for outcome in Outcome::ALL {
            let record = verification(day(1), outcome);
            let message = record.message().unwrap();
            assert!(message.len() <= message::MAX_MESSAGE && !message.contains('\n'), "{message}");
            assert_eq!(Verification::parse(message.as_bytes()), Ok(record));
        }
    }

    #[test]
    fn the_longest_record_fits_and_tells_how_much_is_left_out() {
        let mut record = verification(day(1), Outcome::Failed);
        let most = u64::MAX / 2;
        let files =
            Files { checked: most, valid: most, missing: most, checksum: most, size: most, other: most };
        record.source = Source::Cluster { namespace: "n".repeat(63), pg_cluster: "c".repeat(51) };
        record.files[0].path = "\u{fc}".repeat(MAX_TEXT);
        record.files = vec![record.files[0].clone(); MAX_FILES];
        record.backups[0].files = files;
        record.backups = vec![record.backups[0].clone(); MAX_BACKUPS];
        record.archives =
            vec![
                ArchiveResult { id: "15-1".to_owned(), files, duplicates: most, gaps: Some(most) };
                MAX_ARCHIVES
            ];
        record.reason.as_mut().unwrap().message = "\u{fc}".repeat(MAX_TEXT);
        let faults = record.files.len() as u64 + record.more_faults;
        let message = record.message().unwrap();
        assert!(message.len() <= message::MAX_MESSAGE, "{}", message.len());
        let read = Verification::parse(message.as_bytes()).unwrap();
        assert!(!read.files.is_empty() && !read.backups.is_empty() && !read.archives.is_empty());
        assert_eq!(read.files.len() as u64 + read.more_faults, faults);
        assert_eq!((read.totals, read.reason), (record.totals, record.reason));
    }
}
