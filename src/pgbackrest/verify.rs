//! What `verify` prints: its result, and its log.
//!
//! The formats are those of `verifyRender` and of the messages in `src/command/verify/verify.c` of pgBackRest 2.45 to 2.60, with
//! `--output=text --verbose` at log level detail. The exit code says nothing about the result: it is 0 also if files are missing or damaged.

mod log;

use super::archive::ArchiveId;
use super::label::BackupLabel;
use super::sanitize;

pub use log::{FileFault, Log, LogFault, Place, Span};

/// Lines of a result that are read. Each backup and each archive has two.
const MAX_LINES: usize = 200_000;

/// The result: `stanza: demo`, `status: ok`, and what was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub stanza: String,
    pub status: Option<Status>,
    pub archives: Vec<ArchiveReport>,
    pub backups: Vec<BackupReport>,
    /// Why nothing was verified.
    pub obstacle: Option<Obstacle>,
    /// Lines that are not known, which may say anything.
    pub unknown_lines: usize,
}

/// What pgBackRest thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    Error,
}

/// The WAL of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveReport {
    pub id: ArchiveId,
    pub files: FileCounts,
}

/// One backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    pub label: String,
    pub status: BackupStatus,
    pub files: FileCounts,
}

/// What pgBackRest thinks of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupStatus {
    Valid,
    Invalid,
    /// It may have been removed by `expire`. For pgBackRest this is no error.
    ManifestMissing,
    /// It is not in `backup.info` yet, and was not verified.
    InProgress,
}

/// Files by what is wrong with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileCounts {
    pub checked: u64,
    pub valid: u64,
    pub missing: u64,
    pub checksum: u64,
    pub size: u64,
    /// They could not be read to the end.
    pub other: u64,
}

/// Why nothing was verified, although the repository could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Neither `backup.info` nor its copy can be used.
    BackupInfo,
    /// Neither `archive.info` nor its copy can be used.
    ArchiveInfo,
    /// `backup.info` and `archive.info` belong to different databases.
    Mismatch,
    /// There is nothing.
    Empty,
    /// There is no backup with this label.
    Set,
}

impl Report {
    /// Reads what `verify` printed on stdout. None if it printed no result.
    #[must_use]
    pub fn parse(stdout: &[u8]) -> Option<Self> {
        let (_, result) = sanitize::split_log(stdout);
        let text = String::from_utf8_lossy(result);
        let mut lines = text.lines().skip_while(|line| !line.starts_with("stanza: "));
        let stanza = lines.next()?.strip_prefix("stanza: ")?.to_owned();
        let mut report = Self { stanza, ..Self::default() };
        let mut subject = Subject::None;
        for (number, line) in lines.enumerate() {
            if number >= MAX_LINES {
                report.unknown_lines += 1;
                break;
            }
            subject = report.read(line, subject);
        }
        Some(report)
    }

    /// Whether everything in it is known.
    #[must_use]
    pub const fn is_understood(&self) -> bool {
        self.unknown_lines == 0 && self.status.is_some()
    }

    fn read(&mut self, line: &str, subject: Subject) -> Subject {
        if let Some(status) = line.strip_prefix("status: ") {
            self.status = match status {
                "ok" => Some(Status::Ok),
                "error" => Some(Status::Error),
                _ => None,
            };
            return Subject::None;
        }
        if let Some(archive) = line.strip_prefix("  archiveId: ") {
            return self.read_archive(archive);
        }
        if let Some(backup) = line.strip_prefix("  backup: ") {
            return self.read_backup(backup);
        }
        let files = match subject {
            Subject::Archive => self.archives.last_mut().map(|archive| &mut archive.files),
            Subject::Backup => self.backups.last_mut().map(|backup| &mut backup.files),
            Subject::None | Subject::Obstacle => None,
        };
        if let Some(files) = files
            && let Some(faults) = line.strip_prefix("    ")
            && files.read_faults(faults).is_some()
        {
            return Subject::None;
        }
        let obstacle = match line.trim_start() {
            "No usable backup.info file" => Some(Obstacle::BackupInfo),
            "No usable archive.info file" => Some(Obstacle::ArchiveInfo),
            "no archives or backups exist in the repo" => Some(Obstacle::Empty),
            text if text.starts_with("backup set ") && text.ends_with(" is not valid") => Some(Obstacle::Set),
            text if text.ends_with("' is not a valid backup label format") => Some(Obstacle::Set),
            // The first lines of `checkStanzaInfo` and `verifyPgHistory`.
            text if text.starts_with("backup info file and archive info file do not match") => {
                Some(Obstacle::Mismatch)
            }
            "archive and backup history lists do not match" => Some(Obstacle::Mismatch),
            _ => None,
        };
        match obstacle {
            Some(obstacle) => {
                self.obstacle.get_or_insert(obstacle);
                Subject::Obstacle
            }
            // The rest of the message.
            None if subject == Subject::Obstacle || line.trim().is_empty() => subject,
            None => {
                self.unknown_lines += 1;
                Subject::None
            }
        }
    }

