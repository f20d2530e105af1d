//! pgBackRest's configuration: storage, retention and expiry of credentials of repositories, and options for archiving.
//!
//! The effective value of an option is searched in the environment and in the sections `[stanza:command]`,
//! `[stanza]`, `[global:command]` and `[global]` of the files, in this order, like `src/config/parse.c` of
//! pgBackRest. Only the options below are kept. Values of other options are never stored, so no secret is: of a
//! shared access signature, only the expiry is kept.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::label::BackupType;

mod archiving;
mod option;
mod reader;
mod sas;
#[cfg(test)]
mod tests;

pub use archiving::Archiving;
pub use option::HostOption;
pub use reader::ConfError;

use option::{Name, Value};

/// The command whose section determines retention: `backup` runs `expire` with its own options.
const KEEPING_COMMAND: &str = "backup";
/// The command whose section determines how we reach repositories.
const ASKING_COMMAND: &str = "info";
/// Options of `info` that, in addition to repository options, determine how to reach a repository, or where its locks are.
const REACHING_OPTIONS: [&str; 6] =
    ["cmd-ssh", "io-timeout", "lock-path", "protocol-timeout", "tls-cipher-12", "tls-cipher-13"];
/// The kinds of storage that pgBackRest knows (`repo-type`).
const STORAGE_TYPES: [&str; 6] = ["azure", "cifs", "gcs", "posix", "s3", "sftp"];
/// The prefix of variables that set options.
pub const VARIABLE_PREFIX: &str = "PGBACKREST_";
/// The largest retention that pgBackRest accepts.
const MAX_RETENTION: u32 = 9_999_999;

/// The supported parts of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Conf {
    /// By section, such as `global`, `demo` or `demo:backup`.
    sections: BTreeMap<String, Section>,
    /// Options from variables, which override all sections.
    environment: Section,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Section {
    /// By the number of the repository, or for archiving of the PostgreSQL cluster.
    options: BTreeMap<(u32, Name), Value>,
    /// Repositories that any option defines.
    repo_keys: BTreeSet<u32>,
    /// Whether it has one of [`REACHING_OPTIONS`].
    has_reaching_option: bool,
    /// Options about files on the host.
    host_options: BTreeMap<HostOption, Value>,
}

/// The options of one stanza in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoOptions {
    /// `repoN-type`, default `posix`; with `repoN-host`, its protocol: `ssh` or `tls`.
    pub storage: &'static str,
    /// `repoN-host`.
    pub host: Option<String>,
    /// `repoN-retention-full`: a count or days.
    pub retention_full: Option<u32>,
    /// `repoN-retention-full-type`, default `count`.
    pub retention_full_type: RetentionType,
    /// `repoN-retention-diff`.
    pub retention_diff: Option<u32>,
    /// `repoN-retention-archive`, if set.
    pub retention_archive: Option<u32>,
    /// `repoN-retention-archive-type`, default `full`.
    pub retention_archive_type: BackupType,
    /// `repoN-host-cert-file`: path of our certificate for the repository host.
    pub host_cert_file: Option<String>,
    /// `repoN-host-ca-file`: path of the CA certificates for the repository host.
    pub host_ca_file: Option<String>,
    /// `repoN-storage-ca-file`: path of the CA certificates for the object store.
    pub storage_ca_file: Option<String>,
    /// When the shared access signature in `repoN-azure-key` expires; only with `repoN-azure-key-type=sas`.
    pub azure_sas_expiry: Option<DateTime<Utc>>,
}

/// What `repoN-retention-full` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetentionType {
    /// Full backups.
    #[default]
    Count,
    /// Days.
    Time,
}

