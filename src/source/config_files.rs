//! pgBackRest's configuration, read for what `info` does not tell: storage, retention, the end of credentials.
//!
//! That they cannot be read is a fact and no failure: pgBackRest itself says what is wrong with them. No secret leaves
//! this file; of a credential only its end is kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::pgbackrest::command::Program;
use crate::pgbackrest::conf::{Conf, RepoOptions};
use crate::pgbackrest::version::Product;
use crate::state::snapshot::{CredentialExpiry, CredentialKind, RepoSettings};

use super::credentials;
use super::environment::Environment;

/// Additional files in `config-path`.
const INCLUDE_IN_PATH: &str = "conf.d";
/// Bytes of one file, and of all together.
const MAX_FILE: u64 = 1 << 20;
const MAX_TOTAL: usize = 8 << 20;
/// Files of the include directory.
const MAX_FILES: usize = 200;
/// Reading takes this long only where a file system hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// The configuration as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Configuration {
    conf: Conf,
    /// Ends of the certificates that the configuration names, by file.
    ends: BTreeMap<(CredentialKind, PathBuf), DateTime<Utc>>,
}

/// Reads the files again when they have changed.
#[derive(Debug)]
pub struct ConfigFiles {
    given: GivenPlaces,
    /// Whose default paths apply where nothing else is given.
    product: Product,
    /// What the variables say that pgBackRest gets, if there are any; never their values, which may be secrets.
    environment: Option<Conf>,
    last: Option<Reading>,
    /// A reading that did not end in time. No other begins before it ends.
    stuck: Option<JoinHandle<Reading>>,
}

/// Where flags and variables say that the files are.
#[derive(Debug, Clone)]
struct GivenPlaces {
    config: Option<PathBuf>,
    include: Option<PathBuf>,
    path: Option<PathBuf>,
}

/// Where pgBackRest looks.
#[derive(Debug, Clone)]
struct Places {
    /// The first that exists is the main file.
    main: Vec<PathBuf>,
    /// That it is missing is an error.
    needs_main: bool,
    include: Option<PathBuf>,
    needs_include: bool,
}

/// What was read, and by what to tell that it has changed.
#[derive(Debug, Clone)]
struct Reading {
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    configuration: Result<Option<Arc<Configuration>>, String>,
}

/// Device, file number, size and time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl ConfigFiles {
    /// What pgBackRest reads when it is started so.
    #[must_use]
    pub fn of(program: &Program, environment: &Environment) -> Self {
        let variables: Vec<(&str, &str)> = environment.options().collect();
        let given = GivenPlaces::of(program, &variables);
        let environment = (!variables.is_empty()).then(|| Conf::from_environment(variables));
        Self { given, product: Product::default(), environment, last: None, stuck: None }
    }

    /// Reads what has changed since last time, where this product looks. None where there is no configuration or it cannot
    /// be read.
    pub async fn refresh(&mut self, product: Product) -> Option<Arc<Configuration>> {
        if self.product != product {
            (self.product, self.last) = (product, None);
        }
        let before = self.last.as_ref().map(|last| last.configuration.as_ref().err().cloned());
        let mut reading = self.stuck.take().unwrap_or_else(|| {
            let (places, environment) = (self.given.places(product), self.environment.clone());
            let last = self.last.clone();
            tokio::task::spawn_blocking(move || places.read(environment, last))
        });
        match timeout(DEADLINE, &mut reading).await {
            Ok(Ok(reading)) => self.last = Some(reading),
            Ok(Err(error)) => self.fail(format!("reading it failed: {error}")),
            Err(_) => {
                self.stuck = Some(reading);
                self.fail("its file system does not answer; mount it again".to_owned());
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

    fn fail(&mut self, problem: String) {
        self.last = Some(Reading { stamps: Vec::new(), configuration: Err(problem) });
    }
}

impl Configuration {
    /// Names of the stanzas that have a section.
    #[must_use]
    pub fn stanzas(&self) -> Vec<&str> {
        self.conf.stanzas()
    }

    /// Numbers of the repositories.
    #[must_use]
    pub fn repo_keys(&self) -> Vec<u32> {
        self.conf.repo_keys()
    }

    /// The directories of locks that are configured.
    pub fn lock_paths(&self) -> impl Iterator<Item = &Path> {
        self.conf.lock_paths().map(Path::new)
    }

    /// What is configured for one stanza in one repository; none where pgBackRest would refuse it.
    #[must_use]
    pub fn settings(&self, stanza: &str, key: u32) -> Option<RepoSettings> {
        // Before 2.32 the only repository had no number in answers, and 1 in the configuration.
        let options = self.conf.repo_options(stanza, key.max(1)).ok()?;
        let of_files = certificates(&options).filter_map(|(kind, path)| {
            let end = self.ends.get(&(kind, path))?;
            Some(CredentialExpiry { kind, not_after: *end })
        });
        let settings = RepoSettings::of(&options);
        let mut credentials: Vec<CredentialExpiry> = of_files.chain(settings.credentials).collect();
        // Of two certificates of one kind the one that ends first counts.
        credentials.sort_by_key(|credential| (credential.kind, credential.not_after));
        credentials.dedup_by_key(|credential| credential.kind);
        Some(RepoSettings { credentials, ..settings })
    }
}

fn certificates(options: &RepoOptions) -> impl Iterator<Item = (CredentialKind, PathBuf)> {
    let file = |kind, path: &Option<String>| path.as_ref().map(|path| (kind, PathBuf::from(path)));
    [
        file(CredentialKind::TlsClient, &options.host_cert_file),
        file(CredentialKind::TlsCa, &options.host_ca_file),
        file(CredentialKind::TlsCa, &options.storage_ca_file),
    ]
    .into_iter()
    .flatten()
}

impl GivenPlaces {
    fn of(program: &Program, variables: &[(&str, &str)]) -> Self {
        let said = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| PathBuf::from(value))
        };
        let config = program.config.clone().or_else(|| said("PGBACKREST_CONFIG"));
        let include = program.config_include_path.clone().or_else(|| said("PGBACKREST_CONFIG_INCLUDE_PATH"));
        Self { config, include, path: said("PGBACKREST_CONFIG_PATH") }
    }

    fn places(&self, product: Product) -> Places {
        let Self { config, include, path } = self.clone();
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
        Places { main, needs_main, include, needs_include }
    }
}

