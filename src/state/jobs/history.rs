//! The runs of one repo and backup type.

use chrono::{DateTime, TimeDelta, Utc};

use super::fact::{CronFact, JobEnd, JobFact, JobFailure};
use super::timer::{ScheduleView, Timer};

/// The state of a repo and backup type. Results are kept when the Job is deleted: Kubernetes keeps only a few Jobs.
#[derive(Debug, Clone, Default)]
pub struct RunHistory {
    /// Its CronJobs: usually one.
    timers: Vec<Timer>,
    /// Existing Jobs, in the order of their UIDs.
    jobs: Vec<KnownJob>,
    last_success: Option<DateTime<Utc>>,
    last_failure: Option<(DateTime<Utc>, JobFailure)>,
    newest: Option<Newest>,
    /// The duration of the last success.
    usual: Option<TimeDelta>,
    consecutive_failures: u64,
}

#[derive(Debug, Clone)]
struct KnownJob {
    uid: Box<str>,
    failed_pods: u64,
    succeeded_pods: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Runs(DateTime<Utc>),
    Ended,
}

/// The run that finished last.
#[derive(Debug, Clone, Copy)]
struct Newest {
    at: DateTime<Utc>,
    duration: Option<TimeDelta>,
    failed: bool,
}

/// The state of a repo and backup type at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct RunHistoryView {
    /// When a run last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// When a run last failed.
    pub last_failure: Option<DateTime<Utc>>,
    /// The duration of the last run.
    pub last_duration: Option<TimeDelta>,
    /// Failed runs since the last success; absent if none has finished.
    pub consecutive_failures: Option<u64>,
    /// Why the newest run failed, if it did.
    pub failing: Option<JobFailure>,
    /// Number of active runs.
    pub active: u64,
    /// When the oldest of them started.
    pub active_since: Option<DateTime<Utc>>,
    /// The CronJob, if there is one.
    pub schedule: Option<ScheduleView>,
}

/// How the runs of a repo and backup type have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunResult {
    /// When a run last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// Why the newest run failed, if it did.
    pub failing: Option<JobFailure>,
}

/// What is new in a fact about a Job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pods that have failed since the last fact.
    pub failed_pods: u64,
    /// Pods that have succeeded since.
    pub succeeded_pods: u64,
    /// Whether the Job has finished.
    pub ended: bool,
}

impl RunHistory {
    /// Records the state of a Job. Returns what is new.
    pub(super) fn job(&mut self, fact: &JobFact) -> Tally {
        let state = match (&fact.end, fact.started) {
            (Some(_), _) => State::Ended,
            (None, Some(since)) => State::Runs(since),
            (None, None) => State::Waits,
        };
        let (failed_pods, succeeded_pods) = (fact.failed_pods, fact.succeeded_pods);
        let known = KnownJob { uid: fact.uid.clone(), failed_pods, succeeded_pods, state };
        let before = self.note(known);
        let ended = before.as_ref().is_none_or(|before| before.state != State::Ended);
        if let Some(end) = fact.end.as_ref().filter(|_| ended) {
            self.ended(end, fact.duration());
        }
        let (failed, succeeded) = before.map_or((0, 0), |before| (before.failed_pods, before.succeeded_pods));
        Tally {
            failed_pods: failed_pods.saturating_sub(failed),
            succeeded_pods: succeeded_pods.saturating_sub(succeeded),
            ended: ended && fact.end.is_some(),
        }
    }

    /// Remembers a Job. Returns what was known of it.
    fn note(&mut self, job: KnownJob) -> Option<KnownJob> {
        match self.jobs.binary_search_by(|known| known.uid.cmp(&job.uid)) {
            Ok(place) => Some(std::mem::replace(self.jobs.get_mut(place)?, job)),
            Err(place) => {
                self.jobs.insert(place, job);
                None
            }
        }
    }

    /// A run has finished. If two are reported out of order, the later one remains the newest.
    fn ended(&mut self, end: &JobEnd, duration: Option<TimeDelta>) {
        let is_newest = self.newest.is_none_or(|newest| end.at >= newest.at);
        if is_newest {
            self.newest = Some(Newest { at: end.at, duration, failed: end.failure.is_some() });
        }
        match end.failure {
            None => {
                if self.last_success.is_none_or(|last| end.at >= last) {
                    (self.last_success, self.usual) = (Some(end.at), duration.or(self.usual));
                }
                if is_newest {
                    self.consecutive_failures = 0;
                }
            }
            Some(failure) => {
                if self.last_failure.is_none_or(|(last, _)| end.at >= last) {
                    self.last_failure = Some((end.at, failure));
                }
                if self.last_success.is_none_or(|success| success < end.at) {
                    self.consecutive_failures = self.consecutive_failures.saturating_add(1);
                }
            }
        }
    }

