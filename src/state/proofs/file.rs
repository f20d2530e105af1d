//! Where records are in the state directory: `KIND/STANZA/repoN/START.json`, the last fifty of each kind and repository. KIND is
//! [`Record::DIRECTORY`], such as `restore-tests`.
//!
//! A file is written under another name and then renamed, so each file is a whole record, and a damaged one costs no other.

use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::record::Record;

/// Records that are kept of each kind, stanza and repository.
pub const KEPT: usize = 50;

/// The note of the newest record of a repository ([`Head`](crate::state::chain::Head)), beside the records.
pub const HEAD: &str = "head.json";

/// UTC to the millisecond, so that names sort by time.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";
const ENDING: &str = ".json";

/// The directory of the records of a repository, below the state directory; None for a stanza that is not the name of a single file.
#[must_use]
pub fn directory<R: Record>(stanza: &str, repo: u32) -> Option<PathBuf> {
    let mut parts = Path::new(stanza).components();
    let is_name =
        matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == stanza);
    (is_name && !stanza.contains('\0'))
        .then(|| Path::new(R::DIRECTORY).join(stanza).join(format!("repo{repo}")))
}

/// The name of the file of what started then.
#[must_use]
pub fn name(start: DateTime<Utc>) -> String {
    format!("{}{ENDING}", start.format(TIME))
}

/// When that of this file started; None if the file is not a record.
#[must_use]
pub fn start(name: &str) -> Option<DateTime<Utc>> {
    let start = NaiveDateTime::parse_from_str(name.strip_suffix(ENDING)?, TIME).ok()?.and_utc();
    (self::name(start) == name).then_some(start)
}

/// Names for what started at the same time, which is so only after the clock was set back.
const OF_SAME_TIME: i64 = 1000;

/// The names for the file of what started then: of these, the first that is free is taken.
pub fn names(start: DateTime<Utc>) -> impl Iterator<Item = String> {
    (0..OF_SAME_TIME).map(move |milliseconds| name(start + TimeDelta::milliseconds(milliseconds)))
}

/// Whether this is one of the [`names`] for what started then.
#[must_use]
pub fn is_of(name: &str, start: DateTime<Utc>) -> bool {
    let first = self::start(&self::name(start)).unwrap_or(start);
    self::start(name).is_some_and(|named| (0..OF_SAME_TIME).contains(&(named - first).num_milliseconds()))
}

/// The number of the repository of a directory.
#[must_use]
pub fn repo(directory: &str) -> Option<u32> {
    let number = directory.strip_prefix("repo")?;
    number.parse().ok().filter(|repo: &u32| repo.to_string() == number)
}

/// Which of the records of a repository are no longer kept, given the names of all, and their numbers if they have any.
#[must_use]
pub fn outdated(mut records: Vec<(Option<u64>, String)>) -> Vec<String> {
    // After the clock was set back, the names of newer records may be smaller.
    records.sort_unstable();
    records.truncate(records.len().saturating_sub(KEPT));
    records.into_iter().map(|(_, name)| name).collect()
}
