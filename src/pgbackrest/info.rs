//! The document that `pgbackrest info --output=json` prints, for 2.2x to 2.60.
//!
//! Fields that a version leaves out or sets to null are optional, fields that we do not know are passed over, and a number
//! that is none is unknown. Strings borrow from the input where they can, because the reference lists of a long chain are
//! most of the document.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::label::BackupType;

mod lenient;
#[cfg(test)]
mod tests;
pub mod view;

pub use lenient::{ReferenceCounts, Text};

/// Unreadable entries that are named; further ones are passed over in silence.
const MAX_UNREADABLE: usize = 100;
/// Characters kept of the name of an unreadable entry.
const MAX_NAME: usize = 100;

/// What one call of `info` told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document<'a> {
    /// The stanzas that could be read.
    pub stanzas: Vec<Stanza<'a>>,
    /// What could not be read: a stanza by name or, where it has none, by its place (`entry 3`); a backup as
    /// `stanza/label`. Bounded.
    pub unreadable: Vec<String>,
}

/// The output is no array of stanzas at all.
#[derive(Debug, thiserror::Error)]
#[error(
    "pgbackrest info printed no readable JSON document ({0}); run the same command by hand, as the same user, and look at \
     what it prints"
)]
pub struct ParseError(#[from] serde_json::Error);

/// Reads the document, which [`super::sanitize::clean`] has made fit.
///
/// A stanza or a backup that is not as it should be does not take the others along; it is named in the answer.
pub fn parse(text: &str) -> Result<Document<'_>, ParseError> {
    let mut document = match serde_json::from_str(text) {
        Ok(stanzas) => Document { stanzas, unreadable: Vec::new() },
        Err(_) => parse_each(text)?,
    };
    let read = document.stanzas.len();
    document.stanzas.retain(|stanza| !stanza.name.is_empty());
    document.unreadable.extend((document.stanzas.len()..read).map(|_| "a stanza without a name".to_owned()));
    for stanza in &mut document.stanzas {
        stanza.backup.retain(|backup| {
            let is_usable = backup.backup_type.is_some() && backup.timestamp.is_some();
            if !is_usable {
                document.unreadable.push(shortened(&format!("{}/{}", stanza.name, backup.label)));
            }
            is_usable
        });
    }
    document.unreadable.truncate(MAX_UNREADABLE);
    Ok(document)
}

/// The slow way: splits the array first, then reads each stanza by itself.
fn parse_each(text: &str) -> Result<Document<'_>, ParseError> {
    let entries: Vec<&RawValue> = serde_json::from_str(text)?;
    let mut document = Document::default();
    for (entry, place) in entries.iter().zip(1..) {
        match serde_json::from_str(entry.get()) {
            Ok(stanza) => document.stanzas.push(stanza),
            Err(_) => document.unreadable.push(name_of(entry).unwrap_or_else(|| format!("entry {place}"))),
        }
    }
    Ok(document)
}

fn name_of(entry: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        name: Text<'a>,
    }
    let named: Named<'_> = serde_json::from_str(entry.get()).ok()?;
    (!named.name.is_empty()).then(|| shortened(&named.name))
}

fn shortened(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

/// One stanza as `info` describes it, over all repositories that were asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Stanza<'a> {
    /// The stanza's name; `[invalid]` where a repository cannot be listed and no stanza was given.
    #[serde(borrow)]
    pub name: Text<'a>,
    /// State over all repositories, and the locks.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub status: StanzaStatus<'a>,
    /// Cipher over all repositories: `none`, `aes-256-cbc` or `mixed`.
    #[serde(default, borrow)]
    pub cipher: Option<Text<'a>>,
    /// Clusters that have used the stanza, oldest first, per repository.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub db: Vec<Database<'a>>,
    /// State of each repository (2.32 and later).
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub repo: Vec<Repo<'a>>,
    /// WAL ranges per database and repository.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub archive: Vec<Archive<'a>>,
    /// Backups, oldest first.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub backup: Vec<Backup<'a>>,
}

/// `[].status`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct StanzaStatus<'a> {
    /// What [`StatusCode`] says.
    #[serde(default)]
    pub code: StatusCode,
    /// The state in words; holds an error text for code 99.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub message: Text<'a>,
    /// Which locks are held on the host that was asked.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub lock: Lock,
}

/// 0 ok, 1 missing stanza path, 2 no valid backups, 3 missing stanza data, 4 different across repos, 5 database mismatch
/// across repos, 6 requested backup not found, 99 other; 99 too where it is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCode(pub i64);

/// `[].status.lock`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Lock {
    /// Lock of backup, expire and stanza commands.
    #[serde(default)]
    pub backup: Option<LockState>,
    /// Lock of restore (2.56 and later).
    #[serde(default)]
    pub restore: Option<LockState>,
}

/// One lock.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct LockState {
    /// Whether a process holds the lock.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub held: Option<bool>,
    /// Bytes to copy, once the manifest is built (2.48 and later).
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// Bytes copied so far.
    #[serde(default, rename = "size-cplt", deserialize_with = "lenient::number")]
    pub size_complete: Option<u64>,
    /// Progress per repository (2.59 and later, while a backup runs).
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub repo: Vec<RepoProgress>,
}

