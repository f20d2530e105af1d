//! PostgreSQL's programs of the version of the backup.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::postgres::version;
use crate::source::environment::Environment;
use crate::source::process::{self, Ending, Limits};
use crate::state::proofs::reason::ReasonClass;

use super::stop::Stop;

/// Where distributions install versions side by side: Debian, and PostgreSQL's own packages for others.
const PLACES: [(&str, &str); 2] = [("/usr/lib/postgresql/", "/bin"), ("/usr/pgsql-", "/bin")];
/// Earlier versions have no `standby.signal`.
const OLDEST: u32 = 12;
/// For programs that read next to nothing.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    directory: PathBuf,
    pub(super) version: String,
    pub(super) major: u32,
}

impl Programs {
    /// Finds those of a major version. `directory` is where the user says that they are.
    pub(super) async fn find(
        directory: Option<&Path>,
        major: Option<u32>,
        environment: &Environment,
        cancellation: &CancellationToken,
    ) -> Result<Self, Stop> {
        let missing = |message: String| Stop::new(ReasonClass::MissingPrograms, message);
        if let Some(major) = major.filter(|major| *major < OLDEST) {
            return Err(missing(format!(
                "PostgreSQL {major} cannot be tested; {OLDEST} is the oldest version"
            )));
        }
        let usual = || {
            let major = major?;
            let paths = PLACES.iter().map(|(before, after)| PathBuf::from(format!("{before}{major}{after}")));
            paths.into_iter().find(|path| path.join("postgres").is_file())
        };
        let directory = directory.map(Path::to_owned).or_else(usual).ok_or_else(|| {
            let version = major.map_or_else(|| "of the backup".to_owned(), |major| major.to_string());
            missing(format!("PostgreSQL {version} is not installed in a usual place; give --pg-bin-dir"))
        })?;
        let program = directory.join("postgres");
        let argv = [OsString::from(&program), "--version".into()];
        let said = output(&argv, environment, TIMEOUT, cancellation).await?;
        let found = (said.code == Some(0)).then(|| version::parse(&said.stdout)).flatten();
        let (version, found) =
            found.ok_or_else(|| missing(format!("{} does not print its version", program.display())))?;
        match major {
            Some(major) if found != major => Err(missing(format!(
                "{} is PostgreSQL {found}, and the backup is of {major}",
                program.display()
            ))),
            _ if found < OLDEST => Err(missing(format!("PostgreSQL {found} cannot be tested"))),
            _ => Ok(Self { directory, version, major: found }),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// What a program of PostgreSQL printed.
#[derive(Debug)]
pub(super) struct Said {
    /// None if a signal ended it, as it does if it prints too much.
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// Bytes that a program may print.
const MAX_OUTPUT: usize = 4 << 20;

/// Runs one of PostgreSQL's programs to its end.
pub(super) async fn output(
    argv: &[OsString],
    environment: &Environment,
    timeout: Duration,
    cancellation: &CancellationToken,
) -> Result<Said, Stop> {
    let name = argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let limits = Limits { stdout: MAX_OUTPUT, ..Limits::with_timeout(timeout) };
    let ran = process::run(argv, environment, &limits, cancellation).await;
    let ran = ran.map_err(|error| {
        Stop::new(ReasonClass::MissingPrograms, format!("cannot start {name}: {error}; see --pg-bin-dir"))
    })?;
    let code = match ran.ending {
        Ending::Exited(code) => Some(code),
        Ending::Signalled(_) | Ending::TooLarge(..) | Ending::TooHeavy(_) => None,
        Ending::Cancelled => return Err(Stop::interrupted()),
        Ending::TimedOut | Ending::Silent(_) => return Err(Stop::too_long(&name, timeout)),
        Ending::TooSlow | Ending::NoMemory => {
            return Err(Stop::new(
                ReasonClass::Unclassified,
                format!("there is no memory for the output of {name}"),
            ));
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { code, stdout: text(&ran.stdout), stderr: text(&ran.stderr) })
}