    /// Whether a run has not ended.
    pub(super) fn is_active(&self) -> bool {
        self.jobs.iter().any(|known| known.state != State::Ended)
    }

    /// Whether this Job is known to have ended.
    pub(super) fn has_ended(&self, uid: &str) -> bool {
        let place = self.jobs.binary_search_by(|known| (*known.uid).cmp(uid)).ok();
        place.and_then(|place| self.jobs.get(place)).is_some_and(|known| known.state == State::Ended)
    }

    pub(super) fn job_gone(&mut self, uid: &str) {
        self.jobs.retain(|known| *known.uid != *uid);
        self.jobs.shrink_to_fit();
    }

    /// A new or known CronJob.
    pub(super) fn cron_job(&mut self, fact: CronFact, now: DateTime<Utc>) {
        if let Some(timer) = self.timers.iter_mut().find(|timer| timer.fact.uid == fact.uid) {
            timer.renew(fact, now);
        } else {
            self.timers.reserve_exact(1);
            self.timers.push(Timer::new(fact, now));
        }
        self.update_timers(now);
    }

    pub(super) fn cron_job_gone(&mut self, uid: &str) {
        self.timers.retain(|timer| *timer.fact.uid != *uid);
    }

    /// All its CronJobs.
    pub(super) fn timers_mut(&mut self) -> impl Iterator<Item = &mut Timer> {
        self.timers.iter_mut()
    }

    /// What is known of a CronJob.
    pub(super) fn known(&self, uid: &str) -> Option<&CronFact> {
        self.timers.iter().map(|timer| &timer.fact).find(|fact| *fact.uid == *uid)
    }

    /// Whether it has neither CronJobs nor Jobs.
    pub(super) fn is_empty(&self) -> bool {
        self.timers.is_empty() && self.jobs.is_empty()
    }

    /// Updates the timers after a success or another change.
    pub(super) fn update_timers(&mut self, now: DateTime<Utc>) {
        let last_success = self.last_success();
        for timer in &mut self.timers {
            timer.recompute(last_success, now);
        }
    }

    /// The relevant CronJob: the oldest.
    #[must_use]
    pub fn timer(&self) -> Option<&Timer> {
        self.timers.iter().min_by_key(|timer| (timer.fact.created, &timer.fact.name))
    }

    /// Includes deleted Jobs, from the status of CronJobs.
    fn last_success(&self) -> Option<DateTime<Utc>> {
        self.timers.iter().map(|timer| timer.fact.last_success).max().flatten().max(self.last_success)
    }

    /// The newest failure, if no run has succeeded since.
    fn failing(&self) -> Option<JobFailure> {
        let last_success = self.last_success();
        let failing = self.last_failure.filter(|(at, _)| {
            self.newest.is_some_and(|newest| newest.failed)
                && last_success.is_none_or(|success| success < *at)
        });
        failing.map(|(_, failure)| failure)
    }

    /// How its runs have ended so far.
    #[must_use]
    pub fn result(&self) -> RunResult {
        RunResult { last_success: self.last_success(), failing: self.failing() }
    }

    /// The state at `now`.
    #[must_use]
    pub fn view(&self, now: DateTime<Utc>) -> RunHistoryView {
        let mut active: Vec<DateTime<Utc>> = Vec::new();
        active.extend(self.jobs.iter().filter_map(|known| match known.state {
            State::Runs(since) => Some(since),
            State::Waits | State::Ended => None,
        }));
        let RunResult { last_success, failing } = self.result();
        RunHistoryView {
            last_success,
            last_failure: self.last_failure.map(|(at, _)| at),
            last_duration: self.newest.and_then(|newest| newest.duration),
            consecutive_failures: self
                .newest
                .map(|_| if failing.is_some() { self.consecutive_failures } else { 0 }),
            failing,
            active: active.len() as u64,
            active_since: active.iter().min().copied(),
            schedule: self.timer().map(|timer| timer.view(self.usual, &active, now)),
        }
    }
}
