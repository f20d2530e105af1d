//! Objects that a resource refers to, as far as they were looked up: input of `validate`, without secrets.

use std::collections::{BTreeMap, BTreeSet};

use super::address::IpFamilies;
use super::location::{AccountHash, Conflict};
use super::names;
use super::validated::RepoNumber;
use crate::pgbackrest::options;
use crate::pgbackrest::version::Version;

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lookup<T> {
    /// Not looked up, for example because there is no Kubernetes API.
    #[default]
    NotChecked,
    /// It does not exist.
    Missing,
    /// It exists.
    Found(T),
}

/// Everything that a resource can refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// The Secret that `configuration.secret` names.
    pub secret: Lookup<SecretFacts>,
    /// Storage classes by name. Others were not looked up.
    pub storage_classes: BTreeMap<String, Lookup<StorageClassFacts>>,
    /// Volumes that exist for the repos.
    pub volumes: BTreeMap<RepoNumber, VolumeFacts>,
    /// Objects with our names that have another owner.
    pub taken: Lookup<Vec<TakenName>>,
    /// Repos whose stanza was verified: archiving uses them.
    pub established: BTreeSet<RepoNumber>,
    /// The version of pgBackRest that was seen in the cluster's pods.
    pub version: Option<Version>,
    /// The families of the Service of the cluster's pods, if it exists.
    pub families: Option<IpFamilies>,
    /// Repos that are where another cluster has one.
    pub conflicts: Vec<Conflict>,
}

impl References {
    /// Whether the Secret is known to have an option of pgBackRest.
    #[must_use]
    pub fn secret_has(&self, option: &str) -> bool {
        match &self.secret {
            Lookup::Found(facts) => facts.options().any(|(_, given)| given.name == option),
            Lookup::NotChecked | Lookup::Missing => false,
        }
    }
}

/// A StorageClass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageClassFacts {
    /// `allowVolumeExpansion`.
    pub allows_expansion: bool,
}

/// A PersistentVolumeClaim of a repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// `spec.resources.requests.storage`.
    pub size: String,
    /// `spec.storageClassName`.
    pub storage_class: Option<String>,
    /// `spec.accessModes`.
    pub access_modes: Vec<String>,
}

/// An object with one of our names and another owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenName {
    /// Such as `CronJob`.
    pub kind: String,
    pub name: String,
    /// A description of its apparent owner.
    pub owner: String,
}

/// Contents of a Secret: names of files and options, no values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SecretFacts {
    /// All keys of the Secret.
    pub files: BTreeMap<String, SecretFile>,
    /// Why it cannot be read, for example because a manifest has a string instead of a map.
    pub unreadable: Option<String>,
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SecretFile {
    /// Options in the order of the file. Empty if pgBackRest does not read the key as configuration.
    pub options: Vec<SecretOption>,
    /// Numbers of lines, from 1, that pgBackRest would reject.
    pub bad_lines: Vec<usize>,
    /// Whether some of it is encrypted or a placeholder, so that it is not known what pgBackRest reads.
    pub veiled: bool,
}

/// An option in a configuration file of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretOption {
    /// The section, such as `global`.
    pub section: String,
    /// The option, such as `repo1-s3-key`.
    pub name: String,
    /// Whether its value is empty.
    pub empty: bool,
    /// The value of options ending in `-type`, which are never secret.
    pub choice: Option<String>,
    /// The name of a file beside the configuration, if the value is the path of one.
    pub file: Option<String>,
    /// The value of `repoN-path`, if it is one.
    pub path: Option<String>,
    /// The value of `repoN-azure-account`, which can only be compared.
    pub account: Option<AccountHash>,
}