impl Conf {
    /// Parses the main file and then the included ones, in the order of their names, like pgBackRest.
    ///
    /// # Errors
    /// A line that pgBackRest would not read, with its file and number; never its text, which may be a secret.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, ConfError> {
        let mut conf = Self::default();
        for (file, text) in files {
            for line in reader::lines(file, text) {
                let line = line?;
                conf.sections.entry(line.section.to_owned()).or_default().add(line.key, &line.setting);
            }
        }
        Ok(conf)
    }

    /// Options from environment variables, such as `PGBACKREST_REPO1_TYPE`.
    #[must_use]
    pub fn from_environment<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut conf = Self::default();
        for (name, value) in variables {
            let Some(option) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            let key = option.to_ascii_lowercase().replace('_', "-");
            conf.environment.add(&key, &reader::Setting { file: "environment", line: None, name, value });
        }
        conf
    }

    /// Adds options of included files or of the environment.
    #[must_use]
    pub fn including(mut self, others: Self) -> Self {
        for (name, section) in others.sections {
            self.sections.entry(name).or_default().include(section);
        }
        self.environment.include(others.environment);
        self
    }

    /// Names of the stanzas that have a section, ascending.
    #[must_use]
    pub fn stanzas(&self) -> Vec<&str> {
        let stanzas: BTreeSet<&str> = self.stanza_sections().map(|(name, _)| name).collect();
        stanzas.into_iter().collect()
    }

    /// Names of the stanzas with their own repository or lock options. `info` for all stanzas only reads the global sections, so it
    /// looks for these in the wrong place, or uses the wrong key.
    #[must_use]
    pub fn stanzas_apart(&self) -> BTreeSet<&str> {
        let is_apart = |section: &Section| section.has_reaching_option || !section.repo_keys.is_empty();
        self.stanza_sections().filter(|(_, section)| is_apart(section)).map(|(name, _)| name).collect()
    }

    /// The sections of stanzas and of their commands, with the name of the stanza.
    fn stanza_sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        let named = self.sections.iter().map(|(name, section)| {
            let stanza = name.split_once(':').map_or(&**name, |(stanza, _)| stanza);
            (stanza, section)
        });
        named.filter(|(stanza, _)| *stanza != "global")
    }

    /// Numbers of all repositories that any section defines, ascending; repo1 if there are none, like pgBackRest.
    #[must_use]
    pub fn repo_keys(&self) -> Vec<u32> {
        keys_or_first([&self.environment].into_iter().chain(self.sections.values()))
    }

    /// Numbers of the repositories that `info` reads for a stanza, or for all, ascending.
    #[must_use]
    pub fn repo_keys_of(&self, stanza: Option<&str>) -> Vec<u32> {
        keys_or_first(self.visible(stanza, ASKING_COMMAND))
    }

    /// The effective options of one stanza in one repository.
    ///
    /// # Errors
    /// An option that pgBackRest would reject, with its file and line, its value and a remedy.
    pub fn repo_options(&self, stanza: &str, key: u32) -> Result<RepoOptions, ConfError> {
        let sections = |command| self.visible(Some(stanza), command).collect::<Vec<&Section>>();
        let (when_asking, when_keeping) = (sections(ASKING_COMMAND), sections(KEEPING_COMMAND));
        let asking = |name| value(&when_asking, key, name);
        let keeping = |name| value(&when_keeping, key, name);
        let text = |name| asking(name).map(Value::text).transpose();
        let number = |name| keeping(name).map(|value| value.number(MAX_RETENTION)).transpose();

        let host = text(Name::Host)?;
        let host_type = choice(asking(Name::HostType), &["ssh", "tls"], "ssh")?;
        let storage_type = choice(asking(Name::Type), &STORAGE_TYPES, "posix")?;
        let has_sas = choice(asking(Name::AzureKeyType), &["auto", "sas", "shared"], "shared")? == "sas";
        let retention_full_type = match choice(keeping(Name::RetentionFullType), &["count", "time"], "count")?
        {
            "time" => RetentionType::Time,
            _ => RetentionType::Count,
        };
        let retention_archive_type =
            match choice(keeping(Name::RetentionArchiveType), &["full", "diff", "incr"], "full")? {
                "diff" => BackupType::Diff,
                "incr" => BackupType::Incr,
                _ => BackupType::Full,
            };
        Ok(RepoOptions {
            storage: if host.is_some() { host_type } else { storage_type },
            host,
            retention_full: number(Name::RetentionFull)?,
            retention_full_type,
            retention_diff: number(Name::RetentionDiff)?,
            retention_archive: number(Name::RetentionArchive)?,
            retention_archive_type,
            host_cert_file: text(Name::HostCertFile)?,
            host_ca_file: text(Name::HostCaFile)?,
            storage_ca_file: text(Name::StorageCaFile)?,
            azure_sas_expiry: asking(Name::AzureKey).filter(|_| has_sas).and_then(Value::expiry),
        })
    }

    /// An option about files on the host, as `backup` of a stanza sees it; none if it is not set.
    ///
    /// # Errors
    /// A value that pgBackRest would reject, with its file and line, and a remedy.
    pub fn host_option(&self, stanza: &str, option: HostOption) -> Result<Option<String>, ConfError> {
        let mut sections = self.visible(Some(stanza), KEEPING_COMMAND);
        sections.find_map(|section| section.host_options.get(&option)).map(Value::text).transpose()
    }

    /// `lock-path` of every section.
    pub fn lock_paths(&self) -> impl Iterator<Item = String> {
        let sections = [&self.environment].into_iter().chain(self.sections.values());
        sections.filter_map(|section| section.host_options.get(&HostOption::LockPath)?.text().ok())
    }

    /// The environment and the applicable sections, in order of precedence.
    fn visible(&self, stanza: Option<&str>, command: &str) -> impl Iterator<Item = &Section> {
        let bases = stanza.into_iter().chain(["global"]);
        let names: Vec<String> =
            bases.flat_map(|base| [format!("{base}:{command}"), base.to_owned()]).collect();
        let sections = names.into_iter().filter_map(|name| self.sections.get(&name));
        [&self.environment].into_iter().chain(sections)
    }
}

