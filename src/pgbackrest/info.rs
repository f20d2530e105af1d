//! The document that `pgbackrest info --output=json` prints, for 2.2x to 2.60.
//!
//! Fields that a version omits or sets to null are optional, unknown fields are ignored, and an invalid number is
//! unknown. Strings borrow from the input if possible, because the reference lists of a long chain are most of the
//! document.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::label::BackupType;
use super::redact::Said;

mod backups;
mod lenient;
#[cfg(test)]
mod tests;
pub mod view;

pub use backups::{BackupReader, InfoBackups};
pub use lenient::{ReferenceCounts, Text};

/// Maximum number of unreadable entries that are reported.
pub const MAX_UNREADABLE: usize = 100;
/// Maximum characters of the name of an unreadable entry.
const MAX_NAME: usize = 100;

/// The answer to one call of `info`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InfoDocument<'a> {
    /// The readable stanzas.
    pub stanzas: Vec<InfoStanza<'a>>,
    /// The unreadable parts. Bounded.
    pub unreadable: Vec<Unreadable>,
}

/// A part of a document that cannot be read. Names are bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// A stanza by name.
    Stanza(String),
    /// A stanza whose name cannot be read, by its position from 1 if that is known.
    Unnamed(Option<usize>),
    /// A backup as `stanza/label`.
    Backup(String),
}

impl Unreadable {
    /// A backup of a stanza.
    #[must_use]
    pub fn backup(stanza: &str, label: &str) -> Self {
        Self::Backup(shortened(&format!("{stanza}/{label}")))
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stanza(name) => write!(formatter, "stanza {name}"),
            Self::Unnamed(Some(place)) => write!(formatter, "entry {place}"),
            Self::Unnamed(None) => formatter.write_str("a stanza without a name"),
            Self::Backup(name) => write!(formatter, "backup {name}"),
        }
    }
}

/// The output is not an array of stanzas.
#[derive(Debug, thiserror::Error)]
#[error(
    "pgbackrest info printed no readable JSON document ({}); run the same command manually as the same \
     user to see its output",
    without_place(.0)
)]
pub struct ParseError(#[from] serde_json::Error);

/// Where it is would be told of a text from which backups may have been taken.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what).to_owned()
}

/// Parses a document that [`super::sanitize::clean`] has cleaned.
///
/// An invalid stanza or backup does not affect the others; it is reported in the result.
pub fn parse(text: &str) -> Result<InfoDocument<'_>, ParseError> {
    parse_rest(text, |_| 0)
}

/// Parses what a [`BackupReader`] has left of a document. `taken` is the number of backups that it has taken out of each stanza, by
/// the stanza's place.
pub fn parse_rest(text: &str, taken: impl Fn(usize) -> usize) -> Result<InfoDocument<'_>, ParseError> {
    let mut document = match serde_json::from_str(text) {
        Ok(stanzas) => InfoDocument { stanzas: placed(stanzas), unreadable: Vec::new() },
        Err(_) => parse_each(text)?,
    };
    let read = document.stanzas.len();
    document.stanzas.retain(|stanza| !stanza.name.is_empty());
    let nameless = (document.stanzas.len()..read).map(|_| Unreadable::Unnamed(None));
    document.unreadable.extend(nameless.take(MAX_UNREADABLE));
    let unreadable = &mut document.unreadable;
    document.stanzas.retain(|stanza| {
        // It had printed by itself what stands for a backup that was taken.
        let is_readable = stanza.backup.taken() == taken(stanza.place);
        if !is_readable {
            unreadable.push(Unreadable::Stanza(shortened(&stanza.name)));
        }
        is_readable
    });
    for stanza in &mut document.stanzas {
        // Labels are unique in a repository. If one occurs again, it is not known which entry is right.
        let mut labels = HashSet::new();
        stanza.backup.retain(|backup| {
            let is_new = labels.insert((backup.database.repo_key, backup.label.clone()));
            let is_usable = is_new && backup.backup_type.is_some() && backup.timestamp.is_some();
            if !is_usable && document.unreadable.len() < MAX_UNREADABLE {
                document.unreadable.push(Unreadable::backup(&stanza.name, &backup.label));
            }
            is_usable
        });
    }
    document.unreadable.truncate(MAX_UNREADABLE);
    Ok(document)
}

