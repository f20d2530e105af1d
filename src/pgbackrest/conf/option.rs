//! The supported options under all names that pgBackRest accepts, and their values.

use chrono::{DateTime, Utc};

use super::super::options;
use super::reader::{ConfError, Setting};
use super::sas;

/// The highest number of a repository or a cluster that pgBackRest accepts.
const MAX_KEY: u32 = 256;

/// A supported option of a repository or of archiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    PgPath,
    PgHost,
    SpoolPath,
    ArchivePushQueueMax,
}

/// A supported option about files on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostOption {
    /// The directory of locks and stop files.
    LockPath,
    /// The directory of log files.
    LogPath,
    /// What is written to them.
    LogLevelFile,
}

impl HostOption {
    pub(super) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "lock-path" => Self::LockPath,
            "log-path" => Self::LogPath,
            "log-level-file" => Self::LogLevelFile,
            _ => return None,
        })
    }
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
    (1..=MAX_KEY).contains(&number).then_some((number, option))
}

/// Number of the PostgreSQL cluster, 0 if it has none, and option that archiving uses. `db-path` and so on are from before 2.0,
/// and still accepted.
pub(super) fn of_archiving(key: &str) -> Option<(u32, Name)> {
    match key {
        "spool-path" => return Some((0, Name::SpoolPath)),
        "archive-push-queue-max" | "archive-queue-max" => return Some((0, Name::ArchivePushQueueMax)),
        _ => {}
    }
    let (cluster, option) = key.split_once('-')?;
    let name = match option {
        "path" => Name::PgPath,
        "host" => Name::PgHost,
        _ => return None,
    };
    let number = match (cluster.strip_prefix("pg"), cluster.strip_prefix("db")) {
        (_, Some("")) => "1",
        (Some(number), _) | (_, Some(number)) => number,
        _ => return None,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|number| is_number && (1..=MAX_KEY).contains(number))?;
    Some((number, name))
}

/// The value of an option and its location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Value {
    content: Content,
    name: String,
    file: String,
    line: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
        match option {
            Name::AzureKey => Self::of(Content::Expiry(sas::expiry(setting.value)), setting),
            _ => Self::plain(setting),
        }
    }

    /// A value that is not a secret.
    pub(super) fn plain(setting: &Setting<'_>) -> Self {
        Self::of(Content::Plain(setting.value.to_owned()), setting)
    }

    fn of(content: Content, setting: &Setting<'_>) -> Self {
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
            _ => Err(self.error("has no value; set one or remove it")),
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

    /// Bytes: a whole number, possibly with a unit of which only the first letter matters (`cfgParseSize`).
    pub(super) fn size(&self) -> Result<u64, ConfError> {
        let text = self.text()?;
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => Some(0),
            "k" | "kb" | "kib" => Some(10),
            "m" | "mb" | "mib" => Some(20),
            "g" | "gb" | "gib" => Some(30),
            "t" | "tb" | "tib" => Some(40),
            "p" | "pb" | "pib" => Some(50),
            _ => None,
        };
        let size = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
        size.ok_or_else(|| {
            let text = shown(&text);
            self.error(&format!("is '{text}'; it must be a size such as 16GiB"))
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

/// An invalid value, unless it may be a misplaced secret.
fn shown(value: &str) -> &str {
    if options::is_harmless(value) { value } else { "…" }
}
