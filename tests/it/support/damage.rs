//! Damages a repository, and mends it again.

use std::fs;
use std::path::{Path, PathBuf};

use super::lab::Site;

/// Takes a file or directory away, does something, and puts it back.
pub(crate) fn without<T>(site: &Site, path: &Path, then: impl FnOnce() -> T) -> T {
    let aside = site.path("aside");
    fs::rename(path, &aside).unwrap();
    let said = then();
    fs::rename(&aside, path).unwrap();
    said
}

/// Changes bytes in the middle of a file, does something, and puts it back.
pub(crate) fn damaged<T>(path: &Path, then: impl FnOnce() -> T) -> T {
    changed(path, 16, then)
}

/// The same with a single byte.
pub(crate) fn flipped<T>(path: &Path, then: impl FnOnce() -> T) -> T {
    changed(path, 1, then)
}

fn changed<T>(path: &Path, bytes: usize, then: impl FnOnce() -> T) -> T {
    let whole = fs::read(path).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle..].iter_mut().take(bytes).for_each(|byte| *byte ^= 0x5A);
    fs::write(path, changed).unwrap();
    let said = then();
    fs::write(path, whole).unwrap();
    said
}

/// The largest file below a directory.
pub(crate) fn largest_file(directory: &Path) -> PathBuf {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}