/// Notes the place of each.
fn placed(mut stanzas: Vec<InfoStanza<'_>>) -> Vec<InfoStanza<'_>> {
    for (place, stanza) in stanzas.iter_mut().enumerate() {
        stanza.place = place;
    }
    stanzas
}

/// Slow path: splits the array first, then parses each stanza on its own.
fn parse_each(text: &str) -> Result<InfoDocument<'_>, ParseError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = deserializer.deserialize_seq(Each)?;
    deserializer.end()?;
    Ok(document)
}

/// Keeps no entry that cannot be read.
struct Each;

impl<'de> Visitor<'de> for Each {
    type Value = InfoDocument<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of stanzas")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<InfoDocument<'de>, A::Error> {
        let mut document = InfoDocument::default();
        let mut place = 0;
        while let Some(entry) = entries.next_element::<&RawValue>()? {
            match serde_json::from_str(entry.get()) {
                Ok(stanza) => document.stanzas.push(InfoStanza { place, ..stanza }),
                Err(_) if document.unreadable.len() < MAX_UNREADABLE => document
                    .unreadable
                    .push(name_of(entry).map_or(Unreadable::Unnamed(Some(place + 1)), Unreadable::Stanza)),
                Err(_) => {}
            }
            place += 1;
        }
        Ok(document)
    }
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

/// One stanza over all queried repositories.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InfoStanza<'a> {
    /// Its place in the document, from 0.
    #[serde(skip)]
    pub place: usize,
    /// The name; `[invalid]` if a repository cannot be listed and no stanza was given.
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
    pub db: Vec<InfoDatabase<'a>>,
    /// State of each repository (2.32 and later, pgBackRest commit f32eb9b94).
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub repo: Vec<InfoRepo<'a>>,
    /// WAL ranges per database and repository.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub archive: Vec<InfoArchive<'a>>,
    /// Backups, oldest first.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub backup: InfoBackups<'a>,
}

impl InfoStanza<'_> {
    /// Whether this is about repositories at all. Every version prints the cipher, unless it was asked for the progress of
    /// commands alone (`detail-level=progress`).
    #[must_use]
    pub const fn names_repositories(&self) -> bool {
        self.cipher.is_some() || !self.repo.is_empty() || !self.db.is_empty() || self.backup.is_any()
    }
}

/// `[].status`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct StanzaStatus<'a> {
    /// See [`StatusCode`].
    #[serde(default)]
    pub code: StatusCode,
    /// The status message; an error text for code 99.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub message: Said<'a>,
    /// Locks held on the queried host.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub lock: Lock,
}

/// 0 ok, 1 missing stanza path, 2 no valid backups, 3 missing stanza data, 4 different across repos, 5 database
/// mismatch across repos, 6 requested backup not found, 99 other, also if it is not a number. 6 and 99 are from 2.33 on
/// (pgBackRest commit 2789d3b62).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCode(pub i64);

/// `[].status.lock`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Lock {
    /// Lock of backup, expire and stanza commands.
    #[serde(default)]
    pub backup: Option<LockState>,
    /// Lock of restore (2.56 and later, pgBackRest commit 8cdd9ce1c).
    #[serde(default)]
    pub restore: Option<LockState>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct LockState {
    /// Whether a process holds the lock.
    #[serde(default, deserialize_with = "lenient::flag")]
    pub held: Option<bool>,
    /// Bytes to copy, once the manifest is built (2.48 and later, pgBackRest commit e3fcd8cd9).
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// Bytes copied so far.
    #[serde(default, rename = "size-cplt", deserialize_with = "lenient::number")]
    pub size_complete: Option<u64>,
    /// Progress per repository (2.59 and later, pgBackRest commit 77312b33b; while a backup runs).
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
pub struct InfoDatabase<'a> {
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
pub struct InfoRepo<'a> {
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
    /// The status message; several lines for code 99.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub message: Said<'a>,
}

/// A database in a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseRef {
    /// Number within the stanza, from 1; 0 if unknown.
    #[serde(default, deserialize_with = "lenient::number_or_zero")]
    pub id: u64,
    /// Repository number (2.32 and later).
    #[serde(default, rename = "repo-key", deserialize_with = "lenient::number")]
    pub repo_key: Option<u32>,
}

