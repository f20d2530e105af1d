//! The status of a resource: one word and a message. Pure.

use chrono::{DateTime, SecondsFormat};

use crate::cluster::finding::{Code, Finding, Severity, codes};
use crate::state::jobs::RunResults;
use crate::text;

use super::{PreviousStatus, Report, event};

/// Longer messages are cut: a status is read in terminals.
const LONGEST_MESSAGE: usize = 1000;
/// Maximum number of lines for one cluster.
const MOST_LINES: usize = 10;

/// Informational findings that never explain a status.
const BESIDE_THE_POINT: [&str; 4] = [
    codes::DEFAULT_USED.word,
    codes::FIELD_NOT_USED.word,
    codes::NAME_SHORTENED.word,
    codes::NO_SCHEDULE.word,
];

/// The value of `BackupStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Everything is as specified.
    Ok,
    /// Everything is as specified, but something is likely to fail.
    Warning,
    /// Something is not done yet, such as the first stanza.
    Pending,
    /// No backup can run now, for example on a standby.
    Suspended,
    /// A user has paused all writes.
    Paused,
    /// All objects have been released.
    Released,
    /// The resource configures no backups.
    NotConfigured,
    /// Something is wrong that a user must fix.
    Error,
    /// The reconcile failed, and will be retried.
    Failing,
}

impl Status {
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Warning,
        Self::Pending,
        Self::Suspended,
        Self::Paused,
        Self::Released,
        Self::NotConfigured,
        Self::Error,
        Self::Failing,
    ];
    /// Those that report problems, which are also in Events.
    pub(super) const WRONG: [Self; 3] = [Self::Warning, Self::Error, Self::Failing];

    /// Whether users need a reason although nothing is wrong.
    const fn needs_a_reason(self) -> bool {
        matches!(self, Self::Pending | Self::Suspended | Self::Paused | Self::Released | Self::NotConfigured)
    }

    /// The value in the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Warning => "Warning",
            Self::Pending => "Pending",
            Self::Suspended => "Suspended",
            Self::Paused => "Paused",
            Self::Released => "Released",
            Self::NotConfigured => "NotConfigured",
            Self::Error => "Error",
            Self::Failing => "Failing",
        }
    }
}

/// The value of `BackupJobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobsStatus {
    /// The newest run of each repo and backup type has succeeded.
    Succeeded,
    /// The newest run of a repo and backup type has failed.
    Failed,
}

impl JobsStatus {
    pub const ALL: [Self; 2] = [Self::Succeeded, Self::Failed];

    /// The value in the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }
}

/// The status of the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupStatus {
    /// The state.
    pub status: Status,
    /// The reasons, worst first; empty if nothing is wrong.
    pub lines: Vec<String>,
    /// The reasons as one bounded text.
    pub message: String,
    /// The `metadata.generation` that it is about.
    pub(super) generation: Option<i64>,
    /// How the newest jobs have ended, if any has and if that is known.
    pub(super) jobs: Option<JobsStatus>,
    pub(super) jobs_are_known: bool,
    /// When a job last succeeded, as RFC 3339.
    pub(super) last_success: Option<String>,
    /// The start of the message if the reconcile failed. The rest may differ for each failure.
    pub(super) failing: Option<String>,
}

impl BackupStatus {
    pub(super) fn of(report: &Report<'_>) -> Self {
        let status = status(report);
        let adds = |finding: &&Finding| match finding.severity {
            Severity::Error | Severity::Warning => true,
            Severity::Info => status.needs_a_reason() && !BESIDE_THE_POINT.contains(&finding.code.word),
            Severity::NotChecked => false,
        };
        let mut findings: Vec<&Finding> = report.findings.iter().filter(adds).collect();
        findings.sort_by_key(|finding| finding.severity);
        let failing = report.failure.map(event::identity);
        let failure = failing.iter().zip(report.failure);
        let mut lines: Vec<String> =
            failure.map(|(identity, failure)| format!("{identity}: {}", failure.message)).collect();
        lines.extend(findings.iter().map(ToString::to_string));
        let mut lines: Vec<String> = lines.iter().map(|line| text::lines(line).into_owned()).collect();
        let message = text::cut(&lines.join(" | "), LONGEST_MESSAGE);
        // The status page shows jobs in a place of their own.
        let of_jobs = format!("{} {}:", codes::BACKUP_FAILED.severity.as_str(), codes::BACKUP_FAILED.word);
        lines.retain(|line| !line.starts_with(&of_jobs));
        lines.truncate(MOST_LINES);
        let has_failed = report.results.and_then(RunResults::has_failed);
        let jobs = has_failed.map(|failed| if failed { JobsStatus::Failed } else { JobsStatus::Succeeded });
        let last_success = report.results.and_then(RunResults::last_success);
        let last_success = last_success.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
        Self {
            status,
            lines,
            message,
            generation: None,
            jobs,
            jobs_are_known: report.results.is_some(),
            last_success,
            failing,
        }
    }

