//! The Events that were published about one resource, and those that a new report requires. Pure: the time is passed
//! in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::finding::{Finding, Severity};

use super::event::{self, Notice};
use super::status::{BackupStatus, Status};
use super::{PreviousStatus, Report};

/// A failure is reported only if it persists over retries.
const FAILURES_BEFORE_REPORT: u32 = 3;
/// The same limits as in Kubernetes' own components: this many Events about one object at once, then one every five
/// minutes.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_mins(5);
/// The maximum number of Events about one reconcile.
const MOST_AT_ONCE: usize = 10;

/// The history of one resource.
#[derive(Debug)]
pub(super) struct EventHistory {
    pub(super) uid: String,
    /// Problems that an Event reports.
    published: BTreeSet<String>,
    /// The message from before a restart, if it reports other problems.
    before_restart: Option<String>,
    /// Consecutive failures.
    failures: u32,
    /// The version of the resource when the status was last written, and the status.
    written: Option<(Option<String>, BackupStatus)>,
    budget: Budget,
}

/// The number of Events that may still be published.
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl EventHistory {
    /// Restores the history of the previous process from the status.
    pub(super) fn restored(
        uid: &str,
        before: PreviousStatus<'_>,
        status: &BackupStatus,
        report: &Report<'_>,
    ) -> Self {
        let message = before.message.unwrap_or_default();
        let mut now: BTreeSet<String> = serious(report).map(ToString::to_string).collect();
        now.extend(report.failure.map(event::identity));
        // A message that was cut is still the same message.
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

    /// Records the end of a reconcile. Returns whether to report it: a single failure is not reported.
    pub(super) fn ended(&mut self, failed: bool) -> bool {
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        !failed || self.failures >= FAILURES_BEFORE_REPORT
    }

    /// Whether this was already written, and the resource is still in the version from before.
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

    /// Events about new problems, actions, and resolved problems.
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
        // A failed reconcile may not have found everything that is still wrong.
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
    /// Takes up to `wanted`.
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

/// The findings that are reported as Events.
fn serious<'a>(report: &Report<'a>) -> impl Iterator<Item = &'a Finding> {
    report.findings.iter().filter(|finding| finding.severity <= Severity::Warning)
}

#[cfg(test)]
mod tests;