impl Section {
    fn add(&mut self, key: &str, setting: &reader::Setting<'_>) {
        self.has_reaching_option |= REACHING_OPTIONS.contains(&key);
        if let Some(option) = HostOption::of(key) {
            set(&mut self.host_options, option, Value::plain(setting));
        }
        if let Some((key, name)) = option::of_archiving(key) {
            return set(&mut self.options, (key, name), Value::new(name, setting));
        }
        let Some((key, option)) = option::split(key) else { return };
        // Retention alone does not define a repository: info does not know the option.
        if !option.starts_with("retention-") {
            self.repo_keys.insert(key);
        }
        let Some(name) = Name::of(option) else { return };
        set(&mut self.options, (key, name), Value::new(name, setting));
    }

    fn include(&mut self, other: Self) {
        self.repo_keys.extend(other.repo_keys);
        self.has_reaching_option |= other.has_reaching_option;
        for (option, value) in other.options {
            set(&mut self.options, option, value);
        }
        for (option, value) in other.host_options {
            set(&mut self.host_options, option, value);
        }
    }
}

/// pgBackRest uses neither value of an option that a section sets twice.
fn set<K: Ord>(options: &mut BTreeMap<K, Value>, option: K, value: Value) {
    match options.entry(option) {
        Entry::Vacant(vacant) => _ = vacant.insert(value),
        Entry::Occupied(mut taken) => _ = taken.insert(value.repeated()),
    }
}

fn value<'a>(sections: &[&'a Section], key: u32, name: Name) -> Option<&'a Value> {
    sections.iter().find_map(|section| section.options.get(&(key, name)))
}

fn keys_or_first<'a>(sections: impl Iterator<Item = &'a Section>) -> Vec<u32> {
    let keys: BTreeSet<u32> = sections.flat_map(|section| &section.repo_keys).copied().collect();
    if keys.is_empty() { vec![1] } else { keys.into_iter().collect() }
}

fn choice(
    value: Option<&Value>,
    allowed: &[&'static str],
    default: &'static str,
) -> Result<&'static str, ConfError> {
    value.map_or(Ok(default), |value| value.choice(allowed))
}