/// `[].archive[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InfoArchive<'a> {
    /// The database of this WAL.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub database: DatabaseRef,
    /// Archive id, such as `15-1`.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub id: Text<'a>,
    /// First segment by name, or null.
    #[serde(default, borrow)]
    pub min: Option<Text<'a>>,
    /// Last segment by name, or null.
    #[serde(default, borrow)]
    pub max: Option<Text<'a>>,
}

/// `[].backup[]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct InfoBackup<'a> {
    #[serde(borrow)]
    pub label: Text<'a>,
    /// The type; [`parse`] omits backups of unknown types.
    #[serde(default, rename = "type", deserialize_with = "lenient::backup_type")]
    pub backup_type: Option<BackupType>,
    /// Start and stop; [`parse`] omits backups without them.
    #[serde(default, deserialize_with = "lenient::span")]
    pub timestamp: Option<Span>,
    /// The database of this backup.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub database: DatabaseRef,
    /// The version of pgBackRest that made it.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub backrest: Backrest<'a>,
    /// WAL required for consistency; null for offline backups.
    #[serde(default, borrow, deserialize_with = "lenient::null_as_default")]
    pub archive: InfoRange<'a>,
    /// WAL positions of the same (2.38 and later, pgBackRest commit d866dd5c2; absent for offline backups).
    #[serde(default, borrow)]
    pub lsn: Option<InfoRange<'a>>,
    /// Sizes.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub info: Sizes,
    /// The prior backup.
    #[serde(default, borrow)]
    pub prior: Option<Text<'a>>,
    /// The number of required backups of each type; the lists themselves are most of the document of a long chain.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub reference: ReferenceCounts,
    /// Whether page checksum errors were found (2.36 and later, pgBackRest commit 34f787343).
    #[serde(default, deserialize_with = "lenient::flag")]
    pub error: Option<bool>,
    /// Key-value pairs given at backup time (2.41 and later, pgBackRest commit 381fd0a5a).
    #[serde(default, borrow)]
    pub annotation: Option<BTreeMap<Text<'a>, Text<'a>>>,
    /// Databases in the backup; only with `--set`.
    #[serde(default, rename = "database-ref")]
    pub database_ref: Option<Vec<IgnoredAny>>,
    /// Tablespaces; only with `--set`.
    #[serde(default)]
    pub tablespace: Option<Vec<Tablespace>>,
    /// Links in the data directory that were followed; only with `--set`.
    #[serde(default)]
    pub link: Option<Vec<Link>>,
}

/// A tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tablespace {
    pub name: String,
    pub oid: u64,
    /// Its directory when the backup was made.
    pub destination: String,
}

/// A link in the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Link {
    /// Path within the data directory.
    pub name: String,
    /// The directory or file when the backup was made.
    pub destination: String,
}

/// Two instants, printed in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start: DateTime<Utc>,
    pub stop: DateTime<Utc>,
}

/// Two WAL segment names or two LSNs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct InfoRange<'a> {
    #[serde(default, borrow)]
    pub start: Option<Text<'a>>,
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

/// `[].backup[].info`, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Sizes {
    /// Size of the database.
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// Bytes copied from the database.
    #[serde(default, deserialize_with = "lenient::number")]
    pub delta: Option<u64>,
    /// Sizes in the repository.
    #[serde(default, deserialize_with = "lenient::null_as_default")]
    pub repository: RepositorySizes,
}

/// `[].backup[].info.repository`, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct RepositorySizes {
    /// Bytes that a restore reads; absent with block incremental (2.45 and later, pgBackRest commit 6252c0e44).
    #[serde(default, deserialize_with = "lenient::number")]
    pub size: Option<u64>,
    /// Bytes that this backup stored.
    #[serde(default, deserialize_with = "lenient::number")]
    pub delta: Option<u64>,
    /// Size of the block incremental maps.
    #[serde(default, rename = "size-map", deserialize_with = "lenient::number")]
    pub size_map: Option<u64>,
    /// Size of the block incremental maps that this backup stored.
    #[serde(default, rename = "delta-map", deserialize_with = "lenient::number")]
    pub delta_map: Option<u64>,
}
