//! What was told about one resource, and what of a new report is news. Pure: the time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::finding::{Finding, Severity};

use super::event::{self, Notice};
use super::status::{BackupStatus, Status};
use super::{PreviousStatus, Report};

/// A failure may be gone at the next try; told is what stays.
const FAILURES_BEFORE_REPORT: u32 = 3;
/// As Kubernetes' own components: so many Events about one object at once, and then one each five minutes.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_mins(5);
/// More Events than this about one reconcile tell nobody anything.
const MOST_AT_ONCE: usize = 10;

/// What was told about a resource.
#[derive(Debug)]
pub(super) struct EventHistory {
    pub(super) uid: String,
    /// What is wrong and stands in an Event.
    published: BTreeSet<String>,
    /// A message of before a restart about what was wrong then, as far as it is not in `published`.
    before_restart: Option<String>,
    /// Failures in a row.
    failures: u32,
    /// The version of the resource that was looked at when the status was written last, and what was written.
    written: Option<(Option<String>, BackupStatus)>,
    budget: Budget,
}

/// How many Events may still be published.
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl EventHistory {
    /// What the status says was told, by the process before this one.
    pub(super) fn restored(
        uid: &str,
        before: PreviousStatus<'_>,
        status: &BackupStatus,
        report: &Report<'_>,
    ) -> Self {
        let message = before.message.unwrap_or_default();
        let mut now: BTreeSet<String> = serious(report).map(ToString::to_string).collect();
        now.extend(report.failure.map(event::identity));
        // Where the message had to be cut, it still is the same message.
        if !before.says(status) {
            now.retain(|line| message.contains(line.as_str()));
        }
        let was_wrong = Status::WRONG.iter().any(|status| before.status == Some(status.as_str()));
        let before_restart = (was_wrong && now.is_empty() && !message.is_empty()).then(|| message.to_owned());
        let failed = before.status == Some(Status::Failing.as_str());
        Self {
            uid: uid.to_owned(),
            published: now,
            before_restart,
            failures: if failed { FAILURES_BEFORE_REPORT } else { 0 },
            written: None,
            budget: Budget { left: BURST, since: None },
        }
    }

    /// A reconcile has ended. Whether its end is worth telling: one failure is not.
    pub(super) fn ended(&mut self, failed: bool) -> bool {
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        !failed || self.failures >= FAILURES_BEFORE_REPORT
    }

    /// Whether this was written already, and the resource is seen as it was before that.
    pub(super) fn wrote(&self, version: Option<&str>, status: &BackupStatus) -> bool {
        self.written.as_ref().is_some_and(|(seen, wrote)| seen.as_deref() == version && wrote == status)
    }

    pub(super) fn has_written(&mut self, version: Option<&str>, status: &BackupStatus) {
        self.written = Some((version.map(str::to_owned), status.clone()));
    }

    pub(super) fn has_published(&mut self, notice: Notice) {
        self.published.extend(notice.adds);
        for ended in notice.resolves {
            self.published.remove(&ended);
        }
    }

    /// What is new, what was done, and what is no more.
    pub(super) fn notices(&mut self, report: &Report<'_>, confirmed: bool, now: Instant) -> Vec<Notice> {
        let mut notices = self.news(report, confirmed);
        let allowed = self.budget.take(notices.len().min(MOST_AT_ONCE), now);
        if notices.len() > allowed {
            let left_out: Vec<&str> =
                notices.iter().skip(allowed).map(|notice| notice.event.reason.as_str()).collect();
            tracing::info!(uid = self.uid, ?left_out, "Dropped Events; too many for one resource");
            notices.truncate(allowed);
        }
        notices
    }

    fn news(&mut self, report: &Report<'_>, confirmed: bool) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(failure) = report.failure.filter(|_| confirmed)
            && !self.published.contains(&event::identity(failure))
        {
            notices.push(Notice::of_failure(failure));
        }
        let mut new: BTreeMap<(Severity, &str), Vec<&Finding>> = BTreeMap::new();
        for finding in serious(report).filter(|finding| !self.published.contains(&finding.to_string())) {
            new.entry((finding.severity, finding.code.word)).or_default().push(finding);
        }
        notices.extend(new.values().filter_map(|findings| Notice::of_findings(findings)));
        let mut actions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for action in report.actions {
            actions.entry(action.reason).or_default().push(&action.message);
        }
        notices.extend(actions.iter().map(|(reason, messages)| Notice::of_actions(reason, messages)));
        // A reconcile that failed did not get as far as finding everything that is still wrong.
        if report.failure.is_none() {
            let now: BTreeSet<String> = serious(report).map(ToString::to_string).collect();
            let mut ended: Vec<String> = self.published.difference(&now).cloned().collect();
            ended.extend(self.before_restart.take().filter(|_| now.is_empty()));
            notices.extend((!ended.is_empty()).then(|| Notice::of_resolved(ended)));
        }
        notices
    }
}

impl Budget {
    /// As many of `wanted` as there are.
    fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let since = *self.since.get_or_insert(now);
        let refills = now.saturating_duration_since(since).as_secs() / REFILL.as_secs();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(refills).min(BURST);
        self.since = Some(since + REFILL * refills);
        let taken = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.left);
        self.left -= taken;
        taken as usize
    }
}

/// What an Event is published about.
fn serious<'a>(report: &Report<'a>) -> impl Iterator<Item = &'a Finding> {
    report.findings.iter().filter(|finding| finding.severity <= Severity::Warning)
}

#[cfg(test)]
mod tests;
