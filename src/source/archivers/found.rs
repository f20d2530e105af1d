//! What the files say that were found in `archive_status` and in the spool, wherever they were read.

use chrono::{DateTime, Utc};

use crate::pgbackrest::spool::{self, SpoolFile};
use crate::pgbackrest::wal::WalSegment;
use crate::pgbackrest::wal_header::WalHeader;
use crate::state::archiver::{DroppedFiles, Next, PushError, Queue, Spool};

/// Bytes of a status file that are read.
pub(in crate::source) const MAX_CONTENT: u64 = 8 << 10;

/// The files that wait, of those that are listed.
#[derive(Debug, Default)]
pub(in crate::source) struct Waiting {
    files: u64,
    first: Option<String>,
    last: Option<String>,
    pub(in crate::source) is_truncated: bool,
}

/// What is known of single files.
#[derive(Debug, Default)]
pub(in crate::source) struct Details {
    /// Since when the first and the last file wait.
    pub(in crate::source) first_since: Option<DateTime<Utc>>,
    pub(in crate::source) last_since: Option<DateTime<Utc>>,
    /// Bytes of the first one.
    pub(in crate::source) file_bytes: Option<u64>,
    /// Its header, if it is a segment.
    pub(in crate::source) header: Option<WalHeader>,
    /// Since when this is a standby.
    pub(in crate::source) standby_since: Option<DateTime<Utc>>,
}

impl Waiting {
    /// A file in `archive_status`.
    pub(in crate::source) fn add(&mut self, name: &str) {
        let Some(file) = spool::waiting(name) else { return };
        self.files += 1;
        if self.last.as_deref().is_none_or(|last| file > last) {
            self.last = Some(file.to_owned());
        }
        // A history is archived before all segments, and soon gone: a segment is what others wait for.
        let goes_before = |known: &str| (!is_segment(file), file) < (!is_segment(known), known);
        if self.first.as_deref().is_none_or(goes_before) {
            self.first = Some(file.to_owned());
        }
    }

    /// The one that is archived next.
    pub(in crate::source) fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    pub(in crate::source) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    pub(in crate::source) fn into_queue(self, details: &Details) -> Queue {
        // What began to wait on a standby does so because archive_mode is always.
        let is_idle = details
            .standby_since
            .zip(details.last_since)
            .is_some_and(|(standby_since, last_since)| last_since < standby_since);
        let is_first_segment = self.first().is_some_and(is_segment);
        Queue {
            files: self.files,
            is_truncated: self.is_truncated,
            is_idle,
            file_bytes: details.file_bytes,
            system_id: details.header.filter(|_| is_first_segment).map(|header| header.system_id),
            next: self.first.map(|file| Next { file, since: details.first_since }),
        }
    }
}

fn is_segment(file: &str) -> bool {
    WalSegment::parse(file).is_some()
}

/// Adds a file of the spool. Its content counts if it says that the file was dropped, or why it could not be pushed.
pub(in crate::source) fn add_to(
    spool: &mut Spool,
    file: SpoolFile<'_>,
    at: DateTime<Utc>,
    content: Option<&str>,
) {
    match file {
        SpoolFile::Ok(file) => {
            spool.pushed_files = spool.pushed_files.map(|files| files + 1);
            if content.is_some_and(spool::is_drop) {
                add_dropped(&mut spool.dropped, file, at);
            }
        }
        SpoolFile::Error(file) => {
            let Some(error) = content.and_then(spool::error) else { return };
            let (file, class, message) = (file.map(str::to_owned), error.class, error.message);
            let before = spool.errors.partition_point(|known| known.file <= file);
            spool.errors.insert(before, PushError { file, class, message, seen_at: at });
        }
    }
}

fn add_dropped(dropped: &mut Option<DroppedFiles>, file: &str, at: DateTime<Utc>) {
    match dropped {
        None => *dropped = Some(DroppedFiles { first: file.to_owned(), first_at: at, last_at: at }),
        Some(known) => {
            if file < known.first.as_str() {
                file.clone_into(&mut known.first);
            }
            known.first_at = known.first_at.min(at);
            known.last_at = known.last_at.max(at);
        }
    }
}
