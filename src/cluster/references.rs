//! What a resource refers to, as far as somebody has looked: data for `validate`, without any secret.

use std::collections::BTreeMap;

use super::validated::RepoNumber;

/// What was looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lookup<T> {
    /// Nobody looked, as when a manifest is checked without a Kubernetes API.
    #[default]
    NotChecked,
    /// It does not exist.
    Missing,
    /// It is there.
    Found(T),
}

/// Everything that a resource can refer to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct References {
    /// The Secret that `configuration.secret` names.
    pub secret: Lookup<SecretFacts>,
    /// Storage classes by name. What is not in here was not looked up.
    pub storage_classes: BTreeMap<String, Lookup<StorageClassFacts>>,
    /// Volumes that exist for the repos.
    pub volumes: BTreeMap<RepoNumber, VolumeFacts>,
    /// Objects under names of ours that are not ours.
    pub taken: Lookup<Vec<TakenName>>,
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
}

/// An object that has a name of ours and another owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenName {
    /// Such as `CronJob`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Who seems to own it, in words.
    pub owner: String,
}

/// What a Secret holds: names of files and options, no values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretFacts {
    /// By key of the Secret, every key.
    pub files: BTreeMap<String, SecretFile>,
    /// Why nothing could be read from it, as when a manifest has a text where a map belongs.
    pub unreadable: Option<String>,
}

/// One key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretFile {
    /// Options in the order of the file. Empty for a key that pgBackRest does not read as configuration.
    pub options: Vec<SecretOption>,
    /// Numbers of lines, from 1, on which pgBackRest would stop.
    pub bad_lines: Vec<usize>,
}

/// An option in a configuration file of a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretOption {
    /// The section, such as `global`.
    pub section: String,
    /// The option, such as `repo1-s3-key`.
    pub name: String,
    /// Whether it has no value.
    pub empty: bool,
    /// The value of options whose name ends in `-type`, which choose between words that are no secrets.
    pub choice: Option<String>,
}

/// Whether pgBackRest reads a file of this name from its include directory (2.45: names that match `.+\.conf`).
#[must_use]
pub fn is_configuration_file(name: &str) -> bool {
    name.strip_suffix(".conf").is_some_and(|stem| !stem.is_empty())
}

impl SecretFacts {
    /// Notes what a Secret's keys hold. The values are read and forgotten.
    pub fn read<'text>(data: impl IntoIterator<Item = (&'text str, &'text [u8])>) -> Self {
        let files = data.into_iter().map(|(key, content)| {
            let file =
                if is_configuration_file(key) { SecretFile::read(content) } else { SecretFile::default() };
            (key.to_owned(), file)
        });
        Self { files: files.collect(), unreadable: None }
    }

    /// The options of all configuration files, with the file's name.
    pub fn options(&self) -> impl Iterator<Item = (&str, &SecretOption)> {
        self.files
            .iter()
            .flat_map(|(key, file)| file.options.iter().map(move |option| (key.as_str(), option)))
    }
}

impl SecretFile {
    /// The line format of pgBackRest's configuration: sections, `key=value`, comments that begin with `#`.
    fn read(content: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(content) else {
            return Self { options: Vec::new(), bad_lines: vec![1] };
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