/// `[].status.lock.backup.repo[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RepoProgress {
    /// Repository number.
    pub key: u32,
    /// Bytes to copy.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// Bytes copied so far.
    #[serde(default, rename = "size-cplt", deserialize_with = "lenient::number")]
    pub size_complete: Option<u64>,
}

/// `[].db[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Database<'a> {
    /// Number within the stanza; the highest is the current one.
    pub id: u64,
    /// Repository number (2.32 and later).
    #[serde(default, rename = "repo-key", deserialize_with = "lenient::number")]
    pub repo_key: Option<u32>,
    /// PostgreSQL's system identifier, above 2^53.
    #[serde(default, rename = "system-id", deserialize_with = "lenient::number")]
    pub system_id: Option<u64>,
    /// PostgreSQL's version, such as `15` or `9.6`.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub version: Text<'a>,
}

/// `[].repo[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Repo<'a> {
    /// Repository number.
    pub key: u32,
    /// `none` or `aes-256-cbc`.
    #[serde(default, borrow)]
    pub cipher: Option<Text<'a>>,
    /// State of the stanza in this repository.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub status: RepoStatus<'a>,
}

/// `[].repo[].status`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RepoStatus<'a> {
    /// As [`StanzaStatus::code`].
    #[serde(default)]
    pub code: StatusCode,
    /// The state in words; many lines for code 99.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub message: Text<'a>,
}

/// A database number in a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseRef {
    /// Number within the stanza, from 1; 0 where it is not told.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub id: u64,
    /// Repository number (2.32 and later).
    #[serde(default, rename = "repo-key", deserialize_with = "lenient::number")]
    pub repo_key: Option<u32>,
}

/// `[].archive[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Archive<'a> {
    /// Whose WAL this is.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub database: DatabaseRef,
    /// Archive id, such as `15-1`.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub id: Text<'a>,
    /// First segment by name, or null where there is none.
    #[serde(default, borrow)]
    pub min: Option<Text<'a>>,
    /// Last segment by name, or null where there is none.
    #[serde(default, borrow)]
    pub max: Option<Text<'a>>,
}

/// `[].backup[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Backup<'a> {
    /// The backup's label.
    #[serde(borrow)]
    pub label: Text<'a>,
    /// The backup's type; [`parse`] leaves out backups of a type that we do not know.
    #[serde(default, rename = "type", deserialize_with = "lenient::backup_type")]
    pub backup_type: Option<BackupType>,
    /// Start and stop; [`parse`] leaves out backups without.
    #[serde(default, deserialize_with = "lenient::span")]
    pub timestamp: Option<Span>,
    /// Whose backup this is.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub database: DatabaseRef,
    /// The pgBackRest that made it.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub backrest: Backrest<'a>,
    /// WAL that the backup needs to be consistent; null for offline backups.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub archive: Range<'a>,
    /// WAL positions of the same (2.38 and later; absent for offline backups).
    #[serde(default, borrow)]
    pub lsn: Option<Range<'a>>,
    /// Sizes.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub info: Sizes,
    /// The backup that this one was made against.
    #[serde(default, borrow)]
    pub prior: Option<Text<'a>>,
    /// How many backups of each type this one needs: the lists themselves are most of the document of a long chain.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub reference: ReferenceCounts,
    /// Whether pages with a wrong checksum were found (2.36 and later).
    #[serde(default, deserialize_with = "lenient::flag")]
    pub error: Option<bool>,
    /// Key-value pairs given at backup time (2.41 and later).
    #[serde(default, borrow)]
    pub annotation: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// Databases in the backup, only in the output of `--set`.
    #[serde(default, rename = "database-ref")]
    pub database_ref: Option<Vec<IgnoredAny>>,
}

/// Two instants, printed in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First.
    pub start: DateTime<Utc>,
    /// Last.
    pub stop: DateTime<Utc>,
}

/// Two WAL segment names or two LSNs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Range<'a> {
    /// First.
    #[serde(default, borrow)]
    pub start: Option<Text<'a>>,
    /// Last.
    #[serde(default, borrow)]
    pub stop: Option<Text<'a>>,
}

/// `[].backup[].backrest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Backrest<'a> {
    /// Version of the pgBackRest that made the backup.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub version: Text<'a>,
}

/// `[].backup[].info`, bytes. 0 stands for a number that is none; no version leaves out those that are not optional here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Sizes {
    /// Size of the database.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub size: u64,
    /// Bytes that this backup copied out of the database.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub delta: u64,
    /// Sizes in the repository.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub repository: RepositorySizes,
}

/// `[].backup[].info.repository`, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct RepositorySizes {
    /// What a restore reads; absent with block incremental (2.45 and later).
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// What this backup stored.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub delta: u64,
    /// Size of the block incremental maps.
    #[serde(default, rename = "size-map", deserialize_with = "lenient::number")]
    pub size_map: Option<u64>,
    /// Size of the block incremental maps that this backup stored.
    #[serde(default, rename = "delta-map", deserialize_with = "lenient::number")]
    pub delta_map: Option<u64>,
}