    /// `15-1, total WAL checked: 3, total valid WAL: 3`
    fn read_archive(&mut self, line: &str) -> Subject {
        let read = || {
            let (id, rest) = line.split_once(", total WAL checked: ")?;
            let (checked, valid) = rest.split_once(", total valid WAL: ")?;
            let files =
                FileCounts { checked: number(checked)?, valid: number(valid)?, ..FileCounts::default() };
            Some(ArchiveReport { id: ArchiveId::parse(id)?, files })
        };
        match read() {
            Some(archive) => {
                self.archives.push(archive);
                Subject::Archive
            }
            None => self.none_found(line),
        }
    }

    /// `20260101-000000F, status: valid, total files checked: 970, total valid files: 970`
    fn read_backup(&mut self, line: &str) -> Subject {
        let read = || {
            let (label, rest) = line.split_once(", status: ")?;
            BackupLabel::parse(label)?;
            let (status, rest) = rest.split_once(", total files checked: ")?;
            let (checked, valid) = rest.split_once(", total valid files: ")?;
            let status = match status {
                "valid" => BackupStatus::Valid,
                "invalid" => BackupStatus::Invalid,
                "manifest missing" => BackupStatus::ManifestMissing,
                "in-progress" => BackupStatus::InProgress,
                _ => return None,
            };
            let files =
                FileCounts { checked: number(checked)?, valid: number(valid)?, ..FileCounts::default() };
            Some(BackupReport { label: label.to_owned(), status, files })
        };
        match read() {
            Some(backup) => {
                self.backups.push(backup);
                Subject::Backup
            }
            None => self.none_found(line),
        }
    }

    fn none_found(&mut self, line: &str) -> Subject {
        self.unknown_lines += usize::from(line != "none found");
        Subject::None
    }
}

/// What the next line may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    None,
    Archive,
    Backup,
    Obstacle,
}

impl FileCounts {
    /// Files with a fault.
    #[must_use]
    pub const fn faulty(&self) -> u64 {
        self.missing.saturating_add(self.checksum).saturating_add(self.size).saturating_add(self.other)
    }

    /// Adds those of another part.
    pub const fn add(&mut self, other: &Self) {
        self.checked = self.checked.saturating_add(other.checked);
        self.valid = self.valid.saturating_add(other.valid);
        self.missing = self.missing.saturating_add(other.missing);
        self.checksum = self.checksum.saturating_add(other.checksum);
        self.size = self.size.saturating_add(other.size);
        self.other = self.other.saturating_add(other.other);
    }

    /// `missing: 0, checksum invalid: 1, size invalid: 0, other: 0`, any of them.
    fn read_faults(&mut self, line: &str) -> Option<()> {
        let mut counts = *self;
        for part in line.split(", ") {
            let (name, count) = part.split_once(": ")?;
            let count = number(count)?;
            match name {
                "missing" => counts.missing = count,
                "checksum invalid" => counts.checksum = count,
                "size invalid" => counts.size = count,
                "other" => counts.other = count,
                _ => return None,
            }
        }
        *self = counts;
        Some(())
    }
}

/// A 32-bit number as pgBackRest prints it.
fn number(digits: &str) -> Option<u64> {
    digits.parse::<u32>().ok().map(u64::from)
}

#[cfg(test)]
mod tests;
