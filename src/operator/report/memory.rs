//! What was told about one resource, and what of a new report is news. Pure: the time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cluster::finding::{Finding, Severity};

use super::event::{self, Notice};
use super::verdict::{Status, Verdict};
use super::{Before, Told};

/// A failure may be gone at the next try; told is what stays.
const FAILURES_BEFORE_TOLD: u32 = 3;
/// As Kubernetes' own components: so many Events about one object at once, and then one each five minutes.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_mins(5);
/// More Events than this about one reconcile tell nobody anything.
const MOST_AT_ONCE: usize = 10;

/// What was told about a resource.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) uid: String,
    /// What is wrong and stands in an Event.
    told: BTreeSet<String>,
    /// A message of before a restart about what was wrong then, as far as it is not in `told`.
    of_before: Option<String>,
    /// Failures in a row.
    failures: u32,
    /// The version of the resource that was looked at when the status was written last, and what was written.
    written: Option<(Option<String>, Verdict)>,
    budget: Budget,
}

/// How many Events may still be published.
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Option<Instant>,
}

impl Memory {
    /// What the status says was told, by the process before this one.
    pub(super) fn recalled(uid: &str, before: Before<'_>, verdict: &Verdict, told: &Told<'_>) -> Self {
        let message = before.message.unwrap_or_default();
        let mut now: BTreeSet<String> = serious(told).map(ToString::to_string).collect();
        now.extend(told.failure.map(event::identity));
        // Where the message had to be cut, it still is the same message.
        if !before.says(verdict) {
            now.retain(|line| message.contains(line.as_str()));
        }
        let was_wrong = Status::WRONG.iter().any(|status| before.status == Some(status.as_str()));
        let of_before = (was_wrong && now.is_empty() && !message.is_empty()).then(|| message.to_owned());
        let failed = before.status == Some(Status::Failing.as_str());
        Self {
            uid: uid.to_owned(),
            told: now,
            of_before,
            failures: if failed { FAILURES_BEFORE_TOLD } else { 0 },
            written: None,
            budget: Budget { left: BURST, since: None },
        }
    }

    /// A reconcile has ended. Whether its end is worth telling: one failure is not.
    pub(super) fn ended(&mut self, failed: bool) -> bool {
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        !failed || self.failures >= FAILURES_BEFORE_TOLD
    }

    /// Whether this was written already, and the resource is seen as it was before that.
    pub(super) fn wrote(&self, version: Option<&str>, verdict: &Verdict) -> bool {
        self.written.as_ref().is_some_and(|(seen, wrote)| seen.as_deref() == version && wrote == verdict)
    }

    pub(super) fn has_written(&mut self, version: Option<&str>, verdict: &Verdict) {
        self.written = Some((version.map(str::to_owned), verdict.clone()));
    }

    pub(super) fn has_told(&mut self, notice: Notice) {
        self.told.extend(notice.tells);
        for ended in notice.ends {
            self.told.remove(&ended);
        }
    }

    /// What is new, what was done, and what is no more.
    pub(super) fn notices(&mut self, told: &Told<'_>, settled: bool, now: Instant) -> Vec<Notice> {
        let mut notices = self.news(told, settled);
        let allowed = self.budget.take(notices.len().min(MOST_AT_ONCE), now);
        if notices.len() > allowed {
            let left_out: Vec<&str> =
                notices.iter().skip(allowed).map(|notice| notice.event.reason.as_str()).collect();
            tracing::info!(uid = self.uid, ?left_out, "Dropped Events; too many for one resource");
            notices.truncate(allowed);
        }
        notices
    }

    fn news(&mut self, told: &Told<'_>, settled: bool) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(failure) = told.failure.filter(|_| settled)
            && !self.told.contains(&event::identity(failure))
        {
            notices.push(Notice::of_failure(failure));
        }
        let mut new: BTreeMap<(Severity, &str), Vec<&Finding>> = BTreeMap::new();
        for finding in serious(told).filter(|finding| !self.told.contains(&finding.to_string())) {
            new.entry((finding.severity, finding.code.word)).or_default().push(finding);
        }
        notices.extend(new.values().filter_map(|findings| Notice::of_findings(findings)));
        let mut deeds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for deed in told.deeds {
            deeds.entry(deed.reason).or_default().push(&deed.message);
        }
        notices.extend(deeds.iter().map(|(reason, messages)| Notice::of_deeds(reason, messages)));
        // A reconcile that failed did not get as far as finding everything that is still wrong.
        if told.failure.is_none() {
            let now: BTreeSet<String> = serious(told).map(ToString::to_string).collect();
            let mut ended: Vec<String> = self.told.difference(&now).cloned().collect();
            ended.extend(self.of_before.take().filter(|_| now.is_empty()));
            notices.extend((!ended.is_empty()).then(|| Notice::of_end(ended)));
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
fn serious<'a>(told: &Told<'a>) -> impl Iterator<Item = &'a Finding> {
    told.findings.iter().filter(|finding| finding.severity <= Severity::Warning)
}

#[cfg(test)]
mod tests;