impl Places {
    fn read(&self, environment: Option<Conf>, last: Option<Reading>) -> Reading {
        let unchanged = |last: &Reading| {
            !last.stamps.is_empty() && last.stamps.iter().all(|(path, before)| stamp(path) == *before)
        };
        if let Some(last) = last.filter(unchanged) {
            return last;
        }
        // Taken before reading, so that a change meanwhile is seen next time.
        let mut stamps: Vec<_> = self.watched().into_iter().map(|path| (stamp(&path), path)).collect();
        let configuration = self.files().and_then(|files| {
            stamps.extend(files.iter().map(|path| (stamp(path), path.clone())));
            if files.is_empty() && environment.is_none() {
                return Ok(None);
            }
            let conf = parse(&files)?.including(environment.unwrap_or_default());
            let names = certificate_files(&conf);
            stamps.extend(names.iter().map(|(_, path)| (stamp(path), path.clone())));
            let end = |(kind, path): (CredentialKind, PathBuf)| {
                let pem = credentials::is_readable_file(&path).then(|| read_capped(&path).ok())??;
                let end = match kind {
                    CredentialKind::TlsCa => credentials::latest_end(&pem),
                    _ => credentials::end_of_first(&pem),
                };
                Some(((kind, path), end?))
            };
            let ends = names.into_iter().filter_map(end).collect();
            Ok(Some(Arc::new(Configuration { conf, ends })))
        });
        Reading { stamps: stamps.into_iter().map(|(stamp, path)| (path, stamp)).collect(), configuration }
    }

    /// What tells that files have come or gone.
    fn watched(&self) -> Vec<PathBuf> {
        self.include.iter().chain(&self.main).cloned().collect()
    }

    /// The files in the order in which pgBackRest reads them.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
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
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .take(MAX_FILES + 1)
            .collect();
        if included.len() > MAX_FILES {
            return Err(format!("{} holds more than {MAX_FILES} files", directory.display()));
        }
        included.sort();
        files.extend(included);
        Ok(files)
    }
}

fn parse(files: &[PathBuf]) -> Result<Conf, String> {
    let mut texts = Vec::new();
    let mut total = 0;
    for file in files {
        let unreadable = |error: String| format!("cannot read {}: {error}", file.display());
        if !credentials::is_readable_file(file) {
            return Err(unreadable("it is missing, out of reach or not a file".to_owned()));
        }
        let bytes = read_capped(file).map_err(|error| unreadable(error.to_string()))?;
        total += bytes.len();
        if total > MAX_TOTAL {
            return Err(unreadable(format!("all files together hold more than {MAX_TOTAL} bytes")));
        }
        texts.push((file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    let texts: Vec<(&str, &str)> = texts.iter().map(|(file, text)| (&**file, &**text)).collect();
    Conf::parse(&texts).map_err(|error| error.to_string())
}

/// The certificates of all stanzas, those of stanzas without a section of their own included.
fn certificate_files(conf: &Conf) -> Vec<(CredentialKind, PathBuf)> {
    let mut files = Vec::new();
    for stanza in conf.stanzas().into_iter().chain([""]) {
        for key in conf.repo_keys() {
            files.extend(conf.repo_options(stanza, key).iter().flat_map(certificates));
        }
    }
    files.sort();
    files.dedup();
    files
}

fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it holds more than {MAX_FILE} bytes"),
        ));
    }
    Ok(bytes)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests;
