//! Names of a listing stay names: they lead nowhere else, print as they were read, and add up. A listing that is read while it is
//! printed says the same wherever it is cut.

use chrono::DateTime;
use pgbackrest_keeper::pgbackrest::archive::{ArchiveFile, ArchiveId, DirectoryName};
use pgbackrest_keeper::pgbackrest::listing_reader::ListingReader;
use pgbackrest_keeper::pgbackrest::repository::{self, Entries, RepoPath};
use pgbackrest_keeper::state::archive::{DirectoryFacts, Expected, ListedFile};
use serde_json::json;

pub(crate) fn check(bytes: &[u8]) {
    let whole = read_in_pieces(bytes, bytes.len().max(1));
    assert_eq!(read_in_pieces(bytes, 5), whole);
    let Ok(entries) = repository::parse_listing(bytes) else { return };
    assert!(!entries.contains_key("."));
    let mut again = serde_json::Map::new();
    for (name, entry) in &entries {
        if let Some(path) = RepoPath::archive("demo", &[name]) {
            assert_eq!(path.to_string(), format!("archive/demo/{name}"));
            assert!(!name.contains('/') && name != "..");
        }
        if let Some(directory) = DirectoryName::parse(name) {
            assert_eq!(directory.to_string(), *name);
        }
        if let Some(archive) = ArchiveId::parse(name) {
            assert_eq!(archive.to_string(), *name);
        }
        if let ArchiveFile::Segment { segment, checksum, .. } = ArchiveFile::parse(name) {
            assert!(name.starts_with(&format!("{segment}-{checksum}")));
        }
        let kind = format!("{:?}", entry.kind).to_lowercase();
        let time = entry.time.map(|time| time.timestamp());
        again.insert(name.clone(), json!({"type": kind, "size": entry.size, "time": time}));
    }
    assert_eq!(repository::parse_listing(json!(again).to_string().as_bytes()).ok().as_ref(), Some(&entries));
    adds_up(&entries);
}

/// None if it is no complete listing.
fn read_in_pieces(bytes: &[u8], length: usize) -> Option<Entries> {
    let (mut reader, mut entries, mut kept) = (ListingReader::default(), Entries::new(), Vec::new());
    for piece in bytes.chunks(length) {
        kept.extend_from_slice(piece);
        let take = |name, entry| _ = entries.insert(name, entry);
        let read = reader.read(&kept, take).ok()?;
        kept.drain(..read);
    }
    (reader.is_complete() && kept.is_empty()).then_some(entries)
}

fn adds_up(entries: &Entries) {
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("in range");
    let directories = entries.keys().filter_map(|name| DirectoryName::parse(name.get(..16)?));
    for directory in directories.take(8) {
        let files = entries.iter().map(|(name, entry)| ListedFile {
            name,
            size: entry.size.unwrap_or_default(),
            modified: entry.time.unwrap_or(now),
        });
        let facts = DirectoryFacts::of(directory, files, now, &Expected::default());
        assert!(facts.runs.iter().all(|run| run.first <= run.last));
        assert!(facts.runs.is_sorted_by(|one, next| one.last < next.first));
        assert!(facts.duplicates.is_sorted_by(|one, next| one < next));
    }
}
