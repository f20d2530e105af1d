//! Paths within a repository, and the output of `repo-ls --output=json` (2.32 to 2.60).

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use thiserror::Error;

/// A path relative to that of the repository. It starts with a fixed word, so it cannot be mistaken for an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPath(String);

impl RepoPath {
    /// A path below `archive/STANZA`; `None` if a name is not that of a single file or directory.
    #[must_use]
    pub fn archive(stanza: &str, names: &[&str]) -> Option<Self> {
        Self::below("archive", stanza, names)
    }

    /// A path below `backup/STANZA`; `None` if a name is not that of a single file or directory.
    #[must_use]
    pub fn backup(stanza: &str, names: &[&str]) -> Option<Self> {
        Self::below("backup", stanza, names)
    }

    fn below(top: &str, stanza: &str, names: &[&str]) -> Option<Self> {
        let mut path = top.to_owned();
        for name in std::iter::once(&stanza).chain(names) {
            if matches!(*name, "" | "." | "..") || name.contains(['/', '\0']) {
                return None;
            }
            path.push('/');
            path.push_str(name);
        }
        Some(Self(path))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The entries of a directory of a repository, by name.
///
/// pgBackRest lists a missing directory as an empty one, with exit code 0: they cannot be distinguished here.
pub type Entries = BTreeMap<String, Entry>;

/// A file or directory. Size and time depend on version, storage and kind of entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The kind of entry.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Bytes in the repository: compressed and encrypted.
    #[serde(default)]
    pub size: Option<u64>,
    /// When the file was last changed.
    #[serde(default, with = "chrono::serde::ts_seconds_option")]
    pub time: Option<DateTime<Utc>>,
}

/// The kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file, or an object of a store.
    File,
    /// A directory, or its equivalent in an object store.
    Path,
    /// A symbolic link.
    Link,
    /// Anything else.
    #[serde(other)]
    Special,
}

/// Why a listing cannot be used.
#[derive(Debug, Error)]
pub enum ListingError {
    /// Not a listing. An entry that cannot be parsed is an error and not omitted: it would look like a missing one.
    #[error(
        "pgbackrest repo-ls printed no readable JSON document ({0}); run the same command manually as the same \
     user to see its output"
    )]
    Unreadable(#[from] serde_json::Error),
    /// It ends before its last brace.
    #[error("pgbackrest repo-ls printed only a part of its listing")]
    Incomplete,
    /// The path is not a directory.
    #[error("pgbackrest repo-ls of a directory returned a {0:?}; check the contents of the repository")]
    NotADirectory(EntryKind),
}

/// Parses a listing. The entry `.` for the directory itself, which not every storage has, is omitted.
pub fn parse_listing(text: &[u8]) -> Result<Entries, ListingError> {
    let mut entries: Entries = serde_json::from_slice(text)?;
    match entries.remove(".") {
        Some(Entry { kind, .. }) if kind != EntryKind::Path => Err(ListingError::NotADirectory(kind)),
        _ => Ok(entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        let path = RepoPath::archive("--repo=2", &["15-1", "00000002.history"]).unwrap();
        assert_eq!(path.to_string(), "archive/--repo=2/15-1/00000002.history");
        assert_eq!(RepoPath::backup("demo", &[]).unwrap().to_string(), "backup/demo");
        for bad in ["", ".", "..", "../x", "a/b", "a\0b"] {
            assert_eq!(RepoPath::archive(bad, &["15-1"]), None, "{bad}");
            assert_eq!(RepoPath::backup("demo", &[bad]), None, "{bad}");
        }
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        // As 2.45 prints it, with a field and a type that no version has.
        let text = r#"{".":{"type":"path"},"0000000100000000":{"type":"path"},
            "00000002.history":{"type":"file","size":2,"time":1795445548,"new":[1]},
            "l":{"type":"link","destination":"foo"},"s":{"type":"door"}}"#;
        let entries = parse_listing(text.as_bytes()).unwrap();
        let read: Vec<_> =
            entries.iter().map(|(name, entry)| (name.as_str(), entry.kind, entry.size)).collect();
        let expected = [
            ("0000000100000000", EntryKind::Path, None),
            ("00000002.history", EntryKind::File, Some(2)),
            ("l", EntryKind::Link, None),
            ("s", EntryKind::Special, None),
        ];
        assert_eq!(read, expected);
        assert_eq!(entries["00000002.history"].time, DateTime::from_timestamp(1_795_445_548, 0));
        assert_eq!(entries["l"].time, None);
        assert!(parse_listing(br#"{".":{"type":"path"}}"#).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_whole_listing_is_an_error() {
        for text in
            ["", "[]", r#"{".":{"type":"path"},"a":{"#, r#"{"a":{}}"#, r#"{"a":{"type":"file","size":-1}}"#]
        {
            assert!(matches!(parse_listing(text.as_bytes()), Err(ListingError::Unreadable(_))), "{text}");
        }
        let file = parse_listing(br#"{".":{"type":"file","size":2,"time":1}}"#);
        assert!(matches!(file, Err(ListingError::NotADirectory(EntryKind::File))));
    }
}
