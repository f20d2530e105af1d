//! `install`: copies this program to where another container can run it. An image built from scratch has no `cp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

/// Name of the copy, independent of the name of this program.
const NAME: &str = "pgbackrest-keeper";
/// Name of an incomplete copy.
const UNFINISHED: &str = ".pgbackrest-keeper.new";

/// Arguments of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Existing directory. The copy is named pgbackrest-keeper, and every user can run it.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Copies this program. An existing copy is replaced atomically; processes that run it are not affected.
pub fn run(args: &InstallArgs) -> anyhow::Result<()> {
    // The running program, even if its file was replaced.
    let program = File::open("/proc/self/exe").context("cannot read this program in /proc")?;
    let unfinished = args.directory.join(UNFINISHED);
    let copied = copy(program, &unfinished).and_then(|()| fs::rename(&unfinished, args.directory.join(NAME)));
    if copied.is_err() {
        // The copy error matters more than a failed cleanup.
        let _ = fs::remove_file(&unfinished);
    }
    copied.with_context(|| format!("cannot install into {}", args.directory.display()))
}

fn copy(mut program: File, to: &Path) -> io::Result<()> {
    // Left over from an attempt that was killed.
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o755).open(to)?;
    io::copy(&mut program, &mut copy)?;
    // Independent of the umask.
    copy.set_permissions(Permissions::from_mode(0o755))?;
    copy.sync_all()
}
