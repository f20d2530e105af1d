//! What is in a repository: restore tests must leave it as it is.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use crate::support::example::Example;

/// A checksum of each file, by path.
pub(super) type Files = BTreeMap<String, String>;

/// Those of the repo on the volume of the repo host.
pub(super) fn on_volume(cluster: &Example<'_>) -> Files {
    let script = "cd /data/pgbackrest/repo1 && find . -type f -print0 | xargs -0 sha1sum";
    let said = cluster.said("cluster-pgbackrest-repo-host-0", "pgbackrest", &["sh", "-c", script]);
    let files = said.lines().filter_map(|line| line.split_once("  "));
    files.map(|(sum, path)| (path.to_owned(), sum.to_owned())).collect()
}

/// Those below a directory of this machine.
pub(super) fn below(directory: &Path) -> Files {
    let mut files = Files::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let mut content = DefaultHasher::new();
                fs::metadata(&path).unwrap().modified().unwrap().hash(&mut content);
                fs::read(&path).unwrap().hash(&mut content);
                files.insert(path.display().to_string(), content.finish().to_string());
            }
        }
    }
    files
}

/// The database has archived in the meantime; nothing else has changed.
pub(super) fn assert_only_archived(before: &Files, after: &Files) {
    for (path, sum) in before {
        assert_eq!(after.get(path), Some(sum), "{path} has changed");
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        assert!(path.starts_with("./archive/db/"), "{path} is new");
    }
}
