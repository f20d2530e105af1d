//! The supported options under all names that pgBackRest accepts, and their values.

use chrono::{DateTime, Utc};

use super::super::options;
use super::reader::{ConfError, Setting};
use super::sas;

/// The highest repository number that pgBackRest accepts.
const MAX_REPO_KEY: u32 = 256;

/// A supported option of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Type,
    Host,
    HostType,
    HostCertFile,
    HostCaFile,
    StorageCaFile,
    AzureKey,
    AzureKeyType,
    RetentionFull,
    RetentionFullType,
    RetentionDiff,
    RetentionArchive,
    RetentionArchiveType,
}

impl Name {
    /// Finds an option by its name after `repoN-`. Two of the names are from before 2.33 (`repoN-s3-ca-file`;
    /// pgBackRest commit d1aa765a9), and still accepted by pgBackRest.
    pub(super) fn of(option: &str) -> Option<Self> {
        Some(match option {
            "type" => Self::Type,
            "host" => Self::Host,
            "host-type" => Self::HostType,
            "host-cert-file" => Self::HostCertFile,
            "host-ca-file" => Self::HostCaFile,
            "storage-ca-file" | "s3-ca-file" | "azure-ca-file" => Self::StorageCaFile,
            "azure-key" => Self::AzureKey,
            "azure-key-type" => Self::AzureKeyType,
            "retention-full" => Self::RetentionFull,
            "retention-full-type" => Self::RetentionFullType,
            "retention-diff" => Self::RetentionDiff,
            "retention-archive" => Self::RetentionArchive,
            "retention-archive-type" => Self::RetentionArchiveType,
            _ => return None,
        })
    }
}

/// Repository number and the rest of an option's name: `repo2-type` is `type` of 2.
///
/// pgBackRest 2.45 to 2.60 still accept the names below for repo1, from before repositories had numbers; they reject
/// any other option of a repository without a number.
pub(super) fn split(key: &str) -> Option<(u32, &str)> {
    let unnumbered = match key {
        "backup-host" => Some("host"),
        "retention-full" | "retention-diff" | "retention-archive" | "retention-archive-type" => Some(key),
        "repo-path" | "repo-type" | "repo-cipher-type" | "repo-cipher-pass" | "repo-s3-ca-file" => {
            key.strip_prefix("repo-")
        }
        _ => None,
    };
    if let Some(option) = unnumbered {
        return Some((1, option));
    }
    let (number, option) = key.strip_prefix("repo")?.split_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| number.parse().ok())??;
    (1..=MAX_REPO_KEY).contains(&number).then_some((number, option))
}

/// The value of an option and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    content: Content,
    name: String,
    file: String,
    line: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// A value that is not a secret.
    Plain(String),
    /// The expiry of a shared access signature, if it contains one.
    Expiry(Option<DateTime<Utc>>),
    /// An option that its section sets more than once, possibly under two names.
    Repeated,
}

impl Value {
    pub(super) fn new(option: Name, setting: &Setting<'_>) -> Self {
        let content = match option {
            Name::AzureKey => Content::Expiry(sas::expiry(setting.value)),
            _ => Content::Plain(setting.value.to_owned()),
        };
        Self { content, name: setting.name.to_owned(), file: setting.file.to_owned(), line: setting.line }
    }

    /// The option is set again in its section.
    pub(super) fn repeated(self) -> Self {
        Self { content: Content::Repeated, ..self }
    }

    pub(super) fn text(&self) -> Result<String, ConfError> {
        match &self.content {
            Content::Plain(text) if !text.is_empty() => Ok(text.clone()),
            Content::Repeated => Err(self.error("is set a second time in its section; keep one")),
            _ => Err(self.error("has no value; give one or remove it")),
        }
    }

    pub(super) fn number(&self, max: u32) -> Result<u32, ConfError> {
        let text = self.text()?;
        match text.parse() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => {
                let text = shown(&text);
                Err(self.error(&format!("is '{text}'; it must be a whole number from 1 to {max}")))
            }
        }
    }

    pub(super) fn choice(&self, allowed: &[&'static str]) -> Result<&'static str, ConfError> {
        let text = self.text()?;
        let found = allowed.iter().copied().find(|word| *word == text);
        found.ok_or_else(|| {
            let text = shown(&text);
            self.error(&format!("is '{text}'; it must be one of {}", allowed.join(", ")))
        })
    }

    pub(super) fn expiry(&self) -> Option<DateTime<Utc>> {
        match self.content {
            Content::Expiry(expiry) => expiry,
            Content::Plain(_) | Content::Repeated => None,
        }
    }

    fn error(&self, problem: &str) -> ConfError {
        let problem = format!("{} {problem}", self.name);
        ConfError { file: self.file.clone(), line: self.line, problem }
    }
}

/// A wrong value, unless it may be a secret in the wrong place.
fn shown(value: &str) -> &str {
    if options::is_harmless(value) { value } else { "…" }
}
