//! A stanza of a real pgBackRest with one backup, whose WAL archive has as many segments as wanted.
//!
//! The segments are files without contents; only their names, sizes and times matter.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The stanza.
pub(crate) const STANZA: &str = "demo";
/// Segments of 16 MiB in one directory.
pub(crate) const PER_DIRECTORY: u32 = 256;
/// What a segment takes at least if it is whole; the files are sparse.
const SEGMENT_BYTES: u64 = 1 << 20;
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// In a directory of its own.
pub(crate) struct Repository {
    directory: tempfile::TempDir,
    pgbackrest: PathBuf,
}

#[allow(dead_code, reason = "not every program that measures uses all of it")]
impl Repository {
    /// The backup is made while PostgreSQL is down, so that it needs no WAL.
    pub(crate) fn offline(pgbackrest: &Path) -> Result<Self> {
        let repository = Self::new(pgbackrest)?;
        repository.pgbackrest(&["stanza-create", "--no-online"])?;
        repository.pgbackrest(&["backup", "--no-online", "--type=full"])?;
        repository.open()?;
        Ok(repository)
    }

    /// The backup is made while PostgreSQL runs and archives. Also gives the number of the first segment after it.
    pub(crate) fn online(pgbackrest: &Path) -> Result<(Self, u32)> {
        let repository = Self::new(pgbackrest)?;
        let path = |name: &str| repository.path(name).display().to_string();
        let archive = format!(
            "{} --config={} --stanza={STANZA} archive-push %p",
            pgbackrest.display(),
            path("pgbackrest.conf")
        );
        let options = format!(
            "-c archive_mode=on -c archive_command='{archive}' -c listen_addresses= -c fsync=off -c port={PORT} \
             -c unix_socket_directories={}",
            repository.directory.path().display()
        );
        let pg_ctl = |action: &[&str]| {
            let (program, data) = (format!("{PROGRAMS}/pg_ctl"), path("data"));
            repository.run(&[&[program.as_str(), "--wait", "-D", data.as_str()], action].concat())
        };
        pg_ctl(&["start", "-l", &path("postgresql.log"), "-o", &options])?;
        let made = repository
            .pgbackrest(&["stanza-create"])
            .and_then(|_| repository.pgbackrest(&["backup", "--type=full", "--start-fast"]));
        // The shutdown archives one more segment.
        pg_ctl(&["stop", "--mode=fast"])?;
        made?;
        repository.open()?;
        let next = repository.last_segment()? + 1;
        Ok((repository, next))
    }

    fn new(pgbackrest: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("bench-").tempdir()?;
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))?;
        let repository = Self { directory, pgbackrest: pgbackrest.to_owned() };
        let path = |name: &str| repository.path(name).display().to_string();
        let conf = format!(
            "[global]\nlog-level-file=off\nlog-path={}\nlock-path={}\nrepo1-path={}\nrepo1-retention-full=9\n\
             [{STANZA}]\npg1-path={}\npg1-port={PORT}\npg1-socket-path={}\n",
            path("log"),
            path("lock"),
            path("repo"),
            path("data"),
            repository.directory.path().display()
        );
        fs::write(repository.conf(), conf)?;
        repository.run(&[&format!("{PROGRAMS}/initdb"), "--auth=trust", "--no-sync", &path("data")])?;
        Ok(repository)
    }

    /// pgBackRest's configuration.
    pub(crate) fn conf(&self) -> PathBuf {
        self.path("pgbackrest.conf")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pgbackrest(&self, command: &[&str]) -> Result<Output> {
        let program = self.pgbackrest.display().to_string();
        let config = format!("--config={}", self.conf().display());
        self.run(&[&[&program, "--stanza=demo", &config], command].concat())
    }

    /// Runs a command to its end, which must be a good one.
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output()?;
        if output.status.success() {
            return Ok(output);
        }
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(format!("{arguments:?}: {out}{err}").into())
    }

    /// A command that runs as postgres where root measures, as PostgreSQL and newer versions of pgBackRest refuse root.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        if nix::unistd::getuid().is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]);
        }
        command.arg("--").args(arguments).current_dir(self.directory.path());
        command
    }

    /// The user who runs the benchmark writes what follows.
    fn open(&self) -> Result<()> {
        self.run(&["chmod", "-R", "a+rwX", &self.path("repo").display().to_string()])?;
        Ok(())
    }

    fn archive_directory(&self) -> PathBuf {
        self.path("repo/archive").join(STANZA).join("15-1")
    }

    fn last_segment(&self) -> Result<u32> {
        let mut last = None;
        for directory in fs::read_dir(self.archive_directory())? {
            let directory = directory?.path();
            for file in directory.is_dir().then(|| fs::read_dir(&directory)).into_iter().flatten().flatten() {
                let name = file?.file_name().into_string().map_err(|name| format!("{}", name.display()))?;
                // A segment and its checksum, not the history file of a backup.
                if let (Some(segment), Some("-")) = (name.get(8..24), name.get(24..25)) {
                    let number = u64::from_str_radix(segment, 16)?;
                    last = last.max(Some(u32::try_from(
                        (number >> 32) * u64::from(PER_DIRECTORY) + (number & 0xFF),
                    )?));
                }
            }
        }
        last.ok_or_else(|| "nothing is archived".into())
    }

    /// Archives segments `first..last`.
    pub(crate) fn archive(&self, first: u32, last: u32) -> Result<()> {
        for number in first..last {
            let (high, low) = (number / PER_DIRECTORY, number % PER_DIRECTORY);
            let directory = self.archive_directory().join(format!("00000001{high:08X}"));
            if low == 0 || number == first {
                fs::create_dir_all(&directory)?;
            }
            let name = format!("00000001{high:08X}{low:08X}-{number:040x}.gz");
            File::create(directory.join(name))?.set_len(SEGMENT_BYTES)?;
        }
        Ok(())
    }
}

/// Of a socket in the directory.
const PORT: &str = "5432";
