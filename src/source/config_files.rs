//! pgBackRest's configuration, read for what `info` does not tell: storage, retention, the end of credentials.
//!
//! That they cannot be read is a fact and no failure: pgBackRest itself says what is wrong with them. No secret leaves
//! this file; of a credential only its end is kept.
//!
//! Only files that pgBackRest is known to use are read: those that are named to it, and those at the default paths of the
//! program that runs, if it is pgBackRest or a fork of it and no script (`reader`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::files;
use crate::pgbackrest::command::Program;
use crate::pgbackrest::conf::{Archiving, Conf};
use crate::pgbackrest::spool;
use crate::pgbackrest::version::Product;
use crate::state::snapshot::{ConfigurationHealth, CredentialKind};

use super::credentials;
use super::environment::Environment;

mod configuration;
mod progress;
mod reader;

pub use configuration::Configuration;

use configuration::certificates;
use progress::Progress;
use reader::Reader;

/// Additional files in `config-path`.
const INCLUDE_IN_PATH: &str = "conf.d";
/// Bytes of a file with certificates.
const MAX_CERTIFICATES: usize = 1 << 20;
/// Enough for hundreds of thousands of stanzas, whether they are in one file or in a file each.
const LIMITS: FileLimits = FileLimits { files: 100_000, bytes: 64 << 20 };
/// A file system that does not go on for this long hangs …
const DEADLINE: Duration = Duration::from_secs(10);
/// … and of a reading that goes on, this many times as much is waited for.
const ROUNDS: usize = 6;

/// Reads the files again when they have changed.
#[derive(Debug)]
pub struct ConfigFiles {
    given: GivenPlaces,
    /// What the variables say that pgBackRest gets, if there are any; never their values, which may be secrets.
    environment: Option<Conf>,
    last: Option<Reading>,
    /// A reading that did not end in time. No other begins before it ends.
    stuck: Option<JoinHandle<Reading>>,
    progress: Arc<Progress>,
}

/// Where flags and variables say that the files are.
#[derive(Debug, Clone)]
struct GivenPlaces {
    config: Option<PathBuf>,
    include: Option<PathBuf>,
    path: Option<PathBuf>,
    /// Whose default paths apply where nothing else is given.
    reader: Reader,
    limits: FileLimits,
}

/// Where a program looks.
#[derive(Debug, Clone)]
struct Places {
    /// The first that exists is the main file.
    main: Vec<PathBuf>,
    /// That it is missing is an error.
    needs_main: bool,
    include: Option<PathBuf>,
    needs_include: bool,
    limits: FileLimits,
}

/// How much configuration is read.
#[derive(Debug, Clone, Copy)]
struct FileLimits {
    /// Files of the include directory.
    files: usize,
    /// Bytes of all files together.
    bytes: usize,
}

/// What was read, and by what to tell that it has changed.
#[derive(Debug, Clone)]
struct Reading {
    /// The program whose files they are, or why none can be said to read the files at its default paths.
    whose: Result<Product, String>,
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    configuration: Result<Option<Arc<Configuration>>, String>,
}

impl Reading {
    fn is_current(&self, whose: &Result<Product, String>, stamp: impl Fn(&Path) -> Option<Stamp>) -> bool {
        !self.stamps.is_empty()
            && self.whose == *whose
            && self.stamps.iter().all(|(path, before)| stamp(path) == *before)
    }
}