    pub(super) fn of_generation(self, generation: Option<i64>) -> Self {
        Self { generation, ..self }
    }

    /// A Job that was deleted is no longer known, but what was told of it remains true.
    pub(super) fn after(self, before: PreviousStatus<'_>) -> Self {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok();
        let told = before.last_success.filter(|told| {
            let now = self.last_success.as_deref().and_then(time);
            time(told).zip(now).is_some_and(|(told, now)| told > now)
        });
        let last_success = told.map(str::to_owned).or(self.last_success);
        Self { last_success, ..self }
    }
}

fn status(report: &Report<'_>) -> Status {
    let has = |code: &Code| report.findings.iter().any(|finding| *finding.code == *code);
    let is_there = |severity| report.findings.iter().any(|finding| finding.severity == severity);
    if report.failure.is_some() {
        return Status::Failing;
    }
    if report.released {
        return Status::Released;
    }
    if has(&codes::PAUSED) {
        return Status::Paused;
    }
    if is_there(Severity::Error) {
        return Status::Error;
    }
    if has(&codes::NO_BACKUP) || has(&codes::NO_REPOS) {
        return if is_there(Severity::Warning) { Status::Warning } else { Status::NotConfigured };
    }
    if has(&codes::SUSPENDED) {
        return Status::Suspended;
    }
    if report.pending {
        return Status::Pending;
    }
    if is_there(Severity::Warning) { Status::Warning } else { Status::Ok }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::report::ReconcileFailure;

    fn status(codes: &[&'static Code], change: impl FnOnce(&mut Report<'_>)) -> (&'static str, String) {
        let findings: Vec<Finding> =
            codes.iter().map(|code| Finding::new(code, "f", "is so", "do it")).collect();
        let mut report = Report { findings: &findings, ..Report::default() };
        change(&mut report);
        let status = BackupStatus::of(&report);
        (status.status.as_str(), status.message)
    }

    #[test]
    fn the_status_says_what_matters_most() {
        let said = |codes: &[&'static Code]| status(codes, |_| {}).0;
        assert_eq!(said(&[]), "Ok");
        assert_eq!(said(&[&codes::DEFAULT_USED, &codes::SECRET_NOT_CHECKED]), "Ok");
        assert_eq!(said(&[&codes::DEFAULT_USED, &codes::RETENTION_UNSET]), "Warning");
        assert_eq!(said(&[&codes::RETENTION_UNSET, &codes::SECRET_MISSING]), "Error");
        assert_eq!(said(&[&codes::SUSPENDED, &codes::RETENTION_UNSET]), "Suspended");
        assert_eq!(said(&[&codes::SUSPENDED, &codes::SECRET_MISSING]), "Error");
        assert_eq!(said(&[&codes::PAUSED, &codes::SECRET_MISSING]), "Paused");
        assert_eq!(said(&[&codes::NO_BACKUP]), "NotConfigured");
        assert_eq!(said(&[&codes::NO_BACKUP, &codes::REMOVAL_NOT_AUTHORIZED]), "Warning");
        assert_eq!(said(&[&codes::NO_REPOS]), "Warning");
        assert_eq!(status(&[], |report| report.pending = true).0, "Pending");
        assert_eq!(status(&[&codes::PAUSED], |report| report.released = true).0, "Released");
        let failure = ReconcileFailure { phase: "apply", message: "no" };
        let (status, message) = status(&[&codes::SECRET_MISSING], |report| report.failure = Some(failure));
        assert_eq!(status, "Failing");
        assert_eq!(message, "reconcile failed (apply): no | error secret-missing: f is so; do it");
    }

    #[test]
    fn the_message_holds_what_is_wrong_and_what_explains_the_status() {
        let said = |codes: &[&'static Code]| status(codes, |_| {}).1;
        assert_eq!(said(&[&codes::DEFAULT_USED]), "");
        assert_eq!(
            said(&[&codes::RETENTION_UNSET, &codes::DEFAULT_USED, &codes::SECRET_MISSING]),
            "error secret-missing: f is so; do it | warning retention-unset: f is so; do it"
        );
        assert_eq!(
            said(&[&codes::DEFAULT_USED, &codes::SUSPENDED, &codes::RETENTION_UNSET]),
            "warning retention-unset: f is so; do it | info suspended: f is so; do it"
        );
    }
}
