//! Lock files that programs left or hold in their default directories on this host, as traces of programs other than the
//! one that is queried. They are only listed: to lock one would make its program fail.

use std::fs::{self, DirEntry};
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::files::FileTask;
use crate::pgbackrest::version::Product;
use crate::state::programs::LockFile;

use super::config_files::Configuration;

/// Entries of one directory that are read.
const MAX_ENTRIES: usize = 10_000;
/// What commands lock: `STANZA-KIND.lock`, and from 2.53 on (pgBackRest commit edd61636a) `STANZA-KIND-REPO.lock`.
const KINDS: [&str; 3] = ["archive", "backup", "restore"];

/// Lists lock files.
#[derive(Debug, Default)]
pub struct LockFiles {
    listing: FileTask,
}

impl LockFiles {
    /// Those in the default directories of other programs than this one, unless it is configured to use the same
    /// directory.
    pub async fn of_others(&mut self, own: Product, configuration: Option<&Configuration>) -> Vec<LockFile> {
        let is_shared = |path| configuration.is_some_and(|found| found.lock_paths().any(|own| own == path));
        let others: Vec<(Product, &'static Path)> = Product::ALL
            .into_iter()
            .filter(|product| *product != own)
            .map(|product| (product, Path::new(product.default_paths().lock)))
            .filter(|(_, path)| !is_shared(*path))
            .collect();
        let list_all = move || others.iter().flat_map(|(product, path)| list(*product, path)).collect();
        self.listing.run(list_all).await.unwrap_or_default()
    }
}

/// The lock files in a directory. A directory that does not exist or cannot be read has none.
fn list(product: Product, directory: &Path) -> Vec<LockFile> {
    let entries = fs::read_dir(directory).into_iter().flatten().take(MAX_ENTRIES);
    entries.filter_map(|entry| read(product, &entry.ok()?)).collect()
}

fn read(product: Product, entry: &DirEntry) -> Option<LockFile> {
    let stanza = stanza_of(entry.file_name().to_str()?)?.to_owned();
    let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(LockFile { stanza, product, at: DateTime::<Utc>::from(metadata.modified().ok()?) })
}

fn stanza_of(file: &str) -> Option<&str> {
    let name = file.strip_suffix(".lock")?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let name = name.rsplit_once('-').filter(|(_, repo)| is_number(repo)).map_or(name, |(rest, _)| rest);
    let (stanza, kind) = name.rsplit_once('-')?;
    (KINDS.contains(&kind) && !stanza.is_empty()).then_some(stanza)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lock_files_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "demo-backup-1.lock",
            "my-db-2-archive.lock",
            "x-restore-12.lock",
            "demo.stop",
            "demo-other.lock",
            "-backup.lock",
            "backup.lock",
            "demo-backup-1.txt",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        fs::create_dir(directory.path().join("dir-backup-1.lock")).unwrap();
        let before = Utc::now();
        let mut found = list(Product::PgBunker, directory.path());
        found.sort_by(|a, b| a.stanza.cmp(&b.stanza));
        let stanzas: Vec<&str> = found.iter().map(|file| &*file.stanza).collect();
        assert_eq!(stanzas, ["demo", "my-db-2", "x"]);
        assert!(found.iter().all(|file| file.product == Product::PgBunker));
        assert!(found.iter().all(|file| (before - file.at).num_seconds().abs() < 60));
        assert_eq!(list(Product::PgBunker, Path::new("/nonexistent")), []);
    }
}
