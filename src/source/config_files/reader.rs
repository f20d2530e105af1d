//! Whether the program that runs reads the files at pgBackRest's default paths.
//!
//! A script may run pgBackRest elsewhere (sudo, ssh, a container), and a fork has paths of its own. Neither can be asked which
//! file it reads. So the program must be pgBackRest itself: a program for this machine, not a script, whose file is called
//! `pgbackrest` wherever links to it are.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The name of pgBackRest's file, and the first bytes of it.
const NAME: &str = "pgbackrest";
const ELF: [u8; 4] = *b"\x7fELF";

/// The program to run.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    /// A path, or a name to look up.
    pub(super) program: PathBuf,
    /// Where to look it up, as in `PATH`.
    pub(super) search_path: OsString,
}

impl Reader {
    /// Its file, if it is there.
    pub(super) fn file(&self) -> Option<PathBuf> {
        if self.program.components().nth(1).is_some() {
            return Some(self.program.clone());
        }
        let mut candidates =
            std::env::split_paths(&self.search_path).map(|directory| directory.join(&self.program));
        candidates.find(|candidate| candidate.is_file())
    }

    /// Why it need not read the files at the default paths, if so.
    pub(super) fn is_other_program(&self) -> Option<String> {
        let Some(file) = self.file().and_then(|file| file.canonicalize().ok()) else {
            return Some(format!("the program {} is not there", self.program.display()));
        };
        let what = if file.file_name() != Some(OsStr::new(NAME)) {
            "is not called pgbackrest, and may read other files"
        } else if is_script(&file) {
            "is a script, and may run pgBackRest elsewhere"
        } else {
            return None;
        };
        let remedy = "if this host has the configuration that it uses, name the file with --backrest.config";
        Some(format!("{} {what}; {remedy}", file.display()))
    }
}

fn is_script(file: &Path) -> bool {
    let mut begin = [0; ELF.len()];
    File::open(file).and_then(|mut file| file.read_exact(&mut begin)).is_err() || begin != ELF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pgbackrest_itself_reads_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), bytes).unwrap();
        };
        write("real/pgbackrest", b"\x7fELF\x02\x01\x01");
        write("script/pgbackrest", b"#!/bin/sh\nexec sudo -u postgres pgbackrest \"$@\"\n");
        write("fork/pgxbackup", b"\x7fELF\x02\x01\x01");
        write("empty/pgbackrest", b"");
        std::fs::create_dir(path("links")).unwrap();
        for (link, target) in [("pgbackrest", "real/pgbackrest"), ("backup", "real/pgbackrest")] {
            std::os::unix::fs::symlink(path(target), path("links").join(link)).unwrap();
        }
        std::fs::create_dir(path("renamed")).unwrap();
        std::os::unix::fs::symlink(path("fork/pgxbackup"), path("renamed/pgbackrest")).unwrap();
        let asked = |program: PathBuf, search_path: &[&str]| {
            let search_path = std::env::join_paths(search_path.iter().map(|name| path(name))).unwrap();
            Reader { program, search_path }.is_other_program()
        };
        for (program, why) in [
            ("real/pgbackrest", None),
            ("links/pgbackrest", None),
            ("links/backup", None),
            ("script/pgbackrest", Some("is a script")),
            ("empty/pgbackrest", Some("is a script")),
            ("fork/pgxbackup", Some("is not called pgbackrest")),
            ("renamed/pgbackrest", Some("is not called pgbackrest")),
            ("nowhere/pgbackrest", Some("is not there")),
        ] {
            let found = asked(path(program), &[]);
            assert_eq!(found.is_some(), why.is_some(), "{program}: {found:?}");
            assert!(found.unwrap_or_default().contains(why.unwrap_or_default()), "{program}");
        }
        assert_eq!(asked("pgbackrest".into(), &["nowhere", "real", "script"]), None);
        assert!(asked("pgbackrest".into(), &["script", "real"]).unwrap().contains("is a script"));
        assert!(asked("pgbackrest".into(), &[]).unwrap().contains("is not there"));
    }
}
