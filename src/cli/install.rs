//! `install`: copies this program to where another container can run it. An image from scratch has no `cp`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

/// The copy's name, whatever this program was called by.
const NAME: &str = "pgbackrest-keeper";
/// What a copy is called until it is whole.
const UNFINISHED: &str = ".pgbackrest-keeper.new";

/// Arguments of `install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// An existing directory. The copy is named pgbackrest-keeper there, and may be run by everybody.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Copies this program. One of that name is replaced at once, and goes on running where it does.
pub fn run(args: &InstallArgs) -> anyhow::Result<()> {
    // The very one that runs, even where its file has been replaced.
    let program = File::open("/proc/self/exe").context("cannot read this program in /proc")?;
    let unfinished = args.directory.join(UNFINISHED);
    let copied = copy(program, &unfinished).and_then(|()| fs::rename(&unfinished, args.directory.join(NAME)));
    if copied.is_err() {
        // That it cannot be copied is what counts.
        let _ = fs::remove_file(&unfinished);
    }
    copied.with_context(|| format!("cannot install into {}", args.directory.display()))
}

fn copy(mut program: File, to: &Path) -> io::Result<()> {
    // Of a try that was killed.
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o755).open(to)?;
    io::copy(&mut program, &mut copy)?;
    // Whatever the umask is.
    copy.set_permissions(Permissions::from_mode(0o755))?;
    copy.sync_all()
}
