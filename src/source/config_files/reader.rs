//! Which product the program that runs is, and so at which default paths it reads files.
//!
//! A script may run pgBackRest elsewhere (sudo, ssh, a container), and cannot be asked which file it reads. So the program must
//! be one for this machine, and no script. Which product it is, pgBackRest or a fork with paths of its own, it says as its
//! version. If it never did, the name of its file tells, wherever links to it are.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::pgbackrest::version::Product;

/// The first bytes of a program that is no script.
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
    fn file(&self) -> Option<PathBuf> {
        if self.program.components().nth(1).is_some() {
            return Some(self.program.clone());
        }
        let mut candidates =
            std::env::split_paths(&self.search_path).map(|directory| directory.join(&self.program));
        candidates.find(|candidate| candidate.is_file())
    }

    /// The product at whose default paths it reads files, if that is certain. `said` is what it printed as its version.
    ///
    /// # Errors
    /// Why it need not read the files at any default paths.
    pub(super) fn product(&self, said: Option<Product>) -> Result<Product, String> {
        let Some(file) = self.file().and_then(|file| file.canonicalize().ok()) else {
            return Err(format!("the program {} does not exist", self.program.display()));
        };
        let refusal = |what: &str| {
            let remedy = "if the configuration that it uses is on this host, set --backrest.config";
            format!("{} {what}; {remedy}", file.display())
        };
        if is_script(&file) {
            return Err(refusal("is a script, and may run pgBackRest elsewhere"));
        }
        let has_its_name =
            |product: &Product| file.file_name().is_some_and(|name| name == product.file_name());
        said.or_else(|| Product::ALL.into_iter().find(has_its_name)).ok_or_else(|| {
            refusal("has not reported which program it is, and its file name does not show it; it may read other files")
        })
    }
}

fn is_script(file: &Path) -> bool {
    let mut begin = [0; ELF.len()];
    files::open(file).and_then(|mut file| file.read_exact(&mut begin)).is_err() || begin != ELF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_itself_reads_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), bytes).unwrap();
        };
        write("real/pgbackrest", b"\x7fELF\x02\x01\x01");
        write("script/pgbackrest", b"#!/bin/sh\nexec sudo -u postgres pgbackrest \"$@\"\n");
        write("fork/pgxbackup", b"\x7fELF\x02\x01\x01");
        write("fork/pgbunker", b"\x7fELF\x02\x01\x01");
        write("other/sudo-pgbackrest", b"\x7fELF\x02\x01\x01");
        write("empty/pgbackrest", b"");
        std::fs::create_dir(path("links")).unwrap();
        for (link, target) in [("pgbackrest", "real/pgbackrest"), ("backup", "real/pgbackrest")] {
            std::os::unix::fs::symlink(path(target), path("links").join(link)).unwrap();
        }
        std::fs::create_dir(path("renamed")).unwrap();
        std::os::unix::fs::symlink(path("fork/pgxbackup"), path("renamed/pgbackrest")).unwrap();
        let asked = |program: PathBuf, search_path: &[&str], said| {
            let search_path = std::env::join_paths(search_path.iter().map(|name| path(name))).unwrap();
            Reader { program, search_path }.product(said)
        };
        let by_name = |program: &str| asked(path(program), &[], None);
        for (program, product) in [
            ("real/pgbackrest", Product::PgBackRest),
            ("links/pgbackrest", Product::PgBackRest),
            ("links/backup", Product::PgBackRest),
            ("fork/pgxbackup", Product::Pgxbackup),
            ("renamed/pgbackrest", Product::Pgxbackup),
            ("fork/pgbunker", Product::PgBunker),
        ] {
            assert_eq!(by_name(program), Ok(product), "{program}");
        }
        assert!(by_name("other/sudo-pgbackrest").unwrap_err().contains("its file name does not show it"));
        // What a program says counts more than its name, but nothing that a script passes on.
        for said in Product::ALL {
            for program in ["real/pgbackrest", "links/backup", "fork/pgxbackup", "other/sudo-pgbackrest"] {
                assert_eq!(asked(path(program), &[], Some(said)), Ok(said), "{program}");
            }
            for (program, why) in [
                ("script/pgbackrest", "is a script"),
                ("empty/pgbackrest", "is a script"),
                ("nowhere/pgbackrest", "does not exist"),
            ] {
                for said in [Some(said), None] {
                    assert!(asked(path(program), &[], said).unwrap_err().contains(why), "{program}");
                }
            }
        }
        let found = |search_path: &[&str]| asked("pgbackrest".into(), search_path, None);
        assert_eq!(found(&["nowhere", "real", "script"]), Ok(Product::PgBackRest));
        assert!(found(&["script", "real"]).unwrap_err().contains("is a script"));
        assert!(found(&[]).unwrap_err().contains("does not exist"));
    }
}