/// The name of a file beside the configuration, if this is the path of one.
#[must_use]
pub fn file_beside_configuration(path: &str) -> Option<&str> {
    let name = path.strip_prefix(names::CONFIGURATION_DIRECTORY)?.strip_prefix('/')?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Whether pgBackRest reads a file with this name from its include directory (2.45: names matching `.+\.conf`).
#[must_use]
pub fn is_configuration_file(name: &str) -> bool {
    name.strip_suffix(".conf").is_some_and(|stem| !stem.is_empty())
}

impl SecretFacts {
    /// Reads the keys of a Secret. Values are not kept.
    pub fn read<'text>(data: impl IntoIterator<Item = (&'text str, &'text [u8])>) -> Self {
        let files = data.into_iter().map(|(key, content)| (key.to_owned(), SecretFile::of(key, content)));
        Self { files: files.collect(), unreadable: None }
    }

    /// Whether a configuration file is partly or wholly unknown.
    #[must_use]
    pub fn is_veiled(&self) -> bool {
        self.files.iter().any(|(key, file)| file.veiled && is_configuration_file(key))
    }

    /// The options of all configuration files, with the file's name.
    pub fn options(&self) -> impl Iterator<Item = (&str, &SecretOption)> {
        self.files
            .iter()
            .flat_map(|(key, file)| file.options.iter().map(move |option| (key.as_str(), option)))
    }
}

impl SecretFile {
    /// Reads one key of a Secret.
    #[must_use]
    pub fn of(key: &str, content: &[u8]) -> Self {
        if is_configuration_file(key) { Self::read(content) } else { Self::default() }
    }

    /// The format of pgBackRest's configuration: sections, `key=value`, comments starting with `#`.
    fn read(content: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(content) else {
            return Self { bad_lines: vec![1], ..Self::default() };
        };
        let mut file = Self::default();
        let mut section: Option<&str> = None;
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                section = name.strip_suffix(']');
                if section.is_none() {
                    file.bad_lines.push(number);
                }
                continue;
            }
            let (Some(section), Some((name, value))) = (section, line.split_once('=')) else {
                file.bad_lines.push(number);
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            file.options.push(SecretOption {
                section: section.to_owned(),
                name: name.to_owned(),
                empty: value.is_empty(),
                choice: name.ends_with("-type").then(|| value.to_owned()),
                file: file_beside_configuration(value).map(str::to_owned),
                account: name.ends_with("-azure-account").then(|| AccountHash::of(value)),
                path: (name.ends_with("-path") && options::is_plain_path(value)).then(|| value.to_owned()),
            });
        }
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_values() {
        let conf = "# keys\n[global]\nrepo1-s3-key = AKIA\n repo1-s3-key-secret=hunter2\nrepo1-cipher-type=aes-256-cbc\nrepo2-cipher-pass=\n";
        let facts = SecretFacts::read([("s3.conf", conf.as_bytes()), ("gcs.json", b"{hunter2".as_slice())]);
        assert!(!format!("{facts:?}").contains("hunter2"));
        assert!(!format!("{facts:?}").contains("AKIA"));
        let names: Vec<_> =
            facts.options().map(|(file, option)| (file, option.name.as_str(), option.empty)).collect();
        assert_eq!(
            names,
            [
                ("s3.conf", "repo1-s3-key", false),
                ("s3.conf", "repo1-s3-key-secret", false),
                ("s3.conf", "repo1-cipher-type", false),
                ("s3.conf", "repo2-cipher-pass", true),
            ]
        );
        assert_eq!(facts.files["s3.conf"].options[2].choice.as_deref(), Some("aes-256-cbc"));
        assert!(facts.files["gcs.json"].options.is_empty());
    }

    #[test]
    fn bad_lines_are_counted_from_one() {
        let facts =
            SecretFacts::read([("a.conf", b"repo1-s3-key=1\n[global\n[global]\n;x\nno value".as_slice())]);
        assert_eq!(facts.files["a.conf"].bad_lines, [1, 2, 4, 5]);
    }

    #[test]
    fn only_conf_files_are_configuration() {
        assert!(is_configuration_file("s3.conf"));
        assert!(!is_configuration_file(".conf"));
        assert!(!is_configuration_file("pvc.configuration"));
    }
}