/// Device, file number, size and time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl ConfigFiles {
    /// What pgBackRest reads when it is started so.
    #[must_use]
    pub fn of(program: &Program, environment: &Environment) -> Self {
        let variables: Vec<(&str, &str)> = environment.options().collect();
        let given = GivenPlaces::of(program, environment);
        let environment = (!variables.is_empty()).then(|| Conf::from_environment(variables));
        Self { given, environment, last: None, stuck: None, progress: Arc::default() }
    }

    /// Reads what has changed since last time, where this product looks; it is none if the program has never said what it
    /// is. None where there is no configuration or it cannot be read.
    pub async fn refresh(&mut self, product: Option<Product>) -> Option<Arc<Configuration>> {
        let before = self.last.as_ref().map(|last| last.configuration.as_ref().err().cloned());
        let mut reading = self.stuck.take().unwrap_or_else(|| {
            let (given, environment) = (self.given.clone(), self.environment.clone());
            let (last, progress) = (self.last.clone(), Arc::clone(&self.progress));
            tokio::task::spawn_blocking(move || given.read(product, environment, last, &progress))
        });
        let (mut ended, mut goes_on) = (None, true);
        for _ in 0..ROUNDS {
            let steps = self.progress.steps();
            ended = timeout(DEADLINE, &mut reading).await.ok();
            goes_on = self.progress.goes_on_since(steps);
            if ended.is_some() || !goes_on {
                break;
            }
        }
        match ended {
            Some(Ok(reading)) => self.last = Some(reading),
            Some(Err(error)) => self.fail(format!("reading it failed: {error}")),
            None => {
                self.stuck = Some(reading);
                self.fail(if goes_on {
                    "its files are too many or too large to be read in time; combine some of them".to_owned()
                } else {
                    "its file system does not respond; remount it".to_owned()
                });
            }
        }
        let last = self.last.as_ref()?;
        let problem = last.configuration.as_ref().err();
        if before != Some(problem.cloned()) {
            if let Some(problem) = problem {
                tracing::warn!(problem, "Ignoring pgBackRest's configuration for storage and retention");
            } else {
                tracing::debug!("Loaded pgBackRest's configuration");
            }
        }
        last.configuration.as_ref().ok().cloned().flatten()
    }

    /// Whether the last reading found nothing wrong; that there is no configuration is not wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.configuration.is_ok())
    }

    /// What the last reading says of the files; none if no configuration is known to be pgBackRest's.
    #[must_use]
    pub fn health(&self) -> Option<ConfigurationHealth> {
        let problem = match &self.last.as_ref()?.configuration {
            Ok(None) => return None,
            Ok(Some(_)) => None,
            Err(problem) => Some(problem.clone()),
        };
        Some(ConfigurationHealth { problem })
    }

    fn fail(&mut self, problem: String) {
        let whose = Err(problem.clone());
        self.last = Some(Reading { whose, stamps: Vec::new(), configuration: Err(problem) });
    }
}

impl GivenPlaces {
    fn of(program: &Program, environment: &Environment) -> Self {
        let said = |name: &str| {
            let found = environment.options().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let config = program.config.clone().or_else(|| said("PGBACKREST_CONFIG"));
        let include = program.config_include_path.clone().or_else(|| said("PGBACKREST_CONFIG_INCLUDE_PATH"));
        let search_path = environment.variables().find(|(name, _)| *name == "PATH");
        let search_path = search_path.map(|(_, value)| value.to_owned()).unwrap_or_default();
        let reader = Reader { program: program.binary.clone(), search_path };
        Self { config, include, path: said("PGBACKREST_CONFIG_PATH"), reader, limits: LIMITS }
    }

    fn read(
        &self,
        product: Option<Product>,
        environment: Option<Conf>,
        last: Option<Reading>,
        progress: &Progress,
    ) -> Reading {
        progress.step();
        match self.whose(product) {
            Ok(whose) => self.places(whose).read(whose, environment, last, progress),
            Err(why) => {
                let whose = Err(why);
                if let Some(last) = last.filter(|last| last.is_current(&whose, stamp)) {
                    return last;
                }
                tracing::info!(why = whose.as_ref().err(), "Ignoring pgBackRest's default configuration");
                let program = self.reader.program.clone();
                Reading { whose, stamps: vec![(program.clone(), stamp(&program))], configuration: Ok(None) }
            }
        }
    }

    /// The program whose files count.
    fn whose(&self, product: Option<Product>) -> Result<Product, String> {
        let found = self.reader.product(product);
        let is_named = self.config.is_some() || self.path.is_some();
        if is_named { Ok(product.or(found.ok()).unwrap_or_default()) } else { found }
    }

    fn places(&self, product: Product) -> Places {
        let (config, include, path) = (self.config.clone(), self.include.clone(), self.path.clone());
        let defaults = product.default_paths();
        let (needs_main, needs_include) = (config.is_some(), include.is_some());
        // With `--config` alone pgBackRest ignores the default include directory.
        let include = include
            .or_else(|| Some(path.as_ref()?.join(INCLUDE_IN_PATH)))
            .or_else(|| config.is_none().then(|| PathBuf::from(defaults.include)));
        let main = match (config, path) {
            (Some(config), _) => vec![config],
            (None, Some(path)) => vec![path.join(defaults.config_name)],
            (None, None) => defaults.config.map(PathBuf::from).to_vec(),
        };
        Places { main, needs_main, include, needs_include, limits: self.limits }
    }
}

impl Places {
    fn read(
        &self,
        whose: Product,
        environment: Option<Conf>,
        last: Option<Reading>,
        progress: &Progress,
    ) -> Reading {
        let stamp = |path: &Path| {
            progress.step();
            stamp(path)
        };
        let default_spool = (whose == Product::PgBackRest).then_some(spool::DEFAULT_PATH);
        let product = whose;
        let whose = Ok(product);
        if let Some(last) = last.filter(|last| last.is_current(&whose, stamp)) {
            return last;
        }
        // Taken before reading, so that a change meanwhile is seen next time.
        let stamped = |path: PathBuf| {
            let stamp = stamp(&path);
            (path, stamp)
        };
        // The directory and the candidates tell that files have come or gone.
        let mut stamps: Vec<_> = self.include.iter().chain(&self.main).cloned().map(stamped).collect();
        let configuration = self.files(progress).and_then(|files| {
            stamps.extend(files.iter().cloned().map(stamped));
            if files.is_empty() && environment.is_none() {
                return Ok(None);
            }
            let texts = read_all(&files, self.limits.bytes, progress)?;
            let (conf, apart, archiving, names) = progress.parse(|| {
                let texts: Vec<(&str, &str)> = texts.iter().map(|(file, text)| (&**file, &**text)).collect();
                let conf = Conf::parse(&texts).map_err(|error| error.to_string())?;
                let conf = conf.including(environment.unwrap_or_default());
                let apart = conf.stanzas_apart().into_iter().map(Arc::from).collect();
                let archiving = archiving(&conf, default_spool);
                let names = certificate_files(&conf);
                Ok::<_, String>((conf, apart, archiving, names))
            })?;
            stamps.extend(names.iter().map(|(_, path)| stamped(path.clone())));
            let end = |(kind, path): (CredentialKind, PathBuf)| {
                progress.step();
                let pem = files::read(&path, MAX_CERTIFICATES).ok()??;
                let end = match kind {
                    CredentialKind::TlsCa => credentials::latest_end(&pem),
                    _ => credentials::end_of_first(&pem),
                };
                Some(((kind, path), end?))
            };
            let ends = names.into_iter().filter_map(end).collect();
            Ok(Some(Arc::new(Configuration { product, conf, apart, archiving, ends })))
        });
        Reading { whose, stamps, configuration }
    }

    /// The files in the order in which pgBackRest reads them.
    fn files(&self, progress: &Progress) -> Result<Vec<PathBuf>, String> {
        let main = self.main.iter().find(|file| self.needs_main || file.exists());
        let mut files: Vec<PathBuf> = main.into_iter().cloned().collect();
        let Some(directory) = &self.include else { return Ok(files) };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.needs_include => {
                return Ok(files);
            }
            Err(error) => return Err(format!("cannot list {}: {error}", directory.display())),
        };
        let mut included: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .inspect(|_| progress.step())
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .take(self.limits.files + 1)
            .collect();
        if included.len() > self.limits.files {
            return Err(format!(
                "{} contains more than {} files, which is the limit; combine some of them",
                directory.display(),
                self.limits.files
            ));
        }
        included.sort();
        files.extend(included);
        Ok(files)
    }
}

/// Names and contents.
fn read_all(files: &[PathBuf], limit: usize, progress: &Progress) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::new();
    let mut left = limit;
    for file in files {
        progress.step();
        let unreadable = |error: String| format!("cannot read {}: {error}", file.display());
        let Some(bytes) = files::read(file, left).map_err(|error| unreadable(error.to_string()))? else {
            return Err(unreadable(format!(
                "all files together contain more than {limit} bytes, which is the limit; remove files that are not needed"
            )));
        };
        left = left.saturating_sub(bytes.len());
        texts.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(texts)
}

/// How the clusters on this host archive. Where forks have their spool by default is not known.
fn archiving(conf: &Conf, default_spool: Option<&str>) -> BTreeMap<Arc<str>, Result<Archiving, String>> {
    let of_stanza = |stanza: &str| {
        let archiving = conf.archiving(stanza).map_err(|error| error.to_string()).transpose()?;
        let archiving = archiving.map(|archiving| Archiving {
            spool_path: archiving.spool_path.clone().or_else(|| default_spool.map(str::to_owned)),
            ..archiving
        });
        Some((Arc::from(stanza), archiving))
    };
    conf.stanzas().into_iter().filter_map(of_stanza).collect()
}

/// The certificates of all stanzas. Those without options of their own share what the global sections name.
fn certificate_files(conf: &Conf) -> Vec<(CredentialKind, PathBuf)> {
    // Not those of each stanza: there may be tens of thousands.
    let keys = conf.repo_keys();
    let mut files = Vec::new();
    for stanza in conf.stanzas_apart().into_iter().chain([""]) {
        for key in &keys {
            files.extend(conf.repo_options(stanza, *key).iter().flat_map(certificates));
        }
    }
    files.sort();
    files.dedup();
    files
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests;
